"""The picture of one chemotherapy course: tumour, drug and toxicity against time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from oncogym.envs.chemo_dosing.model import simulate
from oncogym.envs.outcomes import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"cells": "tab:blue", "drug": "tab:green", "toxicity": "tab:orange"}


def traces(task: Any, lane: int) -> list[Trace]:
    """Doses, drug, toxicity and log10 cells of one lane up to now."""
    doses = task.given(lane)
    days = np.array([day for day, _ in doses])
    sizes = np.array([size for _, size in doses])
    elapsed = task.elapsed(lane)
    if elapsed <= 0.0:
        start = np.zeros(1)
        cells = np.full(1, np.log10(task.patient(lane).initial_cells))
        time, log_cells, drug, toxicity = start, cells, start, start
    else:
        course = simulate(
            days,
            sizes,
            task.patient(lane),
            horizon=elapsed,
            toxicity_limit=task.toxicity_limit,
        )
        time, log_cells = course.time, course.log_cells / np.log(10.0)
        drug, toxicity = course.concentration, course.toxicity
    return [
        Trace("dose", "dose [mg/L]", days, sizes, events=True),
        Trace("cells", "log10 tumour cells", time, log_cells, limit=0.0, limit_label="one cell"),
        Trace("drug", "drug [mg/L]", time, drug),
        Trace("toxicity", "toxicity", time, toxicity, limit=task.toxicity_limit),
    ]


def picture(task: Any, lane: int) -> Figure:
    """Draw the course of one lane up to now, 640 x 480 pixels."""
    # Not with the module: Matplotlib takes half a second.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    by_name = {trace.name: trace for trace in traces(task, lane)}
    axes = dict(zip(_COLOURS, figure.subplots(3, 1, sharex=True), strict=True))
    for name, axis in axes.items():
        trace = by_name[name]
        axis.plot(
            trace.time, trace.values, color=_COLOURS[name], marker="o" * (len(trace.time) < 2)
        )
        axis.set_ylabel(trace.label)
        if trace.limit is not None:
            axis.axhline(trace.limit, color="tab:red", linestyle="--", linewidth=1.0)
    dose = by_name["dose"]
    axes["drug"].vlines(dose.time, 0.0, dose.values, color="grey", linewidth=2)
    axes["cells"].set_ylim(-4.0, 9.5)
    axes["drug"].set_ylim(0.0, None)
    axes["toxicity"].set_ylim(0.0, 1.5 * task.toxicity_limit)
    axes["toxicity"].set_xlabel("day")
    axes["toxicity"].set_xlim(0.0, task.horizon)
    axes["cells"].set_title(
        f"day {task.elapsed(lane):.1f}: {dose.values.sum():.2f} mg/L in {len(dose.time)} doses"
    )
    return figure
