"""Options of an environment, taken apart, checked and completed."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Mapping
from typing import Any

from oncogym.core.errors import nearest
from oncogym.core.files import to_plain
from oncogym.envs.option_types import describe, fits, parameter_types
from oncogym.envs.treatment import Treatment, Variant

#: Options that choose whom an environment treats and for how long, not what the problem is.
ENVIRONMENT_OPTIONS = ("cohort", "patient", "max_episode_steps")

# Of the environment options that JSON can express; records and rows are checked by the treatment.
_ENVIRONMENT_TYPES: dict[str, Any] = {
    "cohort": str | Mapping,
    "max_episode_steps": int | None,
}


def resolve_options(
    treatment: Treatment, variant: Variant, options: Mapping[str, object] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a variant with a user's on top: ``(task options, environment options)``.

    Values are checked against the annotations of the task's own signature.

    Args:
        treatment: The treatment.
        variant: The variant, whose options come first.
        options: A user's options by name.

    Raises:
        UnknownNameError: There is no such option; the message suggests the nearest.
        ValueError: A value is of another type than the option; the message names option, value and
            what is allowed.
    """
    known = _task_parameters(treatment)
    types = {**parameter_types(treatment.task), **_ENVIRONMENT_TYPES}
    for name, value in (options or {}).items():
        if known is not None and name not in known and name not in ENVIRONMENT_OPTIONS:
            raise nearest(f"option of {variant.id}", name, (*known, *ENVIRONMENT_OPTIONS))
        if name in types and not fits(value, types[name]):
            raise ValueError(
                f"option {name!r} of {variant.id} is {reprlib.repr(value)}; allowed: "
                f"{describe(types[name])}"
            )
    merged = {**variant.options, **(options or {})}
    environment = {name: merged.pop(name) for name in ENVIRONMENT_OPTIONS if name in merged}
    return merged, environment


def complete_options(
    treatment: Treatment, task_options: Mapping[str, object], numerical: bool = False
) -> dict[str, Any]:
    """``task_options`` with the defaults of the task filled in, in JSON's types.

    Two sets of options describe the same decision problem when their complete forms are equal.
    Options that only choose how accurately it is computed are left out unless ``numerical``.

    Args:
        treatment: The treatment.
        task_options: Options of the task by name.
        numerical: Keep options of accuracy, too.
    """
    complete = to_plain({**(_task_parameters(treatment) or {}), **task_options})
    left_out = () if numerical else treatment.task.numerical_options
    return {name: value for name, value in complete.items() if name not in left_out}


def _task_parameters(treatment: Treatment) -> dict[str, Any] | None:
    """Keyword parameters of the task with their defaults; None if it takes any keyword."""
    found: dict[str, object] = {}
    for name, parameter in inspect.signature(treatment.task).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return None
        if name != "num_lanes":
            found[name] = None if parameter.default is parameter.empty else parameter.default
    return found
