"""Truncated quantile critics, by sb3-contrib: soft actor-critic that does not overrate returns.

Kuznetsov, Shvechikov, Grishin and Vetrov, "Controlling overestimation bias with truncated mixture
of continuous distributional quantile critics", ICML 2020, arXiv:2005.04269.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oncogym.training.algorithms.sac import SAC, SACSettings
from oncogym.training.checks import check_numbers
from oncogym.training.contrib import import_contrib


@dataclass(frozen=True)
class TQCSettings(SACSettings):
    """Hyper-parameters of TQC: those of SAC, and its own.

    Args:
        n_critics: Critics, each with a distribution of the return.
        n_quantiles: Quantiles of a distribution.
        top_quantiles_to_drop_per_net: Largest quantiles of a critic that its target leaves out; the
            more, the more careful.
    """

    n_critics: int
    n_quantiles: int
    top_quantiles_to_drop_per_net: int

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = {"n_critics": (1, 100), "n_quantiles": (1, 10_000)}
        check_numbers(self, whole=whole, real={})
        most = self.n_quantiles - 1
        check_numbers(self, whole={"top_quantiles_to_drop_per_net": (0, most)}, real={})


class TQC(SAC):
    """The algorithm ``tqc``."""

    name = "tqc"
    title = "TQC"
    Settings = TQCSettings

    def _model_class(self) -> Any:
        return import_contrib().TQC

    def _more_of_model(self, settings: Any) -> dict[str, Any]:
        return {"top_quantiles_to_drop_per_net": settings.top_quantiles_to_drop_per_net}

    def _more_of_policy(self, settings: Any) -> dict[str, Any]:
        return {"n_critics": settings.n_critics, "n_quantiles": settings.n_quantiles}


ALGORITHM = TQC()
