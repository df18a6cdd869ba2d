"""Selection operators: who becomes a parent.

Each takes scores ``(population,)``, higher is better, and returns ``count`` indices, in which an
individual may come more than once (except in :func:`simple`). Source: the genetic algorithm of the
EMT6/Ro fractionation study.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.therapy import Floats

Indices = NDArray[np.intp]


def simple(scores: Floats, count: int) -> Indices:
    """The ``count`` best, best first; of equal ones the first."""
    return np.argsort(-scores, kind="stable")[:count]


def roulette(
    scores: Floats, count: int, rng: np.random.Generator, dispersion: bool = False
) -> Indices:
    """Independent draws with probability proportional to the score.

    Args:
        scores: Scores ``(population,)``.
        count: Draws.
        rng: Source of chance.
        dispersion: Raise the pressure where scores are large and alike: see :func:`shares`.
    """
    return rng.choice(len(scores), size=count, p=shares(scores, dispersion))


def shares(scores: Floats, dispersion: bool = False) -> Floats:
    """Probability ``(population,)`` of each individual in a roulette.

    With ``dispersion`` the score ``f`` counts as
    ``f - min(f) * (1 - (max(f) - min(f)) / mean(f))``, which leaves little but the differences.
    The study's scores were always positive. Where one is negative, which has no meaning as a share,
    all are shifted so that the worst has none; where all shares vanish, everyone has the same.
    """
    weights = scores
    if dispersion and scores.mean() != 0.0:
        spread = (scores.max() - scores.min()) / scores.mean()
        weights = scores - scores.min() * (1.0 - spread)
    if weights.min() < 0.0:
        weights = weights - weights.min()
    total = weights.sum()
    if total <= 0.0:
        return np.full(len(weights), 1.0 / len(weights))
    return weights / total


def tournament(
    scores: Floats, count: int, rng: np.random.Generator, pressure: float = 0.9
) -> Indices:
    """Classic tournament: small random groups, in which rank decides the chance.

    For each parent ``k = round(population / count)`` individuals are drawn with replacement; rank
    ``j`` of them, 0 the best, wins with probability proportional to
    ``pressure * (1 - pressure)**j``.

    Args:
        scores: Scores of the population ``(individuals,)``, higher is better.
        count: Number of parents.
        rng: Source of chance.
        pressure: Chance of the best of a group, in (0, 1).
    """
    group = group_size(len(scores), count)
    drawn = rng.integers(len(scores), size=(count, group))
    ranked = np.take_along_axis(drawn, np.argsort(-scores[drawn], axis=1, kind="stable"), axis=1)
    chances = (1.0 - pressure) ** np.arange(group)
    winner = rng.choice(group, size=count, p=chances / chances.sum())
    return ranked[np.arange(count), winner]


def tuned_tournament(
    scores: Floats,
    count: int,
    rng: np.random.Generator,
    pressure: float = 0.9,
    dispersion: bool = False,
) -> Indices:
    """Tournament of the study's tuned variant: mostly a roulette.

    The best of a group as in :func:`tournament` becomes parent ``i`` with probability
    ``pressure * (1 - pressure)**i``; otherwise one :func:`roulette` draw does.

    Args:
        scores: Scores of the population ``(individuals,)``, higher is better.
        count: Number of parents.
        rng: Source of chance.
        pressure: Chance of the best of the first group, in (0, 1).
        dispersion: As of :func:`roulette`.
    """
    drawn = rng.integers(len(scores), size=(count, group_size(len(scores), count)))
    best = drawn[np.arange(count), np.argmax(scores[drawn], axis=1)]
    keep = rng.random(count) < pressure * (1.0 - pressure) ** np.arange(count)
    return np.where(keep, best, roulette(scores, count, rng, dispersion))


def group_size(population: int, count: int) -> int:
    """Individuals in a tournament: the rounded ratio (halves to even), at least one."""
    return max(1, round(population / count))
