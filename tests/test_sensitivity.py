"""Ranking of agents under other weights of the reward."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from oncogym.cli import sensitivity as command_line
from oncogym.cli.main import main
from oncogym.evaluation.harness import evaluate
from oncogym.evaluation.sensitivity import find_flips, say_verdict, sweep_weights

ENV = "oncogym/ChemoDosingCohort-v0"


def results(**gains):
    """Five patients; ``gains`` are (gain, harm) of each agent, the same but for a spread."""
    spread = np.linspace(-0.1, 0.1, 5)
    return pd.concat(
        pd.DataFrame(
            {"agent": name, "patient": range(5), "term_gain": gain + spread, "term_harm": -harm}
        )
        for name, (gain, harm) in gains.items()
    )


def test_the_winner_flips_where_the_weights_say():
    """Bold gains 10 and harms 4, mild 7 and 2: bold leads while harm weighs less than 1.5."""
    table = sweep_weights(
        results(bold=(10.0, 4.0), mild=(7.0, 2.0)), {"gain": 1.0, "harm": 1.0}, (0.5, 2.0)
    )
    assert sorted(set(table["factor"])) == [0.5, 1.0, 2.0]
    flips = find_flips(table).to_dict("records")
    # Halving the gain is doubling the harm: 5 - 4 against 3.5 - 2, and 10 - 8 against 7 - 4.
    assert flips == [
        {"term": "gain", "factor": 0.5, "winner": "mild", "usual": "bold", "clear": True},
        {"term": "harm", "factor": 2.0, "winner": "mild", "usual": "bold", "clear": True},
    ]
    row = table[(table["term"] == "harm") & (table["factor"] == 2.0) & (table["rank"] == 1)]
    assert row[["weight", "return", "lead"]].to_numpy()[0].tolist() == pytest.approx([2, 3, 1])
    assert "property of the reward: gain x 0.5: mild; harm x 2: mild" in say_verdict(table)


def test_a_winner_in_everything_stays():
    table = sweep_weights(results(best=(9.0, 1.0), worst=(7.0, 2.0)), {"gain": 1.0, "harm": 0.5})
    assert find_flips(table).empty
    assert say_verdict(table).endswith("at every multiple that was tried.")


def test_reweighted_returns_are_those_of_an_environment_with_these_weights():
    agents = {name: agent_of(name) for name in ("daily", "pacing")}
    found = evaluate(ENV, agents, patients=4)
    weights = default_weights()
    term = next(name for name, weight in weights.items() if weight)
    table = sweep_weights(found, weights, (3.0,))
    own = table[(table["term"] == term) & (table["factor"] == 3.0)].set_index("agent")["return"]
    options = {"reward_weights": {term: 3.0 * weights[term]}}
    again = evaluate(ENV, agents, patients=4, options=options)
    for name, value in again.groupby("agent")["return"].mean().items():
        assert own[name] == pytest.approx(value, rel=1e-12)


def agent_of(name):
    from oncogym.agents.clinical import clinical_agent
    from oncogym.evaluation.harness import resolve

    problem = resolve(ENV, patients=1)
    return clinical_agent(problem.treatment, problem.task(1), name)


def default_weights():
    from oncogym.evaluation.harness import resolve

    return dict(resolve(ENV, patients=1).task(1).reward_weights)


@pytest.mark.parametrize(
    ("agents", "weights", "factors", "message"),
    [
        ({"one": (1, 1)}, {"gain": 1.0}, (1.0,), "there is 1 agent"),
        ({"a": (1, 1), "b": (1, 2)}, {"gain": 0.0}, (1.0,), "nothing to sweep"),
        ({"a": (1, 1), "b": (1, 2)}, {"gain": 1.0}, (-1.0,), "allowed: finite, at least 0"),
        ({"a": (1, 1), "b": (1, 2)}, {"joy": 1.0}, (1.0,), "the results lack term_joy"),
    ],
)
def test_bad_input_is_refused(agents, weights, factors, message):
    with pytest.raises(ValueError, match=message):
        sweep_weights(results(**agents), weights, factors)


def test_the_command_saves_what_it_says(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["sensitivity", ENV, "daily", "pacing", "--patients", "4", "--factor", "2"]
    assert main([*command, "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    table = pd.read_csv(out / "sensitivity.csv")
    assert len(table) == len(document["table"])
    assert set(table["factor"]) == {1.0, 2.0}
    assert (out / "sensitivity.png").stat().st_size > 5000
    assert document["verdict"].startswith("At the weights as they are")
    assert main(["sensitivity", ENV, "daily"]) == 2
    assert "two at least" in capsys.readouterr().err


def test_the_command_takes_a_finished_benchmark(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "done" / "ChemoDosingCohort-v0"
    folder.mkdir(parents=True)
    table = evaluate(
        ENV, {name: agent_of(name) for name in ("daily", "pacing", "weekly")}, patients=4
    )
    table.to_csv(folder / "results.csv", index=False)
    (folder / "comparison.json").write_text(json.dumps({"env": ENV, "cohort": "held_out"}))
    monkeypatch.setattr(command_line, "evaluate_problem", None)  # nobody is treated
    command = ["sensitivity", ENV, "--benchmark", str(tmp_path / "done")]
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    expected = sweep_weights(table, default_weights())
    assert (document["cohort"], document["patients"]) == ("held_out", 4)
    assert [row["rank"] for row in document["table"]] == expected["rank"].tolist()
    two = ["sensitivity", ENV, "daily", "weekly", "--benchmark", str(tmp_path / "done")]
    assert main([*two, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["table"]
    assert {row["agent"] for row in found} == {"daily", "weekly"}
    for extra, status, message in (
        (["--patients", "3"], 2, "--patients: nobody is treated with --benchmark"),
        (["--option", "horizon=30"], 2, "--option: nobody is treated"),
        (["--executor", "joblib"], 2, "--executor: nobody is treated"),
    ):
        assert main([*command, *extra]) == status
        assert message in capsys.readouterr().err
    assert main([*two[:2], "dayly", "weekly", *two[4:]]) == 2
    assert "did you mean 'daily'" in capsys.readouterr().err
    other = "oncogym/GlioblastomaRadiationCohort-v0"
    assert main(["sensitivity", other, "--benchmark", str(tmp_path / "done")]) == 2
    assert "no finished benchmark of oncogym/Glioblastoma" in capsys.readouterr().err
    (folder / "comparison.json").write_text(json.dumps({"env": other, "cohort": "held_out"}))
    assert main(command) == 2
    assert ENV in capsys.readouterr().err
