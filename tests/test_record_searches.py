"""The kept table of searches of hyper-parameters: rows, gains, wrong folders."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

from oncogym.core.files import OutputFolderError, read_json
from oncogym.evaluation.record_searches import gains, main, record, trials_of
from oncogym.training.trials import Range, run_trials

ENV = "oncogym/ChemoDosing-v0"
SMALL = {
    "algorithm": "cma_policy",
    "trials": 6,
    "steps": 4 * 60 * 8,
    "hyperparameters": {"lanes": 4, "population": 4, "evaluations": 8, "evaluation_patients": 1},
    "seed": 3,
}


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    place = tmp_path_factory.mktemp("searches")
    space = {"sigma": Range(0.01, 1.0, log=True)}
    run_trials(ENV, space, place / "one", **SMALL)
    run_trials("oncogym/ChemoDosingPublished-v0", space, place / "two", **{**SMALL, "trials": 2})
    return place


def test_a_row_for_each_trial(searches):
    table = trials_of(searches / "one")
    kept = read_json(searches / "one" / "trials.json")["trials"]
    assert table["trial"].tolist() == list(range(6))
    assert table["state"].tolist() == [trial["state"] for trial in kept]
    assert [json.loads(text) for text in table["values"]] == [trial["values"] for trial in kept]
    assert table["best_return"].tolist() == [round(trial["best_return"], 4) for trial in kept]
    assert set(table["of"]) == {1920}
    assert table["tuned"].tolist() == [True, *[False] * 5]
    assert (table["decisions"][table["state"] == "complete"] == 1920).all()
    assert (table["decisions"][table["state"] == "pruned"] < 1920).all()
    assert (table["seconds"] > 0.0).all()
    assert set(table["patients"]) == {1}
    assert table["version"].str.match(r"[0-9a-f]{7}\+?$|\d+\.\d+").all()


def test_what_a_search_gained():
    def row(env, trial, state, value, seconds):
        return {"env": env, "algorithm": "sac", "trial": trial, "tuned": trial == 0,
                "state": state, "of": 100, "best_return": value,
                "seconds": seconds, "values": f"of {trial}"}  # fmt: skip

    table = pd.DataFrame(
        [
            row("b", 1, "complete", 3.0, 2.0),
            row("b", 0, "complete", 1.0, 4.0),
            row("b", 2, "pruned", 2.0, 1.0),
            row("a", 0, "complete", 5.0, 1.0),
            row("a", 1, "failed", None, 1.0),
        ]
    )
    found = gains(table).set_index("env")
    assert gains(table[table["trial"] > 0])["tuned"].isna().all()
    assert found.loc["b", ["trials", "pruned", "seconds"]].tolist() == [3, 1, 7.0]
    assert found.loc["b", ["tuned", "best", "gain", "values"]].tolist() == [1.0, 3.0, 2.0, "of 1"]
    assert found.loc["a", ["tuned", "best", "gain", "values"]].tolist() == [5.0, 5.0, 0.0, "of 0"]


def test_a_second_record_replaces_rows_of_its_search_only(searches, tmp_path, capsys):
    out = tmp_path / "trials.csv"
    assert main([str(searches / "one"), str(searches / "two"), "--out", str(out)]) == 0
    assert "ChemoDosingPublished-v0" in capsys.readouterr().out
    table = pd.read_csv(out)
    assert len(table) == 8
    changed = table.copy()
    changed["best_return"] = -1.0
    changed.to_csv(out, index=False)
    record([searches / "two"], out)
    again = pd.read_csv(out)
    assert (again["best_return"][again["env"] == ENV] == -1.0).all()
    assert (again["best_return"][again["env"] != ENV] != -1.0).all()


def test_wrong_folders_are_refused_and_nothing_is_written(searches, tmp_path, capsys):
    out = tmp_path / "trials.csv"
    assert main([str(tmp_path), "--out", str(out)]) == 2
    assert f"{tmp_path} holds no search" in capsys.readouterr().err
    with pytest.raises(OutputFolderError):
        record([tmp_path], out)
    shutil.copytree(searches / "one", tmp_path / "twin")
    with pytest.raises(ValueError, match=r"a second search for oncogym/ChemoDosing-v0 with cma"):
        record([searches / "one", tmp_path / "twin"], out)
    assert not out.exists()
