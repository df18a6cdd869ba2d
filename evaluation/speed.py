"""How fast environments and models run: timing helpers, generic jobs, registry of models."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oncogym.core.errors import UnknownNameError, nearest
from oncogym.core.json_types import JsonObject
from oncogym.envs.registry import find_variant
from oncogym.evaluation import reproduce

#: Numbers of lanes at which vector environments are timed.
LANES = (1, 64, 1024, 4096)
# A measurement is split into so many repeats.
_REPEATS = 7
# Batches of random actions drawn beforehand, so that drawing them is not timed.
_BATCHES = 16


@dataclass(frozen=True)
class Measurement:
    """One timed quantity.

    Attributes:
        what: What was timed.
        figure: Median over the repeats.
        low: Smallest repeat.
        high: Largest repeat.
        unit: Unit of the three.
        target: The figure aimed at, or ``None``.
        higher_is_better: Which direction is better.
        note: How it was timed.
    """

    what: str
    figure: float
    low: float
    high: float
    unit: str
    target: float | None = None
    higher_is_better: bool = True
    note: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; ``None`` without one."""
        if self.target is None:
            return None
        met = self.figure >= self.target if self.higher_is_better else self.figure <= self.target
        return bool(met)

    def to_json(self) -> JsonObject:
        """The measurement and its verdict as plain data."""
        return {**asdict(self), "ok": self.ok}


def summarise(
    what: str,
    repeats: Sequence[float],
    unit: str,
    target: float | None = None,
    *,
    higher_is_better: bool = True,
    note: str = "",
) -> Measurement:
    """A measurement from its repeats: median, smallest and largest.

    Args:
        what: What was measured.
        repeats: The measured numbers, at least one.
        unit: Their unit.
        target: What is aimed at, if anything.
        higher_is_better: Direction of the number.
        note: What a reader has to know.

    Raises:
        ValueError: There is no repeat.
    """
    if not len(repeats):
        raise ValueError(f"{what}: nothing was timed")
    values = np.asarray(repeats, np.float64)
    return Measurement(
        what,
        float(np.median(values)),
        float(values.min()),
        float(values.max()),
        unit,
        target,
        higher_is_better,
        note,
    )


@dataclass(frozen=True)
class Job:
    """A piece of work of the speed command: its name and what it measures."""

    what: str
    run: Callable[[], list[Measurement]]


@dataclass(frozen=True)
class Settings:
    """What the user chose.

    Attributes:
        seed: Seed of random plans, actions and lanes.
        seconds: Time for each measurement [s], warm-up not included.
        train: Time training as well.
        device: ``"cpu"`` or ``"cuda"``.
    """

    seed: int = 0
    seconds: float = 2.0
    train: bool = False
    device: str = "cpu"


_MODELS: dict[str, Callable[[Settings], list[Job]]] = {}
# Models that are timed on a GPU, too.
_ON_GPU: set[str] = set()


def register(name: str, jobs: Callable[[Settings], list[Job]], *, gpu: bool = False) -> None:
    """Offer the jobs of a model to ``oncogym speed``; ``gpu`` says that it knows the device cuda.

    Args:
        name: Name of the model.
        jobs: Gives the jobs for settings.
        gpu: Whether there are jobs of the device cuda.

    Raises:
        ValueError: Another model has the name.
    """
    if _MODELS.get(name, jobs) is not jobs:
        raise ValueError(f"speed jobs called {name!r} are already registered")
    _MODELS[name] = jobs
    if gpu:
        _ON_GPU.add(name)


def models() -> dict[str, Callable[[Settings], list[Job]]]:
    """The jobs of all models by name."""
    reproduce.load()
    return dict(sorted(_MODELS.items()))


def find_jobs(name: str, settings: Settings) -> list[Job]:
    """The jobs of a model by its name, or the generic ones of an environment id.

    Raises:
        UnknownNameError: There is neither; the message suggests the nearest.
        ValueError: It is not timed on the device that was chosen.
    """
    known = models()
    if settings.device != "cpu" and name not in _ON_GPU:
        raise ValueError(
            f"{name} is not timed on the device {settings.device}; allowed there: "
            f"{', '.join(sorted(_ON_GPU))}"
        )
    if name in known:
        return known[name](settings)
    try:
        _, variant = find_variant(name)
    except UnknownNameError:
        from oncogym.envs import treatments

        ids = [variant.id for each in treatments().values() for variant in each.variants]
        raise nearest("model or environment", name, [*known, *ids]) from None
    jobs = env_jobs(variant.id, settings)
    return [*jobs, training_job(variant.id, settings)] if settings.train else jobs


def rates(work: Callable[[], int], seconds: float, repeats: int = _REPEATS) -> list[float]:
    """Units of work per second in each of ``repeats`` stretches of ``seconds / repeats``.

    ``work()`` does a little and returns how many units that were; one call warms up.

    Args:
        work: What is timed; returns units of work.
        seconds: Time of all stretches together.
        repeats: Number of stretches.
    """
    work()
    found = []
    for _ in range(repeats):
        done, elapsed = 0, 0.0
        start = time.perf_counter()
        while elapsed < seconds / repeats or not done:
            done += work()
            elapsed = time.perf_counter() - start
        found.append(done / elapsed)
    return found


