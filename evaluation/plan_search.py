"""Search of one plan for several patients, with a progress bar and a folder to go on from."""

from __future__ import annotations

import dataclasses
import sys
from concurrent.futures import Executor
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from oncogym.agents.optimizers import Optimizer, OptimizeResult, PlanObjective
from oncogym.agents.optimizers.base import plain_settings
from oncogym.agents.optimizers.kept_scores import FILES, kept_scores
from oncogym.core.files import require_writable_folder, write_csv_atomic
from oncogym.core.json_types import JsonObject
from oncogym.core.run_lock import hold
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats

#: Plans of single patients that are found already.
OWN_FILE = "own-plans.jsonl"

#: What a search may leave in its folder, whatever the method.
SEARCH_FILES = ("history.csv", "checkpoints/checkpoint_*.npz", FILES)


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
        start: As of the optimiser's ``optimize``.
        folder: Where the search can go on after an interruption: the optimiser's checkpoints, or
            else all scores, and ``history.csv`` in the end.
        resume: Go on with what is in ``folder``; begin where nothing is.

    Raises:
        ValueError: The budget is too small, or what is in the folder began otherwise.
        CorruptFileError: What is in the folder is damaged.
        RunLockedError: Another process works in the folder.
        ExecutorError: The workers cannot do it.
    """
    generations = optimizer.generations(objective, budget)
    rows: list[tuple[int, float, int]] = []
    with tqdm(total=generations, desc=title, unit="gen", file=sys.stderr, disable=None) as bar:

        def progress(generation: int, best: float, evaluations: int) -> None:
            rows.append((generation - 1, best, evaluations))
            bar.update(generation - bar.n)
            bar.set_postfix(best=f"{best:.6g}")

        if folder is None or optimizer.resumes:
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
        search = {
            "method": optimizer.name,
            **plain_settings(optimizer),
            "budget": budget,
            "seed": seed,
        }
        file = require_writable_folder(folder) / FILES.replace("*", optimizer.name)
        modules = [type(optimizer).__module__]
        with (
            hold(folder),
            kept_scores(objective, file, search, modules=modules, resume=resume) as kept,
        ):
            result = optimizer.optimize(
                kept, budget, seed, start=start, progress=progress, executor=executor
            )
        history = pd.DataFrame(rows, columns=["generation", "best", "simulations"])
        write_csv_atomic(folder / "history.csv", history)
        return dataclasses.replace(result, seconds=result.seconds + kept.earlier_seconds)


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
