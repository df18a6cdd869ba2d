"""Receding-horizon control against what is optimal, against rules, and against itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import Box

from oncogym.agents.agent import what_is_seen
from oncogym.agents.belief import BeliefSettings
from oncogym.agents.clinical import RandomAgent, clinical_agents
from oncogym.agents.imagined_courses import Bases, knots
from oncogym.agents.mpc import CONTROLLERS, MPCSettings, NominalMPC, OracleMPC, ScenarioMPC
from oncogym.agents.optimizers import find_optimizer
from oncogym.agents.optimizers.objective import PlanObjective, protocol_plans
from oncogym.agents.plan import PatientPlans, PlanAgent
from oncogym.agents.rollout import rollout
from oncogym.core.errors import UnknownNameError
from oncogym.envs import Metric, Schedule, Treatment, Variant
from oncogym.envs.cohort import LogNormal, standard_cohorts
from oncogym.envs.patient import PatientRecord
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import TherapyTask
from oncogym.evaluation.agent_names import load_agents
from oncogym.evaluation.harness import evaluate_problem
from oncogym.parallel.processes import JoblibExecutor

sys.path.insert(0, str(Path(__file__).parent / "packages" / "oncogym_toy"))
import oncogym_toy

CHEMO = "oncogym/ChemoDosingCohort-v0"
MEASURABLE = {"observation": "measurable"}
OFTEN, SELDOM = ({**MEASURABLE, "decision_interval": days} for days in (6.0, 10.0))
FEW = MPCSettings(budget=96, scenarios=4, belief=BeliefSettings(particles=16, moves=1))


@dataclass(frozen=True)
class LinearPatient(PatientRecord):
    """How fast what is to be held at zero grows, and where it starts."""

    growth: float = 1.1
    start: float = 1.0

    FIELDS = ("growth", "start")
    RANGES = {"growth": (0.0, 2.0), "start": (0.0, 10.0)}


class LinearTask(TherapyTask):
    """Linear dynamics and quadratic cost: the state grows, an action from -2 to 2 moves it."""

    patient_class = LinearPatient
    reward_terms = ("cost",)
    costs = ()
    metrics = (Metric("state", "State", "", False),)
    action_parts = (("push", ""),)
    num_decisions = 12
    effort = 0.5

    def __init__(self, num_lanes, *, reward_weights=None):
        super().__init__(num_lanes, reward_weights=reward_weights)
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = Box(0.0, 1.0, (1,), np.float32)
        self.state = np.zeros(num_lanes)
        self.count = np.zeros(num_lanes, np.int64)

    def default_weights(self):
        return {"cost": 1.0}

    def _start_lanes(self, lanes, seen):
        self.state[lanes], self.count[lanes] = self.patients[lanes, 1], 0
        self._observe_lanes(lanes, seen)

    def _advance_lanes(self, actions, active, result):
        push = 4.0 * actions[:, 0] - 2.0
        cost = np.square(self.state) + self.effort * np.square(push)
        result.reward_terms[:, 0] = np.where(active, -cost, 0.0)
        moved = self.patients[:, 0] * self.state + push
        self.state[active] = moved[active]
        self.count += active
        self._observe_lanes(np.arange(self.num_lanes), result.observation)
        result.terminated[:] = active & (self.count >= self.num_decisions)
        result.outcome[:, 0] = self.state
        result.success[:] = True

    def _observe_lanes(self, lanes, seen):
        seen[:] = np.stack([self.state[lanes], self.count[lanes]], axis=1)

    def _lane_state(self):
        return {"state": self.state, "count": self.count}

    def to_physical(self, action):
        return {"push": 4.0 * np.asarray(action)[..., 0] - 2.0}

    def schedule_actions(self, schedule):
        return np.full((self.num_decisions, 1), 0.5)

    def describe(self, lane):
        return f"{self.state[lane]:.3f}"


LINEAR = Treatment(
    name="linear_toy",
    title="Linear toy",
    task=LinearTask,
    patient=LinearPatient,
    variants=(Variant("toy/Linear-v0", "linear dynamics, quadratic cost"),),
    cohorts=standard_cohorts((1.1, 1.0), LogNormal((1.1, 1.0), (0.1, 0.3))),
    protocols={"nothing": Schedule("No push", ())},
    picture=lambda task, lane: None,
    traces=lambda task, lane: [],
)


def least_cost(patients):
    """Cost of the optimal feedback of each patient, by the recursion of Riccati."""
    growth, start = patients.T
    value = np.zeros(len(patients))
    for _ in range(LinearTask.num_decisions):
        effort = LinearTask.effort
        value = 1.0 + growth**2 * value - np.square(growth * value) / (effort + value)
    return value * np.square(start)


@pytest.mark.slow
def test_linear_dynamics_and_quadratic_cost_reach_the_riccati_solution():
    problem = Problem.of(LINEAR, cohort="population").drawn(16, seed=2)
    best = least_cost(problem.patients)
    for kind, patience, budget in (
        (OracleMPC, 1.01, 2000),
        # Who sees the growth only from the second observation on pays for the first push.
        (NominalMPC, 1.02, 2000),
    ):
        settings = MPCSettings(budget=budget, scenarios=4)
        found = rollout(problem.task(), kind(settings).bind(problem), problem.patients)
        assert (-found.returns >= best * (1.0 - 1e-9)).all()
        # Without errors of measurement the patient is known after a few decisions.
        assert -found.returns.sum() < patience * best.sum()


def test_scenarios_of_one_known_patient_reach_it_too():
    problem = Problem.of(LINEAR, cohort="nominal").drawn(2)
    agent = ScenarioMPC(MPCSettings(budget=2000, scenarios=2)).bind(problem)
    found = rollout(problem.task(), agent, problem.patients)
    assert -found.returns.sum() < 1.01 * least_cost(problem.patients).sum()


@pytest.mark.slow
def test_the_nominal_patient_gets_the_best_plan():
    problem = Problem.resolve("oncogym/ChemoDosing-v0").drawn(1)
    objective = PlanObjective(problem)
    start = protocol_plans(problem)
    cma = find_optimizer("cma").optimize(objective, 4000, 0, start=start)
    best = find_optimizer("lbfgs").optimize(objective, 12000, 0, start=cma.plan[None]).score
    found = rollout(problem.task(), OracleMPC().bind(problem), problem.patients, problem.seeds)
    assert found.returns[0] > best - 0.005 * abs(best)


def protocol_returns(problem):
    """Returns of the protocols that see no more than the observation ``(protocols, patients)``.

    And which of them are schedules.
    """
    agents, _ = clinical_agents(problem.treatment, problem.task(1))
    kept = [agent for agent in agents.values() if not getattr(agent, "options", None)]
    returns = [
        rollout(problem.task(), agent, problem.patients, problem.seeds).returns for agent in kept
    ]
    return np.stack(returns), np.array([isinstance(agent, PlanAgent) for agent in kept])


@pytest.mark.slow
def test_who_knows_the_patient_is_never_worse_than_a_protocol():
    for problem in (
        Problem.of(oncogym_toy.TREATMENT, {"months": 12}, cohort="population").drawn(6),
        Problem.resolve(CHEMO, MEASURABLE, cohort="held_out").drawn(6),
    ):
        found = rollout(
            problem.task(), OracleMPC(FEW).bind(problem), problem.patients, problem.seeds
        )
        assert (found.returns >= protocol_returns(problem)[0].max(axis=0) - 1e-6).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [NominalMPC, ScenarioMPC])
def test_who_measures_is_better_than_schedules_and_no_worse_than_rules(kind):
    problem = Problem.resolve(CHEMO, MEASURABLE, cohort="held_out").drawn(16)
    settings = MPCSettings(budget=256, scenarios=8, belief=BeliefSettings(particles=32))
    found = rollout(problem.task(), kind(settings).bind(problem), problem.patients, problem.seeds)
    returns, schedule = protocol_returns(problem)
    gain = found.returns - returns
    error = gain.std(axis=1, ddof=1) / np.sqrt(16)
    assert not schedule.all()
    assert (gain.mean(axis=1)[schedule] > 2.0 * error[schedule]).all()
    assert (gain.mean(axis=1)[~schedule] > -2.0 * error[~schedule]).all()


@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_controller_does_not_depend_on_the_batch(name):
    problem = Problem.resolve(CHEMO, OFTEN, cohort="held_out").drawn(5)
    taken = []
    for part in (slice(0, 5), slice(3, 4)):
        some = problem.part(part)
        agent = CONTROLLERS[name](FEW).bind(some)
        taken.append(rollout(some.task(), agent, some.patients, some.seeds, record_actions=True))
    together, alone = taken
    length = alone.lengths[0]
    assert together.lengths[3] == length
    assert together.returns[3] == alone.returns[0]
    assert (together.actions[3, :length] == alone.actions[0, :length]).all()


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_table():
    problem = Problem.resolve(CHEMO, SELDOM, cohort="held_out").drawn(4)
    agents = {name: kind(FEW) for name, kind in CONTROLLERS.items()}
    here = evaluate_problem(problem, agents, lanes=2)
    for workers in (1, 2):
        with JoblibExecutor(workers) as executor:
            there = evaluate_problem(problem, agents, executor, lanes=2)
        assert here.to_csv() == there.to_csv()


def test_the_toy_package_is_controlled_too():
    problem = Problem.of(oncogym_toy.TREATMENT, {"months": 12}, cohort="population").drawn(4)
    none = rollout(problem.task(), PlanAgent(np.zeros((12, 1))), problem.patients).returns
    for kind in CONTROLLERS.values():
        found = rollout(problem.task(), kind(FEW).bind(problem), problem.patients, problem.seeds)
        assert (found.lengths == 12).all()
        assert found.returns.mean() > none.mean()


@pytest.mark.slow
def test_the_command_line_knows_controllers():
    command = [
        sys.executable, "-m", "oncogym", "evaluate", "oncogym/ChemoDosing-v0", "mpc_nominal",
        "mpc_oracle", "--option", "decision_interval=15", "--option", "observation=measurable",
        "--patients", "2", "--baseline", "mpc_nominal", "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    labels = json.loads(done.stdout)["labels"]
    assert labels["mpc_oracle"] == "MPC, patient known"
    problem = Problem.resolve("oncogym/ChemoDosing-v0").drawn(1)
    with pytest.raises(UnknownNameError, match="mpc_oracle"):
        load_agents(problem, ["mpc_orcale"])


def test_what_agents_see():
    measurable = Problem.resolve(CHEMO, MEASURABLE).task(1)
    full = Problem.resolve(CHEMO, {"observation": "full"}).task(1)
    assert what_is_seen(PlanAgent(np.zeros((60, 1))), full) == "nothing"
    assert what_is_seen(RandomAgent(1), full) == "nothing"
    assert what_is_seen(PatientPlans(np.zeros((1, 60, 1))), full) == "knows the patient"
    assert what_is_seen(ScenarioMPC(), full) == "measurable"
    assert what_is_seen(OracleMPC(), measurable) == "knows the patient"
    assert what_is_seen(object(), measurable) == "measurable"
    assert what_is_seen(object(), full) == "full state"


def test_hidden_rules_start_plans_of_the_oracle_alone():
    problem = Problem.resolve("oncogym/IMPTBeamWeightingCohort-v0").drawn(1)
    assert "clairvoyant" not in Bases(problem).names
    assert "clairvoyant" in Bases(problem.with_options({"observation": "full"}), hidden=True).names


def test_a_controller_that_is_given_a_plan_is_as_good_as_it():
    problem = Problem.resolve(CHEMO, SELDOM, cohort="held_out").drawn(1)

    def treat(agent):
        found = rollout(problem.task(), agent, problem.patients, problem.seeds, record_actions=True)
        return found.returns[0], found.actions[0]

    best, actions = treat(OracleMPC(FEW).bind(problem))
    plan = PlanAgent(actions)
    hasty = MPCSettings(budget=8, population=4, replan_every=100)
    alone, _ = treat(OracleMPC(hasty).bind(problem))
    assert alone < best
    for settings in (hasty, FEW):
        controller = OracleMPC(settings, plans={"found": plan}).bind(problem)
        assert treat(controller)[0] >= best
    with pytest.raises(ValueError, match=r"'wide' has actions of 2 numbers; allowed: 1"):
        OracleMPC(FEW, plans={"wide": PlanAgent(np.zeros((6, 2)))}).bind(problem)


def test_stretches_grow():
    assert knots(1, 6).tolist() == [0]
    assert knots(3, 6).tolist() == [0, 1, 2]
    stretches = np.bincount(knots(60, 6))
    assert stretches.sum() == 60
    assert stretches[0] == 1
    assert (np.diff(stretches) >= 0).all()


def test_a_controller_needs_its_patients():
    problem = Problem.resolve("oncogym/ChemoDosing-v0").drawn(2)
    shown = problem.task().observe()
    with pytest.raises(RuntimeError, match="bind"):
        ScenarioMPC().predict(shown)
    agent = NominalMPC(FEW).bind(problem)
    with pytest.raises(ValueError, match="a batch of 1 lanes; allowed: 2"):
        agent.predict(shown[:1])
    _, state = agent.predict(shown)
    with pytest.raises(ValueError, match="1 of 2 patients begin"):
        agent.predict(shown, state, np.array([True, False]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("budget", 7),
        ("iterations", 0),
        ("mean_share", 0.96),
        ("horizon", 0),
        ("spread", 0.0),
        ("replan_every", 0),
    ],
)
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=name):
        MPCSettings(**{name: value})
