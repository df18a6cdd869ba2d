"""The search of a controller over plans, and how its budget is divided."""

from __future__ import annotations

import numpy as np
import pytest

from oncogym.agents.mpc import MPCSettings
from oncogym.agents.patient_streams import PatientStreams
from oncogym.agents.plan_search import PlanSearch
from oncogym.envs import streams

SIZE, STRETCH = 2, np.array([0, 1, 1])


def search(patients=3, plans=8):
    draws = PatientStreams(np.arange(patients, dtype=np.uint64), 0, streams.STREAM_CONTROL)
    return PlanSearch(np.zeros((patients, 5, SIZE)), 2, STRETCH, 0.3, plans, draws)


def towards(goal):
    return lambda tried: -np.square(tried[:, :, 2:] - goal).sum(axis=(2, 3))


def improved(found, generations, *goals):
    offsets, best = np.zeros((3, 5, SIZE)), np.full(3, -np.inf)
    for goal in goals:
        best = np.full(3, -np.inf)
        found.improve(towards(goal), generations, offsets, best)
    return offsets, best


def test_finds_the_best_plan_of_each_patient_and_leaves_what_is_past():
    offsets, best = improved(search(), 60, 0.25)
    np.testing.assert_allclose(offsets[:, 2:], 0.25, atol=1e-3)
    assert not offsets[:, :2].any()
    np.testing.assert_allclose(best, towards(0.25)(offsets[:, None])[:, 0])
    # Decisions of one stretch move together.
    np.testing.assert_array_equal(offsets[:, 3], offsets[:, 4])


def test_a_judge_may_take_over_from_another():
    """What was found for the first judge is where the second begins."""
    _, anew = improved(search(), 4, 0.27)
    _, taken_over = improved(search(), 4, 0.25, 0.27)
    _, long = improved(search(), 4, 0.25, 0.25, 0.25, 0.27)
    assert (taken_over > anew).all()
    assert (long > taken_over).all()


def test_patients_do_not_depend_on_each_other():
    alone = search(1)
    offsets, best = np.zeros((1, 5, SIZE)), np.full(1, -np.inf)
    alone.improve(towards(0.1), 5, offsets, best)
    together, _ = improved(search(), 5, 0.1)
    np.testing.assert_array_equal(offsets[0], together[0])


@pytest.mark.parametrize("courses", [1, 4, 16])
@pytest.mark.parametrize("budget", [96, 192, 1024])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_search_keeps_its_budget(courses, budget, share):
    settings = MPCSettings(budget=budget, population=6, mean_share=share)
    plans, early, generations = settings.generations(courses)
    assert plans >= 6
    assert generations >= 1
    most = share * budget if courses > 1 else 0.0
    assert early * plans <= most < (early + 1) * plans
    # One generation is judged by all scenarios, whatever it takes.
    assert plans * generations * courses <= max(budget - early * plans, plans * courses)
