"""Lanes whose patients the source's grid cannot resolve: their density on a grid of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.glioblastoma_radiation import records, split_kernels
from oncogym.envs.glioblastoma_radiation import step_kernels as kernel
from oncogym.envs.glioblastoma_radiation.kernels import largest_time_step
from oncogym.envs.records import records_of
from oncogym.envs.therapy import Floats, StepResult

#: Step of the accurate solver [d] and its largest cell [mm].
ACCURATE_STEP = 0.25
ACCURATE_CELL = 0.25
_STEPS = round(1.0 / ACCURATE_STEP)  # a day
# Least width of a front, sqrt(D/rho), that the grid of 1 mm resolves [mm]: below it, fronts on the
# grid run faster than they should, by up to 11 % at this width.
_LEAST_FRONT = 0.5


def accurate_grid(diffusion: float, dt: float, length: float) -> tuple[float, int]:
    """Cell size [mm] and number of cells with which the heat kernel of a step is resolved.

    Args:
        diffusion: The smallest D on the grid [mm^2/d].
        dt: Time step [d].
        length: Size of the domain [mm].
    """
    wanted = min(ACCURATE_CELL, math.sqrt(diffusion * dt / 0.8))
    cells = round(length / wanted)
    return length / cells, cells


def beyond_source_grid(rows: Floats) -> NDArray[np.bool_]:
    """Patients ``(k, fields)`` whom a step of 1 d on a grid of 1 mm cannot follow.

    The scheme is unbounded where D and rho are large, and where D is small against rho the front is
    narrower than a cell.
    """
    diffusion, growth = rows[:, 0], rows[:, 1]
    unbounded = largest_time_step(diffusion, growth, kernel.DX) < 1.0
    return unbounded | (diffusion < _LEAST_FRONT**2 * growth)


@dataclass
class _Course:
    """Density of one lane: at detection, and now."""

    settings: Floats
    """Those of the task, with the numerics of this lane."""
    taps: Floats
    start: Floats
    row: Floats


class AccurateLanes:
    """The lanes of a task that are computed by the accurate solver.

    Args:
        length: Size of the domain [mm].
    """

    def __init__(self, length: float) -> None:
        self._length = length
        self._courses: dict[int, _Course] = {}

    def __bool__(self) -> bool:
        return bool(self._courses)

    def __contains__(self, lane: int) -> bool:
        return lane in self._courses

    def among(self, lanes: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of ``lanes`` ``(k,)`` are here."""
        return np.array([lane in self._courses for lane in lanes.tolist()], np.bool_)

    def drop(self, lanes: NDArray[np.intp]) -> None:
        """Forget ``lanes``."""
        for lane in lanes.tolist():
            self._courses.pop(lane, None)

    def prepare(
        self, lanes: NDArray[np.intp], patients: Floats, settings: Floats, starts: Floats
    ) -> None:
        """Growth stage and untreated death of the patients of ``lanes``, equal ones once.

        Args:
            lanes: Lanes ``(k,)``.
            patients: Patient rows ``(lanes, fields)``.
            settings: Options of the task, a record.
            starts: Where growth stages are written, a record a lane.
        """
        done: dict[bytes, int] = {}
        for lane in lanes.tolist():
            patient = patients[lane]
            same = done.setdefault(patient.tobytes(), lane)
            if same != lane:
                other = self._courses[same]
                starts[lane] = starts[same]
                self._courses[lane] = _Course(
                    other.settings, other.taps, other.start, np.empty_like(other.start)
                )
                continue
            dx, cells = accurate_grid(patient[0], ACCURATE_STEP, self._length)
            own = settings.copy()
            options = records_of(own, records.SETTINGS)
            options["accurate"], options["dx"], options["dt"] = 1.0, dx, ACCURATE_STEP
            options["per_day"], options["nodes"], options["width"] = _STEPS, cells, cells
            taps = split_kernels.heat_kernel(patient[0], ACCURATE_STEP, dx)
            row = np.zeros(cells)
            kernel.prepare_one(np.array([lane]), patients, taps, own, starts, row)
            self._courses[lane] = _Course(own, taps, row, np.empty_like(row))

    def start(
        self,
        lanes: NDArray[np.intp],
        starts: Floats,
        state: Floats,
        seeds: NDArray[np.uint64],
        episodes: NDArray[np.uint64],
        given: Floats,
    ) -> None:
        """Put lanes at the day of detection.

        Args:
            lanes: Lanes ``(k,)``.
            starts: Growth stages, a record a lane.
            state: State of each lane, changed in place.
            seeds, episodes: Random keys ``(lanes,)``.
            given: Doses of each lane [Gy], changed in place.
        """
        for lane in lanes.tolist():
            course = self._courses[lane]
            kernel.start_one(
                np.array([lane]),
                course.row,
                course.start,
                starts,
                state,
                seeds,
                episodes,
                given,
                course.settings,
            )

    def observe(self, lane: int, state: Floats, seen: NDArray[np.float32]) -> None:
        """Write the observation of a lane into ``seen`` ``(1, numbers)``.

        Args:
            lane: The lane.
            state: State of each lane.
            seen: The observation, written.
        """
        course = self._courses[lane]
        kernel.observe_one(np.array([lane]), course.row, state, course.settings, seen)

    def step(
        self,
        actions: Floats,
        active: NDArray[np.bool_],
        state: Floats,
        patients: Floats,
        given: Floats,
        seeds: NDArray[np.uint64],
        episodes: NDArray[np.uint64],
        result: StepResult,
    ) -> None:
        """Advance the active ones of these lanes by one decision; the others are observed.

        Args:
            actions: Fractions in [0, 1], a row a lane.
            active: Which lanes advance ``(lanes,)``.
            state: State of each lane, changed in place.
            patients: Patient rows ``(lanes, fields)``.
            given: Doses of each lane [Gy], changed in place.
            seeds, episodes: Random keys ``(lanes,)``.
            result: What the step gives; rows of the active ones of these lanes are written, and the
                observations of all.
        """
        for lane, course in self._courses.items():
            if not active[lane]:
                self.observe(lane, state, result.observation[lane : lane + 1])
                continue
            kernel.advance_one(
                np.array([lane]),
                course.row,
                course.taps,
                actions,
                state,
                patients,
                given,
                seeds,
                episodes,
                course.settings,
                result.observation,
                result.reward_terms,
                result.costs,
                result.outcome,
                result.terminated,
                result.truncated,
                result.success,
            )

    def density(self, lane: int, nodes: int) -> Floats:
        """Density of a lane as a share of the carrying capacity at 0, 1, 2, … mm ``(nodes,)``."""
        course = self._courses[lane]
        dx = float(records_of(course.settings, records.SETTINGS)["dx"])
        return np.array([split_kernels.density_at(course.row, dx, float(x)) for x in range(nodes)])
