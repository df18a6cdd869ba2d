"""Training runs that differ in their seed only, wherever they run."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncogym.agents.task_spec import TaskSpec
from oncogym.evaluation.harness import Problem
from oncogym.parallel.base import Executor, ExecutorError, LanesExecutor

if TYPE_CHECKING:
    from oncogym.training.runs import TrainResult


@dataclass(frozen=True)
class TrainingRun:
    """One run of a sweep: what is sent to a worker.

    Attributes:
        spec: The task; it tells the worker where the treatment comes from.
        env_id: Environment.
        algorithm: Name of the learning algorithm.
        folder: Run folder, absolute.
        seed: Seed.
        steps: Decisions, ``None`` for the tuned value.
        options: Options of the environment on top of its own.
        progress: Show a bar on standard error.
    """

    spec: TaskSpec
    env_id: str
    algorithm: str
    folder: Path
    seed: int
    steps: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    progress: bool = False


def train_seeds(
    problem: Problem,
    folder: Path,
    algorithm: str,
    seeds: Iterable[int],
    *,
    steps: int | None = None,
    options: Mapping[str, Any] | None = None,
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
    runs = [
        TrainingRun(
            spec=TaskSpec(problem.treatment, problem.options),
            env_id=problem.variant.id,
            algorithm=algorithm,
            folder=(folder / f"{algorithm}-{seed}").resolve(),
            seed=seed,
            steps=steps,
            options=dict(options or {}),
            progress=isinstance(executor, LanesExecutor),
        )
        for seed in seeds
    ]
    results = executor.map(train, runs)
    for run in runs:
        if not (run.folder / "result.json").is_file():
            raise ExecutorError(
                f"a worker trained in {run.folder}, which is not here: choose an output folder "
                "that all machines of the cluster share"
            )
    return results


def train(run: TrainingRun) -> TrainResult:
    """Carry out one run, unless it is finished already."""
    from oncogym.training.runs import resume
    from oncogym.training.runs import train as train_run

    _ = run.spec.treatment  # known from here on, also to a process that only received the run
    if (run.folder / "result.json").is_file():
        return resume(run.folder, progress=run.progress)
    if run.folder.exists():
        shutil.rmtree(run.folder)
    return train_run(
        run.env_id,
        run.algorithm,
        out=run.folder,
        steps=run.steps,
        seed=run.seed,
        options=dict(run.options),
        progress=run.progress,
    )
