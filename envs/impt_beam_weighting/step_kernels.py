"""Fractions under errors, and refinements of weights, for many lanes.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import numpy as np
from numba import prange

from oncogym.envs.compiled import compiled
from oncogym.envs.streams import normal_pair

# Options of a course of fractions.
(
    FRACTIONS,
    AXES,  # along which the patient can be displaced
    PLANS,
    ORGANS,
    FULL,  # the errors are observed
    MAX_DOSE,  # largest dose of a fraction, as a multiple of the daily dose
    MAX_SHIFT,  # largest couch correction [cm]
    MAX_RANGE,  # largest range correction
    SHIFT_NOISE,  # standard deviation of a measured shift along each axis [cm]
    DOSE_NOISE,  # relative standard deviation of a measured dose
    COVERAGE,  # share of the prescription that D95 must reach for success
    HOT,  # share of the prescription above which D2 is a hot spot
) = range(12)
OPTIONS = 12

# State of a lane beside its accumulated dose.
(
    COUNT,  # fractions given
    DAY,  # three: true displacement of today
    SEEN,  # three: measured displacement of today
    SEEN_SUM,
    COUCH,  # three: the last correction
    DEPTH,  # the last range correction
    GIVEN,  # the last dose multiple
    NORMAL,  # mean dose of normal tissue so far
    D95,
    D98,
    D50,
    D2,
    MEAN,
    LAST_D98,
    LAST_D95,
    LAST_D50,
    LAST_D2,
) = (0, 1, 4, 7, 10, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24)
ORGAN_STATE = 25  # from here: max, mean, last max and last mean of each organ
PER_ORGAN = 4

# Rows of the heads of libraries.
DOSES, NORMALS, VOXELS, STARTS = 0, 1, 2, 3

# Fields of a patient.
ANATOMY, SHIFT, RANGE, RANDOM = 0, 1, 4, 5

RANDOM_STREAM, MEASURED_STREAM, DOSE_STREAM = 20, 21, 22
TERMS, METRICS = 6, 9
COVER, HOT_TERM, ORGAN, ORGAN_MEAN, NORMAL_TERM, PLANNING = range(6)
# Weight of a mean dose beside a missing Gy of coverage in the score.
MEAN_WEIGHT = 0.05


@compiled
def percentile(ordered, share):
    """The value below which ``share`` of the ``ordered`` values lie, linearly interpolated."""
    place = share * (len(ordered) - 1)
    low = int(place)
    if low + 1 >= len(ordered):
        return ordered[-1]
    return ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])


@compiled
def _corner_weights(lattice, axes, error, places, shares):
    """Cell and share along each axis of a lattice; errors beyond it count as its edge."""
    for axis in range(axes):
        low, step, count = lattice[axis, 0], lattice[axis, 1], int(lattice[axis, 2])
        if count == 1:
            places[axis] = 0
            shares[axis] = 0.0
            continue
        place = (error[axis] - low) / step
        place = min(max(place, 0.0), count - 1.0)
        cell = min(int(place), count - 2)
        places[axis] = cell
        shares[axis] = place - cell


@compiled
def _corner(lattice, axes, corner, places, shares):
    """Number of a corner's scenario and its weight."""
    scenario = 0
    weight = 1.0
    for axis in range(axes):
        up = (corner >> axis) & 1
        weight *= shares[axis] if up else 1.0 - shares[axis]
        scenario = scenario * int(lattice[axis, 2]) + places[axis] + up
    return scenario, weight


