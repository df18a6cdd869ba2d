"""Several environments together: the overview of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from oncogym.evaluation.comparison import LINK_TEXTS, TABLES, Comparison
from oncogym.evaluation.metrics import mean_of
from oncogym.evaluation.overview import print_overview
from oncogym.evaluation.report.first_screen import add_first_screen, names_of
from oncogym.evaluation.report.page import Report, with_minus_signs
from oncogym.evaluation.robustness.report import add_study
from oncogym.evaluation.statistics import show_column

_MINUS = "\N{MINUS SIGN}"
#: Table of all environments in the folder of a benchmark.
OVERVIEW = "overview.csv"


def overview(comparisons: Mapping[str, Comparison]) -> pd.DataFrame:
    """One row for each environment and agent of interest: the headline numbers.

    Of interest are the clinical baseline, the reference, the best rival and what was trained.
    """
    rows = []
    for env_id, comparison in comparisons.items():
        metric = comparison.problem.treatment.task.metrics[0]
        for name in comparison.protagonists:
            own = comparison.summary.query("agent == @name").set_index("metric")
            line = own.loc[metric.name]
            unit = f" {metric.unit}" if metric.unit else ""
            (main,) = show_column([mean_of(line)], 3)
            rows.append(
                {
                    "Environment": env_id,
                    "Agent": comparison.labels[name],
                    "Sees": comparison.sees.get(name, ""),
                    "Normalised score": comparison.scores.get("mean", {}).get(name),
                    "Success": comparison.success[name],
                    "Cost": mean_of(own.loc["cost"]),
                    "Main outcome": f"{metric.label}: {main.replace('-', _MINUS)}{unit}",
                    "Patients": len(comparison.problem.patients),
                }
            )
    return pd.DataFrame(rows)


def suite_report(
    comparisons: Mapping[str, Comparison],
    title: str,
    summary: str,
    manifest: Mapping[str, object] | None = None,
    *,
    studies: Sequence[Mapping[str, object]] = (),
    folders: Mapping[str, str] | None = None,
) -> Report:
    """The page of a benchmark: scores over all treatments, then a part for each environment.

    Scores are not averaged over environments: their scales differ.

    Args:
        comparisons: Outcomes by environment.
        title: Title of the page.
        summary: One line below it.
        manifest: Where the numbers come from.
        studies: Documents of robustness studies to show, see ``robustness_report.read_study``.
        folders: Where the tables of an environment lie beside the page, ending in a slash.
    """
    report = Report(title, summary)
    standings = [comparison.standing for comparison in comparisons.values()]
    add_first_screen(report, standings)
    if folders is not None:
        report.add_links({OVERVIEW: "this overview (CSV)", "summary.csv": "all statistics (CSV)"})
    with report.tab("Overview"):
        report.add_table(
            overview(comparisons),
            "Clinical baseline (score 0), reference (score 1), best rule or controller and what "
            "was trained, on the same held-out patients of each environment [95 % interval]",
        )
        for env_id, comparison in comparisons.items():
            if comparison.key is not None:
                text = f"{env_id}: {comparison.key.sentence(comparison.labels)}."
                report.add_text(with_minus_signs(text))
    names = names_of(standings)
    for number, (env_id, comparison) in enumerate(comparisons.items()):
        with report.tab(names[number]):
            comparison.add_to(report, number)
            if folders is not None:
                places = (folders[env_id] + name for name in TABLES)
                report.add_links(dict(zip(places, LINK_TEXTS, strict=True)))
    for study in studies:
        with report.tab(f"Robustness: {study['env']}"):
            add_study(report, study)
    if manifest is not None:
        report.add_provenance(dict(manifest))
    return report


def print_suite(comparisons: Mapping[str, Comparison]) -> None:
    """Print one table a treatment, and who wins."""
    for comparison in comparisons.values():
        print_overview(comparison)
