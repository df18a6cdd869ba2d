"""Virtual patients: named, seeded, mutually disjoint cohorts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.documents import Document, shown
from oncogym.core.errors import nearest
from oncogym.core.files import CorruptFileError, StrPath, to_plain
from oncogym.envs import streams
from oncogym.envs.distributions import Independent, read_distribution

#: A sampler turns ``(k,)`` seeds, ``(k,)`` episode numbers and a stream number into ``(k, fields)``
#: patient rows. It must draw only from :mod:`oncogym.envs.streams`, so that a patient depends on
#: its coordinates alone.
Sampler = Callable[[NDArray[np.uint64], NDArray[np.uint64], int], NDArray[np.float64]]

# A finite cohort is the same for everybody: its patients hang on this constant, not on a user seed.
_COHORT_SEED = 0x0C0
# The seed of a list fills the upper 48 bits of its key.
_SEEDS = 2**48
# A file of a user's cohort is a page of text [bytes].
_LONGEST_FILE = 1 << 20
# Patients that are drawn when a user's cohort is made, to find out whether they can be.
_PROBED = 256
# Names of the three disjoint lists of a user's cohort, those of the standard cohorts.
_LISTS = {
    "population": streams.STREAM_PATIENT,
    "validation": streams.STREAM_VALIDATION,
    "held_out": streams.STREAM_HELD_OUT,
}


@dataclass(frozen=True)
class Cohort:
    """A named set of virtual patients.

    Args:
        name: Name, unique within a treatment.
        description: One sentence for tables and help texts.
        sampler: Draws patient rows, see :data:`Sampler`.
        stream: Random stream of the cohort. Cohorts of one treatment with different streams are
            disjoint.
        size: Number of patients, or ``None`` for an unlimited cohort in which every reset draws a
            new patient from the environment's own seed.
        distinct: Number of different patients that an unlimited cohort goes through, or ``None``.
        document: What a user's own cohort was made from, see :meth:`from_json`; ``None`` for those
            of a treatment.
    """

    name: str
    description: str
    sampler: Sampler
    stream: int
    size: int | None = None
    distinct: int | None = None
    document: Mapping[str, Any] | None = field(default=None, compare=False)

    @classmethod
    def from_file(cls, path: StrPath, patient: object) -> Cohort:
        """A user's cohort from a JSON file, see :meth:`from_json`; its name is that of the file.

        Raises:
            OSError: The file cannot be opened.
            CorruptFileError: It is no object of JSON.
            UnknownNameError, ValueError: See :meth:`from_json`; the message names the file.
        """
        try:
            return cls.from_json(read_description(path), patient)
        except CorruptFileError:
            raise
        except ValueError as error:
            raise type(error)(f"{path}: {error}") from None

    @classmethod
    def from_json(cls, document: Any, patient: Any) -> Cohort:
        """A user's cohort: spreads of the patients' parameters.

        Args:
            document: ``parameters`` maps names of fields to a number or a distribution, see
                :func:`oncogym.envs.distributions.read_distribution`; fields left out have the value
                of ``patient()``. ``name``, ``description`` and ``list`` may be left out:
                ``"population"``, ``"validation"`` and ``"held_out"`` are disjoint lists of
                patients with these spreads.
            patient: Class of the patient records, ``treatment.patient``.

        Raises:
            UnknownNameError: A name is unknown; the message suggests the nearest.
            ValueError: A value is of another kind or out of range, or fields contradict each other;
                the message says what is allowed.
        """
        if not isinstance(document, Mapping):
            raise ValueError(f"a cohort is {shown(document)}; allowed: an object with 'parameters'")
        known = ("name", "description", "list", "parameters")
        for key in document:
            if key not in known:
                raise nearest("part of a cohort", str(key), known)
        texts = {"name": "own", "description": "", "list": "population"}
        for key, default in texts.items():
            texts[key] = document.get(key, default)
            if not isinstance(texts[key], str):
                raise ValueError(f"{key} of a cohort is {shown(texts[key])}; allowed: a text")
        if texts["list"] not in _LISTS:
            raise nearest("list of a cohort", texts["list"], _LISTS)
        spreads = document.get("parameters")
        if not isinstance(spreads, Mapping):
            raise ValueError(
                f"parameters of a cohort are {shown(spreads)}; allowed: an object of names and "
                "spreads"
            )
        usual = dict(zip(patient.FIELDS, patient().to_array().tolist(), strict=True))
        for name in spreads:
            if name not in usual:
                raise nearest("patient field", str(name), usual)
        fields = tuple(
            read_distribution(
                name,
                spreads.get(name, value),
                *getattr(patient, "RANGES", {}).get(name, (-1e300, 1e300)),
                label=name in getattr(patient, "LABELS", ()),
            )
            for name, value in usual.items()
        )
        found = cls(
            texts["name"] or "own",
            texts["description"] or f"{len(spreads)} parameters with spreads of one's own",
            Independent(patient, fields),
            _LISTS[texts["list"]],
            distinct=1 if all(one.is_constant for one in fields) else None,
            document=to_plain({**texts, "parameters": dict(spreads)}),
        )
        found.patients(_PROBED)
        return found

    def listed(self, name: str) -> Cohort:
        """The list called ``name`` of a user's own cohort; of any other, the cohort itself."""
        if self.document is None:
            return self
        return replace(self, stream=_LISTS[name], document={**self.document, "list": name})

    def to_json(self) -> str | dict[str, Any]:
        """What names the cohort to its treatment: its name, or what it was made from."""
        return self.name if self.document is None else dict(self.document)

    def patients(self, count: int, seed: int = 0) -> NDArray[np.float64]:
        """Return the first ``count`` patients as rows ``(count, fields)``.

        ``seed``, below 2**48, selects a different list in an unlimited cohort and is ignored by a
        finite one, whose list is fixed.

        Raises:
            ValueError: ``count`` is below 1 or above the cohort's size, or ``seed`` no integer in
                its range.
        """
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed < _SEEDS:
            raise ValueError(f"seed is {seed!r}; allowed: an integer from 0 to {_SEEDS - 1}")
        if count < 1 or (self.size is not None and count > self.size):
            limit = "no upper limit" if self.size is None else f"at most {self.size}"
            raise ValueError(
                f"cohort {self.name!r} was asked for {count} patients; allowed: at least 1, {limit}"
            )
        index = np.arange(count, dtype=np.uint64)
        base = _COHORT_SEED if self.size is not None else _COHORT_SEED ^ (int(seed) << 16)
        return self.sampler(np.full(count, base, np.uint64), index, self.stream)

    def draw(self, seeds: NDArray[np.uint64], episodes: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Draw one patient for each ``(seed, episode)``: rows ``(k, fields)``."""
        if self.size is None:
            return self.sampler(seeds, episodes, self.stream)
        u = streams.uniforms(seeds, episodes, streams.STREAM_COHORT_INDEX, 1)[:, 0]
        index = (u * self.size).astype(np.uint64)
        return self.sampler(np.full(index.shape, _COHORT_SEED, np.uint64), index, self.stream)


#: What names a cohort: the name of one of a treatment's; of a user's own the path of its file,
#: ending in ``.json``, or the content; or the cohort itself.
CohortName = str | Mapping[str, Any] | Cohort


def read_description(path: StrPath) -> dict[str, Any]:
    """A patient or a cohort as its JSON file describes it; a cohort gets the name of the file.

    Raises:
        OSError: The file cannot be opened.
        CorruptFileError: It is no object of JSON.
    """
    values = dict(Document.read(path, _LONGEST_FILE).values)
    return {"name": Path(path).stem, **values} if "parameters" in values else values


@dataclass(frozen=True)
class Fixed:
    """Sampler that always returns the same patient row."""

    row: tuple[float, ...]

    def __call__(
        self, seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
    ) -> NDArray[np.float64]:
        """Rows ``(k, fields)``, all the same."""
        return np.tile(np.asarray(self.row, np.float64), (len(seeds), 1))


@dataclass(frozen=True)
class LogNormal:
    """Independent log-normal spread of each field about its median.

    Args:
        median: Patient row ``(fields,)`` at the centre.
        variation: Coefficient of variation of each field (0 leaves the field at its median). The
            standard deviation of the logarithm is ``sqrt(ln(1 + cv**2))``.
    """

    median: tuple[float, ...]
    variation: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.median) != len(self.variation):
            raise ValueError(
                f"{len(self.median)} medians but {len(self.variation)} coefficients of variation"
            )

    def __call__(
        self, seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
    ) -> NDArray[np.float64]:
        """Rows ``(k, fields)``, each from its own ``(seed, episode)``."""
        sigma = np.sqrt(np.log1p(np.square(np.asarray(self.variation))))
        return streams.lognormals(seeds, episodes, stream, np.asarray(self.median), sigma)


def standard_cohorts(
    nominal: tuple[float, ...], sampler: Sampler, held_out: int = 1000, validation: int = 256
) -> dict[str, Cohort]:
    """The four cohorts that every treatment offers.

    ``nominal`` is the source's patient; ``population`` is unlimited and meant for training;
    ``validation`` (model selection) and ``held_out`` (reported results) are fixed lists.

    Args:
        nominal: Row of the source's patient.
        sampler: Draws the patients of the other three.
        held_out: Patients of ``held_out``.
        validation: Patients of ``validation``.
    """
    cohorts = (
        Cohort(
            "nominal",
            "the patient of the source",
            Fixed(nominal),
            streams.STREAM_PATIENT,
            distinct=1,
        ),
        Cohort("population", "a new patient at every reset", sampler, streams.STREAM_PATIENT),
        Cohort(
            "validation",
            f"{validation} fixed patients for choosing between policies",
            sampler,
            streams.STREAM_VALIDATION,
            validation,
        ),
        Cohort(
            "held_out",
            f"{held_out} fixed patients for reported results",
            sampler,
            streams.STREAM_HELD_OUT,
            held_out,
        ),
    )
    return {cohort.name: cohort for cohort in cohorts}
