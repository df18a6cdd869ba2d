"""Checkpoints: everything a run needs to go on, in one file that is either whole or absent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.archives import dump_arrays, load_arrays
from oncogym.core.documents import Document
from oncogym.core.files import (
    CorruptFileError,
    parse_json,
    read_bytes,
    to_plain,
    write_bytes_atomic,
)

#: Checkpoints that are kept unless a run says otherwise; older ones are removed.
KEEP = 3

_FORMAT = "oncogym-checkpoint"
_NAME = re.compile(r"checkpoint_(\d{12})\.npz")
_STATE = "state.json"

#: Bytes of a checkpoint at most.
LARGEST = 1 << 30
_MOST_UNPACKED = 16


@dataclass(frozen=True)
class Checkpoint:
    """State of a run.

    Args:
        steps: How far the run is, in a unit of its own: decisions of a training, generations of a
            search.
        state: JSON-able part.
        arrays: Numbers by name: tensors, random-number states, a population.
    """

    steps: int
    state: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = KEEP) -> Path:
    """Write a checkpoint into ``folder`` and remove all but the last ``keep``.

    Args:
        folder: Where checkpoints lie.
        checkpoint: What is written.
        keep: How many of the latest stay, at least 1.
    """
    document = {
        "format": _FORMAT,
        "steps": checkpoint.steps,
        "arrays": sorted(checkpoint.arrays),
        "state": to_plain(checkpoint.state),
    }
    text = json.dumps(document, allow_nan=False).encode("utf-8")
    path = folder / _file_name(checkpoint.steps)
    data = dump_arrays({_STATE: np.frombuffer(text, np.uint8), **checkpoint.arrays})
    write_bytes_atomic(path, data)
    for old in list_checkpoints(folder)[keep:]:
        old.unlink(missing_ok=True)
    return path


def _file_name(steps: int) -> str:
    return f"checkpoint_{steps:012d}.npz"


def list_checkpoints(folder: Path) -> list[Path]:
    """Files of checkpoints, newest first; they may be damaged."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint, without unpickling.

    Raises:
        CorruptFileError: It is truncated, altered or not a checkpoint; the message names it.
    """
    data = read_bytes(path, LARGEST)
    # What write_checkpoint writes is not compressed; a file that unpacks to many times its size is
    # none of ours.
    arrays = load_arrays(path, data, _MOST_UNPACKED * len(data), kinds="biuf")
    # The archive's own checksums leave its headers out.
    if dump_arrays(arrays) != data:
        raise CorruptFileError(f"{path}: altered")
    text = arrays.pop(_STATE, None)
    if text is None or text.dtype != np.uint8 or text.ndim != 1:
        raise CorruptFileError(f"{path}: not a checkpoint, it has no {_STATE}")
    document = Document(parse_json(text.tobytes(), f"{path}: {_STATE}"), f"{path}: {_STATE}")
    if document["format"] != _FORMAT or document["arrays"] != sorted(arrays):
        raise CorruptFileError(f"{path}: not a checkpoint, or arrays are missing")
    steps = document.whole("steps", 0, 10**15)
    if path.name != _file_name(steps):
        raise CorruptFileError(f"{path}: holds step {steps}")
    return Checkpoint(steps, document.mapping("state"), arrays)


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that can be read, and what is wrong with newer ones.

    Returns:
        The checkpoint (``None`` when there is no file at all) and one message, which names the
        file, for each damaged one that was passed over.

    Raises:
        CorruptFileError: There are checkpoints, but all of them are damaged.
    """
    damaged: list[str] = []
    for path in list_checkpoints(folder):
        try:
            return read_checkpoint(path), damaged
        except CorruptFileError as error:
            damaged.append(str(error))
    if damaged:
        raise CorruptFileError(
            f"every checkpoint in {folder} is damaged; remove them to start from the beginning: "
            + "; ".join(damaged)
        )
    return None, damaged
