"""``oncogym envs``: list the environments, or show the page of one."""

from __future__ import annotations

import argparse
import json
from typing import Any

from oncogym.agents.task_options import resolve_options
from oncogym.envs import find_variant, treatments
from oncogym.evaluation.commands.arguments import add_common


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "envs",
        help="list the environments, or show the page of one",
        description="List the registered environments, those of other installed packages included; "
        "with an id, print its page.",
    )
    parser.add_argument("env", nargs="?", metavar="ENV", help="an environment id")
    add_common(parser, seed=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list or the page."""
    if args.env:
        treatment, variant = find_variant(args.env)
        about = _about(treatment, variant)
        print(json.dumps(about, indent=2) if args.json else f"# {variant.id}\n\n{treatment.page}")
        return 0
    rows = [_about(t, v) for t in treatments().values() for v in t.variants]
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    width = max(len(row["id"]) for row in rows)
    for row in rows:
        print(f"{row['id']:{width}}  {row['summary']}")
    return 0


def _about(treatment: Any, variant: Any) -> dict[str, Any]:
    task_options, _ = resolve_options(treatment, variant)
    task = treatment.task(1, **task_options)
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
        "options": dict(variant.options),
    }
