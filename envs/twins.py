"""One loop compiled twice, for one thread and for all of them, and what each of these gets.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import numba
import numpy as np

from oncogym.envs.compiled import compiled


def compile_twins(function, **options):
    """Compile a function with ``prange`` loops serially and in parallel.

    Numba's file cache goes by a function's name and line: twins of one name would load each other's
    code, so the parallel one is called ``…_parallel``.

    Args:
        function: A plain function; its ``prange`` iterations do not depend on each other.
        **options: Options of ``njit`` but for ``cache`` and ``parallel``.

    Returns:
        The serial and the parallel function.
    """
    twin = type(function)(function.__code__, function.__globals__, f"{function.__name__}_parallel")
    twin.__qualname__ = twin.__name__
    return compiled(function, **options), compiled(twin, parallel=True, **options)


def dealt(lanes):
    """Lanes in an order in which each thread of a parallel loop gets some of all kinds.

    A thread takes a run of what the loop is given. Neighbours are often alike, patients under one
    plan or under plans that end together, so that runs of them take unlike times.

    Args:
        lanes: Their numbers ``(lanes,)``.
    """
    threads = numba.get_num_threads()
    return np.concatenate([lanes[first::threads] for first in range(threads)])
