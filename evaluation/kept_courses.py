"""Courses that an evaluation has had already: by them a long comparison goes on where it was.

Each batch of patients whom an agent has treated is written down as it ends. It is found again by a
digest of all that decides it: environment, options, patients, chance, agent, and the sources of the
suite. What was decided otherwise is treated anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from oncogym.agents.rollout import Rollout
from oncogym.core.files import CorruptFileError
from oncogym.core.journal import Journal, open_journal, pack, unpack
from oncogym.core.output_folder import OutputFolder
from oncogym.core.run_lock import hold
from oncogym.envs.problem import Problem
from oncogym.evaluation.shards import treat
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
        self._known: dict[str, tuple[float, Any]] = {}
        self.seconds = 0.0
        if journal is None:
            return
        try:
            for digest, seconds, *columns in journal.entries:
                self._known[str(digest)] = float(seconds), _unpacked(columns)
        except (TypeError, ValueError) as error:
            raise CorruptFileError(f"{journal.name}: no courses ({error!r})") from None

    def treated(
        self,
        batches: Sequence[Any],
        executor: Executor,
        progress: Callable[[int], object],
        work: Callable[[Any], Any] | None = None,
    ) -> Iterator[Any]:
        """The courses of all batches, in their order.

        Args:
            batches: What decides the courses of some patients, picklable.
            executor: Who treats those that are not known.
            progress: Told now and then how many batches were done since.
            work: Treats a batch, always the same for its type; returns a :class:`Rollout`, alone or
                in a tuple before arrays of float64. By default that of a
                :class:`oncogym.evaluation.shards.Shard`.

        Raises:
            ExecutorError: The workers cannot do it.
        """
        digests = [_digest(batch) if self._journal else "" for batch in batches]
        missing = [batch for batch, one in zip(batches, digests, strict=True) if not self._has(one)]
        progress(len(batches) - len(missing))
        results = in_turn(executor, work or treat, missing, progress)
        for digest in digests:
            if self._has(digest):
                seconds, result = self._known[digest]
            else:
                started = time.perf_counter()
                result = next(results)
                seconds = time.perf_counter() - started
                if self._journal and digest:
                    self._journal.add([digest, seconds, *_packed(result)])
            self.seconds += seconds
            yield result

    def _has(self, digest: str) -> bool:
        return digest in self._known


@contextlib.contextmanager
def kept_courses(file: Path, modules: Iterable[str] = ()) -> Iterator[KeptCourses]:
    """Courses that are kept in a file, or a new file in place of one by other sources.

    Args:
        file: The file; its folder exists, and nobody else works there.
        modules: Names of modules beside the suite's on which courses depend; with each goes the
            whole package in which it stands.
    """
    modules = list(modules)
    with contextlib.ExitStack() as stack:
        try:
            journal = stack.enter_context(open_journal(file, {}, modules=modules, resume=True))
            kept = KeptCourses(journal)
        except ValueError:
            stack.close()
            kept = KeptCourses(stack.enter_context(open_journal(file, {}, modules=modules)))
        yield kept


@contextlib.contextmanager
def courses_in(
    output: OutputFolder | None, problem: Problem, modules: Iterable[str] = ()
) -> Iterator[KeptCourses | None]:
    """Courses that are kept in a command's folder, which is held meanwhile.

    Args:
        output: The folder; without any, none are kept.
        problem: Who is treated.
        modules: Names of a user's own modules on which courses depend.

    Raises:
        OutputFolderError: The folder has a file of that name that is not ours.
        RunLockedError: Another process works there.
    """
    if output is None:
        yield None
        return
    with hold(output.path):
        output.add(FILE)
        with kept_courses(
            output.path / FILE, [problem.treatment.task.__module__, *modules]
        ) as kept:
            yield kept


# Types of the columns of a rollout that are no float64.
_TYPES = {"lengths": np.int64, "success": np.bool_, "clipped": np.int64}


def _packed(result: Any) -> list[tuple[list[int], str]]:
    """Courses, and the arrays beside them, as shapes and numbers."""
    rollout, *others = result if isinstance(result, tuple) else (result,)
    columns = [np.asarray(getattr(rollout, name)) for name in _FIELDS] + others
    return [(list(column.shape), pack(column)) for column in columns]


def _unpacked(columns: Sequence[Any]) -> Any:
    tables = [unpack(text).reshape(shape) for shape, text in columns]
    own, others = tables[: len(_FIELDS)], tables[len(_FIELDS) :]
    rollout = Rollout(
        **{
            name: table.astype(_TYPES.get(name, np.float64))
            for name, table in zip(_FIELDS, own, strict=True)
        }
    )
    return (rollout, *others) if others else rollout


def _digest(batch: object) -> str:
    """What tells a batch from all others; empty for one that cannot be told and is not kept."""
    # Not with the module: most evaluations keep nothing.
    import cloudpickle

    try:
        return hashlib.sha256(cloudpickle.dumps(batch)).hexdigest()[:32]
    except (AttributeError, TypeError, pickle.PicklingError):
        return ""
