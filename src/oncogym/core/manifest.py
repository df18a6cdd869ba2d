"""What produced a result: versions, commit, machine, seeds, command."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from oncogym.core.documents import Document
from oncogym.core.files import to_plain
from oncogym.core.json_types import JsonObject

__all__ = ["git_state", "manifest", "versions"]

PACKAGES = ("oncogym", "numpy", "numba", "gymnasium", "scipy", "torch", "stable-baselines3")


def manifest(
    command: str,
    seeds: int | Sequence[int] | Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
) -> JsonObject:
    """A JSON-able record of a run; call it at the start, its time is the run's start.

    Args:
        command: the job's short name, such as ``"benchmark"``; the full command line is added.
        seeds: every seed that the run uses.
        settings: every other choice that changes the result, made plain by
            :func:`oncogym.core.files.to_plain`.

    Returns:
        keys ``command``, ``command_line``, ``started_utc`` (ISO 8601, whole seconds), ``seeds``,
        ``settings``, ``versions`` (None for what is not installed), ``git`` (see
        :func:`git_state`), ``platform``, ``machine``, ``cpu_count`` (usable by this process).

    Raises:
        TypeError: seeds or settings hold something without a JSON form.
    """
    return {
        "command": command,
        "command_line": shlex.join(sys.orig_argv),
        "started_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seeds": to_plain(seeds),
        "settings": to_plain(settings or {}),
        "versions": versions(),
        "git": git_state(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": _usable_cpus(),
    }


def versions() -> dict[str, str | None]:
    """Installed versions by distribution name, from metadata: nothing is imported for it."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def git_state(file: str | os.PathLike[str] = __file__) -> dict[str, Any] | None:
    """``{"commit": hash, "dirty": bool}`` of the repository that tracks `file`, or None.

    By default this file, so that a run is labelled with the commit of the code it ran, not of the
    folder it was started in; None for an installed wheel (even one inside somebody's repository,
    which does not track it), without a commit, or without git. Dirty means that tracked files
    differ from the commit; untracked ones, such as results, do not count.
    """
    source = Path(file).resolve()
    tracked = _git(source.parent, "ls-files", "--error-unmatch", "--", source.name)
    commit = _git(source.parent, "rev-parse", "--verify", "HEAD") if tracked else None
    if not commit:
        return None
    status = _git(source.parent, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def commit_of(written: Document) -> str:
    """The commit that wrote a manifest, with a plus if files differed from it.

    Without a repository it is the version of the package.

    Args:
        written: A :func:`manifest` as it was read back.

    Raises:
        CorruptFileError: It does not say.
    """
    if written["git"] is None:
        return str(written.mapping("versions")["oncogym"])
    state = written.mapping("git")
    return str(state["commit"])[:7] + ("+" if state["dirty"] else "")


def _git(folder: Path, *arguments: str) -> str | None:
    # A hook's GIT_DIR and the like would point at a repository that is not ours.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"  # only looking: leave the index alone
    try:
        result = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _usable_cpus() -> int | None:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count()
