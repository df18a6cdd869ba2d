"""The networks of policies, computed without torch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oncogym.agents import lstm_kernel
from oncogym.agents import mlp_kernel as kernel
from oncogym.agents.onnx_policy import OnnxNetwork, OnnxPolicy
from oncogym.agents.policy_files import AnyPolicy, Policy
from oncogym.agents.policy_header import Outputs

# Range of a logarithmic deviation that a network gives, as in soft actor-critic.
_LOG_STD = (-20.0, 2.0)


class Network(Protocol):
    """The network of a policy, ready to be computed."""

    @property
    def recurrent(self) -> bool:
        """Whether it remembers."""
        ...

    def __call__(
        self, rows: NDArray[Any], state: Any, episode_start: NDArray[np.bool_] | None
    ) -> Outputs:
        """The action's distribution for each of ``rows`` ``(batch, numbers)``."""
        ...


class PerceptronNetwork:
    """A multi-layer perceptron in float64, a lane at a time.

    Args:
        policy: Its tensors.
        standardised: What it will see is standardised already.
    """

    recurrent = False

    def __init__(self, policy: Policy, *, standardised: bool = False) -> None:
        self._mean, self._scale, self._clip = _standard(policy)
        if standardised:
            width = policy.sizes[0]
            self._mean, self._scale, self._clip = np.zeros(width), np.ones(width), np.inf
        self._sizes = np.array(policy.sizes, np.int64)
        self._weights = np.concatenate(
            [
                np.concatenate([matrix.ravel(), vector])
                for matrix, vector in zip(policy.weights, policy.biases, strict=True)
            ]
        ).astype(np.float64)
        self._activation = kernel.TANH if policy.activation == "tanh" else kernel.RELU
        self._actions = int(np.prod(policy.action_space.shape))
        self._std = None if policy.log_std is None else np.exp(policy.log_std.astype(np.float64))

    def __call__(
        self, rows: NDArray[np.generic], state: object, episode_start: NDArray[np.bool_] | None
    ) -> Outputs:
        """The action's distribution for each of ``rows``; ``state`` is handed back as it came."""
        raw = np.empty((len(rows), self._sizes[-1]))
        kernel.forward(
            rows,
            self._mean,
            self._scale,
            self._clip,
            self._sizes,
            self._weights,
            self._activation,
            raw,
        )
        raw, given = raw[:, : self._actions], raw[:, self._actions :]
        std = np.exp(np.clip(given, *_LOG_STD)) if self._std is None else self._std
        return raw, std, state


class LstmNetwork:
    """A multi-layer perceptron behind long short-term memories, in float64, a lane at a time.

    Args:
        policy: Its tensors.
    """

    recurrent = True

    def __init__(self, policy: Policy) -> None:
        self._standard = _standard(policy)
        self._memories = [
            [np.ascontiguousarray(array, np.float64) for array in memory]
            for memory in policy.memories
        ]
        self._layers = PerceptronNetwork(policy, standardised=True)

    def __call__(
        self, rows: NDArray[Any], state: Any, episode_start: NDArray[np.bool_] | None
    ) -> Outputs:
        """The action's distribution for each of ``rows``, and what is remembered afterwards.

        The memory is a list of arrays ``(batch, units)``, output and cells of each; it is nothing
        at first, and of lanes whose episode starts.
        """
        count = len(rows)
        units = [len(bias) // 4 for _, _, bias in self._memories for _ in range(2)]
        memory = [np.zeros((count, size)) for size in units]
        if state is not None:
            for own, given in zip(memory, state, strict=True):
                own[:] = given
        if episode_start is not None:
            for own in memory:
                own[np.asarray(episode_start, np.bool_)] = 0.0
        seen = np.empty_like(rows)
        mean, scale, clip = self._standard
        lstm_kernel.standardise(rows, mean, scale, clip, seen)
        for number, weights in enumerate(self._memories):
            hidden, cell = memory[2 * number : 2 * number + 2]
            from_input, from_hidden, bias = weights
            lstm_kernel.advance(seen, from_input, from_hidden, bias, hidden, cell)
            seen = hidden
        means, deviations, _ = self._layers(seen, None, None)
        return means, deviations, memory


def _standard(policy: Policy) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Mean, scale and bound of a policy's standardised observations."""
    if policy.mean is None or policy.variance is None:
        return np.zeros(policy.inputs), np.ones(policy.inputs), np.inf
    scale = np.ones(policy.inputs)
    scale /= np.sqrt(np.asarray(policy.variance, np.float64) + policy.epsilon)
    return np.asarray(policy.mean, np.float64), scale, float(policy.clip)


def network_of(policy: AnyPolicy) -> Network:
    """The network of a policy.

    Raises:
        ModuleNotFoundError: What computes it is not installed.
        CorruptFileError: It is an ONNX graph that does not do what the policy says.
    """
    if isinstance(policy, OnnxPolicy):
        return OnnxNetwork(policy)
    return LstmNetwork(policy) if policy.memories else PerceptronNetwork(policy)
