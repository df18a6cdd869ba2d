"""Courses that an evaluation has had already: by them a long comparison goes on where it was.

Each batch of patients whom an agent has treated is written down as it ends. It is found again by a
digest of all that decides it: environment, options, patients, chance, agent, and the sources of the
suite. What was decided otherwise is treated anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from oncogym.agents.rollout import Rollout
from oncogym.core.files import CorruptFileError
from oncogym.core.journal import Journal, open_journal, pack, unpack
from oncogym.core.manifest import versions
from oncogym.evaluation.shards import Shard, treat
from oncogym.parallel.base import in_turn

#: File of the courses in the folder of an evaluation.
FILE = "courses.jsonl"

_FIELDS = tuple(field.name for field in fields(Rollout))


class KeptCourses:
    """Courses by the digests of their batches; see :func:`kept_courses`.

    Args:
        journal: Where they stand; ``None`` keeps nothing.

    Attributes:
        seconds: Time that the courses took which were asked for, whenever they were simulated.

    Raises:
        CorruptFileError: What stands there are no courses.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._known: dict[str, tuple[float, Rollout]] = {}
        self.seconds = 0.0
        try:
            for digest, seconds, *columns in journal.entries if journal else ():
                self._known[str(digest)] = float(seconds), _unpacked(columns)
        except (TypeError, ValueError) as error:
            raise CorruptFileError(f"{journal and journal.name}: no courses ({error!r})") from None

    def treated(self, shards: Sequence[Shard], executor: Executor, title: str) -> list[Rollout]:
        """Courses of all batches, in their order, with a progress bar on standard error.

        Args:
            shards: The batches.
            executor: Who treats those that are not known.
            title: Name of the bar.

        Raises:
            ExecutorError: The workers cannot do it.
        """
        digests = [_digest(shard) if self._journal else str(n) for n, shard in enumerate(shards)]
        missing = [n for n, digest in enumerate(digests) if digest not in self._known]
        found: dict[int, tuple[float, Rollout]] = {
            n: self._known[digest] for n, digest in enumerate(digests) if digest in self._known
        }
        with tqdm(
            total=len(shards), initial=len(found), desc=title, unit="batch", leave=False,
            file=sys.stderr, disable=None,
        ) as bar:  # fmt: skip
            asked = [shards[n] for n in missing]
            started = time.perf_counter()
            for n, result in zip(missing, in_turn(executor, treat, asked, bar.update), strict=True):
                seconds, started = time.perf_counter() - started, time.perf_counter()
                found[n] = seconds, result
                if self._journal:
                    self._known[digests[n]] = found[n]
                    self._journal.add([digests[n], seconds, *_packed(result)])
        self.seconds += sum(seconds for seconds, _ in found.values())
        return [found[n][1] for n in range(len(shards))]


@contextlib.contextmanager
def kept_courses(file: Path, modules: Iterable[Any] = ()) -> Iterator[KeptCourses]:
    """Courses that are kept in a file, or a new file in place of one by other sources.

    Args:
        file: The file; its folder exists, and nobody else works there.
        modules: Modules and classes of others on whose sources courses depend.
    """
    about = {"sources": _sources(), "versions": versions(), "others": [*map(_source, modules)]}
    with contextlib.ExitStack() as stack:
        try:
            journal = stack.enter_context(open_journal(file, about, resume=True))
            kept = KeptCourses(journal)
        except ValueError:
            stack.close()
            kept = KeptCourses(stack.enter_context(open_journal(file, about)))
        yield kept


def _packed(result: Rollout) -> list[tuple[list[int], str]]:
    """The columns of some courses: shapes and numbers."""
    columns = [np.asarray(getattr(result, name)) for name in _FIELDS]
    return [(list(column.shape), pack(column)) for column in columns]


# Types of the columns that are no float64.
_TYPES = {"lengths": np.int64, "success": np.bool_, "clipped": np.int64}


def _unpacked(columns: Sequence[Any]) -> Rollout:
    if len(columns) != len(_FIELDS):
        raise ValueError(f"{len(columns)} columns")
    return Rollout(
        **{
            name: unpack(text).reshape(shape).astype(_TYPES.get(name, np.float64))
            for name, (shape, text) in zip(_FIELDS, columns, strict=True)
        }
    )


def _digest(shard: Shard) -> str:
    # Not with the module: most evaluations keep nothing.
    import cloudpickle

    return hashlib.sha256(cloudpickle.dumps(shard)).hexdigest()[:32]


@cache
def _sources() -> str:
    """Digest of all source files of the suite."""
    packages = ("", ".envs", ".agents", ".wrappers", ".training", ".evaluation")
    folders: set[Path] = set()
    for name in packages:
        spec = importlib.util.find_spec(__name__.partition(".")[0] + name)
        folders.update(map(Path, spec.submodule_search_locations or () if spec else ()))
    files = sorted({file.resolve() for folder in folders for file in folder.rglob("*.py")})
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:32]


def _source(module: Any) -> str:
    """Digest of the file in which a module or class stands; empty where there is none."""
    try:
        return hashlib.sha256(Path(inspect.getfile(module)).read_bytes()).hexdigest()[:32]
    except (OSError, TypeError):
        return ""
