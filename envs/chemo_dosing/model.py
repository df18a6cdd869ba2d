"""Chemotherapy model: patient parameters and open-loop simulation of dosing plans.

State: plasma concentration C [mg/L], toxicity X [-], tumour cells N (as ln N); time in days.
A plan is a list of dose times [d] and doses [mg/L, as the rise of C].  A dose acts just after
the continuous flow has reached its time; equal times add; the order is free; doses at or after
the horizon have no effect.  Treatment starts at C = X = 0 and N = ``initial_cells``.  Equations
and their closed-form solution: ``kernels.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncogym.envs.chemo_dosing import kernels
from oncogym.envs.chemo_dosing.records import PATIENT, PLAN
from oncogym.envs.patient import PatientRecord
from oncogym.envs.records import make_rows, names_of, records_of
from oncogym.envs.threads import choose

FloatArray = NDArray[np.float64]

HORIZON = 60.0  # d
TOXICITY_LIMIT = 3.0
LARGEST_DOSE = 1e6  # mg/L, as in the options of the environments
LONGEST_HORIZON = 1e6  # d
DOSE_LIMIT = 30.0  # mg/L over the whole plan
# The published objective: weights of N(T)/N0, peak toxicity and mean concentration.
COST_WEIGHTS = (1.0, 0.5, 0.3)
COST_PENALTY = 10.0

# Closed ranges of the parameters, wide enough for any plausible patient.
RANGES: dict[str, tuple[float, float]] = {
    "growth_rate": (0.0, 10.0),
    "carrying_capacity": (1.0, 1e15),
    "initial_cells": (1.0, 1e15),
    "elimination_rate": (1e-3, 100.0),
    "emax": (0.0, 100.0),
    "ec50": (1e-6, 1e6),
    "toxicity_gain": (0.0, 1e3),
    "toxicity_recovery": (1e-3, 100.0),
}
FIELDS = names_of(PATIENT)
_INITIAL_CELLS = FIELDS.index("initial_cells")
_CAPACITY = FIELDS.index("carrying_capacity")
# Below this many plans starting the threads costs more than it saves.
_PARALLEL_FROM = 256


@dataclass(frozen=True)
class ChemoPatient(PatientRecord):
    """Parameters of one patient; the defaults are those of the published tutorial (spec. 1.1).

    ``growth_rate`` 1/d, ``carrying_capacity`` and ``initial_cells`` cells (initial <= capacity),
    ``elimination_rate`` 1/d, ``emax`` 1/d, ``ec50`` mg/L, ``toxicity_gain`` L/(mg d),
    ``toxicity_recovery`` 1/d; allowed ranges in ``RANGES``.

    Raises ValueError naming the field, the value and the allowed range.
    """

    growth_rate: float = 0.03
    carrying_capacity: float = 1e9
    initial_cells: float = 1e7
    elimination_rate: float = 0.5
    emax: float = 0.8
    ec50: float = 1.0
    toxicity_gain: float = 0.3
    toxicity_recovery: float = 0.15

    FIELDS: ClassVar[tuple[str, ...]] = FIELDS
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = RANGES
    UNITS: ClassVar[Mapping[str, str]] = {
        "growth_rate": "1/d",
        "carrying_capacity": "cells",
        "initial_cells": "cells",
        "elimination_rate": "1/d",
        "emax": "1/d",
        "ec50": "mg/L",
        "toxicity_gain": "L/(mg d)",
        "toxicity_recovery": "1/d",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_patients(self.to_array()[None, :])


@dataclass(frozen=True, eq=False)
class ChemoBatch:
    """Outcomes of P plans, arrays (P,)."""

    final_log_cells: FloatArray
    """ln N at the horizon."""
    final_concentration: FloatArray
    """mg/L."""
    final_toxicity: FloatArray
    peak_toxicity: FloatArray
    """Largest toxicity over [0, horizon], exact."""
    auc: FloatArray
    """Integral of the concentration, mg d/L."""
    excess_toxicity: FloatArray
    """Integral of the toxicity above the limit, d."""
    days_over_limit: FloatArray
    total_dose: FloatArray
    """Administered before the horizon, mg/L."""
    log10_kill: FloatArray
    """log10 of N0/N; negative for a tumour that has grown."""
    tumour_control_probability: FloatArray
    """exp(-N): probability that no cell is left."""

    def __len__(self) -> int:
        return len(self.final_log_cells)


@dataclass(frozen=True, eq=False)
class ChemoResult:
    """Outcome and trajectory of one plan; the scalars are as in :class:`ChemoBatch`.

    Trajectory arrays (S,): ``time`` [d], ``concentration`` [mg/L], ``toxicity``, ``log_cells``
    (ln N).  Every dose instant occurs twice, before and after the dose, so plots show the jump.
    """

    final_log_cells: float
    final_concentration: float
    final_toxicity: float
    peak_toxicity: float
    auc: float
    excess_toxicity: float
    days_over_limit: float
    total_dose: float
    log10_kill: float
    tumour_control_probability: float
    time: FloatArray
    concentration: FloatArray
    toxicity: FloatArray
    log_cells: FloatArray


@dataclass(frozen=True)
class PublishedRun:
    """Outcome of :func:`simulate_published_numerics`; fields as in :class:`ChemoBatch`."""

    final_log_cells: float
    final_cells: float
    peak_toxicity: float
    auc: float
    cost: float
    steps: int
    """Stored points of the solver, over all segments."""


def simulate(
    times: ArrayLike,
    doses: ArrayLike,
    patient: ChemoPatient | None = None,
    horizon: float = HORIZON,
    *,
    toxicity_limit: float = TOXICITY_LIMIT,
    samples: int = 241,
) -> ChemoResult:
    """Exact outcome and trajectory of one plan.

    ``times`` [d, >= 0] and ``doses`` [mg/L, >= 0] are (M,), M >= 0; ``horizon`` > 0 in days;
    ``samples`` (0 or >= 2) equidistant trajectory points, besides two per dose.
    Raises ValueError naming what is wrong and where.

    Args:
        times: Times of the doses ``(M,)`` [d], >= 0.
        doses: Doses ``(M,)`` [mg/L], >= 0.
        patient: Parameters; the source's patient by default.
        horizon: End of the plan [d], > 0.
        toxicity_limit: Toxicity above which days are counted, > 0.
        samples: Equidistant points of the trajectory, 0 or >= 2.
    """
    when, amounts = _check_plan(times, doses, ndim=1)
    horizon, toxicity_limit = _check_scalars(horizon, toxicity_limit)
    if samples < 0 or samples == 1:
        raise ValueError(f"samples must be 0 or at least 2, got {samples}")
    row = _patient_rows(patient)
    batch = _run(when[None, :], amounts[None, :], row, horizon, toxicity_limit, parallel=False)
    outcome = {f.name: float(getattr(batch, f.name)[0]) for f in fields(ChemoBatch)}

    at, left = _sample_times(when[amounts > 0.0], horizon, samples)
    states = np.empty((at.size, 3))
    kernels.sample_plan(when, amounts, row, horizon, at, left, states)
    return ChemoResult(
        **outcome,
        time=at,
        concentration=states[:, 0].copy(),
        toxicity=states[:, 1].copy(),
        log_cells=states[:, 2].copy(),
    )


def simulate_batch(
    times: ArrayLike,
    doses: ArrayLike,
    patients: ChemoPatient | Sequence[ChemoPatient] | ArrayLike | None = None,
    horizon: float = HORIZON,
    *,
    toxicity_limit: float = TOXICITY_LIMIT,
    parallel: bool = True,
) -> ChemoBatch:
    """Exact outcomes of P plans; row i has the same bits as :func:`simulate` of that row.

    ``times`` and ``doses`` are (P, M), or (1, M) or (M,) for one plan given to all patients;
    zero doses are padding.  ``patients`` is one patient for all plans, or P of them as
    :class:`ChemoPatient` or as rows (P, 8).  ``parallel`` uses all numba threads; it does not
    change the result.  Raises ValueError naming what is wrong and where.

    Args:
        times, doses: Times [d] and doses [mg/L], ``(P, M)``, or ``(1, M)`` or ``(M,)`` for all
            alike.
        patients: One patient for all plans, or P of them as records or rows ``(P, 8)``.
        horizon: End of the plans [d], > 0.
        toxicity_limit: Toxicity above which days are counted, > 0.
        parallel: Use all numba threads; results do not depend on it.
    """
    when, amounts = _check_plan(times, doses, ndim=2)
    horizon, toxicity_limit = _check_scalars(horizon, toxicity_limit)
    rows = _patient_rows(patients)
    if len(when) != len(rows) and 1 not in (len(when), len(rows)):
        raise ValueError(
            f"{len(when)} plans and {len(rows)} patients: give one of either, or equally many"
        )
    return _run(when, amounts, rows, horizon, toxicity_limit, parallel)


def published_cost(
    times: ArrayLike,
    doses: ArrayLike,
    patient: ChemoPatient | None = None,
    horizon: float = HORIZON,
    *,
    toxicity_limit: float = TOXICITY_LIMIT,
    dose_limit: float = DOSE_LIMIT,
    weights: tuple[float, float, float] = COST_WEIGHTS,
    penalty: float = COST_PENALTY,
) -> float:
    """The tutorial's objective of one plan (M,), to be minimised, with exact peak and AUC.

    ``w1 N(T)/N0 + w2 max X - w3 mean C``, plus ``penalty`` times the squared excess of the peak
    over ``toxicity_limit`` and of the total dose over ``dose_limit`` [mg/L] (spec. 1.4).
    Raises ValueError as :func:`simulate`.

    Args:
        times, doses, patient, horizon: As in :func:`simulate`.
        toxicity_limit: Largest toxicity without a penalty, > 0.
        dose_limit: Largest total dose without a penalty [mg/L].
        weights: ``w1, w2, w3`` of the objective.
        penalty: Factor of the squared excesses.
    """
    when, amounts = _check_plan(times, doses, ndim=1)
    cost = published_cost_batch(
        when[None, :],
        amounts[None, :],
        patient,
        horizon,
        toxicity_limit=toxicity_limit,
        dose_limit=dose_limit,
        weights=weights,
        penalty=penalty,
        parallel=False,
    )
    return float(cost[0])


def published_cost_batch(
    times: ArrayLike,
    doses: ArrayLike,
    patients: ChemoPatient | Sequence[ChemoPatient] | ArrayLike | None = None,
    horizon: float = HORIZON,
    *,
    toxicity_limit: float = TOXICITY_LIMIT,
    dose_limit: float = DOSE_LIMIT,
    weights: tuple[float, float, float] = COST_WEIGHTS,
    penalty: float = COST_PENALTY,
    parallel: bool = True,
) -> FloatArray:
    """:func:`published_cost` of P plans, (P,); plans and patients as in :func:`simulate_batch`.

    Args:
        times, doses, patients, horizon, parallel: As in :func:`simulate_batch`.
        toxicity_limit, dose_limit, weights, penalty: As in :func:`published_cost`.
    """
    batch = simulate_batch(
        times, doses, patients, horizon, toxicity_limit=toxicity_limit, parallel=parallel
    )
    return _cost(
        np.power(10.0, -batch.log10_kill),
        batch.peak_toxicity,
        batch.auc / horizon,
        batch.total_dose,
        toxicity_limit,
        dose_limit,
        weights,
        penalty,
    )


def simulate_published_numerics(
    times: ArrayLike,
    doses: ArrayLike,
    patient: ChemoPatient | None = None,
    horizon: float = HORIZON,
    *,
    toxicity_limit: float = TOXICITY_LIMIT,
    dose_limit: float = DOSE_LIMIT,
    weights: tuple[float, float, float] = COST_WEIGHTS,
    penalty: float = COST_PENALTY,
) -> PublishedRun:
    """The same plan as the tutorial computed it: only to reproduce its numbers and its speed.

    Runge-Kutta 4(5) from dose to dose (rtol 1e-6, atol 1e-8, steps of at most 0.5 d, ln N as
    state); peak toxicity and trapezoidal AUC over the solver's own steps, which misses the true
    peak by up to 0.002 (spec. 1.3).  Arguments and errors as :func:`published_cost`.

    Args:
        times, doses, patient, horizon: As in :func:`simulate`.
        toxicity_limit, dose_limit, weights, penalty: As in :func:`published_cost`.
    """
    from scipy.integrate import solve_ivp

    when, amounts = _check_plan(times, doses, ndim=1)
    horizon, toxicity_limit = _check_scalars(horizon, toxicity_limit)
    who = patient or ChemoPatient()
    r, capacity = who.growth_rate, who.carrying_capacity
    ke, emax, ec50 = who.elimination_rate, who.emax, who.ec50
    gain, recovery = who.toxicity_gain, who.toxicity_recovery

    def flow(_: float, state: FloatArray) -> list[float]:
        c, x, log_cells = state
        kill = emax * c / (ec50 + c)
        return [-ke * c, gain * c - recovery * x, r * (1.0 - math.exp(log_cells) / capacity) - kill]

    acts = when < horizon
    stops = np.unique(np.append(when[acts], horizon))
    state = np.array([0.0, 0.0, math.log(who.initial_cells)])
    now, peak, auc, steps = 0.0, 0.0, 0.0, 0
    for stop in stops.tolist():
        if stop > now:
            run = solve_ivp(flow, (now, stop), state, rtol=1e-6, atol=1e-8, max_step=0.5)
            peak = max(peak, float(run.y[1].max()))
            auc += float(0.5 * np.sum((run.y[0, 1:] + run.y[0, :-1]) * np.diff(run.t)))
            steps += run.t.size
            state = run.y[:, -1].copy()
            now = stop
        state[0] += amounts[acts & (when == stop)].sum()
    cells = math.exp(state[2])
    cost = _cost(
        np.array(cells / who.initial_cells),
        np.array(peak),
        np.array(auc / horizon),
        np.array(amounts[acts].sum()),
        toxicity_limit,
        dose_limit,
        weights,
        penalty,
    )
    return PublishedRun(float(state[2]), cells, peak, auc, float(cost), steps)


def _cost(
    survival: FloatArray,
    peak: FloatArray,
    mean_concentration: FloatArray,
    total_dose: FloatArray,
    toxicity_limit: float,
    dose_limit: float,
    weights: tuple[float, float, float],
    penalty: float,
) -> FloatArray:
    over_toxicity = np.maximum(peak - toxicity_limit, 0.0)
    over_dose = np.maximum(total_dose - dose_limit, 0.0)
    w_cells, w_peak, w_exposure = weights
    return np.asarray(
        w_cells * survival
        + w_peak * peak
        - w_exposure * mean_concentration
        + penalty * (over_toxicity**2 + over_dose**2)
    )


def _run(
    times: FloatArray,
    doses: FloatArray,
    patients: FloatArray,
    horizon: float,
    limit: float,
    parallel: bool,
) -> ChemoBatch:
    out = make_rows(max(len(times), len(patients)), PLAN)
    threaded = parallel and len(out) >= _PARALLEL_FROM
    solve = choose(kernels.simulate_plans, kernels.simulate_plans_parallel, threaded)
    solve(times, doses, patients, horizon, limit, out)
    found = records_of(out, PLAN)
    columns = {name: found[name].copy() for name in names_of(PLAN)}
    log_cells = columns["final_log_cells"]
    return ChemoBatch(
        **columns,
        log10_kill=(np.log(patients[:, _INITIAL_CELLS]) - log_cells) / math.log(10.0),
        tumour_control_probability=np.exp(-np.exp(log_cells)),
    )


def _sample_times(
    jumps: FloatArray, horizon: float, samples: int
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Ascending sample times, dose instants twice; flags of those just before a dose."""
    if samples == 0:
        return np.empty(0), np.empty(0, dtype=np.bool_)
    jumps = np.unique(jumps[jumps < horizon])
    grid = np.setdiff1d(np.linspace(0.0, horizon, samples), jumps)
    at = np.concatenate([grid, jumps, jumps])
    left = np.repeat([False, True, False], [grid.size, jumps.size, jumps.size])
    order = np.lexsort((~left, at))
    return at[order], left[order]


