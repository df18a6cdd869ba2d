"""Receding-horizon control: at every decision the rest of the course is planned anew.

Three controllers differ in whom they plan for. Plans begin at the treatment's clinical protocols,
rules included, computed on in the model; a search in batch over all patients moves actions away
from the best of them where that pays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.belief import Belief, BeliefSettings, has_chance
from oncogym.agents.imagined_courses import Bases, Candidates, ImaginedCourses, knots
from oncogym.agents.patient_streams import PatientStreams
from oncogym.agents.plan import PlanAgent
from oncogym.agents.plan_search import Judge, PlanSearch
from oncogym.core.checks import check_option, whole_number
from oncogym.core.errors import nearest
from oncogym.envs import streams
from oncogym.envs.problem import Problem
from oncogym.envs.protocols import Rule
from oncogym.envs.snapshots import Snapshot
from oncogym.envs.therapy import Floats, TherapyTask

if TYPE_CHECKING:
    from typing_extensions import Self

# Protocols that a patient's plan may still fall back on after the first decision.
_KEPT = 4


@dataclass(frozen=True)
class MPCSettings:
    """How much a controller thinks.

    Args:
        budget: Courses simulated for each patient and decision in the search, at least 8; so many
            plans for the controller that is a bound, whatever number of courses each takes.
        population: Plans of a generation of the search at least.
        iterations: Generations at most. Where a plan takes one course only there are so many, of as
            many plans as the budget allows; where it takes many, there are fewer.
        scenarios: States for which a plan is judged together, where there are several.
        mean_share: Share of the budget that a search over several scenarios first spends on the
            mean patient, in whom trying a plan takes one course; 0 to 0.95. It pays where a plan
            has many numbers and patients differ little, and costs where they differ much.
        horizon: Decisions looked ahead, ``None`` to the end of the course.
        replan_every: Decisions carried out before the next search.
        knots: Stretches of the remaining course in which the search moves actions together.
        spread: Standard deviation of the largest moves, as a share of the action's box.
        belief: Settings of the belief.
        seed: Seed of the search, below ``2**31``.

    Raises:
        ValueError: A value is out of range.
    """

    budget: int = 1024
    population: int = 32
    iterations: int = 32
    scenarios: int = 16
    mean_share: float = 0.0
    horizon: int | None = None
    replan_every: int = 1
    knots: int = 6
    spread: float = 0.3
    belief: BeliefSettings = field(default_factory=BeliefSettings)
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number("budget", self.budget, 8, 10**9)
        whole_number("population", self.population, 4, 10**6)
        whole_number("iterations", self.iterations, 1, 1000)
        whole_number("scenarios", self.scenarios, 1, 10**6)
        check_option("mean_share", self.mean_share, 0.0, 0.95)
        if self.horizon is not None:
            whole_number("horizon", self.horizon, 1, 10**6)
        whole_number("replan_every", self.replan_every, 1, 10**6)
        whole_number("knots", self.knots, 1, 1000)
        check_option("spread", self.spread, 1e-6, 10.0)
        whole_number("seed", self.seed, 0, 2**31 - 1)

    def generations(self, courses: int) -> tuple[int, int, int]:
        """How a search is divided where trying a plan takes so many courses.

        Returns:
            Plans of a generation, generations for the mean patient and generations for all
            scenarios after them, at least one even where it takes more than the budget.
        """
        plans = max(self.population, self.budget // (courses * self.iterations))
        early = int(self.mean_share * self.budget) // plans if courses > 1 else 0
        return plans, early, max(1, (self.budget - early * plans) // (courses * plans))

    @classmethod
    def suited(cls, problem: Problem, instead: Mapping[str, Any] | None = None) -> MPCSettings:
        """The default with what suits the problem's environment, see :class:`Effort`.

        Args:
            problem: Whom a controller treats.
            instead: Settings in place of those, by name.

        Raises:
            ValueError: A setting is out of range.
        """
        control = {**problem.variant.effort.control, **(instead or {})}
        belief = BeliefSettings(**control.pop("belief", {}))
        return cls(belief=belief, **control)


@dataclass
class ControlState:
    """Where a controller is in the courses of a batch.

    Attributes:
        time: Number of the decision.
        over: Patients whose treatment is over ``(patients,)``.
        rivals: Protocols that it is compared with ``(patients, k)``.
        base: Protocol from which each patient's plan starts ``(patients,)``.
        offsets: What the plan adds to it ``(patients, decisions, action size)``.
        last: Actions that were given last ``(patients, action size)``.
        draws: Random numbers of the search.
        known: What is known of the patients: a belief, or their twins.
        memories: What every protocol remembers ``(patients, protocols, memory)``.
    """

    time: int
    over: NDArray[np.bool_]
    rivals: NDArray[np.intp]
    base: NDArray[np.intp]
    offsets: Floats
    last: Floats
    draws: PatientStreams
    known: Any
    memories: Floats


class RecedingHorizon:
    """Base of the controllers. Settings make one; :meth:`bind` gives it a problem to act in.

    A bound controller decides for the patients of its problem, all of whom begin together.

    Args:
        settings: How much it thinks; by default what suits the environment.
        seed: Seed of search and belief in place of that of the settings.
        plans: Plans by name from which it may start, beside the clinical protocols.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    sees: ClassVar[str] = "measurable"
    _hidden: ClassVar[bool] = False

    def __init__(
        self,
        settings: MPCSettings | None = None,
        seed: int | None = None,
        plans: Mapping[str, PlanAgent] | None = None,
    ) -> None:
        self._given = settings
        self._plans = dict(plans or {})
        self._seed = None if seed is None else whole_number("seed", seed, 0, 2**31 - 1)
        self.problem: Problem | None = None

    def bind(self, problem: Problem) -> Self:
        """The controller for the patients of a problem, rows and random keys.

        Raises:
            ValueError: The problem has no patients, or a plan does not fit it.
        """
        if not len(problem.patients):
            raise ValueError("the problem has no patients; choose some with Problem.drawn")
        task = problem.task(1)
        settings = self._given or MPCSettings.suited(problem)
        if self._seed is not None:
            belief = replace(settings.belief, seed=self._seed)
            settings = replace(settings, seed=self._seed, belief=belief)
        bound = type(self)(settings, plans=self._plans)
        bound.settings = settings
        bound.problem = problem
        hidden: dict[str, Any] = {}
        if self._hidden:
            for protocol in problem.treatment.protocols.values():
                if isinstance(protocol, Rule):
                    hidden.update(protocol.options)
        exact = {**hidden, **dict(task.exact_measurement)}
        effort = dict(problem.variant.effort.search_options)
        #: The model in which it thinks: quickly, and without errors of measurement.
        bound._model = problem.with_options({**exact, **effort})
        #: The model in which patients are followed.
        bound._true = problem.with_options(exact)
        bound._bases = Bases(bound._true, self._hidden, self._plans)
        bound._prepare()
        plans, _, _ = settings.generations(bound._courses_of_a_plan())
        plans = max(plans, len(bound._bases) + 1)
        lanes = min(len(problem.patients) * bound._scenarios * plans, task.max_lanes)
        bound._courses = ImaginedCourses(bound._model, bound._bases, lanes, settings.horizon)
        bound._observer = bound._true.task(1) if self._hidden else task
        return bound

    # What a kind of controller defines ------------------------------------------------------------

    _model: Problem
    _true: Problem
    _bases: Bases
    _courses: ImaginedCourses
    _observer: TherapyTask
    _scenarios: int
    settings: MPCSettings

    def _prepare(self) -> None:
        """Make what is needed once for a problem, and set the number of scenarios."""
        raise NotImplementedError

    def _begin(self, observation: NDArray[np.generic]) -> Any:
        """What is known at the start."""
        raise NotImplementedError

    def _follow(self, state: ControlState, observation: NDArray[np.generic]) -> None:
        """Take in what came of the last actions."""
        raise NotImplementedError

    def _states(self, state: ControlState) -> tuple[Snapshot, NDArray[np.bool_]]:
        """States for which to plan, and which of them go on ``(patients, scenarios)``."""
        raise NotImplementedError

    def _seen(self, state: ControlState, observation: NDArray[np.generic]) -> NDArray[Any]:
        """What the protocols look at."""
        return observation

    def _mean_states(self, state: ControlState) -> tuple[Snapshot, NDArray[np.bool_]]:
        """States of the mean patients, and which of them go on ``(patients, 1)``."""
        raise NotImplementedError

    def _courses_of_a_plan(self) -> int:
        """Courses that trying a plan takes, as the budget counts them."""
        return self._scenarios

    # Deciding -------------------------------------------------------------------------------------

    def predict(
        self,
        observation: NDArray[Any],
        state: ControlState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Floats, ControlState]:
        """Actions ``(patients, action size)`` and the state to hand in next time.

        Raises:
            RuntimeError: The controller is not bound to a problem.
            ValueError: The batch is not that of the problem's patients, or only a part of them
                begins an episode.
        """
        if self.problem is None:
            raise RuntimeError(f"{self.name} has no problem to act in; call bind(problem) first")
        count = len(self.problem.patients)
        if len(observation) != count:
            raise ValueError(f"a batch of {len(observation)} lanes; allowed: {count}, as patients")
        begins = np.zeros(count, np.bool_) if episode_start is None else np.asarray(episode_start)
        if state is None or begins.all():
            state = self._start(observation)
        elif begins.any():
            raise ValueError(
                f"{int(begins.sum())} of {count} patients begin an episode; allowed: all at once"
            )
        else:
            state.time += 1
            self._follow(state, observation)
        if state.time >= self._courses.decisions:
            return np.zeros_like(state.last), state
        seen = self._seen(state, observation)
        if state.time % self.settings.replan_every == 0:
            self._plan(state, seen)
        task = self._observer
        own = state.memories[np.arange(len(seen)), state.base]
        wanted, _ = self._bases.actions(task, state.base, state.time, seen, own)
        state.memories = self._bases.remember(task, state.time, seen, state.memories)
        wanted += state.offsets[:, state.time]
        # As environments take actions, so that a controller knows what was given.
        actions = np.clip(wanted, 0.0, 1.0).astype(np.float32).astype(np.float64)
        state.last = np.where(state.over[:, None], 0.0, actions)
        return state.last.copy(), state

    def leave(self, state: ControlState, over: NDArray[np.bool_]) -> None:
        """Learn whose treatment is over ``(patients,)``: nothing is planned for them any more."""
        state.over = np.array(over, np.bool_)

    def _start(self, observation: NDArray[np.generic]) -> ControlState:
        assert self.problem is not None
        count, size = len(self.problem.patients), self._courses.size
        return ControlState(
            time=0,
            over=np.zeros(count, np.bool_),
            rivals=np.tile(np.arange(len(self._bases)), (count, 1)),
            base=np.zeros(count, np.intp),
            offsets=np.zeros((count, self._courses.decisions, size)),
            last=np.zeros((count, size)),
            draws=PatientStreams(self.problem.seeds, self.settings.seed, streams.STREAM_CONTROL),
            known=self._begin(observation),
            memories=self._bases.forgotten(count),
        )

    def _plan(self, state: ControlState, seen: NDArray[Any]) -> None:
        """Move every patient's plan to the best that a search finds; the plan it has is one."""
        states, going = self._states(state)
        going = going & ~state.over[:, None]
        if not going.any():
            return
        count, decisions, size = state.offsets.shape
        everybody = np.arange(count)

        # The plan so far, and protocols as they are.
        base = np.concatenate([state.base[:, None], state.rivals], axis=1)
        offsets = np.zeros((count, base.shape[1], decisions, size))
        offsets[:, 0] = state.offsets
        scores = self._scores(state, seen, states, going, Candidates(base, offsets))
        chosen = np.argmax(scores, axis=1)
        best = scores[everybody, chosen]
        state.base = base[everybody, chosen]
        state.offsets = offsets[everybody, chosen]
        if state.rivals.shape[1] > _KEPT:
            order = np.argsort(-scores[:, 1:], axis=1, kind="stable")[:, :_KEPT]
            state.rivals = np.take_along_axis(state.rivals, order, axis=1)

        # A search of what to add, first for the mean patient where there are several.
        stretch = knots(self._courses.ahead(state.time), self.settings.knots)
        plans, early, generations = self.settings.generations(self._courses_of_a_plan())
        search = PlanSearch(
            state.offsets.copy(), state.time, stretch, self.settings.spread, plans, state.draws
        )
        judge = self._judge(state, seen, states, going)
        if early:
            found = state.offsets.copy()
            mean = self._judge(state, seen, *self._mean_states(state))
            search.improve(mean, early, found, np.full(count, -np.inf))
            reached = judge(found[:, None])[:, 0]
            better = reached > best
            best = np.where(better, reached, best)
            state.offsets[better] = found[better]
        search.improve(judge, generations, state.offsets, best)

    def _scores(
        self,
        state: ControlState,
        seen: NDArray[Any],
        states: Snapshot,
        going: NDArray[np.bool_],
        candidates: Candidates,
    ) -> Floats:
        """Sum of the returns of plans ``(patients, plans)`` over the states of each patient."""
        found = self._courses.returns(states, going, candidates, state.time, seen, state.memories)
        # In a fixed order, over scenarios of equal weight.
        return found.sum(axis=2)

    def _judge(
        self, state: ControlState, seen: NDArray[Any], states: Snapshot, going: NDArray[np.bool_]
    ) -> Judge:
        """The scores of offsets to the protocols from which the plans start."""

        def judge(offsets: Floats) -> Floats:
            base = np.repeat(state.base[:, None], offsets.shape[1], axis=1)
            return self._scores(state, seen, states, going, Candidates(base, offsets))

        return judge


