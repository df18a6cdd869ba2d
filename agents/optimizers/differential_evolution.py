"""Differential evolution over SciPy: whole populations are scored in one call."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from scipy.optimize import differential_evolution

from oncogym.agents.optimizers.polish import polish
from oncogym.agents.optimizers.problem import OptimizeResult, PlanProblem, Progress
from oncogym.envs.therapy import Floats
from oncogym.parallel.base import Executor


class _ModelError(Exception):
    """Carries an error of the model through SciPy, which would call it one of the caller's."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class DifferentialEvolution:
    """SciPy's differential evolution with the settings of the chemotherapy source.

    A plan whose score is not finite, infinite ones included, counts as worse than every other.

    Args:
        popsize: Population as a multiple of the dimension.
        mutation: Range of the dithered differential weight.
        recombination: Crossover probability.
        init: How the first population is spread.
        tol: Relative spread of scores at which the search stops early; 0 uses the whole budget.
        polish: Finish with L-BFGS-B from the best plan (gradient by central differences, all of
            them in one batched call).
        seeded_plans: Plans ``(k, dimension)`` put into the first population, for example clinical
            protocols.
    """

    name = "de"
    title = "Differential evolution"
    default_budget = 50_000

    def __init__(
        self,
        *,
        popsize: int = 12,
        mutation: tuple[float, float] = (0.5, 1.2),
        recombination: float = 0.9,
        init: str = "latinhypercube",
        tol: float = 0.0,
        polish: bool = True,
        seeded_plans: Floats | None = None,
    ) -> None:
        self.popsize = popsize
        self.mutation = mutation
        self.recombination = recombination
        self.init = init
        self.tol = tol
        self.polish = polish
        self.seeded_plans = seeded_plans

    def generations(self, problem: PlanProblem, budget: int) -> int:
        """Generations after the first that a budget pays for. Starts no work.

        Raises:
            ValueError: The budget does not pay for one.
        """
        population = self.popsize * problem.space.dimension
        generations = budget // population - 1
        if generations < 1:
            raise ValueError(
                f"budget is {budget} plans; allowed: at least {2 * population}, two generations of "
                f"popsize {self.popsize} x dimension {problem.space.dimension}"
            )
        return generations

    def optimize(
        self,
        problem: PlanProblem,
        budget: int,
        seed: int = 0,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> OptimizeResult:
        """Search for the best plan.

        Args:
            problem: What to maximise.
            budget: Plans to score in the search (the polish comes on top).
            seed: Seed of the search.
            progress: Called after each generation.
            executor: Who simulates; by default this process. The result does not depend on it.

        Raises:
            ValueError: The budget does not pay for one generation, or no plan of the first
                population has a finite score.
            ExecutorError: The workers cannot do it.
        """
        generations = self.generations(problem, budget)
        population = self.popsize * problem.space.dimension
        started = time.perf_counter()
        before = problem.evaluations
        history: list[float] = []
        failed = [0, 0]  # plans without a finite score, populations so far

        def cost(columns: Floats) -> Floats:
            plans = np.clip(columns.T, problem.space.lower, problem.space.upper)
            try:
                scores = problem.score(plans, executor)
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
            return np.where(finite, -scores, np.inf)

        def after(intermediate_result: Any) -> None:
            history.append(-float(intermediate_result.fun))
            if progress is not None:
                progress(len(history), history[-1], problem.evaluations - before)

        try:
            result = differential_evolution(
                cost,
                list(zip(problem.space.lower, problem.space.upper, strict=True)),
                popsize=self.popsize,
                mutation=self.mutation,
                recombination=self.recombination,
                init=self._initial(problem, population, seed),
                maxiter=generations,
                tol=self.tol,
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
        if self.polish:
            plan, score = polish(problem, plan, score, executor)
        return OptimizeResult(
            plan=plan,
            actions=problem.actions(plan),
            score=score,
            history=history,
            evaluations=problem.evaluations - before,
            seconds=time.perf_counter() - started,
            method=self.name,
            seed=seed,
            message=message,
            settings={
                "popsize": self.popsize,
                "mutation": list(self.mutation),
                "recombination": self.recombination,
                "init": self.init,
                "polish": self.polish,
                "budget": budget,
            },
        )

    def _initial(self, problem: PlanProblem, population: int, seed: int) -> Any:
        if self.seeded_plans is None or not len(self.seeded_plans):
            return self.init
        from scipy.stats import qmc

        spread = qmc.LatinHypercube(problem.space.dimension, rng=seed).random(population)
        first = problem.space.lower + spread * (problem.space.upper - problem.space.lower)
        given = np.asarray(self.seeded_plans, np.float64)[:population]
        first[: len(given)] = given
        return first
