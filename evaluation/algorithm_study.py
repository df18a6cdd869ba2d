"""Which algorithm learns most in each treatment.

``python -m oncogym.evaluation.algorithm_study --envs ENV … --out DIR`` trains every algorithm with
the settings of its file, wrappers included, and treats held-out patients with each policy, the best
of its run by validation. Every finished run is a file in DIR/parts; the table is
DIR/algorithm_study.csv, with a row for each run and one for all seeds of an algorithm. Algorithms
that are added to a study later join those that are done.

``--rivals NAME …`` lets rules, controllers and other agents of ``oncogym evaluate`` treat the same
patients with the same chance; DIR/algorithm_rivals.csv has what the policies of each algorithm
reach minus what each rival does: return, success and cost, paired, with 95 % intervals over
training seeds and patients.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from oncogym.core.checks import whole_number
from oncogym.core.files import write_csv_atomic
from oncogym.core.json_types import JsonObject
from oncogym.core.pairs import read_pairs
from oncogym.envs.problem import MOST_PATIENTS, Problem
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.rival_part import differences_from, rival_parts
from oncogym.evaluation.study_folder import (
    Part,
    add_study_arguments,
    bare_name,
    command_study,
    each_and_all,
    seeds_of,
    versions_in,
)
from oncogym.evaluation.training_part import (
    add_training_arguments,
    mean_over,
    require_each_once,
    training_parts,
)
from oncogym.training.algorithms import algorithm_names, usable_algorithms

TABLE = "algorithm_study.csv"
#: The table of differences from rivals.
RIVALS = "algorithm_rivals.csv"
_JOB = "algorithm-study"


def plan_parts(
    envs: Sequence[str],
    algorithms: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    lanes: int | None = None,
    patients: int = 256,
    patients_seed: int = 0,
    training_options: Mapping[str, object] | None = None,
    rivals: Sequence[str] = (),
    control: Mapping[str, object] | None = None,
) -> list[Part]:
    """All training runs, and the rivals of each environment before its runs.

    Args:
        envs: Registered ids.
        algorithms: Names of learning algorithms.
        seeds: Training seeds.
        steps, lanes: Of each run; ``None`` for the tuned ones.
        patients, patients_seed: Who is treated of the evaluation cohort.
        training_options: Options of the environments in training only.
        rivals: Names of agents, as ``oncogym evaluate`` takes them, that treat the same patients.
        control: Settings of the controllers among them.

    Raises:
        UnknownNameError: There is no such environment, algorithm, rival or option.
        ValueError: A number is out of range, or something is named twice.
    """
    whole_number("patients", patients, 2, MOST_PATIENTS)
    ids = [Problem.resolve(env).env_id for env in envs]
    for name, values in (("envs", ids), ("algo", algorithms), ("seeds", seeds)):
        require_each_once(name, values)
    parts: list[Part] = []
    for env in ids:
        resolve(env, patients=patients, seed=patients_seed)
        parts += rival_parts(
            env, rivals, patients=patients, patients_seed=patients_seed, control=control
        )
        for algorithm in algorithms:
            parts += training_parts(
                f"{bare_name(env)}-{algorithm}",
                seeds,
                env=env,
                algorithm=algorithm,
                steps=steps,
                lanes=lanes,
                patients=patients,
                patients_seed=patients_seed,
                training_options=training_options,
            )
    return parts


def tabulate(results: Sequence[JsonObject]) -> pd.DataFrame:
    """One row a training run, and one for all seeds of an algorithm in an environment.

    Args:
        results: Those of the runs.

    Returns:
        ``env``, ``algorithm``, ``training_options`` (JSON), ``seed`` (``all``: of all together),
        ``seeds``, ``sees``, ``patients``, ``decisions`` of a run, mean ``return`` with the 95 %
        interval ``low`` to ``high`` over patients, and over training seeds where there are several;
        ``success``, ``cost``; ``seconds`` of training and scoring, of a run; ``version``.
    """
    rows = []
    for runs in _by_algorithm(results):
        rows += [_row(seed, some) for seed, some in each_and_all(runs)]
    return pd.DataFrame(rows)


def tabulate_rivals(results: Sequence[JsonObject]) -> pd.DataFrame:
    """One row an algorithm and rival in an environment, all training seeds together.

    Args:
        results: Those of the parts, rivals included.

    Returns:
        ``env``, ``cohort``, ``patients``, ``algorithm``, ``seeds``, ``sees``, ``rival``,
        ``rival_sees`` and ``control`` (JSON: settings of a controller in place of the usual); then
        ``return``, ``success`` and ``cost``, each with the columns of
        :func:`~oncogym.evaluation.rival_part.differences_from`; ``rival_seconds`` of the rival's
        treatments; ``version``.
    """
    rows = []
    for runs in _by_algorithm(results):
        env = runs[0]["env"]
        rivals = [one for one in results if "rival" in one and one["env"] == env]
        rows += [_difference(runs, rival) for rival in rivals]
    return pd.DataFrame(rows)


def _difference(runs: Sequence[JsonObject], rival: JsonObject) -> JsonObject:
    first = runs[0]
    return {
        "env": first["env"],
        "cohort": rival["cohort"],
        "patients": first["patients"],
        "algorithm": first["algorithm"],
        "seeds": len(runs),
        "sees": first["sees"],
        "rival": rival["rival"],
        "rival_sees": rival["sees"],
        "control": json.dumps(rival.get("control", {})),
        **differences_from(runs, rival),
        "rival_seconds": rival["seconds"],
        "version": versions_in([*runs, rival]),
    }


def _by_algorithm(results: Sequence[JsonObject]) -> list[list[JsonObject]]:
    """The training runs, together where environment and algorithm are the same."""
    groups: dict[tuple[str, str], list[JsonObject]] = {}
    for result in results:
        if "algorithm" in result:
            groups.setdefault((result["env"], result["algorithm"]), []).append(result)
    return list(groups.values())


def _row(seed: str, runs: Sequence[JsonObject]) -> JsonObject:
    first = runs[0]
    gain = mean_over(runs, "return")
    return {
        "env": first["env"],
        "algorithm": first["algorithm"],
        "training_options": json.dumps(first.get("training_options", {})),
        "seed": seed,
        "seeds": len(runs),
        "sees": first["sees"],
        "patients": first["patients"],
        "decisions": first["decisions"],
        "return": gain.estimate,
        "low": gain.low,
        "high": gain.high,
        "success": mean_over(runs, "success").estimate,
        "cost": mean_over(runs, "cost").estimate,
        "seconds": float(np.mean([run["seconds"] for run in runs])),
        "version": versions_in(runs),
    }


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs", nargs="+", required=True, metavar="ENV", help="ids")
    parser.add_argument(
        "--algo",
        nargs="+",
        choices=algorithm_names(),
        help="who learns, by default all that are installed",
    )
    add_training_arguments(parser)
    parser.add_argument(
        "--training-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the environments in training only, such as fidelity=screening; repeatable",
    )
    parser.add_argument(
        "--rivals",
        nargs="+",
        default=[],
        metavar="NAME",
        help="rules, controllers and other agents that treat the same patients, too",
    )
    parser.add_argument(
        "--control",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="setting of the controllers among them, such as budget=192 (default: what suits the "
        "environment); repeatable",
    )
    add_study_arguments(parser, seeds=3, patients=256)
    args = parser.parse_args(arguments)

    def plan() -> list[Part]:
        return plan_parts(
            args.envs,
            args.algo or usable_algorithms(),
            seeds_of(args),
            steps=args.steps,
            lanes=args.lanes,
            patients=args.patients,
            patients_seed=args.patients_seed,
            training_options=read_pairs(args.training_option),
            rivals=args.rivals,
            control=read_pairs(args.control),
        )

    with command_study(parser, args, _JOB, plan, [TABLE, RIVALS]) as (study, executor):
        results = study.finish(executor)
        tables = {TABLE: tabulate(results)}
        if args.rivals:
            tables[RIVALS] = tabulate_rivals(results)
        for name, table in tables.items():
            study.output.write(name, partial(write_csv_atomic, frame=table.round(6)))
    for table in tables.values():
        shown = table.drop(columns="version").to_string(index=False, float_format="{:.4g}".format)
        sys.stdout.write(shown + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
