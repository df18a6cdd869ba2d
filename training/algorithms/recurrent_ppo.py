"""Proximal policy optimisation with a memory, by sb3-contrib.

A long short-term memory before the layers sees one decision after the other, so that a policy can
learn from how a patient has responded so far. Hochreiter and Schmidhuber, "Long short-term memory",
Neural Computation 9 (1997) 1735-1780.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oncogym.core.checks import check_choice
from oncogym.training.algorithms.ppo import PPO, PPOSettings
from oncogym.training.checks import check_flags, check_numbers
from oncogym.training.contrib import import_contrib


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

    def _model_class(self) -> Any:
        return import_contrib().RecurrentPPO

    def _policy(self, settings: Any) -> str:
        return "MlpLstmPolicy"

    def _more_of_policy(self, settings: Any) -> dict[str, Any]:
        return {
            "lstm_hidden_size": settings.lstm_units,
            "n_lstm_layers": settings.lstm_layers,
            "enable_critic_lstm": settings.critic_lstm,
        }

    def _more_of_network(self) -> dict[str, Any]:
        return {"lstm": lambda model: model.policy.lstm_actor}


ALGORITHM = RecurrentPPO()
