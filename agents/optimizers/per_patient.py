"""A plan for each patient alone: what an open-loop treatment could reach if the patient were known.

The bound beside which a policy is judged that has to find out with whom it deals. Where a model has
chance in it, the plans know the patient but not the chance: they are searched with other random
streams than those of an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oncogym.agents.optimizers.base import Optimizer, OptimizeResult, plain_settings
from oncogym.agents.optimizers.objective import PlanObjective
from oncogym.agents.plan import PatientPlans
from oncogym.core.files import CorruptFileError, to_plain
from oncogym.core.journal import open_journal, pack, unpack
from oncogym.core.json_types import JsonObject
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats
from oncogym.parallel.base import LanesExecutor, in_turn


@dataclass(frozen=True)
class PatientSearch:
    """The search for one patient: what is sent to a worker.

    Attributes:
        problem: The task and the patient.
        optimizer: The method.
        budget: Plans to score.
        start: Plans from which it begins ``(k, dimension)``, or ``None``.
        replicates: Simulations of each plan, with different chance.
        seed: Seed of the search.
    """

    problem: Problem
    optimizer: Optimizer
    budget: int
    start: Floats | None
    replicates: int
    seed: int

    @property
    def gpus(self) -> int:
        """GPUs that the work needs."""
        return self.problem.gpus


def plans_per_patient(
    problem: Problem,
    optimizer: Optimizer,
    budget: int,
    *,
    start: Floats | None = None,
    replicates: int = 1,
    seed: int = 0,
    executor: Executor | None = None,
    progress: Callable[[int], object] = lambda done: None,
    file: Path | None = None,
    resume: bool = False,
) -> tuple[PatientPlans, list[OptimizeResult]]:
    """Search the best plan of each patient.

    Args:
        problem: The task and its patients, whose random keys lie below ``2**32``.
        optimizer: The method.
        budget: Plans to score for each patient.
        start: Plans from which every search begins ``(k, dimension)``.
        replicates: Simulations of each plan, with different chance.
        seed: Seed of the searches.
        executor: Who searches; by default this process. The plans do not depend on it.
        progress: Called now and then with the number of patients done since.
        file: Where finished searches are kept, in a folder that exists and is nobody else's
            meanwhile.
        resume: Take those that are in ``file`` as done.

    Returns:
        The agent that treats each of these patients with a plan of their own, and what the
        searches found, by patient.

    Raises:
        ValueError: The budget does not pay for the search, or those in ``file`` had other settings
            or began with other sources of the suite.
        CorruptFileError: ``file`` is damaged.
        ExecutorError: The workers cannot do it.
    """
    executor = executor or LanesExecutor()
    searches = [
        PatientSearch(problem.part(slice(k, k + 1)), optimizer, budget, start, replicates, seed)
        for k in range(len(problem.patients))
    ]
    results: list[OptimizeResult] = []
    with ExitStack() as stack:
        journal = None
        if file is not None:
            journal = stack.enter_context(
                open_journal(
                    file,
                    _decided(problem, searches[0]),
                    modules=[problem.treatment.task.__module__, type(optimizer).__module__],
                    resume=resume,
                )
            )
            results += _found(journal.entries, searches, journal.name)
            progress(len(results))
        for result in in_turn(executor, _search, searches[len(results) :], progress):
            if journal is not None:
                journal.add(_entry(result))
            results.append(result)
    return PatientPlans(np.stack([result.actions for result in results])), results


def _search(one: PatientSearch) -> OptimizeResult:
    objective = PlanObjective(one.problem, replicates=one.replicates)
    return one.optimizer.optimize(objective, one.budget, one.seed, start=one.start)


def _decided(problem: Problem, first: PatientSearch) -> JsonObject:
    """What decides the results, JSON-able, by name."""
    return {
        "method": first.optimizer.name,
        **plain_settings(first.optimizer),
        **problem.identity(),
        "budget": first.budget,
        "start": None if first.start is None else pack(first.start),
        "replicates": first.replicates,
        "seed": first.seed,
    }


# Numbers of a result that are kept as text, bit for bit, and the others.
_PACKED = ("plan", "actions", "score", "history")
_PLAIN = ("evaluations", "seconds", "method", "seed", "message", "settings")


def _entry(result: OptimizeResult) -> JsonObject:
    packed = {name: pack(getattr(result, name)) for name in _PACKED}
    return {**packed, **to_plain({name: getattr(result, name) for name in _PLAIN})}


def _found(
    entries: Sequence[Any], searches: Sequence[PatientSearch], place: str
) -> list[OptimizeResult]:
    """The results in the entries, those of the first searches."""
    results = []
    try:
        for entry, one in zip(entries, searches, strict=False):
            plan, actions, score, history = (unpack(entry[name]) for name in _PACKED)
            decisions = one.problem.kept_task(1).num_decisions
            results.append(
                OptimizeResult(
                    plan=plan,
                    actions=actions.reshape(decisions, -1),
                    score=float(score[0]),
                    history=history.tolist(),
                    **{name: entry[name] for name in _PLAIN},
                )
            )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{place}: no plans of patients ({error!r})") from None
    return results
