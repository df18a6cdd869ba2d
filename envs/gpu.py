"""What numba knows of NVIDIA GPUs; imported only when one is asked for.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

from numba import cuda


def problem():
    """Why there is no GPU to work on; empty if there is one."""
    if cuda.is_available():
        return ""
    error = " ".join(str(cuda.cuda_error() or "").split())
    return "no NVIDIA GPU is found" + (f" ({error})" if error else "")


def name():
    """Name of the present GPU."""
    found = cuda.get_current_device().name
    return found.decode() if isinstance(found, bytes) else str(found)


def clock_and_processors():
    """Clock [Hz] and number of multiprocessors of the present GPU."""
    device = cuda.get_current_device()
    return 1e3 * device.CLOCK_RATE, device.MULTIPROCESSOR_COUNT
