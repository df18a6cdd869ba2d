"""Random search of open-loop plans: an optimiser that oncogym finds by an entry point."""

import time
from dataclasses import asdict, dataclass

import numpy as np

from oncogym.agents.optimizers import OptimizeResult
from oncogym.agents.optimizers.objective import as_objective
from oncogym.core.checks import whole_number


@dataclass(frozen=True)
class RandomSearchSettings:
    """Settings of the search.

    Args:
        population: Plans that are drawn and scored together.
    """

    population: int = 32

    def __post_init__(self):
        whole_number("population", self.population, 1, 10**6)


class RandomSearch:
    """Plans drawn uniformly from the plan space; the best one is kept."""

    name = "random"
    title = "Random search"
    Settings = RandomSearchSettings
    takes = "plan"
    resumes = False
    draws = True
    default_budget = 10_000

    def __init__(self, settings=None):
        self.settings = settings or RandomSearchSettings()

    def budget_of(self, problem, generations):
        return generations * self.settings.population

    def generations(self, problem, budget):
        least = self.settings.population
        if budget < least:
            raise ValueError(f"budget is {budget} plans; allowed: at least {least}")
        return budget // least

    def optimize(
        self,
        problem,
        budget,
        seed=0,
        *,
        start=None,
        folder=None,
        resume=False,
        progress=None,
        executor=None,
    ):
        objective = as_objective(problem)
        space = objective.space
        started, before = time.perf_counter(), objective.evaluations
        generator = np.random.default_rng(seed)
        best, plan, history = -np.inf, None, []
        for generation in range(self.generations(objective, budget)):
            shape = (self.settings.population, space.dimension)
            plans = space.lower + generator.random(shape) * (space.upper - space.lower)
            if generation == 0 and start is not None:
                given = np.asarray(start)[: len(plans)]
                plans[: len(given)] = given
            scores = objective.score(plans, executor)
            scores = np.where(np.isfinite(scores), scores, -np.inf)
            if scores.max() > best or plan is None:
                best, plan = float(scores.max()), plans[int(scores.argmax())]
            history.append(best)
            if progress is not None:
                progress(generation + 1, best, objective.evaluations - before)
        return OptimizeResult(
            plan=plan,
            actions=objective.actions(plan),
            score=best,
            history=history,
            evaluations=objective.evaluations - before,
            seconds=time.perf_counter() - started,
            method=self.name,
            seed=seed,
            settings={**asdict(self.settings), "budget": budget},
        )
