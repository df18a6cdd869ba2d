"""Where simulations run: on the processor or on an NVIDIA GPU, by one setting."""

from __future__ import annotations

from importlib.util import find_spec

from oncogym.core.checks import check_choice

#: ``auto`` takes a GPU where there is one.
DEVICES = ("cpu", "cuda", "auto")


class DeviceError(RuntimeError):
    """A device was asked for that this machine does not have."""


def choose_device(device: str) -> str:
    """``"cpu"`` or ``"cuda"`` for one of :data:`DEVICES`.

    Raises:
        UnknownNameError: There is no such device; the message suggests the nearest.
        DeviceError: ``"cuda"`` was asked for, but there is no GPU, or no package to use it.
    """
    if check_choice("device", device, DEVICES) == "cpu":
        return "cpu"
    problem = _problem()
    if not problem:
        return "cuda"
    if device == "auto":
        return "cpu"
    raise DeviceError(f"device 'cuda' was asked for, but {problem}; allowed here: cpu, auto")


def _problem() -> str:
    # Without the package numba falls back on an old target of its own.
    if find_spec("numba_cuda") is None:
        return 'the package numba-cuda is not installed (pip install "oncogym[cuda]")'
    from oncogym.envs import gpu

    return gpu.problem()
