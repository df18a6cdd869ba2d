"""Wrappers: scalar and vector twins do the same, in every autoreset mode."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from oncogym.wrappers import (
    DoseShield,
    Multiplier,
    RewardWeights,
    SafetyPenalty,
    VectorDoseShield,
    VectorRewardWeights,
    VectorSafetyPenalty,
)

ENV = "oncogym/ChemoDosingCohort-v0"
# Toxic enough for costs, not so toxic that courses fail at once.
TOXIC = {"stop_on_failure": False, "toxicity_limit": 1.0}
WEIGHTS = {"log_kill": 2.0, "dose": 0.5}


def twins(scalar_wrapper, vector_wrapper, mode, lanes=4, **options):
    vector = vector_wrapper(gym.make_vec(ENV, num_envs=lanes, autoreset_mode=mode, **options))
    scalar = gym.vector.SyncVectorEnv(
        [lambda: scalar_wrapper(gym.make(ENV, **options))] * lanes, autoreset_mode=mode
    )
    return vector, scalar


def run_twins(vector, scalar, mode, steps=130, scale=0.3):
    rng = np.random.default_rng(0)
    assert np.array_equal(vector.reset(seed=0)[0], scalar.reset(seed=0)[0])
    rewards = []
    for _ in range(steps):
        actions = (rng.random((vector.num_envs, 1)) * scale).astype(np.float32)
        one, two = vector.step(actions), scalar.step(actions)
        assert np.array_equal(one[0], two[0])
        assert np.allclose(one[1], two[1], rtol=1e-13, atol=1e-13)
        rewards.append(one[1])
        done = one[2] | one[3]
        assert np.array_equal(done, two[2] | two[3])
        if mode == "Disabled" and done.any():
            vector.reset(options={"reset_mask": done})
            scalar.reset(options={"reset_mask": done})
    return np.array(rewards)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_reward_weights(mode):
    vector, scalar = twins(
        lambda env: RewardWeights(env, WEIGHTS),
        lambda env: VectorRewardWeights(env, WEIGHTS),
        mode,
    )
    rewards = run_twins(vector, scalar, mode)
    assert np.any(rewards != 0.0)
    with pytest.raises(ValueError, match="did you mean 'log_kill'"):
        RewardWeights(gym.make(ENV), {"log_kil": 1.0})
    with pytest.raises(ValueError, match="must be finite"):
        VectorRewardWeights(gym.make_vec(ENV), {"dose": np.inf})


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
@pytest.mark.parametrize("shape", ["linear", "quadratic", "cube_root"])
def test_safety_penalty(mode, shape):
    vector, scalar = twins(
        lambda env: SafetyPenalty(env, 3.0, shape),
        lambda env: VectorSafetyPenalty(env, 3.0, shape),
        mode,
        **TOXIC,
    )
    run_twins(vector, scalar, mode)
    env = SafetyPenalty(gym.make(ENV, **TOXIC), 3.0, shape)
    plain = gym.make(ENV, **TOXIC)
    env.reset(seed=0)
    plain.reset(seed=0)
    form = {"linear": lambda c: c, "quadratic": lambda c: c * c, "cube_root": np.cbrt}[shape]
    penalised = 0
    for _ in range(20):
        _, reward, _, _, info = env.step(np.array([0.3]))
        _, free, _, _, _ = plain.step(np.array([0.3]))
        assert reward == pytest.approx(free - 3.0 * form(info["cost"]), rel=1e-12)
        penalised += info["safety_penalty"] > 0.0
    assert penalised > 0
    with pytest.raises(ValueError, match="did you mean 'cube_root'"):
        SafetyPenalty(gym.make(ENV), shape="cuberoot")


def test_lagrangian_multiplier_seeks_the_cost_limit():
    multiplier = Multiplier(1.0, cost_limit=2.0, rate=0.1)
    multiplier.update(np.array([5.0]))
    assert multiplier.value == pytest.approx(1.3)
    multiplier.update(np.array([0.0, 0.0]))
    assert multiplier.value == pytest.approx(0.9)
    multiplier.update(np.zeros(100))
    assert multiplier.value == 0.0
    fixed = Multiplier(1.0)
    fixed.update(np.array([5.0]))
    assert fixed.value == 1.0
    with pytest.raises(ValueError, match="rate is -1"):
        Multiplier(1.0, 0.0, -1.0)
    vector = VectorSafetyPenalty(gym.make_vec(ENV, num_envs=8, **TOXIC), 1.0, cost_limit=0.1)
    vector.reset(seed=0)
    for _ in range(60):
        _, _, _, _, info = vector.step(np.full((8, 1), 0.1, np.float32))
    assert vector.multiplier.value > 1.0
    assert info["safety_multiplier"].shape == (8,)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_shield_keeps_every_patient_within_the_limit(mode):
    vector, scalar = twins(DoseShield, VectorDoseShield, mode, lanes=20)
    run_twins(vector, scalar, mode, steps=70, scale=1.0)
    lanes = VectorDoseShield(gym.make_vec(ENV, num_envs=50, autoreset_mode=mode))
    lanes.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(59):
        info = lanes.step(rng.random((50, 1)))[4]
        assert info["cost"].max() == 0.0
    assert info["outcome"]["peak_toxicity"].max() > 2.9


def test_shield_gives_the_largest_safe_dose():
    env = DoseShield(gym.make("oncogym/ChemoDosing-v0"))
    env.reset(seed=0)
    safe = env.action(np.array([1.0]))
    assert safe[0] == pytest.approx(0.8377, abs=1e-4)  # 8.377 mg/L, specification table 1.5
    assert env.action(np.array([0.2]))[0] == 0.2


def test_sb3_adapter():
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.monitor import Monitor

    from oncogym.wrappers.sb3 import SB3VecEnv

    lanes = gym.make_vec(ENV, num_envs=6)
    env = SB3VecEnv(lanes, rescale_actions=True, full_infos=True)
    twin = gym.make_vec(ENV, num_envs=6)
    env.seed(4)
    assert np.array_equal(env.reset(), twin.reset(seed=4)[0])
    rng = np.random.default_rng(0)
    returns = np.zeros(6)
    finished = 0
    for _ in range(70):
        actions = rng.uniform(-1.0, -0.8, (6, 1)).astype(np.float32)
        observation, reward, done, infos = env.step(actions)
        expected = twin.step((actions + 1.0) * 0.5)
        assert np.array_equal(observation, expected[0])
        assert np.allclose(reward, expected[1], rtol=1e-6)
        returns += expected[1]
        for lane in np.flatnonzero(done):
            info = infos[lane]
            assert np.array_equal(info["terminal_observation"], expected[4]["final_obs"][lane])
            assert info["TimeLimit.truncated"] is False
            assert info["episode"]["r"] == pytest.approx(returns[lane], rel=1e-9)
            assert info["episode"]["l"] == 60
            total = sum(
                lanes.unwrapped.task.reward_weights[name] * value
                for name, value in info["episode_terms"].items()
            )
            assert total == pytest.approx(returns[lane], rel=1e-9)
            assert set(info["outcome"]) >= {"log10_kill"}
            returns[lane] = 0.0
            finished += 1
    assert finished >= 6
    assert env.env_is_wrapped(Monitor) == [True] * 6
    assert env.env_is_wrapped(VectorSafetyPenalty, indices=[0]) == [False]
    assert len(env.get_attr("patients")) == 6
    physical = env.env_method("to_physical", np.full((6, 1), 0.5))
    assert physical[0]["dose"].shape == (6,)
    with pytest.raises(AttributeError, match="no_such"):
        env.get_attr("no_such")
    with pytest.raises(ValueError, match="SAME_STEP"):
        SB3VecEnv(gym.make_vec(ENV, num_envs=2, autoreset_mode="NextStep"))


def test_sb3_adapter_marks_truncations():
    pytest.importorskip("stable_baselines3")
    from oncogym.wrappers.sb3 import SB3VecEnv

    env = SB3VecEnv(gym.make_vec(ENV, num_envs=2, max_episode_steps=3))
    env.reset()
    for _ in range(3):
        *_, done, infos = env.step(np.zeros((2, 1), np.float32))
    assert done.all()
    assert all(info["TimeLimit.truncated"] for info in infos)
