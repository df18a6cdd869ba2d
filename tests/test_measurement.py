"""What a task says about the errors of its measurements, against the errors that it makes."""

from __future__ import annotations

import numpy as np
import pytest

from oncogym.envs.problem import Problem

IDS = {
    "oncogym/ChemoDosingCohort-v0": 6,
    "oncogym/GlioblastomaRadiationCohort-v0": 8,
    "oncogym/IMPTBeamWeightingCohort-v0": 3,
    "oncogym/EMT6RoFractionationCohort-v0": 2,
    "oncogym/AdaptiveTherapyCohort-v0": 3,
    "oncogym/ChemoNeutrophilsCohort-v0": 7,
}
# Spheroids of another fidelity are measured alike, and grow faster.
OPTIONS = {"oncogym/EMT6RoFractionationCohort-v0": {"fidelity": "screening"}}
LANES = {"oncogym/EMT6RoFractionationCohort-v0": 64}


def observe_both(env_id, decisions):
    """Observations ``(decisions, lanes, numbers)`` with and without errors, and deviations."""
    options = {"observation": "measurable", **OPTIONS.get(env_id, {})}
    problem = Problem.resolve(env_id, options)
    lanes = LANES.get(env_id, 400)
    rows = np.tile(problem.drawn(1, cohort="nominal").patients, (lanes, 1))
    problem = problem.with_patients(rows)
    noisy = problem.task()
    exact = problem.with_options(noisy.exact_measurement).task()
    found, active = [], np.ones(lanes, np.bool_)
    actions = np.full((lanes, *noisy.action_space.shape), 0.12)
    for decision in range(decisions + 1):
        both = []
        for task in (noisy, exact):
            if decision == 0:
                start = np.arange(lanes), rows, problem.seeds, np.zeros(lanes, np.uint64)
                both.append(task.reset(*start))
            else:
                both.append(task.step(actions, active).observation)
        found.append((*both, noisy.observation_deviation(both[1], rows)))
    return [np.array(part, np.float64) for part in zip(*found, strict=True)]


@pytest.mark.parametrize("env_id", IDS)
def test_errors_have_the_deviation_that_the_task_says(env_id):
    seen, exact, deviation = observe_both(env_id, IDS[env_id])
    error = seen - exact
    says_nothing = np.isinf(deviation)
    assert (error[deviation == 0.0] == 0.0).all()
    noisy = (deviation > 0.0) & ~says_nothing
    assert noisy.any()
    for decision, number in np.argwhere(noisy.all(axis=1)):
        scaled = error[decision, :, number] / deviation[decision, :, number]
        spread = np.sqrt(np.mean(scaled**2))
        # Three standard errors, and that exp(0.2 z) is not 1 + 0.2 z.
        assert spread == pytest.approx(1.0, abs=3.0 / np.sqrt(2.0 * len(scaled)) + 0.04)


def test_a_scan_shown_again_says_nothing():
    seen, _, deviation = observe_both("oncogym/GlioblastomaRadiationCohort-v0", 8)
    assert np.isfinite(deviation[[0, 7]][:, :, 3]).all()
    assert np.isinf(deviation[[1, 6, 8]][:, :, 3]).all()
    assert (seen[1, :, 3] == seen[6, :, 3]).all()


@pytest.mark.parametrize(
    ("env_id", "observation"),
    [
        ("oncogym/ChemoDosingCohort-v0", "full"),
        ("oncogym/GlioblastomaRadiationCohort-v0", "full"),
        ("oncogym/EMT6RoFractionationCohort-v0", "full"),
    ],
)
def test_full_observations_are_exact(env_id, observation):
    problem = Problem.resolve(env_id, {"observation": observation})
    task = problem.task(1)
    shown = np.full((1, *task.observation_space.shape), 0.3)
    rows = problem.drawn(1, cohort="nominal").patients
    assert (task.observation_deviation(shown, rows) == 0.0).all()
    assert task.sees == "full state"


@pytest.mark.slow
def test_other_keys_are_other_chance_from_then_on():
    problem = Problem.resolve("oncogym/IMPTBeamWeighting-v0").drawn(1)
    task = problem.replicated(2).task()
    keys = np.zeros(2, np.uint64)
    rows = np.tile(problem.patients, (2, 1))
    active, actions = np.ones(2, np.bool_), np.full((2, 8), 0.5)
    task.reset(np.arange(2), rows, keys, keys)
    first = task.step(actions, active).observation
    task.rekey(np.array([1]), np.array([5], np.uint64))
    second = task.step(actions, active).observation
    assert (first[0] == first[1]).all()
    # The fraction was given where the patient lay already; the next morning differs.
    assert (second[0, 1:3] != second[1, 1:3]).all()
