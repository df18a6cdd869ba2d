"""Clinical protocols as data: schedules in physical units, and rules that look at the patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.arrays import Floats
from oncogym.core.errors import nearest


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

    ``decide(task, observation, **settings)`` takes observations ``(batch, …)`` of the task's
    observation space and returns actions ``(batch, action size)`` in [0, 1]. It may read the task's
    options but not the state of its lanes. A rule that remembers, ``memory`` numbers of each
    patient, is ``decide(task, observation, memory, **settings)`` and returns the actions and the
    new memory ``(batch, memory)``; what it is handed is NaN at the first decision of a course.

    Args:
        label: Name for tables and figures.
        decide: The rule.
        note: Where it comes from, or what it does.
        options: Options of the task in which the rule sees what it needs, for a bound that knows
            hidden quantities. Comparisons treat the same patients in such a task; in another one
            ``decide`` raises :class:`HiddenError`.
        settings: Numbers of the rule by name, handed to ``decide``.
        grid: Values among which ``oncogym tune`` chooses, by setting.
        memory: Numbers that the rule remembers of each patient.
        looks: Whether it looks at the observation; a schedule with numbers to tune does not.
    """

    label: str
    decide: Callable[..., Any]
    note: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, float] = field(default_factory=dict)
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    memory: int = 0
    looks: bool = True

    def __post_init__(self) -> None:
        for name in self.grid:
            if name not in self.settings:
                raise nearest(f"setting of {self.label!r}", name, self.settings)

    def actions(
        self, task: object, observation: NDArray[np.generic], memory: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Actions ``(batch, action size)`` and what is remembered ``(batch, memory)``.

        Args:
            task: A task with the options of the environment in which the rule decides.
            observation: Observations ``(batch, …)``.
            memory: What the last call returned; nothing, or NaN, at the start of a course.
        """
        if memory is None:
            memory = np.full((len(observation), self.memory), np.nan)
        if not self.memory:
            return self.decide(task, observation, **self.settings), memory
        actions, memory = self.decide(task, observation, memory, **self.settings)
        return actions, memory

    def with_settings(self, **settings: float) -> Rule:
        """The rule with other numbers.

        Raises:
            UnknownNameError: It has no such setting.
        """
        for name in settings:
            if name not in self.settings:
                raise nearest(f"setting of {self.label!r}", name, self.settings)
        return replace(self, settings={**self.settings, **settings})


#: A clinical protocol, open loop or closed.
ClinicalProtocol = Schedule | Rule
