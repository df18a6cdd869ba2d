"""Clinical protocols as data: schedules in physical units, and rules that look at the patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ScheduleError(ValueError):
    """A schedule that the decisions of a task cannot express."""


class HiddenError(ScheduleError):
    """A rule needs to see what the task's observation does not show; see ``Rule.options``."""


@dataclass(frozen=True)
class Schedule:
    """An open-loop clinical protocol: events in physical units.

    Args:
        label: Name for tables and figures.
        events: Tuples in the order that the treatment's ``TherapyTask.schedule_actions`` documents,
            for example ``(day, dose)``.
        note: Where the protocol comes from.
    """

    label: str
    events: tuple[tuple[float, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Rule:
    """A closed-loop clinical protocol: a function of the observation.

    ``decide(task, observation)`` takes observations ``(batch, …)`` of the task's observation space
    and returns actions ``(batch, action size)`` in [0, 1]. It may read the task's options but not
    the state of its lanes.

    ``options`` are options of the task in which the rule sees what it needs, for a bound that knows
    hidden quantities. Comparisons treat the same patients in such a task; in another one ``decide``
    raises :class:`HiddenError`.
    """

    label: str
    decide: Callable[[Any, NDArray[np.float32]], NDArray[np.float64]]
    note: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


#: A clinical protocol, open loop or closed.
ClinicalProtocol = Schedule | Rule
