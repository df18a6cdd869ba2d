"""A rule, controller or plan as a part of a study: what it does to the patients of the policies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np

from oncogym.agents.agent import Agent, what_is_seen
from oncogym.agents.mpc import CONTROLLERS, MPCSettings, find_controller
from oncogym.core.errors import nearest
from oncogym.core.json_types import JsonObject
from oncogym.evaluation.agent_names import load_agents
from oncogym.evaluation.harness import resolve
from oncogym.evaluation.statistics import hierarchical_difference
from oncogym.evaluation.study_folder import Part, bare_name
from oncogym.evaluation.training_part import SCORES, require_each_once, scores_of

# Numbers among the settings of controllers; a belief has settings of its own.
_CONTROL = [one.name for one in fields(MPCSettings) if one.name != "belief"]


def score_rival(
    *,
    env: str,
    rival: str,
    patients: int,
    patients_seed: int,
    control: Mapping[str, object] | None = None,
    progress: bool = False,
) -> JsonObject:
    """Treat patients of the evaluation cohort.

    Args:
        env: Registered id.
        rival: Name of the agent, as ``oncogym evaluate`` takes it.
        patients, patients_seed: How many patients, and their chance.
        control: Settings of a controller in place of those that suit the environment.
        progress: There is nothing to show.

    Returns:
        ``cohort``, what the agent ``sees``, and
        :data:`~oncogym.evaluation.training_part.SCORES` of each patient.
    """
    problem = resolve(env, patients=patients, seed=patients_seed)
    if control:
        agent: Agent = find_controller(rival)(MPCSettings.suited(problem, control))
    else:
        (agent,) = load_agents(problem, [rival])[0].values()
    return {
        "cohort": problem.cohort.name,
        "sees": what_is_seen(agent, problem.kept_task(1)),
        **scores_of(problem, agent),
    }


def rival_parts(
    env: str,
    rivals: Sequence[str],
    *,
    patients: int,
    patients_seed: int,
    control: Mapping[str, object] | None = None,
) -> list[Part]:
    """Rivals of the policies of an environment, as parts of a study called ``ENV-rival-NAME``.

    Args:
        env: Registered id, the full one.
        rivals: Names of agents, as ``oncogym evaluate`` takes them.
        patients, patients_seed: Who is treated.
        control: Settings of the controllers among them in place of those that suit the environment:
            ``budget``, ``population``, ``scenarios``, ``replan_every`` and so on, see
            :class:`~oncogym.agents.mpc.MPCSettings`.

    Raises:
        UnknownNameError: There is no such agent in the treatment, or no such setting.
        ScheduleError: A protocol does not fit the environment.
        ValueError: A rival is named twice, a setting is out of range, or there are settings and no
            controller to take them.
    """
    if control and not set(rivals) & set(CONTROLLERS):
        raise ValueError(
            f"control is {dict(control)}, but the rivals are {list(rivals)}; allowed: with one of "
            f"{', '.join(CONTROLLERS)}"
        )
    if not rivals:
        return []
    require_each_once("rivals", rivals)
    problem = resolve(env, patients=patients, seed=patients_seed)
    load_agents(problem, rivals)
    for setting in control or ():
        if setting not in _CONTROL:
            raise nearest("setting of controllers", setting, _CONTROL)
    MPCSettings.suited(problem, control)
    parts = []
    for name in rivals:
        whom = {"env": env, "rival": name, "patients": patients, "patients_seed": patients_seed}
        if control and name in CONTROLLERS:
            whom["control"] = dict(control)
        parts.append(Part(f"{bare_name(env)}-rival-{_as_file(name)}", score_rival, whom))
    return parts


def _as_file(name: str) -> str:
    """A name without what is special in the name of a file; a path keeps all its parts."""
    return re.sub(r"[^\w=+.-]", "_", name)


def differences_from(
    runs: Sequence[Mapping[str, Sequence[float]]], rival: Mapping[str, Sequence[float]]
) -> JsonObject:
    """What policies reach minus what a rival does, paired, with 95 % intervals.

    Args:
        runs: Runs that differ in their training seed only.
        rival: The rival on the same patients.

    Returns:
        Of each score ``NAME``: ``NAME`` of the runs, ``rival_NAME``, ``NAME_minus``,
        ``NAME_minus_low`` and ``NAME_minus_high``; the interval is over patients, and over training
        seeds where there are several.
    """
    row: JsonObject = {}
    for name in SCORES:
        ours = np.array([run[name] for run in runs], np.float64)
        theirs = np.array(rival[name], np.float64)
        found = hierarchical_difference(ours, theirs)
        row[name] = float(ours.mean())
        row[f"rival_{name}"] = float(theirs.mean())
        row[f"{name}_minus"] = found.estimate
        row[f"{name}_minus_low"], row[f"{name}_minus_high"] = found.low, found.high
    return row
