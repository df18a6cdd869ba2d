"""Text from elsewhere (file names, labels in files, other packages) made fit to be shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

# Control characters (terminal codes, line breaks), what turns the direction of writing around, and
# lone surrogates, in which Python keeps the bytes of odd file names.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# A label longer than this makes every table and figure unreadable.
_LONGEST = 60


def visible(text: str) -> str:
    r"""``text`` with what a terminal would obey, and a page could not hold, as ``\\x1b``."""
    return _UNSEEN.sub(lambda found: _escape(found.group()), text)


def _escape(character: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    code = ord(character)
    return short.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def label_of(text: object) -> str:
    """``text`` as a label: visible, on one line, of bounded length."""
    # Cut first, so that a megabyte is not searched, and again, for escapes are longer.
    found = visible(str(text)[: 2 * _LONGEST].strip())
    return found if len(found) <= _LONGEST else found[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def labels_of(agents: Mapping[str, object]) -> dict[str, str]:
    """What each agent is called in tables and figures: its ``label``, or else its name."""
    found = {name: label_of(getattr(agent, "label", name)) for name, agent in agents.items()}
    return distinct({name: label or label_of(name) for name, label in found.items()})


def distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels, with the name behind those that several agents have; no two are the same."""
    count = Counter(labels.values())
    found: dict[str, str] = {}
    taken = {label for label in labels.values() if count[label] == 1}
    for name, label in labels.items():
        chosen = label
        if count[label] > 1:
            chosen = f"{label} ({label_of(name)})"
            number = 2
            while chosen in taken:
                chosen = f"{label} ({label_of(name)}, {number})"
                number += 1
            taken.add(chosen)
        found[name] = chosen
    return found


def untyped(text: str) -> str:
    """``text`` for Matplotlib, which reads dollars as formulas and leaves ``_x`` out of legends."""
    escaped = visible(text).replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped
