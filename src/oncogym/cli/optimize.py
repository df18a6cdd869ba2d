"""``oncogym optimize``: find an open-loop plan."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from oncogym.agents.optimizers import (
    DEFAULT,
    Optimizer,
    OptimizeResult,
    PlanObjective,
    find_optimizer,
    optimizers,
)
from oncogym.agents.optimizers.objective import protocol_plans
from oncogym.agents.plan import PlanAgent
from oncogym.cli.arguments import (
    Commands,
    add_common,
    add_executor,
    add_options,
    cohort_name,
    executor_of,
    named,
    path,
    save_then_print,
)
from oncogym.cli.commands import COMMANDS
from oncogym.cli.exit_status import CHECK_FAILED, FINE
from oncogym.cli.search_request import SearchRequest, read_request
from oncogym.core.argument_types import positive, seed_number, whole
from oncogym.core.files import write_json_atomic
from oncogym.core.json_types import JsonObject
from oncogym.core.manifest import manifest
from oncogym.core.output_folder import OutputFolder
from oncogym.core.run_lock import hold
from oncogym.envs.problem import MOST_PATIENTS, Problem
from oncogym.evaluation.benchmark.plan_distance import search_own_plans
from oncogym.evaluation.comparison import text_table
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.metrics import titled
from oncogym.evaluation.numbers import show_number
from oncogym.evaluation.plan_check import PlanCheck, beside, check_plan
from oncogym.evaluation.plan_search import OWN_FILE, SEARCH_FILES, about_search, search_plan
from oncogym.evaluation.report.labels import visible

# Patients of an unlimited cohort unless a number is given.
_PATIENTS = 32


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    known = optimizers()
    parser = commands.add_parser(
        "optimize",
        help=COMMANDS["optimize"],
        description="Search for the open-loop plan with the highest mean return over the patients "
        "of a cohort. Whole populations of plans are simulated in lanes. The plan is printed in "
        "physical units beside the clinic's, with return and cost of both and of no treatment; the "
        "exit status is 1 if it is worse than the clinic's or over a limit. Methods: "
        + "; ".join(f"{name}, {_about(kind)}" for name, kind in known.items())
        + ".",
    )
    # No defaults here: a resumed search takes what it began with, and refuses anything else.
    parser.add_argument(
        "env",
        metavar="ENV",
        nargs="?",
        type=named,
        help="an environment id (not needed with --resume)",
    )
    parser.add_argument("--method", type=named, help=f"default: {DEFAULT}")
    budgets = ", ".join(f"{name} {kind.default_budget}" for name, kind in known.items())
    parser.add_argument(
        "--budget", type=positive, help=f"plans to score in the search (default: {budgets})"
    )
    parser.add_argument(
        "--cohort",
        type=cohort_name,
        help="cohort of the patients, or a JSON file with one of your own (default: the one that "
        "the id resets to)",
    )
    parser.add_argument(
        "--patients",
        type=whole(1, MOST_PATIENTS),
        help="patients (default: those of a small cohort, else 32)",
    )
    parser.add_argument(
        "--replicates", type=positive, help="simulations of each patient (default 1)"
    )
    parser.add_argument(
        "--from-protocols",
        action=argparse.BooleanOptionalAction,
        help="begin with the clinical protocols (methods that search the actions; default: yes)",
    )
    parser.add_argument(
        "--each",
        action="store_true",
        help="a plan of its own for each patient (default: patients of the id's evaluation "
        "cohort), the bound of what planning could reach if the patients were known; saved as "
        "plans.json, which `oncogym evaluate` takes for the same cohort, patients and seed",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="setting of the method instead of its default; repeatable. "
        + "; ".join(f"{name}: {_settings(kind)}" for name, kind in known.items()),
    )
    parser.add_argument(
        "--max-dose",
        type=float,
        metavar="DOSE",
        help="methods that fill time slots: largest dose of a slot (default: model's)",
    )
    parser.add_argument(
        "--min-gap",
        type=float,
        metavar="TIME",
        help="methods that fill time slots: least time between doses (default: model's)",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--out",
        type=path,
        help="folder for plan.json, manifest.json and history.csv, and for what the search goes on "
        "from after an interruption: checkpoints or all scores",
    )
    place.add_argument("--resume", type=path, metavar="DIR", help="go on with the search in DIR")
    parser.add_argument("--seed", type=seed_number, help="random seed (default 0)")
    add_options(parser)
    add_executor(parser)
    add_common(parser, seed=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search, print the plan, and save it where asked."""
    request = read_request(args)
    if request.each:
        return _run_each(args, request)
    out = args.out if args.resume is None else args.resume
    problem = Problem.resolve(request.env, request.option, cohort=request.cohort)
    count = request.patients or problem.cohort.distinct or _PATIENTS
    problem = problem.require_whole_courses().drawn(count, request.seed)
    objective = PlanObjective(problem, replicates=request.replicates)
    optimizer = find_optimizer(request.method, request.set)
    _check(optimizer, objective, request.budget)
    about = manifest("optimize", {"seed": request.seed}, dataclasses.asdict(request))
    with executor_of(args) as executor, contextlib.ExitStack() as stack:
        output = None if out is None else _open(out, request, resume=args.resume is not None)
        if output:
            stack.enter_context(hold(output.path))
        if output and args.resume is None:
            _claim(output, about)
        result = search_plan(
            optimizer,
            objective,
            request.budget,
            request.seed,
            executor,
            request.method,
            start=protocol_plans(problem) if request.from_protocols else None,
            folder=out,
            resume=args.resume is not None,
        )
        check = check_plan(problem, result.agent(), executor)
    document = {
        **about_search(result, problem),
        "message": result.message,
        **_rows(result, objective, optimizer),
        **check.document(),
    }

    def save() -> None:
        if output:
            about_plan = {**document, "history": result.history}
            output.write("plan.json", lambda path: result.agent().save(path, about_plan))
            output.write("manifest.json", lambda path: write_json_atomic(path, about))

    def show(saved: bool) -> None:
        if args.json:
            print(json.dumps(document, indent=2))
            return
        print(
            f"{problem.variant.id}: mean return {show_number(result.score)} in the search, over "
            f"{count} patient{'s' * (count != 1)} of cohort {problem.cohort.name!r}"
        )
        print(f"{result.evaluations} simulated treatments in {result.seconds:.1f} s\n")
        if "schedule" in document:
            space = objective.slot_space()
            units = {
                "time": titled("time", space.time_unit),
                "dose": titled("dose", space.dose_unit),
            }
            print(
                text_table(
                    pd.DataFrame(document["schedule"], columns=list(units)).rename(columns=units)
                )
            )
        else:
            open_loop = {n: a for n, a in check.agents.items() if isinstance(a, PlanAgent)}
            plans = {"the plan": result.agent(), **dict(list(open_loop.items())[:1])}
            print(text_table(beside(problem, plans)))
        _show_check(check)
        if output and saved:
            print(f"saved in {out}")

    save_then_print(save, show)
    return CHECK_FAILED if check.faults else FINE


