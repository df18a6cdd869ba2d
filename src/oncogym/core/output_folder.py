"""A folder of results that keeps a list of the files that are ours; nothing else is touched."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from oncogym.core.files import (
    CorruptFileError,
    OutputFolderError,
    StrPath,
    read_json,
    require_writable_folder,
    write_json_atomic,
)

#: File in which a folder keeps the list.
LIST = ".oncogym-files.json"

_FORMAT = "oncogym-files"
_VERSION = 1
# Where a fresh start keeps the results that it will replace.
_ASIDE = "previous"


class OutputFolder:
    """The files that a command has written into a folder, by their names in it.

    A name is written before its file is, so that a list is never short of a file of ours. Files
    that are not on the list are never written over, moved or removed, and neither is anything
    behind a symbolic link inside the folder.

    Args:
        files: Names in it that are its own.
        known: Whether the folder holds their list.

    Attributes:
        path: The folder.
        job: What writes into it, such as ``evaluate``.
    """

    def __init__(self, path: Path, job: str, files: Iterable[str], known: bool = False) -> None:
        self.path = path
        self.job = job
        self._files = set(files)
        self._listed = known
        self._written: set[str] = set()

    @classmethod
    def claim(cls, path: StrPath, job: str, names: Iterable[str] = ()) -> OutputFolder:
        """Make sure, before any work, that ``job`` can write ``names`` into a folder.

        The folder is made if it is missing; nothing else is changed.

        Args:
            path: The folder.
            job: What is going to write.
            names: Names of files within the folder, with wildcards in their last part.

        Raises:
            OutputFolderError: The folder cannot be written to, holds the results of another job, or
                a file of such a name that is not ours; the message names it.
            CorruptFileError: The list of the folder is damaged.
        """
        found = cls.find(path)
        if found is not None and found.job != job:
            raise OutputFolderError(
                f"{path} holds the results of oncogym {found.job}; allowed: a folder of its own "
                f"for oncogym {job}"
            )
        folder = require_writable_folder(path)
        output = found or cls(folder, job, ())
        output.require_own(names)
        return output

    @classmethod
    def find(cls, path: StrPath) -> OutputFolder | None:
        """The folder with its list, or ``None`` where there is none; nothing is changed.

        Raises:
            CorruptFileError: The list is damaged.
        """
        file = Path(path) / LIST
        if not os.path.lexists(file):
            return None
        document = read_json(file)
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise CorruptFileError(f"{file}: not a list of files that oncogym has written")
        if document.get("version") != _VERSION:
            raise CorruptFileError(
                f"{file}: a list of version {document.get('version')!r}; this oncogym reads "
                f"{_VERSION}"
            )
        job, files = document.get("job"), document.get("files")
        if not isinstance(job, str) or not isinstance(files, list):
            raise CorruptFileError(f"{file}: it names no job and no files")
        for name in files:
            if not isinstance(name, str) or not _is_inner(name):
                raise CorruptFileError(f"{file}: {name!r} is no name of a file in the folder")
        return cls(Path(path), job, files, known=True)

    def require_own(self, names: Iterable[str]) -> None:
        """Raise :class:`OutputFolderError` if a file of such a name exists and is not ours."""
        for name in names:
            parent = self.path / PurePosixPath(name).parent
            self._require_real(parent)
            pattern = PurePosixPath(name).name
            paths = parent.glob(pattern) if _is_wild(pattern) else [parent / pattern]
            for path in paths:
                if os.path.lexists(path) and not self.owns(path):
                    raise OutputFolderError(
                        f"{path} is there and not one of the files that oncogym {self.job} has "
                        "written into this folder; move it away or choose another folder"
                    )

    def owns(self, path: Path) -> bool:
        """Whether a path within the folder is on the list."""
        name = path.relative_to(self.path).as_posix()
        return not path.is_dir() and any(_matches(name, one) for one in self._files)

    def add(self, *names: str) -> None:
        """Put names on the list, just before they are written; wildcards as for :meth:`claim`.

        Raises:
            OutputFolderError: A file of such a name exists and is not ours.
        """
        self.require_own(names)
        self._written.update(names)
        if not self._listed or not self._files.issuperset(names):
            self._files.update(names)
            self._save()

    def write(self, name: str, make: Callable[[Path], object]) -> Path:
        """Write one file of ours with ``make(path)``; folders in its name are made.

        Raises:
            OutputFolderError: A file of that name exists and is not ours.
            OSError: It cannot be written.
        """
        self.add(name)
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
        return path

    def take(self, make: Callable[[Path], Iterable[Path]]) -> list[Path]:
        """Let ``make`` write into an empty folder, and move what it wrote into this one.

        Returns:
            The paths that ``make`` returned, as they are now.

        Raises:
            OutputFolderError: A file of such a name exists and is not ours; nothing is moved.
        """
        with tempfile.TemporaryDirectory(prefix=".oncogym-", dir=self.path) as name:
            draft = Path(name)
            made = [path.relative_to(draft) for path in make(draft)]
            files = sorted(path for path in draft.rglob("*") if path.is_file())
            names = [path.relative_to(draft).as_posix() for path in files]
            self.require_own(names)
            self.add(*names)
            for path, inner in zip(files, names, strict=True):
                (self.path / inner).parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, self.path / inner)
        return [self.path / path for path in made]

    def forget_others(self) -> None:
        """Remove our files that were not written anew since the folder was claimed."""
        for name in sorted(self._files - self._written):
            self._remove(name)
        self._files &= self._written
        self._save()

    def remove(self) -> None:
        """Remove our files, then folders within this one that are empty without them.

        Whatever else is in the folder stays.
        """
        for name in sorted(self._files):
            self._remove(name)
        self._files = set()
        with contextlib.suppress(FileNotFoundError):
            (self.path / LIST).unlink()
        self._listed = False

    def begin_afresh(self) -> None:
        """Move our files into the folder ``previous``, from which nothing has to be read again.

        If an earlier fresh start has not come to its end, its own files are removed and those it
        put aside stay there.

        Raises:
            OutputFolderError: There is another file or folder called ``previous``.
        """
        if not self._files:
            return
        aside = self.aside()
        there = self.path / _ASIDE
        if aside is None and os.path.lexists(there):
            raise OutputFolderError(
                f"{there} is there and was not put there by oncogym; move it away, or choose "
                "another folder"
            )
        mine = {path.relative_to(self.path).as_posix(): path for path in self._own_paths()}
        if aside is None and mine:
            there.mkdir()
            aside = OutputFolder(there, self.job, mine)
            aside._save()
        for name, path in mine.items():
            target = there / name
            # Moved where an interruption left it out; what came after it was never finished.
            if aside is not None and name in aside._files and not os.path.lexists(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
        self.remove()

    def aside(self) -> OutputFolder | None:
        """The results that :meth:`begin_afresh` put aside, if there are any."""
        there = self.path / _ASIDE
        return None if there.is_symlink() else OutputFolder.find(there)

    def drop_aside(self) -> None:
        """Remove what :meth:`begin_afresh` put aside: the new results are complete."""
        aside = self.aside()
        if aside is not None:
            aside.remove()
            with contextlib.suppress(OSError):  # something of somebody else's is in it
                aside.path.rmdir()

    def _own_paths(self) -> Iterator[Path]:
        for name in sorted(self._files):
            parent = self.path / PurePosixPath(name).parent
            if self._is_real(parent):
                pattern = PurePosixPath(name).name
                found = sorted(parent.glob(pattern)) if _is_wild(pattern) else [parent / pattern]
                yield from (p for p in found if os.path.lexists(p) and not _is_folder(p))

    def _remove(self, name: str) -> None:
        """Remove the files of a name and the folders that this leaves empty."""
        one = OutputFolder(self.path, self.job, [name])
        for path in one._own_paths():
            path.unlink()
        parents = list(PurePosixPath(name).parents)[:-1]
        for parent in parents:
            if self._is_real(self.path / parent):
                with contextlib.suppress(OSError):
                    (self.path / parent).rmdir()

    def _is_real(self, folder: Path) -> bool:
        """Whether no link leads out of the output folder on the way to ``folder``."""
        parts = folder.relative_to(self.path).parts
        ways = [self.path.joinpath(*parts[: n + 1]) for n in range(len(parts))]
        return not any(way.is_symlink() for way in ways)

    def _require_real(self, folder: Path) -> None:
        if not self._is_real(folder):
            raise OutputFolderError(f"{folder}: a link leads out of {self.path}")
        if os.path.lexists(folder) and not folder.is_dir():
            raise OutputFolderError(f"{folder} is a file, not a folder; move it away")

    def _save(self) -> None:
        document: Mapping[str, object] = {
            "format": _FORMAT,
            "version": _VERSION,
            "about": "Files that oncogym has written into this folder and may replace or remove.",
            "job": self.job,
            "files": sorted(self._files),
        }
        write_json_atomic(self.path / LIST, document)
        self._listed = True


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_inner(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\0" not in name


def _is_wild(name: str) -> bool:
    return "*" in name


def _matches(name: str, listed: str) -> bool:
    """Whether ``name`` is ``listed``; a star in the last part stands for anything but a slash."""
    if not _is_wild(PurePosixPath(listed).name):
        return name == listed
    one, other = PurePosixPath(name), PurePosixPath(listed)
    head, _, tail = other.name.partition("*")
    rest = one.name[len(head) :]
    return one.parent == other.parent and one.name.startswith(head) and rest.endswith(tail)
