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
def run_clock(sensitive, resistant, kill, growth, death, days):
    """The growth clock after one step of classical Runge-Kutta from w = 0."""
    half = 0.5 * days
    fade = math.exp(-death * half)
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


@njit(cache=True, error_model="numpy")
def advance(patient, state, dose, days, substep, start, limit):
    """Hold a dose for ``days`` or until the burden passes ``limit``.

    Args:
        patient: rS, rR [1/d], death rate [1/d] and dD, ``(4,)``.
        state: One ``STATE``, ``(1,)``, changed.
        dose: Fraction of the full dose.
        days: Length of the interval.
        substep: Longest step of the solver [d].
        start: Burden at the start of the treatment.
        limit: Burden of progression; infinite: never.
    """
    kill = patient[0] * (1.0 - patient[3] * dose)
    growth, death = patient[1], patient[2]
    now = state[0]
    steps = max(1, math.ceil(days / substep - 1e-9))
    step = days / steps
    log_s, log_r = now.log_sensitive, now.log_resistant
    for _ in range(steps):
        s, r = math.exp(log_s), math.exp(log_r)
        took = step
        clock = run_clock(s, r, kill, growth, death, took)
        end = math.exp(log_s + kill * clock - death * took) + math.exp(
            log_r + growth * clock - death * took
        )
        if end > limit:
            low, took = 0.0, step
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + took)
                clock = run_clock(s, r, kill, growth, death, middle)
                end = math.exp(log_s + kill * clock - death * middle) + math.exp(
                    log_r + growth * clock - death * middle
                )
                if end > limit:
                    took = middle
                else:
                    low = middle
            clock = run_clock(s, r, kill, growth, death, took)
            end = limit
            now.progressed = True
        log_s += kill * clock - death * took
        log_r += growth * clock - death * took
        now.days += took
        now.burden_days += took - clock
        now.drug_days += dose * took
        if limit < np.inf:
            before = control_credit(s + r, start, limit)
            now.control_days += 0.5 * took * (before + control_credit(end, start, limit))
        if now.progressed:
            break
    now.log_sensitive, now.log_resistant = log_s, log_r
