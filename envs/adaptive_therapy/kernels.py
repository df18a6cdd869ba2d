"""Compiled physics of two clones under one drug.

Both clones share the factor 1 - N, so that under a constant dose one scalar, the growth clock
``w(t) = int (1 - N) dt``, carries both of them (burden in units of the capacity, time in days)::

    ln S(t) = ln S0 + a w - d t,   ln R(t) = ln R0 + rR w - d t,   a = rS (1 - dD D)
    w' = 1 - S - R,                int N dt = t - w(t)

Arguments are not validated here; ``model.py`` does that.
"""

import math

import numpy as np

from oncogym.envs.adaptive_therapy.records import COURSE, PATIENT, TUMOUR
from oncogym.envs.compiled import compiled
from oncogym.envs.lane_kernels import inlined, record_at
from oncogym.envs.records import width_of

# A record does not keep its array alive: whoever makes an array hands it to another function that
# takes records of it.
_TUMOUR_NUMBERS = width_of(TUMOUR)
# Substeps after which both clones are taken anew from their logarithms.
_REFRESHED = 16
# Steps of Newton, or halvings, at most that bring a crossing to this share of its substep.
_MOST_TRIES, _EXACT = 60, 1e-13
#: Tumours that are held under their doses side by side, at most.
BLOCK = 8
# Rows of BLOCK numbers each in the clocks of a block, by tumour: both clones at the start of the
# substep, their growth rates, what death leaves in half of it; clock and clones at its end.
_S, _R, _KILL, _GROWTH, _FADE, _CLOCK, _NEXT_S, _NEXT_R = (BLOCK * row for row in range(8))
_CLOCK_NUMBERS = 8 * BLOCK
#: Largest change of a logarithm in a substep for which the series of :func:`small_exp` is exact.
SMALL = 0.35
# Coefficients of the exponential's series, 1/k!.
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (
    1.0 / math.factorial(k) for k in range(2, 14)
)


@inlined
def small_exp(x):
    """exp(x) for |x| <= 0.35 to the last bits, without a call, so that tumours share a vector.

    The series up to x^13, whose next term is below 5e-18, in pairs that do not wait for each other.
    """
    x2 = x * x
    x4 = x2 * x2
    low = (_C2 + _C3 * x) + x2 * (_C4 + _C5 * x)
    middle = (_C6 + _C7 * x) + x2 * (_C8 + _C9 * x)
    high = (_C10 + _C11 * x) + x2 * (_C12 + _C13 * x)
    return 1.0 + (x + x2 * (low + x4 * middle + (x4 * x4) * high))


@inlined
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


@inlined
def control_credit(burden, start, limit):
    """1 at or under the starting burden, 0 at the limit of progression, linear between."""
    return min(1.0, max(0.0, (limit - burden) / (limit - start)))


@inlined
def share_above(before, after, level):
    """Share of a short step during which a burden, taken as linear, is above a level."""
    if before > level:
        return 1.0 if after > level else (before - level) / (before - after)
    return (after - level) / (after - before) if after > level else 0.0


@inlined
def _refresh(tumour, clocks, i):
    """Take both clones anew from their logarithms, from which products drift by rounding."""
    clocks[_S + i] = math.exp(tumour.log_sensitive)
    clocks[_R + i] = math.exp(tumour.log_resistant)


@inlined
def _begin(tumour, clocks, i, step):
    """Put a tumour before its first substep."""
    _refresh(tumour, clocks, i)
    s, r = clocks[_S + i], clocks[_R + i]
    clocks[_KILL + i] = tumour.sensitive_growth
    clocks[_GROWTH + i] = tumour.resistant_growth
    clocks[_FADE + i] = math.exp(-0.5 * tumour.death * step)
    tumour.burden = tumour.peak = s + r
    tumour.credit = control_credit(s + r, tumour.start, tumour.limit)
    fastest = max(abs(tumour.sensitive_growth), abs(tumour.resistant_growth))
    tumour.fast = 1.0 if fastest * step > SMALL else 0.0
    tumour.days = tumour.burden_days = tumour.control_days = tumour.days_above = 0.0
    tumour.progressed = 0.0
    tumour.watched_days = -1.0


