"""Learning curves of several seeds: their mean and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class Band:
    """Mean of several curves and Student's 95 % interval for it.

    Attributes:
        x: Places ``(n,)`` within the range of all curves.
        curves: Every curve at those places ``(curves, n)``.
        mean: ``(n,)``.
        low, high: Ends of the interval ``(n,)``; NaN for a single curve.
    """

    x: NDArray[np.float64]
    curves: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def mean_interval(curves: Sequence[NDArray[np.float64]]) -> Band:
    """The band of curves ``(points, 2)`` in rising order; between its own points a curve is linear.

    Raises:
        ValueError: There is no curve, or no place that all of them reach.
    """
    if not len(curves):
        raise ValueError("a band needs at least one curve")
    low = max(curve[0, 0] for curve in curves)
    high = min(curve[-1, 0] for curve in curves)
    x = np.unique(np.concatenate([curve[:, 0] for curve in curves]))
    x = x[(x >= low) & (x <= high)]
    if not len(x):
        raise ValueError("there is no place that all curves reach")
    values = np.array([np.interp(x, curve[:, 0], curve[:, 1]) for curve in curves])
    mean = values.mean(axis=0)
    count = len(values)
    half = np.full(len(x), np.nan)
    if count > 1:
        half = stats.t.ppf(0.975, count - 1) * values.std(axis=0, ddof=1) / np.sqrt(count)
    return Band(x, values, mean, mean - half, mean + half)
