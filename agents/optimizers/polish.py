"""The last steps to the top of the hill on which a search has ended."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize

from oncogym.agents.optimizers.problem import PlanProblem
from oncogym.envs.therapy import Floats
from oncogym.parallel.base import Executor

# Half the distance of two plans that tell a slope, as a share of each variable's range.
_STEP = 1e-7
# A return smaller than this share of its steepest slope happens to be near zero: the slope then
# says how large returns are.
_LEAST_SHARE = 1e-2
# Sizes of returns that need no other unit: the tolerances of L-BFGS-B are made for them, and a plan
# polished from there depends on them, as its first step is as long as the slope.
_USUAL = (2.0**-6, 2.0**11)


def polish(
    problem: PlanProblem, plan: Floats, score: float, executor: Executor | None = None
) -> tuple[Floats, float]:
    """Improve a plan with L-BFGS-B; returns the better of the old and the new one.

    Slopes are central differences, all of them in one batched call. Returns far from 1 are divided
    by their size, a power of two, so that steps and tolerances are relative to it. Where the model
    has no finite score the search turns back.

    Args:
        problem: What to maximise.
        plan: Where to begin ``(dimension,)``.
        score: Its score.
        executor: Who simulates.
    """
    ground = _Ground(problem, executor)
    reach = np.where(ground.width > 0.0, ground.width, 1.0)
    start = np.clip((plan - ground.lower) / reach, 0.0, 1.0)
    if not ground.measure(start):
        return plan, score
    result = minimize(
        ground.cost_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * len(plan),
        options={"maxiter": 200},
    )
    # Scored again: after an abandoned line search SciPy's value is not that of its point.
    polished = ground.lower + ground.width * result.x
    better = float(problem.score(polished, executor)[0])
    return (polished, better) if math.isfinite(better) and better > score else (plan, score)


class _Ground:
    """Cost and slope of plans in the unit cube, in units of the start's cost."""

    def __init__(self, problem: PlanProblem, executor: Executor | None) -> None:
        self._problem = problem
        self._executor = executor
        self.lower = problem.space.lower
        self.width = problem.space.upper - problem.space.lower
        self._size = 1.0
        self._highest = 0.0
        self._at_start: tuple[Floats, float, Floats] | None = None

    def measure(self, start: Floats) -> bool:
        """Take the size of costs from the start; whether there is anything to improve."""
        cost, gradient = self._evaluate(start)
        largest = max(abs(cost), _LEAST_SHARE * float(np.abs(gradient).max(initial=0.0)))
        if not math.isfinite(cost) or largest == 0.0:
            return False
        if not _USUAL[0] <= largest < _USUAL[1]:
            self._size = 2.0 ** (math.frexp(largest)[1] - 1)
        self._at_start = (start, cost, gradient)
        return True

    def cost_and_gradient(self, unit: Floats) -> tuple[float, Floats]:
        """Cost and slope at a point of the unit cube, for SciPy."""
        if self._at_start is not None and np.array_equal(unit, self._at_start[0]):
            _, cost, gradient = self._at_start
        else:
            cost, gradient = self._evaluate(unit)
        cost, gradient = cost / self._size, gradient / self._size
        if not math.isfinite(cost):
            # A wall higher than all ground so far: the line search takes a shorter step.
            return self._highest + 1.0 + abs(self._highest), np.zeros(len(unit))
        self._highest = max(self._highest, cost)
        return cost, gradient

    def _evaluate(self, unit: Floats) -> tuple[float, Floats]:
        # Central differences, one-sided at a bound: all points go through the model together.
        up = np.minimum(unit + _STEP * np.eye(len(unit)), 1.0)
        down = np.maximum(unit - _STEP * np.eye(len(unit)), 0.0)
        points = self.lower + self.width * np.vstack([unit[None], up, down])
        values = -self._problem.score(points, self._executor)
        size = len(unit)
        higher, lower = values[1 : size + 1], values[size + 1 :]
        run = np.diagonal(up) - np.diagonal(down)
        if not np.isfinite(values).all():
            higher, lower, run = _one_sided(values, np.diagonal(up), np.diagonal(down), unit)
        return float(values[0]), (higher - lower) / run


def _one_sided(
    values: Floats, up: Floats, down: Floats, unit: Floats
) -> tuple[Floats, Floats, Floats]:
    """Costs and distances of differences from the point itself where a neighbour has no cost."""
    size = len(unit)
    higher, lower = values[1 : size + 1].copy(), values[size + 1 :].copy()
    above, below = up.copy(), down.copy()
    for side, place in ((higher, above), (lower, below)):
        lost = ~np.isfinite(side)
        side[lost], place[lost] = values[0], unit[lost]
    flat = (above == below) | ~np.isfinite(values[0])
    higher[flat] = lower[flat] = 0.0
    return higher, lower, np.where(flat, 1.0, above - below)
