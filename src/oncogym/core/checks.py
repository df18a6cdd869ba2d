"""Checks of values that a user gives: each error names the value and the allowed range."""

from __future__ import annotations

from typing import Any

from oncogym.core.errors import nearest


def check_option(name: str, value: float, low: float, high: float, unit: str = "") -> float:
    """Return ``value`` as a float if it lies within ``[low, high]``.

    Args:
        name: Name of the option, for the message.
        value: What a user gave.
        low, high: The allowed range, ends included.
        unit: Unit of the range, for the message.

    Raises:
        ValueError: It does not, or is not a number; the message names it and the allowed range.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not low <= number <= high:
        raise ValueError(f"{name} is {value!r}; allowed: {low:g} to {high:g} {unit}".rstrip())
    return number


def whole_number(name: str, value: Any, low: int, high: int) -> int:
    """Return ``value`` as an integer if it is one within ``[low, high]``.

    Args:
        name: Name of the option, for the message.
        value: What a user gave.
        low, high: The allowed range, ends included.

    Raises:
        ValueError: It is not; the message names it and the allowed range.
    """
    try:
        number = int(value)
        whole = number == float(value) and not isinstance(value, bool)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or not low <= number <= high:
        raise ValueError(f"{name} is {value!r}; allowed: an integer from {low} to {high}")
    return number


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return ``value`` if it is one of ``choices``; raise an error with a suggestion if not.

    Args:
        name: Name of the option, for the message.
        value: What a user gave.
        choices: What is allowed.
    """
    if value not in choices:
        raise nearest(name, value, choices)
    return value
