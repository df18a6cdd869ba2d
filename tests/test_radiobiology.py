"""Radiation outcomes: closed forms, limits, printed numbers."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest

import oncogym  # noqa: F401
from oncogym.envs.radiobiology import (
    ORGANS,
    TARGET_EXPONENT,
    Organ,
    bed,
    eqd2,
    geud,
    hottest_dose,
    ntcp,
    outside_lq_range,
    tcp,
    uncomplicated_control,
    volume_above,
)


@pytest.mark.parametrize("ratio", [0.5, 2.0, 3.0, 10.0, 50.0])
def test_thirty_fractions_of_two_gray_are_sixty_at_every_ratio(ratio):
    assert float(eqd2(np.full(30, 2.0), ratio)) == pytest.approx(60.0, rel=1e-14)


def test_effective_dose_is_the_closed_form_and_tends_to_the_dose():
    assert float(bed(np.full(25, 2.0), 3.0)) == pytest.approx(25 * 2 * (1 + 2 / 3))
    assert float(bed(np.full(60_000, 0.001), 3.0)) == pytest.approx(60.0, rel=1e-3)
    # Fractions that differ are not those of the mean dose: 3 and 1 gray are not twice 2.
    assert float(bed([3.0, 1.0], 10.0)) == pytest.approx(3 * 1.3 + 1.1)
    assert bed(np.ones((4, 5)), 10.0, axis=0).shape == (5,)


def test_uniform_dose_is_its_own_equivalent_and_exponents_rule():
    assert geud(np.full(7, 55.0), 6.25) == pytest.approx(55.0)
    doses = np.array([10.0, 20.0, 60.0])
    assert geud(doses, 1.0) == pytest.approx(30.0)
    assert geud(doses, 1.0, [2.0, 1.0, 1.0]) == pytest.approx(25.0)
    assert geud(doses, 2000.0) == pytest.approx(60.0, rel=1e-3)
    assert geud(doses, -2000.0) == pytest.approx(10.0, rel=1e-3)
    assert geud([0.0, 60.0], TARGET_EXPONENT) == 0.0
    assert geud(doses, 3.0, [1, 2, 1]) == pytest.approx(geud([10, 20, 20, 60], 3.0))


@pytest.mark.parametrize("name", ORGANS)
def test_half_of_the_patients_suffer_at_the_median_tolerance(name):
    organ = ORGANS[name]
    assert ntcp(np.full(9, organ.td50), organ) == pytest.approx(0.5, abs=1e-12)
    above = ntcp(np.full(9, organ.td50 * (1 + organ.m)), organ)
    assert above == pytest.approx(0.5 * (1 + math.erf(1 / math.sqrt(2))))


def test_parotid_agrees_with_the_printed_risks_of_its_source():
    """Dijkema et al. 2010: mean doses of 25 to 30 Gy go with 17 to 26 %."""
    low, high = (100 * ntcp([dose], ORGANS["parotid"]) for dose in (25.0, 30.0))
    # 25 Gy gives 17.5, which prints as 17 or 18; 30 Gy gives 26.8.
    assert low == pytest.approx(17.0, abs=1.0)
    assert high == pytest.approx(26.0, abs=1.0)


def test_control_is_the_chance_that_no_cell_is_left():
    assert tcp([1.0, 1.0], [0.0, 0.0]) == 1.0
    assert tcp([0.5, 0.25], [2.0, 4.0]) == pytest.approx(math.exp(-2.0))
    survival = np.exp(-0.3 * bed(np.full(30, 2.0), 10.0))
    assert tcp(survival, 1e7) == pytest.approx(math.exp(-1e7 * math.exp(-0.3 * 72)))
    assert float(uncomplicated_control(0.8, 0.1)) == pytest.approx(0.72)


def test_courses_of_patients_with_ratios_of_their_own():
    fractions = np.random.default_rng(0).random((5, 40)) * 8.0
    ratios = np.array([2.0, 3.0, 5.0, 10.0, 20.0])
    alone = [float(bed(own, ratio)) for own, ratio in zip(fractions, ratios, strict=True)]
    assert bed(fractions, ratios).tolist() == alone
    assert bed(fractions.T, ratios, axis=0) == pytest.approx(alone, rel=1e-14)
    with pytest.raises(ValueError, match=r"alpha_beta is -1\.0; allowed"):
        bed(fractions[:2], [3.0, -1.0])


def test_hottest_volume_and_share_weigh_by_volume():
    doses, volumes = [70.0, 60.0, 50.0, 0.0], [0.5, 0.5, 1.0, 8.0]
    assert hottest_dose(doses, volumes, 0.5) == 70.0
    assert hottest_dose(doses, volumes, 0.6) == 60.0
    assert hottest_dose(doses, volumes, 1.0) == 60.0
    assert hottest_dose(doses, volumes, 10.0) == 0.0
    assert volume_above(doses, 50.0, volumes) == pytest.approx(0.2)
    assert volume_above(doses, 50.0) == pytest.approx(0.75)


def test_range_of_the_law_is_marked():
    course = [[2.0, 2.0, 0.0], [0.5, 2.0, 2.0], [15.0, 0.0, 0.0], [1.0, 10.0, 0.0]]
    assert outside_lq_range(course).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bed([-1.0], 3.0), "a dose is -1; allowed: finite and at least 0"),
        (lambda: bed([2.0], 0.0), "alpha_beta is 0.0; allowed"),
        (lambda: geud([1.0], 0.0), "exponent is 0.0; allowed"),
        (lambda: geud([], 1.0), "there is no voxel"),
        (lambda: geud([1.0, 2.0], 1.0, [1.0, 2.0, 3.0]), "there are 3 volumes; allowed: 2"),
        (lambda: geud([1.0, 2.0], 1.0, [1.0, 0.0]), "a volume is 0; allowed"),
        (lambda: tcp([1.5], [1.0]), "a survival is 1.5; allowed: 0 to 1"),
        (lambda: hottest_dose([1.0], [1.0], 2.0), "hottest is 2.0; allowed"),
        (lambda: uncomplicated_control(1.2, 0.0), "TCP is 1.2; allowed: 0 to 1"),
        (lambda: Organ(0.0, 0.1, 60.0, 2.0), "n is 0.0; allowed"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        call()


def finish(env_id, actions, **options):
    """Outcome of a course whose last action is repeated to its end."""
    env = gymnasium.make(env_id, **options)
    env.reset(seed=0)
    over, number = False, 0
    while not over:
        action = np.asarray(actions[min(number, len(actions) - 1)], np.float32)
        *_, terminated, truncated, info = env.step(action)
        over, number = terminated or truncated, number + 1
    env.close()
    return info["outcome"]


@pytest.mark.parametrize(("count", "marked"), [(1, 0.0), (2, 1.0)])
def test_glioblastoma_adds_the_days_of_its_course(count, marked):
    """1.8 Gy on 34 days; twice 0.9 Gy a day is outside the law's range and less effective."""
    doses = [[1.8 / 61.2]] * 34
    found = finish("oncogym/GlioblastomaRadiation-v0", doses, fractions_per_day=count)
    each = 1.8 / count
    assert found["total_dose"] == pytest.approx(61.2, rel=1e-6)
    assert found["bed"] == pytest.approx(61.2 * (1 + each / 10), rel=1e-5)
    assert found["eqd2_brain"] == pytest.approx(61.2 * (1 + each / 2) / 2, rel=1e-5)
    assert found["lq_range"] == marked


