"""Wrappers: scalar and vector twins do the same, in every autoreset mode."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from types import MappingProxyType

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from oncogym.wrappers import (
    DoseShield,
    History,
    Multiplier,
    RewardTerms,
    RewardWeights,
    SafetyPenalty,
    VectorDoseShield,
    VectorHistory,
    VectorRewardTerms,
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


def assert_same(one, two, path=""):
    """The same infos: keys, masks, types and values."""
    assert set(one) == set(two), path
    for key, value in one.items():
        if isinstance(value, dict):
            assert_same(value, two[key], f"{path}/{key}")
        elif value.dtype == object:
            for a, b in zip(value, two[key], strict=True):
                assert (a is None) == (b is None)
                assert a is None or np.array_equal(a, b)
        else:
            assert value.dtype == two[key].dtype, f"{path}/{key}"
            assert np.array_equal(value, two[key]), f"{path}/{key}"


def run_twins(vector, scalar, mode, steps=130, scale=0.3):
    rng = np.random.default_rng(0)
    one, two = vector.reset(seed=0), scalar.reset(seed=0)
    assert np.array_equal(one[0], two[0])
    assert_same(one[1], two[1])
    rewards = []
    ends = 0
    for _ in range(steps):
        actions = (rng.random((vector.num_envs, 1)) * scale).astype(np.float32)
        one, two = vector.step(actions), scalar.step(actions)
        for a, b in zip(one[:4], two[:4], strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)
        assert_same(one[4], two[4])
        rewards.append(one[1])
        done = one[2] | one[3]
        ends += done.sum()
        if mode == "Disabled" and done.any():
            one = vector.reset(options={"reset_mask": done})
            two = scalar.reset(options={"reset_mask": done})
            assert np.array_equal(one[0], two[0])
            assert_same(one[1], two[1])
    assert ends > 0
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
            assert info["episode"]["r"] == round(float(returns[lane]), 6)
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


# Every wrapper with its twin, in every argument value: kinds of arguments and their extremes.
CASES = {
    "weights": (RewardWeights, VectorRewardWeights, {"weights": WEIGHTS}),
    "weights, one": (RewardWeights, VectorRewardWeights, {"weights": {"dose": -1}}),
    "weights, zero": (RewardWeights, VectorRewardWeights, {"weights": {"dose": 0.0}}),
    "weights, numpy": (
        RewardWeights,
        VectorRewardWeights,
        {"weights": MappingProxyType({"dose": np.float32(0.5), "log_kill": np.int64(2)})},
    ),
    "penalty": (SafetyPenalty, VectorSafetyPenalty, {}),
    "penalty, zero": (SafetyPenalty, VectorSafetyPenalty, {"multiplier": 0}),
    "penalty, numpy": (SafetyPenalty, VectorSafetyPenalty, {"multiplier": np.float32(3.0)}),
    "penalty, quadratic": (
        SafetyPenalty,
        VectorSafetyPenalty,
        {"multiplier": 2, "shape": "quadratic"},
    ),
    "penalty, root": (SafetyPenalty, VectorSafetyPenalty, {"shape": "cube_root"}),
    "shield": (DoseShield, VectorDoseShield, {}),
    "history": (History, VectorHistory, {}),
    "history, one": (History, VectorHistory, {"count": 1}),
    "history, numpy": (History, VectorHistory, {"count": np.int64(3)}),
    "terms": (RewardTerms, VectorRewardTerms, {}),
    "terms, tuple": (RewardTerms, VectorRewardTerms, {"terms": ("dose", "log_kill")}),
    "terms, numpy": (RewardTerms, VectorRewardTerms, {"terms": np.array(["dose"])}),
}
LEARNT = {"multiplier": 0.5, "cost_limit": 0.1, "rate": 0.2}


def course(env, steps=6, dose=0.3):
    """All that an environment gives in a few steps, as text with every digit."""
    vector = isinstance(env, gym.vector.VectorEnv)
    action = np.full((env.num_envs, 1) if vector else (1,), dose)
    seen = [env.reset(seed=3)] + [env.step(action) for _ in range(steps)]
    return repr([[*(np.asarray(x).tolist() for x in s[:-1]), s[-1]] for s in seen])


def build(kind, arguments, vector=False, **options):
    make = gym.make_vec(ENV, num_envs=3, **options) if vector else gym.make(ENV, **options)
    return kind(make, **arguments)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
@pytest.mark.parametrize("case", [name for name in CASES if "terms" not in name])
def test_twins_agree_on_everything(case, mode):
    kind, twin, arguments = CASES[case]
    vector, scalar = twins(
        lambda env: kind(env, **arguments), lambda env: twin(env, **arguments), mode, **TOXIC
    )
    run_twins(vector, scalar, mode, steps=66)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_learnt_multipliers_agree_in_one_lane(mode):
    vector, scalar = twins(
        lambda env: SafetyPenalty(env, **LEARNT),
        lambda env: VectorSafetyPenalty(env, **LEARNT),
        mode,
        lanes=1,
        **TOXIC,
    )
    run_twins(vector, scalar, mode, steps=190)
    assert vector.multiplier.value == scalar.envs[0].multiplier.value > 0.5


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_a_shared_multiplier_moves_after_the_step_that_ends_episodes(mode):
    limit = {"max_episode_steps": 3, "patient": {}}
    env = VectorSafetyPenalty(
        gym.make_vec(ENV, num_envs=2, autoreset_mode=mode, **TOXIC, **limit), **LEARNT
    )
    env.reset(seed=0)
    env.step(np.full((2, 1), 0.9))
    env.reset(options={"reset_mask": np.array([False, True])})  # lane 1 is behind by a step
    for _ in range(2):
        _, _, _, truncated, info = env.step(np.full((2, 1), 0.9))
    assert truncated.tolist() == [True, False]
    assert env.multiplier.value == pytest.approx(0.5 + 0.2 * (cost_of(3) - 0.1), rel=1e-12)
    after = env.multiplier.value
    assert after > 0.5
    if mode == "SameStep":
        assert info["final_info"]["safety_multiplier"].tolist() == [0.5, 0.0]
        assert info["final_info"]["_safety_multiplier"].tolist() == [True, False]
        assert info["safety_multiplier"].tolist() == [after, 0.5]
        assert info["safety_penalty"][0] == 0.0 < info["safety_penalty"][1]
        cost = np.array([info["final_info"]["cost"][0], info["cost"][1]])
        assert info["final_info"]["safety_penalty"][0] == 0.5 * cost[0]
    else:
        assert info["safety_multiplier"].tolist() == [0.5, 0.5]
        assert np.array_equal(info["safety_penalty"], 0.5 * info["cost"])


def cost_of(steps):
    """Cost of an episode with these steps of dose 0.9 in the nominal patient."""
    env = gym.make(ENV, patient={}, **TOXIC)
    env.reset(seed=0)
    return sum(env.step(np.array([0.9]))[4]["cost"] for _ in range(steps))


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_copies_and_specifications(case, vector):
    kind, twin, arguments = CASES[case]
    env = build(twin if vector else kind, arguments, vector, **TOXIC)
    expected = course(env)
    for copied in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
        action = np.full((3, 1) if vector else (1,), 0.2)
        one, two = env.step(action), copied.step(action)
        assert np.array_equal(one[1], two[1])
        assert repr(one[4]) == repr(two[4])
        assert course(copied) == expected
        env.reset(seed=3)
        env = copied
    text = env.spec.to_json()
    again = (gym.make_vec if vector else gym.make)(EnvSpec.from_json(text))
    assert type(again) is type(env)
    assert json.loads(again.spec.to_json()) == json.loads(text)
    assert course(again) == expected


def test_a_learnt_multiplier_is_copied_with_its_value_and_built_with_its_start():
    for vector, make in ((False, gym.make), (True, gym.make_vec)):
        env = build(VectorSafetyPenalty if vector else SafetyPenalty, LEARNT, vector, **TOXIC)
        course(env, 60)
        assert env.multiplier.value > 0.5
        twin = copy.deepcopy(env)
        assert twin.multiplier == env.multiplier
        assert twin.multiplier is not env.multiplier
        assert make(env.spec).multiplier == Multiplier(0.5, 0.1, 0.2)


ORDERS = list(itertools.permutations(["weights", "penalty, root", "shield"]))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_wrappers_in_any_order(order, mode):
    def wrap(env, place):
        for name in order:
            env = CASES[name][place](env, **CASES[name][2])
        return env

    vector, scalar = twins(lambda env: wrap(env, 0), lambda env: wrap(env, 1), mode, **TOXIC)
    run_twins(vector, scalar, mode, steps=62)
    vector = wrap(gym.make_vec(ENV, num_envs=3), 1)
    again = gym.make_vec(EnvSpec.from_json(vector.spec.to_json()))
    assert str(again) == str(vector)
    assert json.loads(again.spec.to_json()) == json.loads(vector.spec.to_json())
    assert course(again) == course(vector)
    scalar = wrap(gym.make(ENV), 0)
    assert course(gym.make(EnvSpec.from_json(scalar.spec.to_json()))) == course(scalar)


def test_vectors_are_no_reward_to_subtract_from():
    """And a shield does not know units of actions that a wrapper inside has changed."""
    for vector, place in ((False, 0), (True, 1)):
        terms, penalty = CASES["terms"][place], CASES["penalty"][place]
        weights = CASES["weights"][place]
        env = build(terms, {}, vector)
        with pytest.raises(ValueError, match=r"needs a scalar reward.*RewardTerms outside"):
            penalty(env)
        with pytest.raises(ValueError, match="needs a scalar reward"):
            penalty(CASES["shield"][place](env))
        penalty(weights(env, WEIGHTS))
        terms(penalty(build(weights, {"weights": WEIGHTS}, vector)))
    low, high = np.float32(-1.0), np.float32(1.0)
    with pytest.raises(ValueError, match="put the wrapper that changes them outside"):
        DoseShield(gym.wrappers.RescaleAction(gym.make(ENV), low, high))
    with pytest.raises(ValueError, match="put the wrapper that changes them outside"):
        VectorDoseShield(gym.wrappers.vector.RescaleAction(gym.make_vec(ENV), low, high))
    DoseShield(gym.wrappers.ClipAction(gym.make(ENV)))
    gym.wrappers.RescaleAction(DoseShield(gym.make(ENV)), low, high)


BAD = [
    ("weights", {}, "at least one reward term"),
    ("weights", None, "at least one reward term"),
    ("weights", [("dose", 1.0)], "at least one reward term"),
    ("weights", {"dosee": 1.0}, "did you mean 'dose'"),
    ("weights", {3: 1.0}, "unknown reward term"),
    ("weights", {"dose": np.nan}, "is nan; it must be finite"),
    ("weights", {"dose": "1"}, "is '1'; it must be finite and a number"),
    ("weights", {"dose": None}, "it must be finite and a number"),
    ("weights", {"dose": True}, "it must be finite and a number"),
    ("weights", {"dose": 1j}, "it must be finite and a number"),
    ("weights", {"dose": np.ones(2)}, "it must be finite and a number"),
    ("multiplier", -1.0, "multiplier is -1.0; allowed: a finite number of at least 0"),
    ("multiplier", np.nan, "multiplier is nan"),
    ("multiplier", np.inf, "multiplier is inf"),
    ("multiplier", None, "multiplier is None"),
    ("multiplier", "2", "multiplier is '2'"),
    ("multiplier", True, "multiplier is True"),
    ("shape", "cubic", "unknown penalty shape 'cubic'"),
    ("shape", None, "unknown penalty shape"),
    ("shape", ["linear"], "unknown penalty shape"),
    ("cost_limit", -0.1, "cost_limit is -0.1"),
    ("cost_limit", np.nan, "cost_limit is nan"),
    ("cost_limit", "1", "cost_limit is '1'"),
    ("rate", 0.0, "rate is 0.0; allowed: a finite number above 0"),
    ("rate", -1.0, "rate is -1.0"),
    ("rate", None, "rate is None"),
    ("terms", [], "one name or more"),
    ("terms", ["dose", "dose"], "each once"),
    ("terms", "dose", "a list of names"),
    ("terms", {"dose": 1.0}, "a list of names"),
    ("terms", 3, "a list of names"),
    ("terms", ["dosee"], "did you mean 'dose'"),
    ("terms", [3], "unknown reward term"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_bad_arguments_are_refused_by_both_twins(name, value, message):
    case = {"weights": "weights", "terms": "terms"}.get(name, "penalty")
    said = []
    for vector in (False, True):
        with pytest.raises(ValueError, match=message) as caught:
            build(CASES[case][vector], {name: value}, vector)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_no_term_weighs_anything():
    none = dict.fromkeys(gym.make(ENV).unwrapped.task.reward_terms, 0.0)
    for vector in (False, True):
        with pytest.raises(ValueError, match="one name or more"):
            build(CASES["terms"][vector], {}, vector, reward_weights=none)


@pytest.mark.parametrize("case", ["weights", "penalty", "shield", "terms", "history"])
def test_other_environments_are_refused(case):
    kind, twin, arguments = CASES[case]
    for wrapper, make in ((kind, gym.make), (twin, gym.make_vec)):
        name = wrapper.__name__
        with pytest.raises(TypeError, match=f"^{name} needs a therapy environment.*CartPole"):
            wrapper(make("CartPole-v1"), **arguments)
        with pytest.raises(TypeError, match=f"^{name} wraps a .* environment; got NoneType"):
            wrapper(None, **arguments)
    with pytest.raises(TypeError, match=f"use {twin.__name__}$"):
        kind(gym.make_vec(ENV), **arguments)
    with pytest.raises(TypeError, match=f"use {kind.__name__}$"):
        twin(gym.make(ENV), **arguments)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_vector_wrappers_around_lanes_of_gymnasium(mode):
    """Around a SyncVectorEnv they do what they do around native lanes."""

    def sync():
        make = [lambda: gym.make(ENV, **TOXIC)] * 4
        return gym.vector.SyncVectorEnv(make, autoreset_mode=mode)

    for case in ("weights", "penalty, root", "history"):
        _, twin, arguments = CASES[case]
        native = twin(gym.make_vec(ENV, num_envs=4, autoreset_mode=mode, **TOXIC), **arguments)
        run_twins(native, twin(sync(), **arguments), mode, steps=62)
    with pytest.raises(TypeError, match="native lanes; SyncVectorEnv"):
        VectorDoseShield(sync())


def test_a_refused_reset_changes_nothing():
    env = VectorSafetyPenalty(gym.make_vec(ENV, num_envs=2, **TOXIC), **LEARNT)
    env.reset(seed=0)
    for _ in range(59):
        env.step(np.full((2, 1), 0.3))
    twin = copy.deepcopy(env)
    for options in ({"reset_mask": [True, False]}, {"reset_mask": np.ones(3, bool)}, {"x": 1}):
        with pytest.raises(ValueError, match=r"reset_mask|reset option"):
            env.reset(options=options)
    env.step(np.full((2, 1), 0.3))
    twin.step(np.full((2, 1), 0.3))
    assert env.multiplier.value == twin.multiplier.value > 0.5
