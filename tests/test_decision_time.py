"""The command that times decisions: who is in its table."""

from __future__ import annotations

import pandas as pd

from oncogym.evaluation import decision_time
from oncogym.evaluation.benchmark.presets import Preset


def test_controllers_stand_beside_the_slowest_rule(tmp_path, monkeypatch):
    small = Preset("quick", 64, 4, 3, 1, control={"budget": 8, "population": 4, "replan_every": 30})
    monkeypatch.setitem(decision_time.PRESETS, "quick", small)
    out = tmp_path / "times.csv"
    arguments = ["oncogym/ChemoDosingCohort-v0", "--patients", "2", "--out", str(out)]
    assert decision_time.main(arguments) == 0
    table = pd.read_csv(out)
    assert table["agent"].tolist()[1:] == ["mpc_nominal", "mpc_scenario", "mpc_oracle"]
    assert table["budget"].tolist() == [0, 8, 8, 8]
    assert (table["patients"] == 2).all()
    assert (table["slowest"] >= table["seconds"]).all()
    assert (table["seconds"] > 0.0).all()
