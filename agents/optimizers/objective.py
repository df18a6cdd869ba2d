"""The question that plan optimisers answer: how good is a plan for the patients of a problem?"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.clinical import clinical_agents
from oncogym.agents.optimizers.lane_batch import LaneBatch, lane_returns
from oncogym.agents.plan import PlanAgent
from oncogym.core.checks import whole_number
from oncogym.envs.plan_spaces import PlanSpace, SlotSpace
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats
from oncogym.parallel.base import LanesExecutor, pieces_of

# Plans of so many lanes are decoded at a time, where a task steps fewer lanes together than that.
_DECODED_LANES = 8192
# Sets the random keys of searches apart from those of evaluations; replicates use bits 32 and up.
_SEARCH = np.uint64(1) << np.uint64(62)
# The smallest piece worth sending to a worker is this part of the lanes that fill a machine.
_PARTS_OF_MAX_LANES = 256


class PlanObjective:
    """The mean return of an open-loop plan over the patients of a problem, to be maximised.

    Args:
        problem: Treatment, options and patients; one plan serves all of them. Their random keys
            have to lie below ``2**32``. The same key means other chance here than in an evaluation:
            a plan must not fit the draws with which it will be judged.
        replicates: Simulations of each patient, with different seeds.
        max_lanes: Lanes stepped together at most; by default what the task says.

    Attributes:
        space: The plan space of the task.
        evaluations: Treatments simulated so far. One that was lost with its worker and simulated
            again counts once.

    Raises:
        ValueError: ``replicates`` or ``max_lanes`` is not an integer of at least 1, or the problem
            has no patients.
    """

    def __init__(
        self, problem: Problem, *, replicates: int = 1, max_lanes: int | None = None
    ) -> None:
        if not len(problem.patients):
            raise ValueError("the problem has no patients; choose some with Problem.drawn")
        self.problem = problem
        self.replicates = whole_number("replicates", replicates, 1, 10**6)
        self._lanes = problem.with_patients(problem.patients, problem.seeds | _SEARCH).replicated(
            self.replicates
        )
        task = problem.kept_task(1)
        self.space: PlanSpace = task.plan_space()
        most = task.max_lanes if max_lanes is None else max_lanes
        self.max_lanes = whole_number("max_lanes", most, 1, 10**7)
        self.evaluations = 0

    def slot_space(self, max_dose: float | None = None, min_gap: float | None = None) -> SlotSpace:
        """The lattice of schedules of the task, see :meth:`TherapyTask.slot_space`.

        Raises:
            NotImplementedError: The model cannot be planned on time slots.
            ValueError: A limit is out of the model's range.
        """
        return self.problem.kept_task(1).slot_space(max_dose, min_gap)

    def identity(self) -> dict[str, Any]:
        """What decides the scores, JSON-able: equal for two objectives only if they score alike."""
        return {**self.problem.identity(), "replicates": self.replicates}

    def actions(self, plan: Floats) -> Floats:
        """Actions ``(decisions, action size)`` of one plan ``(dimension,)``."""
        return self.space.decode(np.asarray(plan, np.float64)[None])[0]

    def score(self, plans: Floats, executor: Executor | None = None) -> Floats:
        """Mean return over the patients of each plan: ``(plans, dimension)`` to ``(plans,)``.

        Higher is better. All plans are simulated together, in lanes, by ``executor`` or here; the
        scores are the same.

        Raises:
            ExecutorError: The workers cannot do it.
        """
        plans = np.atleast_2d(np.asarray(plans, np.float64))
        # Decoded in groups: the actions of a large population need not fit into memory at once.
        group = max(1, max(self.max_lanes, _DECODED_LANES) // len(self._lanes.seeds))
        return np.concatenate(
            [
                self.score_actions(self.space.decode(plans[i : i + group]), executor=executor)
                for i in range(0, len(plans), group)
            ]
        )

    def score_actions(
        self, actions: Floats, draw: int = 0, executor: Executor | None = None
    ) -> Floats:
        """Mean return over the patients of each row of actions.

        Args:
            actions: ``(k, decisions, action size)`` in [0, 1].
            draw: Which random streams the model uses. The same draw is the same chance for every
                row; another one is fresh chance for the same patients.
            executor: Who simulates; by default this process.

        Returns:
            Mean returns ``(k,)``, higher is better. Each is a mean over patients and replicates.

        Raises:
            ValueError: The actions are not a finite table within [0, 1], or ``draw`` is negative.
            ExecutorError: The workers cannot do it.
        """
        executor = executor or LanesExecutor()
        actions = self._checked(actions)
        count = len(self._lanes.seeds)
        total = len(actions) * count
        # Whole plans where one fits, so that lanes are grouped the same for any number of plans.
        chunk = self.max_lanes // count * count or self.max_lanes
        pieces = pieces_of(executor, self.problem.gpus)
        if pieces > 1:
            # Sending a piece takes as long as simulating a few lanes of a fast task.
            least = max(1, self.max_lanes // _PARTS_OF_MAX_LANES)
            chunk = min(chunk, max(least, -(-total // pieces)))
        episode = whole_number("draw", draw, 0, 2**64 - 1)
        batches = [
            self._batch(actions, np.arange(start, min(start + chunk, total)), episode)
            for start in range(0, total, chunk)
        ]
        returns = np.concatenate([np.empty(0), *executor.map(lane_returns, batches)])
        self.evaluations += total
        return returns.reshape(len(actions), count).mean(axis=1)

    def _batch(self, actions: Floats, lanes: NDArray[np.intp], episode: int) -> LaneBatch:
        """``lanes``, numbered over all plans, with the rows of ``actions`` that they need."""
        plan, patient = np.divmod(lanes, len(self._lanes.seeds))
        return LaneBatch(
            problem=self._lanes.part(patient),
            actions=actions[plan[0] : plan[-1] + 1],
            plan=plan - plan[0],
            episode=episode,
        )

    def _checked(self, actions: Floats) -> Floats:
        table = np.asarray(actions, np.float64)
        task = self.problem.kept_task(1)
        shape = (task.num_decisions, *task.action_space.shape)
        if table.shape[1:] != shape:
            raise ValueError(f"actions have shape {table.shape}; allowed: (k, *{shape})")
        # Decoding may round by a hair; written so that NaN counts as outside.
        if len(table) and not (table.min() >= -1e-9 and table.max() <= 1.0 + 1e-9):
            raise ValueError(
                f"actions lie within {table.min()} to {table.max()}; allowed: finite, 0 to 1"
            )
        return table


def as_objective(problem: object) -> Any:
    """A :class:`Problem` as an objective; anything else, which scores plans itself, as it is."""
    return PlanObjective(problem) if isinstance(problem, Problem) else problem


def protocol_plans(problem: Problem) -> Floats:
    """Those clinical protocols that are points of the plan space: ``(k, dimension)``."""
    task = problem.kept_task(1)
    agents, _ = clinical_agents(problem.treatment, task)
    plans = [agent.actions for agent in agents.values() if isinstance(agent, PlanAgent)]
    return encoded(task.plan_space(), plans)


def encoded(space: PlanSpace, tables: Sequence[Floats]) -> Floats:
    """Those action tables ``(decisions, action size)`` that lie in a plan space, as its points."""
    plans = [(np.asarray(space.encode(table), np.float64), table) for table in tables]
    inside = [
        plan
        for plan, table in plans
        if ((space.lower <= plan) & (plan <= space.upper)).all()
        and np.array_equal(space.decode(plan[None])[0], table)
    ]
    return np.array(inside).reshape(len(inside), space.dimension)
