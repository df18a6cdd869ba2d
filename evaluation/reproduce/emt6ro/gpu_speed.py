"""Speed of the EMT6/Ro model on a GPU, against the number of simulations at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from oncogym.envs.emt6ro_fractionation import FIDELITIES, Protocol, library, simulate
from oncogym.evaluation.reproduce.emt6ro.tables import find_protocol
from oncogym.evaluation.speed import Job, Measurement, Settings, summarise

_PROTOCOL = find_protocol("BMII").protocol
#: Updates of a site by a diffusion sub-step in one exact simulation, and the words of shared memory
#: that each moves at the least (section 9 of the specification: 800 000 simulations an hour on one
#: H100). The acid counts as if it were computed in every step.
UPDATES = 8.3e9
WORDS = 4.0
# Words that a multiprocessor's shared memory moves in a cycle.
_WORDS_A_CYCLE = 32.0
#: Simulations at a time, on ten tumours: about one for each of the 132 multiprocessors of an H100;
#: as many as it works on at once, five on each; and several times as many, so that it is rarely
#: half idle.
BATCHES = (130, 660, 2640, 7920)


@dataclass(frozen=True)
class _Kind:
    """A fidelity, its target [simulations/h], the largest batch that is timed."""

    fidelity: str
    label: str
    target: float
    most: int


# An exact simulation takes as long as twenty compressed ones.
_KINDS = (
    _Kind("exact", "exact", 150_000.0, 2640),
    _Kind("accelerated", "m = 20", 2_000_000.0, 7920),
    _Kind("screening", "m = 40, screening", 4_000_000.0, 7920),
)


def shared_memory_bound(clock: float, processors: int, compression: int) -> float:
    """Simulations an hour that the bandwidth of shared memory allows.

    Args:
        clock: Clock of the GPU [Hz].
        processors: Its multiprocessors.
        compression: Model steps of a field step.
    """
    words = clock * processors * _WORDS_A_CYCLE
    return 3600.0 * words / (UPDATES * WORDS) * compression


def gpu_jobs(settings: Settings) -> list[Job]:
    """Whole courses of every fidelity for every batch size."""
    return [
        Job(f"{kind.label}, {batch} at a time", _job(kind, batch, settings))
        for kind in _KINDS
        for batch in BATCHES
        if batch <= kind.most
    ]


def _job(kind: _Kind, batch: int, settings: Settings) -> Callable[[], list[Measurement]]:
    def run() -> list[Measurement]:
        from oncogym.envs import gpu

        tumours = library()
        simulate(Protocol.from_times([]), tumours[:1], hours=0.5, fidelity=kind.fidelity,
                 device="cuda")  # fmt: skip  # compiles
        found: list[float] = []
        start = time.perf_counter()
        while not found or time.perf_counter() - start < settings.seconds:
            mark = time.perf_counter()
            simulate(_PROTOCOL, tumours, batch // len(tumours), settings.seed + len(found),
                     fidelity=kind.fidelity, device="cuda")  # fmt: skip
            found.append(3600.0 * batch / (time.perf_counter() - mark))
        clock, processors = gpu.clock_and_processors()
        bound = shared_memory_bound(clock, processors, FIDELITIES[kind.fidelity].compression)
        share = float(np.median(found)) / bound
        return [
            summarise(
                f"BMII, {kind.label}: {batch} at a time", found, "simulations/h",
                kind.target if batch == kind.most else None,
                note=f"whole courses of 240 h, ten tumours, {gpu.name()}; {share:.2f} of "
                f"the bound of shared memory, {bound:,.0f}/h",
            )
        ]  # fmt: skip

    return run
