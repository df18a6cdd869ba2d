"""Policies of networks that are no multi-layer perceptrons: exported, stored, loaded, evaluated."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from oncogym.agents.learned import PolicyAgent, PolicyMismatchError
from oncogym.agents.onnx_policy import OnnxPolicy
from oncogym.agents.policy_files import policy_of, read_policy, write_policy
from oncogym.agents.rollout import rollout
from oncogym.cli.main import main
from oncogym.core.documents import Document
from oncogym.core.files import CorruptFileError
from oncogym.envs import find_variant
from oncogym.training.algorithms import find_algorithm
from oncogym.training.onnx_export import Standardised, export_onnx
from oncogym.training.runs import resume, train
from oncogym.training.settings import make_settings

ENV = "oncogym/EMT6RoFractionation-v0"
OPTIONS = {
    "observation": "image",
    "fidelity": "screening",
    "hours": 36.0,
    "treatment_hours": 30.0,
}
BESIDE = ("two_5gy", "--baseline", "two_5gy", "--patients", "2")
CNN = {
    "network": "cnn",
    "n_steps": 3,
    "batch_size": 6,
    "n_epochs": 2,
    "layers": [8],
    "lanes": 2,
    "evaluations": 2,
    "evaluation_patients": 2,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A few updates of PPO with convolutions, its policy exported at each evaluation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return train(
            ENV, "ppo", out=tmp_path_factory.mktemp("cnn") / "run", steps=12, seed=3,
            options=OPTIONS, hyperparameters=CNN,
        )  # fmt: skip


def images(count, seed=0):
    return np.random.default_rng(seed).random((count, 8, 51, 51)).astype(np.float32)


def problem_policy(model, state=(), **changes):
    treatment, variant = find_variant("oncogym/ChemoDosing-v0")
    task = treatment.task(1)
    values = {
        "env_id": variant.id,
        "treatment": treatment.name,
        "options": {},
        "observation_space": task.observation_space,
        "action_space": task.action_space,
        "model": model,
        "state": state,
    }
    return OnnxPolicy(**{**values, **changes})


class Remembering(nn.Module):
    """A long short-term memory before the action."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.memory = nn.LSTM(7, 6)
        self.action = nn.Linear(6, 1)
        nn.init.constant_(self.action.bias, 0.5)

    def forward(self, seen, hidden, cell):
        out, (hidden, cell) = self.memory(seen[None], (hidden[None], cell[None]))
        mean = self.action(out[0])
        return mean, torch.full_like(mean, -1.0), hidden[0], cell[0]


def test_actions_of_a_convolutional_policy_are_those_of_sb3():
    """A model of Stable-Baselines3 after a few updates, its own predict beside the graph's."""
    settings = make_settings(
        ENV, "ppo", steps=6, seed=5, options=OPTIONS,
        hyperparameters={**CNN, "normalize_observation": True, "rescale_actions": True},
    )  # fmt: skip
    learner = find_algorithm("ppo").build(
        settings.problem, settings.hyperparameters, lanes=2, seed=5, steps=6, start=0
    )

    class Silent:
        def advanced(self, decisions): ...
        def record(self, steps, scalars): ...
        def pause(self, last=False): ...

    before = PolicyAgent(learner.export({}))
    learner.learn(6, Silent())
    agent = PolicyAgent(learner.export({"title": "CNN"}))
    model, lanes = learner.model, learner._lanes
    assert isinstance(model, PPO)
    assert isinstance(lanes, VecNormalize)
    seen = images(4)
    theirs, _ = model.predict(lanes.normalize_obs(seen.copy()), deterministic=True)
    ours, state = agent.predict(seen, deterministic=True)
    assert (agent.label, agent.recurrent, state) == ("CNN", False, None)
    # SB3 acts in [-1, 1].
    assert ours == pytest.approx(0.5 * (theirs + 1.0), abs=3e-6)
    assert np.ptp(ours, axis=0).min() > 1e-6
    assert not np.array_equal(ours, before.predict(seen, deterministic=True)[0])
    # Sampled actions are spread by the deviation of the model.
    sampled = np.concatenate([agent.predict(seen)[0] for _ in range(60)])
    expected = 0.5 * float(torch.exp(model.policy.log_std).mean().detach())
    spread = (sampled - np.tile(ours, (60, 1))).std()
    assert spread == pytest.approx(expected, rel=0.35)
    learner.close()


