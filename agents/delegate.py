"""An agent that lets another one decide; what it does besides is its subclass's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.agent import Agent, attending
from oncogym.envs.therapy import TherapyTask

if TYPE_CHECKING:
    from typing_extensions import Self


class Delegate:
    """Decides as another agent does.

    Args:
        agent: The one that decides.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Ask the other agent."""
        return self._agent.predict(
            observation, state=state, episode_start=episode_start, deterministic=deterministic
        )

    def attend(self, task: TherapyTask) -> Self:
        """Let the other agent attend a live task, if it has to."""
        self._agent = attending(self._agent, task)
        return self

    def leave(self, state: Any, over: NDArray[np.bool_]) -> None:
        """Tell the other agent whose treatment is over ``(patients,)``, if it wants to know."""
        if hasattr(self._agent, "leave"):
            self._agent.leave(state, over)
