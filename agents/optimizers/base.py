"""What an optimiser of plans is, what it finds, and how it is found by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar

from oncogym.agents.plan import PlanAgent
from oncogym.core.errors import nearest
from oncogym.core.files import StrPath
from oncogym.core.json_types import JsonObject
from oncogym.envs.therapy import Floats

#: Entry-point group in which another package offers an :class:`Optimizer` class.
ENTRY_POINT_GROUP = "oncogym.optimizers"


@dataclass(frozen=True)
class OptimizeResult:
    """What an optimiser found.

    Attributes:
        plan: Best point of the space that was searched ``(dimension,)``: a plan of the plan space,
            or the doses of a slot space in its unit.
        actions: The same as actions ``(decisions, action size)``.
        score: Its mean return.
        history: Best score after each generation, the initial one first.
        evaluations: Simulated treatments (plans times patients).
        seconds: Wall time.
        method: Name of the optimiser.
        seed: Its seed.
        message: Why it stopped.
        settings: Settings of the search, JSON-able.
    """

    plan: Floats
    actions: Floats
    score: float
    history: list[float]
    evaluations: int
    seconds: float
    method: str
    seed: int
    message: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def agent(self, label: str = "Optimised plan") -> PlanAgent:
        """The open-loop agent that carries the plan out."""
        return PlanAgent(self.actions, label)


#: Called after each generation with its number, the best score and the evaluations so far.
Progress = Callable[[int, float, int], None]


class Optimizer(Protocol):
    """A way of searching open-loop plans, found by name.

    A class in a file of :mod:`oncogym.agents.optimizers`, decorated with
    :func:`register_optimizer`, or one that another package offers in the entry-point group
    ``oncogym.optimizers``. It is called with an instance of ``Settings``, or without.

    Attributes:
        name: Name on the command line.
        title: Name for tables and figures.
        Settings: Frozen dataclass of the settings; it checks them, names value and allowed range.
        takes: Where it searches: the task's ``"plan"`` space, or its ``"slots"`` for doses.
        resumes: It leaves checkpoints of its own in a folder and goes on from them. Any other one
            goes on, too, where its scores are kept for it
            (:mod:`oncogym.agents.optimizers.kept_scores`).
        draws: It draws random numbers, so that another seed may find another plan.
        default_budget: Plans that it scores unless it is told.
    """

    name: str
    title: str
    Settings: Any
    takes: str
    resumes: bool
    draws: bool
    default_budget: int
    settings: Any

    def budget_of(self, problem: Any, generations: int) -> int:
        """Plans to score in so many generations, the initial one included."""
        ...

    def generations(self, problem: Any, budget: int) -> int:
        """Generations that a budget pays for, the initial one included. Starts no work.

        Raises:
            ValueError: The budget does not pay for the search, or the model cannot be searched so.
        """
        ...

    def optimize(
        self,
        problem: Any,
        budget: int,
        seed: int = 0,
        *,
        start: Floats | None = None,
        folder: StrPath | None = None,
        resume: bool = False,
        progress: Progress | None = None,
        executor: Executor | None = None,
    ) -> OptimizeResult:
        """Search for the best plan.

        Args:
            problem: A :class:`oncogym.envs.problem.Problem` with patients, or a
                :class:`oncogym.agents.optimizers.objective.PlanObjective`.
            budget: Plans to score in the search.
            seed: Seed of the search.
            start: Plans of the search space from which to begin ``(k, dimension)``, for example
                clinical protocols.
            folder: Where an optimiser that can be resumed keeps its state.
            resume: Go on with the search in ``folder``.
            progress: Called after each generation.
            executor: Who simulates; by default this process. The result does not depend on it.

        Raises:
            ValueError: The budget is too small, a setting has no meaning for the problem, or
                nothing can be scored.
            ExecutorError: The workers cannot do it.
        """
        ...


class SearchFolderError(ValueError):
    """A folder holds a search already, or one that began with other settings."""


Kind = TypeVar("Kind", bound=type)

_OPTIMIZERS: dict[str, type] = {}


def register_optimizer(kind: Kind) -> Kind:
    """Make an optimiser's class known by its name; a decorator.

    Raises:
        ValueError: Another class has the name.
    """
    name = kind.name  # type: ignore[attr-defined]
    known = _OPTIMIZERS.setdefault(name, kind)
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise ValueError(f"an optimiser called {name!r} is registered already: {known!r}")
    return kind


def optimizers() -> JsonObject:
    """Classes of all optimisers by name, those of other packages included."""
    package = importlib.import_module("oncogym.agents.optimizers")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name not in _OPTIMIZERS:
            register_optimizer(point.load())
    return dict(sorted(_OPTIMIZERS.items()))


def find_optimizer(name: str, settings: Mapping[str, object] | None = None) -> Optimizer:
    """The optimiser called ``name`` with these settings on top of its defaults.

    Raises:
        UnknownNameError: There is no such optimiser or setting; the message suggests the nearest.
        ValueError: A setting is out of range.
    """
    known = optimizers()
    if name not in known:
        raise nearest("optimiser", name, known)
    kind = known[name]
    names = [one.name for one in fields(kind.Settings)]
    for key in settings or {}:
        if key not in names:
            raise nearest(f"setting of {name}", key, names)
    return kind(kind.Settings(**(settings or {})))


def plain_settings(optimizer: Optimizer) -> JsonObject:
    """The settings of an optimiser as a dictionary."""
    return asdict(optimizer.settings)


def paid_generations(budget: int, each: int, what: str = "", unit: str = "plans") -> int:
    """Generations that a budget pays for, the initial one included; a search takes two.

    Args:
        budget: Plans to score.
        each: Plans of a generation.
        what: What two of them are, for the message.
        unit: What a plan is called.

    Raises:
        ValueError: It does not pay for two.
    """
    if budget < 2 * each:
        what = what or f"generations of {each}"
        raise ValueError(f"budget is {budget} {unit}; allowed: at least {2 * each}, two {what}")
    return budget // each


def require_no_folder(optimizer: Optimizer, folder: StrPath | None, resume: bool) -> None:
    """Raise ``ValueError`` where an optimiser that keeps no state is given a place for it.

    Args:
        optimizer: The optimiser, for the message.
        folder: What a caller gave; only ``None`` is fine.
        resume: Whether a caller wants to go on.
    """
    if resume or folder is not None:
        raise ValueError(
            f"{optimizer.name} keeps no state in a folder and cannot be resumed by itself; its "
            "scores can be kept for it: oncogym.agents.optimizers.kept_scores"
        )
