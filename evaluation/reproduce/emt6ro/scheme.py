"""Scheme of the genetic algorithm, as the EMT6/Ro source draws one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from oncogym.agents.optimizers.genetic import GeneticAlgorithm, GeneticSettings
from oncogym.agents.optimizers.genetic.selection import group_size

# Okabe and Ito's colours, light enough to be written on.
_SCORED, _KEPT, _BRED, _ANSWER = "#CFE3F2", "#F7E3B5", "#CDEBDF", "#F4D5E4"
# Columns and rows of the boxes' centres, half a box, and the way back around them [in].
_COLUMNS, _ROWS = (2.3, 6.7, 11.1), (5.4, 3.3, 1.2)
_HALF_WIDTH, _HALF_HEIGHT = 1.85, 0.72
_LEFT, _TOP = 0.15, 6.5
_ARROW = {"arrowstyle": "-|>", "color": "0.3", "linewidth": 1.4, "mutation_scale": 14}


@dataclass(frozen=True)
class Box:
    """One step of the scheme.

    Attributes:
        x, y: Centre [in].
        title: What it is called.
        lines: What it does.
        colour: Fill.
    """

    x: float
    y: float
    title: str
    lines: Sequence[str]
    colour: str

    def side(self, right: int, up: int) -> tuple[float, float]:
        """Middle of a side: ``right`` or ``up`` is 1 or -1, the other one 0."""
        return self.x + right * _HALF_WIDTH, self.y + up * _HALF_HEIGHT


def genetic_scheme(settings: GeneticSettings) -> Figure:
    """Who is kept, selected, crossed and mutated from one generation to the next.

    Args:
        settings: Their sizes and operators stand in the boxes.
    """
    boxes = scheme_boxes(settings)
    figure = Figure(figsize=(13.2, 6.8), layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(0.0, 13.2), ylim=(0.3, 6.8), aspect="equal")
    axis.axis("off")
    for box in boxes.values():
        _draw(axis, box)
    for first, second, right, up in (
        ("initial", "evaluation", 1, 0),
        ("evaluation", "finalists", 1, 0),
        ("evaluation", "selection", 0, -1),
        ("selection", "crossover", 1, 0),
        ("crossover", "mutation", 0, -1),
        ("mutation", "repair", -1, 0),
        ("repair", "next", -1, 0),
        ("elites", "next", 0, -1),
    ):
        _arrow(axis, boxes[first].side(right, up), boxes[second].side(-right, -up))
    (x, y), (end, below) = boxes["evaluation"].side(0, -1), boxes["elites"].side(0, 1)
    _arrow(axis, (x - 1.4, y), (end + 1.2, below))
    left, back = boxes["next"].side(-1, 0), boxes["evaluation"].side(0, 1)
    axis.plot([left[0], _LEFT, _LEFT, back[0]], [left[1], left[1], _TOP, _TOP], color="0.3",
              linewidth=1.4)  # fmt: skip
    _arrow(axis, (back[0], _TOP), back)
    generations = GeneticAlgorithm.default_budget // settings.population
    axis.text(boxes["initial"].x, _TOP + 0.06, f"{generations} generations in all", ha="center")
    return figure


def scheme_boxes(settings: GeneticSettings) -> dict[str, Box]:
    """The steps by name, with the settings as text."""
    left, middle, right = _COLUMNS
    top, centre, bottom = _ROWS
    population, elites = settings.population, settings.elites
    children = population - elites
    return {
        "initial": Box(left, top, "Initial population", (
            f"{population} schedules:", "random doses in random slots",
        ), _SCORED),
        "evaluation": Box(middle, top, "Evaluation by simulations", (
            f"all {population} schedules, elites too,", "on a fresh draw of the model's chance,",
            "the same for every schedule",
        ), _SCORED),
        "finalists": Box(right, top, "Finalists", (
            f"{settings.finalists} best of the last {settings.finalist_generations} generations",
            f"are scored on {settings.finalist_replicates} fresh draws;",
            "the best of them is the answer",
        ), _ANSWER),
        "elites": Box(left, centre, "A  Elites", (
            f"the {elites} best ({elites / population:.0%})", "are copied unchanged",
        ), _KEPT),
        "selection": Box(middle, centre, "B  Selection", (
            f"{settings.parents} parents by {_selection(settings)}", "(elites may be among them)",
        ), _BRED),
        "crossover": Box(right, centre, "C  Crossover", (
            f"{settings.crossover.replace('_', ' ')}; {children // 2} pairs of parents,",
            f"drawn with replacement, give {children} children",
        ), _BRED),
        "mutation": Box(right, bottom, "D  Mutation", (
            ", then ".join(name.replace("_", " ") for name in settings.mutations) or "none",
            *_probability(settings),
        ), _BRED),
        "repair": Box(middle, bottom, "Repair", (
            "of gaps after crossover and each mutation,", "of the total dose after crossover;",
            "dose may be lost, as in the study's program" if settings.published
            else "no dose is lost that the limits allow",
        ), _BRED),
        "next": Box(left, bottom, "Next generation", (
            f"{elites} elites + {children} children", f"= {population} schedules",
        ), _SCORED),
    }  # fmt: skip


def _selection(settings: GeneticSettings) -> str:
    """The selection operator in words, with what it depends on."""
    if settings.selection == "simple":
        return "rank: the best"
    if settings.selection == "roulette":
        return "roulette" + (" with dispersion" if settings.dispersion else "")
    if settings.selection == "tuned_tournament":
        return f"tuned tournament, pressure {settings.pressure:g}"
    size = group_size(settings.population, settings.parents)
    return f"tournament of {size}, pressure {settings.pressure:g}"


def _probability(settings: GeneticSettings) -> tuple[str, ...]:
    if not settings.anneal:
        return (f"probability {settings.mutation_max:g}",)
    return (
        f"annealed: probability {settings.mutation_max:g} to {settings.mutation_min:g},",
        "by the generations left, fourth power",
    )


def _draw(axis: Axes, box: Box) -> None:
    corner = box.x - _HALF_WIDTH, box.y - _HALF_HEIGHT
    axis.add_patch(
        FancyBboxPatch(
            corner, 2.0 * _HALF_WIDTH, 2.0 * _HALF_HEIGHT, boxstyle="round,pad=0,rounding_size=0.1",
            facecolor=box.colour, edgecolor="0.3",
        )
    )  # fmt: skip
    axis.text(box.x, box.y + 0.42, box.title, ha="center", va="center", weight="bold")
    axis.text(box.x, box.y - 0.16, "\n".join(box.lines), ha="center", va="center", fontsize=9,
              linespacing=1.4)  # fmt: skip


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops=_ARROW)
