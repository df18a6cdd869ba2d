"""Scores that a search has had already, in a file: by them any optimiser goes on where it was.

With the same seed an optimiser asks for the scores of the same plans in the same order. Each answer
is written down as it comes. A search that is resumed asks from the beginning and is answered from
the file, without a simulation, up to the plans that were never scored; so it ends where it would
have ended, and an optimiser needs no word of its own about interruptions.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path

import numpy as np

from oncogym.agents.optimizers.base import SearchFolderError
from oncogym.agents.optimizers.objective import PlanObjective
from oncogym.core.files import CorruptFileError
from oncogym.core.journal import Journal, open_journal, pack, unpack
from oncogym.envs.therapy import Floats

#: Files of scores, one for each method.
FILES = "scores-*.jsonl"


class KeptScores(PlanObjective):
    """An objective that answers from a journal what was asked before; see :func:`kept_scores`.

    Args:
        objective: What scores new plans.
        journal: Where the answers stand.

    Attributes:
        earlier_seconds: Time that the search took before it was interrupted, up to the last answer.

    Raises:
        CorruptFileError: What stands there are no answers.
    """

    def __init__(self, objective: PlanObjective, journal: Journal) -> None:
        super().__init__(
            objective.problem, replicates=objective.replicates, max_lanes=objective.max_lanes
        )
        self._journal, self._next = journal, 0
        self._started = time.perf_counter()
        try:
            self._answers = [
                (str(asked), unpack(scores), int(evaluations), float(seconds))
                for asked, scores, evaluations, seconds in journal.entries
            ]
        except (TypeError, ValueError) as error:
            raise CorruptFileError(f"{journal.name}: no answers to a search ({error!r})") from None
        self.earlier_seconds = self._answers[-1][-1] if self._answers else 0.0

    def score_actions(
        self, actions: Floats, draw: int = 0, executor: Executor | None = None
    ) -> Floats:
        """See :meth:`PlanObjective.score_actions`.

        Raises:
            SearchFolderError: The search asks for other plans than the one that was interrupted.
        """
        asked = _digest(actions, draw)
        if self._next < len(self._answers):
            before, scores, evaluations, _ = self._answers[self._next]
            self._next += 1
            if before != asked or len(scores) != len(actions):
                raise SearchFolderError(
                    f"{self._journal.name}: the search asks for other plans than it did before it "
                    f"was interrupted (answer {self._next}); the method does not repeat itself "
                    "with the same seed, or another version of it began the search: begin anew in "
                    "another folder"
                )
            self.evaluations += evaluations
            return scores.copy()
        done = self.evaluations
        scores = super().score_actions(actions, draw, executor)
        seconds = self.earlier_seconds + time.perf_counter() - self._started
        self._journal.add([asked, pack(scores), self.evaluations - done, seconds])
        return scores


@contextlib.contextmanager
def kept_scores(
    objective: PlanObjective,
    file: Path,
    search: Mapping[str, object],
    *,
    modules: Iterable[str] = (),
    resume: bool = False,
) -> Iterator[KeptScores]:
    """The objective, with its answers in a file; it does not outlive the context.

    Args:
        objective: What scores plans.
        file: The file; its folder exists, and nobody else works there.
        search: What decides the search beside the objective (method, settings, budget, seed),
            JSON-able, by name.
        modules: Names of modules in which it is programmed, where they are not the suite's.
        resume: Begin with the answers in the file, if there is one, see
            :func:`oncogym.core.journal.open_journal`.

    Raises:
        OtherWorkError: The search in the file began with other settings, or with other sources of
            the suite; the message names them.
        CorruptFileError: It is no such file.
    """
    modules = [objective.problem.treatment.task.__module__, *modules]
    about = {**search, **objective.identity()}
    with open_journal(file, about, modules=modules, resume=resume) as journal:
        yield KeptScores(objective, journal)


def _digest(actions: Floats, draw: int) -> str:
    table = np.ascontiguousarray(actions, np.float64)
    return hashlib.sha256(table.tobytes() + str(draw).encode()).hexdigest()[:32]
