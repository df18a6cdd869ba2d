"""Parts of an evaluation: what is sent to a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.clinical import RuleAgent
from oncogym.agents.rollout import Rollout, rollout
from oncogym.agents.task_spec import TaskSpec
from oncogym.envs.protocols import Rule
from oncogym.envs.therapy import Floats, TherapyTask

#: Patients who are treated together. The same for every executor and number of workers, so that an
#: agent whose answers depend on the size of a batch in the last digit gives the same ones.
PATIENTS = 32


@dataclass(frozen=True)
class Shard:
    """Some patients of an evaluation and the agent who treats them.

    Attributes:
        spec: The task in which the agent acts.
        agent: The agent; for a closed-loop protocol of the treatment its name, and for any other
            rule the rule, which the worker applies in a task of its own.
        patients: Patient rows ``(lanes, fields)``.
        seeds: Random key of each patient ``(lanes,)``.
    """

    spec: TaskSpec
    agent: Any
    patients: Floats
    seeds: NDArray[np.uint64]

    @property
    def gpus(self) -> int:
        """GPUs that the work needs."""
        return self.spec.gpus

    @classmethod
    def of(cls, spec: TaskSpec, agent: Any, part: slice, patients: Floats, seeds: Any) -> Shard:
        """The ``part`` of all ``patients``; see :class:`oncogym.agents.Agent` for ``for_lanes``."""
        sent = agent
        if isinstance(agent, RuleAgent):
            names = [n for n, p in spec.treatment.protocols.items() if p is agent.rule]
            sent = names[0] if names else agent.rule
        elif hasattr(agent, "for_lanes"):
            sent = agent.for_lanes(part.start, part.stop, len(patients))
        return cls(spec, sent, patients[part], np.asarray(seeds, np.uint64)[part])

    def task(self) -> TherapyTask:
        """The task, with one lane a patient."""
        return self.spec.task(len(self.patients))

    def actor(self, task: TherapyTask) -> Any:
        """The agent as it decides for ``task``."""
        agent = self.agent
        if isinstance(agent, str):
            agent = self.spec.treatment.protocol(agent)
        return RuleAgent(agent, task) if isinstance(agent, Rule) else agent


def together(spec: TaskSpec, lanes: int = PATIENTS) -> int:
    """Patients who are treated together: ``lanes``, or on a GPU as many as it takes.

    A GPU is only busy with many.
    """
    task = spec.task(1)
    return task.max_lanes if task.device == "cuda" else min(lanes, task.max_lanes)


def cut(patients: int, most: int) -> list[slice]:
    """Parts of at most ``most`` patients, in order."""
    return [slice(start, min(start + most, patients)) for start in range(0, patients, most)]


def treat(shard: Shard) -> Rollout:
    """One episode with each patient of a shard."""
    task = shard.task()
    return rollout(task, shard.actor(task), shard.patients, shard.seeds)


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
