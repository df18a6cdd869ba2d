"""Charts and courses drawn by Matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from oncogym.envs.outcomes import Trace, panels
from oncogym.evaluation.report.charts import Chart, Curve, Lines, Losses, LossPanel, Ranges
from oncogym.evaluation.report.labels import untyped

# Okabe and Ito's colours, told apart by colour-blind readers too.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
# Of curves that share a panel.
_STYLES = ("-", "--", ":", "-.", (0, (8, 3)), (0, (1, 4)))


def _colours(names: Sequence[str]) -> dict[str, str]:
    return {name: _PALETTE[i % len(_PALETTE)] for i, name in enumerate(names)}


def plot_courses(courses: Mapping[str, Sequence[Trace]], title: str) -> Figure:
    """The course of one patient under each agent: a panel a quantity, a colour an agent.

    Curves that share a panel differ in their lines; a legend names them.
    """
    colours = _colours(list(courses))
    shown = {agent: panels(traces) for agent, traces in courses.items()}
    first = next(iter(shown.values()))
    figure = Figure(figsize=(9.0, 2.1 * len(first) + 0.8), dpi=100, layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(first), 1))
    below = [traces[0].time_label for traces in first]
    for row, (axis, together) in enumerate(zip(axes, first, strict=True)):
        sample = together[0]
        if row and sample.time_label == below[row - 1]:
            axis.sharex(axes[row - 1])
        if row + 1 == len(first) or sample.time_label != below[row + 1]:
            axis.set_xlabel(untyped(sample.time_label))
        else:
            axis.tick_params(labelbottom=False)
        for number, (agent, own) in enumerate(shown.items()):
            for curve, trace in enumerate(own[row]):
                _draw_trace(axis, trace, colours[agent], number, len(shown), curve)
            axis.plot([], [], color=colours[agent], linestyle=_style(number), label=untyped(agent))
        if sample.limit is not None:
            axis.axhline(sample.limit, color="tab:red", linestyle=":", linewidth=1.2)
        if sample.events:
            axis.set_ylim(bottom=0.0)
        if sample.panel:
            styles = [
                axis.plot([], [], color="black", linestyle=_STYLES[k % len(_STYLES)])[0]
                for k in range(len(together))
            ]
            axis.legend(styles, [untyped(trace.label) for trace in together], fontsize=7)
        axis.set_ylabel(untyped(sample.panel or sample.label))
        axis.grid(alpha=0.25)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(4, len(courses)),
        frameon=False,
    )
    figure.suptitle(untyped(title))
    return figure


def _style(agent: int) -> str:
    return "-" if agent < len(_PALETTE) else "--"


def _draw_trace(axis: Axes, trace: Trace, colour: str, agent: int, agents: int, curve: int) -> None:
    """Draw one curve of one agent, the ``curve``-th of its panel."""
    if trace.events:
        # Agents are drawn side by side, or doses of the same day would hide each other.
        shift = 0.12 * (agent - 0.5 * (agents - 1))
        axis.vlines(trace.time + shift, 0.0, trace.values, color=colour, linewidth=2.0)
        return
    style = _STYLES[curve % len(_STYLES)] if trace.panel else _style(agent)
    axis.plot(trace.time, trace.values, color=colour, linestyle=style)


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


def draw(chart: Chart, title: str = "") -> Figure:
    """A chart as the page has it, but for what the reader could choose: the first measures.

    Args:
        chart: What :mod:`oncogym.evaluation.report.charts` describes.
        title: Title of the figure, if it is to have one.
    """
    if isinstance(chart, Lines):
        figure = _draw_lines(chart)
    elif isinstance(chart, Ranges):
        figure = _draw_ranges(chart)
    else:
        figure = _draw_losses(chart)
    if title:
        figure.suptitle(untyped(title), fontsize=11)
    return figure


def _draw_lines(chart: Lines) -> Figure:
    figure = Figure(figsize=(8.0, 3.6), dpi=100, layout="constrained")
    axis = figure.subplots()
    mean = chart.mean
    for (name, curve), colour in zip(chart.curves.items(), _PALETTE * 4, strict=False):
        if mean is None:
            axis.plot(curve.x, curve.y, color=colour, label=untyped(name))
        else:
            axis.plot(curve.x, curve.y, color="grey", alpha=0.5, linewidth=0.8)
    if mean is not None:
        axis.plot(mean.x, mean.y, color=_PALETTE[0], label=f"mean of {len(chart.curves)}")
        if mean.low is not None and mean.high is not None:
            axis.fill_between(
                mean.x, mean.low, mean.high, color=_PALETTE[0], alpha=0.2, linewidth=0.0,
                label="95 % interval of the mean",
            )  # fmt: skip
    axis.set_xlabel(untyped(chart.x))
    axis.set_ylabel(untyped(chart.y))
    axis.grid(alpha=0.25)
    if len(chart.curves) > 1:
        axis.legend(frameon=False)
    return figure


def _draw_ranges(chart: Ranges) -> Figure:
    """The first measure: a line an agent, the first on top, and the marks as vertical lines."""
    names, measure = list(chart.agents), chart.measures[0]
    figure = Figure(figsize=(8.0, 0.42 * len(names) + 1.3), dpi=100, layout="constrained")
    axis = figure.subplots()
    colours = _colours(names)
    for row, (name, found) in enumerate(zip(names, measure.rows, strict=True)):
        if found is not None:
            own, height, colour = found.interval, len(names) - 1 - row, colours[name]
            axis.plot([own.low, own.high], [height, height], color=colour, linewidth=3.0)
            axis.plot(own.estimate, height, "o", color=colour, markersize=7)
    for text, position in (measure.marks or {}).items():
        axis.axvline(position, color="grey", linestyle="--", linewidth=1.0)
        axis.annotate(
            untyped(text), (position, len(names) - 0.45), ha="center", fontsize=8, color="grey"
        )
    axis.set_yticks(range(len(names)), [untyped(name) for name in reversed(names)])
    axis.set_ylim(-0.6, len(names) - 0.1)
    unit = f" [{measure.unit}]" if measure.unit else ""
    axis.set_xlabel(untyped(f"{measure.label}{unit}, 95 % interval"))
    axis.grid(axis="x", alpha=0.25)
    return figure


def plot_distribution(results: pd.DataFrame, metric: str, label: str) -> Figure:
    """Distribution of a metric over patients, one box an agent (whiskers: 5 % to 95 %).

    Args:
        results: One row an agent and patient, as of ``evaluate``.
        metric: Column of ``results``.
        label: Name and unit of the metric.
    """
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


def _draw_losses(chart: Losses) -> Figure:
    """The headline measures: one panel for each kind of perturbation and measure."""
    count, kinds = chart.headline, len(chart.panels)
    # A single kind has its measures side by side.
    shape = (count, kinds) if kinds > 1 else (1, count)
    width, height = max(3.1 * shape[1] + 0.6, 8.0), 2.6 * shape[0] + 1.2
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    axes = figure.subplots(*shape, squeeze=False)
    colours = _colours(chart.agents)
    panels = [(measure, panel) for measure in range(count) for panel in chart.panels]
    for axis, (measure, panel) in zip(axes.ravel(), panels, strict=True):
        _draw_panel(axis, panel, measure, [colours[agent] for agent in chart.agents])
        if measure == 0 or kinds == 1:
            axis.set_title(untyped(panel.label), fontsize=10)
        axis.set_xlabel(untyped(panel.x), fontsize=9)
        if panel is chart.panels[0]:
            axis.set_ylabel(untyped(chart.measures[measure]), fontsize=9)
    for agent in chart.agents:
        axes[0, 0].plot([], [], "o-", color=colours[agent], label=untyped(agent))
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(int(width / 2.4), len(chart.agents)),
        frameon=False,
    )
    return figure


def _draw_panel(axis: Axes, panel: LossPanel, measure: int, colours: Sequence[str]) -> None:
    """One measure of a kind: an agent's lines have its colour, each size of an event its style."""
    sizes = list(dict.fromkeys(line.size for line in panel.lines))
    for line in panel.lines:
        shift = line.agent - 0.5 * (len(colours) - 1)
        style = ("-", "--", ":", "-.")[sizes.index(line.size) % 4]
        _draw_loss(axis, line.curves[measure], panel.event, shift, style, colours[line.agent])
    axis.axhline(0.0, color="grey", linewidth=0.8)
    axis.grid(alpha=0.25)
    if panel.event:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_loss(
    axis: Axes, curve: Curve, event: bool, shift: float, style: str, colour: str
) -> None:
    # Side by side, or intervals of the same place hide each other.
    places = curve.x + shift * (0.06 if event else 0.01 * float(curve.x.max(initial=0.0)))
    axis.plot(places, curve.y, style, color=colour, marker="o", markersize=3.5, linewidth=1.2)
    if curve.low is not None and curve.high is not None:
        axis.vlines(places, curve.low, curve.high, color=colour, linewidth=1.2)
