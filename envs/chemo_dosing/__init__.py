"""Chemotherapy dosing: one drug, one tumour, one toxicity, solved exactly between doses."""

from oncogym.envs.chemo_dosing.env import TREATMENT
from oncogym.envs.chemo_dosing.model import (
    ChemoBatch,
    ChemoPatient,
    ChemoResult,
    published_cost,
    simulate,
    simulate_batch,
)

__all__ = [
    "TREATMENT",
    "ChemoBatch",
    "ChemoPatient",
    "ChemoResult",
    "published_cost",
    "simulate",
    "simulate_batch",
]
