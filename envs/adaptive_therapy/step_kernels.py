"""One decision of adaptive therapy: hold a dose, measure, score, observe.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files. What
becomes of a lane does not depend on those beside it, nor on the number of lanes or threads.
"""

import math

from numba import prange

from oncogym.envs.adaptive_therapy.kernels import (
    BLOCK,
    SMALL,
    hold_doses,
    make_clocks,
    make_tumours,
    set_tumour,
)
from oncogym.envs.adaptive_therapy.records import (
    COSTS,
    FULL,
    LAGS,
    LOG_MARKER_HIGH,
    LOG_MARKER_LOW,
    MARKER,
    MEASURABLE,
    OUTCOME,
    PATIENT,
    REVEALED,
    SETTINGS,
    STATE,
    TERMS,
    TUMOUR,
)
from oncogym.envs.compiled import compiled
from oncogym.envs.lane_kernels import (
    AS_IS,
    COLUMN,
    ITEM,
    WHOLE,
    Shared,
    Shown,
    column_at,
    inlined,
    over_lanes,
    record_at,
)
from oncogym.envs.streams import normal_pair, uniform_pair
from oncogym.envs.twins import compile_twins
from oncogym.envs.unowned import unowned

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

_NOISE_STREAM = 16
# Substeps where only the instant of progression counts [d]: right to 1e-4 d, or, the longest, to
# what is in doubt then.
_COARSE, _LONGEST, _DOUBTFUL = 4.0, 14.0, 0.5
# A bound of the burden decides alone under this share of the limit.
_SURELY = 0.999
# Bounds of a time that differ from it by so much decide alone [d].
_CLEAR = 0.01
#: Where courses go on until death, a patient dies at this many starting burdens ...
DEATH_RATIO = 2.0
#: ... or at this burden, if that is less [capacities].
DEATH_BURDEN = 0.95


@inlined
def _progresses(tumours, clocks, dose, patient, progression, until, substep):
    """Days to progression under one dose from the start; infinite if it is later."""
    tumour = record_at(tumours, 0, TUMOUR)  # type: ignore[var-annotated]
    tumour.log_sensitive = math.log(patient.n0 * (1.0 - patient.fR))
    tumour.log_resistant = math.log(patient.n0 * patient.fR)
    set_tumour(tumour, tumour, patient, dose, progression)
    tumour.stop = progression * patient.n0
    hold_doses(tumours, clocks, 1, until, substep)
    return tumour.days if tumour.progressed > 0.0 else math.inf


@inlined
def _most_burden(dose, patient, days):
    """What a burden under one dose from the start does not pass within ``days``.

    Each clone grows at most as if it were alone in an empty room, and counts as at its largest.
    """
    death = patient.turnover * patient.rS
    sensitive = patient.rS * (1.0 - patient.dD * dose) - death
    resistant = patient.rS * (1.0 - patient.cost) - death
    s = (1.0 - patient.fR) * math.exp(max(sensitive, 0.0) * days)
    return patient.n0 * (s + patient.fR * math.exp(max(resistant, 0.0) * days))


@inlined
def _loses(tumours, clocks, dose, patient, progression, until):
    if _most_burden(dose, patient, until + _DOUBTFUL) < _SURELY * progression * patient.n0:
        return False
    # Long steps are right to a few hundredths of a day: only near the end are short ones needed.
    fastest = patient.rS * max(1.0, abs(1.0 - patient.dD * dose))
    step = min(_LONGEST, SMALL / fastest)
    found = _progresses(
        tumours, clocks, dose, patient, progression, until + _DOUBTFUL, max(step, _COARSE)
    )
    if abs(found - until) <= _DOUBTFUL:
        found = _progresses(tumours, clocks, dose, patient, progression, until, _COARSE)
    return found <= until


@compiled(error_model="numpy")
def loses(dose, patient, progression, until):
    """Whether a tumour held under one dose from the start progresses within ``until`` days."""
    return _loses(make_tumours(1), make_clocks(), dose, patient, progression, until)


def start(state, patient, given):
    """Put a lane at the start of treatment.

    Args:
        state, patient: Records of the lane, see ``records.py``; the first is written.
        given: Doses by decision, shares of the full one; written.
    """
    # Later ones were never written since the last start.
    for step in range(int(state.step)):
        given[step] = 0.0
    state.log_sensitive = math.log(patient.n0 * (1.0 - patient.fR))
    state.log_resistant = math.log(patient.n0 * patient.fR)
    state.time = state.toxicity = state.dose = state.since_off = 0.0
    state.given = state.burden_days = state.days_off = state.days_above = 0.0
    state.switches = state.step = 0.0
    state.progressed_at = state.progressed_burden_days = 0.0
    for lag in range(LAGS):
        state.log_markers[lag] = state.doses[lag] = 0.0


