"""Dose influence from other planning systems: matRad files and pyRadPlan objects.

Both systems keep a sparse matrix of voxels by spots on a grid for doses, and structures on the grid
of the CT. Numbering of the voxels:

- matRad's cubes are indexed (y, x, z), first axis fastest, from 1. That is C order over (z, x, y),
  from 0, so rows stay where they are, and ``shape`` and ``spacing`` are in the order z, x, y.
- pyRadPlan's matrices are in C order over (z, y, x).

Positions decide where a structure lies, not numbers: the grids of structures and doses may differ
in origin, orientation and resolution.

Layouts: matRad's documentation of ``dij`` and ``cst``, and pyRadPlan's public classes ``Dij``,
``Grid``, ``VOI`` and ``StructureSet``, version 0.5. Neither system is needed to run this.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from oncogym.core.arrays import Floats
from oncogym.core.errors import nearest
from oncogym.envs.impt_beam_weighting.planning.checks import real_array
from oncogym.envs.impt_beam_weighting.planning.errors import (
    EmptyStructureError,
    GridMismatchError,
    PlanImportError,
    PlanningWarning,
    StructureOutsideGridError,
)
from oncogym.envs.impt_beam_weighting.planning.grids import (
    Grid,
    check_direction,
    check_origin,
    check_size,
    check_spacing,
)
from oncogym.envs.impt_beam_weighting.planning.influence import (
    READERS,
    DoseInfluence,
    influence_rows,
)
from oncogym.envs.impt_beam_weighting.planning.matlab import (
    Struct,
    cells,
    is_struct,
    read_mat,
    text,
)
from oncogym.envs.impt_beam_weighting.planning.objective import warn_unspared
from oncogym.envs.impt_beam_weighting.planning.quantity import choose_quantity
from oncogym.envs.impt_beam_weighting.planning.structures import Structure
from oncogym.envs.impt_beam_weighting.planning.voxels import check_grid, read_voxels

Voxels = NDArray[np.int64]

# Names of the outline of the patient, which is an organ like any other in matRad.
_BODY = ("body", "external", "skin")
# Types of structures that planning leaves out.
_LEFT_OUT = ("IGNORED",)
# Coordinates of voxels are evenly spaced within this share of their spacing.
_EVEN = 1e-3
# Fields of dij that are read; a grid's fields stand in dij itself in old files.
_FIELDS = (
    "doseGrid", "ctGrid", "physicalDose", "beamNum", "totalNumOfBixels", "RBE", "dimensions",
    "resolution", "x", "y", "z",
)  # fmt: skip
# Matrices of models of variable RBE; pyRadPlan writes them without the m.
_MODELS = ("mAlphaDose", "mSqrtBetaDose", "alphaDose", "sqrtBetaDose")
_PYRADPLAN_MODELS = ("alpha_dose", "sqrt_beta_dose")


@dataclass(frozen=True)
class _Contour:
    """A structure of another system; its voxels are counted from 0 in C order of ``grid``."""

    name: str
    kind: str
    voxels: Voxels
    priority: float
    grid: Grid


def from_matrad(
    path: str | Path,
    *,
    cst: str | Path | None = None,
    target: str | None = None,
    structures: Sequence[str] | None = None,
    limits: Mapping[str, float] | None = None,
    body: str | None = None,
    prescription: float | None = None,
    scenario: int = 0,
    groups: ArrayLike | None = None,
    resample: bool = False,
    quantity: str | None = None,
    dtype: object = np.float32,
) -> DoseInfluence:
    """The influence matrix of a matRad file, written by ``save('case.mat', 'dij', 'cst')``.

    Rows stay as they are: matRad's column-major order over (y, x, z) is C order over (z, x, y),
    which is the order of ``shape`` and ``spacing`` of the result. Files of variables above 2 GB
    (``'-v7.3'``) need h5py, the extra ``matlab``.

    Args:
        path: The file with ``dij``; also with ``cst``, unless that is given.
        cst: Another file with ``cst``.
        target: Name of the target; needed where the file has several of type TARGET. The others
            become organs without a limit that leave the target its voxels.
        structures: Names of the structures to take; by default all but those of type IGNORED.
        limits: Largest dose of organs at risk by name, in the unit of the result; matRad's
            objectives are not read. Without any a :class:`PlanningWarning` names the organs that
            the standard objective will not spare; ``{}`` says that this is meant.
        body: Name of the outline of the patient; by default the one called body, external or skin.
        prescription: Prescribed dose of the target, in the unit of the result and for what unit
            weights are (matRad's doses are those of one fraction). None is assumed.
        scenario: Which of the dose matrices, counted from 0 in MATLAB's order without empty cells.
        groups: Group of each spot; by default its beam (``dij.beamNum``).
        resample: Whether structures on a CT grid whose voxels do not coincide with those of the
            dose grid are taken over to it: each dose voxel belongs to the structures of the nearest
            CT voxel; a :class:`PlanningWarning` names those that reach beyond the dose grid.
            Otherwise that is an error.
        quantity: By default what the file says: with ``dij.RBE`` its product with the dose, in
            Gy (RBE), else the physical dose in Gy; of a variable RBE (``mAlphaDose``) the physical
            dose with a :class:`PlanningWarning`. ``"physical"`` or ``"constant_rbe"`` ask for one.
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
    wanted: dict[str, Sequence[str] | None] = {"dij": (*_FIELDS, *_MODELS)}
    tables = read_mat(path, wanted if other != path else {**wanted, "cst": None})
    contours = tables["cst"] if other == path else read_mat(other, {"cst": None})["cst"]
    dij = Struct(tables["dij"], f"{path}: dij")
    # Files from before the dose had a grid of its own have its fields in dij itself.
    parts = dij if "doseGrid" not in dij else dij.struct("doseGrid")
    doses = _matrad_grid(parts)
    matrices = [
        one
        for one in cells(dij["physicalDose"])
        if one is not None and (scipy.sparse.issparse(one) or np.size(one))
    ]
    matrix = _pick(matrices, scenario, doses, f"{path}: dij.physicalDose", dtype)
    spots = matrix.shape[1]
    if dij.filled("totalNumOfBixels") and int(dij.number("totalNumOfBixels")) != spots:
        raise PlanImportError(
            f"{path}: dij.totalNumOfBixels is {dij.number('totalNumOfBixels'):g}, the dose matrix "
            f"has {spots} columns"
        )
    if groups is None:
        groups = _groups(dij["beamNum"], spots, f"{path}: dij.beamNum")
    factor, unit = choose_quantity(
        quantity,
        dij.get("RBE"),
        {name: dij.get(name) for name in _MODELS},
        doses.size,
        f"{path}: dij",
    )
    ct = _matrad_grid(dij.struct("ctGrid")) if "ctGrid" in dij else doses
    found = _structures(
        _matrad_contours(contours, ct, other),
        doses, target, structures, limits, body, resample, str(other),
    )  # fmt: skip
    return DoseInfluence.from_matrix(
        matrix * factor, found, prescription=prescription, groups=groups, shape=doses.shape,
        spacing=[0.1 * step for step in doses.spacing], unit=unit, dtype=dtype,
    )  # fmt: skip


def from_pyradplan(
    dij: object,
    cst: object,
    *,
    target: str | None = None,
    structures: Sequence[str] | None = None,
    limits: Mapping[str, float] | None = None,
    body: str | None = None,
    prescription: float | None = None,
    scenario: int = 0,
    groups: ArrayLike | None = None,
    resample: bool = False,
    quantity: str | None = None,
    dtype: object = np.float32,
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
        quantity: As for :func:`from_matrad`, with ``dij.rbe``, and ``alpha_dose`` and
            ``sqrt_beta_dose`` of a variable RBE.

    Raises:
        PlanImportError: As for :func:`from_matrad`.
        GridMismatchError: The same.
        EmptyStructureError: The same.
        StructureOutsideGridError: The same.
        UnknownNameError: The same.
    """
    doses = _pyradplan_grid(_attribute(dij, "dose_grid", "dij"), "dij.dose_grid")
    given = _attribute(dij, "physical_dose", "dij")
    # A matrix by itself counts as a container of one.
    alone = scipy.sparse.issparse(given) or np.asarray(given).dtype != object
    held = [given] if alone else list(np.asarray(given, object).ravel())
    filled = [one for one in held if one is not None]
    matrix = _pick(filled, scenario, doses, "dij.physical_dose", dtype)
    if groups is None:
        groups = _groups(_attribute(dij, "beam_num", "dij"), matrix.shape[1], "dij.beam_num")
    factor, unit = choose_quantity(
        quantity, getattr(dij, "rbe", None),
        {name: getattr(dij, name, None) for name in _PYRADPLAN_MODELS}, doses.size, "dij",
    )  # fmt: skip
    contours = []
    for voi in _attribute(cst, "vois", "cst"):
        name = str(_attribute(voi, "name", "a structure of cst"))
        where = f"structure {name!r} of cst"
        if getattr(voi, "num_of_scenarios", 1) > 1:
            voxels = voi.scenario_indices(scenario=0, order="numpy")
        else:
            voxels = _attribute(voi, "indices_numpy", where)
        grid = _pyradplan_grid(_attribute(voi, "grid", where), f"the grid of {where}")
        contours.append(
            _Contour(
                name,
                str(_attribute(voi, "voi_type", where)).upper(),
                _checked_voxels(voxels, name, grid, grid.shape, "C", 0, "cst"),
                _priority(_attribute(voi, "overlap_priority", where), where),
                grid,
            )
        )
    found = _structures(
        contours, doses, target, structures, limits, body, resample, "cst"
    )  # fmt: skip
    return DoseInfluence.from_matrix(
        matrix * factor, found, prescription=prescription, groups=groups, shape=doses.shape,
        spacing=[0.1 * step for step in doses.spacing], unit=unit, dtype=dtype,
    )  # fmt: skip


def _structures(
    contours: list[_Contour],
    doses: Grid,
    target: str | None,
    wanted: Sequence[str] | None,
    limits: Mapping[str, float] | None,
    body: str | None,
    resample: bool,
    where: str,
) -> list[Structure]:
    """Structures on the dose grid, with priorities that all differ."""
    known = [one.name for one in contours]
    for name in known:
        if known.count(name) > 1:
            raise PlanImportError(f"{where}: two structures in cst are called {name!r}")
    if isinstance(wanted, str):
        raise PlanImportError(f"structures is {wanted!r}; allowed: a list of names")
    asked = [*(wanted or []), *(limits or {}), *([target] if target else []),
             *([body] if body else [])]  # fmt: skip
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
    mover = _Mover(doses, resample, where)
    found = []
    for one in taken:
        role = "target" if one.name == target else "body" if one.name == body else "oar"
        found.append(
            Structure(
                one.name, mover.move(one), role, (limits or {}).get(one.name),
                ranked.index(one.name),
            )
        )  # fmt: skip
    mover.report()
    organs = [one.name for one in found if one.role == "oar"]
    if limits is None and organs:
        warn_unspared(organs)
    return found


class _Mover:
    """Takes structures to the dose grid."""

    def __init__(self, doses: Grid, resample: bool, where: str) -> None:
        self._doses, self._resample, self._where = doses, resample, where
        self._nearest: dict[Any, Voxels] = {}
        self._beyond: list[str] = []

    def move(self, one: _Contour) -> NDArray[np.bool_]:
        """Mask ``(voxels,)`` of a structure on the dose grid."""
        mask = np.zeros(self._doses.size, np.bool_)
        mask[self._voxels(one)] = True
        return mask

    def report(self) -> None:
        """Say which structures reach beyond the dose grid."""
        if self._beyond:
            warnings.warn(
                f"{self._where}: outside the dose grid, and left out, are "
                + ", ".join(self._beyond),
                PlanningWarning,
                stacklevel=5,
            )

    def _voxels(self, one: _Contour) -> Voxels:
        grid, doses = one.grid, self._doses
        if not one.voxels.size:
            raise EmptyStructureError(
                f"{self._where}: structure {one.name!r} has no voxel; leave it out by "
                "structures=[…]"
            )
        if grid.fits(doses):
            return one.voxels
        placed = grid.origin is not None and doses.origin is not None
        moved = grid.moved_to(doses, one.voxels) if placed else None
        if moved is not None:
            return moved
        if not self._resample:
            raise GridMismatchError(
                f"{self._where}: structure {one.name!r} is on the grid {grid}, the doses on "
                f"{doses}; allowed: the same voxels, or resample=True, which takes the nearest ones"
            )
        if not placed:
            raise GridMismatchError(
                f"{self._where}: structure {one.name!r} cannot be resampled: the coordinates x, y, "
                "z of a grid are missing"
            )
        outside = grid.count_outside(doses, one.voxels)
        if outside:
            self._beyond.append(f"{outside} of {len(one.voxels)} voxels of {one.name!r}")
        if grid.key not in self._nearest:
            self._nearest[grid.key] = doses.nearest_in(grid)
        nearest_voxel = self._nearest[grid.key]
        inside = np.zeros(grid.size + 1, np.bool_)
        inside[one.voxels] = True
        # The last one is hit by what is nowhere: number -1.
        voxels = np.flatnonzero(inside[nearest_voxel])
        if not voxels.size:
            raise EmptyStructureError(
                f"{self._where}: structure {one.name!r} has no voxel on the dose grid; leave it "
                "out by structures=[…]"
            )
        return voxels


def _pick(matrices: list[Any], scenario: int, doses: Grid, where: str, dtype: object) -> Any:
    """One of the dose matrices as rows, checked against the grid."""
    if not 0 <= scenario < len(matrices):
        raise PlanImportError(
            f"{where} holds {len(matrices)} matrices; scenario is {scenario!r}, allowed: from 0 to "
            f"{len(matrices) - 1}" if matrices else f"{where} holds no matrix"
        )  # fmt: skip
    matrix = matrices[scenario]
    if not scipy.sparse.issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2:
        raise PlanImportError(f"{where} has {matrix.ndim} dimension(s); allowed: voxels, spots")
    if matrix.shape[0] != doses.size:
        turned = "; is it transposed?" if matrix.shape[1] == doses.size else ""
        raise PlanImportError(
            f"{where} has {matrix.shape[0]} rows, the dose grid {doses} has {doses.size} "
            f"voxels{turned}"
        )
    try:
        return influence_rows(matrix, doses.shape, np.float64)
    except ValueError as error:
        raise PlanImportError(f"{where}: {error}") from None


def _groups(numbers: object, spots: int, where: str) -> NDArray[np.int64]:
    beams = real_array(numbers, where, PlanImportError).ravel()
    if len(beams) != spots:
        raise PlanImportError(f"{where} has {len(beams)} values; allowed: {spots}, one for a spot")
    return np.asarray(np.unique(beams, return_inverse=True)[1], np.int64)


def _priority(value: object, where: str) -> float:
    found = real_array(value, f"the priority of {where}", PlanImportError, finite=False).ravel()
    if found.size != 1 or math.isnan(found[0]):
        raise PlanImportError(f"the priority of {where} is {value!r}; allowed: one number")
    return float(found[0])


def _checked_voxels(
    given: object, name: str, grid: Grid, shape: tuple[int, ...], order: str, first: int, where: str
) -> Voxels:
    """Voxels of a structure in C order of its grid, from numbers or a mask.

    Args:
        given: Numbers or mask.
        name: Name of the structure.
        grid: Its grid.
        shape: Shape of a mask of the grid.
        order: Order in which the voxels of a mask are numbered.
        first: Number of the first voxel; 1 also allows floating-point numbers.
        where: Where it was found.
    """
    try:
        found, mask = read_voxels(given, name, first=first, order=order, whole_floats=first > 0)
        if found.size or mask is not None:
            check_grid(name, found if found.size else np.zeros(1, np.int64), mask, grid.size, shape)
    except (StructureOutsideGridError, GridMismatchError) as error:
        raise type(error)(f"{where}: {error}") from None
    except ValueError as error:
        raise PlanImportError(f"{where}: {error}") from None
    return found


# matRad


def _matrad_grid(grid: Struct) -> Grid:
    size = check_size(grid["dimensions"], grid.place("dimensions"))
    if len(size) not in (2, 3):
        raise grid.error(f".dimensions are {list(size)}; allowed: two or three whole numbers")
    # A single slice comes as two numbers.
    y, x, z = (*size, 1)[:3]
    resolution = grid.struct("resolution")
    steps = [resolution.number(name) for name in "zxy"]
    spacing = check_spacing(steps, grid.place("resolution (z, x, y)"))
    origin, direction = None, np.eye(3)
    if all(grid.filled(name) for name in "xyz"):
        origin, direction = _axes(grid, (x, y, z), dict(zip("zxy", spacing, strict=True)))
    else:
        for name in ("origin", "cubeCoordOrigin"):
            if grid.filled(name):
                origin = check_origin(grid[name], grid.place(name))
    if grid.filled("direction"):
        direction = direction @ check_direction(grid["direction"], grid.place("direction"))
    return Grid(("z", "x", "y"), (z, x, y), spacing, origin, direction)


def _axes(
    grid: Struct, size: tuple[int, int, int], spacing: dict[str, float]
) -> tuple[Floats, Floats]:
    """First voxel and direction of the axes by the coordinates of the voxels along them."""
    found = [grid.vector(name) for name in "xyz"]
    if [len(one) for one in found] != list(size):
        raise grid.error(
            f" has {[len(one) for one in found]} coordinates x, y, z; its dimensions are "
            f"{list(size)}"
        )
    signs = []
    for name, places in zip("xyz", found, strict=True):
        steps = np.diff(places)
        sign = -1.0 if len(steps) and steps[0] < 0.0 else 1.0
        if not np.isfinite(places).all() or not np.allclose(
            steps, sign * spacing[name], rtol=0.0, atol=_EVEN * spacing[name]
        ):
            raise grid.error(
                f".{name} are no coordinates in steps of {spacing[name]:g} mm, its resolution: "
                f"{places[:4].tolist()} …"
            )
        signs.append(sign)
    return np.array([float(one[0]) for one in found]), np.diag(signs)


def _matrad_contours(cst: object, grid: Grid, path: Path) -> list[_Contour]:
    if not (isinstance(cst, np.ndarray) and cst.dtype == object and cst.ndim == 2):
        raise PlanImportError(f"{path}: cst is no cell array")
    if cst.shape[1] < 4:
        raise PlanImportError(f"{path}: cst has {cst.shape[1]} columns; allowed: at least 4")
    z, x, y = grid.shape
    found: list[_Contour] = []
    for number, row in enumerate(cst, start=1):
        where = f"{path}: cst{{{number},"
        name, kind = text(row[1], f"{where}2}}"), text(row[2], f"{where}3}}")
        # Several cells are phases of the CT; the first counts.
        phases = cells(row[3])
        given = phases[0] if phases else np.zeros(0)
        voxels = _checked_voxels(
            _flat_vector(given, (y, x, z)), name, grid, (y, x, z), "F", 1, f"{where}4}} of {name!r}"
        )
        priority = math.inf
        if len(row) > 4 and is_struct(row[4]):
            tissue = Struct(row[4], f"{where}5}}")
            if tissue.filled("Priority"):
                tissue.number("Priority")
                priority = _priority(tissue["Priority"], f"{where}5}}")
        found.append(_Contour(name, kind.upper(), voxels, priority, grid))
    return found


def _flat_vector(given: Any, shape: tuple[int, int, int]) -> Any:
    """A MATLAB column or row as a flat array, and a cube with the axes that MATLAB drops."""
    array = given.toarray() if scipy.sparse.issparse(given) else np.asarray(given)
    if array.dtype == object or array.size == 0:
        return array.ravel() if array.size == 0 else array
    if array.shape == shape[:2] and shape[2] == 1 and min(array.shape) > 1:
        return array[:, :, None]
    if array.ndim == 2 and 1 in array.shape:
        return array.ravel()
    return array


# pyRadPlan


def _attribute(owner: object, name: str, where: str) -> Any:
    value = getattr(owner, name, None)
    if value is None:
        raise PlanImportError(f"{where} has no {name!r}")
    return value


def _pyradplan_grid(grid: object, where: str) -> Grid:
    names = ("z", "y", "x")
    size = check_size(_attribute(grid, "dimensions", where), f"the dimensions of {where}")
    if len(size) < 3:
        raise PlanImportError(f"{where} has {len(size)} dimensions; allowed: 3")
    resolution = _attribute(grid, "resolution", where)
    missing = [name for name in names if name not in resolution]
    if missing:
        raise PlanImportError(f"the resolution of {where} has no {missing[0]!r}")
    spacing = check_spacing([resolution[name] for name in names], f"the resolution of {where}")
    origin = getattr(grid, "origin", None)
    direction = getattr(grid, "direction", None)
    # A fourth axis counts phases of the CT.
    return Grid(
        names,
        size[2::-1],
        spacing,
        None if origin is None else check_origin(origin, f"the origin of {where}"),
        np.eye(3) if direction is None else check_direction(direction, f"the direction of {where}"),
    )


READERS.update(matrad=from_matrad, pyradplan=from_pyradplan)
