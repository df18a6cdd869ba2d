"""Safety: a penalty on the cost of a step, fixed or learnt, and a shield on doses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from oncogym.core.errors import nearest
from oncogym.envs.therapy import TherapyTask
from oncogym.wrappers.checks import require_env, require_lanes, require_number
from oncogym.wrappers.reward import RewardWeights, VectorRewardWeights, last_of_step
from oncogym.wrappers.transforms import Memory, Transform
from oncogym.wrappers.vector_reward import RewardTerms, VectorRewardTerms
from oncogym.wrappers.vector_spec import RecordedVectorWrapper, write_state


def _linear(cost: object) -> Any:
    return cost


#: Shapes of a penalty, by name: functions with a name, which can be pickled.
SHAPES = {"linear": _linear, "quadratic": np.square, "cube_root": np.cbrt}


@dataclass
class Multiplier:
    """Penalty multiplier: fixed, or ascending towards an episode cost limit (Lagrangian).

    With a ``cost_limit`` the multiplier moves after every finished episode by
    ``rate * (episode cost - cost_limit)`` and never falls below 0 (dual ascent).

    Args:
        value: The multiplier, or its start value; at least 0.
        cost_limit: Cost that an episode may have, at least 0, or ``None`` for a fixed multiplier.
        rate: Step of the ascent, above 0.

    Raises:
        ValueError: A value is no finite number in its range.
    """

    value: float = 1.0
    cost_limit: float | None = None
    rate: float = 0.05

    def __post_init__(self) -> None:
        self.value = require_number("multiplier", self.value)
        self.rate = require_number("rate", self.rate, zero=False)
        if self.cost_limit is not None:
            self.cost_limit = require_number("cost_limit", self.cost_limit)

    def arguments(self) -> dict[str, Any]:
        """The arguments of a penalty with this multiplier, by name."""
        return {"multiplier": self.value, "cost_limit": self.cost_limit, "rate": self.rate}

    def update(self, episode_costs: NDArray[np.float64]) -> None:
        """Move once for all episodes that ended together, with total costs ``(k,)``."""
        if self.cost_limit is not None and len(episode_costs):
            gap = float(np.sum(episode_costs - self.cost_limit))
            self.value = max(0.0, self.value + self.rate * gap)


def _shape(name: Any) -> Any:
    if not isinstance(name, str) or name not in SHAPES:
        raise nearest("penalty shape", name, SHAPES)
    return SHAPES[name]


def require_scalar_reward(wrapper: object, env: object) -> None:
    """Raise ValueError if the reward of ``env`` is a vector, made by a wrapper of ours."""
    while isinstance(env, (gymnasium.Wrapper, VectorWrapper)):
        if isinstance(env, (RewardTerms, VectorRewardTerms)):
            raise ValueError(
                f"{type(wrapper).__name__} needs a scalar reward, and {type(env).__name__} inside "
                f"gives a vector; put {type(env).__name__} outside"
            )
        known = type(env).__module__.partition(".")[0] in ("gymnasium", "oncogym")
        if isinstance(env, (RewardWeights, VectorRewardWeights)) or not known:
            return  # makes a scalar of it, or may (LinearReward of MO-Gymnasium)
        env = env.env


class SafetyPenalty(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Subtract ``multiplier * shape(cost)`` from the reward.

    ``info["safety_penalty"]`` has the amount and ``info["safety_multiplier"]`` the multiplier by
    which it was reckoned; both are in the info of a reset too, with an amount of 0.

    Args:
        env: A therapy environment, wrapped or not; its ``info["cost"]`` is the constraint violation
            of the step.
        multiplier: Fixed multiplier, or the start value of a Lagrangian one; at least 0.
        shape: ``"linear"``, ``"quadratic"`` or ``"cube_root"``.
        cost_limit: Episode cost towards which the multiplier is driven; ``None`` keeps it fixed.
        rate: Step of the multiplier after each episode, above 0.

    Raises:
        TypeError: ``env`` is another kind of environment.
        UnknownNameError: There is no such shape.
        ValueError: A number is out of its range, or the reward inside is a vector.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        multiplier: float = 1.0,
        shape: str = "linear",
        cost_limit: float | None = None,
        rate: float = 0.05,
    ) -> None:
        require_env(self, env)
        require_scalar_reward(self, env)
        self._shape = _shape(shape)
        self.multiplier = Multiplier(multiplier, cost_limit, rate)
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, **self.multiplier.arguments(), shape=str(shape)
        )
        super().__init__(env)
        self._episode_cost = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset the environment; the multiplier stays."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._episode_cost = 0.0
        return observation, self._noted(info, 0.0)

    def step(self, action: Any) -> Any:
        """Step the environment and subtract the penalty."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._episode_cost += info["cost"]
        penalty = self.multiplier.value * float(self._shape(info["cost"]))
        info = self._noted(info, penalty)
        if terminated or truncated:
            self.multiplier.update(np.array([self._episode_cost]))
        return observation, float(reward) - penalty, terminated, truncated, info

    def _noted(self, info: dict[str, Any], penalty: float) -> dict[str, Any]:
        info["safety_penalty"] = penalty
        info["safety_multiplier"] = self.multiplier.value
        return info


