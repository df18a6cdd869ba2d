"""Speed of the chemotherapy model, beside the tutorial's way of solving it."""

from __future__ import annotations

import time

import numpy as np

from oncogym.envs.chemo_dosing import kernels
from oncogym.envs.chemo_dosing.model import (
    HORIZON,
    TOXICITY_LIMIT,
    ChemoPatient,
    simulate,
    simulate_batch,
    simulate_published_numerics,
)
from oncogym.envs.chemo_dosing.records import PLAN
from oncogym.envs.records import make_rows
from oncogym.envs.therapy import Floats
from oncogym.evaluation.reproduce.chemo.source import BASELINE
from oncogym.evaluation.speed import (
    Job,
    Measurement,
    Settings,
    env_jobs,
    rates,
    register,
    summarise,
    training_job,
)

# Plans in one call of the population kernel: takes about as long as one run of the ODE solver.
_POPULATION = 4096
# At least so many pairs of a solver run and a kernel call, however short the time.
_PAIRS = 5
_TARGET_RATIO = 5000.0
# Both sides run on one thread; its CPU time leaves out what other processes take, where the system
# counts it finely enough.
_FINE = time.get_clock_info("thread_time").resolution <= 1e-5
_clock = time.thread_time if _FINE else time.perf_counter
_CLOCK_NAME = "CPU time" if _FINE else "wall time"
_ENV_ID = "oncogym/ChemoDosing-v0"


def jobs(settings: Settings) -> list[Job]:
    """Plans, single calls, environments, and training if asked for."""
    rng = np.random.default_rng(settings.seed)
    random_times = rng.uniform(0.0, HORIZON, (_POPULATION, 6))
    random_doses = rng.uniform(0.0, 10.0, (_POPULATION, 6))
    baseline_times, baseline_doses = (np.tile(part, (_POPULATION, 1)) for part in BASELINE)

    def plans(label: str, times: Floats, doses: Floats, target: float | None, note: str) -> Job:
        return Job(label, lambda: _plans(label, times, doses, settings.seconds, target, note))

    found = [
        plans("source's baseline plan", baseline_times, baseline_doses, _TARGET_RATIO, ""),
        plans(
            "random plans",
            random_times,
            random_doses,
            None,
            "; most break the toxicity limit, and only ours computes for how long",
        ),
        Job("calls from Python", lambda: _calls(baseline_times, baseline_doses, settings.seconds)),
        # Doses of 0.5 mg/L on average: the budget lasts for the whole course. With doses up to the
        # maximum most courses fail within days, so that times are mostly those of resets.
        *env_jobs(
            _ENV_ID,
            settings,
            largest_action=0.1,
            label="doses to 1 mg/L",
            targets={"scalar": 50_000.0, "4096": 3_000_000.0},
        ),
        *env_jobs(_ENV_ID, settings, lanes=(4096,), label="doses to 10 mg/L"),
    ]
    if settings.train:
        found.append(training_job(_ENV_ID, settings, lanes=1024, target=20_000.0))
    return found


def _plans(
    label: str, times: Floats, doses: Floats, seconds: float, target: float | None, note: str
) -> list[Measurement]:
    """Serial population kernel and the tutorial's solver, in turns, one thread each."""
    patient = ChemoPatient().to_array()[None, :]
    out = make_rows(len(times), PLAN)

    def kernel() -> None:
        kernels.simulate_plans(times, doses, patient, HORIZON, TOXICITY_LIMIT, out)

    kernel()
    simulate_published_numerics(times[0], doses[0])
    ours: list[float] = []
    theirs: list[float] = []
    start = time.perf_counter()
    while len(ours) < _PAIRS or time.perf_counter() - start < seconds:
        # Kernel calls on either side of the solver, so that slow stretches of the machine hit both.
        row = len(ours) % len(times)
        marks = [_clock()]
        kernel()
        marks.append(_clock())
        simulate_published_numerics(times[row], doses[row])
        marks.append(_clock())
        kernel()
        marks.append(_clock())
        before, solver, after = np.diff(marks).tolist()
        ours.append(1e6 * 0.5 * (before + after) / len(times))
        theirs.append(1e6 * solver)
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return [
        summarise(
            f"{label}: population kernel",
            ours,
            "us/plan",
            higher_is_better=False,
            note=f"{len(times)} plans a call, one thread, exact peak and exposure",
        ),
        summarise(
            f"{label}: solve_ivp",
            theirs,
            "us/plan",
            higher_is_better=False,
            note="RK45 from dose to dose, rtol 1e-6, atol 1e-8, steps of at most 0.5 d",
        ),
        summarise(
            f"{label}: speed-up",
            ratios,
            "x",
            target,
            note=f"{len(ratios)} pairs timed in turns, {_CLOCK_NAME}{note}",
        ),
    ]


def _calls(times: Floats, doses: Floats, seconds: float) -> list[Measurement]:
    """Time per plan of the public functions, as a user calls them."""
    patient = ChemoPatient()
    few = list(zip(times[:64], doses[:64], strict=True))

    def one(samples: int) -> int:
        for when, amounts in few:
            simulate(when, amounts, patient, samples=samples)
        return len(few)

    def batch() -> int:
        simulate_batch(times, doses, patient)
        return len(times)

    rows = (
        ("simulate, outcome only", lambda: one(0)),
        ("simulate, with 241 samples", lambda: one(241)),
        (f"simulate_batch, {len(times)} plans, all threads", batch),
    )
    return [
        summarise(
            what,
            [1e6 / rate for rate in rates(work, seconds)],
            "us/plan",
            higher_is_better=False,
        )
        for what, work in rows
    ]


register("chemo", jobs)
