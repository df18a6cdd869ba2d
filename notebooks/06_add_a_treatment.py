# %% [markdown]
# # Add a treatment
#
# Hormone therapy of a tumour with a resistant clone, in one cell: what everything else of the
# suite then works on. The page *Add a treatment of your own* has the same as a package.

# %%
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env

from oncogym.agents import clinical_agents
from oncogym.envs import Metric, Rule, Schedule, Trace, Treatment, Variant, register_treatment
from oncogym.envs.cohort import LogNormal, standard_cohorts
from oncogym.envs.patient import PatientRecord
from oncogym.envs.therapy import TherapyTask
from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.harness import resolve

# %% [markdown]
# ## The patient
#
# Numbers with allowed ranges.


# %%
@dataclass(frozen=True)
class Patient(PatientRecord):
    """Rates per month."""

    growth: float = 0.6
    resistant_growth: float = 0.4
    kill: float = 1.5

    FIELDS = ("growth", "resistant_growth", "kill")
    RANGES = {"growth": (0.0, 5.0), "resistant_growth": (0.0, 5.0), "kill": (0.0, 20.0)}


# %% [markdown]
# ## The task
#
# The decision problem for any number of lanes at once: a dose a month for two years. Both kinds
# of cells share the room that is left, so the sensitive ones hold the resistant ones down.


# %%
class Task(TherapyTask):
    """A dose a month."""

    patient_class = Patient
    reward_terms = ("control", "drug")
    costs = ("excess",)
    metrics = (
        Metric("peak", "Largest burden", "of the capacity", False),
        Metric("dose", "Total dose", "units", None),
    )
    action_parts = (("dose", "units"),)
    num_decisions = 24

    def __init__(self, num_lanes, *, reward_weights=None):
        super().__init__(num_lanes, reward_weights=reward_weights)
        self.observation_space = Box(0.0, 2.0, (3,), np.float32)
        self.action_space = Box(0.0, 1.0, (1,), np.float32)
        self.month = np.zeros(num_lanes, np.int64)
        self.record = np.zeros((num_lanes, 25, 3))  # sensitive, resistant, dose

    def default_weights(self):
        return {"control": 1.0, "drug": 0.1}

    def _start_lanes(self, lanes, seen):
        self.month[lanes] = 0
        self.record[lanes] = 0.0
        self.record[lanes, 0, :2] = (0.5, 0.005)
        self._observe_lanes(lanes, seen)

    def _advance_lanes(self, actions, active, result):
        lanes = np.flatnonzero(active)
        dose, now = actions[lanes, 0], self.month[lanes]
        growth, resistant_growth, kill = self.patients[lanes].T
        sensitive, resistant = self.record[lanes, now, :2].T
        for _ in range(30):  # days
            room = 1.0 - sensitive - resistant
            sensitive = sensitive + sensitive * (growth * room - kill * dose) / 30
            resistant = resistant + resistant * resistant_growth * room / 30
        self.record[lanes, now, 2] = dose
        self.record[lanes, now + 1, :2] = np.stack([sensitive, resistant], axis=1)
        self.month[lanes] += 1
        self._observe_lanes(np.arange(self.num_lanes), result.observation)
        result.reward_terms[:] = 0.0
        result.reward_terms[lanes] = np.stack([-sensitive - resistant, -dose], axis=1)
        result.costs[:] = 0.0
        result.costs[lanes, 0] = np.maximum(dose - 0.9, 0.0)
        result.terminated[:] = active & (self.month >= self.num_decisions)
        result.outcome[:, 0] = self.record[..., :2].sum(axis=2).max(axis=1)
        result.outcome[:, 1] = self.record[..., 2].sum(axis=1)
        result.success[:] = result.outcome[:, 0] <= 0.8

    def _observe_lanes(self, lanes, seen):
        seen[:, :2] = self.record[lanes, self.month[lanes], :2]
        seen[:, 2] = self.month[lanes] / self.num_decisions

    def _lane_state(self):
        return {"month": self.month, "record": self.record}

    def to_physical(self, action):
        return {"dose": np.asarray(action, np.float64)[..., 0]}

    def schedule_actions(self, schedule):
        actions = np.zeros((self.num_decisions, 1))
        for month, dose in schedule.events:
            actions[int(month), 0] = dose
        return actions

    def describe(self, lane):
        return f"month {self.month[lane]}"


# %% [markdown]
# ## The record
#
# Patients, protocols and how a course is drawn, by name.


# %%
def above_half(task, observation):
    """Adaptive therapy: a full dose whenever the burden passes half of the starting one."""
    return (observation[:, :2].sum(axis=1, keepdims=True) > 0.25).astype(np.float64)


def traces(task, lane):
    """Doses and burden up to now."""
    months = np.arange(task.month[lane] + 1.0)
    sensitive, resistant, dose = task.record[lane, : len(months)].T
    given = dose > 0.0
    return [
        Trace("dose", "dose [units]", months[given], dose[given], True, time_label="month"),
        Trace("burden", "burden", months, sensitive + resistant, limit=0.8, time_label="month"),
    ]


NOMINAL = (0.6, 0.4, 1.5)
TREATMENT = Treatment(
    name="hormone_notebook",
    title="Toy hormone therapy",
    task=Task,
    variants=(
        Variant(
            "notebook/HormoneCohort-v0",
            "a month a decision, a new patient at every reset",
            options={"cohort": "population"},
            evaluation_cohort="held_out",
            baseline="continuous",
        ),
    ),
    cohorts=standard_cohorts(NOMINAL, LogNormal(NOMINAL, (0.2, 0.3, 0.2))),
    protocols={
        "none": Schedule("No treatment", ()),
        "continuous": Schedule("0.9 every month", tuple((month, 0.9) for month in range(24))),
        "adaptive": Rule("On above half, off below", above_half),
    },
    traces=traces,
    page="Toy hormone therapy.",
)
register_treatment(TREATMENT)

# %% [markdown]
# ## Use it
#
# It is a Gymnasium environment, and a comparison works on it.

# %%
check_env(gym.make("notebook/HormoneCohort-v0").unwrapped)

# %%
problem = resolve("notebook/HormoneCohort-v0", patients=100)
agents, left_out = clinical_agents(TREATMENT, problem.task(1))
comparison = Comparison.run(problem, agents, baseline="continuous", reference="adaptive")
comparison.table("mean")

# %%
env = gym.make("notebook/HormoneCohort-v0", render_mode="rgb_array")
env.reset(seed=0)
for month in range(24):
    env.step([1.0 if month % 4 == 0 else 0.0])
picture = env.render()
print(picture.shape)
