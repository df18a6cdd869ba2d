"""Docetaxel, neutrophils and a tumour: patient parameters and open-loop simulation.

State: concentration of docetaxel in plasma [mg/L], proliferating cells of the marrow, three stages
of maturation, circulating neutrophils [10^9/L], and tumour cells (as ln N); time in days. Doses
[mg/m^2] are infused over an hour at the start of an interval. Equations: ``kernels.py`` and the
page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from oncogym.core.arrays import Floats
from oncogym.core.checks import check_option
from oncogym.envs.chemo_neutrophils import kernels
from oncogym.envs.chemo_neutrophils.records import CONSTANTS, COURSE, PATIENT, PROBLEM, SAMPLE
from oncogym.envs.patient import PatientRecord
from oncogym.envs.records import make_rows, names_of, pack_record, records_of, width_of

#: Rates between plasma and the two other compartments [1/h].
K12, K21, K13, K31 = 1.06, 1.51, 1.26, 0.084
#: Cells that the tumour can reach.
CAPACITY = 1e12
#: Largest dose that the drug's label has [mg/m^2].
LABEL_DOSE = 100.0
#: Largest dose that is computed [mg/m^2].
LARGEST_DOSE = 1000.0
#: Longest course that is computed [d].
LONGEST_COURSE = 36_500.0

RANGES: dict[str, tuple[float, float]] = {
    "baseline": (0.1, 100.0),
    "transit_time": (24.0, 1000.0),
    "feedback": (0.0, 0.5),
    "emax": (0.0, 1000.0),
    "ec50": (1e-2, 1e4),
    "clearance": (0.1, 1000.0),
    "volume": (0.5, 500.0),
    "surface": (0.2, 4.0),
    "growth_rate": (0.0, 1.0),
    "kill_rate": (0.0, 1000.0),
    "initial_cells": (1.0, 0.9e12),
}


@dataclass(frozen=True)
class NeutrophilPatient(PatientRecord):
    """Parameters of one patient; the defaults are the typical ones of docetaxel.

    ``baseline`` count of neutrophils [10^9/L], ``transit_time`` through the marrow [h],
    ``feedback`` exponent, ``emax`` and ``ec50`` [umol/L] of the drug on the proliferating cells,
    ``clearance`` [L/h], central ``volume`` [L], body ``surface`` [m^2], ``growth_rate`` of the
    tumour [1/d], ``kill_rate`` [L/(mg d)] and ``initial_cells``; ranges in ``RANGES``.

    Raises ValueError naming the field, the value and the allowed range.
    """

    baseline: float = 5.05
    transit_time: float = 89.3
    feedback: float = 0.163
    emax: float = 83.9
    ec50: float = 7.17
    clearance: float = 38.48
    volume: float = 7.4
    surface: float = 1.8
    growth_rate: float = 0.01
    kill_rate: float = 5.0
    initial_cells: float = 1e10

    FIELDS: ClassVar[tuple[str, ...]] = names_of(PATIENT)
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = RANGES
    UNITS: ClassVar[Mapping[str, str]] = {
        "baseline": "10^9/L",
        "transit_time": "h",
        "feedback": "",
        "emax": "",
        "ec50": "umol/L",
        "clearance": "L/h",
        "volume": "L",
        "surface": "m^2",
        "growth_rate": "1/d",
        "kill_rate": "L/(mg d)",
        "initial_cells": "cells",
    }
    #: A clinic knows how large its patient is.
    KNOWN: ClassVar[tuple[str, ...]] = ("surface",)


@dataclass(frozen=True, eq=False)
class NeutrophilCourse:
    """A course of treatment.

    Arrays over the samples ``(S,)``, the first at the start: ``time`` [d], ``concentration``
    [mg/L], ``neutrophils`` [10^9/L], ``log_cells`` (ln N).
    """

    time: Floats
    concentration: Floats
    neutrophils: Floats
    log_cells: Floats
    nadir: float
    """Least count [10^9/L], within the steps."""
    nadir_day: float
    """Its day, by the parabola through the samples about it."""
    grade4_days: float
    """Days with less than 0.5 x 10^9/L."""
    grade3_days: float
    """Days with less than 1.0 x 10^9/L, those of grade 4 included."""
    longest_grade4: float
    """Longest run of days of grade 4."""


#: What all patients have in common, by the names that the kernels' settings have for it.
COMMON = {"capacity": CAPACITY, "k12": K12, "k21": K21, "k13": K13, "k31": K31}


def grade(count: ArrayLike) -> Floats:
    """Grade of neutropenia, 0 to 4 (CTCAE), of counts [10^9/L] of any shape."""
    values = np.asarray(count, np.float64)
    levels = (kernels.LOWER_LIMIT, kernels.GRADE2, kernels.GRADE3, kernels.GRADE4)
    return np.asarray(sum((values < level).astype(np.float64) for level in levels))


def _lowest_day(time: Floats, count: Floats) -> float:
    """Day of the least count; that of a sample at either end."""
    at = int(np.argmin(count))
    if not 0 < at < len(count) - 1:
        return float(time[at])
    about = slice(at - 1, at + 2)
    curve, slope, _ = np.polyfit(time[about] - time[at], count[about], 2)
    return float(time[at] - (0.5 * slope / curve if curve > 0.0 else 0.0))


def simulate(
    doses: ArrayLike,
    patient: NeutrophilPatient | Mapping[str, object] | None = None,
    interval_days: float = 21.0,
) -> NeutrophilCourse:
    """Course of one patient under doses at regular intervals.

    Args:
        doses: Doses ``(k,)`` [mg/m^2], at least one, 0 to 1000, each at the start of an interval.
        patient: Parameters; typical ones by default.
        interval_days: Length of an interval [d], 1 to 365.

    Raises:
        ValueError: A dose, the interval, the length of the course or a parameter is out of its
            range.
    """
    given = np.atleast_1d(np.asarray(doses, np.float64))
    if given.ndim != 1 or not len(given):
        raise ValueError(f"doses have shape {given.shape}; allowed: (k,), one dose at least")
    wrong = ~((given >= 0.0) & (given <= LARGEST_DOSE))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"doses[{at}] is {given[at]:g}; allowed: 0 to {LARGEST_DOSE:g} mg/m^2")
    days = check_option("interval_days", interval_days, 1.0, 365.0, "d")
    check_option("length of the course", days * len(given), 1.0, LONGEST_COURSE, "d")
    if patient is None or isinstance(patient, Mapping):
        patient = NeutrophilPatient.from_mapping(patient or {})
    course, written = make_rows(1, COURSE), np.zeros(1, np.int64)
    samples = np.empty((len(given) * (64 + 9 * int(np.ceil(days))), width_of(SAMPLE)))
    kernels.run_courses(
        np.zeros(1, np.intp),
        given[None] * patient.surface,
        patient.to_array()[None],
        make_rows(1, CONSTANTS),
        pack_record(PROBLEM, interval=days, **COMMON),
        course,
        samples,
        written,
    )
    first = np.array([[0.0, 0.0, patient.baseline, np.log(patient.initial_cells)]])
    time, drug, count, cells = np.concatenate([first, samples[: written[0]]]).T.copy()
    found = records_of(course, COURSE)[0]
    return NeutrophilCourse(
        time=time,
        concentration=drug,
        neutrophils=count,
        log_cells=cells,
        nadir=float(found["nadir"]),
        nadir_day=_lowest_day(time, count),
        grade4_days=float(found["grade4"]),
        grade3_days=float(found["grade3"]),
        longest_grade4=float(found["longest_run"]),
    )
