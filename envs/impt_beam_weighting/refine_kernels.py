"""Refinement of beam weights step by step, for many lanes.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import math

import numpy as np
from numba import prange

from oncogym.envs.compiled import compiled
from oncogym.envs.impt_beam_weighting.objective_kernels import evaluate
from oncogym.envs.impt_beam_weighting.step_kernels import (
    HOT_TERM,
    PLANNING,
    percentile,
)

# Options of a refinement.
STEPS, GROUPS, SHOW_GRADIENT, FACTOR, COVERAGE, HOT, PRESCRIPTION, RIDGE = range(8)
OPTIONS = 8

# State of a lane beside its weights.
COUNT, VALUE, START, D95, D98, D50, D2, MEAN, NORMAL, EXCESS, PEAK, ORGAN_MEANS = range(12)
STATE = 12


@compiled
def _dose(data, indices, indptr, weights, out):
    for row in range(len(out)):
        total = 0.0
        for k in range(indptr[row], indptr[row + 1]):
            total += data[k] * weights[indices[k]]
        out[row] = total


@compiled
def _assess(matrix, problem, structures, options, weights, state, organ_doses, gradient):
    """Objective, gradient and dose-volume numbers of a lane's weights."""
    data, indices, indptr = matrix
    voxels, starts, limits = structures
    entries, columns, begins, tiles, terms = problem
    state[VALUE] = evaluate(
        entries, columns, begins, tiles, terms, options[RIDGE], weights, gradient
    )
    dose = np.empty(len(indptr) - 1)
    _dose(data, indices, indptr, weights, dose)
    parts = len(starts) - 2  # target and organs; the rest comes last
    state[EXCESS] = 0.0
    state[PEAK] = 0.0
    state[ORGAN_MEANS] = 0.0
    state[NORMAL] = 0.0
    for part in range(parts + 1):
        start, end = starts[part], starts[part + 1]
        if start == end:
            continue
        largest = 0.0
        total = 0.0
        for at in range(start, end):
            largest = max(largest, dose[voxels[at]])
            total += dose[voxels[at]]
        mean = total / (end - start)
        if part == 0:
            ordered = np.empty(end - start)
            for at in range(start, end):
                ordered[at - start] = dose[voxels[at]]
            ordered = np.sort(ordered)
            state[D98] = percentile(ordered, 0.02)
            state[D95] = percentile(ordered, 0.05)
            state[D50] = percentile(ordered, 0.50)
            state[D2] = percentile(ordered, 0.98)
            state[MEAN] = mean
        elif part < parts:
            limit = limits[part - 1]
            shown = limit if limit < 1e300 else options[PRESCRIPTION]
            state[EXCESS] += max(largest - limit, 0.0)
            state[PEAK] = max(state[PEAK], largest / shown)
            state[ORGAN_MEANS] += mean
            organ_doses[part - 1, 0] = largest / shown
            organ_doses[part - 1, 1] = mean / shown
        else:
            state[NORMAL] = mean


@compiled
def _see(options, groups, weights, initial, state, organ_doses, gradient, out):
    """Write an observation; its layout stands on the page."""
    count = int(options[GROUPS])
    scale = options[PRESCRIPTION]
    out[0] = state[COUNT] / options[STEPS]
    out[1:] = 0.0
    for spot in range(len(weights)):
        group = groups[spot]
        if initial[spot] > 0.0:
            changed = math.log(max(weights[spot], 1e-300) / initial[spot])
            out[1 + group] = min(max(changed, -20.0), 20.0)
    at = 1 + count
    for which in range(4):
        out[at] = min(state[D95 + which] / scale, 10.0)
        at += 1
    for organ in range(len(organ_doses)):
        out[at] = min(organ_doses[organ, 0], 10.0)
        out[at + 1] = min(organ_doses[organ, 1], 10.0)
        at += 2
    out[at] = min(state[NORMAL] / scale, 10.0)
    out[at + 1] = min(max(math.log(max(state[VALUE], 1e-300) / state[START]), -20.0), 20.0)
    at += 2
    if options[SHOW_GRADIENT] > 0.0:
        for spot in range(len(weights)):
            share = weights[spot] * gradient[spot] / max(state[VALUE], 1e-300)
            out[at + groups[spot]] += share
        for group in range(count):
            out[at + group] = min(max(out[at + group], -20.0), 20.0)


