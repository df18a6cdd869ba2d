"""One decision of many glioblastoma lanes: dose, grow, score, observe.

A kernel file: it imports nothing but numpy, numba, math and other kernel files. Each lane is
computed by the same scalar function, so results do not depend on the number of lanes or threads.
The grid is that of the source: 1 mm and 1 day in a slab. Each lane has two rows of ``width`` in the
flat array ``cells``; see ``kernels.py`` for why no views of them are passed on.
"""

import math

import numpy as np
from numba import njit, prange

from oncogym.envs.glioblastoma_radiation.kernels import (
    DEATH_RADIUS,
    LEFTOVER,
    T1_LEVEL,
    T2_LEVEL,
    crossing_time,
    day_quality,
    follow,
    grow,
    killed_share,
    outermost,
    plain_step,
    radius_of,
    run_untreated,
    safe_dose,
    treated_step,
)
from oncogym.envs.streams import normal_pair, uniforms
from oncogym.envs.unowned import unowned

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
    B1,
    B2,
    SCAN_DAY,
    SCAN_T1,
    SCAN_T2,
    SCANS,
    LIMIT,
    BEYOND,
) = range(28)
STATE = 28
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
METRICS = 10

HEADER = 6  # scalars before the density in the full observation
SCAN_SIZE = 7
DOSE_SCALE = 24.0  # Gy, the largest single dose of the trial behind the safe dose
_NOISE_STREAM = 16
# Share of K at the outer boundary beyond which the domain shapes the course.
EDGE_DENSITY = 1e-3


@njit(cache=True)
def _start_patient(lane, patients, cfg, start_rows, starts):
    """Growth stage and untreated death of one patient."""
    nodes = int(cfg[NODES])
    interpolate = cfg[INTERPOLATE] > 0.0
    width = start_rows.shape[1]
    work = np.zeros(2 * width)
    days, hi, a = grow(work, 0, width, patients[lane], nodes, DX, 1.0, 1, int(cfg[MAX_GROWTH]),
                       False, False, interpolate)  # fmt: skip
    starts[lane, START_WINDOW] = hi
    starts[lane, START_GROWTH] = days
    if days < 0:
        return
    start_rows[lane] = work[a : a + width]
    last = int(cfg[HORIZON]) if cfg[PUBLISHED] > 0.0 else days + int(cfg[HORIZON])
    j1 = outermost(work, a, -1, hi, T1_LEVEL)
    a, _, hi, _, _, step, when, _ = run_untreated(
        work, a, width - a, hi, j1, T1_LEVEL, days, last, DEATH_RADIUS, nodes, DX,
        patients[lane, 0], patients[lane, 1], False, False, interpolate, 1, False)  # fmt: skip
    starts[lane, START_BENCHMARK] = when if when >= 0.0 else step
    starts[lane, START_EDGE] = work[a + nodes - 1]


@njit(cache=True)
def _start_or_copy(number, lanes, patients, cfg, start_rows, starts):
    """Prepare the patient of a lane, or copy it from the first lane if that has the same."""
    lane, first = lanes[number], lanes[0]
    same = number > 0
    for field in range(patients.shape[1]):
        same = same and patients[lane, field] == patients[first, field]
    if same:
        start_rows[lane] = start_rows[first]
        starts[lane] = starts[first]
    else:
        _start_patient(lane, patients, cfg, start_rows, starts)


@njit(cache=True)
def start_patients(lanes, patients, cfg, start_rows, starts):
    """Prepare the patients of ``lanes`` on one thread."""
    for number in range(lanes.shape[0]):
        _start_or_copy(number, lanes, patients, cfg, start_rows, starts)


@njit(cache=True, parallel=True)
def start_patients_parallel(lanes, patients, cfg, start_rows, starts):
    """The same on all threads; the first lane is prepared before the others."""
    _start_or_copy(0, lanes, patients, cfg, start_rows, starts)
    for number in prange(1, lanes.shape[0]):
        _start_or_copy(np.int64(number), lanes, patients, cfg, start_rows, starts)


@njit(cache=True)
def field_radius(t2, margin, blind):
    """Radius [mm] of the treated region for a T2 radius, -1 for none."""
    return t2 + margin if t2 >= 0.0 else blind


