"""A Stable-Baselines3 PPO model as plain arrays: for policy files and for checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from oncogym.agents.policy_files import Policy
from oncogym.envs.options import resolve_options
from oncogym.envs.registry import find_variant
from oncogym.training.settings import RunSettings

Arrays = dict[str, NDArray[Any]]

# Of the Mersenne Twister's state.
_GENERATOR_WORDS = 624


def policy_arrays(model: PPO) -> Arrays:
    """The actor's tensors and the observation statistics, named as in a policy file."""
    state = {name: tensor.detach().numpy() for name, tensor in model.policy.state_dict().items()}
    found: Arrays = {"log_std": state["log_std"].copy()}
    hidden = sorted(
        int(name.split(".")[2])
        for name in state
        if name.startswith("mlp_extractor.policy_net.") and name.endswith(".weight")
    )
    layers = [f"mlp_extractor.policy_net.{index}" for index in hidden] + ["action_net"]
    for layer, name in enumerate(layers):
        # torch keeps (out, in); the kernel walks along the outputs. A view would go on learning.
        found[f"weight_{layer}"] = state[f"{name}.weight"].T.copy(order="C")
        found[f"bias_{layer}"] = state[f"{name}.bias"].copy()
    normalize = model.get_vec_normalize_env()
    if normalize is not None and normalize.norm_obs:
        moments = _moments(normalize)["observation_statistics"]
        found["observation_mean"] = np.array(moments.mean, np.float64).ravel()
        found["observation_variance"] = np.array(moments.var, np.float64).ravel()
    return found


def make_policy(settings: RunSettings, arrays: Arrays, about: dict[str, Any]) -> Policy:
    """The policy with these tensors for the environment of a run."""
    treatment, variant = find_variant(settings.env_id)
    options, _ = resolve_options(treatment, variant, settings.options)
    task = treatment.task(1, **options)
    layers = sum(name.startswith("weight_") for name in arrays)
    return Policy(
        env_id=settings.env_id,
        treatment=treatment.name,
        options=options,
        observation_space=task.observation_space,
        action_space=task.action_space,
        weights=tuple(arrays[f"weight_{layer}"] for layer in range(layers)),
        biases=tuple(arrays[f"bias_{layer}"] for layer in range(layers)),
        log_std=arrays["log_std"],
        activation=settings.hyperparameters.activation,
        rescale_actions=settings.hyperparameters.rescale_actions,
        mean=arrays.get("observation_mean"),
        variance=arrays.get("observation_variance"),
        about=about,
    )


def save_model(model: PPO) -> tuple[dict[str, Any], Arrays]:
    """Parameters, optimiser, normalisation and random-number states: JSON-able part and arrays."""
    arrays: Arrays = {
        f"policy/{name}": tensor.detach().numpy().copy()
        for name, tensor in model.policy.state_dict().items()
    }
    optimizer = model.policy.optimizer.state_dict()
    for index, entries in optimizer["state"].items():
        for name, tensor in entries.items():
            arrays[f"optimizer/{index}/{name}"] = tensor.detach().numpy().copy()
    generator, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    arrays["random/numpy"] = np.array(keys)
    arrays["random/torch"] = torch.get_rng_state().numpy()
    state: dict[str, Any] = {
        "updates": model._n_updates,
        "optimizer_groups": optimizer["param_groups"],
        "numpy_generator": [generator, position, has_gauss, cached],
    }
    normalize = model.get_vec_normalize_env()
    if normalize is not None:
        for name, moments in _moments(normalize).items():
            arrays[f"{name}/mean"] = np.asarray(moments.mean)
            arrays[f"{name}/var"] = np.asarray(moments.var)
            arrays[f"{name}/count"] = np.asarray(moments.count)
    return state, arrays


def restore_model(model: PPO, steps: int, state: dict[str, Any], arrays: Arrays) -> None:
    """Put back what :func:`save_model` took from a model of the same settings.

    Lanes are not part of it: their treatments start anew.

    Raises:
        IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError: The arrays do
            not fit the model.
    """
    model.policy.load_state_dict(
        {name: torch.tensor(arrays[f"policy/{name}"]) for name in model.policy.state_dict()}
    )
    _restore_optimizer(model, state["optimizer_groups"], arrays)
    normalize = model.get_vec_normalize_env()
    if normalize is not None:
        for name, moments in _moments(normalize).items():
            for part in ("mean", "var", "count"):
                array = arrays[f"{name}/{part}"]
                if array.shape != np.shape(getattr(moments, part)) or not (array >= -np.inf).all():
                    raise ValueError(f"{name}/{part} has the shape {array.shape}")
            moments.mean = arrays[f"{name}/mean"].copy()
            moments.var = arrays[f"{name}/var"].copy()
            moments.count = float(arrays[f"{name}/count"])
    generator, position, has_gauss, cached = state["numpy_generator"]
    if type(position) is not int or not 0 <= position <= _GENERATOR_WORDS:
        raise ValueError(f"numpy_generator is at position {position}")  # numpy itself believes it
    np.random.set_state((generator, arrays["random/numpy"], position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(torch.tensor(arrays["random/torch"]))
    model.num_timesteps = steps
    model._n_updates = int(state["updates"])


def _restore_optimizer(model: PPO, groups: Any, arrays: Arrays) -> None:
    """Put back Adam's moments, of which torch checks neither shape nor kind."""
    optimizer = model.policy.optimizer
    own = optimizer.state_dict()["param_groups"]
    kinds = [{name: _kind(value) for name, value in group.items()} for group in own]
    if [{name: _kind(value) for name, value in group.items()} for group in groups] != kinds:
        raise ValueError("the optimiser has other settings")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in arrays.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/")
            shape = () if key == "step" else tuple(parameters[int(index)].shape)
            if array.dtype.kind != "f" or array.shape != shape:
                raise ValueError(f"{name} has the shape {array.shape}, its parameter {shape}")
            entries.setdefault(int(index), {})[key] = torch.tensor(array)
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


def _kind(value: Any) -> Any:
    """What stays the same when a setting of an optimiser is read from JSON."""
    if isinstance(value, list | tuple):
        return len(value)
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, int | float) else type(value).__name__


def _moments(normalize: VecNormalize) -> dict[str, Any]:
    found: dict[str, Any] = {"return_statistics": normalize.ret_rms}
    if normalize.norm_obs:
        found["observation_statistics"] = normalize.obs_rms
    return found
