"""Environments of every id in other processes; run as ``python process_cases.py METHOD``.

METHOD is ``fork``, ``forkserver`` or ``spawn``. Each process's course is compared with the parent's
own, before and after the parent has stepped a large batch on all threads. Exits 0 if all agree.
"""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import sys
import time

import gymnasium as gym
import numpy as np
import plan_libraries
from gymnasium.vector import AsyncVectorEnv

from oncogym.envs import threads, treatments

# Spawned processes import this module, too.
plan_libraries.share_libraries()

SEED = 3
IDS = [variant.id for one in treatments().values() for variant in one.variants]
# Enough for threads, one of each treatment whose batches are cheap.
BATCHES = {"oncogym/ChemoDosing-v0": 300, "oncogym/GlioblastomaRadiation-v0": 300}
SECONDS = 60


def options(env_id):
    return {"fidelity": "screening"} if "EMT6Ro" in env_id else {}


def make(env_id):
    short = {"interval_days": 7} if "Adaptive" in env_id else {}  # two visits end no course
    return gym.make(env_id, disable_env_checker=True, **options(env_id), **short)


def course(env_id):
    """Observations of two decisions, as bytes."""
    env = make(env_id)
    seen = [env.reset(seed=SEED)[0]]
    action = np.full(env.action_space.shape, 0.02, np.float32)
    seen += [env.step(action)[0] for _ in range(2)]
    return np.stack(seen).tobytes()


def batch(env_id):
    """A digest of a large native batch; in a child of a threaded process it is serial."""
    lanes = gym.make_vec(env_id, num_envs=BATCHES[env_id])
    digest = hashlib.sha256(lanes.reset(seed=SEED)[0].tobytes())
    actions = np.full((BATCHES[env_id], *lanes.single_action_space.shape), 0.02, np.float32)
    for _ in range(3):
        observation, reward, *_ = lanes.step(actions)
        digest.update(observation.tobytes() + reward.tobytes())
    return digest.hexdigest()


def check_pool(method, expected, batches):
    with multiprocessing.get_context(method).Pool(1) as pool:
        for env_id in IDS:
            found = pool.apply_async(course, (env_id,)).get(SECONDS)
            assert found == expected[env_id], env_id
        for env_id, digest in batches.items():
            assert pool.apply_async(batch, (env_id,)).get(SECONDS) == digest, env_id
        if method != "forkserver":  # whose server has PyTorch
            threaded = bool(batches) and method == "fork"
            assert pool.apply_async(threads.serial_only).get(SECONDS) == threaded


def check_async(method, env_id, expected):
    workers = AsyncVectorEnv([functools.partial(make, env_id)], context=method)
    try:
        seen = [workers.reset(seed=SEED)[0][0]]
        action = np.full(workers.action_space.shape, 0.02, np.float32)
        for _ in range(2):
            workers.step_async(action)
            seen.append(workers.step_wait(SECONDS)[0][0])
        assert np.stack(seen).tobytes() == expected[env_id], env_id
    finally:
        workers.close(terminate=True)


def check_sb3(method, env_id, expected):
    try:
        from stable_baselines3.common.vec_env import SubprocVecEnv
    except ImportError:
        return
    workers = SubprocVecEnv([functools.partial(make, env_id)], start_method=method)
    try:
        workers.seed(SEED)
        seen = [workers.reset()[0]]
        action = np.full((1, *workers.action_space.shape), 0.02, np.float32)
        seen += [workers.step(action)[0][0] for _ in range(2)]
        assert np.stack(seen).tobytes() == expected[env_id], env_id
    finally:
        workers.close()


def main(method):
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["process_warm"])
    expected = {env_id: course(env_id) for env_id in IDS}
    # Importing and warming up a spawned process takes seconds: there the pool covers all ids.
    singly = IDS if method != "spawn" else ["oncogym/ChemoDosingCohort-v0"]
    # A spawned process has nothing of its parent, so that one round tells all.
    for threaded in (False, True) if method != "spawn" else (True,):
        batches = {env_id: batch(env_id) for env_id in BATCHES if threaded}
        began = time.perf_counter()
        check_pool(method, expected, batches)
        for env_id in singly:
            check_async(method, env_id, expected)
            check_sb3(method, env_id, expected)
        print(method, "after threads" if batches else "before", time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1])
