"""Who may start threads: large batches of a process that was not forked from a threaded one.

Compiled loops come in twins, serial and parallel, that give the same numbers bit for bit.
:func:`choose` hands out the serial one

- inside :func:`limit` (scalar environments and small batches, so that they start no thread and
  their process may be forked afterwards), and
- in a process that was forked from one whose thread pool had started: the pool's threads do not
  exist in the child, which would wait for them for ever or be killed.

Parallel twins are called one at a time: numba's portable threading layer ends the process when two
Python threads start parallel loops together.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

#: A compiled loop; its arguments are whatever the kernel takes.
Loop: TypeAlias = Callable[..., Any]

_lock = threading.RLock()
_inherited = False


class _Limit(threading.local):
    """Whether this thread's work is to stay serial."""

    serial = False


_limit = _Limit()


def choose(serial: Loop, parallel: Loop, large: bool = True) -> Loop:
    """The twin to call now, once.

    Args:
        serial: The loop on the calling thread.
        parallel: The same on all threads.
        large: Whether the work is worth starting threads.
    """
    if not large or _limit.serial or _inherited:
        return serial

    def guarded(*args: object) -> Any:
        with _lock:
            return parallel(*args)

    return guarded


class limit:
    """``with limit(True):`` keeps what this Python thread computes meanwhile to itself.

    ``limit(False)`` changes nothing, inside ``limit(True)`` neither.
    """

    __slots__ = ("_before", "_serial")

    def __init__(self, serial: bool) -> None:
        self._serial = serial

    def __enter__(self) -> None:
        self._before = _limit.serial
        _limit.serial = self._before or self._serial

    def __exit__(self, *_: object) -> None:
        _limit.serial = self._before


def serial_only() -> bool:
    """Whether this process computes serially because it was forked from a threaded one."""
    return _inherited


def _pool_started() -> bool:
    # PyTorch shares its OpenMP pool with numba, and nothing tells whether it has used it.
    pool = sys.modules.get("numba.np.ufunc.parallel")
    return bool(getattr(pool, "_is_initialized", False)) or "torch" in sys.modules


def _after_fork() -> None:
    global _lock, _inherited
    _lock = threading.RLock()  # whoever held it in the parent is not here
    _inherited = _inherited or _pool_started()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
