"""Compiled accurate solver of the glioblastoma model: Strang splitting, exact in both parts.

Half a step of the exact logistic reaction, a step of exact diffusion, half a step of reaction; the
half steps of neighbouring steps merge. Cells are centred at ``x_j = (j + 1/2) dx``. Diffusion on
the line is the convolution with the heat kernel, which sampled at the cells is exact for resolved
profiles when ``D dt >= dx^2 / 2`` (aliasing below 3e-9 a step). No flux at x = 0 is an even
reflection; in a sphere ``x w`` diffuses as on the line with an odd reflection. A fraction of dose
acts at once between two steps, or as a rate over the day. The cell on the field's edge is treated
by the share of it that the field covers, so that outcomes vary smoothly with the field.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import math

import numpy as np
from numba import njit, prange

from oncogym.envs.glioblastoma_radiation.kernels import (
    BOUNDARY,
    DEATH_DAY,
    DEATH_RADIUS,
    DETECTION_RADIUS,
    DIED,
    EXCESS,
    FIELD_RADIUS,
    GIVEN_DOSE,
    KILL_LQ,
    KILL_RATE,
    LEFTOVER,
    PEAK_DOSE,
    QUALITY_DAYS,
    RECORDED,
    SAFE_DOSE,
    T1_LEVEL,
    T1_RADIUS,
    T2_LEVEL,
    T2_RADIUS,
    TAIL,
    THERAPY_DAYS,
    TOTAL_DOSE,
    VIOLATIONS,
    killed_share,
    outermost,
    safe_dose,
)


def heat_kernel(diffusion, dt, dx):
    """One half of the normalised kernel, from its centre outwards, cut below 1e-18.

    Args:
        diffusion: D [mm^2/d].
        dt: Time step [d].
        dx: Cell size [mm].
    """
    spread = diffusion * dt / dx**2
    reach = math.ceil(math.sqrt(4.0 * spread * 18.0 * math.log(10.0)))
    taps = np.exp(-(np.arange(reach + 1) ** 2) / (4.0 * spread))
    return taps / (taps[0] + 2.0 * taps[1:].sum())


@njit(cache=True)
def _react(row, hi, factor, factor_in, edge, covered):
    """Logistic growth by ``factor`` (``factor_in`` before cell ``edge``, a mixture in it)."""
    whole = min(max(edge, 0), hi + 1)
    g = factor_in - 1.0
    part = row[0:whole]
    for j in range(part.shape[0]):
        part[j] = part[j] * factor_in / (1.0 + part[j] * g)
    f = factor - 1.0
    for j in range(whole, hi + 1):
        c = row[j]
        out = c * factor / (1.0 + c * f)
        if j == edge:
            out += covered * (c * factor_in / (1.0 + c * g) - out)
        row[j] = out


@njit(cache=True)
def kill_by_map(row, hi, share, exact, edge, covered):
    """One fraction as a map: w - R w (1 - w), or the odds of w times 1 - R (``exact``)."""
    survival = 1.0 - share
    for j in range(min(edge, hi) + 1):
        c = row[j]
        after = c * survival / (1.0 - c * share) if exact else c - share * c * (1.0 - c)
        row[j] = c + (after - c if j < edge else covered * (after - c))


@njit(cache=True)
def _diffuse(row, hi, taps, dx, sphere, buffer, total):
    """Convolve with the heat kernel; returns the new window."""
    reach = taps.shape[0] - 1
    cells = row.shape[0]
    new = min(hi + reach, cells - 1)
    size = new + 1
    sign = 1.0
    if sphere:
        sign = -1.0
        for j in range(size):
            row[j] *= (j + 0.5) * dx
    for m in range(reach):
        buffer[reach - 1 - m] = sign * row[m]
    for j in range(size):
        buffer[reach + j] = row[j]
    for j in range(reach):
        buffer[reach + size + j] = 0.0
    out = total[0:size]
    mid = buffer[reach : reach + size]
    for j in range(size):
        out[j] = taps[0] * mid[j]
    for m in range(1, reach + 1):
        tap = taps[m]
        left = buffer[reach - m : reach - m + size]
        right = buffer[reach + m : reach + m + size]
        for j in range(size):
            out[j] += tap * (left[j] + right[j])
    for j in range(size):
        row[j] = out[j]
    if sphere:
        for j in range(size):
            row[j] /= (j + 0.5) * dx
    while new > 1 and row[new] <= TAIL:
        row[new] = 0.0
        new -= 1
    return new


@njit(cache=True)
def _grown(value, factor):
    return value * factor / (1.0 + value * (factor - 1.0))


@njit(cache=True)
def region_radius(row, j, level, factor, dx):
    """Interpolated radius [mm] of a region once every cell has grown by ``factor``; -1 if none."""
    if j < 0:
        return -1.0
    inner = _grown(row[j], factor)
    outer = _grown(row[j + 1], factor) if j + 1 < row.shape[0] else inner
    share = (inner - level) / (inner - outer) if inner > outer else 0.0
    return (j + 0.5 + min(max(share, 0.0), 1.0)) * dx


@njit(cache=True)
def run(row, hi, p, time, steps, per_day, target, taps, dx, dt, sphere, half, half_in, edge,
        covered, buffer, total):  # fmt: skip
    """Advance a complete state by ``steps`` steps, or until the T1 radius passes ``target`` [mm].

    ``half`` is exp(rho dt/2), ``half_in`` the same inside the field. Returns (window, outermost T1
    cell, time at the end, time of crossing or -1, quality days of the whole days).
    """
    p = outermost(row, 0, p, hi - 1, T1_LEVEL)
    radius = region_radius(row, p, T1_LEVEL, 1.0, dx)
    _react(row, hi, half, half_in, edge, covered)
    # The level that half a step of growth turns into the T1 level. T1 lies inside any field.
    inner = half_in if edge > 0 else half
    before_half = T1_LEVEL / (inner + T1_LEVEL * (1.0 - inner))
    quality = 0.0
    for step in range(steps):
        hi = _diffuse(row, hi, taps, dx, sphere, buffer, total)
        p = outermost(row, 0, p, hi - 1, before_half)
        time += dt
        last = radius
        radius = region_radius(row, p, T1_LEVEL, inner, dx)
        if radius >= target:
            _react(row, hi, half, half_in, edge, covered)
            when = time
            if -1.0 < last < target:
                when = time - dt + dt * (target - last) / (radius - last)
            return hi, p, time, when, quality
        if (step + 1) % per_day == 0:
            quality += 1.0 - (max(radius, 0.0) / DEATH_RADIUS) ** 2
        if step + 1 < steps:
            _react(row, hi, half * half, half_in * half_in, edge, covered)
    _react(row, hi, half, half_in, edge, covered)
    return hi, p, time, -1.0, quality


@njit(cache=True)
def grow_split(row, patient, dx, dt, per_day, max_days, taps, sphere):
    """Growth to detection, then to the end of that day.

    ``row`` receives the state; returns (interpolated time of detection or -1 if it is later than
    ``max_days``, whole days grown, window).
    """
    cells = row.shape[0]
    buffer = np.zeros(cells + 2 * taps.shape[0])
    total = np.zeros(cells)
    row[:] = 0.0
    hi = 1
    for j in range(cells):
        x = (j + 0.5) * dx
        value = 0.8 * math.exp(-0.25 * x * x)
        if value <= TAIL:
            break
        row[j] = value
        hi = j
    half = math.exp(0.5 * patient[1] * dt)
    steps = max_days * per_day
    hi, p, time, when, _ = run(row, hi, -1, 0.0, steps, steps, DETECTION_RADIUS, taps, dx, dt,
                               sphere, half, half, 0, 0.0, buffer, total)  # fmt: skip
    done = int(round(time / dt))
    rest = (-done) % per_day
    if rest > 0:
        hi, _, _, _, _ = run(row, hi, p, time, rest, rest, math.inf, taps, dx, dt, sphere, half,
                             half, 0, 0.0, buffer, total)  # fmt: skip
    return when, (done + rest) // per_day, hi


@njit(cache=True)
def course_split(row, hi, growth_days, doses, patient, rules, grid, taps, record, density, out):
    """One treatment course in the accurate solver, from the state ``row`` on a whole day.

    ``grid`` is (dx, dt, steps a day, last day, sphere, kill); the rest as in ``kernels.course``.
    """
    budget, margin, blind, fractions, cap = rules
    dx, dt, per_day, last_day, sphere, kill = grid
    cells = row.shape[0]
    buffer = np.zeros(cells + 2 * taps.shape[0])
    total = np.zeros(cells)
    half = math.exp(0.5 * patient[1] * dt)
    recorded = record.shape[0] > 0
    out[:] = 0.0
    therapy = -1.0
    last_treated = 0
    for k in range(doses.shape[0]):
        if doses[k] > 0.0:
            last_treated = k + 1
    p1 = outermost(row, 0, -1, hi - 1, T1_LEVEL)
    p2 = outermost(row, 0, p1, hi - 1, T2_LEVEL)
    days = last_day - growth_days
    time = float(growth_days)
    death = -1.0
    day = 0
    while day < days and death < 0.0:
        treated = day < last_treated
        if treated or recorded:
            p2 = outermost(row, 0, p2, hi - 1, T2_LEVEL)
        t2 = region_radius(row, p2, T2_LEVEL, 1.0, dx)
        field = t2 + margin if t2 >= 0.0 else blind
        dose = doses[day] if treated else 0.0
        limit = safe_dose(field, cap) if treated or recorded else 0.0
        if recorded:
            record[day, T1_RADIUS] = region_radius(row, p1, T1_LEVEL, 1.0, dx)
            record[day, T2_RADIUS] = t2
            record[day, FIELD_RADIUS] = field
            record[day, SAFE_DOSE] = limit
            record[day, GIVEN_DOSE] = dose
        edge = 0
        covered = 0.0
        half_in = half
        if dose > 0.0:
            share = killed_share(dose, patient[3], patient[4], fractions)
            edge = int(math.floor(field / dx))
            covered = field / dx - edge
            out[TOTAL_DOSE] += dose
            out[PEAK_DOSE] = max(out[PEAK_DOSE], dose)
            if dose > limit:
                out[VIOLATIONS] += 1.0
                out[EXCESS] += dose - limit
            if kill == KILL_RATE:
                half_in = math.exp(0.5 * (patient[1] - share) * dt)
            else:
                kill_by_map(row, hi, share, kill == KILL_LQ, edge, covered)
                edge = 0
        steps = per_day
        if not treated and not recorded:
            steps = per_day * (days - day)
            day = days - 1
        hi, p1, time, when, quality = run(row, hi, p1, time, steps, per_day, DEATH_RADIUS, taps,
                                          dx, dt, sphere, half, half_in, edge, covered, buffer,
                                          total)  # fmt: skip
        out[QUALITY_DAYS] += quality
        day += 1
        if when >= 0.0:
            death = when
        if therapy < 0.0 and budget - out[TOTAL_DOSE] < LEFTOVER:
            therapy = float(day)
        if density.shape[0] > 0:
            for j in range(cells):
                density[day, j] = row[j]
    if recorded:
        p2 = outermost(row, 0, p2, hi - 1, T2_LEVEL)
        record[day, T1_RADIUS] = region_radius(row, p1, T1_LEVEL, 1.0, dx)
        record[day, T2_RADIUS] = region_radius(row, p2, T2_LEVEL, 1.0, dx)
    out[DEATH_DAY] = death if death >= 0.0 else float(last_day)
    out[DIED] = 1.0 if death >= 0.0 else 0.0
    out[THERAPY_DAYS] = therapy if therapy >= 0.0 else out[DEATH_DAY] - growth_days
    out[BOUNDARY] = row[cells - 1]
    return day


@njit(cache=True)
def _split_of(plan, states, hi, growth_days, doses, patients, rules, grid, taps, out):
    which = np.int64(plan) * (states.shape[0] > 1)
    row = states[which].copy()
    nothing = np.empty((0, RECORDED))
    unseen = np.empty((0, 1))
    course_split(row, hi[which], growth_days[which], doses[plan], patients[which], rules, grid,
                 taps[which], nothing, unseen, out[plan])  # fmt: skip


@njit(cache=True)
def courses_split(states, hi, growth_days, doses, patients, rules, grid, taps, out):
    """Many plans ``(P, days)`` on one thread; ``taps`` has one row a patient, padded with zeros."""
    for plan in range(doses.shape[0]):
        _split_of(plan, states, hi, growth_days, doses, patients, rules, grid, taps, out)


@njit(cache=True, parallel=True)
def courses_split_parallel(states, hi, growth_days, doses, patients, rules, grid, taps, out):
    """The same on all threads."""
    for plan in prange(doses.shape[0]):
        _split_of(plan, states, hi, growth_days, doses, patients, rules, grid, taps, out)


@njit(cache=True)
def grow_split_all(patients, states, detection, growth_days, hi, grid, taps):
    """:func:`grow_split` for patients ``(P, 5)``."""
    dx, dt, per_day, last_day, sphere, _ = grid
    for row in range(patients.shape[0]):
        detection[row], growth_days[row], hi[row] = grow_split(
            states[row], patients[row], dx, dt, per_day, last_day, taps[row], sphere
        )
