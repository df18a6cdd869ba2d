"""Training runs: folder, provenance, evaluation, best policy, checkpoints, resume.

A run folder holds ``config.json`` (settings, versions, command), ``progress.csv``,
``tensorboard/``, ``checkpoints/`` (the last three), ``policy/`` (the best policy on the validation
patients) and, at the end, ``result.json``. Which algorithm learns makes no difference here.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from oncogym.agents.learned import PolicyAgent
from oncogym.agents.policy_files import AnyPolicy, policy_of, write_policy
from oncogym.core.checkpoint import Checkpoint, newest_checkpoint, write_checkpoint
from oncogym.core.documents import Document
from oncogym.core.files import (
    CorruptFileError,
    StrPath,
    require_writable_folder,
    to_plain,
    write_json_atomic,
)
from oncogym.core.json_types import JsonObject
from oncogym.core.manifest import manifest
from oncogym.core.run_lock import hold
from oncogym.envs.problem import Problem
from oncogym.training.algorithms import require_installed
from oncogym.training.algorithms.base import Learner
from oncogym.training.evaluator import Evaluator
from oncogym.training.progress import ProgressBar
from oncogym.training.random_state import own_random_state
from oncogym.training.run_log import ProgressTable, TensorBoard
from oncogym.training.settings import FEW_UPDATES, RunSettings, differences, make_settings

_LONGEST_CONFIGURATION = 1 << 24


class Spectator(Protocol):
    """Who is told of a run's evaluations; what it raises ends the run."""

    def begin(self, start: int, total: int) -> None:
        """The run goes on after ``start`` of ``total`` decisions."""
        ...

    def evaluated(self, steps: int, value: float) -> None:
        """A policy was evaluated: its mean return on the validation patients."""
        ...


class RunFolderError(ValueError):
    """A folder holds a run already, or does not hold the run that shall be resumed."""


class EvaluationError(ValueError):
    """No evaluation of a run gave a finite return."""


class SettingsMismatchError(ValueError):
    """A run was asked to go on with other settings than those it began with."""


@dataclass(frozen=True)
class TrainResult:
    """What a training run left behind.

    Attributes:
        folder: Run folder.
        env_id: Environment.
        algorithm: Name of the algorithm.
        seed: Seed of the run.
        steps: Decisions in total, all lanes together.
        seconds: Wall time in total, including processes that were killed up to their last
            checkpoint.
        frames_per_second: Decisions per second in this process, updates and evaluations included;
            ``None`` where it had nothing left to do.
        best_return: Mean return of the best policy on the validation patients.
        best_steps: Step at which it was found.
        last_evaluation: Means of the last policy over the validation patients.
        resumed_from: Step of the checkpoint from which this process went on, or ``None``.
        damaged: One message for each damaged checkpoint that was passed over.
    """

    folder: Path
    env_id: str
    algorithm: str
    seed: int
    steps: int
    seconds: float
    frames_per_second: float | None
    best_return: float
    best_steps: int
    last_evaluation: Mapping[str, float]
    resumed_from: int | None
    damaged: tuple[str, ...]

    @property
    def policy(self) -> Path:
        """Folder of the best policy."""
        return self.folder / "policy"

    def agent(self, label: str | None = None) -> PolicyAgent:
        """The best policy as an agent."""
        return PolicyAgent.load(self.policy, label=label)


