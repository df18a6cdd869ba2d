"""Plans of a benchmark: searched once, kept in its folder, read again after an interruption."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from oncogym.agents.executors.base import Executor
from oncogym.agents.files import read_json
from oncogym.agents.optimizers import DifferentialEvolution, PlanProblem
from oncogym.agents.optimizers.problem import encoded, protocol_plans
from oncogym.agents.plan import PatientPlans, PlanAgent
from oncogym.evaluation.harness import Problem
from oncogym.evaluation.own_plans import search_own_plans
from oncogym.evaluation.presets import Preset

_COMMON, _OWN = "plan.json", "own_plans.json"


def common_plan(
    problem: Problem, preset: Preset, folder: Path, seed: int, executor: Executor | None
) -> tuple[PlanAgent, dict[str, Any]]:
    """The best plan for all patients alike, and what finding it took.

    Raises:
        ExecutorError: The workers cannot do it.
    """
    path = folder / _COMMON
    if path.exists():
        return PlanAgent.load(path), read_json(path)["about"]
    cohort = problem.variant.options.get("cohort", "nominal")
    drawn = problem.treatment.cohort(cohort)
    count = min(drawn.distinct or preset.plan_patients, preset.plan_patients)
    patients = drawn.patients(count, seed)
    effort = problem.variant.effort.search_options
    search = PlanProblem(problem.treatment, {**problem.options, **effort}, patients)
    optimizer, budget = _search(problem, preset, effort, [])
    with tqdm(
        total=preset.plan_generations, desc="plan", unit="gen", file=sys.stderr, disable=None
    ) as bar:

        def progress(generation: int, best: float, evaluations: int) -> None:
            bar.update(1)
            bar.set_postfix(best=f"{best:.6g}")

        result = optimizer.optimize(search, budget, seed, progress, executor)
    about = {
        "env": problem.variant.id,
        "cohort": cohort,
        "patients": count,
        "score": result.score,
        "evaluations": result.evaluations,
        "seconds": result.seconds,
        "settings": result.settings,
        "history": result.history,
    }
    agent = result.agent("DE open-loop plan")
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
    optimizer, budget = _search(problem, preset, effort, [PlanAgent.load(folder / _COMMON)])
    plans, about = search_own_plans(
        problem, optimizer, budget, search_options=effort, seed=seed, executor=executor
    )
    plans.save(path, problem.patients, about)
    return plans


def _search(
    problem: Problem, preset: Preset, search_options: Mapping[str, Any], known: Sequence[PlanAgent]
) -> tuple[DifferentialEvolution, int]:
    """Differential evolution from the clinical protocols and ``known`` plans, and its budget."""
    task = problem.treatment.task(1, **{**problem.options, **search_options})
    space = task.plan_space()
    plans = [agent.actions for agent in known]
    optimizer = DifferentialEvolution(
        popsize=preset.plan_population,
        seeded_plans=np.concatenate(
            [encoded(space, plans), protocol_plans(problem.treatment, task, space)]
        ),
    )
    return optimizer, optimizer.popsize * space.dimension * (preset.plan_generations + 1)
