"""One process at a time works in a run's folder.

The kernel's advisory lock on ``run.lock`` decides (:func:`fcntl.flock`). It ends with its owner,
however that ends, so that no lock of a killed process, of a machine that was switched off or of a
container with another name is in the way. What the file says serves the message to whoever comes
second. On NFS, Linux turns this lock into one of the server (NFSv4, or NFSv3 with its lock
daemon), which also reaches other machines and is given up when a machine is gone. Where a file
system knows no such locks, or the system none at all (Windows), the file itself is the lock: it is
made in one step that fails when it exists, and one whose owner is known to be dead is taken over.
An owner on another machine is believed to live.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import threading
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from oncogym.core.files import OutputFolderError, StrPath

try:
    import fcntl
except ModuleNotFoundError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

#: Name of the file; it is there while a process works in the folder, and after one was killed.
LOCK_FILE = "run.lock"

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
# A lock that changes hands so often while somebody tries to take it is not free.
_ATTEMPTS = 50
# More than any record has.
_LONGEST = 4096

# Folders that this process holds, with the thread that does.
_held: dict[str, int] = {}
_guard = threading.Lock()


class RunLockedError(ValueError):
    """Another process works in the folder; the message names it."""


@contextlib.contextmanager
def hold(folder: StrPath) -> Iterator[None]:
    """Work in an existing ``folder`` as the only one; within, the same thread may hold it again.

    Raises:
        RunLockedError: Another process, or another thread of this one, works there.
        OutputFolderError: The folder cannot be written to.
    """
    place = os.path.realpath(folder)
    me = threading.get_ident()
    with _guard:
        owner = _held.get(place)
        if owner is None:
            _held[place] = me
    if owner == me:
        yield
        return
    if owner is not None:
        raise RunLockedError(f"{folder}: another thread of this process works there")
    try:
        with _locked(Path(place) / LOCK_FILE, folder):
            yield
    finally:
        with _guard:
            del _held[place]


@contextlib.contextmanager
def _locked(path: Path, folder: StrPath) -> Iterator[None]:
    try:
        descriptor = _take(path, folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputFolderError(f"cannot write to folder {folder}: {reason}") from error
    try:
        yield
    finally:
        # First the name, then the lock: nobody can take a file that is about to lose its name.
        with contextlib.suppress(OSError):
            path.unlink()
        if descriptor is not None:
            os.close(descriptor)


def _take(path: Path, folder: StrPath) -> int | None:
    """Take the lock; the descriptor that holds it, or ``None`` where the file itself does."""
    for _ in range(_ATTEMPTS):
        if fcntl is None:
            break
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            taken = _flock(descriptor)
            if taken and _names(path, descriptor):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, _record())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if taken is None:
            break
        if not taken:
            raise _refusal(path, folder)
        # Otherwise its last owner has just taken the name away.
    _take_file(path, folder)
    return None


def _flock(descriptor: int) -> bool | None:
    """Whether the kernel's lock is ours now; ``None`` where there are none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _names(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _take_file(path: Path, folder: StrPath) -> None:
    """Make the file, in place of one whose owner is dead."""
    for _ in range(_ATTEMPTS):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            before = _read(path)
            if not is_stale(before):
                raise _refusal(path, folder) from None
            aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, aside)
                moved = _read(aside)
                if moved != before and not is_stale(moved):
                    # Somebody was faster, and this is his: it goes back.
                    os.rename(aside, path)
                    raise _refusal(path, folder) from None
                aside.unlink()
            continue
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(_record())
        return
    raise _refusal(path, folder)


def _record() -> bytes:
    """What the file says about its owner."""
    return json.dumps(
        {
            "pid": os.getpid(),
            "host": platform.node(),
            "boot": _boot(),
            "process_started": _started(os.getpid()),
            "since_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
    ).encode("utf-8")


def _read(path: Path) -> dict[str, Any]:
    """The record of the owner; empty where it cannot be read."""
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(_LONGEST).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_stale(record: Mapping[str, object]) -> bool:
    """Whether the owner is certainly dead: this machine's, and of another boot, gone or another.

    A process id is used again after a while; the time at which the process started tells.
    """
    pid = record.get("pid")
    if record.get("host") != platform.node() or type(pid) is not int or pid < 1:
        return False
    if record.get("boot") != _boot():
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # it lives and belongs to somebody else
        pass
    return record.get("process_started") != _started(pid)


def _boot() -> str:
    """What changes whenever this machine starts; empty where nothing says so."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _started(pid: int) -> str:
    """When a process of this machine started, in the kernel's words; empty where unknown."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
        )
    except (OSError, IndexError):
        return ""


def _refusal(path: Path, folder: StrPath) -> RunLockedError:
    record = _read(path)
    who = f"process {record['pid']}" if type(record.get("pid")) is int else "another process"
    where = record.get("host")
    there = f" on {where}" if isinstance(where, str) and where != platform.node() else ""
    since = f" since {record['since_utc']}" if isinstance(record.get("since_utc"), str) else ""
    return RunLockedError(
        f"{folder} is in use by {who}{there}{since}; wait for it, end it, or choose another folder"
    )
