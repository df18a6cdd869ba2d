"""Roles of reStructuredText in docstrings, which Markdown does not know, as code or links."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc|doc):`~?([^`]+)`")

_BESIDE = re.compile(r"\]\(([\w-]+\.(?:md|png)(?:#[\w-]*)?)\)")


def plain(text: str) -> str:
    """A docstring in Markdown; names that the reference has become links.

    The text of a treatment's page stands in a docstring, and its links start where that page is.
    """
    return _BESIDE.sub(r"](../environments/\1)", _ROLE.sub(_link, text))


def _link(match: re.Match[str]) -> str:
    name = match[1]
    if not name.startswith("oncogym."):
        return f"`{name}`"
    return f'<autoref identifier="{name}" optional>`{name}`</autoref>'


class Roles(griffe.Extension):
    """Rewrites each docstring once, when its object is made."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = plain(obj.docstring.value)
