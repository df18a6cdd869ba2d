"""The chemotherapy model against references that share none of its code."""

from __future__ import annotations

import ast
import csv
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq

from oncogym.envs.chemo_dosing import kernels, records
from oncogym.envs.chemo_dosing.model import (
    FIELDS,
    ChemoPatient,
    published_cost,
    published_cost_batch,
    simulate,
    simulate_batch,
    simulate_published_numerics,
)
from oncogym.envs.records import records_of

ROOT = Path(__file__).parents[1]
PATIENT = ChemoPatient()
ROW = PATIENT.to_array()
BASELINE = ([5, 15, 25, 35, 45, 55], [5.0] * 6)
PUBLISHED = ([1.0, 12.3, 22.8, 33.5, 44.1, 54.8], [0.96, 0.70, 0.69, 0.70, 0.69, 0.70])
# The tabulated optima to four decimals; the specification prints fewer.
SCHEDULES = {
    "baseline": BASELINE,
    "post_opt_rounded": PUBLISHED,
    "blogcost_opt_t>=1": (
        [1.0, 12.2766, 22.9135, 33.5455, 44.1745, 54.802],
        [0.9641, 0.6992, 0.6989, 0.6987, 0.6986, 0.6986],
    ),
    "blogcost_opt_t>=0": (
        [0, 11.4469, 22.2731, 33.0944, 43.9125, 54.729],
        [0.9583, 0.7019, 0.7016, 0.7014, 0.7013, 0.7013],
    ),
    "minN_6": (
        [0, 9.939, 19.8765, 29.8138, 39.7511, 49.6884],
        [5.028, 4.9943, 4.9944, 4.9944, 4.9944, 4.9946],
    ),
    "uniform_0_10_50_5": ([0, 10, 20, 30, 40, 50], [5.0] * 6),
    "no_treatment": ([], []),
    "daily_0.5": (list(range(60)), [0.5] * 60),
    "weekly_9x10/3": ([7.0 * i for i in range(9)], [10 / 3] * 9),
}


def reference_rows() -> list[list[str]]:
    with (Path(__file__).parent / "data" / "chemo_reference.csv").open() as file:
        return [row for row in csv.reader(file) if len(row) >= 11]


def random_patient(rng: np.random.Generator) -> ChemoPatient:
    spread = {
        "growth_rate": 0.3,
        "initial_cells": 1.0,
        "elimination_rate": 0.4,
        "emax": 0.3,
        "ec50": 0.4,
        "toxicity_gain": 0.3,
        "toxicity_recovery": 0.4,
    }
    values = {
        name: getattr(PATIENT, name) * math.exp(s * rng.standard_normal())
        for name, s in spread.items()
    }
    return ChemoPatient(**values)


