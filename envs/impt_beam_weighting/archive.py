"""Files of arrays and structures: complete or not there, and read with errors that name them."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from oncogym.envs.impt_beam_weighting.errors import PhantomFileError
from oncogym.envs.impt_beam_weighting.structures import Structure, StructureSet


def write_archive(
    path: str | Path, about: Mapping[str, Any], structures: StructureSet, arrays: Mapping[str, Any]
) -> None:
    """Write ``about`` (JSON-able), structures and arrays as ``.npz``.

    The file appears under its name only when it is complete.
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


def read_archive(path: str | Path) -> tuple[dict[str, Any], list[Structure], dict[str, Any]]:
    """What :func:`write_archive` wrote: about, structures and arrays; use :func:`reading`."""
    with np.load(path, allow_pickle=False) as table:
        about = json.loads(str(table["about"]))
        structures = [
            Structure(one["name"], table[f"voxels_{n}"], one["role"], one["limit"], one["priority"])
            for n, one in enumerate(about.pop("structures"))
        ]
        arrays = {name: table[name] for name in table.files if name != "about"}
    return about, structures, arrays


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
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
    ) as error:
        raise PhantomFileError(f"{path}: no {what}: {error}") from error
