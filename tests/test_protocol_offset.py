"""ProtocolOffset: an action moves what a clinical protocol decides."""

from __future__ import annotations

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from oncogym.agents.clinical import RuleAgent
from oncogym.agents.learned import PolicyAgent
from oncogym.agents.rollout import rollout
from oncogym.core.errors import UnknownNameError
from oncogym.envs import treatments
from oncogym.envs.problem import Problem
from oncogym.envs.protocols import HiddenError, Rule, ScheduleError
from oncogym.training.algorithms import find_algorithm
from oncogym.training.settings import make_settings
from oncogym.wrappers import History, ProtocolOffset, VectorHistory, VectorProtocolOffset
from oncogym.wrappers.named import NamedWrapper, chain_of

CHEMO = "oncogym/ChemoDosingCohort-v0"
MODES = ["SameStep", "NextStep", "Disabled"]
# Rules that decide by what the cohorts show, as (environment id, rule).
RULES = [
    (next(v.id for v in treatment.variants if v.id.endswith("Cohort-v0")), name)
    for treatment in treatments().values()
    for name, protocol in treatment.protocols.items()
    if isinstance(protocol, Rule) and not protocol.options
    and any(v.id.endswith("Cohort-v0") for v in treatment.variants)
]  # fmt: skip


def test_every_treatment_has_such_a_rule():
    assert {treatment for treatment, _ in RULES} >= {
        "oncogym/ChemoDosingCohort-v0",
        "oncogym/GlioblastomaRadiationCohort-v0",
        "oncogym/EMT6RoFractionationCohort-v0",
        "oncogym/IMPTBeamWeightingCohort-v0",
        "oncogym/AdaptiveTherapyCohort-v0",
    }


@pytest.mark.parametrize(("env_id", "rule"), RULES)
def test_the_middle_action_is_the_rule(env_id, rule):
    env, plain = ProtocolOffset(gym.make(env_id), rule, 0.3), gym.make(env_id)
    protocol = plain.unwrapped.treatment.protocol(rule)
    task, size = plain.unwrapped.task, plain.action_space.shape[0]
    for seed in (1, 2):  # nothing of the first course is left in the second
        shown, _ = env.reset(seed=seed)
        seen, _ = plain.reset(seed=seed)
        memory = None
        for _ in range(5):
            actions, memory = protocol.actions(task, seen[None], memory)
            width = len(seen)
            assert shown.dtype == seen.dtype
            assert env.observation_space.contains(shown)
            assert np.array_equal(shown[:width], seen)
            decided = np.clip(actions[0], 0.0, 1.0).astype(seen.dtype)
            assert np.array_equal(shown[width : width + size], decided)
            remembered = np.nan_to_num(memory[0]).astype(seen.dtype)
            assert np.array_equal(shown[width + size :], remembered)
            shown, reward, over, *_ = env.step(np.full(size, 0.5, np.float32))
            seen, expected, *_ = plain.step(np.clip(actions[0], 0.0, 1.0))
            assert reward == expected
            if over:
                break


def test_the_middle_action_is_the_schedule():
    for env_id, name in ((CHEMO, "weekly"), ("oncogym/EMT6RoFractionationCohort-v0", "bmii")):
        env, plain = ProtocolOffset(gym.make(env_id), name), gym.make(env_id)
        shown, _ = env.reset(seed=1)
        width = len(plain.reset(seed=1)[0])
        rows = plain.unwrapped.task.schedule_actions(plain.unwrapped.treatment.protocol(name))
        size = rows.shape[1]
        for decision, row in enumerate(rows[:9]):
            assert np.array_equal(shown[width:-1], row.astype(np.float32))
            assert shown[-1] == decision + 1.0
            shown, reward, over, *_ = env.step(np.full(size, 0.5))
            _, expected, *_ = plain.step(row)
            assert reward == expected
            if over:
                break
        assert decision > 2
    inner = ProtocolOffset(gym.make(CHEMO), "weekly")._transform
    memory = inner.begin(1)
    seen = np.zeros((1, 7), np.float32)
    inner.observe(memory, seen, np.ones(1, np.bool_))
    for _ in range(70):  # after the last decision the schedule gives nothing
        shown = inner.observe(memory, seen, np.zeros(1, np.bool_))
    assert shown[0, 7] == 0.0


