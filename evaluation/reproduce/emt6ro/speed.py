"""Speed of the EMT6/Ro model, beside a plain transcription of its specification."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from oncogym.envs import treatments
from oncogym.envs.emt6ro_fractionation import Protocol, library, simulate
from oncogym.evaluation.reproduce.emt6ro import transcription as transcription
from oncogym.evaluation.reproduce.emt6ro.gpu_speed import gpu_jobs
from oncogym.evaluation.reproduce.emt6ro.tables import find_protocol
from oncogym.evaluation.speed import Job, Measurement, Settings, env_jobs, register, summarise

_PROTOCOL = find_protocol("BMII").protocol
#: Whole course of a simulation [h].
_HOURS = 240.0
#: Course on which the transcription is timed [h]: the first dose and its first deaths.
_SHORT = 6.0
# At least so many rounds, however short the time.
_ROUNDS = 3
_TURNS = 5
_ENVIRONMENTS = "oncogym/EMT6Ro"
_LANES = (8,)
# One thread's CPU time leaves out what other processes take, where it is counted finely enough.
_FINE = time.get_clock_info("thread_time").resolution <= 1e-5
_clock = time.thread_time if _FINE else time.perf_counter
_CLOCK_NAME = "CPU time" if _FINE else "wall time"


@dataclass(frozen=True)
class _Kind:
    """A fidelity, its target on all threads [simulations/h] and simulations a round and thread."""

    fidelity: str
    label: str
    target: float
    batch: int


_KINDS = (
    _Kind("exact", "exact", 2_000.0, 2),
    _Kind("accelerated", "m = 20", 15_000.0, 20),
    _Kind("screening", "m = 40, screening", 30_000.0, 40),
)


def jobs(settings: Settings) -> list[Job]:
    """Whole courses of every fidelity, the transcription in turns, environments that exist.

    On a GPU only the courses, against the number of them at a time.
    """
    if settings.device == "cuda":
        return gpu_jobs(settings)
    found = [Job(kind.label, _courses_job(kind, settings)) for kind in _KINDS]
    found.append(Job("transcription", lambda: _turns(settings)))
    for treatment in treatments().values():
        for variant in treatment.variants:
            if variant.id.startswith(_ENVIRONMENTS):
                found += env_jobs(variant.id, settings, lanes=_LANES)
    return found


def _courses_job(kind: _Kind, settings: Settings) -> Callable[[], list[Measurement]]:
    def run() -> list[Measurement]:
        threads = transcription.threads()
        note = f"whole courses of {_HOURS:g} h, ten tumours in turn"
        every = _rate(kind, threads, True, settings.seconds)
        single = _rate(kind, 1, False, settings.seconds)
        return [
            summarise(
                f"BMII, {kind.label}: {threads} thread{'s' * (threads != 1)}", every,
                "simulations/h", kind.target, note=f"{note}; all threads (NUMBA_NUM_THREADS)",
            ),
            summarise(
                f"BMII, {kind.label}: one thread", single, "simulations/h",
                note=f"{note}; {_CLOCK_NAME}",
            ),
        ]  # fmt: skip

    return run


def _rate(kind: _Kind, threads: int, parallel: bool, seconds: float) -> list[float]:
    """Simulations an hour of each round; a round is one call."""
    tumours = library()
    batch = [tumours[number % len(tumours)] for number in range(kind.batch * threads)]
    clock = time.perf_counter if parallel else _clock
    simulate(_until(0.5), batch, hours=0.5, fidelity=kind.fidelity, parallel=parallel)  # warms up
    found: list[float] = []
    start = time.perf_counter()
    while len(found) < _ROUNDS or time.perf_counter() - start < seconds:
        mark = clock()
        simulate(_until(_HOURS), batch, seed=len(found), hours=_HOURS, fidelity=kind.fidelity,
                 parallel=parallel)  # fmt: skip
        found.append(3600.0 * len(batch) / (clock() - mark))
    return found


def _until(hours: float) -> Protocol:
    """The protocol's doses within the first ``hours``."""
    kept = tuple((slot, dose) for slot, dose in _PROTOCOL.doses if slot < 2.0 * hours)
    return Protocol(kept, _PROTOCOL.name)


def _turns(settings: Settings) -> list[Measurement]:
    """The transcription and the exact kernels on the same short courses in turns, one thread.

    Raises:
        RuntimeError: The two leave numbers of sites that differ by more than a tenth.
    """
    tumours = library()
    protocol = _until(_SHORT)
    doses = protocol.slots(round(2.0 * _SHORT))
    steps = round(_SHORT * transcription.STEPS_PER_HOUR)
    rng = np.random.default_rng(settings.seed)

    def ours(number: int) -> float:
        mark = _clock()
        result = simulate(protocol, tumours[number % len(tumours)], seed=settings.seed + number,
                          hours=_SHORT, parallel=False)  # fmt: skip
        sites.append(float(result.sites.mean()))
        return _clock() - mark

    def theirs(number: int) -> float:
        tumour = tumours[number % len(tumours)]
        state = transcription.from_arrays(tumour.amounts, tumour.phase, tumour.mode, tumour.clocks)
        mark = _clock()
        left, _ = transcription.simulate(state, doses, steps, rng)
        other_sites.append(float(left))
        return _clock() - mark

    sites: list[float] = []
    other_sites: list[float] = []
    ours(0)
    theirs(0)
    times: list[tuple[float, float]] = []
    start = time.perf_counter()
    while len(times) < _TURNS or time.perf_counter() - start < settings.seconds:
        number = len(times)
        # The kernels on either side of the other, so that slow stretches of the machine hit both.
        before, other, after = ours(number), theirs(number), ours(number)
        times.append((0.5 * (before + after), other))
    if abs(np.mean(sites) / np.mean(other_sites) - 1.0) > 0.1:
        raise RuntimeError(
            f"the implementations disagree: {np.mean(sites):.0f} and {np.mean(other_sites):.0f} "
            f"sites after {_SHORT:g} h"
        )
    spent = np.array(times)
    ratio = spent[:, 1] / spent[:, 0]
    whole = _rate(_KINDS[0], 1, False, settings.seconds)
    turns = f"{len(times)} rounds in turns, first {_SHORT:g} h of BMII, one thread, {_CLOCK_NAME}"
    return [
        summarise(
            "BMII: speed-up of the exact kernels", ratio.tolist(), "x",
            note=f"{turns}; over a plain compiled transcription, which follows the acid in every "
            "step, as the kernels need not",
        ),
        summarise(
            "BMII, transcription: one thread", (float(np.median(whole)) / ratio).tolist(),
            "simulations/h",
            note="extrapolated: the exact kernels' whole courses an hour over the speed-up on the "
            f"first {_SHORT:g} h",
        ),
    ]  # fmt: skip


register("emt6ro", jobs, gpu=True)
