"""The contract of every registered environment, whatever the treatment."""

from __future__ import annotations

import json
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from oncogym.envs import find_variant
from oncogym.envs.vector_env import TherapyVectorEnv

MODES = ("SameStep", "NextStep", "Disabled")
# Spheroids take a second each by the default law; it is the same code with another step.
LIGHT = {"emt6ro_fractionation": {"fidelity": "screening"}}
# Lanes and decisions where one lane keeps a core busy.
FEW = 100
# Stable-Baselines3 recommends [-1, 1]; our actions are fractions of a physical maximum, and its
# adapter rescales. No other warning is accepted.
SB3_RECOMMENDATION = (
    "We recommend you to use a symmetric and normalized Box action space (range=[-1, 1]) "
    "cf. https://stable-baselines3.readthedocs.io/en/master/guide/rl_tips.html"
)


def random_actions(rng, env_id, lanes, size):
    """Actions of all magnitudes, some outside the box: courses of every length and outcome."""
    scale = 10.0 ** rng.uniform(-2.5, 0.3, size=(lanes, 1))
    return (rng.random((lanes, size)) * scale - 0.02).astype(np.float32)


def light(env_id):
    """Options under which a course is cheap, for what does not depend on how it is computed."""
    return LIGHT.get(find_variant(env_id)[0].name, {})


def is_slow(env_id):
    return find_variant(env_id)[0].task.max_lanes < FEW


def assert_same(first, second, path=""):
    assert set(first) == set(second), path
    for key in first:
        a, b = first[key], second[key]
        if isinstance(a, dict):
            assert_same(a, b, f"{path}/{key}")
        elif isinstance(a, np.ndarray) and a.dtype == object:
            for x, y in zip(a, b, strict=True):
                assert (x is None) == (y is None)
                assert x is None or np.array_equal(x, y)
        else:
            assert np.asarray(a).dtype == np.asarray(b).dtype, f"{path}/{key}"
            assert np.array_equal(a, b), f"{path}/{key}"


def test_gymnasium_check_env_without_a_warning(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(env_id).unwrapped)


