"""The numbers of adaptive therapy by name: patient, tumour under a dose, lane, settings, results.

A file of records: it imports nothing but numpy, math and :mod:`oncogym.envs.records`. Reward terms,
costs, outcomes and observed numbers of :class:`AdaptiveTask` are the fields of the records here; a
kernel writes each of them by its name. Sections of the specification are those of the model's text
in ``docs/environments``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from oncogym.envs.records import make_record, names_of

#: Visits that the measurable observation looks back.
LAGS = 6
#: Least and largest logarithm of the marker that is shown.
LOG_MARKER_LOW, LOG_MARKER_HIGH = -8.0, 2.0

PATIENT = make_record(
    "n0",  # burden at the start, capacities
    "fR",  # resistant share of it
    "cost",  # of resistance, share of growth
    "turnover",  # share of growth
    "rS",  # growth of the sensitive clone, 1/d
    "dD",  # kill of the full dose, times growth
)

#: One tumour under one dose: what is given, what comes of it, and what is in between.
TUMOUR = make_record(
    "log_sensitive",  # given, and changed
    "log_resistant",
    "sensitive_growth",  # under the dose, 1/d
    "resistant_growth",  # 1/d
    "death",  # 1/d
    "start",  # burden at the start of the treatment
    "limit",  # burden at which a day is worth nothing any more
    "stop",  # burden that ends the interval; infinite: none
    "watched",  # burden whose first passing is timed; infinite: none
    "days",  # that passed
    "burden_days",  # integral of N
    "control_days",  # integral of the credit
    "days_above",  # the starting burden
    "peak",  # largest burden
    "progressed",  # 1 once the burden passed `stop`
    "watched_days",  # until the burden passed `watched`; -1 while it did not
    "watched_burden_days",  # integral of N until then
    "burden",  # N at the start of the substep
    "credit",
    "fast",  # 1 where logarithms change by more in a substep than a short series bears
)

#: A course outside the environments.
COURSE = make_record(
    "log_sensitive",
    "log_resistant",
    "days",
    "burden_days",
    "control_days",
    "drug_days",  # integral of the dose
    "progressed",  # 1 once the tumour progressed
)

#: A lane between two decisions; the last visits stand newest first.
STATE = make_record(
    "log_sensitive",
    "log_resistant",
    "time",  # d
    "toxicity",  # full doses
    "dose",  # the last one
    "since_off",  # visits since the last without drug
    "given",  # integral of the dose, d
    "burden_days",
    "days_off",
    "days_above",  # the starting burden
    "switches",
    "progressed_at",  # d; 0 while the tumour did not progress
    "progressed_burden_days",  # `burden_days` then
    "step",  # number of decisions
    ("log_markers", LAGS),
    ("doses", LAGS),
)

#: The options of a task; those that say whether are 0 or 1.
SETTINGS = make_record(
    "interval",  # d
    "decisions",
    "progression",  # starting burdens
    "on_off",
    "published",
    "until_death",
    "noise",  # coefficient of variation of the marker
    "substep",  # d
)

#: Reward terms, unweighted.
TERMS = make_record("control", "drug", "visit", "holiday", "punishment", "completion")

COSTS = make_record("burden", "toxicity")

#: What became of the patient so far; names and units stand with the task's metrics.
OUTCOME = make_record(
    "ttp",
    "progression_free_years",
    "time_off",
    "dose_fraction",
    "mean_burden",
    "resistant_share",
    "switches",
    "days_above",
    "censored",
    "course_days",
    "died",
)

#: A problem of value iteration.
PROBLEM = make_record(
    "sensitive_growth",  # without drug, 1/d
    "resistant_growth",  # 1/d
    "death",  # 1/d
    "kill",  # of the full dose, times growth
    "start",  # burden
    "limit",  # burden of progression
    "interval",  # d
    "substep",  # d, for the grid's own steps
    "at_visits",  # 1: progression is seen at visits only
    "depth",  # how far the grid reaches below progression, as a logarithm of the burden
    "low",  # least ln(R/S) of the grid
    "spacing",  # of ln(R/S)
)
#: What an interval is worth: by controlled day, day of full dose and day, and the rest by visit.
WORTH = make_record("control", "drug", "days", "visit", "holiday", "punishment")

# What an observation shows (spec. 2).
MARKER = make_record("marker", number=np.float32)
MEASURABLE = make_record(
    ("log_markers", LAGS), ("doses", LAGS), "time", ("measured", LAGS), number=np.float32
)
_FULL = ("time", "marker", "ratio", "dose", "since_off", "given")
FULL = make_record(*_FULL, number=np.float32)
#: The full one with ``reveal``.
REVEALED = make_record(*_FULL, "n0", "log_fR", "cost", "turnover", number=np.float32)


def column_names(record: np.dtype[Any]) -> tuple[str, ...]:
    """Name of each number of a record, fields of several numbers as often as they have numbers."""
    return tuple(
        name
        for name in names_of(record)
        for _ in range(int(np.prod(record[name].shape, dtype=int)))
    )


def find_column(record: np.dtype[Any], name: str) -> int:
    """Column of a record's number, or of the first of several."""
    return column_names(record).index(name)