class _WithBelief(RecedingHorizon):
    """A controller that knows of its patients what it has measured."""

    def _prepare(self) -> None:
        assert self.problem is not None
        # Particles live in the quick model, but are judged by the errors of the real observation.
        quick = self.problem.with_options(dict(self.problem.variant.effort.search_options))
        self._thoughts = quick

    def _begin(self, observation: NDArray[np.generic]) -> Belief:
        belief = Belief(self._thoughts, self.settings.belief)
        belief.begin(observation)
        return belief

    def _follow(self, state: ControlState, observation: NDArray[np.generic]) -> None:
        state.known.over = state.over
        state.known.update(state.last, observation)

    def _mean_states(self, state: ControlState) -> tuple[Snapshot, NDArray[np.bool_]]:
        rows, nearest = state.known.mean_patients()
        states, going = state.known.replay(rows, nearest)
        return states, (going & ~state.over)[:, None]


class NominalMPC(_WithBelief):
    """Plans for one patient, that in the middle of the belief, as if nothing were uncertain.

    The patient with the mean parameters is treated anew with all actions given so far; at the start
    that is the nominal patient.
    """

    name = "mpc_nominal"
    label = "MPC, mean patient"

    def _prepare(self) -> None:
        super()._prepare()
        self._scenarios = 1

    def _states(self, state: ControlState) -> tuple[Snapshot, NDArray[np.bool_]]:
        return self._mean_states(state)


