"""Executors by name."""

from __future__ import annotations

from oncogym.parallel.base import Executor, LanesExecutor
from oncogym.parallel.processes import JoblibExecutor
from oncogym.parallel.ray_cluster import RayExecutor

#: Names of the executors.
EXECUTORS = (LanesExecutor.name, JoblibExecutor.name, RayExecutor.name)


def open_executor(
    name: str | None = None, workers: int | None = None, address: str | None = None
) -> Executor:
    """The executor called ``name``; shut it down, or use it as a context manager.

    Args:
        name: One of :data:`EXECUTORS`. By default what the other two imply: ``ray`` for an address,
            ``joblib`` for a number of workers, else ``lanes``.
        workers: Processes, or pieces that a cluster works on at a time.
        address: Address of a Ray cluster; without it ``RAY_ADDRESS``, else Ray on this machine.

    Raises:
        ValueError: There is no such executor, ``workers`` is not an integer of at least 1, or an
            argument has no meaning for the executor.
        ExecutorError: See :class:`RayExecutor`.
    """
    if name is None:
        implied = JoblibExecutor if workers is not None else LanesExecutor
        name = RayExecutor.name if address is not None else implied.name
    if name not in EXECUTORS:
        raise ValueError(f"executor is {name!r}; allowed: {', '.join(EXECUTORS)}")
    if address is not None and name != RayExecutor.name:
        raise ValueError(f"an address has no meaning for the executor {name}")
    if name == RayExecutor.name:
        return RayExecutor(workers, address)
    if name == JoblibExecutor.name:
        return JoblibExecutor(workers)
    if workers is not None:
        raise ValueError(
            f"workers is {workers}, which has no meaning for the executor {name}; choose joblib "
            "or ray"
        )
    return LanesExecutor()
