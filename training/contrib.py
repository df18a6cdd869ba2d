"""sb3-contrib, of which some algorithms are."""

from __future__ import annotations

from typing import Any

from oncogym.training.packages import import_package


def import_contrib() -> Any:
    """The package ``sb3_contrib``.

    Raises:
        ModuleNotFoundError: It is not installed; the message says how to.
    """
    return import_package("sb3_contrib", "this algorithm is one of sb3-contrib", "train")
