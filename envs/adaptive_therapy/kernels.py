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
# Halvings that bring a substep's crossing to the last bits.
_HALVINGS = 60


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
def _begin(tumour, step):
    """Put a tumour before its first substep."""
    s, r = math.exp(tumour.log_sensitive), math.exp(tumour.log_resistant)
    tumour.sensitive, tumour.resistant = s, r
    tumour.burden = tumour.peak = s + r
    tumour.credit = control_credit(s + r, tumour.start, tumour.limit)
    tumour.fade = math.exp(-0.5 * tumour.death * step)
    tumour.days = tumour.burden_days = tumour.control_days = tumour.days_above = 0.0
    tumour.progressed = 0.0


@inlined
def _slope(tumour, fade):
    """Slope of the growth clock where it stands, where death left ``fade``."""
    w = tumour.clock
    return 1.0 - fade * (
        tumour.sensitive * math.exp(tumour.sensitive_growth * w)
        + tumour.resistant * math.exp(tumour.resistant_growth * w)
    )


@inlined
def _run_clocks(tumours, count, step):
    """The growth clocks after a substep, as :func:`run_clock`, stage by stage side by side."""
    half = 0.5 * step
    for i in range(count):
        t = record_at(tumours, i, TUMOUR)  # type: ignore[var-annotated]
        k = 1.0 - t.sensitive - t.resistant
        t.slopes = k
        t.clock = half * k
    for i in range(count):
        t = record_at(tumours, i, TUMOUR)
        k = _slope(t, t.fade)
        t.slopes += 2.0 * k
        t.clock = half * k
    for i in range(count):
        t = record_at(tumours, i, TUMOUR)
        k = _slope(t, t.fade)
        t.slopes += 2.0 * k
        t.clock = step * k
    for i in range(count):
        t = record_at(tumours, i, TUMOUR)
        k = _slope(t, t.fade * t.fade)
        t.clock = step / 6.0 * (t.slopes + k)
    for i in range(count):
        t = record_at(tumours, i, TUMOUR)
        lost = t.death * step
        t.next_sensitive = math.exp(t.log_sensitive + t.sensitive_growth * t.clock - lost)
        t.next_resistant = math.exp(t.log_resistant + t.resistant_growth * t.clock - lost)


@inlined
def _finish(tumour, step):
    """Let a substep pass whose clock is known, up to progression; whether that is in it."""
    took, clock = step, tumour.clock
    end = tumour.next_sensitive + tumour.next_resistant
    if end > tumour.stop:
        took, clock = find_crossing(
            tumour.sensitive,
            tumour.resistant,
            tumour.log_sensitive,
            tumour.log_resistant,
            tumour.sensitive_growth,
            tumour.resistant_growth,
            tumour.death,
            tumour.stop,
            step,
        )
        end = tumour.stop
        tumour.progressed = 1.0
    tumour.log_sensitive += tumour.sensitive_growth * clock - tumour.death * took
    tumour.log_resistant += tumour.resistant_growth * clock - tumour.death * took
    tumour.sensitive, tumour.resistant = tumour.next_sensitive, tumour.next_resistant
    tumour.days += took
    tumour.burden_days += took - clock
    credit = control_credit(end, tumour.start, tumour.limit)
    tumour.control_days += 0.5 * took * (tumour.credit + credit)
    tumour.days_above += took * share_above(tumour.burden, end, tumour.start)
    tumour.peak = max(tumour.peak, end)
    tumour.burden, tumour.credit = end, credit
    return tumour.progressed > 0.0


@compiled(error_model="numpy")
def hold_doses(tumours, count, days, substep):
    """Hold a dose in each of several tumours for ``days`` or until they progress (spec. 1.2).

    An exponential has to wait for the one before it: several tumours side by side fill that time.
    What becomes of one does not depend on the others.

    Args:
        tumours: Rows of ``TUMOUR`` ``(tumours, numbers)``, changed; given are the first eight
            numbers of each.
        count: Number of tumours, the first of the array.
        days: Length of the interval.
        substep: Longest step of the solver [d].
    """
    steps = max(1, math.ceil(days / substep - 1e-9))
    step = days / steps
    for i in range(count):
        _begin(record_at(tumours, i, TUMOUR), step)
    left = count
    for _ in range(steps):
        _run_clocks(tumours, count, step)
        for i in range(count):
            tumour = record_at(tumours, i, TUMOUR)  # type: ignore[var-annotated]
            if tumour.progressed == 0.0 and _finish(tumour, step):
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


@inlined
def set_tumour(tumour, state, patient, dose, progression):
    """Put what a patient has now under a dose; it need not stop at progression.

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


@inlined
def make_tumours(count):
    """Room for tumours ``(count, numbers)``; what takes records of it must be another function."""
    return np.empty((count, _TUMOUR_NUMBERS))


@inlined
def _advance(tumours, patients, courses, dose, days, substep, start, limit):
    course = record_at(courses, 0, COURSE)  # type: ignore[var-annotated]
    tumour = record_at(tumours, 0, TUMOUR)
    set_tumour(tumour, course, record_at(patients, 0, PATIENT), dose, 1.0)
    tumour.start, tumour.stop = start, limit
    tumour.limit = limit if limit < np.inf else 2.0 * start
    hold_doses(tumours, 1, days, substep)
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
    _advance(make_tumours(1), patients, courses, dose, days, substep, start, limit)
