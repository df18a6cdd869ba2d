"""Glioblastoma radiation: patient parameters and open-loop simulation of dose schedules.

State: tumour cell density c(x, t) [cells/mm^3] over the distance x [mm] from the tumour's centre.
The tumour grows silently until its T1 radius is 15 mm; therapy starts on the next day and the
patient dies when the T1 radius is 35 mm. Days count from the start of growth. Each day's dose hits
the T2 region of the evening before plus a margin. Equations: ``kernels.py`` (the source's explicit
scheme) and ``split_kernels.py`` (accurate solver).

Two readings of the dose term exist. As an instantaneous map per fraction (``kill="map"``) the
outcome does not depend on the time step, and at low density a fraction spares the share S of the
linear-quadratic law; this is what the source's scheme does at its step of one day. As a rate over
the day (``"rate"``), the equation as the source prints it, an accurate solution spares
exp(-(1 - S)) instead. ``"lq"`` is the map that solves the logistic kill exactly: the odds of c/K
fall by S.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncogym.envs.glioblastoma_radiation import course_kernels, kernels, records, split_kernels
from oncogym.envs.glioblastoma_radiation.accurate_lanes import accurate_grid
from oncogym.envs.patient import PatientRecord
from oncogym.envs.records import make_rows, names_of, pack_record, records_of
from oncogym.envs.threads import choose
from oncogym.envs.validity import ModelRangeWarning

FloatArray = NDArray[np.float64]

TOTAL_DOSE = 61.2  # Gy
MARGIN = 25.0  # mm around the T2 region
HORIZON = 600  # d
LENGTH = 200.0  # mm
NUMERICS = ("published", "accurate")
GEOMETRIES = ("slab", "sphere")
KILLS = ("map", "rate", "lq")
BOUNDARIES = ("copy", "mirror")

# Closed ranges of the parameters, wide enough for any plausible patient.
RANGES: dict[str, tuple[float, float]] = {
    "diffusion": (1e-4, 10.0),
    "proliferation": (1e-4, 1.0),
    "carrying_capacity": (1.0, 1e12),
    "alpha": (0.0, 10.0),
    "alpha_beta": (0.1, 1e3),
}
FIELDS = names_of(records.PATIENT)
# Share of K at the outer boundary beyond which the domain shapes the result.
_BOUNDARY_DENSITY = 1e-3
# Largest fraction of the trial behind the safe dose [Gy]: beyond it the dose laws are guesses.
_LARGEST_FRACTION = 24.0
_PARALLEL_FROM = 64
_CACHE_SIZE = 256


class StabilityError(ValueError):
    """A time step too large for the grid; the message states the largest admissible one."""


class DomainError(ValueError):
    """A spatial domain too small for the tumour."""


class DoseError(ValueError):
    """A dose that is negative, not a number, or above what the total dose leaves."""


class DetectionError(ValueError):
    """A tumour that does not reach the detection radius in time."""


@dataclass(frozen=True)
class GlioblastomaPatient(PatientRecord):
    """Parameters of one patient; the defaults are the source's.

    ``diffusion`` D [mm^2/d], ``proliferation`` rho [1/d], ``carrying_capacity`` K [cells/mm^3],
    ``alpha`` [1/Gy] and ``alpha_beta`` [Gy] of the linear-quadratic law; ranges in ``RANGES``.

    Raises ValueError naming the field, the value and the allowed range.
    """

    diffusion: float = 0.2
    proliferation: float = 0.03
    carrying_capacity: float = 1e5
    alpha: float = 0.04
    alpha_beta: float = 10.0

    FIELDS: ClassVar[tuple[str, ...]] = FIELDS
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = RANGES
    UNITS: ClassVar[Mapping[str, str]] = {
        "diffusion": "mm^2/d",
        "proliferation": "1/d",
        "carrying_capacity": "cells/mm^3",
        "alpha": "1/Gy",
        "alpha_beta": "Gy",
    }


@dataclass(frozen=True, eq=False)
class GlioblastomaBatch:
    """Outcomes of P plans, arrays (P,)."""

    death_day: FloatArray
    """Day of death; the horizon where ``died`` is false. Whole days without interpolation."""
    died: NDArray[np.bool_]
    benchmark_day: FloatArray
    """Day of death of the same patient without any dose."""
    days_extended: FloatArray
    """``death_day - benchmark_day``."""
    growth_days: FloatArray
    """Days of silent growth; the next day is the first of therapy."""
    therapy_days: FloatArray
    """Days from there until less than 0.1 Gy of the total dose is left, or until the end."""
    violations: FloatArray
    """Days whose dose is above the safe dose of the field's radius."""
    excess_dose: FloatArray
    """Sum of the doses above the safe dose, Gy."""
    total_dose: FloatArray
    """Gy given before death."""
    peak_dose: FloatArray
    """Largest daily dose, Gy."""
    quality_days: FloatArray
    """Sum over the days from detection of 1 - (T1 radius/35 mm)^2."""

    def __len__(self) -> int:
        return len(self.death_day)


