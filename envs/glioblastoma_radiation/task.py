"""Glioblastoma radiation as a decision problem for any number of lanes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.core.checks import check_choice, check_option
from oncogym.core.json_types import JsonObject
from oncogym.envs.glioblastoma_radiation import kernels, records
from oncogym.envs.glioblastoma_radiation import step_kernels as kernel
from oncogym.envs.glioblastoma_radiation.accurate_lanes import AccurateLanes, beyond_source_grid
from oncogym.envs.glioblastoma_radiation.model import (
    DetectionError,
    DomainError,
    GlioblastomaPatient,
    StabilityError,
)
from oncogym.envs.outcomes import Metric
from oncogym.envs.plan_spaces import PlanSpace
from oncogym.envs.protocols import Schedule, ScheduleError
from oncogym.envs.radiobiology import ALPHA_BETA, LQ_OUTCOME, LQ_RANGE
from oncogym.envs.records import check_order, make_rows, names_of, pack_record, records_of
from oncogym.envs.snapshots import State
from oncogym.envs.therapy import Floats, StepResult, TherapyTask
from oncogym.envs.validity import OUT_OF_RANGE

_OBJECTIVES: dict[str, dict[str, float]] = {
    "clinical": {"quality_days": 1.0, "excess": 5.0},
    "published": {"survival": 1.0, "toxicity": 50.0},
}
_OBSERVATIONS = {
    "density": kernel.SEE_ROW,
    "full": kernel.SEE_FULL,
    "measurable": kernel.SEE_SCANS,
}
# Growth before detection is followed for at most this long in the sound formulation.
_MAX_GROWTH = 7300  # d
_PLAN_DOSE = 12.0  # Gy; no field over 25 mm has a larger safe dose
_DENSITY_SCALE = 1e5  # cells/mm^3, the upper bound of the published observation


class GlioblastomaTask(TherapyTask):
    """Daily doses after detection of a tumour; all options are described on the page.

    Args:
        num_lanes: Number of independent treatments.
        formulation: ``"sound"`` or ``"published"`` (stages, radii and bookkeeping of the source).
        objective: Default reward weights, ``"clinical"`` or ``"published"``; by default that of
            the formulation.
        observation: ``"full"``, ``"measurable"`` or ``"density"`` (the row of the source, its
            default there).
        weekends: Two idle days: after Friday (sound; therapy starts on a Monday), or after five
            consecutive decisions with a dose (published).
        total_dose: Total dose [Gy], the physical value of action 1.
        fractions_per_day: Equal fractions of each day's dose.
        margin: Treated rim around the T2 region [mm].
        safe_dose_cap: Largest safe daily dose [Gy]; 24 (sound) or none (published) by default.
        horizon: Longest follow-up [days]: from detection (sound, 1095 by default) or from the start
            of growth (published, 600).
        max_therapy_days: Days from detection after which the rest of the dose is forfeited (sound).
        length: Size of the domain [mm].
        scan_interval: Days between scans (``"measurable"``).
        scan_noise: Standard deviation of a radius read off a scan [mm] (``"measurable"``).
        success_ratio: Survival after detection, as a multiple of the untreated survival, that
            counts as success when no dose was above its limit.
        plan_days: Number of doses of an optimiser's plan.
        plan_gap: Longest idle gap [days] before each dose of a plan; 0 for daily doses only.
        numerics: ``"auto"`` (the source's grid of 1 mm and 1 d for patients whom it can follow, the
            accurate solver for the others), ``"published"`` (the source's grid, other patients are
            an error) or ``"accurate"`` (the accurate solver for all, about 100 times slower).
        reward_weights: Weights that replace the objective's, by reward term.
    """

    patient_class = GlioblastomaPatient
    observations = tuple(_OBSERVATIONS)
    #: Growth before detection takes a hundred times as long as a decision.
    parallel_lanes = 16
    parallel_steps = 256
    reward_terms: ClassVar[tuple[str, ...]] = names_of(records.TERMS)
    objectives: ClassVar[Mapping[str, Mapping[str, float]]] = _OBJECTIVES
    costs: ClassVar[tuple[str, ...]] = names_of(records.COSTS)
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("days_extended", "Days extended", "d", True),
        Metric("death_day", "Day of death", "d", True),
        Metric("quality_days", "Quality-weighted days", "d", True),
        Metric("total_dose", "Total dose", "Gy", None),
        Metric("therapy_days", "Days of therapy", "d", None),
        Metric("peak_dose", "Largest daily dose", "Gy", None),
        Metric("violations", "Doses over the limit", "", False),
        Metric("violation_rate", "Decisions over the limit", "%", False),
        Metric("survival_ratio", "Survival relative to no treatment", "", True),
        OUT_OF_RANGE,
        Metric("bed", "BED of the tumour", "Gy", None),
        Metric("eqd2_brain", "EQD2 of the brain within every field", "Gy", None),
        LQ_OUTCOME,
    )
    check_order("outcome", [metric.name for metric in metrics], records.OUTCOME)
    numerical_options: ClassVar[tuple[str, ...]] = ("numerics",)
    exact_measurement: ClassVar[Mapping[str, Any]] = {"scan_noise": 0.0}

    def __init__(
        self,
        num_lanes: int,
        *,
        formulation: str = "sound",
        objective: str | None = None,
        observation: str | None = None,
        weekends: bool = False,
        total_dose: float = 61.2,
        fractions_per_day: int = 1,
        margin: float = 25.0,
        safe_dose_cap: float | None = None,
        horizon: float | None = None,
        max_therapy_days: int = 120,
        length: float = 200.0,
        scan_interval: float = 7.0,
        scan_noise: float = 1.0,
        success_ratio: float = 1.4,
        plan_days: int = 14,
        plan_gap: int = 0,
        numerics: str = "auto",
        reward_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(
            num_lanes,
            formulation=formulation,
            objective=objective,
            observation=observation or ("density" if formulation == "published" else "full"),
            reward_weights=reward_weights,
        )
        published = self.published
        self.weekends = bool(weekends)
        self.total_dose = check_option("total_dose", total_dose, 0.1, 1000.0, "Gy")
        self.fractions_per_day = int(check_option("fractions_per_day", fractions_per_day, 1, 10))
        self.margin = check_option("margin", margin, 0.0, 100.0, "mm")
        cap = self._usual(safe_dose_cap, 24.0, math.inf)
        self.safe_dose_cap = check_option("safe_dose_cap", cap, 0.1, math.inf, "Gy")
        follow_up = self._usual(horizon, 1095, 600)
        self.horizon = int(check_option("horizon", follow_up, 2, 36500, "days"))
        self.max_therapy_days = int(
            check_option("max_therapy_days", max_therapy_days, 1, self.horizon, "days")
        )
        self.length = check_option("length", length, 50.0, 1000.0, "mm")
        self.plan_days = int(check_option("plan_days", plan_days, 1, 1000, "doses"))
        self.plan_gap = int(check_option("plan_gap", plan_gap, 0, 1000, "days"))
        self.numerics = check_choice("numerics", numerics, ("auto", "published", "accurate"))

        self.num_decisions = self.horizon if published else self.max_therapy_days
        self.action_parts = (("dose", "Gy"),)
        self.action_space = Box(0.0, 1.0, (1,), np.float32)
        self.nodes = round(self.length) + 1
        width = kernels.row_width(self.nodes)
        self._max_growth = self.horizon - 1 if published else _MAX_GROWTH
        self._settings = pack_record(
            records.SETTINGS,
            total=self.total_dose,
            margin=self.margin,
            blind=0.0 if published else self.margin,
            fractions=self.fractions_per_day,
            cap=self.safe_dose_cap,
            accurate=False,
            nodes=self.nodes,
            width=width,
            dx=kernel.DX,
            dt=1.0,
            per_day=1,
            mirror=False,
            sphere=False,
            interpolate=not published,
            kill=kernels.KILL_MAP,
            published=published,
            weekends=self.weekends,
            horizon=self.horizon,
            max_growth=self._max_growth,
            max_therapy=self.horizon if published else self.max_therapy_days,
            observation=_OBSERVATIONS[self.observation],
            scan_interval=check_option("scan_interval", scan_interval, 1.0, 1e4, "days"),
            scan_noise=check_option("scan_noise", scan_noise, 0.0, 100.0, "mm"),
            scale=_DENSITY_SCALE,
            success=check_option("success_ratio", success_ratio, 0.0, 1000.0),
            brain=ALPHA_BETA["brain"],
            lq_low=LQ_RANGE[0],
            lq_high=LQ_RANGE[1],
        )
        self.observed = self._observed()
        self.observation_space = self._observation_space()

        lanes = self.num_lanes
        # Patients whose growth is computed: a lane keeps it, whatever is restored into the lane.
        self._prepared = np.full_like(self.patients, np.nan)
        self._start_rows = np.zeros((lanes, width))
        self._starts = make_rows(lanes, records.START)
        # Two rows a lane; the heat kernel of the accurate solver is not needed with them.
        self._cells = np.zeros((lanes, 2 * width))
        self._no_taps = np.zeros(0)
        self._accurate = AccurateLanes(self.length)
        self._state = make_rows(lanes, records.STATE)
        self._dose_log = np.zeros((lanes, self.horizon if published else self.max_therapy_days + 2))
        # After a weekend the source shows the state before it, which nothing else keeps.
        shown = (lanes, *self.observation_space.shape) if published and self.weekends else (0,)
        self._shown = np.zeros(shown, np.float32)

    def _observed(self) -> tuple[str, ...]:
        """Names of the observed numbers; densities have none."""
        if self.observation == "density":
            return ()
        return names_of(records.SCANNED if self.observation == "measurable" else records.SEEN)

    def _observation_space(self) -> Box:
        if self.observation == "density":
            return Box(0.0, _DENSITY_SCALE, (self.nodes,), np.float32)
        tail = self.nodes if self.observation == "full" else 1
        high = np.array([*records.OBSERVED.values(), *[1.0] * tail], np.float32)
        return Box(np.zeros_like(high), high, dtype=np.float32)

    def _start_lanes(self, lanes: NDArray[np.intp], seen: NDArray[np.float32]) -> None:
        """Put ``lanes`` at the day of detection; growth is computed when a lane's patient changes.

        Raises:
            StabilityError: (``numerics="published"``) A patient's diffusion and proliferation are
                too large for a step of a day on the grid of 1 mm.
            DetectionError: A tumour is not detected within the horizon.
            DomainError: The domain is too small for a tumour.
            ValueError: The density observation cannot hold a patient's carrying capacity.
        """
        changed = lanes[(self._prepared[lanes] != self.patients[lanes]).any(axis=1)]
        if len(changed):
            self._prepare(changed)
        accurate = self._accurate.among(lanes) if self._accurate else None
        coarse = lanes if accurate is None else lanes[~accurate]
        kernel.start_lanes(
            coarse,
            self._cells,
            self._start_rows,
            self._starts,
            self._state,
            self.seeds,
            self.episodes,
            self._dose_log,
            self._settings,
        )
        if accurate is not None:
            self._accurate.start(
                lanes[accurate],
                self._starts,
                self._state,
                self.seeds,
                self.episodes,
                self._dose_log,
            )
        self._look(lanes, seen)
        if self._shown.size:
            self._shown[lanes] = seen

    def _observe_lanes(self, lanes: NDArray[np.intp], seen: NDArray[np.float32]) -> None:
        if self._shown.size:
            seen[:] = self._shown[lanes]
        else:
            self._look(lanes, seen)

    def _look(self, lanes: NDArray[np.intp], seen: NDArray[np.float32]) -> None:
        """Observations of the state as it is, weekend or not."""
        kernel.observe_lanes(lanes, self._cells, self._state, self._settings, seen)
        if self._accurate:
            for number in np.flatnonzero(self._accurate.among(lanes)).tolist():
                self._accurate.observe(int(lanes[number]), self._state, seen[number : number + 1])

    def observation_deviation(self, observation: NDArray[Any], patients: Floats) -> Floats:
        """Errors of the radii on the day of a scan; see :meth:`TherapyTask.observation_deviation`.

        The safe dose follows from the radii, and between scans the last one is shown again.
        """
        seen = np.asarray(observation, np.float64)
        deviation = np.zeros(seen.shape)
        if self.observation == "measurable":
            t1, t2, limit, since = (
                self.observed.index(name) for name in ("t1", "t2", "safe_dose", "since_scan")
            )
            noise = records_of(self._settings, records.SETTINGS)["scan_noise"]
            radii = seen[:, [t1, t2]]
            error = np.where(radii <= 0.0, 0.0, noise / kernel.DEATH_RADIUS)
            error[seen[:, since] > 0.0] = np.inf
            deviation[:, [t1, t2]] = error
            deviation[:, limit] = np.inf
        return deviation

    def _lane_state(self) -> State:
        if self._accurate:
            raise NotImplementedError(
                "a lane is computed by the accurate numerics, whose grid depends on the patient; "
                "only lanes of the published numerics can be copied"
            )
        # How a lane's tumour grew before detection stays with the lane: it is made again from the
        # patient when that is treated anew.
        state = {
            "cells": self._cells,
            "state": self._state,
            "dose_log": self._dose_log,
        }
        return {**state, "shown": self._shown} if self._shown.size else state

    def _prepare(self, lanes: NDArray[np.intp]) -> None:
        rows = self.patients[lanes]
        if self._accurate:
            self._accurate.drop(lanes)
        try:
            self._check_patients(rows)
            accurate = self._computed_accurately(rows)
            self._grow(lanes[~accurate])
            if accurate.any():
                self._accurate.prepare(lanes[accurate], self.patients, self._settings, self._starts)
            starts = records_of(self._starts[lanes], records.START)
            late = starts["growth"] < 0.0
            if late.any():
                raise DetectionError(
                    f"the tumour of {_name(rows, late)} does not reach "
                    f"{kernels.DETECTION_RADIUS:g} mm within {self._max_growth} d"
                )
            wide = starts["boundary"] > kernel.EDGE_DENSITY
            if wide.any():
                raise DomainError(
                    f"the tumour of {_name(rows, wide)} reaches the outer boundary before death; "
                    f"length is {self.length:g} mm and must be larger"
                )
        except ValueError:
            self.patients[lanes] = self._prepared[lanes] = np.nan  # nothing is prepared
            self._accurate.drop(lanes)
            raise
        self._prepared[lanes] = rows

    def _grow(self, lanes: NDArray[np.intp]) -> None:
        """Growth of the patients of ``lanes`` on the source's grid, that of the first one once."""
        new, same = lanes, lanes[:0]
        if len(lanes) > 1:
            rows = self.patients[lanes]
            equal = (rows == rows[0]).all(axis=1)
            equal[0] = False
            new, same = lanes[~equal], lanes[equal]
        prepare = self._choose(kernel.prepare_lanes, kernel.prepare_lanes_parallel, len(new))
        prepare(new, self.patients, self._no_taps, self._settings, self._starts, self._start_rows)
        if len(same):
            self._starts[same] = self._starts[lanes[0]]
            self._start_rows[same] = self._start_rows[lanes[0]]

    def _computed_accurately(self, rows: Floats) -> NDArray[np.bool_]:
        """Which patients ``(k, fields)`` are computed by the accurate solver."""
        if self.numerics == "auto":
            return beyond_source_grid(rows)
        return np.full(len(rows), self.numerics == "accurate")

    def _check_patients(self, rows: Floats) -> None:
        limit = kernels.largest_time_step(rows[:, 0], rows[:, 1], kernel.DX)
        unstable = limit < 1.0
        if self.numerics == "published" and unstable.any():
            raise StabilityError(
                f"numerics='published' has a step of 1 d on a grid of {kernel.DX:g} mm, which is "
                f"too long for {_name(rows, unstable)}; allowed: at most 1/(2 D/dx^2 + rho) = "
                f"{limit[unstable][0]:.4g} d; use numerics='auto' or 'accurate'"
            )
        dense = rows[:, 2] > _DENSITY_SCALE
        if self.observation == "density" and dense.any():
            raise ValueError(
                f"carrying_capacity is {rows[dense][0, 2]:g}; allowed with observation='density': "
                f"at most {_DENSITY_SCALE:g} cells/mm^3, the bound of the observation"
            )

    def _advance_lanes(
        self, actions: Floats, active: NDArray[np.bool_], result: StepResult
    ) -> None:
        """One decision, and after the last one the rest of the course."""
        coarse = active
        if self._accurate:
            coarse = active & ~self._accurate.among(self._all_lanes)
        advance = self._choose(kernel.advance_lanes, kernel.advance_lanes_parallel)
        advance(
            coarse,
            self._cells,
            self._no_taps,
            actions,
            self._state,
            self.patients,
            self._dose_log,
            self.seeds,
            self.episodes,
            self._settings,
            result.observation,
            result.reward_terms,
            result.costs,
            result.outcome,
            result.terminated,
            result.truncated,
            result.success,
        )
        if self._accurate:
            self._accurate.step(
                actions,
                active,
                self._state,
                self.patients,
                self._dose_log,
                self.seeds,
                self.episodes,
                result,
            )
        if self._shown.size:
            self._shown[:] = result.observation

    def to_physical(self, action: Any) -> JsonObject:
        """``dose`` [Gy] asked for; what is left of the total dose may be less."""
        values = np.clip(np.asarray(action, np.float64), 0.0, 1.0)
        return {"dose": values[..., 0] * self.total_dose}

    def safe_actions(self, actions: Floats) -> Floats:
        """Cut each dose to the safe dose of the field that would be treated now."""
        out = np.empty_like(actions)
        kernel.safe_lanes(self._all_lanes, actions, self._state, self._settings, out)
        return out

    def shown_safe_actions(self, observation: NDArray[Any]) -> Floats:
        """The safe dose that is shown, as a share of the total dose.

        See :meth:`TherapyTask.shown_safe_actions`.
        """
        if self.observation == "density":
            return super().shown_safe_actions(observation)
        place = self.observed.index("safe_dose")
        shown = np.asarray(observation, np.float64)[:, place : place + 1] * kernel.DOSE_SCALE
        # Rounding in an observation's float32 must not carry the dose over the limit.
        return np.minimum(shown * (1.0 - 2.0**-22) / self.total_dose, 1.0)

    def safe_doses(self, t2_radius: Floats) -> Floats:
        """Safe daily doses [Gy] for T2 radii ``(k,)`` [mm], -1 where no T2 region is visible."""
        return kernel.safe_doses(np.asarray(t2_radius, np.float64), self._settings)

    def plan_space(self) -> PlanSpace:
        """Daily doses up to 12 Gy for ``plan_days`` decisions, then none.

        With ``plan_gap`` each dose has a second variable, the idle days before it, so a plan has
        ``2 plan_days`` variables: all gaps, then all doses.
        """
        days, gap = self.plan_days, self.plan_gap
        largest = min(_PLAN_DOSE / self.total_dose, 1.0)
        doses = np.full(days, largest)
        upper = np.concatenate([np.full(days, gap + 1.0 - 1e-9), doses]) if gap else doses

        def decode(plans: Floats) -> Floats:
            plans = np.asarray(plans, np.float64)
            actions = np.zeros((len(plans), self.num_decisions, 1))
            if gap:
                at = np.cumsum(np.floor(plans[:, :days]).astype(np.intp) + 1, axis=1) - 1
            else:
                at = np.broadcast_to(np.arange(days), (len(plans), days))
            inside = at < self.num_decisions
            row = np.broadcast_to(np.arange(len(plans))[:, None], at.shape)
            actions[row[inside], at[inside], 0] = plans[:, -days:][inside]
            return actions

        def encode(actions: Floats) -> Floats:
            doses = actions[:, 0]
            at = np.flatnonzero(doses)[:days] if gap else np.arange(days)
            plan = np.zeros(len(upper))
            plan[len(upper) - days :][: len(at)] = doses[at]
            if gap:
                plan[: len(at)] = np.clip(np.diff(at, prepend=-1) - 1, 0, gap)
            return plan

        return PlanSpace(np.zeros(len(upper)), upper, decode, encode)

    def schedule_actions(self, schedule: Schedule) -> Floats:
        """Actions that give each ``(day, dose in Gy)``, day 0 being the first of therapy.

        Doses of one day add.

        Raises:
            ScheduleError: A day is not a decision day (a weekend, say), or the doses are above the
                total dose.
        """
        doses: dict[int, float] = {}
        for day, dose in schedule.events:
            if day != int(day) or day < 0:
                raise ScheduleError(f"{schedule.label}: day {day:g} is not a whole day from 0 on")
            doses[int(day)] = doses.get(int(day), 0.0) + dose
        if sum(doses.values()) > self.total_dose * (1.0 + 1e-9):
            raise ScheduleError(
                f"{schedule.label}: {sum(doses.values()):g} Gy are above the total dose, "
                f"{self.total_dose:g} Gy"
            )
        actions = np.zeros((self.num_decisions, 1))
        day = count = 0
        for number in range(self.num_decisions):
            dose = doses.pop(day, 0.0)
            actions[number, 0] = min(dose / self.total_dose, 1.0)
            day += 1
            if self.weekends and self.formulation == "published":
                count = count + 1 if dose > 0.0 else 0
                if count == 5:
                    count = 0
                    day += 2
            elif self.weekends and day % 7 == 5:
                day += 2
        if doses:
            raise ScheduleError(
                f"{schedule.label}: day {min(doses)} is not a decision day; "
                + ("weekends are idle and " if self.weekends else "")
                + f"decisions end on day {day - 1}"
            )
        return actions

    def describe(self, lane: int) -> str:
        """Day, radii, safe dose and doses so far."""
        state = self._records[lane]
        stage = "therapy" if state["stage"] == kernel.THERAPY_STAGE else "after therapy"
        limit = self.safe_doses(np.array([state["t2"]]))[0]
        given = ", ".join(f"{dose:.2f} on day {day:g}" for day, dose in self.given(lane)) or "none"
        radii = [
            f"{name} {radius:.1f} mm" if radius >= 0.0 else f"{name} not visible"
            for name, radius in zip(("T1", "T2"), self.radii(lane), strict=True)
        ]
        return (
            f"day {state['day']:.0f} ({self.elapsed(lane):.0f} from detection, {stage})   "
            f"{radii[0]}   {radii[1]}   safe dose {limit:.2f} Gy\n"
            f"dose {state['given']:.2f} of {self.total_dose:g} Gy; doses [Gy]: {given}\n"
        )

    @property
    def _records(self) -> NDArray[Any]:
        """The state of each lane by name ``(lanes,)``."""
        return records_of(self._state, records.STATE)

    def given(self, lane: int) -> list[tuple[float, float]]:
        """The doses of a lane so far as ``(day from detection, Gy)``, without the zero ones."""
        log = self._dose_log[lane]
        return [(float(day), float(log[day])) for day in np.flatnonzero(log)]

    def elapsed(self, lane: int) -> float:
        """Days since detection in a lane."""
        return float(self._records["day"][lane] - self._records["growth"][lane])

    def growth_days(self, lane: int) -> float:
        """Days of silent growth of a lane's tumour."""
        return float(self._records["growth"][lane])

    def radii(self, lane: int) -> tuple[float, float]:
        """T1 and T2 radius [mm] of a lane, -1 where the region is not visible."""
        return float(self._records["t1"][lane]), float(self._records["t2"][lane])

    def density(self, lane: int) -> Floats:
        """Density of a lane's tumour as a share of the carrying capacity, at 0, 1, 2, … mm."""
        if lane in self._accurate:
            return np.clip(self._accurate.density(lane, self.nodes), 0.0, 1.0)
        start = int(self._records["side"][lane]) * (self._cells.shape[1] // 2)
        return np.clip(self._cells[lane, start : start + self.nodes], 0.0, 1.0)

    def numerics_of(self, lane: int) -> str:
        """``"accurate"`` or ``"published"``: how a lane is computed."""
        return "accurate" if lane in self._accurate else "published"


def _name(rows: Floats, mask: NDArray[np.bool_]) -> str:
    return str(GlioblastomaPatient.from_array(rows[int(np.flatnonzero(mask)[0])]))
