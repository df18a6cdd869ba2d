"""Records: rows of numbers whose columns have names, for kernels and for those who read results.

A record is a structured type of NumPy all of whose fields are of one kind of number, so that a
plain array ``(lanes, numbers)`` is an array of records without a copy. Tasks keep plain arrays;
kernels see the rows as records (:mod:`oncogym.envs.lane_kernels`), and Python reads them by
:func:`records_of`.

A file of records imports nothing but numpy, math and this one: kernels import it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Largest value of a number, or of each of several in a row by their names.
Tops = Mapping[str, "float | Mapping[str, float]"]


def make_record(*fields: str | tuple[str, int], number: DTypeLike = np.float64) -> np.dtype[Any]:
    """A record of numbers.

    Args:
        *fields: Name of each number, or name and length of several in a row.
        number: Kind of all numbers.

    Raises:
        ValueError: A name comes twice, or there is none.
    """
    if not fields:
        raise ValueError("a record without fields; needed: at least one")
    kind = np.dtype(number)
    parts: list[Any] = [
        (field, kind) if isinstance(field, str) else (field[0], kind, (field[1],))
        for field in fields
    ]
    return np.dtype(parts, align=True)


def observed_record(tops: Tops) -> tuple[np.dtype[Any], dict[str, float]]:
    """What an observation shows: its record in float32, and the largest value of each number.

    Args:
        tops: Largest values by the fields of the record; a field of several numbers has a mapping
            by their names.
    """
    parts = [name if isinstance(top, float) else (name, len(top)) for name, top in tops.items()]
    single: dict[str, float] = {}
    for name, top in tops.items():
        single |= {name: top} if isinstance(top, float) else top
    return make_record(*parts, number=np.float32), single


def names_of(record: np.dtype[Any]) -> tuple[str, ...]:
    """Names of a record's fields in their order."""
    assert record.names is not None
    return record.names


def width_of(record: np.dtype[Any]) -> int:
    """How many numbers a record has."""
    return record.itemsize // number_of(record).itemsize


def number_of(record: np.dtype[Any]) -> np.dtype[Any]:
    """The kind of a record's numbers."""
    return record[0].base


def make_rows(count: int, record: np.dtype[Any]) -> NDArray[Any]:
    """Zeros ``(count, numbers)``, a record a row."""
    return np.zeros((count, width_of(record)), number_of(record))


def pack_record(record: np.dtype[Any], **values: float) -> NDArray[Any]:
    """One record as a row ``(numbers,)``.

    Args:
        record: Its type.
        **values: Every number by name.

    Raises:
        ValueError: A number is missing or has no place; the message names it.
    """
    names = names_of(record)
    wrong = [name for name in (*names, *values) if (name in values) != (name in names)]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} given or missing; needed: {', '.join(names)}")
    return np.array([values[name] for name in names], number_of(record))


def records_of(rows: NDArray[Any], record: np.dtype[Any]) -> NDArray[Any]:
    """The same memory as records: ``(count,)`` of rows ``(count, numbers)``, 0-d of one row.

    Raises:
        ValueError: The rows are of another width.
    """
    if rows.shape[-1:] != (width_of(record),):
        raise ValueError(f"rows of shape {rows.shape}; allowed: (…, {width_of(record)})")
    return rows.view(record)[..., 0]


def check_order(what: str, names: Sequence[str], record: np.dtype[Any]) -> None:
    """Check that descriptions stand in the order of the record that they describe.

    Args:
        what: What is described, for the message.
        names: Names of the descriptions.
        record: The record.

    Raises:
        ValueError: They do not; the message names the first difference.
    """
    for given, needed in zip((*names, None), (*names_of(record), None), strict=False):
        if given != needed:
            raise ValueError(f"{what}: {given} where the record has {needed}")
