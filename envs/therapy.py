"""The contract of a treatment's decision problem, for any number of lanes at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.core.checks import check_choice
from oncogym.core.errors import nearest
from oncogym.core.json_types import JsonObject
from oncogym.envs.buffers import BufferPool
from oncogym.envs.copies import copy_object
from oncogym.envs.outcomes import Metric
from oncogym.envs.patient import PatientRecord
from oncogym.envs.plan_spaces import Floats, PlanSpace, SlotSpace
from oncogym.envs.protocols import Schedule
from oncogym.envs.snapshots import (
    Empty,
    Rows,
    Snapshot,
    State,
    as_run,
    check_names,
    check_shapes,
    copy_lanes,
    different_lanes,
    lane_numbers,
    owner_name,
    write_lanes,
)
from oncogym.envs.threads import Loop, choose
from oncogym.envs.unwritten import CHECKED, check_written, mark

T = TypeVar("T")

# For fewer lanes a fresh array is cheaper than looking for a free one.
_POOLED_LANES = 128
# Larger arrays of snapshots are not kept for the next one [bytes].
_LARGEST_KEPT = 8_000_000


class StepResult(NamedTuple):
    """What one decision did in every lane; all arrays are new at each step.

    Attributes:
        observation: ``(lanes, …)`` of the observation space's dtype.
        reward_terms: ``(lanes, terms)`` unweighted, in the order of ``TherapyTask.reward_terms``.
        costs: ``(lanes, costs)`` constraint violations, 0 = safe, in the order of
            ``TherapyTask.costs``.
        terminated: ``(lanes,)`` the treatment is over.
        truncated: ``(lanes,)`` the treatment was cut off by a limit outside the problem.
        outcome: ``(lanes, metrics)`` clinical metrics; read where the episode is over.
        success: ``(lanes,)`` the success rule of the treatment holds.
    """

    observation: NDArray[Any]
    reward_terms: Floats
    costs: Floats
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    outcome: Floats
    success: NDArray[np.bool_]


class LaneKeys(NamedTuple):
    """Whom each lane treats, and under which chance.

    Attributes:
        patients: Patient rows ``(lanes, fields)``.
        seeds: First half of each lane's random key ``(lanes,)``.
        episodes: Episode number ``(lanes,)``, the second half.
    """

    patients: Floats
    seeds: NDArray[np.uint64]
    episodes: NDArray[np.uint64]


class TherapyTask(ABC):
    """State and dynamics of ``num_lanes`` independent treatments, as arrays with lanes first.

    The base keeps whom each lane treats and its random key (:attr:`keys`), the formulation, the
    objective and its weights, and chooses between the serial and the parallel kernel. A subclass
    keeps its state in arrays and says how lanes start (:meth:`_start_lanes`), take a decision
    (:meth:`_advance_lanes`) and are seen (:meth:`_observe_lanes`), without a Python loop over
    lanes. It draws random numbers only from :mod:`oncogym.envs.streams` keyed by the lane's
    ``(seed, episode)``. Results of a lane must not depend on the other lanes.

    Args:
        num_lanes: Number of independent treatments, at least 1.
        formulation: ``"sound"``, or ``"published"`` for what the source formulated otherwise.
        objective: One of :attr:`objectives`; by default ``"clinical"`` for the sound formulation
            and ``"published"`` for the other.
        observation: One of :attr:`observations`.
        reward_weights: Weights that replace those of the objective, by reward term.

    Raises:
        UnknownNameError: There is no such formulation, objective, observation or reward term.
        ValueError: The number of lanes is below 1, or a weight is not finite.
    """

    #: Class of the patients; lanes that were never reset have its default patient.
    patient_class: ClassVar[type[PatientRecord] | None] = None
    #: Names of what an observation can show; empty where there is no choice.
    observations: ClassVar[tuple[str, ...]] = ()

    reward_terms: ClassVar[tuple[str, ...]]
    costs: ClassVar[tuple[str, ...]]
    metrics: ClassVar[tuple[Metric, ...]]
    #: Names of the observed numbers where a task names them.
    observed: tuple[str, ...] = ()
    #: Lanes that optimisers step together at most: enough to fill the cores, small enough for the
    #: cache. A task with a large state lowers it.
    max_lanes: int = 8192
    #: Fewer lanes than this are computed by the calling thread alone, from their making to their
    #: end, so that a process with scalar environments and small batches may be forked. It is the
    #: smallest batch for which any work of the task gains by threads.
    parallel_lanes: ClassVar[int] = 256
    #: The same for a decision, where that takes more lanes than other work; 0: no more.
    parallel_steps: int = 0
    #: Default weights of the reward terms, by objective; those left out weigh nothing.
    objectives: ClassVar[Mapping[str, Mapping[str, float]]] = {}
    #: The objective of this task, one of :attr:`objectives`.
    objective: str = ""
    #: ``"sound"``, or ``"published"`` for what the source formulated otherwise.
    formulation: str = "sound"
    #: What the observation shows, one of :attr:`observations`.
    observation: str = ""
    #: One ``(name, unit)`` for each component of the action.
    action_parts: tuple[tuple[str, str], ...]

    #: Options that choose how accurately the model is computed, not what the problem is: a policy
    #: trained with other values fits.
    numerical_options: ClassVar[tuple[str, ...]] = ()

    #: Options under which the task takes doses off the grid on which they are asked for: an error
    #: of delivery keeps to no grid.
    delivery_options: ClassVar[Mapping[str, Any]] = {}

    #: Options under which every observed number is without error of measurement, and the course is
    #: the same.
    exact_measurement: ClassVar[Mapping[str, Any]] = {}

    #: Where the task computes, ``"cpu"`` or ``"cuda"``.
    device: str = "cpu"

    observation_space: Box
    action_space: Box
    #: The longest episode, in decisions.
    num_decisions: int

    def __deepcopy__(self, memo: dict[int, Any]) -> TherapyTask:
        return copy_object(self, memo)

    def __init__(
        self,
        num_lanes: int,
        *,
        formulation: str = "sound",
        objective: str | None = None,
        observation: str | None = None,
        reward_weights: Mapping[str, float] | None = None,
    ) -> None:
        if int(num_lanes) != num_lanes or num_lanes < 1:
            raise ValueError(f"num_lanes is {num_lanes!r}; allowed: an integer of at least 1")
        self.num_lanes = int(num_lanes)
        self.formulation = check_choice("formulation", formulation, ("sound", "published"))
        if self.objectives or objective is not None:
            usual = self._usual(objective, "clinical", "published")
            self.objective = check_choice("objective", usual, tuple(self.objectives))
        if observation is not None:
            self.observation = check_choice("observation", observation, self.observations)
        weights = dict(self.default_weights())
        for name, value in (reward_weights or {}).items():
            if name not in weights:
                raise nearest("reward term", name, weights)
            if not np.isfinite(value):
                raise ValueError(
                    f"the weight of reward term {name!r} is {value}; it must be finite"
                )
            weights[name] = float(value)
        self.reward_weights = weights
        if self.patient_class is not None:
            self.patients = np.tile(self.patient_class().to_array(), (self.num_lanes, 1))
        self.seeds = np.zeros(self.num_lanes, np.uint64)
        self.episodes = np.zeros(self.num_lanes, np.uint64)
        self._all_lanes = np.arange(self.num_lanes)
        self._all_lanes.flags.writeable = False
        self._buffers = BufferPool()
        self._snapshots = BufferPool()
        self._none_clipped = np.zeros(self.num_lanes, np.bool_)
        self._none_clipped.flags.writeable = False
        self._weighted_columns = [
            (column, weights[name])
            for column, name in enumerate(self.reward_terms)
            if weights[name] != 0.0
        ]

    @property
    def published(self) -> bool:
        """Whether this is the published formulation."""
        return self.formulation == "published"

    @property
    def keys(self) -> LaneKeys:
        """Patients and random keys of all lanes: the arrays themselves."""
        return LaneKeys(self.patients, self.seeds, self.episodes)

    def _usual(self, value: T | None, sound: T, published: T) -> T:
        """``value``, or if it is not given what is usual in the formulation."""
        if value is not None:
            return value
        return published if self.published else sound

    def _choose(self, serial: Loop, parallel: Loop, lanes: int | None = None) -> Loop:
        """The twin of a compiled loop to call now, once.

        Args:
            serial: The loop on the calling thread.
            parallel: The same on all threads.
            lanes: Number of lanes that it goes over; by default it takes a decision of all.
        """
        if lanes is None:
            large = self.num_lanes >= (self.parallel_steps or self.parallel_lanes)
        else:
            large = lanes >= self.parallel_lanes
        return choose(serial, parallel, large)

    def default_weights(self) -> Mapping[str, float]:
        """Weight of every reward term, by name: by default those of the chosen objective."""
        return {**dict.fromkeys(self.reward_terms, 0.0), **self.objectives[self.objective]}

    @property
    def dose_part(self) -> int | None:
        """Index of the action component that is the dose, the one so named; ``None`` without."""
        names = [name for name, _ in self.action_parts]
        return names.index("dose") if "dose" in names else None

    @property
    def _batch_shape(self) -> tuple[int, ...]:
        return (self.num_lanes, *self.action_space.shape)

    def reset(
        self,
        lanes: NDArray[np.intp],
        patients: Floats,
        seeds: NDArray[np.uint64],
        episodes: NDArray[np.uint64],
    ) -> NDArray[Any]:
        """Start ``lanes`` anew and return their observations ``(k, …)``.

        Args:
            lanes: Lane numbers ``(k,)``.
            patients: Patient rows ``(k, fields)``.
            seeds: Random key of each lane ``(k,)``.
            episodes: Episode number of each lane ``(k,)``, the second half of its random key.
        """
        self.patients[lanes] = patients
        self.seeds[lanes] = seeds
        self.episodes[lanes] = episodes
        seen = self._empty_observations(len(lanes))
        self._start_lanes(lanes, seen)
        if CHECKED:
            check_written(self, "observed number", seen, self.observed)
        return seen

    def step(
        self, actions: Floats, active: NDArray[np.bool_], into: StepResult | None = None
    ) -> StepResult:
        """Advance the ``active`` lanes by one decision; the others keep their state.

        Args:
            actions: ``(lanes, action size)``, finite and within [0, 1] in active lanes.
            active: ``(lanes,)`` lanes whose treatment goes on.
            into: Result of an earlier step, to be overwritten and returned; a new one by default.
        """
        if into is None:
            result = self.empty_result()
        else:
            result = into
            if CHECKED:
                for array in result:
                    mark(array)
        result.truncated[:] = False
        self._advance_lanes(actions, active, result)
        if CHECKED:
            self._check_written(result)
        return result

    def _check_written(self, result: StepResult) -> None:
        outcomes = tuple(metric.name for metric in self.metrics)
        check_written(self, "observed number", result.observation, self.observed)
        check_written(self, "reward term", result.reward_terms, self.reward_terms)
        check_written(self, "cost", result.costs, self.costs)
        check_written(self, "outcome", result.outcome, outcomes)

    def observe(self, lanes: NDArray[np.intp] | None = None) -> NDArray[Any]:
        """Observations ``(k, …)`` of lanes as they are, without a decision.

        Bit for bit what the last :meth:`reset` or :meth:`step` showed of them: noise is a function
        of the lane's random key and its place in the course, and is not drawn again.

        Args:
            lanes: Lane numbers ``(k,)``, all by default.

        Raises:
            NotImplementedError: The task does not define it.
            ValueError: A lane is out of range.
        """
        rows = lane_numbers(lanes, self.num_lanes)
        seen = self._empty_observations(len(rows))
        self._observe_lanes(rows, seen)
        if CHECKED:
            check_written(self, "observed number", seen, self.observed)
        return seen

    def _empty_observations(self, lanes: int) -> NDArray[Any]:
        seen = np.empty((lanes, *self.observation_space.shape), self.observation_space.dtype)
        if CHECKED:
            mark(seen)
        return seen

    @abstractmethod
    def _start_lanes(self, lanes: NDArray[np.intp], seen: NDArray[Any]) -> None:
        """Put ``lanes``, whose patients and keys are set, before their first decision.

        Args:
            lanes: Lane numbers ``(k,)``.
            seen: Their observations ``(k, …)``, to be written.
        """

    @abstractmethod
    def _advance_lanes(
        self, actions: Floats, active: NDArray[np.bool_], result: StepResult
    ) -> None:
        """Take one decision in the active lanes; the others keep their state.

        Args:
            actions: ``(lanes, action size)``, finite and within [0, 1] in active lanes.
            active: ``(lanes,)`` lanes whose treatment goes on.
            result: What to write of every lane, uninitialised but for ``truncated``, which is
                false. Lanes that are not active get their present observation and zeros.
        """

    def _observe_lanes(self, lanes: NDArray[np.intp], seen: NDArray[Any]) -> None:
        """Write what ``lanes`` ``(k,)`` show as they are into ``seen`` ``(k, …)``."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot show its lanes between decisions: it does not define "
            "_observe_lanes()"
        )

    def patient(self, lane: int) -> Any:
        """The patient of a lane, a record of :attr:`patient_class`."""
        if self.patient_class is None:
            raise NotImplementedError(f"{type(self).__name__} does not name its patient_class")
        return self.patient_class.from_array(self.patients[lane])

    @abstractmethod
    def to_physical(self, action: Any) -> JsonObject:
        """Name and physical value of each component of an action or batch of actions.

        Keys are the names in :attr:`action_parts`; the unit of each stands there.
        """

    @abstractmethod
    def schedule_actions(self, schedule: Schedule) -> Floats:
        """Actions ``(num_decisions, action size)`` that carry out a clinical schedule.

        Raises:
            ScheduleError: The decisions of this task cannot express the schedule.
        """

    @abstractmethod
    def describe(self, lane: int) -> str:
        """A few lines of text about the state of one lane (render mode ``ansi``)."""

    @property
    def sees(self) -> str:
        """What an agent that acts by the observation sees, ``"measurable"`` or ``"full state"``."""
        return "measurable" if self.observation == "measurable" else "full state"

    def observation_deviation(self, observation: NDArray[Any], patients: Floats) -> Floats:
        """Standard deviation of the error with which each observed number is measured.

        It depends on the task's options but not on its lanes. Where the error is proportional to
        the number, so is the deviation. Zero means that the number is exact, and infinity that it
        says nothing of its own: a reading that was shown before, or a function of other readings.

        Args:
            observation: Observations ``(k, …)``, usually exact ones (see
                :attr:`exact_measurement`); a deviation is in the unit of its number.
            patients: Patient rows ``(k, fields)``, for numbers that are relative to the patient.

        Returns:
            Deviations of the observations' shape; by default all are exact.
        """
        return np.zeros(np.shape(observation))

    def rekey(
        self,
        lanes: NDArray[np.intp],
        seeds: NDArray[np.uint64],
        episodes: NDArray[np.uint64] | None = None,
    ) -> None:
        """Draw the further chance of lanes from other random keys; what has happened stays.

        Args:
            lanes: Lane numbers ``(k,)``.
            seeds: Random key of each ``(k,)``. A task that keeps no keys has no chance.
            episodes: Second half of the keys ``(k,)``; by default it stays.
        """
        keys = self._key_state()
        for name, values in (("seeds", seeds), ("episodes", episodes)):
            if name in keys and values is not None:
                keys[name][lanes] = values

    def snapshot(self, lanes: NDArray[np.intp] | None = None) -> Snapshot:
        """The state of lanes that were reset, copied; what :meth:`restore` puts back.

        Constants that tasks share (tables, libraries, settings) are not in it.

        Args:
            lanes: Lane numbers ``(k,)``, all by default.

        Raises:
            NotImplementedError: The task does not name its arrays.
            ValueError: A lane is out of range.
        """
        numbers = lane_numbers(lanes, self.num_lanes)
        pooled = len(numbers) == self.num_lanes >= _POOLED_LANES
        state = self._copy_lanes(
            self._named_state(), as_run(numbers), self._kept if pooled else np.empty
        )
        return Snapshot(owner_name(self), state)

    def restore(self, snapshot: Snapshot, lanes: NDArray[np.intp] | None = None) -> None:
        """Put lane ``k`` of a snapshot into ``lanes[k]``: from there its future is the original's.

        The snapshot may be of any lanes, in any order (``Snapshot.take``), and of another task with
        the same options and any number of lanes. Options that change no array are not compared, so
        that a controller may plan with a cheaper fidelity or another objective. Nothing is written
        before everything is checked. Observations are then those of :meth:`observe`.

        Args:
            snapshot: What :meth:`snapshot` gave.
            lanes: Lane numbers ``(k,)``, all different; all lanes by default.

        Raises:
            NotImplementedError: The task does not name its arrays.
            ValueError: The snapshot is of another class or has lanes of another shape or number,
                or a lane is out of range or given twice; the message names the difference.
        """
        rows = as_run(different_lanes(lanes, self.num_lanes, len(snapshot)))
        check_names(snapshot, owner_name(self), self._named_state())
        check_shapes(snapshot.arrays, self._key_state())
        values = self._receive(snapshot.arrays)
        state = self._named_state()
        check_shapes(values, state)
        self._write_lanes(state, rows, values)

    def _lane_state(self) -> State:
        """Every array of this task that a lane's future or description depends on, by name.

        The arrays themselves, or views of them that have the lanes as the first axis. Scratch
        memory that each step writes anew, and constants, do not belong here; patients and random
        keys are added by the base.

        Raises:
            NotImplementedError: A subclass does not define it.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no snapshots: it does not name the arrays of its lanes in "
            "_lane_state()"
        )

    def _named_state(self) -> State:
        state = {**self._key_state(), **self._lane_state()}
        for name, array in state.items():
            if array.shape[:1] != (self.num_lanes,):
                raise ValueError(
                    f"{name} of {type(self).__name__} has shape {array.shape}; allowed: "
                    f"({self.num_lanes}, …), the lanes first"
                )
        return state

    def _key_state(self) -> State:
        return {} if self.patient_class is None else self.keys._asdict()

    def _receive(self, values: State) -> State:
        """Make what a snapshot's lanes need here (constants, wider arrays); the arrays to write.

        Raises:
            ValueError: The lanes cannot be had here.
        """
        return values

    def _copy_lanes(self, state: State, rows: Rows, empty: Empty) -> State:
        """Copies of some lanes; a task that keeps state on a device overrides it."""
        return copy_lanes(state, rows, empty)

    def _kept(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Memory for a snapshot of all lanes, that of a forgotten one unless it is large."""
        small = math.prod(shape) * dtype.itemsize <= _LARGEST_KEPT
        return self._snapshots.empty(shape, dtype) if small else np.empty(shape, dtype)

    def _write_lanes(self, state: State, rows: Rows, values: State) -> None:
        """Write into some lanes; a task that keeps state on a device overrides it."""
        write_lanes(state, rows, values)

    def plan_space(self) -> PlanSpace:
        """Search space of open-loop plans: by default every action of an episode."""
        size = int(np.prod(self.action_space.shape))
        shape = (self.num_decisions, size)
        dimension = self.num_decisions * size

        def decode(plans: Floats) -> Floats:
            return np.asarray(plans, np.float64).reshape(len(plans), *shape)

        return PlanSpace(np.zeros(dimension), np.ones(dimension), decode, np.ravel)

    def slot_space(self, max_dose: float | None = None, min_gap: float | None = None) -> SlotSpace:
        """Lattice of schedules for optimisers that place doses in time slots.

        Args:
            max_dose: Largest dose of a slot, in the unit of the space; ``None`` takes the model's.
            min_gap: Least time between doses, likewise.

        Raises:
            NotImplementedError: The model cannot be planned on time slots.
            ValueError: A limit is out of the model's range.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot be planned on time slots: it offers no slot space; "
            "use an optimiser of its plan space instead"
        )

    def safe_actions(self, actions: Floats) -> Floats:
        """The largest safe actions ``(lanes, action size)`` not above ``actions``.

        Raises:
            NotImplementedError: The model cannot say what a safe action is.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot say which action is safe; use a safety penalty instead"
        )

    def shown_safe_actions(self, observation: NDArray[Any]) -> Floats:
        """The largest actions that are safe by what observations themselves show.

        That is the last scan where a task shows what a clinic can measure. No lane is asked.

        Args:
            observation: Observations ``(k, …)``.

        Returns:
            Actions ``(k, action size)``; infinity in components that are no dose.

        Raises:
            NotImplementedError: Observations do not say which dose is safe.
        """
        raise NotImplementedError(
            f"{type(self).__name__} with observation={self.observation!r} does not show which dose "
            "is safe"
        )

    def empty_result(self) -> StepResult:
        """A result whose arrays are uninitialised: :meth:`step` must write every lane.

        Inactive lanes get their present observation and zeros.
        """
        lanes = self.num_lanes
        empty = self._buffers.empty if lanes >= _POOLED_LANES else np.empty
        space = self.observation_space
        result = StepResult(
            empty((lanes, *space.shape), space.dtype),
            empty((lanes, len(self.reward_terms))),
            empty((lanes, len(self.costs))),
            empty((lanes,), np.bool_),
            empty((lanes,), np.bool_),
            empty((lanes, len(self.metrics))),
            empty((lanes,), np.bool_),
        )
        if CHECKED:
            for array in result:
                mark(array)
        return result

    def check_actions(
        self, actions: Any, active: NDArray[np.bool_]
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Validate a batch of actions and move it into the box.

        Returns:
            Actions ``(lanes, action size)`` float64 within [0, 1] and a mask ``(lanes,)`` of the
            active lanes whose action lay outside.

        Raises:
            ValueError: The actions are not real numbers or of the wrong shape, or an active lane's
                is not finite; the message names the lane.
        """
        batch = real_numbers("actions", actions).astype(np.float64)
        if batch.shape != self._batch_shape:
            raise ValueError(
                f"actions have shape {batch.shape}; allowed: {self._batch_shape}, one row of "
                f"{self.action_space.shape} for each of {self.num_lanes} lane(s)"
            )
        # Written so that NaN counts as outside; reductions cost more than one number.
        if batch.size == 1:
            all_inside = 0.0 <= batch.item() <= 1.0
        else:
            all_inside = batch.min() >= 0.0 and batch.max() <= 1.0
        if all_inside:
            return batch, self._none_clipped
        inside = (batch >= 0.0) & (batch <= 1.0)
        axes = tuple(range(1, batch.ndim))
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(batch).all(axis=axes))
        if not finite[active].all():
            lane = int(np.flatnonzero(active & ~finite)[0])
            raise ValueError(
                f"the action of lane {lane} is {batch[lane].tolist()}; allowed: finite numbers in "
                "[0, 1]"
            )
        batch[~finite] = 0.0
        return np.clip(batch, 0.0, 1.0, out=batch), active & ~inside.all(axis=axes)

    def weighted_sum(self, terms: Sequence[float]) -> float:
        """Reward of one lane from its terms, bit for bit that of :meth:`weighted_reward`."""
        reward = 0.0
        for column, weight in self._weighted_columns:
            reward += weight * terms[column]
        return reward

    def weighted_reward(self, terms: Floats) -> Floats:
        """Reward ``(lanes,)``: the weighted sum of ``terms`` ``(lanes, terms)``.

        Terms are added in their order, so that a lane's sum does not depend on the batch.
        """
        reward = np.zeros(len(terms))
        for column, weight in self._weighted_columns:
            reward += weight * terms[:, column]
        return reward


def real_numbers(name: str, values: Any) -> NDArray[Any]:
    """``values`` as an array of integers or floating-point numbers, as they are.

    Raises:
        ValueError: They are anything else, of which a conversion would lose or make up a part:
            complex or boolean numbers, text, masked entries, objects, lists of unequal length.
    """
    try:
        array = np.asanyarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} are not numbers: {error}") from None
    if array.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} are not numbers but {array.dtype}; allowed: integers or floating-point numbers"
        )
    if type(array) is not np.ndarray:
        if np.ma.is_masked(array):
            raise ValueError(f"{name} are masked in part; allowed: numbers everywhere")
        array = np.asarray(array)
    return array
