"""What users hand over to the planning model: taken for what it is, or refused by name."""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from oncogym.envs.impt_beam_weighting import (
    BeamSet,
    DoseInfluence,
    EmptyStructureError,
    GridMismatchError,
    Objective,
    Phantom,
    PhantomFileError,
    PlanningWarning,
    Scenario,
    Structure,
    StructureOutsideGridError,
    StructureSet,
    Term,
    dose_statistics,
    dvh,
    pencil_beams,
    phantom,
    plan,
)
from oncogym.envs.impt_beam_weighting.plan_library import library_of_influence, shifted
from oncogym.envs.impt_beam_weighting.planning.beams import trace
from oncogym.envs.impt_beam_weighting.planning.structures import REST

SHAPE = (4, 5, 6)
VOXELS = math.prod(SHAPE)


def box():
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 1:4, 2:5] = True
    return mask


RIGHT = np.flatnonzero(box()).tolist()


def matrix(seed=0, spots=7):
    return np.random.default_rng(seed).random((VOXELS, spots))


def imported(voxels, **options):
    options = {"shape": SHAPE, "spacing": (0.3, 0.3, 0.3), **options}
    return DoseInfluence.from_matrix(matrix(), {"PTV": voxels}, **options)


# Structures


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.int64, np.uint64, np.float32, float])
@pytest.mark.parametrize("form", [np.asarray, np.ravel, np.asfortranarray, np.ndarray.tolist])
def test_a_mask_is_a_mask_whatever_its_type(kind, form):
    mask = form(box().astype(kind))
    assert imported(mask).structures["PTV"].voxels.tolist() == RIGHT
    # Without the grid's shape too, and by the classes themselves.
    assert imported(mask, shape=None, spacing=None).structures["PTV"].voxels.tolist() == RIGHT
    assert Structure("PTV", mask, "target").voxels.tolist() == RIGHT
    whole = StructureSet([Structure("PTV", mask, "target")], VOXELS, SHAPE)
    assert whole["PTV"].voxels.tolist() == RIGHT
    dose = np.where(box().ravel(), 60.0, 0.0)
    assert dose_statistics(dose, whole)["PTV"]["D95"] == 60.0
    assert dvh(dose, mask, [59.0, 61.0]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint64, np.int64])
def test_voxel_numbers_are_voxel_numbers(kind):
    numbers = np.array(RIGHT[::-1], kind)
    assert imported(numbers).structures["PTV"].voxels.tolist() == RIGHT
    assert imported(RIGHT).structures["PTV"].voxels.tolist() == RIGHT
    for few in ([0], [1], [0, 1], [1, 0]):
        assert imported(np.array(few, kind)).structures["PTV"].voxels.tolist() == sorted(few)


@pytest.mark.parametrize("kind", [bool, np.uint8, float])
def test_masks_of_another_grid_are_refused_by_name(kind):
    swapped = box().transpose(2, 1, 0).astype(kind)
    with pytest.raises(GridMismatchError, match=r"'PTV' has shape \(6, 5, 4\).*\(4, 5, 6\).*order"):
        imported(swapped)
    for shape in ((4, 5), (5, 5, 6), (119,), (240,), (1, 4, 5, 6), (VOXELS, 1)):
        with pytest.raises(GridMismatchError, match=r"'PTV'"):
            imported(np.ones(shape, kind))
    # Masks of one set that cannot belong to the same grid.
    two = {"PTV": box().astype(kind), "cord": ~box().transpose(1, 0, 2)}
    with pytest.raises(GridMismatchError, match="'cord'"):
        DoseInfluence.from_matrix(matrix(), two)
    three = StructureSet.of({"PTV": box()}, VOXELS)
    with pytest.raises(GridMismatchError, match=r"\(4, 5, 6\).*\(6, 5, 4\)"):
        DoseInfluence.from_matrix(matrix(), three, shape=(6, 5, 4))


