"""Types of command-line arguments, for argparse."""

from __future__ import annotations

import argparse
import reprlib
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)

# No command takes a larger number.
_LARGEST = 10**15


def whole(low: int, high: int = _LARGEST) -> Callable[[str], int]:
    """A type for argparse: an integer from ``low`` to ``high``."""
    return _within(int, low, high, f"an integer from {low} to {high}")


def real(low: float, high: float) -> Callable[[str], float]:
    """A type for argparse: a number from ``low`` to ``high``."""
    return _within(float, low, high, f"a number from {low:g} to {high:g}")


def _within(
    kind: Callable[[str], Number], low: Number, high: Number, what: str
) -> Callable[[str], Number]:
    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            pass
        else:
            if low <= value <= high:
                return value
        raise argparse.ArgumentTypeError(f"{reprlib.repr(text)} is not {what}")

    return read


#: An integer of at least 0, of at least 1, a random seed, for argparse.
natural, positive, seed_number = whole(0), whole(1), whole(0, 2**32 - 1)