@compiled
def fraction_dose(head, lattices, doses, normals, plans, axes, error, shares_of, out):
    """Dose of one fraction of a whole course's dose [Gy] in the voxels of interest, into ``out``.

    Args:
        head: Where the library's tables start, see :data:`DOSES`.
        lattices: Fine and coarse lattice ``(2, axes, 3)``.
        doses, normals: Tables of all libraries, flat.
        plans: Number of plans.
        axes: Axes of the lattices.
        error: Residual shifts and range error ``(axes,)``.
        shares_of: Multiple of each plan ``(plans,)``.
        out: ``(voxels,)``, filled in.

    Returns:
        Mean dose of normal tissue [Gy].
    """
    voxels = head[VOXELS]
    places = np.zeros(4, np.int64)
    shares = np.zeros(4)
    out[:voxels] = 0.0
    _corner_weights(lattices[0], axes, error, places, shares)
    for corner in range(1 << axes):
        scenario, weight = _corner(lattices[0], axes, corner, places, shares)
        if weight == 0.0:
            continue
        for plan in range(plans):
            multiple = weight * shares_of[plan]
            if multiple == 0.0:
                continue
            start = head[DOSES] + (scenario * plans + plan) * voxels
            for voxel in range(voxels):
                out[voxel] += multiple * doses[start + voxel]
    normal = 0.0
    _corner_weights(lattices[1], axes, error, places, shares)
    for corner in range(1 << axes):
        scenario, weight = _corner(lattices[1], axes, corner, places, shares)
        if weight == 0.0:
            continue
        for plan in range(plans):
            normal += weight * shares_of[plan] * normals[head[NORMALS] + scenario * plans + plan]
    return normal


@compiled
def _draw_day(state, patient, options, seed, episode):
    """Where the patient lies today, and where imaging sees it."""
    day = int(state[COUNT])
    axes = int(options[AXES])
    for pair in range(2):
        one, two = normal_pair(seed, episode, RANDOM_STREAM, 2 * day + pair)
        first, second = normal_pair(seed, episode, MEASURED_STREAM, 2 * day + pair)
        for side in range(2):
            axis = 2 * pair + side
            if axis >= axes:
                continue
            chance = one if side == 0 else two
            noise = first if side == 0 else second
            true = patient[SHIFT + axis] + patient[RANDOM] * chance
            state[DAY + axis] = true
            state[SEEN + axis] = true + options[SHIFT_NOISE] * noise
            state[SEEN_SUM + axis] += state[SEEN + axis]


@compiled
def _read_organs(head, organs, dose, state, offset):
    """Largest and mean dose of each organ, into its state at ``offset``."""
    for organ in range(organs):
        start, end = head[STARTS + 1 + organ], head[STARTS + 2 + organ]
        largest = 0.0
        total = 0.0
        for voxel in range(start, end):
            largest = max(largest, dose[voxel])
            total += dose[voxel]
        at = ORGAN_STATE + PER_ORGAN * organ + offset
        state[at] = largest
        state[at + 1] = total / (end - start)


@compiled
def _excess(state, organs, limits):
    """Dose [Gy] above the limits of the organs, summed over them."""
    total = 0.0
    for organ in range(organs):
        total += max(state[ORGAN_STATE + PER_ORGAN * organ] - limits[organ], 0.0)
    return total


@compiled
def _organ_means(state, organs):
    total = 0.0
    for organ in range(organs):
        total += state[ORGAN_STATE + PER_ORGAN * organ + 1]
    return total


@compiled
def observe_course(state, patient, options, prescription, limits, seed, episode, out):
    """Write a lane's observation; its layout stands on the page."""
    axes, organs = int(options[AXES]), int(options[ORGANS])
    count, total = state[COUNT], options[FRACTIONS]
    at = 0
    out[at] = count / total
    at += 1
    for axis in range(axes):
        out[at] = min(max(state[SEEN + axis], -5.0), 5.0)
        out[at + axes] = min(max(state[SEEN_SUM + axis] / (count + 1.0), -5.0), 5.0)
        out[at + 2 * axes] = state[COUCH + axis]
        at += 1
    at += 2 * axes
    out[at] = state[DEPTH] * 10.0
    out[at + 1] = state[GIVEN]
    at += 2
    # Doses relative to what the prescription has by now, and a fraction's share of it.
    due = prescription * count / total
    daily = prescription / total
    number = int(count) * 64
    for which in range(8 + PER_ORGAN * organs):
        if which < 4:
            value = state[D95 + which]
            scale = due
        elif which < 8:
            value = state[LAST_D98 + which - 4]
            scale = daily
        else:
            organ, part = (which - 8) // PER_ORGAN, (which - 8) % PER_ORGAN
            value = state[ORGAN_STATE + which - 8]
            limit = limits[organ] if limits[organ] < 1e300 else prescription
            scale = limit * count / total if part < 2 else limit / total
        seen = 0.0
        if count > 0.0:
            noise, _ = normal_pair(seed, episode, DOSE_STREAM, number + which)
            seen = value / scale * (1.0 + options[DOSE_NOISE] * noise)
        out[at] = min(max(seen, 0.0), 10.0)
        at += 1
    if options[FULL] > 0.0:
        for axis in range(axes):
            out[at] = min(max(state[DAY + axis], -5.0), 5.0)
            out[at + axes] = min(max(patient[SHIFT + axis], -5.0), 5.0)
            at += 1
        out[at + axes] = min(max(patient[RANGE] * 10.0, -5.0), 5.0)


