"""What cells do in a step: metabolism, clocks, repair, death and division.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files.
"""

import numpy as np

from oncogym.envs.compiled import compiled
from oncogym.envs.emt6ro_fractionation.frame_kernels import (
    BLOCK,
    FLOAT0,
    FLOAT1,
    FLOAT2,
    tell_neighbours,
    vacant_neighbours,
)
from oncogym.envs.emt6ro_fractionation.records import ACID, GLUCOSE, OXYGEN, PAD
from oncogym.envs.emt6ro_fractionation.rules import (
    AEROBIC,
    ANAEROBIC,
    DIES,
    G1,
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
from oncogym.envs.wide_vectors import wide_vectors

# What became of a site that dies.
STARVED, AGED, KILLED = -1, -2, -3


@compiled(inline="always")
def limits_of(settings):
    """What the modes need, as deviations from the bath; see :func:`.rules.metabolic_mode`."""
    bath, glucose, oxygen = settings.external, settings.glucose_use, settings.oxygen_use
    return (
        np.float32(glucose[0] - bath[GLUCOSE]),
        np.float32(oxygen[0] - bath[OXYGEN]),
        np.float32(glucose[1] - bath[GLUCOSE]),
        np.float32(glucose[2] - bath[GLUCOSE]),
        np.float32(oxygen[2] - bath[OXYGEN]),
        np.float32(glucose[3] - bath[GLUCOSE]),
        np.float32(settings.acid_stop - bath[ACID]),
        np.float32(settings.acid_death - bath[ACID]),
    )


@compiled(inline="always")
def of_modes(amounts):
    """What a site consumes or makes in a step [fmol], by its mode."""
    return (
        np.float32(amounts[0]),
        np.float32(amounts[1]),
        np.float32(amounts[2]),
        np.float32(amounts[3]),
    )


@compiled(inline="always")
def pace_of(length, all_marked):
    """How a step of ``length`` model steps passes, see :func:`.rules.pass_time`.

    A group that has not divided dies one model step before the end of D; long steps take the
    middle.
    """
    return np.float32(length), FLOAT1 if length == 1 else np.float32(0.5), all_marked


@compiled(forceinline=False)
def metabolise(frame, stride, size, settings, length, acid, all_marked):
    """Mode, consumption and clock of every site; sites where more happens are marked.

    Clocks of marked sites are left to :func:`live`. ``all_marked`` marks every occupied site.
    """
    wide_vectors()
    first, end = PAD, PAD + size + 2 * stride
    cho, ox = frame.amounts[GLUCOSE, first:end], frame.amounts[OXYGEN, first:end]
    gi = frame.amounts[ACID, first:end]
    clock, ends = frame.clock[first:end], frame.end[first:end]
    repaired, repair = frame.repaired[first:end], frame.repair[first:end]
    phase, mode = frame.phase[first:end], frame.mode[first:end]
    vacant, event = frame.vacant[first:end], frame.event[first:end]
    limits, pace = limits_of(settings), pace_of(length, all_marked)
    eaten, breathed = of_modes(settings.glucose_use), of_modes(settings.oxygen_use)
    made = of_modes(settings.acid_made)
    for i in range(end - first):
        amounts = (cho[i], ox[i], gi[i])
        now, more, late, healed = pass_time(
            phase[i], vacant[i], clock[i], ends[i], repaired[i], repair[i], amounts, limits, pace
        )
        cho[i] -= by_mode(now, eaten)
        ox[i] -= by_mode(now, breathed)
        mode[i] = now
        event[i] = more
        clock[i] = late
        repaired[i] = healed
    if acid:
        for i in range(end - first):
            gi[i] += by_mode(mode[i], made)


@compiled(forceinline=False)
def marked_sites(event, size, found):
    """Places of the marked sites, in order; returns their number."""
    wide_vectors()
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


@compiled
def live_place(tumour, frame, at, dose, length, biology, chance):
    """Death, dose, clock and repair of the site at a place of the frame (spec. 3.2).

    Returns the number of its attempts at division in this step, or ``STARVED``, ``AGED`` or
    ``KILLED``: then the site is left as it is until all have seen the same neighbourhood.
    """
    phase = frame.phase[at]
    mode = frame.mode[at]
    site = frame.site[at]
    group = tumour.clocks[site]
    if mode == DIES:
        aged = phase == D and frame.clock[at] >= group.ends[4] - FLOAT2
        return AGED if aged else STARVED
    damage, repaired, repair = group.damage, frame.repaired[at], frame.repair[at]
    if dose > FLOAT0:
        damage = irradiate(damage, repaired, dose, biology)
        repaired = FLOAT0
        repair = repair_time(damage, biology)
    prolific = mode in (AEROBIC, ANAEROBIC)
    if length == 1:
        phase, clock, damage, repaired, repair, tries = advance_exact(
            phase, frame.clock[at], group.ends, damage, repaired, repair, prolific, biology,
            chance, site)  # fmt: skip
    else:
        phase, clock, damage, repaired, repair, tries = advance_budget(
            phase, frame.clock[at], group.ends, damage, repaired, repair, prolific,
            frame.vacant[at] <= 1, length, biology, chance, site)  # fmt: skip
    if phase == VACANT:
        return KILLED
    frame.phase[at] = phase
    frame.clock[at] = clock
    frame.end[at] = group.ends[phase - 1]
    group.damage = damage
    frame.repaired[at] = repaired
    frame.repair[at] = repair
    return tries


@compiled
def live(tumour, frame, work, count, dose, length, biology, counters, chance):
    """:func:`live_place` for the ``count`` sites in ``work.found``.

    Returns the number of dead sites, listed there then, and of those that try to divide, listed in
    ``work.waiting`` with their attempts.
    """
    found, waiting, attempts = work.found, work.waiting, work.attempts
    dead = 0
    dividing = 0
    for number in range(count):
        at = found[number]
        tries = live_place(tumour, frame, at, dose, length, biology, chance)
        if tries < 0:
            if tries == AGED:
                counters.age_deaths += 1
            elif tries == KILLED:
                counters.repair_deaths += 1
            found[dead] = at
            dead += 1
        elif tries > 0:
            waiting[dividing] = at
            attempts[dividing] = tries
            dividing += 1
    return dead, dividing


@compiled
def bury(tumour, frame, work, dead, stride):
    """Empty the sites of the ``dead`` that ``work.found`` lists."""
    for number in range(dead):
        at = work.found[number]
        frame.phase[at] = VACANT
        frame.mode[at] = 0
        frame.vacant[at] = 0
        frame.clock[at] = FLOAT0
        frame.end[at] = FLOAT0
        frame.repaired[at] = FLOAT0
        frame.repair[at] = FLOAT0
        clear_group(tumour.clocks[frame.site[at]])
    for number in range(dead):
        tell_neighbours(frame, work.found[number], stride, 1)


@compiled
def clear_group(group):
    """No cells are left on a site."""
    for phase in range(5):
        group.ends[phase] = FLOAT0
    group.clock = FLOAT0
    group.damage = FLOAT0
    group.repaired = FLOAT0
    group.repair = FLOAT0


@compiled
def _begin_cycle(frame, at, clock, end, repair):
    """Put a group at the start of G1; it keeps its damage."""
    frame.phase[at] = G1
    frame.clock[at] = clock
    frame.end[at] = end
    frame.repaired[at] = FLOAT0
    frame.repair[at] = repair


@compiled
def draw_cycle(group, settings, chance, site):
    """Ends of the phases of a new group (spec. 2)."""
    first, second = new_cycle(settings, chance, site)
    ends = group.ends
    ends[0] = first
    ends[1] = second
    ends[2] = second + np.float32(settings.g2)
    ends[3] = ends[2] + np.float32(settings.m)
    ends[4] = ends[3] + np.float32(settings.d)


@compiled
def _take_turn(work, turn, count):
    """Put the one of the ``count`` waiting sites whose draw is the next in order at ``turn``."""
    order, waiting, attempts = work.order, work.waiting, work.attempts
    pick = turn
    for number in range(turn + 1, count):
        if order[number] < order[pick]:
            pick = number
    order[turn], order[pick] = order[pick], order[turn]
    waiting[turn], waiting[pick] = waiting[pick], waiting[turn]
    attempts[turn], attempts[pick] = attempts[pick], attempts[turn]


@compiled
def _bear(tumour, frame, at, there, ahead, stride, settings, chance):
    """Divide the group ``at`` a place; a new one begins ``there`` with its damage (spec. 3.3)."""
    new = frame.site[there]
    own, group = tumour.clocks[frame.site[at]], tumour.clocks[new]
    draw_cycle(group, settings, chance, new)
    group.damage = own.damage
    _begin_cycle(frame, at, ahead, own.ends[0], frame.repair[at])
    _begin_cycle(frame, there, ahead, group.ends[0], frame.repair[at])
    frame.mode[there] = AEROBIC
    frame.vacant[there] = vacant_neighbours(frame, there, stride)
    tell_neighbours(frame, there, stride, -1)


@compiled
def divide(tumour, frame, work, count, stride, settings, chance):
    """Let the ``count`` waiting sites divide, in random order, each seeing the births before it.

    Returns (births, whether one lies on the rim of the frame).
    """
    for number in range(count):
        work.order[number] = division_draw(chance, frame.site[work.waiting[number]], 0)
    births = 0
    rim = False
    for turn in range(count):
        _take_turn(work, turn, count)
        at, tries = work.waiting[turn], work.attempts[turn]
        site = frame.site[at]
        for attempt in range(tries):
            up, across = direction(division_draw(chance, site, attempt + 1))
            there = at + up * stride + across
            if frame.site[there] < 0 or frame.phase[there] != VACANT:
                continue
            ahead = np.float32(tries - 1 - attempt)
            _bear(tumour, frame, at, there, ahead, stride, settings, chance)
            rim = rim or frame.inner[there] == FLOAT0
            births += 1
            break
    return births, rim
