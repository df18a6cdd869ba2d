"""Adaptive therapy under resistance: sensitive and resistant clones under one drug."""

from oncogym.envs.adaptive_therapy.env import TREATMENT
from oncogym.envs.adaptive_therapy.model import (
    AdaptiveCourse,
    AdaptivePatient,
    propagate,
    simulate,
    simulate_rule,
)
from oncogym.envs.adaptive_therapy.optimum import ContinuousOptimum, find_continuous_optimum

__all__ = [
    "TREATMENT",
    "AdaptiveCourse",
    "AdaptivePatient",
    "ContinuousOptimum",
    "find_continuous_optimum",
    "propagate",
    "simulate",
    "simulate_rule",
]
