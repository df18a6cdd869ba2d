"""Files that are either complete or absent, and errors that say which file and why."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CorruptFileError",
    "OutputFolderError",
    "parse_json",
    "read_bytes",
    "read_json",
    "require_writable_folder",
    "to_plain",
    "write_bytes_atomic",
    "write_csv_atomic",
    "write_json_atomic",
    "write_text_atomic",
]

StrPath = str | os.PathLike[str]


class OutputFolderError(OSError):
    """A folder cannot be written to; the message names it and the reason."""


class CorruptFileError(ValueError):
    """A file's content is not what it should be; the message names the file and the place."""


def write_bytes_atomic(path: StrPath, data: bytes) -> Path:
    """Write `data` so that `path` holds either its old content or all of the new one.

    The bytes go to a hidden file in the same folder, reach the disk, and take the name in one
    step. A symbolic link is followed. Returns the path as given.

    Raises:
        OSError: the folder is missing or refuses; no temporary file is left behind.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file() and not target.is_dir():
        target.write_bytes(data)  # a device or pipe: its name must not be taken over by a file
        return Path(path)
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        # os.open rather than tempfile, whose files are private: this one obeys the umask.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with open(os.open(temporary, flags, 0o666), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)
    return Path(path)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself durable, where the system can open folders at all."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text_atomic(path: StrPath, text: str) -> Path:
    """Write `text` as UTF-8, newlines as they are; otherwise as :func:`write_bytes_atomic`.

    What UTF-8 has no bytes for, the lone surrogates in which Python keeps odd file names, is
    written as an escape: one character must not cost a finished run its results.
    """
    return write_bytes_atomic(path, text.encode("utf-8", "backslashreplace"))


def write_json_atomic(path: StrPath, value: object) -> Path:
    """Write `value`, made plain by :func:`to_plain`, as indented JSON; keys keep their order.

    Raises:
        TypeError: something in it has no JSON form; nothing is written.
        OSError: as :func:`write_bytes_atomic`.
    """
    return write_text_atomic(path, json.dumps(to_plain(value), indent=2, allow_nan=False) + "\n")


def write_csv_atomic(path: StrPath, frame: pd.DataFrame, *, index: bool = False) -> Path:
    """Write `frame` as CSV with every digit of its numbers; `index` adds the row labels.

    Args:
        path: The file.
        frame: The table.
        index: Whether row labels are written.

    Raises:
        OSError: as :func:`write_bytes_atomic`.
    """
    return write_text_atomic(path, frame.to_csv(index=index, lineterminator="\n"))


def to_plain(value: object) -> Any:
    """A copy of `value` from JSON's types only.

    NumPy scalars and arrays, dataclasses, paths, tuples and sets (sorted) are converted. JSON has
    no number for them, so NaN becomes None and the infinities the texts "inf" and "-inf": a rare
    value must not cost a finished run its results.

    Raises:
        TypeError: a value of any other type (it names the type).
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(to_plain(key)): to_plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, set | frozenset):
        return [to_plain(item) for item in sorted(value)]
    if isinstance(value, list | tuple | range):
        return [to_plain(item) for item in value]
    raise TypeError(f"no JSON form for {type(value).__module__}.{type(value).__qualname__}")


def require_writable_folder(path: StrPath) -> Path:
    """Make sure that files can be written in `path`, before any work; create it if missing.

    It writes a small file and removes it again: permission bits alone say nothing to root, on a
    read-only file system or on a full one.

    Raises:
        OutputFolderError: naming the folder and the reason.
    """
    folder = Path(path)
    for part in (folder, *folder.parents):
        if os.path.lexists(part):
            if not part.is_dir():
                kind = "a broken link" if part.is_symlink() and not part.exists() else "a file"
                what = "it" if part == folder else str(part)
                raise OutputFolderError(
                    f"cannot write to folder {folder}: {what} is {kind}, not a folder"
                )
            break
    probe = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_bytes_atomic(probe, b"probe")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        refused = OutputFolderError(f"cannot write to folder {folder}: {reason}")
        refused.errno = error.errno  # a full disk is not the user's mistake
        raise refused from error
    return folder


def read_json(path: StrPath, most_bytes: int = 1 << 28) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: it cannot be opened.
        CorruptFileError: it is no file, larger than `most_bytes`, not UTF-8 or not JSON; the
            message has file, line and fault.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise CorruptFileError(f"{path}: not a file")  # a pipe would be waited for
    return parse_json(read_bytes(path, most_bytes), str(path))


def read_bytes(path: StrPath, most_bytes: int) -> bytes:
    """The content of a file that has no more than `most_bytes`.

    Raises:
        OSError: it cannot be opened.
        CorruptFileError: it is larger.
    """
    data = bytearray()
    with open(path, "rb") as stream:
        while part := stream.read(1 << 20):  # a device has no size to look at beforehand
            data += part
            if len(data) > most_bytes:
                raise CorruptFileError(f"{path}: larger than {most_bytes} bytes")
    return bytes(data)


def parse_json(data: bytes, place: str) -> Any:
    """JSON of unknown origin: without NaN and infinities, and no name twice in one object.

    Raises:
        CorruptFileError: it is something else; the message begins with `place`.
    """
    if not data.strip():
        raise CorruptFileError(f"{place}, line 1: the file is empty")
    try:
        return json.loads(
            data.decode("utf-8-sig"), parse_constant=_refuse, object_pairs_hook=_object
        )
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorruptFileError(f"{place}, line {line}: not UTF-8 text ({error.reason})") from error
    except json.JSONDecodeError as error:
        raise CorruptFileError(
            f"{place}, line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except RecursionError as error:
        raise CorruptFileError(f"{place}: nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits, or one of the two below
        raise CorruptFileError(f"{place}: {error}") from error


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not a number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} comes twice")
    return found
