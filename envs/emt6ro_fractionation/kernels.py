"""Compiled automaton of one EMT6/Ro spheroid: its steps, its start and what is recorded.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files.
"""

import numpy as np

from oncogym.envs.compiled import compiled
from oncogym.envs.emt6ro_fractionation.cell_kernels import (
    bury,
    clear_group,
    divide,
    draw_cycle,
    live,
    marked_sites,
    metabolise,
)
from oncogym.envs.emt6ro_fractionation.diffusion_kernels import diffuse_frame, largest, press_on
from oncogym.envs.emt6ro_fractionation.frame_kernels import (
    FLOAT0,
    disc_of_frame,
    disc_of_lattice,
    frame_on_border,
    lattice_on_border,
    lay_frame,
    lift_frame,
    new_frames,
    stride_of,
)
from oncogym.envs.emt6ro_fractionation.records import (
    ACID,
    BIOLOGY,
    COUNTERS,
    PAD,
    SETTINGS,
    SIDE,
    SITES,
    WORK,
    Box,
    Chance,
)
from oncogym.envs.emt6ro_fractionation.rules import G1, STEPS_PER_SLOT, VACANT
from oncogym.envs.lane_kernels import ITEM, ROW, Shared, over_lanes, record_at

# Sites are kept for figures every six hours.
HISTORY_SLOTS = 12
STEPS_PER_ENTRY = HISTORY_SLOTS * STEPS_PER_SLOT

REFRESH = 32  # model steps after which the frame must have followed the tumour
_ACID_CAUTION = 0.8  # share of acid_stop from which the acid is followed step by step
_ACID_CALM = 0.6  # and below which it no longer is

# Step of the draws before the first one.
BEFORE = 0xFFFFFFFF


