"""Training runs: what they leave behind, how they go on after an interruption, what they refuse."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from killed_command import kill_when

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")

from oncogym.agents.learned import PolicyAgent  # noqa: E402
from oncogym.agents.rollout import rollout  # noqa: E402
from oncogym.cli import main as cli  # noqa: E402
from oncogym.core import checkpoint as checkpoints  # noqa: E402
from oncogym.core.errors import UnknownNameError  # noqa: E402
from oncogym.core.files import CorruptFileError, OutputFolderError, read_json  # noqa: E402
from oncogym.envs import find_variant, treatments  # noqa: E402
from oncogym.training.algorithms import algorithm_names, find_algorithm  # noqa: E402
from oncogym.training.evaluator import FIRST_SEED, Evaluator  # noqa: E402
from oncogym.training.runs import (  # noqa: E402
    EvaluationError,
    RunFolderError,
    SettingsMismatchError,
    resume,
    train,
)
from oncogym.training.settings import (  # noqa: E402
    FEW_UPDATES,
    make_settings,
    read_hyperparameters,
    read_table,
)

ENV = "oncogym/ChemoDosing-v0"
COHORT = "oncogym/ChemoDosingCohort-v0"
KEYS = np.arange(256, dtype=np.uint64) + np.uint64(FIRST_SEED)
PPO = "ppo"
TINY = {"n_steps": 10, "batch_size": 40, "n_epochs": 2, "layers": [8], "evaluations": 4}
# 8 lanes, 10 decisions each: 80 decisions an update, 13 updates for 1000 decisions.
SMALL = {"steps": 1000, "lanes": 8, "seed": 3, "hyperparameters": TINY}
TOTAL = 1040


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run, to be copied before it is changed."""
    return train(COHORT, PPO, out=tmp_path_factory.mktemp("run") / "a", **SMALL)


@pytest.fixture
def interrupted(finished, tmp_path):
    """The same run as a kill after its last checkpoint but one would have left it."""
    folder = tmp_path / "interrupted"
    shutil.copytree(finished.folder, folder)
    checkpoints.list_checkpoints(folder / "checkpoints")[0].unlink()
    (folder / "result.json").unlink()
    return folder


def newest(folder: Path) -> Path:
    return checkpoints.list_checkpoints(folder / "checkpoints")[0]


def test_a_run_leaves_everything_behind(finished):
    assert finished.steps == TOTAL
    assert {path.name for path in finished.folder.iterdir()} == {
        "checkpoints",
        "config.json",
        "policy",
        "progress.csv",
        "result.json",
        "tensorboard",
    }
    config = read_json(finished.folder / "config.json")
    assert config["settings"]["problem"]["env"] == COHORT
    assert config["settings"]["hyperparameters"]["layers"] == [8]
    assert config["seeds"] == 3
    assert config["versions"]["torch"] == version("torch")
    assert config["command_line"]
    result = read_json(finished.folder / "result.json")
    assert result["steps"] == TOTAL
    assert result["best_return"] == finished.best_return
    files = checkpoints.list_checkpoints(finished.folder / "checkpoints")
    assert len(files) == checkpoints.KEEP
    assert files[0].name == f"checkpoint_{TOTAL:012d}.npz"


