"""A published number beside ours: the record, the table, and the registry of sources."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from oncogym.core.errors import nearest
from oncogym.core.json_types import JsonObject
from oncogym.evaluation import reproduce


@dataclass(frozen=True)
class Check:
    """One published number and what came out here.

    Attributes:
        id: Short name, unique within its source.
        quantity: What it is, with its unit.
        published: The number to be met.
        obtained: The number that the verdict compares with it.
        tolerance: Largest difference that counts as agreement.
        ok: The verdict.
        note: How ``obtained`` was computed and what else there is to know.
    """

    id: str
    quantity: str
    published: float
    obtained: float
    tolerance: float
    ok: bool
    note: str = ""


def compare(
    id: str,
    quantity: str,
    published: float,
    obtained: float,
    tolerance: float,
    note: str = "",
    *,
    valid: bool = True,
) -> Check:
    """A check that holds when the numbers agree within ``tolerance`` and ``valid`` is true.

    ``valid`` stands for side conditions without which ``obtained`` means nothing, such as the
    limits under which an optimum was sought. NaN never agrees.

    Args:
        id: Name of the check.
        quantity: What is compared, with its unit.
        published: The source's number.
        obtained: Ours.
        tolerance: Largest difference that counts as agreement, >= 0.
        note: What a reader has to know.
        valid: Whether the side conditions hold.
    """
    published, obtained, tolerance = float(published), float(obtained), float(tolerance)
    ok = valid and abs(obtained - published) <= tolerance
    return Check(id, quantity, published, obtained, tolerance, bool(ok), note)


class Arguments(Protocol):
    """What a source adds its options to: an ``argparse`` parser or a group of one."""

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """As ``argparse.ArgumentParser.add_argument``."""


@dataclass(frozen=True)
class Source:
    """A source document whose numbers can be reproduced.

    Attributes:
        name: What it is called on the command line.
        title: What it is.
        checks: ``checks(seed)`` computes everything, with a progress bar on standard error.
        figures: ``figures(folder, seed)`` saves the source's figures as PNG files and returns their
            paths, or ``None`` if there are none to draw.
        policies: ``policies(folders)`` is the same source with the policies of these training runs
            beside its own, or ``None`` if it has nothing to compare them with.
        arguments: ``arguments(parser)`` adds options that only this source has, or ``None`` without
            any. Their names must differ from those of other sources and of the command.
        configured: ``configured(options, folder)`` is the same source with these values of its
            options, by destination, and the folder for results, or ``None`` if nothing is saved.
            A value that it refuses raises ValueError, before any work.
        figure_options: Those of its options, by destination, that only figures use.
    """

    name: str
    title: str
    checks: Callable[[int], list[Check]]
    figures: Callable[[Path, int], list[Path]] | None = None
    policies: Callable[[Sequence[Path]], Source] | None = None
    arguments: Callable[[Arguments], None] | None = None
    configured: Callable[[Mapping[str, Any], Path | None], Source] | None = None
    figure_options: tuple[str, ...] = ()

    def options(self) -> JsonObject:
        """Defaults of the options that only this source has, by destination."""
        parser = argparse.ArgumentParser(add_help=False)
        if self.arguments is not None:
            self.arguments(parser)
        return vars(parser.parse_args([]))


_SOURCES: dict[str, Source] = {}


def register(source: Source) -> None:
    """Offer a source to ``oncogym reproduce``.

    Raises:
        ValueError: Another source has its name.
    """
    if _SOURCES.get(source.name, source) != source:
        raise ValueError(f"a source called {source.name!r} is already registered")
    _SOURCES[source.name] = source


def sources() -> dict[str, Source]:
    """All sources by name."""
    reproduce.load()
    return dict(sorted(_SOURCES.items()))


def find_source(name: str) -> Source:
    """The source called ``name``.

    Raises:
        UnknownNameError: There is none; the message suggests the nearest.
    """
    known = sources()
    if name not in known:
        raise nearest("source", name, known)
    return known[name]


def table(checks: Sequence[Check]) -> str:
    """The checks as aligned text; a note stands below its check, or the last of several with it."""
    rows = [("", "quantity", "published", "obtained", "tolerance")]
    for check in checks:
        shown = _number(check.published), _number(check.obtained)
        verdict = "ok" if check.ok else "FAIL"
        rows.append((verdict, check.quantity, shown[0], shown[1], f"{check.tolerance:.2g}"))
    wide = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = []
    for number, row in enumerate(rows):
        words = [f"{row[0]:<{wide[0]}}", f"{row[1]:<{wide[1]}}"]
        words += [f"{row[column]:>{wide[column]}}" for column in (2, 3, 4)]
        lines.append("  ".join(words).rstrip())
        note = checks[number - 1].note if number else ""
        following = checks[number].note if number < len(checks) else ""
        if note and note != following:
            lines.append(" " * (wide[0] + 4) + note)
    return "\n".join(lines)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{value:.7g}"
