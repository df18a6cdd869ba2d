"""Kernels of plan libraries: what each plan does to the voxels of interest under every error."""

import numpy as np
from numba import prange

from oncogym.envs.impt_beam_weighting.influence_kernels import sparse_row
from oncogym.envs.twins import compile_twins


def _plan_doses(
    depths, offsets, sideways, shifts, factors, beam_layers, layer_spots, reach, spot_offset,
    tables, table_step, air, cut, weights, average, out,
):  # fmt: skip
    """Doses of several plans in several scenarios.

    Args:
        depths, offsets: Water depth and lateral position of the voxels without an error
            ``(beams, voxels)`` cm.
        sideways: Lateral unit vectors of the beams ``(beams, 2)``.
        shifts, factors: The scenarios: displacement of the patient ``(scenarios, 2)`` cm and factor
            of all depths ``(scenarios,)``.
        beam_layers, layer_spots, reach, spot_offset, tables, table_step, air, cut: As in
            ``influence_kernels.fill_entries``.
        weights: Plans ``(plans, spots)``.
        average: Write means over the voxels, ``out`` ``(scenarios, plans, 1)``, instead of
            ``(scenarios, plans, voxels)``.
        out: Doses, filled in.
    """
    spots = weights.shape[1]
    plans = weights.shape[0]
    beams, voxels = depths.shape
    for s in prange(shifts.shape[0]):
        data = np.empty(spots)
        indices = np.empty(spots, np.int32)
        moved = np.empty((beams, 1))
        deep = np.empty((beams, 1))
        total = np.zeros(plans)
        for n in range(voxels):
            for b in range(beams):
                aside = sideways[b, 0] * shifts[s, 0] + sideways[b, 1] * shifts[s, 1]
                moved[b, 0] = offsets[b, n] + aside
                deep[b, 0] = depths[b, n]
            end = sparse_row(
                0, deep, moved, beam_layers, layer_spots, reach, spot_offset, tables, table_step,
                air, factors[s], cut, 0, data, indices, True,
            )  # fmt: skip
            for k in range(plans):
                dose = 0.0
                for at in range(end):
                    dose += data[at] * weights[k, indices[at]]
                if average:
                    total[k] += dose
                else:
                    out[s, k, n] = dose
        if average:
            for k in range(plans):
                out[s, k, 0] = total[k] / voxels


plan_doses, plan_doses_parallel = compile_twins(_plan_doses)
