"""Courses of a few patients under every agent, small enough to be embedded in a page."""

from __future__ import annotations

import base64
import heapq
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.plan import OpenLoopAgent
from oncogym.agents.rollout import Rollout, rollout
from oncogym.core.json_types import JsonObject
from oncogym.envs.outcomes import Map, Trace
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats
from oncogym.evaluation.kept_courses import KeptCourses
from oncogym.evaluation.shards import Shard
from oncogym.parallel.base import LanesExecutor

#: So many of an evaluation's patients are shown.
PATIENTS = 12
#: Of so many of them what the treatment left over a plane is shown, too: it takes more room.
MAPPED = 4
# Points of a curve at most, and the error that leaving out others may cause, as a share of its
# range: less than the width of a drawn line.
_POINTS = 240
_TOLERANCE = 2e-3
# A patient is introduced by so many parameters at most.
_FIELDS = 8


@dataclass(frozen=True)
class Courses:
    """How the first patients of an evaluation fared under each agent.

    Attributes:
        problem: Environment and patients.
        traces: The treatment's traces by agent, one list a patient.
        ends: Outcomes by agent, of these very courses.
        maps: The treatment's maps by agent, one list a patient, of the first patients.
    """

    problem: Problem
    traces: dict[str, list[list[Trace]]]
    ends: dict[str, Rollout]
    maps: dict[str, list[list[Map]]] = field(default_factory=dict)

    @classmethod
    def record(
        cls,
        problem: Problem,
        agents: Mapping[str, object],
        patients: int = PATIENTS,
        *,
        executor: Executor | None = None,
        kept: KeptCourses | None = None,
    ) -> Courses:
        """Treat the first patients once more and keep what happened.

        Args:
            problem: The patients.
            agents: Agents by name.
            patients: How many of the first patients.
            executor: Who treats them; by default this process.
            kept: Courses in which agents need not decide any more, and where new ones are kept.

        Raises:
            ExecutorError: The workers cannot do it.
        """
        count = min(patients, len(problem.patients))
        treatment = problem.treatment
        traces, ends, maps = {}, {}, {}
        shards = [_Decisions.of(problem, agent, slice(0, count)) for agent in agents.values()]
        decided = (kept or KeptCourses()).treated(
            shards, executor or LanesExecutor(), lambda done: None, _decide
        )
        for name, shard in zip(agents, shards, strict=True):
            ends[name] = next(decided)
            # Agents may think for long; their decisions are simulated here, where the states are.
            task, whom = shard.task(), shard.problem
            rollout(task, _Recorded(ends[name].actions), whom.patients, whom.seeds)
            traces[name] = [list(treatment.traces(task, k)) for k in range(count)]
            if treatment.maps is not None:
                maps[name] = [list(treatment.maps(task, k)) for k in range(min(count, MAPPED))]
        return cls(problem, traces, ends, maps)

    def of(self, patient: int) -> dict[str, list[Trace]]:
        """The traces of one patient by agent."""
        return {name: courses[patient] for name, courses in self.traces.items()}

    def document(
        self, labels: Mapping[str, str], first: Sequence[str] = (), number: int = 0
    ) -> JsonObject:
        """What the browser of courses of a report reads; JSON-able.

        Args:
            labels: What each agent is called.
            first: Agents that are shown at the start; by default the first two.
            number: Number of the browser in its page, for addresses.
        """
        treatment = self.problem.treatment
        names = list(self.traces)
        chosen = [name for name in names if name in first] or names[:2]
        measures = [("Return", ""), ("Cost", "")]
        measures += [(metric.label, metric.unit) for metric in treatment.task.metrics]
        count = min((len(courses) for courses in self.traces.values()), default=0)
        about = self._about(count)
        maps = [self.maps[name] for name in names if name in self.maps]
        return {
            "kind": "courses",
            "number": number,
            "id": self.problem.variant.id,
            "units": dict(treatment.patient.UNITS),
            "measures": [{"label": label, "unit": unit} for label, unit in measures],
            "agents": [{"label": labels[name], "first": name in chosen} for name in names],
            "patients": [
                {
                    "number": k,
                    "about": about[k],
                    **_panels([self.traces[name][k] for name in names]),
                    **_maps([own[k] for own in maps if k < len(own)]),
                    "outcomes": [_outcome(self.ends[name], k) for name in names],
                    "success": [bool(self.ends[name].success[k]) for name in names],
                }
                for k in range(count)
            ],
        }

    def _about(self, count: int) -> list[dict[str, float]]:
        """The parameters in which the shown patients differ, by patient."""
        rows = np.asarray(self.problem.patients[:count], np.float64)
        fields = self.problem.treatment.patient.FIELDS
        differ = [j for j in range(len(fields)) if count and np.ptp(rows[:, j]) > 0.0][:_FIELDS]
        return [{fields[j]: float(f"{row[j]:.3g}") for j in differ} for row in rows]


