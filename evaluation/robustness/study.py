"""How much worse agents do when their treatment is not delivered as decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from oncogym.agents.agent import Agent
from oncogym.agents.plan import OpenLoopAgent
from oncogym.agents.rollout import Rollout
from oncogym.core.errors import nearest
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats, TherapyTask
from oncogym.evaluation.harness import result_table
from oncogym.evaluation.kept_courses import KeptCourses
from oncogym.evaluation.report.labels import labels_of
from oncogym.evaluation.robustness.outcome import Robustness, summarise_losses
from oncogym.evaluation.robustness.perturbation import KINDS, Course, Perturbation
from oncogym.evaluation.robustness.shards import (
    Cutter,
    PerturbedShard,
    joined_decided,
    treat_as_decided,
    treat_perturbed,
)
from oncogym.evaluation.shards import joined
from oncogym.parallel.base import LanesExecutor, in_turn

# So many fractions of an agent's course are perturbed by default, from the first to the last.
_PLACES = 6


@dataclass(frozen=True)
class Request:
    """Perturbations of one kind: every size at every fraction.

    Args:
        kind: One of ``KINDS``.
        sizes: Sizes; by default those of the kind.
        when: Numbers of fractions, for kinds that happen once; by default up to six of each agent's
            own, spread evenly from the first to the last that at least half of its patients get.

    Raises:
        UnknownNameError: There is no such kind.
        ValueError: A size or number is out of range.
    """

    kind: str
    sizes: tuple[float, ...] = ()
    when: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise nearest("kind of perturbation", self.kind, KINDS)
        about = KINDS[self.kind]
        if self.when and not about.event:
            raise ValueError(
                f"when is {self.when[0]} for {self.kind!r}, which acts throughout; allowed: only "
                f"with {', '.join(name for name, kind in KINDS.items() if kind.event)}"
            )
        for name, values in (("size", self.sizes), ("number", self.when)):
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise ValueError(f"{name} {twice[0]:g} of {self.kind!r} comes twice; allowed: once")
        for size in self.sizes:
            for when in self.when or (1,):
                Perturbation(self.kind, size, when)

    @classmethod
    def parse(cls, text: str) -> Request:
        """From ``KIND``, ``KIND=SIZE,…``, or either with ``@WHEN,…`` behind it.

        Raises:
            ValueError: The text has another form, or a value is out of range.
        """
        head, at, places = text.partition("@")
        kind, equals, sizes = head.partition("=")
        try:
            numbers = tuple(float(part) for part in sizes.split(",")) if equals else ()
            when = tuple(int(part) for part in places.split(",")) if at else ()
        except ValueError:
            raise ValueError(
                f"{text!r} is no perturbation; allowed: KIND[=SIZE,…][@FRACTION,…], for example "
                "missed=1@1,2,3 or dose_error=0.05,0.1"
            ) from None
        return cls(kind, numbers, when)

    def perturbations(self, course: Course, seed: int) -> Iterator[Perturbation]:
        """All perturbations for an agent with these unperturbed courses."""
        about = KINDS[self.kind]
        for size in self.sizes or about.sizes:
            last = int(np.median(course.fractions))
            if self.kind == "swapped":
                last -= int(size)
            places = self.when if about.event else (1,)
            if not places:
                spread = np.linspace(1, max(last, 0), min(_PLACES, max(last, 0)))
                places = tuple(int(number) for number in np.unique(np.round(spread)))
            for when in places:
                yield Perturbation(self.kind, size, when, seed)


def read_requests(texts: Sequence[str]) -> list[Request]:
    """Requests from texts, see :meth:`Request.parse`.

    Raises:
        ValueError: A text is none, or two ask for the same perturbation, whose patients would count
            twice.
    """
    requests = [Request.parse(text) for text in texts]
    asked: dict[tuple[str, float, int], str] = {}
    for request, text in zip(requests, texts, strict=True):
        for size in request.sizes or KINDS[request.kind].sizes:
            # Without numbers an agent's own are taken, which may be any: 0 stands for them.
            for when in request.when or (0,):
                kind = request.kind
                others = [
                    asked[key]
                    for key in asked
                    if key[:2] == (kind, size) and (when == key[2] or 0 in (when, key[2]))
                ]
                if others:
                    raise ValueError(
                        f"{others[0]!r} and {text!r} both ask for {kind} of size {size:g}; "
                        "allowed: once"
                    )
                asked[kind, size, when] = text
    return requests


@dataclass(frozen=True)
class _Run:
    """An agent under a perturbation; without shards nothing differs from the course as decided."""

    perturbation: Perturbation
    shards: list[PerturbedShard]


def run_robustness(
    problem: Problem,
    agents: Mapping[str, Agent],
    requests: Sequence[Request] | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
    executor: Executor | None = None,
    progress: bool = False,
    kept: KeptCourses | None = None,
) -> Robustness:
    """Treat the same patients with every agent, unperturbed and under every perturbation.

    Patients, their random keys, errors of doses and noise are the same for every agent and size.

    Args:
        problem: Environment and patients.
        agents: Agents by name. One that draws random numbers of its own starts anew for each
            shard; see :class:`oncogym.agents.Agent` for ``for_lanes``.
        requests: What to perturb; by default every kind that the environment has a meaning for.
        seed: Seed of errors, noise and bootstrap.
        resamples: Bootstrap resamples.
        executor: Who treats the patients; by default this process. The outcome does not depend on
            it.
        progress: Show a progress bar on standard error.
        kept: Perturbed courses that need no simulation any more, and where new ones are kept.

    Raises:
        ValueError: A kind that was asked for has no meaning in the environment.
        ExecutorError: The workers cannot do it.
    """
    executor = executor or LanesExecutor()
    task = problem.task(1)
    wanted, left_out = fitting_requests(requests, task, seed)
    cutter = Cutter(problem)
    with tqdm(desc="robustness", unit="shard", disable=None if progress else True) as bar:
        decided = _treat_as_decided(task, cutter, agents, wanted, executor, bar)
        runs = {
            name: _runs(cutter, agent, decided[name][1], wanted, seed)
            for name, agent in agents.items()
        }
        shards = [shard for own in runs.values() for run in own for shard in run.shards]
        bar.total = (bar.total or 0) + len(shards)
        parts = (kept or KeptCourses()).treated(shards, executor, bar.update, treat_perturbed)
        tables = [
            table
            for name, own in runs.items()
            for table in _tables(problem, name, decided[name], own, parts)
        ]
    results = pd.concat(tables, ignore_index=True)
    labels = labels_of(agents)
    summary = summarise_losses(results, problem, seed=seed, resamples=resamples)
    unit = "" if task.dose_part is None else task.action_parts[task.dose_part][1]
    return Robustness(problem, results, summary, left_out, labels, unit)


def _treat_as_decided(
    task: TherapyTask,
    cutter: Cutter,
    agents: Mapping[str, Agent],
    requests: Sequence[Request],
    executor: Executor,
    bar: tqdm,
) -> dict[str, tuple[Rollout, Course]]:
    """Every agent's unperturbed courses."""
    watch = any(request.kind == "observation_noise" for request in requests)
    shards = {name: cutter.decided(agent) for name, agent in agents.items()}
    together = [shard for own in shards.values() for shard in own]
    bar.total = len(together)
    results = in_turn(executor, partial(treat_as_decided, watch=watch), together, bar.update)
    return {
        name: joined_decided(task, [next(results) for _ in own]) for name, own in shards.items()
    }


