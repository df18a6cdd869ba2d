"""A trained policy as an agent, computed without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from oncogym.agents import mlp_kernel as kernel
from oncogym.agents.onnx_policy import OnnxNetwork, OnnxPolicy
from oncogym.agents.policy_files import AnyPolicy, Policy, read_policy
from oncogym.agents.policy_header import Described, Outputs
from oncogym.core.files import StrPath
from oncogym.envs import streams
from oncogym.envs.options import complete_options, resolve_options
from oncogym.envs.registry import find_variant, treatments
from oncogym.envs.therapy import TherapyTask

_STREAM_ACTIONS = streams.STREAM_SAMPLED_ACTION
# Range of a logarithmic deviation that a network gives, as in soft actor-critic.
_LOG_STD = (-20.0, 2.0)


class PolicyMismatchError(ValueError):
    """A policy was made for another treatment, other task options or other spaces."""


class Network(Protocol):
    """The network of a policy, ready to be computed."""

    @property
    def recurrent(self) -> bool:
        """Whether it remembers."""
        ...

    def __call__(
        self, rows: NDArray[Any], state: Any, episode_start: NDArray[np.bool_] | None
    ) -> Outputs:
        """The action's distribution for each of ``rows`` ``(batch, numbers)``."""
        ...


class PerceptronNetwork:
    """A multi-layer perceptron in float64, a lane at a time.

    Args:
        policy: Its tensors.
    """

    recurrent = False

    def __init__(self, policy: Policy) -> None:
        inputs = policy.sizes[0]
        plain = policy.mean is None or policy.variance is None
        self._mean = np.zeros(inputs) if plain else np.asarray(policy.mean, np.float64)
        self._scale = np.ones(inputs)
        if not plain:
            self._scale /= np.sqrt(np.asarray(policy.variance, np.float64) + policy.epsilon)
        self._clip = np.inf if plain else float(policy.clip)
        self._sizes = np.array(policy.sizes, np.int64)
        self._weights = np.concatenate(
            [
                np.concatenate([matrix.ravel(), vector])
                for matrix, vector in zip(policy.weights, policy.biases, strict=True)
            ]
        ).astype(np.float64)
        self._activation = kernel.TANH if policy.activation == "tanh" else kernel.RELU
        self._actions = int(np.prod(policy.action_space.shape))
        self._std = None if policy.log_std is None else np.exp(policy.log_std.astype(np.float64))

    def __call__(
        self, rows: NDArray[np.generic], state: object, episode_start: NDArray[np.bool_] | None
    ) -> Outputs:
        """The action's distribution for each of ``rows``; ``state`` is handed back as it came."""
        raw = np.empty((len(rows), self._sizes[-1]))
        kernel.forward(
            rows,
            self._mean,
            self._scale,
            self._clip,
            self._sizes,
            self._weights,
            self._activation,
            raw,
        )
        raw, given = raw[:, : self._actions], raw[:, self._actions :]
        std = np.exp(np.clip(given, *_LOG_STD)) if self._std is None else self._std
        return raw, std, state


def network_of(policy: AnyPolicy) -> Network:
    """The network of a policy.

    Raises:
        ModuleNotFoundError: What computes it is not installed.
        CorruptFileError: It is an ONNX graph that does not do what the policy says.
    """
    if isinstance(policy, OnnxPolicy):
        return OnnxNetwork(policy)
    return PerceptronNetwork(policy)


class PolicyAgent:
    """Decides by a trained network; a lane's action does not depend on the size of the batch.

    Args:
        policy: The network and what it was made for.
        label: Name for tables and figures; by default that of the algorithm.
        seed: Seed of sampled actions (``deterministic=False``).
    """

    def __init__(self, policy: AnyPolicy, label: str | None = None, seed: int = 0) -> None:
        self.policy = policy
        self.label = label or str(policy.about.get("title", "Policy"))
        self._seed = np.uint64(seed)
        self._calls = 0
        self._network = network_of(policy)
        self._actions = int(np.prod(policy.action_space.shape))

    @property
    def recurrent(self) -> bool:
        """Whether it remembers: its decisions hang on those before."""
        return self._network.recurrent

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
        """
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


def _attributes(task: TherapyTask) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(task).items()
        if name != "num_lanes"
        and not name.startswith("_")
        and isinstance(value, (bool, int, float, str, dict, tuple, type(None)))
    }


def _require_same_spaces(policy: Described, task: TherapyTask, where: str) -> None:
    for kind, trained, present in (
        ("observation", policy.observation_space, task.observation_space),
        ("action", policy.action_space, task.action_space),
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
