"""The numbers and figures of the source documents, one file each, and model-specific timings.

This is the one generic folder whose files may name a model. A file registers what it offers
with :func:`oncogym.evaluation.reproduce.checks.register` or
:func:`oncogym.evaluation.speed.register`; nothing else has to be changed to add one.
"""

from __future__ import annotations

import importlib
import pkgutil


def load() -> None:
    """Import every file of this folder, so that all of them have registered."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)
