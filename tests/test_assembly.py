"""How results are put together: which patients, which chance, which seeds, which policy.

Each test computes the right answer by another way than the code that it holds against.
"""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

from oncogym.agents import PlanAgent, clinical_agent
from oncogym.agents.clinical import RandomAgent
from oncogym.agents.optimizers import PlanObjective, find_optimizer
from oncogym.cli import main as cli
from oncogym.cli.exit_status import BUG
from oncogym.envs import get_treatment, treatments
from oncogym.envs.problem import Problem
from oncogym.evaluation.benchmark import plans as benchmark_plans
from oncogym.evaluation.benchmark.presets import PRESETS
from oncogym.evaluation.benchmark.tables import against_plan, by_training_seed
from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.harness import evaluate, resolve
from oncogym.evaluation.report.charts import outcomes_chart, scores_chart
from oncogym.evaluation.report.suite import overview

CHEMO = "oncogym/ChemoDosingCohort-v0"
COHORTS = {
    treatment.name: next(v for v in treatment.variants if v.benchmark)
    for treatment in treatments().values()
    if any(v.id.startswith("oncogym/") and v.benchmark for v in treatment.variants)
}
by_treatment = pytest.mark.parametrize("name", sorted(COHORTS))


# Plans are searched on patients of the population


class SearchedError(Exception):
    """Stops a benchmark where its search would begin."""


@pytest.fixture
def search(monkeypatch):
    """What the benchmark's common plan would be searched with."""
    asked = {}

    def stop(optimizer, objective, budget, seed, executor, title, **others):
        asked.update(optimizer=optimizer, objective=objective, budget=budget, seed=seed,
                     executor=executor, **others)  # fmt: skip
        raise SearchedError

    monkeypatch.setattr(benchmark_plans, "search_plan", stop)
    return asked


@pytest.mark.parametrize("preset", sorted(PRESETS))
@by_treatment
def test_common_plans_are_searched_on_the_population(name, preset, search, tmp_path):
    variant = COHORTS[name]
    suited = PRESETS[preset].suited(variant)
    problem = resolve(variant.id, patients=4, seed=5)
    executor = object()
    with pytest.raises(SearchedError):
        benchmark_plans.common_plan(problem, suited, tmp_path, 5, executor)
    treatment = problem.treatment
    found = search["objective"].problem.patients
    assert len(found) == suited.plan_patients
    assert np.array_equal(found, treatment.cohorts["population"].patients(len(found), 5))
    held_out = {row.tobytes() for row in treatment.cohorts["held_out"].patients(1000)}
    assert not {row.tobytes() for row in found} & held_out
    assert search["seed"] == 5
    assert search["executor"] is executor
    generations = search["optimizer"].generations(search["objective"], search["budget"])
    assert generations == suited.plan_generations
    assert search["resume"] is True
    assert search["folder"] == tmp_path / "plan-search" / search["optimizer"].name
    assert (search["start"] is None) is (search["optimizer"].takes == "slots")
    for key, value in variant.effort.search_options.items():
        assert search["objective"].problem.options[key] == value


