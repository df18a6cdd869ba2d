"""``oncogym tune``: choose the numbers of a clinical rule."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from oncogym.cli.arguments import (
    Commands,
    add_common,
    add_executor,
    add_options,
    executor_of,
    named,
    path,
    save_then_print,
)
from oncogym.cli.commands import COMMANDS
from oncogym.core.argument_types import whole
from oncogym.core.files import to_plain, write_csv_atomic
from oncogym.core.output_folder import OutputFolder
from oncogym.core.pairs import read_pairs
from oncogym.core.run_lock import LOCK_FILE
from oncogym.envs.problem import MOST_PATIENTS, Problem
from oncogym.envs.protocols import Rule
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.kept_courses import FILE, KeptCourses, courses_in
from oncogym.evaluation.rule_tuning import COHORT, tunable, tune_rule


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "tune",
        help=COMMANDS["tune"],
        description="Try every combination of a rule's grid on the same patients. Chosen is the "
        "highest mean return of those that cost no more than the id's clinical protocol. Without "
        "RULE, the rules of the treatment that have a grid are listed. With --out, work that was "
        "interrupted goes on when the same command is given again.",
    )
    parser.add_argument("env", type=named, metavar="ENV", help="an environment id")
    parser.add_argument("rule", nargs="?", type=named, metavar="RULE", help="a clinical rule")
    parser.add_argument("--cohort", type=named, default=COHORT, help=f"cohort (default {COHORT})")
    parser.add_argument("--patients", type=whole(1, MOST_PATIENTS), default=256, help="default 256")
    parser.add_argument("--out", type=path, metavar="FILE", help="CSV file for all combinations")
    add_options(parser)
    add_executor(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def record(
    table: pd.DataFrame, problem: Problem, rule: str, options: dict[str, Any]
) -> pd.DataFrame:
    """A table of :func:`tune_rule` for a file that holds several rules: settings as JSON.

    Args:
        table: Result of :func:`tune_rule`.
        problem: On whose patients it was tuned.
        rule: Name of the rule.
        options: Options of the environment.
    """
    means = ["return", "success", "cost", "allowed", "chosen"]
    settings = table.drop(columns=means).to_dict("records")
    about = pd.DataFrame(
        {
            "env": problem.env_id,
            "rule": rule,
            "cohort": problem.cohort.name,
            "patients": len(problem.patients),
            "options": json.dumps(to_plain(options)),
            "settings": [json.dumps(to_plain(row)) for row in settings],
        }
    )
    return pd.concat([about, table[means]], axis=1)


@contextlib.contextmanager
def _unfinished(out: Path | None, problem: Problem) -> Iterator[KeptCourses | None]:
    """Courses that are kept beside the file ``out`` until the work is done."""
    if out is None:
        yield None
        return
    place = out.with_name(f"{out.name}.unfinished")
    output = OutputFolder.claim(place, "tune", [FILE, LOCK_FILE])
    output.add(LOCK_FILE)
    with courses_in(output, problem) as kept:
        yield kept
    output.remove()
    with contextlib.suppress(OSError):  # something of somebody else's is in it
        place.rmdir()


def run(args: argparse.Namespace) -> int:
    """Tune, save where asked, and print the best ten."""
    from tqdm import tqdm

    problem = resolve(
        args.env,
        cohort=args.cohort,
        patients=args.patients,
        seed=args.seed,
        options=read_pairs(args.option),
    )
    if args.rule is None:
        print("\n".join(tunable(problem)))
        return 0
    if args.out is not None and args.out.exists():
        raise ValueError(f"--out is {args.out}, which exists; allowed: a file that does not")
    rule = problem.treatment.protocol(args.rule)
    grid = rule.grid if isinstance(rule, Rule) else {}
    count = math.prod(len(values) for values in grid.values())
    with (
        executor_of(args) as executor,
        _unfinished(args.out, problem) as kept,
        tqdm(total=count, desc=args.rule, file=sys.stderr, disable=None) as bar,
    ):
        table = tune_rule(problem, args.rule, executor, lambda: bar.update(), kept)

    def save() -> None:
        if args.out is not None:
            write_csv_atomic(args.out, record(table, problem, args.rule, read_pairs(args.option)))

    def show(saved: bool) -> None:
        if args.json:
            print(json.dumps(to_plain(table.to_dict("records")), indent=2))
            return
        best = table.sort_values(["allowed", "return"], ascending=False).head(10)
        print(
            f"{args.rule} on {len(problem.patients)} patients of {problem.cohort.name}, "
            f"{count} combinations; the best of those allowed:"
        )
        print(best.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
        if args.out is not None and saved:
            print(f"saved in {args.out}")

    save_then_print(save, show)
    return 0
