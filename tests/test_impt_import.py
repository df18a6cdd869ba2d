"""Influence matrices of matRad and pyRadPlan: real layouts in small, and what can be wrong."""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_array, csc_matrix, issparse

from oncogym.core.errors import UnknownNameError
from oncogym.envs.impt_beam_weighting import (
    DoseInfluence,
    EmptyStructureError,
    GridMismatchError,
    Objective,
    PlanImportError,
    PlanningWarning,
    Problem,
    StructureOutsideGridError,
    Term,
    centroid_groups,
    plan,
)
from oncogym.envs.impt_beam_weighting.planning.structures import REST

# A grid with another size along every axis, so that a wrong order of axes cannot pass.
NX, NY, NZ = 5, 4, 3
STEP = {"x": 3.0, "y": 2.0, "z": 5.0}
START = {"x": -6.0, "y": 10.0, "z": -5.0}
SIZE = {"x": NX, "y": NY, "z": NZ}
SPOTS = 7
BEAMS = [1, 1, 1, 2, 2, 4, 4]


def boxes():
    """Masks over (x, y, z)."""
    body = np.zeros((NX, NY, NZ), bool)
    body[:, 1:, :] = True
    tumour = np.zeros_like(body)
    tumour[1:3, 1:3, 1] = True
    cord = np.zeros_like(body)
    cord[2:4, 2:, 1:] = True
    return {"Body": body, "Tumour": tumour, "Cord": cord}


def dose_of_spots(seed=0):
    """Dose of each spot over (x, y, z)."""
    rng = np.random.default_rng(seed)
    dose = rng.uniform(0.0, 1.0, (NX, NY, NZ, SPOTS))
    dose[rng.uniform(size=dose.shape) < 0.5] = 0.0
    return dose


def coordinates(size=SIZE, step=STEP, start=START):
    return {name: start[name] + step[name] * np.arange(size[name]) for name in "xyz"}


# matRad: MATLAB arrays over (y, x, z), first axis fastest, counted from 1


def in_matlab(values):
    """Values over (x, y, z, …) as MATLAB's linear order of the first three axes."""
    turned = np.swapaxes(values, 0, 1)
    return turned.reshape(NX * NY * NZ, *values.shape[3:], order="F")


def cell(*values, shape=None):
    found = np.empty(len(values), dtype=object)
    for number, value in enumerate(values):
        found[number] = value
    return found.reshape(shape or (1, len(values)))


def matlab_grid(size=SIZE, step=STEP, start=START):
    return {
        "resolution": {name: float(step[name]) for name in "xyz"},
        "dimensions": np.array([[float(size[name]) for name in "yxz"]]),
        "numOfVoxels": float(np.prod(list(size.values()))),
        **{name: part[None, :] for name, part in coordinates(size, step, start).items()},
    }


def matlab_row(number, name, kind, mask, priority):
    voxels = np.flatnonzero(in_matlab(mask)) + 1.0
    return cell(
        float(number), name, kind, cell(voxels[:, None]),
        {"alphaX": 0.1, "betaX": 0.05, "Priority": float(priority), "Visible": 1.0},
        cell({"className": "DoseObjectives.matRad_SquaredDeviation", "penalty": 100.0}),
    )  # fmt: skip


def matlab_case(**changes):
    masks = boxes()
    dij = {
        "doseGrid": matlab_grid(),
        "ctGrid": matlab_grid(),
        "numOfBeams": 3.0,
        "numOfScenarios": 1.0,
        "totalNumOfBixels": float(SPOTS),
        "beamNum": np.array(BEAMS, float)[:, None],
        "physicalDose": cell(csc_matrix(in_matlab(dose_of_spots()))),
    }
    cst = np.concatenate(
        [
            matlab_row(0, "Cord", "OAR", masks["Cord"], 2),
            matlab_row(1, "Tumour", "TARGET", masks["Tumour"], 1),
            matlab_row(2, "Body", "OAR", masks["Body"], 3),
        ]
    )
    for name, value in changes.pop("dij", {}).items():
        if value is None:
            del dij[name]
        else:
            dij[name] = value
    return {"dij": dij, "cst": cst, **changes}


@pytest.fixture
def matlab(tmp_path):
    def write(case=None, name="case.mat"):
        path = tmp_path / name
        savemat(path, {k: v for k, v in (case or matlab_case()).items() if v is not None})
        return path

    return write


def voxels_over(influence, axes, name):
    """A structure as a mask over (x, y, z)."""
    mask = np.zeros(influence.shape, bool)
    mask.flat[influence.structures[name].voxels] = True
    return mask.transpose([axes.index(axis) for axis in "xyz"])


def check(influence, axes):
    """Everything of the case is where it belongs; ``axes`` names those of the grid."""
    assert influence.shape == tuple(SIZE[axis] for axis in axes)
    assert influence.spacing == pytest.approx([0.1 * STEP[axis] for axis in axes])
    weights = np.random.default_rng(1).uniform(0.0, 2.0, SPOTS)
    dose = influence.dose(weights).reshape(influence.shape)
    dose = dose.transpose([axes.index(axis) for axis in "xyz"])
    np.testing.assert_allclose(dose, dose_of_spots() @ weights, rtol=1e-6)
    for name, mask in boxes().items():
        np.testing.assert_array_equal(voxels_over(influence, axes, name), mask)
    roles = {one.name: one.role for one in influence.structures}
    assert roles == {"Tumour": "target", "Cord": "oar", "Body": "body"}
    # The tumour has priority over the cord, which it overlaps.
    shared = np.intersect1d(*(influence.structures[n].voxels for n in ("Tumour", "Cord")))
    assert shared.size == 1
    assert np.isin(shared, influence.structures.exclusive("Tumour")).all()
    assert not np.isin(shared, influence.structures.exclusive("Cord")).any()


def test_matrad_file(matlab):
    influence = DoseInfluence.from_matrad(
        matlab(), prescription=50.0, limits={"Cord": 20.0}, dtype=np.float64
    )
    check(influence, "zxy")
    assert influence.prescription == 50.0
    assert influence.structures["Cord"].limit == 20.0
    assert influence.groups.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert influence.data.dtype == np.float64


