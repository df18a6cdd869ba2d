"""Perturbed courses: nothing at size 0, what is missed is missing, and the same luck for all."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import slot_toy

from oncogym.agents.clinical import RandomAgent, clinical_agent
from oncogym.agents.plan import PlanAgent
from oncogym.agents.rollout import rollout
from oncogym.cli.main import main
from oncogym.core.errors import UnknownNameError
from oncogym.envs import find_variant, registry, treatments
from oncogym.evaluation.harness import evaluate_problem, resolve
from oncogym.evaluation.robustness import shards as perturbed_shards
from oncogym.evaluation.robustness.perturbation import (
    KINDS,
    Course,
    Perturbation,
    PerturbedAgent,
    Spectator,
    further_out,
)
from oncogym.evaluation.robustness.shards import Cutter, treat_perturbed
from oncogym.evaluation.robustness.study import Request, run_robustness
from oncogym.evaluation.shards import joined

CHEMO = "oncogym/ChemoDosingCohort-v0"
EMT6 = "oncogym/EMT6RoFractionation-v0"
IMPT = "oncogym/IMPTBeamWeighting-v0"
SIZE = {kind: about.sizes[-1] for kind, about in KINDS.items()}


@pytest.fixture(scope="module")
def toy():
    """Doses of 1, 2 and 0.5 Gy in three of 24 slots; a dose is worth most at 3, 10 and 17 h."""
    if slot_toy.TREATMENT.name not in treatments():
        registry.register_treatment(slot_toy.TREATMENT)
    actions = np.zeros((slot_toy.SLOTS, 1))
    actions[[3, 10, 11], 0] = 0.5, 1.0, 0.25
    env_id = slot_toy.TREATMENT.variants[0].id
    yield resolve(env_id, patients=4, options={"noise": 0.5}), PlanAgent(actions)
    registry._TREATMENTS.pop(slot_toy.TREATMENT.name)


class Feedback:
    """Asks for a dose that grows with everything it sees, and not on every third decision."""

    label = "Feedback"

    def __init__(self, size, part):
        self._size, self._part = size, part

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        calls = 0 if state is None else state
        seen = np.asarray(observation, np.float64).reshape(len(observation), -1)
        actions = np.full((len(seen), self._size), 0.5)
        actions[:, self._part or 0] = 0.02 + 0.1 * np.tanh(np.abs(seen).mean(axis=1))
        if calls % 3 == 2:
            actions[:, self._part or 0] = 0.0
        return actions, calls + 1


def quick(env_id):
    """Options of the fastest law of a model that has several, and of doses that are not rounded."""
    owner, variant = find_variant(env_id)
    if owner.name == "adaptive_therapy" and variant.options.get("formulation") == "published":
        return {"doses": "continuous"}  # small doses are none where a drug is on or off
    return {"fidelity": "screening"} if "fidelity" in owner.task.numerical_options else {}


def unperturbed(problem, agent):
    task = problem.task()
    watcher = Spectator(agent)
    result = rollout(task, watcher, problem.patients, problem.seeds, record_actions=True)
    return result, Course.of(task, result.actions, watcher.seen)


def perturbed(problem, agent, perturbation, course):
    """Perturbed courses of all patients, and the dose that was asked for and not given."""
    parts = [treat_perturbed(one) for one in Cutter(problem).perturbed(agent, perturbation, course)]
    return joined([one for one, _ in parts]), np.concatenate([lost for _, lost in parts])


def delivered(problem, agent, kind, size, when=1, seed=0):
    """Doses given ``(lanes, decisions)`` as shares of the largest, and what was lost."""
    _, course = unperturbed(problem, agent)
    result, lost = perturbed(problem, agent, Perturbation(kind, size, when, seed), course)
    part = problem.task(1).dose_part
    return result.actions[:, :, part], lost


def same(first, second):
    for name, value in vars(first).items():
        assert np.array_equal(value, getattr(second, name), equal_nan=True), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("env_id", [CHEMO, "oncogym/ChemoDosingPublished-v0", EMT6, IMPT])
def test_size_zero_is_the_plain_course_bit_for_bit(env_id, kind):
    problem = resolve(env_id, patients=3, seed=5, options=quick(env_id))
    task = problem.task()
    agent = Feedback(task.action_space.shape[0], task.dose_part)
    plain, course = unperturbed(problem, agent)
    result, lost = perturbed(problem, agent, Perturbation(kind, 0.0), course)
    same(plain, result)
    assert not np.any(lost)


def test_study_at_size_zero_equals_evaluate():
    problem = resolve(CHEMO, patients=6, seed=3)
    agents = {"weekly": clinical_agent(problem.treatment, problem.task(1), "weekly"),
              "random": RandomAgent(1, 2)}  # fmt: skip
    plain = evaluate_problem(problem, agents)
    agents["random"] = RandomAgent(1, 2)
    requests = [Request(kind, (0.0,), (1,) * KINDS[kind].event) for kind in KINDS]
    study = run_robustness(problem, agents, requests)
    assert len(study.results) == 8 * len(plain)
    for _, part in study.results.groupby(["kind", "when"], sort=False):
        own = part[plain.columns].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, plain, check_exact=True)
    assert (study.summary["loss"] == 0.0).all()


def test_missed_fraction_is_missing(toy):
    problem, plan = toy
    plain, _ = unperturbed(problem, plan)
    doses, lost = delivered(problem, plan, "missed", 1, when=2)
    assert doses[0, [3, 10, 11]].tolist() == [0.5, 0.0, 0.25]
    assert lost.tolist() == [2.0] * 4
    doses, lost = delivered(problem, plan, "missed", 2, when=2)
    assert doses[0, [3, 10, 11]].tolist() == [0.5, 0.0, 0.0]
    _, course = unperturbed(problem, plan)
    result, _ = perturbed(problem, plan, Perturbation("missed", 1, 2), course)
    assert (plain.outcome[:, 0] - result.outcome[:, 0]).tolist() == [2.0] * 4
    # The noise of the model is the same, so the difference is the dose's worth alone.
    expected = 2.0 * slot_toy.WORTH[10] * problem.patients[:, 0]
    assert plain.returns - result.returns == pytest.approx(expected, rel=1e-12)


def test_missed_dose_is_missing_in_the_outcome_of_a_model():
    problem = resolve(CHEMO, patients=4, options={"stop_on_failure": False})
    agent = clinical_agent(problem.treatment, problem.task(1), "source_uniform")
    study = run_robustness(problem, {"a": agent}, [Request("missed", (1,), (1, 6, 7))])
    losses = study.summary[study.summary["metric"] == "doses"].set_index("when")["loss"]
    assert losses[1] == losses[6] == 1.0
    assert 7 not in losses  # there are six
    assert study.results.loc[study.results["when"] == 6, "dose_lost"].tolist() == [5.0] * 4
    assert (study.summary.loc[study.summary["when"] == 6, "dose_lost"] == 5.0).all()


def test_delayed_dose_comes_later_as_far_as_there_is_room(toy):
    problem, plan = toy
    doses, lost = delivered(problem, plan, "delayed", 1, when=1)
    assert doses[0, [3, 4, 10, 11]].tolist() == [0.0, 0.5, 1.0, 0.25]
    assert lost.tolist() == [0.0] * 4
    # 1 and 0.25 of the largest dose meet: a quarter of it, 0.5 Gy, is lost.
    doses, lost = delivered(problem, plan, "delayed", 1, when=2)
    assert doses[0, [3, 10, 11]].tolist() == [0.5, 0.0, 1.0]
    assert lost.tolist() == [0.5] * 4
    doses, lost = delivered(problem, plan, "delayed", 20, when=2)  # after the end
    assert doses[0].sum() == 0.75
    assert lost.tolist() == [2.0] * 4


def test_swapped_doses_change_places(toy):
    problem, plan = toy
    doses, lost = delivered(problem, plan, "swapped", 1, when=1)
    assert doses[0, [3, 10, 11]].tolist() == [1.0, 0.5, 0.25]
    doses, _ = delivered(problem, plan, "swapped", 2, when=1)
    assert doses[0, [3, 10, 11]].tolist() == [0.25, 1.0, 0.5]
    assert lost.tolist() == [0.0] * 4
    _, course = unperturbed(problem, plan)
    assert not course.affected(Perturbation("swapped", 1, 3)).any()
    assert course.affected(Perturbation("missed", 1, 3)).all()


def test_swap_gives_an_observing_agent_its_own_later_dose():
    problem = resolve(CHEMO, patients=5)
    agent = Feedback(1, 0)
    plain, _ = unperturbed(problem, agent)
    doses, _ = delivered(problem, agent, "swapped", 1, when=2)
    assert np.array_equal(doses[:, 1], plain.actions[:, 3, 0])  # decision 2 asks for none
    assert np.array_equal(doses[:, 3], plain.actions[:, 1, 0])
    assert not np.array_equal(doses[:, 4], plain.actions[:, 4, 0])  # it has seen the difference


def test_errors_of_doses_are_the_same_for_every_agent_and_scale_with_size(toy):
    problem, plan = toy
    half = PlanAgent(plan.actions / 2)
    small, _ = delivered(problem, half, "dose_error", 0.1)
    at = [3, 11]
    relative = small[:, at] / half.actions[at, 0] - 1.0
    other, _ = delivered(problem, half, "dose_error", 0.2)
    assert other[:, at] / half.actions[at, 0] - 1.0 == pytest.approx(2.0 * relative)
    full, _ = delivered(problem, PlanAgent(plan.actions / 4), "dose_error", 0.1)
    assert full[:, at] == pytest.approx(small[:, at] / 2)
    assert len(np.unique(relative)) == relative.size
    constant, _ = delivered(problem, half, "dose_bias", 0.1)
    factor = constant[:, at] / half.actions[at, 0]
    assert factor[:, 0] == pytest.approx(factor[:, 1])
    assert len(np.unique(factor[:, 0])) == 4
    again, _ = delivered(problem, half, "dose_error", 0.1, seed=1)
    assert not np.array_equal(again, small)
    assert np.nanmax(delivered(problem, plan, "dose_error", 1.0)[0]) <= 1.0


def test_errors_of_doses_have_the_stated_spread():
    problem = resolve(CHEMO, patients=200, cohort="nominal")
    agent = PlanAgent(np.full((60, 1), 0.02))
    doses, _ = delivered(problem, agent, "dose_error", 0.1)
    factors = doses / 0.02
    assert np.nanmean(factors) == pytest.approx(1.0, abs=4 * 0.1 / np.sqrt(factors.size))
    assert np.nanstd(factors) == pytest.approx(0.1, rel=0.03)


@pytest.mark.slow
def test_errors_do_not_keep_to_the_grid_of_doses():
    problem = resolve(EMT6, patients=4, options={"fidelity": "screening"})
    agent = clinical_agent(problem.treatment, problem.task(1), "two_5gy")
    small = PlanAgent(np.where(agent.actions == 1.0, 0.41, agent.actions)[:, :])
    doses, _ = delivered(problem, small, "dose_error", 0.02)
    given = doses[:, 0] * 5.0
    assert given == pytest.approx(2.0, abs=0.12)  # 2.05 Gy goes to the grid before the error
    assert (np.abs(given - 2.0) > 1e-3).any()
    _, course = unperturbed(problem, small)
    result, _ = perturbed(problem, small, Perturbation("dose_error", 0.02), course)
    total = result.outcome[:, problem.metric_names.index("total_dose")]
    assert len(np.unique(total)) > 1


def test_noise_is_seen_by_the_agent_only():
    problem = resolve(CHEMO, patients=8)
    plan = clinical_agent(problem.treatment, problem.task(1), "daily")
    plain, course = unperturbed(problem, plan)
    noise = Perturbation("observation_noise", 0.5)
    watcher = Spectator(plan)
    wrapped = PerturbedAgent(watcher, noise, problem.task(1), problem.seeds, course)
    result = rollout(problem.task(), wrapped, problem.patients, problem.seeds, record_actions=True)
    same(plain, result)
    space = problem.task(1).observation_space
    clean = Spectator(plan)
    rollout(problem.task(), clean, problem.patients, problem.seeds)
    added = np.stack(watcher.seen) - np.stack(clean.seen)
    assert all(one.dtype == space.dtype and (one >= space.low).all() and (one <= space.high).all()
               for one in watcher.seen)  # fmt: skip
    treated = ~np.isnan(result.actions[:, :, 0]).T
    assert course.spread == pytest.approx(np.stack(clean.seen, dtype=float)[treated].std(axis=0))
    toxicity = added[5:, :, 2]  # far from the ends of its box
    assert np.std(toxicity) == pytest.approx(0.5 * course.spread[2], rel=0.3)
    feedback = Feedback(1, 0)
    plain, course = unperturbed(problem, feedback)
    result, _ = perturbed(problem, feedback, noise, course)
    assert not np.array_equal(plain.returns, result.returns)


def test_a_rule_that_sees_hidden_quantities_sees_them_with_noise():
    problem = resolve(IMPT, patients=2)
    agents = {"bound": clinical_agent(problem.treatment, problem.task(1), "clairvoyant")}
    study = run_robustness(problem, agents, [Request("observation_noise", (1.0,))], resamples=20)
    loss = study.summary[study.summary["kind"] == "observation_noise"].set_index("metric")["loss"]
    assert loss["return"] > 0.1


def test_patients_go_further_from_the_nominal_within_their_ranges():
    problem = resolve(CHEMO, patients=20)
    record = problem.treatment.patient
    nominal = record().to_array()
    rows = Perturbation("patient_spread", 1.0).problem(problem).patients
    assert np.log(rows / nominal) == pytest.approx(2.0 * np.log(problem.patients / nominal))
    for row in Perturbation("patient_spread", 100.0).problem(problem).patients:
        record.from_array(row)


def test_what_names_a_patient_stays():
    protons, _ = find_variant(IMPT)
    row = np.array([201.0, 0.3, -0.2, 0.0, 0.02, 0.25])
    far = further_out(protons, row, 0.5)
    assert far[:5] == pytest.approx([201.0, 0.45, -0.3, 0.0, 0.03])
    assert far[5] > 0.25
    spheroid, _ = find_variant(EMT6)
    row = spheroid.patient(survival=0.6, tumour=7, age=8.5).to_array()
    far = further_out(spheroid, row, 1.0)
    assert far[0] > 0.6
    assert np.array_equal(far[1:], row[1:])


def test_patients_whom_a_model_refuses_go_as_far_as_it_takes_them():
    problem = resolve("oncogym/GlioblastomaRadiationCohort-v0", patients=4)
    rows = problem.patients.copy()
    rows[0, 0] = 0.35  # mm^2/d; 0.61 at size 1 is unstable on the grid
    problem = replace(problem, patients=rows)
    far = Perturbation("patient_spread", 1.0).problem(problem).patients
    assert far[0, 0] > 0.35
    problem.task().reset(np.arange(4), far, problem.seeds, np.zeros(4, np.uint64))


@pytest.mark.slow
def test_order_and_choice_of_agents_change_nothing():
    problem = resolve(CHEMO, patients=5, seed=2)
    task = problem.task(1)
    make = {
        "daily": lambda: clinical_agent(problem.treatment, task, "daily"),
        "random": lambda: RandomAgent(1, 4),
        "feedback": lambda: Feedback(1, 0),
    }
    requests = [Request("missed", (1,), (1, 2)), Request("dose_error"), Request("delayed")]
    first = run_robustness(problem, {name: make[name]() for name in make}, requests, seed=2)
    second = run_robustness(problem, {name: make[name]() for name in list(make)[::-1]},
                            requests[::-1], seed=2)  # fmt: skip
    keys = ["agent", "kind", "size", "when", "metric"]
    pd.testing.assert_frame_equal(
        first.summary.sort_values(keys, ignore_index=True),
        second.summary.sort_values(keys, ignore_index=True),
        check_exact=True,
    )


@pytest.mark.slow
def test_shards_change_nothing(monkeypatch):
    problem = resolve(CHEMO, patients=20, seed=2)
    agents = {
        "threshold": clinical_agent(problem.treatment, problem.task(1), "threshold"),
        "random": RandomAgent(1, 4),
    }
    requests = [Request(kind, when=(2,) * KINDS[kind].event) for kind in KINDS]
    tables = []
    for most in (100, 7, 1):
        monkeypatch.setattr(perturbed_shards, "PATIENTS", most)
        tables.append(run_robustness(problem, agents, requests, resamples=20).results.to_csv())
    assert tables[0] == tables[1] == tables[2]


def test_agents_that_keep_something_start_anew():
    class Tired:
        """Gives less with every batch of treatments that it begins."""

        begun = 0

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            self.begun += state is None
            return np.full((len(observation), 1), 0.1 / self.begun), True

    problem = resolve(CHEMO, patients=40)
    study = run_robustness(problem, {"tired": Tired()}, [Request("dose_bias", (0.0,))])
    assert (study.summary["loss"] == 0.0).all()


@pytest.mark.parametrize(
    ("env_id", "part"),
    [
        (CHEMO, 0),
        ("oncogym/ChemoDosingPublished-v0", 1),
        (EMT6, 0),
        (IMPT, 0),
        ("oncogym/IMPTBeamWeightingPublished-v0", None),
    ],
)
def test_the_dose_is_found_by_its_name(env_id, part):
    assert resolve(env_id, patients=1).task(1).dose_part == part


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_on_every_id(env_id, kind):
    problem = resolve(env_id, patients=2, options=quick(env_id))
    known = problem.task(1)
    agent = Feedback(known.action_space.shape[0], known.dose_part)
    request = Request(kind, (SIZE[kind],), (1,) if KINDS[kind].event else ())
    if KINDS[kind].dose and known.dose_part is None:
        with pytest.raises(ValueError, match="allowed: tasks with an action component called"):
            run_robustness(problem, {"feedback": agent}, [request])
        return
    study = run_robustness(problem, {"feedback": agent}, [request], resamples=20)
    assert set(study.results["kind"]) == {"none", kind}
    assert np.isfinite(study.summary["mean"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missd", 1.0), "did you mean 'missed'"),
        (("missed", 0.5), "size of missed is 0.5; allowed: an integer from 0 to 100"),
        (("dose_error", -0.1), "size of dose_error is -0.1; allowed: 0 to 100"),
        (("dose_error", float("nan")), "size of dose_error is nan; allowed: 0 to 100"),
        (("missed", 1, 0), "when is 0; allowed: an integer from 1"),
        (("missed", 1, 1, -1), "seed is -1; allowed: an integer from 0"),
    ],
)
def test_bad_perturbations_are_refused(arguments, message):
    with pytest.raises((ValueError, UnknownNameError), match=message.replace("(", r"\(")):
        Perturbation(*arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missed=one", "allowed: KIND"),
        ("missed@", "allowed: KIND"),
        ("dose_error=0.1@2", "acts throughout; allowed: only with missed, delayed, swapped"),
        ("delay", "did you mean 'delayed'"),
        ("missed=1@0", "when is 0"),
    ],
)
def test_bad_requests_have_status_2(text, message, capsys):
    assert main(["robustness", "ChemoDosing-v0", "daily", "--perturb", text]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_requests_are_read():
    assert Request.parse("missed") == Request("missed")
    assert Request.parse("missed=1,2@3,4") == Request("missed", (1.0, 2.0), (3, 4))
    assert Request.parse("delayed@2").when == (2,)


def test_default_fractions_are_spread_over_an_agents_own(toy):
    problem, plan = toy
    _, course = unperturbed(problem, plan)
    assert [p.when for p in Request("missed").perturbations(course, 0)] == [1, 2, 3]
    assert [p.when for p in Request("swapped").perturbations(course, 0)] == [1, 2]
    nothing = replace(course, gives=np.zeros_like(course.gives))
    assert not list(Request("missed").perturbations(nothing, 0))


@pytest.mark.slow
def test_command_writes_tables_figure_and_manifest(tmp_path, capsys):
    arguments = ["robustness", "ChemoDosingCohort-v0", "daily", "threshold", "no_treatment",
                 "--patients", "5", "--perturb", "missed@1,30", "--perturb", "dose_error=0.1",
                 "--seed", "3"]  # fmt: skip
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "Return lost" in printed
    assert "log10 kill lost" in printed
    for name in ("results.csv", "summary.csv", "losses.csv", "robustness.json", "manifest.json"):
        assert (tmp_path / name).stat().st_size > 0
    assert (tmp_path / "robustness.png").stat().st_size > 5000
    assert "Robustness: oncogym/ChemoDosingCohort-v0" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "manifest.json").read_text())["seeds"] == {"seed": 3}
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert {"agent", "kind", "size", "when", "metric", "loss", "loss_low"} <= set(summary.columns)
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["patients"] == 5
    assert document["manifest"]["command"] == "robustness"


def test_a_task_without_doses_leaves_their_kinds_out(capsys):
    assert main(["robustness", "IMPTBeamWeightingPublished-v0", "--patients", "2"]) == 0
    printed = capsys.readouterr().out
    assert "left out missed" in printed
    assert "left out dose_bias" in printed


def test_the_same_course_has_the_same_fitness_in_both_forms_of_the_source():
    """A missed fraction costs the same whether the wait is said before or after the dose."""
    losses = []
    for env_id in (EMT6, "oncogym/EMT6RoFractionationPublished-v0"):
        problem = resolve(env_id, patients=2, options={"fidelity": "screening"})
        agent = clinical_agent(problem.treatment, problem.task(1), "ga4.0_1")
        study = run_robustness(problem, {"a": agent}, [Request("missed", (1,), (1, 3))])
        own = study.summary[study.summary["metric"] == "fitness"]
        losses.append(own["loss"].tolist())
    assert losses[0] == losses[1]
    assert min(losses[0][1:]) > 0.0
