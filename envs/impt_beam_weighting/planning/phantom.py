"""Phantoms: a grid with water-equivalent densities and structures, from code or from a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from oncogym.core.arrays import Floats
from oncogym.envs.impt_beam_weighting.planning import shapes
from oncogym.envs.impt_beam_weighting.planning.archive import (
    Array,
    read_archive,
    reading,
    structures_of,
    write_archive,
)
from oncogym.envs.impt_beam_weighting.planning.checks import real_array, real_number
from oncogym.envs.impt_beam_weighting.planning.errors import (
    EmptyStructureError,
    StructureOutsideGridError,
)
from oncogym.envs.impt_beam_weighting.planning.structures import Structure, StructureSet

_KEYS = {
    "name", "shape", "spacing", "origin", "prescription", "density", "outside", "entrance",
    "regions", "structures",
}  # fmt: skip
_SAVED = ("name", "shape", "spacing", "origin", "prescription", "outside", "entrance")
_REGION_KEYS = {"shape", "density"}
_STRUCTURE_KEYS = {"name", "shape", "role", "limit", "priority"}


@dataclass(frozen=True)
class Phantom:
    """A plane through a patient.

    Args:
        name: Name for tables and figures.
        shape: Voxels along x and y.
        spacing: Distance of voxel centres along x and y [cm].
        origin: Centre of the first voxel [cm].
        structures: The structures, on voxels numbered ``x index * shape[1] + y index``.
        density: Stopping power relative to water, ``(shape)``; 1 everywhere by default.
        prescription: Prescribed dose of the target [Gy], or ``None`` if it is not known: what
            needs one asks for it then.
        outside: Stopping power outside the grid: 0 for air.
        entrance: ``(x, y, distance)``: depths count from the plane that lies ``distance`` [cm]
            before this point on every beam. By default they count from the edge of the grid.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    name: str
    shape: tuple[int, int]
    spacing: tuple[float, float]
    origin: tuple[float, float]
    structures: StructureSet
    density: Floats = field(default_factory=lambda: np.ones(()))
    prescription: float | None = None
    outside: float = 0.0
    entrance: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        shape = _check_grid(self.shape, self.spacing, self.origin)
        if self.prescription is not None:
            given = real_number(self.prescription, "prescription", 0.0, 1e4, "Gy")
            if given <= 0.0:
                raise ValueError(f"prescription is {self.prescription!r}; allowed: above 0 Gy")
        real_number(self.outside, "outside", 0.0, 25.0)
        if self.entrance is not None and real_array(self.entrance, "entrance").shape != (3,):
            raise ValueError(
                f"entrance is {self.entrance!r}; allowed: three finite numbers x, y, distance [cm]"
            )
        given_density = real_array(self.density, "density", finite=False)
        if given_density.shape not in ((), shape):
            raise ValueError(
                f"density has shape {given_density.shape}; allowed: one number or shape {shape}"
            )
        density = np.broadcast_to(given_density, shape).copy()
        if not (np.isfinite(density).all() and density.min() >= 0.0 and density.max() <= 25.0):
            raise ValueError("density is negative, not finite or above 25; allowed: 0 to 25")
        if self.structures.num_voxels != shape[0] * shape[1]:
            raise ValueError(
                f"the structures belong to {self.structures.num_voxels} voxels, the grid has "
                f"{shape[0] * shape[1]}"
            )
        self.structures.check_shape(shape)
        density.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "density", density)

    @property
    def num_voxels(self) -> int:
        """Number of voxels."""
        return self.shape[0] * self.shape[1]

    @property
    def prescribed(self) -> float:
        """The prescribed dose of the target [Gy].

        Raises:
            ValueError: None was given, and none is assumed.
        """
        if self.prescription is None:
            raise ValueError(
                f"phantom {self.name!r} has no prescription, which is needed here; give the "
                "prescribed dose of the target as 'prescription' [Gy]"
            )
        return float(self.prescription)

    @cached_property
    def points(self) -> Floats:
        """Voxel centres ``(num_voxels, 2)`` [cm]."""
        return grid_points(self.shape, self.spacing, self.origin)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, lower and upper edge of the grid [cm], as matplotlib's ``extent``."""
        edges = []
        for axis in range(2):
            low = self.origin[axis] - 0.5 * self.spacing[axis]
            edges += [low, low + self.shape[axis] * self.spacing[axis]]
        return edges[0], edges[1], edges[2], edges[3]

    def map(self, values: object) -> Floats:
        """Values per voxel as an image ``(ny, nx)`` with y upwards (``origin="lower"``)."""
        return np.asarray(values, np.float64).reshape(self.shape).T

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Phantom:
        """A phantom from plain data, see the page for an example.

        Keys: ``name``, ``shape``, ``spacing`` [cm]; optional ``origin`` (half a voxel),
        ``prescription`` [Gy], ``density`` (1), ``regions`` (``shape`` and ``density``, later ones
        on top), ``outside``, ``entrance``; ``structures``: each with ``name``, ``role``, ``shape``
        (see :mod:`oncogym.envs.impt_beam_weighting.planning.shapes`), optional ``limit`` and
        ``priority``.

        Raises:
            StructureOutsideGridError, EmptyStructureError, OverlapError: See their names.
            ValueError: A key is missing or unknown, or a value is out of range.
        """
        _check_keys(document, "the phantom", _KEYS, ("shape", "spacing", "structures"))
        spacing = tuple(real_array(document["spacing"], "spacing").ravel().tolist())
        start = document.get("origin", [0.5 * s for s in spacing])
        origin = tuple(real_array(start, "origin").ravel().tolist())
        shape = _check_grid(document["shape"], spacing, origin)
        points = grid_points(shape, spacing, origin)
        low = np.asarray(origin) - 0.5 * np.asarray(spacing)
        high = low + np.asarray(shape) * np.asarray(spacing)
        water = real_number(document.get("density", 1.0), "density", 0.0, 25.0)
        density = np.full(len(points), water)
        for number, region in enumerate(document.get("regions", [])):
            _check_keys(region, f"region {number}", _REGION_KEYS, ("shape", "density"))
            density[shapes.inside(region["shape"], points)] = real_number(
                region["density"], f"density of region {number}", 0.0, 25.0
            )
        found = []
        for number, one in enumerate(document["structures"]):
            _check_keys(one, f"structure {number}", _STRUCTURE_KEYS, ("name", "shape"))
            lower, upper = shapes.bounds(one["shape"])
            if lower.shape != (2,) or upper.shape != (2,):
                raise ValueError(
                    f"the shape of structure {one['name']!r} has {len(lower)} coordinates; "
                    "allowed: two"
                )
            if (lower < low - 1e-9).any() or (upper > high + 1e-9).any():
                raise StructureOutsideGridError(
                    f"structure {one['name']!r} reaches from {lower.tolist()} to {upper.tolist()} "
                    f"cm; allowed: within the grid, {low.tolist()} to {high.tolist()} cm"
                )
            mask = shapes.inside(one["shape"], points)
            if not mask.any():
                raise EmptyStructureError(
                    f"structure {one['name']!r} holds no voxel centre; allowed: a larger shape or "
                    "a finer grid"
                )
            found.append(
                Structure(one["name"], mask, one.get("role", "oar"), one.get("limit"),
                          one.get("priority"))
            )  # fmt: skip
        entrance = document.get("entrance")
        return cls(
            name=str(document.get("name", "phantom")),
            shape=shape,
            spacing=spacing,  # type: ignore[arg-type]
            origin=origin,  # type: ignore[arg-type]
            structures=StructureSet(found, len(points)),
            density=density.reshape(shape),
            prescription=document.get("prescription"),
            outside=real_number(document.get("outside", 0.0), "outside", 0.0, 25.0),
            entrance=(
                None
                if entrance is None
                else tuple(real_array(entrance, "entrance").ravel().tolist())  # type: ignore[arg-type]
            ),
        )

    @classmethod
    def load(cls, path: str | Path) -> Phantom:
        """Read a phantom from ``.json`` (shapes, :meth:`from_dict`) or ``.npz`` (:meth:`save`).

        Raises:
            PhantomFileError: The file is no phantom; the message names it and what is wrong.
            FileNotFoundError: There is no such file.
        """
        path = Path(path)
        with reading(path, "phantom"):
            if path.suffix.lower() == ".json":
                return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
            about, arrays = read_archive(path, {"density": Array("f", 2)})
            density = arrays["density"]
            _check_keys(about, "the file", {*_SAVED, "structures"}, ("name", "shape", "spacing",
                                                                   "origin"))  # fmt: skip
            known: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in about.items()
                if key != "structures"
            }
            structures = structures_of(about, arrays, density.size, density.shape)
            return cls(structures=structures, density=density, **known)

    def save(self, path: str | Path) -> None:
        """Write the phantom as ``.npz``: density and voxel lists, exactly.

        The file appears under its name only when it is complete.
        """
        about = {key: getattr(self, key) for key in _SAVED}
        write_archive(path, about, self.structures, {"density": self.density})


