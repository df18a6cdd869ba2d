"""What every policy file says: the problem that the policy was made for, and its spaces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.core.documents import Document, is_number
from oncogym.core.files import to_plain
from oncogym.core.json_types import JsonObject
from oncogym.wrappers.named import NamedWrapper, read_wrappers

FORMAT = "oncogym-policy"
VERSION = 2
#: Bytes of a policy's network at most, on disk and in memory: 16 million weights.
LARGEST = 1 << 26
#: Units of a layer, or numbers of an observation, at most.
MOST_UNITS = 1_000_000

#: What a network gives: means ``(batch, actions)``, standard deviations that broadcast to them, and
#: the memory afterwards.
Outputs: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64], Any]

_DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


@dataclass(frozen=True, kw_only=True)
class Described:
    """A policy of any kind of network; without the network.

    Args:
        env_id: Environment in which it was trained.
        treatment: Name of the treatment.
        options: Options of the task, without those that only choose patients.
        observation_space: One lane's observations.
        action_space: One lane's actions, in [0, 1].
        rescale_actions: The action lies in [-1, 1] and is mapped to [0, 1].
        squash: The hyperbolic tangent of what the network gives, or of what is drawn, is the
            action.
        about: Anything else worth keeping: step, score, seed.
        wrappers: Wrappers that change observations or actions, innermost first: the spaces are
            those of the task in them.
    """

    env_id: str
    treatment: str
    options: Mapping[str, Any]
    observation_space: Box
    action_space: Box
    rescale_actions: bool = False
    squash: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[NamedWrapper, ...] = ()


def header_document(policy: Described, network: Mapping[str, object], **more: Any) -> JsonObject:
    """What is said of a policy, JSON-able: ``network`` describes its network, ``more`` the rest.

    Args:
        policy: The policy.
        network: What its network is, JSON-able.
        **more: Further entries, JSON-able.
    """
    return to_plain(
        {
            "format": FORMAT,
            "version": VERSION,
            "env_id": policy.env_id,
            "treatment": policy.treatment,
            "options": dict(policy.options),
            "observation_space": _describe(policy.observation_space),
            "action_space": _describe(policy.action_space),
            "network": network,
            "rescale_actions": policy.rescale_actions,
            "squash": policy.squash,
            **more,
            **({"wrappers": [one.to_json() for one in policy.wrappers]} if policy.wrappers else {}),
            "about": dict(policy.about),
        }
    )


def header_values(
    document: Document, inputs: int | None = None, actions: int | None = None
) -> JsonObject:
    """The attributes of :class:`Described` from :func:`header_document`.

    Args:
        document: The document.
        inputs: Numbers of an observation, where the network says how many.
        actions: Numbers of an action, likewise.

    Raises:
        CorruptFileError: Something is missing or wrong; the message names it.
    """
    return {
        "env_id": document.text("env_id"),
        "treatment": document.text("treatment"),
        "options": document.mapping("options"),
        "observation_space": _space(document.inside("observation_space"), inputs),
        "action_space": _space(document.inside("action_space"), actions),
        "rescale_actions": document.flag("rescale_actions"),
        "squash": document.flag("squash"),
        "about": document.mapping("about"),
        "wrappers": read_wrappers(document),
    }


def _describe(space: Box) -> JsonObject:
    return {
        "shape": list(space.shape),
        "dtype": str(space.dtype),
        "low": _bound(space.low),
        "high": _bound(space.high),
    }


def _bound(values: NDArray[np.generic]) -> Any:
    """One number where all are the same, else the nested list."""
    first = values.flat[0] if values.size else 0.0
    return to_plain(first if (values == first).all() else values)


def _space(document: Document, units: int | None) -> Box:
    """A space whose values make ``units`` numbers; nothing larger is made."""
    shape = tuple(document.whole_numbers("shape", 1, MOST_UNITS, 8))
    if units is None and (not shape or math.prod(shape) > MOST_UNITS):
        raise document.error("shape", f"sizes with a product of at most {MOST_UNITS}")
    if units is not None and (not shape or math.prod(shape) != units):
        raise document.error("shape", f"sizes with the product {units}, as the network has units")
    name = document.text("dtype")
    if name not in _DTYPES:
        raise document.error("dtype", ", ".join(_DTYPES))
    low, high = (_limits(document, bound, shape).astype(name) for bound in ("low", "high"))
    if not (low <= high).all():
        raise document.error("high", "at least low, everywhere")
    return Box(low, high, shape, np.dtype(name).type)


def _limits(document: Document, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """One bound for all components, or nested lists of them; infinities are texts."""
    value = document[name]
    values = [value]
    if isinstance(value, list):
        for size in shape:
            if not all(isinstance(item, list) and len(item) == size for item in values):
                raise document.error(name, f"a number, or nested lists of the shape {shape}")
            values = [part for item in values for part in item]
    if not all(is_number(item) or item in ("inf", "-inf") for item in values):
        raise document.error(name, 'numbers, "inf" and "-inf"')
    flat = np.array([float(item) for item in values])
    return np.broadcast_to(flat, shape) if len(flat) == 1 else flat.reshape(shape)
