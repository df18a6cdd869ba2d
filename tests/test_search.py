"""The recorded search of hyper-parameters."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from oncogym.training.search import combinations, ranking, read_grid, search

ENV = "oncogym/ChemoDosing-v0"
TINY = {"n_steps": [2, 4], "layers": [[8], [8, 8]]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("search")
    grid = {**TINY, "lanes": [64], "batch_size": [64], "evaluations": [1]}
    search(ENV, grid, place, algorithm="ppo", steps=512, seeds=2)
    return place, grid


def test_every_combination_is_trained_with_every_seed(folder):
    place, grid = folder
    table = pd.read_csv(place / "search.csv")
    assert len(table) == 8
    assert set(table["seed"]) == {0, 1}
    assert table["best_return"].notna().all()
    assert all((place / name / "policy").is_dir() for name in table["folder"])
    assert table["folder"].is_unique
    best = ranking(search(ENV, grid, place, algorithm="ppo", steps=512, seeds=2), list(grid))
    assert list(best["runs"]) == [2, 2, 2, 2]
    assert best["mean"].is_monotonic_decreasing


def test_finished_runs_are_not_repeated_and_others_resume(folder, monkeypatch):
    place, grid = folder
    monkeypatch.setattr("oncogym.training.search.train", None)
    again = search(ENV, grid, place, algorithm="ppo", steps=512, seeds=2)
    kept = pd.read_csv(place / "search.csv")
    assert list(again["best_return"]) == pytest.approx(list(kept["best_return"]))
    name = kept["folder"].iloc[0]
    (place / name / "result.json").unlink()
    assert len(search(ENV, grid, place, algorithm="ppo", steps=512, seeds=2)) == 8
    with pytest.raises(ValueError, match="another search"):
        search(ENV, grid, place, algorithm="ppo", steps=1024, seeds=2)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_run_without_a_finite_return_ranks_last(wrong):
    rows = [(0.1, 1.0), (0.1, 2.0), (0.2, wrong), (0.2, 9.0), (0.3, 0.5), (0.3, 0.5)]
    table = pd.DataFrame(rows, columns=["gamma", "best_return"]).assign(seconds=1.0)
    ranked = ranking(table, ["gamma"])
    assert ranked["gamma"].tolist() == ["0.1", "0.3", "0.2"]
    assert ranked["mean"].tolist() == [1.5, 0.5, -np.inf]
    assert ranking(table, [])["mean"].tolist() == [-np.inf]


def test_bad_values_start_no_work(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'learning_rate'"):
        search(ENV, {"learning_rat": [0.1]}, tmp_path / "a", algorithm="ppo")
    with pytest.raises(ValueError, match="gamma"):
        search(ENV, {"gamma": [0.9, 7.0]}, tmp_path / "b", algorithm="ppo")
    with pytest.raises(ValueError, match="seeds is 0"):
        search(ENV, {}, tmp_path / "c", algorithm="ppo", seeds=0)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="NAME=VALUE"):
        read_grid(["gamma"])
    assert read_grid(["layers=[64, 64],[8]", "activation=tanh,relu"]) == {
        "layers": [[64, 64], [8]],
        "activation": ["tanh", "relu"],
    }
    assert combinations({}) == [{}]


@pytest.mark.slow
def test_command_explains_itself_and_names_the_fault(tmp_path):
    command = [sys.executable, "-m", "oncogym.training.search"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "--grid" in shown.stdout
    wrong = subprocess.run(
        [*command, "ChemoDosing-v0", "--grid", "gamma=3", "--out", str(tmp_path / "x")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 2
    assert "gamma is 3" in wrong.stderr
