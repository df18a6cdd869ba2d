"""The summaries against hand-computed and published values, the intervals against simulation."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest

from oncogym.evaluation.metrics import per_patient
from oncogym.evaluation.statistics import (
    Interval,
    ScaleError,
    hierarchical_difference,
    iqm,
    normalised_score,
    paired_difference,
    stratified_bootstrap,
    unpaired_difference,
    wilson_interval,
    worst_decile,
)

worst = partial(worst_decile, higher_is_better=True)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, 1.0),
        (2, (0.5 * 1 + 0.5 * 4) / 1.0),
        (3, (0.25 * 1 + 1 * 4 + 0.25 * 9) / 1.5),
        (4, (4 + 9) / 2.0),
        (5, (0.75 * 4 + 9 + 0.75 * 16) / 2.5),
        (6, (0.5 * 4 + 9 + 16 + 0.5 * 25) / 3.0),
        (7, (0.25 * 4 + 9 + 16 + 25 + 0.25 * 36) / 3.5),
        (8, (9 + 16 + 25 + 36) / 4.0),
        (9, (0.75 * 9 + 16 + 25 + 36 + 0.75 * 49) / 4.5),
    ],
)
def test_iqm_by_hand(n, expected):
    squares = np.arange(1, n + 1) ** 2
    assert iqm(squares[::-1]) == pytest.approx(expected, rel=1e-14)


def test_iqm_equals_scipy_where_the_quartiles_fall_between_patients():
    from scipy.stats import trim_mean

    values = np.random.default_rng(1).normal(size=(4, 40))
    np.testing.assert_allclose(iqm(values), trim_mean(values, 0.25, axis=-1))
    np.testing.assert_allclose(iqm(values.T, axis=0), iqm(values))


def test_worst_decile_takes_a_fraction_of_the_patient_on_its_edge():
    values = np.arange(25.0)  # a tenth is two patients and a half
    assert worst_decile(values, True) == pytest.approx((0 + 1 + 0.5 * 2) / 2.5)
    assert worst_decile(values, False) == pytest.approx((24 + 23 + 0.5 * 22) / 2.5)
    assert worst_decile([3.0, 1.0, 2.0], True) == 1.0
    assert worst_decile([3.0, 1.0, 2.0], False) == 3.0


@pytest.mark.parametrize("function", [iqm, worst, stratified_bootstrap])
def test_values_that_are_not_finite_are_refused_and_counted(function):
    with pytest.raises(ValueError, match="2 NaN and 1 infinite among 5"):
        function([1.0, math.nan, math.inf, math.nan, 0.0])
    with pytest.raises(ValueError, match="at least one patient"):
        function([])


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="b: 1 NaN"):
        paired_difference([1.0, 2.0], [1.0, math.nan])
    with pytest.raises(ValueError, match=r"a \(3,\), b \(2,\)"):
        paired_difference([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="strata must have shape"):
        stratified_bootstrap([1.0, 2.0], strata=[0, 1, 1])
    with pytest.raises(ValueError, match="confidence"):
        stratified_bootstrap([1.0, 2.0], confidence=95)
    with pytest.raises(ValueError, match="statistic must return"):
        stratified_bootstrap([[1.0, 2.0], [3.0, 4.0]], np.mean)


@pytest.mark.parametrize("statistic", [np.mean, iqm, worst, np.median])
def test_bootstrap_is_reproducible_and_blind_to_order(statistic, monkeypatch):
    rng = np.random.default_rng(2)
    values, strata = rng.normal(size=60), rng.integers(0, 3, size=60)
    first = stratified_bootstrap(values, statistic, strata=strata, seed=5, resamples=500)
    assert first == stratified_bootstrap(values, statistic, strata=strata, seed=5, resamples=500)
    assert first != stratified_bootstrap(values, statistic, strata=strata, seed=6, resamples=500)
    shuffle = rng.permutation(60)
    assert first == stratified_bootstrap(
        values[shuffle], statistic, strata=strata[shuffle], seed=5, resamples=500
    )
    assert first.low <= first.estimate <= first.high or statistic is worst

    import oncogym.evaluation.statistics as module

    monkeypatch.setattr(module, "_BLOCK", 600)  # ten resamples at a time
    blocks = stratified_bootstrap(values, statistic, strata=strata, seed=5, resamples=500)
    assert (blocks.low, blocks.high) == pytest.approx((first.low, first.high), rel=1e-12)


def test_bootstrap_mean_agrees_with_its_standard_error():
    values = np.random.default_rng(3).normal(size=400)
    interval = stratified_bootstrap(values, resamples=5000)
    half = 1.96 * values.std() / math.sqrt(values.size)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.06)


def test_strata_keep_their_sizes():
    values = np.repeat([0.0, 10.0], [30, 10])
    strata = np.repeat(["easy", "hard"], [30, 10])
    assert stratified_bootstrap(values, strata=strata) == Interval(2.5, 2.5, 2.5)
    loose = stratified_bootstrap(values)
    assert loose.low < 2.0
    assert loose.high > 3.0


def test_rows_share_the_resampled_patients():
    def correlation_gap(samples, axis):
        return np.abs(samples[0] - samples[1]).max(axis=axis)

    values = np.random.default_rng(4).normal(size=30)
    assert stratified_bootstrap([values, values], correlation_gap).high == 0.0


def test_one_patient_has_no_interval():
    interval = stratified_bootstrap([2.0])
    assert interval.estimate == 2.0
    assert math.isnan(interval.low)
    assert not interval.covers(2.0)
    assert f"{interval:.1f}" == "2.0"
    assert f"{Interval(0.5, 0.25, 0.75):.2f}" == "0.50 [0.25, 0.75]"


@pytest.mark.parametrize("statistic", [np.mean, iqm])
def test_bootstrap_covers_the_truth_as_often_as_it_says(statistic):
    rng = np.random.default_rng(7)
    trials = 1500
    covered = sum(
        stratified_bootstrap(
            rng.normal(size=50), statistic, resamples=500, confidence=0.9, seed=t
        ).covers(0.0)
        for t in range(trials)
    )
    # Three standard errors are 0.023; percentile intervals lose about 0.01 at n = 50.
    assert covered / trials == pytest.approx(0.9, abs=0.035)


def test_normalised_score_covers_the_truth():
    rng = np.random.default_rng(8)
    covered = 0
    for trial in range(300):
        patient = rng.normal(scale=3.0, size=40)  # shared by the three: pairing must remove it
        value, low, high = (patient + gain + rng.normal(size=40) for gain in (1.0, 0.0, 2.0))
        covered += normalised_score(value, low, high, True, resamples=500, seed=trial).covers(0.5)
    assert covered / 300 == pytest.approx(0.95, abs=0.05)


def test_pairing_removes_what_the_patients_share():
    rng = np.random.default_rng(9)
    patient = rng.normal(scale=5.0, size=80)
    a, b = patient + 0.5 + 0.1 * rng.normal(size=80), patient + 0.1 * rng.normal(size=80)
    paired, unpaired = paired_difference(a, b), unpaired_difference(a, b)
    assert paired.estimate == pytest.approx(unpaired.estimate)
    assert paired.low > 0.4
    assert unpaired.covers(0.0)
    assert unpaired.high - unpaired.low > 20 * (paired.high - paired.low)
    reversed_ = paired_difference(a, b[::-1])  # broken pairs lose the advantage
    assert reversed_.high - reversed_.low > 10 * (paired.high - paired.low)
    assert paired_difference(a, a) == Interval(0.0, 0.0, 0.0)
    assert paired_difference(a, b, statistic=iqm).estimate == pytest.approx(iqm(a) - iqm(b))


def test_unpaired_difference_takes_groups_of_different_sizes():
    interval = unpaired_difference([1.0, 1.0, 1.0], [0.0, 0.0])
    assert interval == Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),  # Newcombe (1998), Statistics in Medicine 17, table I
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_against_published_values(successes, n, low, high):
    interval = wilson_interval(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    mirror = wilson_interval(n - successes, n)
    assert (mirror.low, mirror.high) == pytest.approx((1 - high, 1 - low), abs=1e-4)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_proportion(successes, n):
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(successes, n)


def test_normalised_score_has_its_anchors_at_0_and_1_and_is_unclipped():
    rng = np.random.default_rng(10)
    baseline = rng.normal(size=50)
    reference = baseline + 2.0 + 0.1 * rng.normal(size=50)
    assert normalised_score(baseline, baseline, reference, True) == Interval(0.0, 0.0, 0.0)
    one = normalised_score(reference, baseline, reference, True)
    assert (one.estimate, one.low, one.high) == pytest.approx((1.0, 1.0, 1.0))
    assert normalised_score(baseline + 5.0, baseline, reference, True).low > 2.0
    assert normalised_score(baseline - 1.0, baseline, reference, True).high < 0.0
    mirrored = normalised_score(-reference, -baseline, -reference, False)
    assert mirrored.estimate == pytest.approx(1.0)


def test_normalised_score_carries_the_anchors_uncertainty():
    rng = np.random.default_rng(11)
    baseline = rng.normal(size=30)
    reference = baseline + 1.0 + rng.normal(size=30)
    score = normalised_score(baseline + 0.5, baseline, reference, True)
    assert score.low < score.estimate < score.high
    assert math.isfinite(score.low)
    assert math.isfinite(score.high)


def test_normalised_score_stays_finite_just_above_the_noise():
    rng = np.random.default_rng(12)
    accepted = 0
    for trial in range(40):
        baseline = rng.normal(size=12)
        reference = baseline + 0.6 + rng.normal(size=12)
        value = baseline + rng.normal(size=12)
        try:
            score = normalised_score(value, baseline, reference, True, resamples=400, seed=trial)
        except ScaleError:
            continue
        accepted += 1
        assert math.isfinite(score.low)
        assert score.low <= score.estimate <= score.high
        assert math.isfinite(score.high)
    assert 5 < accepted < 35  # both sides of the check were reached


def test_normalised_score_refuses_a_scale_within_noise():
    rng = np.random.default_rng(13)
    baseline = rng.normal(size=40)
    with pytest.raises(ScaleError, match="within noise"):
        normalised_score(baseline, baseline, baseline + 0.01 * rng.normal(size=40), True)
    with pytest.raises(ScaleError, match="within noise"):  # no noise, but only rounding apart
        normalised_score(baseline, baseline + 0.1, baseline + 0.2 - 0.1 + 1e-16, True)
    with pytest.raises(ScaleError, match="worse than the baseline"):
        normalised_score(baseline, baseline, baseline + 1.0, False)
    with pytest.raises(ScaleError, match="too few patients"):
        normalised_score([1.0], [0.0], [2.0], True)


def test_a_hierarchical_difference_varies_with_seeds_and_patients():
    rng = np.random.default_rng(20)
    other = rng.normal(size=80)
    luck = np.array([-1.0, 0.0, 0.5, 0.9])  # of each training run
    trained = other + 0.5 + luck[:, None] + 0.1 * rng.normal(size=(4, 80))
    both = hierarchical_difference(trained, other, seed=1)
    assert both.estimate == pytest.approx(np.mean(trained - other), rel=1e-12)
    one = hierarchical_difference(trained[1], other, seed=1)
    plain = paired_difference(trained[1], other, seed=1)
    assert (one.low, one.high) == pytest.approx((plain.low, plain.high), abs=0.01)
    # The spread of training dominates that of the patients.
    assert both.high - both.low > 10.0 * (one.high - one.low)
    mixed = hierarchical_difference(trained[::-1], other, seed=1)
    assert (mixed.low, mixed.high) == (both.low, both.high)
    order = rng.permutation(80)
    mixed = hierarchical_difference(trained[:, order], other[order], seed=1)
    assert (mixed.low, mixed.high) == pytest.approx((both.low, both.high), rel=1e-12)


@pytest.mark.slow
def test_a_hierarchical_difference_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(21)
    hits = 0
    for trial in range(200):
        runs, patients = rng.normal(size=(12, 1)), rng.normal(size=(1, 40))
        values = runs + patients + 0.5 * rng.normal(size=(12, 40))
        found = hierarchical_difference(values, np.zeros(40), resamples=400, seed=trial)
        hits += found.covers(0.0)
    # Twelve draws are few for a percentile interval: a little short of 95 %.
    assert 172 <= hits <= 198


def test_misuse_of_a_hierarchical_difference_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(4,\)"):
        hierarchical_difference(np.ones((2, 3)), np.ones(4))
    with pytest.raises(ValueError, match="1 NaN"):
        hierarchical_difference([[1.0, np.nan]], [0.0, 0.0])
    assert np.isnan(hierarchical_difference([[1.0], [2.0]], [0.0]).low)


def test_a_value_that_is_not_finite_is_not_averaged_away():
    rows = [("a", seed, patient, 1.0) for seed in (0, 1) for patient in (0, 1)]
    table = pd.DataFrame(rows, columns=["agent", "training_seed", "patient", "return"])
    assert per_patient(table, ["return"])["a"]["return"].tolist() == [1.0, 1.0]
    for wrong in (np.nan, np.inf, -np.inf):
        table.loc[2, "return"] = wrong
        with pytest.raises(ValueError, match=f"return of agent 'a', patient 0, is {wrong}"):
            per_patient(table, ["return"])


def test_ends_are_the_order_statistics_just_outside_the_tails():
    values = np.random.default_rng(17).normal(size=30)
    drawn = []

    def recorded(samples, axis):
        result = np.mean(samples, axis=axis)
        drawn.append(np.atleast_1d(result))
        return result

    interval = stratified_bootstrap(values, recorded, resamples=1000, confidence=0.9)
    ordered = np.sort(np.concatenate(drawn[1:]))
    assert len(ordered) == 1000
    # 5 % of 999 steps is 49.95: rounded outwards, the 50th from either end.
    assert (interval.low, interval.high) == (ordered[49], ordered[-50])
    assert interval.estimate == drawn[0][0]


def test_every_patient_of_a_stratum_may_be_drawn():
    values = np.arange(10.0)
    strata = np.repeat([0, 1], 5)
    for half in (slice(0, 5), slice(5, 10)):  # strata stay where they are
        for function, edge in ((np.min, "low"), (np.max, "high")):

            def extreme(samples, axis, half=half, function=function):
                return function(samples[..., half], axis=axis)

            interval = stratified_bootstrap(values, extreme, strata=strata)
            assert getattr(interval, edge) == function(values[half])


def test_differences_hand_everything_on_to_the_bootstrap():
    rng = np.random.default_rng(18)
    a, b, strata = rng.normal(size=40), rng.normal(size=40), rng.integers(0, 2, size=40)
    asked = {"resamples": 300, "confidence": 0.7, "seed": 4}

    def gap(samples, axis):
        return np.mean(samples[0] - samples[1], axis=axis)

    expected = stratified_bootstrap([a, b], gap, strata=strata, **asked)
    assert paired_difference(a, b, strata=strata, **asked) == expected
    others = {"resamples": 40, "confidence": 0.9, "seed": 5, "strata": None}
    for name, value in others.items():
        assert paired_difference(a, b, **{"strata": strata, **asked, name: value}) != expected
    expected = unpaired_difference(a, b[:30], **asked)
    assert expected.estimate == pytest.approx(a.mean() - b[:30].mean())
    for name, value in asked.items():
        changed = {**asked, name: others[name]}
        assert unpaired_difference(a, b[:30], **changed) != expected, (name, value)
    low, high = b - 3.0, b + 3.0
    expected = normalised_score(a, low, high, True, strata=strata, **asked)
    for name, value in others.items():
        changed = {"strata": strata, **asked, name: value}
        assert normalised_score(a, low, high, True, **changed) != expected


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_wilson_equals_scipy_at_any_confidence(confidence):
    from scipy.stats import binomtest

    for successes, n in ((3, 17), (90, 100), (0, 5), (5, 5)):
        interval = wilson_interval(successes, n, confidence)
        expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
        assert interval.estimate == successes / n
        assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=1e-12)
