"""What goes wrong between an agent and a treatment: one interface for all agents and treatments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.agent import Agent, attending
from oncogym.agents.delegate import Delegate
from oncogym.core.checks import check_choice, check_option, whole_number
from oncogym.envs import streams
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats, TherapyTask
from oncogym.envs.treatment import Treatment


@dataclass(frozen=True)
class Kind:
    """One way in which a treatment departs from what was decided.

    Args:
        label: What it is called in tables and figures.
        unit: What ``Perturbation.size`` counts.
        sizes: Sizes of a study by default.
        event: It happens once, at fraction ``Perturbation.when``; its sizes are whole numbers.
        dose: It changes doses.
    """

    label: str
    unit: str
    sizes: tuple[float, ...]
    event: bool = False
    dose: bool = True


#: All kinds by name.
KINDS: dict[str, Kind] = {
    "missed": Kind("Missed fractions", "fractions in a row", (1.0,), event=True),
    "delayed": Kind("Delayed fraction", "decisions later", (1.0,), event=True),
    "swapped": Kind("Swapped fractions", "fractions apart", (1.0,), event=True),
    "dose_error": Kind("Random dose error", "relative sd, each dose", (0.05, 0.1, 0.2)),
    "dose_bias": Kind("Systematic dose error", "relative sd, each course", (0.05, 0.1, 0.2)),
    "observation_noise": Kind(
        "Noise of observations", "sd / spread of what is seen", (0.1, 0.3, 1.0), dose=False
    ),
    "patient_spread": Kind(
        "Patients further out", "further deviation / own deviation", (0.25, 0.5, 1.0), dose=False
    ),
}

# Relative errors of doses end here: no machine gives a negative dose.
_MOST_SIGMAS = 3.0
_LARGEST = 100
# Halvings of the further deviation of a patient whom the model does not take.
_HALVINGS = 6


@dataclass(frozen=True)
class Perturbation:
    """A departure from the decided treatment, the same for every agent.

    A fraction is a decision that asks for a dose above 0, counted from 1 in each course. The agent
    learns what was given only from its next observation.

    - ``missed``: ``size`` fractions from number ``when`` on are not given.
    - ``delayed``: the dose of fraction ``when`` is given ``size`` decisions later, on top of the
      dose of that decision; what the largest dose leaves no room for is lost, and all of it if the
      course ends before.
    - ``swapped``: fractions ``when`` and ``when + size`` of the unperturbed course exchange doses.
      For an agent that observes, both doses are those that it gave the same patient in the
      unperturbed course; all its other decisions are its own.
    - ``dose_error``: every dose is multiplied by a number of its own, normal about 1 with standard
      deviation ``size``, ends cut at 3 standard deviations and at 0; never above the largest dose.
    - ``dose_bias``: the same with one number for each course.
    - ``observation_noise``: normal noise on every component of every observation, its standard
      deviation ``size`` times that of the component over the agent's unperturbed courses; the
      result stays in the observation box.
    - ``patient_spread``: every parameter of a patient departs from the nominal by ``1 + size``
      times as much, on a logarithmic scale where both are positive, within the record's ranges.

    Args:
        kind: One of :data:`KINDS`.
        size: How much, in the unit of the kind; 0 changes nothing.
        when: Number of the fraction, from 1, where the kind happens once.
        seed: Seed of the errors and the noise.

    Raises:
        UnknownNameError: There is no such kind; the message suggests the nearest.
        ValueError: A value is out of range; the message names it and the range.
    """

    kind: str
    size: float
    when: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("kind of perturbation", self.kind, tuple(KINDS))
        label = f"size of {self.kind}"
        size: float
        if KINDS[self.kind].event:
            size = whole_number(label, self.size, 0, _LARGEST)
        else:
            size = check_option(label, self.size, 0.0, _LARGEST)
        object.__setattr__(self, "size", float(size))
        whole_number("when", self.when, 1, 10**6)
        whole_number("seed", self.seed, 0, 2**32 - 1)

    @property
    def about(self) -> Kind:
        """Label, unit and nature of the kind."""
        return KINDS[self.kind]

    def require_fit(self, task: TherapyTask) -> None:
        """Make sure that the perturbation means something in a task.

        Raises:
            ValueError: It changes doses, and no component of the action is one.
        """
        if self.about.dose and task.dose_part is None:
            names = ", ".join(name for name, _ in task.action_parts[:3])
            raise ValueError(
                f"{self.kind!r} changes doses; allowed: tasks with an action component called "
                f"'dose', here they are {names}, …"
            )

    def problem(self, problem: Problem) -> Problem:
        """The problem in which the perturbed course takes place: other patients, a finer grid."""
        if self.size == 0.0:
            return problem
        if self.kind == "patient_spread":
            return replace(problem, patients=spread_patients(problem, self.size))
        options = problem.treatment.task.delivery_options
        if self.kind in ("dose_error", "dose_bias") and options:
            return replace(problem, options={**problem.options, **options})
        return problem


@dataclass(frozen=True)
class Course:
    """What an agent did and saw without perturbation, for those kinds that refer to it.

    Attributes:
        actions: ``(lanes, decisions, action size)``, NaN after the end of a lane.
        gives: Decisions that are fractions ``(lanes, decisions)``.
        spread: Standard deviation of each component of the observations ``(…)``, over all lanes and
            decisions; ``None`` if nobody watched.
    """

    actions: Floats
    gives: NDArray[np.bool_]
    spread: Floats | None = None

    @classmethod
    def of(cls, task: TherapyTask, actions: Floats, seen: list[NDArray[Any]]) -> Course:
        """From recorded actions, and observations of each decision ``(lanes, …)``, or none.

        Args:
            task: Whose actions they are.
            actions: Fractions ``(lanes, decisions, size)``, NaN where a lane has ended.
            seen: Observations of each decision, or none.
        """
        active = ~np.isnan(actions).any(axis=2)
        gives = active & _asks_dose(task, actions)
        spread = None
        if seen:
            rows = np.stack(seen, axis=1)[active].astype(np.float64)
            spread = rows.std(axis=0)
        return cls(actions, gives, spread)

    def part(self, lanes: slice) -> Course:
        """The courses of some lanes; the spread stays that of all."""
        return replace(self, actions=self.actions[lanes], gives=self.gives[lanes])

    @property
    def fractions(self) -> NDArray[np.int64]:
        """Number of fractions of each lane ``(lanes,)``."""
        return np.asarray(self.gives.sum(axis=1), np.int64)

    def place(self, number: int) -> NDArray[np.int64]:
        """Decision of fraction ``number`` in each lane ``(lanes,)``, -1 where there is none."""
        counted = np.cumsum(self.gives, axis=1)
        at = np.argmax(self.gives & (counted == number), axis=1)
        return np.where(self.fractions >= number, at, -1)

    def affected(self, perturbation: Perturbation) -> NDArray[np.bool_]:
        """Lanes in which the perturbation takes place ``(lanes,)``."""
        if not perturbation.about.event or perturbation.size == 0.0:
            return np.ones(len(self.actions), np.bool_)
        last = perturbation.when
        if perturbation.kind == "swapped":
            last += int(perturbation.size)
        return self.fractions >= last


class Spectator(Delegate):
    """An agent that keeps what another one sees.

    Args:
        agent: The one that decides.
    """

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self.seen: list[NDArray[Any]] = []

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Ask the other agent."""
        self.seen.append(np.array(observation))
        return super().predict(observation, state, episode_start, deterministic)


