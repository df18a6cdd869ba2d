"""Dose influence from other planning systems: matRad files and pyRadPlan objects.

Both systems keep a sparse matrix of voxels by spots on a grid for doses, and structures on the grid
of the CT. Numbering of the voxels:

- matRad's cubes are indexed (y, x, z), first axis fastest, from 1. That is C order over (z, x, y),
  from 0, so rows stay where they are, and ``shape`` and ``spacing`` are in the order z, x, y.
- pyRadPlan's matrices are in C order over (z, y, x).

Layouts: matRad's documentation of ``dij`` and ``cst``, and pyRadPlan's public classes ``Dij``,
``Grid``, ``VOI`` and ``StructureSet``, version 0.5. Neither system is needed to run this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.io import loadmat
from scipy.sparse import issparse

from oncogym.core.errors import nearest
from oncogym.envs.impt_beam_weighting.errors import (
    EmptyStructureError,
    GridMismatchError,
    PlanImportError,
    StructureOutsideGridError,
)
from oncogym.envs.impt_beam_weighting.influence import DoseInfluence
from oncogym.envs.impt_beam_weighting.structures import Structure

Voxels = NDArray[np.int64]
Floats = NDArray[np.float64]

# Names of the outline of the patient, which is an organ like any other in matRad.
_BODY = ("body", "external", "skin")
# Types of structures that planning leaves out.
_LEFT_OUT = ("IGNORED",)
# Coordinates of two grids count as equal within this share of their spacing.
_SAME = 1e-3


@dataclass(frozen=True)
class _Grid:
    """A grid in C order.

    Attributes:
        names: Names of the axes, slowest first.
        shape: Voxels along them.
        spacing: Their spacing [mm].
        axes: Coordinates of the voxels along them [mm], if they are known.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    axes: tuple[Floats, ...] | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __str__(self) -> str:
        parts = zip(self.names, self.shape, self.spacing, strict=True)
        found = ", ".join(f"{name}: {n} of {step:g} mm" for name, n, step in parts)
        if self.axes is not None:
            found += f", first voxel at {[round(float(one[0]), 3) for one in self.axes]} mm"
        return f"({found})"

    def fits(self, other: _Grid) -> bool:
        if self.shape != other.shape:
            return False
        if not np.allclose(self.spacing, other.spacing, rtol=_SAME, atol=0.0):
            return False
        if self.axes is None or other.axes is None:
            return True
        return all(
            bool(np.allclose(one, two, rtol=0.0, atol=_SAME * step))
            for one, two, step in zip(self.axes, other.axes, self.spacing, strict=True)
        )


@dataclass(frozen=True)
class _Contour:
    """A structure of another system; its voxels are counted from 0 in C order of ``grid``."""

    name: str
    kind: str
    voxels: Voxels
    priority: float
    grid: _Grid


