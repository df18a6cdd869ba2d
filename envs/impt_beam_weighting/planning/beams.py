"""Pencil beams: directions, energy layers and lateral spot positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oncogym.core.arrays import Floats, Ints
from oncogym.envs.impt_beam_weighting.planning import bragg, influence_kernels
from oncogym.envs.impt_beam_weighting.planning.checks import plain_array, real_array, real_number
from oncogym.envs.impt_beam_weighting.planning.errors import BeamMissesTargetError
from oncogym.envs.impt_beam_weighting.planning.phantom import Phantom
from oncogym.envs.threads import choose

#: Angles of the source [degrees].
ANGLES = (0.0, 45.0, 90.0, 135.0)
# Largest distance of a spot from the axis of its beam [cm].
_FIELD = 20.0
# A layer still touches the target on a line when it ends so far beyond the margins [cm of water].
_TOUCH = 0.3


def directions(angles: Sequence[float] | Floats) -> Floats:
    """Unit vectors ``(beams, 2)`` of beams at ``angles`` [degrees].

    The direction is (cos, -sin), so 90 degrees enters from large y: with it, the doses of the
    source's organs at risk come out as printed.
    """
    radians = np.deg2rad(np.asarray(angles, np.float64))
    return np.stack([np.cos(radians), -np.sin(radians)], axis=1)


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of a phantom lie on the beams.

    Attributes:
        depths: Water-equivalent depth ``(beams, voxels)`` [cm].
        offsets: Lateral position ``(beams, voxels)`` [cm], relative to the isocentre.
    """

    depths: Floats
    offsets: Floats


def trace(phantom: Phantom, angles: Sequence[float] | Floats, isocentre: Floats) -> Geometry:
    """Ray tracing of parallel beams through a phantom, exact for its voxels.

    Args:
        phantom: Grid and densities.
        angles: Gantry angles, one a beam.
        isocentre: Where the beams meet [cm].
    """
    units = directions(angles)
    points = phantom.points
    depths = np.empty((len(units), len(points)))
    spacing = np.asarray(phantom.spacing)
    choose(influence_kernels.water_depths, influence_kernels.water_depths_parallel)(
        points, units, phantom.density, np.asarray(phantom.origin) - 0.5 * spacing, spacing,
        float(phantom.outside), np.asarray(phantom.entrance or (0.0, 0.0, np.nan)), depths,
    )  # fmt: skip
    return Geometry(depths, lateral(points, units, isocentre))


def lateral(points: Floats, units: Floats, isocentre: Floats) -> Floats:
    """Lateral positions ``(beams, points)`` [cm]; positive to the left of the direction.

    Args:
        points: Positions ``(points, axes)`` [cm].
        units: Directions of the beams ``(beams, axes)``, of length 1.
        isocentre: Where the beams meet [cm].
    """
    relative = points - np.asarray(isocentre, np.float64)
    return np.asarray(units[:, :1] * relative[None, :, 1] - units[:, 1:] * relative[None, :, 0])


