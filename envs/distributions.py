"""Spreads of patient parameters that a user writes down: read, checked, and drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.documents import is_number, shown
from oncogym.core.errors import nearest
from oncogym.envs import streams

# What each kind of spread takes; the ends cut it off and may be left out where the kind has others.
_KEYS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "choice": ("values",),
    "uniform": ("low", "high"),
    "normal": ("mean", "sd"),
    "lognormal": ("median", "cv"),
}
_ENDS = ("low", "high")
_CENTRE = {"normal": "mean", "lognormal": "median"}


@dataclass(frozen=True)
class Distribution:
    """Spread of one parameter, cut off at ``low`` and ``high``.

    Args:
        kind: ``"constant"``, ``"choice"``, ``"uniform"``, ``"normal"`` or ``"lognormal"``.
        low, high: Least and largest value.
        centre: Value of a constant, mean of a normal, median of a log-normal spread.
        width: Standard deviation; of the logarithm, ``sqrt(ln(1 + cv**2))``, in a log-normal one.
        choices: Values of a choice, all as likely.
    """

    kind: str
    low: float
    high: float
    centre: float = 0.0
    width: float = 0.0
    choices: tuple[float, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether every draw is the same."""
        if self.kind == "choice":
            return len(set(self.choices)) == 1
        if self.kind == "uniform":
            return self.low == self.high
        return self.kind == "constant" or self.width == 0.0

    def quantile(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values ``(k,)`` below which the parts ``u`` ``(k,)``, within (0, 1), of all draws lie."""
        if self.kind == "choice":
            values = np.asarray(self.choices)
            return np.asarray(values[(u * len(values)).astype(np.intp)])
        if self.kind == "uniform":
            return self.low + u * (self.high - self.low)
        if self.is_constant:
            return np.full(u.shape, self.centre)
        from scipy.special import ndtr, ndtri

        logarithmic = self.kind == "lognormal"
        low, high, centre = self.low, self.high, self.centre
        if logarithmic:
            with np.errstate(divide="ignore"):  # nothing lies below 0
                low, high, centre = np.log([max(low, 0.0), high, centre])
        below, up_to = ndtr((np.array([low, high]) - centre) / self.width)
        values = centre + self.width * ndtri(below + u * (up_to - below))
        return np.clip(np.exp(values) if logarithmic else values, self.low, self.high)


def read_distribution(
    name: str, spread: Any, least: float, most: float, *, label: bool = False
) -> Distribution:
    """The spread of a parameter from its JSON form: a number, or an object.

    The object has ``distribution`` and what that takes: ``constant`` (``value``), ``choice``
    (``values``), ``uniform`` (``low``, ``high``), ``normal`` (``mean``, ``sd``) or ``lognormal``
    (``median``, ``cv``). The last two take ``low`` and ``high``, too, where they are cut off: by
    default at the ends of the range.

    Args:
        name: Name of the parameter, for messages.
        spread: Its JSON form.
        least, most: Range of the parameter.
        label: Whether the parameter says which and not how much; it then takes a constant or a
            choice.

    Raises:
        UnknownNameError: The distribution, or something in the object, has an unknown name.
        ValueError: Something is missing, no number or out of range; the message says what is
            allowed.
    """
    if is_number(spread):
        spread = {"distribution": "constant", "value": spread}
    if not isinstance(spread, Mapping):
        raise ValueError(f"{name} is {shown(spread)}; allowed: a number or a distribution")
    kind = spread.get("distribution")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise nearest(f"distribution of {name}", str(kind), _KEYS)
    if label and kind not in ("constant", "choice"):
        raise ValueError(f"{name} has a {kind} spread; allowed: a constant or a choice of values")
    known = (*_KEYS[kind], *(_ENDS if kind in _CENTRE else ()))
    for key in spread:
        if key not in ("distribution", *known):
            raise nearest(f"value of a {kind} spread ({name})", str(key), known)

    def number(key: str, low: float, high: float) -> float:
        value: Any = spread.get(key)
        if not is_number(value) or not low <= value <= high:
            given = shown(value) if key in spread else "missing"
            raise ValueError(f"{key} of {name} is {given}; allowed: {low:g} to {high:g}")
        return float(value)

    if kind == "constant":
        value = number("value", least, most)
        return Distribution(kind, value, value, value)
    if kind == "choice":
        values = spread.get("values")
        if (
            not isinstance(values, (list, tuple))
            or not values
            or not all(is_number(v) and least <= v <= most for v in values)
        ):
            given = values if isinstance(values, (list, tuple)) else shown(values)
            raise ValueError(
                f"values of {name} are {given}; allowed: a list of numbers, {least:g} to {most:g}"
            )
        chosen = tuple(float(value) for value in values)
        return Distribution(kind, min(chosen), max(chosen), choices=chosen)
    if kind == "uniform":
        low = number("low", least, most)
        return Distribution(kind, low, number("high", low, most))
    low = number("low", least, most) if "low" in spread else least
    high = number("high", low, most) if "high" in spread else most
    # A centre within the ends keeps enough of the spread there to draw from.
    centre = number(_CENTRE[kind], low, high)
    if kind == "normal":
        return Distribution(kind, low, high, centre, number("sd", 0.0, 1e300))
    if centre <= 0.0:
        raise ValueError(f"median of {name} is {centre:g}; allowed: above 0")
    variation = number("cv", 0.0, 100.0)
    return Distribution(kind, low, high, centre, float(np.sqrt(np.log1p(variation**2))))


@dataclass(frozen=True)
class Independent:
    """Sampler whose fields are drawn independently, each from its own distribution.

    Args:
        patient: Class of the patient records, which refuses rows whose fields contradict each
            other.
        fields: Distribution of each field.
    """

    patient: Any
    fields: tuple[Distribution, ...]

    def __call__(
        self, seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
    ) -> NDArray[np.float64]:
        """Rows ``(k, fields)``, each from its own ``(seed, episode)``.

        Raises:
            ValueError: A patient so drawn cannot be: the message of the patient class says why.
        """
        u = streams.uniforms(seeds, episodes, stream, len(self.fields))
        rows = np.stack([one.quantile(u[:, i]) for i, one in enumerate(self.fields)], axis=1)
        for row in rows:
            try:
                self.patient.from_array(row)
            except ValueError as error:
                raise ValueError(f"a patient of the cohort cannot be: {error}") from None
        return rows
