"""Proton plans that checks, figures and timings share, and files of single plans."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from oncogym.core.arrays import Floats
from oncogym.core.files import CorruptFileError, write_bytes_atomic
from oncogym.envs.impt_beam_weighting import (
    BeamSet,
    DoseInfluence,
    Objective,
    Phantom,
    PublishedModel,
    Term,
    dose_statistics,
    pencil_beams,
    phantom,
    plan,
    scenarios,
)
from oncogym.envs.impt_beam_weighting.planning.static_plans import (
    ROBUST_AIM,
    collapsed,
    equal_weights,
    single_field_uniform,
)
from oncogym.evaluation.reproduce.impt.reference import ABLATION, FIT_B_NORMAL, FITS

#: Iterations of optimised pencil-beam plans; see the note of their checks.
ITERATIONS = 500
#: Relative change of the cost at which fits of the source's model stop, and their limit.
TIGHT = 1e-14
TIGHT_ITERATIONS = 5000
_RIDGE = 1e-6
# Dose of normal tissue that is free [Gy].
_REST = 30.0
_BEAM_ARRAYS = ("angles", "isocentre", "beam_layers", "layer_spots", "reach", "spot_offset")


@dataclass(frozen=True)
class Case:
    """A phantom, its pencil beams and their influence, first nominal, then under errors."""

    phantom: Phantom
    beams: BeamSet
    scenarios: tuple[DoseInfluence, ...]

    @property
    def influence(self) -> DoseInfluence:
        """The nominal influence."""
        return self.scenarios[0]


@lru_cache(maxsize=8)
def case(name: str) -> Case:
    """One of the suite's phantoms with the usual pencil beams and the seven scenarios."""
    anatomy = phantom(name)
    beams = BeamSet.for_target(anatomy)
    return Case(anatomy, beams, tuple(pencil_beams(anatomy, beams, one) for one in scenarios()))


@dataclass(frozen=True)
class Fit:
    """The source's model with some settings, optimised.

    Attributes:
        model: The settings.
        phantom: Its phantom.
        influence: Its influence.
        weights: The optimum ``(beamlets,)``.
        values: Cost and doses by the names of ``FIT_COLUMNS``.
        iterations: Iterations of L-BFGS-B.
        converged: Whether it stopped by itself.
    """

    model: PublishedModel
    phantom: Phantom
    influence: DoseInfluence
    weights: Floats
    values: dict[str, float]
    iterations: int
    converged: bool


@lru_cache(maxsize=16)
def fit(name: str) -> Fit:
    """A fit or ablation of the source's model by its name in the reference tables."""
    _, settings, _ = {**FITS, **ABLATION}[name]
    model = PublishedModel(**settings)
    anatomy = model.phantom()
    objective = model.objective()
    if name == "fit_b":
        # 80 points from 0 to 40 cm, both included, and a sum over normal tissue.
        anatomy = phantom("published", spacing=[40.0 / 79.0] * 2, origin=[0.0, 0.0])
        others = anatomy.num_voxels - sum(len(one.voxels) for one in anatomy.structures)
        model = PublishedModel(**settings, normal_weight=FIT_B_NORMAL * others)
        objective = model.objective()
    influence = model.influence(anatomy)
    found = plan(influence, objective, tolerance=TIGHT, iterations=TIGHT_ITERATIONS)
    numbers = dose_statistics(found.dose, influence)
    parts = dict.fromkeys(("target_term", "normal_term"), 0.0)
    terms = objective.values(found.dose, influence.structures, found.weights)
    for term, value in zip(objective.terms, terms, strict=False):
        if term.structure == influence.structures.target:
            parts["target_term"] += float(value)
        elif term.structure not in influence.structures.oars:
            parts["normal_term"] += float(value)
    values = {
        "J": found.objective,
        "D95": numbers["PTV"]["D95"],
        "mean": numbers["PTV"]["mean"],
        "OAR1": numbers["OAR1"]["max"],
        "OAR2": numbers["OAR2"]["max"],
        "max": float(found.dose.max()),
        **parts,
        "ridge_term": float(terms[-1]),
    }
    return Fit(model, anatomy, influence, found.weights, values, len(found.history),
               found.converged)  # fmt: skip


