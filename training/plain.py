"""Stable-Baselines3 as anybody would use it first: its defaults on a few scalar environments."""

from __future__ import annotations

from typing import Any

import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from oncogym.training.progress import ProgressBar
from oncogym.training.random_state import own_random_state


def learn_plainly(
    env: str, algorithm: str, *, steps: int, seed: int, lanes: int = 4, progress: bool = False
) -> BaseAlgorithm:
    """Train one of Stable-Baselines3's algorithms with its defaults on scalar environments.

    The environments are those of ``gymnasium.make`` in a ``DummyVecEnv``, without a wrapper that
    changes anything. Torch computes on one thread, on the CPU.

    Args:
        env: Registered id.
        algorithm: Name of a class of Stable-Baselines3 with an ``MlpPolicy``.
        steps: Decisions at least; an algorithm that updates after whole rollouts ends with one.
        seed: Seed of networks and environments.
        lanes: Scalar environments.
        progress: Show a bar on standard error.
    """
    make_model: Any = getattr(stable_baselines3, algorithm)
    with own_random_state():
        envs = make_vec_env(env, n_envs=lanes)
        try:
            model: BaseAlgorithm = make_model("MlpPolicy", envs, seed=seed, device="cpu")
            bar = ProgressBar(steps, 0, progress)
            try:
                model.learn(steps, _Advance(bar))
            finally:
                bar.close()
        finally:
            envs.close()
    return model


class _Advance(BaseCallback):
    """Moves a bar by what was decided."""

    def __init__(self, bar: ProgressBar) -> None:
        super().__init__()
        self._bar = bar

    def _on_step(self) -> bool:
        self._bar.advance(self.training_env.num_envs)
        return True
