"""The longest possible time to progression, exact, where there is no turnover.

Of two paths to the same resistant burden the one with the larger total burden lasts longer, as
``T = int dlnR / (rR (1 - N))``. No path to progression at (R2, L) lies above the limit L, above
untreated growth from the start, or above the full dose that leads to (R2, L). The smallest of the
three can be followed: no drug, then hold at the limit, then full dose. What is left is R2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy

from oncogym.envs.adaptive_therapy.model import PROGRESSION, AdaptivePatient

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(80)


class ContinuousOptimum(NamedTuple):
    """What no schedule can pass, whatever its doses and its times of decision."""

    ttp: float
    """Days to progression."""
    full_dose_from: float
    """Resistant burden from which the full dose is given."""
    resistant_at_end: float
    """Resistant burden at progression."""


def find_continuous_optimum(
    patient: AdaptivePatient | None = None, progression: float = PROGRESSION
) -> ContinuousOptimum:
    """The exact optimum of the time to progression in continuous time.

    Raises:
        ValueError: The patient has turnover, for which the proof does not hold, a full dose that
            does not shrink the tumour, or the limit is not above 1 and below 1 / n0.
    """
    who = patient or AdaptivePatient()
    if who.turnover != 0.0:
        raise ValueError(f"turnover is {who.turnover}; allowed: 0, where the optimum is proved")
    if who.dD <= 1.0:
        raise ValueError(f"dD is {who.dD}; allowed: above 1, where a full dose shrinks the tumour")
    if not 1.0 < progression < 1.0 / who.n0:
        raise ValueError(
            f"progression is {progression}; allowed: above 1 and below 1/n0 = {1.0 / who.n0:g}"
        )
    growth, limit = who.resistant_growth, progression * who.n0
    start_s, start_r = who.n0 * (1.0 - who.fR), who.n0 * who.fR
    rise, fall = who.rS / growth, (who.dD - 1.0) * who.rS / growth

    def grown(x: float) -> float:
        return math.exp(x) + start_s * math.exp(rise * (x - math.log(start_r)))

    def smooth(low: float, high: float, scale: float, power: float) -> float:
        """Time of N = R + scale R^power between two ln R; ``scale`` as a logarithm."""
        if high <= low:
            return 0.0
        x = 0.5 * (high + low) + 0.5 * (high - low) * _NODES
        burden = np.exp(x) + np.exp(scale + power * x)
        return float(0.5 * (high - low) * (_WEIGHTS / (growth * (1.0 - burden))).sum())

    first = math.log(start_r)
    growth_scale = math.log(start_s) - rise * first
    reaches = scipy.optimize.brentq(lambda x: grown(x) - limit, first, math.log(limit), xtol=1e-14)
    # Under full dose the burden turns here; before it the limit can still be held.
    turn = math.log(fall * limit / (1.0 + fall))

    def scale_of(last: float) -> float:
        return math.log(limit - math.exp(last)) + fall * last

    def leave(last: float) -> float:
        """ln R at which the full dose to ``last`` begins at the limit."""
        scale = scale_of(last)

        def above(x: float) -> float:
            return math.exp(x) + math.exp(scale - fall * x) - limit

        low = (scale - math.log(limit)) / fall - 1e-9
        return float(scipy.optimize.brentq(above, low, turn, xtol=1e-14)) if last > turn else last

    def time(last: float) -> float:
        scale, left = scale_of(last), leave(last)
        if left >= reaches:
            held = (left - reaches) / (growth * (1.0 - limit))
            return (
                smooth(first, reaches, growth_scale, rise) + held + smooth(left, last, scale, -fall)
            )
        meet = min(max((scale - growth_scale) / (rise + fall), first), last)
        return smooth(first, meet, growth_scale, rise) + smooth(meet, last, scale, -fall)

    # The last end that full dose from the start can reach.
    top = math.log(limit) - 1e-12
    needed = math.log(start_s) + fall * first
    latest = scipy.optimize.brentq(
        lambda x: scale_of(x) - needed, max(turn, first), top, xtol=1e-13
    )
    best = scipy.optimize.minimize_scalar(
        lambda x: -time(x), bounds=(max(turn, first), latest), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    last = float(best.x)
    return ContinuousOptimum(-float(best.fun), math.exp(leave(last)), math.exp(last))