@njit(cache=True)
def scan(lane, state, cfg, seeds, episodes):
    """Take a scan: T1 and T2 radii with a reading error."""
    z1, z2 = normal_pair(seeds[lane], episodes[lane], _NOISE_STREAM, int(state[lane, SCANS]))
    noise = cfg[SCAN_NOISE]
    t1, t2 = state[lane, T1], state[lane, T2]
    state[lane, SCAN_T1] = max(t1 + noise * z1, 0.0) if t1 >= 0.0 else 0.0
    state[lane, SCAN_T2] = max(t2 + noise * z2, 0.0) if t2 >= 0.0 else 0.0
    state[lane, SCAN_DAY] = state[lane, DAY]
    state[lane, SCANS] += 1.0


@njit(cache=True)
def _measure(lane, cells, a, j1, j2, state, cfg):
    """Radii and safe dose of the row at ``a``."""
    interpolate = cfg[INTERPOLATE] > 0.0
    state[lane, J1] = j1
    state[lane, J2] = j2
    state[lane, T1] = radius_of(cells, a, j1, T1_LEVEL, DX, interpolate)
    t2 = radius_of(cells, a, j2, T2_LEVEL, DX, interpolate)
    state[lane, T2] = t2
    state[lane, LIMIT] = safe_dose(field_radius(t2, cfg[MARGIN], cfg[BLIND]), cfg[CAP])


@njit(cache=True)
def begin_course(lane, cfg, starts, state, dose_log):
    """Set the state of a lane, but what is measured of its density, to the day of detection."""
    dose_log[lane, :] = 0.0
    state[lane, :] = 0.0
    growth = starts[lane, START_GROWTH]
    state[lane, DAY] = growth
    state[lane, GROWTH] = growth
    state[lane, BENCHMARK] = starts[lane, START_BENCHMARK]
    follow_up = cfg[HORIZON]
    state[lane, LAST_DAY] = follow_up if cfg[PUBLISHED] > 0.0 else growth + follow_up
    state[lane, STAGE] = THERAPY_STAGE
    state[lane, REMAINING] = cfg[TOTAL]
    state[lane, WINDOW] = starts[lane, START_WINDOW]
    state[lane, B1] = T1_LEVEL
    state[lane, B2] = T2_LEVEL
    state[lane, END] = -1.0


@njit(cache=True)
def start_lanes(lanes, cfg, start_rows, starts, cells, state, seeds, episodes, dose_log):
    """Put ``lanes`` at the day of detection."""
    cells, state, cfg = unowned(cells), unowned(state), unowned(cfg)
    width = start_rows.shape[1]
    for number in range(lanes.shape[0]):
        lane = lanes[number]
        a = 2 * width * lane
        for j in range(width):
            cells[a + j] = start_rows[lane, j]
            cells[a + width + j] = 0.0
        begin_course(lane, cfg, starts, state, dose_log)
        hi = int(starts[lane, START_WINDOW])
        j1 = outermost(cells, a, -1, hi, T1_LEVEL)
        j2 = outermost(cells, a, j1, hi, T2_LEVEL)
        _measure(lane, cells, a, j1, j2, state, cfg)
        if cfg[OBSERVATION] == SEE_SCANS:
            scan(lane, state, cfg, seeds, episodes)


@njit(cache=True)
def _one_day(lane, width, cells, state, patients, cfg, dose):
    """Let one day pass with ``dose`` [Gy] at its start; sets END when the patient dies."""
    nodes = int(cfg[NODES])
    side = int(state[lane, SIDE])
    a = (2 * lane + side) * width
    b = (2 * lane + 1 - side) * width
    hi = int(state[lane, WINDOW])
    lam, gain = patients[lane, 0], patients[lane, 1]
    if dose > 0.0:
        field = field_radius(state[lane, T2], cfg[MARGIN], cfg[BLIND])
        edge = min(int(math.floor(field / DX + 1e-9)), nodes - 1)
        share = killed_share(dose, patients[lane, 3], patients[lane, 4], cfg[FRACTIONS])
        hi = treated_step(cells, a, b, hi, nodes, edge, lam, gain, gain - share, False)
    else:
        hi = plain_step(cells, a, b, hi, nodes, lam, gain, False)
    j1, b1 = follow(cells, a, b, int(state[lane, J1]), state[lane, B1], hi, gain, T1_LEVEL)
    j2, b2 = follow(cells, a, b, int(state[lane, J2]), state[lane, B2], hi, gain, T2_LEVEL)
    state[lane, B1] = b1
    state[lane, B2] = b2
    state[lane, DAY] += 1.0
    state[lane, SIDE] = 1.0 - side
    state[lane, WINDOW] = hi
    _measure(lane, cells, b, j1, j2, state, cfg)
    t1 = state[lane, T1]
    if t1 >= DEATH_RADIUS * (1.0 - 1e-12):
        state[lane, END] = crossing_time(cells, a, b, hi, j1, int(state[lane, DAY]), DEATH_RADIUS,
                                         DX, cfg[INTERPOLATE] > 0.0)  # fmt: skip
    else:
        state[lane, QUALITY] += day_quality(t1)


