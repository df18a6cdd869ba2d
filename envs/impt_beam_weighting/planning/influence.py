"""Dose influence: what every spot of unit weight does to every voxel, as a sparse matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from oncogym.core.arrays import Floats
from oncogym.envs.impt_beam_weighting.planning import bragg, influence_kernels, objective_kernels
from oncogym.envs.impt_beam_weighting.planning.archive import (
    Array,
    read_archive,
    reading,
    structures_of,
    write_archive,
)
from oncogym.envs.impt_beam_weighting.planning.beams import (
    BeamSet,
    Geometry,
    directions,
    lateral,
    trace,
)
from oncogym.envs.impt_beam_weighting.planning.checks import (
    plain_array,
    real_array,
    real_number,
    whole_shape,
)
from oncogym.envs.impt_beam_weighting.planning.errors import WeightError
from oncogym.envs.impt_beam_weighting.planning.phantom import Phantom
from oncogym.envs.impt_beam_weighting.planning.structures import StructureSet
from oncogym.envs.impt_beam_weighting.planning.units import GRAY, check_unit, quantity_of
from oncogym.envs.threads import choose

#: Entries below this share of the largest dose of a spot are left out.
CUT = 1e-3
# Rows of one call of the kernels; any number gives the same matrix.
_TILE = 1 << 16
# What a file of an influence matrix holds beside its structures.
_ARRAYS = {"data": Array("f"), "indices": Array("i"), "indptr": Array("i"), "groups": Array("i")}


@dataclass(frozen=True)
class Scenario:
    """An error of treatment delivery.

    Args:
        shift: Displacement of the patient ``(axes,)`` [cm].
        range_factor: Water-equivalent depths are multiplied by this.
    """

    shift: tuple[float, ...] = (0.0, 0.0)
    range_factor: float = 1.0


def scenarios(shift: float = 0.3, range_error: float = 0.03, axes: int = 2) -> list[Scenario]:
    """The seven scenarios of robust planning (nine in 3-D): none, shifts, ranges.

    Args:
        shift: Size of the shifts along each axis [cm].
        range_error: Relative size of the range errors.
        axes: Number of axes.
    """
    real_number(shift, "shift", 0.0, 100.0, "cm")
    real_number(range_error, "range_error", 0.0, 0.5)
    found = [Scenario((0.0,) * axes)]
    for axis in range(axes):
        for sign in (1.0, -1.0):
            place = [0.0] * axes
            place[axis] = sign * shift
            found.append(Scenario(tuple(place)))
    return [*found, *(Scenario((0.0,) * axes, 1.0 + sign * range_error) for sign in (-1.0, 1.0))]


#: Readers of other programs' matrices by name; the importers, which stand on this file, add them.
READERS: dict[str, Callable[..., DoseInfluence]] = {}


@dataclass(frozen=True)
class DoseInfluence:
    """A dose-influence matrix in rows of voxels, with the structures that planning needs.

    Nothing is assumed about how it was computed, its size or the dimension of its grid.

    Args:
        data: Dose per unit weight, the non-zero entries row by row ``(n,)``, float32 or float64.
        indices: Spot of each entry ``(n,)`` int32.
        indptr: Where each voxel's entries start ``(voxels + 1,)`` int64.
        num_spots: Number of spots.
        structures: The structures.
        prescription: Prescribed dose of the target, or ``None`` if it is not known: what needs one
            asks for it then, see :attr:`prescribed`.
        groups: Group of each spot ``(spots,)``: its layer, its beam, or anything else that is
            weighed together. By default every spot is its own group.
        shape: Voxels along each axis, in C order, or ``None`` if they form no grid.
        spacing: Distance of voxels along each axis [cm], or ``None``.
        unit: Unit of all doses, of the prescription and of the limits too: ``"Gy"`` (absorbed
            dose) or ``"Gy (RBE)"``.

    Raises:
        ValueError: The arrays do not form such a matrix, an entry is negative or not finite.
        GridMismatchError: The structures belong to a grid of another shape.
    """

    data: NDArray[Any]
    indices: NDArray[np.int32]
    indptr: NDArray[np.int64]
    num_spots: int
    structures: StructureSet
    prescription: float | None = None
    groups: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    unit: str = GRAY

    def __post_init__(self) -> None:
        # Kernels trust these arrays and would read beyond their ends.
        for name, kinds in (("data", "f"), ("indices", "i"), ("indptr", "i")):
            found = getattr(self, name)
            flat = isinstance(found, np.ndarray) and found.ndim == 1
            if not flat or found.dtype.kind not in kinds:
                raise ValueError(
                    f"{name} is {found!r}; allowed: a flat array of "
                    f"{'real numbers' if kinds == 'f' else 'integers'}"
                )
        if len(self.indptr) < 1 or self.indptr[0] != 0 or (np.diff(self.indptr) < 0).any():
            raise ValueError("indptr does not rise from 0")
        if not self.indptr[-1] == len(self.data) == len(self.indices):
            raise ValueError(
                f"indptr ends at {self.indptr[-1]}, data and indices at {len(self.data)} and "
                f"{len(self.indices)}; allowed: all alike"
            )
        voxels = len(self.indptr) - 1
        if voxels != self.structures.num_voxels:
            raise ValueError(
                f"the matrix has {voxels} rows, the structures belong to "
                f"{self.structures.num_voxels} voxels"
            )
        if len(self.data) and not (float(self.data.min()) >= 0.0 and np.isfinite(self.data).all()):
            raise ValueError("an entry of the influence matrix is negative or not finite")
        if self.num_spots < 1:
            raise ValueError(f"num_spots is {self.num_spots}; allowed: at least 1")
        if len(self.indices) and not 0 <= self.indices.min() <= self.indices.max() < self.num_spots:
            raise ValueError(f"a column of the matrix is outside 0 to {self.num_spots - 1}")
        if self.prescription is not None:
            given = real_number(self.prescription, "prescription", 0.0, 1e6, "Gy")
            if given <= 0.0:
                raise ValueError(f"prescription is {self.prescription!r}; allowed: above 0 Gy")
        check_unit(self.unit)
        if self.shape is not None:
            shape = whole_shape(self.shape)
            if math.prod(shape) != voxels:
                raise ValueError(f"shape {self.shape} does not hold {voxels} voxels")
            self.structures.check_shape(shape)
        if self.spacing is not None and not (
            self.shape is not None
            and len(self.spacing) == len(self.shape)
            and all(0.0 < step < math.inf for step in self.spacing)
        ):
            raise ValueError(
                f"spacing is {self.spacing!r} for shape {self.shape!r}; allowed: as many numbers "
                "above 0 cm"
            )
        groups = plain_array(self.groups, "groups", "iuf")
        if groups.dtype.kind == "f" and groups.size and not (groups == np.rint(groups)).all():
            raise ValueError("groups are no whole numbers; allowed: one number >= 0 a spot")
        if not groups.size:
            groups = np.arange(self.num_spots)
        if groups.shape != (self.num_spots,) or groups.min() < 0:
            raise ValueError(f"groups have shape {groups.shape}; allowed: one number >= 0 a spot")
        if groups.max() >= self.num_spots:
            raise ValueError(
                f"the largest group is {groups.max()}; allowed: 0 to {self.num_spots - 1}, below "
                "the number of spots"
            )
        object.__setattr__(self, "groups", groups.astype(np.int64, copy=False))

    @property
    def prescribed(self) -> float:
        """The prescribed dose.

        Raises:
            ValueError: None was given, and none is assumed.
        """
        if self.prescription is None:
            raise ValueError(
                "the influence has no prescription, which is needed here; give the prescribed dose "
                "of the target as prescription=…, or a dose or an objective of your own"
            )
        return float(self.prescription)

    @property
    def quantity(self) -> str:
        """What the doses are: ``"physical dose"`` or ``"RBE-weighted dose"``."""
        return quantity_of(self.unit)

    @property
    def largest(self) -> float:
        """Largest entry of the matrix, the dose per unit weight that is met at most."""
        return float(self.data.max()) if len(self.data) else 0.0

    @property
    def num_voxels(self) -> int:
        """Number of voxels."""
        return len(self.indptr) - 1

    @property
    def num_groups(self) -> int:
        """Number of groups of spots."""
        return int(self.groups.max()) + 1

    @classmethod
    def from_matrix(
        cls,
        matrix: object,
        structures: object,
        *,
        prescription: float | None = None,
        groups: ArrayLike | None = None,
        shape: Sequence[int] | None = None,
        spacing: Sequence[float] | None = None,
        unit: str = GRAY,
        dtype: object = np.float32,
    ) -> DoseInfluence:
        """A user's own influence matrix of any size and dimension.

        Args:
            matrix: ``(voxels, spots)``: SciPy sparse or dense, dose per unit weight.
            structures: A :class:`StructureSet`, a sequence of :class:`Structure`, or a mapping of
                name to voxels (first the target; earlier names have priority; ``body``). Voxels are
                flat indices in C order, or masks of ``shape``, see :class:`Structure`.
            prescription: Prescribed dose of the target; none is assumed.
            groups: Group of each spot ``(spots,)``.
            shape, spacing: Grid of the voxels in C order, and its spacing [cm].
            unit: ``"Gy"`` or ``"Gy (RBE)"``.
            dtype: Type in which entries are kept, float32 or float64; sums are always float64.

        Raises:
            ValueError: The matrix or the structures are malformed, see their classes.
        """
        size = None if shape is None else whole_shape(shape)
        rows = influence_rows(matrix, size, dtype)
        return cls(
            rows.data,
            rows.indices.astype(np.int32, copy=False),
            rows.indptr.astype(np.int64),
            rows.shape[1],
            StructureSet.of(structures, rows.shape[0], size),
            prescription,
            np.zeros(0, np.int64) if groups is None else plain_array(groups, "groups", "iuf"),
            size,
            None if spacing is None else tuple(real_array(spacing, "spacing").ravel().tolist()),
            unit,
        )

    @classmethod
    def from_matrad(cls, path: str | Path, **options: Any) -> DoseInfluence:
        """The matrix and structures of a matRad ``.mat`` file.

        Arguments and errors: :func:`oncogym.envs.impt_beam_weighting.importers.from_matrad`.
        """
        return READERS["matrad"](path, **options)

    @classmethod
    def from_pyradplan(cls, dij: object, cst: object, **options: Any) -> DoseInfluence:
        """The matrix and structures of pyRadPlan's ``Dij`` and ``StructureSet``.

        Arguments and errors: :func:`oncogym.envs.impt_beam_weighting.importers.from_pyradplan`.

        Args:
            dij: What pyRadPlan's ``calc_dose_influence`` returns.
            cst: Its ``StructureSet``.
            **options: The keywords of that function.
        """
        return READERS["pyradplan"](dij, cst, **options)

    def to_matrix(self) -> scipy.sparse.csr_matrix:
        """The matrix ``(voxels, spots)`` as SciPy sparse rows; shares memory."""
        return scipy.sparse.csr_matrix(
            (self.data, self.indices, self.indptr), (self.num_voxels, self.num_spots), copy=False
        )

    def check_weights(self, weights: ArrayLike) -> Floats:
        """Weights ``(spots,)`` or ``(lanes, spots)`` as float64, contiguous.

        Raises:
            WeightError: There are not as many as spots, or one is negative or not finite; the
                message names the first such spot.
        """
        values = real_array(weights, "weights", WeightError, finite=False)
        if values.ndim not in (1, 2) or values.shape[-1] != self.num_spots:
            raise WeightError(
                f"weights have shape {values.shape}; allowed: ({self.num_spots},) or (lanes, "
                f"{self.num_spots})"
            )
        if not (values >= 0.0).all() or not np.isfinite(values).all():
            place = tuple(np.argwhere(~((values >= 0.0) & np.isfinite(values)))[0])
            raise WeightError(
                f"the weight of spot {place[-1]} is {values[place]}; allowed: finite, at least 0"
            )
        return np.ascontiguousarray(values)

    def dose(self, weights: ArrayLike) -> Floats:
        """Dose of weights: ``(spots,)`` to ``(voxels,)``, or with a leading axis of lanes.

        Raises:
            WeightError: See :meth:`check_weights`.
        """
        values = self.check_weights(weights)
        batch = np.atleast_2d(values)
        out = np.empty((len(batch), self.num_voxels))
        doses = choose(objective_kernels.doses, objective_kernels.doses_parallel)
        doses(self.data, self.indices, self.indptr, batch, out)
        return out.reshape(*values.shape[:-1], self.num_voxels)

    def normalised(self, weights: ArrayLike, dose: float | None = None) -> Floats:
        """Weights scaled so that the mean dose of the target is ``dose``, or the prescription.

        Raises:
            WeightError: They give the target no dose.
            ValueError: There is neither a dose nor a prescription, or it is not above 0.
        """
        values = self.check_weights(weights)
        target = self.structures[self.structures.target].voxels
        mean = self.dose(values)[..., target].mean(axis=-1)
        if not np.all(mean > 0.0):
            raise WeightError("the weights give no dose to the target")
        wanted = self.prescribed if dose is None else real_number(dose, "dose", 1e-12, 1e6, "Gy")
        return np.asarray(values * np.expand_dims(wanted / mean, -1))

    def subset(self, spots: NDArray[np.bool_]) -> DoseInfluence:
        """The same with some spots only, in their order."""
        rows = self.to_matrix()[:, np.flatnonzero(spots)]
        _, groups = np.unique(self.groups[spots], return_inverse=True)
        return DoseInfluence.from_matrix(
            rows, self.structures, prescription=self.prescription, groups=groups,
            shape=self.shape, spacing=self.spacing, unit=self.unit, dtype=self.data.dtype,
        )  # fmt: skip

    def grouped(self, groups: ArrayLike) -> DoseInfluence:
        """The same with other groups of spots."""
        return DoseInfluence(
            self.data, self.indices, self.indptr, self.num_spots, self.structures,
            self.prescription, plain_array(groups, "groups", "iuf"), self.shape, self.spacing,
            self.unit,
        )  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Write matrix and structures as ``.npz``; the file is complete or not there."""
        about = {
            "num_spots": self.num_spots,
            "prescription": self.prescription,
            "shape": self.shape,
            "spacing": self.spacing,
            "unit": self.unit,
        }
        arrays = {"data": self.data, "indices": self.indices, "indptr": self.indptr,
                  "groups": self.groups}  # fmt: skip
        write_archive(path, about, self.structures, arrays)

    @classmethod
    def load(cls, path: str | Path) -> DoseInfluence:
        """Read what :meth:`save` wrote.

        Raises:
            PhantomFileError: The file holds no influence matrix; the message names it and the
                fault.
            FileNotFoundError: There is no such file.
        """
        with reading(path, "influence matrix"):
            about, arrays = read_archive(path, _ARRAYS)
            for key in ("num_spots", "prescription", "shape", "spacing"):
                if key not in about:
                    raise ValueError(f"the key {key!r} is missing")
            indptr, groups = arrays["indptr"], arrays["groups"]
            if not isinstance(about["num_spots"], int) or about["num_spots"] != len(groups):
                raise ValueError(
                    f"num_spots is {about['num_spots']!r}; allowed: {len(groups)}, the number of "
                    "groups"
                )
            shape = None if about["shape"] is None else whole_shape(about["shape"])
            spacing = about["spacing"]
            return cls(
                arrays["data"], arrays["indices"], indptr, about["num_spots"],
                structures_of(about, arrays, len(indptr) - 1, shape), about["prescription"],
                groups, shape,
                None if spacing is None else tuple(real_array(spacing, "spacing").tolist()),
                about.get("unit", GRAY),
            )  # fmt: skip


