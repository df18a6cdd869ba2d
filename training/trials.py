"""Search of hyper-parameters by Optuna: sampled from ranges, pruned early, recorded trial by trial.

Each trial is a training run in a folder of its own. Optuna's tree-structured Parzen estimator
proposes its values from the trials before it; a trial whose best policy is behind the median of
theirs at an evaluation is stopped (Akiba, Sano, Yanase, Ohta and Koyama, "Optuna: a next-generation
hyperparameter optimization framework", KDD 2019). ``trials.json`` has every trial. Started again,
the search goes on: what is finished is not repeated, an interrupted run resumes from its last
checkpoint, and the trials are those of a search that nothing disturbed. The first trial has the
values of the algorithm's file wherever they are allowed, so that a search says what it gained.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from oncogym.core.checks import whole_number
from oncogym.core.documents import Document
from oncogym.core.files import (
    CorruptFileError,
    StrPath,
    require_writable_folder,
    to_plain,
    write_json_atomic,
)
from oncogym.core.json_types import JsonObject
from oncogym.core.run_lock import hold
from oncogym.training.algorithms import find_algorithm, require_installed
from oncogym.training.packages import import_package
from oncogym.training.runs import EvaluationError, resume, train
from oncogym.training.search import read_values
from oncogym.training.settings import make_settings
from oncogym.wrappers.named import wrappers_of

if TYPE_CHECKING:
    import optuna

#: File of all trials in the folder of a search.
RECORD = "trials.json"
_LONGEST = 1 << 26
# Trials before the estimator has enough to propose from, and before any is pruned.
_AT_RANDOM, _UNPRUNED = 8, 4
# Parts of a run before it may be pruned: who is slow at first may be best in the end.
_EARLY = 300
# An evaluation's place in its run, in parts of a thousand: runs of other lanes have other steps.
_PARTS = 1000
#: How a trial ended.
COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


class Behind(Exception):
    """A trial is stopped: it is behind the others."""


@dataclass(frozen=True)
class Range:
    """Numbers from which a trial's value is drawn.

    Args:
        low, high: Ends, both included.
        log: Evenly in the logarithm.
        whole: Integers only.

    Raises:
        ValueError: The ends are no increasing finite numbers, or not above 0 with ``log``.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf or (self.log and self.low <= 0.0):
            least = " above 0" if self.log else ""
            raise ValueError(
                f"a range is {self.low} to {self.high}; allowed: increasing numbers{least}"
            )

    def __contains__(self, value: object) -> bool:
        """Whether a trial may have this value."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return self.low <= value <= self.high and (not self.whole or value == int(value))

    @property
    def examples(self) -> list[Any]:
        """Its ends."""
        ends: list[Any] = [self.low, self.high]
        return [int(end) for end in ends] if self.whole else ends


@dataclass(frozen=True)
class Choice:
    """Values of which a trial has one.

    Args:
        values: The values, JSON-able.

    Raises:
        ValueError: There are none.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a choice has no values; allowed: one or more")

    def __contains__(self, value: object) -> bool:
        """Whether a trial may have this value."""
        return to_plain(value) in self.values

    @property
    def examples(self) -> list[Any]:
        """All values."""
        return list(self.values)


#: What is searched, by hyper-parameter.
Space = Mapping[str, "Range | Choice"]


def read_space(texts: Sequence[str]) -> dict[str, Range | Choice]:
    """A space from texts: ``gamma=0.9..1``, ``learning_rate=1e-4..1e-2:log``, ``layers=[8],[8,8]``.

    Two integers make a range of integers; values of a choice are JSON, or plain words.

    Raises:
        ValueError: A text has another form, or a name comes twice.
    """
    space: dict[str, Range | Choice] = {}
    for text in texts:
        name, sign, values = text.partition("=")
        if not sign or not name or not values:
            raise ValueError(f"{text!r} is no space; allowed: NAME=LOW..HIGH[:log] or NAME=V,V,…")
        if name in space:
            raise ValueError(f"{name!r} is given twice; allowed: once")
        space[name] = _range(values) or Choice(tuple(read_values(values)))
    return space


def _range(text: str) -> Range | None:
    bare = text.removesuffix(":log")
    low, dots, high = bare.partition("..")
    if not dots:
        return None
    try:
        ends = [json.loads(end) for end in (low, high)]
    except ValueError:
        raise ValueError(f"a range is {text!r}; allowed: LOW..HIGH or LOW..HIGH:log") from None
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends):
        raise ValueError(f"a range is {text!r}; allowed: LOW..HIGH or LOW..HIGH:log")
    whole = all(isinstance(end, int) for end in ends)
    return Range(float(ends[0]), float(ends[1]), log=bare != text, whole=whole)


