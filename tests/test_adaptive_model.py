"""Two clones under one drug: propagator, rules and the exact optimum against reference numbers."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest

from oncogym.envs.adaptive_therapy import (
    AdaptivePatient,
    find_continuous_optimum,
    propagate,
    simulate,
    simulate_rule,
)

with (Path(__file__).parent / "data" / "adaptive_therapy_reference.csv").open() as file:
    ROWS = list(csv.DictReader(file))
PATIENTS = {
    "base": AdaptivePatient(),
    "B25": AdaptivePatient(
        n0=0.4256746072629833, fR=1e-5, cost=0.2298963329411433, turnover=0.2914154353927948
    ),
}
RULES = {
    "none": lambda marker, dose: 0.0,
    "MTD": lambda marker, dose: 1.0,
    "AT50": lambda marker, dose: 1.0 if marker > 1.0 else 0.0 if marker < 0.5 else dose,
    "threshold1.0": lambda marker, dose: float(marker > 1.0),
    "threshold0.9": lambda marker, dose: float(marker > 0.9),
    "2/3 dose": lambda marker, dose: 2.0 / 3.0,
    "prop .7+5(m-1)": lambda marker, dose: min(max(0.7 + 5.0 * (marker - 1.0), 0.0), 1.0),
}
SAME = {"no drug": "none", "on above 1.0": "threshold1.0", "on above 0.9": "threshold0.9"}


def rows(section):
    found = [row for row in ROWS if row["section"] == section]
    assert found
    return found


def numbers(text):
    return {name: float(value) for name, value in re.findall(r"(\w+)=([-+.\deE]+)", text)}


@pytest.mark.parametrize(("substep", "error"), [(2.0, 1e-8), (0.05, 5e-11)])
def test_propagator_reference(substep, error):
    for row in rows("propagator"):
        given = numbers(row["input"])
        who = AdaptivePatient(
            rS=given["rS"], cost=1.0 - given["rR"] / given["rS"],
            turnover=given["dS"] / given["rS"], dD=given["dD"],
        )  # fmt: skip
        s, r, burden = propagate(
            given["S"], given["R"], given["dose"], given["days"], who, substep=substep
        )
        got = {"S": s, "R": r, "int_N_dt": burden}[row["quantity"]]
        assert got == pytest.approx(float(row["value"]), rel=error), row["key"]


def test_invariant_of_both_clones():
    who = PATIENTS["B25"]
    dose, days, (s, r) = 0.4, 56.0, (0.3, 0.002)
    end_s, end_r, _ = propagate(s, r, dose, days, who)
    kill, growth, death = who.rS * (1 - who.dD * dose), who.resistant_growth, who.turnover * who.rS
    moved = kill * math.log(end_r / r) - growth * math.log(end_s / s)
    assert moved == pytest.approx((growth - kill) * death * days, rel=1e-12)


def test_untreated_nominal_patient_grows_logistically():
    s, r, _ = propagate(0.3, 0.1, 0.0, 40.0)
    assert s / r == pytest.approx(3.0, rel=1e-12)
    odds = 0.4 / 0.6 * math.exp(0.027 * 40.0)
    assert s + r == pytest.approx(odds / (1.0 + odds), rel=1e-8)


def test_two_thirds_of_the_dose_hold_the_sensitive_clone():
    s, _, _ = propagate(0.74925, 0.00075, 2.0 / 3.0, 28.0)
    assert s == pytest.approx(0.74925, rel=1e-14)


def test_clones_stay_positive_and_below_the_capacity():
    s, r, _ = propagate(1e-300, 0.5, 1.0, 3000.0)
    assert s > 0.0
    assert 0.99 < s + r <= 1.0


def test_an_interval_is_the_sum_of_its_parts():
    whole = propagate(0.5, 0.1, 0.7, 28.0)
    s, r, early = propagate(0.5, 0.1, 0.7, 12.0)
    s, r, late = propagate(s, r, 0.7, 16.0)
    assert (s, r, early + late) == pytest.approx(whole, rel=1e-13)


def test_rules_progress_when_the_reference_does():
    for row in rows("rule_ttp"):
        who, rule, _ = row["key"].split("/")
        course = simulate_rule(RULES[rule], PATIENTS[who])
        assert course.ttp == pytest.approx(float(row["value"]), abs=1e-3), row["key"]
        assert not course.censored


def test_sound_return_reference():
    """Without B25 under the proportional rule: 1e-13 of its fR moves that return by 0.2 d."""
    for row in rows("sound_return"):
        who, rule = row["key"].removesuffix("/28d").split("/", 1)
        course = simulate_rule(RULES[SAME.get(rule, rule)], PATIENTS[who])
        assert course.sound_return == pytest.approx(float(row["value"]), abs=1e-3), row["key"]


def test_exact_optimum_reference():
    for row in rows("optimum"):
        given = numbers(row["key"])
        best = find_continuous_optimum(AdaptivePatient(n0=given["n0"], fR=given["fR"]))
        if row["quantity"] == "ttp":
            assert best.ttp == pytest.approx(float(row["value"]), abs=1e-6), row["key"]
        else:
            assert best.full_dose_from == pytest.approx(float(row["value"]), rel=1e-6), row["key"]


def test_a_tenth_of_the_resistant_cells_add_a_constant():
    later = find_continuous_optimum(AdaptivePatient(fR=1e-4)).ttp
    gained = later - find_continuous_optimum(AdaptivePatient(fR=1e-3)).ttp
    assert gained == pytest.approx(math.log(10.0) / (0.027 * 0.1), abs=1e-3)


@pytest.mark.parametrize("cost", [0.0, 0.3])
@pytest.mark.parametrize("n0", [0.3, 0.75])
def test_no_plan_passes_the_optimum(n0, cost):
    """Random rules stay below; holding just under the limit from day to day comes near."""
    who = AdaptivePatient(n0=n0, cost=cost, fR=0.01)
    best = find_continuous_optimum(who).ttp

    def play(aim, gain, days):
        rule = lambda m, _: min(max(0.7 + gain * (m - aim), 0.0), 1.0)  # noqa: E731
        return simulate_rule(rule, who, interval_days=days).ttp

    random = np.random.default_rng(3)
    for _ in range(20):
        assert play(random.uniform(0.9, 1.18), random.uniform(1.0, 30.0), 7.0) < best
    assert 0.85 * best < play(1.19, 40.0, 1.0) < best


def test_threshold_is_the_best_on_off_play_of_the_nominal_patient():
    course = simulate_rule(lambda marker, _: float(marker > 1.08))
    assert course.ttp == pytest.approx(1401.405, abs=1e-3)
    assert course.mean_burden > 1.0


def test_plan_and_rule_are_the_same_course():
    by_rule = simulate_rule(RULES["AT50"])
    by_plan = simulate(by_rule.doses)
    assert by_plan.ttp == by_rule.ttp
    assert np.array_equal(by_plan.resistant, by_rule.resistant)


def test_course_without_progression_is_censored():
    course = simulate([1.0, 0.5])
    assert course.censored
    assert course.ttp == 56.0
    assert course.dose_fraction == pytest.approx(0.75)


def test_patients_that_no_therapy_loses():
    assert AdaptivePatient().can_progress()
    assert not AdaptivePatient(turnover=0.11).can_progress()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n0": 0.9}, "n0 is 0.9; allowed: 0.02 to 0.8"),
        ({"n0": math.nan}, "n0 is nan"),
        ({"fR": 0.0}, "fR is 0.0"),
        ({"cost": 1.0}, "cost is 1.0"),
        ({"turnover": -0.1}, "turnover is -0.1"),
        ({"dD": 0.5}, "dD is 0.5"),
    ],
)
def test_patient_out_of_range(values, message):
    with pytest.raises(ValueError, match=message):
        AdaptivePatient(**values)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"progression is 1\.0"):
        simulate([1.0], progression=1.0)
    with pytest.raises(ValueError, match="dose"):
        simulate([1.2])
    with pytest.raises(ValueError, match="interval_days"):
        simulate([1.0], interval_days=400)
    with pytest.raises(ValueError, match=r"allowed: \(M,\)"):
        simulate([])
    with pytest.raises(ValueError, match=r"turnover is 0\.2"):
        find_continuous_optimum(AdaptivePatient(turnover=0.2))
    with pytest.raises(ValueError, match=r"dD is 1\.0"):
        find_continuous_optimum(AdaptivePatient(dD=1.0))
