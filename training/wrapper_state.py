"""What wrappers around lanes have learnt or remember, in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium.vector import VectorEnv

from oncogym.training.algorithms.base import Arrays
from oncogym.wrappers.vector_spec import recorded

_PLACE = "wrappers/"


def save_wrappers(env: VectorEnv) -> Arrays:
    """Multipliers and memories of the wrappers around native lanes, arrays by name."""
    return {
        f"{_PLACE}{number}/{name}": array
        for number, wrapper in enumerate(recorded(env))
        for name, array in wrapper.own_state().items()
    }


def restore_wrappers(env: VectorEnv, arrays: Mapping[str, Any]) -> None:
    """Put back what :func:`save_wrappers` took from lanes in the same wrappers.

    Args:
        env: The lanes.
        arrays: The arrays of a checkpoint by name, others among them.

    Raises:
        KeyError, ValueError: They do not fit.
    """
    for number, wrapper in enumerate(recorded(env)):
        place = f"{_PLACE}{number}/"
        own = {n.removeprefix(place): a for n, a in arrays.items() if n.startswith(place)}
        wrapper.restore_own_state(own)
