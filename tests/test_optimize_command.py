"""``oncogym optimize``: from the protocols, within its budget, and judged beside the clinic."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from oncogym.agents.clinical import clinical_agent
from oncogym.agents.optimizers import PlanObjective, find_optimizer
from oncogym.agents.optimizers.objective import protocol_plans
from oncogym.agents.plan import PlanAgent
from oncogym.cli.exit_status import CHECK_FAILED, FINE
from oncogym.cli.main import main
from oncogym.envs import get_treatment
from oncogym.envs.problem import Problem
from oncogym.evaluation.harness import evaluate_problem
from oncogym.evaluation.plan_check import beside, check_plan

CHEMO = "oncogym/ChemoDosing-v0"
CHEMOTHERAPY = get_treatment("chemo_dosing")


def searched(capsys, *arguments, status=FINE):
    """What the command prints as JSON, and what it says on standard error."""
    assert main(["optimize", *map(str, arguments), "--json"]) == status
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def test_a_search_begins_with_the_protocols_unless_told_otherwise(capsys):
    problem = Problem.resolve(CHEMO).drawn(1)
    daily = clinical_agent(CHEMOTHERAPY, problem.task(1), "daily")
    best = evaluate_problem(problem, {"daily": daily})["return"][0]
    assert best == pytest.approx(13.8, abs=0.05)
    found, _ = searched(capsys, CHEMO, "--budget", 1440)
    assert found["score"] >= best - 1e-9
    assert found["faults"] == []


@pytest.mark.parametrize("patients", [1, 3])
@pytest.mark.parametrize(
    ("method", "budget"),
    [("de", 1440), ("de", 2000), ("de", 6000), ("cma", 333), ("lbfgs", 242), ("lbfgs", 1000)],
)
def test_a_search_scores_no_more_plans_than_its_budget(method, budget, patients, capsys):
    arguments = ["--method", method, "--budget", budget, "--patients", patients]
    found, _ = searched(capsys, CHEMO, *arguments, "--cohort", "population")
    assert found["settings"].get("within_budget", True)
    assert found["evaluations"] <= budget * patients
    # It is not thrown away either: a slope more would not have fitted in.
    assert found["evaluations"] > (budget - 2 * 121 - 720) * patients


def test_other_callers_get_the_polish_on_top_of_the_budget():
    objective = PlanObjective(Problem.resolve(CHEMO).drawn(1))
    start = protocol_plans(objective.problem)
    found = find_optimizer("de").optimize(objective, 1440, start=start)
    assert found.evaluations > 1440 + 121
    found = find_optimizer("de", {"within_budget": True, "polish": False}).optimize(
        objective, 1440, start=start
    )
    assert found.evaluations == 1440


def test_the_polish_keeps_the_best_plan_when_its_budget_ends():
    objective = PlanObjective(Problem.resolve(CHEMO).drawn(1))
    start = protocol_plans(objective.problem)
    best = objective.score(start).max()
    scores = [
        find_optimizer("lbfgs", {"within_budget": True}).optimize(objective, b, start=start).score
        for b in (242, 500, 1000, 4000)
    ]
    assert best <= scores[0]
    assert scores == sorted(scores)
    assert scores[-1] > best + 0.01


def test_a_plan_worse_than_the_clinic_is_said_in_words_and_in_the_status(capsys, tmp_path):
    found, said = searched(
        capsys, CHEMO, "--budget", 1440, "--no-from-protocols", "--out", tmp_path, "--set",
        "polish=false", status=CHECK_FAILED,
    )  # fmt: skip
    assert any("worse than the clinic: return -" in fault for fault in found["faults"])
    for fault in found["faults"]:
        assert f"oncogym optimize: {fault}" not in said  # the document says it
    rows = {row["agent"]: row for row in found["comparison"]}
    assert list(rows) == ["the plan", "6 x 5 mg/L, day 5 to 55 (the clinic)", "No treatment"]
    assert rows["the plan"]["Return"] == pytest.approx(found["score"])
    assert rows["No treatment"]["Return"] == pytest.approx(-0.76, abs=0.01)
    assert PlanAgent.load(tmp_path / "plan.json").actions.shape == (60, 1)


def test_a_plan_over_a_limit_is_said_in_words():
    problem = Problem.resolve(CHEMO).drawn(1)
    task = problem.task(1)
    faults = check_plan(problem, PlanAgent(np.full((task.num_decisions, 1), 0.2))).faults
    assert any(
        re.fullmatch(r"the plan is over the limit 'toxicity': cost [\d.]+, the clinic's 0", fault)
        for fault in faults
    ), faults


def test_the_plan_stands_in_physical_units_beside_the_clinic(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["optimize", CHEMO, "--budget", "1440"]) == FINE
    out = capsys.readouterr().out
    head = next(line for line in out.splitlines() if line.startswith("decision"))
    assert "dose [mg/L], the plan" in head
    assert "dose [mg/L], 6 x 5 mg/L, day 5 to 55 (the clinic)" in head
    rows = [line.split() for line in out.splitlines() if line[:1].isdigit()][1:61]
    assert [float(row[2]) for row in rows] == [5.0 if d % 10 == 6 else 0.0 for d in range(1, 61)]
    assert "No treatment" in out


@pytest.mark.slow
def test_slots_are_judged_too(capsys):
    arguments = ["EMT6RoFractionation-v0", "--method", "ga", "--budget", 8, "--patients", 1]
    arguments += ["--option", "fidelity=screening", "--set", "population=4", "--set", "elites=2"]
    arguments += ["--set", "parents=2"]
    assert main(["optimize", *map(str, arguments)]) in (FINE, CHECK_FAILED)
    out = capsys.readouterr().out
    assert "time [h]  dose [Gy]" in out
    assert "(the clinic)" in out


def test_an_environment_whose_clinic_cannot_take_part_has_none():
    problem = Problem.resolve(CHEMO).drawn(1)
    plan = clinical_agent(CHEMOTHERAPY, problem.task(1), "no_treatment")
    check = check_plan(problem, plan)
    assert "worse than the clinic" in check.faults[0]
    assert list(beside(problem, {"x": plan}).columns) == ["decision", "dose [mg/L], x"]
