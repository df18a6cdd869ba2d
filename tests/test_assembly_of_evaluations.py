"""How results are put together: which patients, keys, policies and cohorts stand behind a number.

Every number is reckoned a second time from the scalar environments or by hand.
"""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

from oncogym.agents.clinical import clinical_agent
from oncogym.agents.optimizers import find_optimizer
from oncogym.agents.plan import PlanAgent
from oncogym.agents.rollout import rollout
from oncogym.envs import find_variant
from oncogym.evaluation.benchmark import plan_distance
from oncogym.evaluation.benchmark.plan_distance import distance_table, search_own_plans
from oncogym.evaluation.benchmark.tables import against_plan, by_training_seed
from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.harness import evaluate, evaluate_problem, resolve
from oncogym.evaluation.metrics import (
    differences,
    normalised_scores,
    per_patient,
    success_rates,
    summarise,
)
from oncogym.evaluation.robustness import shards as perturbed_shards
from oncogym.evaluation.robustness.outcome import summarise_losses
from oncogym.evaluation.robustness.perturbation import Course, Perturbation, further_out
from oncogym.evaluation.robustness.study import Request, run_robustness
from oncogym.evaluation.shards import cut
from oncogym.evaluation.statistics import (
    iqm,
    normalised_score,
    paired_difference,
    stratified_bootstrap,
    worst_decile,
)

CHEMO = "oncogym/ChemoDosingCohort-v0"
#: One environment of each treatment, its options and how many patients a scalar one can afford.
TREATMENTS = {
    CHEMO: (
        {
            "observation": "measurable",
            "toxicity_limit": 1.0,
            "dose_budget": 20.0,
            "hard_budget": False,
            "stop_on_failure": False,
        },
        7,
    ),
    "oncogym/GlioblastomaRadiationCohort-v0": ({}, 5),
    "oncogym/EMT6RoFractionationCohort-v0": ({"fidelity": "screening"}, 3),
    "oncogym/IMPTBeamWeighting-v0": ({}, 5),
}


class Watching:
    """Decides by what it sees and by how often it was asked: no two patients are treated alike."""

    label = "Watching"

    def __init__(self, size, dose):
        self._size, self._dose = size, dose

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        calls = 0 if state is None else state
        seen = np.asarray(observation, np.float64).reshape(len(observation), -1)
        shape = np.arange(1, self._size + 1) / self._size
        level = self._dose * (1.0 + np.tanh(np.abs(seen).mean(axis=1)) + 0.1 * (calls % 3))
        return level[:, None] * shape, calls + 1


def scalar_rows(env_id, agent, patients, seeds, options):
    """The rows of ``evaluate`` from scalar environments, one after the other."""
    rows = []
    env = gym.make(env_id, **options).unwrapped
    task = env.task
    for patient, seed in zip(patients, seeds, strict=True):
        observation, _ = env.reset(seed=int(seed), options={"patient": patient})
        row = {"return": 0.0, "length": 0, "cost": 0.0}
        row.update({f"cost_{name}": 0.0 for name in task.costs})
        row.update({f"term_{name}": 0.0 for name in task.reward_terms})
        state, done = None, False
        while not done:
            action, state = agent.predict(observation[None], state)
            observation, reward, terminated, truncated, info = env.step(action[0])
            done = terminated or truncated
            row["return"] += reward
            row["length"] += 1
            row["cost"] += info["cost"]
            for name in task.costs:
                row[f"cost_{name}"] += info[f"cost_{name}"]
            for name in task.reward_terms:
                row[f"term_{name}"] += info["reward_terms"][name]
        row.update(info["outcome"])
        row.update(success=info["is_success"], clipped=info["clipped"])
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("env_id", TREATMENTS)
def test_every_column_is_that_of_the_scalar_environment(env_id):
    """Two agents, more patients than are treated together, keys that do not begin at 0."""
    options, patients = TREATMENTS[env_id]
    problem = resolve(env_id, patients=patients, seed=11, options=options)
    size = problem.task(1).action_space.shape[0]
    agents = {"strong": Watching(size, 0.7), "weak": Watching(size, 0.02)}
    table = evaluate_problem(problem, agents, lanes=2)
    assert table["agent"].tolist() == ["strong"] * patients + ["weak"] * patients
    cohort = problem.treatment.cohorts[find_variant(env_id)[1].evaluation_cohort]
    rows = cohort.patients(patients, 11)
    for name, agent in agents.items():
        own = table[table["agent"] == name].reset_index(drop=True)
        assert own["patient"].tolist() == list(range(patients))
        expected = scalar_rows(env_id, agent, rows, 11 + np.arange(patients), options)
        assert set(own.columns) == {"agent", "patient", *expected.columns}
        for column in expected:
            np.testing.assert_allclose(
                own[column].astype(float), expected[column].astype(float), 1e-11, 1e-11, column
            )
    assert table.groupby("agent")["return"].nunique().min() > 1
    if env_id == CHEMO:
        costs = table[[name for name in table if name.startswith("cost_")]]
        assert (costs.max() > 0.0).all()
        assert costs.shape[1] == 2
        assert table["clipped"].nunique() > 1