def _runs(
    cutter: Cutter, agent: Agent, course: Course, requests: Sequence[Request], seed: int
) -> list[_Run]:
    """An agent's runs; perturbations that take place in no patient are left out."""
    runs = []
    for request in requests:
        for perturbation in request.perturbations(course, seed):
            if course.affected(perturbation).any():
                # A plan looks at nothing.
                blind = perturbation.kind == "observation_noise" and isinstance(
                    agent, OpenLoopAgent
                )
                shards = [] if blind else cutter.perturbed(agent, perturbation, course)
                runs.append(_Run(perturbation, shards))
    return runs


def _tables(
    problem: Problem,
    agent: str,
    decided: tuple[Rollout, Course],
    runs: Sequence[_Run],
    parts: Iterator[tuple[Rollout, Floats]],
) -> Iterator[pd.DataFrame]:
    """An agent's results as decided and in each run; ``parts`` has those of the shards in order."""
    plain, course = decided
    everyone = np.ones(len(problem.patients), np.bool_)
    yield _labelled(result_table(agent, problem, plain), None, everyone, 0.0)
    for run in runs:
        result, lost = plain, np.zeros(len(problem.patients))
        if run.shards:
            own = [next(parts) for _ in run.shards]
            result = joined([one for one, _ in own])
            lost = np.concatenate([one for _, one in own])
        table = result_table(agent, problem, result)
        yield _labelled(table, run.perturbation, course.affected(run.perturbation), lost)


def fitting_requests(
    requests: Sequence[Request] | None, task: TherapyTask, seed: int
) -> tuple[list[Request], dict[str, str]]:
    """The requests, by default all that mean something in a task, and why others do not.

    Args:
        requests: What was asked for; ``None`` for all.
        task: The task that is perturbed.
        seed: Seed of the study.

    Raises:
        ValueError: A kind that was asked for has no meaning in the task.
    """
    if requests is not None:
        for request in requests:
            Perturbation(request.kind, 0.0, seed=seed).require_fit(task)
        return list(requests), {}
    fitting: list[Request] = []
    left_out: dict[str, str] = {}
    for kind in KINDS:
        try:
            Perturbation(kind, 0.0, seed=seed).require_fit(task)
        except ValueError as error:
            left_out[kind] = str(error)
        else:
            fitting.append(Request(kind))
    return fitting, left_out


def _labelled(
    table: pd.DataFrame, perturbation: Perturbation | None, affected: Any, lost: Any
) -> pd.DataFrame:
    event = perturbation is not None and perturbation.about.event
    table.insert(1, "kind", "none" if perturbation is None else perturbation.kind)
    table.insert(2, "size", 0.0 if perturbation is None else perturbation.size)
    table.insert(3, "when", perturbation.when if perturbation is not None and event else 0)
    table.insert(5, "affected", affected)
    table.insert(6, "dose_lost", lost)
    return table
