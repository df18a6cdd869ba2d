"""How clinics deliver: static plans, image guidance, and a bound that knows every error.

Events of a schedule are ``(fraction, plan, dose multiple)``, plans numbered as in
``library.PLANS``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.plan_spaces import Floats
from oncogym.envs.protocols import ClinicalProtocol, HiddenError, Rule, Schedule, ScheduleError

_FRACTIONS = 30


def _static(plan: int) -> tuple[tuple[float, ...], ...]:
    return tuple((float(n), float(plan), 1.0) for n in range(_FRACTIONS))


def _course(task: Any, label: str) -> Any:
    if task.formulation != "sound":
        raise ScheduleError(f"{label}: corrects a fraction; planning of weights has none")
    return task.course


def _guided(task: object, observation: NDArray[np.float32]) -> NDArray[np.float64]:
    """The robust plan after a couch correction by the shift that imaging shows."""
    course = _course(task, "Image guidance")
    seen = np.asarray(observation, np.float64)
    couch = seen[:, 1 : 1 + course.shift_axes]
    return np.asarray(course.action("robust", couch=couch, batch=len(seen)))


#: Range error of the fraction that was given, from what one can read of it: a constant, then the
#: coefficients of D98, D95, D50 and D2 of the target and of the largest and mean dose of two organs
#: (all relative, divided by the dose multiple). A regression over the cohort ``population`` under
#: ``image_guided`` with random range corrections:
#: ``python -m oncogym.evaluation.reproduce.impt.range_regression``.
RANGE_REGRESSION = (-0.143, -0.052, -0.096, 0.091, 0.179, 0.087, -0.030, -0.066, -0.094)
# Places of these numbers before the organs' and of the organs' within their four.
_TARGET_READINGS = 4


def readings(seen: Floats, axes: int, organs: int) -> Floats:
    """Dose statistics of the last fraction for one daily dose ``(batch, 4 + 2 organs)``.

    Args:
        seen: Observations ``(batch, …)``.
        axes: Axes of the grid, 2 or 3.
        organs: Number of organs at risk.
    """
    given, first = 2 + 3 * axes, 3 + 3 * axes
    target = seen[:, first + _TARGET_READINGS : first + 2 * _TARGET_READINGS]
    rest = seen[:, first + 2 * _TARGET_READINGS :][:, : 4 * organs]
    last = rest.reshape(len(seen), organs, 4)[:, :, 2:].reshape(len(seen), -1)
    return np.concatenate([target, last], axis=1) / np.maximum(seen[:, given], 1e-9)[:, None]


def _ahead(seen: Floats, axes: int, organs: int) -> Floats:
    """By how much the most burdened organ is ahead of what its limit has by now ``(batch,)``."""
    first = 3 + 3 * axes + 2 * _TARGET_READINGS
    most = seen[:, first : first + 4 * organs].reshape(len(seen), organs, 4)[:, :, 0]
    return np.maximum(most.max(axis=1, initial=0.0) - 1.0, 0.0)


def _adapted(
    task: object, observation: NDArray[np.float32], memory: Floats, gain: float, prior: float
) -> tuple[Floats, Floats]:
    """Image guidance that learns the range error and holds dose back from an organ that runs ahead.

    The memory is the sum of the estimates of the range error and their number. A ``gain`` of 0
    holds nothing back, an infinite ``prior`` corrects no range.
    """
    course = _course(task, "Adapted image guidance")
    seen = np.asarray(observation, np.float64)
    axes, organs = course.shift_axes, len(course.organs)
    memory = np.nan_to_num(memory)
    depth = np.zeros(len(seen))
    if np.isfinite(prior):
        if 1 + _TARGET_READINGS + 2 * organs != len(RANGE_REGRESSION):
            raise ScheduleError(
                f"Range estimate: fitted to phantoms with two organs at risk, this has {organs}"
            )
        told = readings(seen, axes, organs)
        # Not as a matrix product, whose last digit depends on the size of the batch.
        residual = np.full(len(seen), RANGE_REGRESSION[0])
        for column, slope in enumerate(RANGE_REGRESSION[1:]):
            residual += slope * told[:, column]
        applied = seen[:, 1 + 3 * axes] / 10.0
        estimate = (1.0 + residual) * (1.0 + applied) - 1.0
        given = (seen[:, 0] > 0.0) & (seen[:, 2 + 3 * axes] > 0.0)
        memory = memory + np.where(
            given[:, None], np.stack([estimate, np.ones_like(estimate)], 1), 0
        )
        depth = memory[:, 0] / (memory[:, 1] + prior)
    dose = np.clip(1.0 - gain * _ahead(seen, axes, organs), 0.0, 1.0)
    couch = seen[:, 1 : 1 + axes]
    action = course.action("robust", dose=dose, couch=couch, depth=depth, batch=len(seen))
    return np.asarray(action), memory


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
    "range_estimate": Rule(
        "Image-guided with range estimate",
        _adapted,
        "the range error is regressed on the dose statistics of each fraction and averaged",
        settings={"gain": 0.0, "prior": 2.0},
        memory=2,
    ),
    "held_back": Rule(
        "Image-guided, dose held back",
        _adapted,
        "the fraction is smaller by a multiple of what the worst organ is ahead of its limit",
        settings={"gain": 2.0, "prior": math.inf},
        memory=2,
    ),
    "adapted": Rule(
        "Image-guided, both",
        _adapted,
        "range estimate and dose held back",
        settings={"gain": 8.0, "prior": 8.0},
        grid={"gain": (2.0, 4.0, 6.0, 8.0, 12.0), "prior": (2.0, 4.0, 8.0, 16.0, 32.0)},
        memory=2,
    ),
    "clairvoyant": Rule(
        "Clairvoyant (errors known)",
        _clairvoyant,
        "the nominal plan, corrected by the true shift and range of the day",
        {"observation": "full"},
    ),
}
