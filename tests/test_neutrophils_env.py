"""Docetaxel by the blood count as an environment: bookkeeping, rules, patients of all ranges."""

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np
import pytest

from oncogym.envs import get_treatment
from oncogym.envs.chemo_neutrophils import TREATMENT, NeutrophilPatient, simulate
from oncogym.envs.chemo_neutrophils.task import NeutrophilTask
from oncogym.envs.protocols import Schedule, ScheduleError


def course(dose_shares, **options):
    env = gym.make("oncogym/ChemoNeutrophils-v0", **options)
    env.reset(seed=0)
    for share in dose_shares:
        *_, info = env.step(np.array([share]))
    return env, info


def test_outcomes_are_those_of_the_model():
    shares = [1.0, 0.0, 0.0, 0.75, 0.0, 0.0]
    _, info = course(shares, patient={"ec50": 3.0}, decisions=6)
    alone = simulate([100.0 * share for share in shares], {"ec50": 3.0}, 7.0)
    found = info["outcome"]
    assert found["nadir"] == pytest.approx(alone.nadir, rel=1e-12)
    assert found["grade4_days"] == pytest.approx(alone.grade4_days, rel=1e-12)
    assert found["longest_grade4"] == pytest.approx(alone.longest_grade4, rel=1e-12)
    kill = (alone.log_cells[0] - alone.log_cells[-1]) / np.log(10.0)
    assert found["log10_kill"] == pytest.approx(kill, rel=1e-12)
    assert (found["worst_grade"], found["total_dose"], found["doses"]) == (4.0, 175.0, 2.0)


def test_rewards_and_cost_are_days_by_grade():
    env = gym.make("oncogym/ChemoNeutrophils-v0", patient={"ec50": 2.0})
    env.reset(seed=0)
    env.step(np.array([1.0]))
    _, reward, _, _, info = env.step(np.array([0.0]))
    terms = info["reward_terms"]
    alone = simulate([100.0, 0.0], {"ec50": 2.0}, 7.0)
    before = simulate([100.0], {"ec50": 2.0}, 7.0)
    days4 = alone.grade4_days - before.grade4_days
    days3 = alone.grade3_days - before.grade3_days - days4
    assert info["cost"] == pytest.approx(days4) == pytest.approx(-terms["grade4"])
    assert terms["grade3"] == pytest.approx(-days3)
    assert reward == pytest.approx(terms["log_kill"] - 0.1 * days4 - 0.02 * days3)


def test_doses_are_cut_to_what_the_budget_leaves():
    env, info = course([1.0] * 8)
    assert info["outcome"]["total_dose"] == 600.0
    assert info["outcome"]["doses"] == 6.0
    assert env.unwrapped.task.given(0).tolist() == [100.0] * 6 + [0.0] * 2


def test_a_dose_above_the_label_is_out_of_range():
    assert course([1.0])[1]["outcome"]["out_of_range"] == 0.0
    assert course([1.0], max_dose=120.0)[1]["outcome"]["out_of_range"] == 1.0


def test_schedules_fall_on_visits():
    task = NeutrophilTask(1)
    three_weekly = task.schedule_actions(TREATMENT.protocols["three_weekly_75"])
    assert np.flatnonzero(three_weekly[:, 0]).tolist() == [0, 3, 6, 9, 12, 15]
    assert set(three_weekly[[0, 3], 0]) == {0.75}
    with pytest.raises(ScheduleError, match="day 3; allowed: multiples of 7 d"):
        task.schedule_actions(Schedule("odd", ((3.0, 10.0),)))
    with pytest.raises(ScheduleError, match="200 mg/m\\^2; allowed: at most 100"):
        task.schedule_actions(Schedule("strong", ((0.0, 200.0),)))


def decide(name, counts, since):
    """Doses [mg/m^2] of a rule that sees weekly counts and days since the last dose."""
    task = NeutrophilTask(1, observation="measurable")
    rule, memory, found = TREATMENT.protocols[name], None, []
    memory = np.full((1, rule.memory), np.nan)
    for count, days in zip(counts, since, strict=True):
        seen = np.zeros((1, 9), np.float32)
        seen[0, 1:3] = (0.0, 1.0) if days is None else (0.5, days / task.horizon)
        seen[0, 4] = 0.1 * count
        action, memory = rule.actions(task, seen, memory)
        found.append(round(float(action[0, 0]) * task.max_dose, 6))
    return found


