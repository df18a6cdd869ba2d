"""Figures as data: each is described once; a page and Matplotlib draw it from that.

A page draws ``chart.to_json()`` with scripts of its own, for the reader to question;
:func:`oncogym.evaluation.report.plots.draw` draws the same chart with Matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from oncogym.evaluation.metrics import mean_of, titled, well_founded
from oncogym.evaluation.report.curves import mean_interval
from oncogym.evaluation.statistics import Interval

# Whiskers, box and median of a spread over patients.
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Values at places, with the ends of their intervals where these are known.

    Attributes:
        x: Places ``(n,)`` in rising order.
        y: Values ``(n,)``.
        low, high: Ends of the intervals ``(n,)``, or ``None``.
    """

    x: _Numbers
    y: _Numbers
    low: _Numbers | None = None
    high: _Numbers | None = None

    def to_json(self) -> dict[str, Any]:
        """Values and interval, without the places."""
        found = {"values": _plain(self.y)}
        if self.low is not None and self.high is not None:
            found |= {"low": _plain(self.low), "high": _plain(self.high)}
        return found


@dataclass(frozen=True)
class Lines:
    """Curves over a common axis.

    Attributes:
        x, y: Labels of the axes.
        curves: The curves by name.
        mean: The mean of all curves with its 95 % interval, where they are repeats; it is drawn
            over them, and they are drawn faintly.
    """

    x: str
    y: str
    curves: Mapping[str, Curve]
    mean: Curve | None = None

    def to_json(self) -> dict[str, Any]:
        """What the page draws; the mean comes first."""
        named = dict(self.curves)
        if self.mean is not None:
            named = {f"mean of {len(named)}, 95 % interval": self.mean, **named}
        series = [
            {"name": name, "time": _plain(curve.x), **curve.to_json()}
            for name, curve in named.items()
        ]
        return {"kind": "lines", "x": self.x, "y": self.y, "series": series}


