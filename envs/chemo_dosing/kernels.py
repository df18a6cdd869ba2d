"""Compiled physics of the one-drug chemotherapy model, free of any solver.

Between doses the model (time in days)::

    dC/dt = -ke C                                     concentration  [mg/L]
    dX/dt = a C - b X                                 toxicity       [-]
    dN/dt = r N (1 - N/K) - emax C/(ec50 + C) N       tumour cells

has a closed form: C and X are linear, and ``u = 1/N`` obeys the linear equation
``u' = -(r - k(t)) u + r/K`` (Bernoulli), k being the kill rate.  One smooth integral remains,
for which :func:`propagate_core` picks the cheapest sufficient Gauss-Legendre rule.

A *patient* is a record ``PATIENT``.  Arguments are not validated here; ``model.py`` does that.
Nothing depends on the number of threads or plans: every plan goes through the same scalar code,
without fast-math.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from oncogym.envs.chemo_dosing.records import PATIENT, PLAN, SAMPLE
from oncogym.envs.compiled import compiled
from oncogym.envs.lane_kernels import inlined, record_at, row_at
from oncogym.envs.twins import compile_twins

# Admissible quadrature error per step, in ln N.
_TOLERANCE = 1e-11
# Quadrature nodes come in blocks: loops over them become vector instructions.
_BLOCK = 8
_MAX_BLOCKS = 3
# How far the true quadrature error stays below its bound, for emax/ke below and from 1 (_crowding).
_SLACK_BELOW_1 = 130.0
_SLACK_FROM_1 = 3000.0
# Largest ke*h and (emax + r)*h that one quadrature panel may span.
_PANEL_DECAY = 12.0
_PANEL_GROWTH = 16.0
# Largest r*h of one closed-form step: far below 709, where exp(r h) overflows.
_LONGEST_GROWTH = 200.0
# Plans per task of the parallel loop.
_CHUNK = 64


def _gauss_legendre(max_blocks):
    """Nodes and weights on [0, 1] of the rules with up to max_blocks blocks, a row for each."""
    nodes = np.zeros((max_blocks + 1, max_blocks * _BLOCK))
    weights = np.zeros((max_blocks + 1, max_blocks * _BLOCK))
    for blocks in range(1, max_blocks + 1):
        x, w = np.polynomial.legendre.leggauss(blocks * _BLOCK)
        nodes[blocks, : x.size] = 0.5 * (1.0 + x)
        weights[blocks, : x.size] = 0.5 * w
    return nodes, weights


_NODES, _WEIGHTS = _gauss_legendre(_MAX_BLOCKS)

# Constants of _exp2 and _log2. A float64 + _ROUND carries the nearest integer in its last bits.
_ROUND = 1.5 * 2.0**52
_ROUND_BITS = 0x4338000000000000
_SQRT2_BITS = 0x3FF6A09E667F3BCD
_QUARTER_BITS = 0x3FD0000000000000
_LOG2E = 1.0 / math.log(2.0)
# (2^z - 1)/z for |z| <= 1/2, interpolated at Chebyshev nodes: 2^z to 6e-16.
_E0, _E1, _E2 = 0.6931471805599462, 0.24022650695910075, 0.05550410866465167
_E3, _E4, _E5 = 0.009618129107618665, 0.0013333558200794592, 0.00015403530424776529
_E6, _E7, _E8 = 1.5252672924850737e-05, 1.3215451633221434e-06, 1.0205905413765595e-07
_E9 = 7.070977866508138e-09
# 2 atanh(s)/(s ln 2) as a polynomial in s^2 <= 0.0295, likewise: to 2e-16.
_L0, _L1, _L2 = 2.885390081777927, 0.9617966939243345, 0.5770780172463286
_L3, _L4, _L5 = 0.4121984020482752, 0.32061638813224547, 0.2614442493522915
_L6 = 0.2429160853987535


# The two functions below need no call, table or branch, so that a loop over them is vectorised;
# the library's exp and log would be called number by number.


@inlined
def _exp2(x):
    """2^x for |x| < 1000 to a relative 1e-15: 2^(x - n), then n is added to the exponent."""
    t = x + _ROUND
    z = x - (t - _ROUND)
    z2 = z * z
    z4 = z2 * z2
    low = (_E0 + _E1 * z) + z2 * (_E2 + _E3 * z)
    high = (_E4 + _E5 * z) + z2 * (_E6 + _E7 * z) + z4 * (_E8 + _E9 * z)
    bits = np.float64(1.0 + z * (low + z4 * high)).view(np.int64)
    return np.int64(bits + (np.float64(t).view(np.int64) << 52)).view(np.float64)


@inlined
def _log2(x):
    """log2 x for x in [1e-300, 1.4] to a relative 1e-15: x = m 2^-n with m near 1, then atanh."""
    bits = np.float64(x).view(np.int64)
    n = (_SQRT2_BITS - bits) >> 52
    m = np.int64(bits + (n << 52)).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    z2 = z * z
    z4 = z2 * z2
    p = (_L0 + _L1 * z) + z2 * (_L2 + _L3 * z) + z4 * ((_L4 + _L5 * z) + z2 * _L6)
    return s * p - (np.int64(n + _ROUND_BITS).view(np.float64) - _ROUND)


@inlined
def _toxicity(c, x, s, left, ke, a, b):
    """Toxicity s days after the state (c, x), left = exp(-ke s); stable for ke near b."""
    d = ke - b
    recovery = math.exp(-b * s)
    if abs(d * s) < 0.1:
        transfer = s if d == 0.0 else -math.expm1(-d * s) / d
        return recovery * (x + a * c * transfer)
    return x * recovery + a * c * (recovery - left) / d


@inlined
def _time_of_peak(c, x, ke, a, b):
    """Days until toxicity is largest when no dose follows; needs a c > b x."""
    d = ke - b
    y = (a * c - b * x) / (b * (a * c + d * x))
    if abs(d * y) > 0.1:
        return math.log(1.0 + d * y) / d
    return y if d == 0.0 else math.log1p(d * y) / d


@inlined
def toxicity_peak_if_untreated(c, x, ke, a, b):
    """Largest toxicity from now on if no further dose is given.

    c [mg/L] and x [-] are the present state; ke, b [1/d], a [L/(mg d)].  While X rises its
    maximum satisfies ``b X = a C``, which gives ``a c exp(-ke s*) / b`` (spec. 1.2).
    """
    if a * c <= b * x:
        return x
    return max(x, a * c * math.exp(-ke * _time_of_peak(c, x, ke, a, b)) / b)


@inlined
def _quadrature_error(width, panels, patient):
    """Bound on the error of the first block's rule in :func:`_crowding`, and what is admissible.

    The integrand is analytic up to the zeros of ec50 + c exp(-ke s), which lie at
    |Im s| = pi/ke or more.  On a Bernstein ellipse of parameter rho, reaching delta beyond a
    panel of width w, it is at most exp(z), z = max(emax delta, r (w + delta)), and n >= 2 nodes
    err by less than (w/2) (64/15) exp(z) rho^(-2n) / (1 - rho^-2)  (Trefethen, Approximation
    Theory and Approximation Practice, ch. 19).  In a scan of 360 000 random integrands the true
    error of 8 and of 16 nodes stayed below that bound by more than a factor of 170, and of 6600
    where emax/ke >= 1, as the integrand is then smooth at those zeros; _SLACK_* takes part of
    this off.  24 nodes erred by less than 1e-13 on any panel.

    Returns (error per kappa with one block, factor of each further block, admissible error).
    """
    r, ke, emax = patient.growth_rate, patient.elimination_rate, patient.emax
    half = 0.5 * width
    y = (1.0 / math.pi) * ke * half
    inv_rho = max(y / (1.0 + math.sqrt(1.0 + y * y)), (1.0 / 24.0) * (emax + r) * width, 1e-3)
    delta = half * (0.5 * (1.0 / inv_rho + inv_rho) - 1.0)
    # (1 - z/32)^32 < exp(-z) spares an exponential; z < 25 by the choice of rho.
    inv_growth = 1.0 - (1.0 / 32.0) * max(emax * delta, r * (width + delta))
    for _ in range(5):
        inv_growth *= inv_growth
    shrink = inv_rho * inv_rho
    shrink_4 = (shrink * shrink) * (shrink * shrink)
    shrink_block = shrink_4 * shrink_4
    error_of_block = 64.0 / 15.0 * half * shrink_block * panels
    slack = _SLACK_FROM_1 if emax / ke >= 1.0 else _SLACK_BELOW_1
    return error_of_block, shrink_block, _TOLERANCE * slack * (1.0 - shrink) * inv_growth


@inlined
def _sum_nodes(blocks, c, ec50, inv, elimination, growth, scale, m):
    """The integrand's weighted sum over the nodes of a panel, in units of 2^(scale - 54)."""
    # Compilers may reorder sums of integers, as vector instructions need, but not of floats:
    # the terms, 0 to 0.19 as 2^scale is taken out of f, are added as multiples of 2^-54, which
    # are the last bits of 0.25 + term.
    parts = np.int64(0)
    for j in range(blocks * _BLOCK):
        s = _NODES[blocks, j]
        ratio = (ec50 + c * _exp2(elimination * s)) * inv
        f = _exp2(m * _log2(ratio) + (growth * s - scale))
        parts += np.float64(0.25 + _WEIGHTS[blocks, j] * f).view(np.int64) - _QUARTER_BITS
    return parts


