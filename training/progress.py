"""The bar of a training run on standard error."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


class ProgressBar:
    """Decisions done, their speed, and the latest returns.

    Args:
        total: Decisions of the whole run.
        initial: Decisions before this process took over.
        shown: Whether there is a bar at all.
    """

    def __init__(self, total: int, initial: int, shown: bool) -> None:
        self._shown: dict[str, str] = {}
        self._bar: Any = tqdm(
            total=total,
            initial=initial,
            unit=" steps",
            unit_scale=True,
            file=sys.stderr,
            dynamic_ncols=True,
            disable=not shown,
        )

    def advance(self, decisions: int) -> None:
        """So many decisions more."""
        self._bar.update(decisions)

    def show(self, what: str, value: float) -> None:
        """Put a number beside the bar."""
        self._shown[what] = f"{value:.3f}"
        self._bar.set_postfix(self._shown, refresh=False)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
