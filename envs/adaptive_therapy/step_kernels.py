"""One decision of many lanes of adaptive therapy: hold a dose, measure, score, observe.

A kernel file: it imports nothing but numpy, numba, math and other kernel files. What becomes
of a lane does not depend on those beside it, nor on the number of lanes or threads.
"""

import math

import numpy as np
from numba import njit, prange

from oncogym.envs.adaptive_therapy import kernels as tumour
from oncogym.envs.adaptive_therapy.kernels import hold_dose, hold_doses
from oncogym.envs.streams import normal_pair, uniform_pair
from oncogym.envs.twins import compile_twins

#: Visits that the measurable observation looks back.
LAGS = 6

# Columns of the state of a lane; the last visits stand newest first.
(
    LOG_S, LOG_R, TIME, TOXICITY, DOSE, SINCE, GIVEN, BURDEN, OFF, ABOVE, SWITCHES, STEP, MARKERS,
) = range(13)  # fmt: skip
DOSES = MARKERS + LAGS
STATE = DOSES + LAGS

# Columns of the settings of a task (one float64 vector).
(
    INTERVAL, DECISIONS, PROGRESSION, ON_OFF, PUBLISHED, VIEW, REVEAL, NOISE, SUBSTEP,
) = range(9)  # fmt: skip
SETTINGS = 9
FULL, MEASURABLE, MARKER = range(3)

# Numbers of reward terms, costs and outcome metrics.
TERMS = 6
COSTS = 2
METRICS = 9

#: Days of a year in the reward's unit.
YEAR = 365.25
#: What a day of full dose takes from the credit of a controlled day.
DRUG_WEIGHT = 0.2
#: Time constant with which toxicity follows the dose [d].
TOXICITY_DAYS = 60.0
#: Toxicity, in full doses, above which it counts as a cost.
TOXICITY_LIMIT = 0.9
#: A success lasts this many times as long as continuous full dose ...
SUCCESS_RATIO = 1.5
#: ... with at most this mean burden, in starting burdens.
SUCCESS_BURDEN = 1.05
#: Least and largest logarithm of the marker that is shown.
LOG_MARKER_LOW, LOG_MARKER_HIGH = -8.0, 2.0

_NOISE_STREAM = 16
# Lanes that are advanced side by side.
_BLOCK = 8
# Substeps where only the instant of progression counts [d]: right to 1e-4 d.
_COARSE = 4.0


@njit(cache=True, error_model="numpy")
def loses_full_dose(n0, resistant, cost, turnover, growth, dd, progression, until):
    """Whether continuous full dose from the start lets the tumour progress within some days."""
    outcome = hold_dose(
        math.log(n0 * (1.0 - resistant)), math.log(n0 * resistant), growth * (1.0 - dd),
        growth * (1.0 - cost), turnover * growth, until, _COARSE, n0, progression * n0,
        progression * n0,
    )  # fmt: skip
    return outcome[7]


def _start_lanes(lanes, state, patients):
    """Set the given lanes to the start of treatment."""
    for row in prange(lanes.shape[0]):
        lane = lanes[row]
        for column in range(STATE):
            state[lane, column] = 0.0
        state[lane, LOG_S] = math.log(patients[lane, 0] * (1.0 - patients[lane, 1]))
        state[lane, LOG_R] = math.log(patients[lane, 0] * patients[lane, 1])


def _observe_lanes(lanes, state, patients, cfg, obs):
    """Write the observations of the given lanes."""
    for row in prange(lanes.shape[0]):
        lane = lanes[row]
        horizon = cfg[DECISIONS] * cfg[INTERVAL]
        log_s, log_r = state[lane, LOG_S], state[lane, LOG_R]
        burden = (math.exp(log_s) + math.exp(log_r)) / patients[lane, 0]
        if cfg[VIEW] == MARKER:
            obs[row, 0] = burden
        elif cfg[VIEW] == MEASURABLE:
            step = state[lane, STEP]
            for lag in range(LAGS):
                reading = state[lane, MARKERS + lag]
                obs[row, lag] = min(max(reading, LOG_MARKER_LOW), LOG_MARKER_HIGH)
                obs[row, LAGS + lag] = state[lane, DOSES + lag]
                obs[row, 2 * LAGS + 1 + lag] = 1.0 if lag < step else 0.0
            obs[row, 2 * LAGS] = state[lane, TIME] / horizon
        else:
            obs[row, 0] = state[lane, TIME] / horizon
            obs[row, 1] = burden
            obs[row, 2] = min(max(0.1 * (log_r - log_s), -1000.0), 1000.0)
            obs[row, 3] = state[lane, DOSE]
            obs[row, 4] = state[lane, SINCE]
            obs[row, 5] = state[lane, GIVEN] / horizon
            if cfg[REVEAL] > 0.0:
                obs[row, 6] = patients[lane, 0]
                obs[row, 7] = math.log(patients[lane, 1])
                obs[row, 8] = patients[lane, 2]
                obs[row, 9] = patients[lane, 3]