def test_presets_are_the_documented_ones():
    quick, full = PRESETS.values()
    assert [preset.name for preset in PRESETS.values()] == ["quick", "full"]
    assert (quick.patients, quick.plan_patients, quick.plan_generations) == (48, 96, 31)
    assert (full.patients, full.plan_patients, full.plan_generations) == (256, 128, 61)
    assert (quick.training_seeds, full.training_seeds) == (1, 5)
    assert [preset.own_plan_patients for preset in (quick, full)] == [0, 0]
    assert [preset.control for preset in (quick, full)] == [{"budget": 192}] * 2
    assert [preset.training_steps for preset in (quick, full)] == [{}] * 2
    spheroids = quick.suited(COHORTS["emt6ro_fractionation"])
    assert (spheroids.patients, spheroids.plan_patients, spheroids.plan_generations) == (8, 12, 5)
    assert spheroids.training_steps == {"ppo": 8_000}
    # The preset may train less than the environment names.
    assert spheroids.algorithms == ("ppo",)
    named = full.suited(COHORTS["emt6ro_fractionation"]).algorithms
    assert named == COHORTS["emt6ro_fractionation"].effort.algorithms
    assert replace(quick, algorithms=("sac",)).suited(
        COHORTS["emt6ro_fractionation"]
    ).algorithms == ("sac",)
    assert spheroids.controllers == quick.controllers
    assert full.suited(COHORTS["emt6ro_fractionation"]).patients == 16
    assert full.suited(COHORTS["impt_beam_weighting"]).patients == 24
    protons = quick.suited(COHORTS["impt_beam_weighting"])
    assert (protons.patients, protons.plan_patients, protons.plan_generations) == (12, 12, 10)
    both = ("ppo", "cma_policy")
    fewer = {"cma_policy": 12_000_000}
    assert quick.suited(COHORTS["chemo_dosing"]) == replace(
        quick, algorithms=both, training_steps=fewer
    )
    assert quick.suited(COHORTS["glioblastoma_radiation"]) == replace(quick, algorithms=both)
    asked = replace(quick, algorithms=("sac",))
    assert asked.suited(COHORTS["glioblastoma_radiation"]) == asked


# Differential evolution


def small_problem():
    treatment = get_treatment("chemo_dosing")
    options = {"objective": "published", "decisions": "wait"}
    rows = treatment.cohorts["nominal"].patients(1)
    return PlanObjective(Problem.of(treatment, options, patients=rows))


def small_search(seed, start=None):
    optimizer = find_optimizer("de", {"popsize": 3, "polish": False})
    problem = small_problem()
    return optimizer.optimize(problem, optimizer.budget_of(problem, 4), seed=seed, start=start)


@pytest.mark.parametrize("given", [False, True], ids=["hypercube", "with plans"])
def test_differential_evolution_hangs_on_its_seed(given):
    start = small_search(0).plan[None] if given else None
    one, again, other = (small_search(seed, start) for seed in (3, 3, 4))
    assert np.array_equal(one.plan, again.plan)
    assert one.history == again.history
    assert not np.array_equal(one.plan, other.plan)
    assert one.seed == 3
    if given:
        # The first population differs by seed, too, not only what is made of it.
        first = [
            find_optimizer("de", {"popsize": 3})._initial(small_problem(), 36, seed, start)
            for seed in (3, 4)
        ]
        assert np.array_equal(first[0][0], first[1][0])
        assert not np.array_equal(first[0][1:], first[1][1:])


# Evaluation: patient k is row k of the cohort, with the random key seed + k


@pytest.mark.parametrize(
    ("env_id", "protocol", "options"),
    [
        ("oncogym/ChemoDosingCohort-v0", "weekly", {}),
        ("oncogym/GlioblastomaRadiationCohort-v0", "hypofractionated", {}),
        ("oncogym/EMT6RoFractionationCohort-v0", "bmii", {"fidelity": "screening"}),
        ("oncogym/IMPTBeamWeightingCohort-v0", "robust", {}),
    ],
)
def test_rows_of_an_evaluation_are_the_scalar_episodes_of_those_patients(env_id, protocol, options):
    count = 3 if "IMPT" in env_id else 9
    table = evaluate(
        env_id, _agents(env_id, protocol, options), patients=count, seed=40, options=options
    )
    assert table["patient"].tolist() == list(range(count))
    problem = resolve(env_id, patients=count, seed=40, options=options)
    rows = problem.treatment.cohorts["held_out"].patients(count)
    assert np.array_equal(problem.patients, rows)
    for number in (0, count - 1):
        env = gym.make(env_id, disable_env_checker=True, **options).unwrapped
        observation, _ = env.reset(seed=40 + number, options={"patient": rows[number]})
        agent = _agents(env_id, protocol, options)[protocol]
        total, cost, state, done, first = 0.0, 0.0, None, False, np.array([True])
        length = 0
        while not done:
            actions, state = agent.predict(observation[None], state, first)
            observation, reward, terminated, truncated, info = env.step(actions[0])
            total, cost, length = total + reward, cost + info["cost"], length + 1
            first, done = np.array([False]), terminated or truncated
        line = table.iloc[number]
        assert line["return"] == pytest.approx(total, rel=1e-9)
        assert line["cost"] == pytest.approx(cost, rel=1e-9, abs=1e-12)
        assert line["length"] == length
        assert bool(line["success"]) is bool(info["is_success"])
        for metric, value in info["outcome"].items():
            assert line[metric] == pytest.approx(value, rel=1e-9, nan_ok=True), metric


