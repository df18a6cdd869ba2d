"""The report in a real browser: opened from its file, clicked through, asked for values."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from oncogym.agents import clinical_agents
from oncogym.agents.clinical import RandomAgent, clinical_agent
from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.report.charts import lines_chart, scores_chart
from oncogym.evaluation.report.courses import Courses, thin
from oncogym.evaluation.report.first_screen import MOST, scores_of_all, sentences
from oncogym.evaluation.report.page import Report
from oncogym.evaluation.report.plots import draw
from oncogym.evaluation.report.suite import overview, suite_report
from oncogym.evaluation.rivals import KeyNumber
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
        studies=[study.document()], folders={env_id: f"{env_id[8:]}/" for env_id in comparisons},
    )  # fmt: skip
    return report.write(tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def chromium():
    pytest.importorskip("playwright", reason="needs Playwright")
    from chromium import Browser, find

    if find() is None:
        pytest.skip("Chromium is not installed")
    with Browser() as browser:
        yield browser


@pytest.fixture
def opened(chromium, page):
    chromium.errors.clear()
    chromium.requests.clear()
    chromium.open(page.as_uri())
    yield chromium
    assert chromium.errors == []
    assert chromium.requests == []


# The browsers of courses, one in the part of each environment.
MARK = """[...document.querySelectorAll('section.tab')].slice(1, 3).forEach((part, i) => {
  part.querySelector('figure.chart').id = `browser${i}`; })"""


def curves(number: int) -> str:
    paths = f"[...document.querySelectorAll('#browser{number} .curve')]"
    return f"{paths}.map(c => c.getAttribute('d')).join('|')"


def show_tab(browser, number: int) -> None:
    browser.run(MARK)
    browser.click(f"[role=tab]:nth-of-type({number + 1})")


def choose(browser, selector: str, value: int, event: str) -> None:
    """Set a list or a slider, and tell the page."""
    name = "selectedIndex" if event == "change" else "value"
    browser.run(
        f"(s => {{ s.{name} = {value}; s.dispatchEvent(new Event('{event}')); }})"
        f"(document.querySelector('{selector}'))"
    )


def test_parts_are_tabs_for_mouse_and_keyboard(opened):
    shown = "[...document.querySelectorAll('section.tab')].flatMap((s, i) => s.hidden ? [] : [i])"
    chosen = "[...document.querySelectorAll('[role=tab]')].map(t => t.ariaSelected)"
    assert opened.run("document.querySelectorAll('[role=tab]').length") == 4
    assert opened.run(shown) == [0]
    opened.click("[role=tab]:nth-of-type(3)")
    assert opened.run(shown) == [2]
    assert opened.run(chosen) == ["false", "false", "true", "false"]
    assert opened.run("location.hash") == "#chemodosing-v0"
    for key, place in (("ArrowRight", 3), ("ArrowRight", 0), ("ArrowLeft", 3), ("Home", 0)):
        opened.press(key)
        assert opened.run(shown) == [place]
    assert opened.run("document.activeElement.textContent") == "Overview"
    # A part that is hidden has no stop of the tabulator; those of tables and lists stay few.
    stops = """[...document.querySelectorAll('a, button, input, select, summary, [tabindex="0"]')]
      .filter(e => e.offsetParent && e.tabIndex >= 0).length"""
    assert opened.run(stops) < 40
    # On paper everything is there.
    opened.page.emulate_media(media="print")
    assert opened.run(
        "[...document.querySelectorAll('section.tab')].every(s => s.offsetHeight > 0)"
    )
    opened.page.emulate_media(media="screen")


def test_the_first_screen_compares_all_treatments(opened, comparisons):
    text = opened.run("document.querySelector('figure.chart').getAttribute('class')")
    assert text == "chart"
    top = opened.run("document.querySelector('figure.chart').getBoundingClientRect().top")
    assert top < 600
    titles = "[...document.querySelectorAll('figure.chart .title')].map(t => t.textContent)"
    names = [env_id.rpartition("/")[2] for env_id in ENVS]
    assert opened.run(titles) == names
    rows = opened.run(
        "[...document.querySelector('figure.chart').querySelectorAll('g[aria-label]')]"
        ".map(g => g.getAttribute('aria-label'))"
    )
    for short, comparison in zip(names, comparisons.values(), strict=True):
        for name in comparison.standing.rows():
            (row,) = [r for r in rows if r.startswith(f"{short}, {comparison.labels[name]}, ")]
            estimate = comparison.scores["mean"][name].estimate
            said = f"{estimate:.3f}".replace("-", "\N{MINUS SIGN}") if estimate else "0"
            assert f"score {said}" in row
    links = opened.run(
        "[...document.querySelectorAll('.files a')].map(a => a.getAttribute('href'))"
    )
    assert {"overview.csv", "ChemoDosing-v0/results.csv"} <= set(links)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(opened, scheme):
    opened.page.emulate_media(color_scheme=scheme)
    page = opened.run("getComputedStyle(document.body).backgroundColor")
    assert page == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 28)"}[scheme]
    opened.page.emulate_media(color_scheme="light")


def test_patient_and_agents_change_the_picture(opened, comparisons):
    show_tab(opened, 1)
    told = "document.querySelector('#browser0 .told').textContent"
    first = opened.run(curves(0))
    assert first
    assert f"{ENVS[0]}, patient 0" in opened.run(told)
    assert re.search(r"elimination_rate [\d.]+ 1/d", opened.run(told))

    limits = "[...document.querySelectorAll('#browser0 .limit-name')].map(t => t.textContent)"
    assert opened.run(limits) == ["one cell 0", "limit 3"]
    keys = "[...document.querySelectorAll('#browser0 .key .keyed')].map(t => t.textContent)"
    shown = comparisons[ENVS[0]].protagonists
    assert opened.run(keys) == [comparisons[ENVS[0]].labels[name] for name in shown]

    choose(opened, "#browser0 input[type=range]", 3, "input")
    second = opened.run(curves(0))
    assert second != first
    assert "patient 3" in opened.run(told)
    opened.click("#browser0 .controls button[aria-label='next patient']")
    assert "patient 4" in opened.run(told)
    assert opened.run("document.querySelector('#browser0 input[type=range]').value") == "4"
    assert opened.run(curves(0)) != second
    assert opened.run("location.hash").startswith("#courses:0,4,")

    show_tab(opened, 2)
    assert f"{ENVS[1]}, patient 0" in opened.run(
        "document.querySelector('#browser1 .told').textContent"
    )
    count = "document.querySelectorAll('#browser1 .curve').length"
    rows = "document.querySelectorAll('#browser1 .outcomes tbody tr').length"
    agents = len(comparisons[ENVS[1]].labels)
    shown = len(comparisons[ENVS[1]].protagonists)
    assert opened.run(rows) == shown
    before = opened.run(count)
    opened.click("#browser1 details.folded summary")
    opened.click("#browser1 .agents label:nth-of-type(1)")
    assert opened.run(rows) == shown + 1
    assert opened.run(count) == before // shown * (shown + 1)
    opened.click("#browser1 .choices button:nth-of-type(2)")
    assert (opened.run(rows), opened.run(count)) == (0, 0)
    opened.click("#browser1 .choices button:nth-of-type(1)")
    assert opened.run(rows) == agents


def test_panels_tell_values_to_the_mouse_and_to_the_keyboard(opened):
    show_tab(opened, 1)
    opened.point("#browser0 .panel:nth-of-type(2) svg", 0.5)
    hint = "[...document.querySelectorAll('#browser0 .hint')].filter(h => !h.hidden)"
    assert opened.run(f"{hint}.length") == 1
    assert "day" in opened.run(f"{hint}[0].textContent")
    # The cursor stands in every panel of the same axis.
    shown = "[...document.querySelectorAll('#browser0 .cursor')]"
    shown += ".map(c => c.getAttribute('visibility'))"
    assert set(opened.run(shown)) == {"visible"}
    opened.run("document.querySelector('#browser0 .panel:nth-of-type(2) svg').focus()")
    opened.press("ArrowRight")
    spoken = opened.run("document.querySelectorAll('#browser0 [aria-live]')[1].textContent")
    assert spoken.startswith("day 0.42: ")
    assert spoken.count(";") == 2  # three agents
    opened.press("End")
    spoken = opened.run("document.querySelectorAll('#browser0 [aria-live]')[1].textContent")
    assert spoken.startswith("day 60.6: ")


def test_measures_agents_and_tables_of_an_environment(opened):
    opened.click("[role=tab]:nth-of-type(2)")
    opened.run(
        "document.querySelectorAll('section.tab')[1].querySelectorAll('.chart')[1].id = 'all'"
    )
    svg = "document.querySelector('#all .stage svg').outerHTML"
    first = opened.run(svg)
    choose(opened, "#all select", 2, "change")
    assert opened.run(svg) != first
    rows = "document.querySelectorAll('#all .stage g').length"
    before = opened.run(rows)
    opened.click("#all details.folded summary")
    opened.click("#all .agents label")
    assert opened.run(rows) < before
    opened.point("#all .stage g", 0.6)
    assert "95 % interval" in opened.run("document.querySelector('#all .hint').textContent")
    # The arrow keys go from agent to agent, and the figure has one stop of the tabulator.
    opened.run("document.querySelector('#all .stage g').focus()")
    told = "document.activeElement.getAttribute('aria-label')"
    labels = [opened.run(told)]
    for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
        opened.press(key)
        labels.append(opened.run(told))
    assert labels[1] == labels[3]
    assert len(set(labels)) == 3
    assert opened.run("document.querySelectorAll('#all .stage g[tabindex=\"0\"]').length") == 1
    opened.click("section:not([hidden]) table.sortable thead button")
    assert opened.run("document.querySelector('th[aria-sort]').ariaSort") == "ascending"


@pytest.fixture(scope="module")
def mapped():
    """A page with the courses of two patients of proton therapy under two protocols."""
    problem = resolve("oncogym/IMPTBeamWeightingCohort-v0", patients=2)
    agents, _ = clinical_agents(problem.treatment, problem.task(1))
    return Courses.record(problem, {name: agents[name] for name in ("robust", "adapted")})


def test_structures_share_a_panel_and_doses_are_mapped(chromium, mapped, tmp_path):
    document = mapped.document({"robust": "Static", "adapted": "Adapted"}, ["robust", "adapted"])
    page = Report("Protons").add_chart(document, "Courses.", "Courses").write(tmp_path / "p.html")
    chromium.errors.clear()
    chromium.open(page.as_uri())
    names = [trace.label for trace in mapped.traces["robust"][0] if trace.panel]
    assert len(names) > 2
    told = "svg => svg.getAttribute('aria-label')"
    panels = chromium.run(f"[...document.querySelectorAll('.panel svg')].map({told})")
    (shared,) = [text for text in panels if text.startswith("volume [%] against accumulated dose")]
    for name in names:
        assert f"Static, {name}" in shared
        assert f"Adapted, {name}" in shared

    maps = "[...document.querySelectorAll('.map')]"
    assert chromium.run(f"{maps}.map(m => m.querySelector('figcaption')?.textContent ?? '')") == [
        "Static", "Adapted", "A plane of 16 x 16 cm",
    ]  # fmt: skip
    dose = mapped.maps["adapted"][0][0]
    outlines = chromium.run(f"{maps}[1].querySelectorAll('.outline.line').length")
    assert outlines == len(dose.outlines)
    # The higher the dose, the lighter the place.
    drawn = chromium.page.evaluate(
        """async () => {
          const image = new Image(), canvas = document.createElement('canvas');
          image.src = document.querySelectorAll('.map image')[1].getAttribute('href');
          await image.decode();
          [canvas.width, canvas.height] = [image.width, image.height];
          const context = canvas.getContext('2d');
          context.drawImage(image, 0, 0);
          return [...context.getImageData(0, 0, image.width, image.height).data]; }"""
    )
    light = np.reshape(drawn, (*dose.values.shape, 4))[::-1, :, :3].sum(axis=2)
    order = np.argsort(dose.values, axis=None)
    assert (np.diff(light.ravel()[order]) >= -16).all()
    assert light.ravel()[order[-1]] > light.ravel()[order[0]] + 300
    chromium.run("document.querySelectorAll('.agents input')[1].click()")
    assert chromium.run(f"{maps}.length") == 2
    assert chromium.errors == []


def test_a_map_is_that_of_the_course(mapped):
    for name, courses in mapped.maps.items():
        for own, traces in zip(courses, mapped.traces[name], strict=True):
            (dose,) = own
            assert 0.9 < dose.values.max() / dose.marks["prescription"] < 1.3
            left, right, low, high = dose.extent
            assert dose.values.shape == pytest.approx(((high - low) / 0.5, (right - left) / 0.5))
            assert {trace.label for trace in traces if trace.panel} <= set(dose.outlines)
            for pieces in dose.outlines.values():
                for piece in pieces:
                    assert (piece[:, 0] > left).all()
                    assert (piece[:, 0] < right).all()


def test_losses_are_told_with_their_intervals_where_there_are_any(opened, study):
    opened.click("[role=tab]:nth-of-type(4)")
    opened.run("[...document.querySelectorAll('figure.chart')].at(-1).id = 'losses'")
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


def test_an_address_opens_the_page_at_a_choice(opened, page):
    told = "[...document.querySelectorAll('section:not([hidden]) .told')].map(t => t.textContent)"
    opened.open("about:blank")
    opened.open(page.as_uri() + "#courses:1,2,0.1.2")
    (said,) = opened.run(told)
    assert said.startswith(f"{ENVS[1]}, patient 2: ")
    assert said.partition(": ")[2].count(",") >= 2
    opened.open("about:blank")
    opened.open(page.as_uri() + "#courses:9,999,77")
    assert opened.run(told) == []  # no such environment: the page as it is
    opened.open("about:blank")
    opened.open(page.as_uri() + "#chemodosing-v0")
    assert opened.run("document.querySelector('[role=tab][aria-selected=true]').textContent") == (
        "ChemoDosing-v0"
    )


@pytest.mark.parametrize("width", [390, 800, 1400])
def test_every_control_has_a_name_and_nothing_sticks_out(opened, width):
    unnamed = """[...document.querySelectorAll('select, input, button, svg[tabindex], [role]')]
      .filter(e => !(e.ariaLabel || e.labels?.length || e.textContent.trim()
        || e.hasAttribute('aria-labelledby'))).length"""
    assert opened.run(unnamed) == 0
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    opened.page.set_viewport_size({"width": width, "height": 800})
    for number in range(4):
        opened.click(f"[role=tab]:nth-of-type({number + 1})")
        assert opened.run(wide) <= 0
    # A wide table scrolls within its frame.
    frames = "[...document.querySelectorAll('.scroll')].filter(f => f.offsetParent)"
    assert opened.run(f"{frames}.every(f => getComputedStyle(f).overflowX === 'auto')")
    opened.page.set_viewport_size({"width": 1100, "height": 900})
    if width == 800:
        assert len(opened.page.pdf()) > 10_000


def test_no_number_has_an_exponent(opened):
    texts = opened.run(
        "[...document.querySelectorAll('td:not(.provenance *), .tick, .told, text')]"
        ".map(e => e.textContent)"
    )
    assert len(texts) > 200
    assert not [text for text in texts if re.search(r"\d(\.\d+)?e[+\-\N{MINUS SIGN}]?\d", text)]


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
    assert document["kind"] == "courses"
    assert document["units"]["elimination_rate"] == "1/d"


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


def test_the_sentences_are_those_of_the_numbers(comparisons):
    first, second, third = sentences([one.standing for one in comparisons.values()]).split("\n\n")
    for env_id, comparison in comparisons.items():
        best, name = comparison.labels[comparison.rival], env_id.rpartition("/")[2]
        assert f"{best} ({name})" in first
        gain = f"{comparison.gains[comparison.rival]}".replace("-", "\N{MINUS SIGN}")
        clinic = comparison.labels[comparison.baseline]
        assert f"{best} minus {clinic}: {gain} ({name})" in second
    assert third == "Nothing was trained here, so no policy is held against a rule."


def test_a_plan_that_is_the_best_of_all_is_called_that(comparisons):
    comparison = comparisons[ENVS[0]]
    rows = comparison.results[comparison.results["agent"] == comparison.rival]
    better = rows.assign(agent="plan", **{"return": rows["return"] + 1.0})
    own = replace(
        comparison,
        results=pd.concat([comparison.results, better], ignore_index=True),
        sees={**comparison.sees, "plan": "nothing"},
        labels={**comparison.labels, "plan": "Plan"},
        gains={**comparison.gains, "plan": Interval(2.0, 1.0, 3.0)},
    )
    # The key number compares policies with rules and controllers all the same.
    assert own.rival == comparison.rival
    first, second, _ = sentences([own.standing]).split("\n\n")
    assert first.endswith(f"has Plan ({own.standing.treatment}).")
    assert "Plan minus " in second


def key(low: float, high: float) -> KeyNumber:
    return KeyNumber("ppo", "rule", Interval((low + high) / 2, low, high), (0.5, 0.5), (0.0, 0.0))


def test_the_verdict_counts_what_is_beyond_noise(comparisons):
    standing = comparisons[ENVS[0]].standing
    own = replace(standing, labels={**standing.labels, "ppo": "PPO", "rule": "Rule"})
    cases = [replace(own, key=key(*ends)) for ends in ((1, 2), (-2, -1), (-1, 1), (-2, -0.5))]
    text = sentences(cases)
    assert "In 4 environments with a trained policy, it is beyond the best rule or" in text
    assert "controller in 1, behind it in 2, and within noise of it in 1." in text
    assert text.count("PPO minus Rule: ") == 4
    alone = sentences([cases[0]])
    assert "In one environment with a trained policy" in alone
    assert f"PPO minus Rule: 1.500 [1.000, 2.000] ({own.treatment})." in alone


def test_the_chart_keeps_the_best_and_those_of_interest(comparisons):
    standing = comparisons[ENVS[0]].standing
    scores = {f"a{k}": Interval(float(-k), float(-k), float(-k)) for k in range(12)}
    own = replace(
        standing, scores=scores, shown=["a11"], trained=["a0"], labels={n: n for n in scores},
        sees=dict.fromkeys(scores, "nothing"), ends=("a1", "a0"),
    )  # fmt: skip
    assert own.rows() == [*(f"a{k}" for k in range(MOST)), "a11"]
    chart = scores_of_all([own])
    kinds = [row["kind"] for row in chart["groups"][0]["rows"]]
    assert kinds == ["trained", *["fixed"] * MOST]
    assert scores_of_all([replace(own, scores={})]) is None
