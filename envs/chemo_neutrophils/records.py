"""The numbers of docetaxel, marrow and tumour by name: patient, settings, lane, results.

A file of records: it imports nothing but numpy, math and :mod:`oncogym.envs.records`. Reward terms,
costs, outcomes and observed numbers of :class:`NeutrophilTask` are the fields of the records here;
a kernel writes each of them by its name.
"""

from __future__ import annotations

import numpy as np

from oncogym.envs.records import make_record

#: Modes of the drug, one for each compartment.
MODES = 3
#: Counts that the measurable observation looks back.
LAGS = 3
#: Largest count that is shown [10^9/L].
HIGHEST_COUNT = 100.0
#: Largest change of ln cells that is shown.
HIGHEST_CHANGE = 100.0

PATIENT = make_record(
    "baseline",  # count at rest, 10^9/L
    "transit_time",  # h
    "feedback",
    "emax",
    "ec50",  # umol/L
    "clearance",  # L/h
    "volume",  # L
    "surface",  # m^2
    "growth_rate",  # 1/d
    "kill_rate",  # L/(mg d)
    "initial_cells",
)

#: Constants of a patient.
CONSTANTS = make_record(
    ("rates", MODES),  # at which the modes decay, 1/d
    ("shares", MODES),  # what a milligram adds to each mode, 1/L
    "baseline",  # 10^9/L
    "transit",  # k, 1/d
    "feedback",
    "emax",
    "ec50",  # umol/L
    "growth",  # 1/d
    "kill",  # L/(mg d)
    "capacity",  # cells
)

# What all patients have in common.
_COMMON = (
    "interval",  # d
    "capacity",  # cells
    "k12",  # 1/h
    "k21",
    "k13",
    "k31",
)

#: An open-loop course.
PROBLEM = make_record(*_COMMON)

#: The options of a task; those that say whether are 0 or 1.
SETTINGS = make_record(
    "decisions",
    "max_dose",  # mg/m^2
    "budget",  # mg/m^2
    "measurable",
    "count_noise",
    "scan_interval",  # d
    "scan_noise",
    "success_kill",
    "label",  # largest dose of the label, mg/m^2
    *_COMMON,  # not first: numba would take it for a `PROBLEM` with more behind it
)

# Drug, marrow and tumour.
_BODY = (
    ("modes", MODES),  # of the concentration, mg/L
    "log_pool",  # ln of the proliferating cells, 10^9/L
    "first",  # stages of maturation, 10^9/L
    "second",
    "third",
    "count",  # of neutrophils, 10^9/L
    "log_cells",  # ln of the tumour
)
# What the steps in time keep of the count.
_LOWS = (
    "nadir",  # 10^9/L
    "run",  # days of grade 4 in a row up to now
    "longest_run",
)
# And what they add up.
_DAYS = ("grade4", "grade3")  # d below 0.5 and below 1.0 x 10^9/L

#: A patient in an open-loop course.
COURSE = make_record(*_BODY, *_LOWS, *_DAYS)

#: A lane between two decisions; the days of ``grade4`` and ``grade3`` are those of one interval.
STATE = make_record(
    *_BODY,
    "step",  # number of decisions
    "given",  # mg/m^2 in all
    "last_dose",  # of the last decision, mg/m^2
    "since",  # d since the last dose; -1 before the first
    "doses",  # number of doses
    *_LOWS,
    "grade4_days",  # in all
    "grade3_days",
    "largest",  # dose, mg/m^2
    "scan",  # change of ln cells that the last scan showed
    "scan_day",
    ("counts", LAGS),  # measured, the last one first, 10^9/L
    *_DAYS,
)

#: One point of a trajectory.
SAMPLE = make_record("day", "concentration", "count", "log_cells")

#: Reward terms, unweighted.
TERMS = make_record("log_kill", "grade4", "grade3", "dose")

COSTS = make_record("grade4")

#: What became of the patient so far; names and units stand with the task's metrics.
OUTCOME = make_record(
    "log10_kill",
    "nadir",
    "worst_grade",
    "grade4_days",
    "grade3_days",
    "longest_grade4",
    "total_dose",
    "doses",
    "out_of_range",
)

_COUNTS = (0.0, 0.1 * HIGHEST_COUNT)
_CHANGES = (-0.1 * HIGHEST_CHANGE, 0.1 * HIGHEST_CHANGE)
_TREATED = {
    "time": (0.0, 1.0),
    "last_dose": (0.0, 1.0),
    "since_dose": (0.0, 1.0),
    "budget_left": (0.0, 1.0),
}
#: Least and largest value of each number of the full observation.
FULL_BOUNDS: dict[str, tuple[float, float]] = {
    **_TREATED,
    "count": _COUNTS,
    "third": _COUNTS,
    "second": _COUNTS,
    "first": _COUNTS,
    "pool": _COUNTS,
    "log_cells": _CHANGES,
    "concentration": (0.0, HIGHEST_COUNT),
}
#: The same of the measurable one.
MEASURED_BOUNDS: dict[str, tuple[float, float]] = {
    **_TREATED,
    "count": _COUNTS,
    "count_before": _COUNTS,
    "count_before_that": _COUNTS,
    "log_cells": _CHANGES,
    "since_scan": (0.0, 1.0),
}
FULL = make_record(*FULL_BOUNDS, number=np.float32)
MEASURED = make_record(*MEASURED_BOUNDS, number=np.float32)
