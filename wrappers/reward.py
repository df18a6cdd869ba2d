"""Reweigh the named reward terms of an environment, scalar or vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from oncogym.core.errors import nearest
from oncogym.envs.infos import read_info
from oncogym.wrappers.checks import is_number, require_env, require_lanes
from oncogym.wrappers.vector_spec import RecordedVectorWrapper


def _checked(weights: Any, task: Any) -> dict[str, float]:
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError(
            f"weights is {weights!r}; allowed: a mapping of at least one reward term to its weight"
        )
    known = task.reward_terms
    for name, value in weights.items():
        if name not in known:
            raise nearest("reward term", name, known)
        if not is_number(value):
            raise ValueError(
                f"the weight of reward term {name!r} is {value!r}; it must be finite and a number"
            )
    return {str(name): float(value) for name, value in weights.items()}


def _used(weights: dict[str, float], task: Any) -> dict[str, float]:
    # In the task's order, so that scalar and vector environments add up alike.
    return {name: weights[name] for name in task.reward_terms if weights.get(name, 0.0) != 0.0}


class RewardWeights(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Replace the reward by a weighted sum of ``info["reward_terms"]``.

    What wrappers inside did to the reward is replaced too: a ``SafetyPenalty`` goes outside.

    Args:
        env: A therapy environment, wrapped or not.
        weights: Weight by term name, one term at least; terms that are not named weigh nothing.

    Raises:
        TypeError: ``env`` is another kind of environment.
        UnknownNameError: A term does not exist; the message suggests the nearest.
        ValueError: ``weights`` is empty or no mapping, or a weight is not a finite number.
    """

    def __init__(self, env: gymnasium.Env, weights: Mapping[str, float]) -> None:
        task = require_env(self, env)
        checked = _checked(weights, task)
        gymnasium.utils.RecordConstructorArgs.__init__(self, weights=checked)
        super().__init__(env)
        self.weights = _used(checked, task)

    def step(self, action: Any) -> Any:
        """Step the environment and reweigh."""
        observation, _, terminated, truncated, info = self.env.step(action)
        terms = ((read_info(info, "reward_terms", name), w) for name, w in self.weights.items())
        reward = sum((w * term for term, w in terms), 0.0)
        return observation, reward, terminated, truncated, info


class VectorRewardWeights(RecordedVectorWrapper):
    """:class:`RewardWeights` for vector environments, in every autoreset mode."""

    twin = RewardWeights

    def __init__(self, env: VectorEnv, weights: Mapping[str, float]) -> None:
        task = require_lanes(self, env)
        checked = _checked(weights, task)
        super().__init__(env, weights=checked)
        self.weights = _used(checked, task)

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