def test_scalars_cover_returns_terms_costs_and_outcome(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    task = find_variant(COHORT)[0].task
    wanted = {"episode/return", "episode/success_rate", "eval/return", "eval/success_rate"}
    wanted |= {f"reward_terms/{name}" for name in task.reward_terms}
    wanted |= {f"costs/{name}" for name in task.costs}
    wanted |= {f"{group}/{m.name}" for group in ("outcome", "eval") for m in task.metrics}
    wanted |= {"train/value_loss", "train/std", "time/fps"}
    board = EventAccumulator(str(finished.folder / "tensorboard"))
    board.Reload()
    assert wanted <= set(board.Tags()["scalars"])
    table = pd.read_csv(finished.folder / "progress.csv")
    assert wanted <= set(table.columns)
    assert table["steps"].tolist() == list(range(80, TOTAL + 1, 80))
    shown = {event.step: event.value for event in board.Scalars("eval/return")}
    evaluated = table.dropna(subset=["eval/return"]).set_index("steps")["eval/return"]
    assert shown == pytest.approx(evaluated.to_dict(), rel=1e-6)
    assert len(evaluated) == 4
    # 13 updates of 10 decisions: each lane has ended an episode by then.
    assert table["episode/length"].dropna().between(1, 60).all()
    weights = find_variant(COHORT)[0].task(1).reward_weights
    total = sum(weights[name] * table[f"reward_terms/{name}"] for name in task.reward_terms)
    assert np.allclose(total.dropna(), table["episode/return"].dropna())


def test_the_best_policy_is_kept_and_does_what_was_measured(finished):
    evaluated = pd.read_csv(finished.folder / "progress.csv")["eval/return"].dropna()
    assert finished.best_return == pytest.approx(evaluated.max(), abs=1e-12)
    treatment, _ = find_variant(COHORT)
    patients = treatment.cohort("validation").patients(256)
    task = treatment.task(256, observation="measurable")
    # The random keys of evaluations in training: readings have errors.
    result = rollout(task, finished.agent(), patients, KEYS)
    assert result.returns.mean() == pytest.approx(finished.best_return, abs=1e-9)
    about = finished.agent().policy.about
    assert (about["steps"], about["seed"]) == (finished.best_steps, 3)
    seen = {"observation": "measurable"}
    assert PolicyAgent.load(finished.folder, ENV, seen).policy.env_id == COHORT


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_evaluation_that_is_not_finite_chooses_no_policy(wrong, tmp_path, monkeypatch):
    own, broken = Evaluator.scalars, []

    def scalars(self, result):
        found = own(self, result)
        broken.append(len(broken) != 1)  # all but the second
        return {**found, "return": wrong} if broken[-1] else found

    monkeypatch.setattr(Evaluator, "scalars", scalars)
    result = train(COHORT, PPO, out=tmp_path / "a", **SMALL)
    assert np.isfinite(result.best_return)
    assert 0 < result.best_steps < result.steps
    monkeypatch.setattr(Evaluator, "scalars", lambda *a: {**own(*a), "return": wrong})
    with pytest.raises(EvaluationError, match=f"the last one {wrong}: there is no best policy"):
        train(COHORT, PPO, out=tmp_path / "b", **SMALL)


@pytest.mark.slow
def test_a_seed_decides_the_run(finished, tmp_path):
    before = np.random.get_state()[1].copy(), torch.get_rng_state(), random.getstate()  # noqa: NPY002
    again = train(COHORT, PPO, out=tmp_path / "again", **SMALL)
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.get_rng_state())
    assert before[2] == random.getstate()
    other = train(COHORT, PPO, out=tmp_path / "other", **{**SMALL, "seed": 4})
    bytes_of = [(r.policy / "policy.npz").read_bytes() for r in (finished, again, other)]
    assert bytes_of[0] == bytes_of[1] != bytes_of[2]


def learner_of(env_id=COHORT, algorithm=PPO, **given):
    settings = make_settings(env_id, algorithm, **given)
    return settings.method.build(
        settings.problem,
        settings.hyperparameters,
        lanes=settings.lanes,
        seed=settings.seed,
        steps=settings.steps,
        start=0,
    )


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_the_amount_of_a_run_is_told_whatever_its_hyperparameters_are(algorithm):
    settings = make_settings("ChemoDosing-v0", algorithm, steps=4000, lanes=10)
    each = settings.steps_per_update // 10
    assert settings.amount == (
        f"{settings.updates} updates of {10 * each} decisions (10 lanes, {each} decisions each)"
    )
    assert settings.updates * 10 * each >= 4000 > (settings.updates - 1) * 10 * each
    short = make_settings("ChemoDosing-v0", algorithm, steps=20, lanes=10)
    assert f"20 steps make only {short.amount}" in short.warning


def test_neighbouring_seeds_share_no_patients():
    drawn = []
    for seed in (0, 1):
        lanes = learner_of(seed=seed, lanes=40, hyperparameters=TINY).model.env
        lanes.reset()
        drawn.append({tuple(row) for row in lanes.get_attr("patients")[0:40]})
    assert len(drawn[0]) == 40
    assert not drawn[0] & drawn[1]


