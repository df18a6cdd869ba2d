"""Put a trained policy among those that come with the suite, with what it scores.

``python -m oncogym.evaluation.ship_policy RUN NAME`` treats the held-out patients of the policy's
environment, copies the policy beside :mod:`oncogym.agents.shipped` and enters it in the manifest;
``--page FILE`` then writes the page that lists them. Run it in a checkout installed in place.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from oncogym.agents.agent import what_is_seen
from oncogym.agents.clinical import compared_agents
from oncogym.agents.learned import PolicyAgent, policy_folder
from oncogym.agents.policy_files import read_policy, write_policy
from oncogym.agents.shipped import (
    FORMAT,
    MANIFEST,
    ShippedPolicy,
    policies_folder,
    read_manifest,
)
from oncogym.core.checks import whole_number
from oncogym.core.files import StrPath, write_json_atomic, write_text_atomic
from oncogym.core.json_types import JsonObject
from oncogym.envs.problem import MOST_PATIENTS
from oncogym.evaluation.harness import evaluate_problem, resolve

#: Patients on whom a shipped policy is scored.
PATIENTS = 256

# What an agent may see besides what the environment shows.
_LESS = ("measurable", "nothing")
_HEAD = """<!-- Written by `python -m oncogym.evaluation.ship_policy`; edit that instead. -->

# Policies that come with the suite

Small trained policies, for a look at what one does without training: tensors and JSON, no code.
`oncogym evaluate ENV pretrained:NAME`, or in Python `oncogym.agents.pretrained(ENV, NAME)`. A test
holds each to its row. The rule beside it has the best mean return on the same patients among the
protocols of the benchmark that see no more.

| id | policy | patients | return | success | cost | rule | its return | success | cost | command |
|---|---|---|---|---|---|---|---|---|---|---|"""
_FOOT = """
One training seed each: no claim about an algorithm. Of a run, its own validation chose the policy;
wrappers and settings were chosen by hand among a few, on the patients of validation, too. The
benchmark compares algorithms, over seeds and with intervals.

## Add one

In a checkout that is installed in place (`pip install -e .`):

```bash
python -m oncogym.evaluation.ship_policy runs/mine NAME \\
    --command "oncogym train …" --page docs/pretrained.md
```
"""


def score_agents(
    agents: Mapping[str, object], env_id: str, patients: int = PATIENTS
) -> dict[str, JsonObject]:
    """What agents score on the evaluation cohort of an environment.

    Args:
        agents: Agents by name.
        env_id: Id of the environment.
        patients: Number of patients.

    Returns:
        By name ``cohort``, ``patients``, and means of ``return``, ``success`` and ``cost``.
    """
    problem = resolve(env_id, patients=patients)
    table = evaluate_problem(problem, agents)
    found: dict[str, JsonObject] = {}
    for name in agents:
        own = table[table["agent"] == name]
        means = {column: float(own[column].mean()) for column in ("return", "success", "cost")}
        found[name] = {"cohort": problem.cohort.name, "patients": patients, **means}
    return found


def score_best_rule(env_id: str, patients: int = PATIENTS) -> JsonObject:
    """The protocol with the best mean return that sees no more than the environment shows.

    Args:
        env_id: Id of the environment.
        patients: Number of patients of its evaluation cohort.

    Returns:
        ``agent``, its name, and means of ``return``, ``success`` and ``cost``.
    """
    problem = resolve(env_id, patients=patients)
    task = problem.task(1)
    agents, _ = compared_agents(problem, task)
    fair = {n: a for n, a in agents.items() if what_is_seen(a, task) in (task.sees, *_LESS)}
    scores = score_agents(fair, env_id, patients)
    best = max(scores, key=lambda name: scores[name]["return"])
    return {"agent": best, **{name: scores[best][name] for name in ("return", "success", "cost")}}


def ship_policy(
    run: StrPath, name: str, *, command: str, patients: int = PATIENTS
) -> ShippedPolicy:
    """Copy a policy to the shipped ones and enter it in their manifest.

    Args:
        run: Folder of a training run, or of its policy.
        name: Name of the policy for its environment; an older one of that name is replaced.
        command: How it was trained.
        patients: Patients on whom it is scored.

    Raises:
        FileNotFoundError: There is no policy.
        ValueError: It was trained with other options than those of its environment's id, or
            ``patients`` is out of range.
    """
    whole_number("patients", patients, 1, MOST_PATIENTS)
    policy = read_policy(policy_folder(run))
    agent = PolicyAgent.load(run, policy.env_id)
    score = score_agents({name: agent}, policy.env_id, patients)[name]
    rule = score_best_rule(policy.env_id, patients)
    root = Path(str(policies_folder()))
    entry = ShippedPolicy(policy.env_id, name, "", score, rule, command)
    folder = root / entry.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_policy(folder, policy)
    digest = hashlib.sha256((folder / "policy.json").read_bytes()).hexdigest()
    entry = ShippedPolicy(policy.env_id, name, digest, score, rule, command)
    kept = read_manifest() if (root / MANIFEST).exists() else []
    others = [one for one in kept if (one.env, one.name) != (entry.env, entry.name)]
    listed = sorted([*others, entry], key=lambda one: (one.env, one.name))
    document = {"format": FORMAT, "policies": [asdict(one) for one in listed]}
    write_json_atomic(root / MANIFEST, document)
    return entry


def page(policies: Sequence[ShippedPolicy]) -> str:
    """The page of the shipped policies, in Markdown."""
    rows = []
    for one in policies:
        score, rule = one.score, one.rule
        rows.append(
            f"| `{one.env}` | `{one.name}` | {score['patients']} of `{score['cohort']}` "
            f"| {_numbers(score)} | {rule['agent']} | {_numbers(rule)} | `{one.command}` |"
        )
    return "\n".join([_HEAD, *rows, _FOOT])


def _numbers(score: Mapping[str, Any]) -> str:
    return f"{score['return']:.2f} | {100.0 * score['success']:.0f} % | {score['cost']:.3f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Ship a policy from the command line; exit status 2 for bad usage."""
    parser = argparse.ArgumentParser(
        prog="python -m oncogym.evaluation.ship_policy",
        description=(__doc__ or "").split("\n\n")[0],
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a training run or its policy")
    parser.add_argument("name", metavar="NAME", help="name of the policy for its environment")
    parser.add_argument("--command", required=True, help="how it was trained")
    parser.add_argument("--page", type=Path, help="where to write the page that lists all")
    parser.add_argument("--patients", type=int, default=PATIENTS, help=f"default {PATIENTS}")
    args = parser.parse_args(argv)
    try:
        entry = ship_policy(args.run, args.name, command=args.command, patients=args.patients)
        if args.page is not None:
            write_text_atomic(args.page, page(read_manifest()))
    except (OSError, ValueError) as error:
        print(f"ship_policy: error: {error}", file=sys.stderr)
        return 2
    print(f"{entry.env} {entry.name}: {entry.score}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