@pytest.mark.parametrize(
    ("voxels", "message"),
    [
        (255 * box().astype(np.uint8), "labels"),
        (box().astype(int) * 2, "labels"),
        (box() - 0.5, "labels"),
        (np.argwhere(box()), "flat list"),
        (np.array(np.nonzero(box())), "flat list"),
        (np.arange(VOXELS).reshape(SHAPE), "flat list"),
        (255 * box().ravel().astype(np.uint8), r"times"),
        ([3, 4, 4], "voxel 4 2 times"),
        ([3.0, 4.0], "float64"),
        ([0.5], "float64"),
        ([np.nan, 1.0], "float64"),
        (["1", "2"], "not numbers"),
        (np.array([1, 2], object), "not numbers"),
        (np.array([1, 2j]), "not numbers"),
        (np.ma.masked_array([1, 2, 3], [0, 1, 0]), "masked"),
        (sparse.csr_matrix(box().reshape(20, 6)), "sparse"),
        (7, "flat list"),
        ([[1, 2], [3]], "no array"),
    ],
)  # fmt: skip
def test_voxels_that_are_neither(voxels, message):
    with pytest.raises(ValueError, match=rf"'PTV'.*{message}"):
        imported(voxels)
    with pytest.raises(ValueError, match=message):
        dvh(np.ones(VOXELS), voxels, [1.0])


@pytest.mark.parametrize("voxels", [[-1, 3], [3, VOXELS], [2**63 - 1], np.array([2**64 - 1])])
def test_voxel_numbers_beyond_the_grid(voxels):
    with pytest.raises(StructureOutsideGridError, match="'PTV'"):
        imported(voxels)


@pytest.mark.parametrize(
    "voxels", [[], np.zeros(SHAPE, bool), np.zeros(SHAPE), np.zeros(VOXELS, int)]
)
def test_structures_without_a_voxel(voxels):
    with pytest.raises(EmptyStructureError, match="'PTV'"):
        imported(voxels)
    with pytest.raises(EmptyStructureError):
        dvh(np.ones(VOXELS), voxels, [1.0])


def test_a_grid_of_two_voxels_is_ambiguous():
    pair = np.ones((2, 3))
    for voxels in ([0, 1], [1, 0]):
        with pytest.raises(ValueError, match=r"'PTV'.*numbers or a mask"):
            DoseInfluence.from_matrix(pair, {"PTV": voxels})
    assert DoseInfluence.from_matrix(pair, {"PTV": [1, 1]}).structures["PTV"].voxels.tolist() == [
        0, 1
    ]  # fmt: skip
    for mask in ([False, True], [0.0, 1.0]):
        found = DoseInfluence.from_matrix(pair, {"PTV": mask})
        assert found.structures["PTV"].voxels.tolist() == [1]


def test_grids_of_two_voxels_are_kept_in_files(tmp_path):
    whole = DoseInfluence.from_matrix(np.ones((2, 3)), {"PTV": [True, True]})
    whole.save(tmp_path / "two.npz")
    assert DoseInfluence.load(tmp_path / "two.npz").structures["PTV"].voxels.tolist() == [0, 1]


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_random_mask_in_any_type_and_shape(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 6, rng.integers(1, 4)))
    mask = rng.random(shape) < rng.random()
    kind = [bool, np.uint8, np.int32, np.float32][rng.integers(4)]
    given_mask = mask.astype(kind)
    if rng.random() < 0.5:
        given_mask = given_mask.ravel()
    doses = np.ones((mask.size, 2))
    try:
        found = DoseInfluence.from_matrix(doses, {"T": given_mask}, shape=shape)
    except EmptyStructureError:
        assert not mask.any()
        return
    except ValueError:
        # One or two voxels alone may be numbers as well.
        assert mask.size <= 2
        assert given_mask.dtype.kind in "iu"
        return
    if mask.size > 2 or kind in (bool, np.float32):
        assert found.structures["T"].voxels.tolist() == np.flatnonzero(mask).tolist()


def test_structures_that_are_none():
    for build, message in (
        (lambda: Structure("", [1]), "name"),
        (lambda: Structure(3, [1]), "name"),
        (lambda: Structure("T", [1], "oar", np.nan), "limit"),
        (lambda: Structure("T", [1], "oar", "45"), "limit"),
        (lambda: Structure("T", [1], "oar", True), "limit"),
        (lambda: Structure("T", [1], "oar", None, np.nan), "priority"),
        (lambda: Structure("T", [1], "oar", None, "first"), "priority"),
        (lambda: StructureSet([{"name": "T"}], 9), "allowed: Structure"),
        (lambda: StructureSet([Structure("T", [1], "target")], 2.5), "num_voxels"),
        (lambda: StructureSet([Structure("T", [1], "target")], 9, (2, 4)), "shape"),
    ):
        with pytest.raises(ValueError, match=message):
            build()


