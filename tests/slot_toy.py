"""A toy treatment on time slots with a known optimum; a package of its own for subprocesses."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Box

from oncogym.envs import Metric, Schedule, Trace, Treatment, Variant, streams
from oncogym.envs.cohort import LogNormal, standard_cohorts
from oncogym.envs.plan_spaces import SlotSpace
from oncogym.envs.therapy import TherapyTask

SLOTS = 24
STEP = 0.5
MAX_DOSE = 2.0
TOTAL = 6.0
GAP = 4.0
#: Hours at which a gray is worth 2; elsewhere it is worth at most 1.
PEAKS = (3, 10, 17)
WORTH = np.where(np.isin(np.arange(SLOTS), PEAKS), 2.0, 1.0 - 0.02 * np.arange(SLOTS))
#: Full doses at the three peaks spend the budget where nothing is worth more.
BEST = 2.0 * TOTAL


@dataclass(frozen=True)
class ToyPatient:
    sensitivity: float = 1.0
    FIELDS = ("sensitivity",)

    def to_array(self):
        return np.array([self.sensitivity])

    @classmethod
    def from_array(cls, row):
        return cls(float(row[0]))

    @classmethod
    def from_mapping(cls, mapping):
        return cls(**mapping)


class SlotToyTask(TherapyTask):
    """Return = worth of the doses times sensitivity, plus noise of the model."""

    patient_class = ToyPatient
    reward_terms = ("worth",)
    costs = ("burn",)
    metrics = (Metric("given", "Dose", "Gy", None),)
    action_parts = (("dose", "Gy"),)
    num_decisions = SLOTS
    observation_space = Box(0.0, 100.0, (1,), np.float32)
    action_space = Box(0.0, 1.0, (1,), np.float32)
    max_lanes = 64

    def __init__(self, num_lanes, *, noise=0.0, delay=0.0, reward_weights=None):
        super().__init__(num_lanes, reward_weights=reward_weights)
        assert num_lanes <= self.max_lanes
        self.noise, self.delay = noise, delay
        self.slot = np.zeros(num_lanes, np.int64)
        self.given = np.zeros(num_lanes)
        self.chance = np.zeros(num_lanes)

    def default_weights(self):
        return {"worth": 1.0}

    def _start_lanes(self, lanes, seen):
        time.sleep(self.delay)
        self.slot[lanes], self.given[lanes] = 0, 0.0
        draws = streams.normals(self.seeds[lanes], self.episodes[lanes], 16, 1)
        self.chance[lanes] = self.noise * draws[:, 0]
        self._observe_lanes(lanes, seen)

    def _advance_lanes(self, actions, active, result):
        dose = np.where(active, actions[:, 0] * MAX_DOSE, 0.0)
        worth = dose * WORTH[np.minimum(self.slot, SLOTS - 1)] * self.patients[:, 0]
        self.slot += active
        self.given += dose
        over = active & (self.slot >= SLOTS)
        result.observation[:] = self.slot[:, None]
        result.reward_terms[:, 0] = worth + np.where(over, self.chance, 0.0)
        result.costs[:, 0] = 0.0
        result.terminated[:] = over
        result.outcome[:, 0] = self.given
        result.success[:] = self.given <= TOTAL

    def _observe_lanes(self, lanes, seen):
        seen[:, 0] = self.slot[lanes]

    def _lane_state(self):
        return {
            "slot": self.slot,
            "given": self.given,
            "chance": self.chance,
        }

    def slot_space(self, max_dose=None, min_gap=None):
        return SlotSpace(
            slots=SLOTS,
            slot_duration=1.0,
            step=STEP,
            max_dose=MAX_DOSE if max_dose is None else max_dose,
            total=TOTAL,
            min_gap=GAP if min_gap is None else min_gap,
            decode=lambda doses: np.asarray(doses)[:, :, None] / MAX_DOSE,
            dose_unit="Gy",
            time_unit="h",
        )

    def to_physical(self, action):
        return {"dose": MAX_DOSE * np.asarray(action)[..., 0]}

    def schedule_actions(self, schedule):
        actions = np.zeros((SLOTS, 1))
        for hour, dose in schedule.events:
            actions[int(hour), 0] = dose / MAX_DOSE
        return actions

    def describe(self, lane):
        return f"slot {self.slot[lane]}"


def traces(task, lane):
    return [Trace("given", "dose [Gy]", np.array([0.0]), np.array([task.given[lane]]))]


TREATMENT = Treatment(
    name="slot_toy",
    title="Slot toy",
    task=SlotToyTask,
    variants=(Variant("toy/Slots-v0", "a toy", baseline="even"),),
    cohorts=standard_cohorts((1.0,), LogNormal((1.0,), (0.3,))),
    protocols={"even": Schedule("Even", ((0, 2.0), (8, 2.0), (16, 2.0)))},
    traces=traces,
    page="## Description\n",
)
