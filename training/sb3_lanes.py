"""The lanes of a Stable-Baselines3 model in a checkpoint: a run goes on as if nothing had been."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from oncogym.envs.snapshots import Snapshot
from oncogym.training.algorithms.base import Arrays
from oncogym.training.wrapper_state import restore_wrappers, save_wrappers
from oncogym.wrappers.sb3 import SB3VecEnv

_LANES, _TOTALS, _SEEN = "lanes/", "totals/", "seen/"
# What a model remembers of the last step.
_MEMORY = ("_last_obs", "_last_original_obs", "_last_episode_starts")
# What a recurrent model remembers of each lane: two tensors of the actor, two of the critic.
_LSTM = "lstm/"


def save_lanes(model: BaseAlgorithm, lanes: VecNormalize) -> tuple[dict[str, Any] | None, Arrays]:
    """The treatments in the lanes, what the model last saw of them, and how it draws actions.

    Returns:
        A JSON-able part and arrays; ``None`` for a task without snapshots, whose lanes begin new
        treatments. What wrappers have learnt is among the arrays in any case.
    """
    adapter = lanes.venv
    assert isinstance(adapter, SB3VecEnv)
    arrays = save_wrappers(adapter.env)
    try:
        snapshot, totals = adapter.snapshot()
    except NotImplementedError:
        return None, arrays
    arrays |= {f"{_LANES}{name}": array for name, array in snapshot.arrays.items()}
    arrays |= {f"{_TOTALS}{name}": array for name, array in totals.items()}
    arrays[f"{_TOTALS}discounted"] = lanes.returns.copy()
    for name in _MEMORY:
        value = getattr(model, name, None)
        if value is not None:
            arrays[f"{_SEEN}{name}"] = np.array(value)
    for number, tensor in enumerate(_lstm_states(model)):
        arrays[f"{_LSTM}{number}"] = tensor.numpy().copy()
    return {
        "owner": snapshot.owner,
        "episodes": [dict(info) for info in model.ep_info_buffer or ()],
        "successes": [float(success) for success in model.ep_success_buffer or ()],
        "episode_number": model._episode_num,
        "actions": model.action_space.np_random.bit_generator.state,
    }, arrays


def restore_lanes(
    model: BaseAlgorithm,
    lanes: VecNormalize,
    state: Mapping[str, Any] | None,
    arrays: Mapping[str, Any],
) -> None:
    """Put back what :func:`save_lanes` took.

    Args:
        model: The model that trains on the lanes.
        lanes: The lanes, with their statistics.
        state: The JSON-able part; ``None`` where there is none.
        arrays: The arrays by name.

    Raises:
        KeyError, TypeError, ValueError: It does not fit.
    """
    adapter = lanes.venv
    assert isinstance(adapter, SB3VecEnv)
    restore_wrappers(adapter.env, arrays)
    if state is None:
        return
    totals = _part(arrays, _TOTALS)
    adapter.restore(Snapshot(str(state["owner"]), _part(arrays, _LANES)), totals)
    lanes.returns = totals["discounted"].copy()
    for name, value in _part(arrays, _SEEN).items():
        if name not in _MEMORY:
            raise ValueError(f"a model has no {name}")
        setattr(model, name, value.copy())
    for number, tensor in enumerate(_lstm_states(model)):
        saved = arrays[f"{_LSTM}{number}"]
        if saved.shape != tuple(tensor.shape):
            raise ValueError(f"{_LSTM}{number} has shape {saved.shape}; allowed: {tensor.shape}")
        tensor.copy_(torch.tensor(saved))
    model._episode_num = int(state["episode_number"])
    model.action_space.np_random.bit_generator.state = state["actions"]
    window = model._stats_window_size
    model.ep_info_buffer = deque(state["episodes"], maxlen=window)
    model.ep_success_buffer = deque(state["successes"], maxlen=window)


def _lstm_states(model: BaseAlgorithm) -> list[torch.Tensor]:
    """The tensors themselves of what a recurrent model remembers; none of another model."""
    states = getattr(model, "_last_lstm_states", None)
    return [] if states is None else [tensor for pair in states for tensor in pair]


def _part(arrays: Mapping[str, Any], prefix: str) -> Arrays:
    return {n.removeprefix(prefix): array for n, array in arrays.items() if n.startswith(prefix)}
