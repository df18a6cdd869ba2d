"""Soft actor-critic in JAX, by SBX: the algorithm ``sac``, several times as fast an update.

Haarnoja, Zhou, Hartikainen et al., "Soft actor-critic algorithms and applications",
arXiv:1812.05905 (2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oncogym.training.algorithms.sac import SAC, SACSettings

if TYPE_CHECKING:
    from oncogym.training.sb3_learner import OwnState


class SBXSAC(SAC):
    """The algorithm ``sbx_sac``."""

    name = "sbx_sac"
    title = "SAC (SBX)"
    Settings: type[SACSettings] = SACSettings

    def _model_class(self) -> Any:
        from oncogym.training.sbx_models import import_sbx

        return import_sbx().SAC

    def _activation(self, name: str) -> Any:
        from oncogym.training.sbx_models import flax_activation

        return flax_activation(name)

    def _actor_layers(self, model: Any) -> list[Any]:
        from oncogym.training.sbx_models import actor_layers

        return actor_layers(model)

    def _own_state(self, model: Any) -> OwnState:
        from oncogym.training.sbx_models import TrainStates

        return TrainStates(model, ("qf_state",))


ALGORITHM = SBXSAC()