def test_a_checkpoint_restores_everything(finished):
    saved = checkpoints.read_checkpoint(newest(finished.folder))
    learner = learner_of(steps=1000, lanes=8, seed=9, hyperparameters=TINY)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    learner.restore(saved.steps, saved.state["learner"], dict(saved.arrays))
    state, arrays = learner.save()
    np.random.set_state(before[1])  # noqa: NPY002
    torch.set_rng_state(before[2])
    assert learner.steps == TOTAL
    for name, array in arrays.items():
        assert array.tobytes() == saved.arrays[name].tobytes(), name
    assert json.loads(json.dumps(state)) == saved.state["learner"]
    kinds = {name.split("/")[0] for name in saved.arrays}
    assert kinds == {
        "best",
        "lanes",
        "observation_statistics",
        "parameters",
        "random",
        "return_statistics",
        "seen",
        "totals",
    }


def test_an_exported_policy_does_not_go_on_learning():
    learner = learner_of(ENV, lanes=4, hyperparameters=TINY)
    kept = learner.export({}).tensors()
    before = {name: array.copy() for name, array in kept.items()}
    with torch.no_grad():
        for parameter in learner.model.policy.parameters():
            parameter.add_(1.0)
    learner.model.env.reset()
    assert all(np.array_equal(kept[name], before[name]) for name in kept)


def test_an_interrupted_run_goes_on_to_the_same_step(interrupted, finished):
    start = checkpoints.read_checkpoint(newest(interrupted)).steps
    result = resume(interrupted, env_id=COHORT, **SMALL)
    assert result.resumed_from == start < TOTAL
    assert result.steps == TOTAL
    assert result.damaged == ()
    table = pd.read_csv(interrupted / "progress.csv")
    assert table["steps"].tolist() == list(range(80, TOTAL + 1, 80))
    before = pd.read_csv(finished.folder / "progress.csv")
    kept = table["steps"] <= start
    pd.testing.assert_frame_equal(table[kept], before[kept])
    assert read_json(interrupted / "config.json")["resumed"][0]["from_step"] == start


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env_id", "algorithm", "settings"),
    [
        (COHORT, PPO, SMALL),
        ("oncogym/IMPTBeamWeighting-v0", PPO, {**SMALL, "steps": 480}),
        (COHORT, "sac", {"steps": 320, "lanes": 4, "seed": 1, "hyperparameters": {
            "learning_starts": 40, "batch_size": 16, "layers": [8], "evaluations": 4}}),
    ],
)  # fmt: skip
def test_a_resumed_run_equals_an_undisturbed_one(env_id, algorithm, settings, tmp_path):
    whole = train(env_id, algorithm, out=tmp_path / "whole", **settings)
    for left in (1, 2):
        folder = tmp_path / f"interrupted {left}"
        shutil.copytree(whole.folder, folder)
        for path in checkpoints.list_checkpoints(folder / "checkpoints")[:left]:
            path.unlink()
        (folder / "result.json").unlink()
        assert resume(folder).resumed_from < whole.steps
        one, two = (newest(place) for place in (whole.folder, folder))
        first, second = (checkpoints.read_checkpoint(path) for path in (one, two))
        assert first.arrays.keys() == second.arrays.keys()
        for name, array in first.arrays.items():
            assert array.tobytes() == second.arrays[name].tobytes(), name
        tables = [
            pd.read_csv(place / "progress.csv", dtype=str) for place in (whole.folder, folder)
        ]
        clocks = [name for name in tables[0] if name.startswith("time/")]
        pd.testing.assert_frame_equal(
            *(table.drop(columns=clocks) for table in tables), check_exact=True, check_like=True
        )


