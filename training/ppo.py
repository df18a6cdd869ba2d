"""Proximal policy optimisation (Stable-Baselines3) over native lanes, in runs that can be resumed.

A run folder holds ``config.json`` (settings, versions, command), ``progress.csv``,
``tensorboard/``, ``checkpoints/`` (the last three), ``policy/`` (the best policy on the validation
patients) and, at the end, ``result.json``.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecNormalize

from oncogym.agents.learned import PolicyAgent
from oncogym.core.checkpoint import Checkpoint, newest_checkpoint
from oncogym.core.documents import Document
from oncogym.core.files import (
    CorruptFileError,
    StrPath,
    require_writable_folder,
    to_plain,
    write_json_atomic,
)
from oncogym.core.manifest import manifest
from oncogym.core.run_lock import hold
from oncogym.envs.options import resolve_options
from oncogym.envs.registry import find_variant
from oncogym.envs.vector_env import TherapyVectorEnv
from oncogym.training.callbacks import (
    Best,
    EpisodeScalars,
    Milestones,
    ProgressBar,
    seconds_and_scores,
)
from oncogym.training.run_folder import RunFolderError
from oncogym.training.run_log import ProgressTable, TensorBoard
from oncogym.training.settings import RunSettings, differences, make_settings
from oncogym.training.state import restore_model
from oncogym.wrappers.sb3 import SB3VecEnv

# A second thread hardly pays for networks and minibatches of this size, and would change the last
# digits: a run must not depend on the number of cores, nor on the executor that gives it some.
_TORCH_THREADS = 1

_LONGEST_CONFIGURATION = 1 << 24


class SettingsMismatchError(ValueError):
    """A run was asked to go on with other settings than those it began with."""


@dataclass(frozen=True)
class TrainResult:
    """What a training run left behind.

    Attributes:
        folder: Run folder.
        env_id: Environment.
        seed: Seed of the run.
        steps: Decisions in total, all lanes together.
        seconds: Wall time in total, including processes that were killed up to their last
            checkpoint.
        frames_per_second: Decisions per second in this process, updates and evaluations included.
        best_return: Mean return of the best policy on the validation patients.
        best_steps: Step at which it was found.
        last_evaluation: Means of the last policy over the validation patients.
        resumed_from: Step of the checkpoint from which this process went on, or ``None``.
        damaged: One message for each damaged checkpoint that was passed over.
    """

    folder: Path
    env_id: str
    seed: int
    steps: int
    seconds: float
    frames_per_second: float
    best_return: float
    best_steps: int
    last_evaluation: Mapping[str, float]
    resumed_from: int | None
    damaged: tuple[str, ...]

    @property
    def policy(self) -> Path:
        """Folder of the best policy."""
        return self.folder / "policy"

    def agent(self, label: str = "PPO") -> PolicyAgent:
        """The best policy as an agent."""
        return PolicyAgent.load(self.policy, label=label)


def train_ppo(
    env_id: str,
    *,
    out: StrPath,
    steps: int | None = None,
    seed: int | None = None,
    lanes: int | None = None,
    checkpoint_every: int | None = None,
    options: Mapping[str, Any] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    base: str = "tuned",
    progress: bool = False,
) -> TrainResult:
    """Train a policy and keep the best.

    Args:
        env_id: Environment.
        out: Run folder; created if missing.
        steps: Decisions, all lanes together; ``None`` takes the value of ``ppo.yml``.
        seed: Seed of networks, minibatches and lanes, 0 by default.
        lanes: Treatments in parallel; ``None`` takes the value of ``ppo.yml``.
        checkpoint_every: Decisions between checkpoints, by default a tenth of the run.
        options: Options of the environment, on top of those of its id.
        hyperparameters: Values that replace those of ``ppo.yml``, see
            :class:`oncogym.training.settings.Hyperparameters`. A run much shorter than the tuned
            one gets smaller updates, see :func:`oncogym.training.settings.make_settings`; it warns
            when there are few all the same.
        base: ``"tuned"``, or ``"sb3"`` for Stable-Baselines3's own defaults instead.
        progress: Show a bar on standard error.

    Raises:
        UnknownNameError: An environment, option or hyper-parameter does not exist.
        ValueError: A value is out of range.
        OutputFolderError: ``out`` cannot be written to.
        RunFolderError: ``out`` holds a run already.
        RunLockedError: Another process works in ``out``.
    """
    settings = make_settings(
        env_id,
        steps=steps,
        seed=seed,
        lanes=lanes,
        checkpoint_every=checkpoint_every,
        options=options,
        hyperparameters=hyperparameters,
        base=base,
    )
    folder = require_writable_folder(out)
    config = folder / "config.json"
    with hold(folder):
        if config.exists():
            raise RunFolderError(
                f"{folder} holds a run already; resume it or choose another folder"
            )
        write_json_atomic(
            config, manifest("train", seeds=settings.seed, settings=settings.to_json())
        )
        if settings.warning:
            warnings.warn(settings.warning, RuntimeWarning, stacklevel=2)
        return _run(settings, folder, None, (), progress)


def resume_ppo(out: StrPath, *, progress: bool = False, **asked: Any) -> TrainResult:
    """Go on with a run from its newest checkpoint that can be read.

    Networks, optimiser, normalisation, random numbers and counts go on where they were; lanes start
    new treatments. The run ends at the step at which it would have ended undisturbed. A damaged
    checkpoint is passed over with a warning that names it.

    Args:
        out: Run folder.
        progress: Show a bar on standard error.
        **asked: Arguments of :func:`train_ppo`; those that are not ``None`` must agree with the
            run.

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
        return _resume(folder, progress, asked)


