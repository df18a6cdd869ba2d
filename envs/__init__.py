"""Treatments as Gymnasium environments: the contract, the registry and the models."""

from oncogym.envs.outcomes import Map, Metric, Trace
from oncogym.envs.protocols import Rule, Schedule
from oncogym.envs.registry import (
    discover,
    find_variant,
    get_treatment,
    register_treatment,
    treatments,
)
from oncogym.envs.treatment import Effort, Treatment, Variant

__all__ = [
    "Effort",
    "Map",
    "Metric",
    "Rule",
    "Schedule",
    "Trace",
    "Treatment",
    "Variant",
    "discover",
    "find_variant",
    "get_treatment",
    "register_all",
    "register_treatment",
    "treatments",
]


def register_all() -> None:
    """Register the treatments of the suite, then those of other installed packages."""
    from oncogym.envs.adaptive_therapy import TREATMENT as adaptive_therapy
    from oncogym.envs.chemo_dosing import TREATMENT as chemo_dosing
    from oncogym.envs.chemo_neutrophils import TREATMENT as chemo_neutrophils
    from oncogym.envs.emt6ro_fractionation import TREATMENT as emt6ro_fractionation
    from oncogym.envs.glioblastoma_radiation import TREATMENT as glioblastoma_radiation
    from oncogym.envs.impt_beam_weighting import TREATMENT as impt_beam_weighting

    for treatment in (
        chemo_dosing,
        glioblastoma_radiation,
        emt6ro_fractionation,
        impt_beam_weighting,
        adaptive_therapy,
        chemo_neutrophils,
    ):
        register_treatment(treatment, offered=True)
    discover()
