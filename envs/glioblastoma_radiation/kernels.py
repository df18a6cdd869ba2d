"""Compiled physics of the glioblastoma model on a uniform grid, explicit in time.

The density is kept as a share of the carrying capacity, ``w = c/K``, at nodes ``x_j = j dx``::

    w_t = D w_xx + rho w (1 - w) - R w (1 - w)          slab; a sphere adds D (2/x) w_x

A row holds ``nodes`` cells and a padding of zeros up to :func:`row_width`, so that the inner loops
run over whole blocks of 16 cells and compile to vector instructions. Two rows a tumour: each step
reads one and writes the other. Rows are passed as one array ``cells``
and offsets ``a``, ``b`` into it: a view of a row would cost more than a step takes.

*Active window.* Cells beyond ``hi`` are exactly 0. The front of ``w`` may advance one cell a step;
it does so when the value there exceeds ``TAIL``. The scheme is monotone (see
:func:`largest_time_step`), so what is cut off, at most ``TAIL`` in one cell a step, grows no faster
than ``(1 + rho dt)**n``: over 600 days at rho = 0.03/d the density is low by at most
600 * 5e7 * ``TAIL`` = 3e-20 of K anywhere.

Records: ``records.py``; a *tumour* is any record with the fields of ``TUMOUR``. Nothing is
validated here; ``model.py`` does that. A kernel file: it imports nothing but numpy, numba, math,
records and other kernel files.
"""

import math

from oncogym.envs.compiled import compiled
from oncogym.envs.lane_kernels import inlined

T1_LEVEL = 0.80  # share of K that contrast-enhanced T1 imaging shows
T2_LEVEL = 0.16  # share of K that T2 imaging shows
DETECTION_RADIUS = 15.0  # T1 radius at diagnosis, mm
DEATH_RADIUS = 35.0  # T1 radius at death, mm
LEFTOVER = 0.1  # Gy; a smaller rest of the total dose ends the therapy and is not given
TAIL = 1e-30

KILL_MAP, KILL_RATE, KILL_LQ = range(3)

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


@compiled
def killed_share(dose, alpha, alpha_beta, fractions):
    """R, the share of cells killed by a day's ``dose`` [Gy] in equal fractions (LQ model)."""
    each = dose / fractions
    return -math.expm1(-alpha * dose * (1.0 + each / alpha_beta))


@compiled
def safe_dose(radius, cap):
    """Largest safe daily dose [Gy] for a treated radius [mm], at most ``cap``.

    Power law through the radiosurgery limits of trial RTOG 90-05, as in the source.
    """
    if radius <= 0.0:
        return cap
    return min(116.0 * radius**-0.685, cap)


@compiled
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


@compiled(inline="always")
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


@compiled(inline="always")
def _open(cells, a, lam, gain, mirror):
    """Node 0 after a step: the new node 1, or with the symmetry plane on node 0 (``mirror``).

    It is stored before the sweep: a store just before the next step's loads would stall them.
    """
    inner, mid, outer = cells[a], cells[a + 1], cells[a + 2]
    rest = 1.0 - 2.0 * lam + gain
    if mirror:
        return 2.0 * lam * mid + inner * (rest - gain * inner)
    return lam * (inner + outer) + mid * (rest - gain * mid)


@compiled(inline="always")
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


@compiled(inline="always")
def plain_step(cells, a, b, hi, nodes, lam, gain, mirror):
    """One untreated step in a slab from row ``a`` to row ``b``; returns the new window.

    ``lam`` is D dt/dx^2 and ``gain`` rho dt. A monotone step keeps [0, 1] without a clip.
    ``mirror`` puts the symmetry plane on node 0; otherwise node 0 copies node 1, as in the source.
    """
    cells[b] = _open(cells, a, lam, gain, mirror)
    _sweep(cells, a, b, 1, hi + 1, lam, gain)
    return _close(cells, b, hi, nodes)


@compiled
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


@compiled
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


@compiled
def kill_map(cells, a, hi, edge, survival):
    """Instantaneous logistic kill: the odds w/(1 - w) of treated cells fall by ``survival``."""
    for j in range(a, a + min(edge, hi) + 1):
        c = cells[j]
        cells[j] = c * survival / (1.0 - c * (1.0 - survival))


@compiled
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


@compiled(inline="always")
def radius_of(cells, a, j, level, dx, interpolate):
    """Radius [mm] of the region whose outermost cell is ``j``; -1 if there is none."""
    radius = -1.0
    if j >= 0:
        radius = j * dx
        inner, outer = cells[a + j], cells[a + j + 1]
        if interpolate and inner > outer:
            radius += dx * min((inner - level) / (inner - outer), 1.0)
    return radius


