"""Decisions, rewards and observations of many treatments of spheroids.

A decision is begun (:func:`decide`), the tumours live until its wait is over, it is ended
(:func:`arrive`), and after the last one they live until the end of the course.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files.
"""

import math

import numpy as np

from oncogym.envs.compiled import compiled
from oncogym.envs.emt6ro_fractionation.kernels import record
from oncogym.envs.emt6ro_fractionation.records import (
    ACID,
    COSTS,
    COUNTERS,
    DECISION,
    IMAGE,
    MEASURED,
    OPTIONS,
    OUTCOME,
    SAMPLE,
    SETTINGS,
    SIDE,
    SITES,
    STATE,
    SUMMARY,
    TERMS,
)
from oncogym.envs.emt6ro_fractionation.rules import (
    AEROBIC_QUIESCENT,
    STEPS_PER_SLOT,
    VACANT,
    acute_dose,
)
from oncogym.envs.lane_kernels import (
    ITEM,
    ROW,
    Scored,
    Shared,
    Shown,
    inlined,
    over_active,
    over_lanes,
)
from oncogym.envs.streams import normal_pair, uniforms

LARGEST = 1500.0  # sites; the source's number of sites that may be occupied
NOISE_STREAM = 1 << 20  # beyond the streams of the sites
_EPS = 1e-9
_MIDDLE = SIDE / 2.0


@inlined
def late_bed(dose, alpha_beta):
    """Biologically effective dose [Gy] of one fraction in late-responding tissue (LQ model)."""
    return dose * (1.0 + dose / alpha_beta)


@inlined
def _dose_of(action, options):
    """Dose [Gy] on the grid that an action in [0, 1] asks for."""
    step = options.dose_step
    return step * math.floor(action * options.max_dose / step + 0.5)


@inlined
def _wait_of(action, options):
    """Wait in slots that an action in [0, 1] asks for."""
    least = options.least_wait
    return int(math.floor(least + action * (options.max_wait - least) + 0.5))


def start(counters, state, doses, history, options):
    """Put a lane at the start of treatment.

    Args:
        counters, state, options: Records of the lane, see ``records.py``. The first are written,
            but for the initial sites and the largest acute dose of the second.
        doses: Gy by slot, written.
        history: Occupied sites, see :func:`.kernels.advance`; written.
    """
    counters.step = counters.acid_on = counters.burden = counters.at_edge = 0
    counters.births = counters.deaths = counters.repair_deaths = counters.age_deaths = 0
    counters.sites = int(state.initial)
    state.remaining = options.total_dose
    state.last_slot = -1.0
    state.bed = state.last_dose = state.decisions = state.fractions = 0.0
    state.first_radius = state.beyond = 0.0
    for slot in range(doses.shape[0]):
        doses[slot] = 0.0
    for entry in range(history.shape[0]):
        history[entry] = np.nan
    history[0] = state.initial


@inlined
def _give(state, doses, slot, dose, options):
    """Plan a dose for the start of ``slot``; returns how far it takes the BED over the limit."""
    before = max(state.bed - options.bed_limit, 0.0)
    doses[slot] += dose
    state.remaining -= dose
    state.bed += late_bed(dose, options.alpha_beta)
    if dose > 0.0:
        if acute_dose(doses, slot) > state.largest_acute:
            state.beyond = 1.0
        state.last_slot = slot
        state.last_dose = dose
        state.fractions += 1.0
    return max(state.bed - options.bed_limit, 0.0) - before


@inlined
def _is_last(state, options):
    """Whether the dose is spent or the decisions are."""
    spent = state.remaining < 0.5 * options.dose_step
    return spent or state.decisions >= options.max_decisions


