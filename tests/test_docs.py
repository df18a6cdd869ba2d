"""The documentation: pages of the environments are up to date, and what the guides show works."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from oncogym.cli.main import main
from oncogym.envs import get_treatment, treatments
from oncogym.evaluation.report import environment_pages as pages
from oncogym.evaluation.report.model_tables import patient_table, space_table

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
OWN = [t for t in treatments().values() if t.variants[0].id.startswith("oncogym/")]


def code_blocks(path: Path, language: str) -> list[str]:
    """Code of a language in a Markdown file; blocks inside lists are left out."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def pieces(path: Path) -> list[tuple[str, str]]:
    """Language and text of every block of a Markdown file, in order."""
    return re.findall(
        r"^```(\w+)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
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


@pytest.mark.slow
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
    # A reference that breaks a limit more than the clinic does is said to on the page, too.
    assert "Mind: score 1, Daily, 60 x 0.5 mg/L, goes over the limits more than score 0" in text


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
    assert blocks[-1] == source, "the whole file stands at the end of the guide"
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


@pytest.mark.slow
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


def test_weights_of_a_page_are_those_of_the_code(monkeypatch):
    chemo = get_treatment("chemo_dosing")
    weights = {name: dict(own) for name, own in chemo.task.objectives.items()}
    before = pages.page(chemo)
    assert "| `dose` | 0.02 | 0 |" in before
    weights["clinical"]["dose"] = 0.03
    monkeypatch.setattr(chemo.task, "objectives", weights)
    after = pages.page(chemo)
    assert "| `dose` | 0.03 | 0 |" in after
    assert len(set(before.splitlines()) - set(after.splitlines())) == 1


@pytest.mark.parametrize("treatment", OWN, ids=lambda t: t.name)
def test_every_parameter_of_a_patient_is_on_the_page(treatment):
    patient = treatment.patient
    assert set(patient.UNITS) >= set(patient.FIELDS) - {"range_error"}
    rows = patient_table(treatment).splitlines()[2:]
    assert len(rows) == len(patient.FIELDS)
    nominal = patient().to_array()
    for row, name, value in zip(rows, patient.FIELDS, nominal, strict=True):
        low, high = patient.RANGES[name]
        assert row.startswith(f"| `{name}` | {patient.UNITS.get(name, '')} | {value:g} | ")
        assert f"| {low:g} to {high:g} |" in row


def test_no_docstring_repeats_the_weights():
    for treatment in OWN:
        head = treatment.page[treatment.page.index("| term |") :].splitlines()[0]
        assert head == "| term | meaning |", treatment.name


@pytest.mark.parametrize("treatment", OWN, ids=lambda t: t.name)
def test_numbers_in_the_text_of_a_page_are_those_of_the_code(treatment):
    """``option` (value unit)`` is the option's default, and spaces are those of an environment."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(treatment.task).parameters.items()
        if isinstance(parameter.default, int | float)
    }
    factors = {"%": 0.01, "mm": 0.1 if treatment.name == "impt_beam_weighting" else 1.0}
    found = re.findall(r"`(\w+)` \(([\d.]+) ?(%|[a-zA-Z/]*)\)", treatment.page)
    checked = [(name, text, unit) for name, text, unit in found if name in defaults]
    assert checked, "no default of an option stands in the text"
    for name, text, unit in checked:
        assert float(text) * factors.get(unit, 1.0) == pytest.approx(defaults[name]), name
    shapes = set(re.findall(r"`Box\((\(\d+,\)), float32\)", treatment.page))
    assert shapes
    assert shapes <= set(re.findall(r"Box\((\(\d+,\)), float32\)", space_table(treatment)))


@pytest.mark.slow
def test_the_how_to_page_does_what_it_says(tmp_path, monkeypatch, capsys):
    """Every piece of it as it is printed, one after the other in one folder."""
    monkeypatch.chdir(tmp_path)
    found = pieces(DOCS / "how-to.md")
    assert [language for language, _ in found].count("python") == 4
    for language, text in found:
        if language == "json":
            Path("clinic.json").write_text(text)
        elif language == "python":
            exec(compile(text, "how-to.md", "exec"), {"__name__": "__main__"})
        else:
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                assert program == "oncogym"
                assert main(arguments) == 0, line
    out = capsys.readouterr().out
    for promised in ("log10 kill", "Ten days on, five off", "cautious", "cohort 'clinic'"):
        assert promised in out
    for file in ("on-off.json", "pacing.png", "glioblastoma.png", "dvh.png"):
        assert Path(file).stat().st_size > 500, file
