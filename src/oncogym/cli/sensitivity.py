"""``oncogym sensitivity``: which agent wins when the reward weighs its terms otherwise."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

from oncogym.agents.agent import Agent
from oncogym.cli.arguments import (
    Commands,
    add_common,
    add_executor,
    add_options,
    add_patients,
    executor_of,
    path,
    read_options,
    save_then_print,
    settings_of,
)
from oncogym.cli.commands import COMMANDS
from oncogym.core.argument_types import real
from oncogym.core.files import to_plain, write_csv_atomic, write_json_atomic
from oncogym.core.manifest import manifest
from oncogym.core.output_folder import OutputFolder
from oncogym.evaluation.agent_names import load_agents
from oncogym.evaluation.benchmark.finished import read_finished
from oncogym.evaluation.harness import evaluate_problem, resolve
from oncogym.evaluation.kept_courses import courses_in
from oncogym.evaluation.report.drawings import Drawings, save_png
from oncogym.evaluation.sensitivity import (
    FACTORS,
    draw_ranks,
    find_flips,
    say_verdict,
    sweep_weights,
)

_PATIENTS = 64
_TABLE, _FIGURE, _MANIFEST = "sensitivity.csv", "sensitivity.png", "manifest.json"


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "sensitivity",
        help=COMMANDS["sensitivity"],
        description="Treat the same patients once with every agent, then multiply one weight of "
        "the reward after the other and rank the agents anew, without treating again. Controllers, "
        "searched plans and trained policies act as for the weights that they were made with. "
        "AGENT as in evaluate; without any, all clinical protocols. With --benchmark nobody is "
        "treated: AGENT is then one of the benchmark's, without any all of them.",
    )
    add_patients(parser, _PATIENTS)
    parser.set_defaults(patients=None)
    parser.add_argument(
        "--benchmark",
        type=path,
        metavar="DIR",
        help="take the agents and patients of a finished benchmark, controllers and trained "
        "policies among them: its output folder",
    )
    parser.add_argument(
        "--factor",
        type=real(0.0, 1e6),
        action="append",
        metavar="F",
        help="factor of a weight; repeatable (default: "
        f"{', '.join(f'{factor:g}' for factor in FACTORS)})",
    )
    parser.add_argument("--out", type=path, help="folder for the table and the figure")
    add_options(parser)
    add_executor(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def _require_nobody_treated(args: argparse.Namespace, options: object) -> None:
    """Refuse what says whom to treat and how beside results that are there."""
    given = {
        "--patients": args.patients is not None,
        "--cohort": args.cohort is not None,
        "--option": bool(options),
        "--executor": args.executor is not None,
        "--workers": args.workers is not None,
        "--address": args.address is not None,
    }
    named = [name for name, here in given.items() if here]
    if named:
        raise ValueError(
            f"{', '.join(named)}: nobody is treated with --benchmark; allowed: without it"
        )


def _claim(place: Path) -> OutputFolder:
    return OutputFolder.claim(place, "sensitivity", [_TABLE, _FIGURE, _MANIFEST])


def run(args: argparse.Namespace) -> int:
    """Evaluate or read, weigh anew, save where asked, and print."""
    options = read_options(args.option)
    if args.benchmark is not None:
        _require_nobody_treated(args, options)
    problem = resolve(
        args.env,
        cohort=args.cohort,
        patients=args.patients or _PATIENTS,
        seed=args.seed,
        options=options,
    )
    agents: dict[str, Agent] = {}
    left_out: dict[str, str] = {}
    results = None
    if args.benchmark is not None:
        results, cohort = read_finished(args.benchmark, problem.env_id, args.agents)
        count, patients = results["agent"].nunique(), results["patient"].nunique()
    else:
        agents, left_out = load_agents(problem, args.agents, args.seed)
        count, patients, cohort = len(agents), len(problem.patients), problem.cohort.name
    if count < 2:
        raise ValueError(f"there is {count} agent to rank; allowed: two at least")
    weights = problem.task(1).reward_weights
    factors = FACTORS if args.factor is None else tuple(args.factor)
    if len(set(factors)) < len(factors):
        raise ValueError(f"--factor is {list(factors)}; allowed: each once")
    about = manifest("sensitivity", {"seed": args.seed}, settings_of(args, option=options))
    claimed = None if args.out is None else _claim(args.out)
    if results is None:
        with executor_of(args) as executor, courses_in(claimed, problem) as kept:
            results = evaluate_problem(problem, agents, executor, kept=kept)
    table = sweep_weights(results, weights, factors, seed=args.seed)
    flips = find_flips(table)

    def save() -> None:
        if args.out is None:
            return
        output = _claim(args.out)
        output.write(_TABLE, lambda place: write_csv_atomic(place, table))
        drawings = Drawings(args.out)
        with drawings.attempt(_FIGURE):
            figure = draw_ranks(table, f"{args.env}, {patients} patients")
            output.write(_FIGURE, lambda place: save_png(figure, place))
        output.write(_MANIFEST, partial(write_json_atomic, value=about))
        output.forget_others()
        drawings.require_all()

    def show(saved: bool) -> None:
        if args.json:
            document = {
                "env": args.env,
                "cohort": cohort,
                "patients": patients,
                "weights": dict(weights),
                "verdict": say_verdict(table),
                "flips": flips.to_dict("records"),
                "table": table.to_dict("records"),
                "left_out": left_out,
            }
            print(json.dumps(to_plain(document), indent=2))
            return
        print(f"{args.env}: {patients} patients of {cohort}")
        ranks = table.pivot_table("rank", ["term", "factor"], "agent", sort=False)
        print(ranks.astype(int).to_string())
        print(say_verdict(table))
        for name, reason in left_out.items():
            print(f"left out: {name}: {reason}")
        if args.out is not None and saved:
            print(f"saved in {args.out}")

    save_then_print(save, show)
    return 0