def test_the_patients_are_those_of_the_cohort_that_was_asked_for():
    treatment, _ = find_variant(CHEMO)
    for cohort in ("held_out", "validation", "population", "nominal"):
        problem = resolve(CHEMO, cohort=cohort, patients=6, seed=3)
        assert problem.cohort.name == cohort
        np.testing.assert_array_equal(
            problem.patients, treatment.cohorts[cohort].patients(6, seed=3)
        )
        assert problem.seeds.tolist() == [3, 4, 5, 6, 7, 8]
    assert resolve(CHEMO, patients=2).cohort.name == "held_out"
    lists = {
        (cohort, seed): resolve(CHEMO, cohort=cohort, patients=6, seed=seed).patients.tobytes()
        for cohort in ("held_out", "validation", "population")
        for seed in (3, 4)
    }
    # Fixed lists are everybody's; the unlimited one goes by the seed.
    assert lists["held_out", 3] == lists["held_out", 4] != lists["validation", 3]
    assert lists["population", 3] != lists["population", 4]
    table = evaluate(CHEMO, {"none": PlanAgent(np.zeros((60, 1)))}, "validation", patients=6)
    expected = evaluate_problem(
        resolve(CHEMO, cohort="validation", patients=6), {"none": PlanAgent(np.zeros((60, 1)))}
    )
    pd.testing.assert_frame_equal(table, expected)


@pytest.mark.parametrize("cohort", ["population", "validation", "held_out"])
def test_cohorts_spread_as_the_pages_say(cohort):
    """Coefficients of variation, bounds and numbers of each treatment's documentation."""

    def columns(name):
        treatment, _ = find_variant(name)
        chosen = treatment.cohorts[cohort]
        rows = chosen.patients(chosen.size or 1000)
        nominal = treatment.patient().to_array()
        return {
            field: (rows[:, place], nominal[place])
            for place, field in enumerate(treatment.patient.FIELDS)
        }

    said = {
        CHEMO: {
            "elimination_rate": 0.3,
            "ec50": 0.4,
            "emax": 0.2,
            "growth_rate": 0.3,
            "toxicity_recovery": 0.3,
        },
        "oncogym/EMT6RoFractionationCohort-v0": {
            "survival": 0.2,
            "repair_delay": 0.2,
            "repair_growth": 0.2,
        },
    }
    for env_id, variations in said.items():
        for field, (values, nominal) in columns(env_id).items():
            if field in ("tumour", "age"):
                continue
            sd = np.sqrt(np.log1p(variations.get(field, 0.0) ** 2))
            logs = np.log(values / nominal)
            error = 4.0 * sd / np.sqrt(len(values))
            assert abs(logs.mean()) <= error + 1e-12, field
            assert logs.std() == pytest.approx(sd, abs=error + 1e-12), field
    bounds = {"diffusion": (0.1, 0.4), "proliferation": (0.015, 0.06), "alpha": (0.02, 0.08)}
    for field, (values, nominal) in columns("oncogym/GlioblastomaRadiationCohort-v0").items():
        low, high = bounds.get(field, (nominal, nominal))
        assert values.min() >= low * (1.0 - 1e-12)
        assert values.max() <= high * (1.0 + 1e-12)
        share = np.log(values / low) / max(np.log(high / low), 1e-9)
        if field in bounds:  # log-uniform
            assert share.mean() == pytest.approx(0.5, abs=4 * 0.29 / np.sqrt(len(values)))
            assert share.std() == pytest.approx(np.sqrt(1 / 12), rel=0.1)
    protons = columns("oncogym/IMPTBeamWeightingCohort-v0")
    first, count = {"population": (1, 24), "validation": (101, 8), "held_out": (201, 16)}[cohort]
    assert set(protons["anatomy"][0]) == set(range(first, first + count))
    logs = np.log(protons["random_sd"][0] / protons["random_sd"][1])
    sd = np.sqrt(np.log1p(0.3**2))
    assert logs.std() == pytest.approx(sd, abs=4.0 * sd / np.sqrt(len(logs)))
    # Displacements in cm: 3 mm.
    for field, usual in (("shift_x", 0.3), ("shift_y", 0.3), ("range_error", 0.03)):
        # The mean square of a log-normal magnitude is its median's times exp(2 sd^2).
        assert protons[field][0].std() == pytest.approx(usual * np.exp(sd**2), rel=0.2), field


