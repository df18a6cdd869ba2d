"""Random numbers of an agent that thinks about many patients at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oncogym.envs import streams
from oncogym.envs.therapy import Floats

# Keys made here lie above those of evaluations and below those of searches.
_OWN_KEYS = np.uint64(1) << np.uint64(61)
_SEED_SHIFT = np.uint64(32)


class PatientStreams:
    """A stream of random numbers for each patient of a batch, whoever else is in it.

    Args:
        keys: Random key of each patient ``(patients,)`` uint64.
        seed: Seed of the agent, below ``2**31``.
        stream: Number of the stream.
    """

    def __init__(self, keys: NDArray[np.uint64], seed: int, stream: int) -> None:
        self._keys = np.asarray(keys, np.uint64)
        self._turn = np.full(len(self._keys), np.uint64(seed) << _SEED_SHIFT, np.uint64)
        self._stream = stream

    def uniforms(self, which: NDArray[np.intp], count: int) -> Floats:
        """Uniform draws ``(k, count)`` of the patients ``which`` ``(k,)``, all different."""
        drawn = streams.uniforms(self._keys[which], self._turn[which], self._stream, count)
        self._turn[which] += np.uint64(1)
        return drawn

    def normals(self, which: NDArray[np.intp], count: int) -> Floats:
        """Standard normal draws ``(k, count)``."""
        drawn = streams.normals(self._keys[which], self._turn[which], self._stream, count)
        self._turn[which] += np.uint64(1)
        return drawn

    def keys(self, which: NDArray[np.intp], count: int) -> NDArray[np.uint64]:
        """Random keys ``(k, count)`` that no evaluation uses."""
        return (self.uniforms(which, count) * 2.0**52).astype(np.uint64) + _OWN_KEYS
