"""A spheroid as data: states of all sites, and the text format of the reference tumours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.emt6ro_fractionation.parameters import REPAIR_DELAY, REPAIR_GROWTH
from oncogym.envs.emt6ro_fractionation.records import CLOCKS, SIDE, SITES, TUMOUR
from oncogym.envs.emt6ro_fractionation.rules import STEPS_PER_HOUR, VACANT, D
from oncogym.envs.records import records_of, width_of

_CLOCKS = width_of(CLOCKS)


class TumourFileError(ValueError):
    """A tumour file that cannot be read; the message names file, line and value."""


@dataclass(frozen=True)
class State:
    """``n`` tumours as the kernels take them, and views of their parts.

    Attributes:
        rows: Records ``(n,)``, see ``records.py``.
    """

    rows: NDArray[np.void]

    @classmethod
    def empty(cls, count: int) -> State:
        """``count`` lattices without cells, in the bath."""
        return cls(np.zeros(count, TUMOUR))

    @classmethod
    def form(cls, count: int) -> State:
        """The same without memory, for those who ask for shapes and types alone."""
        return cls(np.broadcast_to(np.zeros((), TUMOUR), (count,)))

    @classmethod
    def of_parts(cls, parts: Mapping[str, NDArray[Any]]) -> State:
        """Tumours from their parts, as :meth:`parts` names them; others are left out."""
        state = cls.empty(len(parts["phase"]))
        for name, part in state.parts().items():
            part[:] = parts[name]
        return state

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def fields(self) -> NDArray[np.float32]:
        """Glucose, oxygen, acid ``(n, 3, sites)`` as deviations from the bath [fmol a site]."""
        return self.rows["fields"]

    @property
    def phase(self) -> NDArray[np.int32]:
        """What each site holds ``(n, sites)``, see :mod:`.rules`."""
        return self.rows["phase"]

    @property
    def mode(self) -> NDArray[np.int32]:
        """Modes of metabolism ``(n, sites)``."""
        return self.rows["mode"]

    @property
    def groups(self) -> NDArray[np.void]:
        """Clocks and damage of the groups of cells as records ``(n, sites)``."""
        return self.rows["clocks"]

    @property
    def clocks(self) -> NDArray[np.float32]:
        """The same as plain numbers ``(n, sites, 9)``."""
        return self.groups.view(np.float32).reshape(len(self), SITES, _CLOCKS)

    def parts(self) -> dict[str, NDArray[Any]]:
        """All of them by name."""
        return {name: getattr(self, name) for name in ("fields", "phase", "mode", "clocks")}


@dataclass(frozen=True)
class Tumour:
    """One spheroid on the lattice of 51 x 51 sites.

    Attributes:
        amounts: Glucose, oxygen and acid ``(3, 51, 51)`` float32 [fmol a site], as deviations from
            the bath.
        phase: ``(51, 51)`` int32: 0 vacant, 1 to 5 for G1, S, G2, M and D.
        mode: ``(51, 51)`` int32: 0 aerobic, 1 anaerobic, 2 and 3 the same but quiescent.
        clocks: ``(51, 51, 9)`` float32: clock, ends of the five phases, damage [Gy], time in
            repair, duration of the repair; times in steps of 6 s.
    """

    amounts: NDArray[np.float32]
    phase: NDArray[np.int32]
    mode: NDArray[np.int32]
    clocks: NDArray[np.float32]

    @property
    def sites(self) -> int:
        """Number of occupied sites."""
        return int(np.count_nonzero(self.phase))

    @classmethod
    def from_state(cls, state: State, row: int = 0) -> Tumour:
        """Tumour ``row`` of a batch of states."""
        return cls(
            state.fields[row].reshape(3, SIDE, SIDE).copy(),
            state.phase[row].reshape(SIDE, SIDE).copy(),
            state.mode[row].reshape(SIDE, SIDE).copy(),
            state.clocks[row].reshape(SIDE, SIDE, _CLOCKS).copy(),
        )


def stack(tumours: Sequence[Tumour]) -> State:
    """States of several tumours for the kernels."""
    state = State.empty(len(tumours))
    for row, tumour in enumerate(tumours):
        state.fields[row] = tumour.amounts.reshape(3, SITES)
        state.phase[row] = tumour.phase.ravel()
        state.mode[row] = tumour.mode.ravel()
        state.clocks[row] = tumour.clocks.reshape(SITES, _CLOCKS)
    return state


class _Lines:
    """Values of a tumour file, one a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._lines = path.read_text(encoding="ascii").splitlines()
        except UnicodeDecodeError as error:
            raise TumourFileError(f"{path}: not a text file ({error.reason})") from None
        self._next = 0

    def fail(self, problem: str) -> TumourFileError:
        return TumourFileError(f"{self.path}, line {self._next}: {problem}")

    def number(self, what: str, low: float, high: float) -> float:
        self._next += 1
        if self._next > len(self._lines):
            raise self.fail(f"the file ends where {what} should stand")
        text = self._lines[self._next - 1].strip()
        try:
            value = float(text)
        except ValueError:
            raise self.fail(f"{what} is {text!r}; allowed: a number") from None
        if not low <= value <= high:
            raise self.fail(f"{what} is {text}; allowed: {low:g} to {high:g}")
        return value

    def whole(self, what: str, low: int, high: int) -> int:
        value = self.number(what, low, high)
        if value != int(value):
            raise self.fail(f"{what} is {value:g}; allowed: a whole number")
        return int(value)

    def end(self) -> None:
        rest = [line for line in self._lines[self._next :] if line.strip()]
        if rest:
            self._next += 1
            raise self.fail(f"{len(rest)} values too many, the first is {rest[0].strip()!r}")


