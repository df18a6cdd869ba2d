"""Constants of the exact propagator for steps of one fixed length.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.

With a fixed step the exponentials of the drug, the toxicity and the quadrature nodes are constants
of the patient; a step then costs one logarithm and exponential a node. Equations are those of
``kernels.propagate``; ln N differs from its by rounding and the stated tolerance.
"""

import math

import numpy as np
from numba import njit

# Columns of a lane's constants.
LEFT, RECOVERED, TRANSFER, POWER, CROWD, EXPOSURE, GROWTH, NODES, SMALL = range(9)
_MAX_NODES = 8
WEIGHT_AT = 9
DECAY_AT = WEIGHT_AT + _MAX_NODES
WEIGHT2_AT = DECAY_AT + _MAX_NODES
DECAY2_AT = WEIGHT2_AT + 2
CONSTANTS = DECAY2_AT + 2

# Admissible error of ln N in one step.
_TOLERANCE = 1e-12
# Ellipses among which the best error bound is sought.
_ELLIPSES = 10


def _rules():
    nodes = np.zeros((_MAX_NODES + 1, _MAX_NODES))
    weights = np.zeros((_MAX_NODES + 1, _MAX_NODES))
    for n in range(2, _MAX_NODES + 1):
        nodes[n, :n], weights[n, :n] = np.polynomial.legendre.leggauss(n)
    return nodes, weights


_X, _W = _rules()


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
def prepare_interval(lane, constants, patients, h):
    """Fill a lane's constants for steps of ``h`` days; NODES is 0 where the general path is needed.

    SMALL is the value of (r/K) N below which two nodes suffice.
    """
    r, capacity, ke = patients[lane, 0], patients[lane, 1], patients[lane, 3]
    emax, a, b = patients[lane, 4], patients[lane, 6], patients[lane, 7]
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
        constants[lane, NODES] = 0.0
        return
    difference = ke - b
    recovered = math.exp(-b * h)
    transfer = h if difference == 0.0 else -math.expm1(-difference * h) / difference
    constants[lane, LEFT] = math.exp(-ke * h)
    constants[lane, RECOVERED] = recovered
    constants[lane, TRANSFER] = a * recovered * transfer
    constants[lane, POWER] = emax / ke
    constants[lane, CROWD] = r / capacity
    constants[lane, EXPOSURE] = -math.expm1(-ke * h) / ke
    constants[lane, GROWTH] = r * h
    constants[lane, NODES] = count
    constants[lane, SMALL] = _TOLERANCE * math.exp(-e2)
    for i in range(count):
        s = 0.5 * h * (1.0 + _X[count, i])
        constants[lane, WEIGHT_AT + i] = 0.5 * h * _W[count, i] * math.exp(r * s)
        constants[lane, DECAY_AT + i] = math.exp(-ke * s)
    for i in range(2):
        s = 0.5 * h * (1.0 + _X[2, i])
        constants[lane, WEIGHT2_AT + i] = 0.5 * h * _W[2, i] * math.exp(r * s)
        constants[lane, DECAY2_AT + i] = math.exp(-ke * s)
