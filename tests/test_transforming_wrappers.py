"""Wrappers that change observations or actions: History and DoseScale."""

from __future__ import annotations

import copy
import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from oncogym.wrappers import (
    DoseScale,
    DoseShield,
    History,
    VectorDoseScale,
    VectorDoseShield,
    VectorHistory,
)

CHEMO = "oncogym/ChemoDosingCohort-v0"
GLIOMA = "oncogym/GlioblastomaRadiationCohort-v0"
SPHEROID = "oncogym/EMT6RoFractionation-v0"
MODES = ["SameStep", "NextStep", "Disabled"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_history_is_what_was_shown_and_done(count):
    lasting = {"stop_on_failure": False}
    env, plain = History(gym.make(CHEMO, **lasting), count), gym.make(CHEMO, **lasting)
    rng = np.random.default_rng(0)
    for seed in (4, 5):  # nothing of the first treatment is left in the second
        seen, done = [plain.reset(seed=seed)[0]], []
        shown = env.reset(seed=seed)[0]
        for step in range(6):
            before = [*seen[::-1], *[np.zeros(7)] * count][:count]
            actions = [*done[::-1], *[np.zeros(1)] * count][:count]
            expected = np.concatenate([*before, *actions]).astype(np.float32)
            assert np.array_equal(shown, expected), step
            assert shown.dtype == np.float32
            assert env.observation_space.contains(shown)
            action = rng.random(1).astype(np.float32) * 1.5
            shown, reward, *_ = env.step(action)
            now, plain_reward, *_ = plain.step(action)
            assert reward == plain_reward
            seen.append(now)
            done.append(np.minimum(action, 1.0))
    assert env.observation_space.shape == (8 * count,)
    assert env.action_space == plain.action_space


def test_what_a_history_refuses():
    for make, kind in ((gym.make, History), (gym.make_vec, VectorHistory)):
        for count in (0, 1001, 2.5, None, True):
            with pytest.raises(ValueError, match=f"count is {count}"):
                kind(make(CHEMO), count)
        with pytest.raises(ValueError, match=r"observations have shape .* rows of numbers"):
            kind(make(SPHEROID, observation="image"))
    env = History(gym.make(CHEMO))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="is \\[nan\\]"):
        env.step(np.array([np.nan]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("inner", [False, True])
def test_scaled_doses_agree_in_lanes_and_alone(mode, inner):
    options = {"horizon": 40, "max_therapy_days": 4}

    def scalar():
        env = DoseScale(gym.make(GLIOMA, **options), 1.5)
        return History(env, 2) if inner else env

    vector = VectorDoseScale(gym.make_vec(GLIOMA, num_envs=3, autoreset_mode=mode, **options), 1.5)
    vector = VectorHistory(vector, 2) if inner else vector
    scalars = gym.vector.SyncVectorEnv([scalar] * 3, autoreset_mode=mode)
    rng = np.random.default_rng(1)
    one, two = vector.reset(seed=7), scalars.reset(seed=7)
    assert np.array_equal(one[0], two[0])
    ends = 0
    for _ in range(14):
        actions = rng.random((3, 1)).astype(np.float32)
        one, two = vector.step(actions), scalars.step(actions)
        for a, b in zip(one[:4], two[:4], strict=True):
            assert np.array_equal(a, b)
        for key in ("cost", "clipped"):
            assert np.array_equal(one[4][key], two[4][key])
        done = one[2] | one[3]
        ends += int(done.sum())
        if mode == "SameStep" and done.any():
            for lane in np.flatnonzero(done):
                assert np.array_equal(one[4]["final_obs"][lane], two[4]["final_obs"][lane])
        if mode == "Disabled" and done.any():
            options_of = {"options": {"reset_mask": done}}
            one, two = vector.reset(**options_of), scalars.reset(**options_of)
            assert np.array_equal(one[0], two[0])
    assert ends > 0


def test_a_scaled_dose_is_the_multiple_of_what_is_shown():
    env, plain = DoseScale(gym.make(GLIOMA), 2.0), gym.make(GLIOMA)
    shown, _ = env.reset(seed=3)
    plain.reset(seed=3)
    for wanted in (0.25, 0.5, 0.9, 0.0):
        dose = 2.0 * wanted * shown[5] * 24.0
        shown, reward, *_, info = env.step(np.array([wanted], np.float32))
        same, expected, *_, other = plain.step(np.array([dose / 61.2]))
        np.testing.assert_allclose(shown, same, rtol=0.0, atol=1e-6)
        assert reward == pytest.approx(expected, abs=1e-4)
        assert info["cost"] == pytest.approx(other["cost"], abs=1e-4)


def test_the_whole_safe_dose_is_safe_where_the_state_is_shown():
    for env_id, options in (("oncogym/GlioblastomaRadiation-v0", {}), (SPHEROID, {})):
        env = DoseScale(gym.make(env_id, **options), 1.0)
        env.reset(seed=0)
        size = env.action_space.shape[0]
        given = 0
        for _ in range(4):
            _, _, over, _, info = env.step(np.ones(size))
            assert info["cost"] == 0.0, env_id
            given += 1
            if over:
                break
        assert given > 1
        over = DoseScale(gym.make(env_id, **options), 3.0)
        over.reset(seed=0)
        ended, cost = False, 0.0
        while not ended and cost == 0.0:
            _, _, ended, _, info = over.step(np.ones(size))
            cost += info["cost"]
        assert cost > 0.0, env_id


def test_components_that_are_no_dose_stay():
    env = DoseScale(gym.make(SPHEROID), 0.5)
    env.reset(seed=0)
    inner = env._transform.act(env._memory, np.array([[0.8, 0.3]]))
    safe = env.unwrapped.task.safe_actions(np.ones((1, 2)))[0, 0]
    assert inner[0].tolist() == pytest.approx([0.8 * 0.5 * safe, 0.3], rel=1e-6)


def test_what_a_scale_of_doses_refuses():
    for make, kind, shield, history in (
        (gym.make, DoseScale, DoseShield, History),
        (gym.make_vec, VectorDoseScale, VectorDoseShield, VectorHistory),
    ):
        with pytest.raises(NotImplementedError, match="does not show which dose is safe"):
            kind(make(CHEMO))
        with pytest.raises(NotImplementedError, match="observation='density' does not show"):
            kind(make("oncogym/GlioblastomaRadiationPublished-v0"))
        for most in (0.0, -1.0, np.nan, 1001.0, "two"):
            with pytest.raises(ValueError, match="most is"):
                kind(make(GLIOMA), most)
        with pytest.raises(ValueError, match="put that wrapper outside"):
            kind(history(make(GLIOMA)))
        history(kind(shield(make(GLIOMA))))


@pytest.mark.parametrize("vector", [False, True])
def test_copies_and_specifications_of_scaled_doses(vector):
    make, kind = (gym.make_vec, VectorDoseScale) if vector else (gym.make, DoseScale)
    outer = VectorHistory if vector else History
    env = outer(kind(make(GLIOMA), np.float32(1.5)), 2)
    action = np.full((1, 1) if vector else (1,), 0.4)

    def course(env):
        return repr([env.reset(seed=3), *(env.step(action) for _ in range(4))])

    expected = course(env)
    for copied in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
        one, two = env.step(action), copied.step(action)
        assert repr(one) == repr(two)
        assert course(copied) == expected
        env.reset(seed=3)
        env = copied
    text = env.spec.to_json()
    again = make(EnvSpec.from_json(text))
    assert json.loads(again.spec.to_json()) == json.loads(text)
    assert course(again) == expected
