"""Plan optimisers: they score whole populations per call and share one interface."""

from oncogym.agents.optimizers.differential_evolution import DifferentialEvolution
from oncogym.agents.optimizers.problem import OptimizeResult, PlanProblem

#: Optimisers by the name that the command line uses.
OPTIMIZERS = {DifferentialEvolution.name: DifferentialEvolution}

__all__ = ["OPTIMIZERS", "DifferentialEvolution", "OptimizeResult", "PlanProblem"]
