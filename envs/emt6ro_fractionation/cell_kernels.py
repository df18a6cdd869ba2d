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
    AEROBIC_QUIESCENT,
    ANAEROBIC,
    ANAEROBIC_QUIESCENT,
    D_TIME,
    DIES,
    G1,
    G2_TIME,
    M_TIME,
    VACANT,
    D,
    advance_budget,
    advance_exact,
    direction,
    division_draw,
    irradiate,
    metabolic_mode,
    new_cycle,
    repair_time,
)


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
    ext0, ext1 = settings[EXTERNAL + GLUCOSE], settings[EXTERNAL + OXYGEN]
    ext2 = settings[EXTERNAL + ACID]
    use = USE
    c0, o0 = np.float32(settings[use]), np.float32(settings[use + 1])
    c1, o1 = np.float32(settings[use + 2]), np.float32(settings[use + 3])
    c2, o2 = np.float32(settings[use + 4]), np.float32(settings[use + 5])
    c3, o3 = np.float32(settings[use + 6]), np.float32(settings[use + 7])
    p0, p1 = np.float32(settings[MAKE]), np.float32(settings[MAKE + 1])
    p2, p3 = np.float32(settings[MAKE + 2]), np.float32(settings[MAKE + 3])
    limits = (
        np.float32(settings[use] - ext0),
        np.float32(settings[use + 1] - ext1),
        np.float32(settings[use + 2] - ext0),
        np.float32(settings[use + 4] - ext0),
        np.float32(settings[use + 5] - ext1),
        np.float32(settings[use + 6] - ext0),
        np.float32(settings[ACID_STOP] - ext2),
        np.float32(settings[ACID_DEATH] - ext2),
    )
    run = np.float32(length)
    # A group that has not divided dies one step before the end of D; long steps take the middle.
    slack = FLOAT1 if length == 1 else np.float32(0.5)
    for i in range(size):
        k = phase[i]
        t = time[i]
        crowded = (k == G1) & (vacant[i] <= 1)
        held = crowded & (t > end[i] - FLOAT2)
        now = metabolic_mode(k, held, cho[i], ox[i], gi[i], limits)
        now = np.int32(DIES) if (k == D) & (t >= end[i] - slack) else now
        now = np.int32(DIES) if k == VACANT else now
        first, second, third = now == AEROBIC, now == ANAEROBIC, now == AEROBIC_QUIESCENT
        fourth = now == ANAEROBIC_QUIESCENT
        eaten = c0 if first else FLOAT0
        eaten = c1 if second else eaten
        eaten = c2 if third else eaten
        eaten = c3 if fourth else eaten
        breathed = o0 if first else FLOAT0
        breathed = o1 if second else breathed
        breathed = o2 if third else breathed
        breathed = o3 if fourth else breathed
        cho[i] -= eaten
        ox[i] -= breathed
        mode[i] = now
        busy = repaired[i] > FLOAT0
        prolific = first | second
        goal = end[i] - (FLOAT1 if crowded else FLOAT0)
        ends = (prolific & (not busy) & (t + run > goal)) | (k == D)
        ends = ends | (busy & (repaired[i] + run >= repair[i])) | (now == DIES)
        ends = (ends | all_marked) & (k != VACANT)
        event[i] = np.int32(1) if ends else np.int32(0)
        time[i] = t + run if prolific & (not busy) & (not ends) else t
        repaired[i] = repaired[i] + run if busy & (not ends) else repaired[i]
    if acid:
        for i in range(size):
            now = mode[i]
            made = p0 if now == AEROBIC else FLOAT0
            made = p1 if now == ANAEROBIC else made
            made = p2 if now == AEROBIC_QUIESCENT else made
            made = p3 if now == ANAEROBIC_QUIESCENT else made
            gi[i] += made


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
def live(floats, ints, clocks, found, count, waiting, attempts, dose, length, biology, counters,
          seed, episode, step):  # fmt: skip
    """Death, dose, clock and repair of the ``count`` sites in ``found``.

    Deaths are put off until all sites have seen the same neighbourhood. Returns the number of sites
    that try to divide, listed in ``waiting`` with ``attempts``.
    """
    dead = 0
    dividing = 0
    for number in range(count):
        at = found[number]
        phase = ints[FRAME_PHASE, at]
        mode = ints[FRAME_MODE, at]
        site = ints[FRAME_SITE, at]
        row = clocks[site]
        if mode == DIES:
            if phase == D and floats[FRAME_TIME, at] >= row[ENDS + 4] - FLOAT2:
                counters[AGE_DEATHS] += 1
            found[dead] = at
            dead += 1
            continue
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
            counters[REPAIR_DEATHS] += 1
            found[dead] = at
            dead += 1
            continue
        ints[FRAME_PHASE, at] = phase
        floats[FRAME_TIME, at] = clock
        floats[FRAME_END, at] = ends[phase - 1]
        row[DAMAGE] = damage
        floats[FRAME_REPAIRED, at] = repaired
        floats[FRAME_REPAIR, at] = repair
        if tries > 0:
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
def divide(floats, ints, clocks, waiting, attempts, count, stride, settings, seed, episode,
            step):  # fmt: skip
    """Let the waiting sites divide, in random order, each seeing the births before it.

    Returns (births, whether one lies on the rim of the frame).
    """
    order = np.empty(count)
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