def hand_made():
    """Results of three agents on 30 patients, ``learnt`` from two seeds, in a shuffled order."""
    rng = np.random.default_rng(4)
    task = find_variant(CHEMO)[0].task
    names = ["return", "cost", *(metric.name for metric in task.metrics)]
    tables = []
    for agent, seeds, gain in (("base", 1, 0.0), ("plan", 1, 4.0), ("learnt", 2, 1.0)):
        for number in range(seeds):
            table = pd.DataFrame(rng.gamma(2.0, size=(30, len(names))), columns=names)
            table["return"] += gain + number
            table = table.assign(agent=agent, training_seed=number, patient=range(30))
            tables.append(table.assign(success=rng.random(30) < 0.4))
    return pd.concat(tables).sample(frac=1.0, random_state=5).sort_values("agent", kind="stable")


def values_of(results, agent, name, number=None):
    own = results[results["agent"] == agent]
    if number is not None:
        own = own[own["training_seed"] == number]
    return np.array([own.loc[own["patient"] == k, name].mean() for k in range(30)])


def test_summaries_count_each_patient_once_with_the_mean_of_the_training_seeds():
    results = hand_made()
    treatment = find_variant(CHEMO)[0]
    table = summarise(results, treatment, seed=2, resamples=200).set_index(["agent", "metric"])
    directions = {m.name: m.higher_is_better for m in treatment.task.metrics}
    for (agent, name), row in table.iterrows():
        values = values_of(results, agent, name)
        mean = stratified_bootstrap(values, np.mean, seed=2, resamples=200)
        middle = stratified_bootstrap(values, iqm, seed=2, resamples=200)
        assert tuple(row[["mean", "low", "high"]]) == pytest.approx(tuple(vars(mean).values()))
        assert tuple(row[["iqm", "iqm_low", "iqm_high"]]) == pytest.approx(
            tuple(vars(middle).values())
        )
        higher = {"return": True, "cost": False, **directions}[name]
        if higher is None:
            assert np.isnan(row["worst_decile"])
        else:
            ordered = np.sort(values)
            assert row["worst_decile"] == pytest.approx(
                ordered[:3].mean() if higher else ordered[-3:].mean()
            )
        assert row["patients"] == 30
    rates = success_rates(results)
    assert rates["learnt"].estimate == pytest.approx(values_of(results, "learnt", "success").mean())


def test_gains_and_scores_have_their_signs_and_anchors():
    results = hand_made()
    gains = differences(results, "base", seed=2)
    base, plan, learnt = (values_of(results, name, "return") for name in ("base", "plan", "learnt"))
    assert gains["learnt"] == paired_difference(learnt, base, seed=2)
    assert gains["learnt"].estimate == pytest.approx((learnt - base).mean())
    for name, statistic in (("mean", np.mean), ("iqm", iqm)):
        scores, why = normalised_scores(results, "base", "plan", statistic=name, seed=2)
        assert why == ""
        assert (scores["base"].estimate, scores["plan"].estimate) == (0.0, 1.0)
        expected = normalised_score(learnt, base, plan, True, statistic=statistic, seed=2)
        assert scores["learnt"] == expected
        below = (statistic(learnt) - statistic(base)) / (statistic(plan) - statistic(base))
        assert expected.estimate == pytest.approx(float(below))


