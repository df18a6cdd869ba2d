"""From one generation of schedules to the next."""

from __future__ import annotations

import numpy as np

from oncogym.agents.optimizers.genetic import selection as genetic_selection
from oncogym.agents.optimizers.genetic.crossover import CROSSOVERS
from oncogym.agents.optimizers.genetic.mutation import MUTATIONS
from oncogym.agents.optimizers.genetic.schedules import Limits, Schedules
from oncogym.agents.optimizers.genetic.settings import GeneticSettings
from oncogym.envs.therapy import Floats


def next_generation(
    population: Schedules,
    scores: Floats,
    probability: float,
    rng: np.random.Generator,
    limits: Limits,
    settings: GeneticSettings,
) -> Schedules:
    """Elites unchanged, then mutated children of selected parents.

    The parents of each pair of children are drawn independently and uniformly from the selected
    ones, with replacement, so that they may coincide. Mutations act on children only.

    Args:
        population: Schedules ``(population, slots)`` in units.
        scores: Their scores ``(population,)``, higher is better.
        probability: Mutation probability.
        rng: Source of chance.
        limits: What schedules must keep.
        settings: Operators and sizes.

    Returns:
        A population of the same shape; its first ``settings.elites`` rows are the elites.
    """
    elites = population[genetic_selection.simple(scores, settings.elites)]
    parents = population[select(scores, rng, settings)]
    cross = CROSSOVERS[settings.crossover]
    children: list[Schedules] = []
    for _ in range((settings.population - settings.elites) // 2):
        first, second = parents[rng.integers(len(parents), size=2)]
        children += cross(first, second, rng, limits, settings.published)
    mutated = [mutate(child, probability, rng, limits, settings) for child in children]
    return np.concatenate([elites, np.stack(mutated)])


def select(
    scores: Floats, rng: np.random.Generator, settings: GeneticSettings
) -> genetic_selection.Indices:
    """Indices ``(parents,)`` of the parents, by the operator that the settings name.

    Args:
        scores: Scores of the population ``(individuals,)``.
        rng: Source of chance.
        settings: Settings of the search.
    """
    count = settings.parents
    if settings.selection == "simple":
        return genetic_selection.simple(scores, count)
    if settings.selection == "roulette":
        return genetic_selection.roulette(scores, count, rng, settings.dispersion)
    if settings.selection == "tournament":
        return genetic_selection.tournament(scores, count, rng, settings.pressure)
    return genetic_selection.tuned_tournament(
        scores, count, rng, settings.pressure, settings.dispersion
    )


def mutate(
    schedule: Schedules,
    probability: float,
    rng: np.random.Generator,
    limits: Limits,
    settings: GeneticSettings,
) -> Schedules:
    """A schedule ``(slots,)`` after all mutations of the settings, in their order.

    Args:
        schedule: Units of dose ``(slots,)``.
        probability: Chance of each change, in [0, 1].
        rng: Source of chance.
        limits: What a schedule may have.
        settings: Settings of the search.
    """
    for name in settings.mutations:
        schedule = MUTATIONS[name](schedule, probability, rng, limits, settings.published)
    return schedule
