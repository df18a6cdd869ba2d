"""One decision of a chemotherapy lane: wait, give, let pass, score, observe.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files. The
functions here are about one lane; the loops over lanes at the end are made of them.
"""

import math

import numpy as np

from oncogym.envs.chemo_dosing.interval_kernels import follow_interval, prepare_interval
from oncogym.envs.chemo_dosing.kernels import (
    largest_safe_dose,
    propagate,
    toxicity_peak_if_untreated,
)
from oncogym.envs.chemo_dosing.records import (
    CONSTANTS,
    COSTS,
    LOG_SCALE,
    OBSERVATION,
    OUTCOME,
    PATIENT,
    SCALE,
    SETTINGS,
    STATE,
    TERMS,
)
from oncogym.envs.compiled import compiled
from oncogym.envs.lane_kernels import (
    COLUMN,
    ITEM,
    ROW,
    Scored,
    Shared,
    Shown,
    clip,
    inlined,
    over_active,
    over_lanes,
    record_at,
)
from oncogym.envs.streams import normal_pair

_NOISE_STREAM = 16
_PER_LN10 = 1.0 / math.log(10.0)
_EPS = 1e-9
#: ln N0 counts as at least this much in the observation: one cell would make it 0.
LEAST_LOG_CELLS = 1.0


def start(state, patient, constants, history_time, history_log_cells, settings):
    """Put a lane at the start of treatment; its state is all zeros.

    Args:
        state, patient, constants, settings: Records of the lane, see ``records.py``; the first is
            written.
        history_time, history_log_cells: Times [d] and logarithms of the cells seen; written.
    """
    log_cells = math.log(patient.initial_cells)
    state.time = state.concentration = state.toxicity = 0.0
    state.peak = state.auc = state.excess = state.days_over = 0.0
    state.given = state.doses = state.last_dose = 0.0
    state.step = state.beyond = 0.0
    state.log_cells = log_cells
    state.start_log_cells = log_cells
    state.cells = patient.initial_cells
    state.last_time = -1.0
    history_time[0] = 0.0
    history_log_cells[0] = log_cells
    if settings.waits == 0.0:
        prepare_interval(constants, patient, settings.interval)


@inlined
def _wait(action, state, settings, last):
    """A decision with a wait: the source's comes before the dose, any other after it.

    Returns (day of the dose, day of the next decision, dose asked for [mg/L], whether the dose is
    before the end).
    """
    wait = 0.0
    wanted = action[0] * settings.max_dose
    if settings.waits_first > 0.0:
        wait = action[0] * settings.max_wait
        wanted = action[1] * settings.max_dose
    if state.step == 0.0:
        wait += settings.first_day
    on_time = state.time + wait < settings.horizon
    dose_at = min(state.time + wait, settings.horizon)
    after = dose_at
    if settings.waits_first == 0.0:
        after = min(dose_at + action[1] * settings.max_wait, settings.horizon)
    if last:
        after = settings.horizon
    return dose_at, after, wanted, on_time


@inlined
def _allow(wanted, state, settings):
    """What the hard budget and the number of doses leave of the dose asked for [mg/L]."""
    if settings.max_doses > 0.0 and state.doses >= settings.max_doses:
        return 0.0
    if settings.hard_budget > 0.0:
        return clip(wanted, 0.0, max(settings.budget - state.given, 0.0))
    return wanted


@inlined
def _give(dose, day, state, settings):
    """Give a dose [mg/L] as a bolus."""
    if dose > 0.0:
        state.concentration += dose
        state.given += dose
        state.doses += 1.0
        state.last_time = day
        state.last_dose = dose
    if state.concentration > SCALE * settings.max_dose:
        state.beyond = 1.0


@inlined
def _flow(days, state, patient, limit):
    """Let days without a dose pass (spec. 1.2)."""
    c, x, log_cells, top, exposure, area, over = propagate(
        state.concentration, state.toxicity, state.log_cells, days, patient, limit
    )
    state.concentration, state.toxicity, state.log_cells = c, x, log_cells
    state.peak = max(state.peak, top)
    state.auc += exposure
    state.excess += area
    state.days_over += over


@inlined
def _flow_interval(state, patient, constants, limit):
    """Let the fixed interval pass by its constants; false where they do not hold: nothing passed.

    They say nothing of the days above the limit.
    """
    c, x = state.concentration, state.toxicity
    ke, a, b = patient.elimination_rate, patient.toxicity_gain, patient.toxicity_recovery
    c_end = c * constants.left
    x_end = x * constants.recovered + c * constants.transfer
    top = max(x, x_end)
    if a * c > b * x and a * c_end < b * x_end:
        top = max(top, toxicity_peak_if_untreated(c, x, ke, a, b))
    if not top <= limit:
        return False
    state.log_cells = follow_interval(
        c, state.log_cells, state.cells, c_end, constants, patient.ec50
    )
    state.peak = max(state.peak, top)
    state.auc += c * constants.exposure
    state.concentration, state.toxicity = c_end, x_end
    return True


