"""What every agent is: something with Stable-Baselines3's ``predict``."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.therapy import TherapyTask


class Agent(Protocol):
    """A policy that decides for a batch of treatments.

    ``predict(observation, state, episode_start, deterministic)`` takes observations ``(batch, …)``
    and returns actions ``(batch, action size)`` in [0, 1] and the state to hand in next time.
    ``episode_start`` ``(batch,)`` marks lanes whose episode has just begun. Any SB3 model fits.

    An evaluation treats its patients in parts, perhaps in several processes. An agent that draws
    random numbers of its own gets the same ones in all of them if it has a method
    ``for_lanes(start, stop, total)``: the agent, at its start, as it acts in those lanes of a batch
    of ``total``. One that thinks with the model has a method ``bind(problem)``: the agent for the
    patients of that problem. If it has a method ``leave(state, over)``, it is told whose treatment
    is over ``(batch,)``, so that it need not think about them any more. One that asks the model of
    those it treats has a method ``attend(task)``: the agent for the treatments of that task, which
    :func:`oncogym.agents.rollout.rollout` calls.

    An attribute ``sees`` says what it decides by, for tables: ``"measurable"``, ``"full state"``,
    ``"knows the patient"`` or ``"nothing"``. Without it, an agent sees what the task shows; see
    :func:`what_is_seen`.
    """

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Decide for a batch of observations.

        Args:
            observation: Observations ``(batch, …)``.
            state: What the last call returned; ``None`` at first.
            episode_start: Lanes whose episode has just begun ``(batch,)``.
            deterministic: Whether a policy that samples gives its mean instead.
        """
        ...


def attending(agent: Any, task: TherapyTask) -> Any:
    """The agent for the treatments of a live task; itself, if it need not attend one."""
    return agent.attend(task) if hasattr(agent, "attend") else agent


def what_is_seen(agent: object, task: TherapyTask) -> str:
    """What an agent decides by in a task, for tables; see :class:`Agent`."""
    return str(getattr(agent, "sees", None) or task.sees)