def test_sb3_check_env_without_an_unknown_warning(env_id):
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sb3.check_env(gym.make(env_id).unwrapped)
    assert {str(w.message) for w in caught} <= {SB3_RECOMMENDATION}
    rescaled = gym.wrappers.RescaleAction(gym.make(env_id), np.float32(-1.0), np.float32(1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3.check_env(rescaled)


@pytest.mark.parametrize("mode", MODES)
def test_vector_lane_equals_scalar_environment_bit_for_bit(env_id, mode):
    lanes = 5
    options = {} if mode == "SameStep" else light(env_id)
    vector = gym.make_vec(env_id, num_envs=lanes, autoreset_mode=mode, **options)
    scalar = gym.vector.SyncVectorEnv(
        [lambda: gym.make(env_id, disable_env_checker=True, **options)] * lanes,
        autoreset_mode=mode,
    )
    a, info_a = vector.reset(seed=11)
    b, info_b = scalar.reset(seed=11)
    assert np.array_equal(a, b)
    assert_same(info_a, info_b)
    rng = np.random.default_rng(3)
    size = vector.single_action_space.shape[0]
    ends = np.zeros(lanes, np.intp)
    for _ in range(150):
        actions = random_actions(rng, env_id, lanes, size)
        one, two = vector.step(actions), scalar.step(actions)
        for x, y in zip(one[:4], two[:4], strict=True):
            assert x.dtype == y.dtype
            assert np.array_equal(x, y)
        assert_same(one[4], two[4])
        done = one[2] | one[3]
        ends += done
        if mode == "Disabled" and done.any():
            mask = {"reset_mask": done}
            a, info_a = vector.reset(options=dict(mask))
            b, info_b = scalar.reset(options=dict(mask))
            assert np.array_equal(a, b)
            assert_same(info_a, info_b)
        if is_slow(env_id) and ends.min() >= 2:
            break
    assert ends.sum() > 0, "no episode ended: the test compared nothing about endings"


def test_same_bytes_with_1_7_and_many_lanes(env_id):
    many, steps = (16, 25) if is_slow(env_id) else (1024, 40)
    assert many > find_variant(env_id)[0].task.parallel_lanes
    rng = np.random.default_rng(5)
    size = gym.make(env_id).action_space.shape[0]
    actions = np.stack([random_actions(rng, env_id, 7, size) for _ in range(steps)])
    runs = {}
    for lanes in (1, 7, many):
        env = gym.make_vec(env_id, num_envs=lanes, **light(env_id))
        observation, _ = env.reset(seed=100)
        seen = [observation[:1].tobytes() + observation[min(6, lanes - 1)].tobytes()]
        for step in range(steps):
            batch = np.resize(actions[step], (lanes, size))
            observation, reward, terminated, truncated, info = env.step(batch)
            first = (observation[:1], reward[:1], terminated[:1], truncated[:1], info["cost"][:1])
            seen.append(b"".join(np.ascontiguousarray(x).tobytes() for x in first))
        runs[lanes] = seen[1:]
    assert runs[1] == runs[7] == runs[many]


def test_seeds_decide_everything(env_id):
    def course(seed):
        env = gym.make(env_id)
        rng = np.random.default_rng(0)
        seen = [env.reset(seed=seed)[0]]
        for _ in range(5):
            seen.append(env.step(random_actions(rng, env_id, 1, env.action_space.shape[0])[0])[0])
            seen.append(env.reset()[0])
        return np.concatenate(seen).tobytes()

    assert course(1) == course(1)
    _, variant = find_variant(env_id)
    if variant.options.get("cohort", "nominal") != "nominal":
        first = gym.make(env_id)
        first.reset(seed=1)
        one = first.unwrapped.patient
        first.reset(seed=2)
        assert first.unwrapped.patient != one
        first.reset()
        assert first.unwrapped.patient != one


def test_info_has_the_same_keys_and_types_everywhere(env_id):
    env = gym.make(env_id).unwrapped
    task = env.task
    _, reset_info = env.reset(seed=0)

    def shape(info):
        return {k: shape(v) if isinstance(v, dict) else type(v) for k, v in info.items()}

    expected = shape(reset_info)
    assert list(reset_info["reward_terms"]) == list(task.reward_terms)
    assert list(reset_info["outcome"]) == [metric.name for metric in task.metrics]
    rng = np.random.default_rng(0)
    done = False
    while not done:
        action = random_actions(rng, env_id, 1, env.action_space.shape[0])[0] * 0.1
        observation, reward, terminated, truncated, info = env.step(action)
        assert shape(info) == expected
        assert observation in env.observation_space
        assert info["cost"] == sum(info[f"cost_{name}"] for name in task.costs)
        assert info["cost"] >= 0.0
        weighted = 0.0
        for name, weight in task.reward_weights.items():
            weighted += weight * info["reward_terms"][name] if weight else 0.0
        assert reward == pytest.approx(weighted, rel=1e-12, abs=1e-15)
        done = terminated or truncated
    with pytest.raises(gym.error.ResetNeeded):
        env.step(env.action_space.sample())


def test_results_share_no_memory_with_the_next_ones(env_id):
    lanes, steps = (8, 25) if is_slow(env_id) else (64, 30)
    env = gym.make_vec(env_id, num_envs=lanes, **light(env_id))
    rng = np.random.default_rng(0)
    size = env.single_action_space.shape[0]
    kept, copies = [], []
    kept.append(env.reset(seed=0)[0])
    copies.append(kept[-1].copy())
    for _ in range(steps):
        result = env.step(random_actions(rng, env_id, lanes, size))
        flat = [*result[:4], result[4]["cost"], *result[4]["outcome"].values()]
        kept += flat
        copies += [x.copy() for x in flat]
    for now, then in zip(kept, copies, strict=True):
        assert np.array_equal(now, then)


def test_spec_round_trips_through_json(env_id):
    env = gym.make(env_id, render_mode="ansi")
    spec = EnvSpec.from_json(env.spec.to_json())
    again = gym.make(spec)
    assert json.loads(again.spec.to_json()) == json.loads(env.spec.to_json())
    assert np.array_equal(env.reset(seed=4)[0], again.reset(seed=4)[0])


def test_pickled_environment_goes_on_where_it_was(env_id):
    env = gym.make(env_id)
    env.reset(seed=9)
    rng = np.random.default_rng(1)
    action = random_actions(rng, env_id, 1, env.action_space.shape[0])[0] * 0.1
    env.step(action)
    twin = pickle.loads(pickle.dumps(env))
    one, two = env.step(action), twin.step(action)
    assert np.array_equal(one[0], two[0])
    assert one[1:4] == two[1:4]
    lanes = gym.make_vec(env_id, num_envs=3)
    lanes.reset(seed=1)
    copy = pickle.loads(pickle.dumps(lanes))
    batch = np.full((3, *lanes.single_action_space.shape), 0.05)
    assert np.array_equal(lanes.step(batch)[0], copy.step(batch)[0])


@pytest.mark.slow
def test_async_vector_env_with_spawn():
    env_id = "oncogym/ChemoDosingCohort-v0"
    make = [lambda: gym.make("oncogym:oncogym/ChemoDosingCohort-v0")] * 2
    parallel = gym.vector.AsyncVectorEnv(make, context="spawn")
    serial = gym.vector.SyncVectorEnv(make)
    try:
        assert np.array_equal(parallel.reset(seed=3)[0], serial.reset(seed=3)[0])
        actions = np.full((2, 1), 0.05, np.float32)
        for _ in range(3):
            assert np.array_equal(parallel.step(actions)[0], serial.step(actions)[0])
    finally:
        parallel.close()
    assert env_id in gym.registry


def test_lanes_truncate_themselves(env_id):
    env = gym.make_vec(env_id, num_envs=3, max_episode_steps=2)
    scalar = gym.make(env_id, max_episode_steps=2)
    env.reset(seed=0)
    scalar.reset(seed=0)
    action = np.full(env.single_action_space.shape, 0.01, np.float32)
    for _ in range(2):
        _, _, terminated, truncated, info = env.step(np.stack([action] * 3))
        _, _, ended, cut, _ = scalar.step(action)
    assert truncated.all() == cut
    assert terminated.all() == ended
    assert "final_info" in info


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_action_names_the_lane(env_id, bad):
    env = gym.make_vec(env_id, num_envs=4)
    env.reset(seed=0)
    actions = np.zeros((4, *env.single_action_space.shape))
    actions[2, 0] = bad
    with pytest.raises(ValueError, match="lane 2"):
        env.step(actions)
    scalar = gym.make(env_id)
    scalar.reset(seed=0)
    with pytest.raises(ValueError, match="lane 0"):
        scalar.unwrapped.step(actions[2])


def test_wrong_shapes_and_names_are_refused(env_id):
    env = gym.make_vec(env_id, num_envs=4)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros((4, *env.single_action_space.shape)))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="shape"):
        env.step(np.zeros((3, *env.single_action_space.shape)))
    scalar = gym.make(env_id).unwrapped
    scalar.reset(seed=0)
    with pytest.raises(ValueError, match="shape"):
        scalar.step(np.zeros(17))
    with pytest.raises(ValueError, match="not numbers"):
        env.step([["a"]] * 4)
    with pytest.raises(ValueError, match="did you mean 'nominal'"):
        gym.make(env_id, cohort="nominl")
    with pytest.raises(ValueError, match="did you mean 'SameStep'"):
        gym.make_vec(env_id, num_envs=1, autoreset_mode="samestep")
    with pytest.raises(ValueError, match="did you mean 'patient'"):
        env.reset(options={"patients": {}})
    with pytest.raises(ValueError, match="reward term"):
        gym.make(env_id, reward_weights={"no such term": 1.0})
    with pytest.raises(ValueError, match="num_lanes"):
        gym.make_vec(env_id, num_envs=0)
    with pytest.raises(ValueError, match="one a lane"):
        env.reset(seed=[1, 2])
    treatment, _ = find_variant(env_id)
    field = treatment.patient.FIELDS[0]
    with pytest.raises(ValueError, match=f"did you mean '{field}'"):
        env.reset(options={"patient": {field + "x": 1.0}})


