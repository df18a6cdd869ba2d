"""Infos, nested or flat, and how to read either."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Between the parts of a flat key: ``info["outcome"]["sites"]`` is ``info["outcome/sites"]`` with
#: ``flat_info=True``. Loggers show such keys as groups.
SEPARATOR = "/"


def flat_keys(group: str, names: Iterable[str]) -> tuple[str, ...]:
    """Keys of the entries ``names`` of a nested dictionary in a flat info."""
    return tuple(f"{group}{SEPARATOR}{name}" for name in names)


def read_info(info: dict[str, Any], *path: str) -> Any:
    """The entry of an info at a path, whether the environment nests its infos or not.

    Args:
        info: Info of a scalar or vector environment, or its ``final_info``.
        *path: Keys from the outside in, for example ``"reward_terms", "dose"``.

    Raises:
        KeyError: There is no such entry.
    """
    flat = SEPARATOR.join(path)
    if flat in info:
        return info[flat]
    value: Any = info
    for key in path:
        value = value[key]
    return value


def read_group(info: dict[str, Any], group: str) -> dict[str, Any]:
    """The nested dictionary ``group`` of an info by name, also of a flat one; without masks.

    Raises:
        KeyError: There is no such group.
    """
    if group in info:
        found = {name: value for name, value in info[group].items() if name[:1] != "_"}
    else:
        start = group + SEPARATOR
        found = {key[len(start) :]: value for key, value in info.items() if key.startswith(start)}
    if not found:
        raise KeyError(group)
    return found
