"""An excerpt of the TG-119 case of a planning system, small enough to be kept here.

pyRadPlan 0.5.0 computed the whole case (381 024 voxels, 5 542 spots) and the plan ``weights``. Kept
are the voxels of target and core, those of normal tissue that the plan's penalty reaches (above
30 Gy) or that touch the target, and the spots that the plan uses. Entries are rounded to 1 part in
10 000, so the plan's doses and objective are those of the whole case.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix

from oncogym.envs.impt_beam_weighting import Objective, Term
from oncogym.envs.impt_beam_weighting.planning.structures import REST

_FILE = Path(__file__).parent / "data" / "impt_tg119_excerpt.npz"


class Case(NamedTuple):
    """The excerpt on the case's own grid; ``objective`` is the one that it was planned with."""

    matrix: csr_matrix
    target: NDArray[np.int64]
    core: NDArray[np.int64]
    body: NDArray[np.int64]
    weights: NDArray[np.float64]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    def objective(self, target: str, core: str) -> Objective:
        """The objective of the planning system, for structures of these names.

        It averages over all 62 733 voxels of normal tissue, most of which are not here.
        """
        kept = len(self.body) - len(self.target) - len(self.core)
        return Objective(
            (
                Term(target, "deviation", 50.0, 1000.0),
                Term(core, "overdose", 25.0, 300.0),
                Term(REST, "overdose", 30.0, 100.0 * kept / 62_733),
            )
        )

    def cropped(self, margin: int = 2) -> Case:
        """The same on the smallest grid that holds all voxels and ``margin`` more on each side."""
        places = np.stack(np.unravel_index(self.body, self.shape))
        low = np.maximum(places.min(axis=1) - margin, 0)
        high = np.minimum(places.max(axis=1) + margin + 1, self.shape)
        box = np.ix_(*(np.arange(a, b) for a, b in zip(low, high, strict=True)))
        kept = np.ravel_multi_index(box, self.shape).ravel()
        return self._replace(
            matrix=self.matrix[kept],
            target=np.searchsorted(kept, self.target),
            core=np.searchsorted(kept, self.core),
            body=np.searchsorted(kept, self.body),
            shape=tuple(int(n) for n in high - low),
        )


@cache
def tg119() -> Case:
    """Read the excerpt."""
    with np.load(_FILE) as table:
        found: dict[str, Any] = dict(table)
    level = found["level_bytes"].T.copy().view("<u2").ravel().astype(np.float64)
    low, high = found["log_range"]
    entries = found["entries"].astype(np.int64)
    voxels = found["voxels"].astype(np.int64)
    columns = csc_matrix(
        (
            np.exp(low + level / 65535.0 * (high - low)),
            voxels[np.cumsum(found["row_steps"].astype(np.int64))],
            np.concatenate([[0], np.cumsum(entries)]),
        ),
        (int(found["shape"][0]), len(entries)),
    )
    target, core = found["counts"][:2]
    x, y, z = (int(n) for n in found["grid_size_xyz"])
    return Case(
        matrix=columns.tocsr(),
        target=voxels[:target],
        core=voxels[target : target + core],
        body=np.sort(voxels),
        weights=found["weights"].astype(np.float64),
        shape=(z, y, x),
        spacing=(0.1 * float(found["spacing_mm"]),) * 3,
    )
