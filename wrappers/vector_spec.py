"""Vector wrappers that stand in the specification, so that ``make_vec`` builds them again.

Gymnasium leaves vector wrappers out of ``spec``: what is built from it again is bare.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium
from gymnasium.envs.registration import load_env_creator
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from oncogym.envs.therapy import TherapyTask
from oncogym.envs.vector_env import TherapyVectorEnv
from oncogym.wrappers.transforms import Transform

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

_PLAIN = f"{TherapyVectorEnv.__module__}:{TherapyVectorEnv.__name__}"
_WRAPPED = f"{__name__}:make_wrapped_lanes"
# Keyword argument of `make_wrapped_lanes`: entry points and arguments of wrappers, innermost first.
_KEY = "wrapped_in"


def write_state(own: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
    """Write saved arrays into a wrapper's own, all or none.

    Raises:
        KeyError, ValueError: One is missing or of another shape.
    """
    for name, array in own.items():
        if state[name].shape != array.shape:
            raise ValueError(f"{name} has shape {state[name].shape}; allowed: {array.shape}")
    for name, array in own.items():
        array[...] = state[name]


class RecordedVectorWrapper(VectorWrapper):
    """A vector wrapper whose arguments stand in :attr:`spec`.

    Args:
        env: A vector environment.
        **arguments: The wrapper's other arguments, as JSON has them.
    """

    #: The wrapper that does the same to a scalar environment.
    twin: ClassVar[type[gymnasium.Wrapper]]

    def __init__(self, env: VectorEnv, **arguments: Any) -> None:
        super().__init__(env)
        self._arguments = arguments

    @classmethod
    def transform(
        cls, task: TherapyTask, observation_space: Box, action_space: Box, **arguments: Any
    ) -> Transform | None:
        """What the wrapper does to observations and actions; ``None``: it changes rewards only.

        Agents that were trained in the wrapper act through it.

        Args:
            task: The task inside.
            observation_space, action_space: One lane's spaces inside.
            **arguments: The wrapper's arguments.
        """
        return None

    def own_state(self) -> dict[str, NDArray[Any]]:
        """What changes from step to step, arrays by name, for checkpoints."""
        return {}

    def restore_own_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Put back what :meth:`own_state` gave.

        Raises:
            KeyError, ValueError: It does not fit.
        """

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]
        """What ``gymnasium.make_vec`` builds native lanes in these wrappers from."""
        spec = copy.deepcopy(self.unwrapped.spec)
        if spec is None or not isinstance(self.unwrapped, TherapyVectorEnv):
            return spec
        spec.kwargs[_KEY] = [
            [f"{type(env).__module__}:{type(env).__name__}", env._arguments]
            for env in recorded(self)
        ]
        spec.vector_entry_point = _WRAPPED
        return spec


def recorded(env: object) -> list[RecordedVectorWrapper]:
    """The recorded wrappers around a vector environment, innermost first."""
    found = []
    while isinstance(env, VectorWrapper):
        if isinstance(env, RecordedVectorWrapper):
            found.append(env)
        env = env.env
    return found[::-1]


def make_wrapped_lanes(
    num_envs: int, wrapped_in: list[tuple[str, dict[str, Any]]], **options: Any
) -> VectorEnv:
    """Native lanes in wrappers: entry points and arguments, innermost first.

    Args:
        num_envs: Number of lanes.
        wrapped_in: Wrappers as ``(entry point, keyword arguments)``.
        **options: Options of the environment.
    """
    env: VectorEnv = TherapyVectorEnv(num_envs=num_envs, **options)
    for wrapper, arguments in wrapped_in:
        make: Any = load_env_creator(wrapper)
        env = make(env, **arguments)
    return env


def scalar_spec(env: VectorEnv) -> EnvSpec | None:
    """What ``gymnasium.make`` builds one lane in the wrappers' twins from."""
    spec = copy.deepcopy(env.unwrapped.spec)
    if spec is None:
        return None
    for name in ("num_envs", "vectorization_mode", "autoreset_mode", _KEY):
        spec.kwargs.pop(name, None)
    limit = spec.kwargs.pop("max_episode_steps", None)
    spec.max_episode_steps = limit or spec.max_episode_steps
    spec.vector_entry_point = _PLAIN
    for wrapper in recorded(env):
        spec.additional_wrappers += (wrapper.twin.wrapper_spec(**wrapper._arguments),)
    return spec
