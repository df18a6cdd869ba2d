"""One fraction of a course: correct, deliver under errors, read the doses, score, observe.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files. The
functions here are about one lane; the loops over lanes at the end are made of them.
"""

import numpy as np

from oncogym.envs.impt_beam_weighting.records import (
    COSTS,
    COURSE,
    COURSE_SETTINGS,
    DOSES_SEEN,
    FRACTION,
    LIBRARY,
    ORGAN_SEEN,
    OUTCOME,
    PATIENT,
    TERMS,
)
from oncogym.envs.lane_kernels import (
    ITEM,
    ROW,
    SHOWN_ROW,
    WHOLE,
    Chosen,
    Scored,
    Shared,
    clip,
    inlined,
    over_active,
    over_lanes,
    record_at,
)
from oncogym.envs.records import width_of
from oncogym.envs.streams import normal_pair

RANDOM_STREAM, MEASURED_STREAM, DOSE_STREAM = 20, 21, 22
# Weight of a mean dose beside a missing Gy of coverage in the score.
MEAN_WEIGHT = 0.05

# Limits beyond it are none.
_NO_LIMIT = 1e300
# Readings of doses in a fraction at most.
_READINGS = 64
# Places of the plans in the log of a course, and of organs behind what is shown of the target.
_PLANS = width_of(FRACTION)
_TARGET, _ORGAN = width_of(DOSES_SEEN), width_of(ORGAN_SEEN)


@inlined
def percentile(ordered, share):
    """The value below which ``share`` of the ``ordered`` values lie, linearly interpolated."""
    place = share * (len(ordered) - 1)
    low = int(place)
    if low + 1 >= len(ordered):
        return ordered[-1]
    return ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])


@inlined
def _find_cell(low, step, count, error, places, shares):
    """Cell and share along each axis of a lattice; errors beyond it count as its edge."""
    for axis in range(error.shape[0]):
        points = int(count[axis])
        if points == 1:
            places[axis] = 0
            shares[axis] = 0.0
            continue
        place = clip((error[axis] - low[axis]) / step[axis], 0.0, points - 1.0)
        cell = min(int(place), points - 2)
        places[axis] = cell
        shares[axis] = place - cell


@inlined
def _corner(count, axes, corner, places, shares):
    """Number of a corner's scenario and its weight."""
    scenario = 0
    weight = 1.0
    for axis in range(axes):
        up = (corner >> axis) & 1
        weight *= shares[axis] if up else 1.0 - shares[axis]
        scenario = scenario * int(count[axis]) + places[axis] + up
    return scenario, weight


def fraction_dose(library, doses, normals, error, multiples, out):
    """Dose of one fraction in the voxels of interest [Gy]; returns that of normal tissue.

    Args:
        library: Record, see ``records.py``.
        doses, normals: Tables of all libraries, flat.
        error: Residual shifts and range error ``(axes,)``.
        multiples: Of each plan, which is of a whole course ``(plans,)``.
        out: ``(voxels,)``, written.
    """
    axes, plans, voxels = error.shape[0], multiples.shape[0], int(library.voxels)
    places, shares = np.zeros(axes, np.int64), np.zeros(axes)
    for voxel in range(voxels):
        out[voxel] = 0.0
    _find_cell(library.fine_low, library.fine_step, library.fine_count, error, places, shares)
    for corner in range(1 << axes):
        scenario, weight = _corner(library.fine_count, axes, corner, places, shares)
        if weight == 0.0:
            continue
        for plan in range(plans):
            multiple = weight * multiples[plan]
            if multiple == 0.0:
                continue
            start = int(library.doses) + (scenario * plans + plan) * voxels
            for voxel in range(voxels):
                out[voxel] += multiple * doses[start + voxel]
    normal, first = 0.0, int(library.normals)
    _find_cell(library.coarse_low, library.coarse_step, library.coarse_count, error, places, shares)
    for corner in range(1 << axes):
        scenario, weight = _corner(library.coarse_count, axes, corner, places, shares)
        if weight == 0.0:
            continue
        for plan in range(plans):
            normal += weight * multiples[plan] * normals[first + scenario * plans + plan]
    return normal


_deliver = inlined(fraction_dose)


@inlined
def _shift(patient, axis):
    """Systematic displacement along an axis [cm]."""
    if axis == 0:
        return patient.shift_x
    return patient.shift_y if axis == 1 else patient.shift_z


