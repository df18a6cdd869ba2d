"""Compiled automaton of one EMT6/Ro spheroid: diffusion, cells, divisions.

The lattice has ``SIDE`` x ``SIDE`` sites, numbered row by row. A tumour is a row of each of these:

* ``fields`` ``(3, SITES)`` float32: glucose, oxygen, acid [fmol a site], as deviations from the
  bath, so that the bath is zero and a multiplication keeps it there;
* ``phase``, ``mode`` ``(SITES,)`` int32, see :mod:`.rules`;
* ``clocks`` ``(SITES, CLOCKS)`` float32: clock, ends of the phases, damage [Gy], time in repair,
  duration of the repair (times in steps of 6 s).

Between two changes of its extent a tumour is worked on in a *frame*: the square region round its
disc with a rim of one site, laid out row after row without padding, so that each sweep is one loop
over flat memory and compiles to vector instructions.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import math

import numpy as np
from numba import njit

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
    STEPS_PER_SLOT,
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
from oncogym.envs.unowned import unowned

SIDE = 51
SITES = SIDE * SIDE

GLUCOSE, OXYGEN, ACID = range(3)
CLOCK, ENDS, DAMAGE, REPAIRED, REPAIR = 0, 1, 6, 7, 8
CLOCKS = 9

# Settings of the model, one row for all lanes (float64).
(
    EXTERNAL,  # 3 bath amounts, fmol
    KAPPA,  # 3 weights of a diffusion sub-step
    SUBSTEPS,  # 3 sub-steps of a step, even
    USE,  # 4 modes x (glucose, oxygen) consumed in a step, fmol
    MAKE,  # 4 modes: acid produced in a step, fmol
    ACID_STOP,  # fmol, no proliferation at or above
    ACID_DEATH,  # fmol, no life at or above
    CYCLE,  # 7 phase durations, see rules
    LENGTH,  # model steps of one field step; 1 is exact
    ACID_EVERY,  # field steps between those of the acid while it is far from acting
) = (0, 3, 6, 9, 17, 21, 22, 23, 30, 31)
SETTINGS = 32

# State of a lane beside its sites (int64).
# BURDEN sums the occupied sites over the steps.
STEP, ACID_ON, SITES_NOW, BURDEN, BIRTHS, DEATHS, REPAIR_DEATHS, AGE_DEATHS = range(8)
COUNTERS = 8

# Columns of a record: number of sites, of each phase, of each mode, of damaged ones, and means of
# the three substrates over the occupied sites.
RECORD_SITES, RECORD_PHASES, RECORD_MODES, RECORD_DAMAGED, RECORD_FIELDS = 0, 1, 6, 10, 11
RECORDED = 14

# Rows of the frame's memory.
_CHO, _OX, _GI, _SPARE, _SUMS, _MASK, _INNER, _TIME, _END, _REPAIRED, _REPAIR = range(11)
_FLOATS = 11
_PHASE, _MODE, _VACANT, _EVENT, _SITE = range(5)
_INTS = 5
_PAD = 64
# Rows start at different places within a page of 4 KiB: otherwise loads wait for stores to others.
_ROW = 3152

_BLOCK = 16
_REFRESH = 32  # model steps after which the frame must have followed the tumour
_ACID_CAUTION = 0.8  # share of ACID_STOP from which the acid is followed step by step
_ACID_CALM = 0.6  # and below which it no longer is

# Step of the draws before the first one.
BEFORE = 0xFFFFFFFF

_ROOT = math.sqrt(2.0)
# kappa of a coefficient D [sites^2/s] and a sub-step tau [s]: D tau 2 sqrt2 / (4 + 2 sqrt2)
KAPPA_FACTOR = 2.0 * _ROOT / (4.0 + 2.0 * _ROOT)
_FLOAT0 = np.float32(0.0)
_FLOAT1 = np.float32(1.0)
_FLOAT2 = np.float32(2.0)


@njit(cache=True)
def disc_of(phase, start, stride, rows, columns, top, left):
    """The tumour's disc: (first row, first column, height, width of the region, radius).

    The centre is the middle of the occupied rows and columns, rounded up; the radius is the largest
    distance of an occupied site from it, rounded up. A region of height 0 means no tumour.

    Args:
        phase: Flat int32 phases of a table of sites, lattice or frame.
        start, stride: Place of its first site and of a row after another.
        rows, columns: Its size.
        top, left: Lattice row and column of its first site.
    """
    ends = np.empty((2, rows), np.int32)
    r1, r2, c1, c2 = rows, -1, columns, -1
    for row in range(rows):
        at = start + row * stride
        first, last = 0, columns - 1
        while first < columns and phase[at + first] == VACANT:
            first += 1
        ends[0, row] = first
        if first == columns:
            continue
        while phase[at + last] == VACANT:
            last -= 1
        ends[1, row] = last
        r1, r2 = min(r1, row), row
        c1, c2 = min(c1, first), max(c2, last)
    if r2 < 0:
        return 0, 0, 0, 0, 0
    row0 = r1 + (r2 - r1 + 1) // 2
    column0 = c1 + (c2 - c1 + 1) // 2
    far = 0
    for row in range(r1, r2 + 1):
        if ends[0, row] < columns:  # the farthest site of a row is one of its ends
            across = max(abs(ends[0, row] - column0), abs(ends[1, row] - column0))
            far = max(far, (row - row0) ** 2 + across**2)
    radius = int(math.ceil(math.sqrt(far)))
    row0, column0 = row0 + top, column0 + left
    first_row, first_column = max(row0 - radius, 0), max(column0 - radius, 0)
    last_row, last_column = min(row0 + radius, SIDE - 1), min(column0 + radius, SIDE - 1)
    height, width = last_row - first_row + 1, last_column - first_column + 1
    return first_row, first_column, height, width, radius


@njit(cache=True)
def _lay_frame(box, fields, phase, mode, clocks, floats, ints):
    """Copy the region ``box`` of the lattice and its rim into the frame."""
    top, left, height, width, radius = box
    stride = width + 2
    used = _PAD + (height + 3) * stride + 2 * _BLOCK
    for row in range(_FLOATS):
        floats[row, :used] = _FLOAT0
    for row in range(_INTS):
        ints[row, :used] = 0
    reach = 4 * radius * radius
    for i in range(height + 2):
        row = top + i - 1
        up = (2 * i - height) ** 2
        for j in range(stride):
            at = _PAD + i * stride + j
            column = left + j - 1
            ints[_SITE, at] = -1
            if not (0 <= row < SIDE and 0 <= column < SIDE):
                continue
            site = row * SIDE + column
            ints[_SITE, at] = site
            if 1 <= i <= height and 1 <= j <= width:
                floats[_INNER, at] = _FLOAT1
                # Distance from the region's middle, half a site off, in half sites.
                inside = up + (2 * j - width) ** 2 < reach
                floats[_MASK, at] = _FLOAT1 if inside else _FLOAT0
                floats[_CHO, at] = fields[GLUCOSE, site]
                floats[_OX, at] = fields[OXYGEN, site]
                floats[_GI, at] = fields[ACID, site]
            if phase[site] == VACANT:
                ints[_EVENT, at] = 1
                continue
            ints[_PHASE, at] = phase[site]
            ints[_MODE, at] = mode[site]
            floats[_TIME, at] = clocks[site, CLOCK]
            floats[_END, at] = clocks[site, ENDS + phase[site] - 1]
            floats[_REPAIRED, at] = clocks[site, REPAIRED]
            floats[_REPAIR, at] = clocks[site, REPAIR]
    _count_vacant(ints[_EVENT], ints[_VACANT], stride, height * stride)


@njit(cache=True)
def _count_vacant(free, vacant, stride, size):
    """Number of free neighbours of every place but those of the rim, where no cells are."""
    start = _PAD + stride
    out = vacant[start : start + size]
    up, here = free[start - stride - 1 :], free[start - 1 :]
    down = free[start + stride - 1 :]
    for i in range(size):
        out[i] = (
            up[i] + up[i + 1] + up[i + 2] + here[i] + here[i + 2] + down[i] + down[i + 1]
            + down[i + 2]
        )  # fmt: skip


@njit(cache=True)
def _lift_frame(box, fields, phase, mode, clocks, floats, ints):
    """Write the frame back into the lattice."""
    for at in range(_PAD, _PAD + (box[2] + 2) * (box[3] + 2)):
        site = ints[_SITE, at]
        if site < 0:
            continue
        if floats[_INNER, at] > _FLOAT0:
            for field in range(3):
                fields[field, site] = floats[_CHO + field, at]
        phase[site] = ints[_PHASE, at]
        mode[site] = ints[_MODE, at] if phase[site] != VACANT else 0
        clocks[site, CLOCK] = floats[_TIME, at]
        clocks[site, REPAIRED] = floats[_REPAIRED, at]
        clocks[site, REPAIR] = floats[_REPAIR, at]


@njit(cache=True, inline="always")
def _sub_step(source, target, sums, mask, stride, size, kappa):
    """One diffusion sub-step over the flat frame, by sums along rows, then across them."""
    first = _PAD
    wide = size + 2 * stride
    mid = source[first : first + wide]
    left = source[first - 1 : first - 1 + wide]
    right = source[first + 1 : first + 1 + wide]
    sums_all = sums[first : first + wide]
    side = np.float32(1.0 / _ROOT)
    for i in range(wide):
        sums_all[i] = mid[i] + side * (left[i] + right[i])
    here = first + stride
    own = source[here : here + size]
    upper = sums[first : first + size]
    centre = sums[here : here + size]
    lower = sums[here + stride : here + stride + size]
    keep = mask[here : here + size]
    out = target[here : here + size]
    # kappa/s [s (up + down) + centre - X] + (1 - kappa (4 + 2 sqrt2)) X with s = 1/sqrt2
    across = np.float32(kappa)
    along = np.float32(kappa * _ROOT)
    rest = np.float32(1.0 - kappa * (4.0 + 2.0 * _ROOT) - kappa * _ROOT)
    for i in range(size):
        out[i] = keep[i] * (rest * own[i] + (across * (upper[i] + lower[i]) + along * centre[i]))


@njit(cache=True)
def _diffuse(floats, field, stride, size, kappa, count):
    """All sub-steps of one substrate; the last one also updates the bath within the region."""
    here, spare = floats[_CHO + field], floats[_SPARE]
    sums, mask, inner = floats[_SUMS], floats[_MASK], floats[_INNER]
    start = _PAD + stride
    own = here[start : start + size]
    keep = mask[start : start + size]
    for i in range(size):
        own[i] *= keep[i]
    for _ in range(count // 2 - 1):
        _sub_step(here, spare, sums, mask, stride, size, kappa)
        _sub_step(spare, here, sums, mask, stride, size, kappa)
    _sub_step(here, spare, sums, mask, stride, size, kappa)
    _sub_step(spare, here, sums, inner, stride, size, kappa)


@njit(cache=True)
def _diffuse_all(floats, stride, size, settings, acid):
    """One step of diffusion of glucose, oxygen and, if asked for, acid."""
    for field in range(3 if acid else 2):
        _diffuse(floats, field, stride, size, settings[KAPPA + field],
                 int(settings[SUBSTEPS + field]))  # fmt: skip


@njit(cache=True)
def _metabolise(floats, ints, stride, size, settings, length, acid, all_marked):
    """Mode, consumption and clock of every site; sites where more happens are marked.

    Clocks of marked sites are left to :func:`_live`. ``all_marked`` marks every occupied site.
    """
    start = _PAD
    size += 2 * stride
    cho, ox = floats[_CHO, start : start + size], floats[_OX, start : start + size]
    gi = floats[_GI, start : start + size]
    time, end = floats[_TIME, start : start + size], floats[_END, start : start + size]
    repaired = floats[_REPAIRED, start : start + size]
    repair = floats[_REPAIR, start : start + size]
    phase, mode = ints[_PHASE, start : start + size], ints[_MODE, start : start + size]
    vacant, event = ints[_VACANT, start : start + size], ints[_EVENT, start : start + size]
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
    slack = _FLOAT1 if length == 1 else np.float32(0.5)
    for i in range(size):
        k = phase[i]
        t = time[i]
        crowded = (k == G1) & (vacant[i] <= 1)
        held = crowded & (t > end[i] - _FLOAT2)
        now = metabolic_mode(k, held, cho[i], ox[i], gi[i], limits)
        now = np.int32(DIES) if (k == D) & (t >= end[i] - slack) else now
        now = np.int32(DIES) if k == VACANT else now
        first, second, third = now == AEROBIC, now == ANAEROBIC, now == AEROBIC_QUIESCENT
        fourth = now == ANAEROBIC_QUIESCENT
        eaten = c0 if first else _FLOAT0
        eaten = c1 if second else eaten
        eaten = c2 if third else eaten
        eaten = c3 if fourth else eaten
        breathed = o0 if first else _FLOAT0
        breathed = o1 if second else breathed
        breathed = o2 if third else breathed
        breathed = o3 if fourth else breathed
        cho[i] -= eaten
        ox[i] -= breathed
        mode[i] = now
        busy = repaired[i] > _FLOAT0
        prolific = first | second
        goal = end[i] - (_FLOAT1 if crowded else _FLOAT0)
        ends = (prolific & (not busy) & (t + run > goal)) | (k == D)
        ends = ends | (busy & (repaired[i] + run >= repair[i])) | (now == DIES)
        ends = (ends | all_marked) & (k != VACANT)
        event[i] = np.int32(1) if ends else np.int32(0)
        time[i] = t + run if prolific & (not busy) & (not ends) else t
        repaired[i] = repaired[i] + run if busy & (not ends) else repaired[i]
    if acid:
        for i in range(size):
            now = mode[i]
            made = p0 if now == AEROBIC else _FLOAT0
            made = p1 if now == ANAEROBIC else made
            made = p2 if now == AEROBIC_QUIESCENT else made
            made = p3 if now == ANAEROBIC_QUIESCENT else made
            gi[i] += made


@njit(cache=True)
def _largest(row, size):
    top = row[0]
    for i in range(size):
        top = max(top, row[i])
    return top


@njit(cache=True)
def _marked(event, size, found):
    """Places of the marked sites, in order; returns their number."""
    count = 0
    for block in range(0, size, _BLOCK):
        part = event[_PAD + block : _PAD + block + _BLOCK]
        some = 0
        for j in range(_BLOCK):
            some |= part[j]
        if some:
            for j in range(_BLOCK):
                if part[j]:
                    found[count] = _PAD + block + j
                    count += 1
    return count


@njit(cache=True)
def _live(floats, ints, clocks, found, count, waiting, attempts, dose, length, biology, counters,
          seed, episode, step):  # fmt: skip
    """Death, dose, clock and repair of the ``count`` sites in ``found``.

    Deaths are put off until all sites have seen the same neighbourhood. Returns the number of sites
    that try to divide, listed in ``waiting`` with ``attempts``.
    """
    dead = 0
    dividing = 0
    for number in range(count):
        at = found[number]
        phase = ints[_PHASE, at]
        mode = ints[_MODE, at]
        site = ints[_SITE, at]
        row = clocks[site]
        if mode == DIES:
            if phase == D and floats[_TIME, at] >= row[ENDS + 4] - _FLOAT2:
                counters[AGE_DEATHS] += 1
            found[dead] = at
            dead += 1
            continue
        damage, repaired, repair = row[DAMAGE], floats[_REPAIRED, at], floats[_REPAIR, at]
        if dose > _FLOAT0:
            damage = irradiate(damage, repaired, dose, biology)
            repaired = _FLOAT0
            repair = repair_time(damage, biology)
        prolific = mode in (AEROBIC, ANAEROBIC)
        ends = row[ENDS : ENDS + 5]
        if length == 1:
            phase, clock, damage, repaired, repair, tries = advance_exact(
                phase, floats[_TIME, at], ends, damage, repaired, repair, prolific, biology, seed,
                episode, step, site)  # fmt: skip
        else:
            phase, clock, damage, repaired, repair, tries = advance_budget(
                phase, floats[_TIME, at], ends, damage, repaired, repair, prolific,
                ints[_VACANT, at] <= 1, length, biology, seed, episode, step, site)  # fmt: skip
        if phase == VACANT:
            counters[REPAIR_DEATHS] += 1
            found[dead] = at
            dead += 1
            continue
        ints[_PHASE, at] = phase
        floats[_TIME, at] = clock
        floats[_END, at] = ends[phase - 1]
        row[DAMAGE] = damage
        floats[_REPAIRED, at] = repaired
        floats[_REPAIR, at] = repair
        if tries > 0:
            waiting[dividing] = at
            attempts[dividing] = tries
            dividing += 1
    return dead, dividing


@njit(cache=True)
def _bury(floats, ints, clocks, found, dead, stride):
    """Empty the sites of the dead."""
    for number in range(dead):
        at = found[number]
        ints[_PHASE, at] = VACANT
        ints[_MODE, at] = 0
        ints[_VACANT, at] = 0
        floats[_TIME, at] = _FLOAT0
        floats[_END, at] = _FLOAT0
        floats[_REPAIRED, at] = _FLOAT0
        floats[_REPAIR, at] = _FLOAT0
        clocks[ints[_SITE, at], :] = _FLOAT0
    for number in range(dead):
        _tell(ints, found[number], stride, 1)


@njit(cache=True)
def _tell(ints, at, stride, change):
    """Change the count of vacant neighbours around a place."""
    for up in range(-1, 2):
        for place in range(at + up * stride - 1, at + up * stride + 2):
            if place != at:
                ints[_VACANT, place] += change


@njit(cache=True)
def _divide(floats, ints, clocks, waiting, attempts, count, stride, settings, seed, episode,
            step):  # fmt: skip
    """Let the waiting sites divide, in random order, each seeing the births before it.

    Returns (births, whether one lies on the rim of the frame).
    """
    order = np.empty(count)
    for number in range(count):
        order[number] = division_draw(seed, episode, step, ints[_SITE, waiting[number]], 0)
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
        site = ints[_SITE, at]
        for attempt in range(attempts[turn]):
            up, across = direction(division_draw(seed, episode, step, site, attempt + 1))
            there = at + up * stride + across
            new = ints[_SITE, there]
            if new < 0 or ints[_PHASE, there] != VACANT:
                continue
            ahead = np.float32(attempts[turn] - 1 - attempt)
            row = clocks[new]
            _draw_cycle(row, settings, seed, episode, step, new)
            row[DAMAGE] = clocks[site, DAMAGE]
            _begin_cycle(floats, ints, at, ahead, clocks[site, ENDS], floats[_REPAIR, at])
            _begin_cycle(floats, ints, there, ahead, row[ENDS], floats[_REPAIR, at])
            ints[_MODE, there] = AEROBIC
            ints[_VACANT, there] = _vacant_in_frame(ints, there, stride)
            _tell(ints, there, stride, -1)
            rim = rim or floats[_INNER, there] == _FLOAT0
            births += 1
            break
    return births, rim


@njit(cache=True)
def _begin_cycle(floats, ints, at, clock, end, repair):
    """Put a group at the start of G1; it keeps its damage."""
    ints[_PHASE, at] = G1
    floats[_TIME, at] = clock
    floats[_END, at] = end
    floats[_REPAIRED, at] = _FLOAT0
    floats[_REPAIR, at] = repair


@njit(cache=True)
def _vacant_in_frame(ints, at, stride):
    """Vacant neighbours within the frame; those of a rim site are counted again when it is laid."""
    count = 0
    for up in range(-1, 2):
        for place in range(at + up * stride - 1, at + up * stride + 2):
            if place != at and ints[_SITE, place] >= 0 and ints[_PHASE, place] == VACANT:
                count += 1
    return count


@njit(cache=True)
def advance_tumour(fields, phase, mode, clocks, counters, biology, settings, doses, until, seed,
                   episode):  # fmt: skip
    """Advance one tumour to model step ``until``; doses act at the start of their slot.

    Args:
        fields, phase, mode, clocks: The tumour, see the file's docstring; changed in place.
        counters: ``(COUNTERS,)`` int64; ``counters[STEP]`` is the present step.
        biology: ``(BIOLOGY,)`` float64, see :mod:`.rules`.
        settings: ``(SETTINGS,)`` float64.
        doses: ``(slots,)`` Gy; slot i is given in the step 300 i.
        until: Step to advance to.
        seed, episode: Key of the random streams.
    """
    floats = np.empty((_FLOATS, _ROW), np.float32)
    ints = np.empty((_INTS, _ROW), np.int32)
    lists = np.empty((3, SITES), np.int32)
    _advance(fields, phase, mode, clocks, counters, biology, settings, doses, until, seed, episode,
             floats, ints, lists)  # fmt: skip


@njit(cache=True)
def _advance(fields, phase, mode, clocks, counters, biology, settings, doses, until, seed, episode,
             floats, ints, lists):  # fmt: skip
    """:func:`advance_tumour` with its scratch memory."""
    fields, phase, mode = unowned(fields), unowned(phase), unowned(mode)
    clocks, counters = unowned(clocks), unowned(counters)
    biology, settings, doses = unowned(biology), unowned(settings), unowned(doses)
    floats, ints, lists = unowned(floats), unowned(ints), unowned(lists)
    found, waiting, attempts = lists[0], lists[1], lists[2]
    length = int(settings[LENGTH])
    every = int(settings[ACID_EVERY])
    external = np.float32(settings[EXTERNAL + ACID])
    box = (0, 0, 0, 0, 0)
    laid = False
    moved = True
    followed = 0
    step = counters[STEP]
    occupied = np.int64(0)
    for site in range(SITES):
        occupied += phase[site] != VACANT
    while step < until and occupied > 0:
        slot = step // STEPS_PER_SLOT
        run = min(length, (slot + 1) * STEPS_PER_SLOT - step, until - step)
        # The frame follows at every slot, too, so that a course does not depend on where it is
        # interrupted.
        if not laid or (moved and (step + run - followed > _REFRESH or step % STEPS_PER_SLOT == 0)):
            if laid:
                new = disc_of(ints[_PHASE], _PAD, box[3] + 2, box[2] + 2, box[3] + 2, box[0] - 1,
                              box[1] - 1)  # fmt: skip
            else:
                new = disc_of(phase, 0, SIDE, SIDE, SIDE, 0, 0)
            if not laid or new != box:
                if laid:
                    _lift_frame(box, fields, phase, mode, clocks, floats, ints)
                box = new
                _lay_frame(box, fields, phase, mode, clocks, floats, ints)
                laid = True
            moved = False
            followed = step
        stride = box[3] + 2
        size = box[2] * stride
        whole = size + 2 * stride
        dose = _FLOAT0
        if step % STEPS_PER_SLOT == 0 and slot < doses.shape[0]:
            dose = np.float32(doses[slot])
        acid = counters[ACID_ON] != 0 or (step // length) % every == 0
        _diffuse_all(floats, stride, size, settings, acid)
        if acid and every > 1:
            top = external + _largest(floats[_GI, _PAD : _PAD + whole], whole)
            if top >= _ACID_CAUTION * settings[ACID_STOP]:
                counters[ACID_ON] = 1
            elif top < _ACID_CALM * settings[ACID_STOP]:
                counters[ACID_ON] = 0
        _metabolise(floats, ints, stride, size, settings, run, acid, dose > _FLOAT0)
        count = _marked(ints[_EVENT], whole, found)
        counters[BURDEN] += occupied * run
        if count:
            dead, dividing = _live(floats, ints, clocks, found, count, waiting, attempts, dose, run,
                                   biology, counters, seed, episode, step)  # fmt: skip
            births = 0
            if dead:
                _bury(floats, ints, clocks, found, dead, stride)
                counters[DEATHS] += dead
            if dividing:
                births, rim = _divide(floats, ints, clocks, waiting, attempts, dividing, stride,
                                      settings, seed, episode, step)  # fmt: skip
                counters[BIRTHS] += births
                if rim:
                    followed = step - 2 * _REFRESH
            occupied += births - dead
            moved = moved or births + dead > 0
        step += run
    if laid:
        _lift_frame(box, fields, phase, mode, clocks, floats, ints)
    # Where nothing lives, nothing changes any more.
    counters[STEP] = max(until, counters[STEP])
    counters[SITES_NOW] = occupied


@njit(cache=True)
def diffuse_tumour(fields, phase, mode, clocks, settings):
    """One step of diffusion alone; returns the disc and its number of sites outside the bath."""
    floats = np.empty((_FLOATS, _ROW), np.float32)
    ints = np.empty((_INTS, _ROW), np.int32)
    box = disc_of(phase, 0, SIDE, SIDE, SIDE, 0, 0)
    _lay_frame(box, fields, phase, mode, clocks, floats, ints)
    stride = box[3] + 2
    _diffuse_all(floats, stride, box[2] * stride, settings, True)
    _lift_frame(box, fields, phase, mode, clocks, floats, ints)
    return box, int(floats[_MASK].sum())


@njit(cache=True)
def record(fields, phase, mode, clocks, settings, out):
    """Counts of sites, phases, modes and damaged sites, and mean amounts [fmol] of the occupied.

    The means are zero where nothing lives. ``out`` is ``(RECORDED,)``.
    """
    out[:] = 0.0
    for site in range(SITES):
        if phase[site] == VACANT:
            continue
        out[RECORD_SITES] += 1.0
        out[RECORD_PHASES + phase[site] - 1] += 1.0
        out[RECORD_MODES + mode[site]] += 1.0
        if clocks[site, DAMAGE] > 0.0:
            out[RECORD_DAMAGED] += 1.0
        for field in range(3):
            out[RECORD_FIELDS + field] += fields[field, site]
    count = out[RECORD_SITES]
    if count > 0.0:
        for field in range(3):
            mean = out[RECORD_FIELDS + field] / count
            out[RECORD_FIELDS + field] = settings[EXTERNAL + field] + mean


@njit(cache=True)
def seed_tumour(fields, phase, mode, clocks, settings, count, seed, episode):
    """``count`` groups at the start of G1 on the sites nearest the centre, bath everywhere."""
    fields[:] = 0.0
    phase[:] = VACANT
    mode[:] = 0
    clocks[:] = 0.0
    middle = SIDE // 2
    for _ in range(count):
        best, nearest = -1, SITES
        for site in range(SITES):
            away = (site // SIDE - middle) ** 2 + (site % SIDE - middle) ** 2
            if phase[site] == VACANT and away < nearest:
                best, nearest = site, away
        phase[best] = G1
        _draw_cycle(clocks[best], settings, seed, episode, BEFORE, best)


@njit(cache=True)
def _draw_cycle(row, settings, seed, episode, step, site):
    """Ends of the phases of a new group."""
    first, second = new_cycle(settings[CYCLE : CYCLE + 7], seed, episode, step, site)
    row[ENDS] = first
    row[ENDS + 1] = second
    row[ENDS + 2] = second + np.float32(settings[CYCLE + G2_TIME])
    row[ENDS + 3] = row[ENDS + 2] + np.float32(settings[CYCLE + M_TIME])
    row[ENDS + 4] = row[ENDS + 3] + np.float32(settings[CYCLE + D_TIME])
