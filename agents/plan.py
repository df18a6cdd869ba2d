"""Open-loop plans: the same actions whatever is observed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.files import CorruptFileError, read_json, write_json_atomic


class PlanAgent:
    """Carries out a fixed sequence of actions.

    Args:
        actions: ``(decisions, action size)`` in [0, 1]. After the last decision the action is zero.
        label: Name for tables and figures.

    Raises:
        ValueError: The actions are not a finite table within [0, 1].
    """

    def __init__(self, actions: Any, label: str = "plan") -> None:
        table = np.asarray(actions, np.float64)
        if table.ndim != 2 or not len(table):
            raise ValueError(f"a plan has shape {table.shape}; allowed: (decisions, action size)")
        if not np.isfinite(table).all() or table.min() < 0.0 or table.max() > 1.0:
            raise ValueError(
                f"a plan has actions from {table.min()} to {table.max()}; allowed: finite, 0 to 1"
            )
        self.actions = table
        self.label = label
        self._padded = np.vstack([table, np.zeros((1, table.shape[1]))])

    def predict(
        self,
        observation: NDArray[Any],
        state: NDArray[np.int64] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The next action of the plan in each lane; ``state`` counts decisions ``(batch,)``."""
        if state is None:
            state = np.zeros(len(observation), np.int64)
        if episode_start is not None:
            state = np.where(episode_start, 0, state)
        index = np.minimum(state, len(self.actions))
        return self._padded[index], state + 1

    def save(self, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
        """Write the plan as JSON, with ``about`` beside it."""
        document = {
            "about": dict(about or {}),
            "label": self.label,
            "actions": self.actions.tolist(),
        }
        write_json_atomic(path, document)

    @classmethod
    def load(cls, path: str | Path) -> PlanAgent:
        """Read a plan written by :meth:`save`.

        Raises:
            CorruptFileError: The file is not a plan; the message names it and what is wrong.
            FileNotFoundError: There is no such file.
        """
        document = read_json(path)
        try:
            return cls(document["actions"], str(document["label"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFileError(f"{path} is not a plan: {error!r}") from None
