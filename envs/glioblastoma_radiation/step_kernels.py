"""One decision of many glioblastoma lanes: dose, grow, score, observe.

A kernel file: it imports nothing but numpy, numba, math and other kernel files. Each lane is
computed by the same scalar function, so results do not depend on the number of lanes or threads.
The grid is that of the source: 1 mm and 1 day in a slab.
"""

import math

import numpy as np
from numba import njit, prange

from oncogym.envs.glioblastoma_radiation.kernels import (
    DEATH_RADIUS,
    KILL_MAP,
    LEFTOVER,
    T1_LEVEL,
    T2_LEVEL,
    crossing_time,
    falls,
    grow,
    killed_share,
    locate,
    outermost,
    plain_step,
    radius_of,
    reached,
    run_untreated,
    safe_dose,
    treated_day,
)
from oncogym.envs.streams import normal_pair, uniforms

DX = 1.0  # mm; the step is 1 d, so D dt/dx^2 = D and rho dt = rho

# Columns of the state of a lane.
(
    DAY,
    GROWTH,
    BENCHMARK,
    LAST_DAY,
    STAGE,
    REMAINING,
    GIVEN,
    PEAK,
    VIOLATIONS,
    DECISIONS,
    T1,
    T2,
    J1,
    J2,
    COUNT,
    QUALITY,
    THERAPY,
    END,
    WINDOW,
    SIDE,
    FALLING,
    SCAN_DAY,
    SCAN_T1,
    SCAN_T2,
    SCANS,
    LIMIT,
) = range(26)
STATE = 26
THERAPY_STAGE, POST_STAGE = 1.0, 2.0

# What is kept of a patient: window at detection, days of growth, untreated death, edge density.
START_WINDOW, START_GROWTH, START_BENCHMARK, START_EDGE = range(4)
START = 4

# Columns of the settings of a task (one float64 vector).
(
    NODES,
    PUBLISHED,
    INTERPOLATE,
    TOTAL,
    MARGIN,
    BLIND,
    FRACTIONS,
    CAP,
    WEEKENDS,
    HORIZON,
    MAX_GROWTH,
    MAX_THERAPY,
    OBSERVATION,
    SCAN_INTERVAL,
    SCAN_NOISE,
    SCALE,
    SUCCESS,
) = range(17)
SETTINGS = 17
SEE_ROW, SEE_FULL, SEE_SCANS = 0.0, 1.0, 2.0

# Columns of the reward terms, costs and outcome metrics.
TERMS = 5
COSTS = 1
METRICS = 9

HEADER = 6  # scalars before the density in the full observation
SCAN_SIZE = 7
DOSE_SCALE = 24.0  # Gy, the largest single dose of the trial behind the safe dose
_NOISE_STREAM = 16


@njit(cache=True)
def _start_patient(patient, cfg, row, spare, work, start):
    """Growth stage and untreated death of one patient: ``row`` and ``start``."""
    nodes = int(cfg[NODES])
    interpolate = cfg[INTERPOLATE] > 0.0
    days, hi = grow(row, spare, patient, nodes, DX, 1.0, 1, int(cfg[MAX_GROWTH]), False, False,
                    interpolate)  # fmt: skip
    start[START_WINDOW] = hi
    start[START_GROWTH] = days
    if days < 0:
        return
    last = int(cfg[HORIZON]) if cfg[PUBLISHED] > 0.0 else days + int(cfg[HORIZON])
    work[0] = row
    work[1, :] = 0.0
    j1 = outermost(row, -1, hi, T1_LEVEL)
    side, hi, _, _, step, when, _ = run_untreated(
        work, 0, hi, j1, falls(row, hi), days, last, DEATH_RADIUS, nodes, DX, patient[0],
        patient[1], False, False, interpolate, 1, False)  # fmt: skip
    start[START_BENCHMARK] = when if when >= 0.0 else step
    start[START_EDGE] = work[side, nodes - 1]