def run_trials(
    env_id: str,
    space: Space,
    out: StrPath,
    *,
    algorithm: str,
    trials: int,
    steps: int | None = None,
    seed: int = 0,
    options: Mapping[str, object] | None = None,
    hyperparameters: Mapping[str, object] | None = None,
    wrappers: Iterable[object] | None = None,
    prune: bool = True,
    progress: bool = False,
) -> pd.DataFrame:
    """Train with values that Optuna proposes, and record what each trial gave.

    A trial counts by the best mean return on the validation patients, as a run does.

    Args:
        env_id: Environment.
        space: What is searched, by hyper-parameter; ``lanes`` may be among them.
        out: Folder for the runs and ``trials.json``.
        algorithm: Name of the learning algorithm.
        trials: Trials in all, those of earlier calls included.
        steps: Decisions of each run; ``None`` takes the value of the algorithm's file.
        seed: Seed of the proposals and of every run.
        options: Options of the environment.
        hyperparameters: Values that all trials share.
        wrappers: Wrappers around the lanes, see :func:`oncogym.training.runs.train`.
        prune: Stop trials that are behind.
        progress: Show a bar for each run on standard error.

    Returns:
        One row a trial: the space's names, ``trial``, ``state``, ``best_return`` (of a pruned
        trial, so far), ``folder``.

    Raises:
        ModuleNotFoundError: Optuna, or what the algorithm needs, is not installed.
        UnknownNameError: The environment, a hyper-parameter or a wrapper does not exist.
        ValueError: A value is out of range, or the folder holds another search; nothing is trained
            then.
        CorruptFileError: ``trials.json`` is damaged.
        OutputFolderError: ``out`` cannot be written to.
        RunLockedError: Another process works in ``out``.
    """
    whole_number("trials", trials, 1, 10**6)
    if not space:
        raise ValueError("nothing is searched; allowed: one hyper-parameter or more")
    shared = dict(hyperparameters or {})
    around = None if wrappers is None else wrappers_of(wrappers)
    settings: dict[str, Any] = {
        "algorithm": algorithm,
        "steps": steps,
        "seed": seed,
        "options": options,
        "wrappers": around,
    }
    for name, part in space.items():
        if name in shared:
            raise ValueError(f"{name!r} is searched and set; allowed: one")
        for value in part.examples:
            make_settings(env_id, hyperparameters={**shared, name: value}, **settings)
    first = {name: value for name, value in _usual(env_id, settings).items() if name in space}
    first = {name: value for name, value in first.items() if value in space[name]}
    require_installed(find_algorithm(algorithm))
    search = _Search(env_id, space, settings, shared, prune, first)
    folder = require_writable_folder(out)
    with hold(folder):
        records = _read(folder / RECORD, search.about)
        for record in records:
            search.remember(record)
        while len(records) < trials:
            records.append(search.run(folder, len(records), progress))
            write_json_atomic(folder / RECORD, {"about": search.about, "trials": records})
    return pd.DataFrame(
        [
            {**r["values"], **{name: r[name] for name in ("trial", "state", "best_return")}}
            | {"folder": trial_folder(r["trial"])}
            for r in records[:trials]
        ]
    )


def _usual(env_id: str, settings: Mapping[str, Any]) -> JsonObject:
    """The values of the algorithm's file."""
    usual = make_settings(env_id, **settings)
    return {**usual.to_json(), **to_plain(dataclasses.asdict(usual.hyperparameters))}


