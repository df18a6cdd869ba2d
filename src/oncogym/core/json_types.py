"""Names for what is written as JSON and read from it."""

from __future__ import annotations

from typing import Any, TypeAlias

#: An object as ``json`` gives it: values are checked where they are read.
JsonObject: TypeAlias = dict[str, Any]
