"""Packages that come with an extra of the suite."""

from __future__ import annotations

import importlib
from typing import Any


def import_package(name: str, need: str, extras: str) -> Any:
    """A package that may be missing.

    Args:
        name: What is imported.
        need: Who needs it, the beginning of the message.
        extras: Those of the suite that bring it, separated by commas.

    Raises:
        ModuleNotFoundError: It is not installed; the message says how to.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{need}, which is not installed: pip install "oncogym[{extras}]"', name=error.name
        ) from error
