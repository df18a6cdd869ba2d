"""The numbers of the chemotherapy model by name: patient, settings, lane, results.

A file of records: it imports nothing but numpy, math and :mod:`oncogym.envs.records`. Reward terms,
costs, outcomes and observed numbers of :class:`ChemoTask` are the fields of the records here; a
kernel writes each of them by its name. Sections of the specification are those of the model's text
in ``docs/environments``.
"""

from __future__ import annotations

import numpy as np

from oncogym.envs.records import make_record

# Gauss-Legendre nodes of the largest rule that a lane's constants hold.
MOST_NODES = 8

PATIENT = make_record(
    "growth_rate",  # r, 1/d
    "carrying_capacity",  # K, cells
    "initial_cells",  # N0, cells
    "elimination_rate",  # ke, 1/d
    "emax",  # 1/d
    "ec50",  # mg/L
    "toxicity_gain",  # a, L/(mg d)
    "toxicity_recovery",  # b, 1/d
)

#: Outcome of an open-loop plan.
PLAN = make_record(
    "final_concentration",  # mg/L
    "final_toxicity",
    "final_log_cells",  # ln N
    "peak_toxicity",
    "auc",  # mg d/L
    "excess_toxicity",  # integral of (X - limit)_+, d
    "days_over_limit",  # d
    "total_dose",  # mg/L
)

#: One point of a trajectory.
SAMPLE = make_record("concentration", "toxicity", "log_cells")

#: A lane between two decisions.
STATE = make_record(
    "time",  # d
    "concentration",  # C, mg/L
    "toxicity",  # X
    "log_cells",  # ln N
    "peak",  # largest X so far
    "auc",  # integral of C, mg d/L
    "excess",  # integral of (X - limit)_+, d
    "days_over",  # d with X > limit
    "given",  # mg/L in all
    "doses",  # number of doses
    "last_time",  # of the last dose, d; -1 before the first
    "last_dose",  # mg/L
    "step",  # number of decisions
    "start_log_cells",  # ln N0
    "cells",  # N
    "beyond",  # 1 once the course left the scale of the observation
)

#: Constants of a lane for steps of one fixed length, see ``interval_kernels.py``.
CONSTANTS = make_record(
    "left",  # exp(-ke h)
    "recovered",  # exp(-b h)
    "transfer",  # toxicity after h per initial concentration
    "power",  # emax/ke
    "crowd",  # r/K
    "exposure",  # integral of C per initial concentration
    "growth",  # r h
    "nodes",  # of the quadrature; 0: the general path is needed
    "small",  # r N/K below which two nodes suffice
    ("weight", MOST_NODES),
    ("decay", MOST_NODES),
    ("weight2", 2),
    ("decay2", 2),
)

#: The options of a task; those that say whether are 0 or 1.
SETTINGS = make_record(
    "horizon",  # d
    "interval",  # d
    "max_wait",  # d
    "first_day",  # d
    "max_dose",  # mg/L
    "budget",  # mg/L
    "hard_budget",
    "max_doses",  # 0: any number
    "limit",  # of X
    "fatal_toxicity",
    "fatal_share",  # of K
    "success_tcp",
    "decisions",
    "waits",
    "waits_first",
    "measurable",
    "marker_noise",
    "marker_delay",  # d
    "marker_limit",  # ln(cells)
    "toxicity_noise",
)

#: Reward terms, unweighted.
TERMS = make_record(
    "log_kill",
    "toxicity",
    "dose",
    "tumour_control",
    "failure",
    "final_cells",
    "peak_toxicity",
    "exposure",
    "violation",
)

COSTS = make_record("toxicity", "budget")

#: What became of the patient so far; names and units stand with the task's metrics.
OUTCOME = make_record(
    "log10_kill",
    "tumour_control",
    "peak_toxicity",
    "days_over_limit",
    "total_dose",
    "doses",
    "final_cells",
    "exposure",
    "out_of_range",
)

#: Concentration over the largest dose and toxicity over its limit, and change of ln N over ln N0 at
#: the start, that the observation can show; beyond these the laws are not meant to hold.
SCALE, LOG_SCALE = 100.0, 10.0

#: Least and largest value of each observed number.
OBSERVED: dict[str, tuple[float, float]] = {
    "time": (0.0, 1.0),
    "drug": (0.0, SCALE),
    "toxicity": (0.0, SCALE),
    "log_cells": (-LOG_SCALE, LOG_SCALE),
    "budget_left": (0.0, 1.0),
    "doses_left": (0.0, 1.0),
    "since_dose": (0.0, 1.0),
}
OBSERVATION = make_record(*OBSERVED, number=np.float32)
