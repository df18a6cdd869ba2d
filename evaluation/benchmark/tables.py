"""Tables of a benchmark beside those of every comparison."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.metrics import normalised_scores, per_patient
from oncogym.evaluation.rivals import against
from oncogym.evaluation.statistics import paired_difference


def price_table(comparison: Comparison, seed: int) -> pd.DataFrame:
    """What it costs not to know the patient and not to see the state: paired differences of return.

    One row for each agent that takes part with more knowledge, too: a rule or controller with the
    full state, the controllers that know the patient and that do not.
    """
    pairs = [
        (f"{name}@full", name, "seeing the full state")
        for name in comparison.labels
        if f"{name}@full" in comparison.labels
    ]
    pairs += [
        (one, other, "knowing the patient")
        for one, other in (("mpc_oracle", "mpc_scenario"), ("mpc_scenario", "mpc_nominal"))
        if {one, other} <= set(comparison.labels)
    ]
    labels = comparison.labels
    rows = [
        {
            "agent": labels[one],
            "against": labels[other],
            "worth of": worth if other != "mpc_nominal" else "uncertainty taken into account",
            "return": against(comparison.results, one, other, seed=seed),
        }
        for one, other, worth in pairs
    ]
    return pd.DataFrame(rows, columns=["agent", "against", "worth of", "return"])


def against_plan(
    comparison: Comparison, learnt: str, title: str, plan: str, seed: int
) -> pd.DataFrame:
    """Paired differences of the agent ``learnt`` to ``plan`` in the headline metrics.

    Args:
        comparison: Results of all agents.
        learnt: Name of the trained agent.
        title: What it is called in the table.
        plan: Name of the plan's agent.
        seed: Seed of the intervals.
    """
    rows = []
    tables = per_patient(comparison.results, comparison.headline_metrics)
    for metric in comparison.headline_metrics:
        pair = (tables[name][metric].to_numpy() for name in (learnt, plan))
        rows.append({"metric": metric, f"{title} minus plan": paired_difference(*pair, seed=seed)})
    return pd.DataFrame(rows)


def by_training_seed(
    comparison: Comparison, learnt: str, training_seeds: Sequence[int], seed: int
) -> pd.DataFrame:
    """Return and normalised score of the agent ``learnt`` by training run.

    Args:
        comparison: Results of all agents.
        learnt: Name of the trained agent.
        training_seeds: Seeds of its training runs.
        seed: Seed of the intervals.
    """
    results = comparison.results
    rows = []
    for number, training_seed in enumerate(training_seeds):
        chosen = (results["agent"] != learnt) | (results["training_seed"] == number)
        found, _ = normalised_scores(
            results[chosen], comparison.baseline, comparison.reference, seed=seed
        )
        own = results[chosen & (results["agent"] == learnt)]
        rows.append(
            {
                "training seed": training_seed,
                "return": float(own["return"].mean()),
                "cost": float(own["cost"].mean()),
                "normalised score": found.get(learnt),
            }
        )
    return pd.DataFrame(rows)
