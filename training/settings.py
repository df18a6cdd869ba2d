"""Everything that decides the result of a training run, checked and JSON-able."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from gymnasium.spaces import Box

from oncogym.core.checks import check_choice, whole_number
from oncogym.core.documents import Document, shown
from oncogym.core.errors import nearest
from oncogym.core.files import CorruptFileError, to_plain
from oncogym.core.json_types import JsonObject
from oncogym.envs.problem import Problem
from oncogym.envs.registry import find_variant
from oncogym.envs.vector_env import TherapyVectorEnv
from oncogym.training.algorithms import find_algorithm
from oncogym.training.algorithms.base import Algorithm
from oncogym.wrappers.named import NamedWrapper, read_wrappers, wrap_lanes, wrappers_of
from oncogym.wrappers.safety import require_scalar_reward

#: Where the values that nobody sets come from: tuned for the environment, or SB3's own defaults.
BASES = ("tuned", "sb3")

_MOST_STEPS, _MOST_SEED = 10**15, 2**32 - 1
# Keys of a YAML file that are no entries: the file below this one, and what a search tries.
_LIKE, _SEARCH = "like", "search"
#: A run of fewer updates hardly learns anything.
FEW_UPDATES = 20
# What a short run gets by having fewer lanes, but not fewer than these.
_ENOUGH_UPDATES, _LEAST_LANES = 50, 8
# Values of the YAML files that belong to the run and not to the algorithm: least and most.
_OF_THE_RUN = {
    "steps": (1, _MOST_STEPS),
    "lanes": (1, 10**7),
    "evaluations": (1, 10**6),
    "evaluation_patients": (1, 10**6),
}


@dataclass(frozen=True)
class RunSettings:
    """Settings of one training run.

    Args:
        algorithm: Name of the algorithm.
        problem: What is treated.
        steps: Decisions to train for, all lanes together; whole updates are done, so a run ends at
            the first multiple of the decisions of an update that is not below it.
        seed: Seed of the networks, the minibatches and the lanes.
        lanes: Treatments in parallel.
        checkpoint_every: Decisions between two checkpoints.
        evaluations: How often the run is evaluated, evenly spread.
        evaluation_patients: Patients in each evaluation (fewer if the cohort has fewer).
        hyperparameters: The algorithm's settings.
        wrappers: Wrappers around the lanes, innermost first.
    """

    algorithm: str
    problem: Problem
    steps: int
    seed: int
    lanes: int
    checkpoint_every: int
    evaluations: int
    evaluation_patients: int
    hyperparameters: Any
    wrappers: tuple[NamedWrapper, ...] = ()

    @property
    def method(self) -> Algorithm:
        """The algorithm."""
        return find_algorithm(self.algorithm)

    @property
    def env_id(self) -> str:
        """Id of the environment."""
        return self.problem.env_id

    @property
    def steps_per_update(self) -> int:
        """Decisions between two updates."""
        return self.method.steps_per_update(self.hyperparameters, self.lanes, self.steps)

    @property
    def updates(self) -> int:
        """Number of updates in the whole run."""
        return -(-self.steps // self.steps_per_update)

    @property
    def amount(self) -> str:
        """How much the run does, in words."""
        return (
            f"{self.updates} update{'s' * (self.updates != 1)} of {self.steps_per_update} "
            f"decisions ({self.lanes} lanes, {self.steps_per_update // self.lanes} decisions each)"
        )

    @property
    def warning(self) -> str:
        """What is wrong with a run that is too short to learn much; empty where nothing is."""
        if self.updates >= FEW_UPDATES:
            return ""
        return (
            f"{self.steps} steps make only {self.amount}; a policy hardly changes in fewer than "
            f"{FEW_UPDATES}: train for more steps, or with fewer lanes"
        )

    def to_json(self) -> JsonObject:
        """The settings as plain data."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["problem"] = self.problem.to_json()
        values["hyperparameters"] = dataclasses.asdict(self.hyperparameters)
        values["wrappers"] = [wrapper.to_json() for wrapper in self.wrappers]
        return to_plain(values)

    @classmethod
    def from_json(cls, document: Document) -> RunSettings:
        """Settings from :meth:`to_json`.

        Raises:
            CorruptFileError: Something is missing, unknown or of the wrong kind.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        # Runs of an older oncogym name no wrappers.
        _require_names(Document({"wrappers": [], **document.values}, document.place), names)
        try:
            kind = find_algorithm(document.text("algorithm")).Settings
            inner = document.inside("hyperparameters")
            _require_names(inner, {field.name for field in dataclasses.fields(kind)})
            return cls(
                algorithm=document.text("algorithm"),
                problem=Problem.from_json(document.inside("problem")),
                seed=document.whole("seed", 0, _MOST_SEED),
                checkpoint_every=document.whole("checkpoint_every", 1, _MOST_STEPS),
                hyperparameters=kind(**inner.values),
                wrappers=read_wrappers(document),
                **{name: document.whole(name, *ends) for name, ends in _OF_THE_RUN.items()},
            )
        except CorruptFileError:
            raise
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise CorruptFileError(f"{document.place}: {error!r}") from error


def _completed(problem: Problem, options: Mapping[str, object]) -> JsonObject:
    """Options as a problem keeps them: patients and cohorts of one's own read and completed."""
    found = dict(options)
    whom = {name: found[name] for name in ("cohort", "patient") if found.get(name) is not None}
    if whom:
        asked = Problem.of(problem.treatment, whom, variant=problem.variant)
        found |= {n: v for n, v in asked.environment_options().items() if n in whom}
    return to_plain(found)


