"""``flat_info=True``: the same infos without nesting, and TorchRL, which needs it."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from oncogym.envs.infos import read_group, read_info
from oncogym.wrappers import RewardWeights, VectorRewardWeights

GROUPS = ("reward_terms", "outcome")


def options(env_id):
    # The layout of infos does not depend on patients; those of a cohort take time to prepare.
    # Courses last longer than the few decisions that are taken.
    slow = {"EMT6Ro": {"fidelity": "screening"}, "Adaptive": {"interval_days": 7}}
    chosen = next((own for name, own in slow.items() if name in env_id), {})
    return {"cohort": "nominal", **chosen}


def flattened(info):
    """What a flat info must be, from a nested one."""
    out = {}
    for key, value in info.items():
        if key in GROUPS:
            for name, one in value.items():
                masked = name.startswith("_")
                out[("_" if masked else "") + f"{key}/{name.removeprefix('_')}"] = one
        elif key == "final_info":
            out[key] = flattened(value)
        elif key.removeprefix("_") not in GROUPS:
            out[key] = value
    return out


def assert_same(one, two):
    assert list(one) == list(two)
    for key in one:
        if isinstance(one[key], dict):
            assert key == "final_info"
            assert_same(one[key], two[key])
        elif key == "final_obs":
            assert all(np.array_equal(a, b) for a, b in zip(one[key], two[key], strict=True))
        else:
            assert type(one[key]) is type(two[key])
            assert np.array_equal(one[key], two[key]), key


def test_scalar_infos(env_id):
    nested = gym.make(env_id, **options(env_id))
    flat = gym.make(env_id, flat_info=True, **options(env_id))
    one, two = nested.reset(seed=1)[1], flat.reset(seed=1)[1]
    for _ in range(3):
        assert not any(isinstance(value, dict) for value in two.values())
        assert_same(flattened(one), two)
        for group in GROUPS:
            assert read_group(one, group) == read_group(two, group) == one[group]
        *_, one = nested.step(np.full(nested.action_space.shape, 0.05))
        *_, two = flat.step(np.full(flat.action_space.shape, 0.05))
    again = gym.make(EnvSpec.from_json(flat.spec.to_json()))
    assert list(again.reset(seed=1)[1]) == list(two)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_vector_infos(env_id, mode):
    kwargs = {"num_envs": 2, "max_episode_steps": 2, "autoreset_mode": mode, **options(env_id)}
    nested = gym.make_vec(env_id, **kwargs)
    flat = gym.make_vec(env_id, flat_info=True, **kwargs)
    one, two = nested.reset(seed=1)[1], flat.reset(seed=1)[1]
    for _ in range(4):
        assert_same(flattened(one), two)
        *_, one = nested.step(np.full(nested.action_space.shape, 0.05))
        *_, two = flat.step(np.full(flat.action_space.shape, 0.05))
        if mode == "SameStep" and "final_info" in one:
            name = nested.unwrapped.task.metrics[0].name
            last = read_info(two["final_info"], "outcome", name)
            assert np.array_equal(last, one["final_info"]["outcome"][name])


def test_flat_vector_equals_gymnasium_vector_of_flat_environments():
    env_id = "oncogym/ChemoDosingCohort-v0"
    own = gym.make_vec(env_id, num_envs=3, flat_info=True, max_episode_steps=2)
    theirs = gym.vector.SyncVectorEnv(
        [lambda: gym.make(env_id, flat_info=True, max_episode_steps=2)] * 3,
        autoreset_mode="SameStep",
    )
    one, two = own.reset(seed=5)[1], theirs.reset(seed=5)[1]
    for _ in range(5):
        assert set(one) == set(two)
        assert all(np.array_equal(one[k], two[k]) for k in one if not k.startswith("final"))
        *_, one = own.step(np.full((3, 1), 0.1, np.float32))
        *_, two = theirs.step(np.full((3, 1), 0.1, np.float32))


def test_reward_wrappers_read_flat_infos():
    env_id, weights = "oncogym/ChemoDosing-v0", {"dose": 2.0, "toxicity": 1.0}
    rewards = []
    for flat in (False, True):
        scalar = RewardWeights(gym.make(env_id, flat_info=flat), weights)
        lanes = gym.make_vec(env_id, num_envs=2, flat_info=flat, max_episode_steps=2)
        vector = VectorRewardWeights(lanes, weights)
        scalar.reset(seed=0)
        vector.reset(seed=0)
        for _ in range(3):
            rewards.append(scalar.step(np.array([0.3]))[1])
            rewards += vector.step(np.full((2, 1), 0.3))[1].tolist()
    assert rewards[:9] == rewards[9:]
    assert any(rewards)


def test_a_missing_entry_is_a_key_error():
    info = gym.make("oncogym/ChemoDosing-v0", flat_info=True).reset(seed=0)[1]
    with pytest.raises(KeyError):
        read_info(info, "outcome", "nothing")
    with pytest.raises(KeyError):
        read_group(info, "nothing")


def test_the_keyword_of_torchrl():
    made = gym.make("oncogym/ChemoDosing-v0", frameskip=1).unwrapped
    assert made.flat_info
    assert not gym.make("oncogym/ChemoDosing-v0", frameskip=1, flat_info=False).unwrapped.flat_info
    with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'"):
        gym.make("oncogym/ChemoDosing-v0", frameskip=4)
    with pytest.raises(ValueError, match="flat_info is 3"):
        gym.make("oncogym/ChemoDosing-v0", flat_info=3)
    with pytest.raises(ValueError, match="flat_info is 'yes'"):
        gym.make_vec("oncogym/ChemoDosing-v0", num_envs=2, flat_info="yes")


TORCHRL = """
import gymnasium as gym, numpy as np, oncogym
from torchrl.envs import GymEnv
from torchrl.envs.libs.gym import GymWrapper

ENV = "oncogym/ChemoDosing-v0"
if __name__ == "__main__":
    for made in (
        GymEnv(ENV, num_envs=2),
        GymEnv(ENV, num_envs=2, frame_skip=2, flat_info=True),
        GymWrapper(gym.make_vec(ENV, num_envs=2, flat_info=True)),
    ):
        data = made.rollout(70, break_when_any_done=False)
        assert data.shape == (2, 70)
        assert data["next", "outcome/total_dose"].any()
        assert data["next", "done"].any()
        made.close()
    # The last of an episode is read from final_obs and final_info.
    lanes = gym.make_vec(ENV, num_envs=2, flat_info=True)
    wrapped = GymWrapper(lanes)
    data = wrapped.rollout(60, break_when_any_done=False)
    env = gym.make(ENV)
    for lane in range(2):
        ends = np.flatnonzero(data["next", "done"][lane, :, 0])
        env.reset(seed=0)
        for step in range(ends[0] + 1):
            action = data["action"][lane, step].numpy()
            observation, reward, *_, info = env.step(action)
        assert np.array_equal(data["next", "observation"][lane, step], observation)
        assert data["next", "outcome/total_dose"][lane, step] == info["outcome"]["total_dose"] > 0.0
        assert data["outcome/total_dose"][lane, step + 1] == 0.0
"""


def test_torchrl_makes_lanes(tmp_path):
    pytest.importorskip("torchrl")
    script = tmp_path / "lanes.py"
    script.write_text(TORCHRL, encoding="utf-8")
    out = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=400)
    assert out.returncode == 0, out.stderr
