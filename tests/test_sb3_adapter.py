"""The SB3 adapter against DummyVecEnv of scalar environments: every info key, every method."""

from __future__ import annotations

import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import VectorWrapper

from oncogym.envs import find_variant
from oncogym.wrappers import (
    DoseShield,
    RewardWeights,
    SafetyPenalty,
    VectorDoseShield,
    VectorRewardTerms,
    VectorRewardWeights,
    VectorSafetyPenalty,
)

pytest.importorskip("stable_baselines3")
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from oncogym.wrappers.lane_infos import split_info
from oncogym.wrappers.sb3 import SB3VecEnv

CHEMO = "oncogym/ChemoDosingCohort-v0"
# Sums over the episode, which a scalar environment does not give.
OURS = {"episode_terms", "episode_costs"}


def quick_options(env_id):
    return {"fidelity": "screening"} if "EMT6Ro" in env_id else {}


def pair(env_id=CHEMO, lanes=3, wrap=None, **options):
    """The adapter with full infos, and DummyVecEnv of monitored scalar environments."""
    scalar, vector = wrap or (lambda env: env, lambda env: env)
    options = {**quick_options(env_id), **options}
    native = SB3VecEnv(
        vector(gym.make_vec(env_id, num_envs=lanes, **options)),
        full_infos=True,
    )
    plain = DummyVecEnv(
        [
            lambda: Monitor(scalar(gym.make(env_id, disable_env_checker=True, **options)))
            for _ in range(lanes)
        ]
    )
    return native, plain


