"""Everything that decides the result of a training run, checked and JSON-able."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from oncogym.agents.policy_files import ACTIVATIONS
from oncogym.core.checks import check_choice, check_option, whole_number
from oncogym.core.documents import Document, shown
from oncogym.core.errors import nearest
from oncogym.core.files import CorruptFileError, to_plain
from oncogym.envs.options import resolve_options
from oncogym.envs.registry import find_variant

SCHEDULES = ("constant", "linear")
#: Where the values that nobody sets come from: tuned for the environment, or SB3's own defaults.
BASES = ("tuned", "sb3")

#: A run of fewer updates is made of smaller ones where the user leaves the choice, or warns.
FEW_UPDATES = 20
#: So many updates such a run gets.
UPDATES = 50
# Below these, an update learns little from what it collects.
_LEAST_LANES, _LEAST_BATCH = 8, 64

_MOST_STEPS, _MOST_LANES, _MOST_SEED = 10**15, 10**7, 2**32 - 1


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters of PPO; names follow Stable-Baselines3 where it has the same thing.

    Args:
        n_steps: Decisions of each lane between two updates.
        batch_size: Decisions in a minibatch.
        n_epochs: Passes over the collected decisions in an update.
        learning_rate: Adam's step size at the start.
        learning_rate_schedule: ``"constant"``, or ``"linear"`` down to 0 at the last step.
        gamma: Discount factor. Reported returns are never discounted.
        gae_lambda: Trade-off of bias and variance in the advantage.
        clip_range: Largest relative change of an action's probability in an update.
        ent_coef: Weight of the entropy bonus.
        vf_coef: Weight of the value loss.
        max_grad_norm: Bound of the gradient's norm.
        target_kl: Stop an update when the policy has moved this far; 0 for never.
        log_std_init: Logarithm of the first standard deviation of the action.
        layers: Units of the hidden layers, the same for policy and value.
        activation: ``"tanh"`` or ``"relu"``.
        rescale_actions: Train on actions in [-1, 1], so that the first policy gives half the
            maximum; without it actions lie in [0, 1] and it gives almost nothing.
        normalize_observation: Standardise observations by their running mean and variance.
        normalize_reward: Divide rewards by the running standard deviation of the return.
        evaluations: How often a run is evaluated, evenly spread.
        evaluation_patients: Patients in each evaluation (fewer if the cohort has fewer).
    """

    n_steps: int
    batch_size: int
    n_epochs: int
    learning_rate: float
    learning_rate_schedule: str
    gamma: float
    gae_lambda: float
    clip_range: float
    ent_coef: float
    vf_coef: float
    max_grad_norm: float
    target_kl: float
    log_std_init: float
    layers: tuple[int, ...]
    activation: str
    rescale_actions: bool
    normalize_observation: bool
    normalize_reward: bool
    evaluations: int
    evaluation_patients: int

    def __post_init__(self) -> None:
        for name, low, high in (
            ("n_steps", 1, 10**6),
            ("batch_size", 2, 10**9),
            ("n_epochs", 1, 1000),
            ("evaluations", 1, 10**6),
            ("evaluation_patients", 1, 10**6),
        ):
            self._set(name, whole_number(name, getattr(self, name), low, high))
        for name, least, most in (
            ("learning_rate", 0.0, 1.0),
            ("gamma", 0.0, 1.0),
            ("gae_lambda", 0.0, 1.0),
            ("clip_range", 1e-6, 100.0),
            ("ent_coef", 0.0, 100.0),
            ("vf_coef", 0.0, 100.0),
            ("max_grad_norm", 1e-6, 1e6),
            ("target_kl", 0.0, 100.0),
            ("log_std_init", -20.0, 5.0),
        ):
            self._set(name, check_option(name, getattr(self, name), least, most))
        for name in ("rescale_actions", "normalize_observation", "normalize_reward"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed: true or false")
        check_choice("learning_rate_schedule", self.learning_rate_schedule, SCHEDULES)
        check_choice("activation", self.activation, ACTIVATIONS)
        if not isinstance(self.layers, (list, tuple)) or not self.layers:
            raise ValueError(f"layers is {self.layers!r}; allowed: a list of units, as in [64, 64]")
        self._set("layers", tuple(whole_number("layers", units, 1, 10**5) for units in self.layers))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


@dataclass(frozen=True)
class RunSettings:
    """Settings of one training run.

    Args:
        env_id: Environment.
        steps: Decisions to train for, all lanes together; whole updates are done, so a run ends at
            the first multiple of ``lanes * n_steps`` that is not below it.
        seed: Seed of the networks, the minibatches and the lanes.
        lanes: Treatments in parallel.
        checkpoint_every: Decisions between two checkpoints.
        options: Options of the environment on top of those of its id.
        hyperparameters: See :class:`Hyperparameters`.
    """

    env_id: str
    steps: int
    seed: int
    lanes: int
    checkpoint_every: int
    options: Mapping[str, Any]
    hyperparameters: Hyperparameters

    @property
    def steps_per_update(self) -> int:
        """Decisions collected between two updates."""
        return self.lanes * self.hyperparameters.n_steps

    @property
    def updates(self) -> int:
        """Number of updates in the whole run."""
        return -(-self.steps // self.steps_per_update)

    @property
    def amount(self) -> str:
        """How much the run does, in words."""
        return (
            f"{self.updates} update{'s' * (self.updates != 1)} of {self.steps_per_update} "
            f"decisions ({self.lanes} lanes, {self.hyperparameters.n_steps} decisions each)"
        )

    @property
    def warning(self) -> str:
        """What is wrong with a run that is too short to learn much; empty where nothing is."""
        if self.updates >= FEW_UPDATES:
            return ""
        return (
            f"{self.steps} steps make only {self.amount}; a policy hardly changes in fewer than "
            f"{FEW_UPDATES}: train for more steps, or with fewer lanes or a smaller n_steps"
        )

    def to_json(self) -> dict[str, Any]:
        """The settings as plain data."""
        return to_plain(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, document: Document) -> RunSettings:
        """Settings from :meth:`to_json`.

        Raises:
            CorruptFileError: Something is missing, unknown or of the wrong kind.
        """
        inner = document.inside("hyperparameters")
        for found, known in ((document, cls), (inner, Hyperparameters)):
            names = {field.name for field in dataclasses.fields(known)}
            for name in names - set(found):
                raise found.error(name, "a value of a run")
            for name in set(found) - names:
                raise CorruptFileError(f"{found.place}: {shown(name)} is no setting of a run")
        try:
            hyperparameters = Hyperparameters(**inner.values)
            find_variant(document.text("env_id"))
        except CorruptFileError:
            raise
        except (OverflowError, TypeError, ValueError) as error:
            raise CorruptFileError(f"{document.place}: {error}") from error
        return cls(
            env_id=document.text("env_id"),
            steps=document.whole("steps", 1, _MOST_STEPS),
            seed=document.whole("seed", 0, _MOST_SEED),
            lanes=document.whole("lanes", 1, _MOST_LANES),
            checkpoint_every=document.whole("checkpoint_every", 1, _MOST_STEPS),
            options=document.mapping("options"),
            hyperparameters=hyperparameters,
        )


def make_settings(
    env_id: str,
    *,
    steps: int | None = None,
    seed: int | None = None,
    lanes: int | None = None,
    checkpoint_every: int | None = None,
    options: Mapping[str, Any] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    base: str = "tuned",
) -> RunSettings:
    """Settings of a new run: ``ppo.yml`` with the given values on top.

    ``base`` is ``"tuned"`` (the environment's entry) or ``"sb3"`` (Stable-Baselines3's defaults).

    Tuned values are meant for runs of the tuned length. Where ``steps`` would make fewer than
    :data:`FEW_UPDATES` of them, those of ``lanes``, ``n_steps`` and ``batch_size`` that are not
    given are made smaller, so that the run has :data:`UPDATES`; longer runs are what they were.

    Raises:
        UnknownNameError: An environment, option, hyper-parameter or base does not exist.
        ValueError: A value is out of range.
    """
    treatment, variant = find_variant(env_id)
    task_options, environment_options = resolve_options(treatment, variant, options)
    treatment.task(1, **task_options)  # a bad value is refused before anything is written
    treatment.cohort(environment_options.get("cohort", "nominal"))
    if environment_options.get("patient") is not None:
        treatment.patient_rows(environment_options["patient"], 1)
    values = read_hyperparameters(variant.id, base)
    known = {field.name for field in dataclasses.fields(Hyperparameters)}
    for name, value in (hyperparameters or {}).items():
        if name not in known:
            raise nearest("hyper-parameter", name, known)
        values[name] = value
    tuned_steps, tuned_lanes = values.pop("steps"), values.pop("lanes")
    total = whole_number("steps", tuned_steps if steps is None else steps, 1, _MOST_STEPS)
    every = -(-total // 10) if checkpoint_every is None else checkpoint_every
    chosen = Hyperparameters(**values)
    number = whole_number("lanes", tuned_lanes if lanes is None else lanes, 1, _MOST_LANES)
    if base == "tuned":
        given = {*(hyperparameters or {}), *(() if lanes is None else ("lanes",))}
        number, chosen = _suited(total, number, chosen, given)
    return RunSettings(
        env_id=variant.id,
        steps=total,
        seed=whole_number("seed", 0 if seed is None else seed, 0, _MOST_SEED),
        lanes=number,
        checkpoint_every=whole_number("checkpoint_every", every, 1, _MOST_STEPS),
        options=to_plain(dict(options or {})),
        hyperparameters=chosen,
    )


def _suited(
    steps: int, lanes: int, chosen: Hyperparameters, given: set[str]
) -> tuple[int, Hyperparameters]:
    """``lanes`` and hyper-parameters for a run of ``steps``; what is ``given`` stays."""
    before = lanes * chosen.n_steps
    if -(-steps // before) >= FEW_UPDATES:
        return lanes, chosen
    room = max(steps // UPDATES, 2)
    n_steps, batch_size = chosen.n_steps, chosen.batch_size
    if "lanes" not in given:
        lanes = min(lanes, max(room // n_steps, min(_LEAST_LANES, room)))
    if "n_steps" not in given:
        n_steps = min(n_steps, max(room // lanes, 1))
    if "batch_size" not in given:
        # As many minibatches as before, but none too small to say where to go.
        collected = lanes * n_steps
        parts = max(1, min(before // batch_size, collected // _LEAST_BATCH))
        while collected % parts:
            parts -= 1
        batch_size = min(batch_size, max(collected // parts, 2))
    return lanes, dataclasses.replace(chosen, n_steps=n_steps, batch_size=batch_size)


def read_hyperparameters(env_id: str, base: str = "tuned") -> dict[str, Any]:
    """The ``default`` entry of ``ppo.yml``, then the id's own or that of another ``base``."""
    import yaml

    text = (files("oncogym.training.hyperparams") / "ppo.yml").read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    entry = env_id if check_choice("base", base, BASES) == "tuned" else base
    return {**table["default"], **table.get(entry, {})}


def differences(saved: RunSettings, asked: Mapping[str, Any]) -> list[str]:
    """What ``asked`` (names as in :func:`make_settings`, ``None`` = not said) would change."""
    before = saved.to_json()
    found: list[str] = []
    for name, value in to_plain(dict(asked)).items():
        if value is None:
            continue
        if name == "env_id":
            value = find_variant(value)[1].id
        pairs = [(name, before[name], value)]
        if isinstance(value, Mapping):
            if name == "hyperparameters":
                for key in value:
                    if key not in before[name]:
                        raise nearest("hyper-parameter", key, before[name])
            pairs = [(f"{name}: {key}", before[name].get(key), value[key]) for key in value]
        found += [f"{what} was {old!r}, now {new!r}" for what, old, new in pairs if old != new]
    return found
