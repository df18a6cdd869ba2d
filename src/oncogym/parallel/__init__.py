"""Who does the work: this process, processes on this machine, or a Ray cluster.

Optimiser populations, evaluation shards and training seeds go through one interface,
:class:`Executor`. Results are the same bit for bit for every executor and any number of workers.
"""

from oncogym.parallel.base import Executor, ExecutorError, LanesExecutor
from oncogym.parallel.choice import EXECUTORS, open_executor
from oncogym.parallel.processes import JoblibExecutor
from oncogym.parallel.ray_cluster import RayExecutor

__all__ = [
    "EXECUTORS",
    "Executor",
    "ExecutorError",
    "JoblibExecutor",
    "LanesExecutor",
    "RayExecutor",
    "open_executor",
]
