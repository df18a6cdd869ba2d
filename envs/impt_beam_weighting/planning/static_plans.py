"""The plans that clinics deliver unchanged: from equal weights to robust IMPT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import ArrayLike

from oncogym.core.arrays import Floats
from oncogym.envs.impt_beam_weighting.planning.checks import plain_array
from oncogym.envs.impt_beam_weighting.planning.influence import DoseInfluence
from oncogym.envs.impt_beam_weighting.planning.objective import Objective, Term, standard_ridge
from oncogym.envs.impt_beam_weighting.planning.planner import plan, standard_goal

# Aims above a prescription of 60 Gy [Gy], in proportion for others: a symmetric penalty centres the
# dose on its aim, so the coldest 5 % of the target lie below it; over scenarios they lie further
# below.
NOMINAL_AIM = 1.0
ROBUST_AIM = 1.5


def equal_weights(influence: DoseInfluence) -> Floats:
    """The same weight for every spot ``(spots,)``, mean target dose as prescribed."""
    return influence.normalised(np.ones(influence.num_spots))


def collapsed(influence: DoseInfluence) -> DoseInfluence:
    """The influence of whole groups: every spot of a group has the group's weight."""
    spots = np.arange(influence.num_spots)
    members = np.zeros((influence.num_spots, influence.num_groups))
    members[spots, influence.groups] = 1.0
    matrix = scipy.sparse.csr_matrix(influence.to_matrix() @ scipy.sparse.csr_matrix(members))
    return DoseInfluence.from_matrix(
        matrix, influence.structures, prescription=influence.prescription,
        shape=influence.shape, spacing=influence.spacing, unit=influence.unit,
        dtype=influence.data.dtype,
    )  # fmt: skip


def group_weights(influence: DoseInfluence, iterations: int = 500) -> Floats:
    """One optimised weight for each group (energy layer), all spots of it alike ``(spots,)``."""
    goal = standard_goal(influence, 0.0)
    return plan(collapsed(influence), goal, iterations=iterations, insist=False).weights[
        influence.groups
    ]


def single_field_uniform(
    influence: DoseInfluence,
    fields: ArrayLike,
    iterations: int = 300,
    *,
    goal: Objective | None = None,
    tolerance: float = 1e-9,
) -> Floats:
    """Single-field uniform dose (SFUD): every field alone covers the target evenly ``(spots,)``.

    Args:
        influence: The influence.
        fields: Field (beam) of each spot ``(spots,)``.
        iterations, tolerance: Of each field's plan, as :func:`plan` takes them.
        goal: What each field alone should do; by default its share of the prescription in the
            target.
    """
    own = plain_array(fields, "fields", "iuf")
    if own.shape != (influence.num_spots,):
        raise ValueError(f"fields have shape {own.shape}; allowed: ({influence.num_spots},)")
    names = np.unique(own)
    weights = np.zeros(influence.num_spots)
    share = influence.prescribed / len(names)
    target = influence.structures.target
    goal = goal or Objective(
        (Term(target, "deviation", share, 5.0), Term(target, "underdose", share, 15.0)),
        standard_ridge(influence),
    )
    for name in names:
        spots = own == name
        part = influence.subset(spots)
        start = part.normalised(np.ones(part.num_spots), share)
        found = plan(
            part, goal, start=start, iterations=iterations, tolerance=tolerance, insist=False
        )
        weights[spots] = found.weights
    return weights


def nominal_plan(
    influence: DoseInfluence,
    aim: float | None = None,
    iterations: int = 300,
    *,
    goal: Objective | None = None,
    start: ArrayLike | None = None,
) -> Floats:
    """IMPT without regard to errors ``(spots,)``, with the standard penalties or a goal.

    Args:
        influence: Matrix and structures.
        aim: Dose aimed at in the target [Gy]; by default a little above the prescription.
        iterations: Steps of the descent at most.
        goal: Penalties instead of the standard ones.
        start: Weights to start from ``(spots,)``.
    """
    goal = goal or standard_goal(influence, NOMINAL_AIM, aim)
    return plan(influence, goal, start=start, iterations=iterations, insist=False).weights


def robust_plan(
    scenarios: Sequence[DoseInfluence],
    aim: float | None = None,
    robust: str = "worst",
    iterations: int = 800,
    *,
    goal: Objective | None = None,
) -> Floats:
    """IMPT for the mean or the worst of several scenarios ``(spots,)``.

    Args:
        scenarios: One influence for each error.
        aim: Dose aimed at in the target [Gy]; by default a little above the prescription.
        robust: ``"worst"`` scenario or their ``"mean"``.
        iterations: Steps of the descent at most.
        goal: Penalties instead of the standard ones.
    """
    nominal = scenarios[0]
    goal = goal or standard_goal(nominal, ROBUST_AIM, aim)
    return plan(scenarios, goal, robust=robust, iterations=iterations, insist=False).weights
