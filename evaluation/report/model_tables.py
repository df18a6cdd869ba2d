"""Tables about a treatment that come from its code: spaces, weights of the reward, patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncogym.envs.options import resolve_options
from oncogym.envs.therapy import TherapyTask
from oncogym.envs.treatment import Treatment, Variant
from oncogym.evaluation.report.labels import visible

# Patients of an unlimited cohort from whom spreads are read.
_DRAWN = 1024
# Of an action with more parts only the first and the last are named.
_PARTS = 12


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(visible(cell).replace('|', chr(92) + '|') for cell in cells)} |"

    return "\n".join([line(head), f"|{'---|' * len(head)}", *(line(row) for row in rows)])


def model_sections(treatment: Treatment) -> str:
    """Spaces, weights and patients of a treatment, as Markdown."""
    parts = [
        "## Spaces",
        space_table(treatment),
        "## Weights",
        "Weights of the reward terms under each `objective`.",
        weight_table(treatment),
        "## Patients",
        patient_table(treatment),
    ]
    return "\n\n".join(parts)


def usual_task(treatment: Treatment, variant: Variant) -> TherapyTask:
    """One lane of an environment's task, with its own options."""
    options, _ = resolve_options(treatment, variant)
    return treatment.task(1, **options)


def space_table(treatment: Treatment) -> str:
    """One row an environment: its observation and action by default, and how many decisions."""
    rows = []
    for variant in treatment.variants:
        task = usual_task(treatment, variant)
        parts = [f"{name} [{unit}]" if unit else name for name, unit in task.action_parts]
        if len(parts) > _PARTS:
            parts = [f"{parts[0]} to {parts[-1]}"]
        rows.append(
            (
                f"`{variant.id}`",
                f"{task.sees}: `{_box(task.observation_space)}`",
                f"`{_box(task.action_space)}`: {', '.join(parts)}",
                f"{task.num_decisions}",
            )
        )
    return markdown_table(("id", "observation by default", "action", "decisions at most"), rows)


def _box(space: object) -> str:
    shape, kind = getattr(space, "shape", None), getattr(space, "dtype", None)
    return f"{type(space).__name__}({shape}, {kind})"


def weight_table(treatment: Treatment) -> str:
    """One row a term of the reward, one column an objective."""
    task = usual_task(treatment, treatment.variants[0])
    weights = dict(task.objectives) or {"weight": task.default_weights()}
    rows = [
        (f"`{term}`", *(f"{own.get(term, 0.0):g}" for own in weights.values()))
        for term in task.reward_terms
    ]
    return markdown_table(("term", *weights), rows)


def patient_table(treatment: Treatment) -> str:
    """One row a parameter of the patients: unit, nominal value, range, and spread in the cohort.

    The spread is that of the cohort on which the last environment is reported: the middle nine
    tenths of its patients, or what all of them have.
    """
    patient, variant = treatment.patient, treatment.variants[-1]
    cohort = treatment.cohort(variant.evaluation_cohort)
    drawn = cohort.patients(min(cohort.size or cohort.distinct or _DRAWN, _DRAWN), 0)
    nominal = patient().to_array()
    rows = []
    for column, name in enumerate(patient.FIELDS):
        low, high = patient.RANGES[name]
        values = drawn[:, column]
        if np.ptp(values) == 0.0:
            spread = f"{values[0]:.4g} for all"
        elif name in patient.LABELS:
            spread = f"{len(np.unique(values))} different"
        else:
            spread = "{:.3g} to {:.3g}".format(*np.quantile(values, (0.05, 0.95)))
            if values.min() > 0.0:
                spread += f" (coefficient of variation {values.std() / values.mean():.2f})"
            else:
                spread += f" (standard deviation {values.std():.2g})"
        rows.append(
            (
                f"`{name}`",
                patient.UNITS.get(name, ""),
                f"{nominal[column]:g}",
                f"{low:g} to {high:g}",
                spread,
            )
        )
    head = ("parameter", "unit", "nominal", "allowed", f"middle 90 % in `{cohort.name}`")
    return markdown_table(head, rows)
