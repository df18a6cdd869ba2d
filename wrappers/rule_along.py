"""A clinical rule that decides along with an agent, for wrappers that compare the two."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.core.arrays import Floats
from oncogym.envs.protocols import Rule
from oncogym.envs.therapy import TherapyTask
from oncogym.wrappers.transforms import Memory, Transform


class RuleAlong(Transform):
    """A transform that remembers what a rule decides by the last observation.

    Args:
        task: The task, whose options the rule reads.
        observation_space: One lane's observations as the wrapper shows them.
        action_space: One lane's actions as the wrapper takes them.
        rule: The rule.
    """

    def __init__(
        self, task: TherapyTask, observation_space: Box, action_space: Box, rule: Rule
    ) -> None:
        super().__init__(observation_space, action_space)
        self._task, self._rule = task, rule

    def begin(self, lanes: int) -> Memory:
        """Nothing is decided and nothing remembered yet."""
        return {
            "decided": np.zeros((lanes, *self.action_space.shape)),
            "rule": np.full((lanes, self._rule.memory), np.nan),
        }

    def decide(
        self, memory: Memory, observation: NDArray[Any], started: NDArray[np.bool_]
    ) -> Floats:
        """Let the rule decide, into ``memory["decided"]``.

        Args:
            memory: What is remembered of these lanes; written.
            observation: Observations ``(lanes, …)`` inside.
            started: Lanes whose episode has just begun ``(lanes,)``.

        Returns:
            What the rule remembers ``(lanes, memory)``.
        """
        memory["rule"][started] = np.nan
        actions, remembered = self._rule.actions(self._task, observation, memory["rule"])
        memory["decided"][:] = np.clip(actions, 0.0, 1.0)
        memory["rule"][:] = remembered
        return remembered
