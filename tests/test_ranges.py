"""Patients at the edges of what is allowed, and courses outside a model's range, in all treatments.

Every patient of a record's ranges is treated to the end with finite, observable numbers, or is
refused when the treatment starts.
"""

from __future__ import annotations

import itertools
import pickle
import warnings
from importlib import import_module

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncogym.envs.registry import get_treatment
from oncogym.envs.validity import OUT_OF_RANGE, ModelRangeWarning

KINDS = ("none", "random", "most")
# Options under which a course is short; patients are of the whole ranges all the same.
SHORT: dict[str, dict] = {
    "chemo_dosing": {},
    "glioblastoma_radiation": {"formulation": "published", "horizon": 200},
    "emt6ro_fractionation": {
        "fidelity": "screening", "hours": 30.0, "treatment_hours": 12.0, "min_wait": 6.0,
    },
    "impt_beam_weighting": {},
    "adaptive_therapy": {},
}  # fmt: skip
# Fields whose edges cost minutes of growth or name what does not exist: their values here.
PLAIN = {
    "emt6ro_fractionation": {"tumour": (1.0, 2.0), "age": (0.0, 10.0)},
    "impt_beam_weighting": {"anatomy": (0.0, 3.0)},
}


def bounds(name: str) -> tuple[np.ndarray, np.ndarray]:
    record = get_treatment(name).patient
    ranges = {**record.RANGES, **PLAIN.get(name, {})}
    low, high = np.array([ranges[field] for field in record.FIELDS]).T
    return low, high


def corners(name: str) -> np.ndarray:
    low, high = bounds(name)
    return np.array(
        [np.where(bits, high, low) for bits in itertools.product([0, 1], repeat=len(low))]
    )


def inside(name: str, shares: list[float], logarithmic: list[bool]) -> np.ndarray:
    """A patient within the ranges, in the logarithm of a field where asked for and possible."""
    low, high = bounds(name)
    share = np.array(shares[: len(low)])
    row = low + share * (high - low)
    log = np.array(logarithmic[: len(low)]) & (low > 0.0)
    row[log] = low[log] * (high[log] / low[log]) ** share[log]
    record = get_treatment(name).patient
    for column, field in enumerate(record.FIELDS):
        if field in record.LABELS:
            row[column] = low[column] if share[column] < 0.5 else high[column]
    return np.clip(row, low, high)


def treat(name: str, row: np.ndarray, **options) -> str:
    """Treat a patient with no, random and the largest doses; the refusal, or nothing."""
    treatment = get_treatment(name)
    try:
        treatment.patient.from_array(row)
    except ValueError as error:
        return str(error)
    task = treatment.task(1, **{**SHORT[name], **options})
    keys, active = np.zeros(1, np.uint64), np.ones(1, np.bool_)
    rng = np.random.default_rng(0)
    for kind in KINDS:
        try:
            observation = task.reset(np.zeros(1, np.intp), row[None], keys, keys)
        except ValueError as error:
            return str(error)
        assert task.observation_space.contains(observation[0]), (kind, row.tolist(), observation)
        for step in range(task.num_decisions + 1):
            shape = (1, *task.action_space.shape)
            actions = {"none": np.zeros, "random": rng.random, "most": np.ones}[kind](shape)
            result = task.step(actions, active)
            seen = result.observation[0]
            assert task.observation_space.contains(seen), (kind, step, row.tolist(), seen)
            for part in ("reward_terms", "costs", "outcome"):
                values = getattr(result, part)
                assert np.isfinite(values).all(), (kind, step, part, row.tolist(), values)
            assert np.isfinite(task.weighted_reward(result.reward_terms)).all()
            assert (result.costs >= 0.0).all()
            if (result.terminated | result.truncated)[0]:
                break
        else:
            raise AssertionError(f"{kind}: the course does not end for {row.tolist()}")
    return ""


def names_a_limit(refusal: str) -> bool:
    return not refusal or any(
        word in refusal for word in ("allowed", "must not exceed", "must be larger", "within")
    )


