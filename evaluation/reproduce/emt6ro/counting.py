"""Sizes of the EMT6/Ro source's search spaces, counted exactly in whole numbers."""

from __future__ import annotations

from collections.abc import Sequence


def count_waits(doses: int, waits: Sequence[int], last_slot: int) -> int:
    """Protocols of equal doses, the first in slot 0, by the waits between them.

    Args:
        doses: Number of doses, at least 1.
        waits: Waits to choose from [slots], each counted as often as it is listed.
        last_slot: Last slot in which a dose may lie.

    Raises:
        ValueError: There is no dose, or a wait is negative.
    """
    if doses < 1 or min(waits, default=0) < 0:
        raise ValueError(f"{doses} doses with waits {list(waits)}; allowed: at least 1, at least 0")
    ways = [1] + [0] * last_slot  # by the slot of the last dose so far
    for _ in range(doses - 1):
        following = [0] * (last_slot + 1)
        for slot, count in enumerate(ways):
            for wait in waits:
                if count and slot + wait <= last_slot:
                    following[slot + wait] += count
        ways = following
    return sum(ways)


def count_distributions(slots: int, total: int, largest: int) -> int:
    """Ways to distribute exactly ``total`` portions on ``slots``, at most ``largest`` on each.

    Args:
        slots: Number of slots, >= 0.
        total: Portions to distribute, >= 0.
        largest: Portions on one slot at most, >= 0.

    Raises:
        ValueError: A number is negative.
    """
    if min(slots, total, largest) < 0:
        raise ValueError(f"{slots}, {total}, {largest}; allowed: at least 0")
    ways = [1] + [0] * total  # by the portions spent
    for _ in range(slots):
        following = [0] * (total + 1)
        for spent, count in enumerate(ways):
            for portion in range(min(largest, total - spent) + 1):
                following[spent + portion] += count
        ways = following
    return ways[total]


def count_on_grid(slots: int, gap: int, total: int, largest: int) -> int:
    """Protocols on a grid of slots: doses at least ``gap`` slots apart, ``total`` portions or less.

    Every dose has 1 to ``largest`` portions; the protocol without a dose counts, too.

    Args:
        slots: Number of slots, >= 0.
        gap: Slots from a dose to the next at least, >= 1.
        total: Portions altogether at most, >= 0.
        largest: Portions of one dose at most, >= 0.

    Raises:
        ValueError: A number is negative, or ``gap`` is 0.
    """
    if min(slots, total, largest) < 0 or gap < 1:
        raise ValueError(f"{slots}, {gap}, {total}, {largest}; allowed: at least 0, gap at least 1")
    # Protocols on the first n slots by the portions spent; the last `gap` of them are needed.
    rows = [[1] + [0] * total]
    for slot in range(slots):
        row = list(rows[slot])  # nothing in this slot
        before = rows[max(0, slot + 1 - gap)]
        for spent, count in enumerate(before):
            for portion in range(1, min(largest, total - spent) + 1):
                row[spent + portion] += count
        rows.append(row)
    return sum(rows[slots])
