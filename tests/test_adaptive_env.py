"""Adaptive therapy as an environment: reference courses, reward, observation, cohort."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from oncogym.agents.bound import BoundAgent
from oncogym.agents.clinical import RuleAgent, clinical_agent
from oncogym.agents.rollout import rollout
from oncogym.envs import get_treatment
from oncogym.envs.adaptive_therapy import (
    AdaptivePatient,
    find_continuous_optimum,
    records,
    simulate,
)
from oncogym.envs.adaptive_therapy.cohort import HIGH, LOW, MARGIN, draw_patients
from oncogym.envs.adaptive_therapy.model import PROGRESSION
from oncogym.envs.adaptive_therapy.task import AdaptiveTask
from oncogym.envs.problem import Problem
from oncogym.envs.protocols import HiddenError
from oncogym.envs.records import names_of
from oncogym.envs.streams import STREAM_PATIENT, uniform_pair
from oncogym.envs.validity import ModelRangeWarning
from oncogym.evaluation.harness import evaluate_problem

ADAPTIVE = get_treatment("adaptive_therapy")
METRICS = [metric.name for metric in AdaptiveTask.metrics]
PATIENTS = {
    "base": AdaptivePatient(),
    "B25": AdaptivePatient(
        n0=0.4256746072629833, fR=1e-5, cost=0.2298963329411433, turnover=0.2914154353927948
    ),
}


def treat(protocol, who="base", lanes=1, settings=None, **options):
    """Rollout of a protocol, and its outcomes by name ``(lanes,)``."""
    task = AdaptiveTask(lanes, **options)
    agent = clinical_agent(ADAPTIVE, task, protocol)
    if settings:
        agent = RuleAgent(ADAPTIVE.protocol(protocol).with_settings(**settings), task)
    rows = np.tile(PATIENTS[who].to_array(), (lanes, 1))
    found = rollout(task, agent, rows)
    return found, dict(zip(METRICS, found.outcome.T, strict=True))


@pytest.mark.parametrize(
    ("protocol", "who", "options", "ttp"),
    [
        ("no_treatment", "base", {}, 40.689344),
        ("full_dose", "base", {}, 451.604920),
        ("at50", "base", {}, 671.298941),
        ("at50", "base", {"interval_days": 1, "decisions": 3640}, 662.761730),
        ("at50", "B25", {}, 1863.9115),
        ("above", "base", {}, 1135.037875),
        ("above_90", "base", {}, 918.741142),
        ("above_80", "base", {}, 796.257750),
        ("dose_modulation", "base", {}, 620.469738),
        ("dose_modulation", "base", {"interval_days": 1, "decisions": 3640}, 515.967023),
        ("two_on_one_off", "base", {}, 750.615258),
        ("eight_on_four_off", "base", {}, 574.231596),
        ("metronomic", "base", {}, 918.665580),
    ],
)
def test_protocols_progress_when_the_reference_does(protocol, who, options, ttp):
    _, outcome = treat(protocol, who, **options)
    # A step of 1 d gives the reference's last digits; the default's are right to 1e-3 d.
    assert outcome["ttp"][0] == pytest.approx(ttp, abs=1e-3)
    assert outcome["censored"][0] == 0.0


@pytest.mark.parametrize(
    ("protocol", "who", "days"),
    [
        ("no_treatment", "base", 17.9),
        ("full_dose", "base", 337.5),
        ("at50", "base", 427.9),
        ("above", "base", 648.5),
        ("dose_modulation", "base", 482.1),
        ("proportional", "base", 762.6),
        ("at50", "B25", 1597.3),
    ],
)
def test_sound_return(protocol, who, days):
    found, _ = treat(protocol, who)
    assert found.returns[0] * 365.25 == pytest.approx(days, abs=0.06)


@pytest.mark.parametrize(
    ("protocol", "who", "interval", "punish", "ttp", "value"),
    [
        ("full_dose", "base", 30, 0.0, 480.0, 1.5),
        ("at50", "base", 30, 0.0, 630.0, 2.15),
        ("above", "base", 30, 0.0, 1110.0, 4.1),
        ("above", "base", 7, 0.0, 1057.0, 16.85),
        ("at50", "B25", 7, -0.1, 1862.0, 32.05),
        ("above", "B25", 7, -0.1, 2793.0, 38.8),
        ("at50", "B25", 30, -0.1, 180.0, 0.55),
        ("above", "B25", 30, -0.1, 30.0, -0.1),
    ],
)
def test_published_return(protocol, who, interval, punish, ttp, value):
    found, outcome = treat(
        protocol, who, formulation="published", interval_days=interval, punish=punish
    )
    assert outcome["ttp"][0] == ttp
    assert found.returns[0] == pytest.approx(value, abs=1e-9)


def test_the_published_plan_ends_at_the_first_visit_after_twenty_years():
    task = AdaptiveTask(1, formulation="published")
    assert task.num_decisions * task.interval_days == 7320
    assert AdaptiveTask(1, formulation="published", interval_days=1).num_decisions == 7301


@pytest.mark.parametrize("protocol", ["no_treatment", "full_dose", "at50", "above"])
@pytest.mark.parametrize("who", ["base", "B25"])
def test_a_course_until_death_goes_on_after_the_same_progression(protocol, who):
    _, first = treat(protocol, who)
    _, whole = treat(protocol, who, until="death")
    for name in ("ttp", "progression_free_years", "mean_burden", "censored"):
        assert whole[name] == first[name]
    assert (first["course_days"], first["died"]) == (first["ttp"], 0.0)
    assert (whole["course_days"], whole["died"]) > (first["ttp"], 0.0)


@pytest.mark.parametrize(
    ("n0", "end"), [(0.3, 0.6), (0.6, 0.95), (0.75, 0.95), (0.79, 0.95), (0.8, 0.95)]
)
def test_death_comes_when_untreated_growth_says(n0, end):
    patient = AdaptivePatient(n0=n0)
    task = AdaptiveTask(1, until="death", interval_days=7, decisions=500)
    agent = clinical_agent(ADAPTIVE, task, "no_treatment")
    found = rollout(task, agent, patient.to_array()[None])
    outcome = dict(zip(METRICS, found.outcome[0], strict=True))

    def grown(burden):
        # Both clones grow alike without cost and turnover: logistic growth.
        return np.log(burden / (1.0 - burden) * (1.0 - n0) / n0) / patient.rS

    assert outcome["course_days"] == pytest.approx(grown(end), abs=1e-5)
    # The start of 0.8 has no time between death, at 0.95, and the progression at 0.96.
    assert outcome["ttp"] == pytest.approx(grown(min(1.2 * n0, end)), abs=1e-5)
    assert (outcome["died"], outcome["censored"]) == (1.0, 0.0)


def test_progression_is_paid_once_and_days_after_it_nothing():
    weights = {"punishment": -1.0, "completion": 5.0, "visit": 0.1, "control": 0.0, "drug": 0.0}
    task = AdaptiveTask(1, until="death", reward_weights=weights)
    found = rollout(
        task, clinical_agent(ADAPTIVE, task, "full_dose"), PATIENTS["B25"].to_array()[None]
    )
    outcome = dict(zip(METRICS, found.outcome[0], strict=True))
    visits = outcome["ttp"] // 28
    assert outcome["course_days"] > outcome["ttp"] + 2 * 28
    assert found.returns[0] == pytest.approx(0.1 * visits - 1.0)


def test_a_patient_may_outlive_the_plan_after_progression():
    _, outcome = treat("full_dose", until="death", decisions=17)
    assert (outcome["course_days"], outcome["died"], outcome["censored"]) == (17 * 28, 0.0, 0.0)
    assert outcome["ttp"] == pytest.approx(451.604920, abs=1e-3)


def test_the_optimum_is_not_claimed_until_death():
    problem = Problem.resolve("oncogym/AdaptiveTherapy-v0", {"until": "death"})
    with pytest.raises(ValueError, match="until is 'death'"):
        evaluate_problem(problem.drawn(1), {"optimum": BoundAgent(ADAPTIVE.bounds["optimum"])})


def test_success_demands_time_and_burden():
    """AT50 of the nominal patient is too short; above 0.9 passes; the longest course hovers."""
    assert not treat("at50")[0].success[0]
    found, outcome = treat("above_90")
    assert found.success[0]
    assert outcome["mean_burden"][0] == pytest.approx(0.981, abs=1e-3)
    hovering, outcome = treat("above", settings={"threshold": 1.08})
    assert outcome["ttp"][0] == pytest.approx(1401.405, abs=1e-3)
    assert not hovering.success[0]


def test_noise_makes_thresholds_worse():
    """Mean times of a thousand noisy courses, and the same truth whatever is seen of it."""
    _, outcome = treat("above", lanes=1000, observation="measurable")
    assert outcome["ttp"].mean() == pytest.approx(344.0, abs=30.0)
    _, outcome = treat("above_80", lanes=1000, observation="measurable")
    assert outcome["ttp"].mean() == pytest.approx(802.0, abs=10.0)
    _, exact = treat("above", observation="measurable", cv=0.0)
    assert exact["ttp"][0] == pytest.approx(1135.037875, abs=1e-3)


def test_no_policy_passes_the_proved_bound():
    bound = find_continuous_optimum().ttp
    for threshold in (0.9, 1.08, 1.15):
        for days in (1, 7, 28):
            options = {"interval_days": days, "decisions": 3640 // days}
            _, outcome = treat("above", settings={"threshold": threshold}, **options)
            assert outcome["ttp"][0] < bound


def test_containment_holds_the_starting_burden():
    _, outcome = treat("contain", reveal=True, interval_days=1, decisions=3640)
    assert outcome["ttp"][0] > 1000.0
    assert outcome["mean_burden"][0] == pytest.approx(1.0, abs=0.02)
    with pytest.raises(HiddenError, match="reveal"):
        treat("contain", observation="measurable")


def test_measurable_shows_readings_and_doses_newest_first():
    env = gym.make("oncogym/AdaptiveTherapy-v0", observation="measurable", cv=0.0)
    seen, _ = env.reset(seed=1)
    assert not seen.any()
    doses = (1.0, 0.25, 0.5)
    for dose in doses:
        seen, *_ = env.step(np.array([dose], np.float32))
    course = simulate(doses)
    markers = np.log((course.sensitive + course.resistant) / 0.75)
    assert seen[:4] == pytest.approx(markers[::-1], abs=1e-6)
    assert seen[6:12].tolist() == [0.5, 0.25, 1.0, 0.0, 0.0, 0.0]
    assert seen[12] == pytest.approx(3 / 130)
    assert seen[13:].tolist() == [1, 1, 1, 0, 0, 0]


def test_measurable_does_not_leak_the_clones():
    """Patients of other resistance whose burden is the same show the same at first."""
    task = AdaptiveTask(2, observation="measurable")
    rows = np.stack([AdaptivePatient(fR=f).to_array() for f in (1e-4, 0.3)])
    keys = np.full(2, 7, np.uint64)
    seen = task.reset(np.arange(2), rows, keys, np.zeros(2, np.uint64))
    assert np.array_equal(seen[0], seen[1])
    result = task.step(np.zeros((2, 1)), np.ones(2, np.bool_))
    # Without drug and cost both clones grow alike, so that the burden does not tell them apart.
    assert result.observation[0] == pytest.approx(result.observation[1], abs=1e-6)


def test_full_observation_and_costs():
    env = gym.make("oncogym/AdaptiveTherapy-v0", reveal=True)
    env.reset(seed=1)
    env.step(np.array([0.0], np.float32))
    seen, _, _, _, info = env.step(np.array([1.0], np.float32))
    course = simulate([0.0, 1.0])
    assert seen[0] == pytest.approx(2 / 130)
    assert seen[1] == pytest.approx((course.sensitive[-1] + course.resistant[-1]) / 0.75)
    assert seen[2] == pytest.approx(0.1 * np.log(course.resistant[-1] / course.sensitive[-1]))
    assert seen[3:6] == pytest.approx([1.0, 1.0, 28.0 / 3640.0])
    assert seen[6:] == pytest.approx([0.75, np.log(0.001), 0.0, 0.0])
    # The interval began above the start, and its peak is there.
    before = (course.sensitive[1] + course.resistant[1]) / 0.75
    assert info["cost_burden"] == pytest.approx((before - 1.0) / 0.2)


def test_on_off_rounds_at_one_half():
    task = AdaptiveTask(1, doses="on_off")
    assert task.to_physical(np.array([[0.49], [0.5]]))["dose"].tolist() == [0.0, 1.0]


def test_cohort_can_progress_and_waits_a_visit():
    rows = ADAPTIVE.cohort("held_out").patients(300)
    for row in rows:
        who = AdaptivePatient.from_array(row)
        assert who.turnover <= (1.0 - 1.2 * who.n0) * (1.0 - who.cost) - 0.02
        assert 0.25 <= who.n0 <= 0.75
        assert simulate([0.0], who).censored
    assert np.array_equal(rows[:10], ADAPTIVE.cohort("held_out").patients(10))


def test_cohort_has_the_reference_times():
    """Mean times of 256 patients; other samples of the law differ by some 5 %."""
    rows = ADAPTIVE.cohort("validation").patients(256)
    for protocol, mean in (("full_dose", 570.0), ("at50", 872.0), ("above", 1319.0)):
        task = AdaptiveTask(256)
        found = rollout(task, clinical_agent(ADAPTIVE, task, protocol), rows)
        assert found.outcome[:, 0].mean() == pytest.approx(mean, rel=0.15)


def test_lanes_are_the_scalar_environment():
    _, alone = treat("at50", "B25")
    _, many = treat("at50", "B25", lanes=300)
    assert (many["ttp"] == alone["ttp"]).all()


def test_a_patient_whom_full_dose_controls_is_a_warning():
    with pytest.warns(ModelRangeWarning, match="cannot progress"):
        simulate([1.0], AdaptivePatient(turnover=0.3))
    env = gym.make("oncogym/AdaptiveTherapy-v0", patient={"turnover": 0.3})
    with pytest.warns(ModelRangeWarning, match=r"turnover is 0\.3, from 0\.1 on"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interval_days": 0}, "interval_days is 0; allowed: an integer from 1 to 120"),
        ({"interval_days": 400}, "interval_days is 400"),
        ({"interval_days": 3.5}, "interval_days is 3.5"),
        ({"decisions": 0}, "decisions is 0"),
        ({"progression": 1.0}, "progression is 1.0"),
        ({"cv": -0.1}, "cv is -0.1"),
        ({"cv": 2.0}, "cv is 2.0"),
        ({"reward_weights": {"drug": float("nan")}}, "drug"),
        ({"observation": "measurable", "reveal": True}, "reveal"),
        ({"doses": "half"}, "doses"),
        ({"until": "cure"}, "until"),
        ({"until": "death", "formulation": "published"}, "until is 'death'"),
        ({"until": "death", "progression": 2.5}, "progression is 2.5"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        AdaptiveTask(1, **options)


def test_progression_above_the_capacity_is_refused():
    env = gym.make("oncogym/AdaptiveTherapy-v0", progression=1.5)
    with pytest.raises(ValueError, match=r"progression is 1\.5"):
        env.reset(seed=0)


def test_reference_rows_of_all_rules():
    """Every shipped row of the rules at 28 days, whatever the interval of the others."""
    path = Path(__file__).parent / "data" / "adaptive_therapy_reference.csv"
    names = {"none": "no_treatment", "MTD": "full_dose", "AT50": "at50", "threshold1.0": "above"}
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["section"] == "rule_ttp"]
    tested = 0
    for row in rows:
        who, rule, interval = row["key"].split("/")
        if rule in names and row["quantity"] == "ttp" and interval == "28d":
            _, outcome = treat(names[rule], who)
            assert outcome["ttp"][0] == pytest.approx(float(row["value"]), abs=1e-3)
            tested += 1
    assert tested >= 4


def test_sound_return_stays_below_what_value_iteration_attains():
    """Eleven doses attain 799.4 d, any dose at most 815 d; random proportional rules stay below."""
    random = np.random.default_rng(5)
    best = 0.0
    for _ in range(40):
        settings = {
            "bias": random.uniform(0.5, 0.9),
            "gain": random.uniform(1.0, 8.0),
            "target": random.uniform(0.9, 1.1),
        }
        found, _ = treat("proportional", settings=settings)
        best = max(best, found.returns[0] * 365.25)
    assert 700.0 < best <= 815.0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reveal": True},
        {"observation": "measurable"},
        {"observation": "marker"},
    ],
    ids=str,
)
def test_names_of_results_are_those_of_the_records(options):
    assert AdaptiveTask.reward_terms == names_of(records.TERMS)
    assert AdaptiveTask.costs == names_of(records.COSTS)
    assert tuple(METRICS) == names_of(records.OUTCOME)
    task = AdaptiveTask(2, **options)
    assert task.observation_space.shape == (len(task.observed),)
    keys = np.zeros(2, np.uint64)
    task.reset(np.arange(2), task.patients.copy(), keys, keys)
    seen = task.step(np.full((2, 1), 0.5), np.ones(2, np.bool_)).observation[0]
    shown = dict(zip(reversed(task.observed), seen[::-1].tolist(), strict=True))  # first of several
    known = {"time": 1 / 130, "dose": 0.5, "since_off": 1.0, "n0": 0.75, "cost": 0.0}
    known |= {"doses": 0.5, "measured": 1.0}
    for name in known.keys() & shown.keys():
        assert shown[name] == pytest.approx(known[name], rel=1e-6), name
    assert shown["marker"] > 1.0 if "marker" in shown else shown["log_markers"] != 0.0


def test_short_cuts_in_the_draw_of_patients_change_nobody():
    """Bounds of the time without drug spare a course; each patient is as by courses alone."""
    seeds, episode = np.arange(400, dtype=np.uint64), np.uint64(3)
    drawn = draw_patients(seeds, np.full(400, episode), STREAM_PATIENT)
    for seed, row in zip(seeds, drawn, strict=True):
        for attempt in range(100):
            shares = np.array(
                [uniform_pair(seed, episode, STREAM_PATIENT, 2 * attempt + k) for k in (0, 1)]
            ).ravel()
            n0, log_share, cost, turnover = LOW + shares * (np.array(HIGH) - LOW)
            patient = AdaptivePatient(n0=n0, fR=10.0**log_share, cost=cost, turnover=turnover)
            least = (1.0 - PROGRESSION * n0) * (1.0 - cost) - MARGIN
            if turnover <= least and simulate([0.0], patient).censored:
                break
        assert row.tolist() == pytest.approx(patient.to_array().tolist(), rel=1e-15)


def test_many_patients_are_drawn_by_threads_as_by_one():
    seeds = np.arange(600, dtype=np.uint64)
    many = draw_patients(seeds, seeds, STREAM_PATIENT)
    few = [draw_patients(some, some, STREAM_PATIENT) for some in np.array_split(seeds, 6)]
    assert many.tobytes() == np.concatenate(few).tobytes()


def test_success_is_as_by_the_course_under_full_dose():
    """Bounds decide clear cases alone; here every case is decided by the course."""
    task = AdaptiveTask(300)
    seeds = np.arange(300, dtype=np.uint64)
    rows = draw_patients(seeds, seeds, STREAM_PATIENT)
    task.reset(np.arange(300), rows, seeds, seeds)
    share = np.random.default_rng(1).random((300, 1))
    active, found = np.ones(300, bool), {}
    for step in range(task.num_decisions):
        result = task.step(np.clip(share + 0.3 * (-1.0) ** step, 0.0, 1.0), active)
        for lane in np.flatnonzero(active & result.terminated):
            found[lane] = (bool(result.success[lane]), *result.outcome[lane])
        active &= ~result.terminated
    expected = {}
    for lane, (_, *outcome) in found.items():
        ttp, burden = (outcome[METRICS.index(name)] for name in ("ttp", "mean_burden"))
        full = simulate(np.ones(130), AdaptivePatient(*rows[lane]))
        lost = not full.censored and full.ttp <= ttp / 1.5
        expected[lane] = lost and burden <= 1.05
    assert {lane: success for lane, (success, *_) in found.items()} == expected
    assert 5 < sum(expected.values()) < 295
