"""SBX: Stable-Baselines3's soft actor-critics in JAX, several times as fast an update.

A model of SBX collects with Stable-Baselines3's code and learns with its own: networks, optimisers
and random keys are trees of JAX arrays, of which torch knows nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from oncogym.training.algorithms.base import Arrays
from oncogym.training.packages import import_package

# Matrices of 64 x 64 gain nothing from a second thread. XLA reads this once, when it starts.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
_PLACE = "jax/"


def import_sbx() -> Any:
    """The package ``sbx``.

    Raises:
        ModuleNotFoundError: It is not installed; the message says how to.
    """
    return import_package("sbx", "this algorithm is one of SBX", "train,sbx")


def flax_activation(name: str) -> Any:
    """A non-linearity by the name that settings and policy files use."""
    import flax.linen

    return {"tanh": flax.linen.tanh, "relu": flax.linen.relu}[name]


def actor_layers(model: Any) -> list[nn.Linear]:
    """The actor's layers as torch has them; the last gives means and logarithms of deviations."""
    parameters = model.policy.actor_state.params["params"]
    dense = [parameters[f"Dense_{number}"] for number in range(len(parameters))]
    *hidden, mean, log_std = [(np.array(p["kernel"]), np.array(p["bias"])) for p in dense]
    both = tuple(np.concatenate(pair, axis=-1) for pair in zip(mean, log_std, strict=True))
    return [_linear(kernel, bias) for kernel, bias in (*hidden, both)]


def _linear(kernel: Any, bias: Any) -> nn.Linear:
    layer = nn.Linear(*kernel.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(kernel.T))
        layer.bias.copy_(torch.tensor(bias))
    return layer


class TrainStates:
    """Networks, optimisers and random keys of a model in checkpoints.

    Args:
        model: The model; :meth:`restore` changes it in place.
        critics: Names of the critics' states in its policy.
    """

    def __init__(self, model: Any, critics: tuple[str, ...]) -> None:
        of_policy = ("actor_state", *critics, "key", "noise_key")
        # Where each tree lies, by its name in a checkpoint.
        self._places = {name: (model.policy, name) for name in of_policy}
        self._places["ent_coef_state"] = (model, "ent_coef_state")
        self._places["model_key"] = (model, "key")

    def save(self) -> Arrays:
        """The leaves of all trees, numbered."""
        import jax

        return {
            f"{_PLACE}{name}/{number}": np.array(leaf)
            for name, (owner, attribute) in self._places.items()
            for number, leaf in enumerate(jax.tree_util.tree_leaves(getattr(owner, attribute)))
        }

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Put the leaves back.

        Raises:
            KeyError: One is missing.
            ValueError: One has another shape.
        """
        import jax
        import jax.numpy as jnp

        for name, (owner, attribute) in self._places.items():
            leaves, structure = jax.tree_util.tree_flatten(getattr(owner, attribute))
            fresh = []
            for number, leaf in enumerate(leaves):
                array = arrays[f"{_PLACE}{name}/{number}"]
                if np.shape(leaf) != array.shape:
                    raise ValueError(
                        f"{_PLACE}{name}/{number} has the shape {array.shape}; "
                        f"allowed: {np.shape(leaf)}"
                    )
                fresh.append(jnp.asarray(array, dtype=jnp.asarray(leaf).dtype))
            setattr(owner, attribute, jax.tree_util.tree_unflatten(structure, fresh))
