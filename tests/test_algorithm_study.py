"""Algorithms compared by what their policies do to the same held-out patients."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from oncogym.evaluation import algorithm_study
from oncogym.evaluation.agent_names import load_agents
from oncogym.evaluation.algorithm_study import plan_parts, tabulate, tabulate_rivals
from oncogym.evaluation.benchmark.controllers import controllers_of
from oncogym.evaluation.benchmark.presets import PRESETS
from oncogym.evaluation.harness import evaluate, evaluate_problem, resolve
from oncogym.evaluation.statistics import hierarchical_difference
from oncogym.training.algorithms import usable_algorithms

CHEMO = "oncogym/ChemoDosingCohort-v0"
GLIOMA = "oncogym/GlioblastomaRadiationCohort-v0"


def test_every_algorithm_trains_with_the_settings_of_its_file_on_each_treatment():
    parts = plan_parts(["ChemoDosingCohort-v0", GLIOMA], usable_algorithms(), [3, 4])
    runs = [(one.settings["env"], one.settings["algorithm"], one.settings["seed"]) for one in parts]
    assert runs == [(e, a, s) for e in (CHEMO, GLIOMA) for a in usable_algorithms() for s in (3, 4)]
    assert len({one.file for one in parts}) == len(parts)
    for one in parts:
        # Nothing in place of the file's; the policy that validation chose; the held-out patients.
        assert [one.settings[name] for name in ("steps", "lanes", "wrappers", "cohort")] == [
            None
        ] * 4
        assert one.settings["last"] is False


def test_the_table_joins_the_seeds_of_an_algorithm():
    def run(algorithm, seed, returns):
        return {"env": CHEMO, "algorithm": algorithm, "seed": seed, "sees": "measurable",
                "patients": 2, "decisions": 7, "return": returns, "success": [True, False],
                "cost": [0.0, 1.0], "seconds": 2.0 + seed,
                "versions": {"oncogym": "1"}}  # fmt: skip

    table = tabulate(
        [run("ppo", 0, [1.0, 3.0]), run("ppo", 1, [2.0, 6.0]), run("sac", 0, [5.0, 5.0])]
    )
    assert table["algorithm"].tolist() == ["ppo"] * 3 + ["sac"] * 2
    assert table["seed"].tolist() == ["0", "1", "all", "0", "all"]
    assert table["return"].tolist() == [2.0, 4.0, 3.0, 5.0, 5.0]
    assert (table["training_options"] == "{}").all()
    assert table["seeds"].tolist() == [1, 1, 2, 1, 1]
    assert table["seconds"].tolist() == [2.0, 3.0, 2.5, 2.0, 2.0]
    assert (table["success"] == 0.5).all()
    assert (table["cost"] == 0.5).all()
    both = table.iloc[2]
    assert both["low"] <= 3.0 <= both["high"]
    assert both["low"] < both["high"]


@pytest.mark.slow
def test_the_command_trains_and_algorithms_may_join_later(tmp_path, capsys):
    pytest.importorskip("stable_baselines3")
    out = tmp_path / "study"
    arguments = ["--envs", CHEMO, "--seeds", "1", "--lanes", "4"]
    arguments += ["--steps", "240", "--patients", "4", "--out", str(out)]
    assert algorithm_study.main([*arguments, "--algo", "ppo"]) == 0
    alone = pd.read_csv(out / algorithm_study.TABLE)
    capsys.readouterr()
    assert algorithm_study.main([*arguments, "--algo", "ppo", "cma_policy"]) == 0
    assert "2 parts, 1 of them done already" in capsys.readouterr().err
    table = pd.read_csv(out / algorithm_study.TABLE)
    assert table["algorithm"].tolist() == ["ppo", "ppo", "cma_policy", "cma_policy"]
    assert table.iloc[:2].equals(alone)


@pytest.mark.slow
def test_an_option_of_training_changes_training_only(tmp_path):
    """As by hand: trained with exact scans, treated with the usual ones."""
    pytest.importorskip("stable_baselines3")
    from oncogym.agents.learned import PolicyAgent
    from oncogym.evaluation.harness import evaluate
    from oncogym.training.runs import train

    out, run = tmp_path / "study", tmp_path / "run"
    arguments = [
        "--envs",
        GLIOMA,
        "--algo",
        "ppo",
        "--seeds",
        "1",
        "--lanes",
        "4",
        "--steps",
        "256",
    ]
    arguments += ["--patients", "4", "--training-option", "scan_noise=0", "--out", str(out)]
    assert algorithm_study.main(arguments) == 0
    table = pd.read_csv(out / algorithm_study.TABLE)
    assert table["training_options"].tolist() == ['{"scan_noise": 0}'] * 2
    train(GLIOMA, "ppo", out=run, steps=256, lanes=4, seed=0, options={"scan_noise": 0})
    by_hand = evaluate(GLIOMA, {"ppo": PolicyAgent.load(run)}, patients=4)
    assert table["return"][0] == pytest.approx(by_hand["return"].mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--envs", "ChemoDosage-v0"], "ChemoDos"),
        (["--envs", CHEMO, CHEMO], "each once"),
        (["--envs", CHEMO, "--algo", "ppo", "ppo"], "each once"),
        (["--envs", CHEMO, "--algo", "dqn"], "ppo"),
        (["--envs", CHEMO, "--patients", "1"], "patients"),
        (["--envs", CHEMO, "--steps", "0"], "steps"),
        (["--envs", CHEMO, "--rivals", "even_doses"], "even_doses"),
        (["--envs", CHEMO, "--rivals", "random", "random"], "each once"),
        (["--envs", CHEMO, "--rivals", "mpc_oracle", "--control", "budget=7"], "budget"),
        (["--envs", CHEMO, "--rivals", "mpc_oracle", "--control", "budge=70"], "budget"),
        (["--envs", CHEMO, "--rivals", "daily", "--control", "budget=70"], "mpc_oracle"),
        (["--envs", CHEMO, "--control", "budget=70"], "mpc_oracle"),
        (["--envs", CHEMO, "--training-option", "fidelity"], "KEY=VALUE"),
        (["--envs", CHEMO, "--training-option", "fidelity=screening"], "fidelity"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as refused:
        algorithm_study.main([*arguments, "--out", str(tmp_path / "study")])
    assert refused.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "study" / "parts").exists()


def test_rivals_treat_the_same_patients_before_the_runs():
    parts = plan_parts([GLIOMA], ["ppo"], [3], patients=5, patients_seed=2, rivals=["even_doses"])
    rival, run = parts
    assert rival.name == "GlioblastomaRadiationCohort-v0-rival-even_doses"
    assert run.settings["algorithm"] == "ppo"
    for one in parts:
        assert [one.settings[name] for name in ("env", "patients", "patients_seed")] == [
            GLIOMA, 5, 2
        ]  # fmt: skip
    result = rival.work(**rival.settings)
    assert result["cohort"] == "held_out"
    assert result["sees"] == "measurable"
    by_hand = evaluate(GLIOMA, load_agents(resolve(GLIOMA), ["even_doses"])[0], patients=5, seed=2)
    for name in ("return", "success", "cost"):
        assert result[name] == by_hand[name].tolist()


def test_settings_of_control_are_for_controllers_alone():
    """With the budget of a full benchmark a controller does what it does there."""
    parts = plan_parts(
        [GLIOMA], ["ppo"], [0], patients=2, rivals=["greedy", "mpc_nominal"], control={"budget": 16}
    )
    rule, controller = (one.settings for one in parts[:2])
    assert "control" not in rule
    assert controller["control"] == {"budget": 16}
    problem = resolve(GLIOMA, patients=2)
    preset = replace(PRESETS["full"], controllers=("mpc_nominal",), control={"budget": 16})
    expected = evaluate_problem(problem, controllers_of(problem, preset, 0))
    found = parts[1].work(**controller)
    assert found["return"] == expected["return"].tolist()
    assert found["return"] != parts[1].work(**{**controller, "control": {"budget": 64}})["return"]


def test_the_table_of_rivals_pairs_patients_and_keeps_treatments_apart():
    def made(env, who, returns, success, **more):
        return {"env": env, **who, "sees": "measurable", "patients": 3, "return": returns,
                "success": success, "cost": [0.0, 0.0, 3.0], "seconds": 4.0, "decisions": 9,
                "cohort": "held_out",
                "versions": {"oncogym": "1"}, **more}  # fmt: skip

    yes, no = [True, True, False], [False, True, False]
    runs = [
        made(CHEMO, {"algorithm": "ppo", "seed": 0}, [2.0, 4.0, 6.0], yes),
        made(CHEMO, {"algorithm": "ppo", "seed": 1}, [2.0, 4.0, 6.0], yes),
        made(GLIOMA, {"algorithm": "ppo", "seed": 0}, [0.0, 0.0, 9.0], no),
    ]
    rivals = [
        made(CHEMO, {"rival": "weekly"}, [1.0, 3.0, 5.0], no),
        made(GLIOMA, {"rival": "greedy"}, [1.0, 1.0, 1.0], yes, sees="full state"),
    ]
    table = tabulate_rivals([*rivals, *runs]).set_index("env")
    assert table["rival"].tolist() == ["weekly", "greedy"]
    assert table["rival_sees"].tolist() == ["measurable", "full state"]
    assert table["seeds"].tolist() == [2, 1]
    chemo, glioma = table.loc[CHEMO], table.loc[GLIOMA]
    # Every patient gains 1, whoever is drawn.
    names = ["return_minus", "return_minus_low", "return_minus_high"]
    assert chemo[names].tolist() == [1.0, 1.0, 1.0]
    assert chemo[["return", "rival_return"]].tolist() == [4.0, 3.0]
    assert chemo["success_minus"] == pytest.approx(1 / 3)
    assert glioma["success_minus"] == pytest.approx(-1 / 3)
    found = hierarchical_difference([[0.0, 0.0, 9.0]], [1.0, 1.0, 1.0])
    assert glioma[names].tolist() == [found.estimate, found.low, found.high]
    # The table of algorithms has the policies alone.
    assert tabulate([*rivals, *runs])["algorithm"].tolist() == ["ppo"] * 5


@pytest.mark.slow
def test_the_command_compares_with_rivals(tmp_path, capsys):
    pytest.importorskip("stable_baselines3")
    out = tmp_path / "study"
    arguments = ["--envs", CHEMO, "--algo", "ppo", "--seeds", "1", "--lanes", "4", "--steps", "240"]
    arguments += ["--patients", "4", "--out", str(out)]
    assert algorithm_study.main([*arguments, "--rivals", "source_uniform", "capped_pacing"]) == 0
    table = pd.read_csv(out / algorithm_study.RIVALS)
    assert table["rival"].tolist() == ["source_uniform", "capped_pacing"]
    policies = pd.read_csv(out / algorithm_study.TABLE)
    assert table["return"].tolist() == pytest.approx([policies["return"][0]] * 2, abs=1e-6)
    assert table["return_minus"].tolist() == pytest.approx(
        (table["return"] - table["rival_return"]).tolist(), abs=2e-6
    )
    assert "capped_pacing" in capsys.readouterr().out
