"""What clinicians read off a dose: dose-volume histograms and the numbers drawn from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncogym.envs.impt_beam_weighting.influence import DoseInfluence
from oncogym.envs.impt_beam_weighting.phantom import Phantom
from oncogym.envs.impt_beam_weighting.structures import REST, StructureSet

Floats = NDArray[np.float64]
# The dose that counts as treated volume in the conformity index, as a share of the prescription.
_ISODOSE = 0.95


def dose_statistics(
    dose: ArrayLike,
    anatomy: Phantom | DoseInfluence | StructureSet,
    prescription: float | None = None,
) -> dict[str, dict[str, float]]:
    """Dose-volume numbers of every structure, normal tissue included.

    Args:
        dose: Dose ``(voxels,)`` [Gy].
        anatomy: Where the structures are.
        prescription: Prescribed dose [Gy], by default that of the phantom or influence.

    Returns:
        For each structure ``mean``, ``min``, ``max``, ``D98``, ``D95``, ``D50``, ``D2`` [Gy]
        (Dq: the dose that q per cent of the voxels reach, the (100 - q)th percentile with linear
        interpolation). For the target also ``V95`` and ``V107`` [%] of the prescription, the
        homogeneity index ``HI`` = (D2 - D98) / D50, and Paddick's conformity index ``CI`` =
        (target within the 95 % isodose)^2 / (target x isodose volume). For organs with a limit also
        ``excess``, the largest dose above it [Gy].

    Raises:
        ValueError: The dose has another number of voxels, or is not finite.
    """
    structures = anatomy if isinstance(anatomy, StructureSet) else anatomy.structures
    if prescription is None:
        prescription = 60.0 if isinstance(anatomy, StructureSet) else anatomy.prescription
    values = _checked(dose, structures.num_voxels)
    found: dict[str, dict[str, float]] = {}
    for one in structures:
        own = values[one.voxels]
        numbers = _numbers(own)
        if one.role == "target":
            treated = values >= _ISODOSE * prescription
            hit = int(treated[one.voxels].sum())
            numbers["V95"] = 100.0 * hit / len(own)
            numbers["V107"] = 100.0 * float((own >= 1.07 * prescription).mean())
            middle = numbers["D50"]
            numbers["HI"] = (numbers["D2"] - numbers["D98"]) / middle if middle > 0.0 else 0.0
            volume = int(treated.sum())
            numbers["CI"] = hit**2 / (len(own) * volume) if volume else 0.0
        elif one.limit is not None:
            numbers["excess"] = max(0.0, numbers["max"] - one.limit)
        found[one.name] = numbers
    rest = structures.exclusive(REST)
    if len(rest):
        found[REST] = _numbers(values[rest])
    return found


def dvh(dose: ArrayLike, voxels: ArrayLike, doses: ArrayLike) -> Floats:
    """Cumulative dose-volume histogram: the share of ``voxels`` that reach each of ``doses``.

    Args:
        dose: Dose ``(voxels of the grid,)`` [Gy].
        voxels: Voxels of a structure.
        doses: Doses ``(n,)`` [Gy].

    Returns:
        Shares ``(n,)`` from 1 down to 0, never increasing with the dose.
    """
    own = np.sort(np.asarray(dose, np.float64)[np.asarray(voxels)])
    below = np.searchsorted(own, np.asarray(doses, np.float64), side="left")
    return np.asarray(1.0 - below / len(own))


def _checked(dose: Any, voxels: int) -> Floats:
    values = np.asarray(dose, np.float64)
    if values.shape != (voxels,):
        raise ValueError(f"the dose has shape {values.shape}; allowed: ({voxels},)")
    if not np.isfinite(values).all():
        raise ValueError("the dose is not finite everywhere")
    return values


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
