"""What it costs to be one of several processes that compute on the same machine.

Threads that wait by spinning cost nothing while a process is alone and nearly everything beside
another one. Whether they do depends on what was imported first, so each case is measured in
processes of its own that import one library before oncogym.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oncogym.core.json_types import JsonObject
from oncogym.parallel.base import usable_cores

#: What may be imported first.
FIRST = ("oncogym", "torch", "numba", "stable_baselines3")
#: At most so many times the fair share of time.
LIMIT = 1.3

_BATCHES = 8
_TRAINING_ENV, _TRAINING_STEPS = "oncogym/ChemoDosingCohort-v0", 61_440


@dataclass(frozen=True)
class Case:
    """Native lanes that are stepped with random actions.

    Attributes:
        env_id: Environment.
        lanes: Number of lanes.
        options: Options of the environment.
    """

    env_id: str
    lanes: int
    options: tuple[tuple[str, Any], ...] = ()


CASES = {
    "chemo": Case("oncogym/ChemoDosingCohort-v0", 1024),
    "glioblastoma": Case("oncogym/GlioblastomaRadiationCohort-v0", 256),
    "emt6ro": Case("oncogym/EMT6RoFractionation-v0", 32, (("fidelity", "screening"),)),
    "impt": Case("oncogym/IMPTBeamWeightingCohort-v0", 256),
}
TRAINING = "training"


@dataclass(frozen=True)
class Neighbourhood:
    """One case, alone and with neighbours that do the same.

    Attributes:
        what: Name in :data:`CASES`, or :data:`TRAINING`.
        first: What was imported first.
        processes: Number of processes at a time.
        alone: Seconds for the unit of work when one process is alone: 1000 steps of all lanes, or a
            million decisions of a training.
        together: Seconds for it when all work, mean over the processes.
        cores: Cores that one process keeps busy when it is alone.
        fair: Seconds that each would take if the cores were shared without loss.
    """

    what: str
    first: str
    processes: int
    alone: float
    together: float
    cores: float
    fair: float

    @property
    def ratio(self) -> float:
        """Time with neighbours as a multiple of the fair share."""
        return self.together / self.fair

    @property
    def ok(self) -> bool:
        """Whether the ratio is within :data:`LIMIT`."""
        return self.ratio <= LIMIT

    def to_json(self) -> JsonObject:
        """The measurement and its verdict as plain data."""
        return {**asdict(self), "ratio": self.ratio, "ok": self.ok}


def installed() -> list[str]:
    """Those of :data:`FIRST` that can be imported."""
    return [name for name in FIRST if importlib.util.find_spec(name) is not None]


def measure(what: str, first: str, processes: int, seconds: float) -> Neighbourhood:
    """Measure a case with one process, then with several.

    Args:
        what: Name in :data:`CASES`, or :data:`TRAINING`.
        first: What the processes import first.
        processes: How many are neighbours.
        seconds: Duration of each of the two measurements [s]; a training has its own.

    Raises:
        RuntimeError: A process failed; the message has its last words.
    """
    ((alone, cores),) = _run(what, first, 1, seconds)
    found = _run(what, first, processes, seconds)
    together = float(np.mean([each for each, _ in found]))
    share = max(1.0, processes * cores / usable_cores())
    return Neighbourhood(what, first, processes, alone, together, cores, alone * share)


def _run(what: str, first: str, processes: int, seconds: float) -> list[tuple[float, float]]:
    """Seconds for a unit of work and cores kept busy, of each of the processes."""
    program = (
        f"import {first}\n"
        "import sys\n"
        "from oncogym.evaluation.reproduce.neighbours import work\n"
        "work(sys.argv[1], float(sys.argv[2]))"
    )
    # What this process has set for itself would answer the question for them.
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, what, str(seconds)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError(f"{what}, {first} first: {process.communicate()[1][-500:]}")
        for process in started:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        found = [process.communicate() for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    failed = [error[-500:] for process, (_, error) in zip(started, found, strict=True)
              if process.returncode]  # fmt: skip
    if failed:
        raise RuntimeError(f"{what}, {first} first: {failed[0]}")
    numbers = [[float(word) for word in text.split()] for text, _ in found]
    return [(each, cores) for each, cores in numbers]


def work(what: str, seconds: float) -> None:
    """Get ready, say so, wait for a line, work, and print the two numbers of :func:`_run`."""
    do, unit = _training() if what == TRAINING else _lanes(CASES[what])
    do()
    print("ready", flush=True)
    sys.stdin.readline()
    started, busy, done = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - started < seconds or not done:
        done += do()
    wall, busy = time.perf_counter() - started, time.process_time() - busy
    print(unit * wall / done, busy / wall, flush=True)


def _lanes(case: Case) -> tuple[Callable[[], int], float]:
    import gymnasium

    env = gymnasium.make_vec(case.env_id, num_envs=case.lanes, **dict(case.options))
    env.reset(seed=0)
    actions = np.random.default_rng(0).random(
        (_BATCHES, *(env.action_space.shape or ())), np.float32
    )

    def do() -> int:
        for batch in actions:
            env.step(0.3 * batch)
        return len(actions)

    return do, 1e3


def _training() -> tuple[Callable[[], int], float]:
    from oncogym.training.algorithms import DEFAULT
    from oncogym.training.runs import train

    def do() -> int:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "run"
            return train(_TRAINING_ENV, DEFAULT, out=place, steps=_TRAINING_STEPS, lanes=1024,
                             hyperparameters={"n_steps": 15}).steps  # fmt: skip

    return do, 1e6


def table(found: Sequence[Neighbourhood]) -> str:
    """The measurements as aligned text."""
    count = found[0].processes if found else 0
    rows = [("what", "imported first", "alone [s]", f"{count} at a time [s]", "fair share [s]",
             "ratio", "")]  # fmt: skip
    rows += [
        (one.what, one.first, f"{one.alone:.3g}", f"{one.together:.3g}", f"{one.fair:.3g}",
         f"{one.ratio:.2f}", "met" if one.ok else "missed")
        for one in found
    ]  # fmt: skip
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            f"{word:<{size}}" if place in (0, 1, 6) else f"{word:>{size}}"
            for place, (word, size) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(
        [*lines, "    seconds for 1000 steps of all lanes, or for a million decisions"]
    )
