"""Search of one plan for several patients, with a progress bar."""

from __future__ import annotations

import sys
from concurrent.futures import Executor
from pathlib import Path

from tqdm import tqdm

from oncogym.agents.optimizers import Optimizer, OptimizeResult, PlanObjective
from oncogym.core.json_types import JsonObject
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats


def search_plan(
    optimizer: Optimizer,
    objective: PlanObjective,
    budget: int,
    seed: int,
    executor: Executor | None,
    title: str,
    *,
    start: Floats | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> OptimizeResult:
    """``optimizer.optimize`` with a bar of generations called ``title`` on standard error.

    Args:
        optimizer: What searches.
        objective: What scores plans.
        budget: Plans to score.
        seed: Seed of the search.
        executor: Who simulates; by default this process.
        title: Name of the bar.
        start, folder, resume: As of the optimiser's ``optimize``.
    """
    generations = optimizer.generations(objective, budget)
    with tqdm(total=generations, desc=title, unit="gen", file=sys.stderr, disable=None) as bar:

        def progress(generation: int, best: float, evaluations: int) -> None:
            bar.update(generation - bar.n)
            bar.set_postfix(best=f"{best:.6g}")

        return optimizer.optimize(
            objective,
            budget,
            seed,
            start=start,
            folder=folder,
            resume=resume,
            progress=progress,
            executor=executor,
        )


def about_search(result: OptimizeResult, problem: Problem) -> JsonObject:
    """What is kept of a search beside its plan, JSON-able."""
    return {
        "env": problem.env_id,
        "cohort": problem.cohort.name,
        "patients": len(problem.patients),
        "score": result.score,
        "evaluations": result.evaluations,
        "seconds": result.seconds,
        "method": result.method,
        "settings": result.settings,
    }
