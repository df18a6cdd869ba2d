"""Compiled accurate solver of the glioblastoma model: Strang splitting, exact in both parts.

Half a step of the exact logistic reaction, a step of exact diffusion, half a step of reaction; the
half steps of neighbouring steps merge. Cells are centred at ``x_j = (j + 1/2) dx``. Diffusion on
the line is the convolution with the heat kernel, which sampled at the cells is exact for resolved
profiles when ``D dt >= dx^2 / 2`` (aliasing below 3e-9 a step). No flux at x = 0 is an even
reflection; in a sphere ``x w`` diffuses as on the line with an odd reflection. A fraction of dose
acts at once between two steps, or as a rate over the day. The cell on the field's edge is treated
by the share of it that the field covers, so that outcomes vary smoothly with the field.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files.
"""

import math

import numpy as np

from oncogym.envs.compiled import compiled
from oncogym.envs.glioblastoma_radiation.kernels import (
    DEATH_RADIUS,
    DETECTION_RADIUS,
    KILL_LQ,
    KILL_RATE,
    T1_LEVEL,
    T2_LEVEL,
    TAIL,
    field_radius,
    killed_share,
    outermost,
)
from oncogym.envs.glioblastoma_radiation.records import Growth
from oncogym.envs.lane_kernels import inlined


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


@compiled
def _react(row, hi, growth):
    """Logistic growth, in the cell on the field's edge as a mixture."""
    factor, factor_in, edge = growth.outside, growth.inside, growth.edge
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
            out += growth.covered * (c * factor_in / (1.0 + c * g) - out)
        row[j] = out


@compiled
def kill_by_map(row, hi, share, exact, edge, covered):
    """One fraction as a map: w - R w (1 - w), or the odds of w times 1 - R (``exact``)."""
    survival = 1.0 - share
    for j in range(min(edge, hi) + 1):
        c = row[j]
        after = c * survival / (1.0 - c * share) if exact else c - share * c * (1.0 - c)
        row[j] = c + (after - c if j < edge else covered * (after - c))


@compiled
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


@compiled
def _grown(value, factor):
    return value * factor / (1.0 + value * (factor - 1.0))


@compiled
def region_radius(row, j, level, factor, dx):
    """Interpolated radius [mm] of a region once every cell has grown by ``factor``; -1 if none."""
    if j < 0:
        return -1.0
    inner = _grown(row[j], factor)
    outer = _grown(row[j + 1], factor) if j + 1 < row.shape[0] else inner
    share = (inner - level) / (inner - outer) if inner > outer else 0.0
    return (j + 0.5 + min(max(share, 0.0), 1.0)) * dx


@compiled(error_model="numpy")
def _run(row, tumour, growth, taps, settings, steps, target):
    """Advance a complete state by ``steps`` steps, or until the T1 radius passes ``target`` [mm].

    ``growth`` is that of half a step. The tumour's ``end`` is set where the radius passed.
    """
    dx, dt, sphere, per_day = settings.dx, settings.dt, settings.sphere > 0.0, int(settings.per_day)
    buffer, total = np.empty(row.shape[0] + 2 * taps.shape[0]), np.empty(row.shape[0])
    hi, time = int(tumour.window), tumour.day
    p = outermost(row, 0, int(tumour.edge1), hi - 1, T1_LEVEL)
    radius = region_radius(row, p, T1_LEVEL, 1.0, dx)
    _react(row, hi, growth)
    # The level that half a step of growth turns into the T1 level. T1 lies inside any field.
    inner = growth.inside if growth.edge > 0 else growth.outside
    before_half = T1_LEVEL / (inner + T1_LEVEL * (1.0 - inner))
    whole = Growth(
        growth.outside * growth.outside, growth.inside * growth.inside, growth.edge, growth.covered
    )
    quality = 0.0
    for step in range(steps):
        hi = _diffuse(row, hi, taps, dx, sphere, buffer, total)
        p = outermost(row, 0, p, hi - 1, before_half)
        time += dt
        last = radius
        radius = region_radius(row, p, T1_LEVEL, inner, dx)
        if radius >= target:
            tumour.end = time
            if -1.0 < last < target:
                tumour.end = time - dt + dt * (target - last) / (radius - last)
            break
        if (step + 1) % per_day == 0:
            quality += 1.0 - (max(radius, 0.0) / DEATH_RADIUS) ** 2
        if step + 1 < steps:
            _react(row, hi, whole)
    _react(row, hi, growth)
    tumour.window, tumour.edge1, tumour.day = hi, p, time
    tumour.quality += quality


