"""Plan libraries: static plans of one anatomy, and their doses under every error of delivery.

An environment never touches an influence matrix: what a plan of the library does to the voxels of
target and organs is tabulated on a lattice of residual shifts and range errors once, and
interpolated linearly during treatment. So the environment works alike for beams of our own and for
anybody's matrix, in any dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray

from oncogym.core.arrays import Floats
from oncogym.envs.impt_beam_weighting import plan_library_kernels as library_kernels
from oncogym.envs.impt_beam_weighting.anatomies import anatomy, source_digest
from oncogym.envs.impt_beam_weighting.planning import beams as pencil
from oncogym.envs.impt_beam_weighting.planning import bragg
from oncogym.envs.impt_beam_weighting.planning.archive import file_digest
from oncogym.envs.impt_beam_weighting.planning.beams import BeamSet
from oncogym.envs.impt_beam_weighting.planning.checks import real_array
from oncogym.envs.impt_beam_weighting.planning.influence import (
    CUT,
    DoseInfluence,
    Scenario,
    pencil_beams,
    scenarios,
    stacked_tables,
)
from oncogym.envs.impt_beam_weighting.planning.objective import Objective
from oncogym.envs.impt_beam_weighting.planning.phantom import Phantom
from oncogym.envs.impt_beam_weighting.planning.planner import standard_goal
from oncogym.envs.impt_beam_weighting.planning.static_plans import (
    NOMINAL_AIM,
    ROBUST_AIM,
    equal_weights,
    nominal_plan,
    robust_plan,
    single_field_uniform,
)
from oncogym.envs.impt_beam_weighting.planning.structures import REST, StructureSet
from oncogym.envs.impt_beam_weighting.planning.units import GRAY
from oncogym.envs.threads import choose

#: Plans of a library, in the order of the shares of an action.
PLANS = ("robust", "nominal", "single_field", "equal")
#: Largest residual shift [cm] and range error of the lattice; larger ones count as these.
LARGEST_SHIFT = 1.25
LARGEST_RANGE = 0.10
# Steps of the lattice for doses of voxels, and for the smooth mean dose of normal tissue.
_FINE = (0.25, 0.01)
_COARSE = (0.625, 0.05)
# Organs are planned so far below their limits, for what the fractions add at random [Gy of a
# prescription of 60 Gy].
_RESERVE = 1.0
_ROBUST_ITERATIONS = 250


@dataclass(frozen=True)
class PlanLibrary:
    """Plans and their doses on a lattice of errors.

    Attributes:
        weights: Spot weights of each plan ``(plans, spots)``.
        plans: Names of the plans.
        doses: Dose of a whole course [Gy] in the voxels of interest, float32
            ``(scenarios, plans, voxels)``: first the target, then each organ at risk.
        normal: Mean dose of normal tissue [Gy] ``(coarse scenarios, plans)``.
        fine, coarse: The lattices: for each axis its smallest value, step and number of points
            ``(axes, 3)``; scenarios in C order. Shifts along each axis [cm], then the range error.
        starts: First voxel of the target, of each organ, and the number of voxels.
        limits: Limit of each organ [Gy], infinite where it has none.
        organs: Names of the organs.
        prescription: Prescribed dose.
        unit: Unit of all doses.
    """

    weights: Floats
    plans: tuple[str, ...]
    doses: NDArray[np.float32]
    normal: Floats
    fine: Floats
    coarse: Floats
    starts: NDArray[np.int64]
    limits: Floats
    organs: tuple[str, ...]
    prescription: float
    unit: str = GRAY

    @property
    def shift_axes(self) -> int:
        """Number of axes along which the patient can be displaced."""
        return len(self.fine) - 1


def phantom_library(source: str, number: int = 0) -> PlanLibrary:
    """The library of an anatomy, see :func:`anatomy`; kept in memory once made (about a second)."""
    return _phantom_library(source, number, source_digest(source))


def influence_library(path: str) -> PlanLibrary:
    """The library of a user's influence matrix in a file of :meth:`DoseInfluence.save`."""
    return _influence_library(path, file_digest(path))


@lru_cache(maxsize=160)
def _phantom_library(source: str, number: int, digest: str) -> PlanLibrary:
    return library_of_phantom(anatomy(source, number))


@lru_cache(maxsize=4)
def _influence_library(path: str, digest: str) -> PlanLibrary:
    return library_of_influence(DoseInfluence.load(Path(path)))


