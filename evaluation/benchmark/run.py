"""The main job: protocols, rules, controllers, a plan and a trained policy on the same patients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from oncogym.agents.bound import BoundAgent
from oncogym.agents.clinical import RandomAgent, compared_agents, full_state_twins
from oncogym.core.checks import whole_number
from oncogym.core.errors import UnknownNameError
from oncogym.core.files import to_plain, write_csv_atomic, write_json_atomic
from oncogym.core.output_folder import OutputFolder
from oncogym.core.run_lock import hold
from oncogym.envs import treatments
from oncogym.envs.problem import Problem
from oncogym.envs.registry import find_variant
from oncogym.envs.treatment import Treatment
from oncogym.evaluation.benchmark.controllers import control_settings, controllers_of
from oncogym.evaluation.benchmark.folder import (
    check_parts,
    check_settings,
    learning_curve,
    open_benchmark,
    place_names,
    places,
    reported_envs,
    require_room,
    settings_of,
    write_settings,
)
from oncogym.evaluation.benchmark.plan_distance import distance_table
from oncogym.evaluation.benchmark.plans import common_plan, plans_of_patients
from oncogym.evaluation.benchmark.presets import Preset
from oncogym.evaluation.benchmark.seed_sweep import train_seeds
from oncogym.evaluation.benchmark.studies import STUDIES, all_studies
from oncogym.evaluation.benchmark.tables import against_plan, by_training_seed, price_table
from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.harness import evaluate_problem, resolve
from oncogym.evaluation.kept_courses import FILE as COURSES
from oncogym.evaluation.kept_courses import kept_courses
from oncogym.evaluation.overview import overview_file
from oncogym.evaluation.report.charts import lines_chart
from oncogym.evaluation.report.drawings import Drawings
from oncogym.evaluation.report.suite import OVERVIEW, suite_report
from oncogym.training.algorithms import DEFAULT, find_algorithm

if TYPE_CHECKING:
    from oncogym.training.runs import TrainResult

PLAN = "plan"
#: The controller that knows the patient, with score 1 where it takes part and no bound is known.
ORACLE = "mpc_oracle"
#: The agent that is trained unless a preset names another algorithm.
LEARNT = DEFAULT
#: Training runs with different seeds at most.
MOST_TRAINING_SEEDS = 1000
# Training takes no larger seed.
_LARGEST_SEED = 2**32 - 1


def default_envs() -> list[str]:
    """The ids that take part unless others are named."""
    return [v.id for t in treatments().values() for v in t.variants if v.benchmark]


def run_benchmark(
    env_ids: Sequence[str],
    preset: Preset,
    out: str | Path,
    *,
    seed: int = 0,
    manifest: Mapping[str, object] | None = None,
    say: Callable[[str], None] = lambda text: None,
    executor: Executor | None = None,
    studies: Sequence[Mapping[str, object]] = (),
    drawings: Drawings | None = None,
) -> dict[str, Comparison]:
    """Compare everybody on every environment; finished parts found in ``out`` are used again.

    Environments that the report in ``out`` shows already stay in it: they are evaluated again, with
    the plans and policies that are there.

    Args:
        env_ids: Registered ids.
        preset: Amount of work.
        out: Folder for results, figures and ``report.html``.
        seed: Seed of patients, search, training and bootstrap.
        manifest: Provenance for the report.
        say: Receives lines about the progress.
        executor: Who simulates, trains and evaluates; by default this process. The results do not
            depend on it.
        studies: Documents of robustness studies that the report shows, too, beside those that it
            shows already.
        drawings: Collects what could not be drawn; by default that is an error, at the end.

    Returns:
        A comparison for each id, those included that the report in ``out`` keeps.

    Raises:
        UnknownNameError: An id does not exist, be it one in the report of ``out``.
        OutputFolderError: ``out`` cannot be written to, or holds a file of one of the benchmark's
            names that is not ours.
        ValueError: ``out`` holds a benchmark with other settings, an id is named twice, or the
            seeds are out of range.
        RunLockedError: Another process works in ``out``.
        CorruptFileError: A finished part found in ``out`` is damaged.
        ExecutorError: The workers cannot do it.
        ReportError: All results are saved, but a figure or the report could not be made.
    """
    presets, problems = prepare(env_ids, preset, seed)
    output = open_benchmark(out)
    kept = [one for one in reported_envs(output.path) if one not in problems]
    if kept:
        check_settings(output, "", settings_of(preset, seed))
        say(f"the report in {output.path} keeps {', '.join(kept)}")
        presets, problems = _together(kept, env_ids, preset, seed, output.path)
    with hold(output.path):
        return _run_held(
            output, preset, presets, problems, seed, manifest, say, executor, studies, drawings
        )


def _run_held(
    output: OutputFolder,
    preset: Preset,
    presets: Mapping[str, Preset],
    problems: Mapping[str, Problem],
    seed: int,
    manifest: Mapping[str, object] | None,
    say: Callable[[str], None],
    executor: Executor | None,
    studies: Sequence[Mapping[str, object]],
    drawings: Drawings | None,
) -> dict[str, Comparison]:
    """:func:`run_benchmark` in a folder that no other process works in."""
    require_room(output, presets, seed, problems)
    folders = places(problems)
    shown = all_studies(output.path, studies)
    settings = {"": settings_of(preset, seed)}
    settings |= {folders[one]: settings_of(presets[one], seed) for one in problems}
    for place, own in settings.items():
        check_settings(output, place, own)
    for env_id, problem in problems.items():
        check_parts(output.path / folders[env_id], problem, presets[env_id], seed)
    for place, own in settings.items():
        write_settings(output, place, own)
    attempts = drawings or Drawings(output.path)
    comparisons = {}
    for env_id, problem in problems.items():
        place = folders[env_id]
        comparison = _benchmark_one(problem, presets[env_id], output, place, seed, say, executor)
        comparison.write_tables(output, place)
        comparison.draw(output, attempts, place)
        comparisons[env_id] = comparison
    if manifest is not None:
        output.write("manifest.json", lambda path: write_json_atomic(path, manifest))
    output.write("summary.csv", partial(save_summary, comparisons))
    if shown:
        output.write(STUDIES, lambda path: write_json_atomic(path, to_plain(shown)))
    table = overview_file(comparisons)
    output.write(OVERVIEW, partial(write_csv_atomic, frame=table))
    summary = (
        f"{len(problems)} environment(s), up to {preset.patients} patients each, "
        f"{preset.training_seeds} training seed(s)."
    )
    with attempts.attempt("report.html"):
        report = suite_report(
            comparisons, "oncogym benchmark", summary, manifest, studies=shown, folders=folders
        )
        output.write("report.html", report.write)
    output.drop_aside()
    if drawings is None:
        attempts.require_all()
    return comparisons


def _together(
    kept: Sequence[str], env_ids: Sequence[str], preset: Preset, seed: int, folder: Path
) -> tuple[dict[str, Preset], dict[str, Problem]]:
    """:func:`prepare` for the environments in the report of a folder and for others, those first.

    Raises:
        UnknownNameError: One of the report's is not installed any more.
    """
    try:
        presets, problems = prepare(kept, preset, seed)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"the report in {folder} shows an environment that is not there any more: {error}; "
            "choose another folder or start afresh"
        ) from None
    more_presets, more_problems = prepare(env_ids, preset, seed)
    return {**presets, **more_presets}, {**problems, **more_problems}


def prepare(
    env_ids: Sequence[str], preset: Preset, seed: int
) -> tuple[dict[str, Preset], dict[str, Problem]]:
    """The amount of work and the patients of each environment, by its full id; nothing is done yet.

    Args:
        env_ids: Ids of the environments.
        preset: The amount of work.
        seed: Seed of the benchmark.

    Raises:
        UnknownNameError: An id or an algorithm does not exist.
        ValueError: An id or an algorithm is named twice, or the seeds are out of range.
    """
    whole_number("training seeds", preset.training_seeds, 1, MOST_TRAINING_SEEDS)
    whole_number("seed", seed, 0, _LARGEST_SEED - preset.training_seeds)
    presets: dict[str, Preset] = {}
    problems: dict[str, Problem] = {}
    for env_id in env_ids:
        variant = find_variant(env_id)[1]
        if variant.id in problems:
            raise ValueError(f"environment {env_id!r} is named twice ({variant.id}); allowed: once")
        presets[variant.id] = suited = preset.suited(variant)
        for name in suited.algorithms:
            find_algorithm(name)
            if suited.algorithms.count(name) > 1:
                raise ValueError(f"algorithm {name!r} is named twice; allowed: once")
        problems[variant.id] = resolve(variant.id, patients=suited.patients, seed=seed)
    return presets, problems


def find_reference(treatment: Treatment, agents: Collection[str]) -> str:
    """Who has score 1: a bound of the treatment, the controller that knows the patient, the plan.

    Args:
        treatment: The treatment.
        agents: Names of those who take part, the plan included or to come.
    """
    known = [name for name in (*treatment.bounds, ORACLE) if name in agents]
    return known[0] if known else PLAN


def _benchmark_one(
    problem: Problem,
    preset: Preset,
    output: OutputFolder,
    place: str,
    seed: int,
    say: Callable[[str], None],
    executor: Executor | None,
) -> Comparison:
    env_id = problem.variant.id
    folder = output.path / place
    output.add(*place_names(place, preset, seed))
    task = problem.task(1)
    agents, left_out = compared_agents(problem, task)
    agents |= full_state_twins(problem, agents)
    agents["random"] = RandomAgent(int(np.prod(task.action_space.shape)), seed)
    agents |= {name: BoundAgent(bound) for name, bound in problem.treatment.bounds.items()}
    say(f"{env_id}: searching an open-loop plan")
    plan, search = common_plan(problem, preset, folder, seed, executor)
    agents |= controllers_of(problem, preset, seed, {PLAN: plan})
    agents[PLAN] = plan
    titles = {name: find_algorithm(name).title for name in preset.algorithms}
    runs: dict[str, list[TrainResult]] = {}
    for name, title in titles.items():
        say(f"{env_id}: training {title}, {preset.training_seeds} seed(s)")
        runs[name] = train_seeds(
            problem,
            folder,
            name,
            range(seed, seed + preset.training_seeds),
            steps=preset.training_steps.get(name),
            options=problem.variant.effort.search_options,
            executor=executor,
        )
    say(f"{env_id}: evaluating on {len(problem.patients)} patients")
    with kept_courses(folder / COURSES, [problem.treatment.task.__module__]) as kept:
        comparison = Comparison.run(
            problem,
            agents,
            baseline=problem.variant.baseline,
            reference=find_reference(problem.treatment, agents),
            left_out=left_out,
            seed=seed,
            optimised=[PLAN],
            replicas={name: [run.agent(titles[name]) for run in runs[name]] for name in titles},
            executor=executor,
            kept=kept,
        )
    comparison.extras["What finding the policies took"] = pd.DataFrame(
        [
            *(
                {
                    "method": found["method"],
                    "simulated decisions": found["evaluations"] * task.num_decisions,
                    "seconds": found["seconds"],
                }
                for found in search["searches"]
            ),
            *(
                {
                    "method": f"{title}, seed {run.seed}",
                    "simulated decisions": run.steps,
                    "seconds": run.seconds,
                }
                for name, title in titles.items()
                for run in runs[name]
            ),
            {
                "method": "Evaluation of all agents",
                "simulated decisions": int(comparison.results["length"].sum()),
                "seconds": comparison.seconds,
            },
        ]
    )
    if preset.controllers:
        thought = control_settings(problem, preset, seed)
        names = ("budget", "population", "scenarios", "replan_every", "horizon")
        comparison.extras["How much the controllers think"] = pd.DataFrame(
            {"setting": names, "value": [str(getattr(thought, name)) for name in names]}
        )
    comparison.extras["What knowing and measuring are worth"] = price_table(comparison, seed)
    for name, title in titles.items():
        comparison.extras[f"Differences of {title} to the best open-loop plan"] = against_plan(
            comparison, name, title, PLAN, seed
        )
        comparison.extras[f"{title} by training seed"] = by_training_seed(
            comparison, name, [run.seed for run in runs[name]], seed
        )
        curves = {f"seed {run.seed}": learning_curve(run.folder) for run in runs[name]}
        caption = f"{title}: return on the validation patients while it learns"
        comparison.figures[caption] = lines_chart(curves, "decisions", "mean return", mean=True)
    if preset.own_plan_patients:
        first = problem.part(slice(0, preset.own_plan_patients))
        count = len(first.patients)
        say(f"{env_id}: a plan of its own for each of {count} patients")
        plans = plans_of_patients(first, preset, folder, seed, executor)
        own = evaluate_problem(first, {"own": plans}, executor)["return"].to_numpy()
        caption = f"Distance to the best plan of each patient's own (first {count} patients)"
        comparison.extras[caption] = distance_table(comparison, own, seed)
    return comparison


def save_summary(comparisons: Mapping[str, Comparison], path: Path) -> None:
    """Write the statistics of all environments in one table."""
    tables = [c.summary.assign(env=env_id) for env_id, c in comparisons.items()]
    write_csv_atomic(path, pd.concat(tables, ignore_index=True))
