"""Quantile critics, recurrent PPO and CMA-ES on weights: runs, kills, exported policies."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from killed_command import kill_when

torch = pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

from oncogym.agents.learned import PolicyAgent  # noqa: E402
from oncogym.agents.policy_files import read_policy, write_policy  # noqa: E402
from oncogym.agents.rollout import rollout  # noqa: E402
from oncogym.cli import main as cli  # noqa: E402
from oncogym.core import checkpoint as checkpoints  # noqa: E402
from oncogym.core.files import CorruptFileError, read_json, write_json_atomic  # noqa: E402
from oncogym.envs import find_variant  # noqa: E402
from oncogym.evaluation.training_part import training_parts  # noqa: E402
from oncogym.training.algorithms import algorithm_names, usable_algorithms  # noqa: E402
from oncogym.training.runs import resume, train  # noqa: E402
from oncogym.training.settings import make_settings, read_hyperparameters  # noqa: E402

COHORT = "oncogym/ChemoDosingCohort-v0"
PATIENT = "oncogym/ChemoDosing-v0"
REPLAYED = {
    "steps": 480,
    "lanes": 8,
    "checkpoint_every": 48,
    "hyperparameters": {
        "learning_starts": 40, "batch_size": 16, "layers": [8], "evaluations": 4,
        "gradient_steps": 1,
    },
}  # fmt: skip
QUANTILES = {**REPLAYED, "hyperparameters": {**REPLAYED["hyperparameters"], "n_quantiles": 5}}
# Checkpoints are further apart than their number, so that a kill falls between two of them.
RUNS = {
    "tqc": QUANTILES,
    "sbx_sac": REPLAYED,
    "sbx_tqc": QUANTILES,
    "recurrent_ppo": {
        "steps": 1120,
        "lanes": 8,
        "checkpoint_every": 112,
        "hyperparameters": {
            "n_steps": 14, "batch_size": 56, "n_epochs": 2, "layers": [8], "lstm_units": 5,
            "lstm_layers": 2, "evaluations": 4,
        },
    },
    "cma_policy": {
        "steps": 9600,
        "lanes": 8,
        "checkpoint_every": 960,
        "hyperparameters": {"population": 4, "layers": [3], "evaluations": 4},
    },
}  # fmt: skip


def learner_of(algorithm, env_id=COHORT, **changes):
    asked = {**RUNS[algorithm], **changes}
    settings = make_settings(env_id, algorithm, **asked)
    return settings.method.build(
        settings.problem,
        settings.hyperparameters,
        lanes=settings.lanes,
        seed=settings.seed,
        steps=settings.steps,
        start=0,
    )


@pytest.fixture(scope="module", params=RUNS)
def whole(request, tmp_path_factory):
    """A run of each algorithm that nothing disturbs."""
    if request.param.startswith("sbx"):
        pytest.importorskip("sbx", reason="make sbx runs this")
    out = tmp_path_factory.mktemp(request.param) / "whole"
    return train(COHORT, request.param, out=out, seed=2, **RUNS[request.param])


def test_a_killed_run_goes_on_bit_for_bit(whole, tmp_path):
    """SIGKILL after the first checkpoint; the run then ends as the undisturbed one did."""
    folder = tmp_path / "killed"
    code = (
        "import time\n"
        "from oncogym.core import checkpoint\n"
        "from oncogym.training import runs\n"
        "own = runs.write_checkpoint\n"
        "def slow(*given):\n"
        "    own(*given)\n"
        "    time.sleep(0.2)\n"
        "runs.write_checkpoint = slow\n"
        f"runs.train({COHORT!r}, {whole.algorithm!r}, out={str(folder)!r}, seed=2, "
        f"**{RUNS[whole.algorithm]!r})"
    )
    kill_when(
        lambda: len(checkpoints.list_checkpoints(folder / "checkpoints")) >= 2,
        [sys.executable, "-c", code],
    )
    assert not (folder / "result.json").exists()
    result = resume(folder)
    assert 0 < result.resumed_from < result.steps == whole.steps
    first, second = (
        checkpoints.read_checkpoint(checkpoints.list_checkpoints(place / "checkpoints")[0])
        for place in (whole.folder, folder)
    )
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        assert array.tobytes() == second.arrays[name].tobytes(), name
    policies = [(place / "policy/policy.npz").read_bytes() for place in (whole.folder, folder)]
    assert policies[0] == policies[1]


def test_the_best_policy_does_what_was_measured(whole):
    treatment, _ = find_variant(COHORT)
    patients = treatment.cohort("validation").patients(256)
    keys = np.arange(256, dtype=np.uint64) + np.uint64(1 << 40)
    agent = PolicyAgent.load(whole.folder, COHORT)
    # A memory of its own, or a wrapper that remembers what a rule does.
    assert agent.recurrent == (whole.algorithm in ("recurrent_ppo", "cma_policy"))
    result = rollout(treatment.task(256, observation="measurable"), agent, patients, keys)
    assert result.returns.mean() == pytest.approx(whole.best_return, abs=1e-9)
    alone = rollout(treatment.task(1, observation="measurable"), agent, patients[7:8], keys[7:8])
    assert alone.returns[0] == result.returns[7]


def test_a_policy_with_a_memory_loads_without_code_and_torch(tmp_path):
    write_policy(tmp_path, learner_of("recurrent_ppo").export({}))
    program = (
        "import sys; from oncogym.agents.learned import PolicyAgent; import numpy as np\n"
        "watched, bad = True, 'pickle.find_class'\n"
        "sys.addaudithook(lambda event, _: sys.exit(event) if watched and event == bad else None)\n"
        f"agent = PolicyAgent.load({str(tmp_path)!r})\n"
        "watched = False\n"  # numba unpickles what it has compiled
        "agent.predict(np.zeros((2, 7), np.float32))\n"
        "assert not {'torch', 'stable_baselines3', 'sb3_contrib', 'onnx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def stirred(learner):
    """A learner of a Stable-Baselines3 model with weights and moments that matter."""
    with torch.no_grad():
        for parameter in learner.model.policy.parameters():
            parameter.normal_(0.0, 0.5)
    lanes = learner.model.env
    lanes.reset()
    rng = np.random.default_rng(0)
    low, high = lanes.action_space.low, lanes.action_space.high
    for _ in range(30):
        lanes.step(low + (high - low) * rng.random((8, 1)).astype(np.float32))
    return learner, lanes, rng


def test_an_exported_memory_remembers_as_the_original_does():
    learner, lanes, rng = stirred(learner_of("recurrent_ppo"))
    with torch.no_grad():  # actions within the box, where they differ
        learner.model.policy.action_net.weight.mul_(0.2)
        learner.model.policy.action_net.bias.fill_(0.5)
    agent = PolicyAgent(learner.export({}))
    seen = rng.normal(0.5, 0.5, (6, 8, 7)).astype(np.float32)
    theirs = ours = None
    differs = 0.0
    for step in range(6):
        start = np.full(8, step == 0)
        start[3] |= step == 4
        expected, theirs = learner.model.predict(
            lanes.normalize_obs(seen[step]), theirs, start, deterministic=True
        )
        found, ours = agent.predict(seen[step], ours, start, deterministic=True)
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-5)
        fresh, _ = agent.predict(seen[step], deterministic=True)
        if step == 4:
            assert fresh[3] == found[3]
        differs = max(differs, float(np.abs(fresh - found).max()))
    assert differs > 0.01
    assert [part.shape for part in ours] == [(8, 5)] * 4


def test_an_exported_quantile_actor_acts_like_the_original():
    learner, lanes, rng = stirred(learner_of("tqc"))
    seen = rng.normal(1.0, 2.0, (100, 7)).astype(np.float32)
    expected, _ = learner.model.predict(lanes.normalize_obs(seen), deterministic=True)
    found, _ = PolicyAgent(learner.export({})).predict(seen, deterministic=True)
    np.testing.assert_allclose(found, 0.5 * (expected + 1.0), rtol=0.0, atol=1e-5)
    assert len(learner.model.critic.q_networks) == 2
    assert learner.model.critic.quantiles_total == 10


def test_a_recurrent_policy_survives_its_files_and_damage_is_named(tmp_path):
    learner, _, _ = stirred(learner_of("recurrent_ppo"))
    policy = learner.export({"title": "Recurrent PPO"})
    write_policy(tmp_path, policy)
    again = read_policy(tmp_path)
    assert (again.inputs, again.sizes) == (7, [5, 8, 1])
    for name, array in policy.tensors().items():
        assert np.array_equal(array, again.tensors()[name]), name
    document = read_json(tmp_path / "policy.json")
    assert document["network"]["lstm"] == {"inputs": 7, "units": [5, 5]}
    for lstm, message in (
        ({"inputs": 7, "units": [5, 4]}, "the last of them 5"),
        ({"inputs": 7, "units": []}, "the last of them 5"),
        ({"inputs": 6, "units": [5, 5]}, "lstm_0_from_input"),
        ({"inputs": 7, "units": [5]}, "lstm_1"),
        ({"units": [5, 5]}, "inputs"),
    ):
        changed = {**document, "network": {**document["network"], "lstm": lstm}}
        write_json_atomic(tmp_path / "policy.json", changed)
        with pytest.raises(CorruptFileError, match=message):
            read_policy(tmp_path)


def test_candidates_are_scored_by_whole_courses_of_the_same_patients():
    learner = learner_of("cma_policy", lanes=9)  # two patients each, and one lane too many
    learner._moments = learner._look()
    rng = np.random.default_rng(1)
    candidates = [rng.normal(0.0, 0.5, learner._strategy.dim) for _ in range(4)]
    seeds = learner._seeds(1, 5)
    returns, decisions = learner._treat(candidates, seeds)
    assert returns.shape == (4, 2)
    env, taken = gym.make(COHORT), 0
    for who, weights in enumerate(candidates):
        agent = PolicyAgent(learner._policy(weights, {}))
        for patient, seed in enumerate(seeds):
            observation, _ = env.reset(seed=seed)
            total, done = 0.0, False
            while not done:
                action, _ = agent.predict(observation, deterministic=True)
                observation, reward, terminated, truncated, _ = env.step(action)
                total, done, taken = total + reward, terminated or truncated, taken + 1
            assert returns[who, patient] == pytest.approx(total, abs=1e-12)
    assert decisions == taken
    assert learner._seeds(1, 6) != seeds


def test_fewer_lanes_than_candidates_give_the_same_returns():
    many, few = learner_of("cma_policy", lanes=4), learner_of("cma_policy", lanes=3)
    many._moments = few._moments = many._look()
    candidates = [np.full(many._strategy.dim, x) for x in (-0.3, 0.0, 0.1, 0.4)]
    assert few.steps_per_update == 6 * 60
    for learner in (many, few):
        assert len(learner._seeds(1, 0)) == 1
    assert np.array_equal(many._treat(candidates, [7])[0], few._treat(candidates, [7])[0])


def test_evolution_improves_a_policy(tmp_path):
    """In twenty generations; the best open-loop plan of this patient has 13.88."""
    result = train(
        PATIENT, "cma_policy", out=tmp_path, steps=60 * 12 * 20, seed=0, lanes=12,
        hyperparameters={"population": 12, "layers": [4]},
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "progress.csv")
    assert table["episode/return"].iloc[0] < 5.0
    assert result.best_return > 13.0
    policy = result.agent().policy
    assert policy.sizes == [7, 4, 1]
    assert policy.about["title"] == "CMA-ES policy"


@pytest.mark.parametrize(
    ("algorithm", "changes", "message"),
    [
        ("tqc", {"top_quantiles_to_drop_per_net": 5}, "top_quantiles_to_drop_per_net is 5"),
        ("tqc", {"n_critics": 0}, "n_critics is 0"),
        ("recurrent_ppo", {"network": "cnn"}, "network"),
        ("recurrent_ppo", {"lstm_units": 0}, "lstm_units is 0"),
        ("recurrent_ppo", {"critic_lstm": 1}, "critic_lstm is 1; allowed: true or false"),
        ("cma_policy", {"population": 3}, "population is 3"),
        ("cma_policy", {"sigma": 0.0}, "sigma is 0.0"),
        ("cma_policy", {"n_steps": 59}, "n_steps is 59; allowed: .*60"),
        ("cma_policy", {"layers": [200]}, r"layers is \[200\]: 1801 weights .* at most 1000"),
    ],
)
def test_what_the_algorithms_refuse(algorithm, changes, message):
    asked = {**RUNS[algorithm]["hyperparameters"], **changes}
    with pytest.raises(ValueError, match=message):
        learner_of(algorithm, hyperparameters=asked)


def test_a_file_of_settings_may_stand_on_another():
    tqc, sac = (
        read_hyperparameters(make_settings(COHORT, name).method, COHORT) for name in ("tqc", "sac")
    )
    assert {name: tqc[name] for name in sac} == sac
    assert set(tqc) - set(sac) == {"n_critics", "n_quantiles", "top_quantiles_to_drop_per_net"}


def test_a_missing_sb3_contrib_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    for algorithm in ("tqc", "recurrent_ppo"):
        command = ["train", COHORT, "--algo", algorithm, "--steps", "4000", "--lanes", "8"]
        assert cli.main([*command, "--out", str(tmp_path / algorithm)]) == 2
        assert 'sb3-contrib, which is not installed: pip install "oncogym[train]"' in (
            capsys.readouterr().err
        )


def test_settings_are_listed_with_those_they_stand_on(capsys):
    assert cli.main(["train", "--algo", "tqc", "--settings"]) == 0
    said = capsys.readouterr().out
    assert "learning_starts:" in said
    assert said.count("n_quantiles:") == 1


def test_without_sbx_the_error_says_how_to_install_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "sbx", None)
    assert usable_algorithms() == [n for n in algorithm_names() if not n.startswith("sbx")]
    for command in ("train", "search"):
        out = tmp_path / command
        assert cli.main([command, COHORT, "--algo", "sbx_sac", "--out", str(out)]) == 2
        assert 'pip install "oncogym[train,sbx]"' in capsys.readouterr().err
        assert not out.exists()
    with pytest.raises(ModuleNotFoundError, match="oncogym\\[train,sbx"):
        training_parts("a", [0], env=COHORT, algorithm="sbx_tqc", steps=None, lanes=None,
                       patients=2, patients_seed=0)  # fmt: skip
    for name in ("sbx_sac", "sbx_tqc"):
        with pytest.raises(ModuleNotFoundError, match=r'pip install "oncogym\[train,sbx\]"'):
            learner_of(name)
    with pytest.raises(ValueError, match="n_critics is 3; allowed: an integer from 2 to 2"):
        make_settings(COHORT, "sbx_tqc", hyperparameters={"n_critics": 3})


def test_jax_arrays_of_another_network_are_refused():
    pytest.importorskip("sbx", reason="make sbx runs this")
    states = learner_of("sbx_sac")._own_state
    arrays = states.save()
    assert any(name.startswith("jax/qf_state/") for name in arrays)
    name = next(n for n in arrays if n.startswith("jax/actor_state/") and arrays[n].ndim == 2)
    with pytest.raises(ValueError, match=f"{name} has the shape"):
        states.restore({**arrays, name: arrays[name][:1]})
    states.restore({**arrays, name: arrays[name] + 1.0})
    np.testing.assert_array_equal(states.save()[name], arrays[name] + 1.0)
    del arrays[name]
    with pytest.raises(KeyError, match=name):
        states.restore(arrays)


def test_resuming_without_the_package_leaves_the_run_as_it_is(monkeypatch, tmp_path):
    train(COHORT, "tqc", out=tmp_path, seed=2, **RUNS["tqc"])
    before = (tmp_path / "config.json").read_bytes()
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "oncogym\[train\]"'):
        resume(tmp_path)
    assert (tmp_path / "config.json").read_bytes() == before
