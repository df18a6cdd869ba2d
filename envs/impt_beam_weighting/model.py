"""Patients, and courses of fractions without the decision layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncogym.core.arrays import Floats
from oncogym.envs.impt_beam_weighting import fraction_kernels as kernel
from oncogym.envs.impt_beam_weighting.plan_library import PlanLibrary
from oncogym.envs.impt_beam_weighting.planning.checks import real_array
from oncogym.envs.impt_beam_weighting.records import LIBRARY, MOST_ORGANS, PATIENT
from oncogym.envs.patient import PatientRecord
from oncogym.envs.records import make_rows, names_of, records_of

# Systematic errors of the nominal population [cm, relative], and random displacement [cm]; the
# margins of the specification: 3 to 5 mm, 3 to 3.5 %.
SYSTEMATIC_SD = 0.3
RANGE_SD = 0.03
RANDOM_SD = 0.2


@dataclass(frozen=True)
class IMPTPatient(PatientRecord):
    """A patient's anatomy and the errors that planning does not know.

    Attributes:
        anatomy: Number of the anatomy: 0 the phantom itself, others its variations.
        shift_x, shift_y, shift_z: Systematic displacement along each axis [cm].
        range_error: Relative error of all water-equivalent depths.
        random_sd: Standard deviation of the displacement of a single fraction along each axis [cm].
    """

    anatomy: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    shift_z: float = 0.0
    range_error: float = 0.0
    random_sd: float = RANDOM_SD

    FIELDS: ClassVar[tuple[str, ...]] = names_of(PATIENT)
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        "anatomy": (0.0, 1e6),
        "shift_x": (-5.0, 5.0),
        "shift_y": (-5.0, 5.0),
        "shift_z": (-5.0, 5.0),
        "range_error": (-0.3, 0.3),
        "random_sd": (0.0, 3.0),
    }
    UNITS: ClassVar[Mapping[str, str]] = {
        "anatomy": "number",
        "shift_x": "cm",
        "shift_y": "cm",
        "shift_z": "cm",
        "random_sd": "cm",
    }
    LABELS: ClassVar[tuple[str, ...]] = ("anatomy",)
    KNOWN: ClassVar[tuple[str, ...]] = ("anatomy",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anatomy != int(self.anatomy):
            raise ValueError(f"anatomy is {self.anatomy!r}; allowed: a whole number")


@dataclass(frozen=True)
class Tables:
    """Libraries as the kernels take them: flat tables, one record a library.

    Attributes:
        libraries: Rows ``LIBRARY`` of ``records.py`` ``(libraries, numbers)``.
        doses, normals: Tables of all libraries, one after another.
        voxels: Number of voxels of interest of each library ``(libraries,)``.
    """

    libraries: Floats
    doses: NDArray[np.float32]
    normals: Floats
    voxels: NDArray[np.int64]

    @classmethod
    def of(cls, libraries: Sequence[PlanLibrary]) -> Tables:
        """Tables of several libraries with the same plans, axes and number of organs.

        Raises:
            ValueError: They differ, or have more organs than a course can have.
        """
        first = libraries[0]
        count = len(first.organs)
        if count > MOST_ORGANS:
            raise ValueError(f"there are {count} organs at risk; allowed: up to {MOST_ORGANS}")
        shape = first.plans, len(first.fine), len(first.organs)
        for one in libraries:
            if (one.plans, len(one.fine), len(one.organs)) != shape:
                raise ValueError("libraries of one task differ in plans, axes or organs")
        rows = np.concatenate([_row(one) for one in libraries])
        doses = normals = 0
        for head, one in zip(records_of(rows, LIBRARY), libraries, strict=True):
            head["doses"], head["normals"] = doses, normals
            head["limits"][:count] = one.limits
            head["starts"][: count + 2] = one.starts
            doses += one.doses.size
            normals += one.normal.size
        return cls(
            rows,
            np.concatenate([one.doses.ravel() for one in libraries]),
            np.concatenate([one.normal.ravel() for one in libraries]),
            np.array([one.starts[-1] for one in libraries], np.int64),
        )


def _row(library: PlanLibrary) -> Floats:
    """A record of a library whose tables begin at 0, without its organs ``(1, numbers)``."""
    row = make_rows(1, LIBRARY)
    head = records_of(row, LIBRARY)[0]
    head["voxels"], head["prescription"] = library.starts[-1], library.prescription
    for name in ("fine", "coarse"):
        lattice = getattr(library, name)
        for part, values in zip(("low", "step", "count"), lattice.T, strict=True):
            head[f"{name}_{part}"][: len(lattice)] = values
    return row


def simulate(
    library: PlanLibrary, multiples: ArrayLike, errors: ArrayLike
) -> tuple[Floats, Floats]:
    """Accumulated dose of a course of fractions, without decisions.

    Args:
        library: Plans of an anatomy.
        multiples: Multiple of each plan in each fraction ``(fractions, plans)``; 1/30 of a plan in
            each of 30 fractions gives the plan's dose.
        errors: Residual shift along each axis [cm] and range error in each fraction
            ``(fractions, axes + 1)``; beyond the library's lattice its edge counts.

    Returns:
        Dose of the voxels of interest after each fraction ``(fractions, voxels)`` [Gy], target
        first, and mean dose of normal tissue ``(fractions,)`` [Gy].

    Raises:
        ValueError: Shapes do not fit, or a value is not finite.
    """
    given, wrong = real_array(multiples, "multiples"), real_array(errors, "errors")
    wanted = (len(given), len(library.plans)), (len(given), len(library.fine))
    if (given.shape, wrong.shape) != wanted:
        raise ValueError(
            f"multiples and errors have shapes {given.shape} and {wrong.shape}; allowed: "
            f"(fractions, {len(library.plans)}) and (fractions, {len(library.fine)})"
        )
    each, normal = np.empty((len(given), library.starts[-1])), np.empty(len(given))
    kernel.deliver_fractions(
        np.arange(len(given)),
        _row(library)[0],
        library.doses.ravel(),
        library.normal.ravel(),
        np.ascontiguousarray(wrong),
        np.ascontiguousarray(given),
        each,
        normal,
    )
    return np.cumsum(each, axis=0), np.cumsum(normal)
