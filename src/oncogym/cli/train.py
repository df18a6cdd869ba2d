"""``oncogym train``: train a policy."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import re
import reprlib
import time
from pathlib import Path
from typing import Any

from oncogym.cli.arguments import (
    Commands,
    add_options,
    cohort_name,
    named,
    path,
    read_options,
)
from oncogym.cli.commands import COMMANDS
from oncogym.core.argument_types import positive, seed_number
from oncogym.core.files import to_plain
from oncogym.core.pairs import read_pairs
from oncogym.envs.registry import find_variant
from oncogym.evaluation.benchmark.seed_sweep import require_no_run_files
from oncogym.training.algorithms import DEFAULT, algorithm_names, find_algorithm
from oncogym.training.settings import BASES
from oncogym.wrappers.named import WRAPPERS, NamedWrapper

_WRAPPER = re.compile(
    r"(?P<name>[A-Za-z_][\w.]*(:[A-Za-z_]\w*(?!\w*=))?)(:(?P<pairs>[A-Za-z_]\w*=.*))?", re.DOTALL
)


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "train",
        help=COMMANDS["train"],
        description="Train a policy over native lanes. The run folder gets the settings, "
        "checkpoints, TensorBoard scalars, progress.csv and the best policy on the validation "
        "patients. `oncogym train --algo NAME --settings` lists the hyper-parameters of an "
        "algorithm.",
        epilog="With Stable-Baselines3, TorchRL, RLlib and others instead of this command: see the "
        "short programs in the folder examples/ of the repository, whose settings learn.",
    )
    parser.add_argument(
        "env",
        metavar="ENV",
        nargs="?",
        type=named,
        help="an environment id (not needed with --resume)",
    )
    parser.add_argument(
        "--algo",
        metavar="NAME",
        help=f"learning algorithm (default {DEFAULT}); one of {', '.join(algorithm_names())}",
    )
    parser.add_argument(
        "--settings", action="store_true", help="list the hyper-parameters of --algo and stop"
    )
    parser.add_argument("--steps", type=positive, help="decisions, all lanes together")
    parser.add_argument("--lanes", type=positive, help="treatments in parallel")
    # No default here: a resumed run takes what it began with, and refuses anything else.
    parser.add_argument("--seed", type=seed_number, help="random seed (default 0)")
    parser.add_argument(
        "--base",
        choices=BASES,
        help="values that are not set: tuned for the environment (default), or sb3, "
        "Stable-Baselines3's own defaults with one environment",
    )
    parser.add_argument(
        "--cohort",
        type=cohort_name,
        help="cohort to train on, or a JSON file with one of your own (default: the one of the id)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="hyper-parameter instead of the value in the algorithm's YAML file; repeatable",
    )
    add_options(parser)
    parser.add_argument(
        "--wrapper",
        action="append",
        type=wrapper,
        metavar="NAME:KEY=VALUE,…",
        help="wrapper around the lanes, by name or by the dotted path of your own (module:Class), "
        "with its arguments, values in JSON; repeatable, the first one innermost. What it does to "
        "observations and actions becomes part of the policy, what it does to rewards counts in "
        f"training only. One of {', '.join(WRAPPERS)}",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=positive,
        metavar="N",
        help="decisions between checkpoints (default: a tenth of the run)",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--out", type=path, help="run folder (default: a new one in runs/)")
    place.add_argument("--resume", type=path, metavar="DIR", help="go on with the run in DIR")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train and say where the policy is and how good it is."""
    if args.settings:
        print(describe_settings(args.algo or DEFAULT))
        return 0
    if args.env is None and args.resume is None:
        raise ValueError("name an environment to train on, or a run to --resume")
    options = read_options(args.option)
    if args.cohort is not None:
        for name in ("cohort", "patient"):
            if options.get(name, args.cohort) != args.cohort:
                raise ValueError(
                    f"option {name!r} is {reprlib.repr(options[name])}, and --cohort is "
                    f"{reprlib.repr(args.cohort)}; allowed: one"
                )
        options["cohort"] = args.cohort
    if None not in (options.get("cohort"), options.get("patient")):
        raise ValueError(
            f"option 'patient' is {reprlib.repr(options['patient'])}, and the cohort is "
            f"{reprlib.repr(options['cohort'])}; allowed: one"
        )
    settings: dict[str, Any] = {
        "steps": args.steps,
        "seed": args.seed,
        "lanes": args.lanes,
        "checkpoint_every": args.checkpoint_every,
        "options": options or None,
        "hyperparameters": read_pairs(args.set) or None,
        "wrappers": args.wrapper,
    }
    if args.env is not None:
        find_variant(args.env)  # a wrong id is said before torch is loaded
    from oncogym.training import runs

    if args.resume is not None:
        if args.base is not None:
            raise ValueError("--base belongs to a new run; a resumed one keeps its settings")
        result = runs.resume(
            args.resume, progress=True, env_id=args.env, algorithm=args.algo, **settings
        )
    else:
        out = default_folder(args.env, args.seed or 0) if args.out is None else args.out
        if not (out / "config.json").exists():
            require_no_run_files(out)
        base = args.base or BASES[0]
        result = runs.train(
            args.env, args.algo or DEFAULT, out=out, progress=True, base=base, **settings
        )
    if args.json:
        document = {**to_plain(result), "policy": str(result.policy)}
        print(json.dumps(document, indent=2))
        return 0
    speed = "" if result.frames_per_second is None else f" ({result.frames_per_second:.0f} steps/s)"
    print(
        f"{result.env_id}: {result.steps} steps in {result.seconds:.1f} s{speed}",
        f"best mean return on the evaluation patients: {result.best_return:.4f} "
        f"(step {result.best_steps})",
        f"policy: {result.policy}",
        sep="\n",
    )
    return 0


def wrapper(text: str) -> NamedWrapper:
    """A wrapper, for argparse: ``NAME`` or ``NAME:KEY=VALUE,KEY=VALUE``."""
    found = _WRAPPER.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no wrapper; allowed: NAME or NAME:KEY=VALUE,KEY=VALUE"
        )
    # A comma within a value is not followed by a key.
    pairs = re.split(r",(?=[A-Za-z_]\w*=)", found["pairs"]) if found["pairs"] else []
    try:
        return NamedWrapper(found["name"], read_pairs(pairs))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def default_folder(env_id: str, seed: int) -> Path:
    """A new folder below ``runs/``, named by environment, seed and time."""
    name = find_variant(env_id)[1].id.rpartition("/")[2]
    return Path("runs") / f"{name}_seed{seed}_{time.strftime('%Y%m%d-%H%M%S')}"


def describe_settings(algorithm: str) -> str:
    """The hyper-parameters of an algorithm, as its settings document them."""
    method = find_algorithm(algorithm)
    # What stands on the settings of another algorithm documents its own alone.
    kinds = [kind for kind in method.Settings.__mro__ if dataclasses.is_dataclass(kind)]
    texts = [inspect.cleandoc(kind.__doc__ or "") for kind in kinds]
    return "\n\n".join([method.title, *texts])
