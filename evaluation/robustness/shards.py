"""Parts of a robustness study: what is sent to a worker."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.clinical import RuleAgent
from oncogym.agents.learned import PolicyAgent
from oncogym.agents.plan import OpenLoopAgent
from oncogym.agents.rollout import Rollout, rollout
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats, TherapyTask
from oncogym.evaluation.robustness.perturbation import (
    Course,
    Perturbation,
    PerturbedAgent,
    Spectator,
    largest_dose,
)
from oncogym.evaluation.shards import PATIENTS, Shard, cut, joined, together

_STATELESS = (OpenLoopAgent, PolicyAgent, RuleAgent)

#: Courses as decided, and what the agent saw at each decision ``(lanes, …)``.
Decided = tuple[Rollout, list[NDArray[Any]]]


@dataclass(frozen=True)
class PerturbedShard:
    """Some patients, the agent who treats them, and what goes wrong.

    Attributes:
        shard: Patients, agent, and the task in which doses are delivered.
        decided: The task for which the agent decides.
        perturbation: What goes wrong.
        course: The agent's unperturbed courses of these patients.
    """

    shard: Shard
    decided: Problem
    perturbation: Perturbation
    course: Course

    @property
    def gpus(self) -> int:
        """GPUs that the work needs."""
        return self.shard.gpus


class Cutter:
    """Cuts the courses of a study into shards that share their tasks.

    Args:
        problem: Environment and patients.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._parts = cut(len(problem.patients), together(problem, PATIENTS))

    def decided(self, agent: object) -> list[Shard]:
        """Shards of an agent's unperturbed courses, for :func:`treat_as_decided`."""
        return self._shards(self._problem, agent)

    def perturbed(
        self, agent: object, perturbation: Perturbation, course: Course
    ) -> list[PerturbedShard]:
        """Shards of an agent's perturbed courses, for :func:`treat_perturbed`.

        Args:
            agent: The agent.
            perturbation: What goes wrong.
            course: The agent's unperturbed courses of all patients.
        """
        usual = self._shards(self._problem, agent)
        shards = self._shards(perturbation.problem(self._problem), agent)
        return [
            PerturbedShard(shard, plain.problem, perturbation, course.part(part))
            for shard, plain, part in zip(shards, usual, self._parts, strict=True)
        ]

    def _shards(self, problem: Problem, agent: object) -> list[Shard]:
        return [Shard.of(problem, agent, part) for part in self._parts]


def treat_as_decided(shard: Shard, watch: bool = False) -> Decided:
    """One unperturbed episode with each patient; with ``watch`` also what the agent saw."""
    task = shard.task()
    spectator = Spectator(_fresh(shard.actor(task)))
    result = rollout(
        task, spectator, shard.problem.patients, shard.problem.seeds, record_actions=True
    )
    return result, spectator.seen if watch else []


def treat_perturbed(item: PerturbedShard) -> tuple[Rollout, Floats]:
    """One perturbed episode with each patient.

    Returns:
        The episodes, and the dose that was asked for and not given ``(lanes,)`` in its unit.
    """
    shard, usual = item.shard, item.decided.kept_task(1)
    agent = _fresh(shard.actor(usual))
    wrapped = PerturbedAgent(agent, item.perturbation, usual, shard.problem.seeds, item.course)
    task = shard.task()
    result = rollout(
        task, wrapped, shard.problem.patients, shard.problem.seeds, record_actions=True
    )
    return result, wrapped.lost(result.actions) * largest_dose(usual)


def joined_decided(task: TherapyTask, parts: Sequence[Decided]) -> tuple[Rollout, Course]:
    """The unperturbed courses of all patients out of those of the shards."""
    result = joined([rollout for rollout, _ in parts])
    decisions = max(len(seen) for _, seen in parts)
    seen = [
        np.concatenate([_seen_at(number, part) for _, part in parts]) for number in range(decisions)
    ]
    return result, Course.of(task, result.actions, seen)


def _seen_at(decision: int, seen: list[NDArray[Any]]) -> NDArray[Any]:
    """What was seen at a decision; after the last one anything will do, for no lane is active."""
    return seen[min(decision, len(seen) - 1)]


def _fresh(agent: object) -> Any:
    """An agent whose own random numbers, if any, start where they started in other runs."""
    return agent if isinstance(agent, _STATELESS) else copy.deepcopy(agent)
