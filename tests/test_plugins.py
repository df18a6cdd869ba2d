"""Optimisers and algorithms of other packages: installed, found by name, used by every command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import run_commands

PACKAGES = Path(__file__).parent / "packages"
ENV = "oncogym/ChemoDosingCohort-v0"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The packages as pip installs them, in a folder of their own; nothing is downloaded."""
    target = tmp_path_factory.mktemp("site")
    for name in ("oncogym_random_search", "oncogym_td3"):
        source = shutil.copytree(PACKAGES / name, tmp_path_factory.mktemp("source") / name)
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
             "--no-build-isolation", "--target", str(target), str(source)],
            check=True,
        )  # fmt: skip
    return target


def call(site, *commands):
    """What commands print that find the packages."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_WAIT_POLICY": "PASSIVE"}
    found = run_commands(commands, environment)
    for status, _, error in found:
        assert status == 0, error
    return [out for _, out, _ in found]


def refusals(site, *commands):
    """What commands complain of that find the packages."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_WAIT_POLICY": "PASSIVE"}
    found = run_commands(commands, environment)
    assert [status for status, _, _ in found] == [2] * len(commands)
    return [error for _, _, error in found]


@pytest.mark.slow
def test_an_optimiser_of_another_package_is_an_optimiser(site, tmp_path):
    common = ["optimize", ENV, "--method", "random", "--budget", "64", "--patients", "3", "--json"]
    chosen = ["--set", "population=16", "--from-protocols"]
    plan = str(tmp_path / "here" / "plan.json")
    asked, here, there, found = call(
        site,
        ["optimize", "--help"],
        [*common, *chosen, "--out", str(tmp_path / "here")],
        [*common, *chosen, "--workers", "1"],
        ["evaluate", ENV, plan, "daily", "--baseline", "daily", "--patients", "3", "--json"],
    )
    assert "Random search" in asked
    here, there, found = map(json.loads, (here, there, found))
    assert here["method"] == "random"
    assert here["settings"]["population"] == 16
    assert (here["score"], here["plan"]) == (there["score"], there["plan"])
    assert "plan" in found["labels"]


@pytest.mark.slow
def test_an_algorithm_of_another_package_is_an_algorithm(site, tmp_path):
    pytest.importorskip("stable_baselines3")
    run = tmp_path / "run"
    sizes = ["--steps", "240", "--lanes", "4", "--set", "layers=[8]", "--set", "batch_size=16",
             "--set", "learning_starts=40", "--set", "evaluation_patients=8"]  # fmt: skip
    asked, settings, result = call(
        site,
        ["train", "--help"],
        ["train", "--algo", "td3", "--settings"],
        ["train", ENV, "--algo", "td3", *sizes, "--json", "--out", str(run)],
    )
    assert "td3" in asked
    assert "noise: Standard deviation" in settings
    result = json.loads(result)
    assert (result["steps"], result["algorithm"]) == (240, "td3")
    newest = sorted((run / "checkpoints").iterdir())[-1]
    newest.unlink()
    again, found = call(
        site,
        ["train", "--resume", str(run), "--json"],
        ["evaluate", ENV, str(run), "daily", "--baseline", "daily", "--patients", "3", "--json"],
    )
    again, found = json.loads(again), json.loads(found)
    assert again["resumed_from"] < again["steps"] == 240
    assert "TD3" in found["labels"].values()


@pytest.mark.slow
def test_unknown_names_suggest_the_nearest(site):
    method, setting, algorithm = refusals(
        site,
        ["optimize", ENV, "--method", "randm"],
        ["optimize", ENV, "--method", "random", "--set", "populatoin=1"],
        ["train", ENV, "--algo", "td4"],
    )
    assert "did you mean 'random'" in method
    assert "did you mean 'population'" in setting
    assert "did you mean 'td3'" in algorithm


def test_every_optimiser_of_the_suite_keeps_the_contract():
    from oncogym.agents.optimizers import find_optimizer, optimizers
    from oncogym.agents.optimizers.objective import PlanObjective, protocol_plans
    from oncogym.envs.problem import Problem

    problem = Problem.resolve(ENV, {"decision_interval": 15.0}).drawn(4)
    clinical = protocol_plans(problem)
    for name, kind in optimizers().items():
        assert (kind.name, kind.takes in ("plan", "slots")) == (name, True)
        optimizer = find_optimizer(name)
        objective = PlanObjective(problem)
        if kind.takes == "slots":
            with pytest.raises(NotImplementedError, match="time slots"):
                optimizer.generations(objective, 1000)
            continue
        budget = optimizer.budget_of(objective, 6)
        assert optimizer.generations(objective, budget) == 6
        with pytest.raises(ValueError, match="budget is 1 plans"):
            optimizer.generations(objective, 1)
        seen: list[tuple[int, float, int]] = []
        arguments = {"start": clinical, "progress": lambda *report, seen=seen: seen.append(report)}
        found = []
        for seed in (1, 1, 2):
            before = objective.evaluations
            found.append(optimizer.optimize(objective, budget, seed, **arguments))
            # Its own simulations, not those of searches before it.
            assert found[-1].evaluations == objective.evaluations - before > 0
        # A report and an entry a generation, the last of which may be polish or the start.
        lengths = [len(result.history) for result in found]
        assert [number for number, *_ in seen] == [n + 1 for count in lengths for n in range(count)]
        assert min(lengths) >= 5
        assert all((np.diff(result.history) >= 0.0).all() for result in found)
        assert found[0].score == found[1].score >= objective.score(clinical).max()
        assert np.array_equal(found[0].plan, found[1].plan)
        assert kind.draws is not np.array_equal(found[0].plan, found[2].plan)
        assert found[0].score == pytest.approx(objective.score(found[0].plan)[0], abs=1e-12)
        assert found[0].history == [best for _, best, _ in seen][: len(found[0].history)]
        assert found[0].method == name
        if not kind.resumes:
            with pytest.raises(ValueError, match="cannot be resumed"):
                optimizer.optimize(objective, budget, resume=True)
