"""Compiled physics of two clones under one drug.

Both clones share the factor 1 - N, so that under a constant dose one scalar, the growth clock
``w(t) = int (1 - N) dt``, carries both of them (burden in units of the capacity, time in days)::

    ln S(t) = ln S0 + a w - d t,   ln R(t) = ln R0 + rR w - d t,   a = rS (1 - dD D)
    w' = 1 - S - R,                int N dt = t - w(t)

Arguments are not validated here; ``model.py`` does that.
"""

import math

import numpy as np
from numba import njit

#: Clones as logarithms, the days of drug, and what a course adds up.
STATE = np.dtype(
    [
        ("log_sensitive", np.float64),
        ("log_resistant", np.float64),
        ("days", np.float64),
        ("burden_days", np.float64),  # integral of N
        ("control_days", np.float64),  # integral of the credit of the sound reward
        ("drug_days", np.float64),  # integral of the dose
        ("progressed", np.bool_),
    ]
)
# Halvings that bring a substep's crossing to the last bits.
_HALVINGS = 60


@njit(cache=True, error_model="numpy", forceinline=True)
def run_clock(sensitive, resistant, kill, growth, fade, days):
    """The growth clock after one step of classical Runge-Kutta from w = 0.

    ``fade`` is what death leaves in half the step.
    """
    half = 0.5 * days
    k1 = 1.0 - sensitive - resistant
    w = half * k1
    k2 = 1.0 - fade * (sensitive * math.exp(kill * w) + resistant * math.exp(growth * w))
    w = half * k2
    k3 = 1.0 - fade * (sensitive * math.exp(kill * w) + resistant * math.exp(growth * w))
    w = days * k3
    fade *= fade
    k4 = 1.0 - fade * (sensitive * math.exp(kill * w) + resistant * math.exp(growth * w))
    return days / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)


@njit(cache=True, error_model="numpy", forceinline=True)
def control_credit(burden, start, limit):
    """1 at or under the starting burden, 0 at the limit of progression, linear between."""
    return min(1.0, max(0.0, (limit - burden) / (limit - start)))


@njit(cache=True, error_model="numpy", forceinline=True)
def share_above(before, after, level):
    """Share of a short step during which a burden, taken as linear, is above a level."""
    if before > level:
        return 1.0 if after > level else (before - level) / (before - after)
    return (after - level) / (after - before) if after > level else 0.0


@njit(cache=True, error_model="numpy")
def hold_dose(log_s, log_r, kill, growth, death, days, substep, start, limit, stop):
    """Hold a dose for ``days`` or until the burden passes ``stop``.

    Args:
        log_s, log_r: Logarithms of both clones.
        kill: Growth rate of the sensitive clone under the dose [1/d].
        growth: That of the resistant clone [1/d].
        death: Death rate of both [1/d].
        days: Length of the interval.
        substep: Longest step of the solver [d].
        start: Burden at the start of the treatment.
        limit: Burden at which a day is worth nothing any more.
        stop: Burden of progression; infinite: never.

    Returns:
        Logarithms of both clones, days, integral of the burden [d], controlled days, days above
        the starting burden, largest burden, and whether the burden passed ``stop``.
    """
    steps = max(1, math.ceil(days / substep - 1e-9))
    step = days / steps
    fade = math.exp(-0.5 * death * step)
    s, r = math.exp(log_s), math.exp(log_r)
    burden = s + r
    total, area, control, above, peak = 0.0, 0.0, 0.0, 0.0, burden
    credit = control_credit(burden, start, limit)
    passed = False
    for _ in range(steps):
        took = step
        clock = run_clock(s, r, kill, growth, fade, took)
        next_s = math.exp(log_s + kill * clock - death * took)
        next_r = math.exp(log_r + growth * clock - death * took)
        end = next_s + next_r
        if end > stop:
            low = 0.0
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + took)
                left = math.exp(-0.5 * death * middle)
                clock = run_clock(s, r, kill, growth, left, middle)
                end = math.exp(log_s + kill * clock - death * middle) + math.exp(
                    log_r + growth * clock - death * middle
                )
                if end > stop:
                    took = middle
                else:
                    low = middle
            clock = run_clock(s, r, kill, growth, math.exp(-0.5 * death * took), took)
            end = stop
            passed = True
        log_s += kill * clock - death * took
        log_r += growth * clock - death * took
        s, r = next_s, next_r
        total += took
        area += took - clock
        after = control_credit(end, start, limit)
        control += 0.5 * took * (credit + after)
        above += took * share_above(burden, end, start)
        peak = max(peak, end)
        burden, credit = end, after
        if passed:
            break
    return log_s, log_r, total, area, control, above, peak, passed


@njit(cache=True, error_model="numpy")
def advance(patient, state, dose, days, substep, start, limit):
    """:func:`hold_dose` for a patient and one ``STATE`` ``(1,)``, which is changed.

    Args:
        patient: rS, rR [1/d], death rate [1/d] and dD, ``(4,)``.
        state: One ``STATE``, ``(1,)``, changed.
        dose: Fraction of the full dose.
        days: Length of the interval.
        substep: Longest step of the solver [d].
        start: Burden at the start of the treatment.
        limit: Burden of progression; infinite: never, and no day counts as controlled.
    """
    now = state[0]
    kill = patient[0] * (1.0 - patient[3] * dose)
    log_s, log_r, took, area, control, _, _, passed = hold_dose(
        now.log_sensitive, now.log_resistant, kill, patient[1], patient[2], days, substep,
        start, limit if limit < np.inf else 2.0 * start, limit,
    )  # fmt: skip
    now.log_sensitive, now.log_resistant = log_s, log_r
    now.days += took
    now.burden_days += area
    now.drug_days += dose * took
    if limit < np.inf:
        now.control_days += control
    now.progressed = passed
