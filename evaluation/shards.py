"""Parts of an evaluation: what is sent to a worker."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.clinical import RuleAgent
from oncogym.agents.rollout import Rollout, rollout
from oncogym.agents.task_spec import TaskSpec
from oncogym.envs.therapy import Floats
from oncogym.envs.treatment import Rule

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


def treat(shard: Shard) -> Rollout:
    """One episode with each patient of a shard."""
    task = shard.spec.task(len(shard.patients))
    agent = shard.agent
    if isinstance(agent, str):
        agent = shard.spec.treatment.protocol(agent)
    if isinstance(agent, Rule):
        agent = RuleAgent(agent, task)
    return rollout(task, agent, shard.patients, shard.seeds)


def joined(parts: list[Rollout]) -> Rollout:
    """Episodes of several shards as those of one."""
    return Rollout(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Rollout)
        )
    )
