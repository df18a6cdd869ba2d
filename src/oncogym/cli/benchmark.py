"""``oncogym benchmark``: the main job."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from oncogym.cli.arguments import (
    Commands,
    add_common,
    add_executor,
    executor_of,
    named,
    path,
    settings_of,
)
from oncogym.cli.commands import COMMANDS
from oncogym.core.argument_types import whole
from oncogym.core.files import to_plain
from oncogym.core.manifest import manifest
from oncogym.envs.problem import MOST_PATIENTS
from oncogym.evaluation.benchmark.folder import find_benchmark, require_room
from oncogym.evaluation.benchmark.presets import PRESETS
from oncogym.evaluation.benchmark.run import (
    MOST_TRAINING_SEEDS,
    default_envs,
    prepare,
    run_benchmark,
)
from oncogym.evaluation.report.drawings import Drawings
from oncogym.evaluation.report.suite import print_suite
from oncogym.evaluation.robustness.report import read_study
from oncogym.training.algorithms import algorithm_names


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "benchmark",
        help=COMMANDS["benchmark"],
        description="For each environment: clinical protocols, rules, receding-horizon control, "
        "the best of the open-loop plans that the optimisers find, and policies trained on the "
        "spot treat the same held-out patients. Prints one table a treatment and writes results, "
        "figures and one HTML report. A run that was interrupted goes on where it stopped.",
    )
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="quick", help="amount of work (default quick)"
    )
    parser.add_argument(
        "--envs", nargs="+", type=named, metavar="ENV", help="ids (default: the cohorts)"
    )
    parser.add_argument(
        "--training-seeds",
        type=whole(1, MOST_TRAINING_SEEDS),
        metavar="N",
        help="training runs of an algorithm, with different seeds (default: the preset's, "
        + ", ".join(f"{name} {preset.training_seeds}" for name, preset in PRESETS.items())
        + ")",
    )
    parser.add_argument(
        "--algo",
        nargs="+",
        type=named,
        default=(),
        metavar="NAME",
        help="learning algorithms, instead of those that suit each environment; of "
        + ", ".join(algorithm_names()),
    )
    parser.add_argument(
        "--own-plans",
        type=whole(0, MOST_PATIENTS),
        default=0,
        metavar="N",
        help="search a plan for each of the first N patients alone, too, a bound on what any fixed "
        "course could give them (default 0: none)",
    )
    parser.add_argument("--out", type=path, help="output folder (default results/benchmark-PRESET)")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="start from the beginning; the files of an earlier benchmark in the folder, and no "
        "others, are kept in its folder 'previous' until the new one is complete, and then removed",
    )
    parser.add_argument(
        "--robustness",
        nargs="+",
        type=path,
        default=[],
        metavar="DIR",
        help="folders of oncogym robustness --out to show in the report, too; a finished benchmark "
        "is not trained again for it, and its report keeps the studies that it has",
    )
    add_executor(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the benchmark; everything that was asked for is checked before anything is touched."""
    out = Path("results") / f"benchmark-{args.preset}" if args.out is None else args.out
    preset = PRESETS[args.preset]
    if args.training_seeds is not None:
        preset = replace(preset, training_seeds=args.training_seeds)
    preset = replace(preset, algorithms=tuple(args.algo), own_plan_patients=args.own_plans)
    env_ids = args.envs or default_envs()
    presets, problems = prepare(env_ids, preset, args.seed)
    studies = [read_study(folder) for folder in _different(args.robustness)]
    _require_training()
    about = manifest("benchmark", {"seed": args.seed}, settings_of(args))
    with executor_of(args) as executor:
        earlier = find_benchmark(out) if args.fresh else None
        if earlier is not None:
            require_room(earlier, presets, args.seed, problems)
            earlier.begin_afresh()
        drawings = Drawings(out)
        comparisons = run_benchmark(
            env_ids,
            preset,
            out,
            seed=args.seed,
            manifest=about,
            say=lambda text: print(text, file=sys.stderr, flush=True),
            executor=executor,
            studies=studies,
            drawings=drawings,
        )
    if args.json:
        print(json.dumps(to_plain([c.document() for c in comparisons.values()]), indent=2))
    else:
        print_suite(comparisons)
        print(f"\nresults in {out}; open {out / 'report.html'}")
    drawings.require_all()
    return 0


def _different(folders: list[Path]) -> list[Path]:
    """The folders, none of them twice.

    Raises:
        ValueError: The same folder is named twice.
    """
    seen: dict[str, Path] = {}
    for folder in folders:
        where = os.path.realpath(folder)
        if where in seen:
            raise ValueError(f"the study {folder} is named twice, also as {seen[where]}")
        seen[where] = folder
    return folders


def _require_training() -> None:
    """Refuse here, not after the search, where nothing can be trained.

    Raises:
        ModuleNotFoundError: The extra ``train`` is not installed.
    """
    for name in ("torch", "stable_baselines3", "yaml", "tensorboard"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
