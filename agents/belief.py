"""What an observer can infer about patients from measurements: weighted virtual patients."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.patient_streams import PatientStreams
from oncogym.agents.prior import Prior
from oncogym.core.checks import check_option, whole_number
from oncogym.envs import streams
from oncogym.envs.problem import Problem
from oncogym.envs.snapshots import Snapshot
from oncogym.envs.therapy import Floats, StepResult, TherapyTask
from oncogym.envs.validity import ModelRangeWarning

# Observations are float32: numbers that differ by this share are the same.
_ROUNDING = 1e-6
# Steps of the random walk relative to the spread of the particles over the root of its dimension:
# the usual optimum, and shorter ones for spreads that are bent.
_STEPS = (2.38, 1.2, 0.5)
# Random keys by which a model is tried for chance.
_TRIED = 3


@contextlib.contextmanager
def _only_thought() -> Iterator[None]:
    """Thoughts about patients may leave what the model is made for, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelRangeWarning)
        yield


@dataclass(frozen=True)
class BeliefSettings:
    """How closely a belief is computed.

    Args:
        particles: Virtual patients for each patient, at least 4.
        least_share: Share of the particles below which the effective number makes them be drawn
            anew, 0.05 to 0.95.
        moves: Steps of each particle after particles were drawn anew, each with a replay of the
            course so far; 0 for none.
        redraws: How often, before that, each particle is offered other chance since the observation
            before, in models that have chance.
        stages: Parts in which one observation is taken in at most. What is still left of it then
            is dropped, so that weights stay proper.
        floor: Least standard deviation with which an observation counts, as a share of the
            particles' spread.
        chance_floor: The same in models that have chance, where no particle meets the draws of the
            patient's course.
        seed: Seed of the particles, below ``2**31``.

    Raises:
        ValueError: A value is out of range.
    """

    particles: int = 64
    least_share: float = 0.3
    moves: int = 2
    redraws: int = 4
    stages: int = 4
    floor: float = 0.02
    chance_floor: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number("particles", self.particles, 4, 10**6)
        check_option("least_share", self.least_share, 0.05, 0.95)
        whole_number("moves", self.moves, 0, 1000)
        whole_number("redraws", self.redraws, 0, 1000)
        whole_number("stages", self.stages, 1, 1000)
        check_option("floor", self.floor, 0.0, 10.0)
        check_option("chance_floor", self.chance_floor, 0.0, 10.0)
        whole_number("seed", self.seed, 0, 2**31 - 1)


