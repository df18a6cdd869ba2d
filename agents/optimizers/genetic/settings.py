"""Settings of the genetic algorithm, checked and JSON-able."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oncogym.agents.optimizers.genetic.crossover import CROSSOVERS
from oncogym.agents.optimizers.genetic.mutation import MUTATIONS
from oncogym.core.checks import check_choice, check_option, whole_number
from oncogym.core.errors import nearest

#: Selection operators by name, see :mod:`oncogym.agents.optimizers.genetic.selection`.
SELECTIONS = ("simple", "roulette", "tournament", "tuned_tournament")


@dataclass(frozen=True)
class GeneticSettings:
    """Settings of a search; defaults are those of the study's final experiments.

    Args:
        population: Schedules in a generation.
        elites: Best schedules that are copied unchanged into the next generation; the others must
            be an even number, because they come in pairs.
        parents: Schedules that the selection picks; elites may be among them.
        selection: ``"simple"``, ``"roulette"``, ``"tournament"`` or ``"tuned_tournament"``; the
            study used the first three side by side.
        pressure: How much the better win a tournament, 1 for always.
        dispersion: Give a roulette more pressure where scores are large and alike.
        crossover: ``"one_point"``, ``"one_point_anywhere"``, ``"two_point"``, ``"uniform"`` or
            ``"normalised"``.
        mutations: Names out of ``"swap"``, ``"time_value"``, ``"split"``, ``"dose_value"``, in the
            order in which they act; as a list, or as a text with commas.
        mutation_max: Mutation probability of the first generation.
        mutation_min: Least mutation probability while it is annealed.
        anneal: Let the probability fall with the fourth power of the generations left; otherwise it
            stays at ``mutation_max``.
        published: Every operator does what the study's program did, losses of dose included: gaps
            and placement (:func:`~.schedules.repair_interval`,
            :func:`~.schedules.initial_schedule`), the total after crossover, ``uniform``
            and ``normalised`` crossover, ``time_value``, ``split`` and ``dose_value``; each says
            what differs.
        finalists: Schedules that are scored again at the end.
        finalist_generations: Last generations out of which they come.
        finalist_replicates: Fresh draws of the model on which each is scored again.
        max_dose: Largest dose of a slot, in the unit of the slot space; ``None`` takes the model's.
        min_gap: Least time between doses, likewise.

    Raises:
        ValueError: A value is out of range; the message names it and the allowed range.
    """

    population: int = 40
    elites: int = 4
    parents: int = 16
    selection: str = "tournament"
    pressure: float = 0.9
    dispersion: bool = False
    crossover: str = "two_point"
    mutations: tuple[str, ...] = ("split", "swap", "time_value")
    mutation_max: float = 0.1
    mutation_min: float = 0.001
    anneal: bool = True
    published: bool = False
    finalists: int = 8
    finalist_generations: int = 5
    finalist_replicates: int = 4
    max_dose: float | None = None
    min_gap: float | None = None

    def __post_init__(self) -> None:
        self._set("population", whole_number("population", self.population, 2, 10**6))
        for name, low, high in (
            ("elites", 0, self.population - 2),
            ("parents", 1, self.population),
            ("finalists", 1, 10**6),
            ("finalist_generations", 1, 10**6),
            ("finalist_replicates", 1, 10**6),
        ):
            self._set(name, whole_number(name, getattr(self, name), low, high))
        if (self.population - self.elites) % 2:
            raise ValueError(
                f"population is {self.population} and elites is {self.elites}; allowed: an even "
                "difference, for children come in pairs"
            )
        for name, least in (("pressure", 1e-6), ("mutation_max", 0.0), ("mutation_min", 0.0)):
            self._set(name, check_option(name, getattr(self, name), least, 1.0))
        if self.mutation_min > self.mutation_max:
            raise ValueError(
                f"mutation_min is {self.mutation_min!r}; allowed: 0 to mutation_max "
                f"{self.mutation_max!r}"
            )
        for name in ("dispersion", "anneal", "published"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed: true or false")
        check_choice("selection", self.selection, SELECTIONS)
        check_choice("crossover", self.crossover, tuple(CROSSOVERS))
        self._set("mutations", _names(self.mutations))
        for name in ("max_dose", "min_gap"):
            if getattr(self, name) is not None:
                # The range is the slot space's.
                self._set(name, check_option(name, getattr(self, name), -math.inf, math.inf))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> GeneticSettings:
        """Settings with ``values`` instead of the defaults.

        Raises:
            UnknownNameError: There is no such setting; the message suggests the nearest.
            ValueError: A value is out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise nearest("setting of the genetic algorithm", name, known)
        return cls(**values)


def _names(mutations: object) -> tuple[str, ...]:
    listed = mutations.split(",") if isinstance(mutations, str) else mutations
    if not isinstance(listed, (list, tuple)):
        raise ValueError(f"mutations is {mutations!r}; allowed: a list of {', '.join(MUTATIONS)}")
    return tuple(check_choice("mutation", name, tuple(MUTATIONS)) for name in listed)
