"""Nothing is written over or removed but what our own list says that we wrote."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from oncogym.cli.main import main
from oncogym.core.files import CorruptFileError, OutputFolderError
from oncogym.core.output_folder import LIST, OutputFolder
from oncogym.envs import find_variant
from oncogym.evaluation.benchmark.folder import (
    find_benchmark,
    open_benchmark,
    places,
    require_room,
)
from oncogym.evaluation.benchmark.presets import PRESETS
from oncogym.evaluation.benchmark.seed_sweep import remove_run

CHEMO = "ChemoDosingCohort-v0"


def put(path, text="precious"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def files(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    )


def test_only_listed_files_are_removed_and_only_folders_they_leave_empty(tmp_path):
    output = OutputFolder.claim(tmp_path, "test")
    for name in ("a.csv", "inner/b.csv", "inner/deep/c.csv", "other/d.csv"):
        output.write(name, lambda path: path.write_text("ours"))
    output.add("runs/step_*.npz")
    put(tmp_path / "runs" / "step_1.npz")
    foreign = [tmp_path / "thesis.tex", tmp_path / "inner" / "b.tex", tmp_path / "runs" / "x.npz"]
    for path in foreign:
        put(path)
    (tmp_path / "empty").mkdir()
    OutputFolder.find(tmp_path).remove()
    assert files(tmp_path) == ["inner/b.tex", "runs/x.npz", "thesis.tex"]
    assert (tmp_path / "empty").is_dir()
    assert not (tmp_path / "other").exists()


def test_what_is_not_listed_is_not_written_over(tmp_path):
    put(tmp_path / "report.html")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "01.png").symlink_to(put(tmp_path / "picture.png"))
    put(tmp_path / "fig1.png")
    for name in ("report.html", "figures/01.png", "fig*.png"):
        with pytest.raises(OutputFolderError, match="move it away"):
            OutputFolder.claim(tmp_path, "test", [name])
    assert not (tmp_path / LIST).exists()
    output = OutputFolder.claim(tmp_path, "test", ["table.csv"])
    with pytest.raises(OutputFolderError, match=r"report\.html is there"):
        output.write("report.html", lambda path: path.write_text("ours"))
    assert (tmp_path / "report.html").read_text() == "precious"
    output.write("table.csv", lambda path: path.write_text("1"))
    OutputFolder.claim(tmp_path, "test").write("table.csv", lambda path: path.write_text("2"))
    assert (tmp_path / "table.csv").read_text() == "2"
    with pytest.raises(OutputFolderError, match="holds the results of oncogym test"):
        OutputFolder.claim(tmp_path, "evaluate")


def test_links_inside_lead_nowhere(tmp_path):
    outside = put(tmp_path / "pictures" / "01.png").parent
    folder = tmp_path / "out"
    output = OutputFolder.claim(folder, "test")
    output.write("figures/01.png", lambda path: path.write_text("ours"))
    (folder / "figures" / "01.png").unlink()
    (folder / "figures").rmdir()
    (folder / "figures").symlink_to(outside)
    with pytest.raises(OutputFolderError, match="a link leads out"):
        OutputFolder.claim(folder, "test", ["figures/01.png"])
    OutputFolder.find(folder).remove()
    assert (outside / "01.png").read_text() == "precious"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "oncogym-files", "version": 2, "job": "test", "files": []}',
        '{"format": "oncogym-files", "version": 1, "job": "test", "files": ["../thesis.tex"]}',
        '{"format": "oncogym-files", "version": 1, "job": "test", "files": ["/etc/passwd"]}',
        '{"format": "oncogym-files", "version": 1, "job": "test", "files": 3}',
    ],
)
def test_a_damaged_list_is_refused(tmp_path, text):
    put(tmp_path / LIST, text)
    with pytest.raises(CorruptFileError, match=r"oncogym-files\.json"):
        OutputFolder.claim(tmp_path, "test")


def test_older_files_of_ours_go_when_new_results_have_fewer(tmp_path):
    for count in (3, 2):
        output = OutputFolder.claim(tmp_path, "test")
        for number in range(count):
            output.write(f"{number}.png", lambda path: path.write_text("x"))
        output.forget_others()
    put(tmp_path / "9.png")
    assert files(tmp_path) == [LIST, "0.png", "1.png", "9.png"]


def test_drafts_take_their_places_together_or_not_at_all(tmp_path):
    def make(folder):
        put(folder / "inner" / "b.csv", "new")
        return [put(folder / "a.png", "new")]

    put(tmp_path / "inner" / "b.csv")
    output = OutputFolder.claim(tmp_path, "test")
    with pytest.raises(OutputFolderError, match=r"inner/b\.csv is there"):
        output.take(make)
    assert files(tmp_path) == ["inner/b.csv"]
    (tmp_path / "inner" / "b.csv").unlink()
    assert output.take(make) == [tmp_path / "a.png"]
    assert files(tmp_path) == [LIST, "a.png", "inner/b.csv"]


def test_a_fresh_start_keeps_the_old_results_until_the_new_ones_are_complete(tmp_path):
    output = OutputFolder.claim(tmp_path, "test")
    for name in ("settings.json", "inner/report.html"):
        output.write(name, lambda path: path.write_text("old"))
    put(tmp_path / "inner" / "notes.txt")
    output.begin_afresh()
    kept = ["inner/notes.txt", f"previous/{LIST}", "previous/inner/report.html",
            "previous/settings.json"]  # fmt: skip
    assert files(tmp_path) == kept
    second = OutputFolder.claim(tmp_path, "test", ["settings.json"])
    second.write("settings.json", lambda path: path.write_text("unfinished"))
    second.write("new.csv", lambda path: path.write_text("unfinished"))
    second.begin_afresh()
    assert files(tmp_path) == kept
    assert (tmp_path / "previous" / "settings.json").read_text() == "old"
    third = OutputFolder.claim(tmp_path, "test")
    third.write("settings.json", lambda path: path.write_text("new"))
    third.drop_aside()
    assert files(tmp_path) == [LIST, "inner/notes.txt", "settings.json"]


def test_an_interrupted_move_goes_on(tmp_path):
    output = OutputFolder.claim(tmp_path, "test")
    for name in ("a", "b"):
        output.write(name, lambda path: path.write_text("old"))
    output.begin_afresh()
    (tmp_path / "previous" / "b").rename(tmp_path / "b")  # as if it had not been moved yet
    again = OutputFolder.claim(tmp_path, "test", ["c"])
    again._files.add("b")
    again.begin_afresh()
    assert files(tmp_path) == [f"previous/{LIST}", "previous/a", "previous/b"]


def test_a_folder_called_previous_that_is_not_ours_stays(tmp_path):
    put(tmp_path / "previous" / "thesis.tex")
    output = OutputFolder.claim(tmp_path, "test")
    output.write("a", lambda path: path.write_text("old"))
    with pytest.raises(OutputFolderError, match="previous is there"):
        output.begin_afresh()
    assert files(tmp_path) == [LIST, "a", "previous/thesis.tex"]


# --- benchmarks --------------------------------------------------------------------------------


def older_benchmark(folder, seed=0):
    """What the version before left: no list."""
    preset = PRESETS["quick"].suited(find_variant(CHEMO)[1])
    settings = json.dumps({"preset": asdict(preset), "seed": seed})
    names = ["report.html", "summary.csv", "manifest.json", f"{CHEMO}/results.csv",
             f"{CHEMO}/figures/01.png", f"{CHEMO}/plan.json", f"{CHEMO}/ppo-0/config.json",
             f"{CHEMO}/ppo-0/checkpoints/checkpoint_000000000010.npz"]  # fmt: skip
    for name in names:
        put(folder / name, "old")
    for place in ("", f"{CHEMO}/"):
        put(folder / f"{place}settings.json", settings)


def test_a_benchmark_of_the_version_before_is_known_by_its_settings(tmp_path):
    older_benchmark(tmp_path)
    foreign = [
        put(tmp_path / "src" / "thesis.tex"),
        put(tmp_path / "src" / "results.csv"),
        put(tmp_path / CHEMO / "notes.md"),
        put(tmp_path / CHEMO / "figures" / "mine.png"),
        put(tmp_path / CHEMO / "ppo-0" / "checkpoints" / "notes.npz"),
        put(tmp_path / CHEMO / "ppo-7" / "config.json"),
    ]
    open_benchmark(tmp_path)
    find_benchmark(tmp_path).remove()
    assert files(tmp_path) == sorted(path.relative_to(tmp_path).as_posix() for path in foreign)


def test_settings_with_algorithms_of_another_kind_make_no_benchmark(tmp_path):
    older_benchmark(tmp_path)
    for algorithms in (5, "ppo", [5]):
        document = json.loads((tmp_path / "settings.json").read_text())
        document["preset"]["algorithms"] = algorithms
        put(tmp_path / "settings.json", json.dumps(document))
        with pytest.raises(OutputFolderError, match="not a benchmark"):
            find_benchmark(tmp_path)


@pytest.mark.parametrize(
    "settings", ["{}", "[]", "{", '{"preset": {"name": "quick"}, "seed": 0}', '{"seed": 0}']
)
def test_settings_of_others_make_no_benchmark(tmp_path, settings):
    put(tmp_path / "settings.json", settings)
    put(tmp_path / "report.html")
    with pytest.raises(OutputFolderError, match="not a benchmark's folder"):
        find_benchmark(tmp_path)
    preset = PRESETS["quick"]
    with pytest.raises(OutputFolderError, match="is there and not one of the files"):
        require_room(open_benchmark(tmp_path), {CHEMO: preset}, 0, [CHEMO])
    assert files(tmp_path) == ["report.html", "settings.json"]


@pytest.mark.parametrize(
    "more",
    [
        ["--envs", "ChemoDosingCohort-v9"],
        ["--envs", CHEMO, CHEMO],
        ["--envs", CHEMO, "--workers", "2", "--executor", "lanes"],
        ["--envs", CHEMO, "--robustness", "nowhere"],
        ["--envs", CHEMO, "--seed", "4294967295"],
    ],
)
def test_a_slip_of_the_keyboard_costs_no_finished_benchmark(tmp_path, more, capsys):
    older_benchmark(tmp_path)
    before = files(tmp_path)
    assert main(["benchmark", "--fresh", "--out", str(tmp_path), *more]) == 2
    assert files(tmp_path) == before
    assert "Traceback" not in capsys.readouterr().err


def test_environments_of_the_same_name_have_folders_of_their_own():
    assert places(["oncogym/A-v0", "other/B-v0"]) == {
        "oncogym/A-v0": "A-v0/",
        "other/B-v0": "B-v0/",
    }
    assert places(["oncogym/A-v0", "other/a-v0"]) == {
        "oncogym/A-v0": "oncogym_A-v0/",
        "other/a-v0": "other_a-v0/",
    }


def test_a_foreign_file_in_the_way_keeps_a_fresh_start_from_moving_anything(tmp_path, capsys):
    older_benchmark(tmp_path)
    put(tmp_path / "ChemoDosing-v0" / "plan.json")
    before = files(tmp_path)
    command = ["benchmark", "--fresh", "--out", str(tmp_path), "--envs", "ChemoDosing-v0"]
    assert main(command) == 2
    assert "plan.json is there" in capsys.readouterr().err
    assert files(tmp_path) == before


# --- training runs -----------------------------------------------------------------------------


def test_only_the_files_of_an_unfinished_run_are_removed(tmp_path):
    config = {"command": "train", "settings": {}, "versions": {}}
    put(tmp_path / "config.json", json.dumps(config))
    put(tmp_path / "progress.csv")
    put(tmp_path / "checkpoints" / "checkpoint_000000000010.npz")
    put(tmp_path / "tensorboard" / "events.out.tfevents.1.host")
    put(tmp_path / "policy" / "notes.txt")
    put(tmp_path / "thesis.tex")
    remove_run(tmp_path)
    assert files(tmp_path) == ["policy/notes.txt", "thesis.tex"]
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("config", ["{}", "{", '{"command": "optimize", "settings": {}}'])
def test_a_folder_that_is_no_run_is_left_as_it_is(tmp_path, config):
    put(tmp_path / "config.json", config)
    put(tmp_path / "progress.csv")
    with pytest.raises(OutputFolderError, match="a training run would write over it"):
        remove_run(tmp_path)
    assert files(tmp_path) == ["config.json", "progress.csv"]
    remove_run(tmp_path / "absent")


# --- commands ----------------------------------------------------------------------------------

WEEKLY = [CHEMO, "weekly", "--patients", "2"]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["evaluate", *WEEKLY, "--baseline", "weekly"], "results.csv"),
        (["evaluate", *WEEKLY, "--baseline", "weekly"], "report.html"),
        (["evaluate", *WEEKLY, "--baseline", "weekly"], "figures/01.png"),
        (["evaluate", *WEEKLY, "--baseline", "weekly"], "figures"),
        (["robustness", *WEEKLY], "robustness.json"),
        (["robustness", *WEEKLY], "robustness.png"),
        (["optimize", CHEMO], "plan.json"),
        (["optimize", CHEMO, "--each"], "plans.json"),
        (["optimize", "EMT6RoFractionation-v0", "--method", "ga"], "history.csv"),
        (["train", CHEMO], "progress.csv"),
        (["train", CHEMO], "policy/policy.json"),
        (["benchmark", "--envs", CHEMO], "summary.csv"),
        (["benchmark", "--envs", "ChemoDosing-v0", CHEMO], f"{CHEMO}/figures/01.png"),
        (["benchmark", "--envs", CHEMO], f"{CHEMO}/plan.json"),
        (["benchmark", "--envs", CHEMO], f"{CHEMO}/ppo-0/config.json"),
        (["reproduce", "chemo"], "checks.json"),
    ],
)
def test_every_command_leaves_foreign_files_alone(tmp_path, arguments, name, capsys):
    path = put(tmp_path / name)
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    assert name.split("/")[0] in capsys.readouterr().err
    assert files(tmp_path) == [name]
    assert path.read_text() == "precious"


@pytest.mark.slow
def test_results_are_replaced_by_those_of_the_same_command_only(tmp_path, capsys):
    command = ["evaluate", *WEEKLY, "--baseline", "weekly", "--out", str(tmp_path)]
    assert main(command) == 0
    put(tmp_path / "notes.txt")
    first = files(tmp_path)
    assert main([*command, "--seed", "1"]) == 0
    assert files(tmp_path) == first
    capsys.readouterr()
    assert main(["robustness", *WEEKLY, "--out", str(tmp_path)]) == 2
    assert "holds the results of oncogym evaluate" in capsys.readouterr().err
    assert files(tmp_path) == first


def test_pages_are_written_over_pages_of_ours_only(tmp_path, capsys):
    assert main(["envs", "--write", str(tmp_path)]) == 0
    first = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    assert main(["envs", "--write", str(tmp_path)]) == 0
    capsys.readouterr()
    mine = put(tmp_path / "chemo_dosing.md", "# My notes")
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    assert main(["envs", "--write", str(tmp_path)]) == 2
    assert "chemo_dosing.md is there" in capsys.readouterr().err
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before
    mine.unlink()
    assert main(["envs", "--write", str(tmp_path)]) == 0
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == first


@pytest.mark.slow
def test_pictures_of_pages_are_written_over_pictures_of_ours_only(tmp_path, capsys):
    out, docs = tmp_path / "results" / CHEMO, tmp_path / "docs"
    assert main(["evaluate", *WEEKLY, "--baseline", "weekly", "--out", str(out)]) == 0
    mine = put(docs / f"{CHEMO}.png")
    write = ["envs", CHEMO, "--write", str(docs), "--results", str(tmp_path / "results")]
    capsys.readouterr()
    assert main(write) == 2
    assert f"{CHEMO}.png is there" in capsys.readouterr().err
    assert files(docs) == [f"{CHEMO}.png"]
    assert mine.read_text() == "precious"
    mine.unlink()
    assert main(write) == 0
    assert main(write) == 0