def train(
    env_id: str | Problem,
    algorithm: str,
    *,
    out: StrPath,
    steps: int | None = None,
    seed: int | None = None,
    lanes: int | None = None,
    checkpoint_every: int | None = None,
    options: Mapping[str, object] | None = None,
    hyperparameters: Mapping[str, object] | None = None,
    base: str = "tuned",
    wrappers: Iterable[object] | None = None,
    progress: bool = False,
    watch: Spectator | None = None,
) -> TrainResult:
    """Train a policy and keep the best.

    Args:
        env_id: Environment, or a problem.
        algorithm: Name of the algorithm, see :mod:`oncogym.training.algorithms`.
        out: Run folder; created if missing.
        steps: Decisions, all lanes together; ``None`` takes the value of the algorithm's YAML file.
        seed: Seed of networks, minibatches and lanes, 0 by default.
        lanes: Treatments in parallel; ``None`` takes the value of the file.
        checkpoint_every: Decisions between checkpoints, by default a tenth of the run.
        options: Options of the environment, on top of those of its id.
        hyperparameters: Values that replace those of the file.
        base: ``"tuned"``, or ``"sb3"`` for Stable-Baselines3's own defaults instead.
        wrappers: Wrappers around the lanes, innermost first: names, or mappings of a name to its
            arguments, see :class:`oncogym.wrappers.named.NamedWrapper`. What they do to
            observations and actions becomes part of the policy; the evaluations of the run, as all
            others, are without what they do to rewards.
        progress: Show a bar on standard error.
        watch: Who is told of the evaluations.

    Raises:
        UnknownNameError: An environment, option, algorithm, hyper-parameter or wrapper does not
            exist.
        ModuleNotFoundError: The algorithm needs a package that is not installed.
        ValueError: A value is out of range, or a wrapper does not fit.
        OutputFolderError: ``out`` cannot be written to.
        RunFolderError: ``out`` holds a run already.
        RunLockedError: Another process works in ``out``.
    """
    settings = make_settings(
        env_id,
        algorithm,
        steps=steps,
        seed=seed,
        lanes=lanes,
        checkpoint_every=checkpoint_every,
        options=options,
        hyperparameters=hyperparameters,
        base=base,
        wrappers=wrappers,
    )
    require_installed(settings.method)
    folder = require_writable_folder(out)
    config = folder / "config.json"
    with hold(folder):
        if config.exists():
            raise RunFolderError(
                f"{folder} holds a run already; resume it or choose another folder"
            )
        about = manifest("train", seeds=settings.seed, settings=settings.to_json())
        write_json_atomic(config, about)
        return _carry_out(settings, folder, None, (), progress, watch)


def resume(
    out: StrPath, *, progress: bool = False, watch: Spectator | None = None, **asked: Any
) -> TrainResult:
    """Go on with a run from its newest checkpoint that can be read.

    Networks, optimiser, normalisation, random numbers, lanes and counts go on where they were, so
    that the run ends as it would have ended undisturbed, bit for bit; only the lanes of a task
    without snapshots start new treatments. A damaged checkpoint is passed over with a warning that
    names it.

    Args:
        out: Run folder.
        progress: Show a bar on standard error.
        watch: Who is told of the evaluations.
        **asked: Arguments of :func:`train`; those that are not ``None`` must agree with the run.

    Raises:
        RunFolderError: ``out`` holds no run.
        SettingsMismatchError: ``asked`` differs from the run; the message names what.
        CorruptFileError: The configuration, or every checkpoint, is damaged.
        OutputFolderError: ``out`` cannot be written to.
        RunLockedError: Another process works in ``out``.
    """
    folder = Path(out)
    if not (folder / "config.json").is_file():
        raise RunFolderError(f"{folder} holds no run to resume: there is no config.json")
    with hold(folder):
        return _go_on(folder, progress, watch, asked)


def _go_on(
    folder: Path, progress: bool, watch: Spectator | None, asked: Mapping[str, object]
) -> TrainResult:
    config = folder / "config.json"
    document = Document.read(config, _LONGEST_CONFIGURATION)
    settings = RunSettings.from_json(document.inside("settings"))
    earlier = document.values.get("resumed", [])
    if not isinstance(earlier, list):
        raise document.error("resumed", "a list of the earlier times")
    changed = differences(settings, asked)
    if changed:
        raise SettingsMismatchError(f"{folder} cannot go on with other settings: {changed}")
    require_installed(settings.method)
    require_writable_folder(folder)
    checkpoint, damaged = newest_checkpoint(folder / "checkpoints")
    for message in damaged:
        warnings.warn(f"damaged checkpoint passed over: {message}", RuntimeWarning, stacklevel=2)
    record = manifest("train --resume")
    record["from_step"] = checkpoint.steps if checkpoint else 0
    write_json_atomic(config, {**document.values, "resumed": [*earlier, record]})
    return _carry_out(settings, folder, checkpoint, tuple(damaged), progress, watch)


