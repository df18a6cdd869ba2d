"""Mutation operators: a schedule ``(slots,)`` gives a changed copy that keeps all limits.

The corrected operators (the default) keep the total dose of a schedule that keeps the limits; what
``published=True`` loses is said at each. Source: the genetic algorithm of the EMT6/Ro fractionation
study.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from oncogym.agents.optimizers.genetic.schedules import Limits, Schedules, repair_interval

Mutation = Callable[[Schedules, float, np.random.Generator, Limits, bool], Schedules]

#: The fill-up mutation stops above this share of the total budget: 8 of 10 in the study.
FILL_SHARE = 0.8

# Draws of a slot for a part of a split dose; in the study one for each child of a generation.
_SPLIT_TRIES = 36
# The published fill-up can circle for ever where its repair drops what it added.
_FILL_TRIES = 1000


def swap(
    schedule: Schedules,
    probability: float,
    rng: np.random.Generator,
    limits: Limits,
    published: bool = False,
) -> Schedules:
    """Exchange slots: each, empty or not, with ``probability``.

    Slot ``i`` is exchanged with ``(i + U) mod slots``, ``U`` uniform over ``0 … slots - 2`` (so
    also with itself, and never with its predecessor). ``published`` chooses the repair of gaps.

    Args:
        schedule: Units of dose ``(slots,)``.
        probability: Chance of each exchange, in [0, 1].
        rng: Source of chance.
        limits: What a schedule may have.
        published: The study's repair instead of the corrected one.
    """
    changed = schedule.copy()
    for slot in np.flatnonzero(rng.random(limits.slots) < probability):
        other = (slot + rng.integers(limits.slots - 1)) % limits.slots
        changed[[slot, other]] = changed[[other, slot]]
    return repair_interval(changed, rng, limits, published)


def time_value(
    schedule: Schedules,
    probability: float,
    rng: np.random.Generator,
    limits: Limits,
    published: bool = False,
) -> Schedules:
    """Move doses in time: each with ``probability`` to a uniform slot.

    It is added to what is there up to the largest dose of a slot; the remainder stays. Published:
    where the target is the slot itself, the dose is doubled, capped, and overwritten by the
    remainder, so that it is lost (all of it up to half the largest dose). Corrected: it stays.
    ``published`` also chooses the repair of gaps.

    Args:
        schedule: Units of dose ``(slots,)``.
        probability: Chance of each move, in [0, 1].
        rng: Source of chance.
        limits: What a schedule may have.
        published: The study's rules instead of the corrected ones.
    """
    changed = schedule.copy()
    for slot in np.flatnonzero(rng.random(limits.slots) < probability):
        if not changed[slot]:
            continue
        target = rng.integers(limits.slots)
        if target == slot and not published:
            continue
        together = changed[target] + changed[slot]
        changed[target] = min(together, limits.highest)
        changed[slot] = together - changed[target]
    return repair_interval(changed, rng, limits, published)


def split(
    schedule: Schedules,
    probability: float,
    rng: np.random.Generator,
    limits: Limits,
    published: bool = False,
) -> Schedules:
    """Split a dose in two: with ``probability`` one random dose of the schedule.

    Of ``k`` units the first part has ``q``, uniform over ``0 … k - 1``, the second the rest; each
    is added to a random slot whose dose stays within the largest.

    Corrected: the dose is taken out first and each part goes to a uniform slot among those with
    room. Published: a slot is drawn up to 36 times for each part, which is lost when none has room,
    and the old slot is emptied at the end, with a part that landed there. ``published`` also
    chooses the repair of gaps.

    Args:
        schedule: Units of dose ``(slots,)``.
        probability: Chance of the split, in [0, 1].
        rng: Source of chance.
        limits: What a schedule may have.
        published: The study's rules instead of the corrected ones.
    """
    changed = schedule.copy()
    doses = np.flatnonzero(changed)
    if rng.random() < probability and len(doses):
        slot = doses[rng.integers(len(doses))]
        whole = int(changed[slot])
        first = int(rng.integers(whole))
        if published:
            for part in (first, whole - first):
                _add_by_trial(changed, part, rng, limits)
            changed[slot] = 0
        else:
            changed[slot] = 0
            for part in (first, whole - first):
                room = np.flatnonzero(changed + part <= limits.highest)
                changed[room[rng.integers(len(room))]] += part
    return repair_interval(changed, rng, limits, published)


def _add_by_trial(schedule: Schedules, part: int, rng: np.random.Generator, limits: Limits) -> None:
    for _ in range(_SPLIT_TRIES):
        slot = rng.integers(limits.slots)
        if schedule[slot] + part <= limits.highest:
            schedule[slot] += part
            return


def dose_value(
    schedule: Schedules,
    probability: float,
    rng: np.random.Generator,
    limits: Limits,
    published: bool = False,
) -> Schedules:
    """Fill a schedule up: raise random slots until the total exceeds 80 % of the budget.

    Each goes as high as the largest dose of a slot and the rest of the budget allow, and gaps are
    repaired after it. ``probability`` is ignored, as in the study's earlier series, which alone
    used this mutation. ``published`` chooses the repair of gaps: it drops doses, so that the total
    may stay below 80 %; after 1000 slots the operator gives up. Corrected: where the limits do not
    allow 80 % of the budget, it stops at the largest total that they do.

    Args:
        schedule: Units of dose ``(slots,)``.
        probability: Ignored.
        rng: Source of chance.
        limits: What a schedule may have.
        published: The study's rules instead of the corrected ones.
    """
    del probability
    budget = limits.total if published else limits.capacity
    changed = schedule.copy()
    for _ in range(_FILL_TRIES):
        left = budget - int(changed.sum())
        if left <= 0 or changed.sum() > FILL_SHARE * limits.total:
            break
        slot = rng.integers(limits.slots)
        changed[slot] = min(limits.highest, int(changed[slot]) + left)
        changed = repair_interval(changed, rng, limits, published)
    return changed


def annealed_probability(
    iteration: int,
    iterations: int,
    highest: float = 0.1,
    lowest: float = 0.001,
    power: float = 4.0,
) -> float:
    """Mutation probability of a generation.

    ``max(lowest, round(highest * x**power, 6))`` with ``x = 1 - (iteration - 1) / iterations``.

    Args:
        iteration: Number of the generation; 1 is the first after the initial one.
        iterations: Generations over which the probability falls, at least 1.
        highest: Probability in the first.
        lowest: Least probability.
        power: How fast it falls.
    """
    left = 1.0 - (iteration - 1) / iterations
    return max(lowest, round(highest * left**power, 6))


#: Mutation operators by name.
MUTATIONS: dict[str, Mutation] = {
    "swap": swap,
    "time_value": time_value,
    "split": split,
    "dose_value": dose_value,
}
