"""Spheroids that the product grows itself: ten shipped ones, and any others on demand.

Every tumour has a number, the key of its random streams, and grows from ten groups of cells at the
centre of the lattice. ``python -m oncogym.envs.emt6ro_fractionation FILE`` grows the shipped ten
again, by the exact law; the result is the same file byte for byte.
"""

from __future__ import annotations

import io
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.emt6ro_fractionation import batch_kernels
from oncogym.envs.emt6ro_fractionation.parameters import (
    RECOVERY,
    REPAIR_DELAY,
    REPAIR_GROWTH,
    SURVIVAL,
    Parameters,
    fidelity_of,
)
from oncogym.envs.emt6ro_fractionation.records import BIOLOGY, COUNTERS, SITES
from oncogym.envs.emt6ro_fractionation.rules import STEPS_PER_HOUR
from oncogym.envs.emt6ro_fractionation.tumour import State, Tumour
from oncogym.envs.emt6ro_fractionation.validity import at_edge
from oncogym.envs.records import make_rows, pack_record
from oncogym.envs.threads import choose
from oncogym.envs.validity import ModelRangeWarning

#: How untreated growth differs from treatment: S varies by half an hour, not two. The reference
#: tumours were grown so (S of their cells: 10.0 h, standard deviation 0.50 h), and with the wider S
#: they are 3 % larger at ten days, which costs every protocol about 11 sites five days later.
GROWTH = Parameters(s_sd=0.5)
LIBRARY_SIZE = 10
LIBRARY_AGE = 10.0  # d
SEED_SITES = 10
_FILE = "library.npz"
# Key of all growth: a tumour is the same for everybody.
_SEED = 0xE6
# Grown states kept in memory, 0.14 MB each.
_KEPT = 1200
_STEPS_PER_DAY = 24 * STEPS_PER_HOUR

_grown: OrderedDict[tuple[int, float], NDArray[np.void]] = OrderedDict()


def biology(
    survival: float = SURVIVAL,
    delay: float = REPAIR_DELAY,
    growth: float = REPAIR_GROWTH,
    recovery: float = RECOVERY,
) -> NDArray[np.float64]:
    """The row ``(4,)`` that the kernels read of a patient: 1/Gy, steps, 1/Gy, steps.

    Args:
        survival: Of the model's radiation response [1/Gy].
        delay: Time of repair at no dose [h].
        growth: Growth of that time with the dose [1/Gy].
        recovery: Time in which damage is recovered from [h].
    """
    return pack_record(
        BIOLOGY,
        survival=survival,
        delay=delay * STEPS_PER_HOUR,
        delay_growth=growth,
        recovery=recovery * STEPS_PER_HOUR,
    )


def grow(
    numbers: Sequence[int],
    days: float | Sequence[float] = LIBRARY_AGE,
    *,
    sites: int = SEED_SITES,
    fidelity: str = "exact",
    parameters: Parameters | None = None,
) -> list[Tumour]:
    """Grow tumours without treatment; all of them at once, on all threads.

    Args:
        numbers: Number of each tumour, 0 or more: its random key.
        days: Age of all or of each [d], in half hours.
        sites: Groups of cells at the start.
        fidelity: See :data:`oncogym.envs.emt6ro_fractionation.parameters.FIDELITIES`.
        parameters: Physics and biology, by default :data:`GROWTH`.

    Raises:
        ValueError: A number, an age or the number of sites is out of range.

    Warns:
        ModelRangeWarning: Tumours have reached the edge of the lattice, which stops their growth.
    """
    state = _grow(numbers, days, sites, fidelity, parameters)
    outside = at_edge(state.phase)
    if outside.any():
        warnings.warn(
            f"{int(outside.sum())} of {len(outside)} tumours have reached the edge of the lattice, "
            f"number {list(numbers)[int(np.argmax(outside))]} first; their growth is cut off there",
            ModelRangeWarning,
            stacklevel=2,
        )
    return [Tumour.from_state(state, row) for row in range(len(numbers))]


