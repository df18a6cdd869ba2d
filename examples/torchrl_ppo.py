"""TorchRL: clipped PPO on native lanes.

TorchRL resets finished lanes itself, hence ``autoreset_mode="Disabled"``. (With ``"SameStep"`` its
reader of final observations fails on infos that hold dictionaries, those of Gymnasium's own vector
environments included.)

    python examples/torchrl_ppo.py --steps 200000
"""

import argparse
import sys
from importlib.metadata import version

import gymnasium as gym
import numpy as np
import torch
from tensordict import TensorDict
from tensordict.nn import AddStateIndependentNormalScale, TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import check_env_specs
from torchrl.envs.libs.gym import GymWrapper
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import oncogym  # noqa: F401  (registers the environments)
from oncogym.evaluation.harness import evaluate

LANES = 64
ROLLOUT = 60
EPOCHS = 5
MINIBATCH = 960


class Agent:
    """A TorchRL actor with the signature that oncogym's evaluation takes."""

    def __init__(self, actor: TensorDictModule) -> None:
        self.actor = actor

    @torch.no_grad()
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        """Decide for a batch of observations."""
        kind = ExplorationType.DETERMINISTIC if deterministic else ExplorationType.RANDOM
        batch = TensorDict({"observation": torch.as_tensor(observation)}, [len(observation)])
        with set_exploration_type(kind):
            return self.actor(batch)["action"].numpy(), state


def main() -> None:
    """Train, then compare with the untrained network on held-out patients."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", default="oncogym/ChemoDosingCohort-v0", help="environment id")
    parser.add_argument("--steps", type=int, default=200_000, help="decisions, all lanes together")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = ("oncogym", "gymnasium", "torchrl", "tensordict", "torch")
    print(", ".join(f"{name} {version(name)}" for name in names))

    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    env = GymWrapper(gym.make_vec(args.env, num_envs=LANES, autoreset_mode="Disabled"))
    check_env_specs(env)
    env.set_seed(args.seed)
    inputs, outputs = env.observation_spec["observation"].shape[-1], env.action_spec.shape[-1]

    def network(size: int) -> MLP:
        return MLP(inputs, size, num_cells=[64, 64], activation_class=nn.Tanh)

    location = network(outputs)
    nn.init.normal_(location[-1].weight, std=0.01)
    nn.init.constant_(location[-1].bias, -1.5)  # tanh and the box make 0.05 of this
    scale = AddStateIndependentNormalScale(outputs, scale_lb=1e-3)
    nn.init.constant_(scale.state_independent_scale, -1.0)
    actor = ProbabilisticActor(
        TensorDictSequential(
            TensorDictModule(location, ["observation"], ["loc"]),
            TensorDictModule(scale, ["loc"], ["loc", "scale"]),
        ),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
        distribution_kwargs={"low": 0.0, "high": 1.0},
        return_log_prob=True,
    )
    critic = ValueOperator(network(1), in_keys=["observation"])
    advantage = GAE(gamma=1.0, lmbda=0.98, value_network=critic)
    loss_module = ClipPPOLoss(
        actor, critic, clip_epsilon=0.2, entropy_bonus=False, normalize_advantage=True
    )
    optimizer = torch.optim.Adam(loss_module.parameters(), lr=2e-3)

    agent = Agent(actor)
    before = evaluate(args.env, {"untrained": agent}, patients=100)["return"].mean()
    frames = LANES * ROLLOUT
    updates = max(1, args.steps // frames)
    collector = Collector(
        env,
        actor,
        frames_per_batch=frames,
        total_frames=updates * frames,
        auto_register_policy_transforms=False,
    )
    for update, batch in enumerate(collector):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - update / updates)
        with torch.no_grad():
            advantage(batch)
        flat = batch.reshape(-1)
        for _ in range(EPOCHS):
            for index in torch.randperm(frames).split(MINIBATCH):
                losses = loss_module(flat[index])
                loss = losses["loss_objective"] + losses["loss_critic"]
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(loss_module.parameters(), 0.5)
                optimizer.step()
    collector.shutdown()
    after = evaluate(args.env, {"trained": agent}, patients=100)["return"].mean()
    print(f"return {after:.2f} after {args.steps} decisions, {before:.2f} before")
    if not np.isfinite(after) or (args.steps >= parser.get_default("steps") and after <= before):
        sys.exit("the policy has learnt nothing")


if __name__ == "__main__":
    main()