@inlined
def _give(action, settings):
    """The dose that is given when one is asked for."""
    if settings.on_off > 0.0:
        return 1.0 if action >= 0.5 else 0.0
    return action


@inlined
def _hold(tumour, dose, state, patient, settings):
    """Put a lane under its dose; in the published problem progression is seen at visits only."""
    set_tumour(tumour, state, patient, dose, settings.progression)
    tumour.stop = math.inf if settings.published > 0.0 else tumour.limit
    if settings.until_death > 0.0:
        tumour.stop = min(DEATH_RATIO * patient.n0, DEATH_BURDEN)
        if state.progressed_at == 0.0:
            tumour.watched = tumour.limit


@inlined
def _follow(state, tumour, dose):
    """Take over what became of the tumour, and add up the course (toxicity: spec. 2.1)."""
    took, holiday = tumour.days, dose == 0.0
    if state.step > 0.0 and holiday != (state.dose == 0.0):
        state.switches += 1.0
    if tumour.watched_days >= 0.0:
        state.progressed_at = state.time + tumour.watched_days
        state.progressed_burden_days = state.burden_days + tumour.watched_burden_days
    state.log_sensitive, state.log_resistant = tumour.log_sensitive, tumour.log_resistant
    state.time += took
    state.toxicity = dose + (state.toxicity - dose) * math.exp(-took / TOXICITY_DAYS)
    state.dose = dose
    state.since_off = 0.0 if holiday else state.since_off + 1.0
    state.given += dose * took
    state.burden_days += tumour.burden_days
    state.days_off += took if holiday else 0.0
    state.days_above += tumour.days_above
    state.step += 1.0


@inlined
def _measure(state, patient, burden, seed, episode, settings):
    """Keep the visit's marker, noisy, and its dose in the lane's memory (spec. 1.3)."""
    for lag in range(LAGS - 1, 0, -1):
        state.log_markers[lag] = state.log_markers[lag - 1]
        state.doses[lag] = state.doses[lag - 1]
    reading = math.log(burden / patient.n0)
    if settings.noise > 0.0:
        z, _ = normal_pair(seed, episode, _NOISE_STREAM, int(state.step))
        reading += settings.noise * (z - 0.5 * settings.noise)
    state.log_markers[0] = reading
    state.doses[0] = state.dose


@inlined
def _score(terms, costs, state, tumour, patient, settings, burden, newly, ended):
    """Terms and costs of an interval (spec. 2.1, 2.3 and 2.4).

    ``newly``: whether the tumour progressed in it, for the first time.
    """
    passed = state.progressed_at > 0.0
    holiday = state.dose == 0.0
    terms.control = tumour.control_days / YEAR
    terms.drug = -DRUG_WEIGHT * state.dose * tumour.days / YEAR
    # As in the source: progression is punished alone, and so is the end of the plan paid.
    bad_holiday = holiday and not ended and not passed and burden > patient.n0
    terms.visit = 0.0 if passed else 1.0
    terms.holiday = 1.0 if holiday and not passed and not ended else 0.0
    terms.punishment = 1.0 if newly or bad_holiday else 0.0
    terms.completion = 1.0 if ended and not passed else 0.0
    excess = max(tumour.peak / patient.n0 - 1.0, 0.0)
    costs.burden = excess / (settings.progression - 1.0)
    costs.toxicity = max(state.toxicity - TOXICITY_LIMIT, 0.0)


@inlined
def _report(outcome, state, patient, burden, died):
    """What became of the patient so far (spec. 2.2); two of them count up to progression."""
    progressed = state.progressed_at > 0.0
    outcome.ttp = state.progressed_at if progressed else state.time
    burden_days = state.progressed_burden_days if progressed else state.burden_days
    outcome.progression_free_years = outcome.ttp / YEAR
    outcome.time_off = state.days_off / state.time
    outcome.dose_fraction = state.given / state.time
    outcome.mean_burden = burden_days / (outcome.ttp * patient.n0)
    outcome.resistant_share = math.exp(state.log_resistant) / burden
    outcome.switches = state.switches
    outcome.days_above = state.days_above
    outcome.censored = 0.0 if progressed else 1.0
    outcome.course_days = state.time
    outcome.died = 1.0 if died else 0.0