class _Search:
    """The study, and how a trial is trained."""

    def __init__(
        self,
        env_id: str,
        space: Space,
        settings: Mapping[str, Any],
        shared: Mapping[str, Any],
        prune: bool,
        first: Mapping[str, Any],
    ) -> None:
        optuna = _import_optuna()
        self._optuna = optuna
        states = optuna.trial.TrialState
        self._states = {COMPLETE: states.COMPLETE, PRUNED: states.PRUNED, FAILED: states.FAIL}
        self._env_id, self._settings, self._shared = env_id, dict(settings), dict(shared)
        self._first = {name: _encoded(value) for name, value in first.items()}
        self._distributions = {name: _distribution(optuna, part) for name, part in space.items()}
        pruner = (
            optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED, n_warmup_steps=_EARLY)
            if prune
            else optuna.pruners.NopPruner()
        )
        self._study = optuna.create_study(direction="maximize", pruner=pruner)
        around = settings["wrappers"]
        self.about = to_plain(
            {
                "env": env_id,
                **{name: settings[name] for name in ("algorithm", "steps", "seed")},
                "options": dict(settings["options"] or {}),
                "wrappers": None if around is None else [one.to_json() for one in around],
                "hyperparameters": dict(shared),
                "prune": prune,
                "space": {
                    name: {"kind": type(part).__name__, **vars(part)}
                    for name, part in space.items()
                },
            }
        )

    def remember(self, record: Mapping[str, Any]) -> None:
        """Tell the study of a trial that is over."""
        seen = {int(part): value for part, value in record["evaluations"]}
        last = seen[max(seen)] if seen and record["state"] == PRUNED else None
        self._study.add_trial(
            self._optuna.trial.create_trial(
                state=self._states[record["state"]],
                params={name: _encoded(value) for name, value in record["values"].items()},
                distributions=self._distributions,
                value=record["best_return"] if record["state"] == COMPLETE else last,
                intermediate_values=seen,
            )
        )

    def run(self, folder: Path, number: int, progress: bool) -> JsonObject:
        """Train with the values that are proposed next."""
        # Seeded by its number: the proposals do not depend on how often the search was started.
        mixed = np.random.SeedSequence([self._settings["seed"], number]).generate_state(1)
        self._study.sampler = self._optuna.samplers.TPESampler(
            n_startup_trials=_AT_RANDOM, seed=int(mixed[0])
        )
        if number == 0 and self._first:
            self._study.enqueue_trial(self._first)
        trial = self._study.ask(self._distributions)
        tuned = number == 0 and set(self._first) == set(self._distributions)
        values = {name: _decoded(trial.params[name]) for name in self._distributions}
        place = folder / trial_folder(number)
        watch = _Watch(trial, place)
        asked = {**self._settings, "hyperparameters": {**self._shared, **values}}
        state, best = COMPLETE, None
        clock = time.perf_counter()
        try:
            if (place / "config.json").exists():
                resume(place, env_id=self._env_id, progress=progress, watch=watch, **asked)
            else:
                asked.pop("algorithm")
                train(
                    self._env_id,
                    self._settings["algorithm"],
                    out=place,
                    progress=progress,
                    watch=watch,
                    **asked,
                )
        except Behind:
            state = PRUNED
        except EvaluationError:
            state = FAILED
        if watch.returns and state != FAILED:
            best = max(watch.returns)
        record = {
            "trial": number,
            "values": values,
            "tuned": tuned,
            "state": state,
            "best_return": best,
            "evaluations": sorted(watch.evaluations.items()),
            "seconds": round(time.perf_counter() - clock, 2),
        }
        self._study.tell(trial, best if state == COMPLETE else None, state=self._states[state])
        return to_plain(record)


class _Watch:
    """Tells a trial of a run's evaluations.

    Args:
        trial: The trial.
        place: Its run; evaluations before an interruption are told first.
    """

    def __init__(self, trial: optuna.Trial, place: Path) -> None:
        self._trial = trial
        self._earlier = place / "progress.csv"
        self._total: int | None = None
        self.evaluations: dict[int, float] = {}

    @property
    def returns(self) -> list[float]:
        """The mean returns so far, finite ones."""
        return [value for value in self.evaluations.values() if math.isfinite(value)]

    def begin(self, start: int, total: int) -> None:
        """A run goes on after ``start`` of ``total`` decisions."""
        self._total = total
        if start and self._earlier.exists():
            table = pd.read_csv(self._earlier)
            kept = table[table["steps"] <= start].dropna(subset=["eval/return"])
            for steps, value in zip(kept["steps"], kept["eval/return"], strict=True):
                self._note(int(steps), float(value))

    def evaluated(self, steps: int, value: float) -> None:
        """A policy was evaluated.

        Raises:
            Behind: It is behind the other trials.
        """
        self._note(steps, value)
        if steps != self._total and self._trial.should_prune():
            raise Behind

    def _note(self, steps: int, value: float) -> None:
        assert self._total is not None
        part = steps * _PARTS // self._total
        self.evaluations[part] = value
        if math.isfinite(value):
            self._trial.report(value, part)


def _import_optuna() -> Any:
    optuna = import_package("optuna", "the search needs Optuna", "search")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(optuna: Any, part: Range | Choice) -> Any:
    if isinstance(part, Choice):
        return optuna.distributions.CategoricalDistribution([_encoded(v) for v in part.values])
    if part.whole:
        return optuna.distributions.IntDistribution(int(part.low), int(part.high), log=part.log)
    return optuna.distributions.FloatDistribution(part.low, part.high, log=part.log)


def _encoded(value: object) -> Any:
    """Optuna's choices are no lists; numbers stay."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number else json.dumps(value)


def _decoded(value: object) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def trial_folder(number: int) -> str:
    """Name of a trial's run in the folder of its search."""
    return f"trial-{number:04d}"


def _read(path: Path, about: JsonObject) -> list[JsonObject]:
    """The trials of a search that was begun.

    Raises:
        ValueError: The folder holds another search.
        CorruptFileError: The file is damaged.
    """
    if not path.exists():
        return []
    document = Document.read(path, _LONGEST)
    if document["about"] != about:
        raise ValueError(f"{path.parent} holds another search; choose another folder")
    found = document["trials"]
    names = ("trial", "values", "tuned", "state", "best_return", "evaluations", "seconds")
    if not isinstance(found, list) or not all(
        isinstance(one, dict) and all(name in one for name in names) for one in found
    ):
        raise CorruptFileError(f"{path}: trials is no list of trials")
    return found
