"""Rewards as a vector of named terms, the convention of MO-Gymnasium."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv

from oncogym.core.errors import nearest
from oncogym.wrappers.checks import require_env, require_lanes
from oncogym.wrappers.reward import last_of_step
from oncogym.wrappers.vector_spec import RecordedVectorWrapper


def _names(terms: Any, task: Any) -> tuple[str, ...]:
    if terms is None:
        names = [name for name in task.reward_terms if task.reward_weights[name] != 0.0]
    elif isinstance(terms, (str, bytes)) or not isinstance(terms, (Sequence, np.ndarray)):
        raise ValueError(f"terms is {terms!r}; allowed: a list of names, or None")
    else:
        names = list(terms)
    for name in names:
        if name not in task.reward_terms:
            raise nearest("reward term", name, task.reward_terms)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"terms is {names}; allowed: one name or more, each once")
    return tuple(str(name) for name in names)


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
        env: A therapy environment, wrapped or not; what wrappers inside did to the reward is
            replaced too.
        terms: Names of the terms; by default those that weigh something in the environment.

    Raises:
        TypeError: ``env`` is another kind of environment.
        UnknownNameError: A term does not exist; the message suggests the nearest.
        ValueError: No term, one twice, or no list of names.
    """

    def __init__(self, env: gymnasium.Env, terms: Sequence[str] | None = None) -> None:
        task = require_env(self, env)
        self.terms = _names(terms, task)
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, terms=None if terms is None else list(self.terms)
        )
        super().__init__(env)
        self.weights = np.array([task.reward_weights[name] for name in self.terms])
        self.reward_dim = len(self.terms)
        self.reward_space = Box(-np.inf, np.inf, (self.reward_dim,), np.float32)
        _announce(env, self.reward_space)

    def step(self, action: Any) -> Any:
        """Step the environment; the reward is a new vector."""
        observation, _, terminated, truncated, info = self.env.step(action)
        terms = [last_of_step(info, "reward_terms", name) for name in self.terms]
        reward = np.array(terms, np.float32)
        return observation, reward, terminated, truncated, info


class VectorRewardTerms(RecordedVectorWrapper):
    """:class:`RewardTerms` for vector environments, in every autoreset mode.

    Rewards are ``(lanes, terms)``; ``reward_space`` is the box of one lane's, as in
    ``MOSyncVectorEnv`` of MO-Gymnasium.
    """

    twin = RewardTerms

    def __init__(self, env: VectorEnv, terms: Sequence[str] | None = None) -> None:
        task = require_lanes(self, env)
        self.terms = _names(terms, task)
        super().__init__(env, terms=None if terms is None else list(self.terms))
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