class VectorSafetyPenalty(RecordedVectorWrapper):
    """:class:`SafetyPenalty` for vector environments.

    All lanes share one multiplier, whereas scalar environments have one each: with a ``cost_limit``
    the two agree for one lane. The multiplier moves after the step, so the last info of an episode
    has the value from before and the info of the reset the one from after.

    Args:
        env: The vector environment.
        multiplier, shape, cost_limit, rate: As of :class:`SafetyPenalty`.
    """

    twin = SafetyPenalty

    def __init__(
        self,
        env: VectorEnv,
        multiplier: float = 1.0,
        shape: str = "linear",
        cost_limit: float | None = None,
        rate: float = 0.05,
    ) -> None:
        require_lanes(self, env)
        require_scalar_reward(self, env)
        self._shape = _shape(shape)
        self.multiplier = Multiplier(multiplier, cost_limit, rate)
        super().__init__(env, **self.multiplier.arguments(), shape=str(shape))
        self._episode_cost = np.zeros(self.num_envs)
        self._was_done = np.zeros(self.num_envs, np.bool_)

    def own_state(self) -> dict[str, NDArray[Any]]:
        """The multiplier and the costs of the episodes so far."""
        return {
            "multiplier": np.array(self.multiplier.value),
            "episode_cost": self._episode_cost.copy(),
            "was_done": self._was_done.copy(),
        }

    def restore_own_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Put back what :meth:`own_state` gave.

        Raises:
            KeyError, ValueError: It does not fit.
        """
        value = require_number("multiplier", state["multiplier"].item())
        write_state({"episode_cost": self._episode_cost, "was_done": self._was_done}, state)
        self.multiplier.value = value

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Reset the environment, or the lanes in ``reset_mask``; the multiplier stays."""
        mask = (options or {}).get("reset_mask")
        observation, info = self.env.reset(seed=seed, options=options)
        chosen = np.ones(self.num_envs, np.bool_) if mask is None else mask.copy()
        self._episode_cost[chosen] = 0.0
        self._was_done[chosen] = False
        none = np.zeros(self.num_envs)
        _note(info, none, np.where(chosen, self.multiplier.value, 0.0), chosen)
        return observation, info

    def step(self, actions: Any) -> Any:
        """Step the environment and subtract the penalty."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        cost = last_of_step(info, "cost")
        before = self.multiplier.value
        penalty = before * self._shape(cost)
        self._episode_cost += cost
        done = terminated | truncated
        ended = done & ~self._was_done
        self.multiplier.update(self._episode_cost[ended])
        self._episode_cost[ended] = 0.0
        disabled = self.env.metadata.get("autoreset_mode") is AutoresetMode.DISABLED
        self._was_done = done.copy() if disabled else np.zeros_like(done)
        present = info["_cost"]
        if "final_info" in info:
            over = info["_final_info"]
            last = np.where(over, penalty, 0.0), np.where(over, before, 0.0)
            _note(info["final_info"], *last, over)
            now = np.where(over, 0.0, penalty), np.where(over, self.multiplier.value, before)
            _note(info, *now, present)
        else:
            _note(info, penalty.copy(), np.where(present, before, 0.0), present)
        return observation, reward - penalty, terminated, truncated, info


def _note(
    info: dict[str, Any],
    penalty: NDArray[np.float64],
    multiplier: NDArray[np.float64],
    present: NDArray[np.bool_],
) -> None:
    info["safety_penalty"], info["_safety_penalty"] = penalty, present
    info["safety_multiplier"], info["_safety_multiplier"] = multiplier, present


def _require_safe_actions(wrapper: Any, task: Any, method: str, spaces: tuple[Any, Any]) -> None:
    name = type(wrapper).__name__
    if type(task).safe_actions is TherapyTask.safe_actions:
        raise NotImplementedError(
            f"{type(task).__name__} cannot say which action is safe; use SafetyPenalty instead"
        )
    if not hasattr(wrapper.unwrapped, method):
        raise TypeError(
            f"{name} needs native lanes; {type(wrapper.unwrapped).__name__} cannot say which "
            "actions are safe: put DoseShield around its environments"
        )
    inner, base = spaces
    endless = isinstance(inner, Box) and not inner.is_bounded()  # ClipAction
    if inner != base and not endless:
        raise ValueError(
            f"{name} needs actions in {base}, and those of the wrapper inside are in {inner}; put "
            "the wrapper that changes them outside"
        )


class _Shielding(Transform):
    """The largest safe actions of a live task."""

    privileged = True

    def __init__(self, task: TherapyTask, observation_space: Box, action_space: Box) -> None:
        super().__init__(observation_space, action_space)
        self._task = task

    def act(self, memory: Memory, actions: NDArray[Any]) -> NDArray[Any]:
        everyone = np.ones(len(actions), np.bool_)
        batch, _ = self._task.check_actions(actions, everyone)
        return self._task.safe_actions(batch)


class DoseShield(gymnasium.ActionWrapper, gymnasium.utils.RecordConstructorArgs):
    """Replace each action by the largest safe one not above it.

    The model itself says what is safe (it knows the true state of the patient), so the shield is a
    bound on what a clinician could guarantee. A wrapper that changes the unit of actions, such as
    ``RescaleAction``, goes outside.

    Raises:
        TypeError: ``env`` is another kind of environment.
        NotImplementedError: The treatment's model cannot say what is safe.
        ValueError: A wrapper inside has changed the unit of actions.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        task = require_env(self, env)
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        spaces = env.action_space, env.unwrapped.action_space
        _require_safe_actions(self, task, "safe_action", spaces)

    def action(self, action: Any) -> Any:
        """The safe action."""
        base: Any = self.unwrapped
        return base.safe_action(action)


class VectorDoseShield(RecordedVectorWrapper):
    """:class:`DoseShield` for vector environments with native lanes."""

    twin = DoseShield

    def __init__(self, env: VectorEnv) -> None:
        task = require_lanes(self, env)
        super().__init__(env)
        spaces = env.single_action_space, env.unwrapped.single_action_space
        _require_safe_actions(self, task, "safe_actions", spaces)

    @classmethod
    def transform(
        cls, task: TherapyTask, observation_space: Box, action_space: Box, **arguments: Any
    ) -> Transform:
        """Safe actions, which only a live task knows."""
        return _Shielding(task, observation_space, action_space)

    def step(self, actions: Any) -> Any:
        """Step the environment with the safe actions."""
        base: Any = self.unwrapped
        return self.env.step(base.safe_actions(actions))
