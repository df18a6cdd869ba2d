"""The automaton on an NVIDIA GPU: one block of threads advances one tumour.

Per-site rules, random streams and order of events are those of the CPU, compiled from the same
functions; what stands here is only how the threads of a block share the work. What happens to
single sites (phases, repair) happens where it is found. Deaths and divisions, whose order counts,
are collected and carried out by the first thread.

The kernels differ from the CPU's only by fused multiplications and additions, thus by float32
rounding of the fields and of the durations of new cycles; draws are the same integers.

A kernel file for a GPU: it imports nothing but numpy, numba, records and other kernel files. It is
imported only when a GPU is asked for.
"""

import numpy as np
from numba import config, cuda, float32, int16, int32

from oncogym.envs.emt6ro_fractionation import step_kernels
from oncogym.envs.emt6ro_fractionation.cell_kernels import (
    AGED,
    KILLED,
    bury,
    divide,
    limits_of,
    live_place,
    of_modes,
    pace_of,
)
from oncogym.envs.emt6ro_fractionation.cuda.cuda_fields import (
    FIRST,
    GLUCOSE_ROW,
    OXYGEN_ROW,
    POOL,
    diffuse,
    diffuse_acid,
    no_strip,
    press_on,
    spreading_of,
    strip_of,
)
from oncogym.envs.emt6ro_fractionation.cuda.cuda_frame import (
    AGED_NOW,
    BOARD,
    CHANGED,
    DEAD,
    ENDS,
    KILLED_NOW,
    OCCUPIED,
    RIM,
    WAITING,
    follow,
    lift,
)
from oncogym.envs.emt6ro_fractionation.cuda.records import Block, Diet
from oncogym.envs.emt6ro_fractionation.frame_kernels import (
    FLOAT0,
    copy_sites,
    lattice_on_border,
    stride_of,
)
from oncogym.envs.emt6ro_fractionation.kernels import (
    REFRESH,
    acid_followed,
    acid_is_due,
    dose_at,
    must_follow,
    note,
    record,
    run_of,
    stop_of,
)
from oncogym.envs.emt6ro_fractionation.records import ACID, GLUCOSE, OXYGEN, SITES, Box, Chance
from oncogym.envs.emt6ro_fractionation.rules import STEPS_PER_SLOT, VACANT, by_mode, pass_time

#: Threads of a block. Any number of at least SIDE does; it decides the speed alone.
THREADS = 128
# Registers of a thread, so that as many blocks run on a multiprocessor as shared memory lets: five
# on one of compute capability 9.0. The simulator has none.
_SIMULATED = config.ENABLE_CUDASIM  # type: ignore[attr-defined]
_OPTIONS = {} if _SIMULATED else {"max_registers": 96}


@cuda.jit(device=True)
def _diet_of(settings):
    return Diet(
        limits_of(settings),
        of_modes(settings.glucose_use),
        of_modes(settings.oxygen_use),
        of_modes(settings.acid_made),
    )


@cuda.jit(device=True)
def _live_and_list(board, tumour, frame, work, at, dose, run, biology, chance):
    """What more happens at a place; deaths and attempts at division are put off.

    The dead are listed in ``work.found``, those that try to divide in ``work.waiting`` with their
    attempts, in any order.
    """
    tries = live_place(tumour, frame, at, dose, run, biology, chance)
    if tries > 0:
        number = cuda.atomic.add(board, WAITING, 1)
        work.waiting[number] = at
        work.attempts[number] = tries
    elif tries < 0:
        work.found[cuda.atomic.add(board, DEAD, 1)] = at
        if tries == AGED:
            cuda.atomic.add(board, AGED_NOW, 1)
        elif tries == KILLED:
            cuda.atomic.add(board, KILLED_NOW, 1)


@cuda.jit(device=True)
def _live(block, tumour, frame, work, strip, diet, acid, dose, run, biology, chance):
    """Metabolism, clock, dose and repair of a thread's strip."""
    pool, pace = block.pool, pace_of(run, dose > FLOAT0)
    flat = strip.whole
    for _ in range(strip.rows):
        at = FIRST + flat
        phase = frame.phase[at]
        if phase != VACANT:
            amounts = (pool[flat], pool[OXYGEN_ROW + flat], frame.amounts[ACID, at])
            now, more, late, healed = pass_time(
                phase, frame.vacant[at], frame.clock[at], frame.end[at], frame.repaired[at],
                frame.repair[at], amounts, diet.limits, pace,
            )  # fmt: skip
            pool[flat] -= by_mode(now, diet.eaten)
            pool[OXYGEN_ROW + flat] -= by_mode(now, diet.breathed)
            if acid:
                frame.amounts[ACID, at] += by_mode(now, diet.made)
            frame.mode[at] = now
            frame.clock[at] = late
            frame.repaired[at] = healed
            if more != 0:
                _live_and_list(block.board, tumour, frame, work, at, dose, run, biology, chance)
        flat += strip.stride


