"""Groups of spots for environments that weigh fewer numbers than a matrix has columns."""

from __future__ import annotations

import numpy as np
import scipy

from oncogym.core.arrays import Floats, Ints
from oncogym.envs.impt_beam_weighting.planning.influence import DoseInfluence
from oncogym.envs.impt_beam_weighting.planning.phantom import grid_points

# Rounds of k-means; hundreds of spots settle in some ten.
_ROUNDS = 100


def centroid_groups(influence: DoseInfluence, count: int, seed: int = 0) -> Ints:
    """Groups of spots whose doses lie near each other.

    The place of a spot is the mean position of the voxels, weighted by its dose in them; k-means
    puts near ones together. Spots without any dose count as lying in the middle. Groups are
    numbered along the first axis of the grid. The same arguments give the same groups.

    Args:
        influence: The influence, of any dimension, with its grid (``shape`` and ``spacing``).
        count: Number of groups.
        seed: Seed of the spots with which k-means begins.

    Returns:
        Group of each spot ``(spots,)``, 0 to ``count - 1``, each of them used;
        :meth:`DoseInfluence.grouped` takes it.

    Raises:
        ValueError: The influence has no grid, or ``count`` is below 1 or above the number of spots.
    """
    if influence.shape is None or influence.spacing is None:
        raise ValueError("the influence has no grid; allowed: one with shape and spacing")
    if int(count) != count or not 1 <= count <= influence.num_spots:
        raise ValueError(
            f"count is {count!r}; allowed: an integer from 1 to the number of spots, "
            f"{influence.num_spots}"
        )
    places = centroids(influence)
    rng = np.random.default_rng(seed)
    centres = places[np.sort(rng.choice(len(places), int(count), replace=False))]
    codes = np.full(len(places), -1)
    for _ in range(_ROUNDS):
        new, distance = scipy.cluster.vq.vq(places, centres)
        new = _filled(new.astype(np.int64), distance, int(count))
        if (new == codes).all():
            break
        codes = new
        sizes = np.bincount(codes, minlength=int(count))
        centres = np.stack(
            [np.bincount(codes, part, minlength=int(count)) / sizes for part in places.T], axis=1
        )
    order = np.lexsort(centres.T[::-1])
    rank = np.empty(int(count), np.int64)
    rank[order] = np.arange(int(count))
    return rank[codes]


def centroids(influence: DoseInfluence) -> Floats:
    """Mean position of each spot's dose ``(spots, axes)`` [cm] from the first voxel.

    Raises:
        ValueError: The influence has no grid.
    """
    if influence.shape is None or influence.spacing is None:
        raise ValueError("the influence has no grid; allowed: one with shape and spacing")
    spots = influence.num_spots
    points = grid_points(influence.shape, influence.spacing, [0.0] * len(influence.shape))
    rows = np.repeat(np.arange(influence.num_voxels), np.diff(influence.indptr))
    dose = np.asarray(influence.data, np.float64)
    total = np.bincount(influence.indices, dose, minlength=spots)
    some = total > 0.0
    found = np.empty((spots, points.shape[1]))
    for axis, part in enumerate(points.T):
        moment = np.bincount(influence.indices, dose * part[rows], minlength=spots)
        own = moment[some] / total[some]
        found[some, axis] = own
        found[~some, axis] = own.mean() if own.size else 0.0
    return found


def _filled(codes: Ints, distance: Floats, count: int) -> Ints:
    """No group stays empty: it gets the spot that lies farthest from the centre of its own."""
    sizes = np.bincount(codes, minlength=count)
    away = distance.copy()
    for empty in np.flatnonzero(sizes == 0):
        spot = int(np.where(sizes[codes] > 1, away, -1.0).argmax())
        sizes[codes[spot]] -= 1
        codes[spot] = empty
        sizes[empty] = 1
        away[spot] = 0.0
    return codes
