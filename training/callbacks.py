"""What happens during a run besides learning: scalars, evaluation, checkpoints, progress bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from oncogym.agents.policy_files import write_policy
from oncogym.core.checkpoint import Checkpoint, write_checkpoint
from oncogym.core.documents import Document
from oncogym.training.evaluator import Evaluator
from oncogym.training.run_log import ProgressTable
from oncogym.training.settings import RunSettings
from oncogym.training.state import Arrays, make_policy, policy_arrays, save_model


@dataclass
class Best:
    """The best policy so far: its evaluation, step and tensors."""

    score: float = -np.inf
    steps: int = 0
    arrays: Arrays = field(default_factory=dict)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Best:
        """The best policy when a checkpoint was written.

        Raises:
            CorruptFileError, KeyError, ValueError: It is damaged.
        """
        about = checkpoint.state["best"]
        if about is None:
            return cls()
        document = Document(about, "best")
        prefix = "best/"
        return cls(
            document.number("score"),
            document.whole("steps", 0, checkpoint.steps),
            {
                name.removeprefix(prefix): array
                for name, array in checkpoint.arrays.items()
                if name.startswith(prefix)
            },
        )


def seconds_and_scores(state: Mapping[str, Any]) -> tuple[float, dict[str, float]]:
    """Duration [s] of a run up to a checkpoint and its last evaluation.

    Raises:
        CorruptFileError: The checkpoint is damaged.
    """
    document = Document(dict(state), "state")
    last = document.inside("last")
    return document.number("seconds", 0.0), {name: last.number(name) for name in last}


class EpisodeScalars(BaseCallback):
    """Record means over the episodes that ended since the last update.

    Names: ``episode/return``, ``episode/length``, ``episode/success_rate``, ``reward_terms/*``
    (unweighted sums over an episode), ``costs/*`` and ``outcome/*``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sums: dict[str, float] = {}
        self._episodes = 0

    def _on_step(self) -> bool:
        for lane in np.flatnonzero(self.locals["dones"]):
            info = self.locals["infos"][lane]
            self._episodes += 1
            self._add("episode/return", info["episode"]["r"])
            self._add("episode/length", info["episode"]["l"])
            self._add("episode/success_rate", info["is_success"])
            for group, key in (
                ("reward_terms", "episode_terms"),
                ("costs", "episode_costs"),
                ("outcome", "outcome"),
            ):
                for name, value in info[key].items():
                    self._add(f"{group}/{name}", value)
        return True

    def _add(self, name: str, value: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value

    def _on_rollout_end(self) -> None:
        for name, total in self._sums.items():
            self.logger.record(name, total / self._episodes)
        self._sums.clear()
        self._episodes = 0


class Milestones(BaseCallback):
    """After each update: evaluate and save a checkpoint where they are due.

    Args:
        settings: Settings of the run.
        folder: Run folder; the best policy goes to ``policy``, checkpoints to ``checkpoints``.
        table: Scalars of the run, written to disk before each checkpoint.
        best: The best policy so far, kept up to date.
        seconds: Time that the run took before this process.
    """

    def __init__(
        self,
        settings: RunSettings,
        folder: Path,
        table: ProgressTable,
        best: Best,
        seconds: float = 0.0,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._folder = folder
        self._table = table
        self.best = best
        self.last: dict[str, float] = {}
        self._evaluator = Evaluator(settings)
        self._evaluate_every = -(-settings.updates // settings.hyperparameters.evaluations)
        self._seconds = seconds
        self._clock = time.perf_counter()
        self._seen = 0
        self._saved = 0

    @property
    def seconds(self) -> float:
        """Duration of the run so far, earlier processes included."""
        return self._seconds + time.perf_counter() - self._clock

    def _on_training_start(self) -> None:
        self._seen = self._saved = self.num_timesteps

    def _on_step(self) -> bool:
        return True

    # SB3 has no hook after an update; the next rollout or the end of the training follows it.
    def _on_rollout_start(self) -> None:
        if self.num_timesteps > self._seen:
            self._after_update(last=False)

    def _on_training_end(self) -> None:
        self._after_update(last=True)

    def _after_update(self, last: bool) -> None:
        steps = self._seen = self.num_timesteps
        update = steps // self._settings.steps_per_update
        if last or update % self._evaluate_every == 0:
            self._evaluate(steps)
        self.logger.dump(steps)
        if last or steps - self._saved >= self._settings.checkpoint_every:
            self._save(steps)

    def _evaluate(self, steps: int) -> None:
        model = self.model
        assert isinstance(model, PPO)
        arrays = policy_arrays(model)
        result = self._evaluator(make_policy(self._settings, arrays, {}))
        self.last = self._evaluator.scalars(result)
        for name, value in self.last.items():
            self.logger.record(f"eval/{name}", value)
        if self.last["return"] > self.best.score:
            self.best.score, self.best.steps = self.last["return"], steps
            self.best.arrays = arrays
            self.write_best()

    def write_best(self) -> None:
        """Write the best policy to the run folder."""
        about = {
            "algorithm": "ppo",
            "seed": self._settings.seed,
            "steps": self.best.steps,
            "evaluation_cohort": self._evaluator.cohort,
            "evaluation_return": self.best.score,
        }
        target = self._folder / "policy"
        target.mkdir(exist_ok=True)
        write_policy(target, make_policy(self._settings, self.best.arrays, about))

    def _save(self, steps: int) -> None:
        model = self.model
        assert isinstance(model, PPO)
        self._table.save()
        state, arrays = save_model(model)
        state["seconds"] = self.seconds
        state["last"] = self.last
        state["best"] = None
        if self.best.arrays:
            state["best"] = {"score": self.best.score, "steps": self.best.steps}
            arrays.update({f"best/{name}": array for name, array in self.best.arrays.items()})
        write_checkpoint(self._folder / "checkpoints", Checkpoint(steps, state, arrays))
        self._saved = steps


class ProgressBar(BaseCallback):
    """A bar on standard error with the latest returns.

    Args:
        total: Decisions of the whole run.
        milestones: Where the best score stands.
    """

    def __init__(self, total: int, milestones: Milestones) -> None:
        super().__init__()
        self._total = total
        self._milestones = milestones
        self._bar: Any = None

    def _on_training_start(self) -> None:
        self._bar = tqdm(
            total=self._total,
            initial=self.num_timesteps,
            unit=" steps",
            unit_scale=True,
            file=sys.stderr,
            dynamic_ncols=True,
        )

    def _on_step(self) -> bool:
        self._bar.update(self.training_env.num_envs)
        return True

    def _on_rollout_end(self) -> None:
        shown = {}
        if "episode/return" in self.logger.name_to_value:
            shown["return"] = f"{self.logger.name_to_value['episode/return']:.3f}"
        if self._milestones.best.arrays:
            shown["best evaluation"] = f"{self._milestones.best.score:.3f}"
        self._bar.set_postfix(shown, refresh=False)

    def _on_training_end(self) -> None:
        self._bar.close()
