"""A treatment's task by its name and options: small to send, built where it is used."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from oncogym.core.errors import UnknownNameError
from oncogym.core.files import to_plain
from oncogym.envs.registry import get_treatment, register_treatment
from oncogym.envs.therapy import TherapyTask
from oncogym.envs.treatment import Treatment
from oncogym.parallel.base import ExecutorError

# Tasks of a spec, and specs of a worker, that are kept at a time.
_KEPT = 8

# Specs that came from another process, so that a worker builds the same task only once.
_RECEIVED: dict[tuple[str, ...], TaskSpec] = {}


class TaskSpec:
    """Builds tasks of one kind, and keeps the last ones.

    Pickled, it is the names of the treatment and of its task class, and the options. The process
    that receives it finds the treatment in its own registry, or in the module of the task class.

    Args:
        treatment: The treatment.
        options: Options of its task.
    """

    def __init__(self, treatment: Treatment, options: Mapping[str, Any]) -> None:
        self._treatment: Treatment | None = treatment
        self._names = (treatment.name, treatment.task.__module__, treatment.task.__qualname__)
        self.options = dict(options)
        self._tasks: dict[int, TherapyTask] = {}

    @property
    def treatment(self) -> Treatment:
        """The treatment.

        Raises:
            ExecutorError: This process received the spec and does not know the treatment.
        """
        # Not when it is unpickled: a pool takes an error there for its own end.
        if self._treatment is None:
            self._treatment = _find(*self._names)
        return self._treatment

    @property
    def gpus(self) -> int:
        """GPUs that each task works on: one if the option ``device`` asks for it."""
        return 1 if self.options.get("device") == "cuda" else 0

    def task(self, lanes: int) -> TherapyTask:
        """A task with ``lanes`` lanes in whatever state; the same one for the same number."""
        if lanes not in self._tasks:
            if len(self._tasks) >= _KEPT:
                self._tasks.clear()
            self._tasks[lanes] = self.treatment.task(lanes, **self.options)
        return self._tasks[lanes]

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self._names, self.options)


def _received(names: tuple[str, str, str], options: Mapping[str, Any]) -> TaskSpec:
    key = (*names, json.dumps(to_plain(options), sort_keys=True))
    if key not in _RECEIVED:
        if len(_RECEIVED) >= _KEPT:
            _RECEIVED.clear()
        spec = TaskSpec.__new__(TaskSpec)
        spec._treatment = None
        spec._names = names
        spec.options = dict(options)
        spec._tasks = {}
        _RECEIVED[key] = spec
    return _RECEIVED[key]


def _find(name: str, module: str, qualname: str) -> Treatment:
    """The treatment called ``name`` whose task is ``module.qualname``, registered here."""
    try:
        found = get_treatment(name)
    except UnknownNameError:
        found = _register_from(module, name)
    there = (found.task.__module__, found.task.__qualname__)
    if there != (module, qualname):
        raise ExecutorError(
            f"the treatment {name!r} of a worker has the task {'.'.join(there)}, not "
            f"{module}.{qualname}; use the executor 'lanes' for a treatment that is not installed"
        )
    return found


def _register_from(module: str, name: str) -> Treatment:
    try:
        values = list(vars(importlib.import_module(module)).values())
    except ImportError:
        values = []
    try:
        return get_treatment(name)  # the module registered it
    except UnknownNameError:
        for value in values:
            if isinstance(value, Treatment) and value.name == name:
                register_treatment(value)
                return value
    raise ExecutorError(
        f"a worker does not know the treatment {name!r}: install its package there, with an entry "
        "point in the group oncogym.treatments, or use the executor 'lanes'"
    )
