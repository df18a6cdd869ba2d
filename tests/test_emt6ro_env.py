"""Fractionation as a decision problem: what decisions do, what is paid, what is seen."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from oncogym.agents import PlanAgent, clinical_agent, clinical_agents, rollout
from oncogym.agents.clinical import RuleAgent
from oncogym.envs import get_treatment
from oncogym.envs.emt6ro_fractionation import Protocol, library, simulate
from oncogym.envs.emt6ro_fractionation.env import sample_library
from oncogym.envs.emt6ro_fractionation.protocols import PUBLISHED
from oncogym.envs.emt6ro_fractionation.task import EMT6RoTask
from oncogym.envs.protocols import Schedule, ScheduleError
from oncogym.evaluation.harness import resolve

V0 = "oncogym/EMT6RoFractionation-v0"
PUBLISHED_ID = "oncogym/EMT6RoFractionationPublished-v0"
COHORT = "oncogym/EMT6RoFractionationCohort-v0"
TREATMENT = get_treatment("emt6ro_fractionation")
FAST = {"fidelity": "screening"}


def play(env_id, name_or_actions, patients=2, **options):
    problem = resolve(env_id, patients=patients, options={**FAST, **options})
    task = problem.task()
    agent = (
        clinical_agent(TREATMENT, task, name_or_actions)
        if isinstance(name_or_actions, str)
        else PlanAgent(np.asarray(name_or_actions, np.float64))
    )
    return task, rollout(task, agent, problem.patients, problem.seeds)


@pytest.mark.parametrize("env_id", [V0, PUBLISHED_ID])
def test_schedules_give_their_doses_at_their_times(env_id):
    task = EMT6RoTask(1, formulation="published" if "Published" in env_id else "sound", **FAST)
    agents, left_out = clinical_agents(TREATMENT, task)
    for name in ("bmii", "bmi", "ga4.0_1", "ga1.25_1", "no_treatment"):
        row = resolve(env_id, patients=1).patients
        rollout(task, agents[name], row)
        events = np.array(TREATMENT.protocol(name).events).reshape(-1, 2)
        np.testing.assert_allclose(np.array(task.given(0)).reshape(-1, 2), events)
        assert task.elapsed(0) == 240.0
    if "Published" in env_id:
        # They choose a dose first, then its wait.
        assert set(left_out) == {"by_response", "equal_fractions"}
    else:  # doses off the grid of 0.25 Gy, and first doses within 6 h
        early = {"ga1.25_2", "ga2.0_3", "ga3.5_2", "ga4.5_2"}
        assert set(left_out) == {"hc1", "hc2", "hc3", "hc4"} | early
        assert "a gap of 2 h; allowed: waits of 6 to 30 h" in left_out["ga2.0_3"]
        assert "1.4 Gy; allowed: multiples of 0.25 Gy up to 5 Gy" in left_out["hc1"]


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ({}, [(0.0, 3.5), (24.0, 3.5), (48.0, 3.0)]),
        ({"dose": 2.0, "wait": 18.0}, [(18.0 * i, 2.0) for i in range(5)]),
        ({"dose": 5.0, "wait": 30.0}, [(0.0, 5.0), (30.0, 5.0)]),
    ],
)
def test_equal_fractions_are_given_until_nothing_is_left(settings, given):
    task = EMT6RoTask(1, **FAST)
    agent = RuleAgent(TREATMENT.protocol("equal_fractions").with_settings(**settings), task)
    assert agent.sees == "nothing"
    rollout(task, agent, resolve(V0, patients=1).patients)
    assert task.given(0) == given


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_wait": 12}, "a wait of 24 h; allowed: 6 to 12 h"),
        ({"min_wait": 26}, "a wait of 24 h; allowed: 26 to 30 h"),
        ({"max_dose": 3.0}, "a dose of 3.5 Gy; allowed: 0 to 3 Gy"),
    ],
)
def test_equal_fractions_outside_of_the_actions_are_refused(options, message):
    task = EMT6RoTask(1, **options, **FAST)
    with pytest.raises(ScheduleError, match=message):
        clinical_agent(TREATMENT, task, "equal_fractions")


def test_all_published_protocols_are_there():
    assert len(PUBLISHED) == 28
    for name, text in PUBLISHED.items():
        total = Protocol.parse(text.replace(" ", ";")).total
        assert 9.0 <= total <= 10.0, name


def test_the_environment_is_the_model():
    """Rewards and sites are those of the open-loop simulation with the same keys."""
    task, result = play(PUBLISHED_ID, "bmii", patients=1)
    patient = resolve(PUBLISHED_ID, patients=1).patients[0]
    number = int(patient[4])
    doses = np.zeros(480)
    for hour, dose in task.given(0):
        doses[int(2 * hour)] = dose
    assert result.returns[0] == 1500 - result.outcome[0, 1]
    # The same course once more from the pieces: fields and cells are the same after 240 h.
    from oncogym.envs.emt6ro_fractionation.jobs import live_until
    from oncogym.envs.emt6ro_fractionation.parameters import FIDELITIES, Parameters
    from oncogym.envs.emt6ro_fractionation.records import COUNTERS
    from oncogym.envs.emt6ro_fractionation.tumour import stack
    from oncogym.envs.emt6ro_fractionation.tumour_library import biology
    from oncogym.envs.records import make_rows

    state = stack([library()[number - 1]])
    counters = live_until(
        144_000, state, make_rows(1, COUNTERS), biology(),
        Parameters().settings(FIDELITIES["screening"]), doses,
    )[0]  # fmt: skip
    assert counters["sites"] == result.outcome[0, 1]
    assert np.array_equal(state.phase[0].reshape(51, 51), task.tumour(0).phase)
    assert np.array_equal(state.fields[0].reshape(3, 51, 51), task.tumour(0).amounts)
    assert counters["burden"] / (144_000 * library()[number - 1].sites) == pytest.approx(
        result.outcome[0, 2]
    )


@pytest.mark.slow
def test_fitness_of_the_environment_is_that_of_the_model():
    _, result = play(PUBLISHED_ID, "bmii", patients=60)
    ours = result.returns
    theirs = simulate(
        Protocol.parse("2@0;2@24;2@24;2@24;2@24"), library(), runs=6, fidelity="screening"
    ).fitness.ravel()
    error = np.hypot(ours.std() / np.sqrt(60), theirs.std() / np.sqrt(60))
    assert abs(ours.mean() - theirs.mean()) < 4 * error


def test_dose_comes_before_the_wait_and_after_it_in_the_published_form():
    sound = EMT6RoTask(1, **FAST)
    published = EMT6RoTask(1, formulation="published", **FAST)
    row = sample_library(np.zeros(1, np.uint64), np.zeros(1, np.uint64), 0)
    zero = np.zeros(1, np.uint64)
    for task, first in ((sound, 0.0), (published, 12.0)):
        task.reset(np.arange(1), row, zero, zero)
        wait = (24 - task.least_wait) / (task.max_wait - task.least_wait)
        task.step(np.array([[2.0 / task.max_dose, wait]]), np.ones(1, np.bool_))
        assert task.given(0) == [(first, 2.0)]
        assert task.elapsed(0) == 12.0


def test_reward_terms_add_up_and_cost_is_the_excess_of_the_limit():
    env = gym.make(V0, **FAST, bed_limit=15.0).unwrapped
    env.reset(seed=3)
    burden = cost = 0.0
    while True:
        _, reward, terminated, _, info = env.step(np.array([1.0, 0.0], np.float32))
        terms = info["reward_terms"]
        burden += terms["burden"]
        cost += info["cost"]
        expected = terms["burden"] + terms["extinction"]
        expected += 0.25 * terms["regrowth"] + 0.1 * terms["excess"]
        assert reward == pytest.approx(expected)
        assert info["cost"] == -terms["excess"]
        if terminated:
            break
    outcome = info["outcome"]
    assert outcome["late_bed"] == pytest.approx(2 * 5.0 * (1 + 5.0 / 3.0))
    assert cost == pytest.approx(outcome["late_bed"] - 15.0)
    assert -burden == pytest.approx(outcome["mean_burden"])
    assert outcome["total_dose"] == 10.0
    assert outcome["fractions"] == 2
    assert outcome["last_dose"] == 6.0
    assert not info["is_success"]  # the limit was broken


def test_doses_and_waits_lie_on_their_grids():
    env = gym.make(V0, **FAST).unwrapped
    for action, dose, wait in (
        ([0.0, 0.0], 0.0, 6.0),
        ([1.0, 1.0], 5.0, 30.0),
        ([0.024, 0.01], 0.0, 6.0),
        ([0.026, 0.011], 0.25, 6.5),
        ([0.47, 0.5], 2.25, 18.0),
    ):
        physical = env.to_physical(np.array(action))
        assert (physical["dose"], physical["wait"]) == (dose, wait)
        env.reset(seed=0)
        env.step(np.array(action, np.float32))
        assert sum(d for _, d in env.task.given(0)) == dose
        assert env.task.elapsed(0) == wait


def test_total_dose_is_never_exceeded():
    rng = np.random.default_rng(0)
    env = gym.make(V0, **FAST).unwrapped
    for seed in range(5):
        env.reset(seed=seed)
        done = False
        while not done:
            _, _, done, _, info = env.step(rng.random(2).astype(np.float32))
        assert info["outcome"]["total_dose"] <= 10.0 + 1e-9
        assert env.task.elapsed(0) == 240.0
        assert all(hour < 120.0 for hour, _ in env.task.given(0))


def test_a_tumour_that_dies_out_ends_the_course_and_pays():
    env = gym.make(V0, **FAST, total_dose=10.0, max_dose=10.0, bed_limit=1e6).unwrapped
    env.reset(seed=0, options={"patient": {"survival": 5.0}})
    _, _, terminated, _, info = env.step(np.ones(2, np.float32))
    assert terminated
    assert info["outcome"]["extinct"] == 1.0
    assert info["reward_terms"]["extinction"] == 1.0
    assert info["outcome"]["sites"] == 0.0
    assert info["is_success"]


def test_safe_actions_keep_the_limit():
    env = gym.make(V0, **FAST, bed_limit=12.0).unwrapped
    env.reset(seed=0)
    for _ in range(3):
        _, _, done, _, info = env.step(env.safe_action(np.ones(2)))
        assert info["cost"] == 0.0
        assert info["outcome"]["late_bed"] <= 12.0
        if done:
            break
    assert info["outcome"]["late_bed"] > 9.0


@pytest.mark.parametrize("observation", ["full", "measurable", "image"])
def test_observations_stay_in_their_space_and_tell_the_state(observation):
    env = gym.make(V0, observation=observation, **FAST).unwrapped
    rng = np.random.default_rng(1)
    for seed in range(2):
        seen, _ = env.reset(seed=seed)
        assert seen in env.observation_space
        done = False
        while not done:
            seen, _, done, _, info = env.step(rng.random(2).astype(np.float32) * 0.4)
            assert seen in env.observation_space
            tumour = env.task.tumour(0)
            left = 1.0 - info["outcome"]["total_dose"] / 10.0
            if observation == "image":
                assert np.array_equal(seen[0], (tumour.phase > 0).astype(np.float32))
                assert seen[6].min() == seen[6].max() == pytest.approx(left, abs=1e-6)
            else:
                assert seen[0] == pytest.approx(left, abs=1e-6)
                assert seen[1] == pytest.approx(env.task.elapsed(0) / 240.0)
            if observation == "full":
                assert seen[5] == pytest.approx(tumour.sites / 1500.0)
                assert seen[7:12].sum() == pytest.approx(1.0, abs=1e-5)
                assert seen[12:16].sum() == pytest.approx(1.0, abs=1e-5)


def test_measured_size_is_noisy_and_seeded():
    first = [gym.make(V0, observation="measurable", **FAST).reset(seed=s)[0][4] for s in range(10)]
    exact = [
        gym.make(V0, observation="measurable", size_noise=0.0, **FAST).reset(seed=s)[0][4]
        for s in range(10)
    ]
    ratio = np.log(np.array(first) / np.array(exact))
    assert 0.01 < ratio.std() < 0.15
    again = gym.make(V0, observation="measurable", **FAST).reset(seed=3)[0][4]
    assert again == first[3]


def test_nominal_patients_are_the_shipped_tumours_in_turn():
    rows = TREATMENT.cohorts["nominal"].patients(20)
    assert sorted(rows[:10, 4].tolist()) == list(range(1, 11))
    assert np.array_equal(rows[:10], rows[10:])
    assert TREATMENT.cohorts["nominal"].distinct == 10
    env = gym.make(V0).unwrapped
    seen = {(env.reset(seed=s), env.patient.tumour)[1] for s in range(30)}
    assert len(seen) > 5


@pytest.mark.slow
def test_unseen_tumours_are_like_the_shipped_ones():
    rows = TREATMENT.cohorts["unseen"].patients(40)
    assert len(set(rows[:, 4])) == 40
    assert rows[:, 4].min() > TREATMENT.cohorts["held_out"].patients(1000)[:, 4].max()
    assert (np.delete(rows, 4, axis=1) == np.delete(rows[:1], 4, axis=1)).all()
    task = EMT6RoTask(40, **FAST)
    keys = np.zeros(40, np.uint64)
    seen = task.reset(np.arange(40), rows, keys, keys)
    sites = 1500.0 * seen[:, 5]
    assert abs(sites.mean() - 321.5) < 4 * sites.std() / np.sqrt(40) + 5.0


def test_cohort_patients_vary_about_the_source():
    rows = TREATMENT.cohorts["held_out"].patients(1000)
    logs = np.log(rows[:, 0] / 0.4993)
    assert abs(logs.mean()) < 4 * 0.2 / np.sqrt(1000)
    assert logs.std() == pytest.approx(0.198, abs=0.02)
    assert set(rows[:, 5]) == {8.0, 9.0, 10.0, 11.0, 12.0}
    assert len(set(rows[:, 4])) > 990
    training = TREATMENT.cohorts["population"].patients(1000)
    assert len(set(training[:, 4])) == 64
    assert not set(training[:, 4]) & set(rows[:, 4])


@pytest.mark.slow
def test_radiosensitive_patients_lose_more():
    sites = []
    for survival in (0.2, 0.5, 1.0):
        problem = resolve(PUBLISHED_ID, patients=20, options=FAST)
        task = problem.task()
        rows = problem.patients.copy()
        rows[:, 0] = survival
        result = rollout(task, clinical_agent(TREATMENT, task, "bmii"), rows, problem.seeds)
        sites.append(result.outcome[:, 1].mean())
    assert sites[0] > sites[1] > sites[2]


@pytest.mark.parametrize("formulation", ["sound", "published"])
def test_slot_space_decodes_to_the_same_doses(formulation):
    task = EMT6RoTask(1, formulation=formulation, **FAST)
    space = task.slot_space(max_dose=2.0, min_gap=12.0)
    assert (space.slots, space.step, space.max_dose, space.total) == (240, 0.25, 2.0, 10.0)
    rng = np.random.default_rng(2)
    schedules = np.zeros((4, 240))
    for row in schedules:
        first = int(rng.integers(12, 30))
        row[np.arange(first, 240, 41)[:5]] = 0.25 * rng.integers(1, 9, 5)
    actions = space.decode(schedules)
    for row, schedule in zip(actions, schedules, strict=True):
        rollout(task, PlanAgent(row), resolve(V0, patients=1).patients)
        doses = np.zeros(240)
        for hour, dose in task.given(0):
            doses[int(2 * hour)] = dose
        assert np.array_equal(doses, schedule)


def test_a_first_dose_before_the_least_wait_is_given_at_once():
    task = EMT6RoTask(1, **FAST)
    schedule = np.zeros(240)
    schedule[[7, 30]] = [1.5, 2.0]
    rollout(
        task,
        PlanAgent(task.slot_space().decode(schedule[None])[0]),
        resolve(V0, patients=1).patients,
    )
    assert task.given(0) == [(0.0, 1.5), (15.0, 2.0)]


def test_plans_of_doses_and_waits():
    task = EMT6RoTask(1, **FAST)
    space = task.plan_space()
    assert space.dimension == 16
    plan = np.concatenate([np.full(8, 0.25), np.full(8, 0.5)])
    rollout(task, PlanAgent(space.decode(plan[None])[0]), resolve(V0, patients=1).patients)
    assert task.given(0) == [(18.0 * n, 1.25) for n in range(7)]


def test_impossible_schedules_are_named():
    sound = EMT6RoTask(1, **FAST)
    for events, problem in (
        (((0.0, 2.0), (3.0, 2.0)), "a gap of 3 h; allowed: waits of 6 to 30 h"),
        (((0.0, 6.0),), "6 Gy; allowed: multiples of 0.25 Gy up to 5 Gy"),
        (((0.0, 4.0), (10.0, 4.0), (20.0, 4.0)), "12 Gy are above the total dose, 10 Gy"),
        (((120.0, 1.0),), "a dose at 120 h; allowed: before 120 h"),
        (((0.0, -1.0),), "a dose is -1 Gy"),
    ):
        with pytest.raises(ScheduleError, match=problem):
            sound.schedule_actions(Schedule("x", events))


def test_bad_options_are_named():
    for options, problem in (
        ({"formulation": "soud"}, "did you mean 'sound'"),
        ({"fidelity": "fast"}, "unknown fidelity"),
        ({"compression": 0}, "compression is 0"),
        ({"total_dose": -1.0}, "total_dose is -1"),
        ({"max_dose": 11.0}, "max_dose is 11"),
        ({"min_wait": 6.2}, "min_wait is 6.2 h; allowed: 0.5 to 120 h in half hours"),
        ({"min_wait": 40.0, "max_wait": 30.0}, "max_wait is 30 h; allowed: 40"),
        ({"treatment_hours": 300.0}, "treatment_hours is 300 h"),
        ({"observation": "picture"}, "unknown observation"),
    ):
        with pytest.raises(ValueError, match=problem):
            gym.make(V0, **options)


def test_rendering_shows_the_lattice():
    env = gym.make(V0, render_mode="rgb_array", **FAST)
    env.reset(seed=0)
    env.step(np.array([0.4, 0.5], np.float32))
    assert env.render().shape == (480, 640, 3)
    text = gym.make(V0, render_mode="ansi", **FAST)
    text.reset(seed=0)
    text.step(np.array([0.4, 0.5], np.float32))
    assert "2 at 0 h" in text.render()