def from_matrad(
    path: str | Path,
    *,
    cst: str | Path | None = None,
    target: str | None = None,
    structures: Sequence[str] | None = None,
    limits: dict[str, float] | None = None,
    body: str | None = None,
    prescription: float = 60.0,
    scenario: int = 0,
    groups: ArrayLike | None = None,
    resample: bool = False,
    dtype: Any = np.float32,
) -> DoseInfluence:
    """The influence matrix of a matRad file, written by ``save('case.mat', 'dij', 'cst', '-v7')``.

    Rows stay as they are: matRad's column-major order over (y, x, z) is C order over (z, x, y),
    which is the order of ``shape`` and ``spacing`` of the result.

    Args:
        path: The file with ``dij``; also with ``cst``, unless that is given.
        cst: Another file with ``cst``.
        target: Name of the target; needed where the file has several of type TARGET. The others
            become organs without a limit that leave the target its voxels.
        structures: Names of the structures to take; by default all but those of type IGNORED.
        limits: Largest dose of organs at risk by name [Gy]; matRad's objectives are not read.
        body: Name of the outline of the patient; by default the one called body, external or skin.
        prescription: Prescribed dose of the target [Gy].
        scenario: Which of the dose matrices, counted from 0 in MATLAB's order without empty cells.
        groups: Group of each spot; by default its beam (``dij.beamNum``).
        resample: Whether structures on a CT grid unlike the dose grid are taken over to it: each
            dose voxel belongs to the structures of the nearest CT voxel. Otherwise that is an
            error.
        dtype: Type in which entries are kept.

    Raises:
        PlanImportError: The file cannot be read, or something is missing or of the wrong size; the
            message names file and field.
        GridMismatchError: The structures are on another grid than the doses.
        EmptyStructureError, StructureOutsideGridError: See their names.
        UnknownNameError: A name in the arguments is not that of a structure.
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    other = path if cst is None else Path(cst)
    tables = _read_mat(path, ["dij"] + ["cst"] * (other == path))
    contours = tables["cst"] if other == path else _read_mat(other, ["cst"])["cst"]
    dij = _Struct(tables["dij"], f"{path}: dij")
    # Files from before the dose had a grid of its own have its fields in dij itself.
    parts = dij if "doseGrid" not in dij else dij.struct("doseGrid")
    doses = _matrad_grid(parts)
    matrices = [one for one in _cells(dij["physicalDose"]) if np.size(one) or issparse(one)]
    matrix = _pick(matrices, scenario, doses, f"{path}: dij.physicalDose")
    spots = matrix.shape[1]
    if "totalNumOfBixels" in dij and int(dij.number("totalNumOfBixels")) != spots:
        raise PlanImportError(
            f"{path}: dij.totalNumOfBixels is {dij.number('totalNumOfBixels'):g}, the dose matrix "
            f"has {spots} columns"
        )
    if groups is None:
        groups = _groups(dij["beamNum"], spots, f"{path}: dij.beamNum")
    ct = _matrad_grid(dij.struct("ctGrid")) if "ctGrid" in dij else doses
    found = _structures(
        _matrad_contours(contours, ct, other),
        doses, target, structures, limits or {}, body, resample, str(other),
    )  # fmt: skip
    return DoseInfluence.from_matrix(
        matrix, found, prescription=prescription, groups=groups, shape=doses.shape,
        spacing=[0.1 * step for step in doses.spacing], dtype=dtype,
    )  # fmt: skip


def from_pyradplan(
    dij: Any,
    cst: Any,
    *,
    target: str | None = None,
    structures: Sequence[str] | None = None,
    limits: dict[str, float] | None = None,
    body: str | None = None,
    prescription: float = 60.0,
    scenario: int = 0,
    groups: ArrayLike | None = None,
    resample: bool = False,
    dtype: Any = np.float32,
) -> DoseInfluence:
    """The influence matrix of pyRadPlan's ``Dij`` and ``StructureSet``.

    Rows stay as they are, in C order over (z, y, x); so are ``shape`` and ``spacing``.

    Args:
        dij: What ``calc_dose_influence`` returns: ``physical_dose``, ``dose_grid``, ``beam_num``.
        cst: The structure set, with ``vois``.
        target, structures, limits, body, prescription, groups, resample, dtype: As for
            :func:`from_matrad`; structures are left out if their type is IGNORED.
        scenario: Which of the dose matrices, counted from 0 without empty ones; structures are
            those of the first.

    Raises:
        PlanImportError, GridMismatchError, EmptyStructureError, StructureOutsideGridError,
        UnknownNameError: As for :func:`from_matrad`.
    """
    doses = _pyradplan_grid(_attribute(dij, "dose_grid", "dij"), "dij.dose_grid")
    held = np.asarray(_attribute(dij, "physical_dose", "dij"), object).ravel()
    matrix = _pick([one for one in held if one is not None], scenario, doses, "dij.physical_dose")
    if groups is None:
        groups = _groups(_attribute(dij, "beam_num", "dij"), matrix.shape[1], "dij.beam_num")
    contours = []
    for voi in _attribute(cst, "vois", "cst"):
        name = str(_attribute(voi, "name", "a structure of cst"))
        where = f"structure {name!r} of cst"
        if getattr(voi, "num_of_scenarios", 1) > 1:
            voxels = voi.scenario_indices(scenario=0, order="numpy")
        else:
            voxels = _attribute(voi, "indices_numpy", where)
        contours.append(
            _Contour(
                name,
                str(_attribute(voi, "voi_type", where)).upper(),
                np.asarray(voxels, np.int64).ravel(),
                float(_attribute(voi, "overlap_priority", where)),
                _pyradplan_grid(_attribute(voi, "grid", where), f"the grid of {where}"),
            )
        )
    found = _structures(
        contours, doses, target, structures, limits or {}, body, resample, "cst"
    )  # fmt: skip
    return DoseInfluence.from_matrix(
        matrix, found, prescription=prescription, groups=groups, shape=doses.shape,
        spacing=[0.1 * step for step in doses.spacing], dtype=dtype,
    )  # fmt: skip


def _structures(
    contours: list[_Contour],
    doses: _Grid,
    target: str | None,
    wanted: Sequence[str] | None,
    limits: dict[str, float],
    body: str | None,
    resample: bool,
    where: str,
) -> list[Structure]:
    """Structures on the dose grid, with priorities that all differ."""
    known = [one.name for one in contours]
    asked = [*(wanted or []), *limits, *([target] if target else []), *([body] if body else [])]
    for name in asked:
        if name not in known:
            raise nearest("structure", name, known)
    taken = [
        one
        for one in contours
        if (one.kind not in _LEFT_OUT if wanted is None else one.name in wanted)
        or one.name in (target, body)
    ]
    targets = [one.name for one in taken if one.kind == "TARGET"]
    if target is None:
        if len(targets) != 1:
            raise PlanImportError(
                f"{where}: {len(targets)} structures of type TARGET {targets}; allowed: one, or "
                f"its name as target=…, out of {known}"
            )
        target = targets[0]
    if body is None:
        outlines = [
            one.name for one in taken
            if one.name != target and (one.kind == "EXTERNAL" or one.name.lower() in _BODY)
        ]  # fmt: skip
        body = outlines[0] if outlines else None
    first = next(one.priority for one in taken if one.name == target)

    def rank(one: _Contour) -> tuple[float, bool]:
        # A second target inside the first must not take its voxels away.
        second = one.kind == "TARGET" and one.name != target
        return (max(one.priority, first) if second else one.priority, one.name != target)

    # Equal priorities are common there; the order in the list decides between them.
    ranked = [one.name for one in sorted(taken, key=rank)]
    found = []
    for one in taken:
        role = "target" if one.name == target else "body" if one.name == body else "oar"
        found.append(
            Structure(
                one.name, _on_grid(one, doses, resample, where), role, limits.get(one.name),
                ranked.index(one.name),
            )
        )  # fmt: skip
    return found


def _on_grid(one: _Contour, doses: _Grid, resample: bool, where: str) -> Voxels:
    """Voxels of a structure on the dose grid."""
    grid = one.grid
    if not one.voxels.size:
        raise EmptyStructureError(
            f"{where}: structure {one.name!r} has no voxel; leave it out by structures=[…]"
        )
    low, high = int(one.voxels.min()), int(one.voxels.max())
    if low < 0 or high >= grid.size:
        raise StructureOutsideGridError(
            f"{where}: structure {one.name!r} has voxels {low} to {high} (counted from 0); "
            f"allowed: 0 to {grid.size - 1}"
        )
    if grid.fits(doses):
        return one.voxels
    if not resample:
        raise GridMismatchError(
            f"{where}: structure {one.name!r} is on the grid {grid}, the doses on {doses}; "
            "allowed: the same grid, or resample=True, which takes the nearest voxels"
        )
    if grid.axes is None or doses.axes is None:
        raise GridMismatchError(
            f"{where}: structure {one.name!r} cannot be resampled: the coordinates x, y, z of a "
            "grid are missing"
        )
    mask = np.zeros(grid.shape, np.bool_)
    mask.flat[one.voxels] = True
    for axis, (own, wanted) in enumerate(zip(grid.axes, doses.axes, strict=True)):
        # Halfway between two voxels counts to the upper one, as in SimpleITK.
        place = np.floor((wanted - own[0]) / grid.spacing[axis] + 0.5).astype(np.int64)
        inside = (place >= 0) & (place < len(own))
        mask = np.take(mask, np.clip(place, 0, len(own) - 1), axis=axis)
        edge = [1] * mask.ndim
        edge[axis] = len(wanted)
        mask &= inside.reshape(edge)
    voxels = np.flatnonzero(mask)
    if not voxels.size:
        raise EmptyStructureError(
            f"{where}: structure {one.name!r} has no voxel on the dose grid; leave it out by "
            "structures=[…]"
        )
    return voxels


def _pick(matrices: list[Any], scenario: int, doses: _Grid, where: str) -> Any:
    """One of the dose matrices, checked against the grid."""
    if not 0 <= scenario < len(matrices):
        raise PlanImportError(
            f"{where} holds {len(matrices)} matrices; scenario is {scenario!r}, allowed: from 0 to "
            f"{len(matrices) - 1}" if matrices else f"{where} holds no matrix"
        )  # fmt: skip
    matrix = matrices[scenario]
    if not issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2:
        raise PlanImportError(f"{where} has {matrix.ndim} dimension(s); allowed: voxels, spots")
    if matrix.shape[0] != doses.size:
        raise PlanImportError(
            f"{where} has {matrix.shape[0]} rows, the dose grid {doses} has {doses.size} voxels"
        )
    return matrix


def _groups(numbers: Any, spots: int, where: str) -> NDArray[np.int64]:
    beams = np.asarray(numbers).ravel()
    if len(beams) != spots:
        raise PlanImportError(f"{where} has {len(beams)} values; allowed: {spots}, one for a spot")
    return np.asarray(np.unique(beams, return_inverse=True)[1], np.int64)


# matRad


def _read_mat(path: Path, names: list[str]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            table = loadmat(file, variable_names=names)
    except FileNotFoundError:
        raise
    except NotImplementedError:
        raise PlanImportError(
            f"{path}: a MATLAB file of version 7.3 (HDF5); save it as version 7 from MATLAB: "
            f"save('{path.name}', {', '.join(repr(name) for name in names)}, '-v7')"
        ) from None
    except Exception as error:  # whatever a damaged file makes the reader do
        raise PlanImportError(f"{path}: no MATLAB file: {error}") from error
    for name in names:
        if name not in table:
            raise PlanImportError(f"{path}: the variable {name!r} is missing")
    return table


class _Struct:
    """Fields of a MATLAB struct, with errors that say where."""

    def __init__(self, value: Any, where: str) -> None:
        if not (isinstance(value, np.ndarray) and value.dtype.names and value.size == 1):
            raise PlanImportError(f"{where} is no struct")
        self._record = value.flat[0]
        self._where = where

    def __contains__(self, name: str) -> bool:
        return name in self._record.dtype.names

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise PlanImportError(f"{self._where}.{name} is missing")
        return self._record[name]

    def struct(self, name: str) -> _Struct:
        return _Struct(self[name], f"{self._where}.{name}")

    def vector(self, name: str) -> Floats:
        value = self[name]
        try:
            return np.asarray(value, np.float64).ravel()
        except (TypeError, ValueError):
            raise PlanImportError(f"{self._where}.{name} is no vector of numbers") from None

    def number(self, name: str) -> float:
        values = self.vector(name)
        if values.size != 1:
            raise PlanImportError(f"{self._where}.{name} has {values.size} values; allowed: one")
        return float(values[0])

    def error(self, message: str) -> PlanImportError:
        return PlanImportError(f"{self._where}{message}")


def _cells(value: Any) -> list[Any]:
    """Contents of a cell array in MATLAB's order; another value counts as a cell of one."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return list(value.ravel(order="F"))
    return [value]


