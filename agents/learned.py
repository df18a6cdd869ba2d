"""A trained policy as an agent, computed without torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.agents.networks import network_of
from oncogym.agents.policy_files import AnyPolicy, read_policy
from oncogym.agents.policy_header import Described
from oncogym.core.files import StrPath
from oncogym.core.json_types import JsonObject
from oncogym.envs import streams
from oncogym.envs.options import complete_options, resolve_options
from oncogym.envs.registry import find_variant, treatments
from oncogym.envs.therapy import TherapyTask
from oncogym.wrappers.named import chain_of
from oncogym.wrappers.transforms import Chain

_STREAM_ACTIONS = streams.STREAM_SAMPLED_ACTION


class PolicyMismatchError(ValueError):
    """A policy was made for another treatment, other task options or other spaces."""


class PolicyAgent:
    """Decides by a trained network; a lane's action does not depend on the size of the batch.

    It sees the observations of the task and gives its actions: wrappers in which it was trained, as
    far as they changed either, are part of it.

    Args:
        policy: The network and what it was made for.
        label: Name for tables and figures; by default that of the algorithm.
        seed: Seed of sampled actions (``deterministic=False``).

    Raises:
        ValueError: The policy was trained in a wrapper that is not there, or not imported.
    """

    def __init__(self, policy: AnyPolicy, label: str | None = None, seed: int = 0) -> None:
        self.policy = policy
        self.label = label or str(policy.about.get("title", "Policy"))
        self._seed = np.uint64(seed)
        self._calls = 0
        self._network = network_of(policy)
        self._chain = _chain(policy)
        self._live = not self._chain.privileged
        self._actions = int(np.prod(policy.action_space.shape))

    @property
    def recurrent(self) -> bool:
        """Whether it remembers: its decisions hang on those before."""
        return self._network.recurrent or any(self._chain.begin(1))

    @property
    def sees(self) -> str | None:
        """What it decides by, where that is not what the task shows."""
        return "knows the patient" if self._chain.privileged else None

    def attend(self, task: TherapyTask) -> PolicyAgent:
        """The agent for the treatments in a live task, whose state a shield has to know."""
        if not self._chain.privileged:
            return self
        found = copy.copy(self)
        found._chain = chain_of(self.policy.wrappers, task)
        found._live = True
        return found

    @classmethod
    def load(
        cls,
        folder: StrPath,
        env_id: str | None = None,
        options: Mapping[str, object] | None = None,
        *,
        task: TherapyTask | None = None,
        label: str | None = None,
        seed: int = 0,
    ) -> PolicyAgent:
        """Read a policy and make sure that it fits an environment.

        Args:
            folder: A folder with ``policy.json`` and its network, or a training run's folder.
            env_id: Environment in which it shall act; without it and ``task`` nothing is checked.
            options: Options given to that environment on top of its own.
            task: A task in which it shall act, where there is no id; only its public attributes can
                be compared, so ``env_id`` is the stricter check.
            label, seed: As in the constructor.

        Raises:
            PolicyMismatchError: The policy was made for another problem. Environments that differ
                only in their patients are interchangeable.
            CorruptFileError: A file is truncated or altered; the message names it.
            FileNotFoundError: There is no policy.
            ModuleNotFoundError: It is an ONNX graph, and ONNX Runtime is not installed.
            UnknownNameError: There is no such environment or option.
        """
        policy = read_policy(policy_folder(folder))
        if env_id is not None:
            require_match(policy, env_id, options)
        if task is not None:
            require_same_task(policy, task)
        return cls(policy, label, seed)

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], Any]:
        """Actions in [0, 1], ``(batch, …)`` for a batch of observations, one for a single one.

        Sampled actions come from the agent's own seed: the same for the n-th call and a lane,
        whatever the other lanes. A recurrent policy takes and gives a lane's memory as ``state``,
        and forgets it where ``episode_start`` is set; others hand back what came.

        Raises:
            ValueError: The observations have the wrong shape.
            TypeError: It was trained in a shield and attends no live task, see :meth:`attend`.
        """
        if not self._chain.transforms:
            return self._decide(observation, state, episode_start, deterministic)
        if not self._live:
            raise TypeError(
                "this policy acts through a shield, which asks the model: use attend(task) first, "
                "as rollout() does"
            )
        rows = np.asarray(observation)
        single = rows.shape == self._chain.inner_shape
        rows = rows[None] if single else rows
        if rows.shape[1:] != self._chain.inner_shape:
            raise ValueError(
                f"observations have shape {rows.shape}; allowed: (batch, "
                f"{', '.join(map(str, self._chain.inner_shape))})"
            )
        started = np.zeros(len(rows), np.bool_)
        if episode_start is not None:
            started |= np.asarray(episode_start, np.bool_)
        if state is None:
            memories, inner = self._chain.begin(len(rows)), None
            started[:] = True
        else:
            memories, inner = copy.deepcopy(state[0]), state[1]
        seen = self._chain.observe(memories, rows, started)
        actions, inner = self._decide(seen, inner, episode_start, deterministic)
        actions = self._chain.act(memories, actions)
        return (actions[0] if single else actions), (memories, inner)

    def _decide(
        self,
        observation: NDArray[Any],
        state: Any,
        episode_start: NDArray[np.bool_] | None,
        deterministic: bool,
    ) -> tuple[NDArray[np.float32], Any]:
        shape = self.policy.observation_space.shape
        rows = np.asarray(observation, np.float64)
        single = rows.shape == shape
        if not single and rows.shape[1:] != shape:
            raise ValueError(f"observations have shape {rows.shape}; allowed: (batch, *{shape})")
        rows = np.ascontiguousarray(rows.reshape(1 if single else len(rows), -1))
        raw, std, state = self._network(rows, state, episode_start)
        raw = np.asarray(raw)
        if not deterministic:
            raw += std * self._noise(len(rows))
        if self.policy.squash:
            raw = np.tanh(raw)
        if self.policy.rescale_actions:
            raw = (raw + 1.0) * 0.5
        space = self.policy.action_space
        clipped = np.clip(raw.reshape(len(rows), *space.shape), space.low, space.high)
        actions: NDArray[np.float32] = clipped.astype(np.float32)
        return (actions[0] if single else actions), state

    def _noise(self, lanes: int) -> NDArray[np.float64]:
        draws = (np.uint64(self._calls) << np.uint64(32)) | np.arange(lanes, dtype=np.uint64)
        self._calls += 1
        seeds = np.full(lanes, self._seed, np.uint64)
        return streams.normals(seeds, draws, _STREAM_ACTIONS, self._actions)


def _chain(policy: Described) -> Chain:
    """What the wrappers of a policy do, on a task that nobody is treated in."""
    if not policy.wrappers:
        space = policy.observation_space
        return Chain((), space, policy.action_space, space.shape)
    treatment = treatments().get(policy.treatment)
    if treatment is None:
        raise PolicyMismatchError(
            f"this policy acts through wrappers around the treatment {policy.treatment!r}, which "
            "is not there"
        )
    return chain_of(policy.wrappers, treatment.task(1, **policy.options))


def policy_folder(folder: StrPath) -> Path:
    """The folder of the policy itself: ``folder``, or ``folder/policy`` in a training run."""
    inner = Path(folder) / "policy"
    return inner if (inner / "policy.json").is_file() else Path(folder)


def require_match(
    policy: Described, env_id: str, options: Mapping[str, object] | None = None
) -> None:
    """Raise :class:`PolicyMismatchError` unless the policy fits the environment.

    Treatment, task options (defaults filled in) and spaces must agree; patients need not.

    Args:
        policy: A policy, or what its file says of it.
        env_id: Id of the environment.
        options: Options of the environment on top of those of the id.
    """
    treatment, variant = find_variant(env_id)
    where = f"this policy was made for {policy.env_id} and does not fit {variant.id}"
    if policy.treatment != treatment.name:
        raise PolicyMismatchError(
            f"{where}: its treatment is {policy.treatment!r}, not {treatment.name!r}"
        )
    task_options, _ = resolve_options(treatment, variant, options)
    ours = complete_options(treatment, task_options)
    theirs = complete_options(treatment, policy.options)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise PolicyMismatchError(
                f"{where}: option {name!r} was {theirs.get(name)!r} in training, "
                f"here it is {ours.get(name)!r}"
            )
    _require_same_spaces(policy, treatment.task(1, **task_options), where)


def require_same_task(policy: Described, task: TherapyTask) -> None:
    """Raise :class:`PolicyMismatchError` unless the policy fits a task.

    Treatment, spaces and public attributes (other than the number of lanes) must be those of a task
    made with the policy's options.
    """
    where = f"this policy was made for {policy.env_id} and does not fit this task"
    treatment = treatments().get(policy.treatment)
    if treatment is None or type(task) is not treatment.task:
        raise PolicyMismatchError(
            f"{where}: its treatment is {policy.treatment!r}, the task is a {type(task).__name__}"
        )
    try:
        made = treatment.task(1, **policy.options)
    except (TypeError, ValueError) as error:
        raise PolicyMismatchError(f"{where}: its options make no task ({error})") from error
    theirs, ours = _attributes(made), _attributes(task)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise PolicyMismatchError(
                f"{where}: {name!r} was {theirs.get(name)!r} in training, "
                f"here it is {ours.get(name)!r}"
            )
    _require_same_spaces(policy, task, where)


def _attributes(task: TherapyTask) -> JsonObject:
    return {
        name: value
        for name, value in vars(task).items()
        if name != "num_lanes"
        and not name.startswith("_")
        and isinstance(value, (bool, int, float, str, dict, tuple, type(None)))
    }


def _require_same_spaces(policy: Described, task: TherapyTask, where: str) -> None:
    chain = chain_of(policy.wrappers, task)
    for kind, trained, present in (
        ("observation", policy.observation_space, chain.observation_space),
        ("action", policy.action_space, chain.action_space),
    ):
        if not same_space(trained, present):
            raise PolicyMismatchError(f"{where}: its {kind} space is {trained}, not {present}")


def same_space(first: Box, second: Box) -> bool:
    """Whether two boxes have the same shape, type and bounds."""
    return (
        first.shape == second.shape
        and first.dtype == second.dtype
        and bool(np.array_equal(first.low, second.low))
        and bool(np.array_equal(first.high, second.high))
    )
