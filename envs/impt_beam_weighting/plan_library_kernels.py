"""Kernels of plan libraries: what each plan does to the voxels of interest under every error."""

import math

import numpy as np
from numba import prange

from oncogym.envs.impt_beam_weighting.planning.influence_kernels import lateral_profile
from oncogym.envs.twins import compile_twins


def _plan_doses(
    depths, offsets, sideways, shifts, factors, beam_layers, layer_spots, reach, spot_offset,
    tables, table_step, air, cut, weights, average, out,
):  # fmt: skip
    """Doses of several plans in all scenarios of a lattice.

    Entries are those of ``influence_kernels.sparse_row``, added in its order. What depth decides
    does not depend on the displacement and is worked out once for all of them.

    Args:
        depths, offsets: Water depth and lateral position of the voxels without an error
            ``(beams, voxels)`` cm.
        sideways: Lateral unit vectors of the beams ``(beams, 2)``.
        shifts: Displacements of the patient ``(shifts, 2)`` cm.
        factors: Factors of all depths ``(factors,)``; each is combined with each displacement.
        beam_layers, layer_spots, reach, spot_offset, tables, table_step, air, cut: As in
            ``influence_kernels.fill_entries``.
        weights: Plans ``(plans, spots)``.
        average: Write means over the voxels, ``out`` ``(shifts, factors, plans, 1)``, instead of
            ``(shifts, factors, plans, voxels)``.
        out: Doses, filled in.
    """
    plans = weights.shape[0]
    beams, voxels = depths.shape
    count = shifts.shape[0]
    for f in prange(factors.shape[0]):
        doses = np.zeros((count, plans))
        total = np.zeros((count, plans))
        for n in range(voxels):
            doses[:] = 0.0
            for b in range(beams):
                depth = depths[b, n] * factors[f]
                if depth < 0.0:
                    continue
                place = depth / table_step
                cell = int(place)
                share = place - cell
                if cell + 1 >= tables.shape[1]:
                    continue
                for layer in range(beam_layers[b], beam_layers[b + 1]):
                    height, variance, width = lateral_profile(
                        layer, cell, share, depth, reach, tables, air, cut
                    )
                    if height == 0.0:
                        continue
                    for s in range(count):
                        aside = sideways[b, 0] * shifts[s, 0] + sideways[b, 1] * shifts[s, 1]
                        off = offsets[b, n] + aside
                        for spot in range(layer_spots[layer], layer_spots[layer + 1]):
                            side = off - spot_offset[spot]
                            if side > width:
                                continue
                            if side < -width:
                                break
                            value = height * math.exp(-side * side / (2.0 * variance))
                            if value >= cut:
                                for k in range(plans):
                                    doses[s, k] += value * weights[k, spot]
            for s in range(count):
                for k in range(plans):
                    if average:
                        total[s, k] += doses[s, k]
                    else:
                        out[s, f, k, n] = doses[s, k]
        if average:
            for s in range(count):
                for k in range(plans):
                    out[s, f, k, 0] = total[s, k] / voxels


plan_doses, plan_doses_parallel = compile_twins(_plan_doses)
