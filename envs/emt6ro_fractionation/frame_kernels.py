"""The frame in which a spheroid is worked on, and what is copied between it and the lattice.

Between two changes of its extent a tumour is worked on in a *frame*: the square region round its
disc with a rim of one site, laid out row after row without padding, so that each sweep is one loop
over flat memory and compiles to vector instructions. A *place* is an index into the frame's rows.

What takes a record of a tumour, a frame or work memory here is compiled for a GPU, too.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files.
"""

import math

import numpy as np

from oncogym.envs.compiled import compiled
from oncogym.envs.emt6ro_fractionation.records import FRAME, PAD, SIDE, SITES, Box
from oncogym.envs.emt6ro_fractionation.rules import VACANT

#: Places that are worked on at once, those of a vector; as many are read beyond the frame.
BLOCK = 16
# Bytes of as many numbers of 32 bits: of the longest vector, and of what the cache reads at once.
_LINE = 4 * BLOCK
_FRAME_BYTES = FRAME.itemsize
FLOAT0 = np.float32(0.0)
FLOAT1 = np.float32(1.0)
FLOAT2 = np.float32(2.0)


@compiled
def new_frames():
    """Memory of one frame, all zero; its rows begin where a line of the cache does."""
    memory = np.zeros(_FRAME_BYTES + _LINE, np.uint8)
    first = -memory.ctypes.data % _LINE
    return memory[first : first + _FRAME_BYTES].view(FRAME)


@compiled(inline="always")
def stride_of(box):
    """Places from a row of the frame to the next."""
    return box.width + 2


@compiled
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


@compiled
def disc_within(ends, rows, columns, top, left):
    """The tumour's disc as a ``Box`` (spec. 3.1).

    The centre is the middle of the occupied rows and columns, rounded up; the radius is the largest
    distance of an occupied site from it, rounded up.

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
        return Box(0, 0, 0, 0, 0)
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
    return Box(first_row, first_column, height, width, radius)


@compiled
def _disc_of(phase, start, stride, rows, columns, top, left):
    """:func:`disc_within` of a table whose first site is at ``start``, rows ``stride`` apart."""
    ends = np.empty((2, rows), np.int64)
    for row in range(rows):
        ends[0, row], ends[1, row] = row_ends(phase, start + row * stride, columns)
    return disc_within(ends, rows, columns, top, left)


@compiled
def disc_of_lattice(tumour):
    """The tumour's disc, see :func:`disc_within`."""
    return _disc_of(tumour.phase, 0, SIDE, SIDE, SIDE, 0, 0)


@compiled
def disc_of_frame(box, frame):
    """The present disc of the tumour in a frame that was laid for ``box``."""
    stride = stride_of(box)
    return _disc_of(frame.phase, PAD, stride, box.height + 2, stride, box.top - 1, box.left - 1)


@compiled
def _on_border(phase, start, stride, box):
    """1 if a site of the lattice's border is occupied, else 0.

    Args:
        phase: A table of flat phases that holds at least the region ``box``.
        start, stride: Place of the first site of the region, and of a row after another.
        box: A tumour's disc: no cell is outside its region.
    """
    bottom, right = box.top + box.height - 1, box.left + box.width - 1
    near = box.top == 0 or box.left == 0 or bottom == SIDE - 1 or right == SIDE - 1
    if box.height > 0 and near:
        for row in range(box.height):
            at = start + row * stride
            if (box.top + row == 0) or (box.top + row == SIDE - 1):
                for column in range(box.width):
                    if phase[at + column] != VACANT:
                        return 1
            if box.left == 0 and phase[at] != VACANT:
                return 1
            if right == SIDE - 1 and phase[at + box.width - 1] != VACANT:
                return 1
    return 0


@compiled
def frame_on_border(box, frame):
    """1 if a tumour in its frame occupies the border of the lattice, else 0."""
    stride = stride_of(box)
    return _on_border(frame.phase, PAD + stride + 1, stride, box)


@compiled
def lattice_on_border(tumour):
    """1 if a tumour on the lattice occupies its border, else 0."""
    return _on_border(tumour.phase, 0, SIDE, Box(0, 0, SIDE, SIDE, 0))


@compiled(inline="always")
def in_disc(box, i, j):
    """Whether row ``i`` and column ``j`` of a frame lie within its disc, outside the bath.

    The disc is round the middle of the region, half a site off (spec. 3.1); distances are in half
    sites.
    """
    return (2 * i - box.height) ** 2 + (2 * j - box.width) ** 2 < 4 * box.radius * box.radius


@compiled(inline="always")
def used_places(box):
    """Places of a frame's memory that are read, from the first on."""
    return PAD + (box.height + 3) * (box.width + 2) + 2 * BLOCK


