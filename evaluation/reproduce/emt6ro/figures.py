"""Figures of the EMT6/Ro source, drawn from simulations of a study."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from oncogym.agents.optimizers.genetic import GeneticSettings
from oncogym.core.files import write_bytes_atomic
from oncogym.envs.emt6ro_fractionation import (
    Protocol,
    Tumour,
    grow,
    simulate,
)
from oncogym.envs.emt6ro_fractionation.jobs import live_until
from oncogym.envs.emt6ro_fractionation.parameters import Parameters, fidelity_of
from oncogym.envs.emt6ro_fractionation.records import COUNTERS
from oncogym.envs.emt6ro_fractionation.rules import STEPS_PER_HOUR
from oncogym.envs.emt6ro_fractionation.tumour import stack
from oncogym.envs.emt6ro_fractionation.tumour_library import LIBRARY_SIZE, biology
from oncogym.envs.records import make_rows
from oncogym.evaluation.reproduce.emt6ro.checks import best_found
from oncogym.evaluation.reproduce.emt6ro.sample_statistics import (
    equality,
    mean_course,
    sub_modules,
    weighted_line,
)
from oncogym.evaluation.reproduce.emt6ro.scheme import genetic_scheme
from oncogym.evaluation.reproduce.emt6ro.study import COMPARED, Study
from oncogym.evaluation.reproduce.emt6ro.tables import (
    COURSE,
    COURSE_DOSES,
    PEAK,
    PROTOCOLS,
    Published,
    find_protocol,
)

# Okabe and Ito's colours; kinds differ in marker, too.
_OURS, _PRINTED, _OTHER, _GREEN = "#0072B2", "#D55E00", "#E69F00", "#009E73"
_MARKERS = {"clinical": "o", "earlier": "s", "found": "^", "hand-crafted": "D"}
_PHASES = ("vacant", "G1", "S", "G2", "M", "D")
_PHASE_COLOURS = ("#F4F4F4", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000")
_Z95 = float(stats.norm.ppf(0.975))
_DPI = 120
_LAPSE_HOURS = (0.0, 24.0, 72.0, 120.0, 168.0, 240.0)
_LAPSE_DAYS = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)


def save_figures(folder: Path, study: Study) -> list[Path]:
    """Draw all figures and save them as PNG files; returns the paths.

    The comparisons with the exact law are drawn if the study has them.

    Raises:
        OSError: The folder is missing or refuses.
    """
    figures: dict[str, Callable[[Study], Figure]] = {
        "best_protocols": best_protocols,
        "sub_modules": sub_module_density,
        "means": means,
        "courses": courses,
        "time_lapse": time_lapse,
        "genetic_algorithm": lambda _: genetic_scheme(GeneticSettings()),
    }
    if study.equality_each:
        figures["equality"] = equality_figure
        figures["time_courses"] = time_courses
    paths = []
    for name, draw in figures.items():
        picture = io.BytesIO()
        draw(study).savefig(picture, format="png", dpi=_DPI)
        paths.append(write_bytes_atomic(folder / f"{name}.png", picture.getvalue()))
    return paths


def best_protocols(study: Study) -> Figure:
    """Fitness of printed protocols under the constraints of either benchmark and beyond."""
    panels = (
        ("A  doses to 1.25 Gy", [r for r in PROTOCOLS if r.name.startswith(("BMI-", "GA1.25"))
                                 or r.name == "BMI"]),
        ("B  doses to 2 Gy", [r for r in PROTOCOLS if r.name.startswith(("BMII", "GA2.0"))]),
        ("C  larger doses", [r for r in PROTOCOLS if r.largest > 2.0 or r.name == "BMII"]),
    )  # fmt: skip
    figure = Figure(figsize=(13.0, 4.8), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[len(rows) + 1 for _, rows in panels])
    for axis, (title, rows) in zip(axes, panels, strict=True):
        for place, row in enumerate(rows):
            ours = study.fitness[row.name]
            marker = _MARKERS[row.group]
            axis.errorbar(place + 0.14, ours.mean, _Z95 * ours.error, fmt=marker, color=_OURS,
                          capsize=3, markersize=6)  # fmt: skip
            axis.errorbar(place - 0.14, row.mean, _Z95 * row.standard_error, fmt=marker,
                          color=_PRINTED, mfc="white", capsize=3, markersize=6)  # fmt: skip
        axis.set_xticks(range(len(rows)), [row.name for row in rows], rotation=45, ha="right")
        axis.set_title(title, fontsize="medium", loc="left")
        axis.grid(axis="y", alpha=0.25)
    axes[0].set_ylabel("fitness: 1500 - sites at day 10")
    used = ("clinical", "earlier", "found")
    handles = [Line2D([], [], marker=_MARKERS[kind], linestyle="", color="0.3", label=kind)
               for kind in used]  # fmt: skip
    figure.legend(handles=_two_sources() + handles, loc="outside upper center", ncols=5,
                  frameon=False)  # fmt: skip
    return figure


def _two_sources() -> list[Line2D]:
    return [
        Line2D([], [], marker="o", color=_OURS, label="ours, 95 % interval"),
        Line2D([], [], marker="o", color=_PRINTED, markerfacecolor="white",
               label="printed, 95 % interval"),
    ]  # fmt: skip


def sub_module_density(study: Study) -> Figure:
    """Density of (wait, dose) pairs of the printed protocols that the source found."""
    surface = best_found()
    rows: list[Published] = [row for row in PROTOCOLS if row.group == "found"]
    pairs = sub_modules([row.protocol for row in rows])
    figure = Figure(figsize=(9.0, 7.0), layout="constrained")
    grid = figure.subplots(2, 2, width_ratios=(4.0, 1.2), height_ratios=(1.2, 4.0))
    (above, corner), (main, beside) = grid
    corner.axis("off")
    filled = main.contourf(surface.waits, surface.doses, surface.values, 14, cmap="cividis")
    main.plot(pairs[1], pairs[0], "o", color="white", markersize=3.5, markeredgecolor="0.2",
              markeredgewidth=0.5)  # fmt: skip
    dose, wait = surface.peak
    main.plot(wait, dose, "P", color=_PRINTED, markersize=11, markeredgecolor="white")
    main.plot(PEAK[1], PEAK[0], "X", color="white", markersize=10, markeredgecolor="black")
    main.set(xlim=(0.0, 40.0), ylim=(0.0, 4.6), xlabel="wait before the dose [h]",
             ylabel="dose [Gy]")  # fmt: skip
    far = int((pairs[1] > 40.0).sum())
    figure.colorbar(filled, ax=corner, label="per Gy and hour", fraction=0.5)
    above.plot(surface.waits, surface.values.sum(axis=0) * np.ptp(surface.doses[:2]), color=_OURS)
    beside.plot(surface.values.sum(axis=1) * np.ptp(surface.waits[:2]), surface.doses, color=_OURS)
    above.set(xlim=(0.0, 40.0), ylabel="per hour")
    beside.set(ylim=(0.0, 4.6), xlabel="per Gy")
    above.tick_params(labelbottom=False)
    beside.tick_params(labelleft=False)
    above.set_title(
        f"{pairs.shape[1]} sub-modules of {len(rows)} protocols ({far} beyond 40 h)",
        fontsize="medium",
    )
    handles = [
        Line2D([], [], marker="P", linestyle="", color=_PRINTED, markersize=10,
               label=f"peak: {dose:.2f} Gy, {wait:.1f} h"),
        Line2D([], [], marker="X", linestyle="", color="white", markeredgecolor="black",
               markersize=10, label=f"source's: {PEAK[0]} Gy, {PEAK[1]} h"),
        Line2D([], [], marker="o", linestyle="", color="white", markeredgecolor="0.2",
               markersize=4, label="a sub-module"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def means(study: Study) -> Figure:
    """Our means beside the printed ones, p-values of their differences, and one distribution."""
    ours = [study.fitness[row.name] for row in PROTOCOLS]
    x = np.array([row.mean for row in PROTOCOLS])
    y = np.array([one.mean for one in ours])
    own = np.array([one.error for one in ours])
    printed = np.array([row.standard_error for row in PROTOCOLS])
    sds = np.array([one.sd for one in ours])
    p = stats.ttest_ind_from_stats(
        y, sds, ours[0].count, x, [row.sd for row in PROTOCOLS], 1000, equal_var=False
    ).pvalue
    figure = Figure(figsize=(13.0, 8.6), layout="constrained")
    (first, second), (third, fourth) = figure.subplots(2, 2, width_ratios=(1.6, 1.0))
    _differences(first, y - x, own, printed)
    line = weighted_line(x, y, np.hypot(own, printed))
    second.errorbar(x, y, _Z95 * own, fmt="none", ecolor="0.7", zorder=1)
    for kind, marker in _MARKERS.items():
        of = [number for number, row in enumerate(PROTOCOLS) if row.group == kind]
        second.plot(x[of], y[of], marker, color=_OURS, label=kind)
    ends = np.array([x.min() - 10.0, x.max() + 10.0])
    second.plot(ends, ends, color="0.3", linewidth=1.0)
    second.set(xlabel="printed fitness", ylabel="our fitness")
    second.set_title(
        f"B  slope {line.slope:.2f} +- {line.slope_error:.2f}, offset {line.offset:+.1f} +- "
        f"{line.offset_error:.1f}",
        fontsize="medium", loc="left",
    )  # fmt: skip
    second.legend(frameon=False)
    _p_values(third, p, [row.name for row in PROTOCOLS])
    third.set_title("C  t-tests of ours against printed means", fontsize="medium", loc="left")
    _histogram(fourth, study.normality_sites)
    return figure


def _differences(axis: Axes, difference: NDArray, own: NDArray, printed: NDArray) -> None:
    places = np.arange(len(PROTOCOLS))
    axis.fill_between(places, -_Z95 * printed, _Z95 * printed, step="mid", color=_PRINTED,
                      alpha=0.25, linewidth=0.0, label="printed, 95 % interval")  # fmt: skip
    axis.errorbar(places, difference, _Z95 * own, fmt="o", color=_OURS, capsize=2, markersize=4,
                  label="ours, 95 % interval")  # fmt: skip
    axis.axhline(0.0, color="0.3", linewidth=1.0)
    axis.set_xticks(places, [row.name for row in PROTOCOLS], rotation=90, fontsize="small")
    axis.set_ylabel("fitness: ours - printed [sites]")
    axis.set_title("A  difference of means", fontsize="medium", loc="left")
    axis.grid(axis="y", alpha=0.25)
    axis.legend(frameon=False, ncols=2)


def _p_values(axis: Axes, p: ArrayLike, names: Sequence[str] | None = None) -> None:
    values = np.asarray(p, np.float64)
    places = np.arange(len(values))
    axis.plot(places, values, "o", color=_OURS, markersize=4)
    axis.axhline(0.1, color="black", linewidth=1.0, linestyle="--", label="0.1")
    axis.axhline(0.05, color=_PRINTED, linewidth=1.0, label="0.05")
    axis.set(ylabel="p-value", ylim=(0.0, 1.0))
    if names is None:
        axis.set_xlabel("random protocol")
    else:
        axis.set_xticks(places, names, rotation=90, fontsize="small")
    axis.legend(frameon=False, ncols=2, fontsize="small", loc="upper right")
    axis.grid(axis="y", alpha=0.25)


def _histogram(axis: Axes, sites: NDArray[np.int16]) -> None:
    mean, sd = float(sites.mean()), float(sites.std(ddof=1))
    # Edges between whole numbers, so that no bin holds more of them than another.
    width = max(1, round(0.3 * sd))
    edges = np.arange(sites.min() - 0.5, sites.max() + 0.5 + width, width).tolist()
    axis.hist(sites, edges, density=True, color=_OURS, alpha=0.6, label=f"{sites.size} runs")
    grid = np.linspace(mean - 4.0 * sd, mean + 4.0 * sd, 300)
    axis.plot(grid, stats.norm.pdf(grid, mean, sd), color=_PRINTED,
              label=f"normal, {mean:.0f} +- {sd:.0f}")  # fmt: skip
    axis.set(xlabel="occupied sites at day 10", ylabel="density [1/site]")
    axis.set_title("D  one random protocol, one tumour", fontsize="medium", loc="left")
    axis.legend(frameon=False)


def courses(study: Study) -> Figure:
    """Untreated growth, sites under two protocols in time, and phases under one of them."""
    figure = Figure(figsize=(14.0, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    days = np.arange(11.0)
    sites = np.array([[one.sites for one in grow(range(1, LIBRARY_SIZE + 1), day,
                                                 fidelity=study.fidelity)]
                      for day in days.tolist()])  # fmt: skip
    left.plot(days, sites, color=_OURS, alpha=0.3, linewidth=0.8)
    left.plot(days, sites.mean(axis=1), color=_OURS, linewidth=2.0)
    left.set(xlabel="time [d]", ylabel="occupied sites", xlim=(0.0, 10.0), ylim=(0.0, None))
    left.set_title("A  untreated, ten tumours from 10 sites", fontsize="medium", loc="left")
    b1 = Protocol.parse(COURSE_DOSES, "8 x 1.25 Gy, 17 h")
    protocols = [b1, Protocol(find_protocol("BMII").protocol.doses, "5 x 2 Gy, 24 h")]
    result = simulate(protocols, study.tumours, study.runs_each, study.seed,
                      fidelity=study.fidelity, record="hourly", device=study.device)  # fmt: skip
    for number, colour in enumerate((_OURS, _GREEN)):
        values = result.course("sites")[number].reshape(-1, len(result.hours))
        mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
        middle.plot(result.hours, mean, color=colour, label=protocols[number].name)
        middle.fill_between(result.hours, mean - sd, mean + sd, color=colour, alpha=0.15,
                            linewidth=0.0)  # fmt: skip
    hours, printed, _ = np.array(COURSE).T
    middle.plot(hours, printed, "o", color=_PRINTED, markerfacecolor="white",
                label="source's program, 8 x 1.25 Gy")  # fmt: skip
    middle.set(xlabel="time [h]", ylabel="occupied sites, mean +- sd of runs", xlim=(0.0, 240.0),
               ylim=(0.0, None))  # fmt: skip
    middle.set_title("B  treated", fontsize="medium", loc="left")
    middle.legend(frameon=False, loc="upper center")
    total = result.course("sites")[0].sum(axis=(0, 1))
    parts = [result.course(name)[0].sum(axis=(0, 1)) / total for name in ("g1", "s", "g2", "m")]
    right.stackplot(result.hours, *parts, colors=_PHASE_COLOURS[1:5], labels=_PHASES[1:5])
    for hour, _ in b1.times:
        right.axvline(hour, color="white", linewidth=0.8, linestyle=":")
    right.set(xlabel="time [h]", ylabel="share of the sites", xlim=(0.0, 240.0), ylim=(0.0, 1.0))
    right.set_title("C  phases, 8 x 1.25 Gy every 17 h (dotted)", fontsize="medium", loc="left")
    right.legend(loc="lower right", ncols=4, fontsize="small")
    for axis in (left, middle):
        axis.grid(alpha=0.25)
    return figure


def time_lapse(study: Study) -> Figure:
    """One tumour at six times: growing from ten sites, and under two protocols."""
    b1 = Protocol.parse(COURSE_DOSES)
    rows: list[tuple[str, list[Tumour], Sequence[float], str]] = [
        ("untreated", [grow([1], day, fidelity=study.fidelity)[0] for day in _LAPSE_DAYS],
         _LAPSE_DAYS, "d"),
        ("8 x 1.25 Gy, 17 h", _lapse(study, b1), _LAPSE_HOURS, "h"),
        ("5 x 2 Gy, 24 h", _lapse(study, find_protocol("BMII").protocol), _LAPSE_HOURS, "h"),
    ]  # fmt: skip
    figure = Figure(figsize=(12.5, 7.2), layout="constrained")
    axes = figure.subplots(3, len(_LAPSE_HOURS))
    colours = ListedColormap(_PHASE_COLOURS)
    norm = BoundaryNorm(np.arange(len(_PHASES) + 1) - 0.5, len(_PHASES))
    for line, (label, tumours, times, unit) in zip(axes, rows, strict=True):
        line[0].set_ylabel(label)
        for axis, tumour, when in zip(line, tumours, times, strict=True):
            axis.imshow(tumour.phase, cmap=colours, norm=norm, interpolation="nearest")
            axis.set_title(f"{when:g} {unit}: {tumour.sites} sites", fontsize="small")
            axis.set_xticks([])
            axis.set_yticks([])
    handles = [Patch(facecolor=colour, edgecolor="0.6", label=name)
               for colour, name in zip(_PHASE_COLOURS, _PHASES, strict=True)]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
    return figure


def _lapse(study: Study, protocol: Protocol) -> list[Tumour]:
    """The study's first tumour at the times of the picture, one course."""
    state = stack(study.tumours[:1])
    counters = make_rows(1, COUNTERS)
    settings = Parameters().settings(fidelity_of(study.fidelity))
    doses = protocol.slots(round(2.0 * _LAPSE_HOURS[-1]))
    found = []
    for hours in _LAPSE_HOURS:
        until = round(hours * STEPS_PER_HOUR)
        live_until(until, state, counters, biology(), settings, doses, study.seed)
        found.append(Tumour.from_state(state))
    return found


