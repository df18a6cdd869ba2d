"""Dose-volume histograms of any doses on any structures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from oncogym.core.checks import whole_number
from oncogym.envs.impt_beam_weighting.planning.complications import complications
from oncogym.envs.impt_beam_weighting.planning.dose_statistics import dvh
from oncogym.envs.impt_beam_weighting.planning.influence import DoseInfluence
from oncogym.envs.impt_beam_weighting.planning.phantom import Phantom
from oncogym.envs.impt_beam_weighting.planning.quantity import GRAY
from oncogym.envs.impt_beam_weighting.planning.structures import StructureSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", ":", "-.")
_POINTS = 400


def plot_dvh(
    doses: Mapping[str, ArrayLike],
    anatomy: DoseInfluence | StructureSet | Phantom,
    fractions: int | None = None,
) -> Figure:
    """Draw dose-volume histograms: a colour a structure, a line style a plan, limits as lines.

    Args:
        doses: Dose ``(voxels,)`` of each plan by its label, one to four plans.
        anatomy: The structures; of an influence matrix or a phantom also prescription and unit.
        fractions: Number of equal fractions, if the legend is to have the complication probability
            of the organs whose parameters the suite has, see :func:`.complications`.

    Returns:
        A Matplotlib figure, ``figure.savefig("dvh.png")``.

    Raises:
        ValueError: There are no or more than four plans, no fraction, or a dose is negative, not
            finite, or of another number of voxels than the structures' grid.
    """
    from matplotlib.figure import Figure

    if not 1 <= len(doses) <= len(_STYLES):
        raise ValueError(f"{len(doses)} plans; allowed: 1 to {len(_STYLES)}")
    structures = anatomy if isinstance(anatomy, StructureSet) else anatomy.structures
    for label, dose in doses.items():
        if np.shape(dose) != (structures.num_voxels,):
            raise ValueError(
                f"the dose of {label!r} has shape {np.shape(dose)}; allowed: "
                f"({structures.num_voxels},)"
            )
    risks: dict[str, dict[str, float]] = {label: {} for label in doses}
    if fractions is not None:
        count = whole_number("fractions", fractions, 1, 1000)
        for label, dose in doses.items():
            share = np.asarray(dose, np.float64) / count
            risks[label] = complications(np.broadcast_to(share, (count, share.size)), anatomy)
    prescription = None if isinstance(anatomy, StructureSet) else anatomy.prescription
    unit = anatomy.unit if isinstance(anatomy, DoseInfluence) else GRAY
    levels = np.linspace(0.0, 1.05 * max(float(np.max(dose)) for dose in doses.values()), _POINTS)
    figure = Figure(figsize=(7.0, 4.6), dpi=100, layout="constrained")
    axis = figure.subplots()
    shown = [one for one in structures if one.role != "body"]
    for number, one in enumerate(shown):
        colour = _COLOURS[number % len(_COLOURS)]
        for style, (label, dose) in zip(_STYLES, doses.items(), strict=False):
            name = one.name if len(doses) == 1 else f"{one.name}, {label}"
            if one.name in risks[label]:
                name += f": NTCP {100.0 * risks[label][one.name]:.2g} %"
            axis.plot(levels, 100.0 * dvh(dose, one, levels), style, color=colour, label=name)
        if one.limit is not None:
            axis.axvline(one.limit, color=colour, linestyle=(0, (1, 3)), linewidth=1.2)
    if prescription is not None:
        axis.axvline(prescription, color="0.4", linewidth=0.8)
    axis.set(
        xlabel=f"dose [{unit}]",
        ylabel="volume [%]",
        xlim=(0.0, float(levels[-1])),
        ylim=(0.0, 103.0),
    )
    axis.grid(alpha=0.25)
    axis.legend(fontsize="small")
    return figure