@njit(cache=True)
def start_patients(lanes, patients, cfg, start_rows, starts):
    """Prepare the patients of ``lanes``; those like the first of them are copied from it."""
    width = start_rows.shape[1]
    spare = np.zeros(width)
    work = np.zeros((2, width))
    for number in range(lanes.shape[0]):
        lane = lanes[number]
        first = lanes[0]
        same = number > 0
        for field in range(patients.shape[1]):
            same = same and patients[lane, field] == patients[first, field]
        if same:
            start_rows[lane] = start_rows[first]
            starts[lane] = starts[first]
        else:
            _start_patient(patients[lane], cfg, start_rows[lane], spare, work, starts[lane])


@njit(cache=True)
def _scan(state, cfg, seed, episode):
    """Take a scan, if scans are observed: T1 and T2 radii with a reading error."""
    if cfg[OBSERVATION] != SEE_SCANS:
        return
    z1, z2 = normal_pair(seed, episode, _NOISE_STREAM, int(state[SCANS]))
    noise = cfg[SCAN_NOISE]
    state[SCAN_T1] = max(state[T1] + noise * z1, 0.0) if state[T1] >= 0.0 else 0.0
    state[SCAN_T2] = max(state[T2] + noise * z2, 0.0) if state[T2] >= 0.0 else 0.0
    state[SCAN_DAY] = state[DAY]
    state[SCANS] += 1.0


@njit(cache=True)
def start_lanes(lanes, cfg, start_rows, starts, rows, state, seeds, episodes, dose_log):
    """Put ``lanes`` at the day of detection."""
    for number in range(lanes.shape[0]):
        lane = lanes[number]
        rows[lane, 0] = start_rows[lane]
        rows[lane, 1, :] = 0.0
        dose_log[lane, :] = 0.0
        row = rows[lane, 0]
        st = state[lane]
        st[:] = 0.0
        hi = int(starts[lane, START_WINDOW])
        growth = starts[lane, START_GROWTH]
        st[DAY] = growth
        st[GROWTH] = growth
        st[BENCHMARK] = starts[lane, START_BENCHMARK]
        st[LAST_DAY] = cfg[HORIZON] if cfg[PUBLISHED] > 0.0 else growth + cfg[HORIZON]
        st[STAGE] = THERAPY_STAGE
        st[REMAINING] = cfg[TOTAL]
        st[WINDOW] = hi
        st[FALLING] = 1.0 if falls(row, hi) else 0.0
        j1 = outermost(row, -1, hi, T1_LEVEL)
        j2 = outermost(row, j1, hi, T2_LEVEL)
        st[J1] = j1
        st[J2] = j2
        st[T1] = radius_of(row, j1, T1_LEVEL, DX, cfg[INTERPOLATE] > 0.0)
        st[T2] = radius_of(row, j2, T2_LEVEL, DX, cfg[INTERPOLATE] > 0.0)
        st[LIMIT] = safe_dose(field_radius(st[T2], cfg), cfg[CAP])
        st[END] = -1.0
        _scan(st, cfg, seeds[lane], episodes[lane])


@njit(cache=True, inline="always")
def field_radius(t2, cfg):
    """Radius [mm] of the treated region for a T2 radius, -1 for none."""
    return t2 + cfg[MARGIN] if t2 >= 0.0 else cfg[BLIND]


