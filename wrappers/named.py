"""Wrappers by name and arguments, as command lines, run folders and policy files keep them."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gymnasium.vector import VectorEnv, VectorWrapper

from oncogym.core.documents import Document
from oncogym.core.errors import nearest
from oncogym.core.files import to_plain
from oncogym.core.json_types import JsonObject
from oncogym.envs.therapy import TherapyTask
from oncogym.wrappers.dose_scale import VectorDoseScale
from oncogym.wrappers.history import VectorHistory
from oncogym.wrappers.measured_shield import VectorMeasuredShield
from oncogym.wrappers.protocol_offset import VectorProtocolOffset
from oncogym.wrappers.reward import VectorRewardWeights
from oncogym.wrappers.safety import VectorDoseShield, VectorSafetyPenalty
from oncogym.wrappers.transforms import Chain
from oncogym.wrappers.vector_reward import VectorRewardTerms
from oncogym.wrappers.vector_spec import RecordedVectorWrapper

#: The suite's wrappers of lanes by the name of their scalar twin.
WRAPPERS: Mapping[str, type[RecordedVectorWrapper]] = {
    kind.twin.__name__: kind
    for kind in (
        VectorDoseScale,
        VectorDoseShield,
        VectorHistory,
        VectorMeasuredShield,
        VectorProtocolOffset,
        VectorRewardTerms,
        VectorRewardWeights,
        VectorSafetyPenalty,
    )
}
#: Wrappers around one environment at most.
MOST_WRAPPERS = 64
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*|\.[A-Za-z_]\w*)")


@dataclass(frozen=True)
class NamedWrapper:
    """A wrapper of lanes and its arguments.

    Args:
        name: A name in :data:`WRAPPERS`, or the dotted path of a user's own, ``module:Class`` or
            ``module.Class``: a ``gymnasium.vector.VectorWrapper`` around ``(env, **arguments)``.
        arguments: Its arguments, JSON-able.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def own(self) -> bool:
        """Whether it is a user's own."""
        return self.name not in WRAPPERS

    def find(self, *, load: bool = True) -> type[VectorWrapper]:
        """The class.

        Args:
            load: Import a user's own; if not, it has to be imported already, so that no file
                decides what is run.

        Raises:
            UnknownNameError: There is no such wrapper; the message suggests the nearest.
            ValueError: A path leads nowhere, or to something else.
        """
        if not self.own:
            return WRAPPERS[self.name]
        if _PATH.fullmatch(self.name) is None:
            raise nearest("wrapper", self.name, WRAPPERS)
        module, _, name = self.name.replace(":", ".").rpartition(".")
        if not load and module not in sys.modules:
            raise ValueError(
                f"the wrapper {self.name!r} is no part of oncogym; import {module!r} first, if you "
                "trust it"
            )
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"there is no wrapper {self.name!r}: {error}") from None
        if not isinstance(found, type) or not issubclass(found, VectorWrapper):
            raise ValueError(
                f"{self.name!r} is {found!r}; allowed: a gymnasium.vector.VectorWrapper"
            )
        return found

    def around(self, env: VectorEnv, *, load: bool = True) -> VectorEnv:
        """``env`` in the wrapper.

        Args:
            env: Native lanes, wrapped or not.
            load: As of :meth:`find`.

        Raises:
            NotImplementedError, TypeError, ValueError: The wrapper refuses arguments or ``env``.
        """
        kind: Any = self.find(load=load)
        try:
            return kind(env, **self.arguments)
        except TypeError as error:
            raise ValueError(f"wrapper {self.name}: {error}") from error

    def to_json(self) -> JsonObject:
        """Name and arguments as plain data."""
        return to_plain({"name": self.name, "arguments": dict(self.arguments)})

    @classmethod
    def of(cls, given: object) -> NamedWrapper:
        """A wrapper from what a caller or a YAML file says.

        Args:
            given: A wrapper, its name, or a mapping of its name to its arguments.

        Raises:
            ValueError: It is something else.
        """
        if isinstance(given, NamedWrapper):
            return given
        if isinstance(given, str) and given:
            return cls(given)
        if isinstance(given, Mapping):
            if set(given) == {"name", "arguments"}:
                given = {given["name"]: given["arguments"]}
            if len(given) == 1:
                ((name, arguments),) = given.items()
                arguments = {} if arguments is None else arguments
                if isinstance(name, str) and isinstance(arguments, Mapping):
                    return cls(name, to_plain(dict(arguments)))
        raise ValueError(
            f"a wrapper is {given!r}; allowed: a name, or a mapping of one to its arguments"
        )


