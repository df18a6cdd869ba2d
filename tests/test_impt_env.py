"""IMPT environments: fractions of a plan library under errors, and refinement of weights."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from tg119 import tg119

from oncogym.agents.clinical import clinical_agents
from oncogym.envs import get_treatment
from oncogym.envs.impt_beam_weighting import (
    BeamSet,
    DoseInfluence,
    IMPTPatient,
    PhantomFileError,
    Structure,
    dose_statistics,
    pencil_beams,
    plan,
    simulate,
)
from oncogym.envs.impt_beam_weighting.anatomies import anatomy
from oncogym.envs.impt_beam_weighting.model import Tables
from oncogym.envs.impt_beam_weighting.picture import accumulated_dose
from oncogym.envs.impt_beam_weighting.plan_library import phantom_library, scenario_of
from oncogym.envs.protocols import HiddenError
from oncogym.evaluation.harness import evaluate, evaluate_problem, resolve

V0 = "oncogym/IMPTBeamWeighting-v0"
PUBLISHED = "oncogym/IMPTBeamWeightingPublished-v0"
COHORT = "oncogym/IMPTBeamWeightingCohort-v0"
STILL = IMPTPatient(random_sd=0.0)


def course(env, patient, action, seed=0):
    """Deliver the same action in every fraction; returns the sum of rewards and the last info."""
    env.reset(seed=seed, options={"patient": patient})
    total, done = 0.0, False
    while not done:
        _, reward, done, _, info = env.step(action)
        total += reward
    return total, info


@pytest.fixture(scope="module")
def env():
    return gym.make(V0).unwrapped


def influence_3d(seed=0, spots=30):
    """Blobs on a grid of 12 x 10 x 8 voxels with a block target and an organ beside it."""
    rng = np.random.default_rng(seed)
    shape = (12, 10, 8)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    centres = rng.uniform([3, 3, 2], [9, 7, 6], (spots, 3))
    square = ((grid[:, None, :] - centres[None]) ** 2).sum(axis=2)
    matrix = np.exp(-square / 4.0)
    matrix[matrix < 0.01] = 0.0
    target = (np.abs(grid - [6, 5, 4]) <= [2, 1, 1]).all(axis=1)
    organ = (np.abs(grid - [9, 5, 4]) <= [0, 1, 1]).all(axis=1)
    structures = [
        Structure("lesion", target, "target", priority=1),
        Structure("nerve", organ, "oar", limit=40.0, priority=2),
    ]
    return DoseInfluence.from_matrix(
        csr_matrix(matrix), structures, prescription=50.0, shape=shape, spacing=(0.3, 0.3, 0.4)
    )


def test_static_plans_without_errors_deliver_what_was_planned(env):
    library = phantom_library("abutting")
    phantom = anatomy("abutting")
    influence = pencil_beams(phantom, BeamSet.for_target(phantom))
    for name, weights in zip(library.plans, library.weights, strict=True):
        planned = dose_statistics(influence.dose(weights), phantom)
        _, info = course(env, STILL, env.task.course.action(name))
        outcome = info["outcome"]
        assert outcome["d95"] == pytest.approx(planned["PTV"]["D95"], abs=1e-4)
        assert outcome["d2"] == pytest.approx(planned["PTV"]["D2"], abs=1e-4)
        assert outcome["target_mean"] == pytest.approx(planned["PTV"]["mean"], abs=1e-4)
        organs = [planned[name]["excess"] for name in ("brainstem", "parotid")]
        assert outcome["organ_excess"] == pytest.approx(sum(organs), abs=1e-4)
        means = [planned[name]["mean"] for name in ("brainstem", "parotid")]
        assert outcome["organ_mean"] == pytest.approx(np.mean(means), abs=1e-4)
        normal = planned["normal tissue"]["mean"]
        assert outcome["normal_mean"] == pytest.approx(normal, abs=1e-4)


@pytest.mark.parametrize(
    "errors",
    [
        {"shift_x": 0.5},
        {"shift_x": -0.25, "shift_y": 0.75},
        {"range_error": 0.05},
        {"shift_y": -0.5, "range_error": -0.04},
    ],
)
def test_corrections_undo_the_errors(env, errors):
    straight, _ = course(env, STILL, env.task.course.action("nominal"))
    wrong = IMPTPatient(random_sd=0.0, **errors)
    missed, _ = course(env, wrong, env.task.course.action("nominal"))
    action = env.task.course.action(
        "nominal",
        couch=np.array([[wrong.shift_x, wrong.shift_y]]),
        depth=wrong.range_error,
    )
    corrected, _ = course(env, wrong, action)
    assert missed < straight - 0.5
    assert corrected == pytest.approx(straight, abs=1e-9)


def test_environment_is_the_simulation(env):
    rng = np.random.default_rng(0)
    env.reset(seed=5, options={"patient": IMPTPatient(0, 0.2, -0.1, 0.0, 0.02, 0.3)})
    done = False
    while not done:
        _, _, done, _, info = env.step(rng.random(8).astype(np.float32))
    library = env.task.course.library(0)
    doses, normal = simulate(library, *env.task.course.given(0))
    target = doses[-1][: library.starts[1]]
    assert info["outcome"]["d95"] == pytest.approx(np.percentile(target, 5.0), rel=1e-12)
    assert info["outcome"]["d2"] == pytest.approx(np.percentile(target, 98.0), rel=1e-12)
    assert info["outcome"]["normal_mean"] == pytest.approx(normal[-1], rel=1e-12)


def test_interpolated_doses_are_close_to_exact_ones():
    library, phantom = phantom_library("abutting"), anatomy("abutting")
    beams = BeamSet.for_target(phantom)
    rng = np.random.default_rng(1)
    voxels = np.concatenate(
        [phantom.structures[name].voxels for name in ("PTV", "brainstem", "parotid")]
    )
    worst = 0.0
    for _ in range(12):
        error = np.append(rng.normal(0.0, 0.3, 2), rng.normal(0.0, 0.03)).clip(-0.1, 0.1)
        multiples = np.array([[1.0, 0.0, 0.0, 0.0]])
        ours, _ = simulate(library, multiples, error[None])
        exact = pencil_beams(phantom, beams, scenario_of(error)).dose(library.weights[0])[voxels]
        ours_95 = np.percentile(ours[0][: library.starts[1]], 5.0)
        exact_95 = np.percentile(exact[: library.starts[1]], 5.0)
        worst = max(worst, abs(ours_95 - exact_95))
    assert worst < 0.3


def test_picture_computes_the_same_dose_anew(env):
    env.reset(seed=1, options={"patient": IMPTPatient(0, 0.25, 0.5, 0.0, 0.02, 0.0)})
    for _ in range(3):
        env.step(env.task.course.action("robust"))
    phantom, dose = accumulated_dose(env.task, 0)
    own = env.task.course.voxel_doses(0)
    assert dose[phantom.structures["PTV"].voxels] == pytest.approx(own["target"], abs=1e-4)


def test_return_is_prescription_minus_score(env):
    rng = np.random.default_rng(3)
    for seed in range(5):
        env.reset(seed=seed)
        total, cost, done = 0.0, 0.0, False
        while not done:
            action = rng.random(8)
            action[0] *= 0.9
            _, reward, done, _, info = env.step(action.astype(np.float32))
            total += reward
            cost += info["cost"]
        assert total == pytest.approx(60.0 - info["outcome"]["score"], abs=1e-9)
        assert cost == pytest.approx(info["outcome"]["organ_excess"], abs=1e-9)


def test_errors_are_systematic_and_random():
    full = gym.make(V0, observation="full").unwrapped
    patient = IMPTPatient(0, 0.4, -0.2, 0.0, 0.03, 0.2)
    shifts, seen = [], []
    for seed in range(60):
        observation, _ = full.reset(seed=seed, options={"patient": patient})
        for _ in range(29):
            shifts.append(observation[-5:-3].copy())
            seen.append(observation[1:3].copy())
            assert observation[-3:-1] == pytest.approx([0.4, -0.2], abs=1e-6)
            assert observation[-1] == pytest.approx(0.3, abs=1e-6)
            observation, *_ = full.step(np.full(8, 0.5, np.float32))
    shifts, seen = np.array(shifts), np.array(seen)
    count = len(shifts)
    assert np.abs(shifts.mean(axis=0) - [0.4, -0.2]).max() < 4.0 * 0.2 / np.sqrt(count)
    assert shifts.std(axis=0) == pytest.approx([0.2, 0.2], rel=4.0 / np.sqrt(2.0 * count))
    assert (seen - shifts).std(axis=0) == pytest.approx([0.1, 0.1], rel=4.0 / np.sqrt(2 * count))


def test_zero_dose_does_nothing(env):
    total, info = course(env, STILL, np.zeros(8, np.float32))
    assert total == 0.0
    assert info["outcome"]["d95"] == 0.0
    assert info["outcome"]["score"] == 60.0
    assert not info["is_success"]


def test_knowing_more_is_better():
    results = evaluate(
        V0,
        dict(clinical_agents(get_treatment("impt_beam_weighting"), gym.make(V0).unwrapped.task)[0]),
        "unseen",
        96,
    )
    mean = results.groupby("agent")["return"].mean()
    order = ["equal", "nominal", "single_field", "robust", "image_guided", "clairvoyant"]
    assert list(mean[order].sort_values().index) == order
    # What a rule learns of the range, and dose that it holds back, is worth more than a couch.
    for rule in ("range_estimate", "held_back", "adapted"):
        assert mean[rule] > mean["image_guided"]
    # Everybody meets the same errors: knowing them never costs more than a mean of 2 Gy.
    wide = results.pivot(index="patient", columns="agent", values="return")
    assert (wide["clairvoyant"] - wide["robust"]).min() > -2.0


def test_the_bound_acts_where_it_can_see():
    problem = resolve(V0, patients=8)
    agents, left_out = clinical_agents(problem.treatment, problem.task(1))
    assert "clairvoyant" not in left_out
    with pytest.raises(HiddenError, match="observation='full'"):
        agents["clairvoyant"].predict(np.zeros((8, *problem.task(1).observation_space.shape)))
    table = evaluate_problem(problem, {"clairvoyant": agents["clairvoyant"]})
    assert table["success"].mean() > 0.9


def test_constant_plan_and_phases():
    env = gym.make(V0, plan_phases=3).unwrapped
    space = env.task.plan_space()
    assert space.dimension == 24
    plans = np.arange(24.0)[None] / 24.0
    actions = space.decode(plans)[0]
    assert actions.shape == (30, 8)
    for phase in range(3):
        own = actions[10 * phase : 10 * phase + 10]
        assert (own == plans[0, 8 * phase : 8 * phase + 8]).all()


def test_refinement_reaches_the_minimum_of_the_planner():
    env = gym.make(PUBLISHED).unwrapped
    refinement = env.task.refinement
    best = plan(refinement.influence, refinement.objective, iterations=5000, tolerance=1e-14)
    assert best.objective == pytest.approx(2324.4375, abs=0.01)
    ratio = np.log(np.maximum(best.weights, 1e-6) / refinement.initial)
    actions = env.task.plan_space().decode(ratio[None])[0]
    env.reset(seed=0)
    start = refinement.trail(0)[0]
    total = 0.0
    for action in actions:
        _, reward, _, _, info = env.step(action.astype(np.float64))
        total += reward
    assert info["outcome"]["score"] == pytest.approx(best.objective, rel=1e-4)
    assert total == pytest.approx(start - info["outcome"]["score"], rel=1e-12)
    assert info["outcome"]["d95"] == pytest.approx(46.683, abs=0.02)
    assert not info["is_success"]


def test_gradient_in_the_full_observation():
    env = gym.make(PUBLISHED, observation="full", max_factor=1.02).unwrapped
    start, _ = env.reset(seed=0)
    gradient = start[-40:].astype(np.float64)
    for group in (3, 17, 38):
        costs = []
        for value in (0.0, 1.0):
            env.reset(seed=0)
            action = np.full(40, 0.5)
            action[group] = value
            costs.append(env.step(action)[4]["outcome"]["score"])
        slope = (np.log(costs[1]) - np.log(costs[0])) / (2.0 * np.log(1.02))
        assert gradient[group] == pytest.approx(slope, abs=1e-3 + 0.02 * abs(slope))


@pytest.fixture(scope="module")
def own_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("matrix") / "own.npz"
    influence_3d().save(path)
    return str(path)


def test_own_matrix_in_three_dimensions(own_file):
    env = gym.make(V0, influence=own_file).unwrapped
    names = [name for name, _ in env.task.action_parts]
    assert names == [
        "dose", "couch_x", "couch_y", "couch_z", "range", "share_robust", "share_nominal",
        "share_equal",
    ]  # fmt: skip
    straight, info = course(env, STILL, env.task.course.action("nominal"))
    moved = IMPTPatient(0.0, 0.3, -0.2, 0.3, 0.0, 0.0)
    missed, _ = course(env, moved, env.task.course.action("nominal"))
    corrected, _ = course(
        env, moved, env.task.course.action("nominal", couch=np.array([[0.3, -0.2, 0.3]]))
    )
    influence = DoseInfluence.load(own_file)
    planned = influence.dose(env.task.course.library(0).weights[1])
    numbers = dose_statistics(planned, influence)["lesion"]
    assert info["outcome"]["d95"] == pytest.approx(numbers["D95"], abs=1e-4)
    assert missed < straight
    assert corrected == pytest.approx(straight, abs=1e-9)
    lanes = gym.make_vec(V0, num_envs=3, influence=own_file)
    lanes.reset(seed=0)
    assert lanes.step(np.full((3, 8), 0.5))[1].shape == (3,)
    drawn = gym.make(V0, influence=own_file, render_mode="rgb_array")
    drawn.reset(seed=0)
    assert drawn.render().shape == (480, 640, 3)
    refine = gym.make(PUBLISHED, influence=own_file, render_mode="rgb_array")
    refine.reset(seed=0)
    assert refine.action_space.shape == (30,)
    refine.step(np.full(30, 0.4, np.float32))
    assert refine.render().shape == (480, 640, 3)
    assert json.loads(refine.spec.to_json())["kwargs"]["influence"] == own_file


def test_many_spots_are_weighed_in_groups(tmp_path):
    path = tmp_path / "many.npz"
    influence_3d(spots=100).save(path)
    assert gym.make(PUBLISHED, influence=str(path)).action_space.shape == (40,)


def test_matrix_without_a_grid_has_no_shifts(tmp_path):
    found = influence_3d()
    flat = DoseInfluence.from_matrix(found.to_matrix(), found.structures, prescription=50.0)
    path = tmp_path / "flat.npz"
    flat.save(path)
    env = gym.make(V0, influence=str(path)).unwrapped
    assert [name for name, _ in env.task.action_parts][:2] == ["dose", "range"]
    nominal = env.task.course.action("nominal")
    straight, _ = course(env, STILL, nominal)
    moved, _ = course(env, IMPTPatient(shift_x=1.0), nominal)
    assert moved == straight


def test_a_course_has_room_for_thirteen_organs():
    library = phantom_library("abutting")
    many = replace(library, organs=tuple("abcdefghijklmn"))
    with pytest.raises(ValueError, match="there are 14 organs at risk; allowed: up to 13"):
        Tables.of([many])
    # Without decisions there is no limit.
    shares, errors = np.full((2, 4), 0.1), np.zeros((2, 3))
    assert np.array_equal(simulate(many, shares, errors)[0], simulate(library, shares, errors)[0])


@pytest.mark.slow
def test_real_case_in_three_dimensions(tmp_path):
    case = tg119().cropped()
    structures = [
        Structure("target", case.target, "target", priority=1),
        Structure("core", case.core, "oar", limit=25.0, priority=2),
        Structure("body", case.body, "body"),
    ]
    path = tmp_path / "tg119.npz"
    DoseInfluence.from_matrix(
        case.matrix, structures, prescription=50.0, shape=case.shape, spacing=case.spacing
    ).save(path)
    env = gym.make(V0, influence=str(path)).unwrapped
    assert env.action_space.shape == (8,)
    straight, info = course(env, STILL, env.task.course.action("robust"))
    moved = IMPTPatient(0.0, 0.3, 0.3, 0.3, 0.0, 0.0)
    guided = env.task.course.action("robust", couch=np.array([[0.3, 0.3, 0.3]]))
    # Less than the 49.85 Gy of the planning system: this plan is also robust to shifts of 3 mm.
    assert info["outcome"]["d95"] > 45.0
    assert course(env, moved, guided)[0] == pytest.approx(straight, abs=1e-9)
    refine = gym.make(PUBLISHED, influence=str(path))
    refine.reset(seed=0)
    assert refine.step(np.full(40, 0.5, np.float32))[4]["outcome"]["d95"] > 0.0


@pytest.mark.slow
def test_own_phantom_file(tmp_path):
    document = {
        "name": "mine",
        "shape": [60, 60],
        "spacing": [0.5, 0.5],
        "prescription": 60,
        "structures": [
            {"name": "tumour", "role": "target",
             "shape": {"ellipse": {"center": [15, 15], "semi_axes": [2, 2]}}},
            {"name": "cord", "role": "oar", "limit": 45,
             "shape": {"box": {"lower": [18, 14], "upper": [19, 16]}}},
        ],
    }  # fmt: skip
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document))
    env = gym.make(V0, phantom=str(path)).unwrapped
    _, info = course(env, STILL, env.task.course.action("robust"))
    assert info["outcome"]["d95"] >= 60.0
    path.write_text(path.read_text()[:-20])
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps({k: v for k, v in document.items() if k != "prescription"}))
    with pytest.raises(ValueError, match="has no prescription"):
        gym.make(V0, phantom=str(bare))
    fresh = tmp_path / "broken.json"
    fresh.write_text(path.read_text())
    with pytest.raises(PhantomFileError, match=r"broken\.json"):
        gym.make(V0, phantom=str(fresh))


@pytest.mark.slow
def test_bad_options_are_refused(own_file, tmp_path):
    with pytest.raises(ValueError, match="did you mean 'abutting'"):
        gym.make(V0, phantom="abuting")
    with pytest.raises(ValueError, match="allowed: 0, only 'abutting' has others"):
        gym.make(V0, phantom="c_shape").reset(options={"patient": {"anatomy": 3}})
    with pytest.raises(ValueError, match="allowed: 0, a file holds one"):
        gym.make(V0, influence=own_file).reset(options={"patient": {"anatomy": 3}})
    with pytest.raises(ValueError, match=r"anatomy is 1\.5"):
        IMPTPatient(anatomy=1.5)
    with pytest.raises(ValueError, match=r"range_error is 0\.5; allowed: -0\.3 to 0\.3"):
        IMPTPatient(range_error=0.5)
    with pytest.raises(ValueError, match="max_shift"):
        gym.make(V0, max_shift=-1.0)
    with pytest.raises(ValueError, match="fractions is 0"):
        gym.make(V0, fractions=0)
    with pytest.raises(ValueError, match="did you mean 'sound'"):
        gym.make(V0, formulation="sounds")
    with pytest.raises(FileNotFoundError):
        gym.make(V0, influence=str(tmp_path / "none.npz"))
    broken = tmp_path / "cut.npz"
    broken.write_bytes(Path(own_file).read_bytes()[:500])
    with pytest.raises(PhantomFileError, match=r"cut\.npz"):
        gym.make(PUBLISHED, influence=str(broken))


@pytest.mark.slow
def test_cohort_has_other_anatomies():
    rows = {
        name: get_treatment("impt_beam_weighting").cohorts[name].patients(200)
        for name in ("population", "validation", "held_out")
    }
    numbers = {name: set(own[:, 0].tolist()) for name, own in rows.items()}
    assert [len(numbers[name]) for name in rows] == [24, 8, 16]
    assert not numbers["population"] & numbers["held_out"]
    env = gym.make(COHORT).unwrapped
    env.reset(seed=0)
    first = env.task.course.library(0)
    assert first.starts[1] != phantom_library("abutting").starts[1] or (
        first.weights.shape != phantom_library("abutting").weights.shape
    )


@pytest.mark.slow
def test_lanes_of_different_anatomies_keep_their_own():
    treatment = get_treatment("impt_beam_weighting")
    rows = treatment.cohorts["held_out"].patients(4)
    lanes = gym.make_vec(COHORT, num_envs=4)
    lanes.reset(seed=3, options={"patient": rows})
    actions = np.full((4, 8), 0.4)
    for _ in range(3):
        together = lanes.step(actions)
    for lane, row in enumerate(rows):
        alone = gym.make(COHORT).unwrapped
        alone.reset(seed=3 + lane, options={"patient": row})
        for _ in range(3):
            single = alone.step(actions[lane])
        assert np.array_equal(single[0], together[0][lane])
        assert single[1] == together[1][lane]


# Copies


IDS = (V0, PUBLISHED, COHORT)


def constants(task):
    """Arrays of the model that no episode changes."""
    if task.formulation == "sound":
        tables = task.course._tables
        return [tables.doses, tables.normals, tables.libraries]
    return [*task.refinement._case[:7]]


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("lanes", [None, 3])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_share_the_model_and_go_their_own_way(name, lanes, copied):
    # One anatomy: each takes a second to plan.
    options = {"patient": {"anatomy": 1.0}} if name == COHORT else {}
    if lanes is None:
        env = gym.make(name, **options)
    else:
        env = gym.make_vec(name, num_envs=lanes, **options)
    env.reset(seed=3)
    env.action_space.seed(3)
    actions = [env.action_space.sample() for _ in range(4)]
    env.step(actions[0])
    assert len(pickle.dumps(env)) < 200_000
    twin = copied(env)
    for one, two in zip(constants(env.unwrapped.task), constants(twin.unwrapped.task), strict=True):
        assert np.shares_memory(one, two)
    first = [env.step(action) for action in actions[1:]]
    second = [twin.step(action) for action in actions[1:]]
    for one, two in zip(first, second, strict=True):
        assert one[0].tobytes() == two[0].tobytes()
        assert np.asarray(one[1]).tobytes() == np.asarray(two[1]).tobytes()
    # Steps of the one leave the other as it is.
    before = twin.unwrapped.task.describe(0)
    env.step(actions[0])
    assert twin.unwrapped.task.describe(0) == before
    one, two = env.reset(seed=9)[0], twin.reset(seed=9)[0]
    assert one.tobytes() == two.tobytes()


@pytest.mark.slow
def test_a_pickle_is_taken_up_by_another_process(tmp_path):
    env = gym.make(V0)
    env.reset(seed=5)
    action = np.full(env.action_space.shape, 0.4, np.float32)
    env.step(action)
    (tmp_path / "env.pickle").write_bytes(pickle.dumps(env))
    script = (
        "import pickle, sys, numpy as np, oncogym\n"
        "env = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(env.step(np.full(env.action_space.shape, 0.4, np.float32))[0].tobytes().hex())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "env.pickle")], capture_output=True,
        text=True, check=True, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )  # fmt: skip
    assert run.stdout.strip() == env.step(action)[0].tobytes().hex()


def test_labels_say_the_unit_of_the_dose(tmp_path):
    shape = (8, 8)
    target = np.zeros(shape, np.uint8)
    target[3:5, 3:5] = 1
    rows = np.random.default_rng(0).random((64, 5))
    path = tmp_path / "own.npz"
    DoseInfluence.from_matrix(
        rows, {"lesion": target}, prescription=50.0, shape=shape, spacing=(0.3, 0.3),
        unit="Gy (RBE)",
    ).save(path)  # fmt: skip
    for name in IDS[:2]:
        env = gym.make(name, influence=str(path), render_mode="ansi")
        env.reset(seed=0)
        env.step(env.action_space.sample())
        assert "Gy (RBE)" in env.render()
        treatment, task = env.unwrapped.treatment, env.unwrapped.task
        figure = treatment.draw(task, 0)
        labels = [axis.get_xlabel() for axis in figure.axes]
        assert "dose [Gy (RBE)]" in labels
    env = gym.make(IDS[0], influence=str(path))
    env.reset(seed=0)
    env.step(env.action_space.sample())
    found = env.unwrapped.treatment.traces(env.unwrapped.task, 0)
    assert all("[Gy]" not in f"{one.label} {one.time_label}" for one in found)


def test_files_that_change_are_read_again(tmp_path):
    path = tmp_path / "own.npz"

    def write(voxels, scale):
        rows = scale * np.random.default_rng(0).random((64, 5))
        parts = {"lesion": np.arange(voxels)}
        DoseInfluence.from_matrix(
            rows, parts, prescription=50.0, shape=(8, 8), spacing=(0.3, 0.3)
        ).save(path)

    for name in IDS[:2]:
        write(4, 1.0)
        env = gym.make(name, influence=str(path))
        env.reset(seed=0)
        kept = pickle.dumps(env)
        write(20, 2.0)
        fresh = gym.make(name, influence=str(path))
        fresh.reset(seed=0)
        action = np.full(env.action_space.shape, 0.5, np.float32)
        # A larger target, by another matrix.
        assert fresh.step(action)[4]["outcome"] != env.step(action)[4]["outcome"]
        with pytest.raises(ValueError, match=r"own\.npz has changed"):
            pickle.loads(kept)
        path.unlink()
        with pytest.raises(FileNotFoundError):
            pickle.loads(kept)


def test_the_middle_of_the_action_space_is_the_robust_plan_and_its_neighbours_are_close(env):
    size = env.action_space.shape[0]
    middle = np.full(size, 0.5)
    assert (env.task.course.action("robust") == middle).all()
    wrong = IMPTPatient(0, 0.3, -0.2, 0.0, 0.02, 0.2)
    robust, _ = course(env, wrong, middle)
    nearby = [middle + 0.001 * sign for sign in np.eye(size)[4:]]
    returns = [course(env, wrong, action)[0] for action in nearby]
    assert returns == pytest.approx([robust] * len(nearby), abs=0.1)
    assert returns[0] == robust  # more of what has all
    assert robust not in returns[1:]


def test_shares_of_plans_there_and_back(env):
    shares = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.3, 0.1, 0.0, 0.6]])
    actions = env.task.course.action(shares=shares, batch=3)
    told = env.task.to_physical(actions)
    names = ("robust", "nominal", "single_field", "equal")
    found = np.stack([told[f"share_{name}"] for name in names], axis=1)
    assert found == pytest.approx(shares, abs=1e-15)
    # Below the middle the others have none, and without any the robust plan has all.
    low = np.array([0.5, 0.5, 0.5, 0.5, 0.0, 0.2, 0.4, 0.0])
    assert [env.task.to_physical(low)[f"share_{name}"] for name in names] == [0.0] * 4
    wrong = IMPTPatient(0, 0.3, -0.2, 0.0, 0.02, 0.2)
    assert course(env, wrong, low) == course(env, wrong, np.full(8, 0.5))
