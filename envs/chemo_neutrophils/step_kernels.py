"""One decision of a lane under docetaxel: infuse, count, score, observe.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files. The
functions here are about one lane; the loops over lanes at the end are made of them.
"""

import math

import numpy as np

from oncogym.envs.chemo_neutrophils.kernels import (
    GRADE2,
    GRADE3,
    GRADE4,
    LOWER_LIMIT,
    begin_course,
    concentration,
    hold_interval,
    prepare,
)
from oncogym.envs.chemo_neutrophils.records import (
    CONSTANTS,
    COSTS,
    FULL,
    HIGHEST_CHANGE,
    HIGHEST_COUNT,
    LAGS,
    MEASURED,
    OUTCOME,
    PATIENT,
    SAMPLE,
    SETTINGS,
    STATE,
    TERMS,
)
from oncogym.envs.lane_kernels import (
    COLUMN,
    ITEM,
    ROW,
    SHOWN_ROW,
    Scored,
    Shared,
    clip,
    inlined,
    over_active,
    over_lanes,
    record_at,
)
from oncogym.envs.records import width_of
from oncogym.envs.streams import STREAM_OBSERVATION_NOISE, normal_pair

#: Longest run of days of grade 4 in a course that counts as a success [d].
LONGEST_RUN = 7.0

_LN10 = math.log(10.0)
_SAMPLE = width_of(SAMPLE)


@inlined
def _growth(state, patient):
    """Change of ln cells since the start."""
    return state.log_cells - math.log(patient.initial_cells)


@inlined
def _measure(state, patient, seed, episode, settings):
    """Read the count and, where one is due, the scan of a lane at its present decision."""
    step = int(state.step)
    z_count, z_scan = normal_pair(seed, episode, STREAM_OBSERVATION_NOISE, step)
    for lag in range(LAGS - 1, 0, -1):
        state.counts[lag] = state.counts[lag - 1]
    state.counts[0] = state.count * max(1.0 + settings.count_noise * z_count, 0.0)
    day = step * settings.interval
    if step == 0 or day >= state.scan_day + settings.scan_interval - 1e-9:
        state.scan = _growth(state, patient)
        if step > 0:
            state.scan += settings.scan_noise * z_scan
        state.scan_day = day


def start(state, patient, constants, seed, episode, settings):
    """Put a lane at the start of treatment, and count.

    Args:
        state, patient, constants, settings: Records of the lane, see ``records.py``; the first and
            the third are written.
        seed, episode: Keys of the noise.
    """
    prepare(constants, patient, settings)
    begin_course(state, patient)
    state.step = state.given = state.last_dose = state.doses = state.largest = 0.0
    state.grade4_days = state.grade3_days = 0.0
    state.since = -1.0
    _measure(state, patient, seed, episode, settings)
    for lag in range(1, LAGS):
        state.counts[lag] = state.counts[0]


@inlined
def _give(dose, state, settings):
    """Note a dose [mg/m^2] that the interval behind began with."""
    state.step += 1.0
    state.given += dose
    state.last_dose = dose
    state.largest = max(state.largest, dose)
    if dose > 0.0:
        state.since = settings.interval
        state.doses += 1.0
    elif state.since >= 0.0:
        state.since += settings.interval


@inlined
def _worst_grade(nadir):
    grade = 0.0
    for level in (LOWER_LIMIT, GRADE2, GRADE3, GRADE4):
        if nadir < level:
            grade += 1.0
    return grade


@inlined
def _score(terms, costs, state, dose, before):
    """Terms and cost of an interval; ``before`` is ln cells at its start."""
    terms.log_kill = (before - state.log_cells) / _LN10
    terms.grade4 = -state.grade4
    terms.grade3 = -(state.grade3 - state.grade4)
    terms.dose = -dose
    costs.grade4 = state.grade4


@inlined
def _report(outcome, state, patient, settings):
    """What became of the patient so far."""
    outcome.log10_kill = (math.log(patient.initial_cells) - state.log_cells) / _LN10
    outcome.nadir = state.nadir
    outcome.worst_grade = _worst_grade(state.nadir)
    outcome.grade4_days = state.grade4_days
    outcome.grade3_days = state.grade3_days
    outcome.longest_grade4 = state.longest_run
    outcome.total_dose = state.given
    outcome.doses = state.doses
    outcome.out_of_range = 1.0 if state.largest > settings.label * (1.0 + 1e-9) else 0.0


