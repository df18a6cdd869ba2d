"""Native lanes as a Stable-Baselines3 ``VecEnv``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from oncogym.wrappers.reward import last_of_step


class SB3VecEnv(VecEnv):
    """Stable-Baselines3 view of a (wrapped) :class:`oncogym.envs.vector_env.TherapyVectorEnv`.

    A finished lane's info carries what SB3 expects: ``terminal_observation``,
    ``TimeLimit.truncated`` and ``episode`` (return, length, seconds), and for training curves
    ``outcome``, ``is_success``, ``episode_terms`` and ``episode_costs`` (sums over the episode).

    Args:
        env: A vector environment in ``SAME_STEP`` mode.
        rescale_actions: Offer the symmetric box [-1, 1] that SB3 recommends; it is mapped linearly
            to [0, 1].
        full_infos: Give every lane its complete info at every step instead of finished lanes only.
            This costs a Python loop over lanes.

    Raises:
        ValueError: The environment resets its lanes in another mode.
    """

    def __init__(
        self, env: VectorEnv, *, rescale_actions: bool = False, full_infos: bool = False
    ) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"the environment's autoreset_mode is {mode}; Stable-Baselines3 needs SAME_STEP"
            )
        self.env = env
        self.rescale_actions = rescale_actions
        self.full_infos = full_infos
        base: Any = env.unwrapped
        self.task = base.task
        self._metric_names = [metric.name for metric in self.task.metrics]
        self._actions: np.ndarray = np.zeros(0)
        self._returns = np.zeros(env.num_envs)
        self._lengths = np.zeros(env.num_envs, np.int64)
        self._terms = np.zeros((env.num_envs, len(self.task.reward_terms)))
        self._costs = np.zeros((env.num_envs, len(self.task.costs)))
        self._started = time.perf_counter()
        space = env.single_action_space
        if rescale_actions:
            space = Box(-1.0, 1.0, space.shape, np.float32)
        super().__init__(env.num_envs, env.single_observation_space, space)

    def reset(self) -> np.ndarray:
        """Reset all lanes; seeds and options set before apply once."""
        options = [option for option in self._options if option]
        if options and any(option != self._options[0] for option in self._options):
            raise ValueError("lanes share one reset: give the same options to all of them")
        seeds = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        observation, info = self.env.reset(seed=seeds, options=options[0] if options else None)  # type: ignore[arg-type]
        for total in (self._returns, self._lengths, self._terms, self._costs):
            total[...] = 0
        if self.full_infos:
            self.reset_infos = [lane_info(info, lane) for lane in range(self.num_envs)]
        else:
            self.reset_infos = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return np.asarray(observation)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Step all lanes; finished ones are already reset when this returns."""
        actions = (self._actions + 1.0) * 0.5 if self.rescale_actions else self._actions
        observation, reward, terminated, truncated, info = self.env.step(actions)
        self._returns += reward
        self._lengths += 1
        for column, name in enumerate(self.task.reward_terms):
            self._terms[:, column] += last_of_step(info, "reward_terms", name)
        for column, name in enumerate(self.task.costs):
            self._costs[:, column] += last_of_step(info, f"cost_{name}")
        done = terminated | truncated
        if self.full_infos:
            infos = [lane_info(info, lane) for lane in range(self.num_envs)]
        else:
            infos = [{} for _ in range(self.num_envs)]
        if done.any():
            self._finish(np.flatnonzero(done), terminated, info, infos)
        return observation, reward.astype(np.float32), done, infos

    def _finish(
        self,
        lanes: np.ndarray,
        terminated: np.ndarray,
        info: dict[str, Any],
        infos: list[dict[str, Any]],
    ) -> None:
        final = info["final_info"]
        seconds = round(time.perf_counter() - self._started, 6)
        outcome = np.stack([final["outcome"][name] for name in self._metric_names], axis=1)
        for lane in lanes:
            infos[lane].update(
                {
                    "terminal_observation": info["final_obs"][lane],
                    "TimeLimit.truncated": not bool(terminated[lane]),
                    "episode": {
                        "r": float(self._returns[lane]),
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
        for total in (self._returns, self._lengths, self._terms, self._costs):
            total[lanes] = 0

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute of the vector environment, once for each lane asked for."""
        return self._per_lane(self._find(attr_name), indices)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the vector environment; lanes share it, so all are set together."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError("lanes share their attributes: set one for all lanes at once")
        setattr(self._owner(attr_name), attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the vector environment once and give each lane its part of the result.

        A result with one entry a lane is taken apart; any other is repeated.
        """
        result = self._find(method_name)(*method_args, **method_kwargs)
        return self._per_lane(result, indices)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Whether a wrapper is around the lanes; SB3's ``Monitor`` counts, as we give its info."""
        found = isinstance(wrapper_class, type) and issubclass(wrapper_class, Monitor)
        env: Any = self.env
        while not found and env is not None:
            found = isinstance(env, wrapper_class)
            env = getattr(env, "env", None)
        return [found for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One frame a lane."""
        frames = self.env.render()
        return [] if frames is None else list(frames)  # type: ignore[arg-type]

    def _owner(self, name: str) -> Any:
        env: Any = self.env
        while env is not None:
            if name in vars(env) or hasattr(type(env), name):
                return env
            env = vars(env).get("env")
        raise AttributeError(f"neither the environment nor a wrapper of it has {name!r}")

    def _find(self, name: str) -> Any:
        return getattr(self._owner(name), name)

    def _per_lane(self, value: Any, indices: Any) -> list[Any]:
        lanes = list(self._get_indices(indices))
        if isinstance(value, (tuple, list, np.ndarray)) and len(value) == self.num_envs:
            return [value[lane] for lane in lanes]
        return [value for _ in lanes]


def lane_info(info: dict[str, Any], lane: int) -> dict[str, Any]:
    """One lane's part of a vector info, in the scalar environment's layout."""
    out: dict[str, Any] = {}
    for key, value in info.items():
        if key.startswith(("_", "final_")) or not info[f"_{key}"][lane]:
            continue
        if isinstance(value, dict):
            out[key] = lane_info(value, lane)
        else:
            item = value[lane]
            out[key] = item.item() if isinstance(item, np.generic) else item
    return out