# Matrices


@pytest.mark.parametrize("name", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
@pytest.mark.parametrize("family", ["matrix", "array"])
def test_every_sparse_format_is_the_same_matrix(name, family):
    dense = matrix() * (matrix(1) < 0.4)
    given_matrix = getattr(sparse, f"{name}_{family}")(dense)
    before = given_matrix.toarray().copy()
    found = DoseInfluence.from_matrix(given_matrix, {"PTV": box()}, shape=SHAPE, dtype=np.float64)
    assert found.to_matrix().toarray().tolist() == dense.tolist()
    assert given_matrix.toarray().tolist() == before.tolist()
    assert not np.shares_memory(found.data, getattr(given_matrix, "data", np.zeros(1)))


def with_entry(value, dtype=np.float64):
    bad = matrix().astype(dtype)
    bad[17, 3] = value
    return bad


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (with_entry(np.nan), "not finite"), (with_entry(np.inf), "not finite"),
        (with_entry(-1e-9), "negative"), (with_entry(1e39), "float32"),
        (matrix().astype(complex), "complex128"), (matrix().astype(object), "object"),
        (matrix() > 0.5, "bool"), (matrix().astype(str), "<U"),
        (np.ma.masked_array(matrix(), matrix() > 0.9), "masked"),
        (matrix().T, "7 rows and 120 columns.*transposed"), (matrix()[:-1], "119 rows"),
        (matrix().ravel(), "1 dimension"), (matrix()[None], "3 dimension"),
    ],
)  # fmt: skip
def test_matrices_that_are_refused(bad, message):
    def build(given_matrix):
        DoseInfluence.from_matrix(given_matrix, {"PTV": RIGHT}, shape=SHAPE)

    with pytest.raises(ValueError, match=message):
        build(bad)
    if bad.ndim == 2 and bad.dtype.kind in "fcb" and not isinstance(bad, np.ma.MaskedArray):
        with pytest.raises(ValueError, match=message):
            build(sparse.csc_array(bad))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (4.5, 5, 6)}, "shape"), ({"shape": (-4, -5, 6)}, "shape"),
        ({"shape": (4, 5, 7)}, "140 voxels"), ({"spacing": (0.3, np.nan, 0.3)}, "spacing"),
        ({"spacing": "abc"}, "spacing"), ({"groups": np.full(7, 0.5)}, "groups"),
        ({"groups": [True] * 7}, "groups"), ({"groups": [0, 1, 2, 3, 4, 5, 7]}, "largest group"),
        ({"dtype": np.int32}, "dtype"), ({"dtype": np.float16}, "dtype"),
        ({"unit": "cGy"}, "unit of dose"), ({"prescription": "60"}, "prescription"),
        ({"prescription": np.nan}, "prescription"), ({"prescription": 0.0}, "prescription"),
        ({"prescription": True}, "prescription"),
    ],
)  # fmt: skip
def test_options_of_a_matrix_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        imported(box(), **options)


def test_weights_are_real_numbers():
    found = imported(box())
    for weights in (
        np.ones(7) + 1j,
        ["1"] * 7,
        np.ones(7, bool),
        np.ma.masked_array(np.ones(7), 1),
    ):
        with pytest.raises(ValueError, match="weights"):
            found.dose(weights)
    for dose in (0.0, np.nan, -3.0, "60"):
        with pytest.raises(ValueError, match="dose is"):
            found.normalised(np.ones(7), dose)


# Doses and what is read off them


