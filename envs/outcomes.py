"""What a treatment did to a patient: outcome metrics, and quantities against time for figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Metric:
    """One clinical outcome: what it is called, its unit, and which direction is better.

    ``higher_is_better`` is ``None`` for a quantity that is only described (a total dose, say).
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool | None


@dataclass(frozen=True)
class Trace:
    """One quantity of a finished treatment against time, for figures.

    Args:
        name: Identifier, the same for all lanes.
        label: Axis label with the unit.
        time: Times ``(n,)``.
        values: Values ``(n,)``.
        events: Draw stems (doses) instead of a line.
        limit: A limit or a goal to draw, or ``None``.
        time_label: Label of the time axis.
        limit_label: What the limit is, in a word or two.
        panel: Label of the axis that neighbouring traces with this panel share; each trace's own
            label is then that of its curve. Empty for an axis of its own.
    """

    name: str
    label: str
    time: NDArray[np.float64]
    values: NDArray[np.float64]
    events: bool = False
    limit: float | None = None
    time_label: str = "day"
    limit_label: str = "limit"
    panel: str = ""


def panels(traces: Sequence[Trace]) -> list[list[Trace]]:
    """The traces that each panel of a figure shows, in order."""
    numbered = groupby(enumerate(traces), lambda pair: pair[1].panel or pair[0])
    return [[trace for _, trace in group] for _, group in numbered]


@dataclass(frozen=True)
class Map:
    """A quantity over a plane at the end of a treatment, for figures.

    Args:
        name: Identifier, the same for all lanes.
        label: What is drawn, with the unit.
        values: Values ``(rows, columns)``, the first row lowest.
        extent: Left, right, lower and upper edge of the plane.
        top: Largest value of the colour scale, which begins at 0.
        marks: Values that the colour scale marks, by label.
        outlines: Curves over it by name, each a list of pieces ``(points, 2)``.
        unit: Unit of the edges.
    """

    name: str
    label: str
    values: NDArray[np.float64]
    extent: tuple[float, float, float, float]
    top: float
    marks: Mapping[str, float] = field(default_factory=dict)
    outlines: Mapping[str, Sequence[NDArray[np.float64]]] = field(default_factory=dict)
    unit: str = ""
