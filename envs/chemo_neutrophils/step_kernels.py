"""One decision of many lanes: infuse, count, score, observe.

A kernel file: it imports nothing but numpy, numba, math and other kernel files. What becomes
of a lane does not depend on those beside it, nor on the number of lanes or threads.
"""

import math

import numpy as np
from numba import prange

from oncogym.envs.chemo_neutrophils import kernels as model
from oncogym.envs.chemo_neutrophils.kernels import hold_interval, prepare, start
from oncogym.envs.compiled import compiled
from oncogym.envs.streams import STREAM_OBSERVATION_NOISE, normal_pair
from oncogym.envs.twins import compile_twins

#: Counts that the measurable observation looks back.
LAGS = 3

# Columns of the state of a lane behind those of the model: what was given, seen and added up.
(
    STEP, GIVEN, LAST, SINCE, DOSES, NADIR, BELOW_HALF, BELOW_ONE, RUN, LONGEST, LARGEST, SCAN,
    SCANNED, COUNTS,
) = range(model.STATE, model.STATE + 14)  # fmt: skip
STATE = COUNTS + LAGS

# Columns of the settings of a task (one float64 vector).
(
    INTERVAL, DECISIONS, MAX_DOSE, BUDGET, MEASURABLE, COUNT_NOISE, SCAN_INTERVAL, SCAN_NOISE,
    SUCCESS_KILL, LABEL, CAPACITY, K12, K21, K13, K31,
) = range(15)  # fmt: skip
SETTINGS = 15

# Numbers of reward terms, costs and outcome metrics.
TERMS = 4
COSTS = 1
METRICS = 9

#: Longest run of days of grade 4 in a course that counts as a success [d].
LONGEST_RUN = 7.0
#: Largest count that is shown [10^9/L].
HIGHEST_COUNT = 100.0
#: Largest change of ln cells that is shown.
HIGHEST_CHANGE = 100.0

# Columns of a patient's row.
_BASELINE, _SURFACE, _INITIAL = 0, 7, 10


@compiled(error_model="numpy")
def _noise(seeds, episodes, lane, step, part):
    """Two normal numbers of a lane and a decision: for the count and for the scan."""
    first, second = normal_pair(seeds[lane], episodes[lane], STREAM_OBSERVATION_NOISE, step)
    return first if part == 0 else second


@compiled(error_model="numpy")
def _measure(lane, state, patients, seeds, episodes, cfg):
    """Read the count and, where one is due, the scan of a lane at its present decision."""
    step = int(state[lane, STEP])
    for lag in range(LAGS - 1, 0, -1):
        state[lane, COUNTS + lag] = state[lane, COUNTS + lag - 1]
    factor = 1.0
    if cfg[COUNT_NOISE] > 0.0:
        factor += cfg[COUNT_NOISE] * _noise(seeds, episodes, lane, step, 0)
    state[lane, COUNTS] = state[lane, model.COUNT] * max(factor, 0.0)
    day = step * cfg[INTERVAL]
    if step == 0 or day >= state[lane, SCANNED] + cfg[SCAN_INTERVAL] - 1e-9:
        change = state[lane, model.LOG_CELLS] - math.log(patients[lane, _INITIAL])
        if step > 0 and cfg[SCAN_NOISE] > 0.0:
            change += cfg[SCAN_NOISE] * _noise(seeds, episodes, lane, step, 1)
        state[lane, SCAN] = change
        state[lane, SCANNED] = day


def _start_lanes(lanes, state, patients, constants, seeds, episodes, cfg):
    """Set the given lanes to the start of treatment, and count."""
    for row in prange(lanes.shape[0]):
        lane = lanes[row]
        for column in range(STATE):
            state[lane, column] = 0.0
        prepare(patients[lane], cfg[K12 : K31 + 1], cfg[CAPACITY], constants[lane])
        start(patients[lane], state[lane])
        state[lane, SINCE] = -1.0
        state[lane, NADIR] = patients[lane, _BASELINE]
        _measure(lane, state, patients, seeds, episodes, cfg)
        for lag in range(1, LAGS):
            state[lane, COUNTS + lag] = state[lane, COUNTS]


@compiled(error_model="numpy")
def _within(value, low, high):
    return min(max(value, low), high)


