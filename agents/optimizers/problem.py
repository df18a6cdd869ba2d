"""The question that plan optimisers answer, and the answer they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oncogym.agents.clinical import clinical_agents
from oncogym.agents.plan import PlanAgent
from oncogym.envs.therapy import Floats, PlanSpace, TherapyTask
from oncogym.envs.treatment import Treatment

# Lanes stepped together: enough to fill both cores, small enough to stay in the cache.
_MAX_LANES = 8192


class PlanProblem:
    """Find the open-loop plan with the highest mean return over some patients.

    Args:
        treatment: The treatment.
        options: Options of its task.
        patients: Patient rows ``(patients, fields)``; one plan serves all of them.
        seeds: Random key of each patient ``(patients,)``, by default their number.
    """

    def __init__(
        self,
        treatment: Treatment,
        options: dict[str, Any],
        patients: Floats,
        seeds: Any = None,
    ) -> None:
        self._treatment = treatment
        self._options = dict(options)
        self.patients = np.atleast_2d(np.asarray(patients, np.float64))
        count = len(self.patients)
        self._seeds = np.arange(count) if seeds is None else np.asarray(seeds)
        self._seeds = self._seeds.astype(np.uint64)
        self._tasks: dict[int, TherapyTask] = {}
        self.space = self._task(1).plan_space()
        self.evaluations = 0

    def _task(self, lanes: int) -> TherapyTask:
        if lanes not in self._tasks:
            if len(self._tasks) > 8:
                self._tasks.clear()
            self._tasks[lanes] = self._treatment.task(lanes, **self._options)
        return self._tasks[lanes]

    def actions(self, plan: Floats) -> Floats:
        """Actions ``(decisions, action size)`` of one plan ``(dimension,)``."""
        return self.space.decode(np.asarray(plan, np.float64)[None])[0]

    def score(self, plans: Floats) -> Floats:
        """Mean return over the patients of each plan: ``(plans, dimension)`` to ``(plans,)``.

        Higher is better. All plans are simulated together, in lanes.
        """
        plans = np.atleast_2d(np.asarray(plans, np.float64))
        group = max(1, _MAX_LANES // len(self.patients))
        return np.concatenate(
            [self._score(plans[i : i + group]) for i in range(0, len(plans), group)]
        )

    def _score(self, plans: Floats) -> Floats:
        count = len(self.patients)
        actions = np.repeat(self.space.decode(plans), count, axis=0)
        lanes = len(actions)
        task = self._task(lanes)
        task.reset(
            np.arange(lanes),
            np.tile(self.patients, (len(plans), 1)),
            np.tile(self._seeds, len(plans)),
            np.zeros(lanes, np.uint64),
        )
        active = np.ones(lanes, np.bool_)
        returns = np.zeros(lanes)
        for step in range(task.num_decisions):
            result = task.step(np.ascontiguousarray(actions[:, step]), active)
            returns += np.where(active, task.weighted_reward(result.reward_terms), 0.0)
            active &= ~(result.terminated | result.truncated)
            if not active.any():
                break
        self.evaluations += lanes
        return returns.reshape(len(plans), count).mean(axis=1)


def protocol_plans(treatment: Treatment, task: TherapyTask, space: PlanSpace) -> Floats:
    """Those clinical protocols that are points of a plan space: ``(k, dimension)``.

    A protocol is such a point when the space is the plain table of actions.
    """
    agents, _ = clinical_agents(treatment, task)
    plans = [agent.actions.ravel() for agent in agents.values() if isinstance(agent, PlanAgent)]
    inside = [
        plan
        for plan in plans
        if len(plan) == space.dimension
        and np.array_equal(space.decode(plan[None])[0].ravel(), plan)
    ]
    return np.array(inside).reshape(len(inside), space.dimension)


@dataclass(frozen=True)
class OptimizeResult:
    """What an optimiser found.

    Attributes:
        plan: Best point of the plan space ``(dimension,)``.
        actions: The same as actions ``(decisions, action size)``.
        score: Its mean return.
        history: Best score after each generation.
        evaluations: Simulated treatments (plans times patients).
        seconds: Wall time.
        method: Name of the optimiser.
        seed: Its seed.
        message: Why it stopped.
    """

    plan: Floats
    actions: Floats
    score: float
    history: list[float]
    evaluations: int
    seconds: float
    method: str
    seed: int
    message: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def agent(self, label: str = "Optimised plan") -> PlanAgent:
        """The open-loop agent that carries the plan out."""
        return PlanAgent(self.actions, label)


#: Called after each generation with the generation, the best score and the evaluations so far.
Progress = Callable[[int, float, int], None]
