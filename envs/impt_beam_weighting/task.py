"""IMPT beam weighting as a decision problem for any number of lanes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from oncogym.core.checks import check_option, whole_number
from oncogym.core.json_types import JsonObject
from oncogym.envs.impt_beam_weighting import records
from oncogym.envs.impt_beam_weighting.fraction_kernels import MEAN_WEIGHT
from oncogym.envs.impt_beam_weighting.fractions import Course
from oncogym.envs.impt_beam_weighting.model import IMPTPatient
from oncogym.envs.impt_beam_weighting.refinement import Refinement
from oncogym.envs.outcomes import Metric
from oncogym.envs.plan_spaces import PlanSpace
from oncogym.envs.protocols import Schedule
from oncogym.envs.records import check_order, names_of
from oncogym.envs.snapshots import State
from oncogym.envs.therapy import Floats, StepResult, TherapyTask

_OBJECTIVES: dict[str, dict[str, float]] = {
    "clinical": {
        "coverage": 1.0,
        "hot_spot": 1.0,
        "organ_excess": 1.0,
        "organ_mean": MEAN_WEIGHT,
        "normal_tissue": MEAN_WEIGHT,
    },
    "published": {"planning": 1.0},
}


class IMPTTask(TherapyTask):
    """Fractions of a plan library, or refinements of weights; the page describes the options.

    Args:
        num_lanes: Number of independent treatments.
        formulation: ``"sound"`` (fractions under errors) or ``"published"`` (the source's planning
            of 40 weights).
        objective: Default reward weights, ``"clinical"`` or ``"published"``; by default that of
            the formulation.
        observation: ``"measurable"`` or ``"full"`` (with the true errors; published: with the
            gradient of the cost).
        phantom: Name of a phantom of the suite, or a ``.json`` or ``.npz`` file of one; by default
            ``"abutting"`` (sound) or ``"published"``.
        influence: A user's own dose influence instead of a phantom: a file written by
            ``DoseInfluence.save``.
        fractions: Number of fractions (sound) or of refinements (published); 30 or 10 by default.
        max_dose: Largest dose of a fraction, as a multiple of the daily dose.
        max_shift: Largest couch correction along each axis [cm].
        max_range: Largest relative range correction.
        shift_noise: Standard deviation of a measured displacement along each axis [cm].
        dose_noise: Relative standard deviation of the observed doses.
        max_factor: Largest factor of a weight in one refinement.
        success_coverage: Share of the prescription that D95 must reach for success.
        hot_spot: Share of the prescription above which D2 counts as a hot spot.
        plan_phases: An optimiser's plan has so many phases of the same action each.
        reward_weights: Weights that replace the objective's, by reward term.
    """

    exact_measurement: ClassVar[Mapping[str, Any]] = {"shift_noise": 0.0, "dose_noise": 0.0}
    patient_class = IMPTPatient
    observations = ("measurable", "full")
    #: From here on refinements are shared out; a library of plans is made by all threads, too.
    parallel_lanes = 4
    reward_terms: ClassVar[tuple[str, ...]] = names_of(records.TERMS)
    objectives: ClassVar[Mapping[str, Mapping[str, float]]] = _OBJECTIVES
    costs: ClassVar[tuple[str, ...]] = names_of(records.COSTS)
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("d95", "Target D95", "Gy", True),
        Metric("d98", "Target D98", "Gy", True),
        Metric("d2", "Target D2", "Gy", False),
        Metric("target_mean", "Target mean dose", "Gy", None),
        Metric("organ_excess", "Dose over the organs' limits", "Gy", False),
        Metric("organ_peak", "Largest organ dose relative to its limit", "%", False),
        Metric("organ_mean", "Mean dose of the organs", "Gy", False),
        Metric("normal_mean", "Mean dose of normal tissue", "Gy", False),
        Metric("score", "Score of the dose (sound: in Gy; published: the cost)", "", False),
    )
    check_order("outcome", [metric.name for metric in metrics], records.OUTCOME)

    def __init__(
        self,
        num_lanes: int,
        *,
        formulation: str = "sound",
        objective: str | None = None,
        observation: str = "measurable",
        phantom: str | None = None,
        influence: str | None = None,
        fractions: int | None = None,
        max_dose: float = 2.0,
        max_shift: float = 1.0,
        max_range: float = 0.08,
        shift_noise: float = 0.1,
        dose_noise: float = 0.01,
        max_factor: float = 4.0,
        success_coverage: float = 0.95,
        hot_spot: float = 1.07,
        plan_phases: int = 1,
        reward_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(
            num_lanes,
            formulation=formulation,
            objective=objective,
            observation=observation,
            reward_weights=reward_weights,
        )
        source = self._usual(phantom or None, "abutting", "published")
        count = whole_number("fractions", self._usual(fractions, 30, 10), 1, 1000)
        coverage = check_option("success_coverage", success_coverage, 0.0, 2.0)
        hot = check_option("hot_spot", hot_spot, 0.0, 10.0)
        phases = whole_number("plan_phases", plan_phases, 1, count)
        self._problem: Course | Refinement
        if self.published:
            self._problem = Refinement(
                self.num_lanes, source, influence, self.observation, count, max_factor, coverage,
                hot,
            )  # fmt: skip
        else:
            self._problem = Course(
                self.num_lanes, source, influence, self.observation, count, max_dose, max_shift,
                max_range, shift_noise, dose_noise, coverage, hot, phases,
            )  # fmt: skip
        self.num_decisions = self._problem.num_decisions
        self.action_parts = self._problem.action_parts
        self.action_space = self._problem.action_space
        self.observation_space = self._problem.observation_space
        self.observed = self._problem.observed
        self.parallel_steps = self._problem.parallel_steps

    @property
    def course(self) -> Course:
        """The courses of the sound formulation.

        Raises:
            AttributeError: The formulation is the published one.
        """
        if not isinstance(self._problem, Course):
            raise AttributeError("the published formulation has no course of fractions")
        return self._problem

    @property
    def refinement(self) -> Refinement:
        """The refinements of the published formulation.

        Raises:
            AttributeError: The formulation is the sound one.
        """
        if not isinstance(self._problem, Refinement):
            raise AttributeError("the sound formulation refines no weights")
        return self._problem

    def _start_lanes(self, lanes: NDArray[np.intp], seen: NDArray[np.float32]) -> None:
        """Put ``lanes`` before the first decision.

        The plan library of an anatomy is made when it is first met, which takes about a second.

        Raises:
            ValueError: The phantom has no such anatomy.
        """
        self._problem.start(lanes, self.keys, seen)

    def _advance_lanes(
        self, actions: Floats, active: NDArray[np.bool_], result: StepResult
    ) -> None:
        """Give a fraction, or change the weights."""
        advance = self._choose(*self._problem.loops)
        self._problem.advance(advance, actions, active, self.keys, result)

    def _observe_lanes(self, lanes: NDArray[np.intp], seen: NDArray[np.float32]) -> None:
        self._problem.observe(lanes, self.keys, seen)

    def observation_deviation(self, observation: NDArray[Any], patients: Floats) -> Floats:
        """Errors of displacements and doses; see :meth:`TherapyTask.observation_deviation`.

        The mean of the measured displacements follows from them. The published formulation has no
        errors.
        """
        if isinstance(self._problem, Course):
            return self._problem.observation_deviation(np.asarray(observation, np.float64))
        return super().observation_deviation(observation, patients)

    def _lane_state(self) -> State:
        return self._problem.lane_state()

    def _receive(self, values: State) -> State:
        return self._problem.receive(values)

    def to_physical(self, action: Any) -> JsonObject:
        """Physical values of an action; names and units stand in :attr:`action_parts`."""
        return self._problem.to_physical(np.clip(np.asarray(action, np.float64), 0.0, 1.0))

    def schedule_actions(self, schedule: Schedule) -> Floats:
        """Actions that give each ``(fraction, plan, dose)``.

        Fractions count from 0; plans are numbered robust 0, nominal 1, single field 2, equal 3; the
        dose is a multiple of the daily one. There are no corrections.

        Raises:
            ScheduleError: The formulation has no fractions, the library no such plan, or a number
                is out of range.
        """
        return self._problem.schedule_actions(schedule)

    def plan_space(self) -> PlanSpace:
        """Sound: one action for each of ``plan_phases`` phases. Published: final weights."""
        return self._problem.plan_space()

    def describe(self, lane: int) -> str:
        """Progress and dose-volume numbers so far."""
        return self._problem.describe(lane)
