"""Evaluations that go on from the courses they had."""

from __future__ import annotations

import json
import threading

import numpy as np
import pandas as pd
import pytest

from oncogym.agents.rollout import rollout
from oncogym.cli.main import main
from oncogym.core import sources
from oncogym.core.files import CorruptFileError
from oncogym.core.journal import open_journal
from oncogym.evaluation import kept_courses as module
from oncogym.evaluation.agent_names import load_agents
from oncogym.evaluation.harness import evaluate_problem, resolve
from oncogym.evaluation.kept_courses import FILE, KeptCourses, kept_courses
from oncogym.evaluation.report import courses
from oncogym.evaluation.report.courses import Courses
from oncogym.evaluation.shards import Shard
from oncogym.parallel.base import LanesExecutor
from oncogym.parallel.processes import JoblibExecutor

COHORTS = [
    "ChemoDosingCohort-v0", "GlioblastomaRadiationCohort-v0", "AdaptiveTherapyCohort-v0",
    "ChemoNeutrophilsCohort-v0",
]  # fmt: skip
AGENTS = ["daily", "pacing", "random", "pretrained:ppo"]


class Killed(BaseException):
    """What ends an evaluation in the middle."""


class Mortal:
    """Counts the batches that are treated, and ends the process at one of them."""

    def __init__(self, monkeypatch, last=10**9):
        self.treated, self.last = 0, last
        treat = module.treat

        def counted(shard):
            if self.treated == self.last:
                raise Killed
            self.treated += 1
            return treat(shard)

        monkeypatch.setattr(module, "treat", counted)


def chemo(patients=70, names=AGENTS, **options):
    problem = resolve(COHORTS[0], patients=patients, seed=3, options=options)
    return problem, load_agents(problem, names, seed=3)[0]


def evaluated(place, problem, agents, executor=None):
    with kept_courses(place / FILE) as kept:
        return evaluate_problem(problem, agents, executor, kept=kept), kept.seconds


def test_an_interrupted_evaluation_ends_as_it_would_have_ended(tmp_path, monkeypatch):
    problem, agents = chemo()
    alone = evaluate_problem(problem, agents)
    mortal = Mortal(monkeypatch, last=4)
    with pytest.raises(Killed):
        evaluated(tmp_path, problem, agents)
    # Another process would resolve everything anew.
    problem, agents = chemo()
    mortal.last += 3
    with pytest.raises(Killed):
        evaluated(tmp_path, problem, agents)
    problem, agents = chemo()
    mortal.last = 10**9
    table, seconds = evaluated(tmp_path, problem, agents)
    pd.testing.assert_frame_equal(table, alone, check_exact=True)
    assert mortal.treated == len(AGENTS) * 3  # batches of 32, nobody twice
    again, same = evaluated(tmp_path, *chemo())
    pd.testing.assert_frame_equal(again, alone, check_exact=True)
    assert (mortal.treated, same) == (len(AGENTS) * 3, pytest.approx(seconds))


def test_agents_of_all_kinds_are_known_again():
    digests = []
    for _ in range(2):
        problem, agents = chemo(3, [*AGENTS, "mpc_nominal", "mpc_scenario", "mpc_oracle"])
        shards = [Shard.of(problem, agent, slice(0, 3)) for agent in agents.values()]
        digests.append([module._digest(shard) for shard in shards])
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == len(AGENTS) + 3


@pytest.mark.parametrize("cohort", COHORTS)
def test_all_protocols_of_a_cohort_are_found_again(cohort, tmp_path, monkeypatch):
    def setting():
        problem = resolve(cohort, patients=3, seed=1)
        return problem, load_agents(problem, [])[0]

    first, _ = evaluated(tmp_path, *setting())
    mortal = Mortal(monkeypatch, last=0)
    again, _ = evaluated(tmp_path, *setting())
    pd.testing.assert_frame_equal(again, first, check_exact=True)
    assert mortal.treated == 0


@pytest.mark.parametrize(
    "change", [{"patients": 5}, {"names": ["weekly"]}, {"observation": "full"}]
)
def test_what_was_decided_otherwise_is_treated_anew(change, tmp_path, monkeypatch):
    usual = {"patients": 4, "names": ["daily"]}
    evaluated(tmp_path, *chemo(**usual))
    mortal = Mortal(monkeypatch)
    problem, agents = chemo(**{**usual, **change})
    table, _ = evaluated(tmp_path, problem, agents)
    assert mortal.treated == 1
    pd.testing.assert_frame_equal(table, evaluate_problem(problem, agents), check_exact=True)


@pytest.mark.parametrize(
    ("cohort", "names", "options"),
    [
        # All of a cohort's protocols, those that see hidden quantities included.
        *((cohort, [], {}) for cohort in COHORTS),
        ("EMT6RoFractionationCohort-v0", ["equal_fractions"], {"fidelity": "screening"}),
        ("IMPTBeamWeightingCohort-v0", ["adapted"], {}),
    ],
)
def test_drawn_courses_are_those_of_the_agents_who_are_asked_once(
    cohort, names, options, tmp_path, monkeypatch
):
    problem = resolve(cohort, patients=3, seed=1, options=options)
    agents = load_agents(problem, names)[0] | load_agents(problem, ["random"])[0]
    recorded = []
    with kept_courses(tmp_path / FILE) as kept:
        recorded.append(Courses.record(problem, agents, 2, kept=kept))
    monkeypatch.setattr(courses, "_decide", None)
    with kept_courses(tmp_path / FILE) as kept:
        recorded.append(Courses.record(problem, agents, 2, kept=kept))
    for name, agent in agents.items():
        shard = Shard.of(problem, agent, slice(0, 2))
        task, whom = shard.task(), shard.problem
        end = rollout(task, shard.actor(task), whom.patients, whom.seeds)
        traces = [problem.treatment.traces(task, lane) for lane in range(2)]
        for one in recorded:
            for field in ("returns", "lengths", "terms", "costs", "outcome", "success", "clipped"):
                np.testing.assert_array_equal(
                    getattr(one.ends[name], field), getattr(end, field), err_msg=field
                )
            for lane in range(2):
                for ours, trace in zip(one.traces[name][lane], traces[lane], strict=True):
                    np.testing.assert_array_equal(ours.time, trace.time)
                    np.testing.assert_array_equal(ours.values, trace.values)