def decide(action, counters, state, doses, options, decision):
    """Begin a decision: give its dose where that comes first; plan how far the lane advances.

    Returns the step until which its tumour lives first.

    Args:
        action: Action of the lane in [0, 1].
        counters, state, options, decision: Records of the lane, see ``records.py``; state and
            decision are written.
        doses: Gy by slot, written.
    """
    treatment, horizon = int(options.treatment), int(options.horizon)
    dose = min(_dose_of(action[0], options), state.remaining)
    now = int(counters.step // STEPS_PER_SLOT)
    target = min(now + _wait_of(action[1], options), treatment)
    decision.burden_before = counters.burden
    decision.excess = 0.0
    decision.dose = dose
    decision.over = 0.0
    state.decisions += 1.0
    if options.published == 0.0:
        decision.excess = _give(state, doses, now, dose, options)
        if _is_last(state, options):
            target = horizon
    decision.target = target
    return target * STEPS_PER_SLOT


def arrive(counters, state, doses, options, decision):
    """Go on after the wait: give its dose where that comes last; to the end if it was the last.

    Returns the step until which the lane's tumour lives then.

    Args:
        counters, state, options, decision: Records of the lane, see ``records.py``; state and
            decision are written.
        doses: Gy by slot, written.
    """
    treatment, target = int(options.treatment), int(decision.target)
    if options.published > 0.0 and target < treatment:
        decision.excess = _give(state, doses, target, decision.dose, options)
    over = _is_last(state, options) or target >= treatment or counters.sites == 0
    decision.over = 1.0 if over else 0.0
    if over:
        decision.target = options.horizon
    return int(decision.target) * STEPS_PER_SLOT


@inlined
def _score(terms, costs, counters, decision, sites, initial, whole):
    """Terms and costs of a decision; ``whole`` are the sites of the start in every step."""
    over = decision.over > 0.0
    costs.late_bed = decision.excess
    terms.fitness = LARGEST - sites if over else 0.0
    terms.burden = -(counters.burden - decision.burden_before) / whole
    terms.regrowth = -sites / initial if over else 0.0
    terms.extinction = 1.0 if over and sites == 0.0 else 0.0
    terms.excess = -decision.excess


@inlined
def _report(outcome, counters, state, options, sites, initial, whole):
    """What became of the patient so far, but for what follows from all doses at the end."""
    outcome.fitness = LARGEST - sites
    outcome.sites = sites
    outcome.mean_burden = counters.burden / whole
    outcome.regrowth = sites / initial
    outcome.extinct = 1.0 if sites == 0.0 else 0.0
    outcome.late_bed = state.bed
    outcome.total_dose = options.total_dose - state.remaining
    outcome.fractions = state.fractions
    outcome.last_dose = 0.5 * max(state.last_slot, 0.0)
    outcome.out_of_range = 1.0 if state.beyond > 0.0 or counters.at_edge > 0 else 0.0
    outcome.eqd2_late = outcome.bed = outcome.lq_range = 0.0


def reward(counters, state, options, decision, terms, costs, outcome):
    """What a decision brought; returns whether the course is over, and whether it is a success.

    Args:
        counters, state, options, decision: Records of the lane, see ``records.py``.
        terms, costs, outcome: Records of the results; written.
    """
    over = decision.over > 0.0
    sites = float(counters.sites)
    initial = max(state.initial, 1.0)
    whole = initial * int(options.horizon) * STEPS_PER_SLOT
    _score(terms, costs, counters, decision, sites, initial, whole)
    _report(outcome, counters, state, options, sites, initial, whole)
    kept = state.bed <= options.bed_limit + _EPS
    return over, over and kept and sites <= options.success * initial


@compiled
def _slot_of(counters):
    return counters.step / STEPS_PER_SLOT


@compiled
def _dose_left(state, options):
    return min(max(state.remaining / options.total_dose, 0.0), 1.0)


@compiled
def _show_header(counters, state, options, seen):
    """What every observation of numbers has: dose left, time, the last dose and time since it."""
    slot = _slot_of(counters)
    seen.dose_left = _dose_left(state, options)
    seen.time = min(slot / options.horizon, 1.0)
    since = 1.0
    if state.last_slot >= 0.0:
        since = min((slot - state.last_slot) / options.treatment, 1.0)
    seen.since_dose = since
    seen.last_dose = min(state.last_dose / options.max_dose, 1.0)


@compiled
def _radius(tumour):
    """Root mean square distance of the occupied sites from their centre, times sqrt(2)."""
    count = 0
    row0 = column0 = square = 0.0
    phase = tumour.phase
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


@compiled
def _damage_of(tumour):
    """Damage of all groups [Gy], and how many of them are in repair."""
    damage = repairing = 0.0
    phase, groups = tumour.phase, tumour.clocks
    for site in range(SITES):
        if phase[site] != VACANT:
            damage += groups[site].damage
            repairing += groups[site].repaired > 0.0
    return damage, repairing


def observe_summary(tumour, counters, state, options, settings, sample, seen):
    """Show the full state in short.

    Args:
        tumour, counters, state, options, settings: Records of the lane, see ``records.py``.
        sample: Memory for a record of the tumour; written.
        seen: Record of the observation; written.
    """
    _show_header(counters, state, options, seen)
    record(tumour, settings, sample)
    sites = sample.sites
    share = 1.0 / max(sites, 1.0)
    damage, repairing = _damage_of(tumour)
    seen.late_bed = min(state.bed / options.bed_limit, 10.0)
    seen.sites = min(sites / LARGEST, 2.0)
    seen.relative_sites = min(sites / max(state.initial, 1.0), 10.0)
    for phase in range(5):
        seen.phases[phase] = sample.phases[phase] * share
    for mode in range(4):
        seen.modes[mode] = sample.modes[mode] * share
    seen.damaged = sample.damaged * share
    seen.damage = min(damage * share / options.total_dose, 1.0)
    seen.repairing = repairing * share
    seen.radius = min(_radius(tumour) / _MIDDLE, 2.0)
    for field in range(3):
        relative = sample.amounts[field] / settings.external[field]
        seen.amounts[field] = min(max(relative, 0.0), 10.0)
    seen.amounts[ACID] = seen.amounts[ACID] / 10.0


def observe_image(tumour, counters, state, options, settings, seen):
    """Show the lattice; dose left and time stand everywhere.

    Args:
        tumour, counters, state, options, settings: Records of the lane, see ``records.py``.
        seen: Record of the observation; written.
    """
    left = _dose_left(state, options)
    time = min(_slot_of(counters) / options.horizon, 1.0)
    external = settings.external
    fields, phase, mode, groups = tumour.fields, tumour.phase, tumour.mode, tumour.clocks
    for site in range(SITES):
        there = phase[site] != VACANT
        resting = there and mode[site] >= AEROBIC_QUIESCENT
        seen.occupied[site] = 1.0 if there else 0.0
        seen.phase[site] = phase[site] / 5.0
        seen.quiescent[site] = 1.0 if resting else 0.0
        seen.damage[site] = min(groups[site].damage / options.total_dose, 1.0)
        glucose = 1.0 + fields[0, site] / external[0]
        oxygen = 1.0 + fields[1, site] / external[1]
        seen.glucose[site] = min(max(glucose, 0.0), 1.0)
        seen.oxygen[site] = min(max(oxygen, 0.0), 1.0)
        seen.dose_left[site] = left
        seen.time[site] = time


def observe_size(tumour, counters, state, options, seed, episode, seen):
    """Show the radius as a microscope gives it, alone and relative to the first one.

    Args:
        tumour, counters, state, options: Records of the lane, see ``records.py``; the first radius
            of the third is written.
        seed, episode: Keys of the error of measurement.
        seen: Record of the observation; written.
    """
    _show_header(counters, state, options, seen)
    error, _ = normal_pair(seed, episode, NOISE_STREAM, int(state.decisions))
    radius = _radius(tumour) * math.exp(options.size_noise * error)
    if state.decisions == 0.0:
        state.first_radius = radius
    seen.radius = min(radius / _MIDDLE, 2.0)
    seen.relative_radius = min(radius / max(state.first_radius, 1.0), 10.0)


_OWN = {"counters": COUNTERS, "state": STATE}
_SEEN_OF = {"tumours": ITEM, **_OWN, "options": Shared(OPTIONS)}

start_lanes, _ = over_lanes(start, **_OWN, doses=ROW, history=ROW, options=Shared(OPTIONS))
decide_lanes, _ = over_active(
    decide,
    actions=ROW,
    **_OWN,
    doses=ROW,
    options=Shared(OPTIONS),
    decisions=DECISION,
    returns=("until",),
)
arrive_lanes, _ = over_active(
    arrive,
    **_OWN,
    doses=ROW,
    options=Shared(OPTIONS),
    decisions=DECISION,
    returns=("until",),
)
reward_lanes, _ = over_active(
    reward,
    **_OWN,
    options=Shared(OPTIONS),
    decisions=DECISION,
    terms=Scored(TERMS),
    costs=Scored(COSTS),
    outcome=Scored(OUTCOME),
    returns=("terminated", "success"),
)
observe_summaries, observe_summaries_parallel = over_lanes(
    observe_summary, **_SEEN_OF, settings=Shared(SETTINGS), samples=SAMPLE, seen=Shown(SUMMARY)
)
observe_images, observe_images_parallel = over_lanes(
    observe_image, **_SEEN_OF, settings=Shared(SETTINGS), seen=Shown(IMAGE)
)
observe_sizes, observe_sizes_parallel = over_lanes(
    observe_size, **_SEEN_OF, seeds=ITEM, episodes=ITEM, seen=Shown(MEASURED)
)


@compiled
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
