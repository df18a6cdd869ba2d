"""Kernels of planning: one pass over a sparse influence matrix gives objective and gradient.

Rows stand in tiles, see ``tile_kernels``, whose voxels share their penalties. A penalty of a voxel
of dose d is ``low_weight min(d - low, 0)^2 + high_weight max(d - high, 0)^2 + linear d``.
"""

import math

import numpy as np
from numba import prange

from oncogym.envs.compiled import compiled
from oncogym.envs.impt_beam_weighting.planning.tile_kernels import ROWS
from oncogym.envs.twins import compile_twins
from oncogym.envs.unowned import unowned


@compiled(inline="always")
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


@compiled(fastmath={"reassoc", "contract"})
def _dot(data, indices, start, end, weights):
    total = 0.0
    for k in range(start, end):
        total += data[k] * weights[indices[k]]
    return total


@compiled(fastmath={"reassoc", "contract"})
def _four_dots(a, b, c, d, weights):
    """Doses of four rows."""
    one, two, three, four = 0.0, 0.0, 0.0, 0.0
    for k in range(len(weights)):
        weight = weights[k]
        one += a[k] * weight
        two += b[k] * weight
        three += c[k] * weight
        four += d[k] * weight
    return one, two, three, four


@compiled(fastmath={"reassoc", "contract"})
def _add_four(a, b, c, d, one, two, three, four, out):
    """Add four rows times their slopes."""
    for k in range(len(out)):
        out[k] += one * a[k] + two * b[k] + three * c[k] + four * d[k]


@compiled
def tiles_pass(entries, columns, starts, tiles, terms, first, last, weights, gradient, room):
    """Objective of the tiles ``first`` to ``last``; their gradient is added.

    Each tile is read once for the doses and, while it lies in the cache, once for the gradient,
    unless no dose in it has a penalty.

    Args:
        entries, columns, starts: The tiles as ``tile_kernels.fill_tiles`` lays them out.
        tiles: Rows, first and last penalty of each tile ``(tiles, 3)``. A tile without columns may
            have any number of rows, all of dose 0.
        terms: The penalties ``(terms, 5)``.
        first, last: Which tiles.
        weights, gradient: ``(spots,)``.
        room: Work space ``(2, spots)``.
    """
    value = 0.0
    for tile in range(first, last):
        start = starts[tile]
        count = starts[tile + 1] - start
        rows, one, two = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
        if count == 0:
            value += rows * _penalty(0.0, terms, one, two)[0]
            continue
        own = unowned(columns[start : start + count])
        local = unowned(room[0, :count])
        slopes = unowned(room[1, :count])
        for k in range(count):
            local[k] = weights[own[k]]
            slopes[k] = 0.0
        steep = False
        for row in range(0, min(rows, ROWS), 4):
            base = ROWS * start + row * count
            a = unowned(entries[base : base + count])
            b = unowned(entries[base + count : base + 2 * count])
            c = unowned(entries[base + 2 * count : base + 3 * count])
            d = unowned(entries[base + 3 * count : base + 4 * count])
            doses = _four_dots(a, b, c, d, local)
            # Rows that fill up the last tile are no voxels.
            part, s0 = _penalty(doses[0], terms, one, two)
            value += part
            s1, s2, s3 = 0.0, 0.0, 0.0
            if row + 1 < rows:
                part, s1 = _penalty(doses[1], terms, one, two)
                value += part
            if row + 2 < rows:
                part, s2 = _penalty(doses[2], terms, one, two)
                value += part
            if row + 3 < rows:
                part, s3 = _penalty(doses[3], terms, one, two)
                value += part
            if s0 != 0.0 or s1 != 0.0 or s2 != 0.0 or s3 != 0.0:
                _add_four(a, b, c, d, s0, s1, s2, s3, slopes)
                steep = True
        if steep:
            for k in range(count):
                gradient[own[k]] += slopes[k]
    return value


@compiled(inline="always")
def _ridge(ridge, weights, gradient):
    value = 0.0
    for j in range(len(weights)):
        value += weights[j] * weights[j]
        gradient[j] += 2.0 * ridge * weights[j]
    return ridge * value


@compiled
def evaluate(entries, columns, starts, tiles, terms, ridge, weights, gradient):
    """Objective at ``weights``; its gradient replaces ``gradient``. One thread."""
    gradient[:] = 0.0
    room = np.empty((2, len(weights)))
    value = tiles_pass(
        entries, columns, starts, tiles, terms, 0, len(tiles), weights, gradient, room
    )
    return value + _ridge(ridge, weights, gradient)


