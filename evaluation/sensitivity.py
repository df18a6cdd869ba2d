"""Which agent wins when the reward weighs its terms otherwise.

Agents treat the patients once. Their recorded reward terms are then weighed anew: exact for agents
that do not act by the weights (schedules, rules). Controllers, searched plans and trained policies
act throughout as for the weights that they were made with; what they would do for others is not
asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from oncogym.evaluation.metrics import per_patient
from oncogym.evaluation.report.labels import untyped
from oncogym.evaluation.statistics import paired_difference, stratified_bootstrap

#: Factors by which one weight after the other is multiplied.
FACTORS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
_RESAMPLES = 2000


def sweep_weights(
    results: pd.DataFrame,
    weights: Mapping[str, float],
    factors: Sequence[float] = FACTORS,
    *,
    seed: int = 0,
    resamples: int = _RESAMPLES,
) -> pd.DataFrame:
    """Rank the agents for every multiple of every weight, the other weights as they are.

    Args:
        results: The table of :func:`oncogym.evaluation.harness.evaluate`, two agents at least.
        weights: Weights of the reward terms; those of 0 are not swept.
        factors: Factors, at least 0 and all different; 1 is added if it is missing.
        seed, resamples: Of the bootstrap over patients.

    Returns:
        A row for each term, factor and agent: ``term``, ``factor``, ``weight``, ``agent``,
        ``return`` with its 95 % interval ``low`` and ``high``, ``rank`` (1 is best; ties keep the
        order of the table), and ``lead`` over the best of the others with ``lead_low`` and
        ``lead_high``, paired by patient.

    Raises:
        ValueError: There are fewer than two agents, no weight is other than 0, or a factor is
            negative, not finite or given twice.
    """
    steps = sorted({1.0, *(float(factor) for factor in factors)})
    bad = [factor for factor in factors if not 0.0 <= factor < np.inf]
    if bad or len(set(factors)) < len(factors):
        raise ValueError(f"factors are {list(factors)}; allowed: finite, at least 0, all different")
    swept = [name for name, weight in weights.items() if weight != 0.0]
    if not swept:
        raise ValueError("no reward term has a weight other than 0: there is nothing to sweep")
    columns = [f"term_{name}" for name in swept]
    tables = {name: table[columns].to_numpy() for name, table in _terms(results, columns).items()}
    if len(tables) < 2:
        raise ValueError(f"there is {len(tables)} agent; allowed: two at least")
    own = np.array([weights[name] for name in swept])
    rows = []
    for number, term in enumerate(swept):
        for factor in steps:
            chosen = own.copy()
            chosen[number] *= factor
            returns = {name: table @ chosen for name, table in tables.items()}
            order = sorted(returns, key=lambda name: -float(returns[name].mean()))
            for agent, values in returns.items():
                rival = next(name for name in order if name != agent)
                mean = stratified_bootstrap(values, np.mean, seed=seed, resamples=resamples)
                lead = paired_difference(values, returns[rival], seed=seed, resamples=resamples)
                rows.append(
                    {
                        "term": term,
                        "factor": factor,
                        "weight": float(chosen[number]),
                        "agent": agent,
                        "return": mean.estimate,
                        "low": mean.low,
                        "high": mean.high,
                        "rank": order.index(agent) + 1,
                        "lead": lead.estimate,
                        "lead_low": lead.low,
                        "lead_high": lead.high,
                    }
                )
    return pd.DataFrame(rows)


def _terms(results: pd.DataFrame, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    missing = [column for column in columns if column not in results]
    if missing:
        raise ValueError(f"the results lack {', '.join(missing)}; allowed: a table of evaluate()")
    return per_patient(results, columns)


def find_flips(table: pd.DataFrame) -> pd.DataFrame:
    """Where another agent wins than at the weights as they are.

    Args:
        table: What :func:`sweep_weights` gives.

    Returns:
        A row for each term and factor with another winner: ``term``, ``factor``, ``winner``,
        ``usual`` (the winner at factor 1), ``clear`` (whether the 95 % interval of the winner's
        lead over the best of the others lies above 0).
    """
    best = table[table["rank"] == 1]
    usual = usual_winner(table)
    other = best[best["agent"] != usual]
    return pd.DataFrame(
        {
            "term": other["term"],
            "factor": other["factor"],
            "winner": other["agent"],
            "usual": usual,
            "clear": other["lead_low"] > 0.0,
        }
    ).reset_index(drop=True)


def usual_winner(table: pd.DataFrame) -> str:
    """The winner at the weights as they are."""
    best = table[(table["rank"] == 1) & (table["factor"] == 1.0)]
    return str(best["agent"].iloc[0])


def say_verdict(table: pd.DataFrame) -> str:
    """Whether the winner is a property of the reward, in a sentence."""
    usual, flips = usual_winner(table), find_flips(table)
    best = table[(table["rank"] == 1) & (table["factor"] == 1.0)].iloc[0]
    lead = "clearly" if best["lead_low"] > 0.0 else "within noise"
    start = f"At the weights as they are {usual} leads {lead}"
    if flips.empty:
        return f"{start}, and at every multiple that was tried."
    clear = flips[flips["clear"]]
    where = "; ".join(f"{row.term} x {row.factor:g}: {row.winner}" for row in flips.itertuples())
    if clear.empty:
        return f"{start}; others lead, within noise, at {where}."
    return f"{start}; the winner is a property of the reward: {where}."


def draw_ranks(table: pd.DataFrame, title: str) -> Figure:
    """Ranks of the agents against the factor, one panel a term."""
    terms = list(dict.fromkeys(table["term"]))
    agents = list(dict.fromkeys(table["agent"]))
    figure = Figure(figsize=(3.2 * len(terms) + 2.5, 4.2), dpi=100, layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(terms), sharey=True))
    for axis, term in zip(axes, terms, strict=True):
        own = table[table["term"] == term]
        factors = sorted(set(own["factor"]))
        for agent in agents:
            ranks = own[own["agent"] == agent].sort_values("factor")["rank"].to_numpy()
            # Factors are equally far apart: 0 has no place on a logarithmic axis.
            axis.plot(range(len(factors)), ranks, marker="o", label=untyped(agent))
        axis.axvline(factors.index(1.0), color="grey", linewidth=0.8, linestyle=":")
        axis.set_xticks(range(len(factors)), [f"{factor:g}" for factor in factors])
        axis.set_xlabel(untyped(f"weight of {term}, times"))
        axis.grid(alpha=0.25)
    axes[0].set_yticks(range(1, len(agents) + 1))
    axes[0].set_ylabel("rank by mean return")
    axes[0].invert_yaxis()
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8
    )
    figure.suptitle(untyped(title), fontsize=11)
    return figure