def equality_figure(study: Study) -> Figure:
    """The study's fidelity beside the exact law on random protocols."""
    ours, exact = study.equality_sites
    result = equality(ours, exact)
    figure = Figure(figsize=(13.0, 8.0), layout="constrained")
    (first, second), (third, fourth) = figure.subplots(2, 2, width_ratios=(1.6, 1.0))
    centre = 0.5 * (ours.mean(axis=1) + exact.mean(axis=1))
    for shift, sites, colour, label in (
        (-0.15, exact, _OTHER, "exact"), (0.15, ours, _OURS, study.fidelity),
    ):  # fmt: skip
        mean = 100.0 * (sites.mean(axis=1) / centre - 1.0)
        half = 100.0 * _Z95 * sites.std(axis=1, ddof=1) / np.sqrt(sites.shape[1]) / centre
        first.errorbar(np.arange(len(sites)) + shift, mean, half, fmt="o", color=colour,
                       markersize=3, label=f"{label}, {sites.shape[1]} runs")  # fmt: skip
    first.axhline(0.0, color="0.3", linewidth=1.0)
    first.set(xlabel="random protocol", ylabel="mean sites, relative to both [%]")
    first.set_title(f"A  95 % intervals; mean difference {result.bias:+.1f} sites",
                    fontsize="medium", loc="left")  # fmt: skip
    first.legend(frameon=False, ncols=2)
    second.plot(exact.mean(axis=1), ours.mean(axis=1), "o", color=_OURS, markersize=4)
    ends = np.array([exact.mean(axis=1).min(), exact.mean(axis=1).max()])
    second.plot(ends, ends, color="0.3", linewidth=1.0)
    second.set(xlabel="mean sites, exact", ylabel=f"mean sites, {study.fidelity}")
    second.set_title(f"B  correlation {result.correlation:.3f}, sd ratio {result.sd_ratio:.2f}",
                     fontsize="medium", loc="left")  # fmt: skip
    _p_values(third, result.t_p)
    third.set_title("C  t-tests", fontsize="medium", loc="left")
    _p_values(fourth, result.ks_p)
    fourth.set_title(
        f"D  Kolmogorov-Smirnov tests; uniform: p = {result.uniformity[1]:.2g}",
        fontsize="medium", loc="left",
    )  # fmt: skip
    return figure


