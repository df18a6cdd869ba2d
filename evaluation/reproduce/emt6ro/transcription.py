"""The EMT6/Ro automaton step by step as its specification reads: two-dimensional arrays, one site
after another, hours as the unit of time.

Written for reading and apart from the compiled kernels of the model, so that it serves both as an
independent check of them and as the baseline of their speed. Constants are repeated here on
purpose. The rules are section 3 of the specification in its clean variant: the region follows the
tumour every 32 steps, sites are visited once a step, and all births of a step are allowed, in
random order, each seeing those before it.

A tumour is a tuple of arrays over the lattice of 51 x 51 sites:

* ``fields`` ``(3, 51, 51)`` float64: glucose, oxygen, acid [fmol a site];
* ``occupied`` bool; ``phase`` int64, 0 to 4 for G1, S, G2, M, D; ``mode`` int64, 0 to 3;
* ``clock`` float64: time in the cycle [h]; ``ends`` ``(51, 51, 5)``: ends of the phases [h];
* ``damage`` [Gy], ``resting``: time in repair [h], ``repair``: duration of the repair [h].

A kernel file: it imports nothing but numpy, numba and math.
"""

import math

import numpy as np
from numba import get_num_threads, njit

SIDE = 51
STEPS_PER_HOUR = 600
STEP = 1.0 / STEPS_PER_HOUR  # h
STEPS_PER_SLOT = 300
REFRESH = 32

SUBSTEPS, SUBSTEP = 24, 0.25  # s
DIFFUSION = (0.7, 1.3409874655051011, 0.81048692970088532)  # sites^2/s
BATH = (275.0, 14.0, 1.99e-3)  # fmol a site

# By mode: aerobic, anaerobic, aerobic quiescent, anaerobic quiescent [fmol a step and site].
GLUCOSE_USE = (21.6, 54.0, 18.0, 45.0)
OXYGEN_USE = (9.96, 0.0, 8.28, 0.0)
ACID_MADE = (0.0, 3e-3, 0.0, 3e-5)
ACID_STOP, ACID_DEATH = 1.99e-2, 5e-2  # fmol a site

G1, S, G2, M, D = range(5)
G1_MEAN, G1_SD, S_MEAN, S_SD = 6.0, 1.0, 10.0, 2.0  # h
G2_TIME, M_TIME, D_TIME = 2.0, 2.0, 0.1  # h

SURVIVAL = 0.4993  # 1/Gy
REPAIR_DELAY, REPAIR_GROWTH = 3.3414, 0.1492  # h, 1/Gy
RECOVERY = 0.8  # h

ROOT = math.sqrt(2.0)
ORTHOGONAL = ROOT / (4.0 + 4.0 * ROOT)
DIAGONAL = 1.0 / (4.0 + 4.0 * ROOT)
#: Row, column and chance of each neighbour.
NEIGHBOURS = (
    (-1.0, -1.0, DIAGONAL), (-1.0, 0.0, ORTHOGONAL), (-1.0, 1.0, DIAGONAL),
    (0.0, -1.0, ORTHOGONAL), (0.0, 1.0, ORTHOGONAL),
    (1.0, -1.0, DIAGONAL), (1.0, 0.0, ORTHOGONAL), (1.0, 1.0, DIAGONAL),
)  # fmt: skip


def threads() -> int:
    """Threads of parallel kernels; asked here because only kernel files import numba."""
    return int(get_num_threads())


def from_arrays(amounts, phase, mode, clocks):
    """A tumour as described above from the model's arrays.

    Args:
        amounts: ``(3, 51, 51)`` deviations from the bath [fmol a site].
        phase: ``(51, 51)``, 0 vacant, then 1 to 5 for G1 to D.
        mode: ``(51, 51)``, 0 to 3.
        clocks: ``(51, 51, 9)``: clock, five ends, damage [Gy], time in repair, duration of it;
            times in steps of 6 s.
    """
    hours = clocks.astype(np.float64) / STEPS_PER_HOUR
    return (
        amounts.astype(np.float64) + np.array(BATH)[:, None, None],
        phase > 0,
        np.maximum(phase.astype(np.int64) - 1, 0),
        mode.astype(np.int64),
        hours[..., 0].copy(),
        hours[..., 1:6].copy(),
        clocks[..., 6].astype(np.float64),
        hours[..., 7].copy(),
        hours[..., 8].copy(),
    )


