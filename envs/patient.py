"""What every patient record can do: range checks, rows, and reading named values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncogym.core.errors import nearest

if TYPE_CHECKING:
    from typing_extensions import Self


class PatientRecord:
    """Base of a frozen dataclass of float parameters; give it ``FIELDS`` and ``RANGES``.

    Raises:
        ValueError: A value is not a number within its range; the message names field, value and
            allowed range.
    """

    #: Names of the parameters, in the order of a row.
    FIELDS: ClassVar[tuple[str, ...]]
    #: Closed range of each parameter.
    RANGES: ClassVar[Mapping[str, tuple[float, float]]]
    #: Unit of each parameter that has one.
    UNITS: ClassVar[Mapping[str, str]] = {}
    #: Fields that say which (a number of an anatomy, say) and not how much; they are never scaled.
    LABELS: ClassVar[tuple[str, ...]] = ()
    #: Fields that a clinic knows before the treatment, such as an anatomy that was imaged.
    KNOWN: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in self.FIELDS:
            given = getattr(self, name)
            low, high = self.RANGES[name]
            try:
                value = float(given)
            except (TypeError, ValueError):
                value = math.nan
            if not low <= value <= high:
                raise ValueError(f"{name} is {given!r}; allowed: {low:g} to {high:g}")
            object.__setattr__(self, name, value)

    def to_array(self) -> NDArray[np.float64]:
        """The parameters as a row ``(fields,)``, in the order of ``FIELDS``."""
        return np.array([getattr(self, name) for name in self.FIELDS], dtype=np.float64)

    @classmethod
    def from_array(cls, row: ArrayLike) -> Self:
        """Patient of a row ``(fields,)``; ValueError for any other shape."""
        values = np.asarray(row, dtype=np.float64)
        if values.shape != (len(cls.FIELDS),):
            raise ValueError(
                f"a patient row has shape {values.shape}; allowed: ({len(cls.FIELDS)},)"
            )
        return cls(*values.tolist())

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Self:
        """Patient from named values, the rest at their defaults.

        Raises:
            UnknownNameError: A name is no field; the message suggests the nearest.
        """
        for name in values:
            if name not in cls.FIELDS:
                raise nearest("patient field", name, cls.FIELDS)
        return cls(**values)
