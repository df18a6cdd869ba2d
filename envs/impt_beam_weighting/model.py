"""Patients, and courses of fractions without the decision layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncogym.core.arrays import Floats
from oncogym.envs.impt_beam_weighting import step_kernels as kernel
from oncogym.envs.impt_beam_weighting.checks import real_array
from oncogym.envs.impt_beam_weighting.plan_library import PlanLibrary
from oncogym.envs.patient import PatientRecord

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

    FIELDS: ClassVar[tuple[str, ...]] = (
        "anatomy",
        "shift_x",
        "shift_y",
        "shift_z",
        "range_error",
        "random_sd",
    )
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
    """Libraries as the kernels take them: flat tables, one head a library.

    Attributes:
        heads: Where each library's tables and structures start ``(libraries, n)``.
        lattices: Fine and coarse lattice of each ``(libraries, 2, axes, 3)``.
        doses, normals: Tables of all libraries, one after another.
        limits: Limits of the organs ``(libraries, organs)`` [Gy].
        prescriptions: ``(libraries,)`` [Gy].
        voxels: Largest number of voxels of interest.
    """

    heads: NDArray[np.int64]
    lattices: Floats
    doses: NDArray[np.float32]
    normals: Floats
    limits: Floats
    prescriptions: Floats
    voxels: int

    @classmethod
    def of(cls, libraries: Sequence[PlanLibrary]) -> Tables:
        """Tables of several libraries with the same plans, axes and number of organs."""
        first = libraries[0]
        shape = first.plans, len(first.fine), len(first.organs)
        for one in libraries:
            if (one.plans, len(one.fine), len(one.organs)) != shape:
                raise ValueError("libraries of one task differ in plans, axes or organs")
        heads = np.zeros((len(libraries), kernel.STARTS + len(first.starts)), np.int64)
        doses = normals = 0
        for head, one in zip(heads, libraries, strict=True):
            head[kernel.DOSES], head[kernel.NORMALS] = doses, normals
            head[kernel.VOXELS] = one.starts[-1]
            head[kernel.STARTS :] = one.starts
            doses += one.doses.size
            normals += one.normal.size
        return cls(
            heads,
            np.stack([np.stack([one.fine, one.coarse]) for one in libraries]),
            np.concatenate([one.doses.ravel() for one in libraries]),
            np.concatenate([one.normal.ravel() for one in libraries]),
            np.stack([one.limits for one in libraries]),
            np.array([one.prescription for one in libraries]),
            int(heads[:, kernel.VOXELS].max()),
        )


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
    tables = Tables.of([library])
    each = np.empty((len(given), tables.voxels))
    normal = np.empty(len(given))
    for number, (share, error) in enumerate(zip(given, wrong, strict=True)):
        normal[number] = kernel.fraction_dose(
            tables.heads[0], tables.lattices[0], tables.doses, tables.normals, len(share),
            len(error), np.append(error, np.zeros(4 - len(error))), share, each[number],
        )  # fmt: skip
    return np.cumsum(each, axis=0), np.cumsum(normal)
