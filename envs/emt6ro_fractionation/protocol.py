"""Fractionation protocols on a grid of half an hour."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SLOT_HOURS = 0.5


class ProtocolError(ValueError):
    """A protocol that cannot be read, or that asks for something impossible."""


def _slot(hours: float) -> int:
    # A time just below a slot by rounding of sums of waits belongs to the slot.
    return math.floor(hours / SLOT_HOURS + 1e-9)


@dataclass(frozen=True)
class Protocol:
    """Doses in time; build one with :meth:`from_pairs`, :meth:`from_times` or :meth:`parse`.

    Args:
        doses: Pairs ``(slot, Gy)`` in rising order, slot i starting at ``i/2`` h; doses above 0.
        name: Name for tables.
    """

    doses: tuple[tuple[int, float], ...]
    name: str = ""

    @classmethod
    def from_times(cls, times: Iterable[tuple[float, float]], name: str = "") -> Protocol:
        """Protocol of ``(time [h], dose [Gy])``; times go down to the grid of 30 min, doses of one
        slot add.

        Raises:
            ProtocolError: A time or dose is negative or not finite.
        """
        slots: dict[int, float] = {}
        for pair in times:
            try:
                hours, dose = (float(value) for value in pair)
            except (TypeError, ValueError):
                raise ProtocolError(
                    f"{name or 'protocol'}: {pair!r} is no pair of numbers"
                ) from None
            for what, value, unit in (("time", hours, "h"), ("dose", dose, "Gy")):
                if not 0.0 <= value < math.inf:
                    raise ProtocolError(
                        f"{name or 'protocol'}: a {what} is {value:g} {unit}; allowed: finite, at "
                        "least 0"
                    )
            if dose > 0.0:
                slot = _slot(hours)
                slots[slot] = slots.get(slot, 0.0) + dose
        return cls(tuple(sorted(slots.items())), name)

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[float, float]], name: str = "") -> Protocol:
        """Protocol of ``(dose [Gy], wait [h])``, each wait before its dose, the first from 0.

        Raises:
            ProtocolError: A wait or dose is negative or not finite.
        """
        times = []
        now = 0.0
        for pair in pairs:
            try:
                dose, wait = (float(value) for value in pair)
            except (TypeError, ValueError):
                raise ProtocolError(
                    f"{name or 'protocol'}: {pair!r} is no pair of numbers"
                ) from None
            if not 0.0 <= wait < math.inf:
                raise ProtocolError(
                    f"{name or 'protocol'}: a wait is {wait:g} h; allowed: finite, at least 0"
                )
            now += wait
            times.append((now, dose))
        return cls.from_times(times, name)

    @classmethod
    def parse(cls, text: str, name: str = "") -> Protocol:
        """Protocol of a text like ``1.25@0;1.25@6``: doses [Gy], each with the wait [h] before it.

        Raises:
            ProtocolError: A part is malformed; the message quotes it.
        """
        pairs = []
        for part in filter(None, (piece.strip() for piece in text.split(";"))):
            dose, sign, wait = part.partition("@")
            try:
                pairs.append((float(dose), float(wait)))
            except ValueError:
                sign = ""
            if not sign:
                raise ProtocolError(
                    f"{name or 'protocol'}: {part!r} is not DOSE@WAIT, as in 1.25@6"
                )
        return cls.from_pairs(pairs, name)

    @classmethod
    def from_slots(cls, doses: NDArray[np.float64], name: str = "") -> Protocol:
        """Protocol of a dose [Gy] for each slot of half an hour."""
        table = np.asarray(doses, np.float64)
        return cls.from_times(
            [(SLOT_HOURS * i, d) for i, d in enumerate(table.tolist()) if d], name
        )

    @property
    def total(self) -> float:
        """Total dose [Gy]."""
        return sum(dose for _, dose in self.doses)

    @property
    def times(self) -> tuple[tuple[float, float], ...]:
        """Pairs ``(time [h], dose [Gy])``."""
        return tuple((SLOT_HOURS * slot, dose) for slot, dose in self.doses)

    def slots(self, count: int) -> NDArray[np.float64]:
        """Dose [Gy] of each of ``count`` slots.

        Raises:
            ProtocolError: A dose lies beyond them.
        """
        table = np.zeros(count)
        for slot, dose in self.doses:
            if slot >= count:
                raise ProtocolError(
                    f"{self.name or 'protocol'}: {dose:g} Gy at {SLOT_HOURS * slot:g} h; allowed: "
                    f"before {SLOT_HOURS * count:g} h, the end of the simulation"
                )
            table[slot] = dose
        return table


def read_protocols(path: str | Path) -> list[Protocol]:
    """Protocols of a text file, one a line: a name, white space, doses as in ``1.25@0;1.25@6``.

    Empty lines and those that begin with ``#`` are passed over.

    Raises:
        ProtocolError: A line is malformed; the message names file, line and value.
        FileNotFoundError: There is no such file.
    """
    found: list[Protocol] = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        words = line.split(None, 1)
        if not words or words[0].startswith("#"):
            continue
        try:
            if len(words) < 2:
                raise ProtocolError(f"{words[0]!r} has no doses after it")
            found.append(Protocol.parse(words[1], words[0]))
        except ProtocolError as error:
            raise ProtocolError(f"{path}, line {number}: {error}") from None
    return found
