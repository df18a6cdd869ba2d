"""Searches that go on from the scores they had: any optimiser, to the same plan."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from killed_command import kill_when

from oncogym.agents.optimizers import PlanObjective, find_optimizer, optimizers
from oncogym.agents.optimizers.base import SearchFolderError
from oncogym.agents.optimizers.kept_scores import kept_scores
from oncogym.agents.optimizers.objective import protocol_plans
from oncogym.agents.optimizers.per_patient import plans_per_patient
from oncogym.cli.main import main
from oncogym.core import sources
from oncogym.core.files import CorruptFileError
from oncogym.envs.problem import Problem
from oncogym.evaluation.plan_search import search_plan

CHEMO = "oncogym/ChemoDosingCohort-v0"
METHODS = [name for name, kind in optimizers().items() if kind.takes == "plan"]
BUDGET = 480
SETTINGS = {"de": {"popsize": 2}}


class Killed(BaseException):
    """What ends a search in the middle."""


class Mortal:
    """Counts the questions that reach the model, and ends the process at one of them."""

    def __init__(self, monkeypatch, last=10**9):
        self.asked, self.last = 0, last
        inherited = PlanObjective.score_actions

        def score_actions(objective, actions, draw=0, executor=None):
            if self.asked == self.last:
                raise Killed
            self.asked += 1
            return inherited(objective, actions, draw, executor)

        monkeypatch.setattr(PlanObjective, "score_actions", score_actions)


def search(method, folder, *, budget=BUDGET, seed=1, patients=2, resume=False, **settings):
    problem = Problem.resolve(CHEMO).drawn(patients)
    optimizer = find_optimizer(method, {**SETTINGS.get(method, {}), **settings})
    return search_plan(
        optimizer, PlanObjective(problem), budget, seed, None, method,
        start=protocol_plans(problem), folder=folder, resume=resume,
    )  # fmt: skip


def same(one, other):
    np.testing.assert_array_equal(one.plan, other.plan)
    np.testing.assert_array_equal(one.actions, other.actions)
    assert (one.score, one.evaluations) == (other.score, other.evaluations)
    assert (one.history, one.message) == (other.history, other.message)


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_search_ends_where_it_would_have_ended(method, tmp_path, monkeypatch):
    alone = search(method, None)
    mortal = Mortal(monkeypatch)
    whole = search(method, tmp_path / "whole")
    same(whole, alone)
    questions, mortal.asked, mortal.last = mortal.asked, 0, 2
    place = tmp_path / "parts"
    for resume in (False, True):
        with pytest.raises(Killed):
            search(method, place, resume=resume)
        mortal.last += 2
    assert not (place / "history.csv").exists()
    mortal.last = 10**9
    again = search(method, place, resume=True)
    same(again, alone)
    # Nothing was simulated twice.
    assert mortal.asked == questions
    assert again.seconds > 0.0
    histories = [pd.read_csv(tmp_path / name / "history.csv") for name in ("whole", "parts")]
    pd.testing.assert_frame_equal(*histories)
    assert histories[0]["simulations"].iloc[-1] <= alone.evaluations
    assert histories[0]["best"].tolist() == alone.history[: len(histories[0])]
    # A finished search has all its answers.
    mortal.last = mortal.asked
    same(search(method, place, resume=True), alone)


def test_the_time_before_an_interruption_counts(tmp_path, monkeypatch):
    mortal = Mortal(monkeypatch, last=3)
    with pytest.raises(Killed):
        search("cma", tmp_path)
    mortal.last = 10**9
    file = tmp_path / "scores-cma.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    before = json.loads(lines[-1].partition(b" ")[2])[3]
    assert len(lines) == 4
    started = time.perf_counter()
    found = search("cma", tmp_path, resume=True)
    now = time.perf_counter() - started
    assert before < found.seconds <= before + now


def test_what_was_cut_off_or_damaged_is_asked_again(tmp_path, monkeypatch):
    whole = search("cma", tmp_path)
    file = tmp_path / "scores-cma.jsonl"
    content = file.read_bytes()
    mortal = Mortal(monkeypatch)
    lines = content.splitlines(keepends=True)

    file.write_bytes(content[:-20])  # in the middle of the last line
    same(search("cma", tmp_path, resume=True), whole)
    assert mortal.asked == 1
    assert len(file.read_bytes().splitlines()) == len(lines)

    place = len(b"".join(lines[:-3])) + len(lines[-3]) // 2
    flipped = bytes([ord("0") if content[place] != ord("0") else ord("1")])
    file.write_bytes(content[:place] + flipped + content[place + 1 :])
    with pytest.warns(RuntimeWarning, match=f"line {len(lines) - 2}: damaged"):
        same(search("cma", tmp_path, resume=True), whole)
    assert mortal.asked == 1 + 3

    file.write_bytes(lines[0][:-5])  # not even its first line was finished
    same(search("cma", tmp_path, resume=True), whole)
    assert mortal.asked == 4 + len(lines) - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "seed was 1, now 2"),
        ({"budget": 600}, "budget was 480, now 600"),
        ({"sigma": 0.1}, "sigma was 0.2, now 0.1"),
        ({"patients": 3}, "cannot go on with other settings"),
    ],
)
def test_a_search_goes_on_only_with_its_own_settings(change, message, tmp_path):
    search("cma", tmp_path)
    with pytest.raises(ValueError, match=message):
        search("cma", tmp_path, resume=True, **change)


def test_a_search_goes_on_only_under_the_sources_that_began_it(tmp_path, monkeypatch):
    search("cma", tmp_path)
    monkeypatch.setattr(sources, "_digest", lambda *packages: "others")
    with pytest.raises(ValueError, match=r"sources was '\w+', now 'others'"):
        search("cma", tmp_path, resume=True)


def test_a_users_own_method_is_among_the_sources(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(sources, "_digest", lambda *packages: str(asked.append(packages)))
    problem = Problem.resolve(CHEMO).drawn(1)

    class Mine(optimizers()["cma"]):
        """Outside the suite."""

        __module__ = "my_package.search"

    optimizer = Mine()
    start = protocol_plans(problem)
    objective = PlanObjective(problem)
    search_plan(optimizer, objective, 60, 0, None, "mine", start=start, folder=tmp_path)
    plans_per_patient(problem, optimizer, 60, start=start, file=tmp_path / "own.jsonl")
    assert [packages[-1] for packages in asked] == ["my_package"] * 2


def test_a_method_that_does_not_repeat_itself_is_found_out(tmp_path):
    objective = PlanObjective(Problem.resolve(CHEMO).drawn(1))
    plans = protocol_plans(objective.problem)
    file = tmp_path / "scores.jsonl"
    with kept_scores(objective, file, {"method": "mine"}) as kept:
        kept.score(plans)
    with (
        kept_scores(objective, file, {"method": "mine"}, resume=True) as kept,
        pytest.raises(SearchFolderError, match=r"answer 1\); the method does not repeat itself"),
    ):
        kept.score(plans[:1])


@pytest.mark.parametrize("content", [b"something else\n", b"00000000 {}\n", b"\xff\n"])
def test_another_file_is_no_file_of_scores(content, tmp_path):
    (tmp_path / "scores-cma.jsonl").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"scores-cma\.jsonl: not a journal"):
        search("cma", tmp_path, resume=True)


def test_scores_that_are_no_numbers_are_kept_as_they_are(tmp_path, monkeypatch):
    objective = PlanObjective(Problem.resolve(CHEMO).drawn(1))
    odd = np.array([np.nan, np.inf, -np.inf, 0.1, -0.0])
    monkeypatch.setattr(PlanObjective, "score_actions", lambda *arguments: odd)
    plans = np.repeat(protocol_plans(objective.problem)[:1], len(odd), axis=0)
    for resume in (False, True):
        with kept_scores(objective, tmp_path / "s.jsonl", {}, resume=resume) as kept:
            assert kept.score(plans).tobytes() == odd.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_the_command_goes_on_with_any_method(method, tmp_path, capsys, monkeypatch):
    out = tmp_path / "search"
    asked = ["optimize", CHEMO, "--method", method, "--budget", "480", "--patients", "1"]
    asked += ["--set", "popsize=2"] if method == "de" else []
    asked += ["--json", "--out"]
    assert main([*asked, str(tmp_path / "whole")]) in (0, 1)
    whole = json.loads(capsys.readouterr().out)
    mortal = Mortal(monkeypatch, last=2)
    with pytest.raises(Killed):
        main([*asked, str(out)])
    assert {path.name for path in out.iterdir()} >= {"config.json", f"scores-{method}.jsonl"}
    mortal.last = 10**9
    # What is not finished is not begun again by mistake.
    assert main([*asked, str(out)]) == 2
    assert f"go on with --resume {out}" in capsys.readouterr().err
    assert main(["optimize", "--resume", str(out), "--budget", "481"]) == 2
    assert "budget was 480, now 481" in capsys.readouterr().err
    assert main(["optimize", "--resume", str(out), "--json"]) in (0, 1)
    again = json.loads(capsys.readouterr().out)
    for document in (whole, again):
        assert document.pop("seconds") > 0.0
    assert again == whole
    # A finished one may be done anew in the same folder.
    assert main([*asked, str(out)]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["score"] == whole["score"]


@pytest.mark.slow
def test_a_killed_command_goes_on(tmp_path):
    out = tmp_path / "search"
    command = [sys.executable, "-m", "oncogym", "optimize"]
    asked = [CHEMO, "--method", "cma", "--budget", "6000", "--patients", "2", "--out", str(out)]
    file = out / "scores-cma.jsonl"
    kill_when(lambda: file.exists() and file.stat().st_size > 2000, [*command, *asked])
    assert not (out / "plan.json").exists()
    size = file.stat().st_size
    ended = subprocess.run(
        [*command, "--resume", str(out), "--json"], capture_output=True, text=True, check=False
    )
    assert ended.returncode in (0, 1), ended.stderr
    found = json.loads(ended.stdout)
    assert file.stat().st_size > size
    assert (out / "plan.json").exists()
    assert found["evaluations"] <= 6000 * 2