def test_glioblastoma_takes_the_tumours_own_ratio():
    doses = [[6.0 / 61.2], [3.0 / 61.2], [0.0]]
    env_id = "oncogym/GlioblastomaRadiation-v0"
    found = finish(env_id, doses, max_therapy_days=5, patient={"alpha_beta": 5.0})
    assert found["bed"] == pytest.approx(6 * (1 + 6 / 5) + 3 * (1 + 3 / 5), rel=1e-5)


def test_the_spheroid_adds_its_fractions():
    """2.5 and 1.25 Gy, then nothing."""
    env_id = "oncogym/EMT6RoFractionation-v0"
    task = gymnasium.make(env_id).unwrapped.task
    largest = task.max_dose
    found = finish(env_id, [[2.5 / largest, 0.5], [1.25 / largest, 0.5], [0.0, 1.0]])
    assert found["total_dose"] == pytest.approx(3.75)
    assert found["bed"] == pytest.approx(2.5 * 1.25 + 1.25 * 1.125)
    late = 2.5 * (1 + 2.5 / 3) + 1.25 * (1 + 1.25 / 3)
    assert found["late_bed"] == pytest.approx(late)
    assert found["eqd2_late"] == pytest.approx(late / (1 + 2 / 3))
    assert found["lq_range"] == 0.0


