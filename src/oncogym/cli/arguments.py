"""Arguments that several sub-commands share, and how they are read."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from oncogym.parallel import EXECUTORS, Executor, open_executor


def add_executor(parser: argparse.ArgumentParser) -> None:
    """Add ``--executor``, ``--workers`` and ``--address``."""
    group = parser.add_argument_group("who does the work", "the results are the same, bit for bit")
    group.add_argument(
        "--executor",
        choices=EXECUTORS,
        help="this process (lanes, the default), processes on this machine (joblib, the default "
        "with --workers) or a Ray cluster (ray, the default with --address)",
    )
    group.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="processes, or pieces that a cluster works on at a time (default: one for each core)",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="Ray cluster to join, auto for one on this machine (default: the environment variable "
        "RAY_ADDRESS; without it Ray is started here)",
    )


def executor_of(args: argparse.Namespace) -> Executor:
    """The executor that was asked for; close it.

    Raises:
        ValueError: An argument has no meaning for it.
        ExecutorError: There is no such cluster, or Ray is not installed.
    """
    return open_executor(args.executor, args.workers, args.address)


def add_common(parser: argparse.ArgumentParser, *, seed: bool = True) -> None:
    """Add ``--json`` and ``--seed``."""
    if seed:
        parser.add_argument("--seed", type=natural, default=0, help="random seed (default 0)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--option key=value`` for environment options."""
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="environment option, the value in JSON (text may go unquoted); repeatable",
    )


def read_pairs(pairs: list[str]) -> dict[str, Any]:
    """Turn ``key=value`` texts into a dictionary; values are JSON, or else plain text.

    Raises:
        ValueError: A text has no ``=``.
    """
    out: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"{pair!r} is not of the form KEY=VALUE")
        try:
            out[key] = json.loads(text)
        except json.JSONDecodeError:
            out[key] = text
    return out


def natural(text: str) -> int:
    """An integer of at least 0, for argparse."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 0")
    return value


def positive(text: str) -> int:
    """An integer of at least 1, for argparse."""
    value = natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return value


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of a sub-command as plain settings, for the manifest."""
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in vars(args).items()
        if key != "run"
    }


def add_patients(parser: argparse.ArgumentParser, patients: int) -> None:
    """Add who is compared and on whom: environment, agents, cohort and number of patients."""
    parser.add_argument("env", metavar="ENV", help="an environment id")
    parser.add_argument("agents", nargs="*", metavar="AGENT", help="agents to compare")
    parser.add_argument("--cohort", help="cohort (default: the evaluation cohort of the id)")
    parser.add_argument("--patients", type=positive, default=patients, help=f"default {patients}")
