"""The agent that decides by a treatment's bound."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.arrays import Floats
from oncogym.envs.bounds import Bound
from oncogym.envs.therapy import TherapyTask


class BoundAgent:
    """Decides as a bound does, for the treatments of a live task that it attends.

    Args:
        bound: The bound.
        task: The task whose lanes it treats; see :meth:`attend`.
    """

    sees = "knows the patient"

    def __init__(self, bound: Bound, task: TherapyTask | None = None) -> None:
        self._bound = bound
        self._task = task
        self.label = bound.label

    def attend(self, task: TherapyTask) -> BoundAgent:
        """A new agent for the treatments of a task."""
        return BoundAgent(self._bound, task)

    def predict(
        self,
        observation: NDArray[Any],
        state: NDArray[np.bool_] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Actions ``(lanes, action size)``, and which treatments are over ``(lanes,)``.

        Args:
            observation: Not looked at: the task is.
            state: What the last call returned; nothing is decided for treatments that are over.
            episode_start: Lanes whose episode has just begun ``(lanes,)``.
            deterministic: Without a meaning.

        Raises:
            RuntimeError: The agent attends no task.
            ValueError: There are more or fewer observations than lanes of the task.
        """
        if self._task is None:
            raise RuntimeError(f"{self.label} attends no live task; use attend(task) first")
        lanes = self._task.num_lanes
        if len(observation) != lanes:
            raise ValueError(f"a batch of {len(observation)} lanes; allowed: {lanes}, as the task")
        over = np.zeros(lanes, np.bool_) if state is None else np.array(state, np.bool_)
        if episode_start is not None:
            over &= ~np.asarray(episode_start, np.bool_)
        going = np.flatnonzero(~over)
        actions = np.zeros((lanes, int(np.prod(self._task.action_space.shape))))
        actions[going] = self._bound.decide(self._task, going)
        return actions, over

    def leave(self, state: NDArray[np.bool_], over: NDArray[np.bool_]) -> None:
        """Learn whose treatment is over ``(lanes,)``."""
        state[:] = over
