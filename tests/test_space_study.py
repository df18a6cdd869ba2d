"""Spaces of observations and actions, compared by what a policy learns in them."""

from __future__ import annotations

import pandas as pd
import pytest

from oncogym.core.errors import UnknownNameError
from oncogym.envs.problem import Problem
from oncogym.evaluation import space_study
from oncogym.evaluation.harness import evaluate
from oncogym.evaluation.space_study import Numbers, plan_parts, rate_protocols, space_of

CHEMO = "oncogym/ChemoDosingCohort-v0"
GLIOMA = "oncogym/GlioblastomaRadiationCohort-v0"
NUMBERS = Numbers(most=2.0, count=3, reach=0.2)


def test_a_space_is_read_from_its_name():
    problem = Problem.resolve(GLIOMA)
    space = space_of(problem, "DoseScale+History+scan_noise=0.5", "greedy", NUMBERS)
    assert space.wrappers == ({"DoseScale": {"most": 2.0}}, {"History": {"count": 3}})
    assert space.options == {"scan_noise": 0.5}
    plain = space_of(problem, "plain", "greedy", NUMBERS)
    assert (plain.wrappers, plain.options) == ((), {})
    offset = space_of(problem, "ProtocolOffset", "greedy", NUMBERS)
    assert offset.wrappers == ({"ProtocolOffset": {"protocol": "greedy", "reach": 0.2}},)
    dense = space_of(problem, "observation=density", "greedy", NUMBERS)
    assert dense.options == {"observation": "density"}
    with pytest.raises(UnknownNameError, match="did you mean 'DoseScale'"):
        space_of(problem, "DoseScales", "greedy", NUMBERS)
    with pytest.raises(UnknownNameError, match="did you mean 'scan_noise'"):
        plan_parts({GLIOMA: "greedy"}, [0], ["scan_nois=1"])


def test_what_a_treatment_does_not_offer_is_left_out_and_said():
    spaces = ["plain", "DoseScale", "observation=density", "DoseScale+observation=density"]
    parts, names, left_out = plan_parts({CHEMO: "pacing", GLIOMA: "greedy"}, [0, 1], spaces)
    assert left_out == [
        f"{CHEMO} does not offer DoseScale",
        f"{CHEMO} does not offer observation=density",
        f"{CHEMO} does not offer DoseScale+observation=density",
        f"{GLIOMA} does not offer DoseScale+observation=density",
    ]
    assert names == ["plain"] * 4 + ["DoseScale"] * 2 + ["observation=density"] * 2
    assert parts[-1].settings["options"] == {"observation": "density"}
    assert parts[-1].settings["cohort"] == "validation"


def test_the_best_protocol_is_one_that_decides_by_what_is_shown():
    found = rate_protocols(env=CHEMO, patients=8, patients_seed=0)
    assert "threshold" not in found["returns"], "it needs the full state"
    assert found["best"] == max(found["returns"], key=found["returns"].get)
    from oncogym.agents.clinical import clinical_agent

    problem = Problem.resolve(CHEMO)
    agent = clinical_agent(problem.treatment, problem.task(1), found["best"])
    by_hand = evaluate(CHEMO, {"rule": agent}, cohort="validation", patients=8)["return"].mean()
    assert found["returns"][found["best"]] == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.slow
def test_the_command_trains_and_goes_on(tmp_path, capsys):
    pytest.importorskip("stable_baselines3")
    out = tmp_path / "study"
    arguments = ["--envs", CHEMO, "--seeds", "2", "--steps", "240", "--lanes", "4"]
    arguments += ["--spaces", "plain", "DoseScale", "ProtocolOffset+History"]
    arguments += ["--patients", "4", "--out", str(out)]
    assert space_study.main(arguments) == 0
    assert f"{CHEMO} does not offer DoseScale" in capsys.readouterr().err
    table = pd.read_csv(out / space_study.TABLE)
    assert table["space"].tolist() == ["plain"] * 3 + ["ProtocolOffset+History"] * 3
    assert table["seed"].tolist() == ["0", "1", "all"] * 2
    assert (table["decisions"] == 240).all()
    means = table.groupby("space")["return"].apply(lambda own: own.iloc[:2].mean() - own.iloc[2])
    assert means.abs().max() < 2e-6
    best = rate_protocols(env=CHEMO, patients=4, patients_seed=0)
    assert (table["protocol"] == best["best"]).all()
    assert f'"protocol": "{best["best"]}"' in table["wrappers"].iloc[-1]
    text = (out / space_study.TABLE).read_bytes()
    assert space_study.main(arguments) == 0
    assert "4 parts, 4 of them done already" in capsys.readouterr().err
    assert (out / space_study.TABLE).read_bytes() == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--envs", "ChemoDosage-v0"], "ChemoDos"),
        (["--envs", CHEMO, "--spaces", "plane"], "plain"),
        (["--envs", CHEMO, "--spaces", "plain", "plain"], "each once"),
        (["--envs", CHEMO, "--history", "0"], "count"),
        (["--envs", CHEMO, "--reach", "2"], "reach"),
        (["--envs", CHEMO, "--patients", "1"], "patients"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as refused:
        space_study.main([*arguments, "--out", str(tmp_path / "study")])
    assert refused.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "study" / "parts").exists()
