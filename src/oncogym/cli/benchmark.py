"""``oncogym benchmark``: the main job."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from oncogym.cli.arguments import (
    add_common,
    add_executor,
    executor_of,
    positive,
    settings_of,
)
from oncogym.core.files import to_plain
from oncogym.core.manifest import manifest
from oncogym.evaluation.benchmark.presets import PRESETS
from oncogym.evaluation.benchmark.run import (
    clear,
    default_envs,
    run_benchmark,
    save_summary,
)
from oncogym.evaluation.report.suite import print_suite
from oncogym.evaluation.robustness.report import read_study


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "benchmark",
        help="protocols, optimiser and a freshly trained PPO on the same held-out patients",
        description="For each environment: the clinical protocols, an open-loop plan found by "
        "differential evolution and a PPO agent trained on the spot treat the same held-out "
        "patients. Prints the tables and writes results, figures and one HTML report. A run that "
        "was interrupted goes on where it stopped.",
    )
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="quick", help="amount of work (default quick)"
    )
    parser.add_argument("--envs", nargs="+", metavar="ENV", help="ids (default: the cohorts)")
    parser.add_argument(
        "--training-seeds",
        type=positive,
        metavar="N",
        help="PPO runs with different seeds (default: the preset's, "
        + ", ".join(f"{name} {preset.training_seeds}" for name, preset in PRESETS.items())
        + ")",
    )
    parser.add_argument("--out", type=Path, help="output folder (default results/benchmark-PRESET)")
    parser.add_argument(
        "--fresh", action="store_true", help="remove an earlier benchmark in the folder first"
    )
    parser.add_argument(
        "--robustness",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="folders of oncogym robustness --out to show in the report, too; a finished benchmark "
        "is not trained again for it",
    )
    add_executor(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the benchmark."""
    out = args.out or Path("results") / f"benchmark-{args.preset}"
    preset = PRESETS[args.preset]
    if args.training_seeds:
        preset = replace(preset, training_seeds=args.training_seeds)
    studies = [read_study(folder) for folder in args.robustness]
    about = manifest("benchmark", {"seed": args.seed}, settings_of(args))
    with executor_of(args) as executor:
        if args.fresh:
            clear(out)
        comparisons = run_benchmark(
            args.envs or default_envs(),
            preset,
            out,
            seed=args.seed,
            manifest=about,
            say=lambda text: print(text, file=sys.stderr, flush=True),
            executor=executor,
            studies=studies,
        )
    save_summary(comparisons, out)
    if args.json:
        print(json.dumps(to_plain([c.document() for c in comparisons.values()]), indent=2))
        return 0
    print_suite(comparisons, seed=args.seed)
    print(f"\nresults in {out}; open {out / 'report.html'}")
    return 0
