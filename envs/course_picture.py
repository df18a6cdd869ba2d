"""The picture of a course for treatments that draw none of their own: one panel a trace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from oncogym.envs.outcomes import Trace, panels


def draw_traces(courses: Sequence[Trace]) -> Figure:
    """Draw the traces of one lane, 640 x 480 pixels."""
    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    shown = panels(courses)
    for axis, together in zip(np.atleast_1d(figure.subplots(len(shown), 1)), shown, strict=True):
        for number, trace in enumerate(together):
            if trace.events:
                axis.vlines(trace.time, 0.0, trace.values, color="tab:grey", linewidth=2.0)
                axis.set_ylim(bottom=0.0)
            else:
                mark = "o" if len(trace.time) < 2 else ""
                colour = f"C{number}"
                axis.plot(trace.time, trace.values, color=colour, marker=mark, label=trace.label)
            if trace.limit is not None:
                axis.axhline(trace.limit, color="tab:red", linestyle="--", linewidth=1.0)
        if together[0].panel:
            axis.legend(fontsize=7)
        axis.set_ylabel(together[0].panel or together[0].label)
        axis.set_xlabel(together[0].time_label)
    return figure
