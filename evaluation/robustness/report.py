"""A robustness study on a page; it reads the study's document, which a folder keeps as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from oncogym.core.files import CorruptFileError, StrPath, read_json
from oncogym.core.json_types import JsonObject
from oncogym.evaluation.metrics import titled
from oncogym.evaluation.report.charts import losses_chart
from oncogym.evaluation.report.labels import distinct, label_of
from oncogym.evaluation.report.page import Report
from oncogym.evaluation.robustness.study_check import check_study
from oncogym.evaluation.statistics import Interval

#: File of a study's document in its folder.
DOCUMENT = "robustness.json"


def read_study(folder: StrPath) -> JsonObject:
    """The document of a study that ``oncogym robustness --out`` has written to a folder.

    Raises:
        FileNotFoundError: The folder holds no study.
        CorruptFileError: Its document is damaged or of another version; the message names the
            place. A study that is read can be shown.
    """
    path = Path(folder) / DOCUMENT
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no study ({DOCUMENT}); allowed: folders of oncogym robustness --out"
        )
    document = read_json(path)
    try:
        check_study(document)
        add_study(Report("check"), document)
    except Exception as error:  # whatever it is, it must not come up after hours of work
        raise CorruptFileError(f"{path} is no study of this version: {error}") from error
    return dict(document)


def robustness_report(study: Mapping[str, Any], manifest: Mapping[str, Any]) -> Report:
    """The page of one study.

    Args:
        study: ``Robustness.document()``.
        manifest: Where it comes from.
    """
    report = Report(
        f"oncogym robustness: {study['env']}",
        f"{len(study['agents'])} agents on the same {study['patients']} patients, as decided and "
        "under perturbations of delivery, observation and patients.",
    )
    report.add_heading(f"Robustness: {study['env']}")
    add_study(report, study)
    return report.add_provenance(manifest)


def add_study(report: Report, study: Mapping[str, Any]) -> None:
    """Append a study: the courses as decided, the losses as a figure and as a table."""
    name, labels = study["env"], _labels(study)
    report.add_table(_decided(study), f"{name}: mean of the courses as decided [95 % interval]")
    report.add_text(
        f"{study['patients']} patients of the cohort {study['cohort']!r}; every agent treats the "
        "same patients with the same random streams, as decided and under each perturbation. A "
        "loss is the mean by which a measure gets worse, patient by patient, over the patients in "
        "whom the perturbation took place; negative is a gain."
    )
    table = losses_table(study)
    if len(table):
        report.add_chart(
            losses_chart(study, labels),
            f"{name}: losses against the courses as decided, with their paired 95 % intervals. "
            "Means of fewer than five patients are left out.",
            f"What perturbations cost in {name}",
        )
        report.add_table(
            _readable(table, study, labels),
            f"{name}: losses against the courses as decided [paired 95 % interval]",
        )
    if study["left_out"]:
        report.add_text("Left out: " + "; ".join(study["left_out"].values()))


def losses_table(study: Mapping[str, Any]) -> pd.DataFrame:
    """One row for each agent and perturbation with the losses of the headline metrics.

    Columns are ``agent`` and ``kind`` by name, ``size``, ``when`` (0 for kinds that act
    throughout), ``patients``, the mean dose lost where there are doses, and the losses as
    intervals.
    """
    summary = pd.DataFrame(study["summary"])
    keys = ["agent", "kind", "size", "when"]
    rows = []
    for values, part in summary[summary["kind"] != "none"].groupby(keys, sort=False):
        own = part.set_index("metric")
        row: dict[str, Any] = dict(zip(keys, values, strict=True))
        row["patients"] = int(own["patients"].iloc[0])
        if study["dose_unit"]:
            row[titled("Dose lost", study["dose_unit"])] = float(own["dose_lost"].iloc[0])
        for name in study["headline"]:
            line = own.loc[name]
            title = titled(f"{line['label']} lost", line["unit"])
            row[title] = _interval(line, "loss", "loss_low", "loss_high")
        rows.append(row)
    return pd.DataFrame(rows)


def _readable(
    table: pd.DataFrame, study: Mapping[str, Any], labels: Mapping[str, str]
) -> pd.DataFrame:
    """The losses with agents and kinds by their labels; in brackets what a size counts."""
    kinds = [study["kinds"][kind] for kind in table["kind"]]
    found = pd.DataFrame(
        {
            "Agent": [labels[agent] for agent in table["agent"]],
            "Perturbation": [titled(kind["label"], kind["unit"]) for kind in kinds],
            "Size": table["size"],
            "Fraction": table["when"].where(table["when"] > 0),
            "Patients": table["patients"],
        }
    )
    return found.join(table.drop(columns=["agent", "kind", "size", "when", "patients"]))


def _decided(study: Mapping[str, Any]) -> pd.DataFrame:
    """One row an agent: its unperturbed means."""
    summary = pd.DataFrame(study["summary"])
    plain = summary[summary["kind"] == "none"].set_index(["agent", "metric"])
    rows = []
    for agent, label in _labels(study).items():
        row: dict[str, Any] = {"Agent": label}
        for metric in dict.fromkeys([*study["headline"], "cost", "success"]):
            line = plain.loc[(agent, metric)]
            row[titled(line["label"], line["unit"])] = _interval(line, "mean", "low", "high")
        rows.append(row)
    return pd.DataFrame(rows)


def _labels(study: Mapping[str, Any]) -> dict[str, str]:
    return distinct({name: label_of(label) or name for name, label in study["agents"].items()})


def _interval(line: pd.Series, *names: str) -> Interval:
    """An interval from three columns; what JSON has no number for is NaN."""
    return Interval(*(float(value) for value in np.array([line[n] for n in names], np.float64)))
