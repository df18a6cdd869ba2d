"""Policies as files, and the agent that computes them without torch."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from gymnasium.spaces import Box

from oncogym.agents.learned import PolicyAgent, PolicyMismatchError
from oncogym.agents.policy_files import Policy, read_policy, write_policy
from oncogym.agents.rollout import rollout
from oncogym.core.errors import UnknownNameError
from oncogym.core.files import CorruptFileError
from oncogym.envs import find_variant

ENV = "oncogym/ChemoDosing-v0"
SAME_PROBLEM = "oncogym/ChemoDosingCohort-v0"
OTHER_PROBLEM = "oncogym/ChemoDosingPublished-v0"


def make_policy(seed=0, env_id=ENV, hidden=(9, 5), **changes):
    treatment, variant = find_variant(env_id)
    options = {key: value for key, value in variant.options.items() if key != "cohort"}
    task = treatment.task(1, **options)
    draw = np.random.default_rng(seed)
    sizes = [*task.observation_space.shape, *hidden, *task.action_space.shape]
    shapes = list(itertools.pairwise(sizes))
    values = {
        "env_id": variant.id,
        "treatment": treatment.name,
        "options": options,
        "observation_space": task.observation_space,
        "action_space": task.action_space,
        "weights": tuple(draw.normal(size=shape).astype(np.float32) for shape in shapes),
        "biases": tuple(draw.normal(size=shape[1]).astype(np.float32) for shape in shapes),
        "log_std": np.full(sizes[-1], -2.0, np.float32),
        "mean": draw.normal(size=sizes[0]),
        "variance": draw.uniform(0.5, 2.0, sizes[0]),
    }
    return Policy(**{**values, **changes})


def observations(count, size=7, seed=1):
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)


@pytest.mark.parametrize("deterministic", [True, False])
def test_an_action_does_not_depend_on_the_batch(deterministic):
    seen = observations(1024)
    whole, _ = PolicyAgent(make_policy()).predict(seen, deterministic=deterministic)
    assert whole.shape == (1024, 1)
    assert whole.dtype == np.float32
    assert 0.0 <= whole.min() < whole.max() <= 1.0
    for count in (1, 7, 500):
        part, _ = PolicyAgent(make_policy()).predict(seen[:count], deterministic=deterministic)
        assert part.tobytes() == whole[:count].tobytes()


def test_predict_handles_one_observation_and_hands_the_state_back():
    agent = PolicyAgent(make_policy())
    seen = observations(3)
    batch, state = agent.predict(seen, state="memory", deterministic=True)
    assert state == "memory"
    single, _ = agent.predict(seen[1], deterministic=True)
    assert single.shape == (1,)
    assert single[0] == batch[1, 0]
    with pytest.raises(ValueError, match=r"shape \(3, 6\)"):
        agent.predict(seen[:, :6])


def test_sampled_actions_are_spread_as_trained_and_repeatable():
    policy = make_policy(
        weights=(np.zeros((7, 1), np.float32),), biases=(np.full(1, 0.5, np.float32),)
    )
    agent, twin, other = (PolicyAgent(policy, seed=seed) for seed in (3, 3, 4))
    seen = observations(20_000)
    drawn, again = (agent.predict(seen)[0] for _ in range(2))
    assert abs(drawn.mean() - 0.5) < 0.005
    assert abs(drawn.std() - np.exp(-2.0)) < 0.005
    assert not np.array_equal(drawn, again)
    assert np.array_equal(drawn, twin.predict(seen)[0])
    assert not np.array_equal(drawn, other.predict(seen)[0])


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize(("activation", "normalise"), [("tanh", True), ("relu", False)])
@pytest.mark.parametrize("env_id", [ENV, OTHER_PROBLEM])
def test_actions_agree_with_sb3(env_id, activation, normalise, rescale):
    pytest.importorskip("stable_baselines3")
    torch = pytest.importorskip("torch")
    from oncogym.training.settings import make_settings

    chosen = {
        "activation": activation,
        "normalize_observation": normalise,
        "rescale_actions": rescale,
        "layers": [32, 16],
        "n_steps": 4,
        "batch_size": 8,
    }
    settings = make_settings(env_id, "ppo", lanes=4, hyperparameters=chosen)
    learner = settings.method.build(
        settings.problem, settings.hyperparameters, lanes=4, seed=0, steps=16, start=0
    )
    model, lanes = learner.model, learner.model.env
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.normal_(0.1, 0.5)
    lanes.reset()
    for _ in range(30):
        seen, *_ = lanes.step(np.random.default_rng(0).random((4, *lanes.action_space.shape)))
    agent = PolicyAgent(learner.export({}))
    seen = np.concatenate([lanes.get_original_obs(), 3.0 * observations(200)])
    expected, _ = model.predict(lanes.normalize_obs(seen), deterministic=True)
    if rescale:
        expected = (expected + 1.0) / 2.0
    found, _ = agent.predict(seen, deterministic=True)
    assert np.mean((found > 0.0) & (found < 1.0)) > 0.05
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"mean": None, "variance": None}])
def test_a_policy_survives_its_files(tmp_path, changes):
    policy = make_policy(about={"steps": 7}, **changes)
    write_policy(tmp_path, policy)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.json", "policy.npz"]
    back = read_policy(tmp_path)
    assert back.about == {"steps": 7}
    for name, array in policy.tensors().items():
        assert back.tensors()[name].tobytes() == array.tobytes()
    document = json.loads((tmp_path / "policy.json").read_text())
    assert document["env_id"] == ENV
    assert document["network"] == {"sizes": [7, 9, 5, 1], "activation": "tanh"}
    seen = observations(5)
    first, second = PolicyAgent(policy), PolicyAgent.load(tmp_path, ENV)
    assert np.array_equal(
        first.predict(seen, deterministic=True)[0], second.predict(seen, deterministic=True)[0]
    )


def test_infinite_and_uneven_bounds_survive(tmp_path):
    low, high = np.array([[-np.inf, 0.1], [1.0, np.inf]], np.float32)
    space = Box(low, high, dtype=np.float32)
    weights = (np.zeros((2, 1), np.float32),)
    policy = make_policy(
        observation_space=space,
        weights=weights,
        biases=(np.zeros(1, np.float32),),
        mean=None,
        variance=None,
    )
    write_policy(tmp_path, policy)
    assert read_policy(tmp_path).observation_space == space


def test_a_policy_treats_patients_of_any_cohort_of_its_problem(tmp_path):
    write_policy(tmp_path, make_policy())
    agent = PolicyAgent.load(tmp_path, SAME_PROBLEM, {"observation": "full"})
    with pytest.raises(PolicyMismatchError, match="'full' in training, here it is 'measurable'"):
        PolicyAgent.load(tmp_path, SAME_PROBLEM)
    treatment, _ = find_variant(SAME_PROBLEM)
    task = treatment.task(5)
    PolicyAgent.load(tmp_path, task=task)
    result = rollout(task, agent, treatment.cohort("held_out").patients(5))
    assert np.isfinite(result.returns).all()


def test_a_policy_of_another_problem_is_refused(tmp_path):
    write_policy(tmp_path, make_policy())
    treatment, _ = find_variant(ENV)
    with pytest.raises(PolicyMismatchError, match=f"made for {ENV}.*fit {OTHER_PROBLEM}"):
        PolicyAgent.load(tmp_path, OTHER_PROBLEM)
    with pytest.raises(PolicyMismatchError, match=r"option 'horizon' was 60.*here it is 30"):
        PolicyAgent.load(tmp_path, ENV, {"horizon": 30})
    with pytest.raises(PolicyMismatchError, match=r"'horizon' was 60.*here it is 30"):
        PolicyAgent.load(tmp_path, task=treatment.task(1, horizon=30))
    PolicyAgent.load(tmp_path, ENV, {"horizon": 60, "cohort": "held_out"})
    with pytest.raises(UnknownNameError, match=r"did you mean 'oncogym/ChemoDosing-v0'"):
        PolicyAgent.load(tmp_path, "oncogym/ChemoDosin-v0")
    with pytest.raises(UnknownNameError, match="did you mean 'horizon'"):
        PolicyAgent.load(tmp_path, ENV, {"horizn": 60})


def test_another_treatment_or_space_is_refused(tmp_path):
    treatment, _ = find_variant(ENV)
    write_policy(tmp_path, make_policy(treatment="radiosurgery"))
    with pytest.raises(PolicyMismatchError, match="its treatment is 'radiosurgery'"):
        PolicyAgent.load(tmp_path, ENV)
    with pytest.raises(PolicyMismatchError, match="its treatment is 'radiosurgery'"):
        PolicyAgent.load(tmp_path, task=treatment.task(1))
    wider = Box(-1.0, 2.0, (7,), np.float32)
    write_policy(tmp_path, make_policy(observation_space=wider))
    with pytest.raises(PolicyMismatchError, match="observation space"):
        PolicyAgent.load(tmp_path, ENV)


def test_damaged_tensors_are_named(tmp_path):
    write_policy(tmp_path, make_policy())
    path = tmp_path / "policy.npz"
    data = path.read_bytes()
    for size in (0, 1, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CorruptFileError, match=r"policy\.npz"):
            PolicyAgent.load(tmp_path)
    for place in range(0, len(data), 97):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(CorruptFileError, match=r"policy\.npz"):
            PolicyAgent.load(tmp_path)
    path.unlink()
    with pytest.raises(CorruptFileError, match=r"policy\.npz.*missing"):
        PolicyAgent.load(tmp_path)


def test_a_damaged_description_is_named(tmp_path):
    write_policy(tmp_path, make_policy())
    path = tmp_path / "policy.json"
    text = path.read_text()
    document = json.loads(text)
    for size in (0, 1, len(text) // 2, len(text) - 3):
        path.write_text(text[:size])
        with pytest.raises(CorruptFileError, match=r"policy\.json"):
            PolicyAgent.load(tmp_path)
    for key in document:
        path.write_text(json.dumps({name: document[name] for name in document if name != key}))
        with pytest.raises(CorruptFileError, match=r"policy\.(json|npz)"):
            PolicyAgent.load(tmp_path)
    path.write_text("[1, 2]")
    with pytest.raises(CorruptFileError, match="not an oncogym policy"):
        PolicyAgent.load(tmp_path)
    path.write_text(text.replace('"version": 2', '"version": 3'))
    with pytest.raises(CorruptFileError, match="policy format 3"):
        PolicyAgent.load(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="holds no policy"):
        PolicyAgent.load(tmp_path)


def test_nothing_is_unpickled(tmp_path):
    """A tensor file with a pickled object is refused, even with a fitting checksum."""
    import hashlib

    write_policy(tmp_path, make_policy())
    with np.load(tmp_path / "policy.npz") as table:
        tensors = {**table, "log_std": np.array([{"a": 1}], dtype=object)}
    np.savez(tmp_path / "policy.npz", **tensors)
    document = json.loads((tmp_path / "policy.json").read_text())
    data = (tmp_path / "policy.npz").read_bytes()
    document["tensors"]["sha256"] = hashlib.sha256(data).hexdigest()
    (tmp_path / "policy.json").write_text(json.dumps(document))
    with pytest.raises(CorruptFileError, match="log_std has values of type object"):
        PolicyAgent.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "sine"}, "activation"),
        ({"biases": ()}, "weight matrices"),
        ({"log_std": np.zeros(3, np.float32)}, "components"),
        ({"mean": None}, "come together"),
        ({"mean": np.zeros(2), "variance": np.ones(2)}, "statistics"),
        ({"variance": np.full(7, -1.0)}, "positive"),
        ({"variance": np.full(7, np.nan)}, "not finite"),
    ],
)
def test_an_inconsistent_policy_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make_policy(), **change)


@pytest.mark.slow
def test_loading_and_acting_needs_no_torch(tmp_path):
    write_policy(tmp_path, make_policy())
    code = (
        "import sys; sys.modules.update(torch=None, stable_baselines3=None)\n"
        "import numpy as np\n"
        "from oncogym.agents.learned import PolicyAgent\n"
        f"agent = PolicyAgent.load({str(tmp_path)!r}, {ENV!r})\n"
        "print(agent.predict(np.zeros((2, 7), np.float32), deterministic=True)[0].shape)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "(2, 1)"