@njit(cache=True)
def region(occupied):
    """Square region round the tumour's disc: (first row, first column, height, width, radius).

    A height of 0 means that there is no tumour.
    """
    r1, r2, c1, c2 = SIDE, -1, SIDE, -1
    for r in range(SIDE):
        for c in range(SIDE):
            if occupied[r, c]:
                r1, r2, c1, c2 = min(r1, r), max(r2, r), min(c1, c), max(c2, c)
    if r2 < 0:
        return 0, 0, 0, 0, 0
    row = r1 + (r2 - r1 + 1) // 2
    column = c1 + (c2 - c1 + 1) // 2
    radius = 0
    for r in range(SIDE):
        for c in range(SIDE):
            if occupied[r, c]:
                away = math.sqrt((r - row) ** 2 + (c - column) ** 2)
                radius = max(radius, int(math.ceil(away)))
    top, left = max(row - radius, 0), max(column - radius, 0)
    bottom, right = min(row + radius, SIDE - 1), min(column + radius, SIDE - 1)
    return top, left, bottom - top + 1, right - left + 1, radius


@njit(cache=True)
def outside_bath(height, width, radius):
    """Which sites of the region, with a rim of one site around it, are not held at the bath."""
    free = np.zeros((height + 2, width + 2), np.bool_)
    for i in range(1, height + 1):
        for j in range(1, width + 1):
            down, across = i + 1 - (height + 2) / 2.0, j + 1 - (width + 2) / 2.0
            free[i, j] = math.sqrt(down * down + across * across) < radius
    return free


@njit(cache=True)
def diffuse(fields, top, left, free):
    """One step of diffusion of the three substrates within a region."""
    height, width = free.shape[0] - 2, free.shape[1] - 2
    for x in range(3):
        kappa = DIFFUSION[x] * SUBSTEP * 2.0 * ROOT / (4.0 + 2.0 * ROOT)
        now = np.full((height + 2, width + 2), BATH[x])
        new = np.full((height + 2, width + 2), BATH[x])
        for i in range(1, height + 1):
            for j in range(1, width + 1):
                if free[i, j]:
                    now[i, j] = fields[x, top + i - 1, left + j - 1]
        for sub in range(SUBSTEPS):
            for i in range(1, height + 1):
                for j in range(1, width + 1):
                    # The last sub-step also moves the bath sites of the region.
                    if free[i, j] or sub == SUBSTEPS - 1:
                        sides = now[i - 1, j] + now[i + 1, j] + now[i, j - 1] + now[i, j + 1]
                        corners = (
                            now[i - 1, j - 1]
                            + now[i - 1, j + 1]
                            + now[i + 1, j - 1]
                            + now[i + 1, j + 1]
                        )
                        whole = (4.0 + 2.0 * ROOT) * now[i, j]
                        new[i, j] = now[i, j] + kappa * (sides + corners / ROOT - whole)
            now, new = new, now
        for i in range(1, height + 1):
            for j in range(1, width + 1):
                fields[x, top + i - 1, left + j - 1] = now[i, j]


@njit(cache=True)
def vacant_neighbours(occupied, r, c):
    """Vacant sites among the eight neighbours; what lies off the lattice is not vacant."""
    count = 0
    for i in range(max(r - 1, 0), min(r + 2, SIDE)):
        for j in range(max(c - 1, 0), min(c + 2, SIDE)):
            if (i != r or j != c) and not occupied[i, j]:
                count += 1
    return count


@njit(cache=True)
def metabolic_mode(phase, stopped, cho, ox, gi):
    """Mode of a site with these amounts [fmol]; -1 if its cells cannot live."""
    if not stopped and gi < ACID_STOP:
        if cho >= GLUCOSE_USE[0] and ox >= OXYGEN_USE[0]:
            return 0
        if cho >= GLUCOSE_USE[1]:
            return 1
    if phase in (G1, G2) and gi < ACID_DEATH:
        if cho >= GLUCOSE_USE[2] and ox >= OXYGEN_USE[2]:
            return 2
        if cho >= GLUCOSE_USE[3]:
            return 3
    return -1


@njit(cache=True)
def new_cycle(ends, rng):
    """Draw the phases of a new group into ``ends`` ``(5,)`` [h]."""
    ends[0] = rng.normal(G1_MEAN, G1_SD)
    ends[1] = ends[0] + rng.normal(S_MEAN, S_SD)
    ends[2] = ends[1] + G2_TIME
    ends[3] = ends[2] + M_TIME
    ends[4] = ends[3] + D_TIME


@njit(cache=True)
def repair_time(damage):
    """Duration of the repair of ``damage`` [Gy], in hours."""
    return REPAIR_DELAY * math.exp(REPAIR_GROWTH * damage)


