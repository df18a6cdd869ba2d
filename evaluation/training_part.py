"""A training run as a part of a study: what its policy does to patients whom it never met."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from oncogym.agents.agent import what_is_seen
from oncogym.core.json_types import JsonObject
from oncogym.envs.problem import Problem
from oncogym.evaluation.harness import evaluate_problem, resolve
from oncogym.evaluation.statistics import Interval, hierarchical_difference
from oncogym.evaluation.study_folder import Part
from oncogym.training.algorithms import require_installed
from oncogym.training.settings import make_settings

#: What is kept of each patient.
SCORES = ("return", "success", "cost")


def scores_of(problem: Problem, agent: object) -> JsonObject:
    """:data:`SCORES` of each patient of a problem under an agent, as lists."""
    results = evaluate_problem(problem, {"agent": agent})
    return {name: results[name].tolist() for name in SCORES}


def train_and_score(
    *,
    env: str,
    algorithm: str,
    seed: int,
    steps: int | None,
    lanes: int | None,
    wrappers: Sequence[Mapping[str, object]] | None,
    options: Mapping[str, object],
    cohort: str | None,
    patients: int,
    patients_seed: int,
    last: bool,
    training_options: Mapping[str, object] | None = None,
    progress: bool = False,
) -> JsonObject:
    """Train with the settings of the algorithm's file, and treat patients with the policy.

    Args:
        env: Registered id.
        algorithm: Name of the learning algorithm.
        seed: Seed of the run.
        steps, lanes: Of the run; ``None`` for those of the file.
        wrappers: Wrappers around the lanes, innermost first; ``None`` for those of the file.
        options: Options of the environment on top of its own, in training and evaluation.
        cohort: Who is treated; ``None`` for the evaluation cohort.
        patients, patients_seed: How many of them, and their chance.
        last: Take the policy at the end of training instead of the one with the highest return on
            validation, which would favour those that break a limit.
        training_options: Options on top of those in training only, such as a faster law.
        progress: Show a bar on standard error.

    Returns:
        ``decisions`` of the run, what the policy ``sees``, and :data:`SCORES`, the plain ones: what
        a wrapper does to rewards counts in training only.
    """
    from oncogym.training.runs import train

    problem = resolve(env, cohort=cohort, patients=patients, seed=patients_seed, options=options)
    with tempfile.TemporaryDirectory() as folder:
        run = train(
            env,
            algorithm,
            out=Path(folder) / "run",
            steps=steps,
            seed=seed,
            lanes=lanes,
            options={**options, **(training_options or {})},
            wrappers=wrappers,
            hyperparameters={"evaluations": 1} if last else None,
            progress=progress,
        )
        agent = run.agent()
        return {
            "decisions": run.steps,
            "sees": what_is_seen(agent, problem.kept_task(1)),
            **scores_of(problem, agent),
        }


def training_parts(
    name: str,
    seeds: Sequence[int],
    *,
    env: str,
    algorithm: str,
    steps: int | None,
    lanes: int | None,
    patients: int,
    patients_seed: int,
    wrappers: Sequence[Mapping[str, object]] | None = None,
    options: Mapping[str, object] | None = None,
    cohort: str | None = None,
    last: bool = False,
    training_options: Mapping[str, object] | None = None,
) -> list[Part]:
    """Training runs that differ in their seed only, as parts of a study called ``NAME-SEED``.

    Args:
        name: First half of the names.
        seeds: Training seeds.
        env, algorithm, steps, lanes, patients, patients_seed, wrappers, options, cohort, last: As
            in :func:`train_and_score`.
        training_options: Likewise.

    Raises:
        ModuleNotFoundError: The algorithm needs a package that is not installed.
        ValueError: A setting is out of range, or a wrapper does not fit; the message names it.
    """
    options = dict(options or {})
    faster = dict(training_options or {})
    asked = {
        "steps": steps,
        "lanes": lanes,
        "wrappers": wrappers,
        "options": {**options, **faster},
    }
    require_installed(make_settings(env, algorithm, **asked).method)  # type: ignore[arg-type]
    run = {
        "env": env,
        "algorithm": algorithm,
        "steps": steps,
        "lanes": lanes,
        "wrappers": wrappers,
        "options": options,
        "cohort": cohort,
        "patients": patients,
        "patients_seed": patients_seed,
        "last": last,
    }
    if faster:
        run["training_options"] = faster
    return [Part(f"{name}-{seed}", train_and_score, {**run, "seed": seed}) for seed in seeds]


def mean_over(runs: Sequence[Mapping[str, Sequence[float]]], name: str) -> Interval:
    """Mean of a score with its 95 % interval over training seeds and patients.

    Args:
        runs: Runs that differ in their seed only, on the same patients.
        name: One of :data:`SCORES`.
    """
    values = np.array([run[name] for run in runs], np.float64)
    return hierarchical_difference(values, np.zeros(values.shape[1]))


def require_each_once(name: str, values: Sequence[object]) -> None:
    """Refuse an empty list, or one that names something twice.

    Raises:
        ValueError: It is such a list.
    """
    if not values or len(set(values)) < len(values):
        raise ValueError(f"{name} are {list(values)}; allowed: at least one, each once")


def add_training_arguments(parser: argparse.ArgumentParser, steps: int | None = None) -> None:
    """Add what decides a training run; ``steps`` by default, or the tuned number."""
    usual = "the tuned number" if steps is None else f"{steps}"
    parser.add_argument(
        "--steps", type=int, default=steps, help=f"decisions of a run, by default {usual}"
    )
    parser.add_argument("--lanes", type=int, help="treatments in parallel, by default the tuned")
