"""CMA-ES on the weights of a small network: no gradient, whole courses over native lanes.

Hansen and Ostermeier, "Completely derandomized self-adaptation in evolution strategies",
Evolutionary Computation 9 (2001) 159-195, by the package ``cmaes``. All candidates of a generation
treat the same patients under the same chance, so that they differ by what they decide alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oncogym.core.checks import whole_number
from oncogym.envs.problem import Problem
from oncogym.training.checks import check_layers, check_numbers

if TYPE_CHECKING:
    from oncogym.training.evolution import EvolutionLearner
    from oncogym.wrappers.named import NamedWrapper


@dataclass(frozen=True)
class CMAPolicySettings:
    """Hyper-parameters of CMA-ES on a policy's weights.

    Args:
        population: Candidates of a generation, at least 4. The lanes are shared out among them: so
            many patients does each treat.
        n_steps: Decisions as which a course counts, at least those of a whole one: a generation
            counts as so many of every lane, though courses may end sooner.
        sigma: Standard deviation of the weights in the first generation.
        first_action: Where in [0, 1] the first policy's actions lie, whatever it sees.
        layers: Units of the hidden layers; a search of more than a thousand weights is refused.
        activation: ``"tanh"`` or ``"relu"``.
    """

    population: int
    n_steps: int
    sigma: float
    first_action: float
    layers: tuple[int, ...]
    activation: str

    def __post_init__(self) -> None:
        check_numbers(
            self,
            whole={"population": (4, 10**5), "n_steps": (1, 10**6)},
            real={"sigma": (1e-6, 100.0), "first_action": (1e-3, 1.0 - 1e-3)},
        )
        check_layers(self)


class CMAPolicy:
    """The algorithm ``cma_policy``."""

    name = "cma_policy"
    title = "CMA-ES policy"
    Settings = CMAPolicySettings
    defaults = None

    def steps_per_update(self, settings: CMAPolicySettings, lanes: int, steps: int) -> int:
        """A generation: courses in rounds, as many as give each candidate a lane."""
        return lanes * settings.n_steps * -(-settings.population // lanes)

    def build(
        self,
        problem: Problem,
        settings: Any,
        *,
        lanes: int,
        seed: int,
        steps: int,
        start: int,
        wrappers: Sequence[NamedWrapper] = (),
    ) -> EvolutionLearner:
        """The learner at its beginning.

        Raises:
            ValueError: A course may be longer than ``n_steps``, or there are too many weights.
        """
        from oncogym.training.evolution import EvolutionLearner

        longest = problem.kept_task(1).num_decisions
        longest = min(longest, problem.max_episode_steps or longest)
        whole_number("n_steps", settings.n_steps, longest, 10**6)
        return EvolutionLearner(
            problem,
            settings,
            lanes=lanes,
            seed=seed,
            steps_per_update=self.steps_per_update(settings, lanes, steps),
            wrappers=wrappers,
        )


ALGORITHM = CMAPolicy()
