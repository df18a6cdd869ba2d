"""What belongs to a training run in its folder, and how it is removed."""

from __future__ import annotations

import re
from pathlib import Path

from oncogym.core.run_lock import LOCK_FILE


class RunFolderError(ValueError):
    """A folder holds a run already, holds none to be resumed, or holds something else."""


_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")
# By the folder within the run.
_OWN = {
    "": re.compile(r"config\.json|progress\.csv|result\.json"),
    "checkpoints": re.compile(r"checkpoint_\d{12}\.npz"),
    "policy": re.compile(r"policy\.(json|npz)"),
    "tensorboard": re.compile(r"events\.out\.tfevents\..*"),
}


def clear_run(folder: Path) -> None:
    """Remove what a run left in ``folder``, file by file; the folder and its lock stay.

    Raises:
        RunFolderError: There is something that no run writes; nothing is removed then.
    """
    files: list[Path] = []
    folders: list[Path] = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        inner = "" if len(place.parts) == 1 else place.parent.as_posix()
        if path.is_dir() and not path.is_symlink() and place.as_posix() in _OWN:
            folders.append(path)
        elif (own := _OWN.get(inner)) and (own.fullmatch(path.name) or _is_temporary(path)):
            files.append(path)
        elif place.as_posix() != LOCK_FILE:
            raise RunFolderError(
                f"{folder} holds {place}, which is not of a training run; nothing was removed"
            )
    for path in files:
        path.unlink()
    for path in folders:
        path.rmdir()


def _is_temporary(path: Path) -> bool:
    return _TEMPORARY.fullmatch(path.name) is not None
