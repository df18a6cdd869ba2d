"""The robustness studies that a benchmark's report shows, kept in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oncogym.core.files import CorruptFileError, read_json
from oncogym.evaluation.report.page import Report
from oncogym.evaluation.robustness.report import add_study
from oncogym.evaluation.robustness.study_check import check_study

#: File in the benchmark's folder: a list of the studies' documents.
STUDIES = "studies.json"


def all_studies(folder: Path, given: Sequence[Mapping[str, object]]) -> list[Mapping[str, Any]]:
    """The studies that the report in ``folder`` has, and those given, a repeated one once.

    Raises:
        CorruptFileError: What the folder keeps is damaged.
    """
    path = folder / STUDIES
    kept = read_json(path) if path.is_file() else []
    try:
        if not isinstance(kept, list):
            raise ValueError(f"it holds {type(kept).__name__}; allowed: a list")
        for document in kept:
            check_study(document)
            add_study(Report("check"), document)
    except Exception as error:  # whatever it is, it must not come up after hours of work
        raise CorruptFileError(f"{path} holds no studies of this version: {error}") from error
    new = [_same(document) for document in given]
    return [*(document for document in kept if _same(document) not in new), *given]


def _same(document: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two runs of one study have in common."""
    parts = (document["env"], document["cohort"], document["patients"], document["dose_unit"])
    return (*parts, tuple(sorted(document["agents"])), tuple(sorted(document["kinds"])))