@inlined
def _run_clocks(clocks, count, step):
    """Growth clocks and clones after a substep, as :func:`run_clock`; for slow tumours."""
    half = 0.5 * step
    for i in range(count):
        s, r, a, g = clocks[_S + i], clocks[_R + i], clocks[_KILL + i], clocks[_GROWTH + i]
        fade = clocks[_FADE + i]
        k1 = 1.0 - s - r
        w = half * k1
        k2 = 1.0 - fade * (s * small_exp(a * w) + r * small_exp(g * w))
        w = half * k2
        k3 = 1.0 - fade * (s * small_exp(a * w) + r * small_exp(g * w))
        w = step * k3
        fade *= fade
        k4 = 1.0 - fade * (s * small_exp(a * w) + r * small_exp(g * w))
        w = step / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        clocks[_CLOCK + i] = w
        clocks[_NEXT_S + i] = s * (fade * small_exp(a * w))
        clocks[_NEXT_R + i] = r * (fade * small_exp(g * w))


@inlined
def _run_fast_clock(clocks, i, step):
    """:func:`_run_clocks` for one tumour, whatever its rates."""
    s, r, a, g = clocks[_S + i], clocks[_R + i], clocks[_KILL + i], clocks[_GROWTH + i]
    fade = clocks[_FADE + i]
    w = run_clock(s, r, a, g, fade, step)
    clocks[_CLOCK + i] = w
    clocks[_NEXT_S + i] = s * (fade * fade * math.exp(a * w))
    clocks[_NEXT_R + i] = r * (fade * fade * math.exp(g * w))


@inlined
def _finish(tumour, clocks, i, step):
    """Let a substep pass whose clock is known, up to its stop; whether that is in it."""
    took, clock = step, clocks[_CLOCK + i]
    end = clocks[_NEXT_S + i] + clocks[_NEXT_R + i]
    if end > tumour.watched and tumour.watched_days < 0.0:
        until, then = _cross(tumour, clocks, i, tumour.watched, step)
        tumour.watched_days = tumour.days + until
        tumour.watched_burden_days = tumour.burden_days + (until - then)
    if end > tumour.stop:
        took, clock = _cross(tumour, clocks, i, tumour.stop, step)
        end = tumour.stop
        tumour.progressed = 1.0
    tumour.log_sensitive += tumour.sensitive_growth * clock - tumour.death * took
    tumour.log_resistant += tumour.resistant_growth * clock - tumour.death * took
    clocks[_S + i], clocks[_R + i] = clocks[_NEXT_S + i], clocks[_NEXT_R + i]
    tumour.days += took
    tumour.burden_days += took - clock
    credit = control_credit(end, tumour.start, tumour.limit)
    tumour.control_days += 0.5 * took * (tumour.credit + credit)
    tumour.days_above += took * share_above(tumour.burden, end, tumour.start)
    tumour.peak = max(tumour.peak, end)
    tumour.burden, tumour.credit = end, credit
    return tumour.progressed > 0.0


@compiled(error_model="numpy")
def hold_doses(tumours, clocks, count, days, substep):
    """Hold a dose in each of several tumours for ``days`` or up to their stops (spec. 1.2).

    Several tumours side by side share the vectors of the processor. What becomes of one does not
    depend on the others.

    Args:
        tumours: Rows of ``TUMOUR`` ``(tumours, numbers)``, changed; given are the first nine
            numbers of each.
        clocks: Room for numbers in between, of :func:`make_clocks`.
        count: Number of tumours, the first of the array, at most ``BLOCK``.
        days: Length of the interval.
        substep: Longest step of the solver [d].
    """
    steps = max(1, math.ceil(days / substep - 1e-9))
    step = days / steps
    for i in range(count):
        _begin(record_at(tumours, i, TUMOUR), clocks, i, step)
    left = count
    for number in range(steps):
        if number % _REFRESHED == 0 and number > 0:
            for i in range(count):
                _refresh(record_at(tumours, i, TUMOUR), clocks, i)
        _run_clocks(clocks, count, step)
        for i in range(count):
            tumour = record_at(tumours, i, TUMOUR)  # type: ignore[var-annotated]
            if tumour.progressed == 0.0:
                if tumour.fast > 0.0:
                    _run_fast_clock(clocks, i, step)
                if _finish(tumour, clocks, i, step):
                    left -= 1
        if left == 0:
            break


