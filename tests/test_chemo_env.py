"""The chemotherapy decision problem against the model and the specification."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from oncogym.agents import PlanAgent, clinical_agent, clinical_agents, rollout
from oncogym.agents.optimizers import PlanObjective
from oncogym.agents.optimizers.differential_evolution import DifferentialEvolution
from oncogym.agents.optimizers.objective import protocol_plans
from oncogym.envs import Schedule, find_variant
from oncogym.envs.chemo_dosing import ChemoPatient, published_cost, simulate
from oncogym.envs.chemo_dosing.task import ChemoTask
from oncogym.envs.problem import Problem
from oncogym.envs.protocols import HiddenError, ScheduleError

TREATMENT, _ = find_variant("oncogym/ChemoDosing-v0")
PUBLISHED = dict(find_variant("oncogym/ChemoDosingPublished-v0")[1].options)
METRICS = [metric.name for metric in ChemoTask.metrics]


def outcome_of(result, lane=0):
    return dict(zip(METRICS, result.outcome[lane], strict=True))


@pytest.mark.parametrize("interval", [1.0, 0.5, 7.0, 13.0])
def test_daily_decisions_follow_the_exact_model(interval):
    rng = np.random.default_rng(1)
    lanes = 40
    task = ChemoTask(lanes, decision_interval=interval, stop_on_failure=False)
    patients = TREATMENT.cohorts["population"].patients(lanes)
    actions = rng.random((task.num_decisions, 1)) * 0.15
    result = rollout(task, PlanAgent(actions), patients)
    for lane in range(lanes):
        days = np.array([day for day, _ in task.given(lane)])
        doses = np.array([dose for _, dose in task.given(lane)])
        exact = simulate(days, doses, ChemoPatient.from_array(patients[lane]))
        seen = outcome_of(result, lane)
        assert seen["log10_kill"] == pytest.approx(exact.log10_kill, abs=1e-10)
        assert seen["peak_toxicity"] == pytest.approx(exact.peak_toxicity, abs=1e-10)
        assert seen["days_over_limit"] == pytest.approx(exact.days_over_limit, abs=1e-8)
        assert seen["exposure"] == pytest.approx(exact.auc, rel=1e-11)
        assert result.costs[lane, 0] == pytest.approx(exact.excess_toxicity, abs=1e-9)
        assert seen["total_dose"] == pytest.approx(min(doses.sum(), 30.0))
        assert seen["total_dose"] <= 30.0 + 1e-12


def test_published_return_is_minus_the_cost_of_the_source():
    rng = np.random.default_rng(2)
    lanes = 30
    task = ChemoTask(lanes, **PUBLISHED)
    patients = TREATMENT.cohorts["population"].patients(lanes)
    for _ in range(5):
        actions = np.stack([rng.random(6) * 0.6, rng.random(6)], axis=1)
        result = rollout(task, PlanAgent(actions), patients)
        for lane in range(lanes):
            given = task.given(lane)
            cost = published_cost(
                [day for day, _ in given],
                [dose for _, dose in given],
                ChemoPatient.from_array(patients[lane]),
            )
            assert -result.returns[lane] == pytest.approx(cost, rel=1e-10)


def test_first_day_and_late_doses():
    task = ChemoTask(1, **PUBLISHED, first_day=1.0)
    patients = ChemoPatient().to_array()[None]
    plan = np.array([[0.0, 0.5]] + [[1.0, 0.5]] * 5)
    rollout(task, PlanAgent(plan), patients)
    assert [day for day, _ in task.given(0)] == [1.0, 31.0]


def test_maximal_number_of_doses():
    task = ChemoTask(1, max_doses=3)
    rollout(task, PlanAgent(np.full((60, 1), 0.05)), ChemoPatient().to_array()[None])
    assert [day for day, _ in task.given(0)] == [0.0, 1.0, 2.0]


def test_course_fails_beyond_the_grade_4_toxicity():
    task = ChemoTask(1)
    result = rollout(task, PlanAgent(np.ones((60, 1))), ChemoPatient().to_array()[None])
    assert result.lengths[0] < 60
    assert not result.success[0]
    assert result.terms[0, task.reward_terms.index("failure")] == -1.0
    assert outcome_of(result)["peak_toxicity"] > 1.33 * 3.0


def test_published_numbers_of_the_protocols():
    """N(60) and peaks of table 1.5 of the specification."""
    task = ChemoTask(1)
    patient = ChemoPatient().to_array()[None]
    expected = {
        "no_treatment": (5.7589e7, 0.0),
        "source_uniform": (4.435325, 2.560594),
        "weekly": (0.1960748926, 2.17966808562),
        "daily": (0.003792117284, 2.00588800331),
    }
    for name, (cells, peak) in expected.items():
        result = rollout(task, clinical_agent(TREATMENT, task, name), patient)
        assert outcome_of(result)["final_cells"] == pytest.approx(cells, rel=1e-5)
        assert outcome_of(result)["peak_toxicity"] == pytest.approx(peak, rel=1e-6, abs=1e-9)


def test_threshold_rule_reaches_the_limit_and_never_passes_it():
    task = ChemoTask(1)
    result = rollout(
        task, clinical_agent(TREATMENT, task, "threshold"), ChemoPatient().to_array()[None]
    )
    assert outcome_of(result)["peak_toxicity"] == pytest.approx(3.0, abs=1e-4)
    assert result.costs.sum() == 0.0
    with pytest.raises(HiddenError, match="observation='full'"):
        TREATMENT.protocols["threshold"].actions(
            ChemoTask(1, observation="measurable"), np.zeros((1, 7), np.float32)
        )


def test_schedules_that_do_not_fit_are_named():
    agents, left_out = clinical_agents(TREATMENT, ChemoTask(1, decision_interval=7.0))
    assert "weekly" in agents
    assert "day 5 is not a decision day" in left_out["source_uniform"]
    _, left_out = clinical_agents(TREATMENT, ChemoTask(1, **PUBLISHED))
    assert "allowed: 6" in left_out["daily"]
    with pytest.raises(ScheduleError, match="above the largest single dose"):
        ChemoTask(1).schedule_actions(Schedule("much", ((0.0, 11.0),)))
    merged = ChemoTask(1).schedule_actions(Schedule("twice", ((0.0, 2.0), (0.0, 1.0), (70.0, 9.0))))
    assert merged.sum() == pytest.approx(0.3)


def test_waiting_actions_reproduce_any_schedule():
    task = ChemoTask(1, **PUBLISHED)
    schedule = Schedule("odd", ((42.5, 8.377), (3.25, 1.0)))
    rollout(task, PlanAgent(task.schedule_actions(schedule)), ChemoPatient().to_array()[None])
    assert np.allclose(task.given(0), [(3.25, 1.0), (42.5, 8.377)])


@pytest.mark.parametrize("limit", [1e6, 1e3])
def test_the_marker_is_mute_below_its_limit(limit):
    options = {"observation": "measurable", "marker_noise": 0.0, "marker_delay": 0.0}
    seen = gym.make("oncogym/ChemoDosing-v0", **options, marker_limit=limit)
    true = gym.make("oncogym/ChemoDosing-v0")
    seen.reset(seed=0)
    true.reset(seed=0)
    readings = []
    for _ in range(59):
        action = np.array([0.05], np.float32)
        readings.append((seen.step(action)[0][3], true.step(action)[0][3]))
    read, truth = np.array(readings).T
    assert np.array_equal(read, np.maximum(truth, np.float32(np.log(limit / 1e7) / np.log(1e7))))
    assert truth[-1] < read[-1]
    with pytest.raises(ValueError, match="marker_limit"):
        gym.make("oncogym/ChemoDosing-v0", marker_limit=0.0)


def test_the_published_formulation_sets_what_the_source_formulated_otherwise():
    task = ChemoTask(1, formulation="published")
    assert (task.objective, task.decisions, task.num_decisions) == ("published", "wait", 6)
    assert task.action_parts == (("wait", "d"), ("dose", "mg/L"))
    own = ChemoTask(1, formulation="published", objective="clinical", decisions="interval")
    assert (own.objective, own.decisions) == ("clinical", "interval")
    assert own.action_parts == (("dose", "mg/L"),)
    # A soft budget, and no failure however toxic the course.
    rows = ChemoPatient().to_array()[None]
    result = rollout(task, PlanAgent(np.tile([0.1, 1.0], (6, 1))), rows)
    assert outcome_of(result)["total_dose"] == 60.0
    assert result.costs[0, 1] == 30.0
    assert outcome_of(result)["peak_toxicity"] > 1.33 * 3.0
    assert result.terms[0, task.reward_terms.index("failure")] == 0.0


def test_a_dose_comes_before_its_wait():
    task = ChemoTask(1, decisions="wait", first_day=2.0)
    assert task.action_parts == (("dose", "mg/L"), ("wait", "d"))
    rows = ChemoPatient().to_array()[None]
    plan = np.array([[0.5, 0.1], [0.25, 1.0], [0.1, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    result = rollout(task, PlanAgent(plan), rows)
    # The third wait ends beyond the horizon, and the course with it.
    assert np.allclose(task.given(0), [(2.0, 5.0), (5.0, 2.5), (35.0, 1.0)])
    assert result.lengths[0] == 3
    exact = simulate(np.array([2.0, 5.0, 35.0]), np.array([5.0, 2.5, 1.0]), ChemoPatient())
    assert outcome_of(result)["log10_kill"] == pytest.approx(exact.log10_kill, abs=1e-10)
    assert outcome_of(result)["peak_toxicity"] == pytest.approx(exact.peak_toxicity, abs=1e-10)
    physical = task.to_physical(np.array([0.5, 0.1]))
    assert physical == {"dose": 5.0, "wait": 3.0}


@pytest.mark.parametrize(
    ("events", "decisions"),
    [
        (((0.0, 1.0), (10.0, 2.0)), 2),
        (((3.25, 1.0), (42.5, 8.377)), 4),  # idle to day 3.25; 39.25 days take two waits
        ((), 0),
    ],
)
def test_waits_that_follow_doses_reproduce_any_schedule(events, decisions):
    task = ChemoTask(1, decisions="wait")
    actions = task.schedule_actions(Schedule("odd", events))
    assert np.array_equal(actions[decisions:], np.tile([0.0, 1.0], (6 - decisions, 1)))
    rollout(task, PlanAgent(actions), ChemoPatient().to_array()[None])
    assert np.allclose(task.given(0), events)


def test_decisions_that_do_not_suffice_for_a_schedule_are_counted():
    uniform = TREATMENT.protocols["source_uniform"]
    with pytest.raises(ScheduleError, match="takes 7 decisions; allowed: 6"):
        ChemoTask(1, decisions="wait").schedule_actions(uniform)
    with pytest.raises(ScheduleError, match="day 5 is before first_day, 6"):
        ChemoTask(1, decisions="wait", first_day=6.0).schedule_actions(uniform)
    seven = ChemoTask(1, decisions="wait", max_doses=7)
    rollout(seven, PlanAgent(seven.schedule_actions(uniform)), ChemoPatient().to_array()[None])
    assert np.allclose(seven.given(0), uniform.events)


@pytest.mark.parametrize("formulation", ["sound", "published"])
def test_safe_doses_of_waiting_decisions_keep_the_limit(formulation):
    """Large doses at short waits, cut to what is safe when they are given."""
    task = ChemoTask(1, formulation=formulation, decisions="wait", first_day=1.5)
    rows = ChemoPatient().to_array()[None]
    zero = np.zeros(1, np.uint64)
    task.reset(np.zeros(1, np.intp), rows, zero, zero)
    wanted = np.array([[1.0, 0.1]]) if task.action_parts[0][0] == "dose" else np.array([[0.1, 1.0]])
    active = np.ones(1, np.bool_)
    safe, peak = [], 0.0
    for _ in range(5):
        actions = task.safe_actions(wanted)
        safe.append(float(actions[0, task.dose_part]))
        peak = float(task.step(actions, active).outcome[0, METRICS.index("peak_toxicity")])
    assert 0.0 < safe[-1] < 1.0
    assert 2.9 < peak <= 3.0


def test_the_threshold_rule_doses_and_waits():
    task = ChemoTask(1, decisions="wait", hard_budget=False)
    result = rollout(
        task, clinical_agent(TREATMENT, task, "threshold"), ChemoPatient().to_array()[None]
    )
    assert outcome_of(result)["peak_toxicity"] == pytest.approx(3.0, abs=1e-4)
    assert outcome_of(result)["days_over_limit"] == 0.0
    assert [day for day, _ in task.given(0)] == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]


def test_measurable_observation_is_noisy_late_and_hides_the_drug():
    options = {"observation": "measurable", "toxicity_noise": 0.0, "marker_limit": 1.0}
    quiet = gym.make("oncogym/ChemoDosing-v0", **options, marker_noise=0.0, marker_delay=3.0)
    full = gym.make("oncogym/ChemoDosing-v0")
    quiet.reset(seed=0)
    full.reset(seed=0)
    truth, marker = [0.0], [0.0]
    for _ in range(20):
        action = np.array([0.05], np.float32)
        seen = quiet.step(action)[0]
        true = full.step(action)[0]
        truth.append(true[3])
        marker.append(seen[3])
        assert seen[1] == np.float32(0.05)  # the last dose, not the concentration
        assert seen[2] == true[2]
    assert np.allclose(marker[4:], truth[1:-3])
    assert marker[:4] == [0.0] * 4
    noisy = gym.make_vec(
        "oncogym/ChemoDosing-v0", num_envs=2000, observation="measurable", marker_noise=0.2,
        marker_delay=0.0, toxicity_noise=0.1,
    )  # fmt: skip
    noisy.reset(seed=0)
    observation = noisy.step(np.full((2000, 1), 0.05, np.float32))[0]
    spread = observation[:, 3] * np.log(1e7)
    assert spread.std() == pytest.approx(0.2, rel=0.06)
    assert spread.mean() / np.log(1e7) == pytest.approx(truth[1], abs=0.002)
    assert np.log(observation[:, 2]).std() == pytest.approx(0.1, rel=0.06)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decision_interval": 0.0}, "decision_interval is 0.0; allowed: 0.01 to 60 days"),
        ({"decisions": "waits"}, "did you mean 'wait'"),
        ({"objective": "clinic"}, "did you mean 'clinical'"),
        ({"max_dose": -1.0}, "max_dose is -1.0"),
        ({"max_doses": 0}, "max_doses is 0"),
        ({"dose_budget": float("nan")}, "dose_budget is nan"),
        ({"marker_noise": "much"}, "marker_noise is 'much'"),
        ({"success_tcp": 2.0}, "success_tcp is 2.0; allowed: 0 to 1"),
    ],
)
def test_options_out_of_range_name_value_and_range(options, message):
    with pytest.raises(ValueError, match=message):
        ChemoTask(1, **options)


@pytest.mark.slow
def test_optimum_of_the_source_is_found():
    """J = 0.159446 with the first dose from day 0, 0.160947 from day 1 (specification 1.5)."""
    for first_day, best in ((0.0, 0.159446), (1.0, 0.160947)):
        problem = Problem.of(
            TREATMENT,
            {**PUBLISHED, "first_day": first_day},
            patients=ChemoPatient().to_array()[None],
        )
        result = DifferentialEvolution().optimize(problem, 144 * 1200, seed=0)
        assert -result.score == pytest.approx(best, abs=1e-5)
        assert result.evaluations >= 144 * 1200
        assert result.history == sorted(result.history)


def test_plan_problem_scores_as_a_rollout_does():
    patients = TREATMENT.cohorts["population"].patients(5)
    task = ChemoTask(5)
    whom = Problem.of(TREATMENT, {}, patients=patients)
    problem = PlanObjective(whom)
    rng = np.random.default_rng(0)
    plans = rng.random((7, 60)) * 0.08
    one = problem.score(plans)
    two = [rollout(task, PlanAgent(p.reshape(60, 1)), patients).returns.mean() for p in plans]
    assert np.allclose(one, two, rtol=1e-13)
    assert problem.evaluations == 35
    fitting, _ = clinical_agents(TREATMENT, task)
    schedules = [name for name, agent in fitting.items() if isinstance(agent, PlanAgent)]
    assert len(protocol_plans(whom)) == len(schedules), f"a search starts from each of {schedules}"
    with pytest.raises(ValueError, match="budget is 700 plans; allowed: at least 1440"):
        DifferentialEvolution().optimize(problem, 700)


def test_optimiser_is_reproducible_and_never_below_its_seeds():
    patients = ChemoPatient().to_array()[None]
    problem = Problem.of(TREATMENT, {"decision_interval": 10.0}, patients=patients)
    daily = np.full((1, 6), 0.5)
    runs = [
        DifferentialEvolution().optimize(problem, 72 * 10, seed=3, start=daily) for _ in range(2)
    ]
    assert np.array_equal(runs[0].plan, runs[1].plan)
    assert runs[0].score >= PlanObjective(problem).score(daily)[0]
    assert runs[0].agent().actions.shape == (6, 1)