def test_actions_outside_the_box_are_clipped_and_counted(env_id):
    env = gym.make(env_id).unwrapped
    env.reset(seed=0)
    low = env.step(np.full(env.action_space.shape, -5.0))
    twin = gym.make(env_id).unwrapped
    twin.reset(seed=0)
    zero = twin.step(np.zeros(env.action_space.shape))
    assert np.array_equal(low[0], zero[0])
    assert low[1] == zero[1]
    assert (low[4]["clipped"], zero[4]["clipped"]) == (1, 0)


def test_patient_option_and_cohorts(env_id):
    treatment, _ = find_variant(env_id)
    env = gym.make(env_id).unwrapped
    nominal = treatment.patient()
    rows = treatment.cohorts["held_out"].patients(3)
    record = treatment.patient.from_array(rows[1])
    for patient in (record, dict(zip(treatment.patient.FIELDS, rows[1], strict=True)), rows[1]):
        env.reset(seed=0, options={"patient": patient})
        assert env.patient == record
    fixed = gym.make(env_id, patient=dict(zip(nominal.FIELDS, rows[2].tolist(), strict=True)))
    fixed.reset(seed=0)
    assert fixed.unwrapped.patient == treatment.patient.from_array(rows[2])
    lanes = gym.make_vec(env_id, num_envs=3)
    lanes.reset(seed=0, options={"patient": [treatment.patient.from_array(r) for r in rows]})
    assert np.array_equal(lanes.unwrapped.patients, rows)


