"""A trained policy as two files: ``policy.json`` says what it is, ``policy.npz`` has the tensors.

Reading them runs no code from the files (nothing is unpickled) and needs neither torch nor
Stable-Baselines3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.core.archives import dump_arrays, load_arrays
from oncogym.core.files import (
    CorruptFileError,
    StrPath,
    read_json,
    to_plain,
    write_bytes_atomic,
    write_json_atomic,
)

FORMAT = "oncogym-policy"
VERSION = 2
ACTIVATIONS = ("tanh", "relu")


@dataclass(frozen=True)
class Policy:
    """A Gaussian multi-layer perceptron policy and the problem it was made for.

    Args:
        env_id: Environment in which it was trained.
        treatment: Name of the treatment.
        options: Options of the task, without those that only choose patients.
        observation_space: One lane's observations.
        action_space: One lane's actions, in [0, 1].
        weights: One matrix ``(in, out)`` for each layer, float32.
        biases: One vector ``(out,)`` for each layer, float32.
        log_std: Logarithm of the standard deviation of each action component ``(size,)``; ``None``
            if the network gives it: its last layer then has twice as many outputs, the means first.
        activation: ``"tanh"`` or ``"relu"``, after every layer but the last.
        rescale_actions: The action lies in [-1, 1] and is mapped to [0, 1].
        squash: The hyperbolic tangent of what the network gives, or of what is drawn, is the
            action.
        mean, variance: Of each observed quantity ``(inputs,)``, or ``None`` for no normalisation.
        epsilon, clip: The network sees ``(x - mean) / sqrt(variance + epsilon)`` within ``±clip``.
        about: Anything else worth keeping: step, score, seed.
    """

    env_id: str
    treatment: str
    options: Mapping[str, Any]
    observation_space: Box
    action_space: Box
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    log_std: NDArray[np.float32] | None
    activation: str = "tanh"
    rescale_actions: bool = False
    squash: bool = False
    mean: NDArray[np.float64] | None = None
    variance: NDArray[np.float64] | None = None
    epsilon: float = 1e-8
    clip: float = 10.0
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise ValueError(problem)

    @property
    def sizes(self) -> list[int]:
        """Units of each layer, inputs first."""
        return [self.weights[0].shape[0], *(matrix.shape[1] for matrix in self.weights)]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All arrays by the name they have in the file."""
        found: dict[str, NDArray[Any]] = {}
        if self.log_std is not None:
            found["log_std"] = self.log_std
        for layer, (matrix, vector) in enumerate(zip(self.weights, self.biases, strict=True)):
            found[f"weight_{layer}"], found[f"bias_{layer}"] = matrix, vector
        if self.mean is not None and self.variance is not None:
            found["observation_mean"], found["observation_variance"] = self.mean, self.variance
        return found

    def to_document(self) -> dict[str, Any]:
        """All but the tensors, JSON-able."""
        plain = self.mean is None
        return to_plain(
            {
                "format": FORMAT,
                "version": VERSION,
                "env_id": self.env_id,
                "treatment": self.treatment,
                "options": dict(self.options),
                "observation_space": _describe(self.observation_space),
                "action_space": _describe(self.action_space),
                "network": {"sizes": self.sizes, "activation": self.activation},
                "rescale_actions": self.rescale_actions,
                "squash": self.squash,
                "deviation": "of the network" if self.log_std is None else "constant",
                "normalisation": None if plain else {"epsilon": self.epsilon, "clip": self.clip},
                "about": dict(self.about),
            }
        )

    @classmethod
    def from_document(
        cls, document: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
    ) -> Policy:
        """The policy of :meth:`to_document` and its tensors.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: Something is missing or wrong.
        """
        layers = len(document["network"]["sizes"]) - 1
        normalisation = document["normalisation"]
        policy = cls(
            env_id=str(document["env_id"]),
            treatment=str(document["treatment"]),
            options=dict(document["options"]),
            observation_space=_space(document["observation_space"]),
            action_space=_space(document["action_space"]),
            weights=tuple(tensors[f"weight_{layer}"] for layer in range(layers)),
            biases=tuple(tensors[f"bias_{layer}"] for layer in range(layers)),
            log_std=tensors["log_std"] if document["deviation"] == "constant" else None,
            activation=document["network"]["activation"],
            rescale_actions=bool(document["rescale_actions"]),
            squash=bool(document["squash"]),
            mean=None if normalisation is None else tensors["observation_mean"],
            variance=None if normalisation is None else tensors["observation_variance"],
            epsilon=1e-8 if normalisation is None else float(normalisation["epsilon"]),
            clip=10.0 if normalisation is None else float(normalisation["clip"]),
            about=dict(document["about"]),
        )
        if policy.sizes != document["network"]["sizes"]:
            raise ValueError(f"sizes {document['network']['sizes']} but tensors {policy.sizes}")
        return policy

    def _problem(self) -> str:
        if self.activation not in ACTIVATIONS:
            return f"activation is {self.activation!r}; allowed: {', '.join(ACTIVATIONS)}"
        if not self.weights or len(self.weights) != len(self.biases):
            return f"{len(self.weights)} weight matrices and {len(self.biases)} bias vectors"
        width = int(np.prod(self.observation_space.shape))
        for layer, (matrix, vector) in enumerate(zip(self.weights, self.biases, strict=True)):
            if matrix.ndim != 2 or vector.ndim != 1 or matrix.shape != (width, len(vector)):
                return (
                    f"layer {layer} has shapes {matrix.shape} and {vector.shape} on {width} units"
                )
            width = len(vector)
        actions = int(np.prod(self.action_space.shape))
        if width != (actions if self.log_std is not None else 2 * actions):
            return f"the network has {width} outputs for actions of {actions} components"
        if self.log_std is not None and self.log_std.shape != (actions,):
            return f"log_std has shape {self.log_std.shape} for actions of {actions} components"
        if (self.mean is None) != (self.variance is None):
            return "observation mean and variance must come together"
        if self.mean is not None and self.variance is not None:
            inputs = self.sizes[0]
            if self.mean.shape != (inputs,) or self.variance.shape != (inputs,):
                return f"observation statistics are not of shape ({inputs},)"
            if (self.variance < 0.0).any() or not self.epsilon > 0.0 or not self.clip > 0.0:
                return "observation variance, epsilon and clip must be positive"
        if not all(np.isfinite(array).all() for array in self.tensors().values()):
            return "a tensor has values that are not finite"
        return ""