@inlined
def _crowding(c, h, left, kappa, patient):
    """kappa I, with I the integral over [0, h] of exp(r s - G(s)), G the kill since the start.

    kappa is (r/K) times the cell number at the start, left is exp(-ke h).  The result enters
    ln N as log1p(kappa I), so an absolute error of _TOLERANCE suffices, and a small tumour
    needs few nodes.
    """
    r, ke = patient.growth_rate, patient.elimination_rate
    emax, ec50 = patient.emax, patient.ec50
    if c == 0.0 or emax == 0.0:
        return kappa * h if r == 0.0 else kappa * math.expm1(r * h) / r
    m = emax / ke
    panels = 1
    width = h
    decay = left
    if ke * h > _PANEL_DECAY or (emax + r) * h > _PANEL_GROWTH:
        panels = math.ceil(max(ke * h / _PANEL_DECAY, (emax + r) * h / _PANEL_GROWTH))
        width = h / panels
        decay = math.exp(-ke * width)
    error_of_block, shrink_block, admissible = _quadrature_error(width, panels, patient)
    elimination = -_LOG2E * ke * width
    growth = _LOG2E * r * width
    scale = math.ceil(growth)
    unit = width * 2.0**-54 * (1 << scale)
    total = 0.0
    weight = kappa  # kappa times the integrand at the start of the panel
    for panel in range(panels):
        error = error_of_block * weight
        # Branches, which processors predict: a formula would make the nodes wait for kappa.
        blocks = 1
        while error > admissible and blocks < _MAX_BLOCKS:
            error *= shrink_block
            blocks += 1
        inv = 1.0 / (ec50 + c)
        total += weight * unit * _sum_nodes(blocks, c, ec50, inv, elimination, growth, scale, m)
        if panel + 1 < panels:
            c_end = c * decay
            weight *= math.exp(r * width + m * math.log((ec50 + c_end) * inv))
            c = c_end
            # Stop when washed out: what is left of the kill cannot matter any more.
            rest = h - (panel + 1) * width
            tail = rest if r == 0.0 else math.expm1(r * rest) / r
            if weight * tail * min(m * c, ec50) < 0.01 * _TOLERANCE * ec50:
                return total + weight * tail
    return total


