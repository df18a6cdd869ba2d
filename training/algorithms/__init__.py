"""Learning algorithms by name: one file each, or an entry point of another package."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from oncogym.core.errors import nearest
from oncogym.training.algorithms.base import Algorithm

#: Entry-point group in which another package offers an :class:`Algorithm`.
ENTRY_POINT_GROUP = "oncogym.algorithms"

#: The algorithm unless another one is named.
DEFAULT = "ppo"

_CONTRACT = "base"


def algorithm_names() -> list[str]:
    """Names of all algorithms; none of them is imported for it."""
    own = [module.name for module in pkgutil.iter_modules(__path__) if module.name != _CONTRACT]
    return sorted({*own, *(point.name for point in _offered())})


@cache  # reading what is installed takes 10 ms
def _offered() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=ENTRY_POINT_GROUP))


def find_algorithm(name: str) -> Algorithm:
    """The algorithm called ``name``.

    Raises:
        UnknownNameError: There is none; the message suggests the nearest.
        ModuleNotFoundError: It needs an extra that is not installed.
        TypeError: What another package offers is no algorithm.
    """
    if name not in algorithm_names():
        raise nearest("algorithm", name, algorithm_names())
    for point in _offered():
        if point.name == name:
            return _checked(name, point.load())
    module = importlib.import_module(f"{__name__}.{name}")
    return _checked(name, module.ALGORITHM)


def require_installed(method: Algorithm) -> None:
    """Make sure that an algorithm has the packages that it needs.

    Raises:
        ModuleNotFoundError: One is missing; the message says how to install it.
    """
    require = getattr(method, "require", None)
    if require is not None:
        require()


def usable_algorithms() -> list[str]:
    """Names of the algorithms whose packages are installed."""
    found = []
    for name in algorithm_names():
        with contextlib.suppress(ModuleNotFoundError):
            require_installed(find_algorithm(name))
            found.append(name)
    return found


def _checked(name: str, found: Any) -> Algorithm:
    if isinstance(found, type):
        found = found()
    missing = [part for part in ("title", "Settings", "build") if not hasattr(found, part)]
    if missing or getattr(found, "name", None) != name:
        what = f"has no {', '.join(missing)}" if missing else f"calls itself {found.name!r}"
        raise TypeError(f"the algorithm {name!r} ({found!r}) {what}")
    return found