class PerturbedAgent:
    """An agent whose decisions, or observations, are changed on their way.

    One object goes with one batch of courses that start together.

    Args:
        agent: The agent that decides.
        perturbation: What goes wrong.
        task: A task with the options for which the agent decides.
        seeds: Random key of each lane ``(lanes,)``, as the courses have them.
        course: The agent's unperturbed courses; ``swapped`` and ``observation_noise`` need them.

    Attributes:
        asked: Dose of each decision that the agent wanted ``(lanes,)``, as a share of the largest.
        given: What became of it.

    Raises:
        ValueError: The perturbation does not fit the task or needs the unperturbed courses.
    """

    def __init__(
        self,
        agent: Agent,
        perturbation: Perturbation,
        task: TherapyTask,
        seeds: NDArray[np.uint64],
        course: Course | None = None,
    ) -> None:
        perturbation.require_fit(task)
        self._agent = agent
        self._what = perturbation
        self._task = task
        self._seeds = np.asarray(seeds, np.uint64) ^ (np.uint64(perturbation.seed) << np.uint64(32))
        self.asked: list[Floats] = []
        self.given: list[Floats] = []
        lanes = len(self._seeds)
        self._looks = 0
        self._number = np.zeros(lanes, np.int64)
        self._carried = np.zeros(lanes)
        self._due = np.full(lanes, -1, np.int64)
        self._spread: Floats | None = None
        size = perturbation.size
        if perturbation.kind == "swapped" and size > 0.0:
            if course is None:
                raise ValueError("'swapped' needs the unperturbed courses of the agent")
            self._plan_swap(course)
        if perturbation.kind == "observation_noise" and size > 0.0:
            if course is None or course.spread is None:
                raise ValueError(
                    "'observation_noise' needs what the agent sees in its unperturbed courses"
                )
            self._spread = size * course.spread
        changes: dict[str, Callable[[Floats, NDArray[np.bool_]], Floats]] = {
            "missed": self._miss,
            "delayed": self._delay,
            "swapped": self._swap,
            "dose_error": self._err,
            "dose_bias": self._err,
        }
        self._change = changes.get(perturbation.kind) if size > 0.0 else None

    def attend(self, task: TherapyTask) -> PerturbedAgent:
        """Let the agent attend the live task, if it has to."""
        self._agent = attending(self._agent, task)
        return self

    def _plan_swap(self, course: Course) -> None:
        early = course.place(self._what.when)
        late = course.place(self._what.when + int(self._what.size))
        both = (early >= 0) & (late >= 0)
        part = self._task.dose_part
        assert part is not None
        doses = course.actions[:, :, part]
        lanes = np.arange(len(doses))
        self._places = np.where(both, np.stack([early, late]), -1)
        self._doses = np.stack([doses[lanes, late], doses[lanes, early]])

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Decide, and change the dose of the decision; other components stay."""
        wanted, state = self._agent.predict(
            self._see(observation), state, episode_start, deterministic
        )
        part = self._task.dose_part
        if self._change is None or part is None:
            return wanted, state
        actions = np.array(wanted, np.float64)
        asked = actions[:, part].copy()
        gives = _asks_dose(self._task, actions)
        self._number += gives
        given = self._change(np.clip(asked, 0.0, 1.0), gives)
        # Decisions that nothing happens to keep what they were, even outside the box.
        same = given == np.clip(asked, 0.0, 1.0)
        actions[:, part] = np.where(same, asked, given)
        self.asked.append(asked)
        self.given.append(actions[:, part].copy())
        return actions, state

    def lost(self, taken: Floats) -> Floats:
        """Dose asked for and not given in each lane ``(lanes,)``, as a share of the largest.

        Args:
            taken: Actions of the perturbed courses ``(lanes, decisions, action size)``, NaN after
                the end of a lane.
        """
        if not self.asked:
            return np.zeros(len(taken))
        active = ~np.isnan(taken).any(axis=2)
        missing = np.stack(self.asked, axis=1) - np.stack(self.given, axis=1)
        return np.asarray(np.where(active, missing, 0.0).sum(axis=1))

    @property
    def _decision(self) -> int:
        return len(self.asked)

    def _miss(self, doses: Floats, gives: NDArray[np.bool_]) -> Floats:
        first = self._what.when
        gone = gives & (self._number >= first) & (self._number < first + self._what.size)
        return np.where(gone, 0.0, doses)

    def _delay(self, doses: Floats, gives: NDArray[np.bool_]) -> Floats:
        put_off = gives & (self._number == self._what.when)
        self._carried[put_off] = doses[put_off]
        self._due[put_off] = self._decision + int(self._what.size)
        arrives = self._due == self._decision
        doses = np.where(put_off, 0.0, doses)
        return np.where(arrives, np.minimum(doses + self._carried, 1.0), doses)

    def _swap(self, doses: Floats, gives: NDArray[np.bool_]) -> Floats:
        for place, dose in zip(self._places, self._doses, strict=True):
            doses = np.where(place == self._decision, dose, doses)
        return doses

    def _err(self, doses: Floats, gives: NDArray[np.bool_]) -> Floats:
        each = self._what.kind == "dose_error"
        moments = np.full(len(doses), self._decision if each else 0, np.uint64)
        drawn = streams.normals(self._seeds, moments, streams.STREAM_DOSE_ERROR, 2)
        error = np.clip(drawn[:, 0 if each else 1], -_MOST_SIGMAS, _MOST_SIGMAS)
        if self._task.delivery_options:
            doses = self._on_grid(doses)
        return np.clip(doses * np.maximum(1.0 + self._what.size * error, 0.0), 0.0, 1.0)

    def _on_grid(self, doses: Floats) -> Floats:
        """Doses as they would have been rounded: the error comes after that."""
        part = self._task.dose_part
        assert part is not None
        actions = np.ones((len(doses), *self._task.action_space.shape))
        largest = _physical_dose(self._task, actions)
        actions[:, part] = doses
        return _physical_dose(self._task, actions) / largest

    def _see(self, observation: NDArray[np.generic]) -> NDArray[Any]:
        if self._spread is None:
            return observation
        space = self._task.observation_space
        lanes = len(observation)
        size = int(np.prod(space.shape))
        moments = np.full(lanes, self._looks, np.uint64)
        self._looks += 1
        noise = streams.normals(self._seeds, moments, streams.STREAM_OBSERVATION_NOISE, size)
        seen = observation + self._spread * noise.reshape(observation.shape)
        return np.clip(seen, space.low, space.high).astype(observation.dtype)


def _physical_dose(task: TherapyTask, actions: Floats) -> Floats:
    part = task.dose_part
    assert part is not None
    name = task.action_parts[part][0]
    return np.asarray(task.to_physical(np.clip(actions, 0.0, 1.0))[name], np.float64)


def _asks_dose(task: TherapyTask, actions: Floats) -> NDArray[np.bool_]:
    """Decisions ``(…)`` among actions ``(…, action size)`` that ask for a dose above 0."""
    if task.dose_part is None:
        return np.zeros(actions.shape[:-1], np.bool_)
    with np.errstate(invalid="ignore"):
        return np.asarray(_physical_dose(task, actions) > 0.0)


def largest_dose(task: TherapyTask) -> float:
    """Physical value of the largest dose, 0 where there is none."""
    if task.dose_part is None:
        return 0.0
    return float(_physical_dose(task, np.ones((1, *task.action_space.shape)))[0])


def spread_patients(problem: Problem, size: float) -> Floats:
    """Patients whose deviations from the nominal are ``1 + size`` times as large.

    A patient whom the model does not take that far out goes as far as it does, in halves.

    Raises:
        ValueError: The record has no nominal patient.
    """
    treatment = problem.treatment
    rows = np.array([further_out(treatment, row, size) for row in problem.patients])
    if _accepted(problem, rows):
        return rows
    for number, original in enumerate(problem.patients):
        extra = size
        for _ in range(_HALVINGS):
            if _accepted(problem, rows[number : number + 1]):
                break
            extra *= 0.5
            rows[number] = further_out(treatment, original, extra)
        else:
            rows[number] = original
    return rows


def _accepted(problem: Problem, rows: Floats) -> bool:
    """Whether the records and the task take patients."""
    lanes = np.arange(len(rows))
    keys = np.zeros(len(rows), np.uint64)
    try:
        for row in rows:
            problem.treatment.patient.from_array(row)
        problem.task(len(rows)).reset(lanes, rows, keys, keys)
    except ValueError:
        return False
    return True


def further_out(treatment: Treatment, row: Floats, size: float) -> Floats:
    """A patient's row ``(fields,)`` with deviations from the nominal ``1 + size`` times as large.

    Args:
        treatment: The treatment.
        row: The patient ``(fields,)``.
        size: Relative enlargement of its deviations, 0 for none.

    Raises:
        ValueError: The record has no nominal patient.
    """
    record = treatment.patient
    try:
        nominal = np.asarray(record().to_array(), np.float64)
    except TypeError:
        raise ValueError(
            f"'patient_spread' needs a nominal patient; allowed: records of {treatment.name} whose "
            "fields all have defaults"
        ) from None
    out = np.array(row, np.float64)
    ranges = getattr(record, "RANGES", {})
    labels = getattr(record, "LABELS", ())
    for number, name in enumerate(record.FIELDS):
        if name in labels or row[number] == nominal[number]:
            continue
        if row[number] > 0.0 and nominal[number] > 0.0:
            value = row[number] * (row[number] / nominal[number]) ** size
        else:
            value = row[number] + size * (row[number] - nominal[number])
        low, high = ranges.get(name, (-np.inf, np.inf))
        out[number] = min(max(value, low), high)
    return out