def wrappers_of(given: Iterable[object] | None) -> tuple[NamedWrapper, ...]:
    """Wrappers, innermost first, from what a caller or a YAML file says.

    Raises:
        ValueError: It is no list of wrappers, see :meth:`NamedWrapper.of`.
    """
    if isinstance(given, str | Mapping):
        raise ValueError(f"wrappers is {given!r}; allowed: a list of wrappers")
    found = tuple(NamedWrapper.of(one) for one in given or ())
    if len(found) > MOST_WRAPPERS:
        raise ValueError(f"{len(found)} wrappers; allowed: at most {MOST_WRAPPERS}")
    return found


def read_wrappers(document: Document, name: str = "wrappers") -> tuple[NamedWrapper, ...]:
    """The wrappers of a document; none where it does not name any, as older ones do not.

    Args:
        document: The document.
        name: Where they stand in it.

    Raises:
        CorruptFileError: They are no list of names and arguments.
    """
    if name not in document:
        return ()
    try:
        return wrappers_of(document[name])
    except (TypeError, ValueError) as error:
        raise document.error(name, f"a list of wrappers ({error})") from None


def wrap_lanes(env: VectorEnv, wrappers: Sequence[NamedWrapper]) -> VectorEnv:
    """``env`` in wrappers, the first one innermost.

    Args:
        env: Native lanes.
        wrappers: The wrappers.

    Raises:
        ValueError: A wrapper changes observations or actions and does not say how an agent can act
            through it.
        NotImplementedError, TypeError, UnknownNameError: A wrapper does not fit.
    """
    for wrapper in wrappers:
        inside = env
        env = wrapper.around(inside)
        same = (
            env.single_observation_space == inside.single_observation_space
            and env.single_action_space == inside.single_action_space
        )
        if not same and not _transforms(wrapper.find()):
            raise ValueError(
                f"wrapper {wrapper.name!r} changes the spaces of lanes and has no class method "
                "transform(task, observation_space, action_space, **arguments): a policy could not "
                "act through it outside of training"
            )
    return env


def _transforms(kind: type) -> bool:
    own: Any = getattr(kind, "transform", None)
    base: Any = RecordedVectorWrapper.transform
    return own is not None and getattr(own, "__func__", own) is not base.__func__


def decisive(wrappers: Sequence[NamedWrapper]) -> tuple[NamedWrapper, ...]:
    """Those of the wrappers that change observations or actions: a policy acts through them."""
    return tuple(wrapper for wrapper in wrappers if _transforms(wrapper.find()))


def chain_of(wrappers: Sequence[NamedWrapper], task: TherapyTask) -> Chain:
    """What wrappers do to observations and actions of a task.

    Nothing is imported for it: a user's own wrapper has to be there already.

    Args:
        wrappers: The wrappers, innermost first.
        task: The task.

    Raises:
        NotImplementedError, TypeError, UnknownNameError, ValueError: A wrapper does not fit.
    """
    observation, action = task.observation_space, task.action_space
    found = []
    for wrapper in wrappers:
        kind: Any = wrapper.find(load=False)
        try:
            transform = kind.transform(task, observation, action, **wrapper.arguments)
        except TypeError as error:
            raise ValueError(f"wrapper {wrapper.name}: {error}") from error
        if transform is None:
            continue
        observation, action = transform.observation_space, transform.action_space
        found.append(transform)
    return Chain(found, observation, action, task.observation_space.shape)