def _grow(
    numbers: Sequence[int],
    days: float | Sequence[float],
    sites: int,
    fidelity: str,
    parameters: Parameters | None,
) -> State:
    ages = np.broadcast_to(np.asarray(days, np.float64), (len(numbers),))
    slots = ages * 48.0
    if not ((ages >= 0.0) & (ages <= 100.0) & (np.abs(slots - np.rint(slots)) < 1e-9)).all():
        raise ValueError(f"days is {days!r}; allowed: 0 to 100 in whole half hours")
    keys = np.asarray(numbers)
    if len(keys) and (keys.dtype.kind not in "iu" or keys.min() < 0):
        raise ValueError(f"numbers of tumours are {numbers!r}; allowed: integers of at least 0")
    if not 1 <= sites <= SITES:
        raise ValueError(f"sites is {sites}; allowed: 1 to {SITES}")
    state = State.empty(len(keys))
    if len(keys):
        settings = (parameters or GROWTH).settings(fidelity_of(fidelity))
        until = np.rint(slots).astype(np.int64) * (STEPS_PER_HOUR // 2)
        count = len(keys)
        twins = batch_kernels.grow_lanes, batch_kernels.grow_lanes_parallel
        choose(*twins, count > 1)(
            np.arange(count),
            state.rows,
            make_rows(count, COUNTERS),
            biology(),
            settings,
            np.full(count, sites),
            np.full(count, _SEED, np.uint64),
            keys.astype(np.uint64),
            until,
        )
    return state


@lru_cache(maxsize=1)
def _shipped() -> State:
    content = (files("oncogym.envs.emt6ro_fractionation") / _FILE).read_bytes()
    with np.load(io.BytesIO(content)) as table:
        state = State.empty(LIBRARY_SIZE)
        state.fields[:] = table["fields"]
        state.phase[:] = table["phase"]
        state.mode[:] = table["mode"]
        state.clocks[state.phase > 0] = table["clocks"]
    return state


def library() -> list[Tumour]:
    """The ten shipped tumours, ten days old, grown by the exact law."""
    return [Tumour.from_state(_shipped(), row) for row in range(LIBRARY_SIZE)]


def library_bytes() -> bytes:
    """Grow the shipped tumours anew; the content of their file."""
    state = _grow(range(1, LIBRARY_SIZE + 1), LIBRARY_AGE, SEED_SITES, "exact", None)
    buffer = io.BytesIO()
    # Uncompressed: what a compressor makes of the same numbers depends on its version.
    np.savez(
        buffer,
        fields=state.fields,
        phase=state.phase.astype(np.int8),
        mode=state.mode.astype(np.int8),
        clocks=state.clocks[state.phase > 0],
    )
    return buffer.getvalue()


def initial_states(
    numbers: NDArray[np.int64], ages: NDArray[np.float64], out: State, rows: NDArray[np.intp]
) -> None:
    """Write the tumours with these numbers and ages [d] into ``rows`` of ``out``.

    Numbers 1 to 10 at ten days are the shipped ones; others are grown by the accelerated law when
    they are first asked for, and kept in memory.

    Args:
        numbers: Numbers of the tumours ``(k,)``.
        ages: Their ages ``(k,)`` [d].
        out: Arrays of all lanes.
        rows: Lanes that are written ``(k,)``.

    Raises:
        ValueError: A tumour of that age has reached the edge of the lattice.
    """
    wanted = list(zip(numbers.tolist(), ages.tolist(), strict=True))
    shipped = _shipped()
    missing = list(
        dict.fromkeys(key for key in wanted if not _in_library(key) and key not in _grown)
    )
    # Kept aside, so that what is grown for one call is not dropped before it is used.
    fresh: dict[tuple[int, float], NDArray[np.void]] = {}
    if missing:
        state = _grow([n for n, _ in missing], [age for _, age in missing], SEED_SITES,
                      "accelerated", None)  # fmt: skip
        outside = at_edge(state.phase)
        if outside.any():
            number, age = missing[int(np.argmax(outside))]
            raise ValueError(
                f"age is {age:g} d, at which tumour {number} has reached the edge of the lattice; "
                "allowed: an age at which it has not, 12 d for instance"
            )
        for row, key in enumerate(missing):
            fresh[key] = state.rows[row : row + 1]
    for row, key in zip(rows.tolist(), wanted, strict=True):
        if _in_library(key):
            source = shipped.rows[key[0] - 1 : key[0]]
        elif key in fresh:
            source = fresh[key]
        else:
            source = _grown[key]
            _grown.move_to_end(key)
        out.rows[row : row + 1] = source
    for key, source in fresh.items():
        _grown[key] = source.copy()
    while len(_grown) > _KEPT:
        _grown.popitem(last=False)


def _in_library(key: tuple[int, float]) -> bool:
    return 1 <= key[0] <= LIBRARY_SIZE and key[1] == LIBRARY_AGE
