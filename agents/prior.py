"""What is known of a patient before treatment: the spread of a cohort, as normal scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from oncogym.envs.cohort import Cohort
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats

# Patients from whom the spread of each field is learned.
_SAMPLE = 8192
_SAMPLE_SEED = np.uint64(0x51) << np.uint64(40)


class Prior:
    """Patients whom an observer thinks possible, and each field as a standard normal score.

    A cohort is known by its sampler alone. The score of a value is the normal quantile of its rank
    among many patients of the cohort, so that any spread, bounded or skewed, becomes a standard
    normal one. Dependence between fields is kept in the patients that are drawn, but not in scores.

    Args:
        cohort: Where patients come from.
        fields: Names of the fields of a row.
        fixed: Names of fields that have no score: labels, and what is known.
    """

    def __init__(self, cohort: Cohort, fields: Sequence[str], fixed: Sequence[str]) -> None:
        self.cohort = cohort
        keys = np.full(_SAMPLE, _SAMPLE_SEED, np.uint64)
        sample = cohort.sampler(keys, np.arange(_SAMPLE, dtype=np.uint64), cohort.stream)
        ordered = np.sort(sample, axis=0)
        free = np.array([name not in fixed for name in fields])
        #: Columns of a row that differ between patients.
        self.varied: NDArray[np.intp] = np.flatnonzero(free & (ordered[-1] > ordered[0]))
        self._values = ordered[:, self.varied]
        self._levels = ndtri((np.arange(_SAMPLE) + 0.5) / _SAMPLE)

    @classmethod
    def of(cls, problem: Problem) -> Prior:
        """The prior of a problem's patients.

        That of training where it has the same law as their cohort, which then may be known by
        labels that others do not have; else that of the cohort itself.
        """
        cohort, cohorts = problem.cohort, problem.treatment.cohorts
        training = cohorts.get("population", cohort)
        if training.sampler is cohort.sampler:
            cohort = training
        patient = problem.treatment.patient
        fixed = [*getattr(patient, "LABELS", ()), *getattr(patient, "KNOWN", ())]
        return cls(cohort, patient.FIELDS, fixed)

    def draw(self, keys: NDArray[np.uint64]) -> Floats:
        """Patients ``(k, fields)`` with random keys ``(k,)``."""
        return self.cohort.sampler(keys, np.zeros(len(keys), np.uint64), self.cohort.stream)

    def scores(self, rows: Floats) -> Floats:
        """Scores ``(k, varied)`` of patient rows ``(k, fields)``."""
        columns = [
            np.interp(rows[:, field], self._values[:, n], self._levels)
            for n, field in enumerate(self.varied)
        ]
        return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0))

    def write(self, scores: Floats, rows: Floats) -> None:
        """Put the values that have ``scores`` ``(k, varied)`` into patient rows ``(k, fields)``."""
        for n, field in enumerate(self.varied):
            rows[:, field] = np.interp(scores[:, n], self._levels, self._values[:, n])
