"""The picture of one course or refinement: dose with isodose lines, DVH, progress."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from oncogym.core.arrays import Floats
from oncogym.envs.impt_beam_weighting.anatomies import anatomy, source_digest
from oncogym.envs.impt_beam_weighting.model import simulate
from oncogym.envs.impt_beam_weighting.plan_library import scenario_of
from oncogym.envs.impt_beam_weighting.planning.beams import BeamSet, trace
from oncogym.envs.impt_beam_weighting.planning.dose_statistics import dvh
from oncogym.envs.impt_beam_weighting.planning.influence import DoseInfluence, pencil_beams
from oncogym.envs.impt_beam_weighting.planning.phantom import Phantom
from oncogym.envs.impt_beam_weighting.planning.structures import Structure
from oncogym.envs.outcomes import Map, Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("tab:green", "tab:red", "tab:orange", "tab:purple", "tab:brown", "tab:pink")
_VIEW = 8.0  # cm around the target


def accumulated_dose(task: Any, lane: int) -> tuple[Phantom, Floats]:
    """Phantom of a lane and its accumulated dose ``(voxels,)`` [Gy], computed anew."""
    course = task.course
    number = course.anatomy(lane)
    phantom = anatomy(course.source, number)
    digest = source_digest(course.source)
    weights = course.library(lane).weights
    dose = np.zeros(phantom.num_voxels)
    for multiples, error in zip(*course.given(lane), strict=True):
        influence = _influence(course.source, number, digest, tuple(error))
        dose += influence.dose(multiples @ weights)
    return phantom, dose


# Agents that are compared meet the same errors: the fractions of four patients, some 90 MB.
@lru_cache(maxsize=128)
def _influence(source: str, number: int, digest: str, error: tuple[float, ...]) -> DoseInfluence:
    """What the spots of a plan give under an error of delivery."""
    phantom = anatomy(source, number)
    beams = BeamSet.for_target(phantom)
    geometry = trace(phantom, beams.angles, beams.isocentre)
    return pencil_beams(phantom, beams, scenario_of(error), geometry=geometry)


def traces(task: Any, lane: int) -> list[Trace]:
    """Fractions, D95, largest dose of each organ, dose-volume curves; or cost against decisions."""
    if task.formulation == "published":
        trail = task.refinement.trail(lane)
        steps = np.arange(len(trail), dtype=np.float64)
        return [Trace("cost", "cost", steps, trail, time_label="decision")]
    course = task.course
    library = course.library(lane)
    unit = library.unit
    multiples, errors = course.given(lane)
    after = np.arange(1.0, len(multiples) + 1.0)
    doses = np.zeros((0, library.starts[-1]))
    if len(multiples):
        doses, _ = simulate(library, multiples, errors)
    daily = multiples.sum(axis=1) * library.prescription
    target = doses[:, : library.starts[1]]
    d95 = np.percentile(target, 5.0, axis=1) if len(doses) else np.zeros(0)
    found = [
        Trace("dose", f"dose of the fraction [{unit}]", after, daily, True, time_label="fraction"),
        Trace("d95", f"target D95 [{unit}]", after, d95, limit=library.prescription,
              time_label="fraction", limit_label="prescription"),
    ]  # fmt: skip
    for number, name in enumerate(library.organs):
        own = doses[:, library.starts[number + 1] : library.starts[number + 2]]
        largest = own.max(axis=1) if len(doses) else np.zeros(0)
        limit = float(library.limits[number])
        found.append(
            Trace(f"organ_{number + 1}", f"{name}, largest dose [{unit}]", after, largest,
                  limit=limit if np.isfinite(limit) else None, time_label="fraction")
        )  # fmt: skip
    levels = np.linspace(0.0, 1.2 * library.prescription, 121)
    for number, (name, own) in enumerate(course.voxel_doses(lane).items()):
        share = 100.0 * dvh(own, np.arange(len(own)), levels)
        found.append(
            Trace(f"dvh_{number}", name, levels, share, time_label=_dose_axis(unit),
                  panel="volume [%]")
        )  # fmt: skip
    return found


def maps(task: Any, lane: int) -> list[Map]:
    """The accumulated dose around the target, with the outlines of the structures."""
    if task.formulation == "published" or not task.course.has_phantom:
        return []
    # Comes with Matplotlib, but is not it: a tenth of its time to load.
    from contourpy import contour_generator

    phantom, dose = accumulated_dose(task, lane)
    columns, rows = (np.unique(phantom.points[:, k]) for k in range(2))
    centre = _centre(phantom)
    across = np.flatnonzero(np.abs(columns - centre[0]) <= _VIEW)
    up = np.flatnonzero(np.abs(rows - centre[1]) <= _VIEW)
    seen = np.ix_(up, across)
    outlines: dict[str, list[Floats]] = {}
    for one in phantom.structures:
        drawn = contour_generator(columns[across], rows[up], _mask(phantom, one)[seen])
        is_target = one is phantom.structures[phantom.structures.target]
        name = "target" if is_target else one.name
        outlines[name] = [np.asarray(piece, np.float64) for piece in drawn.lines(0.5)]
    half = [0.5 * size for size in phantom.spacing]
    return [
        Map(
            "dose",
            "accumulated dose [Gy]",
            phantom.map(dose)[seen],
            (
                columns[across[0]] - half[0],
                columns[across[-1]] + half[0],
                rows[up[0]] - half[1],
                rows[up[-1]] + half[1],
            ),
            1.15 * phantom.prescribed,
            {"prescription": phantom.prescribed},
            outlines,
            unit="cm",
        )
    ]


def _centre(phantom: Phantom) -> Floats:
    """Middle of the target [cm], around which a picture is drawn."""
    voxels = phantom.structures[phantom.structures.target].voxels
    return np.asarray(phantom.points[voxels].mean(axis=0), np.float64)


def _mask(phantom: Phantom, structure: Structure) -> Floats:
    """1 within a structure and 0 outside, as an image."""
    mask = np.zeros(phantom.num_voxels)
    mask[structure.voxels] = 1.0
    return phantom.map(mask)


def _dose_axis(unit: str) -> str:
    return f"accumulated dose [{unit}], reached by this volume"


def picture(task: Any, lane: int) -> Figure:
    """Draw one lane now, 640 x 480 pixels: dose, dose-volume histogram, progress."""
    # Not with the module: Matplotlib takes half a second.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
    upper, lower = right, None
    grid = right.get_subplotspec().subgridspec(2, 1)
    right.remove()
    upper, lower = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    if task.formulation == "published":
        _draw_refinement(task, lane, left, upper, lower)
    else:
        _draw_course(task, lane, left, upper, lower)
    figure.suptitle(task.describe(lane).splitlines()[0].split("   ")[0])
    return figure


def _draw_course(task: Any, lane: int, left: Any, upper: Any, lower: Any) -> None:
    course = task.course
    library = course.library(lane)
    if course.has_phantom:
        phantom, dose = accumulated_dose(task, lane)
        draw_dose(left, phantom, dose)
    else:
        left.set_axis_off()
        left.text(0.5, 0.5, "no phantom to draw", ha="center", transform=left.transAxes)
    doses = np.linspace(0.0, 1.2 * library.prescription, 200)
    for (name, own), colour in zip(course.voxel_doses(lane).items(), _COLOURS * 3, strict=False):
        upper.plot(doses, 100.0 * dvh(own, np.arange(len(own)), doses), color=colour, label=name)
    _label_dvh(upper, library.prescription, library.unit)
    shown = _dose_axis(library.unit)
    progress = [t for t in traces(task, lane)[1:] if t.time_label != shown]
    for one, colour in zip(progress, _COLOURS * 3, strict=False):
        lower.plot(one.time, one.values, color=colour, label=one.name)
        if one.limit is not None:
            lower.axhline(one.limit, color=colour, linestyle=":", linewidth=0.8)
    lower.set(xlim=(0, task.num_decisions), ylim=(0.0, 1.2 * library.prescription),
              xlabel="fraction", ylabel=f"D95, largest [{library.unit}]")  # fmt: skip


def _draw_refinement(task: Any, lane: int, left: Any, upper: Any, lower: Any) -> None:
    refinement = task.refinement
    influence = refinement.influence
    dose = influence.dose(refinement.weights(lane))
    structures = influence.structures
    if influence.shape is not None:
        image = dose.reshape(influence.shape)
        target = np.unravel_index(structures[structures.target].voxels, influence.shape)
        for axis in range(image.ndim - 1, 1, -1):
            image = np.take(image, int(np.median(target[axis])), axis=axis)
        drawn = left.imshow(image.T, origin="lower", cmap="inferno", vmin=0.0,
                            vmax=1.2 * influence.prescribed)  # fmt: skip
        left.figure.colorbar(drawn, ax=left, label=f"dose [{influence.unit}]", shrink=0.6)
        left.set_xticks([])
        left.set_yticks([])
    doses = np.linspace(0.0, 1.4 * influence.prescribed, 200)
    for one, colour in zip(structures, _COLOURS * 3, strict=False):
        upper.plot(doses, 100.0 * dvh(dose, one.voxels, doses), color=colour, label=one.name)
    _label_dvh(upper, influence.prescribed, influence.unit)
    trail = refinement.trail(lane)
    lower.semilogy(np.arange(len(trail)), trail, marker=".", color="tab:blue")
    lower.set(xlim=(0, task.num_decisions), xlabel="decision", ylabel="cost")


def _label_dvh(axis: Any, prescription: float, unit: str) -> None:
    axis.axvline(prescription, color="grey", linestyle=":", linewidth=0.8)
    axis.set(ylim=(0.0, 102.0), xlabel=f"dose [{unit}]", ylabel="volume [%]")
    axis.set_xlim(0.0, None)
    axis.legend(fontsize=7, loc="lower left")


def draw_dose(axis: Any, phantom: Phantom, dose: Floats) -> None:
    """Draw a dose with isodose lines at 50, 80, 95 and 107 % and the outlines of structures.

    Args:
        axis: Matplotlib axes.
        phantom: Grid and structures.
        dose: Dose ``(voxels,)`` [Gy].
    """
    image = phantom.map(dose)
    drawn = axis.imshow(image, origin="lower", extent=phantom.extent, cmap="inferno", vmin=0.0,
                        vmax=1.15 * phantom.prescribed)  # fmt: skip
    axis.figure.colorbar(drawn, ax=axis, label="dose [Gy]", shrink=0.6)
    x, y = (np.unique(phantom.points[:, k]) for k in range(2))
    levels = [share * phantom.prescribed for share in (0.5, 0.8, 0.95, 1.07)]
    if dose.max() > levels[0]:
        axis.contour(x, y, image, levels=levels, colors="white", linewidths=0.6)
    for one, colour in zip(phantom.structures, _COLOURS * 3, strict=False):
        axis.contour(x, y, _mask(phantom, one), levels=[0.5], colors=[colour], linewidths=1.2)
    centre = _centre(phantom)
    axis.set(xlim=(centre[0] - _VIEW, centre[0] + _VIEW),
             ylim=(centre[1] - _VIEW, centre[1] + _VIEW),
             xlabel="x [cm]", ylabel="y [cm]")  # fmt: skip