def _agents(env_id, protocol, options):
    problem = resolve(env_id, patients=1, options=options)
    return {protocol: clinical_agent(problem.treatment, problem.task(1), protocol)}


# Evaluations while training


@by_treatment
def test_policies_are_chosen_on_the_validation_patients(name):
    pytest.importorskip("stable_baselines3")
    from oncogym.training.evaluator import Evaluator
    from oncogym.training.settings import make_settings

    variant, treatment = COHORTS[name], get_treatment(name)
    options = {"fidelity": "screening"} if name == "emt6ro_fractionation" else {}
    settings = make_settings(variant.id, "ppo", seed=9, options=options)
    evaluator = Evaluator(settings)
    count = min(settings.evaluation_patients, 256)
    assert evaluator.cohort == "validation"
    assert np.array_equal(
        evaluator._patients, treatment.cohorts["validation"].patients(256)[:count]
    )
    # Their chance is that of no reported result: those have the keys 0, 1, 2, …
    assert evaluator._seeds.min() >= 2**32
    assert len(set(evaluator._seeds.tolist())) == count


@pytest.mark.slow
def test_the_best_policy_of_a_run_is_kept_whichever_came_last(tmp_path, monkeypatch):
    pytest.importorskip("stable_baselines3")
    from oncogym.agents.learned import PolicyAgent
    from oncogym.training.evaluator import Evaluator
    from oncogym.training.runs import train

    returns = iter([1.0, 5.0, 5.0, 3.0])
    seen = []

    def scalars(self, result):
        seen.append(next(returns))
        return {"return": seen[-1], "length": 1.0, "success_rate": 0.0, "cost": 0.0}

    policies = []

    def treat(self, agent):
        policies.append(agent.policy)

    monkeypatch.setattr(Evaluator, "__call__", treat)
    monkeypatch.setattr(Evaluator, "scalars", scalars)
    result = train(
        CHEMO, "ppo", out=tmp_path / "run", steps=320, lanes=8, seed=1,
        hyperparameters={"n_steps": 10, "batch_size": 40, "n_epochs": 2, "layers": [8],
                         "evaluations": 4, "evaluation_patients": 2},
    )  # fmt: skip
    assert seen == [1.0, 5.0, 5.0, 3.0]
    assert (result.best_return, result.best_steps) == (5.0, 160)
    assert result.last_evaluation["return"] == 3.0
    kept = PolicyAgent.load(result.policy).policy
    best, last = policies[1], policies[3]
    for name, first, second, third in zip(
        range(9), kept.weights, best.weights, last.weights, strict=False
    ):
        assert np.array_equal(first, second), name
        assert not np.array_equal(first, third), name
    assert kept.about["steps"] == 160
    assert kept.about["evaluation_return"] == 5.0
    assert kept.about["seed"] == 1


# A benchmark hands the right things to those who do the work


class Handed(dict):
    """What the parts of a benchmark were called with."""


