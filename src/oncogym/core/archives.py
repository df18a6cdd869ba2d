"""Archives of plain arrays, written and read without pickling."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.files import CorruptFileError


def dump_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An ``.npz`` file's bytes; the same arrays give the same bytes (``np.savez`` adds a time)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), part.getvalue())
    return buffer.getvalue()


def load_arrays(path: Path, data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file's bytes, without unpickling.

    Raises:
        CorruptFileError: They are not a whole archive of plain arrays; the message names ``path``.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile and numpy raise a dozen kinds on damaged bytes
        reason = str(error) or type(error).__name__
        raise CorruptFileError(f"{path}: truncated or altered ({reason})") from error
