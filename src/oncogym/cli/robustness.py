"""``oncogym robustness``: what missed, delayed and wrong fractions cost."""

from __future__ import annotations

import argparse
import json

from oncogym.cli.arguments import (
    Commands,
    add_common,
    add_executor,
    add_options,
    add_patients,
    executor_of,
    named,
    path,
    read_options,
    save_then_print,
    settings_of,
)
from oncogym.cli.commands import COMMANDS
from oncogym.core.files import to_plain
from oncogym.core.manifest import manifest
from oncogym.core.output_folder import OutputFolder
from oncogym.evaluation.agent_names import load_agents
from oncogym.evaluation.comparison import text_table
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.kept_courses import courses_in
from oncogym.evaluation.report.labels import visible
from oncogym.evaluation.robustness.outcome import FILES
from oncogym.evaluation.robustness.perturbation import KINDS
from oncogym.evaluation.robustness.study import fitting_requests, read_requests, run_robustness


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "robustness",
        help=COMMANDS["robustness"],
        description="Treat the same patients, with the same random streams, with every agent, as "
        "decided and under perturbations of delivery, observation and patients, and print by how "
        "much each gets worse, patient by patient, with 95 % intervals. AGENT as for evaluate.",
        epilog="Kinds: "
        + "; ".join(f"{name} (size: {kind.unit})" for name, kind in KINDS.items())
        + ".",
    )
    add_patients(parser, 100)
    parser.add_argument(
        "--perturb",
        type=named,
        action="append",
        metavar="KIND[=SIZE,...][@FRACTION,...]",
        help="kind, sizes, and numbers of the fractions for kinds that happen once; repeatable "
        "(default: every kind that the environment has a meaning for, at its usual sizes)",
    )
    parser.add_argument(
        "--out",
        type=path,
        help="folder for results, figure and the report; the same command goes on there after an "
        "interruption",
    )
    add_options(parser)
    add_executor(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the study, print, and save where asked."""
    requests = read_requests(args.perturb) if args.perturb else None
    options = read_options(args.option)
    problem = resolve(
        args.env,
        cohort=args.cohort,
        patients=args.patients,
        seed=args.seed,
        options=options,
    )
    agents, _ = load_agents(problem, args.agents, args.seed)
    fitting_requests(requests, problem.task(1), args.seed)
    about = manifest("robustness", {"seed": args.seed}, settings_of(args, option=options))
    output = None if args.out is None else OutputFolder.claim(args.out, "robustness", FILES)
    with executor_of(args) as executor, courses_in(output, problem) as kept:
        study = run_robustness(
            problem, agents, requests, seed=args.seed, executor=executor, progress=True, kept=kept
        )

    def save() -> None:
        if args.out is not None:
            study.save(args.out, about)

    def show(saved: bool) -> None:
        if args.json:
            print(json.dumps(to_plain({**study.document(), "manifest": about}), indent=2))
            return
        print(
            f"{problem.variant.id}: {args.patients} patients of cohort {problem.cohort.name!r}; "
            "loss against the unperturbed course of the patients in whom it took place [95 % "
            "interval]\n"
        )
        print(text_table(study.table()))
        for kind, reason in study.left_out.items():
            print(f"left out {kind}: {visible(reason)}")
        if args.out is not None and saved:
            print(f"saved in {args.out}; open {args.out / 'report.html'}")

    save_then_print(save, show)
    return 0