def _check_grid(
    shape: Sequence[int], spacing: Sequence[float], origin: Sequence[float]
) -> tuple[int, int]:
    """The shape as integers; a ValueError names what is no plane grid."""
    try:
        size = tuple(map(int, shape))
    except (TypeError, ValueError):
        size = ()
    if len(size) != 2 or min(size) < 2 or max(size) > 4096 or size != tuple(shape):
        raise ValueError(f"shape is {shape!r}; allowed: two integers from 2 to 4096")
    if len(spacing) != 2 or not all(0.0 < s < math.inf for s in spacing):
        raise ValueError(f"spacing is {spacing!r}; allowed: two numbers above 0 cm")
    if len(origin) != 2 or not np.isfinite(np.asarray(origin, np.float64)).all():
        raise ValueError(f"origin is {origin!r}; allowed: two finite numbers [cm]")
    return size[0], size[1]


def _check_keys(value: object, what: str, known: set[str], needed: Sequence[str]) -> None:
    """Raise a ValueError that names the first key that is unknown or missing."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is {value!r}; allowed: keys with values")
    unknown = sorted(map(str, set(value) - known))
    if unknown:
        raise ValueError(
            f"{what} has the unknown key {unknown[0]!r}; allowed: {', '.join(sorted(known))}"
        )
    for name in needed:
        if name not in value:
            raise ValueError(f"the key {name!r} of {what} is missing")


def grid_points(shape: Sequence[int], spacing: Sequence[float], origin: Sequence[float]) -> Floats:
    """Voxel centres ``(voxels, axes)`` [cm] in C order.

    Args:
        shape: Voxels along each axis.
        spacing: Size of a voxel along each axis [cm].
        origin: Centre of the first voxel [cm].
    """
    axes = [o + s * np.arange(n) for n, s, o in zip(shape, spacing, origin, strict=True)]
    return np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)