def _carry_out(
    settings: RunSettings,
    folder: Path,
    checkpoint: Checkpoint | None,
    damaged: tuple[str, ...],
    progress: bool,
    watch: Spectator | None,
) -> TrainResult:
    start = checkpoint.steps if checkpoint else 0
    about = f"{settings.updates} updates of {settings.steps_per_update} decisions"
    if settings.updates < FEW_UPDATES:
        warnings.warn(
            f"a run of {about} hardly learns anything; take more steps, or fewer lanes than "
            f"{settings.lanes}",
            RuntimeWarning,
            stacklevel=3,
        )
    if progress:
        print(f"{settings.env_id}: {about}", file=sys.stderr)
    for name in ("checkpoints", "tensorboard"):
        (folder / name).mkdir(exist_ok=True)
    total = settings.updates * settings.steps_per_update
    with own_random_state():
        learner = settings.method.build(
            settings.problem,
            settings.hyperparameters,
            lanes=settings.lanes,
            seed=settings.seed,
            steps=settings.steps,
            start=start,
            **({"wrappers": settings.wrappers} if settings.wrappers else {}),
        )
        with contextlib.closing(learner):
            bar = ProgressBar(total, start, progress)
            run = _Run(settings, folder, learner, start, bar, watch)
            if watch is not None:
                watch.begin(start, total)
            if checkpoint is not None:
                run.take_over(checkpoint)
            clock = time.perf_counter()
            try:
                if start < total:
                    learner.learn(total, run)
            finally:
                run.close()
            seconds = time.perf_counter() - clock
        steps = learner.steps
    result = TrainResult(
        folder=folder,
        env_id=settings.env_id,
        algorithm=settings.algorithm,
        seed=settings.seed,
        steps=steps,
        seconds=run.seconds,
        frames_per_second=(steps - start) / seconds if steps > start else None,
        best_return=run.best_return,
        best_steps=run.best_steps,
        last_evaluation=run.last_evaluation,
        resumed_from=start if checkpoint else None,
        damaged=damaged,
    )
    write_json_atomic(folder / "result.json", to_plain(result))
    return result