def test_a_finished_run_is_not_trained_further(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    result = resume(folder)
    assert result.steps == result.resumed_from == TOTAL
    assert result.best_return == finished.best_return
    assert result.last_evaluation == finished.last_evaluation
    assert (folder / "policy/policy.npz").read_bytes() == (
        finished.policy / "policy.npz"
    ).read_bytes()


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_begins_anew(interrupted):
    for path in checkpoints.list_checkpoints(interrupted / "checkpoints"):
        path.unlink()
    result = resume(interrupted)
    assert (result.resumed_from, result.steps) == (None, TOTAL)


@pytest.mark.parametrize("damage", ["truncated", "empty", "altered"])
def test_a_damaged_checkpoint_is_named_and_passed_over(interrupted, damage):
    path = newest(interrupted)
    good = checkpoints.list_checkpoints(interrupted / "checkpoints")[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes({"truncated": data[: len(data) // 3], "empty": b"", "altered": data}[damage])
    with pytest.warns(RuntimeWarning, match=path.name):
        result = resume(interrupted)
    assert result.steps == TOTAL
    assert result.resumed_from == checkpoints.read_checkpoint(good).steps
    assert len(result.damaged) == 1
    assert path.name in result.damaged[0]


def test_only_damaged_checkpoints_are_an_error(interrupted):
    files = checkpoints.list_checkpoints(interrupted / "checkpoints")
    for path in files:
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CorruptFileError) as error:
        resume(interrupted)
    assert all(path.name in str(error.value) for path in files)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"steps": 2000}, "steps was 1000, now 2000"),
        ({"seed": 0}, "seed was 3, now 0"),
        ({"lanes": 16}, "lanes was 8, now 16"),
        (
            {"env_id": ENV},
            "env_id was 'oncogym/ChemoDosingCohort-v0', now 'oncogym/ChemoDosing-v0'",
        ),
        ({"hyperparameters": {"gamma": 0.9}}, r"hyperparameters: gamma was 1.0, now 0.9"),
        ({"options": {"horizon": 30}}, "options: horizon was None, now 30"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(finished, asked, message):
    with pytest.raises(SettingsMismatchError, match=message):
        resume(finished.folder, **asked)


@pytest.mark.slow
def test_a_killed_run_ends_as_if_nothing_had_happened(tmp_path):
    """SIGKILL at a random moment after the first checkpoint; nothing on disk may be broken."""
    folder = tmp_path / "killed"
    arguments = {**SMALL, "steps": 12_000, "checkpoint_every": 400}
    code = (
        "from oncogym.training.runs import train\n"
        f"train({COHORT!r}, {PPO!r}, out={str(folder)!r}, **{arguments!r})"
    )
    kill_when(
        lambda: checkpoints.list_checkpoints(folder / "checkpoints"),
        [sys.executable, "-c", code],
        later=random.uniform(0.0, 0.6),
    )
    left = checkpoints.list_checkpoints(folder / "checkpoints")
    steps = [checkpoints.read_checkpoint(path).steps for path in left]
    assert not (folder / "result.json").exists()
    result = resume(folder)
    assert result.resumed_from == max(steps)
    assert result.damaged == ()
    assert result.steps == 12_000
    assert pd.read_csv(folder / "progress.csv")["steps"].tolist() == list(range(80, 12_001, 80))
    assert PolicyAgent.load(folder, COHORT).policy.about["evaluation_return"] == result.best_return


def test_what_a_run_refuses_before_any_work(tmp_path):
    out = tmp_path / "run"
    for arguments, message in (
        ({"hyperparameters": {"learning_rat": 1}}, "did you mean 'learning_rate'"),
        ({"options": {"horizn": 30}}, "did you mean 'horizon'"),
        ({"options": {"cohort": "populatoin"}}, "did you mean 'population'"),
    ):
        with pytest.raises(UnknownNameError, match=message):
            train(ENV, PPO, out=out, **arguments)
    with pytest.raises(UnknownNameError, match=f"did you mean '{ENV}'"):
        train("oncogym/ChemoDosin-v0", PPO, out=out)
    for arguments, message in (
        ({"steps": 0}, "steps is 0"),
        ({"lanes": 2.5}, r"lanes is 2\.5"),
        ({"seed": -1}, "seed is -1"),
        ({"options": {"horizon": -3}}, "horizon is -3"),
        ({"options": {"patient": {"ec5": 1.0}}}, "ec5"),
        ({"hyperparameters": {"gamma": 1.5}}, r"gamma is 1\.5"),
        ({"hyperparameters": {"n_epochs": "many"}}, "n_epochs is 'many'"),
        ({"hyperparameters": {"layers": []}}, "layers is"),
        ({"hyperparameters": {"rescale_actions": "yes"}}, "rescale_actions is 'yes'"),
        ({"hyperparameters": {"activation": "tanhh"}}, "did you mean 'tanh'"),
    ):
        with pytest.raises(ValueError, match=message):
            train(ENV, PPO, out=out, **arguments)
    assert not out.exists()
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OutputFolderError, match=f"{file}: it is a file"):
        train(ENV, PPO, out=file)
    with pytest.raises(RunFolderError, match="holds no run to resume"):
        resume(tmp_path)


def test_a_run_folder_is_used_once(finished):
    with pytest.raises(RunFolderError, match="holds a run already"):
        train(COHORT, PPO, out=finished.folder, **SMALL)


def test_a_damaged_configuration_is_named(interrupted):
    path = interrupted / "config.json"
    text = path.read_text()
    for damaged in (text[: len(text) // 2], "{}", text.replace('"lanes"', '"lane"')):
        path.write_text(damaged)
        with pytest.raises(CorruptFileError, match=r"config\.json"):
            resume(interrupted)


def test_a_damaged_table_is_named(interrupted):
    path = interrupted / "progress.csv"
    for damaged in ("", "a,b\n1,2\n", "steps\nx\n"):
        path.write_text(damaged)
        with pytest.raises(CorruptFileError, match=r"progress\.csv"):
            resume(interrupted)


@pytest.mark.slow
def test_a_fixed_patient_and_a_time_limit(tmp_path):
    options = {"patient": {"ec50": 2.0}, "max_episode_steps": 20, "horizon": 30}
    result = train(ENV, PPO, out=tmp_path, options=options, **SMALL)
    policy = result.agent().policy
    assert policy.options == {"horizon": 30}
    assert policy.about["evaluation_cohort"] == "patient"
    table = pd.read_csv(tmp_path / "progress.csv")
    assert table["episode/length"].max() == 20
    assert result.last_evaluation["length"] == 30


@pytest.mark.parametrize("algorithm", algorithm_names())
def test_every_environment_has_hyperparameters(algorithm):
    table = read_table(algorithm)
    ids = {variant.id for treatment in treatments().values() for variant in treatment.variants}
    assert set(table) - {"default", "sb3"} <= ids
    for entry in table.values():
        assert set(entry) <= set(table["default"])
    for env_id in ids:
        settings = make_settings(env_id, algorithm)
        assert settings.updates >= 20
        if algorithm == PPO:
            assert settings.steps_per_update % settings.hyperparameters.batch_size == 0


@pytest.mark.slow
def test_the_command_line_trains_and_resumes(tmp_path, capsys):
    out = tmp_path / "run"
    pairs = [f"--set={key}={json.dumps(value)}" for key, value in TINY.items()]
    common = ["train", ENV, "--steps", "400", "--lanes", "8", "--seed", "1", *pairs]
    assert cli.main([*common, "--out", str(out), "--cohort", "population", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["steps"] == 400
    assert document["policy"] == str(out / "policy")
    settings = read_json(out / "config.json")["settings"]
    assert settings["problem"]["cohort"] == "population"
    newest(out).unlink()
    assert cli.main(["train", "--resume", str(out)]) == 0
    printed = capsys.readouterr()
    assert "400 steps" in printed.out
    assert "400/400" in printed.err
    for arguments, message in (
        (["train", "--resume", str(out), "--seed", "2"], "seed was 1, now 2"),
        (["train", ENV, "--out", str(out)], "holds a run already"),
        (["train", "ChemoDosin-v0"], "did you mean"),
        (["train"], "name an environment"),
        (["train", ENV, "--set", "gamma"], "KEY=VALUE"),
        (["train", ENV, "--out", str(out / "config.json")], "not a folder"),
    ):
        assert cli.main(arguments) == 2
        assert message in capsys.readouterr().err


def test_a_missing_extra_is_named(monkeypatch, capsys, tmp_path):
    for name in ("oncogym.training.runs", "torch", "stable_baselines3"):
        monkeypatch.setitem(sys.modules, name, None)
    assert cli.main(["train", ENV, "--out", str(tmp_path)]) == 2
    assert "oncogym[train]" in capsys.readouterr().err


@pytest.mark.slow
def test_ppo_comes_close_to_the_best_plan(tmp_path):
    """98 % of the return of the best open-loop plan, 13.88, without toxicity over the limit."""
    result = train(ENV, PPO, out=tmp_path, seed=0, steps=400_000)
    assert result.best_return >= 0.98 * 13.88
    treatment, _ = find_variant(ENV)
    course = rollout(treatment.task(1), result.agent(), treatment.cohort("nominal").patients(1))
    assert course.costs.sum() == 0.0


def test_stable_baselines_own_defaults_are_a_base():
    import inspect

    settings = make_settings("ChemoDosing-v0", PPO, base="sb3", hyperparameters={"n_steps": 1024})
    chosen = dataclasses.asdict(settings.hyperparameters)
    theirs = inspect.signature(sb3.PPO).parameters
    same = ("batch_size", "n_epochs", "learning_rate", "gamma", "gae_lambda", "clip_range",
            "ent_coef", "vf_coef", "max_grad_norm")  # fmt: skip
    assert {name: chosen[name] for name in same} == {name: theirs[name].default for name in same}
    assert (settings.lanes, settings.steps, chosen["n_steps"]) == (1, 1_000_000, 1024)
    assert not chosen["normalize_observation"]
    with pytest.raises(ValueError, match="did you mean 'sb3'"):
        make_settings("ChemoDosing-v0", PPO, base="sb33")


# Soft actor-critic: 4 lanes, updates from the 40th decision on, pauses every 4 decisions.
REPLAY = {"learning_starts": 40, "batch_size": 16, "layers": [8], "evaluations": 4}
OFF_POLICY = {"steps": 320, "lanes": 4, "seed": 1, "hyperparameters": REPLAY}


@pytest.fixture(scope="module", params=[COHORT, "oncogym/GlioblastomaRadiationCohort-v0"])
def replaying(request, tmp_path_factory):
    """A short run of an algorithm that replays decisions."""
    return train(request.param, "sac", out=tmp_path_factory.mktemp("sac") / "a", **OFF_POLICY)


def test_an_off_policy_run_is_evaluated_and_loads_without_torch(replaying):
    assert replaying.steps == 320
    policy = replaying.agent().policy
    assert (policy.squash, policy.rescale_actions, policy.log_std) == (True, True, None)
    assert policy.about["algorithm"] == "sac"
    treatment, _ = find_variant(replaying.env_id)
    patients = treatment.cohort("validation").patients(256)
    task = treatment.task(256, **policy.options)
    result = rollout(task, replaying.agent(), patients, KEYS)
    assert result.returns.mean() == pytest.approx(replaying.best_return, abs=1e-9)


def test_an_off_policy_run_goes_on_from_its_checkpoint(replaying, tmp_path):
    folder = tmp_path / "interrupted"
    shutil.copytree(replaying.folder, folder)
    newest(folder).unlink()
    saved = checkpoints.read_checkpoint(newest(folder))
    assert saved.state["learner"]["replayed"]["pos"] == saved.steps // 4
    (folder / "result.json").unlink()
    result = resume(folder)
    assert (result.resumed_from, result.steps) == (saved.steps, 320)


def test_an_exported_actor_acts_like_the_original():
    learner = learner_of(COHORT, "sac", **OFF_POLICY)
    with torch.no_grad():
        for parameter in learner.model.policy.parameters():
            parameter.normal_(0.0, 0.4)
    lanes = learner.model.env
    lanes.reset()
    rng = np.random.default_rng(0)
    for _ in range(30):
        lanes.step(2.0 * rng.random((4, 1)).astype(np.float32) - 1.0)
    seen = rng.normal(1.0, 2.0, (200, 7)).astype(np.float32)
    normal = lanes.normalize_obs(seen)
    expected, _ = learner.model.predict(normal, deterministic=True)
    agent = PolicyAgent(learner.export({}))
    found, _ = agent.predict(seen, deterministic=True)
    np.testing.assert_allclose(found, 0.5 * (expected + 1.0), rtol=0.0, atol=1e-5)
    _, log_std, _ = learner.model.actor.get_action_dist_params(torch.as_tensor(normal))
    drawn = np.stack([agent.predict(seen)[0] for _ in range(400)])
    raw = np.arctanh(np.clip(2.0 * drawn.astype(np.float64) - 1.0, -1 + 1e-9, 1 - 1e-9))
    inside = np.abs(expected[:, 0]) < 0.9
    ratio = raw.std(axis=0)[inside, 0] / log_std.detach().exp().numpy()[inside, 0]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.1)


def test_an_unknown_algorithm_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'ppo'"):
        find_algorithm("pppo")
    assert {"ppo", "sac"} <= set(algorithm_names())


def test_short_runs_make_small_updates():
    """Tuned runs stay what they were; much shorter ones get 50 updates instead of one."""
    short = make_settings(COHORT, PPO, steps=20_000)
    assert (short.lanes, short.hyperparameters.n_steps, short.updates) == (8, 30, 84)
    for env_id in [v.id for t in treatments().values() for v in t.variants]:
        if not env_id.startswith("oncogym/"):
            continue
        method = find_algorithm(PPO)
        tuned, values = make_settings(env_id, PPO), read_hyperparameters(method, env_id)
        assert tuned.updates >= FEW_UPDATES
        assert (tuned.lanes, tuned.steps) == (values["lanes"], values["steps"])
    # What the benchmark's quick preset trains has 40 updates, and keeps them.
    quick = make_settings("EMT6RoFractionationCohort-v0", PPO, steps=40_000)
    assert (quick.lanes, quick.hyperparameters.n_steps, quick.updates) == (64, 16, 40)
    # What a user sets stays.
    assert make_settings(COHORT, PPO, steps=20_000, lanes=512).lanes == 512


def test_a_run_says_how_many_updates_it_has_and_warns_of_few(tmp_path, capsys):
    with pytest.warns(RuntimeWarning, match="a run of 2 updates of 80 decisions hardly learns"):
        train(ENV, PPO, out=tmp_path / "a", progress=True, **{**SMALL, "steps": 160})
    assert "2 updates of 80 decisions" in capsys.readouterr().err


@pytest.mark.slow
def test_a_full_disk_costs_no_more_than_the_work_since_the_last_checkpoint(tmp_path, monkeypatch):
    replace, count = os.replace, []

    def full(source, target):
        count.append(target)
        if len(count) > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left") as found:
        train(COHORT, PPO, out=tmp_path / "a", **SMALL)
    assert found.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert not list((tmp_path / "a").rglob("*.tmp"))
    assert not (tmp_path / "a" / "run.lock").exists()
    result = resume(tmp_path / "a")
    assert result.steps == TOTAL
    assert result.resumed_from
    assert result.damaged == ()


@pytest.mark.slow
def test_training_without_standard_error(tmp_path):
    command = f"exec {sys.executable} -m oncogym.cli.main train {ENV} --steps 1000 --out run"
    done = subprocess.run(
        ["/bin/sh", "-c", f"{command} 2>&-"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert (tmp_path / "run" / "result.json").is_file()


def test_a_run_in_use_is_left_alone(interrupted, tmp_path):
    from oncogym.core.run_lock import RunLockedError, hold
    from oncogym.evaluation.benchmark.seed_sweep import train_seeds
    from oncogym.evaluation.harness import resolve

    found = []

    def others():
        for work in (
            lambda: resume(interrupted),
            lambda: train(COHORT, PPO, out=interrupted, **SMALL),
            lambda: train_seeds(resolve(COHORT, patients=1), tmp_path, PPO, [3], steps=1000),
        ):
            with pytest.raises(RunLockedError, match="another thread"):
                work()
            found.append(work)

    live = tmp_path / "ppo-3"
    interrupted.rename(live)
    interrupted.symlink_to(live)
    before = sorted(path.name for path in live.rglob("*"))
    with hold(live):
        thread = threading.Thread(target=others)
        thread.start()
        thread.join()
    assert len(found) == 3
    assert sorted(path.name for path in live.rglob("*")) == before


def test_a_seed_sweep_removes_nothing_but_runs(tmp_path):
    from oncogym.evaluation.benchmark.seed_sweep import train_seeds
    from oncogym.evaluation.harness import resolve

    place = tmp_path / "ppo-1"
    (place / "policy").mkdir(parents=True)
    (place / "config.json").write_text("{}")
    (place / "policy" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputFolderError, match="a training run would write over it"):
        train_seeds(resolve(COHORT, patients=1), tmp_path, PPO, [1], steps=1000)
    assert (place / "policy" / "thesis.tex").read_text() == "years of work"
    assert (place / "config.json").exists()
