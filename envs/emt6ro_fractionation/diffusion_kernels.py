"""Diffusion of the substrates within the frame of a tumour.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files.
"""

import math

import numpy as np

from oncogym.envs.compiled import compiled
from oncogym.envs.emt6ro_fractionation.frame_kernels import BLOCK
from oncogym.envs.emt6ro_fractionation.records import PAD
from oncogym.envs.wide_vectors import wide_vectors

ROOT = math.sqrt(2.0)
# kappa of a coefficient D [sites^2/s] and a sub-step tau [s]: D tau 2 sqrt2 / (4 + 2 sqrt2)
KAPPA_FACTOR = 2.0 * ROOT / (4.0 + 2.0 * ROOT)
_SIDE = np.float32(1.0 / ROOT)


@compiled(inline="always")
def row_sum(left, middle, right):
    """A site and its neighbours in a row, weighted: the first half of a sub-step."""
    return middle + _SIDE * (left + right)


@compiled(inline="always")
def weights(kappa):
    """Weights of a sub-step: of the site, of the sums above and below, of its own sum."""
    return (
        np.float32(1.0 - kappa * (4.0 + 2.0 * ROOT) - kappa * ROOT),
        np.float32(kappa),
        np.float32(kappa * ROOT),
    )


@compiled(inline="always")
def spread(own, upper, centre, lower, rest, across, along):
    """A site after a sub-step, of its amount and the sums of the rows above, its own and below.

    kappa/s [s (upper + lower) + centre - own] + (1 - kappa (4 + 2 sqrt2)) own with s = 1/sqrt2.
    """
    return rest * own + (across * (upper + lower) + along * centre)


@compiled(inline="always")
def pressed(fresh, before, share):
    """What is added to an amount: ``share`` of its change since the step before."""
    return share * (fresh - before)


@compiled(inline="always")
def _sub_step(source, target, sums, mask, stride, size, kappa):
    """One diffusion sub-step over the flat frame, by sums along rows, then across them."""
    first = PAD
    wide = size + 2 * stride
    mid = source[first : first + wide]
    left = source[first - 1 : first - 1 + wide]
    right = source[first + 1 : first + 1 + wide]
    sums_all = sums[first : first + wide]
    for i in range(wide):
        sums_all[i] = row_sum(left[i], mid[i], right[i])
    # From where a vector begins: the places before the frame's first row are on the rim, and stay.
    here = first + stride // BLOCK * BLOCK
    size += stride % BLOCK
    own = source[here : here + size]
    upper = sums[here - stride : here - stride + size]
    centre = sums[here : here + size]
    lower = sums[here + stride : here + stride + size]
    keep = mask[here : here + size]
    out = target[here : here + size]
    rest, across, along = weights(kappa)
    for i in range(size):
        out[i] = keep[i] * spread(own[i], upper[i], centre[i], lower[i], rest, across, along)


@compiled(forceinline=False)
def _diffuse(frame, field, stride, size, kappa, count):
    """All sub-steps of one substrate; the last one also updates the bath within the region."""
    wide_vectors()
    here, spare = frame.amounts[field], frame.spare
    sums, mask, inner = frame.sums, frame.mask, frame.inner
    start = PAD + stride
    own = here[start : start + size]
    keep = mask[start : start + size]
    for i in range(size):
        own[i] *= keep[i]
    for _ in range(count // 2 - 1):
        _sub_step(here, spare, sums, mask, stride, size, kappa)
        _sub_step(spare, here, sums, mask, stride, size, kappa)
    _sub_step(here, spare, sums, mask, stride, size, kappa)
    _sub_step(spare, here, sums, inner, stride, size, kappa)


@compiled
def diffuse_frame(frame, stride, size, settings, acid):
    """One step of diffusion of glucose, oxygen and, if asked for, acid (spec. 3.1)."""
    for field in range(3 if acid else 2):
        count = int(settings.substeps[field])
        _diffuse(frame, field, stride, size, settings.kappa[field], count)


@compiled
def press_on(frame, stride, size, share, first):
    """Add to each field outside the bath ``share`` of its change since the step before.

    Fields that take only every m-th step lag behind the cells; this makes up for most of it, and
    leaves steady fields as they are. ``first`` says that there is no step before.
    """
    start = PAD + stride
    keep = frame.mask[start : start + size]
    ahead = np.float32(share)
    for field in range(2):
        now = frame.amounts[field, start : start + size]
        before = frame.before[field, start : start + size]
        if first:
            before[:] = now
        for i in range(size):
            fresh = now[i]
            now[i] = fresh + keep[i] * pressed(fresh, before[i], ahead)
            before[i] = fresh


@compiled
def largest(row, size):
    """Largest of the first ``size`` values."""
    top = row[0]
    for i in range(size):
        top = max(top, row[i])
    return top