def test_what_comes_in_can_be_planned(matlab):
    influence = DoseInfluence.from_matrad(matlab(), limits={"Cord": 20.0})
    goal = Objective(
        (Term("Tumour", "deviation", 60.0), Term("Cord", "overdose", 20.0),
         Term(REST, "overdose", 30.0)), 1e-3,
    )  # fmt: skip
    found = plan(influence, goal)
    assert found.objective < Problem(influence, goal)(np.full(SPOTS, 10.0))[0]
    groups = centroid_groups(influence, 3)
    assert np.bincount(groups).min() >= 1
    again = influence.grouped(groups)
    assert again.num_groups == 3


def test_matrad_structures_from_another_file(matlab):
    whole = matlab_case()
    doses = matlab({"dij": whole["dij"]}, "doses.mat")
    structures = matlab({"cst": whole["cst"]}, "patient.mat")
    check(DoseInfluence.from_matrad(doses, cst=structures), "zxy")
    with pytest.raises(PlanImportError, match=r"doses\.mat.*'cst'"):
        DoseInfluence.from_matrad(doses)
    with pytest.raises(PlanImportError, match=r"patient\.mat.*'dij'"):
        DoseInfluence.from_matrad(structures)


def test_matrad_file_from_before_the_dose_grid(matlab):
    grid = matlab_grid()
    case = matlab_case(
        dij={
            "doseGrid": None, "ctGrid": None, "dimensions": grid["dimensions"],
            "resolution": grid["resolution"],
        }
    )  # fmt: skip
    check(DoseInfluence.from_matrad(matlab(case)), "zxy")


def test_matrad_scenarios(matlab):
    held = cell(*[np.zeros((0, 0))] * 4, shape=(1, 2, 2))
    for place, seed in (((0, 0, 0), 0), ((0, 1, 0), 5), ((0, 0, 1), 6)):
        held[place] = csc_matrix(in_matlab(dose_of_spots(seed)))
    path = matlab(matlab_case(dij={"physicalDose": held}))
    check(DoseInfluence.from_matrad(path), "zxy")
    for scenario, seed in ((1, 5), (2, 6)):
        influence = DoseInfluence.from_matrad(path, scenario=scenario, dtype=np.float64)
        expected = in_matlab(dose_of_spots(seed))
        np.testing.assert_array_equal(influence.to_matrix().toarray(), expected)
    for scenario in (3, -1):
        with pytest.raises(PlanImportError, match=r"3 matrices.*0 to 2"):
            DoseInfluence.from_matrad(path, scenario=scenario)


def two_targets():
    case = matlab_case()
    inner = np.zeros((NX, NY, NZ), bool)
    inner[1, 1, 1] = True
    case["cst"] = np.concatenate([matlab_row(3, "Inner", "TARGET", inner, 0), case["cst"]])
    return case


def test_of_several_targets_one_is_named(matlab):
    path = matlab(two_targets())
    with pytest.raises(PlanImportError, match=r"case\.mat: 2 .*'Inner', 'Tumour'.*target="):
        DoseInfluence.from_matrad(path)
    influence = DoseInfluence.from_matrad(path, target="Tumour")
    assert influence.structures.target == "Tumour"
    # The other lies inside, with the better priority; still it leaves the target its voxel.
    assert len(influence.structures.exclusive("Tumour")) == 4
    assert influence.structures["Inner"].role == "oar"
    other = DoseInfluence.from_matrad(path, target="Inner")
    assert len(other.structures.exclusive("Inner")) == 1
    assert len(other.structures.exclusive("Tumour")) == 3
    check(DoseInfluence.from_matrad(path, structures=["Tumour", "Cord", "Body"]), "zxy")
    with pytest.raises(UnknownNameError, match="Tumour"):
        DoseInfluence.from_matrad(path, target="Tumor")
    for options in ({"limits": {"Chord": 3.0}}, {"structures": ["Chord"]}, {"body": "Chord"}):
        with pytest.raises(UnknownNameError, match="Cord"):
            DoseInfluence.from_matrad(path, target="Tumour", **options)


def test_structures_of_type_ignored_are_left_out(matlab):
    case = matlab_case()
    extra = boxes()["Cord"]
    case["cst"] = np.concatenate([case["cst"], matlab_row(3, "Couch", "IGNORED", extra, 9)])
    path = matlab(case)
    assert "Couch" not in DoseInfluence.from_matrad(path).structures.names
    taken = DoseInfluence.from_matrad(path, structures=["Tumour", "Couch"])
    assert taken.structures.names == ("Tumour", "Couch")
    body = DoseInfluence.from_matrad(path, body="Cord").structures
    assert [body["Cord"].role, body["Body"].role] == ["body", "oar"]


def test_equal_priorities_are_decided_by_the_order(matlab):
    case = matlab_case()
    for row in case["cst"]:
        row[4] = {"Priority": 1.0}
    check(DoseInfluence.from_matrad(matlab(case)), "zxy")
    for row in case["cst"]:
        row[4] = np.zeros((0, 0))
    check(DoseInfluence.from_matrad(matlab(case)), "zxy")


def fine_grids():
    """A CT grid of twice the resolution along x, and the masks on it."""
    size, step = {**SIZE, "x": 2 * NX}, {**STEP, "x": 0.5 * STEP["x"]}
    start = {**START, "x": START["x"] - 0.25 * STEP["x"]}
    return size, step, start


def test_ct_grid_unlike_the_dose_grid(matlab, monkeypatch):
    case = matlab_case(dij={"ctGrid": matlab_grid(*fine_grids())})
    rows = []
    for number, (name, mask) in enumerate(boxes().items()):
        fine = np.repeat(mask, 2, axis=0)
        voxels = np.flatnonzero(np.swapaxes(fine, 0, 1).ravel(order="F")) + 1.0
        row = matlab_row(number, name, "TARGET" if name == "Tumour" else "OAR", mask,
                         {"Tumour": 1, "Cord": 2, "Body": 3}[name])  # fmt: skip
        row[0, 3] = cell(voxels[:, None])
        rows.append(row)
    case["cst"] = np.concatenate(rows)
    path = matlab(case)
    with pytest.raises(GridMismatchError, match=r"case\.mat: .*'Body'.*x: 10.*x: 5.*resample=True"):
        DoseInfluence.from_matrad(path)
    check(DoseInfluence.from_matrad(path, resample=True), "zxy")


