"""The proton-planning source: its checks, plans, figures and timings."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from tg119 import tg119

from oncogym.cli import reproduce as command
from oncogym.cli import speed as speed_command
from oncogym.core.files import CorruptFileError
from oncogym.envs.impt_beam_weighting import (
    BeamSet,
    DoseInfluence,
    Objective,
    Problem,
    PublishedModel,
    WeightError,
    dose_statistics,
    pencil_beams,
    phantom,
    plan,
)
from oncogym.evaluation.reproduce.impt import drawing as impt_drawing
from oncogym.evaluation.reproduce.impt import figures as impt_figures
from oncogym.evaluation.reproduce.impt import front as impt_front
from oncogym.evaluation.reproduce.impt import plans as plans
from oncogym.evaluation.reproduce.impt import reference as reference
from oncogym.evaluation.reproduce.impt import source as impt
from oncogym.evaluation.reproduce.impt import speed as impt_speed

FIELDS = ["id", "quantity", "published", "obtained", "tolerance", "ok", "note"]


def run(module, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_parser(parser.add_subparsers())
    args = parser.parse_args(arguments)
    return args.run(args)


@pytest.fixture(scope="module")
def found():
    checks = impt.checks(0)
    assert len({check.id for check in checks}) == len(checks)
    return {check.id: check for check in checks}


@pytest.fixture(scope="module")
def small():
    """Twelve layers of spots on the touching organ's phantom, quick to plan."""
    anatomy = phantom("abutting")
    beams = BeamSet.for_target(anatomy, (0.0, 90.0), layers=6, spacing=1.0)
    return anatomy, beams, pencil_beams(anatomy, beams)


@pytest.mark.slow
def test_every_check_holds(found):
    assert {name: check for name, check in found.items() if not check.ok} == {}


@pytest.mark.slow
def test_fit_a_stands_beside_the_printed_numbers(found):
    printed = {"J": 2323.2067, "D95": 46.7, "mean": 58.7, "OAR1": 5.3, "OAR2": 0.0}
    ours = {"J": 2324.4375, "D95": 46.6831, "mean": 58.8241, "OAR1": 5.2960, "OAR2": 0.0}
    for key, value in printed.items():
        beside = found[f"fit_a_printed_{key}"]
        assert beside.published == value
        assert "not identifiable" in beside.note
        exact = found[f"fit_a_{key}"]
        assert (exact.published, exact.tolerance) == (ours[key], 0.6e-4)
        assert beside.obtained == exact.obtained == pytest.approx(ours[key], abs=0.6e-4)


@pytest.mark.slow
def test_the_ablation_is_complete_and_converged(found):
    assert len(reference.ABLATION) == 9
    for name in reference.ABLATION:
        assert plans.fit(name).converged
        for key in ("D95", "mean", "OAR1", "max"):
            assert found[f"{name}_{key}"].tolerance == 0.1
        assert found[f"{name}_J"].tolerance < 1e-3 * found[f"{name}_J"].published
        assert f"after {plans.fit(name).iterations} iterations" in found[f"{name}_J"].note
    # Neither the ridge nor the aim alone makes up for a single spot a layer.
    assert found["ridge_1e-4_D95"].obtained < 56.0
    assert found["spots_7_aim_61_D95"].obtained > 60.0


@pytest.mark.slow
def test_goals_are_reached_with_room(found):
    assert found["goal_D95"].obtained > 60.9
    assert found["goal_D2"].obtained < 61.7
    assert found["goal_robust_D95"].obtained > 60.2
    assert found["goal_c_shape_cord"].obtained <= 45.0
    assert found["goal_c_shape_D95"].obtained > 60.0


def test_a_wrong_model_fails(monkeypatch):
    right = PublishedModel.depth_dose
    monkeypatch.setattr(
        PublishedModel, "depth_dose", lambda self, depth, peak: right(self, depth, peak + 0.01)
    )
    plans.fit.cache_clear()
    verdicts = {check.id: check.ok for check in [*impt._printed(), *impt._fit("fit_a")]}
    assert not verdicts["fit_a_D95"]
    assert verdicts["fit_a_printed_OAR2"]
    monkeypatch.undo()
    plans.fit.cache_clear()


def test_a_fit_that_has_not_converged_is_no_agreement(monkeypatch):
    monkeypatch.setattr(plans, "TIGHT_ITERATIONS", 30)
    plans.fit.cache_clear()
    assert not any(check.ok for check in impt._ablation("ridge_1e-4"))
    monkeypatch.undo()
    plans.fit.cache_clear()