def model_digest(source: str, influence: str | None) -> str:
    """Digest of the file that a model is made of, or nothing without one.

    Raises:
        FileNotFoundError: There is no such file.
    """
    return source_digest(source) if influence is None else file_digest(influence)


def check_same(source: str, influence: str | None, digest: str) -> None:
    """Raise an error if the file of a model is no longer the one of this digest.

    Args:
        source: Name of the phantom.
        influence: Dose-influence file, if the model has one.
        digest: Digest with which the file was read.

    Raises:
        ValueError: It has changed.
        FileNotFoundError: There is no such file.
    """
    if model_digest(source, influence) != digest:
        raise ValueError(
            f"{influence or source} has changed since the environment was made; allowed: the same "
            "file"
        )


def library_of_phantom(phantom: Phantom, beams: BeamSet | None = None) -> PlanLibrary:
    """Plans of a phantom: robust over seven scenarios, nominal, single-field uniform, equal."""
    beams = beams or BeamSet.for_target(phantom)
    geometry = pencil.trace(phantom, beams.angles, beams.isocentre)
    found = [pencil_beams(phantom, beams, one, geometry=geometry) for one in scenarios()]
    weights = np.stack(
        [
            _robust(found),
            nominal_weights(found[0]),
            single_field_uniform(found[0], beams.spot_beam),
            equal_weights(found[0]),
        ]
    )
    units = pencil.directions(beams.angles)
    sideways = np.stack([-units[:, 1], units[:, 0]], axis=1)

    def doses(voxels: NDArray[np.int64], lattice: Floats, average: bool) -> Floats:
        shifts, factors = lattice_points(lattice[:2]), 1.0 + lattice_points(lattice[2:])[:, 0]
        size = 1 if average else len(voxels)
        out = np.empty((len(shifts), len(factors), len(weights), size))
        choose(library_kernels.plan_doses, library_kernels.plan_doses_parallel)(
            np.ascontiguousarray(geometry.depths[:, voxels]),
            np.ascontiguousarray(geometry.offsets[:, voxels]),
            sideways, shifts, factors, beams.beam_layers, beams.layer_spots, beams.reach,
            beams.spot_offset, stacked_tables(beams.reach), bragg.TABLE_STEP, beams.air_sigma, CUT,
            weights, average, out,
        )  # fmt: skip
        return out.reshape(-1, len(weights), size)

    fine, coarse = _lattice(2, _FINE), _lattice(2, _COARSE)
    voxels, starts = _voxels(phantom.structures)
    rest = phantom.structures.exclusive(REST)
    return PlanLibrary(
        weights, PLANS, doses(voxels, fine, False).astype(np.float32),
        doses(rest, coarse, True)[:, :, 0], fine, coarse, starts,
        *_organs(phantom.structures), phantom.prescribed, GRAY,
    )  # fmt: skip


def library_of_influence(influence: DoseInfluence) -> PlanLibrary:
    """Plans of a user's own matrix: robust over shifts, nominal, equal.

    A shift moves the voxels through an unchanged dose cloud, interpolated linearly on the grid; a
    matrix without a grid has none. What a range error does cannot be known from one matrix, so
    there is none either.
    """
    axes = len(influence.shape) if influence.shape and influence.spacing else 0
    moved = [influence]
    if axes:
        moved = [shifted(influence, one.shift) for one in scenarios(axes=axes)[: 1 + 2 * axes]]
    weights = np.stack([_robust(moved), nominal_weights(influence), equal_weights(influence)])
    clouds = influence.dose(weights)
    voxels, starts = _voxels(influence.structures)
    rest = influence.structures.exclusive(REST)
    # Five points along each axis: a lattice of a finer step would be large in 3-D.
    fine = _lattice(axes, (0.5 * LARGEST_SHIFT, LARGEST_RANGE))
    fine[-1] = (0.0, 1.0, 1)
    points = lattice_points(fine)
    doses = np.empty((len(points), len(weights), len(voxels)), np.float32)
    for number, point in enumerate(points):
        doses[number] = (_mover(influence, point[:-1], voxels) @ clouds.T).T
    coarse = np.array([[0.0, 1.0, 1.0]] * (axes + 1))
    normal = clouds[:, rest].mean(axis=1)[None] if len(rest) else np.zeros((1, len(weights)))
    names = (PLANS[0], PLANS[1], PLANS[3])
    return PlanLibrary(
        weights, names, doses, normal, fine, coarse, starts,
        *_organs(influence.structures), influence.prescribed, influence.unit,
    )  # fmt: skip


