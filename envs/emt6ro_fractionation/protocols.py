"""Fractionation protocols as data: events are ``(time [h], dose [Gy])``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.emt6ro_fractionation.protocol import SLOT_HOURS
from oncogym.envs.emt6ro_fractionation.protocol import Protocol as Fractions
from oncogym.envs.protocols import ClinicalProtocol, Rule, Schedule, ScheduleError

# Where an observation has the radius, and the hours by which it divides the time since a dose.
_RADIUS = {"measurable": 4, "full": 19}
_SINCE_SCALE = 120.0

#: The protocols of the source's tables 1 to 4, as ``dose@wait before it`` in Gy and h.
PUBLISHED: dict[str, str] = {
    "BMI": "1.25@0 1.25@6 1.25@18 1.25@6 1.25@18 1.25@6 1.25@18 1.25@6",
    "BMI-1": "1.25@0 1.25@18.5 1.25@20 1.25@18.5 1.25@17.5 1.25@16.5 1.25@13 1.25@10",
    "BMI-2": "1.25@0 1.25@18.5 1.25@20 1.25@18.5 1.25@17.5 1.25@16.5 1.25@12.5 1.25@10",
    "BMI-3": "1.25@0 1.25@18.5 1.25@20 1.25@18.5 1.25@17.5 1.25@16.5 1.25@14 1.25@10",
    "GA1.25-1": "1.25@8.5 1.25@18.5 1.25@18.5 1.25@15.5 1.25@15.5 1.25@13.5 1.25@15 1.25@14",
    "GA1.25-2": "0.75@1.5 1.25@12.5 1@19.5 1.25@15 1.25@14.5 1.25@13.5 1@13 1@14 1.25@13.5",
    "GA1.25-3": "1@0 1.25@15.5 1.25@15 1.25@16 1.25@15 1@13.5 1@14 1@14 1@16.5",
    "BMII": "2@0 2@24 2@24 2@24 2@24",
    "BMII-1": "2@0 2@15 2@22 2@15.5 2@23.5",
    "BMII-2": "2@0 2@15 2@19 2@15.5 2@18",
    "BMII-3": "2@0 2@15 2@23 2@15.5 2@22.5",
    "GA2.0-1": "0.25@17.5 1.75@17 1.5@20.5 1.5@15 1.75@16 1.5@18.5 1.75@15",
    "GA2.0-2": "0.5@11 1.5@18 1.75@20 1.75@16.5 1.75@16.5 1.5@16.5 1.25@16",
    "GA2.0-3": "0.25@2 0.25@15.5 1.5@15.5 1.5@19 1.5@15 1.75@16.5 1.75@16 1.5@18.5",
    "GA2.5-1": "0.25@25.5 1.75@26.5 2@16 2@19 2@16.5 2@15.5",
    "GA2.5-2": "2@44.5 2@24 2.25@17.5 2@14.5 1.75@14",
    "GA3.0-1": "0.25@11.5 3@42 2.5@23.5 2.25@17 2@18.5",
    "GA3.0-2": "0.5@22 0.5@14.5 0.25@17.5 3@16 2.75@23 3@20.5",
    "GA3.5-1": "2.5@60.5 2.5@21 2.5@17.5 2.5@16.5",
    "GA3.5-2": "0.25@2.5 0.75@57 3@13.5 2.75@26.5 3.25@19.5",
    "GA4.0-1": "3.75@75.5 3.75@24.5 2.5@19",
    "GA4.0-2": "3.25@60 3.5@24 3.25@19.5",
    "GA4.5-1": "0.25@53.5 3.5@22.5 2@24.5 4.25@15",
    "GA4.5-2": "0.25@3.5 3.75@69 4.25@26 1.75@20",
    "HC1": "1.4@15.5 1.4@15.5 1.4@15.5 1.4@15.5 1.4@15.5 1.4@15.5 1.4@15.5",
    "HC2": "0.7@0.5 1.4@15.5 1.4@15.5 1.4@15.5 1.4@15.5 1.4@15.5 1.4@15.5",
    "HC3": "0.7@0.5 1.4@15.5 1.4@15.5 1.4@15.5 1.4@15.5 1.4@15.5 1.4@15.5 0.7@0.5",
    "HC4": "1.42@17.1 1.42@17.1 1.42@17.1 1.42@17.1 1.42@17.1 1.42@17.1 1.42@17.1",
}

_NOTES = {
    "BMI": "first benchmark: 1.25 Gy twice a day, 6 h apart, on four days",
    "BMII": "second benchmark: 2 Gy a day on five days",
    "HC": "made by hand from what the best protocols share",
    "GA": "found by the source's genetic algorithm",
    "BM": "a benchmark with its waits optimised by the source",
}


def _schedule(name: str, text: str) -> Schedule:
    note = next(note for start, note in _NOTES.items() if name == start or (
        name.startswith(start) and start in ("HC", "GA", "BM")
    ))  # fmt: skip
    return Schedule(name, Fractions.parse(text.replace(" ", ";"), name).times, note)


def _when_shrunk(
    task: Any,
    observation: NDArray[np.float32],
    memory: NDArray[np.float64],
    dose: float,
    share: float,
    least: float,
    longest: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A fraction once the measured radius has fallen by a share, or stopped falling.

    The memory is the radius at the last dose and the smallest seen since. Looked at as often as the
    waits allow.
    """
    if task.formulation != "sound":
        raise ScheduleError("Fraction by response: chooses a dose for what it sees; the wait first")
    place = _RADIUS.get(task.observation)
    if place is None:
        raise ScheduleError(
            "Fraction by response: needs the radius, observation='measurable' or 'full', not "
            f"{task.observation!r}"
        )
    seen = np.asarray(observation, np.float64)
    radius, since = seen[:, place], seen[:, 2] * _SINCE_SCALE
    start, smallest = memory[:, 0], memory[:, 1]
    first = np.isnan(start)
    grows = radius >= smallest
    due = first | ((since >= least - 0.25) & ((radius <= (1.0 - share) * start) | grows))
    due |= since >= longest - 0.25
    size = np.where(due, dose / task.max_dose, 0.0)
    start = np.where(due, radius, start)
    smallest = np.where(due, radius, np.fmin(smallest, radius))
    action = np.stack([np.minimum(size, 1.0), np.zeros(len(seen))], axis=1)
    return action, np.stack([start, smallest], axis=1)