def _resume(folder: Path, progress: bool, asked: Mapping[str, Any]) -> TrainResult:
    config = folder / "config.json"
    document = Document.read(config, _LONGEST_CONFIGURATION)
    settings = RunSettings.from_json(document.inside("settings"))
    earlier = document.values.get("resumed", [])
    if not isinstance(earlier, list):
        raise document.error("resumed", "a list of the earlier times")
    changed = differences(settings, asked)
    if changed:
        raise SettingsMismatchError(f"{folder} cannot go on with other settings: {changed}")
    require_writable_folder(folder)
    checkpoint, damaged = newest_checkpoint(folder / "checkpoints")
    for message in damaged:
        warnings.warn(f"damaged checkpoint passed over: {message}", RuntimeWarning, stacklevel=2)
    record = manifest("train --resume")
    record["from_step"] = checkpoint.steps if checkpoint else 0
    write_json_atomic(config, {**document.values, "resumed": [*earlier, record]})
    return _run(settings, folder, checkpoint, tuple(damaged), progress)


def _run(
    settings: RunSettings,
    folder: Path,
    checkpoint: Checkpoint | None,
    damaged: tuple[str, ...],
    progress: bool,
) -> TrainResult:
    start = checkpoint.steps if checkpoint else 0
    state = dict(checkpoint.state) if checkpoint else {}
    for name in ("checkpoints", "tensorboard"):
        (folder / name).mkdir(exist_ok=True)
    table = ProgressTable(folder / "progress.csv", start)
    best = Best()
    earlier: tuple[float, dict[str, float]] = (0.0, {})
    with _own_random_state():
        lanes = _lanes(settings)
        model = _model(settings, lanes)
        seed_lanes(lanes, settings, start)
        if checkpoint is not None:
            try:
                restore_model(model, start, state, dict(checkpoint.arrays))
                best = Best.from_checkpoint(checkpoint)
                earlier = seconds_and_scores(state)
            except (
                AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError,
                ValueError,
            ) as error:  # fmt: skip
                raise CorruptFileError(
                    f"checkpoint of step {start} in {folder} does not fit its run: {error}"
                ) from error
        milestones = Milestones(settings, folder, table, best, earlier[0])
        milestones.last = earlier[1]
        if best.arrays:
            milestones.write_best()
        total = settings.updates * settings.steps_per_update
        callbacks: list[BaseCallback] = [EpisodeScalars(), milestones]
        if progress and sys.stderr is not None:  # there is none where it was closed
            print(f"{settings.env_id}: {settings.amount}", file=sys.stderr)
            callbacks.append(ProgressBar(total, milestones))
        logger = Logger(None, [table, TensorBoard(folder / "tensorboard", start)])
        model.set_logger(logger)
        clock = time.perf_counter()
        try:
            if start < total:
                model.learn(total - start, CallbackList(callbacks), reset_num_timesteps=False)
        finally:
            logger.close()
            lanes.close()
        seconds = time.perf_counter() - clock
    result = TrainResult(
        folder=folder,
        env_id=settings.env_id,
        seed=settings.seed,
        steps=model.num_timesteps,
        seconds=milestones.seconds,
        frames_per_second=(model.num_timesteps - start) / max(seconds, 1e-9),
        best_return=best.score,
        best_steps=best.steps,
        last_evaluation=milestones.last,
        resumed_from=start if checkpoint else None,
        damaged=damaged,
    )
    write_json_atomic(folder / "result.json", to_plain(result))
    return result


def _lanes(settings: RunSettings) -> VecNormalize:
    treatment, variant = find_variant(settings.env_id)
    task_options, environment = resolve_options(treatment, variant, settings.options)
    chosen = settings.hyperparameters
    env = TherapyVectorEnv(treatment, settings.lanes, **environment, **task_options)
    return VecNormalize(
        SB3VecEnv(env, rescale_actions=chosen.rescale_actions),
        norm_obs=chosen.normalize_observation,
        norm_reward=chosen.normalize_reward,
        gamma=chosen.gamma,
        clip_obs=10.0,
    )


def seed_lanes(lanes: VecNormalize, settings: RunSettings, steps: int) -> None:
    """Give the lanes the random keys of a run that begins or goes on after ``steps`` decisions.

    SB3 seeds lane i with seed + i, by which runs with neighbouring seeds would share most patients,
    and a resumed run would meet its first patients again.
    """
    mixed = np.random.SeedSequence([settings.seed, steps]).generate_state(1, np.uint64)
    lanes.seed(int(mixed[0] >> np.uint64(2)))


def _model(settings: RunSettings, lanes: VecNormalize) -> PPO:
    chosen = settings.hyperparameters
    rate = chosen.learning_rate
    linear = chosen.learning_rate_schedule == "linear"
    activations = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
    return PPO(
        "MlpPolicy",
        lanes,
        n_steps=chosen.n_steps,
        batch_size=min(chosen.batch_size, settings.steps_per_update),
        n_epochs=chosen.n_epochs,
        learning_rate=(lambda remaining: rate * remaining) if linear else rate,
        gamma=chosen.gamma,
        gae_lambda=chosen.gae_lambda,
        clip_range=chosen.clip_range,
        ent_coef=chosen.ent_coef,
        vf_coef=chosen.vf_coef,
        max_grad_norm=chosen.max_grad_norm,
        target_kl=chosen.target_kl or None,
        policy_kwargs={
            "net_arch": list(chosen.layers),
            "activation_fn": activations[chosen.activation],
            "log_std_init": chosen.log_std_init,
        },
        seed=settings.seed,
        device="cpu",
    )


@contextlib.contextmanager
def _own_random_state() -> Iterator[None]:
    """Leave the caller's global generators and torch's thread count as they were."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    threads = torch.get_num_threads()
    torch.set_num_threads(_TORCH_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])
