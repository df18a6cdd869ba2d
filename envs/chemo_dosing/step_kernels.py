"""One decision of many chemotherapy lanes: wait, dose, propagate, score, observe.

A kernel file: it imports nothing but numpy, numba, math and other kernel files. Each lane is
computed by the same scalar function, so results do not depend on the number of lanes or threads.
"""

import math

import numpy as np
from numba import njit, prange

from oncogym.envs.chemo_dosing.interval_kernels import (
    CROWD,
    DECAY2_AT,
    DECAY_AT,
    EXPOSURE,
    GROWTH,
    LEFT,
    NODES,
    POWER,
    RECOVERED,
    SMALL,
    TRANSFER,
    WEIGHT2_AT,
    WEIGHT_AT,
    prepare_interval,
)
from oncogym.envs.chemo_dosing.kernels import (
    largest_safe_dose,
    propagate,
    toxicity_peak_if_untreated,
)
from oncogym.envs.streams import normal_pair
from oncogym.envs.twins import compile_twins

# Columns of the state of a lane.
(
    TIME,
    CONC,
    TOX,
    LOGN,
    PEAK,
    AUC,
    EXCESS,
    OVER,
    GIVEN,
    COUNT,
    LAST_TIME,
    LAST_DOSE,
    STEP,
    START_LOGN,
    CELLS,
    BEYOND,
) = range(16)
STATE = 16

# Columns of the settings of a task (one float64 vector).
(
    HORIZON,
    INTERVAL,
    MAX_WAIT,
    FIRST_DAY,
    MAX_DOSE,
    BUDGET,
    HARD_BUDGET,
    MAX_DOSES,
    LIMIT,
    FAIL_TOX,
    FAIL_CELLS,
    SUCCESS_TCP,
    DECISIONS,
    WAITS,
    WAITS_FIRST,
    MEASURABLE,
    MARKER_NOISE,
    MARKER_DELAY,
    MARKER_LIMIT,  # ln(cells)
    TOX_NOISE,
) = range(20)
SETTINGS = 20

# Numbers of reward terms, costs, outcome metrics and observed values.
TERMS = 9
COSTS = 2
METRICS = 9
OBSERVED = 7

_NOISE_STREAM = 16
_PER_LN10 = 1.0 / math.log(10.0)
_EPS = 1e-9
# Concentration over the largest dose, toxicity over its limit, and change of ln N over ln N0 at the
# start that the observation can show; beyond these the laws are not meant to hold.
SCALE, LOG_SCALE = 100.0, 10.0
# ln N0 counts as at least this much in the observation: one cell would make it 0.
LEAST_LOGN = 1.0


@njit(cache=True, error_model="numpy", forceinline=True)
def _clip(value, low, high):
    return min(max(value, low), high)


@njit(cache=True, error_model="numpy", forceinline=True)
def _allowed_dose(wanted, given, count, budget, hard_budget, max_doses):
    """What the hard budget and the number of doses leave of the dose asked for [mg/L]."""
    if max_doses > 0.0 and count >= max_doses:
        return 0.0
    if hard_budget > 0.0:
        return _clip(wanted, 0.0, max(budget - given, 0.0))
    return wanted


# The three functions below are compiled for one thread and for all. Their bodies are written out
# rather than divided up, because numba counts references on every array that it hands to a
# function, which for twenty arrays costs more than the arithmetic of a lane.


def _start_lanes(lanes, state, patients, constants, history_time, history_logn, cfg):
    """Set the given lanes to the start of treatment."""
    for row in prange(lanes.shape[0]):
        lane = lanes[row]
        for column in range(STATE):
            state[lane, column] = 0.0
        start = math.log(patients[lane, 2])
        state[lane, LOGN] = start
        state[lane, START_LOGN] = start
        state[lane, CELLS] = patients[lane, 2]
        state[lane, LAST_TIME] = -1.0
        history_time[0, lane] = 0.0
        history_logn[0, lane] = start
        if cfg[WAITS] == 0.0:
            prepare_interval(lane, constants, patients, cfg[INTERVAL])