def write_policy(folder: StrPath, policy: Policy) -> Path:
    """Write ``policy.npz`` and ``policy.json`` into an existing folder; return the folder.

    ``policy.json`` is taken away first and put back last, so that at any moment the folder holds a
    whole policy or none.
    """
    folder = Path(folder)
    data = dump_arrays(policy.tensors())
    tensors = {"file": "policy.npz", "sha256": hashlib.sha256(data).hexdigest()}
    document = {**policy.to_document(), "tensors": tensors}
    to_plain(document)  # an option without a JSON form must not cost the policy that was there
    (folder / "policy.json").unlink(missing_ok=True)
    write_bytes_atomic(folder / "policy.npz", data)
    write_json_atomic(folder / "policy.json", document)
    return folder


def read_policy(folder: StrPath) -> Policy:
    """Read a policy written by :func:`write_policy`.

    Raises:
        FileNotFoundError: The folder has no complete policy.
        CorruptFileError: A file is truncated, altered or not a policy; the message names it.
    """
    folder = Path(folder)
    path = folder / "policy.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no policy: there is no {path.name}")
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CorruptFileError(f"{path}: not an oncogym policy")
    if document.get("version") != VERSION:
        raise CorruptFileError(
            f"{path}: policy format {document.get('version')}; this oncogym reads {VERSION}"
        )
    tensors = _read_tensors(folder / "policy.npz", document)
    try:
        return Policy.from_document(document, tensors)
    except KeyError as error:
        raise CorruptFileError(f"{path}: {error.args[0]} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise CorruptFileError(f"{path}: {error}") from error


def _read_tensors(path: Path, document: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise CorruptFileError(f"{path}: the file is missing beside its policy.json")
    data = path.read_bytes()
    wanted = (document.get("tensors") or {}).get("sha256")
    if hashlib.sha256(data).hexdigest() != wanted:
        raise CorruptFileError(f"{path}: truncated or altered ({len(data)} bytes, wrong sha256)")
    return load_arrays(path, data)


def _describe(space: Box) -> dict[str, Any]:
    return {
        "shape": list(space.shape),
        "dtype": str(space.dtype),
        "low": _bound(space.low),
        "high": _bound(space.high),
    }


def _bound(values: NDArray[Any]) -> Any:
    """One number where all are the same, else the nested list."""
    first = values.flat[0] if values.size else 0.0
    return to_plain(first if (values == first).all() else values)


def _space(document: Mapping[str, Any]) -> Box:
    shape = tuple(int(size) for size in document["shape"])
    dtype = np.dtype(document["dtype"])
    low, high = (
        np.broadcast_to(np.array(document[key], np.float64), shape).astype(dtype)
        for key in ("low", "high")
    )
    return Box(low, high, shape, dtype.type)
