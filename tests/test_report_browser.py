"""The report in a real browser: opened from its file, clicked through, asked for values."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from chromium import Browser, find

from oncogym.agents import clinical_agents
from oncogym.agents.clinical import RandomAgent, clinical_agent
from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.report.charts import lines_chart, scores_chart
from oncogym.evaluation.report.courses import Courses, browser, thin
from oncogym.evaluation.report.page import Report
from oncogym.evaluation.report.plots import draw
from oncogym.evaluation.report.suite import overview, suite_report
from oncogym.evaluation.robustness.outcome import Robustness
from oncogym.evaluation.robustness.study import Request, run_robustness
from oncogym.evaluation.statistics import Interval

ENVS = ("oncogym/ChemoDosingCohort-v0", "oncogym/ChemoDosing-v0")
CURVES = {f"seed {k}": [(0.0, 0.0), (10.0, k + 1.0), (20.0, k + 2.0)] for k in range(3)}


def compare(env_id: str, patients: int) -> Comparison:
    problem = resolve(env_id, patients=patients)
    task = problem.task(1)
    agents, left_out = clinical_agents(problem.treatment, task)
    agents["random"] = RandomAgent(int(np.prod(task.action_space.shape)))
    comparison = Comparison.run(
        problem, agents, baseline=problem.variant.baseline, reference="daily", left_out=left_out
    )
    comparison.figures["Learning"] = lines_chart(CURVES, "decisions", "return", mean=True)
    return comparison


@pytest.fixture(scope="module")
def comparisons() -> dict[str, Comparison]:
    return {env_id: compare(env_id, count) for env_id, count in zip(ENVS, (80, 60), strict=True)}


@pytest.fixture(scope="module")
def study() -> Robustness:
    problem = resolve(ENVS[0], patients=8)
    names = ("daily", "threshold")
    agents = {name: clinical_agent(problem.treatment, problem.task(1), name) for name in names}
    requests = [Request("missed", (1, 2), (1, 20, 30)), Request("dose_error")]
    return run_robustness(problem, agents, requests, resamples=50)


@pytest.fixture(scope="module")
def page(comparisons, study, tmp_path_factory) -> Path:
    report = suite_report(
        comparisons, "Two environments", "A test.", {"command": "test"},
        studies=[study.document()],
    )  # fmt: skip
    return report.write(tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def chromium():
    if find() is None:
        pytest.skip("Chromium is not installed")
    # A short path of its own: the browser refuses sockets with long names.
    with tempfile.TemporaryDirectory() as folder, Browser(Path(folder)) as browser:
        yield browser


@pytest.fixture
def opened(chromium, page):
    chromium.errors.clear()
    chromium.requests.clear()
    chromium.open(page.as_uri())
    yield chromium
    assert chromium.errors == []
    assert chromium.requests == []


# The last chart is the browser.
LAST = "[...document.querySelectorAll('figure.chart')].at(-1)"
MARK = f"{LAST}.id = 'browser'"
CURVE = "[...document.querySelectorAll('#browser .curve')].map(c => c.getAttribute('d')).join('|')"


def choose(browser: Browser, number: int, index: int) -> None:
    """Choose an option of the browser's first (environment) or second (patient) list."""
    browser.run(
        f"(s => {{ s.selectedIndex = {index}; s.dispatchEvent(new Event('change')); }})"
        f"(document.querySelectorAll('#browser select')[{number}])"
    )


def test_environment_patient_and_agents_change_the_picture(opened, comparisons):
    opened.run(MARK)
    told = "document.querySelector('#browser .told').textContent"
    first = opened.run(CURVE)
    assert first
    assert ENVS[0] in opened.run(told)
    assert "patient 0" in opened.run(told)
    assert "elimination_rate" in opened.run(told)

    choose(opened, 1, 3)
    second = opened.run(CURVE)
    assert second != first
    assert "patient 3" in opened.run(told)
    opened.click("#browser .controls button[aria-label='next patient']")
    assert "patient 4" in opened.run(told)
    assert opened.run(CURVE) != second

    choose(opened, 0, 1)
    assert ENVS[1] in opened.run(told)
    assert "patient 0" in opened.run(told)

    count = "document.querySelectorAll('#browser .curve').length"
    rows = "document.querySelectorAll('#browser .outcomes tbody tr').length"
    agents = len(comparisons[ENVS[1]].labels)
    assert opened.run(rows) == 2  # baseline and reference
    before = opened.run(count)
    opened.click("#browser .agents label:nth-of-type(1)")
    assert opened.run(rows) == 3
    assert opened.run(count) == before // 2 * 3
    opened.click("#browser .choices button:nth-of-type(2)")
    assert (opened.run(rows), opened.run(count)) == (0, 0)
    opened.click("#browser .choices button:nth-of-type(1)")
    assert opened.run(rows) == agents