def test_dose_voxels_outside_the_ct_belong_to_no_structure(matlab):
    size, start = {**SIZE, "x": NX - 2}, {**START, "x": START["x"] + 2 * STEP["x"]}
    case = matlab_case(dij={"ctGrid": matlab_grid(size, STEP, start)})
    everything = cell(np.arange(1.0, NY * (NX - 2) * NZ + 1)[:, None])
    for row in case["cst"]:
        row[3] = everything
    influence = DoseInfluence.from_matrad(matlab(case), resample=True)
    mask = voxels_over(influence, "zxy", "Body")
    assert not mask[:2].any()
    assert mask[2:].all()
    less = matlab_grid(size, STEP, start)
    del less["x"]
    path = matlab(matlab_case(dij={"ctGrid": less}, cst=case["cst"]), "less.mat")
    with pytest.raises(GridMismatchError, match=r"less\.mat.*coordinates"):
        DoseInfluence.from_matrad(path, resample=True)


def test_structures_that_resampling_loses(matlab):
    size, step, start = fine_grids()
    case = matlab_case(dij={"ctGrid": matlab_grid(size, step, start)})
    for row in case["cst"]:
        row[3] = cell(np.arange(1.0, 2 * NX * NY * NZ + 1)[:, None])
    case["cst"][0, 3] = cell(np.array([[1.0]]))
    # The first CT voxel lies a quarter of a dose voxel beside one; the nearest is the second.
    with pytest.raises(EmptyStructureError, match=r"'Cord'.*structures="):
        DoseInfluence.from_matrad(matlab(case), resample=True)


@pytest.mark.parametrize("name", ["doseGrid", "physicalDose", "beamNum"])
def test_matrad_parts_that_are_missing(name, matlab):
    wanted = "dimensions" if name == "doseGrid" else name
    with pytest.raises(PlanImportError, match=rf"case\.mat: dij\.{wanted} is missing"):
        DoseInfluence.from_matrad(matlab(matlab_case(dij={name: None})))


@pytest.mark.parametrize("name", ["dimensions", "resolution"])
def test_matrad_grids_that_lack_a_part(name, matlab):
    grid = matlab_grid()
    del grid[name]
    with pytest.raises(PlanImportError, match=rf"case\.mat: dij\.doseGrid\.{name} is missing"):
        DoseInfluence.from_matrad(matlab(matlab_case(dij={"doseGrid": grid})))


def grid_with(**changes):
    return {**matlab_grid(), **changes}


@pytest.mark.parametrize(
    ("dij", "message"),
    [
        ({"doseGrid": grid_with(dimensions=np.array([[4.0, 5.0, 4.0]]))}, "coordinates"),
        ({"doseGrid": grid_with(dimensions=np.array([[4.0, 5.5, 3.0]]))}, "dimensions"),
        ({"doseGrid": grid_with(dimensions="large")}, "dimensions"),
        ({"doseGrid": grid_with(resolution={"x": 1.0, "y": 1.0})}, r"resolution\.z is missing"),
        ({"doseGrid": grid_with(resolution={"x": 1.0, "y": 1.0, "z": 0.0})}, "above 0"),
        ({"doseGrid": grid_with(resolution=2.0)}, "no struct"),
        ({"doseGrid": matlab_grid({**SIZE, "z": 2})}, "60 rows.*40 voxels"),
        ({"beamNum": np.array([[1.0, 2.0]])}, "beamNum has 2 values; allowed: 7"),
        ({"totalNumOfBixels": 9.0}, "totalNumOfBixels is 9.*7 columns"),
        ({"totalNumOfBixels": np.array([[1.0, 2.0]])}, "2 values"),
        ({"physicalDose": cell(np.zeros((0, 0)))}, "holds no matrix"),
        ({"physicalDose": cell(np.ones((2, 2, 2)))}, "3 dimension"),
    ],
)
def test_matrad_parts_that_do_not_fit(dij, message, matlab):
    with pytest.raises(PlanImportError, match=rf"case\.mat: dij.*{message}"):
        DoseInfluence.from_matrad(matlab(matlab_case(dij=dij)))


def test_matrad_cst_that_does_not_fit(matlab):
    def fails(error, message, change):
        case = matlab_case()
        case["cst"] = change(case["cst"])
        with pytest.raises(error, match=message):
            DoseInfluence.from_matrad(matlab(case))

    def at(row, column, value):
        def change(cst):
            cst[row, column] = value
            return cst

        return change

    fails(PlanImportError, "no cell array", lambda cst: np.ones((3, 6)))
    fails(PlanImportError, "3 columns", lambda cst: cst[:, :3])
    fails(PlanImportError, r"cst\{1,2\} is no text", at(0, 1, 3.0))
    fails(PlanImportError, "two structures.*'Tumour'", at(0, 1, "Tumour"))
    fails(PlanImportError, r"cst\{1,4\} of 'Cord'", at(0, 3, cell(np.array([[1.5]]))))
    fails(PlanImportError, r"cst\{1,5\}\.Priority has 2", at(0, 4, {"Priority": [1.0, 2.0]}))
    fails(PlanImportError, "0 structures of type TARGET", at(1, 2, "OAR"))
    fails(EmptyStructureError, "'Cord'.*structures=", at(0, 3, cell(np.zeros((0, 1)))))
    for voxel in (0.0, 61.0):
        fails(StructureOutsideGridError, "'Cord'", at(0, 3, cell(np.array([[voxel]]))))


