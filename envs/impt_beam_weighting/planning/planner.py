"""Planning: non-negative weights that minimise an objective, nominally or over scenarios."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import ThreadpoolController

from oncogym.core.arrays import Floats
from oncogym.core.errors import nearest
from oncogym.envs.impt_beam_weighting.planning import objective_kernels as kernel
from oncogym.envs.impt_beam_weighting.planning.errors import WeightError
from oncogym.envs.impt_beam_weighting.planning.influence import DoseInfluence
from oncogym.envs.impt_beam_weighting.planning.objective import Objective, Problem
from oncogym.envs.impt_beam_weighting.planning.units import GRAY
from oncogym.envs.threads import choose

METHODS = ("lbfgs", "accelerated")
ROBUST = ("mean", "worst")
# Pairs of steps that L-BFGS-B remembers.
_MEMORY = 20
# Smallest curvature that counts in the choice of units, as a share of the largest.
_FLAT = 1e-4
#: Plans count as converged up to this :attr:`Plan.optimality`.
OPTIMAL = 1e-5
# Share of the gap between a mixture of scenarios and the worst one that counts as distance.
_GAP = 1e-2
# An objective below this share of what it is without dose counts as that.
_NOTHING = 1e-6
# Objectives within 2^11 to 2^19 are left in their own unit, see _scale.
_SCALE_MIDDLE, _SCALE_STEP = 15, 8
# So are weights that alone would take the objective down at about 2^1 to 2^13, see _units.
_WEIGHT_MIDDLE, _WEIGHT_STEP = 7, 12
# The worst scenario is approached by log-sum-exp of the roots of the values, one after another with
# these shares of the worst root as temperature.
_TEMPERATURES = (1e-2, 3e-3, 1e-3, 3e-4)


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
        converged: Whether ``optimality`` is at most :data:`OPTIMAL`, however the search ended.
        message: Why it stopped.
        optimality: Distance from the conditions of an optimum, 0 at one: the decrease that a step
            along each weight alone promises (projected gradient times step), relative to the
            objective. It depends neither on units of dose or weight nor on the scale of the
            penalties. Plans have been found to lie 30 to 400 times as far above the optimum. For
            the worst scenario it is that of the mixture of scenarios that matter, and not less than
            1 % of the relative gap between the mixture and the worst.
        unit: Unit of the doses.
    """

    weights: Floats
    dose: Floats
    objective: float
    history: list[float]
    evaluations: int
    seconds: float
    converged: bool
    message: str
    optimality: float = math.inf
    unit: str = GRAY


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
    insist: bool = True,
) -> Plan:
    """Find weights.

    Args:
        influence: The influence, or one for each scenario; the first is the nominal one.
        objective: What to minimise; by default the standard penalties with an aim 1/60 above the
            prescription, which has to be known (:func:`standard_goal`).
        method: ``"lbfgs"`` (SciPy's L-BFGS-B) or ``"accelerated"`` (projected accelerated
            gradient with restarts; one scenario only).
        robust: With several scenarios, minimise the ``"mean"`` or the ``"worst"`` of their values.
        start: Weights to begin with; by default equal ones with the prescribed mean target dose,
            or without a prescription the largest dose that the objective asks for in the target.
        iterations: Largest number of iterations.
        tolerance: Relative change of the objective (L-BFGS-B) or of the weights below which the
            search ends. Whether it has converged is decided by :attr:`Plan.optimality`.
        stop: Called after each iteration with value and weights (L-BFGS-B); true ends the search.
        insist: Whether L-BFGS-B begins afresh, within its iterations, where a step below the
            tolerance ended it although it has not converged.

    Raises:
        WeightError: The start is no set of weights.
        UnknownNameError: Method, robustness or a structure of the objective does not exist.
        ValueError: The scenarios do not fit together, or a number is out of range.
    """
    scenarios = _scenarios(influence)
    nominal = scenarios[0]
    if method not in METHODS:
        raise nearest("planning method", method, METHODS)
    if robust not in ROBUST:
        raise nearest("robustness", robust, ROBUST)
    if iterations < 1 or int(iterations) != iterations or not 0.0 <= tolerance < 1.0:
        raise ValueError(
            f"iterations is {iterations!r} and tolerance {tolerance!r}; allowed: an integer of at "
            "least 1, and from 0 to below 1"
        )
    if method == "accelerated" and len(scenarios) > 1:
        raise ValueError("method 'accelerated' takes one scenario; use 'lbfgs' for several")
    goal = objective or standard_goal(nominal, 1.0)
    if start is None:
        weights = nominal.normalised(np.ones(nominal.num_spots), _start_dose(nominal, goal))
    else:
        weights = nominal.check_weights(start)
        if weights.ndim != 1:
            raise WeightError(
                f"the start has shape {weights.shape}; allowed: ({nominal.num_spots},)"
            )
    began = time.perf_counter()
    problems = [Problem(one, goal) for one in scenarios]
    size = _size(problems, weights)
    if method == "accelerated":
        found, values, used = accelerate(problems[0], weights[None], iterations, tolerance)
        weights, value, evaluations = found[0], float(values[0]), int(used[0])
        history = [value]
        ended = evaluations <= iterations
        message = "step below the tolerance" if ended else "limit of iterations"
    else:
        weights, value, history, evaluations, message = _lbfgs(
            problems, weights, robust, int(iterations), tolerance, stop, size, insist
        )
    distance = _optimality(problems, weights, robust, size)
    return Plan(
        weights, nominal.dose(weights), value, history, evaluations,
        time.perf_counter() - began, distance <= OPTIMAL, message, distance, nominal.unit,
    )  # fmt: skip