@inlined
def _score_step(terms, costs, state, settings, dose, before):
    """Terms and costs of a step without regard to its end; ``before`` is what it began with."""
    log_cells, peak, auc, excess, given = before
    terms.log_kill = (log_cells - state.log_cells) * _PER_LN10
    terms.toxicity = -(state.excess - excess)
    terms.dose = -dose
    terms.peak_toxicity = -(state.peak - peak)
    terms.exposure = (state.auc - auc) / settings.horizon
    overdose = max(state.given - settings.budget, 0.0)
    costs.toxicity = state.excess - excess
    costs.budget = overdose - max(given - settings.budget, 0.0)


@inlined
def _score_end(terms, state, patient, settings, tcp, finished, failed):
    """Terms that the end of a course decides (the published ones: spec. 1.4)."""
    at_end = 1.0 if finished else 0.0
    above = max(state.peak - settings.limit, 0.0)
    overdose = max(state.given - settings.budget, 0.0)
    terms.tumour_control = tcp if finished and not failed else 0.0
    terms.failure = -1.0 if failed else 0.0
    terms.final_cells = -at_end * state.cells / patient.initial_cells
    terms.violation = -at_end * (above * above + overdose * overdose)


@inlined
def _report(outcome, state, tcp):
    """What became of the patient so far."""
    outcome.log10_kill = (state.start_log_cells - state.log_cells) * _PER_LN10
    outcome.tumour_control = tcp
    outcome.peak_toxicity = state.peak
    outcome.days_over_limit = state.days_over
    outcome.total_dose = state.given
    outcome.doses = state.doses
    outcome.final_cells = state.cells
    outcome.exposure = state.auc
    outcome.out_of_range = state.beyond


def advance(action, state, patient, constants, history_time, history_log_cells, dose_time,
            dose_size, settings, terms, costs, outcome):  # fmt: skip
    """Take one decision and score it; whether the course is over, and whether it is a success.

    Args:
        action: Action of the lane in [0, 1].
        state, patient, constants, settings: Records of the lane, see ``records.py``; the first is
            written.
        history_time, history_log_cells: Times [d] and logarithms of the cells seen; written.
        dose_time, dose_size: Days and doses [mg/L] given; written.
        terms, costs, outcome: Records of the results; written.
    """
    before = (state.log_cells, state.peak, state.auc, state.excess, state.given)
    step = int(state.step)
    last = step + 1 >= int(settings.decisions)
    on_time = True
    if settings.waits > 0.0:
        dose_at, after, wanted, on_time = _wait(action, state, settings, last)
        if dose_at > state.time:
            _flow(dose_at - state.time, state, patient, settings.limit)
    else:
        dose_at, wanted = state.time, action[0] * settings.max_dose
        after = settings.horizon
        if not last:
            after = min((step + 1) * settings.interval, settings.horizon)

    dose = _allow(wanted, state, settings) if on_time else 0.0
    _give(dose, dose_at, state, settings)
    dose_time[step] = dose_at
    dose_size[step] = dose

    prepared = settings.waits == 0.0 and not last and constants.nodes > 0.0
    if prepared:
        prepared = _flow_interval(state, patient, constants, settings.limit)
    if not prepared and after > dose_at:
        _flow(after - dose_at, state, patient, settings.limit)
    state.time = after
    state.step = step + 1.0
    state.cells = math.exp(min(state.log_cells, 700.0))
    history_time[step + 1] = after
    history_log_cells[step + 1] = state.log_cells
    changed = abs(state.log_cells - state.start_log_cells)
    if changed > LOG_SCALE * max(state.start_log_cells, LEAST_LOG_CELLS):
        state.beyond = 1.0
    if state.peak > SCALE * settings.limit:
        state.beyond = 1.0

    failed = (
        state.peak > settings.fatal_toxicity
        or state.cells > settings.fatal_share * patient.carrying_capacity
    )
    finished = after >= settings.horizon - _EPS
    # exp(-N) is 0 in float64 long before N reaches a thousand cells.
    tcp = math.exp(-state.cells) if state.cells < 800.0 else 0.0
    _score_step(terms, costs, state, settings, dose, before)
    _score_end(terms, state, patient, settings, tcp, finished, failed)
    _report(outcome, state, tcp)
    cured = tcp >= settings.success_tcp and state.peak <= settings.limit
    return finished or failed, finished and not failed and cured


