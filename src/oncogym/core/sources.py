"""Which program decides a result: sources of the suite and versions of its packages."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from oncogym.core.json_types import JsonObject
from oncogym.core.manifest import versions

_SUITE = __name__.partition(".")[0]
# Its packages, which may lie in different places.
_PARTS = ("", ".envs", ".agents", ".wrappers", ".training", ".evaluation")


def program(modules: Iterable[str] = ()) -> JsonObject:
    """What work must have in common with the process that goes on with it, by name.

    Args:
        modules: Names of modules beside the suite's that decide a result, too; with each goes the
            whole package in which it stands.

    Returns:
        ``sources``, a digest of all source files, and ``versions`` of the packages.
    """
    others = {name.partition(".")[0] for name in modules} - {_SUITE}
    digest = _digest(*(_SUITE + part for part in _PARTS), *sorted(others))
    return {"sources": digest, "versions": versions()}


@cache
def _digest(*packages: str) -> str:
    """Digest of all source files of packages, and of modules that are files."""
    files: set[Path] = set()
    for name in packages:
        try:
            spec = importlib.util.find_spec(name)
        except ValueError:  # a program, which is no module to import
            spec = None
        if spec is not None and spec.submodule_search_locations is not None:
            for folder in spec.submodule_search_locations:
                files.update(file.resolve() for file in Path(folder).rglob("*.py"))
        elif spec is not None and spec.has_location:
            files.add(Path(str(spec.origin)).resolve())
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:32]
