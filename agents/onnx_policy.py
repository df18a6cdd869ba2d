"""Policies of any network as ONNX graphs: a format of arithmetic only, which runs no code.

The graph takes ``observation`` ``(1, …)`` as the environment gives it, float32, and the memory of
a recurrent network, ``state_0``, ``state_1``, … It gives ``mean`` and ``log_std`` ``(1, actions)``
of a Gaussian, and the memory for the next decision, ``next_state_0``, … Normalisation is part of
the graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.policy_header import (
    MOST_UNITS,
    Described,
    Outputs,
    header_document,
    header_values,
)
from oncogym.core.documents import Document
from oncogym.core.files import CorruptFileError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_MOST_STATES = 16


@dataclass(frozen=True, kw_only=True)
class OnnxPolicy(Described):
    """A Gaussian policy of any network and the problem it was made for.

    Args:
        model: The graph in ONNX's own format.
        state: Shape of each tensor of a lane's memory; none unless the network is recurrent.

    The other arguments are those of :class:`oncogym.agents.policy_header.Described`.
    """

    model: bytes
    state: tuple[tuple[int, ...], ...] = ()

    @staticmethod
    def describes(document: Document) -> bool:
        """Whether a document is that of such a policy."""
        return "onnx" in document.inside("network")

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The graph as an array of bytes, for archives of arrays."""
        return {"onnx": np.frombuffer(self.model, np.uint8)}

    def to_document(self) -> dict[str, Any]:
        """All but the graph, JSON-able."""
        state = [list(shape) for shape in self.state]
        return header_document(self, {"onnx": {"state": state}})

    @classmethod
    def from_document(
        cls, document: Document, tensors: Mapping[str, NDArray[np.generic]]
    ) -> OnnxPolicy:
        """The policy of :meth:`to_document` and :meth:`tensors`.

        Raises:
            CorruptFileError: Something is missing or wrong; the message names it.
        """
        graph = tensors.get("onnx")
        if graph is None or graph.dtype != np.uint8 or graph.ndim != 1:
            raise CorruptFileError(f"{document.place}: the tensor onnx is no row of bytes")
        return cls.from_bytes(document, graph.tobytes())

    @classmethod
    def from_bytes(cls, document: Document, model: bytes) -> OnnxPolicy:
        """The policy of :meth:`to_document` and its graph.

        Raises:
            CorruptFileError: Something is missing or wrong; the message names it.
        """
        network = document.inside("network").inside("onnx")
        shapes = network["state"]
        if not isinstance(shapes, list) or len(shapes) > _MOST_STATES:
            raise network.error("state", f"a list of at most {_MOST_STATES} shapes")
        numbered = Document({str(k): shape for k, shape in enumerate(shapes)}, network.place)
        state = tuple(tuple(numbered.whole_numbers(k, 1, MOST_UNITS, 8)) for k in numbered)
        if sum(map(math.prod, state)) > MOST_UNITS:
            raise network.error("state", f"at most {MOST_UNITS} numbers a lane")
        return cls(model=model, state=state, **header_values(document))


class OnnxNetwork:
    """The graph of a policy, ready to be computed by ONNX Runtime on one thread.

    Lanes are computed one by one: products of matrices round otherwise in other batches.

    Args:
        policy: The policy.

    Raises:
        ModuleNotFoundError: ONNX Runtime is not installed.
        CorruptFileError: The graph is none, or does not do what the policy says.
    """

    def __init__(self, policy: OnnxPolicy) -> None:
        self._policy = policy
        self._session = _session(policy)

    def __getstate__(self) -> dict[str, Any]:
        return {"_policy": self._policy}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_policy"])  # type: ignore[misc]

    @property
    def recurrent(self) -> bool:
        """Whether it remembers."""
        return bool(self._policy.state)

    def __call__(
        self, rows: NDArray[Any], state: Any, episode_start: NDArray[np.bool_] | None
    ) -> Outputs:
        """Mean and standard deviation of each lane's action, and the memory afterwards."""
        policy, count = self._policy, len(rows)
        seen = np.ascontiguousarray(rows, np.float32).reshape(
            count, *policy.observation_space.shape
        )
        memory = [np.zeros((count, *shape), np.float32) for shape in policy.state]
        if state is not None and policy.state:
            for own, given in zip(memory, state, strict=True):
                own[:] = given
        if episode_start is not None:
            for own in memory:
                own[np.asarray(episode_start, np.bool_)] = 0.0
        actions = int(np.prod(policy.action_space.shape))
        mean, log_std = np.empty((count, actions)), np.empty((count, actions))
        for lane in range(count):
            here = slice(lane, lane + 1)
            feed = {"observation": seen[here]}
            feed |= {f"state_{k}": own[here] for k, own in enumerate(memory)}
            mean[here], log_std[here], *after = self._session.run(None, feed)
            for own, new in zip(memory, after, strict=True):
                own[here] = new
        return mean, np.exp(log_std), memory if policy.state else state


def _session(policy: OnnxPolicy) -> InferenceSession:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "this policy is an ONNX graph, and ONNX Runtime is not installed: pip install "
            '"oncogym[onnx]"',
            name=error.name,
        ) from error
    options = onnxruntime.SessionOptions()
    # The same numbers on every machine, and no threads that a fork would lose.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            policy.model, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors have no common class but this one
        raise CorruptFileError(f"policy.onnx is no graph that can be run: {error}") from error
    lane = range(len(policy.state))
    size = int(np.prod(policy.action_space.shape))
    takes: dict[str, tuple[int, ...]] = {"observation": policy.observation_space.shape}
    takes |= {f"state_{k}": policy.state[k] for k in lane}
    gives: dict[str, tuple[int, ...]] = {"mean": (size,), "log_std": (size,)}
    gives |= {f"next_state_{k}": policy.state[k] for k in lane}
    for what, expected, found in (
        ("takes", takes, session.get_inputs()),
        ("gives", gives, session.get_outputs()),
    ):
        here = {node.name: (node.type, node.shape) for node in found}
        wanted = {name: ("tensor(float)", [1, *shape]) for name, shape in expected.items()}
        if here != wanted:
            raise CorruptFileError(f"policy.onnx {what} {here}; allowed: {wanted}")
    return session
