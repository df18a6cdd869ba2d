"""The published formulation: the source's weights, refined over a few decisions."""

from __future__ import annotations

import copy
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.core.checks import check_option
from oncogym.core.json_types import JsonObject
from oncogym.envs.impt_beam_weighting import refinement_kernels as kernel
from oncogym.envs.impt_beam_weighting.anatomies import anatomy
from oncogym.envs.impt_beam_weighting.plan_library import PLANS, check_same, model_digest
from oncogym.envs.impt_beam_weighting.planning.beams import BeamSet
from oncogym.envs.impt_beam_weighting.planning.influence import DoseInfluence, pencil_beams
from oncogym.envs.impt_beam_weighting.planning.objective import Problem
from oncogym.envs.impt_beam_weighting.planning.planner import standard_goal
from oncogym.envs.impt_beam_weighting.planning.published import PublishedModel
from oncogym.envs.impt_beam_weighting.planning.static_plans import NOMINAL_AIM, equal_weights
from oncogym.envs.impt_beam_weighting.planning.structures import REST
from oncogym.envs.impt_beam_weighting.records import (
    ORGAN_DOSE,
    ORGAN_REFINED,
    PLAN_REFINED,
    REFINEMENT,
    REFINEMENT_SETTINGS,
    TARGET_REFINED,
    Case,
)
from oncogym.envs.plan_spaces import PlanSpace
from oncogym.envs.protocols import Schedule, ScheduleError
from oncogym.envs.records import make_rows, names_of, pack_record, records_of, width_of
from oncogym.envs.snapshots import State
from oncogym.envs.therapy import Floats, LaneKeys, StepResult
from oncogym.envs.threads import Loop

# More spots than this are weighed in groups of those whose doses lie near one another.
_MOST_GROUPS = 64
_GROUPS = 40
_EQUAL = PLANS.index("equal")
# Constant data of the model, the same in every copy.
_SHARED = ("influence", "objective", "_case")
# Shared by copies, and cheap to pickle or made anew.
_ALSO = ("_settings", "action_parts", "initial", "organs", "observed")


@lru_cache(maxsize=8)
def _planning_problem(source: str, influence: str | None, digest: str) -> Problem:
    """The problem of a refinement: the source's, a phantom's, or a user's; made once."""
    if influence is not None:
        found = _few_groups(DoseInfluence.load(Path(influence)))
    elif source == "published":
        model = PublishedModel()
        return Problem(model.influence(), model.objective())
    else:
        phantom = anatomy(source)
        found = pencil_beams(phantom, BeamSet.for_target(phantom))
    return Problem(found, standard_goal(found, NOMINAL_AIM))


def _few_groups(influence: DoseInfluence) -> DoseInfluence:
    from oncogym.envs.impt_beam_weighting.planning.groups import centroid_groups

    if influence.num_groups <= _MOST_GROUPS:
        return influence
    if not influence.shape:
        raise ValueError(
            f"the influence has {influence.num_groups} groups of spots and no grid; allowed: "
            f"groups of its own, up to {_MOST_GROUPS}, or a grid by which they are formed"
        )
    return influence.grouped(centroid_groups(influence, _GROUPS, seed=0))


