"""Docetaxel by the blood count as a decision problem for any number of lanes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.core.checks import check_option, whole_number
from oncogym.core.json_types import JsonObject
from oncogym.envs.chemo_neutrophils import records
from oncogym.envs.chemo_neutrophils import step_kernels as kernel
from oncogym.envs.chemo_neutrophils.model import (
    COMMON,
    LABEL_DOSE,
    LARGEST_DOSE,
    NeutrophilCourse,
    NeutrophilPatient,
    grade,
    simulate,
)
from oncogym.envs.outcomes import Metric
from oncogym.envs.protocols import Schedule, ScheduleError
from oncogym.envs.records import check_order, make_rows, names_of, pack_record, records_of
from oncogym.envs.snapshots import State
from oncogym.envs.therapy import Floats, StepResult, TherapyTask
from oncogym.envs.validity import OUT_OF_RANGE


class NeutrophilTask(TherapyTask):
    """Doses at regular visits; all options are described on the page.

    Args:
        num_lanes: Number of independent treatments.
        observation: ``"full"`` or ``"measurable"``.
        interval_days: Days between decisions, a whole number from 1 to 42.
        decisions: Length of the course in decisions, 1 to 1000.
        max_dose: Largest single dose [mg/m^2], the physical value of action 1.
        dose_budget: Total dose [mg/m^2]; doses are cut to what is left.
        count_noise: Coefficient of variation of a blood count (``"measurable"``).
        scan_interval: Days between scans of the tumour (``"measurable"``).
        scan_noise: Standard deviation of ln of the scanned tumour (``"measurable"``).
        success_kill: log10 kill that counts as success.
        reward_weights: Weights that replace the objective's, by reward term.
    """

    patient_class = NeutrophilPatient
    observations = ("full", "measurable")
    reward_terms: ClassVar[tuple[str, ...]] = names_of(records.TERMS)
    objectives: ClassVar[Mapping[str, Mapping[str, float]]] = {
        "clinical": {"log_kill": 1.0, "grade4": 0.1, "grade3": 0.02}
    }
    costs: ClassVar[tuple[str, ...]] = names_of(records.COSTS)
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("log10_kill", "log10 kill", "log10 cells", True),
        Metric("nadir", "Lowest neutrophil count", "10^9/L", True),
        Metric("worst_grade", "Worst grade of neutropenia", "", False),
        Metric("grade4_days", "Days of grade 4", "d", False),
        Metric("grade3_days", "Days of grade 3 or 4", "d", False),
        Metric("longest_grade4", "Longest run of grade 4", "d", False),
        Metric("total_dose", "Total dose", "mg/m^2", None),
        Metric("doses", "Doses given", "", None),
        OUT_OF_RANGE,
    )
    check_order("outcome", [metric.name for metric in metrics], records.OUTCOME)

    action_parts = (("dose", "mg/m^2"),)
    exact_measurement: ClassVar[Mapping[str, Any]] = {"count_noise": 0.0, "scan_noise": 0.0}

    def __init__(
        self,
        num_lanes: int,
        *,
        observation: str = "full",
        interval_days: int = 7,
        decisions: int = 18,
        max_dose: float = 100.0,
        dose_budget: float = 600.0,
        count_noise: float = 0.1,
        scan_interval: float = 42.0,
        scan_noise: float = 0.2,
        success_kill: float = 1.0,
        reward_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(num_lanes, observation=observation, reward_weights=reward_weights)
        self.interval_days = whole_number("interval_days", interval_days, 1, 42)
        self.num_decisions = whole_number("decisions", decisions, 1, 1000)
        self.max_dose = check_option("max_dose", max_dose, 1e-3, LARGEST_DOSE, "mg/m^2")
        self.dose_budget = check_option("dose_budget", dose_budget, 1e-3, 1e6, "mg/m^2")
        self.horizon = float(self.num_decisions * self.interval_days)
        self.action_space = Box(0.0, 1.0, (1,), np.float32)
        measurable = self.observation == "measurable"
        self._settings = pack_record(
            records.SETTINGS,
            interval=self.interval_days,
            decisions=self.num_decisions,
            max_dose=self.max_dose,
            budget=self.dose_budget,
            measurable=measurable,
            count_noise=check_option("count_noise", count_noise, 0.0, 1.0),
            scan_interval=check_option("scan_interval", scan_interval, 1.0, 3650.0, "d"),
            scan_noise=check_option("scan_noise", scan_noise, 0.0, 10.0),
            success_kill=check_option("success_kill", success_kill, -100.0, 100.0),
            label=LABEL_DOSE,
            **COMMON,
        )
        bounds = records.MEASURED_BOUNDS if measurable else records.FULL_BOUNDS
        self.observed = tuple(bounds)
        low, high = np.array(list(bounds.values()), np.float32).T
        self.observation_space = Box(low.copy(), high.copy(), dtype=np.float32)
        self._state = make_rows(self.num_lanes, records.STATE)
        self._constants = make_rows(self.num_lanes, records.CONSTANTS)
        self._given = np.zeros((self.num_decisions, self.num_lanes))

    def _start_lanes(self, lanes: NDArray[np.intp], seen: NDArray[np.float32]) -> None:
        start = self._choose(kernel.start_lanes, kernel.start_lanes_parallel, len(lanes))
        start(
            lanes,
            self._state,
            self.patients,
            self._constants,
            self.seeds,
            self.episodes,
            self._settings,
        )
        self._given[:, lanes] = 0.0
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
            self._constants,
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
        observe = self._choose(kernel.observe_lanes, kernel.observe_lanes_parallel, len(lanes))
        observe(lanes, self._state, self.patients, self._settings, seen)

    def observation_deviation(self, observation: NDArray[Any], patients: Floats) -> Floats:
        """Errors of count and scan; see :meth:`TherapyTask.observation_deviation`."""
        seen = np.asarray(observation, np.float64)
        deviation = np.zeros(seen.shape)
        if self.observation == "measurable":
            settings = records_of(self._settings, records.SETTINGS)
            first, scan = self.observed.index("count"), self.observed.index("log_cells")
            since = seen[:, self.observed.index("since_scan")]
            deviation[:, first] = settings["count_noise"] * seen[:, first]
            # Older counts were shown before, and so is a scan between scans.
            deviation[:, first + 1 : scan] = np.inf
            fresh = (since == 0.0) & (seen[:, self.observed.index("time")] > 0.0)
            deviation[:, scan] = np.where(fresh, 0.1 * settings["scan_noise"], 0.0)
            deviation[since > 0.0, scan] = np.inf
        return deviation

    @property
    def _records(self) -> NDArray[Any]:
        """The state of each lane by name ``(lanes,)``."""
        return records_of(self._state, records.STATE)

    def _lane_state(self) -> State:
        # The record of a course has one row a decision.
        return {"state": self._state, "constants": self._constants, "doses": self._given.T}

    def to_physical(self, action: Any) -> JsonObject:
        """``dose`` [mg/m^2] asked for; the budget may leave less of it."""
        dose = np.clip(np.asarray(action, np.float64), 0.0, 1.0)[..., 0]
        return {"dose": dose * self.max_dose}

    def schedule_actions(self, schedule: Schedule) -> Floats:
        """Actions of a schedule of ``(day, dose [mg/m^2])``; doses after the course are left out.

        Raises:
            ScheduleError: A day is no visit, or a dose above the largest.
        """
        actions = np.zeros((self.num_decisions, 1))
        for day, dose in sorted(schedule.events):
            number, rest = divmod(day, self.interval_days)
            if rest:
                raise ScheduleError(
                    f"{schedule.label}: day {day:g}; allowed: multiples of {self.interval_days} d"
                )
            if dose > self.max_dose * (1.0 + 1e-12):
                raise ScheduleError(
                    f"{schedule.label}: {dose:g} mg/m^2; allowed: at most {self.max_dose:g}"
                )
            if number < self.num_decisions:
                actions[int(number), 0] = min(dose / self.max_dose, 1.0)
        return actions

    def count(self, observation: NDArray[Any]) -> Floats:
        """The neutrophil count [10^9/L] ``(k,)`` that observations ``(k, …)`` show."""
        return 10.0 * np.asarray(observation, np.float64)[:, self.observed.index("count")]

    def since_dose(self, observation: NDArray[Any]) -> Floats:
        """Days since the last dose ``(k,)``, infinite before the first."""
        seen = np.asarray(observation, np.float64)
        since = seen[:, self.observed.index("since_dose")]
        first = (seen[:, self.observed.index("last_dose")] == 0.0) & (since >= 1.0)
        return np.where(first, np.inf, np.round(since * self.horizon))

    def describe(self, lane: int) -> str:
        """Day, count with its grade, tumour, and doses so far."""
        state = self._records[lane]
        count = float(state["count"])
        start = np.log(self.patients[lane, NeutrophilPatient.FIELDS.index("initial_cells")])
        kill = (start - state["log_cells"]) / np.log(10.0)
        return (
            f"day {state['step'] * self.interval_days:5.0f} of {self.horizon:g}   "
            f"neutrophils {count:.2f} x 10^9/L (grade {grade(count):.0f})   "
            f"log10 kill {kill:.2f}\n"
            f"{state['doses']:.0f} doses, {state['given']:.0f} of "
            f"{self.dose_budget:g} mg/m^2\n"
        )

    def given(self, lane: int) -> Floats:
        """Doses of a lane so far ``(k,)`` [mg/m^2]."""
        return self._given[: int(self._records["step"][lane]), lane].copy()

    def course(self, lane: int) -> NeutrophilCourse | None:
        """The course of a lane up to now; ``None`` before its first decision."""
        doses = self.given(lane)
        if not len(doses):
            return None
        return simulate(doses, self.patient(lane), self.interval_days)
