"""The search of hyper-parameters by Optuna: ranges, pruning, records, going on."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")
pytest.importorskip("optuna")

from oncogym.cli import main as cli
from oncogym.core import checkpoint as checkpoints
from oncogym.core.errors import UnknownNameError
from oncogym.core.files import CorruptFileError, read_json
from oncogym.envs.registry import treatments
from oncogym.training import trials
from oncogym.training.algorithms import algorithm_names, find_algorithm
from oncogym.training.settings import make_settings, read_search_space
from oncogym.training.trials import Choice, Range, read_space, run_trials

ENV = "oncogym/ChemoDosing-v0"
SPACE = {"sigma": Range(0.01, 1.0, log=True), "layers": Choice(([2], [3]))}
GIVEN = {
    "algorithm": "cma_policy",
    "steps": 4 * 60 * 8,
    "hyperparameters": {"lanes": 4, "population": 4, "evaluations": 8, "evaluation_patients": 1},
    "seed": 3,
}


def untimed(record):
    """All that does not depend on the clock."""
    trials = [{n: v for n, v in trial.items() if n != "seconds"} for trial in record["trials"]]
    return {**record, "trials": trials}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A search of ten trials."""
    place = tmp_path_factory.mktemp("search") / "a"
    return place, run_trials(ENV, SPACE, place, trials=10, **GIVEN)


def test_trials_are_recorded_and_the_hopeless_stopped(done):
    place, table = done
    assert table["trial"].tolist() == list(range(10))
    assert table["sigma"].between(0.01, 1.0).all()
    assert {tuple(units) for units in table["layers"]} == {(2,), (3,)}
    assert {"complete", "pruned"} == set(table["state"])
    assert (table["state"][:4] == "complete").all()
    records = read_json(place / "trials.json")["trials"]
    for row, record in zip(table.itertuples(), records, strict=True):
        places = [part for part, _ in record["evaluations"]]
        if row.state == "complete":
            assert places == [125 * k for k in range(1, 9)]
            result = read_json(place / row.folder / "result.json")
            assert row.best_return == result["best_return"]
        else:
            assert 300 < places[-1] < 1000  # not in the first third
            assert not (place / row.folder / "result.json").exists()
        assert row.best_return == max(value for _, value in record["evaluations"])
        settings = read_json(place / row.folder / "config.json")["settings"]
        assert settings["hyperparameters"]["sigma"] == row.sigma
        assert settings["hyperparameters"]["layers"] == row.layers


def test_an_interrupted_search_goes_on_as_if_nothing_had_been(done, tmp_path, monkeypatch):
    place, _ = done
    whole = read_json(place / "trials.json")
    folder = tmp_path / "interrupted"
    shutil.copytree(place, folder)
    # Ended within trial 6: a later half of its run and all that follows is missing.
    kept = {**whole, "trials": whole["trials"][:6]}
    (folder / "trials.json").write_text(json.dumps(kept))
    for number in range(7, 10):
        shutil.rmtree(folder / f"trial-{number:04d}")
    (folder / "trial-0006" / "result.json").unlink(missing_ok=True)
    for path in checkpoints.list_checkpoints(folder / "trial-0006" / "checkpoints")[:1]:
        path.unlink()
    again = run_trials(ENV, SPACE, folder, trials=10, **GIVEN)
    assert untimed(read_json(folder / "trials.json")) == untimed(whole)
    assert again["best_return"].tolist() == done[1]["best_return"].tolist()
    monkeypatch.setattr(trials, "train", None)  # nothing is left to do
    run_trials(ENV, SPACE, folder, trials=10, **GIVEN)
    with pytest.raises(ValueError, match="holds another search"):
        run_trials(ENV, SPACE, folder, trials=10, **{**GIVEN, "seed": 4})
    (folder / "trials.json").write_text(json.dumps({**whole, "trials": [3]}))
    with pytest.raises(CorruptFileError, match="no list of trials"):
        run_trials(ENV, SPACE, folder, trials=10, **GIVEN)