@inlined
def propagate_core(c, x, log_cells, h, patient):
    """Exact dose-free step of h >= 0 days from (C, X, ln N) just after any dose.

    Returns (C, X, ln N, peak of X over the closed step, integral of C).  Equations: spec. 1.2;
    ln N is exact to 1e-11 for each piece in which the cells can grow by exp(200).
    """
    if h <= 0.0:
        return c, x, log_cells, x, 0.0
    pieces = 1
    if patient.growth_rate * h > _LONGEST_GROWTH:
        pieces = math.ceil(patient.growth_rate * h / _LONGEST_GROWTH)
        h = h / pieces
    peak, auc = x, 0.0
    for _ in range(pieces):
        c, x, log_cells, top, exposure = _closed_step(c, x, log_cells, h, patient)
        peak = max(peak, top)
        auc += exposure
    return c, x, log_cells, peak, auc


@inlined
def _closed_step(c, x, log_cells, h, patient):
    """The closed form of :func:`propagate_core` for h > 0 and r*h up to ``_LONGEST_GROWTH``."""
    r, ke = patient.growth_rate, patient.elimination_rate
    emax, ec50 = patient.emax, patient.ec50
    a, b = patient.toxicity_gain, patient.toxicity_recovery
    decay = ke * h
    if decay < 0.1:
        lost = -math.expm1(-decay)
        left = 1.0 - lost
    else:
        left = math.exp(-decay)
        lost = 1.0 - left
    c_end = c * left
    x_end = _toxicity(c, x, h, left, ke, a, b)
    peak = max(x, x_end)
    if a * c > b * x and a * c_end < b * x_end:
        peak = max(peak, toxicity_peak_if_untreated(c, x, ke, a, b))

    growth = r * h
    if c > 0.0 and emax > 0.0:
        growth -= emax / ke * math.log((ec50 + c) / (ec50 + c_end))
    kappa = r / patient.carrying_capacity * math.exp(log_cells)
    crowding = _crowding(c, h, left, kappa, patient)
    if crowding < 1e-5:
        brake = crowding * (1.0 - crowding * (0.5 - crowding / 3.0))
    else:
        brake = math.log(1.0 + crowding)
    return c_end, x_end, log_cells + growth - brake, peak, c * lost / ke