@inlined
def _measure(state, history_time, history_log_cells, seed, episode, settings):
    """What a clinic measures: (ln of the marker, toxicity), noisy, the marker late and cut off."""
    step = int(state.step)
    shown = step
    while shown > 0 and history_time[shown] > state.time - settings.marker_delay + _EPS:
        shown -= 1
    z_marker, z_toxicity = normal_pair(seed, episode, _NOISE_STREAM, step)
    marker = history_log_cells[shown] + settings.marker_noise * z_marker
    toxicity = state.toxicity * math.exp(settings.toxicity_noise * z_toxicity)
    return max(marker, settings.marker_limit), toxicity


def observe(state, history_time, history_log_cells, seed, episode, settings, seen):
    """Write what a lane shows.

    Args:
        state, settings, seen: Records of the lane, see ``records.py``; the last is written.
        history_time, history_log_cells: Times [d] and logarithms of the cells seen.
        seed, episode: Keys of the noise.
    """
    log_cells, toxicity, drug = state.log_cells, state.toxicity, state.concentration
    if settings.measurable > 0.0:
        log_cells, toxicity = _measure(
            state, history_time, history_log_cells, seed, episode, settings
        )
        drug = state.last_dose
    change = (log_cells - state.start_log_cells) / max(state.start_log_cells, LEAST_LOG_CELLS)
    doses_left = 1.0
    if settings.max_doses > 0.0:
        doses_left = max(settings.max_doses - state.doses, 0.0) / settings.max_doses
    since = 1.0
    if state.last_time >= 0.0:
        since = (state.time - state.last_time) / settings.horizon
    seen.time = clip(state.time / settings.horizon, 0.0, 1.0)
    seen.drug = clip(drug / settings.max_dose, 0.0, SCALE)
    seen.toxicity = clip(toxicity / settings.limit, 0.0, SCALE)
    seen.log_cells = clip(change, -LOG_SCALE, LOG_SCALE)
    seen.budget_left = clip(1.0 - state.given / settings.budget, 0.0, 1.0)
    seen.doses_left = doses_left
    seen.since_dose = clip(since, 0.0, 1.0)


start_lanes, start_lanes_parallel = over_lanes(
    start,
    state=STATE,
    patients=PATIENT,
    constants=CONSTANTS,
    history_time=COLUMN,
    history_log_cells=COLUMN,
    settings=Shared(SETTINGS),
)
advance_lanes, advance_lanes_parallel = over_active(
    advance,
    actions=ROW,
    state=STATE,
    patients=PATIENT,
    constants=CONSTANTS,
    history_time=COLUMN,
    history_log_cells=COLUMN,
    dose_time=COLUMN,
    dose_size=COLUMN,
    settings=Shared(SETTINGS),
    terms=Scored(TERMS),
    costs=Scored(COSTS),
    outcome=Scored(OUTCOME),
    returns=("terminated", "success"),
)
observe_lanes, observe_lanes_parallel = over_lanes(
    observe,
    state=STATE,
    history_time=COLUMN,
    history_log_cells=COLUMN,
    seeds=ITEM,
    episodes=ITEM,
    settings=Shared(SETTINGS),
    seen=Shown(OBSERVATION),
)


@compiled
def safe_doses(conc, tox, limit, ke, a, b):
    """:func:`largest_safe_dose` for arrays ``(k,)`` of concentrations and toxicities."""
    out = np.empty(conc.shape[0])
    for row in range(conc.shape[0]):
        out[row] = largest_safe_dose(conc[row], tox[row], limit, ke, a, b)
    return out


@inlined
def _largest_safe_action(action, state, patient, settings):
    """The part of the largest dose up to which the exact future toxicity peak is within limits."""
    conc, tox = state.concentration, state.toxicity
    if settings.waits > 0.0:
        wait = action[0] * settings.max_wait if settings.waits_first > 0.0 else 0.0
        if state.step == 0.0:
            wait += settings.first_day
        ahead = propagate(conc, tox, state.log_cells, wait, patient, settings.limit)
        conc, tox = ahead[0], ahead[1]
    ke, a, b = patient.elimination_rate, patient.toxicity_gain, patient.toxicity_recovery
    dose = largest_safe_dose(conc, tox, settings.limit, ke, a, b)
    # Rounding in a policy's float32 must not carry the dose back over the limit.
    safe = np.float64(np.float32(dose / settings.max_dose))
    if safe * settings.max_dose > dose:
        safe = safe * (1.0 - 2.0**-23)
    return max(safe, 0.0)


@compiled
def safe_lanes(actions, state, patients, settings, out):
    """Lower each dose to the largest that is safe."""
    options = record_at(settings, 0, SETTINGS)  # type: ignore[var-annotated]
    column = 1 if options.waits_first > 0.0 else 0
    for lane in range(state.shape[0]):
        for part in range(actions.shape[1]):
            out[lane, part] = actions[lane, part]
        safe = _largest_safe_action(
            actions[lane],
            record_at(state, lane, STATE),
            record_at(patients, lane, PATIENT),
            options,
        )
        out[lane, column] = min(actions[lane, column], safe)