def advance(action, state, patient, constants, given, seed, episode, settings, terms, costs,
            outcome):  # fmt: skip
    """Take one decision and score it; whether the course is over, and whether it is a success.

    Args:
        action: Action of the lane in [0, 1].
        state, patient, constants, settings: Records of the lane, see ``records.py``; the first is
            written.
        given: Doses of the course [mg/m^2]; written.
        seed, episode: Keys of the noise.
        terms, costs, outcome: Records of the results; written.
    """
    before = state.log_cells
    dose = min(action[0] * settings.max_dose, max(settings.budget - state.given, 0.0))
    state.grade4 = state.grade3 = 0.0
    hold_interval(
        state, constants, dose * patient.surface, settings.interval, 0.0, np.empty((0, _SAMPLE))
    )
    state.grade4_days += state.grade4
    state.grade3_days += state.grade3
    given[int(state.step)] = dose
    _give(dose, state, settings)
    _measure(state, patient, seed, episode, settings)
    _score(terms, costs, state, dose, before)
    _report(outcome, state, patient, settings)
    over = state.step >= settings.decisions
    killed = outcome.log10_kill >= settings.success_kill
    return over, over and killed and state.longest_run <= LONGEST_RUN


@inlined
def _show_treatment(state, settings, seen):
    """What both observations begin with."""
    seen.time = state.step / settings.decisions
    seen.last_dose = state.last_dose / settings.max_dose
    horizon = settings.decisions * settings.interval
    seen.since_dose = 1.0 if state.since < 0.0 else state.since / horizon
    seen.budget_left = max(1.0 - state.given / settings.budget, 0.0)


@inlined
def _tenth(count):
    """A count [10^9/L] as it is shown."""
    return 0.1 * clip(count, 0.0, HIGHEST_COUNT)


@inlined
def _tenth_of_change(change):
    """A change of ln cells as it is shown."""
    return 0.1 * clip(change, -HIGHEST_CHANGE, HIGHEST_CHANGE)


@inlined
def _show_measured(state, settings, seen):
    """What a clinic measures."""
    seen.count = _tenth(state.counts[0])
    seen.count_before = _tenth(state.counts[1])
    seen.count_before_that = _tenth(state.counts[2])
    seen.log_cells = _tenth_of_change(state.scan)
    horizon = settings.decisions * settings.interval
    seen.since_scan = (state.step * settings.interval - state.scan_day) / horizon


@inlined
def _show_body(state, patient, seen):
    """The model's state."""
    seen.count = _tenth(state.count)
    seen.third = _tenth(state.third)
    seen.second = _tenth(state.second)
    seen.first = _tenth(state.first)
    seen.pool = _tenth(math.exp(state.log_pool))
    seen.log_cells = _tenth_of_change(_growth(state, patient))
    seen.concentration = clip(concentration(state), 0.0, HIGHEST_COUNT)


def observe(state, patient, settings, seen):
    """Write what a lane shows.

    Args:
        state, patient, settings: Records of the lane, see ``records.py``.
        seen: A row of the observation, ``MEASURED`` or ``FULL``; written.
    """
    _show_treatment(state, settings, record_at(seen, 0, FULL))
    if settings.measurable > 0.0:
        _show_measured(state, settings, record_at(seen, 0, MEASURED))
    else:
        _show_body(state, patient, record_at(seen, 0, FULL))


start_lanes, start_lanes_parallel = over_lanes(
    start,
    state=STATE,
    patients=PATIENT,
    constants=CONSTANTS,
    seeds=ITEM,
    episodes=ITEM,
    settings=Shared(SETTINGS),
)
advance_lanes, advance_lanes_parallel = over_active(
    advance,
    actions=ROW,
    state=STATE,
    patients=PATIENT,
    constants=CONSTANTS,
    given=COLUMN,
    seeds=ITEM,
    episodes=ITEM,
    settings=Shared(SETTINGS),
    terms=Scored(TERMS),
    costs=Scored(COSTS),
    outcome=Scored(OUTCOME),
    returns=("terminated", "success"),
)
observe_lanes, observe_lanes_parallel = over_lanes(
    observe, state=STATE, patients=PATIENT, settings=Shared(SETTINGS), seen=SHOWN_ROW
)
