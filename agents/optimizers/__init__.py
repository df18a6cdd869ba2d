"""Plan optimisers: they score whole populations per call and share one interface."""

from oncogym.agents.optimizers.differential_evolution import DifferentialEvolution
from oncogym.agents.optimizers.genetic.algorithm import GeneticAlgorithm
from oncogym.agents.optimizers.genetic.settings import GeneticSettings
from oncogym.agents.optimizers.problem import OptimizeResult, PlanProblem

#: Optimisers by the name that the command line uses.
OPTIMIZERS: dict[str, type[DifferentialEvolution] | type[GeneticAlgorithm]] = {
    DifferentialEvolution.name: DifferentialEvolution,
    GeneticAlgorithm.name: GeneticAlgorithm,
}

__all__ = [
    "OPTIMIZERS",
    "DifferentialEvolution",
    "GeneticAlgorithm",
    "GeneticSettings",
    "OptimizeResult",
    "PlanProblem",
]