def _check_patients(rows: FloatArray) -> None:
    low, high = np.array([RANGES[name] for name in FIELDS]).T
    bad = ~((rows >= low) & (rows <= high))
    if bad.any():
        i, j = np.argwhere(bad)[0]
        raise ValueError(
            f"{FIELDS[j]} is {float(rows[i, j])}; allowed: {low[j]:g} to {high[j]:g}"
            + (f" (patient {i})" if len(rows) > 1 else "")
        )
    bad = rows[:, _INITIAL_CELLS] > rows[:, _CAPACITY]
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(
            f"initial_cells must not exceed carrying_capacity = {rows[i, _CAPACITY]:g}, "
            f"got {rows[i, _INITIAL_CELLS]:g}" + (f" (patient {i})" if len(rows) > 1 else "")
        )


def _patient_rows(
    patients: ChemoPatient | Sequence[ChemoPatient] | ArrayLike | None,
) -> FloatArray:
    """Validated rows (P, 8)."""
    if patients is None:
        patients = ChemoPatient()
    if isinstance(patients, ChemoPatient):
        return patients.to_array()[None, :]
    if isinstance(patients, Sequence) and all(isinstance(p, ChemoPatient) for p in patients):
        rows = np.array([p.to_array() for p in patients if isinstance(p, ChemoPatient)])
    else:
        rows = np.atleast_2d(np.ascontiguousarray(patients, dtype=np.float64))
    if rows.ndim != 2 or rows.shape[1] != len(FIELDS) or not len(rows):
        raise ValueError(
            f"patients must be ChemoPatient objects or rows (P, {len(FIELDS)}) "
            f"in the order {', '.join(FIELDS)}; got shape {rows.shape}"
        )
    _check_patients(rows)
    return rows


