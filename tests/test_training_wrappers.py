"""Wrappers in training: named, kept in the run and the policy, acted through in evaluations."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

from oncogym.agents.learned import PolicyAgent, PolicyMismatchError
from oncogym.agents.rollout import rollout
from oncogym.cli import main as cli
from oncogym.cli.train import wrapper
from oncogym.core import checkpoint as checkpoints
from oncogym.core.errors import UnknownNameError
from oncogym.core.files import CorruptFileError, read_json, write_json_atomic
from oncogym.envs import find_variant
from oncogym.training.runs import SettingsMismatchError, resume, train
from oncogym.training.settings import make_settings, require_wrappers
from oncogym.wrappers import DoseScale, History
from oncogym.wrappers.named import NamedWrapper, wrappers_of

COHORT = "oncogym/ChemoDosingCohort-v0"
GLIOMA = "oncogym/GlioblastomaRadiationCohort-v0"
PPO = {
    "steps": 960,
    "lanes": 8,
    "seed": 3,
    "hyperparameters": {
        "n_steps": 10, "batch_size": 40, "n_epochs": 2, "layers": [8], "evaluations": 4,
        "evaluation_patients": 16,
    },
}  # fmt: skip
LEARNT = {"SafetyPenalty": {"multiplier": 0.5, "cost_limit": 0.01, "rate": 0.2}}
WRAPPERS = [LEARNT, {"History": {"count": 2}}]
# Toxic enough for costs.
TOXIC = {"toxicity_limit": 0.2, "stop_on_failure": False}
EVOLUTION = {
    "steps": 9600,
    "lanes": 8,
    "hyperparameters": {
        "population": 4, "layers": [3], "evaluations": 4, "evaluation_patients": 16
    },
}  # fmt: skip
RUNS = {"ppo": PPO, "cma_policy": EVOLUTION}


@pytest.fixture(scope="module", params=RUNS)
def wrapped(request, tmp_path_factory):
    """A run in a learnt penalty and a history."""
    out = tmp_path_factory.mktemp("run") / "a"
    arguments = {**RUNS[request.param], "options": TOXIC, "wrappers": WRAPPERS}
    return train(COHORT, request.param, out=out, **arguments)


def newest(folder):
    return checkpoints.read_checkpoint(checkpoints.list_checkpoints(folder / "checkpoints")[0])


def test_run_and_policy_remember_their_wrappers(wrapped):
    kept = read_json(wrapped.folder / "config.json")["settings"]["wrappers"]
    assert kept == [
        {"name": "SafetyPenalty", "arguments": LEARNT["SafetyPenalty"]},
        {"name": "History", "arguments": {"count": 2}},
    ]
    document = read_json(wrapped.policy / "policy.json")
    assert document["wrappers"] == kept[1:]
    assert document["observation_space"]["shape"] == [16]


def test_a_policy_acts_through_its_history_outside_of_training(wrapped):
    agent = wrapped.agent()
    assert agent.recurrent
    treatment, _ = find_variant(COHORT)
    patients = treatment.cohort("validation").patients(16)
    keys = np.arange(16, dtype=np.uint64) + np.uint64(1 << 40)
    task = treatment.task(16, observation="measurable", **TOXIC)
    result = rollout(task, agent, patients, keys, record_actions=True)
    assert result.returns.mean() == pytest.approx(wrapped.best_return, abs=1e-9)
    # The network alone, in the wrapped environment, decides the same.
    bare = PolicyAgent(agent.policy.__class__(**{**vars(agent.policy), "wrappers": ()}))
    plain = gym.make(COHORT, **TOXIC)
    env = History(gym.make(COHORT, **TOXIC), 2)
    shown, _ = env.reset(seed=5)
    seen, _ = plain.reset(seed=5)
    state = None
    for _ in range(6):
        inner, _ = bare.predict(shown, deterministic=True)
        action, state = agent.predict(seen, state, deterministic=True)
        assert np.array_equal(action, inner)
        shown, *_ = env.step(inner)
        seen, *_ = plain.step(action)
    # Lanes that begin anew forget; states handed out are not written to.
    batch = np.tile(seen, (3, 1))
    _, before = agent.predict(batch, deterministic=True)
    kept = [array.copy() for memory in before[0] for array in memory.values()]
    start = np.array([False, True, False])
    actions, _ = agent.predict(batch + 0.1, before, start, deterministic=True)
    again, _ = agent.predict(batch + 0.1, before, start, deterministic=True)
    fresh, _ = agent.predict(batch + 0.1, deterministic=True)
    assert np.array_equal(actions, again)
    assert actions[1] == fresh[1]
    for one, two in zip(
        kept, [array for memory in before[0] for array in memory.values()], strict=True
    ):
        assert np.array_equal(one, two)


def test_an_interrupted_run_goes_on_with_its_multiplier(wrapped, tmp_path):
    folder = tmp_path / "interrupted"
    shutil.copytree(wrapped.folder, folder)
    checkpoints.list_checkpoints(folder / "checkpoints")[0].unlink()
    (folder / "result.json").unlink()
    before = newest(folder).arrays["wrappers/0/multiplier"]
    assert resume(folder, wrappers=WRAPPERS).resumed_from < wrapped.steps
    one, two = newest(wrapped.folder), newest(folder)
    assert one.arrays.keys() == two.arrays.keys()
    for name, array in one.arrays.items():
        assert array.tobytes() == two.arrays[name].tobytes(), name
    assert one.arrays["wrappers/0/multiplier"] != before
    assert before != 0.5
    assert "wrappers/1/memory_observations" in one.arrays
    with pytest.raises(SettingsMismatchError, match=r"wrappers was .*History.*, now"):
        resume(folder, wrappers=[LEARNT])


def test_a_run_without_wrappers_is_what_it_was(tmp_path):
    result = train(COHORT, "ppo", out=tmp_path / "a", **PPO)
    assert "wrappers" not in read_json(result.policy / "policy.json")
    assert not [name for name in newest(result.folder).arrays if name.startswith("wrappers/")]
    # A run folder of an oncogym that knew no wrappers goes on.
    config = read_json(result.folder / "config.json")
    del config["settings"]["wrappers"]
    write_json_atomic(result.folder / "config.json", config)
    assert resume(result.folder).resumed_from == result.steps
    config["settings"]["wrappers"] = [3]
    write_json_atomic(result.folder / "config.json", config)
    with pytest.raises(CorruptFileError, match=r"wrappers is .*a list of wrappers"):
        resume(result.folder)


def test_a_scaled_dose_is_part_of_a_policy(tmp_path, capsys):
    out = tmp_path / "run"
    pairs = [f"--set={key}={json.dumps(value)}" for key, value in PPO["hyperparameters"].items()]
    command = ["train", GLIOMA, "--steps", "320", "--lanes", "8", *pairs, "--out", str(out)]
    assert cli.main([*command, "--wrapper", "DoseScale:most=1.5", "--wrapper", "History"]) == 0
    capsys.readouterr()
    agent = PolicyAgent.load(out, GLIOMA)
    bare = PolicyAgent(agent.policy.__class__(**{**vars(agent.policy), "wrappers": ()}))
    env = History(DoseScale(gym.make(GLIOMA), 1.5))
    plain = gym.make(GLIOMA)
    shown, seen, state = env.reset(seed=1)[0], plain.reset(seed=1)[0], None
    for _ in range(5):
        inner, _ = bare.predict(shown, deterministic=True)
        action, state = agent.predict(seen, state, deterministic=True)
        assert action == pytest.approx(1.5 * inner * seen[5] * 24.0 / 61.2, rel=1e-5)
        shown, reward, *_ = env.step(inner)
        seen, expected, *_ = plain.step(action)
        assert reward == expected
    assert cli.main(["evaluate", GLIOMA, str(out), "--patients", "3", "--json"]) == 0
    assert "run" in capsys.readouterr().out
    with pytest.raises(PolicyMismatchError):
        PolicyAgent.load(out, COHORT)


def test_a_shielded_policy_asks_the_live_task(tmp_path, capsys):
    result = train(
        COHORT, "ppo", out=tmp_path / "run", **PPO, options=TOXIC, wrappers=["DoseShield"]
    )
    assert result.last_evaluation["cost"] == 0.0
    agent = PolicyAgent.load(result.folder)
    assert agent.sees == "knows the patient"
    with pytest.raises(TypeError, match="asks the model"):
        agent.predict(np.zeros((1, 7), np.float32))
    options = [f"--option={name}={json.dumps(value)}" for name, value in TOXIC.items()]
    command = ["evaluate", COHORT, str(result.folder), "--patients", "4", "--json", *options]
    assert cli.main(command) == 0
    assert "knows the patient" in capsys.readouterr().out


OWN = '''
    import numpy as np
    from gymnasium.spaces import Box
    from gymnasium.vector import VectorWrapper
    from oncogym.wrappers.transforms import Transform
    from oncogym.wrappers.vector_spec import RecordedVectorWrapper


    class Bonus(VectorWrapper):
        def __init__(self, env, amount=1.0):
            super().__init__(env)
            self.amount = amount

        def step(self, actions):
            observation, reward, *rest = self.env.step(actions)
            return observation, reward + self.amount, *rest


    class First(VectorWrapper):
        """Shows two numbers only, and does not say how a policy could see them."""

        def __init__(self, env):
            super().__init__(env)
            self.single_observation_space = Box(0.0, 1.0, (2,), np.float32)


    class Halving(RecordedVectorWrapper):
        """Halves actions."""

        def step(self, actions):
            return self.env.step(actions / 2)

        @classmethod
        def transform(cls, task, observation_space, action_space):
            return Half(observation_space, action_space)


    class Half(Transform):
        def act(self, memory, actions):
            return actions / 2
'''


def test_a_wrapper_of_ones_own_by_its_path(tmp_path, monkeypatch, capsys):
    (tmp_path / "own_wrappers.py").write_text(textwrap.dedent(OWN))
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "run"
    around = [{"own_wrappers:Bonus": {"amount": 2.0}}, "own_wrappers.Halving"]
    result = train(COHORT, "ppo", out=out, **PPO, wrappers=around)
    kept = read_json(result.policy / "policy.json")["wrappers"]
    assert kept == [{"name": "own_wrappers.Halving", "arguments": {}}]
    agent = result.agent()
    bare = PolicyAgent(agent.policy.__class__(**{**vars(agent.policy), "wrappers": ()}))
    seen = np.random.default_rng(0).random((4, 7)).astype(np.float32)
    halved = bare.predict(seen, deterministic=True)[0] / 2
    assert np.array_equal(agent.predict(seen, deterministic=True)[0], halved)
    # A policy's file has nothing imported.
    monkeypatch.delitem(sys.modules, "own_wrappers")
    assert cli.main(["evaluate", COHORT, str(out), "--patients", "2"]) == 2
    assert "'own_wrappers.Halving' is no part of oncogym; import 'own_wrappers'" in (
        capsys.readouterr().err
    )
    here = ["evaluate", COHORT, str(out), "--patients", "2", "--import", "own_wrappers"]
    assert cli.main(here) == 0
    assert cli.main([*here[:-1], "no_such_module"]) == 2
    assert "--import is 'no_such_module'" in capsys.readouterr().err
    for name, message in (
        ("own_wrappers:First", "changes the spaces of lanes and has no class method transform"),
        ("own_wrappers:Nothing", "there is no wrapper 'own_wrappers:Nothing'"),
        ("own_wrappers:np", "allowed: a gymnasium.vector.VectorWrapper"),
        ("no_such_module:Wrapper", "there is no wrapper 'no_such_module:Wrapper'"),
    ):
        with pytest.raises(ValueError, match=message):
            make_settings(COHORT, "ppo", wrappers=[name])


@pytest.mark.parametrize(
    ("env_id", "wrappers", "message"),
    [
        (COHORT, ["Histori"], "did you mean 'History'"),
        (COHORT, [{"History": {"count": 0}}], "count is 0"),
        (COHORT, [{"History": {"cuont": 2}}], "wrapper History: .*cuont"),
        (COHORT, ["DoseScale"], "does not show which dose is safe"),
        (COHORT, ["RewardTerms"], "needs a scalar reward"),
        (COHORT, [{"RewardWeights": {"weights": {"dosee": 1}}}], "did you mean 'dose'"),
        (COHORT, "History", "allowed: a list of wrappers"),
        (COHORT, [3], "a wrapper is 3"),
        (COHORT, [{"History": 3}], "a wrapper is"),
        (COHORT, ["History"] * 65, "65 wrappers; allowed: at most 64"),
    ],
)
def test_wrappers_that_do_not_fit_are_refused_before_any_work(env_id, wrappers, message, tmp_path):
    with pytest.raises((ValueError, UnknownNameError), match=message):
        train(env_id, "ppo", out=tmp_path / "run", wrappers=wrappers)
    assert not (tmp_path / "run").exists()


def test_an_algorithm_without_wrappers_says_so():
    class Plain:
        name = "plain"

        def build(self, problem, settings, *, lanes, seed, steps, start):
            raise AssertionError

    problem = make_settings(COHORT, "ppo").problem
    require_wrappers(problem, Plain(), ())
    with pytest.raises(ValueError, match="'plain' trains without wrappers only"):
        require_wrappers(problem, Plain(), wrappers_of(["History"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("History", NamedWrapper("History")),
        ("History:count=3", NamedWrapper("History", {"count": 3})),
        (
            'RewardWeights:weights={"dose":1,"log_kill":2}',
            NamedWrapper("RewardWeights", {"weights": {"dose": 1, "log_kill": 2}}),
        ),
        (
            "a.b:C:shape=quadratic,multiplier=2,more=[1,2]",
            NamedWrapper("a.b:C", {"shape": "quadratic", "multiplier": 2, "more": [1, 2]}),
        ),
    ],
)
def test_a_wrapper_on_the_command_line(text, expected):
    assert wrapper(text) == expected


def test_wrappers_of_a_file_of_settings(monkeypatch):
    from oncogym.training import settings

    table = settings.read_table("ppo")
    table[COHORT] = {**table[COHORT], "wrappers": WRAPPERS}
    monkeypatch.setattr(settings, "read_table", lambda name: table)
    chosen = make_settings(COHORT, "ppo").wrappers
    assert [one.name for one in chosen] == ["SafetyPenalty", "History"]
    assert make_settings(COHORT, "ppo", wrappers=()).wrappers == ()


def test_bad_wrappers_on_the_command_line(capsys, tmp_path):
    command = ["train", COHORT, "--out", str(tmp_path / "run"), "--wrapper"]
    for given, message in (
        ("History:3", "'History:3' is no wrapper"),
        ("History:count=1,count=2", "given twice"),
    ):
        with pytest.raises(SystemExit):
            cli.main([*command, given])
        assert message in capsys.readouterr().err
    assert cli.main([*command, "Histroy"]) == 2
    assert "did you mean 'History'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
