"""What a treatment did to a patient: outcome metrics, and quantities against time for figures."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    name: str
    label: str
    time: NDArray[np.float64]
    values: NDArray[np.float64]
    events: bool = False
    limit: float | None = None
    time_label: str = "day"
    limit_label: str = "limit"
