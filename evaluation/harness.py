"""Compare agents on the same patients with the same random streams."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

import numpy as np
import pandas as pd
from tqdm import tqdm

from oncogym.agents.agent import Agent
from oncogym.agents.rollout import Rollout
from oncogym.envs.cohort import CohortName
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import TherapyTask
from oncogym.evaluation.kept_courses import KeptCourses
from oncogym.evaluation.shards import PATIENTS, Shard, cut, joined, together
from oncogym.parallel.base import LanesExecutor


def resolve(
    env_id: str,
    *,
    cohort: CohortName | None = None,
    patients: int = 200,
    seed: int = 0,
    options: Mapping[str, object] | None = None,
) -> Problem:
    """Look up an environment id and draw the patients of an evaluation.

    Args:
        env_id: A registered id.
        cohort: Cohort; by default the variant's evaluation cohort. One of your own is the path of a
            JSON file or its content, see :meth:`oncogym.envs.cohort.Cohort.from_json`.
        patients: Number of patients.
        seed: Patient *k* has the random key ``seed + k``; in an unlimited cohort the seed also
            chooses the list of patients.
        options: Options on top of the variant's: those of the task, ``patient`` (a mapping of
            fields: that patient is treated each time) or ``cohort`` (as the argument).

    Raises:
        UnknownNameError: The id, cohort, an option or a field of the patient does not exist.
        ValueError: The cohort has fewer patients, a value is out of range or of another type, two
            arguments contradict each other, or ``max_episode_steps`` is among the options: an
            evaluation treats everybody to the end.
    """
    problem = Problem.resolve(env_id, options, cohort=cohort, evaluated=True)
    return problem.require_whole_courses().drawn(patients, seed)


def evaluate(
    env_id: str,
    agents: Mapping[str, Agent | Callable[[TherapyTask], Agent]],
    cohort: CohortName | None = None,
    patients: int = 200,
    seed: int = 0,
    options: Mapping[str, object] | None = None,
    executor: Executor | None = None,
) -> pd.DataFrame:
    """Treat the same patients with every agent.

    Args:
        env_id: A registered id.
        agents: Agents by name; anything with SB3's ``predict``.
        cohort, patients, seed, options: See :func:`resolve`.
        executor: Who does the work; by default this process. The table does not depend on it.

    Returns:
        One row for each agent and patient: ``agent``, ``patient``, ``return``, ``length``,
        ``cost`` and its parts ``cost_*``, the treatment's outcome metrics, ``success``,
        ``clipped``, and ``term_*`` for each summed reward term.

    Raises:
        UnknownNameError, ValueError: See :func:`resolve`.
        ExecutorError: The workers cannot do it.
    """
    problem = resolve(env_id, cohort=cohort, patients=patients, seed=seed, options=options)
    return evaluate_problem(problem, agents, executor)


def evaluate_problem(
    problem: Problem,
    agents: Mapping[str, object],
    executor: Executor | None = None,
    *,
    lanes: int = PATIENTS,
    kept: KeptCourses | None = None,
) -> pd.DataFrame:
    """:func:`evaluate` for a problem that is resolved already.

    Args:
        problem: Environment and patients.
        agents: Agents by name.
        executor: Who does the work; by default this process.
        lanes: Patients who are treated together, on the device ``cpu``.
        kept: Courses that need no simulation any more, and where new ones are kept.

    Raises:
        ExecutorError: The workers cannot do it.
    """
    parts = cut(len(problem.patients), together(problem, lanes))
    shards = [Shard.of(problem, agent, part) for agent in agents.values() for part in parts]
    title = problem.variant.id.rpartition("/")[2]
    with tqdm(
        total=len(shards), desc=title, unit="batch", leave=False, file=sys.stderr, disable=None
    ) as bar:
        kept = kept or KeptCourses()
        results = kept.treated(shards, executor or LanesExecutor(), bar.update)
        tables = [
            result_table(name, problem, joined([next(results) for _ in parts])) for name in agents
        ]
    return pd.concat(tables, ignore_index=True)


def result_table(name: str, problem: Problem, result: Rollout) -> pd.DataFrame:
    """One row a patient of an agent's episodes, see :func:`evaluate`.

    Args:
        name: Name of the agent.
        problem: The patients.
        result: Its episodes, one a patient.
    """
    task = problem.treatment.task
    columns: dict[str, object] = {
        "agent": name,
        "patient": np.arange(len(problem.patients)),
        "return": result.returns,
        "length": result.lengths,
        "cost": result.costs.sum(axis=1),
    }
    columns.update({f"cost_{cost}": result.costs[:, i] for i, cost in enumerate(task.costs)})
    columns.update({metric: result.outcome[:, i] for i, metric in enumerate(problem.metric_names)})
    columns["success"] = result.success
    columns["clipped"] = result.clipped
    columns.update({f"term_{term}": result.terms[:, i] for i, term in enumerate(task.reward_terms)})
    return pd.DataFrame(columns)
