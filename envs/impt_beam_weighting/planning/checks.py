"""Arrays as users hand them over: plain real numbers, or an error that says what they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray


def plain_array(
    value: object, what: str, kinds: str = "biuf", error: type[ValueError] = ValueError
) -> NDArray[Any]:
    """``value`` as an array of one of the ``kinds`` of NumPy's types.

    Conversion would drop imaginary parts and the mask of a masked array, and read text as numbers;
    all of that is refused.

    Args:
        value: What the user gave.
        what: Its name for the message, as in "the dose".
        kinds: Characters of ``dtype.kind`` that are allowed.
        error: Class of the error.

    Raises:
        ValueError: It is no such array.
    """
    if scipy.sparse.issparse(value):
        raise error(f"{what}: a sparse matrix; allowed: a dense array")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise error(f"{what}: some values are masked; allowed: an array without masked values")
    try:
        array = np.asarray(value)
    except ValueError as fault:  # rows of different length
        raise error(f"{what}: no array of numbers: {fault}") from None
    if array.dtype.kind not in kinds and array.size:
        raise error(f"{what}: not numbers but {array.dtype}; allowed: {_named(kinds)}")
    return array


def real_array(
    value: object, what: str, error: type[ValueError] = ValueError, *, finite: bool = True
) -> NDArray[np.float64]:
    """``value`` as float64, finite unless told otherwise; see :func:`plain_array`.

    Args:
        value: What a user gave.
        what: What it is, for the message.
        error: Type of the error.
        finite: Whether NaN and infinities are errors.
    """
    array = plain_array(value, what, "iuf", error).astype(np.float64, copy=False)
    if finite and not np.isfinite(array).all():
        place = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        raise error(
            f"{what} is not finite everywhere: {array[place]} at {list(place)}; allowed: finite "
            "numbers"
        )
    return array


def real_number(value: Any, what: str, low: float, high: float, unit: str = "") -> float:
    """``value`` as a float within ``[low, high]``; neither text nor a truth value counts.

    Args:
        value: What a user gave.
        what: What it is, for the message.
        low, high: The allowed range, ends included.
        unit: Unit of the range, for the message.

    Raises:
        ValueError: It is no such number.
    """
    number = math.nan
    if not isinstance(value, (str, bytes, bool, np.bool_, complex)):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
    if not low <= number <= high:
        raise ValueError(f"{what} is {value!r}; allowed: {low:g} to {high:g} {unit}".rstrip())
    return number


def whole_shape(value: object, what: str = "shape") -> tuple[int, ...]:
    """Sizes of a grid: one or more whole numbers of at least 1.

    Raises:
        ValueError: They are not.
    """
    sizes = plain_array(value, what, "iuf").ravel()
    if not sizes.size or not ((sizes >= 1) & (sizes == np.rint(sizes)) & (sizes < 2**31)).all():
        raise ValueError(f"{what} is {value!r}; allowed: whole numbers of at least 1")
    return tuple(int(size) for size in sizes)


def _named(kinds: str) -> str:
    names = {"b": "truth values", "i": "integers", "u": "", "f": "real numbers"}
    return " or ".join(names[kind] for kind in kinds if names[kind])
