"""``oncogym optimize``: find an open-loop plan."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from oncogym.agents.optimizers import (
    OPTIMIZERS,
    DifferentialEvolution,
    GeneticAlgorithm,
    GeneticSettings,
    OptimizeResult,
    PlanProblem,
)
from oncogym.agents.optimizers.problem import protocol_plans
from oncogym.cli.arguments import (
    add_common,
    add_executor,
    add_options,
    executor_of,
    natural,
    positive,
)
from oncogym.cli.search_request import RESUMABLE, SearchRequest, read_request
from oncogym.core.files import require_writable_folder, write_json_atomic
from oncogym.core.manifest import manifest
from oncogym.core.run_lock import hold
from oncogym.evaluation.benchmark.plan_distance import search_own_plans
from oncogym.evaluation.harness import Problem, resolve
from oncogym.evaluation.plan_search import about_search, search_plan


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "optimize",
        help="find the best open-loop plan of an environment",
        description="Search for the open-loop plan with the highest mean return over the patients "
        "of a cohort. Whole populations of plans are simulated in lanes. Method de (differential "
        "evolution) searches the actions of any treatment; ga (genetic algorithm) places doses in "
        "time slots, for treatments that offer them, and leaves a checkpoint after each generation "
        "in the folder of --out.",
    )
    # No defaults here: a resumed search takes what it began with, and refuses anything else.
    parser.add_argument(
        "env", metavar="ENV", nargs="?", help="an environment id (not needed with --resume)"
    )
    parser.add_argument("--method", choices=sorted(OPTIMIZERS), help="default: de")
    budgets = ", ".join(f"{name} {kind.default_budget}" for name, kind in OPTIMIZERS.items())
    parser.add_argument(
        "--budget", type=positive, help=f"plans to score in the search (default: {budgets})"
    )
    parser.add_argument(
        "--cohort", help="cohort of the patients (default: the one that the id resets to)"
    )
    parser.add_argument(
        "--patients", type=positive, help="patients (default: those of a small cohort, else 32)"
    )
    parser.add_argument(
        "--replicates", type=positive, help="simulations of each patient (default 1)"
    )
    parser.add_argument(
        "--from-protocols",
        action="store_true",
        help="de: put the clinical protocols into the first population",
    )
    names = ", ".join(item.name for item in dataclasses.fields(GeneticSettings))
    parser.add_argument(
        "--each",
        action="store_true",
        help="de: a plan of its own for each patient (default: patients of the id's evaluation "
        "cohort), the bound of what planning could reach if the patients were known; saved as "
        "plans.json, which `oncogym evaluate` takes for the same cohort, patients and seed",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"ga: a setting instead of its default; repeatable. Settings: {names}",
    )
    parser.add_argument(
        "--max-dose", type=float, metavar="GY", help="ga: largest dose of a slot (default: model's)"
    )
    parser.add_argument(
        "--min-gap",
        type=float,
        metavar="H",
        help="ga: least hours between doses (default: model's)",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--out",
        type=Path,
        help="folder for plan.json and manifest.json; ga: also for history.csv and checkpoints",
    )
    place.add_argument(
        "--resume", type=Path, metavar="DIR", help="ga: go on with the search in DIR"
    )
    parser.add_argument("--seed", type=natural, help="random seed (default 0)")
    add_options(parser)
    add_executor(parser)
    add_common(parser, seed=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search, print the plan, and save it where asked."""
    request = read_request(args)
    if request.each:
        return _run_each(args, request)
    out = args.resume or args.out
    problem = resolve(request.env, patients=1, options=request.option)
    cohort = request.cohort or problem.variant.options.get("cohort", "nominal")
    drawn = problem.treatment.cohort(cohort)
    count = request.patients or drawn.distinct or 32
    patients = drawn.patients(count, request.seed)
    search = PlanProblem(
        problem.treatment, problem.options, patients, replicates=request.replicates
    )
    optimizer = _optimizer(request, problem, search, out, resume=args.resume is not None)
    _check(optimizer, search, request.budget)
    about = manifest("optimize", {"seed": request.seed}, dataclasses.asdict(request))
    with executor_of(args) as executor, contextlib.ExitStack() as stack:
        if out:
            stack.enter_context(hold(require_writable_folder(out)))
        if out and request.method == RESUMABLE and args.resume is None:
            _claim(out, about)
        result = search_plan(
            optimizer, search, request.budget, request.seed, executor, request.method
        )
        document = {
            **about_search(result, problem.variant.id, cohort, count),
            "message": result.message,
            **_rows(result, problem),
        }
        if out:
            result.agent().save(out / "plan.json", {**document, "history": result.history})
            write_json_atomic(out / "manifest.json", about)
    if args.json:
        print(json.dumps(document, indent=2))
        return 0
    print(f"{problem.variant.id}: mean return {result.score:.6f} over {count} patient(s)")
    print(f"{result.evaluations} simulated treatments in {result.seconds:.1f} s")
    for number, row in enumerate(document.get("schedule", document["plan"]), 1):
        print(f"  {number:3d}  " + "  ".join(f"{k} {v:.4f}" for k, v in row.items()))
    if out:
        print(f"saved in {out}")
    return 0


