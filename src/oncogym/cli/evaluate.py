"""``oncogym evaluate``: compare agents on the same patients."""

from __future__ import annotations

import argparse
import importlib
import json

from oncogym.agents.clinical import clinical_agent
from oncogym.cli.arguments import (
    Commands,
    add_common,
    add_executor,
    add_options,
    add_patients,
    executor_of,
    named,
    path,
    read_options,
    save_then_print,
    settings_of,
)
from oncogym.cli.commands import COMMANDS
from oncogym.core.files import to_plain
from oncogym.core.manifest import manifest
from oncogym.core.output_folder import OutputFolder
from oncogym.evaluation.agent_names import load_agents, name_agents, reserved_names
from oncogym.evaluation.comparison import FILES, Comparison, check_ends, print_comparison
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.kept_courses import courses_in


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "evaluate",
        help=COMMANDS["evaluate"],
        description="Treat the same patients, with the same random streams, with every agent and "
        "print statistics with 95 % intervals. AGENT is a clinical protocol of the treatment, one "
        "of its bounds, 'random', mpc_nominal, mpc_scenario or mpc_oracle (controllers that plan "
        "anew at every decision), the folder of a trained policy, pretrained:NAME (one that comes "
        "with the suite), or a plan.json; without any, all protocols. "
        "--option patient={...} treats one patient of your own.",
    )
    add_patients(parser, 200)
    parser.add_argument(
        "--baseline",
        type=named,
        help="agent that scores 0 (default: the id's clinical one, which then takes part)",
    )
    parser.add_argument(
        "--reference", type=named, help="agent that scores 1 (default: no normalised score)"
    )
    parser.add_argument(
        "--out",
        type=path,
        help="folder for results, figures and the report; the same command goes on there after an "
        "interruption",
    )
    add_options(parser)
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        type=named,
        metavar="MODULE",
        help="module to import first, with a wrapper of your own in which a policy was trained; "
        "repeatable. Policies themselves import nothing",
    )
    add_executor(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def import_module(name: str) -> None:
    """Import a user's own module.

    Raises:
        ValueError: There is none of that name; the message says why.
    """
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"--import is {name!r}: {error}") from None


def run(args: argparse.Namespace) -> int:
    """Evaluate, save where asked, and print."""
    for module in args.modules:
        import_module(module)
    options = read_options(args.option)
    problem = resolve(
        args.env,
        cohort=args.cohort,
        patients=args.patients,
        seed=args.seed,
        options=options,
    )
    agents, left_out = load_agents(problem, args.agents, args.seed)
    names = name_agents(args.agents, reserved_names(problem.treatment))
    baseline, reference = (
        None if name is None else names.get(name, name)
        for name in (args.baseline or problem.variant.baseline, args.reference)
    )
    usual = problem.variant.baseline
    if args.baseline is None and usual and usual not in agents:
        agents = {usual: clinical_agent(problem.treatment, problem.task(1), usual), **agents}
    check_ends(agents, str(baseline), reference)
    about = manifest("evaluate", {"seed": args.seed}, settings_of(args, option=options))
    output = None if args.out is None else OutputFolder.claim(args.out, "evaluate", FILES)
    with executor_of(args) as executor, courses_in(output, problem, args.modules) as kept:
        comparison = Comparison.run(
            problem,
            agents,
            baseline=str(baseline),
            reference=reference,
            left_out=left_out,
            seed=args.seed,
            executor=executor,
            kept=kept,
        )

    def save() -> None:
        if args.out is not None:
            comparison.save(args.out, about)

    def show(saved: bool) -> None:
        if args.json:
            print(json.dumps(to_plain(comparison.document()), indent=2))
            return
        print_comparison(comparison)
        if args.out is not None and saved:
            print(f"saved in {args.out}; open {args.out / 'report.html'}")

    save_then_print(save, show)
    return 0
