"""Forward pass of a small multi-layer perceptron, one row after the other.

A kernel file: it imports nothing but numpy, numba and math. Every row goes through the same
sequence of additions, so an output never depends on the other rows of the batch.
"""

import math

import numpy as np

from oncogym.envs.compiled import compiled

TANH, RELU = 0, 1


@compiled(forceinline=True)
def standardised(value, mean, scale, clip):
    """``(value - mean) * scale`` within ``±clip``, rounded to float32 as in training."""
    return np.float64(np.float32(min(max((value - mean) * scale, -clip), clip)))


@compiled
def _layer(x, size_in, weights, offset, size_out, out):
    """Write ``x @ W + b`` to ``out``; W ``(size_in, size_out)``, then b, start at ``offset``."""
    bias = offset + size_in * size_out
    for j in range(size_out):
        out[j] = weights[bias + j]
    for i in range(size_in):
        value = x[i]
        row = offset + i * size_out
        for j in range(size_out):
            out[j] += value * weights[row + j]
    return bias + size_out


@compiled
def _activate(x, size, activation):
    for j in range(size):
        x[j] = math.tanh(x[j]) if activation == TANH else max(x[j], 0.0)


@compiled
def forward(observations, mean, scale, clip, sizes, weights, activation, out):
    """Evaluate the network for each row of ``observations``.

    Args:
        observations: ``(batch, inputs)`` float64.
        mean, scale: ``(inputs,)``; the network sees ``(observation - mean) * scale``, cut to
            ``[-clip, clip]`` and rounded to float32 as in training.
        clip: Bound of the normalised observation, infinite for none.
        sizes: Units of each layer ``(layers + 1,)``, inputs first.
        weights: All parameters in one vector: for each layer W ``(in, out)`` row by row, then b.
        activation: ``TANH`` or ``RELU``, after every layer but the last.
        out: ``(batch, outputs)`` float64, written.
    """
    widest = 0
    for size in sizes:
        widest = max(widest, size)
    here = np.empty(widest)
    there = np.empty(widest)
    last = sizes.shape[0] - 2
    for row in range(observations.shape[0]):
        for i in range(sizes[0]):
            here[i] = standardised(observations[row, i], mean[i], scale[i], clip)
        offset = 0
        for layer in range(last + 1):
            offset = _layer(here, sizes[layer], weights, offset, sizes[layer + 1], there)
            if layer < last:
                _activate(there, sizes[layer + 1], activation)
            here, there = there, here
        for j in range(sizes[last + 1]):
            out[row, j] = here[j]
