"""Worker processes that do not outlive the process for which they work."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

# So often a worker looks whether its parent still lives [s].
_LOOK = 1.0
# prctl(2): the signal that a process gets when the thread that started it ends.
_PR_SET_PDEATHSIG = 1


def follow_parent(parent: int, at_once: bool) -> None:
    """End this process soon after ``parent`` has ended; the initializer of a worker.

    Args:
        parent: Process id of whoever started this one.
        at_once: The parent's main thread started this process. Then Linux itself ends it together
            with that thread, also in a compiled call that lets no other thread run. Another thread
            may end long before its process, so that only looking is left.
    """
    if at_once and sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before this process was ready
        os._exit(1)
    threading.Thread(target=_watch, args=(parent,), name="follow-parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


@contextlib.contextmanager
def no_interrupt_for_children() -> Iterator[None]:
    """Processes started within do not receive SIGINT.

    Ctrl-C goes to every process of the terminal. What it means is decided in one of them, which
    ends the others; their own tracebacks would be in the way.
    """
    if not hasattr(signal, "pthread_sigmask"):  # not on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill(pids: list[int]) -> None:
    """End processes at once, whatever they are doing; those that are gone are passed over."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
