"""Finding, laying and lifting the frame of a tumour by the threads of a block.

A kernel file for a GPU: it imports nothing but numpy, numba, records and other kernel files.
"""

import numpy as np
from numba import cuda

from oncogym.envs.emt6ro_fractionation.cuda.cuda_fields import PLACES
from oncogym.envs.emt6ro_fractionation.frame_kernels import (
    FLOAT0,
    clear_place,
    disc_within,
    frame_on_border,
    lay_place,
    lift_place,
    row_ends,
    stride_of,
    used_places,
    vacant_neighbours,
)
from oncogym.envs.emt6ro_fractionation.records import GLUCOSE, OXYGEN, PAD, SIDE, Box

# What the threads of a block tell each other: numbers of sites, and the disc.
(
    DEAD, AGED_NOW, KILLED_NOW, WAITING, OCCUPIED, CHANGED, RIM, _TOP, _LEFT, _HEIGHT, _WIDTH,
    _RADIUS,
) = range(12)  # fmt: skip
BOARD = 12
ENDS = (2, SIDE + 2)


@cuda.jit(device=True)
def _find_disc(block, box, tumour, frame):
    """The tumour's disc, from the frame or, before there is one, the lattice."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    board, ends, laid = block.board, block.ends, box.height > 0
    rows = columns = SIDE
    top = left = 0
    if laid:
        rows, columns, top, left = box.height + 2, box.width + 2, box.top - 1, box.left - 1
    for row in range(thread, rows, threads):
        if laid:
            first, last = row_ends(frame.phase, PAD + row * columns, columns)
        else:
            first, last = row_ends(tumour.phase, row * columns, columns)
        ends[0, row] = first
        ends[1, row] = last
    cuda.syncthreads()
    if thread == 0:
        found = disc_within(ends, rows, columns, top, left)
        board[_TOP] = found.top
        board[_LEFT] = found.left
        board[_HEIGHT] = found.height
        board[_WIDTH] = found.width
        board[_RADIUS] = found.radius
    cuda.syncthreads()
    return Box(
        np.int64(board[_TOP]), np.int64(board[_LEFT]), np.int64(board[_HEIGHT]),
        np.int64(board[_WIDTH]), np.int64(board[_RADIUS]),
    )  # fmt: skip


@cuda.jit(device=True)
def lift(box, pool, tumour, work, frame):
    """Write the frame back into the lattice."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    cuda.syncthreads()
    for at in range(thread, (box.height + 2) * stride_of(box), threads):
        frame.amounts[GLUCOSE, PAD + at] = pool[at]
        frame.amounts[OXYGEN, PAD + at] = pool[PLACES + at]
        lift_place(PAD + at, tumour, work, frame)
    cuda.syncthreads()


@cuda.jit(device=True)
def _lay(box, pool, tumour, work, frame):
    """Copy the region and its rim from the lattice into the frame."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    for at in range(thread, used_places(box), threads):
        clear_place(frame, at)
    cuda.syncthreads()
    stride = stride_of(box)
    places = (box.height + 2) * stride
    for at in range(thread, places, threads):
        i, j = at // stride, at % stride
        lay_place(box, i, j, tumour, work, frame)
        pool[at] = frame.amounts[GLUCOSE, PAD + at]
        pool[PLACES + at] = frame.amounts[OXYGEN, PAD + at]
        pool[2 * PLACES + at] = FLOAT0
        pool[3 * PLACES + at] = FLOAT0
    cuda.syncthreads()
    for at in range(stride + thread, places - stride, threads):
        frame.vacant[PAD + at] = vacant_neighbours(frame, PAD + at, stride)
    cuda.syncthreads()


@cuda.jit(device=True)
def follow(block, box, tumour, work, frame, counters):
    """Lay the frame where the tumour is now; returns its disc."""
    new = _find_disc(block, box, tumour, frame)
    if new != box:
        if box.height > 0:
            lift(box, block.pool, tumour, work, frame)
        _lay(new, block.pool, tumour, work, frame)
    if cuda.threadIdx.x == 0 and counters.at_edge == 0:
        counters.at_edge = frame_on_border(new, frame)
    return new