def _at_intervals(
    task: Any, observation: NDArray[np.float32], dose: float, wait: float
) -> NDArray[np.float64]:
    """The same fraction again and again until nothing is left of the total dose."""
    if task.formulation != "sound":
        raise ScheduleError("Equal fractions: a dose, then its wait; here the wait comes first")
    shortest, longest = task.least_wait * SLOT_HOURS, task.max_wait * SLOT_HOURS
    for what, value, least, most, unit in (
        ("a dose", dose, 0.0, task.max_dose, "Gy"),
        ("a wait", wait, shortest, longest, "h"),
    ):
        if not least <= value <= most:
            allowed = f"{least:g} to {most:g} {unit}"
            raise ScheduleError(f"Equal fractions: {what} of {value:g} {unit}; allowed: {allowed}")
    row = (dose / task.max_dose, (wait - shortest) / max(longest - shortest, SLOT_HOURS))
    return np.tile(row, (len(observation), 1))


PROTOCOLS: dict[str, ClinicalProtocol] = {
    "no_treatment": Schedule("No treatment", ()),
    **{name.lower().replace("-", "_"): _schedule(name, text) for name, text in PUBLISHED.items()},
    "by_response": Rule(
        "Fraction by response",
        _when_shrunk,
        "a fraction once the radius has fallen by a share or stopped falling, within two waits",
        settings={"dose": 3.5, "share": 0.05, "least": 18.0, "longest": 36.0},
        grid={
            "dose": (2.0, 2.5, 3.5, 4.5),
            "share": (0.0, 0.05, 0.1),
            "least": (6.0, 12.0, 18.0),
            "longest": (24.0, 36.0, 48.0),
        },
        memory=2,
    ),
    "equal_fractions": Rule(
        "Equal fractions",
        _at_intervals,
        "3.5 Gy a day until 10 Gy are given",
        settings={"dose": 3.5, "wait": 24.0},
        grid={
            "dose": (2.0, 2.5, 3.0, 3.5, 4.0, 5.0),
            "wait": (18.0, 21.0, 24.0, 27.0, 30.0),
        },
        looks=False,
    ),
    "two_5gy": Schedule("2 x 5 Gy", ((0.0, 5.0), (24.0, 5.0)), "few large fractions, a day apart"),
}