def influence_rows(matrix: Any, shape: Sequence[int] | None, dtype: Any) -> scipy.sparse.csr_matrix:
    """A user's matrix as checked sparse rows of ``dtype``, never in the memory of the argument.

    Args:
        matrix: ``(voxels, spots)``, dense or SciPy sparse of any format.
        shape: Shape of the grid, if it is known.
        dtype: float32 or float64.

    Raises:
        ValueError: It holds no real numbers, an entry is negative or not finite or too large for
            ``dtype``, it has no two axes, or it does not fit the grid.
    """
    kept = np.dtype(dtype)
    if kept not in (np.float32, np.float64):
        raise ValueError(f"dtype is {kept}; allowed: float32 or float64")
    if scipy.sparse.issparse(matrix):
        axes, kind = matrix.ndim, matrix.dtype
    else:
        matrix = plain_array(matrix, "the matrix", "biufcOSUmMV")
        axes, kind = matrix.ndim, matrix.dtype
    if axes != 2 or kind.kind not in "fiu":
        raise ValueError(
            f"the matrix has {axes} dimension(s) of {kind}; allowed: numbers (voxels, spots), real "
            "numbers"
        )
    voxels = None if shape is None else math.prod(shape)
    if voxels is not None and matrix.shape[0] != voxels:
        turned = matrix.shape[1] == voxels
        raise ValueError(
            f"the matrix has {matrix.shape[0]} rows and {matrix.shape[1]} columns, the grid of "
            f"shape {tuple(shape or ())} has {voxels} voxels; allowed: a row for each voxel"
            + ("; is the matrix transposed?" if turned else "")
        )
    rows = scipy.sparse.csr_matrix(matrix)
    if not rows.has_canonical_format:
        # A copy: the caller's own arrays may lie beneath.
        rows = rows.copy()
        rows.sum_duplicates()
    wide = rows.data
    if wide.size and not (float(wide.min()) >= 0.0 and np.isfinite(wide).all()):
        raise ValueError("an entry of the influence matrix is negative or not finite")
    with np.errstate(over="ignore"):
        data = wide.astype(kept)
    if not np.isfinite(data).all():
        raise ValueError(
            f"an entry of the influence matrix is {float(wide.max()):g}; allowed: at most "
            f"{np.finfo(kept).max:g}, the largest number of {kept}"
        )
    return scipy.sparse.csr_matrix((data, rows.indices, rows.indptr), rows.shape, copy=False)


