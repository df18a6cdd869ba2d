"""What a learning algorithm has to offer, so that a training run can use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.policy_files import AnyPolicy
from oncogym.envs.problem import Problem
from oncogym.wrappers.named import NamedWrapper

Arrays = dict[str, NDArray[Any]]


class Watcher(Protocol):
    """What a learner tells the run that it belongs to."""

    def advanced(self, decisions: int) -> None:
        """So many decisions were taken since the last call."""
        ...

    def record(self, steps: int, scalars: Mapping[str, float]) -> None:
        """Scalars for the run's tables at a step, by name, as in ``train/loss``."""
        ...

    def pause(self, last: bool = False) -> None:
        """The learner may be exported and saved now: an update is complete.

        ``last``: nothing follows.
        """
        ...


class Learner(Protocol):
    """A policy that is being trained on the lanes of a problem."""

    @property
    def steps(self) -> int:
        """Decisions so far, all lanes together."""
        ...

    @property
    def steps_per_update(self) -> int:
        """Decisions between two calls of :meth:`Watcher.pause`."""
        ...

    def learn(self, until: int, watcher: Watcher) -> None:
        """Train until ``steps`` has reached ``until``, a multiple of ``steps_per_update``."""
        ...

    def save(self) -> tuple[dict[str, Any], Arrays]:
        """All that :meth:`restore` needs to go on: a JSON-able part and arrays by name."""
        ...

    def restore(self, steps: int, state: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` took from a learner with the same settings.

        Args:
            steps: Decisions so far, all lanes together.
            state: The JSON-able part.
            arrays: The arrays by name.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: It does not fit.
        """
        ...

    def export(self, about: Mapping[str, Any]) -> AnyPolicy:
        """The policy as it is now, in the form that loads without running code."""
        ...

    def close(self) -> None:
        """Give back what the learner holds."""
        ...


class Algorithm(Protocol):
    """A way of training a policy, found by name.

    A file ``training/algorithms/NAME.py`` of the suite, or an object that another package offers
    in the entry-point group ``oncogym.algorithms``. Default hyper-parameters by environment stand
    in ``NAME.yml``, beside the module in ``training/hyperparams`` or as :attr:`defaults`.

    Attributes:
        name: Name on the command line.
        title: Name for tables and figures.
        Settings: Frozen dataclass of the hyper-parameters; it checks them, names value and allowed
            range, and documents each under ``Args``.
        defaults: Hyper-parameters as a mapping like the YAML file, for a package that brings none.
    """

    name: str
    title: str
    Settings: Any
    defaults: Mapping[str, Mapping[str, Any]] | None

    def build(
        self,
        problem: Problem,
        settings: Any,
        *,
        lanes: int,
        seed: int,
        steps: int,
        start: int,
        wrappers: Sequence[NamedWrapper] = (),
    ) -> Learner:
        """A learner at its beginning.

        Args:
            problem: What is treated.
            settings: An instance of ``Settings``.
            lanes: Treatments in parallel.
            seed: Seed of the run.
            steps: Decisions of the whole run.
            start: Decisions before this process took over; lanes are seeded by it.
            wrappers: Wrappers around the lanes, innermost first. An algorithm that does not take
                the argument trains without wrappers only; it is left out where there are none.
        """
        ...

    # An algorithm that needs a package which may be missing has a method ``require()`` besides: it
    # raises ModuleNotFoundError, and :func:`.require_installed` asks it before work begins.

    def steps_per_update(self, settings: Any, lanes: int, steps: int) -> int:
        """Decisions between two updates, see :attr:`Learner.steps_per_update`.

        Args:
            settings: An instance of :attr:`Settings`.
            lanes: Number of lanes.
            steps: Decisions of the whole run.
        """
        ...


def lane_seed(seed: int, start: int) -> int:
    """Key of a run's lanes when it begins or goes on after ``start`` decisions.

    Neighbouring seeds share no patients, and a run that goes on without its lanes does not meet
    its first patients again.
    """
    mixed = np.random.SeedSequence([seed, start]).generate_state(1, np.uint64)
    return int(mixed[0] >> np.uint64(2))
