"""What a search of plans writes down while it goes on: best scores, simulations, time."""

from __future__ import annotations

import time

from oncogym.agents.optimizers.base import Optimizer, OptimizeResult, Progress, plain_settings
from oncogym.agents.optimizers.objective import PlanObjective
from oncogym.envs.therapy import Floats


class SearchRecord:
    """The record of one search; it begins when it is made.

    Args:
        objective: What is maximised.
        progress: Called after each generation.

    Attributes:
        history: Best score after each generation.
    """

    def __init__(self, objective: PlanObjective, progress: Progress | None = None) -> None:
        self._objective = objective
        self._progress = progress
        self._before = objective.evaluations
        self._started = time.perf_counter()
        self.history: list[float] = []

    @property
    def evaluations(self) -> int:
        """Simulated treatments so far (plans times patients)."""
        return self._objective.evaluations - self._before

    def report(self, best: float) -> None:
        """A generation is over, with this best score so far."""
        self.history.append(best)
        if self._progress is not None:
            self._progress(len(self.history), best, self.evaluations)

    def result(
        self,
        optimizer: Optimizer,
        plan: Floats,
        score: float,
        *,
        seed: int,
        budget: int,
        message: str,
    ) -> OptimizeResult:
        """What was found, with all that was written down.

        Args:
            optimizer: What searched.
            plan: The best plan found.
            score: Its score.
            seed: Seed of the search.
            budget: Plans that the search was given.
            message: Why it ended.
        """
        return OptimizeResult(
            plan=plan,
            actions=self._objective.actions(plan),
            score=score,
            history=self.history,
            evaluations=self.evaluations,
            seconds=time.perf_counter() - self._started,
            method=optimizer.name,
            seed=seed,
            message=message,
            settings={**plain_settings(optimizer), "budget": budget},
        )