def test_files_that_matlab_did_not_write_so(tmp_path):
    path = tmp_path / "new.mat"
    # The header of an HDF5-based file: text, version 2.0 and the mark of the byte order.
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
    for content in (b"\x89HDF\r\n\x1a\n", b""):
        path.write_bytes(header.ljust(512, b"\x00") + content)
        with pytest.raises(PlanImportError, match=r"new\.mat.*HDF5 form.*damaged"):
            DoseInfluence.from_matrad(path)
    for content in (b"", b"text", bytes(600)):
        path.write_bytes(content)
        with pytest.raises(PlanImportError, match=r"new\.mat"):
            DoseInfluence.from_matrad(path)
    savemat(path, matlab_case())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PlanImportError, match=r"new\.mat"):
        DoseInfluence.from_matrad(path)
    with pytest.raises(FileNotFoundError):
        DoseInfluence.from_matrad(tmp_path / "none.mat")
    savemat(path, {"dij": np.ones(3), "cst": matlab_case()["cst"]})
    with pytest.raises(PlanImportError, match="dij is no struct"):
        DoseInfluence.from_matrad(path)


# pyRadPlan: stand-ins with the public attributes of its classes; arrays over (z, y, x)


@dataclass
class Grid:
    resolution: dict[str, float] = field(default_factory=lambda: dict(STEP))
    dimensions: tuple[int, ...] = (NX, NY, NZ)
    origin: Any = field(default_factory=lambda: np.array([START[name] for name in "xyz"]))
    direction: Any = field(default_factory=lambda: np.eye(3))


@dataclass
class VOI:
    name: str
    voi_type: str
    mask: Any
    overlap_priority: int
    grid: Grid = field(default_factory=Grid)

    @property
    def indices_numpy(self):
        return np.flatnonzero(self.mask.transpose(2, 1, 0))


@dataclass
class Phases:
    """A structure in several phases of the CT, whose plain indices would run over all of them."""

    name: str
    voi_type: str
    masks: Any
    overlap_priority: int
    grid: Grid = field(default_factory=lambda: Grid(dimensions=(NX, NY, NZ, 2)))

    @property
    def num_of_scenarios(self):
        return len(self.masks)

    def scenario_indices(self, scenario=None, order="numpy"):
        assert order == "numpy"
        return np.flatnonzero(self.masks[scenario].transpose(2, 1, 0))


@dataclass
class StructureSet:
    vois: list[Any]


@dataclass
class Dij:
    physical_dose: Any
    dose_grid: Any = field(default_factory=Grid)
    beam_num: Any = field(default_factory=lambda: np.array(BEAMS) - 1.0)


def objects(**changes):
    masks = boxes()
    dose = dose_of_spots().transpose(2, 1, 0, 3).reshape(-1, SPOTS)
    held = np.empty((1, 1, 1), dtype=object)
    held[0, 0, 0] = csc_array(dose)
    vois = [
        VOI("Cord", "OAR", masks["Cord"], 2),
        VOI("Tumour", "TARGET", masks["Tumour"], 1),
        VOI("Body", "EXTERNAL", masks["Body"], 15),
    ]
    return Dij(**{"physical_dose": held, **changes}), StructureSet(vois)


def test_pyradplan_objects():
    dij, cst = objects()
    influence = DoseInfluence.from_pyradplan(dij, cst, prescription=50.0, limits={"Cord": 20.0})
    check(influence, "zyx")
    assert influence.prescription == 50.0
    assert influence.structures["Cord"].limit == 20.0
    assert influence.groups.tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_both_systems_give_the_same_plan(matlab):
    one = DoseInfluence.from_matrad(matlab())
    two = DoseInfluence.from_pyradplan(*objects())
    goal = Objective((Term("Tumour", "deviation", 60.0), Term(REST, "overdose", 20.0)), 1e-2)
    plans = [plan(each, goal, tolerance=1e-14) for each in (one, two)]
    np.testing.assert_allclose(plans[0].weights, plans[1].weights, rtol=1e-6)
    doses = [p.dose.reshape(each.shape) for p, each in zip(plans, (one, two), strict=True)]
    np.testing.assert_allclose(doses[0].transpose(0, 2, 1), doses[1], rtol=1e-6)


def test_pyradplan_scenarios():
    other = csc_array(dose_of_spots(9).transpose(2, 1, 0, 3).reshape(-1, SPOTS))
    dij, cst = objects()
    held = np.empty((1, 3, 1), dtype=object)
    held[0, 0, 0], held[0, 2, 0] = dij.physical_dose[0, 0, 0], other
    dij.physical_dose = held
    check(DoseInfluence.from_pyradplan(dij, cst), "zyx")
    influence = DoseInfluence.from_pyradplan(dij, cst, scenario=1, dtype=np.float64)
    np.testing.assert_array_equal(influence.to_matrix().toarray(), other.toarray())
    with pytest.raises(PlanImportError, match="2 matrices"):
        DoseInfluence.from_pyradplan(dij, cst, scenario=2)


def test_pyradplan_phases_of_the_ct():
    dij, cst = objects()
    masks = boxes()
    cst.vois[0] = Phases("Cord", "OAR", [masks["Cord"], masks["Body"]], 2)
    check(DoseInfluence.from_pyradplan(dij, cst), "zyx")


def test_pyradplan_ct_grid_unlike_the_dose_grid():
    size, step, start = fine_grids()
    ct = Grid(step, tuple(size[name] for name in "xyz"), [start[name] for name in "xyz"])
    dij, cst = objects()
    for voi in cst.vois:
        voi.mask, voi.grid = np.repeat(voi.mask, 2, axis=0), ct
    with pytest.raises(GridMismatchError, match=r"'Cord'.*x: 10.*x: 5.*resample=True"):
        DoseInfluence.from_pyradplan(dij, cst)
    check(DoseInfluence.from_pyradplan(dij, cst, resample=True), "zyx")
    # The same voxels, numbered along y from the other end.
    ct.direction = np.diag([1.0, -1.0, 1.0])
    ct.origin = [ct.origin[0], START["y"] + STEP["y"] * (NY - 1), ct.origin[2]]
    for voi in cst.vois:
        voi.mask = voi.mask[:, ::-1]
    check(DoseInfluence.from_pyradplan(dij, cst, resample=True), "zyx")
    # Of the same size, but elsewhere.
    dij, cst = objects(dose_grid=Grid(origin=np.zeros(3)))
    with pytest.raises(GridMismatchError, match="first voxel"):
        DoseInfluence.from_pyradplan(dij, cst)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"physical_dose": None}, "holds no matrix|has no 'physical_dose'"),
        ({"dose_grid": None}, "has no 'dose_grid'"),
        ({"beam_num": None}, "has no 'beam_num'"),
        ({"beam_num": np.zeros(3)}, "beam_num has 3 values"),
        ({"dose_grid": Grid(dimensions=(NX, NY))}, "2 dimensions"),
        ({"dose_grid": Grid(dimensions=(NX, NY, 2))}, "60 rows.*40 voxels"),
        ({"dose_grid": Grid(resolution={"x": 1.0, "y": 1.0})}, "'z'"),
        ({"dose_grid": Grid(dimensions=None)}, "'dimensions'"),
    ],
)
def test_pyradplan_parts_that_are_missing_or_do_not_fit(changes, message):
    dij, cst = objects(**changes)
    with pytest.raises(PlanImportError, match=message):
        DoseInfluence.from_pyradplan(dij, cst)


