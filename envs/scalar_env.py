"""One treatment as a :class:`gymnasium.Env`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from oncogym.envs.cohort import CohortName
from oncogym.envs.copies import copy_object
from oncogym.envs.infos import flat_keys
from oncogym.envs.lanes import (
    RENDER_MODES,
    Lanes,
    check_flag,
    check_generator,
    check_render_mode,
    check_reset_options,
    check_seed,
    draw_frame,
)
from oncogym.envs.snapshots import Snapshot, owner_name
from oncogym.envs.therapy import TherapyTask, real_numbers
from oncogym.envs.treatment import Treatment

_LANE = np.zeros(1, np.intp)
_ACTIVE = np.ones(1, np.bool_)


class TherapyEnv(gymnasium.Env):
    """Lane 0 of a one-lane task.

    Args:
        treatment: Name of a registered treatment.
        cohort: Cohort from which every reset draws its patient: a name, or one of your own as the
            path of a JSON file or its content, see :meth:`oncogym.envs.cohort.Cohort.from_json`.
        patient: A fixed patient instead, as a mapping of field values or the path of a JSON file.
        render_mode: ``None``, ``"ansi"`` or ``"rgb_array"``.
        flat_info: Give the same infos without nesting, for libraries that cannot read nested ones:
            ``info["reward_terms/…"]`` and ``info["outcome/…"]``.
        frameskip: 1 or ``None``. TorchRL's ``GymEnv`` hands this over with every environment that
            it makes; as it cannot read nested infos, 1 makes ``flat_info`` true by default.
        **options: Options of the treatment's task, see its page.

    ``reset(options={"patient": …})`` fixes the patient of one episode. The keys of ``info`` are the
    same at every reset and step: ``reward_terms`` (unweighted, by name), ``cost`` and its parts
    ``cost_*``, ``clipped`` (decisions of this episode whose action lay outside the box),
    ``outcome`` (clinical metrics so far, final when the episode ends) and ``is_success``. All are
    zero in the ``info`` of a reset.

    ``reset(seed=…)`` takes any integer of at least 0. Unseeded resets go on with the stream of the
    last seed; after ``np_random`` was set, each draws the key of its episode from that generator,
    as in Gymnasium's own environments, until the next seed.

    An environment starts no threads. A deep copy or a pickle has its own state and goes on as the
    original would; what never changes is shared by copies.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4}

    def __init__(
        self,
        treatment: str | Treatment,
        *,
        cohort: CohortName = "nominal",
        patient: Mapping[str, float] | str | None = None,
        render_mode: str | None = None,
        flat_info: bool | None = None,
        frameskip: int | None = None,
        **options: Any,
    ) -> None:
        if frameskip not in (None, 1):
            # The words by which TorchRL knows that it has to repeat actions itself.
            raise TypeError(
                f"got an unexpected keyword argument 'frameskip' of {frameskip!r}; allowed: 1"
            )
        self.flat_info = check_flag("flat_info", frameskip == 1 if flat_info is None else flat_info)
        self.render_mode = check_render_mode(render_mode)
        # Vector environments of Gymnasium 1.1 write into that of the first environment.
        self.metadata = dict(type(self).metadata)
        self._lanes = Lanes(treatment, 1, cohort, patient, **options)
        self.task: TherapyTask = self._lanes.task
        self.observation_space = self.task.observation_space
        self.action_space = self.task.action_space
        self._action_shape = self.action_space.shape
        self._term_names = self.task.reward_terms
        self._cost_names = tuple(f"cost_{name}" for name in self.task.costs)
        self._metric_names = tuple(metric.name for metric in self.task.metrics)
        if self.flat_info:
            self._term_names = flat_keys("reward_terms", self._term_names)
            self._metric_names = flat_keys("outcome", self._metric_names)
        # Overwritten by every step, which gives away copies.
        self._result = self.task.empty_result()
        self._running = False
        self._clipped = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> TherapyEnv:
        return copy_object(self, memo, shared=("spec", "metadata"))

    @property
    def np_random(self) -> np.random.Generator:
        """The generator that decides resets; see the class."""
        generator: np.random.Generator = super().np_random
        return generator

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self._np_random, self._np_random_seed = check_generator(value), -1
        self._lanes.follow(value)

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
        if seed is not None:
            seed = check_seed(seed)
            super().reset(seed=seed)
            self._lanes.seed(_LANE, [seed])
        elif len(self._lanes.unseeded(_LANE)):
            self._lanes.seed(_LANE, [int(self.np_random.integers(2**63))])
        observation = self._lanes.reset(_LANE, (options or {}).get("patient"))
        self._running = True
        self._clipped = 0
        terms, costs = [0.0] * len(self._term_names), [0.0] * len(self._cost_names)
        info = self._info(terms, costs, [0.0] * len(self._metric_names), False)
        return observation[0], info

    def _info(
        self, terms: list[float], costs: list[float], outcome: list[float], success: bool
    ) -> dict[str, Any]:
        named_terms = zip(self._term_names, terms, strict=True)
        named_outcome = zip(self._metric_names, outcome, strict=True)
        if self.flat_info:
            info: dict[str, object] = dict(named_terms)
        else:
            info = {"reward_terms": dict(named_terms)}
        info["cost"] = sum(costs, 0.0)
        info.update(zip(self._cost_names, costs, strict=True))
        info["clipped"] = self._clipped
        if self.flat_info:
            info.update(named_outcome)
        else:
            info["outcome"] = dict(named_outcome)
        info["is_success"] = success
        return info

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Take one decision.

        Raises:
            ValueError: The action is no array of finite real numbers or has the wrong shape.
            gymnasium.error.ResetNeeded: The episode is over or was never started.
        """
        if not self._running:
            raise gymnasium.error.ResetNeeded("the treatment is over: call reset() before step()")
        task = self.task
        if getattr(action, "shape", None) != self._action_shape:
            shape = np.shape(action)
            if shape != self._action_shape:
                raise ValueError(f"the action has shape {shape}; allowed: {self._action_shape}")
        actions, clipped = task.check_actions(np.asanyarray(action)[None], _ACTIVE)
        if clipped[0]:
            self._clipped += 1
        result = task.step(actions, _ACTIVE, self._result)
        terms = result.reward_terms[0].tolist()
        costs = result.costs[0].tolist()
        terminated, truncated = bool(result.terminated[0]), bool(result.truncated[0])
        self._running = not (terminated or truncated)
        success = terminated and bool(result.success[0])
        info = self._info(terms, costs, result.outcome[0].tolist(), success)
        reward = task.weighted_sum(terms)
        return result.observation[0].copy(), reward, terminated, truncated, info

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

    def to_physical(self, action: object) -> dict[str, Any]:
        """The action in physical units, by name; units stand in ``task.action_parts``."""
        return self.task.to_physical(real_numbers("the action's components", action))

    def safe_action(self, action: object) -> NDArray[np.float64]:
        """The largest safe action not above ``action``; see ``TherapyTask.safe_actions``."""
        actions, _ = self.task.check_actions(np.asanyarray(action)[None], _ACTIVE)
        return self.task.safe_actions(actions)[0]

    def render(self) -> Any:
        """Text (``ansi``) or a uint8 picture (``rgb_array``) of the treatment so far."""
        if self.render_mode is None:
            gymnasium.logger.warn(
                "render() was called without a render mode: pass render_mode='rgb_array' or 'ansi'"
            )
            return None
        return draw_frame(self._lanes, 0, self.render_mode)
