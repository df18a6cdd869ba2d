"""How good a policy is on the patients by which policies are chosen."""

from __future__ import annotations

import numpy as np

from oncogym.agents.agent import Agent
from oncogym.agents.rollout import Rollout, rollout
from oncogym.training.settings import RunSettings

# Random keys of the evaluation episodes, far from those with which results are reported.
_FIRST_SEED = 1 << 40
# Patients of an evaluation in a cohort without an end and without a validation list beside it.
_UNLIMITED = 16


class Evaluator:
    """Treats the same patients with every policy, deterministically.

    They come from the cohort ``validation``, those of a user's own cohort from that list of it; a
    run that trains on the nominal or on one fixed patient is evaluated on that patient, and one
    whose treatment has no such cohort on its own.

    Args:
        settings: Settings of the run.
    """

    def __init__(self, settings: RunSettings) -> None:
        problem = settings.problem
        cohort = problem.cohort.listed("validation")
        theirs = cohort.distinct != 1 and cohort.document is None
        if theirs and "validation" in problem.treatment.cohorts:
            cohort = problem.treatment.cohort("validation")
        count = min(settings.evaluation_patients, cohort.size or _UNLIMITED)
        chosen = problem.drawn(count, cohort=cohort)
        self.cohort = cohort.name
        self._patients = chosen.patients
        self._seeds = np.arange(count, dtype=np.uint64) + np.uint64(_FIRST_SEED)
        self.task = chosen.task()

    def __call__(self, agent: Agent) -> Rollout:
        """One episode with each patient."""
        return rollout(self.task, agent, self._patients, self._seeds)

    def scalars(self, result: Rollout) -> dict[str, float]:
        """Means over the patients, by name."""
        found = {
            "return": float(result.returns.mean()),
            "length": float(result.lengths.mean()),
            "success_rate": float(result.success.mean()),
            "cost": float(result.costs.sum(axis=1).mean()),
        }
        for metric, values in zip(self.task.metrics, result.outcome.T, strict=True):
            found[metric.name] = float(values.mean())
        return found
