"""What the best is that can be done: agents that know patient, state and model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.arrays import Floats


@dataclass(frozen=True)
class Bound:
    """The best known way to treat a patient who is known: no treatment, but a yardstick.

    ``decide(task, lanes)`` returns actions ``(k, action size)`` in [0, 1] for lanes ``(k,)`` of a
    live task. It may read everything of the task: patients, state, options, reward weights.

    Args:
        label: Name for tables and figures.
        decide: The decision.
        note: What it is, and how near to the optimum.
    """

    label: str
    decide: Callable[[Any, NDArray[np.intp]], Floats]
    note: str = ""
