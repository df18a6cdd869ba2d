"""Wrappers: reward weights, safety penalties, dose shield, and the Stable-Baselines3 adapter.

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

__all__ = [
    "DoseShield",
    "Multiplier",
    "RewardWeights",
    "SafetyPenalty",
    "VectorDoseShield",
    "VectorRewardWeights",
    "VectorSafetyPenalty",
]