def _show_check(check: PlanCheck) -> None:
    """Print what the plan is worth beside the clinic, and say on standard error what is wrong."""
    print(f"\nMeans over the patients\n{text_table(check.table)}")
    for fault in check.faults:
        print(f"oncogym optimize: {visible(fault)}", file=sys.stderr)


def _run_each(args: argparse.Namespace, request: SearchRequest) -> int:
    """Search a plan for each patient, print what they gain, and save them where asked."""
    out = args.out if args.resume is None else args.resume
    problem = resolve(
        request.env,
        cohort=request.cohort,
        patients=request.patients or _PATIENTS,
        seed=request.seed,
        options=request.option,
    )
    optimizer = find_optimizer(request.method, request.set)
    _check(optimizer, PlanObjective(problem.part(slice(0, 1))), request.budget)
    about = manifest("optimize", {"seed": request.seed}, dataclasses.asdict(request))
    with executor_of(args) as executor, contextlib.ExitStack() as stack:
        output = None if out is None else _open(out, request, resume=args.resume is not None)
        if output:
            stack.enter_context(hold(output.path))
        if output and args.resume is None:
            _claim(output, about)
        agent, document = search_own_plans(
            problem,
            optimizer,
            request.budget,
            start=protocol_plans(problem) if request.from_protocols else None,
            replicates=request.replicates,
            seed=request.seed,
            executor=executor,
            file=None if out is None else out / OWN_FILE,
            resume=args.resume is not None,
        )
        check = check_plan(problem, agent, executor)
    document |= check.document()

    def save() -> None:
        if output:
            output.write("plans.json", lambda path: agent.save(path, problem.patients, document))
            output.write("manifest.json", lambda path: write_json_atomic(path, about))

    def show(saved: bool) -> None:
        if args.json:
            print(json.dumps(document, indent=2))
            return
        print(
            f"{problem.variant.id}: mean return {show_number(document['score'])} of "
            f"{len(problem.patients)} patients of cohort {problem.cohort.name!r}, each with a plan "
            "of their own"
        )
        print(f"{document['evaluations']} simulated treatments in {document['seconds']:.1f} s")
        _show_check(check)
        if output and saved:
            print(f"saved in {out}")

    save_then_print(save, show)
    return CHECK_FAILED if check.faults else FINE


