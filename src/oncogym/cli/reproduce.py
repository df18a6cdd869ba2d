"""``oncogym reproduce``: the numbers of a source document beside ours."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

from oncogym.cli.arguments import (
    Commands,
    add_common,
    named,
    path,
    save_then_print,
    settings_of,
)
from oncogym.cli.commands import COMMANDS
from oncogym.core.files import to_plain, write_json_atomic
from oncogym.core.json_types import JsonObject
from oncogym.core.manifest import manifest
from oncogym.core.output_folder import OutputFolder
from oncogym.evaluation.report.drawings import Drawings
from oncogym.evaluation.reproduce.checks import Source, find_source, sources, table

_CHECKS = "checks.json"


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    known = "; ".join(f"{source.name}: {source.title}" for source in sources().values())
    parser = commands.add_parser(
        "reproduce",
        help=COMMANDS["reproduce"],
        description="Compute every number that a source document prints, and what else is stated "
        "about it, and compare. Exit status 1 when a check fails.",
        epilog=f"Sources: {known}.",
    )
    parser.add_argument(
        "source", type=named, metavar="SOURCE", help=f"one of {', '.join(sources())}"
    )
    parser.add_argument("--figures", action="store_true", help="draw the source's figures, too")
    parser.add_argument(
        "--out",
        type=path,
        help="folder for checks.json and the figures (figures: results/reproduce-SOURCE)",
    )
    parser.add_argument(
        "--policy",
        type=path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of a training run whose policy to put beside the source's; repeatable (seeds)",
    )
    add_common(parser)
    for source in sources().values():
        if source.arguments is not None:
            group = parser.add_argument_group(f"options of source {source.name}")
            source.arguments(group)
            for action in group._group_actions:
                # Without a default one sees what was given: also a default, for another source.
                action.default = argparse.SUPPRESS
                action.type = path if action.type is Path else action.type
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compute, print, and save where asked; 0 when all checks hold, 1 otherwise.

    Raises:
        UnknownNameError: There is no such source.
        ValueError: The source has no figures, or nothing to compare a policy with; an option is
            another source's, or its value is out of range.
        FileNotFoundError: There is no policy in a folder.
        OutputFolderError: The folder cannot be written to.
    """
    source = find_source(args.source)
    own = {**source.options(), **_given(source, args)}
    settings = {**settings_of(args), **own}
    if args.policy:
        if source.policies is None:
            raise ValueError(f"source {source.name!r} has nothing to compare a policy with")
        source = source.policies(args.policy)
    out = args.out
    if args.figures:
        if source.figures is None:
            raise ValueError(f"source {source.name!r} has no figures")
        out = Path("results") / f"reproduce-{source.name}" if out is None else out
    if source.configured is not None:
        source = source.configured(own, out)
    output = None
    if out is not None:
        output = OutputFolder.claim(out, f"reproduce {source.name}", [_CHECKS])
    about = manifest("reproduce", {"seed": args.seed}, settings)
    checks = source.checks(args.seed)
    document: dict[str, object] = {
        "source": source.name,
        "title": source.title,
        "ok": all(check.ok for check in checks),
        "checks": [asdict(check) for check in checks],
        "figures": [],
        "manifest": about,
    }
    drawings = Drawings(Path() if out is None else out)

    def save() -> None:
        if output is None:
            return
        output.write(_CHECKS, partial(write_json_atomic, value=document))
        draw = source.figures
        if args.figures and draw is not None:
            with drawings.attempt("figures"):
                document["figures"] = output.take(lambda folder: draw(folder, args.seed))
            output.write(_CHECKS, partial(write_json_atomic, value=document))
        drawings.require_all()

    def show(saved: bool) -> None:
        if args.json:
            print(json.dumps(to_plain(document), indent=2))
            return
        print(f"{source.title}\n\n{table(checks)}")
        failed = [check.id for check in checks if not check.ok]
        print(f"\n{len(checks) - len(failed)} of {len(checks)} checks hold", end="")
        print(f"; failed: {', '.join(failed)}" if failed else "")
        if out is not None and saved:
            print(f"saved in {out}")

    save_then_print(save, show)
    return 0 if document["ok"] else 1


def _given(source: Source, args: argparse.Namespace) -> JsonObject:
    """The options of the source that were given.

    Raises:
        ValueError: An option of another source was given, or one that has no meaning without
            ``--figures``.
    """
    given = {name: value for name, value in vars(args).items() if name in _all_options()}
    for name in given:
        option = "--" + name.replace("_", "-")
        if name not in source.options():
            (other,) = [one.name for one in sources().values() if name in one.options()]
            raise ValueError(f"{option} is an option of source {other!r}, not of {source.name!r}")
        if name in source.figure_options and not args.figures:
            raise ValueError(f"{option} has no meaning without --figures")
    return given


def _all_options() -> set[str]:
    return {name for source in sources().values() for name in source.options()}
