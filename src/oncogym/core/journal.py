"""A file to which finished pieces of work are added, and from which interrupted work goes on."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncogym.core.files import CorruptFileError, parse_json, read_bytes, to_plain
from oncogym.core.sources import program

_FORMAT, _VERSION = "oncogym-journal", 1
_LARGEST = 1 << 31


class OtherWorkError(ValueError):
    """A journal holds the entries of other work; the message names what was decided otherwise.

    Other sources of the suite, or other versions of its packages, are other work.
    """


class Journal:
    """An open journal; see :func:`open_journal`.

    Args:
        stream: The file, open at its end.
        entries: What stood in it when it was opened.

    Attributes:
        entries: What stood in it when it was opened.
        name: The file.
    """

    def __init__(self, stream: BinaryIO, entries: list[Any]) -> None:
        self._stream = stream
        self.entries = entries
        self.name = stream.name

    def add(self, entry: object) -> None:
        """Write an entry, JSON-able; a process that is killed afterwards does not lose it."""
        self._stream.write(_line(entry))
        self._stream.flush()


@contextlib.contextmanager
def open_journal(
    file: Path,
    about: Mapping[str, object],
    *,
    modules: Iterable[str] = (),
    resume: bool = False,
) -> Iterator[Journal]:
    """A journal in ``file``, whose folder exists and is nobody else's meanwhile.

    Args:
        file: The file.
        about: What decides the entries beside the suite's sources and its packages' versions,
            JSON-able, by name.
        modules: Names of modules that decide them too, see :func:`oncogym.core.sources.program`.
        resume: Begin with the entries in the file, if there is one, instead of a new file. An entry
            that was cut off is forgotten, and so is, with a warning, everything from a damaged one
            on.

    Raises:
        OtherWorkError: The entries in the file were decided otherwise.
        CorruptFileError: It is no such file.
    """
    about = to_plain({**about, **program(modules)})
    head = {"format": _FORMAT, "version": _VERSION, "about": about}
    entries, size = _read(file, about) if resume and file.exists() else ([], 0)
    with file.open("r+b" if size else "wb") as stream:
        journal = Journal(stream, entries)
        if size:
            stream.seek(size)
            stream.truncate()
        else:
            journal.add(head)
        try:
            yield journal
        finally:
            stream.flush()
            os.fsync(stream.fileno())


def differences(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """One text for each name whose value is not the same in both."""
    return [
        f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def pack(numbers: ArrayLike) -> str:
    """Numbers as text that gives them back bit for bit, those included for which JSON has none."""
    return np.asarray(numbers, "<f8").tobytes().hex()


def unpack(text: str) -> NDArray[np.float64]:
    """The numbers ``(k,)`` that :func:`pack` was given.

    Raises:
        TypeError, ValueError: It is no such text.
    """
    return np.frombuffer(bytes.fromhex(text), "<f8").astype(np.float64)


def _read(file: Path, about: Mapping[str, object]) -> tuple[list[Any], int]:
    """The entries, and how many bytes of the file are sound: none without a first line."""
    lines = read_bytes(file, _LARGEST).splitlines(keepends=True)
    if not lines or not lines[0].endswith(b"\n"):
        return [], 0
    try:
        head = _content(lines[0], f"{file}, line 1")
        if head["format"] != _FORMAT or head["version"] != _VERSION:
            raise ValueError
        changed = differences(head["about"], about)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CorruptFileError(f"{file}: not a journal of version {_VERSION}") from None
    if changed:
        raise OtherWorkError(
            f"{file.parent} cannot go on with other settings: " + "; ".join(changed)
        )
    entries, size = [], len(lines[0])
    for number, line in enumerate(lines[1:], 2):
        if not line.endswith(b"\n"):
            break
        try:
            entries.append(_content(line, f"{file}, line {number}"))
        except ValueError:
            warnings.warn(
                f"{file}, line {number}: damaged; what stands from there on is done again",
                RuntimeWarning,
                4,
            )
            break
        size += len(line)
    return entries, size


def _line(content: object) -> bytes:
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _content(line: bytes, place: str) -> Any:
    """What stands in a line; raises ``ValueError`` where it is damaged."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if int(checksum, 16) != zlib.crc32(text):
        raise ValueError("the checksum is wrong")
    return parse_json(text, place)