@lru_cache(maxsize=16)
def pencil_beam_plan(name: str) -> Floats:
    """Weights ``(spots,)`` of a plan of the source's phantom, by its name in the reference table.

    ``equal``, ``layers`` (one weight a layer), ``sfud`` (every beam alone gives a quarter, all
    doses of the penalties being a quarter, too), ``impt_60`` and ``impt_61`` (aims in Gy),
    ``robust_mean`` and ``robust_worst`` (aim 61.5 Gy, seven scenarios).
    """
    found = case("published")
    influence = found.influence

    def aiming(aim: float) -> Objective:
        return Objective.standard(influence.structures, aim, rest_dose=_REST, ridge=_RIDGE)

    if name == "equal":
        return equal_weights(influence)
    if name == "layers":
        whole = plan(collapsed(influence), aiming(60.0), iterations=ITERATIONS, tolerance=0.0)
        return whole.weights[influence.groups]
    if name == "sfud":
        return _single_fields(influence, found.beams)
    if name.startswith("impt_"):
        aim = float(name.removeprefix("impt_"))
        return plan(influence, aiming(aim), iterations=ITERATIONS, tolerance=0.0).weights
    robust = name.removeprefix("robust_")
    aim = influence.prescribed + ROBUST_AIM
    return plan(found.scenarios, aiming(aim), robust=robust, iterations=800, insist=False).weights


def _single_fields(influence: DoseInfluence, beams: BeamSet) -> Floats:
    share = 1.0 / len(beams.angles)
    whole = Objective.standard(influence.structures, 60.0, rest_dose=_REST, ridge=_RIDGE)
    goal = Objective(
        tuple(Term(t.structure, t.kind, share * t.dose, t.weight) for t in whole.terms), _RIDGE
    )
    return single_field_uniform(influence, beams.spot_beam, ITERATIONS, goal=goal, tolerance=0.0)


@lru_cache(maxsize=4)
def c_shape_plan() -> Floats:
    """Weights of the C-shape: the standard penalties, aim 61 Gy, cord limit 1 Gy lower."""
    influence = case("c_shape").influence
    goal = Objective.standard(influence.structures, 61.0, rest_dose=_REST, ridge=_RIDGE)
    # An overdose penalty ends a little above its dose.
    return plan(influence, goal.with_aim("cord", 44.0), iterations=ITERATIONS, insist=False).weights


def worst(found: Case, weights: Floats) -> dict[str, dict[str, float]]:
    """Smallest ``D95`` and ``D98`` and largest ``max`` of each structure over the scenarios."""
    numbers = [dose_statistics(one.dose(weights), one) for one in found.scenarios]
    pick = {"D95": min, "D98": min, "max": max}
    return {
        structure: {key: choose(one[structure][key] for one in numbers)
                    for key, choose in pick.items()}
        for structure in numbers[0]
    }  # fmt: skip


@dataclass(frozen=True)
class SavedPlan:
    """A plan from a file, complete: what it was made for, and its weights."""

    phantom: Phantom
    beams: BeamSet
    weights: Floats
    about: dict[str, Any]

    def influence(self) -> DoseInfluence:
        """The nominal influence, computed again."""
        return pencil_beams(self.phantom, self.beams)


def save_plan(
    path: Path, anatomy: Phantom, beams: BeamSet, weights: ArrayLike, about: Mapping[str, object]
) -> Path:
    """Write a plan with its phantom and beams as one ``.npz``, complete or not at all.

    Args:
        path: The file.
        anatomy: The phantom.
        beams: The pencil beams.
        weights: Weights ``(spots,)``.
        about: What else to know, as plain data.
    """
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "phantom.npz"
        anatomy.save(part)
        inner = np.frombuffer(part.read_bytes(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, weights=np.asarray(weights, np.float64), phantom=inner,
        air_sigma=np.float64(beams.air_sigma), about=np.array(json.dumps(dict(about))),
        **{name: getattr(beams, name) for name in _BEAM_ARRAYS},
    )  # fmt: skip
    return write_bytes_atomic(path, buffer.getvalue())


def load_plan(path: str | Path) -> SavedPlan:
    """Read what :func:`save_plan` wrote.

    Raises:
        CorruptFileError: The file holds no plan; the message names it and the fault.
        FileNotFoundError: There is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as table, tempfile.TemporaryDirectory() as folder:
            inner = Path(folder) / "phantom.npz"
            inner.write_bytes(table["phantom"].tobytes())
            arrays: dict[str, Any] = {name: table[name] for name in _BEAM_ARRAYS}
            beams = BeamSet(**arrays, air_sigma=float(table["air_sigma"]))
            weights = np.asarray(table["weights"], np.float64)
            if weights.shape != (beams.num_spots,):
                raise ValueError(f"{weights.shape} weights for {beams.num_spots} spots")
            return SavedPlan(Phantom.load(inner), beams, weights, json.loads(str(table["about"])))
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise CorruptFileError(f"{path}: no plan: {error}") from error