class Belief:
    """Weighted virtual patients for each patient of a problem, with their states.

    Particles are patients of the cohort's law, treated with the actions that were given. An
    observation weighs them by how likely it is under the errors of measurement that the task
    states. When few are left with weight they are drawn anew and moved: each is proposed other
    parameters, the whole course is replayed for the proposal, and the law of Metropolis decides, so
    that moved particles have the states that belong to their parameters.

    An outcome for a patient depends on nothing but the patient's observations, actions and random
    key. Of the problem's patients only what a clinic knows beforehand is read.

    Args:
        problem: The treatment, and a row and a key for each patient observed.
        settings: How closely.

    Attributes:
        patients: Rows of the particles ``(patients, particles, fields)``.
        weights: Their weights ``(patients, particles)``, which sum to 1 for each patient.
        replays: Courses replayed so far, all patients together.
        dropped: Share of each patient's last observation that was not taken in ``(patients,)``.

    Raises:
        ValueError: The problem has no patients.
    """

    def __init__(self, problem: Problem, settings: BeliefSettings | None = None) -> None:
        if not len(problem.patients):
            raise ValueError("the problem has no patients; choose some with Problem.drawn")
        self.settings = settings or BeliefSettings()
        self.problem = problem
        self._measured = problem.task(1)
        exact = problem.with_options(dict(self._measured.exact_measurement))
        self._count = len(problem.patients)
        self._particles = self.settings.particles
        self._prior = Prior.of(problem)
        self._movable = self.settings.moves > 0 and len(self._prior.varied) > 0
        lanes = self._count * self._particles
        self._task = exact.task(lanes)
        self._alone = exact.task(self._count)
        chance = has_chance(exact)
        self._floor = self.settings.chance_floor if chance else self.settings.floor
        self._redrawn = self.settings.redraws > 0 and chance
        self._proposals = exact.task(lanes) if self._movable or self._redrawn else self._task
        #: The particles as they were at the observation before.
        self._previous = exact.task(lanes) if self._redrawn else self._task
        self._lanes = np.arange(lanes).reshape(self._count, self._particles)
        self._everybody = np.arange(self._count)
        #: Columns of a patient row that differ between patients of the prior.
        self.varied = self._prior.varied

    # A course ------------------------------------------------------------------------------------

    def begin(self, observation: NDArray[np.generic]) -> None:
        """Start all courses with the first observations ``(patients, …)``."""
        count, particles = self._count, self._particles
        draws = PatientStreams(self.problem.seeds, self.settings.seed, streams.STREAM_BELIEF)
        self._draws = draws
        rows = self._prior.draw(draws.keys(self._everybody, particles).ravel())
        rows = rows.reshape(count, particles, -1)
        patient = self.problem.treatment.patient
        for name in getattr(patient, "KNOWN", ()):
            field = patient.FIELDS.index(name)
            rows[:, :, field] = self.problem.patients[:, None, field]
        self.patients = rows
        self._scores = self._prior.scores(rows.reshape(count * particles, -1))
        self._scores = self._scores.reshape(count, particles, -1)
        self.weights = np.full((count, particles), 1.0 / particles)
        self.alive = np.ones((count, particles), np.bool_)
        self.over = np.zeros(count, np.bool_)
        self.dropped = np.zeros(count)
        self.replays = 0
        # What happened, decision by decision: keys of the particles (those at the start, then those
        # that hold after each observation), what was done and seen.
        self._keys = [draws.keys(self._everybody, particles)]
        self._rekeyed: list[NDArray[np.bool_]] = []
        self._actions: list[Floats] = []
        self._seen: list[Floats] = []
        self._floors: list[Floats] = []
        self._shares: list[Floats] = []
        self._likelihood = np.zeros((count, particles))
        lanes = self._lanes.ravel()
        self.predicted = self._task.reset(
            lanes,
            rows.reshape(len(lanes), -1),
            self._keys[0].ravel(),
            np.zeros_like(lanes, np.uint64),
        ).astype(np.float64)
        self._take_in(observation)

    def update(self, actions: Floats, observation: NDArray[np.generic]) -> None:
        """Give actions ``(patients, action size)`` and take in what is seen then.

        Patients in ``over`` stay as they are.
        """
        actions = np.asarray(actions, np.float64).reshape(self._count, -1)
        self._actions.append(actions)
        if self._redrawn:
            self._previous.restore(self._task.snapshot())
        active = (self.alive & ~self.over[:, None]).ravel()
        result = self._step(self._task, actions, active)
        ended = active & (result.terminated | result.truncated)
        self.alive &= ~ended.reshape(self.alive.shape)
        # Lanes that are over show what they showed last.
        self.predicted = np.array(result.observation, np.float64)
        self._take_in(observation)

    @property
    def effective(self) -> Floats:
        """Effective number of particles of each patient ``(patients,)``."""
        return 1.0 / np.square(self.weights).sum(axis=1)

    def snapshot(self, chosen: NDArray[np.intp]) -> Snapshot:
        """States of chosen particles ``(patients, k)``, patient by patient."""
        lanes = np.take_along_axis(self._lanes, chosen, axis=1)
        return self._task.snapshot(lanes.ravel())

    def sample(self, count: int, offset: Floats) -> NDArray[np.intp]:
        """Particles ``(patients, count)`` in proportion to their weights.

        Args:
            count: How many for each patient.
            offset: Where the comb of each patient begins ``(patients,)``, in [0, 1).
        """
        return _systematic(self.weights, count, offset)

    def mean_patients(self) -> tuple[Floats, NDArray[np.intp]]:
        """The patient in the middle of each belief, and the particle nearest to it.

        Returns:
            Rows ``(patients, fields)`` with the mean score of every field, labels of the nearest
            particle, and the number of that particle ``(patients,)``. Nearness counts parameters
            and what is predicted, each relative to its spread.
        """
        shown = self.predicted.reshape(self._count, self._particles, -1)
        features = np.concatenate([self._scores, shown], axis=2)
        mean, spread = self._moments(features)
        scaled = (features - mean[:, None]) / np.where(spread > 1e-9, spread, np.inf)[:, None]
        distance = np.where(self.weights > 0.0, np.square(scaled).sum(axis=2), np.inf)
        nearest = np.argmin(distance, axis=1)
        rows = self.patients[self._everybody, nearest].copy()
        self._prior.write(mean[:, : self._scores.shape[2]], rows)
        return rows, nearest

    def replay(
        self, rows: Floats, particle: NDArray[np.intp]
    ) -> tuple[Snapshot, NDArray[np.bool_]]:
        """States of other patients after the same actions, under the chance of given particles.

        Args:
            rows: One patient for each ``(patients, fields)``.
            particle: Whose chance it is ``(patients,)``.

        Returns:
            The states, and whether their course goes on ``(patients,)``.
        """
        keys = [key[self._everybody, particle] for key in self._keys]
        task = self._alone
        with _only_thought():
            task.reset(self._everybody, rows, keys[0], np.zeros(self._count, np.uint64))
        active = np.ones(self._count, np.bool_)
        for time, actions in enumerate(self._actions):
            if self._rekeyed[time].any():
                task.rekey(self._everybody, keys[time + 1])
            result = task.step(actions.reshape(-1, *task.action_space.shape), active)
            active &= ~(result.terminated | result.truncated)
        task.rekey(self._everybody, keys[-1])
        self.replays += self._count
        return task.snapshot(), active

    # Weights -------------------------------------------------------------------------------------

    def _take_in(self, observation: NDArray[np.generic]) -> None:
        seen = np.asarray(observation, np.float64).reshape(self._count, -1)
        shown = self.predicted.reshape(self._count, self._particles, -1)
        _, spread = self._moments(shown)
        self._seen.append(seen)
        self._floors.append(self._floor * spread)
        self._shares.append(np.zeros(self._count))
        self._keys.append(self._keys[-1].copy())
        self._rekeyed.append(np.zeros(self._count, np.bool_))
        latest = self._fit(self._everybody, shown, self.patients, len(self._seen) - 1)
        latest[~self.alive] = -np.inf
        # A belief in which nobody is alive any more has nothing to say.
        asked = ~self.over & self.alive.any(axis=1)
        left = np.where(asked, 1.0, 0.0)
        changing = self._movable or self._redrawn
        for _ in range(self.settings.stages if changing else 1):
            if not left.any():
                break
            who = np.flatnonzero(left > 0.0)
            part = _largest_part(
                self.weights[who], latest[who], left[who],
                self.settings.least_share * self._particles,
            )  # fmt: skip
            self.weights[who] = _reweigh(self.weights[who], latest[who], part)
            self._shares[-1][who] += part
            self._likelihood[who] += part[:, None] * np.where(self.alive[who], latest[who], 0.0)
            left[who] -= part
            left[left < 1e-12] = 0.0
            few = (left > 0.0) | (self.effective < self.settings.least_share * self._particles)
            poor = who[few[who]]
            if len(poor):
                self._renew(poor, latest)
        self.dropped = left

    def _fit(self, who: NDArray[np.intp], shown: Floats, rows: Floats, time: int) -> Floats:
        """Logarithm of the likelihood of what was seen at a time, up to a constant.

        Args:
            who: Patients ``(k,)``.
            shown: What the particles show ``(k, particles, numbers)``.
            rows: The particles ``(k, particles, fields)``.
            time: Number of the decision.
        """
        seen = self._seen[time][who][:, None, :]
        flat = rows.reshape(-1, rows.shape[-1])
        shape = self._measured.observation_space.shape
        exact = self._measured.observation_deviation(shown.reshape(-1, *shape), flat)
        measured = self._measured.observation_deviation(
            np.broadcast_to(seen, shown.shape).reshape(-1, *shape), flat
        )
        exact, measured = exact.reshape(shown.shape), measured.reshape(shown.shape)
        variance = np.square(_mean_deviation(exact, measured))
        rounding = _ROUNDING * np.maximum(1.0, np.abs(seen))
        variance = variance + np.square(self._floors[time][who])[:, None, :] + np.square(rounding)
        return -0.5 * (np.square(seen - shown) / variance).sum(axis=2)

    def _moments(self, values: Floats) -> tuple[Floats, Floats]:
        """Weighted mean and deviation ``(patients, k)`` of ``(patients, particles, k)``."""
        weights = self.weights[:, :, None]
        mean = (weights * values).sum(axis=1)
        return mean, np.sqrt((weights * np.square(values - mean[:, None])).sum(axis=1))

    # Particles drawn anew ------------------------------------------------------------------------

    def _renew(self, who: NDArray[np.intp], latest: Floats) -> None:
        """Draw the particles of some patients anew and move them; rewrites ``latest`` for them."""
        centred = self._scores[who] - (self.weights[who][:, :, None] * self._scores[who]).sum(
            axis=1, keepdims=True
        )
        covariance = (self.weights[who][:, :, None, None] * centred[:, :, :, None]
                      * centred[:, :, None, :]).sum(axis=1)  # fmt: skip
        chosen = _systematic(self.weights[who], self._particles, self._draws.uniforms(who, 1)[:, 0])
        rows = who[:, None]
        source = self._lanes[rows, chosen].ravel()
        target = self._lanes[who].ravel()
        self._task.restore(self._task.snapshot(source), target)
        if self._redrawn and self._actions:
            self._previous.restore(self._previous.snapshot(source), target)
        for array in (
            self.patients,
            self._scores,
            self.alive,
            self._likelihood,
            latest,
            *self._keys,
        ):
            array[who] = array[rows, chosen]
        flat = self.predicted.reshape(self._count, self._particles, -1)
        flat[who] = flat[rows, chosen]
        self.weights[who] = 1.0 / self._particles
        if self._redrawn:
            for _ in range(self.settings.redraws):
                self._redraw(who, latest)
        if self._movable:
            width = covariance.shape[1]
            root = np.linalg.cholesky(covariance + 1e-8 * np.eye(width))
            for move in range(self.settings.moves):
                step = _STEPS[move % len(_STEPS)] / np.sqrt(width)
                self._move(who, step * root, latest)
        # From here on each particle has chance of its own.
        self._keys[-1][who] = self._draws.keys(who, self._particles)
        self._rekeyed[-1][who] = True
        self._task.rekey(target, self._keys[-1][who].ravel())

    def _move(self, who: NDArray[np.intp], root: Floats, latest: Floats) -> None:
        """One step of a random walk for every particle of some patients."""
        particles, width = self._particles, root.shape[1]
        drawn = self._draws.normals(who, particles * width).reshape(-1, particles, width)
        proposed = self._scores[who] + (root[:, None] * drawn[:, :, None]).sum(axis=3)
        rows = self.patients[who].copy()
        flat = rows.reshape(-1, rows.shape[-1])
        self._prior.write(proposed.reshape(-1, width), flat)
        likelihood, newest, shown, alive, before = self._replayed(who, rows)
        prior = 0.5 * (np.square(self._scores[who]) - np.square(proposed)).sum(axis=2)
        gain = np.where(alive, likelihood - self._likelihood[who] + prior, -np.inf)
        taken = np.log(self._draws.uniforms(who, particles)) < gain
        self._accept(who, taken, shown, newest, likelihood, latest)
        at, particle = np.nonzero(taken)
        self.patients[who[at], particle] = rows[taken]
        self._scores[who[at], particle] = proposed[taken]
        if before is not None:
            lanes = self._lanes[who][taken]
            self._previous.restore(before.take(np.flatnonzero(taken.ravel())), lanes)

    def _redraw(self, who: NDArray[np.intp], latest: Floats) -> None:
        """Offer every particle of some patients other chance since the observation before."""
        task, lanes, time = self._proposals, self._lanes[who].ravel(), len(self._actions)
        keys = self._draws.keys(who, self._particles)
        shape = keys.shape
        if time == 0:
            rows = self.patients[who].reshape(len(lanes), -1)
            shown = task.reset(lanes, rows, keys.ravel(), np.zeros(len(lanes), np.uint64))
            alive = np.ones(shape, np.bool_)
        else:
            task.restore(self._previous.snapshot(lanes), lanes)
            task.rekey(lanes, keys.ravel())
            active = np.zeros(task.num_lanes, np.bool_)
            active[lanes] = True
            result = self._step(task, self._actions[-1], active)
            shown = result.observation[lanes]
            alive = ~(result.terminated | result.truncated)[lanes].reshape(shape)
        shown = np.array(shown, np.float64).reshape(*shape, -1)
        newest = self._fit(who, shown, self.patients[who], time)
        gain = self._shares[time][who][:, None] * (newest - latest[who])
        likelihood = self._likelihood[who] + gain
        drawn = np.log(self._draws.uniforms(who, self._particles))
        taken = alive & (drawn < np.where(np.isnan(gain), -np.inf, gain))
        self._accept(who, taken, shown, newest, likelihood, latest)
        at, particle = np.nonzero(taken)
        self._keys[time][who[at], particle] = keys[taken]
        if time:
            self._rekeyed[time - 1][who] = True

    def _accept(
        self,
        who: NDArray[np.intp],
        taken: NDArray[np.bool_],
        shown: Floats,
        newest: Floats,
        likelihood: Floats,
        latest: Floats,
    ) -> None:
        """Take over the proposals ``taken`` ``(k, particles)`` with all that goes with a state."""
        lanes = self._lanes[who][taken]
        self._task.restore(self._proposals.snapshot(lanes), lanes)
        at, particle = np.nonzero(taken)
        mine = who[at], particle
        self._likelihood[mine] = likelihood[taken]
        latest[mine] = newest[taken]
        self.alive[mine] = True
        self.predicted.reshape(self._count, self._particles, -1)[mine] = shown[taken]

    def _step(self, task: TherapyTask, actions: Floats, active: NDArray[np.bool_]) -> StepResult:
        """One decision, the same for all particles of a patient."""
        given = np.repeat(actions, self._particles, axis=0)
        return task.step(given.reshape(len(given), *task.action_space.shape), active)

    def _replayed(
        self, who: NDArray[np.intp], rows: Floats
    ) -> tuple[Floats, Floats, Floats, NDArray[np.bool_], Snapshot | None]:
        """The courses of other particles.

        Returns:
            Their likelihood, that of the last observation, what they show at last, whether they are
            alive, and their states at the observation before.
        """
        before: Snapshot | None = None
        task, lanes = self._proposals, self._lanes[who].ravel()
        shape = rows.shape[:2]
        with _only_thought():
            shown = task.reset(
                lanes, rows.reshape(len(lanes), -1), self._keys[0][who].ravel(),
                np.zeros(len(lanes), np.uint64),
            ).astype(np.float64).reshape(*shape, -1)  # fmt: skip
        active = np.zeros(task.num_lanes, np.bool_)
        active[lanes] = True
        newest = self._fit(who, shown, rows, 0)
        total = self._shares[0][who][:, None] * newest
        for time, actions in enumerate(self._actions):
            if self._rekeyed[time][who].any():
                task.rekey(lanes, self._keys[time + 1][who].ravel())
            if self._redrawn and time == len(self._actions) - 1:
                before = task.snapshot(lanes)
            result = self._step(task, actions, active)
            active &= ~(result.terminated | result.truncated)
            shown = np.array(result.observation[lanes], np.float64).reshape(*shape, -1)
            newest = self._fit(who, shown, rows, time + 1)
            total += self._shares[time + 1][who][:, None] * newest
        self.replays += len(lanes)
        return total, newest, shown, active[lanes].reshape(shape), before