@pytest.mark.parametrize("options", [{}, {"observation": "measurable"}])
def test_corners_of_chemotherapy(options):
    refusals = [treat("chemo_dosing", row, **options) for row in corners("chemo_dosing")]
    assert all(map(names_a_limit, refusals))
    # Three quarters are patients: the others begin with more cells than there is room for.
    assert refusals.count("") == 192


@pytest.mark.parametrize("name", ["glioblastoma_radiation", "emt6ro_fractionation"])
def test_corners_of_radiation(name):
    refusals = [treat(name, row) for row in corners(name)]
    assert all(map(names_a_limit, refusals))
    assert refusals.count("") > 0


@pytest.mark.slow
def test_corners_of_proton_therapy():
    rows = corners("impt_beam_weighting")
    refusals = [treat("impt_beam_weighting", row) for row in rows[:: max(len(rows) // 12, 1)]]
    assert all(map(names_a_limit, refusals))


@pytest.mark.parametrize(
    "name", ["chemo_dosing", "glioblastoma_radiation", "emt6ro_fractionation", "adaptive_therapy"]
)
def test_inside_of_the_ranges(name):
    @settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @given(
        st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8),
        st.lists(st.booleans(), min_size=8, max_size=8),
    )
    def check(shares, logarithmic):
        assert names_a_limit(treat(name, inside(name, shares, logarithmic)))

    check()


@pytest.mark.parametrize(
    "name",
    [
        "adaptive_therapy",
        "chemo_dosing",
        "chemo_neutrophils",
        "glioblastoma_radiation",
        "emt6ro_fractionation",
        "impt_beam_weighting",
    ],
)
def test_cohorts_lie_within_the_ranges(name):
    treatment = get_treatment(name)
    for cohort in treatment.cohorts.values():
        for row in cohort.patients(min(cohort.size or 500, 500)):
            treatment.patient.from_array(row)


def test_the_rarest_draws_of_the_cohorts_lie_within_the_ranges():
    """The smallest uniform number, 2^-53, gives a normal one of 8.6 standard deviations."""
    chemo = get_treatment("chemo_dosing")
    sampler = chemo.cohort("population").sampler
    sigma = 8.6 * np.sqrt(np.log1p(np.square(sampler.variation)))
    for sign in (-1.0, 1.0):
        chemo.patient.from_array(np.array(sampler.median) * np.exp(sign * sigma))
    spheroid = get_treatment("emt6ro_fractionation").patient
    row = spheroid().to_array()
    for sign in (-1.0, 1.0):
        extreme = row.copy()
        extreme[:3] *= np.exp(sign * 8.6 * np.sqrt(np.log1p(0.2**2)))
        spheroid.from_array(extreme)


def test_every_course_says_whether_it_is_within_the_model():
    """The last outcome of each kernel; what follows from the doses stands behind it."""
    models = ("chemo_dosing", "chemo_neutrophils", "glioblastoma_radiation", "emt6ro_fractionation")
    for name in models:
        outcome = import_module(f"oncogym.envs.{name}.records").OUTCOME
        place = outcome.names.index("out_of_range")
        assert get_treatment(name).task.metrics[place] is OUT_OF_RANGE


# Chemotherapy.


def test_one_cell_at_the_start_is_observed():
    env = gym.make("oncogym/ChemoDosing-v0")
    observation, _ = env.reset(options={"patient": {"initial_cells": 1.0}})
    assert observation[3] == 0.0
    observation, _, _, _, info = env.step(np.zeros(1))
    # It grows by 3 % a day; ln N0 counts as 1.
    assert observation[3] == pytest.approx(0.03, rel=1e-6)
    assert info["outcome"]["log10_kill"] == pytest.approx(-0.03 / np.log(10.0), rel=1e-6)


def test_a_long_wait_does_not_make_the_tumour_vanish():
    """exp(r h) overflows beyond r h = 709; the tumour fills its capacity all the same."""
    env = gym.make(
        "oncogym/ChemoDosingPublished-v0", horizon=3650.0, max_wait=3650.0, disable_env_checker=True
    )
    patient = {"growth_rate": 10.0, "initial_cells": 1e3, "carrying_capacity": 1e9}
    env.reset(options={"patient": patient})
    _, _, terminated, _, info = env.step(np.array([1.0, 0.0]))
    assert terminated
    assert info["outcome"]["final_cells"] == pytest.approx(1e9, rel=1e-9)
    assert info["outcome"]["tumour_control"] == 0.0


def test_a_course_beyond_the_scale_is_flagged():
    env = gym.make("oncogym/ChemoDosingPublished-v0", disable_env_checker=True)
    for gain, flagged in ((0.3, 0.0), (300.0, 1.0)):
        env.reset(options={"patient": {"toxicity_gain": gain}})
        env.step(np.array([0.0, 1.0]))
        *_, info = env.step(np.array([0.2, 0.0]))  # 6 d later
        assert info["outcome"]["out_of_range"] == flagged


# EMT6/Ro.


def spheroid_env(**options):
    return gym.make(
        "oncogym/EMT6RoFractionation-v0", fidelity="screening", disable_env_checker=True, **options
    )


def test_a_tumour_at_the_lattice_edge_is_told():
    from oncogym.envs.emt6ro_fractionation import Protocol, grow, library, simulate

    nothing = Protocol.from_times([])
    with pytest.warns(ModelRangeWarning, match="edge of the lattice in 1 of 1 runs"):
        run = simulate(nothing, library()[:1], hours=300.0, seed=1, fidelity="screening")
    assert run.out_of_range.all()
    with pytest.warns(ModelRangeWarning, match="1 of 2 tumours .* number 7 first"):
        old = grow([3, 7], [1.0, 23.0], fidelity="screening")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = simulate(nothing, library()[:2], hours=216.0, seed=1, fidelity="screening")
        assert not run.out_of_range.any()
    # A tumour that is there already is told however little it is followed.
    with pytest.warns(ModelRangeWarning, match="edge"):
        assert simulate(nothing, old[1], hours=1.0, fidelity="screening").out_of_range.all()


def test_an_environment_flags_the_lattice_edge():
    env = spheroid_env(hours=300.0)
    env.reset(seed=1)
    flags = []
    for _ in range(4):
        *_, info = env.step(np.array([0.0, 1.0]))
        flags.append(info["outcome"]["out_of_range"])
    # Four waits of 30 h; the last runs to the end.
    assert flags == [0.0, 0.0, 0.0, 1.0]
    # An old tumour of the cohort gets there within the usual ten days, if it is left alone.
    env = spheroid_env()
    env.reset(seed=1, options={"patient": {"age": 12.0, "tumour": 100_000}})
    over = False
    while not over:
        *_, over, _, info = env.step(np.array([0.0, 1.0]))
    assert info["outcome"]["out_of_range"] == 1.0


def test_a_patient_who_begins_at_the_edge_is_refused():
    env = spheroid_env()
    with pytest.raises(ValueError, match=r"age is 23 d, .* edge of the lattice; allowed"):
        env.reset(options={"patient": {"age": 23.0, "tumour": 5}})
    observation, _ = env.reset(options={"patient": {"age": 9.0, "tumour": 5}})
    assert observation in env.observation_space


def test_the_law_of_repair_ends_where_larger_doses_leave_more_sites():
    from oncogym.envs.emt6ro_fractionation import EMT6RoPatient, Protocol, library, simulate
    from oncogym.envs.emt6ro_fractionation.validity import largest_acute_dose

    patient = EMT6RoPatient()
    limit = float(largest_acute_dose(patient.repair_delay, patient.repair_growth, 240.0))
    # A quarter of 240 h: 3.3414 exp(0.1492 D) = 60.
    assert limit == pytest.approx(19.3563, abs=1e-4)
    doses = (10.0, 15.0, 19.0, 24.0, 30.0, 60.0)
    protocols = [Protocol.from_times([(0.0, dose)]) for dose in doses]
    with pytest.warns(ModelRangeWarning, match="60 Gy within 20 h; above 19.36 Gy"):
        run = simulate(protocols, library()[:2], seed=1, fidelity="screening")
    sites = run.sites.mean(axis=(1, 2))
    assert sites[0] > 50.0 > sites[1:3].max()
    assert sites[1:3].max() < 100.0 < sites[3] < 300.0 < sites[4]  # what the law gets wrong
    assert run.out_of_range[:, 0, 0].tolist() == [False, False, False, True, True, True]
    with pytest.warns(ModelRangeWarning, match="20 Gy within 20 h"):
        simulate(
            Protocol.from_times([(0.0, 10.0), (19.5, 10.0)]), library()[:1], fidelity="screening"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        apart = Protocol.from_times([(0.0, 10.0), (20.0, 10.0)])
        simulate(apart, library()[:1], fidelity="screening")


@pytest.mark.parametrize("growth", [0.0, 0.1492, 2.0])
def test_the_largest_dose_at_the_ends_of_the_law(growth):
    from oncogym.envs.emt6ro_fractionation.validity import largest_acute_dose

    usual, slow = largest_acute_dose(np.array([3.3414, 100.0]), growth, 240.0)
    assert usual == (np.inf if growth == 0.0 else pytest.approx(np.log(60.0 / 3.3414) / growth))
    assert slow == 0.0


def test_an_environment_refuses_and_flags_doses_beyond_the_law():
    with pytest.raises(ValueError, match=r"max_dose is 20.0; allowed: 0.25 to 19.35\d* Gy"):
        spheroid_env(total_dose=40.0, max_dose=20.0)
    env = spheroid_env(total_dose=40.0, max_dose=15.0, bed_limit=1000.0)
    env.reset(seed=0)
    *_, info = env.step(np.array([1.0, 0.0]))  # 15 Gy, then 6 h
    assert info["outcome"]["out_of_range"] == 0.0
    *_, info = env.step(np.array([1.0, 0.0]))  # 30 Gy within a cycle
    assert info["outcome"]["out_of_range"] == 1.0
    # For a patient whose repair grows faster with damage, 5 Gy are too many.
    env = spheroid_env()
    env.reset(options={"patient": {"repair_growth": 0.8}})
    *_, info = env.step(np.array([1.0, 0.0]))
    assert info["outcome"]["out_of_range"] == 1.0
    with pytest.raises(ValueError, match="max_dose is 20"):
        env.unwrapped.task.slot_space(max_dose=20.0)


# Glioblastoma.


def test_white_matter_is_treated_as_the_accurate_solver_does():
    from oncogym.envs.glioblastoma_radiation import simulate

    env = gym.make("oncogym/GlioblastomaRadiation-v0", weekends=False)
    env.reset(seed=0, options={"patient": {"diffusion": 0.65}})
    task = env.unwrapped.task
    assert task.numerics_of(0) == "accurate"
    over = False
    for day in range(1000):
        observation, _, dead, late, info = env.step(np.array([1.8 / 61.2 if day < 34 else 0.0]))
        assert observation in env.observation_space
        assert task.observe()[0].tobytes() == observation.tobytes()
        over = dead or late
        if over:
            break
    assert over
    right = simulate([1.8] * 34, {"diffusion": 0.65}, numerics="accurate", horizon=1200)
    assert info["outcome"]["death_day"] == pytest.approx(right.death_day, abs=1e-6)
    assert info["outcome"]["days_extended"] == pytest.approx(right.days_extended, abs=1e-6)
    assert info["outcome"]["quality_days"] == pytest.approx(right.quality_days, abs=1e-6)
    assert info["outcome"]["out_of_range"] == 0.0


@pytest.mark.parametrize(
    ("doses", "extended"), [([1.8] * 34, 69.14)], ids=["34 x 1.8 Gy, converged slab with the map"]
)
def test_accurate_environments_reach_the_converged_reference(doses, extended):
    env = gym.make("oncogym/GlioblastomaRadiationPublished-v0", numerics="accurate")
    env.reset(seed=0)
    over, day = False, 0
    while not over:
        dose = doses[day] / 61.2 if day < len(doses) else 0.0
        _, _, dead, late, info = env.step(np.array([dose]))
        over, day = dead or late, day + 1
    assert info["outcome"]["days_extended"] == pytest.approx(extended, abs=0.05)
    assert info["outcome"]["death_day"] == pytest.approx(356.31 + extended, abs=0.05)


@pytest.mark.parametrize(
    ("diffusion", "growth", "numerics"),
    [
        (0.2, 0.03, "published"),
        (0.1, 0.06, "published"),
        (0.4, 0.06, "published"),
        (0.49, 0.02, "published"),
        (0.49, 0.03, "accurate"),  # 2 D + rho above 1
        (0.008, 0.03, "published"),
        (0.007, 0.03, "accurate"),  # fronts of 0.48 mm
    ],
)
def test_the_source_grid_is_used_where_it_holds(diffusion, growth, numerics):
    env = gym.make("oncogym/GlioblastomaRadiation-v0")
    env.reset(options={"patient": {"diffusion": diffusion, "proliferation": growth}})
    assert env.unwrapped.task.numerics_of(0) == numerics


@pytest.mark.parametrize("observation", ["full", "measurable", "density"])
def test_lanes_of_both_kinds_are_those_of_scalar_environments(observation):
    """Weekends, resets from one kind to the other and copies included."""
    patients = [{}, {"diffusion": 0.65}, {"diffusion": 0.3}, {"diffusion": 0.9, "alpha": 0.06}]
    options = {"weekends": True, "observation": observation, "max_therapy_days": 15}
    lanes = gym.make_vec("oncogym/GlioblastomaRadiation-v0", num_envs=4, **options)
    for given_to in (patients, patients[::-1]):
        seen, _ = lanes.reset(seed=3, options={"patient": given_to})
        single = [gym.make("oncogym/GlioblastomaRadiation-v0", **options) for _ in given_to]
        for lane, (env, patient) in enumerate(zip(single, given_to, strict=True)):
            first, _ = env.reset(seed=3 + lane, options={"patient": patient})
            assert np.array_equal(first, seen[lane])
        lanes.task = lanes._lanes.task = pickle.loads(pickle.dumps(lanes.task))
        done = np.zeros(4, np.bool_)
        for _ in range(11):
            actions = np.full((4, 1), 0.03)
            seen, rewards, dead, late, infos = lanes.step(actions)
            for lane, env in enumerate(single):
                own, reward, over, _, info = env.step(actions[lane])
                done[lane] |= over
                assert reward == rewards[lane]
                if not (dead | late)[lane]:
                    assert np.array_equal(own, seen[lane])
                    assert info["outcome"]["death_day"] == infos["outcome"]["death_day"][lane]
            if done.any():
                break


def test_a_tumour_at_the_outer_boundary_is_flagged_not_a_crash():
    """A domain that holds the untreated tumour, but not one whom treatment lets live longer."""
    env = gym.make("oncogym/GlioblastomaRadiation-v0", length=68.0)
    flags = []
    for total in (0.0, 0.12):
        env.reset(seed=0)
        over = False
        for day in range(200):
            _, _, dead, late, info = env.step(np.array([total if day < 8 else 0.0]))
            over = dead or late
            if over:
                break
        assert over
        flags.append(info["outcome"]["out_of_range"])
    assert flags == [0.0, 1.0]


def test_fractions_beyond_the_dose_laws_are_told():
    from oncogym.envs.glioblastoma_radiation import simulate

    env = gym.make("oncogym/GlioblastomaRadiation-v0")
    for share, flagged in ((24.0 / 61.2, 0.0), (24.1 / 61.2, 1.0)):
        env.reset(seed=0)
        *_, info = env.step(np.array([share]))
        assert info["outcome"]["out_of_range"] == flagged
    with pytest.warns(ModelRangeWarning, match=r"61.2 Gy; the linear-quadratic law"):
        simulate([61.2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulate([48.0], fractions_per_day=2)
