"""Long short-term memories as tensors of a policy's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Memories one behind the other, at most.
MOST_MEMORIES = 8


class Lstm(NamedTuple):
    """A long short-term memory; four blocks of columns: input, forget, cell and output gate.

    Attributes:
        from_input: Weights ``(inputs, 4 units)``, float32.
        from_hidden: Weights of its own last output ``(units, 4 units)``, float32.
        bias: ``(4 units,)``, float32.
    """

    from_input: NDArray[np.float32]
    from_hidden: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def units(self) -> int:
        """Numbers that come out, and as many cells."""
        return len(self.bias) // 4


def memory_tensors(memories: Sequence[Lstm]) -> dict[str, NDArray[Any]]:
    """The arrays of memories by the name they have in a policy's file."""
    return {
        f"lstm_{number}_{name}": array
        for number, memory in enumerate(memories)
        for name, array in memory._asdict().items()
    }


def memory_shapes(inputs: int, units: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Shapes of :func:`memory_tensors` for numbers of an observation and units of each memory."""
    shapes: dict[str, tuple[int, ...]] = {}
    for number, size in enumerate(units):
        shapes[f"lstm_{number}_from_input"] = (inputs, 4 * size)
        shapes[f"lstm_{number}_from_hidden"] = (size, 4 * size)
        shapes[f"lstm_{number}_bias"] = (4 * size,)
        inputs = size
    return shapes


def memories_of(tensors: Mapping[str, NDArray[Any]], count: int) -> tuple[Lstm, ...]:
    """What :func:`memory_tensors` was given, from tensors of the right shapes."""
    return tuple(
        Lstm(*(tensors[f"lstm_{number}_{name}"] for name in Lstm._fields))
        for number in range(count)
    )


def memory_problem(memories: Sequence[Lstm], inputs: int) -> str:
    """What is wrong with memories behind so many inputs, or nothing."""
    shapes = memory_shapes(inputs, [memory.units for memory in memories])
    for name, array in memory_tensors(memories).items():
        if array.shape != shapes[name]:
            return f"{name} has shape {array.shape}; allowed: {shapes[name]}"
    return ""
