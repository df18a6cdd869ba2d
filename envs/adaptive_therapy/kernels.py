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
# Columns of several tumours side by side: what is given, what is computed, and what is in between.
(
    LOG_S, LOG_R, KILL, GROWTH, DEATH, START, LIMIT, STOP,
    TOTAL, AREA, CONTROL, ABOVE, PEAK, PASSED,
    S, R, FADE, BURDEN, CREDIT, SUM, CLOCK, NEXT_S, NEXT_R,
) = range(23)  # fmt: skip
COLUMNS = 23

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
def hold_doses(tumours, count, days, substep):
    """Hold a dose in each of several tumours for ``days`` or until their burdens pass ``STOP``.

    An exponential has to wait for the one before it: several tumours side by side fill that time.
    What becomes of one does not depend on the others.

    Args:
        tumours: Columns as named above ``(COLUMNS, tumours)``, changed. Given are both clones as
            logarithms, their growth rates under the dose and their death rate [1/d], the burden at
            the start of the treatment, that at which a day is worth nothing any more, and that of
            progression (infinite: never). Computed are both clones, days, integral of the burden
            [d], controlled days, days above the starting burden, largest burden, and whether it
            passed ``STOP``.
        count: Number of tumours, the first of the array.
        days: Length of the interval.
        substep: Longest step of the solver [d].
    """
    t = tumours
    steps = max(1, math.ceil(days / substep - 1e-9))
    step = days / steps
    half = 0.5 * step
    for i in range(count):
        s, r = math.exp(t[LOG_S, i]), math.exp(t[LOG_R, i])
        t[S, i], t[R, i], t[BURDEN, i], t[PEAK, i] = s, r, s + r, s + r
        t[CREDIT, i] = control_credit(s + r, t[START, i], t[LIMIT, i])
        t[FADE, i] = math.exp(-0.5 * t[DEATH, i] * step)
        for column in (TOTAL, AREA, CONTROL, ABOVE, PASSED):
            t[column, i] = 0.0
    left = count
    for _ in range(steps):
        # The growth clock, see `run_clock`.
        for i in range(count):
            k = 1.0 - t[S, i] - t[R, i]
            t[SUM, i] = k
            t[CLOCK, i] = half * k
        for i in range(count):
            w = t[CLOCK, i]
            k = 1.0 - t[FADE, i] * (
                t[S, i] * math.exp(t[KILL, i] * w) + t[R, i] * math.exp(t[GROWTH, i] * w)
            )
            t[SUM, i] += 2.0 * k
            t[CLOCK, i] = half * k
        for i in range(count):
            w = t[CLOCK, i]
            k = 1.0 - t[FADE, i] * (
                t[S, i] * math.exp(t[KILL, i] * w) + t[R, i] * math.exp(t[GROWTH, i] * w)
            )
            t[SUM, i] += 2.0 * k
            t[CLOCK, i] = step * k
        for i in range(count):
            w = t[CLOCK, i]
            k = 1.0 - t[FADE, i] * t[FADE, i] * (
                t[S, i] * math.exp(t[KILL, i] * w) + t[R, i] * math.exp(t[GROWTH, i] * w)
            )
            t[CLOCK, i] = step / 6.0 * (t[SUM, i] + k)
        for i in range(count):
            clock = t[CLOCK, i]
            t[NEXT_S, i] = math.exp(t[LOG_S, i] + t[KILL, i] * clock - t[DEATH, i] * step)
            t[NEXT_R, i] = math.exp(t[LOG_R, i] + t[GROWTH, i] * clock - t[DEATH, i] * step)
        for i in range(count):
            if t[PASSED, i] > 0.0:
                continue
            took, clock, end = step, t[CLOCK, i], t[NEXT_S, i] + t[NEXT_R, i]
            if end > t[STOP, i]:
                took, clock = find_crossing(t, i, step)
                end = t[STOP, i]
                t[PASSED, i] = 1.0
                left -= 1
            t[LOG_S, i] += t[KILL, i] * clock - t[DEATH, i] * took
            t[LOG_R, i] += t[GROWTH, i] * clock - t[DEATH, i] * took
            t[S, i], t[R, i] = t[NEXT_S, i], t[NEXT_R, i]
            t[TOTAL, i] += took
            t[AREA, i] += took - clock
            after = control_credit(end, t[START, i], t[LIMIT, i])
            t[CONTROL, i] += 0.5 * took * (t[CREDIT, i] + after)
            t[ABOVE, i] += took * share_above(t[BURDEN, i], end, t[START, i])
            t[PEAK, i] = max(t[PEAK, i], end)
            t[BURDEN, i], t[CREDIT, i] = end, after
        if left == 0:
            break


@njit(cache=True, error_model="numpy")
def find_crossing(tumours, i, step):
    """Days after which tumour ``i`` passes ``STOP`` within a step, and its growth clock then."""
    s, r, death = tumours[S, i], tumours[R, i], tumours[DEATH, i]
    kill, growth, stop = tumours[KILL, i], tumours[GROWTH, i], tumours[STOP, i]
    log_s, log_r = tumours[LOG_S, i], tumours[LOG_R, i]
    low, took = 0.0, step
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + took)
        clock = run_clock(s, r, kill, growth, math.exp(-0.5 * death * middle), middle)
        end = math.exp(log_s + kill * clock - death * middle) + math.exp(
            log_r + growth * clock - death * middle
        )
        if end > stop:
            took = middle
        else:
            low = middle
    return took, run_clock(s, r, kill, growth, math.exp(-0.5 * death * took), took)


@njit(cache=True, error_model="numpy")
def hold_dose(log_s, log_r, kill, growth, death, days, substep, start, limit, stop):
    """:func:`hold_doses` of one tumour.

    Returns:
        Logarithms of both clones, days, integral of the burden [d], controlled days, days above
        the starting burden, largest burden, and whether the burden passed ``stop``.
    """
    t = np.empty((COLUMNS, 1))
    t[LOG_S, 0], t[LOG_R, 0], t[KILL, 0], t[GROWTH, 0] = log_s, log_r, kill, growth
    t[DEATH, 0], t[START, 0], t[LIMIT, 0], t[STOP, 0] = death, start, limit, stop
    hold_doses(t, 1, days, substep)
    return (
        t[LOG_S, 0], t[LOG_R, 0], t[TOTAL, 0], t[AREA, 0], t[CONTROL, 0], t[ABOVE, 0], t[PEAK, 0],
        t[PASSED, 0] > 0.0,
    )  # fmt: skip


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
