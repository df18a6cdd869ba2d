"""Learn what to change about a clinical protocol, instead of a whole policy."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from oncogym.core.arrays import Floats
from oncogym.core.checks import check_option
from oncogym.envs.protocols import Rule, Schedule
from oncogym.envs.registry import treatment_of
from oncogym.envs.therapy import TherapyTask
from oncogym.wrappers.checks import require_bare
from oncogym.wrappers.rule_along import RuleAlong
from oncogym.wrappers.transforming import TransformingEnv, TransformingVectorEnv
from oncogym.wrappers.transforms import Memory, Transform

_LEAST, _LARGEST = 1e-6, 1.0


def _follow(
    rows: Floats, task: object, observation: NDArray[Any], memory: Floats
) -> tuple[Floats, Floats]:
    """A schedule as a rule that remembers the number of the decision; zero after the last one."""
    made = np.nan_to_num(memory)
    return rows[np.minimum(made[:, 0].astype(np.intp), len(rows) - 1)], made + 1.0


def _scheduled(task: TherapyTask, schedule: Schedule) -> Rule:
    rows = task.schedule_actions(schedule)
    rows = np.vstack([rows, np.zeros((1, rows.shape[1]))])
    return Rule(schedule.label, partial(_follow, rows), memory=1)


class _Offset(RuleAlong):
    """A protocol decides, an action moves its decision."""

    def __init__(
        self, task: TherapyTask, observation_space: Box, action_space: Box, rule: Rule, reach: float
    ) -> None:
        self._reach = reach
        self._dtype = observation_space.dtype
        parts = action_space.shape[0]
        low, high = (
            np.concatenate([seen, np.full(parts, edge), np.full(rule.memory, far)])
            for seen, edge, far in (
                (observation_space.low, 0.0, -np.inf),
                (observation_space.high, 1.0, np.inf),
            )
        )
        shown = Box(low.astype(self._dtype), high.astype(self._dtype), dtype=self._dtype.type)
        super().__init__(task, shown, action_space, rule)

    def observe(
        self, memory: Memory, observation: NDArray[Any], started: NDArray[np.bool_]
    ) -> NDArray[Any]:
        remembered = self.decide(memory, observation, started)
        # What a rule does not remember yet is NaN.
        parts = (observation, memory["decided"], np.nan_to_num(remembered))
        return np.concatenate(parts, axis=1, dtype=self._dtype)

    def act(self, memory: Memory, actions: NDArray[Any]) -> NDArray[np.float64]:
        wanted = np.clip(np.asarray(actions, np.float64), 0.0, 1.0)
        return np.clip(memory["decided"] + self._reach * (2.0 * wanted - 1.0), 0.0, 1.0)


class ProtocolOffset(TransformingEnv):
    """Let an action move what a clinical protocol decides, and show what that is.

    The middle of the action space is the protocol itself; 0 and 1 lie ``reach`` below and above it,
    as far as the environment's own range goes. So learning begins from a policy that treats well.
    The protocol's decision stands behind the observation, then what a rule remembers, or how many
    decisions a schedule has made. In robotics this is residual policy learning (Silver et al. 2018,
    arXiv:1812.06298).

    Args:
        env: A therapy environment whose observations are rows of numbers; wrappers that change
            observations or actions go outside.
        protocol: Name of one of the treatment's clinical protocols; a rule has to decide by what
            the environment shows.
        reach: How far an action moves each component of the protocol's, as a share of its range,
            above 0 and up to 1.

    Raises:
        TypeError: ``env`` is another kind of environment.
        ValueError: There is no such protocol, the environment's decisions cannot express it or its
            observations do not show what it needs, ``reach`` is out of range, or a wrapper inside
            has changed observations or actions.
    """

    def __init__(self, env: gymnasium.Env, protocol: str, reach: float = 0.1) -> None:
        super().__init__(
            env, protocol=protocol, reach=check_option("reach", reach, _LEAST, _LARGEST)
        )


class VectorProtocolOffset(TransformingVectorEnv):
    """:class:`ProtocolOffset` for vector environments.

    Args:
        env: The vector environment.
        protocol: As of :class:`ProtocolOffset`.
        reach: As of :class:`ProtocolOffset`.
    """

    twin = ProtocolOffset

    def __init__(self, env: VectorEnv, protocol: str, reach: float = 0.1) -> None:
        super().__init__(
            env, protocol=protocol, reach=check_option("reach", reach, _LEAST, _LARGEST)
        )

    @classmethod
    def transform(  # type: ignore[override]
        cls,
        task: TherapyTask,
        observation_space: Box,
        action_space: Box,
        protocol: str = "",
        reach: float = 0.1,
    ) -> Transform:
        """What the wrapper does to observations and actions.

        Args:
            task: The task inside.
            observation_space, action_space: One lane's spaces inside.
            protocol: As of :class:`ProtocolOffset`.
            reach: As of :class:`ProtocolOffset`.

        Raises:
            ValueError: As of :class:`ProtocolOffset`.
        """
        check_option("reach", reach, _LEAST, _LARGEST)
        require_bare(cls.twin.__name__, task, observation_space, action_space)
        if len(observation_space.shape) != 1:
            raise ValueError(
                f"observations have shape {observation_space.shape}; allowed: rows of numbers"
            )
        found = treatment_of(task).protocol(protocol)
        rule = _scheduled(task, found) if isinstance(found, Schedule) else found
        # Refuses before any work what the observation does not show.
        rule.actions(task, np.zeros((1, *observation_space.shape), observation_space.dtype))
        return _Offset(task, observation_space, action_space, rule, float(reach))


ProtocolOffset.vector = VectorProtocolOffset
