"""Virtual patients: the turnover study's ranges, without those whom no plan can treat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.adaptive_therapy.model import PROGRESSION, AdaptivePatient
from oncogym.envs.adaptive_therapy.step_kernels import sample_patients, sample_patients_parallel
from oncogym.envs.threads import choose

#: Least and largest n0, log10 fR, cost and turnover.
LOW = (0.25, -4.0, 0.0, 0.0)
HIGH = (0.75, -1.0, 0.5, 0.5)
#: Shortest time to progression without drug [d], one interval: else a holiday cannot be seen.
LEAST_DAYS = 28.0
#: Distance of the turnover from where full dose would control for ever.
MARGIN = 0.02
# From so many patients on, threads draw them.
_PARALLEL_DRAWS = 256


def draw_patients(
    seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
) -> NDArray[np.float64]:
    """Rows ``(k, fields)``; growth rate and kill are the published ones.

    Args:
        seeds: First half of each patient's random key ``(k,)``.
        episodes: Second half ``(k,)``.
        stream: Number of the random stream.
    """
    rows = np.tile(AdaptivePatient().to_array(), (len(seeds), 1))
    sample = choose(sample_patients, sample_patients_parallel, len(rows) >= _PARALLEL_DRAWS)
    sample(
        np.arange(len(rows)), rows, seeds, episodes, stream, np.array(LOW), np.array(HIGH),
        LEAST_DAYS, MARGIN, PROGRESSION,
    )  # fmt: skip
    return rows
