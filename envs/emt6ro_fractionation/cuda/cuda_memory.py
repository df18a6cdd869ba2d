"""Tumours that live on an NVIDIA GPU: memory, transfers and launches.

A kernel file for a GPU: it imports nothing but numpy, numba and other kernel files. It is imported
only when a GPU is asked for.
"""

import numpy as np
from numba import config, cuda

from oncogym.envs.emt6ro_fractionation.cuda.cuda_kernels import (
    THREADS,
    advance,
    observe_images,
    observe_sizes,
    observe_summaries,
    place,
    record_lanes,
)
from oncogym.envs.emt6ro_fractionation.records import (
    BIOLOGY,
    COUNTERS,
    FRAME,
    IMAGE,
    MEASURED,
    OPTIONS,
    SAMPLE,
    SETTINGS,
    STATE,
    SUMMARY,
    TUMOUR,
    WORK,
)


def _kind(record):
    """The type of records on the GPU; the simulator is twice as fast with NumPy's own class."""
    simulated = config.ENABLE_CUDASIM  # type: ignore[attr-defined]
    return np.dtype((np.record, record)) if simulated else record


def _room(count, record):
    """Memory on the GPU for records."""
    return cuda.device_array(count, _kind(record))


def _send(rows, record):
    """Plain rows as records on the GPU, one a row."""
    plain = np.ascontiguousarray(np.atleast_2d(rows))
    return cuda.to_device(plain.view(_kind(record))[:, 0])


def _fetch(sent, rows):
    """Take records back into plain rows."""
    rows[:] = sent.copy_to_host().view(rows.dtype).reshape(rows.shape)


class CudaTumours:
    """The tumours of ``lanes`` lanes, with the memory that their simulation needs, 0.45 MB each.

    What is small (counters, doses, keys, decisions) stays with the caller and travels with each
    call; the tumours stay on the GPU.

    Args:
        lanes: Number of tumours.
        settings: Row of the record, see ``records.py``.

    Attributes:
        threads: Threads of a block; any number of at least the lattice's side gives the same.
    """

    threads = THREADS

    def __init__(self, lanes, settings):
        self.lanes = lanes
        self._settings = _send(settings, SETTINGS)
        self._tumours = _room(lanes, TUMOUR)
        self._works = _room(lanes, WORK)
        self._frames = _room(lanes, FRAME)
        self._samples = _room(lanes, SAMPLE)

    def put(self, lanes, tumours, rows):
        """Put tumour ``rows[k]`` of this machine into lane ``lanes[k]``.

        Args:
            lanes: Lanes to write ``(k,)``.
            tumours: Records of tumours.
            rows: Which of them ``(k,)``.
        """
        if len(lanes):
            place[len(lanes), self.threads](
                cuda.to_device(lanes),
                cuda.to_device(rows),
                cuda.to_device(np.ascontiguousarray(tumours).view(_kind(TUMOUR))),
                self._tumours,
            )

    def take(self, lanes):
        """The tumours of ``lanes`` ``(k,)`` as records of this machine, gathered on the GPU."""
        count = len(lanes)
        if not count:
            return np.empty(0, TUMOUR)
        found = _room(count, TUMOUR)
        place[count, self.threads](
            cuda.to_device(np.arange(count)), cuda.to_device(lanes), self._tumours, found
        )
        return found.copy_to_host().view(TUMOUR)

    def advance(self, until, counters, biology, doses, seeds, episodes, history=None):
        """Advance each tumour to its step ``until``; see :func:`.cuda_kernels.advance`.

        ``counters`` and, if given, ``history`` are changed in place.

        Args:
            until: Step of each lane at which to stop ``(lanes,)``.
            counters, biology: Rows of records, one a lane.
            doses: Doses of each lane [Gy].
            seeds, episodes: Random keys ``(lanes,)``.
            history: Where sites are written, see :func:`.kernels.advance`.
        """
        counted = _send(counters, COUNTERS)
        past = cuda.to_device(np.zeros((self.lanes, 1)) if history is None else history)
        advance[self.lanes, self.threads](
            self._tumours, counted, _send(biology, BIOLOGY), self._settings, cuda.to_device(doses),
            cuda.to_device(until), past, cuda.to_device(seeds), cuda.to_device(episodes),
            self._works, self._frames,
        )  # fmt: skip
        _fetch(counted, counters)
        if history is not None:
            past.copy_to_host(history)

    def record(self):
        """The record of every tumour ``(lanes,)``."""
        record_lanes[self.lanes, 1](self._tumours, self._settings, self._samples)
        return self._samples.copy_to_host().view(SAMPLE)

    def observe(self, what, lanes, counters, state, options, seeds, episodes, out):
        """Observations of ``lanes`` into ``out`` ``(k, size)``; ``state`` is changed in place.

        Args:
            what: ``"full"``, ``"image"`` or ``"measurable"``.
            lanes: Lanes to observe ``(k,)``.
            counters, state: Rows of records, one a lane.
            options: Row of the record.
            seeds, episodes: Random keys ``(lanes,)``.
            out: Observations ``(k, size)``.
        """
        if not len(lanes):
            return
        own = _send(state, STATE)
        seen = _send(out, {"full": SUMMARY, "image": IMAGE, "measurable": MEASURED}[what])
        shown = (cuda.to_device(lanes), self._tumours, _send(counters, COUNTERS), own,
                 _send(options, OPTIONS))  # fmt: skip
        if what == "full":
            observe_summaries[len(lanes), 1](*shown, self._settings, self._samples, seen)
        elif what == "image":
            observe_images[len(lanes), 1](*shown, self._settings, seen)
        else:
            keys = (cuda.to_device(seeds), cuda.to_device(episodes))
            observe_sizes[len(lanes), 1](*shown, *keys, seen)
        _fetch(own, state)
        _fetch(seen, out)
