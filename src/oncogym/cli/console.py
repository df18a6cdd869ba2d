"""Standard streams that no state of theirs can turn into the end of a command."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


class _Patient:
    """A text stream for messages and bars: what it cannot write it leaves out.

    Nobody's training ends because a terminal was closed or a log file's disk is full.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):  # ValueError: closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Standard streams that are open, and print what they cannot encode as escapes.

    Standard output raises an error where it cannot be written to, at the latest at the end of the
    block; standard error never does.

    Raises:
        OSError: Standard output cannot be written to.
    """
    _fill_descriptors()
    before = sys.stdout, sys.stderr
    out = _opened(before[0], 1)
    error = _opened(before[1], 2)
    sys.stdout, sys.stderr = out, cast(TextIO, _Patient(error))
    try:
        yield
        out.flush()
    finally:
        sys.stdout, sys.stderr = before
        _leave_clean(out)
        _leave_clean(error)


def _fill_descriptors() -> None:
    """Put something behind closed standard descriptors.

    Otherwise the next file that is opened gets the number, and messages end up in it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened == number:
                os.set_inheritable(number, True)
            else:
                os.close(opened)


def _opened(stream: TextIO | None, number: int) -> TextIO:
    if stream is None or stream.closed:
        return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _leave_clean(stream: TextIO) -> None:
    """Flush for good: what Python cannot flush at its own end turns the exit status into 120."""
    try:
        stream.flush()
    except ValueError:
        return  # closed
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
            stream.flush()