def _matrad_grid(grid: _Struct) -> _Grid:
    size = grid.vector("dimensions")
    if size.size not in (2, 3) or not ((size >= 1) & (size == np.rint(size))).all():
        raise grid.error(f".dimensions are {size.tolist()}; allowed: two or three whole numbers")
    # A single slice comes as two numbers.
    y, x, z = [*map(int, size), 1][:3]
    resolution = grid.struct("resolution")
    spacing = tuple(resolution.number(name) for name in ("z", "x", "y"))
    if not all(0.0 < step < math.inf for step in spacing):
        raise grid.error(f".resolution is {spacing} (z, x, y); allowed: above 0 mm")
    axes = None
    if all(name in grid for name in ("x", "y", "z")):
        axes = tuple(grid.vector(name) for name in ("z", "x", "y"))
        if [len(one) for one in axes] != [z, x, y]:
            raise grid.error(
                f" has {[len(one) for one in axes]} coordinates z, x, y; its dimensions are "
                f"{[z, x, y]}"
            )
    return _Grid(("z", "x", "y"), (z, x, y), spacing, axes)


def _matrad_contours(cst: Any, grid: _Grid, path: Path) -> list[_Contour]:
    if not (isinstance(cst, np.ndarray) and cst.dtype == object and cst.ndim == 2):
        raise PlanImportError(f"{path}: cst is no cell array")
    if cst.shape[1] < 4:
        raise PlanImportError(f"{path}: cst has {cst.shape[1]} columns; allowed: at least 4")
    found: list[_Contour] = []
    for number, row in enumerate(cst, start=1):
        where = f"{path}: cst{{{number},"
        name, kind = _text(row[1], f"{where}2}}"), _text(row[2], f"{where}3}}")
        if any(one.name == name for one in found):
            raise PlanImportError(f"{path}: two structures in cst are called {name!r}")
        # Several cells are phases of the CT; the first counts.
        cells = _cells(row[3])
        indices = np.asarray(cells[0] if cells else []).ravel()
        if indices.dtype.kind not in "iuf" or not (indices == np.rint(indices)).all():
            raise PlanImportError(f"{where}4}} of {name!r} holds no voxel numbers")
        priority = math.inf
        if len(row) > 4 and isinstance(row[4], np.ndarray) and row[4].dtype.names and row[4].size:
            tissue = _Struct(row[4], f"{where}5}}")
            if "Priority" in tissue:
                priority = tissue.number("Priority")
        found.append(_Contour(name, kind.upper(), indices.astype(np.int64) - 1, priority, grid))
    return found


