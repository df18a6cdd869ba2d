"""Checks that the settings of several algorithms share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oncogym.agents.policy_files import ACTIVATIONS
from oncogym.core.checks import check_choice, check_option, whole_number

#: How a learning rate may change in a run.
SCHEDULES = ("constant", "linear")


def check_numbers(
    settings: object,
    whole: Mapping[str, tuple[int, int]],
    real: Mapping[str, tuple[float, float]],
) -> None:
    """Put the numbers of frozen settings into their types.

    Args:
        settings: The settings, a frozen dataclass.
        whole: Range of each integer, by name.
        real: Range of each real number, by name.

    Raises:
        ValueError: One is out of its range; the message names it and the range.
    """
    for name, (least, most) in whole.items():
        object.__setattr__(settings, name, whole_number(name, getattr(settings, name), least, most))
    for name, (low, high) in real.items():
        object.__setattr__(settings, name, check_option(name, getattr(settings, name), low, high))


def check_flags(settings: object, *names: str) -> None:
    """Raise ``ValueError`` unless each of these is true or false."""
    for name in names:
        if not isinstance(getattr(settings, name), bool):
            raise ValueError(f"{name} is {getattr(settings, name)!r}; allowed: true or false")


def check_layers(settings: Any) -> None:
    """Check ``layers``, a list of units, and ``activation``, and make the first a tuple.

    Raises:
        ValueError: One is something else; the message names it and what is allowed.
    """
    check_choice("activation", settings.activation, ACTIVATIONS)
    layers = settings.layers
    if not isinstance(layers, (list, tuple)) or not layers:
        raise ValueError(f"layers is {layers!r}; allowed: a list of units, as in [64, 64]")
    units = tuple(whole_number("layers", number, 1, 10**5) for number in layers)
    object.__setattr__(settings, "layers", units)