def _check_plan(times: ArrayLike, doses: ArrayLike, ndim: int) -> tuple[FloatArray, FloatArray]:
    """Times and doses as contiguous float64 arrays of ndim dimensions, checked."""
    arrays = []
    for name, given in (("times", times), ("doses", doses)):
        values = np.ascontiguousarray(given, dtype=np.float64)
        if np.ndim(given) == 0:
            raise ValueError(f"{name} must be a sequence, got {given!r}")
        if ndim == 2 and values.ndim == 1:
            values = values[None, :]
        if values.ndim != ndim:
            raise ValueError(f"{name} must be {ndim}-D, got shape {values.shape}")
        bad = ~(np.isfinite(values) & (values >= 0.0))
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            where = ", ".join(map(str, at))
            raise ValueError(f"{name}[{where}] must be finite and >= 0, got {values[at]:g}")
        if name == "doses" and values.size and values.max() > LARGEST_DOSE:
            at = tuple(int(i) for i in np.argwhere(values > LARGEST_DOSE)[0])
            where = ", ".join(map(str, at))
            raise ValueError(
                f"{name}[{where}] is {values[at]:g} mg/L; allowed: at most {LARGEST_DOSE:g} mg/L"
            )
        arrays.append(values)
    when, amounts = arrays
    if when.shape != amounts.shape:
        raise ValueError(f"times and doses differ in shape: {when.shape} and {amounts.shape}")
    return when, amounts


def _check_scalars(horizon: float, toxicity_limit: float) -> tuple[float, float]:
    if not 0.0 < horizon <= LONGEST_HORIZON:
        raise ValueError(
            f"horizon must be finite and > 0 days, at most {LONGEST_HORIZON:g}, got {horizon!r}"
        )
    if not toxicity_limit >= 0.0:
        raise ValueError(f"toxicity_limit must be >= 0, got {toxicity_limit!r}")
    return float(horizon), float(toxicity_limit)
