"""``oncogym doctor``: what is installed, what the machine offers, and whether the models run."""

from __future__ import annotations

import argparse
import json
import os
import time
from importlib import import_module
from pathlib import Path

import numpy as np

from oncogym import envs
from oncogym.cli.arguments import Commands, add_common
from oncogym.cli.commands import COMMANDS
from oncogym.core.json_types import JsonObject
from oncogym.core.manifest import manifest
from oncogym.envs import treatments
from oncogym.envs.device import choose_device
from oncogym.envs.problem import Problem
from oncogym.envs.treatment import Treatment


def add_parser(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "doctor",
        help=COMMANDS["doctor"],
        description="Print versions, processors, threads, GPU and the place of compiled kernels, "
        "and take a few decisions in every installed treatment, alone and in a batch, which have "
        "to agree to the bit. Status 1 if anything fails. What to put into a report of a fault.",
    )
    add_common(parser, seed=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look around, try every treatment, and print."""
    about = {**_surroundings(), "treatments": {n: _tried(t) for n, t in treatments().items()}}
    sound = all(one["ok"] for one in about["treatments"].values())
    if args.json:
        print(json.dumps({**about, "ok": sound}, indent=2))
        return 0 if sound else 1
    for name, value in about.items():
        if isinstance(value, dict):
            print(name)
            for key, one in value.items():
                print(f"  {key:24} {_line(one)}")
        else:
            print(f"{name:26} {value}")
    print("all well" if sound else "something is wrong, see above")
    return 0 if sound else 1


def _line(one: object) -> str:
    if not isinstance(one, dict):
        return "not installed" if one is None else str(one)
    return f"ok, {one['seconds']:.1f} s" if one["ok"] else f"FAILED: {one['fault']}"


def _surroundings() -> JsonObject:
    found = manifest("doctor")
    return {
        "versions": found["versions"],
        "commit": (found["git"] or {}).get("commit", "none, an installed package"),
        "platform": found["platform"],
        "processors": found["cpu_count"],
        "threads": import_module("numba").config.NUMBA_NUM_THREADS,
        "waiting threads": os.environ.get("OMP_WAIT_POLICY", "as the library likes"),
        "GPU": _gpu(),
        "compiled kernels": _kernels(),
    }


def _gpu() -> str:
    return "there" if choose_device("auto") == "cuda" else "none that oncogym can use"


def _kernels() -> str:
    """Where numba keeps what it compiled, and whether it may write there."""
    beside = Path(str(envs.__file__)).parent
    elsewhere = import_module("numba").config.CACHE_DIR
    place = elsewhere or str(beside)
    kept = "kept" if os.access(place, os.W_OK) else "not writable: compiled anew in each process"
    return f"{place}{'' if elsewhere else ', beside the sources'} ({kept})"


def _tried(treatment: Treatment) -> JsonObject:
    started = time.perf_counter()
    try:
        fault = _disagreement(treatment)
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    return {"ok": not fault, "seconds": time.perf_counter() - started, "fault": fault}


def _disagreement(treatment: Treatment) -> str:
    """What differs, in two decisions, for a patient alone and for the same one in a batch."""
    problem = Problem.of(treatment)
    seen = []
    for lanes in (1, 3):
        drawn = problem.drawn(lanes)
        task = drawn.task()
        start = np.arange(lanes), drawn.patients, drawn.seeds, np.zeros(lanes, np.uint64)
        numbers = [task.reset(*start)[0]]
        action = np.full((lanes, *task.action_space.shape), 0.05)
        for _ in range(min(2, task.num_decisions)):
            result = task.step(action, np.ones(lanes, np.bool_))
            numbers += [result.observation[0], result.reward_terms[0]]
        seen.append(numbers)
    for alone, together in zip(*seen, strict=True):
        if not np.isfinite(alone).all():
            return f"numbers that are not finite: {np.asarray(alone).ravel()[:8]}"
        if not np.array_equal(alone, together):
            return "a patient in a batch fares differently from the same one alone"
    return ""
