"""Schedules of the genetic algorithm: whole dose units in time slots, and how to mend them.

A schedule is an integer array ``(slots,)`` of doses in units of the dose grid. Source of the rules:
the genetic algorithm of the EMT6/Ro fractionation study. Functions return new arrays and leave
their arguments alone.

With ``published=True`` a function does what the study's program did, losses of dose included. The
default is the corrected rule: dose is never lost where the limits leave room for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.plan_spaces import SlotSpace
from oncogym.envs.therapy import Floats

#: Doses ``(slots,)`` or ``(k, slots)`` in units of the dose grid.
Schedules = NDArray[np.int64]

#: The quarter points at which crossover cuts need this many slots.
LEAST_SLOTS = 4


@dataclass(frozen=True)
class Limits:
    """What a schedule must keep, in whole slots and dose units.

    Args:
        slots: Number of slots.
        highest: Largest dose of a slot [units].
        total: Largest sum of the doses [units].
        gap: Least distance of two doses [slots]; 0 and 1 leave them free.
    """

    slots: int
    highest: int
    total: int
    gap: int

    @classmethod
    def of(cls, space: SlotSpace) -> Limits:
        """The limits of a slot space; a gap that is no multiple of a slot counts as the next one.

        Raises:
            ValueError: The space has too few slots for crossover.
        """
        if space.slots < LEAST_SLOTS:
            raise ValueError(
                f"the slot space has {space.slots} slots; the genetic algorithm needs at least "
                f"{LEAST_SLOTS}"
            )
        return cls(
            slots=space.slots,
            highest=round(space.max_dose / space.step),
            total=round(space.total / space.step),
            gap=math.ceil(space.min_gap / space.slot_duration - 1e-9),
        )

    def distance(self, published: bool) -> int:
        """Least distance at which a dose is placed: the published rule is one slot stricter."""
        return self.gap + 1 if published else max(self.gap, 1)

    @property
    def most_doses(self) -> int:
        """How many doses fit."""
        return (self.slots - 1) // max(self.gap, 1) + 1

    @property
    def capacity(self) -> int:
        """The largest total that the limits allow [units]."""
        return min(self.total, self.most_doses * self.highest)


def to_doses(schedules: Schedules, space: SlotSpace) -> Floats:
    """Doses of schedules in units, in the unit of the space, of the same shape."""
    doses: Floats = schedules.astype(np.float64)
    doses *= space.step
    return doses


def free_slots(schedule: Schedules, distance: int) -> NDArray[np.intp]:
    """Slots that lie at least ``distance`` slots from every dose, in order."""
    free = np.ones(len(schedule), np.bool_)
    for slot in np.flatnonzero(schedule):
        free[max(slot - distance + 1, 0) : slot + distance] = False
    return np.flatnonzero(free)


def initial_schedule(
    rng: np.random.Generator, limits: Limits, published: bool = False
) -> Schedules:
    """A random schedule: random doses at random slots until the budget is spent.

    Each dose is uniform between one unit and what the slot and the budget allow; its slot is
    uniform over those far enough from all others. Published: a slot must be *farther* than the gap,
    and when none is left the rest of the budget is not given. Corrected: a distance of exactly the
    gap is legal, and the rest goes to doses that have room or to new ones that the others make
    room for, so that the total is the largest that the limits allow.

    Args:
        rng: Source of chance.
        limits: What a schedule may have.
        published: The study's rules instead of the corrected ones.
    """
    schedule = np.zeros(limits.slots, np.int64)
    left = limits.total
    free = np.arange(limits.slots)
    while left and len(free):
        dose = int(rng.integers(1, min(limits.highest, left) + 1))
        schedule[free[rng.integers(len(free))]] = dose
        left -= dose
        free = free_slots(schedule, limits.distance(published))
    if published:
        return schedule
    return add_dose(schedule, limits.capacity - int(schedule.sum()), rng, limits)


def initial_population(
    count: int, rng: np.random.Generator, limits: Limits, published: bool = False
) -> Schedules:
    """``count`` independent schedules of :func:`initial_schedule` as rows ``(count, slots)``.

    Args:
        count: Number of schedules.
        rng: Source of chance.
        limits: What a schedule may have.
        published: The study's rules instead of the corrected ones.
    """
    return np.stack([initial_schedule(rng, limits, published) for _ in range(count)])


def repair_interval(
    schedule: Schedules, rng: np.random.Generator, limits: Limits, published: bool = False
) -> Schedules:
    """Move doses that follow each other too closely.

    A schedule without a gap below the least one is unchanged. Otherwise the earlier dose of each
    pair that is too close is lifted out and put back at a slot drawn uniformly from those far
    enough from every other dose.

    Corrected: a dose without such a slot is given to others, see :func:`make_room`. The total is
    kept as far as :attr:`Limits.capacity`, and afterwards every gap is legal.

    Published: once one gap is too small, gaps of exactly the least one count as too small as well,
    and doses are put back *farther* than that; a dose without a slot is dropped, so the total
    falls.

    Args:
        schedule: Units of dose ``(slots,)``.
        rng: Source of chance.
        limits: What a schedule may have.
        published: The study's repair instead of the corrected one.
    """
    doses = np.flatnonzero(schedule)
    gaps = np.diff(doses)
    if not (gaps < limits.gap).any():
        return schedule.copy()
    distance = limits.distance(published)
    lifted = doses[:-1][gaps < distance]
    mended = schedule.copy()
    mended[lifted] = 0
    for slot in lifted:
        free = free_slots(mended, distance)
        if len(free):
            mended[free[rng.integers(len(free))]] = schedule[slot]
        elif not published:
            mended = make_room(mended, int(slot), int(schedule[slot]), limits)
    return mended


def add_dose(
    schedule: Schedules, units: int, rng: np.random.Generator, limits: Limits
) -> Schedules:
    """Give a schedule with legal gaps ``units`` more, at most up to :attr:`Limits.capacity`.

    They go to random places in pieces as large as a slot allows, see :func:`make_room`.

    Args:
        schedule: Units of dose ``(slots,)``.
        units: Units to add, at least 0.
        rng: Source of chance.
        limits: What a schedule may have.
    """
    while units > 0:
        dose = min(units, limits.highest)
        schedule = make_room(schedule, int(rng.integers(limits.slots)), dose, limits)
        units -= dose
    return schedule


def make_room(schedule: Schedules, slot: int, dose: int, limits: Limits) -> Schedules:
    """Give ``dose`` units, wanted at ``slot``, where no slot is free.

    The nearest doses take what they have room for. Units that are left become a dose of their own
    at ``slot``, and all doses are pushed apart in their order until the gaps are legal. Only what
    exceeds :attr:`Limits.most_doses` full doses is not given.

    Args:
        schedule: A schedule with legal gaps.
        slot: Where the dose is wanted.
        dose: Units to give, at most :attr:`Limits.highest`.
        limits: What the schedule must keep.
    """
    given = schedule.copy()
    doses = np.flatnonzero(given)
    for other in doses[np.argsort(np.abs(doses - slot), kind="stable")]:
        moved = min(dose, limits.highest - int(given[other]))
        given[other] += moved
        dose -= moved
    if not dose or len(doses) >= limits.most_doses:
        return given
    place = int(np.searchsorted(doses, slot))
    slots = push_apart(np.insert(doses, place, slot), limits)
    spread = np.zeros_like(given)
    spread[slots] = np.insert(given[doses], place, dose)
    return spread


def push_apart(slots: NDArray[np.intp], limits: Limits) -> NDArray[np.intp]:
    """Move sorted ``slots`` no farther than needed for legal gaps: later first, then earlier.

    There may be at most :attr:`Limits.most_doses` of them.
    """
    gap = max(limits.gap, 1)
    offsets = gap * np.arange(len(slots))
    # Without the offsets, "a gap apart" is "not decreasing" and "fits" is a common upper bound.
    later = np.maximum.accumulate(slots - offsets)
    return np.minimum(later, limits.slots - 1 - offsets[-1]) + offsets


def repair_total(schedule: Schedules, limits: Limits) -> Schedules:
    """Lower a schedule to the largest total.

    Units are taken one by one from each dose, the largest first, as often as it takes.
    """
    lowered = schedule.copy()
    excess = int(lowered.sum()) - limits.total
    while excess > 0:
        order = np.argsort(-lowered, kind="stable")
        paying = order[: min(excess, np.count_nonzero(lowered))]
        lowered[paying] -= 1
        excess -= len(paying)
    return lowered