@compiled(inline="always")
def clear_place(frame, at):
    """Empty a place: nothing is there, and it is no site."""
    for field in range(3):
        frame.amounts[field, at] = FLOAT0
    for field in range(2):
        frame.before[field, at] = FLOAT0
    frame.spare[at] = FLOAT0
    frame.sums[at] = FLOAT0
    frame.mask[at] = FLOAT0
    frame.inner[at] = FLOAT0
    frame.clock[at] = FLOAT0
    frame.end[at] = FLOAT0
    frame.repaired[at] = FLOAT0
    frame.repair[at] = FLOAT0
    frame.phase[at] = 0
    frame.mode[at] = 0
    frame.vacant[at] = 0
    frame.event[at] = 0
    frame.site[at] = 0


@compiled
def lay_place(box, i, j, tumour, work, frame):
    """Copy row ``i`` and column ``j`` of a frame, rim included, from the lattice."""
    at = PAD + i * stride_of(box) + j
    row, column = box.top + i - 1, box.left + j - 1
    frame.site[at] = -1
    if not (0 <= row < SIDE and 0 <= column < SIDE):
        return
    site = row * SIDE + column
    frame.site[at] = site
    if 1 <= i <= box.height and 1 <= j <= box.width:
        frame.inner[at] = FLOAT1
        frame.mask[at] = FLOAT1 if in_disc(box, i, j) else FLOAT0
        for field in range(3):
            frame.amounts[field, at] = tumour.fields[field, site]
        for field in range(2):
            frame.before[field, at] = work.before[field, site]
    phase = tumour.phase[site]
    if phase == VACANT:
        frame.event[at] = 1
        return
    group = tumour.clocks[site]
    frame.phase[at] = phase
    frame.mode[at] = tumour.mode[site]
    frame.clock[at] = group.clock
    frame.end[at] = group.ends[phase - 1]
    frame.repaired[at] = group.repaired
    frame.repair[at] = group.repair


@compiled
def lay_frame(box, tumour, work, frame):
    """Copy the region ``box`` of the lattice and its rim into the frame."""
    height, stride = box.height, stride_of(box)
    for at in range(used_places(box)):
        clear_place(frame, at)
    for i in range(height + 2):
        for j in range(stride):
            lay_place(box, i, j, tumour, work, frame)
    _count_vacant(frame, stride, height * stride)


@compiled
def _count_vacant(frame, stride, size):
    """Number of free neighbours of every place but those of the rim, where no cells are."""
    start = PAD + stride
    free = frame.event
    out = frame.vacant[start : start + size]
    up, here = free[start - stride - 1 :], free[start - 1 :]
    down = free[start + stride - 1 :]
    for i in range(size):
        row = up[i] + up[i + 1] + up[i + 2] + here[i] + here[i + 2]
        out[i] = row + down[i] + down[i + 1] + down[i + 2]


@compiled
def lift_place(at, tumour, work, frame):
    """Write a place of the frame back into the lattice."""
    site = frame.site[at]
    if site < 0:
        return
    if frame.inner[at] > FLOAT0:
        for field in range(3):
            tumour.fields[field, site] = frame.amounts[field, at]
        for field in range(2):
            work.before[field, site] = frame.before[field, at]
    phase, group = frame.phase[at], tumour.clocks[site]
    tumour.phase[site] = phase
    tumour.mode[site] = frame.mode[at] if phase != VACANT else 0
    group.clock = frame.clock[at]
    group.repaired = frame.repaired[at]
    group.repair = frame.repair[at]


@compiled
def lift_frame(box, tumour, work, frame):
    """Write the frame back into the lattice."""
    for at in range(PAD, PAD + (box.height + 2) * stride_of(box)):
        lift_place(at, tumour, work, frame)


@compiled
def tell_neighbours(frame, at, stride, change):
    """Change the count of vacant neighbours around a place."""
    for up in range(-1, 2):
        for place in range(at + up * stride - 1, at + up * stride + 2):
            if place != at:
                frame.vacant[place] += change


@compiled
def vacant_neighbours(frame, at, stride):
    """Vacant neighbours within the frame; those of a rim site are counted again when it is laid."""
    count = 0
    for up in range(-1, 2):
        for place in range(at + up * stride - 1, at + up * stride + 2):
            if place != at and frame.site[place] >= 0 and frame.phase[place] == VACANT:
                count += 1
    return count


@compiled
def copy_sites(source, target, first, every):
    """Copy every so many sites from one tumour to another."""
    fields, phase, mode, groups = source.fields, source.phase, source.mode, source.clocks
    to_fields, to_phase, to_mode, to_groups = (
        target.fields,
        target.phase,
        target.mode,
        target.clocks,
    )
    for site in range(first, SITES, every):
        for field in range(3):
            to_fields[field, site] = fields[field, site]
        to_phase[site] = phase[site]
        to_mode[site] = mode[site]
        given, taken = groups[site], to_groups[site]
        for number in range(5):
            taken.ends[number] = given.ends[number]
        taken.clock = given.clock
        taken.damage = given.damage
        taken.repaired = given.repaired
        taken.repair = given.repair
