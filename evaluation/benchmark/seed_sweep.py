"""Training runs that differ in their seed only, wherever they run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oncogym.core.files import (
    CorruptFileError,
    OutputFolderError,
    read_json,
    require_writable_folder,
)
from oncogym.core.run_lock import hold
from oncogym.envs.problem import Problem
from oncogym.parallel.base import ExecutorError, LanesExecutor

if TYPE_CHECKING:
    from oncogym.training.runs import TrainResult


#: Files of a training run by their names in its folder; a star stands for anything but a slash.
RUN_FILES = (
    "config.json",
    "progress.csv",
    "result.json",
    "checkpoints/checkpoint_*.npz",
    "policy/policy.json",
    "policy/policy.npz",
    "policy/policy.onnx",
    "tensorboard/events.out.tfevents.*",
)


def run_name(algorithm: str, seed: int) -> str:
    """The folder of the run of an algorithm with a seed."""
    return f"{algorithm}-{seed}"


@dataclass(frozen=True)
class TrainingRun:
    """One run of a sweep: what is sent to a worker.

    Attributes:
        problem: What is treated.
        algorithm: Name of the learning algorithm.
        folder: Run folder, absolute.
        seed: Seed.
        steps: Decisions, ``None`` for the tuned value.
        progress: Show a bar on standard error.
    """

    problem: Problem
    algorithm: str
    folder: Path
    seed: int
    steps: int | None = None
    progress: bool = False


def train_seeds(
    problem: Problem,
    folder: Path,
    algorithm: str,
    seeds: Iterable[int],
    *,
    steps: int | None = None,
    options: Mapping[str, object] | None = None,
    executor: Executor | None = None,
) -> list[TrainResult]:
    """Train with each seed in ``folder/ALGORITHM-SEED``; finished ones are used again.

    A run that was interrupted, or whose worker was lost, starts afresh: resumed lanes would begin
    new treatments, and its policy would depend on where it was interrupted.

    Args:
        problem: The environment.
        folder: Where the run folders lie. Workers on other machines have to see it too.
        algorithm: Name of the learning algorithm.
        seeds: Seeds.
        steps: Decisions of each run, ``None`` for the tuned value.
        options: Options of the environment on top of its own.
        executor: Who trains; by default this process, one run after the other.

    Raises:
        ExecutorError: The workers cannot do it, or they do not see the folder.
    """
    executor = executor or LanesExecutor()
    trained = Problem.of(problem.treatment, options, variant=problem.variant)
    runs = [
        TrainingRun(
            problem=trained,
            algorithm=algorithm,
            folder=(folder / run_name(algorithm, seed)).resolve(),
            seed=seed,
            steps=steps,
            progress=isinstance(executor, LanesExecutor),
        )
        for seed in seeds
    ]
    results = list(executor.map(train, runs))
    for run in runs:
        if not (run.folder / "result.json").is_file():
            raise ExecutorError(
                f"a worker trained in {run.folder}, which is not here: choose an output folder "
                "that all machines of the cluster share"
            )
    return results


def train(run: TrainingRun) -> TrainResult:
    """Carry out one run, unless it is finished already.

    Raises:
        RunLockedError: Another process works in its folder; nothing is removed then.
        OutputFolderError: The folder holds what no run writes; nothing is removed then.
    """
    from oncogym.training import runs

    with hold(require_writable_folder(run.folder)):
        if (run.folder / "result.json").is_file():
            return runs.resume(run.folder, progress=run.progress)
        remove_run(run.folder)
        return runs.train(
            run.problem,
            run.algorithm,
            out=run.folder,
            steps=run.steps,
            seed=run.seed,
            progress=run.progress,
        )


def require_no_run_files(folder: Path) -> None:
    """Raise :class:`OutputFolderError` if a new run would write over something in a folder."""
    for path in _files(folder):
        raise OutputFolderError(
            f"{path} is there, and a training run would write over it; move it away or choose "
            "another folder"
        )


def remove_run(folder: Path) -> None:
    """Remove the files of an unfinished training run, and nothing else.

    Raises:
        OutputFolderError: The folder holds files of such names, but not those of a run.
    """
    if not folder.is_symlink() and _is_run(folder):
        # The configuration goes last: what is left after an interruption is still known as a run.
        for path in sorted(_files(folder), key=lambda path: path.name == "config.json"):
            path.unlink()
        for inner in {name.rpartition("/")[0] for name in RUN_FILES}:
            with contextlib.suppress(OSError):
                (folder / inner).rmdir()
    require_no_run_files(folder)


def _is_run(folder: Path) -> bool:
    """Whether the folder has the configuration of a training run."""
    try:
        document = read_json(folder / "config.json")
    except (CorruptFileError, OSError):
        return False
    return (
        isinstance(document, dict)
        and document.get("command") == "train"
        and {"settings", "versions"} <= set(document)
    )


def _files(folder: Path) -> list[Path]:
    """What has the name of a run's file in a folder; links are not followed into other folders."""
    found: list[Path] = []
    for name in RUN_FILES:
        inner, _, last = name.rpartition("/")
        if inner and (folder / inner).is_symlink():
            found.append(folder / inner)
        elif (folder / inner).is_dir():
            found += [path for path in (folder / inner).glob(last) if os.path.lexists(path)]
    return found
