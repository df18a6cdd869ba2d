"""The speed command: it runs and reports; how fast the machine is, is not tested."""

from __future__ import annotations

import argparse
import json

import pytest

from oncogym.cli import speed as command
from oncogym.core.errors import UnknownNameError
from oncogym.evaluation import speed
from oncogym.evaluation.reproduce import neighbours
from oncogym.parallel.base import usable_cores

FIELDS = {
    "what",
    "figure",
    "low",
    "high",
    "unit",
    "target",
    "higher_is_better",
    "note",
    "ok",
}


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["speed", *arguments])
    return args.run(args)


def measured(text: str) -> list[dict]:
    rows = json.loads(text)["measurements"]
    for row in rows:
        assert set(row) == FIELDS
        assert 0.0 < row["low"] <= row["figure"] <= row["high"]
    return rows


@pytest.mark.slow
def test_chemo_reports_every_figure(capsys):
    assert run("chemo", "--json", "--seconds", "0.01") == 0
    rows = measured(capsys.readouterr().out)
    targets = {row["target"]: row["unit"] for row in rows if row["target"] is not None}
    assert targets == {5000.0: "x", 50_000.0: "env-steps/s", 3_000_000.0: "env-steps/s"}
    units = [row["unit"] for row in rows]
    assert units.count("us/plan") == 7
    assert units.count("env-steps/s") == 7
    assert all((row["ok"] is None) == (row["target"] is None) for row in rows)


def test_any_environment_id(capsys):
    assert run("ChemoDosingPublished-v0", "--json", "--seconds", "0.01") == 0
    rows = measured(capsys.readouterr().out)
    names = [row["what"] for row in rows]
    assert names == [
        f"oncogym/ChemoDosingPublished-v0: {kind}"
        for kind in ("scalar", "1 lane", "64 lanes", "1024 lanes", "4096 lanes")
    ]


def test_unknown_name_and_bad_time():
    with pytest.raises(UnknownNameError, match="did you mean 'chemo'"):
        run("chem")
    for seconds in ("0", "-1", "nan", "soon"):
        with pytest.raises(SystemExit) as stop:
            run("--seconds", seconds)
        assert stop.value.code == 2


def test_a_device_is_for_models_that_know_it(monkeypatch, capsys):
    monkeypatch.setattr(command, "choose_device", lambda device: "cuda")
    with pytest.raises(ValueError, match="chemo is not timed on the device cuda; allowed there: e"):
        run("chemo", "--device", "cuda")
    jobs = speed.find_jobs("emt6ro", speed.Settings(device="cuda"))
    assert [job.what for job in jobs][:2] == ["exact, 130 at a time", "exact, 660 at a time"]


def test_the_bound_of_shared_memory_is_that_of_the_specification():
    from oncogym.evaluation.reproduce.emt6ro.gpu_speed import shared_memory_bound

    # 132 multiprocessors at 1.755 GHz: about 800 000 simulations an hour.
    assert shared_memory_bound(1.755e9, 132, 1) == pytest.approx(8e5, rel=0.01)
    assert shared_memory_bound(1.755e9, 132, 20) == 20 * shared_memory_bound(1.755e9, 132, 1)


def test_check_turns_a_missed_target_into_the_status(monkeypatch, capsys):
    def jobs(settings):
        slow = speed.summarise("slow", [1.0, 3.0, 2.0], "1/s", 5.0)
        fast = speed.summarise("fast", [1.0], "us", 5.0, higher_is_better=False)
        return [speed.Job("toy", lambda: [slow, fast])]

    monkeypatch.setitem(speed._MODELS, "toy", jobs)
    assert run("toy") == 0
    assert run("toy", "--check") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[1:3]] == ["missed", "met"]
    assert ">= 5" in lines[1]
    assert "<= 5" in lines[2]


def test_summary_is_median_and_extremes():
    one = speed.summarise("x", [4.0, 1.0, 2.0], "s")
    assert (one.figure, one.low, one.high, one.ok) == (2.0, 1.0, 4.0, None)
    with pytest.raises(ValueError, match="nothing was timed"):
        speed.summarise("x", [], "s")


def test_rates_count_work():
    calls = []
    found = speed.rates(lambda: calls.append(1) or 7, 1e-9, repeats=3)
    assert len(found) == 3
    assert len(calls) == 4  # one to warm up
    assert all(rate > 0.0 for rate in found)


# Neighbours


@pytest.mark.slow
def test_neighbours_are_timed_alone_and_together(monkeypatch, capsys):
    """How much they cost each other is the machine's; what is reckoned from it is ours."""
    monkeypatch.setattr(command, "installed", lambda: ["oncogym"])
    assert run("chemo", "--neighbours", "2", "--seconds", "0.1", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["neighbours"]
    assert (row["what"], row["first"], row["processes"]) == ("chemo", "oncogym", 2)
    assert min(row["alone"], row["together"], row["cores"]) > 0.0
    share = max(1.0, 2 * row["cores"] / usable_cores())
    assert row["fair"] == pytest.approx(row["alone"] * share)
    assert row["ratio"] == pytest.approx(row["together"] / row["fair"])
    assert row["ok"] is (row["ratio"] <= neighbours.LIMIT)


def test_each_case_is_timed_with_each_library_first(monkeypatch, capsys):
    asked = []

    def measure(what, first, processes, seconds):
        asked.append((what, first, processes, seconds))
        together = 2.7 if (what, first) == ("impt", "torch") else 2.5
        return neighbours.Neighbourhood(what, first, processes, 1.0, together, 1.0, 2.0)

    monkeypatch.setattr(command, "measure", measure)
    monkeypatch.setattr(command, "installed", lambda: ["oncogym", "torch"])
    assert run("chemo", "--neighbours", "4", "--seconds", "3", "--check") == 0
    assert asked == [("chemo", first, 4, 3.0) for first in ("oncogym", "torch")]
    asked.clear()
    assert run("--neighbours", "4", "--train", "--check") == 1
    cases = [*neighbours.CASES, neighbours.TRAINING]
    assert asked == [(what, first, 4, 2.0) for what in cases for first in ("oncogym", "torch")]
    lines = capsys.readouterr().out.splitlines()
    assert sum("1.35" in line for line in lines) == 1
    assert run("--neighbours", "4") == 0


def test_neighbours_are_refused_by_name():
    with pytest.raises(UnknownNameError, match="did you mean 'chemo'"):
        run("chem", "--neighbours", "2")
    with pytest.raises(ValueError, match="not for the device cuda"):
        run("--neighbours", "2", "--device", "cuda")
    for number in ("0", "-1", "two"):
        with pytest.raises(SystemExit) as stop:
            run("--neighbours", number)
        assert stop.value.code == 2


@pytest.mark.slow
def test_a_neighbour_that_fails_has_the_last_word():
    with pytest.raises(RuntimeError, match=r"nobody, oncogym first: (.|\n)*KeyError: 'nobody'"):
        neighbours.measure("nobody", "oncogym", 2, 0.1)