@dataclass(frozen=True, eq=False)
class GlioblastomaResult:
    """Outcome and daily record of one plan; the scalars are as in :class:`GlioblastomaBatch`.

    Arrays over the ``S`` days from detection, ``day[0] = growth_days``: ``t1_radius`` and
    ``t2_radius`` [mm, -1 for none] on that day, and of the fraction given from that day to the next
    ``dose`` [Gy], ``field_radius`` [mm] and ``safe_dose`` [Gy] (0 on the last). ``density``
    ``(S, cells)`` [cells/mm^3] at ``x`` [mm], or ``None`` if not asked for.
    """

    death_day: float
    died: bool
    benchmark_day: float
    days_extended: float
    growth_days: float
    therapy_days: float
    violations: float
    excess_dose: float
    total_dose: float
    peak_dose: float
    quality_days: float
    day: FloatArray
    t1_radius: FloatArray
    t2_radius: FloatArray
    dose: FloatArray
    field_radius: FloatArray
    safe_dose: FloatArray
    x: FloatArray
    density: FloatArray | None


def safe_dose(radius: ArrayLike) -> FloatArray:
    """Safe daily dose [Gy] for treated radii [mm]: 116 r^-0.685, infinite at radius 0."""
    values = np.asarray(radius, np.float64)
    with np.errstate(divide="ignore"):
        return np.where(values > 0.0, 116.0 * np.maximum(values, 0.0) ** -0.685, np.inf)


