"""Pages about the environments in Markdown: the treatment's own text, protocols, baselines."""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from oncogym.core.files import (
    CorruptFileError,
    OutputFolderError,
    read_json,
    require_writable_folder,
    write_bytes_atomic,
    write_text_atomic,
)
from oncogym.envs.protocols import Rule
from oncogym.envs.treatment import Treatment, Variant
from oncogym.evaluation.metrics import titled
from oncogym.evaluation.report.model_tables import markdown_table, model_sections
from oncogym.evaluation.report.plots import plot_distribution
from oncogym.evaluation.report.provenance_table import literature_section, provenance_section
from oncogym.evaluation.statistics import Interval, show_column

_NOTE = "<!-- Written by `make docs` from the docstring of the treatment; edit that instead. -->"
_BEGIN, _END = "<!-- baselines: begin -->", "<!-- baselines: end -->"
_INDEX = "README.md"
# So many outcomes of a treatment stand in the table of its page, the important ones first.
_METRICS = 4


def write_pages(
    treatments: Iterable[Treatment], folder: Path, results: Path | None = None
) -> list[Path]:
    """Write one page for each treatment, and an index of them, all or none.

    Args:
        treatments: The treatments.
        folder: Where the pages go; it is made if it is not there.
        results: A folder of ``oncogym benchmark``, or one with the folders of ``oncogym evaluate``
            named after the ids: its tables and figures replace those in the pages. Without it the
            pages keep the baselines that they have.

    Returns:
        The pages that were written.

    Raises:
        FileNotFoundError: ``results`` is no folder.
        CorruptFileError: A result is damaged; the message names the file.
        OutputFolderError: The folder cannot be written to, or a file is in the way that no earlier
            call has written.
    """
    if results is not None and not results.is_dir():
        raise FileNotFoundError(f"there is no folder of results {results}")
    known = list(treatments)
    texts: dict[Path, str] = {}
    pictures: dict[Path, bytes] = {}
    own_pictures: set[str] = set()
    for treatment in known:
        path = folder / f"{treatment.name}.md"
        kept = baselines_of(path)
        own_pictures |= set(re.findall(r"\]\(([^()/]+\.png)\)", kept))
        if results is not None:
            text, drawn = _baselines(treatment, results)
            kept = text or kept
            pictures |= {folder / name: picture for name, picture in drawn.items()}
        texts[path] = page(treatment, kept)
    if len(known) > 1:
        texts[folder / _INDEX] = index(known)
    for path in texts:
        if os.path.lexists(path) and not _is_own(path):
            raise _in_the_way(path)
    for path in pictures:
        if os.path.lexists(path) and (path.name not in own_pictures or not path.is_file()):
            raise _in_the_way(path)
    require_writable_folder(folder)
    for path, picture in pictures.items():
        write_bytes_atomic(path, picture)
    return [write_text_atomic(path, text) for path, text in texts.items()]


