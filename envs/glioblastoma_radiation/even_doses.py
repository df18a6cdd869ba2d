"""A rule whose doses come out even: the fewest safe ones, the last of them full."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.glioblastoma_radiation import step_kernels as kernel
from oncogym.envs.glioblastoma_radiation.kernels import DETECTION_RADIUS
from oncogym.envs.protocols import HiddenError


def even_doses(
    task: Any,
    observation: NDArray[np.float32],
    memory: NDArray[np.float64],
    share: float,
    shrink: float,
    trust: float,
    spread: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Today's dose of a course that ends with a full one.

    The safe dose grows as the field shrinks, so what is left of the total dose is given in as few
    days as the safe doses foreseen allow, and what these days need not give is held back early. The
    field is foreseen from the rim that was seen first, from 15 mm, the T1 radius at detection, to
    the T2 radius, and from what the doses so far have done to that.

    Args:
        task: A task whose observation is a row of named numbers.
        observation: ``(batch, numbers)``.
        memory: First T2 radius [share of 35 mm] and share of the total dose given at the last scan.
        share: Of the safe dose that counts as full.
        shrink: Share of the first rim by which the T2 radius falls with each Gy [1/Gy], before
            anything was seen of it.
        trust: Dose [Gy] after which what was seen counts as much as ``shrink``.
        spread: Part of what is held back that all days share, 0 to 1; today bears the rest.

    Raises:
        HiddenError: The observation is a row of densities, without the dose left.
    """
    if task.observation == "density":
        raise HiddenError(
            "doses that come out even: the observation 'density' does not show the dose that is "
            "left; allowed: 'full' or 'measurable'"
        )
    seen = np.asarray(observation, np.float64)
    left, t2 = (seen[:, task.observed.index(name)] for name in ("dose_left", "t2"))
    total = task.total_dose
    fresh = np.isnan(memory[:, 0])
    first = np.where(fresh, t2, memory[:, 0])
    scanned = np.ones(len(seen), np.bool_)
    if "since_scan" in task.observed:
        scanned = seen[:, task.observed.index("since_scan")] <= 0.0
    at_scan = np.where(scanned | fresh, 1.0 - left, memory[:, 1])

    expected = shrink * np.maximum(first * kernel.DEATH_RADIUS - DETECTION_RADIUS, 0.0)
    fallen = (first - t2) * kernel.DEATH_RADIUS
    per_gray = np.maximum((trust * expected + fallen) / (trust + total * at_scan), 0.0)
    radius = t2 * kernel.DEATH_RADIUS - per_gray * total * (1.0 - left - at_scan)

    # Where no field is seen the source sets no limit.
    full = share * np.minimum(_safe(task, radius[:, None]), total)
    days = np.arange(int(np.ceil(total * left.max(initial=0.0) / full.min(initial=total))) + 1)
    foreseen = share * np.minimum(
        _safe(task, radius[:, None] - per_gray[:, None] * full * days), total
    )
    together = np.cumsum(foreseen, axis=1)
    enough = together >= total * left[:, None] * (1.0 - 1e-9)
    sum_of_days = np.take_along_axis(together, np.argmax(enough, axis=1)[:, None], axis=1)[:, 0]
    held_back = np.maximum(sum_of_days - total * left, 0.0)
    today = foreseen[:, 0]
    dose = today * (1.0 - spread * held_back / sum_of_days) - (1.0 - spread) * held_back
    # Observations are float32, so the limit is approached to 1e-6 of its value, not reached.
    action = np.clip(dose * (1.0 - 1e-6) / total, 0.0, 1.0)
    return action[:, None], np.stack([first, at_scan], axis=1)


def _safe(task: Any, radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """Safe doses [Gy] of fields around T2 radii [mm] of any shape."""
    return np.asarray(task.safe_doses(np.maximum(radius, 0.0).ravel())).reshape(radius.shape)
