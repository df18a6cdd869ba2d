"""What every wrapper asks of its arguments and of the environment it is put around."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import gymnasium
from gymnasium.vector import VectorEnv

from oncogym.envs.therapy import TherapyTask


def require_env(wrapper: object, env: object) -> Any:
    """Return the task of a scalar therapy environment.

    Raises:
        TypeError: ``env`` is no scalar environment, or one of another package.
    """
    name = type(wrapper).__name__
    if not isinstance(env, gymnasium.Env):
        twin = f"; use Vector{name}" if isinstance(env, VectorEnv) else ""
        raise TypeError(f"{name} wraps a scalar environment; got {type(env).__name__}{twin}")
    return _therapy_task(name, env.unwrapped, getattr(env.unwrapped, "task", None))


def require_lanes(wrapper: object, env: object) -> Any:
    """Return the task of a therapy vector environment, native or Gymnasium's.

    Raises:
        TypeError: ``env`` is no vector environment, or one of another package's environments.
    """
    name = type(wrapper).__name__
    if not isinstance(env, VectorEnv):
        scalar = isinstance(env, gymnasium.Env)
        twin = f"; use {name.removeprefix('Vector')}" if scalar else ""
        raise TypeError(f"{name} wraps a vector environment; got {type(env).__name__}{twin}")
    base: object = env.unwrapped
    task = getattr(base, "task", None)
    lanes = getattr(base, "envs", None)  # Gymnasium's SyncVectorEnv
    if task is None and lanes:
        base = lanes[0].unwrapped
        task = getattr(base, "task", None)
    return _therapy_task(name, base, task)


def _therapy_task(name: str, base: object, task: object) -> TherapyTask:
    if not isinstance(task, TherapyTask):
        raise TypeError(
            f"{name} needs a therapy environment, whose infos name costs and reward terms; got "
            f"{type(base).__name__}"
        )
    return task


def require_bare(
    name: str, task: TherapyTask, observation_space: object, action_space: object
) -> None:
    """See to it that no wrapper inside has changed observations or actions.

    Args:
        name: Name of the wrapper that asks.
        task: The task inside.
        observation_space, action_space: One lane's spaces inside.

    Raises:
        ValueError: A space is not the task's.
    """
    for kind, inside, own in (
        ("observation", observation_space, task.observation_space),
        ("action", action_space, task.action_space),
    ):
        if inside != own:
            raise ValueError(
                f"{name} needs the environment's own {kind} space, {own}, and the wrapper inside "
                f"has {inside}; put that wrapper outside"
            )


def require_number(name: str, value: Any, *, zero: bool = True) -> float:
    """Return a finite number of at least (or, without ``zero``, above) 0 as a float.

    Args:
        name: Name of the argument, for the message.
        value: What a caller gave.
        zero: Whether 0 is allowed.

    Raises:
        ValueError: It is none; the message names it and the allowed range.
    """
    if not is_number(value) or value < 0.0 or (value == 0.0 and not zero):
        bound = "of at least 0" if zero else "above 0"
        raise ValueError(f"{name} is {value!r}; allowed: a finite number {bound}")
    return float(value)


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite real number; truth values and text are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