def test_panels_tell_values_to_the_mouse_and_to_the_keyboard(opened):
    opened.run(MARK)
    opened.point("#browser .panel:nth-of-type(2) svg", 0.5)
    hint = "[...document.querySelectorAll('#browser .hint')].filter(h => !h.hidden)"
    assert opened.run(f"{hint}.length") == 1
    assert "day" in opened.run(f"{hint}[0].textContent")
    # The cursor stands in every panel of the same axis.
    shown = "[...document.querySelectorAll('#browser .cursor')]"
    shown += ".map(c => c.getAttribute('visibility'))"
    assert set(opened.run(shown)) == {"visible"}
    opened.run("document.querySelector('#browser .panel:nth-of-type(2) svg').focus()")
    opened.press("ArrowRight")
    spoken = opened.run("document.querySelectorAll('#browser [aria-live]')[1].textContent")
    assert spoken.startswith("day 0.42: ")
    assert spoken.count(";") == 1  # two agents
    opened.press("End")
    spoken = opened.run("document.querySelectorAll('#browser [aria-live]')[1].textContent")
    assert spoken.startswith("day 60.6: ")


def test_measures_agents_and_tables_of_an_environment(opened):
    svg = "document.querySelector('figure.chart svg[viewBox]').outerHTML"
    first = opened.run(svg)
    opened.run(
        "(s => { s.selectedIndex = 2; s.dispatchEvent(new Event('change')); })"
        "(document.querySelector('figure.chart select'))"
    )
    assert opened.run("document.querySelector('figure.chart .stage svg').outerHTML") != first
    rows = "document.querySelectorAll('figure.chart:first-of-type .stage g').length"
    before = opened.run(rows)
    opened.click("figure.chart .agents label")
    assert opened.run(rows) < before
    opened.point("figure.chart .stage g", 0.6)
    assert "95 % interval" in opened.run("document.querySelector('.stage .hint').textContent")
    opened.click("table.sortable thead button")
    assert opened.run("document.querySelector('th[aria-sort]').ariaSort") == "ascending"


def test_losses_are_told_with_their_intervals_where_there_are_any(opened, study):
    opened.run("[...document.querySelectorAll('figure.chart')].at(-2).id = 'losses'")
    shapes = "[...document.querySelectorAll('#losses .curve')].map(c => c.getAttribute('d')).join()"
    count = "document.querySelectorAll('#losses .panel').length"
    assert opened.run(count) == 3  # one or two missed, dose errors
    own = study.summary.query("metric == 'return' and size == 1 and when == 20")
    lines = [
        f"{study.labels[row.agent]}: {row.loss:.3f} [{row.loss_low:.3f}, {row.loss_high:.3f}]"
        for row in own.itertuples()
    ]
    opened.point("#losses .panel svg", 0.6)
    hint = "document.querySelector('#losses .hint').textContent"
    told = opened.run(hint)
    assert told.startswith("number of the fraction 20")
    for line in lines:
        assert line.replace("-", "\N{MINUS SIGN}") in told
    opened.run("document.querySelector('#losses .panel svg').focus()")
    spoken = "document.querySelector('#losses [aria-live]').textContent"
    for key, place in (("ArrowRight", 20), ("End", 30), ("ArrowRight", 30), ("Home", 1)):
        opened.press(key)
        assert opened.run(spoken).startswith(f"number of the fraction {place}: ")
    ticks = "[...document.querySelectorAll('#losses .panel svg')][0].querySelectorAll('.tick')"
    middle = f"[...{ticks}].filter(t => t.getAttribute('text-anchor') === 'middle')"
    assert opened.run(f"{middle}.every(t => Number.isInteger(+t.textContent))")
    before = opened.run(shapes)
    opened.run(
        "(s => { s.selectedIndex = 1; s.dispatchEvent(new Event('change')); })"
        "(document.querySelector('#losses select'))"
    )
    assert opened.run(shapes) != before
    opened.click("#losses .agents label:nth-of-type(1)")
    assert opened.run("document.querySelectorAll('#losses .curve').length") == 3


def test_an_address_opens_the_browser_at_a_choice(opened, page):
    opened.open("about:blank")
    opened.open(page.as_uri() + "#courses:1,2,0.1.2")
    told = opened.run(f"{LAST}.querySelector('.told').textContent")
    assert f"{ENVS[1]}, patient 2" in told
    assert told.count(",") >= 3
    opened.open("about:blank")
    opened.open(page.as_uri() + "#courses:9,999,77")
    assert ENVS[0] in opened.run(f"{LAST}.querySelector('.told').textContent")


