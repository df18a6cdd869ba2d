"""A decision problem, resolved and checked once: treatment, variant, options, patients, chance."""

from __future__ import annotations

import hashlib
import importlib
import json
import reprlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.checks import whole_number
from oncogym.core.documents import Document
from oncogym.core.errors import UnknownNameError
from oncogym.core.files import to_plain
from oncogym.envs import streams
from oncogym.envs.cohort import Cohort, CohortName, Fixed
from oncogym.envs.options import complete_options, resolve_options
from oncogym.envs.plan_spaces import Floats
from oncogym.envs.registry import find_variant, get_treatment, register_treatment
from oncogym.envs.therapy import TherapyTask
from oncogym.envs.treatment import OWN_PATIENT, Treatment, Variant
from oncogym.parallel.base import ExecutorError

if TYPE_CHECKING:
    from typing_extensions import Self

#: Patients of one evaluation at most; more do not fit into memory with their results.
MOST_PATIENTS = 1_000_000

# Above this, neighbouring seeds would choose the same patients of an unlimited cohort.
_LARGEST_SEED = 2**48 - 1
# Tasks that a thread keeps for use again.
_KEPT = 8
# Blocks of random keys of replicates lie so many bits apart; patients' own keys are small numbers.
_REPLICATE_SHIFT = np.uint64(32)

