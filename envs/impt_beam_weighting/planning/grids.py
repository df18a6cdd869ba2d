"""Grids of voxels in space, and structures taken from one to another by position."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.arrays import Floats
from oncogym.envs.impt_beam_weighting.planning.checks import real_array
from oncogym.envs.impt_beam_weighting.planning.errors import PlanImportError

Voxels = NDArray[np.int64]

# Positions on two grids count as equal within this share of the spacing.
_SAME = 1e-3
# Direction cosines come with some six digits.
_ORTHONORMAL = 1e-3
# Positions in units of voxels are rounded to this many digits, so that what lies halfway between
# two voxels does not depend on the last bit.
_DIGITS = 6


@dataclass(frozen=True)
class Grid:
    """A grid of voxels, numbered in C order.

    The voxel with indices (i, j, k) along x, y and z lies at ``origin + direction @ (spacing * (i,
    j, k))``, as in DICOM and ITK.

    Attributes:
        names: Names of the axes, slowest first.
        shape: Voxels along them.
        spacing: Their spacing [mm].
        origin: Position (x, y, z) of the first voxel [mm], or ``None`` if it is not known.
        direction: Directions of the axes x, y and z of the grid in its columns ``(3, 3)``.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: Floats | None = None
    direction: Floats = field(default_factory=lambda: np.eye(3))

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        parts = zip(self.names, self.shape, self.spacing, strict=True)
        found = ", ".join(f"{name}: {n} of {step:g} mm" for name, n, step in parts)
        if self.origin is not None:
            found += f", first voxel at {np.round(self.origin, 3).tolist()} mm"
        if not np.allclose(self.direction, np.eye(3), atol=_ORTHONORMAL):
            found += f", axes along {np.round(self.direction, 4).tolist()}"
        return f"({found})"

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells grids apart."""
        start = None if self.origin is None else self.origin.tobytes()
        return self.names, self.shape, self.spacing, start, self.direction.tobytes()

    @property
    def steps(self) -> Floats:
        """Displacement by one voxel along each axis of :attr:`names`, in columns ``(3, 3)``."""
        order = ["xyz".index(name) for name in self.names]
        return np.asarray(self.direction[:, order] * np.array(self.spacing))

    def fits(self, other: Grid) -> bool:
        """Whether voxels of the same number lie at the same place, as far as is known."""
        if self.names != other.names or self.shape != other.shape:
            return False
        small = _SAME * min(*self.spacing, *other.spacing)
        reach = np.array(self.shape) - 1
        # The far corner of the box in a hair's breadth: not only its first voxel.
        if not np.allclose(self.steps * reach, other.steps * reach, rtol=0.0, atol=small):
            return False
        if not np.allclose(self.spacing, other.spacing, rtol=_SAME, atol=0.0):
            return False
        if self.origin is None or other.origin is None:
            return True
        return bool(np.allclose(self.origin, other.origin, rtol=0.0, atol=small))

    def indices_in(self, other: Grid) -> tuple[Floats, Floats]:
        """Affine map of indices here to continuous indices there: matrix ``(3, 3)`` and offset.

        Both origins must be known.
        """
        assert self.origin is not None
        assert other.origin is not None
        back = other.steps.T / np.square(np.array(other.spacing))[:, None]
        return back @ self.steps, back @ (self.origin - other.origin)

    def moved_to(self, other: Grid, voxels: Voxels) -> Voxels | None:
        """Numbers in ``other`` of the voxels at the same places.

        Returns:
            The numbers, or ``None`` if the voxels of the grids do not coincide or one of
            ``voxels`` lies outside.
        """
        matrix, offset = self.indices_in(other)
        whole = np.rint(matrix)
        signed = np.abs(whole)
        if not (
            np.allclose(matrix, whole, atol=_SAME / max(*self.shape, *other.shape))
            and (signed.sum(axis=0) == 1.0).all()
            and (signed.sum(axis=1) == 1.0).all()
            and np.allclose(offset, np.rint(offset), rtol=0.0, atol=_SAME)
        ):
            return None
        own = np.stack(np.unravel_index(voxels, self.shape))
        place = (whole @ own + np.rint(offset)[:, None]).astype(np.int64)
        if not ((place >= 0) & (place < np.array(other.shape)[:, None])).all():
            return None
        return np.sort(np.ravel_multi_index(tuple(place), other.shape))

    def nearest_in(self, other: Grid) -> Voxels:
        """Number of the voxel of ``other`` nearest to each voxel here; -1 outside its box.

        Halfway between two voxels counts to the one of larger index, as in ITK.
        """
        matrix, offset = self.indices_in(other)
        found = np.empty(self.shape, np.int64)
        rows, columns = np.arange(self.shape[1])[:, None], np.arange(self.shape[2])[None, :]
        for slab in range(self.shape[0]):
            number = np.zeros(self.shape[1:], np.int64)
            inside = np.ones(self.shape[1:], np.bool_)
            for axis, size in enumerate(other.shape):
                a, b, c = matrix[axis]
                place = a * slab + b * rows + c * columns + offset[axis]
                nearest = np.floor(np.round(place, _DIGITS) + 0.5).astype(np.int64)
                inside &= (nearest >= 0) & (nearest < size)
                number = number * size + nearest
            found[slab] = np.where(inside, number, -1)
        return found.ravel()

    def count_outside(self, other: Grid, voxels: Voxels) -> int:
        """How many of ``voxels`` lie outside the box of ``other``."""
        matrix, offset = self.indices_in(other)
        own = np.stack(np.unravel_index(voxels, self.shape))
        place = np.floor(np.round(matrix @ own + offset[:, None], _DIGITS) + 0.5)
        inside = ((place >= 0) & (place < np.array(other.shape)[:, None])).all(axis=0)
        return int((~inside).sum())


def check_size(value: object, where: str) -> tuple[int, ...]:
    """Whole numbers of voxels, at least 1.

    Raises:
        PlanImportError: They are not.
    """
    sizes = real_array(value, where, PlanImportError, finite=False).ravel()
    if not ((sizes >= 1) & (sizes == np.rint(sizes)) & (sizes < 2**31)).all():
        raise PlanImportError(f"{where} are {sizes.tolist()}; allowed: whole numbers of at least 1")
    return tuple(int(size) for size in sizes)


def check_spacing(value: object, where: str) -> tuple[float, ...]:
    """Distances [mm] above 0.

    Raises:
        PlanImportError: They are not.
    """
    steps = real_array(value, where, PlanImportError, finite=False).ravel()
    if not ((steps > 0.0) & (steps < math.inf)).all():
        raise PlanImportError(f"{where} is {steps.tolist()}; allowed: above 0 mm")
    return tuple(float(step) for step in steps)


def check_origin(value: object, where: str) -> Floats:
    """Position (x, y, z) [mm]; further numbers, of a time axis, are left out.

    Raises:
        PlanImportError: It is none.
    """
    found = real_array(value, where, PlanImportError).ravel()
    if found.size not in (3, 4):
        raise PlanImportError(f"{where} has {found.size} values; allowed: 3")
    return found[:3].copy()


def check_direction(value: object, where: str) -> Floats:
    """Direction cosines ``(3, 3)``, axes in columns, from a matrix or its rows one after another.

    Raises:
        PlanImportError: The axes are not of length 1 and at right angles.
    """
    found = real_array(value, where, PlanImportError)
    if found.size not in (9, 16):
        raise PlanImportError(f"{where} has {found.size} values; allowed: 3 x 3")
    side = round(math.sqrt(found.size))
    matrix = found.reshape(side, side)[:3, :3].copy()
    if not np.allclose(matrix.T @ matrix, np.eye(3), rtol=0.0, atol=_ORTHONORMAL):
        raise PlanImportError(
            f"{where} is {matrix.tolist()}; allowed: axes of length 1 at right angles to each other"
        )
    return matrix