@inlined
def grow_split(row, tumour, taps, patient, settings, max_days):
    """Growth to detection, then to the end of that day.

    Args:
        row: Cells; written.
        tumour: A ``TUMOUR``: its ``end`` is the time of detection then, -1 if that is later than
            ``max_days``, and its ``day`` the day after it.
        taps: Of :func:`heat_kernel`.
        patient, settings: Records.
        max_days: Longest growth [d].
    """
    row[:] = 0.0
    hi = 1
    for j in range(row.shape[0]):
        x = (j + 0.5) * settings.dx
        value = 0.8 * math.exp(-0.25 * x * x)
        if value <= TAIL:
            break
        row[j] = value
        hi = j
    tumour.window, tumour.edge1, tumour.day, tumour.end = hi, -1.0, 0.0, -1.0
    half = math.exp(0.5 * patient.proliferation * settings.dt)
    growth = Growth(half, half, 0, 0.0)
    per_day = int(settings.per_day)
    _run(row, tumour, growth, taps, settings, int(max_days) * per_day, DETECTION_RADIUS)
    done = int(round(tumour.day / settings.dt))
    rest = (-done) % per_day
    if rest > 0:
        _run(row, tumour, growth, taps, settings, rest, math.inf)
    tumour.day = (done + rest) // per_day


@inlined
def _irradiate(row, tumour, patient, settings, dose):
    """A dose as a map of the cells, or as growth over the day; returns that of half a step."""
    half = math.exp(0.5 * patient.proliferation * settings.dt)
    if dose <= 0.0:
        return Growth(half, half, 0, 0.0)
    share = killed_share(dose, patient.alpha, patient.alpha_beta, settings.fractions)
    field = field_radius(tumour.t2, settings)
    edge = int(math.floor(field / settings.dx))
    covered = field / settings.dx - edge
    if settings.kill == KILL_RATE:
        inside = math.exp(0.5 * (patient.proliferation - share) * settings.dt)
        return Growth(half, inside, edge, covered)
    kill_by_map(row, int(tumour.window), share, settings.kill == KILL_LQ, edge, covered)
    return Growth(half, half, 0, 0.0)


@compiled(error_model="numpy")
def pass_days_split(row, tumour, taps, patient, settings, dose, days):
    """Let days pass, or fewer if the patient dies, with a dose [Gy] on the first of them."""
    growth = _irradiate(row, tumour, patient, settings, dose)
    steps = int(days) * int(settings.per_day)
    _run(row, tumour, growth, taps, settings, steps, DEATH_RADIUS)


@inlined
def read_radii_split(row, tumour, settings):
    """Radii of the regions, which are looked for around where they were."""
    hi = int(tumour.window)
    edge1 = outermost(row, 0, int(tumour.edge1), hi - 1, T1_LEVEL)
    edge2 = outermost(row, 0, int(tumour.edge2), hi - 1, T2_LEVEL)
    tumour.edge1, tumour.edge2 = edge1, edge2
    tumour.t1 = region_radius(row, edge1, T1_LEVEL, 1.0, settings.dx)
    tumour.t2 = region_radius(row, edge2, T2_LEVEL, 1.0, settings.dx)


@compiled
def density_at(row, dx, x):
    """Density as a share of K at ``x`` [mm], linear between the centres of cells."""
    at = min(max(x / dx - 0.5, 0.0), row.shape[0] - 1.0)
    j = min(int(at), row.shape[0] - 2)
    return row[j] + (at - j) * (row[j + 1] - row[j])
