"""Hormone therapy of a tumour with a resistant clone: how much of the drug, month by month.

## Description

A tumour of sensitive and resistant cells shares one carrying capacity. The drug kills the
sensitive cells only, and they are what holds the resistant ones down: a full dose every month
shrinks the tumour fast and leaves it resistant.

## Action Space

`Box(0, 1, (1,), float32)`: the dose of this month as a fraction of the full dose (1 unit).

## Observation Space

`Box((3,), float32)`: sensitive cells and resistant cells relative to the capacity, and the month
relative to the horizon.

## Rewards

`control`: minus the mean burden of the month; `drug`: minus the dose. `info["cost"]` is the part of
the dose that exceeds `limit`.

## Episode End

Terminates after `months` months. Success: the burden never passed 0.8 of the capacity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Box
from matplotlib.figure import Figure

from oncogym.core.checks import check_option, whole_number
from oncogym.envs import Metric, Rule, Schedule, Trace, Treatment, Variant
from oncogym.envs.cohort import LogNormal, standard_cohorts
from oncogym.envs.patient import PatientRecord
from oncogym.envs.therapy import TherapyTask

STEPS = 30  # Euler steps of a month


@dataclass(frozen=True)
class HormonePatient(PatientRecord):
    """Rates per month."""

    growth: float = 0.6
    resistant_growth: float = 0.4
    kill: float = 1.5

    FIELDS = ("growth", "resistant_growth", "kill")
    RANGES = {"growth": (0.0, 5.0), "resistant_growth": (0.0, 5.0), "kill": (0.0, 20.0)}


def advance(cells, dose, patients):
    """One month in every lane: cells ``(lanes, 2)``, doses ``(lanes,)``, patients ``(lanes, 3)``.

    Returns:
        The cells at the end and the mean burden ``(lanes,)``.
    """
    growth, resistant_growth, kill = patients.T
    sensitive, resistant = cells.T.copy()
    burden = np.zeros(len(cells))
    for _ in range(STEPS):
        room = 1.0 - sensitive - resistant
        burden += (sensitive + resistant) / STEPS
        sensitive = sensitive + sensitive * (growth * room - kill * dose) / STEPS
        resistant = resistant + resistant * resistant_growth * room / STEPS
    return np.stack([sensitive, resistant], axis=1), burden


class HormoneTask(TherapyTask):
    """The decision problem.

    Args:
        num_lanes: Number of independent treatments.
        months: Number of decisions.
        limit: Dose above which a month counts as a violation.
        reward_weights: Weights that replace the default of named reward terms.
    """

    patient_class = HormonePatient
    reward_terms = ("control", "drug")
    costs = ("excess",)
    metrics = (
        Metric("burden", "Mean burden", "of the capacity", False),
        Metric("peak", "Largest burden", "of the capacity", False),
        Metric("dose", "Total dose", "units", None),
    )
    action_parts = (("dose", "units"),)

    def __init__(self, num_lanes, *, months=24, limit=0.9, reward_weights=None):
        super().__init__(num_lanes, reward_weights=reward_weights)
        self.num_decisions = whole_number("months", months, 1, 600)
        self.limit = check_option("limit", limit, 0.0, 1.0)
        self.observation_space = Box(0.0, 2.0, (3,), np.float32)
        self.action_space = Box(0.0, 1.0, (1,), np.float32)
        self.month = np.zeros(num_lanes, np.int64)
        # What happened, month by month: sensitive, resistant, dose, mean burden.
        self.record = np.zeros((num_lanes, self.num_decisions + 1, 4))

    def default_weights(self):
        """Burden counts, the drug a little."""
        return {"control": 1.0, "drug": 0.1}

    def _start_lanes(self, lanes, seen):
        """Half of the capacity, one cell in a hundred resistant."""
        self.month[lanes] = 0
        self.record[lanes] = 0.0
        self.record[lanes, 0, :2] = (0.5, 0.005)
        self._observe_lanes(lanes, seen)

    def _advance_lanes(self, actions, active, result):
        """A month in every active lane."""
        lanes = np.flatnonzero(active)
        dose, now = actions[lanes, 0], self.month[lanes]
        cells, burden = advance(self.record[lanes, now, :2], dose, self.patients[lanes])
        self.record[lanes, now, 2:] = np.stack([dose, burden], axis=1)
        self.record[lanes, now + 1, :2] = cells
        self.month[lanes] += 1
        self._observe_lanes(np.arange(self.num_lanes), result.observation)
        result.reward_terms[:] = 0.0
        result.reward_terms[lanes] = np.stack([-burden, -dose], axis=1)
        result.costs[:] = 0.0
        result.costs[lanes, 0] = np.maximum(dose - self.limit, 0.0)
        result.terminated[:] = active & (self.month >= self.num_decisions)
        total = self.record[..., :2].sum(axis=2)
        months = np.maximum(self.month, 1)
        result.outcome[:, 0] = self.record[..., 3].sum(axis=1) / months
        result.outcome[:, 1] = total.max(axis=1)
        result.outcome[:, 2] = self.record[..., 2].sum(axis=1)
        result.success[:] = result.outcome[:, 1] <= 0.8

    def _observe_lanes(self, lanes, seen):
        """Cells and month of the lanes as they are."""
        seen[:, :2] = self.record[lanes, self.month[lanes], :2]
        seen[:, 2] = self.month[lanes] / self.num_decisions

    def _lane_state(self):
        return {"month": self.month, "record": self.record}

    def to_physical(self, action):
        """The full dose is one unit."""
        return {"dose": np.asarray(action, np.float64)[..., 0]}

    def schedule_actions(self, schedule):
        """Events are ``(month, dose)``; those after the last month are not reached."""
        actions = np.zeros((self.num_decisions, 1))
        for month, dose in schedule.events:
            if month < self.num_decisions:
                actions[int(month), 0] = dose
        return actions

    def describe(self, lane):
        """Month and burden."""
        burden = self.record[lane, self.month[lane], :2].sum()
        return f"month {self.month[lane]}: burden {burden:.3f}"


def treat_above_half(task, observation):
    """Adaptive therapy: a full dose whenever the burden passes half of the starting one."""
    return (observation[:, :2].sum(axis=1, keepdims=True) > 0.25).astype(np.float64)


def traces(task, lane):
    """Doses and both kinds of cells of one lane up to now."""
    months = np.arange(task.month[lane] + 1.0)
    sensitive, resistant, dose, _ = task.record[lane, : len(months)].T
    given = dose > 0.0
    return [
        Trace("dose", "dose [units]", months[given], dose[given], True, time_label="month"),
        Trace("burden", "burden", months, sensitive + resistant, limit=0.8, time_label="month"),
        Trace("resistant", "resistant cells", months, resistant, time_label="month"),
    ]


def picture(task, lane):
    """Burden and doses of one lane against time."""
    figure = Figure(figsize=(6.4, 4.8), dpi=100)
    axes = figure.subplots()
    dose, burden, _ = traces(task, lane)
    axes.plot(burden.time, burden.values)
    axes.vlines(dose.time, 0.0, dose.values, color="grey")
    axes.set(xlabel="month", ylabel="burden of the capacity", ylim=(0.0, 1.1))
    return figure


NOMINAL = (0.6, 0.4, 1.5)

TREATMENT = Treatment(
    name="hormone_toy",
    title="Toy hormone therapy",
    task=HormoneTask,
    variants=(
        Variant("toy/Hormone-v0", "a month a decision", baseline="continuous"),
        Variant(
            "toy/HormoneCohort-v0",
            "as Hormone-v0 with a new patient at every reset",
            options={"cohort": "population"},
            evaluation_cohort="held_out",
            baseline="continuous",
        ),
    ),
    cohorts=standard_cohorts(NOMINAL, LogNormal(NOMINAL, (0.2, 0.3, 0.2))),
    protocols={
        "none": Schedule("No treatment", ()),
        "continuous": Schedule("0.9 every month", tuple((month, 0.9) for month in range(600))),
        "adaptive": Rule("On above half, off below", treat_above_half),
    },
    picture=picture,
    traces=traces,
    page=__doc__,
)