def _is_own(path: Path) -> bool:
    """Whether a page was written here: such pages begin with a mark."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_NOTE)) == _NOTE.encode()


def _in_the_way(path: Path) -> OutputFolderError:
    return OutputFolderError(
        f"{path} is there and was not written by oncogym envs --write; move it away or choose "
        "another folder"
    )


def page(treatment: Treatment, baselines: str = "") -> str:
    """The page of a treatment, with the given text about its baselines."""
    variants = [
        (
            f"`{v.id}`",
            v.summary,
            f"`{v.evaluation_cohort}`",
            f"`{v.baseline}`" if v.baseline else "",
        )
        for v in treatment.variants
    ]
    cohorts = [(f"`{c.name}`", c.description) for c in treatment.cohorts.values()]
    protocols = [
        (
            f"`{name}`",
            one.label,
            "rule" if isinstance(one, Rule) else "schedule",
            one.note,
        )
        for name, one in treatment.protocols.items()
    ]
    outcomes = [
        (f"`{m.name}`", titled(m.label, m.unit), _DIRECTIONS[m.higher_is_better])
        for m in treatment.task.metrics
    ]
    parts = [
        _NOTE,
        f"# {treatment.title}",
        markdown_table(("id", "what it is", "reported on", "clinical baseline"), variants),
        treatment.page.strip(),
        model_sections(treatment),
        *filter(None, [literature_section(treatment), provenance_section(treatment)]),
        "## Outcomes",
        markdown_table(('name in `info["outcome"]`', "outcome", "better"), outcomes),
        "## Cohorts",
        markdown_table(("name", "patients"), cohorts),
        "## Clinical protocols",
        markdown_table(("name", "protocol", "kind", "where it comes from"), protocols),
        *_bounds(treatment),
        "## Baselines",
        f"{_BEGIN}\n{baselines.strip() or 'No results yet.'}\n{_END}",
    ]
    return "\n\n".join(parts) + "\n"


def _bounds(treatment: Treatment) -> list[str]:
    """The section on bounds, if there are any."""
    rows = [(f"`{name}`", one.label, one.note) for name, one in treatment.bounds.items()]
    if not rows:
        return []
    about = "Agents that know patient, state and model: no treatments, but what the best is worth."
    return ["## Bounds", about, markdown_table(("name", "bound", "what it is"), rows)]


_DIRECTIONS = {True: "higher", False: "lower", None: "described only"}


def index(treatments: Sequence[Treatment]) -> str:
    """The list of all pages."""
    rows = [
        (f"`{v.id}`", v.summary, f"[{t.title}]({t.name}.md)")
        for t in treatments
        for v in t.variants
    ]
    return f"{_NOTE}\n\n# Environments\n\n{markdown_table(('id', 'what it is', 'page'), rows)}\n"


def baselines_of(path: Path) -> str:
    """What a page says about baselines; empty if there is no such page."""
    if not _is_own(path):
        return ""
    text = path.read_text(encoding="utf-8", errors="replace")
    found = re.search(f"{re.escape(_BEGIN)}\n(.*)\n{re.escape(_END)}", text, re.DOTALL)
    return found.group(1) if found else ""


def _baselines(treatment: Treatment, results: Path) -> tuple[str, dict[str, bytes]]:
    """Text about each environment of a treatment that the results contain, and its pictures."""
    parts = []
    pictures: dict[str, bytes] = {}
    for variant in treatment.variants:
        place = results / variant.id.split("/")[-1]
        if not (place / "comparison.json").exists():
            continue
        try:
            document = read_json(place / "comparison.json")
            if document["env"] != variant.id:
                continue  # an environment of the same name in another package
            text, picture = _baseline(treatment, variant, document, place / "results.csv")
        except FileNotFoundError:
            raise
        except CorruptFileError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptFileError(
                f"{place}: comparison.json and results.csv are not those of a comparison: {error!r}"
            ) from error
        parts.append(text)
        pictures[_picture(variant)] = picture
    return "\n\n".join(parts), pictures


def _picture(variant: Variant) -> str:
    return f"{variant.id.split('/')[-1]}.png"


def _baseline(
    treatment: Treatment, variant: Variant, document: Mapping[str, Any], file: Path
) -> tuple[str, bytes]:
    """Table and figure of a comparison, whose patients are in ``file``."""
    labels = document["labels"]
    metrics = [*(m.name for m in treatment.task.metrics[:_METRICS]), "cost"]
    summary = pd.DataFrame(document["summary"]).set_index(["agent", "metric"])
    scores = document["normalised_scores"].get("mean", {})
    names = summary.reset_index().drop_duplicates("metric").set_index("metric")
    head = ["agent", *(titled(*names.loc[m, ["label", "unit"]]) for m in metrics), "success"]
    rows = []
    for agent, label in labels.items():
        row: list[Any] = [label]
        for metric in metrics:
            line = summary.loc[(agent, metric)]
            row.append(_interval(line["mean"], line["low"], line["high"]))
        row.append(_interval(*_ends(document["success"][agent])))
        if scores:
            row.append(_interval(*_ends(scores[agent])))
        rows.append(row)
    text = (
        f"### {variant.id}\n\n{document['patients']} patients of the cohort "
        f"`{document['cohort']}`, the same for every agent: mean [95 % interval]."
    )
    if scores:
        head.append("score")
        text += (
            f" Score 0 is {labels[document['baseline']]}, score 1 {labels[document['reference']]}."
        )
        if document.get("reference_fault"):
            text += f" Mind: {document['reference_fault']}."
    main = treatment.task.metrics[0]
    results = pd.read_csv(file)
    values = results[main.name].astype(float)
    count = results.groupby("agent")["patient"].nunique()
    if set(count.index) != set(labels) or (count != document["patients"]).any():
        raise CorruptFileError(
            f"{file}: agents and patients {count.to_dict()}; allowed: {document['patients']} "
            f"patients of each of {', '.join(labels)}"
        )
    if values.isna().all():
        raise CorruptFileError(f"{file}: {main.name} has no value")
    results["agent"] = results["agent"].map(labels)
    title = titled(main.label, main.unit)
    figure = plot_distribution(results, main.name, title)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
    alt = f"{title} of each agent: median, half and nine of ten of the patients"
    return (
        f"{text}\n\n{markdown_table(head, _texts(rows))}\n\n![{alt}]({_picture(variant)})",
        stream.getvalue(),
    )


def _ends(interval: Any) -> tuple[float, float, float]:
    return interval["estimate"], interval["low"], interval["high"]


def _interval(estimate: float, low: float | None, high: float | None) -> Interval:
    return Interval(estimate, *(math.nan if end is None else end for end in (low, high)))


def _texts(rows: Sequence[Sequence[object]]) -> list[tuple[str, ...]]:
    """The cells as in every table, numbers with a typographic minus."""
    labels, *numbers = (show_column(column) for column in zip(*rows, strict=True))
    signed = [[cell.replace("-", "\N{MINUS SIGN}") for cell in column] for column in numbers]
    return list(zip(labels, *signed, strict=True))
