"""Planning: non-negative weights that minimise an objective, nominally or over scenarios."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, minimize
from threadpoolctl import ThreadpoolController

from oncogym.core.errors import nearest
from oncogym.envs.impt_beam_weighting import objective_kernels as kernel
from oncogym.envs.impt_beam_weighting.errors import WeightError
from oncogym.envs.impt_beam_weighting.influence import DoseInfluence
from oncogym.envs.impt_beam_weighting.objective import Objective, Problem
from oncogym.envs.threads import choose

Floats = NDArray[np.float64]

METHODS = ("lbfgs", "accelerated")
ROBUST = ("mean", "worst")
# Pairs of steps that L-BFGS-B remembers.
_MEMORY = 20
# Smallest curvature that counts in the choice of units, as a share of the largest.
_FLAT = 1e-4
# The worst scenario is approached by log-sum-exp with these shares of the value as temperature.
_TEMPERATURES = (0.3, 0.1, 0.03, 0.01)


@dataclass(frozen=True)
class Plan:
    """Weights that a planner found.

    Attributes:
        weights: Weight of each spot ``(spots,)``.
        dose: Dose in the first (nominal) scenario ``(voxels,)`` [Gy].
        objective: Value of the objective: mean or worst over the scenarios.
        history: Value after each iteration.
        evaluations: Evaluations of the objective, each over all scenarios.
        seconds: Wall time.
        converged: Whether the tolerance was reached before the limit of iterations.
        message: Why it stopped.
    """

    weights: Floats
    dose: Floats
    objective: float
    history: list[float]
    evaluations: int
    seconds: float
    converged: bool
    message: str


def plan(
    influence: DoseInfluence | Sequence[DoseInfluence],
    objective: Objective | None = None,
    *,
    method: str = "lbfgs",
    robust: str = "mean",
    start: ArrayLike | None = None,
    iterations: int = 500,
    tolerance: float = 1e-9,
    stop: Callable[[float, Floats], bool] | None = None,
) -> Plan:
    """Find weights.

    Args:
        influence: The influence, or one for each scenario; the first is the nominal one.
        objective: What to minimise; by default the standard penalties with an aim 1 Gy above the
            prescription (:meth:`Objective.standard`).
        method: ``"lbfgs"`` (SciPy's L-BFGS-B) or ``"accelerated"`` (projected accelerated
            gradient with restarts; one scenario only).
        robust: With several scenarios, minimise the ``"mean"`` or the ``"worst"`` of their values.
        start: Weights to begin with; by default equal ones with the prescribed mean target dose.
        iterations: Largest number of iterations.
        tolerance: Relative change of the objective (L-BFGS-B) or of the weights below which it
            counts as converged.
        stop: Called after each iteration with value and weights (L-BFGS-B); true ends the search.

    Raises:
        WeightError: The start is no set of weights.
        UnknownNameError: Method, robustness or a structure of the objective does not exist.
        ValueError: The scenarios do not fit together, or a number is out of range.
    """
    scenarios = [influence] if isinstance(influence, DoseInfluence) else list(influence)
    if not scenarios:
        raise ValueError("there is no scenario; allowed: at least one influence matrix")
    nominal = scenarios[0]
    if any(one.num_spots != nominal.num_spots for one in scenarios):
        raise ValueError(
            f"the scenarios have {[one.num_spots for one in scenarios]} spots; allowed: as many in "
            "all"
        )
    if method not in METHODS:
        raise nearest("planning method", method, METHODS)
    if robust not in ROBUST:
        raise nearest("robustness", robust, ROBUST)
    if iterations < 1 or not 0.0 <= tolerance < 1.0:
        raise ValueError(
            f"iterations is {iterations!r} and tolerance {tolerance!r}; allowed: at least 1, and "
            "from 0 to below 1"
        )
    goal = objective or Objective.standard(nominal.structures, nominal.prescription + 1.0)
    if start is None:
        weights = nominal.normalised(np.ones(nominal.num_spots))
    else:
        weights = nominal.check_weights(start)
        if weights.ndim != 1:
            raise WeightError(
                f"the start has shape {weights.shape}; allowed: ({nominal.num_spots},)"
            )
    began = time.perf_counter()
    problems = [Problem(one, goal) for one in scenarios]
    if method == "accelerated":
        if len(problems) > 1:
            raise ValueError("method 'accelerated' takes one scenario; use 'lbfgs' for several")
        found, values, used = accelerate(problems[0], weights[None], iterations, tolerance)
        weights, value, evaluations = found[0], float(values[0]), int(used[0])
        history, converged = [value], evaluations <= iterations
        message = "step below the tolerance" if converged else "limit of iterations"
    else:
        weights, value, history, evaluations, converged, message = _lbfgs(
            problems, weights, robust, iterations, tolerance, stop
        )
    return Plan(
        weights, nominal.dose(weights), value, history, evaluations,
        time.perf_counter() - began, converged, message,
    )  # fmt: skip


def accelerate(
    problem: Problem,
    start: Floats,
    iterations: int = 500,
    tolerance: float = 1e-6,
    terms: Floats | None = None,
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Solve many variants of one problem at once, a lane each, on all threads.

    Args:
        problem: The problem.
        start: Weights of each lane ``(lanes, spots)``.
        iterations, tolerance: As :func:`plan` takes them.
        terms: Penalties of each lane ``(lanes, terms, 5)``, rows as in ``problem.terms``; by
            default the problem's own.

    Returns:
        Weights ``(lanes, spots)``, objective ``(lanes,)`` and evaluations ``(lanes,)``.
    """
    weights = np.array(np.atleast_2d(start), np.float64)
    lanes = len(weights)
    table = np.tile(problem.terms, (lanes, 1, 1)) if terms is None else np.asarray(terms)
    if table.shape != (lanes, *problem.terms.shape):
        raise ValueError(f"terms have shape {table.shape}; allowed: "
                         f"{(lanes, *problem.terms.shape)}")  # fmt: skip
    bounds = {row.tobytes(): row for row in table}
    curvature = {key: problem.lipschitz(row) for key, row in bounds.items()}
    steps = np.array([1.0 / curvature[row.tobytes()] for row in table])
    values = np.empty(lanes)
    used = np.empty(lanes, np.int64)
    choose(kernel.accelerate, kernel.accelerate_parallel)(
        *problem.matrix, np.ascontiguousarray(table), problem.ridge, steps, int(iterations),
        float(tolerance), weights, values, used,
    )  # fmt: skip
    return weights, values, used