def _evaluate_chunks(
    entries, columns, starts, tiles, terms, ridge, chunks, weights, gradient
):  # fmt: skip
    """As :func:`evaluate`, chunk by chunk.

    The tiles come in fixed chunks (``chunks``: first tile of each, and their number) whose sums are
    added in order, so that the result does not depend on the number of threads.
    """
    count = len(chunks) - 1
    values = np.zeros(count)
    parts = np.zeros((count, len(weights)))
    for chunk in prange(count):
        room = np.empty((2, len(weights)))
        values[chunk] = tiles_pass(
            entries, columns, starts, tiles, terms, chunks[chunk], chunks[chunk + 1], weights,
            parts[chunk], room,
        )  # fmt: skip
    for j in prange(len(weights)):
        total = 0.0
        for chunk in range(count):
            total += parts[chunk, j]
        gradient[j] = total
    # Not ``values.sum()``, which a parallel function shares out among its threads.
    value = 0.0
    for chunk in range(count):
        value += values[chunk]
    return value + _ridge(ridge, weights, gradient)


def _doses(data, indices, indptr, weights, out):
    """Dose of every voxel for every row of weights, ``(lanes, spots)`` to ``(lanes, voxels)``."""
    for row in prange(len(indptr) - 1):
        for lane in range(len(weights)):
            out[lane, row] = _dot(data, indices, indptr[row], indptr[row + 1], weights[lane])


@compiled(inline="always")
def _bound(terms, first, last):
    """Largest second derivative of the penalties ``first`` to ``last``."""
    found = 0.0
    for t in range(first, last):
        found += 2.0 * max(terms[t, 1], terms[t, 3])
    return found


@compiled
def diagonal(entries, columns, starts, tiles, terms, ridge, out):
    """Largest curvature of the objective along each weight ``(spots,)``, into ``out``."""
    out[:] = 2.0 * ridge
    for tile in range(len(tiles)):
        bound = _bound(terms, tiles[tile, 1], tiles[tile, 2])
        start = starts[tile]
        count = starts[tile + 1] - start
        for row in range(min(tiles[tile, 0], ROWS)):
            base = ROWS * start + row * count
            for k in range(count):
                out[columns[start + k]] += bound * entries[base + k] ** 2


@compiled
def lipschitz(entries, columns, starts, tiles, terms, ridge, spots, iterations):
    """Largest curvature of the objective, by power iteration from the vector of ones."""
    direction = np.full(spots, 1.0 / math.sqrt(spots))
    out = np.empty(spots)
    largest = 0.0
    for _ in range(iterations):
        out[:] = 0.0
        for tile in range(len(tiles)):
            bound = _bound(terms, tiles[tile, 1], tiles[tile, 2])
            start = starts[tile]
            count = starts[tile + 1] - start
            if bound == 0.0 or count == 0:
                continue
            for row in range(min(tiles[tile, 0], ROWS)):
                base = ROWS * start + row * count
                dose = 0.0
                for k in range(count):
                    dose += entries[base + k] * direction[columns[start + k]]
                for k in range(count):
                    out[columns[start + k]] += bound * dose * entries[base + k]
        largest = math.sqrt((out * out).sum())
        if largest == 0.0:
            break
        direction[:] = out / largest
    return largest + 2.0 * ridge


def _accelerate(
    entries, columns, starts, tiles, terms, ridge, steps, iterations, tolerance, weights, values,
    used,
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
    for lane in prange(len(weights)):
        now = weights[lane].copy()
        ahead = now.copy()
        gradient = np.empty(spots)
        room = np.empty((2, spots))
        pace = 1.0
        count = 0
        for _ in range(iterations):
            gradient[:] = 0.0
            tiles_pass(
                entries, columns, starts, tiles, terms[lane], 0, len(tiles), ahead, gradient, room
            )
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
        values[lane] = tiles_pass(
            entries, columns, starts, tiles, terms[lane], 0, len(tiles), now, gradient, room
        ) + _ridge(ridge, now, gradient)
        used[lane] = count + 1
        weights[lane] = now


evaluate_chunks, evaluate_chunks_parallel = compile_twins(_evaluate_chunks)
doses, doses_parallel = compile_twins(_doses)
accelerate, accelerate_parallel = compile_twins(_accelerate)
