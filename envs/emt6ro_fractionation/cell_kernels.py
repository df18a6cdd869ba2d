"""What cells do in a step: metabolism, clocks, repair, death and division.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import numpy as np
from numba import njit

from oncogym.envs.emt6ro_fractionation.frame_kernels import (
    ACID,
    ACID_DEATH,
    ACID_STOP,
    AGE_DEATHS,
    BLOCK,
    CYCLE,
    DAMAGE,
    ENDS,
    EXTERNAL,
    FLOAT0,
    FLOAT1,
    FLOAT2,
    FRAME_ACID,
    FRAME_END,
    FRAME_EVENT,
    FRAME_GLUCOSE,
    FRAME_INNER,
    FRAME_MODE,
    FRAME_OXYGEN,
    FRAME_PHASE,
    FRAME_REPAIR,
    FRAME_REPAIRED,
    FRAME_SITE,
    FRAME_TIME,
    FRAME_VACANT,
    GLUCOSE,
    MAKE,
    OXYGEN,
    PAD,
    REPAIR_DEATHS,
    USE,
    tell_neighbours,
    vacant_neighbours,
)
from oncogym.envs.emt6ro_fractionation.rules import (
    AEROBIC,
    ANAEROBIC,
    D_TIME,
    DIES,
    G1,
    G2_TIME,
    M_TIME,
    VACANT,
    D,
    advance_budget,
    advance_exact,
    by_mode,
    direction,
    division_draw,
    irradiate,
    new_cycle,
    pass_time,
    repair_time,
)

# What became of a site that dies.
STARVED, AGED, KILLED = -1, -2, -3


@njit(cache=True, inline="always")
def limits_of(settings):
    """What the modes need, as deviations from the bath; see :func:`.rules.metabolic_mode`."""
    ext0, ext1 = settings[EXTERNAL + GLUCOSE], settings[EXTERNAL + OXYGEN]
    ext2 = settings[EXTERNAL + ACID]
    return (
        np.float32(settings[USE] - ext0),
        np.float32(settings[USE + 1] - ext1),
        np.float32(settings[USE + 2] - ext0),
        np.float32(settings[USE + 4] - ext0),
        np.float32(settings[USE + 5] - ext1),
        np.float32(settings[USE + 6] - ext0),
        np.float32(settings[ACID_STOP] - ext2),
        np.float32(settings[ACID_DEATH] - ext2),
    )


@njit(cache=True, inline="always")
def use_of(settings, mode):
    """Glucose and oxygen that a site in this mode consumes in a step [fmol]."""
    return np.float32(settings[USE + 2 * mode]), np.float32(settings[USE + 2 * mode + 1])


@njit(cache=True, inline="always")
def slack_of(length):
    """Steps before the end of D at which a group that has not divided dies.

    It is one; long steps take the middle.
    """
    return FLOAT1 if length == 1 else np.float32(0.5)


@njit(cache=True)
def metabolise(floats, ints, stride, size, settings, length, acid, all_marked):
    """Mode, consumption and clock of every site; sites where more happens are marked.

    Clocks of marked sites are left to :func:`live`. ``all_marked`` marks every occupied site.
    """
    start = PAD
    size += 2 * stride
    cho, ox = (
        floats[FRAME_GLUCOSE, start : start + size],
        floats[FRAME_OXYGEN, start : start + size],
    )
    gi = floats[FRAME_ACID, start : start + size]
    time, end = floats[FRAME_TIME, start : start + size], floats[FRAME_END, start : start + size]
    repaired = floats[FRAME_REPAIRED, start : start + size]
    repair = floats[FRAME_REPAIR, start : start + size]
    phase, mode = ints[FRAME_PHASE, start : start + size], ints[FRAME_MODE, start : start + size]
    vacant, event = (
        ints[FRAME_VACANT, start : start + size],
        ints[FRAME_EVENT, start : start + size],
    )
    limits = limits_of(settings)
    (c0, o0), (c1, o1) = use_of(settings, 0), use_of(settings, 1)
    (c2, o2), (c3, o3) = use_of(settings, 2), use_of(settings, 3)
    p0, p1 = np.float32(settings[MAKE]), np.float32(settings[MAKE + 1])
    p2, p3 = np.float32(settings[MAKE + 2]), np.float32(settings[MAKE + 3])
    run = np.float32(length)
    slack = slack_of(length)
    for i in range(size):
        now, more, late, healed = pass_time(
            phase[i], vacant[i], time[i], end[i], repaired[i], repair[i], cho[i], ox[i], gi[i],
            limits, run, slack, all_marked)  # fmt: skip
        cho[i] -= by_mode(now, c0, c1, c2, c3, FLOAT0)
        ox[i] -= by_mode(now, o0, o1, o2, o3, FLOAT0)
        mode[i] = now
        event[i] = more
        time[i] = late
        repaired[i] = healed
    if acid:
        for i in range(size):
            gi[i] += by_mode(mode[i], p0, p1, p2, p3, FLOAT0)


@njit(cache=True)
def marked_sites(event, size, found):
    """Places of the marked sites, in order; returns their number."""
    count = 0
    for block in range(0, size, BLOCK):
        part = event[PAD + block : PAD + block + BLOCK]
        some = 0
        for j in range(BLOCK):
            some |= part[j]
        if some:
            for j in range(BLOCK):
                if part[j]:
                    found[count] = PAD + block + j
                    count += 1
    return count


@njit(cache=True)
def live_place(floats, ints, clocks, at, dose, length, biology, seed, episode, step):
    """Death, dose, clock and repair of the site at a place of the frame.

    Returns the number of its attempts at division in this step, or ``STARVED``, ``AGED`` or
    ``KILLED``: then the site is left as it is until all have seen the same neighbourhood.
    """
    phase = ints[FRAME_PHASE, at]
    mode = ints[FRAME_MODE, at]
    site = ints[FRAME_SITE, at]
    row = clocks[site]
    if mode == DIES:
        aged = phase == D and floats[FRAME_TIME, at] >= row[ENDS + 4] - FLOAT2
        return AGED if aged else STARVED
    damage, repaired, repair = row[DAMAGE], floats[FRAME_REPAIRED, at], floats[FRAME_REPAIR, at]
    if dose > FLOAT0:
        damage = irradiate(damage, repaired, dose, biology)
        repaired = FLOAT0
        repair = repair_time(damage, biology)
    prolific = mode in (AEROBIC, ANAEROBIC)
    ends = row[ENDS : ENDS + 5]
    if length == 1:
        phase, clock, damage, repaired, repair, tries = advance_exact(
            phase, floats[FRAME_TIME, at], ends, damage, repaired, repair, prolific, biology,
            seed, episode, step, site)  # fmt: skip
    else:
        phase, clock, damage, repaired, repair, tries = advance_budget(
            phase, floats[FRAME_TIME, at], ends, damage, repaired, repair, prolific,
            ints[FRAME_VACANT, at] <= 1, length, biology, seed, episode, step,
            site)  # fmt: skip
    if phase == VACANT:
        return KILLED
    ints[FRAME_PHASE, at] = phase
    floats[FRAME_TIME, at] = clock
    floats[FRAME_END, at] = ends[phase - 1]
    row[DAMAGE] = damage
    floats[FRAME_REPAIRED, at] = repaired
    floats[FRAME_REPAIR, at] = repair
    return tries


@njit(cache=True)
def live(floats, ints, clocks, found, count, waiting, attempts, dose, length, biology, counters,
          seed, episode, step):  # fmt: skip
    """:func:`live_place` for the ``count`` sites in ``found``.

    Returns the number of dead sites, listed in ``found``, and of those that try to divide, listed
    in ``waiting`` with ``attempts``.
    """
    dead = 0
    dividing = 0
    for number in range(count):
        at = found[number]
        tries = live_place(floats, ints, clocks, at, dose, length, biology, seed, episode, step)
        if tries < 0:
            if tries == AGED:
                counters[AGE_DEATHS] += 1
            elif tries == KILLED:
                counters[REPAIR_DEATHS] += 1
            found[dead] = at
            dead += 1
        elif tries > 0:
            waiting[dividing] = at
            attempts[dividing] = tries
            dividing += 1
    return dead, dividing


@njit(cache=True)
def bury(floats, ints, clocks, found, dead, stride):
    """Empty the sites of the dead."""
    for number in range(dead):
        at = found[number]
        ints[FRAME_PHASE, at] = VACANT
        ints[FRAME_MODE, at] = 0
        ints[FRAME_VACANT, at] = 0
        floats[FRAME_TIME, at] = FLOAT0
        floats[FRAME_END, at] = FLOAT0
        floats[FRAME_REPAIRED, at] = FLOAT0
        floats[FRAME_REPAIR, at] = FLOAT0
        clocks[ints[FRAME_SITE, at], :] = FLOAT0
    for number in range(dead):
        tell_neighbours(ints, found[number], stride, 1)


@njit(cache=True)
def _begin_cycle(floats, ints, at, clock, end, repair):
    """Put a group at the start of G1; it keeps its damage."""
    ints[FRAME_PHASE, at] = G1
    floats[FRAME_TIME, at] = clock
    floats[FRAME_END, at] = end
    floats[FRAME_REPAIRED, at] = FLOAT0
    floats[FRAME_REPAIR, at] = repair


@njit(cache=True)
def draw_cycle(row, settings, seed, episode, step, site):
    """Ends of the phases of a new group."""
    first, second = new_cycle(settings[CYCLE : CYCLE + 7], seed, episode, step, site)
    row[ENDS] = first
    row[ENDS + 1] = second
    row[ENDS + 2] = second + np.float32(settings[CYCLE + G2_TIME])
    row[ENDS + 3] = row[ENDS + 2] + np.float32(settings[CYCLE + M_TIME])
    row[ENDS + 4] = row[ENDS + 3] + np.float32(settings[CYCLE + D_TIME])


@njit(cache=True)
def divide(floats, ints, clocks, waiting, attempts, order, count, stride, settings, seed, episode,
            step):  # fmt: skip
    """Let the waiting sites divide, in random order, each seeing the births before it.

    ``order`` is memory for ``count`` numbers. Returns (births, whether one lies on the rim of the
    frame).
    """
    for number in range(count):
        order[number] = division_draw(seed, episode, step, ints[FRAME_SITE, waiting[number]], 0)
    births = 0
    rim = False
    for turn in range(count):
        pick = turn
        for number in range(turn + 1, count):
            if order[number] < order[pick]:
                pick = number
        order[turn], order[pick] = order[pick], order[turn]
        waiting[turn], waiting[pick] = waiting[pick], waiting[turn]
        attempts[turn], attempts[pick] = attempts[pick], attempts[turn]
        at = waiting[turn]
        site = ints[FRAME_SITE, at]
        for attempt in range(attempts[turn]):
            up, across = direction(division_draw(seed, episode, step, site, attempt + 1))
            there = at + up * stride + across
            new = ints[FRAME_SITE, there]
            if new < 0 or ints[FRAME_PHASE, there] != VACANT:
                continue
            ahead = np.float32(attempts[turn] - 1 - attempt)
            row = clocks[new]
            draw_cycle(row, settings, seed, episode, step, new)
            row[DAMAGE] = clocks[site, DAMAGE]
            _begin_cycle(floats, ints, at, ahead, clocks[site, ENDS], floats[FRAME_REPAIR, at])
            _begin_cycle(floats, ints, there, ahead, row[ENDS], floats[FRAME_REPAIR, at])
            ints[FRAME_MODE, there] = AEROBIC
            ints[FRAME_VACANT, there] = vacant_neighbours(ints, there, stride)
            tell_neighbours(ints, there, stride, -1)
            rim = rim or floats[FRAME_INNER, there] == FLOAT0
            births += 1
            break
    return births, rim
