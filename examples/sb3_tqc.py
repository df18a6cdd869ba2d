"""sb3-contrib: TQC, an off-policy algorithm, on native lanes.

python examples/sb3_tqc.py --steps 40000
"""

import argparse
import sys
from importlib.metadata import version

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import TQC

import oncogym  # noqa: F401  (registers the environments)
from oncogym.evaluation.harness import evaluate
from oncogym.wrappers.sb3 import SB3VecEnv


def main() -> None:
    """Train, then compare with the untrained network on held-out patients."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", default="oncogym/ChemoDosingCohort-v0", help="environment id")
    parser.add_argument("--steps", type=int, default=40_000, help="decisions, all lanes together")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = ("oncogym", "gymnasium", "stable_baselines3", "sb3_contrib", "torch")
    print(", ".join(f"{name} {version(name)}" for name in names))

    torch.set_num_threads(1)
    model = TQC(
        "MlpPolicy",
        SB3VecEnv(gym.make_vec(args.env, num_envs=64)),
        learning_starts=2_000,
        batch_size=256,
        train_freq=1,
        gradient_steps=2,  # for each step of all 64 lanes
        learning_rate=1e-3,
        gamma=0.99,
        policy_kwargs={"net_arch": [64, 64], "n_critics": 2},
        seed=args.seed,
        device="cpu",
    )
    before = evaluate(args.env, {"untrained": model}, patients=100)["return"].mean()
    model.learn(args.steps)
    after = evaluate(args.env, {"trained": model}, patients=100)["return"].mean()
    print(f"return {after:.2f} after {args.steps} decisions, {before:.2f} before")
    if not np.isfinite(after) or (args.steps >= parser.get_default("steps") and after <= before):
        sys.exit("the policy has learnt nothing")


if __name__ == "__main__":
    main()
