"""What a dose is: absorbed dose, or weighted with a relative biological effectiveness (RBE)."""

from __future__ import annotations

from oncogym.core.errors import nearest

#: Absorbed (physical) dose.
GRAY = "Gy"
#: Absorbed dose times RBE.
GRAY_RBE = "Gy (RBE)"
UNITS = (GRAY, GRAY_RBE)
_QUANTITIES = {GRAY: "physical dose", GRAY_RBE: "RBE-weighted dose"}


def check_unit(unit: str) -> str:
    """``unit`` if it is one of :data:`UNITS`; an error with a suggestion if not."""
    if unit not in UNITS:
        raise nearest("unit of dose", str(unit), UNITS)
    return unit


def quantity_of(unit: str) -> str:
    """Name of the quantity that has this unit."""
    return _QUANTITIES[unit]
