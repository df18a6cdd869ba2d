"""Figures of a comparison; they read the treatment record and the results table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from oncogym.envs.outcomes import Trace
from oncogym.evaluation.metrics import well_founded
from oncogym.evaluation.report.curves import mean_interval
from oncogym.evaluation.report.labels import untyped
from oncogym.evaluation.statistics import Interval

# Okabe and Ito's colours, told apart by colour-blind readers too.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")


def _colours(names: Sequence[str]) -> dict[str, str]:
    return {name: _PALETTE[i % len(_PALETTE)] for i, name in enumerate(names)}


def plot_courses(courses: Mapping[str, Sequence[Trace]], title: str) -> Figure:
    """The course of one patient under each agent: one panel a quantity, one line an agent."""
    first = next(iter(courses.values()))
    colours = _colours(list(courses))
    figure = Figure(figsize=(9.0, 2.1 * len(first) + 0.8), dpi=100, layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(first), 1))
    follows = [*(trace.time_label for trace in first[1:]), ""]
    for row, (axis, sample) in enumerate(zip(axes, first, strict=True)):
        if row and sample.time_label == first[row - 1].time_label:
            axis.sharex(axes[row - 1])
        if sample.time_label != follows[row]:
            axis.set_xlabel(untyped(sample.time_label))
        else:
            axis.tick_params(labelbottom=False)
        for number, (agent, traces) in enumerate(courses.items()):
            trace = traces[row]
            colour = colours[agent]
            style = "-" if number < len(_PALETTE) else "--"
            if trace.events:
                # Agents are drawn side by side, or doses of the same day would hide each other.
                shift = 0.12 * (number - 0.5 * (len(courses) - 1))
                axis.vlines(trace.time + shift, 0.0, trace.values, color=colour, linewidth=2.0)
                axis.plot([], [], color=colour, linestyle=style, label=untyped(agent))
            else:
                axis.plot(
                    trace.time, trace.values, color=colour, linestyle=style, label=untyped(agent)
                )
        if sample.limit is not None:
            axis.axhline(sample.limit, color="tab:red", linestyle=":", linewidth=1.2)
        if sample.events:
            axis.set_ylim(bottom=0.0)
        axis.set_ylabel(untyped(sample.label))
        axis.grid(alpha=0.25)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(4, len(courses)),
        frameon=False,
    )
    figure.suptitle(untyped(title))
    return figure


def plot_schedules(courses: Mapping[str, Sequence[Trace]], title: str) -> Figure:
    """The events (doses) of one patient: one panel an agent, on common axes."""
    chosen = {
        agent: next(trace for trace in traces if trace.events) for agent, traces in courses.items()
    }
    columns = 2
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(9.0, 1.5 * rows + 0.8), dpi=100, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    colours = _colours(list(chosen))
    highest = max((float(np.max(t.values, initial=0.0)) for t in chosen.values()), default=0.0)
    for axis, (agent, trace) in zip(axes, chosen.items(), strict=False):
        axis.vlines(trace.time, 0.0, trace.values, color=colours[agent], linewidth=2.0)
        axis.set_title(
            untyped(f"{agent}: {np.sum(trace.values):.1f} in {len(trace.time)}"), fontsize=9
        )
        axis.set_ylim(0.0, 1.05 * highest or 1.0)
        axis.grid(alpha=0.25)
    for axis in axes[len(chosen) :]:
        axis.set_visible(False)
    sample = next(iter(chosen.values()))
    figure.supxlabel(untyped(sample.time_label))
    figure.supylabel(untyped(sample.label))
    figure.suptitle(untyped(title))
    return figure


def plot_intervals(
    values: Mapping[str, Interval], label: str, marks: Mapping[str, float] | None = None
) -> Figure:
    """Estimates with their intervals, one line an agent; ``marks`` are named vertical lines."""
    names = list(values)
    figure = Figure(figsize=(8.0, 0.42 * len(names) + 1.3), dpi=100, layout="constrained")
    axis = figure.subplots()
    colours = _colours(names)
    for row, name in enumerate(reversed(names)):
        interval = values[name]
        axis.plot([interval.low, interval.high], [row, row], color=colours[name], linewidth=3.0)
        axis.plot(interval.estimate, row, "o", color=colours[name], markersize=7)
    for text, position in (marks or {}).items():
        axis.axvline(position, color="grey", linestyle="--", linewidth=1.0)
        axis.annotate(
            untyped(text), (position, len(names) - 0.45), ha="center", fontsize=8, color="grey"
        )
    axis.set_yticks(range(len(names)), [untyped(name) for name in reversed(names)])
    axis.set_ylim(-0.6, len(names) - 0.1)
    axis.set_xlabel(untyped(f"{label} (95 % interval)"))
    axis.grid(axis="x", alpha=0.25)
    return figure


def plot_distribution(results: pd.DataFrame, metric: str, label: str) -> Figure:
    """Distribution of a metric over patients, one box an agent (whiskers: 5 % to 95 %)."""
    names = [str(name) for name in results["agent"].unique()]
    figure = Figure(figsize=(8.0, 0.42 * len(names) + 1.3), dpi=100, layout="constrained")
    axis = figure.subplots()
    data = [results.loc[results["agent"] == name, metric].to_numpy() for name in reversed(names)]
    boxes = axis.boxplot(data, orientation="horizontal", whis=(5, 95), showfliers=False,
                         patch_artist=True)  # fmt: skip
    colours = _colours(names)
    for box, name in zip(boxes["boxes"], reversed(names), strict=True):
        box.set_facecolor(colours[name])
        box.set_alpha(0.6)
    axis.set_yticks(range(1, len(names) + 1), [untyped(name) for name in reversed(names)])
    axis.set_xlabel(untyped(label))
    axis.grid(axis="x", alpha=0.25)
    return figure


def plot_history(
    curves: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str, mean: bool = False
) -> Figure:
    """Learning or search curves: ``(x, y)`` points by name.

    Args:
        curves: Points of each curve.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.
        mean: Draw the curves faintly, and over them their mean with Student's 95 % interval; they
            must be repeats of one another, and more than one.
    """
    figure = Figure(figsize=(8.0, 3.6), dpi=100, layout="constrained")
    axis = figure.subplots()
    tables = {name: np.asarray(p, np.float64).reshape(-1, 2) for name, p in curves.items()}
    mean = mean and len(tables) > 1
    for (name, table), colour in zip(tables.items(), _PALETTE * 4, strict=False):
        faint: dict[str, Any] = {"color": "grey", "alpha": 0.5, "linewidth": 0.8}
        axis.plot(*table.T, **(faint if mean else {"color": colour, "label": untyped(name)}))
    if mean:
        band = mean_interval(list(tables.values()))
        axis.plot(band.x, band.mean, color=_PALETTE[0], label=f"mean of {len(tables)}")
        axis.fill_between(
            band.x, band.low, band.high, color=_PALETTE[0], alpha=0.2, linewidth=0.0,
            label="95 % interval of the mean",
        )  # fmt: skip
    axis.set_xlabel(untyped(x))
    axis.set_ylabel(untyped(y))
    axis.grid(alpha=0.25)
    if len(curves) > 1:
        axis.legend(frameon=False)
    return figure


def plot_robustness(
    summary: pd.DataFrame, metrics: Sequence[str], kinds: Mapping[str, Any], title: str
) -> Figure:
    """Losses with their intervals: one panel for each kind of perturbation and metric.

    Means of fewer than five patients are left out.

    Args:
        summary: Losses of each agent, perturbation and metric, as
            ``robustness_outcome.summarise_losses`` gives them.
        metrics: Metrics to draw, by name.
        kinds: The kinds by name; those in the summary are drawn.
        title: Title of the figure.
    """
    present = [name for name in kinds if (summary["kind"] == name).any()]
    agents = [str(name) for name in summary["agent"].unique()]
    colours = _colours(agents)
    summary = well_founded(summary)
    # A single kind has its metrics side by side.
    shape = (len(metrics), len(present)) if len(present) > 1 else (1, len(metrics))
    width, height = max(3.1 * shape[1] + 0.6, 8.0), 2.6 * shape[0] + 1.2
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    axes = figure.subplots(*shape, squeeze=False)
    panels = [(metric, kind) for metric in metrics for kind in present]
    for axis, (metric, kind) in zip(axes.ravel(), panels, strict=True):
        own = summary[(summary["kind"] == kind) & (summary["metric"] == metric)]
        event = kinds[kind].event
        for number, agent in enumerate(agents):
            shift = number - 0.5 * (len(agents) - 1)
            _draw_losses(axis, own[own["agent"] == agent], event, shift, colours[agent])
        axis.axhline(0.0, color="grey", linewidth=0.8)
        axis.grid(alpha=0.25)
        if metric == metrics[0] or len(present) == 1:
            axis.set_title(untyped(kinds[kind].label), fontsize=10)
        axis.set_xlabel("number of the fraction" if event else kinds[kind].unit, fontsize=9)
        if event:
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(own) and kind == present[0]:
            sample = own.iloc[0]
            unit = f" [{sample['unit']}]" if sample["unit"] else ""
            axis.set_ylabel(untyped(f"{sample['label']} lost{unit}"), fontsize=9)
    for agent in agents:
        axes[0, 0].plot([], [], "o-", color=colours[agent], label=untyped(agent))
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(int(width / 2.4), len(agents)),
        frameon=False,
    )
    figure.suptitle(
        untyped(f"{title}: loss against the unperturbed course (95 % intervals)"), fontsize=11
    )
    return figure


def _draw_losses(axis: Any, table: pd.DataFrame, event: bool, shift: float, colour: str) -> None:
    """One agent's losses, a line for each size of an event; ``shift`` keeps agents apart."""
    x = "when" if event else "size"
    for number, (_, part) in enumerate(_lines(table, x)):
        start = [] if event else [0.0]
        places, middle, low, high = (
            np.array([*start, *part[name]]) for name in (x, "loss", "loss_low", "loss_high")
        )
        # Side by side, or intervals of the same place hide each other.
        places = places + shift * (0.06 if event else 0.01 * float(places.max(initial=0.0)))
        style = ("-", "--", ":", "-.")[number % 4]
        axis.plot(places, middle, style, color=colour, marker="o", markersize=3.5, linewidth=1.2)
        axis.vlines(places, low, high, color=colour, linewidth=1.2)


def _lines(table: pd.DataFrame, x: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """One line for each value of the other coordinate, its points in order."""
    other = "size" if x == "when" else "when"
    for value, part in table.groupby(other, sort=True):
        yield value, part.sort_values(x)
