"""How clinics deliver: static plans, image guidance, and a bound that knows every error.

Events of a schedule are ``(fraction, plan, dose multiple)``, plans numbered as in
``library.PLANS``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.protocols import ClinicalProtocol, HiddenError, Rule, Schedule, ScheduleError

_FRACTIONS = 30


def _static(plan: int) -> tuple[tuple[float, ...], ...]:
    return tuple((float(n), float(plan), 1.0) for n in range(_FRACTIONS))


def _course(task: Any, label: str) -> Any:
    if task.formulation != "sound":
        raise ScheduleError(f"{label}: corrects a fraction; planning of weights has none")
    return task.course


def _guided(task: Any, observation: NDArray[np.float32]) -> NDArray[np.float64]:
    """The robust plan after a couch correction by the shift that imaging shows."""
    course = _course(task, "Image guidance")
    seen = np.asarray(observation, np.float64)
    couch = seen[:, 1 : 1 + course.shift_axes]
    return np.asarray(course.action("robust", couch=couch, batch=len(seen)))


def _clairvoyant(task: Any, observation: NDArray[np.float32]) -> NDArray[np.float64]:
    """The nominal plan, corrected by the true errors."""
    course = _course(task, "Clairvoyant")
    if task.observation != "full":
        raise HiddenError("Clairvoyant: needs observation='full', in which the errors are shown")
    seen = np.asarray(observation, np.float64)
    axes = course.shift_axes
    today = seen[:, -(2 * axes + 1) : -(axes + 1)]
    depth = 0.1 * seen[:, -1]
    return np.asarray(course.action("nominal", couch=today, depth=depth, batch=len(seen)))


PROTOCOLS: dict[str, ClinicalProtocol] = {
    "equal": Schedule("Equal weights", _static(3), "every spot alike, mean target dose as wanted"),
    "single_field": Schedule(
        "Single-field uniform dose", _static(2), "every beam alone covers the target evenly"
    ),
    "nominal": Schedule("Static IMPT", _static(1), "planned without regard to errors"),
    "robust": Schedule(
        "Static robust IMPT",
        _static(0),
        "planned for the mean of seven scenarios: shifts of 3 mm, ranges of 3 %",
    ),
    "image_guided": Rule(
        "Robust IMPT, image-guided", _guided, "the couch follows the measured shift of the day"
    ),
    "clairvoyant": Rule(
        "Clairvoyant (errors known)",
        _clairvoyant,
        "the nominal plan, corrected by the true shift and range of the day",
        {"observation": "full"},
    ),
}