@pytest.fixture
def handed(monkeypatch, tmp_path):
    """A benchmark of spheroids whose parts do nothing but note what they were given."""
    from oncogym.evaluation.benchmark import run as benchmark

    found = Handed()

    def common_plan(problem, preset, folder, seed, executor):
        found["plan"] = (problem, preset, seed, executor)
        return "the plan", {"method": "m", "evaluations": 3, "seconds": 1.0}

    def train_seeds(problem, folder, algorithm, seeds, *, steps, options, executor):
        assert algorithm == "ppo"
        found["training"] = (problem, list(seeds), steps, options, executor)
        return [
            SimpleNamespace(seed=n, folder=folder, agent=lambda label, n=n: f"{label} {n}")
            for n in found["training"][1]
        ]

    def run(problem, agents, **settings):
        found["comparison"] = (problem, agents, settings)
        raise SearchedError

    monkeypatch.setattr(benchmark, "common_plan", common_plan)
    monkeypatch.setattr(benchmark, "train_seeds", train_seeds)
    monkeypatch.setattr(benchmark.Comparison, "run", run)
    executor = object()
    preset = replace(PRESETS["quick"], training_seeds=3, algorithms=("ppo",))
    with pytest.raises(SearchedError):
        benchmark.run_benchmark(
            [COHORTS["emt6ro_fractionation"].id], preset, tmp_path, seed=11, executor=executor
        )
    found["executor"] = executor
    return found


def test_a_benchmark_plans_trains_and_compares_on_one_problem(handed):
    problem, preset, seed, executor = handed["plan"]
    assert (seed, executor, preset.plan_patients) == (11, handed["executor"], 12)
    rows = problem.treatment.cohorts["held_out"].patients(8)
    assert np.array_equal(problem.patients, rows)
    assert problem.seeds.tolist() == list(range(11, 11 + 8))
    trained, seeds, steps, options, executor = handed["training"]
    assert trained is problem
    assert (seeds, steps, options) == ([11, 12, 13], 8_000, {"fidelity": "screening"})
    assert executor is handed["executor"]
    compared, agents, settings = handed["comparison"]
    assert compared is problem
    # Agents are judged by the full law, not by that of searches.
    assert "fidelity" not in problem.options
    assert agents["plan"] == "the plan"
    assert {"no_treatment", "bmii", "random"} < set(agents)
    assert (settings["baseline"], settings["reference"], settings["seed"]) == (
        "bmii",
        "mpc_oracle",
        11,
    )
    assert settings["replicas"] == {"ppo": ["PPO 11", "PPO 12", "PPO 13"]}
    assert settings["executor"] is handed["executor"]


def test_each_training_run_has_its_seed_its_folder_and_its_options(monkeypatch, tmp_path):
    pytest.importorskip("stable_baselines3")
    from oncogym.evaluation.benchmark import seed_sweep
    from oncogym.training import runs

    asked = []

    def train(problem, algorithm, *, out, **settings):
        asked.append((problem.env_id, algorithm, out.name, settings))
        assert problem.options["horizon"] == 30
        assert problem.cohort.name == "population"
        (out / "result.json").write_text("{}")

    monkeypatch.setattr(runs, "train", train)
    problem = resolve(CHEMO, patients=1)
    seed_sweep.train_seeds(problem, tmp_path, "ppo", [4, 7], steps=50, options={"horizon": 30})
    assert asked == [
        (CHEMO, "ppo", f"ppo-{seed}", {"steps": 50, "seed": seed, "progress": True})
        for seed in (4, 7)
    ]


# Numbers of the tables


def comparison_by_hand():
    """Two agents and a learnt one with two training seeds on four patients."""
    returns = {
        ("low", 0): [0.0, 1.0, 2.0, 3.0],
        ("high", 0): [10.0, 12.0, 14.0, 16.0],
        ("ppo", 0): [5.0, 7.0, 9.0, 11.0],
        ("ppo", 1): [25.0, 27.0, 29.0, 31.0],
    }
    rows = [
        {"agent": agent, "training_seed": seed, "patient": patient, "return": value,
         "cost": 0.5 * seed + patient, "success": patient > 1, "log10_kill": 2.0 * value,
         "tumour_control": 0.1 * patient, "peak_toxicity": 1.0, "days_over_limit": 4.0 - patient,
         "total_dose": 3.0}
        for (agent, seed), values in returns.items()
        for patient, value in enumerate(values)
    ]  # fmt: skip
    return SimpleNamespace(
        results=pd.DataFrame(rows), baseline="low", reference="high",
        headline_metrics=["log10_kill", "return", "cost"],
    )  # fmt: skip