def test_other_sources_and_other_modules_begin_anew(tmp_path, monkeypatch):
    file = tmp_path / FILE

    def evaluate(kept):
        evaluate_problem(*chemo(4, ["daily"]), kept=kept)

    with kept_courses(file) as kept:
        evaluate(kept)
    size = file.stat().st_size
    with kept_courses(file, ["json.decoder"]) as kept:
        assert file.stat().st_size < size
        evaluate(kept)
    size = file.stat().st_size
    with kept_courses(file, ["json.encoder"]):  # the same package
        assert file.stat().st_size == size
    monkeypatch.setattr(sources, "_digest", lambda *packages: "others")
    with kept_courses(file, ["json.encoder"]):
        assert file.stat().st_size < size


def test_an_agent_that_cannot_be_sent_is_treated_every_time(tmp_path, monkeypatch):
    class Locked:
        def __init__(self):
            self.lock = threading.Lock()

        def predict(self, observation, **_):
            return np.full((len(observation), 1), 0.05), None

    problem, agents = chemo(4, ["daily"])
    agents["locked"] = Locked()
    mortal = Mortal(monkeypatch)
    tables = [evaluated(tmp_path, problem, agents)[0] for _ in range(2)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert mortal.treated == 2 + 1


def test_a_file_of_something_else_is_replaced_and_a_damaged_entry_is_refused(tmp_path):
    (tmp_path / FILE).write_text("something else\n")
    table, _ = evaluated(tmp_path, *chemo(4, ["daily"]))
    assert len(table) == 4
    with open_journal(tmp_path / "odd", {}) as journal:
        journal.add(["digest", 1.0, [[2], "00"]])
    with (
        open_journal(tmp_path / "odd", {}, resume=True) as journal,
        pytest.raises(CorruptFileError, match="odd: no courses"),
    ):
        KeptCourses(journal)


def test_workers_and_this_process_share_what_is_kept(tmp_path, monkeypatch):
    problem, agents = chemo(40, ["daily", "pacing"])
    with JoblibExecutor(2) as executor:
        there, _ = evaluated(tmp_path, problem, agents, executor)
    mortal = Mortal(monkeypatch, last=0)
    here, _ = evaluated(tmp_path, problem, agents, LanesExecutor())
    pd.testing.assert_frame_equal(here, there, check_exact=True)
    assert mortal.treated == 0


@pytest.mark.parametrize("command", [["evaluate", "--baseline", "daily"], ["sensitivity"]])
def test_the_command_goes_on_and_leaves_results_only(command, tmp_path, capsys, monkeypatch):
    asked = [command[0], COHORTS[0], "daily", "pacing", "--patients", "40", *command[1:]]
    assert main([*asked, "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    out = tmp_path / "mine"
    mortal = Mortal(monkeypatch, last=2)
    with pytest.raises(Killed):
        main([*asked, "--out", str(out)])
    assert (out / FILE).exists()
    mortal.last = 10**9
    assert main([*asked, "--json", "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == alone
    assert mortal.treated == 4
    assert (out / "manifest.json").exists()
    assert not (out / FILE).exists()


def test_tuning_goes_on_and_leaves_its_file_only(tmp_path, capsys, monkeypatch):
    asked = ["tune", COHORTS[1], "greedy_95", "--patients", "3"]
    assert main([*asked, "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    out = tmp_path / "grid.csv"
    mortal = Mortal(monkeypatch, last=4)
    with pytest.raises(Killed):
        main([*asked, "--out", str(out)])
    assert [path.name for path in tmp_path.iterdir()] == ["grid.csv.unfinished"]
    (tmp_path / "grid.csv.unfinished" / "mine.txt").touch()
    mortal.last = 10**9
    assert main([*asked, "--json", "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == alone
    assert mortal.treated == 1 + len(alone)  # the protocol, and each combination once
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"grid.csv", "mine.txt"}


def test_a_study_of_robustness_goes_on(tmp_path, capsys, monkeypatch):
    from oncogym.evaluation.robustness import study

    asked = ["robustness", COHORTS[0], "daily", "pacing", "--patients", "40", "--perturb"]
    asked += ["dose_error", "--perturb", "missed=1@3"]
    assert main([*asked, "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    treat, treated = study.treat_perturbed, []

    def mortal(one):
        if len(treated) == last:
            raise Killed
        treated.append(one)
        return treat(one)

    monkeypatch.setattr(study, "treat_perturbed", mortal)
    last = 5
    with pytest.raises(Killed):
        main([*asked, "--out", str(tmp_path)])
    assert (tmp_path / FILE).exists()
    last = 10**9
    assert main([*asked, "--json", "--out", str(tmp_path)]) == 0
    again = json.loads(capsys.readouterr().out)
    kinds = (
        len(
            {
                (row["kind"], row["size"])
                for row in pd.read_csv(tmp_path / "results.csv").to_dict("records")
            }
        )
        - 1
    )
    assert len(treated) == kinds * 2 * 2  # two agents, 40 patients in two batches
    for document in (alone, again):
        document.pop("manifest")
    assert again == alone
    assert not (tmp_path / FILE).exists()
