"""The source's glioblastoma scheme in plain NumPy: a table with one row of densities a day.

Written for reading, straight from the specification and apart from the compiled kernels, so that it
serves both as an independent check of them and as the baseline of their speed. Constants are
repeated here on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Table = NDArray[np.float64]

DIFFUSION = 0.2  # mm^2/d
PROLIFERATION = 0.03  # 1/d
CAPACITY = 1e5  # cells/mm^3
ALPHA, ALPHA_BETA = 0.04, 10.0  # 1/Gy, Gy
LENGTH, DX = 200.0, 1.0  # mm
HORIZON, DT = 600, 1.0  # d
T1_LEVEL, T2_LEVEL = 0.80, 0.16  # share of the capacity
DETECTION_RADIUS, DEATH_RADIUS, MARGIN = 15.0, 35.0, 25.0  # mm
TOTAL_DOSE, LEFTOVER = 61.2, 0.1  # Gy


@dataclass(frozen=True, eq=False)
class Episode:
    """One course: days of growth and therapy, day of death (the horizon if alive), densities.

    ``density`` ``(days + 1, 201)`` [cells/mm^3] has one row a day from the start of growth.
    """

    growth_days: int
    therapy_days: int
    death_day: int
    density: Table


def radius(row: Table, level: float) -> float:
    """Outermost position [mm] where ``row`` is at least ``level`` of the capacity; -1 if none."""
    where = np.flatnonzero(row >= level * CAPACITY)
    return DX * float(where[-1]) if len(where) else -1.0


def next_row(row: Table, kill: Table | float = 0.0) -> Table:
    """Densities one day later; ``kill`` is R, the share of cells killed, by position."""
    new = np.empty_like(row)
    inner = row[1:-1]
    spread = DIFFUSION * (row[2:] - 2.0 * inner + row[:-2]) / DX**2
    rate = PROLIFERATION - (kill[1:-1] if isinstance(kill, np.ndarray) else kill)
    new[1:-1] = inner + DT * (spread + rate * inner * (1.0 - inner / CAPACITY))
    new[0], new[-1] = new[1], new[-2]
    return np.clip(new, 0.0, CAPACITY)


def killed(dose: float, field: float) -> Table:
    """R ``(201,)`` of a dose [Gy] on all positions up to ``field`` [mm]."""
    at = DX * np.arange(round(LENGTH / DX) + 1)
    local = np.where(at <= field, dose, 0.0)
    effective = local * (1.0 + local / ALPHA_BETA)
    return 1.0 - np.exp(-ALPHA * effective)


def grow() -> tuple[Table, int]:
    """A table ``(601, 201)`` filled up to the day of detection, and that day.

    Raises:
        RuntimeError: The tumour is not detected within the horizon.
    """
    at = DX * np.arange(round(LENGTH / DX) + 1)
    table = np.zeros((HORIZON + 1, len(at)))
    table[0] = 0.8 * CAPACITY * np.exp(-0.25 * at**2)
    for day in range(1, HORIZON + 1):
        table[day] = next_row(table[day - 1])
        if radius(table[day], T1_LEVEL) >= DETECTION_RADIUS:
            return table, day
    raise RuntimeError("the tumour is not detected")


def treat(table: Table, growth_days: int, daily_doses: ArrayLike) -> Episode:
    """Give ``daily_doses`` [Gy] from the day after detection, then wait for death or the horizon.

    ``table`` is that of :func:`grow`; its later rows are overwritten.

    Args:
        table: What :func:`grow` gave; changed in place.
        growth_days: Days from the start of growth to detection.
        daily_doses: One a day [Gy].
    """
    doses = np.asarray(daily_doses, np.float64).tolist()
    remaining = TOTAL_DOSE
    therapy_days = -1
    day = growth_days
    while day < HORIZON:
        day += 1
        before = table[day - 1]
        if therapy_days < 0:
            number = day - growth_days - 1
            dose = min(doses[number], remaining) if number < len(doses) else 0.0
            remaining -= dose
            visible = radius(before, T2_LEVEL)
            field = visible + MARGIN if visible >= 0.0 else 0.0
            table[day] = next_row(before, killed(dose, field))
            if remaining < LEFTOVER:
                therapy_days = day - growth_days
        else:
            table[day] = next_row(before)
        if radius(table[day], T1_LEVEL) >= DEATH_RADIUS:
            break
    if therapy_days < 0:
        therapy_days = day - growth_days
    return Episode(growth_days, therapy_days, day, table[: day + 1])


def episode(daily_doses: ArrayLike) -> Episode:
    """A whole course, growth included; doses [Gy] count from the day after detection."""
    return treat(*grow(), daily_doses)
