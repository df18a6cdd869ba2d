"""What several test processes of a session need and one of them makes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

from oncogym.core.files import write_bytes_atomic

Made = TypeVar("Made")


def session_folder(factory: pytest.TempPathFactory) -> Path:
    """The same folder for all processes of a session."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def made_once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]
) -> tuple[Path, Made]:
    """The folder ``name`` of the session, and what ``make`` returned for it, called once."""
    folder = session_folder(factory) / name
    kept = folder.with_suffix(".pickle")
    with FileLock(folder.with_suffix(".lock")):
        if not kept.exists():
            folder.mkdir(parents=True)
            write_bytes_atomic(kept, pickle.dumps(make(folder)))
    return folder, pickle.loads(kept.read_bytes())