@inlined
def _judge(tumour, dose, state, patient, given, seed, episode, settings, terms, costs, outcome):
    """End the interval of a lane; whether the course is over, and whether it is a success."""
    stopped, before = tumour.progressed > 0.0, state.progressed_at > 0.0
    given[int(state.step)] = dose
    _follow(state, tumour, dose)
    burden = math.exp(state.log_sensitive) + math.exp(state.log_resistant)
    if settings.published > 0.0:
        stopped = burden > settings.progression * patient.n0
    # Death at less than the burden of progression is progression, too.
    if stopped and state.progressed_at == 0.0:
        state.progressed_at, state.progressed_burden_days = state.time, state.burden_days
    newly = state.progressed_at > 0.0 and not before
    ended = state.step >= settings.decisions
    _measure(state, patient, burden, seed, episode, settings)
    _score(terms, costs, state, tumour, patient, settings, burden, newly, ended)
    _report(outcome, state, patient, burden, stopped and settings.until_death > 0.0)
    over = stopped or ended
    success = (
        over
        and outcome.mean_burden <= SUCCESS_BURDEN
        and loses(1.0, patient, settings.progression, outcome.ttp / SUCCESS_RATIO)
    )
    return over, success


@inlined
def _clear(rows, lane):
    for column in range(rows.shape[1]):
        rows[lane, column] = 0.0


@inlined
def _advance_block(tumours, clocks, lanes, active, actions, state, patients, given, seeds, episodes,
                   settings, terms, costs, outcome, terminated, success):  # fmt: skip
    """Take one decision in a few lanes, whose tumours stand side by side meanwhile."""
    options = record_at(settings, 0, SETTINGS)  # type: ignore[var-annotated]
    count = 0
    for lane in lanes:
        if active[lane]:
            dose = _give(actions[lane, 0], options)
            tumour = record_at(tumours, count, TUMOUR)
            now, who = record_at(state, lane, STATE), record_at(patients, lane, PATIENT)
            _hold(tumour, dose, now, who, options)
            count += 1
        else:
            _clear(terms, lane)
            _clear(costs, lane)
            _clear(outcome, lane)
            terminated[lane] = success[lane] = False
    hold_doses(tumours, clocks, count, options.interval, options.substep)
    count = 0
    for lane in lanes:
        if active[lane]:
            terminated[lane], success[lane] = _judge(
                record_at(tumours, count, TUMOUR),
                _give(actions[lane, 0], options),
                record_at(state, lane, STATE),
                record_at(patients, lane, PATIENT),
                column_at(given, lane),
                seeds[lane],
                episodes[lane],
                options,
                record_at(terms, lane, TERMS),
                record_at(costs, lane, COSTS),
                record_at(outcome, lane, OUTCOME),
            )
            count += 1