class _Run:
    """Watches a learner: keeps scalars, evaluates, and saves where that is due.

    A policy whose evaluation is not finite is never the best.

    Args:
        settings: Settings of the run.
        folder: Run folder.
        learner: Who learns.
        start: Decisions before this process took over.
        bar: Progress on the screen.
        watch: Who is told of the evaluations.
    """

    def __init__(
        self,
        settings: RunSettings,
        folder: Path,
        learner: Learner,
        start: int,
        bar: ProgressBar,
        watch: Spectator | None = None,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._learner = learner
        self._evaluator = Evaluator(settings)
        self._evaluate_every = -(-settings.updates // settings.evaluations)
        self._table = ProgressTable(folder / "progress.csv", start)
        self._board = TensorBoard(folder / "tensorboard", start)
        self._bar = bar
        self._watch = watch
        self._best: AnyPolicy | None = None
        self._saved = start
        self._earlier = 0.0
        self._clock = time.perf_counter()
        self.best_return = -np.inf
        self.best_steps = 0
        self.last_evaluation: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """Duration of the run so far, earlier processes included."""
        return self._earlier + time.perf_counter() - self._clock

    def advanced(self, decisions: int) -> None:
        """Move the bar."""
        self._bar.advance(decisions)

    def record(self, steps: int, scalars: Mapping[str, float]) -> None:
        """Keep scalars in the table and for TensorBoard."""
        self._table.write(steps, scalars)
        self._board.write(steps, scalars)
        if "episode/return" in scalars:
            self._bar.show("return", scalars["episode/return"])

    def pause(self, last: bool = False) -> None:
        """Evaluate and save a checkpoint where they are due."""
        steps = self._learner.steps
        update = steps // self._settings.steps_per_update
        if last or update % self._evaluate_every == 0:
            self._evaluate(steps)
        if last and self._best is None:
            raise EvaluationError(
                "no evaluation gave a finite return, the last one "
                f"{self.last_evaluation['return']}: there is no best policy"
            )
        if last or steps - self._saved >= self._settings.checkpoint_every:
            self._save(steps)

    def take_over(self, checkpoint: Checkpoint) -> None:
        """Put learner and best policy back where a checkpoint left them.

        Raises:
            CorruptFileError: It does not fit the run.
        """
        try:
            state = Document(dict(checkpoint.state), "state")
            self._learner.restore(
                checkpoint.steps, state.mapping("learner"), dict(checkpoint.arrays)
            )
            self._earlier = state.number("seconds", 0.0)
            last = state.inside("last")
            self.last_evaluation = {name: last.number(name) for name in last}
            if state["best"] is not None:
                best = state.inside("best")
                self.best_return = best.number("return")
                self.best_steps = best.whole("steps", 0, checkpoint.steps)
                self._best = policy_of(
                    best.inside("policy"), _without_prefix(checkpoint.arrays, _BEST)
                )
                self._write_best()
        except (
            AttributeError,
            IndexError,
            KeyError,
            OverflowError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            raise CorruptFileError(
                f"checkpoint of step {checkpoint.steps} in {self._folder} does not fit its run: "
                f"{error}"
            ) from error

    def close(self) -> None:
        """Write the table one last time."""
        self._table.save()
        self._board.close()
        self._bar.close()

    def _evaluate(self, steps: int) -> None:
        policy = self._learner.export({})
        result = self._evaluator(PolicyAgent(policy))
        self.last_evaluation = self._evaluator.scalars(result)
        self.record(steps, {f"eval/{name}": value for name, value in self.last_evaluation.items()})
        found = self.last_evaluation["return"]
        if math.isfinite(found) and found > self.best_return:
            self.best_return, self.best_steps = found, steps
            about = {
                "algorithm": self._settings.algorithm,
                "title": self._settings.method.title,
                "seed": self._settings.seed,
                "steps": steps,
                "evaluation_cohort": self._evaluator.cohort,
                "evaluation_return": self.best_return,
            }
            self._best = self._learner.export(about)
            self._bar.show("best evaluation", self.best_return)
            self._write_best()
        if self._watch is not None:
            self._watch.evaluated(steps, found)

    def _write_best(self) -> None:
        target = self._folder / "policy"
        target.mkdir(exist_ok=True)
        assert self._best is not None
        write_policy(target, self._best)

    def _save(self, steps: int) -> None:
        self._table.save()
        own, arrays = self._learner.save()
        state: dict[str, object] = {
            "learner": own,
            "seconds": self.seconds,
            "last": self.last_evaluation,
            "best": None,
        }
        if self._best is not None:
            state["best"] = {
                "return": self.best_return,
                "steps": self.best_steps,
                "policy": self._best.to_document(),
            }
            arrays |= {f"{_BEST}{name}": array for name, array in self._best.tensors().items()}
        write_checkpoint(self._folder / "checkpoints", Checkpoint(steps, state, arrays))
        self._saved = steps


_BEST = "best/"


def _without_prefix(arrays: Mapping[str, object], prefix: str) -> JsonObject:
    return {n.removeprefix(prefix): array for n, array in arrays.items() if n.startswith(prefix)}
