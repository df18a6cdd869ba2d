"""Clinical rules and schedules; events of a schedule are ``(number of the decision, dose)``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.arrays import Floats
from oncogym.envs.adaptive_therapy.model import AdaptivePatient
from oncogym.envs.protocols import ClinicalProtocol, HiddenError, Rule, Schedule

# Decisions that an intermittent schedule is written out for.
_LONGEST = 20_000


def _hysteresis(
    task: Any, observation: NDArray[np.float32], memory: Floats, on: float, off: float
) -> tuple[Floats, Floats]:
    """Full dose above ``on``, none below ``off``, the last one between; the first one is full."""
    marker, last = task.marker(observation), memory[:, 0]
    dose = np.where(np.isnan(last), 1.0, last)
    dose = np.where(marker > on, 1.0, np.where(marker < off, 0.0, dose))
    return dose[:, None], dose[:, None]


def _above(task: Any, observation: NDArray[np.float32], threshold: float) -> Floats:
    """Full dose above a threshold, none at it or below."""
    return (task.marker(observation) > threshold).astype(np.float64)[:, None]


def _proportional(
    task: Any, observation: NDArray[np.float32], bias: float, gain: float, target: float
) -> Floats:
    """A dose that rises with the marker's distance from its target."""
    return np.clip(bias + gain * (task.marker(observation) - target), 0.0, 1.0)[:, None]


def _modulated(
    task: Any,
    observation: NDArray[np.float32],
    memory: Floats,
    rise: float,
    fall: float,
    change: float,
    off: float,
) -> tuple[Floats, Floats]:
    """A dose raised after growth and lowered after shrinkage between visits, with holidays."""
    marker = task.marker(observation)
    dose, before = memory[:, 0], memory[:, 1]
    first = np.isnan(dose)
    dose = np.where(first, 1.0, dose)
    before = np.where(first, 1.0, before)
    paused = ~first & (memory[:, 2] > 0.0)
    ratio = marker / before
    changed = np.where(ratio > 1.0 + change, dose * rise, dose)
    changed = np.where(ratio < 1.0 - change, dose * fall, changed)
    dose = np.where(paused | first, dose, np.minimum(changed, 1.0))
    pause = marker < off
    given = np.where(pause, 0.0, dose)
    return given[:, None], np.stack([dose, marker, pause.astype(np.float64)], axis=1)


def _contain(task: Any, observation: NDArray[np.float32]) -> Floats:
    """The dose under which the burden stays at its start, for whoever knows both clones."""
    if not task.reveal:
        raise HiddenError(
            "containment needs both clones and the patient's rates: use observation='full' and "
            f"reveal=True, not observation={task.observation!r}, reveal={task.reveal}"
        )
    seen = np.asarray(observation, np.float64)
    nominal = AdaptivePatient()
    ratio = np.exp(10.0 * seen[:, 2])  # R/S
    n0, cost, turnover = seen[:, 6], seen[:, 8], seen[:, 9]
    burden = seen[:, 1] * n0
    # Growth less death of both clones is 0 under this dose; rates relative to rS.
    room = np.maximum(1.0 - burden, 1e-9)
    kill = 1.0 + (1.0 - cost) * ratio - turnover * (1.0 + ratio) / room
    hold = np.clip(kill / nominal.dD, 0.0, 1.0)
    dose = np.where(seen[:, 1] > 1.0 + 1e-3, 1.0, np.where(seen[:, 1] < 1.0 - 1e-2, 0.0, hold))
    return dose[:, None]


def _cycles(on: int, off: int) -> tuple[tuple[float, float], ...]:
    """Full dose at ``on`` decisions, none at the next ``off``, and so on."""
    starts = range(0, _LONGEST, on + off)
    return tuple((float(at), dose) for n in starts for at, dose in ((n, 1.0), (n + on, 0.0)))


_THRESHOLDS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.08, 1.1)

PROTOCOLS: dict[str, ClinicalProtocol] = {
    "no_treatment": Schedule("No treatment", ()),
    "full_dose": Schedule("Full dose", ((0.0, 1.0),), "continuous, the maximum tolerated dose"),
    "metronomic": Schedule("2/3 of the dose", ((0.0, 2.0 / 3.0),), "continuous"),
    "two_on_one_off": Schedule("2 on, 1 off", _cycles(2, 1), "intervals, whatever the marker"),
    "eight_on_four_off": Schedule("8 on, 4 off", _cycles(8, 4), "intervals, whatever the marker"),
    "at50": Rule(
        "AT50",
        _hysteresis,
        "the trial's rule: full dose until half of the starting marker, none until it is back",
        settings={"on": 1.0, "off": 0.5},
        memory=1,
    ),
    "above": Rule(
        "On above a threshold",
        _above,
        "full dose while the marker is above the threshold",
        settings={"threshold": 1.0},
    ),
    "above_90": Rule("On above 0.9", _above, settings={"threshold": 0.9}),
    "above_80": Rule(
        "On above 0.8", _above, settings={"threshold": 0.8}, grid={"threshold": _THRESHOLDS}
    ),
    "dose_modulation": Rule(
        "Dose modulation",
        _modulated,
        "a quarter more after 10 % of growth, a quarter less after 10 % of shrinkage, none below "
        "half of the start",
        settings={"rise": 1.25, "fall": 0.75, "change": 0.1, "off": 0.5},
        memory=3,
    ),
    "proportional": Rule(
        "Proportional dose",
        _proportional,
        "0.7 of the dose at the starting marker, more above and less below",
        settings={"bias": 0.7, "gain": 5.0, "target": 1.0},
    ),
    "proportional_90": Rule(
        "Proportional dose, at 0.9",
        _proportional,
        "0.7 of the dose at nine tenths of the starting marker, more above and less below",
        settings={"bias": 0.7, "gain": 5.0, "target": 0.9},
        grid={"bias": (0.5, 0.6, 0.7, 0.8), "gain": (1.0, 2.0, 5.0, 10.0),
              "target": (0.8, 0.9, 1.0, 1.1)},
    ),
    "contain": Rule(
        "Containment, all known",
        _contain,
        "holds the starting burden; knows both clones and the patient",
        {"observation": "full", "reveal": True},
    ),
}  # fmt: skip