def test_organs_of_a_proton_plan_suffer_by_their_fractions():
    """A brainstem that gets its median tolerance in 2-gray (RBE) fractions: one half."""
    from oncogym.envs.impt_beam_weighting import complications, phantom

    anatomy = phantom("abutting")
    voxels = anatomy.structures.num_voxels
    # 2 gray (RBE) are 2/1.1 gray; 65 of them in 32 fractions and half of one more.
    even = np.full((32, voxels), 2.0 / 1.1)
    last = np.full((1, voxels), (np.sqrt(5.0) - 1.0) / 1.1)
    found = complications(np.concatenate([even, last]), anatomy)
    # d (1 + d/2) = 2 is half of the effect of 2 gray, 4, at alpha/beta 2.
    assert found["brainstem"] == pytest.approx(0.5, abs=1e-9)
    # The same dose in half as many fractions does more harm.
    coarse = complications(np.full((16, voxels), 65.0 / 16 / 1.1), anatomy)
    assert coarse["brainstem"] > 0.9
    with pytest.raises(ValueError, match="the fractions have shape"):
        complications(np.ones(voxels), anatomy)
    with pytest.raises(ValueError, match="the volumes have shape"):
        complications(even, anatomy, np.ones(3))
    # The half of the organ that gets nothing counts by its volume.
    stem = next(one for one in anatomy.structures if one.name == "brainstem")
    part = even.copy()
    part[:, stem.voxels[::2]] = 0.0
    volumes = np.ones(voxels)
    volumes[stem.voxels[::2]] = 1e-9
    whole = complications(even, anatomy)["brainstem"]
    assert complications(part, anatomy, volumes)["brainstem"] == pytest.approx(whole, rel=1e-6)
    assert complications(part, anatomy)["brainstem"] < whole


def test_histograms_of_plans_have_the_risk_beside_the_organ():
    from oncogym.envs.impt_beam_weighting import complications, phantom, plot_dvh

    anatomy = phantom("abutting")
    voxels = anatomy.structures.num_voxels
    doses = {"low": np.full(voxels, 50.0), "high": np.full(voxels, 60.0)}
    legend = plot_dvh(doses, anatomy, fractions=30).axes[0].get_legend()
    texts = [text.get_text() for text in legend.get_texts()]
    for label, dose in doses.items():
        risk = complications(np.tile(dose / 30, (30, 1)), anatomy)["brainstem"]
        assert f"brainstem, {label}: NTCP {100 * risk:.2g} %" in texts
    plain = plot_dvh(doses, anatomy).axes[0].get_legend()
    assert not any("NTCP" in text.get_text() for text in plain.get_texts())
    with pytest.raises(ValueError, match="fractions is 0; allowed"):
        plot_dvh(doses, anatomy, fractions=0)