def has_chance(problem: Problem) -> bool:
    """Whether a course depends on the random key, found by trying: one patient, several keys."""
    task = problem.task(_TRIED)
    cohort = Prior.of(problem).cohort
    rows = cohort.sampler(np.zeros(1, np.uint64), np.zeros(1, np.uint64), cohort.stream)
    lanes, keys = np.arange(_TRIED), np.arange(_TRIED, dtype=np.uint64)
    shown = task.reset(lanes, np.tile(rows, (_TRIED, 1)), keys, np.zeros(_TRIED, np.uint64))
    active = np.ones(_TRIED, np.bool_)
    actions = np.random.default_rng(0).random((task.num_decisions, *task.action_space.shape))
    for action in actions:
        if (shown != shown[0]).any() or (active != active[0]).any():
            return True
        if not active.any():
            break
        result = task.step(np.tile(action, (_TRIED, *[1] * action.ndim)), active)
        shown = result.observation
        active &= ~(result.terminated | result.truncated)
    return False


def _mean_deviation(exact: Floats, measured: Floats) -> Floats:
    """Deviation of the error between two numbers, given that at each of them.

    Between them it is taken as linear, and the difference over the logarithmic mean of its ends is
    that of the numbers on the scale on which the error is alike everywhere: for errors proportional
    to the number, that of logarithms. Where one end has no error, it is that of the other.
    """
    low, high = np.minimum(exact, measured), np.maximum(exact, measured)
    between = (low > 0.0) & (high < np.inf) & (high > low * (1.0 + 1e-6))
    low, top = np.where(between, low, 1.0), np.where(between, high, 2.0)
    return np.where(between, (top - low) / np.log(top / low), high)


