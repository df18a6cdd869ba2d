"""The source's own planning model: a Gaussian kernel for 40 beamlets, and its cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.impt_beam_weighting.planning.beams import ANGLES, trace
from oncogym.envs.impt_beam_weighting.planning.influence import DoseInfluence
from oncogym.envs.impt_beam_weighting.planning.objective import Objective, Term
from oncogym.envs.impt_beam_weighting.planning.phantom import Phantom
from oncogym.envs.impt_beam_weighting.planning.phantoms import phantom
from oncogym.envs.impt_beam_weighting.planning.structures import REST

# The entrance bump: height, place as a share of the peak depth, and width in peak widths.
_BUMP = (0.12, 0.3, 2.0)
_DISTAL = 0.05
# Smaller entries change no dose by more than 1e-9 Gy.
_CUT = 1e-12


@dataclass(frozen=True)
class PublishedModel:
    """Settings of the source's model; the defaults reproduce its printed results best.

    The source prints neither its widths nor where exactly the distal factor sets in, and no round
    numbers give its results. These are a fit of three numbers to the four that it prints, see the
    specification of the reproduction (``oncogym reproduce impt``).

    Attributes:
        sigma_depth: Width of the peak along the beam [cm].
        sigma_lateral: Width across the beam [cm].
        ridge: Weight of the squared weights.
        layers: First and last peak depth [cm] and number of layers of each beam.
        cut_sigmas: The distal factor 0.05 holds from so many ``sigma_depth`` behind the peak.
        lateral: Lateral positions of the beamlets of each layer [cm]; the source has one.
        prescription: Dose of the target in the cost [Gy].
        normal_weight: Weight of the penalty on normal tissue.
        corner: Voxels lie at multiples of their spacing instead of half of it beside.
    """

    sigma_depth: float = 0.6957
    sigma_lateral: float = 0.7485
    ridge: float = 0.1013
    layers: tuple[float, float, int] = (15.0, 25.0, 10)
    cut_sigmas: float = 2.0
    lateral: tuple[float, ...] = (0.0,)
    prescription: float = 60.0
    normal_weight: float = 1.0
    corner: bool = True

    def phantom(self) -> Phantom:
        """The source's phantom on this grid."""
        return phantom("published", origin=[0.0, 0.0] if self.corner else [0.25, 0.25])

    def influence(self, anatomy: Phantom | None = None) -> DoseInfluence:
        """Influence ``(6400, 40)`` of the source's beamlets, a group for each."""
        anatomy = anatomy or self.phantom()
        geometry = trace(anatomy, ANGLES, np.array([20.0, 20.0]))
        columns = []
        for depth, off in zip(geometry.depths, geometry.offsets, strict=True):
            for peak in np.linspace(*self.layers):
                along = self.depth_dose(depth, float(peak))
                for place in self.lateral:
                    columns.append(along * np.exp(-0.5 * ((off - place) / self.sigma_lateral) ** 2))
        matrix = np.stack(columns, axis=1)
        matrix[matrix < _CUT] = 0.0
        groups = np.repeat(np.arange(len(columns) // len(self.lateral)), len(self.lateral))
        return DoseInfluence.from_matrix(
            matrix, anatomy.structures, prescription=60.0, groups=groups, shape=anatomy.shape,
            spacing=anatomy.spacing, dtype=np.float64,
        )  # fmt: skip

    def depth_dose(self, depth: NDArray[np.float64], peak: float) -> NDArray[np.float64]:
        """Depth dose of the source's kernel with its peak at ``peak`` [cm]."""
        height, place, width = _BUMP
        wide = width * self.sigma_depth
        dose = np.exp(-0.5 * ((depth - peak) / self.sigma_depth) ** 2)
        dose = dose + height * np.exp(-0.5 * ((depth - place * peak) / wide) ** 2)
        behind = depth > peak + self.cut_sigmas * self.sigma_depth
        return np.asarray(np.where(behind, _DISTAL * dose, dose))

    def objective(self) -> Objective:
        """The source's cost with means over voxels, the only reading that fits what it prints."""
        dose = self.prescription
        terms = [
            Term("PTV", "deviation", dose, 5.0),
            Term("PTV", "underdose", dose, 15.0),
            Term("OAR1", "overdose", 45.0, 3.0),
            Term("OAR2", "overdose", 54.0, 2.0),
        ]
        if self.normal_weight > 0.0:
            terms.append(Term(REST, "overdose", 30.0, self.normal_weight))
        return Objective(tuple(terms), self.ridge)