def _observe_lanes(lanes, state, patients, cfg, obs):
    """Write the observations of the given lanes."""
    for row in prange(lanes.shape[0]):
        lane = lanes[row]
        y = state[lane]
        horizon = cfg[DECISIONS] * cfg[INTERVAL]
        obs[row, 0] = y[STEP] / cfg[DECISIONS]
        obs[row, 1] = y[LAST] / cfg[MAX_DOSE]
        obs[row, 2] = 1.0 if y[SINCE] < 0.0 else y[SINCE] / horizon
        obs[row, 3] = max(1.0 - y[GIVEN] / cfg[BUDGET], 0.0)
        if cfg[MEASURABLE] > 0.0:
            for lag in range(LAGS):
                obs[row, 4 + lag] = 0.1 * _within(y[COUNTS + lag], 0.0, HIGHEST_COUNT)
            obs[row, 4 + LAGS] = 0.1 * _within(y[SCAN], -HIGHEST_CHANGE, HIGHEST_CHANGE)
            obs[row, 5 + LAGS] = (y[STEP] * cfg[INTERVAL] - y[SCANNED]) / horizon
        else:
            obs[row, 4] = 0.1 * _within(y[model.COUNT], 0.0, HIGHEST_COUNT)
            obs[row, 5] = 0.1 * _within(y[model.THIRD], 0.0, HIGHEST_COUNT)
            obs[row, 6] = 0.1 * _within(y[model.SECOND], 0.0, HIGHEST_COUNT)
            obs[row, 7] = 0.1 * _within(y[model.FIRST], 0.0, HIGHEST_COUNT)
            obs[row, 8] = 0.1 * _within(math.exp(y[model.LOG_POOL]), 0.0, HIGHEST_COUNT)
            change = y[model.LOG_CELLS] - math.log(patients[lane, _INITIAL])
            obs[row, 9] = 0.1 * _within(change, -HIGHEST_CHANGE, HIGHEST_CHANGE)
            obs[row, 10] = _within(y[model.Z1] + y[model.Z2] + y[model.Z3], 0.0, HIGHEST_COUNT)


@compiled(error_model="numpy")
def _worst_grade(nadir):
    grade = 0.0
    for level in (model.LOWER_LIMIT, model.GRADE2, model.GRADE3, model.GRADE4):
        if nadir < level:
            grade += 1.0
    return grade


def _advance_lanes(active, actions, state, patients, constants, doses, seeds, episodes, cfg, terms,
                   costs, outcome, terminated, success):  # fmt: skip
    """Advance all active lanes by one decision and score it; the others get zeros.

    Arrays have one row a lane, except the doses of a course: these have one row a decision.
    """
    for lane in prange(state.shape[0]):
        if not active[lane]:
            for column in range(TERMS):
                terms[lane, column] = 0.0
            for column in range(COSTS):
                costs[lane, column] = 0.0
            for column in range(METRICS):
                outcome[lane, column] = 0.0
            terminated[lane] = False
            success[lane] = False
            continue
        y = state[lane]
        dose = min(actions[lane, 0] * cfg[MAX_DOSE], max(cfg[BUDGET] - y[GIVEN], 0.0))
        before = y[model.LOG_CELLS]
        sums = np.zeros(model.SUMS)
        sums[model.NADIR], sums[model.RUN], sums[model.LONGEST] = y[NADIR], y[RUN], y[LONGEST]
        hold_interval(
            y, constants[lane], dose * patients[lane, _SURFACE], cfg[INTERVAL], sums,
            np.empty((0, 4)),
        )  # fmt: skip
        step = int(y[STEP])
        doses[step, lane] = dose
        y[STEP] = step + 1
        y[GIVEN] += dose
        y[LAST] = dose
        if dose > 0.0:
            y[SINCE] = cfg[INTERVAL]
            y[DOSES] += 1.0
        elif y[SINCE] >= 0.0:
            y[SINCE] += cfg[INTERVAL]
        y[NADIR], y[RUN], y[LONGEST] = sums[model.NADIR], sums[model.RUN], sums[model.LONGEST]
        y[BELOW_HALF] += sums[model.BELOW_HALF]
        y[BELOW_ONE] += sums[model.BELOW_ONE]
        y[LARGEST] = max(y[LARGEST], dose)
        _measure(lane, state, patients, seeds, episodes, cfg)

        log10 = math.log(10.0)
        terms[lane, 0] = (before - y[model.LOG_CELLS]) / log10
        terms[lane, 1] = -sums[model.BELOW_HALF]
        terms[lane, 2] = -(sums[model.BELOW_ONE] - sums[model.BELOW_HALF])
        terms[lane, 3] = -dose
        costs[lane, 0] = sums[model.BELOW_HALF]
        kill = (math.log(patients[lane, _INITIAL]) - y[model.LOG_CELLS]) / log10
        outcome[lane, 0] = kill
        outcome[lane, 1] = y[NADIR]
        outcome[lane, 2] = _worst_grade(y[NADIR])
        outcome[lane, 3] = y[BELOW_HALF]
        outcome[lane, 4] = y[BELOW_ONE]
        outcome[lane, 5] = y[LONGEST]
        outcome[lane, 6] = y[GIVEN]
        outcome[lane, 7] = y[DOSES]
        outcome[lane, 8] = 1.0 if y[LARGEST] > cfg[LABEL] * (1.0 + 1e-9) else 0.0
        over = y[STEP] >= cfg[DECISIONS]
        terminated[lane] = over
        success[lane] = over and kill >= cfg[SUCCESS_KILL] and y[LONGEST] <= LONGEST_RUN


start_lanes, start_lanes_parallel = compile_twins(_start_lanes, error_model="numpy")
observe_lanes, observe_lanes_parallel = compile_twins(_observe_lanes, error_model="numpy")
advance_lanes, advance_lanes_parallel = compile_twins(_advance_lanes, error_model="numpy")
