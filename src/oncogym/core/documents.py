"""JSON documents of unknown origin: every value is looked at before it is used."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.files import CorruptFileError, StrPath, read_json

# More of a wrong value does not help whoever reads the message.
_SHOWN = 60


class Document:
    """An object of a JSON file, with its place for messages.

    Args:
        values: What the object should be; anything else is an error.
        place: File, and within it the names that lead to the object.

    Raises:
        CorruptFileError: ``values`` is not an object.
    """

    def __init__(self, values: object, place: str) -> None:
        self.place = place
        if not isinstance(values, dict):
            raise CorruptFileError(f"{place}: {shown(values)}; allowed: an object")
        self.values: dict[str, Any] = values

    @classmethod
    def read(cls, path: StrPath, most_bytes: int) -> Document:
        """The object in a file.

        Raises:
            OSError: It cannot be opened.
            CorruptFileError: It is damaged, larger than ``most_bytes`` or no object.
        """
        return cls(read_json(path, most_bytes), str(path))

    def error(self, name: str, allowed: str) -> CorruptFileError:
        """An error that names the value called ``name``."""
        return CorruptFileError(
            f"{self.place}: {name} is {shown(self.values.get(name))}; allowed: {allowed}"
        )

    def __getitem__(self, name: str) -> Any:
        if name not in self.values:
            raise CorruptFileError(f"{self.place}: {name} is missing")
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def inside(self, name: str) -> Document:
        """The object called ``name``."""
        return Document(self[name], f"{self.place}: {name}")

    def mapping(self, name: str) -> dict[str, Any]:
        """The object called ``name``, whatever is in it."""
        return dict(self.inside(name).values)

    def text(self, name: str) -> str:
        """A text."""
        value = self[name]
        if not isinstance(value, str):
            raise self.error(name, "a text")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self[name]
        if not isinstance(value, bool):
            raise self.error(name, "true or false")
        return value

    def whole(self, name: str, low: int, high: int) -> int:
        """An integer within a range.

        Args:
            name: Name of the entry.
            low, high: The allowed range, ends included.
        """
        value = self[name]
        if type(value) is not int or not low <= value <= high:
            raise self.error(name, f"an integer from {low} to {high}")
        return value

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number within a range.

        Args:
            name: Name of the entry.
            low, high: The allowed range, ends included.
        """
        value = self[name]
        if not is_number(value) or not low <= value <= high:
            raise self.error(name, f"a finite number from {low} to {high}")
        return float(value)

    def whole_numbers(self, name: str, low: int, high: int, longest: int) -> list[int]:
        """A list of integers within a range.

        Args:
            name: Name of the entry.
            low, high: The allowed range of each, ends included.
            longest: Entries of the list at most.
        """
        value = self[name]
        if (
            not isinstance(value, list)
            or len(value) > longest
            or not all(type(item) is int and low <= item <= high for item in value)
        ):
            raise self.error(name, f"at most {longest} integers from {low} to {high}")
        return value

    def table(self, name: str, axes: tuple[str, ...]) -> NDArray[np.float64]:
        """Finite numbers in nested lists of equal lengths, one level for each of ``axes``."""
        value = self[name]
        lists: list[Any] = [[value]]
        for _ in axes:
            lists = [item for group in lists for item in group]
            if not all(isinstance(item, list) for item in lists) or len(set(map(len, lists))) > 1:
                raise self.error(name, f"numbers as nested lists ({', '.join(axes)})")
        if not all(is_number(item) for row in lists for item in row):
            raise self.error(name, f"finite numbers as nested lists ({', '.join(axes)})")
        return np.asarray(value, np.float64)


def is_number(value: object) -> bool:
    """Whether a value of a document is a finite number, and one that fits a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def shown(value: object) -> str:
    """A value for a message, shortened."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if type(value) is int and abs(value) > 10**_SHOWN:
        return "an integer of more than 60 digits"
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
