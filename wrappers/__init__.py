"""Wrappers: rewards, safety penalties, doses, histories, and the SB3 adapter.

The adapter lives in :mod:`oncogym.wrappers.sb3`, which needs the extra ``oncogym[train]``.
"""

from oncogym.wrappers.dose_scale import DoseScale, VectorDoseScale
from oncogym.wrappers.history import History, VectorHistory
from oncogym.wrappers.measured_shield import MeasuredShield, VectorMeasuredShield
from oncogym.wrappers.protocol_offset import ProtocolOffset, VectorProtocolOffset
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
    "DoseScale",
    "DoseShield",
    "History",
    "MeasuredShield",
    "Multiplier",
    "ProtocolOffset",
    "RewardTerms",
    "RewardWeights",
    "SafetyPenalty",
    "VectorDoseScale",
    "VectorDoseShield",
    "VectorHistory",
    "VectorMeasuredShield",
    "VectorProtocolOffset",
    "VectorRewardTerms",
    "VectorRewardWeights",
    "VectorSafetyPenalty",
]
