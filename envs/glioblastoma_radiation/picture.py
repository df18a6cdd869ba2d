"""The picture of one radiation course: synthetic scans, density and doses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.glioblastoma_radiation import kernels
from oncogym.envs.glioblastoma_radiation.model import GlioblastomaResult, simulate
from oncogym.envs.outcomes import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VIEW = 80.0  # half width of a synthetic scan, mm


def course(task: Any, lane: int, density: bool = False) -> GlioblastomaResult:
    """The course of one lane up to now, replayed by the model (growth included).

    Args:
        task: A task of glioblastoma.
        lane: The lane.
        density: Whether to return the density history.
    """
    elapsed = int(task.elapsed(lane))
    doses = np.zeros(max(elapsed, 1))
    for day, dose in task.given(lane):
        doses[int(day)] = dose
    published = task.formulation == "published"
    numerics = task.numerics_of(lane)
    return simulate(
        doses,
        task.patient(lane),
        numerics=numerics,
        interpolate=numerics == "accurate" or not published,
        horizon=task.growth_days(lane) + max(elapsed, 1),
        length=task.length,
        margin=task.margin,
        total_dose=task.total_dose,
        fractions_per_day=task.fractions_per_day,
        blind_field=0.0 if published else task.margin,
        safe_dose_cap=task.safe_dose_cap,
        density=density,
    )


def traces(task: Any, lane: int) -> list[Trace]:
    """Doses, T1 and T2 radius of one lane up to now, against the day from detection."""
    result = course(task, lane)
    shown = slice(0, int(task.elapsed(lane)) + 1)
    day = result.day[shown] - result.day[0]
    given = result.dose > 0.0
    return [
        Trace("dose", "dose [Gy]", (result.day - result.day[0])[given], result.dose[given], True),
        Trace(
            "t1_radius", "T1 radius [mm]", day, np.maximum(result.t1_radius[shown], 0.0),
            limit=kernels.DEATH_RADIUS,
            limit_label="death",
        ),
        Trace("t2_radius", "T2 radius [mm]", day, np.maximum(result.t2_radius[shown], 0.0)),
    ]  # fmt: skip


def synthetic_scan(
    density: NDArray[np.float64], level: float, pixels: int = 161
) -> NDArray[np.float64]:
    """Grey values ``(pixels, pixels)`` in [0, 1] of a slice through a tumour of radial ``density``.

    Tissue denser than ``level`` is bright, as contrast-enhanced T1 (0.8) or T2 (0.16) shows it.

    Args:
        density: Density along the radius, in shares of the carrying capacity.
        level: Density above which tissue is bright.
        pixels: Pixels along each side.
    """
    axis = np.linspace(-_VIEW, _VIEW, pixels)
    radius = np.hypot(axis[:, None], axis[None, :])
    tumour = np.interp(radius, np.arange(len(density)), density, right=0.0)
    # A smooth edge of a few per cent of the level stands for the partial volume of a voxel.
    bright = 1.0 / (1.0 + np.exp(-(tumour - level) / (0.04 * level)))
    brain = np.where(np.hypot(axis[:, None] / 0.92, axis[None, :]) < 0.97 * _VIEW, 0.28, 0.0)
    return np.clip(brain + 0.65 * bright * (brain > 0.0), 0.0, 1.0)


def picture(task: Any, lane: int) -> Figure:
    """Draw one lane now, 640 x 480 pixels: T1 and T2 scan, density profile, doses."""
    # Not with the module: Matplotlib takes half a second.
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    axes = figure.subplots(2, 2)
    density = task.density(lane)
    t1, t2 = task.radii(lane)
    field = t2 + task.margin if t2 >= 0.0 else 0.0
    scans = (("T1", kernels.T1_LEVEL, t1), ("T2", kernels.T2_LEVEL, t2))
    for axis, (name, level, radius) in zip(axes[0], scans, strict=True):
        axis.imshow(
            synthetic_scan(density, level),
            cmap="gray",
            vmin=0.0,
            vmax=1.0,
            extent=(-_VIEW, _VIEW, -_VIEW, _VIEW),
        )
        axis.add_patch(Circle((0.0, 0.0), kernels.DEATH_RADIUS, fill=False, color="tab:red"))
        axis.add_patch(
            Circle((0.0, 0.0), field, fill=False, color="tab:cyan", linestyle="--", linewidth=1.0)
        )
        axis.set_title(f"{name}: " + (f"{radius:.1f} mm" if radius >= 0.0 else "not visible"))
        axis.set_xticks([])
        axis.set_yticks([])
    profile, doses = axes[1]
    profile.plot(np.arange(len(density)), density, color="tab:blue")
    for _, level, _ in scans:
        profile.axhline(level, color="grey", linestyle=":", linewidth=0.8)
    profile.axvline(kernels.DEATH_RADIUS, color="tab:red", linewidth=1.0)
    profile.axvline(field, color="tab:cyan", linestyle="--", linewidth=1.0)
    profile.set(xlim=(0.0, 100.0), ylim=(0.0, 1.05), xlabel="radius [mm]", ylabel="density / K")
    given = task.given(lane)
    doses.vlines([day for day, _ in given], 0.0, [dose for _, dose in given], color="tab:orange")
    doses.set(
        xlim=(-1.0, max(task.elapsed(lane), 30.0)), xlabel="day from detection", ylabel="dose [Gy]"
    )
    doses.set_ylim(0.0, None)
    total = sum(dose for _, dose in given)
    figure.suptitle(f"day {task.elapsed(lane):.0f}: {total:.2f} of {task.total_dose:g} Gy given")
    return figure
