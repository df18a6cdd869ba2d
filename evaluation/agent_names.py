"""Agents by the names on a command line, each with a name of its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oncogym.agents.agent import Agent
from oncogym.agents.bound import BoundAgent
from oncogym.agents.clinical import RandomAgent, clinical_agent, clinical_agents
from oncogym.agents.learned import PolicyAgent, policy_folder, require_match
from oncogym.agents.mpc import CONTROLLERS
from oncogym.agents.plan import load_plan
from oncogym.agents.shipped import PREFIX, pretrained
from oncogym.core.errors import nearest
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import TherapyTask
from oncogym.envs.treatment import Treatment
from oncogym.evaluation.report.labels import visible

RANDOM = "random"


def reserved_names(treatment: Treatment) -> list[str]:
    """Names of agents that are no paths."""
    return [*treatment.protocols, *treatment.bounds, RANDOM, *CONTROLLERS]


def load_agents(
    problem: Problem, named: Sequence[str], seed: int = 0
) -> tuple[dict[str, Agent], dict[str, str]]:
    """Agents by the names that a command line gives, and why some protocols cannot take part.

    An agent is named by a clinical protocol, a bound of the treatment, ``random``, a controller
    such as ``mpc_scenario``, the folder of a trained policy, ``pretrained:NAME`` for one that comes
    with the suite, or a plan file. Without names, all protocols that the environment can express.
    A policy or plan is called by the end of its path that tells it from the others, see
    :func:`name_agents`.

    Args:
        problem: Whom the agents treat.
        named: Names of agents; empty for all protocols.
        seed: Seed of agents that draw random numbers.

    Raises:
        UnknownNameError: A name is none of these.
        ScheduleError: A named protocol does not fit the environment.
        ValueError: An agent is named twice, or a plan or policy does not fit.
    """
    task = problem.task(1)
    if not named:
        return clinical_agents(problem.treatment, task)
    names = name_agents(named, reserved_names(problem.treatment))
    return {names[one]: _load(problem, task, one, seed) for one in named}, {}


def name_agents(named: Sequence[str], reserved: Sequence[str]) -> dict[str, str]:
    """What each agent of a comparison is called; no two are called the same.

    Those in ``reserved`` keep their name. A path is called by its last part, without the ending of
    a file; where another agent, or one of ``reserved``, is called so too, by as many of its last
    parts as it takes.

    Args:
        named: Agents as they were named.
        reserved: Names that are no paths.

    Returns:
        Names by what was named.

    Raises:
        ValueError: The same agent is named twice; the message has both names.
    """
    paths: dict[str, Path] = {}
    seen: dict[str, str] = {}
    for one in named:
        is_name = one in reserved or one.startswith(PREFIX)
        where = one if is_name else os.path.realpath(policy_folder(one))
        if where in seen:
            raise ValueError(
                f"the same agent is named twice, as {seen[where]!r} and {one!r}; allowed: each once"
            )
        seen[where] = one
        if not is_name:
            paths[one] = Path(os.path.abspath(one))
    parts = dict.fromkeys(paths, 1)
    while True:
        names = {one: _tail(path, parts[one]) for one, path in paths.items()}
        count = Counter([*names.values(), *reserved])
        clashing = [one for one, name in names.items() if count[name] > 1]
        longer = [one for one in clashing if parts[one] < len(paths[one].parts)]
        if not longer:
            break
        for one in longer:
            parts[one] += 1
    for one in clashing:  # files that differ in their ending alone
        names[one] = visible(str(paths[one]))
    found: dict[str, str] = {}
    for one in named:
        name = names.get(one, one)
        if name in found.values():
            raise ValueError(f"{one!r} would be called {name!r}, as another agent is; rename it")
        found[one] = name
    return found


def _tail(path: Path, parts: int) -> str:
    """The last ``parts`` of a path, without the ending of a file."""
    bare = path if path.is_dir() else path.with_suffix("")
    return visible("/".join(bare.parts[-parts:]))


def _load(problem: Problem, task: TherapyTask, named: str, seed: int) -> Agent:
    if named in problem.treatment.protocols:
        return clinical_agent(problem.treatment, task, named)
    if named in problem.treatment.bounds:
        return BoundAgent(problem.treatment.bounds[named])
    if named == RANDOM:
        return RandomAgent(int(np.prod(task.action_space.shape)), seed)
    if named in CONTROLLERS:
        return CONTROLLERS[named](seed=seed)
    if named.startswith(PREFIX):
        return pretrained_agent(problem, named)
    path = Path(named)
    if named and path.is_dir():
        return PolicyAgent.load(path, problem.variant.id, problem.options)
    if named and path.is_file():
        plan = load_plan(path, problem.patients)
        if plan.actions.shape[-1:] != task.action_space.shape:
            raise ValueError(
                f"{path}: its actions have size {plan.actions.shape[-1:]}; "
                f"{problem.variant.id} takes {task.action_space.shape}"
            )
        return plan
    raise nearest("agent", named, reserved_names(problem.treatment))


def pretrained_agent(problem: Problem, named: str) -> PolicyAgent:
    """The shipped policy ``pretrained:NAME`` for a problem.

    Raises:
        PolicyMismatchError: The problem has other options than the environment's id.
        UnknownNameError, ValueError: There is none, see :func:`oncogym.agents.pretrained`.
    """
    agent = pretrained(problem.variant.id, named.removeprefix(PREFIX))
    require_match(agent.policy, problem.variant.id, problem.options)
    return agent
