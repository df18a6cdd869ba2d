"""Several environments together: the overview and the aggregate of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from oncogym.evaluation.comparison import (
    Comparison,
    add_browser,
    print_comparison,
    text_table,
)
from oncogym.evaluation.metrics import mean_of, per_patient
from oncogym.evaluation.report.page import Report
from oncogym.evaluation.robustness.report import add_study
from oncogym.evaluation.statistics import aggregate_score, iqm

_MINUS = "\N{MINUS SIGN}"
_TITLE = "Interquartile mean of the normalised scores over the environments"


def overview(comparisons: Mapping[str, Comparison]) -> pd.DataFrame:
    """One row for each environment and agent of interest: the headline numbers.

    Of interest are the clinical baseline, the reference and what was trained.
    """
    rows = []
    for env_id, comparison in comparisons.items():
        metric = comparison.problem.treatment.task.metrics[0]
        for name in comparison.protagonists:
            own = comparison.summary.query("agent == @name").set_index("metric")
            line = own.loc[metric.name]
            unit = f" {metric.unit}" if metric.unit else ""
            main = f"{mean_of(line)}"
            rows.append(
                {
                    "Environment": env_id,
                    "Agent": comparison.labels[name],
                    "Normalised score": comparison.scores.get("mean", {}).get(name),
                    "Success": comparison.success[name],
                    "Cost": mean_of(own.loc["cost"]),
                    "Main outcome": f"{metric.label}: {main.replace('-', _MINUS)}{unit}",
                    "Patients": len(comparison.problem.patients),
                }
            )
    return pd.DataFrame(rows)


def aggregate(
    comparisons: Mapping[str, Comparison], *, seed: int = 0, resamples: int = 2000
) -> tuple[pd.DataFrame, list[str]]:
    """Scores over all environments of the agents that took part in each of them.

    Returns:
        One row an agent with the interquartile mean over environments of its mean score and of its
        interquartile-mean score; and the environments that have no scale.
    """
    scaled = {env_id: c for env_id, c in comparisons.items() if c.scores}
    missing = [env_id for env_id in comparisons if env_id not in scaled]
    if not scaled:
        return pd.DataFrame(), missing
    values = {env_id: _returns(comparison) for env_id, comparison in scaled.items()}
    first, *others = values.values()
    common = [name for name in first if all(name in other for other in others)]
    statistics: dict[str, tuple[str, Any]] = {
        "mean": ("Over the patients: mean", np.mean),
        "iqm": ("Over the patients: interquartile mean", iqm),
    }
    rows = []
    for name in common:
        labels = dict.fromkeys(c.labels.get(name, "Clinical baseline") for c in scaled.values())
        row: dict[str, Any] = {"Agent": " or ".join(labels)}
        for key, (title, statistic) in statistics.items():
            if all(key in comparison.scores for comparison in scaled.values()):
                groups = [
                    (found[name], found[_BASELINE], found[comparison.reference])
                    for comparison, found in zip(scaled.values(), values.values(), strict=True)
                ]
                row[title] = aggregate_score(
                    groups, statistic=statistic, seed=seed, resamples=resamples
                )
        rows.append(row)
    return pd.DataFrame(rows), missing


# The baseline has another name in each environment; this one cannot be a protocol's.
_BASELINE = ""


def _returns(comparison: Comparison) -> dict[str, Any]:
    """Returns by patient of every agent, those of the baseline first."""
    tables = per_patient(comparison.results, ["return"])
    returns = {name: table["return"].to_numpy() for name, table in tables.items()}
    return {_BASELINE: returns[comparison.baseline], **returns}


def suite_report(
    comparisons: Mapping[str, Comparison],
    title: str,
    summary: str,
    manifest: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    studies: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """The page of a benchmark: overview, each environment, the aggregate, the treatment browser.

    Args:
        comparisons: Outcomes by environment.
        title: Title of the page.
        summary: One line below it.
        manifest: Where the numbers come from.
        seed: Seed of the bootstrap.
        studies: Documents of robustness studies to show, see ``robustness_report.read_study``.
    """
    report = Report(title, summary)
    report.add_heading("Overview")
    report.add_table(
        overview(comparisons),
        "Clinical baseline (score 0), best open-loop plan (score 1) and what was trained, on the "
        "same held-out patients of each environment [95 % interval]",
    )
    for comparison in comparisons.values():
        comparison.add_to(report)
    table, missing = aggregate(comparisons, seed=seed)
    report.add_heading("All environments")
    if len(table):
        report.add_table(table, f"{_TITLE} [95 % interval, patients resampled by environment]")
    if missing:
        report.add_text(f"Without a scale, and so left out: {', '.join(missing)}.")
    for study in studies:
        add_study(report, study)
    add_browser(report, list(comparisons.values()))
    if manifest is not None:
        report.add_provenance(dict(manifest))
    return report


def print_suite(comparisons: Mapping[str, Comparison], *, seed: int = 0) -> None:
    """Print the tables of each environment, then the aggregate."""
    for comparison in comparisons.values():
        print_comparison(comparison)
    table, missing = aggregate(comparisons, seed=seed)
    if len(table):
        print(f"\n{_TITLE} ({len(comparisons) - len(missing)})\n{text_table(table)}")
    if missing:
        print(f"\nwithout a scale, left out of the aggregate: {', '.join(missing)}")
