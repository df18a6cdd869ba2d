"""Many treatments at once as a :class:`gymnasium.vector.VectorEnv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from oncogym.core.errors import nearest
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
from oncogym.envs.snapshots import Snapshot, State, owner_name
from oncogym.envs.therapy import Floats, TherapyTask, real_numbers
from oncogym.envs.treatment import Treatment


class _Shown(NamedTuple):
    """What an info is made of, one row a lane."""

    terms: Floats
    costs: Floats
    outcome: Floats
    success: NDArray[np.bool_]
    clips: NDArray[np.int64]


class TherapyVectorEnv(VectorEnv):
    """All lanes of a task, reset one by one as their episodes end.

    Lane *i* after ``reset(seed=s)`` is bit-identical to the scalar environment after
    ``reset(seed=s + i)``. ``info`` has the scalar environment's keys with Gymnasium's vector
    layout: arrays over lanes, each with a mask under ``_key``.

    Args:
        treatment: Name of a registered treatment.
        num_envs: Number of lanes.
        autoreset_mode: ``"SameStep"`` (default: the last observation and info of an episode are in
            ``info["final_obs"]`` and ``info["final_info"]``), ``"NextStep"``, or ``"Disabled"``
            (a finished lane stays as it is until ``reset(options={"reset_mask": …})``: its
            observation repeats, its action is ignored, its reward is 0, ``terminated`` and
            ``truncated`` were true in the step of its end only, and its infos are masked out. So
            Gymnasium's statistics count each episode once. ``SyncVectorEnv`` refuses to step
            then).
        max_episode_steps: Truncate episodes at this many decisions.
        flat_info: Give the same infos without nesting, ``info["outcome/…"]`` in place of
            ``info["outcome"]["…"]``, for libraries that cannot read nested ones. ``final_info``
            stays a dictionary, as with all vector environments of Gymnasium, but a flat one.
        cohort, patient, render_mode, **options: As in the scalar environment.

    Batches of fewer than ``task.parallel_lanes`` start no threads.

    After ``np_random`` was set, every unseeded start of a lane draws the key of its episode from
    that generator, in the order of the lanes, until the lane is seeded.
    """

    def __init__(
        self,
        treatment: str | Treatment,
        num_envs: int = 1,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
        max_episode_steps: int | None = None,
        cohort: CohortName = "nominal",
        patient: Mapping[str, float] | str | None = None,
        render_mode: str | None = None,
        flat_info: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.flat_info = check_flag("flat_info", flat_info)
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ValueError(f"max_episode_steps is {max_episode_steps}; allowed: at least 1")
        self._max_episode_steps = max_episode_steps
        self.render_mode = check_render_mode(render_mode)
        self._lanes = Lanes(treatment, num_envs, cohort, patient, **options)
        self.task: TherapyTask = self._lanes.task
        self.num_envs = self.task.num_lanes
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": 4,
            "autoreset_mode": self.autoreset_mode,
        }
        self.single_observation_space = self.task.observation_space
        self.single_action_space = self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._all = np.arange(self.num_envs)
        self._elapsed = np.zeros(self.num_envs, np.int64)
        self._clipped = np.zeros(self.num_envs, np.int64)
        self._over = np.zeros(self.num_envs, np.bool_)
        self._observation: NDArray[Any] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> TherapyVectorEnv:
        return copy_object(self, memo, shared=("spec",))

    @property
    def np_random(self) -> np.random.Generator:
        """The generator that decides unseeded starts; see the class."""
        return super().np_random

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self._np_random, self._np_random_seed = check_generator(value), -1
        self._lanes.follow(value)

    @property
    def treatment(self) -> Treatment:
        """The treatment record behind this environment."""
        return self._lanes.treatment

    @property
    def patients(self) -> Floats:
        """Patient rows ``(num_envs, fields)`` of the current episodes, hidden from agents."""
        return self._lanes.patients.copy()

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start all lanes, or those in ``options["reset_mask"]``.

        Args:
            seed: Lane *i* is seeded with ``seed + i``; a sequence gives one seed a lane; ``None``
                goes on with each lane's stream. Seeds are integers of at least 0, of any size.
            options: ``patient`` (one for all lanes, or a sequence of ``num_envs``) and
                ``reset_mask`` (bool ``(num_envs,)``).

        Raises:
            ValueError: A seed is none, an option is unknown or has the wrong form, or a masked
                reset comes before the first full one.
        """
        check_reset_options(options, ("patient", "reset_mask"))
        options = options or {}
        mask = self._reset_mask(options.get("reset_mask"))
        lanes = self._all if mask is None else np.flatnonzero(mask)
        self._seed_lanes(lanes, seed)
        patient = options.get("patient")
        if patient is not None and mask is not None:
            patient = self.treatment.patient_rows(patient, self.num_envs)[lanes]
        fresh = self._start(lanes, patient)
        if mask is None:
            observation = fresh
        else:
            assert self._observation is not None
            observation = self._observation.copy()
            observation[lanes] = fresh
        self._observation = observation
        present = np.zeros(self.num_envs, np.bool_)
        present[lanes] = True
        return observation.copy(), self._info(self._blank(), present)

    def step(
        self, actions: Any
    ) -> tuple[NDArray[Any], Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Take one decision in every lane.

        Raises:
            ValueError: The actions have the wrong shape or one is not finite (the lane is named).
            gymnasium.error.ResetNeeded: The environment was never reset.
        """
        if self._observation is None:
            raise gymnasium.error.ResetNeeded("call reset() before the first step()")
        over = self._over.copy()
        active = ~over
        batch, clipped = self.task.check_actions(actions, active)
        result = self.task.step(batch, active)
        self._elapsed += active
        self._clipped += clipped
        terminated = result.terminated & active
        truncated = result.truncated & active
        if self._max_episode_steps is not None:
            truncated |= active & (self._elapsed >= self._max_episode_steps)
        terms, costs, outcome = result.reward_terms, result.costs, result.outcome
        success = result.success & terminated
        observation = result.observation
        if over.any():
            terms[over] = costs[over] = outcome[over] = 0.0
            if self.autoreset_mode is AutoresetMode.NEXT_STEP:
                observation[over] = self._start(np.flatnonzero(over))
            else:
                observation[over] = self._observation[over]
        reward = self.task.weighted_reward(terms)
        done = terminated | truncated
        present = np.ones(self.num_envs, np.bool_)
        if self.autoreset_mode is AutoresetMode.DISABLED:
            present = active
            self._over = over | done
        else:
            self._over = done.copy()
        clips = np.where(present, self._clipped, 0)
        final: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and done.any():
            lanes = np.flatnonzero(done)
            final_obs = np.full(self.num_envs, None, dtype=object)
            final_obs[lanes] = np.fromiter(observation[lanes], dtype=object, count=len(lanes))
            blank = self._blank()
            shown = _Shown(terms, costs, outcome, success, clips)
            last = _Shown._make(array.copy() for array in shown)
            for kept, now, zero in zip(last, shown, blank, strict=True):
                kept[~done] = 0
                now[lanes] = zero[lanes]
            final = {
                "final_obs": final_obs,
                "_final_obs": done.copy(),
                "final_info": self._info(last, done.copy()),
                "_final_info": done.copy(),
            }
            observation[lanes] = self._start(lanes)
        info = self._info(_Shown(terms, costs, outcome, success, clips), present)
        info.update(final)
        self._observation = observation
        return observation.copy(), reward, terminated, truncated, info

    def render(self) -> tuple[Any, ...] | None:
        """One frame a lane: text (``ansi``) or uint8 pictures (``rgb_array``)."""
        if self.render_mode is None:
            return None
        return tuple(
            draw_frame(self._lanes, lane, self.render_mode) for lane in range(self.num_envs)
        )

    def snapshot(self, lanes: NDArray[np.intp] | None = None) -> Snapshot:
        """Lanes as they are: treatments, patients, random keys, counters, last observations.

        Enough for a checkpoint: after :meth:`restore`, here or in an environment made alike, all
        that follows is bit for bit what would have followed, new patients included. ``np_random``
        and the spaces' generators are not in it: lanes that were reset draw from their random keys
        alone.

        Args:
            lanes: Lane numbers ``(k,)``, all by default.

        Raises:
            gymnasium.error.ResetNeeded: The environment was never reset.
            NotImplementedError: The task has no snapshots.
            ValueError: A lane is out of range.
        """
        if self._observation is None:
            raise gymnasium.error.ResetNeeded("call reset() before the first snapshot()")
        return self._lanes.snapshot(self._snapshot_owner, self._own_state(self._observation), lanes)

    def restore(self, snapshot: Snapshot, lanes: NDArray[np.intp] | None = None) -> NDArray[Any]:
        """Put lane ``k`` of a snapshot into ``lanes[k]``.

        Args:
            snapshot: One of an environment of the same task and autoreset mode.
            lanes: Lane numbers ``(k,)``, all different; all lanes by default.

        Returns:
            The last observations of all lanes ``(num_envs, …)``.

        Raises:
            gymnasium.error.ResetNeeded: Some lanes were neither reset nor are restored.
            NotImplementedError: The task has no snapshots.
            ValueError: The snapshot is of another environment or does not fit into the lanes; the
                message names the difference.
        """
        if self._observation is not None:
            observation = self._observation.copy()
        elif lanes is None or len(lanes) == self.num_envs:
            space = self.single_observation_space
            observation = np.zeros((self.num_envs, *(space.shape or ())), space.dtype)
        else:
            raise gymnasium.error.ResetNeeded("call reset() before some lanes are restored")
        self._lanes.restore(snapshot, self._snapshot_owner, self._own_state(observation), lanes)
        self._observation = observation
        return observation.copy()

    @property
    def _snapshot_owner(self) -> str:
        # What is pending differs with the mode.
        return f"{owner_name(self)} ({self.autoreset_mode.value})"

    def _own_state(self, observation: NDArray[np.generic]) -> State:
        return {
            "observation": observation,
            "elapsed": self._elapsed,
            "clipped": self._clipped,
            "over": self._over,
        }

    def to_physical(self, actions: object) -> dict[str, Any]:
        """The actions in physical units, by name; units stand in ``task.action_parts``."""
        return self.task.to_physical(real_numbers("actions", actions))

    def safe_actions(self, actions: object) -> Floats:
        """The largest safe actions not above ``actions``; see ``TherapyTask.safe_actions``."""
        batch, _ = self.task.check_actions(actions, ~self._over)
        return self.task.safe_actions(batch)

    def _start(self, lanes: NDArray[np.intp], patient: object = None) -> NDArray[Any]:
        observation = self._lanes.reset(lanes, patient)
        self._elapsed[lanes] = 0
        self._clipped[lanes] = 0
        self._over[lanes] = False
        return observation

    def _seed_lanes(self, lanes: NDArray[np.intp], seed: Any) -> None:
        if seed is None:
            lanes = self._lanes.unseeded(lanes)
            if len(lanes):
                self._lanes.seed(lanes, self.np_random.integers(2**63, size=len(lanes)).tolist())
            return
        if hasattr(seed, "__len__"):
            if len(seed) != self.num_envs:
                raise ValueError(f"{len(seed)} seeds for {self.num_envs} lanes; give one a lane")
            seeds = [None if one is None else check_seed(one) for one in seed]
        else:
            seed = check_seed(seed)
            super().reset(seed=seed)
            seeds = [seed + lane for lane in range(self.num_envs)]
        given = np.array([lane for lane in lanes if seeds[lane] is not None], np.intp)
        self._lanes.seed(given, [s for s in (seeds[lane] for lane in given) if s is not None])
        self._seed_lanes(lanes, None)

    def _reset_mask(self, mask: object) -> NDArray[np.bool_] | None:
        if mask is None:
            return None
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise ValueError("options['reset_mask'] must be a bool array")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"options['reset_mask'] has shape {mask.shape} and {int(mask.sum())} lanes set; "
                f"allowed: shape ({self.num_envs},) with at least one lane set"
            )
        if self._observation is None and not mask.all():
            raise ValueError("the first reset must start all lanes")
        return None if mask.all() else mask

    def _blank(self) -> _Shown:
        lanes = self.num_envs
        return _Shown(
            np.zeros((lanes, len(self.task.reward_terms))),
            np.zeros((lanes, len(self.task.costs))),
            np.zeros((lanes, len(self.task.metrics))),
            np.zeros(lanes, np.bool_),
            np.zeros(lanes, np.int64),
        )

    def _info(self, shown: _Shown, present: NDArray[np.bool_]) -> dict[str, Any]:
        terms, costs, outcome, success, clips = shown
        task = self.task
        total = np.zeros(self.num_envs)
        for column in range(len(task.costs)):
            total += costs[:, column]
        info: dict[str, object] = {}
        self._add_group(info, "reward_terms", task.reward_terms, terms, present)
        info["cost"], info["_cost"] = total, present
        _columns(info, [f"cost_{name}" for name in task.costs], costs, present)
        info["clipped"], info["_clipped"] = clips, present
        self._add_group(info, "outcome", [m.name for m in task.metrics], outcome, present)
        info["is_success"], info["_is_success"] = success, present
        return info

    def _add_group(
        self,
        info: dict[str, Any],
        group: str,
        names: Sequence[str],
        table: Floats,
        present: NDArray[np.bool_],
    ) -> None:
        if self.flat_info:
            _columns(info, flat_keys(group, names), table, present)
        else:
            info[group], info[f"_{group}"] = {}, present
            _columns(info[group], names, table, present)


def _columns(
    target: dict[str, Any], names: Sequence[str], table: Floats, present: NDArray[np.bool_]
) -> None:
    for column, name in enumerate(names):
        target[name] = table[:, column]
        target[f"_{name}"] = present


def _autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise nearest("autoreset mode", str(mode), [m.value for m in AutoresetMode]) from None
