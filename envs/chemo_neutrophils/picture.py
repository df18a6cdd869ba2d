"""The courses of one patient under docetaxel, for figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from oncogym.envs.chemo_neutrophils.kernels import GRADE4
from oncogym.envs.outcomes import Trace


def traces(task: Any, lane: int) -> list[Trace]:
    """Doses, neutrophils and tumour cells of one lane up to now."""
    who, course, doses = task.patient(lane), task.course(lane), task.given(lane)
    days = task.interval_days * np.arange(len(doses), dtype=np.float64)
    if course is None:
        time, count = np.zeros(1), np.array([who.baseline])
        cells = np.array([np.log(who.initial_cells)])
    else:
        time, count, cells = course.time, course.neutrophils, course.log_cells
    given = doses > 0.0
    return [
        Trace("dose", "dose [mg/m^2]", days[given], doses[given], events=True),
        Trace(
            "neutrophils", "neutrophils [10^9/L]", time, count, limit=GRADE4, limit_label="grade 4"
        ),
        Trace("cells", "log10 tumour cells", time, cells / np.log(10.0)),
    ]
