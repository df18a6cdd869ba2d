"""Rewards as a vector of named terms, the convention of MO-Gymnasium."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv, VectorWrapper

from oncogym.core.errors import nearest
from oncogym.wrappers.reward import last_of_step


def _names(terms: Sequence[str] | None, task: Any) -> tuple[str, ...]:
    if terms is None:
        return tuple(name for name in task.reward_terms if task.reward_weights[name] != 0.0)
    for name in terms:
        if name not in task.reward_terms:
            raise nearest("reward term", name, task.reward_terms)
    if not terms or len(set(terms)) != len(terms):
        raise ValueError(f"terms is {list(terms)}; allowed: one name or more, each once")
    return tuple(terms)


def _announce(env: Any, space: Box) -> None:
    # The wrappers of MO-Gymnasium look at the innermost environment.
    base: Any = env.unwrapped
    base.reward_space = space
    base.reward_dim = space.shape[0]


class RewardTerms(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Return the named reward terms themselves, unweighted, instead of their weighted sum.

    The reward is a float32 vector in the order of :attr:`terms`, and :attr:`weights` are those with
    which the environment adds it up: ``weights @ reward`` is its scalar reward if all weighted
    terms are there. As in MO-Gymnasium, larger is better in each component, ``reward_space`` is the
    box of a reward and ``reward_dim`` its size; both stand on the innermost environment too, where
    wrappers such as ``LinearReward`` read them.

    Args:
        env: A therapy environment, wrapped or not, whose reward no other wrapper needs.
        terms: Names of the terms; by default those that weigh something in the environment.

    Raises:
        UnknownNameError: A term does not exist; the message suggests the nearest.
        ValueError: No term, or one twice.
    """

    def __init__(self, env: gymnasium.Env, terms: Sequence[str] | None = None) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, terms=None if terms is None else list(terms)
        )
        super().__init__(env)
        task: Any = env.unwrapped.task  # type: ignore[attr-defined]
        self.terms = _names(terms, task)
        self.weights = np.array([task.reward_weights[name] for name in self.terms])
        self.reward_dim = len(self.terms)
        self.reward_space = Box(-np.inf, np.inf, (self.reward_dim,), np.float32)
        _announce(env, self.reward_space)

    def step(self, action: Any) -> Any:
        """Step the environment; the reward is a new vector."""
        observation, _, terminated, truncated, info = self.env.step(action)
        terms = info["reward_terms"]
        reward = np.array([terms[name] for name in self.terms], np.float32)
        return observation, reward, terminated, truncated, info


class VectorRewardTerms(VectorWrapper):
    """:class:`RewardTerms` for vector environments, in every autoreset mode.

    Rewards are ``(lanes, terms)``; ``reward_space`` is the box of one lane's, as in
    ``MOSyncVectorEnv`` of MO-Gymnasium.
    """

    def __init__(self, env: VectorEnv, terms: Sequence[str] | None = None) -> None:
        super().__init__(env)
        task: Any = env.unwrapped.task  # type: ignore[attr-defined]
        self.terms = _names(terms, task)
        self.weights = np.array([task.reward_weights[name] for name in self.terms])
        self.reward_dim = len(self.terms)
        self.reward_space = Box(-np.inf, np.inf, (self.reward_dim,), np.float32)
        _announce(env, self.reward_space)

    def step(self, actions: Any) -> Any:
        """Step the environment; the rewards are a new array."""
        observation, _, terminated, truncated, info = self.env.step(actions)
        columns = [last_of_step(info, "reward_terms", name) for name in self.terms]
        return (
            observation,
            np.stack(columns, axis=1).astype(np.float32),
            terminated,
            truncated,
            info,
        )
