"""Wrappers: reward weights, vector rewards, safety penalties, dose shield, and the SB3 adapter.

The adapter lives in :mod:`oncogym.wrappers.sb3`, which needs the extra ``oncogym[train]``.
"""

from oncogym.wrappers.reward import RewardWeights, VectorRewardWeights
from oncogym.wrappers.safety import (
    DoseShield,
    Multiplier,
    SafetyPenalty,
    VectorDoseShield,
    VectorSafetyPenalty,
)
from oncogym.wrappers.vector_reward import RewardTerms, VectorRewardTerms

__all__ = [
    "DoseShield",
    "Multiplier",
    "RewardTerms",
    "RewardWeights",
    "SafetyPenalty",
    "VectorDoseShield",
    "VectorRewardTerms",
    "VectorRewardWeights",
    "VectorSafetyPenalty",
]
