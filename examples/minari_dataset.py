"""Minari: export courses of a clinical protocol as a dataset, reload it and play it again.

The dataset keeps the seed of each episode and the specification of the environment, so that every
course can be repeated: the recovered environment must return each stored observation and reward bit
for bit. The dataset goes to a temporary folder unless ``--out`` or ``MINARI_DATASETS_PATH`` says
where.

    python examples/minari_dataset.py --steps 3000
"""

import argparse
import os
import sys
import tempfile
import warnings
from importlib.metadata import version

import gymnasium as gym
import minari
import numpy as np

import oncogym  # noqa: F401  (registers the environments)
from oncogym.agents import clinical_agent
from oncogym.envs import find_variant

DATASET = "oncogym/clinical-v0"


def record(env_id: str, steps: int, seed: int) -> minari.MinariDataset:
    """Whole courses of the clinical protocol until ``steps`` decisions are recorded."""
    warnings.filterwarnings("ignore", message=".* is set to None")  # author, e-mail, link
    treatment, variant = find_variant(env_id)
    env = minari.DataCollector(gym.make(env_id), record_infos=True)
    agent = clinical_agent(treatment, env.unwrapped.task, variant.baseline)
    recorded = episode = 0
    while recorded < steps:
        observation, _ = env.reset(seed=seed + episode)
        state, start, done = None, np.ones(1, bool), False
        while not done:
            action, state = agent.predict(observation[None], state, start, deterministic=True)
            observation, _, terminated, truncated, _ = env.step(action[0].astype(np.float32))
            start[:], done = False, terminated or truncated
            recorded += 1
        episode += 1
    dataset = env.create_dataset(
        dataset_id=DATASET,
        eval_env=env_id,
        algorithm_name=f"clinical protocol {variant.baseline}",
        description=f"Courses of one clinical protocol in {env_id}",
    )
    env.close()
    return dataset


def differences(dataset: minari.MinariDataset) -> int:
    """Number of stored values that the recovered environment does not return again."""
    env = dataset.recover_environment()
    wrong = 0
    stored = dataset.storage.get_episode_metadata(dataset.episode_indices)
    for episode, metadata in zip(dataset.iterate_episodes(), stored, strict=True):
        observation, _ = env.reset(seed=int(metadata["seed"]))
        wrong += np.sum(observation != episode.observations[0])
        for step, action in enumerate(episode.actions):
            observation, reward, terminated, truncated, info = env.step(action)
            wrong += np.sum(observation != episode.observations[step + 1])
            wrong += reward != episode.rewards[step]
            wrong += terminated != episode.terminations[step]
            wrong += truncated != episode.truncations[step]
            wrong += info["cost"] != episode.infos["cost"][step + 1]
    return int(wrong)


def main() -> None:
    """Export, reload, play again."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", default="oncogym/ChemoDosingCohort-v0", help="environment id")
    parser.add_argument("--steps", type=int, default=3_000, help="decisions to record, at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="folder of the dataset, by default a temporary one")
    args = parser.parse_args()
    print(", ".join(f"{name} {version(name)}" for name in ("oncogym", "gymnasium", "minari")))

    with tempfile.TemporaryDirectory() as scratch:
        if args.out or "MINARI_DATASETS_PATH" not in os.environ:
            os.environ["MINARI_DATASETS_PATH"] = args.out or scratch
        record(args.env, args.steps, args.seed)
        dataset = minari.load_dataset(DATASET)
        returns = [episode.rewards.sum() for episode in dataset.iterate_episodes()]
        wrong = differences(dataset)
    print(f"{dataset.total_episodes} episodes, {dataset.total_steps} steps, {wrong} differences")
    print(f"return {np.mean(returns):.2f} after {dataset.total_steps} decisions")
    if wrong or not np.isfinite(returns).all() or dataset.total_steps < args.steps:
        sys.exit("the dataset is not what was recorded")


if __name__ == "__main__":
    main()