def test_pyradplan_structures_that_do_not_fit():
    dij, cst = objects()
    with pytest.raises(PlanImportError, match="cst has no 'vois'"):
        DoseInfluence.from_pyradplan(dij, object())
    cst.vois[0].overlap_priority = None
    with pytest.raises(PlanImportError, match="'Cord' of cst has no 'overlap_priority'"):
        DoseInfluence.from_pyradplan(dij, cst)
    dij, cst = objects()
    cst.vois[1].voi_type = "oar"
    with pytest.raises(PlanImportError, match="0 structures of type TARGET"):
        DoseInfluence.from_pyradplan(dij, cst)
    named = DoseInfluence.from_pyradplan(dij, cst, target="Tumour")
    assert named.structures.target == "Tumour"
    dij, cst = objects()
    cst.vois[0].mask = np.zeros_like(cst.vois[0].mask)
    with pytest.raises(EmptyStructureError, match="'Cord'"):
        DoseInfluence.from_pyradplan(dij, cst)
    check_left = DoseInfluence.from_pyradplan(dij, cst, structures=["Tumour", "Body"])
    assert check_left.structures.names == ("Tumour", "Body")


def test_overlaps_never_stop_an_import():
    # Both systems allow equal priorities; ours asks for an order and gets one.
    dij, cst = objects()
    for voi in cst.vois:
        voi.overlap_priority = 0
    check(DoseInfluence.from_pyradplan(dij, cst), "zyx")


# MATLAB's HDF5 form, as MATLAB writes it: axes reversed, references to cells, fields as members


def write_hdf5(path, variables):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        hidden = file.create_group("#refs#")
        numbers = itertools.count()

        def put(owner, name, value):
            if isinstance(value, dict):
                node = owner.create_group(name)
                node.attrs["MATLAB_class"] = np.bytes_("struct")
                for key, part in value.items():
                    put(node, key, part)
                return
            if issparse(value):
                columns = csc_matrix(value)
                node = owner.create_group(name)
                kind = "logical" if value.dtype == bool else "double"
                node.attrs["MATLAB_class"] = np.bytes_(kind)
                node.attrs["MATLAB_sparse"] = np.uint64(columns.shape[0])
                node["jc"] = columns.indptr.astype(np.uint64)
                if columns.nnz:
                    data = columns.data
                    node["data"] = data.astype(np.uint8 if kind == "logical" else float)
                    node["ir"] = columns.indices.astype(np.uint64)
                return
            if isinstance(value, str):
                codes = np.array([[ord(letter)] for letter in value], np.uint16)
                node = owner.create_dataset(name, data=codes)
                node.attrs["MATLAB_class"] = np.bytes_("char")
                node.attrs["MATLAB_int_decode"] = 2
                return
            array = np.atleast_2d(np.asarray(value))
            if array.size == 0:
                node = owner.create_dataset(name, data=np.array(array.shape, np.uint64))
                node.attrs["MATLAB_empty"] = 1
                node.attrs["MATLAB_class"] = np.bytes_("double")
                return
            if array.dtype == object:
                references = np.empty(array.shape, h5py.ref_dtype)
                for place, one in np.ndenumerate(array):
                    inner = f"c{next(numbers)}"
                    put(hidden, inner, one)
                    references[place] = hidden[inner].ref
                node = owner.create_dataset(name, data=references.T, dtype=h5py.ref_dtype)
                node.attrs["MATLAB_class"] = np.bytes_("cell")
                return
            logical = array.dtype == bool
            node = owner.create_dataset(name, data=array.astype(np.uint8 if logical else float).T)
            node.attrs["MATLAB_class"] = np.bytes_("logical" if logical else "double")

        for name, value in variables.items():
            put(file, name, value)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")


def test_matlab_files_in_hdf5_form(tmp_path):
    path = tmp_path / "large.mat"
    write_hdf5(path, matlab_case())
    influence = DoseInfluence.from_matrad(path, prescription=50.0, limits={"Cord": 20.0})
    check(influence, "zxy")
    # The same in every bit as of the older form.
    older = tmp_path / "small.mat"
    savemat(older, matlab_case())
    other = DoseInfluence.from_matrad(older, limits={})
    for name in ("data", "indices", "indptr", "groups"):
        np.testing.assert_array_equal(getattr(influence, name), getattr(other, name))
    case = matlab_case(dij={"RBE": 1.1, "mAlphaDose": np.zeros((0, 0))})
    case["cst"][0, 3] = cell(boxes()["Cord"].transpose(1, 0, 2))
    write_hdf5(path, case)
    check_units(DoseInfluence.from_matrad(path, limits={}, dtype=np.float64), 1.1)
    whole = case["dij"]
    write_hdf5(path, {"dij": whole})
    with pytest.raises(PlanImportError, match=r"large\.mat: the variable 'cst' is missing"):
        DoseInfluence.from_matrad(path)
    write_hdf5(path, {**case, "dij": {k: v for k, v in whole.items() if k != "beamNum"}})
    with pytest.raises(PlanImportError, match=r"large\.mat: dij\.beamNum is missing"):
        DoseInfluence.from_matrad(path)


