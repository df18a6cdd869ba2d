"""Scores that a search has had already, in a file: by them any optimiser goes on where it was.

With the same seed an optimiser asks for the scores of the same plans in the same order. Each answer
is written down as it comes. A search that is resumed asks from the beginning and is answered from
the file, without a simulation, up to the plans that were never scored; so it ends where it would
have ended, and an optimiser needs no word of its own about interruptions.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from oncogym.agents.optimizers.base import SearchFolderError, differences
from oncogym.agents.optimizers.objective import PlanObjective
from oncogym.core.files import CorruptFileError, parse_json, read_bytes, to_plain
from oncogym.core.json_types import JsonObject
from oncogym.envs.therapy import Floats

#: Files of scores, one for each method.
FILES = "scores-*.jsonl"

_FORMAT, _VERSION = "oncogym-scores", 1
_LARGEST = 1 << 31


@dataclass(frozen=True)
class _Answer:
    """One answer: what was asked, the scores, and what there was of work and time until then."""

    asked: str
    scores: Floats
    evaluations: int
    seconds: float

    def line(self) -> bytes:
        """As a line of the file."""
        scores = np.asarray(self.scores, "<f8").tobytes().hex()
        return _line([self.asked, scores, self.evaluations, self.seconds])

    @classmethod
    def read(cls, values: Any) -> _Answer:
        """From what stands in a line; raises ``ValueError`` or ``TypeError`` if it is none."""
        asked, scores, evaluations, seconds = values
        numbers = np.frombuffer(bytes.fromhex(scores), "<f8").astype(np.float64)
        return cls(str(asked), numbers, int(evaluations), float(seconds))


class KeptScores(PlanObjective):
    """An objective that answers from a file what was asked before; see :func:`kept_scores`.

    Args:
        objective: What scores new plans.
        stream: The file, open at its end.
        answers: What stands in it.

    Attributes:
        earlier_seconds: Time that the search took before it was interrupted, up to the last answer.
    """

    def __init__(self, objective: PlanObjective, stream: BinaryIO, answers: list[_Answer]) -> None:
        super().__init__(
            objective.problem, replicates=objective.replicates, max_lanes=objective.max_lanes
        )
        self._stream, self._answers, self._next = stream, answers, 0
        self._started = time.perf_counter()
        self.earlier_seconds = answers[-1].seconds if answers else 0.0

    def score_actions(
        self, actions: Floats, draw: int = 0, executor: Executor | None = None
    ) -> Floats:
        """See :meth:`PlanObjective.score_actions`.

        Raises:
            SearchFolderError: The search asks for other plans than the one that was interrupted.
        """
        asked = _digest(actions, draw)
        if self._next < len(self._answers):
            answer = self._answers[self._next]
            if answer.asked != asked or len(answer.scores) != len(actions):
                raise SearchFolderError(
                    f"{self._stream.name}: the search asks for other plans than it did before it "
                    f"was interrupted (answer {self._next + 1}); the method does not repeat itself "
                    "with the same seed, or another version of it began the search: begin anew in "
                    "another folder"
                )
            self._next += 1
            self.evaluations += answer.evaluations
            return answer.scores.copy()
        before = self.evaluations
        scores = super().score_actions(actions, draw, executor)
        seconds = self.earlier_seconds + time.perf_counter() - self._started
        self._stream.write(_Answer(asked, scores, self.evaluations - before, seconds).line())
        self._stream.flush()
        return scores


@contextlib.contextmanager
def kept_scores(
    objective: PlanObjective, file: Path, search: Mapping[str, object], *, resume: bool = False
) -> Iterator[KeptScores]:
    """The objective, with its answers in a file; it does not outlive the context.

    Args:
        objective: What scores plans.
        file: The file; its folder exists, and nobody else works there.
        search: What decides the search beside the objective (method, settings, budget, seed),
            JSON-able, by name.
        resume: Begin with the answers in the file, if there is one, instead of a new file. What was
            cut off in the middle of a line is asked again, and so is, with a warning, everything
            from a damaged line on.

    Raises:
        SearchFolderError: The search in the file began with other settings; the message names them.
        CorruptFileError: It is no such file.
    """
    asked = to_plain({**search, **objective.identity()})
    answers: list[_Answer] = []
    size = 0
    if resume and file.exists():
        answers, size = _read(file, asked)
    with file.open("r+b" if size else "wb") as stream:
        if size:
            stream.seek(size)
            stream.truncate()
        else:
            stream.write(_line({"format": _FORMAT, "version": _VERSION, "search": asked}))
            stream.flush()
        try:
            yield KeptScores(objective, stream, answers)
        finally:
            os.fsync(stream.fileno())


def _read(file: Path, search: JsonObject) -> tuple[list[_Answer], int]:
    """The answers in a file, and how many of its bytes are sound: none without a first line."""
    lines = read_bytes(file, _LARGEST).splitlines(keepends=True)
    if not lines or not lines[0].endswith(b"\n"):
        return [], 0
    try:
        head = _content(lines[0], f"{file}, line 1")
        if head["format"] != _FORMAT or head["version"] != _VERSION:
            raise ValueError
        changed = differences(head["search"], search)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CorruptFileError(f"{file}: not a file of scores of version {_VERSION}") from None
    if changed:
        raise SearchFolderError(
            f"{file.parent} cannot go on with other settings: " + "; ".join(changed)
        )
    answers, size = [], len(lines[0])
    for number, line in enumerate(lines[1:], 2):
        if not line.endswith(b"\n"):
            break
        try:
            answers.append(_Answer.read(_content(line, f"{file}, line {number}")))
        except (ValueError, TypeError):
            warnings.warn(
                f"{file}, line {number}: damaged; plans from there on are scored again",
                RuntimeWarning,
                3,
            )
            break
        size += len(line)
    return answers, size


def _line(content: object) -> bytes:
    text = json.dumps(content, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _content(line: bytes, place: str) -> Any:
    """What stands in a line; raises ``ValueError`` where it is damaged."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if int(checksum, 16) != zlib.crc32(text):
        raise ValueError("the checksum is wrong")
    return parse_json(text, place)


def _digest(actions: Floats, draw: int) -> str:
    table = np.ascontiguousarray(actions, np.float64)
    return hashlib.sha256(table.tobytes() + str(draw).encode()).hexdigest()[:32]
