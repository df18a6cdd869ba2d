"""Decisions, rewards and observations of many treatments of spheroids.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import math

import numpy as np
from numba import njit, prange

from oncogym.envs.emt6ro_fractionation.frame_kernels import (
    BURDEN,
    DAMAGE,
    EXTERNAL,
    RECORD_DAMAGED,
    RECORD_FIELDS,
    RECORD_MODES,
    RECORD_PHASES,
    RECORDED,
    REPAIRED,
    SIDE,
    SITES,
    SITES_NOW,
    STEP,
)
from oncogym.envs.emt6ro_fractionation.kernels import advance_tumour, record
from oncogym.envs.emt6ro_fractionation.rules import STEPS_PER_SLOT, VACANT
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
REMAINING, BED, LAST_SLOT, LAST_DOSE, DECISIONS, INITIAL, FRACTIONS, FIRST_RADIUS = range(8)
STATE = 8

TERMS, METRICS = 5, 9
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
def start_lanes(lanes, phase, counters, state, doses, history, options):
    """Start treatments whose tumours are in place."""
    for number in range(lanes.shape[0]):
        lane = lanes[number]
        sites = 0
        for site in range(SITES):
            sites += phase[lane, site] != VACANT
        counters[lane, :] = 0
        counters[lane, SITES_NOW] = sites
        state[lane, :] = 0.0
        state[lane, REMAINING] = options[TOTAL_DOSE]
        state[lane, LAST_SLOT] = -1.0
        state[lane, INITIAL] = sites
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
        state[LAST_SLOT] = slot
        state[LAST_DOSE] = dose
        state[FRACTIONS] += 1.0
    return max(state[BED] - options[BED_LIMIT], 0.0) - before


@njit(cache=True)
def _advance_lane(lane, active, actions, options, settings, fields, phase, mode, clocks, counters,
                  biology, state, doses, history, seeds, episodes, seen, terms, costs, terminated,
                  outcome, success):  # fmt: skip
    """One decision of a lane."""
    terms[lane, :] = 0.0
    costs[lane, :] = 0.0
    outcome[lane, :] = 0.0
    terminated[lane] = False
    success[lane] = False
    if active[lane]:
        own = state[lane]
        treatment, horizon = int(options[TREATMENT]), int(options[HORIZON])
        burden = counters[lane, BURDEN]
        dose = min(dose_of(actions[lane, 0], options), own[REMAINING])
        wait = wait_of(actions[lane, 1], options)
        now = int(counters[lane, STEP] // STEPS_PER_SLOT)
        target = min(now + wait, treatment)
        excess = 0.0
        own[DECISIONS] += 1.0
        if options[PUBLISHED] == 0.0:
            excess = _give(own, doses[lane], now, dose, options)
        spent = own[REMAINING] < 0.5 * options[DOSE_STEP]
        last = own[DECISIONS] >= options[MAX_DECISIONS]
        if options[PUBLISHED] == 0.0 and (spent or last):
            target = horizon
        _advance_to(target, fields[lane], phase[lane], mode[lane], clocks[lane], counters[lane],
                    biology[lane], settings, doses[lane], seeds[lane], episodes[lane],
                    history[lane])  # fmt: skip
        if options[PUBLISHED] > 0.0 and target < treatment:
            excess = _give(own, doses[lane], target, dose, options)
            spent = own[REMAINING] < 0.5 * options[DOSE_STEP]
        over = spent or last or target >= treatment or counters[lane, SITES_NOW] == 0
        if over:
            _advance_to(horizon, fields[lane], phase[lane], mode[lane], clocks[lane],
                        counters[lane], biology[lane], settings, doses[lane], seeds[lane],
                        episodes[lane], history[lane])  # fmt: skip
        sites = float(counters[lane, SITES_NOW])
        initial = max(own[INITIAL], 1.0)
        whole = initial * horizon * STEPS_PER_SLOT
        costs[lane, 0] = excess
        terms[lane, 0] = LARGEST - sites if over else 0.0
        terms[lane, 1] = -(counters[lane, BURDEN] - burden) / whole
        terms[lane, 2] = -sites / initial if over else 0.0
        terms[lane, 3] = 1.0 if over and sites == 0.0 else 0.0
        terms[lane, 4] = -excess
        outcome[lane, 0] = LARGEST - sites
        outcome[lane, 1] = sites
        outcome[lane, 2] = counters[lane, BURDEN] / whole
        outcome[lane, 3] = sites / initial
        outcome[lane, 4] = 1.0 if sites == 0.0 else 0.0
        outcome[lane, 5] = own[BED]
        outcome[lane, 6] = options[TOTAL_DOSE] - own[REMAINING]
        outcome[lane, 7] = own[FRACTIONS]
        outcome[lane, 8] = 0.5 * max(own[LAST_SLOT], 0.0)
        terminated[lane] = over
        kept = own[BED] <= options[BED_LIMIT] + _EPS
        success[lane] = over and kept and sites <= options[SUCCESS] * initial
    _observe(lane, lane, options, settings, fields, phase, mode, clocks, counters, state, seeds,
             episodes, seen)  # fmt: skip


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
def _observe_summary(own, slot, options, settings, fields, phase, mode, clocks, out):
    _header(own, slot, options, out)
    row = np.empty(RECORDED, np.float32)
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
def _observe_image(own, slot, options, settings, fields, phase, mode, clocks, out):
    """Occupied, phase, quiescent, damage, glucose, oxygen; dose left and time everywhere."""
    head = np.empty(4, np.float32)
    _header(own, slot, options, head)
    for site in range(SITES):
        row, column = site // SIDE, site % SIDE
        there = phase[site] != VACANT
        out[0, row, column] = 1.0 if there else 0.0
        out[1, row, column] = phase[site] / 5.0
        out[2, row, column] = 1.0 if there and mode[site] >= 2 else 0.0
        out[3, row, column] = min(clocks[site, DAMAGE] / options[TOTAL_DOSE], 1.0)
        for k in range(2):
            amount = 1.0 + fields[k, site] / settings[EXTERNAL + k]
            out[4 + k, row, column] = min(max(amount, 0.0), 1.0)
        out[6, row, column] = head[0]
        out[7, row, column] = head[1]


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
def _observe(lane, number, options, settings, fields, phase, mode, clocks, counters, state, seeds,
             episodes, out):  # fmt: skip
    """Write the observation of a lane into ``out[number]``."""
    slot = counters[lane, STEP] / STEPS_PER_SLOT
    kind = options[OBSERVATION]
    flat = out[number]
    if kind == SEE_SUMMARY:
        _observe_summary(state[lane], slot, options, settings, fields[lane], phase[lane],
                         mode[lane], clocks[lane], flat)  # fmt: skip
    elif kind == SEE_SIZE:
        _observe_size(state[lane], slot, options, phase[lane], seeds[lane], episodes[lane], flat)
    else:
        image = flat.reshape((CHANNELS, SIDE, SIDE))
        _observe_image(state[lane], slot, options, settings, fields[lane], phase[lane], mode[lane],
                       clocks[lane], image)  # fmt: skip


@njit(cache=True)
def observe_lanes(lanes, options, settings, fields, phase, mode, clocks, counters, state, seeds,
                  episodes, out):  # fmt: skip
    """Observations ``(k, size)`` of ``lanes``, images flattened."""
    for number in range(lanes.shape[0]):
        _observe(lanes[number], number, options, settings, fields, phase, mode, clocks, counters,
                 state, seeds, episodes, out)  # fmt: skip


@njit(cache=True)
def advance_lanes(active, actions, options, settings, fields, phase, mode, clocks, counters,
                  biology, state, doses, history, seeds, episodes, seen, terms, costs, terminated,
                  outcome, success):  # fmt: skip
    """One decision in all active lanes, on one thread."""
    for lane in range(state.shape[0]):
        _advance_lane(lane, active, actions, options, settings, fields, phase, mode, clocks,
                      counters, biology, state, doses, history, seeds, episodes, seen, terms, costs,
                      terminated, outcome, success)  # fmt: skip


@njit(cache=True, parallel=True)
def advance_lanes_parallel(active, actions, options, settings, fields, phase, mode, clocks,
                           counters, biology, state, doses, history, seeds, episodes, seen, terms,
                           costs, terminated, outcome, success):  # fmt: skip
    """The same on all threads."""
    for lane in prange(state.shape[0]):
        _advance_lane(np.int64(lane), active, actions, options, settings, fields, phase, mode,
                      clocks, counters, biology, state, doses, history, seeds, episodes, seen,
                      terms, costs, terminated, outcome, success)  # fmt: skip


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