def standard_goal(influence: DoseInfluence, above: float, aim: float | None = None) -> Objective:
    """The standard objective for an influence with a prescription, see :meth:`Objective.standard`.

    Args:
        influence: The influence.
        above: How far the aim lies above a prescription of 60 Gy [Gy]; in proportion for others.
        aim: An aim instead.

    Raises:
        ValueError: The influence has no prescription.
    """
    prescription = influence.prescribed
    return Objective.standard(
        influence.structures,
        prescription + above * prescription / 60.0 if aim is None else aim,
        rest_dose=0.5 * prescription,
        influence=influence,
    )


def _scenarios(influence: DoseInfluence | Sequence[DoseInfluence]) -> list[DoseInfluence]:
    """Scenarios that fit together."""
    found = [influence] if isinstance(influence, DoseInfluence) else list(influence)
    if not found:
        raise ValueError("there is no scenario; allowed: at least one influence matrix")
    for one in found:
        if not isinstance(one, DoseInfluence):
            raise ValueError(f"a scenario is {type(one).__name__}; allowed: DoseInfluence")
    first = found[0]
    for what, values in (
        ("spots", [one.num_spots for one in found]),
        ("voxels", [one.num_voxels for one in found]),
        ("unit of dose", [one.unit for one in found]),
        ("structures", [one.structures.names for one in found]),
    ):
        if any(value != values[0] for value in values):
            raise ValueError(f"the scenarios have {what} {values}; allowed: alike in all")
    for one in found[1:]:
        for own, other in zip(one.structures, first.structures, strict=True):
            if not np.array_equal(own.voxels, other.voxels):
                raise ValueError(
                    f"the voxels of {own.name!r} differ between the scenarios; allowed: alike in "
                    "all"
                )
    return found


def _start_dose(influence: DoseInfluence, goal: Objective) -> float | None:
    """Mean target dose to begin with, or ``None`` for the prescription."""
    if influence.prescription is not None:
        return None
    target = influence.structures.target
    asked = [t.dose for t in goal.terms if t.structure == target and t.kind != "mean"]
    return max(asked, default=0.0) or influence.prescribed


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
    """The search has ended; the message says why."""


