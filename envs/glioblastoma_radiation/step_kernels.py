"""One decision of a glioblastoma lane: give, let days pass, score, observe.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files. The
functions here are about one lane; the loops over lanes are made of them. The grid is that of the
source, 1 mm and 1 day in a slab, or a lane's own in the accurate solver.
"""

import math

import numpy as np

from oncogym.envs.compiled import compiled
from oncogym.envs.glioblastoma_radiation.day_kernels import (
    grow_to_detection,
    make_tumour,
    outer_density,
    pass_day,
    put_at_detection,
    run_out,
)
from oncogym.envs.glioblastoma_radiation.kernels import (
    DEATH_RADIUS,
    LEFTOVER,
    field_radius,
    row_of,
    safe_dose,
)
from oncogym.envs.glioblastoma_radiation.records import (
    COSTS,
    OUTCOME,
    PATIENT,
    SCANNED,
    SEEN,
    SETTINGS,
    START,
    STATE,
    TERMS,
    TUMOUR,
)
from oncogym.envs.glioblastoma_radiation.split_kernels import density_at
from oncogym.envs.lane_kernels import (
    ITEM,
    ROW,
    SHOWN_ROW,
    WHOLE,
    Scored,
    Shared,
    inlined,
    over_active,
    over_lanes,
    record_at,
)
from oncogym.envs.records import width_of
from oncogym.envs.streams import normal_pair, uniforms
from oncogym.envs.unowned import unowned

DX = 1.0  # mm
THERAPY_STAGE, POST_STAGE = 1.0, 2.0
SEE_ROW, SEE_FULL, SEE_SCANS = 0.0, 1.0, 2.0
DOSE_SCALE = 24.0  # Gy, the largest single dose of the trial behind the safe dose
_NOISE_STREAM = 16
# Numbers before the density in the full observation.
_HEADER = width_of(SEEN)
# Share of K at the outer boundary beyond which the domain shapes the course.
EDGE_DENSITY = 1e-3


@inlined
def _prepare(cells, taps, tumours, patient, settings, start, row):
    cells = unowned(cells)
    tumour = record_at(tumours, 0, TUMOUR)  # type: ignore[var-annotated]
    grow_to_detection(cells, taps, tumour, patient, settings, start, settings.max_growth)
    a, _ = row_of(tumour, settings)
    for j in range(row.shape[0]):
        row[j] = cells[a + j]
    if start.growth < 0.0:
        return
    follow_up = settings.horizon
    last = follow_up if settings.published > 0.0 else start.growth + follow_up
    side = tumour.side
    put_at_detection(cells, tumour, start, settings, side)
    run_out(cells, taps, tumour, patient, settings, last - start.growth)
    start.benchmark = tumour.end if tumour.end >= 0.0 else tumour.day
    start.boundary = outer_density(cells, tumour, settings)


def prepare(patient, taps, settings, start, row):
    """Growth stage and untreated death of a patient.

    Args:
        patient, settings, start: Records, see ``records.py``; the last is written.
        taps: Of the heat kernel, for the accurate solver, which has one row of cells.
        row: Cells on the day of detection; written.
    """
    rows = 1 if settings.accurate > 0.0 else 2
    _prepare(np.zeros(rows * row.shape[0]), taps, make_tumour(), patient, settings, start, row)


@inlined
def _scan(state, seed, episode, settings):
    """Take a scan: T1 and T2 radii with a reading error."""
    z1, z2 = normal_pair(seed, episode, _NOISE_STREAM, int(state.scans))
    noise = settings.scan_noise
    state.scan_t1 = max(state.t1 + noise * z1, 0.0) if state.t1 >= 0.0 else 0.0
    state.scan_t2 = max(state.t2 + noise * z2, 0.0) if state.t2 >= 0.0 else 0.0
    state.scan_day = state.day
    state.scans += 1.0


