"""``oncogym robustness``: what missed, delayed and wrong fractions cost."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from oncogym.cli.arguments import (
    add_common,
    add_executor,
    add_options,
    add_patients,
    executor_of,
    read_pairs,
    settings_of,
)
from oncogym.core.files import require_writable_folder, to_plain
from oncogym.core.manifest import manifest
from oncogym.evaluation.comparison import load_agents
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.robustness.perturbation import KINDS
from oncogym.evaluation.robustness.study import Request, run_robustness
from oncogym.evaluation.statistics import Interval


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "robustness",
        help="what missed, delayed and wrong fractions cost each agent",
        description="Treat the same patients, with the same random streams, with every agent, as "
        "decided and under perturbations of delivery, observation and patients, and print by how "
        "much each gets worse, patient by patient, with 95 %% intervals. AGENT as for evaluate.",
        epilog="Kinds: "
        + "; ".join(f"{name} (size: {kind.unit})" for name, kind in KINDS.items())
        + ".",
    )
    add_patients(parser, 100)
    parser.add_argument(
        "--perturb",
        action="append",
        metavar="KIND[=SIZE,...][@FRACTION,...]",
        help="kind, sizes, and numbers of the fractions for kinds that happen once; repeatable "
        "(default: every kind that the environment has a meaning for, at its usual sizes)",
    )
    parser.add_argument("--out", type=Path, help="folder for results, figure and the report")
    add_options(parser)
    add_executor(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the study, print, and save where asked."""
    requests = [Request.parse(text) for text in args.perturb] if args.perturb else None
    problem = resolve(
        args.env,
        cohort=args.cohort,
        patients=args.patients,
        seed=args.seed,
        options=read_pairs(args.option),
    )
    agents, _ = load_agents(problem, args.agents, args.seed)
    if args.out:
        require_writable_folder(args.out)
    about = manifest("robustness", {"seed": args.seed}, settings_of(args))
    with executor_of(args) as executor:
        study = run_robustness(
            problem, agents, requests, seed=args.seed, executor=executor, progress=True
        )
    if args.out:
        study.save(args.out, about)
    if args.json:
        print(json.dumps(to_plain({**study.document(), "manifest": about}), indent=2))
        return 0
    print(
        f"{problem.variant.id}: {args.patients} patients of cohort {problem.cohort.name!r}; loss "
        "against the unperturbed course of the patients in whom it took place [95 % interval]\n"
    )
    print(study.table().map(_cell).to_string(index=False))
    for kind, reason in study.left_out.items():
        print(f"left out {kind}: {reason}")
    if args.out:
        print(f"saved in {args.out}; open {args.out / 'report.html'}")
    return 0


def _cell(cell: Any) -> Any:
    return f"{cell:.4g}" if isinstance(cell, Interval) else cell
