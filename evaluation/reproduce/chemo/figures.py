"""The chemotherapy tutorial's three figures, for any two schedules."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from numpy.typing import NDArray

from oncogym.core.files import write_bytes_atomic
from oncogym.envs.chemo_dosing.model import (
    DOSE_LIMIT,
    HORIZON,
    TOXICITY_LIMIT,
    ChemoPatient,
    ChemoResult,
    published_cost,
    published_cost_batch,
    simulate,
    simulate_batch,
)
from oncogym.envs.therapy import Floats

#: Days and doses [mg/L] by label; the figures compare two of them.
Schedules = Mapping[str, tuple[Floats, Floats]]

# Okabe and Ito's colours; the second schedule is also told apart by line style and marker.
_COLOURS = ("#D55E00", "#0072B2")
_STYLES = ("-", "--")
_MARKERS = ("o", "s")
_LIMIT = "#555555"
_DPI = 120


def save_figures(folder: Path, schedules: Schedules) -> list[Path]:
    """Draw all figures of two schedules and save them as PNG files; returns the paths.

    Raises:
        ValueError: There are not exactly two schedules.
        OSError: The folder is missing or refuses.
    """
    makers = {
        "dashboard": dashboard,
        "phase_and_sensitivity": phase_and_sensitivity,
        "heatmaps": heatmaps,
    }
    paths = []
    for name, make in makers.items():
        picture = io.BytesIO()
        make(schedules).savefig(picture, format="png", dpi=_DPI)
        paths.append(write_bytes_atomic(folder / f"{name}.png", picture.getvalue()))
    return paths


def dashboard(schedules: Schedules) -> Figure:
    """Six panels: tumour, doses, drug, toxicity, timing of doses, and a radar of five scores.

    Raises:
        ValueError: There are not exactly two schedules.
    """
    courses = _courses(schedules)
    figure = Figure(figsize=(14.0, 8.2), layout="constrained")
    grid = figure.add_gridspec(2, 3)
    axes = [figure.add_subplot(grid[i // 3, i % 3]) for i in range(5)]
    radar = figure.add_subplot(grid[1, 2], projection="polar")
    for number, (label, course) in enumerate(courses.items()):
        look: dict[str, Any] = {
            "color": _COLOURS[number],
            "linestyle": _STYLES[number],
            "label": label,
            "linewidth": 1.8,
        }
        cost = f"{label}, cost {published_cost(*schedules[label]):.3f}"
        axes[0].semilogy(course.time, np.exp(course.log_cells), **{**look, "label": cost})
        axes[2].plot(course.time, course.concentration, **look)
        axes[3].plot(course.time, course.toxicity, **look)
    axes[0].set(title="A  Tumour cells", ylabel="tumour cells", xlabel="time [d]")
    axes[2].set(title="C  Plasma concentration", ylabel="concentration [mg/L]", xlabel="time [d]")
    axes[3].set(title="D  Toxicity", ylabel="toxicity [-]", xlabel="time [d]")
    axes[3].axhline(TOXICITY_LIMIT, color=_LIMIT, linestyle=":", label="limit")
    axes[3].set_ylim(0.0, 1.25 * max(TOXICITY_LIMIT, *(c.peak_toxicity for c in courses.values())))
    axes[3].legend(loc="upper left", ncols=3, fontsize="small")
    axes[0].legend(loc="lower left")
    axes[2].set_ylim(bottom=0.0)
    for axis in (axes[0], axes[2], axes[3]):
        axis.set_xlim(0.0, HORIZON)
        axis.grid(alpha=0.25)
    _dose_bars(axes[1], schedules)
    _dose_bubbles(axes[4], schedules)
    _radar(radar, schedules)
    figure.suptitle(f"Two schedules over {HORIZON:g} days: {' and '.join(schedules)}")
    return figure


def phase_and_sensitivity(schedules: Schedules) -> Figure:
    """Courses in the space of drug, toxicity and cells; cost of evenly spaced equal doses.

    The surface is the source's cost without its penalty terms, which would dwarf all else; it is
    grey where a schedule exceeds the toxicity limit or the dose budget.

    Raises:
        ValueError: There are not exactly two schedules.
    """
    courses = _courses(schedules)
    figure = Figure(figsize=(15.0, 6.6))
    figure.subplots_adjust(left=0.0, right=0.95, bottom=0.03, top=0.92, wspace=0.12)
    phase = figure.add_subplot(1, 2, 1, projection="3d")
    surface = figure.add_subplot(1, 2, 2, projection="3d")
    for number, (label, course) in enumerate(courses.items()):
        log10_cells = course.log_cells / math.log(10.0)
        phase.plot(
            course.concentration,
            course.toxicity,
            log10_cells,
            color=_COLOURS[number],
            linestyle=_STYLES[number],
            linewidth=1.8,
            label=label,
        )
        # Each dose instant is sampled twice; the second sample is the state after the dose.
        after = np.flatnonzero(np.diff(course.time) == 0.0) + 1
        phase.scatter(
            course.concentration[after],
            course.toxicity[after],
            log10_cells[after],
            color=_COLOURS[number],
            marker=_MARKERS[number],
            s=22,
            depthshade=False,
        )
    phase.set_xlabel("concentration [mg/L]", labelpad=8)
    phase.set_ylabel("toxicity [-]", labelpad=8)
    phase.set_zlabel(r"$\log_{10}$ tumour cells", labelpad=6)
    phase.set_title("Phase portrait; markers: state just after a dose")
    phase.legend(loc="upper left", bbox_to_anchor=(0.02, 0.95))
    phase.view_init(elev=22, azim=-58)
    phase.set_box_aspect((4.0, 4.0, 3.0), zoom=0.98)
    _sensitivity(figure, surface)
    return figure


def heatmaps(schedules: Schedules, samples: int = 481) -> Figure:
    """Tumour, drug and toxicity against time for both schedules, and the difference.

    Each quantity is scaled to [0, 1] over both schedules together, cells as a logarithm, so that
    the difference panel compares like with like.

    Raises:
        ValueError: There are not exactly two schedules.
    """
    _check_two(schedules)
    time = np.linspace(0.0, HORIZON, samples)
    stacks = []
    for times, doses in schedules.values():
        course = simulate(times, doses, samples=samples)
        columns = (course.log_cells, course.concentration, course.toxicity)
        # Right-hand values where a dose falls on a sample: the last of equal times.
        last = np.searchsorted(course.time, time, side="right") - 1
        stacks.append(np.array([column[last] for column in columns]))
    both = np.array(stacks)
    low = both.min(axis=(0, 2), keepdims=True)
    width = both.max(axis=(0, 2), keepdims=True) - low
    scaled = (both - low) / np.where(width > 0.0, width, 1.0)
    first, second = schedules
    spread = ConstrainedLayoutEngine(wspace=0.04)
    figure = Figure(figsize=(15.0, 4.6), layout=spread)
    axes = figure.subplots(1, 3, sharey=True)
    extent = (0.0, HORIZON, 2.5, -0.5)
    titles = (first, second, f"Difference: {second} minus {first}")
    data = (scaled[0], scaled[1], scaled[1] - scaled[0])
    for number, (axis, title, values) in enumerate(zip(axes, titles, data, strict=True)):
        difference = number == 2
        image = axis.imshow(
            values,
            aspect="auto",
            interpolation="nearest",
            extent=extent,
            cmap="RdBu_r" if difference else "cividis",
            vmin=-1.0 if difference else 0.0,
            vmax=1.0,
        )
        axis.set_title(title)
        axis.set_xlabel("time [d]")
        axis.set_yticks([0, 1, 2], ["tumour cells (log)", "concentration", "toxicity"])
        axis.tick_params(axis="y", length=0)
        for border in (0.5, 1.5):
            axis.axhline(border, color="white" if not difference else "black", linewidth=1.5)
        if number:
            bar = figure.colorbar(image, ax=axes[:2] if number == 1 else axis, pad=0.02)
            bar.set_label("difference [-]" if difference else "scaled value [-]")
    low, high = low[:, :, 0].ravel(), (low + width)[:, :, 0].ravel()
    figure.suptitle(
        "Scaled over both schedules: "
        rf"cells $10^{{{low[0] / math.log(10):.1f}}}$ to $10^{{{high[0] / math.log(10):.1f}}}$, "
        f"concentration {low[1]:.2g} to {high[1]:.3g} mg/L, "
        f"toxicity {low[2]:.2g} to {high[2]:.3g}"
    )
    return figure


def scores(times: Floats, doses: Floats) -> dict[str, float]:
    """Five performance dimensions of a schedule, each from 0 (poor) to 1 (good).

    Tumour kill is log10 kill relative to a single cell left, reduction the fraction of cells
    removed, the rest is what remains of the toxicity limit at its peak and at the end, and of the
    dose budget.
    """
    course = simulate(times, doses, samples=0)
    raw = {
        "tumour kill\n(log scale)": course.log10_kill / math.log10(ChemoPatient().initial_cells),
        "cell\nreduction": 1.0 - 10.0**-course.log10_kill,
        "peak-toxicity\nmargin": 1.0 - course.peak_toxicity / TOXICITY_LIMIT,
        "recovery\nat the end": 1.0 - course.final_toxicity / TOXICITY_LIMIT,
        "dose\nspared": 1.0 - course.total_dose / DOSE_LIMIT,
    }
    return {name: min(max(value, 0.0), 1.0) for name, value in raw.items()}


def sensitivity(
    intervals: Floats, doses: Floats, *, first_day: float = 5.0, count: int = 6
) -> tuple[Floats, NDArray[np.bool_]]:
    """Cost of ``count`` equal doses [mg/L] every ``intervals`` [d], all in one batch.

    Returns the source's cost without its penalties and whether both limits are kept, each
    ``(doses, intervals)``. Doses that fall after the horizon are not given.

    Args:
        intervals: Days between two doses ``(intervals,)``.
        doses: Size of each dose ``(doses,)`` [mg/L].
        first_day: Day of the first dose.
        count: Number of doses.
    """
    gap, size = np.meshgrid(intervals, doses)
    plans = first_day + gap.reshape(-1, 1) * np.arange(count)
    amounts = np.repeat(size.reshape(-1, 1), count, axis=1)
    cost = published_cost_batch(plans, amounts, penalty=0.0)
    batch = simulate_batch(plans, amounts)
    kept = (batch.peak_toxicity <= TOXICITY_LIMIT) & (batch.total_dose <= DOSE_LIMIT)
    return cost.reshape(gap.shape), kept.reshape(gap.shape)


def _check_two(schedules: Schedules) -> None:
    if len(schedules) != 2:
        raise ValueError(f"the figures compare two schedules, got {len(schedules)}")


def _courses(schedules: Schedules) -> dict[str, ChemoResult]:
    _check_two(schedules)
    return {
        label: simulate(times, doses, samples=1201) for label, (times, doses) in schedules.items()
    }


def _dose_bars(axis: Axes, schedules: Schedules) -> None:
    width = 0.4
    for number, (label, (_, doses)) in enumerate(schedules.items()):
        at = np.arange(1, len(doses) + 1) + (number - 0.5) * width
        bars = axis.bar(
            at,
            doses,
            width,
            color=_COLOURS[number],
            hatch=("", "//")[number],
            edgecolor="white",
            label=f"{label}, total {np.sum(doses):.2f} mg/L",
        )
        axis.bar_label(bars, fmt="%.2f", fontsize=7, padding=1)
    axis.set(title="B  Individual doses", xlabel="dose number", ylabel="dose [mg/L]")
    axis.set_xticks(np.arange(1, 1 + max(len(doses) for _, doses in schedules.values())))
    axis.set_ylim(top=1.35 * max(float(np.max(doses)) for _, doses in schedules.values()))
    axis.legend(loc="upper center", fontsize="small")


def _dose_bubbles(axis: Axes, schedules: Schedules) -> None:
    largest = max(float(np.max(doses)) for _, doses in schedules.values())
    for number, (times, doses) in enumerate(schedules.values()):
        axis.scatter(
            times,
            np.full(len(times), -number),
            s=1400.0 * np.asarray(doses) / largest,
            color=_COLOURS[number],
            alpha=0.6,
            edgecolor="black",
            linewidth=0.6,
        )
        for day in times:
            axis.annotate(
                f"{day:g}",
                (day, -number),
                xytext=(0, 26),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    axis.set_yticks([0, -1], list(schedules), rotation=90, va="center")
    axis.set_ylim(-1.5, 0.6)
    axis.set_xlim(-4.0, HORIZON + 1.0)
    axis.grid(axis="x", alpha=0.25)
    axis.set(title="E  Timing; area = dose, number = day", xlabel="time [d]")


def _radar(axis: Any, schedules: Schedules) -> None:
    for number, (times, doses) in enumerate(schedules.values()):
        values = scores(times, doses)
        angles = np.linspace(0.0, 2.0 * np.pi, len(values), endpoint=False)
        closed = np.append(angles, angles[0])
        radii = np.append(list(values.values()), next(iter(values.values())))
        axis.plot(
            closed,
            radii,
            color=_COLOURS[number],
            linestyle=_STYLES[number],
            marker=_MARKERS[number],
            markersize=4,
        )
        axis.fill(closed, radii, color=_COLOURS[number], alpha=0.15)
        axis.set_xticks(angles, list(values), fontsize=8)
    axis.set_theta_offset(np.pi / 2.0)
    axis.set_theta_direction(-1)
    axis.tick_params(axis="x", pad=12)
    axis.set_ylim(0.0, 1.0)
    axis.set_yticks([0.25, 0.5, 0.75, 1.0], ["", "0.5", "", "1"], fontsize=7)
    axis.set_title("F  Performance, 1 is best")


def _sensitivity(figure: Figure, axis: Any) -> None:
    intervals, doses = np.linspace(4.0, 18.0, 57), np.linspace(1.5, 8.0, 53)
    cost, kept = sensitivity(intervals, doses)
    gap, size = np.meshgrid(intervals, doses)
    scale = ScalarMappable(Normalize(float(cost[kept].min()), float(cost[kept].max())), "plasma")
    colours = scale.to_rgba(cost)
    grey = 0.5 + 0.35 * (cost - cost.min()) / np.ptp(cost)
    colours[~kept, :3] = grey[~kept, None]
    axis.plot_surface(
        gap,
        size,
        cost,
        facecolors=colours,
        rstride=1,
        cstride=1,
        linewidth=0.0,
        antialiased=False,
        shade=False,
    )
    outside = Patch(color="0.65", label="grey: over the toxicity limit or the dose budget")
    axis.legend(handles=[outside], loc="upper left", bbox_to_anchor=(0.02, 0.95))
    axis.set_xlabel("interval between doses [d]", labelpad=8)
    axis.set_ylabel("dose [mg/L]", labelpad=8)
    axis.set_zlabel("cost J [-]", labelpad=6)
    axis.set_title("Cost of six equal doses from day 5, without penalty terms")
    axis.view_init(elev=28, azim=-128)
    axis.set_box_aspect((4.0, 4.0, 3.0), zoom=0.98)
    figure.colorbar(scale, ax=axis, shrink=0.6, pad=0.06, label="cost J [-]")
