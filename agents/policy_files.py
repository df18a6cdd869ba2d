"""A trained policy as two files: ``policy.json`` says what it is, the other has the network.

That is ``policy.npz`` with the tensors of a multi-layer perceptron, perhaps behind long short-term
memories, or ``policy.onnx`` for any other network. Reading them runs no code from the files
(nothing is unpickled) and needs neither torch nor Stable-Baselines3.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.lstm import (
    MOST_MEMORIES,
    Lstm,
    memories_of,
    memory_problem,
    memory_shapes,
    memory_tensors,
)
from oncogym.agents.onnx_policy import OnnxPolicy
from oncogym.agents.policy_header import (
    FORMAT,
    LARGEST,
    MOST_UNITS,
    VERSION,
    Described,
    header_document,
    header_values,
)
from oncogym.core.archives import dump_arrays, load_arrays
from oncogym.core.documents import Document, shown
from oncogym.core.files import (
    CorruptFileError,
    StrPath,
    read_bytes,
    read_json,
    to_plain,
    write_bytes_atomic,
    write_json_atomic,
)
from oncogym.core.json_types import JsonObject

ACTIVATIONS = ("tanh", "relu")
# Files of the network: of a multi-layer perceptron, and of any other.
_FILES = ("policy.npz", "policy.onnx")
# Where the standard deviation of an action comes from.
_DEVIATIONS = ("constant", "network")
_LONGEST_DESCRIPTION = 1 << 22
_MOST_LAYERS = 64


@dataclass(frozen=True, kw_only=True)
class Policy(Described):
    """A Gaussian multi-layer perceptron policy and the problem it was made for.

    Args:
        weights: One matrix ``(in, out)`` for each layer, float32.
        biases: One vector ``(out,)`` for each layer, float32.
        log_std: Logarithm of the standard deviation of each action component ``(size,)``; ``None``
            if the network gives it: its last layer then has twice as many outputs, the means first.
        activation: ``"tanh"`` or ``"relu"``, after every layer but the last.
        memories: Long short-term memories between the observation and the layers, which then see
            what the last of them gives; empty for a policy that remembers nothing.
        mean, variance: Of each observed quantity ``(inputs,)``, or ``None`` for no normalisation.
        epsilon, clip: The network sees ``(x - mean) / sqrt(variance + epsilon)`` within ``±clip``.

    The other arguments are those of :class:`oncogym.agents.policy_header.Described`.
    """

    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    log_std: NDArray[np.float32] | None
    activation: str = "tanh"
    memories: tuple[Lstm, ...] = ()
    mean: NDArray[np.float64] | None = None
    variance: NDArray[np.float64] | None = None
    epsilon: float = 1e-8
    clip: float = 10.0

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise ValueError(problem)

    @property
    def inputs(self) -> int:
        """Numbers of an observation."""
        return len(self.memories[0].from_input if self.memories else self.weights[0])

    @property
    def sizes(self) -> list[int]:
        """Units of each layer, what the first one sees before it."""
        return [self.weights[0].shape[0], *(matrix.shape[1] for matrix in self.weights)]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All arrays by the name they have in the file."""
        found: dict[str, NDArray[np.generic]] = {}
        if self.log_std is not None:
            found["log_std"] = self.log_std
        found |= memory_tensors(self.memories)
        for layer, (matrix, vector) in enumerate(zip(self.weights, self.biases, strict=True)):
            found[f"weight_{layer}"], found[f"bias_{layer}"] = matrix, vector
        if self.mean is not None and self.variance is not None:
            found["observation_mean"], found["observation_variance"] = self.mean, self.variance
        return found

    def to_document(self) -> JsonObject:
        """All but the tensors, JSON-able."""
        plain = self.mean is None
        network: dict[str, Any] = {"sizes": self.sizes, "activation": self.activation}
        if self.memories:
            units = [memory.units for memory in self.memories]
            network["lstm"] = {"inputs": self.inputs, "units": units}
        return header_document(
            self,
            network,
            deviation=_DEVIATIONS[self.log_std is None],
            normalisation=None if plain else {"epsilon": self.epsilon, "clip": self.clip},
        )

    @staticmethod
    def tensor_shapes(document: Document) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that go with a document.

        Raises:
            CorruptFileError: The document does not describe a network.
        """
        network = document.inside("network")
        sizes = network.whole_numbers("sizes", 1, MOST_UNITS, _MOST_LAYERS)
        if len(sizes) < 2:
            raise network.error("sizes", "units of at least two layers")
        inputs, units = _memory_sizes(network, sizes[0])
        shapes = memory_shapes(inputs, units)
        if _has_constant_deviation(document):
            shapes["log_std"] = (sizes[-1],)
        for layer, (before, after) in enumerate(itertools.pairwise(sizes)):
            shapes[f"weight_{layer}"], shapes[f"bias_{layer}"] = (before, after), (after,)
        if document["normalisation"] is not None:
            shapes["observation_mean"] = shapes["observation_variance"] = (inputs,)
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
        sizes = network.whole_numbers("sizes", 1, MOST_UNITS, _MOST_LAYERS)
        layers = range(len(sizes) - 1)
        constant = _has_constant_deviation(document)
        normalised = document["normalisation"] is not None
        numbers = document.inside("normalisation") if normalised else None
        inputs, memories = _memory_sizes(network, sizes[0])
        units = sizes[-1] if constant else sizes[-1] // 2
        values: dict[str, Any] = {
            **header_values(document, inputs, units),
            "memories": memories_of(tensors, len(memories)),
            "weights": tuple(tensors[f"weight_{layer}"] for layer in layers),
            "biases": tuple(tensors[f"bias_{layer}"] for layer in layers),
            "log_std": tensors["log_std"] if constant else None,
            "activation": network.text("activation"),
            "mean": tensors.get("observation_mean"),
            "variance": tensors.get("observation_variance"),
            "epsilon": 1e-8 if numbers is None else numbers.number("epsilon"),
            "clip": 10.0 if numbers is None else numbers.number("clip"),
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
        width = inputs = int(np.prod(self.observation_space.shape))
        wrong = memory_problem(self.memories, inputs)
        if wrong:
            return wrong
        if self.memories:
            width = self.memories[-1].units
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
            if self.mean.shape != (inputs,) or self.variance.shape != (inputs,):
                return f"observation statistics are not of shape ({inputs},)"
            if (self.variance < 0.0).any() or not self.epsilon > 0.0 or not self.clip > 0.0:
                return "observation variance, epsilon and clip must be positive"
        if not all(np.isfinite(array).all() for array in self.tensors().values()):
            return "a tensor has values that are not finite"
        return ""


#: A policy of any kind.
AnyPolicy: TypeAlias = Policy | OnnxPolicy


def policy_of(document: Document, tensors: Mapping[str, NDArray[np.generic]]) -> AnyPolicy:
    """The policy of ``to_document()`` and its ``tensors()``.

    Raises:
        CorruptFileError: Something is missing or wrong; the message names it.
    """
    kind = OnnxPolicy if OnnxPolicy.describes(document) else Policy
    return kind.from_document(document, tensors)


def write_policy(folder: StrPath, policy: AnyPolicy) -> Path:
    """Write ``policy.npz`` or ``policy.onnx``, and ``policy.json``; return the folder.

    The folder exists. ``policy.json`` is taken away first and put back last, so that at any moment
    the folder holds a whole policy or none.

    Raises:
        ValueError: The network is larger than :data:`LARGEST`; nothing is written.
    """
    folder = Path(folder)
    plain = isinstance(policy, OnnxPolicy)
    data = policy.model if isinstance(policy, OnnxPolicy) else dump_arrays(policy.tensors())
    if len(data) > LARGEST:
        raise ValueError(f"the network has {len(data)} bytes; allowed: at most {LARGEST}")
    name, other = _FILES[plain], _FILES[not plain]
    tensors = {"file": name, "sha256": hashlib.sha256(data).hexdigest()}
    document = {**policy.to_document(), "tensors": tensors}
    to_plain(document)  # an option without a JSON form must not cost the policy that was there
    (folder / "policy.json").unlink(missing_ok=True)
    write_bytes_atomic(folder / name, data)
    write_json_atomic(folder / "policy.json", document)
    (folder / other).unlink(missing_ok=True)
    return folder


def read_policy(folder: StrPath) -> AnyPolicy:
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
    if OnnxPolicy.describes(document):
        return OnnxPolicy.from_bytes(document, _read_network(folder / "policy.onnx", document))
    path = folder / "policy.npz"
    shapes = Policy.tensor_shapes(document)
    tensors = load_arrays(path, _read_network(path, document), LARGEST, shapes)
    return Policy.from_document(document, tensors)


def _memory_sizes(network: Document, seen: int) -> tuple[int, list[int]]:
    """Numbers of an observation and units of each memory of a network whose layers see ``seen``."""
    if "lstm" not in network:
        return seen, []
    described = network.inside("lstm")
    units = described.whole_numbers("units", 1, MOST_UNITS, MOST_MEMORIES)
    if not units or units[-1] != seen:
        raise described.error("units", f"units of the memories, the last of them {seen}")
    return described.whole("inputs", 1, MOST_UNITS), units


def _has_constant_deviation(document: Document) -> bool:
    kind = document.text("deviation")
    if kind not in _DEVIATIONS:
        raise document.error("deviation", " or ".join(map(repr, _DEVIATIONS)))
    return kind == _DEVIATIONS[0]


def _read_network(path: Path, document: Document) -> bytes:
    if not path.is_file():
        raise CorruptFileError(f"{path}: the file is missing beside its policy.json")
    data = read_bytes(path, LARGEST)
    if hashlib.sha256(data).hexdigest() != document.inside("tensors").text("sha256"):
        raise CorruptFileError(f"{path}: truncated or altered ({len(data)} bytes, wrong sha256)")
    return data
