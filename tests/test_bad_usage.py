"""Bad usage of every command: status 2, a message that names the value, and nothing is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oncogym.cli.main import main

CHEMO = "ChemoDosingCohort-v0"
IMPT = "IMPTBeamWeighting-v0"
WEEKLY = ["evaluate", CHEMO, "weekly", "--baseline", "weekly", "--patients", "3"]
HUGE = "9" * 5000
DEEP = "[" * 3000
NESTED = "[" * 40 + "]" * 40


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with what bad usage may name; the command runs in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "text.json").write_text('{"label": "x", "actions": "none"}')
    (tmp_path / "cut.json").write_text('{"label": "x", "act')
    (tmp_path / "nan.json").write_text('{"label": "x", "actions": [[NaN]]}')
    (tmp_path / "deep.json").write_text(DEEP)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "policy.json").write_text("{}")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "robustness.json").write_text("[]")
    (tmp_path / "results" / CHEMO).mkdir(parents=True)
    (tmp_path / "results" / CHEMO / "comparison.json").write_text("{}")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README.md").write_text("mine")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


CASES = [
    # names
    (["envs", ""], "''"),
    (["envs", "ChemoDosing"], "'ChemoDosing'"),
    (["envs", "x\x1b[31m"], "x\\x1b[31m"),
    (["evaluate", ""], "''"),
    (["evaluate", CHEMO, ""], "''"),
    (["evaluate", CHEMO, "nobody"], "'nobody'"),
    (["evaluate", CHEMO, "n" * 5000], "too long"),
    (["evaluate", CHEMO, "empty"], "empty holds no policy"),
    (["evaluate", CHEMO, "policy"], "policy.json: not an oncogym policy"),
    (["evaluate", CHEMO, "file"], "file, line 1"),
    (["evaluate", CHEMO, "list.json"], "list.json"),
    (["evaluate", CHEMO, "text.json"], "text.json"),
    (["evaluate", CHEMO, "cut.json"], "cut.json, line 1"),
    (["evaluate", CHEMO, "nan.json"], "nan.json"),
    (["evaluate", CHEMO, "deep.json"], "deep.json: nested too deeply"),
    (["evaluate", CHEMO, "bytes.json"], "bytes.json"),
    (["evaluate", CHEMO, "pipe.json"], "'pipe.json'"),
    (["evaluate", CHEMO, "weekly", "weekly"], "'weekly'"),
    (["evaluate", CHEMO, "random", "daily", "random"], "'random'"),
    (["evaluate", CHEMO, "weekly", "--baseline", "nobody"], "'nobody'"),
    (["evaluate", CHEMO, "weekly", "--baseline", ""], "''"),
    ([*WEEKLY, "--reference", "daily"], "'daily'"),
    ([*WEEKLY, "--cohort", "held-out"], "'held-out'"),
    ([*WEEKLY, "--cohort", ""], "''"),
    (["robustness", CHEMO, "weekly", "--perturb", ""], "''"),
    (["robustness", CHEMO, "weekly", "--perturb", "missed=1", "--perturb", "missed=1@2"], "missed"),
    (["robustness", CHEMO, "weekly", "--perturb", "dose_bias=0.1,0.1"], "0.1"),
    (["robustness", CHEMO, "weekly", "--perturb", "dose_bias=nan"], "nan"),
    (["robustness", CHEMO, "weekly", "--perturb", "missed@0"], "0"),
    (["benchmark", "--envs", CHEMO, f"oncogym/{CHEMO}"], CHEMO),
    (["benchmark", "--envs", ""], "''"),
    (["speed", ""], "''"),
    (["speed", "chem"], "'chem'"),
    (["reproduce", ""], "''"),
    (["reproduce", "nature"], "'nature'"),
    # numbers
    ([*WEEKLY[:5], "--patients", "1000000000000"], "1000000000000"),
    ([*WEEKLY[:5], "--patients", HUGE], "9999"),
    ([*WEEKLY[:5], "--patients", "-1"], "-1"),
    ([*WEEKLY[:5], "--patients", "1e3"], "1e3"),
    ([*WEEKLY, "--seed", "18446744073709551615"], "18446744073709551615"),
    ([*WEEKLY, "--seed", "nan"], "nan"),
    (["robustness", CHEMO, "weekly", "--seed", "4294967296"], "4294967296"),
    (["optimize", CHEMO, "--budget", "10" * 20], "1010"),
    (["optimize", CHEMO, "--patients", "1000000", "--replicates", "1000"], "1000000"),
    (["optimize", "EMT6RoFractionation-v0", "--method", "ga", "--max-dose", "nan"], "nan"),
    (["optimize", "EMT6RoFractionation-v0", "--method", "ga", "--max-dose", "1e999"], "inf"),
    (["optimize", "EMT6RoFractionation-v0", "--method", "ga", "--min-gap", "-1"], "-1"),
    (["optimize", CHEMO, "--min-gap", "6"], "--min-gap"),
    (["optimize", CHEMO, "--from-protocols", "--method", "ga"], "--from-protocols"),
    (["benchmark", "--training-seeds", "1000000000000"], "1000000000000"),
    (["benchmark", "--seed", "4294967295"], "4294967295"),
    (["train", CHEMO, "--steps", HUGE], "9999"),
    (["train", CHEMO, "--seed", "-3"], "-3"),
    (["speed", "chemo", "--seconds", "inf"], "inf"),
    # options
    ([*WEEKLY, "--option", ""], "''"),
    ([*WEEKLY, "--option", "=3"], "'=3'"),
    ([*WEEKLY, "--option", "horizon=30", "--option", "horizon=60"], "'horizon'"),
    ([*WEEKLY, "--option", "no_such=1"], "'no_such'"),
    ([*WEEKLY, "--option", "reward_weights=5"], "'reward_weights'"),
    ([*WEEKLY, "--option", "reward_weights=[1]"], "'reward_weights'"),
    ([*WEEKLY, "--option", 'reward_weights={"kill": "much"}'], "'reward_weights'"),
    ([*WEEKLY, "--option", "horizon=long"], "'long'"),
    ([*WEEKLY, "--option", "horizon=true"], "True"),
    ([*WEEKLY, "--option", "horizon=NaN"], "NaN"),
    ([*WEEKLY, "--option", "horizon=-1"], "-1"),
    ([*WEEKLY, "--option", f"horizon={HUGE}"], "'horizon'"),
    ([*WEEKLY, "--option", f"horizon={10**400}"], "'horizon'"),
    ([*WEEKLY, "--option", f"horizon={DEEP}"], "'horizon'"),
    ([*WEEKLY, "--option", f"horizon={NESTED}"], "'horizon'"),
    ([*WEEKLY, "--option", "hard_budget=yes"], "'yes'"),
    ([*WEEKLY, "--option", "max_doses=1.5"], "1.5"),
    ([*WEEKLY, "--option", "observation=3"], "3"),
    ([*WEEKLY, "--option", "cohort=[]"], "'cohort'"),
    ([*WEEKLY, "--option", "cohort=nobody"], "'nobody'"),
    ([*WEEKLY, "--cohort", "held_out", "--option", "cohort=nominal"], "'nominal'"),
    ([*WEEKLY, "--option", 'patient="garbage"'], "'garbage'"),
    ([*WEEKLY, "--option", 'patient={"emx": 1}'], "'emx'"),
    ([*WEEKLY, "--option", 'patient={"emax": "big"}'], "'big'"),
    ([*WEEKLY, "--option", f'patient={{"emax": {10**400}}}'], "'patient'"),
    ([*WEEKLY, "--option", "patient=[1, 2]"], "patient"),
    ([*WEEKLY, "--option", 'patient={"emax": 1}', "--cohort", "nominal"], "'nominal'"),
    ([*WEEKLY, "--option", "max_episode_steps=-1"], "'max_episode_steps' is -1"),
    (["optimize", CHEMO, "--option", "max_episode_steps=5"], "'max_episode_steps' is 5"),
    (["optimize", CHEMO, "--option", "patient=Mrs. Miller"], "'Mrs. Miller'"),
    (["robustness", CHEMO, "weekly", "--option", "max_episode_steps=5"], "'max_episode_steps'"),
    (["robustness", CHEMO, "weekly", "--option", "patient=1"], "'patient'"),
    (["evaluate", IMPT, "--patients", "1", "--option", "influence=5"], "'influence'"),
    (["evaluate", IMPT, "--patients", "1", "--option", "influence=[]"], "'influence'"),
    (["evaluate", IMPT, "--patients", "1", "--option", "fractions={}"], "'fractions'"),
    (["train", CHEMO, "--option", "cohort=[]"], "'cohort'"),
    (["train", CHEMO, "--option", "cohort=population", "--cohort", "nominal"], "'population'"),
    (["train", CHEMO, "--option", 'patient={"emax": 1}', "--cohort", "nominal"], "'nominal'"),
    (["train", CHEMO, "--option", "max_episode_steps=soon"], "'soon'"),
    (["train", CHEMO, "--option", "max_episode_steps=0", "--out", "new"], "is 0"),
    (["train", CHEMO, "--option", 'patient={"emax": 1e9}', "--out", "new"], "emax"),
    (["speed", "emt6ro", "--train"], "'emt6ro'"),
    (["train", CHEMO, "--set", f"layers={DEEP}"], "'layers'"),
    (["train", CHEMO, "--set", "layers=[]"], "layers"),
    (["train", CHEMO, "--set", "gamma=NaN"], "NaN"),
    (["train", CHEMO, "--set", "gama=1"], "'gama'"),
    # paths
    (["envs", "--write", "file"], "file"),
    (["envs", "--write", ""], "''"),
    (["envs", "--write", "docs"], "README.md"),
    (["envs", CHEMO, "--write", "new", "--results", "results"], "comparison.json"),
    (["envs", "--write", "new", "--results", "file"], "file"),
    (["envs", "--results", "results"], "--write"),
    ([*WEEKLY, "--out", ""], "''"),
    ([*WEEKLY, "--out", "file"], "file"),
    ([*WEEKLY, "--out", "file/inner"], "file"),
    ([*WEEKLY, "--out", "o" * 300], "too long"),
    (["robustness", CHEMO, "weekly", "--out", ""], "''"),
    (["robustness", CHEMO, "weekly", "--out", "pipe.json"], "pipe.json"),
    (["optimize", CHEMO, "--out", ""], "''"),
    (["optimize", CHEMO, "--out", "file"], "file"),
    (["optimize", "--resume", "empty"], "empty holds no search"),
    (["optimize", "--resume", ""], "''"),
    (["train", CHEMO, "--out", ""], "''"),
    (["train", CHEMO, "--out", "file"], "file"),
    (["train", "--resume", "empty"], "empty holds no run"),
    (["train", "--resume", "file"], "file holds no run"),
    (["benchmark", "--out", ""], "''"),
    (["benchmark", "--fresh", "--out", ""], "''"),
    (["benchmark", "--fresh", "--out", "file"], "file"),
    (["benchmark", "--fresh", "--out", "docs"], "docs is not a benchmark's folder"),
    (["benchmark", "--robustness", "study"], "robustness.json"),
    (["benchmark", "--robustness", "empty"], "empty holds no study"),
    (["benchmark", "--robustness", ""], "''"),
    (["reproduce", "chemo", "--out", ""], "''"),
    (["reproduce", "chemo", "--out", "file"], "file"),
    (["reproduce", "impt", "--plan", ""], "''"),
    (["reproduce", "impt", "--plan", "file", "--figures"], "file"),
    (["reproduce", "impt", "--plan", "list.json"], "--figures"),
    (["reproduce", "glioblastoma", "--policy", "empty"], "empty holds no policy"),
    (["reproduce", "chemo", "--policy", "policy"], "'chemo'"),
    (["reproduce", "chemo", "--fidelity", "accelerated"], "--fidelity"),
    # executors
    ([*WEEKLY, "--workers", "0"], "'0'"),
    ([*WEEKLY, "--workers", HUGE], "9999"),
    ([*WEEKLY, "--executor", "lanes", "--workers", "2"], "lanes"),
    ([*WEEKLY, "--executor", "joblib", "--address", "auto"], "joblib"),
    ([*WEEKLY, "--address", ""], "''"),
]


@pytest.mark.parametrize(
    ("arguments", "message"),
    CASES,
    ids=[f"{number}-{case[0]}" for number, (case, _) in enumerate(CASES)],
)
def test_bad_usage_is_refused_by_name_before_anything_is_done(arguments, message, place, capsys):
    before = contents(place)
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse
        status = stop.code
    captured = capsys.readouterr()
    assert status == 2, captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err) < 6000
    assert "\x1b" not in captured.err
    after = contents(place)
    assert {name: after.get(name) for name in before} == before
    assert "new" not in after
    assert not [name for name in after if name.endswith((".csv", ".html", ".png", "result.json"))]
