"""Docetaxel in three compartments, the marrow of Friberg's model, and a tumour: steps in time.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.

*Drug.* The central concentration of a mammillary model that is dosed into the centre is a sum of
three modes, each of which decays on its own: no step of time enters. *Marrow and tumour* follow by
Runge-Kutta steps of fourth order that see the concentration at both ends and in the middle. Steps
are short while the drug is, and grow to a quarter of a day. The proliferating pool is kept as its
logarithm, which no dose makes negative.
"""

import math

import numpy as np

from oncogym.envs.compiled import compiled

# Columns of what moves in a lane.
Z1, Z2, Z3, LOG_POOL, FIRST, SECOND, THIRD, COUNT, LOG_CELLS = range(9)
STATE = 9
# Columns of the constants of a lane.
L1, L2, L3, A1, A2, A3, BASELINE, RATE, FEEDBACK, EMAX, EC50, GROWTH, KILL, CAPACITY = range(14)
CONSTANTS = 14
# What an interval adds up.
BELOW_HALF, BELOW_ONE, NADIR, RUN, LONGEST = range(5)
SUMS = 5

#: Hours of an infusion.
INFUSION = 1.0
#: Counts under which neutropenia begins, of grade 1, and is of grade 2, 3 and 4 [10^9/L].
LOWER_LIMIT, GRADE2, GRADE3, GRADE4 = 2.0, 1.5, 1.0, 0.5
#: Largest feedback, and smallest count that it heeds [10^9/L]: keep any course finite.
LARGEST_FEEDBACK, SMALLEST_COUNT = 20.0, 1e-30
#: Molar mass of docetaxel [mg/umol].
MOLAR_MASS = 0.808

# Steps of an infusion; the first step after it [d], its growth, and the longest.
_INFUSION_STEPS = 10
_SHORTEST, _STRETCH, _LONGEST = 1.0 / 384.0, 1.4, 0.25


@compiled(error_model="numpy")
def find_modes(k10, k12, k21, k13, k31, volume, out):
    """Rates [1/d] and shares [1/L] of the three modes of the central concentration.

    Args:
        k10, k12, k21, k13, k31: Rates between the compartments [1/d].
        volume: Of the centre [L].
        out: ``(6,)``: three rates, the largest first, and what a milligram adds to each mode.
    """
    c2 = k10 + k12 + k13 + k21 + k31
    c1 = k10 * k21 + k13 * k21 + k10 * k31 + k21 * k31 + k31 * k12
    c0 = k10 * k21 * k31
    # All roots of s^3 - c2 s^2 + c1 s - c0 are real: the compartments do not swing.
    third = c2 / 3.0
    p = max(third * third - c1 / 3.0, 0.0)
    q = third**3 - 0.5 * third * c1 + 0.5 * c0
    root = math.sqrt(p)
    turn = math.acos(min(max(q / max(p * root, 1e-300), -1.0), 1.0)) / 3.0
    for mode in range(3):
        s = third + 2.0 * root * math.cos(turn - 2.0 * math.pi * mode / 3.0)
        # The smallest of them is a difference of large numbers.
        for _ in range(4):
            slope = (3.0 * s - 2.0 * c2) * s + c1
            if slope != 0.0:
                s -= (((s - c2) * s + c1) * s - c0) / slope
        out[mode] = s
    for mode in range(3):
        s, a, b = out[mode], out[(mode + 1) % 3], out[(mode + 2) % 3]
        out[3 + mode] = (k21 - s) * (k31 - s) / ((a - s) * (b - s)) / volume


@compiled(error_model="numpy")
def _slope_of_pool(concentration, count, c):
    molar = max(concentration, 0.0) / MOLAR_MASS
    effect = c[EMAX] * molar / (c[EC50] + molar)
    ratio = c[BASELINE] / max(count, SMALLEST_COUNT)
    feedback = min(ratio ** c[FEEDBACK], LARGEST_FEEDBACK)
    return c[RATE] * ((1.0 - effect) * feedback - 1.0)


@compiled(error_model="numpy")
def _slope_of_cells(concentration, log_cells, c):
    free = 1.0 - math.exp(log_cells) / c[CAPACITY]
    return c[GROWTH] * free - c[KILL] * max(concentration, 0.0)


@compiled(error_model="numpy")
def take_step(y, c, rate, h):
    """One step of ``h`` days while ``rate`` mg/d flow in; ``y`` ``(9,)`` is moved on."""
    start = y[Z1] + y[Z2] + y[Z3]
    middle, end = 0.0, 0.0
    for mode in range(3):
        level = rate * c[A1 + mode] / c[L1 + mode]
        half = math.exp(-0.5 * c[L1 + mode] * h)
        middle += level + (y[Z1 + mode] - level) * half
        y[Z1 + mode] = level + (y[Z1 + mode] - level) * half * half
        end += y[Z1 + mode]
    k = c[RATE]
    p, f, s, t, n, m = y[LOG_POOL], y[FIRST], y[SECOND], y[THIRD], y[COUNT], y[LOG_CELLS]
    dp = df = ds = dt = dn = dm = 0.0
    ap, af, as_, at, an, am = p, f, s, t, n, m
    for stage in range(4):
        seen = start if stage == 0 else (end if stage == 3 else middle)
        kp = _slope_of_pool(seen, an, c)
        kf = k * (math.exp(ap) - af)
        ks = k * (af - as_)
        kt = k * (as_ - at)
        kn = k * (at - an)
        km = _slope_of_cells(seen, am, c)
        weight = (1.0 if stage == 0 or stage == 3 else 2.0) / 6.0
        dp += weight * kp
        df += weight * kf
        ds += weight * ks
        dt += weight * kt
        dn += weight * kn
        dm += weight * km
        ahead = 0.5 * h if stage < 2 else h
        ap, af, as_, at = p + ahead * kp, f + ahead * kf, s + ahead * ks, t + ahead * kt
        an, am = n + ahead * kn, m + ahead * km
    y[LOG_POOL] = p + h * dp
    y[FIRST], y[SECOND], y[THIRD] = f + h * df, s + h * ds, t + h * dt
    y[COUNT], y[LOG_CELLS] = n + h * dn, m + h * dm