def test_the_label_reduces_after_more_than_a_week_of_grade_4():
    weeks = [None, 7, 14, 21, 7, 14, 21]
    assert decide("label", [5, 0.4, 2, 5, 0.4, 0.3, 5], weeks) == [100, 0, 0, 100, 0, 0, 75]
    # Given when recovered, not before.
    late = [None, 7, 14, 21, 28]
    assert decide("label", [5, 0.4, 0.4, 1.4, 1.6], late) == [100, 0, 0, 0, 75]


def test_the_rule_by_grade_reduces_after_grade_3():
    weeks = [None, 7, 14, 21, 7, 14, 21]
    assert decide("nadir_grade", [5, 1.1, 2, 5, 0.9, 2, 5], weeks) == [100, 0, 0, 100, 0, 0, 75]


def test_the_rule_by_the_count_delays_and_reduces():
    assert decide("day_count", [5, 0.9, 1.2], [None, 21, 28]) == [100, 0, 75]


def test_titration_moves_towards_its_goal():
    first, _, _, second = decide("titrated", [5, 1.5, 3, 5], [None, 7, 14, 21])
    assert first == 75.0
    # ln(0.75/1.5) / -2, shortened by 0.75, on the fourth root; then cut to the largest dose.
    assert second == pytest.approx(min((75.0**0.25 + 0.75 * np.log(2.0) / 2.0) ** 4, 100.0))
    assert decide("titrated", [5, 0.5, 3, 5], [None, 7, 14, 21])[3] == pytest.approx(
        (75.0**0.25 - np.log(1.5) / 2.0) ** 4
    )


def test_rules_need_weekly_counts():
    task = NeutrophilTask(1, interval_days=21, decisions=6)
    seen = np.zeros((1, 11), np.float32)
    with pytest.raises(ScheduleError, match="interval_days=7, not 21"):
        TREATMENT.protocols["day_count"].actions(task, seen)


def test_every_corner_of_the_ranges_is_treated():
    """Full doses every week, whatever the patient: everything shown is finite and in the box."""
    low, high = np.array([NeutrophilPatient.RANGES[f] for f in NeutrophilPatient.FIELDS]).T
    bits = np.array(list(itertools.product([False, True], repeat=len(low))))
    rows = np.where(bits, high, low)
    for observation in ("full", "measurable"):
        task = NeutrophilTask(len(rows), observation=observation, decisions=5, max_dose=1000.0)
        lanes = np.arange(len(rows))
        seeds = lanes.astype(np.uint64)
        seen = [task.reset(lanes, rows, seeds, np.zeros_like(seeds))]
        for share in (1.0, 0.1, 0.0, 0.0, 0.2):
            result = task.step(np.full((len(rows), 1), share), np.ones(len(rows), np.bool_))
            seen.append(result.observation)
            assert np.isfinite(result.reward_terms).all()
            assert np.isfinite(result.outcome).all()
        for one in seen:
            assert (
                (one >= task.observation_space.low) & (one <= task.observation_space.high)
            ).all()


def test_patients_spread_as_the_page_says():
    treatment = get_treatment("chemo_neutrophils")
    rows = np.log(treatment.cohorts["population"].patients(4000))
    spread = {"baseline": 0.42, "transit_time": 0.16, "ec50": 0.5, "clearance": 0.295,
              "growth_rate": 0.3, "kill_rate": 0.3}  # fmt: skip
    for column, field in enumerate(treatment.patient.FIELDS):
        deviation = spread.get(field, 0.0)
        assert rows[:, column].std() == pytest.approx(deviation, rel=0.05, abs=1e-12)
        nominal = np.log(getattr(treatment.patient(), field))
        assert rows[:, column].mean() == pytest.approx(nominal, abs=0.03)
