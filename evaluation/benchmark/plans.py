"""Plans of a benchmark: searched once, kept in its folder, read again after an interruption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oncogym.agents.optimizers import DifferentialEvolution, GeneticAlgorithm, PlanProblem
from oncogym.agents.optimizers.problem import encoded, protocol_plans
from oncogym.agents.plan import LONGEST, PatientPlans, PlanAgent
from oncogym.core.documents import Document
from oncogym.evaluation.benchmark.plan_distance import search_own_plans
from oncogym.evaluation.benchmark.presets import Preset
from oncogym.evaluation.harness import Problem
from oncogym.evaluation.plan_search import about_search, search_plan
from oncogym.parallel.base import Executor

_COMMON, _OWN, _SEARCH = "plan.json", "own_plans.json", "plan-search"


def common_plan(
    problem: Problem, preset: Preset, folder: Path, seed: int, executor: Executor | None
) -> tuple[PlanAgent, dict[str, Any]]:
    """The best plan for all patients alike, and what finding it took.

    Raises:
        ExecutorError: The workers cannot do it.
    """
    path = folder / _COMMON
    if path.exists():
        return PlanAgent.load(path), Document.read(path, LONGEST).mapping("about")
    cohort = problem.variant.options.get("cohort", "nominal")
    drawn = problem.treatment.cohort(cohort)
    count = min(drawn.distinct or preset.plan_patients, preset.plan_patients)
    patients = drawn.patients(count, seed)
    effort = problem.variant.effort
    search = PlanProblem(problem.treatment, {**problem.options, **effort.search_options}, patients)
    optimizer: DifferentialEvolution | GeneticAlgorithm
    if effort.optimizer == GeneticAlgorithm.name:
        # It goes on from its last checkpoint, to the same plan as without an interruption.
        optimizer = GeneticAlgorithm(folder=folder / _SEARCH, resume=True)
        budget = optimizer.settings.population * (preset.plan_generations + 1)
    else:
        optimizer, budget = _evolution(problem, preset, [])
    result = search_plan(optimizer, search, budget, seed, executor, "plan")
    about = {
        **about_search(result, problem.variant.id, cohort, count),
        "method": optimizer.title,
        "history": result.history,
    }
    agent = result.agent(f"{optimizer.name.upper()} open-loop plan")
    agent.save(path, about)
    return agent, about


def plans_of_patients(
    problem: Problem, preset: Preset, folder: Path, seed: int, executor: Executor | None
) -> PatientPlans:
    """A plan of its own for each patient of ``problem``; the searches begin with the common plan.

    Raises:
        ExecutorError: The workers cannot do it.
    """
    path = folder / _OWN
    if path.exists():
        return PatientPlans.load(path, problem.patients)
    effort = problem.variant.effort.search_options
    optimizer, budget = _evolution(problem, preset, [PlanAgent.load(folder / _COMMON)])
    plans, about = search_own_plans(
        problem, optimizer, budget, search_options=effort, seed=seed, executor=executor
    )
    plans.save(path, problem.patients, about)
    return plans


def _evolution(
    problem: Problem, preset: Preset, known: Sequence[PlanAgent]
) -> tuple[DifferentialEvolution, int]:
    """Differential evolution from the clinical protocols and ``known`` plans, and its budget."""
    task = problem.task(1)
    space = task.plan_space()
    optimizer = DifferentialEvolution(
        popsize=preset.plan_population,
        seeded_plans=np.concatenate(
            [
                encoded(space, [agent.actions for agent in known]),
                protocol_plans(problem.treatment, task, space),
            ]
        ),
    )
    return optimizer, optimizer.popsize * space.dimension * (preset.plan_generations + 1)
