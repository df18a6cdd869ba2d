"""Voxels of a structure: numbers or a mask, and never one read as the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.impt_beam_weighting.planning.checks import plain_array
from oncogym.envs.impt_beam_weighting.planning.errors import (
    EmptyStructureError,
    GridMismatchError,
    StructureOutsideGridError,
)

Voxels = NDArray[np.int64]
Shape = tuple[int, ...]


def read_voxels(
    given: Any, name: str, *, first: int = 0, order: Any = "C", whole_floats: bool = False
) -> tuple[Voxels, Shape | None]:
    """Voxel numbers, counted from 0 and ascending, and the shape of the mask if it was one.

    A mask holds truth values, or nothing but the numbers 0 and 1, as image libraries give them; a
    flat one has a value for each voxel. Everything else is a flat list of different integers. What
    is neither is refused, and so are labels other than 0 and 1.

    Args:
        given: Mask or numbers.
        name: Name of the structure, for messages.
        first: Number of the first voxel.
        order: Order in which voxels of a mask are numbered, ``"C"`` or ``"F"``.
        whole_floats: Whether floating-point numbers may be voxel numbers (MATLAB has no others).

    Raises:
        StructureOutsideGridError: A number is below ``first``.
        ValueError: It is neither.
    """
    what = f"the voxels of {name!r}"
    array = plain_array(given, what)
    if not array.size:
        return np.zeros(0, np.int64), None
    binary = array.dtype.kind == "b" or bool(((array == 0) | (array == 1)).all())
    if binary and _is_mask(array, first, whole_floats):
        return np.flatnonzero(array.ravel(order=order)), array.shape
    if array.ndim != 1:
        raise ValueError(
            f"{what} have shape {array.shape} and type {array.dtype}; allowed: a flat list of "
            "different voxel numbers, or a mask of truth values (or 0 and 1) of the grid's shape; "
            "of labels, compare first: labels == 1"
        )
    if array.dtype.kind == "f" and not (whole_floats and (array == np.rint(array)).all()):
        raise ValueError(f"{what} are {array.dtype}; allowed: integers or a mask")
    numbers, counts = np.unique(array, return_counts=True)
    if counts.max() > 1:
        raise ValueError(
            f"{what} name voxel {int(numbers[counts.argmax()])} {int(counts.max())} times; "
            "allowed: different voxel numbers, or a mask of truth values (or 0 and 1)"
        )
    low, high = int(numbers[0]), int(numbers[-1])
    if low < first or high >= 2**62:
        raise StructureOutsideGridError(
            f"structure {name!r} has voxels {low} to {high}; allowed: from {first}"
        )
    return numbers.astype(np.int64) - first, None


def _is_mask(array: NDArray[np.generic], first: int, whole_floats: bool) -> bool:
    """Whether an array of truth values, or of 0 and 1 only, is a mask."""
    if array.dtype.kind == "b" or array.ndim != 1 or len(array) > 2:
        return array.ndim > 0
    if array.dtype.kind == "f" and not whole_floats:
        return True
    # One or two numbers: 0 and 1 may be the first voxels, unless one is there twice.
    distinct = len(np.unique(array)) == len(array)
    return not distinct or (first > 0 and len(array) == 2)


def check_grid(
    name: str, voxels: Voxels, mask: Shape | None, num_voxels: int, shape: Shape | None
) -> None:
    """Raise an error that names the structure unless its voxels belong to the grid.

    Args:
        name: Name of the structure.
        voxels: Voxel numbers from 0.
        mask: Shape of the mask that they came from, if any.
        num_voxels: Number of voxels of the grid.
        shape: Its shape, if known.

    Raises:
        GridMismatchError: The mask has another shape.
        StructureOutsideGridError: A number is beyond the grid.
        EmptyStructureError: There is no voxel.
        ValueError: The voxels are as well a mask as numbers.
    """
    grid = f"the grid has {num_voxels} voxels" + (f" in shape {shape}" if shape else "")
    if mask is not None and (
        math.prod(mask) != num_voxels or (shape and len(mask) > 1 and mask != shape)
    ):
        turned = shape and mask != shape and sorted(mask) == sorted(shape)
        hint = "; are its axes in another order?" if turned else ""
        raise GridMismatchError(
            f"the mask of structure {name!r} has shape {mask}, {math.prod(mask)} values; allowed: "
            f"a mask of the same grid; {grid}{hint}"
        )
    if not voxels.size:
        raise EmptyStructureError(f"structure {name!r} has no voxel")
    if int(voxels[0]) < 0 or int(voxels[-1]) >= num_voxels:
        raise StructureOutsideGridError(
            f"structure {name!r} has voxels {int(voxels[0])} to {int(voxels[-1])}; allowed: 0 to "
            f"{num_voxels - 1}"
        )
    if mask is None and num_voxels == 2 and len(voxels) == 2:
        raise ValueError(
            f"the voxels of {name!r} are 0 and 1 in a grid of two voxels: numbers or a mask? "
            "Allowed here: a mask of truth values"
        )
