"""A benchmark of optimal control: a tumour under an inhibitor of its vessels.

What was read: the problem with its constants in two public implementations (pycollo's
``tumour_anti_angiogenesis``, DTQP's ``Tumor.m``) and its optimum in two others that quote Betts,
"Practical Methods for Optimal Control", example 10.142; the abstract of Ledzewicz and Schaettler,
preprint of 2 February 2008: a constant dose with the rate of the averaged optimal control comes
within 1 % of the optimal volume.
"""

from __future__ import annotations

import numpy as np

from oncogym.agents.batch_cma import BatchCMA
from oncogym.core.arrays import Floats
from oncogym.evaluation.reproduce.checks import Check, compare

# Hahnfeldt's model in the form of Ledzewicz and Schaettler: mm^3, days, mg of inhibitor per kg.
_GROWTH, _BIRTH, _DEATH, _LOSS, _KILL = 0.084, 5.85, 0.00873, 0.02, 0.15
_LARGEST_RATE, _BUDGET = 75.0, 15.0
_WHOLE = ((_BIRTH - _LOSS) / _DEATH) ** 1.5
# The published optimum and its time.
_LEAST, _TIME = 7571.67158, 1.1961336
# Doses per interval; the optimal 0.2 d of full dose end on its border.
_INTERVAL, _INTERVALS, _STEPS = 0.04, 10, 8
# Intervals until the optimum's time, for a constant dose.
_CONSTANT = 30
_FOLLOWED = 2.0
_GENERATIONS, _PLANS = 60, 24


def _slopes(volume: Floats, support: Floats, rate: Floats) -> tuple[Floats, Floats]:
    growth = -_GROWTH * volume * np.log(volume / support)
    return growth, support * (_BIRTH - _LOSS - _DEATH * volume ** (2.0 / 3.0) - _KILL * rate)


def treat_tumours(rates: Floats) -> tuple[Floats, Floats]:
    """Least volume [mm^3] of tumours and when it is reached [d].

    Args:
        rates: Dose rates ``(plans, intervals)`` of intervals of 0.04 d, clipped to 0 to 75; once
            the budget of 15 is spent there is no more.

    Returns:
        Volume and time ``(plans,)``; a cubic through the step in which the volume turns, if it does
        within 2 d, otherwise the last.
    """
    asked = np.clip(np.asarray(rates, np.float64), 0.0, _LARGEST_RATE) * _INTERVAL
    before = np.cumsum(asked, axis=1) - asked
    given = np.clip(_BUDGET - before, 0.0, asked) / _INTERVAL
    count = len(given)
    volume, support = np.full(count, _WHOLE / 2.0), np.full(count, _WHOLE / 4.0)
    step = _INTERVAL / _STEPS
    least, when = np.full(count, np.inf), np.full(count, _FOLLOWED)
    for number in range(round(_FOLLOWED / step)):
        interval = number // _STEPS
        rate = given[:, interval] if interval < given.shape[1] else np.zeros(count)
        old = volume, _slopes(volume, support, rate)[0]
        volume, support = _runge_kutta(volume, support, rate, step)
        slope = _slopes(volume, support, rate)[0]
        turns = (old[1] < 0.0) & (slope >= 0.0) & np.isinf(least)
        if turns.any():
            share = _turning_point(old[0], old[1], volume, slope, step)
            low = _hermite(old[0], old[1], volume, slope, step, share)
            least, when = np.where(turns, low, least), np.where(
                turns, step * (number + share), when
            )  # fmt: skip
    return np.where(np.isinf(least), volume, least), when


def _runge_kutta(p: Floats, q: Floats, rate: Floats, h: float) -> tuple[Floats, Floats]:
    a = _slopes(p, q, rate)
    b = _slopes(p + 0.5 * h * a[0], q + 0.5 * h * a[1], rate)
    c = _slopes(p + 0.5 * h * b[0], q + 0.5 * h * b[1], rate)
    d = _slopes(p + h * c[0], q + h * c[1], rate)
    new = [x + h / 6.0 * (a[i] + 2.0 * b[i] + 2.0 * c[i] + d[i]) for i, x in enumerate((p, q))]
    return new[0], new[1]


