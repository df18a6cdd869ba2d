"""Robust summaries of one number per patient, and honest intervals around them.

Patients are always on the last axis. A *statistic* here is any function called as
``statistic(values, axis=-1)`` that reduces that axis: ``np.mean``, :func:`iqm`,
``functools.partial(worst_decile, higher_is_better=True)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncogym.evaluation.numbers import decimals_of, show_interval, show_number

__all__ = [
    "Interval",
    "ScaleError",
    "hierarchical_difference",
    "iqm",
    "normalised_score",
    "paired_difference",
    "show_column",
    "stratified_bootstrap",
    "unpaired_difference",
    "wilson_interval",
    "worst_decile",
]

Statistic = Callable[..., NDArray[np.float64]]

# Elements of one block of resamples: 8 MiB per temporary array, whatever the cohort's size.
_BLOCK = 2**20


class ScaleError(ValueError):
    """The two anchors of a normalised score do not define a scale; the message says why."""


@dataclass(frozen=True)
class Interval:
    """A point estimate with the ends of its interval, in the unit of the estimate.

    `low` and `high` are NaN where the data cannot tell (fewer than two patients to resample).
    """

    estimate: float
    low: float
    high: float

    def covers(self, value: float) -> bool:
        """Whether `value` lies inside the closed interval; False where the ends are NaN."""
        return self.low <= value <= self.high

    def __format__(self, spec: str) -> str:
        """``estimate [low, high]``, for people unless ``spec`` says how to format each number."""
        if not spec:
            return show_interval(self.estimate, self.low, self.high)
        if math.isnan(self.low) or math.isnan(self.high):
            return f"{self.estimate:{spec}}"
        return f"{self.estimate:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def show_column(values: Sequence[object], significant: int = 4) -> list[str]:
    """The cells of a table's column for people, its numbers and intervals with the same decimals.

    Whole numbers and texts are shown as they are.

    Args:
        values: The cells.
        significant: Digits that the largest number has, as far as it has that many.
    """
    estimates = [v.estimate if isinstance(v, Interval) else v for v in values]
    digits = decimals_of(*(v for v in estimates if isinstance(v, float)), significant=significant)

    def show(value: object) -> str:
        if isinstance(value, Interval):
            return show_interval(value.estimate, value.low, value.high, digits)
        if value is None or isinstance(value, float):
            return show_number(value, digits)
        return str(value)

    return [show(value) for value in values]


def _finite(values: ArrayLike, name: str = "values") -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{name} must hold at least one patient, got shape {array.shape}")
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        nans = int(np.isnan(array).sum())
        raise ValueError(f"{name}: {nans} NaN and {bad - nans} infinite among {array.size} values")
    return array


def _sorted_mean(
    values: NDArray[np.float64], axis: int, first: float, last: float
) -> NDArray[np.float64]:
    """Mean of the sorted values between the fractional ranks `first` and `last` (0 to 1)."""
    n = values.shape[axis]
    ranks = np.arange(n)
    # Patient i covers the ranks [i, i + 1]; its weight is what the window takes of that.
    weights = np.clip(np.minimum(ranks + 1, last * n) - np.maximum(ranks, first * n), 0.0, None)
    ordered = np.moveaxis(np.sort(values, axis=axis), axis, -1)
    return np.asarray(ordered @ (weights / weights.sum()))


def iqm(values: ArrayLike, axis: int = -1) -> NDArray[np.float64]:
    """Interquartile mean: the mean of the middle half, exact for every number of patients.

    A patient on a quartile's edge counts with the fraction of it that lies inside, so that
    exactly n / 2 patients' worth of weight is averaged. Returns `values` with `axis` reduced.

    Raises:
        ValueError: nothing to average, or values that are not finite (it says how many).
    """
    return _sorted_mean(_finite(values), axis, 0.25, 0.75)


def worst_decile(values: ArrayLike, higher_is_better: bool, axis: int = -1) -> NDArray[np.float64]:
    """Mean of the worst tenth of the patients, with a fractional weight at its edge.

    With ten patients or fewer this is the single worst one. Returns `values` with `axis` reduced.

    Args:
        values: One number a patient along ``axis``.
        higher_is_better: Direction of the numbers.
        axis: Axis of the patients.

    Raises:
        ValueError: nothing to average, or values that are not finite (it says how many).
    """
    first, last = (0.0, 0.1) if higher_is_better else (0.9, 1.0)
    return _sorted_mean(_finite(values), axis, first, last)


def stratified_bootstrap(
    values: ArrayLike,
    statistic: Statistic = np.mean,
    *,
    strata: ArrayLike | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a statistic over patients.

    Args:
        values: shape (n,), one number per patient; or (k, n), k numbers of the same n patients,
            which are then resampled together (agents compared on the same patients, or one
            agent trained from k seeds).
        statistic: called as ``statistic(samples, axis=-1)`` with samples of shape (n,) or (k, n)
            for the estimate and (m, n) or (k, m, n) for m resamples; must return a scalar and
            (m,) respectively.
        strata: shape (n,), a label per patient (task, site, ...). Each resample keeps every
            stratum's size. A stratum of one patient never varies.
        resamples: how many resampled cohorts.
        confidence: share of the resampled statistics between the two ends, in (0, 1).
        seed: fixes the result entirely; the order of the patients does not matter.

    The ends are order statistics rounded outwards, so that no interpolation shortens them. As
    every percentile interval, it is somewhat too short for fewer than about twenty patients.

    Raises:
        ValueError: values that are not finite (it says how many), shapes that do not fit.
    """
    data = _finite(values)
    if data.ndim > 2:
        raise ValueError(f"values must have shape (n,) or (k, n), got {data.shape}")
    _check_resampling(resamples, confidence)
    n = data.shape[-1]
    labels = np.zeros(n, dtype=np.intp) if strata is None else np.asarray(strata)
    if labels.shape != (n,):
        raise ValueError(f"strata must have shape ({n},), one per patient, got {labels.shape}")
    codes = np.unique(labels, return_inverse=True)[1]
    # A canonical order of the patients makes the result independent of the order of the rows.
    order = np.lexsort((*np.atleast_2d(data), codes))
    data, codes = data[..., order], codes[order]
    sizes = np.bincount(codes)
    size, start = sizes[codes], (np.cumsum(sizes) - sizes)[codes]

    estimate = float(_reduced(statistic(data, axis=-1), ()))
    if sizes.max() < 2:
        return Interval(estimate, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // data.size)
    draws = np.empty(resamples)
    for begin in range(0, resamples, block):
        m = min(block, resamples - begin)
        # One uniform number per patient and resample, so that blocks do not change the stream.
        index = start + (rng.random((m, n)) * size).astype(np.intp)
        draws[begin : begin + m] = _reduced(statistic(data[..., index], axis=-1), (m,))
    return _percentile_interval(estimate, draws, confidence)


def _check_resampling(resamples: int, confidence: float) -> None:
    if resamples < 1 or not 0.0 < confidence < 1.0:
        raise ValueError(f"need resamples >= 1 and 0 < confidence < 1: {resamples}, {confidence}")


def _percentile_interval(
    estimate: float, draws: NDArray[np.float64], confidence: float
) -> Interval:
    """An estimate with the order statistics of its resamples ``(m,)``, rounded outwards."""
    ordered = np.sort(draws)
    tail = math.floor((1.0 - confidence) / 2.0 * (len(ordered) - 1))
    return Interval(estimate, float(ordered[tail]), float(ordered[len(ordered) - 1 - tail]))


def _reduced(result: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(result, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"the statistic must return shape {shape}, it returned {array.shape}")
    return array


def _patients(arrays: Sequence[ArrayLike], names: Sequence[str]) -> NDArray[np.float64]:
    """Stack (k, n) of paired one-dimensional arrays; ValueError where they do not pair up."""
    checked = [_finite(array, name) for array, name in zip(arrays, names, strict=True)]
    if checked[0].ndim != 1 or any(array.shape != checked[0].shape for array in checked):
        shapes = ", ".join(f"{n} {a.shape}" for n, a in zip(names, checked, strict=True))
        raise ValueError(f"paired values must share one shape (n,), got {shapes}")
    return np.stack(checked)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    statistic: Statistic = np.mean,
    strata: ArrayLike | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of ``statistic(a) - statistic(b)``; by default the mean difference a - b.

    `a` and `b`, both shape (n,), belong to the same patients in the same order: a resample takes
    both numbers of a patient. Other arguments and errors as in :func:`stratified_bootstrap`.

    Args:
        a, b: Shape (n,), one number a patient.
        statistic, strata, resamples, confidence, seed: As in :func:`stratified_bootstrap`.
    """

    def difference(samples: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        if statistic is np.mean:  # one reduction, and exactly 0 for identical columns
            return np.asarray(np.mean(samples[0] - samples[1], axis=axis))
        return statistic(samples[0], axis=axis) - statistic(samples[1], axis=axis)

    return stratified_bootstrap(
        _patients((a, b), ("a", "b")), difference,
        strata=strata, resamples=resamples, confidence=confidence, seed=seed,
    )  # fmt: skip


def hierarchical_difference(
    trained: ArrayLike,
    other: ArrayLike,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean of what several training seeds reach minus what another agent does, patient by patient.

    `trained` has shape (k, n), a row for each training seed, and `other` (n,), of the same patients
    in the same order. A resample draws training seeds and patients, each with replacement and
    crossed: another training run might have come out otherwise, and so might other patients. With
    one seed only the patients vary, and the interval says nothing of training.

    Args:
        trained: Shape (k, n).
        other: Shape (n,).
        resamples, confidence, seed: As in :func:`stratified_bootstrap`.

    Raises:
        ValueError: values that are not finite (it says how many), shapes that do not fit.
    """
    ours, theirs = np.atleast_2d(_finite(trained, "trained")), _finite(other, "other")
    if ours.ndim != 2 or theirs.shape != ours.shape[-1:]:
        raise ValueError(
            f"trained must have shape (k, n) and other (n,), got {np.shape(trained)} and "
            f"{np.shape(other)}"
        )
    _check_resampling(resamples, confidence)
    gains = ours - theirs
    seeds, patients = gains.shape
    # A canonical order makes the result independent of the order of the rows.
    gains = gains[np.lexsort(gains.T[::-1])]
    gains = gains[:, np.lexsort(gains)]
    estimate = float(gains.mean())
    if patients < 2:
        return Interval(estimate, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    draws = np.empty(resamples)
    for number in range(resamples):
        rows = np.bincount(rng.integers(0, seeds, seeds), minlength=seeds) / seeds
        columns = np.bincount(rng.integers(0, patients, patients), minlength=patients) / patients
        draws[number] = rows @ gains @ columns
    return _percentile_interval(estimate, draws, confidence)


def unpaired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    statistic: Statistic = np.mean,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of ``statistic(a) - statistic(b)`` for two different groups of patients.

    `a` has shape (n,) and `b` (m,); each group is resampled on its own.

    Args:
        a: Shape (n,).
        b: Shape (m,).
        statistic, resamples, confidence, seed: As in :func:`stratified_bootstrap`.
    """
    first, second = _finite(a, "a"), _finite(b, "b")
    n = first.size
    group = np.repeat([0, 1], [n, second.size])  # strata keep `a` in front

    def difference(samples: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return statistic(samples[..., :n], axis=axis) - statistic(samples[..., n:], axis=axis)

    return stratified_bootstrap(
        np.concatenate((first, second)), difference,
        strata=group, resamples=resamples, confidence=confidence, seed=seed,
    )  # fmt: skip


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval (no continuity correction) of a proportion, in [0, 1].

    ``successes`` need not be whole: a trial may count with the share of its repetitions.

    Args:
        successes: How many succeeded, between 0 and ``n``.
        n: How many there are, at least 1.
        confidence: Level of the interval, in (0, 1).

    Raises:
        ValueError: unless ``0 <= successes <= n``, ``n >= 1`` and ``0 < confidence < 1``.
    """
    if n < 1 or not 0 <= successes <= n or not 0.0 < confidence < 1.0:
        raise ValueError(f"need 0 <= successes <= n and n >= 1: {successes} of {n}, {confidence}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1.0 - share) / n + (z / (2 * n)) ** 2)
    scale = 1.0 + z * z / n
    # The formula reaches 0 and 1 exactly; rounding would miss them by an ulp.
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == n else (centre + spread) / scale
    return Interval(share, low, high)


def normalised_score(
    values: ArrayLike,
    baseline_values: ArrayLike,
    reference_values: ArrayLike,
    higher_is_better: bool,
    *,
    statistic: Statistic = np.mean,
    strata: ArrayLike | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Score on the scale baseline (clinical protocol) = 0, reference (optimiser) = 1; unclipped.

    The three arrays, shape (n,), belong to the same patients in the same order. Every resample
    takes all three numbers of a patient, so the interval holds the anchors' uncertainty too.

    Args:
        values: The agent's numbers, shape (n,).
        baseline_values: Those that mean 0, shape (n,).
        reference_values: Those that mean 1, shape (n,).
        higher_is_better: Direction of the numbers.
        statistic, strata, resamples, confidence, seed: As in :func:`stratified_bootstrap`.

    Raises:
        ScaleError: the reference is not better than the baseline beyond noise: the paired
            interval of its gain, at the same confidence, reaches 0 or lies on the wrong side.
        ValueError: values that are not finite (it says how many), shapes that do not fit.
    """
    stack = _patients(
        (values, baseline_values, reference_values),
        ("values", "baseline_values", "reference_values"),
    )
    sign = 1.0 if higher_is_better else -1.0

    def gain(samples: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return sign * (statistic(samples[2], axis=axis) - statistic(samples[1], axis=axis))

    def score(samples: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        above = sign * (statistic(samples[0], axis=axis) - statistic(samples[1], axis=axis))
        scale = gain(samples, axis)
        # A resample whose anchors swap puts the score beyond any bound. The check below leaves
        # fewer of those than either tail holds, so the ends stay finite.
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.where(above == 0.0, 0.0, np.copysign(np.inf, above))
            return np.where(scale > 0.0, above / scale, far)

    bootstrap = partial(
        stratified_bootstrap,
        stack, strata=strata, resamples=resamples, confidence=confidence, seed=seed,
    )  # fmt: skip
    margin = bootstrap(gain)  # the same resamples as the score's
    rounding = 1e-12 * float(np.abs(stack[1:]).max())
    if math.isnan(margin.low):
        raise ScaleError("too few patients to tell whether the anchors differ beyond noise")
    if margin.high < -rounding:
        raise ScaleError(f"the reference is worse than the baseline: gain {margin}")
    if margin.low <= rounding:
        raise ScaleError(f"reference and baseline are within noise of each other: gain {margin}")
    return bootstrap(score)
