"""The ``oncogym`` command."""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

import oncogym
from oncogym.cli.commands import COMMANDS
from oncogym.cli.console import safe_streams
from oncogym.cli.exit_status import BROKEN_PIPE, BUG, EXPLAINED, message_of, status_of
from oncogym.cli.signals import ends_on_signals
from oncogym.evaluation.report.labels import visible

# With one of these first, the parsers of other commands need no arguments.
_ALONE = (*COMMANDS, "-h", "--help", "--version")
# A message that is longer hides what it says.
_LONGEST = 4000


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The argument parser of all sub-commands.

    Args:
        only: The first argument, where nothing but the command that it names is to be read: the
            others are listed without their arguments, which need the modules that do the work.
    """
    parser = argparse.ArgumentParser(
        prog="oncogym",
        description="Cancer-treatment planning as Gymnasium environments: list, train, optimise, "
        "tune rules, evaluate, perturb, benchmark, reproduce, measure.",
        epilog=EXPLAINED,
    )
    parser.add_argument("--version", action="version", version=f"oncogym {oncogym.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if only in (None, name):
            import_module(f"oncogym.cli.{name}").add_parser(commands)
        else:
            commands.add_parser(name, help=summary)
    return parser


@ends_on_signals
def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit status, see :mod:`oncogym.cli.exit_status`.

    Raises:
        SystemExit: ``--help``, ``--version``, or arguments that make no command (status 2).
    """
    name = "oncogym"
    try:
        with safe_streams():
            given = sys.argv[1:] if argv is None else argv
            first = given[0] if given and given[0] in _ALONE else None
            args = build_parser(first).parse_args(given)
            name = f"oncogym {args.command}"
            return _run(args, name)
    except OSError as error:  # standard output: nobody reads it, or there is no room for it
        return _report(error, name)


def _run(args: argparse.Namespace, name: str) -> int:
    try:
        status = int(args.run(args))
        sys.stdout.flush()
        return status
    except (KeyboardInterrupt, Exception) as error:
        return _report(error, name)


def _report(error: BaseException, name: str) -> int:
    """Say what went wrong, and return the exit status for it."""
    status = status_of(error)
    if status == BROKEN_PIPE or sys.stderr is None:
        return status
    with contextlib.suppress(OSError, ValueError):
        if status == BUG:
            traceback.print_exception(error)
        print(f"{name}: {_shortened(visible(message_of(error)))}", file=sys.stderr)
    return status


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text)} characters)"


if __name__ == "__main__":
    sys.exit(main())
