"""Small tumours on which the GPU's kernels are compared with the CPU's, and what to do with them.

As a script, ``python emt6ro_cuda_cases.py YOUNG FILE`` runs them on the device ``cuda`` and keeps
what comes out: under numba's CUDA simulator where there is no GPU. YOUNG holds the tumours of
:func:`young`, which the processor grows, for the simulator goes with kernels that are not compiled.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import numpy as np

from oncogym.envs.emt6ro_fractionation import Parameters, Protocol, Tumour, jobs, rules, simulate
from oncogym.envs.emt6ro_fractionation.parameters import fidelity_of
from oncogym.envs.emt6ro_fractionation.records import COUNTERS, SIDE
from oncogym.envs.emt6ro_fractionation.task import EMT6RoTask
from oncogym.envs.emt6ro_fractionation.tumour import State, stack
from oncogym.envs.records import make_rows, records_of

# The package has a function of this name.
library = import_module("oncogym.envs.emt6ro_fractionation.tumour_library")

# Threads of a block in the simulator, which runs one after the other: at least a frame's columns.
THREADS = 16
_ENDS = (3600, 9600, 10800, 12000, 12060)
LAWS = ("exact", "accelerated")
# Five at once: the step before a slot's end is a single one then.
COMPRESSION = {"exact": 1, "accelerated": 5}
# The lanes start a little before a dose at half an hour.
START = 300 - 6
UNTIL = {"exact": 300 + 6, "accelerated": 300 + 45}
SEED = 5
# So little glucose in the bath that groups in S and M starve, and the source's.
_GLUCOSE = {"exact": 23.0, "accelerated": 275.0}
# Numbers of the tumours that the task treats, at no age.
YOUNG = (3, 4)


def busy_state() -> State:
    """Four lanes: two squares in which all kinds of events are due, one in a corner, one empty."""
    rng = np.random.default_rng(3)
    state = State.empty(4)
    for lane, (top, left, side) in enumerate(((23, 23, 5), (22, 24, 4), (0, 47, 4))):
        for number in range(side * side):
            site = (top + number // side) * SIDE + left + number % side
            kind = number % 7
            group = state.groups[lane, site]
            group["ends"] = np.add(_ENDS, rng.normal(0.0, 1.0, 5).round(2))
            phase = (rules.G1, rules.S, rules.G2, rules.M, rules.D, rules.G1, rules.S)[kind]
            # Phases end within the steps simulated; groups in D have long tried to divide.
            group["clock"] = group["ends"][phase - 1] - rng.integers(1, 9)
            if kind in (1, 2, 5):
                group["damage"] = rng.uniform(0.5, 3.0)
                group["repair"] = 2500.0
            if kind in (2, 5):
                group["repaired"] = 2500.0 - rng.integers(1, 9)
            state.phase[lane, site] = phase
    state.fields[0, 1, :] = np.where(state.phase[0] > 0, -9.0, 0.0)
    state.fields[1, 2, :] = np.where(state.phase[1] > 0, 0.017, 0.0)
    return state


def busy_counters() -> np.ndarray:
    counters = make_rows(4, COUNTERS)
    records_of(counters, COUNTERS)["step"] = START
    return counters


def busy_arguments(law: str) -> dict[str, Any]:
    doses = np.zeros((4, 3))
    doses[:, 1] = 1.5, 0.0, 4.0, 1.0
    return {
        "settings": Parameters(bath_glucose=_GLUCOSE[law]).settings(
            fidelity_of(law, COMPRESSION[law])
        ),
        "biology": np.tile(library.biology(), (4, 1)),
        "doses": doses,
        "until": np.array([UNTIL[law]] * 4),
        "seeds": np.full(4, SEED, np.uint64),
        "episodes": np.arange(4, dtype=np.uint64),
    }


def small_tumour() -> Tumour:
    return Tumour.from_state(busy_state(), 1)


def courses(device: str) -> dict[str, np.ndarray]:
    """Two protocols on a small tumour, by :func:`simulate`."""
    both = [Protocol.parse("2@0"), Protocol.from_times([])]
    found = simulate(
        both, small_tumour(), seed=SEED, hours=0.5, fidelity="screening", record=[0.0, 0.5],
        device=device,
    )  # fmt: skip
    return {"sites": found.sites, "burden": found.burden, "records": found.courses}


def detour(task: EMT6RoTask, rows: np.ndarray) -> np.ndarray:
    """Change lanes, treat other patients, and come back by a snapshot; the observations then."""
    lanes, keys = np.arange(2), np.full(2, 77, np.uint64)
    kept = task.snapshot()
    task.reset(lanes, rows[::-1], keys, keys)
    task.restore(kept, lanes[::-1])
    one = task.snapshot(np.array([1]))
    task.restore(task.snapshot(np.array([0])), np.array([1]))
    task.restore(one, np.array([0]))
    return task.observe()


def treatment(
    device: str, formulation: str, observation: str, interrupted: bool = False
) -> dict[str, np.ndarray]:
    """Two lanes of young tumours through a short treatment of the task.

    If it is ``interrupted``, the lanes are taken elsewhere and back before each decision.
    """
    task = EMT6RoTask(
        2, formulation=formulation, observation=observation, fidelity="screening", hours=1.0,
        treatment_hours=1.0, min_wait=0.5, max_wait=0.5, device=device,
    )  # fmt: skip
    rows = np.array([[0.4993, 3.3414, 0.1492, 0.8, number, 0.0] for number in YOUNG])
    keys = np.arange(2, dtype=np.uint64)
    seen = [task.reset(np.arange(2), rows, keys, keys)]
    actions = np.array([[0.4, 0.0], [1.0, 1.0]])
    active = np.ones(2, np.bool_)
    terms = []
    for _ in range(task.num_decisions):
        if interrupted:
            assert detour(task, rows).tobytes() == seen[-1].tobytes()
        result = task.step(actions, active)
        active = active & ~result.terminated
        seen.append(result.observation.copy())
        terms.append(np.concatenate([result.reward_terms, result.costs, result.outcome], axis=1))
        if not active.any():
            break
    return {
        "seen": np.array(seen),
        "terms": np.array(terms),
        "course": np.array(task.course(0)),
        "phase": task.tumour(1).phase,
        "amounts": task.tumour(1).amounts,
    }


#: Names of the treatments above, with their arguments.
TREATMENTS = {
    "sound": ("sound", "full"),
    "published": ("published", "measurable"),
    "image": ("sound", "image"),
}


def young() -> dict[str, np.ndarray]:
    """The tumours that the task treats."""
    return stack(library.grow(YOUNG, 0.0)).parts()


def main(tumours: str, file: str) -> None:
    """Run everything on the device ``cuda``."""
    from numba import config

    from oncogym.envs.emt6ro_fractionation.cuda.cuda_memory import CudaTumours

    if config.ENABLE_CUDASIM:
        CudaTumours.threads = THREADS
    jobs._ON_GPU = 1  # in two parts
    with np.load(tumours) as grown:
        state = State.of_parts(grown)
        for row, number in enumerate(YOUNG):
            library._grown[(number, 0.0)] = state.rows[row : row + 1]
    out: dict[str, np.ndarray] = {}
    for law in LAWS:
        given = busy_arguments(law)
        memory = CudaTumours(4, given.pop("settings"))
        memory.put(np.arange(4), busy_state().rows, np.arange(4))
        counters = busy_counters()
        memory.advance(counters=counters, **given)
        for name, part in State(memory.take(np.arange(4))).parts().items():
            out[f"{law} {name}"] = part
        out[f"{law} counters"] = counters
    out |= {f"courses {name}": value for name, value in courses("cuda").items()}
    for name, arguments in TREATMENTS.items():
        found = treatment("cuda", *arguments, interrupted=True)
        out |= {f"{name} {part}": value for part, value in found.items()}
    np.savez(file, **out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
