"""``oncogym cite``: what to cite, the suite itself and what an environment rests on."""

from __future__ import annotations

import argparse
import json
import textwrap

import oncogym
from oncogym.cli.arguments import Commands, add_common, named
from oncogym.cli.commands import COMMANDS
from oncogym.core.json_types import JsonObject
from oncogym.envs import find_variant
from oncogym.envs.treatment import Treatment
from oncogym.evaluation.overview import WIDTH
from oncogym.evaluation.report.labels import visible

#: The suite as `CITATION.cff` and the package's metadata have it.
AUTHORS = "The oncogym developers"
TITLE = "oncogym: Gymnasium environments for cancer-treatment planning"


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "cite",
        help=COMMANDS["cite"],
        description="Print how to cite the suite and, for an environment, the publications and "
        "programs that its model, patients and protocols rest on, each with what was taken from "
        "it.",
    )
    parser.add_argument("env", nargs="?", type=named, metavar="ENV", help="an environment id")
    add_common(parser, seed=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the citation of the suite and the publications behind the environment."""
    found = None if args.env is None else find_variant(args.env)
    if args.json:
        print(json.dumps(_as_json(found[0] if found else None), indent=2, ensure_ascii=False))
        return 0
    print(f"{AUTHORS}: {TITLE}, version {oncogym.__version__}")
    if found is None:
        return 0
    treatment, variant = found
    print(f"\n{variant.id} ({visible(treatment.title)}) rests on:")
    for one in treatment.publications():
        print(_wrapped(f"* {one.text}", "  "))
        print(_wrapped(f"  for: {one.used_for}", "  "))
    if not treatment.publications():
        print("nothing that its authors name")
    return 0


def _as_json(treatment: Treatment | None) -> JsonObject:
    suite = {"authors": AUTHORS, "title": TITLE, "version": oncogym.__version__}
    if treatment is None:
        return {"suite": suite}
    works = [{"text": one.text, "used_for": one.used_for} for one in treatment.publications()]
    return {"suite": suite, "treatment": treatment.title, "publications": works}


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(
        visible(text), WIDTH, subsequent_indent=indent, break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip
