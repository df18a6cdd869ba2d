"""``oncogym envs``: list the environments, show the page of one, or write the pages of all."""

from __future__ import annotations

import argparse
import json

from oncogym.cli.arguments import Commands, add_common, named, path
from oncogym.cli.commands import COMMANDS
from oncogym.core.json_types import JsonObject
from oncogym.envs import find_variant, treatments
from oncogym.envs.treatment import Treatment, Variant
from oncogym.evaluation.report.labels import visible
from oncogym.evaluation.report.model_tables import model_sections, usual_task


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "envs",
        help=COMMANDS["envs"],
        description="List the registered environments, those of other installed packages included; "
        "with an id, print its page; with --write, write the pages as Markdown.",
    )
    parser.add_argument("env", nargs="?", type=named, metavar="ENV", help="an environment id")
    parser.add_argument(
        "--write",
        type=path,
        metavar="DIR",
        help="folder for a Markdown page of each treatment; only pages written by this command are "
        "written over",
    )
    parser.add_argument(
        "--results",
        type=path,
        metavar="DIR",
        help="folder of a benchmark whose tables and figures go into the pages (default: the pages "
        "keep theirs)",
    )
    add_common(parser, seed=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list or the page, or write the pages."""
    if args.results is not None and args.write is None:
        raise ValueError("--results says what goes into the pages of --write DIR")
    if args.write is not None:
        # Not with the module: it draws, and takes two seconds where a list takes one.
        from oncogym.evaluation.report.environment_pages import write_pages

        chosen = (
            [find_variant(args.env)[0]] if args.env is not None else list(treatments().values())
        )
        written = write_pages(chosen, args.write, args.results)
        names = [str(page) for page in written]
        print(json.dumps(names) if args.json else "\n".join(names))
        return 0
    if args.env is not None:
        treatment, variant = find_variant(args.env)
        if args.json:
            print(json.dumps(_about(treatment, variant), indent=2))
        else:
            print(f"# {variant.id}\n\n{treatment.page.strip()}\n\n{model_sections(treatment)}")
        return 0
    known = [(t, v) for t in treatments().values() for v in t.variants]
    if args.json:
        print(json.dumps([_about(*one) for one in known], indent=2))
        return 0
    width = max(len(variant.id) for _, variant in known)
    for _, variant in known:
        print(f"{variant.id:{width}}  {visible(variant.summary)}")
    return 0


def _about(treatment: Treatment, variant: Variant) -> JsonObject:
    task = usual_task(treatment, variant)
    return {
        "id": variant.id,
        "treatment": treatment.title,
        "summary": variant.summary,
        "observation_shape": list(task.observation_space.shape),
        "action": [{"name": name, "unit": unit} for name, unit in task.action_parts],
        "decisions": task.num_decisions,
        "reward_weights": dict(task.reward_weights),
        "costs": list(task.costs),
        "metrics": [metric.name for metric in task.metrics],
        "cohorts": {c.name: c.description for c in treatment.cohorts.values()},
        "protocols": {name: p.label for name, p in treatment.protocols.items()},
        "bounds": {name: bound.label for name, bound in treatment.bounds.items()},
        "options": dict(variant.options),
    }