def test_every_control_has_a_name_and_nothing_sticks_out(opened):
    unnamed = """[...document.querySelectorAll('select, input, button, svg[tabindex], [role]')]
      .filter(e => !(e.ariaLabel || e.labels?.length || e.textContent.trim())).length"""
    assert opened.run(unnamed) == 0
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.run(wide) <= 0
    opened.call(
        "Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1,
        mobile=False,
    )  # fmt: skip
    assert opened.run(wide) <= 0
    opened.call("Emulation.clearDeviceMetricsOverride")
    assert len(opened.call("Page.printToPDF")["data"]) > 10_000


def test_the_page_stays_small(page):
    assert page.stat().st_size < 1_500_000


def test_the_page_and_matplotlib_draw_the_same_curves():
    chart = lines_chart(CURVES, "decisions", "return", mean=True)
    mean, *series = chart.to_json()["series"]
    (axis,) = draw(chart).axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("decisions", "return")
    for line, one in zip(axis.lines, [*series, mean], strict=True):
        assert line.get_xdata() == pytest.approx(one["time"])
        assert line.get_ydata() == pytest.approx(one["values"], rel=1e-5)
    assert mean["values"] == [0.0, 2.0, 3.0]
    (band,) = axis.collections
    corners = {(x, y) for x, y in band.get_paths()[0].vertices.round(4).tolist()}
    for key in ("low", "high"):
        assert {(x, round(y, 4)) for x, y in zip(mean["time"], mean[key], strict=True)} <= corners


def test_the_page_and_matplotlib_draw_the_same_scores():
    scores = {"mean": {"a": Interval(0.5, 0.25, 0.75), "b": Interval(1.0, 0.5, 1.25)}}
    chart = scores_chart(scores, {"b": "B", "missing": "M", "a": "A"})
    (measure,) = chart.to_json()["measures"]
    (axis,) = draw(chart).axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["A", "M", "B"]
    assert axis.get_xlabel() == f"{measure['label']}, 95 % interval"
    rows = [row for row in measure["rows"] if row is not None]
    assert len(rows) == 2
    drawn = [list(line.get_xdata()) for line in axis.lines[:4]]
    assert drawn == [
        part for row in rows for part in ([row["low"], row["high"]], [row["estimate"]])
    ]
    assert {text.get_text(): text.xy[0] for text in axis.texts} == measure["marks"]


def test_data_cannot_end_its_block():
    chart = lines_chart({"</script><b>": [(0.0, 1.0), (1.0, np.nan)]}, "x", "y")
    text = Report("t").add_chart(chart, "c", "alt").render()
    assert "</script><b>" not in text
    assert "\\u003c/script>" in text
    with pytest.raises(ValueError, match="alternative text"):
        Report("t").add_chart(chart, "c", "")


def test_thinned_curves_keep_their_shape():
    time = np.linspace(0.0, 10.0, 5001)
    values = np.where(time % 2.0 < 1.0, np.exp(-time), 0.3) + 0.01 * np.sin(3 * time)
    kept = thin(time, values, most=400, tolerance=2e-3)
    assert len(kept) < 200
    again = np.interp(time, time[kept], values[kept])
    assert np.abs(again - values).max() <= 2e-3 * np.ptp(values)
    assert len(thin(time, np.random.default_rng(0).normal(size=5001), most=50)) == 50
    assert thin(time[:1], values[:1]).tolist() == [0]
    assert len(thin(time, np.zeros(5001))) == 2


def test_courses_are_those_of_the_agents_and_the_patients():
    problem = resolve(ENVS[0], patients=20)
    agents, _ = clinical_agents(problem.treatment, problem.task(1))
    courses = Courses.record(problem, agents, patients=3)
    labels = {name: name for name in agents}
    document = courses.document(labels, ["daily"])
    assert [one["number"] for one in document["patients"]] == [0, 1, 2]
    assert [a["label"] for a in document["agents"] if a["first"]] == ["daily"]
    patient = document["patients"][1]
    assert set(patient["about"]) <= set(problem.treatment.patient.FIELDS)
    daily = list(agents).index("daily")
    times, doses = patient["courses"][daily][0]
    assert patient["panels"][0]["events"]
    np.testing.assert_allclose(doses, courses.traces["daily"][1][0].values, atol=1e-3)
    assert len(times) == len(doses)
    assert patient["outcomes"][daily][0] == pytest.approx(courses.ends["daily"].returns[1], 1e-4)
    assert browser([document])["kind"] == "courses"


def test_overview_has_the_ends_the_best_rival_and_what_they_see(comparisons):
    table = overview(comparisons)
    assert list(table["Environment"].unique()) == list(ENVS)
    for env_id, comparison in comparisons.items():
        own = table[table["Environment"] == env_id].set_index("Agent")
        assert list(own.index) == [comparison.labels[name] for name in comparison.protagonists]
        assert comparison.rival in comparison.protagonists
        assert own["Sees"].to_dict() == {
            comparison.labels[name]: comparison.sees[name] for name in comparison.protagonists
        }
        assert own.loc[comparison.labels["daily"], "Normalised score"].estimate == 1.0
