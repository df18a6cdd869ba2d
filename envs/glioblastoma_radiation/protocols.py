"""Clinical radiation schedules as data: events are ``(day from detection, dose in Gy)``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.glioblastoma_radiation import step_kernels as kernel
from oncogym.envs.glioblastoma_radiation.kernels import T2_LEVEL
from oncogym.envs.protocols import ClinicalProtocol, Rule, Schedule


def _fractions(count: int, dose: float, weekends: bool) -> tuple[tuple[float, float], ...]:
    days = (n + 2 * (n // 5) if weekends else n for n in range(count))
    return tuple((float(day), dose) for day in days)


def _greedy(task: Any, observation: NDArray[np.float32]) -> NDArray[np.float64]:
    """The safe dose of every day, from the densities or from what the observation says of it."""
    seen = np.asarray(observation, np.float64)
    # Observations are float32, so the limit is approached to 1e-6 of its value, not reached.
    if task.observation == "density":
        level = T2_LEVEL * task.observation_space.high[0] * (1.0 - 1e-6)
        shown = seen >= level
        outermost = shown.shape[1] - 1 - np.argmax(shown[:, ::-1], axis=1)
        limit = task.safe_doses(np.where(shown.any(axis=1), outermost, -1.0))
    else:
        limit = seen[:, 5] * kernel.DOSE_SCALE
    return np.minimum(limit[:, None] * (1.0 - 1e-6) / task.total_dose, 1.0)


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
    "greedy": Rule("Greedy at the safe dose", _greedy, "each day the largest safe dose"),
}
