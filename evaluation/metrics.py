"""From one row a patient to the tables that a report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from oncogym.envs.treatment import Treatment
from oncogym.evaluation.statistics import (
    Interval,
    ScaleError,
    iqm,
    normalised_score,
    paired_difference,
    stratified_bootstrap,
    wilson_interval,
    worst_decile,
)

#: Columns that every environment has, with their direction.
_COMMON: tuple[tuple[str, str, bool | None], ...] = (
    ("return", "Return", True),
    ("cost", "Cost", False),
)


# Means of fewer patients are not drawn.
_FEWEST = 5

_STATISTICS: dict[str, Any] = {"mean": np.mean, "iqm": iqm}


def summarise(
    results: pd.DataFrame, treatment: Treatment, *, seed: int = 0, resamples: int = 2000
) -> pd.DataFrame:
    """Statistics of every agent and metric.

    Args:
        results: The table of :func:`oncogym.evaluation.harness.evaluate`.
        treatment: The treatment, for units and directions.
        seed: Seed of the bootstrap.
        resamples: Bootstrap resamples.

    Returns:
        One row for each agent and metric: ``agent``, ``metric``, ``label``, ``unit``, ``mean`` with
        its 95 % interval ``low`` and ``high``, ``iqm`` with ``iqm_low`` and ``iqm_high``,
        ``worst_decile`` (NaN where no direction is better) and ``patients``. Agents trained with
        several seeds (rows with ``training_seed``) are averaged over seeds patient by patient.
    """
    columns = list(_COMMON)
    columns += [(m.name, m.label, m.higher_is_better) for m in treatment.task.metrics]
    units = {m.name: m.unit for m in treatment.task.metrics}
    rows = []
    for agent, table in per_patient(results, [name for name, _, _ in columns]).items():
        for name, label, direction in columns:
            values = table[name].to_numpy(np.float64)
            mean = stratified_bootstrap(values, np.mean, seed=seed, resamples=resamples)
            middle = stratified_bootstrap(values, iqm, seed=seed, resamples=resamples)
            worst = np.nan if direction is None else float(worst_decile(values, direction))
            rows.append(
                {
                    "agent": agent,
                    "metric": name,
                    "label": label,
                    "unit": units.get(name, ""),
                    "mean": mean.estimate,
                    "low": mean.low,
                    "high": mean.high,
                    "iqm": middle.estimate,
                    "iqm_low": middle.low,
                    "iqm_high": middle.high,
                    "worst_decile": worst,
                    "patients": len(values),
                }
            )
    return pd.DataFrame(rows)


def per_patient(results: pd.DataFrame, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Each agent's values by patient, averaged over training seeds; agents keep their order.

    Raises:
        ValueError: A value is not finite; an average over the other seeds would hide it.
    """
    tables = {}
    for agent in results["agent"].unique():
        own = results[results["agent"] == agent]
        bad = ~np.isfinite(own[list(columns)].to_numpy(np.float64))
        if bad.any():
            row, column = (int(index) for index in np.argwhere(bad)[0])
            raise ValueError(
                f"{columns[column]} of agent {agent!r}, patient {own['patient'].iloc[row]}, is "
                f"{own[columns[column]].iloc[row]}; {int(bad.sum())} values are not finite"
            )
        tables[str(agent)] = own.groupby("patient", sort=True)[list(columns)].mean()
    return tables


def success_rates(results: pd.DataFrame) -> dict[str, Interval]:
    """Share of successful treatments of each agent with its Wilson 95 % interval.

    A patient counts once, however many training seeds treated him: with the share of them that
    succeeded, which varies no more than one trial does.
    """
    tables = per_patient(results.assign(success=results["success"].astype(float)), ["success"])
    return {
        agent: wilson_interval(float(table["success"].sum()), len(table))
        for agent, table in tables.items()
    }


def normalised_scores(
    results: pd.DataFrame,
    baseline: str,
    reference: str,
    *,
    metric: str = "return",
    higher_is_better: bool = True,
    statistic: str = "mean",
    seed: int = 0,
) -> tuple[dict[str, Interval], str]:
    """Score of every agent with ``baseline`` at 0 and ``reference`` at 1, unclipped.

    Args:
        results: One row an agent and patient, as of ``evaluate``.
        baseline: Agent with score 0.
        reference: Agent with score 1.
        metric: Column of ``results``.
        higher_is_better: Direction of the metric.
        statistic: ``"mean"`` or ``"iqm"`` over patients.
        seed: Seed of the intervals.

    Returns:
        Scores by agent, and an empty text; or no scores and the reason why there is no scale.
    """
    tables = per_patient(results, [metric])
    for name in (baseline, reference):
        if name not in tables:
            return {}, f"agent {name!r} took no part"
    zero = tables[baseline][metric].to_numpy()
    one = tables[reference][metric].to_numpy()
    scores: dict[str, Interval] = {}
    try:
        for agent, table in tables.items():
            values = table[metric].to_numpy()
            scores[agent] = normalised_score(
                values, zero, one, higher_is_better, statistic=_STATISTICS[statistic], seed=seed
            )
    except ScaleError as error:
        return {}, str(error)
    return scores, ""


def differences(
    results: pd.DataFrame, baseline: str, *, metric: str = "return", seed: int = 0
) -> dict[str, Interval]:
    """Mean paired difference of every agent to ``baseline``, patient by patient.

    Args:
        results: One row an agent and patient, as of ``evaluate``.
        baseline: Agent that the others are compared with.
        metric: Column of ``results``.
        seed: Seed of the intervals.
    """
    tables = per_patient(results, [metric])
    zero = tables[baseline][metric].to_numpy()
    return {
        agent: paired_difference(table[metric].to_numpy(), zero, seed=seed)
        for agent, table in tables.items()
    }


def headline(
    summary: pd.DataFrame,
    success: Mapping[str, Interval],
    metrics: Sequence[str],
    statistic: str = "mean",
) -> pd.DataFrame:
    """One row an agent: ``mean`` or ``iqm`` of each metric, and the success rate.

    Args:
        summary: Statistics by agent and metric.
        success: Success rate by agent.
        metrics: Metrics to show, in order.
        statistic: ``"mean"`` or ``"iqm"``.
    """
    low, high = (
        ("low", "high") if statistic == "mean" else (f"{statistic}_low", f"{statistic}_high")
    )
    rows = []
    for agent in summary["agent"].unique():
        own = summary[summary["agent"] == agent].set_index("metric")
        row: dict[str, object] = {"agent": agent}
        for name in metrics:
            line = own.loc[name]
            row[titled(line["label"], line["unit"])] = Interval(
                line[statistic], line[low], line[high]
            )
        row["Success"] = success[str(agent)]
        rows.append(row)
    return pd.DataFrame(rows)


def titled(label: str, unit: str) -> str:
    """A label with its unit in brackets, if it has one."""
    return f"{label} [{unit}]" if unit else str(label)


def mean_of(line: Any) -> Interval:
    """The mean with its interval in one row of :func:`summarise`."""
    return Interval(line["mean"], line["low"], line["high"])


def well_founded(losses: pd.DataFrame) -> pd.DataFrame:
    """Rows that are drawn: their means are of five patients, or of as many as any row has."""
    return losses[losses["patients"] >= min(_FEWEST, losses["patients"].max())]
