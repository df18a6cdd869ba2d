"""Where the time of a training run goes."""

from __future__ import annotations

import time

import pandas as pd
import pytest

from oncogym.evaluation import training_throughput
from oncogym.evaluation.training_throughput import PLACES, Clock

pytest.importorskip("stable_baselines3")

ENV = "oncogym/ChemoDosingCohort-v0"


class Worker:
    def outer(self):
        time.sleep(0.02)
        self.inner()
        return "done"

    def inner(self):
        time.sleep(0.03)
        self.again()

    def again(self):
        time.sleep(0.01)

    def fail(self):
        raise KeyError("no")


def test_the_clock_counts_each_moment_once():
    worker, other, clock = Worker(), Worker(), Clock()
    clock.watch("a", worker, "outer")
    clock.watch("b", worker, "inner")
    clock.watch("a", worker, "again")
    started = time.perf_counter()
    assert worker.outer() == "done"
    total = time.perf_counter() - started
    assert clock.seconds["a"] >= 0.03
    assert clock.seconds["b"] >= 0.03
    assert sum(clock.seconds.values()) <= total
    before = dict(clock.seconds)
    other.outer()
    assert clock.seconds == before, "other objects are not timed"
    clock.watch("c", worker, "fail")
    with pytest.raises(KeyError):
        worker.fail()
    assert clock.seconds["c"] >= 0.0
    worker.again()
    assert clock.seconds["a"] > before["a"], "after an error the clock goes on"


@pytest.mark.slow
def test_shares_are_those_of_the_whole_and_learning_is_what_it_would_be(tmp_path, monkeypatch):
    arguments = ["--env", ENV, "--lanes", "16", "--steps", "900", "--seeds", "1"]
    assert training_throughput.main([*arguments, "--out", str(tmp_path / "study")]) == 0
    table = pd.read_csv(tmp_path / "study" / training_throughput.TABLE)
    row = table.iloc[0]
    assert row["lanes"] == 16
    assert row["updates"] == 2, "480 decisions an update"
    assert row["decisions"] == 960
    shares = row[[f"share_{name}" for name in PLACES]]
    assert shares.sum() == pytest.approx(1.0, abs=1e-5)
    assert (shares > 0.0).all()
    assert row["decisions_per_second"] == pytest.approx(row["decisions"] / row["seconds"], rel=1e-3)


@pytest.mark.slow
def test_the_clock_sees_what_is_slow(monkeypatch):
    """Lanes that sleep 5 ms a step get these 5 ms, and nobody else does."""
    from oncogym.envs.vector_env import TherapyVectorEnv

    original = TherapyVectorEnv.step

    def slow(self, actions):
        time.sleep(0.005)
        return original(self, actions)

    monkeypatch.setattr(TherapyVectorEnv, "step", slow)
    found = training_throughput.time_training(env=ENV, algorithm="ppo", lanes=4, steps=120, seed=0)
    assert found["decisions"] == 120
    assert found["places"]["lanes"] >= 30 * 0.005
    assert found["places"]["lanes"] + found["places"]["adapter"] < found["timed"]
    assert found["places"]["adapter"] < 30 * 0.005


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "ChemoDosage-v0"], "ChemoDos"),
        (["--env", ENV, "--steps", "0"], "steps"),
        (["--env", ENV, "--lanes", "0"], "lanes"),
        (["--env", ENV, "--seeds", "0"], "seeds"),
        (["--env", ENV, "--algo", "cma_policy", "--lanes", "32", "--steps", "100"], "rollouts"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as refused:
        training_throughput.main([*arguments, "--out", str(tmp_path / "study")])
    assert refused.value.code == 2
    assert message in capsys.readouterr().err