def random_plan(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    count = rng.integers(0, 13)
    return rng.uniform(0.0, 60.0, count), rng.gamma(2.0, 2.0, count)


def step(
    c: float, x: float, log_cells: float, h: float, patient: ChemoPatient = PATIENT, limit=3.0
):
    record = records_of(patient.to_array()[None, :], records.PATIENT)[0]
    return kernels.propagate(c, x, log_cells, h, record, limit)


# --- published and tabulated values -------------------------------------------------------


@pytest.mark.parametrize("row", [r for r in reference_rows() if r[0] == "prop"])
def test_propagator_vectors(row):
    c, x, log_cells, h, *expected = map(float, row[1:])
    got = step(c, x, log_cells, h)
    assert_allclose(
        [got[0], got[1], got[2], got[3], got[4]],
        [expected[0], expected[1], expected[2], expected[3], expected[5]],
        rtol=1e-11,
        atol=8e-9,  # the inputs are printed to ten digits
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_reference_trajectories(name):
    rows = [r for r in reference_rows() if r[0] == name]
    assert len(rows) == 13
    result = simulate(*SCHEDULES[name], samples=13)
    tolerance = {"rtol": 1e-9, "atol": 1e-10}
    for r in rows:
        t, c, x, log_cells = map(float, r[2:6])
        i = np.flatnonzero(result.time == t)[-1]
        found = [result.concentration[i], result.toxicity[i], result.log_cells[i]]
        assert_allclose(found, [c, x, log_cells], **tolerance)
    peak, auc, cost, total = map(float, rows[-1][7:11])
    # The table leaves the penalties out (minN_6 has a total dose of 30.0001).
    objective = published_cost(*SCHEDULES[name], penalty=0.0)
    assert_allclose(
        [result.peak_toxicity, result.auc, objective, result.total_dose],
        [peak, auc, cost, total],
        **tolerance,
    )


@pytest.mark.parametrize(
    ("times", "doses", "cells", "peak"),
    [
        ([42.5], [8.377], 1.642e6, 3.0),
        ([0, 15.70, 31.12, 46.54], [8.34, 7.22, 7.22, 7.22], 70.7, 3.0),
        ([0, 9.939, 19.877, 29.814, 39.751, 49.688], [5.028] + [4.994] * 5, 2.6929, 2.567),
        ([7.0 * i for i in range(9)], [10 / 3] * 9, 0.1961, 2.180),
        (list(range(60)), [0.5] * 60, 3.792e-3, 2.006),
        ([], [], 5.7589e7, 0.0),
    ],
)
def test_tabulated_regimens(times, doses, cells, peak):
    result = simulate(times, doses)
    assert math.exp(result.final_log_cells) == pytest.approx(cells, rel=5e-3)
    assert result.peak_toxicity == pytest.approx(peak, abs=2e-3)


def test_published_numbers_need_the_published_numerics():
    run = simulate_published_numerics(*BASELINE)
    assert run.final_cells == pytest.approx(4.435, abs=5e-4)
    assert run.peak_toxicity == pytest.approx(2.559, abs=5e-4)
    assert run.cost == pytest.approx(0.9823, abs=5e-5)
    exact = simulate(*BASELINE)
    assert math.exp(exact.final_log_cells) == pytest.approx(4.435325, abs=1e-6)
    assert exact.peak_toxicity == pytest.approx(2.560594, abs=1e-6)
    assert published_cost(*BASELINE) == pytest.approx(0.98443, abs=5e-6)
    # The optimised schedule is printed rounded, so its numbers are met to that rounding only.
    run = simulate_published_numerics(*PUBLISHED)
    assert run.final_cells == pytest.approx(3.280e5, rel=5e-3)
    assert run.peak_toxicity == pytest.approx(0.344, abs=1e-3)
    assert run.cost == pytest.approx(0.1605, abs=1e-3)


def test_penalties_count_excess_squared():
    plan = ([0.0, 1.0], [20.0, 15.0])
    result = simulate(*plan)
    base = published_cost(*plan, penalty=0.0)
    expected = 10 * ((result.peak_toxicity - 3) ** 2 + 5.0**2)
    assert published_cost(*plan) - base == pytest.approx(expected, rel=1e-12)


# --- independent solutions ----------------------------------------------------------------


def ode_reference(times, doses, patient: ChemoPatient, horizon=60.0) -> tuple[float, float]:
    """ln N at the horizon and peak toxicity by an explicit method of order 8."""
    p = patient
    state = np.array([0.0, 0.0, math.log(p.initial_cells)])

    def flow(_, y):
        kill = p.emax * y[0] / (p.ec50 + y[0])
        growth = p.growth_rate * (1.0 - math.exp(y[2]) / p.carrying_capacity)
        uptake = p.toxicity_gain * y[0] - p.toxicity_recovery * y[1]
        return -p.elimination_rate * y[0], uptake, growth - kill

    def turning(_, y):
        return p.toxicity_gain * y[0] - p.toxicity_recovery * y[1]

    turning.direction = -1
    now, peak = 0.0, 0.0
    order = np.argsort(times)
    for stop, dose in [
        *zip(np.asarray(times)[order], np.asarray(doses)[order], strict=True),
        (horizon, 0),
    ]:
        if stop > now:
            run = solve_ivp(
                flow, (now, stop), state, "DOP853", rtol=1e-12, atol=1e-13, events=turning
            )
            tops = [y[1] for y in run.y_events[0]]
            peak = max([peak, *tops, run.y[1, -1]])
            state, now = run.y[:, -1].copy(), stop
        state[0] += dose
    return state[2], peak


@pytest.mark.slow
def test_random_plans_and_patients_against_an_ode_solver():
    rng = np.random.default_rng(20240501)
    for case in range(200):
        patient = random_patient(rng)
        if case % 5 == 0:
            ke = patient.elimination_rate * (1.0 + 1e-9 * (case % 2))
            patient = ChemoPatient.from_array(
                np.r_[patient.to_array()[:3], ke, patient.to_array()[4:7], patient.elimination_rate]
            )
        times, doses = random_plan(rng)
        log_cells, peak = ode_reference(times, doses, patient)
        result = simulate(times, doses, patient, samples=0)
        assert result.final_log_cells == pytest.approx(log_cells, abs=1e-10), (case, patient)
        assert result.peak_toxicity == pytest.approx(peak, abs=1e-9), (case, patient)


def test_quadrature_is_good_to_1e_11_for_any_step():
    rng = np.random.default_rng(3)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    panels = np.arange(60)[:, None]
    worst = 0.0
    for _ in range(3000):
        p = random_patient(rng)
        h = rng.choice([60.0, 10.0, 1.0]) * rng.uniform()
        c = 10.0 ** rng.uniform(-3, 2.5)
        log_cells = rng.uniform(0.0, math.log(p.carrying_capacity))
        s = h * (panels + 0.5 * (nodes + 1.0)) / 60
        m = p.emax / p.elimination_rate
        left = np.log((p.ec50 + c * np.exp(-p.elimination_rate * s)) / (p.ec50 + c))
        integral = np.sum(np.exp(p.growth_rate * s + m * left) @ weights) * h / 120
        crowding = p.growth_rate / p.carrying_capacity * math.exp(log_cells) * integral
        kill = m * math.log((p.ec50 + c) / (p.ec50 + c * math.exp(-p.elimination_rate * h)))
        expected = log_cells + p.growth_rate * h - kill - math.log1p(crowding)
        worst = max(worst, abs(step(c, 0.0, log_cells, h, p)[2] - expected))
    assert worst < 1e-11


def toxicity_of_plan(t, times, doses, p: ChemoPatient):
    """Superposition of the responses to single doses."""
    d = p.elimination_rate - p.toxicity_recovery
    since = np.maximum(np.asarray(t)[..., None] - np.asarray(times), 0.0)
    response = np.exp(-p.toxicity_recovery * since) - np.exp(-p.elimination_rate * since)
    return p.toxicity_gain / d * (response @ np.asarray(doses))


def test_excess_and_time_over_limit_against_quadrature():
    rng = np.random.default_rng(11)
    seen = 0
    for _ in range(40):
        p, (times, doses) = random_patient(rng), random_plan(rng)
        limit = rng.uniform(0.5, 4.0)
        result = simulate(times, doses, p, toxicity_limit=limit, samples=0)

        def over(t, times=times, doses=doses, p=p, limit=limit):
            return toxicity_of_plan(t, times, doses, p) - limit

        grid = np.union1d(np.linspace(0.0, 60.0, 6001), times)
        sign = over(grid) > 0
        flips = np.flatnonzero(sign[1:] != sign[:-1])
        edges = [0.0, *(brentq(over, grid[i], grid[i + 1], xtol=1e-13) for i in flips), 60.0]
        area = days = 0.0
        for a, b in pairwise(edges):
            if over(0.5 * (a + b)) > 0:
                kinks = np.sort(times[(times > a) & (times < b)])
                cuts = [a, *kinks, b]
                area += sum(
                    quad(over, u, v, epsabs=1e-12, epsrel=1e-12)[0] for u, v in pairwise(cuts)
                )
                days += b - a
        assert result.excess_toxicity == pytest.approx(area, abs=1e-9)
        assert result.days_over_limit == pytest.approx(days, abs=1e-9)
        seen += days > 0
    assert seen > 10


# --- structure ----------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(
    c=st.floats(0, 1e3),
    x=st.floats(0, 5),
    log_cells=st.floats(-5, 20.7),
    h1=st.floats(0, 30),
    h2=st.floats(0, 30),
)
def test_semigroup(c, x, log_cells, h1, h2):
    limit = 1.5
    whole = step(c, x, log_cells, h1 + h2, limit=limit)
    first = step(c, x, log_cells, h1, limit=limit)
    second = step(*first[:3], h2, limit=limit)
    assert_allclose(second[:3], whole[:3], rtol=1e-12, atol=3e-11)
    assert max(first[3], second[3]) == pytest.approx(whole[3], rel=1e-12)
    for k in (4, 5):
        assert first[k] + second[k] == pytest.approx(whole[k], rel=1e-11, abs=1e-10)
    if abs(whole[3] - limit) > 1e-6:  # a grazing contact has no well-conditioned duration
        assert first[6] + second[6] == pytest.approx(whole[6], abs=1e-8)


@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-9, -1e-9, 1e-4, 0.01])
def test_elimination_close_to_recovery(gap):
    near = ChemoPatient(elimination_rate=0.15 + gap)
    # X = (X0 + a C0 h) e^{-b h} at gap 0; first-order correction of the transfer term.
    for h in (0.1, 5.0, 40.0):
        transfer = h if gap == 0 else -math.expm1(-gap * h) / gap
        expected = math.exp(-0.15 * h) * (0.2 + 0.3 * 4.0 * transfer)
        assert step(4.0, 0.2, 10.0, h, near)[1] == pytest.approx(expected, rel=1e-14)
    grid = np.linspace(0, 40, 4001)
    dense = max(step(4.0, 0.2, 10.0, h, near)[1] for h in grid)
    assert step(4.0, 0.2, 10.0, 40.0, near)[3] == pytest.approx(dense, rel=1e-5)
    assert step(4.0, 0.2, 10.0, 40.0, near)[3] >= dense * (1 - 1e-15)