def start(cells, row, first, state, seed, episode, given, settings):
    """Put a lane at the day of detection.

    Args:
        cells: Of the lane; written.
        row: Its cells on that day.
        first: What is kept of the growth stage.
        state, settings: Records, see ``records.py``; the first is written.
        seed, episode: Keys of the noise.
        given: Doses of each day [Gy]; written.
    """
    for j in range(row.shape[0]):
        cells[j] = row[j]
    for j in range(row.shape[0], cells.shape[0]):
        cells[j] = 0.0
    for day in range(given.shape[0]):
        given[day] = 0.0
    state.growth, state.benchmark = first.growth, first.benchmark
    follow_up = settings.horizon
    state.last_day = follow_up if settings.published > 0.0 else first.growth + follow_up
    state.stage, state.remaining = THERAPY_STAGE, settings.total
    state.given = state.peak = state.violations = state.decisions = state.count = 0.0
    state.therapy = state.scan_day = state.scan_t1 = state.scan_t2 = state.scans = 0.0
    state.beyond = 0.0
    put_at_detection(cells, state, first, settings, 0.0)
    if settings.observation == SEE_SCANS:
        _scan(state, seed, episode, settings)


@inlined
def _show_scalars(state, settings, seen):
    """What an observation has beside the density."""
    spent = state.day - state.growth
    t1, t2, limit = state.t1, state.t2, state.limit
    if settings.observation == SEE_SCANS:
        t1, t2 = state.scan_t1, state.scan_t2
        limit = safe_dose(field_radius(t2 if t2 > 0.0 else -1.0, settings), settings.cap)
    seen.dose_left = min(max(state.remaining / settings.total, 0.0), 1.0)
    seen.time = min(spent / settings.max_therapy, 1.0)
    seen.weekday = (spent % 7.0) / 7.0 if settings.weekends > 0.0 else 0.0
    seen.t1 = min(max(t1, 0.0) / DEATH_RADIUS, 10.0)
    seen.t2 = min(max(t2, 0.0) / DEATH_RADIUS, 10.0)
    seen.safe_dose = min(limit / DOSE_SCALE, 1.0)


@inlined
def _show_cells(cells, state, settings, shown, scale):
    """Densities at whole mm, as float32.

    In the source's solver one exceeds 1 by rounding at most (1e-16), which float32 does not show.
    """
    if settings.accurate > 0.0:
        for j in range(shown.shape[0]):
            shown[j] = min(scale * density_at(cells, settings.dx, float(j)), scale)
        return
    a, _ = row_of(state, settings)
    row = cells[a : a + shown.shape[0]]
    for j in range(shown.shape[0]):
        shown[j] = scale * row[j]


def observe(cells, state, settings, seen):
    """Write what a lane shows.

    Args:
        cells: Of the lane.
        state, settings: Records, see ``records.py``.
        seen: A row of the observation, written: ``SEEN`` and densities, ``SCANNED``, or densities.
    """
    if settings.observation == SEE_ROW:
        _show_cells(cells, state, settings, seen, settings.scale)
        return
    _show_scalars(state, settings, record_at(seen, 0, SEEN))
    if settings.observation == SEE_SCANS:
        scanned = record_at(seen, 0, SCANNED)
        scanned.since_scan = min((state.day - state.scan_day) / settings.scan_interval, 1.0)
    else:
        _show_cells(cells, state, settings, seen[_HEADER:], 1.0)


_show = inlined(observe)


@inlined
def _give(action, state, settings, given):
    """Take the dose [Gy] of a decision from the budget."""
    dose = min(action * settings.total, state.remaining)
    given[int(state.day - state.growth)] = dose
    state.remaining -= dose
    state.given += dose
    state.peak = max(state.peak, dose)
    state.decisions += 1.0
    if dose > DOSE_SCALE * settings.fractions:
        state.beyond = 1.0
    return dose


@inlined
def _score_dose(dose, state, settings, terms, costs):
    """Compare a dose with its limit; returns its toxicity (spec. 5)."""
    toxicity, limit = 0.0, state.limit
    if dose > limit:
        state.violations += 1.0
        costs.excess_dose = dose - limit
        if settings.total > limit:
            toxicity = min((dose - limit) / (settings.total - limit), 1.0) ** (1.0 / 3.0)
    elif dose == 0.0:
        terms.waiting = -1.0
    return toxicity


@inlined
def _plan_published(action, state, settings):
    """Days before the next decision, of the source (spec. 6); therapy ends with the dose."""
    days = 1
    if settings.weekends > 0.0:
        count = state.count + 1.0 if action > 0.0 else 0.0
        if count == 5.0:
            days, count = 3, 0.0
        state.count = count
    if state.remaining < LEFTOVER:
        state.stage = POST_STAGE
        state.therapy = state.day - state.growth + 1.0
    return days


