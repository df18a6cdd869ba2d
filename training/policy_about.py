"""What a learner's policy file says of the problem and the wrappers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oncogym.core.json_types import JsonObject
from oncogym.envs.problem import Problem
from oncogym.wrappers.named import NamedWrapper, chain_of, decisive


def policy_header(
    problem: Problem, wrappers: Sequence[NamedWrapper], about: Mapping[str, object]
) -> JsonObject:
    """Arguments of :class:`oncogym.agents.policy_header.Described`, without how actions are read.

    Args:
        problem: What was trained on.
        wrappers: The wrappers around the lanes, innermost first.
        about: Anything else worth keeping.
    """
    task = problem.kept_task(1)
    kept = decisive(wrappers)
    chain = chain_of(kept, task)
    header: dict[str, Any] = {
        "env_id": problem.env_id,
        "treatment": problem.treatment.name,
        "options": dict(problem.options),
        "observation_space": chain.observation_space,
        "action_space": chain.action_space,
        "about": about,
    }
    return {**header, "wrappers": kept} if kept else header
