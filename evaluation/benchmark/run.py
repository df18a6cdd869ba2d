"""The main job: protocols, an optimised plan and a freshly trained PPO on the same patients."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from oncogym.agents.clinical import RandomAgent, clinical_agents
from oncogym.core.files import (
    read_json,
    require_writable_folder,
    to_plain,
    write_csv_atomic,
    write_json_atomic,
)
from oncogym.core.run_lock import hold
from oncogym.envs import treatments
from oncogym.envs.registry import find_variant
from oncogym.evaluation.benchmark.plan_distance import distance_table, first_patients
from oncogym.evaluation.benchmark.plans import common_plan, plans_of_patients
from oncogym.evaluation.benchmark.presets import Preset
from oncogym.evaluation.benchmark.seed_sweep import train_seeds
from oncogym.evaluation.benchmark.tables import against_plan, by_training_seed
from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.harness import Problem, evaluate_problem, resolve
from oncogym.evaluation.report.charts import lines_chart
from oncogym.evaluation.report.plots import plot_history
from oncogym.evaluation.report.suite import suite_report
from oncogym.parallel.base import Executor

PLAN = "plan"
LEARNT = "ppo"


def default_envs() -> list[str]:
    """The ids that take part unless others are named."""
    return [v.id for t in treatments().values() for v in t.variants if v.benchmark]


def run_benchmark(
    env_ids: Sequence[str],
    preset: Preset,
    out: str | Path,
    *,
    seed: int = 0,
    manifest: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
    executor: Executor | None = None,
    studies: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Comparison]:
    """Compare everybody on every environment; finished parts found in ``out`` are used again.

    Args:
        env_ids: Registered ids.
        preset: Amount of work.
        out: Folder for results, figures and ``report.html``.
        seed: Seed of patients, search, training and bootstrap.
        manifest: Provenance for the report.
        say: Receives lines about the progress.
        executor: Who simulates, trains and evaluates; by default this process. The results do not
            depend on it.
        studies: Documents of robustness studies that the report shows, too.

    Returns:
        A comparison for each id.

    Raises:
        UnknownNameError: An id does not exist.
        OutputFolderError: ``out`` cannot be written to.
        ValueError: ``out`` holds a benchmark with other settings.
        RunLockedError: Another process works in ``out``.
        ExecutorError: The workers cannot do it.
    """
    presets = {env_id: preset.suited(find_variant(env_id)[1]) for env_id in env_ids}
    problems = {
        env_id: resolve(env_id, patients=presets[env_id].patients, seed=seed) for env_id in env_ids
    }
    folder = require_writable_folder(out)
    with hold(folder):
        return _run_held(folder, preset, presets, problems, seed, manifest, say, executor, studies)


def _run_held(
    folder: Path,
    preset: Preset,
    presets: Mapping[str, Preset],
    problems: Mapping[str, Problem],
    seed: int,
    manifest: Mapping[str, Any] | None,
    say: Callable[[str], None],
    executor: Executor | None,
    studies: Sequence[Mapping[str, Any]],
) -> dict[str, Comparison]:
    """:func:`run_benchmark` in a folder that no other process works in."""
    _claim(folder, {"preset": asdict(preset), "seed": seed})
    comparisons = {}
    for env_id, problem in problems.items():
        place = require_writable_folder(folder / problem.variant.id.split("/")[-1])
        _claim(place, {"preset": asdict(presets[env_id]), "seed": seed})
        comparison = _benchmark_one(problem, presets[env_id], place, seed, say, executor)
        comparison.write_tables(place)
        comparisons[problem.variant.id] = comparison
    if manifest is not None:
        write_json_atomic(folder / "manifest.json", manifest)
    summary = (
        f"{len(problems)} environment(s), up to {preset.patients} patients each, "
        f"{preset.training_seeds} training seed(s)."
    )
    report = suite_report(
        comparisons, "oncogym benchmark", summary, manifest, seed=seed, studies=studies
    )
    report.write(folder / "report.html")
    return comparisons


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Refuse to mix the parts of two different benchmarks in one folder."""
    path = folder / "settings.json"
    settings = to_plain(settings)
    if path.exists() and (found := read_json(path)) != settings:
        raise ValueError(
            f"{folder} holds a benchmark with other settings ({found}); choose another folder or "
            "start afresh"
        )
    write_json_atomic(path, settings)


