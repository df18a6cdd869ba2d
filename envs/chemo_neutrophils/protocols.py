"""Schedules and rules by the blood count; events are ``(day, dose in mg/m^2)``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.arrays import Floats
from oncogym.envs.chemo_neutrophils.kernels import GRADE2, GRADE3, GRADE4
from oncogym.envs.protocols import ClinicalProtocol, Rule, Schedule, ScheduleError

_CYCLE = 21.0  # d
# Levels of the label: full dose, and two reductions [mg/m^2].
_LEVELS = np.array([100.0, 75.0, 60.0])


def _every(days: float, dose: float, count: int) -> tuple[tuple[float, float], ...]:
    return tuple((days * number, dose) for number in range(count))


def _as_action(task: Any, dose: Floats) -> Floats:
    return np.clip(dose / task.max_dose, 0.0, 1.0)[:, None]


def _due(task: Any, observation: NDArray[np.float32], label: str) -> NDArray[np.bool_]:
    """Whose next cycle begins with this visit, or should have begun before."""
    if task.interval_days != 7:
        raise ScheduleError(
            f"{label}: needs a count every week, interval_days=7, not {task.interval_days}"
        )
    return np.asarray(task.since_dose(observation) >= _CYCLE)


def _label(
    task: Any, observation: NDArray[np.float32], memory: Floats, recovered: float
) -> tuple[Floats, Floats]:
    """Reduced a level after two weekly counts of grade 4 in a row; given when recovered."""
    due, count = _due(task, observation, "By the label"), task.count(observation)
    level = np.nan_to_num(memory[:, 0])
    low = np.where(count < GRADE4, np.nan_to_num(memory[:, 1]) + 1.0, 0.0)
    severe = np.maximum(np.nan_to_num(memory[:, 2]), low)
    gives = due & (count >= recovered)
    level = np.minimum(level + (gives & (severe >= 2.0)), len(_LEVELS) - 1.0)
    dose = np.where(gives, _LEVELS[level.astype(np.intp)], 0.0)
    return _as_action(task, dose), np.stack([level, low, np.where(gives, 0.0, severe)], axis=1)


def _by_nadir(
    task: Any, observation: NDArray[np.float32], memory: Floats, recovered: float
) -> tuple[Floats, Floats]:
    """Reduced a level after a cycle whose lowest weekly count was of grade 3 or 4."""
    due, count = _due(task, observation, "By the nadir's grade"), task.count(observation)
    level = np.nan_to_num(memory[:, 0])
    nadir = np.fmin(memory[:, 1], count)
    gives = due & (count >= recovered)
    level = np.minimum(level + (gives & (nadir < GRADE3)), len(_LEVELS) - 1.0)
    dose = np.where(gives, _LEVELS[level.astype(np.intp)], 0.0)
    return _as_action(task, dose), np.stack([level, np.where(gives, np.nan, nadir)], axis=1)


def _by_count(task: Any, observation: NDArray[np.float32], dose: float) -> Floats:
    """By the count of the day: the dose, three quarters of it at grade 2, a week's delay below."""
    due, count = _due(task, observation, "By the day's count"), task.count(observation)
    share = np.where(count >= GRADE2, 1.0, np.where(count >= GRADE3, 0.75, 0.0))
    return _as_action(task, np.where(due, dose * share, 0.0))


def _titrated(
    task: Any,
    observation: NDArray[np.float32],
    memory: Floats,
    first: float,
    goal: float,
    slope: float,
    caution: float,
    recovered: float,
) -> tuple[Floats, Floats]:
    """Each dose moves the last cycle's lowest weekly count towards a goal.

    ln of the nadir is taken as linear in the fourth root of the dose [mg/m^2]; steps upwards are
    shortened.
    """
    due, count = _due(task, observation, "Titrated to a nadir"), task.count(observation)
    last, nadir = memory[:, 0], np.fmin(memory[:, 1], count)
    gives = due & (count >= recovered)
    begins = np.isnan(last)
    step = np.log(goal / np.maximum(nadir, 1e-6)) / slope
    step = np.where(step > 0.0, caution * step, step)
    root = np.maximum(np.where(begins, 0.0, last) ** 0.25 + step, 0.0)
    dose = np.minimum(np.where(begins, first, root**4), task.max_dose)
    last = np.where(gives, dose, last)
    return (
        _as_action(task, np.where(gives, dose, 0.0)),
        np.stack([last, np.where(gives, np.nan, nadir)], axis=1),
    )


PROTOCOLS: dict[str, ClinicalProtocol] = {
    "no_treatment": Schedule("No treatment", ()),
    "three_weekly_100": Schedule(
        "6 x 100 mg/m^2, every three weeks", _every(21.0, 100.0, 6), "the label's full dose"
    ),
    "three_weekly_75": Schedule(
        "6 x 75 mg/m^2, every three weeks", _every(21.0, 75.0, 6), "the label's reduced dose"
    ),
    "weekly": Schedule(
        "18 x 25 mg/m^2, weekly", _every(7.0, 25.0, 18), "the total of three-weekly 75 mg/m^2"
    ),
    "label": Rule(
        "By the label",
        _label,
        "100 mg/m^2 every three weeks, given at 1.5 x 10^9/L or more; 75 and then 60 mg/m^2 after "
        "more than a week below 0.5 x 10^9/L, seen as two weekly counts in a row",
        settings={"recovered": 1.5},
        memory=3,
    ),
    "nadir_grade": Rule(
        "By the nadir's grade",
        _by_nadir,
        "a level less after a nadir of grade 3 or 4, as in PMC3675695, table A2, with the label's "
        "levels and recovery",
        settings={"recovered": 1.5},
        memory=2,
    ),
    "day_count": Rule(
        "By the day's count",
        _by_count,
        "100 % at 1.5 x 10^9/L or more, 75 % from 1.0 on, a week's delay below, as in PMC4671866, "
        "table 1",
        settings={"dose": 100.0},
    ),
    "titrated": Rule(
        "Titrated to a nadir",
        _titrated,
        "75 mg/m^2 first, then towards a nadir of 0.75 x 10^9/L by the fourth root of the dose, "
        "after Norris's titration by Newton's method (CRAN package DTAT), with a fixed slope",
        settings={"first": 75.0, "goal": 0.75, "slope": -2.0, "caution": 0.75, "recovered": 1.5},
        memory=2,
    ),
}
