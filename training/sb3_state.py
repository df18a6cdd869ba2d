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
# Of the Mersenne Twister's state.
_GENERATOR_WORDS = 624


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

    Args:
        model: A model of the same settings; changed in place.
        steps: Decisions so far, all lanes together.
        state: The JSON-able part.
        arrays: The arrays by name.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: It does not fit the model.
    """
    _restore_parameters(model, unpack(state["parameters"], arrays))
    for name, value in unpack(state["variables"], arrays).items():
        with torch.no_grad():
            recursive_getattr(model, name).copy_(value)
    for name, moments in _moments(model.get_vec_normalize_env()).items():
        for part in ("mean", "var", "count"):
            array = arrays[f"{name}/{part}"]
            if array.shape != np.shape(getattr(moments, part)) or not (array >= -np.inf).all():
                raise ValueError(f"{name}/{part} has the shape {array.shape}")
        moments.mean = arrays[f"{name}/mean"].copy()
        moments.var = arrays[f"{name}/var"].copy()
        moments.count = float(arrays[f"{name}/count"])
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        buffer.pos, buffer.full = int(state["replayed"]["pos"]), bool(state["replayed"]["full"])
        for name, array in _replayed(buffer).items():
            array[: buffer.size()] = arrays[f"replayed/{name}"]
    generator, position, has_gauss, cached = state["numpy_generator"]
    if type(position) is not int or not 0 <= position <= _GENERATOR_WORDS:
        raise ValueError(f"numpy_generator is at position {position}")  # numpy itself believes it
    np.random.set_state((generator, arrays["random/numpy"], position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(torch.tensor(arrays["random/torch"]))
    model.num_timesteps = steps
    model._n_updates = int(state["updates"])


def _restore_parameters(model: BaseAlgorithm, parameters: Mapping[str, Any]) -> None:
    """Put back networks and optimisers; torch checks neither shape nor kind of Adam's moments."""
    for name, saved in parameters.items():
        part = recursive_getattr(model, name)
        if not isinstance(part, torch.optim.Optimizer):
            continue
        kinds = [
            [{key: _kind(value) for key, value in group.items()} for group in groups]
            for groups in (part.state_dict()["param_groups"], saved["param_groups"])
        ]
        if kinds[0] != kinds[1]:
            raise ValueError(f"{name} has other settings")
        own = [p for group in part.param_groups for p in group["params"]]
        for index, entries in saved["state"].items():
            for key, value in entries.items():
                shape = () if key == "step" else tuple(own[int(index)].shape)
                if not torch.is_floating_point(value) or tuple(value.shape) != shape:
                    raise ValueError(f"{name}: {key} of parameter {index} is not {shape}")
    model.set_parameters(dict(parameters), exact_match=True)


def _kind(value: object) -> Any:
    """What stays the same when a setting of an optimiser is read from JSON."""
    if isinstance(value, list | tuple):
        return len(value)
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, int | float) else type(value).__name__


def pack(value: object, arrays: Arrays, place: str) -> Any:
    """``value`` as JSON-able data; tensors go to ``arrays`` under names that begin with ``place``.

    Mappings become lists of pairs, for JSON has no other keys than texts.

    Args:
        value: What is stored.
        arrays: Where tensors go; changed in place.
        place: Beginning of their names.
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


def unpack(value: object, arrays: Mapping[str, object]) -> Any:
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
