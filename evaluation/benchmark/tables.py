"""Tables of a benchmark beside those of every comparison."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.metrics import normalised_scores, per_patient
from oncogym.evaluation.statistics import paired_difference


def against_plan(comparison: Comparison, learnt: str, title: str, seed: int) -> pd.DataFrame:
    """Paired differences of the agent ``learnt`` to the reference in the headline metrics."""
    rows = []
    tables = per_patient(comparison.results, comparison.headline_metrics)
    for metric in comparison.headline_metrics:
        pair = (tables[name][metric].to_numpy() for name in (learnt, comparison.reference))
        rows.append({"metric": metric, f"{title} minus plan": paired_difference(*pair, seed=seed)})
    return pd.DataFrame(rows)


def by_training_seed(
    comparison: Comparison, learnt: str, training_seeds: Sequence[int], seed: int
) -> pd.DataFrame:
    """Return and normalised score of the agent ``learnt`` by training run."""
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
