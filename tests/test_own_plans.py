"""A plan for each patient alone: found, kept, refused for others, better than a common one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from oncogym.agents import PlanAgent
from oncogym.agents.optimizers import PlanObjective, find_optimizer
from oncogym.agents.optimizers.objective import encoded, protocol_plans
from oncogym.agents.plan import PatientPlans, load_plan
from oncogym.cli.main import main
from oncogym.envs import treatments
from oncogym.evaluation.benchmark.plan_distance import distance_table, search_own_plans
from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.harness import evaluate_problem, resolve
from oncogym.parallel.processes import JoblibExecutor

ENV = "oncogym/ChemoDosingCohort-v0"


@pytest.fixture(scope="module")
def problem():
    return resolve(ENV, patients=6, seed=5)


@pytest.fixture(scope="module")
def common(problem):
    return PlanAgent(np.full((problem.task(1).num_decisions, 1), 0.04), "common")


def search(problem, common, executor=None):
    space = problem.task(1).plan_space()
    optimizer = find_optimizer("de", {"popsize": 1})
    start = encoded(space, [common.actions])
    return search_own_plans(problem, optimizer, 4 * space.dimension, start=start, executor=executor)


@pytest.fixture(scope="module")
def found(problem, common):
    return search(problem, common)


def test_no_patient_does_worse_with_his_own_plan(problem, common, found):
    plans, about = found
    results = evaluate_problem(problem, {"common": common, "own": plans})
    returns = {name: t["return"].to_numpy() for name, t in results.groupby("agent")}
    assert (returns["own"] > returns["common"]).all()
    assert about["score"] == pytest.approx(returns["own"].mean(), rel=1e-9)
    assert about["evaluations"] >= 6 * 4 * 60
    comparison = Comparison.run(problem, {"common": common, "own": plans}, baseline="common")
    table = distance_table(comparison, returns["own"], 0).set_index("agent")
    way = table["part of the way from common"]
    assert (way["common"].estimate, way[plans.label].estimate) == (0.0, 1.0)
    lacks = table["own plans minus agent"]
    assert lacks["common"].low > 0.0 == lacks[plans.label].estimate


@pytest.mark.slow
def test_plans_are_the_same_with_two_processes(problem, common, found):
    with JoblibExecutor(2) as executor:
        plans, _ = search(problem, common, executor)
    np.testing.assert_array_equal(plans.actions, found[0].actions)


def test_each_lane_carries_out_its_own_plan():
    plans = PatientPlans(np.arange(12.0).reshape(3, 2, 2) / 20.0)
    part = plans.for_lanes(1, 3, 3)
    first, state = part.predict(np.zeros((2, 5)), None, np.array([True, True]))
    second, state = part.predict(np.zeros((2, 5)), state, np.array([False, False]))
    after, state = part.predict(np.zeros((2, 5)), state, np.array([False, True]))
    np.testing.assert_array_equal(first, plans.actions[1:, 0])
    np.testing.assert_array_equal(second, plans.actions[1:, 1])
    np.testing.assert_array_equal(after, [[0.0, 0.0], plans.actions[2, 0]])
    with pytest.raises(ValueError, match="4 patients; allowed: the 3"):
        plans.for_lanes(0, 1, 4)
    with pytest.raises(ValueError, match="batch of 2 lanes; allowed: 3"):
        plans.predict(np.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"\(patients, decisions, action size\)"):
        PatientPlans(np.zeros((2, 2)))


def test_a_file_of_plans_is_for_its_patients_only(tmp_path, problem, found):
    path = tmp_path / "plans.json"
    found[0].save(path, problem.patients, {"note": "x"})
    again = load_plan(path, problem.patients)
    np.testing.assert_array_equal(again.actions, found[0].actions)
    with pytest.raises(ValueError, match=r"plans\.json: plans for 6 other patients"):
        load_plan(path, resolve(ENV, cohort="validation", patients=6).patients)
    document = json.loads(path.read_text())
    del document["actions"]
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"plans\.json: actions is missing"):
        load_plan(path, problem.patients)


def test_command_line_finds_plans_and_evaluates_them(tmp_path, capsys):
    out = tmp_path / "own"
    arguments = ["--patients", "3", "--seed", "2"]
    assert main(["optimize", ENV, "--each", "--budget", "1500", "--from-protocols", *arguments,
                 "--out", str(out), "--json"]) == 0  # fmt: skip
    document = json.loads(capsys.readouterr().out)
    assert (document["cohort"], document["patients"]) == ("held_out", 3)
    assert main(["evaluate", ENV, str(out / "plans.json"), "source_uniform", *arguments,
                 "--json"]) == 0  # fmt: skip
    capsys.readouterr()
    assert main(["evaluate", ENV, str(out / "plans.json"), "--patients", "4"]) == 2
    assert "other patients" in capsys.readouterr().err
    assert main(["optimize", "EMT6RoFractionation-v0", "--method", "ga", "--each"]) == 2
    assert "--each has no meaning for --method ga" in capsys.readouterr().err


@pytest.mark.parametrize("name", [t.name for t in treatments().values()])
def test_protocols_inside_a_plan_space_decode_to_themselves(name):
    treatment = treatments()[name]
    for variant in treatment.variants:
        problem = resolve(variant.id, patients=1)
        task = problem.task(1)
        space = task.plan_space()
        plans = protocol_plans(problem)
        assert len(plans)
        again = encoded(space, list(space.decode(plans)))
        np.testing.assert_array_equal(space.decode(again), space.decode(plans))


def test_a_search_has_other_chance_than_an_evaluation():
    problem = resolve("oncogym/EMT6RoFractionation-v0", patients=2,
                      options={"fidelity": "screening"})  # fmt: skip
    idle = np.zeros((1, *np.shape(problem.task(1).plan_space().decode(np.ones((1, 16)))[0])))
    idle[:, :, 1] = 1.0
    search = PlanObjective(problem)
    judged = evaluate_problem(problem, {"idle": PlanAgent(idle[0])})["return"].mean()
    assert search.score_actions(idle)[0] != judged


def test_an_interrupted_search_of_own_plans_goes_on_with_the_next_patient(
    tmp_path, monkeypatch, capsys
):
    from oncogym.agents.optimizers import per_patient

    command = ["optimize", ENV, "--each", "--patients", "5", "--budget", "400", "--method", "cma"]
    assert main([*command, "--json", "--out", str(tmp_path / "whole")]) in (0, 1)
    whole = json.loads(capsys.readouterr().out)
    searched = per_patient._search
    patients = []

    def dying(one):
        if len(patients) == 3:
            raise KeyboardInterrupt
        patients.append(one.problem.patients[0])
        return searched(one)

    monkeypatch.setattr(per_patient, "_search", dying)
    out = tmp_path / "parts"
    main([*command, "--out", str(out)])
    assert not (out / "plans.json").exists()
    assert main([*command, "--out", str(out)]) == 2
    assert f"go on with --resume {out}" in capsys.readouterr().err
    monkeypatch.setattr(per_patient, "_search", lambda one: patients.append(0) or searched(one))
    assert main(["optimize", "--resume", str(out), "--patients", "6"]) == 2
    assert "patients was 5, now 6" in capsys.readouterr().err
    assert main(["optimize", "--resume", str(out), "--json"]) in (0, 1)
    again = json.loads(capsys.readouterr().out)
    assert len(patients) == 5
    for document in (whole, again):
        assert document.pop("seconds") > 0.0
    assert again == whole
    plans = [
        json.loads((tmp_path / name / "plans.json").read_text())["actions"]
        for name in ("whole", "parts")
    ]
    assert plans[0] == plans[1]