@compiled
def start_refinements(lanes, matrix, problem, structures, options, groups, initial, weights, state,
                      organ_doses, out):  # fmt: skip
    """Start with the initial weights and write the first observations."""
    gradient = np.empty(len(initial))
    for number in range(len(lanes)):
        lane = lanes[number]
        weights[lane] = initial
        state[lane] = 0.0
        _assess(matrix, problem, structures, options, weights[lane], state[lane],
                organ_doses[lane], gradient)  # fmt: skip
        state[lane, START] = state[lane, VALUE]
        _see(options, groups, weights[lane], initial, state[lane], organ_doses[lane], gradient,
             out[number])  # fmt: skip


@compiled
def observe_refinements(lanes, problem, options, groups, initial, weights, state, organ_doses,
                        out):  # fmt: skip
    """Observations ``(k, size)`` of ``lanes``."""
    entries, columns, begins, tiles, terms = problem
    gradient = np.zeros(len(initial))
    for number in range(len(lanes)):
        lane = lanes[number]
        if options[SHOW_GRADIENT] > 0.0:
            evaluate(entries, columns, begins, tiles, terms, options[RIDGE], weights[lane],
                     gradient)  # fmt: skip
        _see(options, groups, weights[lane], initial, state[lane], organ_doses[lane], gradient,
             out[number])  # fmt: skip


@compiled
def factor_of(action, options):
    """Factor by which an action in [0, 1] multiplies a group's weights."""
    return math.exp((2.0 * action - 1.0) * math.log(options[FACTOR]))


@compiled
def _refine_lane(lane, active, actions, matrix, problem, structures, options, groups, initial,
                 weights, state, organ_doses, seen, terms, costs, terminated, truncated, outcome,
                 success):  # fmt: skip
    """One refinement of a lane."""
    own = state[lane]
    terms[lane, :] = 0.0
    costs[lane, :] = 0.0
    outcome[lane, :] = 0.0
    terminated[lane] = False
    truncated[lane] = False
    success[lane] = False
    gradient = np.empty(len(initial))
    if active[lane]:
        before, excess = own[VALUE], own[EXCESS]
        hot = max(own[D2] - options[HOT] * options[PRESCRIPTION], 0.0)
        for spot in range(len(initial)):
            weights[lane, spot] *= factor_of(actions[lane, groups[spot]], options)
        own[COUNT] += 1.0
    _assess(matrix, problem, structures, options, weights[lane], own, organ_doses[lane], gradient)
    if active[lane]:
        terms[lane, PLANNING] = before - own[VALUE]
        terms[lane, HOT_TERM] = hot - max(own[D2] - options[HOT] * options[PRESCRIPTION], 0.0)
        costs[lane, 0] = max(own[EXCESS] - excess, 0.0)
        terminated[lane] = own[COUNT] >= options[STEPS]
        organs = len(organ_doses[lane])
        outcome[lane, 0] = own[D95]
        outcome[lane, 1] = own[D98]
        outcome[lane, 2] = own[D2]
        outcome[lane, 3] = own[MEAN]
        outcome[lane, 4] = own[EXCESS]
        outcome[lane, 5] = 100.0 * own[PEAK]
        outcome[lane, 6] = own[ORGAN_MEANS] / organs if organs else 0.0
        outcome[lane, 7] = own[NORMAL]
        outcome[lane, 8] = own[VALUE]
        success[lane] = (
            terminated[lane]
            and own[D95] >= options[COVERAGE] * options[PRESCRIPTION]
            and own[D2] <= options[HOT] * options[PRESCRIPTION]
            and own[EXCESS] <= 0.0
        )
    _see(options, groups, weights[lane], initial, own, organ_doses[lane], gradient, seen[lane])


@compiled
def refine(active, actions, matrix, problem, structures, options, groups, initial, weights, state,
           organ_doses, seen, terms, costs, terminated, truncated, outcome, success):  # fmt: skip
    """One refinement of every active lane; the others are observed as they are."""
    for lane in range(len(active)):
        _refine_lane(lane, active, actions, matrix, problem, structures, options, groups, initial,
                     weights, state, organ_doses, seen, terms, costs, terminated, truncated,
                     outcome, success)  # fmt: skip


@compiled(parallel=True)
def refine_parallel(active, actions, matrix, problem, structures, options, groups, initial, weights,
                    state, organ_doses, seen, terms, costs, terminated, truncated, outcome,
                    success):  # fmt: skip
    """As :func:`refine`, by all threads."""
    for lane in prange(len(active)):
        _refine_lane(lane, active, actions, matrix, problem, structures, options, groups, initial,
                     weights, state, organ_doses, seen, terms, costs, terminated, truncated,
                     outcome, success)  # fmt: skip
