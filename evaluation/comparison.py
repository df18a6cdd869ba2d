"""One environment, several agents, the same patients: results, statistics, figures, report."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from oncogym.agents.agent import Agent, what_is_seen
from oncogym.core.errors import nearest
from oncogym.core.files import write_csv_atomic, write_json_atomic
from oncogym.core.json_types import JsonObject
from oncogym.core.output_folder import OutputFolder
from oncogym.envs.problem import Problem
from oncogym.evaluation.harness import evaluate_problem
from oncogym.evaluation.kept_courses import FILE, KeptCourses
from oncogym.evaluation.metrics import (
    differences,
    headline,
    normalised_scores,
    success_rates,
    summarise,
    titled,
)
from oncogym.evaluation.numbers import show_number
from oncogym.evaluation.report.charts import Chart, outcomes_chart, scores_chart
from oncogym.evaluation.report.courses import Courses
from oncogym.evaluation.report.drawings import Drawings, save_png
from oncogym.evaluation.report.first_screen import Standing, add_first_screen
from oncogym.evaluation.report.labels import labels_of, visible
from oncogym.evaluation.report.page import Report
from oncogym.evaluation.report.plots import (
    draw,
    plot_courses,
    plot_distribution,
    plot_schedules,
)
from oncogym.evaluation.rivals import KeyNumber, best_of, key_number, rivals_of
from oncogym.evaluation.statistics import Interval, show_column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# So many metrics of a treatment stand in the headline; the record lists the important ones first.
_HEADLINE_METRICS = 5
# More figures than a comparison draws.
_FIGURES = 20

#: Files that a comparison writes into its folder, see :class:`OutputFolder`.
TABLES = ("results.csv", "summary.csv", "comparison.json")
#: What they hold, for the links of a report.
LINK_TEXTS = ("every patient (CSV)", "all statistics (CSV)", "everything (JSON)")
FILES = (
    *TABLES,
    "manifest.json",
    "report.html",
    FILE,
    *(f"figures/{number:02d}.png" for number in range(1, _FIGURES + 1)),
)


def check_ends(agents: Collection[str], baseline: str, reference: str | None) -> None:
    """Make sure that the agents with the scores 0 and 1 take part.

    Args:
        agents: Names of all agents.
        baseline: The one with score 0.
        reference: The one with score 1, if there is one.

    Raises:
        UnknownNameError: One of them does not.
    """
    ends = (
        {"baseline": baseline}
        if reference is None
        else {"baseline": baseline, "reference": reference}
    )
    for kind, name in ends.items():
        if name not in agents:
            raise nearest(f"{kind} agent", name, agents)


@dataclass(frozen=True)
class Comparison:
    """The outcome of treating the same patients with several agents.

    Attributes:
        problem: Environment and patients.
        results: One row for each agent and patient, see ``harness.evaluate``.
        summary: One row for each agent and metric, see ``metrics.summarise``.
        scores: Normalised scores by statistic (``mean``, ``iqm``) and agent; empty if there is no
            scale.
        no_scale: Why there is none.
        success: Success rates by agent.
        gains: Paired difference of the return to the baseline, by agent.
        baseline: Agent with normalised score 0.
        reference: Agent with normalised score 1, or empty.
        left_out: Protocols that could not take part, and why.
        courses: What happened to the first patients under each agent.
        labels: What each agent is called in tables and figures.
        learnt: The agents that were trained with one seed or several.
        sees: What each agent sees, see :func:`oncogym.agents.agent.what_is_seen`.
        rival: The rule, protocol or controller with the highest mean return of those that see no
            more than what was trained, or than what is measured where nothing was.
        key: The best trained agent against ``rival``, if there are both.
        seed: Seed of the bootstrap.
        seconds: Time that the evaluation took.
        extras: Further numbers for the report: tables by caption.
        figures: Further figures by caption.
    """

    problem: Problem
    results: pd.DataFrame
    summary: pd.DataFrame
    scores: dict[str, dict[str, Interval]]
    no_scale: str
    success: dict[str, Interval]
    gains: dict[str, Interval]
    baseline: str
    reference: str
    left_out: dict[str, str]
    courses: Courses
    labels: dict[str, str]
    learnt: tuple[str, ...] = ()
    sees: dict[str, str] = field(default_factory=dict)
    rival: str = ""
    key: KeyNumber | None = None
    seed: int = 0
    seconds: float = 0.0
    extras: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, Chart] = field(default_factory=dict)

    @classmethod
    def run(
        cls,
        problem: Problem,
        agents: Mapping[str, Agent],
        *,
        baseline: str,
        reference: str | None = None,
        left_out: Mapping[str, str] | None = None,
        seed: int = 0,
        replicas: Mapping[str, Sequence[Agent]] | None = None,
        optimised: Collection[str] = (),
        executor: Executor | None = None,
        kept: KeptCourses | None = None,
    ) -> Comparison:
        """Evaluate and summarise.

        Args:
            problem: Environment and patients.
            agents: Agents by name; see ``labels.labels_of`` for what they are called.
            baseline: Agent with score 0.
            reference: Agent with score 1, ``None`` for no scale.
            left_out: Protocols that could not take part, and why.
            seed: Seed of the bootstrap.
            replicas: Agents trained with several seeds, by a common name.
            optimised: Agents that are plans of an optimiser, no rules of a clinic.
            executor: Who treats the patients; by default this process.
            kept: Courses that need no simulation any more, and where new ones are kept.

        Raises:
            UnknownNameError: The baseline or the reference is no agent; nothing is evaluated.
            ExecutorError: The workers cannot do it.
        """
        replicas = dict(replicas or {})
        everyone = {**agents, **{name: copies[0] for name, copies in replicas.items()}}
        check_ends(everyone, baseline, reference)
        tables = []
        kept = kept or KeptCourses()
        if agents:
            table = evaluate_problem(problem, agents, executor, kept=kept)
            tables.append(table.assign(training_seed=0))
        for name, copies in replicas.items():
            for number, agent in enumerate(copies):
                table = evaluate_problem(problem, {name: agent}, executor, kept=kept)
                tables.append(table.assign(training_seed=number))
        results, seconds = pd.concat(tables, ignore_index=True), kept.seconds
        sees = {name: what_is_seen(agent, problem.kept_task(1)) for name, agent in everyone.items()}
        rival = best_of(results, rivals_of(sees, replicas, {*optimised, "random"}))
        scores: dict[str, dict[str, Interval]] = {}
        no_scale = {"mean": "no reference agent was named"}
        for statistic in ("mean", "iqm") if reference is not None else ():
            found, no_scale[statistic] = normalised_scores(
                results, baseline, str(reference), statistic=statistic, seed=seed
            )
            if found:
                scores[statistic] = found
        return cls(
            problem=problem,
            results=results,
            summary=summarise(results, problem.treatment, seed=seed),
            scores=scores,
            no_scale="; ".join(f"{name}: {why}" for name, why in no_scale.items() if why),
            success=success_rates(results),
            gains=differences(results, baseline, seed=seed),
            baseline=baseline,
            reference=reference or "",
            left_out=dict(left_out or {}),
            seconds=seconds,
            courses=Courses.record(problem, everyone, executor=executor, kept=kept),
            labels=labels_of(everyone),
            learnt=tuple(replicas),
            sees=sees,
            rival=rival,
            key=key_number(results, replicas, rival, seed=seed),
            seed=seed,
        )

    @property
    def headline_metrics(self) -> list[str]:
        """The treatment's most important metrics, then return and cost."""
        return [*self.problem.metric_names[:_HEADLINE_METRICS], "return", "cost"]

    def table(self, statistic: str = "mean") -> pd.DataFrame:
        """One row an agent with ``mean`` or ``iqm`` of the headline metrics and its success."""
        table = headline(self.summary, self.success, self.headline_metrics, statistic)
        return table.assign(agent=[self.labels[name] for name in table["agent"]])

    def worst_table(self) -> pd.DataFrame:
        """One row an agent with the mean of the worst tenth of the patients, by metric."""
        wide = self.summary.pivot(index="agent", columns="metric", values="worst_decile")
        table = wide[self.headline_metrics].dropna(axis="columns").reindex(list(self.labels))
        names = self.summary.drop_duplicates("metric").set_index("metric")
        table.columns = pd.Index([titled(*names.loc[m, ["label", "unit"]]) for m in table.columns])
        table.insert(0, "agent", [self.labels[name] for name in table.index])
        return table.reset_index(drop=True)

    def score_table(self) -> pd.DataFrame:
        """One row an agent: its normalised scores, if there is a scale, and its gain."""
        titles = {"mean": "Normalised score", "iqm": "Normalised score, interquartile mean"}
        columns: dict[str, list[object]] = {"agent": list(self.labels.values())}
        for statistic, found in self.scores.items():
            columns[titles[statistic]] = [found[name] for name in self.labels]
        gain = f"Return minus {self.labels[self.baseline]}"
        columns[gain] = [self.gains[name] for name in self.labels]
        return pd.DataFrame(columns)

    @property
    def reference_fault(self) -> str:
        """What is wrong with the reference, in words: it costs more than the baseline; else empty.

        A score against an agent that breaks a limit rewards breaking it.
        """
        if not self.reference:
            return ""
        costs = self.results.groupby("agent")["cost"].mean()
        own, usual = float(costs[self.reference]), float(costs[self.baseline])
        if own <= usual + 1e-9 * max(abs(usual), 1.0):
            return ""
        return (
            f"score 1, {self.labels[self.reference]}, goes over the limits more than score 0, "
            f"{self.labels[self.baseline]}: cost {show_number(own)} against {show_number(usual)}"
        )

    def document(self) -> JsonObject:
        """Everything as JSON-able data."""
        return {
            "env": self.problem.variant.id,
            "cohort": self.problem.cohort.name,
            "patients": len(self.problem.patients),
            "baseline": self.baseline,
            "reference": self.reference,
            "reference_fault": self.reference_fault,
            "no_scale": self.no_scale,
            "left_out": self.left_out,
            "labels": self.labels,
            "sees": self.sees,
            "key": None if self.key is None else dataclasses.asdict(self.key),
            "summary": self.summary.to_dict(orient="records"),
            "normalised_scores": self.scores,
            "success": self.success,
            "gain_over_baseline": self.gains,
            "extras": {name: t.to_dict(orient="records") for name, t in self.extras.items()},
        }

    def add_to(self, report: Report, number: int = 0) -> None:
        """Append this environment to a report: single courses, all patients, tables, learning.

        Args:
            report: The page.
            number: Number of the environment in it.
        """
        problem, name = self.problem, self.problem.variant.id
        report.add_text(
            f"{name}: {problem.variant.summary}. {len(problem.patients)} patients of the cohort "
            f"{problem.cohort.name!r} ({problem.cohort.description}); every agent treats the same "
            "patients with the same random streams. Intervals are 95 % bootstrap intervals over "
            f"patients; success has a Wilson interval. Score 0 = {self.labels[self.baseline]}"
            + (f", 1 = {self.labels[self.reference]}." if self.scores else ".")
            + (f" No normalised score ({self.no_scale})." if self.no_scale else "")
        )
        if self.reference_fault:
            report.add_text(f"Mind: {self.reference_fault}.")
        report.add_heading("One patient at a time", 3)
        report.add_chart(
            self.courses.document(self.labels, self.protagonists, number),
            "The first patients of the evaluation: the schedule, then the courses; a dotted line "
            "is a limit or a goal. Pointing at a panel, or the arrow keys on it, read its values; "
            "curves are drawn through the points that their shape needs.",
            f"Courses in {name}",
        )
        report.add_heading("All patients", 3)
        caption = (
            f"{name}: every outcome. Dot and thick line: mean and its 95 % interval; box, middle "
            "line and thin line: half of the patients, median, nine of ten patients."
        )
        outcomes = outcomes_chart(self.results, self.summary, self.labels)
        report.add_chart(outcomes, caption, f"Outcomes of the agents in {name}")
        if self.scores:
            caption = f"{name}: normalised score of each agent with its 95 % interval."
            report.add_chart(
                scores_chart(self.scores, self.labels), caption, f"Normalised scores in {name}"
            )
        report.add_heading("Numbers", 3)
        report.add_table(self.table("mean"), f"{name}: mean [95 % interval]")
        report.add_table(
            self.score_table(),
            f"{name}: normalised score, and paired difference of the return, patient by patient "
            "[95 % interval]",
        )
        further = {
            f"{name}: interquartile mean [95 % interval]": self.table("iqm"),
            f"{name}: mean of the worst tenth of the patients": self.worst_table(),
            **self.extras,
        }
        for caption, table in further.items():
            report.add_table(table, caption, folded=True)
        if self.left_out:
            report.add_text("Left out: " + "; ".join(self.left_out.values()))
        if self.figures:
            report.add_heading("Learning and search", 3)
        for caption, chart in self.figures.items():
            report.add_chart(chart, caption, caption)

    @property
    def standing(self) -> Standing:
        """What the first screen of a report says of this environment."""
        fair = rivals_of(self.sees, self.learnt, {"random"})
        best = best_of(self.results, fair | set(self.learnt)) or self.baseline
        return Standing(
            env_id=self.problem.variant.id,
            treatment=self.problem.treatment.title,
            patients=len(self.problem.patients),
            labels=self.labels,
            sees=self.sees,
            scores=self.scores.get("mean", {}),
            ends=(self.baseline, self.reference or self.baseline),
            best=best,
            gain=self.gains[best],
            key=self.key,
            shown=self.protagonists,
            trained=self.learnt,
        )

    @property
    def protagonists(self) -> list[str]:
        """Baseline, reference, best rival and what was trained: the agents that a summary shows."""
        chosen = (self.baseline, self.reference, self.rival, *self.learnt)
        return list(dict.fromkeys(name for name in chosen if name))

    def save(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Write results, summary, manifest, figures and a report of this comparison.

        Tables come first: they are kept if anything cannot be drawn.

        Raises:
            OutputFolderError: The folder cannot be written to, or holds a file of one of these
                names that is not ours.
            ReportError: A figure or the report could not be made.
        """
        output = OutputFolder.claim(folder, "evaluate", FILES)
        self.write_tables(output)
        output.write("manifest.json", lambda path: write_json_atomic(path, manifest))
        drawings = Drawings(folder)
        self.draw(output, drawings)
        with drawings.attempt("report.html"):
            report = Report(
                f"oncogym: {self.problem.variant.id}",
                f"{len(self.labels)} agents on the same {len(self.problem.patients)} patients.",
            )
            add_first_screen(report, [self.standing])
            report.add_links(dict(zip(TABLES, LINK_TEXTS, strict=True)))
            self.add_to(report)
            report.add_provenance(dict(manifest))
            output.write("report.html", report.write)
        output.forget_others()
        drawings.require_all()

    def write_tables(self, output: OutputFolder, place: str = "") -> None:
        """Write the three tables, their names behind ``place``."""
        for name, table in (("results.csv", self.results), ("summary.csv", self.summary)):
            output.write(place + name, partial(write_csv_atomic, frame=table))
        document = self.document()
        output.write(place + TABLES[2], lambda path: write_json_atomic(path, document))

    def draw(self, output: OutputFolder, drawings: Drawings, place: str = "") -> None:
        """Write the figures, ``figures/01.png`` and so on.

        Args:
            output: Folder of the report.
            drawings: The figures as data.
            place: Folder in it.
        """
        with drawings.attempt("figures"):
            for number, (title, figure) in enumerate(self._figures().items(), 1):
                with drawings.attempt(title):
                    output.write(f"{place}figures/{number:02d}.png", partial(save_png, figure))

    def _figures(self) -> dict[str, Figure]:
        named = {self.labels[name]: course for name, course in self.courses.of(0).items()}
        title = "first patient of the cohort"
        metric = self.problem.treatment.task.metrics[0]
        results = self.results.assign(agent=[self.labels[n] for n in self.results["agent"]])
        figures: dict[str, Figure] = {}
        if "mean" in self.scores:
            figures["Normalised score of each agent"] = draw(scores_chart(self.scores, self.labels))
        label = f"{metric.label} [{metric.unit}]" if metric.unit else metric.label
        figures[f"{metric.label} over the patients"] = plot_distribution(
            results, metric.name, label
        )
        figures["Course of the first patient under each agent"] = plot_courses(named, title)
        if any(trace.events for trace in next(iter(named.values()))):
            figures["What each agent gave the first patient"] = plot_schedules(named, title)
        return {**figures, **{name: draw(chart) for name, chart in self.figures.items()}}


def print_comparison(comparison: Comparison) -> None:
    """Print the headline tables."""
    problem = comparison.problem
    print(
        f"\n{problem.variant.id}: {len(problem.patients)} patients of cohort "
        f"{problem.cohort.name!r}; estimate [95 % interval]"
    )
    tables = {
        "Mean": comparison.table("mean"),
        "Interquartile mean": comparison.table("iqm"),
        "Mean of the worst tenth of the patients": comparison.worst_table(),
        "Normalised score and gain": comparison.score_table(),
    }
    for title, table in tables.items():
        print(f"\n{title}\n{text_table(table)}")
    if comparison.reference_fault:
        print(f"\nmind: {visible(comparison.reference_fault)}")
    if comparison.no_scale:
        print(f"\nno normalised score: {comparison.no_scale}")
    for name, reason in comparison.left_out.items():
        print(f"left out {visible(name)}: {visible(reason)}")


def text_table(table: pd.DataFrame) -> str:
    """A line an agent; columns that do not fit the terminal go into further blocks below."""
    columns = [
        [visible(str(name)), *map(visible, show_column(list(table[name])))]
        for name in table.columns
    ]
    widths = [max(len(cell) for cell in column) for column in columns]
    room = shutil.get_terminal_size((120, 24)).columns
    blocks, used = [[0]], widths[0]
    for index in range(1, len(columns)):
        if len(blocks[-1]) > 1 and used + 2 + widths[index] > room:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(index)
        used += 2 + widths[index]
    return "\n\n".join(
        "\n".join(
            "  ".join(columns[i][row].ljust(widths[i]) for i in block).rstrip()
            for row in range(len(columns[0]))
        )
        for block in blocks
    )
