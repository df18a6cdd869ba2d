"""Return against cost of ways to learn without harm.

``python -m oncogym.evaluation.safe_learning --envs ENV … --out DIR`` trains policies that differ in
how they are kept from breaking a limit, and treats held-out patients with each: not at all
(unconstrained); by a fixed penalty on the cost, of several weights; by a penalty whose weight is
learnt so that an episode costs no more than a limit (Lagrangian), of several limits; by a shield on
doses that knows the patient; by one that knows what was measured, where a treatment has such a
rule. A reward that counts the harm itself teaches safety without any of these; ``--without`` leaves
such terms out of the reward of every training run, so that only the constraint can teach it.

Every finished run is a file in DIR/parts; the table is DIR/safe_learning.csv, with a row for each
run and one for all seeds together, the figure DIR/safe_learning.png. Returns are the plain ones: a
penalty, and what is left out, count in training only. Each policy is the one at the end of its
training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from oncogym.core.arrays import Floats
from oncogym.core.checks import check_option, whole_number
from oncogym.core.errors import nearest
from oncogym.core.files import write_csv_atomic
from oncogym.core.json_types import JsonObject
from oncogym.envs.problem import MOST_PATIENTS, Problem
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.report.drawings import save_png
from oncogym.evaluation.report.labels import untyped
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
from oncogym.evaluation.training_part import (
    add_training_arguments,
    mean_over,
    require_each_once,
    training_parts,
)
from oncogym.training.algorithms import DEFAULT, algorithm_names, find_algorithm
from oncogym.training.settings import read_hyperparameters
from oncogym.wrappers.named import wrappers_of

TABLE, FIGURE = "safe_learning.csv", "safe_learning.png"
_JOB = "safe-learning"
_PRIVILEGED = "knows the patient"
_FREE = "unconstrained"
_PENALTY = "SafetyPenalty"
#: Weights of fixed penalties, and limits of the cost of an episode, that are tried.
PENALTIES = (0.3, 3.0, 30.0)
LIMITS = (0.01, 0.1, 1.0)
_COLOURS = {
    _FREE: "#000000",
    "penalty": "#0072B2",
    "Lagrangian": "#009E73",
    "shield": "#D55E00",
    "measured shield": "#CC79A7",
}


@dataclass(frozen=True)
class Arm:
    """A way of keeping a policy from breaking a limit.

    Attributes:
        name: Its name, one of those in the figure.
        setting: Weight or limit; nothing where there is none.
        inner: Wrappers inside those of the algorithm's file, as JSON-able mappings.
        outer: Wrappers outside of them.
    """

    name: str
    setting: float | None = None
    inner: tuple[JsonObject, ...] = ()
    outer: tuple[JsonObject, ...] = ()

    @property
    def file(self) -> str:
        """Name for files."""
        setting = "" if self.setting is None else f"-{self.setting:g}"
        return self.name.replace(" ", "_") + setting


def arms_of(
    problem: Problem,
    penalties: Sequence[float] = PENALTIES,
    limits: Sequence[float] = LIMITS,
    *,
    shape: str = "linear",
    multiplier: float = 1.0,
    rate: float = 0.05,
    without: Sequence[str] = (),
) -> list[Arm]:
    """The ways that suit a treatment.

    Args:
        problem: What is treated.
        penalties: Weights of fixed penalties, above 0.
        limits: Costs that an episode may have, at least 0.
        shape: Shape of the penalties.
        multiplier: Weight with which Lagrangian penalties begin.
        rate: Step of their ascent.
        without: Reward terms that are left out in training, those of other treatments included.

    Raises:
        ValueError: A number is out of range, or given twice.
    """

    def penalty(weight: float, limit: float | None = None) -> JsonObject:
        learnt = {} if limit is None else {"cost_limit": limit, "rate": rate}
        return {_PENALTY: {"multiplier": weight, "shape": shape, **learnt}}

    for name, values, least in (("penalties", penalties, 1e-9), ("limits", limits, 0.0)):
        require_each_once(name, values)
        for value in values:
            check_option(name, value, least, 1e9)
    check_option("multiplier", multiplier, 0.0, 1e9)
    check_option("rate", rate, 1e-12, 1e6)
    weights = problem.kept_task(1).reward_weights
    kept = {name: weight for name, weight in weights.items() if name not in without}
    # What is inside of a penalty replaces the reward, so it has to stay inside.
    base: tuple[JsonObject, ...] = ()
    if len(kept) < len(weights):
        base = ({"RewardWeights": {"weights": kept}},)
    arms = [
        Arm(_FREE, outer=base),
        *(Arm("penalty", one, outer=(*base, penalty(one))) for one in penalties),
        *(Arm("Lagrangian", one, outer=(*base, penalty(multiplier, one))) for one in limits),
        Arm("shield", inner=({"DoseShield": {}},), outer=base),
    ]
    if problem.treatment.measured_limit is not None:
        arms.append(Arm("measured shield", inner=({"MeasuredShield": {}},), outer=base))
    return arms


def plan_parts(
    envs: Sequence[str],
    seeds: Sequence[int],
    *,
    algorithm: str = DEFAULT,
    steps: int | None = None,
    lanes: int | None = None,
    patients: int = 256,
    patients_seed: int = 0,
    penalties: Sequence[float] = PENALTIES,
    limits: Sequence[float] = LIMITS,
    shape: str = "linear",
    multiplier: float = 1.0,
    rate: float = 0.05,
    without: Sequence[str] = (),
) -> tuple[list[Part], list[Arm]]:
    """All training runs, and the way of each.

    Args:
        envs: Registered ids; everybody decides by what they show.
        seeds: Training seeds.
        algorithm: Name of the learning algorithm.
        steps, lanes: Of each run; ``None`` for the tuned ones.
        patients, patients_seed: Held-out patients.
        penalties, limits, shape, multiplier, rate, without: See :func:`arms_of`.

    Raises:
        UnknownNameError: There is no such environment, algorithm or shape, or none of the
            treatments has a term that is to be left out.
        ValueError: A number is out of range, a way does not suit a treatment, an environment is
            named twice, or its cohort has fewer patients.
    """
    ids = [Problem.resolve(env).env_id for env in envs]
    require_each_once("envs", ids)
    require_each_once("seeds", seeds)
    whole_number("patients", patients, 2, MOST_PATIENTS)
    terms = {name for env in ids for name in Problem.resolve(env).treatment.task.reward_terms}
    for term in without:
        if term not in terms:
            raise nearest("reward term", term, terms)
    parts, arms = [], []
    for env in ids:
        problem = resolve(env, patients=patients, seed=patients_seed)
        usual = wrappers_of(
            read_hyperparameters(find_algorithm(algorithm), env).get("wrappers", ())
        )
        # Penalties are what is compared: those of the file do not count.
        own = [
            {wrapper.name: dict(wrapper.arguments)} for wrapper in usual if wrapper.name != _PENALTY
        ]
        found = arms_of(
            problem,
            penalties,
            limits,
            shape=shape,
            multiplier=multiplier,
            rate=rate,
            without=without,
        )
        for arm in found:
            wrappers = [*arm.inner, *own, *arm.outer]
            runs = training_parts(
                f"{bare_name(env)}-{arm.file}",
                seeds,
                env=env,
                algorithm=algorithm,
                steps=steps,
                lanes=lanes,
                patients=patients,
                patients_seed=patients_seed,
                wrappers=wrappers,
                last=True,
            )
            parts += runs
            arms += [arm] * len(runs)
    return parts, arms


def tabulate(results: Sequence[JsonObject], arms: Sequence[Arm]) -> pd.DataFrame:
    """One row a training run, and one for all seeds of a way in an environment.

    Args:
        results: Those of the runs.
        arms: The way of each.

    Returns:
        ``env``, ``arm``, ``setting`` (weight or limit), ``sees``, ``algorithm``, ``seed`` (``all``:
        of all together), ``seeds``, ``patients``, ``decisions`` of a run, mean ``return`` and
        ``cost`` with the 95 % intervals ``*_low`` to ``*_high`` over patients, and over training
        seeds where there are several; ``gain``, the return minus the mean one of the unconstrained
        policies, patient by patient, with ``gain_low`` to ``gain_high``; ``violated``, the share of
        patients with any cost; ``success``; ``without``, the terms left out in training;
        ``seconds`` of training and scoring, of a run; ``version``.
    """
    groups: dict[tuple[str, Arm], list[JsonObject]] = {}
    for result, arm in zip(results, arms, strict=True):
        key = result["env"], Arm(arm.name, arm.setting)
        groups.setdefault(key, []).append(result)
    rows = []
    for (env, arm), runs in groups.items():
        free = np.mean([run["return"] for run in groups[env, Arm(_FREE)]], axis=0)
        rows += [_row(arm, seed, some, free) for seed, some in each_and_all(runs)]
    return pd.DataFrame(rows)


def _row(arm: Arm, seed: str, runs: Sequence[JsonObject], free: Floats) -> JsonObject:
    first = runs[0]
    mean, cost = mean_over(runs, "return"), mean_over(runs, "cost")
    gain = hierarchical_difference([run["return"] for run in runs], free)
    return {
        "env": first["env"],
        "arm": arm.name,
        "setting": arm.setting,
        "sees": first["sees"],
        "algorithm": first["algorithm"],
        "seed": seed,
        "seeds": len(runs),
        "patients": first["patients"],
        "decisions": first["decisions"],
        "return": mean.estimate,
        "return_low": mean.low,
        "return_high": mean.high,
        "gain": gain.estimate,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "cost": cost.estimate,
        "cost_low": cost.low,
        "cost_high": cost.high,
        "violated": float(np.mean([np.array(run["cost"]) > 0.0 for run in runs])),
        "success": mean_over(runs, "success").estimate,
        "without": " ".join(_left_out(first)),
        "seconds": float(np.mean([run["seconds"] for run in runs])),
        "version": versions_in(runs),
    }


def _left_out(run: JsonObject) -> list[str]:
    """Reward terms that weigh something in the environment and nothing in a training run."""
    weights = Problem.resolve(run["env"]).kept_task(1).reward_weights
    used = [name for name, weight in weights.items() if weight != 0.0]
    for wrapper in run["wrappers"]:
        if "RewardWeights" in wrapper:
            return [name for name in used if name not in wrapper["RewardWeights"]["weights"]]
    return []


def draw_trade(table: pd.DataFrame) -> Figure:
    """Return against cost, one panel an environment, one point a way with its intervals.

    Args:
        table: What :func:`tabulate` gives; rows of all seeds together are drawn.
    """
    table = table[table["seed"] == "all"]
    envs = list(dict.fromkeys(table["env"]))
    figure = Figure(figsize=(4.8 * len(envs) + 2.4, 4.2), dpi=100, layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(envs)))
    named: set[str] = set()
    for axis, env in zip(axes, envs, strict=True):
        own = table[table["env"] == env]
        for name, rows in own.groupby("arm", sort=False):
            knows = bool((rows["sees"] == _PRIVILEGED).all())
            mean = rows[["cost", "return"]].to_numpy()
            low = rows[["cost_low", "return_low"]].to_numpy()
            high = rows[["cost_high", "return_high"]].to_numpy()
            label = f"{name} ({_PRIVILEGED})" if knows else str(name)
            axis.errorbar(
                *mean.T,
                xerr=np.abs(np.stack([mean - low, high - mean])[:, :, 0]),
                yerr=np.abs(np.stack([mean - low, high - mean])[:, :, 1]),
                fmt="s" if knows else "o",
                markerfacecolor="white" if knows else None,
                color=_COLOURS.get(str(name), "grey"),
                elinewidth=1.0,
                linestyle="none",
                label=None if label in named else label,
            )
            named.add(label)
            points = rows[["setting", "cost", "return"]].dropna()
            for setting, *point in points.itertuples(index=False, name=None):
                axis.annotate(
                    f"{setting:g}", point, xytext=(4, 4), textcoords="offset points", fontsize=7
                )
        # Costs are 0 where a shield holds and span decades elsewhere.
        positive = own["cost"][own["cost"] > 0.0]
        least = max(float(positive.min()), 1e-3) if len(positive) else 1.0
        axis.set_xscale("symlog", linthresh=least)
        axis.set_xlim(-0.3 * least, 2.0 * max(float(own["cost_high"].max()), least))
        axis.set_xlabel("cost of a course, mean")
        axis.set_title(untyped(bare_name(env)), fontsize=10)
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("return, mean")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, print and write the table, draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--envs", nargs="+", required=True, metavar="ENV", help="ids")
    parser.add_argument("--algo", choices=algorithm_names(), default=DEFAULT, help="who learns")
    parser.add_argument(
        "--penalties", nargs="+", type=float, default=list(PENALTIES), help="fixed weights"
    )
    parser.add_argument(
        "--limits", nargs="+", type=float, default=list(LIMITS), help="costs of an episode"
    )
    parser.add_argument("--shape", default="linear", help="of the penalties, see SafetyPenalty")
    parser.add_argument(
        "--multiplier", type=float, default=1.0, help="weight with which a Lagrangian one begins"
    )
    parser.add_argument("--rate", type=float, default=0.05, help="step of its ascent, an episode")
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        metavar="TERM",
        help="reward terms that are left out in training, where a treatment has them",
    )
    add_training_arguments(parser)
    add_study_arguments(parser, seeds=3, patients=256)
    args = parser.parse_args(arguments)
    arms: list[Arm] = []

    def plan() -> list[Part]:
        parts, found = plan_parts(
            args.envs,
            seeds_of(args),
            algorithm=args.algo,
            steps=args.steps,
            lanes=args.lanes,
            patients=args.patients,
            patients_seed=args.patients_seed,
            penalties=args.penalties,
            limits=args.limits,
            shape=args.shape,
            multiplier=args.multiplier,
            rate=args.rate,
            without=args.without,
        )
        arms.extend(found)
        return parts

    with command_study(parser, args, _JOB, plan, [TABLE, FIGURE]) as (study, executor):
        table = tabulate(study.finish(executor), arms)
        study.output.write(TABLE, lambda path: write_csv_atomic(path, table.round(6)))
        study.output.write(FIGURE, lambda path: save_png(draw_trade(table), path))
    sys.stdout.write(table.to_string(index=False, float_format="{:.4g}".format) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