def env_jobs(
    env_id: str,
    settings: Settings,
    *,
    lanes: Sequence[int] = LANES,
    largest_action: float = 1.0,
    label: str = "",
    targets: Mapping[str, float] | None = None,
) -> list[Job]:
    """Jobs that time an environment with random actions, scalar and vector, resets included.

    Args:
        env_id: Environment id.
        settings: What the user chose.
        lanes: Numbers of lanes of the vector environment.
        largest_action: Actions are uniform between 0 and this part of the action space's maximum.
        label: What to add to the names of the measurements.
        targets: Steps per second to reach, by ``"scalar"`` or the number of lanes as text.
    """
    targets = targets or {}
    suffix = f", {label}" if label else ""

    def scalar() -> list[Measurement]:
        what = f"{env_id}{suffix}: scalar"
        found = _scalar_rates(env_id, settings, largest_action)
        return [summarise(what, found, "env-steps/s", targets.get("scalar"))]

    def vector(count: int) -> Callable[[], list[Measurement]]:
        def run() -> list[Measurement]:
            what = f"{env_id}{suffix}: {count} lane{'s' * (count != 1)}"
            found = _vector_rates(env_id, count, settings, largest_action)
            return [summarise(what, found, "env-steps/s", targets.get(str(count)))]

        return run

    jobs = [Job(f"{env_id}, scalar", scalar)]
    return jobs + [Job(f"{env_id}, {count} lanes", vector(count)) for count in lanes]


def _actions(space: Any, seed: int, largest: float) -> Any:
    rng = np.random.default_rng(seed)
    unit = largest * rng.random((_BATCHES, *space.shape))
    return (space.low + unit * (space.high - space.low)).astype(space.dtype)


def _scalar_rates(env_id: str, settings: Settings, largest: float) -> list[float]:
    import gymnasium

    # The environment checker is a debugging aid that Gymnasium itself lets one switch off.
    env = gymnasium.make(env_id, disable_env_checker=True)
    actions = list(_actions(env.action_space, settings.seed, largest))
    env.reset(seed=settings.seed)

    def work() -> int:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return len(actions)

    found = rates(work, settings.seconds)
    env.close()
    return found


def _vector_rates(env_id: str, lanes: int, settings: Settings, largest: float) -> list[float]:
    import gymnasium

    env = gymnasium.make_vec(env_id, num_envs=lanes)
    batches = list(_actions(env.action_space, settings.seed, largest))
    env.reset(seed=settings.seed)

    def work() -> int:
        for actions in batches:
            env.step(actions)
        return len(batches) * lanes

    found = rates(work, settings.seconds)
    env.close()
    return found


def training_job(
    env_id: str, settings: Settings, *, lanes: int = 1024, target: float | None = None
) -> Job:
    """A job that times PPO on ``lanes`` lanes, updates and evaluations included.

    It trains for about five times ``settings.seconds`` at the target's speed, but at least for two
    updates.

    Args:
        env_id: Id of the environment.
        settings: Settings of the measurement.
        lanes: Number of lanes.
        target: Decisions per second that are aimed at.

    Raises:
        ModuleNotFoundError: When run without the ``train`` extra.
    """

    def run() -> list[Measurement]:
        from oncogym.training.algorithms import DEFAULT
        from oncogym.training.runs import train
        from oncogym.training.settings import make_settings

        update = make_settings(env_id, DEFAULT, lanes=lanes).steps_per_update
        steps = max(2 * update, int(settings.seconds * 5 * (target or 20_000.0)))
        with tempfile.TemporaryDirectory() as folder:
            result = train(
                env_id,
                DEFAULT,
                out=Path(folder) / "run",
                steps=steps,
                lanes=lanes,
                seed=settings.seed,
            )
        note = f"one run of {result.steps} frames, updates, checkpoints and evaluations included"
        what = f"{env_id}: SB3 PPO, {lanes} lanes"
        return [summarise(what, [result.frames_per_second or 0.0], "frames/s", target, note=note)]

    return Job(f"{env_id}, PPO", run)


def table(measurements: Sequence[Measurement]) -> str:
    """The measurements as aligned text; each note stands below its line."""
    rows = [("what", "median", "range", "unit", "target", "")]
    for one in measurements:
        verdict = {True: "met", False: "missed", None: ""}[one.ok]
        target = ""
        if one.target is not None:
            target = f"{'>=' if one.higher_is_better else '<='} {_number(one.target)}"
        spread = f"{_number(one.low)} .. {_number(one.high)}"
        rows.append((one.what, _number(one.figure), spread, one.unit, target, verdict))
    wide = [max(len(row[column]) for row in rows) for column in range(6)]
    left = (True, False, False, True, False, True)
    lines = []
    for number, row in enumerate(rows):
        words = [
            f"{word:<{size}}" if to_left else f"{word:>{size}}"
            for word, size, to_left in zip(row, wide, left, strict=True)
        ]
        lines.append("  ".join(words).rstrip())
        note = measurements[number - 1].note if number else ""
        if note:
            lines.append(f"    {note}")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100.0 else f"{value:.3g}"
