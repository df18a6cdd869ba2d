"""One self-contained HTML page: text, sortable tables, figures to question, provenance."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import numbers
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import numpy as np

from oncogym.core.files import to_plain, write_text_atomic
from oncogym.evaluation.statistics import Interval, show_column

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from oncogym.evaluation.report.charts import Chart

__all__ = ["Report"]

Format = str | Callable[[Any], str]
Rows = Sequence[Mapping[str, Any]] | Sequence[Sequence[Any]]

_PNG_DPI = 144
# Beyond this an SVG is slower to draw than a picture is to look at (dense scatter, images).
_SVG_LIMIT = 400_000
_MISSING = "\N{EN DASH}"
# Style and behaviour of the page; the scripts share one scope, in this order.
_STYLES = ("report.css",)
_SCRIPTS = (
    "tables.js",
    "charts.js",
    "tabs.js",
    "groups.js",
    "losses.js",
    "maps.js",
    "courses.js",
    "start.js",
)
# Digits of the largest number of a column.
_SIGNIFICANT = 3


class Report:
    """A page built piece by piece; the same pieces give the same bytes.

    The page opens with `title` and the one-line `summary`; everything else keeps its order. All
    text is escaped. Building methods return the report, so that calls can be chained.
    """

    def __init__(self, title: str, summary: str = "") -> None:
        self.title = title
        self.summary = summary
        self._blocks: list[str] = []
        self._headings: list[tuple[str, str]] = []  # id, text: the second level only
        self._ids: set[str] = set()

    def add_heading(self, text: str, level: int = 2) -> Report:
        """A heading of level 2 (listed in the contents) to 4.

        Raises:
            ValueError: another level; 1 is the title's.
        """
        if level not in (2, 3, 4):
            raise ValueError(f"a heading has level 2, 3 or 4, got {level}")
        name = self._new_id(text)
        if level == 2:
            self._headings.append((name, text))
        return self._add(f'<h{level} id="{name}">{_escape(text)}</h{level}>')

    @contextmanager
    def tab(self, title: str) -> Iterator[Report]:
        """What is added within the block is a part of the page that the reader chooses by `title`.

        Parts follow one another where scripts are off, and on paper.
        """
        name = self._new_id(title)
        self._headings.append((name, title))
        label = _escape(title)
        self._add(f'<section class="tab" id="{name}" data-title="{label}">\n<h2>{label}</h2>')
        yield self
        self._add("</section>")

    def add_links(self, links: Mapping[str, str]) -> Report:
        """Files beside the page: what they hold by their paths relative to it."""
        entries = ", ".join(
            f'<a href="{_escape(quote(path))}">{_escape(text)}</a>' for path, text in links.items()
        )
        return self._add(f'<p class="files">Files: {entries}</p>')

    def add_text(self, text: str) -> Report:
        """Plain text; a blank line starts a new paragraph."""
        paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
        return self._add("\n".join(f"<p>{_escape(part)}</p>" for part in paragraphs))

    def add_code(self, text: str) -> Report:
        """Text to copy, such as a command line, with its line breaks."""
        return self._add(f'<pre tabindex="0"><code>{_escape(text)}</code></pre>')

    def add_table(
        self,
        table: pd.DataFrame | Rows,
        caption: str,
        *,
        columns: Sequence[str] | None = None,
        formats: Mapping[str, Format] | None = None,
        best: Mapping[str, Literal["max", "min"]] | None = None,
        index: bool = False,
        folded: bool = False,
    ) -> Report:
        """A table that the reader can sort by any column.

        Args:
            table: a DataFrame, or rows as mappings or as sequences.
            caption: what it shows, with units; required.
            columns: which columns, in which order; needed for rows that are sequences.
            formats: per column a format specification (``".3f"``, ``".1%"``) or a function of
                the cell. By default numbers and intervals are shown for people, see
                :func:`oncogym.evaluation.statistics.show_column`. Missing values show as a dash.
            best: per column which extreme to emphasise; cells that look equal share it.
            index: show a DataFrame's row labels as the first column.
            folded: show the caption only, until the reader unfolds it.

        Raises:
            ValueError: no caption, a row of the wrong length.
            KeyError: `columns`, `formats` or `best` name a column that is not there.
        """
        if not caption.strip():
            raise ValueError("a table needs a caption")
        names, rows = _rows(table, columns, index)
        formats, best = formats or {}, best or {}
        for name in (*formats, *best):
            if name not in names:
                raise KeyError(f"no column {name!r} in the table {caption!r}; it has {names}")
        text = _table(names, rows, caption, formats, best)
        if folded:
            label = _escape(caption)
            text = f'<details class="folded">\n<summary>{label}</summary>\n{text}\n</details>'
        return self._add(text)

    def add_figure(
        self,
        figure: Figure | bytes,
        caption: str,
        alt: str,
        *,
        kind: Literal["auto", "svg", "png"] = "auto",
    ) -> Report:
        """A Matplotlib figure (left open and unchanged), or the bytes of a PNG or SVG file.

        `alt` says in words what the figure shows, for those who cannot see it. "auto" embeds an
        SVG, or a PNG at 144 dpi where the SVG would be heavy.

        Args:
            figure: What is shown.
            caption: Text below it.
            alt: What it shows, in words.
            kind: Form in which it is embedded.

        Raises:
            ValueError: no caption or alt text, bytes of another format.
        """
        if not caption.strip() or not alt.strip():
            raise ValueError("a figure needs a caption and an alternative text")
        data, dpi = (figure, 96) if isinstance(figure, bytes) else _draw(figure, kind)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = (round(n * 96 / dpi) for n in struct.unpack(">II", data[16:24]))
            media, size = "image/png", f' width="{width}" height="{height}"'
        elif re.match(rb"\s*(<\?xml|<!--|<!DOCTYPE svg|<svg)", data) and b"<svg" in data:
            media, size = "image/svg+xml", ""
        else:
            raise ValueError(f"figure bytes are neither PNG nor SVG: they begin {data[:12]!r}")
        # An <img>, for SVG too: ids of several figures cannot clash, scripts in them cannot run.
        source = f"data:{media};base64,{base64.b64encode(data).decode()}"
        return self._add(
            f'<figure>\n<img src="{source}"{size} alt="{_escape(alt)}">\n'
            f"<figcaption>{_escape(caption)}</figcaption>\n</figure>",
        )

    def add_chart(self, chart: Chart | Mapping[str, object], caption: str, alt: str) -> Report:
        """A figure that the page draws itself and the reader can question and filter.

        Args:
            chart: What :mod:`oncogym.evaluation.report.charts` describes, or JSON-able data with
                the key ``kind`` as ``courses.browser`` gives them.
            caption: What it shows, with units.
            alt: What it is called for those who cannot see it.

        Raises:
            ValueError: no caption or alternative text.
            TypeError: something in the chart has no JSON form.
        """
        if not caption.strip() or not alt.strip():
            raise ValueError("a chart needs a caption and an alternative text")
        data = chart if isinstance(chart, Mapping) else chart.to_json()
        text = json.dumps(
            to_plain(data), ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
        # A "</script>" inside a text must not end the block.
        block = text.replace("<", "\\u003c").encode("utf-8", "replace").decode("utf-8")
        return self._add(
            '<figure class="chart">\n'
            f'<div class="plot" role="group" aria-label="{_escape(alt)}"></div>\n'
            "<noscript><p>JavaScript draws this figure, and it is off.</p></noscript>\n"
            f'<script type="application/json">{block}</script>\n'
            f"<figcaption>{_escape(caption)}</figcaption>\n</figure>",
        )

    def add_provenance(self, manifest: Mapping[str, object]) -> Report:
        """Where the numbers come from: a manifest, folded, nested keys joined by dots."""
        rows = "\n".join(
            f'<tr><th scope="row">{_escape(key)}</th><td>{_escape(value)}</td></tr>'
            for key, value in _flatten(to_plain(manifest))
        )
        return self._add(
            '<details class="provenance">\n<summary>Provenance</summary>\n'
            '<div class="scroll" role="region" aria-label="Provenance" tabindex="0">\n'
            '<table>\n<caption class="hidden">Provenance of the results</caption>\n'
            '<thead class="hidden"><tr><th scope="col">Key</th><th scope="col">Value</th></tr>'
            f"</thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n</details>",
        )

    def render(self) -> str:
        """The whole page."""
        summary = f'<p class="summary">{_escape(self.summary)}</p>' if self.summary else ""
        links = "".join(
            f'<li><a href="#{name}">{_escape(text)}</a></li>' for name, text in self._headings
        )
        contents = f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if links else ""
        if len(self._headings) < 3:
            contents = ""
        parts = [f"<h1>{_escape(self.title)}</h1>", summary, contents, *self._blocks]
        body = "\n".join(part for part in parts if part)
        return _PAGE.format(
            title=_escape(self.title), style=_asset(*_STYLES), body=body, script=_asset(*_SCRIPTS)
        )

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page; `path` holds a complete page or what it held before.

        Raises:
            OSError: the folder is missing or refuses.
        """
        return write_text_atomic(path, self.render())

    def _add(self, block: str) -> Report:
        self._blocks.append(block)
        return self

    def _new_id(self, text: str) -> str:
        stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"
        name, count = stem, 1
        while name in self._ids:
            count += 1
            name = f"{stem}-{count}"
        self._ids.add(name)
        return name


