"""Where optimisers search: boxes of open-loop plans, and lattices of doses in time slots."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oncogym.core.arrays import Floats
from oncogym.core.checks import check_option, whole_number


@dataclass(frozen=True)
class PlanSpace:
    """The box in which optimisers search for an open-loop plan.

    Args:
        lower: Lower bounds ``(dimension,)``.
        upper: Upper bounds ``(dimension,)``.
        decode: Turns plans ``(plans, dimension)`` into actions
            ``(plans, num_decisions, action size)`` in [0, 1].
        encode: Turns the actions ``(num_decisions, action size)`` of a course into the plan
            ``(dimension,)`` that decodes to them. For actions that no plan decodes to, any plan
            will do: whoever encodes, decodes and compares.
    """

    lower: Floats
    upper: Floats
    decode: Any
    encode: Any

    @property
    def dimension(self) -> int:
        """Number of variables of a plan."""
        return len(self.lower)


@dataclass(frozen=True)
class SlotSpace:
    """The lattice on which optimisers place doses: one dose, often none, in each time slot.

    Args:
        slots: Number of time slots; slot ``i`` begins ``i * slot_duration`` after the treatment.
        slot_duration: Length of a slot, in ``time_unit``.
        step: Grid of the doses, in ``dose_unit``.
        max_dose: Largest dose of one slot, a multiple of ``step``.
        total: Largest sum of all doses, a multiple of ``step``.
        min_gap: Least time between two doses, in ``time_unit``.
        decode: Turns schedules of doses ``(k, slots)`` into actions
            ``(k, num_decisions, action size)`` in [0, 1].
        dose_unit: Unit of the doses, for messages and tables.
        time_unit: Unit of times.

    Raises:
        ValueError: A value is out of range; the message names it and the allowed range.
    """

    slots: int
    slot_duration: float
    step: float
    max_dose: float
    total: float
    min_gap: float
    decode: Callable[[Floats], Floats]
    dose_unit: str = ""
    time_unit: str = ""

    def __post_init__(self) -> None:
        whole_number("slots", self.slots, 1, 10**6)
        for name in ("slot_duration", "step"):
            value = getattr(self, name)
            if not 0.0 < value < math.inf:
                raise ValueError(f"{name} is {value!r}; allowed: a finite number above 0")
        for name in ("max_dose", "total"):
            value = getattr(self, name)
            units = value / self.step
            if not self.step * (1.0 - 1e-9) <= value < math.inf or abs(units - round(units)) > 1e-6:
                raise ValueError(
                    f"{name} is {value!r}; allowed: a positive multiple of {self.step:g} "
                    f"{self.dose_unit}".rstrip()
                )
        check_option("min_gap", self.min_gap, 0.0, self.slots * self.slot_duration, self.time_unit)
