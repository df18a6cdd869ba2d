"""Beliefs about patients: calibrated, narrower with measurements, the same in every batch."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from oncogym.agents.belief import Belief, BeliefSettings, has_chance
from oncogym.agents.prior import Prior
from oncogym.envs.problem import Problem
from oncogym.envs.validity import ModelRangeWarning
from oncogym.evaluation import belief_picture
from oncogym.evaluation.belief_calibration import calibrate, judge

sys.path.insert(0, str(Path(__file__).parent / "packages" / "oncogym_toy"))
import oncogym_toy

CHEMO = "oncogym/ChemoDosingCohort-v0"
MEASURABLE = {"observation": "measurable"}


def treated(problem, settings, decisions, dose=0.05):
    """The belief after some decisions with the same dose for everybody, and what was seen last."""
    count = len(problem.patients)
    task, belief = problem.task(), Belief(problem, settings)
    seen = task.reset(np.arange(count), problem.patients, problem.seeds, np.zeros(count, np.uint64))
    belief.begin(seen)
    given = np.full((count, *task.action_space.shape), dose)
    active = np.ones(count, np.bool_)
    for _ in range(decisions):
        seen = task.step(given, active).observation
        belief.update(given, seen)
    return belief, seen


def test_thoughts_about_patients_out_of_range_do_not_warn():
    """A tumour that no therapy loses may be thought of, whoever is treated."""
    problem = Problem.resolve("oncogym/AdaptiveTherapyCohort-v0", cohort="held_out").drawn(1)
    belief, _ = treated(problem, BeliefSettings(particles=16), 2, dose=1.0)
    thought = problem.patients.copy()
    thought[0, list(problem.treatment.patient.FIELDS).index("turnover")] = 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        belief.replay(thought, np.zeros(1, np.intp))
    with pytest.warns(ModelRangeWarning, match="cannot progress"):
        problem.task().reset(np.zeros(1, np.intp), thought, problem.seeds, np.zeros(1, np.uint64))


@pytest.mark.slow
def test_the_belief_about_chemotherapy_is_calibrated_and_narrows():
    options = {**MEASURABLE, "stop_on_failure": False}
    problem = Problem.resolve(CHEMO, options, cohort="held_out").drawn(40)
    settings = BeliefSettings(particles=128, moves=4, least_share=0.5, stages=6)
    found = judge(calibrate(problem, np.full((20, 1), 0.1), settings), bins=5).set_index("field")
    assert list(found.index) == [
        "growth_rate", "elimination_rate", "emax", "ec50", "toxicity_recovery",
    ]  # fmt: skip
    # Of five tests of a right belief one in two hundred is below 0.001.
    assert (found["p_value"] > 1e-3).all()
    error = np.sqrt(0.8 * 0.2 / 40)
    assert (abs(found["covered_80"] - 0.8) < 3.5 * error).all()
    assert found.loc["elimination_rate", "narrowed"] < 0.5
    assert found.loc["ec50", "narrowed"] < 0.9


def test_the_recorded_calibration_of_five_hundred_patients():
    import pandas as pd

    path = Path(__file__).parent.parent / "evaluation" / "results" / "belief_calibration.csv"
    found = judge(pd.read_csv(path), bins=20).set_index("field")
    assert (found["patients"] == 500).all()
    assert (found["p_value"] > 1e-3).all()
    assert (abs(found["covered_80"] - 0.8) < 3.0 * np.sqrt(0.16 / 500)).all()


def test_without_information_a_belief_stays_the_prior():
    blind = {**MEASURABLE, "marker_noise": 10.0, "toxicity_noise": 10.0}
    problem = Problem.resolve(CHEMO, blind, cohort="held_out").drawn(4)
    before, _ = treated(problem, BeliefSettings(particles=64), 0)
    after, _ = treated(problem, BeliefSettings(particles=64), 8)
    assert (before.weights == 1.0 / 64).all()
    assert (before.patients == after.patients).all()
    assert (after.effective > 0.97 * 64).all()
    assert after.replays == 0


def test_particles_have_the_law_of_the_cohort():
    problem = Problem.resolve(CHEMO, MEASURABLE, cohort="held_out").drawn(40)
    belief, _ = treated(problem, BeliefSettings(particles=128), 0)
    for field in belief.varied:
        held = np.log(belief.patients[:, :, field]).ravel()
        truth = np.log(problem.treatment.cohort("population").patients(5000)[:, field])
        assert held.mean() == pytest.approx(truth.mean(), abs=5.0 * truth.std() / np.sqrt(5000))
        assert held.std() == pytest.approx(truth.std(), rel=0.06)


def test_scores_and_values_are_each_others_inverse():
    problem = Problem.resolve(CHEMO, MEASURABLE, cohort="held_out").drawn(50)
    prior = Prior.of(problem)
    scores = prior.scores(problem.patients)
    rows = np.tile(problem.patients[0], (50, 1))
    prior.write(scores, rows)
    assert rows == pytest.approx(problem.patients, rel=1e-9)
    many = prior.scores(prior.draw(np.arange(4000, dtype=np.uint64)))
    assert many.mean(axis=0) == pytest.approx(0.0, abs=0.06)
    assert many.std(axis=0) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("env_id", [CHEMO, "oncogym/IMPTBeamWeighting-v0"])
def test_a_belief_does_not_depend_on_the_batch(env_id):
    problem = Problem.resolve(env_id, MEASURABLE).drawn(5, seed=3)
    settings = BeliefSettings(particles=16, stages=3)
    together, _ = treated(problem, settings, 6, 0.3)
    alone, _ = treated(problem.part(slice(2, 3)), settings, 6, 0.3)
    assert together.replays > 0
    assert together.patients[2].tobytes() == alone.patients[0].tobytes()
    assert together.weights[2].tobytes() == alone.weights[0].tobytes()
    shown = together.predicted.reshape(5, 16, -1)
    assert shown[2].tobytes() == alone.predicted.tobytes()


def test_moved_particles_have_the_states_of_their_parameters():
    problem = Problem.resolve(CHEMO, MEASURABLE, cohort="held_out").drawn(3)
    belief, _ = treated(problem, BeliefSettings(particles=32), 10, 0.1)
    assert belief.replays > 0
    task = problem.with_options({"marker_noise": 0.0, "toxicity_noise": 0.0}).task(96)
    keys = np.arange(96, dtype=np.uint64)
    task.reset(np.arange(96), belief.patients.reshape(96, -1), keys, keys * np.uint64(0))
    for _ in range(10):
        shown = task.step(np.full((96, 1), 0.1), np.ones(96, np.bool_)).observation
    assert (belief.predicted == shown).all()
    rows, nearest = belief.mean_patients()
    states, going = belief.replay(rows, nearest)
    assert going.all()
    assert (states.arrays["patients"] == rows).all()


@pytest.mark.slow
def test_what_a_clinic_knows_is_known():
    problem = Problem.resolve("oncogym/IMPTBeamWeightingCohort-v0", cohort="held_out").drawn(1)
    belief, _ = treated(problem, BeliefSettings(particles=8), 0)
    fields = problem.treatment.patient.FIELDS
    anatomy, shift = fields.index("anatomy"), fields.index("shift_x")
    assert (belief.patients[:, :, anatomy] == problem.patients[:, [anatomy]]).all()
    assert len(np.unique(belief.patients[0, :, shift])) == 8


def test_chance_is_found_where_it_is():
    assert not has_chance(Problem.resolve("oncogym/ChemoDosing-v0"))
    assert has_chance(Problem.resolve("oncogym/IMPTBeamWeighting-v0"))


def test_a_treatment_without_errors_of_measurement_is_identified():
    problem = Problem.of(oncogym_toy.TREATMENT, cohort="population")
    problem = problem.drawn(12, seed=5)
    belief, _ = treated(problem, BeliefSettings(particles=64), 10, 0.4)
    mean = (belief.weights[:, :, None] * belief.patients).sum(axis=1)
    spread = problem.patients.std(axis=0)
    error = np.sqrt(np.square(mean - problem.patients).mean(axis=0))
    assert (error < 0.3 * spread).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [("particles", 3), ("least_share", 0.0), ("moves", -1), ("stages", 0), ("floor", np.nan)],
)
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=name):
        BeliefSettings(**{name: value})


def test_the_picture_shows_the_belief_narrow(tmp_path, capsys):
    problem = Problem.resolve(CHEMO, {"observation": "measurable"}, cohort="held_out").drawn(1)
    settings = BeliefSettings(particles=64)
    beliefs, varied = belief_picture.follow(problem, np.full((20, 1), 0.05), [0, 2, 20], settings)
    assert [one.decisions for one in beliefs] == [0, 2, 20]
    column = problem.treatment.patient.FIELDS.index("elimination_rate")
    assert column in varied
    spreads = [one.patients[:, column].std() for one in beliefs]
    assert spreads[2] < 0.6 * spreads[0]
    for times in ([1, 2], [0, 5, 3], [0, 21]):
        with pytest.raises(ValueError, match="allowed: ascending from 0 to 20"):
            belief_picture.follow(problem, np.full((20, 1), 0.05), times, settings)
    arguments = [CHEMO, "--after", "3", "--particles", "16", "--moves", "1"]
    assert belief_picture.main([*arguments, "--out", str(tmp_path / "belief.png")]) == 0
    assert (tmp_path / "belief.png").read_bytes().startswith(b"\x89PNG")
    assert "after 3 decisions: growth_rate" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        belief_picture.main([CHEMO, "--protocol", "pacing", "--out", str(tmp_path / "x.png")])
