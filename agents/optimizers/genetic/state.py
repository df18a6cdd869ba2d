"""How far a genetic search is, and the folder in which it survives an interruption."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from oncogym.agents.optimizers.base import SearchFolderError
from oncogym.agents.optimizers.genetic.schedules import Schedules
from oncogym.core.checkpoint import (
    Checkpoint,
    list_checkpoints,
    newest_checkpoint,
    write_checkpoint,
)
from oncogym.core.documents import is_number
from oncogym.core.files import (
    CorruptFileError,
    StrPath,
    require_writable_folder,
    to_plain,
    write_csv_atomic,
)
from oncogym.core.journal import differences
from oncogym.core.run_lock import hold
from oncogym.envs.therapy import Floats

#: Checkpoints that are kept: the last, and one in case it is damaged.
KEEP = 2

#: Columns of ``history.csv``, one row a generation. Scores are those of the search, on one draw of
#: the model for each generation; ``sd`` is over the schedules (population form), ``simulations``
#: counts from the start, ``seconds`` likewise without the time between interruption and resume.
COLUMNS = (
    "generation",
    "best",
    "mean",
    "sd",
    "mutation_probability",
    "simulations",
    "seconds",
)

_ARRAYS = ("population", "scores", "recent", "recent_scores")


@dataclass
class SearchState:
    """A genetic search after a scored generation.

    Args:
        rng: Source of chance of the operators.
        population: Schedules ``(population, slots)`` in units.
        scores: Their scores ``(population,)``; empty until they are known.
        generation: Number of the generation, 0 for the initial one.
        history: One row for each generation so far, see :data:`COLUMNS`.
        recent: Schedules of the last generations ``(generations * population, slots)``.
        recent_scores: Their scores ``(generations * population,)``.
    """

    rng: np.random.Generator
    population: Schedules
    scores: Floats = field(default_factory=lambda: np.zeros(0))
    generation: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    recent: Schedules = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    recent_scores: Floats = field(default_factory=lambda: np.zeros(0))

    def remember(self, scores: Floats, generations: int) -> None:
        """Take the scores of the population in; keep those of the last ``generations``."""
        kept = (generations - 1) * len(scores)
        before = max(len(self.recent) - kept, 0)
        self.scores = scores
        self.recent = np.concatenate(
            [self.recent.reshape(-1, self.population.shape[1])[before:], self.population]
        )
        self.recent_scores = np.concatenate([self.recent_scores[before:], scores])

    @property
    def simulations(self) -> int:
        """Simulated treatments so far."""
        return int(self.history[-1]["simulations"]) if self.history else 0

    @property
    def seconds(self) -> float:
        """Wall time so far, that of killed processes up to their last checkpoint included."""
        return float(self.history[-1]["seconds"]) if self.history else 0.0

    def to_checkpoint(self, settings: Mapping[str, object]) -> Checkpoint:
        """Everything needed to go on, beside the ``settings`` that the search began with."""
        return Checkpoint(
            steps=self.generation,
            state={
                "settings": dict(settings),
                "generator": self.rng.bit_generator.state,
                "history": self.history,
            },
            arrays={
                "population": self.population,
                "scores": self.scores,
                "recent": self.recent,
                "recent_scores": self.recent_scores,
            },
        )

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> SearchState:
        """The search that :meth:`to_checkpoint` wrote down.

        Raises:
            AttributeError, KeyError, OverflowError, TypeError, ValueError: The checkpoint is not
                one of a genetic search.
        """
        rng = np.random.default_rng()
        rng.bit_generator.state = checkpoint.state["generator"]
        arrays = {name: checkpoint.arrays[name] for name in _ARRAYS}
        size, slots = arrays["population"].shape
        generations = len(arrays["recent"]) // max(size, 1)
        for name, (kind, shape) in {
            "population": ("i", (size, slots)),
            "scores": ("f", (size,)),
            "recent": ("i", (generations * size, slots)),
            "recent_scores": ("f", (generations * size,)),
        }.items():
            if arrays[name].dtype.kind != kind or arrays[name].shape != shape or not size:
                raise ValueError(f"{name} has the shape {arrays[name].shape}")
        history = checkpoint.state["history"]
        if len(history) != checkpoint.steps + 1 or not all(
            set(row) == set(COLUMNS) and all(map(is_number, row.values())) for row in history
        ):
            raise ValueError("the history is not that of so many generations")
        return cls(rng=rng, generation=checkpoint.steps, history=list(history), **arrays)


class SearchFolder:
    """Checkpoints (``checkpoints/``) and history (``history.csv``) of one search.

    Args:
        folder: The folder; created by :meth:`begin` if missing.
        settings: All that decides the search, JSON-able, by name.
    """

    def __init__(self, folder: StrPath, settings: Mapping[str, object]) -> None:
        self.folder = Path(folder)
        self._settings = to_plain(dict(settings))

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Work in the folder as the only process.

        Raises:
            OutputFolderError: It cannot be written to.
            RunLockedError: Another process works there.
        """
        with hold(require_writable_folder(self.folder)):
            yield

    def begin(self) -> None:
        """Make the folder ready for a new search.

        Raises:
            OutputFolderError: It cannot be written to.
            SearchFolderError: It holds a search already.
        """
        require_writable_folder(self.folder)
        if list_checkpoints(self.checkpoints):
            raise SearchFolderError(
                f"{self.folder} holds a search already; resume it or choose another folder"
            )
        self.checkpoints.mkdir(exist_ok=True)

    def resume(self) -> SearchState | None:
        """The search at its newest checkpoint that can be read; ``None`` before the first one.

        A damaged checkpoint is passed over with a warning that names it.

        Raises:
            OutputFolderError: The folder cannot be written to.
            SearchFolderError: The search began with other settings; the message names them.
            CorruptFileError: Every checkpoint is damaged, or they are not of a genetic search.
        """
        require_writable_folder(self.folder)
        self.checkpoints.mkdir(exist_ok=True)
        checkpoint, damaged = newest_checkpoint(self.checkpoints)
        for message in damaged:
            warnings.warn(f"damaged checkpoint passed over: {message}", RuntimeWarning, 2)
        if checkpoint is None:
            return None
        try:
            changed = differences(checkpoint.state["settings"], self._settings)
            state = SearchState.from_checkpoint(checkpoint)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise CorruptFileError(
                f"{self.checkpoints}: not the checkpoints of a genetic search ({error!r})"
            ) from error
        if changed:
            raise SearchFolderError(
                f"{self.folder} cannot go on with other settings: " + "; ".join(changed)
            )
        self._write_history(state)
        return state

    def save(self, state: SearchState) -> None:
        """Write a checkpoint and the history, each whole or not at all."""
        write_checkpoint(self.checkpoints, state.to_checkpoint(self._settings), KEEP)
        self._write_history(state)

    def _write_history(self, state: SearchState) -> None:
        import pandas as pd

        table = pd.DataFrame(state.history, columns=list(COLUMNS))
        write_csv_atomic(self.folder / "history.csv", table)