@njit(cache=True, error_model="numpy")
def _give(dose, cfg):
    """The dose that is given when one is asked for."""
    if cfg[ON_OFF] > 0.0:
        return 1.0 if dose >= 0.5 else 0.0
    return dose


@njit(cache=True, error_model="numpy")
def _prepare(lane, dose, state, patients, cfg, block, i):
    """Put a lane under its dose into place ``i`` of a block."""
    n0, rate = patients[lane, 0], patients[lane, 4]
    limit = cfg[PROGRESSION] * n0
    block[tumour.LOG_S, i], block[tumour.LOG_R, i] = state[lane, LOG_S], state[lane, LOG_R]
    block[tumour.KILL, i] = rate * (1.0 - patients[lane, 5] * dose)
    block[tumour.GROWTH, i] = rate * (1.0 - patients[lane, 2])
    block[tumour.DEATH, i] = patients[lane, 3] * rate
    block[tumour.START, i], block[tumour.LIMIT, i] = n0, limit
    block[tumour.STOP, i] = np.inf if cfg[PUBLISHED] > 0.0 else limit


@njit(cache=True, error_model="numpy")
def _score(lane, dose, block, i, state, patients, doses, seeds, episodes, cfg, terms, costs,
           outcome, terminated, success):  # fmt: skip
    """Score the interval of a lane that stands in place ``i`` of a block, and go on."""
    n0, cost, turnover = patients[lane, 0], patients[lane, 2], patients[lane, 3]
    rate, dd = patients[lane, 4], patients[lane, 5]
    log_s, log_r = block[tumour.LOG_S, i], block[tumour.LOG_R, i]
    took, passed = block[tumour.TOTAL, i], block[tumour.PASSED, i] > 0.0
    step = int(state[lane, STEP])
    burden = math.exp(log_s) + math.exp(log_r)
    if cfg[PUBLISHED] > 0.0:
        passed = burden > cfg[PROGRESSION] * n0
    step += 1
    time = state[lane, TIME] + took
    ended = step >= cfg[DECISIONS]
    doses[step - 1, lane] = dose
    holiday = dose == 0.0

    before = state[lane, TOXICITY]
    toxicity = dose + (before - dose) * math.exp(-took / TOXICITY_DAYS)
    if step > 1 and holiday != (state[lane, DOSE] == 0.0):
        state[lane, SWITCHES] += 1.0
    state[lane, LOG_S], state[lane, LOG_R] = log_s, log_r
    state[lane, TIME] = time
    state[lane, TOXICITY] = toxicity
    state[lane, DOSE] = dose
    state[lane, SINCE] = 0.0 if holiday else state[lane, SINCE] + 1.0
    state[lane, GIVEN] += dose * took
    state[lane, BURDEN] += block[tumour.AREA, i]
    state[lane, OFF] += took if holiday else 0.0
    state[lane, ABOVE] += block[tumour.ABOVE, i]
    state[lane, STEP] = step
    for lag in range(LAGS - 1, 0, -1):
        state[lane, MARKERS + lag] = state[lane, MARKERS + lag - 1]
        state[lane, DOSES + lag] = state[lane, DOSES + lag - 1]
    reading = math.log(burden / n0)
    if cfg[NOISE] > 0.0:
        z, _ = normal_pair(seeds[lane], episodes[lane], _NOISE_STREAM, step)
        reading += cfg[NOISE] * (z - 0.5 * cfg[NOISE])
    state[lane, MARKERS] = reading
    state[lane, DOSES] = dose

    terms[lane, 0] = block[tumour.CONTROL, i] / YEAR
    terms[lane, 1] = -DRUG_WEIGHT * dose * took / YEAR
    # As in the source: progression is punished alone, and so is the end of the plan paid.
    bad_holiday = holiday and not ended and burden > n0
    terms[lane, 2] = 0.0 if passed else 1.0
    terms[lane, 3] = 1.0 if holiday and not passed and not ended else 0.0
    terms[lane, 4] = 1.0 if passed or bad_holiday else 0.0
    terms[lane, 5] = 1.0 if ended and not passed else 0.0
    costs[lane, 0] = max(block[tumour.PEAK, i] / n0 - 1.0, 0.0) / (cfg[PROGRESSION] - 1.0)
    costs[lane, 1] = max(toxicity - TOXICITY_LIMIT, 0.0)
    mean_burden = state[lane, BURDEN] / (time * n0)
    outcome[lane, 0] = time
    outcome[lane, 1] = time / YEAR
    outcome[lane, 2] = state[lane, OFF] / time
    outcome[lane, 3] = state[lane, GIVEN] / time
    outcome[lane, 4] = mean_burden
    outcome[lane, 5] = math.exp(log_r) / burden
    outcome[lane, 6] = state[lane, SWITCHES]
    outcome[lane, 7] = state[lane, ABOVE]
    outcome[lane, 8] = 0.0 if passed else 1.0
    over = passed or ended
    terminated[lane] = over
    success[lane] = (
        over
        and mean_burden <= SUCCESS_BURDEN
        and loses_full_dose(
            n0, patients[lane, 1], cost, turnover, rate, dd, cfg[PROGRESSION],
            time / SUCCESS_RATIO,
        )
    )  # fmt: skip