@compiled
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


@compiled(inline="always")
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


@compiled
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


@inlined
def day_quality(radius):
    """Weight of a day with this T1 radius [mm]: 1 - (T1 radius/death radius)^2."""
    share = max(radius, 0.0) * (1.0 / DEATH_RADIUS)
    return 1.0 - share * share


@inlined
def field_radius(t2, settings):
    """Radius [mm] of the treated region for a T2 radius, -1 for none (spec. 4)."""
    return t2 + settings.margin if t2 >= 0.0 else settings.blind


@inlined
def row_of(tumour, settings):
    """Offsets of the present row and of the other one."""
    side, width = int(tumour.side), int(settings.width)
    return side * width, (1 - side) * width


@inlined
def rates_of(patient, settings):
    """D dt/dx^2 and rho dt."""
    lam = patient.diffusion * settings.dt / (settings.dx * settings.dx)
    return lam, patient.proliferation * settings.dt


@inlined
def untreated_step(cells, a, b, hi, nodes, lam, gain, mirror, sphere):
    """One step without a dose; returns the new window."""
    if sphere:
        return radial_step(cells, a, b, hi, nodes, -1, lam, gain, gain)
    return plain_step(cells, a, b, hi, nodes, lam, gain, mirror)


@compiled(error_model="numpy")
def detect(cells, tumour, patient, settings, max_days):
    """Silent growth until the T1 radius is at the detection radius at the end of a day (spec. 4).

    Args:
        cells: Two rows of zeros; written.
        tumour: Its ``day`` is the day of detection then, -1 if that is later than ``max_days``.
        patient, settings: Records.
        max_days: Longest growth [d].
    """
    lam, gain = rates_of(patient, settings)
    # Numbers of a record are read anew after each store into the cells: not within the loop.
    nodes, dx, per_day = int(settings.nodes), settings.dx, int(settings.per_day)
    mirror, sphere = settings.mirror > 0.0, settings.sphere > 0.0
    tumour.side, tumour.end, tumour.day = 0.0, -1.0, -1.0
    a, b = row_of(tumour, settings)
    hi = initial_row(cells, a, nodes, dx)
    first = int(math.floor(DETECTION_RADIUS / dx + _EPS))
    goal = DETECTION_RADIUS * (1.0 - 1e-12)
    for day in range(1, int(max_days) + 1):
        for _ in range(per_day):
            hi = untreated_step(cells, a, b, hi, nodes, lam, gain, mirror, sphere)
            a, b = b, a
        # An untreated profile falls monotonically, so one cell tells whether to look.
        if cells[a + first] >= T1_LEVEL:
            j = outermost(cells, a, first, hi, T1_LEVEL)
            if radius_of(cells, a, j, T1_LEVEL, dx, settings.interpolate > 0.0) >= goal:
                tumour.day = day
                break
    tumour.window = hi
    tumour.side = 0.0 if a == 0 else 1.0


@compiled(error_model="numpy")
def let_grow(cells, tumour, patient, settings, until):
    """Growth without a dose to the end of day ``until``, or to death in a step before it.

    The T2 region is not looked after.
    """
    lam, gain = rates_of(patient, settings)
    dx, interpolate = settings.dx, settings.interpolate > 0.0
    nodes, per_day = int(settings.nodes), int(settings.per_day)
    mirror, sphere = settings.mirror > 0.0, settings.sphere > 0.0
    a, b = row_of(tumour, settings)
    hi, p, bound, day = int(tumour.window), int(tumour.edge1), tumour.bound1, int(tumour.day)
    start, last = a, int(until)
    goal = DEATH_RADIUS * (1.0 - 1e-12)
    quality, when = 0.0, -1.0
    while day < last and when < 0.0:
        for part in range(per_day):
            hi = untreated_step(cells, a, b, hi, nodes, lam, gain, mirror, sphere)
            p, bound = follow(cells, a, b, p, bound, hi, gain, T1_LEVEL)
            a, b = b, a
            far = (p + 1) * dx >= goal
            if far and radius_of(cells, a, p, T1_LEVEL, dx, interpolate) >= goal:
                step = day * per_day + part + 1
                when = crossing_time(cells, b, a, hi, p, step, DEATH_RADIUS, dx, interpolate)
                break
        day += 1
        if when < 0.0:
            quality += day_quality(radius_of(cells, a, p, T1_LEVEL, dx, interpolate))
    tumour.side = tumour.side if a == start else 1.0 - tumour.side
    tumour.window, tumour.edge1, tumour.bound1, tumour.day = hi, p, bound, day
    tumour.quality += quality
    if when >= 0.0:
        tumour.end = when / per_day