@njit(cache=True)
def live(tumour, dose, rng, candidates):
    """Viability, dose, metabolism, clock and repair of every site, in this order.

    Writes the sites that may divide into ``candidates`` ``(51 * 51, 2)``; returns their number.
    """
    fields, occupied, phase, mode, clock, ends, damage, resting, repair = tumour
    # Sums of steps in hours are not exact; a rounding error must not decide.
    late = 1e-9
    vacant = np.zeros((SIDE, SIDE), np.int64)
    for r in range(SIDE):
        for c in range(SIDE):
            if occupied[r, c]:
                vacant[r, c] = vacant_neighbours(occupied, r, c)
    count = 0
    for r in range(SIDE):
        for c in range(SIDE):
            if not occupied[r, c]:
                continue
            if phase[r, c] == D and clock[r, c] >= ends[r, c, D] - STEP - late:
                occupied[r, c] = False
                continue
            stopped = (
                phase[r, c] == G1
                and clock[r, c] > ends[r, c, G1] - 2.0 * STEP + late
                and vacant[r, c] <= 1
            )
            now = metabolic_mode(
                phase[r, c], stopped, fields[0, r, c], fields[1, r, c], fields[2, r, c]
            )
            if now < 0:
                occupied[r, c] = False
                continue
            mode[r, c] = now
            if dose > 0.0:
                damage[r, c] = damage[r, c] / (1.0 + resting[r, c] / RECOVERY) + dose
                resting[r, c] = 0.0
                repair[r, c] = repair_time(damage[r, c])
            fields[0, r, c] -= GLUCOSE_USE[now]
            fields[1, r, c] -= OXYGEN_USE[now]
            fields[2, r, c] += ACID_MADE[now]
            changed = False
            if now <= 1 and resting[r, c] == 0.0:
                clock[r, c] += STEP
                if phase[r, c] < D and clock[r, c] > ends[r, c, phase[r, c]] + late:
                    phase[r, c] += 1
                    changed = phase[r, c] != D
            if resting[r, c] > 0.0 or (damage[r, c] > 0.0 and changed):
                resting[r, c] += STEP
                if resting[r, c] >= repair[r, c] - late:
                    if rng.random() < 1.0 - math.exp(-SURVIVAL * damage[r, c]):
                        occupied[r, c] = False
                        continue
                    damage[r, c] = resting[r, c] = repair[r, c] = 0.0
            if phase[r, c] == D:
                candidates[count, 0], candidates[count, 1] = r, c
                count += 1
    return count


@njit(cache=True)
def divide(tumour, candidates, count, rng):
    """Let the candidates divide in random order; returns the number of births."""
    _, occupied, phase, mode, clock, ends, damage, resting, repair = tumour
    for last in range(count - 1, 0, -1):
        pick = int(rng.random() * (last + 1))
        for k in range(2):
            candidates[last, k], candidates[pick, k] = candidates[pick, k], candidates[last, k]
    births = 0
    for turn in range(count):
        r, c = candidates[turn, 0], candidates[turn, 1]
        u = rng.random()
        to_r, to_c = r, c
        for down, across, chance in NEIGHBOURS:
            to_r, to_c = r + int(down), c + int(across)
            if u < chance:
                break
            u -= chance
        if not (0 <= to_r < SIDE and 0 <= to_c < SIDE) or occupied[to_r, to_c]:
            continue
        births += 1
        phase[r, c] = G1
        clock[r, c] = 0.0
        occupied[to_r, to_c] = True
        phase[to_r, to_c] = G1
        mode[to_r, to_c] = 0
        clock[to_r, to_c] = 0.0
        new_cycle(ends[to_r, to_c], rng)
        damage[to_r, to_c] = damage[r, c]
        resting[to_r, to_c] = 0.0
        repair[to_r, to_c] = repair_time(damage[r, c]) if damage[r, c] > 0.0 else 0.0
    return births


@njit(cache=True)
def simulate(tumour, doses, steps, rng):
    """Advance a tumour by ``steps`` of 6 s; its arrays change in place.

    Args:
        tumour: See the file's docstring.
        doses: ``(slots,)`` [Gy]; slot i is given in step 300 i, counted from 0.
        steps: Number of steps.
        rng: NumPy generator.

    Returns:
        Occupied sites at the end, and births.
    """
    fields, occupied = tumour[0], tumour[1]
    candidates = np.empty((SIDE * SIDE, 2), np.int64)
    top, left, height, width, radius = region(occupied)
    free = outside_bath(height, width, radius)
    births = 0
    for k in range(steps):
        if k % REFRESH == 0:
            top, left, height, width, radius = region(occupied)
            free = outside_bath(height, width, radius)
        if height == 0:
            break
        dose = 0.0
        if k % STEPS_PER_SLOT == 0 and k // STEPS_PER_SLOT < doses.shape[0]:
            dose = doses[k // STEPS_PER_SLOT]
        diffuse(fields, top, left, free)
        count = live(tumour, dose, rng, candidates)
        births += divide(tumour, candidates, count, rng)
    return int(occupied.sum()), births
