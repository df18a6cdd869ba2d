"""How far agents are from the best plan of each patient's own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from oncogym.agents.optimizers import Optimizer
from oncogym.agents.optimizers.per_patient import plans_per_patient
from oncogym.agents.plan import PatientPlans
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats
from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.metrics import per_patient
from oncogym.evaluation.statistics import ScaleError, normalised_score, paired_difference


def search_own_plans(
    problem: Problem,
    optimizer: Optimizer,
    budget: int,
    *,
    start: Floats | None = None,
    search_options: Mapping[str, object] | None = None,
    replicates: int = 1,
    seed: int = 0,
    executor: Executor | None = None,
    file: Path | None = None,
    resume: bool = False,
) -> tuple[PatientPlans, dict[str, Any]]:
    """A plan for each patient of ``problem``, with a progress bar, and what finding them took.

    Args:
        problem: Environment and patients.
        optimizer: The method of each search.
        budget: Plans to score for each patient.
        start: Plans from which every search begins.
        search_options: Options of the task for the search only.
        replicates: Simulations of each plan.
        seed: Seed of the searches.
        executor: Who searches; by default this process.
        file: Where finished searches are kept, in a folder that exists and is nobody else's
            meanwhile.
        resume: Take those that are in ``file`` as done.

    Raises:
        ValueError: The budget is too small, or the searches in ``file`` had other settings.
        CorruptFileError: ``file`` is damaged.
        ExecutorError: The workers cannot do it.
    """
    count = len(problem.patients)
    with tqdm(total=count, desc="own plans", unit="patient", file=sys.stderr, disable=None) as bar:
        agent, results = plans_per_patient(
            problem.with_options(search_options or {}),
            optimizer,
            budget,
            start=start,
            replicates=replicates,
            seed=seed,
            executor=executor,
            progress=bar.update,
            file=file,
            resume=resume,
        )
    return agent, {
        "env": problem.variant.id,
        "cohort": problem.cohort.name,
        "patients": count,
        "score": float(np.mean([result.score for result in results])),
        "evaluations": sum(result.evaluations for result in results),
        "seconds": sum(result.seconds for result in results),
        "method": optimizer.name,
        "settings": {**results[0].settings, "replicates": replicates},
    }


def distance_table(comparison: Comparison, own: Floats, seed: int) -> pd.DataFrame:
    """One row an agent: its return, what is missing to the own plans, and the part of the way.

    Args:
        comparison: The agents; the part of the way is measured from its baseline.
        own: Returns of the own plans of its first patients ``(patients,)``.
        seed: Seed of the bootstrap.
    """
    tables = per_patient(comparison.results, ["return"])
    returns = {name: table["return"].to_numpy()[: len(own)] for name, table in tables.items()}
    zero = returns[comparison.baseline]
    title = f"part of the way from {comparison.labels[comparison.baseline]}"
    rows = []
    for name, values in returns.items():
        row: dict[str, object] = {
            "agent": comparison.labels[name],
            "return": float(np.mean(values)),
            "own plans minus agent": paired_difference(own, values, seed=seed),
        }
        try:
            row[title] = normalised_score(values, zero, own, True, seed=seed)
        except ScaleError:
            row[title] = None  # the own plans are within noise of the baseline
        rows.append(row)
    return pd.DataFrame(rows)
