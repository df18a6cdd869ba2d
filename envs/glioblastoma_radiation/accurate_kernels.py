"""One decision of a glioblastoma lane in the accurate solver: as in ``step_kernels.py``, on the
grid of ``split_kernels.py``.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import math

import numpy as np
from numba import njit

from oncogym.envs.glioblastoma_radiation.kernels import (
    DEATH_RADIUS,
    T1_LEVEL,
    T2_LEVEL,
    killed_share,
    outermost,
    safe_dose,
)
from oncogym.envs.glioblastoma_radiation.split_kernels import (
    grow_split,
    kill_by_map,
    region_radius,
    run,
)
from oncogym.envs.glioblastoma_radiation.step_kernels import (
    BLIND,
    CAP,
    DAY,
    END,
    FRACTIONS,
    HEADER,
    HORIZON,
    J1,
    J2,
    LAST_DAY,
    LIMIT,
    MARGIN,
    MAX_GROWTH,
    NODES,
    OBSERVATION,
    PUBLISHED,
    QUALITY,
    SCALE,
    SEE_ROW,
    SEE_SCANS,
    START_BENCHMARK,
    START_EDGE,
    START_GROWTH,
    START_WINDOW,
    T1,
    T2,
    WINDOW,
    clear_lane,
    decide,
    field_radius,
    is_over,
    leave_therapy,
    observe_scalars,
    scan,
    score,
)


@njit(cache=True)
def start_patient(lane, row, taps, dx, dt, patient, cfg, starts):
    """Growth stage, into ``row``, and untreated death of one patient."""
    per_day = int(round(1.0 / dt))
    when, days, hi = grow_split(row, patient, dx, dt, per_day, int(cfg[MAX_GROWTH]), taps, False)
    starts[lane, START_WINDOW] = hi
    if when < 0.0:
        starts[lane, START_GROWTH] = -1.0
        return
    starts[lane, START_GROWTH] = days
    last = int(cfg[HORIZON]) if cfg[PUBLISHED] > 0.0 else days + int(cfg[HORIZON])
    later = row.copy()
    _, _, _, death, _ = _let_grow(later, hi, -1, float(days), last - days, taps, dx, dt,
                                  patient)  # fmt: skip
    starts[lane, START_BENCHMARK] = death if death >= 0.0 else last
    starts[lane, START_EDGE] = later[later.shape[0] - 1]


@njit(cache=True)
def _let_grow(row, hi, p, time, days, taps, dx, dt, patient):
    """Up to ``days`` days without a dose, see ``split_kernels.run``."""
    per_day = int(round(1.0 / dt))
    buffer = np.zeros(row.shape[0] + 2 * taps.shape[0])
    total = np.zeros(row.shape[0])
    half = math.exp(0.5 * patient[1] * dt)
    return run(row, hi, p, time, days * per_day, per_day, DEATH_RADIUS, taps, dx, dt, False, half,
               half, 0, 0.0, buffer, total)  # fmt: skip


@njit(cache=True)
def measure(lane, row, dx, state, cfg):
    """Radii and safe dose of a lane."""
    hi = int(state[lane, WINDOW])
    p1 = outermost(row, 0, int(state[lane, J1]), hi - 1, T1_LEVEL)
    p2 = outermost(row, 0, int(state[lane, J2]), hi - 1, T2_LEVEL)
    state[lane, J1] = p1
    state[lane, J2] = p2
    state[lane, T1] = region_radius(row, p1, T1_LEVEL, 1.0, dx)
    state[lane, T2] = region_radius(row, p2, T2_LEVEL, 1.0, dx)
    field = field_radius(state[lane, T2], cfg[MARGIN], cfg[BLIND])
    state[lane, LIMIT] = safe_dose(field, cfg[CAP])


@njit(cache=True)
def first_look(lane, row, dx, state, cfg, seeds, episodes):
    """What is measured on the day of detection."""
    state[lane, J1] = state[lane, J2] = -1.0
    measure(lane, row, dx, state, cfg)
    if cfg[OBSERVATION] == SEE_SCANS:
        scan(lane, state, cfg, seeds, episodes)


@njit(cache=True)
def _pass_days(lane, row, taps, dx, dt, patient, cfg, state, days):
    """Let ``days`` days pass, or fewer if the patient dies; sets END then."""
    hi, p, time, death, quality = _let_grow(
        row, int(state[lane, WINDOW]), int(state[lane, J1]), state[lane, DAY], days, taps, dx, dt,
        patient)  # fmt: skip
    state[lane, WINDOW] = hi
    state[lane, J1] = p
    state[lane, DAY] = math.ceil(time - 1e-9)
    state[lane, QUALITY] += quality
    if death >= 0.0:
        state[lane, END] = death
    measure(lane, row, dx, state, cfg)


@njit(cache=True)
def _irradiate(lane, row, dx, patient, cfg, state, dose):
    """The dose of a day as a map of the density."""
    field = field_radius(state[lane, T2], cfg[MARGIN], cfg[BLIND])
    edge = int(math.floor(field / dx))
    share = killed_share(dose, patient[3], patient[4], cfg[FRACTIONS])
    kill_by_map(row, int(state[lane, WINDOW]), share, False, edge, field / dx - edge)


@njit(cache=True)
def observe_row(lane, number, row, dx, state, cfg, out):
    """Write the observation of a lane into ``out[number]``; densities are read at whole mm."""
    observe_scalars(lane, number, state, cfg, out)
    kind = cfg[OBSERVATION]
    if kind != SEE_SCANS:
        head = 0 if kind == SEE_ROW else HEADER
        scale = cfg[SCALE] if kind == SEE_ROW else 1.0
        for j in range(int(cfg[NODES])):
            out[number, head + j] = min(scale * density_at(row, dx, float(j)), scale)


@njit(cache=True)
def density_at(row, dx, x):
    """Density as a share of K at ``x`` [mm], linear between the centres of cells."""
    at = min(max(x / dx - 0.5, 0.0), row.shape[0] - 1.0)
    j = min(int(at), row.shape[0] - 2)
    return row[j] + (at - j) * (row[j + 1] - row[j])


@njit(cache=True)
def advance(lane, row, taps, dx, dt, actions, cfg, state, patients, seeds, episodes, dose_log,
            seen, terms, costs, terminated, truncated, outcome, success):  # fmt: skip
    """Advance one lane by one decision; ``row`` is changed in place."""
    clear_lane(lane, terms, costs, terminated, truncated, success)
    patient = patients[lane]
    quality0 = state[lane, QUALITY]
    observed = False
    dose, days, toxicity, finish = decide(lane, actions, cfg, state, terms, costs, dose_log)
    for day in range(days):
        if is_over(lane, state):
            break
        if day == 1 and cfg[PUBLISHED] > 0.0:
            observe_row(lane, lane, row, dx, state, cfg, seen)
            observed = True
        if day == 0 and dose > 0.0:
            _irradiate(lane, row, dx, patient, cfg, state, dose)
        _pass_days(lane, row, taps, dx, dt, patient, cfg, state, 1)
    if finish and not is_over(lane, state):
        leave_therapy(lane, state, cfg)
        left = int(state[lane, LAST_DAY] - state[lane, DAY])
        _pass_days(lane, row, taps, dx, dt, patient, cfg, state, left)
    over = score(lane, quality0, toxicity, row[row.shape[0] - 1], state, cfg, seeds, episodes,
                 terms, costs, terminated, truncated, outcome, success)  # fmt: skip
    if not observed or over:
        observe_row(lane, lane, row, dx, state, cfg, seen)