def _turning_point(p0: Floats, m0: Floats, p1: Floats, m1: Floats, h: float) -> Floats:
    """Where in a step (0 to 1) the cubic through ends and slopes has its minimum."""
    rise = (p1 - p0) / h
    a, b = 3.0 * (m0 + m1 - 2.0 * rise), 2.0 * (3.0 * rise - 2.0 * m0 - m1)
    root = np.sqrt(np.maximum(b * b - 4.0 * a * m0, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        # The minimum's root, in the form without cancellation.
        return np.clip(np.nan_to_num(-2.0 * m0 / (b + root)), 0.0, 1.0)


def _hermite(p0: Floats, m0: Floats, p1: Floats, m1: Floats, h: float, s: Floats) -> Floats:
    rest = 1.0 - s
    return (
        (1.0 + 2.0 * s) * rest**2 * p0
        + s * rest**2 * h * m0
        + s**2 * (3.0 - 2.0 * s) * p1
        - s**2 * rest * h * m1
    )


def search_doses(seed: int) -> tuple[float, float]:
    """Least volume [mm^3] and its time [d] that CMA-ES finds, from an even dose."""
    search = BatchCMA(1, _INTERVALS, 0.5, _PLANS)
    draws = np.random.default_rng(seed)
    best, time = np.inf, 0.0
    even = _BUDGET / (_INTERVALS * _INTERVAL)
    for _ in range(_GENERATIONS):
        moves = search.ask(draws.standard_normal((1, _PLANS, _INTERVALS)))
        volumes, times = treat_tumours(even + _LARGEST_RATE * moves[0])
        search.tell(moves, -volumes[None])
        if volumes.min() < best:
            best, time = float(volumes.min()), float(times[volumes.argmin()])
    return best, time


def check_anti_angiogenesis(seed: int) -> list[Check]:
    """The benchmark's optimum, in the model and as the controllers' search finds it."""
    bang = np.zeros((1, _INTERVALS))
    bang[0, : round(_BUDGET / _LARGEST_RATE / _INTERVAL)] = _LARGEST_RATE
    known, when = (float(value[0]) for value in treat_tumours(bang))
    found, time = search_doses(seed)
    even = np.full((1, _CONSTANT), _BUDGET / _TIME)
    constant = float(treat_tumours(even)[0][0])
    model = (
        "15 mg/kg at the full rate from the start, integrated: 7571.67004 mm^3 at 1.19635 d. The "
        "minimum is flat, and a search by volume cannot tell its time: at the printed one the "
        "volume is 4e-5 mm^3 larger"
    )
    searched = (
        f"CMA-ES, the controllers' search, over {_INTERVALS} rates of {_INTERVAL:g} d, "
        f"{_GENERATIONS} x {_PLANS} plans from an even dose"
    )
    return [
        compare("anti_model", "Anti-angiogenesis, least volume [mm^3], full dose first",
                _LEAST, known, 0.01, model),
        compare("anti_time", "Anti-angiogenesis, its time [d]", _TIME, when, 1e-3, model),
        compare("anti_cma", "Anti-angiogenesis, least volume found [mm^3]", _LEAST, found, 1.0,
                searched),
        compare("anti_cma_time", "Anti-angiogenesis, its time [d]", _TIME, time, 0.01, searched),
        compare("anti_constant", "Anti-angiogenesis, constant dose / optimal volume", 1.0,
                constant / _LEAST, 0.01,
                f"{_BUDGET / _TIME:.3f} mg/kg a day until the optimum's time, the averaged optimal "
                "dose. Ledzewicz and Schaettler have it within 1 %, for budgets that were not read "
                "but not this small one, where the optimum is full dose first, then nothing"),
    ]  # fmt: skip
