"""A spheroid as data: states of all sites, and the text format of the reference tumours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.emt6ro_fractionation import frame_kernels
from oncogym.envs.emt6ro_fractionation.parameters import REPAIR_DELAY, REPAIR_GROWTH
from oncogym.envs.emt6ro_fractionation.rules import STEPS_PER_HOUR, VACANT, D

SIDE = frame_kernels.SIDE
SITES = frame_kernels.SITES


class TumourFileError(ValueError):
    """A tumour file that cannot be read; the message names file, line and value."""


class State(NamedTuple):
    """State arrays of ``n`` tumours as the kernels take them, see ``frame_kernels.py``."""

    fields: NDArray[np.float32]
    phase: NDArray[np.int32]
    mode: NDArray[np.int32]
    clocks: NDArray[np.float32]

    @classmethod
    def empty(cls, count: int) -> State:
        """``count`` lattices without cells, in the bath."""
        return cls(
            np.zeros((count, 3, SITES), np.float32),
            np.zeros((count, SITES), np.int32),
            np.zeros((count, SITES), np.int32),
            np.zeros((count, SITES, frame_kernels.CLOCKS), np.float32),
        )


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
            state.clocks[row].reshape(SIDE, SIDE, frame_kernels.CLOCKS).copy(),
        )


def stack(tumours: Sequence[Tumour]) -> State:
    """States of several tumours for the kernels."""
    state = State.empty(len(tumours))
    for row, tumour in enumerate(tumours):
        state.fields[row] = tumour.amounts.reshape(3, SITES)
        state.phase[row] = tumour.phase.ravel()
        state.mode[row] = tumour.mode.ravel()
        state.clocks[row] = tumour.clocks.reshape(SITES, frame_kernels.CLOCKS)
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
        row = state.clocks[0, site]
        row[frame_kernels.REPAIRED] = lines.number("a time in repair", 0.0, 1e6) * STEPS_PER_HOUR
        row[frame_kernels.DAMAGE] = lines.number("damage", 0.0, 1e6)
        # Sums of steps in hours, in which the file counts, are whole steps but for rounding.
        row[frame_kernels.CLOCK] = round(lines.number("a clock", 0.0, 1e6) * STEPS_PER_HOUR, 3)
        for phase in range(D):
            end = lines.number("an end of a phase", 0.0, 1e6)
            row[frame_kernels.ENDS + phase] = end * STEPS_PER_HOUR
        state.mode[0, site] = lines.whole("a mode", 0, 3)
        state.phase[0, site] = lines.whole("a phase", 0, 4) + 1
        if row[frame_kernels.DAMAGE] > 0.0:
            hours = REPAIR_DELAY * math.exp(REPAIR_GROWTH * row[frame_kernels.DAMAGE])
            row[frame_kernels.REPAIR] = hours * STEPS_PER_HOUR
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
    clocks = tumour.clocks.reshape(SITES, frame_kernels.CLOCKS).astype(np.float64)
    text: list[str] = [str(SIDE), str(SIDE)]
    for site, phase in enumerate(tumour.phase.ravel().tolist()):
        text.append(str(int(phase != VACANT)))
        text += [f"{value:.9g}" for value in amounts[site]]
        if phase == VACANT:
            continue
        row = clocks[site]
        hours = row / STEPS_PER_HOUR
        text += [f"{hours[frame_kernels.REPAIRED]:.9g}", f"{row[frame_kernels.DAMAGE]:.9g}"]
        text += [f"{value:.9g}" for value in hours[frame_kernels.CLOCK : frame_kernels.ENDS + D]]
        text += [str(int(tumour.mode.ravel()[site])), str(phase - 1)]
    Path(path).write_text("\n".join(text) + "\n", encoding="ascii")
