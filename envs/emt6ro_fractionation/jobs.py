"""Open-loop simulations of many jobs, on the processor or on an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.emt6ro_fractionation import batch_kernels, frame_kernels
from oncogym.envs.emt6ro_fractionation.tumour import State
from oncogym.envs.threads import choose

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
        biology: Row ``(4,)`` that all of them have, see :mod:`.rules`.
        settings: Row that the kernels read, see ``frame_kernels.py``.
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
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Records ``(jobs, times, RECORDED)`` and counters ``(jobs, COUNTERS)``.

        Args:
            device: ``"cpu"`` or ``"cuda"``.
            parallel: Use all threads of the processor.
            progress: Told after each part how many jobs it had.
        """
        jobs = len(self.tumour)
        records = batch_kernels.empty_records(jobs, len(self.times))
        counters = np.zeros((jobs, frame_kernels.COUNTERS), np.int64)
        if device == "cuda":
            parts = self._on_gpu(records, counters)
        else:
            parts = self._here(records, counters, parallel, _PART if progress else jobs)
        for size in parts:
            if progress:
                progress(size)
        return records, counters

    def _here(
        self,
        records: NDArray[np.float32],
        counters: NDArray[np.int64],
        parallel: bool,
        part: int,
    ) -> Iterator[int]:
        twins = batch_kernels.simulate_jobs, batch_kernels.simulate_jobs_parallel
        for piece in _pieces(len(self.tumour), part):
            size = piece.stop - piece.start
            choose(*twins, parallel and size > 1)(
                self.tumour[piece], self.protocol[piece], *self.state,
                np.repeat(self.biology[None], size, axis=0), self.settings, self.doses,
                np.uint64(self.seed), self.episodes[piece], self.until, self.times, records[piece],
                counters[piece],
            )  # fmt: skip
            yield size

    def _on_gpu(self, records: NDArray[np.float32], counters: NDArray[np.int64]) -> Iterator[int]:
        from oncogym.envs.emt6ro_fractionation.cuda_memory import CudaTumours

        memory: CudaTumours | None = None
        for piece in _pieces(len(self.tumour), _ON_GPU):
            size = piece.stop - piece.start
            if memory is None or memory.lanes != size:
                memory = None  # gives the old memory back first
                memory = CudaTumours(size, self.settings)
            memory.put(np.arange(size), self.state, self.tumour[piece])
            counted = counters[piece]
            fixed = (
                np.repeat(self.biology[None], size, axis=0),
                self.doses[self.protocol[piece]],
                np.full(size, self.seed, np.uint64),
                self.episodes[piece],
            )
            for number, step in enumerate(self.times.tolist()):
                memory.advance(np.full(size, step), counted, *fixed)
                records[piece, number] = memory.record()
            memory.advance(np.full(size, self.until), counted, *fixed)
            yield size


def _pieces(jobs: int, most: int) -> Iterator[slice]:
    for first in range(0, jobs, most):
        yield slice(first, min(first + most, jobs))
