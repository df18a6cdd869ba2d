"""Trade-off between coverage of the target and dose of an organ, each point a plan on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from oncogym.core.arrays import Floats
from oncogym.core.files import write_csv_atomic
from oncogym.envs.impt_beam_weighting import Objective, Term, dose_statistics, plan
from oncogym.evaluation.reproduce.impt import plans as plans
from oncogym.evaluation.reproduce.impt.drawing import colours, draw_dose, plane_of

#: Phantoms with a front, and the organ whose dose is traded.
FRONTS = {"c_shape": "cord", "abutting": "brainstem"}
#: Doses above which the organ is penalised [Gy], from lax to strict, so that every search starts
#: from a plan next to its own.
LEVELS = tuple(np.linspace(60.0, 0.0, 25).tolist())
_AIM = 61.0
# Heavy against the target's 5 and 15, so that the level and not the weight decides.
_WEIGHT = 100.0
_ITERATIONS = 300
# Maps beside a front: the strictest plan, the strictest that covers the target, the best covering
# one within the organ's limit.
_MAPS = 3


@dataclass(frozen=True)
class Front:
    """A trade-off front.

    Attributes:
        name: The phantom.
        organ: The organ.
        weights: Weights of the plans ``(plans, spots)``, strict ones last.
        table: A row a plan: level of the penalty, doses of target and organ [Gy], whether any
            other plan is better in both D95 and largest organ dose.
    """

    name: str
    organ: str
    weights: Floats
    table: pd.DataFrame


@lru_cache(maxsize=4)
def front(name: str, levels: Sequence[float] = LEVELS, iterations: int = _ITERATIONS) -> Front:
    """Plan after plan with a stricter level of the organ's penalty.

    Args:
        name: Name of the case.
        levels: Levels of the penalty [Gy], in the order of planning.
        iterations: Steps of each plan's descent.
    """
    case = plans.case(name)
    influence = case.influence
    organ, target = FRONTS[name], influence.structures.target
    standard = Objective.standard(influence.structures, _AIM, rest_dose=30.0)
    others = tuple(term for term in standard.terms if term.structure != organ)
    start = plans.equal_weights(influence)
    found, rows = [], []
    for number, level in enumerate(levels):
        goal = replace(standard, terms=(*others, Term(organ, "overdose", level, _WEIGHT)))
        made = plan(influence, goal, start=start, iterations=iterations)
        start = made.weights
        numbers = dose_statistics(made.dose, influence)
        found.append(made.weights)
        rows.append(
            {
                "plan": number,
                "level": level,
                **{key: numbers[target][key] for key in ("D95", "D98", "D2", "mean")},
                "organ": organ,
                "organ_max": numbers[organ]["max"],
                "organ_mean": numbers[organ]["mean"],
                "normal_mean": numbers["normal tissue"]["mean"],
                "objective": made.objective,
            }
        )
    table = pd.DataFrame(rows)
    table["on_front"] = _undominated(table["organ_max"].to_numpy(), table["D95"].to_numpy())
    return Front(name, organ, np.stack(found), table)


def _undominated(cost: Floats, gain: Floats) -> NDArray[np.bool_]:
    """Points than which no other has less cost and more gain."""
    no_worse = (cost[None, :] <= cost[:, None]) & (gain[None, :] >= gain[:, None])
    better = (cost[None, :] < cost[:, None]) | (gain[None, :] > gain[:, None])
    return np.asarray(~(no_worse & better).any(axis=1))


def save_front(folder: Path, found: Front) -> list[Path]:
    """The table as ``front_NAME.csv`` and each plan as ``front_NAME/plan_NN.npz``."""
    case = plans.case(found.name)
    inner = folder / f"front_{found.name}"
    inner.mkdir(exist_ok=True)
    table = found.table.copy()
    table.insert(1, "file", [f"{inner.name}/plan_{n:02d}.npz" for n in table["plan"]])
    paths = []
    for row, weights in zip(table.to_dict("records"), found.weights, strict=True):
        about = {str(key): value for key, value in row.items() if key != "file"}
        paths.append(
            plans.save_plan(folder / str(row["file"]), case.phantom, case.beams, weights, about)
        )
    csv = folder / f"front_{found.name}.csv"
    write_csv_atomic(csv, table)
    return [csv, *paths]


def draw_fronts(fronts: Sequence[Front]) -> Figure:
    """D95 of the target against the largest dose of the organ, and the dose of three plans each."""
    figure = Figure(figsize=(16.0, 4.3 * len(fronts)), layout="constrained")
    grid = figure.subplots(len(fronts), 1 + _MAPS, squeeze=False,
                           gridspec_kw={"width_ratios": [1.45] + [1.0] * _MAPS})  # fmt: skip
    for axes, found in zip(grid, fronts, strict=True):
        shown = _shown(found)
        _draw_points(axes[0], found, shown)
        for letter, axis, number in zip("abc", axes[1:], shown, strict=True):
            _draw_map(axis, found, number, letter)
    return figure


def _shown(found: Front) -> list[int]:
    """Plans whose dose is drawn, from strict to lax."""
    influence = plans.case(found.name).influence
    limit = influence.structures[found.organ].limit or np.inf
    table = found.table.sort_values("organ_max")
    covering = table[table["D95"] >= influence.prescribed]
    kept = table[table["organ_max"] <= limit]
    middle = covering if len(covering) else table
    best = kept.sort_values("D95", ascending=False)
    return [int(one["plan"].iloc[0]) for one in (table, middle, best if len(best) else table)]


def _draw_points(axis: Axes, found: Front, shown: Sequence[int]) -> None:
    case = plans.case(found.name)
    shades = colours(case.influence.structures)
    table = found.table.sort_values("organ_max")
    best = table[table["on_front"]]
    axis.plot(best["organ_max"], best["D95"], "-", color="#0072B2", linewidth=1.2)
    axis.plot(table["organ_max"], table["D95"], "o", color="#0072B2", markersize=5,
              label="a plan each")  # fmt: skip
    for letter, number in zip("abc", shown, strict=True):
        row = found.table.loc[number]
        axis.annotate(letter, (row["organ_max"], row["D95"]), (0, 9), textcoords="offset points",
                      ha="center", fontweight="bold")  # fmt: skip
    limit = case.influence.structures[found.organ].limit
    if limit is not None:
        axis.axvline(limit, color=shades[found.organ], linestyle=(0, (4, 3)), linewidth=1.2,
                     label=f"limit of the {found.organ}, {limit:g} Gy")  # fmt: skip
    axis.axhline(case.influence.prescribed, color=shades[case.influence.structures.target],
                 linestyle=(0, (4, 3)), linewidth=1.2,
                 label=f"prescription, {case.influence.prescribed:g} Gy")  # fmt: skip
    axis.set(xlabel=f"largest dose of the {found.organ} [Gy]", ylabel="D95 of the target [Gy]")
    axis.set_xlim(left=0.0)
    axis.margins(y=0.12)
    axis.grid(alpha=0.25)
    axis.legend(loc="lower right", fontsize="small")
    axis.set_title(f"phantom {found.name!r}", loc="left")


def _draw_map(axis: Axes, found: Front, number: int, letter: str) -> None:
    case = plans.case(found.name)
    influence = case.influence
    dose = influence.dose(found.weights[number])
    plane = plane_of(influence, dose, case.phantom)
    draw_dose(axis, plane, colours(influence.structures), influence.prescribed, bar=letter == "c",
              legend=letter == "c", top=75.0)  # fmt: skip
    target = case.phantom.points[influence.structures[influence.structures.target].voxels]
    middle, reach = target.mean(axis=0), 6.5
    axis.set_xlim(middle[0] - reach, middle[0] + reach)
    axis.set_ylim(middle[1] - reach, middle[1] + reach)
    if letter != "a":
        axis.set_ylabel("")
    row = found.table.loc[number]
    axis.set_title("")
    axis.set_title(f"{letter}  D95 {row['D95']:.1f}, {found.organ} {row['organ_max']:.1f} Gy",
                   loc="left")  # fmt: skip