def pencil_beams(
    phantom: Phantom,
    beams: BeamSet,
    scenario: Scenario = Scenario(),
    *,
    cut: float = CUT,
    geometry: Geometry | None = None,
    tile: int = _TILE,
    dtype: Any = np.float32,
) -> DoseInfluence:
    """Influence of Bortfeld pencil beams with straggling, energy spread and lateral scatter.

    A spot's dose is the depth dose of its layer (largest value 1) times the Gaussian of its
    lateral distance, with the amplitude that keeps the lateral integral. Sizes: air sigma of the
    beams, and 0.0294 R^0.896 (z/R)^1.5 cm at depth z for range R.

    A shift moves the patient, its surface included: it changes lateral positions, not depths. A
    range error multiplies all depths.

    Args:
        phantom: The phantom.
        beams: The pencil beams.
        scenario: The error of delivery.
        cut: Smaller entries are left out.
        geometry: What :func:`trace` gives for these angles without a shift, if it is known.
        tile: Voxels computed together; any number gives the same matrix.
        dtype: Type of the entries.

    Returns:
        The influence, with a group for each layer.

    Raises:
        ValueError: A value is out of range.
    """
    if not 0.0 < cut < 1.0:
        raise ValueError(f"cut is {cut!r}; allowed: above 0 and below 1")
    if not 0.5 <= scenario.range_factor <= 2.0:
        raise ValueError(f"range_factor is {scenario.range_factor!r}; allowed: 0.5 to 2")
    shift = real_array(scenario.shift, "shift", finite=False)
    if shift.shape != (2,) or not np.isfinite(shift).all():
        raise ValueError(f"shift is {scenario.shift!r}; allowed: two finite numbers [cm]")
    if tile < 1:
        raise ValueError(f"tile is {tile!r}; allowed: at least 1 voxel")
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype is {np.dtype(dtype)}; allowed: float32 or float64")
    found = geometry or trace(phantom, beams.angles, beams.isocentre)
    wanted = (len(beams.angles), phantom.num_voxels)
    if found.depths.shape != wanted or found.offsets.shape != wanted:
        raise ValueError(
            f"geometry has shapes {found.depths.shape} and {found.offsets.shape}; allowed: "
            f"{wanted}, beams and voxels of this phantom"
        )
    # Seen from the patient the beams move the other way.
    offsets = lateral(phantom.points, directions(beams.angles), beams.isocentre - shift)
    tables = stacked_tables(beams.reach)
    common = (
        beams.beam_layers, beams.layer_spots, beams.reach, beams.spot_offset, tables,
        bragg.TABLE_STEP, beams.air_sigma, float(scenario.range_factor), float(cut),
    )  # fmt: skip
    voxels = phantom.num_voxels
    counts = np.empty(voxels, np.int64)
    blocks = [slice(start, min(start + tile, voxels)) for start in range(0, voxels, tile)]
    parts = [
        (np.ascontiguousarray(found.depths[:, b]), np.ascontiguousarray(offsets[:, b]))
        for b in blocks
    ]
    for block, (depths, off) in zip(blocks, parts, strict=True):
        count = choose(influence_kernels.count_entries, influence_kernels.count_entries_parallel)
        count(depths, off, *common, counts[block])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    data = np.empty(indptr[-1], dtype)
    indices = np.empty(indptr[-1], np.int32)
    for block, (depths, off) in zip(blocks, parts, strict=True):
        pointers = indptr[block.start : block.stop + 1]
        fill = choose(influence_kernels.fill_entries, influence_kernels.fill_entries_parallel)
        fill(depths, off, *common, pointers, data, indices)
    return DoseInfluence(
        data, indices, indptr, beams.num_spots, phantom.structures, phantom.prescription,
        beams.spot_layer, phantom.shape, phantom.spacing,
    )  # fmt: skip


def stacked_tables(reach: Floats) -> Floats:
    """Depth doses of layers ``(layers, n)``, padded with zeros."""
    found = [bragg.depth_dose(float(one))[1] for one in reach]
    tables = np.zeros((len(found), max(map(len, found)) + 1))
    for row, table in zip(tables, found, strict=True):
        row[: len(table)] = table
    return tables
