"""The command that says what is installed and whether it works."""

from __future__ import annotations

import json

from oncogym.cli.main import main
from oncogym.envs import treatments
from oncogym.envs.chemo_dosing.task import ChemoTask


def test_every_treatment_is_tried(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert set(found["treatments"]) == set(treatments())
    assert found["versions"]["numba"]
    assert found["processors"] >= 1


def test_a_treatment_that_fails_is_named(monkeypatch, capsys):
    def fail(self, actions, active):
        raise FloatingPointError("no dose")

    monkeypatch.setattr(ChemoTask, "step", fail)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "FAILED: FloatingPointError: no dose" in out
    assert "something is wrong" in out


def test_a_batch_that_differs_is_found(monkeypatch, capsys):
    usual = ChemoTask.step

    def drift(self, actions, active):
        return usual(self, actions * (1.0 + 1e-3 * (self.num_lanes > 1)), active)

    monkeypatch.setattr(ChemoTask, "step", drift)
    assert main(["doctor"]) == 1
    assert "a patient in a batch fares differently" in capsys.readouterr().out
