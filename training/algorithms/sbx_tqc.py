"""Truncated quantile critics in JAX, by SBX: the algorithm ``tqc``, faster.

Kuznetsov, Shvechikov, Grishin and Vetrov, "Controlling overestimation bias with truncated mixture
of continuous distributional quantile critics", ICML 2020, arXiv:2005.04269.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oncogym.training.algorithms.sbx_sac import SBXSAC
from oncogym.training.algorithms.tqc import TQC, TQCSettings
from oncogym.training.checks import check_numbers

if TYPE_CHECKING:
    from oncogym.training.sb3_learner import OwnState


@dataclass(frozen=True)
class SBXTQCSettings(TQCSettings):
    """Hyper-parameters of TQC; ``n_critics`` is 2, for SBX has no other number."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, whole={"n_critics": (2, 2)}, real={})


class SBXTQC(SBXSAC, TQC):
    """The algorithm ``sbx_tqc``."""

    name = "sbx_tqc"
    title = "TQC (SBX)"
    Settings = SBXTQCSettings

    def _model_class(self) -> Any:
        from oncogym.training.sbx_models import import_sbx

        return import_sbx().TQC

    def _own_state(self, model: Any) -> OwnState:
        from oncogym.training.sbx_models import TrainStates

        return TrainStates(model, ("qf1_state", "qf2_state"))


ALGORITHM = SBXTQC()
