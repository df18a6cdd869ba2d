"""Processes that do not outlive the process for which they work.

It needs the standard library only: ``ray_guard.py`` runs it without the package.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

# prctl(2): whether orphans among the descendants of a process become its children.
_PR_SET_CHILD_SUBREAPER = 36

#: A script for :func:`runpy.run_path` at the start of a worker, see there. It is no module of the
#: package: importing that takes seconds, in which the parent may end.
FOLLOW_PARENT = str(Path(__file__).with_name("follow_parent.py"))

#: Set once this process is about to end together with all that it started: nobody needs to say
#: goodbye to them, and those who were told to end, too, do not answer.
LEAVING = threading.Event()


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


def kill(pids: Iterable[int]) -> None:
    """End processes at once, whatever they are doing; those that are gone are passed over."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def adopt_orphans() -> None:
    """Let descendants whose own parent ends become children of this process, on Linux.

    So :func:`kill_descendants` finds what a cluster's processes have started.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_descendants() -> None:
    """End all processes that this one has started, and theirs, where the system lists them."""
    for _ in range(3):  # while they are looked for, they may start others
        found = descendants([os.getpid()])
        if not found:
            return
        kill(found)


def descendants(pids: Iterable[int]) -> list[int]:
    """What processes have started, and what those have, where the system lists them."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # pid (name, which may hold anything) state parent …
            text = (place / "stat").read_text("utf-8", "replace")
            state, parent = text.rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(place.name))
    found, waiting = [], list(pids)
    while waiting:
        waiting = [child for pid in waiting for child in children.get(pid, ())]
        found += waiting
    return found
