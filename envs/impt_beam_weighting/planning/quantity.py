"""What the doses of another planning system are: its own word on RBE, used or said."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy

from oncogym.core.errors import nearest
from oncogym.envs.impt_beam_weighting.planning.checks import real_number
from oncogym.envs.impt_beam_weighting.planning.errors import PlanImportError, PlanningWarning
from oncogym.envs.impt_beam_weighting.planning.units import GRAY, GRAY_RBE

#: What an import may be told to take: absorbed dose whatever the file says, or constant RBE.
QUANTITIES = ("physical", "constant_rbe")


def choose_quantity(
    asked: str | None, rbe: Any, models: dict[str, Any], voxels: int, where: str
) -> tuple[float, str]:
    """Factor of the physical dose, and the unit of the product.

    A constant RBE is applied. With a variable RBE the weighted dose is no linear function of the
    weights, so that there is no such matrix: the physical dose is taken, and a
    :class:`PlanningWarning` says so.

    Args:
        asked: One of :data:`QUANTITIES`, or ``None`` for what the file says.
        rbe: Its constant RBE; ``None`` or empty if there is none.
        models: Its matrices of a variable RBE by name.
        voxels: Number of rows that such a matrix has.
        where: How messages call the file or object.

    Raises:
        PlanImportError: The RBE is no number above 0, the file has both a constant and a variable
            one, or none where a constant one was asked for.
        UnknownNameError: There is no such quantity.
    """
    if asked is not None and asked not in QUANTITIES:
        raise nearest("quantity", asked, QUANTITIES)
    factor = None if rbe is None or np.size(rbe) == 0 else _factor(rbe, where)
    variable = [name for name, value in models.items() if _is_filled(value, voxels)]
    named = " and ".join(variable)
    if asked == "physical":
        return 1.0, GRAY
    if asked == "constant_rbe":
        if factor is None:
            raise PlanImportError(f"{where} has no constant RBE; allowed: quantity='physical'")
        return factor, GRAY_RBE
    if factor is not None and variable:
        raise PlanImportError(
            f"{where} has a constant RBE of {factor:g} and a variable one ({named}): which dose is "
            "meant? Allowed: quantity='constant_rbe' or quantity='physical'"
        )
    if factor is not None:
        return factor, GRAY_RBE
    if variable:
        warnings.warn(
            f"{where} has a model of variable RBE ({named}), whose weighted dose is no linear "
            "function of the weights: the physical dose is taken, in Gy, without any RBE; "
            "quantity='physical' says that this is meant",
            PlanningWarning,
            stacklevel=4,
        )
    return 1.0, GRAY


def _factor(rbe: object, where: str) -> float:
    values = np.asarray(rbe)
    if values.size != 1 or values.dtype.kind not in "iuf":
        raise PlanImportError(f"the RBE of {where} is {rbe!r}; allowed: one number")
    try:
        return real_number(values.ravel()[0], f"the RBE of {where}", 0.1, 20.0)
    except ValueError as error:
        raise PlanImportError(str(error)) from None


def _is_filled(value: Any, voxels: int) -> bool:
    """Whether a field, or a cell of it, is a matrix; an unused one is empty or the number 0."""
    if value is None:
        return False
    if scipy.sparse.issparse(value):
        return value.shape[0] == voxels
    array = np.asarray(value)
    if array.dtype == object:
        return any(_is_filled(one, voxels) for one in array.ravel())
    return array.ndim == 2 and array.shape[0] == voxels and array.size > 1
