"""A trained policy as two files: ``policy.json`` says what it is, ``policy.npz`` has the tensors.

Reading them runs no code from the files (nothing is unpickled) and needs neither torch nor
Stable-Baselines3.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.core.archives import dump_arrays, load_arrays
from oncogym.core.documents import Document, is_number, shown
from oncogym.core.files import (
    CorruptFileError,
    StrPath,
    read_bytes,
    read_json,
    to_plain,
    write_bytes_atomic,
    write_json_atomic,
)

FORMAT = "oncogym-policy"
VERSION = 2
ACTIVATIONS = ("tanh", "relu")
# Where the standard deviation of an action comes from.
_DEVIATIONS = ("constant", "network")
#: Bytes of a policy's tensors at most, on disk and in memory: a network of 16 million weights.
LARGEST = 1 << 26

_LONGEST_DESCRIPTION = 1 << 22
_MOST_UNITS, _MOST_LAYERS = 1_000_000, 64
_DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


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
                "deviation": _DEVIATIONS[self.log_std is None],
                "normalisation": None if plain else {"epsilon": self.epsilon, "clip": self.clip},
                "about": dict(self.about),
            }
        )

    @staticmethod
    def tensor_shapes(document: Document) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that go with a document.

        Raises:
            CorruptFileError: The document does not describe a network.
        """
        network = document.inside("network")
        sizes = network.whole_numbers("sizes", 1, _MOST_UNITS, _MOST_LAYERS)
        if len(sizes) < 2:
            raise network.error("sizes", "units of at least two layers")
        shapes: dict[str, tuple[int, ...]] = {}
        if _has_constant_deviation(document):
            shapes["log_std"] = (sizes[-1],)
        for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            shapes[f"weight_{layer}"], shapes[f"bias_{layer}"] = (inputs, outputs), (outputs,)
        if document["normalisation"] is not None:
            shapes["observation_mean"] = shapes["observation_variance"] = (sizes[0],)
        if 4 * sum(map(math.prod, shapes.values())) > LARGEST:
            raise network.error("sizes", f"tensors of at most {LARGEST} bytes")
        return shapes

    @classmethod
    def from_document(cls, document: Document, tensors: Mapping[str, NDArray[Any]]) -> Policy:
        """The policy of :meth:`to_document` and its tensors.

        Raises:
            CorruptFileError: Something is missing or wrong; the message names it.
        """
        shapes = cls.tensor_shapes(document)
        for name, shape in shapes.items():
            if name not in tensors or tensors[name].shape != shape:
                raise CorruptFileError(f"{document.place}: the tensor {name} is not {shape}")
        network = document.inside("network")
        sizes = network.whole_numbers("sizes", 1, _MOST_UNITS, _MOST_LAYERS)
        layers = range(len(sizes) - 1)
        constant = _has_constant_deviation(document)
        normalised = document["normalisation"] is not None
        numbers = document.inside("normalisation") if normalised else None
        units = sizes[-1] if constant else sizes[-1] // 2
        values: dict[str, Any] = {
            "env_id": document.text("env_id"),
            "treatment": document.text("treatment"),
            "options": document.mapping("options"),
            "observation_space": _space(document.inside("observation_space"), sizes[0]),
            "action_space": _space(document.inside("action_space"), units),
            "weights": tuple(tensors[f"weight_{layer}"] for layer in layers),
            "biases": tuple(tensors[f"bias_{layer}"] for layer in layers),
            "log_std": tensors["log_std"] if constant else None,
            "activation": network.text("activation"),
            "rescale_actions": document.flag("rescale_actions"),
            "squash": document.flag("squash"),
            "mean": tensors.get("observation_mean"),
            "variance": tensors.get("observation_variance"),
            "epsilon": 1e-8 if numbers is None else numbers.number("epsilon"),
            "clip": 10.0 if numbers is None else numbers.number("clip"),
            "about": document.mapping("about"),
        }
        try:
            return cls(**values)
        except ValueError as error:
            raise CorruptFileError(f"{document.place}: {error}") from error

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

    Raises:
        ValueError: The tensors are larger than :data:`LARGEST`; nothing is written.
    """
    folder = Path(folder)
    data = dump_arrays(policy.tensors())
    if len(data) > LARGEST:
        raise ValueError(f"the tensors have {len(data)} bytes; allowed: at most {LARGEST}")
    tensors = {"file": "policy.npz", "sha256": hashlib.sha256(data).hexdigest()}
    document = {**policy.to_document(), "tensors": tensors}
    to_plain(document)  # an option without a JSON form must not cost the policy that was there
    (folder / "policy.json").unlink(missing_ok=True)
    write_bytes_atomic(folder / "policy.npz", data)
    write_json_atomic(folder / "policy.json", document)
    return folder


def read_policy(folder: StrPath) -> Policy:
    """Read a policy written by :func:`write_policy`.

    Nothing is believed before it is checked: the description decides which tensors there have to
    be, of which shape, and only those are unpacked.

    Raises:
        FileNotFoundError: The folder has no complete policy.
        CorruptFileError: A file is truncated, altered, too large or not a policy; the message
            names it and the place.
    """
    folder = Path(folder)
    path = folder / "policy.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no policy: there is no {path.name}")
    found = read_json(path, _LONGEST_DESCRIPTION)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise CorruptFileError(f"{path}: not an oncogym policy")
    document = Document(found, str(path))
    if document.values.get("version") != VERSION:
        raise CorruptFileError(
            f"{path}: policy format {shown(document.values.get('version'))}; this oncogym reads "
            f"{VERSION}"
        )
    shapes = Policy.tensor_shapes(document)
    tensors = _read_tensors(folder / "policy.npz", document, shapes)
    return Policy.from_document(document, tensors)


def _has_constant_deviation(document: Document) -> bool:
    kind = document.text("deviation")
    if kind not in _DEVIATIONS:
        raise document.error("deviation", " or ".join(map(repr, _DEVIATIONS)))
    return kind == _DEVIATIONS[0]


def _read_tensors(
    path: Path, document: Document, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise CorruptFileError(f"{path}: the file is missing beside its policy.json")
    data = read_bytes(path, LARGEST)
    if hashlib.sha256(data).hexdigest() != document.inside("tensors").text("sha256"):
        raise CorruptFileError(f"{path}: truncated or altered ({len(data)} bytes, wrong sha256)")
    return load_arrays(path, data, LARGEST, shapes)


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


def _space(document: Document, units: int) -> Box:
    """A space whose values make ``units`` numbers; nothing larger is made."""
    shape = tuple(document.whole_numbers("shape", 1, _MOST_UNITS, 8))
    if not shape or math.prod(shape) != units:
        raise document.error("shape", f"sizes with the product {units}, as the network has units")
    name = document.text("dtype")
    if name not in _DTYPES:
        raise document.error("dtype", ", ".join(_DTYPES))
    low, high = (_limits(document, bound, shape).astype(name) for bound in ("low", "high"))
    if not (low <= high).all():
        raise document.error("high", "at least low, everywhere")
    return Box(low, high, shape, np.dtype(name).type)


def _limits(document: Document, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """One bound for all components, or nested lists of them; infinities are texts."""
    value = document[name]
    values = [value]
    if isinstance(value, list):
        for size in shape:
            if not all(isinstance(item, list) and len(item) == size for item in values):
                raise document.error(name, f"a number, or nested lists of the shape {shape}")
            values = [part for item in values for part in item]
    if not all(is_number(item) or item in ("inf", "-inf") for item in values):
        raise document.error(name, 'numbers, "inf" and "-inf"')
    flat = np.array([float(item) for item in values])
    return np.broadcast_to(flat, shape) if len(flat) == 1 else flat.reshape(shape)
