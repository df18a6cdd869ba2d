"""One step of long short-term memories, one row after the other.

A kernel file: it imports nothing but numpy, numba, math and other kernel files. Every row goes
through the same sequence of additions, so an output never depends on the other rows of the batch.
"""

import math

import numpy as np

from oncogym.agents.mlp_kernel import standardised
from oncogym.envs.compiled import compiled


@compiled
def _sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0.0 else 1.0 - 1.0 / (1.0 + math.exp(x))


@compiled
def advance(rows, from_input, from_hidden, bias, hidden, cell):
    """Let a memory see one row for each lane.

    Args:
        rows: ``(batch, inputs)`` float64.
        from_input: ``(inputs, 4 units)``: of the input, forget, cell and output gate in this order.
        from_hidden: ``(units, 4 units)``, likewise.
        bias: ``(4 units,)``.
        hidden, cell: ``(batch, units)`` float64, before and, written, after; ``hidden`` is what
            comes out.
    """
    units = hidden.shape[1]
    gates = np.empty(4 * units)
    for row in range(rows.shape[0]):
        for j in range(4 * units):
            gates[j] = bias[j]
        for i in range(rows.shape[1]):
            value = rows[row, i]
            for j in range(4 * units):
                gates[j] += value * from_input[i, j]
        for i in range(units):
            value = hidden[row, i]
            for j in range(4 * units):
                gates[j] += value * from_hidden[i, j]
        for k in range(units):
            kept = _sigmoid(gates[units + k]) * cell[row, k]
            new = _sigmoid(gates[k]) * math.tanh(gates[2 * units + k])
            cell[row, k] = kept + new
            hidden[row, k] = _sigmoid(gates[3 * units + k]) * math.tanh(cell[row, k])


@compiled
def standardise(rows, mean, scale, clip, out):
    """:func:`oncogym.agents.mlp_kernel.standardised` for every number of every row.

    Args:
        rows: ``(batch, inputs)`` float64.
        mean, scale: ``(inputs,)``.
        clip: Bound, infinite for none.
        out: ``(batch, inputs)`` float64, written.
    """
    for row in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            out[row, i] = standardised(rows[row, i], mean[i], scale[i], clip)
