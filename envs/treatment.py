"""The treatment record and its registry: all that the rest of the suite knows about a model."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.cohort import Cohort

if TYPE_CHECKING:
    from oncogym.envs.therapy import TherapyTask

#: Entry-point group in which another package offers a :class:`Treatment`.
ENTRY_POINT_GROUP = "oncogym.treatments"


class UnknownNameError(ValueError):
    """A treatment, environment id, protocol, cohort or field that does not exist."""


class ScheduleError(ValueError):
    """A schedule that the decisions of a task cannot express."""


class HiddenError(ScheduleError):
    """A rule needs to see what the task's observation does not show; see ``Rule.options``."""


def nearest(kind: str, name: str, known: Any) -> UnknownNameError:
    """Return an :class:`UnknownNameError` that suggests the closest known name."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return UnknownNameError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}")


@dataclass(frozen=True)
class Metric:
    """One clinical outcome: what it is called, its unit, and which direction is better.

    ``higher_is_better`` is ``None`` for a quantity that is only described (a total dose, say).
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool | None


@dataclass(frozen=True)
class Trace:
    """One quantity of a finished treatment against time, for figures.

    Args:
        name: Identifier, the same for all lanes.
        label: Axis label with the unit.
        time: Times ``(n,)``.
        values: Values ``(n,)``.
        events: Draw stems (doses) instead of a line.
        limit: A limit to draw, or ``None``.
        time_label: Label of the time axis.
    """

    name: str
    label: str
    time: NDArray[np.float64]
    values: NDArray[np.float64]
    events: bool = False
    limit: float | None = None
    time_label: str = "day"


