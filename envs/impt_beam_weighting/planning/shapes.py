"""Shapes of phantom files: ellipses, boxes, polygons, and their unions and differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.arrays import Floats
from oncogym.core.errors import nearest

Mask = NDArray[np.bool_]
# Points on an edge belong to a shape although rounding may put them outside by a hair.
_EDGE = 1e-9


def inside(shape: Mapping[str, object], points: Floats) -> Mask:
    """Which points ``(n, axes)`` [cm] lie in a shape.

    Args:
        shape: One of ``{"ellipse": {"center": […], "semi_axes": […]}}``,
            ``{"box": {"lower": […], "upper": […]}}``, ``{"polygon": [[x, y], …]}`` (2-D),
            ``{"union": [shape, …]}`` and ``{"difference": [shape, shape, …]}`` (the first without
            the others). The edges of ellipses and boxes belong to them.
        points: Coordinates.

    Raises:
        ValueError: The shape is malformed; the message names it.
    """
    kind, value = _parts(shape)
    return _INSIDE[kind](value, points)


def bounds(shape: Mapping[str, object]) -> tuple[Floats, Floats]:
    """Smallest and largest coordinates of a shape, each ``(axes,)`` [cm]."""
    kind, value = _parts(shape)
    if kind == "ellipse":
        center, axes = _vector(value, kind, "center"), _vector(value, kind, "semi_axes")
        return center - axes, center + axes
    if kind == "box":
        return _vector(value, kind, "lower"), _vector(value, kind, "upper")
    if kind == "polygon":
        corners = _corners(value)
        return corners.min(axis=0), corners.max(axis=0)
    if kind == "difference":
        return bounds(value[0])
    found = [bounds(one) for one in value]
    return np.min([low for low, _ in found], axis=0), np.max([high for _, high in found], axis=0)


def _parts(shape: Mapping[str, object]) -> tuple[str, Any]:
    if not isinstance(shape, Mapping) or len(shape) != 1:
        raise ValueError(f"a shape is {shape!r}; allowed: one of {', '.join(_INSIDE)} with values")
    kind, value = next(iter(shape.items()))
    if kind not in _INSIDE:
        raise nearest("shape", kind, _INSIDE)
    if kind in ("union", "difference") and not (isinstance(value, (list, tuple)) and value):
        raise ValueError(f"a {kind} is {value!r}; allowed: a list of shapes")
    return kind, value


def _vector(value: Any, kind: str, name: str) -> Floats:
    try:
        vector = np.asarray(value[name], np.float64)
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{kind} is {value!r}; it needs {name!r}, a list of numbers [cm]"
        ) from None
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ValueError(f"{name} of {kind} is {value[name]!r}; allowed: finite numbers [cm]")
    if name == "semi_axes" and not (vector > 0.0).all():
        raise ValueError(f"semi_axes of {kind} are {value[name]!r}; allowed: above 0 cm")
    return vector


def _corners(value: object) -> Floats:
    try:
        corners = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        corners = np.zeros(0)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError(f"a polygon is {value!r}; allowed: three or more corners [x, y] [cm]")
    return corners


def _in_ellipse(value: object, points: Floats) -> Mask:
    center, axes = _vector(value, "ellipse", "center"), _vector(value, "ellipse", "semi_axes")
    return np.asarray((((points - center) / axes) ** 2).sum(axis=1) <= 1.0 + _EDGE)


def _in_box(value: object, points: Floats) -> Mask:
    lower, upper = _vector(value, "box", "lower"), _vector(value, "box", "upper")
    return np.asarray(((points >= lower - _EDGE) & (points <= upper + _EDGE)).all(axis=1))


def _in_polygon(value: object, points: Floats) -> Mask:
    from matplotlib.path import Path

    return np.asarray(Path(_corners(value)).contains_points(points))


def _in_union(value: Any, points: Floats) -> Mask:
    return np.asarray(np.any([inside(one, points) for one in value], axis=0))


def _in_difference(value: Any, points: Floats) -> Mask:
    found = inside(value[0], points)
    for other in value[1:]:
        found = found & ~inside(other, points)
    return found


_INSIDE: dict[str, Callable[[Any, Floats], Mask]] = {
    "ellipse": _in_ellipse,
    "box": _in_box,
    "polygon": _in_polygon,
    "union": _in_union,
    "difference": _in_difference,
}
