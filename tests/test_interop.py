"""The examples with other libraries run, and the table of their page is what their runs gave."""

from __future__ import annotations

import ast
import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

_spec = importlib.util.spec_from_file_location("run_all", EXAMPLES / "run_all.py")
assert _spec is not None
assert _spec.loader is not None
run_all = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run_all)

# A few updates of each, enough to pass every line.
STEPS = {"sb3_tqc": 2_500, "sb3_maskable_ppo": 500, "minari_dataset": 150}


@pytest.mark.slow
@pytest.mark.parametrize("name", run_all.EXAMPLES)
def test_example_runs(name):
    if not run_all.importable(name):
        pytest.skip(f"needs {', '.join(run_all.EXAMPLES[name])}")
    row, output = run_all.run(name, seed=1, steps=STEPS.get(name, 4_000))
    assert row["exit"] == "0", output
    assert row["versions"].startswith("oncogym "), output
    assert int(row["decisions"]) >= 150
    assert math.isfinite(float(row["return"])), output


@pytest.mark.slow
def test_a_wrong_environment_is_a_failure():
    pytest.importorskip("torch")
    command = [sys.executable, str(EXAMPLES / "single_file_ppo.py"), "--env", "oncogym/Chemo-v0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "doesn't exist in namespace oncogym" in done.stderr


@pytest.mark.parametrize(
    "source",
    ["raise SystemExit('wrong')", "print('oncogym 1.0')", "print('return 1.0 after 5 decisions')"],
)
def test_an_example_that_fails_or_says_too_little_is_a_failure(tmp_path, monkeypatch, source):
    (tmp_path / "sb3_ppo.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(run_all, "HERE", tmp_path)
    assert run_all.run("sb3_ppo")[0]["exit"] == "1"


def test_every_example_is_listed_and_explained():
    files = {path.stem for path in EXAMPLES.glob("*.py")} - {"run_all"}
    assert files == set(run_all.EXAMPLES)
    for name in files:
        source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        assert f"python examples/{name}.py" in (ast.get_docstring(ast.parse(source)) or "")
        assert ": " in run_all.summary(name)
        for option in ("--env", "--steps", "--seed"):
            assert f'"{option}"' in source


def test_results_are_complete():
    rows = run_all.read_results()
    assert list(rows) == list(run_all.EXAMPLES)
    for row in rows.values():
        assert row["exit"] == "0"
        assert math.isfinite(float(row["return"]))
        if row["return_before"]:
            assert float(row["return"]) > float(row["return_before"])


def test_the_page_has_the_table_of_the_results():
    text = run_all.PAGE.read_text(encoding="utf-8")
    shown = text.partition(run_all.BEGIN)[2].partition(run_all.END)[0]
    assert shown.strip() == run_all.table(run_all.read_results())


def test_the_table_is_written_between_the_comments(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    monkeypatch.setattr(run_all, "PAGE", page)
    page.write_text(f"a\n{run_all.BEGIN}\nold\n{run_all.END}\nb\n", encoding="utf-8")
    run_all.write_table()
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["a", run_all.BEGIN]
    assert lines[-2:] == [run_all.END, "b"]
    assert "old" not in lines
    page.write_text("no comments", encoding="utf-8")
    with pytest.raises(SystemExit, match="lacks the comments"):
        run_all.write_table()
