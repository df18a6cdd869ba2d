"""Regimens that trials found as good as each other, beside the linear-quadratic law.

What was read: the abstracts of START A (PMC2323709), START B (PMC2277488), FAST-Forward (Lancet
395, 1613; Clin. Oncol. 2021, Keele eprint 9702) and Whelan et al., N Engl J Med 362:513 (2010).
alpha/beta of breast 3.5 Gy [1.2, 5.7] as a lecture on START prints it (Joiner, BCRB 2018).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from oncogym.core.arrays import Floats
from oncogym.envs.radiobiology import bed, eqd2
from oncogym.evaluation.reproduce.checks import Check, compare

# Breast: Gy, and its interval.
_RATIO, _RATIO_LOW, _RATIO_HIGH = 3.5, 1.2, 5.7
# Fractions and dose of the usual and the shorter regimen, which trials found as good.
_TRIALS = {
    "start_a": ("START A, 41.6 Gy in 13 against 50 Gy in 25", (25, 50.0), (13, 41.6),
                "relapse at 5 years 3.5 against 3.6 %"),
    "start_b": ("START B, 40 Gy in 15 against 50 Gy in 25", (25, 50.0), (15, 40.0),
                "relapse at 5 years 2.2 against 3.3 %: 40 Gy in three weeks does better than the "
                "linear-quadratic law without time lets it; the law does not hold it"),
    "sixteen": ("Whelan, 42.5 Gy in 16 against 50 Gy in 25", (25, 50.0), (16, 42.5),
                "relapse at 10 years 6.2 against 6.7 %"),
    "fast_forward": ("FAST-Forward, 26 Gy in 5 against 40 Gy in 15", (15, 40.0), (5, 26.0),
                     "relapse at 5 years 1.4 against 2.1 %"),
}  # fmt: skip


def split_evenly(regimen: tuple[int, float]) -> Floats:
    """Doses of the fractions [Gy] of a regimen ``(fractions, Gy)``."""
    count, total = regimen
    return np.full(count, total / count)


def equal_ratio(one: tuple[int, float], other: tuple[int, float]) -> float:
    """alpha/beta [Gy] at which two regimens ``(fractions, Gy)`` have the same BED."""

    def difference(ratio: float) -> float:
        return float(bed(split_evenly(one), ratio) - bed(split_evenly(other), ratio))

    return float(brentq(difference, 1e-3, 1e3))


def check_fractionation() -> list[Check]:
    """At which alpha/beta the regimens of a trial are equal, and their rank at that of breast."""
    checks = []
    for name, (quantity, usual, short, outcome) in _TRIALS.items():
        obtained = equal_ratio(usual, short)
        holds = _RATIO_LOW <= obtained <= _RATIO_HIGH
        tolerance = _RATIO - _RATIO_LOW if obtained < _RATIO else _RATIO_HIGH - _RATIO
        first, second = (float(eqd2(split_evenly(one), _RATIO)) for one in (short, usual))
        note = f"{outcome}. EQD2 at {_RATIO:g} Gy: {first:.1f} against {second:.1f} Gy"
        checks.append(
            compare(f"bed_{name}", f"{quantity}: alpha/beta of equal BED [Gy]", _RATIO, obtained,
                    tolerance, note, valid=holds)
        )  # fmt: skip
    return checks