def time_courses(study: Study) -> Figure:
    """The study's fidelity over the exact law in time: sites, their difference, phases."""
    figure = Figure(figsize=(13.0, 10.0), layout="constrained")
    columns = figure.subplots(3, len(COMPARED), sharex=True, height_ratios=(1.3, 0.8, 1.2)).T
    for axes, protocol, fast, slow in zip(
        columns, COMPARED.values(), *study.compared_courses, strict=True
    ):
        above, between, below = axes
        ours, exact = mean_course(fast), mean_course(slow)
        hours = np.arange(len(exact.sites))
        runs = fast.shape[0] * fast.shape[1]
        for course, colour, label, line in (
            (exact, _OTHER, "exact", "-"), (ours, _OURS, study.fidelity, "--"),
        ):  # fmt: skip
            above.plot(hours, course.sites, line, color=colour, linewidth=1.8,
                       label=f"{label}, {runs} runs")  # fmt: skip
            above.fill_between(hours, course.sites - course.sites_sd,
                               course.sites + course.sites_sd, color=colour, alpha=0.2,
                               linewidth=0.0)  # fmt: skip
        half = _Z95 * np.hypot(ours.sites_error, exact.sites_error)
        between.fill_between(hours, -half, half, color="0.85", linewidth=0.0,
                             label="95 % of equal laws")  # fmt: skip
        between.plot(hours, ours.sites - exact.sites, color=_OURS, label="difference of means")
        between.axhline(0.0, color="0.3", linewidth=0.8)
        for number, (name, colour) in enumerate(
            zip(_PHASES[1:5], _PHASE_COLOURS[1:5], strict=True)
        ):
            error = _Z95 * exact.shares_error[:, number]
            below.fill_between(hours, exact.shares[:, number] - error,
                               exact.shares[:, number] + error, color=colour, alpha=0.3,
                               linewidth=0.0)  # fmt: skip
            below.plot(hours, exact.shares[:, number], color=colour, linewidth=1.2, label=name)
            below.plot(hours, ours.shares[:, number], "--", color="black", linewidth=0.9,
                       label=study.fidelity if number == 3 else None)  # fmt: skip
        for axis in axes:
            for hour, _ in protocol.times:
                axis.axvline(hour, color="0.6", linewidth=0.6, linestyle=":")
            axis.grid(axis="y", alpha=0.25)
        above.set(ylabel="occupied sites, mean +- sd of runs", ylim=(0.0, None))
        above.set_title(f"{protocol.name}; doses dotted", fontsize="medium", loc="left")
        between.set_ylabel(f"{study.fidelity} - exact [sites]")
        below.set(xlabel="time [h]", ylabel="share of the sites, 95 % of exact",
                  xlim=(0.0, float(hours[-1])), ylim=(0.0, 1.0))  # fmt: skip
        above.legend(frameon=False)
        between.legend(frameon=False, ncols=2, fontsize="small", loc="lower right")
        below.legend(frameon=False, ncols=5, fontsize="small", loc="upper right")
    return figure
