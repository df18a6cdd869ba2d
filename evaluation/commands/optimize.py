"""``oncogym optimize``: find an open-loop plan."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from oncogym.agents.files import require_writable_folder, write_json_atomic
from oncogym.agents.optimizers import OPTIMIZERS, PlanProblem
from oncogym.agents.optimizers.problem import protocol_plans
from oncogym.evaluation.commands.arguments import (
    add_common,
    add_options,
    positive,
    read_pairs,
    settings_of,
)
from oncogym.evaluation.harness import resolve
from oncogym.training.manifest import manifest


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "optimize",
        help="find the best open-loop plan of an environment",
        description="Search for the open-loop plan with the highest mean return over the patients "
        "of a cohort. Whole populations of plans are simulated in lanes.",
    )
    parser.add_argument("env", metavar="ENV", help="an environment id")
    parser.add_argument("--method", choices=sorted(OPTIMIZERS), default="de", help="default: de")
    parser.add_argument(
        "--budget", type=positive, default=50_000, help="plans to score (default 50000)"
    )
    parser.add_argument(
        "--cohort", help="cohort of the patients (default: the one that the id resets to)"
    )
    parser.add_argument(
        "--patients", type=positive, default=None, help="patients (default 1 nominal, else 32)"
    )
    parser.add_argument(
        "--from-protocols",
        action="store_true",
        help="put the clinical protocols into the first population",
    )
    parser.add_argument("--out", type=Path, help="folder for plan.json and manifest.json")
    add_options(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search, print the plan, and save it where asked."""
    problem = resolve(args.env, patients=1, options=read_pairs(args.option))
    treatment, task = problem.treatment, problem.task(1)
    cohort = args.cohort or problem.variant.options.get("cohort", "nominal")
    count = args.patients or (1 if cohort == "nominal" else 32)
    patients = treatment.cohort(cohort).patients(count, args.seed)
    if args.out:
        require_writable_folder(args.out)
    about = manifest("optimize", {"seed": args.seed}, settings_of(args))
    search = PlanProblem(treatment, problem.options, patients)
    optimizer = OPTIMIZERS[args.method]()
    if args.from_protocols:
        optimizer.seeded_plans = protocol_plans(treatment, task, search.space)
    with tqdm(desc=args.method, unit="gen", file=sys.stderr, disable=None) as bar:

        def progress(generation: int, best: float, evaluations: int) -> None:
            bar.update(1)
            bar.set_postfix(best=f"{best:.6g}")

        result = optimizer.optimize(search, args.budget, args.seed, progress)
    document = {
        "env": problem.variant.id,
        "cohort": cohort,
        "patients": count,
        "score": result.score,
        "evaluations": result.evaluations,
        "seconds": result.seconds,
        "method": result.method,
        "settings": result.settings,
        "message": result.message,
        "plan": physical_rows(task, result.actions),
    }
    if args.out:
        result.agent().save(args.out / "plan.json", {**document, "history": result.history})
        write_json_atomic(args.out / "manifest.json", about)
    if args.json:
        print(json.dumps(document, indent=2))
        return 0
    print(f"{problem.variant.id}: mean return {result.score:.6f} over {count} patient(s)")
    print(f"{result.evaluations} simulated treatments in {result.seconds:.1f} s")
    for number, row in enumerate(document["plan"], 1):
        print(f"  {number:3d}  " + "  ".join(f"{k} {v:.4f}" for k, v in row.items()))
    if args.out:
        print(f"saved in {args.out}")
    return 0


def physical_rows(task: Any, actions: Any) -> list[dict[str, float]]:
    """Actions ``(decisions, size)`` in physical units, one dictionary a decision."""
    columns = {name: np.asarray(v).tolist() for name, v in task.to_physical(actions).items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