@dataclass(frozen=True)
class Estimate:
    """An interval, and where it is known the spread over patients (5, 25, 50, 75 and 95 %)."""

    interval: Interval
    spread: tuple[float, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Five digits of each number."""
        own = self.interval
        row: dict[str, object] = {
            "estimate": _short(own.estimate),
            "low": _short(own.low),
            "high": _short(own.high),
        }
        if self.spread is not None:
            row["spread"] = [_short(value) for value in self.spread]
        return row


@dataclass(frozen=True)
class Measure:
    """One quantity of every agent.

    Attributes:
        label: What it is.
        unit: Its unit, or empty.
        rows: One estimate an agent, ``None`` where there is none.
        marks: Named places on the axis.
    """

    label: str
    unit: str
    rows: Sequence[Estimate | None]
    marks: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """The measure as the page reads it."""
        marks = {} if self.marks is None else {"marks": dict(self.marks)}
        rows = [None if row is None else row.to_json() for row in self.rows]
        return {"label": self.label, "unit": self.unit, **marks, "rows": rows}


@dataclass(frozen=True)
class Ranges:
    """Estimates with their intervals, a line an agent; the page lets the reader choose a measure.

    Attributes:
        agents: What the agents are called.
        measures: The quantities, the first is shown first.
        estimate: What the middle of an interval is called.
    """

    agents: Sequence[str]
    measures: Sequence[Measure]
    estimate: str

    def to_json(self) -> dict[str, Any]:
        """What the page draws."""
        return {
            "kind": "ranges",
            "estimate": self.estimate,
            "agents": list(self.agents),
            "measures": [measure.to_json() for measure in self.measures],
        }


@dataclass(frozen=True)
class LossLine:
    """What one agent loses, in every measure, where a kind of perturbation varies.

    Attributes:
        agent: Number of the agent.
        size: Size of the event; ``None`` for a kind that acts throughout, whose size varies.
        curves: One curve a measure, over the same places.
    """

    agent: int
    size: float | None
    curves: Sequence[Curve]


@dataclass(frozen=True)
class LossPanel:
    """One kind of perturbation.

    Attributes:
        label: What happens.
        unit: What its size counts.
        event: Whether it happens once, so that the axis is the number of the fraction.
        lines: The agents' lines, by rising size of an event.
    """

    label: str
    unit: str
    event: bool
    lines: Sequence[LossLine]

    @property
    def x(self) -> str:
        """Label of the horizontal axis."""
        return "number of the fraction" if self.event else self.unit


@dataclass(frozen=True)
class Losses:
    """What perturbations cost: a panel a kind, a line an agent and size of an event.

    Attributes:
        agents: What the agents are called.
        measures: What is lost, with its unit.
        headline: So many measures, the first ones, stand for all where there is little room.
        panels: The kinds.
    """

    agents: Sequence[str]
    measures: Sequence[str]
    headline: int
    panels: Sequence[LossPanel]

    def to_json(self) -> dict[str, Any]:
        """What the page draws: a panel for each size of an event."""
        panels = []
        for panel in self.panels:
            for size in dict.fromkeys(line.size for line in panel.lines):
                title = panel.label if size is None else f"{panel.label} ({panel.unit}: {size:g})"
                lines = [
                    {
                        "agent": line.agent,
                        "time": _plain(line.curves[0].x),
                        "measures": [curve.to_json() for curve in line.curves],
                    }
                    for line in panel.lines
                    if line.size == size
                ]
                panels.append({"title": title, "x": panel.x, "whole": panel.event, "lines": lines})
        return {
            "kind": "losses",
            "agents": list(self.agents),
            "measures": list(self.measures),
            "panels": panels,
        }


Chart: TypeAlias = Lines | Ranges | Losses


def lines_chart(
    curves: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str, mean: bool = False
) -> Lines:
    """Learning or search curves.

    Args:
        curves: ``(x, y)`` points of each curve.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.
        mean: Whether the curves are repeats of one another: with more than one of them, their mean
            with Student's 95 % interval is shown too.
    """
    tables = {name: np.asarray(p, np.float64).reshape(-1, 2) for name, p in curves.items()}
    over = None
    if mean and len(tables) > 1:
        band = mean_interval(list(tables.values()))
        over = Curve(band.x, band.mean, band.low, band.high)
    return Lines(x, y, {name: Curve(*table.T) for name, table in tables.items()}, over)


def outcomes_chart(
    results: pd.DataFrame, summary: pd.DataFrame, labels: Mapping[str, str]
) -> Ranges:
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
            spread = tuple(np.quantile(own, _QUANTILES).tolist())
            rows.append(Estimate(mean_of(by_agent.loc[name]), spread))
        label, unit = lines.iloc[0][["label", "unit"]]
        measures.append(Measure(label, unit, rows))
    return Ranges(list(labels.values()), measures, "mean")


def scores_chart(scores: Mapping[str, Mapping[str, Interval]], labels: Mapping[str, str]) -> Ranges:
    """Normalised scores with their intervals, by statistic (``mean``, ``iqm``) and agent."""
    names = {"mean": "Normalised score (mean)", "iqm": "Normalised score (interquartile mean)"}
    measures = [
        Measure(
            names.get(statistic, statistic),
            "",
            [Estimate(found[name]) if name in found else None for name in labels],
            {"clinical": 0.0, "reference": 1.0},
        )
        for statistic, found in scores.items()
    ]
    return Ranges(list(labels.values()), measures, "score")


def losses_chart(study: Mapping[str, Any], labels: Mapping[str, str]) -> Losses:
    """Losses of every measure: a panel a kind of perturbation, lines of the agents.

    Kinds that act throughout have their sizes on the axis, from 0; those that happen once the
    number of the fraction. Means of fewer than five patients are left out.

    Args:
        study: ``Robustness.document()``.
        labels: What each agent is called.
    """
    summary = well_founded(pd.DataFrame(study["summary"]))
    names = summary.drop_duplicates("metric").set_index("metric")
    measures = {
        str(name): titled(
            f"{line['label']}, {'worse' if name in study['directed'] else 'less'} by",
            line["unit"],
        )
        for name, line in names.iterrows()
    }
    order = sorted(measures, key=lambda name: name not in study["headline"])
    panels = []
    for kind, about in study["kinds"].items():
        own = summary[summary["kind"] == kind]
        event = bool(about["event"])
        parts = own.groupby("size", sort=True) if event else [(None, own)]
        lines = [
            LossLine(number, size, _loss_curves(part[part["agent"] == name], order, event))
            for size, part in parts
            for number, name in enumerate(labels)
            if (part["agent"] == name).any()
        ]
        if lines:
            panels.append(LossPanel(about["label"], about["unit"], event, lines))
    shown = sum(name in study["headline"] for name in order)
    return Losses(list(labels.values()), [measures[name] for name in order], shown, panels)


def _loss_curves(table: pd.DataFrame, measures: Sequence[str], event: bool) -> list[Curve]:
    """One agent's losses of every measure; nothing is lost at size 0."""
    place = "when" if event else "size"
    start = [] if event else [0.0]
    found = []
    for name in measures:
        own = table[table["metric"] == name].sort_values(place)
        x, y, low, high = (
            np.array([*start, *own[c]], np.float64)
            for c in (place, "loss", "loss_low", "loss_high")
        )
        known = np.isfinite(low).all() and np.isfinite(high).all()
        found.append(Curve(x, y, low, high) if known else Curve(x, y))
    return found


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _plain(values: _Numbers) -> list[float | None]:
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]