@compiled(error_model="numpy")
def _crossing(c, x, limit, lo, hi, rising, ke, a, b):
    """Time in [lo, hi] at which toxicity, monotone there, passes the limit (safe Newton)."""
    s = lo if rising else 0.5 * (lo + hi)
    for _ in range(100):
        left = math.exp(-ke * s)
        value = _toxicity(c, x, s, left, ke, a, b)
        gap = value - limit
        if gap == 0.0:
            return s
        if (gap > 0.0) == rising:
            hi = s
        else:
            lo = s
        slope = a * c * left - b * value
        trial = s - gap / slope if slope != 0.0 else lo
        if not lo < trial < hi:
            trial = 0.5 * (lo + hi)
        if abs(trial - s) <= 4e-16 * hi:
            return trial
        s = trial
    return s


@compiled(error_model="numpy")
def _over_limit(c, x, x_end, h, limit, ke, a, b):
    """Integral of (X - limit)_+ and time with X > limit over a step whose peak is above limit.

    X rises and then falls, so the time above the limit is one interval; there the integral
    of X follows from its equation: (a int C - change of X) / b.
    """
    top = 0.0
    if a * c > b * x:
        top = min(h, _time_of_peak(c, x, ke, a, b))
    start, x_start = 0.0, x
    if x < limit:
        start, x_start = _crossing(c, x, limit, 0.0, top, True, ke, a, b), limit
    stop, x_stop = h, x_end
    if x_end < limit:
        stop, x_stop = _crossing(c, x, limit, top, h, False, ke, a, b), limit
    days = max(stop - start, 0.0)
    exposure = c * math.exp(-ke * start) * -math.expm1(-ke * days) / ke
    area = (a * exposure - (x_stop - x_start)) / b - limit * days
    return max(area, 0.0), days


@inlined
def propagate(c, x, log_cells, h, patient, limit):
    """:func:`propagate_core` with the excess over a toxicity limit.

    Returns (C, X, ln N, peak of X, integral of C, integral of (X - limit)_+ [d],
    time with X > limit [d]).
    """
    c1, x1, l1, peak, auc = propagate_core(c, x, log_cells, h, patient)
    excess, days = 0.0, 0.0
    if peak > limit:
        ke = patient.elimination_rate
        a, b = patient.toxicity_gain, patient.toxicity_recovery
        excess, days = _over_limit(c, x, x1, h, limit, ke, a, b)
    return c1, x1, l1, peak, auc, excess, days


@compiled(error_model="numpy")
def largest_safe_dose(c, x, limit, ke, a, b):
    """Largest dose D >= 0 [mg/L] now such that toxicity never exceeds limit afterwards.

    Without further doses, that is: ``toxicity_peak_if_untreated(c + D, x, ...) <= limit``.
    Zero when even D = 0 is unsafe, infinite when the drug is not toxic (a = 0).

    The critical trajectory peaks at X = limit with C = b limit/a.  Followed backwards for s
    days its toxicity is limit e^{bs} (1 - b expm1((ke-b)s)/(ke-b)), decreasing and concave in
    s; the s that meets x gives the admissible concentration (b limit/a) e^{ke s}.
    """
    if not toxicity_peak_if_untreated(c, x, ke, a, b) <= limit:
        return 0.0
    if a == 0.0 or limit == math.inf:
        return math.inf
    # Room for the rounding of whoever follows the trajectory in several steps.
    safe = limit * (1.0 - 16 * 2.220446049250313e-16)
    deficit = (safe - x) / safe if safe > 0.0 else 0.0
    s = 0.0
    if deficit > 0.0:
        d = ke - b
        # Two upper bounds of the root; Newton descends from there without overshooting.
        s = math.sqrt(2.0 * deficit / (ke * b))
        s = min(s, 1.0 / b if d == 0.0 else math.log1p(d / b) / d)
        for _ in range(60):
            grown = math.exp(b * s)
            transfer = s if d == 0.0 else math.expm1(d * s) / d
            gap = b * grown * transfer - math.expm1(b * s) - deficit
            step = gap / (ke * b * grown * transfer)
            if not step > 1e-16 * s:
                break
            s = max(s - step, 0.0)
            if s == 0.0:
                break
    dose = max(b * max(safe, x) / a * math.exp(ke * s) - c, 0.0)
    slack = 2.220446049250313e-16 * (dose + c)
    while dose > 0.0 and toxicity_peak_if_untreated(c + dose, x, ke, a, b) > limit:
        dose = max(dose - slack, 0.0)
        slack *= 2.0
    return dose


