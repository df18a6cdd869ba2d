"""Numbers of a result that a kernel forgot to write: a switch for tests, off otherwise.

With ``ONCOGYM_CHECK_RESULTS=1`` in the environment when this is imported, results start as NaN and
a task's step, reset or look ends in an error that names the first number still so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Whether results are checked.
CHECKED = os.environ.get("ONCOGYM_CHECK_RESULTS", "") == "1"


class UnwrittenError(RuntimeError):
    """A kernel left a number of its result unwritten, or wrote NaN."""


def mark(array: NDArray[Any]) -> None:
    """Fill an array of floating-point numbers with NaN."""
    if array.dtype.kind == "f":
        array.fill(np.nan)


def check_written(owner: object, what: str, array: NDArray[Any], names: Sequence[str]) -> None:
    """Check that every number of a result was written.

    Args:
        owner: Task whose result it is.
        what: What the columns are, in the singular.
        array: Rows of the result ``(rows, numbers)``.
        names: Names of the columns; numbers beyond them are named by their place.

    Raises:
        UnwrittenError: One was not; the message names it.
    """
    if array.dtype.kind != "f" or not np.isnan(array).any():
        return
    row, *place = np.argwhere(np.isnan(array))[0].tolist()
    where = place[0] if place else 0
    name = names[where] if where < len(names) else f"number {where}"
    raise UnwrittenError(f"{type(owner).__name__} left {what} {name!r} of row {row} unwritten")
