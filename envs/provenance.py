"""Where the constants of a model come from: data beside the code, shown on the model's page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

from oncogym.core.checks import check_choice
from oncogym.envs.patient import PatientRecord

#: Printed in the source; derived from what it prints or does; chosen by this suite.
KINDS = ("printed", "derived", "chosen")


@dataclass(frozen=True)
class Constant:
    """One constant of a model.

    Args:
        name: Name of the constant or of the patient's parameter.
        value: Its value, read from the code.
        unit: Its unit, empty without one.
        kind: One of :data:`KINDS`.
        where: What printed it, what it is derived from, or why it was chosen.
        measured_on: What it was measured on, in the source's words or the lack of them.
        allowed: Closed range of what users may put in its place, ``None`` where it is fixed.
    """

    name: str
    value: float
    unit: str
    kind: str
    where: str
    measured_on: str
    allowed: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)


#: Kind, where, and measured on what.
Origin = tuple[str, str, str]


def patient_constants(
    patient: type[PatientRecord], origins: Mapping[str, Origin]
) -> tuple[Constant, ...]:
    """Entries of a patient's nominal parameters, with the ranges and units of its class.

    Raises:
        AttributeError: A name is no parameter.
    """
    nominal = patient()
    return tuple(
        Constant(
            name, float(getattr(nominal, name)), patient.UNITS.get(name, ""), *origin,
            patient.RANGES[name],
        )
        for name, origin in origins.items()
    )  # fmt: skip


def module_constants(
    module: ModuleType, origins: Mapping[str, tuple[str, Origin]]
) -> tuple[Constant, ...]:
    """Entries of a module's constants by name: unit and origin.

    Raises:
        AttributeError: The module has no such constant.
    """
    return tuple(
        Constant(name, float(getattr(module, name)), unit, *origin)
        for name, (unit, origin) in origins.items()
    )
