"""Names and labels from elsewhere: distinct, shown as they are, never obeyed."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from oncogym.agents.plan import PlanAgent
from oncogym.cli.exit_status import ReportError
from oncogym.cli.main import main
from oncogym.core.files import read_json, write_text_atomic
from oncogym.evaluation.agent_names import name_agents
from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.report.charts import lines_chart, scores_chart
from oncogym.evaluation.report.drawings import Drawings
from oncogym.evaluation.report.labels import distinct, label_of, untyped, visible
from oncogym.evaluation.report.page import Report
from oncogym.evaluation.report.plots import draw
from oncogym.evaluation.statistics import Interval

CHEMO = "ChemoDosingCohort-v0"
ODD = [
    r"$\frac{1}{$",
    "cost $5, gain $6",
    r"\alpha_{x}^2 100 %",
    "two\nlines\ttab",
    "\x1b[31mred\x1b[0m\x07",
    "lone \udcff surrogate",
    "\u202eturned",
    "</script><script>alert(1)</script>",
    '=1+1,"quoted"',
    "_left out of legends",
    "x" * 100_000,
    "",
    "   ",
    "\0",
    "שלום 药 🙂",
]


def test_what_a_terminal_would_obey_is_shown():
    assert visible("a\x1b[31m\n\u202e\udcff\x9b") == "a\\x1b[31m\\n\\u202e\\udcff\\x9b"
    assert visible("log₁₀ é שלום 🙂 $x$") == "log₁₀ é שלום 🙂 $x$"
    assert label_of("y" * 10**6) == "y" * 59 + "…"
    assert len(label_of("\x1b" * 10**6)) == 60
    assert untyped("$5 of $6") == r"\$5 of \$6"


def test_labels_are_told_apart():
    assert distinct({"a": "PPO", "b": "PPO", "c": "x"}) == {
        "a": "PPO (a)",
        "b": "PPO (b)",
        "c": "x",
    }
    tricky = {"a": "PPO", "b": "PPO", "c": "PPO (a)", "d": "PPO (a)"}
    assert len(set(distinct(tricky).values())) == 4


def test_agents_are_called_by_the_end_of_their_path_that_tells_them_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/policy", "b/policy", "runs/x", "weekly", "c"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a/plan.json", "b/plan.json", "c/other.json", "daily.json", "c/x.a", "c/x.b"):
        (tmp_path / name).write_text("{}")
    known = ["daily", "weekly", "random"]

    def names(*named):
        return list(name_agents(named, known).values())

    assert names("daily", "random", "runs/x", "c/other.json") == ["daily", "random", "x", "other"]
    assert names("a/policy", "b/policy") == ["a/policy", "b/policy"]
    assert names("a/plan.json", "b/plan.json", "a/policy") == ["a/plan", "b/plan", "policy"]
    assert names("daily.json", "daily") == [f"{tmp_path.name}/daily", "daily"]
    assert names("./weekly") == [f"{tmp_path.name}/weekly"]
    both = names("c/x.a", "c/x.b")
    assert len(set(both)) == 2
    for twice in (
        ("daily", "daily"),
        ("random", "weekly", "random"),
        ("a/plan.json", "./a/../a/plan.json"),
        ("a/policy", str(tmp_path / "a" / "policy")),
    ):
        with pytest.raises(ValueError, match="named twice") as error:
            name_agents(twice, known)
        assert repr(twice[0]) in str(error.value)
        assert repr(twice[-1]) in str(error.value)


def test_a_run_and_its_policy_are_the_same_agent(tmp_path):
    (tmp_path / "run" / "policy").mkdir(parents=True)
    (tmp_path / "run" / "policy" / "policy.json").write_text("{}")
    with pytest.raises(ValueError, match="named twice"):
        name_agents([str(tmp_path / "run"), str(tmp_path / "run" / "policy")], [])


def test_two_plans_of_a_name_and_one_like_a_protocol_are_compared(tmp_path, capsys):
    paths = [tmp_path / "a" / "plan.json", tmp_path / "b" / "plan.json", tmp_path / "weekly.json"]
    for dose, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        PlanAgent([[0.3 * dose]], "PPO").save(path)
    names = [str(path) for path in paths]
    command = ["evaluate", CHEMO, *names, "weekly", "--patients", "2", "--json"]
    assert main([*command, "--baseline", names[1], "--reference", "weekly"]) == 0
    document = json.loads(capsys.readouterr().out)
    labels = document["labels"]
    assert labels == {
        "a/plan": "PPO (a/plan)",
        "b/plan": "PPO (b/plan)",
        f"{tmp_path.name}/weekly": f"PPO ({tmp_path.name}/weekly)",
        "weekly": labels["weekly"],
    }
    assert document["baseline"] == "b/plan"
    returns = {r["agent"]: r["mean"] for r in document["summary"] if r["metric"] == "return"}
    assert len(set(returns.values())) == 4


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "robustness"])
def test_odd_labels_cost_no_results(tmp_path, capsys, command):
    paths = []
    for number, label in enumerate(ODD):
        path = tmp_path / f"plan{number}.json"
        path.write_text(json.dumps({"label": label, "actions": [[number / 20]]}))
        paths.append(str(path))
    out = tmp_path / "out"
    arguments = [command, CHEMO, *paths, "--patients", "2", "--out", str(out)]
    if command == "evaluate":
        arguments += ["--baseline", "plan0", "--reference", "plan7"]
    else:
        arguments += ["--perturb", "dose_bias=0.1"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert not set(printed) & {"\x1b", "\x07", "\0", "\u202e", "\udcff"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "\x1b" not in page
    table = pd.read_csv(out / "results.csv")
    assert sorted(table["agent"].unique()) == sorted(f"plan{n}" for n in range(len(ODD)))
    assert main([*arguments, "--json"]) == 0
    json.loads(capsys.readouterr().out)


def test_an_odd_file_name_costs_no_results(tmp_path, capsys):
    path = tmp_path / "a\x1b[31m\n$x_$\udcff.json"
    PlanAgent([[0.5]]).save(path)
    out = tmp_path / "out"
    arguments = ["evaluate", CHEMO, str(path), "weekly", "--baseline", "weekly", "--patients", "2"]
    assert main([*arguments, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert set(read_json(out / "comparison.json")["labels"]) == {
        "a\\x1b[31m\\n$x_$\\udcff",
        "weekly",
    }


@pytest.mark.parametrize("text", [text for text in ODD if text.strip()])
def test_figures_show_a_text_as_it_is(text):
    label = label_of(text)
    scores = {"x": {"a": Interval(0.0, -1.0, 1.0), "b": Interval(1.0, 0.0, 2.0)}}
    figure = draw(scores_chart(scores, {"a": label, "b": "b"}), label)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        figure.canvas.draw()
        lines = {label: [(0.0, 1.0), (1.0, 2.0)], "b": [(0.0, 1.0)]}
        curves = draw(lines_chart(lines, label, label))
        curves.canvas.draw()
    (axis,) = figure.axes
    assert axis.get_yticklabels()[1].get_text() == untyped(label)
    assert len(curves.axes[0].get_legend().get_texts()) == 2
    Report(text, text).add_text(text).render().encode("utf-8")


def test_a_lone_surrogate_is_written_as_an_escape(tmp_path):
    path = write_text_atomic(tmp_path / "x", "a\udcffb")
    assert path.read_bytes() == b"a\\udcffb"


def test_what_cannot_be_drawn_costs_no_tables(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    monkeypatch.setattr("oncogym.evaluation.comparison.plot_courses", lambda *_: 1 / 0)
    command = ["evaluate", CHEMO, "weekly", "--baseline", "weekly", "--patients", "2"]
    assert main([*command, "--out", str(out), "--json"]) == 4
    printed = capsys.readouterr()
    assert json.loads(printed.out)["patients"] == 2
    assert "the results are saved in" in printed.err
    assert "ZeroDivisionError" in printed.err
    for name in ("results.csv", "summary.csv", "comparison.json", "manifest.json", "report.html"):
        assert (out / name).stat().st_size > 0


def test_drawings_go_on_but_for_what_the_machine_fails_at(tmp_path):
    drawings = Drawings(tmp_path)
    drawings.require_all()
    with drawings.attempt("one"):
        raise KeyError("x")
    with drawings.attempt("two"):
        pass
    with pytest.raises(OSError, match="full"), drawings.attempt("three"):
        raise OSError("full")
    with pytest.raises(ReportError, match=r"one \(KeyError: 'x'\)$"):
        drawings.require_all()


def test_an_unknown_end_of_the_scale_is_said_before_anything_is_evaluated(monkeypatch):
    def evaluated(*_):
        raise AssertionError("evaluated")

    monkeypatch.setattr("oncogym.evaluation.comparison.evaluate_problem", evaluated)
    problem = resolve(CHEMO, patients=1)
    for ends in ({"baseline": "x"}, {"baseline": "a", "reference": "x"}):
        with pytest.raises(ValueError, match=r"unknown (baseline|reference) agent 'x'"):
            Comparison.run(problem, {"a": PlanAgent(np.zeros((1, 1)))}, **ends)
