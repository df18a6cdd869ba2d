"""The numbers of the EMT6/Ro model by name: lattice, frame, settings, lane, results.

A file of records: it imports nothing but numpy, math and :mod:`oncogym.envs.records`. Reward terms,
costs, outcomes and observed numbers of :class:`EMT6RoTask` are the fields of the records here; a
kernel writes each of them by its name. Sections of the specification are those of the model's text
in ``docs/environments``.

The lattice has ``SIDE`` x ``SIDE`` sites, numbered row by row. Time is counted in steps of 6 s.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from oncogym.envs.records import Tops, make_record, observed_record

SIDE = 51
SITES = SIDE * SIDE

GLUCOSE, OXYGEN, ACID = range(3)
SUBSTRATES = ("glucose", "oxygen", "acid")
PHASES = ("g1", "s", "g2", "m", "d")
MODES = ("aerobic", "anaerobic", "aerobic_quiescent", "anaerobic_quiescent")

# Numbers of a frame's row; the first of the frame is at ``PAD``. Rows start at different places
# within a page of 4 KiB: otherwise loads wait for stores to others.
PAD, ROW = 64, 3120


class Box(NamedTuple):
    """A tumour's disc: the region round it, and its radius; a height of 0 means no tumour."""

    top: Any
    left: Any
    height: Any
    width: Any
    radius: Any


class Chance(NamedTuple):
    """Key of the random draws of a step."""

    seed: Any
    episode: Any
    step: Any


#: What patients differ in.
BIOLOGY = make_record(
    "survival",  # 1/Gy
    "delay",  # of a repair, steps
    "delay_growth",  # 1/Gy
    "recovery",  # steps
)

#: Physics, cell biology and numerics, the same for all lanes.
SETTINGS = make_record(
    ("external", 3),  # bath amounts, fmol
    ("kappa", 3),  # weights of a diffusion sub-step
    ("substeps", 3),  # of a step, even
    ("glucose_use", 4),  # of each mode in a step, fmol
    ("oxygen_use", 4),
    ("acid_made", 4),
    "acid_stop",  # fmol, no proliferation at or above
    "acid_death",  # fmol, no life at or above
    "g1",  # mean durations and standard deviations, steps
    "g1_sd",
    "s",
    "s_sd",
    "g2",
    "m",
    "d",
    "length",  # model steps of one field step; 1 is exact
    "acid_every",  # field steps between those of the acid while it is far from acting
    "momentum",  # share of a field's last change that is added to the next one; exact: 0
)

#: The group of cells on a site, times in steps.
CLOCKS = make_record(
    "clock",
    ("ends", 5),  # of the phases
    "damage",  # Gy
    "repaired",  # time in repair
    "repair",  # its duration
    number=np.float32,
)

_SITE, _LATTICE = (SITES,), (3, SITES)
#: A tumour on the lattice. Amounts are deviations from the bath: a multiplication keeps it at zero.
TUMOUR: np.dtype[Any] = np.dtype(
    [
        ("fields", np.float32, _LATTICE),  # glucose, oxygen, acid, fmol a site
        ("phase", np.int32, _SITE),  # of rules.py
        ("mode", np.int32, _SITE),
        ("clocks", CLOCKS, _SITE),
    ],
    align=True,
)

_FLAT = (ROW,)
#: A tumour in its frame: the square region round its disc with a rim of one site, row after row.
FRAME: np.dtype[Any] = np.dtype(
    [
        ("amounts", np.float32, (3, ROW)),  # glucose, oxygen, acid
        ("spare", np.float32, _FLAT),  # target of every second diffusion sub-step
        ("sums", np.float32, _FLAT),  # of three neighbours in a row
        ("mask", np.float32, _FLAT),  # 1 outside the bath
        ("inner", np.float32, _FLAT),  # 1 off the rim
        ("clock", np.float32, _FLAT),
        ("end", np.float32, _FLAT),  # of the present phase
        ("repaired", np.float32, _FLAT),
        ("repair", np.float32, _FLAT),
        ("before", np.float32, (2, ROW)),  # after the diffusion of the step before
        ("phase", np.int32, _FLAT),
        ("mode", np.int32, _FLAT),
        ("vacant", np.int32, _FLAT),  # neighbours
        ("event", np.int32, _FLAT),  # whether more happens than the passing of time
        ("site", np.int32, _FLAT),  # of the lattice, -1: none
    ],
    align=True,
)

#: Memory of a simulation beside the frame.
WORK: np.dtype[Any] = np.dtype(
    [
        ("order", np.float64, _SITE),  # draws that put divisions in order
        ("before", np.float32, (2, SITES)),  # see FRAME
        ("found", np.int32, _SITE),  # places where something happens, then those of the dead
        ("waiting", np.int32, _SITE),  # places of groups that divide
        ("attempts", np.int32, _SITE),  # at it
    ],
    align=True,
)

#: A simulation beside its sites.
COUNTERS = make_record(
    "step",
    "acid_on",  # 1 while the acid is computed in every step
    "sites",
    "burden",  # occupied sites, summed over the steps
    "births",
    "deaths",
    "repair_deaths",
    "age_deaths",
    "at_edge",  # 1 once the border was occupied
    number=np.int64,
)

#: A point of a time course: numbers of sites, and mean amounts of the occupied ones.
SAMPLE = make_record(
    "sites",
    ("phases", len(PHASES)),
    ("modes", len(MODES)),
    "damaged",
    ("amounts", len(SUBSTRATES)),  # fmol
    number=np.float32,
)
#: Names of its numbers, one by one.
SAMPLED = ("sites", *PHASES, *MODES, "damaged", *SUBSTRATES)

#: The options of a task; a slot is half an hour.
OPTIONS = make_record(
    "published",  # a wait comes before its dose and the objective is that of the source
    "total_dose",  # Gy
    "max_dose",  # Gy
    "dose_step",  # Gy
    "least_wait",  # slots
    "max_wait",  # slots
    "treatment",  # slots in which doses may be given
    "horizon",  # slots to the end
    "max_decisions",
    "bed_limit",  # Gy
    "alpha_beta",  # Gy
    "size_noise",  # standard deviation of ln(measured radius)
    "success",  # largest sites at the end relative to the start
)

#: A lane between two decisions, beside its tumour and counters.
STATE = make_record(
    "remaining",  # Gy
    "bed",  # Gy
    "last_slot",  # of a dose, -1 before the first
    "last_dose",  # Gy
    "decisions",
    "initial",  # sites
    "fractions",
    "first_radius",  # as measured
    "largest_acute",  # Gy, see validity.largest_acute_dose
    "beyond",  # 1 once the doses of a cell cycle were larger
)

#: A lane's present decision.
DECISION = make_record(
    "target",  # slot to advance to
    "dose",  # Gy
    "excess",  # Gy, BED over the limit
    "burden_before",
    "over",  # 1: it is the last
)

#: Reward terms, unweighted.
TERMS = make_record("fitness", "burden", "regrowth", "extinction", "excess")

COSTS = make_record("late_bed")

#: What became of the patient so far; names and units stand with the task's metrics.
OUTCOME = make_record(
    "fitness",
    "sites",
    "mean_burden",
    "regrowth",
    "extinct",
    "late_bed",
    "total_dose",
    "fractions",
    "last_dose",
    "out_of_range",
    "eqd2_late",
    "bed",
    "lq_range",
)

_HEADER = {"dose_left": 1.0, "time": 1.0, "since_dose": 1.0, "last_dose": 1.0}
_SUMMARY: Tops = {
    **_HEADER,
    "late_bed": 10.0,
    "sites": 2.0,
    "relative_sites": 10.0,
    "phases": dict.fromkeys(PHASES, 1.0),
    "modes": dict.fromkeys(MODES, 1.0),
    "damaged": 1.0,
    "damage": 1.0,
    "repairing": 1.0,
    "radius": 2.0,
    # Acid lies above its bath, up to 25 times at death, and is shown as a tenth.
    "amounts": {"glucose": 10.0, "oxygen": 10.0, "acid": 1.0},
}
#: The full state in short, and the largest value of each of its numbers; the least is 0.
SUMMARY, SUMMARY_TOPS = observed_record(_SUMMARY)
#: What a microscope shows.
MEASURED, MEASURED_TOPS = observed_record({**_HEADER, "radius": 2.0, "relative_radius": 10.0})

CHANNELS = (
    "occupied", "phase", "quiescent", "damage", "glucose", "oxygen", "dose_left", "time",
)  # fmt: skip
#: The lattice as an image: a number of each site in each channel.
IMAGE = make_record(*((channel, SITES) for channel in CHANNELS), number=np.float32)
