"""The glioblastoma environments: the source's traces, what v0 changes, options, bad input."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncogym.envs.glioblastoma_radiation import (
    TREATMENT,
    DetectionError,
    DomainError,
    GlioblastomaPatient,
    StabilityError,
    simulate,
    with_weekend_breaks,
)
from oncogym.envs.glioblastoma_radiation.picture import course, synthetic_scan
from oncogym.envs.protocols import Schedule, ScheduleError

DATA = Path(__file__).parent / "data"
SOUND, PUBLISHED, COHORT = (variant.id for variant in TREATMENT.variants)
PAPER = 1.8 / 61.2
# The best daily plan known, and the best with idle gaps of at most 20 days (day, dose).
BEST_DAILY = np.array([7.644, 2.856, 7.848, 8.066, 8.3, 8.551, 8.821, 9.114])
SLOW_DAYS = np.array([235, 256, 277, 298, 319, 340, 361, 382, 402])
SLOW_DOSES = np.array([6.342, 7.272, 7.103, 7.021, 6.865, 6.791, 6.718, 6.578, 6.51])


def golden():
    cases = defaultdict(list)
    with open(DATA / "glioblastoma_golden_trace.csv", newline="") as file:
        for row in csv.DictReader(file):
            cases[row["case"]].append(row)
    return cases


GOLDEN = golden()


def make(env_id=SOUND, **options):
    env = gym.make(env_id, disable_env_checker=True, **options).unwrapped
    env.reset(seed=0)
    return env


def play(env, actions):
    """Run one episode; returns (return, last step, steps). Actions repeat their last value."""
    env.reset(seed=0)
    total, steps = 0.0, 0
    while True:
        action = actions[min(steps, len(actions) - 1)]
        result = env.step(np.array([action], np.float64))
        total += result[1]
        steps += 1
        if result[2] or result[3]:
            return total, result, steps


def protocol(env, name):
    """Run one clinical protocol by name."""
    rule = TREATMENT.protocols[name]
    if isinstance(rule, Schedule):
        return play(env, env.task.schedule_actions(rule)[:, 0])
    observation, _ = env.reset(seed=0)
    total, steps, memory = 0.0, 0, None
    while True:
        actions, memory = rule.actions(env.task, observation[None], memory)
        result = env.step(actions[0])
        observation, total, steps = result[0], total + result[1], steps + 1
        if result[2] or result[3]:
            return total, result, steps


@pytest.mark.parametrize("case", GOLDEN)
def test_published_environment_repeats_the_golden_trace(case):
    env = make(PUBLISHED, weekends=case == "paper_weekend")
    observation, _ = env.reset(seed=0)
    rows = GOLDEN[case]
    for number, row in enumerate(rows):
        if number:
            dose = 1.8 if case == "paper_weekend" else float(row["dose_Gy"])
            observation, reward, terminated, truncated, info = env.step(np.array([dose / 61.2]))
            assert reward == pytest.approx(float(row["reward"]), rel=1e-12, abs=1e-12)
            assert (terminated, truncated) == (number == len(rows) - 1, False)
        density = env.task.density(0)
        assert density.sum() == pytest.approx(float(row["sum_c_over_K_after"]), rel=1e-12)
        assert density[35] == pytest.approx(float(row["c35_over_K_after"]), rel=1e-12)
        assert density[60] == pytest.approx(float(row["c60_over_K_after"]), rel=1e-12)
        assert env.task.growth_days(0) + env.task.elapsed(0) == float(row["time_index_after"])
        if case != "paper_weekend":
            np.testing.assert_allclose(observation, density * 1e5, rtol=1e-6)
    assert info["outcome"]["death_day"] == float(rows[-1]["time_index_after"])


@pytest.mark.parametrize(
    ("name", "weekends", "days", "therapy", "steps"),
    [
        ("no_treatment", False, 0.0, 150.0, 150),
        ("paper", False, 67.0, 34.0, 35),
        ("paper_weekends", False, 68.0, 46.0, 47),
        ("paper_weekends", True, 68.0, 46.0, 35),
        ("greedy", False, 92.0, 8.0, 9),
        ("greedy", True, 92.0, 10.0, 9),
    ],
)
def test_published_protocols(name, weekends, days, therapy, steps):
    total, last, taken = protocol(make(PUBLISHED, weekends=weekends), name)
    outcome = last[4]["outcome"]
    assert (total, outcome["days_extended"], taken) == (days, days, steps)
    assert outcome["therapy_days"] == therapy
    assert outcome["violations"] == outcome["violation_rate"] == last[4]["cost"] == 0.0


def test_published_stages_and_extra_step():
    env = make(PUBLISHED)
    for _ in range(34):
        _, reward, terminated, _, info = env.step(np.array([PAPER]))
        assert reward == 0.0
        assert not terminated
    assert info["outcome"]["therapy_days"] == 34.0
    first = env.step(np.array([1.0]))  # the action of the extra step is ignored
    assert first[1] == 67.0
    assert first[2]
    assert first[4]["outcome"]["total_dose"] == pytest.approx(61.2)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.array([0.0]))


def test_published_weekend_shows_the_state_before_it():
    env = make(PUBLISHED, weekends=True)
    plain = make(PUBLISHED)
    for _ in range(4):
        env.step(np.array([PAPER]))
        plain.step(np.array([PAPER]))
    seen, before = env.step(np.array([PAPER]))[0], plain.step(np.array([PAPER]))[0]
    assert np.array_equal(seen, before)
    assert env.task.elapsed(0) == 7.0
    # A day without dose restarts the count of five.
    env.reset(seed=0)
    for dose in (1, 1, 1, 1, 0, 1):
        env.step(np.array([dose * PAPER]))
    assert env.task.elapsed(0) == 6.0


def test_violations_are_costs_and_penalties():
    total, last, _ = play(make(PUBLISHED), [1.0])
    assert total == -10.0
    assert last[4]["outcome"]["days_extended"] == 40.0
    assert last[4]["outcome"]["violations"] == 1.0
    total, last, _ = play(make(PUBLISHED), [0.5, 0.5])
    assert total == pytest.approx(-0.228, abs=1e-3)
    env = make(SOUND)
    _, reward, _, _, info = env.step(np.array([10.0 / 61.2]))
    limit = simulate([0.0], interpolate=True).safe_dose[0]
    assert info["cost"] == info["cost_excess_dose"] == pytest.approx(10.0 - limit)
    assert reward == pytest.approx(info["reward_terms"]["quality_days"] - 5.0 * info["cost"])
    # A total dose below the limit cannot violate it; the source divides by a negative number.
    total, last, _ = play(make(PUBLISHED, total_dose=5.0), [1.0])
    assert last[4]["outcome"]["violations"] == 0.0
    assert total == last[4]["outcome"]["days_extended"]


def test_death_during_therapy_and_time_limit():
    total, last, _ = play(make(PUBLISHED), [0.0])
    assert last[2:4] == (True, False)
    assert last[4]["outcome"]["therapy_days"] == 150.0
    total, last, _ = play(make(PUBLISHED, horizon=400), [PAPER])
    assert last[2:4] == (False, True)
    assert last[4]["outcome"]["death_day"] == 400.0
    assert total == 400.0 - 363.0
    assert last[4]["is_success"] is False
    _, last, _ = play(make(SOUND, horizon=200), [PAPER])
    assert last[2:4] == (False, True)


@pytest.mark.parametrize("patient", [{}, {"diffusion": 0.12, "proliferation": 0.05, "alpha": 0.03}])
@pytest.mark.parametrize("options", [{}, {"fractions_per_day": 2, "margin": 15.0}])
def test_sound_environment_is_the_model(patient, options):
    env = gym.make(SOUND, patient=patient, disable_env_checker=True, **options).unwrapped
    doses = np.array([6.0, 0.0, 5.0, 0.0, 0.0, 9.0, 12.0, 12.0, 12.0, 5.2])
    total, last, steps = play(env, doses / 61.2)
    assert steps == len(doses)
    outcome = last[4]["outcome"]
    model = simulate(
        doses, patient, interpolate=True, blind_field=options.get("margin", 25.0),
        safe_dose_cap=24.0, horizon=2000, **options,
    )  # fmt: skip
    assert outcome["death_day"] == model.death_day
    assert outcome["days_extended"] == model.days_extended
    assert outcome["quality_days"] == pytest.approx(model.quality_days, rel=1e-12)
    assert outcome["violations"] == model.violations
    assert outcome["peak_dose"] == model.peak_dose == 12.0
    assert outcome["total_dose"] == pytest.approx(61.2)
    assert total == pytest.approx(model.quality_days - 5.0 * model.excess_dose, rel=1e-9)
    growth = model.growth_days
    ratio = (model.death_day - growth) / (model.benchmark_day - growth)
    assert outcome["survival_ratio"] == pytest.approx(ratio)


def test_waiting_does_not_pay_in_the_sound_formulation():
    patience = np.zeros(200)
    patience[SLOW_DAYS - 214] = 0.97 * SLOW_DOSES
    options = {"max_therapy_days": 200}
    late, last, _ = play(make(SOUND, **options), patience / 61.2)
    early, best, _ = play(make(SOUND, **options), 0.97 * BEST_DAILY / 61.2)
    assert last[4]["outcome"]["violations"] == best[4]["outcome"]["violations"] == 0.0
    assert last[4]["outcome"]["days_extended"] > best[4]["outcome"]["days_extended"] + 5.0
    assert late < 0.9 * early
    published = {"max_therapy_days": 200, "objective": "published"}
    assert play(make(SOUND, **published), patience / 61.2)[0] > 95.0


def test_course_ends_with_the_last_dose_or_the_last_day_of_therapy():
    _, last, steps = play(make(SOUND), [0.0])
    assert steps == 120
    assert last[2]
    assert last[4]["outcome"]["therapy_days"] == 120.0
    _, last, steps = play(make(SOUND, weekends=True), [0.0])
    assert steps == 17 * 5 + 1  # 17 weeks and a Monday
    _, last, steps = play(make(SOUND), [PAPER])
    assert steps == 34
    assert last[4]["is_success"]


def test_calendar_weekends():
    env = make(SOUND, weekends=True)
    seen = [env.step(np.array([0.0]))[0] for _ in range(6)]
    assert env.task.elapsed(0) == 8.0
    np.testing.assert_allclose([o[2] for o in seen], np.array([1, 2, 3, 4, 0, 1]) / 7, atol=1e-6)
    np.testing.assert_allclose([o[1] for o in seen], np.array([1, 2, 3, 4, 7, 8]) / 120, atol=1e-6)


def test_observation_of_the_sound_formulation():
    env = make(SOUND)
    observation, *_ = env.step(np.array([6.12 / 61.2]))
    result = simulate([6.12, 0.0], interpolate=True, density=True)
    np.testing.assert_allclose(
        observation[:6],
        [
            0.9,
            1 / 120,
            0.0,
            result.t1_radius[1] / 35.0,
            result.t2_radius[1] / 35.0,
            result.safe_dose[1] / 24.0,
        ],
        rtol=1e-6,
    )
    np.testing.assert_allclose(observation[6:], result.density[1] / 1e5, rtol=1e-6)


def test_measurable_observation_shows_scans():
    exact = make(SOUND, observation="measurable", scan_noise=0.0)
    noisy = make(SOUND, observation="measurable")
    full = make(SOUND)
    shown, scans = [], []
    for day in range(15):
        seen = full.step(np.array([PAPER]))[0]
        shown.append(exact.step(np.array([PAPER]))[0])
        scans.append(noisy.step(np.array([PAPER]))[0])
        if day + 1 in (7, 14):
            np.testing.assert_allclose(shown[-1][3:6], seen[3:6], rtol=1e-6)
    age = np.array([1, 2, 3, 4, 5, 6, 0] * 2 + [1]) / 7
    np.testing.assert_allclose([o[6] for o in shown], age, atol=1e-6)
    assert all(np.array_equal(o[3:6], shown[6][3:6]) for o in shown[6:13])
    error = 35.0 * (np.array(scans)[[0, 6, 13], 3:5] - np.array(shown)[[0, 6, 13], 3:5])
    assert 0.1 < np.abs(error).mean() < 3.0
    assert noisy.observation_space.contains(scans[-1])


@settings(max_examples=25, deadline=None)
@given(
    actions=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12),
    seed=st.integers(0, 1000),
    published=st.booleans(),
    weekends=st.booleans(),
)
def test_dose_and_density_stay_within_their_bounds(actions, seed, published, weekends):
    options = {"cohort": "population", "weekends": weekends}
    if published:
        options |= {"formulation": "published", "horizon": 2000}
    env = gym.make(SOUND, disable_env_checker=True, **options).unwrapped
    observation, _ = env.reset(seed=seed)
    assert observation in env.observation_space
    for action in actions:
        observation, _, terminated, truncated, info = env.step(np.array([action]))
        assert observation in env.observation_space
        assert info["outcome"]["total_dose"] <= 61.2 * (1.0 + 1e-12)
        density = env.task.density(0)
        assert density.min() >= 0.0
        assert density.max() <= 1.0
        if terminated or truncated:
            break


def test_safe_actions_are_safe_and_no_smaller_than_they_must_be():
    env = make(COHORT)
    for seed in range(5):
        env.reset(seed=seed)
        over = False
        while not over:
            action = env.safe_action(np.array([1.0]))
            assert np.float32(action[0]) == action[0]
            dose = env.to_physical(action)["dose"]
            limit = env.task.safe_doses(np.array([env.task.radii(0)[1]]))[0]
            assert 0.0 <= limit - dose < 1e-5
            _, _, terminated, truncated, info = env.step(action.astype(np.float32))
            assert info["cost"] == 0.0
            over = terminated or truncated
        assert info["outcome"]["violations"] == 0.0
    small = np.array([0.01])
    env.reset(seed=0)
    assert env.safe_action(small) == small


def test_safe_dose_is_defined_everywhere():
    sound, published = make(SOUND).task, make(PUBLISHED).task
    none = np.array([-1.0])
    assert sound.safe_doses(none) == pytest.approx(116.0 * 25.0**-0.685)
    assert published.safe_doses(none) == np.inf
    assert make(SOUND, margin=0.0).task.safe_doses(np.array([1.0])) == 24.0
    assert make(SOUND, margin=0.0).task.safe_doses(none) == 24.0


def test_tumour_that_vanishes_does_not_break_the_course():
    env = gym.make(
        PUBLISHED, patient={"alpha": 0.3}, total_dose=200.0, disable_env_checker=True
    ).unwrapped
    total, last, _ = play(env, [0.03])
    assert np.isfinite(total)
    assert last[2] or last[3]


def test_clinical_protocols_of_the_sound_formulation():
    outcome = {}
    for name in TREATMENT.protocols:
        _, last, _ = protocol(make(SOUND), name)
        outcome[name] = last[4]["outcome"]
        assert outcome[name]["violations"] == 0.0
    extended = {name: result["days_extended"] for name, result in outcome.items()}
    assert extended["no_treatment"] == 0.0
    assert extended["paper"] == pytest.approx(67.794, abs=0.05)
    assert extended["paper_weekends"] == pytest.approx(68.501, abs=0.05)
    assert 45.0 < extended["hypofractionated"] < 48.0 < extended["standard"] < 69.0
    assert extended["greedy"] == pytest.approx(92.2, abs=0.1)
    assert extended["even_doses"] == pytest.approx(92.45, abs=0.1)
    assert outcome["hypofractionated"]["total_dose"] == pytest.approx(40.05)


def test_schedules_that_decisions_cannot_express():
    task = make(SOUND, weekends=True).task
    with pytest.raises(ScheduleError, match=r"day 5 is not a decision day; weekends are idle"):
        task.schedule_actions(TREATMENT.protocols["paper"])
    task = make(SOUND).task
    with pytest.raises(ScheduleError, match=r"62 Gy are above the total dose, 61\.2 Gy"):
        task.schedule_actions(Schedule("too much", ((0, 31.0), (1, 31.0))))
    with pytest.raises(ScheduleError, match=r"day 0\.5 is not a whole day"):
        task.schedule_actions(Schedule("noon", ((0.5, 1.0),)))
    with pytest.raises(ScheduleError, match="day 130 is not a decision day; decisions end on"):
        task.schedule_actions(Schedule("late", ((130, 1.0),)))


def test_plan_space_holds_the_best_plans_known():
    env = make(PUBLISHED)
    space = env.task.plan_space()
    plan = np.zeros(space.dimension)
    plan[:8] = 0.9999 * BEST_DAILY / 61.2
    assert np.all(plan <= space.upper)
    total, last, _ = play(env, space.decode(plan[None])[0, :, 0])
    assert total == last[4]["outcome"]["days_extended"] == 93.0
    env = make(PUBLISHED, plan_gap=30, plan_days=12)
    space = env.task.plan_space()
    assert space.dimension == 24
    plan = np.zeros(24)
    plan[:9] = np.diff(SLOW_DAYS, prepend=213) - 0.5
    plan[12:21] = 0.9999 * SLOW_DOSES / 61.2
    assert np.all((plan >= space.lower) & (plan <= space.upper))
    actions = space.decode(plan[None])[0, :, 0]
    assert np.flatnonzero(actions).tolist() == (SLOW_DAYS - 214).tolist()
    total, last, _ = play(env, actions)
    assert total == last[4]["outcome"]["days_extended"] == 102.0


def test_cohort_draws_from_its_ranges_and_every_patient_can_be_treated():
    patients = TREATMENT.cohort("held_out").patients(200)
    low, high = patients.min(axis=0), patients.max(axis=0)
    assert np.all(low >= [0.1, 0.015, 1e5, 0.02, 10.0])
    assert np.all(high <= [0.4, 0.06, 1e5, 0.08, 10.0])
    assert np.all((high / low)[[0, 1, 3]] > 3.5)
    env = gym.make_vec(COHORT, num_envs=200)
    env.reset(seed=0, options={"patient": patients})
    done = np.zeros(200, np.bool_)
    while not done.all():
        _, _, terminated, truncated, _ = env.step(np.full((200, 1), 0.1, np.float32))
        assert not truncated.any()
        done |= terminated


@pytest.mark.parametrize(
    "options",
    [
        {"observation": "measurable", "weekends": True, "fractions_per_day": 2},
        {"formulation": "published", "weekends": True, "horizon": 3000},
        {"formulation": "published", "observation": "measurable", "horizon": 3000},
    ],
)
def test_lanes_equal_scalar_environments_with_other_options(options):
    lanes = 300  # enough for the kernels with threads
    vector = gym.make_vec(COHORT, num_envs=lanes, **options)
    seen, _ = vector.reset(seed=5)
    rng = np.random.default_rng(1)
    actions = [(rng.random((lanes, 1)) * 0.12).astype(np.float32) for _ in range(14)]
    scalars = {lane: gym.make(COHORT, **options) for lane in (0, 141, 299)}
    for lane, env in scalars.items():
        assert np.array_equal(env.reset(seed=5 + lane)[0], seen[lane])
    for batch in actions:
        seen, reward, terminated, truncated, info = vector.step(batch)
        for lane, env in scalars.items():
            one = env.step(batch[lane])
            if one[2] or one[3]:
                assert np.array_equal(info["final_obs"][lane], one[0])
                one = (env.reset()[0], *one[1:])
            assert np.array_equal(one[0], seen[lane])
            assert (one[1], one[2], one[3]) == (reward[lane], terminated[lane], truncated[lane])


def test_growth_is_computed_once_a_patient():
    env = make(COHORT)
    first = env.patient
    env.reset()
    assert env.patient != first
    env.reset(options={"patient": first})
    start = env.task.density(0)
    env.step(np.array([0.1]))
    env.reset(options={"patient": GlioblastomaPatient.from_array(first.to_array())})
    assert np.array_equal(env.task.density(0), start)
    env.reset(options={"patient": {"diffusion": 0.3}})
    assert not np.array_equal(env.task.density(0), start)


@pytest.mark.parametrize(
    ("env_id", "patient", "error", "text"),
    [
        (PUBLISHED, {"diffusion": 0.004}, DetectionError, "does not reach 15 mm within 599 d"),
        (SOUND, {"diffusion": 0.45, "proliferation": 1e-4}, DetectionError, "within 7300 d"),
        (PUBLISHED, {"carrying_capacity": 2e5}, ValueError, "at most 100000 cells/mm"),
    ],
)
def test_patients_the_grid_cannot_hold(env_id, patient, error, text):
    env = make(env_id)
    with pytest.raises(error, match=text):
        env.reset(options={"patient": patient})
    observation, _ = env.reset(options={"patient": {}})
    assert observation in env.observation_space


def test_the_source_grid_refuses_what_it_cannot_follow():
    env = gym.make(SOUND, numerics="published", disable_env_checker=True)
    with pytest.raises(StabilityError, match=r"1/\(2 D/dx\^2 \+ rho\) = 0\.813 d; use numerics"):
        env.reset(options={"patient": {"diffusion": 0.6}})
    observation, _ = env.reset(options={"patient": {}})
    assert observation in env.observation_space


def test_domain_too_small():
    env = gym.make(SOUND, length=50.0, disable_env_checker=True)
    with pytest.raises(DomainError, match="length is 50 mm and must be larger"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"total_dose": 0.0}, r"total_dose is 0\.0; allowed: 0\.1 to 1000 Gy"),
        ({"margin": float("nan")}, "margin is nan; allowed: 0 to 100 mm"),
        ({"fractions_per_day": 0}, "fractions_per_day is 0; allowed: 1 to 10"),
        ({"max_therapy_days": 5000}, "max_therapy_days is 5000; allowed: 1 to 1095 days"),
        ({"formulation": "soun"}, "did you mean 'sound'"),
        ({"observation": "ful"}, "did you mean 'full'"),
        ({"reward_weights": {"survial": 1.0}}, "did you mean 'survival'"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        gym.make(SOUND, disable_env_checker=True, **options)


def test_bad_actions():
    env = make()
    with pytest.raises(ValueError, match="lane 0"):
        env.step(np.array([np.nan]))
    info = env.step(np.array([-0.5]))[4]
    assert info["clipped"] == 1
    assert info["outcome"]["total_dose"] == 0.0


def test_pictures_and_traces():
    for env_id in (SOUND, PUBLISHED):
        env = make(env_id, render_mode="rgb_array")
        blank = env.render()
        for _ in range(9):
            env.step(np.array([7.0 / 61.2]))
        frame = env.render()
        assert frame.shape == (480, 640, 3)
        assert frame.dtype == np.uint8
        assert not np.array_equal(blank, frame)
        traces = {trace.name: trace for trace in TREATMENT.traces(env.task, 0)}
        assert traces["dose"].values.sum() == pytest.approx(61.2)
        result = course(env.task, 0)
        assert result.death_day == pytest.approx(
            env.task.growth_days(0) + env.task.elapsed(0), abs=1.0
        )
        assert traces["t1_radius"].values[-1] == pytest.approx(max(env.task.radii(0)[0], 0.0))
        text = gym.make(env_id, render_mode="ansi", disable_env_checker=True)
        text.reset(seed=0)
        assert "T1 15" in text.render()


def test_synthetic_scans_show_the_radii():
    density = make(SOUND).task.density(0)
    axis = np.linspace(-80.0, 80.0, 161)
    for level, radius in ((0.8, 15.06), (0.16, 28.56)):
        middle = synthetic_scan(density, level)[80]
        bright = axis[middle > 0.6]
        assert bright.max() == pytest.approx(radius, abs=1.0)


def test_weekend_courses_agree_between_formulations_and_model():
    doses = with_weekend_breaks(np.full(34, 1.8))
    schedule = TREATMENT.protocols["paper_weekends"]
    planned = np.zeros(len(doses))
    for day, dose in schedule.events:
        planned[int(day)] = dose
    assert np.array_equal(planned, doses)
