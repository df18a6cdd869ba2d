"""The parts of a treatment's page that say what it rests on and where its constants come from."""

from __future__ import annotations

from oncogym.envs.treatment import Treatment
from oncogym.evaluation.report.model_tables import markdown_table


def provenance_section(treatment: Treatment) -> str:
    """One row a constant, as Markdown; empty for a treatment without entries."""
    if not treatment.provenance:
        return ""
    rows = [
        (
            f"`{one.name}`",
            f"{one.value:g}",
            one.unit,
            one.kind,
            one.where,
            one.measured_on,
            "fixed" if one.allowed is None else f"{one.allowed[0]:g} to {one.allowed[1]:g}",
        )
        for one in treatment.provenance
    ]
    head = ("constant", "value", "unit", "kind", "where it comes from", "measured on", "allowed")
    return (
        "## Where the constants come from\n\nPrinted: in the source. Derived: from what the source "
        "prints or does. Chosen: by this suite.\n\n" + markdown_table(head, rows)
    )


def literature_section(treatment: Treatment) -> str:
    """The publications that it names beside those of its constants; empty without any."""
    if not treatment.literature:
        return ""
    rows = [(one.text, one.used_for) for one in treatment.literature]
    return "## What it rests on\n\n" + markdown_table(("publication or program", "for"), rows)
