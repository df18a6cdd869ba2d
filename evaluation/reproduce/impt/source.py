"""The printed numbers of the proton-planning tutorial, and what was measured around them.

Printed are the final cost, two numbers of the target's dose and the largest dose of two organs.
The source's widths, layers and normalisation are not: several settings meet all five numbers, none
of them round. Fit A is the default of ``PublishedModel``; fit B and an ablation show what the
numbers rest on and why the source misses its own goal. Plans of Bortfeld pencil beams on the same
phantom reach it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from oncogym.envs.impt_beam_weighting import DoseInfluence, dose_statistics, phantom
from oncogym.envs.impt_beam_weighting.planning import bragg
from oncogym.evaluation.reproduce.checks import Arguments, Check, Source, compare, register
from oncogym.evaluation.reproduce.impt import plans as plans
from oncogym.evaluation.reproduce.impt.reference import (
    ABLATION,
    BRAGG,
    EQUAL,
    FIT_COLUMNS,
    FITS,
    PLAN_COLUMNS,
    PLANS,
    PRINTED,
    VOXELS,
)

# Half a unit of the last digit of reference values, with room for their own rounding.
_FOURTH = 0.6e-4
_NO_IDENTITY = (
    "the source prints neither its widths nor where its distal factor sets in nor how it "
    "normalises sums, and no round numbers give its results: its exact settings are not "
    "identifiable"
)
_LABELS = {
    "J": "cost", "D95": "target D95 [Gy]", "mean": "target mean [Gy]",
    "OAR1": "OAR1 max [Gy]", "OAR2": "OAR2 max [Gy]", "max": "max [Gy]",
    "target_term": "target part of the cost", "normal_term": "normal-tissue part of the cost",
    "ridge_term": "ridge part of the cost", "D2": "target D2 [Gy]", "CI": "conformity index",
    "OAR1_max": "OAR1 max [Gy]", "normal_mean": "normal tissue, mean [Gy]",
    "worst_D95": "worst D95 of seven scenarios [Gy]",
}  # fmt: skip


def checks(seed: int) -> list[Check]:
    """All checks; nothing here is random."""
    parts: list[Callable[[], list[Check]]] = [
        _voxels,
        _printed,
        *[partial(_fit, name) for name in FITS],
        *[partial(_ablation, name) for name in ABLATION],
        _bragg,
        _equal,
        *[partial(_optimised, name) for name in PLANS],
        _goals,
        _robust_goal,
        _c_shape_goal,
    ]
    found: list[Check] = []
    with tqdm(parts, desc="impt", unit="part", file=sys.stderr, disable=None) as bar:
        for part in bar:
            found += part()
    return found


def _voxels() -> list[Check]:
    grids: dict[str, tuple[str, dict[str, object]]] = {
        "centre": ("centres at half steps", {}),
        "corner": ("voxels at whole steps", {"origin": [0.0, 0.0]}),
        "edge": ("80 points from 0 to 40 cm", {"spacing": [40.0 / 79.0] * 2, "origin": [0.0, 0.0]}),
    }
    found = []
    for grid, (label, changes) in grids.items():
        anatomy = phantom("published", **changes)
        for one, expected in zip(anatomy.structures, VOXELS[grid], strict=True):
            note = "not printed; counted from the printed shapes, edges included"
            found.append(compare(f"voxels_{grid}_{one.name}", f"{label}: voxels of {one.name}",
                                 expected, len(one.voxels), 0.0, note))  # fmt: skip
    return found


def _printed() -> list[Check]:
    """Both fits beside the five printed numbers."""
    found = []
    for name, (label, _, _) in FITS.items():
        fit = plans.fit(name)
        number = "three" if name == "fit_a" else "four"
        note = (
            f"printed; {label} has {number} numbers fitted to the five, whose cost it meets within "
            f"2 and whose doses within 0.15 Gy; {_NO_IDENTITY}"
        )
        for key, value in PRINTED.items():
            tolerance = 2.0 if key == "J" else 0.15
            ours = fit.values[key]
            found.append(compare(f"{name}_printed_{key}", f"{label}: {_LABELS[key]}", value, ours,
                                 tolerance, note, valid=fit.converged))  # fmt: skip
    return found


def _stopped(fit: plans.Fit) -> str:
    return (
        f"L-BFGS-B to a relative change of {plans.TIGHT:g}: "
        f"{'converged' if fit.converged else 'not converged'} after {fit.iterations} iterations"
    )


def _fit(name: str) -> list[Check]:
    label, _, expected = FITS[name]
    fit = plans.fit(name)
    # At an optimum the parts of the cost move by the root of what the cost itself does.
    note = f"not printed; an independent prototype's value; {_stopped(fit)}"
    found = []
    for key, value in zip(FIT_COLUMNS, expected, strict=True):
        tolerance = 1e-3 if key.endswith("_term") else _FOURTH
        found.append(compare(f"{name}_{key}", f"{label}, to its digits: {_LABELS[key]}", value,
                             fit.values[key], tolerance, note, valid=fit.converged))  # fmt: skip
    return found


def _ablation(name: str) -> list[Check]:
    label, _, expected = ABLATION[name]
    fit = plans.fit(name)
    reference = dict(zip(FIT_COLUMNS, expected, strict=True))
    note = (
        f"not printed; fit A with this change; an independent prototype's value; {_stopped(fit)}; "
        "the prototype's own stop leaves 0.05 % of the cost open"
    )
    found = [
        compare(f"{name}_J", f"{label}: {_LABELS['J']}", reference["J"], fit.values["J"],
                5e-4 * reference["J"], note, valid=fit.converged)
    ]  # fmt: skip
    for key in ("D95", "mean", "OAR1", "max"):
        found.append(compare(f"{name}_{key}", f"{label}: {_LABELS[key]}", reference[key],
                             fit.values[key], 0.1, note, valid=fit.converged))  # fmt: skip
    return found


def _bragg() -> list[Check]:
    note = (
        "not printed; an independent prototype's table, depths on steps of 0.05 cm; the ratio "
        "depends on where a step meets the peak"
    )
    quantities = (
        ("range", "range [cm]", _FOURTH),
        ("peak", "depth of the peak [cm]", 1e-6),
        ("ratio", "peak over entrance", 2e-3),
        ("d80", "distal depth of 80 % [cm]", 1e-6),
        ("fall", "fall from 80 to 20 % [cm]", 1e-6),
        ("scatter", "scatter at the range [cm]", _FOURTH),
    )
    found = []
    for energy, expected in BRAGG.items():
        obtained = bragg_numbers(energy)
        for (key, label, tolerance), value, ours in zip(
            quantities, expected, obtained, strict=True
        ):
            found.append(compare(f"bragg_{energy:g}_{key}", f"{energy:g} MeV: {label}", value,
                                 ours, tolerance, note))  # fmt: skip
    return found


def bragg_numbers(energy: float) -> tuple[float, ...]:
    """A row of the reference's table of pencil beams for protons of ``energy`` [MeV]."""
    reach = float(bragg.range_of(energy))
    depth, dose = bragg.depth_dose(reach)
    end80, end20 = depth[dose >= 0.8][-1], depth[dose >= 0.2][-1]
    scatter = bragg.scattering(reach, np.array([reach]))[0]
    return (
        reach, float(depth[dose.argmax()]), float(dose.max() / dose[0]), float(end80),
        float(end20 - end80), float(scatter),
    )  # fmt: skip


