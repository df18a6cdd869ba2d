"""How fast glioblastomas grow, and how far radiation sets them back, beside the model's patients.

What was read: the abstract of a study of 95 untreated glioblastomas (Cancer 122:1718, 2016: median
volume doubling time 21.1 d); the abstract of Neal et al., PLoS ONE 8:e51951 (2013): patients with
100 days gained or more had longer progression-free survival, with 117 or more longer overall
survival. The front speeds of slow, average and fast tumours, 0.029, 0.079 and 0.13 mm/d, are those
of Kim et al., Cancers 9:51 (2017), as the environment's page quotes them.
"""

from __future__ import annotations

import numpy as np

from oncogym.core.arrays import Floats
from oncogym.envs import get_treatment
from oncogym.envs.glioblastoma_radiation.kernels import DETECTION_RADIUS
from oncogym.envs.glioblastoma_radiation.model import (
    GlioblastomaPatient,
    simulate,
    with_weekend_breaks,
)
from oncogym.evaluation.reproduce.checks import Check, compare

_PATIENTS = 64
_FOLLOWED = 4000  # d
_STANDARD = (30, 2.0)  # fractions, Gy
# The first scan after radiation, days after the last fraction: 2 to 6 weeks are usual.
_SCAN = 28
_DOUBLING, _THRESHOLDS = 21.1, (100.0, 117.0)
_SPEEDS = {"slow": 0.029, "average": 0.079, "fast": 0.13}  # mm/d
# Radii between which the front's speed is measured: settled, and far from the boundary.
_FROM, _TO = 20.0, 34.0


def doubling_time(patient: GlioblastomaPatient) -> float:
    """Days after detection in which an untreated tumour, as a ball, doubles its T1 volume."""
    course = simulate(np.zeros(1), patient, interpolate=True, horizon=_FOLLOWED)
    goal = DETECTION_RADIUS * 2.0 ** (1.0 / 3.0)
    start = np.interp(DETECTION_RADIUS, course.t1_radius, course.day)
    return float(np.interp(goal, course.t1_radius, course.day) - start)


def days_gained(patient: GlioblastomaPatient) -> float:
    """By how many days the standard course has set the tumour back at the first scan after it.

    The day of the scan less the day on which the untreated tumour has the radius that the scan
    shows; before its detection the untreated radius is a line through its first week.
    """
    doses = with_weekend_breaks(np.full(_STANDARD[0], _STANDARD[1]))
    scan = len(np.trim_zeros(doses, "b")) - 1 + _SCAN
    treated = simulate(doses, patient, interpolate=True, horizon=_FOLLOWED)
    alone = simulate(np.zeros(1), patient, interpolate=True, horizon=_FOLLOWED)
    seen = float(treated.t1_radius[min(scan, len(treated.t1_radius) - 1)])
    since, radii = alone.day - alone.day[0], alone.t1_radius
    if seen < radii[0]:
        return float(scan - (seen - radii[0]) / (radii[7] - radii[0]) * 7.0)
    return float(scan - np.interp(seen, radii, since))


def _front_width() -> float:
    """sqrt(D/rho) [mm] of the source's patient."""
    nominal = GlioblastomaPatient()
    return float(np.sqrt(nominal.diffusion / nominal.proliferation))


def front_speed(speed: float) -> float:
    """Speed of the T1 front [mm/d] by the accurate solver where 2 sqrt(D rho) is ``speed``.

    The front's width, sqrt(D/rho), is that of the source's patient.
    """
    width = _front_width()
    patient = GlioblastomaPatient(diffusion=0.5 * speed * width, proliferation=0.5 * speed / width)
    course = simulate(np.zeros(1), patient, numerics="accurate", horizon=_FOLLOWED)
    start, stop = np.interp([_FROM, _TO], course.t1_radius, course.day)
    return float((_TO - _FROM) / (stop - start))


def front_speeds(rows: Floats) -> Floats:
    """Planar front speeds [mm/d] of patient rows ``(k, fields)``."""
    return np.asarray(2.0 * np.sqrt(rows[:, 0] * rows[:, 1]))


def cohort_patients(name: str, count: int) -> Floats:
    """The first rows ``(count, fields)`` of a cohort."""
    return get_treatment("glioblastoma_radiation").cohort(name).patients(count)


def check_growth(count: int = _PATIENTS) -> list[Check]:
    """Growth of ``count`` patients without treatment, days gained, speeds of the fronts."""
    rows = cohort_patients("held_out", count)
    patients = [GlioblastomaPatient.from_array(row) for row in rows]
    doubled = np.array([doubling_time(patient) for patient in patients])
    gained = np.array([days_gained(patient) for patient in patients])
    low, middle, high = np.percentile(doubled, (25, 50, 75))
    checks = [
        compare("growth_doubling", "Untreated glioblastoma, median volume doubling time [d]",
                _DOUBLING, middle, 0.5 * (high - low),
                f"{count} patients of held_out from detection on, middle half {low:.3g} to "
                f"{high:.3g} d; measured on 95 patients before surgery. The cohort, a factor of "
                "two about its source's patient, grows more slowly")
    ]  # fmt: skip
    low, middle, high = np.percentile(gained, (25, 50, 75))
    for threshold in _THRESHOLDS:
        share = float((gained >= threshold).mean())
        checks.append(
            compare(f"days_gained_{threshold:.0f}", "30 x 2 Gy, median days gained [d]", threshold,
                    middle, 0.5 * (high - low),
                    f"at a scan {_SCAN} d after the last fraction; {share:.0%} of {count} "
                    f"patients reach the threshold, half lie between {low:.3g} and {high:.3g} d; "
                    "a threshold that parts real patients parts these, too")
        )  # fmt: skip
    for name, speed in _SPEEDS.items():
        checks.append(
            compare(f"front_{name}", f"Front of a tumour called {name}, T1 radius [mm/d]", speed,
                    front_speed(speed), 1.5 * _front_width() / _FROM * speed,
                    f"2 sqrt(D rho) as published; accurate solver, from {_FROM:g} to {_TO:g} mm. A "
                    "front from a point nears its planar speed from below, by 3/2 sqrt(D/rho) over "
                    "its way: the tolerance")
        )  # fmt: skip
    speeds = front_speeds(cohort_patients("slow", 256))
    for name in ("slow", "average"):
        share = float((speeds <= _SPEEDS[name]).mean())
        checks.append(
            compare(f"cohort_{name}", f"Share of cohort 'slow' below the {name} speed",
                    0.5, share, 0.45, "a cohort covers what 5 to 95 % of it are slower than")
        )  # fmt: skip
    return checks
