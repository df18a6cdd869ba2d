"""Where a spheroid's numbers stand: the lattice, and the frame in which it is worked on.

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

from oncogym.envs.emt6ro_fractionation.rules import VACANT

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
    MOMENTUM,  # share of a field's last change that is added to the next one; exact: 0
) = (0, 3, 6, 9, 17, 21, 22, 23, 30, 31, 32)
SETTINGS = 33

# State of a lane beside its sites (int64).
# BURDEN sums the occupied sites over the steps; AT_EDGE is 1 once the border was occupied.
STEP, ACID_ON, SITES_NOW, BURDEN, BIRTHS, DEATHS, REPAIR_DEATHS, AGE_DEATHS, AT_EDGE = range(9)
COUNTERS = 9

# Columns of a record: number of sites, of each phase, of each mode, of damaged ones, and means of
# the three substrates over the occupied sites.
RECORD_SITES, RECORD_PHASES, RECORD_MODES, RECORD_DAMAGED, RECORD_FIELDS = 0, 1, 6, 10, 11
RECORDED = 14

# Rows of the frame's memory.
(
    FRAME_GLUCOSE,
    FRAME_OXYGEN,
    FRAME_ACID,
    FRAME_SPARE,  # target of every second diffusion sub-step
    FRAME_SUMS,  # of three neighbours in a row
    FRAME_MASK,  # 1 outside the bath
    FRAME_INNER,  # 1 off the rim
    FRAME_TIME,
    FRAME_END,  # of the present phase
    FRAME_REPAIRED,
    FRAME_REPAIR,
    FRAME_BEFORE,  # glucose and oxygen after the diffusion of the step before
) = range(12)
FRAME_FLOATS = 13
FRAME_PHASE, FRAME_MODE, FRAME_VACANT, FRAME_EVENT, FRAME_SITE = range(5)
FRAME_INTS = 5
PAD = 64
# Rows start at different places within a page of 4 KiB: otherwise loads wait for stores to others.
ROW = 3152

BLOCK = 16
FLOAT0 = np.float32(0.0)
FLOAT1 = np.float32(1.0)
FLOAT2 = np.float32(2.0)


@njit(cache=True)
def row_ends(phase, at, columns):
    """First and last occupied column of a row of a table that starts at ``at``.

    An empty row has its first beyond its last.
    """
    first, last = 0, columns - 1
    while first < columns and phase[at + first] == VACANT:
        first += 1
    while last > first and phase[at + last] == VACANT:
        last -= 1
    return first, last


@njit(cache=True)
def disc_within(ends, rows, columns, top, left):
    """The tumour's disc: (first row, first column, height, width of the region, radius).

    The centre is the middle of the occupied rows and columns, rounded up; the radius is the largest
    distance of an occupied site from it, rounded up. A region of height 0 means no tumour.

    Args:
        ends: ``(2, rows)`` first and last occupied column of each row, see :func:`row_ends`.
        rows, columns: Size of the table.
        top, left: Lattice row and column of its first site.
    """
    r1, r2, c1, c2 = rows, -1, columns, -1
    for row in range(rows):
        first = ends[0, row]
        if first < columns:
            r1, r2 = min(r1, row), row
            c1, c2 = min(c1, first), max(c2, ends[1, row])
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
def disc_of(phase, start, stride, rows, columns, top, left):
    """:func:`disc_within` of a table of flat phases, lattice or frame.

    ``start`` and ``stride`` are the place of its first site and of a row after another.
    """
    ends = np.empty((2, rows), np.int64)
    for row in range(rows):
        ends[0, row], ends[1, row] = row_ends(phase, start + row * stride, columns)
    return disc_within(ends, rows, columns, top, left)


@njit(cache=True)
def on_border(phase, start, stride, box):
    """1 if a site of the lattice's border is occupied, else 0.

    Args:
        phase: A table of flat phases that holds at least the region ``box``.
        start, stride: Place of the first site of the region, and of a row after another.
        box: A tumour's disc, see :func:`disc_within`: no cell is outside its region.
    """
    top, left, height, width, _ = box
    bottom, right = top + height - 1, left + width - 1
    if height > 0 and (top == 0 or left == 0 or bottom == SIDE - 1 or right == SIDE - 1):
        for row in range(height):
            at = start + row * stride
            if (top + row == 0) or (top + row == SIDE - 1):
                for column in range(width):
                    if phase[at + column] != VACANT:
                        return 1
            if left == 0 and phase[at] != VACANT:
                return 1
            if right == SIDE - 1 and phase[at + width - 1] != VACANT:
                return 1
    return 0


@njit(cache=True, inline="always")
def in_disc(box, i, j):
    """Whether row ``i`` and column ``j`` of a frame lie within its disc, outside the bath.

    The disc is round the middle of the region, half a site off; distances are in half sites.
    """
    return (2 * i - box[2]) ** 2 + (2 * j - box[3]) ** 2 < 4 * box[4] * box[4]


@njit(cache=True)
def lay_place(box, i, j, fields, before, phase, mode, clocks, floats, ints):
    """Copy row ``i`` and column ``j`` of a frame, rim included, from the lattice."""
    at = PAD + i * (box[3] + 2) + j
    row, column = box[0] + i - 1, box[1] + j - 1
    ints[FRAME_SITE, at] = -1
    if not (0 <= row < SIDE and 0 <= column < SIDE):
        return
    site = row * SIDE + column
    ints[FRAME_SITE, at] = site
    if 1 <= i <= box[2] and 1 <= j <= box[3]:
        floats[FRAME_INNER, at] = FLOAT1
        floats[FRAME_MASK, at] = FLOAT1 if in_disc(box, i, j) else FLOAT0
        for field in range(3):
            floats[FRAME_GLUCOSE + field, at] = fields[field, site]
        for field in range(2):
            floats[FRAME_BEFORE + field, at] = before[field, site]
    if phase[site] == VACANT:
        ints[FRAME_EVENT, at] = 1
        return
    ints[FRAME_PHASE, at] = phase[site]
    ints[FRAME_MODE, at] = mode[site]
    floats[FRAME_TIME, at] = clocks[site, CLOCK]
    floats[FRAME_END, at] = clocks[site, ENDS + phase[site] - 1]
    floats[FRAME_REPAIRED, at] = clocks[site, REPAIRED]
    floats[FRAME_REPAIR, at] = clocks[site, REPAIR]


@njit(cache=True, inline="always")
def used_places(box):
    """Places of a frame's memory that are read, from the first on."""
    return PAD + (box[2] + 3) * (box[3] + 2) + 2 * BLOCK


