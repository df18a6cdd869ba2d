"""A shield on doses that knows no more than what was measured."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from oncogym.envs.registry import treatment_of
from oncogym.envs.therapy import TherapyTask
from oncogym.wrappers.checks import require_bare
from oncogym.wrappers.rule_along import RuleAlong
from oncogym.wrappers.transforming import TransformingEnv, TransformingVectorEnv
from oncogym.wrappers.transforms import Memory, Transform


class _Shielding(RuleAlong):
    """Doses not above those of a rule."""

    def observe(
        self, memory: Memory, observation: NDArray[Any], started: NDArray[np.bool_]
    ) -> NDArray[Any]:
        self.decide(memory, observation, started)
        return observation

    def act(self, memory: Memory, actions: NDArray[Any]) -> NDArray[np.float64]:
        return np.minimum(np.asarray(actions, np.float64), memory["decided"])


class MeasuredShield(TransformingEnv):
    """Replace each dose by the largest one not above it that is safe by what was measured.

    What is safe is what the treatment's ``measured_limit`` gives, a rule that decides by the
    observation and keeps a margin: for glioblastoma 95 % of the safe dose of the last scan, for
    chemotherapy the largest dose whose toxicity peak stays under 80 % of the limit for the nominal
    patient, whose course is drawn to each reading. A patient who differs, or a reading in error,
    may still be given too much, which :class:`DoseShield` rules out because it knows the patient.

    Args:
        env: A therapy environment with one action, a dose; wrappers that change observations or
            actions go outside.

    Raises:
        TypeError: ``env`` is another kind of environment.
        NotImplementedError: The treatment has no such rule.
        ValueError: The environment has other actions besides a dose, does not show what the rule
            needs, or a wrapper inside has changed observations or actions.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)


class VectorMeasuredShield(TransformingVectorEnv):
    """:class:`MeasuredShield` for vector environments.

    Args:
        env: The vector environment.
    """

    twin = MeasuredShield

    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)

    @classmethod
    def transform(  # type: ignore[override]
        cls, task: TherapyTask, observation_space: Box, action_space: Box
    ) -> Transform:
        """What the wrapper does to actions.

        Args:
            task: The task inside.
            observation_space, action_space: One lane's spaces inside.

        Raises:
            NotImplementedError, ValueError: As of :class:`MeasuredShield`.
        """
        require_bare(cls.twin.__name__, task, observation_space, action_space)
        rule = treatment_of(task).measured_limit
        if rule is None:
            raise NotImplementedError(
                f"{type(task).__name__} has no rule that says which dose is safe by what was "
                "measured; use SafetyPenalty instead"
            )
        if action_space.shape != (1,):
            raise ValueError(f"actions have shape {action_space.shape}; allowed: one dose, (1,)")
        # Refuses before any work what the observation does not show.
        rule.actions(task, np.zeros((1, *observation_space.shape), observation_space.dtype))
        return _Shielding(task, observation_space, action_space, rule)


MeasuredShield.vector = VectorMeasuredShield
