"""Copies of environments that share what never changes."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np
from gymnasium.spaces import Box

T = TypeVar("T")
_CONSTANT = (type(None), bool, int, float, complex, str, bytes, np.generic, type)


def copy_object(original: T, memo: dict[int, Any], shared: tuple[str, ...] = ()) -> T:
    """A deep copy of an object with attributes, for its ``__deepcopy__``.

    Arrays that may be written to are copied, read-only ones are shared. This takes a few
    microseconds where :func:`copy.deepcopy` alone takes hundreds.

    Args:
        original: The object.
        memo: What ``__deepcopy__`` was given.
        shared: Names of attributes that both keep.
    """
    twin = object.__new__(type(original))
    memo[id(original)] = twin
    for name, value in vars(original).items():
        if name in shared:
            memo[id(value)] = value
            twin.__dict__[name] = value
        else:
            twin.__dict__[name] = _copy_value(value, memo)
    return twin


def _copy_value(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, _CONSTANT):
        return value
    known = memo.get(id(value))
    if known is not None:
        return known
    kind = type(value)
    if kind is np.ndarray and value.dtype != object:
        found = value.copy() if value.flags.writeable else value
    elif kind is Box:
        found = _copy_box(value, memo)
    elif kind is tuple and _is_constant(value):
        found = value
    elif (kind is dict and all(map(_is_constant, value.values()))) or (
        kind is list and all(map(_is_constant, value))
    ):
        found = value.copy()
    else:
        return copy.deepcopy(value, memo)
    memo[id(value)] = found
    return found


def _is_constant(value: object) -> bool:
    if type(value) is tuple:
        return all(map(_is_constant, value))
    return isinstance(value, _CONSTANT)


def _copy_box(box: Box, memo: dict[int, Any]) -> Box:
    """A box with the same bounds that draws its own samples, as the original would."""
    twin = copy.copy(box)
    if twin._np_random is not None:
        twin._np_random = copy.deepcopy(twin._np_random, memo)
    return twin
