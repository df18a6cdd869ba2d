"""Chemotherapy dosing as a decision problem for any number of lanes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.core.checks import check_choice, check_option
from oncogym.core.json_types import JsonObject
from oncogym.envs.chemo_dosing import records
from oncogym.envs.chemo_dosing import step_kernels as kernel
from oncogym.envs.chemo_dosing.model import ChemoPatient
from oncogym.envs.outcomes import Metric
from oncogym.envs.protocols import Schedule, ScheduleError
from oncogym.envs.records import check_order, make_rows, names_of, pack_record, records_of
from oncogym.envs.snapshots import State
from oncogym.envs.therapy import Floats, StepResult, TherapyTask
from oncogym.envs.validity import OUT_OF_RANGE

_OBJECTIVES: dict[str, dict[str, float]] = {
    "clinical": {
        "log_kill": 1.0,
        "toxicity": 2.0,
        "dose": 0.02,
        "tumour_control": 5.0,
        "failure": 10.0,
    },
    # Minus the source's cost: 1.0 N(T)/N0 + 0.5 max X - 0.3 mean C + penalties.
    "published": {"final_cells": 1.0, "peak_toxicity": 0.5, "exposure": 0.3, "violation": 10.0},
}


class ChemoTask(TherapyTask):
    """Dosing decisions over one course of chemotherapy; all options are described on the page.

    Args:
        num_lanes: Number of independent treatments.
        formulation: ``"sound"`` or ``"published"`` (the source's decisions, soft budget and course
            without failure; its six decisions wait first and then dose).
        decisions: ``"interval"`` (a dose every ``decision_interval`` days; sound) or ``"wait"``
            (published: six pairs of a waiting time and a dose; sound: a dose and the wait that
            follows it).
        objective: Default reward weights, ``"clinical"`` or ``"published"``; by default that of
            the formulation.
        observation: ``"full"`` or ``"measurable"``.
        horizon: Length of the course [days].
        decision_interval: Days between decisions when ``decisions="interval"``.
        max_dose: Largest single dose [mg/L], the physical value of action 1.
        dose_budget: Total dose [mg/L].
        hard_budget: Whether doses are cut to what the budget leaves (sound); if not (published),
            the excess is a cost.
        max_doses: Largest number of doses, ``None`` for no limit (``"wait"``: number of decisions,
            6 by default).
        max_wait: Longest waiting time [days], the physical value of action 1 (``"wait"``).
        first_day: Earliest day of the first dose (``"wait"``).
        toxicity_limit: Limit of the toxicity state.
        stop_on_failure: End the course with the failure term when toxicity passes 1.33 times its
            limit or the tumour 0.9 times its carrying capacity (sound).
        success_tcp: Tumour-control probability that counts as success.
        marker_noise: Standard deviation of ln(marker) (``"measurable"``).
        marker_delay: Days by which the marker lags (``"measurable"``).
        marker_limit: Fewest cells that the marker shows; fewer read as so many (``"measurable"``).
        toxicity_noise: Standard deviation of ln(measured toxicity) (``"measurable"``).
        reward_weights: Weights that replace the objective's, by reward term.
    """

    patient_class = ChemoPatient
    observations = ("full", "measurable")
    reward_terms: ClassVar[tuple[str, ...]] = names_of(records.TERMS)
    objectives: ClassVar[Mapping[str, Mapping[str, float]]] = _OBJECTIVES
    costs: ClassVar[tuple[str, ...]] = names_of(records.COSTS)
    observed: tuple[str, ...] = names_of(records.OBSERVATION)
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("log10_kill", "log10 kill", "log10 cells", True),
        Metric("tumour_control", "Tumour-control probability", "", True),
        Metric("peak_toxicity", "Peak toxicity", "", False),
        Metric("days_over_limit", "Days over the limit", "d", False),
        Metric("total_dose", "Total dose", "mg/L", None),
        Metric("doses", "Doses given", "", None),
        Metric("final_cells", "Final cells", "cells", False),
        Metric("exposure", "Plasma exposure (AUC)", "mg d/L", None),
        OUT_OF_RANGE,
    )
    check_order("outcome", [metric.name for metric in metrics], records.OUTCOME)

    exact_measurement: ClassVar[Mapping[str, Any]] = {"marker_noise": 0.0, "toxicity_noise": 0.0}

    def __init__(
        self,
        num_lanes: int,
        *,
        formulation: str = "sound",
        decisions: str | None = None,
        objective: str | None = None,
        observation: str = "full",
        horizon: float = 60.0,
        decision_interval: float = 1.0,
        max_dose: float = 10.0,
        dose_budget: float = 30.0,
        hard_budget: bool | None = None,
        max_doses: int | None = None,
        max_wait: float = 30.0,
        first_day: float = 0.0,
        toxicity_limit: float = 3.0,
        stop_on_failure: bool | None = None,
        success_tcp: float = 0.5,
        marker_noise: float = 0.2,
        marker_delay: float = 3.0,
        marker_limit: float = 1e6,
        toxicity_noise: float = 0.1,
        reward_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(
            num_lanes,
            formulation=formulation,
            objective=objective,
            observation=observation,
            reward_weights=reward_weights,
        )
        usual = self._usual(decisions, "interval", "wait")
        self.decisions = check_choice("decisions", usual, ("interval", "wait"))
        self.horizon = check_option("horizon", horizon, 1.0, 3650.0, "days")
        self.decision_interval = check_option(
            "decision_interval", decision_interval, 0.01, self.horizon, "days"
        )
        self.max_dose = check_option("max_dose", max_dose, 1e-6, 1e6, "mg/L")
        self.dose_budget = check_option("dose_budget", dose_budget, 1e-6, 1e6, "mg/L")
        if max_doses is not None:
            check_option("max_doses", max_doses, 1, 10_000)
        self.max_doses = None if max_doses is None else int(max_doses)
        self.max_wait = check_option("max_wait", max_wait, 0.01, self.horizon, "days")
        self.first_day = check_option("first_day", first_day, 0.0, self.horizon, "days")
        self.toxicity_limit = check_option("toxicity_limit", toxicity_limit, 1e-6, 1e6)
        hard = bool(self._usual(hard_budget, True, False))
        fails = bool(self._usual(stop_on_failure, True, False))

        waits = self.decisions == "wait"
        if waits:
            self.num_decisions = self.max_doses or 6
            dose, wait = ("dose", "mg/L"), ("wait", "d")
            # The source's decisions wait first; elsewhere a wait follows its dose.
            self.action_parts = (wait, dose) if self.published else (dose, wait)
        else:
            self.num_decisions = math.ceil(self.horizon / self.decision_interval - 1e-9)
            self.action_parts = (("dose", "mg/L"),)
        self.action_space = Box(0.0, 1.0, (len(self.action_parts),), np.float32)
        low, high = np.array(list(records.OBSERVED.values()), np.float32).T
        self.observation_space = Box(low.copy(), high.copy(), dtype=np.float32)
        marker_limit = check_option("marker_limit", marker_limit, 1e-300, 1e300, "cells")
        self._settings = pack_record(
            records.SETTINGS,
            horizon=self.horizon,
            interval=self.decision_interval,
            max_wait=self.max_wait,
            first_day=self.first_day,
            max_dose=self.max_dose,
            budget=self.dose_budget,
            hard_budget=hard,
            max_doses=self.num_decisions if waits else self.max_doses or 0,
            limit=self.toxicity_limit,
            fatal_toxicity=1.33 * self.toxicity_limit if fails else math.inf,
            fatal_share=0.9 if fails else math.inf,
            success_tcp=check_option("success_tcp", success_tcp, 0.0, 1.0),
            decisions=self.num_decisions,
            waits=waits,
            waits_first=waits and self.published,
            measurable=self.observation == "measurable",
            marker_noise=check_option("marker_noise", marker_noise, 0.0, 10.0),
            marker_delay=check_option("marker_delay", marker_delay, 0.0, 3650.0, "days"),
            marker_limit=math.log(marker_limit),
            toxicity_noise=check_option("toxicity_noise", toxicity_noise, 0.0, 10.0),
        )

        lanes = self.num_lanes
        self._state = make_rows(lanes, records.STATE)
        self._constants = make_rows(lanes, records.CONSTANTS)
        self._history_time = np.zeros((self.num_decisions + 1, lanes))
        self._history_log_cells = np.zeros((self.num_decisions + 1, lanes))
        self._dose_time = np.zeros((self.num_decisions, lanes))
        self._dose_size = np.zeros((self.num_decisions, lanes))

    def _start_lanes(self, lanes: NDArray[np.intp], seen: NDArray[np.float32]) -> None:
        start = self._choose(kernel.start_lanes, kernel.start_lanes_parallel, len(lanes))
        start(
            lanes,
            self._state,
            self.patients,
            self._constants,
            self._history_time,
            self._history_log_cells,
            self._settings,
        )
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
            self._history_time,
            self._history_log_cells,
            self._dose_time,
            self._dose_size,
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
        observe(
            lanes,
            self._state,
            self._history_time,
            self._history_log_cells,
            self.seeds,
            self.episodes,
            self._settings,
            seen,
        )

    def observation_deviation(self, observation: NDArray[Any], patients: Floats) -> Floats:
        """Errors of toxicity and marker; see :meth:`TherapyTask.observation_deviation`."""
        deviation = np.zeros(np.shape(observation))
        if self.observation == "measurable":
            settings = records_of(self._settings, records.SETTINGS)
            deviation[:, 2] = settings["toxicity_noise"] * np.asarray(observation)[:, 2]
            # The marker is shown relative to ln of the cells at the start.
            start = np.log(patients[:, ChemoPatient.FIELDS.index("initial_cells")])
            scale = np.maximum(start, kernel.LEAST_LOG_CELLS)
            deviation[:, 3] = settings["marker_noise"] / scale
        return deviation

    @property
    def _records(self) -> NDArray[Any]:
        """The state of each lane by name ``(lanes,)``."""
        return records_of(self._state, records.STATE)

    def _lane_state(self) -> State:
        return {
            "state": self._state,
            "constants": self._constants,
            # The records of a course have one row a decision.
            "history_time": self._history_time.T,
            "history_logn": self._history_log_cells.T,
            "dose_time": self._dose_time.T,
            "dose_size": self._dose_size.T,
        }

    def to_physical(self, action: Any) -> JsonObject:
        """``wait`` [days] (only with ``decisions="wait"``) and ``dose`` [mg/L] asked for.

        The budget may leave less of the dose than is asked for.
        """
        values = np.clip(np.asarray(action, np.float64), 0.0, 1.0)
        largest = {"dose": self.max_dose, "wait": self.max_wait}
        return {
            name: values[..., part] * largest[name]
            for part, (name, _) in enumerate(self.action_parts)
        }

    def safe_actions(self, actions: Floats) -> Floats:
        """Cut each dose so that the exact future toxicity peak stays within the limit."""
        out = np.empty_like(actions)
        kernel.safe_lanes(actions, self._state, self.patients, self._settings, out)
        return out

    def schedule_actions(self, schedule: Schedule) -> Floats:
        """Actions that give each ``(day, dose)`` of a schedule; doses of one day add.

        Doses at or after the horizon are left out, since they have no effect.

        Raises:
            ScheduleError: A dose does not fall on a decision, is too large, or there are too many.
        """
        doses: dict[float, float] = {}
        for day, dose in sorted(schedule.events):
            if day < self.horizon:
                doses[day] = doses.get(day, 0.0) + dose
        for day, dose in doses.items():
            if dose > self.max_dose * (1.0 + 1e-12):
                raise ScheduleError(
                    f"{schedule.label}: {dose:g} mg/L on day {day:g} is above the largest single "
                    f"dose, {self.max_dose:g} mg/L"
                )
        if self.max_doses is not None and len(doses) > self.max_doses:
            raise ScheduleError(
                f"{schedule.label}: {len(doses)} doses, but max_doses is {self.max_doses}"
            )
        build = self._wait_actions if self.decisions == "wait" else self._interval_actions
        return build(schedule, doses)

    def _interval_actions(self, schedule: Schedule, doses: Mapping[float, float]) -> Floats:
        actions = np.zeros((self.num_decisions, 1))
        for day, dose in doses.items():
            number = round(day / self.decision_interval)
            if abs(number * self.decision_interval - day) > 1e-9:
                raise ScheduleError(
                    f"{schedule.label}: day {day:g} is not a decision day; decisions are every "
                    f"{self.decision_interval:g} d"
                )
            actions[number, 0] += dose / self.max_dose
        return actions

    def _wait_actions(self, schedule: Schedule, doses: Mapping[float, float]) -> Floats:
        """Rows ``(wait, dose)`` as in the source, or ``(dose, wait)``."""
        first = min(doses, default=self.first_day)
        if first < self.first_day:
            raise ScheduleError(
                f"{schedule.label}: day {first:g} is before first_day, {self.first_day:g}"
            )
        days = list(doses)
        sizes = [dose / self.max_dose for dose in doses.values()]
        rows: list[tuple[float, float]] = []
        if self.published:
            for before, day, size in zip([self.first_day, *days], days, sizes, strict=False):
                *whole, rest = self._parts(before, day)
                rows += [(part, 0.0) for part in whole] + [(rest, size)]
            idle = (1.0, 0.0)
        else:
            if days and days[0] > self.first_day:
                days, sizes = [self.first_day, *days], [0.0, *sizes]
            for day, after, size in zip(days, days[1:], sizes, strict=False):
                first, *others = self._parts(day, after)
                rows += [(size, first)] + [(0.0, part) for part in others]
            rows += [(size, 1.0) for size in sizes[-1:]]
            idle = (0.0, 1.0)
        if len(rows) > self.num_decisions:
            raise ScheduleError(
                f"{schedule.label}: takes {len(rows)} decisions; allowed: {self.num_decisions}"
            )
        rows += [idle] * (self.num_decisions - len(rows))
        return np.array(rows)

    def _parts(self, now: float, day: float) -> list[float]:
        """The wait until a day as actions of one or more decisions."""
        parts = []
        while day - now > self.max_wait:
            parts.append(1.0)
            now += self.max_wait
        return [*parts, (day - now) / self.max_wait]

    def describe(self, lane: int) -> str:
        """Day, tumour, drug, toxicity and doses so far."""
        state = self._records[lane]
        given = (
            ", ".join(f"{dose:.2f} on day {day:.1f}" for day, dose in self.given(lane)) or "none"
        )
        return (
            f"day {state['time']:5.1f} of {self.horizon:g}   "
            f"cells 10^{state['log_cells'] / math.log(10.0):.2f}   "
            f"drug {state['concentration']:.2f} mg/L   "
            f"toxicity {state['toxicity']:.2f} (peak {state['peak']:.2f}, "
            f"limit {self.toxicity_limit:g})\n"
            f"dose {state['given']:.2f} of {self.dose_budget:g} mg/L; doses [mg/L]: {given}\n"
        )

    def given(self, lane: int) -> list[tuple[float, float]]:
        """The doses of a lane so far as ``(day, mg/L)``, without the zero ones."""
        taken = int(self._records["step"][lane])
        sizes = self._dose_size[:taken, lane]
        return [
            (float(day), float(size))
            for day, size in zip(self._dose_time[:taken, lane], sizes, strict=True)
            if size > 0.0
        ]

    def elapsed(self, lane: int) -> float:
        """Days since the start of a lane's treatment."""
        return float(self._records["time"][lane])