def test_tables_of_a_benchmark():
    results = hand_made()
    comparison = SimpleNamespace(
        results=results, baseline="base", reference="plan", headline_metrics=["return", "cost"]
    )
    table = against_plan(comparison, "learnt", "PPO", "plan", 2).set_index("metric")[
        "PPO minus plan"
    ]
    for name in ("return", "cost"):
        learnt, plan = (values_of(results, agent, name) for agent in ("learnt", "plan"))
        assert table[name] == paired_difference(learnt, plan, seed=2)
    assert table["return"].estimate < 0.0
    table = by_training_seed(comparison, "learnt", [7, 8], 2)
    assert table["training seed"].tolist() == [7, 8]
    base, plan = (values_of(results, agent, "return") for agent in ("base", "plan"))
    for number, row in table.iterrows():
        own = values_of(results, "learnt", "return", number)
        assert row["return"] == pytest.approx(own.mean())
        assert row["cost"] == pytest.approx(values_of(results, "learnt", "cost", number).mean())
        assert row["normalised score"] == normalised_score(own, base, plan, True, seed=2)


def constant(dose):
    return PlanAgent(np.full((60, 1), dose), f"constant {dose}")


def test_a_comparison_keeps_replicas_baseline_and_reference_apart():
    problem = resolve(CHEMO, patients=8, seed=5)
    agents = {"base": constant(0.0), "plan": constant(0.02)}
    copies = [constant(0.005), constant(0.015), constant(0.01)]
    comparison = Comparison.run(
        problem, agents, baseline="base", reference="plan", replicas={"learnt": copies}, seed=6
    )
    results = comparison.results
    returns = {}
    for number, agent in enumerate(copies):
        expected = evaluate_problem(problem, {"learnt": agent})["return"].to_numpy()
        chosen = (results["agent"] == "learnt") & (results["training_seed"] == number)
        np.testing.assert_array_equal(results.loc[chosen, "return"], expected)
        returns[number] = expected
    learnt = np.mean(list(returns.values()), axis=0)
    base, plan = (
        evaluate_problem(problem, {"a": agents[name]})["return"].to_numpy() for name in agents
    )
    assert comparison.gains["learnt"].estimate == pytest.approx((learnt - base).mean())
    for name, statistic in (("mean", np.mean), ("iqm", iqm)):
        expected = normalised_score(learnt, base, plan, True, statistic=statistic, seed=6)
        for end, value in vars(comparison.scores[name]["learnt"]).items():
            assert value == pytest.approx(getattr(expected, end), rel=1e-12)
    assert comparison.scores["mean"]["learnt"] != comparison.scores["iqm"]["learnt"]
    row = comparison.summary.query("agent == 'learnt' and metric == 'return'").iloc[0]
    assert row["mean"] == pytest.approx(learnt.mean())
    assert row["worst_decile"] == pytest.approx(float(worst_decile(learnt, True)))
    tables = per_patient(results, ["return"])
    np.testing.assert_allclose(tables["learnt"]["return"], learnt, rtol=1e-14)


def test_own_plans_belong_to_the_first_patients_and_their_keys():
    problem = resolve(CHEMO, patients=8, seed=5)
    first = problem.part(slice(0, 3))
    np.testing.assert_array_equal(first.patients, problem.patients[:3])
    assert first.seeds.tolist() == [5, 6, 7]
    agents = {"base": constant(0.0), "plan": constant(0.03)}
    comparison = Comparison.run(problem, agents, baseline="base")
    own = np.array([9.0, 11.0, 10.0])
    table = distance_table(comparison, own, 4).set_index("agent")
    returns = comparison.results.set_index(["agent", "patient"])["return"]
    base = returns["base"].to_numpy()[:3]
    for name, agent in agents.items():
        mine = returns[name].to_numpy()[:3]
        row = table.loc[agent.label]
        assert row["return"] == pytest.approx(mine.mean())
        assert row["own plans minus agent"] == paired_difference(own, mine, seed=4)
        expected = normalised_score(mine, base, own, True, seed=4)
        assert row["part of the way from constant 0.0"] == expected


