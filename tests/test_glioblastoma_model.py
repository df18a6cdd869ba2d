"""Glioblastoma physics: golden traces, published and converged values, properties, bad input."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncogym.envs.glioblastoma_radiation import (
    DetectionError,
    DomainError,
    DoseError,
    GlioblastomaPatient,
    StabilityError,
    safe_dose,
    simulate,
    simulate_batch,
    with_weekend_breaks,
)
from oncogym.envs.glioblastoma_radiation import kernels as kernel

DATA = Path(__file__).parent / "data"
PAPER = np.full(34, 1.8)
WEEKENDS = with_weekend_breaks(PAPER)
LEARNT = np.array([7.30, 7.58, 7.53, 7.44, 7.48, 7.30, 7.61, 7.38, 1.58])
NONE = np.zeros(1)
# Death days of the four schedules (none, paper, weekends, learnt) in the converged solution.
CONVERGED = {
    ("slab", "map"): (356.312, 425.453, 426.144, 448.360),
    ("slab", "rate"): (356.312, 423.594, 424.301, 435.338),
    ("slab", "lq"): (356.312, 426.435, 427.153, 457.527),
    ("sphere", "map"): (439.854, 522.428, 522.959, 551.505),
    ("sphere", "rate"): (439.854, 520.094, 520.670, 534.138),
    ("sphere", "lq"): (439.854, 523.448, 524.034, 556.916),
}
GRID = {"A": "rate", "B": "map", "C": "lq"}


def plans(*schedules):
    """Schedules of different lengths as one array."""
    table = np.zeros((len(schedules), max(map(len, schedules))))
    for row, schedule in zip(table, schedules, strict=True):
        row[: len(schedule)] = schedule
    return table


FOUR = plans(NONE, PAPER, WEEKENDS, LEARNT)


def read(name):
    with open(DATA / name, newline="") as file:
        return list(csv.DictReader(file))


def golden():
    cases = defaultdict(list)
    for row in read("glioblastoma_golden_trace.csv"):
        cases[row["case"]].append(row)
    return cases


GOLDEN = golden()


def golden_doses(case):
    rows = GOLDEN[case]
    if case == "paper_weekend":
        return WEEKENDS
    doses = np.zeros(len(rows))
    for row in rows[1:]:
        doses[int(row["agent_step"]) - 1] = float(row["dose_Gy"])
    return doses


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_trace(case):
    result = simulate(golden_doses(case), density=True)
    density = result.density / 1e5
    worst = 0.0
    for row in GOLDEN[case]:
        day = int(row["time_index_after"]) - 213
        obtained = (density[day].sum(), density[day, 35], density[day, 60])
        for name, value in zip(("sum_c", "c35", "c60"), obtained, strict=True):
            expected = float(row[f"{name}_over_K_after"])
            worst = max(worst, abs(value - expected) / expected)
        assert result.t1_radius[day] == float(row["T1_mm_after"] or -1)
        assert result.t2_radius[day] == float(row["T2_mm_after"] or -1)
        if row["treatment_radius_mm_used"]:
            assert result.field_radius[day - 1] == float(row["treatment_radius_mm_used"])
    assert worst < 1e-12
    assert result.growth_days == 213.0
    assert result.death_day == float(GOLDEN[case][-1]["time_index_after"])


def test_state_at_the_start_of_therapy():
    expected = np.array(
        [
            float(r["c_over_K_at_time_index_213"])
            for r in read("glioblastoma_state_therapy_start.csv")
        ]
    )
    obtained = simulate(NONE, density=True).density[0] / 1e5
    # Below 1e-15 the cut tail shows: 2e-30 is what is missing at most, 1e-15 of these values.
    np.testing.assert_allclose(obtained, expected, rtol=1e-12, atol=1e-28)


def test_published_table():
    batch = simulate_batch(FOUR)
    assert batch.death_day.tolist() == [363.0, 430.0, 431.0, 453.0]
    assert batch.days_extended.tolist() == [0.0, 67.0, 68.0, 90.0]
    assert batch.therapy_days.tolist() == [150.0, 34.0, 46.0, 9.0]
    assert batch.violations.tolist() == [0.0] * 4


def test_best_plans_known():
    with open(DATA / "glioblastoma_optima.json") as file:
        optima = json.load(file)
    for plan in optima.values():
        doses = np.zeros(400)
        for day, dose, _ in plan["schedule_day_dose_dmax"]:
            doses[int(day) - 214] += dose
        # Printed with three decimals, they exceed the total dose by up to 1e-3 Gy.
        doses *= min(1.0, 61.2 / doses.sum())
        assert simulate(doses).death_day == plan["death_day"]


@pytest.mark.parametrize(
    "row",
    [
        row
        for row in read("glioblastoma_convergence.csv")
        if row["scheme"] == "explicit" and (row["geometry"], row["bc"]) != ("sphere", "ghost")
    ],
    ids=lambda r: "-".join(r[k] for k in ("dx", "dt", "interp", "radius", "bc", "schedule")),
)
def test_explicit_rows(row):
    schedule = {"none": NONE, "paper": PAPER, "paper_wk": WEEKENDS, "rl": LEARNT}[row["schedule"]]
    step = float(row["dt"])
    batch = simulate_batch(
        schedule[None, :],
        kill=GRID[row["interp"]],
        interpolate=row["radius"] == "interp",
        boundary="mirror" if row["bc"] == "ghost" else "copy",
        dx=float(row["dx"]),
        dt=step,
    )
    assert batch.growth_days[0] == float(row["start_day"])
    death = float(row["death_day"])
    if row["radius"] == "interp":
        assert batch.death_day[0] == pytest.approx(death, abs=0.05)
    else:  # the reference counts whole days, ours steps
        assert death - 1.0 < batch.death_day[0] <= death


@pytest.mark.parametrize(("geometry", "kill"), CONVERGED)
def test_accurate_solver_reaches_the_converged_values(geometry, kill):
    batch = simulate_batch(FOUR, numerics="accurate", geometry=geometry, kill=kill)
    np.testing.assert_allclose(batch.death_day, CONVERGED[geometry, kill], atol=0.01)
    start = 208.472 if geometry == "slab" else 312.093
    assert batch.growth_days[0] == pytest.approx(start, abs=0.01)
    finer = simulate_batch(
        FOUR, numerics="accurate", geometry=geometry, kill=kill, dx=0.16, dt=0.125
    )
    np.testing.assert_allclose(finer.death_day, batch.death_day, atol=0.01)


def test_sphere_of_the_explicit_scheme():
    batch = simulate_batch(FOUR, geometry="sphere")
    assert batch.death_day.tolist() == [446.0, 527.0, 528.0, 555.0]


def test_symmetric_refinement_is_of_second_order():
    exact = CONVERGED["slab", "map"]
    errors = {}
    for boundary in ("mirror", "copy"):
        deaths = []
        for dx in (1.0, 0.5, 0.25):
            dt = min(dx * dx, 1.0) / 2.0  # the step's first order in time counts like dx^2
            batch = simulate_batch(
                FOUR[:2], boundary=boundary, interpolate=True, dx=dx, dt=2.0 ** round(np.log2(dt))
            )
            deaths.append(batch.death_day)
        errors[boundary] = np.abs(np.array(deaths) - np.array(exact[:2]))
    orders = np.log2(errors["mirror"][:-1] / errors["mirror"][1:])
    assert np.all(orders > 1.7), orders
    # Half a cell of shift is an error of first order.
    half = np.log2(errors["copy"][1:-1] / errors["copy"][2:])
    assert np.all(half < orders[1:]), half


@pytest.mark.parametrize("numerics", ["published", "accurate"])
@pytest.mark.parametrize("geometry", ["slab", "sphere"])
def test_no_dose_is_the_benchmark(numerics, geometry):
    for patient in (None, {"diffusion": 0.15, "proliferation": 0.05}):
        result = simulate(np.zeros(20), patient, numerics=numerics, geometry=geometry)
        # A daily record splits the accurate solver's merged half steps, which rounds differently.
        assert abs(result.days_extended) < 1e-9
        assert result.total_dose == 0.0


@settings(max_examples=25, deadline=None)
@given(
    doses=st.lists(st.floats(0.0, 4.0), min_size=1, max_size=10),
    day=st.integers(0, 9),
    more=st.floats(0.05, 6.0),
    kill=st.sampled_from(["map", "rate", "lq"]),
)
def test_more_dose_on_a_day_never_shortens_survival(doses, day, more, kill):
    low = np.zeros(10)
    low[: len(doses)] = doses
    high = low.copy()
    high[day] += more
    batch = simulate_batch(
        np.stack([low, high]), numerics="accurate", kill=kill, total_dose=100.0, horizon=900
    )
    assert batch.death_day[1] >= batch.death_day[0] - 1e-9


@settings(max_examples=30, deadline=None)
@given(
    doses=st.lists(st.floats(0.0, 61.2), min_size=1, max_size=6),
    diffusion=st.floats(0.1, 0.4),
    growth=st.floats(0.015, 0.06),
    alpha=st.floats(0.0, 0.3),
    numerics=st.sampled_from(["published", "accurate"]),
)
def test_density_stays_within_bounds_whatever_the_dose(doses, diffusion, growth, alpha, numerics):
    patient = GlioblastomaPatient(diffusion, growth, 1e5, alpha)
    left = 61.2
    for number, dose in enumerate(doses):
        doses[number] = min(dose, left)
        left = max(left - doses[number], 0.0)
    result = simulate(doses, patient, numerics=numerics, horizon=1500, density=True)
    assert result.density.min() >= 0.0
    assert result.density.max() <= 1e5 * (1.0 + 1e-12)
    assert result.total_dose <= 61.2 * (1.0 + 1e-12)
    assert result.death_day >= result.benchmark_day - 1.0


@pytest.mark.slow
def test_batch_equals_single_plans_whatever_the_threads():
    rng = np.random.default_rng(0)
    table = rng.uniform(0.0, 3.0, (150, 12))
    patients = np.tile(GlioblastomaPatient().to_array(), (150, 1))
    patients[:, :2] *= rng.uniform(0.7, 1.3, (150, 2))
    for numerics in ("published", "accurate"):
        batch = simulate_batch(table, patients, numerics=numerics, horizon=1500, dx=None)
        serial = simulate_batch(table, patients, numerics=numerics, horizon=1500, parallel=False)
        assert np.array_equal(batch.death_day, serial.death_day)
        assert np.array_equal(batch.quality_days, serial.quality_days)
        assert np.array_equal(batch.growth_days, serial.growth_days)
        # With its own cell size and window a single accurate run differs in the last digits.
        single = simulate(
            table[3], GlioblastomaPatient.from_array(patients[3]), numerics=numerics, horizon=1500
        )
        assert single.death_day == pytest.approx(batch.death_day[3], abs=0.01)
        if numerics == "published":
            assert single.death_day == batch.death_day[3]
            assert single.quality_days == pytest.approx(batch.quality_days[3], rel=1e-13)


def test_daily_record_and_summary_agree():
    for options in ({}, {"numerics": "accurate"}, {"geometry": "sphere", "dx": 0.5, "dt": 0.25}):
        result = simulate(PAPER, weekends=True, **options)
        batch = simulate_batch(WEEKENDS[None, :], **options)
        assert result.death_day == pytest.approx(batch.death_day[0], abs=1e-9)
        assert result.quality_days == pytest.approx(batch.quality_days[0], rel=1e-9)
        assert result.dose.sum() == pytest.approx(61.2)
        assert len(result.day) == len(result.t1_radius) == len(result.safe_dose)
        assert result.death_day - 1.0 <= result.day[-1] <= result.death_day + 1.0
        assert result.t1_radius[-1] >= 35.0 * (1.0 - 1e-9)


def test_fractions_a_day_kill_less():
    one = simulate(LEARNT, interpolate=True)
    two = simulate(LEARNT, interpolate=True, fractions_per_day=2)
    assert two.death_day < one.death_day
    share = kernel.killed_share(4.0, 0.04, 10.0, 2.0)
    assert share == pytest.approx(1.0 - np.exp(-0.04 * 4.0 * (1.0 + 2.0 / 10.0)))


def test_weekend_breaks():
    assert with_weekend_breaks([1.0] * 6).tolist() == [1, 1, 1, 1, 1, 0, 0, 1]
    # A day without dose restarts the count, as in the source.
    assert with_weekend_breaks([1, 1, 0, 1, 1, 1, 1, 1, 1]).tolist() == (
        [1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 1]
    )
    both = with_weekend_breaks([[1.0] * 6, [1.0, 0.0] * 3])
    assert both.tolist() == [[1, 1, 1, 1, 1, 0, 0, 1], [1, 0, 1, 0, 1, 0, 0, 0]]


def test_safe_dose():
    radii = [53, 52, 50, 48, 45, 41, 75]
    expected = [7.644, 7.745, 7.955, 8.181, 8.551, 9.114, 6.026]
    np.testing.assert_allclose(safe_dose(radii), expected, atol=6e-4)
    assert safe_dose(0.0) == np.inf


@pytest.mark.parametrize(
    ("doses", "text"),
    [
        ([1.0, -0.5], r"daily_doses\[1\] is -0\.5; allowed: a finite dose of at least 0 Gy"),
        ([np.nan], r"daily_doses\[0\] is nan"),
        ([np.inf], r"daily_doses\[0\] is inf"),
        ([61.0, 0.3], r"daily_doses\[1\] is 0\.3 Gy, above the 0\.2 Gy that are left"),
        ([[1.0]], r"shape \(1, 1\); allowed: \(days,\)"),
        (["much"], "not numbers"),
    ],
)
def test_bad_doses(doses, text):
    with pytest.raises(DoseError, match=text):
        simulate(doses)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"dx": 0.5}, StabilityError, r"at most 1/\(2 D/dx\^2 \+ rho\) = 0\.6135 d"),
        ({"dx": 0.25, "dt": 0.25}, StabilityError, r"0\.1555 d .* = 0\.1562 d \(stable\)"),
        ({"numerics": "accurate", "dt": 0.01, "dx": 0.2}, StabilityError, r"at least .* = 0\.1 d"),
        ({"length": 30.0}, DomainError, "length is 30 mm, too small for a tumour of 35 mm"),
        ({"length": 45.0}, DomainError, "of the carrying capacity at the outer boundary"),
        ({"horizon": 200}, DetectionError, "does not reach 15 mm within 200 d"),
        ({"dt": 0.3}, ValueError, "a day divided by|one day divided by"),
        (
            {"numerics": "exact"},
            ValueError,
            "numerics is 'exact'; allowed: 'published', 'accurate'",
        ),
        ({"geometry": "sphere", "boundary": "mirror"}, ValueError, "allowed for a sphere: 'copy'"),
        ({"numerics": "accurate", "interpolate": False}, ValueError, "always interpolates"),
        ({"margin": -1.0}, ValueError, r"margin is -1\.0; allowed: 0 to 1000 mm"),
        ({"patient": {"alfa": 1.0}}, ValueError, "did you mean 'alpha'"),
    ],
)
def test_bad_options(options, error, text):
    with pytest.raises(error, match=text):
        simulate(PAPER, **options)


def test_positivity_can_be_demanded():
    simulate([11.0], positivity="error")
    with pytest.raises(StabilityError, match="stays positive only up to dt = 0"):
        simulate([12.0], positivity="error")
    simulate([12.0], positivity="clip")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("diffusion", 0.0),
        ("diffusion", 11.0),
        ("proliferation", -0.1),
        ("carrying_capacity", 0.0),
        ("alpha", float("nan")),
        ("alpha_beta", "ten"),
    ],
)
def test_patient_out_of_range(name, value):
    with pytest.raises(ValueError, match=rf"{name} is .*; allowed: "):
        GlioblastomaPatient(**{name: value})


def test_patient_conversions():
    patient = GlioblastomaPatient(alpha=0.05)
    assert GlioblastomaPatient.from_array(patient.to_array()) == patient
    assert GlioblastomaPatient.from_mapping({"alpha": 0.05}) == patient
    with pytest.raises(ValueError, match=r"has shape \(2,\); allowed: \(5,\)"):
        GlioblastomaPatient.from_array([1.0, 2.0])