def _lbfgs(
    problems: list[Problem],
    start: Floats,
    robust: str,
    iterations: int,
    tolerance: float,
    stop: Callable[[float, Floats], bool] | None,
    size: float,
    insist: bool,
) -> tuple[Floats, float, list[float], int, str]:
    history: list[float] = []
    evaluations = 0
    best = start
    unit = _units(problems, size)
    factor = _scale(size)

    def search(temperature: float, begin: Floats, budget: int) -> tuple[Floats, str]:
        last = math.inf

        def value(variables: Floats) -> tuple[float, Floats]:
            nonlocal evaluations, last
            evaluations += 1
            weights = variables * unit
            last, gradient = _combine([p(weights) for p in problems], robust, temperature)
            return factor * last, factor * (gradient * unit)

        def after(variables: Floats) -> None:
            nonlocal best
            # The point accepted last is the one evaluated last.
            history.append(last)
            best = variables * unit
            if stop is not None and stop(last, best):
                raise _Stop("stopped by the caller")

        with _blas().limit(limits=1, user_api="blas"):
            result = scipy.optimize.minimize(
                value, begin / unit, jac=True, method="L-BFGS-B",
                bounds=scipy.optimize.Bounds(0.0, np.inf), callback=after,
                options={"maxiter": budget, "maxfun": 4 * budget, "maxcor": _MEMORY,
                         "ftol": tolerance, "gtol": 0.0},
            )  # fmt: skip
        return result.x * unit, str(result.message)

    smooth = len(problems) == 1 or robust == "mean"
    weights, message, warmth = start, "", 0.0
    try:
        for share in () if smooth else _TEMPERATURES:
            worst = _combine([p(weights) for p in problems], robust, 0.0)[0]
            warmth = max(share * math.sqrt(max(worst, 0.0)), 1e-150)
            weights, message = search(warmth, weights, max(1, iterations // len(_TEMPERATURES)))
        if smooth:
            weights, message = search(warmth, weights, iterations)
        while insist and len(history) < iterations:
            # A poor step may look like the end: only the conditions of an optimum tell.
            weights = np.maximum(weights, 0.0)
            if _optimality(problems, weights, robust, size) <= OPTIMAL:
                break
            before = _combine([p(weights) for p in problems], robust, 0.0)[0]
            done = len(history)
            again, message = search(warmth, weights, iterations - done)
            again = np.maximum(again, 0.0)
            now = _combine([p(again) for p in problems], robust, 0.0)[0]
            if now <= before:
                weights = again
            if len(history) == done or before - now <= tolerance * before:
                break
    except _Stop as reason:
        weights, message = best, str(reason)
    weights = np.maximum(weights, 0.0)
    value, _ = _combine([p(weights) for p in problems], robust, 0.0)
    return weights, value, history, evaluations, message


def _size(problems: list[Problem], start: Floats) -> float:
    """The measure of the objective's values: what it is without dose, or else at the start.

    Raises:
        ValueError: The objective is too large for floating-point numbers.
    """
    size = max(problem.size for problem in problems)
    first = max(problem(start)[0] for problem in problems)
    if not (math.isfinite(size) and math.isfinite(first)):
        raise ValueError(
            f"the objective is {first:g} at the start; allowed: finite, with smaller penalties or "
            "weights"
        )
    return (size if size > 0.0 else first) or 1.0


def _scale(size: float) -> float:
    """Power of two that brings an objective into the range for which L-BFGS-B is made.

    SciPy's tolerance is absolute for values below 1, and the first step is as long as the gradient.
    Objectives of 60 Gy with penalties of the usual weights stay as they are, bit for bit; others
    come within a factor of 16 of them.
    """
    return 2.0 ** (-_SCALE_STEP * round((math.log2(size) - _SCALE_MIDDLE) / _SCALE_STEP))


def _optimality(problems: list[Problem], weights: Floats, robust: str, size: float) -> float:
    """Distance from the conditions of an optimum, see :attr:`Plan.optimality`."""
    parts = [problem(weights) for problem in problems]
    values = np.array([value for value, _ in parts])
    gradients = np.stack([gradient for _, gradient in parts])
    curvatures = np.stack([problem.diagonal() for problem in problems])
    least = _NOTHING * size

    def promised(shares: Floats, value: float) -> float:
        decrease = _promised(shares @ gradients, shares @ curvatures, weights)
        return decrease / max(value, least)

    if robust == "mean" or len(parts) == 1:
        return promised(np.full(len(parts), 1.0 / len(parts)), float(values.mean()))
    # The worst is optimal if some mixture of the scenarios that are worst is.
    roots = np.sqrt(np.maximum(values, 0.0))
    worst = float(values.max())
    if worst <= 0.0:
        return 0.0
    found = math.inf
    for share in _TEMPERATURES:
        shares, _ = _softmax(roots, share * roots.max())
        slopes = shares / np.maximum(roots, 1e-12 * roots.max())
        shares = slopes / slopes.sum()
        gap = _GAP * float(worst - shares @ values) / max(worst, least)
        distance = promised(shares, worst)
        found = min(found, max(distance, gap))
    return found


def _promised(gradient: Floats, curvature: Floats, weights: Floats) -> float:
    """Decrease that steps along single weights promise."""
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(gradient > 0.0, np.inf, -np.inf)
        step = np.where(curvature > 0.0, gradient / curvature, step)
    step = np.where(gradient == 0.0, 0.0, np.minimum(step, weights))
    return max(float((gradient * step - 0.5 * curvature * step * step).sum()), 0.0)


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """The process's BLAS.

    L-BFGS-B solves tiny linear systems, which OpenBLAS shares out among threads that wait for each
    other: on a busy machine that took up to a hundred times as long, and rounding depended on the
    number of threads.
    """
    import_module("scipy.optimize")  # SciPy loads a BLAS of its own, which has to be there
    return ThreadpoolController()


def _units(problems: list[Problem], size: float) -> Floats:
    """Units ``(spots,)`` in which the objective bends alike along every weight.

    In them L-BFGS-B needs half as many iterations to a good plan. Spots that hardly hit anything
    keep within a factor of the others. A power of two brings weights of unusual size, as of single
    protons, into the range of the usual ones, for the first step is one unit long.
    """
    curvature = np.mean([problem.diagonal() for problem in problems], axis=0)
    top = float(curvature.max())
    if top <= 0.0:
        return np.ones(len(curvature))
    weight = math.log2(math.sqrt(size / top))
    common = 2.0 ** (_WEIGHT_STEP * round((weight - _WEIGHT_MIDDLE) / _WEIGHT_STEP))
    return np.asarray(common / np.sqrt(np.maximum(curvature, _FLAT * top) / top))


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
    shares, smooth = _softmax(roots, temperature)
    slopes = shares / (2.0 * roots)
    return float(smooth**2), 2.0 * smooth * (slopes[:, None] * gradients).sum(axis=0)


def _softmax(roots: Floats, temperature: float) -> tuple[Floats, float]:
    """Shares of the scenarios ``(scenarios,)`` and smooth largest root; see ``_TEMPERATURES``."""
    scale = temperature
    shares = np.exp((roots - roots.max()) / scale)
    total = shares.sum()
    return shares / total, float(roots.max() + scale * math.log(total))
