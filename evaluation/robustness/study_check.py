"""Is a document a robustness study, whole and of the right types?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from oncogym.evaluation.report.labels import visible

_TEXTS = ("env", "cohort", "dose_unit")
_MAPPINGS = ("agents", "left_out", "kinds")
_LISTS = ("headline", "directed", "summary")
_ROW_TEXTS = ("agent", "kind", "metric", "label", "unit")
_STATISTICS = ("dose_lost", "plain", "mean", "low", "high", "loss", "loss_low", "loss_high")
#: Measures that every study has beside its headline.
_COMMON = ("cost", "success")


def check_study(document: object) -> None:
    """Make sure that ``document`` is what ``Robustness.document()`` gives.

    Raises:
        ValueError: It is not; the message names the place, the value and what is allowed.
    """
    if not isinstance(document, Mapping):
        raise _refuse("the document", document, "a mapping")
    for key in (*_TEXTS, "patients", *_MAPPINGS, *_LISTS):
        if key not in document:
            raise ValueError(f"it has no {key!r}")
    for key in _TEXTS:
        _require_text(key, document[key])
    _require_count("patients", document["patients"], 1)
    for key in _MAPPINGS:
        if not isinstance(document[key], Mapping):
            raise _refuse(key, document[key], "a mapping")
    for key in _LISTS:
        if not isinstance(document[key], list):
            raise _refuse(key, document[key], "a list")
    for key in ("agents", "left_out"):
        for name, text in document[key].items():
            _require_text(f"{key}[{name!r}]", text)
    for key in ("headline", "directed"):
        for number, name in enumerate(document[key]):
            _require_text(f"{key}[{number}]", name)
    if not document["agents"] or not document["headline"] or not document["summary"]:
        raise ValueError("it has no agents, no headline or no summary")
    _check_kinds(document["kinds"])
    for number, row in enumerate(document["summary"]):
        _check_row(f"summary[{number}]", row, document)
    _check_groups(document)


def _check_kinds(kinds: Mapping[str, object]) -> None:
    for name, about in kinds.items():
        place = f"kinds[{name!r}]"
        if not isinstance(about, Mapping):
            raise _refuse(place, about, "a mapping")
        for key in ("label", "unit"):
            _require_text(f"{place}[{key!r}]", about.get(key))
        if not isinstance(about.get("event"), bool):
            raise _refuse(f"{place}['event']", about.get("event"), "true or false")


def _check_row(place: str, row: Any, document: Mapping[str, Any]) -> None:
    if not isinstance(row, Mapping):
        raise _refuse(place, row, "a mapping")
    for key in (*_ROW_TEXTS, "size", "when", "patients", *_STATISTICS):
        if key not in row:
            raise ValueError(f"{place} has no {key!r}")
    for key in _ROW_TEXTS:
        _require_text(f"{place}[{key!r}]", row[key])
    _require_one(f"{place}['agent']", row["agent"], document["agents"])
    _require_one(f"{place}['kind']", row["kind"], ["none", *document["kinds"]])
    _require_count(f"{place}['when']", row["when"], 0)
    _require_count(f"{place}['patients']", row["patients"], 0, document["patients"])
    if not _is_number(row["size"]) or not 0.0 <= row["size"] < math.inf:
        raise _refuse(f"{place}['size']", row["size"], "a number of at least 0")
    for key in _STATISTICS:
        # JSON has no number for NaN: a study says null.
        if row[key] is not None and not (_is_number(row[key]) and math.isfinite(row[key])):
            raise _refuse(f"{place}[{key!r}]", row[key], "a finite number or null")


def _check_groups(document: Mapping[str, Any]) -> None:
    """Every course has every measure, once."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for row in document["summary"]:
        key = (row["agent"], row["kind"], row["size"], row["when"])
        groups.setdefault(key, []).append(row["metric"])
    measures = {row["metric"] for row in document["summary"]}
    measures |= {*document["headline"], *_COMMON}
    for agent in document["agents"]:
        groups.setdefault((agent, "none", 0.0, 0), [])
    for (agent, kind, size, when), found in groups.items():
        place = f"summary of agent {agent!r}, kind {kind!r}, size {size:g}, when {when}"
        twice = [name for name in found if found.count(name) > 1]
        if twice:
            raise ValueError(f"{place} has the measure {twice[0]!r} twice")
        missing = sorted(measures - set(found))
        if missing:
            raise ValueError(f"{place} has no measure {missing[0]!r}")
        if kind == "none" and (size, when) != (0, 0):
            raise ValueError(f"{place}: nothing is perturbed; allowed: size 0, when 0")


def _require_text(place: str, value: object) -> None:
    if not isinstance(value, str):
        raise _refuse(place, value, "text")


def _require_one(place: str, value: str, known: Iterable[str]) -> None:
    names = list(known)
    if value not in names:
        raise _refuse(place, value, ", ".join(names))


def _require_count(place: str, value: Any, low: int, high: int | None = None) -> None:
    whole = _is_number(value) and float(value).is_integer()
    if not whole or value < low or (high is not None and value > high):
        most = "" if high is None else f" up to {high}"
        raise _refuse(place, value, f"an integer from {low}{most}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _refuse(place: str, value: object, allowed: str) -> ValueError:
    return ValueError(visible(f"{place} is {value!r:.80}; allowed: {allowed:.400}"))