def _numbers(weights: np.ndarray) -> dict[str, float]:
    """Numbers of a plan of the source's phantom by the names of the reference tables."""
    case = plans.case("published")
    found = dose_statistics(case.influence.dose(weights), case.influence)
    worst = plans.worst(case, weights)
    rest = found["normal tissue"]
    return {
        **found["PTV"],
        "OAR1_max": found["OAR1"]["max"],
        "OAR1_mean": found["OAR1"]["mean"],
        "OAR2_max": found["OAR2"]["max"],
        "OAR2_mean": found["OAR2"]["mean"],
        "normal_mean": rest["mean"],
        "normal_max": rest["max"],
        "worst_D95": worst["PTV"]["D95"],
        "worst_D98": worst["PTV"]["D98"],
        "worst_OAR1": worst["OAR1"]["max"],
    }


def _equal() -> list[Check]:
    case = plans.case("published")
    obtained = _numbers(plans.pencil_beam_plan("equal"))
    note = (
        "not printed; equal weights of the pencil beams, mean target dose 60 Gy; an independent "
        "prototype's values, its tables interpolated in another way: within 5e-5 of each dose"
    )
    found = [
        compare("spots", "spots on the source's phantom", 312, case.beams.num_spots, 0.0, note)
    ]
    for key, value in EQUAL.items():
        tolerance = max(1e-3, 1e-4 * abs(value))
        if key.startswith("V"):
            tolerance = 1e-6
        found.append(compare(f"equal_{key}", f"equal weights: {key}", value, obtained[key],
                             tolerance, note))  # fmt: skip
    return found


