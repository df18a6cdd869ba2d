"""What follows from a plan: courses computed on from snapshots, many plans for many patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.clinical import RuleAgent, clinical_agents
from oncogym.agents.plan import PlanAgent
from oncogym.envs.problem import Problem
from oncogym.envs.snapshots import Snapshot
from oncogym.envs.therapy import Floats, TherapyTask


@dataclass(frozen=True)
class Candidates:
    """Ways to go on with each patient of a batch.

    An action is that of a clinical protocol, plus an offset, moved into the box.

    Attributes:
        base: Number of the protocol ``(patients, plans)``.
        offsets: ``(patients, plans, decisions, action size)``, by the number of the decision.
    """

    base: NDArray[np.intp]
    offsets: Floats


class Bases:
    """Clinical protocols as starting points of plans: schedules, and rules that go on reacting.

    Args:
        problem: The problem; a protocol that it cannot express is left out.
        hidden: Whether rules that see hidden quantities take part; the problem then has to show
            what they need.
        plans: Further plans by name, that start as protocols do.

    Raises:
        ValueError: A plan has actions of another size than the task.
    """

    def __init__(
        self, problem: Problem, hidden: bool = False, plans: Mapping[str, PlanAgent] | None = None
    ) -> None:
        task = problem.task(1)
        agents, _ = clinical_agents(problem.treatment, task)
        suited = problem.variant.effort.protocols
        size = int(np.prod(task.action_space.shape))
        #: Names of the protocols.
        self.names: list[str] = []
        self._tables: list[Floats | None] = []
        self._rules: list[RuleAgent | None] = []
        for name, agent in agents.items():
            if isinstance(agent, RuleAgent):
                if hidden or not agent.options:
                    self._add(name, None, agent)
            elif isinstance(agent, PlanAgent) and (suited is None or name in suited):
                self._add(name, agent.actions, None)
        if not self.names:
            self._add("nothing", np.zeros((task.num_decisions, size)), None)
        for name, plan in (plans or {}).items():
            if plan.actions.shape[1] != size:
                raise ValueError(
                    f"plan {name!r} has actions of {plan.actions.shape[1]} numbers; allowed: {size}"
                )
            self._add(name, plan.actions, None)
        #: Numbers that a rule remembers of a patient at most.
        self.memory = max((agent.rule.memory for agent in self._rules if agent), default=0)

    def _add(self, name: str, table: Floats | None, rule: RuleAgent | None) -> None:
        self.names.append(name)
        self._tables.append(table)
        self._rules.append(rule)

    def __len__(self) -> int:
        return len(self.names)

    def forgotten(self, patients: int) -> Floats:
        """What every protocol remembers at the start ``(patients, protocols, memory)``: NaN."""
        return np.full((patients, len(self), self.memory), np.nan)

    def remember(
        self, task: TherapyTask, time: int, observation: NDArray[np.float32], memories: Floats
    ) -> Floats:
        """What every protocol remembers after an observation ``(patients, …)`` of a real course.

        Args:
            task: The task of the course.
            time: Number of the decision, from 0.
            observation: What is seen ``(patients, …)``.
            memories: What each protocol remembered before, ``(patients, protocols, …)``.
        """
        after = memories.copy()
        for number in range(len(self)):
            base = np.full(len(observation), number)
            _, after[:, number] = self.actions(task, base, time, observation, memories[:, number])
        return after

    def actions(
        self,
        task: TherapyTask,
        base: NDArray[np.intp],
        time: int,
        observation: NDArray[np.float32],
        memory: Floats,
    ) -> tuple[Floats, Floats]:
        """What protocols do and remember.

        Args:
            task: A task with the options in which they decide.
            base: Number of a protocol for each lane ``(k,)``.
            time: Number of the decision.
            observation: Observations ``(k, …)``.
            memory: What they remember ``(k, memory)``.

        Returns:
            Actions ``(k, action size)`` and the memory for the next decision.
        """
        size = int(np.prod(task.action_space.shape))
        out = np.zeros((len(base), size))
        memory = memory.copy()
        for number in np.unique(base):
            mine = base == number
            table, rule = self._tables[number], self._rules[number]
            if table is not None:
                out[mine] = table[time] if time < len(table) else 0.0
            else:
                assert rule is not None
                width = rule.rule.memory
                found, kept = rule.rule.actions(task, observation[mine], memory[mine, :width])
                out[mine] = np.clip(found, 0.0, 1.0)
                memory[mine, :width] = kept
        return out, memory


class ImaginedCourses:
    """Courses that plans would lead to.

    Args:
        problem: The model in which they are computed, without errors of measurement.
        bases: The protocols from which plans start.
        lanes: Courses computed together at most.
        horizon: Decisions looked ahead, ``None`` to the end.
    """

    def __init__(self, problem: Problem, bases: Bases, lanes: int, horizon: int | None) -> None:
        self._task = problem.task(lanes)
        self._bases = bases
        self._horizon = horizon
        self.decisions = self._task.num_decisions
        self.size = int(np.prod(self._task.action_space.shape))
        #: Decisions simulated so far.
        self.simulated = 0

    def ahead(self, time: int) -> int:
        """Decisions that are looked ahead from a decision."""
        left = self.decisions - time
        return left if self._horizon is None else min(left, self._horizon)

    def returns(
        self,
        states: Snapshot,
        going: NDArray[np.bool_],
        candidates: Candidates,
        time: int,
        now: NDArray[np.float32],
        memories: Floats,
    ) -> Floats:
        """Return of every plan in every state.

        Args:
            states: ``scenarios`` states of each patient, patient by patient.
            going: Whether the course of a state goes on ``(patients, scenarios)``.
            candidates: The plans.
            time: Number of the decision to be taken.
            now: What is really observed of each patient now ``(patients, …)``. The first action of
                a rule follows from it in all states of a patient, since it is taken before the
                state is known; later ones follow from what is observed in the course.
            memories: What every protocol remembers of each patient until then ``(patients,
                protocols, memory)``.

        Returns:
            ``(patients, plans, scenarios)``; 0 for a state that is over.
        """
        patients, plans = candidates.base.shape
        scenarios = going.shape[1]
        patient, plan, scenario = (
            axis.ravel() for axis in np.indices((patients, plans, scenarios))
        )
        chosen = np.flatnonzero(going[patient, scenario])
        out = np.zeros(len(patient))
        most = self._task.num_lanes
        for start in range(0, len(chosen), most):
            lanes = chosen[start : start + most]
            out[lanes] = self._courses(
                states.take(patient[lanes] * scenarios + scenario[lanes]),
                patient[lanes], plan[lanes], candidates, time, now, memories,
            )  # fmt: skip
        return out.reshape(patients, plans, scenarios)

    def _courses(
        self,
        states: Snapshot,
        patient: NDArray[np.intp],
        plan: NDArray[np.intp],
        candidates: Candidates,
        time: int,
        now: NDArray[np.float32],
        memories: Floats,
    ) -> Floats:
        task, count = self._task, len(patient)
        lanes = np.arange(count)
        task.restore(states, lanes)
        active = np.zeros(task.num_lanes, np.bool_)
        active[:count] = True
        returns = np.zeros(count)
        base = candidates.base[patient, plan]
        actions = np.zeros((task.num_lanes, self.size))
        seen = now[patient]
        memory = memories[patient, base]
        for step in range(time, time + self.ahead(time)):
            going = np.flatnonzero(active[:count])
            if not len(going):
                break
            wanted, memory[going] = self._bases.actions(
                task, base[going], step, seen[going], memory[going]
            )
            wanted += candidates.offsets[patient[going], plan[going], step]
            actions[going] = np.clip(wanted, 0.0, 1.0)
            result = task.step(actions.reshape(-1, *task.action_space.shape), active)
            returns[going] += task.weighted_reward(result.reward_terms)[going]
            active &= ~(result.terminated | result.truncated)
            seen = result.observation[:count]
            self.simulated += len(going)
        return returns


def knots(ahead: int, count: int) -> NDArray[np.intp]:
    """To which of at most ``count`` stretches each of the next decisions belongs ``(ahead,)``.

    Stretches grow geometrically: the next decision is a stretch of its own.
    """
    number = np.arange(min(count, ahead))
    starts = np.maximum(np.floor((ahead + 1.0) ** (number / count)).astype(np.intp) - 1, number)
    return np.searchsorted(starts, np.arange(ahead), side="right") - 1