@pytest.mark.slow
def test_command_prints_and_saves(found, monkeypatch, tmp_path, capsys):
    rows = list(found.values())
    monkeypatch.setattr(impt, "SOURCE", impt.replace(impt.SOURCE, checks=lambda seed: rows))
    assert run(command, "reproduce", "impt", "--json", "--out", str(tmp_path)) == 0
    document = json.loads(capsys.readouterr().out)
    assert all(list(check) == FIELDS for check in document["checks"])
    assert document == json.loads((tmp_path / "checks.json").read_text())
    rows[0] = impt.replace(rows[0], ok=False)
    assert run(command, "reproduce", "impt", "--json") == 1


def test_bragg_numbers_are_those_of_the_curve():
    numbers = impt.bragg_numbers(160.0)
    assert numbers[0] == pytest.approx(0.0022 * 160.0**1.77)
    assert numbers[1] < numbers[3] < numbers[0]


@pytest.mark.slow
def test_saved_plans_come_back_exactly(small, tmp_path):
    anatomy, beams, influence = small
    weights = np.random.default_rng(0).random(beams.num_spots)
    path = plans.save_plan(tmp_path / "one.npz", anatomy, beams, weights, {"level": 30.0})
    loaded = plans.load_plan(path)
    assert loaded.about == {"level": 30.0}
    np.testing.assert_array_equal(loaded.weights, weights)
    np.testing.assert_array_equal(loaded.influence().dose(weights), influence.dose(weights))
    assert loaded.phantom.name == "abutting"

    broken = tmp_path / "two.npz"
    broken.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CorruptFileError, match=r"two\.npz"):
        plans.load_plan(broken)
    plans.save_plan(broken, anatomy, beams, weights[:-1], {})
    with pytest.raises(CorruptFileError, match="spots"):
        plans.load_plan(broken)
    with pytest.raises(FileNotFoundError):
        plans.load_plan(tmp_path / "nowhere.npz")
    for path, error in ((tmp_path / "nowhere.npz", FileNotFoundError), (broken, CorruptFileError)):
        with pytest.raises(error):
            run(
                command,
                "reproduce",
                "impt",
                "--plan",
                str(path),
                "--figures",
                "--out",
                str(tmp_path / "f"),
            )


@pytest.mark.slow
def test_six_panels_state_their_units(small):
    anatomy, beams, influence = small
    weights = influence.normalised(np.ones(beams.num_spots))
    figure = impt_drawing.six_panels(influence, weights, phantom=anatomy, layout=beams, beam=1)
    assert isinstance(figure, Figure)
    axes = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
    titles = [axis.get_title(loc="left") for axis in axes]
    assert [title[0] for title in titles] == list("ABCDEF")
    assert "90°" in titles[5]
    shown = {text for axis in figure.axes for text in (axis.get_xlabel(), axis.get_ylabel())}
    assert {"x [cm]", "y [cm]", "dose [Gy]", "volume [%]", "water-equivalent depth [cm]"} <= shown
    with pytest.raises(ValueError, match="beam is 2"):
        impt_drawing.six_panels(influence, weights, phantom=anatomy, layout=beams, beam=2)
    with pytest.raises(WeightError):
        impt_drawing.six_panels(influence, -weights)
    with pytest.raises(ValueError, match="one plan"):
        impt_drawing.six_panels(influence, np.stack([weights, weights]))


def test_six_panels_of_a_matrix_with_three_axes():
    rng = np.random.default_rng(1)
    shape = (6, 9, 8)
    target = np.zeros(shape, bool)
    target[2:4, 3:6, 3:6] = True
    organ = np.zeros(shape, bool)
    organ[3, 7, 2:6] = True
    matrix = rng.random((target.size, 5)) * (rng.random((target.size, 5)) < 0.5)
    influence = DoseInfluence.from_matrix(
        matrix,
        {"target": target.ravel(), "organ": organ.ravel()},
        prescription=60.0,
        shape=shape,
        spacing=(0.5,) * 3,
    )
    figure = impt_drawing.six_panels(influence, np.ones(5))
    axes = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
    assert "plane 2 of axis 0" in axes[0].get_title(loc="left")
    assert axes[0].get_xlabel() == "axis 1 [cm]"
    flat = DoseInfluence.from_matrix(matrix, {"target": target.ravel()}, prescription=60.0)
    with pytest.raises(ValueError, match="two or three axes"):
        impt_drawing.six_panels(flat, np.ones(5))


