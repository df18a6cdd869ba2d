"""What clinicians read off a dose: dose-volume histograms and the numbers drawn from them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from oncogym.core.arrays import Floats
from oncogym.envs.impt_beam_weighting.planning.checks import real_array, real_number
from oncogym.envs.impt_beam_weighting.planning.influence import DoseInfluence
from oncogym.envs.impt_beam_weighting.planning.phantom import Phantom
from oncogym.envs.impt_beam_weighting.planning.structures import REST, Structure, StructureSet
from oncogym.envs.impt_beam_weighting.planning.units import GRAY
from oncogym.envs.impt_beam_weighting.planning.voxels import check_grid, read_voxels

# The dose that counts as treated volume in the conformity index, as a share of the prescription.
_ISODOSE = 0.95


class DoseStatistics(dict[str, dict[str, float]]):
    """Numbers of each structure by name.

    Attributes:
        unit: Unit of the doses, ``"Gy"`` or ``"Gy (RBE)"``.
        prescription: Prescribed dose to which ``V95``, ``V107`` and ``CI`` refer, or ``None`` if
            none is known; they are NaN then.
    """

    def __init__(self, unit: str, prescription: float | None) -> None:
        super().__init__()
        self.unit = unit
        self.prescription = prescription


def dose_statistics(
    dose: ArrayLike,
    anatomy: Phantom | DoseInfluence | StructureSet,
    prescription: float | None = None,
) -> DoseStatistics:
    """Dose-volume numbers of every structure, normal tissue included.

    Args:
        dose: Dose ``(voxels,)``, in the unit of the anatomy.
        anatomy: Where the structures are.
        prescription: Prescribed dose, by default that of the phantom or influence, if it has one.

    Returns:
        For each structure ``mean``, ``min``, ``max``, ``D98``, ``D95``, ``D50``, ``D2`` (Dq: the
        dose that q per cent of the voxels reach, the (100 - q)th percentile with linear
        interpolation; in structures of fewer than some 50 voxels D98 and D2 rest on the two coldest
        or hottest). For the target also:

        - ``V95`` and ``V107`` [%] of the prescription;
        - the homogeneity index ``HI`` = (D2 - D98) / D50. It is 0 only for an even dose: infinite
            where half of the target or more gets nothing, and NaN for a target of a single voxel,
            in which a dose cannot be uneven;
        - Paddick's conformity index ``CI`` = (target within the 95 % isodose)^2 / (target x isodose
            volume), from 0 (the isodose misses the target, or does not exist) to 1.

        For organs with a limit also ``excess``, the largest dose above it. Without a prescription
        ``V95``, ``V107`` and ``CI`` are NaN.

    Raises:
        ValueError: The dose is not real, has another number of voxels, is negative or not finite
            somewhere, or the prescription is not above 0.
    """
    structures = anatomy if isinstance(anatomy, StructureSet) else anatomy.structures
    if prescription is None and not isinstance(anatomy, StructureSet):
        prescription = anatomy.prescription
    if prescription is not None:
        prescription = real_number(prescription, "prescription", 1e-12, 1e6, "Gy")
    unit = anatomy.unit if isinstance(anatomy, DoseInfluence) else GRAY
    values = _checked(dose)
    if values.shape != (structures.num_voxels,):
        raise ValueError(f"the dose has shape {values.shape}; allowed: ({structures.num_voxels},)")
    found = DoseStatistics(unit, prescription)
    for one in structures:
        own = values[one.voxels]
        numbers = _numbers(own)
        if one.role == "target":
            numbers.update(_coverage(values, one, prescription))
            numbers["HI"] = _homogeneity(numbers, len(own))
        elif one.limit is not None:
            numbers["excess"] = max(0.0, numbers["max"] - one.limit)
        found[one.name] = numbers
    rest = structures.exclusive(REST)
    if len(rest):
        found[REST] = _numbers(values[rest])
    return found


def dvh(dose: ArrayLike, voxels: object, doses: ArrayLike) -> Floats:
    """Cumulative dose-volume histogram: the share of ``voxels`` that reach each of ``doses``.

    Args:
        dose: Dose ``(voxels of the grid,)``, or in the shape of a mask.
        voxels: A :class:`Structure`, or voxels as it takes them.
        doses: Doses ``(n,)`` in the unit of the dose.

    Returns:
        Shares ``(n,)`` from 1 down to 0, never increasing with the dose.

    Raises:
        EmptyStructureError: There is no voxel.
        ValueError: A dose is not real, negative or not finite, or the voxels are not those of its
            grid.
    """
    values = _checked(dose)
    if isinstance(voxels, Structure):
        name, own, mask = voxels.name, voxels.voxels, voxels.mask_shape
    else:
        name = "voxels"
        own, mask = read_voxels(voxels, name)
    if values.ndim != 1 and values.shape != mask:
        raise ValueError(
            f"the dose has shape {values.shape}; allowed: one value for each voxel, or the shape "
            "of a mask"
        )
    # The indices of both of two voxels may stand here: a histogram of a mask would have one.
    if not (mask is None and values.size == 2 and own.tolist() == [0, 1]):
        check_grid(name, own, mask, values.size, values.shape if values.ndim > 1 else None)
    levels = real_array(doses, "doses", finite=False)
    if np.isnan(levels).any():
        raise ValueError("a level of the histogram is NaN; allowed: numbers")
    ordered = np.sort(values.ravel()[own])
    below = np.searchsorted(ordered, levels, side="left")
    return np.asarray(1.0 - below / len(ordered))


def _checked(dose: object) -> Floats:
    values = real_array(dose, "the dose")
    if values.size and values.min() < 0.0:
        raise ValueError(f"the dose is negative somewhere: {values.min():g}; allowed: at least 0")
    return values


def _coverage(values: Floats, target: Structure, prescription: float | None) -> dict[str, float]:
    """Volumes of the target relative to the prescription, and conformity."""
    if prescription is None:
        return {"V95": math.nan, "V107": math.nan, "CI": math.nan}
    own = values[target.voxels]
    treated = values >= _ISODOSE * prescription
    hit, volume = int(treated[target.voxels].sum()), int(treated.sum())
    return {
        "V95": 100.0 * hit / len(own),
        "V107": 100.0 * float((own >= 1.07 * prescription).mean()),
        "CI": hit**2 / (len(own) * volume) if volume else 0.0,
    }


def _homogeneity(numbers: dict[str, float], voxels: int) -> float:
    if numbers["D50"] <= 0.0:
        return math.inf
    return math.nan if voxels == 1 else (numbers["D2"] - numbers["D98"]) / numbers["D50"]


def _numbers(own: Floats) -> dict[str, float]:
    d98, d95, d50, d2 = np.percentile(own, [2.0, 5.0, 50.0, 98.0]).tolist()
    return {
        "mean": float(own.mean()),
        "min": float(own.min()),
        "max": float(own.max()),
        "D98": d98,
        "D95": d95,
        "D50": d50,
        "D2": d2,
    }