@inlined
def _sort_doses(times, doses, horizon, order):
    """Indices of the doses that act, by time, stable; returns their number."""
    count = 0
    for i in range(times.shape[0]):
        if doses[i] > 0.0 and times[i] < horizon:
            j = count
            while j > 0 and times[order[j - 1]] > times[i]:
                order[j] = order[j - 1]
                j -= 1
            order[j] = i
            count += 1
    return count


@inlined
def _follow_plan(times, doses, patient, horizon, limit, order, out):
    """One plan from C = X = 0 and N = N0, of which ``out`` tells; ``order`` is room for indices."""
    now, c, x, log_cells = 0.0, 0.0, 0.0, math.log(patient.initial_cells)
    peak, auc, excess, days, given = 0.0, 0.0, 0.0, 0.0, 0.0
    count = _sort_doses(times, doses, horizon, order)
    for k in range(count + 1):
        until = horizon if k == count else times[order[k]]
        if until > now:
            c, x, log_cells, top, exposure, area, over = propagate(
                c, x, log_cells, until - now, patient, limit
            )
            peak = max(peak, top)
            auc += exposure
            excess += area
            days += over
            now = until
        if k < count:
            c += doses[order[k]]
            given += doses[order[k]]
    out.final_concentration, out.final_toxicity, out.final_log_cells = c, x, log_cells
    out.peak_toxicity, out.auc, out.total_dose = peak, auc, given
    out.excess_toxicity, out.days_over_limit = excess, days


def _simulate_plans(times, doses, patients, horizon, limit, out):
    """P plans: times, doses (P, M) or (1, M); patients (P, 8) or (1, 8); fills out (P, 8).

    One row of plans or patients serves all.  A dose [mg/L] acts just after the flow has reached
    its time [d]; the order is free, equal times add, doses at or after the horizon [d] have no
    effect, zero doses are ignored.
    """
    plans = out.shape[0]
    for chunk in prange((plans + _CHUNK - 1) // _CHUNK):
        order = np.empty(times.shape[1], np.int64)
        for number in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, plans)):
            plan = number if times.shape[0] > 1 else 0
            who = number if patients.shape[0] > 1 else 0
            _follow_plan(
                row_at(times, plan),
                row_at(doses, plan),
                record_at(patients, who, PATIENT),
                horizon,
                limit,
                order,
                record_at(out, number, PLAN),
            )


simulate_plans, simulate_plans_parallel = compile_twins(_simulate_plans, error_model="numpy")


@compiled(error_model="numpy")
def sample_plan(times, doses, patients, horizon, sample_times, left, out):
    """Trajectory of one plan; fills out (S, 3) with C, X and ln N, each row a ``SAMPLE``.

    patients (1, 8); sample_times (S,) ascending, within [0, horizon]; left (S,) bool: where true
    and a dose is due, the value before it (such a sample must precede those after it), else the
    value after.
    """
    patient = record_at(patients, 0, PATIENT)  # type: ignore[var-annotated]
    now, c, x, log_cells = 0.0, 0.0, 0.0, math.log(patient.initial_cells)
    order = np.empty(times.shape[0], np.int64)
    count = _sort_doses(times, doses, horizon, order)
    k = 0
    for i in range(sample_times.shape[0]):
        t = sample_times[i]
        while k < count and (times[order[k]] < t or (times[order[k]] == t and not left[i])):
            h = times[order[k]] - now
            c, x, log_cells, _, _ = propagate_core(c, x, log_cells, h, patient)
            now = times[order[k]]
            c += doses[order[k]]
            k += 1
        now_c, now_x, now_log_cells, _, _ = propagate_core(c, x, log_cells, t - now, patient)
        seen = record_at(out, i, SAMPLE)
        seen.concentration, seen.toxicity, seen.log_cells = now_c, now_x, now_log_cells
