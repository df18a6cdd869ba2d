"""Choose the numbers of a clinical rule on patients who are kept apart for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Executor

import pandas as pd

from oncogym.agents.clinical import RuleAgent, clinical_agent
from oncogym.envs.problem import Problem
from oncogym.envs.protocols import Rule
from oncogym.evaluation.harness import evaluate_problem
from oncogym.evaluation.kept_courses import KeptCourses

#: Cohort on which rules are tuned: nobody trains on it and no result is reported for it.
COHORT = "validation"


def tune_rule(
    problem: Problem,
    name: str,
    executor: Executor | None = None,
    progress: Callable[[], object] | None = None,
    kept: KeptCourses | None = None,
) -> pd.DataFrame:
    """Try every combination of a rule's grid on the same patients.

    The chosen one has the highest mean return of those whose mean cost is not above that of the
    id's clinical protocol: a rule that wins by breaking a limit is no rule for a clinic.

    Args:
        problem: Whom to treat, in which task.
        name: The rule, a protocol of the treatment with a grid.
        executor: Who does the work; by default this process.
        progress: Called after each combination.
        kept: Courses that need no simulation any more, and where new ones are kept.

    Returns:
        One row a combination: its settings, the means of ``return``, ``success`` and ``cost``,
        whether the cost is ``allowed``, and ``chosen``.

    Raises:
        UnknownNameError: The treatment has no such protocol.
        ScheduleError: The task does not show what the rule needs.
        ValueError: The protocol has no grid.
    """
    rule = problem.treatment.protocol(name)
    if not isinstance(rule, Rule) or not rule.grid:
        raise ValueError(f"protocol {name!r} has nothing to tune; allowed: {tunable(problem)}")
    task = problem.task(1)
    clinical_agent(problem.treatment, task, name)  # whether the task shows what it needs
    allowed = _allowed_cost(problem, executor, kept)
    rows = []
    for values in itertools.product(*rule.grid.values()):
        settings = dict(zip(rule.grid, values, strict=True))
        agent = RuleAgent(rule.with_settings(**settings), task)
        table = evaluate_problem(problem, {name: agent}, executor, kept=kept)
        means = {column: float(table[column].mean()) for column in ("return", "success", "cost")}
        rows.append({**settings, **means, "allowed": means["cost"] <= allowed})
        if progress is not None:
            progress()
    table = pd.DataFrame(rows)
    best = table["return"].where(table["allowed"]).idxmax() if table["allowed"].any() else -1
    table["chosen"] = table.index == best
    return table


def tunable(problem: Problem) -> list[str]:
    """Names of the treatment's rules that have a grid."""
    protocols = problem.treatment.protocols
    return [name for name, one in protocols.items() if isinstance(one, Rule) and one.grid]


def _allowed_cost(problem: Problem, executor: Executor | None, kept: KeptCourses | None) -> float:
    usual = problem.variant.baseline
    if not usual:
        return 0.0
    agent = clinical_agent(problem.treatment, problem.task(1), usual)
    return float(evaluate_problem(problem, {usual: agent}, executor, kept=kept)["cost"].mean())