def _observe_lanes(lanes, state, history_time, history_logn, seeds, episodes, cfg, obs):
    """Write the observations of the given lanes; measured values are noisy, the marker delayed."""
    for row in prange(lanes.shape[0]):
        lane = lanes[row]
        start = state[lane, START_LOGN]
        scale = max(start, LEAST_LOGN)
        horizon = cfg[HORIZON]
        time = state[lane, TIME]
        logn = state[lane, LOGN]
        tox = state[lane, TOX]
        drug = state[lane, CONC]
        if cfg[MEASURABLE] > 0.0:
            step = int(state[lane, STEP])
            seen = step
            while seen > 0 and history_time[seen, lane] > time - cfg[MARKER_DELAY] + _EPS:
                seen -= 1
            z_marker, z_tox = normal_pair(seeds[lane], episodes[lane], _NOISE_STREAM, step)
            logn = history_logn[seen, lane] + cfg[MARKER_NOISE] * z_marker
            logn = max(logn, cfg[MARKER_LIMIT])
            tox = tox * math.exp(cfg[TOX_NOISE] * z_tox)
            drug = state[lane, LAST_DOSE]
        doses_left = 1.0
        if cfg[MAX_DOSES] > 0.0:
            doses_left = max(cfg[MAX_DOSES] - state[lane, COUNT], 0.0) / cfg[MAX_DOSES]
        since = 1.0
        if state[lane, LAST_TIME] >= 0.0:
            since = (time - state[lane, LAST_TIME]) / horizon
        obs[row, 0] = _clip(time / horizon, 0.0, 1.0)
        obs[row, 1] = _clip(drug / cfg[MAX_DOSE], 0.0, SCALE)
        obs[row, 2] = _clip(tox / cfg[LIMIT], 0.0, SCALE)
        obs[row, 3] = _clip((logn - start) / scale, -LOG_SCALE, LOG_SCALE)
        obs[row, 4] = _clip(1.0 - state[lane, GIVEN] / cfg[BUDGET], 0.0, 1.0)
        obs[row, 5] = doses_left
        obs[row, 6] = _clip(since, 0.0, 1.0)


