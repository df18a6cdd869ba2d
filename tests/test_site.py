"""The documentation site: a complete reference, pages in the navigation, a README that is short."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
PACKAGES = ("envs", "agents", "wrappers", "training", "evaluation")


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, DOCS / "hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


reference = load("reference")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.reference_pages(ROOT)


def explained_in(pages: dict[str, str]) -> dict[str, set[str]]:
    """Names that the pages have mkdocstrings explain, by module."""
    found = re.findall(
        r"^::: (\S+)\n    options:\n      members: \[(.*)\]$", "\n".join(pages.values()), re.M
    )
    return {module: set(re.findall(r"'(\w+)'", names)) for module, names in found}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_has_an_entry(package, pages):
    """Of the package and of those within it: the entry names the very object, and explains it."""
    explained = explained_in(pages)
    name = f"oncogym.{package}"
    inner = [p for p in (Path(page).stem for page in pages) if p.startswith(f"{name}.")]
    for one in (name, *inner):
        module = importlib.import_module(one)
        page = pages[f"reference/{one}.md"]
        rows = dict(re.findall(r"^\| \[`(\w+)`\]\[(\S+)\] \|", page, re.M))
        exported = getattr(module, "__all__", [])
        assert set(rows) == set(exported), one
        for export, target in rows.items():
            if target in explained:
                assert importlib.import_module(target) is getattr(module, export)
                continue
            place, _, member = target.rpartition(".")
            assert member in explained[place], target
            assert hasattr(importlib.import_module(place), member), target
            own = getattr(module, export)
            assert getattr(own, "__module__", place) == place or not hasattr(own, "__qualname__")


def test_every_public_definition_is_explained(pages):
    explained = explained_in(pages)
    modules = reference.read_modules(ROOT)
    assert len(modules) > 100
    for name, own in modules.items():
        public = set(own.defined) & set(own.exported or own.defined)
        assert public <= explained.get(name, set()), name


def test_a_package_that_hides_a_name_is_followed(tmp_path):
    """Re-exports lead to the definition; a function may be called like its module."""
    for package in reference.PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text('"""Empty."""\n')
    (tmp_path / "agents" / "__init__.py").write_text(
        '"""Agents."""\nfrom oncogym.agents.walk import LIMIT, walk\n'
        'from oncogym.agents import tools as tools\n__all__ = ["LIMIT", "tools", "walk"]\n'
    )
    (tmp_path / "agents" / "walk.py").write_text(
        '"""Walk."""\nLIMIT = 3\n\n\ndef walk(): ...\n\n\ndef _hidden(): ...\n'
    )
    (tmp_path / "agents" / "tools.py").write_text('"""Tools."""\n\n\nclass Tool: ...\n')
    (tmp_path / "agents" / "loops.py").write_text("import numba\n\n\ndef loop(): ...\n")
    page = reference.reference_pages(tmp_path)["reference/oncogym.agents.md"]
    assert "| [`walk`][oncogym.agents.walk.walk] | `oncogym.agents.walk` |" in page
    assert "| [`tools`][oncogym.agents.tools] |" in page
    assert "::: oncogym.agents.walk\n    options:\n      members: ['walk', 'LIMIT']\n" in page
    assert "loop" not in page
    assert "_hidden" not in page


def test_every_page_is_in_the_navigation():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = set(re.findall(r"[\w/-]+\.md", str(config["nav"])))
    there = {str(path.relative_to(DOCS).as_posix()) for path in DOCS.rglob("*.md")}
    made = set(
        re.findall(r'^    "([\w-]+\.md)": ', (DOCS / "hooks" / "pages.py").read_text(), re.M)
    )
    notebooks = {f"notebooks/{path.stem}.md" for path in NOTEBOOKS}
    assert listed == there | made | notebooks
    assert len(made) == 4
    assert config["validation"]["links"]["anchors"] == "warn"
    assert "--strict" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_scripts_in_cells(path):
    """That they run is seen by `make notebooks`, in CI too."""
    jupytext = pytest.importorskip("jupytext", reason="needs the extra docs")
    cells = jupytext.read(path, fmt="py:percent").cells
    assert cells[0].cell_type == "markdown"
    assert re.match(r"# \w", cells[0].source)
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert len(code) >= 4
    for text in code:
        compile(text, path.name, "exec")
    assert all(cell.source.strip() for cell in cells)


def test_roles_of_docstrings_become_markdown():
    pytest.importorskip("griffe", reason="needs the extra docs")
    plain = load("roles").plain
    assert plain("see :func:`show_column`.") == "see `show_column`."
    assert plain(":class:`~oncogym.envs.Rule`") == (
        '<autoref identifier="oncogym.envs.Rule" optional>`oncogym.envs.Rule`</autoref>'
    )
    assert plain("![belief](a-b.png) ![x](../c.png)") == (
        "![belief](../environments/a-b.png) ![x](../c.png)"
    )
    assert plain("a ratio 1:2 and `code`") == "a ratio 1:2 and `code`"


def test_the_readme_is_short_and_leads_on():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert re.findall(r"^make (\w+)", text, re.M) == ["benchmark", "test"]
    assert "![" in text
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    assert all((ROOT / target).exists() for target in targets if "://" not in target)
    guides = {path.name for path in DOCS.glob("*.md")}
    assert guides <= {Path(target).name for target in targets} | {"index.md"}


def test_there_are_six_notebooks_and_ci_runs_them():
    assert len(NOTEBOOKS) == 6
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert "make notebooks" in workflow
