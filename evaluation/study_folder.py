"""A study in a folder: each part is done once, however often the study is interrupted."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from oncogym.core.checks import whole_number
from oncogym.core.documents import Document
from oncogym.core.files import to_plain, write_json_atomic
from oncogym.core.json_types import JsonObject
from oncogym.core.manifest import versions
from oncogym.core.output_folder import OutputFolder
from oncogym.core.run_lock import hold
from oncogym.parallel.base import ExecutorError, LanesExecutor
from oncogym.parallel.choice import open_executor

# Folder of the parts within that of the study.
_PARTS = "parts"
# Bytes of a part's file at most.
_LONGEST = 1 << 26


@dataclass(frozen=True)
class Part:
    """One part of a study: what is sent to a worker.

    Attributes:
        name: Name of its file, without the ending.
        work: What is done, a function of a module: called with the settings as keywords and with
            ``progress``; returns JSON-able data.
        settings: JSON-able values that decide the result.
    """

    name: str
    work: Callable[..., Mapping[str, object]]
    settings: Mapping[str, object]

    @property
    def file(self) -> str:
        """Name of its file in the folder of the study."""
        return f"{_PARTS}/{self.name}.json"

    def read(self, folder: Path) -> JsonObject | None:
        """What an earlier run of the study found, ``None`` if there was none.

        Raises:
            ValueError: The part was done with other settings.
            CorruptFileError: The file is damaged.
        """
        path = folder / self.file
        if not path.is_file():
            return None
        document = Document.read(path, _LONGEST)
        found, wanted = document.mapping("settings"), to_plain(self.settings)
        for name in sorted({*found, *wanted}):
            if found.get(name) != wanted.get(name):
                raise ValueError(
                    f"{path} was made with {name} {found.get(name)!r}, now it is "
                    f"{wanted.get(name)!r}; choose another folder"
                )
        return {
            **document.mapping("settings"),
            **document.mapping("result"),
            "seconds": document.number("seconds", 0.0, 1e12),
            "versions": document.mapping("versions"),
        }

    def finish(self, folder: Path, progress: bool = False) -> JsonObject:
        """The result, from the file if the part was done before.

        Args:
            folder: Folder of the study, which every worker sees.
            progress: Show a bar on standard error.

        Returns:
            The settings, what ``work`` returned, the ``seconds`` that it took, and the
            ``versions`` with which it was done.
        """
        found = self.read(folder)
        if found is not None:
            return found
        started = time.perf_counter()
        result = self.work(**self.settings, progress=progress)
        document = {
            "settings": self.settings,
            "seconds": time.perf_counter() - started,
            "versions": versions(),
            "result": result,
        }
        write_json_atomic(folder / self.file, document)
        found = self.read(folder)
        assert found is not None
        return found


class Study:
    """The folder of a study, held by this process; see :func:`open_study`.

    Args:
        output: The folder.
        parts: All parts.
    """

    def __init__(self, output: OutputFolder, parts: Sequence[Part]) -> None:
        self.output = output
        self._parts = parts

    def finish(self, executor: Executor | None = None) -> list[JsonObject]:
        """Do what is not done yet, and say on standard error how far it is.

        Args:
            executor: Who works; by default this process, one part after the other.

        Returns:
            The results in the order of the parts, see :meth:`Part.finish`.
        """
        path = self.output.path.resolve()
        executor = executor or LanesExecutor()
        missing = [part for part in self._parts if part.read(path) is None]
        done = len(self._parts) - len(missing)
        print(f"{len(self._parts)} parts, {done} of them done already", file=sys.stderr)
        (path / _PARTS).mkdir(exist_ok=True)
        self.output.add(*(part.file for part in self._parts))
        # Bars of several processes would write over each other.
        work = partial(_finish, folder=path, progress=isinstance(executor, LanesExecutor))
        list(executor.map(work, missing))
        return [part.finish(path) for part in self._parts]


def _finish(part: Part, folder: Path, progress: bool) -> None:
    print(f"{part.name} begins", file=sys.stderr)
    seconds = part.finish(folder, progress)["seconds"]
    print(f"{part.name} is done after {seconds:.3g} s", file=sys.stderr)


@contextlib.contextmanager
def open_study(
    folder: Path, job: str, parts: Sequence[Part], files: Sequence[str]
) -> Iterator[Study]:
    """Work on a study as the only process that does, or go on with one that was interrupted.

    Args:
        folder: Where it lies; made if it is missing.
        job: Name of the study.
        parts: All parts.
        files: Names of the files that the study writes besides.

    Raises:
        OutputFolderError: The folder cannot be written to, or has other things of these names.
        RunLockedError: Another process works there.
        ValueError: A part was done with other settings.
    """
    output = OutputFolder.claim(folder, job, [*files, *(part.file for part in parts)])
    with hold(output.path):
        for part in parts:
            part.read(output.path)
        yield Study(output, parts)


@contextlib.contextmanager
def command_study(
    parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    job: str,
    plan: Callable[[], Sequence[Part]],
    files: Sequence[str],
    *,
    trains: bool = True,
) -> Iterator[tuple[Study, Executor]]:
    """The study of a command, and who works on it; what is wrong ends the command.

    Args:
        parser: The parser, which says what is wrong.
        args: What it read, with the folder, and ``workers``.
        job: Name of the study.
        plan: Makes all parts; its errors are those of :func:`open_study`, or of bad arguments.
        files: Names of the files that the study writes besides.
        trains: Whether it needs what training needs.
    """
    with contextlib.ExitStack() as stack:
        try:
            if trains:
                require_training()
            parts = plan()
            executor = stack.enter_context(open_executor(workers=args.workers))
            study = stack.enter_context(open_study(args.out, job, parts, files))
        except (ValueError, OSError, ExecutorError, ModuleNotFoundError) as error:
            parser.error(str(error))
        yield study, executor


def each_and_all(runs: Sequence[JsonObject]) -> list[tuple[str, Sequence[JsonObject]]]:
    """The rows of a table of runs that differ in their seed: each by its seed, then ``all``."""
    return [*((str(run["seed"]), [run]) for run in runs), ("all", runs)]


def add_study_arguments(parser: argparse.ArgumentParser, *, seeds: int, patients: int) -> None:
    """Add what the commands of studies on patients have in common.

    Args:
        parser: The parser.
        seeds: Training seeds by default.
        patients: Patients by default.
    """
    add_seed_arguments(parser, seeds=seeds)
    parser.add_argument("--patients", type=int, default=patients, help="patients who are scored")
    parser.add_argument("--patients-seed", type=int, default=0, help="which patients and chance")
    parser.add_argument("--workers", type=int, help="processes; by default this one alone")
    add_folder_argument(parser)


def add_seed_arguments(parser: argparse.ArgumentParser, *, seeds: int) -> None:
    """Add what :func:`seeds_of` reads; ``seeds`` of them by default."""
    parser.add_argument("--seeds", type=int, default=seeds, help="runs of each kind")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first of them")


def add_folder_argument(parser: argparse.ArgumentParser) -> None:
    """Add the folder of the study."""
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder; a study that was interrupted there goes on, finished parts are not repeated",
    )


def versions_in(results: Sequence[JsonObject], package: str = "oncogym") -> str:
    """The versions of a package with which parts were done, each once, for a table."""
    return " ".join(sorted({str(one["versions"][package]) for one in results}))


def bare_name(env_id: str) -> str:
    """An id without its namespace, for names of files."""
    return env_id.rpartition("/")[2]


def seeds_of(args: argparse.Namespace) -> list[int]:
    """The training seeds that were asked for.

    Raises:
        ValueError: Their number or the first of them is out of range.
    """
    count = whole_number("seeds", args.seeds, 1, 1000)
    first = whole_number("first-seed", args.first_seed, 0, 2**31)
    return list(range(first, first + count))


def require_training() -> None:
    """Refuse to begin where nothing can be trained.

    Raises:
        ModuleNotFoundError: The extra ``train`` is not installed; the message says how to.
    """
    for name in ("torch", "stable_baselines3"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(
                f'training needs {name}, which is not installed: pip install "oncogym[train]"',
                name=name,
            )
