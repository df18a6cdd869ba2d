"""One decision of many chemotherapy lanes: wait, dose, propagate, score, observe.

A kernel file: it imports nothing but numpy, numba, math and other kernel files. Each lane is
computed by the same scalar function, so results do not depend on the number of lanes or threads.
"""

import math

import numpy as np
from numba import njit, prange

from oncogym.envs.chemo_dosing.interval_kernels import prepare_interval, propagate_interval
from oncogym.envs.chemo_dosing.kernels import largest_safe_dose, propagate
from oncogym.envs.streams import normal_pair

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
) = range(15)
STATE = 15

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
    MEASURABLE,
    MARKER_NOISE,
    MARKER_DELAY,
    TOX_NOISE,
) = range(18)
SETTINGS = 18

# Numbers of reward terms, costs, outcome metrics and observed values.
TERMS = 9
COSTS = 2
METRICS = 8
OBSERVED = 7

_NOISE_STREAM = 16
_LN10 = math.log(10.0)
_EPS = 1e-9


@njit(cache=True, error_model="numpy", forceinline=True)
def _clip(value, low, high):
    return min(max(value, low), high)


@njit(cache=True, error_model="numpy", forceinline=True)
def _observe(lane, row, state, history_time, history_logn, seeds, episodes, cfg, obs):
    """Write row ``row`` of ``obs`` for a lane; a measured value is noisy, the marker delayed."""
    start = state[lane, START_LOGN]
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
        tox = tox * math.exp(cfg[TOX_NOISE] * z_tox)
        drug = state[lane, LAST_DOSE]
    doses_left = 1.0
    if cfg[MAX_DOSES] > 0.0:
        doses_left = max(cfg[MAX_DOSES] - state[lane, COUNT], 0.0) / cfg[MAX_DOSES]
    since = 1.0
    if state[lane, LAST_TIME] >= 0.0:
        since = (time - state[lane, LAST_TIME]) / horizon
    obs[row, 0] = _clip(time / horizon, 0.0, 1.0)
    obs[row, 1] = _clip(drug / cfg[MAX_DOSE], 0.0, 100.0)
    obs[row, 2] = _clip(tox / cfg[LIMIT], 0.0, 100.0)
    obs[row, 3] = _clip((logn - start) / start, -10.0, 10.0)
    obs[row, 4] = _clip(1.0 - state[lane, GIVEN] / cfg[BUDGET], 0.0, 1.0)
    obs[row, 5] = doses_left
    obs[row, 6] = _clip(since, 0.0, 1.0)


@njit(cache=True)
def reset_lanes(lanes, state, patients, constants, history_time, history_logn, seeds, episodes,
                cfg, obs):  # fmt: skip
    """Start the given lanes; ``obs`` ``(k, 7)`` receives their observations."""
    for row in range(lanes.shape[0]):
        lane = lanes[row]
        for column in range(STATE):
            state[lane, column] = 0.0
        start = math.log(patients[lane, 2])
        state[lane, LOGN] = start
        state[lane, START_LOGN] = start
        state[lane, CELLS] = patients[lane, 2]
        if cfg[WAITS] == 0.0:
            prepare_interval(lane, constants, patients, cfg[INTERVAL])
        state[lane, LAST_TIME] = -1.0
        history_time[0, lane] = 0.0
        history_logn[0, lane] = start
        _observe(lane, row, state, history_time, history_logn, seeds, episodes, cfg, obs)


@njit(cache=True, error_model="numpy", forceinline=True)
def _keep(lane, state, done):
    """Store what a propagation has returned, adding up what the toxicity limit is judged by."""
    c, x, logn, peak, auc, excess, over = done
    state[lane, CONC] = c
    state[lane, TOX] = x
    state[lane, LOGN] = logn
    state[lane, PEAK] = max(state[lane, PEAK], peak)
    state[lane, AUC] += auc
    state[lane, EXCESS] += excess
    state[lane, OVER] += over


@njit(cache=True, error_model="numpy", forceinline=True)
def _advance(lane, state, patients, days, limit):
    """Propagate a lane by any number of days."""
    if days <= 0.0:
        return
    done = propagate(
        state[lane, CONC],
        state[lane, TOX],
        state[lane, LOGN],
        days,
        patients[lane, 0],
        patients[lane, 1],
        patients[lane, 3],
        patients[lane, 4],
        patients[lane, 5],
        patients[lane, 6],
        patients[lane, 7],
        limit,
    )
    _keep(lane, state, done)


@njit(cache=True, error_model="numpy", forceinline=True)
def _allowed_dose(lane, state, wanted, cfg):
    """What the hard budget and the number of doses leave of the dose asked for [mg/L]."""
    if cfg[MAX_DOSES] > 0.0 and state[lane, COUNT] >= cfg[MAX_DOSES]:
        return 0.0
    if cfg[HARD_BUDGET] > 0.0:
        return _clip(wanted, 0.0, max(cfg[BUDGET] - state[lane, GIVEN], 0.0))
    return wanted


