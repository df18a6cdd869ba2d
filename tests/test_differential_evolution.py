"""Differential evolution and its polish: scores that are not finite, and returns in other units."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from oncogym.agents.optimizers import PlanObjective, find_optimizer
from oncogym.agents.optimizers.lbfgs import polish
from oncogym.agents.optimizers.objective import protocol_plans
from oncogym.envs.problem import Problem
from oncogym.envs.registry import find_variant


class Hill:
    """A problem whose return is ``top(plans)``."""

    def __init__(self, top, dimension=3):
        self.space = SimpleNamespace(
            dimension=dimension, lower=np.zeros(dimension), upper=np.ones(dimension)
        )
        self.evaluations = 0
        self._top = top
        self.lowest = np.inf

    def actions(self, plan):
        return plan

    def score(self, plans, executor=None):
        plans = np.atleast_2d(plans)
        assert np.isfinite(plans).all()
        self.evaluations += len(plans)
        return np.asarray(self._top(plans), np.float64)


def paraboloid(plans):
    return 2.0 - ((plans - 0.3) ** 2).sum(axis=1)


def steep(plans):
    """A narrow curved ridge, on which tolerances decide how far a search gets."""
    x, y = 4.0 * plans[:, 0] - 2.0, 4.0 * plans[:, 1] - 1.0
    return 1.5 - 0.01 * ((1.0 - x) ** 2 + 100.0 * (y - x * x) ** 2)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("polished", [False, True])
def test_plans_without_a_finite_score_never_win(wrong, polished):
    hill = Hill(lambda plans: np.where(plans[:, 0] > 0.5, wrong, paraboloid(plans)))
    found = find_optimizer("de", {"polish": polished}).optimize(hill, 3000, seed=1)
    assert found.plan == pytest.approx(np.full(3, 0.3), abs=2e-3)
    assert found.score == pytest.approx(2.0, abs=1e-4)
    assert np.isfinite(found.history).all()
    assert np.all(np.diff(found.history) >= 0.0)
    assert "plans had no finite score" in found.message


def test_the_optimum_may_lie_at_the_edge_of_what_can_be_scored():
    hill = Hill(lambda plans: np.where(plans[:, 0] > 0.25, np.nan, paraboloid(plans)))
    found = find_optimizer("de").optimize(hill, 3000, seed=1)
    assert found.plan == pytest.approx([0.25, 0.3, 0.3], abs=2e-3)
    assert found.score == pytest.approx(2.0 - 0.05**2, abs=1e-4)


def test_no_finite_score_at_all_is_an_error_that_counts_them():
    hill = Hill(lambda plans: np.where(plans[:, 0] > 0.5, np.nan, -np.inf))
    with pytest.raises(ValueError, match=r"none of the 36 plans .* \(\d+ are not a number\)"):
        find_optimizer("de").optimize(hill, 3000)
    assert hill.evaluations == 36


def test_an_error_of_the_model_keeps_its_name():
    def refuse(plans):
        raise ValueError("patient 3 has no tumour")

    with pytest.raises(ValueError, match="patient 3 has no tumour"):
        find_optimizer("de").optimize(Hill(refuse), 3000)


def test_a_finite_problem_says_nothing_of_failures():
    found = find_optimizer("de", {"polish": False}).optimize(Hill(paraboloid), 720, seed=4)
    assert "finite" not in found.message


@pytest.mark.parametrize("exponent", [-40, -20, 20, 40])
def test_polish_does_not_depend_on_the_unit_of_the_return(exponent):
    """Ridges need many steps: absolute tolerances stop early, or never."""
    start = np.array([0.2, 0.6])
    usual, found = Hill(steep, 2), Hill(lambda plans: 2.0**exponent * steep(plans), 2)
    plan, score = polish(usual, start, float(usual.score(start)[0]))
    assert plan == pytest.approx([0.75, 0.5], abs=1e-3)
    other, scaled = polish(found, start, float(found.score(start)[0]))
    assert other == pytest.approx(plan, abs=1e-3)
    assert scaled / 2.0**exponent == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_polish_of_a_course_in_other_units_is_the_same_plan(factor):
    treatment, _ = find_variant("oncogym/ChemoDosing-v0")
    weights = treatment.task(1).reward_weights
    row = treatment.cohort("nominal").patients(1)

    def finished(scale):
        options = {"reward_weights": {name: scale * value for name, value in weights.items()}}
        problem = PlanObjective(Problem.of(treatment, options, patients=row))
        start = np.full(problem.space.dimension, 0.05)
        return polish(problem, start, float(problem.score(start)[0]))

    (plan, score), (other, scaled) = finished(1.0), finished(factor)
    assert scaled / factor == pytest.approx(score, abs=1e-4)
    assert score > 13.88
    assert np.abs(plan - other).max() < 0.02


def test_polish_of_usual_returns_is_that_of_version_0():
    """Bits of the committed chemotherapy plan: returns near 1 are searched in their own unit."""
    nominal = Problem.resolve("oncogym/ChemoDosing-v0").drawn(1)
    problem = PlanObjective(nominal)
    start = protocol_plans(nominal)[0]
    _, score = polish(problem, start, float(problem.score(start)[0]))
    assert score == pytest.approx(13.891142235258263, abs=1e-9)


def test_polish_begins_nowhere_without_a_score():
    hill = Hill(lambda plans: np.full(len(plans), np.nan))
    plan = np.full(3, 0.4)
    assert polish(hill, plan, 0.0) == (pytest.approx(plan), 0.0)
    flat = Hill(lambda plans: np.zeros(len(plans)))
    assert polish(flat, plan, 0.0) == (pytest.approx(plan), 0.0)


def test_polish_turns_back_from_what_has_no_score():
    hill = Hill(lambda plans: np.where(plans[:, 1] > 0.25, np.nan, paraboloid(plans)))
    start = np.array([0.9, 0.1, 0.9])
    plan, score = polish(hill, start, float(hill.score(start)[0]))
    # A wall is no slope that could be followed, but what was gained before it is kept.
    assert score == float(hill.score(plan)[0])
    assert 1.9 < score <= 2.0 - 0.05**2
    assert plan[1] <= 0.25


def test_the_genetic_algorithm_refuses_what_it_cannot_rank():
    class Broken(PlanObjective):
        def score_actions(self, actions, draw=0, executor=None):
            scores = actions.sum(axis=(1, 2))
            scores[-1] = np.inf
            return scores

    emt6ro = Problem.resolve("oncogym/EMT6RoFractionation-v0", {"fidelity": "screening"})
    search = find_optimizer("ga", {"population": 8, "parents": 4, "elites": 2})
    broken = Broken(emt6ro.drawn(1))
    with pytest.raises(ValueError, match="scores a schedule as inf"):
        search.optimize(broken, 16)
