"""The sound formulation: 30 fractions of a library's plans under errors of delivery."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.core.checks import check_option
from oncogym.core.errors import nearest
from oncogym.envs.impt_beam_weighting import fraction_kernels as kernel
from oncogym.envs.impt_beam_weighting.anatomies import VARIED
from oncogym.envs.impt_beam_weighting.model import Tables
from oncogym.envs.impt_beam_weighting.plan_library import (
    PLANS,
    PlanLibrary,
    check_same,
    influence_library,
    model_digest,
    phantom_library,
)
from oncogym.envs.impt_beam_weighting.records import (
    AXES,
    COURSE,
    COURSE_SETTINGS,
    DOSES_SEEN,
    FRACTION,
    ORGAN_SEEN,
)
from oncogym.envs.plan_spaces import PlanSpace
from oncogym.envs.protocols import Schedule, ScheduleError
from oncogym.envs.records import make_rows, names_of, pack_record, records_of, width_of
from oncogym.envs.snapshots import State
from oncogym.envs.therapy import Floats, LaneKeys, StepResult
from oncogym.envs.threads import Loop

# Constant data of the model, the same in every copy.
_SHARED = ("_tables", "_settings", "plans", "organs", "action_parts", "observed")
# Place of the plans' multiples in what is kept of a fraction.
_MULTIPLES = width_of(FRACTION)


@lru_cache(maxsize=4)
def _tables(source: str, influence: str | None, numbers: tuple[int, ...], digest: str) -> Tables:
    """Tables of several anatomies, put together once for all tasks that have them."""
    return Tables.of([_library(source, influence, number) for number in numbers])


def _library(source: str, influence: str | None, number: int) -> PlanLibrary:
    if influence is None:
        return phantom_library(source, number)
    if number:
        raise ValueError(f"anatomy is {number} for an influence file; allowed: 0, a file holds one")
    return influence_library(influence)


def _box(bounds: Mapping[str, tuple[float, float]]) -> Box:
    """The box of bounds, a little wider where float32 rounds what is kept in float64."""
    low, high = np.array(list(bounds.values()), np.float32).T.copy()
    outwards = np.nextafter(low, np.float32(-np.inf))
    return Box(
        np.where(low < 0, outwards, low), np.nextafter(high, np.float32(np.inf)), dtype=np.float32
    )


class Course:
    """State and dynamics of ``lanes`` courses; the options are those of ``IMPTTask``.

    Args:
        lanes: Number of courses.
        phantom: Name of the phantom.
        influence: A dose-influence file instead of it.
        observation: What is seen.
        fractions: Fractions of a course.
        max_dose, max_shift, max_range, shift_noise, dose_noise, plan_phases: As of ``IMPTTask``.
        coverage: Its ``success_coverage``.
        hot: Its ``hot_spot``.
    """

    #: For fewer lanes starting the threads costs more than they save for one fraction.
    parallel_steps = 64
    #: The loop of a decision on one thread, and on all.
    loops = (kernel.advance_lanes, kernel.advance_lanes_parallel)

    def __init__(
        self,
        lanes: int,
        phantom: str,
        influence: str | None,
        observation: str,
        fractions: int,
        max_dose: float,
        max_shift: float,
        max_range: float,
        shift_noise: float,
        dose_noise: float,
        coverage: float,
        hot: float,
        plan_phases: int,
    ) -> None:
        self._source, self._influence = phantom, influence
        self._digest = model_digest(phantom, influence)
        self._plan_phases = plan_phases
        self.libraries: dict[int, PlanLibrary] = {}
        self._load([0])
        first = self.libraries[0]
        self.plans, self.organs = first.plans, first.organs
        self.shift_axes = first.shift_axes
        self.num_decisions = int(fractions)
        self.max_dose = check_option("max_dose", max_dose, 0.1, 30.0)
        self.max_shift = check_option("max_shift", max_shift, 0.0, 5.0, "cm")
        self.max_range = check_option("max_range", max_range, 0.0, 0.3)
        self.shift_noise = check_option("shift_noise", shift_noise, 0.0, 5.0, "cm")
        self.dose_noise = check_option("dose_noise", dose_noise, 0.0, 1.0)
        self._settings = pack_record(
            COURSE_SETTINGS,
            fractions=fractions,
            axes=self.shift_axes,
            plans=len(self.plans),
            organs=len(self.organs),
            full=observation == "full",
            max_dose=self.max_dose,
            max_shift=self.max_shift,
            max_range=self.max_range,
            shift_noise=self.shift_noise,
            dose_noise=self.dose_noise,
            coverage=coverage,
            hot=hot,
        )
        self.action_parts = self._action_parts()
        self.action_space = Box(0.0, 1.0, (len(self.action_parts),), np.float32)
        bounds = self._bounds(observation == "full")
        self.observed = tuple(bounds)
        self.observation_space = _box(bounds)

        self._models = np.zeros(lanes, np.int64)
        self._voxels = np.full(lanes, self._tables.voxels[0])
        self._state = make_rows(lanes, COURSE)
        self._log = np.zeros((lanes, self.num_decisions, _MULTIPLES + len(self.plans)))
        self._dose = np.zeros((lanes, self._tables.voxels.max()))

    def _action_parts(self) -> tuple[tuple[str, str], ...]:
        """Name and unit of each component of an action."""
        return (
            ("dose", "daily doses"),
            *((f"couch_{axis}", "cm") for axis in AXES[: self.shift_axes]),
            ("range", "relative"),
            *((f"share_{name}", "parts") for name in self.plans),
        )

    def _bounds(self, full: bool) -> dict[str, tuple[float, float]]:
        """Least and largest value of each observed number, in the order in which they are shown."""
        axes = AXES[: self.shift_axes]
        places = [f"{what}_{axis}" for what in ("seen", "mean_seen") for axis in axes]
        doses = [f"{organ}_{name}" for organ in self.organs for name in names_of(ORGAN_SEEN)]
        errors = [f"{what}_{axis}" for what in ("day", "shift") for axis in axes]
        couch, depth = max(self.max_shift, 1e-6), 10.0 * max(self.max_range, 1e-6)
        return {
            "time": (0.0, 1.0),
            **dict.fromkeys(places, (-5.0, 5.0)),
            **{f"couch_{axis}": (-couch, couch) for axis in axes},
            **dict.fromkeys((*names_of(DOSES_SEEN), *doses), (0.0, 10.0)),
            "range": (-depth, depth),
            "dose": (0.0, self.max_dose),
            **(dict.fromkeys((*errors, "range_error"), (-5.0, 5.0)) if full else {}),
        }

    @property
    def _records(self) -> NDArray[Any]:
        """The state of each lane by name ``(lanes,)``."""
        return records_of(self._state, COURSE)

    def _load(self, numbers: list[int]) -> None:
        """Make the libraries of anatomies that are new here."""
        for number in numbers:
            if number not in self.libraries:
                self.libraries[number] = _library(self._source, self._influence, number)
        self._rows = {number: row for row, number in enumerate(self.libraries)}
        self._tables = _tables(self._source, self._influence, tuple(self.libraries), self._digest)

    def __deepcopy__(self, memo: dict[int, Any]) -> Course:
        """A copy whose lanes are its own; libraries and their tables are shared."""
        new = object.__new__(type(self))
        memo[id(self)] = new
        for name, value in self.__dict__.items():
            if name in _SHARED:
                setattr(new, name, value)
            elif name == "libraries":
                new.libraries = dict(value)
            else:
                setattr(new, name, copy.deepcopy(value, memo))
        return new

    def __getstate__(self) -> dict[str, Any]:
        """The state of the lanes and the numbers of the anatomies, not their libraries."""
        state = self.__dict__.copy()
        del state["_tables"], state["_rows"]
        state["libraries"] = tuple(self.libraries)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up a state; libraries that this process does not have yet are made again."""
        numbers = list(state.pop("libraries"))
        self.__dict__.update(state)
        self.libraries = {}
        check_same(self._source, self._influence, self._digest)
        self._load(numbers)

    def start(self, lanes: NDArray[np.intp], keys: LaneKeys, seen: NDArray[np.float32]) -> None:
        """Start courses and write their observations into ``seen`` ``(k, …)``.

        Args:
            lanes: Lanes ``(k,)``.
            keys: Patients and random keys of all lanes.
            seen: Observations ``(k, …)``, written.
        """
        self._models[lanes] = self._models_of(keys.patients[lanes])
        self._voxels[lanes] = self._tables.voxels[self._models[lanes]]
        self._state[lanes] = 0.0
        self._dose[lanes] = 0.0
        self._log[lanes] = np.nan
        self._show(kernel.start_lanes, lanes, keys, seen)

    def _show(
        self,
        loop: Loop,
        lanes: NDArray[np.intp],
        keys: LaneKeys,
        seen: NDArray[np.float32],
    ) -> None:
        loop(
            lanes,
            self._tables.libraries,
            self._models,
            self._state,
            keys.patients,
            keys.seeds,
            keys.episodes,
            self._settings,
            seen,
        )

    def _models_of(self, patients: Floats) -> NDArray[np.int64]:
        """Rows of the patients' libraries in the tables ``(k,)``; those that are new are made."""
        numbers, which = np.unique(patients[:, 0].astype(np.int64), return_inverse=True)
        new = [int(n) for n in numbers if int(n) not in self.libraries]
        if new:
            self._load(new)
            missing = self._tables.voxels.max() - self._dose.shape[1]
            if missing > 0:
                self._dose = np.pad(self._dose, ((0, 0), (0, missing)))
        return np.array([self._rows[int(n)] for n in numbers], np.int64)[which]

    def observe(self, lanes: NDArray[np.intp], keys: LaneKeys, seen: NDArray[np.float32]) -> None:
        """Write the observations of lanes as they are into ``seen`` ``(k, …)``.

        Args:
            lanes: Lanes ``(k,)``.
            keys: Patients and random keys of all lanes.
            seen: Observations ``(k, …)``, written.
        """
        self._show(kernel.observe_lanes, lanes, keys, seen)

    def observation_deviation(self, observation: Floats) -> Floats:
        """Deviations of the errors of observed numbers ``(k, size)``."""
        axes = self.shift_axes
        first = self.observed.index(names_of(DOSES_SEEN)[2])
        last = 1 + 3 * axes + width_of(DOSES_SEEN) + width_of(ORGAN_SEEN) * len(self.organs)
        deviation = np.zeros(observation.shape)
        deviation[:, 1 : 1 + axes] = self.shift_noise
        deviation[:, 1 + axes : 1 + 2 * axes] = np.inf
        deviation[:, first:last] = self.dose_noise * observation[:, first:last]
        return deviation

    def lane_state(self) -> State:
        """Arrays of the lanes; see :meth:`TherapyTask.snapshot`."""
        return {
            "models": self._models,
            "voxels": self._voxels,
            "state": self._state,
            "log": self._log,
            "dose": self._dose,
        }

    def receive(self, values: State) -> State:
        """Have the patients' libraries here, numbered as here, and the doses as wide as here.

        Raises:
            ValueError: A patient's library has another number of voxels here.
        """
        models = self._models_of(values["patients"])
        here = self._tables.voxels[models]
        wrong = np.flatnonzero(values["voxels"] != here)
        if len(wrong):
            raise ValueError(
                f"lane {wrong[0]} of the snapshot has doses in {values['voxels'][wrong[0]]} "
                f"voxels, but its anatomy here {here[wrong[0]]}: it comes from another phantom or "
                "influence"
            )
        # Tasks number libraries as they meet them.
        values = {**values, "models": models}
        # What is wider than a lane's own library is 0.
        width, given = self._dose.shape[1], values["dose"]
        if given.shape[1] != width:
            wide = np.zeros((len(given), width))
            shared = min(width, given.shape[1])
            wide[:, :shared] = given[:, :shared]
            values = {**values, "dose": wide}
        return values

    def advance(
        self,
        loop: Loop,
        actions: Floats,
        active: NDArray[np.bool_],
        keys: LaneKeys,
        result: StepResult,
    ) -> None:
        """Give a fraction in the active lanes.

        Args:
            loop: One of :attr:`loops`.
            actions: ``(lanes, action size)``.
            active: ``(lanes,)``.
            keys: Patients and random keys of all lanes.
            result: What to write.
        """
        tables = self._tables
        loop(
            active,
            actions,
            tables.libraries,
            self._models,
            tables.doses,
            tables.normals,
            self._state,
            keys.patients,
            self._dose,
            self._log,
            keys.seeds,
            keys.episodes,
            self._settings,
            result.observation,
            result.reward_terms,
            result.costs,
            result.outcome,
            result.terminated,
            result.success,
        )

    def to_physical(self, action: Floats) -> dict[str, Any]:
        """Dose multiple, corrections and parts of the plans of an action or a batch of them."""
        values: list[object] = [action[..., 0] * self.max_dose]
        for axis in range(self.shift_axes):
            values.append((2.0 * action[..., 1 + axis] - 1.0) * self.max_shift)
        depth = action[..., 1 + self.shift_axes]
        values.append((2.0 * depth - 1.0) * self.max_range)
        shares = action[..., 2 + self.shift_axes :]
        values.append(2.0 * shares[..., 0])
        others = range(1, len(self.plans))
        values += [np.maximum(2.0 * shares[..., plan] - 1.0, 0.0) for plan in others]
        return {name: value for (name, _), value in zip(self.action_parts, values, strict=True)}

    def action(
        self,
        plan: str | None = None,
        dose: Any = 1.0,
        couch: Any = 0.0,
        depth: Any = 0.0,
        shares: Any = None,
        batch: int | None = None,
    ) -> Floats:
        """Actions ``(batch, size)`` for physical values; without ``batch`` one action ``(size,)``.

        Args:
            plan: The plan that has the whole share.
            dose: Multiple of the daily dose.
            couch: Correction [cm], one number or ``(batch, axes)``.
            depth: Range correction.
            shares: Shares ``(batch, plans)`` instead of a plan, 0 to 1.
            batch: Number of actions.

        Raises:
            ScheduleError: The plan is not in the library, or the dose above the largest.
        """
        axes = self.shift_axes
        out = np.zeros((batch or 1, len(self.action_parts)))
        out[:, 0] = np.asarray(dose) / self.max_dose
        if out[:, 0].max() > 1.0 + 1e-9:
            raise ScheduleError(
                f"a fraction of {np.max(dose):g} daily doses; allowed: up to {self.max_dose:g}"
            )
        reach = max(self.max_shift, 1e-9)
        out[:, 1 : 1 + axes] = 0.5 + 0.5 * np.asarray(couch) / reach
        out[:, 1 + axes] = 0.5 + 0.5 * np.asarray(depth) / max(self.max_range, 1e-9)
        if shares is None:
            if plan not in self.plans:
                error = nearest("plan of the library", str(plan), self.plans)
                raise ScheduleError(str(error))
            shares = [float(name == plan) for name in self.plans]
        # The first plan from 0, the others from the middle of the range.
        out[:, 2 + axes :] = 0.5 * np.asarray(shares)
        out[:, 3 + axes :] += 0.5
        out = np.clip(out, 0.0, 1.0)
        return out if batch else out[0]

    def schedule_actions(self, schedule: Schedule) -> Floats:
        """Actions of events ``(fraction, plan number, dose multiple)``, see the page."""
        actions = np.zeros((self.num_decisions, len(self.action_parts)))
        actions[:] = self.action(self.plans[0], dose=0.0)
        for fraction, plan, dose in schedule.events:
            if fraction != int(fraction) or not 0 <= fraction < self.num_decisions:
                raise ScheduleError(
                    f"{schedule.label}: fraction {fraction:g}; allowed: 0 to "
                    f"{self.num_decisions - 1}"
                )
            actions[int(fraction)] = self.action(PLANS[int(plan)], dose)
        return actions

    def plan_space(self) -> PlanSpace:
        """The same action in every fraction of a phase."""
        size, phases = len(self.action_parts), self._plan_phases
        phase = np.arange(self.num_decisions) * phases // self.num_decisions

        def decode(plans: Floats) -> Floats:
            table = np.asarray(plans, np.float64).reshape(len(plans), phases, size)
            return np.ascontiguousarray(table[:, phase])

        def encode(actions: Floats) -> Floats:
            first = np.searchsorted(phase, np.arange(phases))
            return actions[first].ravel()

        return PlanSpace(np.zeros(phases * size), np.ones(phases * size), decode, encode)

    def describe(self, lane: int) -> str:
        """Fractions, dose-volume numbers and the last decision."""
        own = self._records[lane]
        axes = self.shift_axes
        seen = ", ".join(f"{value:+.2f}" for value in own["seen"][:axes])
        couch = ", ".join(f"{value:+.2f}" for value in own["couch"][:axes])
        unit = self.library(lane).unit
        return (
            f"fraction {own['count']:.0f} of {self.num_decisions}   target D95 "
            f"{own['d95']:.1f}, D2 {own['d2']:.1f} {unit}   {self._organ_text(lane)}\n"
            f"measured shift [cm]: {seen or 'none'}; last fraction: {own['given']:.2f} daily "
            f"doses, couch [cm] {couch or 'fixed'}, range {100.0 * own['depth']:+.1f} %\n"
        )

    def _organ_text(self, lane: int) -> str:
        largest = self._records["organ_largest"][lane]
        library = self.library(lane)
        limits, unit = library.limits, library.unit
        return "   ".join(
            f"{name} max {largest[n]:.1f} of {limits[n]:g} {unit}"
            for n, name in enumerate(self.organs)
        )

    def library(self, lane: int) -> PlanLibrary:
        """The library of a lane's patient."""
        return list(self.libraries.values())[int(self._models[lane])]

    def anatomy(self, lane: int) -> int:
        """Number of a lane's anatomy."""
        return list(self.libraries)[int(self._models[lane])]

    def given(self, lane: int) -> tuple[Floats, Floats]:
        """Multiples of the plans ``(fractions, plans)`` and residual errors so far."""
        log = self._log[lane]
        log = log[~np.isnan(log[:, 0])]
        errors = records_of(np.ascontiguousarray(log[:, :_MULTIPLES]), FRACTION)["error"]
        return log[:, _MULTIPLES:].copy(), errors[:, : 1 + self.shift_axes].copy()

    def voxel_doses(self, lane: int) -> dict[str, Floats]:
        """Accumulated dose [Gy] of the target and of each organ, voxel by voxel."""
        library = self.library(lane)
        parts = ("target", *library.organs)
        return {
            name: self._dose[lane, library.starts[n] : library.starts[n + 1]].copy()
            for n, name in enumerate(parts)
        }

    @property
    def source(self) -> str:
        """Phantom or file of the anatomies."""
        return self._influence or self._source

    @property
    def has_phantom(self) -> bool:
        """Whether the doses come from a phantom, which can be drawn."""
        return self._influence is None

    @property
    def varied(self) -> bool:
        """Whether the anatomy can be varied."""
        return self._influence is None and self._source == VARIED
