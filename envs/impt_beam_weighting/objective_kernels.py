"""Kernels of planning: one pass over a sparse influence matrix gives objective and gradient.

Rows are grouped into blocks that share their penalties. A penalty of a voxel of dose d is
``low_weight min(d - low, 0)^2 + high_weight max(d - high, 0)^2 + linear d``.
"""

import math

import numpy as np
from numba import njit, prange


@njit(cache=True, inline="always")
def _penalty(dose, terms, first, last):
    """Value and derivative of the penalties ``first`` to ``last`` at a dose."""
    value = 0.0
    slope = 0.0
    for t in range(first, last):
        below = dose - terms[t, 0]
        if below < 0.0:
            value += terms[t, 1] * below * below
            slope += 2.0 * terms[t, 1] * below
        above = dose - terms[t, 2]
        if above > 0.0:
            value += terms[t, 3] * above * above
            slope += 2.0 * terms[t, 3] * above
        value += terms[t, 4] * dose
        slope += terms[t, 4]
    return value, slope


@njit(cache=True, fastmath={"reassoc", "contract"})
def _dot(data, indices, start, end, weights):
    total = 0.0
    for k in range(start, end):
        total += data[k] * weights[indices[k]]
    return total


@njit(cache=True)
def _add_row(data, indices, start, end, slope, gradient):
    for k in range(start, end):
        gradient[indices[k]] += slope * data[k]


@njit(cache=True)
def rows_pass(
    data, indices, indptr, block_rows, block_terms, terms, first_row, last_row, weights, gradient
):
    """Objective of the rows ``first_row`` to ``last_row``; their gradient is added.

    Each row is read once for the dose and, while it lies in the cache, once for the gradient.
    """
    value = 0.0
    for block in range(len(block_rows) - 1):
        start = max(block_rows[block], first_row)
        end = min(block_rows[block + 1], last_row)
        one, two = block_terms[block], block_terms[block + 1]
        for row in range(start, end):
            dose = _dot(data, indices, indptr[row], indptr[row + 1], weights)
            own, slope = _penalty(dose, terms, one, two)
            value += own
            if slope != 0.0:
                _add_row(data, indices, indptr[row], indptr[row + 1], slope, gradient)
    return value


@njit(cache=True, inline="always")
def _ridge(ridge, weights, gradient):
    value = 0.0
    for j in range(len(weights)):
        value += weights[j] * weights[j]
        gradient[j] += 2.0 * ridge * weights[j]
    return ridge * value


@njit(cache=True)
def evaluate(data, indices, indptr, block_rows, block_terms, terms, ridge, weights, gradient):
    """Objective at ``weights``; its gradient replaces ``gradient``. One thread."""
    gradient[:] = 0.0
    value = rows_pass(
        data, indices, indptr, block_rows, block_terms, terms, 0, len(indptr) - 1, weights, gradient
    )
    return value + _ridge(ridge, weights, gradient)


@njit(cache=True, parallel=True)
def evaluate_parallel(
    data, indices, indptr, block_rows, block_terms, terms, ridge, chunk_rows, weights, gradient
):
    """As :func:`evaluate`, by all threads.

    The rows come in fixed chunks whose sums are added in order, so that the result does not depend
    on the number of threads.
    """
    chunks = len(chunk_rows) - 1
    values = np.zeros(chunks)
    parts = np.zeros((chunks, len(weights)))
    for chunk in prange(chunks):
        values[chunk] = rows_pass(
            data, indices, indptr, block_rows, block_terms, terms,
            chunk_rows[chunk], chunk_rows[chunk + 1], weights, parts[chunk],
        )  # fmt: skip
    for j in prange(len(weights)):
        total = 0.0
        for chunk in range(chunks):
            total += parts[chunk, j]
        gradient[j] = total
    return values.sum() + _ridge(ridge, weights, gradient)


