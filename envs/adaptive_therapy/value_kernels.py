"""Value iteration over both clones: what the best doses are worth from every state on.

A kernel file: it imports nothing but numpy, numba, math and other kernel files. A state is a row
and a column of a grid: the column is the ratio R/S, evenly spaced as a logarithm; the row is how
far the burden is below progression, as a logarithm, closest together near progression, where the
best dose changes fastest::

    ln(R/S) = low + spacing column,      ln(N/L) = -depth (row / (rows - 1))^2
"""

import math

import numpy as np
from numba import prange

from oncogym.envs.adaptive_therapy.kernels import hold_doses, make_clocks, make_tumours
from oncogym.envs.adaptive_therapy.records import PROBLEM, TUMOUR, WORTH
from oncogym.envs.compiled import compiled
from oncogym.envs.lane_kernels import inlined, record_at
from oncogym.envs.twins import compile_twins

# Sweeps under the doses found so far between two that look for better ones.
_HELD = 8
# Halvings of the range in which the best dose between two of the grid lies.
_REFINEMENTS = 12
_GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)


@inlined
def _try_dose(tumours, clocks, log_s, log_r, dose, substep, problem, weights):
    tumour = record_at(tumours, 0, TUMOUR)  # type: ignore[call-arg, var-annotated]
    tumour.log_sensitive, tumour.log_resistant = log_s, log_r
    tumour.sensitive_growth = problem.sensitive_growth * (1.0 - problem.kill * dose)
    tumour.resistant_growth, tumour.death = problem.resistant_growth, problem.death
    tumour.start, tumour.limit = problem.start, problem.limit
    at_visits = problem.at_visits > 0.0
    tumour.stop, tumour.watched = np.inf if at_visits else problem.limit, np.inf
    hold_doses(tumours, clocks, 1, problem.interval, substep)
    passed = tumour.progressed > 0.0
    burden = math.exp(tumour.log_sensitive) + math.exp(tumour.log_resistant)
    if at_visits:
        passed = burden > problem.limit
    took, control = tumour.days, tumour.control_days
    worth = weights.control * control + weights.drug * dose * took + weights.days * took
    holiday = dose == 0.0
    if passed or (holiday and burden > problem.start):
        worth += weights.punishment
    if not passed:
        worth += weights.visit + (weights.holiday if holiday else 0.0)
    return tumour.log_sensitive, tumour.log_resistant, passed, worth


@compiled(error_model="numpy")
def try_dose(log_s, log_r, dose, substep, cfg, weights):
    """What one interval under a dose leads to.

    Args:
        log_s, log_r: Logarithms of both clones.
        dose: Fraction of the full dose.
        substep: Longest step of the solver [d].
        cfg: Settings of the problem.
        weights: What counts, and how much.

    Returns:
        Logarithms of both clones, whether the course is over, and the worth of the interval.
    """
    problem, worth_of = record_at(cfg, 0, PROBLEM), record_at(weights, 0, WORTH)  # type: ignore[call-arg, var-annotated]
    return _try_dose(make_tumours(1), make_clocks(), log_s, log_r, dose, substep, problem, worth_of)


@inlined
def locate(log_s, log_r, cfg, rows, columns):
    """Row and column of a state as real numbers, moved to the edge if it is off the grid."""
    problem = record_at(cfg, 0, PROBLEM)  # type: ignore[call-arg, var-annotated]
    share = math.exp(log_r - log_s)
    depth = math.log(problem.limit) - (log_s + math.log1p(share))
    row = (rows - 1) * math.sqrt(min(max(depth, 0.0) / problem.depth, 1.0))
    column = (log_r - log_s - problem.low) / problem.spacing
    return min(row, rows - 1.001), min(max(column, 0.0), columns - 1.001)


@inlined
def between(table, row, column):
    """Bilinear interpolation in a table ``(columns, rows)``."""
    j, i = int(row), int(column)
    y, x = row - j, column - i
    near = (1.0 - y) * table[i, j] + y * table[i, j + 1]
    far = (1.0 - y) * table[i + 1, j] + y * table[i + 1, j + 1]
    return (1.0 - x) * near + x * far


def _tabulate(cfg, weights, doses, rows, places, worth):
    """Where each dose leads from each state, and what the interval is worth.

    Args:
        cfg: Settings of the problem.
        weights: What counts, and how much.
        doses: ``(doses,)``.
        rows: Rows of the grid.
        places: Row and column of the next state ``(columns, rows, doses, 2)``; a row of -1 where
            the course is over.
        worth: ``(columns, rows, doses)``.
    """
    columns = worth.shape[0]
    for i in prange(columns):
        problem = record_at(cfg, 0, PROBLEM)  # type: ignore[call-arg, var-annotated]
        ratio = problem.low + problem.spacing * i
        for j in range(rows):
            burden = math.log(problem.limit) - problem.depth * (j / (rows - 1)) ** 2
            log_s = burden - math.log1p(math.exp(ratio))
            for k in range(len(doses)):
                next_s, next_r, over, found = try_dose(
                    log_s, log_s + ratio, doses[k], problem.substep, cfg, weights
                )
                worth[i, j, k] = found
                if over:
                    places[i, j, k, 0] = -1.0
                else:
                    row, column = locate(next_s, next_r, cfg, rows, columns)
                    places[i, j, k, 0], places[i, j, k, 1] = row, column


