"""Outcome of a robustness study: statistics, tables, figure, files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from oncogym.core.files import to_plain, write_csv_atomic, write_json_atomic
from oncogym.core.json_types import JsonObject
from oncogym.core.output_folder import OutputFolder
from oncogym.envs.problem import Problem
from oncogym.evaluation.kept_courses import FILE as COURSES
from oncogym.evaluation.report.charts import losses_chart
from oncogym.evaluation.report.drawings import Drawings, save_png
from oncogym.evaluation.report.labels import distinct
from oncogym.evaluation.report.plots import draw
from oncogym.evaluation.robustness.perturbation import KINDS
from oncogym.evaluation.robustness.report import DOCUMENT, losses_table, robustness_report
from oncogym.evaluation.statistics import paired_difference, stratified_bootstrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LISTED_METRICS = 3
_FIGURE = "robustness.png"

#: Files that a study writes into its folder, see :class:`OutputFolder`.
FILES = (
    "results.csv",
    "summary.csv",
    "losses.csv",
    DOCUMENT,
    "manifest.json",
    _FIGURE,
    "report.html",
    COURSES,
)


@dataclass(frozen=True)
class Robustness:
    """Outcome of a study.

    Attributes:
        problem: Environment and patients.
        results: One row for each agent, perturbation and patient: ``agent``, ``kind`` (``none``
            for the unperturbed course), ``size``, ``when`` (0 for kinds that act throughout),
            ``affected`` (whether it took place in this patient), ``dose_lost`` (asked for and not
            given, in the unit of the dose), and the columns of ``harness.evaluate``.
        summary: One row for each agent, perturbation and metric, see :func:`summarise_losses`.
        left_out: Kinds that the environment has no meaning for, and why.
        labels: What each agent is called.
        dose_unit: Unit of ``dose_lost``, empty where the environment has no dose.
    """

    problem: Problem
    results: pd.DataFrame
    summary: pd.DataFrame
    left_out: dict[str, str]
    labels: dict[str, str]
    dose_unit: str

    @property
    def headline(self) -> list[str]:
        """Return and the treatment's first metric that has a better direction."""
        return ["return", *_directed(self.problem)[:1]]

    def document(self) -> JsonObject:
        """Everything but the single patients as JSON-able data, as the report reads it."""
        document = {
            "env": self.problem.variant.id,
            "cohort": self.problem.cohort.name,
            "patients": len(self.problem.patients),
            "agents": self.labels,
            "left_out": self.left_out,
            "kinds": {name: KINDS[name] for name in KINDS if name in set(self.summary["kind"])},
            "dose_unit": self.dose_unit,
            "headline": self.headline,
            "directed": ["return", "cost", *_directed(self.problem), "success"],
            "summary": self.summary.to_dict(orient="records"),
        }
        return dict(to_plain(document))

    def losses(self) -> pd.DataFrame:
        """The summary for reading: important metrics only, six digits, without intervals of means.

        These are return, cost, the treatment's first three metrics that have a better direction,
        and its metrics in the unit of the dose that have none.
        """
        doses = [
            metric.name
            for metric in self.problem.treatment.task.metrics
            if metric.higher_is_better is None and metric.unit == self.dose_unit != ""
        ]
        kept = ["return", "cost", *_directed(self.problem)[:_LISTED_METRICS], *doses]
        chosen = self.summary[self.summary["metric"].isin(kept)]
        chosen = chosen.drop(columns=["label", "low", "high"])
        return chosen.map(lambda value: float(f"{value:.6g}") if type(value) is float else value)

    def table(self) -> pd.DataFrame:
        """One row for each agent and perturbation with the losses of the headline metrics."""
        return losses_table(self.document())

    def figure(self) -> Figure:
        """Losses of the headline metrics against the size or the fraction."""
        chart = losses_chart(self.document(), distinct(self.labels))
        return draw(
            chart,
            f"{self.problem.variant.id}, {len(self.problem.patients)} patients: loss against the "
            "unperturbed course (95 % intervals)",
        )

    def save(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Write the tables (results, summary, losses), JSON document, manifest, figure, report.

        Tables come first: they are kept if anything cannot be drawn.

        Raises:
            OutputFolderError: The folder cannot be written to, or holds a file of one of these
                names that is not ours.
            ReportError: The figure or the report could not be made.
        """
        output = OutputFolder.claim(folder, "robustness", FILES)
        document = self.document()
        for name, table in (
            ("results.csv", self.results),
            ("summary.csv", self.summary),
            ("losses.csv", self.losses()),
        ):
            output.write(name, partial(write_csv_atomic, frame=table))
        output.write(DOCUMENT, lambda path: write_json_atomic(path, document))
        output.write("manifest.json", lambda path: write_json_atomic(path, manifest))
        drawings = Drawings(folder)
        if (self.summary["kind"] != "none").any():
            with drawings.attempt(_FIGURE):
                output.write(_FIGURE, partial(save_png, self.figure()))
        with drawings.attempt("report.html"):
            output.write("report.html", robustness_report(document, manifest).write)
        output.forget_others()
        drawings.require_all()


def summarise_losses(
    results: pd.DataFrame, problem: Problem, *, seed: int = 0, resamples: int = 2000
) -> pd.DataFrame:
    """Means and paired losses over the patients in whom a perturbation took place.

    Args:
        results: Results of all agents under all perturbations.
        problem: Whose patients they are.
        seed: Seed of the intervals.
        resamples: Resampled cohorts of each interval.

    Returns:
        One row for each agent, perturbation and metric: ``agent``, ``kind``, ``size``, ``when``,
        ``metric``, ``label``, ``unit``, ``patients`` (those affected), ``dose_lost`` (their mean of
        what was asked for and not given), ``plain`` (their mean without perturbation), ``mean``
        with its 95 % interval ``low`` and ``high``, and ``loss``, the mean by which the metric gets
        worse, patient by patient, with ``loss_low`` and ``loss_high``; of a metric without a better
        direction, the mean by which it decreases.
    """
    metrics: list[tuple[str, str, str, bool | None]] = [
        ("return", "Return", "", True),
        ("cost", "Cost", "", False),
        *((m.name, m.label, m.unit, m.higher_is_better) for m in problem.treatment.task.metrics),
        ("success", "Success", "", True),
    ]
    rows = []
    plain_tables = {
        str(agent): part.set_index("patient")
        for agent, part in results[results["kind"] == "none"].groupby("agent", sort=False)
    }
    for (agent, kind, size, when), part in results.groupby(
        ["agent", "kind", "size", "when"], sort=False
    ):
        table = part[part["affected"]].set_index("patient")
        before = plain_tables[str(agent)].loc[table.index]
        for name, label, unit, higher in metrics:
            values = table[name].to_numpy(np.float64)
            old = before[name].to_numpy(np.float64)
            first, second = (values, old) if higher is False else (old, values)
            mean = stratified_bootstrap(values, seed=seed, resamples=resamples)
            loss = paired_difference(first, second, seed=seed, resamples=resamples)
            rows.append(
                {
                    "agent": agent,
                    "kind": kind,
                    "size": size,
                    "when": when,
                    "metric": name,
                    "label": label,
                    "unit": unit,
                    "patients": len(values),
                    "dose_lost": float(table["dose_lost"].mean()),
                    "plain": float(old.mean()),
                    "mean": mean.estimate,
                    "low": mean.low,
                    "high": mean.high,
                    "loss": loss.estimate,
                    "loss_low": loss.low,
                    "loss_high": loss.high,
                }
            )
    return pd.DataFrame(rows)


def _directed(problem: Problem) -> list[str]:
    metrics = problem.treatment.task.metrics
    return [metric.name for metric in metrics if metric.higher_is_better is not None]