@pytest.mark.parametrize(
    ("bad", "message"),
    [(np.nan, "not finite"), (np.inf, "not finite"), (-np.inf, "not finite"), (-1.0, "negative")],
)
def test_a_dose_with_a_bad_voxel_has_no_statistics(bad, message):
    structures = imported(box()).structures
    dose = np.full(VOXELS, 60.0)
    for voxel in (RIGHT[0], 0):
        wrong = dose.copy()
        wrong[voxel] = bad
        with pytest.raises(ValueError, match=message):
            dose_statistics(wrong, structures, 60.0)
        with pytest.raises(ValueError, match=message):
            dvh(wrong, RIGHT, [1.0, 2.0])
    for wrong in (
        dose + 0j,
        dose.astype(str),
        dose.astype(object),
        dose > 0,
        dose[:-1],
        dose[None],
    ):
        with pytest.raises(ValueError, match="dose"):
            dose_statistics(wrong, structures, 60.0)
    with pytest.raises(ValueError, match="NaN"):
        dvh(dose, RIGHT, [1.0, np.nan])
    with pytest.raises(ValueError, match="dose"):
        Objective.standard(structures, 60.0).values(dose[:-1], structures, np.ones(7))


@pytest.mark.parametrize("prescription", [0.0, -60.0, np.nan, np.inf, "60"])
def test_a_prescription_that_is_none(prescription):
    structures = imported(box()).structures
    with pytest.raises(ValueError, match="prescription"):
        dose_statistics(np.full(VOXELS, 60.0), structures, prescription)


def target_of(voxels):
    return StructureSet([Structure("PTV", np.arange(voxels), "target")], 2 * voxels)


def numbers(dose, voxels):
    full = np.zeros(2 * voxels)
    full[: len(dose)] = dose
    return dose_statistics(full, target_of(voxels), 60.0)["PTV"]


def test_no_index_of_a_cold_target_is_perfect():
    even = numbers([60.0] * 50, 50)
    assert (even["HI"], even["CI"], even["V95"]) == (0.0, 1.0, 100.0)
    for hot in (0, 1, 20, 24):
        cold = numbers([60.0] * hot, 50)
        assert cold["HI"] == math.inf
        assert cold["CI"] == pytest.approx(hot / 50)
        assert cold["V95"] == pytest.approx(2.0 * hot)
        assert cold["V107"] == 0.0
    half = numbers([60.0] * 30, 50)
    assert half["HI"] == pytest.approx(1.0)
    # Evenly underdosed: even, but nothing of it is treated.
    assert (numbers([10.0] * 50, 50)["HI"], numbers([10.0] * 50, 50)["CI"]) == (0.0, 0.0)


def test_targets_of_few_voxels():
    assert math.isnan(numbers([60.0], 1)["HI"])
    assert numbers([0.0], 1)["HI"] == math.inf
    two = numbers([50.0, 70.0], 2)
    assert (two["D98"], two["D50"], two["D2"]) == pytest.approx((50.4, 60.0, 69.6))
    assert two["HI"] == pytest.approx(19.2 / 60.0)


def test_without_a_prescription_nothing_is_assumed():
    dose = np.where(box().ravel(), 60.0, 0.0)
    for anatomy in (imported(box()), imported(box()).structures):
        found = dose_statistics(dose, anatomy)
        assert found.prescription is None
        assert found["PTV"]["D95"] == 60.0
        assert all(math.isnan(found["PTV"][name]) for name in ("V95", "V107", "CI"))
    assert dose_statistics(dose, imported(box(), prescription=70.0)).prescription == 70.0
    assert dose_statistics(dose, imported(box(), prescription=70.0))["PTV"]["V95"] == 0.0
    bare = imported(box())
    assert bare.prescription is None
    for ask in (
        lambda: plan(bare),
        lambda: bare.normalised(np.ones(7)),
        lambda: library_of_influence(bare),
        lambda: bare.prescribed,
    ):
        with pytest.raises(ValueError, match=r"no prescription.*prescription=…"):
            ask()
    # What says its own doses needs none.
    goal = Objective((Term("PTV", "deviation", 20.0),))
    assert plan(bare, goal).dose[RIGHT].mean() == pytest.approx(20.0, rel=0.05)
    assert bare.normalised(np.ones(7), 3.0) == pytest.approx(bare.normalised(np.ones(7), 1.0) * 3)