def _open(folder: Path, request: SearchRequest, *, resume: bool = False) -> OutputFolder:
    """The folder of a search, in which nothing of somebody else's may be in the way.

    Raises:
        ValueError: The folder holds a search that is not finished, or one by a method that keeps
            its checkpoints.
        OutputFolderError: It cannot be written to, or a file is in the way.
    """
    result = "plans.json" if request.each else "plan.json"
    going_on = find_optimizer(request.method).resumes or not (folder / result).exists()
    if not resume and going_on and (folder / "config.json").exists():
        raise ValueError(
            f"{folder} holds a run already; go on with --resume {folder} or choose another folder"
        )
    names = [result, "manifest.json", "config.json", OWN_FILE, *SEARCH_FILES]
    if resume and OutputFolder.find(folder) is None:
        # A search of the version before, which kept no list; its request was read from it.
        return OutputFolder(folder, "optimize", names)
    return OutputFolder.claim(folder, "optimize", names)


def _check(optimizer: Optimizer, objective: PlanObjective, budget: int) -> None:
    """Refuse here, before any work, whatever the search would refuse.

    Raises:
        ValueError: The budget is too small, or the method cannot search this model.
    """
    try:
        optimizer.generations(objective, budget)
    except NotImplementedError as error:
        raise ValueError(f"--method {optimizer.name}: {error}") from error


def _claim(output: OutputFolder, about: dict[str, Any]) -> None:
    """Write ``config.json``, from which the search can be resumed."""
    output.write("config.json", lambda path: write_json_atomic(path, about))
    output.add(OWN_FILE, *SEARCH_FILES)


def _rows(result: OptimizeResult, objective: PlanObjective, optimizer: Optimizer) -> JsonObject:
    """The plan in physical units, and the schedule where doses were placed in slots."""
    rows: dict[str, object] = {"plan": physical_rows(objective.problem.task(1), result.actions)}
    if optimizer.takes == "slots":
        space = objective.slot_space()
        rows["schedule"] = [
            {"time": float(slot * space.slot_duration), "dose": float(result.plan[slot])}
            for slot in np.flatnonzero(result.plan)
        ]
    return rows


def physical_rows(task: Any, actions: Any) -> list[dict[str, float]]:
    """Actions ``(decisions, size)`` in physical units, one dictionary a decision."""
    columns = {name: np.asarray(v).tolist() for name, v in task.to_physical(actions).items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _about(kind: Any) -> str:
    """One method in a few words."""
    where = "the actions of any treatment"
    if kind.takes == "slots":
        where = "doses in time slots, for treatments that offer them"
    return f"{kind.title} ({where})"


def _settings(kind: Any) -> str:
    return ", ".join(item.name for item in dataclasses.fields(kind.Settings))