def test_without_pruning_all_trials_end(tmp_path, monkeypatch):
    short = {**GIVEN, "steps": 4 * 60 * 2}
    table = run_trials(ENV, SPACE, tmp_path / "a", trials=6, prune=False, **short)
    assert set(table["state"]) == {"complete"}
    from oncogym.training.evaluator import Evaluator

    own = Evaluator.scalars
    monkeypatch.setattr(Evaluator, "scalars", lambda *a: {**own(*a), "return": np.nan})
    failed = run_trials(ENV, SPACE, tmp_path / "b", trials=1, **short)
    assert failed["state"].tolist() == ["failed"]
    assert failed["best_return"].isna().all()


def test_the_first_trial_has_the_tuned_values_where_they_are_allowed(done):
    place, table = done
    assert not np.isclose(table["sigma"], 0.3).all()
    assert table["sigma"][0] == 0.3  # of cma_policy.yml; its layers, [8], are no choice here
    assert not any(trial["tuned"] for trial in read_json(place / "trials.json")["trials"])
    assert 0.3 in Range(0.1, 0.5)
    assert 3 in Range(1, 5, whole=True)
    assert [8] in Choice(([8], [2]))
    for value, part in (
        (0.6, Range(0.1, 0.5)),
        (2.5, Range(1, 5, whole=True)),
        (True, Range(0, 1)),
        ("a", Range(0, 1)),
        ([4], Choice(([8], [2]))),
    ):
        assert value not in part


@pytest.mark.parametrize("algorithm", algorithm_names())
def test_every_algorithm_says_what_a_search_tries(algorithm):
    space = read_space(read_search_space(find_algorithm(algorithm)))
    assert space
    for treatment in treatments().values():
        for variant in treatment.variants:
            for name, part in space.items():
                for value in part.examples:
                    make_settings(variant.id, algorithm, hyperparameters={name: value})


def test_spaces_from_texts():
    found = read_space(["gamma=0.9..1", "learning_rate=1e-4..1e-2:log", "n_steps=10..60",
                        "layers=[64],[32,32]", "activation=tanh,relu"])  # fmt: skip
    assert found == {
        "gamma": Range(0.9, 1.0),
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "n_steps": Range(10.0, 60.0, whole=True),
        "layers": Choice(([64], [32, 32])),
        "activation": Choice(("tanh", "relu")),
    }
    for texts, message in (
        (["gamma"], "'gamma' is no space"),
        (["gamma=0.9..1", "gamma=1"], "'gamma' is given twice"),
        (["gamma=1..0.9"], "a range is 1.0 to 0.9"),
        (["gamma=a..b"], "a range is 'a..b'"),
        (["gamma=0..1:log"], "increasing numbers above 0"),
        (["gamma=true..2"], "a range is"),
    ):
        with pytest.raises(ValueError, match=message):
            read_space(texts)


def test_what_a_search_refuses_before_any_work(tmp_path):
    for space, given, message in (
        ({"sigm": Range(0.1, 1.0)}, {}, "did you mean 'sigma'"),
        ({"sigma": Range(0.1, 1000.0)}, {}, "sigma is 1000"),
        ({"layers": Choice(([0],))}, {}, "layers is 0"),
        ({"population": Range(4, 8, whole=True)}, {}, "'population' is searched and set"),
        ({}, {}, "nothing is searched"),
        (SPACE, {"wrappers": ["Histori"]}, "did you mean 'History'"),
        (SPACE, {"trials": 0}, "trials is 0"),
    ):
        with pytest.raises((ValueError, UnknownNameError), match=message):
            run_trials(ENV, space, tmp_path / "a", **{"trials": 2, **GIVEN, **given})
    assert not (tmp_path / "a").exists()


def test_the_command_line(tmp_path, capsys, monkeypatch):
    pairs = [f"--set={name}={value}" for name, value in GIVEN["hyperparameters"].items()]
    command = ["search", ENV, "--algo", "cma_policy", "--try", "sigma=0.1..0.5", *pairs]
    command += ["--trials", "2", "--steps", "480", "--out", str(tmp_path / "a")]
    assert cli.main([*command, "--wrapper", "History:count=1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["trial"] for row in rows) == [0, 1]
    assert rows[0]["best_return"] >= rows[1]["best_return"]
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert cli.main(command) == 2
    assert 'pip install "oncogym[search]"' in capsys.readouterr().err