@njit(cache=True)
def lay_frame(box, fields, before, phase, mode, clocks, floats, ints):
    """Copy the region ``box`` of the lattice and its rim into the frame."""
    height, stride = box[2], box[3] + 2
    used = used_places(box)
    for row in range(FRAME_FLOATS):
        floats[row, :used] = FLOAT0
    for row in range(FRAME_INTS):
        ints[row, :used] = 0
    for i in range(height + 2):
        for j in range(stride):
            lay_place(box, i, j, fields, before, phase, mode, clocks, floats, ints)
    _count_vacant(ints[FRAME_EVENT], ints[FRAME_VACANT], stride, height * stride)


@njit(cache=True)
def _count_vacant(free, vacant, stride, size):
    """Number of free neighbours of every place but those of the rim, where no cells are."""
    start = PAD + stride
    out = vacant[start : start + size]
    up, here = free[start - stride - 1 :], free[start - 1 :]
    down = free[start + stride - 1 :]
    for i in range(size):
        out[i] = (
            up[i] + up[i + 1] + up[i + 2] + here[i] + here[i + 2] + down[i] + down[i + 1]
            + down[i + 2]
        )  # fmt: skip


@njit(cache=True)
def lift_place(at, fields, before, phase, mode, clocks, floats, ints):
    """Write a place of the frame back into the lattice."""
    site = ints[FRAME_SITE, at]
    if site < 0:
        return
    if floats[FRAME_INNER, at] > FLOAT0:
        for field in range(3):
            fields[field, site] = floats[FRAME_GLUCOSE + field, at]
        for field in range(2):
            before[field, site] = floats[FRAME_BEFORE + field, at]
    phase[site] = ints[FRAME_PHASE, at]
    mode[site] = ints[FRAME_MODE, at] if phase[site] != VACANT else 0
    clocks[site, CLOCK] = floats[FRAME_TIME, at]
    clocks[site, REPAIRED] = floats[FRAME_REPAIRED, at]
    clocks[site, REPAIR] = floats[FRAME_REPAIR, at]


@njit(cache=True)
def lift_frame(box, fields, before, phase, mode, clocks, floats, ints):
    """Write the frame back into the lattice."""
    for at in range(PAD, PAD + (box[2] + 2) * (box[3] + 2)):
        lift_place(at, fields, before, phase, mode, clocks, floats, ints)


@njit(cache=True)
def tell_neighbours(ints, at, stride, change):
    """Change the count of vacant neighbours around a place."""
    for up in range(-1, 2):
        for place in range(at + up * stride - 1, at + up * stride + 2):
            if place != at:
                ints[FRAME_VACANT, place] += change


@njit(cache=True)
def vacant_neighbours(ints, at, stride):
    """Vacant neighbours within the frame; those of a rim site are counted again when it is laid."""
    count = 0
    for up in range(-1, 2):
        for place in range(at + up * stride - 1, at + up * stride + 2):
            if place != at and ints[FRAME_SITE, place] >= 0 and ints[FRAME_PHASE, place] == VACANT:
                count += 1
    return count