def test_a_phantom_without_a_prescription_asks_for_one():
    document = {
        "shape": [20, 16],
        "spacing": [1.0, 1.0],
        "structures": [
            {"name": "T", "role": "target", "shape": {"box": {"lower": [8, 6], "upper": [12, 10]}}}
        ],
    }
    own = Phantom.from_dict(document)
    assert own.prescription is None
    influence = pencil_beams(own, BeamSet.for_target(own, angles=[0.0], layers=3))
    with pytest.raises(ValueError, match="no prescription"):
        plan(influence)
    with pytest.raises(ValueError, match="has no prescription"):
        _ = own.prescribed
    for wrong in ("60", -1.0, True, math.nan):
        with pytest.raises(ValueError, match="prescription"):
            Phantom.from_dict({**document, "prescription": wrong})
    for wrong in (
        np.ones(16),
        np.ones((16, 20)),
        np.ones((20, 16)) + 1j,
        np.full((20, 16), np.nan),
    ):
        with pytest.raises(ValueError, match="density"):
            replace(own, density=wrong)


def test_organs_that_nothing_spares_are_named():
    parts = {"PTV": RIGHT, "cord": [0, 1, 2], "lung": [3, 4]}
    influence = DoseInfluence.from_matrix(matrix(), parts, prescription=60.0)
    with pytest.warns(PlanningWarning, match="'cord', 'lung'.*does not spare them"):
        goal = Objective.standard(influence.structures, 61.0)
    assert {term.structure for term in goal.terms} == {"PTV", REST}
    with pytest.warns(PlanningWarning, match="'cord', 'lung'"):
        plan(influence, iterations=2)
    some = [Structure("PTV", RIGHT, "target"), Structure("cord", [0, 1, 2], "oar", 45.0)]
    limited = StructureSet(some, VOXELS)
    assert any(term.structure == "cord" for term in Objective.standard(limited, 61.0).terms)


# The unit of doses


def test_every_dose_says_what_it_is(tmp_path):
    influence = imported(box(), unit="Gy (RBE)", prescription=60.0)
    assert (influence.unit, influence.quantity) == ("Gy (RBE)", "RBE-weighted dose")
    assert (imported(box()).unit, imported(box()).quantity) == ("Gy", "physical dose")
    influence.save(tmp_path / "one.npz")
    assert DoseInfluence.load(tmp_path / "one.npz").unit == "Gy (RBE)"
    assert dose_statistics(np.ones(VOXELS), influence).unit == "Gy (RBE)"
    assert plan(influence, iterations=3).unit == "Gy (RBE)"
    assert influence.subset(np.arange(7) < 4).unit == "Gy (RBE)"
    assert influence.grouped(np.zeros(7, int)).unit == "Gy (RBE)"
    assert shifted(influence, (0.1, 0.0, 0.0)).unit == "Gy (RBE)"
    assert library_of_influence(influence).unit == "Gy (RBE)"
    with pytest.raises(ValueError, match="unit of dose"):
        plan([influence, imported(box(), prescription=60.0)], iterations=3)


# Archives


def saved(tmp_path, name="one.npz"):
    path = tmp_path / name
    imported(box(), prescription=60.0).save(path)
    with np.load(path) as table:
        parts = dict(table)
    return path, parts


def rewritten(path, parts, **changes):
    np.savez_compressed(path, **{k: v for k, v in {**parts, **changes}.items() if v is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"indices": np.zeros(3)}, "indices"), ({"data": np.ones(840, complex)}, "data"),
        ({"data": np.array([None] * 3, object)}, "data"),
        ({"groups": np.zeros(3, int)}, "num_spots"), ({"indptr": np.array([[0, 1]])}, "indptr"),
        ({"voxels_0": np.array([0.0, 1.0])}, "voxels_0"),
        ({"voxels_0": np.array([-1, 3])}, "PTV"), ({"voxels_0": np.array([VOXELS])}, "PTV"),
        ({"more": np.zeros(3)}, "'more' is unknown"), ({"data": None}, "'data' is missing"),
        ({"about": np.array("[1]")}, "about"), ({"about": np.array("{")}, "influence matrix"),
        ({"about": np.zeros(3)}, "about"),
    ],
)  # fmt: skip
def test_archives_with_a_part_of_another_kind(changes, message, tmp_path):
    path, parts = saved(tmp_path)
    rewritten(path, parts, **changes)
    with pytest.raises(PhantomFileError, match=rf"one\.npz.*{message}"):
        DoseInfluence.load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_spots", "7"), ("num_spots", 10**12), ("num_spots", -1), ("prescription", "60"),
        ("prescription", [60]), ("shape", "4"), ("shape", [4, 5]), ("shape", [4, 5, -6]),
        ("shape", {"a": 1}), ("spacing", [1, "a", 2]), ("spacing", [1, 2]), ("unit", 3),
        ("structures", {}), ("structures", [1]), ("structures", None),
        ("structures", [{"name": 1, "role": "target", "limit": None, "priority": None}]),
        ("structures", [{"name": "PTV"}]),
    ],
)  # fmt: skip
def test_archives_with_a_description_of_another_kind(key, value, tmp_path):
    path, parts = saved(tmp_path)
    about = json.loads(str(parts["about"]))
    about[key] = value
    rewritten(path, parts, about=np.array(json.dumps(about)))
    with pytest.raises(PhantomFileError, match=r"one\.npz"):
        DoseInfluence.load(path)