def test_how_far_an_action_moves_the_rule():
    env = ProtocolOffset(gym.make(CHEMO), "capped_pacing", 0.02)
    seen, _ = env.reset(seed=0)
    decided = float(env._memory["decided"][0, 0])
    assert seen[7] == np.float32(decided) > 0.02
    for action, moved in ((0.0, -0.02), (0.25, -0.01), (1.0, 0.02), (7.0, 0.02)):
        inner = env._transform.act(env._memory, np.array([[action]]))
        assert inner[0, 0] == pytest.approx(decided + moved, abs=1e-12)
    wide = ProtocolOffset(gym.make(CHEMO), "capped_pacing", 1.0)
    wide.reset(seed=0)
    for action, edge in ((0.0, 0.0), (1.0, 1.0)):  # no further than the environment's range
        assert wide._transform.act(wide._memory, np.array([[action]]))[0, 0] == edge


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("inner", [False, True])
def test_lanes_and_single_environments_agree(mode, inner):
    options = {"horizon": 5, "max_wait": 5}

    def scalar():
        env = ProtocolOffset(gym.make(CHEMO, **options), "capped_pacing", 0.4)
        return History(env, 2) if inner else env

    lanes = gym.make_vec(CHEMO, num_envs=3, autoreset_mode=mode, **options)
    vector = VectorProtocolOffset(lanes, "capped_pacing", 0.4)
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


@pytest.mark.parametrize("vector", [False, True])
def test_copies_and_specifications(vector):
    make, kind = (gym.make_vec, VectorProtocolOffset) if vector else (gym.make, ProtocolOffset)
    env = kind(make(CHEMO), "capped_pacing", np.float32(0.25))
    action = np.full((1, 1) if vector else (1,), 0.4)

    def course(env):
        return repr([env.reset(seed=3), *(env.step(action) for _ in range(4))])

    expected = course(env)
    for copied in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
        assert repr(env.step(action)) == repr(copied.step(action))
        assert course(copied) == expected
        env.reset(seed=3)
        env = copied
    assert course(make(EnvSpec.from_json(env.spec.to_json()))) == expected


def test_what_is_refused():
    for make, kind, history in (
        (gym.make, ProtocolOffset, History),
        (gym.make_vec, VectorProtocolOffset, VectorHistory),
    ):
        for reach in (0.0, -1.0, np.nan, 1.5, "two"):
            with pytest.raises(ValueError, match="reach is"):
                kind(make(CHEMO), "capped_pacing", reach)
        with pytest.raises(UnknownNameError, match="did you mean 'capped_pacing'"):
            kind(make(CHEMO), "caped_pacing")
        with pytest.raises(ScheduleError, match="day 1 is not a decision day"):
            kind(make(CHEMO, decision_interval=7.0), "daily")
        with pytest.raises(HiddenError, match="observation='full'"):
            kind(make(CHEMO), "threshold")
        kind(make(CHEMO, observation="full"), "threshold")
        with pytest.raises(ValueError, match="put that wrapper outside"):
            kind(history(make(CHEMO)), "capped_pacing")
        with pytest.raises(ValueError, match=r"observations have shape .* rows of numbers"):
            kind(make("oncogym/EMT6RoFractionationCohort-v0", observation="image"), "by_response")


def test_an_untrained_policy_treats_as_its_rule():
    problem = Problem.resolve(CHEMO).drawn(8, cohort="validation")
    wrapper = NamedWrapper("ProtocolOffset", {"protocol": "capped_pacing", "reach": 0.05})
    algorithm = find_algorithm("cma_policy")
    settings = make_settings(
        CHEMO, "cma_policy", hyperparameters={"first_action": 0.5, "layers": [2]}
    )
    learner = algorithm.build(
        problem, settings.hyperparameters, lanes=8, seed=0, steps=1, start=0, wrappers=[wrapper]
    )
    learner._moments = learner._look()
    agent = PolicyAgent(learner.export({}))
    assert len(chain_of([wrapper], problem.kept_task(1)).transforms) == 1
    learnt = rollout(problem.task(), agent, problem.patients, problem.seeds)
    rule = RuleAgent(problem.treatment.protocol("capped_pacing"), problem.kept_task(1))
    plain = rollout(problem.task(), rule, problem.patients, problem.seeds)
    np.testing.assert_array_equal(learnt.returns, plain.returns)