def assert_equal(one, two, path=""):
    """The same values of the same types."""
    assert type(one) is type(two), path
    if isinstance(one, dict):
        assert set(one) == set(two), path
        for key in one:
            if not path.endswith("/episode") or key != "t":
                assert_equal(one[key], two[key], f"{path}/{key}")
            else:
                assert type(one[key]) is type(two[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two), path
        for place, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_equal(a, b, f"{path}[{place}]")
    elif isinstance(one, np.ndarray):
        assert one.dtype == two.dtype, path
        assert np.array_equal(one, two), path
    else:
        assert one == two, path


def assert_steps_alike(native, plain, steps, scale=1.0, seed=0):
    """Step both alike and compare everything; returns the number of episodes that ended."""
    rng = np.random.default_rng(seed)
    ended = 0
    for _ in range(steps):
        shape = (native.num_envs, *native.action_space.shape)
        actions = (scale * rng.random(shape)).astype(np.float32)
        one, two = native.step(actions), plain.step(actions)
        for a, b in zip(one[:3], two[:3], strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)
        for lane in range(native.num_envs):
            info = dict(one[3][lane])
            if one[2][lane]:
                ended += 1
                assert {info.pop(name) is not None for name in OURS} == {True}
            assert_equal(info, two[3][lane], str(lane))
        assert_equal(native.reset_infos, plain.reset_infos)
    return ended


def test_every_info_key_of_every_environment(env_id):
    # Where a new patient takes seconds, one lane and thus two patients.
    native, plain = pair(env_id, 1 if "IMPTBeamWeightingCohort" in env_id else 2)
    for env in (native, plain):
        env.seed(5)
    assert np.array_equal(native.reset(), plain.reset())
    assert_equal(native.reset_infos, plain.reset_infos)
    task = native.task
    first = native.step(np.zeros((native.num_envs, *native.action_space.shape), np.float32))[3][0]
    plain.step(np.zeros((native.num_envs, *native.action_space.shape), np.float32))
    assert set(first["reward_terms"]) == set(task.reward_terms)
    assert set(first["outcome"]) == {metric.name for metric in task.metrics}
    assert assert_steps_alike(native, plain, task.num_decisions + 3, scale=0.5) >= 1


@pytest.mark.parametrize("limit", [1, 7, 60])
def test_a_limit_of_steps(limit):
    """With 60 an episode is both over and cut off: no truncation for SB3."""
    native, plain = pair(max_episode_steps=limit, stop_on_failure=False)
    for env in (native, plain):
        env.seed(1)
        env.reset()
    assert assert_steps_alike(native, plain, 61, scale=0.1) >= 3
    *_, infos = native.step(np.zeros((3, 1), np.float32))
    plain.step(np.zeros((3, 1), np.float32))
    assert [info["TimeLimit.truncated"] for info in infos] == [limit == 1] * 3


def test_partial_resets_and_streams_go_on():
    native, plain = pair()
    for env in (native, plain):
        env.seed(2)
        env.reset()
    assert_steps_alike(native, plain, 5)
    one = native.env_method("reset", indices=[1])
    two = plain.env_method("reset", indices=[1])
    assert_equal(one, two)
    one = native.env_method("reset", seed=9, options={"patient": {"ec50": 0.9}}, indices=[0, 2])
    two = plain.env_method("reset", seed=9, options={"patient": {"ec50": 0.9}}, indices=[0, 2])
    assert_equal(one, two)
    assert one[0][0].flags.owndata
    assert native.get_attr("patient") == plain.get_attr("patient")
    assert_steps_alike(native, plain, 65, scale=0.2)
    assert_equal(native.env_method("reset", indices=2), plain.env_method("reset", indices=2))
    assert_equal(native.env_method("reset"), plain.env_method("reset"))
    assert_steps_alike(native, plain, 3)
    assert native.env_method("reset", indices=[]) == []


def test_a_lane_may_be_reset_before_all():
    native = SB3VecEnv(gym.make_vec(CHEMO, num_envs=2))
    (observation, info), scalar = native.env_method("reset", seed=4, indices=1)[0], gym.make(CHEMO)
    expected, expected_info = scalar.reset(seed=4)
    assert np.array_equal(observation, expected)
    assert_equal(info, expected_info)


def test_seed():
    native, plain = pair()
    assert native.seed(3) == plain.seed(3) == [3, 4, 5]
    assert np.array_equal(native.reset(), plain.reset())
    first = native.get_attr("np_random_seed")
    assert first == plain.get_attr("np_random_seed") == [3, 4, 5]
    assert np.array_equal(native.reset(), plain.reset())
    assert native.get_attr("np_random_seed") == first
    assert native.get_attr("np_random")[1].random() == plain.get_attr("np_random")[1].random()
    drawn = native.seed()
    assert drawn == [drawn[0], drawn[0] + 1, drawn[0] + 2]


NOMINAL = {"ec50": 1.2, "elimination_rate": 0.5}


@pytest.mark.parametrize(
    "options",
    [
        {"patient": NOMINAL},
        [{"patient": NOMINAL}, {"patient": {"ec50": 0.7}}, {"patient": {"emax": 0.6}}],
        [{}, {"patient": NOMINAL}, {}],
        [{"patient": NOMINAL}, {"patient": None}, {"patient": {"ec50": 0.7}}],
        [{}, {}, {}],
        None,
    ],
)
@pytest.mark.parametrize("before", [0, 5])
def test_options_of_each_lane(options, before):
    native, plain = pair()
    if before:
        for env in (native, plain):
            env.seed(0)
            env.reset()
        assert_steps_alike(native, plain, before)
    for env in (native, plain):
        if not before:
            env.seed(7)
        env.set_options(options)
    assert np.array_equal(native.reset(), plain.reset())
    assert native.get_attr("patient") == plain.get_attr("patient")
    assert_equal(native.reset_infos, plain.reset_infos)
    assert_steps_alike(native, plain, 62, scale=0.2)
    assert np.array_equal(native.reset(), plain.reset())  # options apply once
    assert native.get_attr("patient") == plain.get_attr("patient")


def test_patients_as_rows_and_records():
    treatment, _ = find_variant(CHEMO)
    rows = treatment.cohorts["held_out"].patients(2)
    native, plain = pair(lanes=2)
    for env in (native, plain):
        env.set_options([{"patient": rows[0]}, {"patient": treatment.patient.from_array(rows[1])}])
        env.reset()
    assert native.get_attr("patient") == plain.get_attr("patient")
    assert np.array_equal(native.get_attr("patients"), rows)


def test_bad_options_are_refused():
    native, _ = pair(lanes=2)
    native.reset()
    for options, message in (
        ([{}], "1 options for 2 lanes"),
        ({"reset_mask": np.ones(2, bool)}, "unknown reset option 'reset_mask'"),
        ([{}, {"patint": {}}], "did you mean 'patient'"),
        ({"patient": [NOMINAL] * 2}, "list of 1 of these"),
        ([{"patient": {"ec50": -1.0}}, {}], "ec50 is -1.0"),
    ):
        native.set_options(options)
        with pytest.raises(ValueError, match=message):
            native.reset()


def test_attributes_are_those_of_a_scalar_environment(env_id):
    options = {"render_mode": "ansi", **quick_options(env_id)}
    if env_id == "oncogym/IMPTBeamWeightingCohort-v0":
        options["patient"] = {}  # the nominal one, whose anatomy is there
    native = SB3VecEnv(gym.make_vec(env_id, num_envs=2, **options))
    plain = DummyVecEnv([lambda: gym.make(env_id, **options)] * 2)
    for env in (native, plain):
        env.seed(0)
        env.reset()
    for name in (
        "observation_space",
        "action_space",
        "render_mode",
        "metadata",
        "spec",
        "treatment",
        "patient",
        "np_random_seed",
    ):
        for indices in (None, 0, [1], [1, 0], -1):
            assert_equal(native.get_attr(name, indices), plain.get_attr(name, indices), name)
        assert native.has_attr(name)
    assert native.metadata == plain.metadata
    assert native.render_mode == plain.render_mode
    for one, two in zip(native.get_attr("unwrapped"), plain.get_attr("unwrapped"), strict=True):
        assert one.patient == two.patient
        assert one.render() == two.render()
        assert one.unwrapped is one
    assert [type(task) for task in native.get_attr("task")] == [
        type(task) for task in plain.get_attr("task")
    ]
    for name in ("num_envs", "single_action_space", "no_such", "_elapsed"):
        assert not native.has_attr(name)
        for env in (native, plain):
            with pytest.raises(AttributeError):
                env.get_attr(name)
            with pytest.raises(AttributeError):
                env.env_method(name, indices=[0])
    with pytest.raises(IndexError):
        native.get_attr("spec", [2])


def test_a_limit_of_steps_stands_in_the_spec():
    native, plain = pair(max_episode_steps=3)
    one = native.get_attr("spec")[0]
    assert one.max_episode_steps == plain.get_attr("spec")[0].max_episode_steps == 3
    assert gym.make(one).spec.max_episode_steps == 3


def test_wrappers_stand_in_the_spec():
    weights = {"dose": 2.0}
    native, plain = pair(
        wrap=(
            lambda env: SafetyPenalty(RewardWeights(env, weights), 3.0),
            lambda env: VectorSafetyPenalty(VectorRewardWeights(env, weights), 3.0),
        )
    )
    one, two = native.get_attr("spec")[0], plain.get_attr("spec")[0]
    assert one.additional_wrappers == two.additional_wrappers[:2]  # the third is the Monitor
    assert str(gym.make(one)) == str(SafetyPenalty(RewardWeights(gym.make(CHEMO), weights), 3.0))


def test_setting_attributes():
    native, plain = pair()
    for env in (native, plain):
        env.set_attr("stage", 3, indices=[1])
        assert env.get_attr("stage", 1) == [3]
        assert not env.has_attr("stage")
        with pytest.raises(AttributeError):
            env.get_attr("stage", [0])
        env.set_attr("stage", 4)
        assert env.get_attr("stage") == [4, 4, 4]
        space = gym.spaces.Box(0.0, 0.5, (1,), np.float32)
        env.set_attr("action_space", space, indices=0)
        assert env.get_attr("action_space")[0] is space
        assert env.get_attr("action_space")[1] == gym.spaces.Box(0.0, 1.0, (1,), np.float32)
        for name in ("spec", "render_mode", "unwrapped", "np_random_seed"):
            with pytest.raises(AttributeError):
                env.set_attr(name, None)
        env.set_attr("anything", 1, indices=[])
        env.reset()
    assert native.env.action_space.shape == (3, 1)  # the lanes' own space is as it was
    for name in ("patient", "task", "np_random"):
        with pytest.raises(AttributeError):
            native.set_attr(name, None)
    assert_steps_alike(*seeded(native, plain), 3)


def seeded(*envs):
    for env in envs:
        env.seed(0)
        env.reset()
    return envs


def test_shared_attributes_are_set_for_all_lanes_and_never_taken_apart():
    terms = {"log_kill": 1.0, "dose": 0.5}
    native, plain = pair(
        lanes=2,
        wrap=(lambda env: RewardWeights(env, terms), lambda env: VectorRewardWeights(env, terms)),
    )
    assert native.get_attr("weights") == plain.get_attr("weights") == [terms] * 2
    with pytest.raises(ValueError, match="lanes share 'weights'"):
        native.set_attr("weights", {"dose": 1.0}, indices=[0])
    native.set_attr("weights", {"dose": 1.0})
    assert native.env.weights == {"dose": 1.0}
    native.reset()
    reward = native.step(np.full((2, 1), 0.3, np.float32))[1]
    assert reward == pytest.approx([-3.0, -3.0])
    native.env.order = ("log_kill", "dose")  # as many as lanes, and yet not one a lane
    assert native.get_attr("order") == [("log_kill", "dose")] * 2


def test_methods_of_a_lane():
    native, plain = pair(lanes=2)
    for env in (native, plain):
        env.seed(0)
        env.reset()
    assert_steps_alike(native, plain, 12, scale=0.3)
    action = np.array([0.9])
    for name, arguments in (("to_physical", (action,)), ("safe_action", (action,))):
        for indices in (None, [1], 0):
            one = native.env_method(name, *arguments, indices=indices)
            assert_equal(one, plain.env_method(name, *arguments, indices=indices), name)
    for env in (native, plain):
        with pytest.raises(ValueError, match="shape"):
            env.env_method("safe_action", np.zeros(3))
        with pytest.raises(AttributeError):
            env.env_method("no_such_method", indices=[0])
        with pytest.raises(TypeError, match="not callable"):
            env.env_method("action_space")
        with pytest.raises(TypeError):
            env.env_method("reset", 3)
        with pytest.raises(ValueError, match="did you mean 'patient'"):
            env.env_method("reset", options={"patients": {}}, indices=[0])
    with pytest.raises(NotImplementedError, match="step together"):
        native.env_method("step", action, indices=[0])
    safe = native.env_method("safe_actions", np.full((2, 1), 0.9))
    assert np.array_equal(safe, native.env_method("safe_action", action))
    with pytest.raises(ValueError, match="all 2 lanes together"):
        native.env_method("safe_actions", np.full((2, 1), 0.9), indices=[0])


@pytest.mark.parametrize("mode", [None, "ansi", "rgb_array"])
def test_pictures(mode):
    native, plain = pair(lanes=2, render_mode=mode)
    for env in (native, plain):
        env.seed(0)
        env.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_equal(list(native.get_images()), list(plain.get_images()))
        one, two = (env.env_method("render", indices=[1]) for env in (native, plain))
        assert_equal(one, two)
        assert_equal(native.render(), plain.render())
    if mode != "rgb_array":
        with pytest.warns(UserWarning, match="rgb_array"):
            assert native.get_images() == [None, None]


def test_wrapped_in():
    shield = pair(lanes=2, wrap=(DoseShield, VectorDoseShield), max_episode_steps=9)
    free = pair(lanes=2)
    for native, plain in (shield, free):
        for kind in (Monitor, DoseShield, SafetyPenalty, gym.wrappers.TimeLimit, gym.Wrapper):
            for indices in (None, 0, [1]):
                assert native.env_is_wrapped(kind, indices) == plain.env_is_wrapped(kind, indices)
    assert shield[0].env_is_wrapped(VectorDoseShield) == [True, True]
    assert free[0].env_is_wrapped(VectorDoseShield) == [False, False]

    class Other(Monitor):
        pass

    assert free[0].env_is_wrapped(Other) == free[1].env_is_wrapped(Other) == [False, False]
    rescaled = SB3VecEnv(gym.make_vec(CHEMO, num_envs=1), rescale_actions=True)
    assert rescaled.env_is_wrapped(gym.wrappers.RescaleAction) == [True]


def test_rescaled_actions():
    native = SB3VecEnv(gym.make_vec(CHEMO, num_envs=2), rescale_actions=True, full_infos=True)
    low, high = np.float32(-1.0), np.float32(1.0)
    plain = DummyVecEnv(
        [lambda: Monitor(gym.wrappers.RescaleAction(gym.make(CHEMO), low, high))] * 2
    )
    assert native.action_space == plain.action_space
    assert native.get_attr("action_space") == plain.get_attr("action_space")
    for actions in (
        np.array([[-1.0], [1.0]], np.float32),
        np.array([[-1], [0]]),
        np.array([[0.5], [-0.5]]),
        [np.array([0.0]), np.array([-1.0])],
        np.array([[-1.5], [3.0]], np.float32),
    ):
        for env in (native, plain):
            env.seed(0)
            env.reset()
        one, two = native.step(actions), plain.step(actions)
        assert np.array_equal(one[0], two[0])
        assert one[3][0]["clipped"] == two[3][0]["clipped"]
    with pytest.raises(ValueError, match="lane 1"):
        native.step(np.array([[0.0], [np.nan]], np.float32))


def test_results_are_the_callers_own():
    native, _ = pair(lanes=200)
    native.seed(0)
    kept, copies = [native.reset()], []
    copies.append(kept[0].copy())
    for _ in range(125):
        observation, reward, done, infos = native.step(np.full((200, 1), 0.05, np.float32))
        ends = [info["terminal_observation"] for info in infos if "terminal_observation" in info]
        assert all(end.flags.owndata and end.dtype == np.float32 for end in ends)
        for array in (observation, reward, done, *ends):
            kept.append(array)
            copies.append(array.copy())
        infos[0]["reward_terms"]["dose"] = -7.0
        assert infos[1]["reward_terms"]["dose"] != -7.0
    assert sum(len(array.shape) == 1 and array.shape == (7,) for array in kept) >= 200
    for now, then in zip(kept, copies, strict=True):
        assert np.array_equal(now, then)


@pytest.mark.parametrize(
    "wrap",
    [
        (SafetyPenalty, VectorSafetyPenalty),
        (DoseShield, VectorDoseShield),
        (
            lambda env: SafetyPenalty(RewardWeights(env, {"dose": 2.0}), 3.0, "cube_root"),
            lambda env: VectorSafetyPenalty(
                VectorRewardWeights(env, {"dose": 2.0}), 3.0, "cube_root"
            ),
        ),
    ],
)
def test_other_wrappers_below(wrap):
    native, plain = pair(wrap=wrap, toxicity_limit=1.0, stop_on_failure=False)
    for env in (native, plain):
        env.seed(0)
        env.reset()
    assert_equal(native.reset_infos, plain.reset_infos)
    assert assert_steps_alike(native, plain, 62, scale=0.3) == 3


def test_episode_statistics_of_gymnasium_below():
    """It notes its sums beside final_info, not in it."""
    native, plain = pair(
        wrap=(
            gym.wrappers.RecordEpisodeStatistics,
            gym.wrappers.vector.RecordEpisodeStatistics,
        ),
    )
    for env in (native, plain):
        env.seed(0)
        env.reset()
    assert assert_steps_alike(native, plain, 62, scale=0.1) == 3


class PlainKeys(VectorWrapper):
    """Notes things as one may who does not know Gymnasium's masks."""

    def reset(self, **kwargs):
        observation, info = self.env.reset(**kwargs)
        return observation, self.note(info)

    def step(self, actions):
        *rest, info = self.env.step(actions)
        return *rest, self.note(info)

    def note(self, info):
        lanes = self.num_envs
        info["number"] = 4
        info["nothing"] = None
        info["array"] = np.arange(lanes)
        info["rows"] = np.arange(2 * lanes).reshape(lanes, 2)
        info["tuple"] = tuple(range(lanes))
        info["_private"] = "x"
        info["final_dose"] = np.full(lanes, 0.5)
        info["nested"] = {"final_info": np.arange(lanes), "text": "t"}
        info["zero"] = np.array(3.0)
        return info


def test_infos_without_masks_below():
    native = SB3VecEnv(PlainKeys(gym.make_vec(CHEMO, num_envs=3)), full_infos=True)
    native.seed(0)
    native.reset()
    assert native.reset_infos[2]["array"] == 2
    for _ in range(61):
        *_, done, infos = native.step(np.full((3, 1), 0.05, np.float32))
        for lane, info in enumerate(infos):
            assert info["number"] == 4
            assert info["nothing"] is None
            assert type(info["array"]) is int
            assert info["array"] == info["tuple"] == lane
            assert info["rows"].tolist() == [2 * lane, 2 * lane + 1]
            assert info["_private"] == "x"
            assert info["final_dose"] == 0.5
            assert info["nested"] == {"final_info": lane, "text": "t"}
            assert info["zero"] == 3.0
            assert ("episode" in info) == done[lane]


def test_lanes_without_a_key():
    info = {
        "a": np.array([1, 2]),
        "_a": np.array([False, True]),
        "b": {"c": np.array([0.5, 1.5]), "_c": np.array([True, False])},
        "_b": np.array([True, False]),
        "o": np.array([None, {"x": 1}], object),
        "_o": np.array([False, True]),
    }
    one, two = split_info(info, 2)
    assert one == {"b": {"c": 0.5}}
    assert two == {"a": 2, "o": {"x": 1}}
    two["o"]["x"] = 2
    assert info["o"][1] == {"x": 1}


def test_without_full_infos_only_ends_are_told():
    native = SB3VecEnv(gym.make_vec(CHEMO, num_envs=3))
    full, plain = pair()
    for env in (native, full, plain):
        env.seed(0)
        env.reset()
    assert native.reset_infos == [{}] * 3
    for _ in range(61):
        actions = np.full((3, 1), 0.05, np.float32)
        one, two, three = (env.step(actions) for env in (native, full, plain))
        for lane in range(3):
            assert bool(one[3][lane]) == one[2][lane]
            for key, value in one[3][lane].items():
                if key == "episode":
                    assert value["r"] == three[3][lane][key]["r"]
                    assert value["l"] == three[3][lane][key]["l"]
                else:
                    assert_equal(value, two[3][lane][key])
    assert native.reset_infos == [{}] * 3


def test_sb3_wrappers_around(tmp_path):
    for around in (
        lambda env: VecNormalize(env),
        lambda env: VecFrameStack(env, 3),
        lambda env: VecMonitor(env, str(tmp_path / type(env).__name__)),
        lambda env: VecNormalize(VecFrameStack(env, 2)),
    ):
        native, plain = pair()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "already wrapped with a Monitor", as it is
            native, plain = around(native), around(plain)
        for env in (native, plain):
            env.seed(0)
        assert np.array_equal(native.reset(), plain.reset())
        assert assert_steps_alike(native, plain, 62, scale=0.1) == 3
        assert native.getattr_depth_check("task", False) is None
        assert native.get_attr("patient") == plain.get_attr("patient")
        assert_equal(native.env_method("reset", indices=1), plain.env_method("reset", indices=1))
        native.close()
        plain.close()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_go_on_where_they_were(copied):
    native, plain = pair(wrap=(SafetyPenalty, VectorSafetyPenalty))
    for env in (native, plain):
        env.seed(0)
        env.reset()
    native.set_attr("stage", 2, indices=[1])
    assert_steps_alike(native, plain, 40, scale=0.05)
    twin = copied(native)
    native.reset()
    assert twin.get_attr("stage", [1]) == [2]
    assert twin.get_attr("unwrapped")[0].patient == plain.get_attr("patient")[0]
    assert assert_steps_alike(twin, plain, 40, scale=0.05) == 3


def test_asynchronous_steps_and_closing():
    native, plain = pair()
    for env in (native, plain):
        env.seed(0)
        env.reset()
        env.step_async(np.full((3, 1), 0.9, np.float32))
        env.step_async(np.full((3, 1), 0.1, np.float32))
    one, two = native.step_wait(), plain.step_wait()
    assert np.array_equal(one[0], two[0])
    assert_equal(one[3], two[3])
    for env in (native, plain):
        env.close()
        env.close()


def test_what_cannot_be_adapted():
    sync = gym.make_vec(CHEMO, num_envs=2, vectorization_mode="sync")
    with pytest.raises(TypeError, match="native lanes; got SyncVectorEnv"):
        SB3VecEnv(sync)
    with pytest.raises(TypeError, match="therapy environment"):
        SB3VecEnv(gym.make_vec("CartPole-v1", num_envs=2))
    with pytest.raises(TypeError, match="vector environment; got OrderEnforcing"):
        SB3VecEnv(gym.make(CHEMO))
    with pytest.raises(ValueError, match="needs a scalar reward"):
        SB3VecEnv(VectorRewardTerms(gym.make_vec(CHEMO, num_envs=2)))