def test_the_search_of_own_plans_gets_patients_keys_seed_and_replicates(monkeypatch):
    problem = resolve(CHEMO, patients=8, seed=5).part(slice(0, 3))
    taken = {}

    def spy(problem, optimizer, budget, **others):
        taken.update(problem=problem, budget=budget, **others)
        others["progress"](len(problem.patients))
        found = [
            SimpleNamespace(score=score, evaluations=10, seconds=2.0, settings={"popsize": 1})
            for score in (1.0, 2.0, 6.0)
        ]
        return "agent", found

    monkeypatch.setattr(plan_distance, "plans_per_patient", spy)
    optimizer = find_optimizer("de", {"popsize": 1})
    agent, about = search_own_plans(
        problem, optimizer, 77, search_options={"stop_on_failure": False}, replicates=3, seed=9
    )
    assert agent == "agent"
    np.testing.assert_array_equal(taken["problem"].patients, problem.patients)
    assert taken["problem"].seeds.tolist() == [5, 6, 7]
    assert (taken["budget"], taken["seed"], taken["replicates"]) == (77, 9, 3)
    assert taken["problem"].options["stop_on_failure"] is False
    assert (about["score"], about["evaluations"], about["seconds"]) == (3.0, 30, 6.0)
    assert (about["patients"], about["cohort"]) == (3, "held_out")
    assert about["settings"] == {"popsize": 1, "replicates": 3}


def test_parts_cover_the_patients_in_order():
    assert cut(7, 3) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert cut(3, 3) == [slice(0, 3)]


def test_losses_are_of_the_patients_in_whom_it_took_place():
    problem = resolve(CHEMO, patients=4)
    metrics = [m.name for m in problem.treatment.task.metrics]
    names = ["return", "cost", *metrics, "success"]
    rng = np.random.default_rng(6)
    plain = pd.DataFrame(rng.random((4, len(names))), columns=names)
    hit = pd.DataFrame(rng.random((4, len(names))), columns=names)
    common = {"agent": "a", "patient": range(4)}
    results = pd.concat(
        [
            plain.assign(**common, kind="none", size=0.0, when=0, affected=True, dose_lost=0.0),
            hit.assign(
                **common,
                kind="missed",
                size=1.0,
                when=3,
                affected=[False, True, False, True],
                dose_lost=[0.0, 2.0, 0.0, 4.0],
            ),
        ]
    )
    table = summarise_losses(results, problem, seed=3, resamples=100)
    table = table[table["kind"] == "missed"].set_index("metric")
    directions = {m.name: m.higher_is_better for m in problem.treatment.task.metrics}
    directions.update({"return": True, "cost": False, "success": True})
    for name in names:
        row = table.loc[name]
        before, after = plain[name].to_numpy()[[1, 3]], hit[name].to_numpy()[[1, 3]]
        sign = -1.0 if directions[name] is False else 1.0
        assert (row["patients"], row["dose_lost"], row["when"]) == (2, 3.0, 3)
        assert row["plain"] == pytest.approx(before.mean())
        assert row["mean"] == pytest.approx(after.mean())
        assert row["loss"] == pytest.approx(sign * (before - after).mean())
        first, second = (after, before) if directions[name] is False else (before, after)
        loss = paired_difference(first, second, seed=3, resamples=100)
        assert (row["loss_low"], row["loss_high"]) == (loss.low, loss.high)