@inlined
def _draw_day(state, patient, seed, episode, settings):
    """Where the patient lies today, and where imaging sees it."""
    day = int(state.count)
    axes = int(settings.axes)
    for pair in range(2):
        one, two = normal_pair(seed, episode, RANDOM_STREAM, 2 * day + pair)
        first, second = normal_pair(seed, episode, MEASURED_STREAM, 2 * day + pair)
        for side in range(2):
            axis = 2 * pair + side
            if axis >= axes:
                continue
            chance = one if side == 0 else two
            noise = first if side == 0 else second
            true = _shift(patient, axis) + patient.random_sd * chance
            state.day[axis] = true
            state.seen[axis] = true + settings.shift_noise * noise
            state.seen_sum[axis] += state.seen[axis]


@inlined
def _correct(action, state, patient, settings, error):
    """Dose multiple and corrections of an action; what they leave of today's errors."""
    axes = int(settings.axes)
    for axis in range(axes):
        state.couch[axis] = (2.0 * action[1 + axis] - 1.0) * settings.max_shift
        error[axis] = state.day[axis] - state.couch[axis]
    state.depth = (2.0 * action[1 + axes] - 1.0) * settings.max_range
    error[axes] = (1.0 + patient.range_error) / (1.0 + state.depth) - 1.0
    state.given = action[0] * settings.max_dose


@inlined
def _share_out(action, part, settings, multiples):
    """Multiple of each plan in a ``part`` of the course; without shares the first plan has all.

    In the middle of the action space the first plan has one share and the others have none.
    """
    axes, plans = int(settings.axes), multiples.shape[0]
    multiples[0] = 2.0 * action[2 + axes]
    total = multiples[0]
    for plan in range(1, plans):
        multiples[plan] = max(2.0 * action[2 + axes + plan] - 1.0, 0.0)
        total += multiples[plan]
    if total <= 0.0:
        multiples[0] = 1.0
        total = 1.0
    for plan in range(plans):
        multiples[plan] /= total
        multiples[plan] *= part


@inlined
def _note(log, number, part, error, multiples):
    """Keep what fraction ``number`` was."""
    entry = record_at(log, number, FRACTION)  # type: ignore[var-annotated]
    entry.part = part
    for axis in range(error.shape[0]):
        entry.error[axis] = error[axis]
    for plan in range(multiples.shape[0]):
        log[number, _PLANS + plan] = multiples[plan]


@inlined
def _read_target(state, library, dose, fraction):
    """Dose-volume numbers of the target, of the last fraction and of all so far."""
    target = int(library.starts[1])
    ordered = np.sort(fraction[:target])
    state.last_d98 = percentile(ordered, 0.02)
    state.last_d95 = percentile(ordered, 0.05)
    state.last_d50 = percentile(ordered, 0.50)
    state.last_d2 = percentile(ordered, 0.98)
    ordered = np.sort(dose[:target])
    state.d98 = percentile(ordered, 0.02)
    state.d95 = percentile(ordered, 0.05)
    state.d50 = percentile(ordered, 0.50)
    state.d2 = percentile(ordered, 0.98)
    total = 0.0
    for voxel in range(target):
        total += dose[voxel]
    state.mean = total / target


@inlined
def _read_organs(library, organs, dose, largest, mean):
    """Largest and mean dose of each organ."""
    for organ in range(organs):
        start, end = int(library.starts[1 + organ]), int(library.starts[2 + organ])
        top = 0.0
        total = 0.0
        for voxel in range(start, end):
            top = max(top, dose[voxel])
            total += dose[voxel]
        largest[organ] = top
        mean[organ] = total / (end - start)


@inlined
def _excess(state, library, organs):
    """Dose [Gy] above the limits of the organs, summed over them."""
    total = 0.0
    for organ in range(organs):
        total += max(state.organ_largest[organ] - library.limits[organ], 0.0)
    return total


@inlined
def _organ_means(state, organs):
    total = 0.0
    for organ in range(organs):
        total += state.organ_mean[organ]
    return total


@inlined
def _limit(library, organ):
    """The limit of an organ [Gy], or the prescription where there is none."""
    limit = library.limits[organ]
    return limit if limit < _NO_LIMIT else library.prescription