def test_hdf5_form_without_h5py_names_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "large.mat"
    write_hdf5(path, matlab_case())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(PlanImportError, match=r"large\.mat.*HDF5.*oncogym\[matlab\]"):
        DoseInfluence.from_matrad(path)


@pytest.mark.parametrize("keep", [520, 2000, 0.5, 0.9])
def test_damaged_files_in_hdf5_form(keep, tmp_path):
    path = tmp_path / "large.mat"
    write_hdf5(path, matlab_case())
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if keep > 1 else int(keep * len(whole))])
    with pytest.raises(PlanImportError, match=r"large\.mat.*(damaged|missing)"):
        DoseInfluence.from_matrad(path)


# Structures as masks, in either system


@pytest.mark.parametrize("kind", [bool, np.uint8, float])
@pytest.mark.parametrize("flat", ["cube", "column", "row", "sparse"])
def test_matrad_masks(kind, flat, matlab):
    case = matlab_case()
    for row, mask in zip(
        case["cst"], (boxes()[n] for n in ("Cord", "Tumour", "Body")), strict=True
    ):
        given = mask.transpose(1, 0, 2).astype(kind)
        if flat != "cube":
            given = given.ravel(order="F")[:, None]
        if flat == "row":
            given = given.T
        row[3] = cell(csc_matrix(given) if flat == "sparse" else given)
    check(DoseInfluence.from_matrad(matlab(case), limits={}), "zxy")


def test_matrad_masks_and_numbers_that_are_neither(matlab):
    cord = boxes()["Cord"]
    turned = cord.transpose(1, 0, 2)
    for given, error, message in (
        (cord.astype(np.uint8), GridMismatchError, r"'Cord' has shape \(5, 4, 3\).*order"),
        (cord.transpose(2, 1, 0), GridMismatchError, "'Cord'.*order"),
        (turned[:, :, :2], GridMismatchError, r"'Cord' has shape \(4, 5, 2\)"),
        (turned.ravel()[:-1], GridMismatchError, r"'Cord' has shape \(59,\)"),
        (2.0 * turned, PlanImportError, "'Cord'.*labels"),
        (np.argwhere(cord) + 1.0, PlanImportError, "'Cord'.*flat list"),
        (np.array([3.0, 4.0, 4.0]), PlanImportError, "'Cord'.*voxel 4 2 times"),
        (np.array([3.0, np.nan]), PlanImportError, "'Cord'"),
        (np.array([3.0 + 1j]), PlanImportError, "'Cord'.*complex"),
        ("3", PlanImportError, "'Cord'.*not numbers"),
    ):
        case = matlab_case()
        case["cst"][0, 3] = cell(given)
        with pytest.raises(error, match=rf"case\.mat: cst\{{1,4\}}.*{message}"):
            DoseInfluence.from_matrad(matlab(case))


def test_pyradplan_voxels_that_are_masks_or_neither():
    dij, cst = objects()
    voi = cst.vois[0]
    mask = voi.mask.transpose(2, 1, 0)

    def with_voxels(given):
        cst.vois[0] = SimpleNamespace(
            name="Cord", voi_type="OAR", indices_numpy=given, overlap_priority=2, grid=voi.grid
        )
        return DoseInfluence.from_pyradplan(dij, cst, limits={})

    for given in (mask, mask.ravel(), mask.astype(np.uint8), np.flatnonzero(mask).tolist()):
        check(with_voxels(given), "zyx")
    for given, error in (
        (voi.mask, GridMismatchError),
        (np.flatnonzero(mask).astype(float), PlanImportError),
        (np.append(np.flatnonzero(mask), np.flatnonzero(mask)[0]), PlanImportError),
        (np.argwhere(mask), PlanImportError),
        ([60], StructureOutsideGridError),
    ):
        with pytest.raises(error, match=r"cst: .*'Cord'"):
            with_voxels(given)
    cst.vois[0] = cst.vois[1]
    with pytest.raises(PlanImportError, match="two structures in cst are called 'Tumour'"):
        DoseInfluence.from_pyradplan(dij, cst)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_imported_matrices_are_checked(value, matlab):
    bad = in_matlab(dose_of_spots())
    bad[3, 2] = value
    with pytest.raises(PlanImportError, match=r"case\.mat: dij\.physicalDose: .*not finite"):
        DoseInfluence.from_matrad(matlab(matlab_case(dij={"physicalDose": cell(csc_matrix(bad))})))
    for matrix in (bad, bad.astype(complex), bad.T):
        with pytest.raises(PlanImportError, match=r"dij\.physical_dose"):
            DoseInfluence.from_pyradplan(*objects(physical_dose=cell(matrix)))
    with pytest.raises(PlanImportError, match="transposed"):
        DoseInfluence.from_pyradplan(*objects(physical_dose=cell(csc_array(bad.T))))


def test_a_matrix_by_itself_counts_as_a_container():
    dij, cst = objects()
    dij.physical_dose = dij.physical_dose[0, 0, 0]
    check(DoseInfluence.from_pyradplan(dij, cst, limits={}), "zyx")


# Positions decide


def turned_grid(direction, size=(NX, NY, NZ), step=(3.0, 2.0, 5.0), origin=(-6.0, 10.0, -5.0)):
    return Grid(dict(zip("xyz", step, strict=True)), tuple(size), np.array(origin), direction)


def world(grid):
    """Positions of the voxels over (z, y, x), one by one from the definition."""
    x, y, z = grid.dimensions[:3]
    steps = np.array([grid.resolution[name] for name in "xyz"])
    found = np.empty((z, y, x, 3))
    for k, j, i in np.ndindex(z, y, x):
        turned = np.asarray(grid.direction).reshape(3, 3) @ (steps * (i, j, k))
        found[k, j, i] = np.asarray(grid.origin)[:3] + turned
    return found.reshape(-1, 3)


