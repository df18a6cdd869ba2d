"""The treatment record: all that the rest of the suite knows about a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.errors import nearest
from oncogym.envs.bounds import Bound
from oncogym.envs.cohort import Cohort, CohortName, read_description
from oncogym.envs.literature import Publication, of_constants
from oncogym.envs.outcomes import Map, Trace
from oncogym.envs.protocols import ClinicalProtocol, Rule
from oncogym.envs.provenance import Constant
from oncogym.envs.therapy import TherapyTask

#: How the names of files end in which users describe patients and cohorts.
FILE_ENDING = ".json"
#: Name of the cohort of a patient whom a user described.
OWN_PATIENT = "patient"


@dataclass(frozen=True)
class Effort:
    """What of a benchmark's work suits an environment; default: all.

    Args:
        protocols: Names of the clinical protocols that take part, ``None`` for all that fit.
        search_options: Options of the task for search and training only: a faster numerical
            fidelity. Everybody is evaluated without them.
        optimizer: Name of the optimiser that searches the open-loop plan; ``None`` for the usual
            one. A model in which one draw says little takes one that meets fresh chance in every
            generation.
        algorithms: Names of the learning algorithms that train; empty for the usual one.
        control: Settings of controllers that suit the model's speed in place of the default, by
            name of the field of ``MPCSettings``; ``belief`` holds those of ``BeliefSettings``.
        limits: Amount of work in place of the preset's, by preset and by name of its field.
    """

    protocols: tuple[str, ...] | None = None
    search_options: Mapping[str, Any] = field(default_factory=dict)
    optimizer: str | None = None
    algorithms: tuple[str, ...] = ()
    control: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """One registered environment of a treatment.

    Args:
        id: Gymnasium id, ``namespace/Name-vN``.
        summary: One sentence.
        options: JSON-able keyword arguments of the task and the environment (``cohort`` included).
        evaluation_cohort: Cohort on which results of this id are reported.
        baseline: Name of the clinical protocol that counts as normalised score 0.
        benchmark: Whether the benchmark of the suite includes the id by default.
        effort: What of a benchmark's work suits the id.
    """

    id: str
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)
    evaluation_cohort: str = "nominal"
    baseline: str = ""
    benchmark: bool = True
    effort: Effort = field(default_factory=Effort)


def _draw_traces(task: object, lane: int, *, traces: Callable[[Any, int], Sequence[Trace]]) -> Any:
    """The picture of a treatment that gives none: its traces, one panel each."""
    # Not with the module: Matplotlib takes half a second.
    from oncogym.envs.course_picture import draw_traces

    return draw_traces(traces(task, lane))


@dataclass(frozen=True)
class Treatment:
    """Everything that environments, agents, training and evaluation need to know about a model.

    Args:
        name: Identifier, ``snake_case``.
        title: Name for people.
        task: The decision problem, a :class:`oncogym.envs.therapy.TherapyTask` class.
        variants: The registered environments.
        cohorts: Virtual patients by name.
        protocols: Clinical protocols by name.
        traces: ``traces(task, lane)`` gives the course of one lane for comparison figures.
        picture: ``picture(task, lane)`` draws one lane as a matplotlib figure; by default the
            traces, one panel each.
        page: The environment page (Description, Action Space, Observation Space, …).
        patient: Frozen dataclass of patient parameters with ``FIELDS``, ``from_mapping``,
            ``from_array`` and ``to_array``; by default the task's ``patient_class``.
        provenance: Where its constants come from, for its page.
        literature: What it rests on beside the publications that print its constants.
        bounds: What the best is that can be done, where that is known, by name; the first one is
            score 1 of a benchmark.
        maps: ``maps(task, lane)`` gives what the treatment left over a plane, a dose for instance,
            for comparison figures.
        measured_limit: The rule that gives the largest dose that is safe by what was measured, with
            a margin, if there is one, for environments with one action, a dose.
    """

    name: str
    title: str
    task: type[TherapyTask]
    variants: tuple[Variant, ...]
    cohorts: Mapping[str, Cohort]
    protocols: Mapping[str, ClinicalProtocol]
    traces: Callable[[Any, int], Sequence[Trace]]
    picture: Callable[[Any, int], Any] | None = None
    page: str = ""
    patient: Any = None
    provenance: Sequence[Constant] = ()
    literature: Sequence[Publication] = ()
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    maps: Callable[[Any, int], Sequence[Map]] | None = None
    measured_limit: Rule | None = None

    def __post_init__(self) -> None:
        for name in self.bounds:
            if name in self.protocols:
                raise ValueError(f"treatment {self.name}: {name!r} is a protocol and a bound")
        if self.patient is None:
            if self.task.patient_class is None:
                raise ValueError(
                    f"treatment {self.name} has no class of patients: give it patient=…, or its "
                    "task a patient_class"
                )
            object.__setattr__(self, "patient", self.task.patient_class)
        if self.picture is None:
            object.__setattr__(self, "picture", partial(_draw_traces, traces=self.traces))

    def publications(self) -> tuple[Publication, ...]:
        """What to cite beside the suite: :attr:`literature`, then what prints its constants."""
        return (*self.literature, *of_constants(self.provenance))

    def draw(self, task: object, lane: int) -> Any:
        """The course of one lane up to now as a matplotlib figure."""
        assert self.picture is not None  # set above
        return self.picture(task, lane)

    def __deepcopy__(self, memo: dict[int, Any]) -> Treatment:
        """The record itself: it never changes, and every copy of an environment has it."""
        return self

    def cohort(self, name: CohortName) -> Cohort:
        """Return the cohort called ``name``, or a user's own.

        Args:
            name: Name of one of :attr:`cohorts`; path of a file, ending in ``.json``, or its
                content, see :meth:`oncogym.envs.cohort.Cohort.from_json`; or a cohort.

        Raises:
            UnknownNameError: There is none; the message suggests the nearest.
            OSError: The file cannot be opened.
            ValueError: Something in it is wrong, or its name is that of another cohort.
        """
        if isinstance(name, Cohort):
            return name
        own = None
        if isinstance(name, Mapping):
            name, own = "", Cohort.from_json(name, self.patient)
        elif name not in self.cohorts and name.endswith(FILE_ENDING):
            own = Cohort.from_file(name, self.patient)
        if own is not None:
            if own.name in (*self.cohorts, OWN_PATIENT):
                raise ValueError(
                    f"the name of a cohort of your own is {own.name!r}, which is taken; allowed: "
                    f"other than {', '.join((*self.cohorts, OWN_PATIENT))}"
                )
            return own
        if name not in self.cohorts:
            raise nearest(f"cohort of {self.name}", name, self.cohorts)
        return self.cohorts[name]

    def protocol(self, name: str) -> ClinicalProtocol:
        """Return the clinical protocol called ``name``.

        Raises:
            UnknownNameError: There is none; the message suggests the nearest.
        """
        if name not in self.protocols:
            raise nearest(f"protocol of {self.name}", name, self.protocols)
        return self.protocols[name]

    def patient_rows(self, patient: object, count: int) -> NDArray[np.float64]:
        """Turn what a user calls a patient into parameter rows ``(count, fields)``.

        ``patient`` may be a record of the treatment's patient class, a mapping of field values, the
        path of a JSON file with such a mapping (ending in ``.json``), one row, ``count`` rows, or a
        sequence of ``count`` records or mappings.

        Raises:
            OSError: The file cannot be opened.
            ValueError: A field is unknown or out of range, or the number of patients is not
                ``count``.
        """
        if isinstance(patient, str) and patient.endswith(FILE_ENDING):
            patient = read_description(patient)
        if isinstance(patient, (self.patient, Mapping)):
            return np.tile(self._row(patient), (count, 1))
        if isinstance(patient, np.ndarray):
            rows = np.atleast_2d(np.asarray(patient, np.float64))
            if rows.shape not in ((1, len(self.patient.FIELDS)), (count, len(self.patient.FIELDS))):
                raise ValueError(
                    f"patient rows have shape {patient.shape}; allowed: "
                    f"({len(self.patient.FIELDS)},) or ({count}, {len(self.patient.FIELDS)})"
                )
            for row in rows:
                self.patient.from_array(row)  # validates ranges
            return np.ascontiguousarray(np.broadcast_to(rows, (count, rows.shape[1])))
        if isinstance(patient, (list, tuple)) and len(patient) == count:
            return np.stack([self._row(item) for item in patient])
        raise ValueError(
            f"patient must be a {self.patient.__name__}, a mapping of its fields, an array of rows "
            f"or a list of {count} of these; got {type(patient).__name__}"
        )

    def _row(self, patient: object) -> NDArray[np.float64]:
        record = patient if isinstance(patient, self.patient) else None
        if record is None:
            if not isinstance(patient, Mapping):
                raise ValueError(
                    f"a patient of {self.name} is a {self.patient.__name__} or a mapping of its "
                    f"fields; got {type(patient).__name__}"
                )
            record = self.patient.from_mapping(patient)
        return np.asarray(record.to_array(), np.float64)
