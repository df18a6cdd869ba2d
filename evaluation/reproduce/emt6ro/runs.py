"""Outcomes of many simulations, kept in a file so that a long computation can be resumed."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from oncogym.core.files import CorruptFileError, write_bytes_atomic
from oncogym.core.json_types import JsonObject
from oncogym.envs.device import choose_device
from oncogym.envs.emt6ro_fractionation import Protocol, Tumour, simulate

Sites = NDArray[np.int16]

# Time between two writes of an unfinished file [s].
_PAUSE = 30.0
# Simulations of protocols that a GPU is given together: many times what it works on at once.
_ON_GPU = 8192
_MISSING = -1


def simulate_sites(
    label: str,
    protocols: Sequence[Protocol],
    tumours: Sequence[Tumour],
    runs: int,
    seed: int,
    fidelity: str,
    file: Path | None = None,
    device: str = "cpu",
) -> Sites:
    """Occupied sites at day 10, ``(protocols, tumours, runs)``, protocol after protocol.

    Args:
        label: Name of the progress bar on standard error.
        protocols, tumours, runs, seed, fidelity, device: As :func:`simulate` takes them.
        file: Where to keep the outcomes, or ``None``. What it holds of the same settings is not
            simulated again. It is written every half minute, at the end, and on interruption.

    Raises:
        ValueError: The file holds outcomes of other settings; the message names the first.
        CorruptFileError: The file is damaged; the message names it.
    """
    device = choose_device(device)
    about = _describe(protocols, tumours, runs, seed, fidelity, device)
    shape = (len(protocols), len(tumours), runs)
    sites = np.full(shape, _MISSING, np.int16)
    if file is not None and file.exists():
        sites = _read(file, about, shape)
    missing = [p for p in range(len(protocols)) if (sites[p] == _MISSING).any()]
    each = len(tumours) * runs
    saved = time.monotonic()
    dirty = False
    try:
        with tqdm(
            total=len(protocols) * each,
            initial=(len(protocols) - len(missing)) * each,
            desc=label,
            unit="sim",
            file=sys.stderr,
            disable=None,
        ) as bar:
            together = 1 if device == "cpu" else max(1, _ON_GPU // each)
            for first in range(0, len(missing), together):
                some = missing[first : first + together]
                result = simulate([protocols[n] for n in some], tumours, runs, seed,
                                  fidelity=fidelity, device=device)  # fmt: skip
                sites[some] = result.sites
                dirty = True
                bar.update(len(some) * each)
                if file is not None and time.monotonic() - saved > _PAUSE:
                    _write(file, sites, about)
                    saved, dirty = time.monotonic(), False
    finally:
        if file is not None and dirty:
            _write(file, sites, about)
    return sites


def _describe(
    protocols: Sequence[Protocol],
    tumours: Sequence[Tumour],
    runs: int,
    seed: int,
    fidelity: str,
    device: str,
) -> JsonObject:
    """The settings that decide the outcomes, as plain data."""
    digest = hashlib.sha256()
    for tumour in tumours:
        for part in (tumour.amounts, tumour.phase, tumour.mode, tumour.clocks):
            digest.update(part.tobytes())
    # What a short course does stands for the program, whatever its source text looks like.
    probe = simulate(Protocol(((0, 2.0),)), tumours[0], 2, seed, hours=12.0, fidelity=fidelity,
                     device=device)  # fmt: skip
    return {
        "protocols": [[[slot, dose] for slot, dose in protocol.doses] for protocol in protocols],
        "tumours": digest.hexdigest(),
        "runs": runs,
        "seed": seed,
        "fidelity": fidelity,
        "device": device,
        "program": [probe.sites.ravel().tolist(), probe.births.ravel().tolist()],
    }


def _read(file: Path, about: dict[str, Any], shape: tuple[int, int, int]) -> Sites:
    try:
        with np.load(file) as table:
            sites = np.asarray(table["sites"])
            kept = json.loads(str(table["about"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CorruptFileError(f"{file}: no outcomes of simulations ({error})") from error
    # Files that name no device are older than the choice.
    kept = {"device": "cpu", **kept} if isinstance(kept, dict) else {}
    for name, value in about.items():
        if kept.get(name) != value:
            raise ValueError(
                f"{file} holds outcomes of other {name}; allowed: a folder of its own for each "
                "choice of settings"
            )
    if sites.shape != shape or sites.dtype != np.int16:
        raise CorruptFileError(f"{file}: outcomes of shape {sites.shape}, {sites.dtype}")
    return sites


def _write(file: Path, sites: Sites, about: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, sites=sites, about=np.array(json.dumps(about)))
    write_bytes_atomic(file, buffer.getvalue())
