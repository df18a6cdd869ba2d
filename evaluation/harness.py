"""Compare agents on the same patients with the same random streams."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from oncogym.agents.agent import Agent
from oncogym.agents.clinical import RuleAgent
from oncogym.agents.rollout import Rollout
from oncogym.agents.task_spec import TaskSpec
from oncogym.core.checks import whole_number
from oncogym.core.errors import UnknownNameError
from oncogym.envs import streams
from oncogym.envs.cohort import Cohort, Fixed
from oncogym.envs.options import resolve_options
from oncogym.envs.registry import find_variant
from oncogym.envs.therapy import Floats, TherapyTask
from oncogym.envs.treatment import Treatment, Variant
from oncogym.evaluation.shards import PATIENTS, Shard, cut, joined, together, treat
from oncogym.parallel.base import Executor, LanesExecutor


@dataclass(frozen=True)
class Problem:
    """An environment id resolved: its treatment, task options and evaluation patients.

    Attributes:
        treatment: The treatment.
        variant: The registered id.
        options: Options of the task.
        cohort: The cohort of the patients.
        patients: Patient rows ``(patients, fields)``.
        seeds: Random key of each patient ``(patients,)``.
    """

    treatment: Treatment
    variant: Variant
    options: dict[str, Any]
    cohort: Cohort
    patients: Floats
    seeds: Any

    def task(self, lanes: int | None = None) -> TherapyTask:
        """A task with one lane a patient, or with ``lanes`` lanes."""
        return self.treatment.task(lanes or len(self.patients), **self.options)

    def spec(self, agent: Any) -> TaskSpec | None:
        """The task that an agent needs to act in, ``None`` if that of the problem will do.

        A rule that has to see hidden quantities acts in a task that shows them: the same patients
        with the same chance.
        """
        if not isinstance(agent, RuleAgent) or not agent.options:
            return None
        return TaskSpec(self.treatment, {**self.options, **agent.options})

    @property
    def metric_names(self) -> list[str]:
        """Names of the treatment's outcome metrics."""
        return [metric.name for metric in self.treatment.task.metrics]


#: Patients of one evaluation at most; more do not fit into memory with their results.
MOST_PATIENTS = 1_000_000
# Above this, neighbouring seeds would choose the same patients of an unlimited cohort.
_LARGEST_SEED = 2**48 - 1


def resolve(
    env_id: str,
    *,
    cohort: str | None = None,
    patients: int = 200,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Problem:
    """Look up an environment id and draw the patients of an evaluation.

    Args:
        env_id: A registered id.
        cohort: Cohort name; by default the variant's evaluation cohort.
        patients: Number of patients, up to :data:`MOST_PATIENTS`.
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
    treatment, variant = find_variant(env_id)
    whole_number("patients", patients, 1, MOST_PATIENTS)
    whole_number("seed", seed, 0, _LARGEST_SEED)
    chosen = choose_patients(treatment, variant, cohort, options, variant.evaluation_cohort)
    merged, _ = resolve_options(treatment, variant, options)
    seeds = np.arange(seed, seed + patients, dtype=np.uint64)
    rows = chosen.patients(patients, seed)
    return Problem(treatment, variant, merged, chosen, rows, seeds)


def choose_patients(
    treatment: Treatment,
    variant: Variant,
    cohort: str | None,
    options: Mapping[str, Any] | None,
    usual: str,
) -> Cohort:
    """The cohort that a user asked for, by name or by the options ``cohort`` and ``patient``.

    Args:
        treatment: The treatment.
        variant: Environment.
        cohort: Name, or ``None``.
        options: What the user set on top of the environment's own options.
        usual: Name if nothing else was asked for.

    Raises:
        UnknownNameError: There is no such cohort, option or field of a patient.
        ValueError: See :func:`resolve`.
    """
    asked = dict(options or {})
    if asked.get("max_episode_steps") is not None:
        raise ValueError(
            f"option 'max_episode_steps' is {asked['max_episode_steps']!r}; allowed: in training "
            "only, patients are treated to the end here"
        )
    resolve_options(treatment, variant, asked)  # names and types
    name, patient = asked.get("cohort"), asked.get("patient")
    if None not in (cohort, name) and cohort != name:
        raise ValueError(f"cohort is {cohort!r}, and option 'cohort' is {name!r}; allowed: one")
    name = cohort if name is None else name
    if patient is None:
        return treatment.cohort(usual if name is None else name)
    if name is not None:
        raise ValueError(
            f"option 'patient' is {reprlib.repr(patient)}, and the cohort is {name!r}; allowed: one"
        )
    try:
        row = treatment.patient_rows(patient, 1)[0]
    except UnknownNameError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"option 'patient' is {reprlib.repr(patient)}: {error}") from None
    return Cohort(
        "patient",
        "one patient, with other chance each time",
        Fixed(tuple(row.tolist())),
        streams.STREAM_PATIENT,
        distinct=1,
    )


def evaluate(
    env_id: str,
    agents: Mapping[str, Agent | Callable[[TherapyTask], Agent]],
    cohort: str | None = None,
    patients: int = 200,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
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
    agents: Mapping[str, Any],
    executor: Executor | None = None,
    *,
    lanes: int = PATIENTS,
) -> pd.DataFrame:
    """:func:`evaluate` for a problem that is resolved already.

    Args:
        problem: Environment and patients.
        agents: Agents by name.
        executor: Who does the work; by default this process.
        lanes: Patients who are treated together, on the device ``cpu``.

    Raises:
        ExecutorError: The workers cannot do it.
    """
    common = TaskSpec(problem.treatment, problem.options)
    parts = cut(len(problem.patients), together(common, lanes))
    shards = [
        Shard.of(spec, agent, part, problem.patients, problem.seeds)
        for agent in agents.values()
        for spec in [problem.spec(agent) or common]
        for part in parts
    ]
    results = iter((executor or LanesExecutor()).map(treat, shards))
    return pd.concat(
        [result_table(name, problem, joined([next(results) for _ in parts])) for name in agents],
        ignore_index=True,
    )


def result_table(name: str, problem: Problem, result: Rollout) -> pd.DataFrame:
    """One row a patient of an agent's episodes, see :func:`evaluate`."""
    task = problem.treatment.task
    columns: dict[str, Any] = {
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
