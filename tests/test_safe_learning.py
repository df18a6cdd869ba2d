"""Return against cost of ways to learn without harm."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from oncogym.envs.problem import Problem
from oncogym.evaluation import safe_learning
from oncogym.evaluation.safe_learning import Arm, arms_of, draw_trade, plan_parts, tabulate
from oncogym.evaluation.statistics import hierarchical_difference
from oncogym.evaluation.training_part import train_and_score
from oncogym.training.settings import make_settings

ENV = "oncogym/ChemoDosingCohort-v0"
GLIOMA = "oncogym/GlioblastomaRadiationCohort-v0"


def run(seed, returns, costs, sees="measurable"):
    return {
        "env": ENV, "algorithm": "ppo", "seed": seed, "patients": len(returns), "sees": sees,
        "return": returns, "cost": costs, "success": [True] * len(returns),
        "wrappers": [], "decisions": 100, "seconds": 2.0, "versions": {"oncogym": "1.2"},
    }  # fmt: skip


def test_every_way_is_there_with_its_wrappers():
    parts, arms = plan_parts([ENV, GLIOMA], [0, 1], penalties=[2.0], limits=[0.1], rate=0.01)
    assert len(parts) == len({part.name for part in parts}) == 2 * 5 * 2
    found = {arm.name: part.settings["wrappers"] for part, arm in zip(parts, arms, strict=True)}
    assert found == {
        "unconstrained": [],
        "penalty": [{"SafetyPenalty": {"multiplier": 2.0, "shape": "linear"}}],
        "Lagrangian": [
            {
                "SafetyPenalty": {
                    "multiplier": 1.0, "shape": "linear", "cost_limit": 0.1, "rate": 0.01,
                }
            }
        ],
        "shield": [{"DoseShield": {}}],
        "measured shield": [{"MeasuredShield": {}}],
    }  # fmt: skip
    spheroids = arms_of(Problem.resolve("oncogym/EMT6RoFractionationCohort-v0"))
    assert "measured shield" not in {arm.name for arm in spheroids}


def test_terms_of_harm_can_be_left_out_of_the_reward_in_training():
    parts, arms = plan_parts(
        [ENV, GLIOMA], [0], penalties=[2.0], limits=[0.1], without=["toxicity", "excess"]
    )
    usual = Problem.resolve(ENV).task(1).reward_weights
    assert usual["toxicity"] != 0.0
    for part, arm in zip(parts, arms, strict=True):
        wrappers = part.settings["wrappers"]
        names = [next(iter(one)) for one in wrappers]
        inner = [name for name in names if name.endswith("Shield")]
        outer = [name for name in names if name == "SafetyPenalty"]
        assert names == [*inner, "RewardWeights", *outer]
        assert bool(outer) == (arm.name in ("penalty", "Lagrangian"))
        if part.settings["env"] == ENV:
            weights = wrappers[len(inner)]["RewardWeights"]["weights"]
            assert weights == {n: w for n, w in usual.items() if n != "toxicity"}
    table = tabulate(
        [{**run(0, [1.0, 2.0], [0.0, 0.0]), "wrappers": parts[0].settings["wrappers"]}], arms[:1]
    )
    assert table["without"].tolist() == ["toxicity"] * 2


def test_wrappers_of_the_algorithm_stand_between_shield_and_penalty():
    parts, arms = plan_parts([ENV], [0], algorithm="cma_policy", penalties=[2.0], limits=[0.1])
    found = {arm.name: part.settings["wrappers"] for part, arm in zip(parts, arms, strict=True)}
    names = {arm: [next(iter(one)) for one in wrappers] for arm, wrappers in found.items()}
    assert names["shield"] == ["DoseShield", "ProtocolOffset"]
    assert names["measured shield"] == ["MeasuredShield", "ProtocolOffset"]
    assert names["penalty"] == ["ProtocolOffset", "SafetyPenalty"]


def test_penalties_of_the_algorithm_s_file_do_not_count():
    env = "oncogym/GlioblastomaRadiationCohort-v0"
    usual = make_settings(env, "ppo").wrappers
    assert [wrapper.name for wrapper in usual] == ["SafetyPenalty"]
    parts, arms = plan_parts([env], [0], penalties=[2.0], limits=[0.1])
    found = {arm.name: part.settings["wrappers"] for part, arm in zip(parts, arms, strict=True)}
    assert found["unconstrained"] == []
    assert found["penalty"] == [{"SafetyPenalty": {"multiplier": 2.0, "shape": "linear"}}]


def test_rows_hold_means_intervals_and_who_was_harmed():
    arm, free = Arm("penalty", 3.0, outer=({"SafetyPenalty": {}},)), Arm("unconstrained")
    runs = [run(0, [1.0, 2.0, 6.0], [0.0, 0.0, 3.0]), run(1, [2.0, 3.0, 4.0], [0.0, 1.0, 2.0])]
    others = [run(0, [0.0, 1.0, 5.0], [1.0] * 3), run(1, [0.0, 3.0, 3.0], [1.0] * 3)]
    table = tabulate([*others, *runs], [free, free, arm, arm])
    assert table["gain"].iloc[:3].tolist() == pytest.approx([0.0] * 3)
    table = table.iloc[3:].set_index("seed")
    assert table["gain"].tolist() == pytest.approx([1.0] * 3)
    paired = hierarchical_difference([one["return"] for one in runs], [0.0, 2.0, 4.0])
    assert table.loc["all", ["gain_low", "gain_high"]].tolist() == [paired.low, paired.high]
    assert table["return"].tolist() == pytest.approx([3.0, 3.0, 3.0])
    assert table["cost"].tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert table["violated"].tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 2])
    both = hierarchical_difference([one["cost"] for one in runs], np.zeros(3))
    assert table.loc["all", ["cost_low", "cost_high"]].tolist() == [both.low, both.high]
    assert table["setting"].tolist() == [3.0] * 3
    assert table["seeds"].tolist() == [1, 1, 2]


def test_the_figure_marks_who_knows_the_patient():
    arms = [Arm("unconstrained"), Arm("Lagrangian", 0.1), Arm("shield")]
    runs = [
        run(0, [1.0, 2.0], [0.5, 2.0]),
        run(0, [1.0, 1.5], [0.0, 0.2]),
        run(0, [0.5, 1.0], [0.0, 0.0], "knows the patient"),
    ]
    figure = draw_trade(tabulate(runs, arms))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["unconstrained", "Lagrangian", "shield (knows the patient)"]
    drawn = figure.axes[0].containers
    assert [one.lines[0].get_marker() for one in drawn] == ["o", "o", "s"]
    assert drawn[0].lines[0].get_xydata().tolist() == [[1.25, 1.5]]
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.1"]


@pytest.mark.slow
def test_the_command_trains_scores_and_goes_on(tmp_path, capsys):
    pytest.importorskip("stable_baselines3")
    out = tmp_path / "study"
    arguments = ["--envs", ENV, "--seeds", "1", "--steps", "240", "--lanes", "4"]
    arguments += ["--patients", "4", "--penalties", "3", "--limits", "0.1", "--out", str(out)]
    assert safe_learning.main(arguments) == 0
    table = pd.read_csv(out / safe_learning.TABLE)
    alone = table[table["seed"] == "0"].set_index("arm")
    assert list(alone.index) == [
        "unconstrained", "penalty", "Lagrangian", "shield", "measured shield",
    ]  # fmt: skip
    assert (alone["decisions"] == 240).all()
    assert alone.loc["shield", "sees"] == "knows the patient"
    assert (alone["sees"].drop("shield") == "measurable").all()
    assert alone.loc["shield", "cost"] == 0.0
    assert alone.loc["shield", "violated"] == 0.0
    assert (out / safe_learning.FIGURE).read_bytes().startswith(b"\x89PNG")

    text = (out / safe_learning.TABLE).read_bytes()
    capsys.readouterr()
    assert safe_learning.main(arguments) == 0
    assert "5 parts, 5 of them done already" in capsys.readouterr().err
    assert (out / safe_learning.TABLE).read_bytes() == text


@pytest.mark.slow
def test_the_return_is_the_plain_one_of_the_last_policy(tmp_path):
    """As by hand: training with a penalty, and an evaluation that knows nothing of it."""
    pytest.importorskip("stable_baselines3")
    from oncogym.agents.learned import PolicyAgent
    from oncogym.evaluation.harness import evaluate
    from oncogym.training.runs import train

    wrappers = [{"SafetyPenalty": {"multiplier": 50.0}}]
    found = train_and_score(
        env=ENV, algorithm="ppo", seed=2, steps=600, lanes=4, wrappers=wrappers, options={},
        cohort=None, patients=4, patients_seed=5, last=True,
    )  # fmt: skip
    assert found["decisions"] == 600
    assert found["sees"] == "measurable"
    folder = tmp_path / "run"
    train(
        ENV, "ppo", out=folder, steps=600, lanes=4, seed=2, wrappers=wrappers,
        hyperparameters={"evaluations": 1},
    )  # fmt: skip
    by_hand = evaluate(ENV, {"ppo": PolicyAgent.load(folder)}, patients=4, seed=5)
    assert found["return"] == by_hand["return"].tolist()
    assert found["cost"] == by_hand["cost"].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--envs", "ChemoDosage-v0"], "ChemoDos"),
        (["--envs", ENV, ENV], "each once"),
        (["--envs", ENV, "--limits", "-1"], "limits"),
        (["--envs", ENV, "--penalties", "0"], "penalties"),
        (["--envs", ENV, "--penalties", "2", "2"], "each once"),
        (["--envs", ENV, "--shape", "round"], "shape"),
        (["--envs", ENV, "--rate", "0"], "rate"),
        (["--envs", ENV, "--without", "excess"], "reward term"),
        (["--envs", ENV, "--steps", "0"], "steps"),
        (["--envs", "oncogym/IMPTBeamWeightingCohort-v0"], "wrappers do not fit"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as refused:
        safe_learning.main([*arguments, "--out", str(tmp_path / "study")])
    assert refused.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "study" / "parts").exists()
