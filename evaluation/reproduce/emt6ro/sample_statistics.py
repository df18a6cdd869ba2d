"""Statistics of the EMT6/Ro source: equality of two samples of outcomes, normality, densities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from oncogym.core.arrays import Floats
from oncogym.envs.emt6ro_fractionation import Protocol
from oncogym.evaluation.statistics import Interval


@dataclass(frozen=True, eq=False)
class Equality:
    """Two samples of outcomes of the same protocols, compared.

    Attributes:
        t_p: ``(protocols,)`` p-values of Welch's test of equal means, two-sided.
        ks_p: ``(protocols,)`` p-values of the two-sample Kolmogorov-Smirnov test.
        bias: Mean over the protocols of the difference of means, first minus second, with its 95 %
            interval from the variance within protocols.
        sd_ratio: Ratio of standard deviations, first to second, geometric mean over the protocols
            with Student's 95 % interval.
        correlation: Of the means.
        uniformity: Largest distance of the distribution of ``ks_p`` from the uniform one that they
            have for equal laws, and its p-value. For equal numbers of runs, ties and the steps of
            the p-values are first resolved at random.
    """

    t_p: Floats
    ks_p: Floats
    bias: Interval
    sd_ratio: Interval
    correlation: float
    uniformity: tuple[float, float]

    @property
    def bias_error(self) -> float:
        """Standard error of the bias."""
        return (self.bias.high - self.bias.low) / (2.0 * stats.norm.ppf(0.975))


def equality(sites_a: ArrayLike, sites_b: ArrayLike) -> Equality:
    """Compare outcomes ``(protocols, runs)`` of two programs; numbers of runs may differ.

    Raises:
        ValueError: Shapes do not fit, values are not finite, there are fewer than two runs, or all
            runs of a protocol are alike.
    """
    a, b = np.asarray(sites_a, np.float64), np.asarray(sites_b, np.float64)
    for name, x in (("first", a), ("second", b)):
        if x.ndim != 2 or x.shape[1] < 2 or len(x) < 1:
            raise ValueError(
                f"the {name} sample has shape {x.shape}; allowed: (protocols, 2+ runs)"
            )
        if not np.isfinite(x).all():
            raise ValueError(f"the {name} sample has values that are not finite")
    if len(a) != len(b):
        raise ValueError(f"{len(a)} protocols in the first sample, {len(b)} in the second")
    var_a, var_b = a.var(axis=1, ddof=1), b.var(axis=1, ddof=1)
    if min(var_a.min(), var_b.min()) == 0.0:
        raise ValueError("all runs of a protocol are alike: nothing to compare them by")
    difference = a.mean(axis=1) - b.mean(axis=1)
    squared = var_a / a.shape[1] + var_b / b.shape[1]
    error = math.sqrt(squared.sum()) / len(a)
    if a.shape[1] == b.shape[1]:
        ks_p, smooth = _ks_exact(a, b), _spread(a, b)
    else:
        ks_p = np.array([stats.ks_2samp(x, y).pvalue for x, y in zip(a, b, strict=True)])
        smooth = ks_p
    flat = stats.kstest(smooth, "uniform")
    return Equality(
        np.asarray(stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue),
        ks_p,
        normal_interval(float(difference.mean()), error),
        _mean_ratio(0.5 * np.log(var_a / var_b)),
        correlation(a.mean(axis=1), b.mean(axis=1)),
        (float(flat.statistic), float(flat.pvalue)),
    )


@dataclass(frozen=True, eq=False)
class Course:
    """A mean course over runs on several tumours.

    Attributes:
        sites: ``(hours,)`` mean sites; ``sites_error`` its standard error, ``sites_sd`` the
            standard deviation of runs.
        shares: ``(hours, parts)`` shares of the sites, all runs together; ``shares_error`` their
            standard errors.
        burden: Sites averaged over the hours; ``burden_error`` its standard error.
    """

    sites: Floats
    sites_error: Floats
    sites_sd: Floats
    shares: Floats
    shares_error: Floats
    burden: float
    burden_error: float


def mean_course(values: ArrayLike) -> Course:
    """Mean course of sites and of the parts they are counted in.

    The tumours are given, so that errors come from the variance of runs within them.

    Args:
        values: ``(tumours, runs, hours, 1 + parts)``: sites, then the numbers in each part.

    Raises:
        ValueError: The shape is another, or there are fewer than two runs of a tumour.
    """
    x = np.asarray(values, np.float64)
    if x.ndim != 4 or x.shape[1] < 2:
        raise ValueError(f"courses of shape {x.shape}; allowed: (tumours, 2+ runs, hours, columns)")
    sites, parts = x[..., 0], x[..., 1:]
    mean = sites.mean(axis=(0, 1))
    # Of a ratio of means: the scatter of what is left of each part, relative to the mean sites.
    whole = np.maximum(mean, 1.0)[:, None]
    shares = parts.mean(axis=(0, 1)) / whole
    burden = sites.mean(axis=2)
    return Course(
        mean,
        _error_within(sites),
        sites.reshape(-1, x.shape[2]).std(axis=0, ddof=1),
        shares,
        _error_within(parts - shares * sites[..., None]) / whole,
        float(burden.mean()),
        float(_error_within(burden)),
    )


def _error_within(values: Floats) -> Floats:
    """Standard error of the mean over tumours and runs ``(tumours, runs, …)``, tumours fixed."""
    tumours, runs = values.shape[:2]
    return np.asarray(np.sqrt(values.var(axis=1, ddof=1).mean(axis=0) / (tumours * runs)))


def _ks_exact(a: Floats, b: Floats) -> Floats:
    """Exact p-values of the two-sample KS tests of ``(protocols, runs)``.

    SciPy's fall back to the asymptotic law, with a warning, where their arithmetic fails.
    """
    found = np.empty(len(a))
    for number, (x, y) in enumerate(zip(np.sort(a), np.sort(b), strict=True)):
        both = np.concatenate((x, y))
        apart = np.searchsorted(x, both, "right") - np.searchsorted(y, both, "right")
        found[number] = _ks_tail(int(np.abs(apart).max()), a.shape[1])
    return found


def _spread(a: Floats, b: Floats) -> Floats:
    """p-values of the two-sample KS tests of ``(protocols, runs)``, uniform for equal laws.

    Two things keep those of the ordinary test from it: equal outcomes, whose order is drawn here,
    and the few steps of the statistic, a multiple of 1/runs; the p-value is drawn between the
    chances of more than it and of at least it.
    """
    rng = np.random.default_rng(0)
    runs = a.shape[1]
    found = np.empty(len(a))
    for number, both in enumerate(np.concatenate((a, b), axis=1)):
        order = np.lexsort((rng.random(2 * runs), both))
        step = int(np.abs(np.cumsum(np.where(order < runs, 1, -1))).max())
        more = _ks_tail(step + 1, runs)
        found[number] = more + rng.random() * (_ks_tail(step, runs) - more)
    return found


def _ks_tail(step: int, runs: int) -> float:
    """Chance of a two-sample KS statistic of at least ``step / runs`` for equal laws.

    The reflection principle for lattice paths (Gnedenko and Korolyuk, 1951).
    """
    if step <= 0:
        return 1.0
    terms = [
        (-1) ** (fold + 1) * math.comb(2 * runs, runs - fold * step)
        for fold in range(1, runs // step + 1)
    ]
    return 2 * sum(terms) / math.comb(2 * runs, runs)


def normal_interval(estimate: float, error: float) -> Interval:
    """An estimate with its 95 % interval from a standard error."""
    half = stats.norm.ppf(0.975) * error
    return Interval(estimate, estimate - half, estimate + half)


def _mean_ratio(logs: Floats) -> Interval:
    mean = float(logs.mean())
    if len(logs) < 2:
        return Interval(math.exp(mean), math.nan, math.nan)
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    return Interval(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def correlation(x: Floats, y: Floats) -> float:
    """Pearson's correlation; NaN for fewer than two points."""
    return float(np.corrcoef(x, y)[0, 1]) if len(x) > 1 else math.nan


