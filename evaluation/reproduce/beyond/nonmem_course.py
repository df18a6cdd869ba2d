"""A printed course of neutrophils after docetaxel, and what NONMEM makes of it.

What was read: entry DDMODEL00000224 of the DDMoRe repository (copied in dpastoor/ddmore_scraping,
folder 224), by the authors of Netterberg et al., Cancer Chemother Pharmacol 80:343 (2017): the
control file, with the constants of Kloft et al. (2006); the course of one patient, simulated by
them with his own constants, which are not printed, and an error of each count, 42 % in the
logarithm; and NONMEM 7.3's listing with the objective function of that course. The papers were not
read. The drug acts linearly there, and concentrations are given instead of doses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from oncogym.core.arrays import Floats
from oncogym.envs.chemo_neutrophils import NeutrophilPatient
from oncogym.envs.chemo_neutrophils.model import COMMON
from oncogym.envs.chemo_neutrophils.records import CONSTANTS, COURSE, PROBLEM
from oncogym.envs.records import make_rows, pack_record
from oncogym.evaluation.reproduce.beyond.exposed_marrow import expose_patients
from oncogym.evaluation.reproduce.checks import Check, compare

# Ends of the intervals [h] and the concentration in each [mg/L], until none is left on day 3; then
# the days on which neutrophils are counted.
_EXPOSED = (
    (0.22, 2.01), (0.44, 2.55), (0.89, 2.86), (1.33, 2.97), (1.42, 1.79), (1.52, 1.15),
    (1.61, 0.794), (1.66, 0.665), (2.0, 0.292), (2.33, 0.17), (13.0, 0.034), (24.7, 0.017),
    (36.3, 0.008), (48.0, 0.004), (59.7, 0.002),
)  # fmt: skip
_FIRST_DAY = 3
# ln of the counts [10^9/L]: before the dose, then on days 3 to 21.
LOG_COUNTS = np.array([
    2.1806, 1.4145, 1.4415, 0.38894, 0.13188, -1.3532, -0.59458, -0.99086, -1.3524, 0.28569,
    0.79509, 1.503, 1.7955, 1.9164, 1.6699, 2.5822, 3.2246, 3.2162, 2.951, 2.7868,
])  # fmt: skip
#: Standard deviation of ln of a count.
ERROR = 0.424093
# Constants of the typical patient: count at rest [10^9/L], time through the marrow [h], effect of
# the drug [L/umol], feedback; by what the patient's covariates multiply the first and the third
# (woman, performance status, treated before; 2.54 g/L of alpha-1 acid glycoprotein, usually 1.34).
_REST, _TRANSIT, _EFFECT, _FEEDBACK = 5.21965, 84.1791, 15.5711, 0.144543
_OF_REST = (1.0 - 0.121451) * (1.0 + 0.130406) * (1.0 - 0.146837)
_OF_REST *= 1.0 + 0.494618 * (2.54 - 1.34)
_OF_EFFECT = 1.0 - 0.350693 * (2.54 - 1.34)
# Variances of ln of the first three among patients.
VARIANCES = np.array([0.0639703, 0.0191785, 0.128412])
# Our effect saturates; with its half at this concentration [umol/L] it is linear.
_FAR = 1e8
# Of the derivatives of ln counts.
_STRIDE = 1e-4
_PUBLISHED, _PRINTED = -3.998, 5e-4


def follow(deviations: Floats, days: Floats | None = None) -> Floats:
    """Neutrophils of patients like the printed one.

    Args:
        deviations: By how much ln of count at rest, transit time and effect differ from those of a
            typical patient with the same covariates ``(patients, 3)``.
        days: Times from day 3 on ``(times,)`` [d]; the printed days by default.

    Returns:
        Counts ``(patients, 1 + times)`` [10^9/L], the first before the dose.
    """
    deviations = np.atleast_2d(np.asarray(deviations, np.float64))
    if days is None:
        days = np.arange(_FIRST_DAY, _FIRST_DAY + len(LOG_COUNTS) - 1, dtype=np.float64)
    hours, levels = np.array(_EXPOSED).T
    ends = np.concatenate([hours / 24.0, days])
    typical = NeutrophilPatient(feedback=_FEEDBACK).to_array()
    patients = np.tile(typical, (len(deviations), 1))
    factors = np.exp(deviations)
    of = NeutrophilPatient.FIELDS.index
    patients[:, of("baseline")] = _REST * _OF_REST * factors[:, 0]
    patients[:, of("transit_time")] = _TRANSIT * factors[:, 1]
    patients[:, of("emax")] = _EFFECT * _OF_EFFECT * factors[:, 2] * _FAR
    patients[:, of("ec50")] = _FAR
    counts = np.empty((len(patients), len(ends)))
    expose_patients(
        np.arange(len(patients)),
        patients,
        ends,
        np.concatenate([levels, np.zeros(len(days))]),
        counts,
        make_rows(len(patients), CONSTANTS),
        pack_record(PROBLEM, interval=1.0, **COMMON),
        make_rows(len(patients), COURSE),
    )
    return np.concatenate([patients[:, [of("baseline")]], counts[:, len(hours) :]], axis=1)


@dataclass(frozen=True)
class Fit:
    """The patient whom the printed counts suggest.

    Attributes:
        deviations: The likeliest ones ``(3,)``, as :func:`follow` takes them.
        objective: NONMEM's objective function.
        nadir: Least count [10^9/L].
        nadir_day: Its day.
    """

    deviations: Floats
    objective: float
    nadir: float
    nadir_day: float


def fit() -> Fit:
    """The likeliest deviations, and the objective function by first-order conditional estimation.

    That is -2 ln of the counts' likelihood by Laplace's method, with the squares of the first
    derivatives for the second ones and without the constant of the normal distribution.
    """

    def surprise(deviations: Floats) -> float:
        left = (LOG_COUNTS - np.log(follow(deviations)[0])) / ERROR
        return float((left**2).sum() + (deviations**2 / VARIANCES).sum())

    found = minimize(
        surprise, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9}
    )
    about = found.x + _STRIDE * np.concatenate([np.eye(3), -np.eye(3)])
    above, below = np.split(np.log(follow(about)), 2)
    slopes = (above - below) / (2.0 * _STRIDE)
    curvature = np.diag(1.0 / VARIANCES) + slopes @ slopes.T / ERROR**2
    objective = float(
        found.fun
        + len(LOG_COUNTS) * np.log(ERROR**2)
        + np.log(VARIANCES).sum()
        + np.linalg.slogdet(curvature)[1]
    )
    days = np.linspace(_FIRST_DAY, 21.0, 1801)
    counts = follow(found.x, days)[0, 1:]
    lowest = int(np.argmin(counts))
    return Fit(found.x, objective, float(counts[lowest]), float(days[lowest]))


def check_nonmem_course() -> list[Check]:
    """NONMEM's objective function of the printed course; day and depth of its nadir."""
    found = fit()
    # The two lowest counts differ by less than a thousandth.
    first, last = sorted(np.argsort(LOG_COUNTS)[:2] + _FIRST_DAY - 1)
    whose = "a patient of DDMODEL00000224, simulated by its authors, by the marrow of ours"
    return [
        compare("nonmem_objective", "Docetaxel, objective function of a printed course",
                _PUBLISHED, found.objective, _PRINTED, f"NONMEM 7.3; {whose}"),
        compare("nonmem_nadir_day", "Docetaxel, day of that course's nadir [d]",
                (first + last) / 2.0, found.nadir_day, (last - first) / 2.0,
                f"counts once a day, equally low on days {first} and {last}"),
        compare("nonmem_nadir", "Docetaxel, ln of that course's least count [10^9/L]",
                float(LOG_COUNTS.min()), float(np.log(found.nadir)), ERROR,
                f"{np.exp(LOG_COUNTS.min()):.2f} against {found.nadir:.2f} x 10^9/L; each count "
                "has an error of 42 %"),
    ]  # fmt: skip
