"""A genetic algorithm over schedules of doses in time slots."""

from oncogym.agents.optimizers.genetic.algorithm import GeneticAlgorithm
from oncogym.agents.optimizers.genetic.settings import GeneticSettings

__all__ = ["GeneticAlgorithm", "GeneticSettings"]
