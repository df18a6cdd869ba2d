"""What Gymnasium's users take for granted: generators, seeds, kinds of actions, statistics."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from oncogym.wrappers import RewardWeights, VectorRewardWeights

COHORT = "oncogym/ChemoDosingCohort-v0"
ENV = "oncogym/ChemoDosing-v0"


def patients(env, resets, **seed):
    found = []
    for _ in range(resets):
        env.reset(**seed)
        base = env.unwrapped
        found.append(base.patient if isinstance(base, gym.Env) else base.patients.tobytes())
        seed = {}
    return found


SCALAR = {
    "bare": lambda: gym.make(COHORT).unwrapped,
    "wrapped": lambda: RewardWeights(gym.make(COHORT), {"dose": 1.0}),
    "vector": lambda: gym.make_vec(COHORT, num_envs=3),
    "wrapped vector": lambda: VectorRewardWeights(gym.make_vec(COHORT, num_envs=3), {"dose": 1.0}),
}


@pytest.mark.parametrize("name", SCALAR)
def test_np_random_decides_the_next_unseeded_resets(name):
    env = SCALAR[name]()
    as_seeded = patients(env, 3, seed=0)
    assert len(set(as_seeded)) == 3
    assert env.np_random_seed == 0
    env.np_random = np.random.default_rng(7)
    assert env.np_random_seed == -1
    first = patients(env, 3)
    assert len(set(first) | set(as_seeded)) == 6
    generator = np.random.default_rng(7)
    env.np_random = generator
    assert env.np_random is generator
    assert patients(env, 3) == first
    env.np_random = np.random.default_rng(8)
    assert not set(patients(env, 3)) & set(first)
    # A seed takes over again, and its episodes follow each other as before.
    assert patients(env, 3, seed=0) == as_seeded
    # Before the first reset, too.
    fresh = SCALAR[name]()
    fresh.np_random = np.random.default_rng(7)
    assert patients(fresh, 3) == first


def test_a_shared_generator_gives_each_environment_its_own_patients():
    generator = np.random.default_rng(1)
    one, two = gym.make(COHORT), gym.make(COHORT)
    one.np_random = two.np_random = generator
    assert patients(one, 1) != patients(two, 1)
    workers = gym.vector.SyncVectorEnv([lambda: gym.make(COHORT)] * 2)
    workers.reset(seed=0)
    found = []
    for _ in range(2):
        workers.set_attr("np_random", [np.random.default_rng(n) for n in (4, 5)])
        workers.reset()
        found.append([env.unwrapped.patient for env in workers.envs])
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


def test_lanes_that_start_themselves_draw_from_np_random():
    def course():
        env = gym.make_vec(COHORT, num_envs=3, max_episode_steps=2)
        env.reset(seed=0)
        env.np_random = np.random.default_rng(7)
        seen = []
        for _ in range(4):
            env.step(np.full((3, 1), 0.1))
            seen.append(env.patients)
        # Masked resets as well; the other lanes stay.
        env.reset(options={"reset_mask": np.array([True, False, False])})
        return [*seen, env.patients]

    one, two = course(), course()
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0], one[1])
    changed = (one[3] != one[4]).any(axis=1)
    assert changed.tolist() == [True, False, False]


def test_np_random_is_a_generator():
    for env in (gym.make(ENV), gym.make_vec(ENV, num_envs=2)):
        with pytest.raises(TypeError, match="RandomState"):
            env.np_random = np.random.RandomState(0)


BAD_SEEDS = [1.5, 2.0, -1, True, "3", np.float64(4.0), np.int64(-5), np.bool_(True), 1 + 0j]


@pytest.mark.parametrize("seed", BAD_SEEDS, ids=repr)
def test_what_is_no_seed_is_named(seed):
    scalar, lanes = gym.make(COHORT).unwrapped, gym.make_vec(COHORT, num_envs=2)
    scalar.reset(seed=1)
    before = scalar.patient
    for reset in (
        lambda: scalar.reset(seed=seed),
        lambda: lanes.reset(seed=[0, seed]),
        lambda: lanes.reset(seed=(seed, None)),
    ):
        with pytest.raises(ValueError, match=r"seed is .*allowed: an integer of at least 0"):
            reset()
    if not isinstance(seed, str):
        with pytest.raises(ValueError, match="seed is"):
            lanes.reset(seed=seed)
    # A refused reset changes nothing.
    assert scalar.patient == before


def test_seeds_of_any_size_differ():
    scalar, lanes = gym.make(COHORT).unwrapped, gym.make_vec(COHORT, num_envs=2)
    seeds = [0, 1, 2**63, 2**64 - 1, 2**64, 2**64 + 1, 2**65, 2**128 + 2**64, 10**60]
    found = [patients(scalar, 1, seed=seed)[0] for seed in seeds]
    assert len(set(found)) == len(seeds)
    for kind in (np.int32, np.uint64, np.int64):
        assert patients(scalar, 1, seed=kind(1))[0] == found[1]
        assert scalar.np_random_seed == 1
    # Lanes do not wrap around at the largest integer of 64 bits.
    lanes.reset(seed=2**64 - 1)
    rows = [tuple(row) for row in lanes.patients]
    assert rows == [tuple(one.to_array()) for one in (found[3], found[4])]
    # Gymnasium's own seeds are that large.
    own = gym.make(COHORT).unwrapped
    large = own.np_random_seed
    assert large > 2**64
    assert patients(own, 1, seed=large) == patients(scalar, 1, seed=large)


def test_lists_of_patients_have_seeds_of_their_own_range():
    cohort = gym.make(COHORT).unwrapped.treatment.cohorts["population"]
    assert not np.array_equal(cohort.patients(3, 0), cohort.patients(3, 2**48 - 1))
    for seed in (-1, 2**48, 1.5):
        with pytest.raises(ValueError, match=f"seed is {seed}"):
            cohort.patients(3, seed)


BAD_ACTIONS = {
    "complex": np.array([0.5 + 0.5j]),
    "complex list": [0.5 + 0.5j],
    "bool": np.array([True]),
    "string": np.array(["0.5"]),
    "bytes": np.array([b"0.5"]),
    "object": np.array([0.5], dtype=object),
    "none": np.array([None]),
    "masked": np.ma.array([0.5], mask=[True]),
    "date": np.array(["2020-01-01"], "datetime64[D]"),
}


@pytest.mark.parametrize("name", BAD_ACTIONS)
def test_actions_of_other_kinds_are_refused(name):
    bad = BAD_ACTIONS[name]
    scalar, lanes = gym.make(ENV).unwrapped, gym.make_vec(ENV, num_envs=1)
    scalar.reset(seed=0)
    lanes.reset(seed=0)
    stacked = bad[None] if isinstance(bad, np.ndarray) else [bad]
    for call, action in (
        (scalar.step, bad),
        (scalar.safe_action, bad),
        (scalar.to_physical, bad),
        (lanes.step, stacked),
        (lanes.safe_actions, stacked),
        (lanes.to_physical, stacked),
    ):
        with pytest.raises(ValueError, match=r"are not numbers|are masked"):
            call(action)


@pytest.mark.parametrize(
    "action",
    [[1], np.array([1]), np.array([1], np.uint8), np.array([1.0], np.float16), (1.0,),
     np.ma.array([1.0], mask=[False])],
    ids=repr,
)  # fmt: skip
def test_actions_of_any_real_type_are_the_same(action):
    results = []
    for one in (action, np.array([1.0])):
        env = gym.make(ENV).unwrapped
        env.reset(seed=0)
        results.append(env.step(one))
    assert np.array_equal(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]


def test_actions_of_unequal_length_are_refused():
    lanes = gym.make_vec(ENV, num_envs=2)
    lanes.reset(seed=0)
    with pytest.raises(ValueError, match="are not numbers"):
        lanes.step([[0.1], [0.1, 0.2]])


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_gymnasium_counts_the_episodes_of_lanes_as_those_of_its_own_vector(mode):
    """With lanes that end at different times; idle ones wait for the last of them."""

    def count(env, idle=False, mode=mode):
        env = RecordEpisodeStatistics(env)
        env.reset(seed=11)
        rng = np.random.default_rng(3)
        done = np.zeros(4, np.bool_)
        for _ in range(120):
            actions = (rng.random((4, 1)) * [[0.02], [0.1], [0.5], [1.0]]).astype(np.float32)
            if mode == "Disabled" and not idle:
                # Gymnasium's own vector refuses to step lanes that are over.
                if done.any():
                    env.reset(options={"reset_mask": done})
            elif mode == "Disabled" and done.all():
                env.reset(options={"reset_mask": done})
                done[:] = False
            _, _, terminated, truncated, _ = env.step(actions)
            done = (terminated | truncated) if not idle else done | terminated | truncated
        return env.episode_count, list(env.length_queue), list(env.return_queue)

    own = gym.make_vec(ENV, num_envs=4, autoreset_mode=mode)
    # With Disabled, SyncVectorEnv takes the mask out of the options, whereupon the wrapper forgets
    # all lanes. Lanes that are reset at once have the episodes of SameStep.
    kind = "SameStep" if mode == "Disabled" else mode
    theirs = gym.vector.SyncVectorEnv([lambda: gym.make(ENV)] * 4, autoreset_mode=kind)
    found = count(own)
    assert found == count(theirs, mode=kind)
    assert found[0] > 8
    assert len(set(found[1])) > 1, "all episodes are of one length: lanes were never out of step"
    if mode == "Disabled":
        episodes, lengths, _ = count(own, idle=True)
        assert episodes == len(lengths)
        assert episodes % 4 == 0
        assert min(lengths) > 0


def test_an_idle_lane_says_so_once():
    env = gym.make_vec(ENV, num_envs=2, autoreset_mode="Disabled")
    env.reset(seed=0)
    ends, masks, rewards = [], [], []
    for _ in range(70):
        last = env.step(np.array([[1.0], [0.01]]))
        ends.append((last[2] | last[3]).tolist())
        masks.append(last[4]["_cost"].tolist())
        rewards.append(last[1][0])
    first, second = zip(*ends, strict=True)
    assert sum(first) == 1
    assert sum(second) == 1
    end = first.index(True)
    assert end < second.index(True)
    assert [mask[0] for mask in masks] == [step <= end for step in range(70)]
    assert not any(rewards[end + 1 :])
    env.reset(options={"reset_mask": np.array([True, False])})
    *_, info = env.step(np.array([[0.1], [0.1]]))
    assert info["_cost"].tolist() == [True, False]
