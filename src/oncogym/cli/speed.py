"""``oncogym speed``: steps and simulations per second."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace

from tqdm import tqdm

from oncogym.cli.arguments import Commands, add_common, named, settings_of
from oncogym.cli.commands import COMMANDS
from oncogym.core.argument_types import positive
from oncogym.core.errors import nearest
from oncogym.core.files import to_plain
from oncogym.core.manifest import manifest
from oncogym.envs.device import DEVICES, choose_device
from oncogym.evaluation.reproduce.neighbours import CASES, TRAINING, installed, measure
from oncogym.evaluation.reproduce.neighbours import table as neighbours_table
from oncogym.evaluation.speed import Measurement, Settings, find_jobs, models, table


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "speed",
        help=COMMANDS["speed"],
        description="Time a model and its environments, and, where there is one, the "
        "implementation that it is compared to in the same process. Figures are medians over "
        "several repeats; they depend on the machine and on what else it does.",
        epilog=f"Models: {', '.join(models())}. An environment id is timed as scalar and vector "
        "environment.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        type=named,
        metavar="NAME",
        help="models or environment ids (default: all models)",
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=2.0, help="time for each measurement (default 2)"
    )
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu",
        help="processor, NVIDIA GPU (needs oncogym[cuda]), or a GPU where there is one "
        "(default cpu)",
    )  # fmt: skip
    parser.add_argument("--train", action="store_true", help="time PPO, too (takes longer)")
    parser.add_argument(
        "--check", action="store_true", help="exit with status 1 when a target is missed"
    )
    parser.add_argument(
        "--neighbours", type=positive, metavar="N",
        help="time N processes that step native lanes beside each other against one alone, for "
        "each library that they may import first (with --train: PPO, too); models: "
        + ", ".join(CASES),
    )  # fmt: skip
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 when ``--check`` is given and a target was missed, otherwise 0.

    Raises:
        UnknownNameError: A name is neither a model nor an environment.
        ValueError: A model is not timed on the device.
        DeviceError: The device is not there.
        ModuleNotFoundError: ``--train`` was given without the ``train`` extra.
    """
    if args.neighbours:
        return _run_neighbours(args)
    settings = Settings(args.seed, args.seconds, args.train, choose_device(args.device))
    about = manifest("speed", {"seed": args.seed}, settings_of(args))
    jobs = [job for name in args.names or models() for job in find_jobs(name, settings)]
    if args.train:
        _require_training(args.names, settings)
    found: list[Measurement] = []
    with tqdm(jobs, desc="speed", unit="job", file=sys.stderr, disable=None) as bar:
        for job in bar:
            bar.set_postfix_str(job.what)
            found += job.run()
    if args.json:
        rows = [one.to_json() for one in found]
        print(json.dumps(to_plain({"measurements": rows, "manifest": about}), indent=2))
    else:
        print(table(found))
    missed = any(one.ok is False for one in found)
    return 1 if args.check and missed else 0


def _require_training(names: Sequence[str], settings: Settings) -> None:
    """Refuse ``--train`` for a model that is named and has no training to time.

    Raises:
        ValueError: There is such a model.
    """
    without = replace(settings, train=False)
    for name in names:
        if len(find_jobs(name, settings)) == len(find_jobs(name, without)):
            raise ValueError(f"--train has no meaning for {name!r}: no training of it is timed")


def _run_neighbours(args: argparse.Namespace) -> int:
    for name in args.names:
        if name not in CASES:
            raise nearest("model", name, CASES)
    if args.device != "cpu":
        raise ValueError(f"--neighbours is not for the device {args.device}; allowed: cpu")
    about = manifest("speed", {"seed": args.seed}, settings_of(args))
    names = [*(args.names or CASES), *([TRAINING] if args.train else [])]
    jobs = [(what, first) for what in names for first in installed()]
    found = []
    with tqdm(jobs, desc="speed", unit="case", file=sys.stderr, disable=None) as bar:
        for what, first in bar:
            bar.set_postfix_str(f"{what}, {first} first")
            found.append(measure(what, first, args.neighbours, args.seconds))
    if args.json:
        rows = [one.to_json() for one in found]
        print(json.dumps(to_plain({"neighbours": rows, "manifest": about}), indent=2))
    else:
        print(neighbours_table(found))
    return 1 if args.check and not all(one.ok for one in found) else 0


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 3600.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time above 0 and up to 3600 s")
    return value