class _Stop(Exception):
    """The caller has seen enough."""


def _lbfgs(
    problems: list[Problem],
    start: Floats,
    robust: str,
    iterations: int,
    tolerance: float,
    stop: Callable[[float, Floats], bool] | None,
) -> tuple[Floats, float, list[float], int, bool, str]:
    history: list[float] = []
    evaluations = 0
    best = start
    unit = _units(problems)

    def search(temperature: float, begin: Floats, budget: int) -> tuple[Floats, bool, str]:
        last = math.inf

        def value(variables: Floats) -> tuple[float, Floats]:
            nonlocal evaluations, last
            evaluations += 1
            weights = variables * unit
            last, gradient = _combine([p(weights) for p in problems], robust, temperature)
            return last, gradient * unit

        def after(variables: Floats) -> None:
            nonlocal best
            # The point accepted last is the one evaluated last.
            history.append(last)
            best = variables * unit
            if stop is not None and stop(last, best):
                raise _Stop

        with _blas().limit(limits=1, user_api="blas"):
            result = minimize(
                value, begin / unit, jac=True, method="L-BFGS-B", bounds=Bounds(0.0, np.inf),
                callback=after,
                options={"maxiter": budget, "maxfun": 4 * budget, "maxcor": _MEMORY,
                         "ftol": tolerance, "gtol": 0.0},
            )  # fmt: skip
        return result.x * unit, bool(result.status == 0), str(result.message)

    smooth = len(problems) == 1 or robust == "mean"
    temperatures = (0.0,) if smooth else _TEMPERATURES
    weights, converged, message = start, False, ""
    try:
        for temperature in temperatures:
            budget = max(1, iterations // len(temperatures))
            weights, converged, message = search(temperature, weights, budget)
    except _Stop:
        weights, converged, message = best, True, "stopped by the caller"
    weights = np.maximum(weights, 0.0)
    value, _ = _combine([p(weights) for p in problems], robust, 0.0)
    return weights, value, history, evaluations, converged, message


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """The process's BLAS.

    L-BFGS-B solves tiny linear systems, which OpenBLAS shares out among threads that wait for each
    other: on a busy machine that took up to a hundred times as long, and rounding depended on the
    number of threads.
    """
    return ThreadpoolController()


def _units(problems: list[Problem]) -> Floats:
    """Units ``(spots,)`` in which the objective bends alike along every weight.

    In them L-BFGS-B needs half as many iterations to a good plan. Spots that hardly hit anything
    keep within a factor of the others.
    """
    curvature = np.mean([problem.diagonal() for problem in problems], axis=0)
    top = curvature.max()
    if top <= 0.0:
        return np.ones(len(curvature))
    return np.asarray(1.0 / np.sqrt(np.maximum(curvature, _FLAT * top) / top))


def _combine(
    parts: list[tuple[float, Floats]], robust: str, temperature: float
) -> tuple[float, Floats]:
    """Mean of the scenarios, or (smoothly, for a positive temperature) the worst of them."""
    if len(parts) == 1:
        return parts[0]
    values = np.array([value for value, _ in parts])
    gradients = np.stack([gradient for _, gradient in parts])
    if robust == "mean":
        return float(values.mean()), gradients.mean(axis=0)
    worst = values.max()
    if temperature <= 0.0:
        return float(worst), gradients[int(values.argmax())]
    # log-sum-exp of the square roots: the values span orders of magnitude during a search.
    roots = np.sqrt(np.maximum(values, 1e-300))
    scale = temperature * 1.0
    shares = np.exp((roots - roots.max()) / scale)
    total = shares.sum()
    smooth = roots.max() + scale * math.log(total)
    slopes = shares / total / (2.0 * roots)
    return float(smooth**2), 2.0 * smooth * (slopes[:, None] * gradients).sum(axis=0)
