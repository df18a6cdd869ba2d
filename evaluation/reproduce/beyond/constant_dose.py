"""A constant dose beside the optimal one, on the chemotherapy model.

Ledzewicz and Schaettler (preprint of 2 February 2008, abstract read) find for a tumour under an
inhibitor of its vessels that the averaged optimal dose, held constant, comes within 1 % of the
optimum. Here the same is asked of another model: the source's patient, the source's total dose on
60 days and its limit of toxicity.
"""

from __future__ import annotations

import numpy as np

from oncogym.agents.batch_cma import BatchCMA
from oncogym.core.arrays import Floats
from oncogym.envs.chemo_dosing import simulate_batch
from oncogym.envs.chemo_dosing.model import DOSE_LIMIT, HORIZON, TOXICITY_LIMIT
from oncogym.evaluation.reproduce.checks import Check, compare

# Doses every third day: fewer variables, and the drug's half-life is 1.4 d.
_INTERVAL = 3.0
_GENERATIONS, _PLANS = 400, 40
_SPREAD = 0.3


def spread_doses(logits: Floats) -> Floats:
    """Doses ``(plans, times)`` [mg/L] that spend the whole budget: shares by the softmax."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(DOSE_LIMIT * weights / weights.sum(axis=1, keepdims=True))


def kill_within_limit(doses: Floats, times: Floats) -> Floats:
    """log10 kill of plans ``(plans, times)``; less than any kill where toxicity is too high."""
    found = simulate_batch(np.tile(times, (len(doses), 1)), doses, parallel=False)
    over = np.maximum(found.peak_toxicity - TOXICITY_LIMIT, 0.0)
    return np.asarray(np.where(over > 0.0, -10.0 - over, found.log10_kill))


def search_schedule(seed: int) -> tuple[float, Floats]:
    """Largest log10 kill within the limit of toxicity, and its doses [mg/L], from an even start."""
    times = np.arange(0.0, HORIZON, _INTERVAL)
    search = BatchCMA(1, len(times), _SPREAD, _PLANS)
    draws = np.random.default_rng(seed)
    best, plan = -np.inf, np.zeros(len(times))
    for _ in range(_GENERATIONS):
        moves = search.ask(draws.standard_normal((1, _PLANS, len(times))))
        doses = spread_doses(moves[0])
        kills = kill_within_limit(doses, times)
        search.tell(moves, kills[None])
        if kills.max() > best:
            best, plan = float(kills.max()), doses[kills.argmax()]
    return best, plan


def check_constant_dose(seed: int) -> list[Check]:
    """log10 kill of the even dose beside that of the best one."""
    times = np.arange(0.0, HORIZON, _INTERVAL)
    even = np.full((1, len(times)), DOSE_LIMIT / len(times))
    constant = float(kill_within_limit(even, times)[0])
    best, plan = search_schedule(seed)
    note = (
        f"{DOSE_LIMIT:g} mg/L on {len(times)} days, every {_INTERVAL:g} d: log10 kill "
        f"{constant:.4g}, the best schedule {best:.4g} (CMA-ES, {_GENERATIONS} x {_PLANS} plans; "
        f"doses {plan.min():.2g} to {plan.max():.2g}). The kill is concave in the concentration, "
        "so that an even one is nearly the best; a claim from another model, asked of this one"
    )
    return [
        compare("constant_chemo", "Chemotherapy, constant dose, log10 kill / optimal log10 kill",
                1.0, constant / best, 0.01, note)
    ]  # fmt: skip
