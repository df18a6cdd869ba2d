"""Speed of the model of adaptive therapy: intervals of patients, tables of values, environments."""

from __future__ import annotations

import numpy as np

from oncogym.envs.adaptive_therapy import AdaptivePatient
from oncogym.envs.adaptive_therapy.task import AdaptiveTask
from oncogym.envs.adaptive_therapy.value_iteration import (
    OBJECTIVES,
    TABLE_SUBSTEP,
    compute_optimum,
    usual_grid,
)
from oncogym.envs.threads import limit
from oncogym.evaluation.speed import (
    Job,
    Measurement,
    Settings,
    env_jobs,
    rates,
    register,
    summarise,
    training_job,
)

_ENV_ID = "oncogym/AdaptiveTherapy-v0"
_LANES = 4096
# Lasts for 33 intervals in the nominal patient.
_DOSE = 0.7
_TARGETS = {"scalar": 50_000.0, "4096": 2_000_000.0}
_DOSES = 11


def jobs(settings: Settings) -> list[Job]:
    """Intervals on one thread, the table of a patient, environments, training if asked for."""
    found = [
        Job("intervals of patients, one thread", lambda: _intervals(settings.seconds)),
        Job("value iteration of a patient", lambda: _tables(settings.seconds)),
        *env_jobs(_ENV_ID, settings, targets=_TARGETS),
    ]
    if settings.train:
        found.append(training_job(_ENV_ID, settings))
    return found


def _intervals(seconds: float) -> list[Measurement]:
    """Decisions of many lanes on one thread, resets included."""
    task = AdaptiveTask(_LANES)
    lanes, keys = np.arange(_LANES), np.arange(_LANES, dtype=np.uint64)
    rows, episodes = task.patients.copy(), np.zeros(_LANES, np.uint64)
    actions, everybody = np.full((_LANES, 1), _DOSE), np.ones(_LANES, np.bool_)

    def course() -> int:
        task.reset(lanes, rows, keys, episodes)
        done = 1
        while not task.step(actions, everybody).terminated.all():
            done += 1
        return done * _LANES

    with limit(True):
        found = [1e6 / rate for rate in rates(course, seconds)]
    return [
        summarise(
            f"an interval of {task.interval_days} d", found, "us/patient", 1.2,
            higher_is_better=False,
            note=f"{_LANES} lanes on one thread, steps of {task.substep:g} d, scored and observed",
        )
    ]  # fmt: skip


def _tables(seconds: float) -> list[Measurement]:
    """The table of values of one patient, all threads."""
    who, grid = AdaptivePatient(), usual_grid(_DOSES)

    def work() -> int:
        compute_optimum(
            who, OBJECTIVES["sound"], _DOSES, False, 28, 1.2, grid, TABLE_SUBSTEP
        )  # fmt: skip
        return 1

    found = [1.0 / rate for rate in rates(work, seconds)]
    return [
        summarise(
            "value iteration, sound reward", found, "s/patient", higher_is_better=False,
            note=f"{_DOSES} doses, {grid[0]} x {grid[1]} states, all threads",
        )
    ]  # fmt: skip


register("adaptive", jobs)