def _asset(*names: str) -> str:
    folder = files("oncogym.evaluation.report") / "assets"
    return "\n".join((folder / name).read_text(encoding="utf-8").strip() for name in names)


def _escape(text: object) -> str:
    """HTML text without what HTML forbids: control characters, lone surrogates (file names)."""
    clean = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", str(text))
    return html.escape(clean.encode("utf-8", "replace").decode("utf-8"))


def _rows(
    table: Any, columns: Sequence[str] | None, index: bool
) -> tuple[list[str], list[list[Any]]]:
    if hasattr(table, "to_dict") and hasattr(table, "columns"):  # a DataFrame, not imported here
        frame = table.reset_index() if index else table
        source = [str(name) for name in frame.columns]
        cells = [list(row) for row in frame.itertuples(index=False, name=None)]
    elif table and isinstance(table[0], Mapping):
        source = list(dict.fromkeys(str(key) for row in table for key in row))
        cells = [[row.get(name) for name in source] for row in table]
    else:
        if columns is None:
            raise ValueError("rows that are sequences need `columns`")
        source, cells, columns = [str(name) for name in columns], [list(r) for r in table], None
        for number, row in enumerate(cells):
            if len(row) != len(source):
                raise ValueError(f"row {number} has {len(row)} cells for {len(source)} columns")
    if columns is None:
        return source, cells
    missing = [name for name in columns if name not in source]
    if missing:
        raise KeyError(f"no column {missing[0]!r}; there are {source}")
    chosen = [source.index(name) for name in columns]
    return list(columns), [[row[i] for i in chosen] for row in cells]