@compiled(inline="always")
def run_of(step, until, length):
    """Model steps that the next field step covers: none goes over the start of a slot."""
    return min(length, (step // STEPS_PER_SLOT + 1) * STEPS_PER_SLOT - step, until - step)


@compiled(inline="always")
def stop_of(step, until, entries):
    """The next step at which a history of so many entries is written, or ``until``."""
    if entries <= 1:
        return until
    return min(until, (step // STEPS_PER_ENTRY + 1) * STEPS_PER_ENTRY)


@compiled(inline="always")
def note(history, counters):
    """Write the sites into the history at the start of one of its intervals."""
    entry = counters.step // STEPS_PER_ENTRY
    if history.shape[0] > 1 and counters.step % STEPS_PER_ENTRY == 0:
        history[entry] = counters.sites


@compiled(inline="always")
def must_follow(moved, step, run, followed):
    """Whether the frame must follow a tumour that has ``moved`` since the step ``followed``.

    It does at every slot, too, so that a course does not depend on where it is interrupted.
    """
    return moved and (step + run - followed > REFRESH or step % STEPS_PER_SLOT == 0)


@compiled(inline="always")
def dose_at(doses, step):
    """Dose [Gy] that is given in a step."""
    slot = step // STEPS_PER_SLOT
    given = step % STEPS_PER_SLOT == 0 and slot < doses.shape[0]
    return np.float32(doses[slot]) if given else FLOAT0


@compiled(inline="always")
def acid_is_due(followed, step, length, every):
    """Whether the acid is computed in a step: in every one, or in that of every so many."""
    return followed != 0 or (step // length) % every == 0


@compiled(inline="always")
def acid_followed(followed, top, settings):
    """Whether the acid is computed in every step, 1 or 0, given its largest deviation [fmol]."""
    amount = np.float32(settings.external[ACID]) + top
    if amount >= _ACID_CAUTION * settings.acid_stop:
        return 1
    return 0 if amount < _ACID_CALM * settings.acid_stop else followed


@compiled
def _occupied_sites(tumour):
    count = np.int64(0)
    for site in range(SITES):
        count += tumour.phase[site] != VACANT
    return count


@compiled
def _keep_fields(tumour, work):
    """Take the present fields for those of the step before, on the whole lattice.

    Nothing is carried over a slot, so that a course may be interrupted there; sites that join the
    frame later have not changed until then.
    """
    for field in range(2):
        for site in range(SITES):
            work.before[field, site] = tumour.fields[field, site]


@compiled
def _follow(box, tumour, work, frame, counters):
    """Lay the frame where the tumour is now; returns its disc."""
    laid = box.height > 0
    new = disc_of_frame(box, frame) if laid else disc_of_lattice(tumour)
    if new != box:
        if laid:
            lift_frame(box, tumour, work, frame)
        lay_frame(new, tumour, work, frame)
    if counters.at_edge == 0:
        counters.at_edge = frame_on_border(new, frame)
    return new


@compiled
def _pass_fields(box, frame, counters, settings, fresh):
    """One step of the fields; returns whether the acid was computed."""
    stride = stride_of(box)
    size = box.height * stride
    length, every = int(settings.length), int(settings.acid_every)
    acid = acid_is_due(counters.acid_on, counters.step, length, every)
    diffuse_frame(frame, stride, size, settings, acid)
    if settings.momentum > 0.0:
        press_on(frame, stride, size, settings.momentum, fresh)
    if acid and every > 1:
        top = largest(frame.amounts[ACID, PAD:], size + 2 * stride)
        counters.acid_on = acid_followed(counters.acid_on, top, settings)
    return acid


@compiled
def _pass_cells(box, tumour, work, frame, counters, biology, settings, dose, run, acid, chance):
    """One step of the cells; returns (sites that changed, whether one was born on the rim)."""
    stride = stride_of(box)
    size = box.height * stride
    metabolise(frame, stride, size, settings, run, acid, dose > FLOAT0)
    counters.burden += counters.sites * run
    births, dead, rim = 0, 0, False
    count = marked_sites(frame.event, size + 2 * stride, work.found)
    if count:
        dead, dividing = live(tumour, frame, work, count, dose, run, biology, counters, chance)
        if dead:
            bury(tumour, frame, work, dead, stride)
            counters.deaths += dead
        if dividing:
            births, rim = divide(tumour, frame, work, dividing, stride, settings, chance)
            counters.births += births
        counters.sites += births - dead
    return births + dead, rim


@compiled
def _advance(tumour, work, frame, counters, biology, settings, doses, until, seed, episode):
    """Let a tumour live until a step (spec. 3 and 10.2)."""
    counters.sites = _occupied_sites(tumour)
    box = Box(0, 0, 0, 0, 0)
    moved, fresh = True, True
    followed = counters.step
    while counters.step < until and counters.sites > 0:
        step = counters.step
        if settings.momentum > 0.0 and (fresh or step % STEPS_PER_SLOT == 0):
            _keep_fields(tumour, work)
            fresh = True
        run = run_of(step, until, int(settings.length))
        if box.height == 0 or must_follow(moved, step, run, followed):
            box = _follow(box, tumour, work, frame, counters)
            moved, followed = False, step
        acid = _pass_fields(box, frame, counters, settings, fresh)
        fresh = False
        changed, rim = _pass_cells(
            box, tumour, work, frame, counters, biology, settings, dose_at(doses, step), run, acid,
            Chance(seed, episode, step),
        )  # fmt: skip
        if rim:
            followed = step - 2 * REFRESH
        moved = moved or changed > 0
        counters.step = step + run
    if box.height > 0:
        lift_frame(box, tumour, work, frame)
    if counters.at_edge == 0:
        counters.at_edge = lattice_on_border(tumour)
    # Where nothing lives, nothing changes any more.
    counters.step = max(until, counters.step)


@compiled
def _advance_with(frames, works, tumour, counters, biology, settings, doses, until, history, seed,
                  episode):  # fmt: skip
    while counters.step < until:
        stop = stop_of(counters.step, until, history.shape[0])
        _advance(tumour, works[0], frames[0], counters, biology, settings, doses, stop, seed,
                 episode)  # fmt: skip
        note(history, counters)


def advance(tumour, counters, biology, settings, doses, until, history, seed, episode):
    """Let a tumour live until a step, and write down its sites.

    Args:
        tumour, counters, biology, settings: Records, see ``records.py``; the first two are written.
        doses: ``(slots,)`` Gy; slot i is given in the step 300 i.
        until: Step to advance to; a tumour that is there already is left as it is.
        history: Occupied sites every ``HISTORY_SLOTS`` slots, of which the first are not ours;
            written where there are more.
        seed, episode: Key of the random streams.
    """
    # The function that allocates keeps the memory while another one takes records of it.
    frames, works = new_frames(), np.empty(1, WORK)
    _advance_with(frames, works, tumour, counters, biology, settings, doses, until, history, seed,
                  episode)  # fmt: skip


follow_course = compiled(advance)
advance_lanes, advance_lanes_parallel = over_lanes(
    advance,
    tumours=ITEM,
    counters=COUNTERS,
    biology=BIOLOGY,
    settings=Shared(SETTINGS),
    doses=ROW,
    until=ITEM,
    history=ROW,
    seeds=ITEM,
    episodes=ITEM,
)


@compiled
def _diffuse_tumour(tumours, frames, works, settings):
    tumour, frame, work = tumours[0], frames[0], works[0]
    box = disc_of_lattice(tumour)
    work.before[:] = FLOAT0
    lay_frame(box, tumour, work, frame)
    stride = stride_of(box)
    diffuse_frame(frame, stride, box.height * stride, record_at(settings, 0, SETTINGS), True)
    lift_frame(box, tumour, work, frame)
    used = (box.height + 2) * stride
    return box, int(frame.mask[PAD : PAD + used].sum())


@compiled
def diffuse_tumour(tumours, settings):
    """One step of diffusion of the first tumour; its disc and number of sites outside the bath."""
    return _diffuse_tumour(tumours, new_frames(), np.empty(1, WORK), settings)


@compiled
def _clear_sample(sample):
    sample.sites = sample.damaged = FLOAT0
    for phase in range(5):
        sample.phases[phase] = FLOAT0
    for mode in range(4):
        sample.modes[mode] = FLOAT0
    for field in range(3):
        sample.amounts[field] = FLOAT0


@compiled
def record(tumour, settings, sample):
    """Counts of sites, phases, modes and damaged sites, and mean amounts [fmol] of the occupied.

    The means are zero where nothing lives.
    """
    _clear_sample(sample)
    fields, phase, mode, groups = tumour.fields, tumour.phase, tumour.mode, tumour.clocks
    for site in range(SITES):
        if phase[site] == VACANT:
            continue
        sample.sites += 1.0
        sample.phases[phase[site] - 1] += 1.0
        sample.modes[mode[site]] += 1.0
        if groups[site].damage > 0.0:
            sample.damaged += 1.0
        for field in range(3):
            sample.amounts[field] += fields[field, site]
    count = sample.sites
    if count > 0.0:
        for field in range(3):
            mean = sample.amounts[field] / count
            sample.amounts[field] = settings.external[field] + mean


@compiled
def clear_tumour(tumour):
    """An empty lattice in the bath."""
    for site in range(SITES):
        for field in range(3):
            tumour.fields[field, site] = FLOAT0
        tumour.phase[site] = VACANT
        tumour.mode[site] = 0
        clear_group(tumour.clocks[site])


@compiled
def seed_tumour(tumour, settings, count, seed, episode):
    """``count`` groups at the start of G1 on the sites nearest the centre (spec. 3.5)."""
    clear_tumour(tumour)
    middle = SIDE // 2
    for _ in range(count):
        best, nearest = -1, SITES
        for site in range(SITES):
            away = (site // SIDE - middle) ** 2 + (site % SIDE - middle) ** 2
            if tumour.phase[site] == VACANT and away < nearest:
                best, nearest = site, away
        tumour.phase[best] = G1
        draw_cycle(tumour.clocks[best], settings, Chance(seed, episode, BEFORE), best)