@compiled
def observe_courses(lanes, models, patients, options, prescriptions, limits, seeds, episodes, state,
                    out):  # fmt: skip
    """Observations ``(k, size)`` of ``lanes``."""
    for number in range(len(lanes)):
        lane = lanes[number]
        model = models[lane]
        observe_course(state[lane], patients[lane], options, prescriptions[model], limits[model],
                       seeds[lane], episodes[lane], out[number])  # fmt: skip


@compiled
def start_courses(lanes, models, patients, options, prescriptions, limits, seeds, episodes, state,
                  dose, log, out):  # fmt: skip
    """Start courses and write their first observations."""
    for number in range(len(lanes)):
        lane = lanes[number]
        state[lane] = 0.0
        dose[lane] = 0.0
        log[lane] = np.nan
        _draw_day(state[lane], patients[lane], options, seeds[lane], episodes[lane])
        model = models[lane]
        observe_course(state[lane], patients[lane], options, prescriptions[model], limits[model],
                       seeds[lane], episodes[lane], out[number])  # fmt: skip


@compiled
def corrections_of(action, options, couch):
    """Dose multiple and range correction of an action; couch corrections [cm] into ``couch``."""
    axes = int(options[AXES])
    for axis in range(axes):
        couch[axis] = (2.0 * action[1 + axis] - 1.0) * options[MAX_SHIFT]
    depth = (2.0 * action[1 + axes] - 1.0) * options[MAX_RANGE]
    return action[0] * options[MAX_DOSE], depth


@compiled
def shares_of_action(action, options, shares):
    """Share of each plan, summing to 1; without any the first plan has all."""
    axes, plans = int(options[AXES]), int(options[PLANS])
    total = 0.0
    for plan in range(plans):
        shares[plan] = action[2 + axes + plan]
        total += shares[plan]
    if total <= 0.0:
        shares[0] = 1.0
        total = 1.0
    for plan in range(plans):
        shares[plan] /= total