def clear(folder: Path) -> None:
    """Remove an earlier benchmark, and nothing else.

    Raises:
        ValueError: The folder is not empty and holds no benchmark.
    """
    if not folder.exists():
        return
    if any(folder.iterdir()) and not (folder / "settings.json").exists():
        raise ValueError(f"{folder} is not a benchmark's folder; it is left as it is")
    with hold(folder):  # never one that is being written
        pass
    shutil.rmtree(folder)


def _benchmark_one(
    problem: Problem,
    preset: Preset,
    folder: Path,
    seed: int,
    say: Callable[[str], None],
    executor: Executor | None,
) -> Comparison:
    env_id = problem.variant.id
    task = problem.task(1)
    agents, left_out = clinical_agents(problem.treatment, task)
    wanted = problem.variant.effort.protocols
    if wanted is not None:
        agents = {name: agents[name] for name in wanted if name in agents}
    agents["random"] = RandomAgent(int(np.prod(task.action_space.shape)), seed)
    say(f"{env_id}: searching an open-loop plan")
    plan, search = common_plan(problem, preset, folder, seed, executor)
    agents[PLAN] = plan
    say(f"{env_id}: training PPO, {preset.training_seeds} seed(s)")
    runs = train_seeds(
        problem,
        folder,
        range(seed, seed + preset.training_seeds),
        steps=preset.training_steps,
        options=problem.variant.effort.search_options,
        executor=executor,
    )
    say(f"{env_id}: evaluating on {len(problem.patients)} patients")
    started = time.perf_counter()
    comparison = Comparison.run(
        problem,
        agents,
        baseline=problem.variant.baseline,
        reference=PLAN,
        left_out=left_out,
        seed=seed,
        replicas={LEARNT: [run.agent("PPO") for run in runs]},
        executor=executor,
    )
    comparison.extras["What finding the policies took"] = pd.DataFrame(
        [
            {
                "method": search["method"],
                "simulated decisions": search["evaluations"] * task.num_decisions,
                "seconds": search["seconds"],
            },
            *(
                {
                    "method": f"PPO, seed {run.seed}",
                    "simulated decisions": run.steps,
                    "seconds": run.seconds,
                }
                for run in runs
            ),
            {
                "method": "Evaluation of all agents",
                "simulated decisions": int(comparison.results["length"].sum()),
                "seconds": time.perf_counter() - started,
            },
        ]
    )
    comparison.extras["Differences of PPO to the best open-loop plan"] = against_plan(
        comparison, LEARNT, seed
    )
    comparison.extras["PPO by training seed"] = by_training_seed(
        comparison, LEARNT, [run.seed for run in runs], seed
    )
    if preset.own_plan_patients:
        first = first_patients(problem, preset.own_plan_patients)
        count = len(first.patients)
        say(f"{env_id}: a plan of its own for each of {count} patients")
        plans = plans_of_patients(first, preset, folder, seed, executor)
        own = evaluate_problem(first, {"own": plans}, executor)["return"].to_numpy()
        caption = f"Distance to the best plan of each patient's own (first {count} patients)"
        comparison.extras[caption] = distance_table(comparison, own, seed)
    curves = {f"seed {run.seed}": learning_curve(run.folder) for run in runs}
    title = "PPO: return on the validation patients while it learns"
    axes = ("decisions", "mean return")
    comparison.figures[title] = plot_history(curves, *axes, mean=True)
    comparison.charts[title] = lines_chart(curves, *axes, mean=True)
    return comparison


def learning_curve(folder: Path) -> list[tuple[float, float]]:
    """Evaluations of a training run: ``(decisions, mean return)``."""
    table = pd.read_csv(folder / "progress.csv").dropna(subset=["eval/return"])
    return list(zip(table["steps"], table["eval/return"], strict=True))


def save_summary(comparisons: Mapping[str, Comparison], folder: Path) -> None:
    """Write the statistics of all environments in one table, ``summary.csv``."""
    tables = [c.summary.assign(env=env_id) for env_id, c in comparisons.items()]
    write_csv_atomic(folder / "summary.csv", pd.concat(tables, ignore_index=True))
