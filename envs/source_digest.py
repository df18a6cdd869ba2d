"""One digest of all source files that a kernel file is made of."""

from __future__ import annotations

import hashlib
import re
import sys
from functools import cache
from pathlib import Path

_PACKAGE = __name__.partition(".")[0]
_IMPORT = re.compile(rf"^from ({_PACKAGE}[\w.]*) import ([^(\n]*)", re.MULTILINE)


def short_digest(text: str) -> str:
    """Eight letters that stand for a text in a name."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@cache
def _read(file: str) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """Digest of a file as it is when first asked for, and its imports from the package."""
    content = Path(file).read_bytes()
    return hashlib.sha256(content).digest(), tuple(_IMPORT.findall(content.decode()))


@cache
def digest_of(module: str) -> str:
    """Digest of the sources of a module and of those of the package that it imports, and so on.

    Args:
        module: Its name; it may be half imported, but its imports at the top are done.
    """
    found: dict[str, bytes] = {}
    _collect(module, found)
    total = hashlib.sha256()
    for name in sorted(found):
        total.update(name.encode() + b"\0" + found[name])
    return total.hexdigest()


def _collect(module: str, found: dict[str, bytes]) -> None:
    file = getattr(sys.modules.get(module), "__file__", None)
    if module in found or file is None or not file.endswith(".py"):
        return
    found[module], imported = _read(file)
    if Path(file).name == "__init__.py":  # not all that a package imports belongs to a kernel
        return
    for origin, names in imported:
        _collect(origin, found)
        for name in names.split(","):
            _collect(f"{origin}.{name.split()[0]}" if name.split() else origin, found)
