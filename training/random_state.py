"""Training changes nothing of the process that asks for it: its random numbers and threads."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator

# Threads that wait by spinning cost most of the speed as soon as another process wants a core. The
# OpenMP runtime reads this once, when torch loads it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

# A second thread hardly pays for networks and minibatches of this size, and would change the last
# digits: a run must not depend on the number of cores, nor on the executor that gives it some.
_TORCH_THREADS = 1


@contextlib.contextmanager
def own_random_state() -> Iterator[None]:
    """Leave the caller's global generators and torch's thread count as they were.

    Inside, torch computes on one thread.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    threads = torch.get_num_threads()
    torch.set_num_threads(_TORCH_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])