def read_tumour(path: str | Path, bath: Sequence[float] = (275.0, 14.0, 1.99e-3)) -> Tumour:
    """Read a tumour in the text format of the public reference programs.

    One value a line: height, width, then for each site row by row an occupied flag and glucose,
    oxygen and acid [fmol]; if occupied also time in repair [h], damage [Gy], clock and the ends of
    the five phases [h], mode and phase (both from 0). Durations of repair are not stored; they
    follow from the damage by the source's law.

    Args:
        path: The file.
        bath: Amounts outside the tumour [fmol a site].

    Raises:
        TumourFileError: The file is malformed; the message names file, line and value.
        FileNotFoundError: There is no such file.
    """
    lines = _Lines(Path(path))
    for what in ("height", "width"):
        lines.whole(what, SIDE, SIDE)
    state = State.empty(1)
    outside = np.asarray(bath, np.float64)
    for site in range(SITES):
        occupied = lines.whole("an occupied flag", 0, 1)
        amounts = [lines.number(what, 0.0, 1e6) for what in ("glucose", "oxygen", "acid")]
        state.fields[0, :, site] = amounts - outside
        if not occupied:
            continue
        group = state.groups[0, site]
        group["repaired"] = lines.number("a time in repair", 0.0, 1e6) * STEPS_PER_HOUR
        group["damage"] = lines.number("damage", 0.0, 1e6)
        # Sums of steps in hours, in which the file counts, are whole steps but for rounding.
        group["clock"] = round(lines.number("a clock", 0.0, 1e6) * STEPS_PER_HOUR, 3)
        for phase in range(D):
            end = lines.number("an end of a phase", 0.0, 1e6)
            group["ends"][phase] = end * STEPS_PER_HOUR
        state.mode[0, site] = lines.whole("a mode", 0, 3)
        state.phase[0, site] = lines.whole("a phase", 0, 4) + 1
        if group["damage"] > 0.0:
            hours = REPAIR_DELAY * math.exp(REPAIR_GROWTH * group["damage"])
            group["repair"] = hours * STEPS_PER_HOUR
    lines.end()
    return Tumour.from_state(state)


def write_tumour(
    path: str | Path, tumour: Tumour, bath: Sequence[float] = (275.0, 14.0, 1.99e-3)
) -> None:
    """Write a tumour in the format that :func:`read_tumour` reads.

    Args:
        path: The file.
        tumour: What is written.
        bath: Amounts of glucose, oxygen and acid outside the tumour [fmol a site].
    """
    amounts = tumour.amounts.reshape(3, SITES).T + np.asarray(bath, np.float64)
    groups = records_of(np.ascontiguousarray(tumour.clocks).reshape(SITES, _CLOCKS), CLOCKS)
    hours = {name: groups[name].astype(np.float64) / STEPS_PER_HOUR
             for name in ("repaired", "clock", "ends")}  # fmt: skip
    text: list[str] = [str(SIDE), str(SIDE)]
    for site, phase in enumerate(tumour.phase.ravel().tolist()):
        text.append(str(int(phase != VACANT)))
        text += [f"{value:.9g}" for value in amounts[site]]
        if phase == VACANT:
            continue
        times = (hours["clock"][site], *hours["ends"][site])
        text += [f"{hours['repaired'][site]:.9g}", f"{float(groups['damage'][site]):.9g}"]
        text += [f"{value:.9g}" for value in times]
        text += [str(int(tumour.mode.ravel()[site])), str(phase - 1)]
    Path(path).write_text("\n".join(text) + "\n", encoding="ascii")
