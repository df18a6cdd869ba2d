"""Docetaxel in three compartments, the marrow of Friberg's model, and a tumour: steps in time.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files.

*Drug.* The central concentration of a mammillary model that is dosed into the centre is a sum of
three modes, each of which decays on its own: no step of time enters. *Marrow and tumour* follow by
Runge-Kutta steps of fourth order that see the concentration at both ends and in the middle. Steps
are short while the drug is, and grow to a quarter of a day. The proliferating pool is kept as its
logarithm, which no dose makes negative.
"""

import math

from oncogym.envs.chemo_neutrophils.records import (
    CONSTANTS,
    COURSE,
    MODES,
    PATIENT,
    PROBLEM,
    SAMPLE,
)
from oncogym.envs.lane_kernels import ROW, WHOLE, Shared, inlined, over_lanes, record_at

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


@inlined
def find_modes(k10, k12, k21, k13, k31, volume, rates, shares):
    """Rates [1/d] and shares [1/L] of the three modes of the central concentration.

    Args:
        k10, k12, k21, k13, k31: Rates between the compartments [1/d].
        volume: Of the centre [L].
        rates: ``(3,)``, written, the largest first.
        shares: What a milligram adds to each mode ``(3,)``, written.
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
    for mode in range(MODES):
        s = third + 2.0 * root * math.cos(turn - 2.0 * math.pi * mode / 3.0)
        # The smallest of them is a difference of large numbers.
        for _ in range(4):
            slope = (3.0 * s - 2.0 * c2) * s + c1
            if slope != 0.0:
                s -= (((s - c2) * s + c1) * s - c0) / slope
        rates[mode] = s
    for mode in range(MODES):
        s, a, b = rates[mode], rates[(mode + 1) % MODES], rates[(mode + 2) % MODES]
        shares[mode] = (k21 - s) * (k31 - s) / ((a - s) * (b - s)) / volume


@inlined
def concentration(state):
    """Docetaxel in plasma [mg/L]."""
    return state.modes[0] + state.modes[1] + state.modes[2]


@inlined
def _infuse(state, constants, rate, h):
    """Infuse ``rate`` mg/d for ``h`` days; the concentration in the middle and at the end."""
    middle, end = 0.0, 0.0
    for mode in range(MODES):
        level = rate * constants.shares[mode] / constants.rates[mode]
        half = math.exp(-0.5 * constants.rates[mode] * h)
        middle += level + (state.modes[mode] - level) * half
        state.modes[mode] = level + (state.modes[mode] - level) * half * half
        end += state.modes[mode]
    return middle, end


@inlined
def _slope_of_pool(seen, count, constants):
    """(ln P)' [1/d] at a concentration and a count."""
    molar = max(seen, 0.0) / MOLAR_MASS
    effect = constants.emax * molar / (constants.ec50 + molar)
    ratio = constants.baseline / max(count, SMALLEST_COUNT)
    feedback = min(ratio**constants.feedback, LARGEST_FEEDBACK)
    return constants.transit * ((1.0 - effect) * feedback - 1.0)


@inlined
def _slope_of_cells(seen, log_cells, constants):
    """(ln M)' [1/d] at a concentration."""
    free = 1.0 - math.exp(log_cells) / constants.capacity
    return constants.growth * free - constants.kill * max(seen, 0.0)


@inlined
def take_step(state, constants, rate, h):
    """One step of ``h`` days while ``rate`` mg/d flow in.

    Args:
        state, constants: Records of a patient, see ``records.py``; the first is written.
        rate: Of the infusion [mg/d].
        h: Length of the step [d].
    """
    start = concentration(state)
    middle, end = _infuse(state, constants, rate, h)
    step_body(state, constants, start, middle, end, h)


@inlined
def step_body(state, constants, start, middle, end, h):
    """One step of marrow and tumour while the drug is what it is.

    Args:
        state, constants: Records of a patient, see ``records.py``; of the first the marrow and the
            tumour are written.
        start, middle, end: Concentrations at the start, in the middle and at the end [mg/L].
        h: Length of the step [d].
    """
    k = constants.transit
    p, f, s, t = state.log_pool, state.first, state.second, state.third
    n, m = state.count, state.log_cells
    dp = df = ds = dt = dn = dm = 0.0
    ap, af, as_, at, an, am = p, f, s, t, n, m
    for stage in range(4):
        seen = start if stage == 0 else (end if stage == 3 else middle)
        kp = _slope_of_pool(seen, an, constants)
        kf = k * (math.exp(ap) - af)
        ks = k * (af - as_)
        kt = k * (as_ - at)
        kn = k * (at - an)
        km = _slope_of_cells(seen, am, constants)
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
    state.log_pool = p + h * dp
    state.first, state.second, state.third = f + h * df, s + h * ds, t + h * dt
    state.count, state.log_cells = n + h * dn, m + h * dm


