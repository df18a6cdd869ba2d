"""The numbers of proton therapy by name: patient, plan library, course, refinement, results.

A file of records: it imports nothing but numpy, math, typing and :mod:`oncogym.envs.records`.
Reward terms, costs, outcomes and observed numbers of :class:`IMPTTask` are the fields of the
records here; a kernel writes each of them by its name. Shifts are in cm, doses in Gy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.records import make_record

#: Axes along which a patient can be displaced.
AXES = ("x", "y", "z")
#: Organs at risk of a course at most: readings of doses are numbered, 64 to a fraction.
MOST_ORGANS = 13
# Axes of a lattice of errors: shifts, then the range error.
_AXES = len(AXES) + 1

PATIENT = make_record(
    "anatomy",  # its number
    "shift_x",  # systematic displacement, cm
    "shift_y",
    "shift_z",
    "range_error",  # relative
    "random_sd",  # cm
)

#: A library of plans: where its tables are, and its lattices of errors.
LIBRARY = make_record(
    "doses",  # its place in the table of doses
    "normals",  # and in that of normal tissue
    "voxels",  # of interest
    ("fine_low", _AXES),  # smallest error along each axis, for doses of voxels
    ("fine_step", _AXES),
    ("fine_count", _AXES),
    ("coarse_low", _AXES),  # the same for normal tissue
    ("coarse_step", _AXES),
    ("coarse_count", _AXES),
    "prescription",
    ("limits", MOST_ORGANS),  # of the organs, infinite where there is none
    ("starts", MOST_ORGANS + 2),  # first voxel of the target, of each organ, and of none
)

#: The options of a course; those that say whether are 0 or 1.
COURSE_SETTINGS = make_record(
    "fractions",
    "axes",  # along which the patient can be displaced
    "plans",
    "organs",
    "full",  # the errors are observed
    "max_dose",  # of a fraction, as a multiple of the daily dose
    "max_shift",  # couch correction, cm
    "max_range",  # relative range correction
    "shift_noise",  # of a measured shift along each axis, cm
    "dose_noise",  # of a measured dose, relative
    "coverage",  # share of the prescription that D95 must reach for success
    "hot",  # share of the prescription above which D2 is a hot spot
)

#: A course between two fractions, beside its accumulated dose.
COURSE = make_record(
    "count",  # fractions given
    ("day", len(AXES)),  # true displacement of today
    ("seen", len(AXES)),  # measured displacement of today
    ("seen_sum", len(AXES)),
    ("couch", len(AXES)),  # last correction
    "depth",  # last range correction
    "given",  # last dose multiple
    "normal",  # mean dose of normal tissue so far
    "d95",  # of the target so far
    "d98",
    "d50",
    "d2",
    "mean",
    "last_d98",  # of the last fraction
    "last_d95",
    "last_d50",
    "last_d2",
    ("organ_largest", MOST_ORGANS),
    ("organ_mean", MOST_ORGANS),
    ("organ_last_largest", MOST_ORGANS),
    ("organ_last_mean", MOST_ORGANS),
)

#: What is kept of a fraction; the multiple of each plan follows.
FRACTION = make_record(
    "part",  # of the course's dose
    ("error", _AXES),  # residual shifts and range error
)

#: What a course shows after the displacements, in this order: doses of the target relative to what
#: the prescription has by now, and a fraction's relative to its share.
DOSES_SEEN = make_record(
    "range", "dose", "d95", "d98", "d50", "d2", "last_d98", "last_d95", "last_d50", "last_d2",
    number=np.float32,
)  # fmt: skip
#: The same of an organ, relative to its limit.
ORGAN_SEEN = make_record("largest", "mean", "last_largest", "last_mean", number=np.float32)

#: The options of a refinement.
REFINEMENT_SETTINGS = make_record(
    "steps",
    "groups",
    "show_gradient",
    "factor",  # largest of a weight in one refinement
    "coverage",
    "hot",
    "prescription",
    "ridge",
)

#: A refinement between two decisions, beside its weights.
REFINEMENT = make_record(
    "count",  # decisions
    "value",  # of the objective
    "start",  # value with equal weights
    "d95",
    "d98",
    "d50",
    "d2",
    "mean",
    "normal",
    "excess",  # dose above the limits of the organs, summed
    "peak",  # largest dose of an organ relative to its limit
    "organ_means",
)

#: Doses of an organ relative to its limit.
ORGAN_DOSE = make_record("largest", "mean")

#: What a refinement shows of the target, of each organ, and of the whole plan.
TARGET_REFINED = make_record("d95", "d98", "d50", "d2", number=np.float32)
ORGAN_REFINED = make_record("largest", "mean", number=np.float32)
PLAN_REFINED = make_record("normal", "value", number=np.float32)

#: Reward terms, unweighted.
TERMS = make_record(
    "coverage", "hot_spot", "organ_excess", "organ_mean", "normal_tissue", "planning"
)

COSTS = make_record("organ_excess")

#: What became of the patient so far; names and units stand with the task's metrics.
OUTCOME = make_record(
    "d95",
    "d98",
    "d2",
    "target_mean",
    "organ_excess",
    "organ_peak",
    "organ_mean",
    "normal_mean",
    "score",
)


class Case(NamedTuple):
    """A planning problem as the kernels of a refinement take it.

    Attributes:
        data, indices, indptr: The influence matrix by voxels, compressed.
        entries, columns, begins, tiles, terms: The objective, see ``tile_kernels.fill_tiles``.
        voxels: Voxels of the target, of each organ and of the rest, one after another.
        starts: Where each of them begins, and the number of voxels.
        limits: Limit of each organ, infinite where there is none.
        groups: Group of each spot.
        initial: Weight of each spot at the start.
    """

    data: NDArray[Any]
    indices: NDArray[Any]
    indptr: NDArray[Any]
    entries: NDArray[Any]
    columns: NDArray[Any]
    begins: NDArray[Any]
    tiles: NDArray[Any]
    terms: NDArray[Any]
    voxels: NDArray[Any]
    starts: NDArray[Any]
    limits: NDArray[Any]
    groups: NDArray[Any]
    initial: NDArray[Any]
