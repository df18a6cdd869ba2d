"""Wrappers that change observations or actions by a transform, scalar and vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from oncogym.wrappers.checks import require_env, require_lanes
from oncogym.wrappers.vector_spec import RecordedVectorWrapper, write_state

_FIRST, _LATER = np.ones(1, np.bool_), np.zeros(1, np.bool_)


class TransformingEnv(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """A scalar environment behind the transform of its vector twin.

    Args:
        env: A therapy environment, wrapped or not.
        **arguments: The transform's arguments.
    """

    #: The wrapper that does the same to vector environments.
    vector: ClassVar[type[TransformingVectorEnv]]

    def __init__(self, env: gymnasium.Env, **arguments: Any) -> None:
        task = require_env(self, env)
        spaces: Any = env.observation_space, env.action_space
        transform = self.vector.transform(task, *spaces, **arguments)
        assert transform is not None
        gymnasium.utils.RecordConstructorArgs.__init__(self, **arguments)
        super().__init__(env)
        self._transform = transform
        self.observation_space = transform.observation_space
        self.action_space = transform.action_space
        self._memory = transform.begin(1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset the environment; what came before is forgotten."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._see(observation, _FIRST), info

    def step(self, action: Any) -> Any:
        """Step the environment."""
        inner = self._transform.act(self._memory, np.asarray(action)[None])[0]
        observation, reward, terminated, truncated, info = self.env.step(inner)
        return self._see(observation, _LATER), reward, terminated, truncated, info

    def _see(self, observation: NDArray[Any], started: NDArray[np.bool_]) -> NDArray[Any]:
        return self._transform.observe(self._memory, observation[None], started)[0]


class TransformingVectorEnv(RecordedVectorWrapper):
    """A vector environment behind a transform, in every autoreset mode.

    Args:
        env: A therapy vector environment, wrapped or not.
        **arguments: The transform's arguments.
    """

    def __init__(self, env: VectorEnv, **arguments: Any) -> None:
        task = require_lanes(self, env)
        spaces: Any = env.single_observation_space, env.single_action_space
        transform = self.transform(task, *spaces, **arguments)
        assert transform is not None
        super().__init__(env, **arguments)
        self._transform = transform
        self.single_observation_space = transform.observation_space
        self.single_action_space = transform.action_space
        self.observation_space = batch_space(transform.observation_space, self.num_envs)
        self.action_space = batch_space(transform.action_space, self.num_envs)
        self._memory = transform.begin(self.num_envs)
        self._seen = np.zeros(
            (self.num_envs, *transform.observation_space.shape), transform.observation_space.dtype
        )
        self._over = np.zeros(self.num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Reset the environment, or the lanes in ``reset_mask``."""
        mask = (options or {}).get("reset_mask")
        observation, info = self.env.reset(seed=seed, options=options)
        chosen = np.ones(self.num_envs, np.bool_) if mask is None else mask.copy()
        self._see(observation[chosen], chosen, chosen)
        self._over[chosen] = False
        return self._seen.copy(), info

    def step(self, actions: Any) -> Any:
        """Step the environment."""
        inner = self._transform.act(self._memory, np.asarray(actions))
        observation, reward, terminated, truncated, info = self.env.step(inner)
        mode = self.env.metadata.get("autoreset_mode")
        done = terminated | truncated
        every = np.ones(self.num_envs, np.bool_)
        started = np.zeros(self.num_envs, np.bool_)
        if mode is AutoresetMode.DISABLED:
            every = ~self._over  # the observation of a finished lane repeats
            self._over |= done
        elif mode is AutoresetMode.NEXT_STEP:
            started = self._over
            self._over = done.copy()
        elif done.any():
            last = np.stack([info["final_obs"][lane] for lane in np.flatnonzero(done)])
            shown = self._see(last, done, started)
            final = info["final_obs"].copy()
            final[done] = np.fromiter(shown, dtype=object, count=len(shown))
            info["final_obs"] = final
            started = done
        self._see(observation[every], every, started)
        return self._seen.copy(), reward, terminated, truncated, info

    def own_state(self) -> dict[str, NDArray[Any]]:
        """What is remembered of the lanes."""
        return {name: array.copy() for name, array in self._remembered().items()}

    def restore_own_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Put back what :meth:`own_state` gave."""
        write_state(self._remembered(), state)

    def _remembered(self) -> dict[str, NDArray[Any]]:
        memory = {f"memory_{name}": array for name, array in self._memory.items()}
        return {"seen": self._seen, "over": self._over, **memory}

    def _see(
        self, observation: NDArray[Any], lanes: NDArray[np.bool_], started: NDArray[np.bool_]
    ) -> NDArray[Any]:
        """Show ``observation`` ``(k, …)`` of the ``k`` lanes in a mask, and remember it."""
        memory = {name: array[lanes] for name, array in self._memory.items()}
        shown = self._transform.observe(memory, observation, started[lanes])
        for name, array in memory.items():
            self._memory[name][lanes] = array
        self._seen[lanes] = shown
        return shown
