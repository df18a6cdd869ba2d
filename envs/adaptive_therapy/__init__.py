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
from oncogym.envs.adaptive_therapy.value_iteration import (
    FeedbackOptimum,
    Objective,
    find_feedback_optimum,
)

__all__ = [
    "TREATMENT",
    "AdaptiveCourse",
    "AdaptivePatient",
    "ContinuousOptimum",
    "FeedbackOptimum",
    "Objective",
    "find_continuous_optimum",
    "find_feedback_optimum",
    "propagate",
    "simulate",
    "simulate_rule",
]
