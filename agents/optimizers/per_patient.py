"""A plan for each patient alone: what an open-loop treatment could reach if the patient were known.

The bound beside which a policy is judged that has to find out with whom it deals. Where a model has
chance in it, the plans know the patient but not the chance: they are searched with other random
streams than those of an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.optimizers.differential_evolution import DifferentialEvolution
from oncogym.agents.optimizers.problem import OptimizeResult, PlanProblem
from oncogym.agents.plan import PatientPlans
from oncogym.agents.task_spec import TaskSpec
from oncogym.envs.therapy import Floats
from oncogym.parallel.base import Executor, LanesExecutor


@dataclass(frozen=True)
class OwnSearch:
    """The search for one patient: what is sent to a worker.

    Attributes:
        spec: The task.
        patient: Patient row ``(fields,)``.
        key: Random key of the patient in the evaluation.
        optimizer: The method.
        budget: Plans to score.
        replicates: Simulations of each plan, with different chance.
        seed: Seed of the search.
    """

    spec: TaskSpec
    patient: Floats
    key: int
    optimizer: DifferentialEvolution
    budget: int
    replicates: int
    seed: int

    @property
    def gpus(self) -> int:
        """GPUs that the work needs."""
        return self.spec.gpus


def own_plans(
    spec: TaskSpec,
    patients: Floats,
    keys: NDArray[np.uint64],
    optimizer: DifferentialEvolution,
    budget: int,
    *,
    replicates: int = 1,
    seed: int = 0,
    executor: Executor | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[PatientPlans, list[OptimizeResult]]:
    """Search the best plan of each patient.

    Args:
        spec: The task.
        patients: Patient rows ``(patients, fields)``.
        keys: Random key of each patient in the evaluation ``(patients,)``, below ``2**32``.
        optimizer: The method; ``seeded_plans`` are in the first population of every search.
        budget: Plans to score for each patient.
        replicates: Simulations of each plan, with different chance.
        seed: Seed of the searches.
        executor: Who searches; by default this process. The plans do not depend on it.
        progress: Called now and then with the number of patients done since.

    Returns:
        The agent that treats each of these patients with his own plan, and what the searches
        found, by patient.

    Raises:
        ValueError: The budget does not pay for two generations.
        ExecutorError: The workers cannot do it.
    """
    executor = executor or LanesExecutor()
    searches = [
        OwnSearch(spec, row, int(key), optimizer, budget, replicates, seed)
        for row, key in zip(patients, keys, strict=True)
    ]
    results = list(executor.in_turn(_search, searches, progress))
    return PatientPlans(np.stack([result.actions for result in results])), results


def _search(one: OwnSearch) -> OptimizeResult:
    problem = PlanProblem(
        one.spec.treatment,
        one.spec.options,
        one.patient,
        seeds=[one.key],
        replicates=one.replicates,
    )
    return one.optimizer.optimize(problem, one.budget, one.seed)
