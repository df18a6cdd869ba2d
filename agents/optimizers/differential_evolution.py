"""Differential evolution over SciPy: whole populations are scored in one call."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import differential_evolution

from oncogym.agents.optimizers.base import (
    OptimizeResult,
    Progress,
    paid_generations,
    register_optimizer,
    require_no_folder,
)
from oncogym.agents.optimizers.lbfgs import polish
from oncogym.agents.optimizers.objective import PlanObjective, as_objective
from oncogym.agents.optimizers.record import SearchRecord
from oncogym.core.checks import check_choice, check_option, whole_number
from oncogym.core.files import StrPath
from oncogym.envs.therapy import Floats

# The polish gets one in so many plans of a budget that includes it.
_POLISHED_SHARE = 4
_INITIAL = ("latinhypercube", "sobol", "halton", "random")


class _ModelError(Exception):
    """Carries an error of the model through SciPy, which would call it one of the caller's."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class DifferentialEvolutionSettings:
    """Settings of differential evolution, by default those of the chemotherapy source.

    Args:
        popsize: Population as a multiple of the dimension.
        mutation: Range of the dithered differential weight, both within 0 to 2.
        recombination: Crossover probability.
        init: How the first population is spread: ``"latinhypercube"``, ``"sobol"``, ``"halton"``
            or ``"random"``.
        tol: Relative spread of scores at which the search stops early; 0 uses the whole budget.
        polish: Finish with L-BFGS-B from the best plan (gradient by central differences, all of
            them in one batched call); its plans come on top of the budget.
        within_budget: Leave a quarter of the budget to the polish instead, so that all plans
            together are no more than the budget.

    Raises:
        ValueError: A value is out of range; the message names it and the range.
    """

    popsize: int = 12
    mutation: tuple[float, float] = (0.5, 1.2)
    recombination: float = 0.9
    init: str = "latinhypercube"
    tol: float = 0.0
    polish: bool = True
    within_budget: bool = False

    def __post_init__(self) -> None:
        whole_number("popsize", self.popsize, 1, 10**6)
        if not isinstance(self.mutation, (list, tuple)) or len(self.mutation) != 2:
            raise ValueError(f"mutation is {self.mutation!r}; allowed: two numbers from 0 to 2")
        pair = tuple(check_option("mutation", weight, 0.0, 2.0) for weight in self.mutation)
        object.__setattr__(self, "mutation", pair)
        check_option("recombination", self.recombination, 0.0, 1.0)
        check_choice("init", self.init, _INITIAL)
        check_option("tol", self.tol, 0.0, 1e6)
        for name in ("polish", "within_budget"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed: true or false")


@register_optimizer
class DifferentialEvolution:
    """SciPy's differential evolution.

    A plan whose score is not finite, infinite ones included, counts as worse than every other.

    Args:
        settings: The settings.
    """

    name = "de"
    title = "Differential evolution"
    Settings = DifferentialEvolutionSettings
    takes = "plan"
    resumes = False
    draws = True
    default_budget = 50_000

    def __init__(self, settings: DifferentialEvolutionSettings | None = None) -> None:
        self.settings = settings or DifferentialEvolutionSettings()

    def population(self, problem: object) -> int:
        """Plans of a generation."""
        return self.settings.popsize * as_objective(problem).space.dimension

    def budget_of(self, problem: object, generations: int) -> int:
        """Plans to score in so many generations, the initial one included."""
        return self.population(problem) * generations

    def generations(self, problem: object, budget: int) -> int:
        """Generations that a budget pays for, the initial one included. Starts no work.

        Raises:
            ValueError: The budget does not pay for two.
        """
        population = self.population(problem)
        popsize = self.settings.popsize
        what = f"generations of popsize {popsize} x dimension {population // popsize}"
        generations = paid_generations(budget, population, what)
        if not (self.settings.polish and self.settings.within_budget):
            return generations
        kept = min(budget // _POLISHED_SHARE, budget - 2 * population)
        return (budget - kept) // population

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

        ``start`` plans are in the first population. The polish comes on top of the budget unless
        the setting ``within_budget`` says otherwise.

        Raises:
            ValueError: The budget does not pay for two generations, or no plan of the first
                population has a finite score.
            ExecutorError: The workers cannot do it.
        """
        require_no_folder(self, folder, resume)
        objective: PlanObjective = as_objective(problem)
        settings = self.settings
        generations = self.generations(objective, budget)
        population = self.population(objective)
        record = SearchRecord(objective, progress)
        failed = [0, 0]  # plans without a finite score, populations so far
        scored = 0

        def cost(columns: Floats) -> Floats:
            nonlocal scored
            scored += columns.shape[1]
            plans = np.clip(columns.T, objective.space.lower, objective.space.upper)
            try:
                scores = objective.score(plans, executor)
            except (TypeError, ValueError) as error:
                raise _ModelError(error) from error
            finite = np.isfinite(scores)
            failed[0] += int(np.count_nonzero(~finite))
            failed[1] += 1
            if failed[1] == 1 and not finite.any():
                raise _ModelError(
                    ValueError(
                        f"none of the {len(scores)} plans of the first population has a finite "
                        f"score ({int(np.isnan(scores).sum())} are not a number); there is nothing "
                        "to improve"
                    )
                )
            if failed[1] == 1:
                record.report(float(scores[finite].max()))
            return np.where(finite, -scores, np.inf)

        def after(intermediate_result: Any) -> None:
            record.report(-float(intermediate_result.fun))

        try:
            result = differential_evolution(
                cost,
                list(zip(objective.space.lower, objective.space.upper, strict=True)),
                popsize=settings.popsize,
                mutation=settings.mutation,
                recombination=settings.recombination,
                init=self._initial(objective, population, seed, start),
                maxiter=generations - 1,
                tol=settings.tol,
                atol=0.0,
                polish=False,
                vectorized=True,
                updating="deferred",
                rng=np.random.default_rng(seed),
                callback=after,
            )
        except _ModelError as carrier:
            raise carrier.error from None
        plan, score, message = np.asarray(result.x), -float(result.fun), str(result.message)
        if failed[0]:
            message += f" {failed[0]} plans had no finite score."
        if settings.polish:
            left = budget - scored if settings.within_budget else None
            plan, score = polish(objective, plan, score, executor, plans=left)
        return record.result(self, plan, score, seed=seed, budget=budget, message=message)

    def _initial(
        self, objective: PlanObjective, population: int, seed: int, start: Floats | None
    ) -> Any:
        if start is None or not len(start):
            return self.settings.init
        from scipy.stats import qmc

        space = objective.space
        spread = qmc.LatinHypercube(space.dimension, rng=seed).random(population)
        first = space.lower + spread * (space.upper - space.lower)
        given = np.asarray(start, np.float64)[:population]
        first[: len(given)] = given
        return first
