"""Compiled automaton of one EMT6/Ro spheroid: its steps, its start and what is recorded.

Arrays are laid out as ``frame_kernels.py`` says.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import numpy as np
from numba import njit

from oncogym.envs.emt6ro_fractionation.cell_kernels import (
    bury,
    divide,
    draw_cycle,
    live,
    marked_sites,
    metabolise,
)
from oncogym.envs.emt6ro_fractionation.diffusion_kernels import diffuse_frame, largest, press_on
from oncogym.envs.emt6ro_fractionation.frame_kernels import (
    ACID,
    ACID_EVERY,
    ACID_ON,
    ACID_STOP,
    AT_EDGE,
    BIRTHS,
    BURDEN,
    DAMAGE,
    DEATHS,
    EXTERNAL,
    FLOAT0,
    FRAME_ACID,
    FRAME_EVENT,
    FRAME_FLOATS,
    FRAME_INTS,
    FRAME_MASK,
    FRAME_PHASE,
    LENGTH,
    MOMENTUM,
    PAD,
    RECORD_DAMAGED,
    RECORD_FIELDS,
    RECORD_MODES,
    RECORD_PHASES,
    RECORD_SITES,
    ROW,
    SIDE,
    SITES,
    SITES_NOW,
    STEP,
    disc_of,
    lay_frame,
    lift_frame,
    on_border,
)
from oncogym.envs.emt6ro_fractionation.rules import G1, STEPS_PER_SLOT, VACANT
from oncogym.envs.unowned import unowned

REFRESH = 32  # model steps after which the frame must have followed the tumour
_ACID_CAUTION = 0.8  # share of ACID_STOP from which the acid is followed step by step
_ACID_CALM = 0.6  # and below which it no longer is

# Step of the draws before the first one.
BEFORE = 0xFFFFFFFF


@njit(cache=True, inline="always")
def run_of(step, until, length):
    """Model steps that the next field step covers: none goes over the start of a slot."""
    return min(length, (step // STEPS_PER_SLOT + 1) * STEPS_PER_SLOT - step, until - step)


@njit(cache=True, inline="always")
def must_follow(moved, step, run, followed):
    """Whether the frame must follow a tumour that has ``moved`` since the step ``followed``.

    It does at every slot, too, so that a course does not depend on where it is interrupted.
    """
    return moved and (step + run - followed > REFRESH or step % STEPS_PER_SLOT == 0)


@njit(cache=True, inline="always")
def dose_at(doses, step):
    """Dose [Gy] that is given in a step."""
    slot = step // STEPS_PER_SLOT
    given = step % STEPS_PER_SLOT == 0 and slot < doses.shape[0]
    return np.float32(doses[slot]) if given else FLOAT0


@njit(cache=True, inline="always")
def acid_followed(followed, top, stop):
    """Whether the acid is computed in every step, 1 or 0, given its largest amount [fmol]."""
    if top >= _ACID_CAUTION * stop:
        return 1
    return 0 if top < _ACID_CALM * stop else followed


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
    floats = np.empty((FRAME_FLOATS, ROW), np.float32)
    ints = np.empty((FRAME_INTS, ROW), np.int32)
    lists = np.empty((3, SITES), np.int32)
    order = np.empty(SITES)
    before = np.zeros((2, SITES), np.float32)
    _advance(fields, phase, mode, clocks, counters, biology, settings, doses, until, seed, episode,
             floats, ints, lists, order, before)  # fmt: skip


@njit(cache=True)
def _advance(fields, phase, mode, clocks, counters, biology, settings, doses, until, seed, episode,
             floats, ints, lists, order, before):  # fmt: skip
    """:func:`advance_tumour` with its scratch memory."""
    fields, phase, mode = unowned(fields), unowned(phase), unowned(mode)
    clocks, counters = unowned(clocks), unowned(counters)
    biology, settings, doses = unowned(biology), unowned(settings), unowned(doses)
    floats, ints, lists = unowned(floats), unowned(ints), unowned(lists)
    order, before = unowned(order), unowned(before)
    momentum = settings[MOMENTUM]
    found, waiting, attempts = lists[0], lists[1], lists[2]
    length = int(settings[LENGTH])
    every = int(settings[ACID_EVERY])
    external = np.float32(settings[EXTERNAL + ACID])
    box = (0, 0, 0, 0, 0)
    laid = False
    moved = True
    followed = 0
    fresh = True
    step = counters[STEP]
    occupied = np.int64(0)
    for site in range(SITES):
        occupied += phase[site] != VACANT
    while step < until and occupied > 0:
        if momentum > 0.0 and (fresh or step % STEPS_PER_SLOT == 0):
            # Nothing is carried over a slot, so that a course may be interrupted there; sites that
            # join the frame later have not changed until then.
            fresh = True
            for field in range(2):
                for site in range(SITES):
                    before[field, site] = fields[field, site]
        run = run_of(step, until, length)
        if not laid or must_follow(moved, step, run, followed):
            if laid:
                new = disc_of(ints[FRAME_PHASE], PAD, box[3] + 2, box[2] + 2, box[3] + 2,
                              box[0] - 1, box[1] - 1)  # fmt: skip
            else:
                new = disc_of(phase, 0, SIDE, SIDE, SIDE, 0, 0)
            if not laid or new != box:
                if laid:
                    lift_frame(box, fields, before, phase, mode, clocks, floats, ints)
                box = new
                lay_frame(box, fields, before, phase, mode, clocks, floats, ints)
                laid = True
            if counters[AT_EDGE] == 0:
                stride = box[3] + 2
                counters[AT_EDGE] = on_border(ints[FRAME_PHASE], PAD + stride + 1, stride, box)
            moved = False
            followed = step
        stride = box[3] + 2
        size = box[2] * stride
        whole = size + 2 * stride
        dose = dose_at(doses, step)
        acid = counters[ACID_ON] != 0 or (step // length) % every == 0
        diffuse_frame(floats, stride, size, settings, acid)
        if momentum > 0.0:
            press_on(floats, stride, size, momentum, fresh)
            fresh = False
        if acid and every > 1:
            top = external + largest(floats[FRAME_ACID, PAD : PAD + whole], whole)
            counters[ACID_ON] = acid_followed(counters[ACID_ON], top, settings[ACID_STOP])
        metabolise(floats, ints, stride, size, settings, run, acid, dose > FLOAT0)
        count = marked_sites(ints[FRAME_EVENT], whole, found)
        counters[BURDEN] += occupied * run
        if count:
            dead, dividing = live(floats, ints, clocks, found, count, waiting, attempts, dose, run,
                                   biology, counters, seed, episode, step)  # fmt: skip
            births = 0
            if dead:
                bury(floats, ints, clocks, found, dead, stride)
                counters[DEATHS] += dead
            if dividing:
                births, rim = divide(floats, ints, clocks, waiting, attempts, order, dividing,
                                      stride, settings, seed, episode, step)  # fmt: skip
                counters[BIRTHS] += births
                if rim:
                    followed = step - 2 * REFRESH
            occupied += births - dead
            moved = moved or births + dead > 0
        step += run
    if laid:
        lift_frame(box, fields, before, phase, mode, clocks, floats, ints)
    if counters[AT_EDGE] == 0:
        counters[AT_EDGE] = on_border(phase, 0, SIDE, (0, 0, SIDE, SIDE, 0))
    # Where nothing lives, nothing changes any more.
    counters[STEP] = max(until, counters[STEP])
    counters[SITES_NOW] = occupied


@njit(cache=True)
def diffuse_tumour(fields, phase, mode, clocks, settings):
    """One step of diffusion alone; returns the disc and its number of sites outside the bath."""
    floats = np.empty((FRAME_FLOATS, ROW), np.float32)
    ints = np.empty((FRAME_INTS, ROW), np.int32)
    box = disc_of(phase, 0, SIDE, SIDE, SIDE, 0, 0)
    before = np.zeros((2, SITES), np.float32)
    lay_frame(box, fields, before, phase, mode, clocks, floats, ints)
    stride = box[3] + 2
    diffuse_frame(floats, stride, box[2] * stride, settings, True)
    lift_frame(box, fields, before, phase, mode, clocks, floats, ints)
    used = (box[2] + 2) * stride
    return box, int(floats[FRAME_MASK, PAD : PAD + used].sum())


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
        draw_cycle(clocks[best], settings, seed, episode, BEFORE, best)