def shifted(influence: DoseInfluence, shift: Sequence[float]) -> DoseInfluence:
    """The influence on a displaced patient: rows interpolated from their neighbours.

    Args:
        influence: An influence on a grid.
        shift: Displacement along each axis [cm].

    Raises:
        ValueError: There is no grid, or the shift is no displacement on it.
    """
    if influence.shape is None or influence.spacing is None:
        raise ValueError("the influence has no grid; allowed: one with shape and spacing")
    moved = real_array(shift, "shift")
    if moved.shape != (len(influence.shape),):
        raise ValueError(f"shift is {shift!r}; allowed: one number for each of "
                         f"{len(influence.shape)} axes [cm]")  # fmt: skip
    mover = _mover(influence, moved, np.arange(influence.num_voxels))
    return DoseInfluence.from_matrix(
        scipy.sparse.csr_matrix(mover @ influence.to_matrix()), influence.structures,
        prescription=influence.prescription, groups=influence.groups, shape=influence.shape,
        spacing=influence.spacing, unit=influence.unit, dtype=influence.data.dtype,
    )  # fmt: skip


def _mover(
    influence: DoseInfluence, shift: Floats, voxels: NDArray[np.int64]
) -> scipy.sparse.csr_matrix:
    """Interpolation ``(len(voxels), voxels)`` to the places of ``voxels`` after a shift."""
    shape = influence.shape or (influence.num_voxels,)
    count = len(voxels)
    rows, columns, values = [], [], []
    if not len(shift):
        return scipy.sparse.csr_matrix((np.ones(count), (np.arange(count), voxels)),
                          (count, influence.num_voxels))  # fmt: skip
    assert influence.spacing is not None
    place = np.stack(np.unravel_index(voxels, shape), axis=1) + shift / np.array(influence.spacing)
    low = np.floor(place + 1e-12).astype(np.int64)
    share = place - low
    for corner in product((0, 1), repeat=len(shape)):
        step = np.array(corner)
        weight = np.where(step, share, 1.0 - share).prod(axis=1)
        at = low + step
        inside = ((at >= 0) & (at < np.array(shape))).all(axis=1) & (weight > 1e-12)
        rows.append(np.flatnonzero(inside))
        columns.append(np.ravel_multi_index(tuple(at[inside].T), shape))
        values.append(weight[inside])
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return scipy.sparse.csr_matrix(entries, (count, influence.num_voxels))


def lattice_points(lattice: Floats) -> Floats:
    """All points of a lattice ``(points, axes)``, in C order."""
    axes = [low + step * np.arange(int(count)) for low, step, count in lattice]
    return np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)


def _lattice(shift_axes: int, steps: tuple[float, float]) -> Floats:
    ends = [(LARGEST_SHIFT, steps[0])] * shift_axes + [(LARGEST_RANGE, steps[1])]
    return np.array([(-end, step, round(2.0 * end / step) + 1) for end, step in ends])


def _voxels(structures: StructureSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Voxels of the target and of each organ one after another, and where each begins."""
    parts = [structures[structures.target].voxels]
    parts += [structures[name].voxels for name in structures.oars]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    return np.concatenate(parts), starts


def _organs(structures: StructureSet) -> tuple[Floats, tuple[str, ...]]:
    limits = [structures[name].limit for name in structures.oars]
    known = [np.inf if limit is None else float(limit) for limit in limits]
    return np.array(known, np.float64), structures.oars


def _goal(influence: DoseInfluence, above: float) -> Objective:
    """The standard objective with organs kept a little below their limits."""
    found = standard_goal(influence, above)
    reserve = _RESERVE * influence.prescribed / 60.0
    terms = tuple(
        replace(term, dose=max(term.dose - reserve, 0.0))
        if term.structure in influence.structures.oars
        else term
        for term in found.terms
    )
    return replace(found, terms=terms)


def _robust(found: Sequence[DoseInfluence]) -> Floats:
    goal = _goal(found[0], ROBUST_AIM)
    return robust_plan(found, robust="mean", iterations=_ROBUST_ITERATIONS, goal=goal)


def nominal_weights(influence: DoseInfluence, start: Floats | None = None) -> Floats:
    """The nominal plan of a library for one influence ``(spots,)``, optionally from a start."""
    return nominal_plan(influence, goal=_goal(influence, NOMINAL_AIM), start=start)


def scenario_of(error: Sequence[float]) -> Scenario:
    """The scenario of a point of a lattice: shifts [cm], then the relative range error."""
    return Scenario(tuple(map(float, error[:-1])), 1.0 + float(error[-1]))
