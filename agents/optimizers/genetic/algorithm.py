"""Genetic algorithm over schedules of doses in time slots."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import Any

import numpy as np

from oncogym.agents.optimizers.genetic.generation import next_generation
from oncogym.agents.optimizers.genetic.mutation import annealed_probability
from oncogym.agents.optimizers.genetic.schedules import (
    Limits,
    Schedules,
    initial_population,
    to_gray,
)
from oncogym.agents.optimizers.genetic.settings import GeneticSettings
from oncogym.agents.optimizers.genetic.state import SearchFolder, SearchState
from oncogym.agents.optimizers.problem import OptimizeResult, PlanProblem, Progress
from oncogym.core.files import StrPath
from oncogym.envs.plan_spaces import SlotSpace
from oncogym.envs.therapy import Floats
from oncogym.parallel.base import Executor

# Draws of the model: a block for each seed of the search; the second half scores the finalists.
_SEED_SHIFT = 32
_FINAL_DRAW = 2**31


class GeneticAlgorithm:
    """The genetic algorithm of the EMT6/Ro fractionation study, for any task with a slot space.

    Each generation keeps its best schedules, selects parents, crosses them and mutates the
    children; then **all** schedules, the elites too, are scored again on a fresh draw of the
    model's chance, the same draw for every schedule of a generation. Nothing is remembered between
    generations, so a lucky score does not last.

    The corrected operators (``published=False``) keep the dose, and the initial schedules spend the
    budget as far as the limits allow: the search is for the best way to give the whole budget.

    The answer is not simply the best score seen, which would be too good by its luck: the best
    distinct schedules of the last generations (``finalists`` of them, by their mean score over
    ``finalist_generations``) are scored again on ``finalist_replicates`` fresh draws, which come on
    top of the budget, and the best of these is returned with that fresh score. Being the best of
    several, the score is still slightly too good where the finalists are equally good.

    Args:
        settings: Sizes and operators.
        max_dose: Largest dose of a slot [Gy]; ``None`` takes the model's own limit.
        min_gap: Least time between doses [h]; ``None`` takes the model's own.
        folder: Where a checkpoint (the last two are kept) and ``history.csv`` are written after
            each generation; ``None`` keeps nothing.
        resume: Go on with the search in ``folder``, from the start where it was interrupted before
            the first checkpoint. Populations, scores and result are bit for bit those of a search
            that was not interrupted.

    Raises:
        ValueError: ``resume`` without a folder.
    """

    name = "ga"
    title = "Genetic algorithm"
    #: Budget of the study: 51 generations after the initial one.
    default_budget = 52 * 40

    def __init__(
        self,
        settings: GeneticSettings | None = None,
        *,
        max_dose: float | None = None,
        min_gap: float | None = None,
        folder: StrPath | None = None,
        resume: bool = False,
    ) -> None:
        if resume and folder is None:
            raise ValueError("resume needs the folder of the search")
        self.settings = settings or GeneticSettings()
        self.max_dose = max_dose
        self.min_gap = min_gap
        self.folder = folder
        self.resume = resume

    def generations(self, problem: PlanProblem, budget: int) -> int:
        """Generations that a budget pays for, the initial one included. Starts no work.

        Raises:
            NotImplementedError: The model cannot be planned on time slots.
            ValueError: The budget does not pay for two, or a limit of the slots is out of range.
        """
        Limits.of(problem.slot_space(self.max_dose, self.min_gap))
        population = self.settings.population
        if budget < 2 * population:
            raise ValueError(
                f"budget is {budget} schedules; allowed: at least {2 * population}, two "
                f"generations of {population}"
            )
        return budget // population

    def optimize(
        self,
        problem: PlanProblem,
        budget: int,
        seed: int = 0,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> OptimizeResult:
        """Search for the best schedule.

        Args:
            problem: What to maximise.
            budget: Schedules to score in all generations (the finalists come on top).
            seed: Seed of the operators; it also chooses the draws of the model.
            progress: Called after each generation with the generations so far, the best score of
                the last one and the simulations so far.
            executor: Who simulates; by default this process. Neither result nor checkpoints depend
                on it: a search may go on with another one.

        Returns:
            The best finalist: ``plan`` has its doses [Gy] ``(slots,)``, ``score`` the mean of its
            fresh scores, ``history`` the best score of each generation as the search saw it.

        Raises:
            NotImplementedError: The model cannot be planned on time slots.
            ValueError: The budget does not pay for two generations, a limit is out of range, or a
                schedule's score is not finite.
            SearchFolderError: The folder holds a search already, or (``resume``) one that began
                with other settings; the message names them.
            RunLockedError: Another process works in the folder.
            CorruptFileError: (``resume``) Every checkpoint is damaged.
            ExecutorError: The workers cannot do it.
        """
        generations = self.generations(problem, budget)
        space = problem.slot_space(self.max_dose, self.min_gap)
        settings = {
            **dataclasses.asdict(self.settings),
            **_numbers(space),
            **problem.identity(),
            "budget": budget,
            "seed": seed,
        }
        search = _Search(problem, space, self.settings, generations, seed, executor)
        folder = None if self.folder is None else SearchFolder(self.folder, settings)
        with contextlib.nullcontext() if folder is None else folder.held():
            state = self._start(search, folder, progress)
            while state.generation < generations - 1:
                search.advance(state)
                _report(state, folder, progress)
        started = time.perf_counter()
        before = problem.evaluations
        plan, score = search.final(state)
        return OptimizeResult(
            plan=plan,
            actions=space.decode(plan[None])[0],
            score=score,
            history=[row["best"] for row in state.history],
            evaluations=state.simulations + problem.evaluations - before,
            seconds=state.seconds + time.perf_counter() - started,
            method=self.name,
            seed=seed,
            message=f"{generations} generations; the best of the finalists on fresh draws",
            settings=settings,
        )

    def _start(
        self, search: _Search, folder: SearchFolder | None, progress: Progress | None
    ) -> SearchState:
        """The state after the initial generation, or where the search was interrupted."""
        if folder is not None and self.resume:
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
        problem: PlanProblem,
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
        """Doses [Gy] ``(slots,)`` and fresh score of the best finalist."""
        candidates = finalists(state.recent, state.recent_scores, self._settings.finalists)
        draws = range(self._settings.finalist_replicates)
        scores = np.mean([self._scores(candidates, _FINAL_DRAW + k) for k in draws], axis=0)
        best = int(np.argmax(scores))
        return to_gray(candidates[best], self._space), float(scores[best])

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
        actions = self._space.decode(to_gray(schedules, self._space))
        scores = self._problem.score_actions(actions, block + draw, self._executor)
        if not np.isfinite(scores).all():
            row = int(np.flatnonzero(~np.isfinite(scores))[0])
            doses = schedules[row][schedules[row] > 0] * self._space.step
            raise ValueError(
                f"the model scores a schedule as {scores[row]}; its doses are {doses.tolist()} Gy "
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


def _numbers(space: SlotSpace) -> dict[str, Any]:
    fields = (field.name for field in dataclasses.fields(space))
    return {name: getattr(space, name) for name in fields if name != "decode"}
