"""Numbers for people: as many decimals as tell something, no exponents, no empty intervals."""

from __future__ import annotations

import math

#: What stands where there is no number.
MISSING = "\N{EN DASH}"
# Larger numbers are written as a multiple of a power of ten.
_LARGEST = 1e15


def decimals_of(*values: float, significant: int = 4) -> int:
    """Decimals with which the largest of some numbers has four digits, or others; at most three."""
    size = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    whole = 4 if size >= 1000.0 else 3 if size >= 100.0 else 2 if size >= 10.0 else int(size >= 1.0)
    return min(max(significant - whole, 0), 3)


def show_number(value: float | None, decimals: int | None = None) -> str:
    """A number in plain digits, those before the point in groups of three from 10 000 on.

    Args:
        value: The number; ``None`` and NaN are shown as a dash.
        decimals: Decimals; by default few for large and three for small numbers. What is not 0 but
            has none of them is shown as ``< 0.001``.
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if value == 0.0:
        return "0"
    digits = decimals_of(value) if decimals is None else decimals
    if abs(value) >= _LARGEST:
        power = math.floor(math.log10(abs(value)))
        return f"{value / 10.0**power:.2f} x 10^{power}"
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0.0:
        smallest = f"{10.0**-digits:.{digits}f}"
        return f"< {smallest}" if value > 0 else f"> -{smallest}"
    return text.replace(",", " " if abs(value) >= 9999.5 else "")


def show_interval(estimate: float, low: float, high: float, decimals: int | None = None) -> str:
    """``estimate [low, high]``; the estimate alone where there is no interval.

    There is none where the ends are NaN, as for a single patient, or all three look the same.

    Args:
        estimate: The number.
        low, high: Ends of its interval.
        decimals: Places after the point; by default as many as the interval is worth.
    """
    digits = decimals_of(estimate, low, high) if decimals is None else decimals
    shown = show_number(estimate, digits)
    ends = [show_number(end, digits) for end in (low, high)]
    if MISSING in ends or ends == [shown, shown]:
        return shown
    return f"{shown} [{ends[0]}, {ends[1]}]"