@cuda.jit(device=True)
def _occupied_sites(board, tumour):
    """Number of sites with cells; nobody waits on the board then."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    if thread == 0:
        board[DEAD] = board[WAITING] = board[AGED_NOW] = board[KILLED_NOW] = board[OCCUPIED] = 0
    cuda.syncthreads()
    some, phase = 0, tumour.phase
    for site in range(thread, SITES, threads):
        some += 1 if phase[site] != VACANT else 0
    cuda.atomic.add(board, OCCUPIED, some)
    cuda.syncthreads()
    return board[OCCUPIED]


@cuda.jit(device=True)
def _keep_fields(tumour, work):
    """Take the present fields for those of the step before, on the whole lattice."""
    before, fields = work.before, tumour.fields
    for site in range(cuda.threadIdx.x, SITES, cuda.blockDim.x):
        for field in range(2):
            before[field, site] = fields[field, site]
    cuda.syncthreads()


@cuda.jit(device=True)
def _pass_acid(block, frame, strip, settings, share, followed):
    """One step of the acid; returns whether it is to be computed in every step, 1 or 0."""
    # The spare rows are read until all have done their last sub-step.
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        block.peak[0] = FLOAT0
    count = int(settings.substeps[ACID])
    most = diffuse_acid(block.pool, frame, count, share, strip)
    if settings.acid_every > 1.0:
        cuda.atomic.max(block.peak, 0, most)
        cuda.syncthreads()
        return acid_followed(followed, block.peak[0], settings)
    return followed


@cuda.jit(device=True)
def _bury_and_divide(board, tumour, frame, work, stride, settings, counters, chance):
    """Deaths and divisions of a step, by the first thread; what changed stands on the board."""
    dead, dividing = board[DEAD], board[WAITING]
    if cuda.threadIdx.x == 0:
        bury(tumour, frame, work, dead, stride)
        births, rim = divide(tumour, frame, work, dividing, stride, settings, chance)
        counters.deaths += dead
        counters.births += births
        counters.age_deaths += board[AGED_NOW]
        counters.repair_deaths += board[KILLED_NOW]
        board[OCCUPIED] += births - dead
        board[CHANGED] = births + dead
        board[RIM] = 1 if rim else 0
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        board[DEAD] = board[WAITING] = board[AGED_NOW] = board[KILLED_NOW] = 0


@cuda.jit(device=True)
def _advance(block, tumour, work, frame, counters, biology, settings, doses, until, seed, episode):
    """Advance one tumour to model step ``until``, as :mod:`.kernels` does."""
    first, board = cuda.threadIdx.x == 0, block.board
    length, every = int(settings.length), int(settings.acid_every)
    momentum, share = settings.momentum, np.float32(settings.momentum)
    counts = (int(settings.substeps[GLUCOSE]), int(settings.substeps[OXYGEN]))
    spreading, diet = spreading_of(settings), _diet_of(settings)
    acid_on, burden = counters.acid_on, counters.burden
    step, followed = counters.step, counters.step
    occupied = _occupied_sites(board, tumour)
    box, strip = Box(0, 0, 0, 0, 0), no_strip()
    moved, fresh = True, True
    while step < until and occupied > 0:
        if momentum > 0.0 and (fresh or step % STEPS_PER_SLOT == 0):
            _keep_fields(tumour, work)
            fresh = True
        run = run_of(step, until, length)
        if box.height == 0 or must_follow(moved, step, run, followed):
            box = follow(block, box, tumour, work, frame, counters)
            strip = strip_of(box)
            moved, followed = False, step
        acid = acid_is_due(acid_on, step, length, every)
        diffuse(block.pool, counts, spreading, strip)
        if momentum > 0.0:
            press_on(block.pool, frame, GLUCOSE_ROW, GLUCOSE, fresh, share, strip)
            press_on(block.pool, frame, OXYGEN_ROW, OXYGEN, fresh, share, strip)
            fresh = False
        if acid:
            acid_on = _pass_acid(block, frame, strip, settings, spreading.acid, acid_on)
        chance = Chance(seed, episode, step)
        _live(block, tumour, frame, work, strip, diet, acid, dose_at(doses, step), run, biology,
              chance)  # fmt: skip
        burden += occupied * run
        cuda.syncthreads()
        if board[DEAD] > 0 or board[WAITING] > 0:
            _bury_and_divide(board, tumour, frame, work, stride_of(box), settings, counters, chance)
            occupied = board[OCCUPIED]
            moved = moved or board[CHANGED] > 0
            if board[RIM] > 0:
                followed = step - 2 * REFRESH
        step += run
    if box.height > 0:
        lift(box, block.pool, tumour, work, frame)
    if first:
        if counters.at_edge == 0:
            counters.at_edge = lattice_on_border(tumour)
        counters.acid_on = acid_on
        counters.burden = burden
        counters.step = max(until, counters.step)
        counters.sites = occupied
    cuda.syncthreads()


@cuda.jit(shared_memory_carveout="MaxShared", **_OPTIONS)
def advance(tumours, counters, biology, settings, doses, until, history, seeds, episodes, works,
            frames):  # fmt: skip
    """Advance every tumour, one a block, to its step ``until``.

    Args:
        tumours, counters, biology: Records ``(lanes,)``, see ``records.py``; the first two are
            changed in place.
        settings: Record ``(1,)``.
        doses: ``(lanes, slots)`` Gy.
        until: ``(lanes,)`` int64; a lane that is there already is left as it is.
        history: ``(lanes, entries)`` float64, see :func:`.kernels.advance`.
        seeds, episodes: ``(lanes,)`` uint64, keys of the random streams.
        works, frames: Memory, a record for each lane.
    """
    lane = cuda.blockIdx.x
    block = Block(
        cuda.shared.array(POOL, float32),
        cuda.shared.array(BOARD, int32),
        cuda.shared.array(ENDS, int16),
        cuda.shared.array(1, float32),
    )
    counted = counters[lane]
    step = counted.step
    while step < until[lane]:
        step = stop_of(step, until[lane], history.shape[1])
        _advance(block, tumours[lane], works[lane], frames[lane], counted, biology[lane],
                 settings[0], doses[lane], step, seeds[lane], episodes[lane])  # fmt: skip
        if cuda.threadIdx.x == 0:
            note(history[lane], counted)


@cuda.jit
def place(lanes, rows, tumours, targets):
    """Copy tumour ``rows[k]`` into lane ``lanes[k]``, one a block."""
    number = cuda.blockIdx.x
    source, target = tumours[rows[number]], targets[lanes[number]]
    copy_sites(source, target, cuda.threadIdx.x, cuda.blockDim.x)


@cuda.jit
def record_lanes(tumours, settings, samples):
    """:func:`.kernels.record` of every lane, each by one thread: a block of its own."""
    lane = cuda.blockIdx.x
    record(tumours[lane], settings[0], samples[lane])


_observe_summary = cuda.jit(device=True)(step_kernels.observe_summary)
_observe_image = cuda.jit(device=True)(step_kernels.observe_image)
_observe_size = cuda.jit(device=True)(step_kernels.observe_size)


@cuda.jit
def observe_summaries(lanes, tumours, counters, state, options, settings, samples, seen):
    """:func:`.step_kernels.observe_summary` of ``lanes``, each by one thread."""
    number = cuda.blockIdx.x
    lane = lanes[number]
    _observe_summary(tumours[lane], counters[lane], state[lane], options[0], settings[0],
                     samples[lane], seen[number])  # fmt: skip


@cuda.jit
def observe_images(lanes, tumours, counters, state, options, settings, seen):
    """:func:`.step_kernels.observe_image` of ``lanes``, each by one thread."""
    number = cuda.blockIdx.x
    lane = lanes[number]
    _observe_image(tumours[lane], counters[lane], state[lane], options[0], settings[0],
                   seen[number])  # fmt: skip


@cuda.jit
def observe_sizes(lanes, tumours, counters, state, options, seeds, episodes, seen):
    """:func:`.step_kernels.observe_size` of ``lanes``, each by one thread."""
    number = cuda.blockIdx.x
    lane = lanes[number]
    _observe_size(tumours[lane], counters[lane], state[lane], options[0], seeds[lane],
                  episodes[lane], seen[number])  # fmt: skip
