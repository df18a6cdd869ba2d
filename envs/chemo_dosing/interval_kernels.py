"""Constants of the exact propagator for steps of one fixed length.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.

With a fixed step the exponentials of the drug, the toxicity and the quadrature nodes are constants
of the patient; a step then costs one logarithm and exponential a node. Equations are those of
``kernels.propagate``; ln N differs from its by rounding and the stated tolerance.
"""

import math

import numpy as np

from oncogym.envs.chemo_dosing.records import MOST_NODES
from oncogym.envs.compiled import compiled
from oncogym.envs.lane_kernels import inlined

# Admissible error of ln N in one step.
_TOLERANCE = 1e-12
# Ellipses among which the best error bound is sought.
_ELLIPSES = 10


def _rules():
    nodes = np.zeros((MOST_NODES + 1, MOST_NODES))
    weights = np.zeros((MOST_NODES + 1, MOST_NODES))
    for n in range(2, MOST_NODES + 1):
        nodes[n, :n], weights[n, :n] = np.polynomial.legendre.leggauss(n)
    return nodes, weights


_X, _W = _rules()


@compiled(error_model="numpy")
def _log_errors(h, r, ke, emax):
    """Logarithms of bounds on the quadrature error over h with 2, 4, 5, 6 and 8 nodes.

    The growth integral's integrand is analytic up to |Im s| = pi/ke. On a Bernstein ellipse of
    parameter rho it is at most exp(max(emax d, r (h + d))), d being how far the ellipse reaches
    beyond the interval; the bound (Trefethen, Approximation Theory and Approximation Practice,
    theorem 19.3) is taken at the best of some rho. It is for a unit factor r N/K.
    """
    half = 0.5 * h
    reach = math.pi / (ke * half)
    log_largest = math.log(reach + math.sqrt(1.0 + reach * reach))
    e2 = e4 = e5 = e6 = e8 = math.inf
    for k in range(1, _ELLIPSES):
        log_rho = log_largest * k / _ELLIPSES
        rho = math.exp(log_rho)
        beyond = half * (0.5 * (rho + 1.0 / rho) - 1.0)
        size = max(emax * beyond, r * (h + beyond)) - math.log(1.0 - 1.0 / (rho * rho))
        e2 = min(e2, size - 4.0 * log_rho)
        e4 = min(e4, size - 8.0 * log_rho)
        e5 = min(e5, size - 10.0 * log_rho)
        e6 = min(e6, size - 12.0 * log_rho)
        e8 = min(e8, size - 16.0 * log_rho)
    scale = math.log(half * 64.0 / 15.0)
    return e2 + scale, e4 + scale, e5 + scale, e6 + scale, e8 + scale


@inlined
def prepare_interval(constants, patient, h):
    """Fill a lane's ``CONSTANTS`` for steps of ``h`` days (spec. 1.2, h fixed).

    ``nodes`` is 0 where the general path is needed.
    """
    r, ke, emax = patient.growth_rate, patient.elimination_rate, patient.emax
    a, b = patient.toxicity_gain, patient.toxicity_recovery
    admissible = math.log(_TOLERANCE / r)
    e2, e4, e5, e6, e8 = _log_errors(h, r, ke, emax)
    if e4 <= admissible:
        count = 4
    elif e5 <= admissible:
        count = 5
    elif e6 <= admissible:
        count = 6
    elif e8 <= admissible:
        count = 8
    else:
        constants.nodes = 0.0
        return
    difference = ke - b
    recovered = math.exp(-b * h)
    transfer = h if difference == 0.0 else -math.expm1(-difference * h) / difference
    constants.left = math.exp(-ke * h)
    constants.recovered = recovered
    constants.transfer = a * recovered * transfer
    constants.power = emax / ke
    constants.crowd = r / patient.carrying_capacity
    constants.exposure = -math.expm1(-ke * h) / ke
    constants.growth = r * h
    constants.nodes = count
    constants.small = _TOLERANCE * math.exp(-e2)
    _fill_rule(constants.weight, constants.decay, count, h, r, ke)
    _fill_rule(constants.weight2, constants.decay2, 2, h, r, ke)


@inlined
def _fill_rule(weight, decay, count, h, r, ke):
    """Weights with the growth, and the drug left, at the nodes of a rule over h."""
    for i in range(count):
        s = 0.5 * h * (1.0 + _X[count, i])
        weight[i] = 0.5 * h * _W[count, i] * math.exp(r * s)
        decay[i] = math.exp(-ke * s)


@inlined
def follow_interval(c, log_cells, cells, c_end, constants, ec50):
    """ln N after the step, of which the drug is known (spec. 1.2)."""
    power = constants.power
    inverse = 1.0 / (ec50 + c)
    crowd = constants.crowd * cells
    total = 0.0
    if crowd < constants.small:
        for i in range(2):
            base = (ec50 + c * constants.decay2[i]) * inverse
            total += constants.weight2[i] * math.exp(power * math.log(base))
    else:
        for i in range(int(constants.nodes)):
            base = (ec50 + c * constants.decay[i]) * inverse
            total += constants.weight[i] * math.exp(power * math.log(base))
    log_cells += constants.growth + power * math.log((ec50 + c_end) * inverse)
    return log_cells - math.log1p(crowd * total)
