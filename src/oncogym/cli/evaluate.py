"""``oncogym evaluate``: compare agents on the same patients."""

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
from oncogym.evaluation.comparison import Comparison, load_agents, print_comparison
from oncogym.evaluation.harness import resolve


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "evaluate",
        help="compare agents on the same patients",
        description="Treat the same patients, with the same random streams, with every agent and "
        "print statistics with 95 %% intervals. AGENT is a clinical protocol of the treatment, "
        "'random', the folder of a trained policy, or a plan.json; without any, all protocols.",
    )
    add_patients(parser, 200)
    parser.add_argument("--baseline", help="agent that scores 0 (default: the id's clinical one)")
    parser.add_argument("--reference", help="agent that scores 1 (default: no normalised score)")
    parser.add_argument("--out", type=Path, help="folder for results, figures and the report")
    add_options(parser)
    add_executor(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate, print, and save where asked."""
    problem = resolve(
        args.env,
        cohort=args.cohort,
        patients=args.patients,
        seed=args.seed,
        options=read_pairs(args.option),
    )
    agents, left_out = load_agents(problem, args.agents, args.seed)
    if args.out:
        require_writable_folder(args.out)
    about = manifest("evaluate", {"seed": args.seed}, settings_of(args))
    with executor_of(args) as executor:
        comparison = Comparison.run(
            problem,
            agents,
            baseline=args.baseline or problem.variant.baseline,
            reference=args.reference,
            left_out=left_out,
            seed=args.seed,
            executor=executor,
        )
    if args.out:
        comparison.save(args.out, about)
    if args.json:
        print(json.dumps(to_plain(comparison.document()), indent=2))
    else:
        print_comparison(comparison)
        if args.out:
            print(f"saved in {args.out}; open {args.out / 'report.html'}")
    return 0
