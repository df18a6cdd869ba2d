"""The state of a Stable-Baselines3 model as plain data and arrays, for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import VecNormalize

from oncogym.training.algorithms.base import Arrays

_ARRAY = "array of the checkpoint"


def save_model(model: BaseAlgorithm) -> tuple[dict[str, Any], Arrays]:
    """Networks, optimisers, replayed decisions, normalisation and random-number states.

    Returns:
        A JSON-able part and the arrays that it refers to.
    """
    arrays: Arrays = {}
    _, variables = model._get_torch_save_params()
    generator, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    arrays["random/numpy"] = np.array(keys)
    arrays["random/torch"] = torch.get_rng_state().numpy()
    state = {
        "updates": model._n_updates,
        "parameters": pack(model.get_parameters(), arrays, "parameters"),
        "variables": pack(
            {name: recursive_getattr(model, name) for name in variables}, arrays, "variables"
        ),
        "numpy_generator": [generator, position, has_gauss, cached],
    }
    for name, moments in _moments(model.get_vec_normalize_env()).items():
        arrays[f"{name}/mean"] = np.asarray(moments.mean)
        arrays[f"{name}/var"] = np.asarray(moments.var)
        arrays[f"{name}/count"] = np.asarray(moments.count)
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        state["replayed"] = {"pos": buffer.pos, "full": buffer.full}
        for name, array in _replayed(buffer).items():
            arrays[f"replayed/{name}"] = array[: buffer.size()].copy()
    return state, arrays


def restore_model(
    model: BaseAlgorithm, steps: int, state: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Put back what :func:`save_model` took from a model of the same settings.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: It does not fit the model.
    """
    model.set_parameters(unpack(state["parameters"], arrays), exact_match=True)
    for name, value in unpack(state["variables"], arrays).items():
        with torch.no_grad():
            recursive_getattr(model, name).copy_(value)
    for name, moments in _moments(model.get_vec_normalize_env()).items():
        moments.mean = arrays[f"{name}/mean"].copy()
        moments.var = arrays[f"{name}/var"].copy()
        moments.count = float(arrays[f"{name}/count"])
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        buffer.pos, buffer.full = int(state["replayed"]["pos"]), bool(state["replayed"]["full"])
        for name, array in _replayed(buffer).items():
            array[: buffer.size()] = arrays[f"replayed/{name}"]
    generator, position, has_gauss, cached = state["numpy_generator"]
    np.random.set_state((generator, arrays["random/numpy"], position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(torch.tensor(arrays["random/torch"]))
    model.num_timesteps = steps
    model._n_updates = int(state["updates"])


def pack(value: Any, arrays: Arrays, place: str) -> Any:
    """``value`` as JSON-able data; tensors go to ``arrays`` under names that begin with ``place``.

    Mappings become lists of pairs, for JSON has no other keys than texts.
    """
    if isinstance(value, torch.Tensor):
        arrays[place] = value.detach().cpu().numpy().copy()
        return {_ARRAY: place}
    if isinstance(value, Mapping):
        return {
            "pairs": [[key, pack(item, arrays, f"{place}/{key}")] for key, item in value.items()]
        }
    if isinstance(value, (list, tuple)):
        return [pack(item, arrays, f"{place}/{index}") for index, item in enumerate(value)]
    return value


def unpack(value: Any, arrays: Mapping[str, Any]) -> Any:
    """What :func:`pack` was given, with tensors again."""
    if isinstance(value, Mapping):
        if _ARRAY in value:
            return torch.tensor(arrays[value[_ARRAY]])
        return {key: unpack(item, arrays) for key, item in value["pairs"]}
    if isinstance(value, list):
        return [unpack(item, arrays) for item in value]
    return value


def _moments(normalize: VecNormalize | None) -> dict[str, RunningMeanStd]:
    if normalize is None:
        return {}
    found = {"return_statistics": normalize.ret_rms}
    if normalize.norm_obs:
        found["observation_statistics"] = normalize.obs_rms  # type: ignore[assignment]
    return found


def _replayed(buffer: BaseBuffer) -> Arrays:
    """The arrays of a buffer whose first axis counts what was stored."""
    return {
        name: value
        for name, value in vars(buffer).items()
        if isinstance(value, np.ndarray) and value.shape[:1] == (buffer.buffer_size,)
    }
