"""The automaton on an NVIDIA GPU: one block of threads advances one tumour.

Per-site rules, random streams and order of events are those of the CPU, compiled from the same
functions; what stands here is only how the threads of a block share the work:

* Glucose and oxygen of the frame, each twice, lie in shared memory. A thread owns a strip of a
  column of the region and takes it through diffusion and metabolism, so that it waits for the
  others only once in a diffusion sub-step. Of each column only the sites within the disc are
  touched; the bath stays zero.
* What happens to single sites (phases, repair) happens where it is found. Deaths and divisions,
  whose order counts, are collected and carried out by the first thread.

The kernels differ from the CPU's only by fused multiplications and additions, thus by float32
rounding of the fields and of the durations of new cycles; draws are the same integers.

A kernel file for a GPU: it imports nothing but numpy, numba and other kernel files. It is imported
only when a GPU is asked for.
"""

import numpy as np
from numba import config, cuda, float32, int16, int32

from oncogym.envs.emt6ro_fractionation.cell_kernels import (
    AGED,
    KILLED,
    bury,
    divide,
    limits_of,
    live_place,
    slack_of,
    use_of,
)
from oncogym.envs.emt6ro_fractionation.diffusion_kernels import (
    pressed,
    row_sum,
    spread,
    weights,
)
from oncogym.envs.emt6ro_fractionation.frame_kernels import (
    ACID,
    ACID_EVERY,
    ACID_ON,
    ACID_STOP,
    AGE_DEATHS,
    AT_EDGE,
    BIRTHS,
    BURDEN,
    CLOCKS,
    DEATHS,
    EXTERNAL,
    FLOAT0,
    FRAME_ACID,
    FRAME_BEFORE,
    FRAME_END,
    FRAME_FLOATS,
    FRAME_GLUCOSE,
    FRAME_INTS,
    FRAME_MODE,
    FRAME_PHASE,
    FRAME_REPAIR,
    FRAME_REPAIRED,
    FRAME_TIME,
    FRAME_VACANT,
    KAPPA,
    LENGTH,
    MAKE,
    MOMENTUM,
    PAD,
    REPAIR_DEATHS,
    SIDE,
    SITES,
    SITES_NOW,
    STEP,
    SUBSTEPS,
    disc_within,
    in_disc,
    lay_place,
    lift_place,
    on_border,
    row_ends,
    used_places,
    vacant_neighbours,
)
from oncogym.envs.emt6ro_fractionation.kernels import (
    REFRESH,
    acid_followed,
    dose_at,
    must_follow,
    record,
    run_of,
)
from oncogym.envs.emt6ro_fractionation.rules import (
    STEPS_PER_SLOT,
    VACANT,
    by_mode,
    pass_time,
)
from oncogym.envs.emt6ro_fractionation.step_kernels import observe

#: Threads of a block. Any number of at least SIDE does; it decides the speed alone.
THREADS = 128
# Registers of a thread, so that as many blocks run on a multiprocessor as shared memory lets: five
# on one of compute capability 9.0. The simulator has none.
_SIMULATED = config.ENABLE_CUDASIM  # type: ignore[attr-defined]
_OPTIONS = {} if _SIMULATED else {"max_registers": 96}

# Rows of shared memory: glucose, oxygen, and the targets of every second sub-step of each.
_PLACES = (SIDE + 2) ** 2
_POOL = 4 * _PLACES
# Where they begin. Places are unsigned in what a strip does: a signed one might count from the end.
_GLUCOSE_ROW, _OXYGEN_ROW = np.uint64(0), np.uint64(_PLACES)
_SPARE_ROW, _SECOND_SPARE_ROW = np.uint64(2 * _PLACES), np.uint64(3 * _PLACES)
_FIRST = np.uint64(PAD)
_NONE, _ONE = np.uint64(0), np.uint64(1)
_ENDS = (2, SIDE + 2)
# What the threads of a block tell each other.
_DEAD, _WAITING, _OCCUPIED, _MOVED, _RIM, _TOP, _LEFT, _HEIGHT, _WIDTH, _RADIUS = range(10)
_BOARD = 10


