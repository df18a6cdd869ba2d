"""RLlib: PPO on native lanes.

RLlib 2.60 pins Gymnasium 1.2.2, so it wants a virtual environment of its own; oncogym runs on both.
Its runners expect finished lanes to be reset one step later, hence ``autoreset_mode="NextStep"``.
The prefix ``oncogym:`` makes Gymnasium import the package, on remote runners too.

    python examples/rllib_ppo.py --steps 60000
"""

import argparse
import os
import sys
from importlib.metadata import version

# Threads that wait must not spin beside Ray's own processes; OpenMP reads this when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from oncogym.evaluation.harness import evaluate

LANES = 64
ROLLOUT = 60


class LowDoses(DefaultPPOTorchRLModule):
    """RLlib's network, which begins with doses near a twentieth of the largest."""

    def setup(self) -> None:
        """Make the networks; the policy's actions lie in [-1, 1]."""
        super().setup()
        last = self.pi.net.mlp[-1]
        torch.nn.init.normal_(last.weight, std=0.01)
        torch.nn.init.constant_(last.bias, -0.9)
        torch.nn.init.constant_(self.pi.log_std, -2.0)


class Agent:
    """An RLlib module with the signature that oncogym's evaluation takes."""

    def __init__(self, module) -> None:
        self.module = module

    @torch.no_grad()
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        """Decide for a batch of observations."""
        batch = {"obs": torch.as_tensor(observation)}
        kind = self.module.get_inference_action_dist_cls()
        policy = kind.from_logits(self.module.forward_inference(batch)["action_dist_inputs"])
        action = (policy.to_deterministic() if deterministic else policy).sample()
        # RLlib's policies act in [-1, 1], the environment in [0, 1].
        return np.clip(0.5 * (action.numpy() + 1.0), 0.0, 1.0), state


def main() -> None:
    """Train, then compare with the untrained network on held-out patients."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", default="oncogym/ChemoDosingCohort-v0", help="environment id")
    parser.add_argument("--steps", type=int, default=60_000, help="decisions, all lanes together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runners", type=int, default=0, help="remote runners; 0: this process")
    args = parser.parse_args()
    names = ("oncogym", "gymnasium", "ray", "torch")
    print(", ".join(f"{name} {version(name)}" for name in names))

    torch.set_num_threads(1)
    ray.init(
        num_cpus=args.runners + 1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    frames = LANES * ROLLOUT
    config = (
        PPOConfig()
        .environment(f"oncogym:{args.env}", env_config={"autoreset_mode": "NextStep"})
        .env_runners(
            num_env_runners=args.runners,
            num_envs_per_env_runner=LANES // max(1, args.runners),
            gym_env_vectorize_mode=gym.VectorizeMode.VECTOR_ENTRY_POINT,
        )
        .rl_module(
            rl_module_spec=RLModuleSpec(module_class=LowDoses),
            model_config=DefaultModelConfig(
                fcnet_hiddens=[64, 64],
                vf_share_layers=False,
                free_log_std=True,
            ),
        )
        .training(
            train_batch_size_per_learner=frames,
            minibatch_size=960,
            num_epochs=5,
            lr=2e-3,
            gamma=1.0,
            lambda_=0.98,
            grad_clip=0.5,
            use_kl_loss=False,
        )
        .debugging(seed=args.seed, log_level="ERROR")
    )
    algorithm = config.build_algo()
    before = evaluate(args.env, {"untrained": Agent(algorithm.get_module())}, patients=100)
    for _ in range(max(1, args.steps // frames)):
        algorithm.train()
    after = evaluate(args.env, {"trained": Agent(algorithm.get_module())}, patients=100)
    algorithm.stop()
    ray.shutdown()
    before, after = before["return"].mean(), after["return"].mean()
    print(f"return {after:.2f} after {args.steps} decisions, {before:.2f} before")
    if not np.isfinite(after) or (args.steps >= parser.get_default("steps") and after <= before):
        sys.exit("the policy has learnt nothing")


if __name__ == "__main__":
    main()
