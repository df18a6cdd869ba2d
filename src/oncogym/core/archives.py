"""Arrays in ``.npz`` files: written without a date, read without trust and without pickling."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from oncogym.core.files import CorruptFileError

#: Arrays in an archive at most, unless the caller says otherwise.
MOST_MEMBERS = 10_000

# A central directory has at least 46 bytes a member; names and remarks of ours are short.
_DIRECTORY_BYTES = 512
# The end of the central directory: its signature, its length, and where its size stands in it.
_END, _END_BYTES, _SIZE_AT = b"PK\x05\x06", 22, 12
_LONGEST_REMARK = 65535
_LONGEST_HEADER = 10_000


class ArchiveError(ValueError):
    """Bytes are not an archive of plain arrays, or of larger ones than allowed."""


def dump_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """An ``.npz`` file's bytes; the same arrays give the same bytes (``np.savez`` adds a time)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), part.getvalue())
    return buffer.getvalue()


def load_arrays(
    path: Path,
    data: bytes,
    most_bytes: int,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    kinds: str = "f",
) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file's bytes; see :func:`read_archive`.

    Args:
        path: The file, for the message.
        data: Its content.
        most_bytes, shapes, kinds: As in :func:`read_archive`.

    Raises:
        CorruptFileError: They are not a whole archive of such arrays; the message names ``path``.
    """
    try:
        return read_archive(data, most_bytes, shapes=shapes, kinds=kinds)
    except ArchiveError as error:
        raise CorruptFileError(f"{path}: {error}") from error


def read_archive(
    data: bytes,
    most_bytes: int,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    kinds: str = "biuf",
    most_members: int = MOST_MEMBERS,
) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file by name, copied, without unpickling.

    Names, sizes, types and shapes are compared with what is allowed before anything is unpacked,
    and no more is unpacked than an array of its stated shape has.

    Args:
        data: Content of the file.
        most_bytes: Bytes of all arrays together at most.
        shapes: The arrays that there have to be, no others, and their shapes; ``None`` for any.
        kinds: Kinds of types that are allowed, as in :attr:`numpy.dtype.kind`.
        most_members: Arrays at most.

    Raises:
        ArchiveError: It is truncated, altered, or holds anything else; the message says what.
    """
    try:
        return _read(data, most_bytes, shapes, kinds, most_members)
    except ArchiveError:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen kinds on damaged bytes
        raise ArchiveError(
            f"truncated or altered ({str(error) or type(error).__name__})"
        ) from error


def _read(
    data: bytes,
    most_bytes: int,
    shapes: Mapping[str, tuple[int, ...]] | None,
    kinds: str,
    most_members: int,
) -> dict[str, NDArray[Any]]:
    _check_directory(data, most_members)
    found: dict[str, NDArray[np.generic]] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        _check_members(members, most_bytes, shapes, most_members)
        for member in members:
            name = _name(member)
            with archive.open(member) as stream:
                dtype, shape, fortran = _header(stream, name, kinds)
                if shapes is not None and shape != shapes[name]:
                    raise ArchiveError(f"{name} has the shape {shape}; allowed: {shapes[name]}")
                size = math.prod(shape) * dtype.itemsize
                if size != member.file_size - stream.tell():
                    raise ArchiveError(
                        f"{name} has {member.file_size} bytes, which do not make an array "
                        f"{shape} of {dtype}"
                    )
                content = stream.read(size)
            if len(content) != size:
                raise ArchiveError(f"{name} is truncated")
            values = np.frombuffer(content, dtype, math.prod(shape)).copy()
            found[name] = values.reshape(shape, order="F" if fortran else "C")
    return found


def _check_directory(data: bytes, most_members: int) -> None:
    """Bound the number of members before they are listed: a list of a million takes a gigabyte."""
    start = max(len(data) - _END_BYTES - _LONGEST_REMARK, 0)
    end = data.rfind(_END, start)
    if end < 0:
        raise ArchiveError("truncated, or no archive of arrays")
    size = int.from_bytes(data[end + _SIZE_AT : end + _SIZE_AT + 4], "little")
    if b"PK\x06\x07" in data[max(end - 20, 0) : end] or size > _DIRECTORY_BYTES * most_members:
        raise ArchiveError(f"more than {most_members} arrays")


def _check_members(
    members: list[zipfile.ZipInfo],
    most_bytes: int,
    shapes: Mapping[str, tuple[int, ...]] | None,
    most_members: int,
) -> None:
    if len(members) > most_members:
        raise ArchiveError(f"{len(members)} arrays; allowed: at most {most_members}")
    names = [_name(member) for member in members]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(names) < 200 else []
    if len(set(names)) < len(names):
        raise ArchiveError(f"a name comes twice: {', '.join(twice) or 'among many'}")
    if shapes is not None and set(names) != set(shapes):
        missing, other = sorted(set(shapes) - set(names)), sorted(set(names) - set(shapes))
        text = f"missing: {', '.join(missing)}" if missing else f"not expected: {', '.join(other)}"
        raise ArchiveError(f"wrong arrays ({text[:200]})")
    total = sum(member.file_size for member in members)
    if total > most_bytes:
        raise ArchiveError(f"unpacks to {total} bytes; allowed: at most {most_bytes}")


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _header(stream: Any, name: str, kinds: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    version = npy.read_magic(stream)
    if version == (1, 0):
        read = npy.read_array_header_1_0
    elif version == (2, 0):
        read = npy.read_array_header_2_0
    else:
        raise ArchiveError(f"{name} has the format {version}; allowed: (1, 0), (2, 0)")
    shape, fortran, dtype = read(stream, max_header_size=_LONGEST_HEADER)
    if dtype.kind not in kinds or dtype.names is not None or dtype.subdtype is not None:
        raise ArchiveError(f"{name} has values of type {dtype}; allowed: plain numbers")
    if any(size < 0 for size in shape):
        raise ArchiveError(f"{name} has the shape {shape}; allowed: sizes of at least 0")
    return dtype, shape, fortran