@njit(cache=True)
def _run_out(lane, width, cells, state, patients, cfg):
    """Let the tumour grow to death or the last day."""
    side = int(state[lane, SIDE])
    first = 2 * lane * width
    a, _, hi, j1, _, step, when, quality = run_untreated(
        cells, first + side * width, first + (1 - side) * width, int(state[lane, WINDOW]),
        int(state[lane, J1]), state[lane, B1], int(state[lane, DAY]),
        int(state[lane, LAST_DAY]), DEATH_RADIUS, int(cfg[NODES]), DX, patients[lane, 0],
        patients[lane, 1], False, False, cfg[INTERPOLATE] > 0.0, 1, True)  # fmt: skip
    state[lane, SIDE] = (a - first) // width
    state[lane, WINDOW] = hi
    state[lane, DAY] = step
    state[lane, QUALITY] += quality
    j2 = outermost(cells, a, int(state[lane, J2]), hi, T2_LEVEL)
    _measure(lane, cells, a, j1, j2, state, cfg)
    if when >= 0.0:
        state[lane, END] = when


@njit(cache=True, inline="always")
def observe_scalars(lane, number, state, cfg, out):
    """Write what an observation has beside the density into ``out[number]``, float32."""
    kind = cfg[OBSERVATION]
    if kind == SEE_ROW:
        return
    spent = state[lane, DAY] - state[lane, GROWTH]
    t1, t2, limit = state[lane, T1], state[lane, T2], state[lane, LIMIT]
    if kind == SEE_SCANS:
        t1, t2 = state[lane, SCAN_T1], state[lane, SCAN_T2]
        seen = field_radius(t2 if t2 > 0.0 else -1.0, cfg[MARGIN], cfg[BLIND])
        limit = safe_dose(seen, cfg[CAP])
    out[number, 0] = min(max(state[lane, REMAINING] / cfg[TOTAL], 0.0), 1.0)
    out[number, 1] = min(spent / cfg[MAX_THERAPY], 1.0)
    out[number, 2] = (spent % 7.0) / 7.0 if cfg[WEEKENDS] > 0.0 else 0.0
    out[number, 3] = min(max(t1, 0.0) / DEATH_RADIUS, 10.0)
    out[number, 4] = min(max(t2, 0.0) / DEATH_RADIUS, 10.0)
    out[number, 5] = min(limit / DOSE_SCALE, 1.0)
    if kind == SEE_SCANS:
        since = state[lane, DAY] - state[lane, SCAN_DAY]
        out[number, HEADER] = min(since / cfg[SCAN_INTERVAL], 1.0)


@njit(cache=True)
def _observe(lane, number, width, cells, state, cfg, out):
    """Write the observation of a lane into ``out[number]``, float32.

    A density exceeds 1 by rounding at most (1e-16), which float32 does not show.
    """
    kind = cfg[OBSERVATION]
    observe_scalars(lane, number, state, cfg, out)
    if kind != SEE_SCANS:
        nodes = int(cfg[NODES])
        head = 0 if kind == SEE_ROW else HEADER
        scale = cfg[SCALE] if kind == SEE_ROW else 1.0  # cells/mm^3 at full density
        a = (2 * lane + int(state[lane, SIDE])) * width
        row = cells[a : a + nodes]
        target = out[number, head : head + nodes]
        for j in range(nodes):
            target[j] = scale * row[j]


@njit(cache=True)
def observe_lanes(lanes, width, cells, state, cfg, out):
    """Observations ``(k, size)`` of ``lanes``."""
    cells, state, cfg, out = unowned(cells), unowned(state), unowned(cfg), unowned(out)
    for number in range(lanes.shape[0]):
        _observe(lanes[number], number, width, cells, state, cfg, out)


