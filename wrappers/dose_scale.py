"""Choose a dose as a multiple of what is safe by what is shown."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from oncogym.core.checks import check_option
from oncogym.envs.therapy import TherapyTask
from oncogym.wrappers.checks import require_bare
from oncogym.wrappers.transforming import TransformingEnv, TransformingVectorEnv
from oncogym.wrappers.transforms import Memory, Transform

_LEAST, _LARGEST = 1e-3, 1000.0


class _Scaling(Transform):
    """Doses relative to what the last observation calls safe."""

    def __init__(
        self, task: TherapyTask, observation_space: Box, action_space: Box, most: float
    ) -> None:
        super().__init__(observation_space, action_space)
        self._task, self._most = task, most

    def begin(self, lanes: int) -> Memory:
        return {"safe": np.zeros((lanes, *self.action_space.shape))}

    def observe(
        self, memory: Memory, observation: NDArray[np.generic], started: NDArray[np.bool_]
    ) -> NDArray[np.generic]:
        memory["safe"][:] = self._task.shown_safe_actions(observation)
        return observation

    def act(self, memory: Memory, actions: NDArray[np.generic]) -> NDArray[np.float64]:
        wanted = np.asarray(actions, np.float64)
        safe = memory["safe"]
        bounded = np.isfinite(safe)
        factor = self._most * np.where(bounded, safe, 1.0)
        scaled = np.minimum(np.clip(wanted, 0.0, 1.0) * factor, 1.0)
        return np.where(bounded, scaled, wanted)


class DoseScale(TransformingEnv):
    """Let an action choose the dose as a share of ``most`` times the safe dose.

    What is safe is what the observation says: by the last scan where the environment shows what a
    clinic can measure, by the model's true state where it shows that. Components of an action that
    are no dose stay as they are. An action outside [0, 1] is moved there.

    Args:
        env: A therapy environment that says in its observation which dose is safe; wrappers that
            change observations go outside.
        most: Multiple of the safe dose that action 1 asks for, above 0 and up to 1000.

    Raises:
        TypeError: ``env`` is another kind of environment.
        NotImplementedError: Its observation does not say which dose is safe.
        ValueError: ``most`` is out of range, or a wrapper inside has changed observations or
            actions.
    """

    def __init__(self, env: gymnasium.Env, most: float = 2.0) -> None:
        super().__init__(env, most=check_option("most", most, _LEAST, _LARGEST))


class VectorDoseScale(TransformingVectorEnv):
    """:class:`DoseScale` for vector environments.

    Args:
        env: The vector environment.
        most: As of :class:`DoseScale`.
    """

    twin = DoseScale

    def __init__(self, env: VectorEnv, most: float = 2.0) -> None:
        super().__init__(env, most=check_option("most", most, _LEAST, _LARGEST))

    @classmethod
    def transform(  # type: ignore[override]
        cls, task: TherapyTask, observation_space: Box, action_space: Box, most: float = 2.0
    ) -> Transform:
        """What the wrapper does to actions.

        Args:
            task: The task inside.
            observation_space, action_space: One lane's spaces inside.
            most: As of :class:`DoseScale`.

        Raises:
            NotImplementedError: The task's observation does not say which dose is safe.
            ValueError: ``most`` is out of range, or the spaces are not the task's.
        """
        check_option("most", most, _LEAST, _LARGEST)
        require_bare(cls.twin.__name__, task, observation_space, action_space)
        task.shown_safe_actions(np.zeros((1, *observation_space.shape)))  # refuses before any work
        return _Scaling(task, observation_space, action_space, float(most))


DoseScale.vector = VectorDoseScale
