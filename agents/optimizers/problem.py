"""The question that plan optimisers answer, and the answer they give."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.clinical import clinical_agents
from oncogym.agents.optimizers.lane_batch import LaneBatch, lane_returns
from oncogym.agents.plan import PlanAgent
from oncogym.agents.task_spec import TaskSpec
from oncogym.core.checks import whole_number
from oncogym.envs.options import complete_options
from oncogym.envs.plan_spaces import PlanSpace, SlotSpace
from oncogym.envs.therapy import Floats, TherapyTask
from oncogym.envs.treatment import Treatment
from oncogym.parallel.base import Executor, LanesExecutor

# Plans of so many lanes are decoded at a time, where a task steps fewer lanes together than that.
_DECODED_LANES = 8192
# Sets the random keys of searches apart from those of evaluations; replicates use bits 32 and up.
_SEARCH = np.uint64(1) << np.uint64(62)
# The smallest piece worth sending to a worker is this part of the lanes that fill a machine.
_PARTS_OF_MAX_LANES = 256


class PlanProblem:
    """Find the open-loop plan with the highest mean return over some patients.

    Args:
        treatment: The treatment.
        options: Options of its task.
        patients: Patient rows ``(patients, fields)``; one plan serves all of them.
        seeds: Random key of each patient ``(patients,)``, below ``2**32``; by default their
            number. The same key means other chance here than in an evaluation: a plan must not fit
            the draws with which it will be judged.
        replicates: Simulations of each patient, with different seeds.
        max_lanes: Lanes stepped together at most; by default what the task says.

    Attributes:
        evaluations: Treatments simulated so far. One that was lost with its worker and simulated
            again counts once.

    Raises:
        ValueError: ``replicates`` or ``max_lanes`` is not an integer of at least 1.
    """

    def __init__(
        self,
        treatment: Treatment,
        options: dict[str, Any],
        patients: Floats,
        seeds: Any = None,
        *,
        replicates: int = 1,
        max_lanes: int | None = None,
    ) -> None:
        self._treatment = treatment
        self._options = dict(options)
        self._spec = TaskSpec(treatment, options)
        self.patients = np.atleast_2d(np.asarray(patients, np.float64))
        count = len(self.patients)
        self.replicates = whole_number("replicates", replicates, 1, 10**6)
        keys = np.arange(count) if seeds is None else np.asarray(seeds)
        self._lane_patients = np.tile(self.patients, (self.replicates, 1))
        self._lane_seeds = replicate_seeds(keys.astype(np.uint64) | _SEARCH, self.replicates)
        task = self._spec.task(1)
        self.space = task.plan_space()
        most = task.max_lanes if max_lanes is None else max_lanes
        self.max_lanes = whole_number("max_lanes", most, 1, 10**7)
        self.evaluations = 0

    def slot_space(self, max_dose: float | None = None, min_gap: float | None = None) -> SlotSpace:
        """The lattice of schedules of the task, see :meth:`TherapyTask.slot_space`.

        Raises:
            NotImplementedError: The model cannot be planned on time slots.
            ValueError: A limit is out of the model's range.
        """
        return self._spec.task(1).slot_space(max_dose, min_gap)

    def identity(self) -> dict[str, Any]:
        """What decides the scores, JSON-able: equal for two problems only if they score alike."""
        digest = hashlib.sha256(self._lane_patients.tobytes() + self._lane_seeds.tobytes())
        return {
            "treatment": self._treatment.name,
            "options": complete_options(self._treatment, self._options, numerical=True),
            "patients": f"{len(self.patients)} with sha256 {digest.hexdigest()[:16]}",
            "replicates": self.replicates,
        }

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
        group = max(1, max(self.max_lanes, _DECODED_LANES) // len(self._lane_seeds))
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
        count = len(self._lane_seeds)
        total = len(actions) * count
        # Whole plans where one fits, so that lanes are grouped the same for any number of plans.
        chunk = self.max_lanes // count * count or self.max_lanes
        pieces = executor.pieces_of(self._spec.gpus)
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
        plan, patient = np.divmod(lanes, len(self._lane_seeds))
        return LaneBatch(
            spec=self._spec,
            actions=actions[plan[0] : plan[-1] + 1],
            plan=plan - plan[0],
            patients=self._lane_patients[patient],
            seeds=self._lane_seeds[patient],
            episode=episode,
        )

    def _checked(self, actions: Floats) -> Floats:
        table = np.asarray(actions, np.float64)
        task = self._spec.task(1)
        shape = (task.num_decisions, *task.action_space.shape)
        if table.shape[1:] != shape:
            raise ValueError(f"actions have shape {table.shape}; allowed: (k, *{shape})")
        # Decoding may round by a hair; written so that NaN counts as outside.
        if len(table) and not (table.min() >= -1e-9 and table.max() <= 1.0 + 1e-9):
            raise ValueError(
                f"actions lie within {table.min()} to {table.max()}; allowed: finite, 0 to 1"
            )
        return table


def replicate_seeds(seeds: NDArray[np.uint64], replicates: int) -> NDArray[np.uint64]:
    """Seeds ``(replicates * patients,)``, one block a replicate; the first block is ``seeds``.

    Blocks lie 2**32 apart: patients' seeds are small numbers, so none comes twice.
    """
    blocks = np.arange(replicates, dtype=np.uint64) << np.uint64(32)
    return (blocks[:, None] + seeds[None, :]).ravel()


def protocol_plans(treatment: Treatment, task: TherapyTask, space: PlanSpace) -> Floats:
    """Those clinical protocols that are points of a plan space: ``(k, dimension)``."""
    agents, _ = clinical_agents(treatment, task)
    return encoded(space, [a.actions for a in agents.values() if isinstance(a, PlanAgent)])


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


@dataclass(frozen=True)
class OptimizeResult:
    """What an optimiser found.

    Attributes:
        plan: Best point of the space that was searched ``(dimension,)``: a plan of the plan space,
            or the doses [Gy] of a slot space.
        actions: The same as actions ``(decisions, action size)``.
        score: Its mean return.
        history: Best score after each generation.
        evaluations: Simulated treatments (plans times patients).
        seconds: Wall time.
        method: Name of the optimiser.
        seed: Its seed.
        message: Why it stopped.
        settings: Settings of the search, JSON-able.
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