def test_archives_are_not_unpacked_when_they_would_explode(tmp_path):
    path, parts = saved(tmp_path)
    bomb = np.zeros(40_000_000, np.float32)
    rewritten(path, parts, data=bomb, indices=np.zeros(3, np.int32))
    assert path.stat().st_size < 400_000
    with pytest.raises(PhantomFileError, match=r"would unpack to 16\d{7}"):
        DoseInfluence.load(path)
    # A header that promises more than there is.
    rewritten(path, parts)
    with zipfile.ZipFile(path) as file:
        held = {name: file.read(name) for name in file.namelist()}
    short = held["data.npy"][:-8]
    with zipfile.ZipFile(path, "w") as file:
        for name, content in held.items():
            file.writestr(name, short if name == "data.npy" else content)
    with pytest.raises(PhantomFileError, match=r"'data' is said to hold"):
        DoseInfluence.load(path)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("data.npy", held["data.npy"])
    with pytest.raises(PhantomFileError, match="twice"):
        DoseInfluence.load(path)


# Beams and scenarios


def test_beam_sets_whose_arrays_do_not_fit():
    anatomy = phantom("published")
    beams = BeamSet.for_target(anatomy, angles=[0.0, 90.0], layers=3)
    for changes, message in (
        ({"spot_offset": beams.spot_offset[:-1]}, "layer_spots"),
        ({"reach": beams.reach[:-1]}, "beam_layers"),
        ({"reach": beams.reach * np.nan}, "reach"),
        ({"reach": -beams.reach}, "reach"),
        ({"beam_layers": beams.beam_layers + 1}, "beam_layers"),
        ({"layer_spots": beams.layer_spots[::-1]}, "layer_spots"),
        ({"layer_spots": beams.layer_spots.astype(float)}, "layer_spots"),
        ({"isocentre": np.zeros(3)}, "isocentre"),
        ({"angles": [0.0, 1j]}, "angles"),
        ({"air_sigma": 0.0}, "air_sigma"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(beams, **changes)
    other = trace(phantom("c_shape"), beams.angles, beams.isocentre)
    with pytest.raises(ValueError, match="geometry"):
        pencil_beams(anatomy, beams, geometry=other)
    with pytest.raises(ValueError, match="dtype"):
        pencil_beams(anatomy, beams, dtype=int)
    with pytest.raises(ValueError, match="shift"):
        pencil_beams(anatomy, beams, Scenario((0.1, 1j)))


def test_objectives_are_made_of_terms():
    for build, message in (
        (lambda: Term("T", "deviation", "60"), "dose of the penalty on 'T'"),
        (lambda: Term("T", "deviation", 60.0, True), "weight of the penalty on 'T'"),
        (lambda: Term("T", "deviation", 1j), "dose"),
        (lambda: Term("T", "deviation", 1e200), "dose"),
        (lambda: Objective(("T",)), "allowed: Term"),
        (lambda: Objective((), np.nan), "ridge"),
    ):
        with pytest.raises(ValueError, match=message):
            build()
    goal = Objective(Term("T", "deviation", dose) for dose in (1.0, 2.0))
    assert [term.dose for term in goal.terms] == [1.0, 2.0]


def test_scenarios_of_different_anatomies_are_refused():
    first = imported(box(), prescription=60.0)
    other = imported(np.roll(box(), 1, axis=0), prescription=60.0)
    with pytest.raises(ValueError, match="voxels of 'PTV' differ"):
        plan([first, other], iterations=2)
    with pytest.raises(ValueError, match="allowed: DoseInfluence"):
        plan([first, matrix()], iterations=2)