def test_differences_to_the_plan_and_scores_of_each_seed():
    comparison = comparison_by_hand()
    table = against_plan(comparison, "ppo", "PPO", "high", 0).set_index("metric")["PPO minus plan"]
    assert table["return"].estimate == pytest.approx(18.0 - 13.0)
    assert table["log10_kill"].estimate == pytest.approx(2.0 * (18.0 - 13.0))
    assert table["cost"].estimate == pytest.approx(0.25)
    table = by_training_seed(comparison, "ppo", [40, 41], 0).set_index("training seed")
    assert table["return"].to_dict() == {40: 8.0, 41: 28.0}
    assert table["cost"].to_dict() == {40: 1.5, 41: 2.0}
    for seed, value in ((40, 8.0), (41, 28.0)):
        assert table["normalised score"][seed].estimate == pytest.approx((value - 1.5) / 11.5)


@pytest.fixture(scope="module")
def compared():
    """Three protocols and two learnt agents of different quality on twelve patients."""
    problem = resolve(CHEMO, patients=12, seed=2)
    task = problem.task(1)
    agents = {n: clinical_agent(problem.treatment, task, n) for n in ("weekly", "daily")}
    agents["random"] = RandomAgent(1, 2)
    copies = [clinical_agent(problem.treatment, task, n) for n in ("no_treatment", "daily")]
    comparison = Comparison.run(
        problem, agents, baseline="weekly", reference="daily", replicas={"ppo": copies}, seed=2
    )
    tables = {
        name: evaluate(CHEMO, {name: clinical_agent(problem.treatment, task, name)}, patients=12,
                       seed=2)
        for name in ("weekly", "daily", "no_treatment")
    }  # fmt: skip
    return comparison, tables


def test_a_comparison_holds_each_agents_own_numbers(compared):
    comparison, tables = compared
    results = comparison.results
    columns = ["return", "cost", "log10_kill", "days_over_limit"]
    for agent, seed, name in (
        ("weekly", 0, "weekly"), ("daily", 0, "daily"),
        ("ppo", 0, "no_treatment"), ("ppo", 1, "daily"),
    ):  # fmt: skip
        own = results[(results["agent"] == agent) & (results["training_seed"] == seed)]
        np.testing.assert_array_equal(own[columns].to_numpy(), tables[name][columns].to_numpy())
    both = 0.5 * (tables["no_treatment"]["return"] + tables["daily"]["return"])
    zero, one = (tables[name]["return"] for name in ("weekly", "daily"))
    assert comparison.scores["mean"]["ppo"].estimate == pytest.approx(
        (both.mean() - zero.mean()) / (one.mean() - zero.mean())
    )
    gain = comparison.gains["daily"]
    assert gain.estimate == pytest.approx((one - zero).mean())
    assert gain.low < gain.estimate < gain.high


