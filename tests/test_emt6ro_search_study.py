"""Protocols that searches found, scored again beside the source's."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from oncogym.agents.plan import PlanAgent
from oncogym.core.files import CorruptFileError
from oncogym.envs.emt6ro_fractionation import Protocol
from oncogym.envs.emt6ro_fractionation.task import EMT6RoTask
from oncogym.envs.protocols import Schedule
from oncogym.evaluation.reproduce.emt6ro import search_study
from oncogym.evaluation.reproduce.emt6ro.search_study import (
    Search,
    draw,
    plan_parts,
    read_search,
    score_protocol,
    score_spacing,
    spaced,
    spell,
    tabulate,
)
from oncogym.evaluation.reproduce.emt6ro.tables import PROTOCOLS, find_protocol

PUBLISHED = "oncogym/EMT6RoFractionationPublished-v0"
HISTORY = "generation,best,mean,simulations\n0,1200.0,1100.0,80\n1,1190.0,1110.0,160\n"


@pytest.fixture
def folder(tmp_path):
    """Makes the folder of a search that found a protocol again which the source prints."""

    def make(name, printed, env=PUBLISHED, **settings):
        place = tmp_path / name
        place.mkdir()
        protocol = find_protocol(printed).protocol
        actions = EMT6RoTask(1, formulation="published").schedule_actions(
            Schedule(printed, protocol.times)
        )
        about = {"score": 1234.5, "evaluations": 160, "seconds": 7.0}
        PlanAgent(actions, printed).save(place / "plan.json", about)
        settings = {
            "env": env,
            "method": "ga",
            "option": {},
            "set": {"max_dose": 4.0},
            "seed": 3,
            **settings,
        }
        (place / "manifest.json").write_text(json.dumps({"settings": settings}))
        (place / "history.csv").write_text(HISTORY)
        return place

    return make


def search(name="mine", largest=4.0, doses="4@70;2@30", **other):
    found = {
        "method": "ga",
        "gap": 6.0,
        "seed": 0,
        "score": 1300.0,
        "treatments": 80,
        "seconds": 1.0,
    } | other
    return Search(name, largest=largest, protocol=Protocol.parse(doses), **found)


def test_a_search_is_read_as_the_doses_that_its_plan_gives(folder):
    found = read_search(folder("again", "GA4.0-1"))
    assert (
        spell(found.protocol)
        == spell(find_protocol("GA4.0-1").protocol)
        == "3.75@75.5;3.75@24.5;2.5@19"
    )
    assert (found.name, found.largest, found.seed, found.score) == ("again", 4.0, 3, 1234.5)
    assert found.history == ((80, 1200.0), (160, 1200.0))


def test_limits_are_the_methods_or_the_environments(folder):
    own = read_search(folder("own", "GA2.0-1", set={}, option={"max_dose": 6.0, "min_wait": 3.0}))
    assert (own.largest, own.gap) == (6.0, 3.0)
    assert read_search(folder("none", "GA2.0-1", set={"min_gap": None})).gap == 0.5
    assert read_search(folder("gap", "GA2.0-1", set={"min_gap": 6.0})).gap == 6.0


def test_what_is_no_finished_search_is_said(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="not finished"):
        read_search(tmp_path)
    with pytest.raises(ValueError, match="allowed: EMT6/Ro"):
        read_search(folder("other", "GA4.0-1", env="oncogym/ChemoDosing-v0"))
    with pytest.raises(CorruptFileError, match="no search of one plan"):
        read_search(folder("bare", "GA4.0-1", set=None))


def test_printed_protocols_of_the_same_largest_dose_are_scored_too():
    parts = plan_parts([search()], (1000, 200), 1)
    rivals = [row.name for row in PROTOCOLS if row.largest == 4.0]
    assert rivals == ["GA4.0-1", "GA4.0-2"]
    assert [part.name for part in parts] == [
        "equal-4",
        *(f"{name}-{law}" for name in ["mine", *rivals] for law in ("m20", "exact")),
    ]
    assert parts[0].settings == {"largest": 4.0, "runs": 1000, "exact_runs": 200, "seed": 1}
    assert [parts[n].settings for n in (1, 2)] == [
        {"doses": "4@70;2@30", "fidelity": "accelerated", "runs": 1000, "seed": 1},
        {"doses": "4@70;2@30", "fidelity": "exact", "runs": 200, "seed": 1},
    ]


@pytest.mark.parametrize(
    ("searches", "runs", "message"),
    [
        ([], (20, 20), "no search"),
        ([search(), search()], (20, 20), "the name mine"),
        ([search(largest=5.0)], (20, 20), "allows 5 Gy; the source searched with 1.25, 2,"),
        ([search()], (10, 20), "runs is 10"),
        ([search()], (20, 25), "exact_runs is 25"),
    ],
)
def test_bad_input_is_named(searches, runs, message):
    with pytest.raises(ValueError, match=message):
        plan_parts(searches, runs, 0)


def test_a_plan_leads_the_best_printed_one_of_each_law():
    def result(mean, error):
        return {"mean": mean, "error": error, "runs": 20, "versions": {"oncogym": "1"}}

    results = {
        "mine-m20": result(1270.0, 3.0), "mine-exact": result(1260.0, 3.0),
        "GA4.0-1-m20": result(1250.0, 4.0), "GA4.0-1-exact": result(1240.0, 4.0),
        "GA4.0-2-m20": result(1245.0, 4.0), "GA4.0-2-exact": result(1251.0, 4.0),
        "equal-4": {
            "protocol": "2@71.5;4@24;4@24", "search_score": 1270.0, "treatments": 80,
            "search_seconds": 2.0,
            "scores": {"m20": result(1240.0, 3.0), "exact": result(1265.0, 3.0)},
            "versions": {"oncogym": "1"},
        },
    }  # fmt: skip
    table = tabulate([search()], results)
    assert table["name"].tolist() == ["mine", "equal-4", "GA4.0-1", "GA4.0-2"]
    assert table["method"].tolist() == ["ga", "spacing", "printed", "printed"]
    equal = table.iloc[1]
    assert (equal["protocol"], equal["treatments"]) == ("2@71.5;4@24;4@24", 80)
    assert (equal["m20_lead"], equal["m20_better"]) == (-10.0, False)
    assert (equal["exact_lead"], equal["exact_better"]) == (14.0, True)
    mine = table.iloc[0]
    assert (mine["m20_rival"], mine["m20_lead"], mine["m20_better"]) == ("GA4.0-1", 20.0, True)
    assert (mine["exact_rival"], mine["exact_lead"], mine["exact_better"]) == (
        "GA4.0-2",
        9.0,
        False,
    )
    assert mine["m20_lead_error"] == mine["exact_lead_error"] == 5.0
    assert table["m20_lead"].isna().tolist() == [False, False, True, True]


@pytest.mark.parametrize(("largest", "count"), [(1.25, 12), (2.0, 24), (4.0, 2 * 43)])
def test_equal_doses_are_spaced_evenly_to_the_end_of_treatment(largest, count):
    found = spaced(largest)
    assert len({spell(protocol) for protocol in found}) == len(found) == count
    for protocol in found:
        times, doses = zip(*protocol.times, strict=True)
        assert sum(doses) == 10.0
        assert times[-1] == 119.5
        gaps = set(np.diff(times))
        assert len(gaps) == 1
        assert 6.0 <= min(gaps) <= 48.0
        assert sorted(doses)[1:] == [largest] * (len(doses) - 1)


def test_the_spacing_is_chosen_by_screening_and_scored_by_new_runs(monkeypatch):
    asked = []

    def score(doses, fidelity, runs, seed):
        asked.append((doses, fidelity, runs, seed))
        return {"mean": 1.0, "error": 2.0}

    class Runs:
        sites = np.full((3, 10, 8), 300)

    Runs.sites[1] -= 40
    protocols = [Protocol.parse(f"4@{wait};4@24;2@24") for wait in (10, 20, 30)]
    keys = []
    monkeypatch.setattr(search_study, "spaced", lambda largest: protocols)
    monkeypatch.setattr(search_study, "score_protocol", score)
    monkeypatch.setattr(
        search_study, "simulate", lambda given, *rest, **more: keys.append((rest[2], more)) or Runs
    )
    found = score_spacing(4.0, 1000, 200, 1)
    assert (found["protocol"], found["search_score"]) == ("4@20;4@24;2@24", 1240.0)
    assert found["treatments"] == 240
    assert asked == [
        ("4@20;4@24;2@24", "accelerated", 1000, 1), ("4@20;4@24;2@24", "exact", 200, 1)
    ]  # fmt: skip
    ((seed, more),) = keys
    assert seed != 1
    assert (more["fidelity"], more["paired"]) == ("screening", True)
    assert found["scores"]["exact"] == {"mean": 1.0, "error": 2.0, "runs": 200}


def test_scores_are_fitness_with_the_error_within_tumours():
    found = score_protocol("3.75@75.5;3.75@24.5;2.5@19", "screening", 40, 5)
    printed = find_protocol("GA4.0-1")
    assert abs(found["mean"] - printed.mean) < 6.0 * found["error"]
    assert 0.3 < found["error"] / (printed.sd / 40**0.5) < 2.0
    assert score_protocol("3.75@75.5;3.75@24.5;2.5@19", "screening", 40, 5) == found


def test_the_figure_shows_each_search(folder):
    figure = draw([read_search(folder("again", "GA4.0-1")), search()])
    left, right = figure.axes
    assert [line.get_label() for line in left.get_lines()] == ["again"]
    assert right.get_title() == "5 sub-modules of 2 found protocols"
    assert right.collections


def test_the_figure_of_equal_doses_has_no_density(folder):
    right = draw([read_search(folder("equal", "GA1.25-1"))]).axes[1]
    assert right.get_title() == "8 sub-modules of 1 found protocols"
    assert not right.collections


def test_the_command_goes_on_where_it_was_and_writes_table_and_figure(
    folder, tmp_path, monkeypatch, capsys
):
    scored = []

    def score(doses, fidelity, runs, seed, progress):
        scored.append((doses, fidelity))
        return {"mean": 1200.0 + len(scored), "error": 1.0}

    def equal(largest, runs, exact_runs, seed, progress):
        scores = {law: {"mean": 1190.0, "error": 1.0, "runs": 20} for law in ("m20", "exact")}
        return {"protocol": "4@1", "search_score": 1.0, "treatments": 8, "search_seconds": 1.5,
                "scores": scores}  # fmt: skip

    monkeypatch.setattr(search_study, "score_protocol", score)
    monkeypatch.setattr(search_study, "score_spacing", equal)
    out = tmp_path / "study"
    arguments = [str(folder("again", "GA4.0-1")), "--runs", "20", "--exact-runs", "20"]
    for _ in range(2):
        assert search_study.main([*arguments, "--out", str(out)]) == 0
    assert len(scored) == 6
    table = pd.read_csv(out / search_study.TABLE)
    assert table["method"].tolist() == ["ga", "spacing", "printed", "printed"]
    # Of equal doses the time in which they were searched, not that of the new runs.
    assert table["seconds"].tolist()[1] == 1.5
    assert (out / search_study.FIGURE).stat().st_size > 10_000
    assert "again" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        search_study.main([str(tmp_path), "--out", str(tmp_path / "none")])
    assert "not finished" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
