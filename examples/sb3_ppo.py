"""Stable-Baselines3: PPO on native lanes.

python examples/sb3_ppo.py --steps 200000
"""

import argparse
import sys
from importlib.metadata import version

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO

import oncogym  # noqa: F401  (registers the environments)
from oncogym.evaluation.harness import evaluate
from oncogym.wrappers.sb3 import SB3VecEnv


def main() -> None:
    """Train, then compare with the untrained network on held-out patients."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", default="oncogym/ChemoDosingCohort-v0", help="environment id")
    parser.add_argument("--steps", type=int, default=200_000, help="decisions, all lanes together")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = ("oncogym", "gymnasium", "stable_baselines3", "torch")
    print(", ".join(f"{name} {version(name)}" for name in names))

    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        SB3VecEnv(gym.make_vec(args.env, num_envs=128)),
        n_steps=30,
        batch_size=960,
        n_epochs=5,
        learning_rate=2e-3,
        gamma=1.0,
        gae_lambda=0.98,
        policy_kwargs={"log_std_init": -2.5},
        seed=args.seed,
        device="cpu",
    )
    # The model is an agent as it is: `predict` is the signature that oncogym takes.
    before = evaluate(args.env, {"untrained": model}, patients=100)["return"].mean()
    model.learn(args.steps)
    after = evaluate(args.env, {"trained": model}, patients=100)["return"].mean()
    print(f"return {after:.2f} after {args.steps} decisions, {before:.2f} before")
    if not np.isfinite(after) or (args.steps >= parser.get_default("steps") and after <= before):
        sys.exit("the policy has learnt nothing")


if __name__ == "__main__":
    main()
