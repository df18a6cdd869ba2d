"""Compiled physics of the glioblastoma model on a uniform grid, explicit in time.

The density is kept as a share of the carrying capacity, ``w = c/K``, at nodes ``x_j = j dx``::

    w_t = D w_xx + rho w (1 - w) - R w (1 - w)          slab; a sphere adds D (2/x) w_x

A row holds ``nodes`` cells and a padding of zeros up to :func:`row_width`, so that the inner loops
run over whole blocks of 16 cells and compile to vector instructions. Two rows a tumour: each step
reads one and writes the other. Rows are passed as a flat array ``cells`` and offsets ``a``, ``b``
into it, see :mod:`oncogym.envs.unowned`.

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

from oncogym.envs.unowned import unowned

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
_LOOK = 8
_EPS = 1e-9


def row_width(nodes):
    """Length of a padded row for ``nodes`` cells."""
    return nodes + 2 * _BLOCK


def largest_time_step(diffusion, proliferation, dx):
    """Largest dt [d] for which the explicit scheme is monotone: 1 / (2 D/dx^2 + rho).

    A larger one lets a cell overshoot K or oscillate; stability alone would allow dx^2/(2 D).

    Args:
        diffusion: D [mm^2/d], > 0.
        proliferation: rho [1/d], > 0.
        dx: Cell size [mm].
    """
    return 1.0 / (2.0 * diffusion / dx**2 + proliferation)


@njit(cache=True)
def killed_share(dose, alpha, alpha_beta, fractions):
    """R, the share of cells killed by a day's ``dose`` [Gy] in equal fractions (LQ model)."""
    each = dose / fractions
    return -math.expm1(-alpha * dose * (1.0 + each / alpha_beta))


@njit(cache=True)
def safe_dose(radius, cap):
    """Largest safe daily dose [Gy] for a treated radius [mm], at most ``cap``.

    Power law through the radiosurgery limits of trial RTOG 90-05, as in the source.
    """
    if radius <= 0.0:
        return cap
    return min(116.0 * radius**-0.685, cap)


@njit(cache=True)
def initial_row(cells, a, nodes, dx):
    """Fill the row at ``a`` with 0.8 exp(-x^2/4), x in mm; returns the window ``hi``."""
    hi = 1
    for j in range(nodes):
        x = j * dx
        value = 0.8 * math.exp(-0.25 * x * x)
        if value <= TAIL:
            break
        cells[a + j] = value
        hi = j
    return min(hi, nodes - 2)


@njit(cache=True, inline="always")
def _close(cells, b, hi, nodes):
    """Outer boundary copy and the window after a step into the row at ``b``."""
    if hi < nodes - 2:
        if cells[b + hi + 1] > TAIL:
            hi += 1
        else:
            cells[b + hi + 1] = 0.0
    if hi == nodes - 2:
        cells[b + nodes - 1] = cells[b + nodes - 2]
        cells[b + nodes] = 0.0
    return hi


@njit(cache=True, inline="always")
def _open(cells, a, lam, gain, mirror):
    """Node 0 after a step: the new node 1, or with the symmetry plane on node 0 (``mirror``).

    It is stored before the sweep: a store just before the next step's loads would stall them.
    """
    inner, mid, outer = cells[a], cells[a + 1], cells[a + 2]
    rest = 1.0 - 2.0 * lam + gain
    if mirror:
        return 2.0 * lam * mid + inner * (rest - gain * inner)
    return lam * (inner + outer) + mid * (rest - gain * mid)


