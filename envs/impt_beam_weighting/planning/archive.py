"""Files of arrays and structures: complete or not there, and read with errors that name them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.json_types import JsonObject
from oncogym.envs.impt_beam_weighting.planning.errors import PhantomFileError
from oncogym.envs.impt_beam_weighting.planning.structures import Structure, StructureSet

# A file that would unpack to more than this many bytes and this many times its size is refused:
# doses and voxel numbers shrink some ten times.
_FREE_BYTES = 1 << 26
_LARGEST_RATIO = 100
# Largest description [bytes].
_ABOUT_BYTES = 1 << 24


@dataclass(frozen=True)
class Array:
    """What an array of an archive has to be.

    Attributes:
        kinds: Kinds of NumPy types that are allowed.
        axes: Number of its axes.
    """

    kinds: str
    axes: int = 1


_VOXELS = Array("iu")


def write_archive(
    path: str | Path, about: Mapping[str, Any], structures: StructureSet, arrays: Mapping[str, Any]
) -> None:
    """Write ``about`` (JSON-able), structures and arrays as ``.npz``.

    The file appears under its name only when it is complete.

    Args:
        path: The file.
        about: What is said of it, JSON-able.
        structures: Structures of the anatomy.
        arrays: Further arrays by name.
    """
    described = {
        **about,
        "structures": [
            {"name": s.name, "role": s.role, "limit": s.limit, "priority": s.priority}
            for s in structures
        ],
    }
    voxels = {f"voxels_{n}": one.voxels for n, one in enumerate(structures)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(described)), **arrays, **voxels)
    path = Path(path)
    part = path.with_name(path.name + ".part")
    part.write_bytes(buffer.getvalue())
    part.replace(path)


def read_archive(
    path: str | Path, wanted: Mapping[str, Array]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What :func:`write_archive` wrote: about and arrays; use :func:`reading`.

    Nothing is unpacked before the sizes and types of all parts are known and fit together.

    Args:
        path: The file.
        wanted: The arrays that it must have, beside the voxels of its structures.

    Raises:
        ValueError: A part is missing, unknown, of another type or size, or much too large.
    """
    with zipfile.ZipFile(path) as file:
        parts: dict[str, zipfile.ZipInfo] = {}
        for info in file.infolist():
            name = info.filename.removesuffix(".npy")
            if name in parts:
                raise ValueError(f"the part {name!r} is there twice")
            parts[name] = info
        about = _read_about(file, parts)
        every = {"about": Array("U", 0), **wanted}
        every.update((f"voxels_{n}", _VOXELS) for n in range(len(about["structures"])))
        for name in every:
            if name not in parts:
                raise ValueError(f"the part {name!r} is missing")
        for name in parts:
            if name not in every:
                raise ValueError(f"the part {name!r} is unknown")
        for name, one in every.items():
            _check_header(file, parts[name], name, one)
        unpacked = sum(parts[name].file_size for name in every)
        packed = Path(path).stat().st_size
        if unpacked > max(_FREE_BYTES, _LARGEST_RATIO * packed):
            raise ValueError(
                f"{packed} bytes would unpack to {unpacked}; allowed: up to {_LARGEST_RATIO} times "
                "as many"
            )
        return about, {name: _read_array(file, parts[name]) for name in every if name != "about"}


def structures_of(
    about: Mapping[str, Any],
    arrays: Mapping[str, Any],
    num_voxels: int,
    shape: Sequence[int] | None = None,
) -> StructureSet:
    """The structures of an archive.

    Args:
        about: What the archive says of itself.
        arrays: Its arrays by name.
        num_voxels: Size of the grid.
        shape: Shape of the grid in C order, if it is known.

    Raises:
        ValueError: A description or the voxels of a structure are malformed.
    """
    found = []
    for number, one in enumerate(about["structures"]):
        if not isinstance(one, dict):
            raise ValueError(f"structure {number} is {one!r}; allowed: keys with values")
        for key in ("name", "role", "limit", "priority"):
            if key not in one:
                raise ValueError(f"the key {key!r} of structure {number} is missing")
        voxels = arrays[f"voxels_{number}"]
        if voxels.size and not (0 <= int(voxels.min()) <= int(voxels.max()) < num_voxels):
            raise ValueError(
                f"structure {one['name']!r} has voxels outside the grid of {num_voxels} voxels"
            )
        # As a mask, numbers cannot be taken for one.
        mask = np.zeros(num_voxels, np.bool_)
        mask[voxels] = True
        found.append(Structure(one["name"], mask, one["role"], one["limit"], one["priority"]))
    return StructureSet(found, num_voxels, shape)


@contextlib.contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """Turn what a malformed file raises into an error that names it.

    Raises:
        PhantomFileError: The file is no ``what``.
        FileNotFoundError: There is no such file.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (
        ArithmeticError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        NotImplementedError,
        RecursionError,
        RuntimeError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
    ) as error:
        raise PhantomFileError(f"{path}: no {what}: {error}") from error


def file_digest(path: str | Path) -> str:
    """Digest of a file's content, by which a cache tells whether it is still the same.

    Raises:
        FileNotFoundError: There is no such file.
    """
    found = Path(path).stat()
    return _digest(str(path), found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)
def _digest(path: str, changed: int, size: int) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _read_about(file: zipfile.ZipFile, parts: Mapping[str, zipfile.ZipInfo]) -> JsonObject:
    if "about" not in parts:
        raise ValueError("the part 'about' is missing")
    if parts["about"].file_size > _ABOUT_BYTES:
        raise ValueError(f"the part 'about' has {parts['about'].file_size} bytes; allowed: up to "
                         f"{_ABOUT_BYTES}")  # fmt: skip
    _check_header(file, parts["about"], "about", Array("U", 0))
    text = str(_read_array(file, parts["about"]))
    about = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(about, dict):
        raise ValueError(f"the part 'about' is {type(about).__name__}; allowed: keys with values")
    if "structures" not in about:
        raise ValueError("the key 'structures' is missing")
    if not isinstance(about["structures"], list):
        raise ValueError(f"structures are {about['structures']!r}; allowed: a list")
    return about


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _check_header(file: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, wanted: Array) -> None:
    """Type, axes and size of an array by its header, which is all that is unpacked."""
    with file.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"the part {name!r} is of format {version}; allowed: 1.0 or 2.0")
        start = stream.tell()
    if dtype.kind not in wanted.kinds or len(shape) != wanted.axes:
        raise ValueError(
            f"the part {name!r} has {len(shape)} axes of {dtype}; allowed: {wanted.axes} of kind "
            f"{' or '.join(wanted.kinds)}"
        )
    size = start + math.prod(shape) * dtype.itemsize
    if size != info.file_size:
        raise ValueError(
            f"the part {name!r} is said to hold {size} bytes and has {info.file_size}; allowed: "
            "as many"
        )


def _read_array(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with file.open(info) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
