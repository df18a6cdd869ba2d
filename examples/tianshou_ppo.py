"""Tianshou: PPO on its own vector environment of scalar environments.

python examples/tianshou_ppo.py --steps 60000
"""

import argparse
import sys
import warnings
from importlib.metadata import version

import gymnasium as gym
import numpy as np
import torch
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.continuous import ContinuousActorProbabilistic, ContinuousCritic
from torch import nn
from torch.distributions import Independent, Normal

import oncogym  # noqa: F401  (registers the environments)
from oncogym.evaluation.harness import evaluate

LANES = 32
ROLLOUT = 60


class Agent:
    """A Tianshou policy with the signature that oncogym's evaluation takes."""

    def __init__(self, policy: ProbabilisticActorPolicy) -> None:
        self.policy = policy

    @torch.no_grad()
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        """Decide for a batch of observations."""
        decision = self.policy(Batch(obs=observation, info={}))
        chosen = decision.dist.mode if deterministic else decision.act
        return self.policy.map_action(chosen.numpy()), state


def main() -> None:
    """Train, then compare with the untrained network on held-out patients."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", default="oncogym/ChemoDosingCohort-v0", help="environment id")
    parser.add_argument("--steps", type=int, default=60_000, help="decisions, all lanes together")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = ("oncogym", "gymnasium", "tianshou", "torch")
    print(", ".join(f"{name} {version(name)}" for name in names))

    np.random.seed(args.seed)  # noqa: NPY002  (Tianshou shuffles with the global generator)
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    envs = DummyVectorEnv([lambda: gym.make(args.env)] * LANES)
    envs.seed(args.seed)
    space, box = envs.observation_space[0], envs.action_space[0]

    def network() -> Net:
        return Net(state_shape=space.shape, hidden_sizes=[64, 64], activation=nn.Tanh)

    actor = ContinuousActorProbabilistic(
        preprocess_net=network(), action_shape=box.shape, unbounded=True
    )
    # Tianshou maps -1 to no dose and 1 to the largest: begin with low doses.
    last = [layer for layer in actor.mu.modules() if isinstance(layer, nn.Linear)][-1]
    nn.init.normal_(last.weight, std=0.01)
    nn.init.constant_(last.bias, -0.9)
    nn.init.constant_(actor.sigma_param, -2.0)
    # Tianshou takes the bound 1 of an unbounded actor for a bounded one and warns.
    warnings.filterwarnings("ignore", message="action_scaling")
    policy = ProbabilisticActorPolicy(
        actor=actor,
        dist_fn=lambda parameters: Independent(Normal(*parameters), 1),
        action_space=box,
        observation_space=space,
        action_scaling=True,
        action_bound_method="clip",
    )
    algorithm = PPO(
        policy=policy,
        critic=ContinuousCritic(preprocess_net=network()),
        optim=AdamOptimizerFactory(lr=2e-3),
        gamma=1.0,
        gae_lambda=0.98,
        ent_coef=0.0,
        max_grad_norm=0.5,
    )
    agent = Agent(policy)
    before = evaluate(args.env, {"untrained": agent}, patients=100)["return"].mean()
    frames = LANES * ROLLOUT
    algorithm.run_training(
        OnPolicyTrainerParams(
            training_collector=Collector(algorithm, envs, VectorReplayBuffer(frames, LANES)),
            max_epochs=1,
            epoch_num_steps=max(args.steps, frames),
            collection_step_num_env_steps=frames,
            update_step_num_repetitions=5,
            batch_size=480,
            verbose=False,
            show_progress=False,
        )
    )
    after = evaluate(args.env, {"trained": agent}, patients=100)["return"].mean()
    print(f"return {after:.2f} after {args.steps} decisions, {before:.2f} before")
    if not np.isfinite(after) or (args.steps >= parser.get_default("steps") and after <= before):
        sys.exit("the policy has learnt nothing")


if __name__ == "__main__":
    main()
