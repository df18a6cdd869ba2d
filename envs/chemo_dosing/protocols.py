"""Clinical dosing schedules as data: events are ``(day, dose in mg/L)``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.chemo_dosing.model import ChemoPatient
from oncogym.envs.chemo_dosing.step_kernels import safe_doses
from oncogym.envs.protocols import ClinicalProtocol, Rule, Schedule, ScheduleError


def _every(days: float, dose: float, first: float = 0.0, horizon: float = 60.0) -> Any:
    return tuple((float(day), dose) for day in np.arange(first, horizon, days))


def _threshold(task: Any, observation: NDArray[np.float32]) -> NDArray[np.float64]:
    """The largest dose that keeps the future toxicity peak of the nominal patient under the limit.

    The rule knows concentration and toxicity but not the patient's own parameters; it computes with
    those of the source's patient.
    """
    if task.observation != "full":
        raise ScheduleError(
            "the threshold rule needs the concentration: use observation='full', "
            f"not {task.observation!r}"
        )
    nominal = ChemoPatient()
    seen = np.asarray(observation, np.float64)
    action = np.zeros((len(seen), task.action_space.shape[0]))
    # Observations are float32, so the limit is approached to 1e-6 of its value, not reached.
    limit = task.toxicity_limit * (1.0 - 1e-6)
    doses = safe_doses(
        seen[:, 1] * task.max_dose,
        seen[:, 2] * task.toxicity_limit,
        limit,
        nominal.elimination_rate,
        nominal.toxicity_gain,
        nominal.toxicity_recovery,
    )
    action[:] = 1.0 / 3.0  # the waits, if there are any
    action[:, task.dose_part] = np.minimum(doses / task.max_dose, 1.0)
    return action


PROTOCOLS: dict[str, ClinicalProtocol] = {
    "no_treatment": Schedule("No treatment", ()),
    "source_uniform": Schedule(
        "6 x 5 mg/L, day 5 to 55", _every(10.0, 5.0, first=5.0), "the source's baseline"
    ),
    "every_10_days": Schedule("6 x 5 mg/L from day 0", _every(10.0, 5.0)),
    "weekly": Schedule("Weekly, 9 x 3.33 mg/L", _every(7.0, 30.0 / 9.0)),
    "daily": Schedule("Daily, 60 x 0.5 mg/L", _every(1.0, 0.5)),
    "threshold": Rule(
        "Threshold rule", _threshold, "largest dose whose exact toxicity peak stays in the limit"
    ),
}