@njit(cache=True, inline="always")
def _one_day(rows, state, patient, cfg, dose):
    """Let one day pass with ``dose`` [Gy] at its start; sets END when the patient dies."""
    nodes = int(cfg[NODES])
    interpolate = cfg[INTERPOLATE] > 0.0
    side = int(state[SIDE])
    hi = int(state[WINDOW])
    falling = state[FALLING] > 0.0
    lam, gain = patient[0], patient[1]
    if dose > 0.0:
        edge = min(int(math.floor(field_radius(state[T2], cfg) / DX + 1e-9)), nodes - 1)
        share = killed_share(dose, patient[3], patient[4], cfg[FRACTIONS])
        side, hi, falling = treated_day(rows, side, hi, falling, nodes, edge, share, lam, gain, 1,
                                        False, False, KILL_MAP)  # fmt: skip
    else:
        hi = plain_step(rows[side], rows[1 - side], hi, nodes, lam, gain, False)
        side = 1 - side
        if not falling:
            falling = falls(rows[side], hi)
    row = rows[side]
    j1 = locate(row, int(state[J1]), hi, T1_LEVEL, falling)
    j2 = locate(row, int(state[J2]), hi, T2_LEVEL, falling)
    state[DAY] += 1.0
    state[SIDE] = side
    state[WINDOW] = hi
    state[FALLING] = 1.0 if falling else 0.0
    state[J1] = j1
    state[J2] = j2
    state[T1] = radius_of(row, j1, T1_LEVEL, DX, interpolate)
    state[T2] = radius_of(row, j2, T2_LEVEL, DX, interpolate)
    state[LIMIT] = safe_dose(field_radius(state[T2], cfg), cfg[CAP])
    if reached(row, j1, DEATH_RADIUS, DX, interpolate):
        state[END] = crossing_time(rows[1 - side], row, hi, j1, int(state[DAY]), DEATH_RADIUS, DX,
                                   interpolate)  # fmt: skip
    else:
        state[QUALITY] += 1.0 - (max(state[T1], 0.0) / DEATH_RADIUS) ** 2


@njit(cache=True)
def _run_out(rows, state, patient, cfg):
    """Let the tumour grow to death or the last day."""
    interpolate = cfg[INTERPOLATE] > 0.0
    side, hi, j1, falling, step, when, quality = run_untreated(
        rows, int(state[SIDE]), int(state[WINDOW]), int(state[J1]), state[FALLING] > 0.0,
        int(state[DAY]), int(state[LAST_DAY]), DEATH_RADIUS, int(cfg[NODES]), DX, patient[0],
        patient[1], False, False, interpolate, 1, True)  # fmt: skip
    row = rows[side]
    state[SIDE] = side
    state[WINDOW] = hi
    state[FALLING] = 1.0 if falling else 0.0
    state[DAY] = step
    state[QUALITY] += quality
    j2 = outermost(row, int(state[J2]), hi, T2_LEVEL)
    state[J1] = j1
    state[J2] = j2
    state[T1] = radius_of(row, j1, T1_LEVEL, DX, interpolate)
    state[T2] = radius_of(row, j2, T2_LEVEL, DX, interpolate)
    state[LIMIT] = safe_dose(field_radius(state[T2], cfg), cfg[CAP])
    if when >= 0.0:
        state[END] = when


@njit(cache=True, inline="always")
def _over(state):
    return state[END] >= 0.0 or state[DAY] >= state[LAST_DAY]


