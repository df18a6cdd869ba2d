"""Open-loop plans: the same actions whatever is observed, for all patients or for each his own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.documents import Document
from oncogym.core.files import CorruptFileError, write_json_atomic

#: Bytes of a plan file at most.
LONGEST = 1 << 26

_AXES = ("decisions", "action size")
_AXES_OF_MANY = ("patients", *_AXES)


class OpenLoopAgent:
    """Acts by a table whatever it observes, and needs no memory but the number of the decision."""

    sees = "nothing"

    def _rows(self, lanes: int) -> NDArray[np.float64]:
        """Actions ``(lanes, decisions + 1, action size)``, the last ones for after the end."""
        raise NotImplementedError

    def predict(
        self,
        observation: NDArray[Any],
        state: NDArray[np.int64] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The next action of each lane; ``state`` counts decisions ``(batch,)``.

        Raises:
            ValueError: There are plans for another number of lanes.
        """
        lanes = len(observation)
        rows = self._rows(lanes)
        if state is None:
            state = np.zeros(lanes, np.int64)
        if episode_start is not None:
            state = np.where(episode_start, 0, state)
        index = np.minimum(state, rows.shape[1] - 1)
        return rows[np.arange(lanes), index], state + 1


class PlanAgent(OpenLoopAgent):
    """Carries out a fixed sequence of actions.

    Args:
        actions: ``(decisions, action size)`` in [0, 1]. After the last decision the action is zero.
        label: Name for tables and figures.

    Raises:
        ValueError: The actions are not a finite table within [0, 1].
    """

    def __init__(self, actions: object, label: str = "plan") -> None:
        self.actions = table = _checked(actions, _AXES)
        self.label = label
        self._padded = np.vstack([table, np.zeros((1, table.shape[1]))])

    def _rows(self, lanes: int) -> NDArray[np.float64]:
        return np.broadcast_to(self._padded, (lanes, *self._padded.shape))

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
        document = Document.read(path, LONGEST)
        try:
            return cls(document.table("actions", _AXES), document.text("label"))
        except CorruptFileError:
            raise
        except ValueError as error:
            raise CorruptFileError(f"{path}: {error}") from None


class PatientPlans(OpenLoopAgent):
    """Carries out a plan of its own for each patient of an evaluation.

    Args:
        actions: ``(patients, decisions, action size)`` in [0, 1], in the order of the patients.
        label: Name for tables and figures.

    Raises:
        ValueError: The actions are not a finite table within [0, 1].
    """

    sees = "knows the patient"

    def __init__(self, actions: object, label: str = "plan of each patient's own") -> None:
        self.actions = table = _checked(actions, _AXES_OF_MANY)
        self.label = label
        self._padded = np.concatenate([table, np.zeros((len(table), 1, table.shape[2]))], axis=1)

    def for_lanes(self, start: int, stop: int, total: int) -> PatientPlans:
        """The plans of some of the patients, see :class:`oncogym.agents.Agent`.

        Args:
            start, stop: First patient, and the one after the last.
            total: Patients of the whole evaluation.

        Raises:
            ValueError: The evaluation has another number of patients.
        """
        if total != len(self.actions):
            raise ValueError(
                f"{self.label}: {total} patients; allowed: the {len(self.actions)} for whom there "
                "are plans"
            )
        return PatientPlans(self.actions[start:stop], self.label)

    def _rows(self, lanes: int) -> NDArray[np.float64]:
        if lanes != len(self._padded):
            raise ValueError(f"a batch of {lanes} lanes; allowed: {len(self._padded)}, one a plan")
        return self._padded

    def save(
        self,
        path: str | Path,
        patients: NDArray[np.float64],
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the plans as JSON with what tells the patients ``(patients, fields)`` apart.

        Args:
            path: The file.
            patients: Rows of the patients ``(patients, fields)``.
            about: What else the file says, JSON-able.
        """
        document = {
            "about": dict(about or {}),
            "label": self.label,
            "patients": _digest(patients),
            "actions": self.actions.tolist(),
        }
        write_json_atomic(path, document)

    @classmethod
    def load(cls, path: str | Path, patients: NDArray[np.float64]) -> PatientPlans:
        """Read plans written by :meth:`save` for the same ``patients``.

        Raises:
            CorruptFileError: The file does not hold such plans; the message names it.
            FileNotFoundError: There is no such file.
            ValueError: They were made for other patients.
        """
        document = Document.read(path, LONGEST)
        try:
            plans = cls(document.table("actions", _AXES_OF_MANY), document.text("label"))
        except CorruptFileError:
            raise
        except ValueError as error:
            raise CorruptFileError(f"{path}: {error}") from None
        made_for = document.text("patients")
        if made_for != _digest(patients):
            raise ValueError(
                f"{path}: plans for {len(plans.actions)} other patients; allowed: the cohort, "
                "number of patients and seed with which they were made"
            )
        return plans


def load_plan(path: str | Path, patients: NDArray[np.float64]) -> PlanAgent | PatientPlans:
    """Read a plan file of either kind; see :meth:`PatientPlans.load` for errors."""
    if "patients" in Document.read(path, LONGEST):
        return PatientPlans.load(path, patients)
    return PlanAgent.load(path)


def _digest(patients: NDArray[np.float64]) -> str:
    return hashlib.sha256(np.ascontiguousarray(patients, np.float64).tobytes()).hexdigest()


def _checked(actions: object, axes: tuple[str, ...]) -> NDArray[np.float64]:
    table = np.asarray(actions, np.float64)
    if table.ndim != len(axes) or not table.size:
        raise ValueError(f"a plan has shape {table.shape}; allowed: ({', '.join(axes)})")
    if not np.isfinite(table).all() or table.min() < 0.0 or table.max() > 1.0:
        raise ValueError(
            f"a plan has actions from {table.min()} to {table.max()}; allowed: finite, 0 to 1"
        )
    return table
