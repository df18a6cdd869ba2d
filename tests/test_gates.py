"""What must hold for every environment: an optimised plan >= clinical practice >= no treatment."""

from __future__ import annotations

import numpy as np
import pytest

from oncogym.agents import PlanAgent, clinical_agent
from oncogym.agents.optimizers import PlanObjective, find_optimizer
from oncogym.agents.optimizers.objective import protocol_plans
from oncogym.envs import treatments
from oncogym.evaluation.harness import evaluate_problem, resolve

# A plan of weights starts from equal ones; it cannot leave the patient untreated.
TREATS_ANYWAY = {"oncogym/IMPTBeamWeightingPublished-v0"}
# Every anatomy of the cohort has a library of plans to be made.
MANY_LIBRARIES = {"oncogym/IMPTBeamWeightingCohort-v0"}
# Spheroids take a second each with the full law, and a tenth of it with that of searches.
FIDELITY = {"emt6ro_fractionation": {"fidelity": "screening"}}
# Patients who are judged and on whom plans are searched: where all are alike, few tell as much.
SLOW_SIZES = {"nominal": (24, 4), "population": (24, 12)}

# Plans of a generation, and generations.
SEARCH, SLOW_SEARCH = (32, 3), (16, 2)
# Against a rule that follows each patient's marker a common plan has to be good, and the gap is
# small: patients who are judged, on whom the plan is searched, plans, generations.
HARD = {"oncogym/AdaptiveTherapyCohort-v0": (256, 96, 64, 16)}


def found_plan(problem, cohort, patients, plans, generations):
    """A small search on other patients (or other chance) than those of the evaluation."""
    drawn = problem.treatment.cohort(cohort)
    rows = drawn.patients(min(drawn.distinct or patients, patients), 0)
    whom = problem.with_patients(rows)
    search = PlanObjective(whom)
    popsize = -(-plans // search.space.dimension)
    optimizer = find_optimizer("de", {"popsize": popsize, "polish": False})
    start = protocol_plans(whom)
    budget = optimizer.budget_of(search, generations)
    found = optimizer.optimize(search, budget, seed=0, start=start)
    return PlanAgent(found.actions)


def cases():
    for treatment in treatments().values():
        for variant in treatment.variants:
            slow = treatment.name in FIDELITY or variant.id in MANY_LIBRARIES
            yield pytest.param(variant, id=variant.id, marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize("variant", list(cases()))
def test_optimiser_beats_clinical_practice_beats_no_treatment(variant):
    treatment = resolve(variant.id, patients=1).treatment
    distinct = treatment.cohort(variant.evaluation_cohort).distinct
    options = FIDELITY.get(treatment.name)
    cohort = variant.options.get("cohort", "nominal")
    judged, *sizes = HARD.get(variant.id, (48, 12, *SEARCH))
    if options:
        judged, *sizes = (*SLOW_SIZES[cohort], *SLOW_SEARCH)
    problem = resolve(variant.id, patients=min(distinct or judged, judged), options=options)
    task = problem.task(1)
    nothing = np.zeros((task.num_decisions, *task.action_space.shape))
    agents = {
        "none": PlanAgent(nothing),
        "clinical": clinical_agent(treatment, task, variant.baseline),
        "optimised": found_plan(problem, cohort, *sizes),
    }
    means = evaluate_problem(problem, agents).groupby("agent")["return"].mean()
    assert means["optimised"] >= means["clinical"]
    if variant.id not in TREATS_ANYWAY:
        assert means["clinical"] > means["none"]