def single_structure(ct, doses, voxels, **options):
    held = cell(np.ones((math.ceil(math.prod(doses.dimensions[:3])), 3)))
    dij = Dij(held, doses, np.zeros(3))
    voi = SimpleNamespace(
        name="PTV", voi_type="TARGET", indices_numpy=voxels, overlap_priority=0, grid=ct
    )
    found = DoseInfluence.from_pyradplan(dij, StructureSet([voi]), **options)
    return found.structures["PTV"].voxels.tolist()


def by_positions(ct, doses, voxels):
    """Dose voxels whose nearest CT voxel is one of ``voxels``, by brute force."""
    places = world(ct)
    cosines = np.asarray(ct.direction).reshape(3, 3)
    steps = np.array([ct.resolution[name] for name in "xyz"])
    found = []
    for number, point in enumerate(world(doses)):
        along = cosines.T @ (point - np.asarray(ct.origin)[:3]) / steps
        inside = ((along >= -0.5) & (along < np.array(ct.dimensions[:3]) - 0.5)).all()
        if inside and np.square(places - point).sum(axis=1).argmin() in voxels:
            found.append(number)
    return found


PRONE = np.diag([-1.0, -1.0, 1.0])
FEET_FIRST = np.diag([-1.0, 1.0, -1.0])
LEFT_HANDED = np.diag([1.0, 1.0, -1.0])
SAGITTAL = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def test_orientations_of_a_planning_system():
    voxels = [30, 31, 36, 37, 60, 61, 66, 67]
    step = {"x": 3.0, "y": 3.0, "z": 3.0}
    prone = Grid(step, (6, 5, 4), np.array([15.0, 12.0, 0.0]), PRONE)
    supine = Grid(step, (6, 5, 4), np.array([0.0, 0.0, 0.0]), np.eye(3))
    # What SimpleITK's nearest neighbours give.
    assert single_structure(prone, supine, voxels) == [52, 53, 58, 59, 82, 83, 88, 89]
    away = Grid(step, (6, 5, 4), np.array([24.0, 12.0, 0.0]), PRONE)
    assert single_structure(prone, away, voxels) == [33, 34, 39, 40, 63, 64, 69, 70]
    flat = replace(prone, direction=tuple(PRONE.ravel()), origin=(15.0, 12.0, 0.0))
    assert single_structure(flat, supine, voxels) == [52, 53, 58, 59, 82, 83, 88, 89]


@pytest.mark.parametrize("cosines", [np.eye(3), PRONE, FEET_FIRST, LEFT_HANDED, SAGITTAL])
def test_voxels_that_coincide_need_no_resampling(cosines):
    ct = turned_grid(cosines, step=(3.0, 3.0, 3.0))
    # The same voxels, numbered along the patient's axes.
    places = world(ct)
    size = np.rint((places.max(axis=0) - places.min(axis=0)) / 3.0).astype(int) + 1
    doses = turned_grid(np.eye(3), size, (3.0, 3.0, 3.0), places.min(axis=0))
    voxels = np.random.default_rng(2).choice(NX * NY * NZ, 9, replace=False)
    got = single_structure(ct, doses, voxels)
    expected = [
        int(np.flatnonzero(np.isclose(world(doses), places[v]).all(axis=1))[0]) for v in voxels
    ]
    assert got == sorted(expected)


@pytest.mark.parametrize("seed", range(6))
def test_resampling_takes_the_nearest_voxel_in_space(seed):
    rng = np.random.default_rng(seed)
    oblique = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    other = [PRONE, FEET_FIRST, SAGITTAL, np.eye(3), LEFT_HANDED, oblique][seed]
    ct = turned_grid(oblique, (7, 6, 5), (2.0, 2.5, 3.0), rng.normal(size=3))
    centre = world(ct).mean(axis=0)
    # Coarser, and partly outside of the CT.
    doses = turned_grid(other, (5, 4, 4), (4.0, 3.5, 5.0), (0.0, 0.0, 0.0))
    doses.origin = centre - world(doses).mean(axis=0) + rng.normal(size=3)
    voxels = rng.choice(7 * 6 * 5, 80, replace=False)
    with pytest.raises(GridMismatchError, match=r"'PTV'.*resample=True"):
        single_structure(ct, doses, voxels)
    expected = by_positions(ct, doses, set(voxels.tolist()))
    assert len(expected) > 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PlanningWarning)
        assert single_structure(ct, doses, voxels, resample=True) == expected


def test_structures_beyond_the_dose_grid_are_named():
    ct = turned_grid(np.eye(3))
    # The far half along x is outside.
    small = turned_grid(np.eye(3), (3, NY, NZ))
    voxels = np.arange(NX * NY * NZ)
    with pytest.raises(GridMismatchError, match="'PTV'"):
        single_structure(ct, small, voxels)
    with pytest.warns(PlanningWarning, match="24 of 60 voxels of 'PTV'"):
        assert single_structure(ct, small, voxels, resample=True) == list(range(3 * NY * NZ))
    near = [v for v in voxels.tolist() if v % NX < 3]
    assert single_structure(ct, small, near) == list(range(3 * NY * NZ))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": np.diag([1.0, 1.0, 2.0])}, "direction.*right angles"),
        ({"direction": np.array([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 1]])}, "right angles"),
        ({"direction": np.zeros((3, 3))}, "right angles"),
        ({"direction": np.full((3, 3), np.nan)}, "direction.*not finite"),
        ({"direction": np.eye(2)}, "direction.*4 values"),
        ({"origin": [1.0, 2.0]}, "origin.*2 values"),
        ({"origin": [1.0, 2.0, np.nan]}, "origin.*not finite"),
        ({"dimensions": (5.5, 4, 3)}, "dimensions"), ({"dimensions": (0, 4, 3)}, "dimensions"),
        ({"resolution": {"x": 1.0, "y": -1.0, "z": 1.0}}, "resolution.*above 0"),
    ],
)  # fmt: skip
def test_grids_that_are_none(changes, message):
    good = turned_grid(np.eye(3))
    with pytest.raises(PlanImportError, match=message):
        single_structure(replace(good, **changes), good, [1, 2])
    with pytest.raises(PlanImportError, match=message):
        single_structure(good, replace(good, **changes), [1, 2])


