"""How much work a benchmark does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oncogym.agents.mpc import CONTROLLERS
from oncogym.agents.optimizers import COMPARED
from oncogym.envs.treatment import Variant
from oncogym.training.algorithms import DEFAULT


@dataclass(frozen=True)
class Preset:
    """How much work a benchmark does.

    Attributes:
        name: Name on the command line, by which environments set limits of their own.
        patients: Patients on whom agents are compared.
        plan_patients: Patients for whom the open-loop plan is optimised together.
        plan_generations: Generations of the search, the initial one included, before a polish.
        training_seeds: Training runs of each algorithm, with different seeds.
        training_steps: Decisions of each, by the algorithm's name; its tuned value where it is not
            named.
        algorithms: Names of the learning algorithms; by default those that the environment names.
        plan_settings: Settings of optimisers that have them, by name.
        optimizers: Optimisers that each search the open-loop plan, unless the environment names
            another one.
        controllers: Controllers that take part, see :mod:`oncogym.agents.mpc`; if the one that
            knows the patient is among them, it has score 1.
        control: Settings of the controllers in place of their defaults.
        own_plan_patients: The first so many of the patients also get a plan of their own each, by
            a search like that for the common plan; 0 for none.
    """

    name: str
    patients: int
    plan_patients: int
    plan_generations: int
    training_seeds: int
    training_steps: Mapping[str, int] = field(default_factory=dict)
    algorithms: tuple[str, ...] = ()
    plan_settings: Mapping[str, Any] = field(default_factory=dict)
    optimizers: tuple[str, ...] = COMPARED
    controllers: tuple[str, ...] = tuple(CONTROLLERS)
    control: Mapping[str, int] = field(default_factory=dict)
    own_plan_patients: int = 0

    def suited(self, variant: Variant) -> Preset:
        """The preset with the limits of an environment."""
        limits: dict[str, Any] = dict(variant.effort.limits.get(self.name, {}))
        limited = limits.pop("algorithms", variant.effort.algorithms)
        return replace(self, algorithms=self.algorithms or limited or (DEFAULT,), **limits)


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "quick",
            patients=48,
            plan_patients=96,
            plan_generations=31,
            training_seeds=1,
            control={"budget": 192},
        ),
        Preset(
            "full",
            patients=256,
            plan_patients=128,
            plan_generations=61,
            training_seeds=5,
            control={"budget": 192},
        ),
    )
}