def _run_each(args: argparse.Namespace, request: SearchRequest) -> int:
    """Search a plan for each patient, print what they gain, and save them where asked."""
    problem = resolve(
        request.env,
        cohort=request.cohort,
        patients=request.patients or 32,
        seed=request.seed,
        options=request.option,
    )
    search = PlanProblem(problem.treatment, problem.options, problem.patients[:1])
    optimizer = _differential_evolution(request, problem, search)
    _check(optimizer, search, request.budget)
    about = manifest("optimize", {"seed": request.seed}, dataclasses.asdict(request))
    with executor_of(args) as executor, contextlib.ExitStack() as stack:
        if args.out:
            stack.enter_context(hold(require_writable_folder(args.out)))
        agent, document = search_own_plans(
            problem,
            optimizer,
            request.budget,
            replicates=request.replicates,
            seed=request.seed,
            executor=executor,
        )
        if args.out:
            agent.save(args.out / "plans.json", problem.patients, document)
            write_json_atomic(args.out / "manifest.json", about)
    if args.json:
        print(json.dumps(document, indent=2))
        return 0
    print(
        f"{problem.variant.id}: mean return {document['score']:.6f} of {len(problem.patients)} "
        f"patients of cohort {problem.cohort.name!r}, each with his own plan"
    )
    print(f"{document['evaluations']} simulated treatments in {document['seconds']:.1f} s")
    if args.out:
        print(f"saved in {args.out}")
    return 0


def _optimizer(
    request: SearchRequest,
    problem: Problem,
    search: PlanProblem,
    out: Path | None,
    *,
    resume: bool,
) -> DifferentialEvolution | GeneticAlgorithm:
    """The method of a request with its settings."""
    if request.method == GeneticAlgorithm.name:
        return GeneticAlgorithm(
            GeneticSettings.from_mapping(request.set),
            max_dose=request.max_dose,
            min_gap=request.min_gap,
            folder=out,
            resume=resume,
        )
    return _differential_evolution(request, problem, search)


def _differential_evolution(
    request: SearchRequest, problem: Problem, search: PlanProblem
) -> DifferentialEvolution:
    optimizer = DifferentialEvolution()
    if request.from_protocols:
        optimizer.seeded_plans = protocol_plans(problem.treatment, problem.task(1), search.space)
    return optimizer


def _check(
    optimizer: DifferentialEvolution | GeneticAlgorithm, search: PlanProblem, budget: int
) -> None:
    """Refuse here, before any work, whatever the search would refuse.

    Raises:
        ValueError: The budget is too small, or the method cannot search this model.
    """
    try:
        optimizer.generations(search, budget)
    except NotImplementedError as error:
        raise ValueError(f"--method {optimizer.name}: {error}") from error


def _claim(folder: Path, about: dict[str, Any]) -> None:
    """Write ``config.json``, from which the search in ``folder`` can be resumed.

    Raises:
        ValueError: The folder holds a search already.
    """
    config = folder / "config.json"
    if config.exists():
        raise ValueError(
            f"{folder} holds a run already; go on with --resume {folder} or choose another folder"
        )
    write_json_atomic(config, about)


def _rows(result: OptimizeResult, problem: Problem) -> dict[str, Any]:
    """The plan in physical units, and the schedule where doses were placed in slots."""
    rows: dict[str, Any] = {"plan": physical_rows(problem.task(1), result.actions)}
    if result.method == GeneticAlgorithm.name:
        hours = result.settings["slot_hours"]
        rows["schedule"] = [
            {"hour": float(slot * hours), "dose": float(result.plan[slot])}
            for slot in np.flatnonzero(result.plan)
        ]
    return rows


def physical_rows(task: Any, actions: Any) -> list[dict[str, float]]:
    """Actions ``(decisions, size)`` in physical units, one dictionary a decision."""
    columns = {name: np.asarray(v).tolist() for name, v in task.to_physical(actions).items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
