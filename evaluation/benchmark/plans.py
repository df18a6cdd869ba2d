"""Plans of a benchmark: searched once, kept in its folder, read again after an interruption."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from oncogym.agents.optimizers import (
    DEFAULT,
    Optimizer,
    OptimizeResult,
    PlanObjective,
    find_optimizer,
    optimizers,
)
from oncogym.agents.optimizers.base import SearchFolderError
from oncogym.agents.optimizers.objective import encoded, protocol_plans
from oncogym.agents.plan import PatientPlans, PlanAgent
from oncogym.core.files import CorruptFileError, read_json
from oncogym.core.journal import OtherWorkError
from oncogym.core.json_types import JsonObject
from oncogym.envs.problem import Problem
from oncogym.evaluation.benchmark.plan_distance import search_own_plans
from oncogym.evaluation.benchmark.presets import Preset
from oncogym.evaluation.plan_search import OWN_FILE, about_search, search_plan

Found = TypeVar("Found")

#: The common plan, each patient's own plans, and the folder of the searches.
COMMON, OWN, SEARCH = "plan.json", "own_plans.json", "plan-search"


def common_plan(
    problem: Problem, preset: Preset, folder: Path, seed: int, executor: Executor | None
) -> tuple[PlanAgent, dict[str, Any]]:
    """The best plan for all patients alike, and what finding it took.

    Every optimiser of the preset that suits the environment searches; the plan with the highest
    score on the patients of the search is taken, and named after what found it.

    Args:
        problem: Patients on whom a plan is scored.
        preset: Optimisers and their budgets.
        folder: Where the plan is kept, and the state of the search.
        seed: Seed of the search.
        executor: Who simulates; by default this process.

    Raises:
        ExecutorError: The workers cannot do it.
    """
    path = folder / COMMON
    if path.exists():
        return PlanAgent.load(path), read_search(path)
    effort = problem.variant.effort
    names = [effort.optimizer] if effort.optimizer else list(preset.optimizers)
    found = [_searched(problem, preset, folder, seed, executor, name, names[0]) for name in names]
    agent, about = max(found, key=lambda pair: pair[1]["score"])
    searches = [
        {key: own[key] for key in ("method", "score", "evaluations", "seconds")} for _, own in found
    ]
    about = {**about, "searches": searches}
    agent.save(path, about)
    # As it is found again after an interruption, to the last bit of its description.
    return PlanAgent.load(path), about


def plan_file(name: str) -> str:
    """File of the plan that the optimiser called ``name`` found."""
    return f"plan-{name}.json"


def _searched(
    problem: Problem,
    preset: Preset,
    folder: Path,
    seed: int,
    executor: Executor | None,
    name: str,
    first: str,
) -> tuple[PlanAgent, dict[str, Any]]:
    """What the optimiser ``name`` finds with the plans that the generations of ``first`` take."""
    path = folder / plan_file(name)
    if path.exists():
        return PlanAgent.load(path), read_search(path)
    effort = problem.variant.effort
    searched = Problem.of(problem.treatment, variant=problem.variant).with_options(
        {**problem.options, **effort.search_options}
    )
    count = preset.plan_patients
    searched = searched.drawn(min(searched.cohort.distinct or count, count), seed)
    objective = PlanObjective(searched)
    optimizer = _optimizer(name, preset)
    search = partial(
        search_plan,
        optimizer,
        objective,
        _optimizer(first, preset).budget_of(objective, preset.plan_generations),
        seed,
        executor,
        optimizer.title,
        start=protocol_plans(problem) if optimizer.takes == "plan" else None,
        folder=folder / SEARCH / name,
    )
    result = _going_on(search, folder / SEARCH / name)
    about = {
        **about_search(result, searched),
        "method": optimizer.title,
        "history": result.history,
    }
    agent = result.agent(f"Plan ({_finder(result, optimizer)})")
    agent.save(path, about)
    return agent, about


def _finder(result: OptimizeResult, optimizer: Optimizer) -> str:
    """What found a plan: the search, the polish after it, or neither: a protocol it began with."""
    first, searched = result.history[0], result.history[-1]
    least = 1e-9 * max(abs(first), abs(searched), 1e-300)
    own = optimizer.title if searched > first + least else f"start of {optimizer.title}"
    polished = getattr(optimizer.settings, "polish", False) and result.score > searched + least
    return f"L-BFGS-B from {own}" if polished else own


def read_search(path: Path) -> JsonObject:
    """What finding the plan in a file took.

    Raises:
        CorruptFileError: The file does not say; the message names it.
    """
    document = read_json(path)
    about = document.get("about") if isinstance(document, dict) else None
    if not isinstance(about, dict) or not isinstance(about.get("method"), str):
        raise CorruptFileError(f"{path}: it does not say how the plan was found")
    # The plan of one optimiser is its own only search.
    searches = about.get("searches", [about])
    if not isinstance(searches, list) or not all(isinstance(one, dict) for one in searches):
        raise CorruptFileError(f"{path}: about.searches is no list of searches")
    for one in (about, *searches):
        if not isinstance(one.get("method"), str):
            raise CorruptFileError(f"{path}: a search has no method")
        for name in ("evaluations", "seconds"):
            value = one.get(name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise CorruptFileError(f"{path}: about.{name} is {value!r}; allowed: a number")
    return {**about, "searches": searches}


def plans_of_patients(
    problem: Problem, preset: Preset, folder: Path, seed: int, executor: Executor | None
) -> PatientPlans:
    """A plan of its own for each patient of ``problem``; the searches begin with the common plan.

    Args:
        problem: The patients.
        preset: Optimiser and budget.
        folder: Where the plans are kept.
        seed: Seed of the searches.
        executor: Who simulates; by default this process.

    Raises:
        ExecutorError: The workers cannot do it.
    """
    path = folder / OWN
    if path.exists():
        return PatientPlans.load(path, problem.patients)
    known = PlanAgent.load(folder / COMMON)
    space = problem.kept_task(1).plan_space()
    optimizer = _optimizer(DEFAULT, preset)
    (folder / SEARCH).mkdir(exist_ok=True)
    search = partial(
        search_own_plans,
        problem,
        optimizer,
        optimizer.budget_of(PlanObjective(problem), preset.plan_generations),
        start=np.concatenate([encoded(space, [known.actions]), protocol_plans(problem)]),
        search_options=problem.variant.effort.search_options,
        seed=seed,
        executor=executor,
        file=folder / SEARCH / OWN_FILE,
    )
    plans, about = _going_on(search, folder / SEARCH / OWN_FILE)
    plans.save(path, problem.patients, about)
    return plans


def _going_on(search: Callable[..., Found], place: Path) -> Found:
    """What a search finds that goes on from where it was, or anew if another version began it.

    Args:
        search: Searches, by ``resume`` with what is in ``place``.
        place: File or folder of the search, and of nothing else.
    """
    try:
        return search(resume=True)
    except (SearchFolderError, OtherWorkError):
        if place.is_dir():
            shutil.rmtree(place)
        return search(resume=False)


def _optimizer(name: str, preset: Preset) -> Optimizer:
    """The optimiser with those of the preset's settings that it has."""
    names = {item.name for item in fields(optimizers()[name].Settings)}
    return find_optimizer(name, {k: v for k, v in preset.plan_settings.items() if k in names})