@compiled(error_model="numpy")
def _share_below(first, last, level):
    """Share of a step on which a count that goes straight from first to last is below a level."""
    if first < level and last < level:
        return 1.0
    if first >= level and last >= level:
        return 0.0
    share = (level - first) / (last - first)
    return share if first < level else 1.0 - share


@compiled(error_model="numpy")
def _lowest(n0, m0, n1, m1, h):
    """Least count within a step, by the cubic through its ends and slopes."""
    low = min(n0, n1)
    if m0 < 0.0 < m1:
        s = m0 / (m0 - m1)
        r = 1.0 - s
        inside = (
            (1.0 + 2.0 * s) * r * r * n0
            + s * r * r * h * m0
            + s * s * (3.0 - 2.0 * s) * n1
            - s * s * r * h * m1
        )
        low = min(low, inside)
    return low


@compiled(error_model="numpy")
def hold_interval(y, c, dose, days, sums, record):
    """Infuse a dose and go on to the end of the interval.

    Args:
        y: State ``(9,)``, moved on.
        c: Constants ``(14,)``.
        dose: Milligrams, infused in the first hour.
        days: Length of the interval, longer than the infusion.
        sums: ``(5,)``: days below the counts of grade 4 and 3 and the least count, from here on;
            days of grade 4 in a row up to now, and the longest such run.
        record: Rows ``(steps, 4)`` of day, concentration [mg/L], count and ln cells after each
            step, as many as there is room for.

    Returns:
        The number of steps.
    """
    time, steps = 0.0, 0
    infusion = INFUSION / 24.0
    h = infusion / _INFUSION_STEPS if dose > 0.0 else _LONGEST
    rate = dose / infusion
    while time < days - 1e-12:
        flows = dose > 0.0 and steps < _INFUSION_STEPS
        if dose > 0.0 and steps >= _INFUSION_STEPS:
            h = min(_SHORTEST * _STRETCH ** (steps - _INFUSION_STEPS), _LONGEST)
        step = min(h, days - time)
        n0, m0 = y[COUNT], c[RATE] * (y[THIRD] - y[COUNT])
        take_step(y, c, rate if flows else 0.0, step)
        n1, m1 = y[COUNT], c[RATE] * (y[THIRD] - y[COUNT])
        time += step
        low = _share_below(n0, n1, GRADE4) * step
        sums[BELOW_HALF] += low
        sums[BELOW_ONE] += _share_below(n0, n1, GRADE3) * step
        sums[NADIR] = min(sums[NADIR], _lowest(n0, m0, n1, m1, step))
        sums[RUN] = sums[RUN] + low if n0 < GRADE4 or n1 < GRADE4 else 0.0
        sums[LONGEST] = max(sums[LONGEST], sums[RUN])
        if n1 >= GRADE4:
            sums[RUN] = 0.0
        if steps < record.shape[0]:
            record[steps, 0] = time
            record[steps, 1] = y[Z1] + y[Z2] + y[Z3]
            record[steps, 2] = n1
            record[steps, 3] = y[LOG_CELLS]
        steps += 1
    return steps


@compiled(error_model="numpy")
def prepare(patient, rates, capacity, c):
    """Constants ``(14,)`` of a patient row, in the order of ``NeutrophilPatient.FIELDS``.

    Args:
        patient: Row ``(11,)``.
        rates: k12, k21, k13 and k31 [1/h].
        capacity: Cells that the tumour can reach.
        c: Where to.
    """
    k10 = 24.0 * patient[5] / patient[6]
    find_modes(
        k10, 24.0 * rates[0], 24.0 * rates[1], 24.0 * rates[2], 24.0 * rates[3], patient[6], c
    )
    c[BASELINE] = patient[0]
    c[RATE] = 4.0 * 24.0 / patient[1]
    c[FEEDBACK], c[EMAX], c[EC50] = patient[2], patient[3], patient[4]
    c[GROWTH], c[KILL], c[CAPACITY] = patient[8], patient[9], capacity


@compiled(error_model="numpy")
def start(patient, y):
    """State ``(9,)`` of a patient row before treatment: no drug, the marrow at rest."""
    y[Z1], y[Z2], y[Z3] = 0.0, 0.0, 0.0
    y[LOG_POOL] = math.log(patient[0])
    y[FIRST], y[SECOND], y[THIRD], y[COUNT] = patient[0], patient[0], patient[0], patient[0]
    y[LOG_CELLS] = math.log(patient[10])


@compiled(error_model="numpy")
def run_course(patient, rates, capacity, doses, days, sums, record):
    """Treat one patient from the start; the number of rows of ``record`` that were written.

    Args:
        patient: Row ``(11,)``.
        rates, capacity: As in :func:`prepare`.
        doses: Milligrams of each interval ``(k,)``.
        days: Length of the intervals.
        sums, record: As in :func:`hold_interval`; days count from the start.
    """
    y, c = np.empty(STATE), np.empty(CONSTANTS)
    prepare(patient, rates, capacity, c)
    start(patient, y)
    written = 0
    for number in range(doses.shape[0]):
        steps = hold_interval(y, c, doses[number], days, sums, record[written:])
        for row in range(written, min(written + steps, record.shape[0])):
            record[row, 0] += number * days
        written = min(written + steps, record.shape[0])
    return written