@njit(cache=True, parallel=True)
def doses(data, indices, indptr, weights, out):
    """Dose of every voxel for every row of weights, ``(lanes, spots)`` to ``(lanes, voxels)``."""
    for row in prange(len(indptr) - 1):
        for lane in range(len(weights)):
            out[lane, row] = _dot(data, indices, indptr[row], indptr[row + 1], weights[lane])


@njit(cache=True)
def _curvature(data, indices, indptr, block_rows, bounds, direction, out):
    """``out = D^T diag(bounds) D direction``, one bound of the second derivative a block."""
    out[:] = 0.0
    for block in range(len(block_rows) - 1):
        if bounds[block] == 0.0:
            continue
        for row in range(block_rows[block], block_rows[block + 1]):
            dose = _dot(data, indices, indptr[row], indptr[row + 1], direction)
            _add_row(data, indices, indptr[row], indptr[row + 1], bounds[block] * dose, out)


@njit(cache=True)
def lipschitz(data, indices, indptr, block_rows, block_terms, terms, ridge, spots, iterations):
    """Largest curvature of the objective, by power iteration from the vector of ones."""
    blocks = len(block_rows) - 1
    bounds = np.zeros(blocks)
    for block in range(blocks):
        for t in range(block_terms[block], block_terms[block + 1]):
            bounds[block] += 2.0 * max(terms[t, 1], terms[t, 3])
    direction = np.full(spots, 1.0 / math.sqrt(spots))
    out = np.empty(spots)
    largest = 0.0
    for _ in range(iterations):
        _curvature(data, indices, indptr, block_rows, bounds, direction, out)
        largest = math.sqrt((out * out).sum())
        if largest == 0.0:
            break
        direction[:] = out / largest
    return largest + 2.0 * ridge


@njit(cache=True, parallel=True)
def accelerate(
    data, indices, indptr, block_rows, block_terms, terms, ridge, steps, iterations, tolerance,
    weights, values, used,
):  # fmt: skip
    """Projected accelerated gradient with restarts, one problem a lane.

    Args:
        terms: Penalties of each lane ``(lanes, terms, 5)``.
        steps: Step length of each lane ``(lanes,)``: 1 / largest curvature.
        iterations: Largest number of steps.
        tolerance: A lane stops when a step moves no weight by more than this share of the largest.
        weights: Start ``(lanes, spots)``, replaced by the solution.
        values: Objective of each lane at the solution ``(lanes,)``, filled in.
        used: Evaluations of each lane ``(lanes,)``, filled in.
    """
    spots = weights.shape[1]
    rows = len(indptr) - 1
    for lane in prange(len(weights)):
        now = weights[lane].copy()
        ahead = now.copy()
        gradient = np.empty(spots)
        pace = 1.0
        count = 0
        for _ in range(iterations):
            gradient[:] = 0.0
            rows_pass(
                data, indices, indptr, block_rows, block_terms, terms[lane], 0, rows, ahead,
                gradient,
            )  # fmt: skip
            _ridge(ridge, ahead, gradient)
            count += 1
            against = 0.0
            moved = 0.0
            largest = 0.0
            faster = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * pace * pace))
            momentum = (pace - 1.0) / faster
            for j in range(spots):
                new = max(ahead[j] - steps[lane] * gradient[j], 0.0)
                change = new - now[j]
                against += (ahead[j] - new) * change
                moved = max(moved, abs(change))
                largest = max(largest, new)
                gradient[j] = new
            if against > 0.0:
                # The step goes against the momentum: start it afresh from here.
                pace = 1.0
                momentum = 0.0
            else:
                pace = faster
            for j in range(spots):
                ahead[j] = gradient[j] + momentum * (gradient[j] - now[j])
                now[j] = gradient[j]
            if moved <= tolerance * largest:
                break
        values[lane] = rows_pass(
            data, indices, indptr, block_rows, block_terms, terms[lane], 0, rows, now, gradient
        ) + _ridge(ridge, now, gradient)
        used[lane] = count + 1
        weights[lane] = now