@njit(cache=True)
def _step_lane(rows, state, patient, cfg, action, seed, episode, dose_log, seen, terms, costs,
               outcome):  # fmt: skip
    """Advance one lane by one decision; returns (terminated, truncated, success).

    ``seen`` receives the observation where it must be taken before the weekend.
    """
    published = cfg[PUBLISHED] > 0.0
    quality0 = state[QUALITY]
    excess = 0.0
    toxicity = 0.0
    waited = 0.0
    if state[STAGE] == POST_STAGE:
        _run_out(rows, state, patient, cfg)
    else:
        dose = min(action * cfg[TOTAL], state[REMAINING])
        limit = state[LIMIT]
        state[REMAINING] -= dose
        state[GIVEN] += dose
        state[PEAK] = max(state[PEAK], dose)
        state[DECISIONS] += 1.0
        dose_log[int(state[DAY] - state[GROWTH])] = dose
        if dose > limit:
            state[VIOLATIONS] += 1.0
            excess = dose - limit
            if cfg[TOTAL] > limit:
                toxicity = min(excess / (cfg[TOTAL] - limit), 1.0) ** (1.0 / 3.0)
        elif dose == 0.0:
            waited = 1.0
        _one_day(rows, state, patient, cfg, dose)
        spent = state[DAY] - state[GROWTH]
        done = state[REMAINING] < LEFTOVER
        if not published:
            done = done or spent >= cfg[MAX_THERAPY]
        if done:
            state[STAGE] = POST_STAGE
            state[THERAPY] = spent
        if published:
            _observe(rows, state, cfg, seen)
        rest = False
        if cfg[WEEKENDS] > 0.0:
            if published:
                state[COUNT] = state[COUNT] + 1.0 if action > 0.0 else 0.0
                rest = state[COUNT] == 5.0
                if rest:
                    state[COUNT] = 0.0
            else:
                rest = not done and spent % 7.0 == 5.0
        if rest:
            for _ in range(2):
                if not _over(state):
                    _one_day(rows, state, patient, cfg, 0.0)
        if not published:
            if not done and state[DAY] - state[GROWTH] >= cfg[MAX_THERAPY]:
                done = True
                state[STAGE] = POST_STAGE
                state[THERAPY] = state[DAY] - state[GROWTH]
            if done and not _over(state):
                _run_out(rows, state, patient, cfg)

    over = _over(state)
    died = state[END] >= 0.0
    last = state[END] if died else state[DAY]
    if not over and state[DAY] - state[SCAN_DAY] >= cfg[SCAN_INTERVAL]:
        _scan(state, cfg, seed, episode)
    survival = last - state[BENCHMARK]
    terms[0] = survival if over else 0.0
    # The source drops the penalty of a step that ends the episode.
    terms[1] = 0.0 if over and published else -toxicity
    terms[2] = state[QUALITY] - quality0
    terms[3] = -excess
    terms[4] = -waited
    costs[0] = excess
    outcome[0] = survival
    outcome[1] = last
    outcome[2] = state[QUALITY]
    outcome[3] = state[GIVEN]
    outcome[4] = state[THERAPY] if state[STAGE] == POST_STAGE else state[DAY] - state[GROWTH]
    outcome[5] = state[PEAK]
    outcome[6] = state[VIOLATIONS]
    outcome[7] = 100.0 * state[VIOLATIONS] / max(state[DECISIONS], 1.0)
    outcome[8] = (last - state[GROWTH]) / (state[BENCHMARK] - state[GROWTH])
    success = over and state[VIOLATIONS] == 0.0 and outcome[8] >= cfg[SUCCESS]
    return over and died, over and not died, success


@njit(cache=True, inline="always")
def _clip(value, low, high):
    return min(max(value, low), high)


@njit(cache=True, inline="always")
def _write(row, scale, out):
    """``out[j] = scale * row[j]``, as a vector loop of its own."""
    for j in range(row.shape[0]):
        out[j] = scale * row[j]


@njit(cache=True, inline="always")
def _observe(rows, state, cfg, out):
    """Write one observation; ``out`` is float32 ``(size,)``.

    A density exceeds 1 by rounding at most (1e-16), which float32 does not show.
    """
    nodes = int(cfg[NODES])
    row = rows[int(state[SIDE]), :nodes]
    if cfg[OBSERVATION] == SEE_ROW:
        _write(row, cfg[SCALE], out)
        return
    spent = state[DAY] - state[GROWTH]
    out[0] = _clip(state[REMAINING] / cfg[TOTAL], 0.0, 1.0)
    out[1] = _clip(spent / cfg[MAX_THERAPY], 0.0, 1.0)
    out[2] = (spent % 7.0) / 7.0 if cfg[WEEKENDS] > 0.0 else 0.0
    if cfg[OBSERVATION] == SEE_FULL:
        t1, t2 = max(state[T1], 0.0), max(state[T2], 0.0)
        limit = state[LIMIT]
    else:
        t1, t2 = state[SCAN_T1], state[SCAN_T2]
        limit = safe_dose(field_radius(t2 if t2 > 0.0 else -1.0, cfg), cfg[CAP])
    out[3] = _clip(t1 / DEATH_RADIUS, 0.0, 10.0)
    out[4] = _clip(t2 / DEATH_RADIUS, 0.0, 10.0)
    out[5] = _clip(limit / DOSE_SCALE, 0.0, 1.0)
    if cfg[OBSERVATION] == SEE_FULL:
        _write(row, 1.0, out[HEADER:])
    else:
        out[6] = _clip((state[DAY] - state[SCAN_DAY]) / cfg[SCAN_INTERVAL], 0.0, 1.0)


