"""MeasuredShield: no dose above what was measured allows, and nothing that only the model knows."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from oncogym.agents.learned import PolicyAgent
from oncogym.agents.rollout import rollout
from oncogym.envs import get_treatment
from oncogym.envs.problem import Problem
from oncogym.wrappers import History, MeasuredShield, VectorMeasuredShield
from oncogym.wrappers.named import NamedWrapper, chain_of

CHEMO = "oncogym/ChemoDosingCohort-v0"
GLIOMA = "oncogym/GlioblastomaRadiationCohort-v0"


def test_glioblastoma_gets_no_more_than_the_last_scan_allows():
    env, plain = MeasuredShield(gym.make(GLIOMA)), gym.make(GLIOMA)
    env.reset(seed=4)
    seen, _ = plain.reset(seed=4)
    cut = 0
    for asked in (0.01, 1.0, 0.05, 1.0, 0.2):
        limit = 0.95 * plain.unwrapped.task.shown_safe_actions(seen[None])[0, 0]
        given = env._transform.act(env._memory, np.array([[asked]]))[0, 0]
        assert given == pytest.approx(min(asked, limit), rel=2e-6)
        assert given <= limit * (1.0 + 1e-12)
        cut += asked > limit
        shown, reward, *_ = env.step([asked])
        seen, expected, *_ = plain.step([given])
        assert reward == expected
        assert np.array_equal(shown, seen)
    assert 0 < cut < 5


def test_chemotherapy_of_the_nominal_patient_reaches_the_margin_and_no_more():
    """Without errors of measurement the rule knows the nominal patient's toxicity exactly."""
    env = MeasuredShield(gym.make(CHEMO, cohort="nominal", toxicity_noise=0.0))
    seen, _ = env.reset(seed=0)
    highest, cost = 0.0, 0.0
    for _ in range(60):
        seen, *_, over, _, info = env.step([1.0])
        highest, cost = max(highest, float(seen[2])), cost + info["cost"]
        if over:
            break
    assert cost == 0.0
    assert 0.79 < highest <= 0.8


def test_other_patients_may_get_too_much_but_far_less_than_without():
    costs, doses = {}, {}
    for shield in (True, False):
        lanes = gym.make_vec(CHEMO, num_envs=64, autoreset_mode="Disabled")
        lanes = VectorMeasuredShield(lanes) if shield else lanes
        lanes.reset(seed=3)
        costs[shield] = doses[shield] = 0.0
        for _ in range(60):
            *_, info = lanes.step(np.full((64, 1), 0.1, np.float32))
            costs[shield] += info["cost"].sum()
            doses[shield] -= info["reward_terms"]["dose"].sum()
    assert 0.0 < costs[True] < 0.05 * costs[False]
    assert doses[True] > doses[False], "courses without the shield end early"


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_lanes_and_single_environments_agree(mode):
    options = {"horizon": 5, "max_wait": 5}
    vector = VectorMeasuredShield(gym.make_vec(CHEMO, num_envs=3, autoreset_mode=mode, **options))
    scalars = gym.vector.SyncVectorEnv(
        [lambda: MeasuredShield(gym.make(CHEMO, **options))] * 3, autoreset_mode=mode
    )
    rng = np.random.default_rng(1)
    assert np.array_equal(vector.reset(seed=7)[0], scalars.reset(seed=7)[0])
    ends = 0
    for _ in range(14):
        actions = rng.random((3, 1)).astype(np.float32)
        one, two = vector.step(actions), scalars.step(actions)
        for a, b in zip(one[:4], two[:4], strict=True):
            assert np.array_equal(a, b)
        done = one[2] | one[3]
        ends += int(done.sum())
        if mode == "Disabled" and done.any():
            again = {"options": {"reset_mask": done}}
            assert np.array_equal(vector.reset(**again)[0], scalars.reset(**again)[0])
    assert ends > 0


def test_a_policy_acts_through_it_without_knowing_the_patient():
    """What training writes into a policy acts on the bare task as lanes in the wrapper do."""
    from oncogym.training.algorithms import find_algorithm
    from oncogym.training.settings import make_settings

    problem = Problem.resolve(CHEMO).drawn(8, cohort="validation")
    wrapper = NamedWrapper("MeasuredShield")
    settings = make_settings(
        CHEMO,
        "cma_policy",
        hyperparameters={"first_action": 0.9, "layers": [2]},
        wrappers=[wrapper],
    )
    learner = find_algorithm("cma_policy").build(
        problem, settings.hyperparameters, lanes=8, seed=0, steps=1, start=0, wrappers=[wrapper]
    )
    learner._moments = learner._look()
    agent = PolicyAgent(learner.export({}))
    assert agent.sees is None
    assert not chain_of([wrapper], problem.kept_task(1)).privileged
    limit = get_treatment("chemo_dosing").measured_limit
    task = problem.task()
    result = rollout(task, agent, problem.patients, problem.seeds, record_actions=True)

    # The rule by hand: it asks for 0.9 each day, and gets what the rule allows.
    seeds, first = problem.seeds, np.zeros(8, np.uint64)
    seen = task.reset(np.arange(8), problem.patients, seeds, first)
    memory = None
    for day in range(10):
        allowed, memory = limit.actions(task, seen, memory)
        given = result.actions[:, day]
        there = ~np.isnan(given[:, 0])
        np.testing.assert_allclose(
            given[there],
            np.minimum(0.9, np.clip(allowed, 0.0, 1.0))[there],
            rtol=1e-6,
            atol=1e-7,
        )
        seen = task.step(np.nan_to_num(given), there).observation
    assert there.sum() >= 4


def test_what_is_refused():
    with pytest.raises(NotImplementedError, match="no rule that says which dose is safe"):
        MeasuredShield(gym.make("oncogym/AdaptiveTherapyCohort-v0"))
    with pytest.raises(ValueError, match="put that wrapper outside"):
        MeasuredShield(History(gym.make(CHEMO)))
    with pytest.raises(ValueError, match=r"actions have shape \(2,\)"):
        MeasuredShield(gym.make(CHEMO, decisions="wait"))
