"""Speed of the chemotherapy model, beside the tutorial's way of solving it."""

from __future__ import annotations

import time
from collections.abc import Sequence

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
from oncogym.envs.therapy import Floats
from oncogym.evaluation.reproduce.chemo import BASELINE
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
_ENV_ID = "oncogym/ChemoDosing-v0"


def jobs(settings: Settings) -> list[Job]:
    """Plans, single calls, environments, and training if asked for."""
    rng = np.random.default_rng(settings.seed)
    random_times = rng.uniform(0.0, HORIZON, (_POPULATION, 6))
    random_doses = rng.uniform(0.0, 10.0, (_POPULATION, 6))
    baseline_times, baseline_doses = (np.tile(part, (_POPULATION, 1)) for part in BASELINE)

    def plans(label: str, times: Floats, doses: Floats) -> Job:
        return Job(label, lambda: _plans(label, times, doses, settings.seconds))

    found = [
        plans("baseline plan", baseline_times, baseline_doses),
        plans("random plans", random_times, random_doses),
        Job("calls from Python", lambda: _calls(random_times, random_doses, settings.seconds)),
        # One decision in two lasts as long as the budget if doses average half a day's share.
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


def _plans(label: str, times: Floats, doses: Floats, seconds: float) -> list[Measurement]:
    """Serial population kernel and the tutorial's solver, in turns, one thread each."""
    patient = ChemoPatient().to_array()[None, :]
    out = np.empty((len(times), len(kernels.OUTPUTS)))

    def kernel() -> None:
        kernels.simulate_plans(times, doses, patient, HORIZON, TOXICITY_LIMIT, out)

    kernel()
    simulate_published_numerics(times[0], doses[0])
    ours: list[float] = []
    theirs: list[float] = []
    start = time.perf_counter()
    while len(ours) < _PAIRS or time.perf_counter() - start < seconds:
        # Each pair on a plan of its own; halves of a kernel call on either side of the solver, so
        # that slow stretches of the machine hit both.
        row = len(ours) % len(times)
        before = _seconds_of(kernel)
        solver = _seconds_of(lambda row=row: simulate_published_numerics(times[row], doses[row]))
        after = _seconds_of(kernel)
        ours.append(0.5 * (before + after) / len(times))
        theirs.append(solver)
    ratios = np.array(theirs) / np.array(ours)
    solver_note = "RK45 from dose to dose, rtol 1e-6, atol 1e-8, steps <= 0.5 d, as in the source"
    pairs = f"median of {len(ratios)} pairs timed in turns, one thread"
    return [
        summarise(
            f"{label}: population kernel",
            _scaled(ours),
            "us/plan",
            higher_is_better=False,
            note=f"{len(times)} plans a call, one thread, exact peak and exposure",
        ),
        summarise(
            f"{label}: solve_ivp",
            _scaled(theirs),
            "us/plan",
            higher_is_better=False,
            note=solver_note,
        ),
        summarise(f"{label}: speed-up", ratios.tolist(), "x", _TARGET_RATIO, note=pairs),
    ]


def _seconds_of(work: object) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _scaled(seconds: Sequence[float]) -> list[float]:
    return [1e6 * value for value in seconds]


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
