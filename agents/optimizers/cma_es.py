"""Covariance matrix adaptation over the package ``cmaes``: whole populations in one call.

Hansen and Ostermeier, "Completely derandomized self-adaptation in evolution strategies",
Evolutionary Computation 9 (2001) 159-195; restarts with twice the population after Auger and
Hansen, "A restart CMA evolution strategy with increasing population size", CEC 2005.
"""

from __future__ import annotations

import math
import warnings
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from oncogym.agents.optimizers.base import (
    OptimizeResult,
    Progress,
    paid_generations,
    register_optimizer,
    require_no_folder,
)
from oncogym.agents.optimizers.objective import PlanObjective, as_objective
from oncogym.agents.optimizers.record import SearchRecord
from oncogym.core.checks import check_option, whole_number
from oncogym.core.files import StrPath
from oncogym.envs.therapy import Floats


@dataclass(frozen=True)
class CMASettings:
    """Settings of CMA-ES.

    Args:
        population: Plans of a generation; 0 for ``4 + 3 ln(dimension)``, at least 16, so that
            lanes are worth their while.
        sigma: First standard deviation, as a share of each variable's range.
        restarts: Whether a search that has converged begins anew, with twice the population, while
            its budget lasts.

    Raises:
        ValueError: A value is out of range; the message names it and the range.
    """

    population: int = 0
    sigma: float = 0.2
    restarts: bool = True

    def __post_init__(self) -> None:
        if whole_number("population", self.population, 0, 10**6) in (1, 2, 3):
            raise ValueError(f"population is {self.population}; allowed: 0, or at least 4")
        check_option("sigma", self.sigma, 1e-9, 1.0)
        if not isinstance(self.restarts, bool):
            raise ValueError(f"restarts is {self.restarts!r}; allowed: true or false")


@register_optimizer
class CMAES:
    """CMA-ES in the unit cube of the plan space.

    It begins at the best of the plans to start from, or in the middle of the space. Plans without a
    finite score rank last.

    Args:
        settings: The settings.
    """

    name = "cma"
    title = "CMA-ES"
    Settings = CMASettings
    takes = "plan"
    resumes = False
    draws = True
    default_budget = 50_000

    def __init__(self, settings: CMASettings | None = None) -> None:
        self.settings = settings or CMASettings()

    def population(self, problem: object) -> int:
        """Plans of a generation before the first restart."""
        dimension = as_objective(problem).space.dimension
        return self.settings.population or max(16, 4 + int(3 * math.log(dimension)))

    def budget_of(self, problem: object, generations: int) -> int:
        """Plans to score in so many generations, the initial one included."""
        return generations * self.population(problem)

    def generations(self, problem: object, budget: int) -> int:
        """Generations that a budget pays for before the first restart. Starts no work.

        Raises:
            ValueError: It does not pay for two.
        """
        return paid_generations(budget, self.population(problem))

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

        The ``start`` plans count towards the budget.

        Raises:
            ValueError: The budget does not pay for two generations, or no plan of the first
                generation has a finite score.
            ExecutorError: The workers cannot do it.
        """
        require_no_folder(self, folder, resume)
        objective: PlanObjective = as_objective(problem)
        self.generations(objective, budget)
        record = SearchRecord(objective, progress)
        search = _Search(objective, budget, executor, record)
        mean = search.begin(start)
        population, number = self.population(objective), 0
        while search.left >= population:
            rng = np.random.SeedSequence([seed, number])
            search.climb(mean, self.settings.sigma, population, int(rng.generate_state(1)[0]))
            number += 1
            if not self.settings.restarts:
                break
            population *= 2
        score, plan = search.best
        message = f"{number} climb(s), {len(record.history)} generations"
        return record.result(self, plan, score, seed=seed, budget=budget, message=message)


class _Search:
    """What is left of a budget, and the best plan so far."""

    def __init__(
        self,
        objective: PlanObjective,
        budget: int,
        executor: Executor | None,
        record: SearchRecord,
    ) -> None:
        self._objective = objective
        self._executor = executor
        self._record = record
        self._lower = objective.space.lower
        self._width = objective.space.upper - objective.space.lower
        self.best = (-math.inf, np.empty(0))
        self.left = budget

    def begin(self, start: Floats | None) -> Floats:
        """Where the first distribution has its mean, in the unit cube."""
        if start is None or not len(start):
            return np.full(len(self._lower), 0.5)
        reach = np.where(self._width > 0.0, self._width, 1.0)
        units = np.clip((np.asarray(start, np.float64) - self._lower) / reach, 0.0, 1.0)
        self._scores(units[: self.left])
        return units[0] if not len(self.best[1]) else (self.best[1] - self._lower) / reach

    def climb(self, mean: Floats, sigma: float, population: int, seed: int) -> None:
        """Generations until the distribution has converged or the budget is spent."""
        from cmaes import CMA

        with warnings.catch_warnings():
            # The package divides by what a flat stretch of the scores makes zero.
            warnings.simplefilter("ignore", RuntimeWarning)
            dimension = len(mean)
            strategy = CMA(
                mean=np.clip(mean, 1e-6, 1.0 - 1e-6),
                sigma=sigma,
                bounds=np.tile([0.0, 1.0], (dimension, 1)),
                seed=seed,
                population_size=population,
            )
            while self.left >= population and not strategy.should_stop():
                units = np.array([strategy.ask() for _ in range(population)])
                scores = self._scores(units)
                finite = np.isfinite(scores)
                if not len(self.best[1]):
                    raise ValueError(
                        f"none of the {len(scores)} plans of the first generation has a finite "
                        "score; there is nothing to improve"
                    )
                worst = -scores[finite].min() if finite.any() else 0.0
                costs = np.where(finite, -scores, worst + 1.0 + abs(worst))
                strategy.tell(list(zip(units, costs, strict=True)))
                self._record.report(self.best[0])

    def _scores(self, units: Floats) -> Floats:
        plans = self._lower + self._width * units
        scores = self._objective.score(plans, self._executor)
        self.left -= len(plans)
        ranked = np.where(np.isfinite(scores), scores, -math.inf)
        best = int(np.argmax(ranked))
        if ranked[best] > self.best[0]:
            self.best = (float(ranked[best]), plans[best])
        return scores
