"""What an optimised plan is worth beside the clinic and no treatment, and what is wrong with it."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import pandas as pd

from oncogym.agents.agent import Agent
from oncogym.agents.clinical import clinical_agent
from oncogym.agents.plan import PlanAgent
from oncogym.envs.problem import Problem
from oncogym.envs.protocols import Schedule, ScheduleError
from oncogym.evaluation.harness import evaluate_problem
from oncogym.evaluation.metrics import titled
from oncogym.evaluation.numbers import show_number

# Of a treatment's metrics, so many stand beside return and cost.
_METRICS = 3
# Sums of the same numbers in another order differ by so much, relatively.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class PlanCheck:
    """A plan beside the clinic and no treatment, for the same patients under the same chance.

    Attributes:
        agents: Clinic and no treatment, where the treatment has them, by label.
        table: One row for the plan and each of them: means over the patients.
        faults: What is wrong with the plan, in words; none if it is at least as good as the clinic
            and breaks no limit more than the clinic does.
    """

    agents: dict[str, Agent]
    table: pd.DataFrame
    faults: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The table and the faults as JSON-able data."""
        return {"comparison": self.table.to_dict(orient="records"), "faults": list(self.faults)}


def check_plan(problem: Problem, plan: Agent, executor: Executor | None = None) -> PlanCheck:
    """Treat the problem's patients with a plan, by the clinic's protocol and not at all.

    The chance is that of an evaluation, which a search does not meet.

    Args:
        problem: Environment and patients.
        plan: The plan.
        executor: Who treats; by default this process.

    Raises:
        ExecutorError: The workers cannot do it.
    """
    clinic = _agent(problem, problem.variant.baseline)
    nothing = _agent(problem, _no_treatment(problem))
    agents: dict[str, Agent] = {"the plan": plan}
    if clinic is not None:
        agents[f"{clinic.label} (the clinic)"] = clinic
    if nothing is not None:
        agents[str(nothing.label)] = nothing
    results = evaluate_problem(problem, agents, executor)
    numbers = results.drop(columns=["agent", "patient"]).astype(float)
    averages = numbers.groupby(results["agent"], sort=False).mean()
    means: dict[Any, dict[Any, float]] = averages.T.to_dict()
    own = means["the plan"]
    faults = []
    usual = None if clinic is None else means[f"{clinic.label} (the clinic)"]
    if usual is not None and own["return"] < usual["return"] - _ROUNDING * abs(usual["return"]):
        faults.append(
            f"the plan is worse than the clinic: return {show_number(own['return'])}, the clinic's "
            f"{show_number(usual['return'])}"
        )
    for name in problem.treatment.task.costs:
        spent = own[f"cost_{name}"]
        allowed = 0.0 if usual is None else usual[f"cost_{name}"]
        if spent > allowed * (1.0 + _ROUNDING) + _ROUNDING:
            faults.append(
                f"the plan is over the limit {name!r}: cost {show_number(spent)}, "
                + ("allowed: 0" if usual is None else f"the clinic's {show_number(allowed)}")
            )
    metrics = problem.treatment.task.metrics[:_METRICS]
    columns = {"return": "Return", "cost": "Cost", "success": "Success"}
    columns |= {metric.name: titled(metric.label, metric.unit) for metric in metrics}
    table = averages[list(columns)].rename(columns=columns).reset_index(names="agent")
    others = {name: agent for name, agent in agents.items() if agent is not plan}
    return PlanCheck(others, table, tuple(faults))


def beside(problem: Problem, plans: dict[str, PlanAgent]) -> pd.DataFrame:
    """One row a decision with the physical quantities of each open-loop plan, by label."""
    task = problem.task(1)
    units = dict(task.action_parts)
    columns: dict[str, object] = {"decision": range(1, task.num_decisions + 1)}
    for label, plan in plans.items():
        for name, values in task.to_physical(plan.actions).items():
            columns[f"{titled(name, units.get(name, ''))}, {label}"] = values
    return pd.DataFrame(columns)


def _no_treatment(problem: Problem) -> str:
    """The name of the treatment's protocol without any event, or empty."""
    for name, protocol in problem.treatment.protocols.items():
        if isinstance(protocol, Schedule) and not protocol.events:
            return name
    return ""


def _agent(problem: Problem, name: str) -> Any:
    if not name:
        return None
    try:
        return clinical_agent(problem.treatment, problem.task(1), name)
    except ScheduleError:
        return None  # the decisions of this environment cannot express it