def test_report_tables_and_charts_show_the_numbers_of_their_agent(compared):
    comparison, tables = compared
    label = comparison.labels["daily"]
    mean, middle, worst = (
        table.set_index("agent").loc[label].rename(lambda title: title.partition(" [")[0])
        for table in (comparison.table("mean"), comparison.table("iqm"), comparison.worst_table())
    )
    values = np.sort(tables["daily"]["log10_kill"].to_numpy())
    assert mean["log10 kill"].estimate == pytest.approx(values.mean())
    assert middle["log10 kill"].estimate == pytest.approx(values[3:9].mean())
    assert mean["log10 kill"].low < values.mean() < mean["log10 kill"].high
    assert mean["Success"].estimate == pytest.approx(tables["daily"]["success"].mean())
    chart = outcomes_chart(comparison.results, comparison.summary, comparison.labels).to_json()
    (measure,) = [m for m in chart["measures"] if m["label"] == "log10 kill"]
    row = measure["rows"][list(comparison.labels).index("daily")]
    expected = [mean["log10 kill"].estimate, mean["log10 kill"].low, mean["log10 kill"].high]
    assert [row[key] for key in ("estimate", "low", "high")] == pytest.approx(expected, rel=1e-4)
    assert row["spread"] == pytest.approx(
        np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]), rel=1e-4
    )
    chart = scores_chart(comparison.scores, comparison.labels).to_json()
    row = chart["measures"][0]["rows"][list(comparison.labels).index("ppo")]
    score = comparison.scores["mean"]["ppo"]
    assert [row[key] for key in ("estimate", "low", "high")] == pytest.approx(
        [score.estimate, score.low, score.high], rel=1e-4
    )
    line = overview({CHEMO: comparison}).set_index("Agent").loc[label]
    assert line["Normalised score"].estimate == pytest.approx(1.0)
    assert line["Cost"].estimate == pytest.approx(tables["daily"]["cost"].mean())
    assert line["Success"].estimate == pytest.approx(tables["daily"]["success"].mean())
    assert f"{values.mean():.3g}"[:4] in line["Main outcome"]
    assert line["Patients"] == 12
    tenth = (values[0] + 0.2 * values[1]) / 1.2
    assert worst["log10 kill"] == pytest.approx(tenth)


# Commands hand on their seed


def printed(capsys, *arguments):
    assert cli.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_optimize_searches_with_its_seed(capsys, tmp_path):
    def found(seed):
        # Without the protocols, which such a small search does not improve; it ends below them.
        out = str(tmp_path / str(seed))
        asked = ["optimize", "ChemoDosingCohort-v0", "--budget", "1500", "--patients", "2"]
        asked += ["--no-from-protocols", "--seed", str(seed), "--out", out]
        assert cli.main(asked) in (0, 1)
        return PlanAgent.load(tmp_path / str(seed) / "plan.json").actions

    one, other = found(1), found(2)
    assert not np.array_equal(one, other)


def test_every_command_hands_on_its_seed(monkeypatch, tmp_path, capsys):
    pytest.importorskip("stable_baselines3")
    from oncogym.cli import benchmark, evaluate, optimize, robustness
    from oncogym.training import runs

    seen = {}

    def noting(name):
        def note(*arguments, **settings):
            seen[name] = (arguments, settings)
            raise SearchedError

        return note

    monkeypatch.setattr(evaluate.Comparison, "run", noting("evaluate"))
    monkeypatch.setattr(optimize, "search_plan", noting("optimize"))
    monkeypatch.setattr(optimize, "search_own_plans", noting("each"))
    monkeypatch.setattr(robustness, "run_robustness", noting("robustness"))
    monkeypatch.setattr(benchmark, "run_benchmark", noting("benchmark"))
    monkeypatch.setattr(runs, "train", noting("train"))
    for command in (
        ["evaluate", CHEMO, "daily", "random"], ["optimize", CHEMO], ["optimize", CHEMO, "--each"],
        ["robustness", CHEMO, "daily", "random"], ["train", CHEMO, "--out", str(tmp_path / "a")],
        ["benchmark", "--envs", CHEMO, "--out", str(tmp_path / "b")],
    ):  # fmt: skip
        assert cli.main([*command, "--seed", "23"]) == BUG
    for name in ("evaluate", "robustness"):
        (problem, agents, *_), settings = seen[name]
        assert settings["seed"] == 23
        assert problem.seeds[0] == 23
        assert agents["random"]._seed == 23
    (_, objective, _, seed, *_), _ = seen["optimize"]
    problem = objective.problem
    assert seed == 23
    population = get_treatment("chemo_dosing").cohorts["population"]
    assert np.array_equal(problem.patients, population.patients(len(problem.patients), 23))
    (problem, *_), settings = seen["each"]
    assert (settings["seed"], problem.seeds[0]) == (23, 23)
    assert seen["train"][1]["seed"] == 23
    assert seen["benchmark"][1]["seed"] == 23
