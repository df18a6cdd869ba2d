"""A robustness study on a page: what it is read from, what is drawn, and where it may stand."""

from __future__ import annotations

import json

import pytest

from oncogym.agents.clinical import clinical_agent
from oncogym.cli.main import main
from oncogym.core.files import CorruptFileError, write_json_atomic
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.report.charts import losses_chart
from oncogym.evaluation.report.plots import draw
from oncogym.evaluation.robustness.report import (
    DOCUMENT,
    distinct,
    losses_table,
    read_study,
    robustness_report,
)
from oncogym.evaluation.robustness.study import Request, read_requests, run_robustness

CHEMO = "oncogym/ChemoDosingCohort-v0"
REQUESTS = [
    Request("missed", (1, 2), (1, 3)),
    Request("dose_error", (0.2, 0.1)),
    Request("observation_noise", (1.0,)),
]


@pytest.fixture(scope="module")
def study():
    problem = resolve(CHEMO, patients=6)
    names = ("daily", "threshold", "no_treatment")
    agents = {name: clinical_agent(problem.treatment, problem.task(1), name) for name in names}
    return run_robustness(problem, agents, REQUESTS, resamples=50)


@pytest.mark.slow
def test_a_folder_gives_back_what_the_study_wrote(study, tmp_path):
    study.save(tmp_path, {"command": "test"})
    assert read_study(tmp_path) == json.loads(json.dumps(study.document()))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page == robustness_report(read_study(tmp_path), {"command": "test"}).render()
    assert "Missed fractions [fractions in a row]" in page
    assert "<td>test</td>" in page


def test_a_curve_has_the_losses_of_the_summary(study):
    labels = distinct(study.labels)
    chart = losses_chart(study.document(), labels).to_json()
    titles = [panel["title"] for panel in chart["panels"]]
    assert titles == [
        "Missed fractions (fractions in a row: 1)",
        "Missed fractions (fractions in a row: 2)",
        "Random dose error",
        "Noise of observations",
    ]
    assert chart["measures"][:2] == ["Return, worse by", "log10 kill, worse by [log10 cells]"]
    two, error = chart["panels"][1:3]
    # Who gives nothing misses nothing; errors of doses he has, and loses nothing.
    assert [line["agent"] for line in two["lines"]] == [0, 1]
    assert [line["agent"] for line in error["lines"]] == [0, 1, 2]
    assert error["lines"][0]["time"] == [0.0, 0.1, 0.2]
    own = study.summary.query("agent == 'daily' and metric == 'return' and kind == 'dose_error'")
    curve = error["lines"][0]["measures"][0]
    for key, column in (("values", "loss"), ("low", "loss_low"), ("high", "loss_high")):
        expected = own.sort_values("size")[column].tolist()
        assert curve[key] == pytest.approx([0.0, *expected], rel=1e-5)
    assert two["lines"][0]["time"] == [1.0, 3.0]


def test_curves_leave_out_means_of_few_patients_and_intervals_that_are_not_known(study):
    document = study.document()
    for row in document["summary"]:
        if row["kind"] == "missed" and row["when"] == 3:
            row["patients"] = 4
        if row["kind"] == "dose_error":
            row["loss_low"] = row["loss_high"] = None
    missed, _, error, _ = losses_chart(document, study.labels).to_json()["panels"]
    assert missed["lines"][0]["time"] == [1.0]
    assert set(error["lines"][0]["measures"][0]) == {"values"}
    assert len(losses_table(document)) == len(study.table())


def test_the_page_and_matplotlib_draw_the_same_losses(study):
    """Every line of the picture is one of the page's, moved sideways so that intervals show."""
    chart = losses_chart(study.document(), distinct(study.labels))
    data = chart.to_json()
    axes = draw(chart, "title").axes
    assert chart.headline == len(study.headline) == 2
    assert [axis.get_ylabel() for axis in axes[:: len(chart.panels)]] == data["measures"][:2]
    for number, axis in enumerate(axes):
        measure, panel = divmod(number, len(chart.panels))
        kind = chart.panels[panel]
        assert axis.get_xlabel() == kind.x
        sizes = [one for one in data["panels"] if one["title"].startswith(kind.label)]
        expected = [line for one in sizes for line in one["lines"]]
        drawn = [line for line in axis.lines if line.get_marker() == "o" and len(line.get_xdata())]
        assert len(drawn) == len(expected) > 0
        for line, wanted in zip(drawn, expected, strict=True):
            values = wanted["measures"][measure]["values"]
            assert line.get_ydata() == pytest.approx(values, rel=1e-5)
            assert line.get_xdata() == pytest.approx(wanted["time"], abs=0.1)
        intervals = [segment for found in axis.collections for segment in found.get_segments()]
        lows = [low for one in expected for low in one["measures"][measure]["low"]]
        assert [segment[0, 1] for segment in intervals] == pytest.approx(lows, rel=1e-5)


