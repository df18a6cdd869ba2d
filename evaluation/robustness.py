"""How much worse agents do when their treatment is not delivered as decided."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from oncogym.agents.agent import Agent
from oncogym.agents.clinical import RuleAgent
from oncogym.agents.files import write_csv_atomic, write_json_atomic
from oncogym.agents.learned import PolicyAgent
from oncogym.agents.plan import PlanAgent
from oncogym.agents.rollout import Rollout, rollout
from oncogym.envs.therapy import Floats, TherapyTask
from oncogym.envs.treatment import nearest
from oncogym.evaluation.harness import Problem, result_table
from oncogym.evaluation.perturbation import (
    KINDS,
    Course,
    Perturbation,
    PerturbedAgent,
    Spectator,
    largest_dose,
)
from oncogym.evaluation.plots import plot_robustness
from oncogym.evaluation.statistics import paired_difference, stratified_bootstrap

# So many fractions of an agent's course are perturbed by default, from the first to the last.
_PLACES = 6
_LISTED_METRICS = 3
_STATELESS = (PlanAgent, PolicyAgent, RuleAgent)


@dataclass(frozen=True)
class Request:
    """Perturbations of one kind: every size at every fraction.

    Args:
        kind: One of ``KINDS``.
        sizes: Sizes; by default those of the kind.
        when: Numbers of fractions, for kinds that happen once; by default up to six of each agent's
            own, spread evenly from the first to the last that at least half of its patients get.

    Raises:
        UnknownNameError: There is no such kind.
        ValueError: A size or number is out of range.
    """

    kind: str
    sizes: tuple[float, ...] = ()
    when: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise nearest("kind of perturbation", self.kind, KINDS)
        about = KINDS[self.kind]
        if self.when and not about.event:
            raise ValueError(
                f"when is {self.when[0]} for {self.kind!r}, which acts throughout; allowed: only "
                f"with {', '.join(name for name, kind in KINDS.items() if kind.event)}"
            )
        for size in self.sizes:
            for when in self.when or (1,):
                Perturbation(self.kind, size, when)

    @classmethod
    def parse(cls, text: str) -> Request:
        """From ``KIND``, ``KIND=SIZE,…``, or either with ``@WHEN,…`` behind it.

        Raises:
            ValueError: The text has another form, or a value is out of range.
        """
        head, at, places = text.partition("@")
        kind, equals, sizes = head.partition("=")
        try:
            numbers = tuple(float(part) for part in sizes.split(",")) if equals else ()
            when = tuple(int(part) for part in places.split(",")) if at else ()
        except ValueError:
            raise ValueError(
                f"{text!r} is no perturbation; allowed: KIND[=SIZE,…][@FRACTION,…], for example "
                "missed=1@1,2,3 or dose_error=0.05,0.1"
            ) from None
        return cls(kind, numbers, when)

    def perturbations(self, course: Course, seed: int) -> Iterator[Perturbation]:
        """All perturbations for an agent with these unperturbed courses."""
        about = KINDS[self.kind]
        for size in self.sizes or about.sizes:
            last = int(np.median(course.fractions))
            if self.kind == "swapped":
                last -= int(size)
            places = self.when if about.event else (1,)
            if not places:
                spread = np.linspace(1, max(last, 0), min(_PLACES, max(last, 0)))
                places = tuple(int(number) for number in np.unique(np.round(spread)))
            for when in places:
                yield Perturbation(self.kind, size, when, seed)


@dataclass(frozen=True)
class Robustness:
    """Outcome of a study.

    Attributes:
        problem: Environment and patients.
        results: One row for each agent, perturbation and patient: ``agent``, ``kind`` (``none``
            for the unperturbed course), ``size``, ``when`` (0 for kinds that act throughout),
            ``affected`` (whether it took place in this patient), ``dose_lost`` (asked for and not
            given, in the unit of the dose), and the columns of ``harness.evaluate``.
        summary: One row for each agent, perturbation and metric, see :func:`summarise_losses`.
        left_out: Kinds that the environment has no meaning for, and why.
        labels: What each agent is called.
        dose_unit: Unit of ``dose_lost``, empty where the environment has no dose.
    """

    problem: Problem
    results: pd.DataFrame
    summary: pd.DataFrame
    left_out: dict[str, str]
    labels: dict[str, str]
    dose_unit: str

    @property
    def headline(self) -> list[str]:
        """Return and the treatment's first metric that has a better direction."""
        return ["return", *_directed(self.problem)[:1]]

    def document(self) -> dict[str, Any]:
        """Everything but the single patients as JSON-able data."""
        return {
            "env": self.problem.variant.id,
            "cohort": self.problem.cohort.name,
            "patients": len(self.problem.patients),
            "agents": self.labels,
            "left_out": self.left_out,
            "kinds": {name: KINDS[name] for name in KINDS if name in set(self.summary["kind"])},
            "dose_unit": self.dose_unit,
            "summary": self.summary.to_dict(orient="records"),
        }

    def losses(self) -> pd.DataFrame:
        """The summary for reading: important metrics only, six digits, without intervals of means.

        These are return, cost, the treatment's first three metrics that have a better direction,
        and its metrics in the unit of the dose that have none.
        """
        doses = [
            metric.name
            for metric in self.problem.treatment.task.metrics
            if metric.higher_is_better is None and metric.unit == self.dose_unit != ""
        ]
        kept = ["return", "cost", *_directed(self.problem)[:_LISTED_METRICS], *doses]
        chosen = self.summary[self.summary["metric"].isin(kept)]
        chosen = chosen.drop(columns=["label", "low", "high"])
        return chosen.map(lambda value: float(f"{value:.6g}") if type(value) is float else value)

    def table(self) -> pd.DataFrame:
        """One row for each agent and perturbation with the losses of the headline metrics."""
        chosen = self.summary[self.summary["kind"] != "none"]
        keys = ["agent", "kind", "size", "when"]
        rows = []
        for values, part in chosen.groupby(keys, sort=False):
            own = part.set_index("metric")
            row: dict[str, Any] = dict(zip(keys, values, strict=True))
            row["patients"] = int(own["patients"].iloc[0])
            for name in self.headline:
                line = own.loc[name]
                row[f"{line['label']} lost"] = (
                    f"{line['loss']:.4g} [{line['loss_low']:.4g}, {line['loss_high']:.4g}]"
                )
            rows.append(row)
        return pd.DataFrame(rows)

    def figure(self) -> Any:
        """Losses of the headline metrics against the size or the fraction."""
        labels = _distinct(self.labels)
        summary = self.summary.assign(agent=[labels[name] for name in self.summary["agent"]])
        title = f"{self.problem.variant.id}, {len(self.problem.patients)} patients"
        return plot_robustness(summary, self.headline, KINDS, title)

    def save(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Write the tables (results, summary, losses), a JSON document, manifest and figure."""
        write_csv_atomic(folder / "results.csv", self.results)
        write_csv_atomic(folder / "summary.csv", self.summary)
        write_csv_atomic(folder / "losses.csv", self.losses())
        write_json_atomic(folder / "robustness.json", self.document())
        write_json_atomic(folder / "manifest.json", manifest)
        if (self.summary["kind"] != "none").any():
            self.figure().savefig(folder / "robustness.png", dpi=144)


def run_robustness(
    problem: Problem,
    agents: Mapping[str, Agent],
    requests: Sequence[Request] | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
    progress: bool = False,
) -> Robustness:
    """Treat the same patients with every agent, unperturbed and under every perturbation.

    Patients, their random keys, errors of doses and noise are the same for every agent and size.

    Args:
        problem: Environment and patients.
        agents: Agents by name. One that draws random numbers of its own starts anew for each run.
        requests: What to perturb; by default every kind that the environment has a meaning for.
        seed: Seed of errors, noise and bootstrap.
        resamples: Bootstrap resamples.
        progress: Show a progress bar on standard error.

    Raises:
        ValueError: A kind that was asked for has no meaning in the environment.
    """
    task = problem.task()
    wanted, left_out = _fitting(requests, task, seed)
    watch = any(request.kind == "observation_noise" for request in wanted)
    tables: list[pd.DataFrame] = []
    unit = "" if task.dose_part is None else task.action_parts[task.dose_part][1]
    with tqdm(desc="robustness", unit="run", total=len(agents), disable=None if progress else True)\
            as bar:  # fmt: skip
        for name, agent in agents.items():
            bar.set_postfix_str(name)
            plain, course = _unperturbed(problem, agent, watch)
            everyone = np.ones(len(problem.patients), np.bool_)
            tables.append(_labelled(result_table(name, problem, plain), None, everyone, 0.0))
            lost: Any
            jobs = [p for request in wanted for p in request.perturbations(course, seed)]
            bar.total = (bar.total or 0) + len(jobs)
            bar.update()
            for perturbation in jobs:
                affected = course.affected(perturbation)
                if affected.any():
                    # A plan looks at nothing.
                    if perturbation.kind == "observation_noise" and isinstance(agent, PlanAgent):
                        result, lost = plain, 0.0
                    else:
                        result, lost = perturbed(problem, agent, perturbation, course)
                    table = result_table(name, problem, result)
                    tables.append(_labelled(table, perturbation, affected, lost))
                bar.update()
    results = pd.concat(tables, ignore_index=True)
    labels = {name: str(getattr(agent, "label", name)) for name, agent in agents.items()}
    summary = summarise_losses(results, problem, seed=seed, resamples=resamples)
    return Robustness(problem, results, summary, left_out, labels, unit)


def perturbed(
    problem: Problem, agent: Agent, perturbation: Perturbation, course: Course
) -> tuple[Rollout, Floats]:
    """Courses of all patients under a perturbation.

    Args:
        problem: Environment and patients.
        agent: The agent.
        perturbation: What goes wrong.
        course: The agent's unperturbed courses of the same patients.

    Returns:
        The courses, and the dose that was asked for and not given ``(patients,)`` in its unit.
    """
    changed = perturbation.problem(problem)
    usual, _ = problem.prepare(agent, problem.task(1))
    delivery, own = changed.prepare(_fresh(agent), changed.task())
    wrapped = PerturbedAgent(own, perturbation, usual, problem.seeds, course)
    result = rollout(delivery, wrapped, changed.patients, problem.seeds, record_actions=True)
    return result, wrapped.lost(result.actions) * largest_dose(usual)


def _unperturbed(problem: Problem, agent: Agent, watch: bool) -> tuple[Rollout, Course]:
    task, own = problem.prepare(_fresh(agent), problem.task())
    spectator = Spectator(own)
    result = rollout(
        task, spectator if watch else own, problem.patients, problem.seeds, record_actions=True
    )
    return result, Course.of(task, result.actions, spectator.seen)


def _fresh(agent: Agent) -> Agent:
    """An agent whose own random numbers, if any, start where they started in other runs."""
    return agent if isinstance(agent, _STATELESS) else copy.deepcopy(agent)


def _fitting(
    requests: Sequence[Request] | None, task: TherapyTask, seed: int
) -> tuple[list[Request], dict[str, str]]:
    if requests is not None:
        for request in requests:
            Perturbation(request.kind, 0.0, seed=seed).require_fit(task)
        return list(requests), {}
    fitting: list[Request] = []
    left_out: dict[str, str] = {}
    for kind in KINDS:
        try:
            Perturbation(kind, 0.0, seed=seed).require_fit(task)
        except ValueError as error:
            left_out[kind] = str(error)
        else:
            fitting.append(Request(kind))
    return fitting, left_out


def _labelled(
    table: pd.DataFrame, perturbation: Perturbation | None, affected: Any, lost: Any
) -> pd.DataFrame:
    event = perturbation is not None and perturbation.about.event
    table.insert(1, "kind", "none" if perturbation is None else perturbation.kind)
    table.insert(2, "size", 0.0 if perturbation is None else perturbation.size)
    table.insert(3, "when", perturbation.when if perturbation is not None and event else 0)
    table.insert(5, "affected", affected)
    table.insert(6, "dose_lost", lost)
    return table


def summarise_losses(
    results: pd.DataFrame, problem: Problem, *, seed: int = 0, resamples: int = 2000
) -> pd.DataFrame:
    """Means and paired losses over the patients in whom a perturbation took place.

    Returns:
        One row for each agent, perturbation and metric: ``agent``, ``kind``, ``size``, ``when``,
        ``metric``, ``label``, ``unit``, ``patients`` (those affected), ``dose_lost`` (their mean of
        what was asked for and not given), ``plain`` (their mean without perturbation), ``mean``
        with its 95 % interval ``low`` and ``high``, and ``loss``, the mean by which the metric gets
        worse, patient by patient, with ``loss_low`` and ``loss_high``; of a metric without a better
        direction, the mean by which it decreases.
    """
    metrics: list[tuple[str, str, str, bool | None]] = [
        ("return", "Return", "", True),
        ("cost", "Cost", "", False),
        *((m.name, m.label, m.unit, m.higher_is_better) for m in problem.treatment.task.metrics),
        ("success", "Success", "", True),
    ]
    rows = []
    plain_tables = {
        str(agent): part.set_index("patient")
        for agent, part in results[results["kind"] == "none"].groupby("agent", sort=False)
    }
    for (agent, kind, size, when), part in results.groupby(
        ["agent", "kind", "size", "when"], sort=False
    ):
        table = part[part["affected"]].set_index("patient")
        before = plain_tables[str(agent)].loc[table.index]
        for name, label, unit, higher in metrics:
            values = table[name].to_numpy(np.float64)
            old = before[name].to_numpy(np.float64)
            first, second = (values, old) if higher is False else (old, values)
            mean = stratified_bootstrap(values, seed=seed, resamples=resamples)
            loss = paired_difference(first, second, seed=seed, resamples=resamples)
            rows.append(
                {
                    "agent": agent,
                    "kind": kind,
                    "size": size,
                    "when": when,
                    "metric": name,
                    "label": label,
                    "unit": unit,
                    "patients": len(values),
                    "dose_lost": float(table["dose_lost"].mean()),
                    "plain": float(old.mean()),
                    "mean": mean.estimate,
                    "low": mean.low,
                    "high": mean.high,
                    "loss": loss.estimate,
                    "loss_low": loss.low,
                    "loss_high": loss.high,
                }
            )
    return pd.DataFrame(rows)


def _directed(problem: Problem) -> list[str]:
    metrics = problem.treatment.task.metrics
    return [metric.name for metric in metrics if metric.higher_is_better is not None]


def _distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels, with the name behind those that several agents have."""
    seen = list(labels.values())
    return {
        name: label if seen.count(label) == 1 else f"{label} ({name})"
        for name, label in labels.items()
    }