def test_degenerate_steps():
    assert step(2.0, 1.0, 5.0, 0.0) == (2.0, 1.0, 5.0, 1.0, 0.0, 0.0, 0.0)
    growth = step(0.0, 0.0, math.log(1e7), 60.0)
    logistic = 1e9 / (1 + (1e9 / 1e7 - 1) * math.exp(-0.03 * 60))
    assert growth[2] == pytest.approx(math.log(logistic), abs=1e-13)
    assert growth[:2] == (0.0, 0.0)
    no_effect = ChemoPatient(emax=0.0)
    assert step(5.0, 0.0, math.log(1e7), 60.0, no_effect)[2] == growth[2]
    stable = ChemoPatient(growth_rate=0.0)
    kill = 1.6 * math.log(6.0 / (1.0 + 5.0 * math.exp(-30.0)))
    assert step(5.0, 0.0, 16.0, 60.0, stable)[2] == pytest.approx(16.0 - kill, abs=1e-13)
    flood = step(1e9, 0.0, 16.0, 1.0)
    assert flood[2] == pytest.approx(16.0 + 0.03 - 0.8, abs=1e-3)
    assert step(5.0, 0.0, 16.0, 60.0, ChemoPatient(toxicity_gain=0.0))[3] == 0.0


def test_order_of_doses_does_not_matter():
    rng = np.random.default_rng(5)
    times, doses = rng.uniform(0, 60, 12), rng.uniform(0, 4, 12)
    for _ in range(5):
        order = rng.permutation(12)
        assert_array_equal(
            simulate(times[order], doses[order]).log_cells, simulate(times, doses).log_cells
        )


