"""Policies that come with the suite: they score what the manifest says, and damage is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from oncogym.agents import pretrained, shipped
from oncogym.cli import main as cli
from oncogym.core.errors import UnknownNameError
from oncogym.core.files import CorruptFileError
from oncogym.evaluation.ship_policy import main as ship
from oncogym.evaluation.ship_policy import page, score_agents, score_best_rule

ENTRIES = shipped.read_manifest()
COHORT = "oncogym/ChemoDosingCohort-v0"
# By how much the plans of protons, and with them scores, differ between processors (docs/faq.md).
BETWEEN_PROCESSORS = {"return": 0.01, "success": 2.5 / 256.0, "cost": 0.002}


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The shipped policies, to be changed."""
    folder = tmp_path / "policies"
    shutil.copytree(Path(str(shipped.policies_folder())), folder)
    monkeypatch.setattr(shipped, "policies_folder", lambda: folder)
    monkeypatch.setattr("oncogym.evaluation.ship_policy.policies_folder", lambda: folder)
    return folder


def test_there_are_policies_and_no_files_besides():
    root = Path(str(shipped.policies_folder()))
    assert {(one.env, one.name) for one in ENTRIES} >= {(COHORT, "ppo"), (COHORT, "cma_policy")}
    here = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    wanted = {f"{one.folder}/policy.{ending}" for one in ENTRIES for ending in ("json", "npz")}
    assert here == {shipped.MANIFEST, *wanted}
    assert sum((root / name).stat().st_size for name in here) < 1 << 20


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda one: one.folder)
def test_a_shipped_policy_scores_what_the_manifest_says(entry):
    agent = pretrained(entry.env, entry.name)
    found = score_agents({"policy": agent}, entry.env, entry.score["patients"])["policy"]
    assert found["cohort"] == entry.score["cohort"]
    for name, difference in BETWEEN_PROCESSORS.items():
        allowed = difference if "IMPT" in entry.env else 1e-6
        assert found[name] == pytest.approx(entry.score[name], abs=allowed), name
    assert entry.command.startswith(f"oncogym train {entry.env} ")
    assert agent.policy.about["algorithm"] == entry.name


def test_the_page_lists_them_beside_the_best_rule():
    docs = Path(__file__).resolve().parents[1] / "docs"
    assert (docs / "pretrained.md").read_text(encoding="utf-8") == page(ENTRIES)
    entry = next(one for one in ENTRIES if one.env == COHORT)
    found = score_best_rule(COHORT, entry.score["patients"])
    assert found == {name: pytest.approx(value, abs=1e-6) if name != "agent" else value
                     for name, value in entry.rule.items()}  # fmt: skip


def test_evaluate_takes_a_shipped_policy_by_name(capsys, tmp_path):
    command = ["evaluate", COHORT, "pretrained:ppo", "daily", "--patients", "4", "--json"]
    assert cli.main(command) == 0
    assert '"pretrained:ppo"' in capsys.readouterr().out
    for agent, env_id, message in (
        ("pretrained:pp", COHORT, "did you mean 'ppo'"),
        ("pretrained:ppo", "oncogym/EMT6RoFractionation-v0", "no trained policy comes with"),
    ):
        assert cli.main(["evaluate", env_id, agent, "--patients", "2"]) == 2
        assert message in capsys.readouterr().err
    other = ["evaluate", COHORT, "pretrained:ppo", "--patients", "2", "--option", "horizon=30"]
    assert cli.main(other) == 2
    assert "option 'horizon' was 60.0 in training" in capsys.readouterr().err
    twice = ["evaluate", COHORT, "pretrained:ppo", "pretrained:ppo", "--patients", "2"]
    assert cli.main(twice) == 2
    assert "named twice" in capsys.readouterr().err


def test_what_is_not_there_is_named():
    with pytest.raises(UnknownNameError, match="did you mean 'ppo'"):
        pretrained(COHORT, "ppoo")
    with pytest.raises(UnknownNameError, match="did you mean"):
        pretrained("oncogym/ChemoDosingCohor-v0", "ppo")
    with pytest.raises(ValueError, match=f"allowed: .*{COHORT}"):
        pretrained("oncogym/EMT6RoFractionation-v0", "ppo")


def test_a_changed_policy_is_refused(copied):
    entry = next(one for one in ENTRIES if one.env == COHORT and one.name == "ppo")
    path = copied / entry.folder / "policy.json"
    path.write_text(path.read_text().replace('"tanh"', '"relu"'))
    with pytest.raises(CorruptFileError, match="not the policy that was shipped"):
        pretrained(COHORT, "ppo")
    manifest = json.loads((copied / shipped.MANIFEST).read_text())
    for key, value in (("name", "../../secret"), ("sha256", "abc"), ("score", 3)):
        damaged = {**manifest, "policies": [{**manifest["policies"][0], key: value}]}
        (copied / shipped.MANIFEST).write_text(json.dumps(damaged))
        with pytest.raises(CorruptFileError, match=key):
            shipped.read_manifest()


def test_a_policy_is_shipped_with_its_score(copied, capsys):
    entry = next(one for one in ENTRIES if one.env == COHORT and one.name == "ppo")
    run = str(copied / entry.folder)
    assert ship([run, "mine", "--command", "by hand", "--patients", "5"]) == 0
    capsys.readouterr()
    (mine,) = [one for one in shipped.read_manifest() if one.name == "mine"]
    assert mine.score["patients"] == 5
    assert mine.command == "by hand"
    assert len(shipped.read_manifest()) == len(ENTRIES) + 1
    assert pretrained(COHORT, "mine").policy.env_id == COHORT
    assert ship([str(copied), "mine", "--command", "x"]) == 2
    assert "holds no policy" in capsys.readouterr().err
