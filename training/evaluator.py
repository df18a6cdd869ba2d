"""How good a policy is on the patients by which policies are chosen."""

from __future__ import annotations

import numpy as np

from oncogym.agents.learned import PolicyAgent
from oncogym.agents.policy_files import Policy
from oncogym.agents.rollout import Rollout, rollout
from oncogym.envs.options import resolve_options
from oncogym.envs.registry import find_variant
from oncogym.training.settings import RunSettings

# Random keys of the evaluation episodes, far from those with which results are reported.
_FIRST_SEED = 1 << 40


class Evaluator:
    """Treats the same patients with every policy, deterministically.

    They come from the cohort ``validation``; a run that trains on the nominal or on one fixed
    patient is evaluated on that patient, and one whose treatment has no such cohort on its own.

    Args:
        settings: Settings of the run.
    """

    def __init__(self, settings: RunSettings) -> None:
        treatment, variant = find_variant(settings.env_id)
        options, environment = resolve_options(treatment, variant, settings.options)
        trained = environment.get("cohort", "nominal")
        chosen = trained if trained == "nominal" or "validation" not in treatment.cohorts else ""
        cohort = treatment.cohort(chosen or "validation")
        count = min(settings.hyperparameters.evaluation_patients, cohort.size or 16)
        if environment.get("patient") is None:
            self._patients = cohort.patients(count)
            self.cohort = cohort.name
        else:
            self._patients = treatment.patient_rows(environment["patient"], count)
            self.cohort = "patient"
        self._seeds = np.arange(count, dtype=np.uint64) + np.uint64(_FIRST_SEED)
        self.task = treatment.task(count, **options)

    def __call__(self, policy: Policy) -> Rollout:
        """One episode with each patient."""
        return rollout(self.task, PolicyAgent(policy), self._patients, self._seeds)

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
