"""Which algorithm learns most in each treatment.

``python -m oncogym.evaluation.algorithm_study --envs ENV … --out DIR`` trains every algorithm with
the settings of its file, wrappers included, and treats held-out patients with each policy, the best
of its run by validation. Every finished run is a file in DIR/parts; the table is
DIR/algorithm_study.csv, with a row for each run and one for all seeds of an algorithm. Algorithms
that are added to a study later join those that are done.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from oncogym.core.checks import whole_number
from oncogym.core.files import write_csv_atomic
from oncogym.core.json_types import JsonObject
from oncogym.core.pairs import read_pairs
from oncogym.envs.problem import MOST_PATIENTS, Problem
from oncogym.evaluation.harness import resolve
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
) -> list[Part]:
    """All training runs.

    Args:
        envs: Registered ids.
        algorithms: Names of learning algorithms.
        seeds: Training seeds.
        steps, lanes: Of each run; ``None`` for the tuned ones.
        patients, patients_seed: Who is treated of the evaluation cohort.
        training_options: Options of the environments in training only.

    Raises:
        UnknownNameError: There is no such environment, algorithm or option.
        ValueError: A number is out of range, or something is named twice.
    """
    whole_number("patients", patients, 2, MOST_PATIENTS)
    ids = [Problem.resolve(env).env_id for env in envs]
    for name, values in (("envs", ids), ("algo", algorithms), ("seeds", seeds)):
        require_each_once(name, values)
    parts: list[Part] = []
    for env in ids:
        resolve(env, patients=patients, seed=patients_seed)
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
    groups: dict[tuple[str, str], list[JsonObject]] = {}
    for result in results:
        groups.setdefault((result["env"], result["algorithm"]), []).append(result)
    rows = []
    for runs in groups.values():
        rows += [_row(seed, some) for seed, some in each_and_all(runs)]
    return pd.DataFrame(rows)


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
        )

    with command_study(parser, args, _JOB, plan, [TABLE]) as (study, executor):
        table = tabulate(study.finish(executor))
        study.output.write(TABLE, lambda path: write_csv_atomic(path, table.round(6)))
    shown = table.drop(columns="version").to_string(index=False, float_format="{:.4g}".format)
    sys.stdout.write(shown + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