def test_equal_times_add_and_zero_doses_are_padding():
    split = simulate([10, 30, 10, 45], [1.5, 2.0, 2.5, 0.0])
    merged = simulate([10, 30], [4.0, 2.0])
    assert_array_equal(split.time, merged.time)
    assert_array_equal(split.log_cells, merged.log_cells)
    assert split.peak_toxicity == merged.peak_toxicity


def test_doses_at_or_after_the_horizon_have_no_effect():
    late = simulate([10, 60, 75.0], [4.0, 3.0, 2.0])
    alone = simulate([10], [4.0])
    assert late.total_dose == alone.total_dose == 4.0
    assert_array_equal(late.concentration, alone.concentration)
    assert late.final_log_cells == alone.final_log_cells


def test_dose_instants_occur_before_and_after():
    result = simulate([0.0, 7.3, 20.0], [1.0, 2.0, 3.0], samples=61)
    assert_array_equal(result.time, np.sort(result.time))
    for t, dose in ((0.0, 1.0), (7.3, 2.0), (20.0, 3.0)):
        before, after = np.flatnonzero(result.time == t)
        assert result.concentration[after] == result.concentration[before] + dose
        assert result.toxicity[after] == result.toxicity[before]
    assert result.time[-1] == 60.0
    assert result.log_cells[-1] == result.final_log_cells
    assert result.toxicity[-1] == result.final_toxicity


