"""Types of command-line arguments, for argparse."""

from __future__ import annotations

import argparse
import reprlib
from collections.abc import Callable

# No command takes a larger number.
_LARGEST = 10**15


def whole(low: int, high: int = _LARGEST) -> Callable[[str], int]:
    """A type for argparse: an integer from ``low`` to ``high``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{reprlib.repr(text)} is not an integer from {low} to {high}"
            )
        return value

    return read


def real(low: float, high: float) -> Callable[[str], float]:
    """A type for argparse: a number from ``low`` to ``high``."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = low - 1.0
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{reprlib.repr(text)} is not a number from {low:g} to {high:g}"
            )
        return value

    return read


#: An integer of at least 0, of at least 1, a random seed, for argparse.
natural, positive, seed_number = whole(0), whole(1), whole(0, 2**32 - 1)
