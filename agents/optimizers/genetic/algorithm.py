"""Genetic algorithm over schedules of doses in time slots."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from concurrent.futures import Executor
from typing import Any

import numpy as np

from oncogym.agents.optimizers.base import (
    OptimizeResult,
    Progress,
    paid_generations,
    register_optimizer,
)
from oncogym.agents.optimizers.genetic.generation import next_generation
from oncogym.agents.optimizers.genetic.mutation import annealed_probability
from oncogym.agents.optimizers.genetic.schedules import (
    Limits,
    Schedules,
    initial_population,
    to_doses,
)
from oncogym.agents.optimizers.genetic.settings import GeneticSettings
from oncogym.agents.optimizers.genetic.state import SearchFolder, SearchState
from oncogym.agents.optimizers.objective import PlanObjective, as_objective
from oncogym.core.files import StrPath
from oncogym.core.json_types import JsonObject
from oncogym.core.sources import program
from oncogym.envs.plan_spaces import SlotSpace
from oncogym.envs.therapy import Floats

# Draws of the model: a block for each seed of the search; the second half scores the finalists.
_SEED_SHIFT = 32
_FINAL_DRAW = 2**31


@register_optimizer
class GeneticAlgorithm:
    """The genetic algorithm of the EMT6/Ro fractionation study, for any task with a slot space.

    Each generation keeps its best schedules, selects parents, crosses them and mutates the
    children; then **all** schedules, the elites too, are scored again on a fresh draw of the
    model's chance, the same draw for every schedule of a generation, so that equal ones are
    simulated once. Nothing is remembered between generations, and a lucky score does not last.

    The corrected operators (``published=False``) keep the dose, and the initial schedules spend the
    budget as far as the limits allow: the search is for the best way to give the whole budget.

    The answer is not simply the best score seen, which would be too good by its luck: the best
    distinct schedules of the last generations (``finalists`` of them, by their mean score over
    ``finalist_generations``) are scored again on ``finalist_replicates`` fresh draws, which come on
    top of the budget, and the best of these is returned with that fresh score. Being the best of
    several, the score is still slightly too good where the finalists are equally good.

    With a folder, a checkpoint (the last two are kept) and ``history.csv`` are written after each
    generation. A search that is resumed begins from the start where it was interrupted before the
    first checkpoint; populations, scores and result are bit for bit those of a search that was not
    interrupted.

    Args:
        settings: Sizes, operators and limits.
    """

    name = "ga"
    title = "Genetic algorithm"
    Settings = GeneticSettings
    takes = "slots"
    resumes = True
    draws = True
    #: Budget of the study: 51 generations after the initial one.
    default_budget = 52 * 40

    def __init__(self, settings: GeneticSettings | None = None) -> None:
        self.settings = settings or GeneticSettings()

    def budget_of(self, problem: object, generations: int) -> int:
        """Schedules to score in so many generations, the initial one included."""
        return generations * self.settings.population

    def _space(self, objective: PlanObjective) -> SlotSpace:
        return objective.slot_space(self.settings.max_dose, self.settings.min_gap)

    def generations(self, problem: object, budget: int) -> int:
        """Generations that a budget pays for, the initial one included. Starts no work.

        Raises:
            NotImplementedError: The model cannot be planned on time slots.
            ValueError: The budget does not pay for two, or a limit of the slots is out of range.
        """
        Limits.of(self._space(as_objective(problem)))
        return paid_generations(budget, self.settings.population, unit="schedules")

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
        """Search for the best schedule; see :class:`oncogym.agents.optimizers.base.Optimizer`.

        The seed chooses the draws of the model, too. The finalists come on top of the budget.

        Returns:
            The best finalist: ``plan`` has its doses ``(slots,)``, ``score`` the mean of its fresh
            scores, ``history`` the best score of each generation as the search saw it.

        Raises:
            NotImplementedError: The model cannot be planned on time slots.
            ValueError: The budget does not pay for two generations, a limit is out of range, a
                schedule's score is not finite, there are plans to start from (the initial
                schedules are drawn), or ``resume`` comes without a folder.
            SearchFolderError: The folder holds a search already, or (``resume``) one that began
                with other settings or other sources of the suite; the message names them.
            RunLockedError: Another process works in the folder.
            CorruptFileError: (``resume``) Every checkpoint is damaged.
            ExecutorError: The workers cannot do it.
        """
        if resume and folder is None:
            raise ValueError("resume needs the folder of the search")
        if start is not None and len(start):
            raise ValueError(f"{self.name} draws its initial schedules; it takes no plans")
        objective: PlanObjective = as_objective(problem)
        generations = self.generations(objective, budget)
        space = self._space(objective)
        settings = {
            **dataclasses.asdict(self.settings),
            **_numbers(space),
            **objective.identity(),
            "budget": budget,
            "seed": seed,
        }
        search = _Search(objective, space, self.settings, generations, seed, executor)
        modules = [objective.problem.treatment.task.__module__, type(self).__module__]
        place = None if folder is None else SearchFolder(folder, {**settings, **program(modules)})
        with contextlib.nullcontext() if place is None else place.held():
            state = self._start(search, place, resume, progress)
            while state.generation < generations - 1:
                search.advance(state)
                _report(state, place, progress)
        started = time.perf_counter()
        before = objective.evaluations
        plan, score = search.final(state)
        return OptimizeResult(
            plan=plan,
            actions=space.decode(plan[None])[0],
            score=score,
            history=[row["best"] for row in state.history],
            evaluations=state.simulations + objective.evaluations - before,
            seconds=state.seconds + time.perf_counter() - started,
            method=self.name,
            seed=seed,
            message=f"{generations} generations; the best of the finalists on fresh draws",
            settings=settings,
        )

    def _start(
        self,
        search: _Search,
        folder: SearchFolder | None,
        resume: bool,
        progress: Progress | None,
    ) -> SearchState:
        """The state after the initial generation, or where the search was interrupted."""
        if folder is not None and resume:
            found = folder.resume()
            if found is not None:
                return found
        elif folder is not None:
            folder.begin()
        state = search.initial()
        _report(state, folder, progress)
        return state


class _Search:
    """One search: what to score, within which limits, with which chance."""

    def __init__(
        self,
        problem: PlanObjective,
        space: SlotSpace,
        settings: GeneticSettings,
        generations: int,
        seed: int,
        executor: Executor | None = None,
    ) -> None:
        self._problem = problem
        self._space = space
        self._limits = Limits.of(space)
        self._settings = settings
        self._generations = generations
        self._seed = seed
        self._executor = executor

    def initial(self) -> SearchState:
        """The initial generation, scored."""
        started = time.perf_counter()
        rng = np.random.default_rng(self._seed)
        settings = self._settings
        population = initial_population(settings.population, rng, self._limits, settings.published)
        state = SearchState(rng, population)
        self._score(state, 0.0, started)
        return state

    def advance(self, state: SearchState) -> None:
        """Breed the next generation and score it."""
        started = time.perf_counter()
        state.generation += 1
        probability = self._probability(state.generation)
        state.population = next_generation(
            state.population, state.scores, probability, state.rng, self._limits, self._settings
        )
        self._score(state, probability, started)

    def final(self, state: SearchState) -> tuple[Floats, float]:
        """Doses ``(slots,)`` and fresh score of the best finalist."""
        candidates = finalists(state.recent, state.recent_scores, self._settings.finalists)
        draws = range(self._settings.finalist_replicates)
        scores = np.mean([self._scores(candidates, _FINAL_DRAW + k) for k in draws], axis=0)
        best = int(np.argmax(scores))
        return to_doses(candidates[best], self._space), float(scores[best])

    def _probability(self, generation: int) -> float:
        settings = self._settings
        if not settings.anneal:
            return settings.mutation_max
        # The study's loop runs once more than its annealing: the last generation is at the end.
        iterations = max(self._generations - 2, 1)
        return annealed_probability(
            generation, iterations, settings.mutation_max, settings.mutation_min
        )

    def _score(self, state: SearchState, probability: float, started: float) -> None:
        before = self._problem.evaluations
        scores = self._scores(state.population, state.generation)
        state.remember(scores, self._settings.finalist_generations)
        row = {
            "generation": state.generation,
            "best": float(scores.max()),
            "mean": float(scores.mean()),
            "sd": float(scores.std()),
            "mutation_probability": probability,
            "simulations": state.simulations + self._problem.evaluations - before,
            "seconds": state.seconds + time.perf_counter() - started,
        }
        state.history.append(row)

    def _scores(self, schedules: Schedules, draw: int) -> Floats:
        block = (self._seed & 0xFFFFFFFF) << _SEED_SHIFT
        # Under one draw equal schedules have equal courses, and a late generation has many of them.
        _, first, which = np.unique(schedules, axis=0, return_index=True, return_inverse=True)
        actions = self._space.decode(to_doses(schedules[first], self._space))
        scores = self._problem.score_actions(actions, block + draw, self._executor)
        scores = scores[which.reshape(-1)]
        if not np.isfinite(scores).all():
            row = int(np.flatnonzero(~np.isfinite(scores))[0])
            doses = schedules[row][schedules[row] > 0] * self._space.step
            raise ValueError(
                f"the model scores a schedule as {scores[row]}; its doses are {doses.tolist()} "
                f"{self._space.dose_unit} "
                f"in slots {np.flatnonzero(schedules[row]).tolist()}"
            )
        return scores


def finalists(schedules: Schedules, scores: Floats, count: int) -> Schedules:
    """The ``count`` best distinct schedules, best first, by the mean of their scores.

    Args:
        schedules: Schedules ``(k, slots)``; one that was scored several times is there as often.
        scores: Their scores ``(k,)``.
        count: How many; fewer are returned if there are fewer distinct ones.
    """
    distinct, which = np.unique(schedules, axis=0, return_inverse=True)
    which = which.reshape(-1)
    mean = np.bincount(which, weights=scores) / np.bincount(which)
    return distinct[np.argsort(-mean, kind="stable")[:count]]


def _report(state: SearchState, folder: SearchFolder | None, progress: Progress | None) -> None:
    if folder is not None:
        folder.save(state)
    if progress is not None:
        progress(state.generation + 1, state.history[-1]["best"], state.simulations)


def _numbers(space: SlotSpace) -> JsonObject:
    fields = (field.name for field in dataclasses.fields(space))
    return {name: getattr(space, name) for name in fields if name != "decode"}