@dataclass(frozen=True)
class BeamSet:
    """All pencil beams of a plan, ordered by beam, layer and lateral position.

    Attributes:
        angles: Angle of each beam ``(beams,)`` [degrees].
        isocentre: The point through which the axes of all beams go ``(2,)`` [cm].
        beam_layers: First layer of each beam, and their number ``(beams + 1,)``.
        layer_spots: First spot of each layer, and their number ``(layers + 1,)``.
        reach: Range in water of each layer ``(layers,)`` [cm].
        spot_offset: Lateral position of each spot ``(spots,)`` [cm].
        air_sigma: Lateral standard deviation of a pencil beam before the patient [cm].

    Raises:
        ValueError: The arrays do not fit together, or a value is not finite or out of range.
    """

    angles: Floats
    isocentre: Floats
    beam_layers: Ints
    layer_spots: Ints
    reach: Floats
    spot_offset: Floats
    air_sigma: float = 0.4

    def __post_init__(self) -> None:
        # Kernels trust these arrays and would read beyond their ends.
        for name, axes in (("angles", 1), ("isocentre", 1), ("reach", 1), ("spot_offset", 1)):
            values = real_array(getattr(self, name), name)
            if values.ndim != axes or not values.size:
                raise ValueError(f"{name} has shape {values.shape}; allowed: a flat array")
            object.__setattr__(self, name, values)
        if self.isocentre.shape != (2,):
            raise ValueError(f"isocentre is {self.isocentre!r}; allowed: two numbers [cm]")
        for name, starts, count in (
            ("beam_layers", len(self.angles), len(self.reach)),
            ("layer_spots", len(self.reach), len(self.spot_offset)),
        ):
            numbers = plain_array(getattr(self, name), name, "iu")
            if (
                numbers.shape != (starts + 1,)
                or numbers[0] != 0
                or numbers[-1] != count
                or (np.diff(numbers) < 0).any()
            ):
                raise ValueError(
                    f"{name} is {numbers.tolist()}; allowed: {starts + 1} integers that rise from "
                    f"0 to {count}"
                )
            object.__setattr__(self, name, numbers.astype(np.int64, copy=False))
        if self.reach.min() <= 0.0:
            raise ValueError(f"the smallest reach is {self.reach.min():g}; allowed: above 0 cm")
        real_number(self.air_sigma, "air_sigma", 0.01, 5.0, "cm")

    @property
    def num_spots(self) -> int:
        """Number of spots, the length of a weight vector."""
        return len(self.spot_offset)

    @property
    def energy(self) -> Floats:
        """Energy of each layer ``(layers,)`` [MeV]."""
        return bragg.energy_of(self.reach)

    @property
    def spot_layer(self) -> Ints:
        """Layer of each spot ``(spots,)``; layers are numbered through all beams."""
        return np.repeat(np.arange(len(self.reach)), np.diff(self.layer_spots))

    @property
    def spot_beam(self) -> Ints:
        """Beam of each spot ``(spots,)``."""
        layer_beam = np.repeat(np.arange(len(self.angles)), np.diff(self.beam_layers))
        return layer_beam[self.spot_layer]

    @classmethod
    def for_target(
        cls,
        phantom: Phantom,
        angles: Sequence[float] = ANGLES,
        *,
        layers: int = 10,
        spacing: float = 0.7,
        margin: float = 1.0,
        proximal: float = 0.3,
        distal: float = 0.6,
        air_sigma: float = 0.4,
        energies: Sequence[float] | None = None,
        isocentre: Sequence[float] | None = None,
    ) -> BeamSet:
        """Spots that cover the target of a phantom from every angle.

        A spot is kept if its range lies within the depths of the target near its line, ``margin``
        to either side, from ``proximal`` before it to ``distal`` behind, and 0.3 cm more.

        Args:
            phantom: The phantom.
            angles: Beam angles [degrees].
            layers: Energy layers of each beam, equally spaced in range.
            spacing: Distance of spots across the beam [cm].
            margin: Spots reach so far beyond the target [cm].
            proximal, distal: Layers reach so far before and behind the target [cm of water].
            air_sigma: Standard deviation of a pencil beam before the patient, 0.3 to 0.5 usually.
            energies: Energies [MeV] of all beams, instead of ``layers``.
            isocentre: By default the centre of the target's voxels [cm].

        Raises:
            BeamMissesTargetError: A beam has no spot that reaches the target.
            ValueError: A value is out of range.
        """
        _check(layers, spacing, margin, proximal, distal, air_sigma, angles)
        points = phantom.points[phantom.structures[phantom.structures.target].voxels]
        centre = points.mean(axis=0) if isocentre is None else np.asarray(isocentre, np.float64)
        if centre.shape != (2,) or not np.isfinite(centre).all():
            raise ValueError(f"isocentre is {isocentre!r}; allowed: two finite numbers [cm]")
        geometry = trace(phantom, angles, centre)
        target = phantom.structures[phantom.structures.target].voxels
        beam_layers, layer_spots = [0], [0]
        reach: list[float] = []
        offsets: list[float] = []
        for beam, angle in enumerate(angles):
            depth, off = geometry.depths[beam, target], geometry.offsets[beam, target]
            if energies is None:
                wanted = np.linspace(depth.min() - proximal, depth.max() + distal, layers)
            else:
                wanted = np.sort(bragg.range_of(np.asarray(energies, np.float64)))
            ends = off.min() - margin, off.max() + margin
            places = spacing * np.arange(math.ceil(ends[0] / spacing - 1e-9),
                                         math.floor(ends[1] / spacing + 1e-9) + 1)  # fmt: skip
            places = places[np.abs(places) <= _FIELD]
            near = np.abs(off[None, :] - places[:, None]) <= margin
            known = near.any(axis=1)
            first = np.where(near, depth, np.inf).min(axis=1) - proximal - _TOUCH
            last = np.where(near, depth, -np.inf).max(axis=1) + distal + _TOUCH
            before = len(offsets)
            for end in wanted:
                kept = places[known & (first <= end) & (end <= last)]
                if len(kept) and end > 0.0:
                    bragg.energy_of(end)
                    reach.append(float(end))
                    offsets += kept.tolist()
                    layer_spots.append(len(offsets))
            if len(offsets) == before:
                raise BeamMissesTargetError(
                    f"the beam at {angle:g} degrees through {centre.tolist()} cm has no spot that "
                    f"reaches the target, which lies {ends[0] + margin:.3g} to "
                    f"{ends[1] - margin:.3g} cm beside its axis (allowed: within {_FIELD:g} cm) at "
                    f"{depth.min():.3g} to {depth.max():.3g} cm of water (ranges: "
                    f"{wanted.min():.3g} to {wanted.max():.3g} cm)"
                )
            beam_layers.append(len(reach))
        return cls(
            np.asarray(angles, np.float64), centre, np.asarray(beam_layers),
            np.asarray(layer_spots), np.asarray(reach), np.asarray(offsets), float(air_sigma),
        )  # fmt: skip


def _check(
    layers: int,
    spacing: float,
    margin: float,
    proximal: float,
    distal: float,
    air_sigma: float,
    angles: Sequence[float],
) -> None:
    if int(layers) != layers or not 1 <= layers <= 1000:
        raise ValueError(f"layers is {layers!r}; allowed: an integer from 1 to 1000")
    for name, value, low, high in (
        ("spacing", spacing, 0.01, 10.0),
        ("margin", margin, 0.0, 20.0),
        ("proximal", proximal, 0.0, 20.0),
        ("distal", distal, 0.0, 20.0),
        ("air_sigma", air_sigma, 0.01, 5.0),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} is {value!r}; allowed: {low:g} to {high:g} cm")
    if not len(angles) or not np.isfinite(np.asarray(angles, np.float64)).all():
        raise ValueError(f"angles are {angles!r}; allowed: one or more finite numbers [degrees]")
