"""Refinement of beam weights step by step: change them, read the doses, score, observe.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files. The
functions here are about one lane; the loops over lanes at the end are made of them.
"""

import math

import numpy as np

from oncogym.envs.impt_beam_weighting.fraction_kernels import percentile
from oncogym.envs.impt_beam_weighting.planning.objective_kernels import evaluate
from oncogym.envs.impt_beam_weighting.records import (
    COSTS,
    ORGAN_DOSE,
    ORGAN_REFINED,
    OUTCOME,
    PLAN_REFINED,
    REFINEMENT,
    REFINEMENT_SETTINGS,
    TARGET_REFINED,
    TERMS,
)
from oncogym.envs.lane_kernels import (
    AS_IS,
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

# Limits beyond it are none.
_NO_LIMIT = 1e300
# An objective counts as at least this much where it divides or has its logarithm taken.
_LEAST = 1e-300
_TARGET, _ORGAN = width_of(TARGET_REFINED), width_of(ORGAN_REFINED)
_PLAN = width_of(PLAN_REFINED)


@inlined
def _evaluate(case, weights, settings, gradient):
    """Objective at the weights; its gradient is written."""
    return evaluate(
        case.entries,
        case.columns,
        case.begins,
        case.tiles,
        case.terms,
        settings.ridge,
        weights,
        gradient,
    )


@inlined
def _dose_of(case, weights):
    """Dose of every voxel ``(voxels,)``."""
    dose = np.empty(case.indptr.shape[0] - 1)
    for row in range(dose.shape[0]):
        total = 0.0
        for k in range(case.indptr[row], case.indptr[row + 1]):
            total += case.data[k] * weights[case.indices[k]]
        dose[row] = total
    return dose


@inlined
def _largest_and_mean(case, part, dose):
    """Largest and mean dose of a part that is not empty."""
    start, end = case.starts[part], case.starts[part + 1]
    largest = 0.0
    total = 0.0
    for at in range(start, end):
        largest = max(largest, dose[case.voxels[at]])
        total += dose[case.voxels[at]]
    return largest, total / (end - start)


@inlined
def _read_target(case, dose, state):
    """Dose-volume numbers of the target."""
    ordered = np.empty(case.starts[1])
    for at in range(ordered.shape[0]):
        ordered[at] = dose[case.voxels[at]]
    ordered = np.sort(ordered)
    state.d98 = percentile(ordered, 0.02)
    state.d95 = percentile(ordered, 0.05)
    state.d50 = percentile(ordered, 0.50)
    state.d2 = percentile(ordered, 0.98)
    _, state.mean = _largest_and_mean(case, 0, dose)


@inlined
def _read_organ(case, organ, dose, state, own, settings):
    """Doses of an organ; what it adds to the sums over all."""
    largest, mean = _largest_and_mean(case, 1 + organ, dose)
    limit = case.limits[organ]
    shown = limit if limit < _NO_LIMIT else settings.prescription
    state.excess += max(largest - limit, 0.0)
    state.peak = max(state.peak, largest / shown)
    state.organ_means += mean
    own.largest = largest / shown
    own.mean = mean / shown


@inlined
def _assess(case, weights, state, organs, settings, gradient):
    """Objective, gradient and dose-volume numbers of a lane's weights."""
    state.value = _evaluate(case, weights, settings, gradient)
    dose = _dose_of(case, weights)
    state.excess = state.peak = state.organ_means = state.normal = 0.0
    if case.starts[1] > 0:
        _read_target(case, dose, state)
    for organ in range(organs.shape[0]):
        if case.starts[organ + 1] < case.starts[organ + 2]:
            _read_organ(case, organ, dose, state, record_at(organs, organ, ORGAN_DOSE), settings)
    rest = organs.shape[0] + 1
    if case.starts[rest] < case.starts[rest + 1]:
        _, state.normal = _largest_and_mean(case, rest, dose)


@inlined
def _show_changes(case, weights, changes):
    """Logarithm of each group's weight over the initial one."""
    for spot in range(weights.shape[0]):
        if case.initial[spot] > 0.0:
            changed = math.log(max(weights[spot], _LEAST) / case.initial[spot])
            changes[case.groups[spot]] = clip(changed, -20.0, 20.0)


@inlined
def _show_organs(organs, seen):
    """Doses of the organs."""
    for organ in range(organs.shape[0]):
        own = record_at(organs, organ, ORGAN_DOSE)  # type: ignore[var-annotated]
        shown = record_at(seen[_ORGAN * organ :], 0, ORGAN_REFINED)
        shown.largest = min(own.largest, 10.0)
        shown.mean = min(own.mean, 10.0)


@inlined
def _show_gradient(case, weights, gradient, value, groups, slopes):
    """Relative change of the objective by relative change of each group's weight."""
    for spot in range(weights.shape[0]):
        share = weights[spot] * gradient[spot] / max(value, _LEAST)
        slopes[case.groups[spot]] += share
    for group in range(groups):
        slopes[group] = clip(slopes[group], -20.0, 20.0)


@inlined
def _show(case, state, weights, organs, settings, gradient, seen):
    """Write an observation; its layout stands on the page."""
    groups, scale = int(settings.groups), settings.prescription
    for at in range(seen.shape[0]):
        seen[at] = 0.0
    seen[0] = state.count / settings.steps
    _show_changes(case, weights, seen[1:])
    at = 1 + groups
    target = record_at(seen[at:], 0, TARGET_REFINED)  # type: ignore[var-annotated]
    target.d95 = min(state.d95 / scale, 10.0)
    target.d98 = min(state.d98 / scale, 10.0)
    target.d50 = min(state.d50 / scale, 10.0)
    target.d2 = min(state.d2 / scale, 10.0)
    at += _TARGET
    _show_organs(organs, seen[at:])
    at += _ORGAN * organs.shape[0]
    plan = record_at(seen[at:], 0, PLAN_REFINED)
    plan.normal = min(state.normal / scale, 10.0)
    plan.value = clip(math.log(max(state.value, _LEAST) / state.start), -20.0, 20.0)
    if settings.show_gradient > 0.0:
        _show_gradient(case, weights, gradient, state.value, groups, seen[at + _PLAN :])


def start(case, state, weights, organs, settings, seen):
    """Start with the initial weights and write the first observation.

    Args:
        case: The planning problem.
        state, settings: Records, see ``records.py``; the first is written.
        weights: Of the spots; written.
        organs: Rows ``ORGAN_DOSE``; written.
        seen: A row of the observation; written.
    """
    for spot in range(weights.shape[0]):
        weights[spot] = case.initial[spot]
    gradient = np.empty(weights.shape[0])
    state.count = state.d95 = state.d98 = state.d50 = state.d2 = state.mean = 0.0
    _assess(case, weights, state, organs, settings, gradient)
    state.start = state.value
    _show(case, state, weights, organs, settings, gradient, seen)


def observe(case, state, weights, organs, settings, seen):
    """Write what a lane shows as it is.

    Args:
        case, state, weights, organs, settings, seen: As of :func:`start`; the last is written.
    """
    gradient = np.zeros(weights.shape[0])
    if settings.show_gradient > 0.0:
        _evaluate(case, weights, settings, gradient)
    _show(case, state, weights, organs, settings, gradient, seen)


@inlined
def factor_of(action, settings):
    """Factor by which an action in [0, 1] multiplies a group's weights."""
    return math.exp((2.0 * action - 1.0) * math.log(settings.factor))


@inlined
def _hot(state, settings):
    """Dose of a hot spot."""
    return max(state.d2 - settings.hot * settings.prescription, 0.0)


@inlined
def _score(terms, costs, state, settings, before):
    """Terms and cost of a refinement; ``before`` are value, hot spot and excess before it."""
    value, hot, excess = before
    terms.coverage = terms.organ_excess = terms.organ_mean = terms.normal_tissue = 0.0
    terms.hot_spot = hot - _hot(state, settings)
    terms.planning = value - state.value
    costs.organ_excess = max(state.excess - excess, 0.0)


@inlined
def _report(outcome, state, organs):
    """What the plan is like."""
    outcome.d95 = state.d95
    outcome.d98 = state.d98
    outcome.d2 = state.d2
    outcome.target_mean = state.mean
    outcome.organ_excess = state.excess
    outcome.organ_peak = 100.0 * state.peak
    outcome.organ_mean = state.organ_means / organs if organs else 0.0
    outcome.normal_mean = state.normal
    outcome.score = state.value


def refine(action, case, state, weights, organs, settings, seen, terms, costs, outcome):
    """Refine the weights, score and observe; whether it was the last, and whether a success.

    Args:
        action: Action of the lane in [0, 1], one number a group.
        case, state, weights, organs, settings, seen: As of :func:`start`; state, weights, organs
            and the observation are written.
        terms, costs, outcome: Records of the results; written.
    """
    before = state.value, _hot(state, settings), state.excess
    gradient = np.empty(weights.shape[0])
    for spot in range(weights.shape[0]):
        weights[spot] *= factor_of(action[case.groups[spot]], settings)
    state.count += 1.0
    _assess(case, weights, state, organs, settings, gradient)
    _score(terms, costs, state, settings, before)
    _report(outcome, state, organs.shape[0])
    _show(case, state, weights, organs, settings, gradient, seen)
    over = state.count >= settings.steps
    covered = state.d95 >= settings.coverage * settings.prescription
    cool = state.d2 <= settings.hot * settings.prescription
    return over, over and covered and cool and state.excess <= 0.0


_OF_LANE = {
    "case": AS_IS,
    "state": REFINEMENT,
    "weights": ROW,
    "organs": ROW,
    "settings": Shared(REFINEMENT_SETTINGS),
}
start_lanes, _ = over_lanes(start, **_OF_LANE, seen=SHOWN_ROW)
observe_lanes, _ = over_lanes(observe, **_OF_LANE, seen=SHOWN_ROW)
refine_lanes, refine_lanes_parallel = over_active(
    refine,
    idle=observe,
    actions=ROW,
    **_OF_LANE,
    seen=ROW,
    terms=Scored(TERMS),
    costs=Scored(COSTS),
    outcome=Scored(OUTCOME),
    returns=("terminated", "success"),
)