def _advance_lanes(active, actions, state, patients, constants, history_time, history_logn,
                   dose_time, dose_size, cfg, terms, costs, outcome, terminated,
                   success):  # fmt: skip
    """Advance all active lanes by one decision and score it; the others get zeros.

    Arrays have one row a lane, except the four records of a course: these have one row a decision,
    so that lanes that march together write side by side.
    """
    for lane in prange(state.shape[0]):
        if active[lane]:
            horizon = cfg[HORIZON]
            limit = cfg[LIMIT]
            r, capacity, ke = patients[lane, 0], patients[lane, 1], patients[lane, 3]
            emax, ec50 = patients[lane, 4], patients[lane, 5]
            a, b = patients[lane, 6], patients[lane, 7]
            now = state[lane, TIME]
            c, x, logn = state[lane, CONC], state[lane, TOX], state[lane, LOGN]
            peak, auc = state[lane, PEAK], state[lane, AUC]
            excess, over = state[lane, EXCESS], state[lane, OVER]
            given, count = state[lane, GIVEN], state[lane, COUNT]
            step = int(state[lane, STEP])
            last = step + 1 >= int(cfg[DECISIONS])
            logn0, peak0, auc0, excess0, given0 = logn, peak, auc, excess, given

            # Up to the dose: the source's wait comes before it, any other after it.
            dose_at = now
            on_time = True
            if cfg[WAITS] > 0.0:
                wait = 0.0
                wanted = actions[lane, 0] * cfg[MAX_DOSE]
                if cfg[WAITS_FIRST] > 0.0:
                    wait = actions[lane, 0] * cfg[MAX_WAIT]
                    wanted = actions[lane, 1] * cfg[MAX_DOSE]
                if step == 0:
                    wait += cfg[FIRST_DAY]
                on_time = now + wait < horizon
                dose_at = min(now + wait, horizon)
                after = dose_at
                if cfg[WAITS_FIRST] == 0.0:
                    after = min(dose_at + actions[lane, 1] * cfg[MAX_WAIT], horizon)
                if last:
                    after = horizon
                if dose_at > now:
                    c, x, logn, top, exposure, area, days = propagate(
                        c, x, logn, dose_at - now, r, capacity, ke, emax, ec50, a, b, limit
                    )
                    peak = max(peak, top)
                    auc += exposure
                    excess += area
                    over += days
            else:
                wanted = actions[lane, 0] * cfg[MAX_DOSE]
                after = horizon if last else min((step + 1) * cfg[INTERVAL], horizon)

            dose = 0.0
            if on_time:
                dose = _allowed_dose(
                    wanted, given, count, cfg[BUDGET], cfg[HARD_BUDGET], cfg[MAX_DOSES]
                )
            if dose > 0.0:
                c += dose
                given += dose
                count += 1.0
                state[lane, LAST_TIME] = dose_at
                state[lane, LAST_DOSE] = dose
            dose_time[step, lane] = dose_at
            dose_size[step, lane] = dose
            if c > SCALE * cfg[MAX_DOSE]:
                state[lane, BEYOND] = 1.0

            # From the dose to the next decision: by the prepared constants where they hold.
            h = after - dose_at
            prepared = cfg[WAITS] == 0.0 and not last and constants[lane, NODES] > 0.0
            if prepared:
                c_end = c * constants[lane, LEFT]
                x_end = x * constants[lane, RECOVERED] + c * constants[lane, TRANSFER]
                top = max(x, x_end)
                if a * c > b * x and a * c_end < b * x_end:
                    top = max(top, toxicity_peak_if_untreated(c, x, ke, a, b))
                prepared = top <= limit
            if prepared:
                power = constants[lane, POWER]
                inverse = 1.0 / (ec50 + c)
                crowd = constants[lane, CROWD] * state[lane, CELLS]
                total = 0.0
                if crowd < constants[lane, SMALL]:
                    for i in range(2):
                        base = (ec50 + c * constants[lane, DECAY2_AT + i]) * inverse
                        total += constants[lane, WEIGHT2_AT + i] * math.exp(power * math.log(base))
                else:
                    for i in range(int(constants[lane, NODES])):
                        base = (ec50 + c * constants[lane, DECAY_AT + i]) * inverse
                        total += constants[lane, WEIGHT_AT + i] * math.exp(power * math.log(base))
                logn += constants[lane, GROWTH] + power * math.log((ec50 + c_end) * inverse)
                logn -= math.log1p(crowd * total)
                peak = max(peak, top)
                auc += c * constants[lane, EXPOSURE]
                c, x = c_end, x_end
            elif h > 0.0:
                c, x, logn, top, exposure, area, days = propagate(
                    c, x, logn, h, r, capacity, ke, emax, ec50, a, b, limit
                )
                peak = max(peak, top)
                auc += exposure
                excess += area
                over += days

            cells = math.exp(min(logn, 700.0))
            state[lane, TIME] = after
            state[lane, STEP] = step + 1.0
            state[lane, CONC], state[lane, TOX], state[lane, LOGN] = c, x, logn
            state[lane, CELLS] = cells
            state[lane, PEAK], state[lane, AUC] = peak, auc
            state[lane, EXCESS], state[lane, OVER] = excess, over
            state[lane, GIVEN], state[lane, COUNT] = given, count
            history_time[step + 1, lane] = after
            history_logn[step + 1, lane] = logn

            failed = peak > cfg[FAIL_TOX] or cells > cfg[FAIL_CELLS] * capacity
            finished = after >= horizon - _EPS
            # exp(-N) is 0 in float64 long before N reaches a thousand cells.
            tcp = math.exp(-cells) if cells < 800.0 else 0.0
            above = max(peak - limit, 0.0)
            overdose = max(given - cfg[BUDGET], 0.0)
            at_end = 1.0 if finished else 0.0
            start = state[lane, START_LOGN]
            changed = abs(logn - start) > LOG_SCALE * max(start, LEAST_LOGN)
            if changed or peak > SCALE * limit:
                state[lane, BEYOND] = 1.0

            terms[lane, 0] = (logn0 - logn) * _PER_LN10
            terms[lane, 1] = -(excess - excess0)
            terms[lane, 2] = -dose
            terms[lane, 3] = tcp if finished and not failed else 0.0
            terms[lane, 4] = -1.0 if failed else 0.0
            terms[lane, 5] = -at_end * cells / patients[lane, 2]
            terms[lane, 6] = -(peak - peak0)
            terms[lane, 7] = (auc - auc0) / horizon
            terms[lane, 8] = -at_end * (above * above + overdose * overdose)
            costs[lane, 0] = excess - excess0
            costs[lane, 1] = overdose - max(given0 - cfg[BUDGET], 0.0)
            outcome[lane, 0] = (start - logn) * _PER_LN10
            outcome[lane, 1] = tcp
            outcome[lane, 2] = peak
            outcome[lane, 3] = over
            outcome[lane, 4] = given
            outcome[lane, 5] = count
            outcome[lane, 6] = cells
            outcome[lane, 7] = auc
            outcome[lane, 8] = state[lane, BEYOND]
            terminated[lane] = finished or failed
            success[lane] = finished and not failed and tcp >= cfg[SUCCESS_TCP] and peak <= limit
        else:
            for column in range(TERMS):
                terms[lane, column] = 0.0
            for column in range(COSTS):
                costs[lane, column] = 0.0
            for column in range(METRICS):
                outcome[lane, column] = 0.0
            terminated[lane] = False
            success[lane] = False