@njit(cache=True, error_model="numpy", forceinline=True)
def _step_lane(lane, active, actions, state, patients, constants, history_time, history_logn, dose_time,
               dose_size, seeds, episodes, cfg, obs, terms, costs, outcome, terminated,
               success):  # fmt: skip
    """Advance one lane by one decision if it is active, and observe it."""
    if not active[lane]:
        for column in range(TERMS):
            terms[lane, column] = 0.0
        for column in range(COSTS):
            costs[lane, column] = 0.0
        for column in range(METRICS):
            outcome[lane, column] = 0.0
        terminated[lane] = False
        success[lane] = False
        _observe(lane, lane, state, history_time, history_logn, seeds, episodes, cfg, obs)
        return
    horizon = cfg[HORIZON]
    limit = cfg[LIMIT]
    step = int(state[lane, STEP])
    last = step + 1 >= int(cfg[DECISIONS])
    waits = cfg[WAITS] > 0.0
    now = state[lane, TIME]
    logn0, peak0, auc0 = state[lane, LOGN], state[lane, PEAK], state[lane, AUC]
    excess0, given0 = state[lane, EXCESS], state[lane, GIVEN]

    if waits:
        wait = actions[lane, 0] * cfg[MAX_WAIT]
        if step == 0:
            wait += cfg[FIRST_DAY]
        wanted = actions[lane, 1] * cfg[MAX_DOSE]
        on_time = now + wait < horizon
        dose_at = min(now + wait, horizon)
        _advance(lane, state, patients, dose_at - now, limit)
        after = horizon if last else dose_at
    else:
        wanted = actions[lane, 0] * cfg[MAX_DOSE]
        on_time = True
        dose_at = now
        after = horizon if last else min((step + 1) * cfg[INTERVAL], horizon)

    dose = _allowed_dose(lane, state, wanted, cfg) if on_time else 0.0
    if dose > 0.0:
        state[lane, CONC] += dose
        state[lane, GIVEN] += dose
        state[lane, COUNT] += 1.0
        state[lane, LAST_TIME] = dose_at
        state[lane, LAST_DOSE] = dose
    dose_time[step, lane] = dose_at
    dose_size[step, lane] = dose

    if waits or last:
        _advance(lane, state, patients, after - dose_at, limit)
    else:
        done = propagate_interval(
            lane,
            constants,
            patients,
            state[lane, CONC],
            state[lane, TOX],
            state[lane, LOGN],
            state[lane, CELLS],
            cfg[INTERVAL],
            limit,
        )
        _keep(lane, state, done)
    state[lane, TIME] = after
    state[lane, STEP] = step + 1.0
    logn = state[lane, LOGN]
    history_time[step + 1, lane] = after
    history_logn[step + 1, lane] = logn

    peak = state[lane, PEAK]
    given = state[lane, GIVEN]
    excess = state[lane, EXCESS] - excess0
    cells = math.exp(min(logn, 700.0))
    state[lane, CELLS] = cells
    failed = peak > cfg[FAIL_TOX] or cells > cfg[FAIL_CELLS] * patients[lane, 1]
    finished = after >= horizon - _EPS
    # exp(-N) is 0 in float64 long before N reaches a thousand cells.
    tcp = math.exp(-cells) if cells < 800.0 else 0.0
    over_limit = max(peak - limit, 0.0)
    over_budget = max(given - cfg[BUDGET], 0.0)

    terms[lane, 0] = (logn0 - logn) / _LN10
    terms[lane, 1] = -excess
    terms[lane, 2] = -dose
    terms[lane, 3] = tcp if finished and not failed else 0.0
    terms[lane, 4] = -1.0 if failed else 0.0
    terms[lane, 5] = -cells / patients[lane, 2] if finished else 0.0
    terms[lane, 6] = -(peak - peak0)
    terms[lane, 7] = (state[lane, AUC] - auc0) / horizon
    terms[lane, 8] = -(over_limit * over_limit + over_budget * over_budget) if finished else 0.0
    costs[lane, 0] = excess
    costs[lane, 1] = over_budget - max(given0 - cfg[BUDGET], 0.0)
    outcome[lane, 0] = (state[lane, START_LOGN] - logn) / _LN10
    outcome[lane, 1] = tcp
    outcome[lane, 2] = peak
    outcome[lane, 3] = state[lane, OVER]
    outcome[lane, 4] = given
    outcome[lane, 5] = state[lane, COUNT]
    outcome[lane, 6] = cells
    outcome[lane, 7] = state[lane, AUC]
    terminated[lane] = finished or failed
    success[lane] = finished and not failed and tcp >= cfg[SUCCESS_TCP] and peak <= limit
    _observe(lane, lane, state, history_time, history_logn, seeds, episodes, cfg, obs)


@njit(cache=True)
def step_lanes(active, actions, state, patients, constants, history_time, history_logn, dose_time,
               dose_size, seeds, episodes, cfg, obs, terms, costs, outcome, terminated, success):  # fmt: skip
    """Advance all active lanes on one thread.

    Arrays have one row a lane, except the four records of a course: these have one row a decision,
    so that lanes that march together write side by side.
    """
    for lane in range(state.shape[0]):
        _step_lane(lane, active, actions, state, patients, constants, history_time, history_logn, dose_time,
                   dose_size, seeds, episodes, cfg, obs, terms, costs, outcome, terminated,
                   success)  # fmt: skip


@njit(cache=True, parallel=True)
def step_lanes_parallel(active, actions, state, patients, constants, history_time, history_logn, dose_time,
                        dose_size, seeds, episodes, cfg, obs, terms, costs, outcome, terminated,
                        success):  # fmt: skip
    """The same on all threads, worth it from some hundred lanes."""
    for lane in prange(state.shape[0]):
        _step_lane(lane, active, actions, state, patients, constants, history_time, history_logn, dose_time,
                   dose_size, seeds, episodes, cfg, obs, terms, costs, outcome, terminated,
                   success)  # fmt: skip


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
        column = actions.shape[1] - 1
        conc, tox = state[lane, CONC], state[lane, TOX]
        if cfg[WAITS] > 0.0:
            wait = actions[lane, 0] * cfg[MAX_WAIT]
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