@njit(cache=True)
def observe_lanes(lanes, rows, state, cfg, out):
    """Observations ``(k, size)`` of ``lanes``."""
    for number in range(lanes.shape[0]):
        lane = lanes[number]
        _observe(rows[lane], state[lane], cfg, out[number])


@njit(cache=True)
def _advance(lane, active, actions, cfg, rows, state, patients, seeds, episodes, dose_log, seen,
             terms, costs, terminated, truncated, outcome, success):  # fmt: skip
    if not active[lane]:
        terms[lane, :] = 0.0
        costs[lane, :] = 0.0
        outcome[lane, :] = 0.0
        terminated[lane] = truncated[lane] = success[lane] = False
        _observe(rows[lane], state[lane], cfg, seen[lane])
        return
    before_weekend = cfg[PUBLISHED] > 0.0 and state[lane, STAGE] == THERAPY_STAGE
    ended, cut, good = _step_lane(
        rows[lane], state[lane], patients[lane], cfg, actions[lane, 0], seeds[lane],
        episodes[lane], dose_log[lane], seen[lane], terms[lane], costs[lane],
        outcome[lane])  # fmt: skip
    terminated[lane], truncated[lane], success[lane] = ended, cut, good
    if not before_weekend or ended or cut:
        _observe(rows[lane], state[lane], cfg, seen[lane])


@njit(cache=True)
def advance_lanes(active, actions, cfg, rows, state, patients, seeds, episodes, dose_log, seen,
                  terms, costs, terminated, truncated, outcome, success):  # fmt: skip
    """Advance all active lanes on one thread; every array has one row a lane."""
    for lane in range(state.shape[0]):
        _advance(lane, active, actions, cfg, rows, state, patients, seeds, episodes, dose_log, seen,
                 terms, costs, terminated, truncated, outcome, success)  # fmt: skip


@njit(cache=True, parallel=True)
def advance_lanes_parallel(active, actions, cfg, rows, state, patients, seeds, episodes, dose_log,
                           seen, terms, costs, terminated, truncated, outcome,
                           success):  # fmt: skip
    """The same on all threads."""
    for lane in prange(state.shape[0]):
        _advance(lane, active, actions, cfg, rows, state, patients, seeds, episodes, dose_log, seen,
                 terms, costs, terminated, truncated, outcome, success)  # fmt: skip


@njit(cache=True)
def safe_lanes(actions, state, cfg, out):
    """Lower each action to the largest whose dose is within the safe dose of the lane's field."""
    for lane in range(state.shape[0]):
        out[lane, 0] = actions[lane, 0]
        limit = state[lane, LIMIT]
        if state[lane, STAGE] != THERAPY_STAGE or limit >= cfg[TOTAL]:
            continue
        # Rounding in a policy's float32 must not carry the dose over the limit.
        safe = np.float64(np.float32(limit / cfg[TOTAL]))
        if safe * cfg[TOTAL] > limit:
            safe = safe * (1.0 - 2.0**-23)
        out[lane, 0] = min(actions[lane, 0], safe)


@njit(cache=True)
def safe_doses(t2, cfg):
    """Safe daily doses [Gy] for T2 radii ``(k,)`` [mm], -1 for none."""
    out = np.empty(t2.shape[0])
    for row in range(t2.shape[0]):
        out[row] = safe_dose(field_radius(t2[row], cfg), cfg[CAP])
    return out


@njit(cache=True)
def log_uniforms(seeds, episodes, stream, low, high):
    """Rows ``(k, fields)`` drawn log-uniformly between ``low`` and ``high``; both above 0."""
    out = uniforms(seeds, episodes, stream, low.shape[0])
    for row in range(out.shape[0]):
        for field in range(out.shape[1]):
            if high[field] > low[field]:
                ratio = math.log(high[field] / low[field])
                out[row, field] = low[field] * math.exp(out[row, field] * ratio)
            else:
                out[row, field] = low[field]
    return out
