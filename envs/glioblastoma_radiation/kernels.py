"""Compiled physics of the glioblastoma model on a uniform grid, explicit in time.

The density is kept as a share of the carrying capacity, ``w = c/K``, at nodes ``x_j = j dx``::

    w_t = D w_xx + rho w (1 - w) - R w (1 - w)          slab; a sphere adds D (2/x) w_x

A row holds ``nodes`` cells and a padding of zeros up to :func:`row_width`, so that the inner loops
run over whole blocks of 16 cells and compile to vector instructions. Two rows a tumour: each step
reads one and writes the other.

*Active window.* Cells beyond ``hi`` are exactly 0. The front of ``w`` may advance one cell a step;
it does so when the value there exceeds ``TAIL``. The scheme is monotone (see
:func:`largest_time_step`), so what is cut off, at most ``TAIL`` in one cell a step, grows no faster
than ``(1 + rho dt)**n``: over 600 days at rho = 0.03/d the density is low by at most
600 * 5e7 * ``TAIL`` = 3e-20 of K anywhere.

A *patient* is a float64 row in the order of ``PARAMETERS``. Nothing is validated here; ``model.py``
does that. A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import math

import numpy as np
from numba import njit, prange

PARAMETERS = (
    "diffusion",  # D, mm^2/d
    "proliferation",  # rho, 1/d
    "carrying_capacity",  # K, cells/mm^3
    "alpha",  # 1/Gy
    "alpha_beta",  # Gy
)
T1_LEVEL = 0.80  # share of K that contrast-enhanced T1 imaging shows
T2_LEVEL = 0.16  # share of K that T2 imaging shows
DETECTION_RADIUS = 15.0  # T1 radius at diagnosis, mm
DEATH_RADIUS = 35.0  # T1 radius at death, mm
LEFTOVER = 0.1  # Gy; a smaller rest of the total dose ends the therapy and is not given
TAIL = 1e-30

KILL_MAP, KILL_RATE, KILL_LQ = range(3)

# Columns of the outcome of one simulated plan.
(
    DEATH_DAY,
    DIED,
    THERAPY_DAYS,
    VIOLATIONS,
    EXCESS,
    TOTAL_DOSE,
    PEAK_DOSE,
    QUALITY_DAYS,
    BOUNDARY,
) = range(9)
OUTCOMES = 9

# Columns of the record of one day.
T1_RADIUS, T2_RADIUS, FIELD_RADIUS, SAFE_DOSE, GIVEN_DOSE = range(5)
RECORDED = 5

_BLOCK = 16
_EPS = 1e-9


def row_width(nodes):
    """Length of a padded row for ``nodes`` cells."""
    return nodes + 2 * _BLOCK


def largest_time_step(diffusion, proliferation, dx):
    """Largest dt [d] for which the explicit scheme is monotone: 1 / (2 D/dx^2 + rho).

    A larger one lets a cell overshoot K or oscillate; stability alone would allow dx^2/(2 D).
    """
    return 1.0 / (2.0 * diffusion / dx**2 + proliferation)


@njit(cache=True)
def killed_share(dose, alpha, alpha_beta, fractions):
    """R, the share of cells killed by a day's ``dose`` [Gy] in equal fractions (LQ model)."""
    each = dose / fractions
    return -math.expm1(-alpha * dose * (1.0 + each / alpha_beta))


@njit(cache=True, inline="always")
def safe_dose(radius, cap):
    """Largest safe daily dose [Gy] for a treated radius [mm], at most ``cap``.

    Power law through the radiosurgery limits of trial RTOG 90-05, as in the source.
    """
    if radius <= 0.0:
        return cap
    return min(116.0 * radius**-0.685, cap)


@njit(cache=True)
def initial_row(row, nodes, dx):
    """Fill a row with 0.8 exp(-x^2/4), x in mm; returns the window ``hi``."""
    row[:] = 0.0
    hi = 1
    for j in range(nodes):
        x = j * dx
        value = 0.8 * math.exp(-0.25 * x * x)
        if value <= TAIL:
            break
        row[j] = value
        hi = j
    return min(hi, nodes - 2)


@njit(cache=True, inline="always")
def _close(dst, hi, nodes):
    """Outer boundary copy and the window after a step."""
    if hi < nodes - 2:
        if dst[hi + 1] > TAIL:
            hi += 1
        else:
            dst[hi + 1] = 0.0
    if hi == nodes - 2:
        dst[nodes - 1] = dst[nodes - 2]
        dst[nodes] = 0.0
    return hi


