"""Proximal policy optimisation with a memory, by sb3-contrib.

A long short-term memory before the layers sees one decision after the other, so that a policy can
learn from how a patient has responded so far. Hochreiter and Schmidhuber, "Long short-term memory",
Neural Computation 9 (1997) 1735-1780.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oncogym.core.checks import check_choice
from oncogym.envs.problem import Problem
from oncogym.training.algorithms.ppo import (
    PPO,
    PPOSettings,
    actor_layers,
    network_of,
    ppo_lanes,
    ppo_model,
)
from oncogym.training.checks import check_flags, check_numbers
from oncogym.training.contrib import import_contrib

if TYPE_CHECKING:
    from oncogym.training.sb3_learner import SB3Learner
    from oncogym.wrappers.named import NamedWrapper


@dataclass(frozen=True, kw_only=True)
class RecurrentPPOSettings(PPOSettings):
    """Hyper-parameters of recurrent PPO: those of PPO, ``network`` only ``"mlp"``, and its own.

    Args:
        lstm_units: Units of the memory, as many cells.
        lstm_layers: Memories one behind the other.
        critic_lstm: Whether the value has a memory of its own; without it, it judges by what is
            seen now.
    """

    lstm_units: int
    lstm_layers: int
    critic_lstm: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("network", self.network, ("mlp",))
        check_numbers(self, whole={"lstm_units": (1, 4096), "lstm_layers": (1, 8)}, real={})
        check_flags(self, "critic_lstm")


class RecurrentPPO(PPO):
    """The algorithm ``recurrent_ppo``."""

    name = "recurrent_ppo"
    title = "Recurrent PPO"
    Settings = RecurrentPPOSettings

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
    ) -> SB3Learner:
        """The learner at its beginning.

        Raises:
            ModuleNotFoundError: sb3-contrib is not installed.
        """
        contrib = import_contrib()

        from oncogym.training import sb3_learner as sb3

        env = ppo_lanes(problem, settings, lanes, wrappers)
        update = self.steps_per_update(settings, lanes, steps)
        model = ppo_model(
            contrib.RecurrentPPO,
            "MlpLstmPolicy",
            env,
            settings,
            update=update,
            seed=seed,
            network={
                "lstm_hidden_size": settings.lstm_units,
                "n_lstm_layers": settings.lstm_layers,
                "enable_critic_lstm": settings.critic_lstm,
            },
        )
        return sb3.SB3Learner(
            model,
            env,
            problem,
            steps_per_update=update,
            seed=seed,
            start=start,
            wrappers=wrappers,
            layers=actor_layers,
            network={**network_of(settings), "lstm": lambda model: model.policy.lstm_actor},
        )


ALGORITHM = RecurrentPPO()
