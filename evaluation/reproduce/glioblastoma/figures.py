"""The glioblastoma documentation's figures, for any dose schedules and training runs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from oncogym.core.files import CorruptFileError, write_bytes_atomic
from oncogym.envs.glioblastoma_radiation.kernels import DEATH_RADIUS, T1_LEVEL, T2_LEVEL
from oncogym.envs.glioblastoma_radiation.model import TOTAL_DOSE, GlioblastomaResult, simulate
from oncogym.envs.therapy import Floats
from oncogym.evaluation.report.curves import mean_interval
from oncogym.evaluation.reproduce.glioblastoma import transcription as transcription

#: Doses [Gy] a day from the first day of therapy, idle days included, by label.
Plans = Mapping[str, Floats]

# Okabe and Ito's colours, told apart by line style as well.
_COLOURS = ("#000000", "#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#8C6D31")
_STYLES = ("-", "-", "--", "-", "--", "-", "-.", ":")
_DEATH = "#D55E00"
_SPAN = ("#BBBBBB", "#D55E00", "#56B4E9")
_SHOWN_RADIUS = 70.0  # mm
_DPI = 120

#: Mean reward of training episodes in the source's figure: decisions, reward (read off).
PUBLISHED_CURVE = ((0.0, -4.0), (2e5, 10.0), (4e5, 29.0), (6e5, 80.0), (7.5e5, 87.0), (1e6, 88.5))


def save_figures(folder: Path, plans: Plans, runs: Sequence[Path] = ()) -> list[Path]:
    """Draw all figures and save them as PNG files; returns the paths.

    Args:
        folder: Where to save them.
        plans: The schedules to compare.
        runs: Folders of training runs (seeds); without any there is no training curve.

    Raises:
        ValueError: There is no schedule, or more than eight.
        CorruptFileError: The scalars of a run are damaged; the message names the file.
        OSError: The folder is missing or refuses.
    """
    figures = {
        "schedules": schedules(plans),
        "densities": densities(plans),
        "survival": survival(plans),
    }
    if runs:
        figures["training_curve"] = training_curve(runs)
    paths = []
    for name, figure in figures.items():
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=_DPI)
        paths.append(write_bytes_atomic(folder / f"{name}.png", picture.getvalue()))
    return paths


def schedules(plans: Plans) -> Figure:
    """Dose against day of therapy, one panel an approach, with the safe dose of each day.

    Raises:
        ValueError: There is no schedule, or more than eight.
    """
    treated = {label: doses for label, doses in plans.items() if np.any(doses > 0.0)}
    courses = _courses(treated or plans)
    rows = -(-len(courses) // 2)
    figure = Figure(figsize=(11.0, 1.9 * rows + 1.0), layout="constrained")
    axes = figure.subplots(rows, 2, sharey=True, squeeze=False).ravel()
    last = max(int(np.flatnonzero(c.dose)[-1]) + 1 if c.total_dose else 1 for c in courses.values())
    top = max(10.0, 1.05 * max(course.peak_dose for course in courses.values()))
    for axis, (label, course) in zip(axes, courses.items(), strict=False):
        day = 1.0 + np.arange(len(course.dose) - 1)
        colour = _COLOURS[list(plans).index(label) % len(_COLOURS)]
        given = course.dose[:-1] > 0.0
        axis.bar(day[given], course.dose[:-1][given], 0.8, color=colour)
        # A line over each day's bar, up to the last dose.
        limit = course.safe_dose[: int(np.flatnonzero(given)[-1]) + 1 if given.any() else last]
        edges = 0.5 + np.arange(len(limit) + 1)
        axis.stairs(limit, edges, baseline=None, color="0.1", linestyle=(0, (2, 1)), linewidth=1.2)
        axis.set_title(
            f"{label}: {course.total_dose:.1f} Gy in {int(given.sum())} doses, "
            f"{course.days_extended:+.0f} d",
            fontsize="medium",
        )
        axis.grid(axis="y", alpha=0.25)
        axis.set(xlim=(0.0, last + 1.5), ylim=(0.0, top))
    for axis in axes[len(courses) :]:
        axis.set_visible(False)
    figure.supxlabel("day of therapy [d]", fontsize="medium")
    figure.supylabel("dose [Gy]", fontsize="medium")
    line = Line2D([], [], color="0.1", linestyle=(0, (2, 1)), label="safe dose of that day's field")
    dose = Patch(color="0.6", label="dose given")
    figure.legend(handles=[dose, line], loc="outside upper center", ncols=2, frameon=False)
    return figure


def densities(plans: Plans) -> Figure:
    """Tumour cell density over distance and time, one heat map an approach, growth included.

    Lines are the T1 and T2 radii, the radius at death and the first and last day with a dose.

    Raises:
        ValueError: There is no schedule, or more than eight.
    """
    courses = _courses(plans, density=True)
    table, detected = transcription.grow()
    capacity = transcription.CAPACITY
    columns = 2 if len(courses) > 1 else 1
    rows = -(-len(courses) // columns)
    figure = Figure(figsize=(6.0 * columns + 1.0, 2.5 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    shown = round(_SHOWN_RADIUS) + 1
    end = max(course.death_day for course in courses.values())
    for axis, (label, course) in zip(axes, courses.items(), strict=False):
        assert course.density is not None
        whole = np.vstack([table[:detected], course.density])[:, :shown] / capacity
        day = np.arange(len(whole), dtype=np.float64)
        image = axis.pcolormesh(
            day, course.x[:shown], whole.T, cmap="cividis", vmin=0.0, vmax=1.0, shading="nearest",
            rasterized=True,
        )  # fmt: skip
        for level, style in ((T1_LEVEL, "-"), (T2_LEVEL, "--")):
            axis.contour(
                day, course.x[:shown], whole.T, [level], colors="white", linewidths=1.2,
                linestyles=style,
            )  # fmt: skip
        axis.axhline(DEATH_RADIUS, color=_DEATH, linewidth=1.4)
        given = np.flatnonzero(course.dose) + detected + 1
        for position in given[[0, -1]] if len(given) else ():
            axis.axvline(position, color="white", linestyle=":", linewidth=1.0)
        end_text = f"death on day {course.death_day:.0f}" if course.died else "alive"
        axis.set_title(f"{label}: {end_text}", fontsize="medium")
        axis.set(xlim=(0.0, end), ylim=(0.0, _SHOWN_RADIUS))
        axis.set_facecolor("0.9")
    figure.supxlabel("time from the start of growth [d]", fontsize="medium")
    figure.supylabel("distance from the centre [mm]", fontsize="medium")
    bar = figure.colorbar(image, ax=list(axes), pad=0.01, aspect=40)
    bar.set_label("cell density / carrying capacity [-]")
    handles: list[Artist] = [
        Line2D([], [], color="0.45", label=f"T1 radius ({T1_LEVEL:.0%})"),
        Line2D([], [], color="0.45", linestyle="--", label=f"T2 radius ({T2_LEVEL:.0%})"),
        Line2D([], [], color="0.45", linestyle=":", label="first and last dose"),
        Line2D([], [], color=_DEATH, label=f"T1 radius at death, {DEATH_RADIUS:g} mm"),
        Patch(color="0.9", label="after death"),
    ]
    empty = axes[len(courses) :]
    for axis in empty:
        axis.axis("off")
    if len(empty):
        empty[0].legend(handles=handles, loc="center", frameon=False, fontsize="large")
    else:
        figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False)
    return figure


def survival(plans: Plans) -> Figure:
    """T1 radius against time, and the days of growth, therapy and follow-up of each approach.

    Raises:
        ValueError: There is no schedule, or more than eight.
    """
    courses = _courses(plans, density=True)
    figure = Figure(figsize=(13.0, 0.4 * len(courses) + 3.2), layout="constrained")
    curves, bars = figure.subplots(1, 2, width_ratios=(1.0, 1.05))
    latest = max(course.death_day for course in courses.values())
    detail = curves.inset_axes((0.62, 0.09, 0.36, 0.36))
    for number, (label, course) in enumerate(courses.items()):
        radius = _smooth_radius(course)
        for axis in (curves, detail):
            axis.plot(
                course.day,
                radius,
                color=_COLOURS[number],
                linestyle=_STYLES[number],
                linewidth=1.6,
                label=label,
            )
    for axis in (curves, detail):
        axis.axhline(DEATH_RADIUS, color=_DEATH, linewidth=1.2)
        axis.grid(alpha=0.25)
    curves.annotate(
        "death", (0.0, DEATH_RADIUS), (6, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", fontsize="small", color=_DEATH,
    )  # fmt: skip
    curves.set(xlabel="time from the start of growth [d]", ylabel="T1 radius [mm]")
    curves.set_ylim(0.0, 1.1 * DEATH_RADIUS)
    curves.set_title("T1 radius, between cells; 0: not visible", fontsize="medium")
    detail.set(xlim=(latest - 30.0, latest + 2.0), ylim=(DEATH_RADIUS - 2.0, DEATH_RADIUS + 0.3))
    detail.tick_params(labelsize="x-small")
    figure.legend(
        *curves.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    _life_bars(bars, courses)
    return figure


def _smooth_radius(course: GlioblastomaResult) -> Floats:
    """T1 radius [mm] on each day, interpolated between cells; 0 where nothing is visible.

    The published scheme counts whole cells, in which courses that end days apart look the same.
    """
    assert course.density is not None
    share = course.density / transcription.CAPACITY
    spacing = float(course.x[1] - course.x[0])
    radius = np.zeros(len(share))
    for day in np.flatnonzero(course.t1_radius >= 0.0):
        cell = round(course.t1_radius[day] / spacing)
        inner, outer = share[day, cell], share[day, cell + 1]
        part = (inner - T1_LEVEL) / (inner - outer) if inner > outer else 0.0
        radius[day] = (cell + part) * spacing
    return radius


def _life_bars(axis: Axes, courses: Mapping[str, GlioblastomaResult]) -> None:
    for row, course in enumerate(courses.values()):
        treated = np.flatnonzero(course.dose)
        therapy = float(treated[-1] + 1) if len(treated) else 0.0
        parts = (course.growth_days, therapy, course.death_day - course.growth_days - therapy)
        start = 0.0
        for days, colour in zip(parts, _SPAN, strict=True):
            axis.barh(row, days, 0.65, left=start, color=colour, edgecolor="white", linewidth=0.5)
            start += days
        axis.annotate(
            f"{course.death_day:.0f} d ({course.days_extended:+.0f})",
            (course.death_day, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    first = next(iter(courses.values()))
    axis.axvline(first.benchmark_day, color="0.2", linestyle="--", linewidth=1.0)
    axis.set_yticks(range(len(courses)), list(courses))
    axis.invert_yaxis()
    axis.set_xlim(0.0, 1.22 * max(course.death_day for course in courses.values()))
    axis.set_xlabel("time from the start of growth [d]; dashed: death without treatment")
    names = ("growth", "therapy", "after therapy")
    handles = [Patch(color=c, label=n) for c, n in zip(_SPAN, names, strict=True)]
    axis.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False
    )  # fmt: skip


def training_curve(
    run_folders: Sequence[Path],
    column: str = "eval/return",
    label: str = "return of an episode [d]",
    published: bool = True,
) -> Figure:
    """A scalar of training runs against decisions: mean over seeds and its 95 % interval.

    The interval is Student's, for the mean; a single run has none. Runs recorded at different
    decisions are interpolated between their own.

    Args:
        run_folders: Folders with ``progress.csv``, one a seed.
        column: The scalar: ``"eval/return"`` (deterministic) or ``"episode/return"`` (while
            learning, as in the source's figure), for example.
        label: What it is, with its unit.
        published: Mark the points read off the source's curve.

    Raises:
        ValueError: There is no folder, or no decision that all runs have reached.
        CorruptFileError: A file is damaged or lacks the column; the message names it.
        FileNotFoundError: A folder has no ``progress.csv``.
    """
    if not run_folders:
        raise ValueError("a training curve needs at least one run")
    curves = [_scalar(Path(folder) / "progress.csv", column) for folder in run_folders]
    try:
        band = mean_interval(curves)
    except ValueError:
        raise ValueError(f"no decision has {column!r} of all runs") from None
    count = len(curves)
    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    axis = figure.subplots()
    colour = _COLOURS[1]
    for row in band.curves if count > 1 else ():
        axis.plot(band.x, row, color=colour, alpha=0.3, linewidth=0.8)
    axis.plot(band.x, band.mean, color=colour, linewidth=2.0,
              label=f"mean of {count} seeds" if count > 1 else "one run")  # fmt: skip
    if count > 1:
        axis.fill_between(
            band.x, band.low, band.high, color=colour, alpha=0.2, linewidth=0.0,
            label="95 % interval of the mean",
        )  # fmt: skip
    if published:
        axis.plot(
            *np.array(PUBLISHED_CURVE).T, "s", color=_COLOURS[3], markersize=5,
            label="source, while learning (read off)",
        )  # fmt: skip
    axis.set(xlabel="decisions", ylabel=label)
    axis.set_xlim(left=0.0)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}".replace(",", "\u2009"))
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, loc="lower right")
    return figure


def _scalar(path: Path, column: str) -> Floats:
    """Rows ``(steps, value)`` of one scalar, where it was recorded."""
    try:
        table = pd.read_csv(path)
        rows = table[["steps", column]].dropna().to_numpy(np.float64)
    except (KeyError, ValueError) as error:
        raise CorruptFileError(f"{path}: no scalar {column!r} of a run ({error})") from error
    if not len(rows):
        raise CorruptFileError(f"{path}: {column!r} was never recorded")
    return rows[np.argsort(rows[:, 0], kind="stable")]


def _courses(plans: Plans, density: bool = False) -> dict[str, GlioblastomaResult]:
    if not 1 <= len(plans) <= len(_COLOURS):
        raise ValueError(f"{len(plans)} schedules to draw; allowed: 1 to {len(_COLOURS)}")
    return {
        label: simulate(doses, total_dose=TOTAL_DOSE, density=density)
        for label, doses in plans.items()
    }
