"""Crossover operators: two parents ``(slots,)`` give two children of the same form.

Children keep all limits: the largest dose of a slot because they take slots whole, gaps by
:func:`~.schedules.repair_interval`, the total by :func:`~.schedules.repair_total`.
Parents share their dose unevenly between the two children, and what exceeds the total of one is
taken off. Published: it is lost, and the other child stays as light as it is. Corrected (the
default): the lighter child gets it, so that both together hold what their parents hold.

Source: the genetic algorithm of the EMT6/Ro fractionation study.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.optimizers.genetic.schedules import (
    Limits,
    Schedules,
    add_dose,
    repair_interval,
    repair_total,
)

Children = tuple[Schedules, Schedules]
Crossover = Callable[[Schedules, Schedules, np.random.Generator, Limits, bool], Children]


def one_point(
    first: Schedules,
    second: Schedules,
    rng: np.random.Generator,
    limits: Limits,
    published: bool = False,
    *,
    anywhere: bool = False,
) -> Children:
    """Swap everything from a cut on.

    The cut is uniform over the middle half of the slots, or with ``anywhere`` over all but slot 0.
    ``published`` chooses the repair.

    Args:
        first, second: The parents ``(slots,)``, in units of dose.
        rng: Source of chance.
        limits: What a schedule may have.
        published: The study's repair instead of the corrected one.
        anywhere: Cut anywhere but at slot 0.
    """
    low, high = (1, limits.slots) if anywhere else (limits.slots // 4, 3 * limits.slots // 4)
    swapped = np.arange(limits.slots) >= rng.integers(low, high)
    return _mended(exchange(first, second, swapped), rng, limits, published)


def two_point(
    first: Schedules,
    second: Schedules,
    rng: np.random.Generator,
    limits: Limits,
    published: bool = False,
) -> Children:
    """Swap the piece between two cuts.

    The first cut is uniform over the second quarter of the slots, the second one uniform from there
    to the end of the third quarter (both may coincide). ``published`` chooses the repair.

    Args:
        first, second: The parents ``(slots,)``, in units of dose.
        rng: Source of chance.
        limits: What a schedule may have.
        published: The study's repair instead of the corrected one.
    """
    start = rng.integers(limits.slots // 4, limits.slots // 2)
    stop = rng.integers(start, 3 * limits.slots // 4)
    slots = np.arange(limits.slots)
    return _mended(
        exchange(first, second, (slots >= start) & (slots < stop)), rng, limits, published
    )


def uniform(
    first: Schedules,
    second: Schedules,
    rng: np.random.Generator,
    limits: Limits,
    published: bool = False,
) -> Children:
    """Each slot comes from either parent with probability 1/2; the other child gets the other one.

    Published: a child takes its doses in the order of time and leaves out each that is not farther
    than the gap from the last one taken, so dose is lost. Corrected: gaps are repaired as after
    the other crossovers.

    Args:
        first, second: The parents ``(slots,)``, in units of dose.
        rng: Source of chance.
        limits: What a schedule may have.
        published: The study's rule for gaps instead of the corrected one.
    """
    children = exchange(first, second, rng.random(limits.slots) < 0.5)
    return _accepted(children, limits) if published else _mended(children, rng, limits, False)


def normalised(
    first: Schedules,
    second: Schedules,
    rng: np.random.Generator,
    limits: Limits,
    published: bool = False,
) -> Children:
    """Swap a set of slots chosen by fair coins.

    The study has it beside :func:`uniform`, with the same law and the same two rules for gaps;
    only the random numbers are used differently.

    Args:
        first, second: The parents ``(slots,)``, in units of dose.
        rng: Source of chance.
        limits: What a schedule may have.
        published: The study's rule for gaps instead of the corrected one.
    """
    children = exchange(first, second, rng.integers(2, size=limits.slots) == 0)
    return _accepted(children, limits) if published else _mended(children, rng, limits, False)


def exchange(first: Schedules, second: Schedules, swapped: NDArray[np.bool_]) -> Children:
    """Both parents with the ``swapped`` slots ``(slots,)`` exchanged, nothing repaired.

    Args:
        first, second: The parents ``(slots,)``.
        swapped: Which slots are exchanged ``(slots,)``.
    """
    return np.where(swapped, second, first), np.where(swapped, first, second)


def accept_in_order(schedule: Schedules, limits: Limits) -> Schedules:
    """Keep a dose only if it lies farther than the gap from the last one kept; lose the others."""
    kept = np.zeros_like(schedule)
    last = -limits.slots
    for slot in np.flatnonzero(schedule):
        if slot - last > limits.gap:
            kept[slot] = schedule[slot]
            last = int(slot)
    return kept


def _accepted(children: Children, limits: Limits) -> Children:
    one, two = (repair_total(accept_in_order(child, limits), limits) for child in children)
    return one, two


def _mended(
    children: Children, rng: np.random.Generator, limits: Limits, published: bool
) -> Children:
    one, two = (
        repair_total(repair_interval(child, rng, limits, published), limits) for child in children
    )
    if published:
        return one, two
    lost = int(sum(child.sum() for child in children) - one.sum() - two.sum())
    for_one, for_two = _shares(
        lost, limits.capacity - int(one.sum()), limits.capacity - int(two.sum())
    )
    return add_dose(one, for_one, rng, limits), add_dose(two, for_two, rng, limits)


def _shares(units: int, room: int, other_room: int) -> tuple[int, int]:
    """Split ``units`` between two that have room: all to the one with more of it, if it fits."""
    if room < other_room:
        second, first = _shares(units, other_room, room)
        return first, second
    first = min(units, room)
    return first, min(units - first, other_room)


#: Crossover operators by name.
CROSSOVERS: dict[str, Crossover] = {
    "one_point": one_point,
    "one_point_anywhere": partial(one_point, anywhere=True),
    "two_point": two_point,
    "uniform": uniform,
    "normalised": normalised,
}