def _require_names(document: Document, names: set[str]) -> None:
    for name in names - set(document):
        raise document.error(name, "a value of a run")
    for name in set(document) - names:
        raise CorruptFileError(f"{document.place}: {shown(name)} is no setting of a run")


def make_settings(
    env_id: str | Problem,
    algorithm: str,
    *,
    steps: int | None = None,
    seed: int | None = None,
    lanes: int | None = None,
    checkpoint_every: int | None = None,
    options: Mapping[str, object] | None = None,
    hyperparameters: Mapping[str, object] | None = None,
    base: str = "tuned",
    wrappers: Iterable[object] | None = None,
) -> RunSettings:
    """Settings of a new run: those of the algorithm's YAML file with the given values on top.

    Args:
        env_id: Environment, or the problem itself.
        algorithm: Name of the algorithm.
        steps: Decisions, all lanes together.
        seed: Seed, 0 by default.
        lanes: Treatments in parallel; by default those of the file, and fewer in a run that would
            have less than 20 updates with them.
        checkpoint_every: Decisions between checkpoints, by default a tenth of the run.
        options: Options of the environment, on top of those of its id.
        hyperparameters: Values in place of those of the file.
        base: ``"tuned"`` (the environment's entry) or ``"sb3"`` (Stable-Baselines3's defaults).
        wrappers: Wrappers around the lanes, innermost first, in place of those of the file: names,
            mappings of a name to arguments, or :class:`oncogym.wrappers.named.NamedWrapper`.

    Tuned values are meant for runs of the tuned length. Where ``steps`` would make fewer than
    :data:`FEW_UPDATES` updates of them, there are fewer lanes, unless their number is given; longer
    runs are what they were.

    Raises:
        UnknownNameError: An environment, option, algorithm, hyper-parameter, base or wrapper does
            not exist.
        ValueError: A value is out of range, or a wrapper does not fit.
    """
    if isinstance(env_id, str):
        problem = Problem.resolve(env_id, options)
    else:
        problem = env_id.with_options(options or {})
    method = find_algorithm(algorithm)
    values = read_hyperparameters(method, problem.env_id, base)
    usual = values.pop("wrappers", None)
    around = wrappers_of(usual if wrappers is None else wrappers)
    require_wrappers(problem, method, around)
    names = [field.name for field in dataclasses.fields(method.Settings)]
    asked = {"steps": steps, "lanes": lanes, **(hyperparameters or {})}
    for name, value in asked.items():
        if name not in names and name not in _OF_THE_RUN:
            raise nearest(f"hyper-parameter of {algorithm}", name, (*names, *_OF_THE_RUN))
        if value is not None:
            values[name] = value
    own = {
        name: whole_number(name, values.pop(name), least, most)
        for name, (least, most) in _OF_THE_RUN.items()
    }
    chosen = method.Settings(**values)
    if lanes is None and (hyperparameters or {}).get("lanes") is None:
        own["lanes"] = _fewer_lanes(method, chosen, own["lanes"], own["steps"])
    every = -(-own["steps"] // 10) if checkpoint_every is None else checkpoint_every
    return RunSettings(
        algorithm=algorithm,
        problem=problem,
        seed=whole_number("seed", 0 if seed is None else seed, 0, 2**32 - 1),
        checkpoint_every=whole_number("checkpoint_every", every, 1, 10**15),
        hyperparameters=chosen,
        wrappers=around,
        **own,
    )


def require_wrappers(problem: Problem, method: Algorithm, wrappers: Sequence[NamedWrapper]) -> None:
    """Make sure that an algorithm can train on a problem in wrappers.

    Args:
        problem: The problem.
        method: The algorithm.
        wrappers: The wrappers, innermost first.

    Raises:
        UnknownNameError: There is no such wrapper.
        ValueError: The algorithm takes none, or one does not fit.
    """
    if not wrappers:
        return
    takes = inspect.signature(method.build).parameters.values()
    if not any(p.name == "wrappers" or p.kind is p.VAR_KEYWORD for p in takes):
        raise ValueError(f"the algorithm {method.name!r} trains without wrappers only")
    bare = TherapyVectorEnv(problem.treatment, 1, **problem.environment_options())
    try:
        env = wrap_lanes(bare, wrappers)
        require_scalar_reward(method, env)
    except (NotImplementedError, TypeError) as error:
        raise ValueError(f"wrappers do not fit {problem.env_id}: {error}") from error
    space = env.single_action_space
    if not isinstance(space, Box) or (space.low < 0.0).any() or (space.high > 1.0).any():
        raise ValueError(f"wrappers make the action space {space}; allowed: boxes in [0, 1]")
    if not isinstance(env.single_observation_space, Box):
        raise ValueError(
            f"wrappers make the observation space {env.single_observation_space}; allowed: boxes"
        )


def _fewer_lanes(method: Algorithm, settings: object, lanes: int, steps: int) -> int:
    """The tuned number of lanes, or as few as give a short run updates enough to learn from."""

    def updates(lanes: int) -> int:
        return -(-steps // method.steps_per_update(settings, lanes, steps))

    if updates(lanes) >= FEW_UPDATES:
        return lanes
    while lanes > _LEAST_LANES and updates(lanes) < _ENOUGH_UPDATES:
        lanes //= 2
    return max(lanes, 1)


def read_hyperparameters(method: Algorithm, env_id: str, base: str = "tuned") -> JsonObject:
    """The ``default`` entry of an algorithm's file, then the id's own or that of another ``base``.

    Args:
        method: The algorithm.
        env_id: Id of the environment.
        base: ``"tuned"``, or the name of another set in the file.

    Raises:
        UnknownNameError: The algorithm has no such base.
    """
    table = getattr(method, "defaults", None)
    if table is None:
        table = read_table(method.name)
    check_choice("base", base, ("tuned", *(name for name in BASES[1:] if name in table)))
    entry = env_id if base == "tuned" else base
    return {**table["default"], **table.get(entry, {})}


def read_table(name: str) -> dict[str, JsonObject]:
    """The hyper-parameters in ``NAME.yml`` by entry, on top of those of the file it is ``like``.

    Args:
        name: Name of an algorithm of the suite.
    """
    table = _read_file(name)
    table.pop(_SEARCH, None)
    model = table.pop(_LIKE, None)
    if model is None:
        return table
    shared = read_table(model)
    return {
        entry: {**shared.get(entry, {}), **table.get(entry, {})}
        for entry in dict.fromkeys((*shared, *table))
    }


def read_search_space(method: Algorithm) -> list[str]:
    """What a search of an algorithm tries, as in ``learning_rate=1e-4..1e-2:log``.

    The ``search`` list of the algorithm's file, or of the file that it is ``like``; empty if there
    is none.

    Args:
        method: The algorithm.
    """
    table: Mapping[str, Any] | None = getattr(method, "defaults", None)
    if table is None:
        table = _read_file(method.name)
        if _SEARCH not in table and _LIKE in table:
            return read_search_space(find_algorithm(table[_LIKE]))
    return [str(text) for text in table.get(_SEARCH, [])]


def _read_file(name: str) -> dict[str, Any]:
    import yaml

    file = files("oncogym.training.hyperparams") / f"{name}.yml"
    table: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return table


def differences(saved: RunSettings, asked: Mapping[str, object]) -> list[str]:
    """What ``asked`` (names as in :func:`make_settings`, ``None`` = not said) would change.

    Raises:
        UnknownNameError: A hyper-parameter does not exist.
    """
    before = saved.to_json()
    before["env_id"] = saved.env_id
    before["options"] = to_plain(saved.problem.environment_options())
    before["hyperparameters"] |= {name: before[name] for name in _OF_THE_RUN}
    found: list[str] = []
    for name, value in to_plain(dict(asked)).items():
        if value is None:
            continue
        if name == "env_id":
            value = find_variant(value)[1].id
        if name == "options":
            value = _completed(saved.problem, value)
        if name == "wrappers":
            value = [wrapper.to_json() for wrapper in wrappers_of(value)]
        pairs = [(name, before[name], value)]
        if isinstance(value, Mapping):
            if name == "hyperparameters":
                for key in value:
                    if key not in before[name]:
                        raise nearest("hyper-parameter", key, before[name])
            pairs = [(f"{name}: {key}", before[name].get(key), value[key]) for key in value]
        found += [f"{what} was {old!r}, now {new!r}" for what, old, new in pairs if old != new]
    return found
