"""Protocols that searches found, scored again beside the best that the source prints.

``python -m oncogym.evaluation.reproduce.emt6ro.search_study DIR … --out DIR`` takes folders that
``oncogym optimize … --out`` wrote for an EMT6/Ro id. A search calls that plan the best whose runs
came out best, so its own score flatters it: here every plan has new runs, in the fast model and by
the exact law, and so have the protocols that the source found with the same largest dose. Beside
them stand equal doses, the last one at the end of treatment, of which only the spacing is chosen:
what a search has to surpass. The table says by how much a plan leads the best printed one in the
same model, the figure how the searches went and which doses after which waits they use. Every
finished piece is a file in DIR/parts.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from oncogym.agents.plan import LONGEST, PlanAgent
from oncogym.core.checks import whole_number
from oncogym.core.documents import Document
from oncogym.core.files import CorruptFileError, write_csv_atomic
from oncogym.core.json_types import JsonObject
from oncogym.envs.emt6ro_fractionation import Protocol, library, simulate
from oncogym.envs.emt6ro_fractionation.protocol import SLOT_HOURS
from oncogym.envs.registry import find_variant
from oncogym.evaluation.report.drawings import save_png
from oncogym.evaluation.reproduce.emt6ro.sample_statistics import density, sub_modules
from oncogym.evaluation.reproduce.emt6ro.tables import PEAK, PROTOCOLS
from oncogym.evaluation.study_folder import (
    Part,
    add_folder_argument,
    command_study,
    versions_in,
)

TABLE, FIGURE = "emt6ro_search_study.csv", "emt6ro-searches.png"
_JOB = "emt6ro-search-study"
_TREATMENT = "emt6ro_fractionation"
# Column of the table for each law in which protocols are scored, and their fidelities.
_LAWS = {"m20": "accelerated", "exact": "exact"}
# Standard errors by which a protocol must lead to be called better.
_ERRORS = 2.0
# Equal doses: hours between them that are tried, runs of each, and what sets the key of these runs
# apart from that of the final ones.
_SPACINGS = range(6, 49)
_TRIALS = 80
_TRIED = 1 << 32
_TOTAL, _LAST = 10.0, 119.5


@dataclass(frozen=True)
class Search:
    """A finished search of protocols.

    Attributes:
        name: Name of its folder.
        method: How it searched.
        largest: Largest dose allowed [Gy].
        gap: Least time between two doses [h].
        seed: Its seed.
        protocol: What it found.
        score: Mean return of that in the search's own runs.
        treatments: Simulated courses.
        seconds: Time that it took.
        history: Rows ``(simulated courses, best score so far)``, none if it keeps no history.
    """

    name: str
    method: str
    largest: float
    gap: float
    seed: int
    protocol: Protocol
    score: float
    treatments: int
    seconds: float
    history: tuple[tuple[float, float], ...] = ()


def read_search(folder: Path) -> Search:
    """Read what ``oncogym optimize`` left in a folder.

    Raises:
        FileNotFoundError: The search is not finished.
        CorruptFileError: A file is damaged.
        ValueError: It is a search for another treatment, or one with a plan for each patient.
    """
    plan, manifest = folder / "plan.json", folder / "manifest.json"
    for path in (plan, manifest):
        if not path.is_file():
            raise FileNotFoundError(f"{folder} has no {path.name}: the search is not finished")
    about = Document.read(plan, LONGEST).mapping("about")
    settings = Document.read(manifest, LONGEST).mapping("settings")
    try:
        treatment, variant = find_variant(settings["env"])
        if treatment.name != _TREATMENT:
            raise ValueError(f"{folder} is a search for {variant.id}; allowed: EMT6/Ro ids")
        options = {**settings["option"], "fidelity": "screening"}
        course = gym.make(variant.id, disable_env_checker=True, **options)
        task = course.unwrapped.task  # type: ignore[attr-defined]
        own = dict(settings["set"])
        limits = {"max_dose": task.max_dose, "min_gap": SLOT_HOURS * max(task.least_wait, 1)}
        largest, gap = (
            float(usual if own.get(name) is None else own[name]) for name, usual in limits.items()
        )
        return Search(
            folder.name,
            str(settings["method"]),
            largest,
            gap,
            int(settings["seed"]),
            _given(PlanAgent.load(plan), course),
            float(about["score"]),
            int(about["evaluations"]),
            float(about["seconds"]),
            _history(folder / "history.csv"),
        )
    except (KeyError, TypeError) as error:
        raise CorruptFileError(f"{folder} is no search of one plan: {error!r}") from None


def _given(agent: PlanAgent, course: gym.Env) -> Protocol:
    """The doses that a plan gives in the end: those for which something is left of the total."""
    course.reset(seed=0)
    for action in agent.actions:
        if any(course.step(action)[2:4]):
            break
    return Protocol.from_times(course.unwrapped.task.given(0))  # type: ignore[attr-defined]


def _history(file: Path) -> tuple[tuple[float, float], ...]:
    if not file.is_file():
        return ()
    table = pd.read_csv(file)
    return tuple(zip(table["simulations"], table["best"].cummax(), strict=True))


def score_protocol(
    doses: str, fidelity: str, runs: int, seed: int, *, progress: bool = False
) -> JsonObject:
    """Fitness of a protocol, 1500 less the sites at day 10: its ``mean`` and ``error`` over runs.

    Args:
        doses: As :meth:`Protocol.parse` takes it.
        fidelity: As :func:`simulate` takes it.
        runs: Runs in all, a multiple of the ten tumours.
        seed: Key of the runs.
        progress: Not used; a study's work takes it.
    """
    del progress
    tumours = library()
    each = runs // len(tumours)
    fitness = 1500.0 - simulate(
        Protocol.parse(doses), tumours, each, seed, fidelity=fidelity
    ).sites.astype(np.float64)
    # The tumours are the same in all comparisons: only the spread within them is chance.
    spread = fitness.reshape(len(tumours), each).var(axis=1, ddof=1).mean()
    return {"mean": float(fitness.mean()), "error": float(np.sqrt(spread / fitness.size))}


def spaced(largest: float) -> list[Protocol]:
    """Protocols of as many of the largest doses as 10 Gy hold, evenly spaced.

    What is left of 10 Gy is given as the first dose or as the last one. The last dose is given at
    the end of treatment, after 119.5 h, the others so many whole hours before each other.

    Args:
        largest: Largest dose [Gy].
    """
    count = int(_TOTAL / largest + 1e-9)
    doses = [largest] * count
    rest = _TOTAL - largest * count
    orders = [[rest, *doses], [*doses, rest]] if rest > 1e-9 else [doses]
    return [
        Protocol.from_times(
            [(_LAST - hours * (len(order) - 1 - n), dose) for n, dose in enumerate(order)],
            f"every {hours} h",
        )
        for order in orders
        for hours in _SPACINGS
        if hours * (len(order) - 1) <= _LAST
    ]


def score_spacing(
    largest: float, runs: int, exact_runs: int, seed: int, *, progress: bool = False
) -> JsonObject:
    """The best of :func:`spaced`, by 80 runs of each in the screening law, and its scores.

    Args:
        largest: Largest dose [Gy].
        runs, exact_runs: Runs of the best one in the fast model and by the exact law.
        seed: Key of these.
        progress: Show a bar on standard error.
    """
    started = time.perf_counter()
    protocols, tumours = spaced(largest), library()
    sites = simulate(
        protocols, tumours, _TRIALS // len(tumours), seed + _TRIED, fidelity="screening",
        paired=True, progress=progress,
    ).sites  # fmt: skip
    fitness = 1500.0 - sites.reshape(len(protocols), -1).mean(axis=1)
    best = int(np.argmax(fitness))
    doses = spell(protocols[best])
    seconds = time.perf_counter() - started
    scores = {
        law: {**score_protocol(doses, fidelity, count, seed), "runs": count}
        for (law, fidelity), count in zip(_LAWS.items(), (runs, exact_runs), strict=True)
    }
    return {
        "protocol": doses,
        "search_score": float(fitness[best]),
        "treatments": _TRIALS * len(protocols),
        "search_seconds": seconds,
        "scores": scores,
    }


def spell(protocol: Protocol) -> str:
    """A protocol as :meth:`Protocol.parse` reads it: doses [Gy] after waits [h]."""
    doses, waits = sub_modules([protocol])
    return ";".join(f"{dose:g}@{wait:g}" for dose, wait in zip(doses, waits, strict=True))


def plan_parts(searches: Sequence[Search], runs: Sequence[int], seed: int) -> list[Part]:
    """New runs of found, of printed and of evenly spaced protocols with the same largest doses.

    Args:
        searches: The searches, with different names.
        runs: Runs of each protocol in the fast model and by the exact law.
        seed: Key of the runs.

    Raises:
        ValueError: There is no search, two have one name, the source has no protocol with a
            search's largest dose, or a number of runs is no multiple of 10 from 20.
    """
    if not searches:
        raise ValueError("there is no search; allowed: one at least")
    names = [search.name for search in searches]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two searches have the name {name}; rename a folder")
    for what, count in zip(("runs", "exact_runs"), runs, strict=True):
        whole_number(what, count, 20, 1_000_000)
        if count % 10:
            raise ValueError(f"{what} is {count}; allowed: multiples of 10, the tumours")
    printed = {row.largest for row in PROTOCOLS if row.largest}
    for search in searches:
        if search.largest not in printed:
            raise ValueError(
                f"{search.name} allows {search.largest:g} Gy; the source searched with "
                f"{', '.join(f'{dose:g}' for dose in sorted(printed))} Gy"
            )
    largest = {search.largest for search in searches}
    protocols = {search.name: search.protocol for search in searches}
    protocols |= {row.name: row.protocol for row in PROTOCOLS if row.largest in largest}
    scored = [
        Part(
            f"{name}-{law}",
            score_protocol,
            {"doses": spell(protocol), "fidelity": fidelity, "runs": count, "seed": seed},
        )
        for name, protocol in protocols.items()
        for (law, fidelity), count in zip(_LAWS.items(), runs, strict=True)
    ]
    # The longest ones first.
    spacings = [
        Part(
            _spaced_name(dose),
            score_spacing,
            {"largest": dose, "runs": runs[0], "exact_runs": runs[1], "seed": seed},
        )
        for dose in sorted(largest)
    ]
    return [*spacings, *scored]


def _spaced_name(largest: float) -> str:
    return f"equal-{largest:g}"


def tabulate(searches: Sequence[Search], results: dict[str, JsonObject]) -> pd.DataFrame:
    """One row a search, one a largest dose for equal doses, then one a printed protocol.

    Args:
        searches: The searches.
        results: What the parts found, by their names.

    Returns:
        ``name``, ``method``, ``largest`` [Gy], ``gap`` [h], ``seed``, ``protocol``;
        ``search_score``, ``treatments`` and ``seconds`` of the search; for each law ``…_runs``,
        ``…_mean``, ``…_error``, and but for printed ones ``…_lead`` over the best printed protocol
        of the same largest dose by that law, its ``…_lead_error`` and whether it is ``…_better`` by
        two of these; ``version``.
    """
    found: list[JsonObject] = [
        {
            "name": search.name,
            "method": search.method,
            "largest": search.largest,
            "gap": search.gap,
            "seed": search.seed,
            "protocol": spell(search.protocol),
            "search_score": search.score,
            "treatments": search.treatments,
            "seconds": search.seconds,
        }
        for search in searches
    ]
    scores = dict(results)
    for largest in sorted({search.largest for search in searches}):
        name = _spaced_name(largest)
        tried = results[name]
        kept = ("protocol", "search_score", "treatments")
        found.append(
            {"name": name, "method": "spacing", "largest": largest, "gap": _SPACINGS.start}
            | {what: tried[what] for what in kept}
            | {"seconds": tried["search_seconds"]}
        )
        scores |= {f"{name}-{law}": tried["scores"][law] for law in _LAWS}
    printed: list[JsonObject] = [
        {
            "name": row.name,
            "method": "printed",
            "largest": row.largest,
            "protocol": spell(row.protocol),
        }
        for row in PROTOCOLS
        if any(search.largest == row.largest for search in searches)
    ]
    for row in [*found, *printed]:
        for law in _LAWS:
            scored = scores[f"{row['name']}-{law}"]
            row |= {f"{law}_{what}": scored[what] for what in ("runs", "mean", "error")}
    for row in found:
        for law in _LAWS:
            rivals = [one for one in printed if one["largest"] == row["largest"]]
            best = rivals[int(np.argmax([one[f"{law}_mean"] for one in rivals]))]
            lead = row[f"{law}_mean"] - best[f"{law}_mean"]
            error = float(np.hypot(row[f"{law}_error"], best[f"{law}_error"]))
            row |= {f"{law}_rival": best["name"], f"{law}_lead": lead, f"{law}_lead_error": error}
            row[f"{law}_better"] = bool(lead > _ERRORS * error)
    table = pd.DataFrame([*found, *printed])
    table["version"] = versions_in(list(results.values()))
    return table


def draw(searches: Sequence[Search]) -> Figure:
    """How the searches went, and the density of (wait, dose) pairs of what they found.

    Args:
        searches: The searches.
    """
    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for search in searches:
        if search.history:
            steps, best = np.array(search.history).T
            left.step(steps, best, where="post", label=search.name)
    left.set(xlabel="simulated courses", ylabel="best fitness so far, the search's own runs")
    if left.get_lines():
        left.legend(fontsize="small", frameon=False)
    pairs = sub_modules([search.protocol for search in searches])
    doses, waits = np.linspace(0.0, 4.6, 185), np.linspace(0.0, 40.0, 161)
    with contextlib.suppress(ValueError):  # too few, or all doses the same: no density
        surface = density(pairs, doses, waits)
        right.contourf(surface.waits, surface.doses, surface.values, 14, cmap="cividis")
        dose, wait = surface.peak
        right.plot(wait, dose, "P", color="tab:orange", markersize=11, markeredgecolor="white",
                   linestyle="", label=f"peak: {dose:.2f} Gy, {wait:.1f} h")  # fmt: skip
    right.plot(pairs[1], pairs[0], "o", color="white", markersize=3.5, markeredgecolor="0.2")
    right.plot(PEAK[1], PEAK[0], "X", color="white", markersize=10, markeredgecolor="black",
               linestyle="", label=f"source's: {PEAK[0]} Gy, {PEAK[1]} h")  # fmt: skip
    right.set(xlim=(0.0, 40.0), ylim=(0.0, 4.6), xlabel="wait before the dose [h]",
              ylabel="dose [Gy]")  # fmt: skip
    right.set_title(
        f"{pairs.shape[1]} sub-modules of {len(searches)} found protocols", fontsize="medium"
    )
    right.legend(fontsize="small", loc="upper right")
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Score what is missing, print and write the table, draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("searches", nargs="+", type=Path, metavar="DIR", help="finished searches")
    parser.add_argument("--runs", type=int, default=1000, help="runs in the fast model (m = 20)")
    parser.add_argument("--exact-runs", type=int, default=200, help="runs by the exact law")
    parser.add_argument("--seed", type=int, default=1, help="key of the runs")
    parser.add_argument("--workers", type=int, help="processes; by default this one alone")
    add_folder_argument(parser)
    args = parser.parse_args(arguments)
    searches: list[Search] = []
    names: list[str] = []

    def plan() -> list[Part]:
        searches.extend(read_search(folder) for folder in args.searches)
        parts = plan_parts(searches, (args.runs, args.exact_runs), args.seed)
        names.extend(part.name for part in parts)
        return parts

    files = [TABLE, FIGURE]
    with command_study(parser, args, _JOB, plan, files, trains=False) as (study, executor):
        results = dict(zip(names, study.finish(executor), strict=True))
        table = tabulate(searches, results)
        study.output.write(TABLE, lambda path: write_csv_atomic(path, table.round(6)))
        study.output.write(FIGURE, lambda path: save_png(draw(searches), path))
    shown = table.drop(columns="version").to_string(index=False, float_format="{:.5g}".format)
    sys.stdout.write(shown + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
