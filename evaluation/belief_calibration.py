"""Is a belief right about itself? Ranks of the truth among what it holds possible.

``python -m oncogym.evaluation.belief_calibration ENV --out FILE`` treats patients of a cohort by a
clinical schedule, infers their parameters from what is measured, and writes for each patient and
parameter at which share of the belief the truth lies. In a calibrated belief these shares are
uniform (Talts et al., "Validating Bayesian inference algorithms with simulation-based
calibration", arXiv:1804.06788).
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import pandas as pd
from scipy.stats import chisquare

from oncogym.agents.belief import Belief, BeliefSettings
from oncogym.agents.clinical import clinical_agent
from oncogym.agents.plan import PlanAgent
from oncogym.core.files import write_csv_atomic
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats


def calibrate(
    problem: Problem, actions: Floats, settings: BeliefSettings | None = None
) -> pd.DataFrame:
    """Treat the patients of a problem, and compare what is inferred of them with the truth.

    Args:
        problem: Patients of a cohort's law.
        actions: What is given to everybody ``(decisions, action size)``.
        settings: Settings of the belief.

    A patient whose treatment ends early is judged by what was seen until then.

    Returns:
        One row for each patient and parameter that varies: ``patient``, ``field``, ``truth``,
        ``rank`` (share of the belief below the truth), ``mean`` and ``deviation`` of the belief,
        ``prior_deviation`` of the patients.
    """
    count = len(problem.patients)
    task, belief = problem.task(), Belief(problem, settings)
    active = np.ones(count, np.bool_)
    everybody = np.arange(count)
    start = everybody, problem.patients, problem.seeds, np.zeros(count, np.uint64)
    belief.begin(task.reset(*start))
    for action in actions:
        given = np.broadcast_to(action, (count, *action.shape))
        result = task.step(np.array(given).reshape(count, *task.action_space.shape), active)
        belief.over = ~active
        belief.update(given, result.observation)
        active &= ~(result.terminated | result.truncated)
    fields = problem.treatment.patient.FIELDS
    tables: list[pd.DataFrame] = []
    for field in belief.varied:
        truth, held = problem.patients[:, field], belief.patients[:, :, field]
        mean = (belief.weights * held).sum(axis=1)
        deviation = np.sqrt((belief.weights * np.square(held - mean[:, None])).sum(axis=1))
        below = belief.weights * ((held < truth[:, None]) + 0.5 * (held == truth[:, None]))
        tables.append(
            pd.DataFrame(
                {
                    "patient": everybody,
                    "field": fields[field],
                    "truth": truth,
                    "rank": below.sum(axis=1),
                    "mean": mean,
                    "deviation": deviation,
                    "prior_deviation": float(truth.std()),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def judge(table: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """One row a parameter: is its rank uniform, and how much was learned?

    Returns:
        ``field``, ``patients``, ``p_value`` of the chi-square test of ``bins`` equal bins,
        ``covered_80`` (share of patients whose truth lies in the middle 80 % of the belief), and
        ``narrowed``, the mean deviation of the belief relative to that of the patients.
    """
    rows = []
    for field, part in table.groupby("field", sort=False):
        counts, _ = np.histogram(part["rank"], bins, (0.0, 1.0))
        rows.append(
            {
                "field": field,
                "patients": len(part),
                "p_value": float(chisquare(counts).pvalue),
                "covered_80": float(part["rank"].between(0.1, 0.9).mean()),
                "narrowed": float((part["deviation"] / part["prior_deviation"]).mean()),
            }
        )
    return pd.DataFrame(rows)


def careful_settings(args: argparse.Namespace) -> BeliefSettings:
    """Settings of a calibrated belief, by the arguments ``particles``, ``moves`` and ``seed``."""
    return BeliefSettings(
        particles=args.particles, moves=args.moves, least_share=0.5, stages=6, seed=args.seed
    )


def measured_patients(env_id: str, count: int) -> Problem:
    """The first held-out patients of an environment, seen as a clinic sees them."""
    problem = Problem.resolve(env_id, {"observation": "measurable"}, cohort="held_out")
    return problem.drawn(count)


def schedule_of(problem: Problem, protocol: str) -> Floats:
    """Actions ``(decisions, action size)`` of a clinical schedule.

    Raises:
        ValueError: It is a rule.
    """
    agent = clinical_agent(problem.treatment, problem.task(1), protocol)
    if not isinstance(agent, PlanAgent):
        raise ValueError(f"{protocol} is a rule; allowed: a schedule")
    return agent.actions


def main(arguments: list[str] | None = None) -> int:
    """Run the calibration that the documentation reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("env", help="id of an environment")
    parser.add_argument("--protocol", default="daily")
    parser.add_argument("--patients", type=int, default=500)
    parser.add_argument("--decisions", type=int, default=45)
    parser.add_argument("--particles", type=int, default=256)
    parser.add_argument("--moves", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, help="CSV file of ranks")
    args = parser.parse_args(arguments)
    problem = measured_patients(args.env, args.patients)
    settings = careful_settings(args)
    try:
        actions = schedule_of(problem, args.protocol)[: args.decisions]
    except ValueError as error:
        parser.error(str(error))
    parts = [slice(at, at + 50) for at in range(0, args.patients, 50)]
    tables = []
    for part in parts:
        found = calibrate(problem.part(part), actions, settings)
        tables.append(found.assign(patient=found["patient"] + part.start))
    table = pd.concat(tables, ignore_index=True)
    write_csv_atomic(args.out, table.round(6))
    sys.stdout.write(judge(table).to_string(index=False) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
