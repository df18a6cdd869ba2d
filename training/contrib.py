"""sb3-contrib, of which some algorithms are."""

from __future__ import annotations

from typing import Any


def import_contrib() -> Any:
    """The package ``sb3_contrib``.

    Raises:
        ModuleNotFoundError: It is not installed; the message says how to.
    """
    try:
        import sb3_contrib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'this algorithm is one of sb3-contrib, which is not installed: pip install "oncogym'
            '[train]"',
            name=error.name,
        ) from error
    return sb3_contrib
