"""The main job: protocols, an optimised plan and a freshly trained PPO on the same patients."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from oncogym.agents.clinical import RandomAgent, clinical_agents
from oncogym.agents.executors.base import Executor
from oncogym.agents.files import (
    read_json,
    require_writable_folder,
    to_plain,
    write_csv_atomic,
    write_json_atomic,
)
from oncogym.agents.optimizers import DifferentialEvolution, PlanProblem
from oncogym.agents.optimizers.problem import encoded, protocol_plans
from oncogym.agents.plan import PatientPlans, PlanAgent
from oncogym.envs import treatments
from oncogym.envs.treatment import Variant, find_variant
from oncogym.evaluation.charts import lines_chart
from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.harness import Problem, evaluate_problem, resolve
from oncogym.evaluation.metrics import normalised_scores, per_patient
from oncogym.evaluation.own_plans import distance_table, first_patients, search_own_plans
from oncogym.evaluation.plots import plot_history
from oncogym.evaluation.seed_sweep import train_seeds
from oncogym.evaluation.statistics import paired_difference
from oncogym.evaluation.suite import suite_report

PLAN = "de_plan"
LEARNT = "ppo"


@dataclass(frozen=True)
class Preset:
    """How much work a benchmark does.

    Attributes:
        name: Name on the command line, by which environments set limits of their own.
        patients: Patients on whom agents are compared.
        plan_patients: Patients for whom the open-loop plan is optimised together.
        plan_generations: Generations of differential evolution before the polish.
        plan_population: Its population, as a multiple of the plan's variables.
        training_seeds: PPO runs with different seeds.
        training_steps: Decisions of each, ``None`` for the tuned value of ``ppo.yml``.
        own_plan_patients: The first so many of the patients also get a plan of their own each, by
            a search like that for the common plan; 0 for none.
    """

    name: str
    patients: int
    plan_patients: int
    plan_generations: int
    training_seeds: int
    training_steps: int | None = None
    plan_population: int = 12
    own_plan_patients: int = 0

    def suited(self, variant: Variant) -> Preset:
        """The preset with the limits of an environment."""
        return replace(self, **variant.effort.limits.get(self.name, {}))


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "quick",
            patients=256,
            plan_patients=96,
            plan_generations=30,
            training_seeds=1,
            own_plan_patients=64,
        ),
        Preset(
            "full",
            patients=1000,
            plan_patients=128,
            plan_generations=300,
            training_seeds=10,
            own_plan_patients=256,
        ),
    )
}


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
        ExecutorError: The workers cannot do it.
    """
    presets = {env_id: preset.suited(find_variant(env_id)[1]) for env_id in env_ids}
    problems = {
        env_id: resolve(env_id, patients=presets[env_id].patients, seed=seed) for env_id in env_ids
    }
    folder = require_writable_folder(out)
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
    plan, search = _find_plan(problem, preset, folder, seed, executor)
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
                "method": "Differential evolution",
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
    comparison.extras["Differences of PPO to the best open-loop plan"] = _against_plan(
        comparison, seed
    )
    training_seeds = [run.seed for run in runs]
    comparison.extras["PPO by training seed"] = _by_seed(comparison, training_seeds, seed)
    if preset.own_plan_patients:
        say(f"{env_id}: a plan of its own for each of {preset.own_plan_patients} patients")
        caption = (
            f"Distance to the best plan of each patient's own (first {preset.own_plan_patients} "
            "patients)"
        )
        comparison.extras[caption] = _distance(comparison, preset, folder, seed, executor)
    curves = {f"seed {run.seed}": learning_curve(run.folder) for run in runs}
    title = "PPO: return on the validation patients while it learns"
    axes = ("decisions", "mean return")
    comparison.figures[title] = plot_history(curves, *axes, mean=True)
    comparison.charts[title] = lines_chart(curves, *axes, mean=True)
    return comparison


def _against_plan(comparison: Comparison, seed: int) -> pd.DataFrame:
    rows = []
    tables = per_patient(comparison.results, comparison.headline_metrics)
    for metric in comparison.headline_metrics:
        pair = (tables[name][metric].to_numpy() for name in (LEARNT, PLAN))
        rows.append({"metric": metric, "PPO minus plan": paired_difference(*pair, seed=seed)})
    return pd.DataFrame(rows)


def _by_seed(comparison: Comparison, training_seeds: Sequence[int], seed: int) -> pd.DataFrame:
    """Return and normalised score of the policy of each training run."""
    results = comparison.results
    rows = []
    for number, training_seed in enumerate(training_seeds):
        chosen = (results["agent"] != LEARNT) | (results["training_seed"] == number)
        found, _ = normalised_scores(
            results[chosen], comparison.baseline, comparison.reference, seed=seed
        )
        own = results[chosen & (results["agent"] == LEARNT)]
        rows.append(
            {
                "training seed": training_seed,
                "return": float(own["return"].mean()),
                "cost": float(own["cost"].mean()),
                "normalised score": found.get(LEARNT),
            }
        )
    return pd.DataFrame(rows)


def _distance(
    comparison: Comparison, preset: Preset, folder: Path, seed: int, executor: Executor | None
) -> pd.DataFrame:
    """What the agents lack to plans that were made for each patient alone."""
    problem = first_patients(comparison.problem, preset.own_plan_patients)
    path = folder / "own_plans.json"
    if path.exists():
        plans = PatientPlans.load(path, problem.patients)
    else:
        effort = problem.variant.effort.search_options
        optimizer, budget = _search(problem, preset, effort, [PlanAgent.load(folder / "plan.json")])
        plans, about = search_own_plans(
            problem, optimizer, budget, search_options=effort, seed=seed, executor=executor
        )
        plans.save(path, problem.patients, about)
    own = evaluate_problem(problem, {"own": plans}, executor)["return"].to_numpy()
    tables = per_patient(comparison.results, ["return"])
    count = len(problem.patients)
    returns = {name: table["return"].to_numpy()[:count] for name, table in tables.items()}
    return distance_table(returns, own, comparison.baseline, comparison.labels, seed)


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


def _find_plan(
    problem: Problem, preset: Preset, folder: Path, seed: int, executor: Executor | None
) -> tuple[PlanAgent, dict[str, Any]]:
    path = folder / "plan.json"
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


def learning_curve(folder: Path) -> list[tuple[float, float]]:
    """Evaluations of a training run: ``(decisions, mean return)``."""
    table = pd.read_csv(folder / "progress.csv").dropna(subset=["eval/return"])
    return list(zip(table["steps"], table["eval/return"], strict=True))


def save_summary(comparisons: Mapping[str, Comparison], folder: Path) -> None:
    """Write the statistics of all environments in one table, ``summary.csv``."""
    tables = [c.summary.assign(env=env_id) for env_id, c in comparisons.items()]
    write_csv_atomic(folder / "summary.csv", pd.concat(tables, ignore_index=True))