@inlined
def _plan_sound(state, settings):
    """Days before the next decision, and whether there is none."""
    spent = state.day - state.growth + 1.0
    done = state.remaining < LEFTOVER or spent >= settings.max_therapy
    if settings.weekends > 0.0 and not done and spent % 7.0 == 5.0:
        return 3, spent + 2.0 >= settings.max_therapy
    return 1, done


@inlined
def _is_over(state):
    """Whether the patient is dead or the follow-up ends."""
    return state.end >= 0.0 or state.day >= state.last_day


@inlined
def _live(cells, taps, state, patient, settings, dose, days, finish, seen):
    """Let the days of a decision pass, and after the last one the rest of the course.

    Returns whether the observation is written: the source shows the state before a weekend.
    """
    published = settings.published > 0.0
    observed = False
    for day in range(days):
        if _is_over(state):
            break
        if day == 1 and published:
            _show(cells, state, settings, seen)
            observed = True
        pass_day(cells, taps, state, patient, settings, dose if day == 0 else 0.0)
        state.day = math.ceil(state.day - 1e-9)
    if finish and not _is_over(state):
        if not published:
            state.stage = POST_STAGE
            state.therapy = state.day - state.growth
        run_out(cells, taps, state, patient, settings, state.last_day - state.day)
        state.day = math.ceil(state.day - 1e-9)
    return observed


@inlined
def _report(outcome, state, last):
    """What became of the patient so far."""
    growth = state.growth
    outcome.days_extended = last - state.benchmark
    outcome.death_day = last
    outcome.quality_days = state.quality
    outcome.total_dose = state.given
    finished = state.stage == POST_STAGE
    outcome.therapy_days = state.therapy if finished else state.day - growth
    outcome.peak_dose = state.peak
    outcome.violations = state.violations
    outcome.violation_rate = 100.0 * state.violations / max(state.decisions, 1.0)
    outcome.survival_ratio = (last - growth) / (state.benchmark - growth)
    outcome.out_of_range = state.beyond


@inlined
def _report_radiation(outcome, patient, given, settings, over):
    """BED, EQD2 of the brain and the LQ law's range, 0 before the end.

    Equations of :mod:`oncogym.envs.radiobiology`.
    """
    bed = brain = outside = 0.0
    if over:
        count = settings.fractions
        for day in range(given.shape[0]):
            dose = given[day] / count
            if dose > 0.0:
                bed += count * dose * (1.0 + dose / patient.alpha_beta)
                brain += count * dose * (1.0 + dose / settings.brain)
                if dose < settings.lq_low or dose > settings.lq_high:
                    outside = 1.0
    outcome.bed = bed
    outcome.eqd2_brain = brain / (1.0 + 2.0 / settings.brain)
    outcome.lq_range = outside


@inlined
def _score(terms, costs, state, settings, quality, toxicity, over, last):
    """Terms of a decision that began with ``quality`` (spec. 5)."""
    terms.survival = last - state.benchmark if over else 0.0
    # The source drops the penalty of a step that ends the episode.
    terms.toxicity = 0.0 if over and settings.published > 0.0 else -toxicity
    terms.quality_days = state.quality - quality
    terms.excess = -costs.excess_dose