def _text(value: Any, where: str) -> str:
    parts = np.asarray(value).ravel()
    if parts.size != 1 or parts.dtype.kind != "U":
        raise PlanImportError(f"{where} is no text")
    return str(parts[0]).strip()


# pyRadPlan


def _attribute(owner: Any, name: str, where: str) -> Any:
    value = getattr(owner, name, None)
    if value is None:
        raise PlanImportError(f"{where} has no {name!r}")
    return value


def _pyradplan_grid(grid: Any, where: str) -> _Grid:
    names = ("z", "y", "x")
    size = tuple(int(n) for n in _attribute(grid, "dimensions", where))
    if len(size) < 3:
        raise PlanImportError(f"{where} has {len(size)} dimensions; allowed: 3")
    resolution = _attribute(grid, "resolution", where)
    missing = [name for name in names if name not in resolution]
    if missing:
        raise PlanImportError(f"the resolution of {where} has no {missing[0]!r}")
    spacing = tuple(float(resolution[name]) for name in names)
    origin = getattr(grid, "origin", None)
    direction = getattr(grid, "direction", None)
    # A fourth axis counts phases of the CT.
    shape = size[2::-1]
    axes = None
    if origin is not None and (direction is None or np.allclose(np.asarray(direction)[:3, :3],
                                                                np.eye(3))):  # fmt: skip
        starts = np.asarray(origin, np.float64).ravel()[2::-1]
        axes = tuple(
            start + step * np.arange(n)
            for start, step, n in zip(starts, spacing, shape, strict=True)
        )
    return _Grid(names, shape, spacing, axes)
