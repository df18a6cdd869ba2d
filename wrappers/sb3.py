"""Native lanes as a Stable-Baselines3 ``VecEnv``."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from oncogym.core.errors import nearest
from oncogym.envs.snapshots import Snapshot
from oncogym.envs.vector_env import TherapyVectorEnv
from oncogym.wrappers.checks import require_lanes
from oncogym.wrappers.lane_env import LaneEnv
from oncogym.wrappers.lane_infos import split_info, split_step_info
from oncogym.wrappers.reward import last_of_step
from oncogym.wrappers.safety import require_scalar_reward
from oncogym.wrappers.vector_spec import recorded


class SB3VecEnv(VecEnv):
    """Stable-Baselines3 view of a (wrapped) :class:`oncogym.envs.vector_env.TherapyVectorEnv`.

    It behaves as ``DummyVecEnv`` with scalar environments in SB3's ``Monitor``. A finished lane's
    info carries what SB3 expects: ``terminal_observation``, ``TimeLimit.truncated`` and ``episode``
    (return, length, seconds), and for training curves ``outcome``, ``is_success``,
    ``episode_terms`` and ``episode_costs`` (sums over the episode).

    ``get_attr``, ``set_attr`` and ``env_method`` speak to lanes as to scalar environments
    (:class:`oncogym.wrappers.lane_env.LaneEnv`); only what lanes share cannot be set for some of
    them, and one lane cannot step alone.

    Args:
        env: A vector environment in ``SAME_STEP`` mode.
        rescale_actions: Offer the symmetric box [-1, 1] that SB3 recommends; it is mapped linearly
            to [0, 1].
        full_infos: Give every lane its complete info at every step and reset, as ``DummyVecEnv``
            does, instead of finished lanes only. This costs a Python loop over lanes.

    Raises:
        TypeError: ``env`` does not consist of native lanes.
        ValueError: The environment resets its lanes in another mode, or its reward is a vector.
    """

    def __init__(
        self, env: VectorEnv, *, rescale_actions: bool = False, full_infos: bool = False
    ) -> None:
        self.task = require_lanes(self, env)
        if not isinstance(env.unwrapped, TherapyVectorEnv):
            raise TypeError(
                f"SB3VecEnv needs native lanes; got {type(env.unwrapped).__name__}: give its "
                "environments to DummyVecEnv"
            )
        require_scalar_reward(self, env)
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"the environment's autoreset_mode is {mode}; Stable-Baselines3 needs SAME_STEP"
            )
        self.env = env
        self.rescale_actions = rescale_actions
        self.full_infos = full_infos
        #: The seed that each lane was last given, ``None`` before the first.
        self.last_seeds: list[int | None] = [None] * env.num_envs
        self._metric_names = [metric.name for metric in self.task.metrics]
        self._begun = False
        self._actions: Any = np.zeros(0)
        self._returns = np.zeros(env.num_envs)
        self._lengths = np.zeros(env.num_envs, np.int64)
        self._terms = np.zeros((env.num_envs, len(self.task.reward_terms)))
        self._costs = np.zeros((env.num_envs, len(self.task.costs)))
        self._started = time.time()
        self._lanes: list[LaneEnv] | None = None
        space = env.single_action_space
        if rescale_actions:
            space = Box(-1.0, 1.0, space.shape, np.float32)
        super().__init__(env.num_envs, env.single_observation_space, space)
        self.metadata = self._lane_envs()[0].metadata

    def reset(self) -> NDArray[Any]:
        """Reset all lanes; seeds and options set before apply once, each lane's own to it.

        Raises:
            ValueError: There is not one dictionary of options for each lane, or one has what the
                scalar environment does not know.
        """
        if len(self._options) != self.num_envs:
            raise ValueError(
                f"{len(self._options)} options for {self.num_envs} lanes; give one a lane"
            )
        options = [self._checked(option) for option in self._options]
        seeds = list(self._seeds)
        everyone = list(range(self.num_envs))
        plain = [lane for lane in everyone if not options[lane]]
        patients = [lane for lane in everyone if set(options[lane]) == {"patient"}]
        others = [lane for lane in everyone if options[lane] and lane not in patients]
        if not self._begun and len(patients) < self.num_envs:
            # Masked resets follow a full one; seeded lanes begin anew in theirs all the same.
            plain = everyone
        infos: list[dict[str, Any]] = [{} for _ in everyone]
        observation: Any = None
        if plain:
            observation = self._reset(plain, seeds, {}, infos)
        if patients:
            # Rows of the lanes that are not meant count for nothing.
            given = {lane: options[lane]["patient"] for lane in patients}
            rows = np.concatenate([given.get(lane, given[patients[0]]) for lane in everyone])
            observation = self._reset(patients, seeds, {"patient": rows}, infos)
        for lane in others:
            observation = self._reset([lane], seeds, options[lane], infos)
        self.reset_infos = infos if self.full_infos else [{} for _ in everyone]
        self._reset_seeds()
        self._reset_options()
        return np.asarray(observation)

    def reset_lanes(
        self, lanes: Sequence[int], *, seed: int | None = None, options: Any = None
    ) -> list[tuple[NDArray[Any], dict[str, Any]]]:
        """Reset some lanes, all with the same seed and options, and leave the others alone.

        Before the first :meth:`reset` the others start too.

        Args:
            lanes: Numbers of the lanes.
            seed: Seed of each of them; without one the next episode of a lane begins.
            options: Options of the reset, as of a scalar environment.

        Returns:
            Observation and info of each of ``lanes``, as of a scalar environment.
        """
        if not lanes:
            return []
        checked = self._checked(options)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if not self._begun:
            self._reset(list(range(self.num_envs)), [None] * self.num_envs, {}, infos)
        observation = self._reset(list(lanes), [seed] * self.num_envs, checked, infos)
        return [(observation[lane].copy(), infos[lane]) for lane in lanes]

    def step_async(self, actions: NDArray[np.generic]) -> None:
        """Keep the actions for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Step all lanes; finished ones are already reset when this returns."""
        actions = self._actions
        if self.rescale_actions:
            actions = (np.asarray(actions) + 1.0) * 0.5
        observation, reward, terminated, truncated, info = self.env.step(actions)
        self._returns += reward
        self._lengths += 1
        for column, name in enumerate(self.task.reward_terms):
            self._terms[:, column] += last_of_step(info, "reward_terms", name)
        for column, name in enumerate(self.task.costs):
            self._costs[:, column] += last_of_step(info, f"cost_{name}")
        done = terminated | truncated
        if self.full_infos:
            infos, resets = split_step_info(info, self.num_envs)
            for part in infos:
                part["TimeLimit.truncated"] = False
            for lane, part in resets.items():
                self.reset_infos[lane] = part
        else:
            infos = [{} for _ in range(self.num_envs)]
        if done.any():
            self._finish(np.flatnonzero(done).tolist(), terminated, info, infos)
        return observation, reward.astype(np.float32), done, infos

    def _finish(
        self,
        lanes: list[int],
        terminated: NDArray[np.bool_],
        info: dict[str, Any],
        infos: list[dict[str, Any]],
    ) -> None:
        final = info["final_info"]
        seconds = round(time.time() - self._started, 6)
        metrics = [last_of_step(info, "outcome", name) for name in self._metric_names]
        outcome = np.stack(metrics, axis=1)
        for lane in lanes:
            infos[lane].update(
                {
                    "terminal_observation": np.array(info["final_obs"][lane]),
                    "TimeLimit.truncated": not bool(terminated[lane]),
                    "episode": {
                        "r": round(float(self._returns[lane]), 6),
                        "l": int(self._lengths[lane]),
                        "t": seconds,
                    },
                    "episode_terms": dict(
                        zip(self.task.reward_terms, self._terms[lane].tolist(), strict=True)
                    ),
                    "episode_costs": dict(
                        zip(self.task.costs, self._costs[lane].tolist(), strict=True)
                    ),
                    "outcome": dict(zip(self._metric_names, outcome[lane].tolist(), strict=True)),
                    "is_success": bool(final["is_success"][lane]),
                }
            )
        self._clear(lanes)

    def snapshot(self) -> tuple[Snapshot, dict[str, NDArray[Any]]]:
        """The lanes as they are, and the totals of their episodes so far.

        Raises:
            gymnasium.error.ResetNeeded: The environment was never reset.
            NotImplementedError: The task has no snapshots.
        """
        base: Any = self.env.unwrapped
        return base.snapshot(), {name: total.copy() for name, total in self._totals().items()}

    def restore(self, snapshot: Snapshot, totals: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Put back what :meth:`snapshot` gave; returns the observations of all lanes.

        Raises:
            NotImplementedError: The task has no snapshots.
            KeyError, ValueError: It does not fit.
        """
        base: Any = self.env.unwrapped
        for name, total in self._totals().items():
            if totals[name].shape != total.shape:
                raise ValueError(f"{name} has shape {totals[name].shape}; allowed: {total.shape}")
            total[...] = totals[name]
        observation = base.restore(snapshot)
        self._begun = True
        return np.asarray(observation)

    def _totals(self) -> dict[str, NDArray[Any]]:
        return {
            "returns": self._returns,
            "lengths": self._lengths,
            "terms": self._terms,
            "costs": self._costs,
        }

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute of each lane asked for.

        It is the scalar environment's (``observation_space``, ``patient``, ``spec``, …), the lane's
        own if :meth:`set_attr` gave it one, or else whole that of the vector environment or the
        outermost of its wrappers that has it.

        Raises:
            AttributeError: There is none.
        """
        lanes = self._chosen(indices)
        if attr_name in ("patient", "patients") and lanes:
            base: Any = self.env.unwrapped
            rows = base.patients  # once, not once a lane
            chosen = [rows[lane.lane] for lane in lanes]
            if attr_name == "patients":
                return [row.copy() for row in chosen]
            return [lanes[0].treatment.patient.from_array(row) for row in chosen]
        return [getattr(lane, attr_name) for lane in lanes]

    def set_attr(self, attr_name: str, value: object, indices: object = None) -> None:
        """Set an attribute of lanes.

        What the vector environment or a wrapper of it has (``multiplier``, ``weights``) is shared
        and set there; everything else becomes the lanes' own.

        Raises:
            ValueError: The lanes share the attribute, and not all are meant.
            AttributeError: It cannot be set: patients, for example, are given to :meth:`reset` by
                ``set_options``.
        """
        lanes = self._chosen(indices)
        if not lanes:
            return
        known = hasattr(type(lanes[0]), attr_name) or attr_name in vars(lanes[0])
        if not known and not attr_name.startswith("_") and self._has_owner(attr_name):
            if len({lane.lane for lane in lanes}) != self.num_envs:
                raise ValueError(
                    f"lanes share {attr_name!r}: set it for all {self.num_envs} of them at once"
                )
            setattr(self.find_owner(attr_name), attr_name, value)
            return
        for lane in lanes:
            setattr(lane, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of each lane asked for; the results are those of scalar environments.

        A method that only the vector environment or a wrapper of it has is called once for all
        lanes, and a result with one entry a lane is taken apart.

        Raises:
            AttributeError: There is no such method.
            ValueError: It is one of all lanes together, and not all are meant.
        """
        lanes = self._chosen(indices)
        numbers = [lane.lane for lane in lanes]
        if method_name == "reset" and not method_args:
            return self.reset_lanes(numbers, **method_kwargs)
        if method_name == "render" and not method_args and not method_kwargs:
            return self._render(numbers)
        if all(hasattr(type(lane), method_name) or method_name in vars(lane) for lane in lanes):
            return [getattr(lane, method_name)(*method_args, **method_kwargs) for lane in lanes]
        method = getattr(lanes[0], method_name)
        if set(numbers) != set(range(self.num_envs)):
            raise ValueError(
                f"{method_name!r} is a method of all {self.num_envs} lanes together; call it "
                "without indices"
            )
        result = method(*method_args, **method_kwargs)
        if isinstance(result, (tuple, list, np.ndarray)) and len(result) == self.num_envs:
            return [result[lane] for lane in numbers]
        return [result for _ in numbers]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Whether lanes are in a wrapper, or in the vector twin of one.

        SB3's ``Monitor`` counts, as its info is given; so do ``TimeLimit`` with a
        ``max_episode_steps`` and ``RescaleAction`` with ``rescale_actions``.
        """
        present: list[type] = [Monitor, *(wrapper.twin for wrapper in recorded(self.env))]
        spec = self._lane_envs()[0].spec
        if spec is not None and spec.max_episode_steps is not None:
            present.append(gymnasium.wrappers.TimeLimit)
        if self.rescale_actions:
            present.append(gymnasium.wrappers.RescaleAction)
        env: Any = self.env
        while isinstance(env, VectorWrapper):
            present.append(type(env))
            env = env.env
        found = any(issubclass(kind, wrapper_class) for kind in present)
        return [found for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """One uint8 picture ``(height, width, 3)`` a lane, ``None`` in another render mode."""
        if self.render_mode != "rgb_array":
            warnings.warn(
                f"The render mode is {self.render_mode}, and only rgb_array gives images.",
                stacklevel=2,
            )
            return [None for _ in range(self.num_envs)]
        return self._render(list(range(self.num_envs)))

    def find_owner(self, name: str) -> Any:
        """The outermost of the wrappers and the vector environment that has an attribute.

        Raises:
            AttributeError: None has.
        """
        env: Any = self.env
        while env is not None:
            if name in vars(env) or hasattr(type(env), name):
                return env
            env = vars(env).get("env")
        raise AttributeError(f"neither the environment nor a wrapper of it has {name!r}")

    def _has_owner(self, name: str) -> bool:
        try:
            self.find_owner(name)
        except AttributeError:
            return False
        return True

    def _lane_envs(self) -> list[LaneEnv]:
        if self._lanes is None:
            self._lanes = [LaneEnv(self, lane) for lane in range(self.num_envs)]
        return self._lanes

    def _chosen(self, indices: Any) -> list[LaneEnv]:
        lanes = self._lane_envs()
        return [lanes[index] for index in self._get_indices(indices)]

    def _render(self, lanes: list[int]) -> list[Any]:
        frames: Any = self.env.render()
        if frames is None:
            gymnasium.logger.warn(
                "render() was called without a render mode: pass render_mode='rgb_array' or 'ansi'"
            )
            return [None for _ in lanes]
        return [frames[lane] for lane in lanes]

    def _reset(
        self,
        lanes: list[int],
        seeds: list[int | None],
        options: dict[str, Any],
        infos: list[dict[str, Any]],
    ) -> Any:
        """Reset ``lanes``, put their infos among ``infos``, and return all observations."""
        if len(set(lanes)) < self.num_envs:
            mask = np.zeros(self.num_envs, np.bool_)
            mask[lanes] = True
            options = {**options, "reset_mask": mask}
        chosen: Any = None if all(seeds[lane] is None for lane in lanes) else seeds
        observation, info = self.env.reset(seed=chosen, options=options or None)
        self._begun = True
        self._clear(lanes)
        parts = split_info(info, self.num_envs)
        for lane in lanes:
            infos[lane] = parts[lane]
            if seeds[lane] is not None:
                self.last_seeds[lane] = seeds[lane]
        return observation

    def _clear(self, lanes: list[int]) -> None:
        for total in (self._returns, self._lengths, self._terms, self._costs):
            total[lanes] = 0

    def _checked(self, options: Any) -> dict[str, Any]:
        """Options of a scalar environment as the lanes take them, the patient as a row."""
        options = dict(options or {})
        if "reset_mask" in options:
            raise nearest("reset option", "reset_mask", ("patient",))
        patient = options.pop("patient", None)
        if patient is not None:
            treatment = self._lane_envs()[0].treatment
            options["patient"] = treatment.patient_rows(patient, 1)
        return options
