"""How a command ends when it is told to: soon, with all its processes, with the usual status."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn, Protocol

from oncogym.parallel.lifeline import LEAVING, adopt_orphans, kill_descendants

#: A command that was told to end has so long for tidying up [s].
PATIENCE = 2.5

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class _Main(Protocol):
    def __call__(self, argv: Sequence[str] | None = None) -> int: ...


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


def ends_on_signals(main: _Main) -> _Main:
    """Let SIGINT and SIGTERM end a program within :data:`PATIENCE`, with status 128 + signal.

    The first signal raises ``KeyboardInterrupt`` (SIGINT) or :class:`Terminated` in the main
    thread, so that context managers close what they hold. Whoever does not get ready in time, or
    gets a second signal, is ended without ceremony, and so are all processes that it started.

    A ``main`` that is called with arguments works for another program, whose signals are left
    alone.
    """

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        if argv is not None or threading.current_thread() is not threading.main_thread():
            return main(argv)
        _occupy_standard_streams()
        received: list[int] = []

        def end(number: int, frame: FrameType | None) -> None:
            if received:
                _leave(received[0])
            received.append(number)
            LEAVING.set()
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

        for number in _NUMBERS:
            # What whoever started the program ignores (nohup, a shell's background job) stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, end)
        _limit_patience()
        adopt_orphans()
        try:
            status = main(argv)
        except KeyboardInterrupt:
            if not received:
                raise
        if not received:
            return status
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()
        # Past the farewells at exit that wait for workers.
        _leave(received[0])

    return run


def _occupy_standard_streams() -> None:
    """Put the null device where standard input, output or error is closed.

    The next file that is opened would take its place, and with it whatever is written to it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w"))  # noqa: SIM115


def _limit_patience() -> None:
    """Watch for the first signal in a thread of its own.

    The main thread may be in a call that returns to Python much later, or never.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        while (number := os.read(reader, 1)[0]) not in _NUMBERS:
            pass
        time.sleep(PATIENCE)
        _leave(number)

    threading.Thread(target=watch, name="patience", daemon=True).start()


def _leave(number: int) -> NoReturn:
    # Nothing is flushed: whoever should read it may be what everything is waiting for.
    kill_descendants()
    os._exit(128 + number)
