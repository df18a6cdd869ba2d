"""Clinical dosing schedules as data: events are ``(day, dose in mg/L)``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.chemo_dosing.model import ChemoPatient
from oncogym.envs.chemo_dosing.step_kernels import safe_doses
from oncogym.envs.plan_spaces import Floats
from oncogym.envs.protocols import ClinicalProtocol, HiddenError, Rule, Schedule, ScheduleError


def _every(days: float, dose: float, first: float = 0.0, horizon: float = 60.0) -> Any:
    return tuple((float(day), dose) for day in np.arange(first, horizon, days))


def _threshold(task: Any, observation: NDArray[np.float32]) -> NDArray[np.float64]:
    """The largest dose that keeps the future toxicity peak of the nominal patient under the limit.

    The rule knows concentration and toxicity but not the patient's own parameters; it computes with
    those of the source's patient.
    """
    if task.observation != "full":
        raise HiddenError(
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


def _smooth(memory: Floats, reading: Floats, weight: float) -> Floats:
    """Readings ``(batch,)`` averaged exponentially; the first one as it is."""
    return np.where(np.isnan(memory), reading, memory + weight * (reading - memory))


def _require_interval(task: Any, label: str) -> None:
    if task.decisions != "interval":
        raise ScheduleError(
            f"{label}: needs a decision at regular times, decisions='interval', "
            f"not {task.decisions!r}"
        )


def _pace(task: Any, seen: Floats) -> Floats:
    """Doses [mg/L] that spend what is left of the budget evenly on the decisions left."""
    left = np.round((1.0 - seen[:, 0]) * task.horizon / task.decision_interval)
    return np.asarray(seen[:, 4] * task.dose_budget / np.maximum(left, 1.0))


def _as_action(task: Any, dose: Floats) -> Floats:
    return np.clip(dose / task.max_dose, 0.0, 1.0)[:, None]


def _pacing(
    task: object,
    observation: NDArray[np.float32],
    memory: Floats,
    speed: float,
    low: float,
    high: float,
    weight: float,
) -> tuple[Floats, Floats]:
    """A multiple of the even pace, less and less between two levels of measured toxicity."""
    _require_interval(task, "Pacing")
    seen = np.asarray(observation, np.float64)
    level = _smooth(memory[:, 0], seen[:, 2], weight)
    share = np.clip((high - level) / max(high - low, 1e-9), 0.0, 1.0)
    return _as_action(task, speed * _pace(task, seen) * share), level[:, None]


def _capped_pacing(
    task: Any,
    observation: NDArray[np.float32],
    memory: Floats,
    speed: float,
    margin: float,
    weight: float,
) -> tuple[Floats, Floats]:
    """The even pace, but no dose that would lift the toxicity of the nominal patient too high.

    Concentration and toxicity are computed along with the nominal constants from the doses given;
    each reading of toxicity draws the second towards it. Where the model's state is observed, it is
    taken as it is.
    """
    _require_interval(task, "Capped pacing")
    seen = np.asarray(observation, np.float64)
    nominal = ChemoPatient()
    out, back = nominal.elimination_rate, nominal.toxicity_recovery
    reading = seen[:, 2] * task.toxicity_limit
    if task.observation == "full":
        drug, level = seen[:, 1] * task.max_dose, reading
    else:
        step = task.decision_interval
        given = np.where(
            np.abs(seen[:, 6] * task.horizon - step) < 0.5 * step, seen[:, 1] * task.max_dose, 0.0
        )
        before = np.nan_to_num(memory[:, 0]) + given
        drug = before * np.exp(-out * step)
        rise = (np.exp(-out * step) - np.exp(-back * step)) / (back - out)
        expected = memory[:, 1] * np.exp(-back * step) + nominal.toxicity_gain * before * rise
        level = _smooth(expected, reading, weight)
        drug = np.where(np.isnan(memory[:, 0]), 0.0, drug)
    # Observations are float32, so the limit is approached to 1e-6 of its value, not reached.
    limit = margin * task.toxicity_limit * (1.0 - 1e-6)
    cap = safe_doses(drug, level, limit, out, nominal.toxicity_gain, back)
    dose = np.minimum(speed * _pace(task, seen), cap)
    return _as_action(task, dose), np.stack([drug, level], axis=1)


def _reduced(
    task: Any,
    observation: NDArray[np.float32],
    memory: Floats,
    dose: float,
    cycle: float,
    delay: float,
    recovered: float,
    hold: float,
) -> tuple[Floats, Floats]:
    """Cycles whose dose is reduced or delayed by the measured toxicity."""
    _require_interval(task, "Dose reduction")
    seen = np.asarray(observation, np.float64)
    day, since, level = seen[:, 0] * task.horizon, seen[:, 6] * task.horizon, seen[:, 2]
    delays, held = np.nan_to_num(memory[:, 0]), memory[:, 1]
    never = seen[:, 4] >= 1.0
    # Days are float32.
    due = np.where(never, day >= 0.5 * cycle - 1e-3, since >= cycle - 1e-3)
    starts = due & np.isnan(held) & (level > hold)
    delays = delays + starts
    held = np.where(starts, day, held)
    waiting = ~np.isnan(held)
    resumes = waiting & (day >= held + delay - 1e-3) & (level <= recovered)
    base = np.where(delays == 0.0, 1.0, np.where(delays == 1.0, 0.75, 0.5))
    share = np.where(level > recovered, np.minimum(base, 0.75), base)
    gives = (due & ~waiting) | resumes
    held = np.where(resumes, np.nan, held)
    return _as_action(task, np.where(gives, dose * share, 0.0)), np.stack([delays, held], axis=1)


PROTOCOLS: dict[str, ClinicalProtocol] = {
    "no_treatment": Schedule("No treatment", ()),
    "source_uniform": Schedule(
        "6 x 5 mg/L, day 5 to 55", _every(10.0, 5.0, first=5.0), "the source's baseline"
    ),
    "every_10_days": Schedule("6 x 5 mg/L from day 0", _every(10.0, 5.0)),
    "weekly": Schedule("Weekly, 9 x 3.33 mg/L", _every(7.0, 30.0 / 9.0)),
    "daily": Schedule("Daily, 60 x 0.5 mg/L", _every(1.0, 0.5)),
    "dose_reduction": Rule(
        "6 x 5 mg/L, reduced by toxicity",
        _reduced,
        "the source's cycles; 75 % of the dose where the toxicity has not recovered, a week's "
        "delay or more where it is high, then 75 % and, after another delay, 50 %, as in PMC4671866"
        ", table 1; the levels are shares of the limit",
        settings={"dose": 5.0, "cycle": 10.0, "delay": 7.0, "recovered": 0.5, "hold": 0.75},
        memory=2,
    ),
    "pacing": Rule(
        "Pacing by toxicity",
        _pacing,
        "a multiple of budget left / days left, less between two levels of smoothed toxicity",
        settings={"speed": 1.2, "low": 0.6, "high": 0.9, "weight": 0.5},
        grid={
            "speed": (0.9, 1.0, 1.2, 1.5),
            "low": (0.5, 0.6, 0.7, 0.8, 0.9),
            "high": (0.85, 0.9, 0.95, 1.0),
            "weight": (0.2, 0.35, 0.5, 1.0),
        },
        memory=1,
    ),
    "capped_pacing": Rule(
        "Pacing with toxicity cap",
        _capped_pacing,
        "the even pace, cut so that the toxicity peak of the nominal patient stays under a margin",
        settings={"speed": 1.2, "margin": 0.8, "weight": 0.5},
        grid={
            "speed": (0.9, 1.0, 1.2, 1.5),
            "margin": (0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
            "weight": (0.2, 0.35, 0.5, 1.0),
        },
        memory=2,
    ),
    "threshold": Rule(
        "Threshold rule",
        _threshold,
        "largest dose whose exact toxicity peak stays in the limit",
        {"observation": "full"},
    ),
}

#: What the last readings allow, with the margin of the rule above, chosen on validation. So fast a
#: pace never binds; what is left is the cap.
MEASURED_LIMIT = Rule(
    "Largest dose by measured toxicity",
    _capped_pacing,
    "the toxicity peak of the nominal patient, drawn to each reading, stays under a margin",
    settings={"speed": 1e6, "margin": 0.8, "weight": 0.5},
    memory=2,
)
