"""Radiation outcomes and dose-volume numbers beside two packages that share no code with ours.

``pyradiobiology`` (linear-quadratic, gEUD, LKB, TCP) and ``dicompyler-core`` (histograms of doses).
"""

from __future__ import annotations

import numpy as np
import pytest

from oncogym.envs.impt_beam_weighting import dose_statistics, dvh, phantom
from oncogym.envs.radiobiology import (
    ORGANS,
    bed,
    eqd2,
    geud,
    hottest_dose,
    ntcp,
    tcp,
    volume_above,
)

FRACTIONS = 30
#: Width of the bins of a histogram [Gy].
WIDTH = 0.005


@pytest.fixture
def voxels():
    """Doses of all fractions together [Gy], and volumes, of 4000 voxels."""
    rng = np.random.default_rng(7)
    return 70.0 * rng.beta(2.0, 1.5, 4000), rng.uniform(0.01, 0.1, 4000)


def bag(doses, kind):
    pyradiobiology = pytest.importorskip("pyradiobiology")
    return pyradiobiology.DoseBag(doses, pyradiobiology.DoseUnit.GY, kind)


@pytest.mark.parametrize("ratio", [2.0, 3.0, 10.0])
def test_effective_doses_are_those_of_another_package(voxels, ratio):
    other = pytest.importorskip("pyradiobiology")
    doses, _ = voxels
    law = other.LinearQuadratic(other.Dose.gy(ratio), FRACTIONS)
    given = bag(doses, other.DoseType.PHYSICAL_DOSE)
    each = np.repeat(doses[:, None] / FRACTIONS, FRACTIONS, axis=1)
    np.testing.assert_allclose(bed(each, ratio), law.eqd_zero(given).data, rtol=1e-12)
    np.testing.assert_allclose(eqd2(each, ratio), law.eqd_two(given).data, rtol=1e-12)


@pytest.mark.parametrize("name", ORGANS)
def test_complications_are_those_of_another_package(voxels, name):
    other = pytest.importorskip("pyradiobiology")
    doses, volumes = voxels
    organ = ORGANS[name]
    model = other.LKB(other.Dose.gy(organ.td50, other.DoseType.EQD2), organ.m, organ.n)
    for share in (0.3, 0.8, 1.2):
        given = bag(share * doses, other.DoseType.EQD2)
        uniform = other.Geud(1.0 / organ.n).calculate(given, volumes)
        assert geud(share * doses, 1.0 / organ.n, volumes) == pytest.approx(uniform, rel=1e-10)
        expected = model.response(given, volumes)
        assert ntcp(share * doses, organ, volumes) == pytest.approx(expected, abs=1e-12)


def test_control_is_that_of_another_package(voxels):
    other = pytest.importorskip("pyradiobiology")
    doses, volumes = voxels
    ratio, alpha, density = 10.0, 0.28, 1e7
    given = bag(0.1 * doses + 62.0, other.DoseType.PHYSICAL_DOSE)
    model = other.TcpDensity(density, alpha)
    expected = model.response_from_pysical_dose(given, volumes, other.Dose.gy(ratio), FRACTIONS)
    each = np.repeat(given.data[:, None] / FRACTIONS, FRACTIONS, axis=1)
    survival = np.exp(-alpha * bed(each, ratio))
    assert 0.01 < expected < 0.99
    assert tcp(survival, density * volumes) == pytest.approx(expected, rel=1e-10)


def histogram(doses, volumes):
    """A histogram of the other package, cumulative, volumes in cm3."""
    other = pytest.importorskip("dicompylercore.dvh")
    bins = np.arange(0.0, doses.max() + 2 * WIDTH, WIDTH)
    counts, bins = np.histogram(doses, bins, weights=volumes)
    made = other.DVH(counts, bins, dvh_type="differential", volume_units="cm3", rx_dose=60.0)
    return made.cumulative


def test_doses_of_volumes_are_those_of_another_package(voxels):
    doses, volumes = voxels
    found = histogram(doses, volumes)
    for hottest in (0.1, 2.0, 20.0, 100.0):
        expected = found.dose_constraint(hottest, "cc").value
        # A bin, and what one voxel changes at the thinnest place, the hot end.
        near = WIDTH + np.diff(np.sort(doses)[-40:]).max()
        assert hottest_dose(doses, volumes, hottest) == pytest.approx(expected, abs=near)
    for level in (10.0, 30.0, 57.0):
        expected = found.volume_constraint(level, "Gy").value / volumes.sum()
        assert volume_above(doses, level, volumes) == pytest.approx(expected, abs=1e-3)


def test_histogram_and_statistics_of_a_plan_are_those_of_another_package():
    anatomy = phantom("c_shape")
    rng = np.random.default_rng(3)
    dose = 60.0 + 3.0 * rng.standard_normal(anatomy.structures.num_voxels)
    target = next(one for one in anatomy.structures if one.role == "target")
    own = dose[target.voxels]
    found = histogram(own, np.ones(own.size))
    ours = dose_statistics(dose, anatomy)[target.name]
    gap = WIDTH + np.diff(np.sort(own)).max()
    for share in (98, 95, 50, 2):
        expected = found.dose_constraint(share).value
        assert ours[f"D{share}"] == pytest.approx(expected, abs=gap)
    assert ours["mean"] == pytest.approx(found.mean, abs=WIDTH)
    assert ours["min"] == pytest.approx(found.min, abs=WIDTH)
    assert ours["max"] == pytest.approx(found.max, abs=WIDTH)
    levels = found.bins[:-1]
    np.testing.assert_allclose(
        dvh(dose, target, levels), found.counts[: len(levels)] / own.size, atol=1.5 / own.size
    )
