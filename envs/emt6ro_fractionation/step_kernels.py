"""Decisions, rewards and observations of many treatments of spheroids.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import math

import numpy as np
from numba import njit, prange

from oncogym.envs.emt6ro_fractionation.frame_kernels import (
    AT_EDGE,
    BURDEN,
    DAMAGE,
    EXTERNAL,
    RECORD_DAMAGED,
    RECORD_FIELDS,
    RECORD_MODES,
    RECORD_PHASES,
    REPAIRED,
    SIDE,
    SITES,
    SITES_NOW,
    STEP,
)
from oncogym.envs.emt6ro_fractionation.kernels import advance_tumour, record
from oncogym.envs.emt6ro_fractionation.rules import STEPS_PER_SLOT, VACANT, acute_dose
from oncogym.envs.streams import normal_pair, uniforms

# Options of a task.
(
    PUBLISHED,  # a wait comes before its dose and the objective is that of the source
    TOTAL_DOSE,  # Gy
    MAX_DOSE,  # Gy
    DOSE_STEP,  # Gy
    LEAST_WAIT,  # slots
    MAX_WAIT,  # slots
    TREATMENT,  # slots in which doses may be given
    HORIZON,  # slots to the end
    MAX_DECISIONS,
    BED_LIMIT,  # Gy
    ALPHA_BETA,  # Gy
    OBSERVATION,
    SIZE_NOISE,  # standard deviation of ln(measured radius)
    SUCCESS,  # largest sites at the end relative to the start
) = range(14)
OPTIONS = 14

SEE_SUMMARY, SEE_IMAGE, SEE_SIZE = range(3)
SUMMARY = 23
MEASURED = 6
CHANNELS = 8
LARGEST = 1500.0  # sites; the source's number of sites that may be occupied
NOISE_STREAM = 1 << 20  # beyond the streams of the sites

# State of a lane beside its tumour.
(
    REMAINING,
    BED,
    LAST_SLOT,
    LAST_DOSE,
    DECISIONS,
    INITIAL,
    FRACTIONS,
    FIRST_RADIUS,
    LARGEST_ACUTE,  # Gy, see rules.largest_acute_dose
    BEYOND,  # 1 once the doses of a cell cycle were larger
) = range(10)
STATE = 10

# A lane's present decision: slot to advance to, dose [Gy], BED over the limit, burden at its start,
# whether it is the last.
TARGET, DOSE, EXCESS, BURDEN_BEFORE, OVER = range(5)
PLAN = 5

TERMS, METRICS = 5, 10
# Sites are kept for figures every six hours.
HISTORY_SLOTS = 12
_EPS = 1e-9
_MIDDLE = SIDE / 2.0


@njit(cache=True)
def late_bed(dose, alpha_beta):
    """Biologically effective dose [Gy] of one fraction in late-responding tissue (LQ model)."""
    return dose * (1.0 + dose / alpha_beta)


@njit(cache=True)
def dose_of(action, options):
    """Dose [Gy] on the grid that an action in [0, 1] asks for."""
    step = options[DOSE_STEP]
    return step * math.floor(action * options[MAX_DOSE] / step + 0.5)


@njit(cache=True)
def wait_of(action, options):
    """Wait in slots that an action in [0, 1] asks for."""
    least = options[LEAST_WAIT]
    return int(math.floor(least + action * (options[MAX_WAIT] - least) + 0.5))


@njit(cache=True)
def start_lanes(lanes, occupied, largest, counters, state, doses, history, options):
    """Start treatments of tumours with ``occupied`` ``(k,)`` sites.

    ``largest`` ``(k,)`` [Gy] are the largest doses that the law of repair is taken for.
    """
    for number in range(lanes.shape[0]):
        lane, sites = lanes[number], occupied[number]
        counters[lane, :] = 0
        counters[lane, SITES_NOW] = sites
        state[lane, :] = 0.0
        state[lane, REMAINING] = options[TOTAL_DOSE]
        state[lane, LAST_SLOT] = -1.0
        state[lane, INITIAL] = sites
        state[lane, LARGEST_ACUTE] = largest[number]
        doses[lane, :] = 0.0
        history[lane, :] = np.nan
        history[lane, 0] = sites


@njit(cache=True)
def _advance_to(slot, fields, phase, mode, clocks, counters, biology, settings, doses, seed,
                episode, history):  # fmt: skip
    """Let a lane's tumour live until the start of ``slot``."""
    while counters[STEP] < slot * STEPS_PER_SLOT:
        now = counters[STEP] // STEPS_PER_SLOT
        stop = min(slot, (now // HISTORY_SLOTS + 1) * HISTORY_SLOTS)
        advance_tumour(fields, phase, mode, clocks, counters, biology, settings, doses,
                       stop * STEPS_PER_SLOT, seed, episode)  # fmt: skip
        if stop % HISTORY_SLOTS == 0:
            history[stop // HISTORY_SLOTS] = counters[SITES_NOW]


@njit(cache=True)
def _give(state, doses, slot, dose, options):
    """Plan a dose for the start of ``slot``; returns how far it takes the BED over the limit."""
    before = max(state[BED] - options[BED_LIMIT], 0.0)
    doses[slot] += dose
    state[REMAINING] -= dose
    state[BED] += late_bed(dose, options[ALPHA_BETA])
    if dose > 0.0:
        if acute_dose(doses, slot) > state[LARGEST_ACUTE]:
            state[BEYOND] = 1.0
        state[LAST_SLOT] = slot
        state[LAST_DOSE] = dose
        state[FRACTIONS] += 1.0
    return max(state[BED] - options[BED_LIMIT], 0.0) - before


@njit(cache=True)
def _decide(own, counters, doses, action, options, plan):
    """Begin a decision: give its dose where that comes first; plan how far the lane advances."""
    treatment, horizon = int(options[TREATMENT]), int(options[HORIZON])
    dose = min(dose_of(action[0], options), own[REMAINING])
    now = int(counters[STEP] // STEPS_PER_SLOT)
    target = min(now + wait_of(action[1], options), treatment)
    plan[BURDEN_BEFORE] = counters[BURDEN]
    plan[EXCESS] = 0.0
    plan[DOSE] = dose
    own[DECISIONS] += 1.0
    if options[PUBLISHED] == 0.0:
        plan[EXCESS] = _give(own, doses, now, dose, options)
        if _is_last(own, options):
            target = horizon
    plan[TARGET] = target


@njit(cache=True)
def _is_last(own, options):
    """Whether the dose is spent or the decisions are."""
    spent = own[REMAINING] < 0.5 * options[DOSE_STEP]
    return spent or own[DECISIONS] >= options[MAX_DECISIONS]


@njit(cache=True)
def _arrive(own, counters, doses, options, plan):
    """Go on after the wait: give its dose where that comes last; to the end if it was the last."""
    treatment, target = int(options[TREATMENT]), int(plan[TARGET])
    if options[PUBLISHED] > 0.0 and target < treatment:
        plan[EXCESS] = _give(own, doses, target, plan[DOSE], options)
    over = _is_last(own, options) or target >= treatment or counters[SITES_NOW] == 0
    plan[OVER] = 1.0 if over else 0.0
    if over:
        plan[TARGET] = options[HORIZON]


@njit(cache=True)
def _clear(lane, terms, costs, terminated, outcome, success):
    terms[lane, :] = 0.0
    costs[lane, :] = 0.0
    outcome[lane, :] = 0.0
    terminated[lane] = False
    success[lane] = False


@njit(cache=True)
def _reward(lane, own, counters, options, plan, terms, costs, terminated, outcome, success):
    """What a decision brought."""
    over, excess = plan[OVER] > 0.0, plan[EXCESS]
    sites = float(counters[SITES_NOW])
    initial = max(own[INITIAL], 1.0)
    whole = initial * int(options[HORIZON]) * STEPS_PER_SLOT
    costs[lane, 0] = excess
    terms[lane, 0] = LARGEST - sites if over else 0.0
    terms[lane, 1] = -(counters[BURDEN] - plan[BURDEN_BEFORE]) / whole
    terms[lane, 2] = -sites / initial if over else 0.0
    terms[lane, 3] = 1.0 if over and sites == 0.0 else 0.0
    terms[lane, 4] = -excess
    outcome[lane, 0] = LARGEST - sites
    outcome[lane, 1] = sites
    outcome[lane, 2] = counters[BURDEN] / whole
    outcome[lane, 3] = sites / initial
    outcome[lane, 4] = 1.0 if sites == 0.0 else 0.0
    outcome[lane, 5] = own[BED]
    outcome[lane, 6] = options[TOTAL_DOSE] - own[REMAINING]
    outcome[lane, 7] = own[FRACTIONS]
    outcome[lane, 8] = 0.5 * max(own[LAST_SLOT], 0.0)
    outcome[lane, 9] = 1.0 if own[BEYOND] > 0.0 or counters[AT_EDGE] > 0 else 0.0
    terminated[lane] = over
    kept = own[BED] <= options[BED_LIMIT] + _EPS
    success[lane] = over and kept and sites <= options[SUCCESS] * initial


@njit(cache=True)
def _advance_lane(lane, active, actions, options, settings, fields, phase, mode, clocks, counters,
                  biology, state, doses, history, seeds, episodes, plans, rows, seen, terms, costs,
                  terminated, outcome, success):  # fmt: skip
    """One decision of a lane."""
    _clear(lane, terms, costs, terminated, outcome, success)
    if active[lane]:
        own, counted, plan = state[lane], counters[lane], plans[lane]
        _decide(own, counted, doses[lane], actions[lane], options, plan)
        _advance_to(int(plan[TARGET]), fields[lane], phase[lane], mode[lane], clocks[lane],
                    counted, biology[lane], settings, doses[lane], seeds[lane], episodes[lane],
                    history[lane])  # fmt: skip
        _arrive(own, counted, doses[lane], options, plan)
        _advance_to(int(plan[TARGET]), fields[lane], phase[lane], mode[lane], clocks[lane],
                    counted, biology[lane], settings, doses[lane], seeds[lane], episodes[lane],
                    history[lane])  # fmt: skip
        _reward(lane, own, counted, options, plan, terms, costs, terminated, outcome, success)
    observe(lane, lane, options, settings, fields, phase, mode, clocks, counters, state, seeds,
            episodes, rows, seen)  # fmt: skip


@njit(cache=True)
def decide_lanes(active, actions, options, counters, state, doses, plans, until):
    """Begin a decision in all active lanes; ``until`` ``(lanes,)`` are the steps to advance to."""
    for lane in range(state.shape[0]):
        until[lane] = 0
        if active[lane]:
            _decide(state[lane], counters[lane], doses[lane], actions[lane], options, plans[lane])
            until[lane] = int(plans[lane, TARGET]) * STEPS_PER_SLOT


@njit(cache=True)
def arrive_lanes(active, options, counters, state, doses, plans, until):
    """Go on after the wait; ``until`` are the steps to advance to."""
    for lane in range(state.shape[0]):
        if active[lane]:
            _arrive(state[lane], counters[lane], doses[lane], options, plans[lane])
            until[lane] = int(plans[lane, TARGET]) * STEPS_PER_SLOT


@njit(cache=True)
def reward_lanes(active, options, counters, state, plans, terms, costs, terminated, outcome,
                 success):  # fmt: skip
    """What the decision brought in all lanes."""
    for lane in range(state.shape[0]):
        _clear(lane, terms, costs, terminated, outcome, success)
        if active[lane]:
            _reward(lane, state[lane], counters[lane], options, plans[lane], terms, costs,
                    terminated, outcome, success)  # fmt: skip


@njit(cache=True)
def _header(own, slot, options, out):
    """What every observation has: dose left, time, time since the last dose, that dose."""
    out[0] = min(max(own[REMAINING] / options[TOTAL_DOSE], 0.0), 1.0)
    out[1] = min(slot / options[HORIZON], 1.0)
    out[2] = (
        min((slot - own[LAST_SLOT]) / options[TREATMENT], 1.0) if own[LAST_SLOT] >= 0.0 else 1.0
    )
    out[3] = min(own[LAST_DOSE] / options[MAX_DOSE], 1.0)


@njit(cache=True)
def _radius(phase):
    """Root mean square distance of the occupied sites from their centre, times sqrt(2)."""
    count = 0
    row0 = column0 = square = 0.0
    for site in range(SITES):
        if phase[site] != VACANT:
            row, column = site // SIDE, site % SIDE
            count += 1
            row0 += row
            column0 += column
            square += row * row + column * column
    if count == 0:
        return 0.0
    spread = square / count - (row0 / count) ** 2 - (column0 / count) ** 2
    return math.sqrt(2.0 * max(spread, 0.0))


@njit(cache=True)
def _observe_summary(own, slot, options, settings, fields, phase, mode, clocks, row, out):
    _header(own, slot, options, out)
    record(fields, phase, mode, clocks, settings, row)
    sites = row[0]
    share = 1.0 / max(sites, 1.0)
    damage = repairing = 0.0
    for site in range(SITES):
        if phase[site] != VACANT:
            damage += clocks[site, DAMAGE]
            repairing += clocks[site, REPAIRED] > 0.0
    out[4] = min(own[BED] / options[BED_LIMIT], 10.0)
    out[5] = min(sites / LARGEST, 2.0)
    out[6] = min(sites / max(own[INITIAL], 1.0), 10.0)
    for k in range(5):
        out[7 + k] = row[RECORD_PHASES + k] * share
    for k in range(4):
        out[12 + k] = row[RECORD_MODES + k] * share
    out[16] = row[RECORD_DAMAGED] * share
    out[17] = min(damage * share / options[TOTAL_DOSE], 1.0)
    out[18] = repairing * share
    out[19] = min(_radius(phase) / _MIDDLE, 2.0)
    for k in range(3):
        out[20 + k] = min(max(row[RECORD_FIELDS + k] / settings[EXTERNAL + k], 0.0), 10.0)
    out[22] = out[22] / 10.0  # acid lies above its bath, up to 25 times at death


@njit(cache=True)
def _observe_image(own, slot, options, settings, fields, phase, mode, clocks, row, out):
    """Occupied, phase, quiescent, damage, glucose, oxygen; dose left and time everywhere."""
    _header(own, slot, options, row)
    for site in range(SITES):
        there = phase[site] != VACANT
        out[site] = 1.0 if there else 0.0
        out[SITES + site] = phase[site] / 5.0
        out[2 * SITES + site] = 1.0 if there and mode[site] >= 2 else 0.0
        out[3 * SITES + site] = min(clocks[site, DAMAGE] / options[TOTAL_DOSE], 1.0)
        for k in range(2):
            amount = 1.0 + fields[k, site] / settings[EXTERNAL + k]
            out[(4 + k) * SITES + site] = min(max(amount, 0.0), 1.0)
        out[6 * SITES + site] = row[0]
        out[7 * SITES + site] = row[1]


@njit(cache=True)
def _observe_size(own, slot, options, phase, seed, episode, out):
    """The radius as a microscope gives it, with an error, alone and relative to the first one."""
    _header(own, slot, options, out)
    error, _ = normal_pair(seed, episode, NOISE_STREAM, int(own[DECISIONS]))
    radius = _radius(phase) * math.exp(options[SIZE_NOISE] * error)
    if own[DECISIONS] == 0.0:
        own[FIRST_RADIUS] = radius
    out[4] = min(radius / _MIDDLE, 2.0)
    out[5] = min(radius / max(own[FIRST_RADIUS], 1.0), 10.0)


@njit(cache=True)
def observe(lane, number, options, settings, fields, phase, mode, clocks, counters, state, seeds,
            episodes, rows, out):  # fmt: skip
    """Write the observation of a lane into ``out[number]``, images flattened.

    ``rows`` ``(lanes, RECORDED)`` float32 is memory for each lane.
    """
    slot = counters[lane, STEP] / STEPS_PER_SLOT
    kind = options[OBSERVATION]
    if kind == SEE_SUMMARY:
        _observe_summary(state[lane], slot, options, settings, fields[lane], phase[lane],
                         mode[lane], clocks[lane], rows[lane], out[number])  # fmt: skip
    elif kind == SEE_SIZE:
        _observe_size(state[lane], slot, options, phase[lane], seeds[lane], episodes[lane],
                      out[number])  # fmt: skip
    else:
        _observe_image(state[lane], slot, options, settings, fields[lane], phase[lane], mode[lane],
                       clocks[lane], rows[lane], out[number])  # fmt: skip


@njit(cache=True)
def observe_lanes(lanes, options, settings, fields, phase, mode, clocks, counters, state, seeds,
                  episodes, rows, out):  # fmt: skip
    """Observations ``(k, size)`` of ``lanes``."""
    for number in range(lanes.shape[0]):
        observe(lanes[number], number, options, settings, fields, phase, mode, clocks, counters,
                state, seeds, episodes, rows, out)  # fmt: skip


@njit(cache=True)
def advance_lanes(active, actions, options, settings, fields, phase, mode, clocks, counters,
                  biology, state, doses, history, seeds, episodes, plans, rows, seen, terms, costs,
                  terminated, outcome, success):  # fmt: skip
    """One decision in all active lanes, on one thread."""
    for lane in range(state.shape[0]):
        _advance_lane(lane, active, actions, options, settings, fields, phase, mode, clocks,
                      counters, biology, state, doses, history, seeds, episodes, plans, rows, seen,
                      terms, costs, terminated, outcome, success)  # fmt: skip


@njit(cache=True, parallel=True)
def advance_lanes_parallel(active, actions, options, settings, fields, phase, mode, clocks,
                           counters, biology, state, doses, history, seeds, episodes, plans, rows,
                           seen, terms, costs, terminated, outcome, success):  # fmt: skip
    """The same on all threads."""
    for lane in prange(state.shape[0]):
        _advance_lane(np.int64(lane), active, actions, options, settings, fields, phase, mode,
                      clocks, counters, biology, state, doses, history, seeds, episodes, plans,
                      rows, seen, terms, costs, terminated, outcome, success)  # fmt: skip


@njit(cache=True)
def patient_draws(seeds, episodes, stream, median, sigma, ages, numbers):
    """Patient rows ``(k, 6)``: log-normal biology, a tumour number below ``numbers``, an age.

    ``median`` and ``sigma`` ``(4,)`` are those of survival, repair delay, its growth and recovery;
    ``ages`` ``(n,)`` [d] are drawn evenly.
    """
    uniform = uniforms(seeds, episodes, stream, 10)
    out = np.empty((seeds.shape[0], 6))
    for row in range(out.shape[0]):
        for field in range(4):
            radius = math.sqrt(-2.0 * math.log(uniform[row, 2 * field]))
            normal = radius * math.cos(2.0 * math.pi * uniform[row, 2 * field + 1])
            out[row, field] = median[field] * math.exp(sigma[field] * normal)
        out[row, 4] = math.floor(uniform[row, 8] * numbers)
        out[row, 5] = ages[int(uniform[row, 9] * ages.shape[0])]
    return out