@njit(cache=True, inline="always")
def _open(src, lam, gain, mirror):
    """Node 0 after a step: the new node 1, or with the symmetry plane on node 0 (``mirror``).

    It is stored before the sweep: a store just before the next step's loads would stall them.
    """
    a = 1.0 - 2.0 * lam + gain
    if mirror:
        return 2.0 * lam * src[1] + src[0] * (a - gain * src[0])
    return lam * (src[0] + src[2]) + src[1] * (a - gain * src[1])


@njit(cache=True, inline="always")
def _sweep(src, dst, first, last, lam, gain):
    """Untreated update of cells ``first`` to at least ``last``, in whole blocks."""
    size = ((last - first + _BLOCK) // _BLOCK) * _BLOCK
    a = 1.0 - 2.0 * lam + gain
    # Slices from 0 spare the loop numba's test for negative indices, so that it vectorises.
    left = src[first - 1 : first - 1 + size]
    mid = src[first : first + size]
    right = src[first + 1 : first + 1 + size]
    out = dst[first : first + size]
    for j in range(size):
        c = mid[j]
        out[j] = lam * (left[j] + right[j]) + c * (a - gain * c)


@njit(cache=True, inline="always")
def plain_step(src, dst, hi, nodes, lam, gain, mirror):
    """One untreated step in a slab; returns the new window.

    ``lam`` is D dt/dx^2 and ``gain`` rho dt. A monotone step keeps [0, 1] without a clip.
    ``mirror`` puts the symmetry plane on node 0; otherwise node 0 copies node 1, as in the source.
    """
    dst[0] = _open(src, lam, gain, mirror)
    _sweep(src, dst, 1, hi + 1, lam, gain)
    return _close(dst, hi, nodes)


@njit(cache=True, inline="always")
def treated_step(src, dst, hi, nodes, edge, lam, gain, gain_in, mirror):
    """One step with a field: cells up to ``edge`` grow by ``gain_in``, the others by ``gain``."""
    inside = min(max(edge, 0), hi + 1)
    dst[0] = _open(src, lam, gain_in if inside > 0 else gain, mirror)
    if inside > 0:
        _sweep(src, dst, 1, inside, lam, gain_in)
    if inside <= hi:
        _sweep(src, dst, inside + 1, hi + 1, lam, gain)
    if 1.0 - 2.0 * lam + gain_in < 0.0:  # too strong a dose for the step: the source's clip acts
        for j in range(inside + 1):
            dst[j] = min(max(dst[j], 0.0), 1.0)
    return _close(dst, hi, nodes)


@njit(cache=True)
def radial_step(src, dst, hi, nodes, edge, lam, gain, gain_in):
    """One step in a sphere, with or without a field; node 0 copies node 1."""
    for j in range(1, hi + 2):
        c = src[j]
        g = gain_in if j <= edge else gain
        flow = src[j + 1] + src[j - 1] - 2.0 * c + (src[j + 1] - src[j - 1]) / j
        value = c + lam * flow + g * c * (1.0 - c)
        dst[j] = min(max(value, 0.0), 1.0)
    dst[0] = dst[1]
    return _close(dst, hi, nodes)


@njit(cache=True)
def any_step(src, dst, hi, nodes, edge, lam, gain, gain_in, mirror, sphere):
    """One step of either geometry; ``edge`` below 0 means no field."""
    if sphere:
        return radial_step(src, dst, hi, nodes, edge, lam, gain, gain_in)
    if edge >= 0:
        return treated_step(src, dst, hi, nodes, edge, lam, gain, gain_in, mirror)
    return plain_step(src, dst, hi, nodes, lam, gain, mirror)


@njit(cache=True)
def kill_map(row, hi, edge, survival):
    """Instantaneous logistic kill: the odds w/(1 - w) of treated cells fall by ``survival``."""
    for j in range(min(edge, hi) + 1):
        c = row[j]
        row[j] = c * survival / (1.0 - c * (1.0 - survival))


@njit(cache=True)
def outermost(row, guess, hi, level):
    """Largest j with ``row[j] >= level``, -1 if none; ``guess`` is a likely answer."""
    guess = min(guess, hi + 1)
    beyond = 0
    if guess >= 0:
        part = row[guess + 1 : hi + 2]
        for j in range(part.shape[0]):
            beyond += part[j] >= level
    j = guess if guess >= 0 and beyond == 0 else hi + 1
    while j >= 0 and row[j] < level:
        j -= 1
    return j


@njit(cache=True, inline="always")
def radius_of(row, j, level, dx, interpolate):
    """Radius [mm] of the region whose outermost cell is ``j``; -1 if there is none."""
    if j < 0:
        return -1.0
    radius = j * dx
    if interpolate and row[j] > row[j + 1]:
        radius += dx * min((row[j] - level) / (row[j] - row[j + 1]), 1.0)
    return radius


@njit(cache=True)
def crossing_cell(radius, dx):
    """Smallest cell whose grid radius is at least ``radius`` (up to rounding)."""
    return int(math.ceil(radius / dx - _EPS))


@njit(cache=True)
def falls(row, hi):
    """Whether the profile nowhere rises outwards.

    A monotone step in a slab preserves that, except between the last treated cell and the next: the
    same increasing function of three neighbours maps all cells on either side.
    """
    inner = row[0 : hi + 1]
    outer = row[1 : hi + 2]
    rises = 0
    for j in range(hi + 1):
        rises += outer[j] > inner[j]
    return rises == 0


@njit(cache=True, inline="always")
def locate(row, p, hi, level, falling):
    """Outermost cell at or above ``level``, near ``p`` in a ``falling`` profile; -1 if none."""
    if falling:
        while row[p + 1] >= level:
            p += 1
        while p >= 0 and row[p] < level:
            p -= 1
        return p
    return outermost(row, p, hi, level)


@njit(cache=True, inline="always")
def reached(row, j, target, dx, interpolate):
    """Whether a T1 region with outermost cell ``j`` has the radius ``target`` [mm]."""
    return radius_of(row, j, T1_LEVEL, dx, interpolate) >= target * (1.0 - 1e-12)


@njit(cache=True)
def crossing_time(src, dst, hi, j_dst, step, target, dx, interpolate):
    """When, in steps, the T1 radius passed ``target`` during the step that ends at ``step``."""
    if not interpolate:
        return float(step)
    after = radius_of(dst, j_dst, T1_LEVEL, dx, True)
    before = radius_of(src, outermost(src, -1, hi, T1_LEVEL), T1_LEVEL, dx, True)
    if before < 0.0 or before >= target or after <= before:
        return float(step)
    return step - 1.0 + (target - before) / (after - before)


@njit(cache=True)
def run_untreated(rows, side, hi, p, falling, step, last, target, nodes, dx, lam, gain, mirror,
                  sphere, interpolate, per_day, weigh):  # fmt: skip
    """Let the tumour grow until its T1 radius reaches ``target`` [mm] or step ``last``.

    ``p`` is the outermost T1 cell at the start, ``falling`` what :func:`falls` says of the profile.
    Returns (side, hi, p, falling, step, time of crossing in steps or -1, quality days); the latter
    sum 1 - (T1 radius/death radius)^2 over whole days when ``weigh`` is set.
    """
    src, dst = rows[side], rows[1 - side]
    first = int(math.floor(target / dx + _EPS))
    quality = 0.0
    begin = step
    when = -1.0
    while step < last:
        if sphere:
            hi = radial_step(src, dst, hi, nodes, -1, lam, gain, gain)
        else:
            hi = plain_step(src, dst, hi, nodes, lam, gain, mirror)
        step += 1
        p = locate(dst, p, hi, T1_LEVEL, falling)
        if not falling and not sphere:
            falling = falls(dst, hi)
        src, dst = dst, src
        if p >= first and reached(src, p, target, dx, interpolate):
            when = crossing_time(dst, src, hi, p, step, target, dx, interpolate)
            break
        if weigh and step % per_day == 0:
            share = max(radius_of(src, p, T1_LEVEL, dx, interpolate), 0.0) / DEATH_RADIUS
            quality += 1.0 - share * share
    side = side if (step - begin) % 2 == 0 else 1 - side
    return side, hi, p, falling, step, when, quality


@njit(cache=True)
def grow(row, spare, patient, nodes, dx, dt, per_day, max_days, mirror, sphere, interpolate):
    """Silent growth until the T1 radius is at the detection radius at the end of a day.

    ``row`` receives the state; returns (growth days or -1 if later than ``max_days``, window).
    """
    lam = patient[0] * dt / (dx * dx)
    gain = patient[1] * dt
    hi = initial_row(row, nodes, dx)
    spare[:] = 0.0
    src, dst = row, spare
    first = int(math.floor(DETECTION_RADIUS / dx + _EPS))
    for day in range(1, max_days + 1):
        for _ in range(per_day):
            hi = any_step(src, dst, hi, nodes, -1, lam, gain, gain, mirror, sphere)
            src, dst = dst, src
        # An untreated profile falls monotonically, so one cell tells whether to look.
        if src[first] >= T1_LEVEL:
            j = outermost(src, first, hi, T1_LEVEL)
            if reached(src, j, DETECTION_RADIUS, dx, interpolate):
                row[:] = src
                return day, hi
    row[:] = src
    return -1, hi


@njit(cache=True, inline="always")
def treated_day(rows, side, hi, falling, nodes, edge, share, lam, gain, per_day, mirror, sphere,
                kill):  # fmt: skip
    """One day in ``per_day`` steps whose fraction kills ``share`` of the cells up to ``edge``.

    The map acts in the first step of the day, the rate during all of them, the exact
    linear-quadratic map before them. Returns (side, hi, falling).
    """
    if kill == KILL_LQ and edge >= 0:
        kill_map(rows[side], hi, edge, 1.0 - share)
        falling = falling and rows[side, edge] >= rows[side, edge + 1]
    for part in range(per_day):
        inside, reach = gain, edge
        if kill == KILL_RATE:
            inside = gain - share / per_day
        elif kill == KILL_MAP and part == 0:
            inside = gain - share
        else:
            reach = -1
        src, dst = rows[side], rows[1 - side]
        side = 1 - side
        if sphere:
            hi = radial_step(src, dst, hi, nodes, reach, lam, gain, inside)
        elif reach < 0:
            hi = plain_step(src, dst, hi, nodes, lam, gain, mirror)
        else:
            hi = treated_step(src, dst, hi, nodes, reach, lam, gain, inside, mirror)
            if 1.0 - 2.0 * lam + inside < 0.0:
                falling = falls(dst, hi)
            else:
                falling = falling and dst[reach] >= dst[reach + 1]
    return side, hi, falling


@njit(cache=True)
def course(rows, hi, growth_days, doses, patient, rules, grid, weigh, record, density, out):
    """One treatment course from the day of detection: daily ``doses`` [Gy], then growth.

    ``rows`` ``(2, width)``: row 0 is the state at detection. ``rules`` is (total dose [Gy], margin
    [mm], field radius without a T2 region [mm], fractions a day, cap of the safe dose [Gy]);
    ``grid`` is (nodes, dx, dt, steps a day, last day, mirror, sphere, interpolate, kill).
    ``record`` ``(days + 1, 5)`` and ``density`` ``(days + 1, nodes)``, of length 0 if not wanted,
    receive one row a day from the day of detection. ``out`` ``(9,)`` receives the outcome. Returns
    the number of days recorded.
    """
    total, margin, blind, fractions, cap = rules
    nodes, dx, dt, per_day, last_day, mirror, sphere, interpolate, kill = grid
    lam = patient[0] * dt / (dx * dx)
    gain = patient[1] * dt
    recorded = record.shape[0] > 0
    out[:] = 0.0
    therapy = -1.0
    side = 0
    death = -1.0
    last_treated = 0
    share = -1.0
    last_dose = -1.0
    last_field = -1.0
    limit = 0.0
    for k in range(doses.shape[0]):
        if doses[k] > 0.0:
            last_treated = k + 1
    j1 = outermost(rows[0], -1, hi, T1_LEVEL)
    j2 = outermost(rows[0], j1, hi, T2_LEVEL)
    falling = not sphere and falls(rows[0], hi)
    day = growth_days
    while day < last_day and death < 0.0:
        k = day - growth_days
        if k >= last_treated and not recorded:
            break
        src = rows[side]
        t2 = radius_of(src, j2, T2_LEVEL, dx, interpolate)
        field = t2 + margin if t2 >= 0.0 else blind
        dose = doses[k] if k < doses.shape[0] else 0.0
        if field != last_field:
            limit = safe_dose(field, cap)
            last_field = field
        if recorded:
            record[k, T1_RADIUS] = radius_of(src, j1, T1_LEVEL, dx, interpolate)
            record[k, T2_RADIUS] = t2
            record[k, FIELD_RADIUS] = field
            record[k, SAFE_DOSE] = limit
            record[k, GIVEN_DOSE] = dose
        if dose > 0.0:
            if dose != last_dose:
                share = killed_share(dose, patient[3], patient[4], fractions)
                last_dose = dose
            edge = min(int(math.floor(field / dx + _EPS)), nodes - 1)
            out[TOTAL_DOSE] += dose
            out[PEAK_DOSE] = max(out[PEAK_DOSE], dose)
            if dose > limit:
                out[VIOLATIONS] += 1.0
                out[EXCESS] += dose - limit
            side, hi, falling = treated_day(rows, side, hi, falling, nodes, edge, share, lam, gain,
                                            per_day, mirror, sphere, kill)  # fmt: skip
            j1 = locate(rows[side], j1, hi, T1_LEVEL, falling)
            if j1 * dx >= DEATH_RADIUS - dx and reached(rows[side], j1, DEATH_RADIUS, dx,
                                                        interpolate):  # fmt: skip
                death = day + 1.0
            quality = radius_of(rows[side], j1, T1_LEVEL, dx, interpolate)
            out[QUALITY_DAYS] += 1.0 - (max(quality, 0.0) / DEATH_RADIUS) ** 2
        else:
            side, hi, j1, falling, _, when, quality = run_untreated(
                rows, side, hi, j1, falling, day * per_day, (day + 1) * per_day, DEATH_RADIUS,
                nodes, dx, lam, gain, mirror, sphere, interpolate, per_day, weigh)  # fmt: skip
            out[QUALITY_DAYS] += quality
            if when >= 0.0:
                death = when / per_day
        j2 = locate(rows[side], j2, hi, T2_LEVEL, falling)
        day += 1
        if therapy < 0.0 and total - out[TOTAL_DOSE] < LEFTOVER:
            therapy = float(day - growth_days)
        if density.shape[0] > 0:
            for j in range(nodes):
                density[day - growth_days, j] = rows[side, j]
    if death < 0.0 and day < last_day:
        side, hi, j1, falling, step, when, quality = run_untreated(
            rows, side, hi, j1, falling, day * per_day, last_day * per_day, DEATH_RADIUS, nodes, dx,
            lam, gain, mirror, sphere, interpolate, per_day, weigh)  # fmt: skip
        out[QUALITY_DAYS] += quality
        day = (step + per_day - 1) // per_day
        if when >= 0.0:
            death = when / per_day
    if recorded:
        k = day - growth_days
        record[k, T1_RADIUS] = radius_of(rows[side], j1, T1_LEVEL, dx, interpolate)
        record[k, T2_RADIUS] = radius_of(rows[side], j2, T2_LEVEL, dx, interpolate)
    out[DEATH_DAY] = death if death >= 0.0 else float(last_day)
    out[DIED] = 1.0 if death >= 0.0 else 0.0
    out[THERAPY_DAYS] = therapy if therapy >= 0.0 else float(day - growth_days)
    out[BOUNDARY] = rows[side, nodes - 1]
    return day - growth_days


@njit(cache=True)
def _course_of(plan, start, start_hi, growth_days, doses, patients, rules, grid, weigh, out):
    rows = np.zeros((2, start.shape[1]))
    which = np.int64(plan) * (start.shape[0] > 1)
    rows[0] = start[which]
    nothing = np.empty((0, RECORDED))
    unseen = np.empty((0, 1))
    course(rows, start_hi[which], growth_days[which], doses[plan], patients[which], rules, grid,
           weigh, nothing, unseen, out[plan])  # fmt: skip


@njit(cache=True)
def courses(start, start_hi, growth_days, doses, patients, rules, grid, weigh, out):
    """Many plans ``(P, days)`` on one thread; one patient for all of them, or one each."""
    for plan in range(doses.shape[0]):
        _course_of(plan, start, start_hi, growth_days, doses, patients, rules, grid, weigh, out)


@njit(cache=True, parallel=True)
def courses_parallel(start, start_hi, growth_days, doses, patients, rules, grid, weigh, out):
    """The same on all threads."""
    for plan in prange(doses.shape[0]):
        _course_of(plan, start, start_hi, growth_days, doses, patients, rules, grid, weigh, out)


@njit(cache=True)
def grow_all(patients, start, start_hi, growth_days, grid):
    """:func:`grow` for patients ``(P, 5)``; rows and windows of the day of detection."""
    nodes, dx, dt, per_day, last_day, mirror, sphere, interpolate, _ = grid
    spare = np.zeros(start.shape[1])
    for row in range(patients.shape[0]):
        growth_days[row], start_hi[row] = grow(start[row], spare, patients[row], nodes, dx, dt,
                                               per_day, last_day, mirror, sphere,
                                               interpolate)  # fmt: skip
