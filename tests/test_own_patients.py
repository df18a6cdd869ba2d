"""A patient and a cohort of a user's own: read, refused, drawn, and honoured by every command."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from scipy import stats

from oncogym.cli.main import main
from oncogym.core.files import read_json
from oncogym.envs import get_treatment
from oncogym.envs.cohort import Cohort
from oncogym.envs.distributions import read_distribution
from oncogym.envs.problem import Problem
from oncogym.evaluation.harness import resolve

CHEMO = "oncogym/ChemoDosing-v0"
PATIENT = get_treatment("chemo_dosing").patient
SPREADS = {
    "growth_rate": {"distribution": "lognormal", "median": 0.02, "cv": 0.4},
    "ec50": {"distribution": "normal", "mean": 1.2, "sd": 0.5, "low": 0.8, "high": 2.0},
    "initial_cells": {"distribution": "uniform", "low": 1e6, "high": 1e8},
    "toxicity_gain": {"distribution": "choice", "values": [0.25, 0.35]},
    "emax": 0.9,
}
CLINIC = {"description": "patients of our clinic", "parameters": SPREADS}


@pytest.fixture
def clinic(tmp_path):
    path = tmp_path / "clinic.json"
    path.write_text(json.dumps(CLINIC))
    return str(path)


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        (SPREADS["ec50"], stats.truncnorm(-0.8, 1.6, 1.2, 0.5)),
        (SPREADS["initial_cells"], stats.uniform(1e6, 1e8 - 1e6)),
        ({"distribution": "normal", "mean": 3.0, "sd": 2.0}, stats.truncnorm(-1.5, 1e8, 3.0, 2.0)),
        (SPREADS["growth_rate"], stats.lognorm(np.sqrt(np.log(1.16)), scale=0.02)),
    ],
)
def test_quantiles_are_those_of_the_distribution(spread, expected):
    u = np.linspace(0.001, 0.999, 99)
    found = read_distribution("x", spread, 0.0, 1e9).quantile(u)
    assert found == pytest.approx(expected.ppf(u), rel=1e-9)


def test_a_cut_off_lognormal_has_the_quantiles_of_what_is_left():
    spread = {"distribution": "lognormal", "median": 2.0, "cv": 0.5, "low": 1.0, "high": 3.0}
    whole = stats.lognorm(np.sqrt(np.log(1.25)), scale=2.0)
    u = np.linspace(0.001, 0.999, 99)
    below, up_to = whole.cdf([1.0, 3.0])
    expected = whole.ppf(below + u * (up_to - below))
    assert read_distribution("x", spread, 0.0, 10.0).quantile(u) == pytest.approx(expected)


def test_patients_have_the_spreads_of_the_file(clinic):
    cohort = Cohort.from_file(clinic, PATIENT)
    assert (cohort.name, cohort.description, cohort.size) == ("clinic", CLINIC["description"], None)
    columns = dict(zip(PATIENT.FIELDS, cohort.patients(4000).T, strict=True))
    for name in SPREADS:
        spread = read_distribution(name, SPREADS[name], *PATIENT.RANGES[name])
        assert columns[name].min() >= spread.low
        assert columns[name].max() <= spread.high
    assert np.median(columns["growth_rate"]) == pytest.approx(0.02, rel=0.03)
    assert columns["ec50"].mean() == pytest.approx(
        stats.truncnorm(-0.8, 1.6, 1.2, 0.5).mean(), 0.02
    )
    assert set(columns["toxicity_gain"]) == {0.25, 0.35}
    assert (columns["toxicity_gain"] == 0.25).mean() == pytest.approx(0.5, abs=0.04)
    assert set(columns["emax"]) == {0.9}
    assert set(columns["elimination_rate"]) == {PATIENT().elimination_rate}
    assert abs(np.corrcoef(columns["growth_rate"], columns["ec50"])[0, 1]) < 0.06


def test_the_three_lists_of_a_cohort_share_no_patient(clinic):
    cohort = Cohort.from_file(clinic, PATIENT)
    lists = [cohort.listed(name) for name in ("population", "validation", "held_out")]
    rows = np.concatenate([one.patients(200) for one in lists])
    assert len(np.unique(rows, axis=0)) == 600
    assert (lists[0].patients(200) == cohort.patients(200)).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"grwth_rate": 0.02}, "did you mean 'growth_rate'"),
        ({"emax": 101}, "value of emax is 101; allowed: 0 to 100"),
        ({"emax": "high"}, "emax is 'high'; allowed: a number or a distribution"),
        ({"emax": {"value": 1}}, "unknown distribution of emax"),
        ({"emax": {"distribution": "log-normal"}}, "did you mean 'lognormal'"),
        ({"emax": {"distribution": "normal", "mean": 1}}, "sd of emax is missing"),
        ({"emax": {"distribution": "normal", "mean": 1, "std": 1}}, "'std'; did you mean 'sd'"),
        ({"emax": {"distribution": "normal", "mean": 1, "sd": -1}}, "sd of emax is -1"),
        ({"emax": {"distribution": "normal", "mean": 3, "sd": 1, "high": 2}}, "mean of emax is 3"),
        (
            {"emax": {"distribution": "uniform", "low": 2, "high": 1}},
            "high of emax is 1; allowed: 2",
        ),
        ({"emax": {"distribution": "choice", "values": []}}, "values of emax are"),
        ({"emax": {"distribution": "choice", "values": [1, 999]}}, "values of emax are"),
        ({"emax": {"distribution": "lognormal", "median": 0, "cv": 1}}, "median of emax is 0"),
        # No single patient may have more cells than there is room for.
        ({"initial_cells": 1e8, "carrying_capacity": 1e7}, "initial_cells"),
        ([], "parameters of a cohort are a list of 0"),
    ],
)
def test_wrong_spreads_are_refused_with_what_is_allowed(parameters, message, tmp_path, capsys):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps({"parameters": parameters}))
    with pytest.raises(ValueError, match=r"wrong\.json") as caught:
        Cohort.from_file(path, PATIENT)
    assert message in str(caught.value)
    assert main(["evaluate", CHEMO, "daily", "--cohort", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "parameters of a cohort are None"),
        ({"parameter": {}}, "did you mean 'parameters'"),
        ({"parameters": {}, "list": "heldout"}, "did you mean 'held_out'"),
        ({"parameters": {}, "name": 3}, "name of a cohort is 3"),
        ({"parameters": {}, "name": "held_out"}, "'held_out', which is taken"),
    ],
)
def test_wrong_cohorts_are_refused(document, message):
    with pytest.raises(ValueError, match=message):
        Problem.resolve(CHEMO, {"cohort": document})


def test_numbers_that_name_take_no_spread():
    anatomy = {"anatomy": {"distribution": "uniform", "low": 0, "high": 3}}
    with pytest.raises(ValueError, match="anatomy has a uniform spread; allowed: a constant or a"):
        Problem.resolve("IMPTBeamWeighting-v0", {"cohort": {"parameters": anatomy}})
    chosen = {"anatomy": {"distribution": "choice", "values": [1, 2]}}
    problem = Problem.resolve("IMPTBeamWeighting-v0", {"cohort": {"parameters": chosen}})
    assert set(problem.cohort.patients(50)[:, 0]) == {1.0, 2.0}


def test_a_problem_of_ones_own_cohort_survives_pickling_and_json(clinic):
    problem = resolve(CHEMO, patients=5, options={"cohort": clinic})
    for twin in (pickle.loads(pickle.dumps(problem)), Problem.from_json(problem.to_json())):
        assert (twin.patients == problem.patients).all()
        assert (twin.drawn(7).patients == problem.drawn(7).patients).all()
        assert twin.to_json() == problem.to_json()
    # Nobody is evaluated on whom a search has seen.
    searched = Problem.resolve(CHEMO, {"cohort": clinic}).drawn(5)
    assert not (searched.patients == problem.patients).all(axis=1).any()


def test_environments_reset_to_ones_own_patient_and_cohort(clinic, tmp_path):
    env = gym.make(CHEMO, cohort=clinic)
    env.reset(seed=3)
    row = env.unwrapped.patient.to_array()
    expected = Cohort.from_file(clinic, PATIENT).draw(
        np.array([3], np.uint64), np.zeros(1, np.uint64)
    )
    assert (row == expected[0]).all()
    lanes = gym.make_vec(CHEMO, num_envs=4, cohort=CLINIC)
    lanes.reset(seed=3)
    assert (lanes.unwrapped.patients[0] == row).all()
    assert len(np.unique(lanes.unwrapped.patients, axis=0)) == 4
    mine = tmp_path / "mine.json"
    mine.write_text('{"ec50": 2.0}')
    env = gym.make(CHEMO, patient=str(mine))
    env.reset(seed=0)
    assert env.unwrapped.patient == replace(PATIENT(), ec50=2.0)


def document_of(command, capsys):
    assert main([*command, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "robustness"])
def test_comparisons_treat_and_remember_ones_own_patients(command, clinic, tmp_path, capsys):
    base = [command, CHEMO, "daily", "--patients", "8"]
    if command == "robustness":
        base += ["--perturb", "missed@1"]
    nominal = document_of([*base, "--cohort", "nominal"], capsys)
    own = document_of([*base, "--cohort", clinic, "--out", str(tmp_path / "a")], capsys)
    option = document_of([*base, "--option", f"cohort={clinic}"], capsys)
    patient = document_of([*base, "--option", 'patient={"ec50": 2}'], capsys)
    cohorts = [one["cohort"] for one in (nominal, own, option, patient)]
    assert cohorts == ["nominal", "clinic", "clinic", "patient"]
    numbers = [json.dumps(one["summary"]) for one in (nominal, own, option, patient)]
    assert numbers[1] == numbers[2]
    assert len(set(numbers)) == 3
    settings = read_json(tmp_path / "a" / "manifest.json")["settings"]
    assert settings["cohort"] == {"name": "clinic", **CLINIC}


def test_searches_take_and_remember_ones_own_patients(clinic, tmp_path, capsys):
    base = ["optimize", CHEMO, "--budget", "80", "--method", "cma", "--patients", "3"]
    own = document_of([*base, "--cohort", clinic, "--out", str(tmp_path / "a")], capsys)
    option = document_of([*base, "--option", f"cohort={clinic}"], capsys)
    nominal = document_of([*base[:-2]], capsys)
    assert own["cohort"] == option["cohort"] == "clinic"
    assert own["score"] == option["score"] != nominal["score"]
    settings = read_json(tmp_path / "a" / "manifest.json")["settings"]
    assert settings["cohort"] == {"name": "clinic", **CLINIC}
    assert main([*base, "--option", 'patient={"ec5": 2}']) == 2
    assert "did you mean 'ec50'" in capsys.readouterr().err


def test_a_training_run_remembers_ones_own_cohort(clinic, tmp_path, capsys):
    pytest.importorskip("torch")
    folder = tmp_path / "run"
    base = ["train", CHEMO, "--steps", "256", "--lanes", "4", "--set", "n_steps=32"]
    base += ["--set", "batch_size=32"]
    with pytest.warns(RuntimeWarning, match="hardly learns"):
        assert main([*base, "--cohort", clinic, "--out", str(folder)]) == 0
    problem = Problem.from_json(read_json(folder / "config.json")["settings"]["problem"])
    assert problem.cohort.to_json() == {"name": "clinic", "list": "population", **CLINIC}
    about = read_json(folder / "policy" / "policy.json")
    assert '"evaluation_cohort": "clinic"' in json.dumps(about)
    with pytest.warns(RuntimeWarning, match="hardly learns"):
        assert main(["train", "--resume", str(folder), "--cohort", clinic]) == 0
    with open(clinic, "w") as stream:
        json.dump({"parameters": {"emax": 0.5}}, stream)
    capsys.readouterr()
    assert main(["train", "--resume", str(folder), "--cohort", clinic]) == 2
    assert "options: cohort was" in capsys.readouterr().err
