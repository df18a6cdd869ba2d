"""Virtual patients: named, seeded, mutually disjoint cohorts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncogym.envs import streams

#: A sampler turns ``(k,)`` seeds, ``(k,)`` episode numbers and a stream number into ``(k, fields)``
#: patient rows. It must draw only from :mod:`oncogym.envs.streams`, so that a patient depends on
#: its coordinates alone.
Sampler = Callable[[NDArray[np.uint64], NDArray[np.uint64], int], NDArray[np.float64]]

# A finite cohort is the same for everybody: its patients hang on this constant, not on a user seed.
_COHORT_SEED = 0x0C0
# The seed of a list fills the upper 48 bits of its key.
_SEEDS = 2**48


@dataclass(frozen=True)
class Cohort:
    """A named set of virtual patients.

    Args:
        name: Name, unique within a treatment.
        description: One sentence for tables and help texts.
        sampler: Draws patient rows, see :data:`Sampler`.
        stream: Random stream of the cohort. Cohorts of one treatment with different streams are
            disjoint.
        size: Number of patients, or ``None`` for an unlimited cohort in which every reset draws a
            new patient from the environment's own seed.
        distinct: Number of different patients that an unlimited cohort goes through, or ``None``.
    """

    name: str
    description: str
    sampler: Sampler
    stream: int
    size: int | None = None
    distinct: int | None = None

    def patients(self, count: int, seed: int = 0) -> NDArray[np.float64]:
        """Return the first ``count`` patients as rows ``(count, fields)``.

        ``seed``, below 2**48, selects a different list in an unlimited cohort and is ignored by a
        finite one, whose list is fixed.

        Raises:
            ValueError: ``count`` is below 1 or above the cohort's size, or ``seed`` no integer in
                its range.
        """
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed < _SEEDS:
            raise ValueError(f"seed is {seed!r}; allowed: an integer from 0 to {_SEEDS - 1}")
        if count < 1 or (self.size is not None and count > self.size):
            limit = "no upper limit" if self.size is None else f"at most {self.size}"
            raise ValueError(
                f"cohort {self.name!r} was asked for {count} patients; allowed: at least 1, {limit}"
            )
        index = np.arange(count, dtype=np.uint64)
        base = _COHORT_SEED if self.size is not None else _COHORT_SEED ^ (int(seed) << 16)
        return self.sampler(np.full(count, base, np.uint64), index, self.stream)

    def draw(self, seeds: NDArray[np.uint64], episodes: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Draw one patient for each ``(seed, episode)``: rows ``(k, fields)``."""
        if self.size is None:
            return self.sampler(seeds, episodes, self.stream)
        u = streams.uniforms(seeds, episodes, streams.STREAM_COHORT_INDEX, 1)[:, 0]
        index = (u * self.size).astype(np.uint64)
        return self.sampler(np.full(index.shape, _COHORT_SEED, np.uint64), index, self.stream)


@dataclass(frozen=True)
class Fixed:
    """Sampler that always returns the same patient row."""

    row: tuple[float, ...]

    def __call__(
        self, seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
    ) -> NDArray[np.float64]:
        """Rows ``(k, fields)``, all the same."""
        return np.tile(np.asarray(self.row, np.float64), (len(seeds), 1))


@dataclass(frozen=True)
class LogNormal:
    """Independent log-normal spread of each field about its median.

    Args:
        median: Patient row ``(fields,)`` at the centre.
        variation: Coefficient of variation of each field (0 leaves the field at its median). The
            standard deviation of the logarithm is ``sqrt(ln(1 + cv**2))``.
    """

    median: tuple[float, ...]
    variation: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.median) != len(self.variation):
            raise ValueError(
                f"{len(self.median)} medians but {len(self.variation)} coefficients of variation"
            )

    def __call__(
        self, seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
    ) -> NDArray[np.float64]:
        """Rows ``(k, fields)``, each from its own ``(seed, episode)``."""
        sigma = np.sqrt(np.log1p(np.square(np.asarray(self.variation))))
        return streams.lognormals(seeds, episodes, stream, np.asarray(self.median), sigma)


def standard_cohorts(
    nominal: tuple[float, ...], sampler: Sampler, held_out: int = 1000, validation: int = 256
) -> dict[str, Cohort]:
    """The four cohorts that every treatment offers.

    ``nominal`` is the source's patient; ``population`` is unlimited and meant for training;
    ``validation`` (model selection) and ``held_out`` (reported results) are fixed lists.
    """
    cohorts = (
        Cohort(
            "nominal",
            "the patient of the source",
            Fixed(nominal),
            streams.STREAM_PATIENT,
            distinct=1,
        ),
        Cohort("population", "a new patient at every reset", sampler, streams.STREAM_PATIENT),
        Cohort(
            "validation",
            f"{validation} fixed patients for choosing between policies",
            sampler,
            streams.STREAM_VALIDATION,
            validation,
        ),
        Cohort(
            "held_out",
            f"{held_out} fixed patients for reported results",
            sampler,
            streams.STREAM_HELD_OUT,
            held_out,
        ),
    )
    return {cohort.name: cohort for cohort in cohorts}