def _number(cell: object) -> float | None:
    """What a cell sorts by: its number, NaN where it is missing, None for a text."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return math.nan
    if isinstance(cell, Interval):
        return cell.estimate
    # numpy's numbers and Python's; numpy.bool is in neither family
    return float(cell) if isinstance(cell, numbers.Real) and not _is_bool(cell) else None


def _is_bool(cell: object) -> bool:
    return type(cell).__name__ in ("bool", "bool_")


def _show_cells(cells: Sequence[object], form: Format | None) -> list[str]:
    """The texts of a column; numbers for people unless ``form`` says how."""
    known = [None if _is_nan(cell) else cell for cell in cells]
    if form is None:
        plain = [float(c) if isinstance(c, np.floating) else c for c in known]
        texts = show_column([_yes(cell) for cell in plain], _SIGNIFICANT)
    else:
        texts = [_formatted(cell, form) for cell in known]
    # A typographic minus is as wide as the digits' plus and is not broken from its number.
    return [
        _MISSING if cell is None else text if _number(cell) is None else with_minus_signs(text)
        for cell, text in zip(known, texts, strict=True)
    ]


def with_minus_signs(text: str) -> str:
    """A text whose numbers have typographic minus signs instead of hyphens."""
    return re.sub(r"(?<![\w.])-(?=[\d.i])", "\N{MINUS SIGN}", text)


def _is_nan(cell: object) -> bool:
    number = _number(cell)
    return number is not None and math.isnan(number)


def _formatted(cell: object, form: Format) -> str:
    if cell is None:
        return _MISSING
    if callable(form):
        return form(cell)
    return str(_yes(cell)) if _number(cell) is None else format(cell, form)


def _yes(cell: object) -> Any:
    return ("yes" if cell else "no") if _is_bool(cell) else cell


def _table(
    names: Sequence[str],
    rows: Sequence[Sequence[object]],
    caption: str,
    formats: Mapping[str, Format],
    best: Mapping[str, str],
) -> str:
    columns = [
        _show_cells([row[j] for row in rows], formats.get(name)) for j, name in enumerate(names)
    ]
    shown = [[column[i] for column in columns] for i in range(len(rows))]
    keys = [[_number(cell) for cell in row] for row in rows]
    # A column is numeric when nothing in it is text; only-missing columns are not.
    numeric = [
        all(row[j] is not None for row in keys) and not all(math.isnan(row[j] or 0) for row in keys)
        for j in range(len(names))
    ]
    winners = [_winner(n, j, shown, keys, best) for j, n in enumerate(names)]

    def cell(i: int, j: int) -> str:
        text, key = _quiet_ends(_escape(shown[i][j]), rows[i][j]), keys[i][j]
        classes = ["num"] * numeric[j]
        if winners[j] is not None and shown[i][j] == winners[j]:
            text = f'<strong title="best in this column">{text}</strong>'
            classes.append("best")
        label = f' class="{" ".join(classes)}"' if classes else ""
        if numeric[j] and key is not None:
            label += f' data-sort="{"" if math.isnan(key) else repr(float(key))}"'
        tag = 'th scope="row"' if j == 0 and not numeric[0] else "td"
        return f"<{tag}{label}>{text}</{tag[:2]}>"

    head = "".join(
        f'<th scope="col"{" class=" + chr(34) + "num" + chr(34) if numeric[j] else ""}>'
        f'<button type="button">{_escape(name)}</button></th>'
        for j, name in enumerate(names)
    )
    body = "\n".join(
        f"<tr>{''.join(cell(i, j) for j in range(len(names)))}</tr>" for i in range(len(rows))
    )
    return (
        f'<div class="scroll" role="region" aria-label="{_escape(caption)}" tabindex="0">\n'
        f'<table class="sortable">\n<caption>{_escape(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _quiet_ends(text: str, cell: object) -> str:
    """The ends of an interval in a quieter type than its estimate."""
    if not isinstance(cell, Interval) or not text.endswith("]"):
        return text
    estimate, space, ends = text.rpartition(" [")
    return f'{estimate} <span class="ends">[{ends}</span>' if space else text


def _winner(
    name: str,
    column: int,
    shown: Sequence[Sequence[str]],
    keys: Sequence[Sequence[float | None]],
    best: Mapping[str, str],
) -> str | None:
    """The best cell's text in a column, so that cells which look equal are equally best."""
    if name not in best:
        return None
    if best[name] not in ("max", "min"):
        raise ValueError(f"best[{name!r}] must be 'max' or 'min', got {best[name]!r}")
    known = [
        (key, text[column])
        for row, text in zip(keys, shown, strict=True)
        if (key := row[column]) is not None and not math.isnan(key)
    ]
    if not known:
        return None
    return (max if best[name] == "max" else min)(known, key=lambda pair: pair[0])[1]