def test_a_study_puts_agents_sizes_and_patients_together_rightly(monkeypatch):
    """A missed fraction of a plan is the plan without it, in more shards than one."""
    monkeypatch.setattr(perturbed_shards, "PATIENTS", 2)
    problem = resolve(CHEMO, patients=5, seed=8)
    agents = {"weak": constant(0.01), "strong": constant(0.03)}
    requests = [Request("missed", (1, 2), (1, 30)), Request("dose_bias", (0.1,))]
    study = run_robustness(problem, agents, requests, seed=4, resamples=20)
    for name, agent in agents.items():
        for size in (1, 2):
            for when in (1, 30):
                actions = agent.actions.copy()
                actions[when - 1 : when - 1 + size] = 0.0
                expected = evaluate_problem(problem, {name: PlanAgent(actions)})
                own = study.results.query(
                    "agent == @name and kind == 'missed' and size == @size and when == @when"
                )
                for column in expected:
                    np.testing.assert_array_equal(own[column], expected[column], column)
                lost = size * agent.actions[0, 0] * 10.0
                assert own["dose_lost"].tolist() == pytest.approx([lost] * 5)
    # The intervals are resampled by the study's own seed.
    summaries = [
        summarise_losses(study.results, problem, seed=seed, resamples=20) for seed in (4, 0)
    ]
    pd.testing.assert_frame_equal(study.summary, summaries[0], check_exact=True)
    assert not study.summary.equals(summaries[1])
    given = study.results[study.results["kind"] == "dose_bias"].set_index("agent")["total_dose"]
    factors = given["weak"].to_numpy() / given["strong"].to_numpy()
    assert factors == pytest.approx(np.full(5, 1.0 / 3.0))
    assert given["weak"].nunique() == 5
    other = run_robustness(problem, agents, requests[1:], seed=5, resamples=20).results
    other = other[other["kind"] == "dose_bias"].set_index("agent")["total_dose"]
    assert not np.any(other["weak"].to_numpy() == given["weak"].to_numpy())


def test_a_perturbation_that_some_patients_escape():
    """Patients with fewer fractions than that are not affected, and not counted."""
    problem = resolve(CHEMO, patients=12, seed=1, options={"observation": "full"})
    agent = clinical_agent(problem.treatment, problem.task(1), "threshold")
    plain = evaluate_problem(problem, {"t": agent})
    decided = rollout(
        problem.task(), agent, problem.patients, problem.seeds, record_actions=True
    ).actions
    fractions = (np.nan_to_num(decided[:, :, 0]) > 0.0).sum(axis=1)
    when = int(np.median(fractions)) + 1
    assert 0 < (fractions >= when).sum() < 12
    study = run_robustness(problem, {"t": agent}, [Request("missed", (1,), (when,))], resamples=20)
    own = study.results[study.results["kind"] == "missed"]
    assert own["affected"].tolist() == (fractions >= when).tolist()
    row = study.summary.query("kind == 'missed' and metric == 'return'").iloc[0]
    assert row["patients"] == (fractions >= when).sum()
    assert row["plain"] == pytest.approx(plain["return"][fractions >= when].mean())


def test_fractions_that_are_perturbed_by_default():
    gives = np.zeros((3, 10), bool)
    for lane, count in enumerate((2, 4, 10)):
        gives[lane, :count] = True
    course = Course(np.zeros((3, 10, 1)), gives, np.array([2.0]))
    asked = list(Request("missed", (1,)).perturbations(course, 9))
    assert [one.when for one in asked] == [1, 2, 3, 4]  # half of the patients get four
    assert {one.seed for one in asked} == {9}
    asked = list(Request("swapped", (2,)).perturbations(course, 9))
    assert [(one.when, one.size) for one in asked] == [(1, 2.0), (2, 2.0)]
    assert course.affected(Perturbation("swapped", 2, 3)).tolist() == [False, False, True]
    (noise,) = Request("observation_noise", (0.3,)).perturbations(course, 9)
    assert (noise.when, noise.size, noise.seed) == (1, 0.3, 9)
    part = course.part(slice(1, 3))
    assert part.spread.tolist() == [2.0]  # that of all patients
    assert part.fractions.tolist() == [4, 10]


def test_patients_further_out_stay_within_their_ranges():
    treatment, _ = find_variant(CHEMO)
    rows = treatment.cohorts["held_out"].patients(40)
    nominal = treatment.patient().to_array()
    for size, reached in ((0.5, False), (100.0, True)):
        far = np.array([further_out(treatment, row, size) for row in rows])
        expected = nominal * (rows / nominal) ** (1.0 + size)
        limits = np.array([treatment.patient.RANGES[name] for name in treatment.patient.FIELDS]).T
        np.testing.assert_allclose(far, np.clip(expected, *limits), rtol=1e-9)
        beyond = (expected < limits[0]) | (expected > limits[1])
        assert beyond.any() == reached
