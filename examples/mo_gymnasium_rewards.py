"""MO-Gymnasium: the reward as a vector of named terms.

``RewardTerms`` gives the environment MO-Gymnasium's interface: vectors as rewards and a
``reward_space``. MO-Gymnasium's own wrappers run on top, and constant doses show what there is to
trade: the doses of which no other is better in every term.

    python examples/mo_gymnasium_rewards.py --steps 3000
"""

import argparse
import sys
from importlib.metadata import version

import gymnasium as gym
import numpy as np
from mo_gymnasium.wrappers import LinearReward, MORecordEpisodeStatistics
from mo_gymnasium.wrappers.vector import MOSyncVectorEnv

import oncogym  # noqa: F401  (registers the environments)
from oncogym.wrappers import RewardTerms, VectorRewardTerms

LANES = 16


def constant_doses(env_id: str, fractions: np.ndarray, courses: int, seed: int) -> np.ndarray:
    """Mean vector return ``(fractions, terms)`` of constant actions over the same patients."""
    returns = []
    for fraction in fractions:
        envs = VectorRewardTerms(gym.make_vec(env_id, num_envs=courses))
        envs.reset(seed=seed)
        total = np.zeros((courses, envs.reward_dim))
        running = np.ones(courses, bool)
        while running.any():
            actions = np.full(envs.action_space.shape, fraction, np.float32)
            _, reward, terminated, truncated, _ = envs.step(actions)
            total += np.where(running[:, None], reward, 0.0)
            running &= ~(terminated | truncated)
        returns.append(total.mean(axis=0))
    return np.array(returns)


def main() -> None:
    """Run MO-Gymnasium's wrappers, compare with the scalar reward, print the trade-off."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", default="oncogym/ChemoDosingCohort-v0", help="environment id")
    parser.add_argument("--steps", type=int, default=3_000, help="decisions, all lanes together")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names = ("oncogym", "gymnasium", "mo-gymnasium")
    print(", ".join(f"{name} {version(name)}" for name in names))

    # The weighted vector is the scalar reward.
    env = RewardTerms(gym.make(args.env))
    weighted = LinearReward(MORecordEpisodeStatistics(env), weight=env.weights)
    plain = gym.make(args.env)
    weighted.action_space.seed(args.seed)
    gap, vectors, seed = 0.0, [], args.seed
    weighted.reset(seed=seed)
    plain.reset(seed=seed)
    for _ in range(args.steps):
        action = 0.1 * weighted.action_space.sample()
        _, reward, terminated, truncated, info = weighted.step(action)
        expected = plain.step(action)[1]
        gap = max(gap, abs(reward - expected) / (1.0 + abs(expected)))
        if terminated or truncated:
            vectors.append(info["episode"]["r"])
            seed += 1
            weighted.reset(seed=seed)
            plain.reset(seed=seed)

    # MO-Gymnasium's vector environment and native lanes agree.
    lanes = MOSyncVectorEnv([lambda: RewardTerms(gym.make(args.env))] * LANES)
    native = VectorRewardTerms(gym.make_vec(args.env, num_envs=LANES, autoreset_mode="NextStep"))
    lanes.reset(seed=args.seed)
    native.reset(seed=args.seed)
    lanes.action_space.seed(args.seed)
    apart = 0.0
    for _ in range(max(1, args.steps // LANES)):
        actions = 0.1 * lanes.action_space.sample()
        apart = max(apart, np.abs(lanes.step(actions)[1] - native.step(actions)[1]).max())

    fractions = np.array([0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2])
    returns = constant_doses(args.env, fractions, 100, seed=10_000)
    print("action  " + "  ".join(f"{name:>14}" for name in env.terms) + "  weighted sum")
    for fraction, row in zip(fractions, returns, strict=True):
        better = (returns >= row).all(axis=1) & (returns > row).any(axis=1)
        mark = " " if better.any() else "*"
        values = "  ".join(f"{value:14.2f}" for value in row)
        print(f"{fraction:5.2f} {mark} {values}  {row @ env.weights:12.2f}")
    best = float((returns @ env.weights).max())
    print(f"scalar reward: relative gap {gap:.1e}; lanes apart {apart:.1e}")
    print(f"return {best:.2f} after {args.steps} decisions")
    if not np.isfinite(best) or gap > 1e-5 or apart > 1e-5:
        sys.exit("the vector reward does not add up to the scalar one")
    if any(not env.reward_space.contains(vector) for vector in vectors):
        sys.exit("a vector return lies outside the reward space")


if __name__ == "__main__":
    main()
