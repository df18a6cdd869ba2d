"""The courses of one patient under adaptive therapy, for figures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from oncogym.envs.outcomes import Trace


def traces(task: Any, lane: int) -> list[Trace]:
    """Doses, burden and both clones of one lane up to now, burdens in starting burdens."""
    who, course = task.patient(lane), task.course(lane)
    if course is None:
        time, doses = np.zeros(1), np.zeros(0)
        sensitive, resistant = np.array([1.0 - who.fR]), np.array([who.fR])
    else:
        time, doses = course.time, course.doses
        sensitive, resistant = course.sensitive / who.n0, course.resistant / who.n0
    given = doses > 0.0
    # Full dose can leave less of a clone than a plot can show.
    least = math.log10(1e-12)
    return [
        Trace("dose", "dose [of full]", time[: len(doses)][given], doses[given], events=True),
        Trace(
            "burden",
            "burden [of start]",
            time,
            sensitive + resistant,
            limit=task.progression,
            limit_label="progression",
        ),
        *(
            Trace(name, f"log10 {name}", time, np.log10(np.maximum(clone, 10.0**least)))
            for name, clone in (("sensitive", sensitive), ("resistant", resistant))
        ),
    ]