@dataclass(frozen=True)
class Line:
    """A weighted regression line: slope, its standard error, and the pooled mean difference."""

    slope: float
    slope_error: float
    offset: float
    offset_error: float


def weighted_line(x: ArrayLike, y: ArrayLike, errors: ArrayLike) -> Line:
    """Regression of ``y`` on ``x``, and the mean of ``y - x``, weighted by ``1/errors**2``.

    Args:
        x, y: ``(n,)``, n at least 3.
        errors: ``(n,)`` standard errors of ``y - x``, above 0.

    Raises:
        ValueError: There are fewer than three points or an error is not above 0.
    """
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    error = np.asarray(errors, np.float64)
    if len(first) < 3 or not (error > 0.0).all():
        raise ValueError("a line needs three points and standard errors above 0")
    weight = error**-2.0
    centred = first - np.average(first, weights=weight)
    spread = float((weight * centred**2).sum())
    return Line(
        float((weight * centred * second).sum()) / spread,
        spread**-0.5,
        float(np.average(second - first, weights=weight)),
        float(weight.sum()) ** -0.5,
    )


def normality(values: ArrayLike) -> float:
    """p-value of the Kolmogorov-Smirnov test against the normal law of the sample's own moments.

    As the source does it; that the moments come from the sample makes the test lenient.

    Raises:
        ValueError: There are fewer than three values, or all are alike.
    """
    x = np.asarray(values, np.float64).ravel()
    if x.size < 3 or x.std() == 0.0:
        raise ValueError("a test of normality needs three values that differ")
    return float(stats.kstest(x, "norm", (x.mean(), x.std(ddof=1))).pvalue)


