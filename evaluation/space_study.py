"""In which spaces of observations and actions a policy learns most.

``python -m oncogym.evaluation.space_study --envs ENV … --out DIR`` trains the same algorithm, with
the settings of its file, in spaces that differ, and treats patients of the cohort ``validation``
with each policy. A space is named by its parts, the innermost first, joined by ``+``:

* ``plain``, the environment as it is;
* ``DoseScale``, doses as multiples of what is shown to be safe;
* ``History``, the last observations and actions;
* ``ProtocolOffset``, what to change about the clinical protocol that is best on validation;
* ``KEY=VALUE``, an option of the environment, as in ``observation=density``.

A space that a treatment does not offer is left out. Every finished run is a file in DIR/parts; the
table is DIR/space_study.csv, with a row for each run and one for all seeds of a space.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from oncogym.agents.clinical import RuleAgent, clinical_agents
from oncogym.core.checks import whole_number
from oncogym.core.errors import nearest
from oncogym.core.files import write_csv_atomic
from oncogym.core.json_types import JsonObject
from oncogym.core.pairs import read_pairs
from oncogym.envs.problem import MOST_PATIENTS, Problem
from oncogym.evaluation.harness import evaluate_problem, resolve
from oncogym.evaluation.rule_tuning import COHORT
from oncogym.evaluation.study_folder import (
    Part,
    add_study_arguments,
    bare_name,
    each_and_all,
    open_study,
    require_training,
    seeds_of,
    versions_in,
)
from oncogym.evaluation.training_part import (
    add_training_arguments,
    mean_over,
    require_each_once,
    training_parts,
)
from oncogym.parallel.base import ExecutorError
from oncogym.parallel.choice import open_executor
from oncogym.training.algorithms import DEFAULT, algorithm_names

TABLE = "space_study.csv"
_JOB = "space-study"
#: Spaces that are tried unless others are named.
SPACES = ("plain", "DoseScale", "History", "ProtocolOffset")


@dataclass(frozen=True)
class Numbers:
    """Numbers of the wrappers.

    Attributes:
        most: Multiple of the safe dose that action 1 asks for in ``DoseScale``.
        count: Observations in ``History``.
        reach: How far ``ProtocolOffset`` moves a protocol.
    """

    most: float = 1.5
    count: int = 4
    reach: float = 0.1


@dataclass(frozen=True)
class Space:
    """A space of a treatment.

    Attributes:
        name: Its name, see the module.
        wrappers: Wrappers, innermost first, as JSON-able mappings.
        options: Options of the environment.
    """

    name: str
    wrappers: tuple[JsonObject, ...]
    options: Mapping[str, object]


def space_of(problem: Problem, name: str, protocol: str, numbers: Numbers) -> Space | None:
    """The space of a name, ``None`` where the treatment does not offer it.

    Args:
        problem: What is treated.
        name: Its name.
        protocol: The protocol that ``ProtocolOffset`` changes.
        numbers: Numbers of the wrappers.

    Raises:
        UnknownNameError: A part of the name, or an option, is none.
        ValueError: An option is out of range, or no pair.
    """
    known: dict[str, JsonObject | None] = {
        "plain": None,
        "DoseScale": {"DoseScale": {"most": numbers.most}},
        "History": {"History": {"count": numbers.count}},
        "ProtocolOffset": {"ProtocolOffset": {"protocol": protocol, "reach": numbers.reach}},
    }
    wrappers: list[JsonObject] = []
    options: dict[str, object] = {}
    for part in name.split("+"):
        if "=" in part:
            options.update(read_pairs([part]))
            shown = options.get("observation")
            if shown is not None and shown not in problem.treatment.task.observations:
                return None
            continue
        if part not in known:
            raise nearest("part of a space", part, known)
        wrapper = known[part]
        if wrapper is not None:
            wrappers.append(wrapper)
    if any("DoseScale" in wrapper for wrapper in wrappers):
        task = Problem.resolve(problem.env_id, options).task(1)
        try:
            task.shown_safe_actions(np.zeros((1, *task.observation_space.shape)))
        except NotImplementedError:
            return None
    return Space(name, tuple(wrappers), options)


def rate_protocols(
    *, env: str, patients: int, patients_seed: int, progress: bool = False
) -> JsonObject:
    """Treat the patients of a study with every protocol that decides by what is shown.

    Args:
        env: Registered id.
        patients, patients_seed: Who is treated.
        progress: There is nothing to show.

    Returns:
        Mean ``returns`` by protocol, and the ``best`` of them.
    """
    problem = resolve(env, cohort=COHORT, patients=patients, seed=patients_seed)
    agents, _ = clinical_agents(problem.treatment, problem.task(1))
    shown = {
        name: agent
        for name, agent in agents.items()
        if not (isinstance(agent, RuleAgent) and agent.options)
    }
    means = evaluate_problem(problem, shown).groupby("agent", sort=False)["return"].mean()
    return {"returns": means.to_dict(), "best": str(means.idxmax())}


def plan_protocols(envs: Sequence[str], *, patients: int, patients_seed: int = 0) -> list[Part]:
    """The parts that choose the best protocol of each environment.

    Args:
        envs: Registered ids.
        patients, patients_seed: Patients of validation.

    Raises:
        UnknownNameError: There is no such environment, or it has no validation patients.
        ValueError: A number is out of range, or an environment is named twice.
    """
    whole_number("patients", patients, 2, MOST_PATIENTS)
    ids = [Problem.resolve(env).env_id for env in envs]
    require_each_once("envs", ids)
    parts = []
    for env in ids:
        resolve(env, cohort=COHORT, patients=patients, seed=patients_seed)
        whom = {"env": env, "patients": patients, "patients_seed": patients_seed}
        parts.append(Part(f"{bare_name(env)}-protocols", rate_protocols, whom))
    return parts


def plan_parts(
    protocols: Mapping[str, str],
    seeds: Sequence[int],
    spaces: Sequence[str] = SPACES,
    *,
    numbers: Numbers | None = None,
    algorithm: str = DEFAULT,
    steps: int | None = None,
    lanes: int | None = None,
    patients: int = 256,
    patients_seed: int = 0,
) -> tuple[list[Part], list[str], list[str]]:
    """All training runs.

    Args:
        protocols: The best protocol by environment, full ids.
        seeds: Training seeds.
        spaces: Names of spaces.
        numbers: Numbers of the wrappers.
        algorithm: Name of the learning algorithm.
        steps, lanes: Of each run; ``None`` for the tuned ones.
        patients, patients_seed: Patients of validation.

    Returns:
        The runs, the name of the space of each, and what was left out, in words.

    Raises:
        UnknownNameError: There is no such space, option or algorithm.
        ValueError: A number is out of range, a space does not fit, or one is named twice.
    """
    require_each_once("spaces", spaces)
    require_each_once("seeds", seeds)
    numbers = numbers or Numbers()
    parts: list[Part] = []
    names: list[str] = []
    left_out: list[str] = []
    for env, protocol in protocols.items():
        problem = Problem.resolve(env)
        for name in spaces:
            space = space_of(problem, name, protocol, numbers)
            if space is None:
                left_out.append(f"{env} does not offer {name}")
                continue
            runs = training_parts(
                re.sub(r"[^\w=+.-]", "_", f"{bare_name(env)}-{name}"),
                seeds,
                env=env,
                algorithm=algorithm,
                steps=steps,
                lanes=lanes,
                patients=patients,
                patients_seed=patients_seed,
                wrappers=list(space.wrappers),
                options=space.options,
                cohort=COHORT,
            )
            parts += runs
            names += [name] * len(runs)
    return parts, names, left_out


def tabulate(
    results: Sequence[JsonObject], names: Sequence[str], rated: Sequence[JsonObject]
) -> pd.DataFrame:
    """One row a training run, and one for all seeds of a space in an environment.

    Args:
        results: Those of the runs.
        names: The space of each.
        rated: Those of :func:`rate_protocols`.

    Returns:
        ``env``, ``space``, ``wrappers``, ``options``, ``algorithm``, ``seed`` (``all``: of all
        together), ``seeds``, ``patients``, ``decisions`` of a run, mean ``return`` with the 95 %
        interval ``low`` to ``high`` over patients, and over training seeds where there are several;
        ``success``, ``cost``; the best ``protocol`` and its ``protocol_return``; ``seconds`` of
        training and scoring, of a run; ``version``.
    """
    best = {one["env"]: (one["best"], one["returns"][one["best"]]) for one in rated}
    groups: dict[tuple[str, str], list[JsonObject]] = {}
    for result, name in zip(results, names, strict=True):
        groups.setdefault((result["env"], name), []).append(result)
    rows = []
    for (env, name), runs in groups.items():
        rows += [_row(name, seed, some, best[env]) for seed, some in each_and_all(runs)]
    return pd.DataFrame(rows)


def _row(
    name: str, seed: str, runs: Sequence[JsonObject], protocol: tuple[str, float]
) -> JsonObject:
    first = runs[0]
    gain = mean_over(runs, "return")
    return {
        "env": first["env"],
        "space": name,
        "wrappers": json.dumps(first["wrappers"]),
        "options": json.dumps(first["options"]),
        "algorithm": first["algorithm"],
        "seed": seed,
        "seeds": len(runs),
        "patients": first["patients"],
        "decisions": first["decisions"],
        "return": gain.estimate,
        "low": gain.low,
        "high": gain.high,
        "success": mean_over(runs, "success").estimate,
        "cost": mean_over(runs, "cost").estimate,
        "protocol": protocol[0],
        "protocol_return": protocol[1],
        "seconds": float(np.mean([run["seconds"] for run in runs])),
        "version": versions_in(runs),
    }


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, print and write the table."""
    usual = Numbers()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs", nargs="+", required=True, metavar="ENV", help="ids")
    parser.add_argument(
        "--spaces",
        nargs="+",
        default=list(SPACES),
        metavar="SPACE",
        help=f"see above; by default {' '.join(SPACES)}",
    )
    parser.add_argument("--algo", choices=algorithm_names(), default=DEFAULT, help="who learns")
    parser.add_argument("--most", type=float, default=usual.most, help="of DoseScale")
    parser.add_argument("--history", type=int, default=usual.count, help="length of History")
    parser.add_argument("--reach", type=float, default=usual.reach, help="of ProtocolOffset")
    add_training_arguments(parser)
    add_study_arguments(parser, seeds=3, patients=256)
    args = parser.parse_args(arguments)
    whom = {"patients": args.patients, "patients_seed": args.patients_seed}
    with contextlib.ExitStack() as stack:
        try:
            require_training()
            seeds = seeds_of(args)
            rules = plan_protocols(args.envs, **whom)
            # With any protocol, before the work that finds the best.
            envs = [str(part.settings["env"]) for part in rules]
            first = {env: Problem.resolve(env).variant.baseline for env in envs}
            named = {
                "numbers": Numbers(args.most, args.history, args.reach),
                "algorithm": args.algo,
                "steps": args.steps,
                "lanes": args.lanes,
                **whom,
            }
            plan_parts(first, seeds, args.spaces, **named)
            executor = stack.enter_context(open_executor(workers=args.workers))
            study = stack.enter_context(open_study(args.out, _JOB, rules, [TABLE]))
            rated = study.finish(executor)
            best = {one["env"]: one["best"] for one in rated}
            parts, names, left_out = plan_parts(best, seeds, args.spaces, **named)
            study = stack.enter_context(open_study(args.out, _JOB, parts, [TABLE]))
        except (ValueError, OSError, ExecutorError, ModuleNotFoundError) as error:
            parser.error(str(error))
        for why in left_out:
            print(why, file=sys.stderr)
        table = tabulate(study.finish(executor), names, rated)
        study.output.write(TABLE, lambda path: write_csv_atomic(path, table.round(6)))
    shown = table.drop(columns=["wrappers", "options", "version"])
    sys.stdout.write(shown.to_string(index=False, float_format="{:.4g}".format) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