@dataclass(frozen=True)
class Schedule:
    """An open-loop clinical protocol: events in physical units.

    Args:
        label: Name for tables and figures.
        events: Tuples in the order that the treatment's ``TherapyTask.schedule_actions`` documents,
            for example ``(day, dose)``.
        note: Where the protocol comes from.
    """

    label: str
    events: tuple[tuple[float, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Rule:
    """A closed-loop clinical protocol: a function of the observation.

    ``decide(task, observation)`` takes observations ``(batch, …)`` of the task's observation space
    and returns actions ``(batch, action size)`` in [0, 1]. It may read the task's options but not
    the state of its lanes.

    ``options`` are options of the task in which the rule sees what it needs, for a bound that knows
    hidden quantities. Comparisons treat the same patients in such a task; in another one ``decide``
    raises :class:`HiddenError`.
    """

    label: str
    decide: Callable[[Any, NDArray[np.float32]], NDArray[np.float64]]
    note: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


Protocol = Schedule | Rule


@dataclass(frozen=True)
class Effort:
    """What of a benchmark's work suits an environment whose simulations are slow; default: all.

    Args:
        protocols: Names of the clinical protocols that take part, ``None`` for all that fit.
        search_options: Options of the task for search and training only: a faster numerical
            fidelity. Everybody is evaluated without them.
        optimizer: Who searches the open-loop plan: ``de``, differential evolution, or ``ga``, the
            genetic algorithm, which meets fresh chance in every generation, for models in which one
            draw says little.
        limits: Amount of work in place of the preset's, by preset and by name of its field.
    """

    protocols: tuple[str, ...] | None = None
    search_options: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Literal["de", "ga"] = "de"
    limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


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


@dataclass(frozen=True)
class Treatment:
    """Everything that environments, agents, training and evaluation need to know about a model.

    Args:
        name: Identifier, ``snake_case``.
        title: Name for people.
        task: The decision problem, a :class:`oncogym.envs.therapy.TherapyTask` class.
        patient: Frozen dataclass of patient parameters with ``FIELDS``, ``from_mapping``,
            ``from_array`` and ``to_array``.
        variants: The registered environments.
        cohorts: Virtual patients by name.
        protocols: Clinical protocols by name.
        picture: ``picture(task, lane)`` draws one lane as a matplotlib figure.
        traces: ``traces(task, lane)`` gives the course of one lane for comparison figures.
        page: The environment page (Description, Action Space, Observation Space, …).
    """

    name: str
    title: str
    task: type[TherapyTask]
    patient: Any
    variants: tuple[Variant, ...]
    cohorts: Mapping[str, Cohort]
    protocols: Mapping[str, Protocol]
    picture: Callable[[Any, int], Any]
    traces: Callable[[Any, int], Sequence[Trace]]
    page: str = ""

    def cohort(self, name: str) -> Cohort:
        """Return the cohort called ``name``.

        Raises:
            UnknownNameError: There is none; the message suggests the nearest.
        """
        if name not in self.cohorts:
            raise nearest(f"cohort of {self.name}", name, self.cohorts)
        return self.cohorts[name]

    def protocol(self, name: str) -> Protocol:
        """Return the clinical protocol called ``name``.

        Raises:
            UnknownNameError: There is none; the message suggests the nearest.
        """
        if name not in self.protocols:
            raise nearest(f"protocol of {self.name}", name, self.protocols)
        return self.protocols[name]

    def patient_rows(self, patient: Any, count: int) -> NDArray[np.float64]:
        """Turn what a user calls a patient into parameter rows ``(count, fields)``.

        ``patient`` may be a record of the treatment's patient class, a mapping of field values, one
        row, ``count`` rows, or a sequence of ``count`` records or mappings.

        Raises:
            ValueError: A field is unknown or out of range, or the number of patients is not
                ``count``.
        """
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

    def _row(self, patient: Any) -> NDArray[np.float64]:
        record = patient if isinstance(patient, self.patient) else None
        if record is None:
            if not isinstance(patient, Mapping):
                raise ValueError(
                    f"a patient of {self.name} is a {self.patient.__name__} or a mapping of its "
                    f"fields; got {type(patient).__name__}"
                )
            record = self.patient.from_mapping(patient)
        return np.asarray(record.to_array(), np.float64)


_TREATMENTS: dict[str, Treatment] = {}
_PENDING: list[EntryPoint] | None = None


def register_treatment(treatment: Treatment) -> None:
    """Add a treatment and register its environments with Gymnasium.

    Registering the same record twice does nothing.

    Raises:
        ValueError: Another treatment has the name, or a variant names an unknown cohort or
            protocol.
    """
    known = _TREATMENTS.get(treatment.name)
    if known is treatment:
        return
    if known is not None:
        raise ValueError(f"a treatment called {treatment.name!r} is already registered")
    for variant in treatment.variants:
        treatment.cohort(variant.evaluation_cohort)
        treatment.cohort(variant.options.get("cohort", "nominal"))
        for name in (variant.baseline, *(variant.effort.protocols or ())):
            if name:
                treatment.protocol(name)
    _TREATMENTS[treatment.name] = treatment
    _register_with_gymnasium(treatment)


def _register_with_gymnasium(treatment: Treatment) -> None:
    import gymnasium

    for variant in treatment.variants:
        gymnasium.register(
            id=variant.id,
            entry_point="oncogym.envs.scalar_env:TherapyEnv",
            vector_entry_point="oncogym.envs.vector_env:TherapyVectorEnv",
            kwargs={"treatment": treatment.name, **variant.options},
        )


def discover() -> None:
    """Register the treatments that installed packages offer as entry points.

    A package that is just being imported (because it imports oncogym) is left for the next call; a
    broken one is reported as a warning and does not keep the others from loading.
    """
    global _PENDING
    if _PENDING is None:
        _PENDING = list(entry_points(group=ENTRY_POINT_GROUP))
    waiting, _PENDING = _PENDING, []
    for point in waiting:
        module = sys.modules.get(point.module)
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            _PENDING.append(point)
            continue
        try:
            treatment = point.load()
            if not isinstance(treatment, Treatment):
                raise TypeError(f"it is a {type(treatment).__name__}, not a Treatment")
            register_treatment(treatment)
        except Exception as error:  # a stranger's package must not break `import oncogym`
            warnings.warn(
                f"treatment entry point {point.name} = {point.value} was not loaded: {error!r}",
                stacklevel=2,
            )


def treatments() -> dict[str, Treatment]:
    """All registered treatments by name, those of other packages included."""
    discover()
    return dict(_TREATMENTS)


def get_treatment(name: str) -> Treatment:
    """Return the treatment called ``name``.

    Raises:
        UnknownNameError: There is none; the message suggests the nearest.
    """
    discover()
    if name not in _TREATMENTS:
        raise nearest("treatment", name, _TREATMENTS)
    return _TREATMENTS[name]


def find_variant(env_id: str) -> tuple[Treatment, Variant]:
    """Return the treatment and variant behind an environment id.

    A ``module:`` prefix is ignored and the namespace ``oncogym/`` may be left out.

    Raises:
        UnknownNameError: There is no such id; the message suggests the nearest.
    """
    discover()
    wanted = env_id.rpartition(":")[2]
    ids: dict[str, tuple[Treatment, Variant]] = {}
    for treatment in _TREATMENTS.values():
        for variant in treatment.variants:
            ids[variant.id] = (treatment, variant)
    for candidate in (wanted, f"oncogym/{wanted}"):
        if candidate in ids:
            return ids[candidate]
    raise nearest("environment id", env_id, ids)
