"""What a wrapper does to observations and actions, lane by lane.

The same object serves the scalar wrapper, its vector twin and the agent that acts by what a wrapped
environment showed in training: so they agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

#: What a transform remembers: arrays by name, the lanes first.
Memory: TypeAlias = "dict[str, NDArray[Any]]"


class Transform:
    """What one wrapper does; by itself nothing.

    Args:
        observation_space: One lane's observations as the wrapper shows them.
        action_space: One lane's actions as the wrapper takes them.
    """

    #: Whether actions become what only the model knows: an agent then has to attend a live task.
    privileged = False

    def __init__(self, observation_space: Box, action_space: Box) -> None:
        self.observation_space = observation_space
        self.action_space = action_space

    def begin(self, lanes: int) -> Memory:
        """What is remembered of lanes that have not begun."""
        return {}

    def observe(
        self, memory: Memory, observation: NDArray[Any], started: NDArray[np.bool_]
    ) -> NDArray[Any]:
        """What is shown of what the environment inside shows.

        Args:
            memory: What is remembered of these lanes; written.
            observation: Observations ``(lanes, …)`` inside.
            started: Lanes whose episode has just begun ``(lanes,)``.

        Returns:
            Observations ``(lanes, …)``; ``observation`` itself is not written.
        """
        return observation

    def act(self, memory: Memory, actions: NDArray[Any]) -> NDArray[Any]:
        """Actions ``(lanes, …)`` for the environment inside.

        Args:
            memory: What is remembered of these lanes; written.
            actions: Actions ``(lanes, …)`` that the wrapper is given; not written.
        """
        return actions


class Chain:
    """Transforms around each other.

    Args:
        transforms: The transforms, innermost first.
        observation_space: One lane's observations as the outermost shows them.
        action_space: One lane's actions as the outermost takes them.
        inner_shape: Shape of one lane's observation as the innermost sees it.
    """

    def __init__(
        self,
        transforms: Sequence[Transform],
        observation_space: Box,
        action_space: Box,
        inner_shape: tuple[int, ...],
    ) -> None:
        self.transforms = tuple(transforms)
        self.inner_shape = inner_shape
        self.observation_space = observation_space
        self.action_space = action_space

    @property
    def privileged(self) -> bool:
        """Whether one of them is."""
        return any(transform.privileged for transform in self.transforms)

    def begin(self, lanes: int) -> list[Memory]:
        """What is remembered of lanes that have not begun, by transform."""
        return [transform.begin(lanes) for transform in self.transforms]

    def observe(
        self,
        memories: Sequence[Memory],
        observation: NDArray[Any],
        started: NDArray[np.bool_],
    ) -> NDArray[Any]:
        """What the outermost shows; see :meth:`Transform.observe`.

        Args:
            memories: What each remembers; written.
            observation: Observations ``(lanes, …)`` of the task.
            started: Lanes whose episode has just begun ``(lanes,)``.
        """
        for transform, memory in zip(self.transforms, memories, strict=True):
            observation = transform.observe(memory, observation, started)
        return observation

    def act(self, memories: Sequence[Memory], actions: NDArray[Any]) -> NDArray[Any]:
        """Actions for the task; see :meth:`Transform.act`."""
        for transform, memory in zip(self.transforms[::-1], memories[::-1], strict=True):
            actions = transform.act(memory, actions)
        return actions
