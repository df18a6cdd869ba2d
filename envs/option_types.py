"""Does a value fit the annotation of the parameter that it is meant for?"""

from __future__ import annotations

import math
import numbers
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_TEXTS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    type(None): "null",
}
# Larger integers overflow somewhere behind every option, if not at once.
_LARGEST = 2**63


def parameter_types(callee: Any) -> dict[str, Any]:
    """Annotations of the parameters by name; those that cannot be resolved are left out."""
    target = callee.__init__ if isinstance(callee, type) else callee  # type: ignore[misc]
    try:
        return get_type_hints(target)
    except (NameError, TypeError, AttributeError):
        return {}  # a stranger's annotations may name what only a type checker imports


def fits(value: Any, kind: Any) -> bool:
    """Whether ``value`` is of the annotated ``kind``; a kind that is not known takes anything.

    Numbers are as strict as JSON lets them be: an integer may be written with a point (``3.0``),
    ``true`` is no number, and NaN is none either.
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in get_args(kind))
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in get_args(kind))
    if kind is None or kind is type(None):
        return value is None
    if kind is bool:
        return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
    if kind in (int, float):
        return _is_number(value, whole=kind is int)
    if kind is str:
        return isinstance(value, str)
    outer = origin or kind
    if not isinstance(outer, type):
        return True
    if issubclass(outer, Mapping):
        keys, items = (*get_args(kind), Any, Any)[:2]
        return isinstance(value, Mapping) and all(
            fits(key, keys) and fits(item, items) for key, item in value.items()
        )
    if outer in (list, tuple) or outer is Sequence:
        (item, *_) = (*get_args(kind), Any)
        return isinstance(value, (list, tuple)) and all(fits(one, item) for one in value)
    return True


def describe(kind: Any) -> str:
    """What :func:`fits` takes for ``kind``, in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(one) for one in inner)
    if origin is Literal:
        return ", ".join(repr(one) for one in inner)
    if kind in _TEXTS or kind is None:
        return _TEXTS[type(None) if kind is None else kind]
    outer = origin or kind
    if isinstance(outer, type) and issubclass(outer, Mapping):
        words = f"a mapping of {describe(inner[0])} to {describe(inner[1])}" if inner else ""
        return words or "a mapping"
    if outer in (list, tuple) or outer is Sequence:
        return f"a list of {describe(inner[0])}" if inner else "a list"
    return "anything"


def _is_number(value: Any, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    if isinstance(value, numbers.Integral):
        return -_LARGEST <= int(value) < _LARGEST
    number = float(value)
    return number.is_integer() if whole else not math.isnan(number)
