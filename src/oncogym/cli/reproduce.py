"""``oncogym reproduce``: the numbers of a source document beside ours."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from oncogym.cli.arguments import add_common, settings_of
from oncogym.core.files import require_writable_folder, to_plain, write_json_atomic
from oncogym.core.manifest import manifest
from oncogym.evaluation.reproduce.checks import Source, find_source, sources, table


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    known = "; ".join(f"{source.name}: {source.title}" for source in sources().values())
    parser = commands.add_parser(
        "reproduce",
        help="the numbers of a source document beside ours",
        description="Compute every number that a source document prints, and what else is stated "
        "about it, and compare. Exit status 1 when a check fails.",
        epilog=f"Sources: {known}.",
    )
    parser.add_argument("source", metavar="SOURCE", help=f"one of {', '.join(sources())}")
    parser.add_argument("--figures", action="store_true", help="draw the source's figures, too")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for checks.json and the figures (figures: results/reproduce-SOURCE)",
    )
    parser.add_argument(
        "--policy",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of a training run whose policy to put beside the source's; repeatable (seeds)",
    )
    add_common(parser)
    for source in sources().values():
        if source.arguments is not None:
            source.arguments(parser.add_argument_group(f"options of source {source.name}"))
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
    settings = _own_settings(source, args)
    if args.policy:
        if source.policies is None:
            raise ValueError(f"source {source.name!r} has nothing to compare a policy with")
        source = source.policies(args.policy)
    out = args.out
    if args.figures:
        if source.figures is None:
            raise ValueError(f"source {source.name!r} has no figures")
        out = out or Path("results") / f"reproduce-{source.name}"
    if source.configured is not None:
        own = {name: getattr(args, name) for name in source.options()}
        source = source.configured(own, out)
    if out:
        require_writable_folder(out)
    about = manifest("reproduce", {"seed": args.seed}, settings)
    checks = source.checks(args.seed)
    figures: list[Path] = []
    if args.figures and source.figures is not None:
        figures = source.figures(out, args.seed)
    document = to_plain(
        {
            "source": source.name,
            "title": source.title,
            "ok": all(check.ok for check in checks),
            "checks": [asdict(check) for check in checks],
            "figures": figures,
            "manifest": about,
        }
    )
    if out:
        write_json_atomic(out / "checks.json", document)
    if args.json:
        print(json.dumps(document, indent=2))
    else:
        print(f"{source.title}\n\n{table(checks)}")
        failed = [check.id for check in checks if not check.ok]
        print(f"\n{len(checks) - len(failed)} of {len(checks)} checks hold", end="")
        print(f"; failed: {', '.join(failed)}" if failed else "")
        if out:
            print(f"saved in {out}")
    return 0 if document["ok"] else 1


def _own_settings(source: Source, args: argparse.Namespace) -> dict[str, Any]:
    """The settings of a run, without the options of other sources.

    Raises:
        ValueError: An option of another source was given.
    """
    settings = settings_of(args)
    own = source.options()
    for other in sources().values():
        for name, default in other.options().items():
            if name in own:
                continue
            if settings.pop(name, default) != default:
                option = "--" + name.replace("_", "-")
                raise ValueError(f"{option} is an option of source {other.name!r}")
    return settings
