"""A plan for each patient alone: what an open-loop treatment could reach if the patient were known.

The bound beside which a policy is judged that has to find out with whom it deals. Where a model has
chance in it, the plans know the patient but not the chance: they are searched with other random
streams than those of an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from oncogym.agents.optimizers.base import Optimizer, OptimizeResult
from oncogym.agents.optimizers.objective import PlanObjective
from oncogym.agents.plan import PatientPlans
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats
from oncogym.parallel.base import LanesExecutor, in_turn


@dataclass(frozen=True)
class PatientSearch:
    """The search for one patient: what is sent to a worker.

    Attributes:
        problem: The task and the patient.
        optimizer: The method.
        budget: Plans to score.
        start: Plans from which it begins ``(k, dimension)``, or ``None``.
        replicates: Simulations of each plan, with different chance.
        seed: Seed of the search.
    """

    problem: Problem
    optimizer: Optimizer
    budget: int
    start: Floats | None
    replicates: int
    seed: int

    @property
    def gpus(self) -> int:
        """GPUs that the work needs."""
        return self.problem.gpus


def plans_per_patient(
    problem: Problem,
    optimizer: Optimizer,
    budget: int,
    *,
    start: Floats | None = None,
    replicates: int = 1,
    seed: int = 0,
    executor: Executor | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[PatientPlans, list[OptimizeResult]]:
    """Search the best plan of each patient.

    Args:
        problem: The task and its patients, whose random keys lie below ``2**32``.
        optimizer: The method.
        budget: Plans to score for each patient.
        start: Plans from which every search begins ``(k, dimension)``.
        replicates: Simulations of each plan, with different chance.
        seed: Seed of the searches.
        executor: Who searches; by default this process. The plans do not depend on it.
        progress: Called now and then with the number of patients done since.

    Returns:
        The agent that treats each of these patients with a plan of their own, and what the
        searches found, by patient.

    Raises:
        ValueError: The budget does not pay for the search.
        ExecutorError: The workers cannot do it.
    """
    executor = executor or LanesExecutor()
    searches = [
        PatientSearch(problem.part(slice(k, k + 1)), optimizer, budget, start, replicates, seed)
        for k in range(len(problem.patients))
    ]
    results = list(in_turn(executor, _search, searches, progress))
    return PatientPlans(np.stack([result.actions for result in results])), results


def _search(one: PatientSearch) -> OptimizeResult:
    objective = PlanObjective(one.problem, replicates=one.replicates)
    return one.optimizer.optimize(objective, one.budget, one.seed, start=one.start)
