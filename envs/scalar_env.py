"""One treatment as a :class:`gymnasium.Env`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from oncogym.envs.lanes import (
    RENDER_MODES,
    Lanes,
    check_render_mode,
    check_reset_options,
    draw_frame,
)
from oncogym.envs.snapshots import Snapshot, owner_name
from oncogym.envs.therapy import TherapyTask
from oncogym.envs.treatment import Treatment

_LANE = np.zeros(1, np.intp)
_ACTIVE = np.ones(1, np.bool_)


class TherapyEnv(gymnasium.Env):
    """Lane 0 of a one-lane task.

    Args:
        treatment: Name of a registered treatment.
        cohort: Cohort from which every reset draws its patient.
        patient: A fixed patient instead, as a mapping of field values.
        render_mode: ``None``, ``"ansi"`` or ``"rgb_array"``.
        **options: Options of the treatment's task, see its page.

    ``reset(options={"patient": …})`` fixes the patient of one episode. The keys of ``info`` are the
    same at every reset and step: ``reward_terms`` (unweighted, by name), ``cost`` and its parts
    ``cost_*``, ``clipped`` (decisions of this episode whose action lay outside the box),
    ``outcome`` (clinical metrics so far, final when the episode ends) and ``is_success``. All are
    zero in the ``info`` of a reset.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4}

    def __init__(
        self,
        treatment: str | Treatment,
        *,
        cohort: str = "nominal",
        patient: dict[str, float] | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        self.render_mode = check_render_mode(render_mode)
        self._lanes = Lanes(treatment, 1, cohort, patient, **options)
        self.task: TherapyTask = self._lanes.task
        self.observation_space = self.task.observation_space
        self.action_space = self.task.action_space
        self._action_shape = self.action_space.shape
        self._cost_names = tuple(f"cost_{name}" for name in self.task.costs)
        self._metric_names = tuple(metric.name for metric in self.task.metrics)
        self._running = False
        self._clipped = 0

    @property
    def treatment(self) -> Treatment:
        """The treatment record behind this environment."""
        return self._lanes.treatment

    @property
    def patient(self) -> Any:
        """The current patient, hidden from the observation."""
        return self.treatment.patient.from_array(self._lanes.patients[0])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start a treatment; see the class for ``options`` and ``info``."""
        check_reset_options(options, ("patient",))
        super().reset(seed=seed)
        if seed is not None:
            self._lanes.seed(_LANE, [seed])
        elif len(self._lanes.unseeded(_LANE)):
            self._lanes.seed(_LANE, [int(self.np_random.integers(2**63))])
        observation = self._lanes.reset(_LANE, (options or {}).get("patient"))
        self._running = True
        self._clipped = 0
        info: dict[str, Any] = {
            "reward_terms": dict.fromkeys(self.task.reward_terms, 0.0),
            "cost": 0.0,
        }
        info.update(dict.fromkeys(self._cost_names, 0.0))
        info["clipped"] = 0
        info["outcome"] = dict.fromkeys(self._metric_names, 0.0)
        info["is_success"] = False
        return observation[0], info

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Take one decision.

        Raises:
            ValueError: The action is not finite or has the wrong shape.
            gymnasium.error.ResetNeeded: The episode is over or was never started.
        """
        if not self._running:
            raise gymnasium.error.ResetNeeded("the treatment is over: call reset() before step()")
        task = self.task
        if getattr(action, "shape", None) != self._action_shape:
            shape = np.shape(action)
            if shape != self._action_shape:
                raise ValueError(f"the action has shape {shape}; allowed: {self._action_shape}")
        actions, clipped = task.check_actions(np.asarray(action)[None], _ACTIVE)
        if clipped[0]:
            self._clipped += 1
        result = task.step(actions, _ACTIVE)
        terms = result.reward_terms[0].tolist()
        costs = result.costs[0].tolist()
        terminated, truncated = bool(result.terminated[0]), bool(result.truncated[0])
        self._running = not (terminated or truncated)
        info: dict[str, Any] = {
            "reward_terms": dict(zip(task.reward_terms, terms, strict=True)),
            "cost": sum(costs, 0.0),
        }
        info.update(zip(self._cost_names, costs, strict=True))
        info["clipped"] = self._clipped
        info["outcome"] = dict(zip(self._metric_names, result.outcome[0].tolist(), strict=True))
        info["is_success"] = terminated and bool(result.success[0])
        reward = task.weighted_sum(terms)
        return result.observation[0], reward, terminated, truncated, info

    def snapshot(self) -> Snapshot:
        """The whole environment as it is: treatment, patient, random key, counters.

        ``np_random`` and the spaces' generators are not in it: once an environment was reset it
        draws from its random key alone. Wrappers keep their own state.

        Raises:
            gymnasium.error.ResetNeeded: The environment was never reset.
            NotImplementedError: The task has no snapshots.
        """
        if len(self._lanes.unseeded(_LANE)):
            raise gymnasium.error.ResetNeeded("call reset() before the first snapshot()")
        own = {"running": np.array([self._running]), "clipped": np.array([self._clipped])}
        return self._lanes.snapshot(owner_name(self), own)

    def restore(self, snapshot: Snapshot) -> NDArray[Any]:
        """Go back to a snapshot of an environment made alike; returns the observation then.

        A wrapper that asks for a first ``reset()`` wants it before.

        Raises:
            NotImplementedError: The task has no snapshots.
            ValueError: The snapshot is of another environment; the message names the difference.
        """
        running, clipped = np.array([self._running]), np.array([self._clipped])
        own = {"running": running, "clipped": clipped}
        self._lanes.restore(snapshot, owner_name(self), own)
        self._running, self._clipped = bool(running[0]), int(clipped[0])
        return self.task.observe()[0]

    def to_physical(self, action: Any) -> dict[str, Any]:
        """The action in physical units, by name; units stand in ``task.action_parts``."""
        return self.task.to_physical(action)

    def safe_action(self, action: Any) -> NDArray[np.float64]:
        """The largest safe action not above ``action``; see ``TherapyTask.safe_actions``."""
        actions, _ = self.task.check_actions(np.asarray(action)[None], _ACTIVE)
        return self.task.safe_actions(actions)[0]

    def render(self) -> Any:
        """Text (``ansi``) or a uint8 picture (``rgb_array``) of the treatment so far."""
        if self.render_mode is None:
            gymnasium.logger.warn(
                "render() was called without a render mode: pass render_mode='rgb_array' or 'ansi'"
            )
            return None
        return draw_frame(self._lanes, 0, self.render_mode)
