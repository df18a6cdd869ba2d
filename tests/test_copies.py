"""Copies of environments: they go on as the original would, alone, and cost little."""

from __future__ import annotations

import copy
import pickle
import tracemalloc

import gymnasium as gym
import numpy as np
import pytest

from oncogym.envs import treatments
from oncogym.envs.registry import find_variant
from oncogym.envs.treatment import Treatment

COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda env: pickle.loads(pickle.dumps(env))}


def options(env_id):
    usual = {
        "EMT6Ro": {"fidelity": "screening"},
        "IMPT": {"cohort": "nominal"},
        # Low doses lose after two visits of a month: a copy would often be at a start, too.
        "AdaptiveTherapy-v0": {"interval_days": 7},
    }
    return next((chosen for name, chosen in usual.items() if name in env_id), {})


def feed(seen, value):
    if isinstance(value, dict):
        for key in sorted(value):
            feed(seen, value[key])
    elif getattr(value, "dtype", None) == np.dtype(object):
        for item in value:
            feed(seen, item)
    elif value is not None:
        seen.append(np.asarray(value).tobytes())


def course(env, steps, lanes=None):
    """Everything that an environment gives in some decisions, over ends of episodes."""
    seen = []
    shape = env.action_space.shape
    rng = np.random.default_rng(4)
    for _ in range(steps):
        result = env.step(rng.random(shape) * 0.2)
        for part in result:
            feed(seen, part)
        if lanes is None and (result[2] or result[3]):
            for part in env.reset():
                feed(seen, part)
    return seen


@pytest.mark.parametrize("how", COPIES)
def test_scalar_copies_go_on_as_the_original_would(env_id, how):
    env = gym.make(env_id, **options(env_id))
    env.reset(seed=9)
    course(env, 3)
    env.action_space.seed(5)
    twin = COPIES[how](env)
    sampled = twin.action_space.sample()
    # The copy goes first, and alone: the original has not moved.
    there = course(twin, 8)
    assert np.array_equal(env.action_space.sample(), sampled)
    assert course(env, 8) == there
    twin.reset(seed=1)
    assert course(env, 4) != course(twin, 4)


@pytest.mark.parametrize("how", COPIES)
def test_vector_copies_go_on_as_the_original_would(env_id, how):
    chosen = {"cohort": "nominal", **options(env_id)}
    env = gym.make_vec(env_id, num_envs=3, max_episode_steps=3, **chosen)
    env.reset(seed=9)
    course(env, 2, 3)
    twin = COPIES[how](env)
    there = course(twin, 5, 3)
    assert course(env, 5, 3) == there


def test_copies_of_copies_and_of_generators():
    env = gym.make("oncogym/ChemoDosingCohort-v0")
    env.reset(seed=0)
    env.np_random = np.random.default_rng(7)
    found = []
    for twin in (copy.deepcopy(copy.deepcopy(env)), pickle.loads(pickle.dumps(env)), env):
        twin.reset()
        found.append(twin.unwrapped.patient)
        # A generator that is set stays the one that is shown.
        assert twin.unwrapped._lanes._generator is twin.np_random
    assert found[0] == found[1] == found[2]


def test_constant_records_are_shared():
    for treatment in treatments().values():
        assert copy.deepcopy(treatment) is treatment
        assert pickle.loads(pickle.dumps(treatment)) is treatment
        assert len(pickle.dumps(treatment)) < 200


def test_a_record_that_only_this_process_knows_is_pickled_whole():
    from dataclasses import replace

    treatment, _ = find_variant("oncogym/ChemoDosing-v0")
    other = replace(treatment, name="another")
    again = pickle.loads(pickle.dumps(other))
    assert isinstance(again, Treatment)
    assert again.name == "another"
    assert again.patient is treatment.patient


def memory(action):
    """Bytes that an action takes at its largest."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_copy_leaves_constants_where_they_are(env_id):
    env = gym.make(env_id, **options(env_id))
    env.reset(seed=0)
    env.step(env.action_space.sample())
    copy.deepcopy(env)  # what is made once
    assert memory(lambda: copy.deepcopy(env)) < 5e5
    assert memory(lambda: pickle.loads(pickle.dumps(env))) < 1e6
    assert len(pickle.dumps(env)) < 2e5
