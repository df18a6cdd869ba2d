"""sb3-contrib: MaskablePPO on a ladder of doses, with unsafe rungs masked out.

The environments have continuous actions. ``DiscretizeAction`` of Gymnasium takes the middles of
equal bins and so has no zero, but a day without a dose must stay possible; ``TransformAction``
takes any ladder. The mask of a day has all doses up to the largest one that keeps the patient
within the limit for the rest of the course (``safe_action``): the dose shield, seen from inside the
policy. Treatments whose model cannot say which action is safe cannot be masked so.

    python examples/sb3_maskable_ppo.py --steps 30000
"""

import argparse
import sys
from importlib.metadata import version

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Discrete
from gymnasium.wrappers import TransformAction
from sb3_contrib import MaskablePPO
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.vec_env import DummyVecEnv

import oncogym  # noqa: F401  (registers the environments)

DOSES = np.concatenate([np.linspace(0.0, 0.2, 11), np.linspace(0.25, 1.0, 4)])


def allowed(env: gym.Env) -> np.ndarray:
    """Which rungs are safe now; the lowest, no dose, always is."""
    mask = env.unwrapped.safe_action(np.ones(1)) >= DOSES
    mask[0] = True
    return mask


def make(env_id: str) -> gym.Env:
    """The environment with a ladder of doses and a mask."""
    env = gym.make(env_id)
    if env.action_space.shape != (1,):
        sys.exit(f"{env_id} has {env.action_space.shape[0]} action components; this needs one")
    env = TransformAction(env, lambda rung: DOSES[[rung]], Discrete(len(DOSES)))
    return ActionMasker(env, allowed)


def play(model: MaskablePPO, env_id: str, episodes: int, seed: int) -> tuple[float, float]:
    """Mean return, and the largest cost of a step: no masked course may violate the limit."""
    env = make(env_id)
    total, worst = 0.0, 0.0
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed + episode)
        done = False
        while not done:
            action, _ = model.predict(
                observation, action_masks=env.action_masks(), deterministic=True
            )
            observation, reward, terminated, truncated, info = env.step(int(action))
            total += reward
            worst = max(worst, info["cost"])
            done = terminated or truncated
    return total / episodes, worst


def main() -> None:
    """Train, then compare with the untrained network on other patients."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", default="oncogym/ChemoDosingCohort-v0", help="environment id")
    parser.add_argument("--steps", type=int, default=30_000, help="decisions")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = ("oncogym", "gymnasium", "stable_baselines3", "sb3_contrib", "torch")
    print(", ".join(f"{name} {version(name)}" for name in names))

    torch.set_num_threads(1)
    model = MaskablePPO(
        "MlpPolicy",
        DummyVecEnv([lambda: make(args.env)] * 8),
        n_steps=60,
        batch_size=240,
        n_epochs=5,
        learning_rate=1e-3,
        gamma=1.0,
        gae_lambda=0.98,
        seed=args.seed,
        device="cpu",
    )
    before, _ = play(model, args.env, 30, seed=10_000)
    model.learn(args.steps)
    after, worst = play(model, args.env, 30, seed=10_000)
    print(f"largest cost of a step: {worst:g}")
    print(f"return {after:.2f} after {args.steps} decisions, {before:.2f} before")
    if worst > 0.0:
        sys.exit("a masked course violated the limit")
    if not np.isfinite(after) or (args.steps >= parser.get_default("steps") and after <= before):
        sys.exit("the policy has learnt nothing")


if __name__ == "__main__":
    main()