_PLAN_LABELS = {
    "layers": "one weight a layer",
    "sfud": "single-field uniform dose",
    "impt_60": "IMPT, aim 60",
    "impt_61": "IMPT, aim 61",
    "robust_mean": "robust (mean), aim 61.5",
}
# What an optimum leaves open, by the columns of the table: doses of the target move by less than
# 0.15 Gy between 200 and 3000 iterations of ours, the others by as much as this.
_OPEN = (0.05, 0.15, 0.05, 0.05, 2.0, 0.15, 2.5)
# The prototype's robust cost is not stated beyond "mean of the scenarios"; ours converges, and
# costs with normal tissue in some scenarios only end within these differences.
_OPEN_ROBUST = (0.05, 0.25, 0.1, 0.05, 1.0, 0.1, 0.25)


def _optimised(name: str) -> list[Check]:
    label = _PLAN_LABELS[name]
    obtained = _numbers(plans.pencil_beam_plan(name))
    if name == "robust_mean":
        note = (
            "not printed; an independent prototype after 250 iterations; its cost is stated as the "
            "mean of seven scenarios and no closer: tolerances are the differences between such "
            "costs"
        )
        tolerances = _OPEN_ROBUST
    else:
        note = (
            "not printed; an independent prototype's plan. The cost is flat round its optimum: "
            "tolerances are what changes between 200 and 3000 iterations of ours (here "
            f"{plans.ITERATIONS}); scenarios are no part of this cost, so their worst is left open "
            "most"
        )
        tolerances = _OPEN
    kept = _limits_kept(obtained)
    found = []
    for key, value, tolerance in zip(PLAN_COLUMNS, PLANS[name], tolerances, strict=True):
        found.append(compare(f"{name}_{key}", f"{label}: {_LABELS[key]}", value, obtained[key],
                             tolerance, note, valid=kept))  # fmt: skip
    return found


def _limits_kept(numbers: Mapping[str, float]) -> bool:
    return numbers["OAR1_max"] <= 45.0 and numbers["OAR2_max"] <= 54.0


def _at_least(id: str, label: str, goal: float, obtained: float, note: str) -> Check:
    """A goal that holds when it is reached or passed."""
    return Check(id, label, goal, float(obtained), 0.0, bool(obtained >= goal), note)


def _at_most(id: str, label: str, goal: float, obtained: float, note: str) -> Check:
    return Check(id, label, goal, float(obtained), 0.0, bool(obtained <= goal), note)


