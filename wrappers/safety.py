"""Safety: a penalty on the cost of a step, fixed or learnt, and a shield on doses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from oncogym.core.errors import nearest
from oncogym.envs.therapy import TherapyTask
from oncogym.wrappers.reward import last_of_step

SHAPES = {
    "linear": lambda cost: cost,
    "quadratic": np.square,
    "cube_root": np.cbrt,
}


@dataclass
class Multiplier:
    """Penalty multiplier: fixed, or ascending towards an episode cost limit (Lagrangian).

    With a ``cost_limit`` the multiplier moves after every finished episode by
    ``rate * (episode cost - cost_limit)`` and never falls below 0 (dual ascent).

    Args:
        value: The multiplier, or its start value; at least 0.
        cost_limit: Cost that an episode may have, or ``None`` for a fixed multiplier.
        rate: Step of the ascent, above 0.
    """

    value: float = 1.0
    cost_limit: float | None = None
    rate: float = 0.05
    _initial: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, low in (("value", 0.0), ("cost_limit", 0.0), ("rate", 0.0)):
            number = getattr(self, name)
            if number is not None and not (np.isfinite(number) and number >= low):
                raise ValueError(f"{name} is {number}; allowed: a finite number of at least {low}")
        self._initial = self.value

    def update(self, episode_costs: NDArray[np.float64]) -> None:
        """Move after finished episodes with total costs ``(k,)``; their mean counts once each."""
        if self.cost_limit is not None and len(episode_costs):
            gap = float(np.sum(episode_costs - self.cost_limit))
            self.value = max(0.0, self.value + self.rate * gap)


def _shape(name: str) -> Any:
    if name not in SHAPES:
        raise nearest("penalty shape", name, SHAPES)
    return SHAPES[name]


class SafetyPenalty(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Subtract ``multiplier * shape(cost)`` from the reward.

    ``info["safety_penalty"]`` has the amount and ``info["safety_multiplier"]`` the multiplier.

    Args:
        env: An environment whose ``info["cost"]`` is the constraint violation of the step.
        multiplier: Fixed multiplier, or the start value of a Lagrangian one; at least 0.
        shape: ``"linear"``, ``"quadratic"`` or ``"cube_root"``.
        cost_limit: Episode cost towards which the multiplier is driven; ``None`` keeps it fixed.
        rate: Step of the multiplier after each episode.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        multiplier: float = 1.0,
        shape: str = "linear",
        cost_limit: float | None = None,
        rate: float = 0.05,
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, multiplier=multiplier, shape=shape, cost_limit=cost_limit, rate=rate
        )
        super().__init__(env)
        self._shape = _shape(shape)
        self.multiplier = Multiplier(multiplier, cost_limit, rate)
        self._episode_cost = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset the environment; the multiplier stays."""
        self._episode_cost = 0.0
        observation, info = self.env.reset(seed=seed, options=options)
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


class VectorSafetyPenalty(VectorWrapper):
    """:class:`SafetyPenalty` for vector environments; all lanes share one multiplier."""

    def __init__(
        self,
        env: VectorEnv,
        multiplier: float = 1.0,
        shape: str = "linear",
        cost_limit: float | None = None,
        rate: float = 0.05,
    ) -> None:
        super().__init__(env)
        self._shape = _shape(shape)
        self.multiplier = Multiplier(multiplier, cost_limit, rate)
        self._episode_cost = np.zeros(self.num_envs)
        self._was_done = np.zeros(self.num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Reset the environment; the multiplier stays."""
        mask = (options or {}).get("reset_mask")
        chosen = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask)
        self._episode_cost[chosen] = 0.0
        self._was_done[chosen] = False
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, self._noted(info, np.zeros(self.num_envs))

    def step(self, actions: Any) -> Any:
        """Step the environment and subtract the penalty."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        cost = last_of_step(info, "cost")
        penalty = self.multiplier.value * self._shape(cost)
        self._episode_cost += cost
        info = self._noted(info, penalty)
        done = terminated | truncated
        ended = done & ~self._was_done
        self.multiplier.update(self._episode_cost[ended])
        self._episode_cost[ended] = 0.0
        disabled = self.env.metadata["autoreset_mode"] == gymnasium.vector.AutoresetMode.DISABLED
        self._was_done = done if disabled else np.zeros_like(done)
        return observation, reward - penalty, terminated, truncated, info

    def _noted(self, info: dict[str, Any], penalty: NDArray[np.float64]) -> dict[str, Any]:
        everywhere = np.ones(self.num_envs, np.bool_)
        info["safety_penalty"], info["_safety_penalty"] = penalty, everywhere
        info["safety_multiplier"] = np.full(self.num_envs, self.multiplier.value)
        info["_safety_multiplier"] = everywhere
        return info


def _require_safe_actions(env: Any) -> None:
    task = env.unwrapped.task
    if type(task).safe_actions is TherapyTask.safe_actions:
        raise NotImplementedError(
            f"{type(task).__name__} cannot say which action is safe; use SafetyPenalty instead"
        )


class DoseShield(gymnasium.ActionWrapper, gymnasium.utils.RecordConstructorArgs):
    """Replace each action by the largest safe one not above it.

    The model itself says what is safe (it knows the true state of the patient), so the shield is a
    bound on what a clinician could guarantee.

    Raises:
        NotImplementedError: The treatment's model cannot say what is safe.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        _require_safe_actions(env)

    def action(self, action: Any) -> Any:
        """The safe action."""
        base: Any = self.unwrapped
        return base.safe_action(action)


class VectorDoseShield(VectorWrapper):
    """:class:`DoseShield` for vector environments."""

    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)
        _require_safe_actions(env)

    def step(self, actions: Any) -> Any:
        """Step the environment with the safe actions."""
        base: Any = self.unwrapped
        return self.env.step(base.safe_actions(actions))
