"""``oncogym render``: the course of one patient as a film or a picture."""

from __future__ import annotations

import argparse
import json

from oncogym.cli.arguments import (
    Commands,
    add_cohort,
    add_common,
    add_options,
    named,
    path,
    read_options,
)
from oncogym.cli.commands import COMMANDS
from oncogym.core.argument_types import positive, whole
from oncogym.envs.problem import MOST_PATIENTS
from oncogym.evaluation.agent_names import load_agents
from oncogym.evaluation.course_film import FORMATS, check_film, film, save_film
from oncogym.evaluation.harness import resolve


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "render",
        help=COMMANDS["render"],
        description="Treat one patient with one agent and draw what happens, one picture for each "
        "decision. AGENT is what oncogym evaluate takes: a clinical protocol, random, a "
        "controller, the folder of a trained policy, or a plan.json.",
    )
    parser.add_argument("env", type=named, metavar="ENV", help="an environment id")
    parser.add_argument("agent", type=named, metavar="AGENT", help="who decides")
    parser.add_argument(
        "--out",
        type=path,
        required=True,
        help="file: " + ", ".join(f"*{ending} ({holds})" for ending, holds in FORMATS.items()),
    )
    add_cohort(parser)
    parser.add_argument(
        "--patient",
        type=whole(0, MOST_PATIENTS - 1),
        default=0,
        metavar="N",
        help="number of the patient in the cohort (default 0)",
    )
    parser.add_argument(
        "--fps", type=positive, default=6, help="decisions shown a second (default 6)"
    )
    add_options(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Treat, draw, and write the file."""
    check_film(args.out)
    number = args.patient
    problem = resolve(
        args.env,
        cohort=args.cohort,
        patients=number + 1,
        seed=args.seed,
        options=read_options(args.option),
    )
    if number >= len(problem.patients):
        raise ValueError(f"--patient is {number}; allowed: 0 to {len(problem.patients) - 1}")
    one = problem.part(slice(number, number + 1))
    agents, _ = load_agents(one, [args.agent], args.seed)
    (agent,) = agents.values()
    frames = film(one, agent, only_last=args.out.suffix.lower() == ".png")
    save_film(frames, args.out, args.fps)
    document = {"file": str(args.out), "frames": len(frames), "patient": number}
    print(json.dumps(document) if args.json else f"{len(frames)} picture(s) in {args.out}")
    return 0
