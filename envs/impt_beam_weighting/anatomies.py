"""Anatomies by number: 0 is a phantom as it stands, others are variations of the abutting one."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from oncogym.core.errors import nearest
from oncogym.envs import streams
from oncogym.envs.impt_beam_weighting.planning.archive import file_digest
from oncogym.envs.impt_beam_weighting.planning.phantom import Phantom
from oncogym.envs.impt_beam_weighting.planning.phantoms import PHANTOMS, phantom, phantom_structures

#: The phantom whose anatomy varies.
VARIED = "abutting"
# Key of the drawings: an anatomy is the same for everybody.
_SEED = 0x1A9
_STREAM = 16
_CENTRE = 20.0  # cm
_FILES = (".json", ".npz")


def anatomy(source: str, number: int = 0) -> Phantom:
    """The phantom called ``source``, or in the file of that name; its variation ``number``.

    In variations the semi-axes of the target lie within 2.4 to 3.6 and 1.6 to 2.6 cm, those of the
    body within 13.5 to 16.5 cm; the brainstem touches the target or reaches up to 0.4 cm into it,
    and the parotid lies 0.2 to 1 cm beside it. The ranges are a choice.

    Raises:
        UnknownNameError: There is neither such a phantom nor such a file.
        PhantomFileError: The file is malformed.
        ValueError: The phantom has no variations.
        FileNotFoundError: There is no such file.
    """
    return _anatomy(source, number, source_digest(source))


def source_digest(source: str) -> str:
    """Digest of a phantom's file, or nothing for a phantom of the suite.

    Raises:
        FileNotFoundError: There is no such file.
    """
    is_file = source not in PHANTOMS and source.lower().endswith(_FILES)
    return file_digest(source) if is_file else ""


@lru_cache(maxsize=256)
def _anatomy(source: str, number: int, digest: str) -> Phantom:
    if number and source != VARIED:
        raise ValueError(
            f"anatomy is {number} for phantom {source!r}; allowed: 0, only {VARIED!r} has others"
        )
    if source not in PHANTOMS:
        if source.lower().endswith(_FILES):
            return Phantom.load(Path(source))
        raise nearest("phantom", source, PHANTOMS)
    if not number:
        return phantom(source)
    key = np.array([_SEED], np.uint64), np.array([number], np.uint64)
    u = streams.uniforms(*key, _STREAM, 10)[0]

    def draw(index: int, low: float, high: float) -> float:
        return float(low + (high - low) * u[index])

    wide, tall = draw(0, 2.4, 3.6), draw(1, 1.6, 2.6)
    body = {
        "ellipse": {
            "center": [_CENTRE, _CENTRE],
            "semi_axes": [draw(2, 13.5, 16.5), draw(3, 13.5, 16.5)],
        }
    }
    half, base = draw(4, 1.4, 2.4), _CENTRE + tall - draw(5, 0.0, 0.4)
    stem = {
        "box": {
            "lower": [_CENTRE - half, base],
            "upper": [_CENTRE + half, base + draw(6, 2.0, 3.5)],
        }
    }
    side = draw(7, 1.2, 1.8)
    gland = {
        "ellipse": {
            "center": [_CENTRE + wide + draw(8, 0.2, 1.0) + side, _CENTRE + draw(9, -1.0, 1.0)],
            "semi_axes": [side, 2.0],
        }
    }
    target = {"ellipse": {"center": [_CENTRE, _CENTRE], "semi_axes": [wide, tall]}}
    named = {"PTV": target, "brainstem": stem, "parotid": gland, "body": body}
    structures = [{**one, "shape": named[one["name"]]} for one in phantom_structures(VARIED)]
    return phantom(
        VARIED,
        name=f"{VARIED} {number}",
        regions=[{"shape": body, "density": 1.0}],
        structures=structures,
    )
