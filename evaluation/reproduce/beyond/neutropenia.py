"""Neutropenia after docetaxel beside the typical patient and the cohort of Friberg's model.

What was read: a page about docetaxel that cites the label and a trial (droracle.ai, article 662557:
median nadir on day 7, median of 7 days below 0.5 x 10^9/L, grade 3 or 4 in 32 % of patients at 75
mg/m^2 every three weeks), and what a reader of the figure in Friberg's publication notes
(friberg02Demo.R of radivot/myelo: second peak on day 20). A course that is printed count by count
is in ``nonmem_course.py``.
"""

from __future__ import annotations

import numpy as np

from oncogym.envs import get_treatment
from oncogym.envs.chemo_neutrophils import NeutrophilPatient, simulate
from oncogym.envs.chemo_neutrophils.kernels import GRADE3
from oncogym.evaluation.reproduce.checks import Check, compare

_FULL, _REDUCED = 100.0, 75.0  # mg/m^2
_PATIENTS = 1000
_FOLLOWED = 40.0  # d
# Half a day: days are printed whole.
_WHOLE_DAY = 0.5
# Of a share, in per cent: two standard errors of a hundred patients.
_SHARE = 9.3


def share_of_grade3(dose: float, count: int) -> float:
    """Per cent of ``count`` patients of held_out whom one dose [mg/m^2] takes to grade 3 or 4."""
    rows = get_treatment("chemo_neutrophils").cohort("held_out").patients(count)
    nadirs = [simulate([dose], NeutrophilPatient.from_array(row)).nadir for row in rows]
    return 100.0 * float((np.array(nadirs) < GRADE3).mean())


def check_neutropenia() -> list[Check]:
    """Nadir, duration of grade 4 and second peak, and how many patients reach grade 3."""
    course = simulate([_FULL], interval_days=_FOLLOWED)
    peak = float(course.time[np.argmax(course.neutrophils)])
    typical = f"the typical patient after {_FULL:g} mg/m^2: nadir {course.nadir:.2f} x 10^9/L"
    return [
        compare("neutropenia_nadir", "Docetaxel, day of the nadir [d]", 7.0, course.nadir_day,
                _WHOLE_DAY, f"{typical}; clinics count on few days, and have a median"),
        compare("neutropenia_grade4", "Docetaxel, days below 0.5 x 10^9/L", 7.0, course.grade4_days,
                _WHOLE_DAY, f"{typical}, which is of grade 3: a known deviation"),
        compare("neutropenia_peak", "Docetaxel, day of the second peak [d]", 20.0, peak, _WHOLE_DAY,
                typical),
        compare("neutropenia_share", "Docetaxel, patients with grade 3 or 4 [%]", 32.0,
                share_of_grade3(_REDUCED, _PATIENTS), _SHARE,
                f"{_REDUCED:g} mg/m^2, first cycle of {_PATIENTS} patients of held_out"),
    ]  # fmt: skip