_Names = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class Problem:
    """Which treatment, in which variant and with which options, of whom, under which chance.

    Training, optimisers, controllers, executors and evaluation all take it. Pickled, it is names,
    options, rows and keys: the process that receives it finds the treatment in its own registry or
    in the module of the task class, or raises ``ExecutorError``.

    Attributes:
        treatment: The treatment.
        variant: The registered environment, or a nameless one around options of one's own.
        options: Options of the task, complete but for defaults; JSON-able.
        cohort: Whom an environment of this problem resets to, and where ``patients`` come from; a
            patient of a user's own is a cohort called ``"patient"``.
        patients: The patients of an evaluation or a search, rows ``(patients, fields)``; none
            while nobody has been chosen.
        seeds: Random key of each patient ``(patients,)`` uint64.
        max_episode_steps: Decisions after which an environment truncates an episode.
    """

    treatment: Treatment
    variant: Variant
    options: Mapping[str, Any]
    cohort: Cohort
    patients: Floats
    seeds: NDArray[np.uint64]
    max_episode_steps: int | None = None

    @classmethod
    def resolve(
        cls,
        env_id: str,
        options: Mapping[str, object] | None = None,
        *,
        cohort: CohortName | None = None,
        evaluated: bool = False,
    ) -> Problem:
        """The problem behind an environment id, with nobody chosen yet.

        Args:
            env_id: A registered id.
            options: Options of the environment on top of the id's, ``cohort``, ``patient`` (a
                mapping of fields: that patient is treated each time) and ``max_episode_steps``
                included.
            cohort: Cohort in place of that of the options: a name, or a user's own as the path of
                a JSON file or its content, see :meth:`oncogym.envs.cohort.Cohort.from_json`.
            evaluated: Take the id's evaluation cohort unless another one is named, instead of the
                cohort that its environment resets to; of a user's own cohort, the patients whom
                neither training nor a search meets.

        Raises:
            OSError: The file of a patient or of a cohort cannot be opened.
            UnknownNameError: The id, the cohort, an option or a field of the patient does not
                exist; the message suggests the nearest.
            ValueError: A value is out of range or of another type, or two arguments contradict
                each other.
        """
        treatment, variant = find_variant(env_id)
        usual = variant.evaluation_cohort if evaluated else None
        found = cls.of(treatment, options, variant=variant, cohort=cohort, usual_cohort=usual)
        return replace(found, cohort=found.cohort.listed("held_out")) if evaluated else found

    @classmethod
    def of(
        cls,
        treatment: Treatment,
        options: Mapping[str, Any] | None = None,
        *,
        variant: Variant | None = None,
        cohort: CohortName | None = None,
        usual_cohort: str | None = None,
        patients: Floats | None = None,
        seeds: Sequence[int] | NDArray[Any] | None = None,
    ) -> Problem:
        """The problem of a treatment with options, whether or not an id is registered for it.

        Args:
            treatment: The treatment.
            options: Options on top of the variant's.
            variant: The variant; by default one without options.
            cohort: Cohort in place of that of the options.
            usual_cohort: Cohort unless one is named, in place of the variant's.
            patients: Patient rows ``(patients, fields)``.
            seeds: Their random keys; by default their numbers.

        Raises:
            UnknownNameError, ValueError: See :meth:`resolve`.
        """
        variant = variant or Variant(treatment.name, treatment.title)
        task_options, environment = resolve_options(treatment, variant, options)
        asked = dict(options or {})
        usual = usual_cohort or environment.get("cohort", "nominal")
        chosen = _choose(treatment, cohort, asked.get("cohort"), environment.get("patient"), usual)
        steps = environment.get("max_episode_steps")
        treatment.task(1, **task_options)  # a bad value is refused here, before any work
        problem = cls(
            treatment,
            variant,
            task_options,
            chosen,
            np.empty((0, len(treatment.patient.FIELDS))),
            np.empty(0, np.uint64),
            None if steps is None else whole_number("option 'max_episode_steps'", steps, 1, 10**9),
        )
        return problem if patients is None else problem.with_patients(patients, seeds)

    # Whom -----------------------------------------------------------------------------------------

    def with_patients(
        self, rows: Floats, seeds: Sequence[int] | NDArray[np.generic] | None = None
    ) -> Self:
        """The problem for these patients.

        Args:
            rows: Patient rows ``(patients, fields)``.
            seeds: Random key of each ``(patients,)``; by default their numbers.

        Raises:
            ValueError: The numbers of patients and of keys differ.
        """
        rows = np.atleast_2d(np.asarray(rows, np.float64))
        given = np.arange(len(rows)) if seeds is None else np.asarray(seeds)
        keys = given.astype(np.uint64)
        if keys.shape != (len(rows),):
            raise ValueError(f"{len(rows)} patients and keys of shape {keys.shape}; one key each")
        return replace(self, patients=rows, seeds=keys)

    def drawn(self, count: int, seed: int = 0, cohort: CohortName | None = None) -> Self:
        """The problem for the first patients of a cohort.

        Args:
            count: Number of patients, up to :data:`MOST_PATIENTS`.
            seed: Patient *k* has the random key ``seed + k``; in an unlimited cohort the seed also
                chooses the list of patients.
            cohort: The cohort, as in :meth:`resolve`; by default that of the problem.

        Raises:
            UnknownNameError: There is no such cohort.
            ValueError: It has fewer patients, or ``count`` or ``seed`` is out of range.
        """
        whole_number("patients", count, 1, MOST_PATIENTS)
        whole_number("seed", seed, 0, _LARGEST_SEED)
        chosen = self.cohort if cohort is None else self.treatment.cohort(cohort)
        keys = np.arange(seed, seed + count, dtype=np.uint64)
        return replace(self, cohort=chosen, patients=chosen.patients(count, seed), seeds=keys)

    def require_whole_courses(self) -> Self:
        """The problem itself, for work that treats everybody to the end.

        Raises:
            ValueError: Its environment would truncate episodes.
        """
        if self.max_episode_steps is not None:
            raise ValueError(
                f"option 'max_episode_steps' is {self.max_episode_steps!r}; allowed: in training "
                "only, patients are treated to the end here"
            )
        return self

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

    def with_options(self, options: Mapping[str, object]) -> Self:
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

    @property
    def patient(self) -> Floats | None:
        """A user's own patient ``(fields,)``, if the problem is theirs."""
        return self.cohort.patients(1)[0] if self.cohort.name == OWN_PATIENT else None

    def environment_options(self) -> dict[str, Any]:
        """Keyword arguments with which an environment treats this problem's patients."""
        found: dict[str, object] = dict(self.options)
        row = self.patient
        if row is None:
            found["cohort"] = self.cohort.to_json()
        else:
            found["patient"] = dict(zip(self.treatment.patient.FIELDS, row.tolist(), strict=True))
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
                "cohort": self.cohort.to_json(),
                "patient": self.patient,
                "max_episode_steps": self.max_episode_steps,
                "patients": self.patients,
                "seeds": [int(seed) for seed in self.seeds],
            }
        )

    @classmethod
    def from_json(cls, document: Document | Mapping[str, object]) -> Problem:
        """The problem of :meth:`to_json`; its id has to be registered.

        Raises:
            UnknownNameError: The id, the cohort or an option does not exist.
            CorruptFileError: Something is missing or of the wrong kind.
            ValueError: An option is out of range.
        """
        if not isinstance(document, Document):
            document = Document(dict(document), "problem")
        own = document["patient"] is not None
        problem = cls.resolve(
            document.text("env"),
            {
                **document.mapping("options"),
                "max_episode_steps": document["max_episode_steps"],
            },
            cohort=None if own else _cohort_of(document),
        )
        kind = problem.treatment.patient
        if own:
            row = document.table("patient", ("fields",))
            kind.from_array(row)
            problem = replace(problem, cohort=_own_cohort(row))
        rows = document.table("patients", ("patients", "fields"))
        seeds = document.whole_numbers("seeds", 0, 2**64 - 1, MOST_PATIENTS)
        fields = len(kind.FIELDS)
        if rows.size and rows.shape[1] != fields:
            raise document.error("patients", f"rows of {fields} numbers")
        if len(seeds) != len(rows):
            raise document.error("seeds", f"{len(rows)} integers, one a patient")
        return replace(problem, patients=rows.reshape(-1, fields), seeds=np.array(seeds, np.uint64))

    def __reduce__(self) -> tuple[Any, ...]:
        rest = (self.patients, self.seeds, self.max_episode_steps)
        cohort = self.cohort.to_json() if self.patient is None else self.patient
        names = _names(self.treatment)
        return _received, (names, self.variant.id, dict(self.options), cohort, *rest)


