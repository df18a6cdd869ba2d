"""How long controllers and rules take to decide.

``python -m oncogym.evaluation.decision_time [ENV …] --out FILE.csv`` treats a few held-out patients
of each cohort with each controller of a benchmark's preset and with the clinical rule that decides
most slowly, and writes the time spent in deciding, without the time of the course itself. It is a
measurement of this machine: nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from oncogym.agents.agent import Agent, attending
from oncogym.agents.clinical import RuleAgent, clinical_agents
from oncogym.agents.delegate import Delegate
from oncogym.agents.mpc import RecedingHorizon
from oncogym.agents.rollout import rollout
from oncogym.core.checks import whole_number
from oncogym.core.files import write_csv_atomic
from oncogym.envs.problem import Problem
from oncogym.evaluation.benchmark.controllers import controllers_of
from oncogym.evaluation.benchmark.presets import PRESETS, Preset
from oncogym.evaluation.benchmark.run import default_envs
from oncogym.evaluation.harness import resolve


class Timed(Delegate):
    """An agent whose decisions are timed.

    Args:
        agent: The one that decides.

    Attributes:
        seconds: Time spent in each decision of the batch [s].
    """

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self.seconds: list[float] = []

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Ask, timed."""
        started = time.perf_counter()
        decided = super().predict(observation, state, episode_start, deterministic)
        self.seconds.append(time.perf_counter() - started)
        return decided


def time_decisions(problem: Problem, agent: Agent) -> list[float]:
    """Seconds of each decision for all patients of a problem together; compiled code is warm.

    Args:
        problem: The treatment and its patients.
        agent: Any agent; a controller is bound to the problem.
    """
    task, count = problem.task(), len(problem.patients)
    episodes = np.zeros(count, np.uint64)
    first = task.reset(np.arange(count), problem.patients, problem.seeds, episodes)
    agent = attending(agent, task)
    agent.predict(first, episode_start=np.ones(count, np.bool_), deterministic=True)
    timed = Timed(agent)
    rollout(task, timed, problem.patients, problem.seeds)
    return timed.seconds


def decision_table(env_id: str, preset: Preset, patients: int, seed: int = 0) -> pd.DataFrame:
    """One row an agent.

    Args:
        env_id: Registered id.
        preset: Amount of work of the controllers.
        patients: Patients treated together, at least 1.
        seed: Seed of patients and searches.

    Returns:
        ``env``, ``agent``, ``patients``, ``decisions`` of a course, ``seconds`` for a decision of
        one patient (mean over the course), ``slowest`` (the largest of them), ``budget`` (courses
        simulated for a decision).
    """
    whole_number("patients", patients, 1, 10**6)
    suited = preset.suited(Problem.resolve(env_id).variant)
    problem = resolve(env_id, patients=patients, seed=seed)
    rules, _ = clinical_agents(problem.treatment, problem.task(1))
    controllers = {n: c.bind(problem) for n, c in controllers_of(problem, suited, seed).items()}
    rows = []
    for name, agent in {**rules, **controllers}.items():
        if isinstance(agent, RecedingHorizon):
            budget = agent.settings.budget
        elif isinstance(agent, RuleAgent) and not agent.options:
            budget = 0
        else:  # a schedule, or a rule that has to be shown more
            continue
        seconds = np.array(time_decisions(problem, agent)) / patients
        rows.append(
            {
                "env": env_id,
                "agent": name,
                "patients": patients,
                "decisions": len(seconds),
                "seconds": seconds.mean(),
                "slowest": seconds.max(),
                "budget": budget,
            }
        )
    table = pd.DataFrame(rows)
    slowest_rule = table[table["budget"] == 0].nlargest(1, "seconds")
    return pd.concat([slowest_rule, table[table["budget"] > 0]], ignore_index=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("envs", nargs="*", metavar="ENV", help="ids; the benchmark's by default")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="quick")
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, help="CSV file")
    args = parser.parse_args(arguments)
    tables = []
    for env_id in args.envs or default_envs():
        try:
            table = decision_table(env_id, PRESETS[args.preset], args.patients, args.seed)
        except ValueError as error:
            parser.error(str(error))
        sys.stdout.write(table.to_string(index=False, float_format="{:.2g}".format) + "\n")
        sys.stdout.flush()
        tables.append(table)
    write_csv_atomic(args.out, pd.concat(tables, ignore_index=True).round(6))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
