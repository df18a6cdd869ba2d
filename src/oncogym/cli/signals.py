"""How a command ends when it is told to: soon, with all its processes, with the usual status."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Protocol

#: A command that was told to end has so long for tidying up [s].
PATIENCE = 3.5

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class _Main(Protocol):
    def __call__(self, argv: Sequence[str] | None = None) -> int: ...


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


def ends_on_signals(main: _Main) -> _Main:
    """Let SIGINT and SIGTERM end a program within :data:`PATIENCE`, with status 128 + signal.

    The first signal raises ``KeyboardInterrupt`` (SIGINT) or :class:`Terminated` in the main
    thread, so that context managers close what they hold. Whoever does not get ready in time, or
    gets a second signal, is ended without ceremony; worker processes notice by themselves.

    A ``main`` that is called with arguments works for another program, whose signals are left
    alone.
    """

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        if argv is not None or threading.current_thread() is not threading.main_thread():
            return main(argv)
        received: list[int] = []

        def end(number: int, frame: FrameType | None) -> None:
            if received:
                _leave(received[0])
            received.append(number)
            last = threading.Timer(PATIENCE, _leave, [number])
            last.daemon = True
            last.start()
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

        for number in _NUMBERS:
            # What whoever started the program ignores (nohup, a shell's background job) stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, end)
        try:
            status = main(argv)
        except KeyboardInterrupt:
            if not received:
                raise
            status = 0
        return 128 + received[0] if received else status

    return run


def _leave(number: int) -> None:
    # Nothing is flushed: whoever should read it may be what everything is waiting for.
    os._exit(128 + number)
