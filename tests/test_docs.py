"""The documentation: pages of the environments are up to date, and what the guides show works."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from oncogym.cli.main import main
from oncogym.envs import treatments
from oncogym.evaluation.report import environment_pages as pages

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
OWN = [t for t in treatments().values() if t.variants[0].id.startswith("oncogym/")]


def code_blocks(path: Path, language: str) -> list[str]:
    """Code of a language in a Markdown file; blocks inside lists are left out."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.mark.parametrize("treatment", OWN, ids=lambda t: t.name)
def test_pages_are_up_to_date(treatment):
    path = DOCS / "environments" / f"{treatment.name}.md"
    text = path.read_text(encoding="utf-8")
    assert text == pages.page(treatment, pages.baselines_of(path)), "run `make docs`"
    assert treatment.page.strip() in text


def test_the_index_is_up_to_date_and_links_exist():
    folder = DOCS / "environments"
    assert (folder / "README.md").read_text(encoding="utf-8") == pages.index(OWN), "run `make docs`"
    for path in [*folder.glob("*.md"), *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_pages_take_tables_and_figures_from_results_and_keep_them(tmp_path, capsys):
    env_id = "oncogym/ChemoDosingCohort-v0"
    results, docs = tmp_path / "results", tmp_path / "docs"
    command = ["evaluate", env_id, "no_treatment", "daily", "source_uniform"]
    command += ["--reference", "daily", "--patients", "120"]
    assert main([*command, "--out", str(results / "ChemoDosingCohort-v0")]) == 0
    capsys.readouterr()
    assert main(["envs", env_id, "--write", str(docs), "--results", str(results), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [str(docs / "chemo_dosing.md")]
    text = (docs / "chemo_dosing.md").read_text(encoding="utf-8")
    assert "120 patients of the cohort `held_out`" in text
    assert re.search(r"\| Daily, 60 x 0.5 mg/L \| .*\[.*\] \| 1\.000 \|\n", text)
    assert (docs / "ChemoDosingCohort-v0.png").stat().st_size > 5000
    assert main(["envs", env_id, "--write", str(docs)]) == 0
    assert (docs / "chemo_dosing.md").read_text(encoding="utf-8") == text


def test_wrong_folders_are_an_error(tmp_path, capsys):
    assert main(["envs", "--results", str(tmp_path)]) == 2
    assert "--write" in capsys.readouterr().err
    assert main(["envs", "--write", str(tmp_path), "--results", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err


def test_the_guide_to_treatments_shows_what_the_toy_package_holds():
    package = ROOT / "tests" / "packages" / "oncogym_toy"
    source = (package / "oncogym_toy.py").read_text(encoding="utf-8")
    blocks = code_blocks(DOCS / "add-a-treatment.md", "python")
    assert len(blocks) >= 6
    for block in blocks:
        assert block in source, block
    (entry,) = code_blocks(DOCS / "add-a-treatment.md", "toml")
    assert entry in (package / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("guide", "name"),
    [("add-an-optimizer", "oncogym_random_search"), ("add-an-algorithm", "oncogym_td3")],
)
def test_guides_show_what_the_packages_hold(guide, name):
    package = ROOT / "tests" / "packages" / name
    source = (package / f"{name}.py").read_text(encoding="utf-8")
    blocks = code_blocks(DOCS / f"{guide}.md", "python")
    assert len(blocks) >= 3
    for block in blocks:
        assert block in source, block
    (entry,) = code_blocks(DOCS / f"{guide}.md", "toml")
    assert entry in (package / "pyproject.toml").read_text(encoding="utf-8")


def test_the_guide_to_policies_runs_as_it_stands(tmp_path):
    signature, *example = code_blocks(DOCS / "bring-your-own-policy.md", "python")
    assert signature.startswith("def predict")
    out = subprocess.run(
        [sys.executable, "-c", "\n".join(example)], capture_output=True, text=True, cwd=tmp_path
    )
    assert out.returncode == 0, out.stderr
    assert "Titration" in out.stdout
    assert "Normalised score" in out.stdout
    page = (tmp_path / "results" / "titration" / "report.html").read_text(encoding="utf-8")
    assert "Titration" in page
