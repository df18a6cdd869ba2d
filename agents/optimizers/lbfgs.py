"""L-BFGS-B over SciPy: up the hill on which a plan lies, to its top."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from oncogym.agents.optimizers.base import (
    OptimizeResult,
    Progress,
    paid_generations,
    register_optimizer,
    require_no_folder,
)
from oncogym.agents.optimizers.objective import PlanObjective, as_objective
from oncogym.agents.optimizers.record import SearchRecord
from oncogym.core.checks import whole_number
from oncogym.core.files import StrPath
from oncogym.envs.therapy import Floats

# Half the distance of two plans that tell a slope, as a share of each variable's range.
_STEP = 1e-7
# A return smaller than this share of its steepest slope happens to be near zero: the slope then
# says how large returns are.
_LEAST_SHARE = 1e-2
# Sizes of returns that need no other unit: the tolerances of L-BFGS-B are made for them, and a plan
# polished from there depends on them, as its first step is as long as the slope.
_USUAL = (2.0**-6, 2.0**11)


@dataclass(frozen=True)
class LBFGSSettings:
    """Settings of L-BFGS-B.

    Args:
        iterations: Iterations at most.
        within_budget: Count the plans to start from and the last one towards the budget.

    Raises:
        ValueError: A value is out of range; the message names it and the range.
    """

    iterations: int = 200
    within_budget: bool = False

    def __post_init__(self) -> None:
        whole_number("iterations", self.iterations, 1, 10**6)
        if not isinstance(self.within_budget, bool):
            raise ValueError(f"within_budget is {self.within_budget!r}; allowed: true or false")


@register_optimizer
class LBFGS:
    """SciPy's L-BFGS-B from the best of some plans, with slopes by central differences.

    It climbs one hill: without plans to start from it begins in the middle of the space. A
    generation is the plan itself and two more for each variable.

    Args:
        settings: The settings.
    """

    name = "lbfgs"
    title = "L-BFGS-B"
    Settings = LBFGSSettings
    takes = "plan"
    resumes = False
    draws = False
    default_budget = 20_000

    def __init__(self, settings: LBFGSSettings | None = None) -> None:
        self.settings = settings or LBFGSSettings()

    def budget_of(self, problem: object, generations: int) -> int:
        """Plans to score in so many evaluations of the slope."""
        return generations * (2 * as_objective(problem).space.dimension + 1)

    def generations(self, problem: object, budget: int) -> int:
        """Evaluations of the slope that a budget pays for. Starts no work.

        Raises:
            ValueError: It does not pay for two.
        """
        each = self.budget_of(problem, 1)
        return paid_generations(budget, each, f"slopes of {each}")

    def optimize(
        self,
        problem: Any,
        budget: int,
        seed: int = 0,
        *,
        start: Floats | None = None,
        folder: StrPath | None = None,
        resume: bool = False,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> OptimizeResult:
        """Search for the best plan; see :class:`oncogym.agents.optimizers.base.Optimizer`.

        The seed changes nothing. The ``start`` plans and the last plan come on top of the budget
        unless the setting ``within_budget`` says otherwise.

        Raises:
            ValueError: The budget does not pay for two slopes, or no plan to start from has a
                finite score.
            ExecutorError: The workers cannot do it.
        """
        require_no_folder(self, folder, resume)
        objective: PlanObjective = as_objective(problem)
        most = self.generations(objective, budget)
        record = SearchRecord(objective, progress)
        plans = np.empty((0, objective.space.dimension)) if start is None else np.array(start)
        if not len(plans):
            plans = 0.5 * (objective.space.lower + objective.space.upper)[None]
        scores = objective.score(plans, executor)
        if not np.isfinite(scores).any():
            raise ValueError(f"none of the {len(plans)} plans to start from has a finite score")
        first = int(np.nanargmax(np.where(np.isfinite(scores), scores, np.nan)))
        plan, score = polish(
            objective,
            plans[first],
            float(scores[first]),
            executor,
            iterations=self.settings.iterations,
            slopes=most,
            plans=budget - len(plans) if self.settings.within_budget else None,
            report=record.report,
        )
        message = f"{len(record.history)} slopes"
        return record.result(self, plan, score, seed=seed, budget=budget, message=message)


def polish(
    problem: PlanObjective,
    plan: Floats,
    score: float,
    executor: Executor | None = None,
    *,
    iterations: int = 200,
    slopes: int = 10**6,
    plans: int | None = None,
    report: Callable[[float], None] = lambda best: None,
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
        iterations: Iterations at most.
        slopes: Evaluations of the slope before the last line search at most.
        plans: Plans to score at most, ``None`` for as many as it takes.
        report: Called after each with the best score so far.
    """
    # One is left for the last plan, which is scored again.
    ground = _Ground(problem, executor, report, math.inf if plans is None else plans - 1)
    reach = np.where(ground.width > 0.0, ground.width, 1.0)
    start = np.clip((plan - ground.lower) / reach, 0.0, 1.0)
    try:
        if not ground.measure(start):
            return plan, score
        last = minimize(
            ground.cost_and_gradient,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, 1.0)] * len(plan),
            options={"maxiter": iterations, "maxfun": slopes},
        ).x
    except _SpentError:
        if ground.highest is None:
            return plan, score
        last = ground.highest
    # Scored again: after an abandoned line search SciPy's value is not that of its point.
    polished = ground.lower + ground.width * last
    better = float(problem.score(polished, executor)[0])
    return (polished, better) if math.isfinite(better) and better > score else (plan, score)


class _SpentError(Exception):
    """No plans are left for another slope."""


class _Ground:
    """Cost and slope of plans in the unit cube, in units of the start's cost.

    Attributes:
        highest: The best point whose slope was taken, ``None`` before the first.
    """

    def __init__(
        self,
        problem: PlanObjective,
        executor: Executor | None,
        report: Callable[[float], None],
        left: float,
    ) -> None:
        self._problem = problem
        self._executor = executor
        self._report = report
        self._left = left
        self.highest: Floats | None = None
        self._best = -math.inf
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
        self._left -= len(points)
        if self._left < 0:
            raise _SpentError
        values = -self._problem.score(points, self._executor)
        if math.isfinite(values[0]) and -float(values[0]) > self._best:
            self._best, self.highest = -float(values[0]), unit.copy()
        self._report(self._best)
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
