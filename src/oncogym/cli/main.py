"""The ``oncogym`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import oncogym
from oncogym.cli import (
    benchmark,
    envs,
    evaluate,
    optimize,
    reproduce,
    robustness,
    speed,
    train,
)
from oncogym.cli.signals import ends_on_signals
from oncogym.core.files import CorruptFileError, OutputFolderError
from oncogym.envs.device import DeviceError
from oncogym.parallel import ExecutorError

_COMMANDS = (envs, train, optimize, evaluate, robustness, benchmark, reproduce, speed)


def build_parser() -> argparse.ArgumentParser:
    """The argument parser of all sub-commands."""
    parser = argparse.ArgumentParser(
        prog="oncogym",
        description="Cancer-treatment planning as Gymnasium environments: list, train, optimise, "
        "evaluate, perturb, benchmark, reproduce, measure.",
        epilog="Exit status: 0 fine, 1 a stated check failed, 2 bad usage.",
    )
    parser.add_argument("--version", action="version", version=f"oncogym {oncogym.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add_parser(commands)
    return parser


@ends_on_signals
def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit status."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (
        ValueError,
        OutputFolderError,
        CorruptFileError,
        FileNotFoundError,
        DeviceError,
        ExecutorError,
    ) as error:
        print(f"oncogym {args.command}: error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(
            f"oncogym {args.command}: error: {error}; install the extra with "
            'pip install "oncogym[train]"',
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(f"oncogym {args.command}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
