"""Diffusion of the substrates by the threads of a block, each with a strip of the frame.

Glucose and oxygen of the frame, each twice, lie in shared memory. A thread owns a strip of a column
of the region and takes it through diffusion and metabolism, so that it waits for the others only
once in a diffusion sub-step. Of each column only the sites within the disc are touched; the bath
stays zero.

A kernel file for a GPU: it imports nothing but numpy, numba, records and other kernel files.
"""

import numpy as np
from numba import cuda

from oncogym.envs.emt6ro_fractionation.cuda.records import Spreading, Strip
from oncogym.envs.emt6ro_fractionation.diffusion_kernels import pressed, row_sum, spread, weights
from oncogym.envs.emt6ro_fractionation.frame_kernels import FLOAT0, in_disc
from oncogym.envs.emt6ro_fractionation.records import ACID, GLUCOSE, OXYGEN, PAD, SIDE

# Rows of shared memory: glucose, oxygen, and the targets of every second sub-step of each.
PLACES = (SIDE + 2) ** 2
POOL = 4 * PLACES
# Where they begin. Places are unsigned in what a strip does: a signed one might count from the end.
GLUCOSE_ROW, OXYGEN_ROW = np.uint64(0), np.uint64(PLACES)
_SPARE_ROW, _SECOND_SPARE_ROW = np.uint64(2 * PLACES), np.uint64(3 * PLACES)
FIRST = np.uint64(PAD)
_NONE, _ONE = np.uint64(0), np.uint64(1)


@cuda.jit(device=True)
def no_strip():
    """What a thread has before a frame is laid."""
    return Strip(_NONE, _NONE, _NONE, _NONE, _NONE)


@cuda.jit(device=True)
def strip_of(box):
    """This thread's strip of a frame."""
    thread, threads, stride = cuda.threadIdx.x, cuda.blockDim.x, box.width + 2
    strips = max(threads // box.width, 1)
    long = (box.height + strips - 1) // strips
    strip, column = thread // box.width, thread % box.width + 1
    first = min(strip * long, box.height) + 1
    end = min(first + long, box.height + 1)
    inside = first
    while inside < end and not in_disc(box, inside, column):
        inside += 1
    outside = inside
    while outside < end and in_disc(box, outside, column):
        outside += 1
    return Strip(
        np.uint64(inside * stride + column),
        np.uint64(outside - inside),
        np.uint64(first * stride + column),
        np.uint64(end - first),
        np.uint64(stride),
    )


@cuda.jit(device=True)
def spreading_of(settings):
    """Weights of the sub-steps."""
    kappa = settings.kappa
    return Spreading(weights(kappa[GLUCOSE]), weights(kappa[OXYGEN]), weights(kappa[ACID]))


@cuda.jit(device=True, inline="always")
def _sweep(pool, source, target, at, rows, stride, share):
    """One sub-step of ``rows`` sites below each other, the first at ``at``, between two rows."""
    if rows > _NONE:
        here = source + at
        above = here - stride
        out = target + at
        upper = row_sum(pool[above - _ONE], pool[above], pool[above + _ONE])
        own = pool[here]
        centre = row_sum(pool[here - _ONE], own, pool[here + _ONE])
        while rows > _NONE:
            rows -= _ONE
            here += stride
            below = pool[here]
            lower = row_sum(pool[here - _ONE], below, pool[here + _ONE])
            pool[out] = spread(own, upper, centre, lower, share[0], share[1], share[2])
            out += stride
            upper = centre
            centre = lower
            own = below


@cuda.jit(device=True, inline="always")
def clear_bath(pool, row, strip):
    """Set the bath's part of a thread's strip to zero."""
    at = strip.whole
    for _ in range(strip.rows):
        if at < strip.within or at >= strip.within + strip.disc_rows * strip.stride:
            pool[row + at] = FLOAT0
        at += strip.stride


@cuda.jit(device=True, inline="always")
def _sub_step(pool, number, count, row, spare, strip, share):
    """Sub-step ``number`` of ``count`` of the substrate in ``row``, to and fro with ``spare``.

    The last one also updates the bath within the region: the whole strip instead of its part in the
    disc.
    """
    if number < count:
        source, target = row, spare
        if number % 2 == 1:
            source, target = spare, row
        at, rows = strip.within, strip.disc_rows
        if number == count - 1:
            at, rows = strip.whole, strip.rows
        _sweep(pool, source, target, at, rows, strip.stride, share)


@cuda.jit(device=True)
def diffuse(pool, counts, spreading, strip):
    """One step of diffusion of glucose and oxygen by ``counts`` sub-steps."""
    clear_bath(pool, GLUCOSE_ROW, strip)
    clear_bath(pool, OXYGEN_ROW, strip)
    for number in range(max(counts[GLUCOSE], counts[OXYGEN])):
        cuda.syncthreads()
        _sub_step(pool, number, counts[GLUCOSE], GLUCOSE_ROW, _SPARE_ROW, strip,
                  spreading.glucose)  # fmt: skip
        _sub_step(pool, number, counts[OXYGEN], OXYGEN_ROW, _SECOND_SPARE_ROW, strip,
                  spreading.oxygen)  # fmt: skip


@cuda.jit(device=True)
def diffuse_acid(pool, frame, count, share, strip):
    """One step of diffusion of the acid, in the spare rows; returns the largest of the strip."""
    at = strip.within
    for _ in range(strip.disc_rows):
        pool[_SPARE_ROW + at] = frame.amounts[ACID, FIRST + at]
        at += strip.stride
    for number in range(count):
        cuda.syncthreads()
        _sub_step(pool, number, count, _SPARE_ROW, _SECOND_SPARE_ROW, strip, share)
    top = FLOAT0
    at = strip.whole
    for _ in range(strip.rows):
        amount = pool[_SPARE_ROW + at]
        frame.amounts[ACID, FIRST + at] = amount
        top = max(top, amount)
        at += strip.stride
    clear_bath(pool, _SPARE_ROW, strip)
    return top


@cuda.jit(device=True)
def press_on(pool, frame, row, field, fresh, share, strip):
    """As :func:`.diffusion_kernels.press_on`, for one substrate of a thread's strip."""
    at = strip.whole
    for _ in range(strip.rows):
        now = pool[row + at]
        before = now if fresh else frame.before[field, FIRST + at]
        if at >= strip.within and at < strip.within + strip.disc_rows * strip.stride:
            pool[row + at] = now + pressed(now, before, share)
        frame.before[field, FIRST + at] = now
        at += strip.stride