def test_a_lane_decides_alone(run):
    agent = run.agent()
    seen = images(5, 1)
    whole, _ = agent.predict(seen, deterministic=True)
    assert whole.shape == (5, 2)
    assert whole.dtype == np.float32
    for lane in range(5):
        single, _ = agent.predict(seen[lane], deterministic=True)
        assert single.tobytes() == whole[lane].tobytes()
    copy = pickle.loads(pickle.dumps(agent))
    assert copy.predict(seen, deterministic=True)[0].tobytes() == whole.tobytes()
    with pytest.raises(ValueError, match=r"shape \(5, 8, 51\)"):
        agent.predict(seen[..., 0])


def test_a_run_keeps_its_best_policy_as_a_graph(run):
    assert sorted(path.name for path in run.policy.iterdir()) == ["policy.json", "policy.onnx"]
    document = json.loads((run.policy / "policy.json").read_text())
    assert document["network"] == {"onnx": {"state": []}}
    assert document["tensors"]["file"] == "policy.onnx"
    policy = read_policy(run.policy)
    # What a checkpoint keeps of it.
    again = policy_of(Document(policy.to_document(), "x"), policy.tensors())
    assert again.model == policy.model
    assert again.to_document() == policy.to_document()


def test_a_convolutional_run_goes_on_where_it_stopped(run, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        half = train(
            ENV, "ppo", out=tmp_path / "run", steps=12, seed=3, options=OPTIONS,
            hyperparameters=CNN, checkpoint_every=6,
        )  # fmt: skip
        last = max((tmp_path / "run" / "checkpoints").iterdir())
        last.unlink()
        (tmp_path / "run" / "result.json").unlink()
        for path in half.policy.iterdir():
            path.unlink()
        resumed = resume(tmp_path / "run")
    assert resumed.best_return == run.best_return
    ours, theirs = (one.agent().predict(images(2), deterministic=True)[0] for one in (resumed, run))
    assert ours.tobytes() == theirs.tobytes()


def test_evaluate_runs_the_graph(run, tmp_path, capsys):
    options = [f"--option={name}={value}" for name, value in OPTIONS.items()]
    command = [
        "evaluate",
        ENV,
        str(run.folder),
        "two_5gy",
        "--baseline",
        "two_5gy",
        "--patients",
        "2",
    ]
    if main([*command, *options, "--json"]):
        pytest.fail(capsys.readouterr().err)
    summary = json.loads(capsys.readouterr().out)["summary"]
    agents = {row["agent"] for row in summary}
    assert len(agents) == 2


def test_a_policy_of_another_observation_does_not_fit(run):
    with pytest.raises(PolicyMismatchError, match="option 'observation' was 'image'"):
        PolicyAgent.load(run.policy, ENV, {**OPTIONS, "observation": "full"})


def test_networks_of_images_need_images():
    settings = make_settings("ChemoDosing-v0", "ppo", hyperparameters={"network": "cnn"})
    with pytest.raises(ValueError, match=r"shape \(7,\); allowed: images"):
        settings.method.build(
            settings.problem, settings.hyperparameters, lanes=2, seed=0, steps=10, start=0
        )
    with pytest.raises(ValueError, match="did you mean 'cnn'"):
        make_settings("ChemoDosing-v0", "ppo", hyperparameters={"network": "cn"})


def test_a_recurrent_policy_remembers_until_the_episode_starts_anew(tmp_path):
    actor = Remembering()
    model = export_onnx(Standardised(actor, np.full(7, 0.5), np.full(7, 4.0), 0.0, 10.0),
                        (7,), [(6,), (6,)])  # fmt: skip
    write_policy(tmp_path, problem_policy(model, ((6,), (6,))))
    agent = PolicyAgent.load(tmp_path, "ChemoDosing-v0")
    assert agent.recurrent
    seen = np.random.default_rng(2).random((4, 3, 7)).astype(np.float32)
    state, found = None, []
    for step in range(4):
        start = np.array([False, step == 2, False])
        actions, state = agent.predict(seen[step], state, start, deterministic=True)
        found.append(actions[:, 0])
    for lane in range(3):
        hidden = cell = torch.zeros(1, 6)
        for step in range(4):
            if lane == 1 and step == 2:
                hidden = cell = torch.zeros(1, 6)
            with torch.no_grad():
                mean, _, hidden, cell = actor(
                    (torch.tensor(seen[step, lane])[None] - 0.5) / 2.0, hidden, cell
                )
            assert found[step][lane] == pytest.approx(np.clip(float(mean), 0.0, 1.0), abs=1e-6)
    # The memory makes a difference, and rollouts hand it on.
    fresh, _ = agent.predict(seen[3], deterministic=True)
    assert np.abs(fresh[:, 0] - found[3]).max() > 1e-4
    treatment, _ = find_variant("ChemoDosing-v0")
    rows = treatment.cohorts["population"].patients(3)
    together = rollout(treatment.task(3), agent, rows)
    alone = rollout(treatment.task(1), agent, rows[1:2], np.array([1], np.uint64))
    assert together.returns[1] == alone.returns[0]


@pytest.mark.slow
def test_loading_runs_no_code_and_needs_no_torch(run):
    program = (
        "import sys; from oncogym.agents.learned import PolicyAgent; import numpy as np\n"
        "import onnxruntime; watched, bad = True, 'pickle.find_class'\n"
        "sys.addaudithook(lambda event, _: sys.exit(event) if watched and event == bad else None)\n"
        f"agent = PolicyAgent.load({str(run.policy)!r})\n"
        "watched = False\n"
        "agent.predict(np.zeros((1, 8, 51, 51), np.float32))\n"
        "assert not {'torch', 'stable_baselines3', 'onnx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncated", "truncated or altered"),
        ("noise", "no graph that can be run"),
        ("other", "policy.onnx takes"),
        ("outputs", "policy.onnx gives"),
        ("state", "at most 1000000 numbers"),
        ("states", "a list of at most 16 shapes"),
        ("missing", "the file is missing"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(run, tmp_path, damage, message):
    policy = read_policy(run.policy)
    changes = {}
    if damage == "noise":
        changes["model"] = b"\x08\x01" + np.random.default_rng(0).bytes(400)
    elif damage == "other":
        changes["model"] = export_onnx(Remembering(), (7,), [(6,), (6,)])
    elif damage == "outputs":
        changes["action_space"] = find_variant("ChemoDosing-v0")[0].task(1).action_space
    elif damage == "state":
        changes["state"] = ((1000, 1001),)
    elif damage == "states":
        changes["state"] = ((1,),) * 17
    values = {name: getattr(policy, name) for name in policy.__dataclass_fields__}
    write_policy(tmp_path, OnnxPolicy(**{**values, **changes}))
    file = tmp_path / "policy.onnx"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "missing":
        file.unlink()
    with pytest.raises(CorruptFileError, match=message):
        PolicyAgent.load(tmp_path)


def test_what_is_not_installed_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install \"oncogym\[onnx\]\""):
        PolicyAgent.load(run.policy)
    command = [
        "evaluate",
        ENV,
        str(run.folder),
        "two_5gy",
        "--baseline",
        "two_5gy",
        "--patients",
        "1",
    ]
    options = [f"--option={name}={value}" for name, value in OPTIONS.items()]
    assert main([*command, *options]) == 2