class _Decisions(Shard):
    """Patients whose agent's decisions are asked for, beside how they fare."""


def _decide(shard: _Decisions) -> Rollout:
    task, whom = shard.task(), shard.problem
    return rollout(task, shard.actor(task), whom.patients, whom.seeds, record_actions=True)


class _Recorded(OpenLoopAgent):
    """Decides as somebody did before.

    Args:
        actions: What was decided ``(lanes, decisions, action size)``; NaN after the end.
    """

    def __init__(self, actions: Floats) -> None:
        self._actions = actions

    def _rows(self, lanes: int) -> Floats:
        return self._actions


def _outcome(end: Rollout, lane: int) -> list[float | None]:
    values = (end.returns[lane], end.costs[lane].sum(), *end.outcome[lane])
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values]


def _panels(agents: Sequence[Sequence[Trace]]) -> JsonObject:
    """The quantities of one patient, and each agent's points of each; None where it has none."""
    samples = {trace.name: trace for traces in agents for trace in traces}
    courses = []
    for traces in agents:
        own = {trace.name: trace for trace in traces}
        courses.append([_points(own[name]) if name in own else None for name in samples])
    return {
        "panels": [
            {
                "label": t.label,
                "time": t.time_label,
                "events": t.events,
                "limit": t.limit,
                "limit_label": t.limit_label,
                "shared": t.panel,
            }
            for t in samples.values()
        ],
        "courses": courses,
    }


def _maps(agents: Sequence[Sequence[Map]]) -> JsonObject:
    """The maps of one patient, and each agent's values of each, a byte a place."""
    samples = agents[0] if agents else []
    return {
        "maps": [
            {
                "label": one.label,
                "unit": one.unit,
                "size": list(one.values.shape),
                "extent": [round(float(edge), 3) for edge in one.extent],
                "top": one.top,
                "marks": dict(one.marks),
                "outlines": {
                    name: [np.round(piece, 2).tolist() for piece in pieces]
                    for name, pieces in one.outlines.items()
                },
            }
            for one in samples
        ],
        "images": [[_bytes(one) for one in own] for own in agents],
    }


def _bytes(one: Map) -> str:
    shares = np.clip(one.values / one.top, 0.0, 1.0)
    return base64.b64encode(np.round(255.0 * shares).astype(np.uint8).tobytes()).decode()


def _points(trace: Trace) -> list[list[float | None]]:
    time = np.asarray(trace.time, np.float64)
    values = np.asarray(trace.values, np.float64)
    kept = np.arange(len(time)) if trace.events else thin(time, values)
    return [_rounded(time[kept]), _rounded(values[kept])]


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    """Numbers with as many decimals as a drawing can show, four digits of the range."""
    known = values[np.isfinite(values)]
    if not len(known):
        return [None] * len(values)
    size = float(np.ptp(known)) or float(np.abs(known[0])) or 1.0
    decimals = 4 - math.ceil(math.log10(size))
    shown = [round(float(v), decimals) if math.isfinite(v) else None for v in values]
    return [int(v) if v is not None and v == int(v) else v for v in shown]


def thin(
    time: NDArray[np.float64],
    values: NDArray[np.float64],
    most: int = _POINTS,
    tolerance: float = _TOLERANCE,
) -> NDArray[np.intp]:
    """Indices of the points that a curve needs: those that a straight line would miss most.

    Args:
        time: Times in order ``(n,)``.
        values: Values ``(n,)``; where one is not finite nothing is left out.
        most: Points that are kept at most.
        tolerance: Stop when the error is below this share of the range.
    """
    count = len(time)
    if count <= 2 or not np.isfinite(values).all():
        return np.arange(min(count, most))
    allowed = tolerance * float(np.ptp(values))

    def worst(first: int, last: int) -> tuple[float, int, int, int]:
        inside = slice(first + 1, last)
        width = time[last] - time[first]
        share = (time[inside] - time[first]) / width if width > 0.0 else 0.0
        line = values[first] + share * (values[last] - values[first])
        error = np.abs(values[inside] - line)
        at = int(np.argmax(error))
        return -float(error[at]), first + 1 + at, first, last

    kept = {0, count - 1}
    waiting = [worst(0, count - 1)]
    while waiting and len(kept) < most:
        error, at, first, last = heapq.heappop(waiting)
        if -error <= allowed:
            break
        kept.add(at)
        for pair in ((first, at), (at, last)):
            if pair[1] - pair[0] > 1:
                heapq.heappush(waiting, worst(*pair))
    return np.array(sorted(kept))
