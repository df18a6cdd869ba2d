"""Clinical radiation schedules as data: events are ``(day from detection, dose in Gy)``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.glioblastoma_radiation import step_kernels as kernel
from oncogym.envs.glioblastoma_radiation.even_doses import even_doses
from oncogym.envs.glioblastoma_radiation.kernels import T2_LEVEL
from oncogym.envs.protocols import ClinicalProtocol, Rule, Schedule


def _fractions(count: int, dose: float, weekends: bool) -> tuple[tuple[float, float], ...]:
    days = (n + 2 * (n // 5) if weekends else n for n in range(count))
    return tuple((float(day), dose) for day in days)


def _seen_limits(task: Any, observation: NDArray[np.float32]) -> NDArray[np.float64]:
    """The safe doses [Gy] that the observation shows, from the densities if it has nothing else."""
    seen = np.asarray(observation, np.float64)
    if task.observation == "density":
        level = T2_LEVEL * task.observation_space.high[0] * (1.0 - 1e-6)
        shown = seen >= level
        outermost = shown.shape[1] - 1 - np.argmax(shown[:, ::-1], axis=1)
        return np.asarray(task.safe_doses(np.where(shown.any(axis=1), outermost, -1.0)))
    return np.asarray(seen[:, 5] * kernel.DOSE_SCALE)


def _safe_share(task: Any, observation: NDArray[np.float32], share: float) -> NDArray[np.float64]:
    """A share of the safe dose of the last scan, every day."""
    # Observations are float32, so the limit is approached to 1e-6 of its value, not reached.
    dose = share * _seen_limits(task, observation)
    return np.minimum(dose[:, None] * (1.0 - 1e-6) / task.total_dose, 1.0)


def _replanned(
    task: Any, observation: NDArray[np.float32], memory: NDArray[np.float64], dose: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The fraction grows as the field shrinks: its share of the safe dose stays what it was."""
    limit = _seen_limits(task, observation)
    first = np.where(np.isnan(memory[:, 0]), limit, memory[:, 0])
    # Where no limit is set, as without a visible field, the fraction stays what it was.
    known = (first > 0.0) & np.isfinite(first) & np.isfinite(limit)
    now = dose * np.divide(limit, first, out=np.ones(len(limit)), where=known)
    return np.minimum(now[:, None] / task.total_dose, 1.0), first[:, None]


def _share_rule(label: str, share: float, note: str) -> Rule:
    return Rule(label, _safe_share, note, settings={"share": share})


def _even_rule(label: str, share: float, spread: float, note: str) -> Rule:
    settings = {"share": share, "shrink": 0.009, "trust": 8.0, "spread": spread}
    return Rule(label, even_doses, note, settings=settings, memory=2)


PROTOCOLS: dict[str, ClinicalProtocol] = {
    "no_treatment": Schedule("No treatment", ()),
    "paper": Schedule(
        "34 x 1.8 Gy, every day", _fractions(34, 1.8, False), "the source's protocol, no breaks"
    ),
    "paper_weekends": Schedule(
        "34 x 1.8 Gy, weekend breaks", _fractions(34, 1.8, True), "the source's protocol"
    ),
    "standard": Schedule(
        "30 x 2 Gy, weekend breaks",
        _fractions(30, 2.0, True),
        "Stupp et al., N Engl J Med 352:987 (2005), without temozolomide",
    ),
    "hypofractionated": Schedule(
        "15 x 2.67 Gy, weekend breaks",
        _fractions(15, 2.67, True),
        "Perry et al., N Engl J Med 376:1027 (2017), elderly patients, without temozolomide",
    ),
    "greedy": _share_rule("Safe dose", 1.0, "each day the safe dose of the last scan"),
    "greedy_95": replace(
        _share_rule("0.95 x safe dose", 0.95, "each day 95 % of the last scan's"),
        grid={"share": (0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 1.0, 1.03, 1.06)},
    ),
    "greedy_90": _share_rule("0.9 x safe dose", 0.9, "each day 90 % of the last scan's"),
    "even_doses": _even_rule(
        "Safe doses that come out even",
        1.0,
        0.5,
        "as few as the shrinking field will allow, small ones first, so that the last is full",
    ),
    "even_doses_97": replace(
        _even_rule("0.97 x safe doses, even", 0.97, 0.4, "the same with a margin of 3 %"),
        grid={"share": (0.94, 0.96, 0.97, 0.98, 0.99, 1.0, 1.01, 1.02), "spread": (0.4, 0.5, 0.6)},
    ),
    "replanned": Rule(
        "2 Gy, re-planned at each scan",
        _replanned,
        "2 Gy at first; a smaller field gets a larger fraction, the same share of its safe dose",
        settings={"dose": 2.0},
        memory=1,
    ),
}

#: What the last scan allows, with the share of ``greedy_95``, chosen on validation.
MEASURED_LIMIT = _share_rule(
    "Largest dose by the last scan", 0.95, "95 % of the safe dose of the last scan"
)
