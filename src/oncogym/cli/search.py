"""``oncogym search``: look for hyper-parameters of a learning algorithm."""

from __future__ import annotations

import argparse
import json

from oncogym.cli.arguments import (
    Commands,
    add_common,
    add_options,
    named,
    path,
    read_options,
)
from oncogym.cli.commands import COMMANDS
from oncogym.cli.train import wrapper
from oncogym.core.argument_types import positive
from oncogym.core.files import to_plain
from oncogym.core.pairs import read_pairs
from oncogym.envs.registry import find_variant
from oncogym.training.algorithms import DEFAULT, algorithm_names


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "search",
        help=COMMANDS["search"],
        description="Train with values that Optuna proposes, each trial in a folder of its own, "
        "and stop those that are behind. What counts is the best mean return on the validation "
        "patients. The first trial has the tuned values. Started again with the same --out, the "
        "search goes on, with more --trials too.",
    )
    parser.add_argument("env", type=named, metavar="ENV", help="an environment id")
    parser.add_argument(
        "--algo",
        default=DEFAULT,
        metavar="NAME",
        help=f"learning algorithm (default {DEFAULT}); one of {', '.join(algorithm_names())}",
    )
    parser.add_argument(
        "--try",
        dest="space",
        action="append",
        metavar="NAME=LOW..HIGH",
        help="hyper-parameter and its range, evenly in the logarithm with :log behind it, or its "
        "values as NAME=V,V,… in JSON; repeatable (default: what the algorithm's file lists under "
        "search)",
    )
    parser.add_argument("--trials", type=positive, default=20, help="trials in all (default 20)")
    parser.add_argument("--steps", type=positive, help="decisions of each run")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="hyper-parameter that all trials share; repeatable",
    )
    parser.add_argument(
        "--wrapper",
        action="append",
        type=wrapper,
        metavar="NAME:KEY=VALUE,…",
        help="wrapper around the lanes, as in oncogym train; repeatable",
    )
    parser.add_argument(
        "--no-pruning", action="store_true", help="let trials run that are behind the others"
    )
    parser.add_argument("--out", type=path, required=True, help="folder for runs and trials.json")
    add_options(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search and print the trials, best first."""
    find_variant(args.env)  # a wrong id is said before torch is loaded
    from oncogym.training.algorithms import find_algorithm
    from oncogym.training.settings import read_search_space
    from oncogym.training.trials import read_space, run_trials

    texts = args.space or read_search_space(find_algorithm(args.algo))
    if not texts:
        raise ValueError(f"{args.algo} lists no values to search; say what to --try")
    table = run_trials(
        args.env,
        read_space(texts),
        args.out,
        algorithm=args.algo,
        trials=args.trials,
        steps=args.steps,
        seed=args.seed,
        options=read_options(args.option),
        hyperparameters=read_pairs(args.set),
        wrappers=args.wrapper,
        prune=not args.no_pruning,
        progress=True,
    )
    table = table.sort_values("best_return", ascending=False, na_position="last")
    if args.json:
        print(json.dumps(to_plain(table.to_dict("records")), indent=2))
    else:
        print(table.to_string(index=False))
    return 0