@njit(cache=True, inline="always")
def decide(lane, actions, cfg, state, terms, costs, dose_log):
    """Take the dose of a decision from the budget and score it against its limit.

    Returns (dose [Gy], days that pass before the next decision, toxicity, whether the course runs
    to its end then).
    """
    if state[lane, STAGE] == POST_STAGE:
        return 0.0, 0, 0.0, True
    published = cfg[PUBLISHED] > 0.0
    total = cfg[TOTAL]
    action = actions[lane, 0]
    dose = min(action * total, state[lane, REMAINING])
    limit = state[lane, LIMIT]
    spent = state[lane, DAY] - state[lane, GROWTH]
    toxicity = 0.0
    dose_log[lane, int(spent)] = dose
    state[lane, REMAINING] -= dose
    state[lane, GIVEN] += dose
    state[lane, PEAK] = max(state[lane, PEAK], dose)
    state[lane, DECISIONS] += 1.0
    if dose > DOSE_SCALE * cfg[FRACTIONS]:
        state[lane, BEYOND] = 1.0
    if dose > limit:
        state[lane, VIOLATIONS] += 1.0
        costs[lane, 0] = dose - limit
        if total > limit:
            toxicity = min((dose - limit) / (total - limit), 1.0) ** (1.0 / 3.0)
    elif dose == 0.0:
        terms[lane, 4] = -1.0
    spent += 1.0
    done = state[lane, REMAINING] < LEFTOVER
    days = 1
    finish = False
    if published:
        if cfg[WEEKENDS] > 0.0:
            count = state[lane, COUNT] + 1.0 if action > 0.0 else 0.0
            if count == 5.0:
                days = 3
                count = 0.0
            state[lane, COUNT] = count
        if done:
            state[lane, STAGE] = POST_STAGE
            state[lane, THERAPY] = spent
    else:
        done = done or spent >= cfg[MAX_THERAPY]
        if cfg[WEEKENDS] > 0.0 and not done and spent % 7.0 == 5.0:
            days = 3
            spent += 2.0
            done = spent >= cfg[MAX_THERAPY]
        finish = done
    return dose, days, toxicity, finish


@njit(cache=True, inline="always")
def is_over(lane, state):
    """Whether the patient is dead or the follow-up ends."""
    return state[lane, END] >= 0.0 or state[lane, DAY] >= state[lane, LAST_DAY]


@njit(cache=True, inline="always")
def leave_therapy(lane, state, cfg):
    """Note that no dose follows."""
    if cfg[PUBLISHED] == 0.0:
        state[lane, STAGE] = POST_STAGE
        state[lane, THERAPY] = state[lane, DAY] - state[lane, GROWTH]


@njit(cache=True, inline="always")
def clear_lane(lane, terms, costs, terminated, truncated, success):
    """Set the results of a lane's decision to nothing."""
    for column in range(TERMS):
        terms[lane, column] = 0.0
    costs[lane, 0] = 0.0
    terminated[lane] = False
    truncated[lane] = False
    success[lane] = False


@njit(cache=True, inline="always")
def score(lane, quality0, toxicity, edge, state, cfg, seeds, episodes, terms, costs, terminated,
          truncated, outcome, success):  # fmt: skip
    """What a decision brought; ``edge`` is the density at the outer boundary as a share of K.

    Returns whether the course is over.
    """
    published = cfg[PUBLISHED] > 0.0
    died = state[lane, END] >= 0.0
    over = died or state[lane, DAY] >= state[lane, LAST_DAY]
    last = state[lane, END] if died else state[lane, DAY]
    scan_due = state[lane, DAY] - state[lane, SCAN_DAY] >= cfg[SCAN_INTERVAL]
    if cfg[OBSERVATION] == SEE_SCANS and scan_due and not over:
        scan(lane, state, cfg, seeds, episodes)
    if edge > EDGE_DENSITY:
        state[lane, BEYOND] = 1.0
    growth = state[lane, GROWTH]
    survival = last - state[lane, BENCHMARK]
    violations = state[lane, VIOLATIONS]
    ratio = (last - growth) / (state[lane, BENCHMARK] - growth)
    finished = state[lane, STAGE] == POST_STAGE
    terms[lane, 0] = survival if over else 0.0
    # The source drops the penalty of a step that ends the episode.
    terms[lane, 1] = 0.0 if over and published else -toxicity
    terms[lane, 2] = state[lane, QUALITY] - quality0
    terms[lane, 3] = -costs[lane, 0]
    outcome[lane, 0] = survival
    outcome[lane, 1] = last
    outcome[lane, 2] = state[lane, QUALITY]
    outcome[lane, 3] = state[lane, GIVEN]
    outcome[lane, 4] = state[lane, THERAPY] if finished else state[lane, DAY] - growth
    outcome[lane, 5] = state[lane, PEAK]
    outcome[lane, 6] = violations
    outcome[lane, 7] = 100.0 * violations / max(state[lane, DECISIONS], 1.0)
    outcome[lane, 8] = ratio
    outcome[lane, 9] = state[lane, BEYOND]
    terminated[lane] = died
    truncated[lane] = over and not died
    success[lane] = over and violations == 0.0 and ratio >= cfg[SUCCESS]
    return over


