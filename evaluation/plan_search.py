"""Search of one plan for several patients, with a progress bar."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from oncogym.agents.optimizers import (
    DifferentialEvolution,
    GeneticAlgorithm,
    OptimizeResult,
    PlanProblem,
)
from oncogym.parallel.base import Executor


def search_plan(
    optimizer: DifferentialEvolution | GeneticAlgorithm,
    search: PlanProblem,
    budget: int,
    seed: int,
    executor: Executor | None,
    title: str,
) -> OptimizeResult:
    """``optimizer.optimize`` with a bar of generations called ``title`` on standard error."""
    generations = optimizer.generations(search, budget)
    with tqdm(total=generations, desc=title, unit="gen", file=sys.stderr, disable=None) as bar:

        def progress(generation: int, best: float, evaluations: int) -> None:
            bar.update(generation - bar.n)
            bar.set_postfix(best=f"{best:.6g}")

        return optimizer.optimize(search, budget, seed, progress, executor)


def about_search(result: OptimizeResult, env_id: str, cohort: str, patients: int) -> dict[str, Any]:
    """What is kept of a search beside its plan, JSON-able."""
    return {
        "env": env_id,
        "cohort": cohort,
        "patients": patients,
        "score": result.score,
        "evaluations": result.evaluations,
        "seconds": result.seconds,
        "method": result.method,
        "settings": result.settings,
    }