def test_cohorts_are_seeded_and_disjoint(env_id):
    treatment, _ = find_variant(env_id)
    lists = {
        name: {row.tobytes() for row in treatment.cohorts[name].patients(200)}
        for name in ("population", "validation", "held_out")
    }
    assert all(len(rows) == 200 for rows in lists.values())
    assert not lists["population"] & lists["validation"]
    assert not lists["population"] & lists["held_out"]
    assert not lists["validation"] & lists["held_out"]
    held_out = treatment.cohorts["held_out"]
    assert np.array_equal(held_out.patients(10), held_out.patients(20)[:10])
    drawn = gym.make_vec(env_id, num_envs=50, cohort="held_out")
    drawn.reset(seed=1)
    everyone = {row.tobytes() for row in held_out.patients(held_out.size)}
    assert {row.tobytes() for row in drawn.unwrapped.patients} <= everyone
    with pytest.raises(ValueError, match=f"at most {held_out.size}"):
        held_out.patients(held_out.size + 1)


def test_rendering(env_id):
    env = gym.make(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(np.full(env.action_space.shape, 0.3, np.float32))
    after = env.render()
    assert before.dtype == np.uint8
    assert before.ndim == 3
    assert before.shape[2] == 3
    assert before.shape == after.shape
    assert not np.array_equal(before, after)
    text = gym.make_vec(env_id, num_envs=2, render_mode="ansi")
    text.reset(seed=0)
    frames = text.render()
    assert len(frames) == 2
    assert all(isinstance(frame, str) and frame for frame in frames)


def test_physical_actions_have_names_and_units(env_id):
    env = gym.make(env_id).unwrapped
    zero = env.to_physical(np.zeros(env.action_space.shape))
    one = env.to_physical(np.ones(env.action_space.shape))
    assert list(zero) == list(one) == [name for name, _ in env.task.action_parts]
    assert all(float(zero[name]) <= float(one[name]) for name in zero)


def test_page_has_the_chapters_in_order(env_id):
    treatment, _ = find_variant(env_id)
    chapters = (
        "Description",
        "Action Space",
        "Observation Space",
        "Rewards",
        "Starting State",
        "Episode End",
        "Arguments",
        "Vectorized environment",
        "Version History",
    )
    places = [treatment.page.index(f"## {chapter}\n") for chapter in chapters]
    assert places == sorted(places)


def test_optimiser_space_and_protocols_fit(env_id):
    treatment, variant = find_variant(env_id)
    env = TherapyVectorEnv(treatment, 2, **variant.options)
    space = env.task.plan_space()
    plans = np.stack([space.lower, space.upper])
    actions = space.decode(plans)
    assert actions.shape == (2, env.task.num_decisions, *env.task.action_space.shape)
    assert actions.min() >= 0.0
    assert actions.max() <= 1.0
    assert variant.baseline in treatment.protocols


def test_what_is_written_into_the_metadata_of_one_environment_stays_there():
    one, other = (gym.make("oncogym/ChemoDosing-v0").unwrapped for _ in range(2))
    one.metadata["autoreset_mode"] = "SameStep"
    assert set(other.metadata) == set(type(one).metadata) == {"render_modes", "render_fps"}