@njit(cache=True)
def _advance_lane(lane, width, active, actions, cfg, cells, state, patients, seeds, episodes,
                  dose_log, seen, terms, costs, terminated, truncated, outcome,
                  success):  # fmt: skip
    """Advance one lane by one decision."""
    clear_lane(lane, terms, costs, terminated, truncated, success)
    observed = False
    if not active[lane]:
        for column in range(METRICS):
            outcome[lane, column] = 0.0
    else:
        quality0 = state[lane, QUALITY]
        dose, days, toxicity, finish = decide(lane, actions, cfg, state, terms, costs, dose_log)
        for day in range(days):
            if is_over(lane, state):
                break
            if day == 1 and cfg[PUBLISHED] > 0.0:  # the source shows the state before the weekend
                _observe(lane, lane, width, cells, state, cfg, seen)
                observed = True
            _one_day(lane, width, cells, state, patients, cfg, dose if day == 0 else 0.0)
        if finish and not is_over(lane, state):
            leave_therapy(lane, state, cfg)
            _run_out(lane, width, cells, state, patients, cfg)
        edge = cells[(2 * lane + int(state[lane, SIDE])) * width + int(cfg[NODES]) - 1]
        over = score(lane, quality0, toxicity, edge, state, cfg, seeds, episodes, terms, costs,
                     terminated, truncated, outcome, success)  # fmt: skip
        observed = observed and not over
    if not observed:
        _observe(lane, lane, width, cells, state, cfg, seen)


@njit(cache=True)
def advance_lanes(width, active, actions, cfg, cells, state, patients, seeds, episodes, dose_log,
                  seen, terms, costs, terminated, truncated, outcome, success):  # fmt: skip
    """Advance all active lanes on one thread; every array but ``cells`` has one row a lane."""
    active, actions, cfg, cells = unowned(active), unowned(actions), unowned(cfg), unowned(cells)
    state, patients, seeds = unowned(state), unowned(patients), unowned(seeds)
    episodes, dose_log, seen = unowned(episodes), unowned(dose_log), unowned(seen)
    terms, costs, outcome = unowned(terms), unowned(costs), unowned(outcome)
    terminated, truncated, success = unowned(terminated), unowned(truncated), unowned(success)
    for lane in range(state.shape[0]):
        _advance_lane(lane, width, active, actions, cfg, cells, state, patients, seeds, episodes,
                      dose_log, seen, terms, costs, terminated, truncated, outcome,
                      success)  # fmt: skip


@njit(cache=True, parallel=True)
def advance_lanes_parallel(width, active, actions, cfg, cells, state, patients, seeds, episodes,
                           dose_log, seen, terms, costs, terminated, truncated, outcome,
                           success):  # fmt: skip
    """The same on all threads, whose arrays numba hands over without an owner."""
    for lane in prange(state.shape[0]):
        _advance_lane(np.int64(lane), width, active, actions, cfg, cells, state, patients, seeds,
                      episodes, dose_log, seen, terms, costs, terminated, truncated, outcome,
                      success)  # fmt: skip


@njit(cache=True)
def radiation_lanes(terminated, truncated, count, tumours, brain, lq_range, dose_log, outcome):
    """BED, EQD2 of the brain and the LQ law's range behind the kernel's outcomes, 0 before the end.

    Equations of :mod:`oncogym.envs.radiobiology`, for ``count`` equal fractions a day.
    """
    low, high = lq_range
    for lane in range(len(outcome)):
        own = outcome[lane, METRICS:]
        own[:] = 0.0
        if not (terminated[lane] or truncated[lane]):
            continue
        tumour = tumours[lane]
        for day in range(dose_log.shape[1]):
            dose = dose_log[lane, day] / count
            if dose > 0.0:
                own[0] += count * dose * (1.0 + dose / tumour)
                own[1] += count * dose * (1.0 + dose / brain)
                if dose < low or dose > high:
                    own[2] = 1.0
        own[1] /= 1.0 + 2.0 / brain


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
            safe = np.float64(np.float32(safe * (1.0 - 2.0**-23)))
        out[lane, 0] = min(actions[lane, 0], safe)


@njit(cache=True)
def safe_doses(t2, cfg):
    """Safe daily doses [Gy] for T2 radii ``(k,)`` [mm], -1 for none."""
    out = np.empty(t2.shape[0])
    for row in range(t2.shape[0]):
        out[row] = safe_dose(field_radius(t2[row], cfg[MARGIN], cfg[BLIND]), cfg[CAP])
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
