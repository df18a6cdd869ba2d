"""Options that are written as ``KEY=VALUE``."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable
from typing import Any

from oncogym.core.json_types import JsonObject

# Values nest no deeper; what is deeper is a slip, and ends in the limits of Python.
_DEEPEST = 32


def read_pairs(pairs: Iterable[str]) -> JsonObject:
    """Turn ``key=value`` texts into a dictionary; values are JSON, or else plain text.

    Raises:
        ValueError: A text has no ``=``, a key comes twice, or a value nests too deeply, has an
            integer of thousands of digits or NaN.
    """
    out: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"{reprlib.repr(pair)} is not of the form KEY=VALUE")
        if key in out:
            raise ValueError(
                f"{key!r} is given twice, the second time as {reprlib.repr(text)}; allowed: once"
            )
        try:
            out[key] = _read(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{key!r} is {reprlib.repr(text)}: {error}") from None
    return out


def _read(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_constant)
    except json.JSONDecodeError:
        return text
    except RecursionError:
        raise ValueError(f"nested too deeply; allowed: {_DEEPEST} levels") from None
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return value
    raise ValueError(f"nested too deeply; allowed: {_DEEPEST} levels")


def _constant(name: str) -> float:
    if name == "NaN":
        raise ValueError("NaN is no value")
    return float(name)


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