@inlined
def inner_gain(part, share, gain, settings):
    """Growth within a field in a step of a day whose fraction kills ``share``.

    The map acts in the first step of the day, the rate during all of them.
    """
    if settings.kill == KILL_RATE:
        return gain - share / settings.per_day
    return gain - share if settings.kill == KILL_MAP and part == 0 else gain


@inlined
def irradiate(cells, tumour, patient, settings, dose):
    """One day's steps with a dose [Gy] in the field of the evening before (spec. 1 and 4).

    Returns the offsets of the rows before and after the last step, and its window.
    """
    lam, gain = rates_of(patient, settings)
    nodes = int(settings.nodes)
    a, b = row_of(tumour, settings)
    hi = int(tumour.window)
    edge = int(math.floor(field_radius(tumour.t2, settings) / settings.dx + _EPS))
    edge = min(edge, nodes - 1)
    share = killed_share(dose, patient.alpha, patient.alpha_beta, settings.fractions)
    if settings.kill == KILL_LQ:  # the exact linear-quadratic map acts before the steps
        kill_map(cells, a, hi, edge, 1.0 - share)
    for part in range(int(settings.per_day)):
        inside = inner_gain(part, share, gain, settings)
        if settings.sphere > 0.0:
            hi = radial_step(cells, a, b, hi, nodes, edge, lam, gain, inside)
        elif inside == gain:
            hi = plain_step(cells, a, b, hi, nodes, lam, gain, settings.mirror > 0.0)
        else:
            mirror = settings.mirror > 0.0
            hi = treated_step(cells, a, b, hi, nodes, edge, lam, gain, inside, mirror)
        a, b = b, a
    return b, a, hi


@compiled(error_model="numpy")
def treat_day(cells, tumour, patient, settings, dose):
    """Let one day pass with a dose [Gy]; the T2 region is not looked after."""
    before, a, hi = irradiate(cells, tumour, patient, settings, dose)
    dx, interpolate = settings.dx, settings.interpolate > 0.0
    p, bound = int(tumour.edge1), tumour.bound1
    if settings.per_day == 1.0:
        gain = patient.proliferation * settings.dt
        p, bound = follow(cells, before, a, p, bound, hi, gain, T1_LEVEL)
    else:
        p, bound = outermost(cells, a, p, hi, T1_LEVEL), T1_LEVEL
    tumour.day += 1.0
    tumour.window, tumour.edge1, tumour.bound1 = hi, p, bound
    tumour.side = 0.0 if a == 0 else 1.0
    radius = radius_of(cells, a, p, T1_LEVEL, dx, interpolate)
    if radius < DEATH_RADIUS * (1.0 - 1e-12):
        tumour.quality += day_quality(radius)
    elif settings.per_day == 1.0:
        tumour.end = crossing_time(
            cells, before, a, hi, p, int(tumour.day), DEATH_RADIUS, dx, interpolate
        )
    else:
        tumour.end = tumour.day


@inlined
def follow_t2(cells, tumour, patient, settings):
    """Look after the T2 region at the end of a day."""
    a, before = row_of(tumour, settings)
    hi, edge = int(tumour.window), int(tumour.edge2)
    if settings.per_day == 1.0:
        gain = patient.proliferation * settings.dt
        edge, bound = follow(cells, before, a, edge, tumour.bound2, hi, gain, T2_LEVEL)
        tumour.edge2, tumour.bound2 = edge, bound
    else:
        tumour.edge2 = outermost(cells, a, edge, hi, T2_LEVEL)


@inlined
def find_regions(cells, tumour, settings):
    """Look for both regions where nothing is known of them."""
    a, _ = row_of(tumour, settings)
    hi = int(tumour.window)
    edge = outermost(cells, a, -1, hi, T1_LEVEL)
    tumour.edge1 = edge
    tumour.edge2 = outermost(cells, a, edge, hi, T2_LEVEL)
    tumour.bound1, tumour.bound2 = T1_LEVEL, T2_LEVEL


@inlined
def read_radii(cells, tumour, settings):
    """Radii of the regions (spec. 3)."""
    a, _ = row_of(tumour, settings)
    dx, interpolate = settings.dx, settings.interpolate > 0.0
    tumour.t1 = radius_of(cells, a, int(tumour.edge1), T1_LEVEL, dx, interpolate)
    tumour.t2 = radius_of(cells, a, int(tumour.edge2), T2_LEVEL, dx, interpolate)
