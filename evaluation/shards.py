"""Parts of an evaluation: what is sent to a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from oncogym.agents.clinical import RuleAgent
from oncogym.agents.rollout import Rollout, rollout
from oncogym.envs.problem import Problem
from oncogym.envs.protocols import Rule
from oncogym.envs.therapy import Floats, TherapyTask

#: Patients who are treated together. The same for every executor and number of workers, so that an
#: agent whose answers depend on the size of a batch in the last digit gives the same ones.
PATIENTS = 32


@dataclass(frozen=True)
class Shard:
    """Some patients of an evaluation and the agent who treats them.

    Attributes:
        problem: The patients, and the task in which the agent acts.
        agent: The agent; for a closed-loop protocol of the treatment its name, and for any other
            rule the rule, which the worker applies in a task of its own.
    """

    problem: Problem
    agent: Any

    @property
    def gpus(self) -> int:
        """GPUs that the work needs."""
        return self.problem.gpus

    @classmethod
    def of(cls, problem: Problem, agent: object, part: slice) -> Shard:
        """The ``part`` of all patients; see :class:`oncogym.agents.Agent` for ``for_lanes``.

        A rule that has to see hidden quantities acts in a task that shows them: the same patients
        with the same chance.

        Args:
            problem: All patients.
            agent: Who treats them.
            part: Which patients are in the shard.
        """
        sent = agent
        if isinstance(agent, RuleAgent):
            problem = problem.with_options(agent.options)
            names = [n for n, p in problem.treatment.protocols.items() if p is agent.rule]
            sent = names[0] if names else agent.rule
        elif hasattr(agent, "for_lanes"):
            sent = agent.for_lanes(part.start, part.stop, len(problem.patients))
        return cls(problem.part(part), sent)

    def task(self) -> TherapyTask:
        """The task, with one lane a patient."""
        return self.problem.kept_task()

    def actor(self, task: TherapyTask) -> Any:
        """The agent as it decides for ``task``."""
        agent = self.agent
        if isinstance(agent, str):
            agent = self.problem.treatment.protocol(agent)
        if isinstance(agent, Rule):
            return RuleAgent(agent, task)
        return agent.bind(self.problem) if hasattr(agent, "bind") else agent


def together(problem: Problem, lanes: int = PATIENTS) -> int:
    """Patients who are treated together: ``lanes``, or on a GPU as many as it takes.

    A GPU is only busy with many.
    """
    task = problem.kept_task(1)
    return task.max_lanes if task.device == "cuda" else min(lanes, task.max_lanes)


def cut(patients: int, most: int) -> list[slice]:
    """Parts of at most ``most`` patients, in order."""
    return [slice(start, min(start + most, patients)) for start in range(0, patients, most)]


def treat(shard: Shard) -> Rollout:
    """One episode with each patient of a shard."""
    task = shard.task()
    problem = shard.problem
    return rollout(task, shard.actor(task), problem.patients, problem.seeds)


def joined(parts: Sequence[Rollout]) -> Rollout:
    """Episodes of several shards as those of one; recorded actions are NaN after the end."""
    decisions = max(part.actions.shape[1] for part in parts)
    parts = [replace(part, actions=_lengthened(part.actions, decisions)) for part in parts]
    return Rollout(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Rollout)
        )
    )


def _lengthened(actions: Floats, decisions: int) -> Floats:
    missing = ((0, 0), (0, decisions - actions.shape[1]), (0, 0))
    return np.pad(actions, missing, constant_values=np.nan)
