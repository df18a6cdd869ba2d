"""Show the last observations and actions too, for policies without a memory of their own."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from oncogym.core.checks import whole_number
from oncogym.envs.therapy import TherapyTask
from oncogym.wrappers.transforming import TransformingEnv, TransformingVectorEnv
from oncogym.wrappers.transforms import Memory, Transform

_MOST = 1000


class _Remembering(Transform):
    """The last ``count`` observations and actions, newest first."""

    def __init__(self, observation_space: Box, action_space: Box, count: int) -> None:
        rows = []
        for bound, least in (("low", np.minimum), ("high", np.maximum)):
            seen = getattr(observation_space, bound)
            before = least(seen, 0).astype(seen.dtype)  # nothing came before the first decision
            action = least(getattr(action_space, bound), 0).astype(seen.dtype)
            rows.append(np.concatenate([seen, np.tile(before, count - 1), np.tile(action, count)]))
        low, high = rows
        shown = Box(low, high, dtype=observation_space.dtype.type)
        super().__init__(shown, action_space)
        self._count = count
        self._numbers, self._parts = observation_space.shape[0], action_space.shape[0]
        self._dtype = observation_space.dtype

    def begin(self, lanes: int) -> Memory:
        return {
            "observations": np.zeros((lanes, self._count * self._numbers), self._dtype),
            "actions": np.zeros((lanes, self._count * self._parts), self._dtype),
        }

    def observe(
        self, memory: Memory, observation: NDArray[Any], started: NDArray[np.bool_]
    ) -> NDArray[Any]:
        seen, taken = memory["observations"], memory["actions"]
        seen[started] = 0
        taken[started] = 0
        seen[:, self._numbers :] = seen[:, : -self._numbers].copy()
        seen[:, : self._numbers] = observation
        return np.concatenate([seen, taken], axis=1)

    def act(self, memory: Memory, actions: NDArray[Any]) -> NDArray[Any]:
        taken = memory["actions"]
        taken[:, self._parts :] = taken[:, : -self._parts].copy()
        # What is no number is refused further inside.
        inside = np.clip(actions, self.action_space.low, self.action_space.high)
        taken[:, : self._parts] = np.nan_to_num(inside)
        return actions


class History(TransformingEnv):
    """Show the last ``count`` observations and the last ``count`` actions.

    An observation is a row of the observations, newest first, and then the actions, newest first;
    what lies before the start of the treatment is zero. Actions are those that the wrapper is
    given, moved into their box.

    Args:
        env: A therapy environment whose observations are rows of numbers, wrapped or not.
        count: How many, 1 to 1000.

    Raises:
        TypeError: ``env`` is another kind of environment.
        ValueError: ``count`` is out of range, or observations or actions are no rows of numbers.
    """

    def __init__(self, env: gymnasium.Env, count: int = 4) -> None:
        super().__init__(env, count=whole_number("count", count, 1, _MOST))


class VectorHistory(TransformingVectorEnv):
    """:class:`History` for vector environments.

    Args:
        env: The vector environment.
        count: As of :class:`History`.
    """

    twin = History

    def __init__(self, env: VectorEnv, count: int = 4) -> None:
        super().__init__(env, count=whole_number("count", count, 1, _MOST))

    @classmethod
    def transform(  # type: ignore[override]
        cls, task: TherapyTask, observation_space: Box, action_space: Box, count: int = 4
    ) -> Transform:
        """What the wrapper does to observations.

        Args:
            task: The task inside.
            observation_space, action_space: One lane's spaces inside.
            count: As of :class:`History`.

        Raises:
            ValueError: ``count`` is out of range, or a space is no row of numbers.
        """
        whole_number("count", count, 1, _MOST)
        for kind, space in (("observations", observation_space), ("actions", action_space)):
            if len(space.shape) != 1:
                raise ValueError(f"{kind} have shape {space.shape}; allowed: rows of numbers")
        return _Remembering(observation_space, action_space, count)


History.vector = VectorHistory
