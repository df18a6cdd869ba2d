"""Which treatments there are: those of the suite, and those that other packages offer."""

from __future__ import annotations

import copyreg
import sys
import warnings
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from oncogym.core.errors import nearest
from oncogym.envs.treatment import Treatment, Variant

#: Entry-point group in which another package offers a :class:`Treatment`.
ENTRY_POINT_GROUP = "oncogym.treatments"


_TREATMENTS: dict[str, Treatment] = {}
_PENDING: list[EntryPoint] | None = None
# Those that any process finds by their name, so that a pickle need not hold them.
_OFFERED: set[str] = set()


def _reduce(treatment: Treatment) -> Any:
    if treatment.name in _OFFERED and _TREATMENTS.get(treatment.name) is treatment:
        return get_treatment, (treatment.name,)
    return treatment.__reduce_ex__(4)


copyreg.pickle(Treatment, _reduce)


def register_treatment(treatment: Treatment, *, offered: bool = False) -> None:
    """Add a treatment and register its environments with Gymnasium.

    Registering the same record twice does nothing.

    Args:
        treatment: The record.
        offered: Whether every process that imports oncogym finds it, as it does the treatments of
            the suite and those of entry points; pickles then refer to it by name.

    Raises:
        ValueError: Another treatment has the name, or a variant names an unknown cohort or
            protocol.
    """
    known = _TREATMENTS.get(treatment.name)
    if known is treatment:
        return
    if known is not None:
        raise ValueError(f"a treatment called {treatment.name!r} is already registered")
    for variant in treatment.variants:
        treatment.cohort(variant.evaluation_cohort)
        treatment.cohort(variant.options.get("cohort", "nominal"))
        for name in (variant.baseline, *(variant.effort.protocols or ())):
            if name:
                treatment.protocol(name)
    _TREATMENTS[treatment.name] = treatment
    if offered:
        _OFFERED.add(treatment.name)
    _register_with_gymnasium(treatment)


def _register_with_gymnasium(treatment: Treatment) -> None:
    import gymnasium

    for variant in treatment.variants:
        gymnasium.register(
            id=variant.id,
            entry_point="oncogym.envs.scalar_env:TherapyEnv",
            vector_entry_point="oncogym.envs.vector_env:TherapyVectorEnv",
            kwargs={"treatment": treatment.name, **variant.options},
        )


def discover() -> None:
    """Register the treatments that installed packages offer as entry points.

    A package that is just being imported (because it imports oncogym) is left for the next call; a
    broken one is reported as a warning and does not keep the others from loading.
    """
    global _PENDING
    if _PENDING is None:
        _PENDING = list(entry_points(group=ENTRY_POINT_GROUP))
    waiting, _PENDING = _PENDING, []
    for point in waiting:
        module = sys.modules.get(point.module)
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            _PENDING.append(point)
            continue
        try:
            treatment = point.load()
            if not isinstance(treatment, Treatment):
                raise TypeError(f"it is a {type(treatment).__name__}, not a Treatment")
            register_treatment(treatment, offered=True)
        except Exception as error:  # a stranger's package must not break `import oncogym`
            warnings.warn(
                f"treatment entry point {point.name} = {point.value} was not loaded: {error!r}",
                stacklevel=2,
            )


def treatments() -> dict[str, Treatment]:
    """All registered treatments by name, those of other packages included."""
    discover()
    return dict(_TREATMENTS)


def get_treatment(name: str) -> Treatment:
    """Return the treatment called ``name``.

    Raises:
        UnknownNameError: There is none; the message suggests the nearest.
    """
    discover()
    if name not in _TREATMENTS:
        raise nearest("treatment", name, _TREATMENTS)
    return _TREATMENTS[name]


def treatment_of(task: object) -> Treatment:
    """Return the registered treatment whose decision problem ``task`` is.

    Raises:
        ValueError: There is none.
    """
    for treatment in treatments().values():
        if isinstance(task, treatment.task):
            return treatment
    raise ValueError(f"{type(task).__name__} is the task of no registered treatment")


def find_variant(env_id: str) -> tuple[Treatment, Variant]:
    """Return the treatment and variant behind an environment id.

    A ``module:`` prefix is ignored and the namespace ``oncogym/`` may be left out.

    Raises:
        UnknownNameError: There is no such id; the message suggests the nearest.
    """
    discover()
    wanted = env_id.rpartition(":")[2]
    ids: dict[str, tuple[Treatment, Variant]] = {}
    for treatment in _TREATMENTS.values():
        for variant in treatment.variants:
            ids[variant.id] = (treatment, variant)
    for candidate in (wanted, f"oncogym/{wanted}"):
        if candidate in ids:
            return ids[candidate]
    raise nearest("environment id", env_id, ids)