@pytest.mark.parametrize("name", ["published", "c_shape"])
def test_dose_on_the_axis_is_that_of_the_matrix(name):
    anatomy = phantom(name, shape=[81, 81], spacing=[0.5, 0.5], origin=[0.0, 0.0])
    beams = BeamSet.for_target(anatomy, (0.0,), isocentre=(20.0, 20.0))
    influence = pencil_beams(anatomy, beams, dtype=np.float64, cut=1e-9)
    weights = np.random.default_rng(2).random(beams.num_spots)
    layout = impt_drawing.Layout.of_beams(beams)
    dose = influence.dose(weights).reshape(anatomy.shape)[:, 40]
    depth = impt_drawing.trace(anatomy, beams.angles, beams.isocentre).depths[0].reshape(81, 81)
    on_axis = sum(layout.on_axis(layer, weights, depth[:, 40]) for layer in range(len(beams.reach)))
    inside = depth[:, 40] > 0.0
    np.testing.assert_allclose(dose[inside], on_axis[inside], rtol=1e-6, atol=1e-6 * dose.max())


def test_dose_on_the_axis_of_the_sources_model():
    fit = plans.fit("fit_a")
    layout = impt_drawing.Layout.of_published(fit.model)
    weights = np.zeros(40)
    weights[:10] = fit.weights[:10]
    dose = fit.influence.dose(weights).reshape(80, 80)[:, 40]
    on_axis = sum(layout.on_axis(layer, weights, 0.5 * np.arange(80)) for layer in range(10))
    np.testing.assert_allclose(dose, on_axis, atol=1e-9)


@pytest.mark.slow
def test_dvh_bands_hold_the_nominal_curve(small):
    anatomy, beams, influence = small
    weights = influence.normalised(np.ones(beams.num_spots))
    from oncogym.envs.impt_beam_weighting import scenarios

    under = [pencil_beams(anatomy, beams, one) for one in scenarios()]
    figure = impt_drawing.dvh_bands(under, {"equal": weights, "half": 0.5 * weights})
    assert len(figure.axes) == 2
    assert "worst" in figure.axes[0].get_title()
    bands = figure.axes[0].collections
    assert len(bands) == 3
    with pytest.raises(ValueError, match="at least one"):
        impt_drawing.dvh_bands([], {})


def test_front_saves_plans_that_one_can_open(monkeypatch, tmp_path):
    impt_front.front.cache_clear()
    made = impt_front.front("abutting", (50.0, 30.0, 10.0), 20)
    assert made.table["organ_max"].is_monotonic_decreasing
    paths = impt_front.save_front(tmp_path, made)
    table = pd.read_csv(paths[0])
    assert list(table["level"]) == [50.0, 30.0, 10.0]
    for row in table.to_dict("records"):
        loaded = plans.load_plan(tmp_path / row["file"])
        dose = loaded.influence().dose(loaded.weights)
        numbers = dose_statistics(dose, loaded.phantom)
        assert numbers["PTV"]["D95"] == pytest.approx(row["D95"])
        assert numbers["brainstem"]["max"] == pytest.approx(row["organ_max"])
        assert loaded.about["level"] == row["level"]
    assert isinstance(impt_front.draw_fronts([made]), Figure)
    impt_front.front.cache_clear()


def test_undominated_points():
    cost = np.array([1.0, 2.0, 3.0, 3.0, 1.0])
    gain = np.array([1.0, 3.0, 2.0, 3.5, 0.5])
    np.testing.assert_array_equal(
        impt_front._undominated(cost, gain), [True, True, False, True, False]
    )


@pytest.mark.slow
def test_figures_are_saved(monkeypatch, tmp_path, small):
    anatomy, beams, influence = small
    weights = influence.normalised(np.ones(beams.num_spots))
    single = plans.save_plan(tmp_path / "mine.npz", anatomy, beams, weights, {})
    out = tmp_path / "out"
    out.mkdir()
    short = {name: impt_front.front(name, (50.0, 20.0), 5) for name in impt_front.FRONTS}
    monkeypatch.setattr(impt_figures, "front", lambda name: short[name])
    source = impt.configured({"plan": [single]}, out)
    names = [path.name for path in source.figures(out, 0)]
    pictures = ["source_fit_a.png", "robust_plan.png", "dvh_bands.png", "trade_off.png", "mine.png"]
    assert sorted(names) == sorted([*pictures, "front_c_shape.csv", "front_abutting.csv"])
    for name in pictures:
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert len(list((out / "front_c_shape").glob("plan_*.npz"))) == 2