@compiled(error_model="numpy")
def find_crossing(s, r, log_s, log_r, kill, growth, death, stop, step):
    """Days after which a tumour passes ``stop`` within a step, and its growth clock then.

    Args:
        s, r, log_s, log_r: Both clones at the start of the step, and their logarithms.
        kill, growth, death: Growth rates of both clones under the dose and their death rate [1/d].
        stop: Burden that is passed.
        step: Length of the step [d].
    """
    low, high, took = 0.0, step, step
    clock = 0.0
    for _ in range(_MOST_TRIES):
        clock = run_clock(s, r, kill, growth, math.exp(-0.5 * death * took), took)
        sensitive = math.exp(log_s + kill * clock - death * took)
        resistant = math.exp(log_r + growth * clock - death * took)
        end = sensitive + resistant
        if end > stop:
            high = took
        else:
            low = took
        slope = sensitive * (kill * (1.0 - end) - death)
        slope += resistant * (growth * (1.0 - end) - death)
        after = took - (end - stop) / slope if slope > 0.0 else low
        if not low < after < high:
            after = 0.5 * (low + high)
        if abs(after - took) <= _EXACT * step:
            break
        took = after
    return took, clock


@inlined
def _cross(tumour, clocks, i, burden, step):
    """:func:`find_crossing` of a tumour in the substep that is before it."""
    return find_crossing(
        clocks[_S + i],
        clocks[_R + i],
        tumour.log_sensitive,
        tumour.log_resistant,
        tumour.sensitive_growth,
        tumour.resistant_growth,
        tumour.death,
        burden,
        step,
    )


@inlined
def set_tumour(tumour, state, patient, dose, progression):
    """Put what a patient has now under a dose; nothing is watched, and ``stop`` is still to be set.

    Args:
        tumour: A ``TUMOUR``, whose given numbers are set but for ``stop``.
        state: Any record with the logarithms of both clones.
        patient: A ``PATIENT``.
        dose: Fraction of the full dose.
        progression: Limit in starting burdens.
    """
    tumour.log_sensitive, tumour.log_resistant = state.log_sensitive, state.log_resistant
    tumour.sensitive_growth = patient.rS * (1.0 - patient.dD * dose)
    tumour.resistant_growth = patient.rS * (1.0 - patient.cost)
    tumour.death = patient.turnover * patient.rS
    tumour.start, tumour.limit = patient.n0, progression * patient.n0
    tumour.watched = np.inf


@inlined
def make_tumours(count):
    """Room for tumours ``(count, numbers)``; what takes records of it must be another function."""
    return np.empty((count, _TUMOUR_NUMBERS))


@inlined
def make_clocks():
    """Room for what :func:`hold_doses` keeps of a block of tumours in between ``(numbers,)``."""
    return np.zeros(_CLOCK_NUMBERS)


@inlined
def _advance(tumours, clocks, patients, courses, dose, days, substep, start, limit):
    course = record_at(courses, 0, COURSE)  # type: ignore[var-annotated]
    tumour = record_at(tumours, 0, TUMOUR)
    set_tumour(tumour, course, record_at(patients, 0, PATIENT), dose, 1.0)
    tumour.start, tumour.stop = start, limit
    tumour.limit = limit if limit < np.inf else 2.0 * start
    hold_doses(tumours, clocks, 1, days, substep)
    course.log_sensitive, course.log_resistant = tumour.log_sensitive, tumour.log_resistant
    course.days += tumour.days
    course.burden_days += tumour.burden_days
    course.drug_days += dose * tumour.days
    if limit < np.inf:
        course.control_days += tumour.control_days
    course.progressed = tumour.progressed


@compiled(error_model="numpy")
def advance(patients, courses, dose, days, substep, start, limit):
    """:func:`hold_doses` for one patient, in a course, which is changed.

    Args:
        patients: One ``PATIENT`` ``(numbers,)``; its starting burden does not count.
        courses: One ``COURSE`` ``(numbers,)``, changed.
        dose: Fraction of the full dose.
        days: Length of the interval.
        substep: Longest step of the solver [d].
        start: Burden at the start of the treatment.
        limit: Burden of progression; infinite: never, and no day counts as controlled.
    """
    _advance(make_tumours(1), make_clocks(), patients, courses, dose, days, substep, start, limit)