def advance(cells, taps, action, state, patient, given, seed, episode, settings, seen, terms,
            costs, outcome):  # fmt: skip
    """Take one decision, score it and observe.

    Returns whether the patient died, whether the follow-up ended, and whether it is a success.

    Args:
        cells, taps: Of the lane, see ``day_kernels.py``; the first is written.
        action: Action of the lane in [0, 1].
        state, patient, settings: Records, see ``records.py``; the first is written.
        given: Doses of each day [Gy]; written.
        seed, episode: Keys of the noise.
        seen: A row of the observation; written.
        terms, costs, outcome: Records of the results; written.
    """
    published = settings.published > 0.0
    quality, toxicity, dose = state.quality, 0.0, 0.0
    terms.waiting = costs.excess_dose = 0.0
    days, finish = 0, True
    if state.stage == THERAPY_STAGE:
        dose = _give(action[0], state, settings, given)
        toxicity = _score_dose(dose, state, settings, terms, costs)
        if published:
            days, finish = _plan_published(action[0], state, settings), False
        else:
            days, finish = _plan_sound(state, settings)
    observed = _live(cells, taps, state, patient, settings, dose, days, finish, seen)
    died, over = state.end >= 0.0, _is_over(state)
    last = state.end if died else state.day
    scan_due = state.day - state.scan_day >= settings.scan_interval
    if settings.observation == SEE_SCANS and scan_due and not over:
        _scan(state, seed, episode, settings)
    if outer_density(cells, state, settings) > EDGE_DENSITY:
        state.beyond = 1.0
    _score(terms, costs, state, settings, quality, toxicity, over, last)
    _report(outcome, state, last)
    _report_radiation(outcome, patient, given, settings, over)
    if over or not observed:
        _show(cells, state, settings, seen)
    success = over and state.violations == 0.0 and outcome.survival_ratio >= settings.success
    return died, over and not died, success


_TREATED = {"actions": ROW, "state": STATE, "patients": PATIENT, "given": ROW, "seeds": ITEM}
_RESULTS = {"seen": ROW, "terms": Scored(TERMS), "costs": Scored(COSTS)}
_STARTED = {"rows": ROW, "starts": START, "state": STATE, "seeds": ITEM, "episodes": ITEM}

prepare_lanes, prepare_lanes_parallel = over_lanes(
    prepare, patients=PATIENT, taps=WHOLE, settings=Shared(SETTINGS), starts=START, rows=ROW
)
start_lanes, _ = over_lanes(start, cells=ROW, **_STARTED, given=ROW, settings=Shared(SETTINGS))
advance_lanes, advance_lanes_parallel = over_active(
    advance,
    idle=observe,
    cells=ROW,
    taps=WHOLE,
    **_TREATED,
    episodes=ITEM,
    settings=Shared(SETTINGS),
    **_RESULTS,
    outcome=Scored(OUTCOME),
    returns=("terminated", "truncated", "success"),
)
observe_lanes, _ = over_lanes(
    observe, cells=ROW, state=STATE, settings=Shared(SETTINGS), seen=SHOWN_ROW
)
# In the accurate solver each lane has a grid of its own.
prepare_one, _ = over_lanes(
    prepare, patients=PATIENT, taps=WHOLE, settings=Shared(SETTINGS), starts=START, rows=WHOLE
)
start_one, _ = over_lanes(
    start,
    cells=WHOLE,
    **_STARTED | {"rows": WHOLE},
    given=ROW,
    settings=Shared(SETTINGS),
)
advance_one, _ = over_lanes(
    advance,
    cells=WHOLE,
    taps=WHOLE,
    **_TREATED,
    episodes=ITEM,
    settings=Shared(SETTINGS),
    **_RESULTS,
    outcome=Scored(OUTCOME),
    returns=("terminated", "truncated", "success"),
)
observe_one, _ = over_lanes(
    observe, cells=WHOLE, state=STATE, settings=Shared(SETTINGS), seen=SHOWN_ROW
)


def lower_to_safe(action, state, settings, safe):
    """Lower an action to the largest whose dose is within the safe dose of the lane's field.

    Args:
        action: Action of the lane in [0, 1].
        state, settings: Records, see ``records.py``.
        safe: Written.
    """
    safe[0] = action[0]
    limit = state.limit
    if state.stage == THERAPY_STAGE and limit < settings.total:
        # Rounding in a policy's float32 must not carry the dose over the limit.
        share = np.float64(np.float32(limit / settings.total))
        if share * settings.total > limit:
            share = np.float64(np.float32(share * (1.0 - 2.0**-23)))
        safe[0] = min(action[0], share)


safe_lanes, _ = over_lanes(
    lower_to_safe, actions=ROW, state=STATE, settings=Shared(SETTINGS), safe=ROW
)


@compiled
def safe_doses(t2, settings):
    """Safe daily doses [Gy] for T2 radii ``(k,)`` [mm], -1 for none."""
    options = record_at(settings, 0, SETTINGS)  # type: ignore[var-annotated]
    out = np.empty(t2.shape[0])
    for row in range(t2.shape[0]):
        out[row] = safe_dose(field_radius(t2[row], options), options.cap)
    return out


@compiled
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
