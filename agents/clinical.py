"""Clinical protocols, and the two reference agents every comparison needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.agent import Agent
from oncogym.agents.plan import PlanAgent
from oncogym.core.json_types import JsonObject
from oncogym.envs.problem import Problem
from oncogym.envs.protocols import HiddenError, Rule, ScheduleError
from oncogym.envs.therapy import TherapyTask
from oncogym.envs.treatment import Treatment


class RuleAgent:
    """Decides by a treatment's closed-loop rule.

    Args:
        rule: The rule.
        task: A task with the options of the environment in which the agent acts; its lanes are not
            used.
    """

    def __init__(self, rule: Rule, task: TherapyTask) -> None:
        self._rule = rule
        self._task = task
        self.label = rule.label

    @property
    def rule(self) -> Rule:
        """The rule."""
        return self._rule

    @property
    def options(self) -> JsonObject:
        """Options of the task in which the rule sees what it needs; empty if any task will do."""
        return dict(self._rule.options)

    @property
    def sees(self) -> str:
        """What the rule decides by, see :class:`oncogym.agents.agent.Agent`."""
        if not self._rule.looks:
            return "nothing"
        return "full state" if self._rule.options else self._task.sees

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float64], Any]:
        """Apply the rule to each observation; ``state`` is what the rule remembers."""
        if state is not None and episode_start is not None and np.any(episode_start):
            state = np.where(np.asarray(episode_start)[:, None], np.nan, state)
        return self._rule.actions(self._task, observation, state)


class RandomAgent:
    """Draws every action uniformly from the box.

    Args:
        size: Number of action components.
        seed: Seed of the agent's own generator.
    """

    label = "Random"
    sees = "nothing"

    def __init__(self, size: int, seed: int = 0) -> None:
        self._size = size
        self._seed = seed
        self._generator = np.random.default_rng(seed)
        self._lanes: tuple[slice, int] | None = None

    def for_lanes(self, start: int, stop: int, total: int) -> RandomAgent:
        """A new agent that draws for some lanes what one for all ``total`` lanes draws there.

        Args:
            start, stop: First lane, and the one after the last.
            total: Lanes of the whole batch.
        """
        agent = RandomAgent(self._size, self._seed)
        agent._lanes = slice(start, stop), total
        return agent

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float64], Any]:
        """Draw actions ``(batch, size)``."""
        if self._lanes is None:
            return self._generator.random((len(observation), self._size)), state
        lanes, total = self._lanes
        return self._generator.random((total, self._size))[lanes], state


def clinical_agent(treatment: Treatment, task: TherapyTask, name: str) -> Agent:
    """The agent that follows one of the treatment's clinical protocols.

    Args:
        treatment: The treatment.
        task: The task to act in.
        name: Name of the protocol.

    Raises:
        UnknownNameError: The treatment has no such protocol.
        ScheduleError: The task's decisions cannot express it.
    """
    protocol = treatment.protocol(name)
    if isinstance(protocol, Rule):
        try:
            protocol.actions(task, np.zeros((1, *task.observation_space.shape), np.float32))
        except HiddenError:
            if not protocol.options:
                raise
        return RuleAgent(protocol, task)
    return PlanAgent(task.schedule_actions(protocol), protocol.label)


def compared_agents(problem: Problem, task: TherapyTask) -> tuple[dict[str, Agent], dict[str, str]]:
    """Of :func:`clinical_agents` those that the environment compares by default.

    Args:
        problem: The environment.
        task: The task to act in.
    """
    agents, left_out = clinical_agents(problem.treatment, task)
    wanted = problem.variant.effort.protocols
    if wanted is not None:
        agents = {name: agents[name] for name in wanted if name in agents}
    return agents, left_out


def full_state_twins(problem: Problem, agents: Mapping[str, Agent]) -> dict[str, Agent]:
    """The rules among ``agents`` as they act where the model's state is shown, ``NAME@full``.

    The same patients with the same chance, in a task with ``observation="full"``: what measuring
    costs a rule. Nothing where the problem shows the full state itself, or a rule sees it already.
    """
    if problem.kept_task(1).sees == "full state":
        return {}
    found: dict[str, Agent] = {}
    for name, agent in agents.items():
        if isinstance(agent, RuleAgent) and not agent.options:
            rule = replace(
                agent.rule, label=f"{agent.label} (full state)", options={"observation": "full"}
            )
            task = problem.with_options(rule.options).task(1)
            try:
                rule.actions(task, np.zeros((1, *task.observation_space.shape), np.float32))
            except ScheduleError:
                continue
            found[f"{name}@full"] = RuleAgent(rule, task)
    return found


def clinical_agents(
    treatment: Treatment, task: TherapyTask
) -> tuple[dict[str, Agent], dict[str, str]]:
    """All protocols that the task can express, and why each of the others cannot be."""
    agents: dict[str, Agent] = {}
    left_out: dict[str, str] = {}
    for name in treatment.protocols:
        try:
            agents[name] = clinical_agent(treatment, task, name)
        except ScheduleError as error:
            left_out[name] = str(error)
    return agents, left_out
