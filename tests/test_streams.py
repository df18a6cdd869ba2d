"""The counter-based generator against its authors' test vectors, and its statistics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from oncogym.envs import streams
from oncogym.envs.cohort import Fixed, LogNormal

# Known answers of Philox4x32-10 that its authors publish (counter, key, result).
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), VECTORS)
def test_philox_known_answers(counter, key, result):
    words = [np.uint64(word) for word in (*counter, *key)]
    assert tuple(int(word) for word in streams.philox4x32(*words)) == result


def test_draws_depend_on_their_coordinates_alone():
    seeds = np.arange(50, dtype=np.uint64)
    episodes = np.arange(50, dtype=np.uint64) % np.uint64(3)
    everyone = streams.uniforms(seeds, episodes, 7, 5)
    alone = streams.uniforms(seeds[20:21], episodes[20:21], 7, 3)
    assert np.array_equal(everyone[20:21, :3], alone)
    assert not np.array_equal(everyone, streams.uniforms(seeds, episodes, 8, 5))
    assert not np.array_equal(everyone, streams.uniforms(seeds, episodes + np.uint64(1), 7, 5))


def test_uniforms_and_normals_have_their_distribution():
    seeds = np.arange(20_000, dtype=np.uint64)
    episodes = np.zeros(20_000, np.uint64)
    u = streams.uniforms(seeds, episodes, 0, 2)
    z = streams.normals(seeds, episodes, 1, 2)
    assert u.min() > 0.0
    assert u.max() < 1.0
    for column in (0, 1):
        assert stats.kstest(u[:, column], "uniform").pvalue > 1e-3
        assert stats.kstest(z[:, column], "norm").pvalue > 1e-3
    assert abs(np.corrcoef(u.T)[0, 1]) < 0.03
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.03


def test_lognormal_spread_has_the_stated_median_and_variation():
    sampler = LogNormal((2.0, 5.0), (0.3, 0.0))
    rows = sampler(np.arange(40_000, dtype=np.uint64), np.zeros(40_000, np.uint64), 3)
    assert np.all(rows[:, 1] == 5.0)
    assert np.median(rows[:, 0]) == pytest.approx(2.0, rel=0.01)
    assert rows[:, 0].std() / rows[:, 0].mean() == pytest.approx(0.3, rel=0.02)
    with pytest.raises(ValueError, match="2 medians but 1"):
        LogNormal((1.0, 2.0), (0.1,))
    assert np.all(Fixed((1.0, 2.0))(np.zeros(3, np.uint64), np.zeros(3, np.uint64), 0) == [1, 2])