start_lanes, start_lanes_parallel = compile_twins(_start_lanes, error_model="numpy")
observe_lanes, observe_lanes_parallel = compile_twins(_observe_lanes, error_model="numpy")
advance_lanes, advance_lanes_parallel = compile_twins(_advance_lanes, error_model="numpy")


@njit(cache=True)
def safe_doses(conc, tox, limit, ke, a, b):
    """:func:`largest_safe_dose` for arrays ``(k,)`` of concentrations and toxicities."""
    out = np.empty(conc.shape[0])
    for row in range(conc.shape[0]):
        out[row] = largest_safe_dose(conc[row], tox[row], limit, ke, a, b)
    return out


@njit(cache=True)
def safe_lanes(actions, state, patients, cfg, out):
    """Lower each dose to the largest that keeps the exact future toxicity peak within the limit."""
    for lane in range(state.shape[0]):
        patient = patients[lane]
        for part in range(actions.shape[1]):
            out[lane, part] = actions[lane, part]
        column = 1 if cfg[WAITS_FIRST] > 0.0 else 0
        conc, tox = state[lane, CONC], state[lane, TOX]
        if cfg[WAITS] > 0.0:
            wait = actions[lane, 0] * cfg[MAX_WAIT] if cfg[WAITS_FIRST] > 0.0 else 0.0
            if state[lane, STEP] == 0.0:
                wait += cfg[FIRST_DAY]
            ahead = propagate(conc, tox, state[lane, LOGN], wait, patient[0], patient[1],
                              patient[3], patient[4], patient[5], patient[6], patient[7],
                              cfg[LIMIT])  # fmt: skip
            conc, tox = ahead[0], ahead[1]
        dose = largest_safe_dose(conc, tox, cfg[LIMIT], patient[3], patient[6], patient[7])
        # Rounding in a policy's float32 must not carry the dose back over the limit.
        safe = np.float64(np.float32(dose / cfg[MAX_DOSE]))
        if safe * cfg[MAX_DOSE] > dose:
            safe = safe * (1.0 - 2.0**-23)
        out[lane, column] = min(actions[lane, column], max(safe, 0.0))
