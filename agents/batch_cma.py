"""CMA-ES for many searches at once, each with a distribution of its own.

Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772, with the Cholesky factor of the
covariance in place of its symmetric root. All searches take their generations together, so that
what they ask for can be simulated in one batch; none depends on another.
"""

from __future__ import annotations

import numpy as np

from oncogym.envs.therapy import Floats

# The first generation moves by 1 to this share of the spread: nobody knows the scale that matters.
_SMALLEST = 0.03
_LEAST_SPREAD = 1e-6


class BatchCMA:
    """Searches for the largest score near the origin, one for each row of a batch.

    Args:
        searches: Number of searches.
        dimension: Number of variables.
        spread: Standard deviation of the largest moves of the first generation.
        plans: Moves of a generation, at least 4.
    """

    def __init__(self, searches: int, dimension: int, spread: float, plans: int) -> None:
        self.dimension, self.plans = dimension, plans
        kept = plans // 2
        weights = np.log(0.5 * (plans + 1)) - np.log(np.arange(1, kept + 1))
        self._weights = weights / weights.sum()
        mass = 1.0 / np.square(self._weights).sum()
        size = float(dimension)
        self._mass = mass
        self._path_rate = (mass + 2.0) / (size + mass + 5.0)
        self._damping = (
            1.0 + 2.0 * max(0.0, np.sqrt((mass - 1.0) / (size + 1.0)) - 1.0) + self._path_rate
        )
        self._shape_rate = (4.0 + mass / size) / (size + 4.0 + 2.0 * mass / size)
        self._one = 2.0 / ((size + 1.3) ** 2 + mass)
        self._many = min(
            1.0 - self._one, 2.0 * (mass - 2.0 + 1.0 / mass) / ((size + 2.0) ** 2 + mass)
        )
        self._length = np.sqrt(size) * (1.0 - 0.25 / size + 1.0 / (21.0 * size**2))
        self._mean = np.zeros((searches, 1, dimension))
        self._spread = np.full((searches, 1, 1), spread)
        self._covariance = np.tile(np.eye(dimension), (searches, 1, 1))
        self._root = self._covariance.copy()
        self._step = np.zeros((searches, dimension))
        self._shape = np.zeros((searches, dimension))
        self._scales = spread * np.geomspace(1.0, _SMALLEST, plans)[None, :, None]
        self._number = 0
        self._drawn = np.zeros((searches, plans, dimension))

    def ask(self, normals: Floats) -> Floats:
        """Moves ``(searches, plans, dimension)`` from normal draws of the same shape."""
        self._drawn = normals
        if self._number == 0:
            return self._scales * normals
        turned = (self._root[:, None] * normals[:, :, None]).sum(axis=3)
        return self._mean + self._spread * turned

    def tell(self, moves: Floats, scores: Floats) -> None:
        """Learn from the scores ``(searches, plans)`` of the moves, the larger the better."""
        order = np.argsort(-scores, axis=1, kind="stable")[:, : len(self._weights)]
        weights = self._weights[None, :, None]
        best = np.take_along_axis(moves, order[:, :, None], axis=1)
        middle = (weights * best).sum(axis=1, keepdims=True)
        self._number += 1
        if self._number == 1:
            # On the scale of what proved good.
            logs = np.log(self._scales[0, :, 0])[order]
            self._spread = np.exp((self._weights * logs).sum(axis=1))[:, None, None]
            self._mean = middle
            return
        normal = np.take_along_axis(self._drawn, order[:, :, None], axis=1)
        step = (weights * normal).sum(axis=1)
        turned = (best - self._mean) / self._spread
        towards = ((middle - self._mean) / self._spread)[:, 0]
        rate = self._path_rate
        self._step = (1.0 - rate) * self._step + np.sqrt(rate * (2.0 - rate) * self._mass) * step
        length = np.sqrt(np.square(self._step).sum(axis=1))
        settled = length / np.sqrt(1.0 - (1.0 - rate) ** (2 * (self._number - 1)))
        quiet = settled < (1.4 + 2.0 / (self.dimension + 1.0)) * self._length
        rate = self._shape_rate
        self._shape = (1.0 - rate) * self._shape + quiet[:, None] * (
            np.sqrt(rate * (2.0 - rate) * self._mass) * towards
        )
        lost = np.where(quiet, 0.0, self._one * rate * (2.0 - rate))[:, None, None]
        spread_of_best = (
            self._weights[None, :, None, None] * turned[:, :, :, None] * turned[:, :, None, :]
        ).sum(axis=1)
        self._covariance = (
            (1.0 - self._one - self._many + lost) * self._covariance
            + self._one * self._shape[:, :, None] * self._shape[:, None, :]
            + self._many * spread_of_best
        )
        covariance = self._covariance + 1e-12 * np.eye(self.dimension)
        self._root = np.asarray(np.linalg.cholesky(covariance), np.float64)
        self._mean = middle
        growth = np.exp(self._path_rate / self._damping * (length / self._length - 1.0))
        self._spread = np.maximum(self._spread * growth[:, None, None], _LEAST_SPREAD)
