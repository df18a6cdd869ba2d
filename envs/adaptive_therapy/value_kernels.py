"""Value iteration over both clones: what the best doses are worth from every state on.

A kernel file: it imports nothing but numpy, numba, math and other kernel files. A state is a row
and a column of a grid: the column is the ratio R/S, evenly spaced as a logarithm; the row is how
far the burden is below progression, as a logarithm, closest together near progression, where the
best dose changes fastest::

    ln(R/S) = low + spacing column,      ln(N/L) = -depth (row / (rows - 1))^2
"""

import math

import numpy as np
from numba import njit, prange

from oncogym.envs.adaptive_therapy.kernels import hold_dose
from oncogym.envs.twins import compile_twins

# Columns of the settings of a problem (one float64 vector).
(
    SENSITIVE_GROWTH, RESISTANT_GROWTH, DEATH, KILL, START, LIMIT, INTERVAL, SUBSTEP, AT_VISITS,
    DEPTH, LOW, SPACING,
) = range(12)  # fmt: skip
SETTINGS = 12

# What an interval is valued by (one float64 vector of weights).
CONTROL, DRUG, DAYS, VISIT, HOLIDAY, PUNISHMENT = range(6)
WEIGHTS = 6

# Sweeps under the doses found so far between two that look for better ones.
_HELD = 8
# Halvings of the range in which the best dose between two of the grid lies.
_REFINEMENTS = 12
_GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)


@njit(cache=True, error_model="numpy")
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
    kill = cfg[SENSITIVE_GROWTH] * (1.0 - cfg[KILL] * dose)
    limit, start = cfg[LIMIT], cfg[START]
    at_visits = cfg[AT_VISITS] > 0.0
    log_s, log_r, took, _, control, _, _, passed = hold_dose(
        log_s, log_r, kill, cfg[RESISTANT_GROWTH], cfg[DEATH], cfg[INTERVAL], substep, start,
        limit, np.inf if at_visits else limit,
    )  # fmt: skip
    burden = math.exp(log_s) + math.exp(log_r)
    if at_visits:
        passed = burden > limit
    worth = weights[CONTROL] * control + weights[DRUG] * dose * took + weights[DAYS] * took
    holiday = dose == 0.0
    if passed or (holiday and burden > start):
        worth += weights[PUNISHMENT]
    if not passed:
        worth += weights[VISIT] + (weights[HOLIDAY] if holiday else 0.0)
    return log_s, log_r, passed, worth


@njit(cache=True, error_model="numpy", forceinline=True)
def locate(log_s, log_r, cfg, rows, columns):
    """Row and column of a state as real numbers, moved to the edge if it is off the grid."""
    share = math.exp(log_r - log_s)
    depth = math.log(cfg[LIMIT]) - (log_s + math.log1p(share))
    row = (rows - 1) * math.sqrt(min(max(depth, 0.0) / cfg[DEPTH], 1.0))
    column = (log_r - log_s - cfg[LOW]) / cfg[SPACING]
    return min(row, rows - 1.001), min(max(column, 0.0), columns - 1.001)


@njit(cache=True, error_model="numpy", forceinline=True)
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
        ratio = cfg[LOW] + cfg[SPACING] * i
        for j in range(rows):
            burden = math.log(cfg[LIMIT]) - cfg[DEPTH] * (j / (rows - 1)) ** 2
            log_s = burden - math.log1p(math.exp(ratio))
            for k in range(len(doses)):
                next_s, next_r, over, found = try_dose(
                    log_s, log_s + ratio, doses[k], cfg[SUBSTEP], cfg, weights
                )
                worth[i, j, k] = found
                if over:
                    places[i, j, k, 0] = -1.0
                else:
                    row, column = locate(next_s, next_r, cfg, rows, columns)
                    places[i, j, k, 0], places[i, j, k, 1] = row, column


tabulate, tabulate_parallel = compile_twins(_tabulate, error_model="numpy")


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
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
