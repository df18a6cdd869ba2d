"""Adaptive therapy as a decision problem for any number of lanes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.core.checks import check_choice, check_option, whole_number
from oncogym.core.json_types import JsonObject
from oncogym.envs.adaptive_therapy import records
from oncogym.envs.adaptive_therapy import step_kernels as kernel
from oncogym.envs.adaptive_therapy.model import (
    LONGEST_SUBSTEP,
    PROGRESSION,
    SUBSTEP,
    AdaptiveCourse,
    AdaptivePatient,
    follow_rule,
    warn_of_control,
)
from oncogym.envs.outcomes import Metric
from oncogym.envs.plan_spaces import PlanSpace
from oncogym.envs.protocols import Schedule, ScheduleError
from oncogym.envs.records import check_order, make_rows, names_of, pack_record, records_of
from oncogym.envs.snapshots import State
from oncogym.envs.therapy import Floats, StepResult, TherapyTask
from oncogym.envs.threads import Loop

_OBJECTIVES: dict[str, dict[str, float]] = {
    "clinical": {"control": 1.0, "drug": 1.0},
    "published": {"visit": 0.1, "holiday": 0.05, "punishment": 0.0, "completion": 5.0},
}
# Days after which the published plan is over at the next visit.
_PUBLISHED_DAYS = 7300
# A vector of lanes holds at most about this many doses of courses.
_LARGEST_RECORD = 2_000_000
# Intervals of an open-loop plan: few courses last longer.
_PLANNED = 36


class AdaptiveTask(TherapyTask):
    """Dosing decisions at regular visits; all options are described on the page.

    Args:
        num_lanes: Number of independent treatments.
        formulation: ``"sound"``, or ``"published"`` for the source's visits every 30 days, its
            progression at visits only, its marker without noise and its reward.
        objective: Default reward weights, ``"clinical"`` or ``"published"``; by default that of
            the formulation.
        observation: ``"full"``, ``"measurable"``, or ``"marker"`` for N/n0 alone; by default
            ``"full"`` (sound) or ``"marker"`` (published).
        interval_days: Days between decisions, a whole number from 1 to 120; by default 28 (sound)
            or 30 (published).
        decisions: Length of the plan in decisions; by default 130 (sound) or until the first
            visit after 7300 days (published).
        doses: ``"continuous"`` or ``"on_off"``, which rounds the dose at 0.5; by default the
            first (sound) or the second (published).
        progression: Burden of progression in starting burdens, above 1.
        until: What ends a course before its plan does: ``"progression"``, or ``"death"``, at twice
            the starting burden or 0.95 of the capacity, whichever is less (sound formulation).
        cv: Coefficient of variation of the marker (``"measurable"``).
        reveal: Whether the full observation ends with n0, ln fR, cost and turnover.
        punish: Weight of the published reward's punishment, -10 to 0.
        substep: Longest step of the solver [d].
        reward_weights: Weights that replace the objective's, by reward term.
    """

    patient_class = AdaptivePatient
    observations = ("full", "measurable", "marker")
    reward_terms: ClassVar[tuple[str, ...]] = names_of(records.TERMS)
    objectives: ClassVar[Mapping[str, Mapping[str, float]]] = _OBJECTIVES
    costs: ClassVar[tuple[str, ...]] = names_of(records.COSTS)
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("ttp", "Time to progression", "d", True),
        Metric("progression_free_years", "Progression-free years", "a", True),
        Metric("time_off", "Share of time without drug", "", None),
        Metric("dose_fraction", "Mean dose", "", False),
        Metric("mean_burden", "Mean burden", "of the start", False),
        Metric("resistant_share", "Resistant share at the end", "", None),
        Metric("switches", "Switches between drug and none", "", None),
        Metric("days_above", "Days above the starting burden", "d", False),
        Metric("censored", "No progression within the plan", "", None),
        Metric("course_days", "Length of the course", "d", None),
        Metric("died", "Death within the plan", "", False),
    )
    check_order("outcome", [metric.name for metric in metrics], records.OUTCOME)
    action_parts = (("dose", "of the full dose"),)
    numerical_options: ClassVar[tuple[str, ...]] = ("substep",)
    exact_measurement: ClassVar[Mapping[str, Any]] = {"cv": 0.0}
    delivery_options: ClassVar[Mapping[str, Any]] = {"doses": "continuous"}

    def __init__(
        self,
        num_lanes: int,
        *,
        formulation: str = "sound",
        objective: str | None = None,
        observation: str | None = None,
        interval_days: int | None = None,
        decisions: int | None = None,
        doses: str | None = None,
        progression: float = PROGRESSION,
        until: str = "progression",
        cv: float = 0.1,
        reveal: bool = False,
        punish: float = 0.0,
        substep: float = SUBSTEP,
        reward_weights: Mapping[str, float] | None = None,
    ) -> None:
        published = formulation == "published"
        # Before the base class asks for the weights.
        self.punish = check_option("punish", punish, -10.0, 0.0)
        super().__init__(
            num_lanes,
            formulation=formulation,
            objective=objective,
            observation=observation or ("marker" if published else "full"),
            reward_weights=reward_weights,
        )
        usual = self._usual(interval_days, 28, 30)
        self.interval_days = whole_number("interval_days", usual, 1, 120)
        usual = self._usual(decisions, 130, _PUBLISHED_DAYS // self.interval_days + 1)
        self.num_decisions = whole_number("decisions", usual, 1, 20_000)
        kind = self._usual(doses, "continuous", "on_off")
        self.doses = check_choice("doses", kind, ("continuous", "on_off"))
        self.progression = check_option("progression", progression, math.nextafter(1.0, 2.0), 50.0)
        self.until = check_choice("until", until, ("progression", "death"))
        if published and until == "death":
            raise ValueError(
                "until is 'death'; allowed: 'progression' (formulation='published' ends there)"
            )
        if until == "death" and progression > kernel.DEATH_RATIO:
            raise ValueError(
                f"progression is {progression}; allowed with until='death': "
                f"at most {kernel.DEATH_RATIO:g}"
            )
        self.cv = check_option("cv", cv, 0.0, 1.0)
        if reveal and self.observation != "full":
            raise ValueError(
                f"reveal with observation {self.observation!r}; allowed: with 'full' only"
            )
        self.reveal = bool(reveal)
        self.horizon = float(self.num_decisions * self.interval_days)
        self.max_lanes = min(8192, max(256, _LARGEST_RECORD // self.num_decisions))

        self.action_space = Box(0.0, 1.0, (1,), np.float32)
        self.observed = records.column_names(self._observation)
        self.observation_space = self._make_observation_space()
        self.substep = check_option("substep", substep, 1e-3, LONGEST_SUBSTEP, "d")
        self._settings = pack_record(
            records.SETTINGS,
            interval=self.interval_days,
            decisions=self.num_decisions,
            progression=self.progression,
            on_off=self.doses == "on_off",
            published=self.published,
            until_death=self.until == "death",
            noise=self.cv,
            substep=self.substep,
        )
        self._state = make_rows(self.num_lanes, records.STATE)
        self._given = np.zeros((self.num_decisions, self.num_lanes))

    def default_weights(self) -> Mapping[str, float]:
        """Weights of the objective; that of the punishment is ``punish``."""
        weights = dict(super().default_weights())
        if self.objective == "published":
            weights["punishment"] = self.punish
        return weights

    @property
    def _observation(self) -> np.dtype[Any]:
        """The record that an observation is."""
        if self.observation == "full":
            return records.REVEALED if self.reveal else records.FULL
        return records.MARKER if self.observation == "marker" else records.MEASURABLE

    def _make_observation_space(self) -> Box:
        bounds = {
            "time": (0.0, 1.0),
            # The burden never exceeds the capacity, 1, and a start is at least the range's least.
            "marker": (0.0, 1.0 / AdaptivePatient.RANGES["n0"][0]),
            "ratio": (-1000.0, 1000.0),
            "dose": (0.0, 1.0),
            "since_off": (0.0, float(self.num_decisions)),
            "given": (0.0, 1.0),
            "n0": (0.0, 1.0),
            "log_fR": (-20.0, 0.0),
            "cost": (0.0, 1.0),
            "turnover": (0.0, 1.0),
            "log_markers": (records.LOG_MARKER_LOW, records.LOG_MARKER_HIGH),
            "doses": (0.0, 1.0),
            "measured": (0.0, 1.0),
        }
        low, high = np.array([bounds[name] for name in self.observed], np.float32).T
        return Box(low.copy(), high.copy(), dtype=np.float32)

    def _start_lanes(self, lanes: NDArray[np.intp], seen: NDArray[np.float32]) -> None:
        rows = self.patients[lanes]
        n0 = rows[:, 0].max(initial=0.0)
        if self.progression * n0 >= 1.0:
            raise ValueError(
                f"progression is {self.progression}; allowed: above 1 and below 1/n0 = {1.0 / n0:g}"
            )
        warn_of_control(rows, self.progression, stacklevel=5)
        start = self._choose(kernel.start_lanes, kernel.start_lanes_parallel, len(lanes))
        start(lanes, self._state, self.patients, self._given)
        self._observe_lanes(lanes, seen)

    def _advance_lanes(
        self, actions: Floats, active: NDArray[np.bool_], result: StepResult
    ) -> None:
        advance = self._choose(kernel.advance_lanes, kernel.advance_lanes_parallel)
        advance(
            active,
            actions,
            self._state,
            self.patients,
            self._given,
            self.seeds,
            self.episodes,
            self._settings,
            result.reward_terms,
            result.costs,
            result.outcome,
            result.terminated,
            result.success,
        )
        self._observe_lanes(self._all_lanes, result.observation)

    def _observe_lanes(self, lanes: NDArray[np.intp], seen: NDArray[np.float32]) -> None:
        observe = self._choose(*self._loops_of_sight(), len(lanes))
        observe(lanes, self._state, self.patients, self._settings, seen)

    def _loops_of_sight(self) -> tuple[Loop, Loop]:
        """The serial and the parallel loop that write what lanes show."""
        if self.observation == "full":
            if self.reveal:
                return kernel.revealed_lanes, kernel.revealed_lanes_parallel
            return kernel.full_lanes, kernel.full_lanes_parallel
        if self.observation == "marker":
            return kernel.marker_lanes, kernel.marker_lanes_parallel
        return kernel.measurable_lanes, kernel.measurable_lanes_parallel

    def observation_deviation(self, observation: NDArray[Any], patients: Floats) -> Floats:
        """Error of the marker; see :meth:`TherapyTask.observation_deviation`."""
        seen = np.asarray(observation)
        deviation = np.zeros(np.shape(seen))
        if self.observation == "measurable":
            # The first reading is a mean of several; older readings were shown before.
            measured = seen[:, records.find_column(records.MEASURABLE, "measured")] > 0.0
            deviation[:, 0] = np.where(measured, self.cv, 0.0)
            deviation[:, 1 : records.LAGS] = np.inf
        return deviation

    @property
    def _records(self) -> NDArray[Any]:
        """The state of each lane by name ``(lanes,)``."""
        return records_of(self._state, records.STATE)

    def _lane_state(self) -> State:
        # The record of a course has one row a decision.
        return {"state": self._state, "doses": self._given.T}

    def to_physical(self, action: Any) -> JsonObject:
        """``dose`` as a fraction of the full dose, rounded with ``doses="on_off"``."""
        dose = np.clip(np.asarray(action, np.float64), 0.0, 1.0)[..., 0]
        return {"dose": (dose >= 0.5).astype(np.float64) if self.doses == "on_off" else dose}

    def schedule_actions(self, schedule: Schedule) -> Floats:
        """Actions of a schedule of ``(number of the decision, dose)``, held until the next event.

        Events after the last decision are left out, since they have no effect.

        Raises:
            ScheduleError: A dose is neither off nor full where only these can be given.
        """
        actions = np.zeros((self.num_decisions, 1))
        for number, dose in sorted(schedule.events):
            if self.doses == "on_off" and dose not in (0.0, 1.0):
                raise ScheduleError(
                    f"{schedule.label}: a dose of {dose:g}; allowed: 0 and 1, as doses='on_off'"
                )
            actions[int(number) :, 0] = dose
        return actions

    def marker(self, observation: NDArray[Any]) -> Floats:
        """The last marker N/n0 ``(k,)`` that observations ``(k, …)`` show."""
        seen = np.asarray(observation, np.float64)
        if self.observation == "measurable":
            return np.exp(seen[:, 0])
        return seen[:, 1] if self.observation == "full" else seen[:, 0]

    def describe(self, lane: int) -> str:
        """Day, burden, dose and share of the resistant clone."""
        state = self._records[lane]
        sensitive, resistant = math.exp(state["log_sensitive"]), math.exp(state["log_resistant"])
        burden = sensitive + resistant
        return (
            f"day {state['time']:6.1f} of {self.horizon:g}   "
            f"burden {burden / self.patients[lane, 0]:.3f} of the start "
            f"(progression at {self.progression:g})   resistant {resistant / burden:.2%}\n"
            f"last dose {state['dose']:.2f}, {state['given']:.0f} days of full dose\n"
        )

    def clones(self, lanes: NDArray[np.intp]) -> Floats:
        """Logarithms of the sensitive and the resistant clone of lanes ``(k, 2)``: the truth."""
        found = self._records[lanes]
        return np.stack([found["log_sensitive"], found["log_resistant"]], axis=1)

    def elapsed(self, lane: int) -> float:
        """Days since the start of a lane's treatment."""
        return float(self._records["time"][lane])

    def plan_space(self) -> PlanSpace:
        """Doses of the first 36 intervals at most; the last one is held from then on."""
        planned = min(_PLANNED, self.num_decisions)

        def decode(plans: Floats) -> Floats:
            held = np.minimum(np.arange(self.num_decisions), planned - 1)
            return np.asarray(plans, np.float64)[:, held][:, :, None]

        def encode(actions: Floats) -> Floats:
            return np.asarray(actions, np.float64)[:planned, 0]

        return PlanSpace(np.zeros(planned), np.ones(planned), decode, encode)

    def given(self, lane: int) -> Floats:
        """Doses of a lane so far ``(k,)``."""
        return self._given[: int(self._records["step"][lane]), lane].copy()

    def course(self, lane: int) -> AdaptiveCourse | None:
        """The course of a lane up to now; ``None`` before its first decision."""
        doses = iter(self.given(lane).tolist())
        if self.elapsed(lane) <= 0.0:
            return None
        return follow_rule(
            lambda marker, dose: next(doses),
            self.patient(lane),
            self.interval_days,
            math.inf if self.published or self.until == "death" else self.progression,
            self.elapsed(lane),
            self.substep,
        )