def _cohort_of(document: Document) -> CohortName:
    if isinstance(document["cohort"], str):
        return document.text("cohort")
    return document.mapping("cohort")


def _choose(
    treatment: Treatment,
    cohort: CohortName | None,
    named: CohortName | None,
    patient: object,
    usual: str,
) -> Cohort:
    """The cohort that a user asked for, by name or by the options ``cohort`` and ``patient``."""
    if cohort is not None and named is not None and cohort != named:
        raise ValueError(
            f"cohort is {reprlib.repr(cohort)}, and option 'cohort' is {reprlib.repr(named)}; "
            "allowed: one"
        )
    name = named if cohort is None else cohort
    if patient is None:
        return treatment.cohort(usual if name is None else name)
    if name is not None:
        raise ValueError(
            f"option 'patient' is {reprlib.repr(patient)}, and the cohort is "
            f"{reprlib.repr(name)}; allowed: one"
        )
    try:
        row = treatment.patient_rows(patient, 1)[0]
    except UnknownNameError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"option 'patient' is {reprlib.repr(patient)}: {error}") from None
    return _own_cohort(row)


def _own_cohort(row: Floats) -> Cohort:
    about = "one patient, with other chance each time"
    sampler = Fixed(tuple(row.tolist()))
    return Cohort(OWN_PATIENT, about, sampler, streams.STREAM_PATIENT, distinct=1)


def _received(
    names: _Names,
    env_id: str,
    options: Mapping[str, Any],
    cohort: CohortName | Floats,
    *rest: Any,
) -> Problem:
    treatment = _find(*names)
    own = {variant.id: variant for variant in treatment.variants}
    variant = own.get(env_id) or Variant(env_id, treatment.title)
    chosen = _own_cohort(cohort) if isinstance(cohort, np.ndarray) else treatment.cohort(cohort)
    return Problem(treatment, variant, options, chosen, *rest)


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
        raise ExecutorError(
            f"the treatment {name!r} of a worker has the task {'.'.join(there)}, not "
            f"{module}.{qualname}; use the executor 'lanes' for a treatment that is not installed"
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
    raise ExecutorError(
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