tabulate, tabulate_parallel = compile_twins(_tabulate, error_model="numpy")


@compiled(error_model="numpy")
def iterate(places, worth, tolerance, most, values, best):
    """Values of all states under the best doses, by Gauss-Seidel sweeps from high R/S down.

    Args:
        places, worth: Where doses lead and what that is worth, see :func:`tabulate`.
        tolerance: Largest change of a last sweep.
        most: Sweeps in which better doses are looked for, at most.
        values: ``(columns, rows)``, changed.
        best: Number of the best dose ``(columns, rows)``, changed.

    Returns:
        The largest change of the last sweep, and how many sweeps there were.
    """
    columns, rows, doses = worth.shape
    change = np.inf
    sweep = 0
    while change > tolerance and sweep < most:
        change = 0.0
        for i in range(columns - 1, -1, -1):
            for j in range(rows):
                top, chosen = -np.inf, 0
                for k in range(doses):
                    found = np.float64(worth[i, j, k])
                    if places[i, j, k, 0] >= 0.0:
                        found += between(values, places[i, j, k, 0], places[i, j, k, 1])
                    if found > top:
                        top, chosen = found, k
                change = max(change, abs(top - values[i, j]))
                values[i, j], best[i, j] = top, chosen
        for held in range(_HELD):
            for i in range(columns - 1, -1, -1):
                for step in range(rows):
                    j = step if held % 2 else rows - 1 - step
                    k = best[i, j]
                    found = np.float64(worth[i, j, k])
                    if places[i, j, k, 0] >= 0.0:
                        found += between(values, places[i, j, k, 0], places[i, j, k, 1])
                    values[i, j] = found
        sweep += 1
    return change, sweep


@compiled(error_model="numpy")
def look_ahead(log_s, log_r, dose, substep, doses, cfg, weights, values):
    """Worth of a dose now, the best of the grid's next, and what follows by the table."""
    columns, rows = values.shape
    log_s, log_r, over, worth = try_dose(log_s, log_r, dose, substep, cfg, weights)
    if over:
        return worth
    top = -np.inf
    for k in range(len(doses)):
        next_s, next_r, ended, found = try_dose(log_s, log_r, doses[k], substep, cfg, weights)
        if not ended:
            row, column = locate(next_s, next_r, cfg, rows, columns)
            found += between(values, row, column)
        top = max(top, found)
    return worth + top


@compiled(error_model="numpy")
def choose_dose(log_s, log_r, substep, doses, between_doses, cfg, weights, values):
    """The dose with the highest :func:`look_ahead`.

    Args:
        log_s, log_r: Logarithms of both clones.
        substep: Longest step of the solver [d].
        doses: Those of the grid, evenly spaced ``(doses,)``.
        between_doses: Whether doses between them can be given, too.
        cfg, weights: The problem.
        values: Values of all states ``(columns, rows)``.
    """
    top, dose = -np.inf, 0.0
    for k in range(len(doses)):
        found = look_ahead(log_s, log_r, doses[k], substep, doses, cfg, weights, values)
        if found > top:
            top, dose = found, doses[k]
    if not between_doses:
        return dose
    # Golden section around the best one.
    low, high = max(dose - doses[1], 0.0), min(dose + doses[1], 1.0)
    first, second = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    worth_1 = look_ahead(log_s, log_r, first, substep, doses, cfg, weights, values)
    worth_2 = look_ahead(log_s, log_r, second, substep, doses, cfg, weights, values)
    for _ in range(_REFINEMENTS):
        if worth_1 >= worth_2:
            if worth_1 > top:
                top, dose = worth_1, first
            high, second, worth_2 = second, first, worth_1
            first = high - _GOLDEN * (high - low)
            worth_1 = look_ahead(log_s, log_r, first, substep, doses, cfg, weights, values)
        else:
            if worth_2 > top:
                top, dose = worth_2, second
            low, first, worth_1 = first, second, worth_2
            second = low + _GOLDEN * (high - low)
            worth_2 = look_ahead(log_s, log_r, second, substep, doses, cfg, weights, values)
    return dose


@compiled(error_model="numpy")
def play(log_s, log_r, substep, doses, between_doses, cfg, weights, values, given):
    """Follow :func:`choose_dose` in the exact model until the course is over.

    Args:
        log_s, log_r, substep, doses, between_doses, cfg, weights, values: See :func:`choose_dose`.
        given: Doses given ``(decisions,)``, changed.

    Returns:
        The number of decisions, the worth of the course, and whether it ended by itself.
    """
    worth = 0.0
    for step in range(len(given)):
        given[step] = choose_dose(log_s, log_r, substep, doses, between_doses, cfg, weights, values)
        log_s, log_r, over, found = try_dose(log_s, log_r, given[step], substep, cfg, weights)
        worth += found
        if over:
            return step + 1, worth, True
    return len(given), worth, False