@pytest.mark.slow
def test_sparse_products_are_the_same_objective(small):
    _, _, influence = small
    objective = Objective.standard(influence.structures, 61.0, ridge=0.1)
    weights = np.random.default_rng(3).random(influence.num_spots)
    value, gradient = Problem(influence, objective)(weights)
    for dtype, close in ((np.float64, 1e-12), (np.float32, 1e-5)):
        other, slope = impt_speed.SparseProducts(influence, objective, dtype)(weights)
        assert other == pytest.approx(value, rel=close)
        np.testing.assert_allclose(slope, gradient, rtol=close, atol=close * np.abs(gradient).max())


@pytest.mark.slow
def test_the_objective_does_not_depend_on_the_number_of_threads(monkeypatch, small):
    import numba

    from oncogym.envs.impt_beam_weighting.planning import objective as core

    _, _, influence = small
    objective = Objective.standard(influence.structures, 61.0)
    weights = np.random.default_rng(4).random(influence.num_spots)
    serial = Problem(influence, objective)(weights)
    monkeypatch.setattr(core, "_PARALLEL", 1)
    monkeypatch.setattr(core, "_CHUNK", 1 << 12)
    problem = Problem(influence, objective)
    before = numba.get_num_threads()
    found = []
    for threads in range(1, before + 1):
        numba.set_num_threads(threads)
        found.append(problem(weights))
    numba.set_num_threads(before)
    for value, gradient in found:
        assert value == found[0][0] == pytest.approx(serial[0], rel=1e-12)
        np.testing.assert_array_equal(gradient, found[0][1])
        np.testing.assert_allclose(gradient, serial[1], rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_speed_reports_every_figure(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(impt_speed, "tg119_file", lambda: None)
    assert run(speed_command, "speed", "impt", "--json", "--seconds", "0.01") == 0
    shown = capsys.readouterr()
    rows = json.loads(shown.out)["measurements"]
    assert "TG-119 is left out" in shown.err
    assert all(0.0 < row["low"] <= row["figure"] <= row["high"] for row in rows)
    targets = [(row["target"], row["unit"]) for row in rows if row["target"] is not None]
    assert targets == [(0.25, "ms"), (2.0, "x"), (50.0, "ms"), (10_000.0, "env-steps/s")]
    assert "6400 voxels x 428 spots" in rows[0]["note"]


def test_speed_refuses_to_compare_different_results(monkeypatch):
    right = impt_speed.SparseProducts.__call__

    def wrong(self, weights):
        value, gradient = right(self, weights)
        return 1.001 * value, gradient

    monkeypatch.setattr(impt_speed.SparseProducts, "__call__", wrong)
    with pytest.raises(RuntimeError, match="sparse products"):
        impt_speed._objective(0.001)


def test_the_tg119_file_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv(impt_speed.TG119, str(tmp_path / "nothing.npz"))
    with pytest.raises(FileNotFoundError, match="ONCOGYM_TG119"):
        impt_speed.tg119_file()
    (tmp_path / "nothing.npz").write_bytes(b"")
    assert impt_speed.tg119_file() == Path(tmp_path / "nothing.npz")


@pytest.mark.slow
def test_tg119_reaches_the_planning_systems_optimum(tmp_path):
    case = tg119()
    path = tmp_path / "impt_tg119.npz"
    matrix = case.matrix
    np.savez(
        path, data=matrix.data.astype(np.float32), indices=matrix.indices, indptr=matrix.indptr,
        shape=matrix.shape, grid_size_xyz=case.shape[::-1], spacing_mm=10.0 * case.spacing[0],
        OuterTarget=case.target, Core=case.core, BODY=case.body,
    )  # fmt: skip
    influence, written = impt_speed.read_tg119(path)
    objective = case.objective("OuterTarget", "Core")
    # The excerpt has fewer voxels over which the last penalty is averaged, nothing else is new.
    assert written.terms[:2] == objective.terms[:2]
    assert written.terms[2] == replace(objective.terms[2], weight=100.0)
    assert (influence.shape, influence.spacing) == (case.shape, case.spacing)
    assert Problem(influence, objective)(case.weights)[0] == pytest.approx(89.84, abs=0.005)
    ours = plan(
        influence, objective, iterations=600, tolerance=0.0,
        stop=lambda value, weights: value < 89.84,
    )  # fmt: skip
    assert ours.objective < 89.84
    numbers = dose_statistics(ours.dose, influence)
    assert numbers["OuterTarget"]["D95"] > 49.8
    assert numbers["Core"]["max"] < 26.5
