"""What a treatment rests on: publications and programs, each with what was taken from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oncogym.envs.provenance import Constant


@dataclass(frozen=True)
class Publication:
    """A publication, program or web page that a model, its patients or its protocols draw on.

    Args:
        text: Who and where, as a reader would look it up.
        used_for: What was taken from it.
    """

    text: str
    used_for: str


def of_constants(constants: Iterable[Constant]) -> tuple[Publication, ...]:
    """The publications that print constants, in order, each with the names of its constants.

    Args:
        constants: Of a treatment. What was derived or chosen has no publication of its own.
    """
    names: dict[str, list[str]] = {}
    for one in constants:
        if one.kind == "printed":
            names.setdefault(one.where, []).append(one.name)
    return tuple(
        Publication(text, f"constants {', '.join(printed)}") for text, printed in names.items()
    )
