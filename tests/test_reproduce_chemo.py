"""The command that puts a source's numbers beside ours, and the chemotherapy source."""

from __future__ import annotations

import argparse
import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from oncogym.cli import reproduce as command
from oncogym.core.errors import UnknownNameError
from oncogym.core.files import OutputFolderError
from oncogym.envs.chemo_dosing.model import published_cost, simulate
from oncogym.evaluation.reproduce import checks as generic
from oncogym.evaluation.reproduce.chemo import figures as chemo_figures
from oncogym.evaluation.reproduce.chemo import source as chemo

FIELDS = ["id", "quantity", "published", "obtained", "tolerance", "ok", "note"]
SCHEDULES = {"Baseline": chemo.BASELINE, "Optimised": chemo.OPTIMISED}


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["reproduce", *arguments])
    return args.run(args)


@pytest.fixture
def toy(monkeypatch):
    """A source with one check that holds and one that does not, and no figures."""

    def make(*obtained: float) -> generic.Source:
        found = [generic.compare(f"n{i}", "number", 1.0, x, 0.1) for i, x in enumerate(obtained)]
        source = generic.Source("toy", "Toy", lambda seed: found)
        monkeypatch.setitem(generic._SOURCES, "toy", source)
        return source

    return make


@pytest.fixture(scope="module")
def found() -> dict[str, generic.Check]:
    return {check.id: check for check in chemo.checks(3)}


@pytest.mark.parametrize(
    ("obtained", "valid", "ok"),
    [
        (1.05, True, True),
        (0.95, True, True),
        (1.2, True, False),
        (1.0, False, False),
        (math.nan, True, False),
        (math.inf, True, False),
    ],
)
def test_verdict(obtained, valid, ok):
    assert generic.compare("a", "b", 1.0, obtained, 0.1, valid=valid).ok is ok


def test_status_follows_the_checks(toy, capsys):
    toy(1.0)
    assert run("toy") == 0
    assert "1 of 1 checks hold" in capsys.readouterr().out
    toy(1.0, 2.0)
    assert run("toy") == 1
    out = capsys.readouterr().out
    assert "failed: n1" in out
    assert "FAIL" in out


def test_json_and_files(toy, capsys, tmp_path):
    toy(1.0, math.nan)
    assert run("toy", "--json", "--seed", "5", "--out", str(tmp_path / "new")) == 1
    document = json.loads(capsys.readouterr().out)
    assert [list(check) for check in document["checks"]] == [FIELDS, FIELDS]
    assert document["ok"] is False
    assert document["checks"][1]["obtained"] is None
    assert document["manifest"]["seeds"] == {"seed": 5}
    assert json.loads((tmp_path / "new" / "checks.json").read_text()) == document


def test_bad_usage(toy, tmp_path):
    toy(1.0)
    with pytest.raises(UnknownNameError, match="did you mean 'chemo'"):
        run("chem")
    with pytest.raises(ValueError, match="no figures"):
        run("toy", "--figures")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputFolderError, match="file"):
        run("toy", "--out", str(tmp_path / "file"))
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 2


def test_two_sources_cannot_share_a_name(toy):
    source = toy(1.0)
    generic.register(source)
    with pytest.raises(ValueError, match="toy"):
        generic.register(generic.Source("toy", "Other", lambda seed: []))


@pytest.mark.slow
def test_every_chemo_check_holds(found):
    assert {name: check for name, check in found.items() if not check.ok} == {}
    assert len(found) == 12


@pytest.mark.slow
def test_printed_values_and_their_tolerances(found):
    printed = {
        "baseline_final_cells": 4.435,
        "baseline_peak_toxicity": 2.559,
        "baseline_cost": 0.9823,
        "optimised_final_cells": 3.280e5,
        "optimised_peak_toxicity": 0.344,
        "optimised_cost": 0.1605,
    }
    assert {name: found[name].published for name in printed} == printed
    # Fully printed inputs leave only half a unit of the last digit.
    assert found["baseline_final_cells"].tolerance == 0.0005
    assert found["baseline_cost"].tolerance == 0.00005
    # The rounding of the printed schedule is worth a few per cent, not more.
    for name in ("optimised_final_cells", "optimised_peak_toxicity", "optimised_cost"):
        assert 0.0 < found[name].tolerance < 0.05 * found[name].published
    exact = simulate(*chemo.BASELINE, samples=0)
    assert f"exact model: {exact.peak_toxicity:.6f}" in found["baseline_peak_toxicity"].note
    assert f"exact model: {published_cost(*chemo.BASELINE):.6f}" in found["baseline_cost"].note


def test_corners_round_to_the_printed_schedule():
    times, doses = chemo._corners()
    assert times.shape == doses.shape == (4096, 6)
    assert np.abs(times - chemo.OPTIMISED[0]).max() <= 0.05 + 1e-12
    assert np.abs(doses - chemo.OPTIMISED[1]).max() <= 0.005 + 1e-12
    assert len(np.unique(np.hstack([times, doses]), axis=0)) == 4096


def test_reach_is_taken_towards_the_published_side():
    values = np.array([0.0, 1.0, 5.0])
    assert chemo._reach(values, 2.0, 3.0) == 3.0
    assert chemo._reach(values, 2.0, 1.0) == 2.0
    assert chemo._reach(np.array([3.0]), 2.0, 1.0) == 0.0


def test_a_wrong_model_fails(monkeypatch):
    right = chemo.simulate_published_numerics

    def weaker(times, doses, *rest):
        return right(times, 1.01 * np.asarray(doses), *rest)

    monkeypatch.setattr(chemo, "simulate_published_numerics", weaker)
    verdicts = {check.id: check.ok for check in chemo._baseline()}
    assert verdicts["baseline_final_cells"]
    assert not verdicts["baseline_peak_toxicity"]
    assert not verdicts["baseline_cost"]


def test_sensitivity_is_the_cost_of_each_schedule():
    intervals, doses = np.array([4.0, 10.0, 18.0]), np.array([1.5, 8.0])
    cost, kept = chemo_figures.sensitivity(intervals, doses)
    assert cost.shape == kept.shape == (2, 3)
    for row, dose in enumerate(doses):
        for column, gap in enumerate(intervals):
            times = 5.0 + gap * np.arange(6)
            one = simulate(times, np.full(6, dose), samples=0)
            expected = published_cost(times, np.full(6, dose), penalty=0.0)
            assert cost[row, column] == expected
            assert kept[row, column] == (one.peak_toxicity <= 3.0 and one.total_dose <= 30.0)


def test_scores_lie_between_zero_and_one():
    for times, doses in (*SCHEDULES.values(), (np.zeros(1), np.zeros(1)), ([0.0], [100.0])):
        values = chemo_figures.scores(times, doses).values()
        assert len(values) == 5
        assert all(0.0 <= value <= 1.0 for value in values)


@pytest.mark.parametrize("make", [chemo_figures.dashboard, chemo_figures.heatmaps])
def test_axes_have_labels(make):
    figure = make(SCHEDULES)
    assert isinstance(figure, Figure)
    for axis in figure.axes:
        assert axis.get_title() or axis.get_xlabel() or axis.get_ylabel()
    with pytest.raises(ValueError, match="two schedules"):
        make({"one": chemo.BASELINE})


@pytest.mark.slow
def test_figures_of_schedules_of_different_length(tmp_path):
    others = {"weekly": (np.arange(0.0, 60.0, 7.0), np.full(9, 3.0)), "none": ([0.0], [0.0])}
    paths = chemo_figures.save_figures(tmp_path, others)
    assert len(paths) == 3
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(p.name for p in paths)
