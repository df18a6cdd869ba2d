"""Treatments of other packages, and the errors of the registry."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from oncogym.envs import find_variant, get_treatment, register_treatment, treatments

TOY = '''
"""A toy treatment in a package of its own."""
from dataclasses import asdict, dataclass

import numpy as np
from gymnasium.spaces import Box
from matplotlib.figure import Figure

from oncogym.envs import Metric, Schedule, Trace, Treatment, Variant
from oncogym.envs.cohort import LogNormal, standard_cohorts
from oncogym.envs.therapy import TherapyTask


@dataclass(frozen=True)
class ToyPatient:
    growth: float = 0.2
    FIELDS = ("growth",)

    def to_array(self):
        return np.array([self.growth])

    @classmethod
    def from_array(cls, row):
        return cls(float(row[0]))

    @classmethod
    def from_mapping(cls, mapping):
        return cls(**mapping)


class ToyTask(TherapyTask):
    reward_terms = ("shrinkage", "dose")
    costs = ("burn",)
    metrics = (Metric("size", "Size", "mm", False),)
    action_parts = (("dose", "Gy"),)
    num_decisions = 5
    observation_space = Box(0.0, 100.0, (2,), np.float32)
    action_space = Box(0.0, 1.0, (1,), np.float32)

    def __init__(self, num_lanes, *, strength=0.5, reward_weights=None):
        super().__init__(num_lanes, reward_weights=reward_weights)
        self.strength = strength
        self.size = np.ones(num_lanes)
        self.day = np.zeros(num_lanes)
        self.growth = np.zeros(num_lanes)

    def default_weights(self):
        return {"shrinkage": 1.0, "dose": 0.1}

    def _observe(self):
        return np.stack([np.minimum(self.size, 100.0), self.day], axis=1).astype(np.float32)

    def reset(self, lanes, patients, seeds, episodes):
        self.size[lanes], self.day[lanes], self.growth[lanes] = 1.0, 0.0, patients[:, 0]
        return self._observe()[lanes]

    def step(self, actions, active):
        result = self.empty_result()
        dose = np.where(active, actions[:, 0], 0.0)
        before = self.size.copy()
        factor = np.exp(self.growth - self.strength * dose)
        self.size *= np.where(active, factor, 1.0)
        self.day += active
        result.observation[:] = self._observe()
        result.reward_terms[:, 0] = before - self.size
        result.reward_terms[:, 1] = -dose
        result.costs[:, 0] = np.maximum(dose - 0.9, 0.0)
        result.terminated[:] = active & (self.day >= 5)
        result.truncated[:] = False
        result.outcome[:, 0] = self.size
        result.success[:] = self.size < 1.0
        return result

    def to_physical(self, action):
        return {"dose": 2.0 * np.asarray(action)[..., 0]}

    def schedule_actions(self, schedule):
        actions = np.zeros((5, 1))
        for day, dose in schedule.events:
            actions[int(day), 0] = dose / 2.0
        return actions

    def describe(self, lane):
        return f"size {self.size[lane]:.3f}"


def picture(task, lane):
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([0, task.day[lane]], [1, task.size[lane]])
    return figure


def traces(task, lane):
    return [Trace("size", "size [mm]", np.array([0.0, task.day[lane]]),
                  np.array([1.0, task.size[lane]]))]


TREATMENT = Treatment(
    name="toy", title="Toy", task=ToyTask, patient=ToyPatient,
    variants=(Variant("toy/Toy-v0", "a toy", baseline="standard"),),
    cohorts=standard_cohorts((0.2,), LogNormal((0.2,), (0.3,))),
    protocols={"none": Schedule("None", ()), "standard": Schedule("1 Gy", ((0, 1.0), (2, 1.0)))},
    picture=picture, traces=traces, page="## Description\\n",
)
'''


@pytest.fixture
def plugin(tmp_path):
    """A folder that looks like an installed package with our entry point."""
    (tmp_path / "toy_treatment.py").write_text(textwrap.dedent(TOY))
    info = tmp_path / "toy_treatment-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-treatment\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[oncogym.treatments]\ntoy = toy_treatment:TREATMENT\n")
    return tmp_path


def run(plugin, *command):
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(plugin), "PATH": "/usr/bin:/bin", "HOME": str(plugin)},
    )


def test_other_package_gets_environments_evaluation_and_report(plugin):
    code = """
        import oncogym, gymnasium as gym, numpy as np
        from gymnasium.utils.env_checker import check_env
        check_env(gym.make("toy/Toy-v0").unwrapped)
        env = gym.make_vec("toy/Toy-v0", num_envs=3, cohort="population")
        env.reset(seed=0)
        print(env.step(np.zeros((3, 1)))[1].shape)
    """
    out = run(plugin, "-W", "error", "-c", textwrap.dedent(code))
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == "(3,)"
    listed = run(plugin, "-m", "oncogym.evaluation.cli", "envs")
    assert "toy/Toy-v0" in listed.stdout
    report = plugin / "report"
    evaluated = run(
        plugin, "-m", "oncogym.evaluation.cli", "evaluate", "toy/Toy-v0", "--patients", "20",
        "--cohort", "held_out", "--out", str(report),
    )  # fmt: skip
    assert evaluated.returncode == 0, evaluated.stderr
    assert "1 Gy" in evaluated.stdout
    assert (report / "report.html").stat().st_size > 1000


def test_package_that_imports_oncogym_first_is_found_later(plugin):
    code = """
        import toy_treatment, gymnasium as gym
        from oncogym.envs import treatments
        assert "toy" in treatments()
        gym.make("toy/Toy-v0").reset(seed=0)
    """
    out = run(plugin, "-W", "error", "-c", textwrap.dedent(code))
    assert out.returncode == 0, out.stderr


def test_broken_package_is_a_warning_that_names_it(plugin):
    (plugin / "toy_treatment.py").write_text("raise RuntimeError('broken inside')\n")
    out = run(plugin, "-c", "import oncogym; print(len(oncogym.envs.treatments()))")
    assert out.returncode == 0
    assert "toy_treatment:TREATMENT was not loaded" in out.stderr
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
