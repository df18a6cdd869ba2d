"""Errors that several parts raise."""

from __future__ import annotations

import difflib
from typing import Any


class UnknownNameError(ValueError):
    """A treatment, environment id, protocol, cohort or field that does not exist."""


def nearest(kind: str, name: str, known: Any) -> UnknownNameError:
    """Return an :class:`UnknownNameError` that suggests the closest known name.

    Args:
        kind: What is named, for the message.
        name: The unknown name.
        known: The names that there are.
    """
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return UnknownNameError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}")


class ReportError(RuntimeError):
    """Results are saved, but a figure or the report could not be made; the message says why."""
