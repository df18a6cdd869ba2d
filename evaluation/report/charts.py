"""Figures as data: what a report's own scripts draw, and let the reader question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from oncogym.evaluation.metrics import mean_of, well_founded
from oncogym.evaluation.report.curves import mean_interval
from oncogym.evaluation.statistics import Interval

# Whiskers, box and median of a spread over patients.
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def lines_chart(
    curves: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str, mean: bool = False
) -> dict[str, Any]:
    """Named curves of ``(x, y)`` points; arguments as in ``plots.plot_history``.

    With ``mean`` (and more than one curve) their mean with its 95 % interval comes first.
    """
    tables = {name: np.asarray(p, np.float64).reshape(-1, 2) for name, p in curves.items()}
    series: list[dict[str, Any]] = []
    if mean and len(tables) > 1:
        band = mean_interval(list(tables.values()))
        series.append(
            {
                "name": f"mean of {len(tables)}, 95 % interval",
                "time": _plain(band.x),
                "values": _plain(band.mean),
                "low": _plain(band.low),
                "high": _plain(band.high),
            }
        )
    series += [
        {"name": name, "time": _plain(table[:, 0]), "values": _plain(table[:, 1])}
        for name, table in tables.items()
    ]
    return {"kind": "lines", "x": x, "y": y, "series": series}


def outcomes_chart(
    results: pd.DataFrame, summary: pd.DataFrame, labels: Mapping[str, str]
) -> dict[str, Any]:
    """Every metric of a comparison: mean with its interval, and the spread over the patients.

    Args:
        results: One row for each agent and patient, see ``harness.evaluate``.
        summary: See ``metrics.summarise``.
        labels: What each agent is called.
    """
    measures = []
    for metric, lines in summary.groupby("metric", sort=False):
        by_agent = lines.set_index("agent")
        rows = []
        for name in labels:
            own = results.loc[results["agent"] == name, str(metric)].to_numpy(np.float64)
            rows.append(
                _row(
                    mean_of(by_agent.loc[name]),
                    np.quantile(own, _QUANTILES).tolist(),
                )
            )
        label, unit = lines.iloc[0][["label", "unit"]]
        measures.append({"label": label, "unit": unit, "rows": rows})
    return {
        "kind": "ranges",
        "estimate": "mean",
        "agents": list(labels.values()),
        "measures": measures,
    }


def scores_chart(
    scores: Mapping[str, Mapping[str, Interval]], labels: Mapping[str, str]
) -> dict[str, Any]:
    """Normalised scores with their intervals, by statistic (``mean``, ``iqm``) and agent."""
    names = {"mean": "Normalised score (mean)", "iqm": "Normalised score (interquartile mean)"}
    return {
        "kind": "ranges",
        "estimate": "score",
        "agents": list(labels.values()),
        "measures": [
            {
                "label": names.get(statistic, statistic),
                "unit": "",
                "marks": {"clinical": 0.0, "best plan": 1.0},
                "rows": [_row(found[name]) if name in found else None for name in labels],
            }
            for statistic, found in scores.items()
        ],
    }


def losses_chart(study: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Losses of every measure: a panel a perturbation, a curve an agent.

    Kinds that act throughout have their sizes on the axis, from 0; those that happen once the
    number of the fraction, and a panel for each size.

    Args:
        study: ``Robustness.document()``.
        labels: What each agent is called.
    """
    summary = well_founded(pd.DataFrame(study["summary"]))
    names = summary.drop_duplicates("metric").set_index("metric")
    measures = {
        str(name): f"{line['label']}, {'worse' if name in study['directed'] else 'less'} by"
        + (f" [{line['unit']}]" if line["unit"] else "")
        for name, line in names.iterrows()
    }
    order = sorted(measures, key=lambda name: name not in study["headline"])
    panels = []
    for kind, about in study["kinds"].items():
        own = summary[summary["kind"] == kind]
        events = own.groupby("size", sort=True) if about["event"] else [(None, own)]
        for size, part in events:
            title = about["label"]
            lines = [
                _losses_line(number, part[part["agent"] == name], order, about["event"])
                for number, name in enumerate(labels)
                if (part["agent"] == name).any()
            ]
            if about["event"]:
                title += f" ({about['unit']}: {size:g})"
            x = "number of the fraction" if about["event"] else about["unit"]
            if lines:
                panels.append({"title": title, "x": x, "whole": about["event"], "lines": lines})
    return {
        "kind": "losses",
        "agents": list(labels.values()),
        "measures": [measures[name] for name in order],
        "panels": panels,
    }


def _losses_line(
    agent: int, table: pd.DataFrame, measures: Sequence[str], event: bool
) -> dict[str, Any]:
    """One agent's losses of every measure; nothing is lost at size 0."""
    x = "when" if event else "size"
    start = [] if event else [0.0]
    found = []
    for name in measures:
        own = table[table["metric"] == name].sort_values(x)
        columns = [_plain([*start, *own[c]]) for c in ("loss", "loss_low", "loss_high")]
        curve = dict(zip(("values", "low", "high"), columns, strict=True))
        if None in (*curve["low"], *curve["high"]):
            curve = {"values": curve["values"]}
        found.append(curve)
    return {"agent": agent, "time": _plain([*start, *own[x]]), "measures": found}


def _row(interval: Interval, spread: Sequence[float] | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "estimate": _short(interval.estimate),
        "low": _short(interval.low),
        "high": _short(interval.high),
    }
    if spread is not None:
        row["spread"] = [_short(value) for value in spread]
    return row


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _plain(values: Any) -> list[float | None]:
    numbers = np.asarray(values, np.float64)
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in numbers]
