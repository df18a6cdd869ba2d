"""The test whether plain Stable-Baselines3 passes the clinical protocol."""

from __future__ import annotations

import gymnasium
import numpy as np
import pandas as pd
import pytest

from oncogym.agents.clinical import clinical_agent
from oncogym.envs.problem import Problem
from oncogym.evaluation import plain_sb3
from oncogym.evaluation.harness import evaluate
from oncogym.evaluation.statistics import hierarchical_difference

pytest.importorskip("stable_baselines3")

ENV = "oncogym/ChemoDosingCohort-v0"


def result(seed, returns, algorithm="PPO"):
    return {
        "env": ENV, "algorithm": algorithm, "seed": seed, "patients": len(returns),
        "return": returns, "success": [True] * len(returns), "cost": [0.5] * len(returns),
        "decisions": 100, "seconds": 2.0,
        "versions": {"oncogym": "1.2", "stable-baselines3": "3.4"},
    }  # fmt: skip


def protocol(returns):
    return {
        **result(0, returns), "algorithm": None, "rival": "weekly", "cohort": "held_out"
    }  # fmt: skip


def test_a_row_is_paired_with_the_protocol_and_passes_above_it():
    clinic = {k: v for k, v in protocol([1.0, 5.0, 9.0]).items() if k != "algorithm"}
    runs = [result(0, [2.0, 6.0, 10.0]), result(1, [1.0, 2.0, 3.0])]
    table = plain_sb3.tabulate([clinic, *runs]).set_index("seed")
    assert table["difference"].tolist() == pytest.approx([1.0, -3.0, -1.0])
    assert table["passes"].tolist() == [True, False, False]
    # Every patient gains 1: without another training seed there is nothing to be unsure of.
    assert table.loc["0", ["low", "high"]].tolist() == pytest.approx([1.0, 1.0])
    both = hierarchical_difference([run["return"] for run in runs], clinic["return"])
    assert table.loc["all", ["low", "high"]].tolist() == [both.low, both.high]
    assert table["protocol_return"].tolist() == pytest.approx([5.0] * 3)
    assert table["seeds"].tolist() == [1, 1, 2]
    assert (table["version"] == "1.2").all()


@pytest.mark.slow
def test_the_command_trains_plain_models_and_scores_them(tmp_path, capsys):
    out = tmp_path / "study"
    arguments = ["--envs", "ChemoDosingCohort-v0", "--algos", "sac", "--seeds", "2"]
    arguments += ["--steps", "120", "--patients", "4", "--out", str(out)]
    assert plain_sb3.main(arguments) == 0
    table = pd.read_csv(out / plain_sb3.TABLE)
    assert table["seed"].tolist() == ["0", "1", "all"]
    assert (table["decisions"] == 120).all()
    assert (table["env"] == ENV).all()

    # The first seed by hand: SB3's own defaults on what gymnasium.make gives.
    import torch
    from stable_baselines3 import SAC
    from stable_baselines3.common.vec_env import DummyVecEnv

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = SAC("MlpPolicy", DummyVecEnv([lambda: gymnasium.make(ENV)] * 4), seed=0).learn(120)
    torch.set_num_threads(threads)
    problem = Problem.resolve(ENV)
    usual = problem.variant.baseline
    agents = {"sac": model, usual: clinical_agent(problem.treatment, problem.task(1), usual)}
    returns = evaluate(ENV, agents, patients=4).groupby("agent")["return"].mean()
    row = table.iloc[0]
    assert row["return"] == pytest.approx(returns["sac"], abs=1e-5)
    assert row["protocol"] == usual
    assert row["protocol_return"] == pytest.approx(returns[usual], abs=1e-5)
    assert row["difference"] == pytest.approx(returns["sac"] - returns[usual], abs=2e-5)

    # Again: nothing is trained, the table is the same to the last digit.
    text = (out / plain_sb3.TABLE).read_bytes()
    (out / plain_sb3.TABLE).unlink()
    capsys.readouterr()
    assert plain_sb3.main(arguments) == 0
    assert "3 parts, 3 of them done already" in capsys.readouterr().err
    assert (out / plain_sb3.TABLE).read_bytes() == text


def test_training_leaves_the_random_numbers_of_the_process_alone():
    from oncogym.training.plain import learn_plainly

    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    model = learn_plainly(ENV, "SAC", steps=8, seed=3)
    assert np.random.random() == expected  # noqa: NPY002
    assert model.num_timesteps == 8
    assert model.get_env().num_envs == 4


def test_without_the_extra_the_command_says_what_to_install(tmp_path, capsys, monkeypatch):
    from oncogym.evaluation import study_folder

    monkeypatch.setattr(study_folder.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        plain_sb3.main(["--envs", ENV, "--out", str(tmp_path / "study")])
    assert 'pip install "oncogym[train]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--envs", "ChemoDosage-v0"], "ChemoDos"),
        (["--envs", ENV, ENV], "each once"),
        (["--envs", ENV, "--seeds", "0"], "seeds"),
        (["--envs", ENV, "--steps", "0"], "steps"),
        (["--envs", ENV, "--patients", "1"], "patients"),
        (["--envs", ENV, "--algos", "ppoo"], "PPO"),
        (["--envs", ENV, "--workers", "0"], "workers"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as refused:
        plain_sb3.main([*arguments, "--out", str(tmp_path / "study")])
    assert refused.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "study" / "parts").exists()
