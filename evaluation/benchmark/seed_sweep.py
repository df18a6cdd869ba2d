"""Training runs that differ in their seed only, wherever they run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncogym.agents.task_spec import TaskSpec
from oncogym.core.files import require_writable_folder
from oncogym.core.run_lock import hold
from oncogym.evaluation.harness import Problem
from oncogym.parallel.base import Executor, ExecutorError, LanesExecutor

if TYPE_CHECKING:
    from oncogym.training.ppo import TrainResult


@dataclass(frozen=True)
class TrainingRun:
    """One run of a sweep: what is sent to a worker.

    Attributes:
        spec: The task; it tells the worker where the treatment comes from.
        env_id: Environment.
        folder: Run folder, absolute.
        seed: Seed.
        steps: Decisions, ``None`` for the tuned value.
        options: Options of the environment on top of its own.
        progress: Show a bar on standard error.
    """

    spec: TaskSpec
    env_id: str
    folder: Path
    seed: int
    steps: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    progress: bool = False


def train_seeds(
    problem: Problem,
    folder: Path,
    seeds: Iterable[int],
    *,
    steps: int | None = None,
    options: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
) -> list[TrainResult]:
    """Train with each seed in ``folder/ppo-SEED``; runs that are finished there are used again.

    A run that was interrupted, or whose worker was lost, starts afresh: resumed lanes would begin
    new treatments, and its policy would depend on where it was interrupted.

    Args:
        problem: The environment.
        folder: Where the run folders lie. Workers on other machines have to see it too.
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
            folder=(folder / f"ppo-{seed}").resolve(),
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
    """Carry out one run, unless it is finished already.

    Raises:
        RunLockedError: Another process works in its folder; nothing is removed then.
        RunFolderError: The folder holds what no run writes; nothing is removed then.
    """
    from oncogym.training.ppo import resume_ppo, train_ppo
    from oncogym.training.run_folder import clear_run

    _ = run.spec.treatment  # known from here on, also to a process that only received the run
    with hold(require_writable_folder(run.folder)):
        if (run.folder / "result.json").is_file():
            return resume_ppo(run.folder, progress=run.progress)
        clear_run(run.folder)
        return train_ppo(
            run.env_id,
            out=run.folder,
            steps=run.steps,
            seed=run.seed,
            options=dict(run.options),
            progress=run.progress,
        )
