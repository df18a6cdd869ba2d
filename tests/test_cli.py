"""The command line, as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oncogym.agents.plan import PlanAgent
from oncogym.cli.main import main

COMMANDS = (
    "envs",
    "train",
    "search",
    "optimize",
    "evaluate",
    "render",
    "robustness",
    "sensitivity",
    "benchmark",
    "reproduce",
    "speed",
    "doctor",
    "cite",
)


def oncogym(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "oncogym.cli.main", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "usage: oncogym" in text
    assert len(text.splitlines()) > 8


@pytest.mark.slow
def test_version_and_console_script():
    script = Path(sys.executable).with_name("oncogym")
    out = subprocess.run([script, "--version"], capture_output=True, text=True)
    assert out.returncode == 0
    assert out.stdout.startswith("oncogym ")


@pytest.mark.slow
def test_envs_lists_and_shows_pages(capsys):
    assert main(["envs", "--json"]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    chemo = rows["oncogym/ChemoDosing-v0"]
    assert chemo["decisions"] == 60
    assert chemo["action"] == [{"name": "dose", "unit": "mg/L"}]
    assert main(["envs", "ChemoDosing-v0"]) == 0
    assert "## Observation Space" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["envs", "oncogym/ChemoDosng-v0"], "did you mean 'oncogym/ChemoDosing-v0'"),
        (["evaluate", "ChemoDosing-v0", "dayly"], "did you mean 'daily'"),
        (["evaluate", "ChemoDosing-v0", "--cohort", "heldout"], "did you mean 'held_out'"),
        (["evaluate", "ChemoDosingCohort-v0", "--patients", "5000"], "at most 1000"),
        (["evaluate", "ChemoDosing-v0", "--option", "horizon"], "KEY=VALUE"),
        (["evaluate", "ChemoDosing-v0", "--option", "horizn=3"], "did you mean 'horizon'"),
        (["evaluate", "ChemoDosing-v0", "--out", "/proc/nowhere"], "/proc/nowhere"),
        (["optimize", "ChemoDosing-v0", "--budget", "5"], "allowed: at least 1440"),
        (["optimize", "ChemoDosing-v0", "--out", "/dev/null/x"], "/dev/null/x"),
        (["benchmark", "--envs", "Nothing-v0"], "unknown environment id 'Nothing-v0'"),
        (["train", "ChemoDosing-v1"], "did you mean 'oncogym/ChemoDosing-v0'"),
    ],
)
def test_bad_usage_has_status_2_and_a_clear_message(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "arguments",
    [["evaluate"], ["nothing"], ["evaluate", "ChemoDosing-v0", "--patients", "0"], []],
)
def test_arguments_that_argparse_refuses(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


@pytest.mark.slow
def test_evaluate_writes_results_and_report(tmp_path):
    out = oncogym(
        "evaluate", "ChemoDosingCohort-v0", "no_treatment", "weekly", "daily", "random",
        "--patients", "40", "--baseline", "no_treatment", "--reference", "daily",
        "--out", str(tmp_path / "run"), "--json",
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    document = json.loads(out.stdout)
    assert document["patients"] == 40
    assert document["normalised_scores"]["mean"]["daily"]["estimate"] == 1.0
    folder = tmp_path / "run"
    for name in ("results.csv", "summary.csv", "comparison.json", "manifest.json", "report.html"):
        assert (folder / name).stat().st_size > 0
    assert len(list((folder / "figures").glob("*.png"))) >= 4
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.index("<figure") < page.index("<table")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["seeds"]["seed"] == 0
    assert "numpy" in manifest["versions"]


def test_same_seed_same_numbers(capsys):
    arguments = ["evaluate", "ChemoDosingCohort-v0", "--patients", "20", "--json"]
    assert main([*arguments, "--option", "observation=measurable"]) == 0
    first = capsys.readouterr().out
    assert main([*arguments, "--option", "observation=measurable"]) == 0
    second = capsys.readouterr().out
    assert first == second
    assert json.loads(first)["sees"]["threshold"] == "full state"


def test_optimize_saves_a_plan_that_evaluate_takes(tmp_path, capsys):
    folder = tmp_path / "plan"
    arguments = ["optimize", "ChemoDosingPublished-v0", "--budget", "2000", "--out", str(folder)]
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["score"] > -0.984  # the source's own baseline
    plan = PlanAgent.load(folder / "plan.json")
    assert plan.actions.shape == (6, 2)
    assert set(document["plan"][0]) == {"wait", "dose"}
    assert main(["evaluate", "ChemoDosingPublished-v0", str(folder / "plan.json"),
                 "source_uniform", "--patients", "1", "--baseline", "source_uniform",
                 "--json"]) == 0  # fmt: skip
    summary = json.loads(capsys.readouterr().out)["summary"]
    mine = next(r for r in summary if r["agent"] == "plan" and r["metric"] == "return")
    assert mine["mean"] == pytest.approx(document["score"], rel=1e-9)
    assert main(["evaluate", "ChemoDosing-v0", str(folder / "plan.json")]) == 2
    assert "ChemoDosing-v0 takes" in capsys.readouterr().err
    (folder / "plan.json").write_text((folder / "plan.json").read_text()[:100])
    assert main(["evaluate", "ChemoDosingPublished-v0", str(folder / "plan.json")]) == 2
    assert "plan.json" in capsys.readouterr().err


def test_plans_out_of_range_are_refused():
    for bad in (np.full((3, 1), 1.5), np.full((3, 1), np.nan), np.zeros(3), np.zeros((0, 1))):
        with pytest.raises(ValueError, match="allowed"):
            PlanAgent(bad)


def test_help_on_training_points_to_the_examples_of_other_libraries(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    assert "examples/" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["evaluate", "robustness"])
def test_help_shows_one_per_cent_sign(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "95 % intervals" in out
    assert "%%" not in out
