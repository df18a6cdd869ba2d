"""Glioblastoma radiation: a growing tumour front, a total dose, and a safe dose a day."""

from oncogym.envs.glioblastoma_radiation.env import TREATMENT
from oncogym.envs.glioblastoma_radiation.model import (
    DetectionError,
    DomainError,
    DoseError,
    GlioblastomaBatch,
    GlioblastomaPatient,
    GlioblastomaResult,
    StabilityError,
    safe_dose,
    simulate,
    simulate_batch,
    with_weekend_breaks,
)

__all__ = [
    "TREATMENT",
    "DetectionError",
    "DomainError",
    "DoseError",
    "GlioblastomaBatch",
    "GlioblastomaPatient",
    "GlioblastomaResult",
    "StabilityError",
    "safe_dose",
    "simulate",
    "simulate_batch",
    "with_weekend_breaks",
]
