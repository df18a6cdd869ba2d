"""Stable-Baselines3's algorithms on native lanes, as the learner of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

# Threads that wait by spinning cost most of the speed as soon as another process wants a core. The
# OpenMP runtime reads this once, when torch loads it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from oncogym.agents.lstm import Lstm
from oncogym.agents.onnx_policy import OnnxPolicy
from oncogym.agents.policy_files import AnyPolicy, Policy
from oncogym.envs.problem import Problem
from oncogym.envs.vector_env import TherapyVectorEnv
from oncogym.training.algorithms.base import Arrays, Watcher, lane_seed
from oncogym.training.onnx_export import Standardised, export_onnx, require_onnx
from oncogym.training.policy_about import policy_header
from oncogym.training.sb3_lanes import restore_lanes, save_lanes
from oncogym.training.sb3_state import restore_model, save_model
from oncogym.wrappers.named import NamedWrapper, wrap_lanes
from oncogym.wrappers.sb3 import SB3VecEnv

# What a policy file says of every network.
_OF_ANY_NETWORK = ("rescale_actions", "squash")
#: Networks' non-linearities by the name that settings and policy files use.
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


def native_lanes(
    problem: Problem,
    lanes: int,
    *,
    rescale_actions: bool,
    normalize_observation: bool,
    normalize_reward: bool,
    gamma: float,
    wrappers: Sequence[NamedWrapper] = (),
) -> VecNormalize:
    """The lanes of a problem as Stable-Baselines3 takes them, perhaps normalised.

    Args:
        problem: What is treated; each lane resets to its cohort or its fixed patient.
        lanes: Treatments in parallel.
        rescale_actions: Offer actions in [-1, 1].
        normalize_observation: Standardise observations by their running mean and variance.
        normalize_reward: Divide rewards by the running standard deviation of the return.
        gamma: Discount factor of that return.
        wrappers: Wrappers around the lanes, innermost first.
    """
    bare = TherapyVectorEnv(problem.treatment, lanes, **problem.environment_options())
    env = wrap_lanes(bare, wrappers)
    return VecNormalize(
        SB3VecEnv(env, rescale_actions=rescale_actions),
        norm_obs=normalize_observation,
        norm_reward=normalize_reward,
        gamma=gamma,
        clip_obs=10.0,
    )


def schedule_of(rate: float, schedule: str) -> Any:
    """A learning rate for SB3: constant, or falling linearly to 0 at the last step."""
    return (lambda remaining: rate * remaining) if schedule == "linear" else rate


class OwnState(Protocol):
    """What a model keeps outside torch: it goes into checkpoints as arrays."""

    def save(self) -> Arrays:
        """The arrays by name."""
        ...

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave.

        Raises:
            KeyError, ValueError: It does not fit the model.
        """
        ...