@inlined
def _share_below(first, last, level):
    """Share of a step on which a count that goes straight from first to last is below a level."""
    if first < level and last < level:
        return 1.0
    if first >= level and last >= level:
        return 0.0
    share = (level - first) / (last - first)
    return share if first < level else 1.0 - share


@inlined
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


@inlined
def _note_low(state, constants, n0, m0, h):
    """Add up the lows of a step of ``h`` days that began at the count ``n0`` with slope ``m0``."""
    n1, m1 = state.count, constants.transit * (state.third - state.count)
    low = _share_below(n0, n1, GRADE4) * h
    state.grade4 += low
    state.grade3 += _share_below(n0, n1, GRADE3) * h
    state.nadir = min(state.nadir, _lowest(n0, m0, n1, m1, h))
    state.run = state.run + low if n0 < GRADE4 or n1 < GRADE4 else 0.0
    state.longest_run = max(state.longest_run, state.run)
    if n1 >= GRADE4:
        state.run = 0.0


@inlined
def hold_interval(state, constants, dose, days, begin, samples):
    """Infuse a dose and go on to the end of the interval.

    Args:
        state, constants: Records of a patient, see ``records.py``; the first is written. Days of
            grade 3 and 4 are added to ``grade3`` and ``grade4``.
        dose: Milligrams, infused in the first hour.
        days: Length of the interval, longer than the infusion.
        begin: Day on which it begins, for the samples.
        samples: Rows ``SAMPLE`` ``(steps, 4)``, one after each step, as many as there is room for;
            written.

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
        n0, m0 = state.count, constants.transit * (state.third - state.count)
        take_step(state, constants, rate if flows else 0.0, step)
        time += step
        _note_low(state, constants, n0, m0, step)
        if steps < samples.shape[0]:
            sample = record_at(samples, steps, SAMPLE)  # type: ignore[var-annotated]
            sample.day, sample.concentration = time + begin, concentration(state)
            sample.count, sample.log_cells = state.count, state.log_cells
        steps += 1
    return steps


@inlined
def prepare(constants, patient, settings):
    """Constants of a patient.

    Args:
        constants, patient, settings: Records, see ``records.py``; the first is written.
    """
    find_modes(
        24.0 * patient.clearance / patient.volume,
        24.0 * settings.k12,
        24.0 * settings.k21,
        24.0 * settings.k13,
        24.0 * settings.k31,
        patient.volume,
        constants.rates,
        constants.shares,
    )
    constants.baseline = patient.baseline
    constants.transit = 4.0 * 24.0 / patient.transit_time
    constants.feedback = patient.feedback
    constants.emax, constants.ec50 = patient.emax, patient.ec50
    constants.growth, constants.kill = patient.growth_rate, patient.kill_rate
    constants.capacity = settings.capacity


@inlined
def begin_course(state, patient):
    """Put a patient before treatment: no drug, the marrow at rest.

    Args:
        state, patient: Records, see ``records.py``; the first is written.
    """
    for mode in range(MODES):
        state.modes[mode] = 0.0
    state.log_pool = math.log(patient.baseline)
    state.first = state.second = state.third = patient.baseline
    state.count = state.nadir = patient.baseline
    state.log_cells = math.log(patient.initial_cells)
    state.run = state.longest_run = state.grade4 = state.grade3 = 0.0


def run_course(doses, patient, constants, settings, state, samples):
    """Treat one patient from the start; the number of samples that were written.

    Args:
        doses: Milligrams of each interval.
        patient, constants, settings, state: Records, see ``records.py``; the second and the last
            are written.
        samples: As in :func:`hold_interval`; written.
    """
    prepare(constants, patient, settings)
    begin_course(state, patient)
    days, written = settings.interval, 0
    for number in range(doses.shape[0]):
        rest = samples[written:]
        steps = hold_interval(state, constants, doses[number], days, number * days, rest)
        written = min(written + steps, samples.shape[0])
    return written


run_courses, _ = over_lanes(
    run_course,
    doses=ROW,
    patients=PATIENT,
    constants=CONSTANTS,
    settings=Shared(PROBLEM),
    state=COURSE,
    samples=WHOLE,
    returns=("written",),
)
