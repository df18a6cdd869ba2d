"""The numbers of the glioblastoma model by name: patient, settings, tumour, lane, results.

A file of records: it imports nothing but numpy, math and :mod:`oncogym.envs.records`. Reward terms,
costs, outcomes and observed numbers of :class:`GlioblastomaTask` are the fields of the records
here; a kernel writes each of them by its name. Sections of the specification are those of the
model's text in ``docs/environments``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from oncogym.envs.records import make_record

PATIENT = make_record(
    "diffusion",  # D, mm^2/d
    "proliferation",  # rho, 1/d
    "carrying_capacity",  # K, cells/mm^3
    "alpha",  # 1/Gy
    "alpha_beta",  # Gy
)

_RULES = (
    "total",  # dose, Gy
    "margin",  # treated rim around the T2 region, mm
    "blind",  # field radius without a T2 region, mm
    "fractions",  # a day
    "cap",  # of the safe dose, Gy
)
_NUMERICS = (
    "accurate",  # 1: the solver of split_kernels.py
    "nodes",  # cells of a row
    "width",  # of a padded row
    "dx",  # mm
    "dt",  # d
    "per_day",  # steps
    "mirror",  # 1: the symmetry plane is on node 0
    "sphere",
    "interpolate",  # radii between cells
    "kill",  # KILL_MAP, KILL_RATE or KILL_LQ
)

#: One open-loop plan: its rules and the numerics. Numbers that say whether are 0 or 1.
PROBLEM = make_record(*_RULES, *_NUMERICS, "last_day")

#: The options of a task, and the numerics of its lanes.
SETTINGS = make_record(
    *_RULES,
    *_NUMERICS,
    "published",
    "weekends",
    "horizon",  # d
    "max_growth",  # d
    "max_therapy",  # d
    "observation",  # SEE_ROW, SEE_FULL or SEE_SCANS of step_kernels.py
    "scan_interval",  # d
    "scan_noise",  # mm
    "scale",  # of a shown row, cells/mm^3
    "success",  # ratio of survival
    "brain",  # alpha/beta, Gy
    "lq_low",  # Gy
    "lq_high",  # Gy
)

#: How a patient's tumour grew before detection.
START = make_record(
    "window",  # cells beyond it are 0
    "growth",  # whole days; -1: not detected in time
    "detection",  # d, between days where radii are
    "benchmark",  # day of death without a dose
    "boundary",  # density at the outer boundary then, share of K
)

#: A tumour between two days, beside its cells. A lane has the same fields, and more.
TUMOUR = make_record(
    "day",  # from the start of growth
    "side",  # which of the two rows of cells is the present one
    "window",  # cells beyond it are 0
    "edge1",  # outermost cell of the T1 region, -1: none
    "edge2",  # of the T2 region
    "bound1",  # on the cells beyond edge1, see `follow`
    "bound2",
    "t1",  # radius, mm; -1: none
    "t2",
    "limit",  # safe dose of the field, Gy
    "quality",  # days, weighed
    "end",  # day of death, -1: alive
)

#: A lane between two decisions.
STATE = make_record(
    "day",  # from the start of growth
    "growth",  # d before detection
    "benchmark",  # day of death without a dose
    "last_day",
    "stage",
    "remaining",  # Gy
    "given",  # Gy
    "peak",  # Gy
    "violations",
    "decisions",
    "t1",
    "t2",
    "edge1",
    "edge2",
    "count",  # decisions with a dose since the last rest
    "quality",
    "therapy",  # d
    "end",
    "window",
    "side",
    "bound1",
    "bound2",
    "scan_day",
    "scan_t1",  # mm
    "scan_t2",  # mm
    "scans",  # number of them
    "limit",
    "beyond",  # 1 once the course left the model's range
)

#: Outcome of an open-loop plan.
PLAN = make_record(
    "death_day",
    "died",
    "therapy_days",
    "violations",
    "excess_dose",  # Gy
    "total_dose",  # Gy
    "peak_dose",  # Gy
    "quality_days",
    "boundary",  # density at the outer boundary at the end, share of K
)

#: One day of an open-loop plan.
DAY = make_record("t1_radius", "t2_radius", "field_radius", "safe_dose", "dose")

#: Reward terms, unweighted.
TERMS = make_record("survival", "toxicity", "quality_days", "excess", "waiting")

COSTS = make_record("excess_dose")

#: What became of the patient so far; names and units stand with the task's metrics.
OUTCOME = make_record(
    "days_extended",
    "death_day",
    "quality_days",
    "total_dose",
    "therapy_days",
    "peak_dose",
    "violations",
    "violation_rate",
    "survival_ratio",
    "out_of_range",
    "bed",
    "eqd2_brain",
    "lq_range",
)

#: Largest value of each observed number; the least is 0. Densities may follow.
OBSERVED: dict[str, float] = {
    "dose_left": 1.0,
    "time": 1.0,
    "weekday": 1.0,
    "t1": 10.0,
    "t2": 10.0,
    "safe_dose": 1.0,
}
SEEN = make_record(*OBSERVED, number=np.float32)
#: With radii from scans.
SCANNED = make_record(*OBSERVED, "since_scan", number=np.float32)


class Growth(NamedTuple):
    """By how much cells grow within half a step of the accurate solver."""

    outside: float
    inside: float
    """In the field, before cell ``edge``."""
    edge: int
    covered: float
    """Share of cell ``edge`` that the field covers."""
