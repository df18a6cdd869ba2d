"""What the threads of a block pass to each other's functions, by name.

A file of records: it imports nothing but numpy, math and :mod:`oncogym.envs.records`.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Block(NamedTuple):
    """Shared memory of the threads of a block."""

    pool: Any
    """Fields, float32 ``(POOL,)``, see ``cuda_fields.py``."""
    board: Any
    """int32 ``(BOARD,)``, see ``cuda_frame.py``."""
    ends: Any
    """First and last occupied columns, int16 ``ENDS``."""
    peak: Any
    """Largest acid, float32 ``(1,)``."""


class Strip(NamedTuple):
    """A part of a column of the region; there are as many as the threads can take.

    A thread may have none. All are uint64; places count from the frame's first one.
    """

    within: Any
    """First place in the disc."""
    disc_rows: Any
    """Sites in the disc, one below the other."""
    whole: Any
    """First place."""
    rows: Any
    """Sites."""
    stride: Any
    """Places from a row of the frame to the next."""


class Spreading(NamedTuple):
    """Weights of a sub-step of each substrate, see :func:`.diffusion_kernels.weights`."""

    glucose: tuple[float, float, float]
    oxygen: tuple[float, float, float]
    acid: tuple[float, float, float]


class Diet(NamedTuple):
    """What the modes need, consume and make [fmol], see ``cell_kernels.py``."""

    limits: Any
    eaten: Any
    breathed: Any
    made: Any
