"""An actor as an ONNX graph, see :mod:`oncogym.agents.onnx_policy` for what it takes and gives."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn


class Standardised(nn.Module):
    """An actor behind the running mean and variance of the observations.

    Args:
        actor: The actor.
        mean: Mean of an observation.
        variance: Its variance.
        epsilon: What is added to the variance.
        clip: Bound of a standardised number.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, actor: nn.Module, mean: ArrayLike, variance: ArrayLike, epsilon: float, clip: float
    ) -> None:
        super().__init__()
        self.actor, self.clip = actor, clip
        scale = 1.0 / np.sqrt(np.asarray(variance, np.float64) + epsilon)
        self.register_buffer("mean", torch.as_tensor(np.asarray(mean, np.float32)))
        self.register_buffer("scale", torch.as_tensor(scale.astype(np.float32)))

    def forward(self, observation: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """What the actor gives for the standardised observation."""
        seen = torch.clip((observation - self.mean) * self.scale, -self.clip, self.clip)
        return tuple(self.actor(seen, *state))


def require_onnx() -> None:
    """Make sure that graphs can be written and run.

    Raises:
        ModuleNotFoundError: A package is not installed; the message says which.
    """
    for name in ("onnx", "onnxruntime"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(
                f"policies of this network are ONNX graphs, and {name} is not installed: "
                'pip install "oncogym[onnx]"',
                name=name,
            )


def export_onnx(
    actor: nn.Module, observation: Sequence[int], state: Sequence[Sequence[int]] = ()
) -> bytes:
    """The graph of an actor for one lane.

    Args:
        actor: From observations ``(1, …)`` and memory to means, logarithms of standard deviations
            ``(1, actions)`` and the memory afterwards.
        observation: Shape of an observation.
        state: Shape of each tensor of a lane's memory.

    Raises:
        ModuleNotFoundError: ``onnx`` is not installed.
    """
    require_onnx()
    given = [torch.zeros(1, *shape) for shape in (observation, *state)]
    lanes = range(len(state))
    stream = io.BytesIO()
    training = actor.training
    # torch's newer exporter needs onnxscript besides.
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            actor.eval(),
            tuple(given),
            stream,  # type: ignore[arg-type]
            dynamo=False,
            input_names=["observation", *(f"state_{k}" for k in lanes)],
            output_names=["mean", "log_std", *(f"next_state_{k}" for k in lanes)],
        )
    actor.train(training)
    return stream.getvalue()