def sub_modules(protocols: Sequence[Protocol]) -> Floats:
    """Pairs of dose [Gy] and wait before it [h] of all protocols, ``(2, doses)``."""
    pairs = []
    for protocol in protocols:
        before = 0.0
        for hours, dose in protocol.times:
            pairs.append((dose, hours - before))
            before = hours
    return np.array(pairs, np.float64).reshape(-1, 2).T


@dataclass(frozen=True, eq=False)
class Density:
    """Kernel density of sub-modules on a grid: values ``(doses, waits)`` per Gy and h, its peak."""

    doses: Floats
    waits: Floats
    values: Floats

    @property
    def peak(self) -> tuple[float, float]:
        """Dose [Gy] and wait [h] where the density is largest."""
        row, column = np.unravel_index(int(self.values.argmax()), self.values.shape)
        return float(self.doses[row]), float(self.waits[column])


def density(pairs: Floats, doses: ArrayLike, waits: ArrayLike) -> Density:
    """Gaussian kernel density with Scott's bandwidth of pairs ``(2, n)`` at these grid points.

    Args:
        pairs: Doses and waits ``(2, n)``, n >= 3.
        doses, waits: Points of the grid along each axis.

    Raises:
        ValueError: There are fewer than three pairs, or they lie on one line.
    """
    if pairs.shape[1] < 3:
        raise ValueError(f"a density needs at least 3 pairs, got {pairs.shape[1]}")
    rows, columns = np.asarray(doses, np.float64), np.asarray(waits, np.float64)
    grid = np.stack([part.ravel() for part in np.meshgrid(rows, columns, indexing="ij")])
    try:
        values = stats.gaussian_kde(pairs)(grid).reshape(len(rows), len(columns))
    except np.linalg.LinAlgError:
        raise ValueError("a density needs pairs that do not lie on one line") from None
    return Density(rows, columns, values)


def random_protocols(
    count: int, seed: int, total: float = 8.75, largest: float = 6.0, hours: float = 120.0
) -> list[Protocol]:
    """Random protocols like the source's: doses in quarters of a gray, times in half hours.

    Doses are drawn uniformly up to what is left of the total, and times uniformly from those not
    yet taken.

    Args:
        count: Number of protocols, at least 1.
        seed: Fixes them; the first ones do not depend on ``count``.
        total: Total dose of each [Gy], in quarters; the source's public list has 8.75 Gy.
        largest: Largest dose [Gy], in quarters.
        hours: Span of treatment [h], in half hours.

    Raises:
        ValueError: A number is out of range or off its grid, or the span has too few slots.
    """
    portions, most, slots = (
        _whole(name, value, unit)
        for name, value, unit in (
            ("total", total, 0.25), ("largest", largest, 0.25), ("hours", hours, 0.5),
        )
    )  # fmt: skip
    if count < 1 or slots < portions:
        raise ValueError(f"{count} protocols of {total:g} Gy in {hours:g} h; allowed: at least 1, "
                         "and a slot of half an hour for each quarter of a gray")  # fmt: skip
    found = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        table = np.zeros(slots)
        left = portions
        while left:
            slot = int(rng.integers(slots))
            if table[slot] == 0.0:
                portion = int(rng.integers(1, min(most, left) + 1))
                table[slot] = 0.25 * portion
                left -= portion
        found.append(Protocol.from_slots(table, f"R{number:02d}"))
    return found


def _whole(name: str, value: float, unit: float) -> int:
    count = round(value / unit) if math.isfinite(value) else 0
    if count < 1 or abs(count * unit - value) > 1e-9:
        raise ValueError(f"{name} is {value:g}; allowed: multiples of {unit:g} above 0")
    return count