class ScenarioMPC(_WithBelief):
    """Plans for the mean return over patients who agree with what was measured."""

    name = "mpc_scenario"
    label = "MPC, scenarios"

    def _prepare(self) -> None:
        super()._prepare()
        self._scenarios = min(self.settings.scenarios, self.settings.belief.particles)

    def _states(self, state: ControlState) -> tuple[Snapshot, NDArray[np.bool_]]:
        belief = state.known
        everybody = np.arange(len(state.over))
        chosen = belief.sample(self._scenarios, state.draws.uniforms(everybody, 1)[:, 0])
        return belief.snapshot(chosen), belief.alive[everybody[:, None], chosen]


class OracleMPC(RecedingHorizon):
    """Knows the patient and the state, though not the chance to come: a bound, not a treatment."""

    name = "mpc_oracle"
    label = "MPC, patient known"
    sees = "knows the patient"
    _hidden = True

    def _prepare(self) -> None:
        self._scenarios = self.settings.scenarios if has_chance(self._model) else 1

    def _courses_of_a_plan(self) -> int:
        return 1

    def _begin(self, observation: NDArray[np.generic]) -> _Twins:
        assert self.problem is not None
        return _Twins(self._true.with_patients(self.problem.patients, self.problem.seeds))

    def _follow(self, state: ControlState, observation: NDArray[np.generic]) -> None:
        state.known.step(state.last, state.over)

    def _seen(self, state: ControlState, observation: NDArray[np.generic]) -> NDArray[Any]:
        return np.asarray(state.known.task.observe())

    def _states(self, state: ControlState) -> tuple[Snapshot, NDArray[np.bool_]]:
        count, scenarios = len(state.over), self._scenarios
        going = np.repeat(state.known.going[:, None], scenarios, axis=1)
        states = state.known.task.snapshot()
        if scenarios == 1:
            return states, going
        # The same states under chance that nobody knows yet.
        branched = dict(states.take(np.repeat(np.arange(count), scenarios)).arrays)
        branched["seeds"] = state.draws.keys(np.arange(count), scenarios).ravel()
        return Snapshot(states.owner, branched), going


class _Twins:
    """The true patients once more, treated as they are."""

    def __init__(self, problem: Problem) -> None:
        count = len(problem.patients)
        self.task = problem.task()
        self.going = np.ones(count, np.bool_)
        self.task.reset(
            np.arange(count), problem.patients, problem.seeds, np.zeros(count, np.uint64)
        )

    def step(self, actions: Floats, over: NDArray[np.bool_]) -> None:
        """Give the actions ``(patients, action size)`` that the patients got."""
        self.going &= ~over
        shaped = actions.reshape(-1, *self.task.action_space.shape)
        result = self.task.step(shaped, self.going)
        self.going &= ~(result.terminated | result.truncated)


CONTROLLERS: dict[str, type[RecedingHorizon]] = {
    kind.name: kind for kind in (NominalMPC, ScenarioMPC, OracleMPC)
}


def find_controller(name: str) -> type[RecedingHorizon]:
    """The controller called ``name``.

    Raises:
        UnknownNameError: There is none; the message suggests the nearest.
    """
    if name not in CONTROLLERS:
        raise nearest("controller", name, CONTROLLERS)
    return CONTROLLERS[name]