def test_batch_rows_are_single_runs_bit_for_bit():
    rng = np.random.default_rng(8)
    times, doses = rng.uniform(0, 65, (300, 7)), rng.gamma(1.0, 3.0, (300, 7))
    patients = [random_patient(rng) for _ in range(300)]
    serial = simulate_batch(times, doses, patients, parallel=False)
    threaded = simulate_batch(times, doses, patients, parallel=True)
    rows = simulate_batch(times, doses, np.array([p.to_array() for p in patients]))
    costs = published_cost_batch(times, doses, patients)
    for name in vars(serial):
        assert_array_equal(getattr(serial, name), getattr(threaded, name))
        assert_array_equal(getattr(serial, name), getattr(rows, name))
    for i in range(0, 300, 37):
        single = simulate(times[i], doses[i], patients[i], samples=0)
        for name in vars(serial):
            assert getattr(single, name) == getattr(serial, name)[i]
        assert published_cost(times[i], doses[i], patients[i]) == costs[i]


def test_batch_broadcasting():
    patients = [PATIENT, ChemoPatient(emax=0.4), ChemoPatient(ec50=2.0)]
    one_plan = simulate_batch(*BASELINE, patients)
    assert len(one_plan) == 3
    assert one_plan.final_log_cells[1] == simulate(*BASELINE, patients[1]).final_log_cells
    one_patient = simulate_batch(np.tile(BASELINE[0], (4, 1)), np.outer(range(4), np.ones(6)))
    assert len(one_patient) == 4
    assert np.all(np.diff(one_patient.final_log_cells) < 0)
    assert len(simulate_batch(np.empty((2, 0)), np.empty((2, 0)))) == 2


def test_outcome_definitions():
    result = simulate(*SCHEDULES["weekly_9x10/3"])
    cells = math.exp(result.final_log_cells)
    assert result.log10_kill == pytest.approx(7 - math.log10(cells), abs=1e-12)
    assert result.tumour_control_probability == pytest.approx(math.exp(-cells), rel=1e-12)
    assert result.tumour_control_probability == pytest.approx(0.82, abs=0.005)


# --- the largest safe dose ----------------------------------------------------------------

RATE = st.floats(0.02, 2.0)


def peak_by_brackets(c, x, ke, a, b):
    """Largest toxicity on a fine grid: no use of the peak formula."""
    patient = ChemoPatient(elimination_rate=ke, toxicity_gain=a, toxicity_recovery=b)
    grid = np.linspace(0.0, 400.0, 40001)
    return max(step(c, x, 0.0, h, patient)[1] for h in grid)


@settings(deadline=None, max_examples=300)
@given(
    c=st.floats(0, 20),
    share=st.floats(0, 1),
    limit=st.floats(0.05, 20),
    ke=RATE,
    b=RATE,
    a=st.floats(0.01, 3),
    same=st.booleans(),
)
def test_largest_safe_dose(c, share, limit, ke, b, a, same):
    b = ke if same else b
    x = share * limit
    dose = kernels.largest_safe_dose(c, x, limit, ke, a, b)
    peak = kernels.toxicity_peak_if_untreated
    assert dose >= 0.0
    if peak(c, x, ke, a, b) > limit:
        assert dose == 0.0
        return
    assert peak(c + dose, x, ke, a, b) <= limit
    # Nothing larger would do: a relative 1e-12 in the limit is more than rounding takes.
    more = brentq(
        lambda d: peak(c + d, x, ke, a, b) - limit * (1 + 1e-12), 0.0, 1e6, xtol=1e-14, rtol=1e-15
    )
    assert dose <= more
    less = kernels.largest_safe_dose(c, x, limit * (1 - 1e-12), ke, a, b)
    assert less <= dose * (1 + 1e-14)
    if share < 0.99:
        assert dose == pytest.approx(more, rel=1e-10, abs=1e-10 * (1 + more + c))


