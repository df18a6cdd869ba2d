"""Fits the range error of a fraction to its dose statistics: coefficients of a clinical rule.

``python -m oncogym.evaluation.reproduce.impt.range_regression`` prints them for
``oncogym.envs.impt_beam_weighting.protocols.RANGE_REGRESSION``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.impt_beam_weighting.protocols import readings
from oncogym.envs.impt_beam_weighting.task import IMPTTask
from oncogym.envs.problem import Problem

ENV_ID = "oncogym/IMPTBeamWeightingCohort-v0"
#: Standard deviation of the random range corrections under which fractions are given.
SPREAD = 0.02
PATIENTS = 256


def fractions(
    cohort: str = "population", patients: int = PATIENTS, seed: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dose statistics ``(fractions, numbers)`` of many fractions and their range errors.

    Every patient is image-guided; in every other fraction the range is corrected at random.

    Args:
        cohort: Cohort of the patients.
        patients: How many.
        seed: Seed of the cohort and of the corrections.
    """
    problem = Problem.resolve(ENV_ID, {"observation": "full"}).drawn(patients, seed, cohort)
    task = problem.task(patients)
    assert isinstance(task, IMPTTask)
    course = task.course
    rng = np.random.default_rng(seed)
    observation = task.reset(
        np.arange(patients), problem.patients, problem.seeds, np.zeros(patients, np.uint64)
    )
    rows, errors = [], []
    for number in range(task.num_decisions):
        depth = rng.normal(0.0, SPREAD, patients) if number % 2 else np.zeros(patients)
        couch = observation[:, 1 : 1 + course.shift_axes]
        actions = course.action("robust", couch=couch, depth=depth, batch=patients)
        applied = course.to_physical(actions)["range"]
        observation = task.step(actions, np.ones(patients, np.bool_)).observation
        seen = observation.astype(np.float64)
        rows.append(readings(seen, course.shift_axes, len(course.organs)))
        errors.append((1.0 + seen[:, -1] / 10.0) / (1.0 + applied) - 1.0)
    return np.concatenate(rows), np.concatenate(errors)


def fit(rows: NDArray[np.float64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares coefficients, the constant first."""
    table = np.concatenate([np.ones((len(rows), 1)), rows], axis=1)
    return np.linalg.lstsq(table, errors, rcond=None)[0]


if __name__ == "__main__":
    print(", ".join(f"{value:.3f}" for value in fit(*fractions())))
