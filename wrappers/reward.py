"""Reweigh the named reward terms of an environment, scalar or vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from oncogym.core.errors import nearest
from oncogym.envs.infos import read_info


def _checked(weights: Mapping[str, float], env: Any) -> dict[str, float]:
    known = env.unwrapped.task.reward_terms
    for name, value in weights.items():
        if name not in known:
            raise nearest("reward term", name, known)
        if not np.isfinite(value):
            raise ValueError(f"the weight of reward term {name!r} is {value}; it must be finite")
    return {name: float(weights[name]) for name in known if weights.get(name, 0.0) != 0.0}


class RewardWeights(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Replace the reward by a weighted sum of ``info["reward_terms"]``.

    Args:
        env: A therapy environment, wrapped or not.
        weights: Weight by term name; terms that are not named weigh nothing.

    Raises:
        UnknownNameError: A term does not exist; the message suggests the nearest.
    """

    def __init__(self, env: gymnasium.Env, weights: Mapping[str, float]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, weights=dict(weights))
        super().__init__(env)
        self.weights = _checked(weights, env)

    def step(self, action: Any) -> Any:
        """Step the environment and reweigh."""
        observation, _, terminated, truncated, info = self.env.step(action)
        terms = ((read_info(info, "reward_terms", name), w) for name, w in self.weights.items())
        reward = sum((w * term for term, w in terms), 0.0)
        return observation, reward, terminated, truncated, info


class VectorRewardWeights(VectorWrapper):
    """:class:`RewardWeights` for vector environments, in every autoreset mode."""

    def __init__(self, env: VectorEnv, weights: Mapping[str, float]) -> None:
        super().__init__(env)
        self.weights = _checked(weights, env)

    def step(self, actions: Any) -> Any:
        """Step the environment and reweigh."""
        observation, _, terminated, truncated, info = self.env.step(actions)
        reward = np.zeros(self.num_envs)
        for name, weight in self.weights.items():
            reward += weight * last_of_step(info, "reward_terms", name)
        return observation, reward, terminated, truncated, info


def last_of_step(info: dict[str, Any], *path: str) -> np.ndarray:
    """An info array as the step left it, also where SAME_STEP has already reset the lane.

    ``path`` leads to the array, for example ``("reward_terms", "dose")``, in nested infos and in
    flat ones.
    """
    value = read_info(info, *path)
    if "final_info" not in info:
        return value
    return np.where(info["_final_info"], read_info(info["final_info"], *path), value)