def _flatten(value: object, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [
            pair
            for key, item in value.items()
            for pair in _flatten(item, f"{prefix}.{key}" if prefix else key)
        ]
    if value is None:
        return [(prefix, _MISSING)]
    return [(prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]


def _draw(figure: Figure, kind: str) -> tuple[bytes, int]:
    """The figure's bytes and their dots per inch; repeatable, so no dates and no random ids."""
    from matplotlib import rc_context

    if kind not in ("auto", "svg", "png"):
        raise ValueError(f"kind must be 'auto', 'svg' or 'png', got {kind!r}")
    stream = io.BytesIO()
    if kind != "png":
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with rc_context({"svg.hashsalt": "oncogym", "svg.fonttype": "path"}):
            figure.savefig(stream, format="svg", bbox_inches="tight", metadata=metadata)
        if kind == "svg" or stream.tell() <= _SVG_LIMIT:
            return stream.getvalue(), 96
        stream = io.BytesIO()
    figure.savefig(
        stream, format="png", dpi=_PNG_DPI, bbox_inches="tight", metadata={"Software": None}
    )
    return stream.getvalue(), _PNG_DPI


# The policy makes the browser itself refuse anything from outside the page.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
<script>
(() => {{
"use strict";
{script}
}})();
</script>
</body>
</html>
"""