@njit(cache=True, inline="always")
def _sweep(cells, a, b, first, last, lam, gain):
    """Untreated update of cells ``first`` to at least ``last``, in whole blocks."""
    size = ((last - first + _BLOCK) // _BLOCK) * _BLOCK
    rest = 1.0 - 2.0 * lam + gain
    # Slices from 0 spare the loop numba's test for negative indices, so that it vectorises.
    at = a + first
    left = cells[at - 1 : at - 1 + size]
    mid = cells[at : at + size]
    right = cells[at + 1 : at + 1 + size]
    out = cells[b + first : b + first + size]
    for j in range(size):
        c = mid[j]
        out[j] = lam * (left[j] + right[j]) + c * (rest - gain * c)


@njit(cache=True, inline="always")
def plain_step(cells, a, b, hi, nodes, lam, gain, mirror):
    """One untreated step in a slab from row ``a`` to row ``b``; returns the new window.

    ``lam`` is D dt/dx^2 and ``gain`` rho dt. A monotone step keeps [0, 1] without a clip.
    ``mirror`` puts the symmetry plane on node 0; otherwise node 0 copies node 1, as in the source.
    """
    cells[b] = _open(cells, a, lam, gain, mirror)
    _sweep(cells, a, b, 1, hi + 1, lam, gain)
    return _close(cells, b, hi, nodes)


@njit(cache=True)
def treated_step(cells, a, b, hi, nodes, edge, lam, gain, gain_in, mirror):
    """One step with a field: cells up to ``edge`` grow by ``gain_in``, the others by ``gain``."""
    inside = min(max(edge, 0), hi + 1)
    cells[b] = _open(cells, a, lam, gain_in if inside > 0 else gain, mirror)
    if inside > 0:
        _sweep(cells, a, b, 1, inside, lam, gain_in)
    if inside <= hi:
        _sweep(cells, a, b, inside + 1, hi + 1, lam, gain)
    if 1.0 - 2.0 * lam + gain_in < 0.0:  # too strong a dose for the step: the source's clip acts
        for j in range(b, b + inside + 1):
            cells[j] = min(max(cells[j], 0.0), 1.0)
    return _close(cells, b, hi, nodes)


@njit(cache=True)
def radial_step(cells, a, b, hi, nodes, edge, lam, gain, gain_in):
    """One step in a sphere, with or without a field; node 0 copies node 1."""
    for j in range(1, hi + 2):
        c = cells[a + j]
        inner, outer = cells[a + j - 1], cells[a + j + 1]
        g = gain_in if j <= edge else gain
        flow = outer + inner - 2.0 * c + (outer - inner) / j
        value = c + lam * flow + g * c * (1.0 - c)
        cells[b + j] = min(max(value, 0.0), 1.0)
    cells[b] = cells[b + 1]
    return _close(cells, b, hi, nodes)


@njit(cache=True)
def kill_map(cells, a, hi, edge, survival):
    """Instantaneous logistic kill: the odds w/(1 - w) of treated cells fall by ``survival``."""
    for j in range(a, a + min(edge, hi) + 1):
        c = cells[j]
        cells[j] = c * survival / (1.0 - c * (1.0 - survival))


@njit(cache=True)
def outermost(cells, a, guess, hi, level):
    """Largest j with ``cells[a + j] >= level``, -1 if none; ``guess`` is a likely answer."""
    guess = min(guess, hi + 1)
    beyond = 0
    if guess >= 0:
        part = cells[a + guess + 1 : a + hi + 2]
        for j in range(part.shape[0]):
            beyond += part[j] >= level
    j = guess if guess >= 0 and beyond == 0 else hi + 1
    while j >= 0 and cells[a + j] < level:
        j -= 1
    return j


@njit(cache=True, inline="always")
def radius_of(cells, a, j, level, dx, interpolate):
    """Radius [mm] of the region whose outermost cell is ``j``; -1 if there is none."""
    radius = -1.0
    if j >= 0:
        radius = j * dx
        inner, outer = cells[a + j], cells[a + j + 1]
        if interpolate and inner > outer:
            radius += dx * min((inner - level) / (inner - outer), 1.0)
    return radius


@njit(cache=True)
def _ceiling(cells, a, start, hi, level):
    """A bound on the row from ``start`` on: its value there if none is higher, else ``level``."""
    if start > hi + 1:
        return 0.0
    top = cells[a + start]
    part = cells[a + start : a + hi + 2]
    above = 0
    for j in range(part.shape[0]):
        above += part[j] > top
    return top if above == 0 else level


@njit(cache=True, inline="always")
def follow(cells, a, b, p, bound, hi, gain, level):
    """Outermost cell at or above ``level`` after one step from row ``a`` to row ``b``.

    ``p`` is that cell of ``a``, -1 for none, and ``bound`` an upper bound on the cells of ``a``
    beyond ``p + _LOOK``; a bound at the level stands for "unknown". A monotone step, with or
    without a dose, cannot lift the cells beyond over f(highest cell from ``p + _LOOK`` on),
    f(u) = u + gain u (1 - u), so they are not looked at while that is below the level. Returns
    (p, bound) of ``b``.
    """
    if bound < level:
        bound = max(bound, cells[a + p + _LOOK])
        bound += gain * bound * (1.0 - bound) + 1e-15
    if bound < level:
        q = p + _LOOK
        while q >= 0 and cells[b + q] < level:
            q -= 1
        for j in range(q + _LOOK + 1, p + _LOOK + 1):
            bound = max(bound, cells[b + j])
    else:
        q = outermost(cells, b, p, hi, level)
        bound = _ceiling(cells, b, q + _LOOK + 1, hi, level)
    return q, bound


@njit(cache=True)
def crossing_time(cells, a, b, hi, j, step, target, dx, interpolate):
    """When, in steps, the T1 radius passed ``target`` in the step from ``a`` to ``b`` at ``step``.

    ``j`` is the outermost T1 cell of ``b``.
    """
    if not interpolate:
        return float(step)
    after = radius_of(cells, b, j, T1_LEVEL, dx, True)
    before = radius_of(cells, a, outermost(cells, a, -1, hi, T1_LEVEL), T1_LEVEL, dx, True)
    if before < 0.0 or before >= target or after <= before:
        return float(step)
    return step - 1.0 + (target - before) / (after - before)


@njit(cache=True)
def run_untreated(cells, a, b, hi, p, bound, step, last, target, nodes, dx, lam, gain, mirror,
                  sphere, interpolate, per_day, weigh):  # fmt: skip
    """Let the tumour grow until its T1 radius reaches ``target`` [mm] or step ``last``.

    The state is the row at ``a``, with outermost T1 cell ``p`` and ``bound`` as in :func:`follow`.
    Returns (row of the new state, other row, hi, p, bound, step, time of crossing in steps or -1,
    quality days); the latter sum 1 - (T1 radius/death radius)^2 over whole days when ``weigh`` is
    set.
    """
    cells = unowned(cells)
    first = int(math.floor(target / dx + _EPS))
    goal = target * (1.0 - 1e-12)
    quality = 0.0
    when = -1.0
    while step < last:
        if sphere:
            hi = radial_step(cells, a, b, hi, nodes, -1, lam, gain, gain)
        else:
            hi = plain_step(cells, a, b, hi, nodes, lam, gain, mirror)
        step += 1
        p, bound = follow(cells, a, b, p, bound, hi, gain, T1_LEVEL)
        a, b = b, a
        if p >= first and radius_of(cells, a, p, T1_LEVEL, dx, interpolate) >= goal:
            when = crossing_time(cells, b, a, hi, p, step, target, dx, interpolate)
            break
        if weigh and step % per_day == 0:
            radius = radius_of(cells, a, p, T1_LEVEL, dx, interpolate)
            quality += day_quality(radius)
    return a, b, hi, p, bound, step, when, quality


@njit(cache=True, inline="always")
def day_quality(radius):
    """Weight of a day with this T1 radius [mm]: 1 - (T1 radius/death radius)^2."""
    share = max(radius, 0.0) * (1.0 / DEATH_RADIUS)
    return 1.0 - share * share


@njit(cache=True)
def grow(cells, a, b, patient, nodes, dx, dt, per_day, max_days, mirror, sphere, interpolate):
    """Silent growth until the T1 radius is at the detection radius at the end of a day.

    Rows ``a`` and ``b`` are zero at first. Returns (growth days or -1 if later than ``max_days``,
    window, row of the state).
    """
    lam = patient[0] * dt / (dx * dx)
    gain = patient[1] * dt
    cells = unowned(cells)
    hi = initial_row(cells, a, nodes, dx)
    first = int(math.floor(DETECTION_RADIUS / dx + _EPS))
    goal = DETECTION_RADIUS * (1.0 - 1e-12)
    for day in range(1, max_days + 1):
        for _ in range(per_day):
            if sphere:
                hi = radial_step(cells, a, b, hi, nodes, -1, lam, gain, gain)
            else:
                hi = plain_step(cells, a, b, hi, nodes, lam, gain, mirror)
            a, b = b, a
        # An untreated profile falls monotonically, so one cell tells whether to look.
        if cells[a + first] >= T1_LEVEL:
            j = outermost(cells, a, first, hi, T1_LEVEL)
            if radius_of(cells, a, j, T1_LEVEL, dx, interpolate) >= goal:
                return day, hi, a
    return -1, hi, a


@njit(cache=True)
def treated_day(cells, a, b, hi, nodes, edge, share, lam, gain, per_day, mirror, sphere,
                kill):  # fmt: skip
    """One day in ``per_day`` steps whose fraction kills ``share`` of the cells up to ``edge``.

    The map acts in the first step of the day, the rate during all of them, the exact
    linear-quadratic map before them. Returns (row of the new state, other row, hi).
    """
    if kill == KILL_LQ:
        kill_map(cells, a, hi, edge, 1.0 - share)
    for part in range(per_day):
        inside = gain
        if kill == KILL_RATE:
            inside = gain - share / per_day
        elif kill == KILL_MAP and part == 0:
            inside = gain - share
        if sphere:
            hi = radial_step(cells, a, b, hi, nodes, edge, lam, gain, inside)
        elif inside == gain:
            hi = plain_step(cells, a, b, hi, nodes, lam, gain, mirror)
        else:
            hi = treated_step(cells, a, b, hi, nodes, edge, lam, gain, inside, mirror)
        a, b = b, a
    return a, b, hi


@njit(cache=True)
def course(cells, start, which, hi, growth_days, doses, plan, patients, rules, grid, weigh, record,
           density, out):  # fmt: skip
    """One treatment course from the day of detection: daily doses [Gy], then growth.

    ``cells`` is room for two rows, ``start[which]`` the state at detection of the patient
    ``patients[which]``, ``doses[plan]`` the plan, and ``out[plan]`` ``(9,)`` receives the outcome.
    ``rules`` is (total dose [Gy], margin [mm], field radius without a T2 region [mm], fractions a
    day, cap of the safe dose [Gy]); ``grid`` is (nodes, dx, dt, steps a day, last day, mirror,
    sphere, interpolate, kill). ``record`` ``(days + 1, 5)`` and ``density`` ``(days + 1, nodes)``,
    of length 0 if not wanted, receive one row a day from the day of detection. Returns the number
    of days recorded.
    """
    total, margin, blind, fractions, cap = rules
    nodes, dx, dt, per_day, last_day, mirror, sphere, interpolate, kill = grid
    lam = patients[which, 0] * dt / (dx * dx)
    gain = patients[which, 1] * dt
    alpha, alpha_beta = patients[which, 3], patients[which, 4]
    cells = unowned(cells)
    a, b = 0, start.shape[1]
    for j in range(b):
        cells[j] = start[which, j]
        cells[b + j] = 0.0
    recorded = record.shape[0] > 0
    given = peak = violations = excess = quality = 0.0
    therapy = -1.0
    death = -1.0
    last_treated = 0
    share = last_dose = last_field = -1.0
    limit = 0.0
    for k in range(doses.shape[1]):
        if doses[plan, k] > 0.0:
            last_treated = k + 1
    j1 = outermost(cells, a, -1, hi, T1_LEVEL)
    j2 = outermost(cells, a, j1, hi, T2_LEVEL)
    b1, b2 = T1_LEVEL, T2_LEVEL
    day = growth_days
    while day < last_day and death < 0.0:
        k = day - growth_days
        if k >= last_treated and not recorded:
            break
        t2 = radius_of(cells, a, j2, T2_LEVEL, dx, interpolate)
        field = t2 + margin if t2 >= 0.0 else blind
        dose = doses[plan, k] if k < doses.shape[1] else 0.0
        if field != last_field:
            limit = safe_dose(field, cap)
            last_field = field
        if recorded:
            record[k, T1_RADIUS] = radius_of(cells, a, j1, T1_LEVEL, dx, interpolate)
            record[k, T2_RADIUS] = t2
            record[k, FIELD_RADIUS] = field
            record[k, SAFE_DOSE] = limit
            record[k, GIVEN_DOSE] = dose
        if dose > 0.0:
            if dose != last_dose:
                share = killed_share(dose, alpha, alpha_beta, fractions)
                last_dose = dose
            edge = min(int(math.floor(field / dx + _EPS)), nodes - 1)
            given += dose
            peak = max(peak, dose)
            if dose > limit:
                violations += 1.0
                excess += dose - limit
            a, b, hi = treated_day(cells, a, b, hi, nodes, edge, share, lam, gain, per_day, mirror,
                                   sphere, kill)  # fmt: skip
            if per_day == 1:
                j1, b1 = follow(cells, b, a, j1, b1, hi, gain, T1_LEVEL)
                j2, b2 = follow(cells, b, a, j2, b2, hi, gain, T2_LEVEL)
            else:
                j1, b1 = outermost(cells, a, j1, hi, T1_LEVEL), T1_LEVEL
                j2 = outermost(cells, a, j2, hi, T2_LEVEL)
            t1 = radius_of(cells, a, j1, T1_LEVEL, dx, interpolate)
            if t1 >= DEATH_RADIUS * (1.0 - 1e-12):
                death = day + 1.0
            else:
                quality += day_quality(t1)
        else:
            a, b, hi, j1, b1, _, when, more = run_untreated(
                cells, a, b, hi, j1, b1, day * per_day, (day + 1) * per_day, DEATH_RADIUS,
                nodes, dx, lam, gain, mirror, sphere, interpolate, per_day, weigh)  # fmt: skip
            quality += more
            if when >= 0.0:
                death = when / per_day
            j2, b2 = outermost(cells, a, j2, hi, T2_LEVEL), T2_LEVEL
        day += 1
        if therapy < 0.0 and total - given < LEFTOVER:
            therapy = float(day - growth_days)
        if density.shape[0] > 0:
            for j in range(nodes):
                density[day - growth_days, j] = cells[a + j]
    if death < 0.0 and day < last_day:
        a, b, hi, j1, b1, step, when, more = run_untreated(
            cells, a, b, hi, j1, b1, day * per_day, last_day * per_day, DEATH_RADIUS, nodes,
            dx, lam, gain, mirror, sphere, interpolate, per_day, weigh)  # fmt: skip
        quality += more
        day = (step + per_day - 1) // per_day
        if when >= 0.0:
            death = when / per_day
    if recorded:
        k = day - growth_days
        record[k, T1_RADIUS] = radius_of(cells, a, j1, T1_LEVEL, dx, interpolate)
        record[k, T2_RADIUS] = radius_of(cells, a, j2, T2_LEVEL, dx, interpolate)
    out[plan, DEATH_DAY] = death if death >= 0.0 else float(last_day)
    out[plan, DIED] = 1.0 if death >= 0.0 else 0.0
    out[plan, THERAPY_DAYS] = therapy if therapy >= 0.0 else float(day - growth_days)
    out[plan, VIOLATIONS] = violations
    out[plan, EXCESS] = excess
    out[plan, TOTAL_DOSE] = given
    out[plan, PEAK_DOSE] = peak
    out[plan, QUALITY_DAYS] = quality
    out[plan, BOUNDARY] = cells[a + nodes - 1]
    return day - growth_days


@njit(cache=True)
def courses(start, start_hi, growth_days, doses, patients, rules, grid, weigh, out):
    """Many plans ``(P, days)`` on one thread; one patient for all of them, or one each."""
    record = np.empty((0, RECORDED))
    density = np.empty((0, 1))
    several = start.shape[0] > 1
    cells = np.empty(2 * start.shape[1])
    for plan in range(doses.shape[0]):
        which = plan if several else 0
        course(cells, start, which, start_hi[which], growth_days[which], doses, plan, patients,
               rules, grid, weigh, record, density, out)  # fmt: skip


@njit(cache=True, parallel=True)
def courses_parallel(start, start_hi, growth_days, doses, patients, rules, grid, weigh, out):
    """The same on all threads."""
    record = np.empty((0, RECORDED))
    density = np.empty((0, 1))
    several = start.shape[0] > 1
    for number in prange(doses.shape[0]):
        plan = np.int64(number)
        which = plan if several else 0
        cells = np.empty(2 * start.shape[1])
        course(cells, start, which, start_hi[which], growth_days[which], doses, plan, patients,
               rules, grid, weigh, record, density, out)  # fmt: skip


@njit(cache=True)
def grow_all(patients, start, start_hi, growth_days, grid):
    """:func:`grow` for patients ``(P, 5)``; rows and windows of the day of detection."""
    nodes, dx, dt, per_day, last_day, mirror, sphere, interpolate, _ = grid
    width = start.shape[1]
    cells = np.empty(2 * width)
    for row in range(patients.shape[0]):
        cells[:] = 0.0
        growth_days[row], start_hi[row], a = grow(cells, 0, width, patients[row], nodes, dx, dt,
                                                  per_day, last_day, mirror, sphere,
                                                  interpolate)  # fmt: skip
        start[row] = cells[a : a + width]
