"""Open-loop simulations of many jobs, on the processor or on an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.emt6ro_fractionation import batch_kernels, kernels
from oncogym.envs.emt6ro_fractionation.records import COUNTERS, SAMPLE
from oncogym.envs.emt6ro_fractionation.tumour import State
from oncogym.envs.records import make_rows, records_of
from oncogym.envs.threads import choose
from oncogym.envs.twins import dealt

# Jobs between two updates of a progress bar on the processor.
_PART = 64
# Jobs in a GPU's memory at a time, 0.45 MB each: many times what it works on at once, so that the
# last ones of a batch, which leave it half idle, cost little.
_ON_GPU = 8192


@dataclass(frozen=True)
class Jobs:
    """Simulations that have nothing to do with each other.

    Attributes:
        tumour, protocol: Which tumour and protocol each has ``(jobs,)``.
        state: The tumours.
        biology, settings: Rows of records that all of them have, see ``records.py``.
        doses: ``(protocols, slots)`` Gy.
        seed: Key of all of them.
        episodes: ``(jobs,)`` uint64, the second half of each one's key.
        until: Last step.
        times: Rising steps up to ``until`` at which to record.
    """

    tumour: NDArray[np.intp]
    protocol: NDArray[np.intp]
    state: State
    biology: NDArray[np.float64]
    settings: NDArray[np.float64]
    doses: NDArray[np.float64]
    seed: int
    episodes: NDArray[np.uint64]
    until: int
    times: NDArray[np.int64]

    def run(
        self, device: str, parallel: bool, progress: Callable[[int], object] | None
    ) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        """Samples ``(jobs, times)``, and counters as rows of records.

        Args:
            device: ``"cpu"`` or ``"cuda"``.
            parallel: Use all threads of the processor.
            progress: Told after each part how many jobs it had.
        """
        jobs = len(self.tumour)
        samples = np.zeros((jobs, len(self.times)), SAMPLE)
        counters = make_rows(jobs, COUNTERS)
        if device == "cuda":
            parts = self._on_gpu(samples, counters)
        else:
            parts = self._here(samples, counters, parallel, _PART if progress else jobs)
        for size in parts:
            if progress:
                progress(size)
        return samples, counters

    def _here(
        self,
        samples: NDArray[np.void],
        counters: NDArray[np.int64],
        parallel: bool,
        part: int,
    ) -> Iterator[int]:
        serial = batch_kernels.simulate_jobs
        for piece in _pieces(len(self.tumour), part):
            size = piece.stop - piece.start
            loop = choose(serial, batch_kernels.simulate_jobs_parallel, parallel and size > 1)
            loop(
                np.arange(size) if loop is serial else dealt(np.arange(size)),
                self.tumour[piece],
                self.protocol[piece],
                self.state.rows,
                np.repeat(self.biology[None], size, axis=0),
                self.settings,
                self.doses,
                np.full(size, self.seed, np.uint64),
                self.episodes[piece],
                np.full(size, self.until),
                self.times,
                samples[piece],
                counters[piece],
            )
            yield size

    def _on_gpu(self, samples: NDArray[np.void], counters: NDArray[np.int64]) -> Iterator[int]:
        from oncogym.envs.emt6ro_fractionation.cuda.cuda_memory import CudaTumours

        memory: CudaTumours | None = None
        for piece in _pieces(len(self.tumour), _ON_GPU):
            size = piece.stop - piece.start
            if memory is None or memory.lanes != size:
                memory = None  # gives the old memory back first
                memory = CudaTumours(size, self.settings)
            memory.put(np.arange(size), self.state.rows, self.tumour[piece])
            counted = counters[piece]
            fixed = (
                np.repeat(self.biology[None], size, axis=0),
                self.doses[self.protocol[piece]],
                np.full(size, self.seed, np.uint64),
                self.episodes[piece],
            )
            for number, step in enumerate(self.times.tolist()):
                memory.advance(np.full(size, step), counted, *fixed)
                samples[piece, number] = memory.record()
            memory.advance(np.full(size, self.until), counted, *fixed)
            yield size


def _pieces(jobs: int, most: int) -> Iterator[slice]:
    for first in range(0, jobs, most):
        yield slice(first, min(first + most, jobs))


def live_until(
    until: int,
    state: State,
    counters: NDArray[np.int64],
    biology: NDArray[np.float64],
    settings: NDArray[np.float64],
    doses: NDArray[np.float64],
    seed: int = 0,
) -> NDArray[np.void]:
    """Let tumours live on from where they are, on one thread.

    Args:
        until: Step at which they stop.
        state: The tumours, changed in place.
        counters: Rows of their records, changed in place; zeros at the start of a simulation.
        biology, settings: Rows of the records that all of them have.
        doses: Gy by slot ``(slots,)``, of all of them.
        seed: Key of all; their numbers are the second half.

    Returns:
        The counters by name.
    """
    count = len(state)
    kernels.advance_lanes(
        np.arange(count), state.rows, counters, np.tile(biology, (count, 1)), settings,
        np.tile(doses, (count, 1)), np.full(count, until), np.zeros((count, 1)),
        np.full(count, seed, np.uint64), np.arange(count, dtype=np.uint64),
    )  # fmt: skip
    return records_of(counters, COUNTERS)
