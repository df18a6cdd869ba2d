"""Where the time of a training run goes: in the lanes, in the policy, in the updates.

``python -m oncogym.evaluation.training_throughput --env ENV --out DIR`` trains on native lanes as
``oncogym train`` does, without its evaluations and checkpoints, and reads a clock around the calls
that it wants to know of; no profiler slows the rest down. A first update, in which kernels are
compiled, is not counted. The table DIR/training_throughput.csv has a row for each run: decisions a
second, and the shares of the time in the lanes (the environment's step), in the adapter (what
Stable-Baselines3 is handed of it: infos, standardised observations), in the policy (choosing
actions), in the updates of the networks, and in the rest. It is a measurement of this machine:
nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from oncogym.core.checks import whole_number
from oncogym.core.files import write_csv_atomic
from oncogym.core.json_types import JsonObject
from oncogym.core.manifest import manifest
from oncogym.evaluation.study_folder import (
    Part,
    add_folder_argument,
    add_seed_arguments,
    bare_name,
    open_study,
    require_training,
    seeds_of,
)
from oncogym.evaluation.training_part import add_training_arguments
from oncogym.training.algorithms import DEFAULT, algorithm_names
from oncogym.training.settings import make_settings

if TYPE_CHECKING:
    from oncogym.training.sb3_learner import SB3Learner

TABLE = "training_throughput.csv"
#: What is told apart, in the order of the table.
PLACES = ("lanes", "adapter", "policy", "updates", "rest")
_JOB = "training-throughput"


@dataclass
class Clock:
    """Seconds spent in calls, by name; what is called within one counts for the inner one only.

    Attributes:
        seconds: Time in each [s].
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=list)

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed under ``name``."""

        def timed(*args: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            started = time.perf_counter()
            try:
                return function(*args, **named)
            finally:
                spent = time.perf_counter() - started
                own = spent - self._inner.pop()
                self.seconds[name] = self.seconds.get(name, 0.0) + own
                if self._inner:
                    self._inner[-1] += spent

        return timed

    def watch(self, name: str, owner: object, method: str) -> None:
        """Time a method of one object from now on.

        Args:
            name: What its seconds count for.
            owner: The object.
            method: Name of the method.
        """
        setattr(owner, method, self.around(name, getattr(owner, method)))


class _Nobody:
    """A watcher that neither evaluates nor saves."""

    def advanced(self, decisions: int) -> None:
        """Nothing."""

    def record(self, steps: int, scalars: Mapping[str, float]) -> None:
        """Nothing."""

    def pause(self, last: bool = False) -> None:
        """Nothing."""


def watch_learner(learner: SB3Learner, clock: Clock) -> None:
    """Time what a learner of Stable-Baselines3 does: :data:`PLACES` but the rest.

    Args:
        learner: The learner.
        clock: Where the seconds go.

    Raises:
        ValueError: It does not collect whole rollouts before each update.
    """
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

    model: Any = getattr(learner, "model", None)
    if not isinstance(model, OnPolicyAlgorithm):
        raise ValueError(
            f"the learner is {type(model or learner).__name__}; allowed: those of "
            "Stable-Baselines3 that update after whole rollouts"
        )
    lanes: Any = model.env
    clock.watch("adapter", lanes, "step")
    clock.watch("lanes", lanes.venv.env.unwrapped, "step")
    clock.watch("policy", model.policy, "forward")
    clock.watch("policy", model.policy, "predict_values")
    clock.watch("updates", model, "train")


def time_training(
    *,
    env: str,
    algorithm: str,
    lanes: int | None,
    steps: int,
    seed: int,
    progress: bool = False,
) -> JsonObject:
    """Train for a while, and say where the time went.

    Args:
        env: Registered id.
        algorithm: Name of the learning algorithm.
        lanes: Treatments in parallel, ``None`` for the tuned number.
        steps: Decisions that are timed at least; whole updates are.
        seed: Seed of the run.
        progress: There is nothing to show.

    Returns:
        ``decisions`` that were timed, ``timed`` [s] in total, ``places`` [s] by :data:`PLACES`,
        ``lanes_used``, ``updates_timed``, and the ``cpus`` that the process may use.

    Raises:
        ValueError: The algorithm does not collect whole rollouts, see :func:`watch_learner`.
    """
    from oncogym.training.random_state import own_random_state

    settings = make_settings(env, algorithm, lanes=lanes, steps=steps, seed=seed)
    size = settings.steps_per_update
    updates = -(-steps // size)
    with own_random_state():
        learner: Any = settings.method.build(
            settings.problem,
            settings.hyperparameters,
            lanes=settings.lanes,
            seed=seed,
            steps=(updates + 1) * size,
            start=0,
            **({"wrappers": settings.wrappers} if settings.wrappers else {}),
        )
        with contextlib.closing(learner):
            clock = Clock()
            watch_learner(learner, clock)
            learner.learn(size, _Nobody())
            clock.seconds.clear()
            started = time.perf_counter()
            learner.learn((updates + 1) * size, _Nobody())
            total = time.perf_counter() - started
    known = {name: clock.seconds.get(name, 0.0) for name in PLACES[:-1]}
    return {
        "decisions": updates * size,
        "timed": total,
        "places": {**known, "rest": total - sum(known.values())},
        "lanes_used": settings.lanes,
        "updates_timed": updates,
        "cpus": manifest(_JOB)["cpu_count"],
    }


def plan_parts(
    env: str,
    seeds: Sequence[int],
    *,
    algorithm: str = DEFAULT,
    lanes: int | None = None,
    steps: int = 500_000,
) -> list[Part]:
    """The runs that are timed.

    Args:
        env: Registered id.
        seeds: Seeds of the runs.
        algorithm: Name of the learning algorithm.
        lanes: Treatments in parallel, ``None`` for the tuned number.
        steps: Decisions that are timed in a run.

    Raises:
        UnknownNameError: There is no such environment or algorithm.
        ValueError: A number is out of range.
    """
    whole_number("steps", steps, 1, 10**9)
    settings = make_settings(env, algorithm, lanes=lanes, steps=steps)
    run = {"env": settings.env_id, "algorithm": algorithm, "lanes": lanes, "steps": steps}
    name = f"{bare_name(settings.env_id)}-{algorithm}"
    return [Part(f"{name}-{seed}", time_training, {**run, "seed": seed}) for seed in seeds]


def tabulate(results: Sequence[JsonObject]) -> pd.DataFrame:
    """One row a run.

    Args:
        results: Those of the runs.

    Returns:
        ``env``, ``algorithm``, ``lanes``, ``cpus``, ``seed``, ``updates`` and ``decisions`` that
        were timed, ``seconds``, ``decisions_per_second``, ``share_*`` of the time by
        :data:`PLACES`, ``version``, ``torch``.
    """
    return pd.DataFrame(
        {
            "env": one["env"],
            "algorithm": one["algorithm"],
            "lanes": one["lanes_used"],
            "cpus": one["cpus"],
            "seed": one["seed"],
            "updates": one["updates_timed"],
            "decisions": one["decisions"],
            "seconds": one["timed"],
            "decisions_per_second": one["decisions"] / one["timed"],
            **{f"share_{name}": one["places"][name] / one["timed"] for name in PLACES},
            "version": one["versions"]["oncogym"],
            "torch": one["versions"]["torch"],
        }
        for one in results
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--env", required=True, metavar="ENV", help="id")
    parser.add_argument("--algo", choices=algorithm_names(), default=DEFAULT, help="who learns")
    add_training_arguments(parser, steps=500_000)
    add_seed_arguments(parser, seeds=3)
    add_folder_argument(parser)
    args = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        try:
            require_training()
            parts = plan_parts(
                args.env, seeds_of(args), algorithm=args.algo, lanes=args.lanes, steps=args.steps
            )
            study = stack.enter_context(open_study(args.out, _JOB, parts, [TABLE]))
            table = tabulate(study.finish())
        except (ValueError, OSError, ModuleNotFoundError) as error:
            parser.error(str(error))
        study.output.write(TABLE, lambda path: write_csv_atomic(path, table.round(6)))
    sys.stdout.write(table.to_string(index=False, float_format="{:.4g}".format) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
