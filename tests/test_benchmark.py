"""The main job at a small size, interrupted and resumed; and what the statistics say of it."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import slot_toy
from once import made_once

from oncogym.agents.clinical import clinical_agent
from oncogym.agents.optimizers.base import SearchFolderError
from oncogym.agents.plan import PlanAgent
from oncogym.core import sources
from oncogym.core.errors import UnknownNameError
from oncogym.core.files import CorruptFileError, write_json_atomic
from oncogym.envs.problem import Problem
from oncogym.envs.treatment import Effort
from oncogym.evaluation import kept_courses
from oncogym.evaluation.benchmark import plans
from oncogym.evaluation.benchmark.folder import find_benchmark, settings_of
from oncogym.evaluation.benchmark.plans import common_plan
from oncogym.evaluation.benchmark.presets import PRESETS, Preset
from oncogym.evaluation.benchmark.run import (
    LEARNT,
    PLAN,
    default_envs,
    run_benchmark,
)
from oncogym.evaluation.benchmark.studies import all_studies
from oncogym.evaluation.harness import evaluate, resolve
from oncogym.evaluation.metrics import success_rates
from oncogym.evaluation.overview import overview
from oncogym.evaluation.report import courses as drawn
from oncogym.evaluation.report.suite import print_suite
from oncogym.evaluation.robustness.study import Request, run_robustness

pytest.importorskip("stable_baselines3")
SMALL = Preset("small", patients=24, plan_patients=4, plan_generations=3, training_seeds=2,
               training_steps={"ppo": 5_000}, algorithms=("ppo",), own_plan_patients=4,
               controllers=("mpc_oracle",),
               control={"budget": 8, "iterations": 1, "replan_every": 10})  # fmt: skip
ENV = "oncogym/ChemoDosingCohort-v0"
OTHER = "oncogym/ChemoDosing-v0"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    def make(folder):
        return run_benchmark([ENV], SMALL, folder, seed=3, manifest={"command": "test"})[ENV]

    return made_once(tmp_path_factory, "finished_benchmark", make)


@pytest.mark.slow
def test_everybody_treats_the_same_patients(finished):
    folder, comparison = finished
    results = pd.read_csv(folder / "ChemoDosingCohort-v0" / "results.csv")
    agents = set(results["agent"])
    assert {PLAN, LEARNT, "random", "no_treatment", comparison.baseline} <= agents
    assert len(agents) >= 6
    counts = results.groupby(["agent", "training_seed"])["patient"].nunique()
    assert set(counts) == {24}
    assert counts.loc[LEARNT].shape == (2,)


@pytest.mark.slow
def test_tables_report_and_figures_are_complete(finished):
    folder, comparison = finished
    for statistic in ("mean", "iqm"):
        table = comparison.table(statistic)
        titles = " ".join(table.columns)
        for title in ("log10 kill", "Tumour-control", "Peak toxicity", "Days over", "Total dose"):
            assert title in titles
    page = (folder / "report.html").read_text(encoding="utf-8")
    parts = ['"kind":"groups"', '<h2>Overview', '"kind":"courses"', '"kind":"ranges"',
             "mean [95 % interval]", "normalised score, and paired", "worst tenth",
             "What finding the policies took", '"kind":"lines"']  # fmt: skip
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    links = re.findall(r'href="([^"#]+)"', page)
    assert {"overview.csv", "ChemoDosingCohort-v0/results.csv"} <= set(links)
    assert all((folder / link).is_file() for link in links)
    assert (folder / "summary.csv").exists()
    assert list((folder / "ChemoDosingCohort-v0" / "figures").glob("*.png"))


@pytest.mark.slow
def test_one_table_a_treatment_fits_the_terminal(finished, capsys):
    _, comparison = finished
    print_suite({ENV: comparison})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 30
    starts = {label[:6].strip() for label in comparison.labels.values()}
    table = [line for line in lines if line[:6].strip() in starts]
    assert len(table) >= len(comparison.labels)
    assert all(len(line) <= 100 for line in lines[3:-1])
    head = next(line for line in lines if line.startswith("agent"))
    for column in ("sees", "outcome", "success", "cost", "score", "return minus best rule"):
        assert column in head
    assert "log10 kill [log10 cells]" in lines[-1]
    assert comparison.protagonists == [comparison.baseline, "mpc_oracle", comparison.rival, LEARNT]


@pytest.mark.slow
def test_the_overview_is_a_file(finished):
    folder, comparison = finished
    table = pd.read_csv(folder / "overview.csv").set_index("agent")
    assert set(table.index) == set(comparison.labels)
    assert table["sees"].to_dict() == comparison.sees
    assert table.loc[LEARNT, "training_seeds"] == 2
    gap = comparison.key.difference
    assert table.loc[LEARNT, ["minus_rival", "low", "high"]].tolist() == pytest.approx(
        [gap.estimate, gap.low, gap.high]
    )
    assert table.loc[comparison.rival, ["minus_rival", "low", "high"]].tolist() == [0.0] * 3


@pytest.mark.slow
def test_what_everybody_sees_is_said(finished):
    _, comparison = finished
    sees = comparison.sees
    assert sees["daily"] == sees[PLAN] == sees["random"] == "nothing"
    assert sees["pacing"] == sees[LEARNT] == "measurable"
    assert sees["mpc_oracle"] == "knows the patient"
    document = comparison.document()
    assert document["sees"] == sees
    assert document["key"]["trained"] == LEARNT
    assert comparison.reference == document["reference"] == "mpc_oracle"
    assert comparison.scores["mean"]["mpc_oracle"].estimate == 1.0


@pytest.mark.slow
def test_the_key_number_is_against_the_best_that_sees_no_more(finished):
    _, comparison = finished
    means = comparison.results.groupby("agent")["return"].mean()
    fit = [n for n, seen in comparison.sees.items() if seen in ("nothing", "measurable")]
    best = max((n for n in fit if n not in (PLAN, LEARNT, "random")), key=lambda n: means[n])
    assert comparison.rival == comparison.key.rival == best
    assert comparison.key.difference.estimate == pytest.approx(means[LEARNT] - means[best])
    assert "@full" not in best
    table = overview(comparison).set_index("agent")
    gap = table.loc[comparison.labels[LEARNT], "minus_rival"]
    assert gap.estimate == pytest.approx(means[LEARNT] - means[best])
    assert table["return"].is_monotonic_decreasing


@pytest.mark.slow
def test_how_much_the_controllers_think_is_said(finished):
    _, comparison = finished
    table = comparison.extras["How much the controllers think"].set_index("setting")["value"]
    assert table["budget"] == "8"
    assert table["replan_every"] == "10"
    assert table["horizon"] == "None"


@pytest.mark.slow
def test_what_measuring_costs_is_in_the_tables(finished):
    _, comparison = finished
    prices = comparison.extras["What knowing and measuring are worth"].set_index("against")
    means = comparison.results.groupby("agent")["return"].mean()
    own = prices.loc[comparison.labels["capped_pacing"]]
    assert own["return"].estimate == pytest.approx(
        means["capped_pacing@full"] - means["capped_pacing"]
    )


@pytest.mark.slow
def test_optimiser_beats_clinical_beats_nothing(finished):
    _, comparison = finished
    means = comparison.summary.query("metric == 'return'").set_index("agent")["mean"]
    assert means[PLAN] >= means[comparison.baseline] >= means["no_treatment"]


@pytest.mark.slow
def test_each_training_seed_is_told_apart(finished):
    _, comparison = finished
    table = comparison.extras["PPO by training seed"]
    assert table["training seed"].tolist() == [3, 4]
    mean = comparison.summary.query("agent == @LEARNT and metric == 'return'")["mean"].item()
    assert table["return"].mean() == pytest.approx(mean, abs=1e-9)
    assert table["return"].nunique() == 2


def test_success_counts_a_patient_once_however_many_seeds_treated_him():
    outcome = [True, False, True, True, False, False, True, True]
    once = pd.DataFrame({"agent": "a", "patient": range(8), "success": outcome})
    five = pd.concat([once.assign(training_seed=seed) for seed in range(5)], ignore_index=True)
    assert success_rates(five) == success_rates(once)
    mixed = five.assign(success=[seed < 3 for seed in five["training_seed"]])
    assert success_rates(mixed)["a"].estimate == pytest.approx(0.6)
    assert success_rates(mixed)["a"].high - success_rates(mixed)["a"].low > 0.5


@pytest.mark.slow
def test_own_plans_bound_every_common_plan(finished):
    folder, comparison = finished
    assert (folder / "ChemoDosingCohort-v0" / "own_plans.json").exists()
    (caption,) = [title for title in comparison.extras if "own" in title]
    assert f"first {SMALL.own_plan_patients} patients" in caption
    lacks = comparison.extras[caption].set_index("agent")["own plans minus agent"]
    assert len(lacks) == len(comparison.labels)
    # The search begins with the common plan and the protocols, and chemotherapy has no chance.
    plans = [comparison.labels[name] for name in (PLAN, "daily", "weekly", "no_treatment")]
    assert all(lacks[name].estimate > 0.0 for name in plans)


def test_genetic_search_goes_on_from_its_checkpoints(tmp_path, monkeypatch):
    toy = slot_toy.TREATMENT
    variant = replace(toy.variants[0], effort=Effort(optimizer="ga"))
    problem = Problem(toy, variant, {}, toy.cohort("nominal"), np.ones((4, 1)), np.arange(4))
    folders = [tmp_path / "whole", tmp_path / "broken"]
    for folder in folders:
        folder.mkdir()
    plan, about = common_plan(problem, SMALL, folders[0], 1, None)
    assert plan.label.startswith("Plan (")
    assert "Genetic algorithm" in plan.label
    assert (about["method"], len(about["history"])) == ("Genetic algorithm", 3)
    # One nominal patient; eight finalists. Equal schedules of a generation share a course.
    assert 2 * 40 + 8 * 4 < about["evaluations"] <= 3 * 40 + 8 * 4
    shutil.copytree(folders[0] / "plan-search", folders[1] / "plan-search")
    newest = max((folders[1] / "plan-search" / "ga" / "checkpoints").iterdir())
    shutil.rmtree(newest) if newest.is_dir() else newest.unlink()
    again, later = common_plan(problem, SMALL, folders[1], 1, None)
    np.testing.assert_array_equal(again.actions, plan.actions)
    assert later["evaluations"] == about["evaluations"]
    # Under other sources it begins anew.
    monkeypatch.setattr(sources, "_digest", lambda *packages: "others")
    checkpoints = folders[1] / "plan-search" / "ga" / "checkpoints"
    before = {file.name: file.stat().st_mtime_ns for file in checkpoints.iterdir()}
    for name in ("plan.json", "plan-ga.json"):
        (folders[1] / name).unlink()
    common_plan(problem, SMALL, folders[1], 1, None)
    after = {file.name: file.stat().st_mtime_ns for file in checkpoints.iterdir()}
    assert before.keys() == after.keys()
    assert all(after[name] > before[name] for name in before)


def test_a_search_that_another_version_began_is_begun_anew(tmp_path, monkeypatch):
    problem = resolve(ENV, patients=2)
    resumed = []

    def search_plan(optimizer, *arguments, resume, **settings):
        resumed.append((optimizer.name, resume))
        if resume:
            raise SearchFolderError("the search asks for other plans")
        return searched(optimizer, *arguments, **settings)

    searched = plans.search_plan
    monkeypatch.setattr(plans, "search_plan", search_plan)
    preset = replace(SMALL, optimizers=("lbfgs",), plan_patients=1)
    common_plan(problem, preset, tmp_path, 1, None)
    assert resumed == [("lbfgs", True), ("lbfgs", False)]


def test_own_plans_that_began_with_another_common_plan_are_begun_anew(tmp_path):
    problem = resolve(ENV, patients=1)
    actions = clinical_agent(problem.treatment, problem.task(1), "daily").actions
    preset = replace(SMALL, plan_settings={"popsize": 1, "polish": False}, plan_generations=2)
    heads = []
    for dose in (1.0, 0.5):
        PlanAgent(dose * actions).save(tmp_path / "plan.json", {})
        plans.plans_of_patients(problem, preset, tmp_path, 1, None)
        (tmp_path / "own_plans.json").unlink()
        journal = tmp_path / "plan-search" / "own-plans.jsonl"
        heads.append(journal.read_bytes().splitlines()[0])
    assert heads[0] != heads[1]


@pytest.mark.slow
def test_second_run_uses_the_finished_parts_and_shows_studies_too(finished, tmp_path, monkeypatch):
    folder, comparison = tmp_path / "copy", finished[1]
    shutil.copytree(finished[0], folder)
    place = folder / "ChemoDosingCohort-v0"
    # The evaluation was interrupted after two agents of all.
    courses = (place / "courses.jsonl").read_bytes().splitlines(keepends=True)
    (place / "courses.jsonl").write_bytes(b"".join(courses[:3]))
    treated = []
    treat, decide = kept_courses.treat, drawn._decide
    monkeypatch.setattr(kept_courses, "treat", lambda one: treated.append(one) or treat(one))
    monkeypatch.setattr(drawn, "_decide", lambda one: treated.append(one) or decide(one))
    before = (place / "results.csv").read_bytes()
    plan = (place / "plan.json").stat().st_mtime_ns
    problem = resolve(ENV, patients=5)
    agents = {"daily": clinical_agent(problem.treatment, problem.task(1), "daily")}
    study = run_robustness(problem, agents, [Request("dose_bias")], resamples=20).document()
    treated.clear()
    again = run_benchmark([ENV], SMALL, folder, seed=3, studies=[study])[ENV]
    caption = "What finding the policies took"
    seconds = [one.extras[caption]["seconds"].iloc[-1] for one in (comparison, again)]
    assert min(seconds) > 0.0
    # The patients with plans of their own are treated besides.
    assert len(treated) == len(courses) - 3 + 1
    page = (folder / "report.html").read_text(encoding="utf-8")
    parts = ['"kind":"courses"', '<section class="tab" id="robustness-', '"kind":"losses"']
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    assert (place / "results.csv").read_bytes() == before
    assert (place / "plan.json").stat().st_mtime_ns == plan
    pd.testing.assert_frame_equal(again.summary, comparison.summary)
    # A study stays in the report when it is not named again, and stands there once when it is.
    treated.clear()
    third = run_benchmark([ENV], SMALL, folder, seed=3)[ENV]
    assert len(treated) == 1
    assert third.extras[caption]["seconds"].iloc[-1] == pytest.approx(seconds[1])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert '<section class="tab" id="robustness-' in page
    assert len(all_studies(folder, [study])) == 1
    (folder / "studies.json").write_text('[{"env": "x"}]')
    with pytest.raises(CorruptFileError, match=r"studies\.json"):
        run_benchmark([ENV], SMALL, folder, seed=3)


@pytest.mark.slow
def test_other_settings_are_refused(finished):
    folder, _ = finished
    with pytest.raises(ValueError, match="other settings"):
        run_benchmark([ENV], SMALL, folder, seed=4)


class StoppedError(Exception):
    """Instead of hours of work."""


@pytest.fixture
def reported(tmp_path, monkeypatch):
    """A folder whose report shows one environment, and the ids of those that are worked on."""
    write_json_atomic(tmp_path / "settings.json", settings_of(SMALL, 3))
    pd.DataFrame({"env": [ENV, ENV], "agent": "daily"}).to_csv(tmp_path / "summary.csv")
    begun = []

    def work(problem, *_):
        begun.append(problem.env_id)
        if problem.env_id == OTHER:
            raise StoppedError
        return SimpleNamespace(write_tables=lambda *_: None, draw=lambda *_: None)

    monkeypatch.setattr("oncogym.evaluation.benchmark.run._benchmark_one", work)
    return tmp_path, begun


def test_a_report_keeps_the_environments_that_it_shows(reported):
    folder, begun = reported
    said = []
    with pytest.raises(StoppedError):
        run_benchmark([OTHER], SMALL, folder, seed=3, say=said.append)
    assert begun == [ENV, OTHER]
    assert said == [f"the report in {folder} keeps {ENV}"]


def test_a_report_with_other_settings_is_not_added_to(reported):
    folder, begun = reported
    with pytest.raises(ValueError, match="other settings"):
        run_benchmark([OTHER], SMALL, folder, seed=4)
    assert begun == []


def test_an_environment_of_a_report_that_is_gone_is_named(reported):
    folder, begun = reported
    pd.DataFrame({"env": ["gone/Away-v0"]}).to_csv(folder / "summary.csv")
    with pytest.raises(UnknownNameError, match=r"'gone/Away-v0'.*choose another folder"):
        run_benchmark([OTHER], SMALL, folder, seed=3)
    (folder / "summary.csv").write_text("agent\ndaily\n")
    with pytest.raises(CorruptFileError, match=r"summary\.csv"):
        run_benchmark([OTHER], SMALL, folder, seed=3)
    assert begun == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plan.json", '{"label": "x", "actions": [[0.5]], "about": {"method": "DE"}}'),
        ("plan.json", '{"label": "x", "actions": [[0.5]]}'),
        (
            "plan.json",
            '{"label": "x", "actions": [[0.5]], "about": {"method": "DE", "evaluations": 1, '
            '"seconds": 1.0, "searches": [{"method": "DE"}]}}',
        ),
        ("own_plans.json", "{}"),
        ("ppo-3/progress.csv", "steps,eval/ret"),
        ("ppo-4/progress.csv", "steps,eval/return\n10,0.5\n10,0.6\n"),
        ("ppo-3/progress.csv", "steps,eval/return\nten,0.5\n"),
        ("settings.json", "{"),
    ],
)
def test_a_damaged_part_is_named_before_anything_is_done(
    finished, tmp_path, name, text, monkeypatch
):
    def work(*_, **__):
        raise AssertionError("work began")

    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    (folder / "ChemoDosingCohort-v0" / name).write_text(text)
    monkeypatch.setattr("oncogym.evaluation.benchmark.run.common_plan", work)
    with pytest.raises(CorruptFileError, match=re.escape(name)):
        run_benchmark([ENV], SMALL, folder, seed=3)


@pytest.mark.slow
def test_the_folder_lists_every_file_of_the_benchmark(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    (folder / "ChemoDosingCohort-v0" / "notes.txt").write_text("mine")
    find_benchmark(folder).remove()
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert left == [folder / "ChemoDosingCohort-v0" / "notes.txt"]


def test_presets_and_default_environments():
    assert PRESETS["full"].patients == 256
    assert all("mpc_oracle" in preset.controllers for preset in PRESETS.values())
    assert ENV in default_envs()


def test_evaluation_does_not_depend_on_who_else_takes_part():
    problem = resolve(ENV, patients=10, options={"observation": "measurable"})
    from oncogym.agents import clinical_agents

    agents, left_out = clinical_agents(problem.treatment, problem.task(1))
    assert not left_out
    assert agents["threshold"].options == {"observation": "full"}
    options = {"observation": "measurable"}
    alone = evaluate(ENV, {"daily": agents["daily"]}, patients=10, options=options)
    together = evaluate(ENV, agents, patients=10, options=options)
    same = together[together["agent"] == "daily"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, same)
