"""Two trials of shorter radiation in older patients with glioblastoma, beside the model.

What was read: the abstracts of Roa et al., J Clin Oncol 22:1583 (2004), 40 Gy in 15 fractions
against 60 Gy in 30 (survival at 6 months 41.7 and 44.7 %, lower bound of the difference -13.7), and
of Roa et al., J Clin Oncol 33:4145 (2015), 25 Gy in 5 against 40 Gy in 15 (median 7.9 [6.3, 9.6]
and 6.4 [5.1, 7.6] months).
"""

from __future__ import annotations

import numpy as np

from oncogym.core.arrays import Floats
from oncogym.envs.glioblastoma_radiation.model import simulate_batch, with_weekend_breaks
from oncogym.evaluation.reproduce.beyond.glioma_growth import cohort_patients
from oncogym.evaluation.reproduce.checks import Check, compare

_PATIENTS = 256
_FOLLOWED = 4000  # d
_MONTH = 365.25 / 12.0  # d
# Fractions and Gy.
_LONG, _SHORT, _SHORTEST = (30, 60.0), (15, 40.0), (5, 25.0)


def survival_after(regimen: tuple[int, float], rows: Floats) -> Floats:
    """Days from detection to death ``(k,)`` of patient rows under a regimen with weekends."""
    count, total = regimen
    doses = with_weekend_breaks(np.full(count, total / count))
    found = simulate_batch(
        np.tile(doses, (len(rows), 1)), rows, interpolate=True, horizon=_FOLLOWED, parallel=False
    )
    return np.asarray(found.death_day - found.growth_days)


def check_glioma_trials(count: int = _PATIENTS) -> list[Check]:
    """Differences of survival between the arms, of ``count`` patients."""
    rows = cohort_patients("held_out", count)
    long, short, shortest = (survival_after(one, rows) for one in (_LONG, _SHORT, _SHORTEST))
    alive = [100.0 * float((days >= 6.0 * _MONTH).mean()) for days in (short, long)]
    months = [float(np.median(days)) / _MONTH for days in (shortest, short)]
    patients = (
        f"{count} patients of held_out from detection on, without surgery or drugs; nothing but "
        "the radius kills in the model"
    )
    return [
        compare("roa_2004", "40 Gy in 15 less 60 Gy in 30, alive at 6 months [%]",
                41.7 - 44.7, alive[0] - alive[1], 13.7 - 3.0,
                f"{alive[0]:.1f} and {alive[1]:.1f} %; {patients}. BED at 10 Gy 50.7 and 72 Gy"),
        compare("roa_2015", "25 Gy in 5 less 40 Gy in 15, median survival [months]",
                7.9 - 6.4, months[0] - months[1], float(np.hypot(9.6 - 6.3, 7.6 - 5.1)) / 2.0,
                f"{months[0]:.2f} and {months[1]:.2f} months; {patients}. BED at 10 Gy 37.5 and "
                "50.7 Gy: where the trial sees none, the linear-quadratic law sees a loss"),
    ]  # fmt: skip