def _advance_lanes(active, actions, state, patients, given, seeds, episodes, settings, terms,
                   costs, outcome, terminated, success):  # fmt: skip
    """Take one decision in all active lanes; the others get zeros.

    Arrays have one row a lane, except the doses of a course: these have one row a decision.
    """
    active, actions, state, patients = (
        unowned(active), unowned(actions), unowned(state), unowned(patients),
    )  # fmt: skip
    given, seeds, episodes = unowned(given), unowned(seeds), unowned(episodes)
    terms, costs, outcome = unowned(terms), unowned(costs), unowned(outcome)
    terminated, success, settings = unowned(terminated), unowned(success), unowned(settings)
    lanes = state.shape[0]
    for block in prange((lanes + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        _advance_block(
            make_tumours(BLOCK), make_clocks(), range(first, min(first + BLOCK, lanes)), active,
            actions, state, patients, given, seeds, episodes, settings, terms, costs, outcome,
            terminated, success,
        )  # fmt: skip


def observe_marker(state, patient, settings, seen):
    """Write the marker alone, without noise.

    Args:
        state, patient, settings, seen: Records of the lane (``records.py``); the last is written.
    """
    burden = math.exp(state.log_sensitive) + math.exp(state.log_resistant)
    seen.marker = burden / patient.n0


def observe_measurable(state, patient, settings, seen):
    """Write what a clinic knows: the last markers and doses, and the time.

    Args:
        state, patient, settings, seen: Records of the lane (``records.py``); the last is written.
    """
    for lag in range(LAGS):
        reading = state.log_markers[lag]
        seen.log_markers[lag] = min(max(reading, LOG_MARKER_LOW), LOG_MARKER_HIGH)
        seen.doses[lag] = state.doses[lag]
        seen.measured[lag] = 1.0 if lag < state.step else 0.0
    seen.time = state.time / (settings.decisions * settings.interval)


def observe_full(state, patient, settings, seen):
    """Write the state of a lane.

    Args:
        state, patient, settings, seen: Records of the lane (``records.py``); the last is written.
    """
    horizon = settings.decisions * settings.interval
    log_s, log_r = state.log_sensitive, state.log_resistant
    seen.time = state.time / horizon
    seen.marker = (math.exp(log_s) + math.exp(log_r)) / patient.n0
    seen.ratio = min(max(0.1 * (log_r - log_s), -1000.0), 1000.0)
    seen.dose = state.dose
    seen.since_off = state.since_off
    seen.given = state.given / horizon


_write_full = inlined(observe_full)


def observe_revealed(state, patient, settings, seen):
    """Write the state of a lane and its patient.

    Args:
        state, patient, settings, seen: Records of the lane (``records.py``); the last is written.
    """
    _write_full(state, patient, settings, seen)
    seen.n0, seen.log_fR = patient.n0, math.log(patient.fR)
    seen.cost, seen.turnover = patient.cost, patient.turnover


@inlined
def _untreated_days(growth, patient, progression):
    """Days to progression without drug of one logistic clone, which grows at ``growth`` x rS."""
    start, end = growth * patient.n0, growth * progression * patient.n0
    room = growth - patient.turnover
    if room <= end:
        return math.inf
    return math.log(progression * (room - start) / (room - end)) / (patient.rS * room)


def sample_patient(patient, seed, episode, stream, low, high, least_days, margin, progression):
    """Draw a patient by rejection, from its own ``(seed, episode)``.

    Args:
        patient: Record of the patient; growth rate and kill stand in it, the others are written.
        seed, episode, stream: Coordinates of the patient, and the stream.
        low, high: Ends of n0, log10 fR, cost and turnover ``(4,)``.
        least_days: Shortest untreated time to progression.
        margin: By how much turnover must stay under what allows progression.
        progression: Limit in starting burdens.
    """
    attempt = 0
    while True:
        a, b = uniform_pair(seed, episode, stream, 2 * attempt)
        c, d = uniform_pair(seed, episode, stream, 2 * attempt + 1)
        attempt += 1
        patient.n0 = low[0] + a * (high[0] - low[0])
        patient.cost = low[2] + c * (high[2] - low[2])
        patient.turnover = low[3] + d * (high[3] - low[3])
        bound = (1.0 - progression * patient.n0) * (1.0 - patient.cost)
        if patient.turnover > bound - margin:
            continue
        patient.fR = 10.0 ** (low[1] + b * (high[1] - low[1]))
        # The resistant share only falls: both clones together grow at least as at first.
        if _untreated_days(1.0, patient, progression) > least_days + _CLEAR:
            break
        mean = 1.0 - patient.cost * patient.fR
        if _untreated_days(mean, patient, progression) < least_days - _CLEAR:
            continue
        if not loses(0.0, patient, progression, least_days):
            break


def _over_seen(function, record):
    """The loops over lanes of what writes an observation."""
    return over_lanes(
        function, state=STATE, patients=PATIENT, settings=Shared(SETTINGS), seen=Shown(record)
    )


start_lanes, start_lanes_parallel = over_lanes(start, state=STATE, patients=PATIENT, given=COLUMN)
advance_lanes, advance_lanes_parallel = compile_twins(_advance_lanes, error_model="numpy")
marker_lanes, marker_lanes_parallel = _over_seen(observe_marker, MARKER)
measurable_lanes, measurable_lanes_parallel = _over_seen(observe_measurable, MEASURABLE)
full_lanes, full_lanes_parallel = _over_seen(observe_full, FULL)
revealed_lanes, revealed_lanes_parallel = _over_seen(observe_revealed, REVEALED)
sample_patients, sample_patients_parallel = over_lanes(
    sample_patient, patients=PATIENT, seeds=ITEM, episodes=ITEM, stream=AS_IS, low=WHOLE,
    high=WHOLE, least_days=AS_IS, margin=AS_IS, progression=AS_IS,
)  # fmt: skip