def test_agents_with_the_same_label_are_told_apart(study):
    found = distinct({"a": "PPO", "b": "PPO", "c": "x"})
    assert found == {"a": "PPO (a)", "b": "PPO (b)", "c": "x"}
    document = study.document() | {"agents": dict.fromkeys(study.labels, "PPO")}
    assert "PPO (threshold)" in robustness_report(document, {}).render()


def test_a_study_in_which_nothing_took_place_has_a_page(study):
    nothing = run_robustness(
        study.problem, {"none": clinical_agent(study.problem.treatment, study.problem.task(1),
                                               "no_treatment")}, REQUESTS[:1], resamples=20,
    )  # fmt: skip
    page = robustness_report(nothing.document(), {}).render()
    assert "mean of the courses as decided" in page
    assert 'class="chart"' not in page


def damage(document, place, value):
    """The document with another value in a place; ``del`` removes it."""
    *way, last = place
    inner = document
    for step in way:
        inner = inner[step]
    if value == "del":
        del inner[last]
    else:
        inner[last] = value
    return document


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("env",), 3, "env is 3; allowed: text"),
        (("cohort",), "del", "it has no 'cohort'"),
        (("patients",), 0, "patients is 0"),
        (("patients",), "six", "patients is 'six'"),
        (("agents",), [], r"agents is \[\]; allowed: a mapping"),
        (("agents",), {}, "it has no agents"),
        (("agents", "daily"), None, "'daily'.* is None; allowed: text"),
        (("agents", "new"), "New", "agent 'new', kind 'none'.* has no measure"),
        (("kinds", "missed"), "del", "'kind'.* is 'missed'"),
        (("kinds", "missed", "event"), "yes", "'event'.* is 'yes'"),
        (("headline",), ["nothing"], "no measure 'nothing'"),
        (("headline", 0), 1, r"headline\[0\] is 1"),
        (("summary",), [], "no summary"),
        (("summary", 3), None, r"summary\[3\] is None"),
        (("summary", 3, "mean"), "del", r"summary\[3\] has no 'mean'"),
        (("summary", 3, "mean"), "high", "'mean'.* is 'high'; allowed: a finite number or null"),
        (("summary", 3, "agent"), "nobody", "'agent'.* is 'nobody'"),
        (("summary", 3, "size"), -1.0, "'size'.* is -1.0"),
        (("summary", 3, "when"), 0.5, "'when'.* is 0.5"),
        (("summary", 3, "patients"), 7, "'patients'.* is 7"),
        (("summary", 3, "unit"), None, "'unit'.* is None"),
        (("summary", -1), "del", "has no measure 'success'"),
        (("summary", 3, "metric"), "cost", "has the measure 'cost' twice"),
        (("dose_unit",), 5, "dose_unit is 5"),
        (("left_out",), "none", "left_out is 'none'"),
    ],
)
def test_a_damaged_study_is_refused_by_its_place(study, tmp_path, place, value, message):
    document = damage(json.loads(json.dumps(study.document())), place, value)
    (tmp_path / DOCUMENT).write_text(json.dumps(document))
    with pytest.raises(
        CorruptFileError, match=f"{DOCUMENT} is no study of this version: .*{message}"
    ):
        read_study(tmp_path)


def test_a_study_with_what_json_has_no_number_for_is_refused(study, tmp_path):
    document = damage(
        json.loads(json.dumps(study.document())), ("summary", 3, "loss"), float("nan")
    )
    (tmp_path / DOCUMENT).write_text(json.dumps(document))
    with pytest.raises(CorruptFileError, match=f"{DOCUMENT}: NaN is not a number of JSON"):
        read_study(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_study_is_refused(study, tmp_path, share):
    text = json.dumps(study.document())
    (tmp_path / DOCUMENT).write_text(text[: int(share * len(text))])
    with pytest.raises(CorruptFileError, match=DOCUMENT):
        read_study(tmp_path)


def test_the_same_perturbation_twice_is_refused():
    for texts in (
        ["missed=1", "missed=1"],
        ["missed=1@1,2", "missed@2"],
        ["missed", "missed=1@3"],
        ["dose_bias=0.1,0.2", "dose_bias=0.2"],
    ):
        with pytest.raises(ValueError, match="both ask for"):
            read_requests(texts)
    with pytest.raises(ValueError, match=r"size 0\.1 of 'dose_bias' comes twice"):
        read_requests(["dose_bias=0.1,0.1"])
    assert len(read_requests(["missed=1@1", "missed=1@2", "missed=2@1", "dose_bias=0.1"])) == 4


def test_folders_without_a_study_are_refused_before_anything_is_done(tmp_path, capsys):
    out = tmp_path / "benchmark"
    command = ["benchmark", "--out", str(out), "--robustness", str(tmp_path)]
    assert main(command) == 2
    assert f"{tmp_path} holds no study" in capsys.readouterr().err
    assert not out.exists()
    write_json_atomic(tmp_path / DOCUMENT, {"env": CHEMO})
    with pytest.raises(CorruptFileError, match="it has no 'cohort'"):
        read_study(tmp_path)
    write_json_atomic(tmp_path / DOCUMENT, [])
    assert main(command) == 2
    assert "no study of this version" in capsys.readouterr().err