@inlined
def _assess(state, library, settings):
    """Dose [Gy] that D95 lacks, of a hot spot, over the organs' limits, and the organs' means."""
    organs = int(settings.organs)
    missing = max(library.prescription - state.d95, 0.0)
    hot = max(state.d2 - settings.hot * library.prescription, 0.0)
    return missing, hot, _excess(state, library, organs), _organ_means(state, organs)


@inlined
def _score(terms, costs, before, after, normal):
    """Terms and cost of a fraction from what :func:`_assess` finds before and after it."""
    more = after[2] - before[2]
    terms.coverage = before[0] - after[0]
    terms.hot_spot = before[1] - after[1]
    terms.organ_excess = -more
    terms.organ_mean = before[3] - after[3]
    terms.normal_tissue = -normal
    terms.planning = 0.0
    costs.organ_excess = max(more, 0.0)


@inlined
def _report(outcome, state, library, settings, after):
    """What became of the patient so far."""
    missing, hot, excess, means = after
    organs = int(settings.organs)
    peak = 0.0
    for organ in range(organs):
        peak = max(peak, state.organ_largest[organ] / _limit(library, organ))
    outcome.d95 = state.d95
    outcome.d98 = state.d98
    outcome.d2 = state.d2
    outcome.target_mean = state.mean
    outcome.organ_excess = excess
    outcome.organ_peak = 100.0 * peak
    outcome.organ_mean = means / organs if organs else 0.0
    outcome.normal_mean = state.normal
    outcome.score = missing + hot + excess + MEAN_WEIGHT * (means + state.normal)


@inlined
def _read(value, scale, which, state, seed, episode, settings):
    """A dose relative to a scale, with the error of reading number ``which`` of a fraction."""
    if state.count == 0.0:
        return 0.0
    number = int(state.count) * _READINGS + which
    noise, _ = normal_pair(seed, episode, DOSE_STREAM, number)
    return clip(value / scale * (1.0 + settings.dose_noise * noise), 0.0, 10.0)


@inlined
def _show_places(state, axes, places):
    """Displacements and couch corrections."""
    for axis in range(axes):
        mean = state.seen_sum[axis] / (state.count + 1.0)
        places[axis] = clip(state.seen[axis], -5.0, 5.0)
        places[axis + axes] = clip(mean, -5.0, 5.0)
        places[axis + 2 * axes] = state.couch[axis]


@inlined
def _show_target(library, state, seed, episode, settings, seen):
    """Range correction, dose multiple, and doses of the target."""
    keys = state, seed, episode, settings
    due = library.prescription * state.count / settings.fractions
    daily = library.prescription / settings.fractions
    seen.range = state.depth * 10.0
    seen.dose = state.given
    seen.d95 = _read(state.d95, due, 0, *keys)
    seen.d98 = _read(state.d98, due, 1, *keys)
    seen.d50 = _read(state.d50, due, 2, *keys)
    seen.d2 = _read(state.d2, due, 3, *keys)
    seen.last_d98 = _read(state.last_d98, daily, 4, *keys)
    seen.last_d95 = _read(state.last_d95, daily, 5, *keys)
    seen.last_d50 = _read(state.last_d50, daily, 6, *keys)
    seen.last_d2 = _read(state.last_d2, daily, 7, *keys)


@inlined
def _show_organ(organ, library, state, seed, episode, settings, seen):
    """Doses of an organ."""
    keys = state, seed, episode, settings
    limit, first = _limit(library, organ), 8 + _ORGAN * organ
    due, daily = limit * state.count / settings.fractions, limit / settings.fractions
    seen.largest = _read(state.organ_largest[organ], due, first, *keys)
    seen.mean = _read(state.organ_mean[organ], due, first + 1, *keys)
    seen.last_largest = _read(state.organ_last_largest[organ], daily, first + 2, *keys)
    seen.last_mean = _read(state.organ_last_mean[organ], daily, first + 3, *keys)


@inlined
def _show_errors(state, patient, axes, errors):
    """What no clinic knows: true displacements, and the systematic errors."""
    for axis in range(axes):
        errors[axis] = clip(state.day[axis], -5.0, 5.0)
        errors[axis + axes] = clip(_shift(patient, axis), -5.0, 5.0)
    errors[2 * axes] = clip(patient.range_error * 10.0, -5.0, 5.0)


def observe(library, state, patient, seed, episode, settings, seen):
    """Write what a lane shows; the layout stands on the page.

    Args:
        library, state, patient, settings: Records, see ``records.py``.
        seed, episode: Keys of the noise.
        seen: A row of the observation; written.
    """
    axes, organs = int(settings.axes), int(settings.organs)
    seen[0] = state.count / settings.fractions
    _show_places(state, axes, seen[1:])
    at = 1 + 3 * axes
    _show_target(library, state, seed, episode, settings, record_at(seen[at:], 0, DOSES_SEEN))
    at += _TARGET
    for organ in range(organs):
        shown = record_at(seen[at:], 0, ORGAN_SEEN)
        _show_organ(organ, library, state, seed, episode, settings, shown)
        at += _ORGAN
    if settings.full > 0.0:
        _show_errors(state, patient, axes, seen[at:])


_show = inlined(observe)


def start(library, state, patient, seed, episode, settings, seen):
    """Start a course, whose state is all zeros, and write its first observation.

    Args:
        library, state, patient, settings: Records, see ``records.py``; the second is written.
        seed, episode: Keys of the noise.
        seen: A row of the observation; written.
    """
    _draw_day(state, patient, seed, episode, settings)
    _show(library, state, patient, seed, episode, settings, seen)


def advance(action, library, doses, normals, state, patient, dose, log, seed, episode, settings,
            seen, terms, costs, outcome):  # fmt: skip
    """Give a fraction, score it and observe; whether it was the last, and whether a success.

    Args:
        action: Action of the lane in [0, 1].
        library, state, patient, settings: Records, see ``records.py``; the second is written.
        doses, normals: Tables of all libraries, flat.
        dose: Accumulated dose of the voxels of interest [Gy]; written.
        log: A ``FRACTION`` and the plans' multiples for each fraction; written.
        seed, episode: Keys of the noise.
        seen: A row of the observation; written.
        terms, costs, outcome: Records of the results; written.
    """
    organs = int(settings.organs)
    fraction = np.empty(int(library.voxels))
    error = np.zeros(int(settings.axes) + 1)
    multiples = np.empty(int(settings.plans))
    _correct(action, state, patient, settings, error)
    part = state.given / settings.fractions
    _share_out(action, part, settings, multiples)
    normal = _deliver(library, doses, normals, error, multiples, fraction)
    _note(log, int(state.count), part, error, multiples)
    for voxel in range(fraction.shape[0]):
        dose[voxel] += fraction[voxel]

    before = _assess(state, library, settings)
    _read_target(state, library, dose, fraction)
    _read_organs(library, organs, dose, state.organ_largest, state.organ_mean)
    _read_organs(library, organs, fraction, state.organ_last_largest, state.organ_last_mean)
    state.normal += normal
    state.count += 1.0
    after = _assess(state, library, settings)
    _score(terms, costs, before, after, normal)
    _report(outcome, state, library, settings, after)

    over = state.count >= settings.fractions
    if not over:
        _draw_day(state, patient, seed, episode, settings)
    _show(library, state, patient, seed, episode, settings, seen)
    covered = state.d95 >= settings.coverage * library.prescription
    cool = state.d2 <= settings.hot * library.prescription
    return over, over and covered and cool and outcome.organ_excess <= 0.0


_OF_LANE = {
    "libraries": Chosen(LIBRARY, "models"),
    "state": COURSE,
    "patients": PATIENT,
    "seeds": ITEM,
    "episodes": ITEM,
    "settings": Shared(COURSE_SETTINGS),
}
start_lanes, _ = over_lanes(start, **_OF_LANE, seen=SHOWN_ROW)
observe_lanes, _ = over_lanes(observe, **_OF_LANE, seen=SHOWN_ROW)
advance_lanes, advance_lanes_parallel = over_active(
    advance,
    idle=observe,
    actions=ROW,
    libraries=Chosen(LIBRARY, "models"),
    doses=WHOLE,
    normals=WHOLE,
    state=COURSE,
    patients=PATIENT,
    dose=ROW,
    log=ROW,
    seeds=ITEM,
    episodes=ITEM,
    settings=Shared(COURSE_SETTINGS),
    seen=ROW,
    terms=Scored(TERMS),
    costs=Scored(COSTS),
    outcome=Scored(OUTCOME),
    returns=("terminated", "success"),
)
#: Doses of fractions by number, without decisions.
deliver_fractions, _ = over_lanes(
    fraction_dose,
    library=Shared(LIBRARY),
    doses=WHOLE,
    normals=WHOLE,
    errors=ROW,
    multiples=ROW,
    out=ROW,
    returns=("normal",),
)
