"""EMT6/Ro fractionation as a decision problem for any number of lanes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.core.checks import check_option
from oncogym.core.json_types import JsonObject
from oncogym.envs.device import choose_device
from oncogym.envs.emt6ro_fractionation import kernels, records
from oncogym.envs.emt6ro_fractionation import step_kernels as kernel
from oncogym.envs.emt6ro_fractionation.model import EMT6RoPatient, biology_rows, on_grid
from oncogym.envs.emt6ro_fractionation.parameters import (
    REPAIR_DELAY,
    REPAIR_GROWTH,
    Parameters,
    fidelity_of,
)
from oncogym.envs.emt6ro_fractionation.protocol import SLOT_HOURS, Protocol, ProtocolError
from oncogym.envs.emt6ro_fractionation.rules import STEPS_PER_SLOT
from oncogym.envs.emt6ro_fractionation.tumour import State, Tumour
from oncogym.envs.emt6ro_fractionation.tumour_library import initial_states
from oncogym.envs.emt6ro_fractionation.validity import largest_acute_dose
from oncogym.envs.outcomes import Metric
from oncogym.envs.plan_spaces import PlanSpace, SlotSpace
from oncogym.envs.protocols import Schedule, ScheduleError
from oncogym.envs.radiobiology import ALPHA_BETA, LQ_OUTCOME, bed, eqd2, outside_lq_range
from oncogym.envs.records import check_order, make_rows, names_of, pack_record, records_of
from oncogym.envs.snapshots import Empty, Rows, copy_lanes, write_lanes
from oncogym.envs.snapshots import State as LaneState
from oncogym.envs.therapy import Floats, StepResult, TherapyTask
from oncogym.envs.twins import dealt
from oncogym.envs.validity import OUT_OF_RANGE

_OBJECTIVES: dict[str, dict[str, float]] = {
    "clinical": {"burden": 1.0, "regrowth": 0.25, "extinction": 1.0, "excess": 0.1},
    "published": {"fitness": 1.0},
}
#: Largest value of each number that an observation shows.
_TOPS = {"full": records.SUMMARY_TOPS, "measurable": records.MEASURED_TOPS}
_PHASES = ("G1", "S", "G2", "M", "D")
# Grid of the source's doses, Gy.
_PLAN_STEP = 0.25
# Lanes that a GPU steps together at most, 0.45 MB each.
_GPU_LANES = 8192


class EMT6RoTask(TherapyTask):
    """Fractions of a total dose on a growing spheroid; all options are described on the page.

    Args:
        num_lanes: Number of independent treatments.
        formulation: ``"sound"`` (a decision gives its dose at once and then waits) or
            ``"published"`` (it waits first, as the source's pairs do).
        objective: Default reward weights, ``"clinical"`` or ``"published"``; by default that of
            the formulation.
        observation: ``"full"``, ``"image"`` or ``"measurable"``.
        fidelity: ``"exact"``, ``"accelerated"`` or ``"screening"``, see ``simulate``.
        compression: Another compression than the fidelity's, 1 to 60.
        total_dose: Total dose [Gy].
        max_dose: Largest single dose [Gy], the physical value of action 1; at most what the law of
            repair is taken for, 19.36 Gy in 240 h.
        dose_step: Grid of the doses [Gy]; 0.25 (sound) or 0.01 (published) by default.
        treatment_hours: Time in which doses may be given [h].
        hours: Time at which the course ends [h].
        min_wait: Shortest wait [h]; 6 (sound) or 0 (published) by default.
        max_wait: Longest wait [h]; 30 (sound) or ``treatment_hours`` (published) by default.
        bed_limit: Biologically effective dose that late-responding tissue bears [Gy].
        alpha_beta: alpha/beta of that tissue [Gy].
        size_noise: Standard deviation of ln(measured radius) (``"measurable"``).
        success_ratio: Largest number of sites at the end, relative to the start, that counts as
            success when the limit is kept.
        plan_doses: Number of (dose, wait) pairs of an optimiser's plan.
        device: ``"cpu"``, ``"cuda"`` (an NVIDIA GPU) or ``"auto"``, see ``simulate``.
        reward_weights: Weights that replace the objective's, by reward term.

    Raises:
        DeviceError: There is no such device here.
    """

    patient_class = EMT6RoPatient
    observations = ("full", "image", "measurable")
    reward_terms: ClassVar[tuple[str, ...]] = names_of(records.TERMS)
    objectives: ClassVar[Mapping[str, Mapping[str, float]]] = _OBJECTIVES
    costs: ClassVar[tuple[str, ...]] = names_of(records.COSTS)
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("fitness", "Fitness (1500 - sites)", "sites", True),
        Metric("sites", "Occupied sites at the end", "sites", False),
        Metric("mean_burden", "Mean burden relative to the start", "", False),
        Metric("regrowth", "Sites at the end relative to the start", "", False),
        Metric("extinct", "Tumours that died out", "", True),
        Metric("late_bed", "BED of late-responding tissue", "Gy", False),
        Metric("total_dose", "Total dose", "Gy", None),
        Metric("fractions", "Fractions", "", None),
        Metric("last_dose", "Time of the last dose", "h", None),
        OUT_OF_RANGE,
        Metric("eqd2_late", "EQD2 of late-responding tissue", "Gy", None),
        Metric("bed", "BED of the tumour", "Gy", None),
        LQ_OUTCOME,
    )
    check_order("outcome", [metric.name for metric in metrics], records.OUTCOME)
    # A lane's lattice takes 140 kB, and one lane keeps a core busy.
    max_lanes = 64
    #: One lane of work pays for the start of the threads.
    parallel_lanes = 2
    numerical_options: ClassVar[tuple[str, ...]] = ("fidelity", "compression", "device")
    exact_measurement: ClassVar[Mapping[str, Any]] = {"size_noise": 0.0}
    # A divisor of the source's grid that is exact in binary.
    delivery_options: ClassVar[Mapping[str, Any]] = {"dose_step": 2.0**-9}

    def __init__(
        self,
        num_lanes: int,
        *,
        formulation: str = "sound",
        objective: str | None = None,
        observation: str = "full",
        fidelity: str = "accelerated",
        compression: int | None = None,
        total_dose: float = 10.0,
        max_dose: float = 5.0,
        dose_step: float | None = None,
        treatment_hours: float = 120.0,
        hours: float = 240.0,
        min_wait: float | None = None,
        max_wait: float | None = None,
        bed_limit: float = 25.0,
        alpha_beta: float = 3.0,
        size_noise: float = 0.05,
        success_ratio: float = 1.0,
        plan_doses: int = 8,
        device: str = "cpu",
        reward_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(
            num_lanes,
            formulation=formulation,
            objective=objective,
            observation=observation,
            reward_weights=reward_weights,
        )
        published = self.published
        self.fidelity = fidelity_of(fidelity, compression)
        self.total_dose = check_option("total_dose", total_dose, 0.01, 1000.0, "Gy")
        step = self._usual(dose_step, _PLAN_STEP, 0.01)
        self.dose_step = check_option("dose_step", step, 0.001, self.total_dose, "Gy")
        self.horizon = on_grid("hours", hours, 1.0, 8760.0)
        # The law of repair does not hold beyond.
        largest = float(largest_acute_dose(REPAIR_DELAY, REPAIR_GROWTH, hours))
        most = min(self.total_dose, largest)
        self.max_dose = check_option("max_dose", max_dose, self.dose_step, most, "Gy")
        self.treatment = on_grid("treatment_hours", treatment_hours, 0.5, hours)
        shortest = self._usual(min_wait, 6.0, 0.0)
        least = 0.0 if published else SLOT_HOURS
        self.least_wait = on_grid("min_wait", shortest, least, treatment_hours)
        longest = self._usual(max_wait, max(30.0, shortest), treatment_hours)
        self.max_wait = on_grid("max_wait", longest, max(shortest, SLOT_HOURS), hours)
        self.plan_doses = int(check_option("plan_doses", plan_doses, 1, 1000, "doses"))
        self.device = choose_device(device)

        if published:
            # As many as the source's grid has doses in the total.
            self.num_decisions = math.ceil(self.total_dose / _PLAN_STEP)
        else:
            self.num_decisions = math.ceil(self.treatment / self.least_wait)
        self.action_parts = (("dose", "Gy"), ("wait", "h"))
        self.action_space = Box(0.0, 1.0, (2,), np.float32)
        self._options = pack_record(
            records.OPTIONS,
            published=published,
            total_dose=self.total_dose,
            max_dose=self.max_dose,
            dose_step=self.dose_step,
            least_wait=self.least_wait,
            max_wait=self.max_wait,
            treatment=self.treatment,
            horizon=self.horizon,
            max_decisions=self.num_decisions,
            bed_limit=check_option("bed_limit", bed_limit, 0.01, 1e6, "Gy"),
            alpha_beta=check_option("alpha_beta", alpha_beta, 0.01, 1000.0, "Gy"),
            size_noise=check_option("size_noise", size_noise, 0.0, 10.0),
            success=check_option("success_ratio", success_ratio, 0.0, 1000.0),
        )
        self._settings = Parameters().settings(self.fidelity)
        self.bath = Parameters().bath
        self.observed = records.CHANNELS
        if self.observation != "image":
            self.observed = tuple(_TOPS[self.observation])
        self.observation_space = self._observation_space()

        lanes = self.num_lanes
        self._gpu: Any = None
        if self.device == "cuda":
            from oncogym.envs.emt6ro_fractionation.cuda.cuda_memory import CudaTumours

            self._gpu = CudaTumours(lanes, self._settings)
            self.max_lanes = _GPU_LANES
        # Where a GPU keeps the tumours, none are kept here.
        self._tumours = State.empty(0 if self._gpu else lanes)
        self._counters = make_rows(lanes, records.COUNTERS)
        self._biology = biology_rows(self.patients)
        self._state = make_rows(lanes, records.STATE)
        self._doses = np.zeros((lanes, self.horizon))
        self._history = np.zeros((lanes, self.horizon // kernels.HISTORY_SLOTS + 1))
        # A decision is begun and ended by one step, a sample is memory of one look.
        self._begun = make_rows(lanes, records.DECISION)
        self._samples = make_rows(lanes, records.SAMPLE)

    def _observation_space(self) -> Box:
        if self.observation == "image":
            shape = (len(self.observed), records.SIDE, records.SIDE)
            return Box(0.0, 1.0, shape, np.float32)
        top = np.array(list(_TOPS[self.observation].values()), np.float32)
        return Box(np.zeros_like(top), top, dtype=np.float32)

    @property
    def _own(self) -> NDArray[np.void]:
        """What the kernels keep of each lane, by name."""
        return records_of(self._state, records.STATE)

    def _option(self, name: str) -> float:
        return float(records_of(self._options, records.OPTIONS)[name])

    def _start_lanes(self, lanes: NDArray[np.intp], seen: NDArray[np.float32]) -> None:
        """Put the patients' tumours into ``lanes``.

        Tumours outside the shipped library are grown when they are first asked for.

        Raises:
            ValueError: A tumour of this age has reached the edge of the lattice.
        """
        rows = self.patients[lanes]
        self._biology[lanes] = biology_rows(rows)
        numbers, ages = rows[:, 4].astype(np.int64), rows[:, 5]
        if self._gpu is None:
            initial_states(numbers, ages, self._tumours, lanes)
            sites = np.count_nonzero(self._tumours.phase[lanes], axis=1)
        else:
            sites = self._send(lanes, numbers, ages)
        own = self._own
        own["initial"][lanes] = sites
        hours = self.horizon * SLOT_HOURS
        own["largest_acute"][lanes] = largest_acute_dose(rows[:, 1], rows[:, 2], hours)
        kernel.start_lanes(
            lanes, self._counters, self._state, self._doses, self._history, self._options
        )
        self._observe_lanes(lanes, seen)

    def _send(
        self, lanes: NDArray[np.intp], numbers: NDArray[np.int64], ages: Floats
    ) -> NDArray[np.intp]:
        """Put tumours into lanes on the GPU, each different one sent once; their sites."""
        different, rows = np.unique(np.stack([numbers, ages], axis=1), axis=0, return_inverse=True)
        rows = rows.reshape(-1)
        state = State.empty(len(different))
        initial_states(
            different[:, 0].astype(np.int64), different[:, 1], state, np.arange(len(different))
        )
        self._gpu.put(lanes, state.rows, rows)
        return np.count_nonzero(state.phase, axis=1)[rows]

    def _observe_lanes(self, lanes: NDArray[np.intp], seen: NDArray[np.float32]) -> None:
        flat = seen.reshape(len(lanes), -1)
        own = (self._counters, self._state, self._options)
        if self._gpu is not None:
            self._gpu.observe(self.observation, lanes, *own, self.seeds, self.episodes, flat)
            return
        loops = {
            "full": (kernel.observe_summaries, kernel.observe_summaries_parallel),
            "image": (kernel.observe_images, kernel.observe_images_parallel),
            "measurable": (kernel.observe_sizes, kernel.observe_sizes_parallel),
        }
        more: dict[str, tuple[NDArray[Any], ...]] = {
            "full": (self._settings, self._samples),
            "image": (self._settings,),
            "measurable": (self.seeds, self.episodes),
        }
        observe = self._choose(*loops[self.observation], len(lanes))
        observe(lanes, self._tumours.rows, *own, *more[self.observation], flat)

    def observation_deviation(self, observation: NDArray[Any], patients: Floats) -> Floats:
        """Error of the radius; see :meth:`TherapyTask.observation_deviation`.

        The radius relative to the first one follows from the readings of the radius.
        """
        seen = np.asarray(observation, np.float64)
        deviation = np.zeros(seen.shape)
        if self.observation == "measurable":
            radius, relative = map(self.observed.index, ("radius", "relative_radius"))
            deviation[:, radius] = self._option("size_noise") * seen[:, radius]
            deviation[:, relative] = np.inf
        return deviation

    def _lane_state(self) -> LaneState:
        tumours = self._tumours if self._gpu is None else State.form(self.num_lanes)
        return {
            **tumours.parts(),
            "counters": self._counters,
            "biology": self._biology,
            "state": self._state,
            "doses": self._doses,
            "history": self._history,
        }

    def _copy_lanes(self, state: LaneState, rows: Rows, empty: Empty) -> LaneState:
        if self._gpu is None:
            return super()._copy_lanes(state, rows, empty)
        lanes = np.arange(self.num_lanes)[rows]
        tumours = State(self._gpu.take(lanes)).parts()
        small = {name: array for name, array in state.items() if name not in tumours}
        return {**tumours, **copy_lanes(small, rows)}

    def _write_lanes(self, state: LaneState, rows: Rows, values: LaneState) -> None:
        if self._gpu is None:
            super()._write_lanes(state, rows, values)
            return
        lanes = np.arange(self.num_lanes)[rows]
        tumours = State.of_parts(values)
        self._gpu.put(lanes, tumours.rows, np.arange(len(lanes)))
        own = tumours.parts()
        small = {name: array for name, array in state.items() if name not in own}
        write_lanes(small, rows, values)

    def _advance_lanes(
        self, actions: Floats, active: NDArray[np.bool_], result: StepResult
    ) -> None:
        """One decision, and after the last one the rest of the course."""
        own = (self._counters, self._state)
        until = np.zeros(self.num_lanes, np.int64)
        taken = (self._doses, self._options, self._begun, until)
        kernel.decide_lanes(active, actions, *own, *taken)
        self._live(until)
        kernel.arrive_lanes(active, *own, *taken)
        self._live(until)
        kernel.reward_lanes(
            active,
            *own,
            self._options,
            self._begun,
            result.reward_terms,
            result.costs,
            result.outcome,
            result.terminated,
            result.success,
        )
        self._add_radiation_outcomes(result)
        self._observe_lanes(self._all_lanes, result.observation)

    def _live(self, until: NDArray[np.int64]) -> None:
        """Let the lanes' tumours live until a step ``(lanes,)`` each."""
        courses = (self._counters, self._biology)
        keys = (self.seeds, self.episodes)
        if self._gpu is not None:
            self._gpu.advance(until, *courses, self._doses, *keys, self._history)
            return
        serial = kernels.advance_lanes
        advance = self._choose(serial, kernels.advance_lanes_parallel)
        advance(
            self._all_lanes if advance is serial else dealt(self._all_lanes),
            self._tumours.rows, *courses, self._settings, self._doses, until, self._history, *keys,
        )  # fmt: skip

    def _add_radiation_outcomes(self, result: StepResult) -> None:
        """Outcomes which follow from the doses of a whole course."""
        over = np.flatnonzero(result.terminated)
        if not over.size:
            return
        doses, outcome = self._doses[over], records_of(result.outcome, records.OUTCOME)
        outcome["eqd2_late"][over] = eqd2(doses, self._option("alpha_beta"))
        outcome["bed"][over] = bed(doses, ALPHA_BETA["tumour"])
        outcome["lq_range"][over] = outside_lq_range(doses)

    def to_physical(self, action: Any) -> JsonObject:
        """``dose`` [Gy] and ``wait`` [h] asked for, on their grids; less dose may be left."""
        values = np.clip(np.asarray(action, np.float64), 0.0, 1.0)
        steps = np.floor(values[..., 0] * self.max_dose / self.dose_step + 0.5)
        slots = self.least_wait + values[..., 1] * (self.max_wait - self.least_wait)
        return {"dose": self.dose_step * steps, "wait": SLOT_HOURS * np.floor(slots + 0.5)}

    def safe_actions(self, actions: Floats) -> Floats:
        """Cut each dose so that the late-responding tissue stays within its limit."""
        out = actions.copy()
        out[:, 0] = np.minimum(out[:, 0], self._safe_share(self._own["bed"]))
        return out

    def shown_safe_actions(self, observation: NDArray[Any]) -> Floats:
        """What the shown dose to late-responding tissue leaves; infinity for the wait.

        See :meth:`TherapyTask.shown_safe_actions`.
        """
        if self.observation != "full":
            return super().shown_safe_actions(observation)
        share = np.asarray(observation, np.float64)[:, self.observed.index("late_bed")]
        # Rounding in an observation's float32 must not carry the dose over the limit.
        received = share * (1.0 + 2.0**-22) * self._option("bed_limit")
        safe = np.minimum(self._safe_share(received), 1.0)
        return np.stack([safe, np.full(len(share), np.inf)], axis=1)

    def _safe_share(self, received: Floats) -> Floats:
        """Largest dose after a BED received ``(k,)``, on the grid, as a share of the largest."""
        left = np.maximum(self._option("bed_limit") - received, 0.0)
        ratio = self._option("alpha_beta")
        # d (1 + d/ratio) = left, and down to the grid
        dose = 0.5 * ratio * (np.sqrt(1.0 + 4.0 * left / ratio) - 1.0)
        grid = self.dose_step * np.floor(dose / self.dose_step + 1e-9)
        return np.asarray(grid / self.max_dose, np.float64)

    def plan_space(self) -> PlanSpace:
        """``plan_doses`` doses, then as many waits, as actions; after them no dose."""
        count = self.plan_doses

        def decode(plans: Floats) -> Floats:
            plans = np.asarray(plans, np.float64)
            actions = self._idle(len(plans))
            used = min(count, self.num_decisions)
            actions[:, :used, 0] = plans[:, :used]
            actions[:, :used, 1] = plans[:, count : count + used]
            return actions

        def encode(actions: Floats) -> Floats:
            doses, waits = np.zeros(count), np.ones(count)
            used = min(count, len(actions))
            doses[:used], waits[:used] = actions[:used].T
            return np.concatenate([doses, waits])

        return PlanSpace(np.zeros(2 * count), np.ones(2 * count), decode, encode)

    def _idle(self, plans: int) -> Floats:
        actions = np.zeros((plans, self.num_decisions, 2))
        actions[:, :, 1] = 1.0
        return actions

    def slot_space(self, max_dose: float | None = None, min_gap: float | None = None) -> SlotSpace:
        """Doses in the half hours of the treatment time.

        Where waits have a least length, a first dose that comes sooner than that is given at once.

        Args:
            max_dose: Largest single dose [Gy], by default the task's.
            min_gap: Least hours between doses, by default the task's shortest wait, at least half
                an hour.
        """
        largest = self.max_dose if max_dose is None else max_dose
        check_option("max_dose", largest, min(_PLAN_STEP, self.max_dose), self.max_dose, "Gy")
        shortest = max(self.least_wait, 1) * SLOT_HOURS
        gap = shortest if min_gap is None else min_gap
        check_option("min_gap", gap, shortest, self.treatment * SLOT_HOURS, "h")

        def decode(schedules: Floats) -> Floats:
            actions = self._idle(len(schedules))
            for row, doses in enumerate(self._reachable(schedules)):
                rows = self._decisions(Protocol.from_slots(doses), "schedule")
                actions[row, : len(rows)] = rows
            return actions

        step = max(self.dose_step, _PLAN_STEP)
        return SlotSpace(
            self.treatment, SLOT_HOURS, step, largest, self.total_dose, gap, decode, "Gy", "h"
        )

    def _reachable(self, schedules: Floats) -> Floats:
        """Schedules whose first dose is at the start or after the least wait."""
        moved = np.array(schedules, np.float64)
        early = moved[:, 1 : self.least_wait]
        if early.size and self.formulation == "sound":
            alone = moved[:, 0] == 0.0
            moved[alone, 0] = early[alone].sum(axis=1)
            early[alone] = 0.0
        return moved

    def schedule_actions(self, schedule: Schedule) -> Floats:
        """Actions that give each ``(time [h], dose [Gy])``; times go down to the half hour.

        Raises:
            ScheduleError: A dose is off its grid, too large, too late or too soon after another, or
                the total is above the task's.
        """
        try:
            protocol = Protocol.from_times(
                [(float(hour), float(dose)) for hour, dose in schedule.events], schedule.label
            )
        except ProtocolError as error:
            raise ScheduleError(str(error)) from None
        actions = self._idle(1)[0]
        rows = self._decisions(protocol, schedule.label)
        actions[: len(rows)] = rows
        return actions

    def _decisions(self, protocol: Protocol, label: str) -> Floats:
        """Actions ``(decisions, 2)`` that carry out a protocol."""
        if protocol.total > self.total_dose * (1.0 + 1e-9):
            raise ScheduleError(
                f"{label}: {protocol.total:g} Gy are above the total dose, {self.total_dose:g} Gy"
            )
        for slot, dose in protocol.doses:
            steps = dose / self.dose_step
            if dose > self.max_dose * (1.0 + 1e-9) or abs(steps - round(steps)) > 1e-6:
                raise ScheduleError(
                    f"{label}: {dose:g} Gy; allowed: multiples of {self.dose_step:g} Gy up to "
                    f"{self.max_dose:g} Gy"
                )
            if slot >= self.treatment:
                raise ScheduleError(
                    f"{label}: a dose at {slot * SLOT_HOURS:g} h; allowed: before "
                    f"{self.treatment * SLOT_HOURS:g} h"
                )
        gaps = [
            (dose / self.max_dose, after - before)
            for (before, _), (after, dose) in zip(
                [(0, 0.0), *protocol.doses], protocol.doses, strict=False
            )
        ]
        if self.published:
            rows = [row for dose, gap in gaps for row in self._waited(dose, gap, label)]
        else:
            # Here a dose comes before its wait: each gap belongs to the dose before it.
            doses = [0.0, *(dose for dose, _ in gaps)]
            waits = [gap for _, gap in gaps]
            if protocol.doses and not waits[0]:
                doses, waits = doses[1:], waits[1:]
            rows = []
            for dose, gap in zip(doses, waits, strict=False):
                parts = self._parts(gap, label)
                rows += [(dose if n == 0 else 0.0, part) for n, part in enumerate(parts)]
            if protocol.doses:
                rows.append((doses[-1], 1.0))
        if len(rows) > self.num_decisions:
            raise ScheduleError(
                f"{label}: takes {len(rows)} decisions; allowed: {self.num_decisions}"
            )
        return np.array(rows, np.float64).reshape(len(rows), 2)

    def _waited(self, dose: float, gap: int, label: str) -> list[tuple[float, float]]:
        parts = self._parts(gap, label)
        return [(0.0, part) for part in parts[:-1]] + [(dose, parts[-1])]

    def _parts(self, gap: int, label: str) -> list[float]:
        """The wait of ``gap`` slots as actions of one or more decisions."""
        count = max(1, math.ceil(gap / self.max_wait))
        if gap < count * self.least_wait:
            raise ScheduleError(
                f"{label}: a gap of {gap * SLOT_HOURS:g} h; allowed: waits of "
                f"{self.least_wait * SLOT_HOURS:g} to {self.max_wait * SLOT_HOURS:g} h"
            )
        waits = [gap // count + (1 if n < gap % count else 0) for n in range(count)]
        width = max(self.max_wait - self.least_wait, 1)
        return [(wait - self.least_wait) / width for wait in waits]

    def describe(self, lane: int) -> str:
        """Time, sites, phases and doses so far."""
        tumour = self.tumour(lane)
        phases = np.bincount(tumour.phase.ravel(), minlength=6)[1:]
        named = "  ".join(f"{n} {c}" for n, c in zip(_PHASES, phases, strict=True))
        given = ", ".join(f"{dose:g} at {hour:g} h" for hour, dose in self.given(lane)) or "none"
        own = self._own[lane]
        return (
            f"{self.elapsed(lane):.1f} of {self.horizon * SLOT_HOURS:g} h   {tumour.sites} sites "
            f"(start {own['initial']:.0f})   {named}\n"
            f"dose {self.total_dose - own['remaining']:g} of {self.total_dose:g} Gy, "
            f"late BED {own['bed']:.1f} of {self._option('bed_limit'):g} Gy; "
            f"doses [Gy]: {given}\n"
        )

    def given(self, lane: int) -> list[tuple[float, float]]:
        """The doses of a lane so far as ``(time [h], Gy)``."""
        doses = self._doses[lane]
        return [(SLOT_HOURS * int(slot), float(doses[slot])) for slot in np.flatnonzero(doses)]

    def elapsed(self, lane: int) -> float:
        """Hours since the start of a lane's treatment."""
        steps = records_of(self._counters[lane], records.COUNTERS)["step"]
        return float(steps / STEPS_PER_SLOT * SLOT_HOURS)

    def course(self, lane: int) -> tuple[Floats, Floats]:
        """Times [h] and occupied sites of a lane, every six hours so far."""
        sites = self._history[lane]
        kept = ~np.isnan(sites)
        hours = np.arange(len(sites)) * kernels.HISTORY_SLOTS * SLOT_HOURS
        return hours[kept], sites[kept]

    def tumour(self, lane: int) -> Tumour:
        """A copy of a lane's tumour as it is now."""
        if self._gpu is not None:
            return Tumour.from_state(State(self._gpu.take(np.array([lane]))))
        return Tumour.from_state(self._tumours, lane)
