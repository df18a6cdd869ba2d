"""Treatments of other packages, and the errors of the registry."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from commands import run_commands

from oncogym.envs import find_variant, get_treatment, register_treatment, treatments

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tests" / "packages" / "oncogym_toy"
ENV = "toy/HormoneCohort-v0"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The toy package as pip installs it, in a folder of its own; nothing is downloaded."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(PACKAGE, tmp_path_factory.mktemp("source") / "oncogym_toy")
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
        "--no-build-isolation", "--disable-pip-version-check", "--target", folder, source,
    ]  # fmt: skip
    out = subprocess.run(command, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return folder


@pytest.fixture
def plugin(installed, tmp_path):
    """A copy of the installed package that a test may change."""
    return shutil.copytree(installed, tmp_path / "plugin")


def environment(plugin):
    # The user's own numba cache and settings stay out of it.
    return {"PYTHONPATH": str(plugin), "PATH": "/usr/bin:/bin", "HOME": str(plugin)}


def run(plugin, *command):
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True, text=True, env=environment(plugin),
    )  # fmt: skip


def oncogym(plugin, *commands):
    found = run_commands(commands, environment(plugin))
    for status, _, error in found:
        assert status == 0, error
    return [out for _, out, _ in found]


@pytest.mark.slow
def test_other_package_gets_environments(plugin):
    code = """
        import oncogym, gymnasium as gym, numpy as np
        from gymnasium.utils.env_checker import check_env
        check_env(gym.make("toy/Hormone-v0", render_mode="rgb_array").unwrapped)
        lanes = gym.make_vec("toy/HormoneCohort-v0", num_envs=3)
        together, _ = lanes.reset(seed=7)
        together = [together, lanes.step(np.full((3, 1), 0.3))[0]]
        alone = gym.make("toy/HormoneCohort-v0")
        first, _ = alone.reset(seed=8)
        second = alone.step(np.array([0.3]))[0]
        assert (first == together[0][1]).all() and (second == together[1][1]).all()
        print(together[1].shape)
    """
    out = run(plugin, "-W", "error", "-c", textwrap.dedent(code))
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == "(3, 3)"
    listed, explained = oncogym(plugin, ["envs"], ["envs", ENV])
    assert ENV in listed
    assert "carrying capacity" in explained


@pytest.mark.slow
def test_other_package_gets_optimiser_evaluation_and_report(plugin):
    report = plugin / "report"
    # A plan that is worse than the clinic's is said to be so in the status, too.
    asked = ["optimize", ENV, "--budget", 2000, "--out", plugin / "plan", "--json"]
    [(status, found, _)] = run_commands([asked], environment(plugin))
    assert status in (0, 1)
    [text] = oncogym(
        plugin,
        ["evaluate", ENV, "none", "continuous", "adaptive", plugin / "plan" / "plan.json",
         "--reference", "plan", "--patients", 60, "--out", report],
    )  # fmt: skip
    assert math.isfinite(json.loads(found)["score"])
    assert "0.9 every month" in text
    assert "Normalised score" in text
    page = (report / "report.html").read_text(encoding="utf-8")
    assert '"kind":"courses"' in page
    assert "resistant cells" in page


@pytest.mark.slow
def test_other_package_gets_training(plugin):
    pytest.importorskip("stable_baselines3")
    policy = plugin / "run"
    _, text = oncogym(
        plugin,
        ["train", ENV, "--steps", 6144, "--lanes", 128, "--out", policy],
        ["evaluate", ENV, policy / "policy", "continuous", "--patients", 40],
    )
    assert "Return" in text


@pytest.mark.slow
def test_package_that_imports_oncogym_first_is_found_later(plugin):
    code = """
        import oncogym_toy, gymnasium as gym
        from oncogym.envs import treatments
        assert "hormone_toy" in treatments()
        gym.make("toy/Hormone-v0").reset(seed=0)
    """
    out = run(plugin, "-W", "error", "-c", textwrap.dedent(code))
    assert out.returncode == 0, out.stderr


@pytest.mark.slow
def test_broken_package_is_a_warning_that_names_it(plugin):
    (plugin / "oncogym_toy.py").write_text("raise RuntimeError('broken inside')\n")
    out = run(plugin, "-c", "import oncogym; print(len(oncogym.envs.treatments()))")
    assert out.returncode == 0
    assert "oncogym_toy:TREATMENT was not loaded" in out.stderr
    assert "broken inside" in out.stderr
    assert int(out.stdout) == len(treatments())


def test_unknown_names_suggest_the_nearest():
    first = next(iter(treatments().values()))
    identifier = first.variants[0].id
    assert find_variant(identifier) == (first, first.variants[0])
    assert find_variant(identifier.removeprefix("oncogym/"))[1] is first.variants[0]
    assert find_variant(f"oncogym:{identifier}")[1] is first.variants[0]
    with pytest.raises(ValueError, match=f"did you mean '{identifier}'"):
        find_variant(identifier.lower())
    with pytest.raises(ValueError, match=f"did you mean '{first.name}'"):
        get_treatment(first.name + "s")


def test_a_name_is_taken_once():
    first = next(iter(treatments().values()))
    register_treatment(first)  # the same record again is no error
    from dataclasses import replace

    with pytest.raises(ValueError, match="already registered"):
        register_treatment(replace(first, title="Another"))