class Refinement:
    """State and dynamics of ``lanes`` refinements; the options are those of ``IMPTTask``.

    Patients are all alike, and there is no chance: keys of lanes change nothing.

    Args:
        lanes: Number of plans.
        phantom: Name of the phantom.
        influence: A dose-influence file instead of it.
        observation: What is seen.
        decisions: Refinements of a plan.
        max_factor: Largest factor of a weight in one refinement.
        coverage: The task's ``success_coverage``.
        hot: The task's ``hot_spot``.
    """

    #: For fewer lanes starting the threads costs more than they save.
    parallel_steps = 4
    #: The loop of a decision on one thread, and on all.
    loops = (kernel.refine_lanes, kernel.refine_lanes_parallel)

    def __init__(
        self,
        lanes: int,
        phantom: str,
        influence: str | None,
        observation: str,
        decisions: int,
        max_factor: float,
        coverage: float,
        hot: float,
    ) -> None:
        self._source = phantom, influence, model_digest(phantom, influence)
        problem = _planning_problem(*self._source)
        own = problem.influence
        self.initial = equal_weights(own)
        self._share(problem)
        self.organs = own.structures.oars
        self.num_decisions = int(decisions)
        self.num_groups = own.num_groups
        self._max_factor = check_option("max_factor", max_factor, 1.01, 1000.0)
        self._settings = pack_record(
            REFINEMENT_SETTINGS,
            steps=decisions,
            groups=self.num_groups,
            show_gradient=observation == "full",
            factor=self._max_factor,
            coverage=coverage,
            hot=hot,
            prescription=own.prescribed,
            ridge=problem.ridge,
        )
        self.action_parts = tuple(
            (f"group_{n + 1}", "times its weight") for n in range(self.num_groups)
        )
        self.action_space = Box(0.0, 1.0, (self.num_groups,), np.float32)
        bounds = self._bounds(observation == "full")
        self.observed = tuple(bounds)
        low, high = np.array(list(bounds.values()), np.float32).T
        self.observation_space = Box(low.copy(), high.copy(), dtype=np.float32)

        self._weights = np.zeros((lanes, own.num_spots))
        self._state = make_rows(lanes, REFINEMENT)
        self._organ_doses = np.zeros((lanes, len(self.organs), width_of(ORGAN_DOSE)))
        self._trail = np.full((lanes, self.num_decisions + 1), np.nan)

    def _bounds(self, full: bool) -> dict[str, tuple[float, float]]:
        """Least and largest value of each observed number, in the order in which they are shown."""
        groups = range(1, self.num_groups + 1)
        organs = [f"{organ}_{name}" for organ in self.organs for name in names_of(ORGAN_REFINED)]
        doses = (*names_of(TARGET_REFINED), *organs, *names_of(PLAN_REFINED))
        slopes = [f"slope_{group}" for group in groups] if full else []
        return {
            "time": (0.0, 1.0),
            **{f"change_{group}": (-20.0, 20.0) for group in groups},
            **dict.fromkeys(doses, (0.0, 10.0)),
            "value": (-20.0, 20.0),
            **dict.fromkeys(slopes, (-20.0, 20.0)),
        }

    @property
    def _records(self) -> NDArray[Any]:
        """The state of each lane by name ``(lanes,)``."""
        return records_of(self._state, REFINEMENT)

    def _share(self, problem: Problem) -> None:
        """Take the arrays of a problem, which all refinements of it have in common."""
        self.influence, self.objective = problem.influence, problem.objective
        own = self.influence
        structures = own.structures
        parts = [structures[structures.target].voxels]
        parts += [structures[name].voxels for name in structures.oars]
        parts.append(structures.exclusive(REST))
        limits = [structures[name].limit for name in structures.oars]
        starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        known = np.array([np.inf if one is None else float(one) for one in limits], np.float64)
        self._case = Case(
            own.data, own.indices, own.indptr, *problem.matrix, problem.terms,
            np.concatenate(parts), starts, known, own.groups, self.initial,
        )  # fmt: skip

    def __deepcopy__(self, memo: dict[int, Any]) -> Refinement:
        """A copy whose lanes are its own; the matrix and the problem are shared."""
        new = object.__new__(type(self))
        memo[id(self)] = new
        for name, value in self.__dict__.items():
            setattr(new, name, value if name in (*_SHARED, *_ALSO) else copy.deepcopy(value, memo))
        return new

    def __getstate__(self) -> dict[str, Any]:
        """The state of the lanes, without matrix and problem."""
        return {name: value for name, value in self.__dict__.items() if name not in _SHARED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up a state; a problem that this process does not have yet is made again."""
        self.__dict__.update(state)
        check_same(*self._source)
        self._share(_planning_problem(*self._source))

    def start(self, lanes: NDArray[np.intp], keys: LaneKeys, seen: NDArray[np.float32]) -> None:
        """Start with equal weights and write the observations into ``seen`` ``(k, …)``.

        Args:
            lanes: Lanes ``(k,)``.
            keys: Patients and random keys of all lanes.
            seen: Observations ``(k, …)``, written.
        """
        self._show(kernel.start_lanes, lanes, seen)
        self._trail[lanes] = np.nan
        self._trail[lanes, 0] = self._records["value"][lanes]

    def _show(self, loop: Loop, lanes: NDArray[np.intp], seen: NDArray[np.float32]) -> None:
        case, settings = self._case, self._settings
        loop(lanes, case, self._state, self._weights, self._organ_doses, settings, seen)

    def advance(
        self,
        loop: Loop,
        actions: Floats,
        active: NDArray[np.bool_],
        keys: LaneKeys,
        result: StepResult,
    ) -> None:
        """Change the weights of the active lanes; see :meth:`Course.advance`.

        Args:
            loop: How the kernel runs, serial or parallel.
            actions: Fractions in [0, 1], a row a lane.
            active: Which lanes advance ``(lanes,)``.
            keys: Patients and random keys of all lanes.
            result: What the step gives, written.
        """
        loop(
            active,
            actions,
            self._case,
            self._state,
            self._weights,
            self._organ_doses,
            self._settings,
            result.observation,
            result.reward_terms,
            result.costs,
            result.outcome,
            result.terminated,
            result.success,
        )
        lanes = np.flatnonzero(active)
        done = self._records["count"][lanes].astype(np.intp)
        self._trail[lanes, done] = self._records["value"][lanes]

    def observe(self, lanes: NDArray[np.intp], keys: LaneKeys, seen: NDArray[np.float32]) -> None:
        """Write the observations of lanes as they are into ``seen`` ``(k, …)``.

        Args:
            lanes: Lanes ``(k,)``.
            keys: Patients and random keys of all lanes.
            seen: Observations ``(k, …)``, written.
        """
        self._show(kernel.observe_lanes, lanes, seen)

    def lane_state(self) -> State:
        """Arrays of the lanes; see :meth:`TherapyTask.snapshot`."""
        return {
            "weights": self._weights,
            "state": self._state,
            "organ_doses": self._organ_doses,
            "trail": self._trail,
        }

    def receive(self, values: State) -> State:
        """All lanes are planned for the one patient: nothing has to be made for others."""
        return values

    def to_physical(self, action: Floats) -> JsonObject:
        """Factor of each group's weight."""
        reach = math.log(self._max_factor)
        factors = np.exp((2.0 * action - 1.0) * reach)
        return {name: factors[..., n] for n, (name, _) in enumerate(self.action_parts)}

    def schedule_actions(self, schedule: Schedule) -> Floats:
        """The only schedule here is the plan of equal weights, which is the start itself."""
        if any(plan != _EQUAL or dose != 1.0 for _, plan, dose in schedule.events):
            raise ScheduleError(
                f"{schedule.label}: a schedule of fractions; planning of weights has none"
            )
        return np.full((self.num_decisions, self.num_groups), 0.5)

    def plan_space(self) -> PlanSpace:
        """Final weights of the groups relative to equal ones, as logarithms.

        Each decision makes an equal part of the change.
        """
        reach = self.num_decisions * math.log(self._max_factor)
        # A twentieth of an equal weight is as good as none; a wider box only wastes a search.
        lower = np.full(self.num_groups, -min(reach, math.log(20.0)))

        def decode(plans: Floats) -> Floats:
            each = 0.5 + 0.5 * np.asarray(plans, np.float64) / reach
            shape = (len(each), self.num_decisions, self.num_groups)
            return np.clip(np.broadcast_to(each[:, None, :], shape), 0.0, 1.0)

        def encode(actions: Floats) -> Floats:
            return (actions[0] - 0.5) * 2.0 * reach

        return PlanSpace(lower, -lower, decode, encode)

    def describe(self, lane: int) -> str:
        """Decisions, cost and dose-volume numbers."""
        own = self._records[lane]
        organs = "   ".join(
            f"{name} max {100.0 * self._organ_doses[lane, n, 0]:.0f} % of its limit"
            for n, name in enumerate(self.organs)
        )
        return (
            f"decision {own['count']:.0f} of {self.num_decisions}   cost "
            f"{own['value']:.1f} (start {own['start']:.1f})   target D95 "
            f"{own['d95']:.1f}, mean {own['mean']:.1f}, D2 {own['d2']:.1f} "
            f"{self.influence.unit}   "
            f"{organs}\n"
        )

    def weights(self, lane: int) -> Floats:
        """Weights of a lane ``(spots,)``."""
        return self._weights[lane].copy()

    def trail(self, lane: int) -> Floats:
        """Cost of a lane at the start and after each decision so far."""
        own = self._trail[lane]
        return own[~np.isnan(own)]