def with_weekend_breaks(daily_doses: ArrayLike) -> FloatArray:
    """Insert two idle days after every five consecutive days with a dose.

    ``(days,)`` or ``(P, days)`` of Gy; the source's rule: a day without dose restarts the count.
    """
    given = np.asarray(daily_doses, np.float64)
    doses = np.atleast_2d(given)
    plans = np.arange(len(doses))
    out = np.zeros((len(doses), doses.shape[1] + 2 * (doses.shape[1] // 5)))
    at = np.zeros(len(doses), np.intp)
    count = np.zeros(len(doses), np.intp)
    for column in doses.T:
        out[plans, at] = column
        count = np.where(column > 0.0, count + 1, 0)
        rest = count == 5
        count[rest] = 0
        at += 1 + 2 * rest
    return out[0] if given.ndim == 1 else out


class _Solver:
    """One choice of numerics with its checks; knows how to grow patients and run their plans."""

    def __init__(
        self, numerics: str, geometry: str, kill: str, interpolate: bool | None, boundary: str,
        dx: float | None, dt: float | None, horizon: float, length: float, margin: float,
        total_dose: float, fractions_per_day: int, positivity: str, blind_field: float,
        safe_dose_cap: float,
    ) -> None:  # fmt: skip
        _choice("numerics", numerics, NUMERICS)
        _choice("geometry", geometry, GEOMETRIES)
        _choice("kill", kill, KILLS)
        _choice("boundary", boundary, BOUNDARIES)
        _choice("positivity", positivity, ("clip", "error"))
        self.accurate = numerics == "accurate"
        self.sphere = geometry == "sphere"
        self.mirror = boundary == "mirror"
        if self.sphere and self.mirror:
            raise ValueError("boundary is 'mirror'; allowed for a sphere: 'copy'")
        self.kill = KILLS.index(kill)
        if self.accurate and interpolate is False:
            raise ValueError("interpolate is False; the accurate solver always interpolates radii")
        self.interpolate = self.accurate or bool(interpolate)
        self.dx = None if dx is None else _number("dx", dx, 1e-3, 10.0, "mm")
        default = 0.25 if self.accurate else 1.0
        self.dt = default if dt is None else _number("dt", dt, 1e-4, 1.0, "d")
        self.per_day = round(1.0 / self.dt)
        if abs(self.per_day * self.dt - 1.0) > 1e-9:
            raise ValueError(f"dt is {dt} d; allowed: one day divided by a whole number")
        self.horizon = int(_number("horizon", horizon, 1, 36500, "d"))
        self.length = _number("length", length, 1.0, 1e5, "mm")
        self.margin = _number("margin", margin, 0.0, 1e3, "mm")
        self.total = _number("total_dose", total_dose, 0.0, math.inf, "Gy")
        self.fractions = _number("fractions_per_day", fractions_per_day, 1, 10)
        self.blind = _number("blind_field", blind_field, 0.0, 1e3, "mm")
        self.cap = _number("safe_dose_cap", safe_dose_cap, 0.0, math.inf, "Gy")
        self.strict = positivity == "error"
        if self.length < kernels.DEATH_RADIUS + 5.0:
            raise DomainError(
                f"length is {self.length:g} mm, too small for a tumour of "
                f"{kernels.DEATH_RADIUS:g} mm; allowed: at least {kernels.DEATH_RADIUS + 5.0:g} mm"
            )

    def grid(self, patients: FloatArray) -> tuple[float, int]:
        """Cell size and number of cells for patients ``(P, 5)``, after the checks of the step."""
        if self.accurate:
            slowest = float(patients[:, 0].min())
            dx, cells = accurate_grid(slowest, self.dt, self.length)
            if self.dx is not None:
                cells = round(self.length / self.dx)
                dx = self.length / cells
            if slowest * self.dt < 0.5 * dx * dx:
                raise StabilityError(
                    f"dt is {self.dt:g} d with dx {dx:g} mm and D {slowest:g} mm^2/d; allowed: at "
                    f"least dx^2/(2 D) = {0.5 * dx * dx / slowest:.4g} d (the heat kernel must be "
                    "resolved) and at most 1 d, or a smaller dx"
                )
            return dx, cells
        dx = 1.0 if self.dx is None else self.dx
        for diffusion, growth in patients[:, :2]:
            limit = kernels.largest_time_step(diffusion, growth, dx)
            if self.dt > limit * (1.0 + 1e-12):
                raise StabilityError(
                    f"dt is {self.dt:g} d with dx {dx:g} mm, D {diffusion:g} mm^2/d and rho "
                    f"{growth:g}/d; allowed: at most 1/(2 D/dx^2 + rho) = {limit:.4g} d (bounded) "
                    f"and dx^2/(2 D) = {0.5 * dx * dx / diffusion:.4g} d (stable), or "
                    "numerics='accurate'"
                )
        return dx, round(self.length / dx) + 1

    def problem(self, dx: float, cells: int) -> FloatArray:
        """What the kernels know of the plan's rules and of the numerics."""
        return pack_record(
            records.PROBLEM,
            total=self.total,
            margin=self.margin,
            blind=self.blind,
            fractions=self.fractions,
            cap=self.cap,
            accurate=self.accurate,
            nodes=cells,
            width=cells if self.accurate else kernels.row_width(cells),
            dx=dx,
            dt=self.dt,
            per_day=self.per_day,
            mirror=self.mirror,
            sphere=self.sphere,
            interpolate=self.interpolate,
            kill=self.kill,
            last_day=self.horizon,
        )

    def check_positivity(self, doses: FloatArray, patients: FloatArray, dx: float) -> None:
        """Raise if a dose is so strong that an explicit step would need the clip at 0."""
        if not self.strict or self.accurate or self.kill == kernels.KILL_LQ:
            return
        peak = doses.max(axis=1) if doses.size else np.zeros(len(doses))
        rows = np.broadcast_to(patients, (len(doses), patients.shape[1]))
        for row, dose in zip(rows, peak, strict=True):
            share = kernels.killed_share(dose, row[3], row[4], self.fractions)
            flow = 2.0 * row[0] / dx**2 - row[1]
            if self.kill == kernels.KILL_RATE:
                limit = 1.0 / (flow + share) if flow + share > 0.0 else math.inf
            else:
                limit = (1.0 - share) / flow if flow > 0.0 else math.inf
            if self.dt > limit * (1.0 + 1e-12):
                raise StabilityError(
                    f"dt is {self.dt:g} d, but {dose:g} Gy in one day kills {share:.1%} of the "
                    f"cells, for which the density stays positive only up to dt = {limit:.4g} d"
                )

    def key(self, row: FloatArray) -> tuple[Any, ...]:
        """What the growth stage and the benchmark depend on."""
        return (
            row.tobytes(), self.accurate, self.sphere, self.mirror, self.interpolate, self.dx,
            self.dt, self.horizon, self.length,
        )  # fmt: skip

    def grow(self, patients: FloatArray, dx: float, cells: int) -> _Start:
        """State at detection and benchmark of patients ``(P, 5)``; cached for a single one."""
        key = self.key(patients[0]) if len(patients) == 1 else None
        if key in _STARTS:
            return _STARTS[key]
        count = len(patients)
        taps = self.taps(patients, dx) if self.accurate else np.zeros((count, 1))
        rows = np.zeros((count, cells if self.accurate else kernels.row_width(cells)))
        starts = make_rows(count, records.START)
        course_kernels.grow_patients(
            np.arange(count), patients, taps, self.problem(dx, cells), starts, rows
        )
        late = records_of(starts, records.START)["growth"] < 0.0
        if late.any():
            row = int(np.flatnonzero(late)[0])
            raise DetectionError(
                f"the tumour of patient {row} does not reach {kernels.DETECTION_RADIUS:g} mm "
                f"within {self.horizon} d: {GlioblastomaPatient.from_array(patients[row])}"
            )
        start = _Start(starts, rows, taps)
        nothing = np.zeros((count, 1))
        untreated = records_of(self.run(nothing, patients, start, dx, cells), records.PLAN)
        start.records["benchmark"] = untreated["death_day"]
        if key is not None:
            if len(_STARTS) >= _CACHE_SIZE:
                _STARTS.pop(next(iter(_STARTS)))
            _STARTS[key] = start
        return start

    def taps(self, patients: FloatArray, dx: float) -> FloatArray:
        """Heat kernels of the patients as rows, padded with zeros."""
        rows = [split_kernels.heat_kernel(d, self.dt, dx) for d in patients[:, 0]]
        out = np.zeros((len(rows), max(len(row) for row in rows)))
        for target, row in zip(out, rows, strict=True):
            target[: len(row)] = row
        return out

    def run(
        self, doses: FloatArray, patients: FloatArray, start: _Start, dx: float, cells: int,
        parallel: bool = True,
    ) -> FloatArray:  # fmt: skip
        """Outcomes of plans ``(P, days)``, a record ``PLAN`` a plan."""
        nothing = make_rows(0, records.DAY), np.zeros((0, cells))
        return self.follow(doses, patients, start, dx, cells, *nothing, parallel)[0]

    def follow(
        self, doses: FloatArray, patients: FloatArray, start: _Start, dx: float, cells: int,
        days: FloatArray, density: FloatArray, parallel: bool = False,
    ) -> tuple[FloatArray, NDArray[np.int64]]:  # fmt: skip
        """As :meth:`run`; days of a single plan and densities are written where there is room.

        Returns the outcomes and the number of days after the first that are recorded of each.
        """
        plans, count = make_rows(len(doses), records.PLAN), np.zeros(len(doses), np.int64)
        which = np.arange(len(doses)) if len(start.rows) > 1 else np.zeros(len(doses), np.intp)
        threads = parallel and len(doses) >= _PARALLEL_FROM
        choose(course_kernels.follow_plans, course_kernels.follow_plans_parallel, threads)(
            np.arange(len(doses)),
            doses,
            which,
            start.rows,
            start.taps,
            start.starts,
            patients,
            self.problem(dx, cells),
            days,
            density,
            plans,
            count,
        )
        worst = float(records_of(plans, records.PLAN)["boundary"].max(initial=0.0))
        if worst > _BOUNDARY_DENSITY:
            raise DomainError(
                f"the tumour fills {worst:.2%} of the carrying capacity at the outer boundary, "
                f"length {self.length:g} mm; allowed: at most {_BOUNDARY_DENSITY:.2%}"
            )
        return plans, count

    def batch(self, plans: FloatArray, start: _Start) -> GlioblastomaBatch:
        """Named outcomes of plans."""
        named = records_of(plans, records.PLAN)
        benchmark = np.broadcast_to(start.records["benchmark"], len(plans)).copy()
        kept = ("death_day", "therapy_days", "violations", "excess_dose", "total_dose",
                "peak_dose", "quality_days")  # fmt: skip
        return GlioblastomaBatch(
            **{name: named[name].copy() for name in kept},
            died=named["died"] > 0.0,
            benchmark_day=benchmark,
            days_extended=named["death_day"] - benchmark,
            growth_days=np.broadcast_to(start.records["detection"], len(plans)).copy(),
        )


@dataclass(frozen=True, eq=False)
class _Start:
    """State at detection of P patients: records, cells and heat kernels, a row a patient."""

    starts: FloatArray
    rows: FloatArray
    taps: FloatArray

    @property
    def records(self) -> NDArray[Any]:
        """The growth stages by name ``(P,)``."""
        return records_of(self.starts, records.START)


_STARTS: dict[tuple[Any, ...] | None, _Start] = {}


def simulate(
    daily_doses: ArrayLike,
    patient: GlioblastomaPatient | Mapping[str, object] | None = None,
    weekends: bool = False,
    numerics: str = "published",
    geometry: str = "slab",
    *,
    kill: str = "map",
    interpolate: bool | None = None,
    boundary: str = "copy",
    dx: float | None = None,
    dt: float | None = None,
    horizon: float = HORIZON,
    length: float = LENGTH,
    margin: float = MARGIN,
    total_dose: float = TOTAL_DOSE,
    fractions_per_day: int = 1,
    positivity: str = "clip",
    blind_field: float = 0.0,
    safe_dose_cap: float = math.inf,
    density: bool = False,
) -> GlioblastomaResult:
    """Outcome and daily record of one dose schedule.

    Args:
        daily_doses: Gy ``(days,)``, one a day from the first day of therapy; none afterwards.
        patient: Parameters; the source's by default.
        weekends: Insert two idle days after every five consecutive days with a dose.
        numerics: ``"published"`` (explicit, 1 mm, 1 d) or ``"accurate"`` (exact splitting).
        geometry: ``"slab"`` or ``"sphere"``.
        kill: ``"map"``, ``"rate"`` or ``"lq"``, see the module.
        interpolate: Radii between cells instead of whole cells, and with them the moment of death;
            always so in the accurate solver, and off by default in the published scheme.
        boundary: Centre of the explicit slab: ``"copy"`` of the next cell (the source; it puts the
            symmetry plane half a cell outwards, an error of first order) or ``"mirror"`` (second).
        dx: Cell size [mm]; 1 (published) or at most 0.25 (accurate).
        dt: Time step [d], a day divided by a whole number; 1 or 0.25.
        horizon: Last day, from the start of growth.
        length: Size of the domain [mm].
        margin: Treated rim around the T2 region [mm].
        total_dose: Total dose [Gy] that the schedule must not exceed.
        fractions_per_day: Equal fractions into which each day's dose is split.
        positivity: What to do where a dose is too strong for an explicit step: ``"clip"`` the
            density at 0 as the source does (above about 11.5 Gy a day), or ``"error"``.
        blind_field: Radius [mm] of the field when no T2 region is visible; the source has 0.
        safe_dose_cap: Largest safe daily dose [Gy] at any radius; the source has none.
        density: Whether to return the density history.

    Raises:
        DoseError: A dose is negative, not a number or above what the total dose leaves.
        StabilityError: The time step is too large; the message states the largest.
        DomainError: The domain is too small for the tumour.
        DetectionError: The tumour is not detected before the horizon.
        ValueError: Another argument is out of its range.

    Warns:
        ModelRangeWarning: A fraction is above 24 Gy, for which the dose laws are not made.
    """
    solver = _Solver(
        numerics, geometry, kill, interpolate, boundary, dx, dt, horizon, length, margin,
        total_dose, fractions_per_day, positivity, blind_field, safe_dose_cap,
    )  # fmt: skip
    doses = _check_doses(daily_doses, solver.total, 1)
    if weekends:
        doses = with_weekend_breaks(doses)
    row = _patient_rows(patient)
    cell, cells = solver.grid(row)
    solver.check_positivity(doses[None, :], row, cell)
    _warn_of_fractions(doses, solver.fractions)
    start = solver.grow(row, cell, cells)
    grown = int(start.records["growth"][0])
    days = make_rows(solver.horizon - grown + 1, records.DAY)
    history = np.zeros((len(days) if density else 0, cells))
    if density:
        history[0] = start.rows[0, :cells]
    out, count = solver.follow(doses[None, :], row, start, cell, cells, days, history)
    last = int(count[0])
    shift = 0.5 if solver.accurate else 0.0
    x = (np.arange(cells, dtype=np.float64) + shift) * cell
    batch = solver.batch(out, start)
    scalars = {f.name: getattr(batch, f.name)[0].item() for f in fields(GlioblastomaBatch)}
    named = records_of(days[: last + 1], records.DAY)
    return GlioblastomaResult(
        **scalars,
        t1_radius=named["t1_radius"],
        t2_radius=named["t2_radius"],
        dose=named["dose"],
        field_radius=named["field_radius"],
        safe_dose=named["safe_dose"],
        day=grown + np.arange(last + 1, dtype=np.float64),
        x=x,
        density=history[: last + 1] * row[0, 2] if density else None,
    )


def simulate_batch(
    daily_doses: ArrayLike,
    patients: object = None,
    weekends: bool = False,
    numerics: str = "published",
    geometry: str = "slab",
    *,
    kill: str = "map",
    interpolate: bool | None = None,
    boundary: str = "copy",
    dx: float | None = None,
    dt: float | None = None,
    horizon: float = HORIZON,
    length: float = LENGTH,
    margin: float = MARGIN,
    total_dose: float = TOTAL_DOSE,
    fractions_per_day: int = 1,
    positivity: str = "clip",
    blind_field: float = 0.0,
    safe_dose_cap: float = math.inf,
    parallel: bool = True,
) -> GlioblastomaBatch:
    """Outcomes of many schedules ``(P, days)`` [Gy] at once.

    ``patients`` is one patient for all plans (whose growth stage is computed once and cached), or
    rows ``(P, 5)``, one a plan. Other arguments and errors as in :func:`simulate`. ``parallel``
    uses all numba threads; results do not depend on it.

    Args:
        daily_doses: Gy ``(P, days)``, one a day from the first day of therapy.
        patients: One patient for all, or rows ``(P, 5)``.
        weekends, numerics, geometry, kill, interpolate, boundary: As in :func:`simulate`.
        dx, dt, horizon, length, margin, total_dose: As in :func:`simulate`.
        fractions_per_day, positivity, blind_field, safe_dose_cap: As in :func:`simulate`.
        parallel: Use all numba threads.
    """
    solver = _Solver(
        numerics, geometry, kill, interpolate, boundary, dx, dt, horizon, length, margin,
        total_dose, fractions_per_day, positivity, blind_field, safe_dose_cap,
    )  # fmt: skip
    doses = _check_doses(daily_doses, solver.total, 2)
    if weekends:
        doses = with_weekend_breaks(doses)
    rows = _patient_rows(patients)
    if len(rows) not in (1, len(doses)):
        raise ValueError(f"{len(rows)} patients for {len(doses)} plans; allowed: 1 or one a plan")
    cell, cells = solver.grid(rows)
    solver.check_positivity(doses, rows, cell)
    _warn_of_fractions(doses, solver.fractions)
    start = solver.grow(rows, cell, cells)
    return solver.batch(solver.run(doses, rows, start, cell, cells, parallel), start)


def _check_doses(daily_doses: ArrayLike, total: float, ndim: int) -> FloatArray:
    try:
        doses = np.ascontiguousarray(daily_doses, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DoseError(f"daily_doses are not numbers: {error}") from None
    if doses.ndim != ndim:
        shape = "(days,)" if ndim == 1 else "(plans, days)"
        raise DoseError(f"daily_doses have shape {doses.shape}; allowed: {shape}")
    wrong = ~(np.isfinite(doses) & (doses >= 0.0))
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise DoseError(
            f"daily_doses{list(where)} is {doses[where]}; allowed: a finite dose of at least 0 Gy"
        )
    spent = doses.cumsum(axis=-1)
    over = spent > total * (1.0 + 1e-12) + 1e-9
    if over.any():
        where = tuple(int(i) for i in np.argwhere(over)[0])
        left = total - (spent[where] - doses[where])
        raise DoseError(
            f"daily_doses{list(where)} is {doses[where]:g} Gy, above the {max(left, 0.0):g} Gy "
            f"that are left of the total dose of {total:g} Gy"
        )
    return doses


def _warn_of_fractions(doses: FloatArray, fractions: float) -> None:
    largest = float(doses.max(initial=0.0)) / fractions
    if largest > _LARGEST_FRACTION:
        warnings.warn(
            f"a fraction has {largest:g} Gy; the linear-quadratic law and the safe dose are not "
            f"made for more than {_LARGEST_FRACTION:g} Gy",
            ModelRangeWarning,
            stacklevel=3,
        )


def _patient_rows(patients: object) -> FloatArray:
    if patients is None:
        return GlioblastomaPatient().to_array()[None, :]
    if isinstance(patients, GlioblastomaPatient):
        return patients.to_array()[None, :]
    if isinstance(patients, Mapping):
        return GlioblastomaPatient.from_mapping(patients).to_array()[None, :]
    rows = np.atleast_2d(np.asarray(patients, np.float64))
    for row in rows:
        GlioblastomaPatient.from_array(row)
    return np.ascontiguousarray(rows)


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; allowed: {', '.join(map(repr, choices))}")


def _number(name: str, value: Any, low: float, high: float, unit: str = "") -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        raise ValueError(f"{name} is {value!r}; allowed: {low:g} to {high:g} {unit}".rstrip())
    return number
