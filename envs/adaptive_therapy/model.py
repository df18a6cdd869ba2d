"""Two clones under one drug: patients, one interval, whole courses.

Burden in units of the carrying capacity, time in days, dose as a fraction of the full one.
Progression is the instant at which the burden passes ``progression`` times its start. Equations
and their reduction to one scalar: ``kernels.py``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncogym.core.checks import check_option, whole_number
from oncogym.envs.adaptive_therapy import kernels
from oncogym.envs.adaptive_therapy.records import COURSE
from oncogym.envs.adaptive_therapy.step_kernels import DRUG_WEIGHT
from oncogym.envs.patient import PatientRecord
from oncogym.envs.records import make_rows, records_of
from oncogym.envs.validity import ModelRangeWarning

FloatArray = NDArray[np.float64]

PROGRESSION = 1.2
INTERVAL = 28.0  # d
SUBSTEP = 2.0  # d
LONGEST_SUBSTEP = 7.0  # d
HORIZON = 3640.0  # d


@dataclass(frozen=True)
class AdaptivePatient(PatientRecord):
    """Parameters of one patient; the defaults are the published nominal patient.

    ``n0`` starting burden, ``fR`` resistant fraction of it, ``cost`` of resistance as a share of
    the growth rate, ``turnover`` death as a share of the growth rate, ``rS`` growth rate of the
    sensitive clone [1/d], ``dD`` kill of the full dose relative to growth.

    Raises:
        ValueError: A value is outside ``RANGES``; the message names it.
    """

    n0: float = 0.75
    fR: float = 0.001
    cost: float = 0.0
    turnover: float = 0.0
    rS: float = 0.027
    dD: float = 1.5

    FIELDS: ClassVar[tuple[str, ...]] = ("n0", "fR", "cost", "turnover", "rS", "dD")
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        "n0": (0.02, 0.8),
        "fR": (1e-7, 0.5),
        "cost": (0.0, 0.99),
        "turnover": (0.0, 0.95),
        "rS": (1e-4, 0.1),
        "dD": (1.0, 2.0),
    }
    UNITS: ClassVar[Mapping[str, str]] = {
        "n0": "capacity",
        "fR": "share of the start",
        "cost": "share of growth",
        "turnover": "share of growth",
        "rS": "1/d",
        "dD": "times growth",
    }

    @property
    def resistant_growth(self) -> float:
        """Growth rate of the resistant clone [1/d]."""
        return (1.0 - self.cost) * self.rS

    def can_progress(self, progression: float = PROGRESSION) -> bool:
        """Whether the resistant clone alone passes the limit, so that no therapy holds for ever."""
        return bool(self.turnover < largest_turnover(self.to_array(), progression))


_N0, _COST, _TURNOVER = (AdaptivePatient.FIELDS.index(n) for n in ("n0", "cost", "turnover"))


def largest_turnover(rows: FloatArray, progression: float) -> FloatArray:
    """From which turnover on full dose controls for ever, of patient rows ``(…, fields)``."""
    n0, cost = rows[..., _N0], rows[..., _COST]
    return np.asarray((1.0 - progression * n0) * (1.0 - cost))


def warn_of_control(rows: FloatArray, progression: float, stacklevel: int) -> None:
    """Warn of patients whom the resistant clone alone cannot bring to the limit.

    Args:
        rows: Patient rows ``(k, fields)``.
        progression: Limit as a multiple of the starting burden.
        stacklevel: Of the warning, 1 for this function.

    Warns:
        ModelRangeWarning: There is one.
    """
    bounds = largest_turnover(rows, progression)
    held = rows[:, _TURNOVER] >= bounds
    if held.any():
        warnings.warn(
            f"this patient cannot progress under every therapy: turnover is "
            f"{rows[held][0, _TURNOVER]:g}, from {bounds[held][0]:g} on full dose controls the "
            "tumour for ever",
            ModelRangeWarning,
            stacklevel=stacklevel,
        )


@dataclass(frozen=True, eq=False)
class AdaptiveCourse:
    """One course until progression or the end of the plan."""

    ttp: float
    """Days to progression; the length of the course if it did not come."""
    censored: bool
    """The course ended without progression."""
    dose_fraction: float
    """Mean dose."""
    mean_burden: float
    """Mean of N / n0; hovering under the limit gives up to ``progression``."""
    control_days: float
    """Days that count as controlled: 1 a day at or under n0, 0 at the limit."""
    sound_return: float
    """Control minus 0.2 times the days of full dose [d]."""
    time: FloatArray
    """Start of each interval, and the end [d], ``(k + 1,)``."""
    sensitive: FloatArray
    """``(k + 1,)``."""
    resistant: FloatArray
    """``(k + 1,)``."""
    doses: FloatArray
    """``(k,)``."""


def propagate(
    sensitive: float,
    resistant: float,
    dose: float,
    days: float,
    patient: AdaptivePatient | None = None,
    *,
    substep: float = SUBSTEP,
) -> tuple[float, float, float]:
    """Hold one dose for some days, progression or not.

    Args:
        sensitive: Burden of the sensitive clone, above 0.
        resistant: Burden of the resistant clone, above 0.
        dose: In [0, 1].
        days: Length of the interval, above 0 and at most 36500.
        patient: The published nominal one by default; only its rates count.
        substep: Longest step of the solver [d], 0.001 to 7.

    Returns:
        Both clones at the end and the integral of the burden [d].

    Raises:
        ValueError: A value is out of range; the message names it.
    """
    check_option("dose", dose, 0.0, 1.0)
    check_option("days", days, 1e-6, 36500.0)
    check_option("substep", substep, 1e-3, LONGEST_SUBSTEP, "d")
    check_option("sensitive", sensitive, 1e-300, 1.0)
    check_option("resistant", resistant, 1e-300, 1.0)
    course = _begin(sensitive, resistant)
    row = (patient or AdaptivePatient()).to_array()
    kernels.advance(row, course, dose, days, substep, sensitive + resistant, np.inf)
    now = records_of(course, COURSE)
    ends = math.exp(now["log_sensitive"]), math.exp(now["log_resistant"])
    return *ends, float(now["burden_days"])


def simulate_rule(
    rule: Callable[[float, float], float],
    patient: AdaptivePatient | None = None,
    *,
    interval_days: int = int(INTERVAL),
    progression: float = PROGRESSION,
    horizon: float = HORIZON,
    substep: float = SUBSTEP,
) -> AdaptiveCourse:
    """Treat by a rule that sees the marker without noise.

    Args:
        rule: ``(marker N / n0, previous dose) -> dose``; the dose before the first is 1.
        patient: The published nominal one by default.
        interval_days: Days between decisions, a whole number from 1 to 120.
        progression: Limit as a multiple of the starting burden, above 1, its product with n0
            below 1.
        horizon: Days after which the course ends.
        substep: Longest step of the solver [d], 0.001 to 7.

    Raises:
        ValueError: A value or a dose is out of range; the message names it.

    Warns:
        ModelRangeWarning: No therapy loses this patient: full dose controls for ever.
    """
    who = patient or AdaptivePatient()
    whole_number("interval_days", interval_days, 1, 120)
    check_option("horizon", horizon, float(interval_days), 1e6)
    check_option("substep", substep, 1e-3, LONGEST_SUBSTEP, "d")
    if not 1.0 < progression < 1.0 / who.n0:
        raise ValueError(
            f"progression is {progression}; allowed: above 1 and below 1/n0 = {1.0 / who.n0:g}"
        )
    warn_of_control(who.to_array()[None], progression, stacklevel=3)
    return follow_rule(rule, who, interval_days, progression, horizon, substep)


def follow_rule(
    rule: Callable[[float, float], float],
    who: AdaptivePatient,
    interval_days: float,
    progression: float,
    horizon: float,
    substep: float,
) -> AdaptiveCourse:
    """:func:`simulate_rule` without checks of its numbers but the doses.

    Args:
        rule: ``(marker N / n0, previous dose) -> dose``.
        who: The patient.
        interval_days: Days between decisions.
        progression: Limit as a multiple of the starting burden; infinite: none.
        horizon: Days after which the course ends.
        substep: Longest step of the solver [d].
    """
    course = _begin(who.n0 * (1.0 - who.fR), who.n0 * who.fR)
    row, points, doses = who.to_array(), [], []
    now, dose = records_of(course, COURSE), 1.0
    while True:
        clones = math.exp(now["log_sensitive"]), math.exp(now["log_resistant"])
        points.append((float(now["days"]), *clones))
        left = horizon - now["days"]
        if now["progressed"] or left <= 1e-9:
            break
        dose = check_option("dose", rule(sum(clones) / who.n0, dose), 0.0, 1.0)
        doses.append(dose)
        days = min(interval_days, float(left))
        kernels.advance(row, course, dose, days, substep, who.n0, progression * who.n0)
    time, sensitive, resistant = np.array(points).T
    ttp, drug = float(now["days"]), float(now["drug_days"])
    return AdaptiveCourse(
        ttp=ttp,
        censored=not now["progressed"],
        dose_fraction=drug / ttp,
        mean_burden=float(now["burden_days"]) / (ttp * who.n0),
        control_days=float(now["control_days"]),
        sound_return=float(now["control_days"]) - DRUG_WEIGHT * drug,
        time=time,
        sensitive=sensitive,
        resistant=resistant,
        doses=np.array(doses),
    )


def simulate(
    doses: ArrayLike,
    patient: AdaptivePatient | None = None,
    *,
    interval_days: int = int(INTERVAL),
    progression: float = PROGRESSION,
    substep: float = SUBSTEP,
) -> AdaptiveCourse:
    """Treat by a plan.

    Args:
        doses: One dose in [0, 1] for each interval ``(M,)``, M at least 1.
        patient: The published nominal one by default.
        interval_days: Days between decisions, a whole number from 1 to 120.
        progression: Limit as a multiple of the starting burden, above 1, its product with n0
            below 1.
        substep: Longest step of the solver [d], 0.001 to 7.

    Raises:
        ValueError: A value is out of range; the message names it.
    """
    plan = np.asarray(doses, np.float64)
    if plan.ndim != 1 or not plan.size:
        raise ValueError(f"doses have shape {plan.shape}; allowed: (M,), M at least 1")
    given = iter(plan.tolist())
    return simulate_rule(
        lambda marker, dose: next(given),
        patient,
        interval_days=interval_days,
        progression=progression,
        horizon=float(interval_days * plan.size),
        substep=substep,
    )


def _begin(sensitive: float, resistant: float) -> FloatArray:
    course = make_rows(1, COURSE)[0]
    now = records_of(course, COURSE)
    now["log_sensitive"], now["log_resistant"] = math.log(sensitive), math.log(resistant)
    return course
