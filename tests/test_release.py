"""What goes with a release: one version, what to cite, and workflows that call what is there."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from oncogym.cli import cite
from oncogym.cli.main import main
from oncogym.envs import get_treatment, treatments
from oncogym.envs.literature import of_constants
from oncogym.envs.provenance import Constant

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
OWN = [t.name for t in treatments().values() if t.variants[0].id.startswith("oncogym/")]
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def read_yaml(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project() -> dict:
    tomllib = pytest.importorskip("tomllib")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_stands_in_one_place(project):
    version = project["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert newest is not None
    assert newest.group(1) == version
    for name in ("src", "envs", "agents", "wrappers", "training", "evaluation"):
        for path in (ROOT / name).rglob("*.py"):
            assert version not in path.read_text(encoding="utf-8"), path
    assert "version" not in read_yaml(ROOT / "CITATION.cff")


def test_the_citation_file_says_what_the_package_says(project):
    found = read_yaml(ROOT / "CITATION.cff")
    assert str(found["cff-version"]) == "1.2.0"
    assert {"message", "title", "authors", "type"} <= set(found)
    assert found["license"] == project["license"]
    assert found["keywords"] == project["keywords"]
    assert [one["name"] for one in found["authors"]] == [cite.AUTHORS]
    assert project["authors"] == [{"name": cite.AUTHORS}]
    assert found["title"] == cite.TITLE
    assert "oncogym cite ENV" in found["message"]


@pytest.mark.parametrize("name", OWN)
def test_everything_that_a_page_refers_to_is_cited(name, capsys):
    treatment = get_treatment(name)
    assert main(["cite", treatment.variants[0].id, "--json"]) == 0
    works = json.loads(capsys.readouterr().out)["publications"]
    cited = " ".join(one["text"] for one in works)
    assert all(one["used_for"] for one in works)
    for one in treatment.provenance:
        if one.kind == "printed":
            (work,) = [work for work in works if work["text"] == one.where]
            assert one.name in re.findall(r"\w+", work["used_for"])
    said = treatment.page + " ".join(protocol.note for protocol in treatment.protocols.values())
    named = set(re.findall(r"(\w+) et al\.|(PMC\d+)|RTOG ([\d-]+)", said))
    for word in {part for parts in named for part in parts if part}:
        assert word in cited, word


def test_text_for_a_person_names_suite_environment_and_works(capsys):
    assert main(["cite"]) == 0
    alone = capsys.readouterr().out
    assert main(["cite", "GlioblastomaRadiationCohort-v0"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(alone)
    assert "oncogym/GlioblastomaRadiationCohort-v0 (Glioblastoma radiation) rests on:" in text
    assert "* Stupp et al., N Engl J Med 352:987 (2005)\n  for: the protocol standard\n" in text
    assert max(map(len, text.splitlines())) <= 100
    assert main(["cite", "oncogym/Glioblastom-v0"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_publications_gather_the_constants_that_they_print():
    def constant(name, kind, where):
        return Constant(name, 1.0, "", kind, where, "")

    found = of_constants(
        [
            constant("a", "printed", "First"),
            constant("b", "chosen", "no reason"),
            constant("c", "printed", "Second"),
            constant("d", "printed", "First"),
        ]
    )
    assert [(one.text, one.used_for) for one in found] == [
        ("First", "constants a, d"),
        ("Second", "constants c"),
    ]


def steps_of(workflow: dict) -> list[dict]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_what_is_there(path, project):
    workflow = read_yaml(path)
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    commands = [step["run"] for step in steps_of(workflow) if "run" in step]
    assert commands or path.stem == "docs"
    for command in commands:
        assert set(re.findall(r"\bmake ([\w-]+)", command)) <= targets, command
        assert all((ROOT / name).exists() for name in re.findall(r"\S+\.py\b", command)), command
        for extra in re.findall(r"\[(\w+)\]", command):
            assert extra in project["optional-dependencies"], command
    # A job asks for no more than it needs, and none waits for hours.
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 90 for job in workflow["jobs"].values())


def test_tests_run_on_every_python_that_the_package_allows(project):
    jobs = read_yaml(GITHUB / "workflows" / "tests.yml")["jobs"]
    matrix = jobs["newest"]["strategy"]["matrix"]
    pythons = [tuple(map(int, one.split("."))) for one in matrix["python"]]
    lowest = tuple(map(int, re.fullmatch(r">=(\d+)\.(\d+)", project["requires-python"]).groups()))
    assert pythons == [(3, minor) for minor in range(lowest[1], pythons[-1][1] + 1)]
    assert sys.version_info[:2] <= pythons[-1]
    assert {one.partition("-")[0] for one in matrix["os"]} == {"ubuntu", "macos", "windows"}
    (setup,) = [step for step in jobs["lowest"]["steps"] if "setup-python" in step.get("uses", "")]
    assert setup["with"]["python-version"] == ".".join(map(str, lowest))


@pytest.mark.parametrize(
    ("stem", "switch"), [("docs", "PUBLISH_SITE"), ("release", "PUBLISH_TO_PYPI")]
)
def test_nothing_is_published_before_it_is_switched_on(stem, switch):
    workflow = read_yaml(GITHUB / "workflows" / f"{stem}.yml")
    publishing = {
        name: job
        for name, job in workflow["jobs"].items()
        if "write" in (job.get("permissions") or {}).values()
    }
    assert list(publishing) == ["publish"]
    assert f"vars.{switch} == 'true'" in publishing["publish"]["if"]
    assert "secrets." not in (GITHUB / "workflows" / f"{stem}.yml").read_text(encoding="utf-8")


def test_forms_of_issues_have_what_github_asks_for():
    forms = [path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]
    assert len(forms) == 3
    for path in forms:
        form = read_yaml(path)
        assert form["name"]
        assert form["description"]
        ids = [field["id"] for field in form["body"]]
        assert len(ids) == len(set(ids))
        for field in form["body"]:
            assert field["type"] in ("input", "textarea")
            assert field["attributes"]["label"]


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md"])
def test_links_and_commands_of_the_community_files(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    printed = set(re.findall(r"^make ([\w-]+)|`make ([\w-]+)`", text, re.M))
    assert {word for words in printed for word in words if word} <= targets
