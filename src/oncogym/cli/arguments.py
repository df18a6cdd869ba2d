"""Arguments that several sub-commands share, and how they are read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from oncogym.core.argument_types import positive, seed_number, whole
from oncogym.core.errors import ReportError
from oncogym.core.json_types import JsonObject
from oncogym.core.pairs import read_pairs
from oncogym.envs.cohort import CohortName, read_description
from oncogym.envs.problem import MOST_PATIENTS
from oncogym.envs.treatment import FILE_ENDING
from oncogym.parallel import EXECUTORS, Executor, open_executor

#: What ``add_parser`` of a sub-command gets.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


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
        type=named,
        metavar="HOST:PORT",
        help="Ray cluster to join, auto for one on this machine (default: the environment variable "
        "RAY_ADDRESS; without it Ray is started here)",
    )


def executor_of(args: argparse.Namespace) -> Executor:
    """The executor that was asked for; shut it down.

    Raises:
        ValueError: An argument has no meaning for it.
        ExecutorError: There is no such cluster, or Ray is not installed.
    """
    return open_executor(args.executor, args.workers, args.address)


def add_common(parser: argparse.ArgumentParser, *, seed: bool = True) -> None:
    """Add ``--json`` and ``--seed``."""
    if seed:
        parser.add_argument("--seed", type=seed_number, default=0, help="random seed (default 0)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--option key=value`` for environment options."""
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="environment option, the value in JSON (text may go unquoted); repeatable. "
        "patient={...} or patient=FILE.json is a patient of your own, cohort=FILE.json a cohort",
    )


def read_options(pairs: list[str]) -> JsonObject:
    """The options of ``--option``; files of patients and cohorts are read.

    What is kept of a command then says who was treated, whatever becomes of the file.

    Raises:
        OSError: A file cannot be opened.
        ValueError: A text is no pair, see :func:`read_pairs`, or a file is damaged.
    """
    options = read_pairs(pairs)
    for name in ("patient", "cohort"):
        if isinstance(options.get(name), str) and options[name].endswith(FILE_ENDING):
            options[name] = read_description(options[name])
    return options


def cohort_name(text: str) -> CohortName:
    """A cohort, for argparse: a name, or the content of a JSON file."""
    if not text.endswith(FILE_ENDING):
        return named(text)
    try:
        return read_description(text)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def named(text: str) -> str:
    """A name, for argparse."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not a name")
    return text


def path(text: str) -> Path:
    """A path, for argparse. An empty one would mean the folder in which the command runs."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a path; '.' is the folder you are in")
    return Path(text)


def settings_of(args: argparse.Namespace, **read: Any) -> JsonObject:
    """The arguments of a sub-command as plain settings, for the manifest.

    Args:
        args: The arguments.
        **read: Those that were read further, in place of their texts.
    """
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in {**vars(args), **read}.items()
        if key != "run"
    }


def add_cohort(parser: argparse.ArgumentParser) -> None:
    """Add ``--cohort``."""
    parser.add_argument(
        "--cohort",
        type=cohort_name,
        help="cohort, or a JSON file with one of your own (default: the evaluation cohort of the "
        "id)",
    )


def add_patients(parser: argparse.ArgumentParser, patients: int) -> None:
    """Add who is compared and on whom: environment, agents, cohort and number of patients."""
    parser.add_argument("env", type=named, metavar="ENV", help="an environment id")
    parser.add_argument("agents", nargs="*", type=named, metavar="AGENT", help="agents to compare")
    add_cohort(parser)
    parser.add_argument(
        "--patients", type=whole(1, MOST_PATIENTS), default=patients, help=f"default {patients}"
    )


def save_then_print(save: Callable[[], object], show: Callable[[bool], object]) -> None:
    """Save, then print in any case: results that cannot be saved or drawn are shown at least.

    ``show`` is told whether all is saved.
    """
    try:
        save()
    except (OSError, ReportError):
        show(False)
        raise
    show(True)