def _advance_lanes(active, actions, state, patients, doses, seeds, episodes, cfg, terms, costs,
                   outcome, terminated, success):  # fmt: skip
    """Advance all active lanes by one decision and score it; the others get zeros.

    Arrays have one row a lane, except the doses of a course: these have one row a decision.
    """
    lanes = state.shape[0]
    for first in prange((lanes + _BLOCK - 1) // _BLOCK):
        block = np.empty((tumour.COLUMNS, _BLOCK))
        count = 0
        for lane in range(first * _BLOCK, min((first + 1) * _BLOCK, lanes)):
            if active[lane]:
                _prepare(lane, _give(actions[lane, 0], cfg), state, patients, cfg, block, count)
                count += 1
            else:
                for column in range(TERMS):
                    terms[lane, column] = 0.0
                for column in range(COSTS):
                    costs[lane, column] = 0.0
                for column in range(METRICS):
                    outcome[lane, column] = 0.0
                terminated[lane] = False
                success[lane] = False
        hold_doses(block, count, cfg[INTERVAL], cfg[SUBSTEP])
        count = 0
        for lane in range(first * _BLOCK, min((first + 1) * _BLOCK, lanes)):
            if active[lane]:
                _score(
                    lane, _give(actions[lane, 0], cfg), block, count, state, patients, doses,
                    seeds, episodes, cfg, terms, costs, outcome, terminated, success,
                )  # fmt: skip
                count += 1


start_lanes, start_lanes_parallel = compile_twins(_start_lanes, error_model="numpy")
observe_lanes, observe_lanes_parallel = compile_twins(_observe_lanes, error_model="numpy")
advance_lanes, advance_lanes_parallel = compile_twins(_advance_lanes, error_model="numpy")


@njit(cache=True, error_model="numpy")
def sample_patients(seeds, episodes, stream, low, high, least_days, margin, progression, out):
    """Fill rows ``(k, 6)`` of patients by rejection, each from its own ``(seed, episode)``.

    Args:
        seeds, episodes, stream: Coordinates of each patient ``(k,)``, and the stream.
        low, high: Ends of n0, log10 fR, cost and turnover ``(4,)``.
        least_days: Shortest untreated time to progression.
        margin: By how much turnover must stay under what allows progression.
        progression: Limit in starting burdens.
        out: Rows; growth rate and kill stand in them.
    """
    for row in range(out.shape[0]):
        attempt = 0
        while True:
            a, b = uniform_pair(seeds[row], episodes[row], stream, 2 * attempt)
            c, d = uniform_pair(seeds[row], episodes[row], stream, 2 * attempt + 1)
            attempt += 1
            n0 = low[0] + a * (high[0] - low[0])
            resistant = 10.0 ** (low[1] + b * (high[1] - low[1]))
            cost = low[2] + c * (high[2] - low[2])
            turnover = low[3] + d * (high[3] - low[3])
            if turnover > (1.0 - progression * n0) * (1.0 - cost) - margin:
                continue
            # No drug: a kill of 0.
            if loses_full_dose(
                n0, resistant, cost, turnover, out[row, 4], 0.0, progression, least_days
            ):
                continue
            out[row, 0], out[row, 1], out[row, 2], out[row, 3] = n0, resistant, cost, turnover
            break