@cuda.jit(device=True)
def _strip_of(box):
    """This thread's strip: its first place in the disc, sites there, first place, sites.

    A strip is a part of a column of the region; there are as many as the threads can take, and a
    thread may have none. Places count from the frame's first one.
    """
    thread, threads, stride = cuda.threadIdx.x, cuda.blockDim.x, box[3] + 2
    strips = max(threads // box[3], 1)
    long = (box[2] + strips - 1) // strips
    strip, column = thread // box[3], thread % box[3] + 1
    first = min(strip * long, box[2]) + 1
    end = min(first + long, box[2] + 1)
    inside = first
    while inside < end and not in_disc(box, inside, column):
        inside += 1
    outside = inside
    while outside < end and in_disc(box, outside, column):
        outside += 1
    return (
        np.uint64(inside * stride + column),
        np.uint64(outside - inside),
        np.uint64(first * stride + column),
        np.uint64(end - first),
    )


@cuda.jit(device=True, inline="always")
def _sweep(pool, source, target, at, rows, stride, rest, across, along):
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
            pool[out] = spread(own, upper, centre, lower, rest, across, along)
            out += stride
            upper = centre
            centre = lower
            own = below


@cuda.jit(device=True, inline="always")
def _clear_bath(pool, row, within, disc_rows, whole, rows, stride):
    """Set the bath's part of a thread's strip to zero."""
    at = whole
    for _ in range(rows):
        if at < within or at >= within + disc_rows * stride:
            pool[row + at] = FLOAT0
        at += stride


@cuda.jit(device=True, inline="always")
def _sub_step(pool, number, count, row, spare, within, disc_rows, whole, rows, stride, rest, across,
              along):  # fmt: skip
    """Sub-step ``number`` of ``count`` of the substrate in ``row``, to and fro with ``spare``.

    The last one also updates the bath within the region: the ``rows`` sites from ``whole`` on
    instead of the ``disc_rows`` from ``within`` on.
    """
    if number < count:
        source, target = row, spare
        if number % 2 == 1:
            source, target = spare, row
        last = number == count - 1
        at, long = (whole, rows) if last else (within, disc_rows)
        _sweep(pool, source, target, at, long, stride, rest, across, along)


@cuda.jit(device=True)
def _diffuse(pool, counts, glucose, oxygen, within, disc_rows, whole, rows, stride):
    """One step of diffusion of glucose and oxygen, given the weights of each."""
    for number in range(max(counts[0], counts[1])):
        cuda.syncthreads()
        _sub_step(pool, number, counts[0], _GLUCOSE_ROW, _SPARE_ROW, within, disc_rows, whole,
                  rows, stride, glucose[0], glucose[1], glucose[2])  # fmt: skip
        _sub_step(pool, number, counts[1], _OXYGEN_ROW, _SECOND_SPARE_ROW, within, disc_rows,
                  whole, rows, stride, oxygen[0], oxygen[1], oxygen[2])  # fmt: skip


@cuda.jit(device=True)
def _diffuse_acid(pool, floats, count, acid, within, disc_rows, whole, rows, stride):
    """One step of diffusion of the acid, in the spare rows; returns the largest of the strip."""
    at = within
    for _ in range(disc_rows):
        pool[_SPARE_ROW + at] = floats[FRAME_ACID, _FIRST + at]
        at += stride
    for number in range(count):
        cuda.syncthreads()
        _sub_step(pool, number, count, _SPARE_ROW, _SECOND_SPARE_ROW, within, disc_rows, whole,
                  rows, stride, acid[0], acid[1], acid[2])  # fmt: skip
    top = FLOAT0
    at = whole
    for _ in range(rows):
        amount = pool[_SPARE_ROW + at]
        floats[FRAME_ACID, _FIRST + at] = amount
        top = max(top, amount)
        at += stride
    _clear_bath(pool, _SPARE_ROW, within, disc_rows, whole, rows, stride)
    return top


@cuda.jit(device=True)
def _press_on(pool, floats, row, field, fresh, share, within, disc_rows, whole, rows, stride):
    """As :func:`.diffusion_kernels.press_on`, for one substrate of a thread's strip."""
    at = whole
    for _ in range(rows):
        now = pool[row + at]
        before = now if fresh else floats[FRAME_BEFORE + field, _FIRST + at]
        if at >= within and at < within + disc_rows * stride:
            pool[row + at] = now + pressed(now, before, share)
        floats[FRAME_BEFORE + field, _FIRST + at] = now
        at += stride


@cuda.jit(device=True)
def _live(pool, board, floats, ints, clocks, counters, lists, whole, rows, stride, limits, eaten,
          breathed, made, acid, dose, run, biology, seed, episode, step):  # fmt: skip
    """Metabolism, clock, dose and repair of a thread's strip.

    Deaths and attempts at division are put off: the dead are listed in ``lists[0]``, those that try
    to divide in ``lists[1]`` with their attempts in ``lists[2]``, in any order.
    """
    flat = whole
    for _ in range(rows):
        at = _FIRST + flat
        phase = ints[FRAME_PHASE, at]
        if phase != VACANT:
            now, more, late, healed = pass_time(
                phase, ints[FRAME_VACANT, at], floats[FRAME_TIME, at], floats[FRAME_END, at],
                floats[FRAME_REPAIRED, at], floats[FRAME_REPAIR, at], pool[flat],
                pool[_OXYGEN_ROW + flat], floats[FRAME_ACID, at], limits, np.float32(run),
                slack_of(run), dose > FLOAT0)  # fmt: skip
            pool[flat] -= by_mode(now, eaten[0], eaten[1], eaten[2], eaten[3], FLOAT0)
            pool[_OXYGEN_ROW + flat] -= by_mode(
                now, breathed[0], breathed[1], breathed[2], breathed[3], FLOAT0
            )
            if acid:
                floats[FRAME_ACID, at] += by_mode(now, made[0], made[1], made[2], made[3], FLOAT0)
            ints[FRAME_MODE, at] = now
            floats[FRAME_TIME, at] = late
            floats[FRAME_REPAIRED, at] = healed
            tries = 0
            if more != 0:
                tries = live_place(floats, ints, clocks, at, dose, run, biology, seed, episode,
                                   step)  # fmt: skip
            if tries > 0:
                number = cuda.atomic.add(board, _WAITING, 1)
                lists[1, number] = at
                lists[2, number] = tries
            elif tries < 0:
                lists[0, cuda.atomic.add(board, _DEAD, 1)] = at
                if tries == AGED:
                    cuda.atomic.add(counters, AGE_DEATHS, 1)
                elif tries == KILLED:
                    cuda.atomic.add(counters, REPAIR_DEATHS, 1)
        flat += stride


@cuda.jit(device=True)
def _find_disc(board, ends, laid, box, phase, ints):
    """Write the tumour's disc to the board, from the frame or, before there is one, the lattice."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    rows = columns = SIDE
    top = left = 0
    if laid:
        rows, columns, top, left = box[2] + 2, box[3] + 2, box[0] - 1, box[1] - 1
    for row in range(thread, rows, threads):
        if laid:
            first, last = row_ends(ints[FRAME_PHASE], PAD + row * columns, columns)
        else:
            first, last = row_ends(phase, row * columns, columns)
        ends[0, row] = first
        ends[1, row] = last
    cuda.syncthreads()
    if thread == 0:
        found = disc_within(ends, rows, columns, top, left)
        board[_TOP] = found[0]
        board[_LEFT] = found[1]
        board[_HEIGHT] = found[2]
        board[_WIDTH] = found[3]
        board[_RADIUS] = found[4]
    cuda.syncthreads()


@cuda.jit(device=True)
def _lift(box, pool, fields, before, phase, mode, clocks, floats, ints):
    """Write the frame back into the lattice."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    cuda.syncthreads()
    for at in range(thread, (box[2] + 2) * (box[3] + 2), threads):
        floats[FRAME_GLUCOSE, PAD + at] = pool[at]
        floats[FRAME_GLUCOSE + 1, PAD + at] = pool[_PLACES + at]
        lift_place(PAD + at, fields, before, phase, mode, clocks, floats, ints)
    cuda.syncthreads()


@cuda.jit(device=True)
def _lay(box, pool, fields, before, phase, mode, clocks, floats, ints):
    """Copy the region and its rim from the lattice into the frame."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    for at in range(thread, used_places(box), threads):
        for row in range(FRAME_FLOATS):
            floats[row, at] = FLOAT0
        for row in range(FRAME_INTS):
            ints[row, at] = 0
    cuda.syncthreads()
    stride = box[3] + 2
    places = (box[2] + 2) * stride
    for at in range(thread, places, threads):
        i, j = at // stride, at % stride
        lay_place(box, i, j, fields, before, phase, mode, clocks, floats, ints)
        pool[at] = floats[FRAME_GLUCOSE, PAD + at]
        pool[_PLACES + at] = floats[FRAME_GLUCOSE + 1, PAD + at]
        pool[2 * _PLACES + at] = FLOAT0
        pool[3 * _PLACES + at] = FLOAT0
    cuda.syncthreads()
    for at in range(stride + thread, places - stride, threads):
        ints[FRAME_VACANT, PAD + at] = vacant_neighbours(ints, PAD + at, stride)
    cuda.syncthreads()


@cuda.jit(device=True)
def _advance(pool, board, ends, peak, fields, phase, mode, clocks, counters, biology, settings,
             doses, until, seed, episode, floats, ints, lists, order, before):  # fmt: skip
    """Advance one tumour to model step ``until``, as :func:`.kernels.advance_tumour` does.

    Args:
        pool: Shared float32 ``(4 * places,)``.
        board, ends, peak: Shared int32 ``(_BOARD,)``, int16 ``(2, SIDE + 2)``, float32 ``(1,)``.
        fields, phase, mode, clocks, counters, biology, settings, doses, seed, episode: The tumour.
        until: Step to advance to.
        floats, ints, lists, order, before: Memory of this tumour alone.
    """
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    length, every = int(settings[LENGTH]), int(settings[ACID_EVERY])
    momentum, share = settings[MOMENTUM], np.float32(settings[MOMENTUM])
    external = np.float32(settings[EXTERNAL + ACID])
    counts = (int(settings[SUBSTEPS]), int(settings[SUBSTEPS + 1]))
    acid_count = int(settings[SUBSTEPS + ACID])
    glucose, oxygen = weights(settings[KAPPA]), weights(settings[KAPPA + 1])
    spreading = weights(settings[KAPPA + ACID])
    limits = limits_of(settings)
    (c0, o0), (c1, o1) = use_of(settings, 0), use_of(settings, 1)
    (c2, o2), (c3, o3) = use_of(settings, 2), use_of(settings, 3)
    eaten, breathed = (c0, c1, c2, c3), (o0, o1, o2, o3)
    made = (
        np.float32(settings[MAKE]),
        np.float32(settings[MAKE + 1]),
        np.float32(settings[MAKE + 2]),
        np.float32(settings[MAKE + 3]),
    )
    if thread == 0:
        board[_DEAD] = board[_WAITING] = board[_OCCUPIED] = 0
    cuda.syncthreads()
    some = 0
    for site in range(thread, SITES, threads):
        some += 1 if phase[site] != VACANT else 0
    cuda.atomic.add(board, _OCCUPIED, some)
    followed_acid, burden = counters[ACID_ON], counters[BURDEN]
    step, followed = counters[STEP], counters[STEP]
    cuda.syncthreads()
    occupied = board[_OCCUPIED]
    top, left, height, width, radius = 0, 0, 0, 0, 0
    within = disc_rows = whole = rows = stride = np.uint64(0)
    laid, moved, fresh = False, True, True
    while step < until and occupied > 0:
        if momentum > 0.0 and (fresh or step % STEPS_PER_SLOT == 0):
            fresh = True
            for site in range(thread, SITES, threads):
                for field in range(2):
                    before[field, site] = fields[field, site]
            cuda.syncthreads()
        run = run_of(step, until, length)
        if not laid or must_follow(moved, step, run, followed):
            box = (top, left, height, width, radius)
            _find_disc(board, ends, laid, box, phase, ints)
            new = (board[_TOP], board[_LEFT], board[_HEIGHT], board[_WIDTH], board[_RADIUS])
            if not laid or new != box:
                if laid:
                    _lift(box, pool, fields, before, phase, mode, clocks, floats, ints)
                top, left, height, width, radius = new
                _lay(new, pool, fields, before, phase, mode, clocks, floats, ints)
                laid = True
                stride = np.uint64(width + 2)
                within, disc_rows, whole, rows = _strip_of(new)
            if thread == 0 and counters[AT_EDGE] == 0:
                wide = width + 2
                counters[AT_EDGE] = on_border(ints[FRAME_PHASE], PAD + wide + 1, wide, new)
            moved = False
            followed = step
        dose = dose_at(doses, step)
        acid = followed_acid != 0 or (step // length) % every == 0
        _clear_bath(pool, _GLUCOSE_ROW, within, disc_rows, whole, rows, stride)
        _clear_bath(pool, _OXYGEN_ROW, within, disc_rows, whole, rows, stride)
        _diffuse(pool, counts, glucose, oxygen, within, disc_rows, whole, rows, stride)
        if momentum > 0.0:
            _press_on(pool, floats, _GLUCOSE_ROW, 0, fresh, share, within, disc_rows, whole, rows,
                      stride)  # fmt: skip
            _press_on(pool, floats, _OXYGEN_ROW, 1, fresh, share, within, disc_rows, whole, rows,
                      stride)  # fmt: skip
            fresh = False
        if acid:
            # The spare rows are read until all have done their last sub-step.
            cuda.syncthreads()
            if thread == 0:
                peak[0] = FLOAT0
            most = _diffuse_acid(pool, floats, acid_count, spreading, within, disc_rows, whole,
                                 rows, stride)  # fmt: skip
            if every > 1:
                cuda.atomic.max(peak, 0, most)
                cuda.syncthreads()
                followed_acid = acid_followed(followed_acid, external + peak[0],
                                              settings[ACID_STOP])  # fmt: skip
        _live(pool, board, floats, ints, clocks, counters, lists, whole, rows, stride, limits,
              eaten, breathed, made, acid, dose, run, biology, seed, episode, step)  # fmt: skip
        burden += occupied * run
        cuda.syncthreads()
        dead, dividing = board[_DEAD], board[_WAITING]
        if dead > 0 or dividing > 0:
            if thread == 0:
                bury(floats, ints, clocks, lists[0], dead, width + 2)
                births, rim = divide(floats, ints, clocks, lists[1], lists[2], order, dividing,
                                     width + 2, settings, seed, episode, step)  # fmt: skip
                counters[DEATHS] += dead
                counters[BIRTHS] += births
                board[_OCCUPIED] = occupied + births - dead
                board[_MOVED] = births + dead
                board[_RIM] = 1 if rim else 0
            cuda.syncthreads()
            occupied = board[_OCCUPIED]
            moved = moved or board[_MOVED] > 0
            if board[_RIM] > 0:
                followed = step - 2 * REFRESH
            if thread == 0:
                board[_DEAD] = board[_WAITING] = 0
        step += run
    if laid:
        _lift((top, left, height, width, radius), pool, fields, before, phase, mode, clocks,
              floats, ints)  # fmt: skip
    if thread == 0:
        if counters[AT_EDGE] == 0:
            counters[AT_EDGE] = on_border(phase, 0, SIDE, (0, 0, SIDE, SIDE, 0))
        counters[ACID_ON] = followed_acid
        counters[BURDEN] = burden
        counters[STEP] = max(until, counters[STEP])
        counters[SITES_NOW] = occupied
    cuda.syncthreads()


@cuda.jit(shared_memory_carveout="MaxShared", **_OPTIONS)
def advance(fields, phase, mode, clocks, counters, biology, settings, doses, until, every, history,
            seeds, episodes, floats, ints, lists, order, before):  # fmt: skip
    """Advance every tumour, one a block, to its step ``until``.

    Args:
        fields, phase, mode, clocks: ``(lanes, …)``, see ``frame_kernels.py``; changed in place.
        counters: ``(lanes, COUNTERS)`` int64.
        biology: ``(lanes, BIOLOGY)`` float64.
        settings: ``(SETTINGS,)`` float64.
        doses: ``(lanes, slots)`` Gy.
        until: ``(lanes,)`` int64; a lane that is there already is left as it is.
        every: Slots between two entries of the history; 0 for none.
        history: ``(lanes, entries)`` float64: occupied sites at the start of every so many slots.
        seeds, episodes: ``(lanes,)`` uint64, keys of the random streams.
        floats, ints, lists, order, before: Memory for each lane.
    """
    lane = cuda.blockIdx.x
    pool = cuda.shared.array(_POOL, float32)
    ends = cuda.shared.array(_ENDS, int16)
    board = cuda.shared.array(_BOARD, int32)
    peak = cuda.shared.array(1, float32)
    step = counters[lane, STEP]
    while step < until[lane]:
        stop = until[lane]
        if every > 0:
            stop = min(stop, (step // STEPS_PER_SLOT // every + 1) * every * STEPS_PER_SLOT)
        _advance(pool, board, ends, peak, fields[lane], phase[lane], mode[lane], clocks[lane],
                 counters[lane], biology[lane], settings, doses[lane], stop, seeds[lane],
                 episodes[lane], floats[lane], ints[lane], lists[lane], order[lane],
                 before[lane])  # fmt: skip
        step = stop
        if every > 0 and cuda.threadIdx.x == 0 and step % (every * STEPS_PER_SLOT) == 0:
            history[lane, step // STEPS_PER_SLOT // every] = counters[lane, SITES_NOW]


@cuda.jit
def place(lanes, rows, fields, phase, mode, clocks, to_fields, to_phase, to_mode, to_clocks):
    """Copy tumour ``rows[k]`` into lane ``lanes[k]``, one a block."""
    number = cuda.blockIdx.x
    lane, row = lanes[number], rows[number]
    for site in range(cuda.threadIdx.x, SITES, cuda.blockDim.x):
        for field in range(3):
            to_fields[lane, field, site] = fields[row, field, site]
        to_phase[lane, site] = phase[row, site]
        to_mode[lane, site] = mode[row, site]
        for clock in range(CLOCKS):
            to_clocks[lane, site, clock] = clocks[row, site, clock]


@cuda.jit
def record_lanes(fields, phase, mode, clocks, settings, out):
    """:func:`.kernels.record` of every lane, each by one thread: a block of its own."""
    lane = cuda.blockIdx.x
    record(fields[lane], phase[lane], mode[lane], clocks[lane], settings, out[lane])


@cuda.jit
def observe_lanes(lanes, options, settings, fields, phase, mode, clocks, counters, state, seeds,
                  episodes, rows, out):  # fmt: skip
    """:func:`.step_kernels.observe` of ``lanes``, each by one thread: a block of its own."""
    number = cuda.blockIdx.x
    observe(lanes[number], number, options, settings, fields, phase, mode, clocks, counters, state,
            seeds, episodes, rows, out)  # fmt: skip
