"""sb3-contrib: RecurrentPPO on what a clinic can measure.

With ``observation="measurable"`` the tumour is a noisy, delayed marker and the drug level is not
seen at all, so that an agent with a memory has something to remember.

    python examples/sb3_recurrent_ppo.py --steps 60000
"""

import argparse
import sys
from importlib.metadata import version

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import RecurrentPPO

import oncogym  # noqa: F401  (registers the environments)
from oncogym.evaluation.harness import evaluate
from oncogym.wrappers.sb3 import SB3VecEnv

OPTIONS = {"observation": "measurable"}


def main() -> None:
    """Train, then compare with the untrained network on held-out patients."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", default="oncogym/ChemoDosingCohort-v0", help="environment id")
    parser.add_argument("--steps", type=int, default=60_000, help="decisions, all lanes together")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = ("oncogym", "gymnasium", "stable_baselines3", "sb3_contrib", "torch")
    print(", ".join(f"{name} {version(name)}" for name in names))

    torch.set_num_threads(1)
    model = RecurrentPPO(
        "MlpLstmPolicy",
        SB3VecEnv(gym.make_vec(args.env, num_envs=64, **OPTIONS)),
        n_steps=30,
        batch_size=480,
        n_epochs=5,
        learning_rate=2e-3,
        gamma=1.0,
        gae_lambda=0.98,
        policy_kwargs={"log_std_init": -2.5, "lstm_hidden_size": 32},
        seed=args.seed,
        device="cpu",
    )
    # `evaluate` hands the LSTM's state and the starts of episodes on from step to step.
    before = evaluate(args.env, {"untrained": model}, patients=100, options=OPTIONS)
    model.learn(args.steps)
    after = evaluate(args.env, {"trained": model}, patients=100, options=OPTIONS)
    before, after = before["return"].mean(), after["return"].mean()
    print(f"return {after:.2f} after {args.steps} decisions, {before:.2f} before")
    if not np.isfinite(after) or (args.steps >= parser.get_default("steps") and after <= before):
        sys.exit("the policy has learnt nothing")


if __name__ == "__main__":
    main()
