"""The phase plane with the optimal doses, and a course of each agent with marker and truth."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from oncogym.agents.agent import Agent
from oncogym.agents.bound import BoundAgent
from oncogym.agents.clinical import clinical_agent
from oncogym.agents.delegate import Delegate
from oncogym.agents.rollout import rollout
from oncogym.core.arrays import Floats
from oncogym.core.files import write_bytes_atomic
from oncogym.envs.adaptive_therapy import (
    TREATMENT,
    AdaptivePatient,
    find_feedback_optimum,
    simulate,
)
from oncogym.envs.adaptive_therapy.task import AdaptiveTask

_DPI = 120
#: Agents of the figures, and their colours (Okabe and Ito's).
AGENTS = {
    "full_dose": "#000000",
    "at50": "#D55E00",
    "above_90": "#CC79A7",
    "proportional": "#E69F00",
    "optimum": "#0072B2",
}
_STYLES = ("-", "--", "-.", ":", "-")


def save_figures(folder: Path) -> list[Path]:
    """Draw both figures of the nominal patient as PNG files; returns the paths.

    Raises:
        OSError: The folder is missing or refuses.
    """
    courses = follow_agents()
    paths = []
    for name, figure in (("phase_plane", phase_plane(courses)), ("courses", draw_courses(courses))):
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=_DPI)
        paths.append(write_bytes_atomic(folder / f"{name}.png", picture.getvalue()))
    return paths


class Followed:
    """A course of the nominal patient, with what was measured.

    Args:
        label: What the agent is called.
        doses: What it gave ``(decisions,)``.
        markers: Measured markers at visits, the start included ``(decisions,)``.
    """

    def __init__(self, label: str, doses: Floats, markers: Floats) -> None:
        self.label = label
        self.markers = markers
        self.course = simulate(doses)


class _Watching(Delegate):
    """An agent whose observations are kept."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self.seen: list[NDArray[Any]] = []

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Ask the agent, and keep what was seen."""
        self.seen.append(observation.copy())
        return super().predict(observation, state, episode_start, deterministic)


def follow_agents() -> dict[str, Followed]:
    """Courses of the nominal patient whose marker has an error of 10 %, by agent."""
    found = {}
    for name in AGENTS:
        task = AdaptiveTask(1, observation="measurable")
        if name in TREATMENT.bounds:
            agent: Agent = BoundAgent(TREATMENT.bounds[name])
        else:
            agent = clinical_agent(TREATMENT, task, name)
        watching = _Watching(agent)
        rollout(task, watching, AdaptivePatient().to_array()[None])
        markers = np.concatenate([task.marker(seen) for seen in watching.seen])
        found[name] = Followed(getattr(agent, "label", name), task.given(0), markers)
    return found


def phase_plane(courses: dict[str, Followed]) -> Figure:
    """The best dose of every state of the nominal patient, and the courses through them."""
    best = find_feedback_optimum()
    burden, ratio = best.states()
    figure = Figure(figsize=(8.5, 5.6), layout="constrained")
    axis = figure.add_subplot()
    image = axis.pcolormesh(
        ratio, burden, best.doses[best.best].T, cmap="Greys", vmin=0.0, vmax=1.6, shading="nearest",
        rasterized=True,
    )  # fmt: skip
    bar = figure.colorbar(image, ax=axis, label="best dose for the next 28 d [of full]")
    bar.ax.set_ylim(0.0, 1.0)
    for (name, one), style in zip(courses.items(), _STYLES, strict=True):
        course = one.course
        total = course.sensitive + course.resistant
        axis.plot(
            course.resistant / course.sensitive, total / total[0], color=AGENTS[name],
            linestyle=style, linewidth=1.6, marker="o", markersize=2.5,
            label=f"{one.label}: {course.ttp:.0f} d",
        )  # fmt: skip
    axis.axhline(best.progression, color="#555555", linestyle=":", linewidth=1.2)
    axis.set_xscale("log")
    axis.set(
        xlabel="resistant cells by sensitive cells, R/S", ylabel="burden [of start]",
        xlim=(ratio[0], ratio[-1]), ylim=(0.2, 1.25),
        title="Best doses for the sound reward; dots: visits, dotted: progression",
    )  # fmt: skip
    axis.legend(fontsize="small", loc="lower left")
    return figure


def draw_courses(courses: dict[str, Followed]) -> Figure:
    """A panel an agent: true burden, measured marker, and doses below."""
    figure = Figure(figsize=(9.0, 2.0 * len(courses)), layout="constrained")
    axes = figure.subplots(len(courses), sharex=True, sharey=True)
    fine = 4  # points of an interval
    for (name, one), axis in zip(courses.items(), axes, strict=True):
        course, colour = one.course, AGENTS[name]
        days = float(course.time[1] - course.time[0])
        finer = simulate(
            np.repeat(course.doses, fine), interval_days=int(days) // fine, substep=1.0
        )
        total = finer.sensitive + finer.resistant
        axis.plot(finer.time, total / total[0], color=colour, label="true burden")
        axis.plot(
            finer.time, finer.resistant / total[0], color=colour, linestyle=":", label="resistant"
        )
        visits = course.time[: len(one.markers)]
        axis.plot(visits, one.markers, ".", color="#555555", label="marker, 10 % error")
        axis.bar(
            course.time[:-1], 0.25 * course.doses, days, align="edge", color=colour, alpha=0.3,
            linewidth=0.0, label="dose (full: 0.25)",
        )  # fmt: skip
        axis.axhline(1.2, color="#555555", linestyle=":", linewidth=1.0)
        axis.set_title(
            f"{one.label}: {course.ttp:.0f} d, mean burden {course.mean_burden:.2f}",
            fontsize="medium", loc="left",
        )  # fmt: skip
        axis.set(ylim=(0.0, 1.45), ylabel="of start")
    axes[0].legend(fontsize="small", ncols=4, loc="upper right")
    axes[-1].set_xlabel("time [d]")
    return figure
