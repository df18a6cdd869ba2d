"""Lanes that are simulated together: what an optimiser sends to a worker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats


@dataclass(frozen=True)
class LaneBatch:
    """Patients, each treated with one of some plans.

    Attributes:
        problem: The task, and the patient of each lane.
        actions: Plans ``(plans, decisions, action size)`` in [0, 1].
        plan: Which plan each lane gets ``(lanes,)``.
        episode: Second half of the random key.
    """

    problem: Problem
    actions: Floats
    plan: NDArray[np.intp]
    episode: int

    @property
    def gpus(self) -> int:
        """GPUs that the work needs."""
        return self.problem.gpus


def lane_returns(batch: LaneBatch) -> Floats:
    """Undiscounted return of each lane ``(lanes,)``."""
    count = len(batch.plan)
    problem = batch.problem
    task = problem.kept_task(count)
    episodes = np.full(count, batch.episode, np.uint64)
    task.reset(np.arange(count), problem.patients, problem.seeds, episodes)
    active = np.ones(count, np.bool_)
    returns = np.zeros(count)
    for step in range(task.num_decisions):
        result = task.step(batch.actions[batch.plan, step], active)
        returns += np.where(active, task.weighted_reward(result.reward_terms), 0.0)
        active &= ~(result.terminated | result.truncated)
        if not active.any():
            break
    return returns
