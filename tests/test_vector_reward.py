"""Rewards as vectors of named terms: scalar and vector twins, sums, names, MO-Gymnasium."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from oncogym.wrappers import RewardTerms, VectorRewardTerms
from oncogym.wrappers.lane_infos import split_step_info

ENV = "oncogym/ChemoDosingCohort-v0"


def test_the_weighted_vector_is_the_scalar_reward(env_id):
    """The premise: by default no term that weighs something is left out."""
    env, plain = RewardTerms(gym.make(env_id)), gym.make(env_id)
    env.reset(seed=3)
    plain.reset(seed=3)
    env.action_space.seed(0)
    for _ in range(4):
        action = 0.1 * env.action_space.sample()
        _, reward, terminated, truncated, info = env.step(action)
        _, scalar, _, _, _ = plain.step(action)
        assert reward in env.reward_space
        assert reward.shape == env.reward_space.shape == (env.reward_dim,) == (len(env.terms),)
        assert [info["reward_terms"][name] for name in env.terms] == pytest.approx(reward, rel=1e-6)
        assert env.weights @ reward == pytest.approx(scalar, rel=1e-5, abs=1e-5)
        if terminated or truncated:
            break


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_vector_twin(mode):
    terms = ["dose", "log_kill"]
    lanes = VectorRewardTerms(gym.make_vec(ENV, num_envs=4, autoreset_mode=mode), terms)
    single = [RewardTerms(gym.make(ENV), terms) for _ in range(4)]
    lanes.reset(seed=0)
    for lane, env in enumerate(single):
        env.reset(seed=lane)
    rng = np.random.default_rng(0)
    running = np.ones(4, bool)
    for _ in range(60):
        actions = (0.3 * rng.random((4, 1))).astype(np.float32)
        observation, rewards, terminated, truncated, info = lanes.step(actions)
        assert rewards.shape == (4, 2)
        assert rewards.dtype == np.float32
        parts, _ = split_step_info(info, 4)
        ends = info.get("final_obs", [None] * 4)
        for lane in np.flatnonzero(running):
            expected = single[lane].step(actions[lane])
            last = observation[lane] if ends[lane] is None else ends[lane]
            assert np.array_equal(last, expected[0])
            assert np.array_equal(rewards[lane], expected[1])
            assert (terminated[lane], truncated[lane]) == expected[2:4]
            assert parts[lane] == expected[4]
        running &= ~(terminated | truncated)
    assert not running.any()
    assert lanes.reward_space.shape == (2,)


def test_names_are_checked():
    assert RewardTerms(gym.make(ENV)).terms == (
        "log_kill",
        "toxicity",
        "dose",
        "tumour_control",
        "failure",
    )
    with pytest.raises(ValueError, match="did you mean 'log_kill'"):
        RewardTerms(gym.make(ENV), ["log_kil"])
    with pytest.raises(ValueError, match="each once"):
        VectorRewardTerms(gym.make_vec(ENV), ["dose", "dose"])
    with pytest.raises(ValueError, match="one name or more"):
        RewardTerms(gym.make(ENV), [])


def test_the_interface_of_mo_gymnasium():
    """Its wrappers read the innermost environment and write into the reward."""
    env = RewardTerms(gym.make(ENV), ["log_kill", "toxicity"])
    assert env.unwrapped.reward_space is env.reward_space
    assert env.unwrapped.reward_dim == 2
    env.reset(seed=0)
    first = env.step(np.array([0.05]))[1]
    kept = first.copy()
    first[:] = 0.0
    assert np.any(kept != 0.0)
    assert np.any(env.step(np.array([0.05]))[1] != 0.0)
    again = gym.make(env.spec)
    assert again.get_wrapper_attr("terms") == ("log_kill", "toxicity")
    mo = pytest.importorskip("mo_gymnasium")
    weighted = mo.wrappers.LinearReward(env, weight=np.array([1.0, 2.0]))
    weighted.reset(seed=0)
    _, reward, _, _, info = weighted.step(np.array([0.05]))
    assert reward == pytest.approx(info["vector_reward"] @ [1.0, 2.0])
