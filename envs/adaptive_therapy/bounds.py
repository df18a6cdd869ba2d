"""The best dose for a patient and a state that are known, whatever the environment shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.arrays import Floats
from oncogym.envs.adaptive_therapy.step_kernels import DRUG_WEIGHT, YEAR
from oncogym.envs.adaptive_therapy.value_iteration import (
    TABLE_SUBSTEP,
    Objective,
    solve,
    usual_grid,
)
from oncogym.envs.bounds import Bound

# Doses of the table; between them the dose is sought where any can be given.
_DOSES = 11


def objective_of(task: Any) -> Objective:
    """What the reward of a task pays an interval; what it pays for the end of the plan is not."""
    weights = task.reward_weights
    return Objective(
        control=weights["control"] / YEAR,
        drug=-DRUG_WEIGHT * weights["drug"] / YEAR,
        visit=weights["visit"],
        holiday=weights["holiday"],
        punishment=weights["punishment"],
        at_visits=task.published,
    )


def _decide(task: Any, lanes: NDArray[np.intp]) -> Floats:
    if task.until != "progression":
        raise ValueError(f"until is {task.until!r}; the optimum is known for 'progression' only")
    on_off = task.doses == "on_off"
    doses = 2 if on_off else _DOSES
    objective = objective_of(task)
    actions = np.zeros((len(lanes), 1))
    for row, (lane, (log_s, log_r)) in enumerate(zip(lanes, task.clones(lanes), strict=True)):
        best = solve(
            task.patient(lane), objective, doses, not on_off,
            task.interval_days, task.progression, usual_grid(doses), TABLE_SUBSTEP,
        )  # fmt: skip
        actions[row] = best.dose_of_logs(log_s, log_r, task.substep)
    return actions


BOUNDS = {
    "optimum": Bound(
        "Optimum, all known",
        _decide,
        "value iteration for each patient, for the reward of the environment; two decisions looked "
        "ahead in the exact model",
    ),
}
