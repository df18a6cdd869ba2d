"""Where the laws of the spheroid model hold, and how a course outside is noticed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncogym.envs.emt6ro_fractionation.protocol import SLOT_HOURS
from oncogym.envs.emt6ro_fractionation.records import SIDE
from oncogym.envs.emt6ro_fractionation.rules import CYCLE_SLOTS

# A tumour dies in layers: what rested behind those that died repairs next. A repair that takes more
# than this part of the time followed leaves no time for the last layers: the larger the dose, the
# more sites are left, at any time of following from 48 to 240 h.
_LARGEST_SHARE = 0.25
# Shorter simulations are judged like one of the treatment time: they only end early.
_SHORTEST_HOURS = 120.0


def largest_acute_dose(delay: ArrayLike, growth: ArrayLike, hours: float) -> NDArray[np.float64]:
    """Largest dose [Gy] within one cell cycle for which the law of repair is taken to hold.

    A repair lasts ``delay * exp(growth * damage)``, which no data bound: beyond about 29 Gy it
    outlasts the ten days of the source, no cell ever dies, and the tumour seems healed. The doses
    of a cycle add up where they meet no repair.

    Args:
        delay: Duration of the repair of vanishing damage [h].
        growth: Its growth with damage [1/Gy].
        hours: Time that is simulated [h].

    Returns:
        The dose, at least 0 and infinite where repair never takes long.
    """
    longest = _LARGEST_SHARE * max(hours, _SHORTEST_HOURS)
    room = np.log(longest / np.asarray(delay, np.float64))
    slope = np.asarray(growth, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        dose = np.where(slope > 0.0, room / slope, np.where(room >= 0.0, np.inf, 0.0))
    return np.maximum(dose, 0.0)


def acute_doses(doses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest sum of the doses [Gy] within one cell cycle, of each row of slots ``(k, slots)``."""
    sums = np.cumsum(np.pad(doses, ((0, 0), (CYCLE_SLOTS, 0))), axis=1)
    return np.asarray((sums[:, CYCLE_SLOTS:] - sums[:, :-CYCLE_SLOTS]).max(axis=1, initial=0.0))


def cycle_hours() -> float:
    """The cell cycle within which doses add up [h]."""
    return CYCLE_SLOTS * SLOT_HOURS


def at_edge(phase: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which tumours ``(k, sites)`` occupy the border of the lattice."""
    lattice = phase.reshape(len(phase), SIDE, SIDE) > 0
    border = lattice[:, 0] | lattice[:, -1] | lattice[:, :, 0] | lattice[:, :, -1]
    return np.asarray(border.any(axis=1))
