"""Kernels of dose influence: water depths by ray tracing, and pencil beams as sparse rows."""

import math

import numpy as np
from numba import prange

from oncogym.envs.compiled import compiled
from oncogym.envs.twins import compile_twins


@compiled
def _trace(x, y, ux, uy, limit, density, x0, y0, dx, dy):
    """Water-equivalent path from the point back along -u; also the geometric length traced.

    ``x0, y0`` are the edges of the grid; tracing ends at its edge or after ``limit`` cm.
    """
    nx, ny = density.shape
    i = int(math.floor((x - x0) / dx))
    j = int(math.floor((y - y0) / dy))
    if i < 0 or j < 0 or i >= nx or j >= ny:
        return 0.0, 0.0
    step_i = -1 if ux > 0.0 else 1
    step_j = -1 if uy > 0.0 else 1
    big = 1e300
    delta_i = dx / abs(ux) if abs(ux) > 1e-12 else big
    delta_j = dy / abs(uy) if abs(uy) > 1e-12 else big
    if delta_i < big:
        edge = x0 + dx * (i if step_i < 0 else i + 1)
        next_i = abs(x - edge) / abs(ux)
    else:
        next_i = big
    if delta_j < big:
        edge = y0 + dy * (j if step_j < 0 else j + 1)
        next_j = abs(y - edge) / abs(uy)
    else:
        next_j = big
    path = 0.0
    at = 0.0
    while True:
        until = min(next_i, next_j)
        if until >= limit:
            return path + density[i, j] * (limit - at), limit
        path += density[i, j] * (until - at)
        at = until
        if next_i <= next_j:
            i += step_i
            next_i += delta_i
        else:
            j += step_j
            next_j += delta_j
        if i < 0 or j < 0 or i >= nx or j >= ny:
            return path, at


def _water_depths(points, directions, density, low, spacing, outside, entrance, depths):
    """Water-equivalent depth of every point on every beam, into ``depths`` ``(beams, points)``.

    Args:
        points: ``(n, 2)`` cm.
        directions: Unit vectors of the beams ``(beams, 2)``.
        density: Stopping power relative to water ``(nx, ny)``; ``outside`` beyond the grid.
        low, spacing: Lower edges of the grid and size of a voxel ``(2,)`` cm.
        entrance: ``(x, y, distance)``: depths count from a plane so far before that point; NaN
            where they count from the edge of the grid. Points before the plane are at negative
            depths in the material ``outside``.
    """
    plane = not math.isnan(entrance[2])
    for n in prange(points.shape[0]):
        for b in range(directions.shape[0]):
            ux, uy = directions[b, 0], directions[b, 1]
            x, y = points[n, 0], points[n, 1]
            limit = 1e300
            if plane:
                limit = entrance[2] + (x - entrance[0]) * ux + (y - entrance[1]) * uy
            if limit <= 0.0:
                depths[b, n] = limit * outside
                continue
            path, length = _trace(
                x, y, ux, uy, limit, density, low[0], low[1], spacing[0], spacing[1]
            )
            if plane:
                path += (limit - length) * outside
            depths[b, n] = path


@compiled(forceinline=True)
def lateral_profile(layer, cell, share, depth, reach, tables, air, cut):
    """Dose of a spot by lateral distance, at a depth: a Gaussian down to ``cut``.

    Args:
        layer: Number of the layer.
        cell, share: Place in its depth dose: the table's cell, and how far towards the next.
        depth: Water depth [cm].
        reach, tables, air, cut: As in :func:`fill_entries`.

    Returns:
        Height, variance [cm^2], and distance at which it falls to ``cut`` [cm]; 0 where it never
        comes up to it.
    """
    dose = tables[layer, cell] * (1.0 - share) + tables[layer, cell + 1] * share
    if dose < cut:
        return 0.0, 0.0, 0.0
    scatter = 0.0294 * reach[layer] ** 0.896 * (depth / reach[layer]) ** 1.5
    variance = air * air + scatter * scatter
    height = dose * air / math.sqrt(variance)
    if height < cut:
        return 0.0, 0.0, 0.0
    return height, variance, math.sqrt(2.0 * variance * math.log(height / cut))


@compiled
def sparse_row(
    n, depths, offsets, beam_layers, layer_spots, reach, spot_offset, tables, table_step, air,
    factor, cut, start, data, indices, fill,
):  # fmt: skip
    """Entries of one voxel, written from ``start`` on if ``fill``; returns where they end."""
    at = start
    for b in range(depths.shape[0]):
        depth = depths[b, n] * factor
        if depth < 0.0:
            continue
        off = offsets[b, n]
        place = depth / table_step
        cell = int(place)
        share = place - cell
        for layer in range(beam_layers[b], beam_layers[b + 1]):
            if cell + 1 >= tables.shape[1]:
                continue
            height, variance, width = lateral_profile(
                layer, cell, share, depth, reach, tables, air, cut
            )
            if height == 0.0:
                continue
            for spot in range(layer_spots[layer], layer_spots[layer + 1]):
                side = off - spot_offset[spot]
                if side > width:
                    continue
                if side < -width:
                    break
                value = height * math.exp(-side * side / (2.0 * variance))
                if value >= cut:
                    if fill:
                        data[at] = value
                        indices[at] = spot
                    at += 1
    return at


def _count_entries(
    depths, offsets, beam_layers, layer_spots, reach, spot_offset, tables, table_step, air, factor,
    cut, counts,
):  # fmt: skip
    """Number of entries of every voxel; arguments as for :func:`fill_entries`."""
    nothing = np.empty(0)
    none = np.empty(0, np.int32)
    for n in prange(depths.shape[1]):
        counts[n] = sparse_row(
            n, depths, offsets, beam_layers, layer_spots, reach, spot_offset, tables, table_step,
            air, factor, cut, 0, nothing, none, False,
        )  # fmt: skip


def _fill_entries(
    depths, offsets, beam_layers, layer_spots, reach, spot_offset, tables, table_step, air, factor,
    cut, indptr, data, indices,
):  # fmt: skip
    """Dose of unit weights in every voxel, as sparse rows.

    Args:
        depths, offsets: Water depth and lateral position of the voxels ``(beams, voxels)`` cm.
        beam_layers: First layer of each beam, and their number ``(beams + 1,)``.
        layer_spots: First spot of each layer, and their number ``(layers + 1,)``.
        reach: Range of each layer ``(layers,)`` cm.
        spot_offset: Lateral position of the spots, ascending within a layer ``(spots,)`` cm.
        tables: Depth dose of the layers ``(layers, n)``, ``table_step`` cm apart.
        air: Lateral standard deviation before the patient [cm].
        factor: Depths are multiplied by this (range error).
        cut: Smaller entries are left out.
        indptr: Where the entries of each voxel start ``(voxels + 1,)``.
        data, indices: The entries and their spots, filled in.
    """
    for n in prange(depths.shape[1]):
        sparse_row(
            n, depths, offsets, beam_layers, layer_spots, reach, spot_offset, tables, table_step,
            air, factor, cut, indptr[n], data, indices, True,
        )  # fmt: skip


water_depths, water_depths_parallel = compile_twins(_water_depths)
count_entries, count_entries_parallel = compile_twins(_count_entries)
fill_entries, fill_entries_parallel = compile_twins(_fill_entries)