class SB3Learner:
    """A model, its lanes, and how its policy is exported.

    Args:
        model: The model; it has taken no decision yet.
        lanes: Its lanes.
        problem: What they treat.
        steps_per_update: Decisions between two pauses, a multiple of the number of lanes.
        seed: Seed of the run.
        start: Decisions before this process took over.
        layers: Gives the linear layers of the actor, inputs first, actions last; ``None`` for a
            network that is more than these.
        network: What else a policy file says of the network: ``activation``, ``log_std`` (a
            function of the model, ``None`` where the network gives it), ``squash``,
            ``rescale_actions``, ``lstm`` (a function of the model; none without a memory).
        actor: Where ``layers`` is ``None``: gives a module from observations to means and
            logarithms of standard deviations, which is exported as an ONNX graph.
        wrappers: The wrappers around the lanes, innermost first.
        own_state: What the model keeps outside torch.
    """

    def __init__(
        self,
        model: BaseAlgorithm,
        lanes: VecNormalize,
        problem: Problem,
        *,
        steps_per_update: int,
        seed: int,
        start: int,
        layers: Callable[[Any], Sequence[nn.Linear]] | None,
        network: Mapping[str, Any],
        actor: Callable[[Any], nn.Module] | None = None,
        wrappers: Sequence[NamedWrapper] = (),
        own_state: OwnState | None = None,
    ) -> None:
        if (layers is None) == (actor is None):
            raise TypeError("a learner is exported by its layers or by its actor, one of them")

        self.model = model
        self.steps_per_update = steps_per_update
        self._lanes = lanes
        self._problem = problem
        self._wrappers = tuple(wrappers)
        if actor is not None:
            require_onnx()
        self._layers, self._actor = layers, actor
        self._network = dict(network)
        self._own_state = own_state
        lanes.seed(lane_seed(seed, start))

    @property
    def steps(self) -> int:
        """Decisions so far."""
        return self.model.num_timesteps

    def learn(self, until: int, watcher: Watcher) -> None:
        """Train; SB3 itself decides when to update."""
        self.model.set_logger(Logger(None, [_Forward(watcher)]))
        callbacks = CallbackList([EpisodeScalars(), _Pauses(watcher, self.steps_per_update)])
        self.model.learn(until - self.steps, callbacks, reset_num_timesteps=False)

    def save(self) -> tuple[dict[str, Any], Arrays]:
        """The model's state and that of its lanes."""
        state, arrays = save_model(self.model)
        state["lanes"], of_lanes = save_lanes(self.model, self._lanes)
        own = {} if self._own_state is None else self._own_state.save()
        return state, {**arrays, **of_lanes, **own}

    def restore(self, steps: int, state: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` took."""
        restore_model(self.model, steps, state, arrays)
        restore_lanes(self.model, self._lanes, state["lanes"], arrays)
        if self._own_state is not None:
            self._own_state.restore(arrays)

    def export(self, about: Mapping[str, Any]) -> AnyPolicy:
        """The actor and the observation statistics."""
        header = policy_header(self._problem, self._wrappers, about)
        if self._layers is None:
            return self._graph(header)
        layers = self._layers(self.model)
        # torch keeps (out, in); the kernel walks along the outputs. A view would go on learning.
        weights = tuple(layer.weight.detach().numpy().T.copy(order="C") for layer in layers)
        biases = tuple(layer.bias.detach().numpy().copy() for layer in layers)
        network = dict(self._network)
        log_std, lstm = network.pop("log_std"), network.pop("lstm", None)
        mean = variance = None
        if self._lanes.norm_obs:
            moments: Any = self._lanes.obs_rms
            mean = np.array(moments.mean, np.float64).ravel()
            variance = np.array(moments.var, np.float64).ravel()
        return Policy(
            weights=weights,
            biases=biases,
            log_std=None if log_std is None else log_std(self.model),
            memories=() if lstm is None else memories_of_lstm(lstm(self.model)),
            mean=mean,
            variance=variance,
            **header,
            **network,
        )

    def _graph(self, header: Mapping[str, Any]) -> OnnxPolicy:
        assert self._actor is not None
        actor = self._actor(self.model)
        if self._lanes.norm_obs:
            moments: Any = self._lanes.obs_rms
            actor = Standardised(
                actor, moments.mean, moments.var, self._lanes.epsilon, self._lanes.clip_obs
            )
        model = export_onnx(actor, header["observation_space"].shape)
        own = {name: value for name, value in self._network.items() if name in _OF_ANY_NETWORK}
        return OnnxPolicy(model=model, **header, **own)

    def close(self) -> None:
        """Close the lanes."""
        self._lanes.close()


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """The linear layers of a sequence, in order."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def memories_of_lstm(lstm: nn.LSTM) -> tuple[Lstm, ...]:
    """The layers of torch's long short-term memory as a policy file has them."""

    def array(name: str, layer: int) -> NDArray[np.float32]:
        found: torch.Tensor = getattr(lstm, f"{name}_l{layer}")
        return found.detach().numpy().T.copy(order="C")

    # torch adds two biases.
    return tuple(
        Lstm(
            array("weight_ih", layer),
            array("weight_hh", layer),
            array("bias_ih", layer) + array("bias_hh", layer),
        )
        for layer in range(lstm.num_layers)
    )


def side_by_side(first: nn.Linear, second: nn.Linear) -> nn.Linear:
    """One layer with the outputs of two that have the same inputs."""
    both = nn.Linear(first.in_features, first.out_features + second.out_features)
    with torch.no_grad():
        both.weight.copy_(torch.cat([first.weight, second.weight]))
        both.bias.copy_(torch.cat([first.bias, second.bias]))
    return both


class GaussianActor(nn.Module):
    """From observations to means and logarithms of deviations, as an actor-critic policy does."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both ``(batch, actions)``."""
        policy = self.policy
        features = policy.pi_features_extractor(observation)
        mean = policy.action_net(policy.mlp_extractor.forward_actor(features))
        return mean, policy.log_std.expand_as(mean)


class EpisodeScalars(BaseCallback):
    """Record means over the episodes that ended since the last update.

    Names: ``episode/return``, ``episode/length``, ``episode/success_rate``, ``reward_terms/*``
    (unweighted sums over an episode), ``costs/*`` and ``outcome/*``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sums: dict[str, float] = {}
        self._episodes = 0

    def _on_step(self) -> bool:
        dones: NDArray[np.bool_] = self.locals["dones"]
        for lane in np.flatnonzero(dones):
            info = self.locals["infos"][lane]
            self._episodes += 1
            self._add("episode/return", info["episode"]["r"])
            self._add("episode/length", info["episode"]["l"])
            self._add("episode/success_rate", info["is_success"])
            for group, key in (
                ("reward_terms", "episode_terms"),
                ("costs", "episode_costs"),
                ("outcome", "outcome"),
            ):
                for name, value in info[key].items():
                    self._add(f"{group}/{name}", value)
        return True

    def _add(self, name: str, value: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value

    def _on_rollout_end(self) -> None:
        for name, total in self._sums.items():
            self.logger.record(name, total / self._episodes)
        self._sums.clear()
        self._episodes = 0


class _Pauses(BaseCallback):
    """Tell a watcher of each decision, and when an update is complete."""

    def __init__(self, watcher: Watcher, interval: int) -> None:
        super().__init__()
        self._watcher = watcher
        self._interval = interval
        self._seen = 0

    def _on_training_start(self) -> None:
        self._seen = self.num_timesteps

    def _on_step(self) -> bool:
        self._watcher.advanced(self.training_env.num_envs)
        return True

    # SB3 has no hook after an update; the next rollout or the end of the training follows it.
    def _on_rollout_start(self) -> None:
        if self.num_timesteps - self._seen >= self._interval:
            self._pause(last=False)

    def _on_training_end(self) -> None:
        self._pause(last=True)

    def _pause(self, last: bool) -> None:
        self._seen = self.num_timesteps
        self.logger.dump(self.num_timesteps)
        self._watcher.pause(last)


class _Forward(KVWriter):
    """Hands SB3's scalars to a watcher."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Pass numbers on."""
        self._watcher.record(step, key_values)

    def close(self) -> None:
        """Nothing is held open."""