def test_largest_safe_dose_by_simulation():
    dose = kernels.largest_safe_dose(1.0, 0.5, 3.0, 0.5, 0.3, 0.15)
    assert peak_by_brackets(1.0 + dose, 0.5, 0.5, 0.3, 0.15) == pytest.approx(3.0, abs=1e-5)
    result = simulate([0.0], [kernels.largest_safe_dose(0.0, 0.0, 3.0, 0.5, 0.3, 0.15)])
    assert 3.0 - 1e-12 < result.peak_toxicity <= 3.0
    assert result.days_over_limit == 0.0
    assert kernels.largest_safe_dose(0.0, 3.1, 3.0, 0.5, 0.3, 0.15) == 0.0
    assert kernels.largest_safe_dose(50.0, 0.0, 3.0, 0.5, 0.3, 0.15) == 0.0
    assert kernels.largest_safe_dose(0.0, 0.0, 0.0, 0.5, 0.3, 0.15) == 0.0
    assert kernels.largest_safe_dose(0.0, 0.0, 3.0, 0.5, 0.0, 0.15) == math.inf


# --- input errors -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1.0]), "differ in shape"),
        (([1, -2], [1, 1]), r"times\[1\] must be finite and >= 0, got -2"),
        (([1, 2], [1, math.nan]), r"doses\[1\] must be finite and >= 0, got nan"),
        (([math.inf], [1]), r"times\[0\]"),
        (([[1.0]], [[1.0]]), "times must be 1-D"),
        ((3.0, 1.0), "times must be a sequence"),
        (([1], [1], None, 0.0), "horizon must be finite and > 0"),
        (([1], [1], None, math.nan), "horizon"),
    ],
)
def test_bad_plans(arguments, message):
    for function in (simulate, published_cost, simulate_published_numerics):
        with pytest.raises(ValueError, match=message):
            function(*arguments)


def test_bad_options_and_batches():
    with pytest.raises(ValueError, match="samples"):
        simulate([1], [1], samples=1)
    with pytest.raises(ValueError, match="toxicity_limit"):
        simulate([1], [1], toxicity_limit=math.nan)
    with pytest.raises(ValueError, match=r"doses\[1, 0\] .* got -1"):
        simulate_batch([[1], [2]], [[1], [-1]])
    with pytest.raises(ValueError, match="2 plans and 3 patients"):
        simulate_batch([[1], [2]], [[1], [1]], [PATIENT] * 3)
    with pytest.raises(ValueError, match=r"rows \(P, 8\)"):
        simulate_batch([1], [1], np.ones((2, 5)))
    with pytest.raises(ValueError, match=r"ec50 is -1\.0; allowed: .* \(patient 1\)"):
        simulate_batch([1], [1], np.vstack([ROW, np.where(ROW == 1.0, -1.0, ROW)]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ec50": 0.0}, r"ec50 is 0\.0; allowed: 1e-06 to 1e\+06"),
        ({"elimination_rate": math.nan}, "elimination_rate is nan; allowed: 0.001 to 100"),
        ({"initial_cells": 2e9}, "must not exceed carrying_capacity"),
        ({"emax": "strong"}, "emax is 'strong'; allowed: 0 to 100"),
        ({"emax_": 0.5}, "unknown patient field 'emax_'; did you mean 'emax'"),
        ({"elimination": 0.5}, "did you mean 'elimination_rate'"),
    ],
)
def test_bad_patients(values, message):
    with pytest.raises(ValueError, match=message):
        ChemoPatient.from_mapping(values)


def test_patient_round_trip():
    patient = random_patient(np.random.default_rng(1))
    assert ChemoPatient.from_array(patient.to_array()) == patient
    assert ChemoPatient.from_mapping({n: getattr(patient, n) for n in FIELDS}) == patient
    assert ChemoPatient.from_mapping({"emax": 1}).emax == 1.0
    with pytest.raises(ValueError, match="shape"):
        ChemoPatient.from_array(ROW[:5])


def test_kernels_import_only_numerics():
    # Other kernel files may import kernel files; tests/test_architecture.py checks all of them.
    path = ROOT / "envs/chemo_dosing/kernels.py"
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module)
    names = ("chemo_dosing.records", "compiled", "lane_kernels", "twins")
    ours = {f"oncogym.envs.{name}" for name in names}
    assert imported <= {"__future__", "math", "numba", "numpy"} | ours
