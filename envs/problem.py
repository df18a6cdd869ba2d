"""A decision problem, resolved and checked once: treatment, variant, options, patients, chance."""

from __future__ import annotations

import hashlib
import importlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.checks import whole_number
from oncogym.core.errors import UnknownNameError
from oncogym.core.files import to_plain
from oncogym.envs.cohort import Cohort
from oncogym.envs.options import complete_options, resolve_options
from oncogym.envs.plan_spaces import Floats
from oncogym.envs.registry import find_variant, get_treatment, register_treatment
from oncogym.envs.therapy import TherapyTask
from oncogym.envs.treatment import Treatment, Variant

if TYPE_CHECKING:
    from typing_extensions import Self

# Tasks that a thread keeps for use again.
_KEPT = 8
# Blocks of random keys of replicates lie so many bits apart; patients' own keys are small numbers.
_REPLICATE_SHIFT = np.uint64(32)

_Names = tuple[str, str, str]


class UnknownTreatmentError(UnknownNameError):
    """A process received a problem whose treatment it does not know."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Which treatment, in which variant and with which options, of whom, under which chance.

    Training, optimisers, controllers, executors and evaluation all take it. Pickled, it is names,
    options, rows and keys: the process that receives it finds the treatment in its own registry or
    in the module of the task class.

    Attributes:
        treatment: The treatment.
        variant: The registered environment, or a nameless one around options of one's own.
        options: Options of the task, complete but for defaults; JSON-able.
        cohort: Whom an environment of this problem resets to, and where ``patients`` come from.
        patients: The patients of an evaluation or a search, rows ``(patients, fields)``; none
            while nobody has been chosen.
        seeds: Random key of each patient ``(patients,)`` uint64.
        patient: A fixed patient ``(fields,)`` whom an environment resets to instead of one of the
            cohort.
        max_episode_steps: Decisions after which an environment truncates an episode.
    """

    treatment: Treatment
    variant: Variant
    options: Mapping[str, Any]
    cohort: Cohort
    patients: Floats
    seeds: NDArray[np.uint64]
    patient: Floats | None = None
    max_episode_steps: int | None = None

    @classmethod
    def resolve(
        cls,
        env_id: str,
        options: Mapping[str, Any] | None = None,
        *,
        cohort: str | None = None,
    ) -> Problem:
        """The problem behind an environment id, with nobody chosen yet.

        Args:
            env_id: A registered id.
            options: Options of the environment on top of the id's, ``cohort``, ``patient`` and
                ``max_episode_steps`` included.
            cohort: Cohort in place of that of the options.

        Raises:
            UnknownNameError: The id, the cohort or an option does not exist.
            ValueError: An option has no allowed value, or a cohort is named twice.
        """
        treatment, variant = find_variant(env_id)
        return cls.of(treatment, options, variant=variant, cohort=cohort)

    @classmethod
    def of(
        cls,
        treatment: Treatment,
        options: Mapping[str, Any] | None = None,
        *,
        variant: Variant | None = None,
        cohort: str | None = None,
        patients: Floats | None = None,
        seeds: Sequence[int] | NDArray[Any] | None = None,
    ) -> Problem:
        """The problem of a treatment with options, whether or not an id is registered for it.

        Args:
            treatment: The treatment.
            options: Options on top of the variant's.
            variant: The variant; by default one without options.
            cohort: Cohort in place of that of the options.
            patients: Patient rows ``(patients, fields)``.
            seeds: Their random keys; by default their numbers.

        Raises:
            UnknownNameError, ValueError: See :meth:`resolve`.
        """
        variant = variant or Variant(treatment.name, treatment.title)
        task_options, environment = resolve_options(treatment, variant, options)
        named = (options or {}).get("cohort")
        if cohort is not None and named is not None and named != cohort:
            raise ValueError(f"cohort is {cohort!r} and {named!r} at once; name one")
        chosen = treatment.cohort(cohort or environment.get("cohort", "nominal"))
        fixed = environment.get("patient")
        steps = environment.get("max_episode_steps")
        treatment.task(1, **task_options)  # a bad value is refused here, before any work
        problem = cls(
            treatment,
            variant,
            task_options,
            chosen,
            np.empty((0, len(treatment.patient.FIELDS))),
            np.empty(0, np.uint64),
            None if fixed is None else treatment.patient_rows(fixed, 1)[0],
            None if steps is None else whole_number("max_episode_steps", steps, 1, 10**9),
        )
        return problem if patients is None else problem.with_patients(patients, seeds)

    # Whom -----------------------------------------------------------------------------------------

    def with_patients(
        self, rows: Floats, seeds: Sequence[int] | NDArray[Any] | None = None
    ) -> Self:
        """The problem for these patients.

        Args:
            rows: Patient rows ``(patients, fields)``.
            seeds: Random key of each ``(patients,)``; by default their numbers.

        Raises:
            ValueError: The numbers of patients and of keys differ.
        """
        rows = np.atleast_2d(np.asarray(rows, np.float64))
        keys = np.arange(len(rows)) if seeds is None else seeds
        keys = np.asarray(keys).astype(np.uint64)
        if keys.shape != (len(rows),):
            raise ValueError(f"{len(rows)} patients and keys of shape {keys.shape}; one key each")
        return replace(self, patients=rows, seeds=keys)

    def drawn(self, count: int, seed: int = 0, cohort: str | None = None) -> Self:
        """The problem for the first patients of a cohort; a fixed patient comes ``count`` times.

        Args:
            count: Number of patients.
            seed: Patient *k* has the random key ``seed + k``; in an unlimited cohort the seed also
                chooses the list of patients.
            cohort: Name of the cohort; by default that of the problem.

        Raises:
            UnknownNameError: There is no such cohort.
            ValueError: It has fewer patients, or a key would not fit into 64 bits.
        """
        whole_number("patients", count, 1, 10**9)
        whole_number("seed", seed, 0, 2**64 - 1 - count)
        chosen = self.cohort if cohort is None else self.treatment.cohort(cohort)
        if self.patient is None:
            rows = chosen.patients(count, seed)
        else:
            rows = np.tile(self.patient, (count, 1))
        keys = np.arange(seed, seed + count, dtype=np.uint64)
        return replace(self, cohort=chosen, patients=rows, seeds=keys)

    def part(self, which: slice | NDArray[np.intp]) -> Self:
        """The problem for some of its patients."""
        return replace(self, patients=self.patients[which], seeds=self.seeds[which])

    def replicated(self, count: int) -> Self:
        """The problem with each patient ``count`` times, each time under other chance.

        Raises:
            ValueError: ``count`` is not an integer of at least 1.
        """
        blocks = np.arange(whole_number("replicates", count, 1, 10**6), dtype=np.uint64)
        keys = ((blocks << _REPLICATE_SHIFT)[:, None] + self.seeds[None, :]).ravel()
        return replace(self, patients=np.tile(self.patients, (count, 1)), seeds=keys)

    # What -----------------------------------------------------------------------------------------

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """The problem with other options of the task on top of its own."""
        return replace(self, options={**self.options, **options}) if options else self

    @property
    def env_id(self) -> str:
        """Id of the environment."""
        return self.variant.id

    @property
    def metric_names(self) -> list[str]:
        """Names of the treatment's outcome metrics."""
        return [metric.name for metric in self.treatment.task.metrics]

    @property
    def gpus(self) -> int:
        """GPUs that a task of the problem works on: one if the option ``device`` asks for it."""
        return 1 if self.options.get("device") == "cuda" else 0

    def task(self, lanes: int | None = None) -> TherapyTask:
        """A new task with ``lanes`` lanes, by default one a patient."""
        return self.treatment.task(lanes or len(self.patients), **self.options)

    def kept_task(self, lanes: int | None = None) -> TherapyTask:
        """A task in whatever state; the same one for equal problems and numbers in a thread.

        For work that resets its lanes first and is done with the task when it returns.
        """
        return _kept(self, lanes or len(self.patients))

    def environment_options(self) -> dict[str, Any]:
        """Keyword arguments with which a vector environment treats this problem's patients."""
        found: dict[str, Any] = {"cohort": self.cohort.name, **self.options}
        if self.patient is not None:
            found["patient"] = dict(
                zip(self.treatment.patient.FIELDS, self.patient.tolist(), strict=True)
            )
        if self.max_episode_steps is not None:
            found["max_episode_steps"] = self.max_episode_steps
        return found

    def identity(self, *, numerical: bool = True) -> dict[str, Any]:
        """What decides the outcome of a course, JSON-able and short.

        Args:
            numerical: Include options that only choose how accurately the model is computed.
        """
        digest = hashlib.sha256(self.patients.tobytes() + self.seeds.tobytes()).hexdigest()
        return {
            "treatment": self.treatment.name,
            "options": complete_options(self.treatment, self.options, numerical=numerical),
            "patients": f"{len(self.patients)} with sha256 {digest[:16]}",
        }

    def to_json(self) -> dict[str, Any]:
        """The problem as plain data, from which :meth:`from_json` makes it again."""
        return to_plain(
            {
                "env": self.variant.id,
                "options": dict(self.options),
                "cohort": self.cohort.name,
                "patient": self.patient,
                "max_episode_steps": self.max_episode_steps,
                "patients": self.patients,
                "seeds": [int(seed) for seed in self.seeds],
            }
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Problem:
        """The problem of :meth:`to_json`; its id has to be registered.

        Raises:
            UnknownNameError: The id, the cohort or an option does not exist.
            KeyError, TypeError, ValueError: Something is missing or of the wrong kind.
        """
        problem = cls.resolve(document["env"], document["options"], cohort=document["cohort"])
        fields = len(problem.treatment.patient.FIELDS)
        patient = document["patient"]
        rows = np.asarray(document["patients"], np.float64).reshape(-1, fields)
        return replace(
            problem,
            patient=None if patient is None else np.asarray(patient, np.float64).reshape(fields),
            max_episode_steps=document["max_episode_steps"],
            patients=rows,
            seeds=np.array(document["seeds"], np.uint64),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        names = _names(self.treatment)
        rest = (
            self.variant.id,
            dict(self.options),
            self.cohort.name,
            self.patients,
            self.seeds,
            self.patient,
            self.max_episode_steps,
        )
        return _received, (names, *rest)


def _received(
    names: _Names,
    env_id: str,
    options: Mapping[str, Any],
    cohort: str,
    *rest: Any,
) -> Problem:
    treatment = _find(*names)
    own = {variant.id: variant for variant in treatment.variants}
    variant = own.get(env_id) or Variant(env_id, treatment.title)
    return Problem(treatment, variant, options, treatment.cohort(cohort), *rest)


def _names(treatment: Treatment) -> _Names:
    return treatment.name, treatment.task.__module__, treatment.task.__qualname__


def _find(name: str, module: str, qualname: str) -> Treatment:
    """The treatment called ``name`` whose task is ``module.qualname``, registered here."""
    try:
        found = get_treatment(name)
    except UnknownNameError:
        found = _register_from(module, name)
    there = (found.task.__module__, found.task.__qualname__)
    if there != (module, qualname):
        raise UnknownTreatmentError(
            f"the treatment {name!r} has the task {'.'.join(there)} here, not {module}.{qualname}; "
            "use the executor 'lanes' for a treatment that is not installed"
        )
    return found


def _register_from(module: str, name: str) -> Treatment:
    try:
        values = list(vars(importlib.import_module(module)).values())
    except ImportError:
        values = []
    try:
        return get_treatment(name)  # the module registered it
    except UnknownNameError:
        for value in values:
            if isinstance(value, Treatment) and value.name == name:
                register_treatment(value)
                return value
    raise UnknownTreatmentError(
        f"a worker does not know the treatment {name!r}: install its package there, with an entry "
        "point in the group oncogym.treatments, or use the executor 'lanes'"
    )


_threads = threading.local()


def _kept(problem: Problem, lanes: int) -> TherapyTask:
    """A task with so many lanes that this thread made before, or a new one."""
    tasks: OrderedDict[Any, TherapyTask] = _threads.__dict__.setdefault("tasks", OrderedDict())
    options = json.dumps(to_plain(dict(problem.options)), sort_keys=True)
    key = (problem.treatment.task, options, lanes)
    if key in tasks:
        tasks.move_to_end(key)
        return tasks[key]
    while len(tasks) >= _KEPT:
        tasks.popitem(last=False)
    tasks[key] = problem.task(lanes)
    return tasks[key]
