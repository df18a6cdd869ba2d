"""Can a treatment be learned as it is? Stable-Baselines3 with its defaults against the clinic.

``python -m oncogym.evaluation.plain_sb3 --envs ENV … --out DIR`` trains ``PPO("MlpPolicy", env)``
and ``SAC("MlpPolicy", env)`` on four scalar environments, without a wrapper and without tuning, and
scores them on held-out patients beside the clinical protocol of the environment, on the same
patients with the same chance. A treatment whose spaces and rewards are well made passes: the mean
return is above that of the protocol. Every finished run is a file in DIR/parts; the table is
DIR/plain_sb3.csv, with a row for each run and one for all seeds together.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from oncogym.core.checks import whole_number
from oncogym.core.files import write_csv_atomic
from oncogym.core.json_types import JsonObject
from oncogym.envs.problem import MOST_PATIENTS, Problem
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.rival_part import rival_parts
from oncogym.evaluation.statistics import hierarchical_difference
from oncogym.evaluation.study_folder import (
    Part,
    add_study_arguments,
    bare_name,
    command_study,
    each_and_all,
    seeds_of,
    versions_in,
)
from oncogym.evaluation.training_part import SCORES, require_each_once, scores_of

#: Classes of Stable-Baselines3, and how many decisions each has in the test.
DECISIONS = {"PPO": 300_000, "SAC": 50_000}
#: Scalar environments in a ``DummyVecEnv``.
LANES = 4
TABLE = "plain_sb3.csv"
_JOB = "plain-sb3"


def score_plain(
    *,
    env: str,
    algorithm: str,
    seed: int,
    steps: int,
    lanes: int,
    patients: int,
    patients_seed: int,
    progress: bool = False,
) -> JsonObject:
    """Train with the defaults, then treat held-out patients with the mean action.

    Args:
        env, algorithm, seed, steps, lanes, progress: Of the training.
        patients: Patients of the evaluation cohort.
        patients_seed: Which of them, and their chance.

    Returns:
        ``decisions`` made, and of each patient ``return``, ``success`` and ``cost``.

    Raises:
        ModuleNotFoundError: Stable-Baselines3 is not installed.
    """
    from oncogym.training.plain import learn_plainly

    problem = resolve(env, patients=patients, seed=patients_seed)
    model = learn_plainly(env, algorithm, steps=steps, seed=seed, lanes=lanes, progress=progress)
    return {"decisions": model.num_timesteps, **scores_of(problem, model)}


def plan_parts(
    envs: Sequence[str],
    algorithms: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    lanes: int = LANES,
    patients: int = 256,
    patients_seed: int = 0,
) -> list[Part]:
    """All parts of the test: the protocol of each environment, then its training runs.

    Args:
        envs: Registered ids.
        algorithms: Of :data:`DECISIONS`.
        seeds: Training seeds.
        steps: Decisions of each run, by default those of :data:`DECISIONS`.
        lanes: Scalar environments in a run.
        patients, patients_seed: Held-out patients.

    Raises:
        UnknownNameError: There is no such environment.
        ValueError: A number is out of range, an environment has no clinical protocol or is named
            twice, or its cohort has fewer patients.
    """
    whole_number("lanes", lanes, 1, 1024)
    whole_number("patients", patients, 2, MOST_PATIENTS)
    if steps is not None:
        whole_number("steps", steps, 1, 10**9)
    parts = []
    ids = [Problem.resolve(env).env_id for env in envs]
    for name, values in (("envs", ids), ("algorithms", algorithms), ("seeds", seeds)):
        require_each_once(name, values)
    for env in ids:
        problem = resolve(env, patients=patients, seed=patients_seed)
        if not problem.variant.baseline:
            raise ValueError(f"{env} has no clinical protocol to compare with")
        baseline = [problem.variant.baseline]
        parts += rival_parts(env, baseline, patients=patients, patients_seed=patients_seed)
        for algorithm in algorithms:
            run = {
                "env": env,
                "patients": patients,
                "patients_seed": patients_seed,
                "algorithm": algorithm,
                "steps": DECISIONS[algorithm] if steps is None else steps,
                "lanes": lanes,
            }
            parts += [
                Part(f"{bare_name(env)}-{algorithm}-{seed}", score_plain, {**run, "seed": seed})
                for seed in seeds
            ]
    return parts


def tabulate(results: Sequence[JsonObject]) -> pd.DataFrame:
    """One row a training run, and one for all seeds of an algorithm in an environment.

    Args:
        results: Those of the parts.

    Returns:
        ``env``, ``cohort``, ``algorithm``, ``seed`` (``all``: of all together), ``seeds``,
        ``patients``, ``decisions`` of a run, ``return``, ``success`` and ``cost`` of the policy,
        ``protocol`` and its ``protocol_return``, ``protocol_success``, ``protocol_cost``;
        ``difference`` of the returns, paired, with the 95 % interval ``low`` to ``high`` over
        patients, and over training seeds where there are several; ``passes`` if it is above 0;
        ``seconds`` of training and scoring, of a run; versions.
    """
    protocols = {one["env"]: one for one in results if "rival" in one}
    runs: dict[tuple[str, str], list[JsonObject]] = {}
    for one in results:
        if "algorithm" in one:
            runs.setdefault((one["env"], one["algorithm"]), []).append(one)
    rows = []
    for (env, _), several in runs.items():
        rows += [_row(seed, some, protocols[env]) for seed, some in each_and_all(several)]
    return pd.DataFrame(rows)


def _row(seed: str, runs: Sequence[JsonObject], protocol: JsonObject) -> Mapping[str, object]:
    first = runs[0]
    gain = hierarchical_difference([run["return"] for run in runs], protocol["return"])
    mean = {
        name: float(np.mean([run[name] for run in runs]))
        for name in (*SCORES, "decisions", "seconds")
    }
    return {
        "env": first["env"],
        "cohort": protocol["cohort"],
        "algorithm": first["algorithm"],
        "seed": seed,
        "seeds": len(runs),
        "patients": first["patients"],
        "decisions": round(mean["decisions"]),
        **{name: mean[name] for name in SCORES},
        "protocol": protocol["rival"],
        **{f"protocol_{name}": float(np.mean(protocol[name])) for name in SCORES},
        "difference": gain.estimate,
        "low": gain.low,
        "high": gain.high,
        "passes": gain.estimate > 0.0,
        "seconds": mean["seconds"],
        "version": versions_in(runs),
        "stable_baselines3": versions_in(runs, "stable-baselines3"),
    }


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--envs", nargs="+", required=True, metavar="ENV", help="ids")
    parser.add_argument(
        "--algos",
        nargs="+",
        type=str.upper,
        choices=list(DECISIONS),
        default=list(DECISIONS),
        help="Stable-Baselines3's algorithms",
    )
    parser.add_argument("--steps", type=int, help=f"decisions of a run, by default {DECISIONS}")
    parser.add_argument("--lanes", type=int, default=LANES, help="scalar environments")
    add_study_arguments(parser, seeds=3, patients=256)
    args = parser.parse_args(arguments)

    def plan() -> list[Part]:
        return plan_parts(
            args.envs,
            args.algos,
            seeds_of(args),
            steps=args.steps,
            lanes=args.lanes,
            patients=args.patients,
            patients_seed=args.patients_seed,
        )

    with command_study(parser, args, _JOB, plan, [TABLE]) as (study, executor):
        table = tabulate(study.finish(executor))
        study.output.write(TABLE, lambda path: write_csv_atomic(path, table.round(6)))
    sys.stdout.write(table.to_string(index=False, float_format="{:.4g}".format) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