def _goals() -> list[Check]:
    """The source's goals, met by a plan of pencil beams on its phantom."""
    obtained = _numbers(plans.pencil_beam_plan("impt_61"))
    note = (
        "the source's goal, which it misses by 13 Gy; IMPT with an aim of 61 Gy, "
        f"{plans.ITERATIONS} iterations; holds when reached or passed"
    )
    return [
        _at_least("goal_D95", "IMPT: target D95 [Gy], at least", 60.0, obtained["D95"], note),
        _at_most("goal_D2", "IMPT: target D2 [Gy], at most", 63.0, obtained["D2"], note),
        _at_most("goal_OAR1", "IMPT: OAR1 max [Gy], at most", 45.0, obtained["OAR1_max"], note),
        _at_most("goal_OAR2", "IMPT: OAR2 max [Gy], at most", 54.0, obtained["OAR2_max"], note),
    ]


def _robust_goal() -> list[Check]:
    obtained = _numbers(plans.pencil_beam_plan("robust_worst"))
    note = (
        "none, shifts of 0.3 cm along either axis, range errors of 3 %; worst of the scenarios, "
        f"aim 61.5 Gy; nominal D95 {obtained['D95']:.2f}, D2 {obtained['D2']:.2f} Gy"
    )
    worst = plans.worst(plans.case("published"), plans.pencil_beam_plan("robust_worst"))
    return [
        _at_least("goal_robust_D95", "robust: worst D95 of seven scenarios [Gy], at least", 60.0,
                  obtained["worst_D95"], note),
        _at_most("goal_robust_OAR1", "robust: worst OAR1 max [Gy], at most", 45.0,
                 worst["OAR1"]["max"], note),
        _at_most("goal_robust_OAR2", "robust: worst OAR2 max [Gy], at most", 54.0,
                 worst["OAR2"]["max"], note),
    ]  # fmt: skip


def _c_shape_goal() -> list[Check]:
    influence: DoseInfluence = plans.case("c_shape").influence
    obtained = dose_statistics(influence.dose(plans.c_shape_plan()), influence)
    note = (
        "a target of 60 Gy round three sides of a cord, after the AAPM's task group 119; aim 61 "
        f"Gy, cord penalised above 44 Gy; target D2 {obtained['PTV']['D2']:.2f} Gy"
    )
    return [
        _at_least("goal_c_shape_D95", "C-shape: target D95 [Gy], at least", 57.0,
                  obtained["PTV"]["D95"], note),
        _at_most("goal_c_shape_cord", "C-shape: cord max [Gy], at most", 45.0,
                 obtained["cord"]["max"], note),
    ]  # fmt: skip


def figures(folder: Path, seed: int, saved: tuple[Path, ...] = ()) -> list[Path]:
    """The source's six panels for two plans, DVH bands and trade-off fronts, as PNG files.

    ``saved`` are files of single plans whose six panels are drawn as well.

    Args:
        folder: Where they are written.
        seed: Ignored: nothing is drawn at random.
        saved: Files of single plans.
    """
    from oncogym.evaluation.reproduce.impt.figures import save_figures

    return save_figures(folder, saved)


#: Names of the figures that are drawn without being asked for a plan of one's own.
FIGURES = ("source_fit_a", "robust_plan", "dvh_bands", "trade_off")


def arguments(parser: Arguments) -> None:
    """Options of this source alone."""
    parser.add_argument(
        "--plan",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="with --figures: draw the six panels of this plan, too, a .npz file of a trade-off "
        "front; repeatable",
    )


def configured(options: Mapping[str, Any], folder: Path | None) -> Source:
    """The source with these options.

    Raises:
        CorruptFileError: A file holds no plan; the message names it.
        FileNotFoundError: There is no such file.
        ValueError: Two files have the same name, and so would their figures.
    """
    saved = tuple(options["plan"])
    for number, path in enumerate(saved):
        if path.stem in {*FIGURES, *(other.stem for other in saved[:number])}:
            raise ValueError(f"{path} would be drawn as {path.stem}.png, as another figure is")
        plans.load_plan(path)  # refuses what is no plan before anything is computed
    return replace(SOURCE, figures=partial(figures, saved=saved))


SOURCE = Source(
    "impt", "IMPT tutorial, 40 beamlets on a 2-D phantom", checks, figures, arguments=arguments,
    configured=configured, figure_options=("plan",),
)  # fmt: skip
register(SOURCE)