def _reweigh(weights: Floats, likelihood: Floats, part: Floats) -> Floats:
    """Weights ``(k, particles)`` after ``part`` ``(k,)`` of an observation."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(weights) + np.where(np.isneginf(likelihood), -np.inf,
                                          part[:, None] * likelihood)  # fmt: skip
    top = logs.max(axis=1, keepdims=True)
    new = np.exp(logs - np.where(np.isfinite(top), top, 0.0))
    total = new.sum(axis=1, keepdims=True)
    return np.where(total > 0.0, new / np.where(total > 0.0, total, 1.0), weights)


def _largest_part(weights: Floats, likelihood: Floats, left: Floats, least: float) -> Floats:
    """The largest part ``(k,)`` up to ``left`` that keeps the effective number at ``least``."""

    def effective(part: Floats) -> Floats:
        return 1.0 / np.square(_reweigh(weights, likelihood, part)).sum(axis=1)

    low, high = np.zeros(len(left)), left.copy()
    whole = effective(high) >= least
    for _ in range(40):
        middle = 0.5 * (low + high)
        enough = effective(middle) >= least
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return np.where(whole, left, low)


def _systematic(weights: Floats, count: int, offset: Floats) -> NDArray[np.intp]:
    """Numbers ``(k, count)`` drawn in proportion to weights ``(k, particles)`` by a comb."""
    edges = np.cumsum(weights, axis=1)
    edges /= edges[:, -1:]
    teeth = (np.arange(count) + offset[:, None]) / count
    chosen = (edges[:, None, :] <= teeth[:, :, None]).sum(axis=2)
    return np.minimum(chosen, weights.shape[1] - 1)