def test_matrad_coordinates_that_fall(matlab):
    # Numbered from the other end along y: the doses' voxels lie the other way round.
    grid = matlab_grid()
    grid["y"] = grid["y"][:, ::-1]
    case = matlab_case(dij={"ctGrid": grid})
    for row, name in zip(case["cst"], ("Cord", "Tumour", "Body"), strict=True):
        mirrored = boxes()[name][:, ::-1]
        row[3] = cell(np.flatnonzero(in_matlab(mirrored))[:, None] + 1.0)
    check(DoseInfluence.from_matrad(matlab(case), limits={}), "zxy")
    grid["y"] = np.array([[10.0, 12.0, 15.0, 16.0]])
    with pytest.raises(PlanImportError, match=r"dij\.ctGrid\.y are no coordinates in steps of 2"):
        DoseInfluence.from_matrad(matlab(case))


@pytest.mark.parametrize("name", ["cubeCoordOrigin", "origin"])
def test_matrad_grids_with_an_origin_only(name, matlab):
    def grid(start):
        found = {k: v for k, v in matlab_grid().items() if k not in "xyz"}
        return {**found, name: np.array([start])}

    start = np.array([START[axis] for axis in "xyz"])
    case = matlab_case(dij={"doseGrid": grid(start), "ctGrid": grid(start)})
    check(DoseInfluence.from_matrad(matlab(case), limits={}), "zxy")
    case["dij"]["ctGrid"] = grid(start + np.array([0.0, 0.0, 1.0]))
    with pytest.raises(GridMismatchError, match="'Cord'"):
        DoseInfluence.from_matrad(matlab(case))
    case["dij"]["ctGrid"] = {**grid(start), "direction": np.diag([1.0, 1.0, 0.5])}
    with pytest.raises(PlanImportError, match="right angles"):
        DoseInfluence.from_matrad(matlab(case))


# What the doses are


def check_units(influence, factor):
    weights = np.random.default_rng(3).uniform(0.0, 2.0, SPOTS)
    dose = influence.dose(weights).reshape(influence.shape).transpose(1, 2, 0)
    np.testing.assert_allclose(dose, factor * (dose_of_spots() @ weights), rtol=1e-12)
    assert influence.unit == ("Gy" if factor == 1.0 else "Gy (RBE)")


def test_a_constant_rbe_is_applied(matlab):
    options = {"limits": {}, "dtype": np.float64}
    path = matlab(matlab_case(dij={"RBE": 1.1}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_units(DoseInfluence.from_matrad(path, **options), 1.1)
        check_units(DoseInfluence.from_matrad(path, quantity="physical", **options), 1.0)
        check_units(DoseInfluence.from_matrad(path, quantity="constant_rbe", **options), 1.1)
        plain = matlab(matlab_case(), "plain.mat")
        check_units(DoseInfluence.from_matrad(plain, **options), 1.0)
        empty = matlab(matlab_case(dij={"RBE": np.zeros((0, 0)), "mAlphaDose": 0.0}), "empty.mat")
        check_units(DoseInfluence.from_matrad(empty, **options), 1.0)
    with pytest.raises(PlanImportError, match=r"plain\.mat: dij has no constant RBE"):
        DoseInfluence.from_matrad(plain, quantity="constant_rbe", **options)
    with pytest.raises(UnknownNameError, match="physical"):
        DoseInfluence.from_matrad(path, quantity="physicl", **options)
    for rbe in (np.nan, 0.0, -1.1, np.array([1.1, 1.2]), "1.1"):
        with pytest.raises(PlanImportError, match=r"case\.mat: dij"):
            DoseInfluence.from_matrad(matlab(matlab_case(dij={"RBE": rbe})), **options)
    dij, cst = objects()
    dij.rbe = 1.1
    found = DoseInfluence.from_pyradplan(dij, cst, **options)
    assert found.unit == "Gy (RBE)"
    np.testing.assert_allclose(
        found.to_matrix().toarray(), 1.1 * dij.physical_dose[0, 0, 0].toarray(), rtol=1e-12
    )


def test_a_variable_rbe_is_said(matlab):
    options = {"limits": {}, "dtype": np.float64}
    matrix = cell(csc_matrix(in_matlab(dose_of_spots(4))))
    models = {"mAlphaDose": matrix, "mSqrtBetaDose": matrix}
    path = matlab(matlab_case(dij=models))
    with pytest.warns(
        PlanningWarning, match=r"case\.mat: dij.*mAlphaDose and mSqrtBetaDose.*in Gy"
    ):
        check_units(DoseInfluence.from_matrad(path, **options), 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_units(DoseInfluence.from_matrad(path, quantity="physical", **options), 1.0)
    both = matlab(matlab_case(dij={**models, "RBE": 1.1}), "both.mat")
    with pytest.raises(PlanImportError, match="which dose is meant"):
        DoseInfluence.from_matrad(both, **options)
    check_units(DoseInfluence.from_matrad(both, quantity="constant_rbe", **options), 1.1)
    dij, cst = objects()
    dij.alpha_dose = dij.sqrt_beta_dose = dij.physical_dose
    with pytest.warns(PlanningWarning, match="alpha_dose and sqrt_beta_dose"):
        assert DoseInfluence.from_pyradplan(dij, cst, **options).unit == "Gy"


# Defaults that are said


def test_an_import_without_limits_names_what_it_does_not_spare(matlab):
    path = matlab()
    for load in (
        lambda **options: DoseInfluence.from_matrad(path, **options),
        lambda **options: DoseInfluence.from_pyradplan(*objects(), **options),
    ):
        with pytest.warns(PlanningWarning, match="'Cord'.*does not spare it"):
            found = load()
        assert found.prescription is None
        with pytest.raises(ValueError, match="no prescription"):
            plan(found)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load(limits={})
            kept = load(limits={"Cord": 20.0}, prescription=50.0)
            assert any(t.structure == "Cord" for t in Objective.standard(kept.structures, 51).terms)
        with pytest.warns(PlanningWarning, match="'Cord'"):
            plan(load(limits={}, prescription=50.0), iterations=2)
