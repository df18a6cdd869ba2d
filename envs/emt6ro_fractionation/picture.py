"""The picture of one treatment of a spheroid: cells, oxygen, size and doses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from oncogym.envs.outcomes import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PHASES = ("vacant", "G1", "S", "G2", "M", "D")
_COLOURS = ("#f2f2f2", "#4c72b0", "#55a868", "#dd8452", "#c44e52", "#8172b3")


def traces(task: Any, lane: int) -> list[Trace]:
    """Doses and occupied sites of one lane up to now, against the hour of treatment."""
    hours, sites = task.course(lane)
    given = np.array(task.given(lane), np.float64).reshape(-1, 2)
    return [
        Trace("dose", "dose [Gy]", given[:, 0], given[:, 1], True, time_label="hour"),
        Trace("sites", "occupied sites", hours, sites, time_label="hour"),
    ]


def picture(task: Any, lane: int) -> Figure:
    """Draw one lane now, 640 x 480 pixels: phases with damage, oxygen, sites and doses."""
    # Not with the module: Matplotlib takes half a second.
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    axes = figure.subplots(2, 2)
    tumour = task.tumour(lane)
    cells, oxygen = axes[0]
    cells.imshow(tumour.phase, cmap=ListedColormap(_COLOURS), vmin=0, vmax=5)
    rows, columns = np.nonzero(tumour.clocks[..., 6] > 0.0)
    cells.plot(columns, rows, "k.", markersize=1.5)
    cells.set_title("phases; dots: damaged", fontsize=9)
    cells.legend(
        handles=[Patch(color=c, label=n) for c, n in zip(_COLOURS[1:], _PHASES[1:], strict=True)],
        loc="upper right", fontsize=6, framealpha=0.7,
    )  # fmt: skip
    amount = tumour.amounts[1] + task.bath[1]
    image = oxygen.imshow(amount, cmap="viridis", vmin=0.0, vmax=task.bath[1])
    oxygen.set_title("oxygen [fmol a site]", fontsize=9)
    figure.colorbar(image, ax=oxygen, shrink=0.8)
    for axis in axes[0]:
        axis.set_xticks([])
        axis.set_yticks([])
    size, doses = axes[1]
    hours, sites = task.course(lane)
    size.plot(hours, sites, color="tab:blue")
    end = task.horizon * 0.5
    size.set(xlim=(0.0, end), xlabel="hour", ylabel="occupied sites")
    size.set_ylim(0.0, None)
    given = task.given(lane)
    doses.vlines([hour for hour, _ in given], 0.0, [dose for _, dose in given], color="tab:orange")
    doses.set(xlim=(-3.0, end), xlabel="hour", ylabel="dose [Gy]")
    doses.set_ylim(0.0, task.max_dose)
    total = sum(dose for _, dose in given)
    figure.suptitle(
        f"{task.elapsed(lane):.1f} h: {tumour.sites} sites, {total:g} of {task.total_dose:g} Gy"
    )
    return figure
