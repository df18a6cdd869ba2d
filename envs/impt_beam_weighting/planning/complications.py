"""Complication probabilities of the organs that a proton dose reaches."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from oncogym.envs.impt_beam_weighting.planning.influence import DoseInfluence
from oncogym.envs.impt_beam_weighting.planning.phantom import Phantom
from oncogym.envs.impt_beam_weighting.planning.structures import StructureSet
from oncogym.envs.impt_beam_weighting.planning.units import GRAY, GRAY_RBE
from oncogym.envs.radiobiology import ORGANS, RBE, eqd2, ntcp


def complications(
    fractions: ArrayLike,
    anatomy: Phantom | DoseInfluence | StructureSet,
    volumes: ArrayLike | None = None,
) -> dict[str, float]:
    """NTCP (Lyman, Kutcher, Burman) of each organ whose parameters the suite has.

    Doses in gray are multiplied by the RBE of protons, 1.1; those in gray (RBE) are taken as they
    are. The equivalent in 2-gray fractions is computed voxel by voxel and fraction by fraction.

    Args:
        fractions: Dose of each fraction ``(fractions, voxels)``, in the unit of the anatomy.
        anatomy: Where the structures are; a structure set's doses count as gray.
        volumes: Volume of each voxel ``(voxels,)`` of uneven grids; equal ones by default.

    Returns:
        Probability by organ, of the organs called as in
        :data:`oncogym.envs.radiobiology.ORGANS` (``brainstem``, ``cord``, ``brain``, ``parotid``).
        Parts of an organ outside the anatomy count as nothing: a phantom's organ is the whole.

    Raises:
        ValueError: The doses have another shape, or one is negative or not finite.
    """
    structures = anatomy if isinstance(anatomy, StructureSet) else anatomy.structures
    unit = anatomy.unit if isinstance(anatomy, DoseInfluence) else GRAY
    doses = np.asarray(fractions, np.float64)
    weight = 1.0 if unit == GRAY_RBE else RBE
    if doses.ndim != 2 or doses.shape[1] != structures.num_voxels:
        raise ValueError(
            f"the fractions have shape {doses.shape}; allowed: (fractions, {structures.num_voxels})"
        )
    weights = None if volumes is None else np.asarray(volumes, np.float64)
    if weights is not None and weights.shape != (structures.num_voxels,):
        raise ValueError(
            f"the volumes have shape {weights.shape}; allowed: ({structures.num_voxels},)"
        )
    found = {}
    for one in structures:
        organ = ORGANS.get(one.name)
        if organ is None or one.role == "target":
            continue
        own = eqd2(weight * doses[:, one.voxels], organ.alpha_beta, axis=0)
        found[one.name] = ntcp(own, organ, None if weights is None else weights[one.voxels])
    return found
