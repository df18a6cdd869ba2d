"""Optimisers of open-loop plans, found by name; each is one file or folder here.

They score whole populations per call. Another package offers one in the entry-point group
``oncogym.optimizers``; see :class:`oncogym.agents.optimizers.base.Optimizer`.
"""

from oncogym.agents.optimizers.base import (
    Optimizer,
    OptimizeResult,
    find_optimizer,
    optimizers,
    register_optimizer,
)
from oncogym.agents.optimizers.objective import PlanObjective

#: The optimiser of plan spaces unless another one is named.
DEFAULT = "de"

#: Those that search the plan of a benchmark beside one another; the best plan is taken.
COMPARED = ("de", "cma")

__all__ = [
    "COMPARED",
    "DEFAULT",
    "OptimizeResult",
    "Optimizer",
    "PlanObjective",
    "find_optimizer",
    "optimizers",
    "register_optimizer",
]
