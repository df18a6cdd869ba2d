"""The phantoms of the suite, as the plain data that a user's own file would hold."""

from __future__ import annotations

from typing import Any

from oncogym.core.errors import nearest
from oncogym.core.json_types import JsonObject
from oncogym.envs.impt_beam_weighting.planning.phantom import Phantom


def _ellipse(x: float, y: float, a: float, b: float) -> JsonObject:
    return {"ellipse": {"center": [x, y], "semi_axes": [a, b]}}


def _box(x0: float, x1: float, y0: float, y1: float) -> JsonObject:
    return {"box": {"lower": [x0, y0], "upper": [x1, y1]}}


def _structure(name: str, shape: dict[str, Any], role: str, **more: Any) -> JsonObject:
    return {"name": name, "role": role, "shape": shape, **more}


# The source's phantom: water everywhere, also outside the grid; every beam enters through a plane
# 20 cm before the centre of the target.
_PUBLISHED = {
    "name": "published",
    "shape": [80, 80],
    "spacing": [0.5, 0.5],
    "outside": 1.0,
    "entrance": [20.0, 20.0, 20.0],
    "structures": [
        _structure("PTV", _ellipse(20, 20, 3, 2), "target"),
        _structure("OAR1", _box(18, 22, 28, 32), "oar", limit=45.0),
        _structure("OAR2", _ellipse(20, 10, 2, 2), "oar", limit=54.0),
    ],
}

# A round patient of 30 cm. Target and cord of the C-shape case of the AAPM's task group 119: outer
# radius 3.7 cm, inner radius 1.5 cm, core of 1 cm radius; here a half ring of 60 Gy, cord 45 Gy.
_BODY = _ellipse(20, 20, 15, 15)
_C_SHAPE = {
    "name": "c_shape",
    "shape": [160, 160],
    "spacing": [0.25, 0.25],
    "density": 0.0,
    "regions": [{"shape": _BODY, "density": 1.0}],
    "structures": [
        _structure(
            "PTV",
            {
                "difference": [
                    _ellipse(20, 20, 3.7, 3.7),
                    _ellipse(20, 20, 1.5, 1.5),
                    _box(16, 24, 15, 20),
                ]
            },
            "target",
        ),
        _structure("cord", _ellipse(20, 20, 1, 1), "oar", limit=45.0),
        _structure("body", _BODY, "body"),
    ],
}

# An organ that touches the target: no voxel lies between them.
_ABUTTING = {
    "name": "abutting",
    "shape": [80, 80],
    "spacing": [0.5, 0.5],
    "density": 0.0,
    "regions": [{"shape": _BODY, "density": 1.0}],
    "structures": [
        _structure("PTV", _ellipse(20, 20, 3, 2), "target", priority=1),
        _structure("brainstem", _box(18, 22, 22, 25), "oar", limit=54.0, priority=2),
        _structure("parotid", _ellipse(25, 20, 1.5, 2), "oar", limit=45.0, priority=3),
        _structure("body", _BODY, "body"),
    ],
}

# Bone (1.5) and lung (0.3) on the way of the beams.
_INHOMOGENEOUS = {
    "name": "inhomogeneous",
    "shape": [80, 80],
    "spacing": [0.5, 0.5],
    "density": 0.0,
    "regions": [
        {"shape": _BODY, "density": 1.0},
        {"shape": _ellipse(12, 22, 4, 7), "density": 0.3},
        {"shape": _box(14, 26, 29, 30.5), "density": 1.5},
        {"shape": _ellipse(28, 14, 1.5, 1.5), "density": 1.5},
    ],
    "structures": [
        _structure("PTV", _ellipse(20, 20, 3, 2), "target"),
        _structure("cord", _ellipse(20, 26, 1.5, 1.5), "oar", limit=45.0),
        _structure("lung", _ellipse(12, 22, 4, 7), "oar", limit=60.0),
        _structure("body", _BODY, "body"),
    ],
}

# All of them are planned for 60 Gy.
_DOCUMENTS: dict[str, dict[str, Any]] = {
    str(one["name"]): {"prescription": 60.0, **one}
    for one in (_PUBLISHED, _C_SHAPE, _ABUTTING, _INHOMOGENEOUS)
}

#: Names of the phantoms of the suite.
PHANTOMS = tuple(_DOCUMENTS)


def phantom(name: str, /, **changes: Any) -> Phantom:
    """A phantom of the suite.

    Args:
        name: One of :data:`PHANTOMS`.
        **changes: Values that replace those of its document: ``shape`` and ``spacing`` for another
            grid, ``origin``, ``prescription``, …

    Raises:
        UnknownNameError: There is no such phantom.
        ValueError: A change does not fit.
    """
    if name not in _DOCUMENTS:
        raise nearest("phantom", name, _DOCUMENTS)
    return Phantom.from_dict({**_DOCUMENTS[name], **changes})


def phantom_structures(name: str) -> list[dict[str, Any]]:
    """The structures of a phantom of the suite, as the plain data of its document.

    Raises:
        UnknownNameError: There is no such phantom.
    """
    if name not in _DOCUMENTS:
        raise nearest("phantom", name, _DOCUMENTS)
    return [dict(one) for one in _DOCUMENTS[name]["structures"]]