@compiled
def _course_lane(lane, active, actions, options, heads, lattices, doses, normals, models, limits,
                 prescriptions, patients, seeds, episodes, state, dose, log, seen, terms, costs,
                 terminated, truncated, outcome, success):  # fmt: skip
    """One fraction of a lane."""
    axes, plans, organs = int(options[AXES]), int(options[PLANS]), int(options[ORGANS])
    model = models[lane]
    head, own, patient = heads[model], state[lane], patients[lane]
    prescription = prescriptions[model]
    terms[lane, :] = 0.0
    costs[lane, :] = 0.0
    outcome[lane, :] = 0.0
    terminated[lane] = False
    truncated[lane] = False
    success[lane] = False
    if active[lane]:
        voxels, target = head[VOXELS], head[STARTS + 1]
        fraction = np.empty(voxels)
        error = np.zeros(4)
        couch = np.zeros(3)
        shares = np.empty(plans)
        given, depth = corrections_of(actions[lane], options, couch)
        shares_of_action(actions[lane], options, shares)
        for axis in range(axes):
            error[axis] = own[DAY + axis] - couch[axis]
            own[COUCH + axis] = couch[axis]
        error[axes] = (1.0 + patient[RANGE]) / (1.0 + depth) - 1.0
        own[DEPTH] = depth
        own[GIVEN] = given
        part = given / options[FRACTIONS]
        for plan in range(plans):
            shares[plan] *= part
        normal = fraction_dose(head, lattices[model], doses, normals, plans, axes + 1, error,
                               shares, fraction)  # fmt: skip
        count = int(own[COUNT])
        log[lane, count, 0] = part
        for axis in range(axes + 1):
            log[lane, count, 1 + axis] = error[axis]
        for plan in range(plans):
            log[lane, count, 5 + plan] = shares[plan]
        for voxel in range(voxels):
            dose[lane, voxel] += fraction[voxel]
        missing = max(prescription - own[D95], 0.0)
        hot = max(own[D2] - options[HOT] * prescription, 0.0)
        excess = _excess(own, organs, limits[model])
        means = _organ_means(own, organs)
        ordered = np.sort(fraction[:target])
        own[LAST_D98] = percentile(ordered, 0.02)
        own[LAST_D95] = percentile(ordered, 0.05)
        own[LAST_D50] = percentile(ordered, 0.50)
        own[LAST_D2] = percentile(ordered, 0.98)
        ordered = np.sort(dose[lane, :target])
        own[D98] = percentile(ordered, 0.02)
        own[D95] = percentile(ordered, 0.05)
        own[D50] = percentile(ordered, 0.50)
        own[D2] = percentile(ordered, 0.98)
        total = 0.0
        for voxel in range(target):
            total += dose[lane, voxel]
        own[MEAN] = total / target
        _read_organs(head, organs, dose[lane], own, 0)
        _read_organs(head, organs, fraction, own, 2)
        own[NORMAL] += normal
        own[COUNT] += 1.0
        more = _excess(own, organs, limits[model]) - excess
        terms[lane, COVER] = missing - max(prescription - own[D95], 0.0)
        terms[lane, HOT_TERM] = hot - max(own[D2] - options[HOT] * prescription, 0.0)
        terms[lane, ORGAN] = -more
        terms[lane, ORGAN_MEAN] = means - _organ_means(own, organs)
        terms[lane, NORMAL_TERM] = -normal
        costs[lane, 0] = max(more, 0.0)
        terminated[lane] = own[COUNT] >= options[FRACTIONS]
        if not terminated[lane]:
            _draw_day(own, patient, options, seeds[lane], episodes[lane])
        _course_outcome(own, organs, options, prescription, limits[model], outcome[lane])
        success[lane] = (
            terminated[lane]
            and own[D95] >= options[COVERAGE] * prescription
            and own[D2] <= options[HOT] * prescription
            and outcome[lane, 4] <= 0.0
        )
    observe_course(own, patient, options, prescription, limits[model], seeds[lane], episodes[lane],
                   seen[lane])  # fmt: skip


@compiled
def _course_outcome(state, organs, options, prescription, limits, out):
    out[0] = state[D95]
    out[1] = state[D98]
    out[2] = state[D2]
    out[3] = state[MEAN]
    out[4] = _excess(state, organs, limits)
    peak = 0.0
    for organ in range(organs):
        limit = limits[organ] if limits[organ] < 1e300 else prescription
        peak = max(peak, state[ORGAN_STATE + PER_ORGAN * organ] / limit)
    out[5] = 100.0 * peak
    out[6] = _organ_means(state, organs) / organs if organs else 0.0
    out[7] = state[NORMAL]
    out[8] = (
        max(prescription - state[D95], 0.0)
        + max(state[D2] - options[HOT] * prescription, 0.0)
        + out[4]
        + MEAN_WEIGHT * (_organ_means(state, organs) + state[NORMAL])
    )


@compiled
def advance_courses(active, actions, options, heads, lattices, doses, normals, models, limits,
                    prescriptions, patients, seeds, episodes, state, dose, log, seen, terms, costs,
                    terminated, truncated, outcome, success):  # fmt: skip
    """One fraction of every active lane; the others are observed as they are."""
    for lane in range(len(active)):
        _course_lane(lane, active, actions, options, heads, lattices, doses, normals, models,
                     limits, prescriptions, patients, seeds, episodes, state, dose, log, seen,
                     terms, costs, terminated, truncated, outcome, success)  # fmt: skip


@compiled(parallel=True)
def advance_courses_parallel(active, actions, options, heads, lattices, doses, normals, models,
                             limits, prescriptions, patients, seeds, episodes, state, dose, log,
                             seen, terms, costs, terminated, truncated, outcome,
                             success):  # fmt: skip
    """As :func:`advance_courses`, by all threads."""
    for lane in prange(len(active)):
        _course_lane(lane, active, actions, options, heads, lattices, doses, normals, models,
                     limits, prescriptions, patients, seeds, episodes, state, dose, log, seen,
                     terms, costs, terminated, truncated, outcome, success)  # fmt: skip
