"""Tumours that live on an NVIDIA GPU: memory, transfers and launches.

A kernel file for a GPU: it imports nothing but numpy, numba and other kernel files. It is imported
only when a GPU is asked for.
"""

import numpy as np
from numba import cuda

from oncogym.envs.emt6ro_fractionation.cuda_kernels import (
    THREADS,
    advance,
    observe_lanes,
    place,
    record_lanes,
)
from oncogym.envs.emt6ro_fractionation.frame_kernels import (
    CLOCKS,
    FRAME_FLOATS,
    FRAME_INTS,
    RECORDED,
    ROW,
    SITES,
)


class CudaTumours:
    """The tumours of ``lanes`` lanes, with the memory that their simulation needs, 0.45 MB each.

    What is small (counters, doses, keys, decisions) stays with the caller and travels with each
    call; the tumours stay on the GPU.

    Args:
        lanes: Number of tumours.
        settings: ``(SETTINGS,)``, see ``frame_kernels.py``.

    Attributes:
        threads: Threads of a block; any number of at least the lattice's side gives the same.
    """

    threads = THREADS

    def __init__(self, lanes, settings):
        self.lanes = lanes
        self._settings = cuda.to_device(settings)
        self.state = (
            cuda.device_array((lanes, 3, SITES), np.float32),
            cuda.device_array((lanes, SITES), np.int32),
            cuda.device_array((lanes, SITES), np.int32),
            cuda.device_array((lanes, SITES, CLOCKS), np.float32),
        )
        self._memory = (
            cuda.device_array((lanes, FRAME_FLOATS, ROW), np.float32),
            cuda.device_array((lanes, FRAME_INTS, ROW), np.int32),
            cuda.device_array((lanes, 3, SITES), np.int32),
            cuda.device_array((lanes, SITES), np.float64),
            cuda.device_array((lanes, 2, SITES), np.float32),
        )
        self._rows = cuda.device_array((lanes, RECORDED), np.float32)

    def put(self, lanes, state, rows):
        """Put tumour ``rows[k]`` of ``state``, arrays of this machine, into lane ``lanes[k]``.

        Args:
            lanes: Lanes to write ``(k,)``.
            state: Tumours as named arrays of this machine, one row a tumour.
            rows: Rows of ``state`` ``(k,)``.
        """
        source = tuple(cuda.to_device(part) for part in state)
        if len(lanes):
            place[len(lanes), self.threads](
                cuda.to_device(lanes), cuda.to_device(rows), *source, *self.state
            )

    def take_lanes(self, lanes):
        """The tumours of ``lanes`` ``(k,)`` as arrays of this machine, gathered on the GPU."""
        count = len(lanes)
        if not count:
            return tuple(np.empty((0, *part.shape[1:]), part.dtype) for part in self.state)
        found = tuple(
            cuda.device_array((count, *part.shape[1:]), part.dtype) for part in self.state
        )
        place[count, self.threads](
            cuda.to_device(np.arange(count)), cuda.to_device(lanes), *self.state, *found
        )
        return tuple(part.copy_to_host() for part in found)

    def take(self, lane):
        """A lane's tumour as arrays of this machine, each with a first axis of one."""
        return tuple(part[lane : lane + 1].copy_to_host() for part in self.state)

    def advance(self, until, counters, biology, doses, seeds, episodes, every=0, history=None):
        """Advance each tumour to its step ``until``; see :func:`.cuda_kernels.advance`.

        ``counters`` and, if given, ``history`` are changed in place.

        Args:
            until: Step of each lane at which to stop ``(lanes,)``.
            counters: Counters of each lane.
            biology: Parameters of each lane's cells ``(lanes, 4)``.
            doses: Doses of each lane [Gy].
            seeds, episodes: Random keys ``(lanes,)``.
            every: Steps between two records; 0 for none.
            history: Where records are written.
        """
        counted = cuda.to_device(counters)
        past = cuda.to_device(np.zeros((1, 1)) if history is None else history)
        advance[self.lanes, self.threads](
            *self.state, counted, cuda.to_device(biology), self._settings, cuda.to_device(doses),
            cuda.to_device(until), every, past, cuda.to_device(seeds), cuda.to_device(episodes),
            *self._memory,
        )  # fmt: skip
        counted.copy_to_host(counters)
        if history is not None:
            past.copy_to_host(history)

    def record(self):
        """The record of every tumour ``(lanes, RECORDED)``."""
        record_lanes[self.lanes, 1](*self.state, self._settings, self._rows)
        return self._rows.copy_to_host()

    def observe(self, lanes, options, counters, state, seeds, episodes, out):
        """Observations of ``lanes`` into ``out`` ``(k, size)``; ``state`` is changed in place.

        Args:
            lanes: Lanes to observe ``(k,)``.
            options: Options of the task.
            counters, state: Counters and state of each lane.
            seeds, episodes: Random keys ``(lanes,)``.
            out: Observations ``(k, size)``.
        """
        if not len(lanes):
            return
        own, seen = cuda.to_device(state), cuda.to_device(out)
        observe_lanes[len(lanes), 1](
            cuda.to_device(lanes), cuda.to_device(options), self._settings, *self.state,
            cuda.to_device(counters), own, cuda.to_device(seeds), cuda.to_device(episodes),
            self._rows, seen,
        )  # fmt: skip
        own.copy_to_host(state)
        seen.copy_to_host(out)
